//! Covers: empty mounts that hide the mounts on a root filesystem, and with them what lies beneath.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use crate::filesystems::new_filesystem;
use crate::instance::{InstanceError, Subject, put};
use crate::mountinfo::MountTable;
use crate::path::InstancePath;
use crate::place::NewRoot;
use crate::root::Keeps;
use crate::sys::fs;
use crate::sys::mount::{self, Attr, Depth};
use crate::sys::privilege::Shelved;
use crate::tree::Tree;

/// Puts an empty cover on each mount that is directly on the root, or makes it read-only if it is
/// one to keep.
///
/// `table` is from before our own mounts came; what lies under one of those is hidden already. A
/// cover goes on top, so that what lies beneath stays hidden as it is outside. A mount that the
/// caller cannot reach or has moved meanwhile is left: it shows what the caller sees outside.
pub fn cover_mounts(
    shelved: &mut Shelved,
    new_root: &NewRoot,
    keeps: Keeps,
    table: &MountTable<'_>,
) -> Result<(), InstanceError> {
    let mut covers = None;
    for entry in table.children(new_root.mount_id()) {
        let Ok(path) = CString::new(entry.mountpoint.as_ref()) else {
            continue;
        };
        let place = match new_root.look(shelved, &path) {
            Ok(place) => place,
            Err(errno) if is_out_of_reach(errno) => continue,
            Err(errno) => return Err(InstanceError::Cover(errno)),
        };
        // The mount itself, or one that is stacked on it.
        if !table.is_at_or_below(place.stat.mount_id, entry.id) {
            continue;
        }
        if keeps.keeps(&entry.mountpoint, &place.stat) {
            let kept = mount::restrict(&shelved.raise()?, &place, Attr::RDONLY, Depth::All);
            kept.map_err(InstanceError::Cover)?;
            continue;
        }
        let covers = match &covers {
            Some(covers) => covers,
            None => covers.insert(Covers::make(shelved, new_root)?),
        };
        let cover = if place.stat.is_dir() {
            &covers.dir
        } else {
            &covers.file
        };
        let raised = shelved.raise()?;
        Tree::clone_of(&raised, cover, Attr::RDONLY, Depth::One)
            .and_then(|cover| mount::attach(&raised, &cover, &place))
            .map_err(InstanceError::Cover)?;
    }
    Ok(())
}

/// Is it closed to the caller, has it been moved, or does the server that it is on not answer? Anything
/// else is a lookup that did not happen, as for want of memory.
fn is_out_of_reach(errno: Errno) -> bool {
    use Errno::*;
    let is_callers = [EACCES, ENOENT, ENOTDIR, ELOOP].contains(&errno);
    is_callers
        || [
            EIO,
            ENODEV,
            ENOTCONN,
            ESTALE,
            EHOSTDOWN,
            EHOSTUNREACH,
            ETIMEDOUT,
        ]
        .contains(&errno)
}

/// An empty directory and an empty file, to be cloned as often as needed.
struct Covers {
    dir: OwnedFd,
    file: OwnedFd,
}

impl Covers {
    /// They are on a tmpfs beneath what will be /dev/shm: before Linux 6.15 what is not attached
    /// cannot be cloned.
    fn make(shelved: &mut Shelved, new_root: &NewRoot) -> Result<Self, InstanceError> {
        let options = [(c"mode", c"755"), (c"size", c"64k")];
        let attr = Attr::NODEV.and(Attr::NOEXEC);
        let tmpfs = new_filesystem(&shelved.raise()?, ("tmpfs", c"tmpfs"), &options, attr)?;
        let target = InstancePath::literal(c"/dev/shm");
        put(
            shelved,
            new_root,
            &tmpfs,
            target,
            Subject::Filesystem("tmpfs"),
        )?;
        let made = fs::create_dir(tmpfs.fd(), c"dir")
            .and_then(|()| fs::set_mode(tmpfs.fd(), c"dir", 0o755))
            .and_then(|()| fs::create_file(tmpfs.fd(), c"file"))
            .and_then(|()| fs::set_mode(tmpfs.fd(), c"file", 0o644));
        let open = |name| fs::open_beneath(shelved, tmpfs.as_fd(), name);
        made.and_then(|()| {
            Ok(Self {
                dir: open(c"dir")?,
                file: open(c"file")?,
            })
        })
        .map_err(InstanceError::Cover)
    }
}

//! Covers: empty mounts that hide the mounts on a root filesystem, and with them what lies beneath.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use nix::errno::Errno;

use crate::dev::Slots;
use crate::instance::InstanceError;
use crate::mountinfo::MountTable;
use crate::place::NewRoot;
use crate::root::Keeps;
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
    slots: &Slots,
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
            None => covers.insert(Covers::of(new_root, slots).map_err(InstanceError::Cover)?),
        };
        let cover = if place.stat.is_dir() {
            covers.dir
        } else {
            covers.file
        };
        let raised = shelved.raise()?;
        Tree::clone_of(&raised, cover, Attr::RDONLY.and(Attr::NODEV), Depth::One)
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
struct Covers<'a> {
    dir: &'a OwnedFd,
    file: &'a OwnedFd,
}

impl<'a> Covers<'a> {
    /// Takes two places in our own /dev, which nothing is written to beneath what they are for. Not
    /// something detached: before Linux 6.15 it could not be cloned.
    fn of(new_root: &NewRoot, slots: &'a Slots) -> Result<Self, Errno> {
        let place = |is_dir, mode| {
            let (name, place) = slots.empty(is_dir).ok_or(Errno::ENOENT)?;
            new_root.set_mode_in_dev(name, mode)?;
            Ok(place)
        };
        Ok(Self {
            dir: place(true, 0o755)?,
            file: place(false, 0o644)?,
        })
    }
}

//! Covers: empty mounts that hide the mounts on a root filesystem, and with them what lies beneath.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::unistd::getuid;

use crate::dev::Slots;
use crate::instance::InstanceError;
use crate::mountinfo::{Entry, MountTable};
use crate::place::{NewRoot, Place};
use crate::root::Keeps;
use crate::sys::fs::{self, Stat};
use crate::sys::mount::{self, Attr, Depth};
use crate::sys::privilege::{Raised, Shelved};
use crate::tree::Tree;

/// Puts an empty cover on each mount that is directly on the root, or makes it read-only if it is
/// one to keep.
///
/// `table` is from before our own mounts came; what lies under one of those is hidden already. A
/// cover goes on top, so that what lies beneath stays hidden as it is outside. A mount that the
/// caller cannot reach, or that somebody has moved meanwhile, is left: it shows what the caller sees
/// outside. Else whoever owns the way to a mount could keep everybody from starting anything.
pub fn cover_mounts(
    shelved: &mut Shelved,
    new_root: &NewRoot,
    keeps: Keeps,
    table: &MountTable<'_>,
    slots: &Slots,
) -> Result<(), InstanceError> {
    let covers = Covers::of(shelved, new_root, slots).map_err(InstanceError::Cover)?;
    let children: Vec<_> = table.children(new_root.mount_id()).collect();
    for children in children.chunks(AT_ONCE) {
        let mut found = Vec::with_capacity(children.len());
        for entry in children {
            let Some(place) = find(shelved, new_root, table, entry)? else {
                continue;
            };
            let is_kept = keeps.keeps(&entry.mountpoint, &place.stat)
                || is_served_by_a_stranger(table, &place.stat);
            found.push((is_kept, place));
        }
        let raised = shelved.raise()?;
        for (is_kept, place) in &found {
            let keep = || mount::restrict(&raised, place, Attr::RDONLY, Depth::All);
            let done = match *is_kept {
                true => keep(),
                false => covers.cover(&raised, place).or_else(|errno| match errno {
                    // Nothing can be mounted on what has been removed.
                    Errno::ENOENT => keep(),
                    errno => Err(errno),
                }),
            };
            done.map_err(InstanceError::Cover)?;
        }
    }
    Ok(())
}

/// How many mounts are looked for before privilege is raised for all of them: as many descriptors are
/// open then.
const AT_ONCE: usize = 16;

/// Where the mount `entry` is, or what is stacked on it; `None` if the caller cannot reach it.
fn find(
    shelved: &Shelved,
    new_root: &NewRoot,
    table: &MountTable<'_>,
    entry: &Entry<'_>,
) -> Result<Option<Place>, InstanceError> {
    let Ok(path) = CString::new(entry.mountpoint.as_ref()) else {
        return Ok(None);
    };
    match new_root.look(shelved, &path) {
        Ok(place) => {
            let id = place.stat.mount_id;
            let is_it = id == entry.id || table.is_at_or_below(id, entry.id);
            Ok((is_it && place.stat.is_mount_root).then_some(place))
        }
        Err(errno) if is_of_lookup(errno) => Err(InstanceError::Cover(errno)),
        Err(_) => Ok(None),
    }
}

/// Did the lookup not happen? Any other word is about the way, which may be anybody's, and of any form.
fn is_of_lookup(errno: Errno) -> bool {
    fs::is_want(errno) || [Errno::EPERM, Errno::ENOSYS].contains(&errno)
}

/// Is it on a FUSE filesystem of somebody else's than the caller or root? Its server may keep whoever
/// mounts something on it waiting, beyond the reach of SIGKILL.
fn is_served_by_a_stranger(table: &MountTable<'_>, stat: &Stat) -> bool {
    let server = table.get(stat.mount_id).and_then(Entry::server);
    server.is_some_and(|server| server != 0 && server != getuid().as_raw())
}

/// An empty directory and an empty file, to be cloned as often as needed.
struct Covers<'a> {
    dir: &'a OwnedFd,
    file: &'a OwnedFd,
}

impl<'a> Covers<'a> {
    /// Takes two places in our own /dev: what will be mounted on them hides them, so nobody can write
    /// there. Not something detached: before Linux 6.15 it could not be cloned.
    fn of(shelved: &Shelved, new_root: &NewRoot, slots: &'a Slots) -> Result<Self, Errno> {
        let place = |is_dir, mode| {
            let (name, place) = slots.empty(is_dir).ok_or(Errno::ENOENT)?;
            new_root.set_mode_in_dev(shelved, name, mode)?;
            Ok(place)
        };
        Ok(Self {
            dir: place(true, 0o755)?,
            file: place(false, 0o644)?,
        })
    }

    fn cover(&self, raised: &Raised<'_>, place: &Place) -> Result<(), Errno> {
        let empty = if place.stat.is_dir() {
            self.dir
        } else {
            self.file
        };
        let attr = Attr::RDONLY.and(Attr::NODEV);
        let cover = Tree::clone_of(raised, empty, attr, Depth::One)?;
        mount::attach(raised, &cover, place)
    }
}

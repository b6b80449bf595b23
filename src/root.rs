//! The root filesystem: one filesystem, and nothing of what lies beneath the mounts on it.
//!
//! A clone of one mount shows what its mountpoints hide, and the caller cannot see that outside:
//! the kernel's MNT_LOCKED exists for it. So the bare clone is taken only where nothing can be
//! hidden; else the whole tree is, and each mount on it gets an empty cover on top. To name what to
//! hide by path would lose to a `chmod` or a rename at the right moment.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use crate::mountinfo::MountTable;
use crate::path::{HostPath, InstancePath};
use crate::plan::PlanError;
use crate::request::Access;
use crate::sys::fs::{self, Stat};
use crate::sys::mount::{Attr, Depth};
use crate::sys::privilege::{Raised, Shelved};
use crate::tree::Tree;

/// Parts of the system that are mounts of their own on some hosts: on ostree, NixOS, Guix, or with
/// a separate /usr, there is no /bin/sh without them. A trailing `*` stands for any ending.
const SYSTEM: [&[u8]; 8] = [
    b"/usr", b"/bin", b"/sbin", b"/lib*", b"/etc", b"/opt", b"/nix", b"/gnu",
];

/// Where mounts of our own will lie in any case, whatever is beneath.
const OURS: [&[u8]; 3] = [b"/dev", b"/proc", b"/tmp"];

/// The root filesystem as the caller named it, open.
#[derive(Debug)]
pub struct RootPlace {
    dir: OwnedFd,
    stat: Stat,
    name: HostPath,
    access: Access,
}

/// The root filesystem, perhaps cloned.
#[derive(Debug)]
pub struct RootClone {
    place: RootPlace,
    bare: Option<Tree>,
    is_hosts_own: bool,
}

/// The root filesystem, cloned.
#[derive(Debug)]
pub struct Root {
    tree: Tree,
    keeps: Option<Keeps>,
}

/// Which mounts on the root filesystem are not to be covered.
#[derive(Debug, Clone, Copy)]
pub struct Keeps {
    is_hosts_own: bool,
}

impl RootPlace {
    /// Opens DIR as the caller.
    pub fn open(shelved: &Shelved, name: HostPath, access: Access) -> Result<Self, PlanError> {
        let opened =
            fs::open_dir(shelved, name.as_c_str()).and_then(|dir| Ok((Stat::of(&dir)?, dir)));
        match opened {
            Ok((stat, dir)) => Ok(Self {
                dir,
                stat,
                name,
                access,
            }),
            Err(errno) => Err(PlanError::Root { dir: name, errno }),
        }
    }

    /// Clones the one mount, if it might come to be the root.
    ///
    /// Never in `build`, which could write to places that are hidden on the host.
    pub fn clone_bare(self, raised: &Raised<'_>) -> Result<RootClone, PlanError> {
        let bare = match self.access {
            Access::ReadOnly if self.stat.is_mount_root => {
                match self.clone_to(raised, Depth::One) {
                    // In a user namespace, the kernel itself sees that nothing is uncovered.
                    Err(PlanError::Root {
                        errno: Errno::EINVAL,
                        ..
                    }) => None,
                    bare => Some(bare?),
                }
            }
            _ => None,
        };
        Ok(RootClone {
            place: self,
            bare,
            is_hosts_own: false,
        })
    }

    /// nosuid and nodev whatever the access: it may be a tree of the caller's making.
    fn clone_to(&self, raised: &Raised<'_>, depth: Depth) -> Result<Tree, PlanError> {
        let is_read_only = self.access == Access::ReadOnly;
        let attr = Attr::NOSUID
            .and(Attr::NODEV)
            .and_if(is_read_only, Attr::RDONLY);
        Tree::clone_of(raised, &self.dir, attr, depth).map_err(|errno| PlanError::Root {
            dir: self.name.clone(),
            errno,
        })
    }
}

impl RootClone {
    /// Keeps the bare clone only if nothing at all can be hidden beneath the mounts on it.
    ///
    /// Only of the caller's own root mount: its path no rename can change while the table is read.
    /// Elsewhere the recursive clone is exact, and mostly just as small. `program` is the path where
    /// our own file will lie, if it will.
    pub fn uncovers_nothing(
        mut self,
        shelved: &Shelved,
        table: &MountTable<'_>,
        program: Option<&InstancePath>,
    ) -> Self {
        let stat = self.place.stat;
        let own = table
            .get(stat.mount_id)
            .filter(|entry| entry.mountpoint.as_ref() == b"/");
        let program = program.map(|path| path.as_c_str().to_bytes());
        self.is_hosts_own = own.is_some() && stat.is_mount_root;
        self.bare = self.bare.filter(|bare| {
            self.is_hosts_own
                && table.children(stat.mount_id).all(|child| {
                    let path: &[u8] = &child.mountpoint;
                    let beneath = match path {
                        _ if Some(path) == program => Beneath::OurFile,
                        _ if is_of_system(path) => return false,
                        _ if OURS.contains(&path) => Beneath::OurTree,
                        _ => Beneath::Nothing,
                    };
                    is_certain(shelved, bare, path, beneath) == Ok(true)
                })
        });
        self
    }

    /// Is it the caller's own root directory?
    pub fn is_hosts_own(&self) -> bool {
        self.is_hosts_own
    }

    /// The bare clone, or else the whole tree.
    pub fn finish(self, shelved: &mut Shelved) -> Result<Root, PlanError> {
        match self.bare {
            Some(tree) => Ok(Root { tree, keeps: None }),
            None => {
                let tree = self.place.clone_to(&shelved.raise()?, Depth::All)?;
                Ok(Root {
                    tree,
                    keeps: Some(Keeps {
                        is_hosts_own: self.is_hosts_own,
                    }),
                })
            }
        }
    }
}

impl Root {
    /// The tree and, if the mounts on it must be covered, which of them stay.
    pub fn into_parts(self) -> (Tree, Option<Keeps>) {
        (self.tree, self.keeps)
    }
}

impl Keeps {
    /// Does the mount on this path stay visible, though it is not of the root filesystem?
    ///
    /// Of the host's own root: what makes up the system, and files, with which containers put
    /// /etc/hosts and the like in place.
    pub fn keeps(self, path: &[u8], stat: &Stat) -> bool {
        self.is_hosts_own && (is_of_system(path) || !stat.is_dir())
    }
}

fn is_of_system(path: &[u8]) -> bool {
    SYSTEM.iter().any(|part| match part.strip_suffix(b"*") {
        Some(beginning) => path.starts_with(beginning),
        None => path
            .strip_prefix(*part)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")),
    })
}

/// What must be true of the place beneath a mountpoint, so that nothing is uncovered there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beneath {
    /// It is empty, and the caller may know that.
    Nothing,
    /// A directory, on which we mount a tree of our own.
    OurTree,
    /// A file, on which we mount our own file.
    OurFile,
}

/// Is the place at `path` on the bare clone stable, and as it must be?
///
/// Stable: nobody but root can rename or replace anything on the way. Decided by owner and mode,
/// never by access(2), which tells what the caller may do now. By the group bits an ACL shows too,
/// for they are its mask.
fn is_certain(
    shelved: &Shelved,
    bare: &Tree,
    path: &[u8],
    beneath: Beneath,
) -> Result<bool, Errno> {
    let mut place: Option<OwnedFd> = None;
    let mut stat = bare.stat;
    for name in path
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
    {
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        let dir = place.as_ref().map_or(bare.as_fd(), AsFd::as_fd);
        let next = fs::open_beneath(shelved, dir, &name)?;
        let next_stat = Stat::of(&next)?;
        if !stat.is_dir() || !holds(&stat, &next_stat) {
            return Ok(false);
        }
        (place, stat) = (Some(next), next_stat);
    }
    let Some(place) = place else { return Ok(false) };
    Ok(match beneath {
        Beneath::OurTree => stat.is_dir(),
        Beneath::OurFile => stat.is(libc::S_IFREG),
        Beneath::Nothing => {
            stat.is_dir() && is_roots_alone(&stat) && fs::is_empty_dir(shelved, place.as_fd())?
        }
    })
}

/// Can nobody but root move `entry` out of `dir`?
fn holds(dir: &Stat, entry: &Stat) -> bool {
    let is_sticky = dir.mode & libc::S_ISVTX != 0;
    is_roots_alone(dir) || (dir.uid == 0 && is_sticky && entry.uid == 0)
}

fn is_roots_alone(stat: &Stat) -> bool {
    stat.uid == 0 && stat.mode & (libc::S_IWGRP | libc::S_IWOTH) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_own_places_are_known_by_whole_names() {
        for path in [
            "/usr",
            "/usr/local",
            "/lib",
            "/lib64",
            "/libx32/a",
            "/etc/hosts",
            "/gnu/store",
            "/nix",
        ] {
            assert!(is_of_system(path.as_bytes()), "{path}");
        }
        for path in [
            "/usrlocal",
            "/home",
            "/var/lib",
            "/",
            "/run/usr",
            "/etcetera",
            "/optional",
            "/dev",
        ] {
            assert!(!is_of_system(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn only_root_holds_an_entry_in_place() {
        let stat = |uid, mode| {
            let (device, special) = ((0, 0), (0, 0));
            Stat {
                mount_id: 1,
                is_mount_root: false,
                device,
                inode: 1,
                mode,
                uid,
                links: 1,
                special,
                size: 0,
            }
        };
        let (roots, anyones) = (stat(0, 0o40755), stat(1000, 0o40755));
        for (dir, entry, held) in [
            (stat(0, 0o40755), roots, true),
            (stat(0, 0o40755), anyones, true),
            (stat(0, 0o41777), roots, true),
            (stat(0, 0o41777), anyones, false),
            (stat(0, 0o40777), roots, false),
            (stat(0, 0o40775), roots, false),
            (stat(1000, 0o40755), roots, false),
            (stat(1000, 0o41777), roots, false),
        ] {
            assert_eq!(holds(&dir, &entry), held, "{dir:?} {entry:?}");
        }
    }
}

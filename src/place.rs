//! Places below the new root: finding a target, attaching a tree there, and seeing that it is.
//!
//! A target is looked up as the caller, below the new root, and attached to by its descriptor; then
//! it is looked up again and must be on the mount just attached. Nothing is ever created, changed
//! or removed on a real filesystem; only our own /dev grows what is to be mounted directly in it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use thiserror::Error;

use crate::path::InstancePath;
use crate::sys::fs::{self, Stat};
use crate::sys::mount::{self, Attr, Depth};
use crate::sys::privilege::{PrivilegeError, Shelved};
use crate::tree::Tree;

/// Why a tree cannot be at a target.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// The target cannot be looked up as the caller: openat2(2), statx(2).
    #[error("{}", .0.desc())]
    Lookup(Errno),
    /// The target is the root directory of the instance, whatever its spelling.
    #[error("the target is the root directory")]
    IsRoot,
    /// The target is on a proc filesystem, which must not lie.
    #[error("the target is in /proc")]
    InProc,
    /// One is a directory and the other is not.
    #[error("{}", Errno::ENOTDIR.desc())]
    Kind {
        /// Is the source the directory?
        is_source_dir: bool,
    },
    /// The target's place cannot be made in our own /dev: mkdirat(2), openat(2).
    #[error("{}", .0.desc())]
    Make(Errno),
    /// move_mount(2), pivot_root(2), umount2(2).
    #[error("{}", .0.desc())]
    Attach(Errno),
    /// It was attached, but the target leads elsewhere by now.
    #[error("the target was moved meanwhile")]
    Moved,
    /// Privilege could not be raised.
    #[error("cannot use privilege: {0}")]
    Privilege(#[from] PrivilegeError),
}

/// A place that something can be attached to.
#[derive(Debug)]
pub struct Place {
    fd: OwnedFd,
    /// What is there now.
    pub stat: Stat,
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The root of the instance.
#[derive(Debug)]
pub struct NewRoot {
    tree: Tree,
    /// Our own /dev, once it is there.
    dev: Option<Tree>,
}

impl NewRoot {
    /// Makes the detached `tree` the root of this namespace; nothing of the old one remains.
    pub fn enter(shelved: &mut Shelved, tree: Tree) -> Result<Self, PlaceError> {
        let slash = fs::open_dir(shelved, c"/").map_err(PlaceError::Lookup)?;
        let raised = shelved.raise()?;
        mount::attach(&raised, &tree, &slash).map_err(PlaceError::Attach)?;
        mount::pivot(&raised, tree.fd()).map_err(PlaceError::Attach)?;
        mount::detach_top(&raised).map_err(PlaceError::Attach)?;
        drop(raised);
        // That was the old root, or what was mounted over it: each was a way out by `/..`, which leads
        // to the top of what is stacked on the root directory.
        while Self::top(shelved)?.mount_id != tree.stat.mount_id {
            mount::detach_top(&shelved.raise()?).map_err(PlaceError::Attach)?;
        }
        Ok(Self { tree, dev: None })
    }

    /// The root of the namespace that this process has come to, as it is.
    pub fn current(shelved: &Shelved) -> Result<Self, PlaceError> {
        let tree = fs::open_dir(shelved, c"/").and_then(Tree::new);
        Ok(Self {
            tree: tree.map_err(PlaceError::Lookup)?,
            dev: None,
        })
    }

    /// What is on top of the root directory.
    fn top(shelved: &Shelved) -> Result<Stat, PlaceError> {
        Stat::of_top(shelved).map_err(PlaceError::Lookup)
    }

    /// Number of the mount that is the root.
    pub fn mount_id(&self) -> u64 {
        self.tree.stat.mount_id
    }

    /// Looks up what is at `path` now.
    pub fn look(&self, shelved: &Shelved, path: &CStr) -> Result<Place, Errno> {
        let fd = fs::open_in_root(shelved, self.tree.fd(), path)?;
        Ok(Place {
            stat: Stat::of(&fd)?,
            fd,
        })
    }

    /// Looks up what is at `target` now, if something may be put there.
    ///
    /// By mount and inode, so that `//`, `/.` and `/usr/..` are the root too.
    pub fn find(&self, shelved: &Shelved, target: &InstancePath) -> Result<Place, PlaceError> {
        let place = self
            .look(shelved, target.as_c_str())
            .map_err(PlaceError::Lookup)?;
        if place.stat.is_same_place(&self.tree.stat) {
            return Err(PlaceError::IsRoot);
        }
        Ok(place)
    }

    /// Puts `tree` at `target`.
    pub fn put(
        &self,
        shelved: &mut Shelved,
        tree: &Tree,
        target: &InstancePath,
    ) -> Result<(), PlaceError> {
        let place = match self.find(shelved, target) {
            Err(PlaceError::Lookup(Errno::ENOENT)) => self.make(shelved, tree, target)?,
            found => found?,
        };
        if fs::is_on_procfs(&place).map_err(PlaceError::Lookup)? {
            return Err(PlaceError::InProc);
        }
        self.attach(shelved, tree, &place, target)
    }

    /// Attaches `tree` to `place`, and sees that it is what `target` leads to.
    pub fn attach(
        &self,
        shelved: &mut Shelved,
        tree: &Tree,
        place: &Place,
        target: &InstancePath,
    ) -> Result<(), PlaceError> {
        let is_source_dir = tree.stat.is_dir();
        if is_source_dir != place.stat.is_dir() {
            return Err(PlaceError::Kind { is_source_dir });
        }
        mount::attach(&shelved.raise()?, tree, place).map_err(PlaceError::Attach)?;
        match self.look(shelved, target.as_c_str()) {
            Ok(there) if there.stat.mount_id == tree.stat.mount_id => Ok(()),
            _ => Err(PlaceError::Moved),
        }
    }

    /// Puts our own /dev in place, where targets can be made until it is sealed.
    pub fn put_dev(&mut self, shelved: &mut Shelved, dev: Tree) -> Result<(), PlaceError> {
        let target = InstancePath::literal(c"/dev");
        let place = self.find(shelved, &target)?;
        self.attach(shelved, &dev, &place, &target)?;
        self.dev = Some(dev);
        Ok(())
    }

    /// Makes the place for `tree` if its target is directly in our own /dev.
    fn make(
        &self,
        shelved: &Shelved,
        tree: &Tree,
        target: &InstancePath,
    ) -> Result<Place, PlaceError> {
        let missing = PlaceError::Lookup(Errno::ENOENT);
        let (Some(dev), Some((parent, name))) = (&self.dev, target.split()) else {
            return Err(missing);
        };
        match self.look(shelved, parent.as_c_str()) {
            Ok(parent) if parent.stat.is_same_place(&dev.stat) => {}
            _ => return Err(missing),
        }
        let made = if tree.stat.is_dir() {
            fs::create_dir(shelved, dev.fd(), &name)
        } else {
            fs::create_file(shelved, dev.fd(), &name)
        };
        made.map(drop).map_err(PlaceError::Make)?;
        self.find(shelved, target)
    }

    /// Is `tree` what this name in our own /dev leads to?
    pub fn is_in_dev(&self, shelved: &Shelved, name: &CStr, tree: &Tree) -> Result<bool, Errno> {
        let dev = self.dev.as_ref().ok_or(Errno::ENOENT)?;
        let there = Stat::of_entry(shelved, dev.fd(), name)?;
        Ok(there.mount_id == tree.stat.mount_id)
    }

    /// Sets the permissions of this name in our own /dev, whatever the caller's umask.
    pub fn set_mode_in_dev(&self, shelved: &Shelved, name: &CStr, mode: u32) -> Result<(), Errno> {
        let dev = self.dev.as_ref().ok_or(Errno::ENOENT)?;
        fs::set_mode(shelved, dev.fd(), name, mode)
    }

    /// Makes our own /dev read-only.
    pub fn seal_dev(&self, shelved: &mut Shelved) -> Result<(), PlaceError> {
        let raised = shelved.raise()?;
        match &self.dev {
            Some(dev) => {
                mount::restrict(&raised, dev, Attr::RDONLY, Depth::One).map_err(PlaceError::Make)
            }
            None => Ok(()),
        }
    }
}

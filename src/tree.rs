//! A mount tree in hand: cloned or new, detached, and not to be named by a path any more.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::sys::fs::Stat;
use crate::sys::mount::{self, Attr, Depth};
use crate::sys::privilege::Raised;

/// A detached mount tree, and what the kernel said of its root.
#[derive(Debug)]
pub struct Tree {
    fd: OwnedFd,
    /// The number of its topmost mount, before and after it is attached.
    pub stat: Stat,
}

impl Tree {
    /// Takes a descriptor of the mount calls.
    pub fn new(fd: OwnedFd) -> Result<Self, Errno> {
        Ok(Self {
            stat: Stat::of(&fd)?,
            fd,
        })
    }

    /// Clones what `place` shows, and restricts the clone before anybody can see it.
    pub fn clone_of(
        raised: &Raised<'_>,
        place: impl AsFd,
        attr: Attr,
        depth: Depth,
    ) -> Result<Self, Errno> {
        let tree = mount::clone_tree(raised, place, depth)?;
        mount::restrict(raised, &tree, attr, depth)?;
        Self::new(tree)
    }

    /// The descriptor, for what is done inside the tree.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

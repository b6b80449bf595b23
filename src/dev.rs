//! What is in the instance's own /dev: links, and one empty place for each mount that belongs there.
//!
//! It is a small tmpfs of ours, in which nobody else can write. So a place is made in it, kept open
//! and attached to; no path leads there that could be made to lead elsewhere.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use crate::instance::{InstanceError, Subject, misplaced};
use crate::path::InstancePath;
use crate::place::{NewRoot, PlaceError};
use crate::sys::fs;
use crate::sys::mount;
use crate::sys::privilege::Shelved;
use crate::tree::Tree;

/// Links in /dev, and what they lead to.
const LINKS: [(&CStr, &CStr); 5] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"ptmx", c"pts/ptmx"),
];

/// What shall be mounted directly in /dev.
#[derive(Debug)]
pub struct Device {
    /// `/dev/NAME`.
    path: &'static CStr,
    /// What it is.
    subject: Subject,
    /// The tree.
    tree: Tree,
}

impl Device {
    /// A tree that goes to this path, `/dev/NAME`.
    pub fn new(path: &'static CStr, subject: Subject, tree: Tree) -> Self {
        Self {
            path,
            subject,
            tree,
        }
    }

    /// NAME.
    fn name(&self) -> &'static CStr {
        let name = self.path.to_bytes_with_nul().strip_prefix(b"/dev/");
        name.and_then(|name| CStr::from_bytes_with_nul(name).ok())
            .unwrap_or_default() // nowhere
    }

    fn misplaced(self, error: PlaceError) -> InstanceError {
        misplaced(self.subject, InstancePath::literal(self.path), error)
    }
}

/// The places, and what goes on each.
#[derive(Debug)]
pub struct Slots(Vec<(OwnedFd, Device)>);

impl Slots {
    /// Makes the links and places in the new tmpfs `dev`.
    pub fn make(
        shelved: &Shelved,
        dev: &Tree,
        devices: impl IntoIterator<Item = Device>,
    ) -> Result<Self, InstanceError> {
        let failed = |errno| InstanceError::Filesystem {
            kind: "tmpfs",
            errno,
        };
        for (name, destination) in LINKS {
            fs::create_link(shelved, dev.fd(), name, destination).map_err(failed)?;
        }
        let slots = devices.into_iter().map(|device| {
            let made = if device.tree.stat.is_dir() {
                fs::create_dir(shelved, dev.fd(), device.name())
            } else {
                fs::create_file(shelved, dev.fd(), device.name())
            };
            Ok((made.map_err(failed)?, device))
        });
        slots.collect::<Result<_, _>>().map(Self)
    }

    /// One that is a directory, or one that is a file: each is empty, and always will be.
    pub fn empty(&self, is_dir: bool) -> Option<(&'static CStr, &OwnedFd)> {
        let mut slots = self.0.iter();
        let slot = slots.find(|(_, device)| device.tree.stat.is_dir() == is_dir);
        slot.map(|(place, device)| (device.name(), place))
    }

    /// Puts everything in its place, and sees that it is there.
    pub fn fill(self, shelved: &mut Shelved, new_root: &NewRoot) -> Result<(), InstanceError> {
        let raised = shelved.raise()?;
        let mut attached = Vec::with_capacity(self.0.len());
        for (place, device) in self.0 {
            match mount::attach(&raised, &device.tree, &place) {
                Ok(()) => attached.push(device),
                Err(errno) => return Err(device.misplaced(PlaceError::Attach(errno))),
            }
        }
        drop(raised);
        for device in attached {
            let is_there = new_root.is_in_dev(shelved, device.name(), &device.tree);
            match is_there {
                Ok(true) => {}
                _ => return Err(device.misplaced(PlaceError::Moved)),
            }
        }
        Ok(())
    }
}

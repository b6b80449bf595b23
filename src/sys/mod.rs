//! The kernel: the only folder with unsafe code, one system call a function.
//!
//! What needs privilege takes `&Raised`, what looks a path up takes `&Shelved`, and the two cannot
//! exist at once (see `privilege`). What acts on a descriptor of ours alone takes neither.
#![allow(unsafe_code)]

pub mod arena;
mod bpf;
mod capability;
pub mod cause;
pub mod descriptor;
pub mod entry;
pub mod filter;
pub mod fs;
pub mod leash;
pub mod mount;
pub mod privilege;
pub mod process;
pub mod procfs;
pub mod rootless;
pub mod self_stop;
pub mod signal;
pub mod socket;
pub mod supervisor_filter;
pub mod terminal;
pub mod user_namespaces;

use std::ffi::c_long;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// Takes ownership of the descriptor that a system call has just returned as its `status`.
///
/// Called with nothing else: whoever passes another number closes a descriptor that is not theirs.
fn new_descriptor(status: c_long) -> Result<OwnedFd, Errno> {
    let number = Errno::result(status)?;
    let number = RawFd::try_from(number).map_err(|_| Errno::EBADF)?;
    // SAFETY: the call succeeded, so `number` is a descriptor, open and nobody else's yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

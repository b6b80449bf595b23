//! What makes an instance die with its supervisor, however that ends.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::c_int;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getpid;

use super::privilege::Renounced;
use super::process::exit;
use crate::exit::CANNOT;

/// This process gets SIGKILL when its parent ends: PR_SET_PDEATHSIG.
///
/// Survives an exec, unless that gains privilege, but no change of the user id; and the command may
/// ask otherwise. A nested selfdock, whose exec gained privilege, asks anew in its entry point.
/// Source: `commit_creds()` in Linux `kernel/cred.c`.
pub(super) fn die_with_parent() -> Result<(), Errno> {
    prctl::set_pdeathsig(Signal::SIGKILL)
}

/// What ties the child to its supervisor: the reading end of a pipe, of which the supervisor has the
/// other end as long as it lives.
///
/// That end is closed with the supervisor's other files, and that is before the kernel looks for
/// children to kill. So if it is open after PR_SET_PDEATHSIG, that signal is still to come.
#[derive(Debug)]
pub struct Leash(pub(super) OwnedFd);

impl Leash {
    /// Waits for `Child::release`. Ends the process if the supervisor has ended: it has said why.
    pub fn wait_for_release(&self) -> Result<(), Errno> {
        let mut byte = [0];
        let is_released = loop {
            match nix::unistd::read(&self.0, &mut byte) {
                Err(Errno::EINTR) => {}
                count => break count? == 1,
            }
        };
        if !is_released {
            exit(CANNOT);
        }
        exit_if_torn(self.0.as_fd())
    }

    /// Leaves it open across the next exec, or closes it there, which is the default.
    ///
    /// Open for a nested selfdock only, whose exec undoes PR_SET_PDEATHSIG: it asks anew as soon as
    /// it can, and looks whether it was too late.
    pub fn pass_on(&self, _: &Renounced, is_passed: bool) -> Result<(), Errno> {
        let flag = if is_passed {
            FdFlag::empty()
        } else {
            FdFlag::FD_CLOEXEC
        };
        fcntl(&self.0, FcntlArg::F_SETFD(flag)).map(drop)
    }
}

/// Marks a pipe as a leash, in a place that exec leaves alone and that pipes have no use for: the
/// signal of F_SETSIG, fcntl(2).
const LEASH_MARK: c_int = libc::SIGPWR;

/// Of `linux/fcntl.h`; the libc crate lacks them.
const F_SETSIG: c_int = 10;
const F_GETSIG: c_int = 11;

/// Marks the pipe, so that a nested selfdock knows it.
pub(super) fn mark_as_leash(pipe: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: takes numbers only; `pipe` is open.
    let status = unsafe { libc::fcntl(pipe.as_raw_fd(), F_SETSIG, LEASH_MARK) };
    Errno::result(status).map(drop)
}

/// Is this inherited pipe the leash of an outer selfdock? Ends the process if it is torn.
///
/// Whoever forges one can but end a process of their own.
pub fn is_leash(pipe: BorrowedFd<'_>) -> Result<bool, Errno> {
    if getpid().as_raw() != 1 {
        return Ok(false);
    }
    // SAFETY: takes numbers only; `pipe` is open.
    let mark = unsafe { libc::fcntl(pipe.as_raw_fd(), F_GETSIG) };
    if Errno::result(mark)? != LEASH_MARK {
        return Ok(false);
    }
    exit_if_torn(pipe)?;
    Ok(true)
}

fn exit_if_torn(pipe: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut question = [PollFd::new(pipe, PollFlags::empty())];
    if poll(&mut question, PollTimeout::ZERO)? != 0 {
        exit(CANNOT);
    }
    Ok(())
}

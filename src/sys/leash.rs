//! What ties an instance to its supervisor: it dies with it, and tells it what the kernel does not.
//!
//! A pair of connected sockets. The supervisor has one end, the hold; pid 1 has the other, the
//! leash, until its exec, or for good if it is selfdock itself.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use libc::c_int;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getpid;

use super::fs::Stat;
use super::privilege::Renounced;
use super::process::{Ending, exit};
use crate::exit::CANNOT;

/// This process gets SIGKILL when its parent ends: PR_SET_PDEATHSIG.
///
/// Survives an exec, unless that gains privilege, but no change of the user id; and the command may
/// ask otherwise. A nested selfdock, whose exec gained privilege, asks anew in its entry point.
/// Source: `commit_creds()` in Linux `kernel/cred.c`.
pub(super) fn die_with_parent() -> Result<(), Errno> {
    prctl::set_pdeathsig(Signal::SIGKILL)
}

/// Makes both ends; exec closes them.
pub(super) fn new_pair() -> Result<(Hold, Leash), Errno> {
    let (hold, leash) = UnixStream::pair().map_err(errno_of)?;
    let leash = Leash(leash.into());
    leash.mark()?;
    Ok((Hold(hold.into()), leash))
}

fn errno_of(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// What selfdock as pid 1 tells its supervisor, since pid 1 can neither stop nor die of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It takes every signal that comes, from now on.
    Listens,
    /// The command was stopped by this signal.
    Stopped(c_int),
    /// The command has ended.
    Ended(Ending),
}

impl Report {
    fn to_bytes(self) -> [u8; 2] {
        match self {
            Self::Listens => [b'l', 0],
            Self::Stopped(signal) => [b's', signal as u8],
            Self::Ended(Ending::Exited(status)) => [b'e', status],
            Self::Ended(Ending::Signaled(signal)) => [b'k', signal as u8],
        }
    }

    fn from_bytes([kind, number]: [u8; 2]) -> Option<Self> {
        let is_signal = (1..=64).contains(&number);
        match kind {
            b'l' => Some(Self::Listens),
            b's' if is_signal => Some(Self::Stopped(number.into())),
            b'e' => Some(Self::Ended(Ending::Exited(number))),
            b'k' if is_signal => Some(Self::Ended(Ending::Signaled(number.into()))),
            _ => None,
        }
    }
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Hold(OwnedFd);

impl Hold {
    /// Lets the child go on to exec: the supervisor is ready, and has nothing to lose any more.
    pub fn release(&self, _: &Renounced) -> Result<(), Errno> {
        match send(&self.0, &[0]) {
            // It has ended already, and how is the next question.
            Err(Errno::EPIPE) => Ok(()),
            sent => sent,
        }
    }

    /// What has been reported, if anything; `Err(ENOTCONN)` when nobody is left to report.
    pub fn next_report(&self) -> Result<Option<Report>, Errno> {
        let mut bytes = [0; 2];
        match receive(&self.0, &mut bytes) {
            Ok(0) | Err(Errno::ECONNRESET) => Err(Errno::ENOTCONN),
            Ok(_) => Ok(Report::from_bytes(bytes)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Hold {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The child's end.
///
/// The hold is closed with the supervisor's other files, and that is before the kernel looks for
/// children to kill. So if it is open after PR_SET_PDEATHSIG, that signal is still to come.
#[derive(Debug)]
pub struct Leash(OwnedFd);

impl Leash {
    /// Waits for `Hold::release`. Ends the process if the supervisor has ended: it has said why.
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
        self.exit_if_torn()
    }

    /// Tells the supervisor. Where that has ended, so will this process.
    pub fn report(&self, _: &Renounced, report: Report) {
        let _ = send(&self.0, &report.to_bytes());
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

    /// Takes over the inherited descriptor `number`, if an outer selfdock has left it open as our
    /// leash. Ends the process if that is torn.
    ///
    /// Whoever forges one can but stop or end a process of their own. Not one of 0 to 2, whose
    /// numbers must stay taken.
    pub(super) fn inherit(socket: BorrowedFd<'_>, number: RawFd) -> Result<Option<Self>, Errno> {
        let is_possible = number > libc::STDERR_FILENO && getpid().as_raw() == 1;
        if !is_possible || !Stat::of(socket)?.is(libc::S_IFSOCK) {
            return Ok(None);
        }
        // SAFETY: takes numbers only; `socket` is open.
        let mark = unsafe { libc::fcntl(socket.as_raw_fd(), F_GETSIG) };
        match Errno::result(mark) {
            Ok(LEASH_MARK) => {}
            // EBADF: O_PATH, and no socket that one could use.
            Ok(_) | Err(Errno::EBADF) => return Ok(None),
            // It may be one, and the command must not have it.
            Err(errno) => return Err(errno),
        }
        // SAFETY: left open by the outer selfdock for us, and used by nobody else in this process.
        let leash = Self(unsafe { OwnedFd::from_raw_fd(number) });
        leash.exit_if_torn()?;
        Ok(Some(leash))
    }

    /// Marks it, so that a nested selfdock knows it.
    fn mark(&self) -> Result<(), Errno> {
        // SAFETY: takes numbers only; the descriptor is open.
        let status = unsafe { libc::fcntl(self.0.as_raw_fd(), F_SETSIG, LEASH_MARK) };
        Errno::result(status).map(drop)
    }

    fn exit_if_torn(&self) -> Result<(), Errno> {
        let mut question = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        if poll(&mut question, PollTimeout::ZERO)? != 0 {
            exit(CANNOT);
        }
        Ok(())
    }
}

impl AsFd for Leash {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Marks a socket as a leash, in a place that exec leaves alone and that nobody else has a use for:
/// the signal of F_SETSIG, fcntl(2).
const LEASH_MARK: c_int = libc::SIGPWR;

/// Of `linux/fcntl.h`; the libc crate lacks them.
const F_SETSIG: c_int = 10;
const F_GETSIG: c_int = 11;

/// Sends `bytes`, and no SIGPIPE to ourselves: send(2).
fn send(socket: &OwnedFd, bytes: &[u8]) -> Result<(), Errno> {
    let (fd, start, length) = (socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
    // SAFETY: the kernel reads `length` bytes from `start`, and `bytes` has that many.
    let status = unsafe { libc::send(fd, start, length, libc::MSG_NOSIGNAL) };
    Errno::result(status).map(drop)
}

/// Receives what is there by now, into `bytes`: recv(2).
fn receive(socket: &OwnedFd, bytes: &mut [u8]) -> Result<usize, Errno> {
    let (fd, start, length) = (socket.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len());
    // SAFETY: the kernel writes at most `length` bytes from `start`, and `bytes` has that many.
    let status = unsafe { libc::recv(fd, start, length, libc::MSG_DONTWAIT) };
    Errno::result(status).map(isize::cast_unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reported_is_what_is_read() {
        for report in [
            Report::Listens,
            Report::Stopped(libc::SIGTSTP),
            Report::Ended(Ending::Exited(255)),
            Report::Ended(Ending::Signaled(64)),
        ] {
            assert_eq!(Report::from_bytes(report.to_bytes()), Some(report));
        }
        // Whoever has got hold of the other end may write anything.
        for bytes in [[0, 0], [b's', 0], [b's', 65], [b'k', 0], [b'k', 255]] {
            assert_eq!(Report::from_bytes(bytes), None, "{bytes:?}");
        }
    }
}

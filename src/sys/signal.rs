//! Signals: waiting for them, and dying of one.

use std::os::fd::{AsFd, BorrowedFd};

use libc::c_int;
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Lets children become zombies, to be waited for, even if the caller ignores SIGCHLD. What comes
/// back is the caller's own choice, to be put back in the child.
pub(super) fn default_sigchld() -> Result<SigAction, Errno> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    set_sigchld(&default)
}

/// Sets what becomes of SIGCHLD, and tells what it was: sigaction(2).
pub(super) fn set_sigchld(action: &SigAction) -> Result<SigAction, Errno> {
    // SAFETY: exec has reset every handler, so `action` is "default" or "ignore", never a function.
    unsafe { nix::sys::signal::sigaction(Signal::SIGCHLD, action) }
}

/// A signal that has arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Its number.
    pub signal: c_int,
    /// Did the kernel send it: a terminal to its whole foreground group, say?
    pub is_from_kernel: bool,
}

/// The signals that arrive, every one of them being blocked: signalfd(2).
///
/// Not sigwaitinfo(2): while it waits, the signals that it waits for read as not blocked, and an
/// outer supervisor would take a nested one for deaf.
#[derive(Debug)]
pub struct Arrivals(SignalFd);

impl Arrivals {
    /// Listens to every signal that can be blocked.
    pub fn listen() -> Result<Self, Errno> {
        SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC).map(Self)
    }

    /// Waits for the next one.
    pub fn next(&self) -> Result<Arrival, Errno> {
        loop {
            match self.0.read_signal() {
                Ok(Some(info)) => {
                    return Ok(Arrival {
                        signal: info.ssi_signo.cast_signed(),
                        is_from_kernel: info.ssi_code == libc::SI_KERNEL,
                    });
                }
                Ok(None) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for Arrivals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Dies of `signal`, without a core dump. Comes back if it is pid 1, which cannot.
///
/// Whatever fails here, the caller of this function exits with 128 and the number instead.
pub fn die_of(signal: c_int) {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // SAFETY: installs no handler, so there is no function that could be unsafe to run.
    let _ = unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: takes a number only. The signal is blocked, hence stays pending for now.
    let _ = unsafe { libc::raise(signal) };
    let mut only = *SigSet::empty().as_ref();
    // SAFETY: `only` is a valid set, of our own.
    let _ = unsafe { libc::sigaddset(&raw mut only, signal) };
    // SAFETY: `only` outlives the call; the old mask is not asked for.
    let _ = unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const only, std::ptr::null_mut()) };
}

//! Signals: waiting for them, and dying of one.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use libc::c_int;
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Lets children become zombies, to be waited for, even if the caller ignores SIGCHLD. What comes
/// back is the caller's own choice, to be put back in the child.
pub(super) fn default_sigchld() -> Result<SigAction, Errno> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    set_sigchld(&default)
}

/// The same, for good.
pub fn expect_children() -> Result<(), Errno> {
    default_sigchld().map(drop)
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
    /// Who sent it.
    pub sender: Sender,
}

/// Who sends signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The kernel: a terminal to its whole foreground group, say, or a timer.
    Kernel,
    /// A process that has this number: in our pid namespace, or in its own, if that is below ours.
    Process {
        /// The number.
        pid: u32,
        /// Its real user id.
        uid: u32,
    },
    /// A process outside of our pid namespace, or whoever.
    Unknown,
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
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&SigSet::all(), flags).map(Self)
    }

    /// The next one that is there by now.
    pub fn next(&self) -> Result<Option<Arrival>, Errno> {
        let Some(info) = self.0.read_signal()? else {
            return Ok(None);
        };
        let sender = match (info.ssi_code, info.ssi_pid) {
            (libc::SI_KERNEL, _) => Sender::Kernel,
            (libc::SI_USER | libc::SI_TKILL | libc::SI_QUEUE, pid) if pid > 0 => Sender::Process {
                pid,
                uid: info.ssi_uid,
            },
            _ => Sender::Unknown,
        };
        let signal = info.ssi_signo.cast_signed();
        Ok(Some(Arrival { signal, sender }))
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
    let _ = suffer(signal);
}

/// Stops by `signal`, and comes back when continued: or at once, if it is pid 1, or in a process
/// group that is orphaned, which nobody could continue. The signal is blocked again then.
pub fn stop_by(signal: c_int) -> Result<(), Errno> {
    suffer(signal)?;
    change_mask(SigmaskHow::SIG_BLOCK, &SigSet::all()).map(drop)
}

/// Has SIGCONT come, and not been taken yet?
pub fn is_continued() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::zeroed();
    let set = pending.as_mut_ptr();
    // SAFETY: `set` has room for what the call writes.
    let status = unsafe { libc::sigpending(set) };
    // SAFETY: `set` is zeroed and perhaps filled in, and a set either way.
    let is_in = unsafe { libc::sigismember(set, libc::SIGCONT) };
    status == 0 && is_in == 1
}

/// Does `signal` do to this process what it does by default?
pub(super) fn is_default(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    let buffer = action.as_mut_ptr();
    // SAFETY: nothing is set; what is set now goes to `buffer`, which has room for it.
    let status = unsafe { libc::sigaction(signal as c_int, std::ptr::null(), buffer) };
    // SAFETY: zeroed and perhaps filled in; zero is a value for every field.
    let action = unsafe { action.assume_init() };
    status == 0 && action.sa_sigaction == libc::SIG_DFL
}

/// Has a signal that is blocked do to this process what it does by default.
fn suffer(signal: c_int) -> Result<(), Errno> {
    // SAFETY: installs no handler, so there is no function that could be unsafe to run.
    let _ = unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: takes a number only. The signal is blocked, hence stays pending for now.
    let status = unsafe { libc::raise(signal) };
    Errno::result(status)?;
    let mut only = *SigSet::empty().as_ref();
    // SAFETY: `only` is a valid set, of our own.
    let status = unsafe { libc::sigaddset(&raw mut only, signal) };
    Errno::result(status)?;
    // SAFETY: `only` outlives the call; the old mask is not asked for.
    let status =
        unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const only, std::ptr::null_mut()) };
    Errno::result(status).map(drop)
}

/// Changes which signals are blocked, and answers which were: sigprocmask(2).
///
/// Not by nix's `SigSet::thread_block` and its like: they take an error of pthread_sigmask(3), which
/// is its result and not -1, for success. There is one thread.
pub(super) fn change_mask(how: SigmaskHow, set: &SigSet) -> Result<SigSet, Errno> {
    let mut before = SigSet::empty();
    sigprocmask(how, Some(set), Some(&mut before))?;
    Ok(before)
}

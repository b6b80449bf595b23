//! Signals: waiting for them, and dying of one.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::c_int;
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};
use nix::unistd::{getpid, gettid};

use super::new_descriptor;

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
pub struct Arrivals(OwnedFd);

impl Arrivals {
    /// Listens to every signal that can be blocked.
    pub fn listen() -> Result<Self, Errno> {
        let (mask, flags) = (Mask::ALL, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        let set = &raw const mask.0;
        // SAFETY: the kernel reads one set of the size that it is told; -1 asks for a new descriptor.
        let status = unsafe { libc::syscall(libc::SYS_signalfd4, -1, set, Mask::SIZE, flags) };
        new_descriptor(status).map(Self)
    }

    /// The next one that is there by now.
    pub fn next(&self) -> Result<Option<Arrival>, Errno> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let (fd, buffer, size) = (self.0.as_raw_fd(), info.as_mut_ptr(), size_of_val(&info));
        // SAFETY: the kernel writes at most `size` bytes to `buffer`, which has that many.
        let status = unsafe { libc::read(fd, buffer.cast(), size) };
        match Errno::result(status) {
            Ok(_) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        // SAFETY: zeroed and then filled in: a whole one is read, or none; every field is an integer.
        let info = unsafe { info.assume_init() };
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
    change_mask(libc::SIG_BLOCK, Mask::ALL).map(drop)
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
    // Of SIGKILL and SIGSTOP nothing can be changed, nor need be.
    let _ = reset(signal);
    let own = (getpid().as_raw(), gettid().as_raw());
    // SAFETY: takes numbers only. The signal is blocked, hence stays pending for now.
    let status = unsafe { libc::syscall(libc::SYS_tgkill, own.0, own.1, signal) };
    Errno::result(status)?;
    change_mask(libc::SIG_UNBLOCK, Mask::of(signal)).map(drop)
}

/// Has a signal do what it does by default: sigaction(2), the system call, since a C library refuses
/// the signals that it keeps for itself, as it does in raise(3).
fn reset(signal: c_int) -> Result<(), Errno> {
    // `struct sigaction` of the kernel: SIG_DFL, no flags, no restorer, an empty mask.
    static DEFAULT: [u64; 4] = [0; 4];
    let (action, before) = (&raw const DEFAULT, std::ptr::null_mut::<u64>());
    // SAFETY: `action` is as large as the kernel's structure on every machine, and a constant; what was
    // set before is not asked for. No handler is installed.
    let status =
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action, before, Mask::SIZE) };
    Errno::result(status).map(drop)
}

/// Signals, as the kernel has them: bit 0 is signal 1.
///
/// Not libc's sets, which are without those that it keeps for itself: 32 and 33, by musl 34 as well.
/// To anybody else these are signals like others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mask(u64);

impl Mask {
    const SIZE: usize = size_of::<u64>();
    /// Every signal; the kernel leaves out SIGKILL and SIGSTOP itself.
    pub const ALL: Self = Self(u64::MAX);

    /// This one.
    pub const fn of(signal: c_int) -> Self {
        Self(1 << (signal - 1))
    }

    /// Is the signal among them?
    pub const fn has(self, signal: c_int) -> bool {
        self.0 & Self::of(signal).0 != 0
    }
}

/// Changes which signals are blocked, and answers which were: sigprocmask(2), the system call. There
/// is one thread.
pub(super) fn change_mask(how: c_int, mask: Mask) -> Result<Mask, Errno> {
    let (mut before, call) = (Mask(0), libc::SYS_rt_sigprocmask);
    let (set, old) = (&raw const mask.0, &raw mut before.0);
    // SAFETY: the kernel reads and writes one set of the size that it is told; both are that.
    let status = unsafe { libc::syscall(call, how, set, old, Mask::SIZE) };
    Errno::result(status).map(|_| before)
}

/// Which signals are blocked?
pub(super) fn mask() -> Result<Mask, Errno> {
    change_mask(libc::SIG_BLOCK, Mask(0))
}

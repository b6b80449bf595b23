//! Processes: namespaces, fork, signals, waiting, exec.

use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use libc::c_int;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, pipe2};
use thiserror::Error;

use super::new_descriptor;
use crate::exit::CANNOT;

use super::privilege::{PrivilegeError, Raised, Renounced, Shelved};

/// Children of this process will be in a new pid namespace, the first of them as its pid 1.
///
/// Errors: `ENOSPC` at the 33rd level, or at `user.max_pid_namespaces`.
/// Source: `create_pid_namespace()` in Linux `kernel/pid_namespace.c`.
pub fn unshare_pid_namespace(_: &Raised<'_>) -> Result<(), Errno> {
    nix::sched::unshare(CloneFlags::CLONE_NEWPID)
}

/// Moves this process to a copy of its mount namespace.
///
/// Errors: `ENOSPC` at `user.max_mnt_namespaces` or `fs.mount-max`.
pub fn unshare_mount_namespace(_: &Raised<'_>) -> Result<(), Errno> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)
}

/// Which side of the fork this is.
#[derive(Debug)]
pub enum Side {
    /// The waiting parent; all privilege is gone.
    Supervisor(Child, Renounced),
    /// Pid 1 of the new pid namespace, with what the parent had.
    Pid1(Shelved, Leash),
}

/// Why there are not two processes now.
#[derive(Debug, Error)]
pub enum SplitError {
    /// A system call failed: fork(2), pipe2(2), pidfd_open(2), sigaction(2), prctl(2).
    #[error("{call}: {}", errno.desc())]
    Kernel {
        /// The call that failed.
        call: &'static str,
        /// The kernel's word. `EAGAIN` of fork: RLIMIT_NPROC.
        errno: Errno,
    },
    /// The parent could not give its privilege up.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
}

fn failed(call: &'static str) -> impl Fn(Errno) -> SplitError {
    move |errno| SplitError::Kernel { call, errno }
}

/// Forks: a plain fork(2), without CLONE_VM, so that neither side can reach the other's memory.
///
/// The effective set is empty, so RLIMIT_NPROC applies. The child dies with the parent, however
/// that ends; the parent comes back with every signal blocked, the child with the caller's mask.
pub(crate) fn split(shelved: Shelved) -> Result<Side, SplitError> {
    let signals = Signals::block().map_err(failed("sigprocmask"))?;
    let (leash, hold) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe2"))?;
    // SAFETY: this process has one thread, so the child finds no lock held by another.
    match unsafe { nix::unistd::fork() }.map_err(failed("fork"))? {
        ForkResult::Parent { child } => {
            let pidfd = open_pidfd(child.as_raw()).map_err(failed("pidfd_open"))?;
            let renounced = shelved.renounce_waiting()?;
            Ok(Side::Supervisor(Child { pidfd, hold, leash }, renounced))
        }
        ForkResult::Child => {
            drop(hold);
            die_with_parent().map_err(failed("prctl"))?;
            signals.restore().map_err(failed("sigprocmask"))?;
            Ok(Side::Pid1(shelved, Leash(leash)))
        }
    }
}

/// This process gets SIGKILL when its parent ends: PR_SET_PDEATHSIG.
///
/// Survives an exec, unless that gains privilege. A nested selfdock, whose exec did, asks anew in
/// its entry point. Source: `commit_creds()` in Linux `kernel/cred.c`.
fn die_with_parent() -> Result<(), Errno> {
    prctl::set_pdeathsig(Signal::SIGKILL)
}

/// What the child is held by until its supervisor has nothing left that could fail.
#[derive(Debug)]
pub struct Leash(OwnedFd);

impl Leash {
    /// Waits for `Child::release`. Ends the process if the supervisor has ended: it has said why.
    ///
    /// Its end of the pipe is closed with its other files, and that is before the kernel looks for
    /// children to kill. So if it is open even now, that signal is still to come.
    pub fn wait_for_release(self) -> Result<(), Errno> {
        let mut byte = [0];
        let is_released = loop {
            match nix::unistd::read(&self.0, &mut byte) {
                Err(Errno::EINTR) => {}
                count => break count? == 1,
            }
        };
        if !is_released || self.has_hung_up()? {
            exit(CANNOT);
        }
        Ok(())
    }

    fn has_hung_up(&self) -> Result<bool, Errno> {
        let mut question = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        Ok(poll(&mut question, PollTimeout::ZERO)? != 0)
    }
}

/// The signal state of the caller, set aside while selfdock has its own.
struct Signals {
    mask: SigSet,
    of_child: SigAction,
}

impl Signals {
    /// Blocks every signal, and lets children become zombies even if the caller ignores SIGCHLD.
    fn block() -> Result<Self, Errno> {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: installs no handler, so there is no function that could be unsafe to run.
        let of_child = unsafe { nix::sys::signal::sigaction(Signal::SIGCHLD, &default) }?;
        let mut mask = SigSet::empty();
        let all = SigSet::all();
        nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), Some(&mut mask))?;
        Ok(Self { mask, of_child })
    }

    /// Gives back what `block` took.
    fn restore(&self) -> Result<(), Errno> {
        // SAFETY: exec has reset every handler, so what was there is "default" or "ignore".
        unsafe { nix::sys::signal::sigaction(Signal::SIGCHLD, &self.of_child) }?;
        nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None)
    }
}

/// The command's process, as its supervisor holds it.
#[derive(Debug)]
pub struct Child {
    /// What signals go through: never a number, which may be another's by then.
    pidfd: OwnedFd,
    /// Its other end tells the child that the parent is ready, and alive.
    hold: OwnedFd,
    /// That other end, open here too, so that writing to it never is a SIGPIPE.
    leash: OwnedFd,
}

impl Child {
    /// Every descriptor that must stay open.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.pidfd.as_fd(), self.hold.as_fd(), self.leash.as_fd()]
    }

    /// Number of the pidfd.
    pub fn pidfd_number(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }

    /// Lets the child go on to exec: the supervisor is ready, and has nothing to lose any more.
    pub fn release(&self, _: &Renounced) -> Result<(), Errno> {
        nix::unistd::write(&self.hold, &[0]).map(drop)
    }

    /// Sends `signal`: pidfd_send_signal(2), Linux 5.1. `ESRCH` if the process has ended.
    pub fn send(&self, _: &Renounced, signal: c_int) -> Result<(), Errno> {
        let pidfd = self.pidfd.as_raw_fd();
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: `pidfd` is open as long as `self`; a null pointer asks for the usual siginfo.
        let status =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, no_info, 0) };
        Errno::result(status).map(drop)
    }

    /// How the process ended, or `None` if it has not: waitid(2).
    pub fn ended(&self) -> Result<Option<Ending>, Errno> {
        let pidfd = self.pidfd.as_raw_fd().cast_unsigned();
        let flags = libc::WEXITED | libc::WNOHANG;
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        let buffer = info.as_mut_ptr();
        // SAFETY: `pidfd` is open as long as `self`; the kernel writes one `siginfo_t` at most.
        let status = unsafe { libc::waitid(libc::P_PIDFD, pidfd, buffer, flags) };
        Errno::result(status)?;
        // SAFETY: zeroed and perhaps filled in; every field is an integer, zero is a value for it.
        let info = unsafe { info.assume_init() };
        // SAFETY: waitid fills in the SIGCHLD fields, or leaves the zeroes.
        let status = unsafe { info.si_status() };
        Ok(match info.si_code {
            // Of the status that a process gives, the kernel keeps eight bits.
            libc::CLD_EXITED => Some(Ending::Exited((status & 0xff) as u8)),
            libc::CLD_KILLED | libc::CLD_DUMPED => Some(Ending::Signaled(status)),
            _ => None,
        })
    }
}

fn open_pidfd(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes numbers only.
    new_descriptor(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Signaled(c_int),
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

/// Ends the process at once: no destructor and no handler of atexit(3) runs.
pub fn exit(status: u8) -> ! {
    // SAFETY: takes a number, and does not come back.
    unsafe { libc::_exit(c_int::from(status)) }
}

/// A soft RLIMIT_NOFILE that is raised, within the caller's own hard limit, until it is put back.
#[derive(Debug)]
pub struct DescriptorLimit(Option<(u64, u64)>);

impl DescriptorLimit {
    /// Makes room for `count` descriptors beside the few that are always open, if there is none
    /// and may be.
    pub fn make_room(count: usize) -> Result<Self, Errno> {
        const ALWAYS: usize = 64;
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let wanted = u64::try_from(count + ALWAYS).unwrap_or(hard).min(hard);
        if count == 0 || wanted <= soft {
            return Ok(Self(None));
        }
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
        Ok(Self(Some((soft, hard))))
    }

    /// Puts the caller's limit back.
    pub fn restore(self) -> Result<(), Errno> {
        match self.0 {
            Some((soft, hard)) => setrlimit(Resource::RLIMIT_NOFILE, soft, hard),
            None => Ok(()),
        }
    }
}

/// Goes to the directory `dir`. `EACCES` if the caller may not search it.
pub fn change_dir(_: &Renounced, dir: impl AsFd) -> Result<(), Errno> {
    nix::unistd::fchdir(dir)
}

/// Executes `program`: execve(2). Comes back with the reason only.
pub fn execute(
    _: &Renounced,
    program: &CStr,
    args: &[impl AsRef<CStr>],
    environment: &[impl AsRef<CStr>],
) -> Errno {
    let Err(errno) = nix::unistd::execve(program, args, environment) as Result<Infallible, Errno>;
    errno
}

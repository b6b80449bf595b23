//! Processes: namespaces, fork, waiting, exec.

use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use libc::c_int;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::{ForkResult, pipe2};
use thiserror::Error;

use super::leash::{Leash, die_with_parent, mark_as_leash};
use super::new_descriptor;
use super::privilege::{PrivilegeError, Raised, Renounced, Shelved};
use super::signal::{default_sigchld, set_sigchld};
use super::terminal::share_foreground;

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
/// that ends, unless the command wants otherwise, and it has the caller's signal state.
///
/// The parent has every signal blocked that libc lets it, but not earlier: a signal that ends it
/// before is like one that comes before the start, while one that is sent to a child that has it
/// blocked would be lost when the child unblocks it.
pub(crate) fn split(shelved: Shelved) -> Result<Side, SplitError> {
    let callers = default_sigchld().map_err(failed("sigaction"))?;
    let (leash, hold) = pipe2(OFlag::O_CLOEXEC).map_err(failed("pipe2"))?;
    mark_as_leash(&leash).map_err(failed("fcntl"))?;
    // SAFETY: this process has one thread, so the child finds no lock held by another.
    match unsafe { nix::unistd::fork() }.map_err(failed("fork"))? {
        ForkResult::Parent { child } => {
            SigSet::all()
                .thread_block()
                .map_err(failed("sigprocmask"))?;
            share_foreground(child);
            let pidfd = open_pidfd(child.as_raw()).map_err(failed("pidfd_open"))?;
            let renounced = shelved.renounce_waiting()?;
            Ok(Side::Supervisor(Child { pidfd, hold, leash }, renounced))
        }
        ForkResult::Child => {
            drop(hold);
            die_with_parent().map_err(failed("prctl"))?;
            set_sigchld(&callers).map_err(failed("sigaction"))?;
            Ok(Side::Pid1(shelved, Leash(leash)))
        }
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

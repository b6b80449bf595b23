//! Processes: namespaces, fork, waiting, exec.

use std::convert::Infallible;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::c_int;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{ForkResult, Pid, getpgid, getpid};
use thiserror::Error;

use super::fs::Stat;
use super::leash::{self, Hold, Leash, die_with_parent};
use super::new_descriptor;
use super::privilege::{self, PrivilegeError, Raised, Renounced, Shelved};
use super::signal::{Mask, change_mask, default_sigchld, set_sigchld};

/// Children of this process will be in a new pid namespace, the first of them as its pid 1.
///
/// Errors: `ENOSPC` at the 33rd level, or at `user.max_pid_namespaces`.
/// Source: `create_pid_namespace()` in Linux `kernel/pid_namespace.c`.
pub fn unshare_pid_namespace(_: &Raised<'_>) -> Result<(), NamespaceError> {
    Ok(nix::sched::unshare(CloneFlags::CLONE_NEWPID)?)
}

/// Is this process pid 1, as the first child after `unshare_pid_namespace` is?
pub fn expect_to_be_pid_1() -> Result<(), NamespaceError> {
    if is_pid_1() {
        Ok(())
    } else {
        Err(NamespaceError::Ineffective)
    }
}

/// Is this process pid 1 of its pid namespace?
pub fn is_pid_1() -> bool {
    getpid().as_raw() == 1
}

/// Moves this process to a copy of its mount namespace.
///
/// In a copy each mount has a number of its own. That is looked at, since all that follows would
/// rebuild the mounts of the host if a filter had let the call do nothing.
/// Errors: `ENOSPC` at `user.max_mnt_namespaces` or `fs.mount-max`.
/// Source: `copy_mnt_ns()` in Linux `fs/namespace.c`.
pub fn unshare_mount_namespace(shelved: &mut Shelved) -> Result<(), NamespaceError> {
    let before = Stat::of_root(shelved)?;
    let raised = shelved.raise()?;
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
    drop(raised);
    if Stat::of_root(shelved)?.mount_id == before.mount_id {
        return Err(NamespaceError::Ineffective);
    }
    Ok(())
}

/// Why there is no new namespace.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// unshare(2), openat2(2), statx(2).
    #[error("{}", .0.desc())]
    Kernel(#[from] Errno),
    /// The call reported success, and did nothing.
    #[error("unshare did not take effect")]
    Ineffective,
    /// Privilege could not be raised.
    #[error("cannot use privilege: {0}")]
    Privilege(#[from] PrivilegeError),
}

/// Children of this process will be in the pid namespace of `process`.
///
/// The kernel asks for the right to trace that process, by the caller's own ids, since CAP_SYS_PTRACE
/// is not there. Errors: `EPERM` without it; `ESRCH` if the process has ended; `EINVAL` if its
/// namespace is not below ours.
/// Source: `validate_nsset()` in Linux `kernel/nsproxy.c`; Linux 5.8 for a pidfd.
pub fn join_pid_namespace(_: &Raised<'_>, process: &Process) -> Result<(), Errno> {
    setns(&process.pidfd, CloneFlags::CLONE_NEWPID)
}

/// Moves this process to the mount namespace of `process`, and to the root directory there. Needs
/// `raise_to_enter`. Errors: as `join_pid_namespace`.
///
/// The kernel lets us into one of a user namespace of the caller's making as well, where a
/// set-user-id program obeys whatever the caller has put there (CVE-2022-31214): who calls this must
/// ask for the owner at once.
pub fn join_mount_namespace(_: &Raised<'_>, process: &Process) -> Result<(), Errno> {
    setns(&process.pidfd, CloneFlags::CLONE_NEWNS)
}

/// Which side of the fork this is.
#[derive(Debug)]
pub enum Side {
    /// The waiting parent; all privilege is gone.
    Supervisor(Process, Hold, Renounced),
    /// A process of the other pid namespace, with what the parent had.
    Child(Shelved, Leash),
}

/// The same, of the fork of `--init`.
#[derive(Debug)]
pub enum InitSide {
    /// Pid 1.
    Init(Process, Hold),
    /// The process that will be the command.
    Command(Leash),
}

/// Why there are not two processes now.
#[derive(Debug, Error)]
pub enum SplitError {
    /// A system call failed: fork(2), socketpair(2), pidfd_open(2), sigaction(2), prctl(2).
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

impl SplitError {
    /// Is it for want of a pid 1 in the namespace of the child-to-be?
    ///
    /// Source: `alloc_pid()` in Linux `kernel/pid.c`.
    pub fn is_of_ended_namespace(&self) -> bool {
        matches!(
            self,
            Self::Kernel {
                call: "fork",
                errno: Errno::ENOMEM
            }
        )
    }
}

fn failed(call: &'static str) -> impl Fn(Errno) -> SplitError {
    move |errno| SplitError::Kernel { call, errno }
}

/// Forks: a plain fork(2), without CLONE_VM, so that neither side can reach the other's memory.
///
/// The effective set is empty, so RLIMIT_NPROC applies. The child dies with the parent, however
/// that ends, unless the command wants otherwise, and it has the caller's signal state.
///
/// The parent has every signal blocked, but not earlier: a signal that ends it
/// before is like one that comes before the start, while one that is sent to a child that has it
/// blocked would be lost when the child unblocks it.
pub(crate) fn split(shelved: Shelved) -> Result<Side, SplitError> {
    let callers = default_sigchld().map_err(failed("sigaction"))?;
    let (hold, leash) = leash::new_pair().map_err(failed("socketpair"))?;
    // SAFETY: this process has one thread, so the child finds no lock held by another.
    match unsafe { nix::unistd::fork() }.map_err(failed("fork"))? {
        ForkResult::Parent { child } => {
            change_mask(libc::SIG_BLOCK, Mask::ALL).map_err(failed("sigprocmask"))?;
            drop(leash);
            let child = Process::open(child).map_err(failed("pidfd_open"))?;
            Ok(Side::Supervisor(child, hold, shelved.renounce_waiting()?))
        }
        ForkResult::Child => {
            drop(hold);
            die_with_parent().map_err(failed("prctl"))?;
            set_sigchld(&callers).map_err(failed("sigaction"))?;
            Ok(Side::Child(shelved, leash))
        }
    }
}

/// Forks once more: this process stays as pid 1, with every signal blocked, and has the command as
/// its child. In that there is a leash to wait on, and the caller's signal state.
pub fn split_from_init(_: &Renounced) -> Result<InitSide, SplitError> {
    let callers = default_sigchld().map_err(failed("sigaction"))?;
    let (hold, leash) = leash::new_pair().map_err(failed("socketpair"))?;
    let mask = change_mask(libc::SIG_BLOCK, Mask::ALL).map_err(failed("sigprocmask"))?;
    // SAFETY: this process has one thread, so the child finds no lock held by another.
    match unsafe { nix::unistd::fork() }.map_err(failed("fork"))? {
        ForkResult::Parent { child } => {
            drop(leash);
            privilege::forgo_new_privileges()?;
            let child = Process::open(child).map_err(failed("pidfd_open"))?;
            Ok(InitSide::Init(child, hold))
        }
        ForkResult::Child => {
            set_sigchld(&callers).map_err(failed("sigaction"))?;
            change_mask(libc::SIG_SETMASK, mask).map_err(failed("sigprocmask"))?;
            drop(hold);
            Ok(InitSide::Command(leash))
        }
    }
}

/// A process that cannot be mistaken for another one.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    /// What signals go through: never a number, which may be another's by then.
    pidfd: OwnedFd,
}

impl Process {
    /// Opens the process that has this number now: pidfd_open(2), Linux 5.3.
    pub fn open(pid: Pid) -> Result<Self, Errno> {
        // SAFETY: takes numbers only.
        let status = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        new_descriptor(status).map(|pidfd| Self { pid, pidfd })
    }

    /// Is it the same process? Both must be children, whose numbers stay theirs, or held else.
    pub fn is_same(&self, other: &Self) -> bool {
        self.pid == other.pid
    }

    /// Its process group, in the numbers of our namespace. Of a child only, whose number stays its
    /// own until it is waited for.
    pub fn group(&self) -> Result<Pid, Errno> {
        getpgid(Some(self.pid))
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

    /// What has become of this child since it was last asked: waitid(2). Of an ending it tells
    /// once, and the process is gone for good then.
    pub fn change(&self, _: &Renounced) -> Result<Option<Change>, Errno> {
        self.wait(libc::WEXITED | libc::WSTOPPED)
    }

    /// Has this child been continued since it was last asked?
    pub fn was_continued(&self, _: &Renounced) -> Result<bool, Errno> {
        match self.wait(libc::WCONTINUED) {
            // It has ended, and how is not asked here.
            Err(Errno::ECHILD) => Ok(false),
            change => Ok(change? == Some(Change::Continued)),
        }
    }

    fn wait(&self, changes: c_int) -> Result<Option<Change>, Errno> {
        let pidfd = self.pidfd.as_raw_fd().cast_unsigned();
        wait(libc::P_PIDFD, pidfd, changes).map(|(_, change)| change)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Collects what has ended of those that were left to us as pid 1, but for `child`.
pub fn reap_orphans(_: &Renounced, child: &Process) -> Result<(), Errno> {
    loop {
        // Looked at first: how the child ended is to be asked once, elsewhere.
        let (pid, ended) = wait(libc::P_ALL, 0, libc::WEXITED | libc::WNOWAIT)?;
        if ended.is_none() || pid == child.pid {
            return Ok(());
        }
        wait(libc::P_PID, pid.as_raw().cast_unsigned(), libc::WEXITED)?;
    }
}

/// Asks for `changes` of a child, and does not wait: waitid(2).
///
/// Not nix's: it knows no real-time signal that a process may have died of.
fn wait(
    kind: libc::idtype_t,
    id: libc::id_t,
    changes: c_int,
) -> Result<(Pid, Option<Change>), Errno> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let (buffer, flags) = (info.as_mut_ptr(), changes | libc::WNOHANG);
    // SAFETY: the kernel writes one `siginfo_t` at most; a pidfd, if `id` is one, is the caller's.
    let status = unsafe { libc::waitid(kind, id, buffer, flags) };
    Errno::result(status)?;
    // SAFETY: zeroed and perhaps filled in; every field is an integer, zero is a value for it.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid fills in the SIGCHLD fields, or leaves the zeroes.
    let status = unsafe { info.si_status() };
    // SAFETY: as above.
    let pid = unsafe { info.si_pid() };
    let change = match info.si_code {
        // Of the status that a process gives, the kernel keeps eight bits.
        libc::CLD_EXITED => Some(Change::Ended(Ending::Exited((status & 0xff) as u8))),
        libc::CLD_KILLED | libc::CLD_DUMPED => Some(Change::Ended(Ending::Signaled(status))),
        libc::CLD_STOPPED => Some(Change::Stopped(status)),
        libc::CLD_CONTINUED => Some(Change::Continued),
        _ => None,
    };
    Ok((Pid::from_raw(pid), change))
}

/// What becomes of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It has ended.
    Ended(Ending),
    /// It was stopped, by this signal.
    Stopped(c_int),
    /// It was stopped and goes on.
    Continued,
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
        const ALWAYS: usize = 128;
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let wanted = u64::try_from(count + ALWAYS).unwrap_or(hard).min(hard);
        if wanted <= soft {
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

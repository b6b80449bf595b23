//! Pid 1 that stops itself: on ^Z an editor or a pager puts the terminal in order, and then sends
//! itself SIGTSTP, which as pid 1 it is spared.
//!
//! So a seccomp filter hands those calls to the supervisor, which stops the process from outside. A
//! convenience: where the kernel has no such thing (Linux 5.19), or an outer program has taken the one
//! place that there is for it, the call does nothing, as without selfdock.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::{c_int, seccomp_notif, seccomp_notif_resp, sock_filter};
use nix::errno::Errno;
use nix::unistd::Pid;

use super::bpf::{self, ALLOW, ARCH, NUMBER, argument, end, go_if, load};
use super::new_descriptor;
use super::privilege::{Raised, Renounced};
use super::process::Process;
use super::procfs::Procfs;

/// The listener for such calls of all those who were started after `listen`: seccomp_unotify(2).
#[derive(Debug)]
pub struct SelfStops(OwnedFd);

/// A process is about to stop itself, or its process group, and waits for the answer.
#[derive(Debug)]
pub struct SelfStop {
    id: u64,
    /// Who calls; `None` for one that has gone, or cannot be seen.
    pub process: Option<Process>,
    /// The signal.
    pub signal: c_int,
    /// Is it for the whole group?
    pub is_for_group: bool,
}

/// What becomes of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The kernel goes on with it.
    Proceed,
    /// It has succeeded: we have done what it was for.
    Done,
}

impl SelfStops {
    /// Has the calls of this process, and of all that it becomes, handed over. `None` where that is
    /// not to be had.
    ///
    /// Once a call was handed over, only what kills its process interrupts it: the SIGSTOP that is
    /// part of the answer must not.
    pub fn listen(_: &Raised<'_>) -> Option<Self> {
        let flags =
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
        let status = bpf::install(&mut PROGRAM.clone(), flags);
        // A filter of an outer program's may answer anything: 0 to 2 are not ours.
        let is_new = status > libc::STDERR_FILENO.into();
        is_new.then(|| new_descriptor(status).ok().map(Self))?
    }

    /// The next call, to be answered whatever it is. To be asked only when there is one, or it
    /// waits; `None` if its process has gone meanwhile.
    pub fn next(&self, _: &Renounced, procfs: &Procfs) -> Option<SelfStop> {
        let mut notice = MaybeUninit::<seccomp_notif>::zeroed();
        let (listener, request) = (self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV);
        // SAFETY: the kernel wants `notice` zeroed, and writes one `seccomp_notif`.
        let status = unsafe { libc::ioctl(listener, request, notice.as_mut_ptr()) };
        Errno::result(status).ok()?;
        // SAFETY: zeroed and filled in; every field is an integer.
        let notice = unsafe { notice.assume_init() };
        // What calls is a thread, perhaps not the first of its process.
        let process = procfs
            .process_of_thread(notice.pid)
            .and_then(|pid| Process::open(Pid::from_raw(pid.cast_signed())).ok());
        let [target, second, third, ..] = notice.data.args;
        let is_tgkill = notice.data.nr == TGKILL as c_int;
        Some(SelfStop {
            id: notice.id,
            // Else the number may be another process's by now.
            process: process.filter(|_| self.is_waiting(notice.id)),
            signal: if is_tgkill { third } else { second } as c_int,
            is_for_group: target as c_int == 0,
        })
    }

    fn is_waiting(&self, id: u64) -> bool {
        let (listener, request) = (self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID);
        // SAFETY: the kernel reads one number, which outlives the call.
        let status = unsafe { libc::ioctl(listener, request, &raw const id) };
        Errno::result(status).is_ok()
    }

    /// Answers the call. If its process has gone, nobody hears it.
    pub fn answer(&self, call: &SelfStop, answer: Answer) {
        let goes_on = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        let mut response = seccomp_notif_resp {
            id: call.id,
            val: 0,
            error: 0,
            flags: if answer == Answer::Proceed {
                goes_on
            } else {
                0
            },
        };
        let (listener, request) = (self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND);
        // SAFETY: the kernel reads one `seccomp_notif_resp`, which outlives the call.
        let _ = unsafe { libc::ioctl(listener, request, &raw mut response) };
    }
}

impl AsFd for SelfStops {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

const KILL: u32 = libc::SYS_kill as u32;
const TKILL: u32 = libc::SYS_tkill as u32;
const TGKILL: u32 = libc::SYS_tgkill as u32;

/// Hands over: a stop signal to pid 1, as its own namespace calls it, or to the caller's group. The
/// machine's own system call table only; who comes by another one is spared the signal.
const PROGRAM: [sock_filter; 28] = [
    load(ARCH),
    go_if(bpf::HERE.native, 1),
    end(ALLOW),
    load(NUMBER),
    go_if(KILL, 3),
    go_if(TKILL, 2),
    go_if(TGKILL, 11),
    end(ALLOW),
    // kill(pid, signal), tkill(pid, signal)
    load(argument(0)),
    go_if(1, 2),
    go_if(0, 1),
    end(ALLOW),
    load(argument(1)),
    go_if(libc::SIGSTOP as u32, 13),
    go_if(libc::SIGTSTP as u32, 12),
    go_if(libc::SIGTTIN as u32, 11),
    go_if(libc::SIGTTOU as u32, 10),
    end(ALLOW),
    // tgkill(pid, thread, signal)
    load(argument(0)),
    go_if(1, 1),
    end(ALLOW),
    load(argument(2)),
    go_if(libc::SIGSTOP as u32, 4),
    go_if(libc::SIGTSTP as u32, 3),
    go_if(libc::SIGTTIN as u32, 2),
    go_if(libc::SIGTTOU as u32, 1),
    end(ALLOW),
    end(libc::SECCOMP_RET_USER_NOTIF),
];

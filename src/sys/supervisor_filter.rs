//! The supervisor's own filter: of all system calls those that it needs, and no other.
//!
//! It is outside of the instance, as the caller, and hears of what is inside: signals, words, /proc, a
//! terminal. Should anybody inside ever have it in hand, they are to execute, trace, mount, connect to
//! and write to nothing from there.
//!
//! What is not listed kills it, and with it the instance. An error instead would often go unheard: a
//! signal is not passed on, the terminal not given back, and the command runs on with nobody to end
//! it. Nor is anybody to try one call after the other.

use libc::{c_long, sock_filter};
use nix::errno::Errno;
use nix::unistd::getpid;

use super::bpf::{self, ALLOW, ARCH, NUMBER, argument, end, go_from, go_if, keep, load};
use super::filter::FilterError;
use super::privilege::Renounced;

/// Ends the process, and hence all that depends on it.
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
/// What seccomp(2) gets from then on: so the filter can be seen to be there.
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

/// What not every supervisor has to do.
#[derive(Debug, Clone, Copy)]
pub struct Duties {
    /// Give the terminal back.
    pub has_terminal: bool,
    /// Stop processes that would stop themselves: see `self_stop`.
    pub stops_others: bool,
}

/// Confines this process for good: seccomp(2). Nobody inherits it, for no process is started here any
/// more. `EINVAL` or `ENOSYS` without CONFIG_SECCOMP_FILTER.
pub fn confine(_: &Renounced, duties: Duties) -> Result<(), FilterError> {
    let calls = calls(getpid().as_raw().cast_unsigned(), duties);
    let mut program = program(&calls).ok_or(FilterError::Kernel(Errno::E2BIG))?;
    let status = bpf::install(&mut program, 0);
    Errno::result(status).map_err(FilterError::Kernel)?;
    const NO_OPERATION: libc::c_uint = libc::c_uint::MAX;
    // SAFETY: there is no such operation, so the kernel looks at nothing else.
    let status = unsafe { libc::syscall(libc::SYS_seccomp, NO_OPERATION, 0, 0) };
    match Errno::result(status) {
        Err(Errno::EPERM) => Ok(()),
        _ => Err(FilterError::Ineffective),
    }
}

/// A call, what it must be like, and what becomes of it then.
struct Call {
    number: u32,
    conditions: Vec<Condition>,
    answer: u32,
}

/// What an argument must be like, as far as the kernel looks at it, which is the low half of these.
enum Condition {
    /// One of these.
    OneOf(usize, Vec<u32>),
    /// Without any of these bits.
    Without(usize, u32),
}

fn call<const N: usize>(number: c_long, conditions: [Condition; N]) -> Call {
    Call {
        number: number as u32,
        conditions: conditions.into(),
        answer: ALLOW,
    }
}

/// Whatever the arguments. None of these changes a file, and none leads to a process other than those
/// to which there is a descriptor. Where glibc and musl, or machines, differ in how they ask for the
/// same, there are all.
const PLAIN: [c_long; 30] = [
    // What has happened, and what follows.
    libc::SYS_ppoll,
    libc::SYS_waitid,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_pidfd_send_signal,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,   // on machines where it is a call
    libc::SYS_restart_syscall, // of a wait, after we were stopped
    // /proc, and signals from their descriptor.
    libc::SYS_read,
    libc::SYS_getdents64,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_close_range,
    // Who we are.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    // Stopping and dying as the command does. There is no handler to return from.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigpending,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
];

/// No call at all: what is left of one that a debugger of root's lets fail.
const NONE: c_long = -1;

/// What newer machines do not have any more.
#[cfg(target_arch = "x86_64")]
const OLD: [c_long; 2] = [libc::SYS_poll, libc::SYS_getpgrp];
#[cfg(not(target_arch = "x86_64"))]
const OLD: [c_long; 0] = [];

/// All that is allowed to the process of this number, in the order of their numbers.
fn calls(own: u32, duties: Duties) -> Vec<Call> {
    use Condition::{OneOf, Without};
    // O_CREAT and the like are nothing without one of the first two.
    const WRITES: u32 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u32;
    const EXEC: u32 = libc::PROT_EXEC as u32;
    let (commands, signals) = (
        [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL],
        [0, libc::SIGCONT],
    );
    let numbers = |numbers: &[i32]| {
        numbers
            .iter()
            .map(|number| number.cast_unsigned())
            .collect()
    };
    let plain = PLAIN.iter().chain(&OLD).chain(&[NONE]);
    let mut calls: Vec<_> = plain.map(|number| call(*number, [])).collect();
    calls.extend([
        call(libc::SYS_openat, [Without(2, WRITES)]),
        call(libc::SYS_fcntl, [OneOf(1, numbers(&commands))]),
        // Nothing else is open for writing: the complaint that something has failed.
        call(libc::SYS_write, [OneOf(0, numbers(&[libc::STDERR_FILENO]))]),
        call(libc::SYS_mmap, [Without(2, EXEC)]),
        call(libc::SYS_mprotect, [Without(2, EXEC)]),
        // Others are continued, or asked whether they are there; we ourselves get whatever it is.
        call(libc::SYS_kill, [OneOf(1, numbers(&signals))]),
        call(libc::SYS_tkill, [OneOf(0, vec![own])]),
        call(libc::SYS_tgkill, [OneOf(0, vec![own])]),
        call(
            libc::SYS_prlimit64,
            [OneOf(0, vec![0]), OneOf(1, vec![libc::RLIMIT_CORE])],
        ),
        Call {
            answer: REFUSE,
            ..call(libc::SYS_seccomp, [])
        },
    ]);
    let mut requests = Vec::new();
    if duties.has_terminal {
        requests.extend([libc::TIOCGPGRP, libc::TIOCSPGRP].map(|request| request as u32));
    }
    if duties.stops_others {
        let of_self_stop = [
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
            libc::SECCOMP_IOCTL_NOTIF_SEND,
        ];
        requests.extend(of_self_stop.map(|request| request as u32));
        calls.push(call(libc::SYS_pidfd_open, []));
    }
    if !requests.is_empty() {
        calls.push(call(libc::SYS_ioctl, [OneOf(1, requests)]));
    }
    calls.sort_by_key(|call| call.number);
    calls
}

/// The filter; `None` if it would be too long. By another table of the machine's than its own no call
/// is allowed, and none of the x32 kind, which are in that table with numbers of their own.
fn program(calls: &[Call]) -> Option<Vec<sock_filter>> {
    let mut program = vec![load(ARCH), go_if(bpf::HERE.native, 1), end(KILL), load(NUMBER)];
    program.extend(search(calls)?);
    Some(program)
}

/// Finds the call whose number was loaded, by halving: when it is installed, the kernel goes through
/// the filter for each number that there is (`seccomp_cache_prepare()`, Linux 5.11).
fn search(calls: &[Call]) -> Option<Vec<sock_filter>> {
    if let [call] = calls {
        return judge(call);
    }
    let (below, rest) = calls.split_at(calls.len() / 2);
    let first = rest.first()?.number;
    let below = search(below)?;
    let mut program = vec![go_from(first, u8::try_from(below.len()).ok()?)];
    program.extend(below);
    program.extend(search(rest)?);
    Some(program)
}

/// Is it this call, and as it must be?
fn judge(call: &Call) -> Option<Vec<sock_filter>> {
    let mut program = vec![go_if(call.number, 1), end(KILL)];
    for condition in &call.conditions {
        match condition {
            Condition::OneOf(index, values) => {
                program.push(load(argument(*index)));
                // Past the others, and past the end.
                for (further, value) in (1..=values.len()).rev().zip(values) {
                    program.push(go_if(*value, u8::try_from(further).ok()?));
                }
                program.push(end(KILL));
            }
            Condition::Without(index, bits) => {
                program.extend([load(argument(*index)), keep(*bits), go_if(0, 1), end(KILL)]);
            }
        }
    }
    program.push(end(call.answer));
    Some(program)
}

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

use super::bpf::{self, ALLOW, ARCH, NUMBER, argument, end, go_from, go_if, go_if_any, load};
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
    answer: Label,
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
        answer: ALLOWED,
    }
}

/// Whatever the arguments. None of these changes a file, and none leads to a process other than those
/// to which there is a descriptor. Where glibc and musl, or machines, differ in how they ask for the
/// same, there are all.
const PLAIN: [c_long; 27] = [
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
    let mut calls = Vec::with_capacity(64);
    calls.extend(plain.map(|number| call(*number, [])));
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
            [
                OneOf(0, vec![0]),
                // Of another type by musl.
                OneOf(1, vec![libc::RLIMIT_CORE as _]),
            ],
        ),
        Call {
            answer: REFUSED,
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
    calls.sort_unstable_by_key(|call| call.number);
    calls
}

/// The filter; `None` if it would be too long. By another table of the machine's than its own no call
/// is allowed, and none of the x32 kind, which are in that table with numbers of their own.
fn program(calls: &[Call]) -> Option<Vec<sock_filter>> {
    let mut program = Reversed::new();
    let search = program.search(calls)?;
    program.fall_to(search, load(NUMBER))?;
    program.go(go_if(bpf::HERE.native, 0), program.last(), KILLED)?;
    program.fall_to(program.last(), load(ARCH))?;
    program.fall_to(program.last(), bpf::UNCACHED)?;
    Some(program.finish())
}

/// A place in a filter: how many lines come after it.
type Label = usize;

/// The last lines of the filter: what it answers.
const ALLOWED: Label = 0;
const REFUSED: Label = 1;
const KILLED: Label = 2;

/// A filter that is written from its end, since it only goes forward: so each place is known when a line
/// leads to it. Short, for when it is installed the kernel translates every line.
struct Reversed(Vec<sock_filter>);

impl Reversed {
    fn new() -> Self {
        let mut program = Vec::with_capacity(128);
        program.extend([end(ALLOW), end(REFUSE), end(KILL)]);
        Self(program)
    }

    fn last(&self) -> Label {
        self.0.len() - 1
    }

    /// Puts a line in front that leads to `label`, which must be the first line by now.
    fn fall_to(&mut self, label: Label, line: sock_filter) -> Option<Label> {
        self.0.push(line);
        (label + 2 == self.0.len()).then_some(self.last())
    }

    /// Puts a test in front.
    fn go(&mut self, test: sock_filter, yes: Label, no: Label) -> Option<Label> {
        let distance = |label| u8::try_from(self.last() - label).ok();
        let (jt, jf) = (distance(yes)?, distance(no)?);
        self.0.push(sock_filter { jt, jf, ..test });
        Some(self.last())
    }

    /// Finds the call whose number was loaded, by halving.
    fn search(&mut self, calls: &[Call]) -> Option<Label> {
        if let [call] = calls {
            return self.judge(call);
        }
        let (below, rest) = calls.split_at(calls.len() / 2);
        let first = rest.first()?.number;
        let rest = self.search(rest)?;
        let below = self.search(below)?;
        self.go(go_from(first, 0), rest, below)
    }

    /// Is it this call, and as it must be?
    fn judge(&mut self, call: &Call) -> Option<Label> {
        let mut label = call.answer;
        for condition in call.conditions.iter().rev() {
            let (index, next) = match condition {
                Condition::OneOf(index, values) => {
                    let mut next = KILLED;
                    for value in values {
                        next = self.go(go_if(*value, 0), label, next)?;
                    }
                    (index, next)
                }
                Condition::Without(index, bits) => {
                    (index, self.go(go_if_any(*bits, 0), KILLED, label)?)
                }
            };
            label = self.fall_to(next, load(argument(*index)))?;
        }
        self.go(go_if(call.number, 0), label, KILLED)
    }

    fn finish(mut self) -> Vec<sock_filter> {
        self.0.reverse();
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::bpf::{HERE, X86_64, answer};

    const OWN: u32 = 77;

    fn filter(has_terminal: bool, stops_others: bool) -> Vec<sock_filter> {
        let duties = Duties {
            has_terminal,
            stops_others,
        };
        program(&calls(OWN, duties)).unwrap()
    }

    fn number(call: c_long) -> u32 {
        call.try_into().unwrap()
    }

    #[test]
    fn what_needs_no_condition_is_allowed_and_what_is_not_listed_kills() {
        let filter = filter(false, false);
        let listed = calls(
            OWN,
            Duties {
                has_terminal: false,
                stops_others: false,
            },
        );
        for number in 0..1000 {
            let call = listed.iter().find(|call| call.number == number);
            let expected = match call {
                None => KILL,
                Some(call) if call.conditions.is_empty() && call.answer == ALLOWED => ALLOW,
                Some(call) if call.conditions.is_empty() => REFUSE,
                Some(_) => continue,
            };
            assert_eq!(
                answer(&filter, HERE.native, number, [0; 2]),
                expected,
                "{number}"
            );
        }
        for table in [HERE.narrow, X86_64.native ^ 1, 0] {
            assert_eq!(answer(&filter, table, number(libc::SYS_read), [0; 2]), KILL);
        }
        let foreign = bpf::X32 | number(libc::SYS_read);
        assert_eq!(answer(&filter, HERE.native, foreign, [0; 2]), KILL);
    }

    #[test]
    fn arguments_are_looked_at_by_their_low_half() {
        let odd = 0xffff_ffff_0000_0000_u64;
        let plain = filter(false, false);
        let terminal = filter(true, false);
        let both = filter(true, true);
        let own = u64::from(OWN);
        let give = u64::from(libc::TIOCSPGRP as u32);
        let receive = u64::from(libc::SECCOMP_IOCTL_NOTIF_RECV as u32);
        let inject = u64::from(libc::TIOCSTI as u32);
        for (filter, call, arguments, expected) in [
            (&plain, libc::SYS_write, [2, 0], ALLOW),
            (&plain, libc::SYS_write, [2 | odd, 0], ALLOW),
            (&plain, libc::SYS_write, [1, 0], KILL),
            (&plain, libc::SYS_kill, [5, 0], ALLOW),
            (&plain, libc::SYS_kill, [5, 18 | odd], ALLOW),
            (&plain, libc::SYS_kill, [5, 9], KILL),
            (&plain, libc::SYS_tkill, [own, 9], ALLOW),
            (&plain, libc::SYS_tkill, [own + 1, 9], KILL),
            (&plain, libc::SYS_prlimit64, [0, 4], ALLOW),
            (&plain, libc::SYS_prlimit64, [0, 7], KILL),
            (&plain, libc::SYS_prlimit64, [1, 4], KILL),
            (&plain, libc::SYS_ioctl, [0, give], KILL),
            (&plain, libc::SYS_pidfd_open, [1, 0], KILL),
            (&terminal, libc::SYS_ioctl, [0, give | odd], ALLOW),
            (&terminal, libc::SYS_ioctl, [0, inject], KILL),
            (&terminal, libc::SYS_ioctl, [0, receive], KILL),
            (&both, libc::SYS_ioctl, [0, receive], ALLOW),
            (&both, libc::SYS_pidfd_open, [1, 0], ALLOW),
        ] {
            let found = answer(filter, HERE.native, number(call), arguments);
            assert_eq!(found, expected, "{call} {arguments:?}");
        }
    }
}

//! What a signal does to pid 1 of a pid namespace, which the kernel spares what would end or stop any
//! other process: asked of /proc, since the kernel tells nobody that it has spared one.

use std::thread::sleep;
use std::time::Duration;

use nix::libc;
use nix::poll::PollTimeout;

use crate::delivery::stops;
use crate::procinfo::{Status, field};
use crate::sys::privilege::Renounced;
use crate::sys::process::Process;
use crate::sys::procfs::Procfs;

/// What becomes of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// It is dropped: the process neither catches it, nor ignores nor blocks it itself.
    Deaf,
    /// It is the process's own to deal with.
    Hears,
    /// It waits until it is unblocked, and is dropped then, or taken by sigwaitinfo(2) and its like.
    Blocked,
    /// The process cannot be seen, or is too busy to tell yet.
    Unknown,
}

/// How long it is waited between two looks.
const PAUSE: Duration = Duration::from_millis(2);
/// So many looks at most.
const LOOKS: u32 = 50;
/// For how long a process must have run, in nanoseconds, to have done more than the few instructions
/// between being woken in sigwaitinfo(2) and leaving it, or between choosing the default for a signal
/// and stopping itself by it.
const MOMENT: u64 = 1_000_000;

/// What would become of `signal` now?
///
/// A mask may be that of a moment: shells block signals around each fork, and what sigwaitinfo(2)
/// waits for reads as not blocked, also when it has just been woken and has not run since. So only a
/// process that sleeps, and not in such a place, is known at one look; others are looked at again.
/// Source: `do_sigtimedwait()` in Linux `kernel/signal.c`.
pub fn hearing(renounced: &Renounced, procfs: &Procfs, process: &Process, signal: i32) -> Hearing {
    let mut before = None;
    let mut slept = None;
    let mut is_blocked = true;
    for count in 1..=LOOKS {
        let Some(look) = Look::at(renounced, procfs, process, signal) else {
            return Hearing::Unknown;
        };
        // What is read of one that wakes up meanwhile does not belong together: blocked is only who
        // has not run between two looks.
        if look.is_certain && (look.hearing != Hearing::Blocked || slept == Some(look.run)) {
            return look.hearing;
        }
        slept = look.is_certain.then_some(look.run);
        let (first, first_run) = *before.get_or_insert((look.hearing, look.run));
        is_blocked &= look.hearing == Hearing::Blocked;
        if look.hearing != first {
            // It changes all the time: go on until it sleeps.
            before = Some((Hearing::Unknown, look.run));
        } else if !is_blocked && count >= 3 && look.run.saturating_sub(first_run) > MOMENT {
            return look.hearing;
        }
        sleep(PAUSE);
    }
    // Always blocked, and never at rest: a child that vfork(2) waits for does not come to run, say.
    if is_blocked {
        Hearing::Unknown
    } else {
        Hearing::Deaf
    }
}

/// The same by the masks alone, of a process whose masks are not those of a moment: that is selfdock,
/// and one that is in a call that is not sigwaitinfo(2).
pub fn hearing_at_once(_: &Renounced, procfs: &Procfs, process: &Process, signal: i32) -> Hearing {
    let pid = procfs.pid_of(process);
    let status = pid.and_then(|pid| procfs.read_of(pid, "status"));
    status.map_or(Hearing::Unknown, |status| by_masks(&status, signal))
}

/// Is it the child of a selfdock that waits for it, as far as the caller's own word is good?
pub fn has_supervisor(_: &Renounced, procfs: &Procfs, process: &Process) -> bool {
    let status = |pid| procfs.read_of(pid, "status");
    let parent = procfs
        .pid_of(process)
        .and_then(status)
        .and_then(|text| status(Status::parse(&text)?.parent));
    parent.is_some_and(|text| {
        let is_blocked = |signal| is_in_mask(&text, "SigBlk:", signal);
        let is_bound = Status::parse(&text).is_some_and(|status| status.has_no_new_privs);
        is_bound && is_blocked(libc::SIGCHLD) && is_blocked(libc::SIGTSTP)
    })
}

/// Has it a child that is stopped?
pub fn has_stopped_child(_: &Renounced, procfs: &Procfs, process: &Process) -> bool {
    let (Some(parent), Ok(pids)) = (procfs.pid_of(process), procfs.processes()) else {
        return false;
    };
    pids.into_iter().any(|pid| {
        let text = procfs.read_of(pid, "status");
        let status = text.and_then(|text| Status::parse(&text));
        status.is_some_and(|status| status.parent == parent && status.is_stopped)
    })
}

/// Is the signal still there, blocked, or has it been dropped or taken?
fn is_pending(procfs: &Procfs, process: &Process, signal: i32) -> bool {
    let pid = procfs.pid_of(process);
    let status = pid.and_then(|pid| procfs.read_of(pid, "status"));
    status.is_some_and(|status| {
        let is_in = |name| is_in_mask(&status, name, signal);
        is_in("SigPnd:") || is_in("ShdPnd:")
    })
}

/// Signals of which it is not known what becomes of them: the command had them blocked when they
/// came, or could not be seen. The kernel tells nobody, so it is looked at ever less often; a shell blocks
/// them for a moment only.
#[derive(Debug, Default)]
pub struct Postponed {
    signals: Vec<i32>,
    patience: u16,
}

impl Postponed {
    /// One more.
    pub fn add(&mut self, signal: i32) {
        if !self.signals.contains(&signal) {
            self.signals.push(signal);
        }
        self.patience = 0;
    }

    /// Forgets all: it is known now.
    pub fn clear(&mut self) {
        self.signals.clear();
    }

    /// Forgets those that stop: whoever is continued has none waiting any more, as signal(7) has it.
    pub fn forget_stops(&mut self) {
        self.signals.retain(|signal| !stops(*signal));
    }

    /// When to look again, in milliseconds: 4, then twice as many, up to a second.
    pub fn next_look(&mut self) -> PollTimeout {
        if self.signals.is_empty() {
            return PollTimeout::NONE;
        }
        self.patience = (self.patience * 2).clamp(4, 1024);
        self.patience.into()
    }

    /// Those that were dropped when they were unblocked. What was taken is forgotten; who takes a
    /// signal by signalfd(2) or sigwait(3) and then unblocks it at once looks as if it was dropped.
    pub fn take_dropped(
        &mut self,
        renounced: &Renounced,
        procfs: &Procfs,
        process: &Process,
    ) -> Vec<i32> {
        const SOON: u16 = 32;
        let mut dropped = Vec::new();
        self.signals.retain(|signal| {
            if is_pending(procfs, process, *signal) {
                return true;
            }
            // Gone, and what it did can be seen whenever nothing is blocked for a moment.
            self.patience = self.patience.min(SOON);
            let hearing = hearing(renounced, procfs, process, *signal);
            if hearing == Hearing::Deaf {
                dropped.push(*signal);
            }
            hearing == Hearing::Unknown
        });
        dropped
    }
}

/// What one look at a process tells.
struct Look {
    hearing: Hearing,
    /// Is it so for longer than a moment?
    is_certain: bool,
    /// How long it has run so far, in nanoseconds.
    run: u64,
}

impl Look {
    fn at(_: &Renounced, procfs: &Procfs, process: &Process, signal: i32) -> Option<Self> {
        let pid = procfs.pid_of(process)?;
        let status = procfs.read_of(pid, "status")?;
        let state = *field(&status, "State:")?.as_bytes().first()?;
        // The kernel's function in which it sleeps, perhaps with a suffix of the compiler's.
        let place = procfs.read_of(pid, "wchan").unwrap_or_default();
        let is_at = |function: &str| {
            place
                .windows(function.len())
                .any(|part| part == function.as_bytes())
        };
        // Of one that has ended the masks are empty, but it is deaf to nothing any more. One that has
        // been stopped, or is just asking for it, needs not to be stopped.
        let is_dead = matches!(state, b'Z' | b'X');
        let is_stopped = state == b'T' || is_at("seccomp");
        let hearing = if is_at("do_sigtimedwait") || is_dead || is_stopped && stops(signal) {
            Hearing::Hears
        } else {
            by_masks(&status, signal)
        };
        let is_certain = hearing == Hearing::Hears
            || state == b'T'
            // Not `D`, which is the sleep of vfork(2), where all is blocked.
            || state == b'S' && !matches!(place.as_slice(), b"" | b"0");
        let run = procfs.read_of(pid, "schedstat").unwrap_or_default();
        let run = str::from_utf8(&run).ok()?.split(' ').next()?.parse();
        Some(Self {
            hearing,
            is_certain,
            run: run.unwrap_or(0),
        })
    }
}

fn by_masks(status: &[u8], signal: i32) -> Hearing {
    let is_in = |name| is_in_mask(status, name, signal);
    if is_in("SigCgt:") || is_in("SigIgn:") {
        Hearing::Hears
    } else if is_in("SigBlk:") {
        Hearing::Blocked
    } else {
        Hearing::Deaf
    }
}

/// Is the signal in this mask of `/proc/PID/status`?
fn is_in_mask(status: &[u8], name: &str, signal: i32) -> bool {
    let mask = field(status, name).and_then(|mask| u64::from_str_radix(mask, 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

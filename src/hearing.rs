//! What a signal does to pid 1 of a pid namespace, which the kernel spares what would end or stop any
//! other process: asked of /proc, since the kernel tells nobody that it has spared one.

use std::thread::sleep;
use std::time::Duration;

use crate::procinfo::field;
use crate::sys::privilege::Renounced;
use crate::sys::process::Process;
use crate::sys::procfs::Procfs;

/// What becomes of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// It is dropped: the process neither catches it, nor ignores nor blocks it itself.
    Deaf,
    /// It is the process's own to deal with; or nothing can be found out.
    Hears,
    /// It waits until it is unblocked, and is dropped then, or taken by sigwaitinfo(2) and its like.
    Blocked,
}

/// How long it is waited between two looks.
const PAUSE: Duration = Duration::from_millis(2);
/// So many looks at most.
const LOOKS: u32 = 50;
/// For how long a process must have run, in nanoseconds, to have done more than the few instructions
/// between being woken in sigwaitinfo(2) and leaving it.
const MOMENT: u64 = 100_000;

/// What would become of `signal` now?
///
/// A mask may be that of a moment: shells block signals around each fork, and what sigwaitinfo(2)
/// waits for reads as not blocked, also when it has just been woken and has not run since. So only a
/// process that sleeps, and not in such a place, is known at one look; others are looked at again.
/// Source: `do_sigtimedwait()` in Linux `kernel/signal.c`.
pub fn hearing(_: &Renounced, procfs: &Procfs, process: &Process, signal: i32) -> Hearing {
    let Some(pid) = procfs.pid_of(process) else {
        return Hearing::Hears;
    };
    let mut before = None;
    let mut is_blocked = true;
    for count in 1..=LOOKS {
        let Some(look) = Look::at(procfs, pid, signal) else {
            return Hearing::Hears;
        };
        if look.is_certain {
            return look.hearing;
        }
        let (first, first_run) = *before.get_or_insert((look.hearing, look.run));
        is_blocked &= look.hearing == Hearing::Blocked;
        if look.hearing != first {
            // It changes all the time: go on until it sleeps.
            before = Some((Hearing::Hears, look.run));
        } else if count >= 3 && look.run.saturating_sub(first_run) > MOMENT {
            return look.hearing;
        }
        sleep(PAUSE);
    }
    if is_blocked {
        Hearing::Blocked
    } else {
        Hearing::Deaf
    }
}

/// Is the signal still there, blocked, or has it been dropped or taken?
pub fn is_pending(_: &Renounced, procfs: &Procfs, process: &Process, signal: i32) -> bool {
    let status = procfs
        .pid_of(process)
        .and_then(|pid| procfs.read_of(pid, "status"));
    status.is_some_and(|status| {
        ["SigPnd:", "ShdPnd:"]
            .iter()
            .any(|name| is_in_mask(&status, name, signal))
    })
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
    fn at(procfs: &Procfs, pid: u32, signal: i32) -> Option<Self> {
        let status = procfs.read_of(pid, "status")?;
        let is_in = |name| is_in_mask(&status, name, signal);
        // The kernel's function in which it sleeps, perhaps with a suffix of the compiler's.
        let place = procfs.read_of(pid, "wchan").unwrap_or_default();
        if is_in("SigCgt:") || is_in("SigIgn:") || place.starts_with(b"do_sigtimedwait") {
            return Some(Self {
                hearing: Hearing::Hears,
                is_certain: true,
                run: 0,
            });
        }
        let hearing = if is_in("SigBlk:") {
            Hearing::Blocked
        } else {
            Hearing::Deaf
        };
        // `D` is the sleep of vfork(2), where all is blocked.
        let is_asleep = field(&status, "State:")?.starts_with('S');
        let run = procfs.read_of(pid, "schedstat").unwrap_or_default();
        let run = str::from_utf8(&run).ok()?.split(' ').next()?.parse();
        Some(Self {
            hearing,
            is_certain: is_asleep && !matches!(place.as_slice(), b"" | b"0"),
            run: run.unwrap_or(0),
        })
    }
}

/// Is the signal in this mask of `/proc/PID/status`?
fn is_in_mask(status: &[u8], name: &str, signal: i32) -> bool {
    let mask = field(status, name).and_then(|mask| u64::from_str_radix(mask, 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

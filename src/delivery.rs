//! How a signal that has come to the supervisor gets to the command, which may have it already.

use nix::libc;
use nix::unistd::{getpgrp, getpid, getsid};

use crate::procinfo::Status;
use crate::sys::privilege::Renounced;
use crate::sys::process::Process;
use crate::sys::procfs::Procfs;
use crate::sys::signal::{Arrival, Sender};

/// How a signal gets to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// We send it.
    Forward,
    /// It was sent to the process group that the command is in as well.
    Delivered,
    /// It was sent to a process group that the command is not in any more.
    NotForIt,
}

/// The way of this one.
pub fn way_of(renounced: &Renounced, procfs: &Procfs, child: &Process, arrival: Arrival) -> Way {
    let is_for_group = match arrival.sender {
        Sender::Kernel => is_of_terminals(arrival.signal),
        Sender::Process { pid, uid } => is_of_group(renounced, procfs, pid.as_raw(), uid),
        Sender::Unknown => false,
    };
    let is_leader = || getsid(None) == Ok(getpid());
    if !is_for_group {
        Way::Forward
    } else if shares_group(child) {
        Way::Delivered
    } else if arrival.signal == libc::SIGHUP && is_leader() {
        // Meant for the leader of the session, which would be the command.
        Way::Forward
    } else {
        Way::NotForIt
    }
}

/// Is the command in our process group, as it was in the beginning?
pub fn shares_group(child: &Process) -> bool {
    child.group() == Ok(getpgrp())
}

/// Did a process inside send it, that has no number for us but is in our process group? It has sent
/// it to the group then.
///
/// The kernel tells its number in its own namespace, also to us outside (`send_signal_locked()` in
/// Linux `kernel/signal.c`), where another process may have the same. When in doubt, no: what comes
/// twice does less harm than what does not come.
fn is_of_group(_: &Renounced, procfs: &Procfs, number: i32, uid: u32) -> bool {
    let own = procfs.read(c"self/status").ok();
    let (Some(own), Ok(pids)) = (
        own.and_then(|text| Status::parse(&text)),
        procfs.processes(),
    ) else {
        return false;
    };
    let (mut mates, mut others) = (0, 0);
    let statuses = pids.into_iter().filter_map(|pid| {
        let status = Status::parse(&procfs.read_of(pid, "status")?)?;
        let may_be = status.uid == uid && status.pids.last() == u32::try_from(number).ok().as_ref();
        (may_be && status.pids != own.pids).then_some(status)
    });
    for status in statuses {
        let is_outside = status.pids.len() < own.pids.len();
        let is_beside = status.pids.len() == own.pids.len();
        // Beside us as pid 1 is the command with `--init`; beside us elsewhere is anybody.
        let is_inside = !is_outside && (!is_beside || own.pids.last() == Some(&1));
        if is_inside && status.group == own.group {
            mates += 1;
        } else if is_beside {
            others += 1;
        }
    }
    mates > 0 && others == 0
}

/// Is it one that a terminal sends, to its whole foreground group?
fn is_of_terminals(signal: libc::c_int) -> bool {
    stops(signal)
        || matches!(
            signal,
            libc::SIGHUP | libc::SIGINT | libc::SIGQUIT | libc::SIGCONT | libc::SIGWINCH
        )
}

/// Does it stop a process that does not care? See signal(7).
pub fn stops(signal: libc::c_int) -> bool {
    matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// Does it end a process that does not care? See signal(7).
pub fn terminates(signal: libc::c_int) -> bool {
    let is_harmless = matches!(
        signal,
        libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH
    );
    !is_harmless && !stops(signal)
}

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
        Sender::Process { pid, uid } => is_of_group(renounced, procfs, pid, uid),
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
fn is_of_group(_: &Renounced, procfs: &Procfs, number: u32, uid: u32) -> bool {
    let parse = |text: Option<Vec<u8>>| Status::parse(&text?);
    let status = |pid| parse(procfs.read_of(pid, "status"));
    let Some(own) = parse(procfs.read(c"self/status").ok()) else {
        return false;
    };
    let is_pid1 = own.pids.last() == Some(&1);
    let may_be = |other: &Status| {
        other.uid == uid && other.pids.last() == Some(&number) && other.pids != own.pids
    };
    // Anybody beside us, unless we are pid 1: then it is the command of `--init`.
    let is_doubtful =
        |other: &Status| may_be(other) && other.pids.len() == own.pids.len() && !is_pid1;
    // The usual case first, for it must not take long: what timeout(1) sends to us and then to the
    // group is one signal to a command that gets both at once.
    if status(number).is_some_and(|other| is_doubtful(&other)) {
        return false;
    }
    let others = procfs.processes().unwrap_or_default();
    let others: Vec<_> = others.into_iter().filter_map(status).collect();
    let is_inside = |other: &&Status| {
        let levels = other.pids.len().cmp(&own.pids.len());
        may_be(other) && (levels.is_gt() || levels.is_eq() && is_pid1)
    };
    !others.iter().any(is_doubtful)
        && others
            .iter()
            .filter(is_inside)
            .any(|other| other.group == own.group)
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

//! The parent: it forwards signals, waits, and tells how the command ended. It has renounced all
//! privilege, holds no descriptor of the caller's, and stays in the caller's mount namespace.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

use crate::sys::descriptor;
use crate::sys::privilege::Renounced;
use crate::sys::process::{Child, Ending};
use crate::sys::procfs::Procfs;
use crate::sys::signal::{Arrival, Arrivals};

/// Waits for the command, and passes on every signal that comes meanwhile.
///
/// Descriptors 0 to 2 are closed at once: a reader of the command's output must see end-of-file
/// when the command closes it, and there is nothing left to say here. `claim`, of the instance's
/// name, stays open.
pub fn supervise(
    renounced: &Renounced,
    child: &Child,
    procfs: &Procfs,
    claim: Option<BorrowedFd<'_>>,
) -> Result<Ending, Errno> {
    let arrivals = Arrivals::listen()?;
    let [pidfd, hold, leash] = child.descriptors();
    let mut kept = vec![arrivals.as_fd(), procfs.as_fd(), pidfd, hold, leash];
    kept.extend(claim);
    descriptor::close_all_but(&kept)?;
    child.release(renounced)?;
    let mut fate = None;
    loop {
        // Asked before any signal is waited for: SIGCHLD may have come before all were blocked.
        if let Some(ending) = child.ended()? {
            return Ok(fate.map_or(ending, Ending::Signaled));
        }
        let arrival = arrivals.next()?;
        if arrival.signal == libc::SIGCHLD {
            continue;
        }
        // Asked before it is sent: a handler may be for one time only.
        let is_deaf =
            terminates(arrival.signal) && procfs.is_deaf_to(renounced, child, arrival.signal);
        if !is_from_terminal(arrival) {
            // ESRCH: it has just ended, and the next SIGCHLD says so.
            let _ = child.send(renounced, arrival.signal);
        }
        if is_deaf {
            // Pid 1 of a pid namespace is spared what would end any other process, so ^C and
            // timeout(1) would do nothing: what the kernel does not do is done here.
            let _ = child.send(renounced, libc::SIGKILL);
            fate = Some(arrival.signal);
        }
    }
}

/// Did the terminal send it to its whole foreground group, hence to the command as well?
fn is_from_terminal(arrival: Arrival) -> bool {
    arrival.is_from_kernel
        && matches!(
            arrival.signal,
            libc::SIGHUP
                | libc::SIGINT
                | libc::SIGQUIT
                | libc::SIGTSTP
                | libc::SIGTTIN
                | libc::SIGTTOU
                | libc::SIGCONT
                | libc::SIGWINCH
        )
}

/// Does it end a process that does not care? See signal(7).
fn terminates(signal: libc::c_int) -> bool {
    !matches!(
        signal,
        libc::SIGCHLD
            | libc::SIGCONT
            | libc::SIGURG
            | libc::SIGWINCH
            | libc::SIGTSTP
            | libc::SIGTTIN
            | libc::SIGTTOU
    )
}

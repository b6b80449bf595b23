//! The terminal's foreground: what an interactive command in a pid namespace needs of it.

use std::io::{IsTerminal, stderr, stdin, stdout};

use nix::errno::Errno;
use nix::unistd::{Pid, getpgrp, getpid, getsid, setpgid, tcgetpgrp, tcsetpgrp};

/// Lets `child`, pid 1 of a new pid namespace, lead the terminal's foreground group, with this
/// process in it.
///
/// The group that it was forked into has no number in its namespace. A shell that does job control
/// remembers that number, 0, and fails to give the terminal back to it when it ends: dash and ash
/// end with an error then. In one group both get what is typed, as before.
///
/// Only where this process is what an interactive shell has just put in the foreground, by itself:
/// it leads that group, and is not part of a pipeline. Else all stays as it is; nothing depends on
/// it. The signals must be blocked: SIGTTOU would stop us.
pub fn share_foreground(child: Pid) {
    if is_alone_in_foreground() && setpgid(child, child).is_ok() && join(child).is_err() {
        // ESRCH only, if it has ended.
        let _ = setpgid(child, getpid());
    }
}

fn is_alone_in_foreground() -> bool {
    let own = getpid();
    // The leader of a session cannot leave its group. Pid 1 of an outer instance could, but never
    // end: the kernel waits until no number of its namespace is in use, that of its own group
    // included (`zap_pid_ns_processes()` in Linux `kernel/pid_namespace.c`).
    getpgrp() == own
        && own.as_raw() != 1
        && getsid(None) != Ok(own)
        && stdout().is_terminal()
        && stderr().is_terminal()
        && tcgetpgrp(stdin()) == Ok(own)
}

fn join(group: Pid) -> Result<(), Errno> {
    let own = getpid();
    setpgid(own, group)?;
    tcsetpgrp(stdin(), group).or_else(|errno| setpgid(own, own).and(Err(errno)))
}

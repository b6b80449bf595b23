//! The foreground of the controlling terminal: which process group it is, across pid namespaces.
//!
//! The command is forked into its supervisor's process group, so that both get what is typed. That
//! group has no number inside; who wants to give the terminal back to it there cannot.

use std::io::{stderr, stdin};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::termios::{FlowArg, tcflow};
use nix::unistd::{Pid, getpgrp, isatty, setpgid, tcgetpgrp, tcsetpgrp};

use super::fs::Stat;
use super::privilege::Renounced;
use super::signal::{Mask, change_mask, is_default, mask};

/// The controlling terminal, as the supervisor has it. Never open for longer than it is asked: its
/// other side would not see the end of it.
#[derive(Debug)]
pub struct Terminal(OwnedFd);

impl Terminal {
    /// Opens it, if there is one. Every signal must be blocked: SIGTTOU would stop us.
    pub fn open(_: &Renounced) -> Option<Self> {
        const NUMBER: (u32, u32) = (5, 0);
        // Not to be written to, as the supervisor's filter has it: its flags are what that sees.
        let flags = OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let terminal = openat(AT_FDCWD, c"/dev/tty", flags, Mode::empty()).ok()?;
        let stat = Stat::of(&terminal).ok()?;
        let is_real = stat.is(libc::S_IFCHR) && stat.special == NUMBER;
        is_real.then_some(Self(terminal))
    }

    /// Is our own process group in the foreground now? Puts it there if nobody else is: the group
    /// that was has ended, and had no number for ours to give the terminal back.
    pub fn claim(&self) -> bool {
        let own = getpgrp();
        // Without a number here it is an outer supervisor's to claim.
        own.as_raw() > 0
            && tcgetpgrp(&self.0).is_ok_and(|front| {
                front == own || (is_gone(front) && tcsetpgrp(&self.0, own).is_ok())
            })
    }

    /// Puts `group` in the foreground, if our own is there.
    pub fn pass_to(&self, group: Pid) {
        if group != getpgrp() && tcgetpgrp(&self.0) == Ok(getpgrp()) {
            let _ = tcsetpgrp(&self.0, group);
        }
    }
}

fn is_gone(group: Pid) -> bool {
    group.as_raw() > 1 && kill(Pid::from_raw(-group.as_raw()), None) == Err(Errno::ESRCH)
}

/// Continues every process of our own group.
pub fn continue_group(_: &Renounced) -> Result<(), Errno> {
    kill(Pid::from_raw(0), Signal::SIGCONT)
}

/// Makes this process, which is about to become an interactive shell, lead a process group of its
/// own in the foreground, as it would do itself.
///
/// A shell that does so remembers the group that it was started in, and gives the terminal back to
/// it when it ends: dash and ash end with an error if that has no number.
///
/// If the terminal is another's now, this process and its supervisor stop until it is theirs.
/// Nothing depends on it: without a terminal, or where stopping is impossible, all stays as it is.
pub fn lead_foreground(_: &Renounced) {
    let stops_in_background =
        is_default(Signal::SIGTTOU) && mask().is_ok_and(|mask| !mask.has(libc::SIGTTOU));
    // tcflow(3) for its check alone: output that was not suspended by it goes on anyway.
    let is_interactive = || isatty(stderr()) == Ok(true) && tcflow(stdin(), FlowArg::TCOON).is_ok();
    if stops_in_background && is_interactive() {
        let _ = lead();
    }
}

fn lead() -> Result<(), Errno> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
    let mask = change_mask(libc::SIG_BLOCK, Mask::of(libc::SIGTTOU))?;
    let taken = tcsetpgrp(stdin(), getpgrp());
    change_mask(libc::SIG_SETMASK, mask)?;
    taken
}

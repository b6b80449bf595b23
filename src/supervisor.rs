//! Who waits for the command: the parent outside, and with `--init` also pid 1. It forwards
//! signals, stops and goes on with the command, and tells how that ended. It has renounced all
//! privilege and holds no descriptor of the caller's.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::getpid;
use thiserror::Error;

use crate::delivery::{Way, shares_group, stops, terminates, way_of};
use crate::hearing::{
    Hearing, Postponed, has_stopped_child, has_supervisor, hearing, hearing_at_once,
};
use crate::name::Claim;
use crate::sys::descriptor;
use crate::sys::filter::FilterError;
use crate::sys::leash::{Hold, Leash, Report};
use crate::sys::privilege::Renounced;
use crate::sys::process::{Change, Ending, Process, reap_orphans};
use crate::sys::procfs::Procfs;
use crate::sys::self_stop::{Answer, SelfStops};
use crate::sys::signal::{self, Arrival, Arrivals, Sender};
use crate::sys::supervisor_filter::{Duties, confine};
use crate::sys::terminal::{self, Terminal};

/// Why nobody waits for the command any more.
#[derive(Debug, Error)]
pub enum SuperviseError {
    /// waitid(2), signalfd(2), poll(2), close_range(2).
    #[error("cannot supervise the command: {}", .0.desc())]
    Kernel(#[from] Errno),
    /// What keeps this process from doing more than it must.
    #[error("cannot install the supervisor's filter: {0}")]
    Filter(#[from] FilterError),
}

/// What the process is that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ward {
    /// Pid 1 of a new pid namespace, which the kernel spares most signals.
    Pid1,
    /// The command of pid 1, which is this process and inherits every orphan.
    ChildOfInit,
    /// Another process of a pid namespace that was entered.
    Guest,
}

/// What else the one who waits has in hand.
#[derive(Debug, Default)]
pub struct Held {
    /// Leads to an outer supervisor, which does what pid 1 cannot.
    pub outer: Option<Leash>,
    /// Tells of a pid 1 that would stop itself.
    pub self_stops: Option<SelfStops>,
    /// The instance's name is taken as long as this is open.
    pub claim: Option<Claim>,
    /// May there be a terminal that we share with the command?
    pub has_terminal: bool,
}

/// Waits for the command, and passes on every signal that comes meanwhile.
///
/// Descriptors 0 to 2 are closed at once: a reader of the command's output must see end-of-file
/// when the command closes it, and there is nothing left to say here.
pub fn supervise(
    renounced: &Renounced,
    (child, hold): (Process, Hold),
    ward: Ward,
    held: Held,
    procfs: Procfs,
) -> Result<Ending, SuperviseError> {
    let procfs = procfs.by_plain_calls(renounced);
    let mut supervisor = Supervisor {
        renounced,
        procfs: &procfs,
        arrivals: Arrivals::listen()?,
        ward,
        child,
        hold: Some(hold),
        held,
        postponed: Postponed::default(),
        stopped_by: None,
        asked_to_stop: None,
        waits_for_terminal: false,
        is_selfdock: false,
        fate: None,
    };
    confine(
        renounced,
        Duties {
            has_terminal: supervisor.held.has_terminal,
            stops_others: supervisor.held.self_stops.is_some(),
        },
    )?;
    supervisor.close_the_rest()?;
    if let Some(outer) = &supervisor.held.outer {
        outer.report(renounced, Report::Listens);
    }
    supervisor.release()?;
    Ok(supervisor.wait()?)
}

struct Supervisor<'a> {
    renounced: &'a Renounced,
    procfs: &'a Procfs,
    arrivals: Arrivals,
    child: Process,
    ward: Ward,
    /// As long as there is selfdock at the other end.
    hold: Option<Hold>,
    held: Held,
    postponed: Postponed,
    /// What would have stopped the command, were it not pid 1.
    stopped_by: Option<libc::c_int>,
    /// The same of a pid 1 further inside, of which a nested selfdock will tell.
    asked_to_stop: Option<libc::c_int>,
    /// Did the kernel say that somebody in our group wants the terminal?
    waits_for_terminal: bool,
    /// Is the command itself selfdock, and takes every signal?
    is_selfdock: bool,
    /// How the command ended, whatever became of its process.
    fate: Option<Ending>,
}

impl Supervisor<'_> {
    fn close_the_rest(&self) -> Result<(), Errno> {
        let mut kept = vec![
            self.arrivals.as_fd(),
            self.procfs.as_fd(),
            self.child.as_fd(),
        ];
        kept.extend(self.hold.as_ref().map(Hold::as_fd));
        kept.extend(self.held.outer.as_ref().map(Leash::as_fd));
        kept.extend(self.held.self_stops.as_ref().map(SelfStops::as_fd));
        kept.extend(self.held.claim.as_ref().and_then(Claim::descriptor));
        descriptor::close_all_but(&kept)
    }

    /// Lets the command begin: whatever it closes, is closed now.
    fn release(&self) -> Result<(), Errno> {
        match &self.hold {
            Some(hold) => hold.release(self.renounced),
            None => Ok(()),
        }
    }

    fn wait(&mut self) -> Result<Ending, Errno> {
        loop {
            // Asked before any news is waited for: it may have come before all was blocked.
            match self.child.change(self.renounced)? {
                Some(Change::Ended(ending)) => return self.finish(ending),
                Some(Change::Stopped(signal)) => {
                    let signal = self.stopped_by.take().unwrap_or(signal);
                    self.stop(signal)?;
                    // Signals were taken there, SIGCHLD perhaps among them: ask anew.
                    continue;
                }
                Some(Change::Continued) | None => {}
            }
            if self.is_init() {
                reap_orphans(self.renounced, &self.child)?;
            }
            if self.await_news()? {
                self.decide_self_stop();
            }
            self.hear_reports()?;
            self.take_signals()?;
            self.make_up_for_dropped();
        }
    }

    fn finish(&mut self, ending: Ending) -> Result<Ending, Errno> {
        self.hear_reports()?;
        let ending = self.fate.unwrap_or(ending);
        if let Some(outer) = &self.held.outer {
            outer.report(self.renounced, Report::Ended(ending));
        }
        // What a shell inside had put in the foreground has ended as well.
        if let Some(terminal) = self.terminal() {
            terminal.claim();
        }
        Ok(ending)
    }

    /// Sleeps until a signal or a report comes, or somebody would stop themselves: the answer.
    fn await_news(&mut self) -> Result<bool, Errno> {
        let patience = self.postponed.next_look();
        let question = |source| PollFd::new(source, PollFlags::POLLIN);
        let mut sources = vec![question(self.arrivals.as_fd())];
        sources.extend(self.hold.as_ref().map(|hold| question(hold.as_fd())));
        let others = sources.len();
        sources.extend(
            self.held
                .self_stops
                .as_ref()
                .map(|stops| question(stops.as_fd())),
        );
        match poll(&mut sources, patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(sources.get(others).and_then(PollFd::any) == Some(true))
    }

    /// Stops a pid 1 that stops itself, if it does not catch the signal, ignore or block it: our own
    /// child, or that of a selfdock inside, which sees it stop and stops as well.
    fn decide_self_stop(&mut self) {
        let Some(stops) = &self.held.self_stops else {
            return;
        };
        let Some(call) = stops.next(self.renounced, self.procfs) else {
            return;
        };
        let stopped = call.process.as_ref().filter(|process| {
            self.procfs.is_pid_1(self.renounced, process)
                && (process.is_same(&self.child)
                    || has_supervisor(self.renounced, self.procfs, process))
                && hearing_at_once(self.renounced, self.procfs, process, call.signal)
                    == Hearing::Deaf
                && process.send(self.renounced, libc::SIGSTOP).is_ok()
        });
        if let Some(process) = stopped {
            let asked = if process.is_same(&self.child) {
                &mut self.stopped_by
            } else {
                &mut self.asked_to_stop
            };
            *asked = Some(call.signal);
        }
        // The rest of its group is to get the signal as well.
        let answer = match stopped {
            Some(_) if !call.is_for_group => Answer::Done,
            _ => Answer::Proceed,
        };
        stops.answer(&call, answer);
    }

    /// What selfdock as pid 1, or a nested one, has to tell.
    fn hear_reports(&mut self) -> Result<(), Errno> {
        while let Some(hold) = &self.hold {
            match hold.next_report() {
                Ok(Some(Report::Listens)) => {
                    self.is_selfdock = true;
                    self.postponed.clear();
                }
                Ok(Some(Report::Stopped(signal))) => self.stop_with(signal),
                Ok(Some(Report::Ended(ending))) => self.fate = self.fate.or(Some(ending)),
                Ok(None) => break,
                Err(Errno::ENOTCONN) => self.hold = None,
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// The command of the child, which is selfdock, was stopped by this signal.
    fn stop_with(&mut self, signal: libc::c_int) {
        let asked = self.asked_to_stop.take();
        let is_asked = signal == libc::SIGSTOP;
        // Perhaps we have been stopped and continued with all others since it was told.
        if has_stopped_child(self.renounced, self.procfs, &self.child) {
            self.freeze(asked.filter(|_| is_asked).unwrap_or(signal));
        }
    }

    /// Stops the child for what does not stop pid 1; how it was stopped comes as a change.
    fn freeze(&mut self, signal: libc::c_int) {
        self.stopped_by = self.stopped_by.or(Some(signal));
        let _ = self.child.send(self.renounced, libc::SIGSTOP);
    }

    /// The command was stopped by `signal`: so is this process, until both go on.
    fn stop(&mut self, signal: libc::c_int) -> Result<(), Errno> {
        if let Some(outer) = &self.held.outer {
            outer.report(self.renounced, Report::Stopped(signal));
            return Ok(());
        }
        if getpid().as_raw() == 1 {
            return Ok(());
        }
        // It waits for the terminal, which was another's. But perhaps that has ended since.
        if std::mem::take(&mut self.waits_for_terminal)
            && is_for_terminal(signal)
            && shares_group(&self.child)
            && self.terminal().is_some_and(|terminal| terminal.claim())
        {
            return terminal::continue_group(self.renounced);
        }
        signal::stop_by(signal)?;
        // If nothing has continued us, we were not stopped: nobody could have continued us.
        if !self.take_signals()? {
            self.go_on()?;
        }
        Ok(())
    }

    /// Lets the command go on, and gives it the terminal if that is ours now.
    fn go_on(&mut self) -> Result<(), Errno> {
        self.stopped_by = None;
        self.asked_to_stop = None;
        self.waits_for_terminal = false;
        self.postponed.forget_stops();
        if let (Some(terminal), Ok(group)) = (self.terminal(), self.child.group()) {
            terminal.pass_to(group);
        }
        // Continued already, by what has continued the whole group.
        if !self.child.was_continued(self.renounced)? {
            let _ = self.child.send(self.renounced, libc::SIGCONT);
            self.child.was_continued(self.renounced)?;
        }
        Ok(())
    }

    /// Passes on the signals that have come. Were we continued meanwhile?
    ///
    /// A stop signal tells that as well: it has taken the place of a pending SIGCONT.
    fn take_signals(&mut self) -> Result<bool, Errno> {
        let mut is_continued = false;
        while let Some(arrival) = self.arrivals.next()? {
            is_continued |= arrival.signal == libc::SIGCONT || stops(arrival.signal);
            self.take(arrival)?;
        }
        Ok(is_continued)
    }

    fn take(&mut self, arrival: Arrival) -> Result<(), Errno> {
        let signal = arrival.signal;
        let way = way_of(self.renounced, self.procfs, &self.child, arrival);
        self.waits_for_terminal |= arrival.sender == Sender::Kernel && is_for_terminal(signal);
        if signal == libc::SIGCHLD || way == Way::NotForIt {
            return Ok(());
        }
        if signal == libc::SIGCONT {
            return self.go_on();
        }
        // Asked before it is sent: a handler may be for one time only.
        let hearing = self.hearing(signal);
        if way == Way::Forward {
            // ESRCH: it has just ended, and the next SIGCHLD says so.
            let _ = self.child.send(self.renounced, signal);
        }
        match hearing {
            Hearing::Deaf => self.make_up_for(signal),
            // Also before the command's exec, which may be over by now: a selfdock that takes what
            // it has blocked will say so.
            Hearing::Blocked | Hearing::Unknown => self.postponed.add(signal),
            Hearing::Hears => {}
        }
        Ok(())
    }

    fn hearing(&self, signal: libc::c_int) -> Hearing {
        let (renounced, procfs, child) = (self.renounced, self.procfs, &self.child);
        if self.ward != Ward::Pid1 || self.is_selfdock || !(stops(signal) || terminates(signal)) {
            Hearing::Hears
        } else if self.hold.is_some() {
            // Still selfdock, or selfdock again and about to listen.
            hearing_at_once(renounced, procfs, child, signal)
        } else {
            hearing(renounced, procfs, child, signal)
        }
    }

    /// What was blocked when it came, or went to a process that could not be seen.
    fn make_up_for_dropped(&mut self) {
        // Before the command's own exec there is nothing to see.
        if self.hold.is_some() {
            return;
        }
        let (renounced, procfs) = (self.renounced, self.procfs);
        let dropped = self.postponed.take_dropped(renounced, procfs, &self.child);
        for signal in dropped {
            self.make_up_for(signal);
        }
    }

    /// Pid 1 of a pid namespace is spared what would end or stop any other process, so ^C, ^Z and
    /// timeout(1) would do nothing: what the kernel does not do is done here.
    fn make_up_for(&mut self, signal: libc::c_int) {
        if stops(signal) {
            // Stopped and continued ourselves since it came: it is an old one.
            if !signal::is_continued() {
                self.freeze(signal);
            }
        } else {
            // Not if the command, which was root's, has become another user's.
            let is_killed = self.child.send(self.renounced, libc::SIGKILL).is_ok();
            self.fate = self.fate.or(is_killed.then_some(Ending::Signaled(signal)));
        }
    }

    /// Is this process pid 1, and the command an ordinary one?
    fn is_init(&self) -> bool {
        self.ward == Ward::ChildOfInit
    }

    fn terminal(&self) -> Option<Terminal> {
        let has_terminal = self.held.has_terminal;
        has_terminal.then(|| Terminal::open(self.renounced))?
    }
}

/// Does the kernel send it to who uses the terminal in the background?
fn is_for_terminal(signal: libc::c_int) -> bool {
    matches!(signal, libc::SIGTTIN | libc::SIGTTOU)
}

//! Who waits for the command: the parent outside, and with `--init` also pid 1. It forwards
//! signals, stops and goes on with the command, and tells how that ended. It has renounced all
//! privilege and holds no descriptor of the caller's.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getsid};

use crate::hearing::{Hearing, hearing, is_pending};
use crate::name::Claim;
use crate::sys::descriptor;
use crate::sys::leash::{Hold, Leash, Report};
use crate::sys::privilege::Renounced;
use crate::sys::process::{Change, Ending, Process, reap_orphans};
use crate::sys::procfs::Procfs;
use crate::sys::self_stop::{Answer, SelfStops};
use crate::sys::signal::{self, Arrival, Arrivals, Sender};
use crate::sys::terminal::{self, Terminal};

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
    procfs: &Procfs,
) -> Result<Ending, Errno> {
    let mut supervisor = Supervisor {
        renounced,
        procfs,
        arrivals: Arrivals::listen()?,
        ward,
        child,
        hold: Some(hold),
        held,
        postponed: Postponed::default(),
        stopped_by: None,
        fate: None,
    };
    supervisor.close_the_rest()?;
    supervisor.release()?;
    supervisor.wait()
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
            self.see_to_postponed();
        }
    }

    fn finish(&mut self, ending: Ending) -> Result<Ending, Errno> {
        self.hear_reports()?;
        let ending = self.fate.unwrap_or(ending);
        if let (true, Some(outer)) = (self.is_init(), &self.held.outer) {
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

    /// Stops a pid 1 that stops itself, if it does not catch the signal, ignore or block it.
    fn decide_self_stop(&mut self) {
        let Some(stops) = &self.held.self_stops else {
            return;
        };
        let Some(call) = stops.next(self.renounced) else {
            return;
        };
        let stopped = call.process.as_ref().filter(|process| {
            self.procfs.is_pid_1(self.renounced, process)
                && hearing(self.renounced, self.procfs, process, call.signal) == Hearing::Deaf
                && process.send(self.renounced, libc::SIGSTOP).is_ok()
        });
        if stopped.is_some() {
            self.stopped_by = Some(call.signal);
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
                Ok(Some(Report::Stopped(signal))) => self.freeze(signal),
                Ok(Some(Report::Ended(ending))) => self.fate = self.fate.or(Some(ending)),
                Ok(None) => break,
                Err(Errno::ENOTCONN) => self.hold = None,
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
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
        let is_for_terminal = matches!(signal, libc::SIGTTIN | libc::SIGTTOU);
        if is_for_terminal
            && self.shares_group()
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
        // Continued already, by what has continued the whole group.
        if !self.child.was_continued(self.renounced)? {
            let _ = self.child.send(self.renounced, libc::SIGCONT);
            self.child.was_continued(self.renounced)?;
        }
        if let (Some(terminal), Ok(group)) = (self.terminal(), self.child.group()) {
            terminal.pass_to(group);
        }
        Ok(())
    }

    /// Passes on the signals that have come. Was SIGCONT among them?
    fn take_signals(&mut self) -> Result<bool, Errno> {
        let mut is_continued = false;
        while let Some(arrival) = self.arrivals.next()? {
            is_continued |= arrival.signal == libc::SIGCONT;
            self.take(arrival)?;
        }
        Ok(is_continued)
    }

    fn take(&mut self, arrival: Arrival) -> Result<(), Errno> {
        let signal = arrival.signal;
        let way = self.way_of(arrival);
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
            // A nested selfdock, which has the other end of the hold, takes what it has blocked.
            Hearing::Blocked if self.hold.is_none() => self.postponed.add(signal),
            Hearing::Blocked | Hearing::Hears => {}
        }
        Ok(())
    }

    fn hearing(&self, signal: libc::c_int) -> Hearing {
        if self.ward == Ward::Pid1 && (stops(signal) || terminates(signal)) {
            hearing(self.renounced, self.procfs, &self.child, signal)
        } else {
            Hearing::Hears
        }
    }

    /// Pid 1 of a pid namespace is spared what would end or stop any other process, so ^C, ^Z and
    /// timeout(1) would do nothing: what the kernel does not do is done here.
    fn make_up_for(&mut self, signal: libc::c_int) {
        if stops(signal) {
            self.freeze(signal);
        } else {
            let _ = self.child.send(self.renounced, libc::SIGKILL);
            self.fate = self.fate.or(Some(Ending::Signaled(signal)));
        }
    }

    /// Of those signals that were blocked: has one been dropped when it was unblocked?
    ///
    /// Who takes one by signalfd(2) or sigwait(3) and then unblocks it at once looks the same.
    fn see_to_postponed(&mut self) {
        for signal in std::mem::take(&mut self.postponed.signals) {
            if is_pending(self.renounced, self.procfs, &self.child, signal) {
                self.postponed.signals.push(signal);
            } else if self.hearing(signal) == Hearing::Deaf {
                self.make_up_for(signal);
            }
        }
    }

    fn way_of(&self, arrival: Arrival) -> Way {
        let is_for_group = match arrival.sender {
            Sender::Kernel => is_of_terminals(arrival.signal),
            Sender::Process(pid) => self.is_group_mate(pid),
            Sender::Unknown => false,
        };
        let is_leader = || getsid(None) == Ok(getpid());
        if !is_for_group {
            Way::Forward
        } else if self.shares_group() {
            Way::Delivered
        } else if arrival.signal == libc::SIGHUP && is_leader() {
            // Meant for the leader of the session, which would be the command.
            Way::Forward
        } else {
            Way::NotForIt
        }
    }

    /// Has it sent to its whole process group, which we are in as well?
    ///
    /// What runs inside has no number for us outside, and no other way to reach us. As pid 1 we can
    /// be reached by number, but who would, of those in our group?
    fn is_group_mate(&self, sender: Pid) -> bool {
        if self.is_init() {
            return getpgid(Some(sender)) == Ok(getpgrp());
        }
        Process::open(sender).is_ok_and(|sender| {
            let depth = self.procfs.depth_below(self.renounced, &sender);
            depth.is_some_and(|depth| depth > 0)
        })
    }

    /// Is this process pid 1, and the command an ordinary one?
    fn is_init(&self) -> bool {
        self.ward == Ward::ChildOfInit
    }

    fn terminal(&self) -> Option<Terminal> {
        let has_terminal = self.held.has_terminal;
        has_terminal.then(|| Terminal::open(self.renounced))?
    }

    /// Is the command in our process group, as it was in the beginning?
    fn shares_group(&self) -> bool {
        self.child.group() == Ok(getpgrp())
    }
}

/// Signals that the command had blocked when they came. Of what becomes of them the kernel tells
/// nobody, so they are looked at ever less often; a shell blocks them for a moment only.
#[derive(Debug, Default)]
struct Postponed {
    signals: Vec<libc::c_int>,
    patience: u16,
}

impl Postponed {
    fn add(&mut self, signal: libc::c_int) {
        if !self.signals.contains(&signal) {
            self.signals.push(signal);
        }
        self.patience = 0;
    }

    /// In how many milliseconds: 4, then twice as many, up to a second.
    fn next_look(&mut self) -> PollTimeout {
        if self.signals.is_empty() {
            return PollTimeout::NONE;
        }
        self.patience = (self.patience * 2).clamp(4, 1024);
        self.patience.into()
    }
}

/// How a signal gets to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// We send it.
    Forward,
    /// It was sent to the process group that the command is in as well.
    Delivered,
    /// It was sent to a process group that the command is not in any more.
    NotForIt,
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
fn stops(signal: libc::c_int) -> bool {
    matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// Does it end a process that does not care? See signal(7).
fn terminates(signal: libc::c_int) -> bool {
    let is_harmless = matches!(
        signal,
        libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH
    );
    !is_harmless && !stops(signal)
}

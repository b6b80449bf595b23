//! Starts selfdock, and meddles with one of its system calls: see meddle.c.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::errno::Errno;
use nix::libc;

use crate::host::{self, CANNOT, Host, new_terminal, text};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It fails.
    Fail(Errno),
    /// It reports success, and nothing happened.
    Claim,
    /// Its process is killed instead.
    Kill,
}

/// One system call of selfdock's.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which process, in the order of their beginnings, and which of its calls.
    pub process: usize,
    pub number: usize,
    /// Its name, what tells it from others of that name, and what was looked up last.
    pub what: String,
    /// Before `main`: the entry point's and libc's.
    pub is_start_up: bool,
    /// Of a supervisor that has closed standard error and lets the command begin.
    pub is_waiting: bool,
}

impl Call {
    pub fn name(&self) -> &str {
        let end = self.what.find([' ', ',']).unwrap_or(self.what.len());
        &self.what[..end]
    }

    /// Is it another C library's own affair? How many of those there are may differ each time, too.
    pub fn is_of_other_libc(&self) -> bool {
        OF_OTHER_LIBC.contains(&self.name()) && !host::has_glibc()
    }
}

/// Calls that another C library than glibc makes for itself: of memory, and around a fork. What becomes
/// of them when they fail is its own affair.
const OF_OTHER_LIBC: [&str; 9] = [
    "mmap",
    "munmap",
    "mprotect",
    "madvise",
    "call-28",
    "prlimit64",
    "brk",
    "gettid",
    "rt_sigprocmask",
];

/// What only a supervisor calls that has closed standard error.
const LAST: [&str; 6] = [
    "close_range",
    "sendto",
    "poll",
    "waitid",
    "recvfrom",
    "exit_group",
];

/// What came of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Status 124, one message, no command.
    Refused,
    /// Status 124, and no command.
    Silent,
    /// The command was said not to be executable.
    NotExecutable,
    /// Killed, and no command.
    Killed,
    /// Ended otherwise, and no command.
    Ended,
    /// The command ran in an instance that is as always.
    Whole,
    /// As always, but that more of the host's mounts are there, read-only and nosuid, to be covered.
    Covered,
    /// As always, but that nothing can be executed in /tmp and /dev/shm.
    NoExec,
    /// As always, but that selfdock's own file is /dev/selfdock.
    AtDev,
    /// As always, but that the command begins in the root directory.
    InRoot,
    /// As always, but that there is no /dev/console.
    NoConsole,
    /// As always, but that selfdock's own file is not mounted.
    NoOwn,
    /// Whole, but in a user namespace of the caller's, as if it had been asked for.
    InUserNamespace,
    /// As always, but that one more filter restricts the command.
    Filtered,
    /// As always, but that nobody hears of a pid 1 that would stop itself.
    Deaf,
    /// The command had been let go, and what it said is as always, as far as it came.
    Overtaken,
}

/// One way to start selfdock.
pub struct Stage<'a> {
    host: &'a Host,
    words: Vec<String>,
    has_terminal: bool,
    directory: PathBuf,
    /// What meddle.c is told of the machine.
    machine: Option<String>,
    control: BTreeSet<String>,
    pub calls: Vec<Call>,
}

/// Each run has a log, and each instance a name, of its own.
static RUNS: AtomicUsize = AtomicUsize::new(0);

/// Compiles what the stages of `host` need.
pub fn prepare(host: &Host) {
    host.compile("meddle", include_str!("meddle.c"));
    host.compile("witness", include_str!("witness.c"));
}

impl<'a> Stage<'a> {
    /// `line` is selfdock's words, without the command: `$DIR` is the test's directory, `$N` a
    /// number that is new each time. With `terminal` before them, it has one.
    pub fn new(host: &'a Host, line: &str) -> Self {
        Self::on_machine(host, line, None)
    }

    /// The same on a machine where the first call that begins with these words fails so.
    pub fn where_it_fails(host: &'a Host, line: &str, (what, errno): (&str, Errno)) -> Self {
        let usual = Self::new(host, line);
        let is_it = |call: &&Call| call.what.starts_with(what);
        let call = usual.calls.iter().find(is_it).expect("no such call");
        let words = format!("always={}:{}:{}", call.process, call.number, errno as i32);
        Self::on_machine(host, line, Some(words))
    }

    fn on_machine(host: &'a Host, line: &str, machine: Option<String>) -> Self {
        let (has_terminal, line) = match line.strip_prefix("terminal ") {
            Some(line) => (true, line),
            None => (false, line),
        };
        let words = line.split_whitespace().map(str::to_owned).collect();
        let directory = host.path("");
        let mut stage = Self {
            host,
            words,
            has_terminal,
            directory,
            machine,
            control: BTreeSet::new(),
            calls: Vec::new(),
        };
        let (run, log) = stage.run(None);
        assert!(
            run.status.success() && run.stderr.is_empty(),
            "{}",
            text(&run)
        );
        stage.control = stage.lines(&run);
        assert!(stage.control.len() > 20, "{}", text(&run));
        stage.calls = stage.read_calls(&log);
        let (again, log) = stage.run(None);
        assert_eq!(stage.lines(&again), stage.control, "differs by itself");
        assert_eq!(log.last().map(String::as_str), Some("all ended"));
        stage
    }

    /// Does it enter an instance, which is among all processes of this machine?
    fn is_guest(&self) -> bool {
        self.words[0] == "enter"
    }

    fn read_calls(&self, log: &[String]) -> Vec<Call> {
        let (mut starting, mut waiting) = (BTreeSet::from([0]), BTreeSet::new());
        let mut calls = Vec::new();
        for line in &log[..log.len() - 1] {
            let mut call = self.read_call(line);
            let process = call.process;
            if call.name() == "capget" {
                starting.remove(&process);
            }
            if call.name() == "close_range" {
                waiting.insert(process);
            }
            call.is_start_up = starting.contains(&process);
            call.is_waiting = waiting.contains(&process);
            if call.name() == "execve" {
                starting.insert(process);
            }
            calls.push(call);
        }
        calls.retain(|call| !call.is_of_other_libc());
        calls
    }

    fn read_call(&self, line: &str) -> Call {
        let mut words = line.splitn(3, ' ');
        let mut number = || words.next().unwrap().parse().unwrap();
        let (process, number) = (number(), number());
        let dir = self.host.path("");
        let what = words
            .next()
            .unwrap()
            .replace(dir.to_str().unwrap().trim_end_matches('/'), "$DIR")
            // How musl asks whether something is a terminal, and how glibc does.
            .replace("ioctl 0x5413", "ioctl 0x5401");
        let what = anonymous(&what);
        Call {
            process,
            number,
            what,
            is_start_up: false,
            is_waiting: false,
        }
    }

    fn run(&self, meddle: Option<(&Call, Deed)>) -> (Output, Vec<String>) {
        let count = RUNS.fetch_add(1, Ordering::Relaxed);
        let log = self.host.path(format!("log-{count}"));
        let mut command = Command::new(self.host.path("meddle"));
        command.arg(format!("log={}", log.display()));
        if let Some((call, deed)) = meddle {
            let deed = match deed {
                Deed::Fail(errno) => (errno as i32).to_string(),
                Deed::Claim => "0".to_owned(),
                Deed::Kill => "kill".to_owned(),
            };
            command
                .arg(format!("at={}:{}", call.process, call.number))
                .arg(format!("do={deed}"));
        }
        command.args(&self.machine);
        command.stdin(Stdio::null()).current_dir(&self.directory);
        if !self.is_guest() {
            command.arg("alone");
        }
        let terminal = self.has_terminal.then(new_terminal);
        if let Some((_, terminal)) = &terminal {
            command
                .arg("terminal")
                .stdin(Stdio::from(terminal.try_clone().unwrap()));
        }
        command
            .arg(format!("uid={}", self.host.uid()))
            .arg(self.host.program());
        let dir = self.host.path("");
        let dir = dir.to_str().unwrap().trim_end_matches('/');
        let words = self.words.iter();
        command.args(words.map(|word| word.replace("$DIR", dir).replace("$N", &count.to_string())));
        let run = command.arg(self.host.path("witness")).output().unwrap();
        let lines = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        (run, lines.lines().map(str::to_owned).collect())
    }

    /// What the witness said, without what differs each time.
    fn lines(&self, run: &Output) -> BTreeSet<String> {
        let said = String::from_utf8_lossy(&run.stdout);
        let is_guest = self.is_guest();
        let lines = said.lines().map(|line| match line.split_once(", dies") {
            // It is not pid 1 there, but any.
            Some((_, rest)) if is_guest => rest.to_owned(),
            _ => without_number(line, &["mount /", "/dev/pts/"]),
        });
        lines
            .filter(|line| !is_guest || !line.starts_with("status NSpid"))
            .collect()
    }

    /// Meddles with one call: which it was in the end (the order of a supervisor's last calls is not
    /// always the same), and what came of it.
    pub fn meddle(&self, call: &Call, deed: Deed) -> Result<(Option<Call>, Kind), String> {
        let (run, log) = self.run(Some((call, deed)));
        let hit = log
            .first()
            .filter(|line| line.starts_with(char::is_numeric));
        let hit = hit.map(|line| {
            let hit = self.read_call(line);
            // Where the calls before it are not always as many, it may be another one.
            let is_uncertain = LAST.contains(&hit.name()) || self.is_guest();
            let has_moved = hit.what != call.what && is_uncertain;
            let (is_start_up, is_waiting) = (call.is_start_up, call.is_waiting || has_moved);
            Call {
                is_start_up,
                is_waiting,
                ..hit
            }
        });
        if log.last().map(String::as_str) != Some("all ended") {
            return Err(format!("processes are left: {log:?} {}", text(&run)));
        }
        if log.iter().any(|line| line == "mounts changed") {
            return Err(format!(
                "the mount table outside has changed: {}",
                text(&run)
            ));
        }
        match self.kind(&run) {
            Some(kind) => Ok((hit, kind)),
            None => Err(format!("another instance: {}", self.difference(&run))),
        }
    }

    /// Is it a whole instance that was made without privilege, in place of one that was made with it?
    fn is_in_user_namespace(&self, lines: &BTreeSet<String>) -> bool {
        let of_machine = "map          0          0 4294967295";
        let uid = self.host.uid();
        let own = format!("map {uid:>10} {uid:>10} {:>10}", 1);
        let powers = |line: &&String| line.starts_with("status Cap");
        let is_powerless = |line: &String| line.ends_with("\t0000000000000000");
        let is_live = |line: &String| line.starts_with("mount ") && !line.contains(",nosuid,");
        let is_writable = |line: &String| {
            let words: Vec<&str> = line.split(' ').collect();
            words[0] == "mount" && words[2] == "/" && words[3].starts_with("rw,")
        };
        let of_mounts = |lines: &BTreeSet<String>| -> BTreeSet<String> {
            let mounts = lines.iter().filter_map(|line| line.strip_prefix("mount "));
            mounts
                .map(|line| line.split(' ').nth(1).unwrap().to_owned())
                .collect()
        };
        // What the host has on its root is there as well, and covered.
        self.control.contains(of_machine)
            && lines.contains(&own)
            && lines.iter().filter(powers).count() == 5
            && lines.iter().filter(powers).all(is_powerless)
            && !lines.iter().any(is_live)
            && lines.iter().any(is_writable) == self.control.iter().any(is_writable)
            && of_mounts(lines).is_superset(&of_mounts(&self.control))
    }

    fn difference(&self, run: &Output) -> String {
        let lines = self.lines(run);
        let missing: Vec<_> = self.control.difference(&lines).collect();
        let more: Vec<_> = lines.difference(&self.control).collect();
        let err = String::from_utf8_lossy(&run.stderr);
        format!("{} {err:?} missing {missing:#?} more {more:#?}", run.status)
    }

    fn kind(&self, run: &Output) -> Option<Kind> {
        let err = String::from_utf8_lossy(&run.stderr);
        let lines: Vec<&str> = err.lines().collect();
        let is_message = match lines[..] {
            [message] => message.starts_with("selfdock: "),
            [message, hint] => message.starts_with("selfdock: ") && hint.starts_with("hint: "),
            _ => false,
        };
        if !run.stdout.is_empty() {
            let kind = self.kind_of_instance(run);
            let is_said = err.is_empty() || kind == Some(Kind::InRoot) && err.starts_with("hint: ");
            return kind.filter(|_| is_said);
        }
        let (code, signal) = (run.status.code(), run.status.signal());
        Some(match code {
            Some(CANNOT) if is_message => Kind::Refused,
            Some(CANNOT) if lines.is_empty() => Kind::Silent,
            Some(126 | 127) if is_message => Kind::NotExecutable,
            None if signal == Some(libc::SIGKILL) && lines.is_empty() => Kind::Killed,
            _ => Kind::Ended,
        })
    }

    fn kind_of_instance(&self, run: &Output) -> Option<Kind> {
        let lines = self.lines(run);
        let missing: BTreeSet<_> = self.control.difference(&lines).cloned().collect();
        let more: BTreeSet<_> = lines.difference(&self.control).cloned().collect();
        if !run.status.success() {
            // The last line may be half a line.
            return (more.len() <= 1).then_some(Kind::Overtaken);
        }
        if missing.is_empty() && more.is_empty() {
            return Some(Kind::Whole);
        }
        if self.is_in_user_namespace(&lines) {
            return Some(Kind::InUserNamespace);
        }
        let no_exec = |line: &String| line.replace(",nosuid,nodev,", ",nosuid,nodev,noexec,");
        let is_own_tmpfs = |line: &String| line.contains(" - tmpfs none ");
        if missing.iter().all(is_own_tmpfs) && missing.iter().map(no_exec).eq(more.iter().cloned())
        {
            return Some(Kind::NoExec);
        }
        let program = format!(" {} ro,", self.host.program().display());
        let at_dev = |line: &String| line.replace(&program, " /dev/selfdock ro,");
        if missing.len() == 1 && missing.iter().map(at_dev).eq(more.iter().cloned()) {
            return Some(Kind::AtDev);
        }
        let in_root = |line: &String| {
            line.replace(self.directory.to_str().unwrap().trim_end_matches('/'), "/")
        };
        if missing.len() == 1 && missing.iter().map(in_root).eq(more.iter().cloned()) {
            return Some(Kind::InRoot);
        }
        if missing.len() == 1 && more.is_empty() {
            let is_gone = |name: &str| missing.iter().any(|line| line.contains(name));
            let is_own = is_gone(&program) || is_gone(" /dev/selfdock ro,");
            let is_console = is_gone(" /dev/console ").then_some(Kind::NoConsole);
            return is_console.or(is_own.then_some(Kind::NoOwn));
        }
        let more_filters = |line: &String| {
            let line = line.replace("Seccomp:\t0", "Seccomp:\t2");
            let (lower, higher) = ("filters:\t1", "filters:\t2");
            line.replace(lower, higher).replace("filters:\t0", lower)
        };
        if !missing.is_empty() && missing.iter().map(more_filters).eq(more.iter().cloned()) {
            return Some(Kind::Filtered);
        }
        let deaf = |line: &String| line.replace("Seccomp_filters:\t2", "Seccomp_filters:\t1");
        if missing.len() == 1 && missing.iter().map(deaf).eq(more.iter().cloned()) {
            return Some(Kind::Deaf);
        }
        // The cover itself is mounted once as a whole, below our own /dev.
        let is_harmless = |line: &String| {
            line.starts_with("mount ") && line.contains(" ro,nosuid,")
                || line.contains(" rw,nosuid,nodev,noexec,") && line.contains("size=64k,mode=755")
        };
        (missing.is_empty() && more.iter().all(is_harmless)).then_some(Kind::Covered)
    }
}

/// Without the number of a terminal.
fn without_number(line: &str, before: &[&str]) -> String {
    for before in before {
        if let Some((start, rest)) = line.split_once(before) {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            return format!("{start}{before}{}", &rest[digits..]);
        }
    }
    line.to_owned()
}

/// A process in /proc is any; a name that is looked up in a directory, on the way to what this machine has mounted, is any.
fn anonymous(what: &str) -> String {
    match what.split_once("openat2 ") {
        Some((before, path)) if path.starts_with(|first: char| first.is_ascii_digit()) => {
            format!("{before}openat2 PID")
        }
        Some((before, path))
            if !path.starts_with(['/', '$', '.'])
                && !path.starts_with("sys/")
                && path != "self"
                && !path.starts_with("self/") =>
        {
            format!("{before}openat2 PART")
        }
        _ => what.to_owned(),
    }
}

/// Of each class of calls that are the same but for what is done with the result, at most `most`:
/// the first, the last, and those evenly between.
pub fn sample(calls: &[Call], most: usize) -> Vec<Call> {
    let class = |call: &Call| {
        let what = call.what.split([',', '/', '"']).next().unwrap().to_owned();
        (call.process, call.is_start_up, call.is_waiting, what)
    };
    let mut classes = std::collections::BTreeMap::<_, Vec<&Call>>::new();
    for call in calls {
        classes.entry(class(call)).or_default().push(call);
    }
    let some = classes.into_values().flat_map(|class| {
        let count = class.len().min(most);
        let place = |index: usize| index * (class.len() - 1) / (count.max(2) - 1);
        (0..count)
            .map(|index| class[place(index)].clone())
            .collect::<Vec<_>>()
    });
    some.collect()
}

/// Does `work` for each item, several at a time; fails with all complaints there are.
pub fn for_each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<(), String> + Sync) {
    let (next, complaints) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let workers = thread::available_parallelism().map_or(2, usize::from) + 1;
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(complaint) = work(item) {
                        complaints.lock().unwrap().push(complaint);
                    }
                }
            });
        }
    });
    let complaints = complaints.into_inner().unwrap();
    assert!(
        complaints.is_empty(),
        "{} of {}:\n{}",
        complaints.len(),
        items.len(),
        complaints.join("\n")
    );
}

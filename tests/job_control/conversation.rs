//! The same dialogue with a shell, bare and inside.

use crate::host::Host;
use crate::host::terminal::{PROMPT, Terminal};
use crate::processes;

/// How a command is started, by name: what stands before it.
pub type Way = (&'static str, &'static str);

pub const BARE: Way = ("bare", "");
pub const RUN: Way = ("run", "$SD run");
pub const INIT: Way = ("--init run", "$SD --init run");
pub const NESTED: Way = ("run, run", "$SD run $SD run");
pub const INIT_NESTED: Way = ("--init run, run", "$SD --init run $SD run");
pub const NESTED_INIT: Way = ("run, --init run", "$SD run $SD --init run");

pub const USERNS: Way = ("userns", "$SD --privilege userns run");
pub const USERNS_NESTED: Way = (
    "userns, userns",
    "$SD --privilege userns run $SD --privilege userns run",
);

/// Every way inside.
pub const WAYS: [Way; 7] = [
    RUN,
    INIT,
    NESTED,
    INIT_NESTED,
    NESTED_INIT,
    USERNS,
    USERNS_NESTED,
];

/// bash with job control, and without what it does to lines that are typed.
pub const BASH: &[&str] = &["bash", "--norc", "--noprofile", "--noediting", "-i"];
/// The other shell that is everywhere.
pub const DASH: &[&str] = &["dash", "-i"];

/// Holds the dialogue bare, and then in each of these ways: all that comes must be the same. `$W`
/// stands for the way, so that the shell prints the same for each.
#[track_caller]
pub fn alike(host: &Host, shell: &[&str], ways: &[Way], dialogue: impl Fn(&mut Shell)) {
    let bare = held(host, shell, BARE, &dialogue);
    for way in ways {
        let inside = held(host, shell, *way, &dialogue);
        assert_eq!(inside, bare, "{}", way.0);
    }
}

/// Everything that the shell printed while this dialogue was held.
pub fn held(host: &Host, shell: &[&str], way: Way, dialogue: impl Fn(&mut Shell)) -> Vec<String> {
    println!("{}, {}", shell[0], way.0); // where a test fails
    let mut shell = Shell::start(host, shell, way);
    dialogue(&mut shell);
    let (rest, status) = shell.leave();
    shell.log.push(format!("{rest}{status}"));
    host.assert_nothing_runs();
    shell.log
}

/// A shell at a terminal.
pub struct Shell<'a> {
    pub host: &'a Host,
    pub terminal: Terminal,
    /// What came, piece by piece.
    log: Vec<String>,
    has_left: bool,
}

impl<'a> Shell<'a> {
    pub fn start(host: &'a Host, words: &[&str], way: Way) -> Self {
        let program = host.program();
        let prefix = way.1.replace("$SD", program.to_str().unwrap());
        let mut terminal = Terminal::start(host, words, &[("W", prefix.as_str())]);
        terminal.name = format!("{}, {}", words[0], way.0);
        terminal.until(PROMPT);
        Self {
            host,
            terminal,
            log: Vec::new(),
            has_left: false,
        }
    }

    /// What the shell prints between this line and its next prompt.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        self.start_line(line);
        self.prompted()
    }

    /// A line to which the shell says what it may say sooner or later, as of a job that has stopped.
    #[track_caller]
    pub fn whisper(&mut self, line: &str) {
        self.start_line(line);
        self.terminal.until(PROMPT);
    }

    /// What a command prints for this line, up to `awaited`.
    #[track_caller]
    pub fn run_until(&mut self, line: &str, awaited: &str) -> String {
        self.start_line(line);
        self.until(awaited)
    }

    /// Types a line, and sees it there.
    #[track_caller]
    pub fn start_line(&mut self, line: &str) {
        self.key(&format!("{line}\n"));
        self.terminal.until(&format!("{line}\r\n"));
    }

    /// `fg`, until the shell says what goes on.
    #[track_caller]
    pub fn foreground(&mut self) {
        self.run_until("fg", "\r\n");
    }

    /// Presses keys.
    pub fn key(&mut self, keys: &str) {
        self.terminal.enter(keys);
    }

    /// Presses keys once all sleep.
    ///
    /// Whoever is faster than that loses a `^Z` also when bare: the shell gives the terminal to a
    /// job first and has it go on then, and what would have stopped it meanwhile is forgotten.
    #[track_caller]
    pub fn calmly(&mut self, keys: &str) {
        processes::calm(self.host, "S");
        self.key(keys);
    }

    /// Waits until what the shell has started is stopped, as the shell will find out.
    #[track_caller]
    pub fn job_stops(&self) {
        let shell = self.terminal.child.id();
        processes::wait_until(self.host, "a job stops", || {
            let states = processes::states(self.host);
            let mut children = states
                .iter()
                .filter(|(_, parent)| *parent == shell)
                .peekable();
            children.peek().is_some() && children.all(|(state, _)| *state == 'T')
        });
    }

    /// What is printed before the next prompt.
    #[track_caller]
    pub fn prompted(&mut self) -> String {
        self.until(PROMPT)
    }

    /// What is printed before `awaited`.
    #[track_caller]
    pub fn until(&mut self, awaited: &str) -> String {
        let printed = without_pids(&self.terminal.until(awaited));
        self.log.push(format!("{printed}{awaited}"));
        printed
    }

    /// Has the shell end; `(rest, status)`.
    #[track_caller]
    fn leave(&mut self) -> (String, String) {
        if !self.has_left {
            self.start_line("exit");
        }
        self.ended()
    }

    /// The shell ends for another reason.
    #[track_caller]
    pub fn ended(&mut self) -> (String, String) {
        self.has_left = true;
        let (rest, status) = self.terminal.end();
        (without_pids(&rest), status.to_string())
    }
}

/// Without what differs from run to run: the numbers of processes, where a shell tells them.
fn without_pids(text: &str) -> String {
    let line = |line: &str| {
        let mut words: Vec<_> = line.split(' ').collect();
        let is_number = |word: &str| word.parse::<u32>().is_ok();
        if line.starts_with('[') || line.starts_with(' ') {
            words.retain(|word| !word.is_empty() && !is_number(word));
        }
        match words.iter().rposition(|word| *word == "group") {
            Some(place) if line.contains("process group") => words[..=place].join(" "),
            _ => words.join(" "),
        }
    };
    let lines: Vec<_> = text.replace("\r\n", "\n").split('\n').map(line).collect();
    lines.join("\n")
}

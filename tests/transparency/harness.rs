//! One case: a shell script, run bare and in each mode, and what may differ.
//!
//! The script runs as the caller, in a session of its own, in a directory of the caller's. What it
//! wraps stands behind `$RUN`, which is nothing when bare and `selfdock run` otherwise. Compared are
//! the whole outputs and the status that waitpid(2) gives.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::host::{Host, Install};

/// How the words behind `$RUN` are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As they are.
    Bare,
    /// By `selfdock run`: as pid 1.
    Run,
    /// By `selfdock --init run`: as the child of a selfdock that is pid 1.
    Init,
    /// By `selfdock --privilege userns run`: as pid 1, in a user namespace.
    Userns,
}

/// What is compared with `Bare`.
pub const MODES: [Mode; 3] = [Mode::Run, Mode::Init, Mode::Userns];

impl Mode {
    /// The words for `$RUN`, and for `$HERE`, which can write to the working directory.
    fn words(self, program: &Path) -> [String; 2] {
        let program = program.display();
        match self {
            Self::Bare => [String::new(), String::new()],
            Self::Run => [format!("{program} run"), format!("{program} --here run")],
            Self::Init => [
                format!("{program} --init run"),
                format!("{program} --init --here run"),
            ],
            Self::Userns => [
                format!("{program} --privilege userns run"),
                format!("{program} --privilege userns --here run"),
            ],
        }
    }
}

/// Those that there are with this installation.
fn modes() -> &'static [Mode] {
    match Install::wanted() {
        Install::Rootless => &[Mode::Userns],
        _ => &MODES,
    }
}

/// How a script ended: the status, or the negative of the signal's number, and what it wrote.
///
/// In `out` and `err`, `*` stands for whatever is there: the time, say.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    status: i32,
    out: &'static str,
    err: &'static str,
}

/// A difference: the row of docs/differences.md that tells it, and what is seen then.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    pub row: &'static str,
    expected: Expected,
}

/// A script, what it does bare, and, for each mode where that is not the same, what it does there.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    script: &'static str,
    bare: Expected,
    run: Option<Difference>,
    init: Option<Difference>,
    /// If it is not as with `run`.
    userns: Option<Difference>,
    /// Is it the kernel's doing at the exec of a set-user-id program, whatever that does?
    is_of_exec: bool,
    by_root: &'static [&'static str],
}

/// A case that makes no difference. Without its own expectation, a script that is wrong would be
/// wrong in the same way everywhere.
pub const fn case(script: &'static str, status: i32, out: &'static str) -> Case {
    let err = "";
    Case {
        script,
        bare: Expected { status, out, err },
        run: None,
        init: None,
        userns: None,
        is_of_exec: false,
        by_root: &[],
    }
}

impl Case {
    /// What goes to standard error.
    pub const fn err(mut self, err: &'static str) -> Self {
        self.bare.err = err;
        self
    }

    /// Root gives the caller something first: the words that run setpriv(1), and options of it.
    pub const fn by_root(mut self, words: &'static [&'static str]) -> Self {
        self.by_root = words;
        self
    }

    /// Another ending where the command is pid 1.
    pub const fn as_pid_1(mut self, row: &'static str, status: i32, out: &'static str) -> Self {
        let err = "";
        let expected = Expected { status, out, err };
        self.run = Some(Difference { row, expected });
        self
    }

    /// Another ending inside, whoever is pid 1.
    pub const fn inside(self, row: &'static str, status: i32, out: &'static str) -> Self {
        let mut case = self.as_pid_1(row, status, out);
        case.init = case.run;
        case
    }

    /// An ending of its own where selfdock is pid 1.
    pub const fn with_init(mut self, row: &'static str, status: i32, out: &'static str) -> Self {
        let err = "";
        let expected = Expected { status, out, err };
        self.init = Some(Difference { row, expected });
        self
    }

    /// As bare if selfdock's file is not set-user-id.
    pub const fn by_exec(mut self) -> Self {
        self.is_of_exec = true;
        self
    }

    /// An ending of its own in a user namespace.
    pub const fn by_userns(mut self, row: &'static str, status: i32, out: &'static str) -> Self {
        let err = "";
        let expected = Expected { status, out, err };
        self.userns = Some(Difference { row, expected });
        self
    }

    /// What goes to standard error then.
    pub const fn inside_err(mut self, err: &'static str) -> Self {
        if let Some(difference) = &mut self.run {
            difference.expected.err = err;
        }
        if let Some(difference) = &mut self.init {
            difference.expected.err = err;
        }
        self
    }

    /// What goes to standard error where selfdock is pid 1.
    pub const fn init_err(mut self, err: &'static str) -> Self {
        if let Some(difference) = &mut self.init {
            difference.expected.err = err;
        }
        self
    }

    /// How this mode differs, if it does.
    pub fn difference(&self, mode: Mode) -> Option<Difference> {
        match mode {
            Mode::Bare => None,
            Mode::Run => self.run,
            Mode::Init => self.init,
            Mode::Userns => self.userns.or(self.run),
        }
    }
}

/// What really happened.
#[derive(PartialEq, Eq)]
struct Outcome {
    status: ExitStatus,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Outcome {
    fn is(&self, expected: Expected) -> bool {
        let status = self.status.signal().map(|signal| -signal);
        status.or(self.status.code()) == Some(expected.status)
            && matches(&self.out, expected.out)
            && matches(&self.err, expected.err)
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [out, err] = [&self.out, &self.err].map(|bytes| {
            let start = &bytes[..bytes.len().min(3000)];
            String::from_utf8_lossy(start).into_owned()
        });
        write!(f, "{}\n--- out\n{out}--- err\n{err}", self.status)
    }
}

/// Is it that text, with anything for each `*`?
fn matches(bytes: &[u8], pattern: &str) -> bool {
    let Ok(mut rest) = std::str::from_utf8(bytes) else {
        return pattern == "*";
    };
    let mut parts = pattern.split('*');
    let Some(after) = rest.strip_prefix(parts.next().unwrap()) else {
        return false;
    };
    rest = after;
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

/// Fails, with both outcomes, unless the case is in every mode as it says.
pub fn assert(case: &Case) {
    let host = Host::new();
    host.root_file("probe", 0o755, probe());
    host.root_file("id", 0o4755, fs::read("/usr/bin/id").unwrap());
    let bare = outcome(&host, case, Mode::Bare);
    assert!(
        bare.is(case.bare),
        "bare, expected {:?}, not: {bare}",
        case.bare
    );
    for mode in modes() {
        let seen = outcome(&host, case, *mode);
        let is_there = !(case.is_of_exec && Install::is_rootless());
        let difference = case.difference(*mode).filter(|_| is_there);
        let Some(Difference { row, expected }) = difference else {
            assert!(seen == bare, "bare: {bare}\n\n{mode:?}: {seen}");
            continue;
        };
        assert!(seen != bare, "no difference any more: {row}: {bare}");
        assert!(
            seen.is(expected),
            "{mode:?}, expected {row}: {expected:?}\n\nbare: {bare}\n\n{mode:?}: {seen}"
        );
    }
}

/// Runs the script in one mode, in a new directory.
fn outcome(host: &Host, case: &Case, mode: Mode) -> Outcome {
    let work = host.caller_dir("work");
    let mut command = as_caller(host, case.by_root);
    let [run, here] = mode.words(&host.program());
    command
        // Every signal as usual, whatever this test was started by.
        .args(["env", "--default-signal", "setsid"])
        .args(["/bin/bash", "-c", case.script])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("DIR", work.parent().unwrap())
        .env("W", &work)
        .env("P", host.path("probe"))
        .env("SD", host.program())
        .env("RUN", run)
        .env("HERE", here);
    command
        .current_dir(&work)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let outcome = finish(host, command.spawn().unwrap());
    host.assert_nothing_runs();
    fs::remove_dir_all(&work).unwrap();
    outcome
}

/// env(1) or, if root gives something first, setpriv(1), as the caller: what follows are words.
fn as_caller(host: &Host, by_root: &[&str]) -> Command {
    let Some((program, words)) = by_root.split_first() else {
        return host.as_caller("env");
    };
    let id = host.uid().to_string();
    let mut command = Command::new(program);
    command
        .args(words)
        .args(["--reuid", &id, "--regid", &id, "--"]);
    command
}

/// Waits for the script, and for whoever else holds its outputs open.
fn finish(host: &Host, mut script: Child) -> Outcome {
    let out = read_to_end(script.stdout.take().unwrap());
    let err = read_to_end(script.stderr.take().unwrap());
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut is_late = false;
    while !(script.try_wait().unwrap().is_some() && out.is_finished() && err.is_finished()) {
        if Instant::now() > deadline {
            is_late = true;
            kill_all(host);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let outcome = Outcome {
        status: script.wait().unwrap(),
        out: out.join().unwrap(),
        err: err.join().unwrap(),
    };
    assert!(!is_late, "did not end: {outcome}");
    outcome
}

fn kill_all(host: &Host) {
    for pid in host.processes() {
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
}

fn read_to_end(mut output: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// The program of probe.c, compiled once.
fn probe() -> &'static [u8] {
    static PROBE: OnceLock<Vec<u8>> = OnceLock::new();
    PROBE.get_or_init(|| {
        let host = Host::new();
        fs::read(host.compile("probe", include_str!("probe.c"))).unwrap()
    })
}

/// Makes each `name: case` a test of that name, and all of them a list.
macro_rules! cases {
    ($($name:ident: $case:expr;)+) => {
        $(
            #[test]
            fn $name() {
                crate::harness::assert(&$case);
            }
        )+

        /// All cases of this file.
        pub const ALL: &[crate::harness::Case] = &[$($case),+];
    };
}
pub(crate) use cases;

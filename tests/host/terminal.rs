//! A terminal, and somebody who types on it and reads what is printed there.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

use super::Host;

/// How long anything may take on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a shell at a terminal prompts with.
pub const PROMPT: &str = "ready> ";

/// A program in a session of its own, which this terminal controls.
pub struct Terminal {
    master: Option<File>,
    /// Everything that was printed.
    printed: Vec<u8>,
    /// How much of it was awaited.
    seen: usize,
    /// What to say where it fails.
    pub name: String,
    /// The leader of the session.
    pub child: Child,
}

impl Terminal {
    /// Starts the program as the caller, with these words and variables. `SD` is selfdock's own
    /// path and `DIR` the test's directory.
    pub fn start(host: &Host, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let (master, slave) = pair(host);
        let mut command = host.as_caller("setsid");
        command.args(["--ctty", "--wait", "env", "--default-signal"]);
        command.args(words).env_clear();
        command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("SD", host.program()).env("DIR", host.path(""));
        command.env("PS1", PROMPT).env("PS2", "");
        command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
        command.envs(variables.iter().copied());
        command.stdout(slave.try_clone().unwrap());
        command.stderr(slave.try_clone().unwrap());
        let child = command.stdin(Stdio::from(slave)).spawn().unwrap();
        Self {
            master: Some(master),
            printed: Vec::new(),
            seen: 0,
            name: words.join(" "),
            child,
        }
    }

    /// Types it.
    pub fn enter(&mut self, text: &str) {
        let master = self.master.as_mut().expect("not hung up");
        master.write_all(text.as_bytes()).unwrap();
    }

    /// What is printed before `text`, once that has been printed as well.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let unseen = String::from_utf8_lossy(&self.printed[self.seen..]).into_owned();
            if let Some((before, _)) = unseen.split_once(text) {
                // All that is awaited here is ASCII, and stands where it stood.
                let length = find(&self.printed[self.seen..], text.as_bytes()).unwrap();
                self.seen += length + text.len();
                return before.to_owned();
            }
            match self.read(deadline) {
                Arrived::Text => {}
                Arrived::Nothing => panic!("waited for {text:?}: {}", self.text()),
                Arrived::End => panic!("ended without {text:?}: {}", self.text()),
            }
        }
    }

    /// Reads what comes next, until `deadline`.
    fn read(&mut self, deadline: Instant) -> Arrived {
        let Some(master) = &mut self.master else {
            return Arrived::End;
        };
        let patience = deadline.saturating_duration_since(Instant::now());
        let patience = PollTimeout::try_from(patience).unwrap();
        let mut question = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut question, patience).unwrap() == 0 {
            return Arrived::Nothing;
        }
        let mut bytes = [0; 4096];
        // When nobody has the other side open any more: EIO.
        let Ok(count @ 1..) = master.read(&mut bytes) else {
            return Arrived::End;
        };
        self.printed.extend(&bytes[..count]);
        Arrived::Text
    }

    /// Closes the window.
    pub fn hang_up(&mut self) {
        self.master = None;
    }

    /// Everything that was printed, for messages.
    pub fn text(&self) -> String {
        let printed = String::from_utf8_lossy(&self.printed);
        let processes = in_session(self.child.id()).join("\n");
        format!("{}\n----\n{printed}\n----\n{processes}", self.name)
    }

    /// Changes its width, as somebody does who pulls at a window.
    pub fn widen(&self, columns: u16) {
        let master = self.master.as_ref().expect("not hung up");
        let status = Command::new("stty")
            .args(["cols", &columns.to_string()])
            .stdin(master.try_clone().unwrap())
            .status();
        assert!(status.unwrap().success());
    }

    /// The rest of what is printed, and how the leader of the session ends.
    #[track_caller]
    pub fn end(&mut self) -> (String, ExitStatus) {
        let deadline = Instant::now() + PATIENCE;
        while self.master.is_some() {
            match self.read(deadline) {
                Arrived::Text => {}
                Arrived::Nothing => panic!("does not end: {}", self.text()),
                Arrived::End => break,
            }
        }
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "does not end: {}", self.text());
            std::thread::sleep(Duration::from_millis(2));
        };
        let rest = String::from_utf8_lossy(&self.printed[self.seen..]).into_owned();
        self.seen = self.printed.len();
        (rest, status)
    }
}

enum Arrived {
    Text,
    /// Not in time.
    Nothing,
    /// Nobody has the other side open.
    End,
}

/// What the processes of a session are doing: the beginning of proc_pid_stat(5) with state, parent,
/// group, session and the terminal's foreground group, the masks of signals, and where they sleep.
fn in_session(leader: u32) -> Vec<String> {
    let describe = |pid: u32| {
        let read = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let stat = read("stat");
        let (_, rest) = stat.rsplit_once(") ")?;
        let is_of_session = rest.split(' ').nth(3)? == leader.to_string();
        let stat: Vec<_> = stat.split(' ').take(8).collect();
        let status = read("status");
        let masks = status
            .lines()
            .filter(|line| line.starts_with("Sig") || line.starts_with("ShdPnd"));
        let masks: Vec<_> = masks.map(|line| line.replace('\t', "")).collect();
        let (stat, masks) = (stat.join(" "), masks.join(" "));
        is_of_session.then(|| {
            format!(
                "{stat} {masks} {} {}",
                read("wchan"),
                read("syscall").trim()
            )
        })
    };
    let names = fs::read_dir("/proc").unwrap();
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| describe(name.parse().ok()?))
        .collect()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Both ends of a new terminal, which is the caller's. Not openpty(3): a test that forks at that
/// moment would inherit them.
fn pair(host: &Host) -> (File, File) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname_r(&master).unwrap();
    chown(&name, Some(host.uid()), None).unwrap();
    let mut options = OpenOptions::new();
    let flags = OFlag::O_NOCTTY.bits();
    let slave = options.read(true).write(true).custom_flags(flags);
    let slave = slave.open(&name).unwrap();
    // An ordinary size, for there is none at first. And the kernel is not to drop output at `^C` and
    // `^Z`: it does so after it has sent the signal, and a shell may have printed its prompt by then.
    let sized = Command::new("stty")
        .args(["rows", "24", "cols", "80", "noflsh"])
        .stdin(slave.try_clone().unwrap())
        .status();
    assert!(sized.unwrap().success());
    (OwnedFd::from(master).into(), slave)
}

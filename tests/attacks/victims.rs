//! Those who are attacked, and must be as they were after each attack.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::traces::PATIENCE;

/// Says that it runs, and waits; with something in its environment that is nobody else's business.
const WAITS: [&str; 3] = ["/bin/sh", "-c", "echo up; exec sleep 1000"];

/// Processes that run during the whole of a group, each in a session of its own: in one session
/// anybody may send SIGCONT to anybody.
pub struct Victims {
    children: Vec<Child>,
    /// Their names in scripts, and their numbers.
    pub pids: Vec<(&'static str, u32)>,
}

impl Victims {
    /// - `OUTSIDER`, a process of alice's outside of any instance;
    /// - `SUPERVISOR`, `PID1`: an instance of alice's, called `victim`;
    /// - `ROOTS_SUPERVISOR`, `ROOTS_PID1`: one of root's, called `rootly-$ALICE`;
    /// - `BOBS_PID1`: one of bob's, which is called `victim` as well;
    /// - one of bob's that listens where an instance of alice's called `squatted` would.
    pub fn start(host: &Host) -> Self {
        let mut victims = Self {
            children: Vec::new(),
            pids: Vec::new(),
        };
        let mut outsider = host.as_caller("setsid");
        let outsider = victims.begin(outsider.args(WAITS));
        victims.pids.push(("OUTSIDER", outsider));
        let program = host.program();
        let rootly = format!("rootly-{}", host.uid());
        for (mut command, name, supervisor, pid1) in [
            (host.as_caller("setsid"), "victim", "SUPERVISOR", "PID1"),
            (
                Command::new("setsid"),
                &rootly,
                "ROOTS_SUPERVISOR",
                "ROOTS_PID1",
            ),
            (
                host.as_other("setsid"),
                "victim",
                "BOBS_SUPERVISOR",
                "BOBS_PID1",
            ),
        ] {
            command
                .arg(&program)
                .args(["--name", name, "run"])
                .args(WAITS);
            let pid = victims.begin(command.current_dir("/").stdin(Stdio::null()));
            victims.pids.push((supervisor, pid));
            victims.pids.push((pid1, only_child_of(pid)));
        }
        let mut squatter = host.as_other("setsid");
        squatter.arg(host.path("f/tools/tool"));
        let address = format!("selfdock/{}/squatted", host.uid());
        let squatter = victims.begin(squatter.args(["squat", &address]));
        victims.pids.push(("SQUATTER", squatter));
        victims
    }

    fn begin(&mut self, command: &mut Command) -> u32 {
        command.env("SECRET", "of the victim's");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.as_mut().unwrap());
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        let pid = child.id();
        self.children.push(child);
        pid
    }

    /// Who does not do what they did, unless that comes right within some seconds: one may just be awake.
    pub fn say_who_is_harmed(&self) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let harmed = self.harmed();
            if harmed.is_empty() {
                return None;
            }
            if Instant::now() > deadline {
                return Some(format!("harmed: {harmed:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Those that do not sleep.
    fn harmed(&self) -> Vec<&(&'static str, u32)> {
        let is_harmed = |(_, pid): &&(&str, u32)| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = stat
                .rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with('S'));
            state != Some(true)
        };
        self.pids.iter().filter(is_harmed).collect()
    }
}

impl Drop for Victims {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn only_child_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().expect("one child")
}

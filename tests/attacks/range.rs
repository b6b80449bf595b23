//! Where attacks are tried: fixtures, victims, and the four places.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::fixtures;
use crate::host::{CANNOT, Host, Install, text};
use crate::table::{Attack, Control, Outcome, PLACES, Place, Who};
use crate::traces::Traces;
use crate::victims::Victims;

/// Runs each script of its arguments by itself, and tells what it said and how it ended. They have
/// some functions: `entering PID CMD...` enters, and leaves the number out of what is said.
const DRIVER: &str = "PATH=$TOOLS; [ $SD != /dev/selfdock ] || cp /fake /tmp/selfdock
    entering() { pid=$1; shift; said=$($SD enter $pid \"$@\" 2>&1); ended=$?
        echo \"$said\" | sed \"s/\\\"$pid\\\"/PID/\"; return $ended; }
    until_it_is() { until grep -qsx $2 /proc/$1/comm; do sleep 0.01; done; }
    child_of() { echo $(cat /proc/$1/task/$1/children); }
    map() { awk '{ print $1, $2, $3 }'; }
    counted() { tr -s ', ' '\n' | sort | uniq -c | sed 's/^ *//'; }
    for try; do said=$( (eval \"$try\") 2>&1 </dev/null); \
    printf '%s\\n@@@ %s\\n' \"$said\" \"$?\"; done";

/// Runs its arguments on a machine that root has changed by `$MACHINE`, and looks whether its mount
/// table is the same afterwards.
const ON_MACHINE: &str = "set -e; eval \"$MACHINE\"; set +e
    before=$(cat /proc/self/mountinfo)
    \"$@\"; status=$?
    [ $WHO = root ] || [ \"$before\" = \"$(cat /proc/self/mountinfo)\" ] || { cat /proc/self/mountinfo; exit 97; }
    exit $status";

/// How many instances there are around what is sixteen deep.
const DEPTH: usize = 16;

/// The machine of one group.
pub struct Range {
    victims: Victims,
    host: Host,
}

impl Range {
    pub fn new() -> Self {
        let host = Host::new();
        fixtures::lay_out(&host);
        Self {
            victims: Victims::start(&host),
            host,
        }
    }

    /// Tries all of them in all places, and tells at the end what is wrong.
    pub fn hold_against(&self, attacks: &[Attack]) {
        let traces = Traces::of(&self.host);
        let mut wrong = Vec::new();
        for attack in attacks {
            let mut note = |place: &str, said: String| {
                wrong.push(format!("{}, {place}: {said}", attack.name));
            };
            if let Some(said) = self.control(attack) {
                note("the control", said);
            }
            for place in PLACES {
                if attack.reason_against(place).is_some() {
                    continue;
                }
                let complaints = self.attempt(attack, place);
                complaints
                    .into_iter()
                    .for_each(|said| note(&place.to_string(), said));
                self.empty_scratch();
                let left = traces.say_what_changed(&self.host);
                let harmed = self.victims.say_who_is_harmed();
                left.into_iter()
                    .chain(harmed)
                    .for_each(|said| note(&format!("after {place}"), said));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }

    fn empty_scratch(&self) {
        for entry in fs::read_dir(self.host.path("f/scratch")).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => fs::remove_dir_all(entry.path()).unwrap(),
                false => fs::remove_file(entry.path()).unwrap(),
            }
        }
    }

    /// What is wrong with the control.
    fn control(&self, attack: &Attack) -> Option<String> {
        let (script, expected, is_roots) = match attack.control {
            Control::Root(script, expected) => (script, expected, true),
            Control::Attacker(script, expected) => (script, expected, false),
            Control::There(..) => return None,
        };
        assert!(!expected.is_empty(), "{} has no control", attack.name);
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        let mut run = match is_roots {
            true => self.command(attack, None, &words),
            false => self.command(attack, Some(attack.who), &words),
        };
        let run = run.env("SD", self.host.program()).output().unwrap();
        self.empty_scratch();
        let said = String::from_utf8_lossy(&run.stdout);
        let expected = self.fill(expected, attack.who, Place::Outside);
        let is_so = run.status.success() && said.trim_end() == expected.trim_end();
        (!is_so).then(|| format!("it is no attack: {}\n--- expected\n{expected}", text(&run)))
    }

    /// What is wrong with what came of it there.
    fn attempt(&self, attack: &Attack, place: Place) -> Vec<String> {
        let allowed = match attack.control {
            Control::There(script, expected) => Some((script, Outcome::Says(expected))),
            _ => None,
        };
        let tries: Vec<_> = attack.tries.iter().copied().chain(allowed).collect();
        let run = self.run(attack, place, &tries);
        let said = String::from_utf8_lossy(&run.stdout);
        let mut rest: &str = &said;
        let mut complaints = Vec::new();
        for (script, outcome) in &tries {
            let Some((came, after)) = next_try(rest) else {
                complaints.push(format!("{script}\n--- did not end: {}", text(&run)));
                return complaints;
            };
            rest = after;
            let (expected, status) = self.expectation(*outcome, attack.who, place);
            let (said, ended) = came;
            if said.trim_end() != expected.trim_end() || ended != status {
                complaints.push(format!(
                    "{script}\n--- said, and ended with {ended}:\n{said}\n--- expected, and {status}:\n{expected}"
                ));
            }
        }
        if !run.status.success() || !rest.is_empty() || !run.stderr.is_empty() {
            complaints.push(text(&run));
        }
        complaints
    }

    fn expectation(&self, outcome: Outcome, who: Who, place: Place) -> (String, i32) {
        let (words, status) = match outcome {
            Outcome::WithAndWithout(with, without) => {
                let outcome = Install::wanted().choose(with, with, without);
                return self.expectation(*outcome, who, place);
            }
            Outcome::Refused(message) => (format!("selfdock: {message}"), CANNOT),
            Outcome::Says(words) => (words.to_owned(), 0),
            Outcome::SaysThenInside(outside, inside) => match place {
                Place::Outside => (outside.to_owned(), 0),
                _ => (inside.to_owned(), 0),
            },
            Outcome::RefusedThenInside(outside, inside) => match place {
                Place::Outside => (format!("selfdock: {outside}"), CANNOT),
                _ => (format!("selfdock: {inside}"), CANNOT),
            },
        };
        (self.fill(&words, who, place), status)
    }

    fn run(&self, attack: &Attack, place: Place, tries: &[(&str, Outcome)]) -> Output {
        let (program, fixtures) = (self.program(Place::Outside), self.fixtures());
        let enter = [program.as_str(), "-v", &fixtures, &fixtures];
        let hostile = self.host.path("hostile");
        let mut words: Vec<&str> = match place {
            Place::Outside => Vec::new(),
            Place::Inside => [&enter[..], &["run"]].concat(),
            Place::Deep => [&enter[..], &["run"]].concat().repeat(DEPTH),
            Place::Hostile => {
                let root = ["-r", hostile.to_str().unwrap(), "run"];
                [&enter[..], &root].concat()
            }
        };
        let shell = format!("{fixtures}/tools/sh");
        words.extend([&shell, "-c", DRIVER, "sh"]);
        words.extend(tries.iter().map(|(script, _)| *script));
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let mut command = self.command(attack, Some(attack.who), &words);
        let path = format!("{fixtures}/tools:/bin:/usr/bin:/sbin:/usr/sbin");
        command.env("SD", self.program(place)).env("TOOLS", path);
        command.output().unwrap()
    }

    /// A command of somebody's, root's if nobody is named, on the machine of the attack.
    fn command(&self, attack: &Attack, who: Option<Who>, words: &[String]) -> Command {
        let become_them = match who {
            Some(who) => {
                let uid = self.uid(who);
                let uid = ["--reuid", &uid, "--regid", &uid].map(str::to_owned);
                let rest = ["--clear-groups", "--"].map(str::to_owned);
                [&["setpriv".to_owned()][..], &uid, &rest].concat()
            }
            None => Vec::new(),
        };
        // Away from the terminal that the tests may have been started on, where there is one filter more.
        let mut command = Command::new("setsid");
        // What hangs is a defect, and must not be one of the suite.
        command.args(["--wait", "timeout", "--kill-after=5", "60"]);
        if !attack.machine.is_empty() || who.is_none() {
            command.args(["unshare", "--mount", "--propagation", "private"]);
            command.args(["/bin/sh", "-c", ON_MACHINE, "sh"]);
            let machine = match attack.machine {
                "" => ":",
                machine => machine,
            };
            command.env("MACHINE", machine);
            // What root's controls mount is their business.
            command.env("WHO", if who.is_some() { "caller" } else { "root" });
        }
        command.args(become_them).args(words);
        command.current_dir("/").stdin(Stdio::null());
        command.env_remove("RUST_BACKTRACE");
        for (name, value) in self.variables(who.unwrap_or(Who::Alice)) {
            command.env(name, value);
        }
        let as_alice = format!(
            "setpriv --reuid {0} --regid {0} --clear-groups --",
            self.host.uid()
        );
        command.env("AS_ALICE", as_alice);
        command
    }

    /// What scripts and expectations have by name.
    fn variables(&self, who: Who) -> Vec<(&'static str, String)> {
        let fixtures = self.fixtures();
        let scratch = format!("{fixtures}/scratch");
        let pids = self.victims.pids.iter();
        let pids = pids.map(|(name, pid)| (*name, pid.to_string()));
        let directory = self.host.path("f");
        let directory = directory.parent().unwrap().to_str().unwrap().to_owned();
        [
            ("IN", format!("-v {fixtures} {fixtures}")),
            ("FIX", fixtures),
            ("SCRATCH", scratch),
            ("DIR", directory),
            ("ME", self.uid(who)),
            ("ALICE", self.uid(Who::Alice)),
        ]
        .into_iter()
        .chain(pids)
        .collect()
    }

    fn fill(&self, text: &str, who: Who, place: Place) -> String {
        let mut variables = self.variables(who);
        variables.push(("SD", self.program(place)));
        // The longer name first: SCRATCH begins as no other, but PID1 ends like ROOTS_PID1.
        variables.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let fill =
            |text: String, (name, value): &(&str, String)| text.replace(&format!("${name}"), value);
        variables.iter().fold(text.to_owned(), fill)
    }

    fn fixtures(&self) -> String {
        self.host.path("f").to_str().unwrap().to_owned()
    }

    fn uid(&self, who: Who) -> String {
        match who {
            Who::Alice => self.host.uid().to_string(),
            Who::Bob => self.host.other_uid().to_string(),
        }
    }

    /// The selfdock that is privileged there.
    fn program(&self, place: Place) -> String {
        match place {
            Place::Hostile => "/dev/selfdock".to_owned(),
            _ => self.host.program().to_str().unwrap().to_owned(),
        }
    }
}

/// What one try said and its status; and the rest.
fn next_try(text: &str) -> Option<((&str, i32), &str)> {
    let (said, rest) = text.split_once("\n@@@ ")?;
    let (status, rest) = rest.split_once('\n')?;
    Some(((said, status.parse().ok()?), rest))
}

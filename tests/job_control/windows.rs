//! Full-screen programs and shells in tmux, as somebody uses them who sees the screen.

use std::process::Command;
use std::time::Instant;

use crate::conversation::{BARE, INIT, INIT_NESTED, NESTED, RUN, WAYS, Way};
use crate::host::Host;
use crate::host::terminal::PATIENCE;
use crate::processes::calm;

/// A tmux server of its own, with one window, in which a shell waits at `ready>`.
struct Window<'a> {
    host: &'a Host,
    way: Way,
}

impl<'a> Window<'a> {
    /// Opens it, 80 wide and 24 high. In its shell, `$W` stands for the way.
    fn open(host: &'a Host, way: Way) -> Self {
        println!("{}", way.0); // where a test fails
        let window = Self { host, way };
        let program = host.program();
        let prefix = way.1.replace("$SD", program.to_str().unwrap());
        let shell = "exec env PS1='ready> ' bash --norc --noprofile --noediting -i";
        let words = [
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            shell,
        ];
        let mut tmux = window.tmux();
        tmux.args(words)
            .env("W", prefix)
            .env("SHELL", "/bin/sh")
            .env("HOME", host.path(""));
        tmux.env("SD", program).env("DIR", host.path("home"));
        let opened = tmux.output().unwrap();
        assert!(opened.status.success(), "{}", crate::host::text(&opened));
        window.shows("ready>");
        window
    }

    fn tmux(&self) -> Command {
        let mut tmux = self.host.as_caller("tmux");
        tmux.env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("LC_ALL", "C.UTF-8");
        tmux.arg("-S").arg(self.host.path("home/socket"));
        tmux
    }

    fn tell(&self, words: &[&str]) -> String {
        let told = self.tmux().args(words).output().unwrap();
        assert!(
            told.status.success(),
            "{words:?}: {}",
            crate::host::text(&told)
        );
        String::from_utf8_lossy(&told.stdout).into_owned()
    }

    /// Presses these keys, once all that run here sleep.
    #[track_caller]
    fn keys(&self, keys: &[&str]) {
        calm(self.host, "ST");
        self.tell(&[&["send-keys"], keys].concat());
    }

    /// Clears the screen, and types a line at the shell's prompt.
    #[track_caller]
    fn line(&self, line: &str) {
        self.keys(&["-R", "clear", "Enter"]);
        self.shows_only("ready>");
        self.enter(line);
    }

    /// Types a line to whatever reads there.
    #[track_caller]
    fn enter(&self, line: &str) {
        self.keys(&["-l", line]);
        self.keys(&["Enter"]);
    }

    fn screen(&self) -> String {
        let screen = self.tell(&["capture-pane", "-p"]);
        screen.trim_end().to_owned()
    }

    /// Waits until the screen shows this, and returns it.
    #[track_caller]
    fn shows(&self, text: &str) -> String {
        self.waits(text, |screen| screen.contains(text))
    }

    /// Waits until nothing else is to be seen.
    #[track_caller]
    fn shows_only(&self, text: &str) -> String {
        self.waits(text, |screen| screen == text)
    }

    /// Waits until its last line is this one.
    #[track_caller]
    fn ends_with(&self, text: &str) -> String {
        self.waits(text, |screen| screen.ends_with(text))
    }

    #[track_caller]
    fn waits(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            let way = self.way.0;
            assert!(
                Instant::now() < deadline,
                "{way}: no {what:?}:\n{screen}\n----"
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}

/// The same with each window, bare and inside, in a home directory that can be written to.
#[track_caller]
fn in_windows(ways: &[Way], files: &[(&str, &str)], dialogue: impl Fn(&Window<'_>, &Host)) {
    for way in [BARE].iter().chain(ways) {
        let host = Host::new();
        host.caller_dir("home");
        for (name, content) in files {
            host.caller_file(format!("home/{name}"), 0o644, content);
        }
        let window = Window::open(&host, *way);
        dialogue(&window, &host);
        drop(window);
        host.assert_nothing_runs();
    }
}

const EDITING: [Way; 4] = [
    ("--here run", "$SD --here run"),
    ("--here --init run", "$SD --here --init run"),
    ("--here run, --here run", "$SD --here run $SD --here run"),
    (
        "--here --init run, --here run",
        "$SD --here --init run $SD --here run",
    ),
];

#[test]
fn vim_edits_is_stopped_goes_on_and_is_resized() {
    in_windows(&EDITING, &[("file", "first\n")], |window, host| {
        window.line("cd $DIR; $W vim -u NONE -i NONE -N file");
        window.shows("first\n~");
        window.keys(&["o", "second", "Escape"]);
        window.shows("first\nsecond\n~");
        window.enter(":w");
        window.shows("2L, 13");
        window.keys(&["C-z"]);
        window.ends_with("ready>");
        window.shows("Stopped");
        window.line("jobs; cat file");
        window.shows("second\nready>");
        window.line("fg");
        window.shows("first\nsecond\n~");
        window.keys(&["G", "o", "third", "Escape"]);
        window.shows("second\nthird\n~");
        window.tell(&["resize-window", "-x", "60", "-y", "12"]);
        let is_resized = |screen: &str| screen.lines().count() <= 12 && screen.contains("third\n~");
        window.waits("a smaller screen", is_resized);
        window.enter(":set columns? lines?");
        window.shows("columns=60");
        window.shows("lines=12");
        window.keys(&["Enter"]);
        window.enter(":x");
        window.ends_with("ready>");
        window.enter("echo status=$?");
        window.shows("status=0");
        window.line("stty -a");
        window.shows(" icanon iexten echo ");
        let file = std::fs::read_to_string(host.path("home/file")).unwrap();
        assert_eq!(file, "first\nsecond\nthird\n");
    });
}

#[test]
fn less_pages_is_stopped_goes_on_and_is_interrupted() {
    let lines: String = (1..=200).map(|number| format!("line {number}\n")).collect();
    in_windows(&WAYS, &[("file", &lines)], |window, _| {
        window.line("$W less $DIR/file");
        window.shows("line 23\n");
        window.keys(&["Space"]);
        window.shows("line 46\n");
        window.keys(&["C-z"]);
        window.shows("Stopped");
        window.ends_with("ready>");
        window.line("fg");
        window.shows("line 46\n");
        window.keys(&["G"]);
        window.shows("line 200\n");
        window.keys(&["C-c"]);
        // A key that is there before less has run again is lost, bare as well: its handler jumps.
        window.waits("the first page", |screen| {
            window.keys(&["g"]);
            screen.contains("line 1\n")
        });
        window.tell(&["resize-window", "-x", "80", "-y", "10"]);
        window.waits("a smaller screen", |screen| screen.lines().count() <= 10);
        window.keys(&["g"]);
        window.waits("the first page", |screen| {
            screen.starts_with("line 1\nline 2\n")
        });
        window.keys(&["q"]);
        window.ends_with("ready>");
    });
}

#[test]
fn less_reads_a_pipe_and_is_told_of_keys() {
    in_windows(&[RUN, INIT, NESTED], &[], |window, _| {
        window.line("$W seq 1000 | $W less");
        window.shows("\n23\n");
        window.keys(&["Space"]);
        window.shows("\n46\n");
        window.keys(&["C-z"]);
        window.shows("Stopped");
        window.ends_with("ready>");
        window.line("fg");
        window.shows("\n46\n");
        window.keys(&["q"]);
        window.ends_with("ready>");
    });
}

#[test]
fn python_is_interrupted_stopped_and_goes_on() {
    in_windows(&WAYS, &[], |window, _| {
        window.line("$W python3 -q");
        window.shows(">>>");
        window.enter("import time; print('u' 'p'); time.sleep(60)");
        window.shows("\nup");
        window.keys(&["C-c"]);
        window.shows("KeyboardInterrupt\n>>>");
        window.keys(&["C-z"]);
        window.shows("Stopped");
        window.ends_with("ready>");
        window.line("fg");
        window.shows("python3 -q");
        window.enter("print(6 * 7)");
        window.shows("\n42\n");
        window.enter("raise SystemExit(5)");
        window.ends_with("ready>");
        window.enter("echo status=$?");
        window.shows("status=5\n");
    });
}

#[test]
fn top_is_stopped_goes_on_and_ends() {
    in_windows(&[RUN, INIT, NESTED, INIT_NESTED], &[], |window, _| {
        window.line("$W top -d 600");
        window.shows("load average");
        window.keys(&["C-z"]);
        window.shows("Stopped");
        window.ends_with("ready>");
        window.line("fg");
        window.shows("load average");
        window.keys(&["q"]);
        window.ends_with("ready>");
    });
}

/// A job that tells when it is in the foreground: at first by a word, and then by its answers. The
/// shell itself does not care for keys that come a moment too early.
const JOB: &str = "sh -c 'echo u\"\"p; exec cat'";

#[test]
fn a_shell_in_a_window_feels_native() {
    in_windows(&WAYS, &[], |window, _| {
        window.line("PS1=\"in\"\"ner> \" $W bash --norc --noprofile");
        window.ends_with("inner>");
        window.enter("echo first");
        window.shows("\nfirst\ninner>");
        window.keys(&["Up"]);
        window.ends_with("inner> echo first");
        window.keys(&["C-c"]);
        window.ends_with("\ninner>");
        window.enter(JOB);
        window.shows("\nup");
        window.keys(&["C-z"]);
        window.shows("Stopped");
        window.ends_with("inner>");
        window.tell(&["resize-window", "-x", "70", "-y", "20"]);
        window.enter("stty size; echo $COLUMNS");
        window.shows("20 70\n");
        window.enter("fg");
        window.shows("fg\nsh -c");
        window.enter("text");
        window.shows("text\ntext");
        window.keys(&["C-c"]);
        window.ends_with("inner>");
        window.keys(&["C-d"]);
        window.ends_with("ready>");
        window.enter("echo status=$?");
        window.shows("status=130\n");
    });
}

/// tmux inside needs terminals of its own, a socket in /tmp, and a shell.
#[test]
fn tmux_runs_inside() {
    in_windows(&[RUN, INIT, NESTED], &[], |window, host| {
        // Of a bare one, /tmp would be the machine's.
        let socket = host.path("home/inner");
        let socket = if window.way == BARE {
            socket.display().to_string()
        } else {
            "/tmp/s".into()
        };
        let shell = "exec env PS1='in''ner> ' bash --norc --noprofile --noediting";
        window.line(&format!(
            "unset TMUX; $W tmux -S {socket} -f /dev/null new \"{shell}\""
        ));
        window.shows("inner>");
        window.enter(&format!("stty size; {JOB}"));
        window.shows("23 80\nup");
        window.keys(&["C-z"]);
        window.shows("Stopped");
        window.enter("fg");
        window.shows("fg\nsh -c");
        window.enter("text");
        window.shows("text\ntext");
        window.keys(&["C-c"]);
        window.shows("^C\ninner>");
        window.keys(&["C-d"]);
        window.shows("[exited]");
        window.enter("echo status=$?");
        window.shows("status=0\n");
    });
}

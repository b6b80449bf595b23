//! Signals, and who outlives whom: what is sent to the supervisor reaches the command, what ends
//! the supervisor ends everything inside, and nobody gets at the supervisor.

mod host;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use host::terminal::PATIENCE;
use host::{Host, assert_ended, text};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Says `ready`, then the number of each signal that it gets, one a line, until SIGUSR2 ends it
/// with 42. `count ignore NUMBER`, `count block NUMBER` and `count once NUMBER` treat one of them
/// specially; the last takes its time over it, as somebody who cleans up. `count wait` has no
/// handler, but blocks all and waits for them.
const COUNT: &str = r#"
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>
    static int once;
    static void tell(int signal) {
        char line[3] = { '0' + signal / 10, '0' + signal % 10, '\n' };
        if (signal == once) {
            struct timespec while_cleaning = { 0, 5000000 };
            while (nanosleep(&while_cleaning, &while_cleaning)) {}
        }
        write(1, line, 3);
        if (signal == SIGUSR2) _exit(42);
    }
    int main(int argc, char **argv) {
        int number = argc > 2 ? atoi(argv[2]) : 0;
        struct sigaction action = { .sa_handler = tell };
        sigfillset(&action.sa_mask);
        for (int signal = 1; signal <= 64; signal++) sigaction(signal, &action, NULL);
        if (argc > 2 && !strcmp(argv[1], "ignore")) signal(number, SIG_IGN);
        if (argc > 2 && !strcmp(argv[1], "once")) {
            once = number;
            action.sa_flags = SA_RESETHAND;
            sigaction(number, &action, NULL);
        }
        sigset_t blocked;
        sigemptyset(&blocked);
        if (argc > 2 && !strcmp(argv[1], "block")) sigaddset(&blocked, number);
        sigprocmask(SIG_SETMASK, &blocked, NULL);
        if (argc > 1 && !strcmp(argv[1], "wait")) {
            sigfillset(&blocked);
            sigprocmask(SIG_SETMASK, &blocked, NULL);
            for (int signum = 1; signum <= 64; signum++) signal(signum, SIG_DFL);
            write(1, "ready\n", 6);
            for (;;) tell(sigwaitinfo(&blocked, NULL));
        }
        write(1, "ready\n", 6);
        for (;;) pause();
    }"#;

/// The supervisor of a running instance, and what its command says.
struct Running {
    supervisor: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it, and waits until the command is `ready`.
    fn start(mut command: Command) -> Self {
        let mut supervisor = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(supervisor.stdout.take().unwrap());
        let mut running = Self { supervisor, output };
        assert_eq!(running.line(), "ready\n");
        running
    }

    /// `selfdock run WORDS`, so many levels deep.
    fn inside(host: &Host, levels: usize, words: &[&str]) -> Self {
        let mut selfdock = selfdock(host);
        for _ in 1..levels {
            selfdock.arg("run").arg(host.program());
        }
        selfdock.arg("run").args(words);
        Self::start(selfdock)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    /// What else comes until the end, and how that was.
    fn end(mut self) -> (String, ExitStatus) {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (rest, self.supervisor.wait().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.supervisor.id().cast_signed())
    }
}

/// selfdock for the caller, with every signal treated as usual, whatever this test was started by:
/// nohup(1), or a shell that ignores SIGINT for what it starts in the background.
fn selfdock(host: &Host) -> Command {
    let mut env = host.as_caller("env");
    env.arg("--default-signal").arg(host.program());
    env
}

/// Sends a signal as the caller, who may do so: the supervisor has the caller's ids.
fn send(host: &Host, signal: i32, to: Pid) {
    let script = format!("kill -{signal} {to}");
    let sent = host.as_caller("/bin/sh").args(["-c", &script]).status();
    assert!(sent.unwrap().success(), "{script}");
}

/// Calls `is_so` until it is, for some seconds.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `Host::assert_nothing_runs`, after which one knows what did.
#[track_caller]
fn assert_nothing_runs(host: &Host) {
    let deadline = Instant::now() + PATIENCE;
    while !host.processes().is_empty() {
        if Instant::now() > deadline {
            let running = host.processes().into_iter().map(|pid| {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let wanted = [
                    "State",
                    "PPid",
                    "NSpid",
                    "CapPrm",
                    "NoNewPrivs",
                    "SigBlk",
                    "ShdPnd",
                ];
                let is_wanted = |line: &&str| wanted.iter().any(|name| line.starts_with(name));
                let status: Vec<_> = status.lines().filter(is_wanted).collect();
                format!("{pid} {:?} {status:?}\n", String::from_utf8_lossy(&words))
            });
            panic!("left running:\n{}", running.collect::<String>());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Pids of the caller's whose command line contains `word`.
fn processes_with(host: &Host, word: &str) -> usize {
    let with_word = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(word)
    };
    host.processes().iter().filter(|pid| with_word(pid)).count()
}

// What reaches the command.

#[test]
fn a_signal_to_the_supervisor_reaches_the_command_once() {
    let host = Host::new();
    let count = host.compile("count", COUNT);
    // All that a process can catch, but the last, which ends the test, and SIGCHLD, which is the
    // supervisor's own news.
    let signals = (1..=64).filter(|signal| ![9, 12, 17, 19, 32, 33].contains(signal));
    for levels in [1, 3] {
        let mut running = Running::inside(&host, levels, &[count.to_str().unwrap()]);
        for signal in signals.clone() {
            send(&host, signal, running.pid());
            assert_eq!(running.line(), format!("{signal:02}\n"), "{levels} levels");
        }
        send(&host, 12, running.pid());
        // One that had come twice would stand here.
        let (rest, status) = running.end();
        assert_eq!(
            (rest.as_str(), status.code()),
            ("12\n", Some(42)),
            "{levels} levels"
        );
    }
}

#[test]
fn real_time_signals_reach_the_command_each_and_in_order() {
    let host = Host::new();
    let count = host.compile("count", COUNT);
    let mut running = Running::inside(&host, 1, &[count.to_str().unwrap()]);
    let pid = running.pid();
    let script = format!("for n in 1 2 3 4 5 6 7 8; do kill -40 {pid}; kill -41 {pid}; done");
    let sent = host.as_caller("/bin/sh").args(["-c", &script]).status();
    assert!(sent.unwrap().success());
    let mut lines: Vec<_> = (0..16).map(|_| running.line()).collect();
    lines.sort();
    assert_eq!(lines, [["40\n"; 8], ["41\n"; 8]].concat());
    send(&host, 12, pid);
    let (rest, status) = running.end();
    assert_eq!((rest.as_str(), status.code()), ("12\n", Some(42)));
}

/// A terminal sends to its whole foreground group, supervisor and command alike.
#[test]
fn a_key_on_the_terminal_reaches_the_command_once() {
    let host = Host::new();
    let count = host.compile("count", COUNT);
    for levels in [1, 3] {
        let (mut terminal, mut running) = on_terminal(&host, levels, &[count.to_str().unwrap()]);
        for (key, line) in [(b"\x03", "02\n"), (b"\x1c", "03\n"), (b"\x03", "02\n")] {
            terminal.write_all(key).unwrap();
            assert_eq!(running.line(), line);
        }
        let session = running.pid();
        send(&host, 12, session);
        let (rest, status) = running.end();
        assert_eq!(
            (rest.as_str(), status.code()),
            ("12\n", Some(42)),
            "{levels} levels"
        );
    }
}

/// Starts it in a session of its own, which this terminal controls.
fn on_terminal(host: &Host, levels: usize, words: &[&str]) -> (File, Running) {
    let OpenptyResult { master, slave } = openpty(None, None).unwrap();
    for side in [&master, &slave] {
        fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    let mut command = host.as_caller("setsid");
    command.args(["--ctty", "--wait", "env", "--default-signal"]);
    command.stdin(Stdio::from(slave));
    for _ in 0..levels {
        command.arg(host.program()).arg("run");
    }
    command.args(words);
    (File::from(master), Running::start(command))
}

// What ends the instance.

/// Treats every signal as usual. Not a shell: that may catch SIGINT for a moment, and as pid 1 it
/// cannot die of it by its own hand.
const IDLE: &str = "int main(void) { write(1, \"ready\\n\", 6); for (;;) pause(); }";

#[test]
fn a_signal_ends_a_command_that_does_not_care_and_the_supervisor_dies_of_it() {
    let host = Host::new();
    let idle = host.compile("idle", IDLE);
    for signal in [1, 2, 3, 10, 12, 13, 14, 15, 40] {
        let running = Running::inside(&host, 1, &[idle.to_str().unwrap()]);
        send(&host, signal, running.pid());
        let (rest, status) = running.end();
        assert_eq!((rest.as_str(), status.signal()), ("", Some(signal)));
        assert_nothing_runs(&host);
    }
}

#[test]
fn a_deadline_ends_a_command_that_does_not_care() {
    let host = Host::new();
    for levels in [1, 3] {
        let mut timeout = host.as_caller("env");
        timeout
            .args(["--default-signal", "timeout", "0.5"])
            .arg(host.program());
        for _ in 1..levels {
            timeout.arg("run").arg(host.program());
        }
        let begin = Instant::now();
        let run = timeout.args(["run", "sleep", "60"]).output().unwrap();
        assert_ended(&run, 124); // timeout's own
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert_nothing_runs(&host);
    }
}

#[test]
fn interrupting_on_the_terminal_ends_a_command_that_does_not_care() {
    let host = Host::new();
    let idle = host.compile("idle", IDLE);
    for (key, signal) in [(b"\x03", Signal::SIGINT), (b"\x1c", Signal::SIGQUIT)] {
        let (mut terminal, running) = on_terminal(&host, 1, &[idle.to_str().unwrap()]);
        terminal.write_all(key).unwrap();
        let (rest, status) = running.end();
        assert_eq!(
            (rest.as_str(), status.signal()),
            ("", Some(signal as i32)),
            "{status}"
        );
        assert_nothing_runs(&host);
    }
}

/// What an interactive shell with job control prints while `dialogue` is typed: each line as soon as
/// what stands before it has been printed.
fn in_interactive_shell(host: &Host, dialogue: &[(&str, &str)]) -> String {
    let OpenptyResult { master, slave } = openpty(None, None).unwrap();
    fcntl(&master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    let mut shell = host.as_caller("setsid");
    shell.args(["--ctty", "--wait", "env", "--default-signal", "PS1=shell:"]);
    shell.args(["bash", "--norc", "--noprofile", "-i"]);
    shell.env("SD", host.program()).env("DIR", host.path(""));
    shell
        .stdout(slave.try_clone().unwrap())
        .stderr(slave.try_clone().unwrap());
    let mut child = shell.stdin(slave).spawn().unwrap();
    drop(shell); // and its ends of the terminal
    let mut terminal = File::from(master);
    let mut printed = String::new();
    for (awaited, typed) in dialogue {
        let begin = printed.len();
        while !printed[begin..].contains(awaited) {
            let mut bytes = [0; 256];
            let count = terminal.read(&mut bytes).expect(&printed);
            printed.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        terminal.write_all(typed.as_bytes()).unwrap();
    }
    // The other side is closed with the shell: EIO.
    let mut rest = Vec::new();
    let _ = terminal.read_to_end(&mut rest);
    child.wait().unwrap();
    printed + &String::from_utf8_lossy(&rest)
}

/// dash and ash give the terminal back to the group that they were started in, and need a number
/// for it: without one they end with an error of their own.
#[test]
fn an_interactive_shell_inside_ends_with_its_own_status() {
    let host = Host::new();
    let printed = in_interactive_shell(
        &host,
        &[
            ("shell:", "$SD run sh\n"),
            ("shell:", "exit 7\n"),
            ("shell:", "echo status=$?\n"),
            ("shell:", "exit\n"),
        ],
    );
    assert!(printed.contains("status=7\r\n"), "{printed}");
    assert!(!printed.contains("annot set tty"), "{printed}");
}

/// In the foreground group that it has there, too, what is typed reaches it.
#[test]
fn interrupting_in_an_interactive_shell_ends_a_command_that_does_not_care() {
    let host = Host::new();
    host.compile("idle", IDLE);
    for selfdocks in ["$SD run", "$SD run $SD run"] {
        let start = format!("{selfdocks} $DIR/idle\n");
        let dialogue = [
            ("shell:", start.as_str()),
            ("ready", "\x03"),
            ("shell:", "echo status=$?\n"),
            ("shell:", "exit\n"),
        ];
        let printed = in_interactive_shell(&host, &dialogue);
        assert!(printed.contains("status=130\r\n"), "{selfdocks}: {printed}");
    }
}

#[test]
fn hanging_up_the_terminal_ends_a_command_that_does_not_care() {
    let host = Host::new();
    let script = "echo ready; exec sleep 60";
    let (terminal, running) = on_terminal(&host, 1, &["/bin/sh", "-c", script]);
    drop(terminal);
    let (rest, status) = running.end();
    assert_eq!(
        (rest.as_str(), status.signal()),
        ("", Some(Signal::SIGHUP as i32)),
        "{status}"
    );
    assert_nothing_runs(&host);
}

#[test]
fn a_command_that_ignores_or_blocks_a_signal_goes_on() {
    let host = Host::new();
    let count = host.compile("count", COUNT);
    for treatment in ["ignore", "block"] {
        for levels in [1, 3] {
            let words = [count.to_str().unwrap(), treatment, "15"];
            let mut running = Running::inside(&host, levels, &words);
            for _ in 0..3 {
                send(&host, 15, running.pid());
                // The supervisor takes the lower number first, so by now it is done with that.
                send(&host, 40, running.pid());
                assert_eq!(running.line(), "40\n", "{treatment}, {levels} levels");
            }
            send(&host, 12, running.pid());
            let (rest, status) = running.end();
            assert_eq!((rest.as_str(), status.code()), ("12\n", Some(42)));
        }
    }
}

/// A stop signal that waits until it is unblocked is taken back by the next SIGCONT: signal(7).
#[test]
fn a_command_that_goes_on_before_it_unblocks_a_stop_signal_is_not_stopped() {
    let host = Host::new();
    let source = r#"
        #include <signal.h>
        #include <unistd.h>
        static int is_pending(void) {
            sigset_t set;
            sigpending(&set);
            return sigismember(&set, SIGTSTP);
        }
        int main(void) {
            sigset_t set, none;
            sigemptyset(&set);
            sigemptyset(&none);
            sigaddset(&set, SIGTSTP);
            sigprocmask(SIG_SETMASK, &set, NULL);
            write(1, "ready\n", 6);
            while (!is_pending()) usleep(1000);
            write(1, "pending\n", 8);
            while (is_pending()) usleep(1000);
            sigprocmask(SIG_SETMASK, &none, NULL);
            // Longer than it takes to see that the signal is gone.
            usleep(2500000);
            return 42;
        }"#;
    let late = host.compile("late", source);
    let ways: [fn(&Host) -> Command; 2] = [
        |host| host.as_caller("env"),
        |host| {
            let mut command = selfdock(host);
            command.arg("run");
            command
        },
    ];
    for way in ways {
        let mut command = way(&host);
        command.arg(&late);
        let mut running = Running::start(command);
        send(&host, libc::SIGTSTP, running.pid());
        assert_eq!(running.line(), "pending\n");
        send(&host, libc::SIGCONT, running.pid());
        wait_until("the command ends", || {
            status_field(running.pid(), "State").starts_with('Z')
        });
        let (_, status) = running.end();
        assert_eq!(status.code(), Some(42), "{status}");
    }
}

/// The caller may have done so for it: nohup(1).
#[test]
fn a_command_whose_caller_ignores_a_signal_goes_on() {
    let host = Host::new();
    let script = "trap '' 1 15; exec \"$0\" run /bin/sh -c 'echo ready; read line; exit 42'";
    let mut shell = host.as_caller("/bin/sh");
    shell
        .args(["-c", script])
        .arg(host.program())
        .stdin(Stdio::piped());
    let mut running = Running::start(shell);
    for signal in [1, 15] {
        send(&host, signal, running.pid());
    }
    // Gone from what is pending: the supervisor is done with them.
    wait_until("the supervisor takes the signals", || {
        let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
        status.contains("\nShdPnd:\t0000000000000000\n")
    });
    drop(running.supervisor.stdin.take());
    let (rest, status) = running.end();
    assert_eq!((rest.as_str(), status.code()), ("", Some(42)), "{status}");
}

/// While it waits, the kernel unblocks what it waits for, so to /proc it looks like a command that
/// does not care: `do_sigtimedwait()` in Linux `kernel/signal.c`.
#[test]
fn a_command_that_waits_for_a_signal_gets_it() {
    let host = Host::new();
    let count = host.compile("count", COUNT);
    let words = [count.to_str().unwrap(), "wait"];
    for levels in [1, 3] {
        let mut running = Running::inside(&host, levels, &words);
        for signal in [15, 2, 1, 40, 15] {
            send(&host, signal, running.pid());
            assert_eq!(running.line(), format!("{signal:02}\n"), "{levels} levels");
        }
        send(&host, 12, running.pid());
        let (rest, status) = running.end();
        assert_eq!((rest.as_str(), status.code()), ("12\n", Some(42)));
    }
}

/// Its handler is gone as soon as the signal arrives: who looks for one only then, takes it for a
/// command that does not care, and kills it while it cleans up.
#[test]
fn a_command_that_catches_a_signal_once_ends_as_it_likes() {
    let host = Host::new();
    let count = host.compile("count", COUNT);
    for _ in 0..100 {
        let words = [count.to_str().unwrap(), "once", "15"];
        let mut running = Running::inside(&host, 1, &words);
        kill(running.pid(), Signal::SIGTERM).unwrap();
        let line = running.line();
        send(&host, 12, running.pid());
        let (rest, status) = running.end();
        assert_eq!((line.as_str(), rest.as_str()), ("15\n", "12\n"), "{status}");
        assert_eq!(status.code(), Some(42));
    }
}

/// Whoever comes first: the inner selfdock, which ends, or the outer one, which looks at it.
#[test]
fn a_nested_instance_ends_in_one_way_only() {
    let host = Host::new();
    for _ in 0..50 {
        let script = "echo ready; exec sleep 60";
        let running = Running::inside(&host, 2, &["/bin/sh", "-c", script]);
        kill(running.pid(), Signal::SIGTERM).unwrap();
        let (_, status) = running.end();
        assert_eq!(status.signal(), Some(Signal::SIGTERM as i32), "{status}");
    }
}

#[test]
fn a_caller_that_ignores_sigchld_gets_the_right_status() {
    let host = Host::new();
    let source = r#"
        #include <signal.h>
        #include <stdio.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            signal(SIGCHLD, SIG_IGN);
            sigset_t set;
            sigemptyset(&set);
            if (argv[1][0] == 'b') sigaddset(&set, SIGCHLD);
            sigprocmask(SIG_SETMASK, &set, NULL);
            execv(argv[2], argv + 2);
            perror(argv[2]);
            return 99;
        }"#;
    let deaf = host.compile("deaf", source);
    for treatment in ["ignore", "block"] {
        for (levels, script, status) in [
            (1, "exit 42", 42),
            (1, "exit 0", 0),
            (3, "exit 42", 42),
            // A child of the command's as well, which nobody waits for.
            (1, "/bin/true & exit 7", 7),
        ] {
            let mut command = host.as_caller(&deaf);
            command.arg(treatment);
            for _ in 0..levels {
                command.arg(host.program()).arg("run");
            }
            let run = command.args(["/bin/sh", "-c", script]).output().unwrap();
            assert_ended(&run, status);
            assert!(run.stderr.is_empty(), "{}", text(&run));
        }
    }
}

// Who outlives whom.

/// Children in sessions of their own, whose parents are gone, and that ignore what they can.
const FAMILY: &str = "
    trap '' 1 2 3 15
    for n in 1 2 3; do
        setsid /bin/sh -c 'sleep 61 & sleep 62 & exec sleep 63' < /dev/null > /dev/null 2>&1 &
    done
    until [ $(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c '^6[123]$') = 9 ]
    do :
    done
    echo ready
    while :; do sleep 64; done";

#[test]
fn when_the_supervisor_is_killed_everything_inside_ends() {
    let host = Host::new();
    for levels in [1, 4] {
        let running = Running::inside(&host, levels, &["/bin/sh", "-c", FAMILY]);
        assert!(processes_with(&host, "sleep") >= 9);
        kill(running.pid(), Signal::SIGKILL).unwrap();
        let (_, status) = running.end();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
        assert_nothing_runs(&host);
    }
}

/// Asking for SIGKILL when the parent ends is for instances: the init of somebody's container may
/// well be left by its parent, and must live on.
#[test]
fn as_pid_1_of_another_namespace_selfdock_outlives_its_parent() {
    let host = Host::new();
    let id = host.uid().to_string();
    let mut init = Command::new("unshare");
    init.args([
        "--pid",
        "--fork",
        "setpriv",
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
    ]);
    init.arg(host.program())
        .current_dir("/")
        .stdin(Stdio::null());
    init.args(["run", "/bin/sh", "-c", "echo ready; sleep 0.3; echo alive"]);
    let mut running = Running::start(init);
    running.supervisor.kill().unwrap();
    running.supervisor.wait().unwrap();
    assert_eq!(running.line(), "alive\n");
}

/// Whoever starts it, and however it is found and executed: each of the signs by which it knows that it
/// is in an instance is lacking somewhere, and one is left. See `is_nested` in `src/lib.rs`.
#[test]
fn when_the_supervisor_is_killed_a_selfdock_that_is_pid_1_inside_ends_with_everything() {
    let host = Host::new();
    let id = host.uid().to_string();
    let user = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
    let uncut = [&user[..], &["--bounding-set", "-setpcap"]].concat();
    let (own, elsewhere) = (host.program(), "/mnt/selfdock");
    let own = own.to_str().unwrap();
    let by_shell = ["/bin/sh", "-c", "exec \"$0\" \"$@\""];
    let mut alive = Vec::new();
    let mut try_out = |starter: &[&str], way: &[&str], inner: &str| {
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]).arg(own);
        command.arg("--map").arg(host.path("bin")).arg("/mnt");
        command.arg("run").args(way).arg(inner).arg("run");
        command.args(["/bin/sh", "-c", "echo ready; sleep 4; echo alive"]);
        command.current_dir("/").stdin(Stdio::null());
        let running = Running::start(command);
        kill(running.pid(), Signal::SIGKILL).unwrap();
        let (rest, status) = running.end();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
        if !rest.is_empty() {
            alive.push(format!("{starter:?} {way:?} {inner}\n"));
        }
    };
    for starter in [&["env"], &user[..], &uncut] {
        try_out(starter, &[], own);
        try_out(starter, &by_shell, own);
        try_out(starter, &[], elsewhere);
    }
    // Only the bounding set tells of this one.
    try_out(&user, &by_shell, elsewhere);
    assert!(alive.is_empty(), "live on:\n{}", alive.concat());
}

#[test]
fn when_an_inner_supervisor_is_killed_everything_further_inside_ends() {
    let host = Host::new();
    let running = Running::inside(&host, 3, &["/bin/sh", "-c", FAMILY]);
    let innermost = host.processes().into_iter().filter(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = host.program();
        status.contains("\nNoNewPrivs:\t1\n")
            && words.starts_with(program.as_os_str().as_encoded_bytes())
    });
    let innermost = innermost.max_by_key(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("NSpid:"));
        line.unwrap().split_whitespace().count()
    });
    kill(
        Pid::from_raw(innermost.unwrap().cast_signed()),
        Signal::SIGKILL,
    )
    .unwrap();
    let (_, status) = running.end();
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
    assert_nothing_runs(&host);
}

#[test]
fn when_the_command_ends_everything_inside_ends() {
    let host = Host::new();
    let script = FAMILY.replace("while :; do sleep 64; done", "exit 3");
    for levels in [1, 4] {
        let running = Running::inside(&host, levels, &["/bin/sh", "-c", &script]);
        let (_, status) = running.end();
        assert_eq!(status.code(), Some(3), "{status}");
        // Before selfdock itself, not soon after.
        assert_eq!(host.processes(), [], "{levels} levels");
    }
}

/// Kills the supervisor at random moments of the set-up, `tries` times.
fn kill_at_random(host: &Host, levels: usize, tries: u32) {
    let start = || {
        let mut selfdock = host.selfdock();
        for _ in 1..levels {
            selfdock.arg("run").arg(host.program());
        }
        selfdock.args(["run", "/bin/sh", "-c", "echo ready; exec sleep 60"]);
        selfdock.stdout(Stdio::piped()).stderr(Stdio::null());
        selfdock.spawn().unwrap()
    };
    // How long it takes, of some: this machine may be busy.
    let took = (0..5).map(|_| {
        let begin = Instant::now();
        let mut supervisor = start();
        let mut line = [0; 6];
        supervisor
            .stdout
            .take()
            .unwrap()
            .read_exact(&mut line)
            .unwrap();
        let took = begin.elapsed();
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        took
    });
    let longest = took
        .max()
        .unwrap()
        .min(Duration::from_millis(50 * levels as u64));
    for number in 0..tries {
        let mut supervisor = start();
        let begin = Instant::now();
        // Evenly spread, but not in order, so that a change of the machine's load spreads as well.
        let moment = longest * (number * 7919 % tries) / tries;
        while begin.elapsed() < moment {
            std::hint::spin_loop();
        }
        supervisor.kill().unwrap();
        let status = supervisor.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
        if number % 20 == 0 {
            assert_nothing_runs(host);
        }
    }
    assert_nothing_runs(host);
}

#[test]
fn a_supervisor_that_is_killed_while_it_starts_leaves_nothing_running() {
    let host = Host::new();
    kill_at_random(&host, 1, 400);
}

#[test]
fn an_outer_supervisor_that_is_killed_while_an_inner_one_starts_leaves_nothing_running() {
    let host = Host::new();
    kill_at_random(&host, 3, 300);
}

#[test]
fn a_supervisor_that_is_ended_while_it_starts_leaves_nothing_running() {
    let host = Host::new();
    for number in 0..200 {
        let mut selfdock = selfdock(&host);
        selfdock
            .args(["run", "sleep", "1000"])
            .stderr(Stdio::null());
        let mut supervisor = selfdock.spawn().unwrap();
        let (begin, moment) = (Instant::now(), Duration::from_micros(number * 50));
        while begin.elapsed() < moment {
            std::hint::spin_loop();
        }
        kill(
            Pid::from_raw(supervisor.id().cast_signed()),
            Signal::SIGTERM,
        )
        .unwrap();
        let status = supervisor.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGTERM as i32), "{status}");
    }
    assert_nothing_runs(&host);
}

// Who gets at the supervisor.

fn status_field(pid: Pid, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_once('\t').unwrap().1.to_owned()
}

#[test]
fn the_supervisor_has_no_privilege_and_gains_none() {
    let host = Host::new();
    let running = Running::inside(&host, 1, &["/bin/sh", "-c", "echo ready; read line"]);
    let uid = host.uid();
    // All of it is given up at once, but the command may be faster.
    wait_until("the supervisor renounces", || {
        status_field(running.pid(), "NoNewPrivs:") == "1"
    });
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        wait_until("the supervisor renounces", || {
            status_field(running.pid(), set) == "0000000000000000"
        });
    }
    for ids in ["Uid:", "Gid:"] {
        assert_eq!(
            status_field(running.pid(), ids),
            format!("{uid}\t{uid}\t{uid}\t{uid}")
        );
    }
    running.supervisor_ends();
}

impl Running {
    fn supervisor_ends(mut self) {
        self.supervisor.kill().unwrap();
        self.supervisor.wait().unwrap();
    }
}

/// The pidfd of the command, both ends of the pipe that tells the command's side that it lives, a
/// signalfd, and /proc.
#[test]
fn the_supervisor_holds_only_what_it_needs() {
    let host = Host::new();
    let dir = host.caller_dir("dir");
    let script = "exec 5< /etc/passwd 6<&1 9>\"$1/file\"; exec \"$0\" -v \"$1\" \"$1\" run \
                  /bin/sh -c 'echo ready; read line'";
    let mut shell = host.as_caller("/bin/sh");
    shell
        .args(["-c", script])
        .arg(host.program())
        .arg(&dir)
        .stdin(Stdio::piped());
    let running = Running::start(shell);
    let held = || {
        let fds = fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap();
        let links = fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
        let mut names: Vec<_> = links.map(|link| link.display().to_string()).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        (count, names)
    };
    wait_until("the supervisor closes what it does not need", || {
        held().0 <= 3
    });
    let (_, held) = held();
    // A pidfd is called `anon_inode:[pidfd]`, or `pidfd:[123]` on later kernels.
    for kind in ["pidfd", "signalfd", "/proc"] {
        let of_kind = held.iter().filter(|name| name.contains(kind));
        assert_eq!(of_kind.count(), 1, "{kind}: {held:?}");
    }
    let is_child = |pid: &u32| {
        status_field(Pid::from_raw(pid.cast_signed()), "PPid:") == running.pid().to_string()
    };
    let command = host.processes().into_iter().find(is_child).unwrap();
    for number in [0, 1, 5, 6, 9] {
        let file = fs::read_link(format!("/proc/{command}/fd/{number}")).unwrap();
        let file = file.display().to_string();
        assert!(!held.contains(&file), "{file} is the command's: {held:?}");
    }
    running.supervisor_ends();
}

/// Attack: the supervisor is a process of the caller's own, outside of the instance, and once had
/// privilege. What the caller can do to any other process of theirs would lead to its memory and
/// descriptors.
#[test]
fn the_caller_cannot_look_into_the_supervisor() {
    let host = Host::new();
    let script = "echo ready; read line";
    let look = |pid: Pid, place: &str| {
        let script = match place {
            "fd" => format!("ls /proc/{pid}/fd && readlink /proc/{pid}/fd/3"),
            "cwd" | "root" | "exe" | "ns/mnt" => format!("readlink /proc/{pid}/{place}"),
            place => format!("head -c 1 /proc/{pid}/{place}"),
        };
        let run = host
            .as_caller("/bin/sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        run.status.success()
    };
    let mut plain = host.as_caller("/bin/sh");
    plain
        .args(["-c", &format!("exec 3< /dev/null; {script}")])
        .stdin(Stdio::piped());
    let plain = Running::start(plain);
    let mut selfdock = selfdock(&host);
    selfdock
        .args(["run", "/bin/sh", "-c", script])
        .stdin(Stdio::piped());
    let running = Running::start(selfdock);
    for place in [
        "fd", "cwd", "root", "exe", "ns/mnt", "maps", "environ", "auxv", "stack",
    ] {
        // The kernel's stack is root's alone.
        assert_eq!(
            look(plain.pid(), place),
            place != "stack",
            "{place} of an ordinary process"
        );
        assert!(!look(running.pid(), place), "{place} of the supervisor");
    }
    plain.supervisor_ends();
    running.supervisor_ends();
}

/// Starts a program, waits for its first word, and then tries what a debugger does; says which
/// calls worked. Of a child, since some hosts let nobody trace other processes than children.
const TRACE: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/ptrace.h>
    #include <sys/resource.h>
    #include <sys/syscall.h>
    #include <sys/uio.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        int out[2];
        char word[6], byte;
        pipe(out);
        pid_t child = fork();
        if (!child) {
            dup2(out[1], 1);
            execv(argv[1], argv + 1);
            _exit(99);
        }
        for (int got = 0; got < sizeof word; got++) if (read(out[0], word + got, 1) != 1) return 98;
        int pidfd = syscall(SYS_pidfd_open, child, 0);
        int taken = syscall(SYS_pidfd_getfd, pidfd, 0, 0);
        struct iovec here = { &byte, 1 }, there = { (void *)main, 1 };
        // Allowed, but perhaps there is nothing at that address: EFAULT.
        int memory = process_vm_readv(child, &here, 1, &there, 1, 0) < 0 ? errno == EFAULT : 1;
        int traced = ptrace(PTRACE_SEIZE, child, 0, 0);
        int listed = syscall(SYS_get_robust_list, child, &here, &there);
        printf("descriptor %d, memory %d, trace %d, list %d\n",
            taken >= 0, memory, traced == 0, listed == 0);
        fflush(stdout);
        kill(child, SIGKILL);
        waitpid(child, 0, 0);
        return 0;
    }"#;

/// Attack: as above, with the calls of a debugger.
#[test]
fn the_caller_cannot_trace_the_supervisor() {
    let host = Host::new();
    let trace = host.compile("trace", TRACE);
    let script = "echo ready; exec sleep 60";
    let run = |words: &[&str]| {
        host.as_caller(&trace)
            .args(words)
            .args(["/bin/sh", "-c", script])
            .output()
            .unwrap()
    };
    let baseline = run(&[]);
    assert_eq!(
        host::out(&baseline),
        "descriptor 1, memory 1, trace 1, list 1\n"
    );
    let program = host.program();
    let supervisor = run(&[program.to_str().unwrap(), "run"]);
    assert_eq!(
        host::out(&supervisor),
        "descriptor 0, memory 0, trace 0, list 0\n"
    );
}

/// As an administrator may have it: programs that were set-user-id dump core, and may be traced by
/// who started them. (This is the whole machine's, for the moment that it takes.)
struct SuidDumpable(String);

impl SuidDumpable {
    const PATH: &str = "/proc/sys/fs/suid_dumpable";

    fn set() -> Self {
        let before = std::fs::read_to_string(Self::PATH).unwrap();
        std::fs::write(Self::PATH, "1").unwrap();
        Self(before)
    }
}

impl Drop for SuidDumpable {
    fn drop(&mut self) {
        std::fs::write(Self::PATH, &self.0).unwrap();
    }
}

/// Gives up root, and no more.
const SHED: &str = r#"
#include <stdio.h>
#include <unistd.h>
int main(void) {
    if (setreuid(getuid(), getuid())) return 1;
    puts("ready");
    fflush(stdout);
    pause();
}
"#;

#[test]
fn the_caller_cannot_trace_the_supervisor_where_set_user_id_programs_may_be_traced() {
    let host = Host::new();
    let trace = host.compile("trace", TRACE);
    let shed = host.compile("shed", SHED);
    host::set_mode(&shed, 0o4755);
    let run = |words: &[&str]| host.as_caller(&trace).args(words).output().unwrap();
    let program = host.program();
    let script = ["run", "/bin/sh", "-c", "echo ready; exec sleep 60"];
    let dumpable = SuidDumpable::set();
    let control = run(&[shed.to_str().unwrap()]);
    let supervisor = run(&[&[program.to_str().unwrap()], &script[..]].concat());
    drop(dumpable);
    assert!(host::out(&control).contains("trace 1"), "{control:?}");
    assert_eq!(
        host::out(&supervisor),
        "descriptor 0, memory 0, trace 0, list 0\n"
    );
}

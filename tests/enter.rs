//! `enter`: a command in an instance that runs, under the same rules as its own command; and nobody
//! comes into anything else, nor anything else out.

mod host;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use host::fixtures::{HIDE, LOOKALIKE, WATCH, fake_etc};
use host::{
    CANNOT, Host, Install, assert_ended, assert_refused, mounts, new_terminal, out, set_mode,
    starts, text,
};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Says that it runs, and goes on until it is told to end.
const WAITS: [&str; 3] = ["/bin/sh", "-c", "echo up; exec sleep 1000"];

const NONE: &str = "no such instance\nhint: selfdock ps lists the running instances";
const NOT_ONE: &str =
    "it is not an instance of selfdock\nhint: selfdock ps lists the running instances";
const OTHERS: &str = "it belongs to another user\n\
                      hint: only its own user can enter it, and no other user, not even root";
const UNTRACEABLE: &str = "none of its processes may be traced\n\
     hint: an instance that only holds another one cannot be entered: enter that one, by its pid";
const FOREIGN: &str = "it is of another user namespace";
const CHROOT: &str = "it was started in a chroot";
const UNPRIVILEGED: &str = "cannot get privilege: selfdock is not installed set-user-id root\n\
     hint: it was started by a selfdock that is installed set-user-id root: use that one";
const UNCONFINED: &str = "its mounts honour set-user-id programs\n\
     hint: it may be of another version of selfdock: start it anew";

/// A program that has said that it runs, and is killed at the end.
struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// Starts it and reads its first line.
    #[track_caller]
    fn start(command: &mut Command) -> Self {
        // An entered process that nobody collects keeps the whole instance from ending, and the
        // machine's pid 1 may be slow.
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut running = Self { child, output };
        assert_eq!(running.line(), "up\n");
        running
    }

    /// `selfdock OPTIONS run` as the caller, with a command that waits.
    fn instance<W: AsRef<OsStr>>(host: &Host, options: &[W]) -> Self {
        let mut selfdock = host.selfdock();
        selfdock.args(options).arg("run").args(WAITS);
        Self::start(&mut selfdock)
    }

    /// `selfdock enter`, with a command that waits.
    fn entered(host: &Host, word: &str) -> Self {
        let mut env = host.as_caller("env");
        env.arg("--default-signal").arg(host.program());
        Self::start(env.args(["enter", word]).args(WAITS))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    fn supervisor(&self) -> u32 {
        self.child.id()
    }

    fn pid1(&self) -> u32 {
        child_of(self.supervisor())
    }

    fn end(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let children = children_of(self.supervisor());
        let _ = self.child.kill();
        let _ = self.child.wait();
        let deadline = Instant::now() + Duration::from_secs(5);
        for child in children {
            let child = Pid::from_raw(child.cast_signed());
            let look = || waitpid(child, Some(WaitPidFlag::WNOHANG));
            while look() == Ok(WaitStatus::StillAlive) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

fn children_of(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// The only child of a process.
#[track_caller]
fn child_of(pid: u32) -> u32 {
    let children = children_of(pid);
    let [child] = children[..] else {
        panic!("{pid} has the children {children:?}")
    };
    child
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// Tries until it is so, for some seconds.
#[track_caller]
fn eventually(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within ten seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `selfdock enter WORD COMMAND` as the caller.
fn enter(host: &Host, word: impl ToString, command: &[&str]) -> Output {
    let mut selfdock = host.selfdock();
    selfdock.arg("enter").arg(word.to_string());
    selfdock.args(command).output().unwrap()
}

/// Ends a loop elsewhere, also when a test fails.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Fails unless the caller is kept out of it, with these words.
#[track_caller]
fn assert_kept_out(host: &Host, word: impl ToString, reason: &str) {
    let word = word.to_string();
    let run = enter(host, &word, &["/bin/echo", "inside"]);
    assert_refused(&run, &format!("cannot enter {word:?}: {reason}"));
}

/// A program that runs as `uid`, without groups.
fn as_user(uid: u32, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .uid(uid)
        .gid(uid)
        .current_dir("/")
        .stdin(Stdio::null());
    command.env_remove("RUST_BACKTRACE");
    command
}

/// The line of a file like /proc/PID/status.
#[track_caller]
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find(|line| line.starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in {status}"))[name.len()..].trim()
}

/// A program of root's, 4755, that prints its effective user id, or with words executes those.
const EUID: &str = r#"
    #include <stdio.h>
    #include <unistd.h>
    int main(void) { printf("%d\n", geteuid()); return 0; }"#;

fn setuid_program(host: &Host) -> std::path::PathBuf {
    let program = host.compile("euid", EUID);
    set_mode(&program, 0o4755);
    let run = host.as_caller(&program).output().unwrap();
    assert_eq!(out(&run), "0\n", "the attack does not work outside");
    program
}

/// What `program` does for the caller in the mounts of another process, if nobody asks whose they
/// are: as an `enter` that believes in them would.
fn believed(host: &Host, pid: u32, program: &[&str]) -> Output {
    let mut nsenter = Command::new("nsenter");
    let uid = host.uid().to_string();
    nsenter.arg(format!("--mount=/proc/{pid}/ns/mnt"));
    nsenter.args([
        "setpriv",
        "--clear-groups",
        "--reuid",
        &uid,
        "--regid",
        &uid,
    ]);
    nsenter.args(program).stdin(Stdio::null()).output().unwrap()
}

/// A lookalike in a mount namespace, with these variables; `$DIR` is this test's directory. The
/// namespace is root's, or with `--map-root-user` of a user namespace of the caller's own.
fn lookalike(host: &Host, unshare: &[&str], variables: &[(&str, &str)]) -> Running {
    let program = host.path("lookalike");
    if !program.exists() {
        host.compile("lookalike", LOOKALIKE);
    }
    let is_users = unshare.contains(&"--map-root-user");
    let mut command = match is_users {
        true => host.as_caller("unshare"),
        false => Command::new("unshare"),
    };
    if !is_users {
        command.env("ID", host.uid().to_string());
    }
    command.args(unshare).args(["--propagation", "private"]);
    let script = "eval \"$SETUP\"; exec -a selfdock \"$@\"";
    command
        .args(["--mount", "/bin/bash", "-euc", script, "sh"])
        .arg(program);
    command.args(["--name", "fake", "run", "/bin/true"]);
    command.env("SETUP", ":").env("DIR", host.path(""));
    command.envs(variables.iter().copied()).stdin(Stdio::null());
    Running::start(&mut command)
}

/// Is it one of those that the caller's `ps` lists?
fn is_listed(host: &Host, pid: u32) -> bool {
    let ps = host.run(["ps", "--json"]);
    out(&ps).contains(&format!("{{\"pid\":{pid},"))
}

// Which instance, and what is run in it.

#[test]
fn an_instance_is_entered_by_name_by_its_pid_and_by_its_supervisors() {
    let host = Host::new();
    host.caller_file("marker", 0o644, "of the instance\n");
    let marker = host.path("marker");
    let marker = marker.to_str().unwrap();
    let running = Running::instance(&host, &["-m", marker, "/etc/hostname", "--name", "web"]);
    let _other = Running::instance(&host, &["--name", "other"]);
    let (pid1, supervisor) = (running.pid1().to_string(), running.supervisor().to_string());
    let script = "cat /etc/hostname; cat /proc/1/comm; test $$ -gt 1; ls -d /proc/[0-9]* | wc -l";
    for word in ["web", &pid1, &supervisor] {
        let run = enter(&host, word, &["/bin/sh", "-ec", script]);
        // Pid 1, the shell, and what counts.
        let lines: Vec<&str> = out(&run).lines().collect();
        assert_eq!(lines[..2], ["of the instance", "sleep"], "{word}");
        assert!(["3", "4"].contains(&lines[2]), "{word}: {lines:?}");
    }
    let other = enter(&host, "other", &["cat", "/etc/hostname"]);
    assert_ne!(out(&other), "of the instance\n");
}

#[test]
fn a_line_that_says_nothing_or_too_much_is_refused() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    let needs = "enter needs an instance: its pid or its name";
    for line in [
        "enter",
        "enter --",
        "enter -C /",
        "-C / enter",
        "-- enter --",
    ] {
        assert_refused(&host.run_line(line), needs);
    }
    for (option, words) in [
        ("--rootfs", "--rootfs /"),
        ("--map", "-m /usr /mnt"),
        ("--vol", "-v /usr /mnt"),
        ("--here", "--here"),
        ("--tmpfs", "--tmpfs size=1k /mnt"),
        ("--init", "--init"),
        ("--name", "--name other"),
        ("--json", "--json"),
    ] {
        let message = format!("option {option} is not for enter, which makes no instance");
        for line in [
            format!("{words} enter web true"),
            format!("enter {words} web true"),
            format!("enter web {words} true"),
            format!("enter web -C / {words} -- true"),
        ] {
            assert_refused(&host.run_line(&line), &message);
        }
    }
    let unknown = "unknown option \"--nosuch\"\nhint: selfdock --help lists actions and options";
    assert_refused(&host.run_line("enter web --nosuch true"), unknown);
    let no_command =
        "no command given\nhint: without a terminal, name the command: selfdock run CMD";
    assert_refused(&host.run_line("enter web"), no_command);
    assert_refused(&host.run_line("enter nosuch -C /"), no_command);
    // Behind the command every word is its own.
    let run = host.run_line("enter web echo --map -m --");
    assert_eq!(out(&run), "--map -m --\n");
    drop(running);
}

#[test]
fn what_is_no_instance_is_refused() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    let pid1 = running.pid1().to_string();
    for word in [
        "nosuch",
        "Web",
        "web ",
        "",
        "0",
        "-1x",
        "4194305",
        "99999999999",
        " 1",
        "/proc/1",
        "w\n",
    ] {
        if !word.starts_with('-') {
            assert_kept_out(&host, word, NONE);
        }
    }
    for word in ["-1", "-0"] {
        let run = host.run(["enter", "--", word, "true"]);
        assert_refused(&run, &format!("cannot enter {word:?}: {NONE}"));
    }
    // A number with a sign is no other way to write it.
    assert_kept_out(&host, format!("+{pid1}"), NOT_ONE);
    out(&enter(&host, &pid1, &["true"]));
}

#[test]
fn options_stand_before_between_and_after() {
    let host = Host::new();
    let _running = Running::instance(&host, &["--name", "web"]);
    let script = "echo $A ${B-none} $C; pwd";
    for words in [
        "-e A 1 -E B -e C 3 -C /usr enter web",
        "-e A 1 enter -E B -e C 3 web -C /usr",
        "enter web -e A 0 -e A 1 -E B -e C 3 -C /etc -C /usr --",
        "-- enter -e A 1 -- web -E B -e C 3 -C /usr",
        "-C /bin -e A 0 enter -- web -E B -e C 3 -C /usr -e A 1",
    ] {
        let mut selfdock = host.selfdock();
        selfdock
            .args(words.split(' '))
            .args(["/bin/sh", "-c", script]);
        let run = selfdock.env("B", "2").output().unwrap();
        assert_eq!(out(&run), "1 none 3\n/usr\n", "{words}");
    }
}

#[test]
fn the_working_directory_is_the_callers_where_it_is_the_same_one() {
    let host = Host::new();
    host.busybox_rootfs("rootfs");
    fs::create_dir(host.path("rootfs/usr")).unwrap();
    let _same = Running::instance(&host, &["--name", "same"]);
    let rootfs = host.path("rootfs");
    let _else = Running::instance(&host, &["--name", "else", "-r", rootfs.to_str().unwrap()]);
    for (name, expected) in [("same", "/usr\n"), ("else", "/\n")] {
        let mut selfdock = host.selfdock();
        selfdock.current_dir("/usr").args(["enter", name, "pwd"]);
        let run = selfdock.env("PATH", "/bin").output().unwrap();
        assert_eq!(out(&run), expected);
    }
    let run = host.run_line("enter same -C /nosuch true");
    let message = "cannot change to directory \"/nosuch\": No such file or directory";
    assert_refused(&run, message);
}

#[test]
fn descriptors_reach_the_command_as_with_run() {
    let host = Host::new();
    let _running = Running::instance(&host, &["--name", "web"]);
    let list = "for n in 5 6 7; do test -e /proc/self/fd/$n && echo $n; done; cat <&5 2>&-; true";
    let with = |options: &str| {
        let script = format!(
            "exec \"$0\" {options} enter web /bin/sh -c '{list}' 5</etc/hostname 6</usr 7</dev/null"
        );
        let mut shell = host.as_caller("/bin/sh");
        shell
            .args(["-c", &script])
            .arg(host.program())
            .output()
            .unwrap()
    };
    let hostname = fs::read_to_string("/etc/hostname").unwrap();
    // Never a directory: that leads out.
    assert_eq!(out(&with("")), format!("5\n7\n{hostname}"));
    assert_eq!(
        out(&with("--close-fds --keep-fd 5")),
        format!("5\n{hostname}")
    );
    let kept = with("--keep-fd 6");
    assert_ended(&kept, CANNOT);
    assert!(
        text(&kept).contains("selfdock: cannot keep descriptor 6: "),
        "{}",
        text(&kept)
    );
    let closed = with("--close-fds");
    assert_eq!(
        String::from_utf8_lossy(&closed.stdout),
        "",
        "{}",
        text(&closed)
    );
}

#[test]
fn standard_streams_pass_and_end_with_the_command() {
    let host = Host::new();
    let _running = Running::instance(&host, &["--name", "web"]);
    let script = "cat; echo error >&2; exec >&- 2>&-; exec sleep 1000";
    let mut selfdock = host.selfdock();
    selfdock.args(["enter", "web", "/bin/sh", "-c", script]);
    let pipes = selfdock.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"typed\n").unwrap();
    drop(input);
    let (mut printed, mut error) = (String::new(), String::new());
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut printed)
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut error)
        .unwrap();
    // End-of-file, and it runs still.
    assert_eq!((printed.as_str(), error.as_str()), ("typed\n", "error\n"));
    assert_eq!(child.try_wait().unwrap(), None);
    send(child_of(child.id()), Signal::SIGKILL);
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
}

#[test]
fn the_status_is_the_commands() {
    let host = Host::new();
    let _running = Running::instance(&host, &["--name", "web"]);
    host.caller_file("script", 0o755, "exit 44\n");
    let script = host.path("script");
    let run = |words: &[&str]| {
        // Whatever this test was started by ignores.
        let mut env = host.as_caller("/usr/bin/env");
        env.arg("--default-signal").arg(host.program());
        env.args(["enter", "web"]).args(words);
        env.env("PATH", "/usr/bin:/bin").output().unwrap()
    };
    for status in [0, 1, 2, 123, 124, 125, 126, 127, 128, 130, 137, 255] {
        let command = format!("exit {status}");
        assert_ended(&run(&["/bin/sh", "-c", &command]), status);
    }
    for signal in [1, 2, 3, 6, 9, 10, 13, 14, 15, 34, 40, 64] {
        // dash knows no real-time signal, and bash ignores SIGQUIT.
        let shell = if signal < 32 { "/bin/sh" } else { "/bin/bash" };
        let command = format!("kill -{signal} $$; sleep 1000");
        assert_ended(&run(&[shell, "-c", &command]), -signal);
    }
    assert_ended(&run(&[script.to_str().unwrap()]), 44);
    let absent = run(&["nosuch"]);
    assert_ended(&absent, 127);
    let message = "selfdock: cannot run \"nosuch\": No such file or directory\n";
    assert_eq!(String::from_utf8_lossy(&absent.stderr), message);
    assert_ended(&run(&["/etc/passwd"]), 126);
    assert_ended(&run(&[""]), 127);
}

#[test]
fn a_signal_to_the_supervisor_reaches_the_command_and_not_the_instance() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
    ] {
        let entered = Running::entered(&host, "web");
        send(entered.supervisor(), signal);
        assert_eq!(entered.end().signal(), Some(signal as i32));
        let mut env = host.as_caller("env");
        env.arg("--default-signal").arg(host.program());
        let trap = format!(
            "trap 'echo caught; exit 7' {}; echo up; while :; do sleep 0.01; done",
            signal as i32
        );
        let mut caught = Running::start(env.args(["enter", "web", "/bin/sh", "-c", &trap]));
        send(caught.supervisor(), signal);
        assert_eq!(caught.line(), "caught\n");
        assert_eq!(caught.end().code(), Some(7));
    }
    assert_eq!(host.processes().len(), 2, "{:?}", host.processes());
    out(&enter(&host, running.pid1(), &["true"]));
}

// Whose.

/// Attack: another user's. The file is the same one, so that nothing else keeps them out.
#[test]
fn nobody_enters_another_users_instance() {
    let (alice, bob) = (Host::new(), Host::new());
    let running = Running::instance(&alice, &["--name", "web"]);
    let (pid1, supervisor) = (running.pid1().to_string(), running.supervisor().to_string());
    for (word, reason) in [("web", NONE), (&pid1, OTHERS), (&supervisor, OTHERS)] {
        let mut selfdock = as_user(bob.uid(), alice.program());
        let run = selfdock.args(["enter", word, "id"]).output().unwrap();
        assert_refused(&run, &format!("cannot enter {word:?}: {reason}"));
        out(&enter(&alice, word, &["true"]));
    }
    // Nor does root by selfdock: root has other means, and is promised nothing.
    for word in [&pid1, &supervisor] {
        let run = Command::new(alice.program())
            .args(["enter", word, "id"])
            .output()
            .unwrap();
        assert_refused(&run, &format!("cannot enter {word:?}: {OTHERS}"));
    }
}

#[test]
fn no_user_enters_an_instance_of_roots_and_root_does() {
    let host = Host::new();
    let name = format!("root-{}", host.uid());
    let root = |words: &[&str]| {
        let mut selfdock = Command::new(host.program());
        selfdock.args(words).stdin(Stdio::null());
        selfdock
    };
    let uid = host.uid().to_string();
    let drop_to = [
        "setpriv",
        "--clear-groups",
        "--reuid",
        &uid,
        "--regid",
        &uid,
    ];
    // The command is root's, or the caller's by then.
    for is_dropped in [false, true] {
        let mut start = root(&["--name", &name, "run"]);
        if is_dropped {
            start.args(drop_to);
        }
        let running = Running::start(start.args(WAITS));
        if is_dropped {
            eventually(|| host.processes() == [running.pid1()]);
        }
        let (pid1, supervisor) = (running.pid1().to_string(), running.supervisor().to_string());
        let of_pid1 = if is_dropped { NOT_ONE } else { OTHERS };
        for (word, reason) in [(&name, NONE), (&pid1, of_pid1), (&supervisor, OTHERS)] {
            assert_kept_out(&host, word, reason);
            let run = root(&["enter", word, "id", "-u"]).output().unwrap();
            if is_dropped {
                assert_refused(&run, &format!("cannot enter {word:?}: {UNTRACEABLE}"));
            } else {
                assert_eq!(out(&run), "0\n");
            }
        }
        send(running.pid1(), Signal::SIGKILL);
        running.end();
    }
}

#[test]
fn a_process_outside_of_instances_is_not_entered() {
    let (host, other) = (Host::new(), Host::new());
    let own = Running::start(host.as_caller(WAITS[0]).args(&WAITS[1..]));
    let others = Running::start(other.as_caller(WAITS[0]).args(&WAITS[1..]));
    let instance = Running::instance(&host, &[""; 0]);
    let inner = Running::entered(&host, &instance.pid1().to_string());
    assert_kept_out(&host, own.supervisor(), NOT_ONE);
    assert_kept_out(&host, others.supervisor(), OTHERS);
    assert_kept_out(&host, 1, OTHERS);
    assert_kept_out(&host, std::process::id(), OTHERS);
    // Of an instance, but not what it is called by; and who entered it is no supervisor.
    assert_kept_out(&host, inner.pid1(), NOT_ONE);
    assert_kept_out(&host, inner.supervisor(), NOT_ONE);
    out(&enter(&host, instance.pid1(), &["true"]));
}

/// Attack: CVE-2022-31214. A mount namespace of the caller's own user namespace, in which root has no
/// password; entered from the first user namespace, su(1) believes it.
#[test]
fn a_namespace_of_the_callers_own_making_is_not_entered() {
    let host = Host::new();
    fake_etc(&host, "etc");
    let setup = ("SETUP", "mount --bind $DIR/etc /etc");
    let (nosuid, hidden) = (("NOSUID", ""), ("HIDDEN", ""));
    let live = (
        "LATER",
        "su=$(command -v su); mount --bind $su $su; mount -o remount,bind,suid $su",
    );
    for (variables, is_seen) in [
        (&[setup][..], false),
        (&[setup, hidden], false),
        // What does not depend on what /proc says is asked last.
        (&[setup, nosuid], true),
        (&[setup, nosuid, live], true),
        (&[setup, nosuid, live, hidden], true),
    ] {
        let fake = lookalike(&host, &["--map-root-user"], variables);
        let pid1 = fake.pid1();
        assert_eq!(is_listed(&host, pid1), is_seen, "{variables:?}");
        if !variables.contains(&nosuid) || variables.contains(&live) {
            let su = believed(&host, pid1, &["su", "-c", "id -u"]);
            assert_eq!(String::from_utf8_lossy(&su.stdout), "0\n", "{}", text(&su));
        }
        let (by_pid, by_name) = match is_seen {
            true => (FOREIGN, FOREIGN),
            false => (NOT_ONE, NONE),
        };
        for (word, reason) in [
            (pid1.to_string(), by_pid),
            (fake.supervisor().to_string(), by_pid),
            ("fake".to_owned(), by_name),
        ] {
            let run = enter(&host, &word, &["su", "-c", "id"]);
            assert_refused(&run, &format!("cannot enter {word:?}: {reason}"));
        }
        drop(fake);
        eventually(|| host.processes().is_empty());
    }
    for options in [&["-Urm"][..], &["-Urmpf", "--kill-child"]] {
        let mut unshare = host.as_caller("unshare");
        let mut own = Running::start(unshare.args(options).args(WAITS));
        let (pid, inner) = (own.supervisor(), children_of(own.supervisor()));
        for pid in inner.into_iter().chain([pid]) {
            let run = enter(&host, pid, &["su", "-c", "id"]);
            assert_refused(&run, &format!("cannot enter \"{pid}\": {NOT_ONE}"));
        }
        assert_eq!(own.child.try_wait().unwrap(), None);
    }
}

/// Attack: a mount namespace that root has made for something else, and in which the caller runs.
/// Nothing is seen there that root did not put there; but it is nobody's to be entered.
#[test]
fn a_namespace_of_roots_making_is_not_entered() {
    let host = Host::new();
    let euid = setuid_program(&host);
    let euid = euid.to_str().unwrap();
    let live = "mount --bind $DIR/euid $DIR/euid; mount -o remount,bind,suid $DIR/euid";
    for (variables, is_seen) in [
        (&[][..], false),
        (&[("HIDDEN", "")], false),
        // Every mount is nosuid but one, which is not selfdock's.
        (&[("NOSUID", ""), ("LATER", live)], true),
        (&[("NOSUID", ""), ("LATER", live), ("HIDDEN", "")], true),
    ] {
        let fake = lookalike(&host, &[], variables);
        let pid1 = fake.pid1();
        assert_eq!(out(&believed(&host, pid1, &[euid])), "0\n");
        let seen = Install::wanted().choose(UNCONFINED, UNCONFINED, UNPRIVILEGED);
        let (by_pid, by_name) = match is_seen {
            true => (seen, seen),
            false => (NOT_ONE, NONE),
        };
        assert_eq!(is_listed(&host, pid1), is_seen, "{variables:?}");
        assert_kept_out(&host, pid1, by_pid);
        assert_kept_out(&host, fake.supervisor(), by_pid);
        assert_kept_out(&host, "fake", by_name);
        drop(fake);
        eventually(|| host.processes().is_empty());
    }
}

/// A copy of selfdock that is installed so, whatever the one under test is.
fn copy_with_mode(host: &Host, name: &str, mode: u32) -> std::path::PathBuf {
    let path = host.path(name);
    host::copy(&host.program(), &path);
    set_mode(&path, mode);
    path
}

/// Its own user made the namespace, so that this gives nobody anything: not the command, nor selfdock,
/// which does without what its file gives.
#[test]
fn an_instance_in_a_user_namespace_is_entered_without_privilege() {
    let host = Host::new();
    let plain = copy_with_mode(&host, "plain", 0o755);
    let weapon = setuid_program(&host);
    for options in [&[][..], &["--init"], &["--no-nest"]] {
        let mut words = vec!["--privilege", "userns", "--name", "web"];
        words.extend(options);
        let running = Running::instance(&host, &words);
        let table = fs::read_to_string(format!("/proc/{}/mountinfo", running.pid1())).unwrap();
        let link = format!("/proc/{}/ns/user", running.pid1());
        let namespace = fs::read_link(link).unwrap().display().to_string();
        assert_ne!(
            namespace,
            fs::read_link("/proc/self/ns/user")
                .unwrap()
                .display()
                .to_string()
        );
        for program in [&host.program(), &plain] {
            let ask =
                "cat /proc/self/status; readlink /proc/self/ns/user; cat /proc/1/comm; exec \"$0\"";
            let mut selfdock = host.as_caller(program);
            selfdock
                .args(["enter", "web", "/bin/sh", "-c", ask])
                .arg(&weapon);
            let run = selfdock.output().unwrap();
            let said = out(&run);
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
                assert_eq!(field(said, set), "0000000000000000", "{options:?} {set}");
            }
            let lines: Vec<&str> = said.lines().rev().take(3).collect();
            assert_eq!(lines[0], host.uid().to_string(), "{options:?}");
            assert_eq!(lines[2], namespace, "{options:?}");
            let mut selfdock = host.as_caller(program);
            selfdock.args(["enter", "web", "/bin/cat", "/proc/self/mountinfo"]);
            let entered = selfdock.output().unwrap();
            assert!(
                out(&entered).lines().all(|line| line.contains("nosuid")),
                "{options:?}"
            );
            assert_eq!(shape(out(&entered)), shape(&table), "{options:?}");
        }
    }
}

/// Attack: a selfdock that has nothing over the machine's mounts enters what was made with privilege,
/// and there would be as it is outside.
#[test]
fn an_instance_of_a_privileged_selfdock_is_not_entered_by_one_that_is_not() {
    let host = Host::new();
    let privileged = copy_with_mode(&host, "privileged", 0o4755);
    let plain = copy_with_mode(&host, "plain", 0o755);
    let mut selfdock = host.as_caller(&privileged);
    let running = Running::start(selfdock.args(["--name", "web", "run"]).args(WAITS));
    for word in [
        "web".to_owned(),
        running.pid1().to_string(),
        running.supervisor().to_string(),
    ] {
        let enter = |program: &std::path::Path| {
            let mut selfdock = host.as_caller(program);
            selfdock
                .args(["enter", &word, "/bin/echo", "inside"])
                .output()
                .unwrap()
        };
        assert_eq!(out(&enter(&privileged)), "inside\n");
        assert_refused(
            &enter(&plain),
            &format!("cannot enter {word:?}: {UNPRIVILEGED}"),
        );
    }
    // Nor from a user namespace of the caller's, where its processes are somebody else's.
    let mut unshare = host.as_caller("unshare");
    unshare
        .args(["--user", "--map-current-user", "--"])
        .arg(&plain);
    let run = unshare
        .args(["enter", "web", "/bin/echo", "inside"])
        .output()
        .unwrap();
    assert_refused(&run, &format!("cannot enter \"web\": {UNTRACEABLE}"));
}

/// Attack: user namespaces are anybody's to make, and so somebody else's to join.
#[test]
fn nobody_enters_another_users_instance_in_a_user_namespace() {
    let host = Host::new();
    let plain = copy_with_mode(&host, "plain", 0o755);
    let running = Running::instance(&host, &["--privilege", "userns", "--name", "web"]);
    assert_eq!(
        out(&enter(&host, "web", &["/bin/echo", "inside"])),
        "inside\n"
    );
    for program in [host.program(), plain] {
        for (word, reason) in [
            ("web".to_owned(), NONE),
            (running.pid1().to_string(), OTHERS),
            (running.supervisor().to_string(), OTHERS),
        ] {
            let mut selfdock = host.as_other(&program);
            let run = selfdock
                .args(["enter", &word, "/bin/echo", "inside"])
                .output();
            assert_refused(&run.unwrap(), &format!("cannot enter {word:?}: {reason}"));
        }
        // Not even root does.
        let word = running.pid1().to_string();
        let mut selfdock = Command::new(&program);
        let run = selfdock
            .args(["enter", &word, "/bin/echo", "inside"])
            .output();
        assert_refused(&run.unwrap(), &format!("cannot enter {word:?}: {OTHERS}"));
    }
}

/// What cannot be told from an instance is entered as one: there, too, no set-user-id program has an
/// effect, whatever is done to the mounts while it is entered.
#[test]
fn in_a_perfect_imitation_set_user_id_programs_are_inert() {
    let host = Host::new();
    let euid = setuid_program(&host);
    let fake = lookalike(&host, &[], &[("NOSUID", "")]);
    let mine = format!("{}\n", host.uid());
    if Install::is_rootless() {
        // Whatever it looks like, it belongs to the machine.
        assert_kept_out(&host, "fake", UNPRIVILEGED);
        assert_kept_out(&host, fake.pid1(), UNPRIVILEGED);
        return;
    }
    for word in ["fake".to_owned(), fake.pid1().to_string()] {
        assert_eq!(out(&enter(&host, &word, &[euid.to_str().unwrap()])), mine);
        assert_eq!(out(&enter(&host, &word, &["id", "-u"])), mine);
    }
    // Root turns them on, all the time; the test of the mounts says so, or comes before.
    let is_over = AtomicBool::new(false);
    let target = format!("--target={}", fake.pid1());
    let turn = |option: &str| {
        let mut nsenter = Command::new("nsenter");
        nsenter.args([&target, "--mount", "mount", "-o", option, "/"]);
        assert!(nsenter.status().unwrap().success());
    };
    std::thread::scope(|scope| {
        let _until = Until(&is_over);
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                turn("remount,bind,suid");
                turn("remount,bind,nosuid");
            }
        });
        let mut entered = 0;
        for _ in 0..60 {
            let run = enter(&host, fake.pid1(), &[euid.to_str().unwrap()]);
            match run.status.code() {
                Some(CANNOT) => assert!(run.stdout.is_empty(), "{}", text(&run)),
                _ => {
                    entered += 1;
                    assert_eq!(out(&run), mine);
                }
            }
        }
        assert!(entered > 0, "never entered");
    });
    send(fake.pid1(), Signal::SIGKILL);
}

/// Attack: a genuine instance, one of whose processes has a user namespace, and mounts, of its own.
#[test]
fn a_process_inside_that_has_made_its_own_mounts_is_not_entered_through() {
    let host = Host::new();
    fake_etc(&host, "etc");
    let hide = host.compile("hide", HIDE);
    let dir = host.path("");
    let script = "mount --bind $DIR/etc /etc; echo up; exec sleep 1000";
    let mut selfdock = host.selfdock();
    selfdock
        .env("DIR", &dir)
        .args(["--name", "web", "run"])
        .arg(hide);
    selfdock.args([
        "unshare",
        "--map-root-user",
        "--mount",
        "/bin/sh",
        "-ec",
        script,
    ]);
    let _running = Running::start(&mut selfdock);
    assert_kept_out(&host, "web", FOREIGN);
    // A root directory of its own, in the mounts of the instance.
    let mut selfdock = host.selfdock();
    selfdock
        .args(["--name", "root", "run"])
        .arg(host.path("hide"));
    selfdock.args([
        "unshare",
        "--map-root-user",
        "chroot",
        "/",
        "/bin/sh",
        "-c",
        "echo up; exec sleep 1000",
    ]);
    let _other = Running::start(&mut selfdock);
    out(&enter(&host, "root", &["true"]));
    let rootfs = host.busybox_rootfs("rootfs");
    let mut selfdock = host.selfdock();
    selfdock
        .args(["--name", "other", "run"])
        .arg(host.path("hide"));
    selfdock
        .args(["unshare", "--map-root-user", "chroot"])
        .arg(rootfs);
    let _last = Running::start(selfdock.args(["/bin/sh", "-c", "echo up; exec sleep 1000"]));
    assert_kept_out(&host, "other", CHROOT);
}

#[test]
fn an_instance_that_may_not_be_traced_is_entered_through_a_process_that_may() {
    let host = Host::new();
    let hide = host.compile("hide", HIDE);
    let mut selfdock = host.selfdock();
    let mut closed = Running::start(selfdock.args(["--name", "closed", "run"]).arg(&hide));
    let mut selfdock = host.selfdock();
    selfdock
        .args(["--name", "open", "run"])
        .arg(&hide)
        .args(WAITS);
    let open = Running::start(&mut selfdock);
    for word in [
        "closed",
        &closed.pid1().to_string(),
        &closed.supervisor().to_string(),
    ] {
        assert_kept_out(&host, word, UNTRACEABLE);
    }
    for word in ["open", &open.pid1().to_string()] {
        assert_eq!(out(&enter(&host, word, &["cat", "/proc/1/comm"])), "hide\n");
    }
    assert_eq!(closed.child.try_wait().unwrap(), None);
}

/// Attack: a container of another tool's, which runs with no_new_privs as a supervisor does.
#[test]
fn a_container_of_another_tool_is_not_entered() {
    let host = Host::new();
    let mut bwrap = host.as_caller("bwrap");
    bwrap.args([
        "--bind",
        "/",
        "/",
        "--unshare-pid",
        "--proc",
        "/proc",
        "--die-with-parent",
    ]);
    let container = Running::start(bwrap.args(WAITS));
    let mut pid = container.supervisor();
    assert_kept_out(&host, pid, NOT_ONE);
    for _ in 0..2 {
        pid = child_of(pid);
        assert_kept_out(&host, pid, NOT_ONE);
    }
    assert_eq!(
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(),
        "sleep\n"
    );
}

/// Attack: an instance in a chroot that is a private mount has the outer tree in its namespace, and
/// setns(2) leads to the root of that, not of the chroot.
#[test]
fn an_instance_that_was_started_in_a_chroot_is_not_entered() {
    let host = Host::new();
    host.busybox_rootfs("rootfs");
    host.root_file("outer", 0o644, "outer tree\n");
    host.root_file("rootfs/selfdock", 0o755, "");
    if Install::is_rootless() {
        // There is none: the kernel lets nobody make a user namespace in a chroot.
        let script = "mount -t proc proc $DIR/rootfs/proc; cp $DIR/bin/selfdock $DIR/rootfs/selfdock; \
                      chroot --userspec=$ID:$ID --groups= $DIR/rootfs /selfdock run true";
        let run = host.with_own_mounts(script).output().unwrap();
        let message = "cannot make a user namespace: unshare: Operation not permitted; and \
                       selfdock is not installed set-user-id root\n\
                       hint: selfdock runs in a chroot: enter the directory with pivot_root(2) \
                       instead: systemd-nspawn -D DIR";
        assert_refused(&run, message);
        return;
    }
    let setup = "mount --bind $DIR/rootfs $DIR/rootfs; mount -t proc proc $DIR/rootfs/proc; \
                 mount --rbind /dev $DIR/rootfs/dev; mount --bind $DIR/bin/selfdock $DIR/rootfs/selfdock; ";
    let inside = "/selfdock --name web run sh -c 'echo up; exec sleep 1000' & \
                  until /selfdock ps | grep -q web; do sleep 0.01; done; \
                  for word in web $!; do /selfdock enter $word ls /; echo status=$?; done 2>&1; wait";
    let script = format!(
        "{setup} exec chroot --userspec=$ID:$ID --groups= $DIR/rootfs /bin/sh -c \"$INSIDE\""
    );
    let mut command = host.with_own_mounts(&script);
    command
        .env("INSIDE", inside)
        .env("PATH", "/bin:/usr/bin:/usr/sbin:/sbin");
    let mut chroot = Running::start(&mut command);
    let mut said = String::new();
    while said.matches("status=").count() < 2 {
        let line = chroot.line();
        assert_ne!(line, "", "{said}");
        said.push_str(&line);
    }
    let supervisor = child_of_name(chroot.supervisor(), "selfdock");
    let pid1 = child_of(supervisor);
    let refusal = |word: &str| format!("selfdock: cannot enter {word:?}: {CHROOT}\nstatus=124\n");
    assert_eq!(said, refusal("web") + &refusal(&supervisor.to_string()));
    let marker = host.path("outer");
    let control = believed(&host, pid1, &["cat", marker.to_str().unwrap()]);
    assert_eq!(out(&control), "outer tree\n");
    for word in ["web".to_owned(), pid1.to_string(), supervisor.to_string()] {
        let run = enter(&host, &word, &["cat", marker.to_str().unwrap()]);
        assert_refused(&run, &format!("cannot enter {word:?}: {CHROOT}"));
    }
    send(supervisor, Signal::SIGKILL);
    eventually(|| fs::read_link(format!("/proc/{pid1}/exe")).is_err());
    drop(chroot);
}

/// The child that is called so.
fn child_of_name(pid: u32, name: &str) -> u32 {
    let comm = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let mut pids = children_of(pid).into_iter();
    pids.find(|pid| comm(pid).trim() == name).unwrap()
}

/// setns(2) needs CAP_SYS_CHROOT, which some containers withhold.
#[test]
fn a_caller_without_the_capability_to_enter_runs_instances_and_enters_none() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    let bounded = |set: &str, words: &[&str]| {
        let mut setpriv = Command::new("setpriv");
        let uid = host.uid().to_string();
        setpriv.args([
            "--clear-groups",
            "--reuid",
            &uid,
            "--regid",
            &uid,
            "--bounding-set",
            set,
        ]);
        setpriv
            .arg(host.program())
            .args(words)
            .current_dir("/")
            .output()
            .unwrap()
    };
    let echo = ["/bin/echo", "ran"];
    for (set, can_enter) in [
        ("-net_raw", true),
        // In a user namespace there is a whole one.
        ("-sys_chroot", Install::is_rootless()),
        ("-all,+sys_admin", Install::is_rootless()),
    ] {
        assert_eq!(
            out(&bounded(set, &["run", echo[0], echo[1]])),
            "ran\n",
            "{set}"
        );
        for word in ["web".to_owned(), running.pid1().to_string()] {
            let run = bounded(set, &["enter", &word, echo[0], echo[1]]);
            if can_enter {
                assert_eq!(out(&run), "ran\n", "{set}");
                continue;
            }
            let message = format!(
                "cannot enter {word:?}: cannot use privilege: CAP_SYS_CHROOT is missing\n\
                 hint: an outer container withholds it, or the file capabilities lack cap_sys_chroot"
            );
            assert_refused(&run, &message);
        }
    }
    let plain = bounded("-sys_admin", &["enter", "web", "/bin/echo", "ran"]);
    match Install::is_rootless() {
        true => assert_eq!(out(&plain), "ran\n"),
        false => assert_refused(
            &plain,
            "cannot enter \"web\": cannot get privilege: CAP_SYS_ADMIN is not in the capability \
             bounding set\n\
             hint: an outer container, or an instance of root's, withholds it: docker run --cap-add \
             SYS_ADMIN",
        ),
    }
}

// What the command may do.

#[test]
fn set_user_id_programs_and_file_capabilities_have_no_effect() {
    let host = Host::new();
    fake_etc(&host, "etc");
    setuid_program(&host);
    let rights = host.compile("rights", EUID);
    let setcap = Command::new("setcap")
        .arg("cap_dac_override+ep")
        .arg(&rights)
        .status();
    assert!(setcap.unwrap().success());
    let capable = host.compile("capable", CAPABLE);
    let setcap = Command::new("setcap")
        .arg("cap_dac_override+ep")
        .arg(&capable)
        .status();
    assert!(setcap.unwrap().success());
    assert_eq!(out(&host.as_caller(&capable).output().unwrap()), "2\n");
    let dir = host.path("");
    let (dir, etc) = (dir.to_str().unwrap(), host.path("etc"));
    let etc = etc.to_str().unwrap();
    let mine = format!("{}\n", host.uid());
    for (number, options) in [
        &["-m", etc, "/etc"][..],
        &["-v", etc, "/etc", "-v", dir, "/mnt"],
        &["-m", "/", "/mnt"],
    ]
    .iter()
    .enumerate()
    {
        let name = format!("web{number}");
        let _running = Running::instance(&host, &[options, &["--name", &name][..]].concat());
        let own = [
            format!("{dir}euid"),
            format!("/mnt/{dir}euid"),
            "/mnt/euid".to_owned(),
        ];
        let seen: Vec<_> = own
            .iter()
            .filter(|path| enter(&host, &name, &["test", "-e", path]).status.success())
            .collect();
        assert!(!seen.is_empty());
        for path in seen {
            assert_eq!(out(&enter(&host, &name, &[path])), mine, "{path}");
            let capable = path.replace("euid", "capable");
            assert_eq!(out(&enter(&host, &name, &[&capable])), "0\n", "{path}");
        }
        let su = enter(&host, &name, &["su", "-c", "id"]);
        assert!(
            !su.status.success() && !text(&su).contains("uid=0"),
            "{}",
            text(&su)
        );
        assert_ne!(su.status.code(), Some(CANNOT), "{}", text(&su));
    }
}

/// Prints its effective capabilities.
const CAPABLE: &str = r#"
    #include <stdio.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    int main(void) {
        unsigned header[2] = {0x20080522, 0}, sets[6];
        if (syscall(SYS_capget, header, sets)) return 1;
        printf("%x\n", sets[0]);
        return 0;
    }"#;

/// The mount points of a table and what else a mount is made of, its numbers excepted.
fn shape(table: &str) -> Vec<String> {
    let shape = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        format!("{} {} {} {}", words[4], words[3], words[5], words[2])
    };
    let mut lines: Vec<String> = table.lines().map(shape).collect();
    lines.sort();
    lines
}

#[test]
fn the_mounts_are_the_instances_all_nosuid_but_selfdocks_own_file() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("rootfs");
    let program = host.program();
    let (rootfs, program) = (rootfs.to_str().unwrap(), program.to_str().unwrap());
    host.caller_dir("own");
    let own = host.path("own");
    let own = own.to_str().unwrap();
    for (name, options, place) in [
        ("a", &[][..], program),
        ("b", &["-v", own, "/mnt", "-t", "exec", "/srv"], program),
        ("c", &["-r", rootfs], "/dev/selfdock"),
    ] {
        let running = Running::instance(&host, &[options, &["--name", name]].concat());
        let table = || fs::read_to_string(format!("/proc/{}/mountinfo", running.pid1())).unwrap();
        let before = table();
        let cat = ["/bin/cat", "/proc/self/mountinfo"];
        let entered = enter(&host, name, &cat);
        let entered = out(&entered);
        let live: Vec<_> = entered
            .lines()
            .filter(|line| !line.contains("nosuid"))
            .collect();
        let mut expected = shape(&before);
        match live[..] {
            // It is where it was, and that is all.
            [] if Install::is_rootless() => {}
            [live] if !Install::is_rootless() => {
                let words: Vec<&str> = live.split(' ').collect();
                assert_eq!(words[4], place);
                assert!(words[3].ends_with("/bin/selfdock"), "{live}");
                assert!(words[5].starts_with("ro,nodev"), "{live}");
                // One more mount, on top of the instance's own, which is nosuid here.
                let is_own = |line: &&String| !line.contains("nosuid");
                let own = expected.iter().find(is_own).unwrap().clone();
                expected.push(own.replace("ro,nodev", "ro,nosuid,nodev"));
                expected.sort();
            }
            _ => panic!("{entered}"),
        }
        assert_eq!(shape(entered), expected);
        // The same number of mounts, however often it is entered.
        assert_eq!(shape(out(&enter(&host, name, &cat))), expected);
        let nested = enter(
            &host,
            name,
            &[place, "run", "/bin/sh", "-c", "echo $$; id -u"],
        );
        assert_eq!(out(&nested), format!("1\n{}\n", host.uid()));
        let deep = enter(
            &host,
            name,
            &[
                place,
                "run",
                place,
                "run",
                place,
                "run",
                "/bin/echo",
                "deep",
            ],
        );
        assert_eq!(out(&deep), "deep\n");
        assert_eq!(table(), before, "the instance's mounts have changed");
    }
}

#[test]
fn what_a_command_mounts_is_not_seen_in_the_instance() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    let table = |pid: u32| fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let before = (mounts(), table(running.pid1()));
    let entered = Running::entered(&host, "web");
    let pid = entered.pid1();
    let namespace = |pid: u32, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
    assert_ne!(namespace(pid, "mnt"), namespace(running.pid1(), "mnt"));
    assert_ne!(namespace(pid, "mnt"), namespace(std::process::id(), "mnt"));
    for same in ["pid", "user", "net", "ipc", "uts", "cgroup"] {
        assert_eq!(namespace(pid, same), namespace(running.pid1(), same));
    }
    // Not even root's mount there.
    let mut nsenter = Command::new("nsenter");
    nsenter
        .arg(format!("--mount=/proc/{pid}/ns/mnt"))
        .args(["mount", "-t", "tmpfs", "none", "/srv"]);
    assert!(nsenter.status().unwrap().success());
    assert!(table(pid).contains(" /srv "));
    assert_eq!((mounts(), table(running.pid1())), before);
    // And what it writes to a filesystem of the instance is.
    out(&enter(
        &host,
        "web",
        &["/bin/sh", "-c", "echo here >/tmp/file"],
    ));
    assert_eq!(out(&enter(&host, "web", &["cat", "/tmp/file"])), "here\n");
}

/// As far as it can be asked from inside; with groups, a descriptor, limits and an umask of their own.
#[test]
fn everything_is_as_in_the_instances_own_command() {
    let host = Host::new();
    let _running = Running::instance(&host, &["--name", "web"]);
    let ask = "cat /proc/self/limits; umask; ulimit -S -n; env | sort; pwd; nice; \
               ls /proc/self/fd; cat /proc/self/oom_score_adj; \
               grep -E '^(Umask|Uid|Gid|Groups|Sig...|Shd...|Cap...|NoNew.*|Secc.*|Spec.*|Cpus_a.*|Mems_a.*):' /proc/self/status; \
               readlink $USERS /proc/self/ns/net /proc/self/root";
    // Each instance in a user namespace has one of its own.
    let users = Install::wanted().choose("/proc/self/ns/user", "/proc/self/ns/user", "");
    let ask = ask.replace("$USERS", users);
    let told = |words: &[&str]| {
        let uid = host.uid().to_string();
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid", &uid, "--regid", &uid, "--groups", "4242,4243"]);
        setpriv.args([
            "env",
            "-i",
            "PATH=/usr/bin:/bin",
            "A=1",
            "A=2",
            "B=a b",
            "--block-signal=USR1",
            "--ignore-signal=USR2",
        ]);
        setpriv.args([
            "prlimit",
            "--nofile=333:444",
            "--fsize=123456",
            "/bin/sh",
            "-c",
        ]);
        setpriv.args(["umask 0137; exec nice -n 3 \"$@\" 7</dev/null", "sh"]);
        setpriv
            .arg(host.program())
            .args(words)
            .args(["/bin/sh", "-c", &ask]);
        let run = setpriv
            .current_dir("/usr")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        out(&run).to_owned()
    };
    let (run, entered) = (told(&["run"]), told(&["enter", "web"]));
    assert_eq!(run, entered);
    // In a user namespace groups that are not mapped are nobody's.
    let install = Install::wanted();
    let groups = install.choose("4242 4243", "4242 4243", "65534 65534");
    assert_eq!(field(&entered, "Groups:"), groups, "{entered}");
    let three = "0000000000240100";
    let bounding = install.choose(three, three, "0000000000000000");
    assert_eq!(field(&entered, "CapBnd:"), bounding);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(&entered, set), "0000000000000000");
    }
    assert_eq!(
        (field(&entered, "NoNewPrivs:"), field(&entered, "Seccomp:")),
        ("0", "0")
    );
}

#[test]
fn the_supervisor_of_an_entered_command_has_no_privilege() {
    let host = Host::new();
    let _running = Running::instance(&host, &["--name", "web"]);
    let entered = Running::entered(&host, "web");
    let pid = entered.supervisor();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(&status, set), "0000000000000000");
    }
    assert_eq!(field(&status, "NoNewPrivs:"), "1");
    let ids = vec![host.uid().to_string(); 4].join("\t");
    assert_eq!(
        (field(&status, "Uid:"), field(&status, "Gid:")),
        (ids.as_str(), ids.as_str())
    );
    // It can neither be traced nor looked into.
    let script = format!(
        "ls /proc/{pid}/fd/ || cat /proc/{pid}/maps || readlink /proc/{pid}/exe /proc/{pid}/root"
    );
    let look = host
        .as_caller("/bin/sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    assert!(
        !look.status.success() && look.stdout.is_empty(),
        "{}",
        text(&look)
    );
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut kinds: Vec<String> = open
        .map(|entry| {
            let target = fs::read_link(entry.path()).unwrap().display().to_string();
            target
                .split_once(':')
                .map_or(target.clone(), |(kind, _)| kind.to_owned())
        })
        .collect();
    kinds.sort();
    assert_eq!(
        kinds,
        ["/proc", "anon_inode", "anon_inode"].map(String::from),
        "{kinds:?}"
    );
}

// Where it is entered from, and what is entered.

#[test]
fn an_instance_that_only_holds_another_is_not_entered_and_the_inner_one_is() {
    let host = Host::new();
    let program = host.program();
    let program = program.to_str().unwrap();
    let mut selfdock = host.selfdock();
    selfdock.args([
        "--name", "a", "run", program, "--name", "b", "run", program, "--name", "c", "run",
    ]);
    let running = Running::start(selfdock.args(WAITS));
    let a = running.pid1();
    let (b, c) = (child_of(a), child_of(child_of(a)));
    for word in [
        "a".to_owned(),
        "b".to_owned(),
        a.to_string(),
        b.to_string(),
        running.supervisor().to_string(),
    ] {
        assert_kept_out(&host, word, UNTRACEABLE);
    }
    let told = [
        "/bin/sh",
        "-c",
        "cat /proc/1/comm; grep NSpid /proc/self/status | wc -w",
    ];
    for word in ["c".to_owned(), c.to_string()] {
        assert_eq!(out(&enter(&host, word, &told)), "sleep\n2\n");
    }
    // Beside the inner one something runs that is not selfdock's.
    let script = format!("{program} --name e run /bin/sh -c 'echo up; exec sleep 1000'; true");
    let mut selfdock = host.selfdock();
    let _shell = Running::start(selfdock.args(["--name", "d", "run", "/bin/sh", "-c", &script]));
    for (word, comm) in [("d", "sh"), ("e", "sleep")] {
        assert_eq!(out(&enter(&host, word, &told)), format!("{comm}\n2\n"));
    }
}

#[test]
fn an_instance_with_an_init_is_entered() {
    let host = Host::new();
    let running = Running::instance(&host, &["--init", "--name", "web"]);
    let other = Running::instance(&host, &["--name", "other"]);
    for word in [
        "web".to_owned(),
        running.pid1().to_string(),
        running.supervisor().to_string(),
    ] {
        let run = enter(&host, word, &["cat", "/proc/1/comm", "/proc/2/comm"]);
        assert_eq!(out(&run), "selfdock\nsleep\n");
    }
    // It reaps what an entered command leaves behind.
    out(&enter(
        &host,
        "web",
        &["/bin/sh", "-c", "true & sleep 0.01 & exec true"],
    ));
    eventually(|| {
        let zombies = enter(
            &host,
            "web",
            &[
                "/bin/sh",
                "-c",
                "grep -l '^State:.Z' /proc/[0-9]*/status | wc -l",
            ],
        );
        zombies.stdout == b"0\n"
    });
    drop(other);
}

#[test]
fn from_within_an_instance_those_further_inside_are_entered_and_no_other() {
    let host = Host::new();
    let outside = Running::instance(&host, &["--name", "outside"]);
    let program = host.program();
    let program = program.to_str().unwrap();
    let script = format!(
        "$0 --name inside run /bin/sleep 1000 &
         until $0 enter inside true 2>/dev/null; do sleep 0.01; done
         $0 enter inside cat /proc/1/comm
         $0 enter $! cat /proc/1/comm
         $0 enter inside $0 run /bin/echo nested
         $0 enter inside su -c id >/dev/null 2>&1 </dev/null && echo su
         for word in outside web {} {} 1 $$; do $0 enter $word id; echo $?; done 2>&1",
        outside.pid1(),
        outside.supervisor()
    );
    for levels in [1, 3] {
        let mut selfdock = host.selfdock();
        selfdock.args(["--name", "web", "run"]);
        for _ in 1..levels {
            selfdock.args([program, "run"]);
        }
        let run = selfdock
            .args(["/bin/sh", "-c", &script, program])
            .output()
            .unwrap();
        let said = out(&run);
        let rest = said.strip_prefix("sleep\nsleep\nnested\n");
        let rest = rest.unwrap_or_else(|| panic!("{levels} levels: {}", text(&run)));
        let refused =
            |word: &str, reason: &str| format!("selfdock: cannot enter {word:?}: {reason}\n124\n");
        let (pid1, supervisor) = (outside.pid1().to_string(), outside.supervisor().to_string());
        let expected = ["outside", "web", &pid1, &supervisor]
            .map(|word| refused(word, NONE))
            .concat()
            + &refused("1", NOT_ONE).repeat(2);
        assert_eq!(rest, expected, "{levels} levels");
    }
}

/// Attack: the caller owns the root filesystem, and changes it while the instance runs.
#[test]
fn a_hostile_root_filesystem_gets_nothing_to_run_with_privilege() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("rootfs");
    setuid_program(&host);
    let mine = host.uid();
    let fake = "#!/bin/sh\necho fake $(id -u)\n";
    let dir = host.path("");
    let own = rootfs.join(dir.strip_prefix("/").unwrap()).join("bin");
    fs::create_dir_all(&own).unwrap();
    host.caller_file(rootfs.join("fake"), 0o755, fake);
    let own = own.join("selfdock");
    let program = host.program();
    let (place, program) = (own.to_str().unwrap(), program.to_str().unwrap());
    let root = rootfs.to_str().unwrap();
    let shell = |script: &str| {
        let run = Command::new("/bin/sh")
            .args(["-euc", script])
            .env("R", root)
            .env("OWN", place)
            .env("DIR", &dir)
            .output();
        out(&run.unwrap());
    };
    for (before, meanwhile, is_at) in [
        ("cp $R/fake $OWN", ":", program),
        ("ln -s /fake $OWN", ":", program),
        (
            "cp $R/fake $OWN",
            "mv $OWN $OWN.old; cp $R/fake $OWN",
            program,
        ),
        (
            "cp $R/fake $OWN",
            "mv $OWN $OWN.old; ln -s /etc/x $OWN; cp $R/fake $R/etc/x",
            program,
        ),
        (":", "cp $R/fake $OWN", program),
        (":", "ln -s /proc/1/exe $OWN", "/dev/selfdock"),
        ("mkdir $OWN", ":", "/dev/selfdock"),
        (
            ":",
            "mv $R/dev $R/dev.old; mkdir $R/dev; cp $R/fake $R/dev/selfdock",
            "/dev/selfdock",
        ),
        (
            ":",
            "mv $R/dev $R/dev.old; ln -s /etc $R/dev; cp $R/fake $R/etc/selfdock",
            "/dev/selfdock",
        ),
        (
            ":",
            "mv $R/proc $R/proc.old; mkdir $R/proc",
            "/dev/selfdock",
        ),
        (
            ":",
            "mv $R/bin $R/bin.old; mkdir $R/bin; cp $R/bin.old/busybox $R/bin/id; cp $R/bin.old/busybox $R/bin/sh; cp $R/bin.old/busybox $R/bin/echo; cp $R/fake $R/bin/su",
            "/dev/selfdock",
        ),
    ] {
        shell(before);
        let running = Running::instance(&host, &["-r", root, "-m", dir.to_str().unwrap(), "/mnt"]);
        shell(meanwhile);
        let pid1 = running.pid1();
        let mut selfdock = host.selfdock();
        selfdock
            .env("PATH", "/bin")
            .arg("enter")
            .arg(pid1.to_string());
        let run = selfdock
            .args(["sh", "-c", "id -u; /mnt/euid"])
            .output()
            .unwrap();
        assert_eq!(out(&run), format!("{mine}\n{mine}\n"), "{meanwhile}");
        let mut selfdock = host.selfdock();
        selfdock
            .env("PATH", "/bin")
            .arg("enter")
            .arg(pid1.to_string());
        let run = selfdock
            .args([is_at, "run", "sh", "-c", "id -u"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        let is_refused = run.status.code() == Some(CANNOT) && said.is_empty();
        let is_fake = said == format!("fake {mine}\n");
        assert!(
            said == format!("{mine}\n") || is_refused || is_fake,
            "{meanwhile}: {}",
            text(&run)
        );
        drop(running);
        shell(
            "for n in dev proc bin; do if test -e $R/$n.old; then rm -rf $R/$n; mv $R/$n.old $R/$n; fi; done; \
               rm -rf $OWN $OWN.old $R/etc/x $R/etc/selfdock",
        );
    }
}

/// Attack: CVE-2024-21626, CVE-2019-5736, CVE-2016-9962. Who waits inside for what enters, gets hold
/// of it while it still has something of the host's.
#[test]
fn nobody_inside_gets_hold_of_who_enters() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("rootfs");
    host.root_file("outer", 0o644, "outer\n");
    let watch = host.compile("watch", WATCH);
    let marker = host.path("outer");
    let mut selfdock = host.selfdock();
    selfdock
        .arg("-r")
        .arg(&rootfs)
        .arg("-v")
        .arg(host.path(""))
        .args(["/mnt", "run"]);
    selfdock
        .arg("/mnt/watch")
        .arg(&marker)
        .stdin(Stdio::piped());
    let mut running = Running::start(&mut selfdock);
    let word = running.pid1().to_string();
    let _ = watch;
    // What has the host's root directory is found out.
    let uid = host.uid().to_string();
    let mut nsenter = match Install::is_rootless() {
        true => host.as_caller("nsenter"),
        false => Command::new("nsenter"),
    };
    nsenter.arg(format!("--pid=/proc/{word}/ns/pid"));
    match Install::is_rootless() {
        // What is in no user namespace of the caller's cannot be looked at from within one.
        true => nsenter.args([
            "--preserve-credentials",
            &format!("--user=/proc/{word}/ns/user"),
        ]),
        false => nsenter.args([
            "setpriv",
            "--clear-groups",
            "--reuid",
            &uid,
            "--regid",
            &uid,
        ]),
    };
    nsenter.args(["sleep", "0.5"]);
    assert!(nsenter.status().unwrap().success());
    running
        .child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"x")
        .unwrap();
    assert_eq!(running.line(), "control 1\n");
    for _ in 0..200 {
        assert_ended(&enter(&host, &word, &["/bin/busybox", "true"]), 0);
    }
    for _ in 0..5 {
        assert_ended(&enter(&host, &word, &["/bin/busybox", "sleep", "0.05"]), 0);
    }
    drop(running.child.stdin.take());
    let report = running.line();
    let words: Vec<&str> = report.split_whitespace().collect();
    let number = |name: &str| {
        let place = words.iter().position(|word| *word == name).expect(&report);
        words[place + 1].parse::<u64>().unwrap()
    };
    assert_eq!((number("held"), number("led")), (0, 0), "{report}");
    assert!(number("looks") > 1000, "hardly tried: {report}");
    // But at the command.
    let traced = words.iter().position(|word| *word == "commands").unwrap();
    assert_eq!(words[traced + 1..], ["1"; 9], "{report}");
    assert_eq!(running.end().code(), Some(0));
}

#[test]
fn a_working_directory_by_a_magic_link_is_refused() {
    let host = Host::new();
    let _running = Running::instance(&host, &["--name", "web"]);
    for dir in [
        "/proc/self/fd/9",
        "/proc/self/fd/0",
        "/proc/1/cwd",
        "/proc/1/root",
        "/proc/self/cwd",
        "/dev/fd/9",
    ] {
        let script = format!("exec \"$0\" enter web -C {dir} pwd 9</usr");
        let mut shell = host.as_caller("/bin/sh");
        let run = shell
            .args(["-c", &script])
            .arg(host.program())
            .output()
            .unwrap();
        let reason = match dir {
            // By then it is closed.
            "/proc/self/fd/9" | "/dev/fd/9" if text(&run).contains("No such") => {
                "No such file or directory"
            }
            _ => "Too many symbolic links encountered",
        };
        assert_refused(
            &run,
            &format!("cannot change to directory {dir:?}: {reason}"),
        );
    }
    out(&enter(&host, "web", &["-C", "/usr", "pwd"]));
}

// Terminals.

/// Prints what typing a letter into standard input is answered, in two ways.
const TYPE: &str = r#"
    #include <errno.h>
    #include <stdio.h>
    #include <sys/ioctl.h>
    int main(void) {
        char letter = 'x';
        int first = ioctl(0, TIOCSTI, &letter) ? errno : 0;
        int second = ioctl(0, TIOCLINUX, &letter) ? errno : 0;
        printf("%d %d\n", first, second);
        return fflush(stdout);
    }"#;

/// What the words print as the caller, on a terminal that controls their session.
fn on_terminal(host: &Host, words: &[&str]) -> String {
    let (_other_side, terminal) = new_terminal();
    let mut setsid = host.as_caller("setsid");
    setsid
        .args(["--ctty", "--wait"])
        .args(words)
        .stdin(Stdio::from(terminal));
    out(&setsid.output().unwrap()).to_owned()
}

#[test]
fn nothing_can_be_typed_into_the_terminal_by_an_entered_command() {
    let host = Host::new();
    let typist = host.compile("type", TYPE);
    let (typist, program) = (typist.to_str().unwrap(), host.program());
    let program = program.to_str().unwrap();
    // Started without a terminal.
    let _running = Running::instance(&host, &["--name", "web"]);
    let outside = on_terminal(&host, &[typist]);
    let allowed = fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti");
    if allowed.is_ok_and(|allowed| allowed.trim() != "0") {
        assert!(outside.starts_with("0 "), "{outside}");
    }
    assert!(!outside.ends_with(" 1\n"), "{outside}");
    for words in [
        &[program, "enter", "web", typist][..],
        &[program, "enter", "web", program, "run", typist],
        &[
            "/bin/sh",
            "-c",
            "exec 3<&0 </dev/null; exec \"$0\" enter web /bin/sh -c 'exec \"$0\" <&3' \"$1\"",
            program,
            typist,
        ],
    ] {
        assert_eq!(on_terminal(&host, words), "1 1\n", "{words:?}");
    }
    // As many filters as with `run --init`, which needs none for job control.
    let filters = ["grep", "-E", "^(Seccomp|NoNewPrivs)", "/proc/self/status"];
    let entered = on_terminal(&host, &[&[program, "enter", "web"][..], &filters].concat());
    let run = on_terminal(&host, &[&[program, "--init", "run"][..], &filters].concat());
    assert_eq!(entered, run);
    assert!(entered.contains("Seccomp:\t2"), "{entered}");
}

#[test]
fn the_terminal_has_a_usable_name() {
    let host = Host::new();
    let program = host.program();
    let program = program.to_str().unwrap();
    let (_other_side, terminal) = new_terminal();
    let mut setsid = host.as_caller("setsid");
    setsid
        .args(["--ctty", "--wait", program, "--name", "web", "run"])
        .args(WAITS);
    let _running = Running::start(setsid.stdin(Stdio::from(terminal)));
    let script = "tty; echo typed >/dev/tty; test -t 0; echo $?";
    let said = on_terminal(&host, &[program, "enter", "web", "/bin/sh", "-c", script]);
    // The mount that it is on belongs to the machine: without privilege it cannot be put there.
    let console = "/dev/console\n0\n";
    assert_eq!(
        said,
        Install::wanted().choose(console, console, "not a tty\n0\n")
    );
}

/// What an interactive shell with job control prints while `dialogue` is typed: each line as soon as
/// what stands before it has been printed.
fn in_interactive_shell(host: &Host, dialogue: &[(&str, &str)]) -> String {
    let OpenptyResult { master, slave } = openpty(None, None).unwrap();
    for side in [&master, &slave] {
        fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    let mut shell = host.as_caller("setsid");
    shell.args(["--ctty", "--wait", "env", "--default-signal", "PS1=shell:"]);
    shell.args(["bash", "--norc", "--noprofile", "--noediting", "-i"]);
    shell.env("SD", host.program()).env("DIR", host.path(""));
    let (output, error) = (slave.try_clone().unwrap(), slave.try_clone().unwrap());
    let mut child = shell
        .stdin(slave)
        .stdout(output)
        .stderr(error)
        .spawn()
        .unwrap();
    drop(shell); // and its ends of the terminal
    let mut terminal = File::from(master);
    let mut printed = String::new();
    for (awaited, typed) in dialogue {
        let begin = printed.len();
        while !printed[begin..].contains(awaited) {
            let mut bytes = [0; 256];
            wait_for_input(&terminal, &printed);
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

/// Fails if nothing comes for a long time.
fn wait_for_input(terminal: &File, printed: &str) {
    use std::os::fd::AsFd;
    let mut question = [nix::poll::PollFd::new(
        terminal.as_fd(),
        nix::poll::PollFlags::POLLIN,
    )];
    let count = nix::poll::poll(&mut question, 20_000_u16).unwrap();
    assert_eq!(count, 1, "nothing comes after: {printed}");
}

#[test]
fn keys_interrupt_and_stop_the_entered_command_alone() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    let printed = in_interactive_shell(
        &host,
        &[
            (
                "shell:",
                "$SD enter web /bin/sh -c 'echo begin; exec sleep 1000'\n",
            ),
            ("begin\r\n", "\x03"),
            ("shell:", "echo first=$?\n"),
            (
                "first=",
                "$SD enter web /bin/sh -c 'echo begin; read x; echo got $x; exit 9'\n",
            ),
            ("begin\r\n", "\x1a"),
            ("Stopped  ", "jobs; fg\n"),
            ("$SD enter web", "word\n"),
            ("got word\r\n", "echo second=$?\n"),
            ("second=", "$SD enter web cat >/dev/null &\n"),
            ("shell:", "until jobs | grep Stopped; do sleep 0.05; done\n"),
            ("Stopped  ", "kill %1; fg; echo third\n"),
            ("third\r\n", "exit\n"),
        ],
    );
    assert!(printed.contains("first=130\r\n"), "{printed}");
    assert!(printed.contains("second=9\r\n"), "{printed}");
    out(&enter(&host, "web", &["true"]));
    assert_eq!(host.processes().len(), 2);
    drop(running);
}

#[test]
fn without_a_command_a_shell_is_entered_on_a_terminal() {
    let host = Host::new();
    let _running = Running::instance(&host, &["--name", "web"]);
    let printed = in_interactive_shell(
        &host,
        &[
            ("shell:", "SHELL=/bin/sh $SD enter -e PS1 inside: web\n"),
            ("inside:", "cat /proc/1/comm\n"),
            ("sleep\r\n", "/bin/sh -c 'echo begin; exec sleep 1000'\n"),
            ("begin\r\n", "\x03"),
            ("inside:", "exit 7\n"),
            ("shell:", "echo status=$?\n"),
            ("status=", "exit\n"),
        ],
    );
    assert!(printed.contains("status=7\r\n"), "{printed}");
    assert!(!printed.contains("annot set tty"), "{printed}");
}

// Who outlives whom.

#[test]
fn when_the_supervisor_is_killed_the_entered_command_ends_and_the_instance_does_not() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    for _ in 0..10 {
        let entered = Running::entered(&host, "web");
        assert_eq!(host.processes().len(), 4);
        drop(entered);
        eventually(|| host.processes().len() == 2);
    }
    out(&enter(&host, running.pid1(), &["true"]));
}

#[test]
fn when_the_instance_ends_the_entered_command_does_and_its_supervisor_says_so() {
    let host = Host::new();
    for is_init in [false, true] {
        let options = if is_init {
            &["--name", "web", "--init"][..]
        } else {
            &["--name", "web"]
        };
        let running = Running::instance(&host, options);
        let entered: Vec<_> = (0..3).map(|_| Running::entered(&host, "web")).collect();
        send(running.supervisor(), Signal::SIGTERM);
        assert_eq!(running.end().signal(), Some(Signal::SIGTERM as i32));
        for entered in entered {
            assert_eq!(entered.end().signal(), Some(Signal::SIGKILL as i32));
        }
        eventually(|| host.processes().is_empty());
        assert_kept_out(&host, "web", NONE);
    }
}

#[test]
fn twenty_commands_at_once_do_not_disturb_each_other() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    let table = || fs::read_to_string(format!("/proc/{}/mountinfo", running.pid1())).unwrap();
    let before = table();
    for _ in 0..3 {
        let entered: Vec<Child> = (0..20)
            .map(|number| {
                let mut selfdock = host.selfdock();
                let script = format!("cat >/tmp/{number}; sleep 0.1; exit $(cat /tmp/{number})");
                selfdock
                    .args(["enter", "web", "/bin/sh", "-c", &script])
                    .stdin(Stdio::piped());
                let mut child = selfdock.spawn().unwrap();
                child
                    .stdin
                    .take()
                    .unwrap()
                    .write_all(format!("{number}").as_bytes())
                    .unwrap();
                child
            })
            .collect();
        for (number, mut child) in (0..).zip(entered) {
            assert_eq!(child.wait().unwrap().code(), Some(number));
        }
    }
    assert_eq!(table(), before);
}

/// A number that differs from one call to the next, below `most`.
fn varied(round: u64, most: u64) -> u64 {
    (round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % most
}

/// Attack: the instance ends at any moment, and its pid may become another's. The command tells where
/// it runs.
#[test]
fn nothing_runs_outside_of_an_instance_that_ends_while_it_is_entered() {
    let host = Host::new();
    host.root_dir("inside", 0o755);
    host.root_file("inside/marker", 0o644, "inside\n");
    let dir = host.path("inside");
    let is_over = AtomicBool::new(false);
    let (mut ran, mut refused, mut killed) = (0, 0, 0);
    std::thread::scope(|scope| {
        let _until = Until(&is_over);
        // Numbers are used up meanwhile; by root, whose children nobody else here collects.
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let script = "for n in 1 2 3 4 5 6 7 8; do (:); done";
                Command::new("/bin/sh")
                    .args(["-c", script])
                    .status()
                    .unwrap();
            }
        });
        let instance = || {
            let mut start = host.selfdock();
            start.arg("-m").arg(&dir).args(["/mnt", "--name", "web"]);
            Running::start(start.arg("run").args(WAITS))
        };
        let all_enter = |running: &Running| {
            let words = [
                "web".to_owned(),
                running.pid1().to_string(),
                running.supervisor().to_string(),
            ];
            words.map(|word| {
                let script = "cat /mnt/marker || echo outside; exec sleep 1000";
                let mut selfdock = host.selfdock();
                selfdock.args(["enter", &word, "/bin/sh", "-c", script]);
                selfdock.stdout(Stdio::piped()).stderr(Stdio::piped());
                selfdock.spawn().unwrap()
            })
        };
        // How long it takes, of some: this machine may be busy.
        let took = (0..5).map(|_| {
            let running = instance();
            let begin = Instant::now();
            let mut entered = all_enter(&running);
            for child in &mut entered {
                let mut line = [0; "inside\n".len()];
                let output = child.stdout.as_mut().unwrap();
                output.read_exact(&mut line).unwrap();
            }
            let took = begin.elapsed();
            drop(running);
            for mut child in entered {
                child.wait().unwrap();
            }
            host.reap();
            took
        });
        let longest = took.max().unwrap().as_micros() as u64;
        for round in 0..starts(300) as u64 {
            let mut running = instance();
            let entered = all_enter(&running);
            // Often early, however busy the machine was before.
            let most = (4 * longest) >> (round % 4);
            std::thread::sleep(Duration::from_micros(varied(round, most)));
            let victim = if round % 2 == 0 {
                running.supervisor()
            } else {
                running.pid1()
            };
            send(victim, Signal::SIGKILL);
            running.child.wait().unwrap();
            for child in entered {
                let run = child.wait_with_output().unwrap();
                let said = String::from_utf8_lossy(&run.stdout).into_owned();
                assert!(said.is_empty() || said == "inside\n", "{}", text(&run));
                match (run.status.code(), run.status.signal()) {
                    (None, Some(9)) => killed += 1,
                    (Some(CANNOT), None) => {
                        refused += 1;
                        assert!(said.is_empty(), "{}", text(&run));
                        let message = String::from_utf8_lossy(&run.stderr).into_owned();
                        let is_in_words =
                            [NONE, NOT_ONE, "it has just ended"].iter().any(|reason| {
                                message.ends_with(&format!(": {reason}\n"))
                                    && message.starts_with("selfdock: cannot enter ")
                            });
                        assert!(is_in_words, "{message}");
                    }
                    _ => panic!("{}", text(&run)),
                }
                ran += usize::from(said == "inside\n");
            }
            host.reap();
        }
    });
    assert!(
        ran > 10 && refused > 10 && killed > 10,
        "ran {ran}, refused {refused}, killed {killed}"
    );
    eventually(|| host.processes().is_empty());
}

/// Attack: who enters is killed at any moment.
#[test]
fn a_supervisor_that_is_killed_while_it_enters_leaves_nothing_running() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    let table = || fs::read_to_string(format!("/proc/{}/mountinfo", running.pid1())).unwrap();
    let before = table();
    for round in 0..200 {
        let mut selfdock = host.selfdock();
        let mut child = selfdock
            .args(["enter", "web", "sleep", "1000"])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(varied(round, 10_000)));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        eventually(|| host.processes().len() == 2);
        host.reap();
    }
    assert_eq!(table(), before);
    out(&enter(&host, "web", &["true"]));
}

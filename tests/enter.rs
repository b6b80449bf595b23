//! `enter`: a command in an instance that runs, under the same rules as its own command; and nobody
//! comes into anything else, nor anything else out.

mod host;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use host::{CANNOT, Host, assert_ended, assert_refused, mounts, new_terminal, out, set_mode, text};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Says that it runs, and goes on until it is told to end.
const WAITS: [&str; 3] = ["/bin/sh", "-c", "echo up; exec sleep 1000"];

const NONE: &str = "no such instance\nhint: selfdock ps lists the running instances";
const NOT_ONE: &str =
    "it is not an instance of selfdock\nhint: selfdock ps lists the running instances";
const OTHERS: &str = "it belongs to another user\n\
                      hint: each user can enter their own instances only, and so can root";
const UNTRACEABLE: &str = "none of its processes may be traced\n\
     hint: an instance that only holds another one cannot be entered: enter that one";
const FOREIGN: &str = "its mounts are those of another user namespace";
const CHROOT: &str = "it was started in a chroot";
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
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The only child of a process.
#[track_caller]
fn child_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap()
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

/// An /etc of the caller's, in which root has no password.
fn fake_etc(host: &Host) {
    let etc = host.caller_dir("etc");
    host.caller_dir("etc/pam.d");
    let permit = "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n\
                  session sufficient pam_permit.so\npassword sufficient pam_permit.so\n";
    for service in ["su", "su-l", "other"] {
        host.caller_file(etc.join("pam.d").join(service), 0o644, permit);
    }
    let me = host.uid();
    for (name, content) in [
        (
            "passwd",
            format!("root::0:0::/:/bin/sh\nme:x:{me}:{me}::/:/bin/sh\n"),
        ),
        ("group", format!("root:x:0:\nme:x:{me}:\n")),
        (
            "shadow",
            "root::1:0:99999:7:::\nme:*:1:0:99999:7:::\n".to_owned(),
        ),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\n".to_owned(),
        ),
    ] {
        host.caller_file(etc.join(name), 0o644, content);
    }
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

/// What looks like a supervisor and its pid 1, as which it is started with a command line of
/// selfdock's. NOSUID makes every mount nosuid; LATER is run after that; then the user id becomes
/// ID. With HIDDEN, pid 1 may not be traced, so that its mounts cannot be read, but its child may.
const LOOKALIKE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
static void wait_as_command(void) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    write(1, "up\n", 3);
    execl("/bin/sleep", "sleep", "1000", NULL);
    _exit(9);
}
int main(void) {
    struct { unsigned long long set, clr, propagation, userns; } attr = {2, 0, 0, 0};
    if (getenv("NOSUID") && syscall(442, AT_FDCWD, "/", 0x8000, &attr, sizeof attr)) return 2;
    if (getenv("LATER") && system(getenv("LATER"))) return 3;
    if (unshare(CLONE_NEWPID)) return 1;
    if (getenv("ID")) {
        int id = atoi(getenv("ID"));
        if (setresgid(id, id, id) || setresuid(id, id, id)) return 4;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 5;
    if (fork() == 0) {
        if (!getenv("HIDDEN")) wait_as_command();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fork() == 0) wait_as_command();
        prctl(PR_SET_DUMPABLE, 0);
        pause();
    }
    pause();
}
"#;

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
        let message = format!("option {option} is not for enter: the instance runs already");
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
    let script = "cat; echo error >&2; exec >&- 2>&-; cat /proc/self/stat >/dev/null; read x </dev/zero & exec sleep 1000";
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
    child.kill().unwrap();
    child.wait().unwrap();
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
        assert_refused(&run, &format!("cannot enter {word:?}: {UNTRACEABLE}"));
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
    fake_etc(&host);
    let setup = "mount --bind $DIR/etc /etc";
    let own = ["--map-root-user"];
    for (variables, reason) in [
        (&[("SETUP", setup)][..], FOREIGN),
        (&[("SETUP", setup), ("NOSUID", "")], FOREIGN),
        (&[("SETUP", setup), ("HIDDEN", "")], FOREIGN),
    ] {
        let fake = lookalike(&host, &own, variables);
        let pid1 = fake.pid1();
        assert!(
            variables.contains(&("HIDDEN", ""))
                || is_listed(&host, pid1)
                || !variables.contains(&("NOSUID", ""))
        );
        if !variables.contains(&("NOSUID", "")) {
            let su = believed(&host, pid1, &["su", "-c", "id -u"]);
            assert_eq!(String::from_utf8_lossy(&su.stdout), "0\n", "{}", text(&su));
        }
        let (listed, reason) = (is_listed(&host, pid1), reason);
        println!("{variables:?} listed: {listed}");
        for word in [
            pid1.to_string(),
            fake.supervisor().to_string(),
            "fake".to_owned(),
        ] {
            let run = enter(&host, &word, &["su", "-c", "id"]);
            let reason = match listed {
                true => reason,
                false if word == "fake" => NONE,
                false => NOT_ONE,
            };
            assert_refused(&run, &format!("cannot enter {word:?}: {reason}"));
        }
        send(pid1, Signal::SIGKILL);
        drop(fake);
        eventually(|| host.processes().is_empty());
    }
}

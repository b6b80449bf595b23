//! `--init`: selfdock as pid 1, and the command as an ordinary process. What makes no difference is
//! in transparency.rs.

mod host;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use host::{Host, assert_ended, out};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Starts `selfdock LINE`, of which `$SD` is selfdock's path, and waits for one line of its output.
fn start(host: &Host, line: &str, script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let program = host.program();
    let words = line.split_whitespace();
    let mut child = selfdock(host)
        .args(words.map(|word| word.replace("$SD", program.to_str().unwrap())))
        .args(["sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut ready = String::new();
    output.read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");
    (child, output)
}

/// selfdock for the caller, with every signal treated as usual, whatever this test was started by.
fn selfdock(host: &Host) -> Command {
    let mut env = host.as_caller("env");
    env.arg("--default-signal").arg(host.program());
    env
}

fn field(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_default().trim().to_owned()
}

/// The caller's process that is pid 1 of its namespace, so many levels down.
fn pid_1(host: &Host, level: usize) -> u32 {
    let is_it = |pid: &u32| {
        let numbers = field(*pid, "NSpid:");
        let numbers: Vec<_> = numbers.split_whitespace().collect();
        numbers.len() == level + 1 && numbers.last() == Some(&"1")
    };
    host.processes().into_iter().find(is_it).unwrap()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_command_is_pid_2_and_selfdock_pid_1() {
    let host = Host::new();
    let script = "echo $$ $PPID $(cat /proc/1/comm)";
    let run = host.run(["--init", "run", "sh", "-c", script]);
    assert_eq!(out(&run), "2 1 selfdock\n");
    let run = host.run(["run", "sh", "-c", "echo $$ $PPID"]);
    assert_eq!(out(&run), "1 0\n");
}

#[test]
fn the_command_may_end_itself_by_a_signal() {
    let host = Host::new();
    for signal in [1, 2, 3, 6, 9, 11, 13, 14, 15, 31, 34, 64] {
        let script = format!("kill -{signal} $$");
        let mut selfdock = selfdock(&host);
        selfdock.args(["--init", "run", "sh", "-c", &script]);
        assert_ended(&selfdock.output().unwrap(), -signal);
        // Within another instance selfdock cannot die of it: see signals.rs.
        let program = host.program();
        let words = ["--init", "run", program.to_str().unwrap(), "run", "sh"];
        let run = host.run(words.into_iter().chain(["-c", "exit 3"]));
        assert_ended(&run, 3);
    }
}

#[test]
fn no_zombie_stays() {
    let host = Host::new();
    // Each subshell ends at once and leaves its child to pid 1; some die of signals.
    let script = "for n in $(seq 100); do (sh -c 'kill -40 $$' & sh -c : &) ; done
        sleep 0.2; for n in $(seq 100); do
            ! grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null && echo clean && exit 7; sleep 0.1
        done";
    let run = host.run(["--init", "run", "sh", "-c", script]);
    assert_eq!(run.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&run.stdout).ends_with("clean\n"));
}

#[test]
fn what_the_command_leaves_behind_ends_with_it() {
    let host = Host::new();
    let script = "setsid nohup sleep 1000 >/dev/null 2>&1 & trap '' TERM; exit 5";
    let run = host.run(["--init", "run", "sh", "-c", script]);
    assert_eq!(run.status.code(), Some(5));
    host.assert_nothing_runs();
}

#[test]
fn the_instance_ends_with_its_supervisor_and_with_its_pid_1() {
    let host = Host::new();
    let script = "sleep 1000 & setsid sleep 1001 & echo ready; wait";
    for line in [
        "--init run",
        "--init run $SD --init run",
        "run $SD --init run",
        "--init run $SD run $SD --init run",
    ] {
        let (mut supervisor, _output) = start(&host, line, script);
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        host.assert_nothing_runs();

        let (mut supervisor, _output) = start(&host, line, script);
        let pid = Pid::from_raw(pid_1(&host, 1).cast_signed());
        kill(pid, Signal::SIGKILL).unwrap();
        let status = supervisor.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{line}: {status}");
        host.assert_nothing_runs();
    }
}

#[test]
fn killed_while_it_starts_it_leaves_nothing() {
    let host = Host::new();
    for delay in 0..60 {
        let mut supervisor = host
            .selfdock()
            .args(["--init", "run", "sleep", "1000"])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(delay * 100));
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        host.assert_nothing_runs();
    }
}

#[test]
fn a_signal_reaches_the_command_once_whatever_pid_1_is() {
    let host = Host::new();
    let script = "trap 'n=x$n; echo got' USR1; trap 'echo $n; exit 9' TERM; echo ready
        while :; do sleep 0.01; done";
    let (mut supervisor, output) = start(&host, "--init run", script);
    let mut lines = output.lines();
    for _ in 0..5 {
        kill(
            Pid::from_raw(supervisor.id().cast_signed()),
            Signal::SIGUSR1,
        )
        .unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "got");
    }
    kill(
        Pid::from_raw(supervisor.id().cast_signed()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "xxxxx");
    assert_eq!(supervisor.wait().unwrap().code(), Some(9));
}

/// Attack: pid 1 is a process of the caller's own, inside, and once had privilege.
#[test]
fn the_command_cannot_look_into_pid_1() {
    let host = Host::new();
    let script = "for file in fd/0 cwd root exe ns/mnt; do
            readlink /proc/1/$file && echo seen $file; done
        for file in maps environ mem auxv; do
            head -c 1 /proc/1/$file >/dev/null && echo read $file; done
        readlink /proc/$$/exe /proc/$$/ns/mnt >/dev/null && echo own";
    let run = host
        .selfdock()
        .args(["--init", "run", "sh", "-c", script])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout), "own\n");
}

#[test]
fn pid_1_has_no_privilege_and_holds_only_what_it_needs() {
    let host = Host::new();
    let (mut supervisor, _output) = start(&host, "--init run", "echo ready; exec sleep 1000");
    let pid = pid_1(&host, 1);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(pid, set), "0000000000000000", "{set}");
    }
    assert_eq!(field(pid, "NoNewPrivs:"), "1");
    // A signalfd, /proc, the command's pidfd, and the leash to the supervisor.
    let held = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    wait_until("pid 1 closes what it does not need", || held() == 4);
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
}

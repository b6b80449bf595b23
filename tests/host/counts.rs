//! What a start costs, in numbers that do not depend on how busy the machine is: system calls, page
//! faults, memory.
//!
//! On a host of few mounts, by a program that is set-user-id: covers are as many as the host has
//! mounts, and rootless is asked for by its option. `cargo bench -- --write-baseline` writes them to
//! benches/baseline.json, and tests/counts.rs compares.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::trace::{self, Call};
use super::{Host, Install, PLAIN};

/// The command that is started.
pub const TRUE: &str = "/bin/true";

/// What they are counted for, and the options of it.
pub const MODES: [(&str, &[&str]); 2] = [("setuid", &[]), ("userns", &["--privilege", "userns"])];

/// Names of what is counted, such as `setuid: system calls: capset`, and how many there are.
pub type Counts = BTreeMap<String, u64>;

/// Everything, in both modes.
pub fn all() -> Counts {
    let mut counts = Counts::from([("bytes of the program".to_owned(), program_size())]);
    for (mode, options) in MODES {
        counts.extend(system_calls(mode, options));
        counts.extend(page_faults(mode, options));
    }
    counts
}

/// The median of so many times everything: some differ by a few from time to time.
pub fn typical(times: usize) -> Counts {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for _ in 0..times {
        for (name, count) in all() {
            found.entry(name).or_default().push(count);
        }
    }
    let median = |(name, mut counts): (String, Vec<u64>)| {
        counts.sort_unstable();
        (name, counts[counts.len() / 2])
    };
    found.into_iter().map(median).collect()
}

/// A machine with selfdock installed set-user-id, however others have it.
fn host() -> Host {
    let host = Host::new();
    host.install_as(Install::SetUserId, &host.program());
    host.compile("launch", include_str!("c/launch.c"));
    host
}

/// A start of it there, with the same environment and descriptors whoever tests.
fn start(host: &Host, options: &[&str], command: &str) -> Command {
    let mut start = host.on_host(PLAIN, host.path("launch"));
    start.arg(host.program()).args(options);
    start.args(["run", command]);
    start
}

/// How large the program under test is.
pub fn program_size() -> u64 {
    fs::metadata(super::binary()).unwrap().len()
}

/// How often each system call is made by all processes of a start, until the command begins.
pub fn system_calls(mode: &str, options: &[&str]) -> Counts {
    let host = host();
    let calls = traced(&host.path("calls"), &start(&host, options, TRUE));
    let mut counts = Counts::new();
    for call in of_start(&calls, &host.program()) {
        *counts
            .entry(format!("{mode}: system calls: {}", call.name))
            .or_default() += 1;
    }
    counts
}

/// What `command` and all that comes of it ask of the kernel: root's strace, which takes no privilege
/// from a set-user-id program.
pub fn traced(log: &Path, command: &Command) -> Vec<Call> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o"]).arg(log);
    strace.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        value.map(|value| strace.env(name, value));
    }
    let run = strace.current_dir("/").stdin(Stdio::null()).output();
    let run = run.expect("strace is needed");
    assert!(run.status.success(), "{}", super::text(&run));
    trace::read(log)
}

/// The calls from the first exec of `program` on, of every process until it executes the command.
pub fn of_start<'a>(calls: &'a [Call], program: &Path) -> Vec<&'a Call> {
    let is_of = |call: &&Call| {
        call.executes()
            .is_some_and(|path| Path::new(path) == program)
    };
    let begin = calls.iter().position(|call| is_of(&call));
    let mut ended = Vec::new();
    let mut start = Vec::new();
    for call in calls.iter().skip(begin.expect("it is executed")) {
        if ended.contains(&&call.pid) {
            continue;
        }
        start.push(call);
        if call.executes() == Some(TRUE) {
            ended.push(&call.pid);
        }
    }
    assert!(!ended.is_empty(), "the command is not executed");
    start
}

/// Page faults of a whole start, the command's included; and those of a supervisor by the time when it
/// waits, with what it has in memory: pages of its own, and all, of which those of the program's file
/// are shared with whoever else runs it.
pub fn page_faults(mode: &str, options: &[&str]) -> Counts {
    let host = host();
    let run = start(&host, options, TRUE).output().unwrap();
    let faults = super::out(&run).trim().parse().unwrap();

    let mut waiting = start(&host, options, "/bin/cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = waiting.stdin.take().unwrap();
    let mut output = BufReader::new(waiting.stdout.take().unwrap());
    let mut echo = String::new();
    input.write_all(b"it runs\n").unwrap();
    output.read_line(&mut echo).unwrap();
    assert_eq!(echo, "it runs\n");
    let supervisor = child_of(waiting.id());
    wait_until_it_waits(supervisor);
    let stat = read(supervisor, "stat");
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let waiting_faults = rest.split(' ').nth(7).unwrap().parse().unwrap();
    let private = kibibytes(&read(supervisor, "smaps_rollup"), "Private_Dirty:");
    let resident = kibibytes(&read(supervisor, "smaps_rollup"), "Rss:");
    drop(input);
    assert!(waiting.wait().unwrap().success());
    [
        ("page faults of a start", faults),
        ("page faults of a waiting supervisor", waiting_faults),
        ("own KiB of a waiting supervisor", private),
        ("resident KiB of a waiting supervisor", resident),
    ]
    .map(|(name, count)| (format!("{mode}: {name}"), count))
    .into()
}

fn read(pid: u32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap()
}

fn child_of(pid: u32) -> u32 {
    let children = read(pid, &format!("task/{pid}/children"));
    children.trim().parse().expect("one child")
}

/// Until it has done all that comes before the first poll.
fn wait_until_it_waits(supervisor: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    let waits = || {
        let status = read(supervisor, "status");
        status.contains("\nState:\tS") && status.contains("\nSeccomp:\t2\n")
    };
    while !waits() {
        assert!(Instant::now() < deadline, "it does not wait");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The sum of what the lines that begin so tell.
fn kibibytes(text: &str, begin: &str) -> u64 {
    let lines = text.lines().filter(|line| line.starts_with(begin));
    lines
        .map(|line| line.split_whitespace().nth(1).unwrap())
        .map(|number| number.parse::<u64>().unwrap())
        .sum()
}

/// As JSON, one count a line.
pub fn to_json(counts: &Counts) -> String {
    let lines: Vec<_> = counts
        .iter()
        .map(|(name, count)| format!("  \"{name}\": {count}"))
        .collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// What `to_json` has written.
pub fn from_json(text: &str) -> Counts {
    let lines = text.lines().filter(|line| line.starts_with("  "));
    let counts = lines.map(|line| {
        let (name, count) = line.trim().rsplit_once(": ").unwrap();
        let count = count.trim_end_matches(',').parse().unwrap();
        (name.trim_matches('"').to_owned(), count)
    });
    counts.collect()
}

//! Golden lists: what of a process differs inside, line by line, which descriptors the command has,
//! and which calls a start is made of. What is not in the list is a failure, and so is what is in it
//! and does not happen.

mod host;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use host::trace::{self, Call, of_selfdock};
use host::{Host, Install, PLAIN, out};

/// An instance that lives until its standard input is closed.
fn instance(host: &Host, name: &str, options: &[&str]) -> Child {
    let mut command = host.selfdock();
    command.args(options).args(["--name", name, "run"]);
    command.args(["/bin/sh", "-c", "echo ready; read line"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let said = BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line);
    assert_eq!((said.unwrap(), line.as_str()), (6, "ready\n"));
    child
}

/// Ends it, and waits.
fn end(mut child: Child) {
    drop(child.stdin.take());
    child.wait().unwrap();
}

// The status of a process.

/// What says how large a process happens to be and how it was scheduled, not what it may do.
const INCIDENTAL: [&str; 5] = [
    "Vm",
    "Rss",
    "voluntary_ctxt_switches",
    "nonvoluntary_ctxt_switches",
    // The caller's signals that are queued anywhere, and the size of a table.
    "SigQ",
];

/// The lines of a status, by name.
fn lines(status: &str) -> BTreeMap<&str, &str> {
    let lines = status.lines().map(|line| line.split_once(':').unwrap());
    let lines = lines.map(|(name, value)| (name, value.trim()));
    lines
        .filter(|(name, _)| !INCIDENTAL.iter().any(|kind| name.starts_with(kind)))
        .collect()
}

/// The lines that differ, or are not in both, with what they are inside.
fn difference(outside: &str, inside: &str) -> BTreeMap<String, String> {
    let (outside, inside) = (lines(outside), lines(inside));
    let lost = outside.keys().filter(|name| !inside.contains_key(*name));
    let lost = lost.map(|name| ((*name).to_owned(), "lost".to_owned()));
    let differ = inside
        .iter()
        .filter(|(name, value)| outside.get(*name) != Some(*value))
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    lost.chain(differ).collect()
}

/// What the list says: the process is number `pid` of the instance's, in nobody's group or session
/// that can be seen from there, and this of its capabilities and filters, and nothing else.
fn golden(pid: &str, parent: &str, more: &[(&str, u64)]) -> BTreeMap<String, String> {
    let numbers = ["Tgid", "Pid", "NStgid", "NSpid"].map(|name| (name, pid));
    let others = [("PPid", parent), ("NSpgid", "0"), ("NSsid", "0")];
    let numbers = numbers.into_iter().chain(others);
    let numbers = numbers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let sets = more.iter().map(|(name, value)| match *name {
        "NoNewPrivs" | "Seccomp" | "Seccomp_filters" => ((*name).to_owned(), value.to_string()),
        name => (name.to_owned(), format!("{value:016x}")),
    });
    numbers.chain(sets).collect()
}

/// A set of capabilities of this status.
fn set(status: &str, name: &str) -> u64 {
    u64::from_str_radix(lines(status)[name], 16).unwrap()
}

/// CAP_SETPCAP, CAP_SYS_CHROOT, CAP_SYS_ADMIN: what a nested selfdock needs.
const FOR_NESTING: u64 = 1 << 8 | 1 << 18 | 1 << 21;
/// What root's command keeps: see SECURITY.md.
const FOR_ROOT: u64 = 0x8004_00fb;
const STATUS: [&str; 2] = ["/bin/cat", "/proc/self/status"];
/// With a group and a session that have numbers, whoever runs the tests: theirs may have begun outside
/// of the pid namespace.
const OUTSIDE: [&str; 3] = ["/usr/bin/setsid", STATUS[0], STATUS[1]];

#[test]
fn the_status_of_the_command_differs_from_outside_in_the_listed_lines_alone() {
    let host = Host::new();
    let program = host.program();
    let program = program.to_str().unwrap();
    let outside = || host.as_caller(OUTSIDE[0]).args(&OUTSIDE[1..]).output();
    let (outside, again) = (outside().unwrap(), outside().unwrap());
    let outside = out(&outside);
    let noise = difference(outside, out(&again));
    let numbers = ["NSpgid", "NSsid", "NStgid", "NSpid", "Pid", "Tgid"];
    assert!(
        noise.keys().all(|name| numbers.contains(&name.as_str())),
        "{noise:?}"
    );

    let bounding = set(outside, "CapBnd") & FOR_NESTING;
    assert_ne!(set(outside, "CapBnd"), bounding);
    // Whoever nests in a user namespace makes another; there are no groups here that would show.
    let usual = [("CapBnd", Install::wanted().choose(bounding, bounding, 0))];
    let alone = [("CapBnd", 0)];
    let mut nothing = vec![("CapBnd", 0), ("NoNewPrivs", 1)];
    // One filter more than this test has been started with.
    let filters: u64 = lines(outside)["Seccomp_filters"].parse().unwrap();
    nothing.push(("Seccomp_filters", filters + 1));
    if filters == 0 {
        nothing.push(("Seccomp", 2));
    }
    let web = instance(&host, "web", &[]);
    let inert = instance(&host, "inert", &["--no-nest"]);
    for (words, pid, parent, more) in [
        (&["run"][..], "1", "0", &usual[..]),
        (&["build"], "1", "0", &usual),
        (&["--init", "run"], "2", "1", &usual),
        (&["--privilege", "userns", "run"], "1", "0", &alone),
        (&["--no-nest", "run"], "1", "0", &nothing),
        (&["--no-nest", "--init", "build"], "2", "1", &nothing),
        (&["run", program, "run"], "1", "0", &usual),
        (
            &["--init", "run", program, "--init", "run"],
            "2",
            "1",
            &usual,
        ),
        (&["enter", "web"], "2", "0", &usual),
        (&["enter", "inert"], "2", "0", &nothing),
    ] {
        let inside = host.run([words, &STATUS].concat());
        let found = difference(outside, out(&inside));
        assert_eq!(found, golden(pid, parent, more), "{words:?}");
    }
    end(web);
    end(inert);
}

#[test]
fn the_status_of_roots_command_differs_from_outside_in_the_listed_lines_alone() {
    let host = Host::new();
    let as_root = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        out(&command.output().unwrap()).to_owned()
    };
    let outside = as_root(&OUTSIDE);
    let kept = set(&outside, "CapBnd") & FOR_ROOT;
    let sets = ["CapPrm", "CapEff", "CapBnd"].map(|name| (name, kept));
    assert!(sets.iter().all(|(name, kept)| set(&outside, name) != *kept));
    let program = host.program();
    for (words, pid, parent) in [
        (&["run"][..], "1", "0"),
        (&["build"], "1", "0"),
        (&["--init", "run"], "2", "1"),
    ] {
        let words = [&[program.to_str().unwrap()], words, &STATUS].concat();
        let found = difference(&outside, &as_root(&words));
        assert_eq!(found, golden(pid, parent, &sets), "{words:?}");
    }
}

// Descriptors.

/// `only CLOSED PROGRAM ARG...`: executes PROGRAM with descriptors 0 to 2 alone, without those whose
/// numbers are in CLOSED.
const ONLY: &str = r#"
    #include <string.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        for (int number = 0; number < 4096; number++)
            if (number > 2 || strchr(argv[1], '0' + number)) close(number);
        execv(argv[2], argv + 2);
        return 99;
    }"#;

/// Says which it has, without opening any.
const OPEN: &str = "n=0
    while [ $n -lt 256 ]; do
        [ -L /proc/self/fd/$n ] && printf '%s ' $n
        n=$((n + 1))
    done";

/// tests/inheritance.rs has the rest: which of the caller's others pass, and how.
#[test]
fn the_command_has_the_three_descriptors_or_fewer_however_it_is_started() {
    let host = Host::new();
    let program = host.program();
    let program = program.to_str().unwrap();
    let only = host.compile("only", ONLY);
    let web = instance(&host, "web", &[]);
    for words in [
        &["run"][..],
        &["build"],
        &["--init", "run"],
        &["--no-nest", "run"],
        &["--privilege", "userns", "run"],
        &["--name", "other", "run"],
        &["run", program, "run"],
        &["--init", "run", program, "--init", "run"],
        &["enter", "web"],
    ] {
        for (closed, expected) in [("", "0 1 2 "), ("0", "1 2 "), ("2", "0 1 "), ("02", "1 ")] {
            // Nobody nests in an instance of root's, and root's own has another name.
            let is_callers_alone = words.contains(&program) || words.contains(&"web");
            for is_root in [false, !is_callers_alone] {
                let mut command = match is_root {
                    true => Command::new(&only),
                    false => host.as_caller(&only),
                };
                command.args([closed, program]).args(words);
                command.args(["/bin/sh", "-c", OPEN]).stdin(Stdio::null());
                let run = command.output().unwrap();
                assert_eq!(out(&run), expected, "{words:?} {closed} {is_root}");
            }
        }
    }
    end(web);
}

// The calls of a start.

/// One call of a row: its name, what it is given, and whether it may be absent.
#[derive(Debug)]
struct Listed {
    name: String,
    arguments: Vec<String>,
    is_optional: bool,
}

impl Listed {
    /// `NAME` or `NAME(ARGUMENT, ...)`.
    fn parse(text: &str, is_optional: bool) -> Self {
        let (name, arguments) = text.split_once('(').unwrap_or((text, ")"));
        let arguments = arguments.strip_suffix(')').expect(text).split(", ");
        let arguments = arguments.filter(|argument| !argument.is_empty());
        Self {
            name: name.to_owned(),
            arguments: arguments.map(str::to_owned).collect(),
            is_optional,
        }
    }

    /// Of an argument with `…` in it, what is before and behind must be there.
    fn is(&self, call: &Seen) -> bool {
        let is_given = |argument: &String| match argument.split_once('…') {
            None => call.text.contains(argument),
            Some((before, behind)) => {
                let rest = call.text.split_once(before);
                rest.is_some_and(|(_, rest)| rest.contains(behind))
            }
        };
        self.name == call.name && self.arguments.iter().all(is_given)
    }
}

/// A row of the document's tables.
#[derive(Debug)]
struct Row {
    step: String,
    calls: Vec<Listed>,
    effective: String,
}

/// The rows below a heading of docs/operation.md.
fn table(heading: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operation.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, text) = text.split_once(&format!("\n### {heading}\n")).unwrap();
    let text = text.split("\n#").next().unwrap();
    let rows = text.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [step, calls, effective, why] = cells[..] else {
            panic!("{line}")
        };
        assert_ne!(why.is_empty(), calls != AS_ABOVE, "{line}");
        let parts: Vec<&str> = calls.split('`').collect();
        let calls = parts.chunks_exact(2).map(|pair| {
            assert!(
                ["", ",", "perhaps", ", perhaps"].contains(&pair[0].trim()),
                "{line}"
            );
            Listed::parse(pair[1], pair[0].contains("perhaps"))
        });
        Row {
            step: step.to_owned(),
            calls: calls.collect(),
            effective: effective.to_owned(),
        }
    })
    .collect()
}

/// What a table of differences says of a step that has none: the next rows follow it.
const AS_ABOVE: &str = "as above";

/// The rows of the first heading, if need be with what those below the second heading say instead.
fn table_of_mode(heading: &str, in_user_namespace: &str) -> Vec<Row> {
    let mut rows = table(heading);
    if !Install::is_rootless() {
        return rows;
    }
    let mut at = 0;
    let mut differences = table(in_user_namespace).into_iter().peekable();
    while let Some(first) = differences.next() {
        let step = first.step.clone();
        let mut instead = vec![first];
        while let Some(row) = differences.next_if(|row| row.step == step) {
            instead.push(row);
        }
        let is_it = |row: &Row| row.step == step;
        let place = rows.iter().position(is_it);
        let begin = place.unwrap_or(at);
        let end = place.map_or(at, |_| 1 + rows.iter().rposition(is_it).unwrap());
        if instead[0].effective.is_empty() {
            at = end;
        } else {
            at = begin + instead.len();
            rows.splice(begin..end, instead);
        }
    }
    rows
}

/// A call as the tables have it, with the effective set that it is made with.
#[derive(Debug)]
struct Seen {
    name: String,
    text: String,
    effective: String,
}

/// Does it ask, or give back, by a descriptor or of the process alone?
fn changes_nothing(call: &Call) -> bool {
    let asks = ["capget", "fcntl", "close", "fstatfs", "getuid"];
    let of_memory = ["brk", "mmap", "munmap", "mremap"];
    let by_descriptor = ["statx", "newfstatat", "readlinkat"].contains(&call.name.as_str());
    by_descriptor && call.path() == Some("")
        || asks.contains(&call.name.as_str())
        || of_memory.contains(&call.name.as_str())
        || call.name == "prctl" && (call.text.contains("_GET_") || call.text.contains("_READ"))
}

/// Does it change who a process is, what it may do, or what there is for it?
fn is_of_privilege(call: &Call) -> bool {
    let names = [
        "capset",
        "prctl",
        "unshare",
        "setns",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "seccomp",
        "clone",
        "clone3",
        "fork",
        "vfork",
        "fchdir",
        "fchmod",
        "fchown",
        "bpf",
        "ptrace",
        "keyctl",
        "ioperm",
        "iopl",
        "setrlimit",
        "personality",
        "sethostname",
        "chroot",
        "bind",
        "listen",
    ];
    let sets_ids =
        call.name.starts_with("set") && call.name.ends_with("id") || call.name == "setgroups";
    names.contains(&call.name.as_str()) || sets_ids
}

/// The capabilities of a set that capset(2) is given, as strace writes it: `effective=1<<CAP_...`.
fn capabilities(text: &str, set: &str) -> String {
    let (_, rest) = text.split_once(&format!("{set}=")).unwrap();
    match rest.split([',', '}']).next().unwrap() {
        "0" => "none".to_owned(),
        set => set.replace("1<<", "").replace('|', " "),
    }
}

/// What the tables have to have of one process, which begins with these sets.
fn of_the_tables(calls: &[&Call], mut effective: String, mut permitted: String) -> Vec<Seen> {
    let mut seen = Vec::new();
    for call in calls {
        let mut text = call.text.clone();
        let mut is_seen = call.takes_a_path() || is_of_privilege(call) || effective != "none";
        if call.name == "fork" {
            // The same by another C library.
            "clone(SIGCHLD)".clone_into(&mut text);
        }
        if call.name == "capset" {
            effective = capabilities(&call.text, "effective");
            let now = capabilities(&call.text, "permitted");
            text = format!("capset(permitted: {now})");
            is_seen = now != permitted;
            permitted = now;
        }
        if is_seen && !changes_nothing(call) {
            seen.push(Seen {
                name: text.split('(').next().unwrap().to_owned(),
                text,
                effective: effective.clone(),
            });
        }
        if call.name == "setresuid" {
            "none".clone_into(&mut effective);
        }
    }
    seen
}

/// How many of `calls` these rows are: none if a call of theirs is missing.
fn count(rows: &[Row], calls: &[Seen]) -> usize {
    let mut at = 0;
    for row in rows {
        for listed in &row.calls {
            let call = calls.get(at);
            let is_it = call.is_some_and(|call| listed.is(call) && call.effective == row.effective);
            match (is_it, listed.is_optional) {
                (true, _) => at += 1,
                (false, true) => {}
                (false, false) => return 0,
            }
        }
    }
    at
}

/// Fails unless the calls are those of the rows, in order. Neighbours of the same step with "each"
/// are gone through as often as they are met with, but once at least.
#[track_caller]
fn assert_are(calls: &[Seen], table: &[Row]) {
    let mut at = 0;
    for rows in table.chunk_by(|one, next| one.step == next.step && one.step.contains("each")) {
        let is_loop = rows[0].step.contains("each");
        let must = rows
            .iter()
            .flat_map(|row| &row.calls)
            .any(|listed| !listed.is_optional);
        let mut first = count(rows, &calls[at..]);
        assert!(
            first > 0 || !must,
            "{rows:#?}\nare not what comes: {:#?}",
            calls[at..].iter().take(5).collect::<Vec<_>>()
        );
        at += first;
        while is_loop && first > 0 {
            first = count(rows, &calls[at..]);
            at += first;
        }
    }
    assert!(calls[at..].is_empty(), "in no table: {:#?}", &calls[at..]);
}

/// The start that the document describes, traced; `options` are strace's.
fn start(host: &Host, options: &[&str]) -> Vec<Call> {
    let log = host.path("trace");
    let inner = host.on_host(PLAIN, host.program());
    // Without a controlling terminal, wherever the tests are run.
    let mut command = Command::new("setsid");
    command.args(["--wait", "strace", "-f", "-qq", "-s", "4096", "-o"]);
    command.arg(&log).args(options);
    command.arg(inner.get_program()).args(inner.get_args());
    command.args(["--map", "/usr", "/mnt", "run", "/bin/echo", "ran"]);
    command.envs(
        inner
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command
        .env_remove("RUST_BACKTRACE")
        .current_dir("/")
        .stdin(Stdio::null());
    assert_eq!(out(&command.output().unwrap()), "ran\n");
    let mut starts = of_selfdock(&trace::read(&log));
    assert_eq!(starts.len(), 1);
    starts.remove(0)
}

/// Fails unless these are the calls that the document lists.
#[track_caller]
fn assert_is_as_documented(start: &[Call]) {
    let supervisor = start[0].pid.as_str();
    let (outer, inner): (Vec<&Call>, Vec<&Call>) = start
        .iter()
        .skip(1)
        .partition(|call| call.pid == supervisor);
    let mut outer_table = table_of_mode(
        "The caller's process, one by one",
        "In a user namespace: the caller's process",
    );
    // File capabilities are permitted, and not effective.
    let all = Install::wanted().choose("all", "none", "none");
    for row in outer_table.iter_mut().filter(|row| row.effective == "all") {
        all.clone_into(&mut row.effective);
    }
    let outer = of_the_tables(&outer, all.to_owned(), String::new());
    assert_are(&outer, &outer_table);
    let permitted = "CAP_SETPCAP CAP_SYS_ADMIN".to_owned();
    let inner = of_the_tables(&inner, "none".to_owned(), permitted);
    let inner_table = table_of_mode("The child, one by one", "In a user namespace: the child");
    assert_are(&inner, &inner_table);
}

#[test]
fn a_start_is_made_of_the_calls_that_the_document_lists_in_that_order_and_of_no_other() {
    let host = Host::new();
    let first = start(&host, &[]);
    assert_is_as_documented(&first);

    // As on a machine that restricts user namespaces: what cannot be read counts as that.
    let supervisor = &first[0].pid;
    let mut opening = first
        .iter()
        .filter(|call| call.pid != *supervisor && call.name == "openat2");
    let is_setting = |call: &Call| call.text.contains("apparmor_restrict_unprivileged_userns");
    let number = 1 + opening.position(is_setting).unwrap();
    let inject = format!("inject=openat2:error=EACCES:when={number}");
    let restricted = start(&host, &["-e", &inject]);
    assert_is_as_documented(&restricted);
    let filters = restricted.iter().filter(|call| call.name == "seccomp");
    assert_eq!(
        filters.count(),
        3,
        "the supervisor's two calls, and the child's"
    );
}

/// Also by a second thread, or a process that forks at that moment, of which there is none today.
#[test]
fn every_descriptor_of_selfdocks_is_closed_by_exec_from_the_moment_that_it_is_there() {
    const MAKERS: [&str; 9] = [
        "open_tree",
        "fsopen",
        "fsmount",
        "openat",
        "openat2",
        "open",
        "signalfd4",
        "socketpair",
        "epoll_create1",
    ];
    let host = Host::new();
    let mut made = 0;
    for call in start(&host, &[]) {
        let is_maker = MAKERS.contains(&call.name.as_str());
        if is_maker && !call.text.contains(" = -1 ") {
            assert!(call.text.contains("CLOEXEC"), "{call:?}");
            made += 1;
        }
    }
    assert!(made > 40, "{made}");
}

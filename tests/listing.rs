//! `--name` and `ps`: what runs is found without a file, a name is had by one instance at a time,
//! and what a stranger does keeps nobody from either.

mod host;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use host::terminal::PATIENCE;
use host::{Host, assert_ended, assert_refused, out, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Says that it runs, and goes on until it is told to end.
const WAITS: [&str; 3] = ["/bin/sh", "-c", "echo up; exec sleep 1000"];

/// A program that has said that it runs, and is killed at the end.
struct Running(Child);

impl Running {
    /// Starts it and reads its first line.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let running = Self(child);
        assert_eq!(line, "up\n");
        running
    }

    /// `selfdock OPTIONS run` as the caller, with a command that waits.
    fn instance<W: AsRef<OsStr>>(host: &Host, options: &[W]) -> Self {
        let mut selfdock = host.selfdock();
        selfdock.args(options).arg("run").args(WAITS);
        Self::start(&mut selfdock)
    }

    fn supervisor(&self) -> u32 {
        self.0.id()
    }

    fn pid1(&self) -> u32 {
        child_of(self.supervisor())
    }

    /// Kills this process, and waits for the supervisor's end.
    fn kill(mut self, pid: u32) {
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
        let status = self.0.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The only child of a process.
fn child_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap()
}

/// Tries until it is so, for half a minute.
#[track_caller]
fn eventually(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within half a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Fails unless that name was refused for being in use.
#[track_caller]
fn assert_in_use(run: &Output, name: &str) {
    assert_ended(run, 123);
    assert_eq!(
        String::from_utf8_lossy(&run.stderr),
        format!(
            "selfdock: cannot name the instance \"{name}\": an instance of that name is running\n\
             hint: selfdock ps lists the running instances\n"
        )
    );
    assert!(run.stdout.is_empty(), "{}", text(run));
}

/// What Python's parser makes of a listing: a line for each instance, indented by its depth, of
/// its pid, uid, name, root filesystem and command; and an age that is not one is an error.
fn parsed(json: &[u8]) -> Vec<String> {
    let script = r#"
import json, sys

def show(instances, depth):
    for instance in instances:
        age = instance.pop("age")
        assert type(age) is int and 0 <= age < 60, age
        inner = instance.pop("instances")
        assert list(instance) == ["pid", "uid", "name", "rootfs", "command"], instance
        print("  " * depth + json.dumps(list(instance.values())))
        show(inner, depth + 1)

show(json.load(sys.stdin.buffer), 0)
"#;
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", script]);
    python.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = python.stderr(Stdio::piped()).spawn().unwrap();
    python.stdin.take().unwrap().write_all(json).unwrap();
    let output = python.wait_with_output().unwrap();
    out(&output).lines().map(str::to_owned).collect()
}

/// The listing that the caller gets.
fn listed(host: &Host) -> Vec<String> {
    parsed(out(&host.run(["ps", "--json"])).as_bytes())
}

/// Those of its lines that speak of this process.
fn lines_of(lines: &[String], pid: u32) -> Vec<&String> {
    let begin = format!("[{pid}, ");
    let lines = lines.iter();
    lines
        .filter(|line| line.trim_start().starts_with(&begin))
        .collect()
}

/// A process of root's that does something with the abstract socket of this name, and holds it.
fn stranger(address: &str, deed: &str) -> Running {
    let script = format!(
        "import socket, sys\n\
         s = socket.socket(socket.AF_UNIX)\n\
         address = '\\0' + sys.argv[1]\n\
         {deed}\n\
         print('up', flush=True)\n\
         sys.stdin.read()\n"
    );
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", &script, address]).stdin(Stdio::piped());
    Running::start(&mut python)
}

const CONNECT_UNTIL_FULL: &str = "
try:
    while True:
        c = socket.socket(socket.AF_UNIX)
        c.setblocking(False)
        c.connect(address)
except BlockingIOError:
    pass
";

// Names.

#[test]
fn a_word_that_is_no_name_is_refused() {
    let host = Host::new();
    let form = "a name is a letter, then letters, digits, and any of _.-";
    let long = "x".repeat(65);
    for (name, shown, why) in [
        ("", r#""""#, form),
        ("1", r#""1""#, form),
        ("9x", r#""9x""#, form),
        ("-x", r#""-x""#, form),
        ("a/b", r#""a/b""#, form),
        ("a b", r#""a b""#, form),
        ("a\n", r#""a\n""#, form),
        ("\u{1b}[2J", r#""\u{1b}[2J""#, form),
        (&long, &format!("{long:?}"), "a name has 64 bytes at most"),
    ] {
        let message = format!("cannot name the instance {shown}: {why}");
        assert_refused(&host.run(["--name", name, "run", "true"]), &message);
        assert_refused(&host.run(["build", "--name", name, "true"]), &message);
    }
    let odd = [
        OsStr::new("--name"),
        OsStr::from_bytes(b"a\xff"),
        OsStr::new("run"),
    ];
    let message = format!(r#"cannot name the instance "a\xFF": {form}"#);
    assert_refused(&host.run(odd), &message);
}

#[test]
fn a_name_is_one_of_64_letters_or_less_and_the_last_one_given_counts() {
    let host = Host::new();
    let long = "x".repeat(64);
    for name in ["a", "Web-1.b_c", &long] {
        let running = Running::instance(&host, &["--name", "other", "--name", name]);
        assert_in_use(&host.run(["--name", name, "run", "true"]), name);
        out(&host.run(["--name", "other", "run", "true"]));
        drop(running);
    }
}

#[test]
fn a_second_instance_of_that_name_is_refused_however_deep() {
    let host = Host::new();
    let _running = Running::instance(&host, &["--name", "web"]);
    for line in [
        "--name web run true",
        "build --name web true",
        "run $SD --name web run true",
        "run $SD run $SD --name web run true",
        "--name other run $SD --name other run true",
    ] {
        let name = if line.contains("other") {
            "other"
        } else {
            "web"
        };
        assert_in_use(&host.run_line(line), name);
    }
    for line in ["run true", "--name Web run true", "--name web2 run true"] {
        out(&host.run_line(line));
    }
}

/// The address has the user id in it, so that the kernel does not mix them up either.
#[test]
fn another_user_may_use_the_same_name() {
    let (one, two) = (Host::new(), Host::new());
    let _running = Running::instance(&one, &["--name", "web"]);
    let _other = Running::instance(&two, &["--name", "web"]);
    assert_in_use(&one.run_line("--name web run true"), "web");
    assert_in_use(&two.run_line("--name web run true"), "web");
}

#[test]
fn a_name_is_free_as_soon_as_its_instance_has_ended() {
    let host = Host::new();
    for _ in 0..20 {
        let running = Running::instance(&host, &["--name", "web"]);
        let supervisor = running.supervisor();
        running.kill(supervisor);
        let running = Running::instance(&host, &["--name", "web"]);
        let pid1 = running.pid1();
        running.kill(pid1);
        out(&host.run_line("--name web run true"));
    }
}

#[test]
fn of_twenty_starts_at_once_one_has_the_name() {
    let host = Host::new();
    for _ in 0..5 {
        let mut starts: Vec<Child> = (0..20)
            .map(|_| {
                let mut selfdock = host.selfdock();
                selfdock.args(["--name", "web", "run", "/bin/cat"]);
                selfdock.stdin(Stdio::piped()).stderr(Stdio::piped());
                selfdock.spawn().unwrap()
            })
            .collect();
        let mut inputs: Vec<_> = starts.iter_mut().map(|start| start.stdin.take()).collect();
        eventually(|| {
            let ended = starts
                .iter_mut()
                .filter_map(|start| start.try_wait().unwrap());
            ended.count() >= 19
        });
        inputs.clear();
        let mut winners = 0;
        for start in starts {
            let output = start.wait_with_output().unwrap();
            match output.status.code() {
                Some(0) => winners += 1,
                _ => assert_in_use(&output, "web"),
            }
        }
        assert_eq!(winners, 1);
    }
}

/// Attack: the name of an abstract socket is anybody's to take, and no start should depend on it.
#[test]
fn a_strangers_socket_keeps_nobody_from_a_name_and_gives_nobody_a_second_one() {
    let host = Host::new();
    let address = format!("selfdock/{}/web", host.uid());
    let full = format!("s.bind(address); s.listen(0){CONNECT_UNTIL_FULL}");
    for deed in ["s.bind(address)", "s.bind(address); s.listen()", &full] {
        let stranger = stranger(&address, deed);
        let running = Running::instance(&host, &["--name", "web"]);
        assert!(!holds_web(&host, running.supervisor()), "{deed}");
        assert_in_use(&host.run_line("--name web run true"), "web");
        assert_in_use(&host.run_line("build --name web true"), "web");
        let pid1 = running.pid1();
        running.kill(pid1);
        out(&host.run_line("--name web run true"));
        drop(stranger);
    }
}

/// Attack: connections that nobody accepts fill the queue of the socket.
#[test]
fn a_stranger_who_fills_the_queue_of_a_names_socket_changes_nothing() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    let address = format!("selfdock/{}/web", host.uid());
    let _stranger = stranger(&address, CONNECT_UNTIL_FULL);
    assert_in_use(&host.run_line("--name web run true"), "web");
    let pid1 = running.pid1();
    running.kill(pid1);
    out(&host.run_line("--name web run true"));
}

/// Abstract names are of a network namespace, those of instances are not.
#[test]
fn a_name_is_in_use_in_another_network_namespace_too() {
    let host = Host::new();
    let _running = Running::instance(&host, &["--name", "web"]);
    let mut command = Command::new("unshare");
    let uid = host.uid().to_string();
    command.args(["--net", "setpriv", "--reuid", &uid, "--regid", &uid]);
    command.arg("--clear-groups").arg(host.program());
    let run = command.args(["--name", "web", "run", "true"]).output();
    assert_in_use(&run.unwrap(), "web");
}

/// Does this process have the socket that is the claim to the caller's name "web"?
fn holds_web(host: &Host, pid: u32) -> bool {
    let address = format!(" @selfdock/{}/web", host.uid());
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    let claims = sockets.lines().filter(|line| line.ends_with(&address));
    let inodes = claims.filter_map(|line| line.split_whitespace().nth(6));
    let claims: Vec<_> = inodes
        .map(|inode| format!("socket:[{inode}]").into())
        .collect();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| claims.contains(&target))
}

#[test]
fn the_supervisor_alone_has_the_socket_and_nothing_is_on_disk() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    assert!(holds_web(&host, running.supervisor()));
    assert!(!holds_web(&host, running.pid1()));
    let address = format!("@selfdock/{}/web", host.uid());
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    let ours = sockets.lines().filter(|line| line.ends_with(&address));
    assert_eq!(ours.count(), 1);
    out(&host.run(["ps"]));
    let mut find = Command::new("find");
    find.args(["/tmp", "/var", "/run", "/dev", "-uid"]);
    let found = find.arg(host.uid().to_string()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

#[test]
fn a_name_in_use_is_told_before_anything_is_started() {
    let host = Host::new();
    let _running = Running::instance(&host, &["--name", "web"]);
    let line = "--name web -m /nosuch /nosuch run /nosuch";
    assert_in_use(&host.run_line(line), "web");
}

// The listing.

#[test]
fn ps_lists_pid_name_age_root_and_command() {
    let host = Host::new();
    assert_eq!(out(&host.run(["ps"])), "PID  NAME  AGE  ROOTFS  COMMAND\n");
    assert_eq!(out(&host.run(["ps", "--json"])), "[]\n");
    let rootfs = host.busybox_rootfs("os");
    let mut selfdock = host.selfdock();
    selfdock.arg("--rootfs").arg(&rootfs);
    let line = ["build", "--name", "web-1", "sh", "-c", "echo up; sleep 9 7"];
    let running = Running::start(selfdock.args(line));
    let (pid, uid, root) = (running.pid1(), host.uid(), rootfs.display());
    let command = r#"sh -c "echo up; sleep 9 7""#;

    let table = host.run(["ps"]);
    let (head, row) = out(&table).split_once('\n').unwrap();
    let age = row.split_whitespace().nth(2).unwrap();
    assert!(matches!(age.len(), 2 | 3) && age.ends_with('s'), "{row}");
    let width = |text: &dyn ToString| text.to_string().len();
    let columns = |cells: [&dyn ToString; 4], last: &str| {
        let widest = [width(&pid).max(3), 5, 3, width(&root)];
        let cells = cells.iter().zip(widest);
        let cells = cells.map(|(cell, width)| format!("{:width$}  ", cell.to_string()));
        cells.collect::<String>() + last
    };
    assert_eq!(
        head,
        columns([&"PID", &"NAME", &"AGE", &"ROOTFS"], "COMMAND")
    );
    let expected = columns([&pid, &"web-1", &age, &root], command);
    assert_eq!(row, expected + "\n");

    let expected =
        format!(r#"[{pid}, {uid}, "web-1", "{root}", ["sh", "-c", "echo up; sleep 9 7"]]"#);
    assert_eq!(listed(&host), [expected]);
}

#[test]
fn an_instance_grows_older() {
    let host = Host::new();
    let _running = Running::instance::<&str>(&host, &[]);
    let age = || {
        let json = host.run(["--json", "ps"]);
        let (_, rest) = out(&json).split_once(r#""age":"#).unwrap();
        rest.split_once(',').unwrap().0.parse::<u64>().unwrap()
    };
    let (before, first) = (Instant::now(), age());
    eventually(|| age() > first + 1);
    let last = age();
    let passed = before.elapsed().as_secs();
    assert!(passed >= 1 && last <= first + passed + 2);
}

#[test]
fn users_see_their_own_and_root_sees_all() {
    let (one, two) = (Host::new(), Host::new());
    let first = Running::instance(&one, &["--name", "first"]);
    let second = Running::instance(&two, &["--name", "second"]);
    let line = |running: &Running, host: &Host, name: &str| {
        let (pid, uid) = (running.pid1(), host.uid());
        format!(r#"[{pid}, {uid}, "{name}", "/", ["/bin/sh", "-c", "echo up; exec sleep 1000"]]"#)
    };
    let first_line = line(&first, &one, "first");
    let second_line = line(&second, &two, "second");
    assert_eq!(listed(&one), [first_line.as_str()]);
    assert_eq!(listed(&two), [second_line.as_str()]);

    let as_root = |words: &[&str]| Command::new(one.program()).args(words).output().unwrap();
    // Others have instances as well, other tests for example.
    let json = as_root(&["ps", "--json"]);
    for line in [first_line, second_line] {
        let (pid, _) = line.trim_start_matches('[').split_once(',').unwrap();
        let pid_field = format!(r#"{{"pid":{pid},"#);
        assert!(out(&json).contains(&pid_field), "{line}: {}", text(&json));
    }
    let table = as_root(&["ps"]);
    let head: Vec<&str> = out(&table)
        .lines()
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(head, ["PID", "UID", "NAME", "AGE", "ROOTFS", "COMMAND"]);
    for (running, host, name) in [(&first, &one, "first"), (&second, &two, "second")] {
        let begin = [running.pid1(), host.uid()].map(|number| number.to_string());
        let row = out(&table).lines().find_map(|row| {
            let cells: Vec<&str> = row.split_whitespace().collect();
            cells
                .starts_with(&begin.each_ref().map(String::as_str))
                .then_some(cells)
        });
        assert_eq!(row.expect("root sees it").get(2), Some(&name));
    }
}

/// Root's own can change the user id: it stays root's instance.
#[test]
fn an_instance_belongs_to_who_started_it() {
    let host = Host::new();
    let mut selfdock = Command::new(host.program());
    let uid = host.uid().to_string();
    selfdock.args(["run", "setpriv", "--reuid", &uid, "--regid", &uid]);
    let running = Running::start(selfdock.arg("--clear-groups").args(WAITS));
    eventually(|| host.processes() == [running.pid1()]);
    assert_eq!(listed(&host), [""; 0]);
    // By its own number: a change of the user id undoes PR_SET_PDEATHSIG.
    let pid1 = running.pid1();
    running.kill(pid1);
}

#[test]
fn nested_instances_are_a_tree() {
    let host = Host::new();
    let sd = host.program().display().to_string();
    let mut selfdock = host.selfdock();
    // One directly in the other, and one as a child of a shell, as it is with --init.
    let script = format!("{sd} --name c run {sd} run /bin/sh -c 'echo up; exec sleep 1000'; true");
    selfdock.args(["--name", "a", "run", &sd, "--name", "b", "run"]);
    selfdock.args(["/bin/sh", "-c", &script]);
    let running = Running::start(&mut selfdock);
    let other = Running::instance(&host, &["--name", "z"]);

    let a = running.pid1();
    let b = child_of(a);
    let c = child_of(child_of(b));
    let last = child_of(c);
    let lines = listed(&host);
    let pids_and_names: Vec<String> = lines
        .iter()
        .map(|line| {
            line.replace([',', '[', '"'], "")
                .replace(&format!("{} ", host.uid()), "")
        })
        .map(|line| {
            let indent = line.len() - line.trim_start().len();
            let words: Vec<&str> = line.split_whitespace().take(2).collect();
            format!("{}{}", " ".repeat(indent), words.join(" "))
        })
        .collect();
    let expected = [
        format!("{a} a"),
        format!("  {b} b"),
        format!("    {c} c"),
        format!("      {last} null"),
        format!("{} z", other.pid1()),
    ];
    assert_eq!(pids_and_names, expected);

    let table = host.run(["ps"]);
    let commands: Vec<&str> = out(&table)
        .lines()
        .skip(1)
        .map(|row| row.split_once("  /       ").unwrap().1)
        .collect();
    let begins = [
        format!("{sd} --name b run"),
        "  /bin/sh -c \"".to_owned(),
        format!("    {sd} run /bin/sh"),
        "      /bin/sh -c \"echo up".to_owned(),
        "/bin/sh -c \"echo up".to_owned(),
    ];
    assert_eq!(commands.len(), begins.len(), "{}", text(&table));
    for (command, begin) in commands.iter().zip(begins) {
        assert!(command.starts_with(&begin), "{command:?} {begin:?}");
    }
}

/// Then pid 1 is selfdock itself, with a command line of its own kind, and the command its child.
#[test]
fn with_init_it_is_one_instance_and_a_nested_one_stands_below() {
    let host = Host::new();
    let sd = host.program().display().to_string();
    let mut selfdock = host.selfdock();
    selfdock.args(["--init", "--name", "web", "run", &sd, "--init", "run"]);
    let running = Running::start(selfdock.args(WAITS));
    let pid1 = running.pid1();
    let inner = child_of(child_of(pid1));
    let lines = listed(&host);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with(&format!("[{pid1}, ")), "{lines:?}");
    assert!(lines[1].starts_with(&format!("  [{inner}, ")), "{lines:?}");
    for pid in [pid1, inner, child_of(inner)] {
        assert!(!holds_web(&host, pid));
    }
    assert!(holds_web(&host, running.supervisor()));
    assert_in_use(&host.run_line("--init --name web run true"), "web");
}

#[test]
fn within_an_instance_ps_lists_what_is_inside() {
    let host = Host::new();
    let _outer = Running::instance(&host, &["--name", "outside"]);
    let script = "$0 --name inside run /bin/sleep 1000 &
        until $0 ps | grep -q inside; do sleep 0.01; done
        $0 ps";
    let program = host.program();
    let mut selfdock = host.selfdock();
    selfdock.args(["--name", "between", "run", "/bin/sh", "-c", script]);
    let run = selfdock.arg(program).output().unwrap();
    let rows: Vec<&str> = out(&run).lines().collect();
    assert_eq!(rows.len(), 2, "{}", text(&run));
    let cells: Vec<&str> = rows[1].split_whitespace().collect();
    assert_eq!(cells[1], "inside");
    assert_eq!(cells[4..], ["/bin/sleep", "1000"]);
}

/// Attack: root lists what others have made up, on a terminal that obeys escape sequences.
#[test]
fn what_others_have_made_up_comes_out_escaped() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("o\n\u{1b}]0;x\u{7}s");
    let mut selfdock = host.selfdock();
    selfdock.arg("-r").arg(&rootfs);
    selfdock.args([
        "run",
        "sh",
        "-c",
        "echo up; sleep 1000",
        "",
        "\u{1b}[2J\"\\\n",
    ]);
    selfdock.args([OsStr::from_bytes(b"\xff\x9b2J"), "é\u{202e}".as_ref()]);
    let running = Running::start(&mut selfdock);
    let pid = running.pid1();
    for as_root in [false, true] {
        let ps = |words: &[&str]| {
            let mut ps = match as_root {
                false => host.selfdock(),
                true => Command::new(host.program()),
            };
            ps.args(words).output().unwrap()
        };
        let table = ps(&["ps"]);
        let rows: Vec<&str> = out(&table)
            .lines()
            .filter(|row| row.split(' ').next() == Some(&pid.to_string()))
            .collect();
        let [row] = rows.as_slice() else {
            panic!("{}", text(&table));
        };
        let name = rootfs.file_name().unwrap();
        let shown = format!("{name:?}  sh -c \"echo up; sleep 1000\" \"\" ");
        assert!(row.contains(shown.trim_start_matches('"')), "{row}");
        assert!(
            row.ends_with(r#""\u{1b}[2J\"\\\n" "\xFF\x9B2J" "é\u{202e}""#),
            "{row}"
        );
        assert!(!row.contains(char::is_control), "{row}");

        let json = ps(&["ps", "--json"]);
        assert!(
            out(&json)
                .trim_end()
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~'))
        );
        if as_root {
            continue; // Python has read the same already, and others' instances may be old.
        }
        let lines = parsed(&json.stdout);
        let [line] = lines_of(&lines, pid)[..] else {
            panic!("{}", text(&json));
        };
        let words = r#"["sh", "-c", "echo up; sleep 1000", "", "\u001b[2J\"\\\n", "\ufffd\ufffd2J", "\u00e9\u202e"]]"#;
        assert!(line.ends_with(words), "{line}");
        assert!(line.contains(r#"/o\n\u001b]0;x\u0007s","#), "{line}");
    }
}

#[test]
fn a_long_command_is_cut_for_people_and_whole_for_programs() {
    let host = Host::new();
    let mut selfdock = host.selfdock();
    let word = "x".repeat(5000);
    selfdock.arg("run").args(WAITS).arg(&word);
    let _running = Running::start(&mut selfdock);
    let table = host.run(["ps"]);
    let row = out(&table).lines().nth(1).unwrap();
    assert!(row.ends_with("xxx...") && row.len() < 200, "{row}");
    assert!(listed(&host)[0].contains(&word));
}

/// A supervisor and its pid 1, or what looks nearly so; made by root, who needs no user namespace
/// for it, and then the caller's.
const LOOKALIKE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void) {
    struct { unsigned long long set, clr, propagation, userns; } attr = {2, 0, MS_PRIVATE, 0};
    int uid = atoi(getenv("ID"));
    if (unshare(CLONE_NEWNS | (getenv("NO_PID") ? 0 : CLONE_NEWPID))) return 1;
    if (getenv("SUID")) attr.set = 0;
    if (syscall(442, AT_FDCWD, "/", 0x8000, &attr, sizeof attr)) return 2;
    if (setresgid(uid, uid, uid) || setresuid(uid, uid, uid)) return 3;
    if (!getenv("NO_NNP") && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 4;
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        puts("up");
        fflush(stdout);
    }
    pause();
}
"#;

#[test]
fn what_only_resembles_an_instance_is_not_listed() {
    let host = Host::new();
    let program = host.compile("lookalike", LOOKALIKE);
    let mut _sleep = Running::start(host.as_caller("/bin/sh").args(&WAITS[1..]));
    for (variable, words, is_listed) in [
        // Nothing is missing. It is the caller's own, so that nobody else is deceived.
        ("NONE", "run true", true),
        ("NONE", "--name x build true", true),
        ("SUID", "run true", false),
        ("NO_NNP", "run true", false),
        ("NO_PID", "run true", false),
        ("NONE", "start true", false),
        ("NONE", "run --nosuch true", false),
        ("NONE", "--name 1 run true", false),
        ("NONE", "--json run true", false),
        ("NONE", "ps", false),
        ("NONE", "--help run true", false),
        ("NONE", "", false),
    ] {
        let mut lookalike = Command::new(&program);
        lookalike.args(words.split_whitespace());
        lookalike
            .env("ID", host.uid().to_string())
            .env(variable, "");
        let running = Running::start(lookalike.arg0("selfdock"));
        let expected = usize::from(is_listed);
        assert_eq!(listed(&host).len(), expected, "{variable} {words}");
        let pid1 = running.pid1();
        drop(running);
        eventually(|| !host.processes().contains(&pid1));
    }
}

/// Its supervisor has not noticed yet.
#[test]
fn an_instance_whose_pid_1_has_ended_is_not_listed() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    let (supervisor, pid1) = (running.supervisor(), running.pid1());
    let send = |pid: u32, signal| kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
    send(supervisor, Signal::SIGSTOP);
    assert_eq!(listed(&host).len(), 1);
    send(pid1, Signal::SIGKILL);
    eventually(|| {
        let status = fs::read_to_string(format!("/proc/{pid1}/status")).unwrap();
        status.contains("\nState:\tZ")
    });
    assert_eq!(listed(&host), [""; 0]);
    send(supervisor, Signal::SIGCONT);
}

/// Also the one inside which it is asked: it is not below itself.
#[test]
fn ps_does_not_list_what_it_runs_in() {
    let host = Host::new();
    let run = host.run_line("--name web run $SD ps --json");
    assert_eq!(out(&run), "[]\n");
}

#[test]
fn ps_needs_no_privilege() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    let program = fs::read(host.program()).unwrap();
    let copy = host.root_file("copy", 0o755, program);
    let plain = host.as_caller(&copy).args(["ps", "--json"]).output();
    let mut bound = Command::new("setpriv");
    let uid = host.uid().to_string();
    bound.args(["--no-new-privs", "--bounding-set=-all", "--clear-groups"]);
    bound.args(["--reuid", &uid, "--regid", &uid]);
    let bound = bound.arg(host.program()).args(["ps", "--json"]).output();
    for run in [plain, bound] {
        let lines = parsed(out(&run.unwrap()).as_bytes());
        assert_eq!(lines_of(&lines, running.pid1()).len(), 1);
    }
}

/// It is set-user-id, and /proc says less to the unprivileged: less must come out.
#[test]
fn where_proc_hides_the_processes_of_others_nothing_is_listed() {
    let host = Host::new();
    let running = Running::instance(&host, &["--name", "web"]);
    let seen = |setup| {
        let mut ps = host.on_host(setup, host.program());
        parsed(out(&ps.args(["ps", "--json"]).output().unwrap()).as_bytes())
    };
    assert_eq!(lines_of(&seen(":"), running.pid1()).len(), 1);
    assert_eq!(seen("mount -t proc -o hidepid=2 proc /proc"), [""; 0]);
}

#[test]
fn the_proc_of_another_pid_namespace_is_refused() {
    let host = Host::new();
    let uid = host.uid().to_string();
    let in_new_pid_namespace = |words: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "setpriv", "--clear-groups"]);
        unshare.args(["--reuid", &uid, "--regid", &uid]);
        unshare.arg(host.program()).args(words).output().unwrap()
    };
    assert_refused(
        &in_new_pid_namespace(&["ps"]),
        "cannot list the instances: /proc belongs to another pid namespace",
    );
    // A name is had nevertheless: the socket says whose it is.
    out(&in_new_pid_namespace(&["--name", "web", "run", "true"]));
    let _running = Running::instance(&host, &["--name", "web"]);
    assert_in_use(
        &in_new_pid_namespace(&["--name", "web", "run", "true"]),
        "web",
    );
}

#[test]
fn a_listing_that_cannot_be_written_is_124() {
    let host = Host::new();
    for script in [r#"exec "$0" ps >&-"#, r#"exec "$0" ps --json >/dev/full"#] {
        let mut shell = host.as_caller("/bin/sh");
        let run = shell.args(["-c", script]).arg(host.program()).output();
        assert_ended(&run.unwrap(), 124);
    }
    // The reader is gone: that is SIGPIPE, as with any program.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut ps = host.selfdock();
    let run = ps.arg("ps").stdout(Stdio::from(OwnedFd::from(writer)));
    assert_ended(&run.output().unwrap(), -(Signal::SIGPIPE as i32));
}

#[test]
fn ps_takes_json_and_nothing_else() {
    let host = Host::new();
    let alone = "ps takes no option but --json, and no command";
    for line in [
        "ps x",
        "ps -- x",
        "--here ps",
        "ps -r /",
        "--name x ps",
        "ps --json -e A B",
        "-v / /mnt ps --json",
    ] {
        assert_refused(&host.run_line(line), alone);
    }
    for line in ["--json run true", "build --json true"] {
        assert_refused(
            &host.run_line(line),
            "option --json is for ps and doctor only",
        );
    }
    for line in ["ps --json", "--json ps", "--json ps --json", "-- ps -- "] {
        let words = line.split(' ').filter(|word| !word.is_empty());
        let run = host.run(words);
        assert_eq!(out(&run) == "[]\n", line.contains("json"), "{line}");
    }
}

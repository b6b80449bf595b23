//! `--no-nest`: the command can gain nothing by any exec, and selfdock's own file is not there. Each
//! thing is shown to be otherwise without the option.

mod host;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use host::fixtures::{Taking, assert_can_be_taken, not_taken, taken};
use host::terminal::{PROMPT, Terminal};
use host::{Host, Install, assert_ended, assert_refused, out, set_mode, text};
use nix::errno::Errno;

const REFUSAL: &str = "cannot get privilege: no_new_privs is set\n\
     hint: start it from outside of what has set that, as --no-nest does, or NoNewPrivileges= of systemd";

/// What root's command may have: CAP_CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID,
/// SYS_CHROOT and SETFCAP.
const ROOTS: u64 = 0x8004_00fb;
/// What nesting takes: CAP_SETPCAP, CAP_SYS_CHROOT and CAP_SYS_ADMIN.
const NESTING: u64 = 0x24_0100;

/// What a process may gain by an exec.
#[derive(Debug, PartialEq, Eq)]
struct Gain {
    no_new_privs: bool,
    bounding: u64,
}

const NOTHING: Gain = Gain {
    no_new_privs: true,
    bounding: 0,
};

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {status}"))
        .trim()
}

fn gain(status: &str) -> Gain {
    Gain {
        no_new_privs: field(status, "NoNewPrivs:") == "1",
        bounding: u64::from_str_radix(field(status, "CapBnd:"), 16).unwrap(),
    }
}

/// The bounding set of this test.
fn bounding_here() -> u64 {
    gain(&fs::read_to_string("/proc/self/status").unwrap()).bounding
}

/// What an ordinary command may gain; in a user namespace, whoever nests makes another.
fn usual() -> Gain {
    let for_nesting = bounding_here() & NESTING;
    Gain {
        no_new_privs: false,
        bounding: Install::wanted().choose(for_nesting, for_nesting, 0),
    }
}

/// How many mounts are not nosuid, without the option: selfdock's own file.
fn usually_live() -> usize {
    Install::wanted().choose(1, 1, 0)
}

/// The lines of a mount table that have no nosuid.
fn not_nosuid(table: &str) -> Vec<&str> {
    let has_nosuid = |line: &&str| {
        let mut options = line.split(' ').nth(5).unwrap().split(',');
        options.any(|option| option == "nosuid")
    };
    table.lines().filter(|line| !has_nosuid(line)).collect()
}

/// Ways to start something with `--no-nest`, and the same ways without.
const WAYS: [(&str, &str); 6] = [
    ("--no-nest run", "run"),
    ("build --no-nest", "build"),
    ("--no-nest --init run", "--init run"),
    (
        "--here --no-nest --rootfs $DIR/rootfs run",
        "--here --rootfs $DIR/rootfs run",
    ),
    ("run $SD --no-nest run", "run $SD run"),
    (
        "--no-nest --no-nest -t size=4k /mnt run",
        "-t size=4k /mnt run",
    ),
];

fn host() -> Host {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("rootfs");
    // For --here, at its own path.
    fs::create_dir_all(rootfs.join(host.path("").strip_prefix("/").unwrap())).unwrap();
    host
}

/// What the words of `line` print, from a directory of the test's own.
#[track_caller]
fn said(host: &Host, line: &str) -> String {
    let dir = host.path("");
    let words = line.split_whitespace().map(|word| {
        word.replace("$SD", host.program().to_str().unwrap())
            .replace("$DIR/", dir.to_str().unwrap())
    });
    let run = host.selfdock().args(words).current_dir(&dir).output();
    let run = run.unwrap();
    assert!(run.status.success(), "{line}: {}", text(&run));
    out(&run).to_owned()
}

#[test]
fn the_command_has_no_new_privs_and_an_empty_bounding_set() {
    let host = host();
    for (way, without) in WAYS {
        let status = said(&host, &format!("{way} /bin/cat /proc/self/status"));
        assert_eq!(gain(&status), NOTHING, "{way}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(&status, set), "0000000000000000", "{way} {set}");
        }
        let control = said(&host, &format!("{without} /bin/cat /proc/self/status"));
        assert_eq!(gain(&control), usual(), "{without}");
    }
}

#[test]
fn with_an_init_pid_1_has_them_too() {
    let host = Host::new();
    let pid_1 = |options| said(&host, &format!("{options} run /bin/cat /proc/1/status"));
    assert_eq!(gain(&pid_1("--no-nest --init")), NOTHING);
    // That pid 1 gains nothing in any case, but its command may.
    let control = gain(&pid_1("--init"));
    assert_eq!(
        (control.no_new_privs, control.bounding),
        (true, usual().bounding)
    );
}

#[test]
fn every_mount_is_nosuid() {
    let host = host();
    for (way, without) in WAYS {
        let table = said(&host, &format!("{way} /bin/cat /proc/self/mountinfo"));
        assert_eq!(not_nosuid(&table), [""; 0], "{way}: {table}");
        let control = said(&host, &format!("{without} /bin/cat /proc/self/mountinfo"));
        assert_eq!(
            not_nosuid(&control).len(),
            usually_live(),
            "{without}: {control}"
        );
    }
}

#[test]
fn selfdocks_own_file_is_not_mounted_anywhere() {
    let host = host();
    let rootfs = host.path("rootfs");
    let is_there = "[ -e /dev/selfdock ] && echo there || echo absent";
    let other = ["--rootfs".as_ref(), rootfs.as_os_str()];
    let bound = [&["--no-nest".as_ref()], &other[..]].concat();
    assert_eq!(out(&host.run_script(&bound, is_there)), "absent\n");
    assert_eq!(out(&host.run_script(&other, is_there)), "there\n");
    // At its own path the file of the root filesystem shows as it is.
    let program = host.program();
    let program = program.to_str().unwrap();
    let look = format!("stat -c %a {program}; grep -c ' {program} ' /proc/self/mountinfo");
    let script = format!("{look}; [ -e /dev/selfdock ] || echo absent");
    let run = host.run_script(&["--no-nest".as_ref()], &script);
    let mode = Install::wanted().mode();
    assert_eq!(out(&run), format!("{mode:o}\n0\nabsent\n"));
    let control = host.run_script(&[], &look);
    assert_eq!(out(&control), format!("{mode:o}\n1\n"));
}

/// Attack: a mount of root's on selfdock's path hides a file. Without `--no-nest` our own file comes
/// to lie on that, so that it stays hidden; with it, nothing does.
#[test]
fn what_a_mount_on_selfdocks_own_path_hides_stays_hidden() {
    let host = Host::new();
    let place = host.root_file("place", 0o755, "#!/bin/cat\n");
    let start = |setup: &str, program: &Path, options: &[&str]| {
        let mut command = host.on_host(setup, program);
        command.args(options).arg("/bin/cat").arg(&place);
        let run = command.output().unwrap();
        assert!(run.status.success(), "{}", text(&run));
        run.stdout
    };
    let hiding = "mount --bind \"$DIR/bin/selfdock\" \"$DIR/place\"";
    for options in [
        &["--no-nest", "run"][..],
        &["--no-nest", "build"],
        &["run"],
        &["build"],
    ] {
        let shown = start(hiding, &place, options);
        assert!(shown.starts_with(b"\x7fELF"), "{options:?} show the file");
    }
    let control = start(":", &host.program(), &["--no-nest", "run"]);
    assert_eq!(control, b"#!/bin/cat\n");
}

/// Fails unless selfdock, started by the words of `line`, has no privilege, and makes a user namespace.
#[track_caller]
fn assert_inner_has_no_privilege(host: &Host, line: &str) {
    let refused = host.run_line(&format!("{line} $SD --privilege setuid run /bin/echo ran"));
    assert_refused(&refused, REFUSAL);
    let map = host.run_line(&format!("{line} $SD run /bin/cat /proc/self/uid_map"));
    let numbers: Vec<&str> = out(&map).split_whitespace().collect();
    let me = host.uid().to_string();
    assert_eq!(numbers, [&*me, &*me, "1"], "{line}");
}

#[test]
fn selfdock_inside_has_no_privilege_and_can_do_without() {
    let host = host();
    // In the other root filesystem it is nowhere.
    let (elsewhere, ways): (Vec<_>, Vec<_>) =
        WAYS.iter().partition(|(way, _)| way.contains("rootfs"));
    for (way, without) in ways {
        assert_inner_has_no_privilege(&host, way);
        let control = host.run_line(&format!("{without} $SD run /bin/echo ran"));
        assert_eq!(out(&control), "ran\n", "{without}");
    }
    assert_eq!(elsewhere.len(), 1);
    let absent = host.run_line("--no-nest --rootfs $DIR/rootfs run /dev/selfdock --version");
    assert_ended(&absent, 127);
    assert_refused(
        &host.run_line("--no-nest run $SD enter web /bin/true"),
        "cannot enter \"web\": no such instance\nhint: selfdock ps lists the running instances",
    );
    assert_eq!(out(&host.run_line("--no-nest run $SD ps --json")), "[]\n");
    let help = host.run_line("--no-nest run $SD --help");
    assert!(out(&help).contains("--no-nest"));
}

/// Prints the effective user id.
const WHO: &str = r#"
#include <stdio.h>
#include <unistd.h>
int main(void) { return printf("%d\n", geteuid()) < 0; }
"#;

#[test]
fn a_setuid_program_of_roots_is_inert() {
    let host = host();
    let weapon = host.compile("weapon", WHO);
    set_mode(&weapon, 0o4755);
    assert_eq!(out(&host.as_caller(&weapon).output().unwrap()), "0\n");
    let inert = format!("{}\n", host.uid());
    for line in [
        "--no-nest run $DIR/weapon",
        "--no-nest build $DIR/weapon",
        "--no-nest --init run $DIR/weapon",
        "--no-nest --map $DIR/ /mnt run /mnt/weapon",
        "run $SD --no-nest run $DIR/weapon",
    ] {
        assert_eq!(said(&host, line), inert, "{line}");
    }
    // It would be so on a mount that honours it, too.
    let mut bound = host.as_caller("setpriv");
    let bound = bound.arg("--no-new-privs").arg(&weapon).output().unwrap();
    assert_eq!(out(&bound), inert);
}

/// selfdock, to be run by root.
fn as_root(host: &Host) -> Command {
    let mut command = Command::new(host.program());
    command.stdin(Stdio::null()).current_dir("/");
    command.env_remove("RUST_BACKTRACE");
    command
}

/// For root the written list stays, which building a root filesystem takes.
#[test]
fn roots_command_keeps_its_capabilities_and_gains_none() {
    let host = Host::new();
    for (options, is_bound) in [
        (&["--no-nest"][..], true),
        (&["--no-nest", "--init"], true),
        (&[], false),
        (&["--init"], false),
    ] {
        let mut command = as_root(&host);
        command.args(options);
        let run = command.args(["build", "/bin/cat", "/proc/self/status"]);
        let run = run.output().unwrap();
        let status = out(&run);
        let expected = Gain {
            no_new_privs: is_bound,
            bounding: bounding_here() & ROOTS,
        };
        assert_eq!(gain(status), expected, "{options:?}");
        let effective = u64::from_str_radix(field(status, "CapEff:"), 16).unwrap();
        assert_eq!(effective, expected.bounding, "{options:?}");
    }
}

/// Without CAP_SETPCAP the bounding set cannot be emptied. Others do without that second wall; who
/// has asked for it is not led to believe that it is there.
#[test]
fn it_is_refused_where_the_bounding_set_cannot_be_emptied() {
    let host = Host::new();
    let id = host.uid().to_string();
    let run = |options: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
        command.args(["--bounding-set", "-setpcap", "--"]);
        command.arg(host.program()).args(options);
        command.args(["run", "/bin/cat", "/proc/self/status"]);
        command.current_dir("/");
        command.stdin(Stdio::null()).output().unwrap()
    };
    let bound = run(&["--no-nest"]);
    if Install::is_rootless() {
        // In a user namespace of its own it can.
        assert_eq!(gain(out(&bound)), NOTHING);
    } else {
        assert_refused(
            &bound,
            "cannot use privilege: the capability bounding set cannot be reduced",
        );
    }
    assert!(!gain(out(&run(&[]))).no_new_privs);
}

/// An instance that runs until this is dropped.
struct Instance(Child);

impl Instance {
    /// Its command says `up` when it runs, and waits.
    #[track_caller]
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let instance = Self(child);
        let mut said = String::new();
        BufReader::new(output).read_line(&mut said).unwrap();
        assert_eq!(said, "up\n");
        instance
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `enter` gives is what `run` gave.
#[test]
fn what_enters_such_an_instance_gains_nothing_either() {
    let host = Host::new();
    for (options, expected) in [
        ("--no-nest", NOTHING),
        ("--no-nest --init", NOTHING),
        ("", usual()),
        // In a user namespace pid 1 has nothing to give, and says so itself.
        (
            "--init",
            Install::wanted().choose(usual(), usual(), NOTHING),
        ),
    ] {
        let mut selfdock = host.selfdock();
        selfdock.args(options.split_whitespace());
        selfdock.args(["--name", "web", "run", "/bin/sh", "-c"]);
        let _instance = Instance::start(selfdock.arg("echo up; exec sleep 1000"));
        let status = said(&host, "enter web /bin/cat /proc/self/status");
        assert_eq!(gain(&status), expected, "{options}");
        let own = said(&host, &format!("{options} run /bin/cat /proc/self/status"));
        for name in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(&status, name), field(&own, name), "{options} {name}");
        }
        let table = said(&host, "enter web /bin/cat /proc/self/mountinfo");
        let is_bound = expected == NOTHING;
        let live = if is_bound { 0 } else { usually_live() };
        assert_eq!(not_nosuid(&table).len(), live, "{options}: {table}");
        if is_bound {
            assert_inner_has_no_privilege(&host, "enter web");
        }
        let nested = host.run_line("enter web $SD run /bin/echo ran");
        assert_eq!(out(&nested), "ran\n", "{options}");
    }
}

/// What the words of `line` print, as the caller and without a terminal, beside a process outside that is
/// at the other end of standard input, or at this abstract address. `$SD` is selfdock's own path.
fn beside(host: &Host, taking: &Taking, name: &str, line: &str) -> String {
    let line = line.replace("$SD", host.program().to_str().unwrap());
    let mut command = host.as_caller("setsid");
    command
        .arg("--wait")
        .args(taking.hold(name).split_whitespace());
    out(&command.args(line.split_whitespace()).output().unwrap()).to_owned()
}

/// Attack: a socket tells who is at its other end, and what that process has open can be taken from it: a
/// directory, by which the command leaves the instance. The socket may be inherited, or be of who listens on
/// an abstract address, as X servers do.
#[test]
fn no_descriptor_of_a_process_outside_is_taken() {
    let host = Host::new();
    let taking = Taking::new(&host);
    let address = format!("taken-{}", host.uid());
    for (name, options) in [("-", ""), (&*address, "--close-fds")] {
        let words = |ways| taking.from(name, ways);
        assert_can_be_taken(&beside(&host, &taking, name, &words("native")));
        let from = words("native nobodys");
        let refused = ["native", "nobodys"].map(|way| not_taken(way, Errno::EPERM));
        for way in [
            "--no-nest run",
            "build --no-nest",
            "--no-nest --init run",
            "run $SD --no-nest run",
            "--no-nest run $SD run",
        ] {
            let line = format!("$SD {options} {way} {from}");
            let said = beside(&host, &taking, name, &line);
            assert_eq!(said, refused.concat(), "{line}");
        }
        // Without the option the kernel alone decides; to it, a user namespace is a wall.
        let control = beside(&host, &taking, name, &format!("$SD {options} run {from}"));
        let native = Install::wanted().choose(
            taken("native"),
            taken("native"),
            not_taken("native", Errno::EPERM),
        );
        assert_eq!(control, native + &not_taken("nobodys", Errno::EBADF));
    }
}

/// By whichever table of the machine.
#[test]
fn no_descriptor_is_taken_by_the_calls_of_other_programs() {
    let host = Host::new();
    let taking = Taking::new(&host);
    for way in ["narrow", "x32"] {
        let from = taking.from("-", way);
        let outside = beside(&host, &taking, "-", &from);
        let absent = format!("{way} -1 -\n");
        let known = [taken(way), absent.clone(), not_taken(way, Errno::ENOSYS)];
        assert!(known.contains(&outside), "{outside}");
        let expected = if outside == absent {
            absent
        } else {
            not_taken(way, Errno::EPERM)
        };
        let inside = beside(&host, &taking, "-", &format!("$SD --no-nest run {from}"));
        assert_eq!(inside, expected);
    }
}

#[test]
fn no_descriptor_is_taken_by_what_enters_either() {
    let host = Host::new();
    let taking = Taking::new(&host);
    let from = taking.from("-", "native nobodys");
    let refused = ["native", "nobodys"].map(|way| not_taken(way, Errno::EPERM));
    let open = [taken("native"), not_taken("nobodys", Errno::EBADF)];
    let walled = [
        not_taken("native", Errno::EPERM),
        not_taken("nobodys", Errno::EBADF),
    ];
    let usual = Install::wanted().choose(&open, &open, &walled);
    assert_can_be_taken(&beside(&host, &taking, "-", &taking.from("-", "native")));
    for (options, expected) in [
        ("--no-nest", &refused),
        ("--no-nest --init", &refused),
        ("", usual),
        // In a user namespace pid 1 has nothing to give, and says so itself.
        ("--init", Install::wanted().choose(&open, &open, &refused)),
    ] {
        let mut selfdock = host.selfdock();
        selfdock.args(options.split_whitespace());
        selfdock.args(["--name", "web", "run", "/bin/sh", "-c"]);
        let _instance = Instance::start(selfdock.arg("echo up; exec sleep 1000"));
        let line = format!("$SD enter web {from}");
        let said = beside(&host, &taking, "-", &line);
        assert_eq!(said, expected.concat(), "{options}");
    }
}

/// Root's own processes are out of its command's reach by what that lacks; the filter is there as well.
#[test]
fn for_root_too_there_is_one_filter_whether_there_is_a_terminal_or_not() {
    let host = Host::new();
    let filters = |user: &[&str], words: &[&str]| -> usize {
        let mut command = Command::new("setsid");
        command.arg("--wait").arg("setpriv").args(user).args(words);
        command.args(["/bin/cat", "/proc/self/status"]);
        command.current_dir("/").stdin(Stdio::null());
        let status = command.output().unwrap();
        field(out(&status), "Seccomp_filters:").parse().unwrap()
    };
    let id = host.uid().to_string();
    let callers = ["--reuid", &id, "--regid", &id, "--clear-groups"];
    let program = host.program();
    let program = program.to_str().unwrap();
    for user in [&callers[..], &["--clear-groups"]] {
        let outside = filters(user, &[]);
        for (options, more) in [
            (&["--no-nest"][..], 1),
            (&["--no-nest", "--init"], 1),
            (&[], 0),
            (&["--init"], 0),
        ] {
            let words = [&[program], options, &["run"]].concat();
            let inside = filters(user, &words);
            assert_eq!(inside, outside + more, "{user:?} {options:?}");
        }
    }
}

/// Pid 1 that may not be traced, and a child that may, with an argument in a user namespace of its
/// own: there its bounding set is whole.
const HIDE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int gone[2];
    char byte;
    if (pipe2(gone, O_CLOEXEC)) return 2;
    if (fork() == 0) {
        if (argc > 1 && unshare(CLONE_NEWUSER)) return perror("unshare"), 1;
        execl("/bin/sleep", "sleep", "1000", NULL);
        return 3;
    }
    close(gone[1]);
    if (read(gone[0], &byte, 1) || prctl(PR_SET_DUMPABLE, 0)) return 4;
    if (write(1, "up\n", 3) != 3) return 5;
    return pause();
}
"#;

/// Attack: the process that is entered through is not pid 1, and says that all may be gained.
#[test]
fn pid_1_tells_what_may_be_gained_whoever_is_entered_through() {
    let host = Host::new();
    host.compile("hide", HIDE);
    for (options, users, expected) in [
        (&["--no-nest"][..], &[][..], NOTHING),
        (&["--no-nest"], &["own"], NOTHING),
        (&[], &[], usual()),
        (&[], &["own"], usual()),
    ] {
        let mut selfdock = host.selfdock();
        selfdock.args(options).args(["--name", "web", "run"]);
        selfdock.arg(host.path("hide")).args(users);
        let _instance = Instance::start(&mut selfdock);
        let entered = said(&host, "enter web /bin/sh -c cat</proc/self/status");
        assert_eq!(gain(&entered), expected, "{options:?} {users:?}");
        if !users.is_empty() {
            let script = "cat /proc/[2-9]/status | grep CapBnd | sort -u";
            let words = ["enter", "web", "/bin/sh", "-c", script];
            let sets = host.run(words);
            assert!(out(&sets).contains("ffff"), "{}", text(&sets));
        }
    }
}

/// Root's pid 1 tells by no_new_privs alone.
#[test]
fn what_root_enters_with_gains_as_much_as_the_instances_own_command() {
    let host = Host::new();
    let name = format!("web{}", host.uid());
    for (options, is_bound) in [(&["--no-nest"][..], true), (&[], false)] {
        let mut selfdock = as_root(&host);
        selfdock.args(options).args(["--name", &name, "run"]);
        selfdock.args(["/bin/sh", "-c", "echo up; exec sleep 1000"]);
        let instance = Instance::start(&mut selfdock);
        let words = ["enter", &name, "/bin/cat", "/proc/self/status"];
        let entered = as_root(&host).args(words).output().unwrap();
        drop(instance);
        let expected = Gain {
            no_new_privs: is_bound,
            bounding: bounding_here() & ROOTS,
        };
        assert_eq!(gain(out(&entered)), expected, "{options:?}");
    }
}

/// Runs selfdock as the caller, and the calls of prctl(2) under root's strace.
fn traced(host: &Host, inject: &[String], words: &[&str]) -> (Output, String) {
    let log = host.path("log");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-e", "trace=prctl", "-o"])
        .arg(&log);
    command.args(inject).args(["setpriv", "--clear-groups"]);
    let id = host.uid().to_string();
    command.args(["--reuid", &id, "--regid", &id]);
    command.arg(host.program()).args(words).current_dir("/");
    command.stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    let run = command.output().expect("strace is needed");
    (run, fs::read_to_string(&log).unwrap())
}

/// Which call of its process each setting of no_new_privs is, counted from 1.
fn places(log: &str) -> Vec<usize> {
    let calls: Vec<(&str, &str)> = log
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, call)| call.trim_start().starts_with("prctl("))
        .collect();
    let place = |(index, (pid, _)): (usize, &(&str, &str))| {
        let until = calls.iter().take(index + 1);
        until.filter(|(other, _)| other == pid).count()
    };
    let numbered = calls.iter().enumerate();
    numbered
        .filter(|(_, (_, call))| call.contains("PR_SET_NO_NEW_PRIVS"))
        .map(place)
        .collect()
}

/// Attack: a filter of the caller's lets prctl(2) return 0 and do nothing. The last of the processes
/// that set it is the one, each in its own way; those before it have too few calls to be hit.
#[test]
fn no_new_privs_that_is_only_claimed_is_refused() {
    let host = Host::new();
    for (line, count, message) in [
        ("ps", 1, "cannot use privilege"),
        ("--no-nest run /bin/echo ran", 2, "cannot use privilege"),
        ("--init run /bin/echo ran", 2, "cannot start a process"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let (run, log) = traced(&host, &[], &words);
        assert_ended(&run, 0);
        let places = places(&log);
        assert_eq!(places.len(), count, "{line}: {log}");
        let place = places.iter().max().unwrap();
        let inject = format!("inject=prctl:retval=0:when={place}");
        let (run, log) = traced(&host, &["-e".to_owned(), inject], &words);
        let is_hit = |line: &&str| line.contains("INJECTED");
        let hits: Vec<&str> = log.lines().filter(is_hit).collect();
        assert!(
            hits.len() == 1 && hits[0].contains("PR_SET_NO_NEW_PRIVS"),
            "{line}: {hits:?}"
        );
        let reason = "prctl(PR_SET_NO_NEW_PRIVS) did not take effect";
        assert_refused(&run, &format!("{message}: {reason}"));
    }
}

/// The one that is there for the terminal, and the one that tells of pid 1 stopping itself.
#[test]
fn the_filters_of_a_terminal_work_as_ever() {
    let host = Host::new();
    for option in ["", "--no-nest"] {
        let mut terminal = Terminal::start(&host, &["bash", "--norc", "--noediting", "-i"], &[]);
        terminal.until(PROMPT);
        let mut say = |line: String| {
            terminal.enter(&format!("{line}\n"));
            terminal.until(PROMPT)
        };
        let said = say(format!("$SD {option} run grep Seccomp /proc/self/status"));
        assert!(said.contains("Seccomp:\t2"), "{option}: {said}");
        assert!(said.contains("Seccomp_filters:\t2"), "{option}: {said}");
        let stops = "sh -c 'kill -TSTP $$; echo on; exit 3'";
        say(format!("$SD {option} run {stops}"));
        let said = say("jobs".to_owned());
        assert!(said.contains("Stopped"), "{option}: {said}");
        let said = say("fg; echo status $?".to_owned());
        assert!(said.contains("on\r\nstatus 3\r\n"), "{option}: {said}");
        terminal.enter("exit\n");
        terminal.end();
    }
}

#[test]
fn it_is_an_option_of_new_instances_only() {
    let host = Host::new();
    assert_refused(
        &host.run_line("enter web --no-nest /bin/true"),
        "option --no-nest is not for enter, which makes no instance",
    );
    assert_refused(
        &host.run_line("ps --no-nest"),
        "ps takes no option but --json, and no command",
    );
}

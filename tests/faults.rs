//! Each system call of a start fails, lies, or is the last one of its process: selfdock refuses, or
//! the instance is whole, and nothing is left.
//!
//! Every call is meddled with alone, from the entry point to the exec of the command, of the parent
//! and of the child. What need not be a refusal is listed below, with its reason. A run in full, with
//! every errno for every call of every way to start, takes minutes: `SELFDOCK_FAULTS=all`.
// cargo shows what a test has printed where it fails, and the figures with --nocapture.
#![allow(clippy::disallowed_macros)]

mod host;

#[path = "faults/meddling.rs"]
mod meddling;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use host::terminal::PATIENCE;
use host::{Host, Install};
use meddling::{Call, Deed, Kind, Stage, for_each, prepare, sample};

/// Rows that matter in other ways to start than the first, or without privilege, and one that does in
/// debug builds.
const ELSEWHERE: [(Kind, &str); 13] = [
    (Kind::InUserNamespace, "openat2 $DIR/bin/selfdock"),
    (Kind::InUserNamespace, "statx of openat2 $DIR/bin/selfdock"),
    (Kind::Whole, "getcwd, last"),
    (Kind::Whole, "openat2 sys/kernel"),
    (Kind::Filtered, "openat2 sys/kernel"),
    (Kind::Deaf, "seccomp 1,"),
    (Kind::Whole, "fcntl 1,"),
    (Kind::NoOwn, "openat2 $DIR/bin/selfdock"),
    (Kind::NoOwn, "statx of openat2 $DIR/bin/selfdock"),
    (Kind::NotExecutable, "openat2 $DIR/bin/selfdock"),
    (Kind::NotExecutable, "statx of openat2 $DIR/bin/selfdock"),
    (Kind::NoConsole, "ioctl 0x5401,"),
    (Kind::InUserNamespace, "open_tree"),
];

/// Rows that matter only where there is privilege.
const WITH_PRIVILEGE: [(Kind, &str); 2] = [
    // Without it, the root is cloned with all that is mounted on it in any case.
    (Kind::Covered, "statx of openat2"),
    // Without it, who is to be mapped is asked as well.
    (Kind::Whole, "getuid,"),
];

/// What may come of a failing call beside a refusal with a message: of which call (the beginning of
/// what it is), by which error if not by any, and why.
type Row = (Kind, &'static str, Option<Errno>, &'static str);
const GOLDEN: &[Row] = &[
    // What cannot fail, or of which nothing is expected.
    (
        Kind::Whole,
        "fcntl 1,",
        None,
        "F_GETFD: debug builds look whether what they close is open",
    ),
    (
        Kind::Whole,
        "close,",
        None,
        "it is closed all the same, or exec closes it",
    ),
    (Kind::Whole, "getpid,", None, "it cannot fail"),
    (
        Kind::Whole,
        "getuid,",
        None,
        "it cannot fail; setresuid and getresuid have said it all",
    ),
    (
        Kind::Whole,
        "set_robust_list,",
        None,
        "libc's, in the child: for locks between processes",
    ),
    (
        Kind::Whole,
        "lseek,",
        None,
        "a hint at how long a file is; a directory read anew",
    ),
    (
        Kind::Whole,
        "ioctl 0x5401,",
        None,
        "it is no terminal, or it is the controlling one, which counts alone",
    ),
    (
        Kind::Whole,
        "getcwd, last",
        None,
        "the caller's directory is not there inside in any case",
    ),
    (
        Kind::InRoot,
        "getcwd,",
        None,
        "the caller's directory is not known, as after its removal",
    ),
    (Kind::InRoot, "statx of openat2 self/stat", None, "the same"),
    // What is looked for and may be absent.
    (
        Kind::InRoot,
        "openat2 $DIR",
        None,
        "the caller's directory is not visible inside",
    ),
    (
        Kind::InRoot,
        "statx of openat2 $DIR",
        None,
        "the caller's directory is another one inside",
    ),
    (
        Kind::InRoot,
        "fchdir,",
        None,
        "the caller's directory cannot be entered",
    ),
    (
        Kind::Whole,
        "openat2 $DIR/witness",
        None,
        "asked is only whether it is selfdock's own file",
    ),
    (
        Kind::Whole,
        "statx of openat2 $DIR/witness",
        None,
        "the same",
    ),
    (
        Kind::Whole,
        "openat2 /dev/",
        Some(Errno::ENOENT),
        "the first time it is not there: it is made then",
    ),
    (
        Kind::AtDev,
        "openat2 $DIR/bin/selfdock",
        None,
        "where its path is not visible, it is in /dev",
    ),
    (
        Kind::AtDev,
        "statx of openat2 $DIR/bin/selfdock",
        None,
        "the same",
    ),
    (
        Kind::NoOwn,
        "openat2 $DIR/bin/selfdock",
        None,
        "in a user namespace it is found by its path, or it is not there",
    ),
    (
        Kind::NoOwn,
        "statx of openat2 $DIR/bin/selfdock",
        None,
        "the same",
    ),
    (
        Kind::NotExecutable,
        "openat2 $DIR/bin/selfdock",
        None,
        "the same, and the command is selfdock",
    ),
    (
        Kind::NotExecutable,
        "statx of openat2 $DIR/bin/selfdock",
        None,
        "the same",
    ),
    (
        Kind::InUserNamespace,
        "openat2 $DIR/bin/selfdock",
        None,
        "in /dev it is not at the path where it was to nest, and has no privilege there",
    ),
    (
        Kind::InUserNamespace,
        "statx of openat2 $DIR/bin/selfdock",
        None,
        "the same",
    ),
    (
        Kind::InUserNamespace,
        "open_tree",
        Some(Errno::EPERM),
        "the answer that is wanted, where privilege is over a user namespace alone",
    ),
    (
        Kind::NoExec,
        "openat2 /tmp",
        None,
        "where the caller's /tmp is not known to be exec, ours is not",
    ),
    (
        Kind::NoExec,
        "faccessat2, last openat2 /tmp",
        None,
        "the same",
    ),
    (Kind::NoExec, "fstatfs, last openat2 /tmp", None, "the same"),
    // What must be certain, or the root is cloned with all that is mounted on it, and that is covered.
    (
        Kind::Covered,
        "openat2 PART",
        None,
        "a mountpoint is not certain",
    ),
    (Kind::Covered, "statx of openat2", None, "the same"),
    (
        Kind::Covered,
        "openat .",
        None,
        "that it is empty is not certain",
    ),
    (Kind::Covered, "getdents64, last openat .", None, "the same"),
    // What is of use on a terminal, or in a list of processes that come and go.
    (
        Kind::Deaf,
        "seccomp 1,",
        None,
        "without a listener, as on older kernels: src/sys/self_stop.rs",
    ),
    (
        Kind::Whole,
        "ioctl 0x5412,",
        Some(Errno::EPERM),
        "the answer that is wanted: TIOCSTI is refused",
    ),
    (
        Kind::Whole,
        "ioctl 0x541c,",
        Some(Errno::EPERM),
        "the same of TIOCLINUX",
    ),
    (
        Kind::Whole,
        "pidfd_getfd,",
        Some(Errno::EPERM),
        "the same of what other processes have open",
    ),
    (Kind::Whole, "read, last openat2 PID", None, "the same"),
    (Kind::Whole, "close, last openat2 PID", None, "the same"),
    (
        Kind::Whole,
        "openat2 PID",
        None,
        "of a process that may have ended meanwhile",
    ),
    (Kind::Whole, "statx of openat2 PID", None, "the same"),
    (
        Kind::Whole,
        "open_tree of open_tree exe",
        None,
        "a terminal that cannot be cloned is looked for by its name",
    ),
    (
        Kind::NoConsole,
        "ioctl 0x5401,",
        None,
        "in a user namespace it is looked for by its name",
    ),
    (
        Kind::NoConsole,
        "statx of openat2 self/fd/",
        None,
        "the same",
    ),
    (Kind::NoConsole, "openat2 /dev/pts/", None, "the same"),
    (
        Kind::NoConsole,
        "statx of openat2 /dev/pts/",
        None,
        "the same",
    ),
    (
        Kind::NoConsole,
        "open_tree of openat2 /dev/pts/",
        None,
        "the same",
    ),
    (
        Kind::NoConsole,
        "mount_setattr of openat2 /dev/pts/",
        None,
        "the same",
    ),
    // What tells how much is to be restricted.
    (
        Kind::Whole,
        "seccomp 4294967295,",
        Some(Errno::EPERM),
        "the answer that is wanted: the supervisor is confined",
    ),
    (
        Kind::Filtered,
        "openat2 sys/kernel",
        None,
        "where AppArmor may restrict user namespaces, there are none inside",
    ),
    (
        Kind::Whole,
        "openat2 sys/kernel",
        None,
        "the same, where the root is the host's own: it does not matter",
    ),
    // What is tried again.
    (
        Kind::Whole,
        "openat2",
        Some(Errno::EAGAIN),
        "a rename came between: tried again",
    ),
    (Kind::Whole, "openat2", Some(Errno::EINTR), "tried again"),
    (Kind::Whole, "read,", Some(Errno::EINTR), "tried again"),
    (
        Kind::Whole,
        "getdents64, last openat2 self/fd",
        Some(Errno::ENOENT),
        "to libc the end, where it is",
    ),
    // What ends the process at once.
    (
        Kind::Silent,
        "capset,",
        None,
        "what is raised cannot be lowered: nothing else is done, not even said",
    ),
    (
        Kind::Silent,
        "capget,",
        None,
        "the same: lowered is not believed",
    ),
    // What is the command's fault, as far as anybody can tell.
    (Kind::NotExecutable, "execve", None, "status 126 or 127"),
];

/// The rows are few because these hold for whole stretches.
fn is_of_stretch(call: &Call, kind: Kind) -> bool {
    // Nothing can be said before `main`, and libc ends as it likes; no command runs.
    let at_start = [Kind::Silent, Kind::Ended, Kind::Whole, Kind::NotExecutable];
    // Nothing can be said any more: what was to be said, the command's status says.
    let waiting = [Kind::Silent, Kind::Overtaken, Kind::Whole];
    call.is_start_up && at_start.contains(&kind) || call.is_waiting && waiting.contains(&kind)
}

fn row_of(call: &Call, errno: Errno, kind: Kind) -> Option<usize> {
    GOLDEN.iter().position(|(of, begin, error, _)| {
        // What an outer instance covers or lacks, an inner one may not show.
        let is_unseen = kind == Kind::Whole && [Kind::Covered, Kind::NoOwn].contains(of);
        let is_this = call.what.starts_with(begin) && error.is_none_or(|error| error == errno);
        is_this && (*of == kind || is_unseen)
    })
}

fn is_in_full() -> bool {
    std::env::var_os("SELFDOCK_FAULTS").is_some_and(|value| value == "all")
}

/// Fails each of `calls` with each of `errors`.
fn fail_each(stage: &Stage<'_>, plan: &[(Call, Errno)]) -> BTreeSet<usize> {
    let (rows, figures) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeMap::new()));
    for_each(plan, |(call, errno)| {
        let complain = |kind: &dyn std::fmt::Debug| format!("{errno:?} {call:?}: {kind:?}");
        let (hit, kind) = stage
            .meddle(call, Deed::Fail(*errno))
            .map_err(|error| format!("{errno:?} {call:?}: {error}"))?;
        *figures.lock().unwrap().entry(kind).or_insert(0) += 1;
        // Not made this time: then nothing was to happen.
        let Some(hit) = hit else {
            return if kind == Kind::Whole {
                Ok(())
            } else {
                Err(complain(&kind))
            };
        };
        if kind == Kind::Refused || is_of_stretch(&hit, kind) || hit.is_of_other_libc() {
            return Ok(());
        }
        let row = row_of(&hit, *errno, kind).ok_or_else(|| complain(&(&hit, kind)))?;
        rows.lock().unwrap().insert(row);
        Ok(())
    });
    println!("{} faults: {:?}", plan.len(), figures.into_inner().unwrap());
    rows.into_inner().unwrap()
}

/// Every call with each of `errors`, or a sample of each class of calls.
fn plan(stage: &Stage<'_>, errors: &[Errno], most: usize) -> Vec<(Call, Errno)> {
    let calls = if is_in_full() {
        stage.calls.clone()
    } else {
        sample(&stage.calls, most)
    };
    let pairs = errors
        .iter()
        .flat_map(|errno| calls.iter().map(|call| (call.clone(), *errno)));
    pairs.collect()
}

/// A row that nothing comes under any more is no reason.
fn assert_needed(stage: &Stage<'_>, rows: &BTreeSet<usize>) {
    let mut unused = Vec::new();
    for (index, (kind, begin, errno, _)) in GOLDEN.iter().enumerate() {
        let matches = |call: &Call| call.what.starts_with(begin);
        let mut calls = stage.calls.iter();
        let is_tried = calls.any(|call| matches(call) && !call.is_start_up);
        // Of the others only some calls are tried, unless all are.
        let is_certain = is_tried && (errno.is_none() || is_in_full());
        let row = (*kind, *begin);
        let is_elsewhere =
            ELSEWHERE.contains(&row) || Install::is_rootless() && WITH_PRIVILEGE.contains(&row);
        if is_certain && !is_elsewhere && !rows.contains(&index) {
            unused.push(row);
        }
    }
    assert!(unused.is_empty(), "never so: {unused:?}");
}

#[test]
fn a_start_of_which_any_call_fails_is_refused_or_whole() {
    let host = Host::new();
    prepare(&host);
    let stage = Stage::new(&host, "run");
    let every = |errno| stage.calls.iter().map(move |call| (call.clone(), errno));
    let mut all: Vec<_> = every(Errno::EPERM).collect();
    all.extend(plan(&stage, &[Errno::EINTR, Errno::ENOENT], 2));
    // libc takes it for the end of a directory.
    let lists = stage
        .calls
        .iter()
        .filter(|call| call.name() == "getdents64");
    all.extend(lists.map(|call| (call.clone(), Errno::ENOENT)));
    all.extend(plan(
        &stage,
        &[Errno::ENOMEM, Errno::EAGAIN, Errno::ENOSYS],
        1,
    ));
    assert!(stage.calls.len() > 350 && all.len() > 900, "{}", all.len());
    assert_needed(&stage, &fail_each(&stage, &all));
}

/// Without privilege, as another way to start: more is found by name there, and maps are written.
const WITHOUT_PRIVILEGE: &str = "--privilege userns run";

#[test]
fn a_start_in_a_user_namespace_of_which_any_call_fails_is_refused_or_whole() {
    let host = Host::new();
    prepare(&host);
    let stage = Stage::new(&host, WITHOUT_PRIVILEGE);
    for call in [
        "unshare 0x10000000",
        "prctl 4 1",
        "prctl 4 0",
        "openat2 self/setgroups",
        "openat2 self/uid_map",
        "openat2 self/gid_map",
        "write, last openat2 self/uid_map",
    ] {
        let is_it = |it: &&Call| it.what.starts_with(call);
        assert!(
            stage.calls.iter().any(|it| is_it(&it)),
            "{call} is not called"
        );
    }
    let every = stage.calls.iter().map(|call| (call.clone(), Errno::EPERM));
    let mut all: Vec<_> = every.collect();
    all.extend(plan(&stage, &other_errors(), 1));
    assert!(all.len() > 500, "{}", all.len());
    fail_each(&stage, &all);
}

/// The ways to start that have calls of their own.
const OTHER_WAYS: [&str; 11] = [
    WITHOUT_PRIVILEGE,
    "terminal --privilege userns --init run",
    "terminal run",
    "--init run",
    "terminal --init run",
    "--no-nest run",
    "--name faults-$N run",
    "--rootfs $DIR/os --map /usr /mnt --tmpfs size=1m /etc build",
    "--here -C /proc run",
    "run $DIR/bin/selfdock run",
    "--rootfs $DIR/os run /dev/selfdock run",
];

/// With which errors they are tried.
fn other_errors() -> Vec<Errno> {
    let all = [Errno::EPERM, Errno::EINTR, Errno::ENOENT, Errno::ENOMEM];
    all[..if is_in_full() { all.len() } else { 1 }].to_vec()
}

/// What the other ways are for.
fn host_with_rootfs() -> Host {
    let host = Host::new();
    prepare(&host);
    // The witness is looked up by its path outside.
    let rootfs = host.busybox_rootfs("os");
    let place = rootfs.join(host.path("").strip_prefix("/").unwrap());
    std::fs::create_dir_all(&place).unwrap();
    std::fs::copy(host.path("witness"), place.join("witness")).unwrap();
    host
}

#[test]
fn the_same_on_a_terminal_as_init_by_name_with_mounts_and_nested() {
    let host = host_with_rootfs();
    for way in OTHER_WAYS {
        let stage = Stage::new(&host, way);
        print!("{way}: ");
        fail_each(&stage, &plan(&stage, &other_errors(), 1));
    }
}

/// An instance to enter, which ends with this.
fn start_named(host: &Host, name: &str) -> std::process::Child {
    let mut command = host.selfdock();
    command.args([
        "--name",
        name,
        "run",
        "/bin/sh",
        "-c",
        "echo ready; read line",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn the_same_where_an_instance_is_entered_and_it_goes_on() {
    let host = Host::new();
    prepare(&host);
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let mut instance = start_named(&host, "faults");
    let own = host.processes();
    let stage = Stage::new(&host, "enter faults");
    fail_each(&stage, &plan(&stage, &other_errors(), 1));
    kill_each(&stage, 1);
    assert!(instance.try_wait().unwrap().is_none(), "it has ended");
    let deadline = Instant::now() + PATIENCE;
    while host.processes() != own {
        assert!(Instant::now() < deadline, "left: {:?}", host.processes());
        std::thread::sleep(Duration::from_millis(5));
    }
    host.reap();
    drop(instance.stdin.take());
    instance.wait().unwrap();
}

/// Kills at each of the calls, or at a sample of each class.
fn kill_each(stage: &Stage<'_>, most: usize) {
    let calls = if is_in_full() {
        stage.calls.clone()
    } else {
        sample(&stage.calls, most)
    };
    let figures = Mutex::new(BTreeMap::new());
    for_each(&calls, |call| {
        let outcome = stage.meddle(call, Deed::Kill);
        let (hit, kind) = outcome.map_err(|error| format!("{call:?}: {error}"))?;
        *figures.lock().unwrap().entry(kind).or_insert(0) += 1;
        // Killed while the command ran, or not at all: the supervisor had no such call this time.
        // Another call than was meant may be any, where processes are counted before.
        let is_late = hit
            .as_ref()
            .is_none_or(|hit| hit.is_waiting || hit.what != call.what);
        match kind {
            Kind::Killed => Ok(()),
            Kind::Overtaken | Kind::Whole if is_late => Ok(()),
            _ => Err(format!("{call:?}: {kind:?}")),
        }
    });
    println!("{} kills: {:?}", calls.len(), figures.into_inner().unwrap());
}

/// Nothing is left one second after: see meddle.c.
#[test]
fn a_kill_at_any_call_leaves_nothing() {
    let host = host_with_rootfs();
    let stage = Stage::new(&host, "run");
    kill_each(&stage, usize::MAX);
    for way in OTHER_WAYS {
        let stage = Stage::new(&host, way);
        print!("{way}: ");
        kill_each(&stage, 1);
    }
}

/// PR_SET_KEEPCAPS, the very first call.
const KEEP_CAPABILITIES: &str = "prctl 8 1";

/// PR_SET_PDEATHSIG: gives nobody anything, and the leash is there as well.
const DIE_WITH_PARENT: &str = "prctl 1 ";

/// Attack: a filter lets a call return 0 and do nothing. sendmail kept root by that once. Only in the
/// namespace that the tracer makes: it is the machine's own mounts that would be rebuilt else.
#[test]
fn a_change_of_ids_capabilities_or_namespaces_that_only_claims_success_is_refused() {
    let host = host_with_rootfs();
    let changes = ["setresuid", "capset", "unshare"];
    for way in [
        "run",
        "run $DIR/bin/selfdock run",
        "--init run",
        WITHOUT_PRIVILEGE,
    ] {
        let stage = Stage::new(&host, way);
        let mut calls = stage.calls.clone();
        calls.retain(|call| {
            let is_question = call.name() == "getuid" || call.name() == "prctl";
            changes.contains(&call.name()) || is_question && !call.what.starts_with(DIE_WITH_PARENT)
        });
        assert!(calls.len() > 100);
        for_each(&calls, |call| {
            let outcome = stage.meddle(call, Deed::Claim);
            let (_, kind) = outcome.map_err(|error| format!("{call:?}: {error}"))?;
            let is_question = ["getuid", "prctl"].contains(&call.name());
            match kind {
                Kind::Refused | Kind::Silent => Ok(()),
                // What it had to say was so already.
                Kind::Whole if is_question => Ok(()),
                // Nothing was kept, and so there is no privilege.
                Kind::InUserNamespace if call.what == KEEP_CAPABILITIES => Ok(()),
                // There is nothing to give up.
                Kind::Whole if gives_nothing_up(&stage, call) => Ok(()),
                // Nested, the bounding set has left no more than what is to stay.
                Kind::Whole if call.process > 0 && is_first_capset(call) => Ok(()),
                _ => Err(format!("{call:?}: {kind:?}")),
            }
        });
        println!("{way}: {} claims", calls.len());
    }
}

/// The same of the filters: the supervisor's, and on a terminal the command's.
#[test]
fn a_filter_that_only_claims_to_be_there_is_refused() {
    let host = host_with_rootfs();
    let stage = Stage::new(&host, "terminal --init run");
    let mut calls = stage.calls.clone();
    calls.retain(|call| call.name() == "seccomp" && call.what.starts_with("seccomp 1,"));
    // Two supervisors, and what binds the command.
    assert_eq!(calls.len(), 3, "{calls:?}");
    for_each(&calls, |call| {
        let outcome = stage.meddle(call, Deed::Claim);
        match outcome.map_err(|error| format!("{call:?}: {error}"))? {
            (_, Kind::Refused | Kind::Silent) => Ok(()),
            (_, kind) => Err(format!("{call:?}: {kind:?}")),
        }
    });
}

/// What opens the setting of a machine where AppArmor restricts user namespaces.
const SETTING: &str = "openat2 sys/kernel/apparmor_restrict_unprivileged_userns";

/// And of the one against user namespaces. Of the two that are installed it is the one of the command's
/// own process that is only claimed.
#[test]
fn a_filter_against_user_namespaces_that_only_claims_to_be_there_is_refused() {
    let host = Host::new();
    prepare(&host);
    let stage = Stage::where_it_fails(&host, "--here run", (SETTING, Errno::EACCES));
    let is_install = |call: &&Call| call.process > 0 && call.what.starts_with("seccomp 1,");
    let calls: Vec<_> = stage.calls.iter().filter(is_install).collect();
    let [call] = calls[..] else {
        panic!("{calls:?}")
    };
    for deed in [Deed::Claim, Deed::Fail(Errno::EINVAL)] {
        let (hit, kind) = stage.meddle(call, deed).unwrap();
        assert_eq!(hit.map(|hit| hit.what).as_ref(), Some(&call.what));
        assert_eq!(kind, Kind::Refused, "{deed:?}");
    }
}

/// Each of the calls that the command's filter is for is tried, and answered as without it.
#[test]
fn a_filter_that_does_not_refuse_all_that_it_should_is_refused() {
    let host = Host::new();
    prepare(&host);
    let stage = Stage::new(&host, "--no-nest run");
    for begin in ["ioctl 0x5412,", "ioctl 0x541c,", "pidfd_getfd,"] {
        let is_it = |call: &&Call| call.what.starts_with(begin);
        let call = stage.calls.iter().find(is_it).expect(begin);
        let (hit, kind) = stage.meddle(call, Deed::Fail(Errno::EBADF)).unwrap();
        assert_eq!(hit.map(|hit| hit.what).as_ref(), Some(&call.what));
        assert_eq!(kind, Kind::Refused, "{begin}");
    }
}

/// Is it made before its process has come to a user namespace, when there is no privilege any more: as
/// the last thing before that, or ever since the start?
fn gives_nothing_up(stage: &Stage<'_>, call: &Call) -> bool {
    let is_later = |other: &&Call| other.process == call.process && other.number > call.number;
    let mut later = stage.calls.iter().filter(is_later);
    let is_unshare = |other: &Call| other.what.starts_with("unshare 0x10000000");
    match Install::is_rootless() {
        true => later.any(is_unshare),
        false => later
            .find(|other| is_unshare(other) || other.name() == "capset")
            .is_some_and(is_unshare),
    }
}

/// The first that `main` does: libc has looked at its own file before.
fn is_first_capset(call: &Call) -> bool {
    let last = ["readlink /proc/self/exe", "execve $DIR/bin/selfdock"];
    last.iter()
        .any(|last| call.what == format!("capset, last {last}"))
}

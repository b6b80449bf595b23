//! What selfdock cannot do safely it refuses: status 124, one line, perhaps a hint, no command.
//!
//! And it can be killed, starved or lied to at any moment, and leaves nothing.

mod host;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;

use host::terminal::PATIENCE;
use host::{
    CANNOT, Host, Install, assert_ended, assert_refused, mounts, new_terminal, out, set_mode, text,
};

/// Becomes the caller and executes a program, in a state that root has prepared:
/// `start [deny=CALL,ERRNO[,BITS]]... [alarm=MICROSECONDS] uid=UID PROGRAM [ARG]...`.
/// A denied system call fails with that error, or only if one of BITS is in its first argument.
/// setreuid, and not setresuid: so that a tracer which counts the latter counts selfdock's.
const START: &str = r#"
#define _GNU_SOURCE
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sock_filter code[256];
    int length = 0;
    unsigned call, error, bits;
    for (argv++; *argv; argv++) {
        if (!strncmp(*argv, "deny=", 5)) {
            if (sscanf(*argv, "deny=%u,%u,%u", &call, &error, &bits) < 3) bits = 0;
            unsigned skip = bits ? 3 : 1;
            code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
            code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, skip);
            if (bits) {
                code[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args));
                code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1);
            }
            code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
        } else if (!strncmp(*argv, "alarm=", 6)) {
            int time = atoi(*argv + 6);
            struct itimerval timer = {{0, 0}, {time / 1000000, time % 1000000}};
            if (time && setitimer(ITIMER_REAL, &timer, 0)) return 90;
        } else if (!strncmp(*argv, "uid=", 4)) {
            unsigned uid = atoi(*argv + 4);
            if (length) {
                code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
                struct sock_fprog filter = {length, code};
                if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter)) return 91;
            }
            if (setgroups(0, 0) || setregid(uid, uid) || setreuid(uid, uid)) return 92;
            execv(argv[1], argv + 1);
            return 93;
        }
    }
    return 94;
}
"#;

/// Copies a program. By another process: were this one to hold it open for writing, a child that
/// another thread forks meanwhile would hold it too, and exec would say ETXTBSY.
fn copy(from: &Path, to: &Path) {
    let run = Command::new("cp").args([from, to]).output().unwrap();
    assert!(run.status.success(), "{}", text(&run));
}

/// `START` with these words before the user id, and selfdock after it.
fn start(host: &Host, tool: &Path, words: &[String]) -> Command {
    let mut command = Command::new(tool);
    command
        .args(words)
        .arg(format!("uid={}", host.uid()))
        .arg(host.program());
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .env_remove("RUST_BACKTRACE");
    command
}

/// The end of every command line here: what says that the command ran.
const SAY: [&str; 3] = ["run", "/bin/echo", "ran"];

/// The user namespace that an instance is in: `cat` of its map.
const SHOW_MAP: [&str; 3] = ["run", "/bin/cat", "/proc/self/uid_map"];

/// The map of a user namespace in which one user has this number, and that one outside.
fn map(inside: u32, outside: u32) -> String {
    format!("{inside:>10} {outside:>10} {:>10}\n", 1)
}

/// The map of an instance that was made with privilege, or with what is installed here.
fn map_of_installed(host: &Host) -> String {
    let of_machine = format!("{:>10} {:>10} {:>10}\n", 0, 0, u32::MAX);
    let own = map(host.uid(), host.uid());
    Install::wanted().choose(of_machine.clone(), of_machine, own)
}

/// Fails unless selfdock, of whose words `start` makes a run, has no privilege: then it says so if
/// it must have it, and else the instance is in a user namespace that knows the caller alone.
#[track_caller]
fn assert_unprivileged(host: &Host, message: &str, start: impl Fn(&[&str]) -> Output) {
    let must = ["--privilege", "setuid"];
    assert_refused(&start(&[&must[..], &SAY].concat()), message);
    for options in [&[][..], &["--privilege", "userns"]] {
        let run = start(&[options, &SHOW_MAP].concat());
        assert_eq!(out(&run), map(host.uid(), host.uid()), "{options:?}");
    }
}

/// What selfdock says that is installed as it must not be, or not at all, with its hint.
fn not_installed(why: &str) -> String {
    format!(
        "cannot get privilege: {why}\n\
         hint: ./install.sh, in its sources, installs it as it must be"
    )
}

const NOSUID: &str = "cannot get privilege: selfdock is on a nosuid filesystem\n\
    hint: PREFIX=DIR ./install.sh, where DIR is on a filesystem without nosuid";
const NOT_INSTALLED: &str = "selfdock is not installed set-user-id root";
const NOT_ROOTS: &str = "selfdock is installed set-user-id, but does not belong to root";

/// A program put at `name` as installed, but with this mode and this owner and group.
fn misinstalled(host: &Host, name: &str, mode: u32, owner: u32, group: u32) -> PathBuf {
    let path = host.path(name);
    host.install(&path);
    chown(&path, Some(owner), Some(group)).unwrap();
    set_mode(&path, mode);
    path
}

/// Installed as it must not be, it is an ordinary program, and must not half work as one.
#[test]
fn a_program_that_is_not_set_user_id_root_has_no_privilege_and_says_why() {
    let host = Host::new();
    let me = host.uid();
    for (name, mode, owner, why) in [
        ("plain", 0o755, 0, NOT_INSTALLED),
        ("plain-of-the-callers", 0o755, me, NOT_INSTALLED),
        ("setuid-of-the-callers", 0o4755, me, NOT_ROOTS),
        // It runs as somebody else until it drops that.
        ("setuid-of-another", 0o4755, 1, NOT_ROOTS),
    ] {
        let program = misinstalled(&host, name, mode, owner, owner);
        let start = |words: &[&str]| host.as_caller(&program).args(words).output().unwrap();
        assert_unprivileged(&host, &not_installed(why), start);
    }
}

/// A set-group-id program has a group that its caller has not; what was opened with it would be a
/// gain.
#[test]
fn a_program_that_is_set_group_id_is_refused_with_privilege_and_without() {
    let host = Host::new();
    for (name, mode) in [("setgid", 0o2755), ("both", 0o6755)] {
        let program = misinstalled(&host, name, mode, 0, 0);
        for options in [
            &[][..],
            &["--privilege", "setuid"],
            &["--privilege", "userns"],
        ] {
            let mut command = host.as_caller(&program);
            let run = command.args(options).args(SAY).output().unwrap();
            assert_refused(
                &run,
                "cannot use privilege: the real, effective and saved group ids differ",
            );
        }
    }
}

/// File capabilities are the other way to install it. Effective ones would be there when libc starts.
#[test]
fn file_capabilities_that_are_effective_from_the_start_are_refused() {
    let host = Host::new();
    let program = misinstalled(&host, "capable", 0o755, 0, 0);
    let give = |capabilities: &str| {
        let setcap = Command::new("setcap")
            .arg(capabilities)
            .arg(&program)
            .output()
            .expect("setcap is needed: libcap2-bin");
        assert!(setcap.status.success(), "{}", text(&setcap));
    };
    let start = |program: &Path, words: &[&str]| host.as_caller(program).args(words).output();
    let run_with = |capabilities: &str| {
        give(capabilities);
        start(
            &program,
            &["--privilege", "setuid", "run", "/bin/echo", "ran"],
        )
        .unwrap()
    };
    assert_eq!(out(&run_with(host::CAPABILITIES)), "ran\n");
    // The other two make it safer, and are not needed for a start.
    assert_eq!(out(&run_with("cap_sys_admin+p")), "ran\n");
    for capabilities in [
        "cap_sys_admin,cap_sys_chroot,cap_setpcap+ep",
        "cap_sys_admin+ep",
    ] {
        let message = "cannot use privilege: capabilities were effective from the start\n\
                       hint: give its file capabilities as permitted only: setcap ...+p";
        assert_refused(&run_with(capabilities), message);
        // Nor does it take a user namespace instead: whatever came before `main` had them.
        assert_refused(&start(&program, &SAY).unwrap(), message);
    }
    give("cap_sys_chroot+p");
    assert_unprivileged(&host, &not_installed(NOT_INSTALLED), |words| {
        start(&program, words).unwrap()
    });
    // They do not survive a copy.
    out(&run_with(host::CAPABILITIES));
    let path = host.path("copy");
    copy(&program, &path);
    assert_unprivileged(&host, &not_installed(NOT_INSTALLED), |words| {
        start(&path, words).unwrap()
    });
}

/// `setpriv --no-new-privs`: sandboxes set it for all that they start.
#[test]
fn a_caller_under_no_new_privs_has_no_privilege() {
    let host = Host::new();
    let message = "cannot get privilege: no_new_privs is set\n\
                   hint: start it from outside of what has set that, as --no-nest does, or \
                   NoNewPrivileges= of systemd";
    assert_unprivileged(&host, message, |words| {
        let mut command = host.as_caller("setpriv");
        command.args(["--no-new-privs", "--"]).arg(host.program());
        command.args(words).output().unwrap()
    });
}

/// The kernel ignores the set-user-id bit on a nosuid filesystem.
#[test]
fn a_program_on_a_nosuid_filesystem_has_no_privilege() {
    let host = Host::new();
    host.root_dir("other", 0o755);
    let program = host.path("other/selfdock");
    let start_on = |options: &str, words: &[&str]| {
        let setup = format!(
            "mount -t tmpfs -o mode=755,{options} t $DIR/other
             cp $DIR/bin/selfdock $DIR/other/ && chmod 4755 $DIR/other/selfdock"
        );
        let mut command = host.on_host(&setup, &program);
        command.args(words).output().unwrap()
    };
    assert_unprivileged(&host, NOSUID, |words| start_on("nosuid", words));
    let must = [&["--privilege", "setuid"][..], &SAY].concat();
    assert_eq!(out(&start_on("suid", &must)), "ran\n");
}

/// Attack: trace the program from its first instruction. Then the kernel gives it no privilege.
#[test]
fn a_program_that_the_caller_traces_has_no_privilege() {
    let host = Host::new();
    let log = host.caller_dir("trace").join("log");
    let traced = "cannot get privilege: selfdock is being traced\n\
                  hint: only root can trace a set-user-id program: sudo strace -u $USER selfdock";
    let not_installed = not_installed(NOT_INSTALLED);
    let message = Install::wanted().choose(traced, traced, &not_installed);
    assert_unprivileged(&host, message, |words| {
        let mut command = host.as_caller("strace");
        command.args(["-f", "-o"]).arg(&log).arg(host.program());
        let run = command.args(words).output().expect("strace is needed");
        let ended = format!("exited with {}", run.status.code().unwrap());
        let is_traced = fs::read_to_string(&log).unwrap().contains(&ended);
        assert!(is_traced, "not traced at all");
        run
    });
}

/// Attack: in a user namespace of the caller's, ids and capabilities lie. What they say is taken for
/// what it is there: over that namespace, and over none outside.
#[test]
fn in_a_user_namespace_of_the_callers_privilege_reaches_what_belongs_to_that() {
    let host = Host::new();
    let me = host.uid();
    let mut control = host.as_caller("unshare");
    let control = control.args(["-Ur", "id", "-u"]).output().unwrap();
    assert_eq!(out(&control), "0\n", "user namespaces are off here");
    let unshare = |options: &str, words: &[&str]| {
        let mut command = host.as_caller("unshare");
        command.arg("--user").args(options.split_whitespace());
        let command = command.arg("--").arg(host.program()).args(words);
        command.output().unwrap()
    };
    let unhonoured = "cannot get privilege: the set-user-id bit is not honoured in this user \
                      namespace\nhint: run selfdock outside of the user namespace";
    let setuid = [&["--privilege", "setuid"][..], &SHOW_MAP].concat();
    let userns = [&["--privilege", "userns"][..], &SHOW_MAP].concat();
    // Its root has every capability, but none over the mounts.
    for (options, inside) in [("--map-root-user", 0), ("--map-current-user", me)] {
        assert_refused(&unshare(options, &setuid), unhonoured);
        for words in [&SHOW_MAP[..], &userns] {
            assert_eq!(out(&unshare(options, words)), map(inside, inside));
        }
    }
    // The mounts belong to it: then it is as root's own start, on a machine that is the caller's.
    for options in [
        "--map-root-user --mount",
        "--map-root-user --mount --pid --fork --mount-proc",
        "--map-root-user --mount --keep-caps",
    ] {
        for words in [&SHOW_MAP[..], &setuid] {
            assert_eq!(out(&unshare(options, words)), map(0, me), "{options}");
        }
        assert_eq!(out(&unshare(options, &userns)), map(0, 0), "{options}");
    }
    // An id that is not mapped cannot even be set to itself: the entry point ends there, silently.
    let run = unshare("", &SAY);
    assert_ended(&run, CANNOT);
    assert!(run.stdout.is_empty() && run.stderr.is_empty());
}

/// Attack: capabilities that the caller's own namespace gives, where root is nobody.
#[test]
fn ambient_capabilities_of_a_namespace_of_the_callers_are_refused() {
    let host = Host::new();
    let effective = "cannot use privilege: capabilities were effective from the start\n\
                     hint: give its file capabilities as permitted only: setcap ...+p";
    // Those of the file displace the ambient ones; and then that file is nobody's, as all of root's.
    let not_roots = "cannot use selfdock's own file: it is not a regular file owned by root";
    let message = Install::wanted().choose(effective, not_roots, effective);
    let namespace = ["--user", "--map-current-user", "--mount", "--keep-caps"];
    for options in [&[][..], &["--privilege", "setuid"]] {
        let mut command = host.as_caller("unshare");
        command.args(namespace).arg("--").arg(host.program());
        let run = command.args(options).args(SAY).output().unwrap();
        assert_refused(&run, message);
    }
}

/// As in a container that withholds the capability.
#[test]
fn where_the_bounding_set_lacks_the_capability_there_is_no_privilege() {
    let host = Host::new();
    let id = host.uid().to_string();
    let bounded = |set: &str, words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
        command.args(["--bounding-set", set, "--"]);
        command.arg(host.program()).args(words).current_dir("/");
        command.output().unwrap()
    };
    let message = "cannot get privilege: CAP_SYS_ADMIN is not in the capability bounding set\n\
                   hint: an outer container, or an instance of root's, withholds it: \
                   docker run --cap-add SYS_ADMIN";
    assert_unprivileged(&host, message, |words| bounded("-sys_admin", words));
    for set in ["-all,+sys_admin,+sys_chroot,+setpcap", "-all,+sys_admin"] {
        let run = bounded(set, &SHOW_MAP);
        assert_eq!(out(&run), map_of_installed(&host), "{set}");
    }
}

/// Attack: a selfdock with a hole was replaced, but instances that run still have the old file. In
/// those without privilege it has none either, and is any program.
#[test]
fn a_replaced_or_removed_program_has_no_privilege_in_instances_that_still_run() {
    let host = Host::new();
    host.busybox_rootfs("rootfs");
    // Starts an instance, changes the installed file, then has the instance start selfdock.
    let change = |options: &[&str], selfdock: &str, change: &dyn Fn(&Path)| {
        let mut command = host.selfdock();
        let script = format!("echo ready; read line; exec {selfdock} run /bin/echo ran");
        command
            .args(options)
            .args(["run", "/bin/sh", "-c", &script]);
        let pipes = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        wait_for_child(&child, "sh");
        let program = host.program();
        change(&program);
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let run = child.wait_with_output().unwrap();
        let _ = fs::remove_file(&program);
        host.install(&program);
        run
    };
    let rootfs = host.path("rootfs");
    let rootfs = ["--rootfs", rootfs.to_str().unwrap()];
    let program = host.program();
    let program = program.to_str().unwrap();
    let after_ready = |mut run: Output| {
        assert!(run.stdout.starts_with(b"ready\n"), "{}", text(&run));
        run.stdout.drain(..6);
        run
    };
    let control = after_ready(change(&rootfs, "/dev/selfdock", &|_| ()));
    assert_eq!(out(&control), "ran\n");

    let replaced = "cannot use selfdock's own file: it was replaced or removed\n\
                    hint: start it anew from outside of the running instances";
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let replace = |path: &Path| {
        let new = host.path("new");
        host.install(&new);
        fs::rename(new, path).unwrap();
    };
    for how in [&remove as &dyn Fn(&Path), &replace] {
        let run = after_ready(change(&rootfs, "/dev/selfdock", how));
        match Install::is_rootless() {
            true => assert_eq!(out(&run), "ran\n"),
            false => assert_refused(&run, replaced),
        }
    }

    // Over its own path the mount goes with the file: what is there then is on a nosuid mount.
    let gone = after_ready(change(&[], program, &remove));
    assert_eq!(gone.status.code(), Some(127), "{}", text(&gone));
    assert!(gone.stdout.is_empty(), "{}", text(&gone));
    let user_namespace = "cannot get privilege: CAP_SYS_ADMIN is not in the capability bounding \
                          set\nhint: an outer container, or an instance of root's, withholds it: \
                          docker run --cap-add SYS_ADMIN";
    let message = Install::wanted().choose(NOSUID, NOSUID, user_namespace);
    let must = format!("{program} --privilege setuid");
    assert_refused(&after_ready(change(&[], &must, &replace)), message);
    assert_eq!(out(&after_ready(change(&[], program, &replace))), "ran\n");
}

/// Until the child of the supervisor is called `name`.
fn wait_for_child(supervisor: &std::process::Child, name: &str) {
    let pid = supervisor.id();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let child =
            fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let comm = fs::read_to_string(format!("/proc/{}/comm", child.trim())).unwrap_or_default();
        if comm.trim() == name {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the command does not start: {comm}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// selfdock, started by the caller in a chroot that root has made: `rootfs`, after `setup`.
fn in_chroot(host: &Host, setup: &str) -> Output {
    let mut command = host.with_own_mounts(
        "eval \"$SETUP\"; exec chroot --userspec=$ID:$ID --groups= $DIR/rootfs \"$@\"",
    );
    command.args(["/selfdock", "run", "/bin/cat", "/proc/self/mountinfo"]);
    command.env("SETUP", setup).output().unwrap()
}

/// Attack: in a chroot the old root is still there, above.
#[test]
fn a_caller_in_a_chroot_is_refused() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("rootfs");
    host.install(&rootfs.join("selfdock"));
    let mounts = "mount -t proc proc $DIR/rootfs/proc; mount --rbind /dev $DIR/rootfs/dev; ";

    // For no user namespace it matters what the chroot is.
    let user_namespace = |hint: &str| {
        format!(
            "cannot make a user namespace: unshare: Operation not permitted; and {NOT_INSTALLED}\n\
             hint: {hint}"
        )
    };
    let known = user_namespace(
        "selfdock runs in a chroot: enter the directory with pivot_root(2) instead: \
         systemd-nspawn -D DIR",
    );
    let unknown = user_namespace("a filter, a security module or a chroot may be in the way");
    let install = Install::wanted();

    let plain = in_chroot(&host, mounts);
    let private = "cannot make the mount namespace private: Invalid argument\n\
                   hint: selfdock does not work in a chroot, nor on an initial ramfs";
    assert_refused(&plain, install.choose(private, private, &known));

    // A chroot that is a mount, as most hosts have theirs: shared.
    let setup = format!("mount --make-rshared /; mount --bind $DIR/rootfs $DIR/rootfs; {mounts}");
    let shared = "cannot enter the root filesystem: Invalid argument\n\
                  hint: selfdock does not work in a chroot, nor on an initial ramfs";
    let run = in_chroot(&host, &setup);
    assert_refused(&run, install.choose(shared, shared, &unknown));

    // On a private mount the kernel lets it be pivoted, and no call without CAP_SYS_CHROOT tells
    // it from a whole root. It leads out as little as the chroot did: one mount is the root.
    let setup = format!("mount --make-rprivate /; mount --bind $DIR/rootfs $DIR/rootfs; {mounts}");
    let run = in_chroot(&host, &setup);
    if Install::is_rootless() {
        assert_refused(&run, &unknown);
        return;
    }
    let roots = out(&run)
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some("/"));
    assert_eq!(roots.count(), 1, "{}", text(&run));
}

/// Older kernels lack the calls that make this safe: each is simulated by what it lacks.
#[test]
fn a_kernel_that_is_too_old_is_refused_in_words() {
    let host = Host::new();
    let tool = host.compile("start", START);
    assert_eq!(
        out(&start(&host, &tool, &[]).args(SAY).output().unwrap()),
        "ran\n"
    );
    assert_eq!(
        out(
            &start(&host, &tool, &deny(&[libc::SYS_reboot], Errno::ENOSYS))
                .args(SAY)
                .output()
                .unwrap()
        ),
        "ran\n"
    );
    let mut missing = Vec::new();
    // Newest first: the last of them lacks them all.
    for (version, calls) in [
        ("5.11", &[libc::SYS_mount_setattr][..]),
        ("5.8", &[libc::SYS_close_range]),
        ("5.5", &[libc::SYS_openat2]),
        ("5.2", &[libc::SYS_pidfd_open]),
        (
            "5.1",
            &[
                libc::SYS_open_tree,
                libc::SYS_move_mount,
                libc::SYS_fsopen,
                libc::SYS_fsconfig,
                libc::SYS_fsmount,
            ],
        ),
        ("5.0", &[libc::SYS_pidfd_send_signal]),
        ("4.10", &[libc::SYS_statx]),
    ] {
        missing.extend_from_slice(calls);
        let run = start(&host, &tool, &deny(&missing, Errno::ENOSYS))
            .args(SAY)
            .output()
            .unwrap();
        assert_eq!(run.status.code(), Some(CANNOT), "{version}: {}", text(&run));
        assert!(run.stdout.is_empty(), "{version}: {}", text(&run));
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(said.starts_with("selfdock: cannot "), "{version}: {said}");
        assert!(
            said.ends_with(
                ": Function not implemented\nhint: selfdock needs Linux 5.12 or later\n"
            ),
            "{version}: {said}"
        );
        // In a user namespace both processes may find out, at the same time.
        let lines = said.lines().count();
        let is_twice = Install::is_rootless() && lines == 4;
        assert!(lines == 2 || is_twice, "{version}: {said}");
    }
}

/// Each call that can be missing, or forbidden by a container's filter, alone: no half instance.
#[test]
fn no_command_runs_where_one_of_the_calls_is_missing_or_forbidden() {
    let host = Host::new();
    let tool = host.compile("start", START);
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        for call in [
            libc::SYS_setresuid,
            libc::SYS_capget,
            libc::SYS_capset,
            libc::SYS_prctl,
            libc::SYS_openat2,
            libc::SYS_statx,
            libc::SYS_open_tree,
            libc::SYS_mount_setattr,
            libc::SYS_unshare,
            libc::SYS_socketpair,
            libc::SYS_pidfd_open,
            libc::SYS_close_range,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_move_mount,
            libc::SYS_fchdir,
            libc::SYS_pivot_root,
            libc::SYS_umount2,
            libc::SYS_mkdirat,
            libc::SYS_symlinkat,
        ] {
            let run = start(&host, &tool, &deny(&[call], errno))
                .args(SAY)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&run.stderr).into_owned();
            assert_eq!(
                run.status.code(),
                Some(CANNOT),
                "{call} {errno}: {}",
                text(&run)
            );
            // The entry point cannot say anything.
            let is_silent = [libc::SYS_setresuid, libc::SYS_prctl].contains(&call);
            assert_eq!(said.is_empty(), is_silent, "{call} {errno}: {said}");
            assert!(
                said.is_empty() || said.starts_with("selfdock: "),
                "{call} {errno}: {said}"
            );
            assert!(said.lines().count() <= 2, "{call} {errno}: {said}");
            assert!(
                run.stdout.is_empty(),
                "the command ran: {call} {errno}: {}",
                text(&run)
            );
            host.assert_nothing_runs();
        }
    }
}

/// On a terminal, standard input here, the command would be able to type into it. And whoever took
/// the supervisor over could do what the caller can.
#[test]
fn no_command_runs_without_the_filters() {
    let host = Host::new();
    let tool = host.compile("start", START);
    let (_other_side, terminal) = new_terminal();
    let run = |errno: i32, is_terminal: bool| {
        let deny = format!("deny={},{errno}", libc::SYS_seccomp);
        // Away from the terminal that these tests may have been started on.
        let mut command = Command::new("setsid");
        command
            .arg("--wait")
            .arg(&tool)
            .args(start(&host, &tool, &[deny]).get_args())
            .args(SAY)
            .current_dir("/")
            .stdin(Stdio::null());
        if is_terminal {
            command.stdin(Stdio::from(terminal.try_clone().unwrap()));
        }
        command.output().unwrap()
    };
    let hint = "\nhint: selfdock needs a kernel with CONFIG_SECCOMP_FILTER";
    for (errno, reason, hint) in [
        (libc::EINVAL, "Invalid argument", hint),
        (libc::ENOSYS, "Function not implemented", hint),
        (libc::EPERM, "Operation not permitted", ""),
        (0, "seccomp did not take effect", ""),
    ] {
        let supervisors = format!("cannot install the supervisor's filter: {reason}{hint}");
        assert_refused(&run(errno, false), &supervisors);
        // Who is the first to notice ends both, and either may.
        let commands = format!("cannot install the command's filter: {reason}{hint}");
        let refused = run(errno, true);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let is_either = said.contains(&commands) || said.contains(&supervisors);
        assert!(is_either, "{}", text(&refused));
        assert_ended(&refused, CANNOT);
        assert!(refused.stdout.is_empty(), "{}", text(&refused));
    }
}

fn deny(calls: &[libc::c_long], errno: Errno) -> Vec<String> {
    calls
        .iter()
        .map(|call| format!("deny={call},{}", errno as i32))
        .collect()
}

/// `user.max_pid_namespaces` and its like count for the whole user namespace, hence for all tests
/// at once; so the kernel's answer is simulated.
#[test]
fn limits_of_namespaces_are_named() {
    let host = Host::new();
    let tool = host.compile("start", START);
    let full = |flag: i32| {
        let word = format!("deny={},{},{flag}", libc::SYS_unshare, libc::ENOSPC);
        start(&host, &tool, &[word]).args(SAY).output().unwrap()
    };
    assert_refused(
        &full(libc::CLONE_NEWPID),
        "cannot make a pid namespace: No space left on device\n\
         hint: too deeply nested: 32 levels are possible; or user.max_pid_namespaces is reached",
    );
    assert_refused(
        &full(libc::CLONE_NEWNS),
        "cannot make a mount namespace: No space left on device\n\
         hint: user.max_mnt_namespaces or fs.mount-max is reached",
    );
    assert_eq!(out(&full(libc::CLONE_NEWNET)), "ran\n");
}

/// Attack: a limit so low that a step fails, and what protects is left out.
#[test]
fn a_low_limit_is_met_or_refused_and_leaves_nothing() {
    let host = Host::new();
    let limits = [
        "nofile=0",
        "nofile=1",
        "nofile=3",
        "nofile=4",
        "nofile=5",
        "nofile=8",
        "nofile=12",
        "nofile=16",
        "nofile=24",
        "nofile=32",
        "fsize=0",
        "memlock=0",
        "sigpending=0",
        "msgqueue=0",
        "core=0",
        "cpu=1",
        "nproc=0",
        "nproc=1",
        "nproc=2",
        "rss=0",
        "locks=0",
        "nice=0",
        "rtprio=0",
        "data=0",
        "data=65536",
        "data=1048576",
        "stack=0",
        "stack=4096",
        "stack=65536",
        "stack=262144",
        "as=0",
        "as=1048576",
        "as=4194304",
        "as=8388608",
        "as=16777216",
        "as=33554432",
        "as=67108864",
    ];
    for limit in limits {
        for action in [
            &SAY[..],
            &["--map", "/usr", "/mnt", "build", "/bin/echo", "ran"],
        ] {
            let mut command = host.as_caller("prlimit");
            command.arg(format!("--{limit}:{}", limit.split_once('=').unwrap().1));
            let run = command.arg(host.program()).args(action).output().unwrap();
            let said = text(&run);
            // Where there is no memory, the kernel or an allocator ends a process.
            let is_memory = ["data", "stack", "as"]
                .iter()
                .any(|name| limit.starts_with(name));
            match (run.status.code(), run.status.signal()) {
                (Some(0), None) => assert_eq!(run.stdout, b"ran\n", "{limit}: {said}"),
                (Some(CANNOT), None) => {
                    assert!(run.stdout.is_empty(), "{limit}: {said}");
                    // With no descriptor to spare even the message may be impossible.
                    let is_said = run.stderr.starts_with(b"selfdock: cannot ");
                    assert!(is_said || run.stderr.is_empty(), "{limit}: {said}");
                }
                // The command, or prlimit itself, could not be executed or loaded.
                (Some(1 | 126 | 127), None) => assert!(run.stdout.is_empty(), "{limit}: {said}"),
                // musl asks of three descriptors at once whether they are open, and gives up if that is
                // more than there may be: before anything else.
                (None, Some(libc::SIGSEGV))
                    if limit.starts_with("nofile") && !host::has_glibc() =>
                {
                    assert!(run.stdout.is_empty(), "{limit}: {said}");
                }
                (None, Some(libc::SIGKILL | libc::SIGSEGV | libc::SIGABRT | libc::SIGBUS))
                    if is_memory =>
                {
                    assert!(run.stdout.is_empty(), "{limit}: {said}");
                }
                _ => panic!("{limit}: {said}"),
            }
            host.assert_nothing_runs();
        }
    }
}

/// The limits that say whether a start is possible at all are the same for the command, and too
/// many processes is what the message says.
#[test]
fn too_many_processes_is_refused_with_a_hint() {
    let host = Host::new();
    let mut command = host.as_caller("prlimit");
    let run = command
        .args(["--nproc=1:1"])
        .arg(host.program())
        .args(SAY)
        .output()
        .unwrap();
    let errno = Errno::EAGAIN.desc();
    let message = format!(
        "cannot start a process: fork: {errno}\nhint: the limit of processes is reached: ulimit -u"
    );
    assert_refused(&run, &message);
}

/// selfdock, to be run by the caller where root has run `setup`, without a /proc to rely on.
fn on_strange_host(host: &Host, tool: &Path, setup: &str) -> Output {
    let mut command = host.with_own_mounts("eval \"$SETUP\" || exit 99; exec \"$@\"");
    command
        .arg(tool)
        .arg(format!("uid={}", host.uid()))
        .arg(host.program())
        .args(SAY);
    command.env("SETUP", setup).output().unwrap()
}

/// Attack: mount table, descriptors and selfdock's own file are read from /proc; one that lies
/// would name a file of the caller's as ours.
#[test]
fn a_missing_or_faked_proc_is_refused() {
    let host = Host::new();
    let tool = host.compile("start", START);
    let fake = host.caller_dir("fake");
    for dir in ["self", "self/fd"] {
        host.caller_dir(fake.join(dir));
    }
    for file in ["self/mountinfo", "self/status"] {
        host.caller_file(fake.join(file), 0o644, "");
    }
    host.caller_dir("fd");
    host.caller_file("table", 0o644, "");
    assert_eq!(out(&on_strange_host(&host, &tool, "true")), "ran\n");
    assert_eq!(
        out(&on_strange_host(&host, &tool, "mount -t proc proc /proc")),
        "ran\n"
    );

    let no_proc = "cannot use /proc: No such device";
    for setup in [
        "mount -t tmpfs t /proc",
        "mount --bind $DIR/fake /proc",
        "mount --bind /proc/1 /proc",
        "mount --bind /proc/$$/fd /proc",
        "mount --bind /proc/sys /proc",
        "umount -l /proc",
        "mount -t sysfs t /proc",
    ] {
        assert_refused(&on_strange_host(&host, &tool, setup), no_proc);
    }
    // Below a true one: this shell becomes selfdock, so the process number is known.
    let below = on_strange_host(&host, &tool, "mount --bind $DIR/fd /proc/$$/fd");
    assert_refused(
        &below,
        "cannot restrict the inherited descriptors: Cross-device link",
    );
    let below = on_strange_host(&host, &tool, "mount --bind $DIR/fake/self /proc/$$");
    assert_refused(
        &below,
        "cannot restrict the inherited descriptors: Cross-device link",
    );
}

/// The same where the root directory has no /proc at all.
#[test]
fn a_host_without_a_directory_for_proc_is_refused() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("rootfs");
    fs::remove_dir(rootfs.join("proc")).unwrap();
    host.install(&rootfs.join("selfdock"));
    copy(&host.compile("start", START), &rootfs.join("start"));
    // A root, not a chroot: so pivot_root.
    let script = "mount --bind $DIR/rootfs $DIR/rootfs; cd $DIR/rootfs; pivot_root . mnt;
        exec /start uid=$ID /selfdock run /bin/echo ran";
    let run = host.with_own_mounts(script).output().unwrap();
    assert_refused(&run, "cannot use /proc: No such file or directory");
}

/// Attack: a device of the caller's making goes into /dev, where everybody trusts it; or a file of
/// root's, for the command to write to.
#[test]
fn a_faked_device_is_refused() {
    let host = Host::new();
    host.caller_file("file", 0o666, "");
    nix::unistd::mkfifo(
        &host.path("fifo"),
        nix::sys::stat::Mode::from_bits_truncate(0o666),
    )
    .unwrap();
    let refused = |device: &str| format!("cannot use {device:?}: No such device");
    for device in [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
        "/dev/tty",
    ] {
        let other = if device == "/dev/zero" {
            "/dev/full"
        } else {
            "/dev/zero"
        };
        for fake in ["$DIR/file", "$DIR/fifo", other] {
            let setup = format!("mount --bind {fake} {device}");
            let run = host
                .on_host(&setup, host.program())
                .args(SAY)
                .output()
                .unwrap();
            assert_refused(&run, &refused(device));
        }
    }
    let linked = "mount -t tmpfs t /dev; ln -s $DIR/file /dev/null; ln -s null /dev/zero";
    let run = host
        .on_host(linked, host.program())
        .args(SAY)
        .output()
        .unwrap();
    assert_refused(
        &run,
        "cannot use \"/dev/null\": Too many symbolic links encountered",
    );
    let missing = "mount -t tmpfs t /dev";
    let run = host
        .on_host(missing, host.program())
        .args(SAY)
        .output()
        .unwrap();
    assert_refused(&run, "cannot use \"/dev/null\": No such file or directory");
    assert_eq!(fs::read(host.path("file")).unwrap(), b"");
}

/// Attack: a timer, set before exec, ends selfdock at any of its steps.
#[test]
fn an_alarm_at_any_moment_leaves_nothing() {
    let host = Host::new();
    let tool = host.compile("start", START);
    let (mut ran, mut killed) = (0, 0);
    let say = |alarm: u128| {
        let mut command = start(&host, &tool, &[format!("alarm={alarm}")]);
        command.args(SAY).output().unwrap()
    };
    // As fast as it can be: half of the alarms come earlier than that.
    let took = (0..5).map(|_| {
        let begin = Instant::now();
        assert_eq!(out(&say(0)), "ran\n");
        begin.elapsed().as_micros()
    });
    let shortest = took.min().unwrap();
    for step in 0..200 {
        let run = say(shortest * step / 100 + 1);
        match (run.status.code(), run.status.signal()) {
            (Some(0), None) => ran += 1,
            (None, Some(libc::SIGALRM)) => killed += 1,
            // The alarm of a process that exec replaces meanwhile is one of its successor.
            _ => panic!("{step}: {}", text(&run)),
        }
        host.assert_nothing_runs();
    }
    assert!(killed > 10, "{killed} killed, {ran} ran");
}

/// The same by SIGKILL, which no process can see coming: to the launcher, hence to all of it.
#[test]
fn a_kill_at_any_moment_leaves_nothing() {
    let host = Host::new();
    let before = mounts();
    for levels in [1, 2] {
        for step in 0..200 {
            let mut command = host.selfdock();
            let program = host.program();
            if levels == 2 {
                command.arg("run").arg(program);
            }
            let command = command.args(["run", "/bin/sleep", "1000"]);
            let mut child = command.stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(step * 100));
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
            assert_nothing_is_left(&host, &format!("{levels} levels, after {} us", step * 100));
        }
    }
    assert_eq!(mounts(), before);
}

/// As `assert_nothing_runs`, and says when it was.
#[track_caller]
fn assert_nothing_is_left(host: &Host, when: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !host.processes().is_empty() {
        assert!(
            Instant::now() < deadline,
            "{when}: {:?} left running",
            host.processes()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Says `sound` if it runs as a command must: no capability, a bounding set of three, nothing
/// gained by a set-user-id program, pid 1, and every mount but one nosuid. Or `sound in a user
/// namespace`: of that one user alone, an empty bounding set, every mount nosuid. Else what is wrong.
const WITNESS: &str = r#"
#define _GNU_SOURCE
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    uid_t real, effective, saved;
    if (argc < 2) return 1;
    if (getpid() != 1) puts("not pid 1");
    if (getresuid(&real, &effective, &saved) || !real || real != effective || real != saved) puts("ids");
    if (syscall(SYS_capget, &header, data)) return 2;
    for (int half = 0; half < 2; half++)
        if (data[half].effective | data[half].permitted | data[half].inheritable) puts("capabilities");
    unsigned inside, outside, length;
    FILE *map = fopen("/proc/self/uid_map", "r");
    if (!map || fscanf(map, "%u %u %u", &inside, &outside, &length) != 3) return 4;
    int is_machines = !inside && !outside && length == ~0U;
    if (!is_machines && (inside != real || outside != real || length != 1 || fscanf(map, "%u", &inside) == 1)) puts("map");
    for (int number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; number++) {
        int kept = !is_machines ? 0 : number == CAP_SYS_ADMIN || number == CAP_SYS_CHROOT || number == CAP_SETPCAP;
        if (prctl(PR_CAPBSET_READ, number, 0, 0, 0) != kept) printf("bounding set: %d\n", number);
    }
    FILE *table = fopen("/proc/self/mountinfo", "r");
    if (!table) return 3;
    char line[4096];
    int live = 0, mounts = 0;
    while (fgets(line, sizeof line, table)) {
        mounts++;
        if (!strstr(line, "nosuid")) live++;
        if (!strncmp(argv[1], "/", 1) && !strstr(line, "nosuid") && !strstr(line, argv[1])) printf("live: %s", line);
        if (strstr(line, " shared:") || strstr(line, " master:")) printf("not private: %s", line);
    }
    if (live > is_machines || mounts < 5) printf("mounts: %d, not nosuid: %d\n", mounts, live);
    puts(is_machines ? "sound" : "sound in a user namespace");
    return 0;
}
"#;

const IN_USER_NAMESPACE: &str = "sound in a user namespace\n";

/// What the witness says of an instance of the program that is installed.
fn sound() -> &'static str {
    Install::wanted().choose("sound\n", "sound\n", IN_USER_NAMESPACE)
}

/// Root's strace makes the Nth call of `call` in every process fail, or lie, until there is none.
///
/// Calls `judge` with what came of it; answers how many runs were interfered with.
fn interfere(
    host: &Host,
    call: &str,
    how: &str,
    numbers: impl Iterator<Item = usize>,
    judge: impl Fn(usize, &Output),
) -> usize {
    let log = host.path(format!("log-{call}"));
    let mut count = 0;
    for number in numbers {
        // In a namespace of its own: where one call only claims success, the next ones may hit what
        // was not meant. And what hangs is no refusal either.
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private"])
            .args(["timeout", "--signal=KILL", "60"])
            .args(["strace", "-f", "-qq", "-o"])
            .arg(&log);
        command.args([
            "-e",
            &format!("trace={call}"),
            "-e",
            &format!("inject={call}:{how}:when={number}"),
        ]);
        command
            .arg(host.path("start"))
            .arg(format!("uid={}", host.uid()))
            .arg(host.program());
        command
            .arg("run")
            .arg(host.path("witness"))
            .arg("/bin/selfdock");
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .env_remove("RUST_BACKTRACE");
        let run = command.output().expect("strace is needed");
        if !fs::read_to_string(&log).unwrap().contains("INJECTED") {
            assert_eq!(out(&run), sound(), "{call} {number}");
            break;
        }
        judge(number, &run);
        host.assert_nothing_runs();
        count += 1;
    }
    count
}

/// Fails unless selfdock refused, or all is as it must be nevertheless.
fn assert_refused_or_sound(call: &str, number: usize, run: &Output) {
    let said = text(run);
    if run.status.success() {
        assert_eq!(out(run), sound(), "{call} {number}");
    } else {
        assert_given_up(call, number, run);
    }
    assert!(
        run.stderr.is_empty() || run.stderr.starts_with(b"selfdock: "),
        "{call} {number}: {said}"
    );
}

/// Fails unless selfdock ended itself, and no command ran: by a refusal or, where it could not even
/// lower what it had raised, by abort(3).
fn assert_given_up(call: &str, number: usize, run: &Output) {
    let said = text(run);
    let has_aborted = call.starts_with("cap") && run.status.signal() == Some(libc::SIGABRT);
    assert!(
        run.status.code() == Some(CANNOT) || has_aborted,
        "{call} {number}: {said}"
    );
    assert!(run.stdout.is_empty(), "{call} {number}: {said}");
}

fn host_for_interference() -> Host {
    let host = Host::new();
    host.compile("start", START);
    host.compile("witness", WITNESS);
    let mut control = host.as_caller(host.path("witness"));
    let control = control.arg("x").output().unwrap();
    assert!(text(&control).contains("not pid 1") && text(&control).contains("bounding set"));
    host
}

/// Attack: whatever makes a call fail (memory, limits, a security module) leaves a step undone.
#[test]
fn no_failing_call_leaves_a_command_running_in_less_than_an_instance() {
    let host = host_for_interference();
    for call in [
        "unshare",
        "open_tree",
        "mount_setattr",
        "fsopen",
        "fsconfig",
        "fsmount",
        "move_mount",
        "pivot_root",
        "umount2",
        "clone,fork,vfork,clone3",
        "socketpair",
        "pidfd_open",
        "fchdir",
        "close_range",
        "mkdirat",
        "symlinkat",
        "setresuid",
        "getresuid",
        "getresgid",
    ] {
        let judge = |number, run: &Output| {
            assert_refused_or_sound(call, number, run);
            // The working directory alone may be done without.
            assert!(
                call == "fchdir" || !run.status.success(),
                "{call} {number}: {}",
                text(run)
            );
        };
        // More than thirty of any are of a kind.
        let interfered = interfere(&host, call, "error=EPERM", 1..30, judge);
        assert!(interfered > 0, "{call} is not called at all");
    }
}

/// Attack: for want of a descriptor, selfdock's own file would not be found, and not be mounted over what
/// the host hides there.
#[test]
fn an_own_file_that_cannot_be_looked_for_is_no_missing_one() {
    let host = host_for_interference();
    let program = host.program();
    for (how, expected) in [
        ("error=EMFILE", Errno::EMFILE),
        ("error=ENOMEM", Errno::ENOMEM),
    ] {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=openat2"]);
        command.arg("-P").arg(&program);
        command.args(["-e", &format!("inject=openat2:{how}")]);
        command.arg(host.path("start"));
        command
            .arg(format!("uid={}", host.uid()))
            .arg(&program)
            .args(SAY);
        let run = command.stdin(Stdio::null()).output().unwrap();
        // Without privilege it is looked for by its name before that, and only what is found is put there.
        match Install::is_rootless() {
            true => assert_ended(&run, 0),
            false => assert_refused(
                &run,
                &format!(
                    "cannot put selfdock's own file on {program:?}: {}",
                    expected.desc()
                ),
            ),
        }
    }
}

/// Attack: a supervisor is held up before it listens, as by SIGSTOP, and fails then.
#[test]
fn no_command_begins_before_its_supervisor_listens() {
    let host = host_for_interference();
    let how = "delay_enter=500000:error=EMFILE";
    let judge = |number, run: &Output| assert_given_up("signalfd4", number, run);
    assert_eq!(interfere(&host, "signalfd4", how, 1..2, judge), 1);
}

/// The same for the calls that change what the process may do, and for those that look.
#[test]
fn no_failing_change_of_privilege_leaves_the_command_with_more() {
    let host = host_for_interference();
    for (call, numbers) in [
        ("capset", [1, 2, 3, 4, 5, 6, 7, 12, 19, 30, 41]),
        ("capget", [1, 2, 3, 4, 5, 6, 7, 12, 19, 30, 41]),
        ("openat2", [1, 2, 3, 4, 5, 6, 9, 14, 20, 33, 40]),
        ("statx", [1, 2, 3, 4, 5, 6, 9, 14, 20, 33, 40]),
    ] {
        let judge = |number, run: &Output| {
            assert_refused_or_sound(call, number, run);
            let may_succeed = ["openat2", "statx"].contains(&call);
            assert!(
                may_succeed || !run.status.success(),
                "{call} {number}: {}",
                text(run)
            );
        };
        let interfered = interfere(&host, call, "error=EPERM", numbers.into_iter(), judge);
        assert!(interfered > 5, "{call}: {interfered}");
    }
}

/// Each prctl(2), the hundred that cut the bounding set included, fails once.
#[test]
fn no_failing_prctl_leaves_the_command_with_a_wider_bounding_set() {
    let host = host_for_interference();
    let numbers = (1..12).chain((12..110).step_by(9));
    let judge = |number, run: &Output| assert_refused_or_sound("prctl", number, run);
    let interfered = interfere(&host, "prctl", "error=EPERM", numbers, judge);
    assert!(interfered > 15, "{interfered}");
}

/// Attack: a filter lets a call return 0 and do nothing. sendmail kept root by that once.
#[test]
fn a_change_of_privilege_that_only_claims_success_is_refused() {
    let host = host_for_interference();
    let refused =
        |call: &'static str| move |number: usize, run: &Output| assert_given_up(call, number, run);
    let user_id_stays = |number: usize, run: &Output| match Install::wanted() {
        Install::SetUserId => assert_given_up("setresuid", number, run),
        // It is the caller's already, and nothing is left undone.
        _ => assert_eq!(out(run), sound(), "setresuid {number}"),
    };
    let interfered = interfere(&host, "setresuid", "retval=0", 1..4, user_id_stays);
    assert_eq!(interfered, 1);
    let numbers = [1, 2, 3, 4, 5, 6, 7, 12, 19, 30].into_iter();
    let interfered = interfere(&host, "capset", "retval=0", numbers, refused("capset"));
    assert!(interfered > 5, "{interfered}");
    // Without PR_SET_KEEPCAPS the user id takes all that is permitted along: then there is no privilege.
    // The others are seen by what they leave.
    let nothing_is_kept = |number: usize, run: &Output| {
        let expected = Install::wanted().choose(IN_USER_NAMESPACE, sound(), sound());
        assert_eq!(out(run), expected, "prctl {number}");
    };
    let interfered = interfere(&host, "prctl", "retval=0", 1..2, nothing_is_kept);
    assert_eq!(interfered, 1);
    let numbers = (2..12).chain((12..110).step_by(9));
    let judge = |number, run: &Output| assert_refused_or_sound("prctl", number, run);
    assert!(interfere(&host, "prctl", "retval=0", numbers, judge) > 15);
}

/// The same of mounts: each is seen to be where it should, but for covers, beneath which nothing shows
/// that does not show outside; without privilege there are some.
#[test]
fn a_mount_that_only_claims_to_be_there_is_refused() {
    let host = host_for_interference();
    let judge = |number: usize, run: &Output| match Install::is_rootless() {
        true => assert_refused_or_sound("move_mount", number, run),
        false => assert_given_up("move_mount", number, run),
    };
    let interfered = interfere(&host, "move_mount", "retval=0", 1..30, judge);
    // The root, /proc, /dev, /tmp and what is in /dev.
    assert!(interfered > 10, "{interfered}");
}

/// The same of namespaces: the mounts of the host would be rebuilt. Hence in a copy of them.
#[test]
fn a_namespace_that_only_claims_to_be_new_is_refused() {
    let host = Host::new();
    let tool = host.compile("start", START);
    for (kind, flag) in [("pid", libc::CLONE_NEWPID), ("mount", libc::CLONE_NEWNS)] {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        let deny = format!("deny={},0,{flag}", libc::SYS_unshare);
        command.arg(&tool).arg(deny);
        command
            .arg(format!("uid={}", host.uid()))
            .arg(host.program());
        let run = command.args(SAY).stdin(Stdio::null()).output().unwrap();
        let message = format!("cannot make a {kind} namespace: unshare did not take effect");
        assert_refused(&run, &message);
    }
}

/// A usage error is the same kind of refusal, with or without privilege.
#[test]
fn a_wrong_command_line_is_refused_before_anything_is_tried() {
    let host = Host::new();
    let program = misinstalled(&host, "plain", 0o755, 0, 0);
    let run = host
        .as_caller(&program)
        .args(["--frobnicate", "run", "/bin/echo", "ran"])
        .output()
        .unwrap();
    let message =
        "unknown option \"--frobnicate\"\nhint: selfdock --help lists actions and options";
    assert_refused(&run, message);
    assert_ended(&host.run(["--version"]), 0);
    let words: [&OsStr; 0] = [];
    assert_ended(&host.run(words), CANNOT);
}

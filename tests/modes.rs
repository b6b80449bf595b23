//! Where privilege comes from: each way to install selfdock, in each kind of place, with each choice of
//! `--privilege`. It works, by the set-user-id bit or in a user namespace, or it is refused in words.

#![allow(clippy::disallowed_macros)] // what a failing test prints

mod host;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use host::{CANNOT, Host, Install, PLAIN, copy, out, text};

/// What comes of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// An instance in the user namespace of the caller, by privilege that reaches its mounts.
    There,
    /// One in a user namespace of its own.
    Userns,
    /// Refused with status 124, in words that begin so; the hint begins so.
    Refused(&'static str, &'static str),
}
use Outcome::{Refused, There, Userns};

/// Each way to install it, and the name of the file.
const INSTALLS: [(Install, &str); 3] = [
    (Install::SetUserId, "setuid"),
    (Install::FileCapabilities, "capable"),
    (Install::Rootless, "bare"),
];

const CHROOT: Outcome = Refused(
    "cannot make the mount namespace private: Invalid argument",
    "selfdock does not work in a chroot",
);
const NO_NAMESPACE: Outcome = Refused(
    "cannot make a user namespace: unshare: Operation not permitted",
    "selfdock runs in a chroot",
);
const FOREIGN: Outcome = Refused(
    "cannot get privilege: the set-user-id bit is not honoured in this user namespace",
    "run selfdock outside of the user namespace",
);
const FOREVER: Outcome = Refused(
    "cannot get privilege: no_new_privs is set",
    "start it from outside of what has set that",
);
const BARE: Outcome = Refused(
    "cannot get privilege: selfdock is not installed set-user-id root",
    "./install.sh, in its sources",
);
const BOUNDED: Outcome = Refused(
    "cannot get privilege: CAP_SYS_ADMIN is not in the capability bounding set",
    "an outer container, or an instance of root's, withholds it",
);

/// A kind of place: how `program`, with these options, is started there; and what comes of that, for
/// each installation, with `auto` and with `setuid`. (`userns` is Userns wherever it can be.)
struct Place {
    name: &'static str,
    start: fn(&Host, &Path, &[&str]) -> Output,
    auto: [Outcome; 3],
    setuid: [Outcome; 3],
    userns: Outcome,
}

const PLACES: [Place; 10] = [
    Place {
        name: "the host",
        start: |host, program, options| finish(host.as_caller(program), options),
        auto: [There, There, Userns],
        setuid: [There, There, BARE],
        userns: Userns,
    },
    Place {
        name: "an instance",
        start: |host, program, options| {
            let mut command = host.as_caller(program);
            command.arg("run").arg(program);
            finish(command, options)
        },
        auto: [There, There, Userns],
        setuid: [There, There, BOUNDED],
        userns: Userns,
    },
    Place {
        name: "an instance without nesting",
        start: |host, program, options| {
            let mut command = host.as_caller(program);
            command.args(["--no-nest", "run"]).arg(program);
            finish(command, options)
        },
        auto: [Userns; 3],
        setuid: [FOREVER; 3],
        userns: Userns,
    },
    Place {
        name: "unshare --map-root-user --mount",
        start: |host, program, options| within(host, &["unshare", "-Urm"], program, options),
        auto: [There; 3],
        setuid: [There; 3],
        userns: Userns,
    },
    Place {
        name: "unshare --map-root-user",
        start: |host, program, options| within(host, &["unshare", "-Ur"], program, options),
        auto: [Userns; 3],
        setuid: [FOREIGN; 3],
        userns: Userns,
    },
    Place {
        name: "unshare --map-current-user",
        start: |host, program, options| {
            within(
                host,
                &["unshare", "-U", "--map-current-user"],
                program,
                options,
            )
        },
        auto: [Userns; 3],
        setuid: [FOREIGN; 3],
        userns: Userns,
    },
    Place {
        name: "no_new_privs",
        start: |host, program, options| {
            within(host, &["setpriv", "--no-new-privs"], program, options)
        },
        auto: [Userns; 3],
        setuid: [FOREVER; 3],
        userns: Userns,
    },
    Place {
        name: "bwrap",
        start: |host, program, options| {
            within(host, &["bwrap", "--dev-bind", "/", "/"], program, options)
        },
        auto: [Userns; 3],
        setuid: [FOREVER; 3],
        userns: Userns,
    },
    Place {
        name: "bwrap with a /proc of its own",
        start: |host, program, options| {
            let bwrap = [
                "bwrap",
                "--dev-bind",
                "/",
                "/",
                "--unshare-pid",
                "--proc",
                "/proc",
            ];
            within(host, &bwrap, program, options)
        },
        auto: [Userns; 3],
        setuid: [FOREVER; 3],
        userns: Userns,
    },
    Place {
        name: "a chroot",
        start: in_chroot,
        auto: [CHROOT, CHROOT, NO_NAMESPACE],
        setuid: [CHROOT, CHROOT, BARE],
        userns: NO_NAMESPACE,
    },
];

/// The caller runs `wrapper` with the program.
fn within(host: &Host, wrapper: &[&str], program: &Path, options: &[&str]) -> Output {
    let mut command = host.as_caller(wrapper[0]);
    command.args(&wrapper[1..]).arg(program);
    finish(command, options)
}

/// Root changes to a root directory that has what selfdock needs, and becomes the caller.
const CHANGE_ROOT: &str = "mount -t proc proc $DIR/rootfs/proc; mount --rbind /dev $DIR/rootfs/dev
    exec chroot --userspec=$ID:$ID --groups= $DIR/rootfs \"$@\"";

fn in_chroot(host: &Host, program: &Path, options: &[&str]) -> Output {
    let rootfs = host.path("rootfs");
    if !rootfs.exists() {
        host.busybox_rootfs("rootfs");
    }
    let name = program.file_name().unwrap().to_str().unwrap();
    let (install, _) = INSTALLS
        .into_iter()
        .find(|(_, file)| *file == name)
        .unwrap();
    host.install_as(install, &rootfs.join(name));
    let mut command = host.with_own_mounts(CHANGE_ROOT);
    command.arg(Path::new("/").join(name));
    let run = finish(command, options);
    fs::remove_file(rootfs.join(name)).unwrap();
    run
}

/// The command tells in which user namespace it is, and whether it is in an instance.
fn finish(mut command: Command, options: &[&str]) -> Output {
    command
        .args(options)
        .args(["run", "/bin/sh", "-c", "echo $$; cat /proc/self/uid_map"])
        .current_dir("/")
        .stdin(Stdio::null())
        .env_remove("RUST_BACKTRACE");
    command.output().unwrap()
}

/// Fails unless that is what has come of it. `outer` is the map of the user namespace of the place.
#[track_caller]
fn assert_outcome(run: &Output, expected: Outcome, outer: &str) {
    match expected {
        Refused(message, hint) => {
            assert_eq!(run.status.code(), Some(CANNOT), "{}", text(run));
            let said = String::from_utf8_lossy(&run.stderr);
            let (first, second) = said.split_once('\n').unwrap();
            assert!(first.starts_with(&format!("selfdock: {message}")), "{said}");
            assert!(second.starts_with(&format!("hint: {hint}")), "{said}");
            assert!(run.stdout.is_empty(), "{}", text(run));
        }
        There | Userns => {
            let lines: Vec<_> = out(run).lines().collect();
            let words: Vec<_> = lines[1].split_whitespace().collect();
            assert_eq!((lines.len(), lines[0]), (2, "1"), "{}", text(run));
            let is_same = lines[1] == outer;
            assert_eq!(is_same, expected == There, "{}", text(run));
            if expected == Userns {
                assert_eq!((words[0], words[2]), (words[1], "1"), "{}", text(run));
            }
        }
    }
}

#[test]
fn each_installation_works_in_each_place_or_is_refused_in_words() {
    let host = Host::new();
    for (install, name) in INSTALLS {
        host.install_as(install, &host.path(name));
    }
    for place in &PLACES {
        // What the map of the place itself is, where selfdock would be: not in a chroot, which has none.
        let outer = match place.name {
            "unshare --map-root-user --mount" => format!("{:>10} {:>10} {:>10}", 0, host.uid(), 1),
            _ => format!("{:>10} {:>10} {:>10}", 0, 0, u32::MAX),
        };
        for (index, (_, name)) in INSTALLS.into_iter().enumerate() {
            let program = host.path(name);
            for (mode, expected) in [
                (&[][..], place.auto[index]),
                (&["--privilege", "auto"], place.auto[index]),
                (&["--privilege", "setuid"], place.setuid[index]),
                (&["--privilege", "userns"], place.userns),
            ] {
                println!("{}, {name}, {mode:?}: {expected:?}", place.name); // where it fails
                assert_outcome(&(place.start)(&host, &program, mode), expected, &outer);
            }
        }
    }
}

#[test]
fn doctor_says_that_all_works_where_it_does() {
    let host = Host::new();
    for (install, name) in INSTALLS {
        host.install_as(install, &host.path(name));
    }
    for name in ["setuid", "capable"] {
        let run = finish_doctor(host.as_caller(host.path(name)), &[]);
        assert_eq!(
            out(&run),
            "setuid: works\nuserns: works\nrun: works, by setuid\n"
        );
        let run = finish_doctor(host.as_caller(host.path(name)), &["--json"]);
        let mode =
            |mode| format!("{{\"mode\":\"{mode}\",\"works\":true,\"refusal\":null,\"causes\":[]}}");
        let modes = [mode("setuid"), mode("userns")].join(",");
        assert_eq!(
            out(&run),
            format!("{{\"run\":\"setuid\",\"modes\":[{modes}]}}\n")
        );
    }
    let program = host.path("bare");
    let run = finish_doctor(host.as_caller(&program), &[]);
    let words = "setuid: no: cannot get privilege: selfdock is not installed set-user-id root\n  \
         selfdock is not installed set-user-id root\n    \
         ./install.sh, in its sources, installs it as it must be\n\
         userns: works\nrun: works, by userns\n";
    assert_eq!(out(&run), words);
}

fn finish_doctor(mut command: Command, options: &[&str]) -> Output {
    command.arg("doctor").args(options);
    command.env_remove("RUST_BACKTRACE").output().unwrap()
}

/// What is in the way, as root makes it or the caller does; and what doctor says of it.
struct Trouble {
    /// Run by root, on a host of its own.
    setup: &'static str,
    /// What the caller starts it with.
    wrapper: &'static [&'static str],
    /// Which program.
    program: &'static str,
    /// Of `setuid`, and of `userns`: the causes that are told, `None` where it works.
    causes: [Option<&'static [&'static str]>; 2],
}

const NONE: Option<&'static [&'static str]> = None;

const TROUBLES: [Trouble; 14] = [
    Trouble {
        setup: "",
        wrapper: &["setpriv", "--no-new-privs"],
        program: "setuid",
        causes: [Some(&["no_new_privs is set"]), NONE],
    },
    Trouble {
        setup: "mount -t tmpfs -o nosuid,mode=755 tmpfs $DIR/mnt; cp -p $DIR/setuid $DIR/mnt/",
        wrapper: &[],
        program: "mnt/setuid",
        causes: [Some(&["selfdock is on a nosuid filesystem"]), NONE],
    },
    Trouble {
        setup: "mount -t tmpfs -o mode=755 tmpfs $DIR/mnt; cp -p $DIR/setuid $DIR/mnt/
            chown $ID $DIR/mnt/setuid; chmod 4755 $DIR/mnt/setuid",
        wrapper: &[],
        program: "mnt/setuid",
        causes: [
            Some(&["selfdock is installed set-user-id, but does not belong to root"]),
            NONE,
        ],
    },
    Trouble {
        setup: "",
        wrapper: &["strace", "-f", "-o", "/dev/null"],
        program: "setuid",
        causes: [Some(&["selfdock is being traced"]), NONE],
    },
    Trouble {
        setup: "",
        wrapper: &["strace", "-o", "/dev/null"],
        program: "setuid",
        causes: [Some(&["selfdock is being traced"]), NONE],
    },
    Trouble {
        setup: "",
        wrapper: &["unshare", "-U", "--map-current-user"],
        program: "setuid",
        causes: [
            Some(&["the set-user-id bit is not honoured in this user namespace"]),
            NONE,
        ],
    },
    Trouble {
        setup: "mount --bind /dev/null /proc/version",
        wrapper: &[],
        program: "setuid",
        causes: [None, Some(&["an outer container hides parts of /proc"])],
    },
    Trouble {
        setup: "mount --bind /dev/null /proc/version",
        wrapper: &[],
        program: "bare",
        causes: [
            Some(&["selfdock is not installed set-user-id root"]),
            Some(&["an outer container hides parts of /proc"]),
        ],
    },
    Trouble {
        setup: "",
        wrapper: &["$DIR/forbid"],
        program: "setuid",
        causes: [
            Some(&["no_new_privs is set"]),
            Some(&["a seccomp filter forbids user namespaces"]),
        ],
    },
    Trouble {
        setup: "mkdir $DIR/mnt/kernel; echo 0 > $DIR/mnt/kernel/unprivileged_userns_clone
            mount --bind $DIR/mnt/kernel /proc/sys/kernel",
        wrapper: &[],
        program: "setuid",
        causes: [
            None,
            Some(&[
                "kernel.unprivileged_userns_clone is 0",
                "an outer container hides parts of /proc",
            ]),
        ],
    },
    Trouble {
        setup:
            "mkdir $DIR/mnt/kernel; echo 1 > $DIR/mnt/kernel/apparmor_restrict_unprivileged_userns
            mount --bind $DIR/mnt/kernel /proc/sys/kernel",
        wrapper: &[],
        program: "setuid",
        causes: [
            None,
            Some(&[
                "kernel.apparmor_restrict_unprivileged_userns is not 0",
                "an outer container hides parts of /proc",
            ]),
        ],
    },
    Trouble {
        setup: "mkdir $DIR/mnt/user; echo 0 > $DIR/mnt/user/max_user_namespaces
            mount --bind $DIR/mnt/user /proc/sys/user",
        wrapper: &[],
        program: "setuid",
        causes: [
            None,
            Some(&[
                "user.max_user_namespaces is 0",
                "an outer container hides parts of /proc",
            ]),
        ],
    },
    Trouble {
        setup: "exec setpriv --bounding-set=-sys_admin --reuid $ID --regid $ID --clear-groups \"$@\"",
        wrapper: &[],
        program: "setuid",
        causes: [
            Some(&["CAP_SYS_ADMIN is not in the capability bounding set"]),
            NONE,
        ],
    },
    Trouble {
        setup: "exec setpriv --securebits +noroot --reuid $ID --regid $ID --clear-groups \"$@\"",
        wrapper: &[],
        program: "setuid",
        causes: [
            Some(&["the secure bits withhold capabilities (SECBIT_NOROOT)"]),
            NONE,
        ],
    },
];

/// Refuses unshare(2) and clone(2) of user namespaces to itself, and executes.
const FORBID: &str = r#"
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_unshare, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JSET, CLONE_NEWUSER, 0, 1),
        BPF_STMT(BPF_RET, SECCOMP_RET_ERRNO | 1),
        BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return perror("seccomp"), 99;
    execv(argv[1], argv + 1);
    return perror(argv[1]), 99;
}
"#;

#[test]
fn doctor_names_what_is_in_the_way_and_run_the_first_of_it() {
    let host = Host::new();
    for (install, name) in INSTALLS {
        host.install_as(install, &host.path(name));
    }
    host.root_dir("mnt", 0o755);
    host.compile("forbid", FORBID);
    for trouble in &TROUBLES {
        println!("{} {:?}", trouble.setup, trouble.wrapper); // where it fails
        let start = |words: &[&str]| {
            let dir = host.path("");
            let program = dir.join(trouble.program);
            let wrapper = trouble.wrapper.iter();
            let mut all: Vec<_> = wrapper
                .map(|word| word.replace("$DIR/", dir.to_str().unwrap()))
                .collect();
            all.push(program.to_str().unwrap().to_owned());
            let setup = format!("{PLAIN}\n{}", trouble.setup);
            let mut command = host.on_host(&setup, &all[0]);
            let run = command.args(&all[1..]).args(words).output().unwrap();
            let _ = fs::remove_dir_all(dir.join("mnt/kernel"));
            let _ = fs::remove_dir_all(dir.join("mnt/user"));
            run
        };
        let doctor = start(&["doctor"]);
        let words = String::from_utf8_lossy(&doctor.stdout).into_owned();
        let works = trouble.causes.iter().any(Option::is_none);
        let status = if works { 0 } else { CANNOT };
        assert_eq!(doctor.status.code(), Some(status), "{}", text(&doctor));
        for (mode, causes) in ["setuid", "userns"].into_iter().zip(trouble.causes) {
            assert_eq!(
                told(&words, mode),
                causes.unwrap_or_default(),
                "{mode}: {words}"
            );
            let first = words
                .lines()
                .find(|line| line.starts_with(&format!("{mode}: ")));
            let is_working = first == Some(&format!("{mode}: works"));
            assert_eq!(is_working, causes.is_none(), "{words}");
            let run = start(&["--privilege", mode, "run", "/bin/echo", "ran"]);
            match causes {
                None => assert_eq!(out(&run), "ran\n"),
                Some(causes) => {
                    assert_eq!(run.status.code(), Some(CANNOT), "{}", text(&run));
                    let said = String::from_utf8_lossy(&run.stderr).into_owned();
                    let refusal = first
                        .unwrap()
                        .strip_prefix(&format!("{mode}: no: "))
                        .unwrap();
                    assert!(
                        said.starts_with(&format!("selfdock: {refusal}\nhint: ")),
                        "{said}"
                    );
                    let is_said = causes.iter().any(|cause| said.contains(cause));
                    assert!(is_said, "{said}");
                }
            }
        }
        let run = start(&["run", "/bin/echo", "ran"]);
        assert_eq!(run.status.code(), Some(status), "{}", text(&run));
        // What a program reads says the same.
        let json = start(&["doctor", "--json"]);
        let code = "import json,sys; found = json.load(sys.stdin)
print(found['run'])
for mode in found['modes']:
    for cause in mode['causes']: print(mode['mode'], cause['cause'])
    assert mode['works'] == (mode['refusal'] is None) == (not mode['causes'])
    assert all(cause['remedy'] for cause in mode['causes'])";
        let mut python = Command::new("python3");
        python
            .args(["-c", code])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut python = python.spawn().unwrap();
        let mut input = python.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, &json.stdout).unwrap();
        drop(input);
        let lines = python.wait_with_output().unwrap();
        let lines = out(&lines);
        for (mode, causes) in ["setuid", "userns"].into_iter().zip(trouble.causes) {
            let told: Vec<_> = lines
                .lines()
                .filter_map(|line| line.strip_prefix(&format!("{mode} ")))
                .collect();
            assert_eq!(told, causes.unwrap_or_default(), "{lines}");
        }
    }
}

/// The causes that the text names for a mode: each stands before its remedy.
fn told<'a>(text: &'a str, mode: &str) -> Vec<&'a str> {
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with(&format!("{mode}: ")))
        .skip(1)
        .take_while(|line| line.starts_with("  "));
    let mut causes = Vec::new();
    while let Some(cause) = lines.next() {
        causes.push(cause.trim_start());
        let remedy = lines.next().unwrap();
        assert!(remedy.starts_with("    "), "{text}");
    }
    causes
}

#[test]
fn doctor_in_a_chroot_says_so() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("rootfs");
    for (install, name) in INSTALLS {
        host.install_as(install, &rootfs.join(name));
        let mut command = host.with_own_mounts(CHANGE_ROOT);
        command.arg(Path::new("/").join(name)).arg("doctor");
        let run = command.output().unwrap();
        assert_eq!(run.status.code(), Some(CANNOT), "{}", text(&run));
        let words = String::from_utf8_lossy(&run.stdout).into_owned();
        for mode in ["setuid", "userns"] {
            let causes = told(&words, mode);
            assert!(causes.contains(&"selfdock runs in a chroot"), "{words}");
        }
        assert!(words.ends_with("run: no\n"), "{words}");
    }
}

/// Nothing of `doctor`'s is done with privilege, and it leaves nothing.
#[test]
fn doctor_takes_json_and_nothing_else() {
    let host = Host::new();
    for words in [
        &["doctor", "now"][..],
        &["--here", "doctor"],
        &["doctor", "--name", "x"],
        &["--privilege", "userns", "doctor"],
    ] {
        host::assert_refused(
            &host.run(words),
            "doctor takes no option but --json, and no command",
        );
    }
}

#[test]
fn a_choice_that_is_none_is_refused() {
    let host = Host::new();
    for word in ["", "none", "Setuid", "root", "setuid,userns"] {
        host::assert_refused(
            &host.run(["--privilege", word, "run", "true"]),
            &format!("cannot get privilege by {word:?}: auto, setuid and userns are known"),
        );
    }
    host::assert_refused(
        &host.run(["enter", "web", "--privilege", "setuid", "true"]),
        "option --privilege is not for enter, which makes no instance",
    );
    let last = host.run([
        "--privilege",
        "setuid",
        "--privilege",
        "userns",
        "run",
        "/bin/true",
    ]);
    out(&last);
}

/// Of `unshare -U` without a map not even the user id can be set to itself: the entry point ends there.
#[test]
fn a_user_without_a_number_is_refused() {
    let host = Host::new();
    let mut command = host.as_caller("unshare");
    command
        .arg("--user")
        .arg(host.program())
        .args(["run", "/bin/true"]);
    let run = command.output().unwrap();
    assert_eq!(run.status.code(), Some(CANNOT), "{}", text(&run));
    assert!(run.stdout.is_empty(), "{}", text(&run));
}

/// Root without CAP_SYS_ADMIN, as in most containers.
#[test]
fn root_without_the_capability_is_in_a_user_namespace_without_any() {
    let host = Host::new();
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-sys_admin"])
        .arg(host.program());
    let script = "cat /proc/self/uid_map; grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status";
    let run = command
        .args(["run", "/bin/sh", "-c", script])
        .output()
        .unwrap();
    let none = "0000000000000000";
    let expected = format!(
        "{:>10} {:>10} {:>10}\nCapPrm:\t{none}\nCapEff:\t{none}\nCapBnd:\t{none}\n",
        0, 0, 1
    );
    assert_eq!(out(&run), expected);
    // And without what the kernel wants from who maps root.
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-sys_admin,-setfcap"])
        .arg(host.program());
    let run = command.args(["run", "/bin/true"]).output().unwrap();
    assert_eq!(run.status.code(), Some(CANNOT), "{}", text(&run));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    let message = "selfdock: cannot make a user namespace: uid_map: Operation not permitted";
    assert!(said.starts_with(message), "{said}");
}

/// As deep as the kernel lets, and in words beyond.
#[test]
fn user_namespaces_nest_to_the_kernels_limit() {
    let host = Host::new();
    let program = host.path("bare");
    host.install_as(Install::Rootless, &program);
    let deep = |levels: usize| {
        let mut command = host.as_caller(&program);
        for level in 0..levels {
            command.arg("run");
            if level + 1 < levels {
                command.arg(&program);
            }
        }
        command.args(["/bin/sh", "-c", "echo $$"]).output().unwrap()
    };
    for levels in [1, 2, 5, 16, 32] {
        assert_eq!(out(&deep(levels)), "1\n", "{levels}");
    }
    let run = deep(33);
    assert_eq!(run.status.code(), Some(CANNOT), "{}", text(&run));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("32 levels"), "{said}");
}

/// The kinds of outer and inner mode go together, but for one: privilege does not come back.
#[test]
fn a_setuid_instance_holds_a_user_namespace_but_not_the_other_way_round() {
    let host = Host::new();
    let program = host.path("setuid");
    host.install_as(Install::SetUserId, &program);
    let within = |outer: &str, inner: &str| {
        let mut command = host.as_caller(&program);
        command.args(["--privilege", outer, "run"]).arg(&program);
        command
            .args(["--privilege", inner, "run", "/bin/echo", "ran"])
            .output()
            .unwrap()
    };
    for (outer, inner) in [
        ("setuid", "setuid"),
        ("setuid", "userns"),
        ("userns", "userns"),
    ] {
        assert_eq!(out(&within(outer, inner)), "ran\n", "{outer} {inner}");
    }
    let run = within("userns", "setuid");
    assert_eq!(run.status.code(), Some(CANNOT), "{}", text(&run));
}

/// A copy, for who copies the program to another machine without its bit.
#[test]
fn a_copy_in_the_callers_own_directory_runs_without_root() {
    let host = Host::new();
    let home = host.caller_dir("home");
    let program = home.join("selfdock");
    copy(&host.program(), &program);
    let run = host
        .as_caller(&program)
        .gid(host.uid())
        .args([
            "run",
            "/bin/sh",
            "-c",
            "id -u; touch /x 2>&1; $0 run /bin/echo inner",
        ])
        .arg(&program)
        .output()
        .unwrap();
    let lines: Vec<_> = out(&run).lines().collect();
    assert_eq!(lines[0], host.uid().to_string());
    assert!(lines[1].contains("Read-only file system"), "{lines:?}");
    assert_eq!(lines[2], "inner");
}

/// The limit is the user namespace's own, so that this one concerns nobody else.
#[test]
fn where_no_user_namespace_may_be_made_the_setting_is_named() {
    let host = Host::new();
    let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"";
    let start = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--mount",
            "/bin/sh",
            "-euc",
            script,
            "sh",
        ]);
        command.arg(host.program()).args(words).output().unwrap()
    };
    host::assert_refused(
        &start(&["--privilege", "userns", "run", "/bin/true"]),
        "cannot make a user namespace: unshare: No space left on device\n\
         hint: user.max_user_namespaces is 0: as root: sysctl user.max_user_namespaces=15000",
    );
    let doctor = start(&["doctor"]);
    let words = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert_eq!(
        told(&words, "userns"),
        ["user.max_user_namespaces is 0"],
        "{words}"
    );
}

#[test]
fn doctor_does_not_depend_on_what_its_caller_does_with_children() {
    let host = Host::new();
    let mut command = host.as_caller("env");
    command
        .arg("--ignore-signal=CHLD")
        .arg(host.program())
        .arg("doctor");
    assert!(out(&command.output().unwrap()).contains("userns: works\n"));
}

/// Started by a program that is set-group-id, say: nothing is started, and doctor says why.
#[test]
fn doctor_says_what_keeps_selfdock_from_starting_at_all() {
    let host = Host::new();
    let program = host.path("grouped");
    copy(&host.program(), &program);
    host::set_mode(&program, 0o2755);
    let run = finish_doctor(host.as_caller(&program), &[]);
    assert_eq!(run.status.code(), Some(CANNOT), "{}", text(&run));
    let refusal = "no: cannot use privilege: the real, effective and saved group ids differ";
    let words = format!("setuid: {refusal}\nuserns: {refusal}\nrun: no\n");
    assert_eq!(String::from_utf8_lossy(&run.stdout), words);
    assert!(run.stderr.is_empty());
}

/// By a filter of root's, which takes no no_new_privs, open_tree(2) may be refused everywhere.
#[test]
fn a_refusal_that_has_nothing_to_do_with_user_namespaces_is_told_as_it_is() {
    let host = Host::new();
    let program = host.path("setuid");
    host.install_as(Install::SetUserId, &program);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=open_tree"]);
    command.args(["-e", "inject=open_tree:error=EPERM"]);
    let id = host.uid().to_string();
    command.args(["setpriv", "--clear-groups", "--reuid", &id, "--regid", &id]);
    command
        .arg(&program)
        .args(["run", "/bin/true"])
        .current_dir("/");
    host::assert_refused(
        &command.output().unwrap(),
        "cannot use privilege: open_tree: Operation not permitted",
    );
}

/// But for the moment in which it makes its namespace: there it is held up later, for a second.
#[test]
fn no_process_of_selfdocks_in_a_user_namespace_can_be_looked_at() {
    let host = Host::new();
    let program = host.path("bare");
    host.install_as(Install::Rootless, &program);
    let script = "
import os, select, sys
own = os.readlink('/proc/self/ns/user')
while not select.select([sys.stdin], [], [], 0.01)[0]:
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            if os.readlink(f'/proc/{pid}/ns/user') != own:
                print(open(f'/proc/{pid}/comm').read(), end='')
        except OSError:
            pass";
    let mut watcher = host.as_caller("python3");
    watcher
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut watcher = watcher.spawn().unwrap();
    let mut command = host.as_caller("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=clone,execve"]);
    command.args(["-e", "inject=clone:delay_enter=1000000"]);
    command.arg(&program).args(["run", "/bin/sleep", "3"]);
    out(&command.output().unwrap());
    drop(watcher.stdin.take());
    let seen = watcher.wait_with_output().unwrap();
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    let count = |name: &str| seen.lines().filter(|line| *line == name).count();
    assert!(count("bare") * 5 < count("sleep"), "{seen}");
    assert!(count("sleep") > 5, "control: {seen}");
}

//! Before libc, and before the first capability is gone: nothing is looked up by a path as root,
//! and no variable of the caller's is obeyed, ever. Root's strace sees every call; traced by root,
//! a set-user-id program keeps its privilege.

mod host;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use host::trace::{Call, of_selfdock, trace};
use host::{CANNOT, Host, Install, assert_refused, out, text};

/// Closes descriptors and executes a program: `start [close=N]... [uid=UID] [--] PROGRAM [ARG]...`,
/// as that user if one is given. `argc=0` hands over no words at all, and those of the command line
/// as environment.
const START: &str = r#"
#define _GNU_SOURCE
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int empty = 0;
    for (argv++; *argv; argv++) {
        if (!strncmp(*argv, "close=", 6)) close(atoi(*argv + 6));
        else if (!strncmp(*argv, "uid=", 4)) {
            unsigned uid = atoi(*argv + 4);
            if (setgroups(0, 0) || setregid(uid, uid) || setreuid(uid, uid)) return 92;
        } else if (!strcmp(*argv, "argc=0")) empty = 1;
        else break;
    }
    char *none[] = {0};
    if (empty) execve(argv[0], none, argv + 1);
    else execv(argv[0], argv);
    return 93;
}
"#;

/// Copies a program. By another process: were this one to hold it open for writing, a child that
/// another thread forks meanwhile would hold it too, and exec would say ETXTBSY.
fn copy(from: &Path, to: &Path) {
    let run = Command::new("cp").args([from, to]).output().unwrap();
    assert!(run.status.success(), "{}", text(&run));
}

/// Fails unless `start`, a start of selfdock, gave the user id up before it did anything else.
#[track_caller]
fn assert_nothing_comes_before_the_drop(start: &[Call], uid: u32) {
    let names: Vec<&str> = start.iter().map(|call| call.name.as_str()).collect();
    assert!(
        names.starts_with(&["execve", "prctl", "getuid", "setresuid"]),
        "{start:#?}"
    );
    // What another process does meanwhile may come between a call and its result.
    let drop = format!("setresuid({uid}, {uid}, {uid}");
    let is_done = ["= 0", "<unfinished ...>"];
    assert!(
        start[3].text.starts_with(&drop) && is_done.iter().any(|end| start[3].text.ends_with(end)),
        "{:?}",
        start[3]
    );
    assert!(start[1..3].iter().all(|call| !call.takes_a_path()));
    // And nobody gets anything back.
    let sets_ids = |call: &Call| {
        call.name.starts_with("set") && call.name.contains("id") && call.name != "set_tid_address"
    };
    let again: Vec<_> = start[4..].iter().filter(|call| sets_ids(call)).collect();
    assert!(again.is_empty(), "{again:?}");
}

/// Every way of three descriptors to be closed.
fn closed() -> impl Iterator<Item = Vec<u32>> {
    (0..8_u32).map(|bits| (0..3).filter(|number| bits >> number & 1 == 1).collect())
}

/// Attack: with a descriptor closed, libc opens /dev/null or /dev/full by path before `main`. In a
/// root that the caller shaped that is any file, opened as root.
#[test]
fn whatever_is_closed_no_path_is_looked_up_before_the_user_id_is_given_up() {
    let host = Host::new();
    let tool = host.compile("start", START);
    let (tool, program) = (tool.to_str().unwrap(), host.program());
    let program = program.to_str().unwrap();
    let uid = format!("uid={}", host.uid());
    for closed in closed() {
        let close: Vec<String> = closed
            .iter()
            .map(|number| format!("close={number}"))
            .collect();
        let mut words = vec![tool, &uid];
        words.extend(close.iter().map(String::as_str));
        words.extend([program, "run", "/bin/ls", "/proc/self/fd"]);
        let (run, calls) = trace(&host, &words, &[]);
        let starts = of_selfdock(&calls);
        assert_eq!(starts.len(), 1, "{closed:?}: {}", text(&run));
        let start = &starts[0];
        assert_nothing_comes_before_the_drop(start, host.uid());
        // Each closed one is plugged by something that needs no path, and stays plugged.
        let plugs: Vec<&str> = start
            .iter()
            .filter(|call| call.name == "epoll_create1")
            .map(|call| call.text.as_str())
            .collect();
        let numbers: Vec<u32> = plugs
            .iter()
            .map(|text| text.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(numbers, closed);
        assert!(
            plugs.iter().all(|text| text.contains("EPOLL_CLOEXEC")),
            "{plugs:?}"
        );
        assert_opens_nothing_of_the_callers(start);
        // Where it can, `ls` says what is open: what was, and the directory that it reads.
        if !closed.contains(&1) && !closed.contains(&2) {
            assert_eq!(run.status.code(), Some(0), "{closed:?}: {}", text(&run));
        }
    }
}

/// What is seen in our own /dev when it is complete.
const IN_DEV: [&str; 8] = [
    "null", "zero", "full", "random", "urandom", "tty", "pts", "shm",
];

/// What selfdock opens by a path for reading or writing, where a mere place (`O_PATH`) would not do:
/// its own entries of a proven /proc, and directories that might be empty. Nothing else, ever.
#[track_caller]
fn assert_opens_nothing_of_the_callers(start: &[Call]) {
    for call in start.iter().filter(|call| call.takes_a_path()) {
        let path = call.text.split('"').nth(1).unwrap_or_default();
        let is_known = match call.name.as_str() {
            "openat2" => {
                call.text.contains("O_PATH")
                    || path.starts_with("self/")
                    || path.ends_with("/status")
                    || path == "sys/kernel/apparmor_restrict_unprivileged_userns"
            }
            // The emptiness of a directory; the first entries of our own tmpfs, by descriptor.
            "openat" => {
                let is_made = call.text.contains("O_CREAT|O_EXCL") || call.text.contains("O_PATH");
                path == "." || is_made && !call.text.contains("AT_FDCWD")
            }
            // Those entries, and what is on top of the root directory.
            "statx" if call.text.contains("AT_FDCWD") => ["", "/", "/.."].contains(&path),
            "statx" => path.is_empty() || IN_DEV.contains(&path),
            // The C library's start-up, as the caller; it opens neither.
            "access" => path == "/etc/suid-debug",
            "readlink" => path == "/proc/self/exe",
            // By descriptor, mostly with an empty path.
            "newfstatat" | "readlinkat" | "move_mount" | "faccessat2" => path.is_empty(),
            "mount_setattr" => path.is_empty() || path == "/",
            "open_tree" => path.is_empty() || path == "exe",
            "mkdirat" | "symlinkat" | "fchmodat" => !call.text.contains("AT_FDCWD"),
            "pivot_root" | "umount2" => path == ".",
            // What did not succeed replaces nothing: PATH is searched by trying.
            "execve" => true,
            _ => false,
        };
        let is_of_rootless = Install::is_rootless() && looks_at_own_file(call);
        assert!(is_known || is_of_rootless, "{call:?}");
    }
}

/// To find its own file by name, it must know which that is: by the link in the proven /proc.
fn looks_at_own_file(call: &Call) -> bool {
    let is_its_own = call.name == "openat" && call.path() == Some("exe");
    is_its_own && call.text.contains("O_PATH") && !call.text.contains("AT_FDCWD")
}

/// What must be written with privilege, in the proven /proc: who opens a map is asked what they may.
const MAPS: [&str; 3] = ["self/setgroups", "self/uid_map", "self/gid_map"];

/// The golden list of a whole start, and of a nested one, in the order of the catalogue's wish:
/// which paths a process may name that still has a capability.
#[test]
fn only_known_paths_are_looked_up_with_a_capability_at_hand() {
    let host = Host::new();
    let tool = host.compile("start", START);
    let (tool, program) = (tool.to_str().unwrap(), host.program());
    let program = program.to_str().unwrap();
    let uid = format!("uid={}", host.uid());
    let nested = [
        tool,
        &uid,
        program,
        "run",
        program,
        "run",
        "/bin/echo",
        "ran",
    ];
    let build = [
        tool,
        &uid,
        program,
        "--map",
        "/usr",
        "/mnt",
        "--tmpfs",
        "size=1m",
        "/srv",
        "build",
        "/bin/echo",
        "ran",
    ];
    for (words, count) in [(&nested[..], 2), (&build, 1)] {
        let (run, calls) = trace(&host, words, &[]);
        assert_eq!(out(&run), "ran\n");
        let starts = of_selfdock(&calls);
        assert_eq!(starts.len(), count);
        for start in starts {
            assert_nothing_comes_before_the_drop(&start, host.uid());
            assert_opens_nothing_of_the_callers(&start);
            // Raised, no path but these: a constant in a proven /proc, and the root directory.
            let mut is_raised = false;
            for call in &start {
                if call.name == "capset" {
                    is_raised = call.text.contains("effective=1<<CAP_SYS_ADMIN");
                }
                let path = call.text.split('"').nth(1).unwrap_or_default();
                if is_raised && call.name.starts_with("open") && !path.is_empty() {
                    let is_map = Install::is_rootless() && MAPS.contains(&path);
                    assert!(
                        is_map || ["self", "exe"].contains(&path),
                        "raised: {call:?}"
                    );
                }
            }
        }
    }
}

/// The three sets after each capset(2): who looks a path up has none effective, nobody has others
/// permitted than the work needs, and whoever goes on to wait or to exec has none at all.
#[test]
fn no_capability_is_held_longer_than_it_is_used_and_no_other_at_all() {
    let host = Host::new();
    let tool = host.compile("start", START);
    let uid = format!("uid={}", host.uid());
    let program = host.program();
    let words = [tool.to_str().unwrap(), &uid, program.to_str().unwrap()];
    let words = [
        &words[..],
        &["--map", "/usr", "/mnt", "run", "/bin/echo", "ran"],
    ]
    .concat();
    let (run, calls) = trace(&host, &words, &[]);
    assert_eq!(out(&run), "ran\n");
    let mut processes: std::collections::HashMap<&str, Vec<&Call>> = Default::default();
    for call in &calls {
        processes.entry(&call.pid).or_default().push(call);
    }
    assert_eq!(processes.len(), 2, "the supervisor and pid 1");
    for calls in processes.values() {
        let mut held = Sets::default();
        let calls: Vec<_> = calls
            .iter()
            .skip_while(|call| call.name != "capset")
            .collect();
        let is_command = |call: &&&Call| call.text.starts_with("execve(\"/bin/echo\"");
        for call in calls.iter().take_while(|call| !is_command(call)) {
            if call.name == "capset" {
                held = Sets::of(&call.text);
                assert_eq!(held.inheritable, "0", "{call:?}");
                let needed = [
                    "0",
                    "1<<CAP_SYS_CHROOT",
                    "1<<CAP_SYS_ADMIN",
                    "1<<CAP_SETPCAP",
                ];
                let is_needed = |set: &String| set.split('|').all(|word| needed.contains(&word));
                assert!(
                    is_needed(&held.permitted) && is_needed(&held.effective),
                    "{call:?}"
                );
            }
            let path = call.text.split('"').nth(1).unwrap_or_default();
            if MAPS.contains(&path) {
                assert!(Install::is_rootless(), "{call:?}");
                assert_eq!(held.effective, "1<<CAP_SYS_ADMIN", "{call:?}");
            } else if call.name.starts_with("open") && !["", "exe"].contains(&path) {
                assert_eq!(held.effective, "0", "{call:?}");
            }
        }
        assert_eq!(
            (held.permitted.as_str(), held.effective.as_str()),
            ("0", "0")
        );
    }
}

/// The sets that capset(2) sets, as strace writes them.
#[derive(Default)]
struct Sets {
    effective: String,
    permitted: String,
    inheritable: String,
}

impl Sets {
    fn of(text: &str) -> Self {
        let set = |name: &str| {
            let (_, rest) = text.split_once(&format!("{name}=")).unwrap();
            rest.split([',', '}']).next().unwrap().to_owned()
        };
        Self {
            effective: set("effective"),
            permitted: set("permitted"),
            inheritable: set("inheritable"),
        }
    }
}

/// The same inside of a root that the caller shaped: /dev/null is a link to root's file, or is one
/// of the caller's; /etc/ld.so.preload names a library. The nested selfdock is refused.
#[test]
fn in_a_hostile_root_nothing_of_roots_is_touched_whatever_is_closed() {
    let host = Host::new();
    let tool = host.compile("start", START);
    let rootfs = host.busybox_rootfs("rootfs");
    copy(&tool, &rootfs.join("bin/start"));
    let marker = host.root_file("rootfs/marker", 0o600, "root's own");
    host.root_file("library.so", 0o755, "not a library");
    host.caller_file("rootfs/etc/ld.so.preload", 0o644, "/library.so\n");
    host.caller_file("rootfs/etc/suid-debug", 0o644, "");
    host.caller_file("rootfs/library.so", 0o755, "not a library");
    // Two hostile directories for /dev: a link to root's file, and a file of the caller's.
    for (dir, is_link) in [("linked", true), ("plain", false)] {
        let dev = host.caller_dir(dir);
        for name in ["null", "full", "zero", "random", "urandom", "tty"] {
            if is_link {
                symlink("/marker", dev.join(name)).unwrap();
            } else {
                host.caller_file(dev.join(name), 0o666, "");
            }
        }
        host.caller_file(dev.join("selfdock"), 0o755, "");
        for name in ["pts", "shm"] {
            host.caller_dir(dev.join(name));
        }
    }
    let before = state(&marker);
    let uid = format!("uid={}", host.uid());
    let program = host.program();
    let (tool, program) = (tool.to_str().unwrap(), program.to_str().unwrap());
    let rootfs = rootfs.to_str().unwrap();
    for (dir, message) in [
        (
            "linked",
            "cannot use \"/dev/null\": Too many symbolic links encountered",
        ),
        ("plain", "cannot use \"/dev/null\": No such device"),
    ] {
        let dev = host.path(dir);
        let dev = dev.to_str().unwrap();
        for closed in closed() {
            let close: Vec<String> = closed
                .iter()
                .map(|number| format!("close={number}"))
                .collect();
            let mut words = vec![
                tool,
                &uid,
                program,
                "--rootfs",
                rootfs,
                "--map",
                dev,
                "/dev",
                "run",
                "/bin/start",
            ];
            words.extend(close.iter().map(String::as_str));
            words.extend(["/dev/selfdock", "run", "/bin/echo", "ran"]);
            let (run, calls) = trace(&host, &words, &[]);
            let starts = of_selfdock(&calls);
            assert_eq!(starts.len(), 2, "{dir} {closed:?}: {}", text(&run));
            for start in &starts {
                assert_nothing_comes_before_the_drop(start, host.uid());
                assert_opens_nothing_of_the_callers(start);
                assert!(!start.iter().any(|call| call.text.contains("ld.so") || call.text.contains("library.so")));
            }
            assert_eq!(
                run.status.code(),
                Some(CANNOT),
                "{dir} {closed:?}: {}",
                text(&run)
            );
            if closed.contains(&2) {
                assert!(run.stderr.is_empty(), "{dir} {closed:?}: {}", text(&run));
            } else {
                assert_refused(&run, message);
            }
            assert_eq!(state(&marker), before, "{dir} {closed:?}");
            assert_eq!(fs::read_to_string(&marker).unwrap(), "root's own");
        }
    }
}

/// What a write, or a change of mode or owner, would change.
fn state(path: &Path) -> (u64, u32, u32, i64, i64, i64) {
    let stat = fs::metadata(path).unwrap();
    (
        stat.size(),
        stat.mode(),
        stat.uid(),
        stat.mtime(),
        stat.mtime_nsec(),
        stat.ctime_nsec(),
    )
}

/// Attack: another /proc, for the nested selfdock to read. No target is in it, however spelled.
#[test]
fn proc_cannot_be_replaced() {
    let host = Host::new();
    host.caller_dir("fake");
    host.caller_file("file", 0o644, "");
    for (source, target) in [
        ("fake", "/proc"),
        ("fake", "/proc/"),
        ("fake", "//usr/../proc/."),
        ("fake", "/proc/sys"),
        ("fake", "/proc/1/fd"),
        ("file", "/proc/1/mountinfo"),
        ("file", "/proc/self/mountinfo"),
        ("fake", "/proc/self/fd"),
    ] {
        let source = host.path(source);
        let run = host.run([
            "--map",
            source.to_str().unwrap(),
            target,
            "run",
            "/bin/echo",
            "ran",
        ]);
        let message = format!("cannot map {source:?} on {target:?}: the target is in /proc");
        assert_refused(&run, &message);
        let run = host.run(["--tmpfs", "", target, "run", "/bin/echo", "ran"]);
        assert_eq!(run.status.code(), Some(CANNOT), "{target}: {}", text(&run));
        assert!(run.stdout.is_empty(), "{target}: {}", text(&run));
    }
}

/// Attack: variables that a loader, an allocator, a locale or Rust's panic handler obeys.
#[test]
fn no_variable_of_the_callers_is_obeyed() {
    let host = Host::new();
    let tool = host.compile("start", START);
    let bait = host.caller_dir("bait");
    for name in ["x.so", "libc.so.6", "log", "config"] {
        host.caller_file(bait.join(name), 0o666, "");
    }
    let at = |name: &str| bait.join(name).to_str().unwrap().to_owned();
    let values = [
        ("LD_PRELOAD", at("x.so")),
        ("LD_AUDIT", at("x.so")),
        ("LD_LIBRARY_PATH", at("")),
        ("LD_DEBUG", "all".to_owned()),
        ("LD_DEBUG_OUTPUT", at("log")),
        ("LD_PROFILE", at("log")),
        ("LD_PROFILE_OUTPUT", at("")),
        (
            "GLIBC_TUNABLES",
            format!("glibc.malloc.mxfast=1:glibc.mem.tagging={}", at("x")),
        ),
        ("MALLOC_TRACE", at("log")),
        ("MALLOC_CHECK_", "3".to_owned()),
        ("MALLOC_PERTURB_", "1".to_owned()),
        ("MALLOC_ARENA_MAX", "1".to_owned()),
        ("TMPDIR", at("")),
        ("TZ", format!(":{}", at("config"))),
        ("TZDIR", at("")),
        ("LANG", at("locale")),
        ("LC_ALL", at("locale")),
        ("LOCPATH", at("")),
        ("NLSPATH", at("%N")),
        ("LANGUAGE", at("locale")),
        ("GCONV_PATH", at("")),
        ("GETCONF_DIR", at("")),
        ("HOSTALIASES", at("config")),
        ("RESOLV_HOST_CONF", at("config")),
        ("RUST_BACKTRACE", "full".to_owned()),
        ("RUST_LIB_BACKTRACE", "full".to_owned()),
        ("RUST_LOG", "trace".to_owned()),
        ("RUST_MIN_STACK", "1".to_owned()),
        ("LIBMOUNT_FSTAB", at("config")),
        ("LIBMOUNT_MTAB", at("config")),
        ("ENV", at("config")),
        ("BASH_ENV", at("config")),
        ("HOME", at("")),
        ("XDG_CONFIG_HOME", at("")),
        ("SHELL", at("x.so")),
        ("IFS", "/".to_owned()),
        ("CLICOLOR_FORCE", "1".to_owned()),
        ("COLUMNS", "1".to_owned()),
    ];
    let environment: Vec<(&str, &str)> = values
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let uid = format!("uid={}", host.uid());
    let program = host.program();
    let (tool, program) = (tool.to_str().unwrap(), program.to_str().unwrap());
    let mentions = |calls: &[Call]| -> Vec<String> {
        let bait = bait.to_str().unwrap();
        let found = calls
            .iter()
            .filter(|call| call.takes_a_path() && call.text.contains(bait));
        found.map(|call| call.text.clone()).collect()
    };
    // The control: a program that is loaded obeys.
    let (_, calls) = trace(&host, &[tool, &uid, "/bin/true"], &environment);
    assert!(!mentions(&calls).is_empty(), "nobody obeys");

    let busybox = "/bin/busybox"; // static: it has no loader that would obey
    for (words, status) in [
        (&["run", busybox, "true"][..], 0),
        (&["build", busybox, "true"], 0),
        (&["run", program, "run", busybox, "true"], 0),
        (&["--help"], 0),
        (&["--version"], 0),
        (
            &["--map", "/nonexistent", "/mnt", "run", "/bin/true"],
            CANNOT,
        ),
        (&["--nonsense"], CANNOT),
        (&["--rootfs", "/nonexistent", "run"], CANNOT),
        (&["run", "/nonexistent"], 127),
    ] {
        let (run, calls) = trace(
            &host,
            &[&[tool, uid.as_str(), program], words].concat(),
            &environment,
        );
        assert_eq!(run.status.code(), Some(status), "{words:?}: {}", text(&run));
        let start = of_selfdock(&calls).concat();
        assert!(!start.is_empty());
        assert_eq!(mentions(&start), [""; 0], "{words:?}");
        assert_opens_nothing_of_the_callers(&start);
        assert!(
            !text(&run).contains("backtrace") && !text(&run).contains("panicked"),
            "{}",
            text(&run)
        );
    }
    assert_eq!(fs::read(bait.join("log")).unwrap(), b"");
}

/// Attack: execve(2) with no words at all, so that a parser walks on into the environment.
#[test]
fn no_words_at_all_is_refused() {
    let host = Host::new();
    let tool = host.compile("start", START);
    let mut command = host.as_caller(tool);
    command
        .arg("argc=0")
        .arg(host.program())
        .args(["run", "/bin/echo", "ran"]);
    let run = command.output().unwrap();
    // Since Linux 5.18 the kernel puts an empty word there; before, there is none.
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    let known = [
        "selfdock: no action given: run, build, enter, ps or doctor\nhint: selfdock --help lists actions and options\n",
        "selfdock: started without arguments\n",
    ];
    assert!(known.contains(&said.as_str()), "{}", text(&run));
    assert_eq!(run.status.code(), Some(CANNOT), "{}", text(&run));
    assert!(run.stdout.is_empty(), "{}", text(&run));
}

/// Attack: a loader, or a library, that a root filesystem of the caller's brings along. There is
/// none to bring: the program is static, and begins where it says.
#[test]
fn the_program_is_static_position_independent_and_begins_at_its_own_entry_point() {
    let host = Host::new();
    let elf = Elf::read(&host.program());
    const TYPE_DYN: u64 = 3;
    assert_eq!(elf.number(16, 2), TYPE_DYN, "not position independent");
    const INTERP: u64 = 3;
    const GNU_STACK: u64 = 0x6474_e551;
    const GNU_RELRO: u64 = 0x6474_e552;
    assert_eq!(elf.segments(INTERP).len(), 0, "asks for a loader");
    let stacks = elf.segments(GNU_STACK);
    const EXECUTE: u64 = 1;
    assert!(
        stacks
            .iter()
            .all(|stack| elf.number(stack + 4, 4) & EXECUTE == 0)
            && !stacks.is_empty()
    );
    assert_eq!(elf.segments(GNU_RELRO).len(), 1);
    const NEEDED: u64 = 1;
    const RPATH: u64 = 15;
    const RUNPATH: u64 = 29;
    let tags = elf.dynamic_tags();
    assert!(!tags.is_empty());
    assert!(
        ![NEEDED, RPATH, RUNPATH]
            .iter()
            .any(|tag| tags.contains(tag)),
        "{tags:?}"
    );

    let entry = elf.number(24, 8);
    // A stripped program has no symbols: then the code itself must say it.
    if let Some(address) = elf.symbol("selfdock_entry") {
        assert_eq!(entry, address, "begins in libc");
        assert_ne!(Some(entry), elf.symbol("_start"));
    }
    // prctl(PR_SET_KEEPCAPS, 1, ...): the first thing that happens, as the traces above show.
    #[cfg(target_arch = "x86_64")]
    {
        let code = elf.at_address(entry, 16);
        assert_eq!(&code[..3], [0x49, 0x89, 0xd4], "mov r12, rdx");
        assert_eq!(&code[3..8], [0xb8, 157, 0, 0, 0], "mov eax, SYS_prctl");
        assert_eq!(&code[8..13], [0xbf, 8, 0, 0, 0], "mov edi, PR_SET_KEEPCAPS");
    }
}

/// As much of a 64-bit little-endian ELF file as is asked for here: see elf(5).
struct Elf(Vec<u8>);

impl Elf {
    fn read(path: &Path) -> Self {
        let elf = Self(fs::read(path).unwrap());
        assert_eq!(elf.0[..6], *b"\x7fELF\x02\x01");
        elf
    }

    fn number(&self, offset: u64, size: usize) -> u64 {
        let offset = usize::try_from(offset).unwrap();
        let bytes = self.0[offset..offset + size].iter().rev();
        bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Offsets of the program headers of this type.
    fn segments(&self, kind: u64) -> Vec<u64> {
        let (table, size, count) = (self.number(32, 8), self.number(54, 2), self.number(56, 2));
        let headers = (0..count).map(|index| table + index * size);
        headers
            .filter(|header| self.number(*header, 4) == kind)
            .collect()
    }

    fn dynamic_tags(&self) -> Vec<u64> {
        const DYNAMIC: u64 = 2;
        let Some(header) = self.segments(DYNAMIC).first().copied() else {
            return Vec::new();
        };
        let (offset, size) = (self.number(header + 8, 8), self.number(header + 32, 8));
        (0..size / 16)
            .map(|index| self.number(offset + index * 16, 8))
            .collect()
    }

    /// The bytes that are loaded at this address.
    fn at_address(&self, address: u64, size: usize) -> &[u8] {
        const LOAD: u64 = 1;
        let loaded = self.segments(LOAD).into_iter().find_map(|header| {
            let begin = self.number(header + 16, 8);
            let within = address
                .checked_sub(begin)
                .filter(|within| *within < self.number(header + 32, 8));
            within.map(|within| self.number(header + 8, 8) + within)
        });
        let offset = usize::try_from(loaded.unwrap()).unwrap();
        &self.0[offset..offset + size]
    }

    /// The address of a symbol, if there is a table of them.
    fn symbol(&self, name: &str) -> Option<u64> {
        const SYMTAB: u64 = 2;
        let (table, size, count) = (self.number(40, 8), self.number(58, 2), self.number(60, 2));
        let section = |index: u64| table + index * size;
        let symbols = (0..count)
            .map(section)
            .find(|header| self.number(*header + 4, 4) == SYMTAB)?;
        let strings = self.number(section(self.number(symbols + 40, 4)) + 24, 8);
        let (begin, length) = (self.number(symbols + 24, 8), self.number(symbols + 32, 8));
        let wanted = [name.as_bytes(), b"\0"].concat();
        (0..length / 24)
            .map(|index| begin + index * 24)
            .find_map(|symbol| {
                let at = usize::try_from(strings + self.number(symbol, 4)).unwrap();
                self.0[at..]
                    .starts_with(&wanted)
                    .then(|| self.number(symbol + 8, 8))
            })
    }
}

//! What the command has from its caller: words, environment, ids, limits, signals, descriptors.
//! Each test compares a program's report of itself outside with that inside.

mod host;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;

use host::{Host, Install, assert_ended, assert_refused, out, text};

/// Prints its words, then its environment, each ended by a NUL byte and begun by `A` or `E`.
const DUMP: &str = r#"
    #include <stdio.h>
    extern char **environ;
    int main(int argc, char **argv) {
        for (int i = 0; i < argc; i++) { putchar('A'); fputs(argv[i], stdout); putchar(0); }
        for (char **e = environ; *e; e++) { putchar('E'); fputs(*e, stdout); putchar(0); }
        return fflush(stdout);
    }"#;

/// `exact FILE PROGRAM ARG...`: executes PROGRAM with the environment in FILE, whose entries are
/// ended by NUL bytes.
const EXACT: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        static char text[4 << 20], *entries[1 << 16];
        size_t length = fread(text, 1, sizeof text - 1, fopen(argv[1], "r")), count = 0;
        for (size_t i = 0; i < length; i += strlen(text + i) + 1) entries[count++] = text + i;
        execve(argv[2], argv + 2, entries);
        perror(argv[2]);
        return 99;
    }"#;

/// `set CHANGE... -- PROGRAM ARG...`: changes what a process hands on to its program, and executes
/// that. Takes back what the test's own caller may have handed on: open files, ignored signals.
/// uMODE umask, nNUMBER nice, bSIGNAL block, iSIGNAL ignore, cNUMBER close, l all limits,
/// lNUMBER:SOFT:HARD one limit.
const SET: &str = r#"
    #define _GNU_SOURCE
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/resource.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    static void limit(int which, rlim_t soft, rlim_t hard) {
        struct rlimit now;
        getrlimit(which, &now);
        if (hard > now.rlim_max) hard = now.rlim_max;
        if (soft > hard) soft = hard;
        now.rlim_cur = soft;
        now.rlim_max = hard;
        if (setrlimit(which, &now)) { perror("setrlimit"); exit(98); }
    }
    int main(int argc, char **argv) {
        static const rlim_t all[16][2] = {
            [RLIMIT_CPU] = { 1000, 2000 }, [RLIMIT_FSIZE] = { 1L << 40, 1L << 41 },
            [RLIMIT_DATA] = { 1L << 33, 1L << 34 }, [RLIMIT_STACK] = { 7 << 20, 64 << 20 },
            [RLIMIT_CORE] = { 1 << 20, 2 << 20 }, [RLIMIT_RSS] = { 1L << 35, 1L << 36 },
            [RLIMIT_NPROC] = { 500, 600 }, [RLIMIT_NOFILE] = { 100, 200 },
            [RLIMIT_MEMLOCK] = { 1 << 14, 1 << 15 }, [RLIMIT_AS] = { 1L << 36, 1L << 37 },
            [RLIMIT_LOCKS] = { 10, 20 }, [RLIMIT_SIGPENDING] = { 100, 200 },
            [RLIMIT_MSGQUEUE] = { 1 << 14, 1 << 15 }, [RLIMIT_NICE] = { 0, 0 },
            [RLIMIT_RTPRIO] = { 0, 0 }, [RLIMIT_RTTIME] = { 1000000, 2000000 },
        };
        sigset_t blocked;
        sigemptyset(&blocked);
        char as_usual[32] = { 0 }; // the kernel's own form: libc keeps signals 32 and 33 to itself
        for (int signum = 1; signum <= 64; signum++)
            syscall(SYS_rt_sigaction, signum, as_usual, 0, 8);
        for (int number = 3; number < 4096; number++) close(number);
        int i = 1;
        for (; strcmp(argv[i], "--"); i++) {
            char *value = argv[i] + 1;
            int number = atoi(value);
            switch (argv[i][0]) {
            case 'u': umask(strtol(value, 0, 8)); break;
            case 'n': nice(number); break;
            case 'b': sigaddset(&blocked, number); break;
            case 'i': signal(number, SIG_IGN); break;
            case 'c': close(number); break;
            case 'l':
                if (*value) {
                    value = strchr(value, ':') + 1;
                    limit(number, strtoul(value, 0, 0), strtoul(strchr(value, ':') + 1, 0, 0));
                } else for (int which = 0; which < 16; which++)
                    limit(which, all[which][0], all[which][1]);
            }
        }
        sigprocmask(SIG_SETMASK, &blocked, 0);
        execv(argv[i + 1], argv + i + 1);
        perror(argv[i + 1]);
        return 99;
    }"#;

/// Prints what a process has from its caller, apart from words, environment and descriptors.
const SHOW: &str = r#"
    #define _GNU_SOURCE
    #include <sched.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/personality.h>
    #include <sys/prctl.h>
    #include <sys/resource.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    int main() {
        static const char *names[] = { "Umask:", "Uid:", "Gid:", "Groups:", "SigPnd:", "ShdPnd:",
            "SigBlk:", "SigIgn:", "SigCgt:", "CapInh:", "CapPrm:", "CapEff:", "CapAmb:",
            "NoNewPrivs:", "Cpus_allowed:" }; // "Seccomp:" depends on a terminal
        char line[65536];
        FILE *status = fopen("/proc/self/status", "r");
        while (fgets(line, sizeof line, status))
            for (int i = 0; i < sizeof names / sizeof *names; i++)
                if (!strncmp(line, names[i], strlen(names[i]))) fputs(line, stdout);
        for (int which = 0; which < 16; which++) {
            struct rlimit limit;
            getrlimit(which, &limit);
            printf("limit %d: %ld %ld\n", which, limit.rlim_cur, limit.rlim_max);
        }
        printf("nice: %d\n", getpriority(PRIO_PROCESS, 0));
        printf("io priority: %ld\n", syscall(SYS_ioprio_get, 1, 0));
        printf("scheduler: %d\n", sched_getscheduler(0));
        printf("timer slack: %d\n", prctl(PR_GET_TIMERSLACK));
        printf("dumpable: %d\n", prctl(PR_GET_DUMPABLE));
        printf("keeps capabilities: %d\n", prctl(PR_GET_KEEPCAPS));
        printf("secure bits: %d\n", prctl(PR_GET_SECUREBITS));
        printf("personality: %x\n", personality(0xffffffff));
        FILE *score = fopen("/proc/self/oom_score_adj", "r");
        printf("oom: %s", fgets(line, sizeof line, score));
        return 0;
    }"#;

/// `hold KIND NUMBER UID LIMIT PROGRAM ARG...`: executes PROGRAM as UID with an open file of that
/// kind as descriptor NUMBER, and a soft RLIMIT_NOFILE of LIMIT. Starts as root, or it could not
/// make some. Exits with 77 if the kernel does not know the kind.
const HOLD: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <fcntl.h>
    #include <grp.h>
    #include <sched.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/epoll.h>
    #include <sys/eventfd.h>
    #include <sys/fanotify.h>
    #include <sys/inotify.h>
    #include <sys/mman.h>
    #include <sys/resource.h>
    #include <sys/signalfd.h>
    #include <sys/socket.h>
    #include <sys/syscall.h>
    #include <sys/timerfd.h>
    #include <unistd.h>
    static int make(const char *kind) {
        char buffer[256] = { 0 };
        int pair[2];
        sigset_t none;
        sigemptyset(&none);
    #define IS(name) if (!strcmp(kind, name))
        IS("pipe") { pipe(pair); return pair[0]; }
        IS("pipe-writer") { pipe(pair); return pair[1]; }
        IS("socketpair") { socketpair(AF_UNIX, SOCK_STREAM, 0, pair); return pair[0]; }
        IS("socket") return socket(AF_INET, SOCK_STREAM, 0);
        IS("regular") return open("/etc/passwd", O_RDONLY);
        IS("removed") return open("/var/tmp", O_TMPFILE | O_RDWR, 0600);
        IS("character") return open("/dev/zero", O_RDONLY);
        IS("eventfd") return eventfd(0, 0);
        IS("timerfd") return timerfd_create(CLOCK_MONOTONIC, 0);
        IS("signalfd") return signalfd(-1, &none, 0);
        IS("epoll") return epoll_create1(0);
        IS("inotify") return inotify_init();
        IS("memfd") return memfd_create("name", 0);
        IS("directory") return open("/", O_RDONLY | O_DIRECTORY);
        IS("path-directory") return open("/", O_PATH);
        IS("path-regular") return open("/etc/passwd", O_PATH);
        IS("path-link") return open("/proc/self/exe", O_PATH | O_NOFOLLOW);
        IS("mount-namespace") return open("/proc/self/ns/mnt", O_RDONLY);
        IS("user-namespace") return open("/proc/self/ns/user", O_RDONLY);
        IS("network-namespace") return open("/proc/self/ns/net", O_RDONLY);
        IS("pid-namespace") return open("/proc/self/ns/pid", O_RDONLY);
        IS("pidfd") return syscall(SYS_pidfd_open, getppid(), 0);
        IS("io_uring") return syscall(SYS_io_uring_setup, 1, buffer);
        IS("fscontext") return syscall(SYS_fsopen, "tmpfs", 0);
        IS("mount") {
            int context = syscall(SYS_fsopen, "tmpfs", 0);
            syscall(SYS_fsconfig, context, 6, 0, 0, 0);
            int mount = syscall(SYS_fsmount, context, 0, 0);
            close(context);
            return mount;
        }
        IS("tree") return syscall(SYS_open_tree, AT_FDCWD, "/", 1);
        IS("userfaultfd") return syscall(SYS_userfaultfd, 1);
        IS("fanotify") return fanotify_init(FAN_CLASS_NOTIF, 0);
        IS("landlock") {
            buffer[0] = 1;
            return syscall(444, buffer, 8L, 0);
        }
        IS("bpf") {
            unsigned attributes[32] = { 2, 4, 4, 1 };
            return syscall(SYS_bpf, 0, attributes, sizeof attributes);
        }
        exit(98);
    }
    int main(int argc, char **argv) {
        int held = make(argv[1]), number = atoi(argv[2]), uid = atoi(argv[3]);
        if (held < 0) {
            perror(argv[1]);
            return errno == ENOSYS || errno == EINVAL || errno == EPERM || errno == EOPNOTSUPP ? 77 : 98;
        }
        if (dup2(held, number) != number) { perror("dup2"); return 98; }
        for (int other = 3; other < 4096; other++) if (other != number) close(other);
        fcntl(number, F_SETFD, 0);
        struct rlimit limit;
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = atoi(argv[4]);
        if (setrlimit(RLIMIT_NOFILE, &limit)) { perror("setrlimit"); return 98; }
        if (setgroups(0, 0) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid)) return 98;
        execv(argv[5], argv + 5);
        perror(argv[5]);
        return 99;
    }"#;

/// Prints a line for each open descriptor: its number, type, device, flags, and what the kernel
/// calls it if that is not a path, without digits.
const OPEN: &str = r#"
    #include <ctype.h>
    #include <fcntl.h>
    #include <stdio.h>
    #include <sys/stat.h>
    #include <unistd.h>
    int main() {
        for (int number = 0; number < 4096; number++) {
            char link[64], name[4096];
            struct stat file;
            int flags = fcntl(number, F_GETFL);
            if (flags < 0) continue;
            fstat(number, &file);
            sprintf(link, "/proc/self/fd/%d", number);
            int length = readlink(link, name, sizeof name), kept = 0;
            for (int i = 0; i < length; i++) if (!isdigit(name[i])) name[kept++] = name[i];
            printf("%d %o %lx %o %.*s\n", number, file.st_mode & S_IFMT, file.st_rdev, flags,
                name[0] == '/' ? 1 : kept, name);
        }
        return fflush(stdout);
    }"#;

/// `standard FILE`: writes to FILE which of descriptors 0 to 2 are open.
const STANDARD: &str = r#"
    #include <fcntl.h>
    #include <stdio.h>
    int main(int argc, char **argv) {
        int open[3];
        for (int number = 0; number < 3; number++) open[number] = fcntl(number, F_GETFD) >= 0;
        FILE *file = fopen(argv[1], "w");
        fprintf(file, "%d%d%d", open[0], open[1], open[2]);
        return fclose(file);
    }"#;

/// The words that start `program` under selfdock, so many levels deep.
fn inside(host: &Host, levels: usize, program: &Path) -> Vec<OsString> {
    let selfdock = [host.program().into_os_string(), "run".into()];
    let mut words = vec![selfdock; levels].concat();
    words.push(program.into());
    words
}

// Words and environment.

/// What `DUMP` prints of these.
fn dump(words: &[OsString], environment: &[&[u8]]) -> Vec<u8> {
    let mut expected = Vec::new();
    for word in words {
        expected.extend([b"A", word.as_bytes(), b"\0"].concat());
    }
    for entry in environment {
        expected.extend([b"E", *entry, b"\0"].concat());
    }
    expected
}

/// Fails unless the program has exactly this environment outside, and inside at 1 and 3 levels.
fn assert_passes(host: &Host, name: &str, environment: &[&[u8]]) {
    let program = host.path("dump");
    let mut content = environment.join(&0);
    if !environment.is_empty() {
        content.push(0);
    }
    let file = host.root_file(name, 0o644, content);
    for levels in [0, 1, 3] {
        let mut command = host.as_caller(host.path("exact"));
        command.arg(&file).args(inside(host, levels, &program));
        let run = command.arg("an argument").output().unwrap();
        assert_ended(&run, 0);
        let words = [program.clone().into(), "an argument".into()];
        let stderr = String::from_utf8_lossy(&run.stderr);
        assert_eq!(stderr, "", "{name}, {levels} levels");
        let is_same = run.stdout == dump(&words, environment);
        let shown: String = String::from_utf8_lossy(&run.stdout)
            .chars()
            .take(2000)
            .collect();
        assert!(is_same, "{name}, {levels} levels: {shown:?}");
    }
}

#[test]
fn the_environment_is_the_callers_byte_for_byte() {
    let host = Host::new();
    host.compile("exact", EXACT);
    host.compile("dump", DUMP);
    // What loaders and libraries take from a set-user-id program, or obey in one that is not.
    let unsafe_names: [&[u8]; 20] = [
        b"TMPDIR=/nosuch",
        b"LD_LIBRARY_PATH=/nosuch:/tmp",
        b"LD_PRELOAD=/nosuch.so",
        b"LD_AUDIT=/nosuch.so",
        b"LD_DEBUG=all",
        b"LD_SHOW_AUXV=1",
        b"GLIBC_TUNABLES=glibc.malloc.check=3:glibc.malloc.mxfast=0:x",
        b"GLIBC_TUNABLES=glibc.malloc.tcache_count=0",
        b"MALLOC_CHECK_=3",
        b"MALLOC_TRACE=/nosuch",
        b"GCONV_PATH=/nosuch",
        b"LOCPATH=/nosuch",
        b"NLSPATH=/nosuch",
        b"RES_OPTIONS=debug",
        b"HOSTALIASES=/nosuch",
        b"GETCONF_DIR=/nosuch",
        b"RUST_BACKTRACE=full",
        b"RUST_MIN_STACK=1",
        b"BASH_ENV=/nosuch",
        b"IFS=x",
    ];
    assert_passes(&host, "unsafe", &unsafe_names);
    assert_passes(&host, "duplicates", &[b"A=1", b"B=2", b"A=3", b"A=1"]);
    assert_passes(
        &host,
        "bytes",
        &[b"A=\xff\xfe", b"\x80=x", b"B=\n\x1b\t ", b"\xff"],
    );
    assert_passes(
        &host,
        "odd",
        &[b"no equals sign", b"=", b"=x", b"==", b"A", b"A="],
    );
    assert_passes(
        &host,
        "empty-entries",
        &[b"", b"A=1", b"", b"", b"B=2", b""],
    );
    assert_passes(&host, "only-empty", &[b""]);
    assert_passes(&host, "none", &[]);
}

#[test]
fn a_large_environment_passes_whole() {
    let host = Host::new();
    host.compile("exact", EXACT);
    host.compile("dump", DUMP);
    let long = [b"LONG=".to_vec(), vec![b'x'; 131_000]].concat();
    assert_passes(&host, "long", &[long.as_slice(); 8]);
    let short: Vec<_> = (0..30_000)
        .map(|number| format!("VARIABLE_{number}={number}"))
        .collect();
    let short: Vec<_> = short.iter().map(|entry| entry.as_bytes()).collect();
    assert_passes(&host, "many", &short);
}

#[test]
fn the_words_are_the_callers_byte_for_byte() {
    let host = Host::new();
    let program = host.compile("dump", DUMP);
    let odd = [
        &b""[..],
        b"",
        b"\xff\xfe",
        b"a b",
        b"\n\x1b",
        b"--",
        b"-r",
        b"--help",
        b"",
    ];
    let odd: Vec<_> = odd
        .iter()
        .map(|word| OsStr::from_bytes(word).to_owned())
        .collect();
    let many = vec![OsString::from("word"); 100_000];
    let empty = vec![OsString::new(); 100_000];
    let long = vec![OsString::from("x".repeat(131_000)); 8];
    for arguments in [vec![], vec![OsString::new()], odd, many, empty, long] {
        let words = [vec![program.clone().into()], arguments.clone()].concat();
        for levels in [0, 1, 3] {
            let mut inside = inside(&host, levels, &program).into_iter();
            let mut command = host.as_caller(inside.next().unwrap());
            let command = command.args(inside).args(&arguments).env_clear();
            let run = command.output().unwrap();
            assert_ended(&run, 0);
            let is_same = run.stdout == dump(&words, &[]);
            assert!(is_same, "{} words, {levels} levels", arguments.len());
        }
    }
}

// What a process is.

/// What `SHOW` prints outside and inside, if `starter` starts it.
fn shown(host: &Host, levels: usize, starter: impl Fn() -> Command) -> String {
    let mut command = starter();
    command.args(inside(host, levels, &host.path("show")));
    out(&command.output().unwrap()).to_owned()
}

/// Fails unless `SHOW` prints the same outside and inside, after these changes, and this as well.
#[track_caller]
fn assert_shows_the_same(host: &Host, changes: &[&str], expected: &[&str]) {
    let starter = || {
        let mut command = host.as_caller(host.path("set"));
        command.args(changes).arg("--");
        command
    };
    let outside = shown(host, 0, starter);
    for line in expected {
        assert!(
            outside.contains(line),
            "{changes:?} does not work outside: {outside}"
        );
    }
    for levels in [1, 2] {
        assert_eq!(
            shown(host, levels, starter),
            outside,
            "{changes:?}, {levels} levels"
        );
    }
}

fn host_with_show() -> Host {
    let host = Host::new();
    host.compile("set", SET);
    host.compile("show", SHOW);
    host
}

#[test]
fn ids_and_groups_are_the_callers() {
    let host = host_with_show();
    let (uid, gid) = (host.uid().to_string(), (host.uid() + 1).to_string());
    let groups: Vec<_> = (20_000..20_100).map(|group| group.to_string()).collect();
    for groups in ["", &groups[0], &groups.join(",")] {
        let starter = || {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &uid, "--regid", &gid]);
            match groups {
                "" => command.arg("--clear-groups"),
                groups => command.args(["--groups", groups]),
            };
            command.arg("--").current_dir("/").stdin(Stdio::null());
            command
        };
        let outside = shown(&host, 0, starter);
        assert!(
            outside.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n")),
            "{outside}"
        );
        assert!(
            outside.contains(&format!("Gid:\t{gid}\t{gid}\t{gid}\t{gid}\n")),
            "{outside}"
        );
        let line = format!("Groups:\t{}", groups.replace(',', " "));
        assert!(outside.contains(line.trim_end()), "{outside}");
        // They stay what they are, but a user namespace has numbers for the caller's own group alone.
        let nobodys = vec!["65534"; groups.split_terminator(',').count()].join(" ");
        let nobodys = outside.replace(line.trim_end(), format!("Groups:\t{nobodys}").trim_end());
        let inside = Install::wanted().choose(&outside, &outside, &nobodys);
        for levels in [1, 3] {
            assert_eq!(&shown(&host, levels, starter), inside);
        }
    }
}

#[test]
fn umask_nice_value_and_the_rest_are_the_callers() {
    let host = host_with_show();
    assert_shows_the_same(&host, &[], &["dumpable: 1\n", "NoNewPrivs:\t0\n"]);
    assert_shows_the_same(&host, &["u0"], &["Umask:\t0000\n"]);
    assert_shows_the_same(&host, &["u777"], &["Umask:\t0777\n"]);
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let here: i32 = stat
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(16)
        .unwrap()
        .parse()
        .unwrap();
    let nicer = format!("nice: {}\n", (here + 7).min(19));
    assert_shows_the_same(&host, &["u27", "n7"], &["Umask:\t0027\n", &nicer]);
}

#[test]
fn limits_are_the_callers() {
    let host = host_with_show();
    let stack = format!("limit 3: {} {}\n", 7 << 20, 64 << 20);
    assert_shows_the_same(
        &host,
        &["l"],
        &["limit 0: 1000 2000\n", &stack, "limit 7: 100 200\n"],
    );
    assert_shows_the_same(
        &host,
        &["l4:0:0", "l1:0:0"],
        &["limit 4: 0 0\n", "limit 1: 0 0\n"],
    );
    // A soft limit that many maps make selfdock raise for a while.
    let dir = host.caller_dir("dir");
    let maps = || (0..200).flat_map(|_| ["-m".into(), dir.clone(), dir.clone()]);
    let mut command = host.as_caller(host.path("set"));
    command
        .args(["l7:64:512", "--"])
        .arg(host.program())
        .args(maps());
    command.arg("run").arg(host.path("show"));
    let run = command.output().unwrap();
    assert!(out(&run).contains("\nlimit 7: 64 512\n"), "{}", text(&run));
    // And a hard one that leaves no room for them.
    let mut command = host.as_caller(host.path("set"));
    command
        .args(["l7:64:100", "--"])
        .arg(host.program())
        .args(maps());
    let run = command.arg("run").arg(host.path("show")).output().unwrap();
    assert_ended(&run, host::CANNOT);
    assert!(text(&run).contains("Too many open files"), "{}", text(&run));
}

/// The kernel does so whenever a program starts that gains privilege; the hard limit stays.
#[test]
fn a_soft_stack_limit_above_8_mib_becomes_8_mib() {
    let host = host_with_show();
    let set = |levels| {
        let starter = || {
            let mut command = host.as_caller(host.path("set"));
            command.args(["l3:0x1000000:0x4000000", "--"]);
            command
        };
        shown(&host, levels, starter)
    };
    let (outside, inside) = (set(0), set(1));
    assert!(
        outside.contains(&format!("limit 3: {} {}\n", 16 << 20, 64 << 20)),
        "{outside}"
    );
    let lowered = format!("limit 3: {} {}\n", 8 << 20, 64 << 20);
    let raised = format!("limit 3: {} {}\n", 16 << 20, 64 << 20);
    let with = outside.replace(&raised, &lowered);
    assert_eq!(&inside, Install::wanted().choose(&with, &with, &outside));
}

#[test]
fn signal_mask_and_ignored_signals_are_the_callers() {
    let host = host_with_show();
    let none = "0000000000000000\n";
    for (changes, blocked, ignored) in [
        (&[][..], none, none),
        (&["i13"], none, "0000000000001000\n"),
        (&["i17"], none, "0000000000010000\n"),
        (&["i2", "i3"], none, "0000000000000006\n"),
        (
            &["i13", "i17", "i2", "i1", "i15", "i64"],
            none,
            "8000000000015003\n",
        ),
        (&["b2"], "0000000000000002\n", none),
        (&["b2", "b17", "b40", "b15"], "0000008000014002\n", none),
        (
            &["b13", "i17", "b64"],
            "8000000000001000\n",
            "0000000000010000\n",
        ),
    ] {
        let blocked = format!("SigBlk:\t{blocked}");
        let ignored = format!("SigIgn:\t{ignored}");
        assert_shows_the_same(&host, changes, &[&blocked, &ignored]);
    }
}

// Descriptors.

#[test]
fn a_closed_descriptor_stays_closed() {
    let host = Host::new();
    let set = host.compile("set", SET);
    let standard = host.compile("standard", STANDARD);
    let dir = host.caller_dir("dir");
    let result = dir.join("result");
    let open = |words: &[OsString], closed: &[&str]| {
        let mut command = host.as_caller(&set);
        let run = command.args(closed).arg("--").args(words).output().unwrap();
        assert_eq!(
            text(&run),
            "exit status: 0\n--- out\n--- err\n",
            "{closed:?} {words:?}"
        );
        let open = fs::read_to_string(&result).unwrap();
        fs::remove_file(&result).unwrap();
        open
    };
    for pattern in 0..8 {
        let is_closed = |number: i32| pattern >> number & 1 == 1;
        let closed = (0..3).filter(|number| is_closed(*number));
        let closed: Vec<_> = closed.map(|number| format!("c{number}")).collect();
        let closed: Vec<_> = closed.iter().map(String::as_str).collect();
        let digit = |number| if is_closed(number) { '0' } else { '1' };
        let expected: String = (0..3).map(digit).collect();
        let vol = [
            "-v".into(),
            dir.clone().into_os_string(),
            dir.clone().into(),
            "run".into(),
        ];
        let selfdock = [vec![host.program().into()], vol.to_vec()].concat();
        let program = vec![standard.clone().into(), result.clone().into_os_string()];
        for levels in [0, 1, 2] {
            let words = [vec![selfdock.clone(); levels].concat(), program.clone()].concat();
            assert_eq!(
                open(&words, &closed),
                expected,
                "{closed:?} {levels} levels"
            );
        }
    }
}

#[test]
fn a_failure_without_standard_error_is_still_a_failure() {
    let host = Host::new();
    let set = host.compile("set", SET);
    for closed in [&["c2"][..], &["c1", "c2"], &["c0", "c1", "c2"]] {
        for (words, status) in [
            ("run /nosuch", 127),
            ("run /", 126),
            ("run -C /nosuch true", 124),
            ("nosuch", 124),
        ] {
            let mut command = host.as_caller(&set);
            command
                .args(closed)
                .arg("--")
                .arg(host.program())
                .args(words.split(' '));
            assert_ended(&command.output().unwrap(), status);
        }
    }
}

/// `OPEN`, started with an open file of this kind, so many levels deep, each with these options.
/// None if there is none of the kind on this machine.
fn hold(
    host: &Host,
    kind: &str,
    (number, limit): (u32, &str),
    levels: usize,
    options: &str,
) -> Option<Output> {
    let mut command = Command::new(host.path("hold"));
    command.args([kind, &number.to_string(), &host.uid().to_string(), limit]);
    for _ in 0..levels {
        command.arg(host.program()).args(options.split_whitespace());
        command.arg("run");
    }
    let command = command.arg(host.path("open")).current_dir("/");
    let run = command.stdin(Stdio::null()).output().unwrap();
    (run.status.code() != Some(77)).then_some(run)
}

/// What `OPEN` prints then, without options.
fn open_files(host: &Host, kind: &str, number: u32, limit: &str, levels: usize) -> Option<String> {
    let run = hold(host, kind, (number, limit), levels, "")?;
    Some(out(&run).to_owned())
}

/// Where an inherited descriptor may be, and the soft limit by then.
const PLACES: [(u32, &str); 4] = [(3, "1024"), (7, "1024"), (0, "1024"), (900, "100")];

/// Kinds that pass.
const HARMLESS: [&str; 13] = [
    "pipe",
    "pipe-writer",
    "socketpair",
    "socket",
    "regular",
    "removed",
    "character",
    "eventfd",
    "timerfd",
    "signalfd",
    "epoll",
    "inotify",
    "memfd",
];

/// Kinds that do not, and that every machine has.
const LEADING_OUT: [&str; 12] = [
    "directory",
    "path-directory",
    "path-regular",
    "path-link",
    "mount-namespace",
    "user-namespace",
    "network-namespace",
    "pid-namespace",
    "pidfd",
    "fscontext",
    "mount",
    "tree",
];

#[test]
fn harmless_descriptors_pass_at_the_same_number() {
    let host = Host::new();
    host.compile("hold", HOLD);
    host.compile("open", OPEN);
    for kind in HARMLESS {
        for (number, limit) in PLACES {
            let outside = open_files(&host, kind, number, limit, 0).expect(kind);
            let start = format!("{number} ");
            assert!(
                outside.lines().any(|line| line.starts_with(&start)),
                "{outside}"
            );
            for levels in [1, 2] {
                let inside = open_files(&host, kind, number, limit, levels);
                assert_eq!(inside.as_ref(), Some(&outside), "{kind} {number}");
            }
        }
    }
}

/// Attack: the caller starts selfdock with a descriptor that leads out of the instance, or that
/// nobody knows where it leads.
#[test]
fn descriptors_that_may_lead_out_do_not_pass() {
    let host = Host::new();
    host.compile("hold", HOLD);
    host.compile("open", OPEN);
    // Of these a kernel may know only some.
    let rare = ["io_uring", "userfaultfd", "fanotify", "landlock", "bpf"];
    let mut met = 0;
    for kind in LEADING_OUT.into_iter().chain(rare) {
        for (number, limit) in PLACES {
            let outside = open_files(&host, kind, number, limit, 0);
            assert!(
                outside.is_some() || rare.contains(&kind),
                "{kind} cannot be made"
            );
            let Some(outside) = outside else { continue };
            met += 1;
            let start = format!("{number} ");
            let (held, others): (Vec<_>, Vec<_>) =
                outside.lines().partition(|line| line.starts_with(&start));
            assert_eq!(held.len(), 1, "{kind}: {outside}");
            for levels in [1, 2] {
                let inside = open_files(&host, kind, number, limit, levels).unwrap();
                assert_eq!(
                    inside.lines().collect::<Vec<_>>(),
                    others,
                    "{kind} {number}"
                );
            }
        }
    }
    assert!(
        met > LEADING_OUT.len() * PLACES.len(),
        "none of the rare kinds: {rare:?}"
    );
}

#[test]
fn all_but_the_standard_ones_and_those_named_can_be_closed() {
    let host = Host::new();
    host.compile("hold", HOLD);
    host.compile("open", OPEN);
    for kind in HARMLESS {
        for place in PLACES {
            let number = place.0;
            let outside = hold(&host, kind, place, 0, "").unwrap();
            let start = format!("{number} ");
            let others: String = out(&outside)
                .split_inclusive('\n')
                .filter(|line| number == 0 || !line.starts_with(&start))
                .collect();
            let keep = format!("--keep-fd {number}");
            for levels in [1, 2] {
                let inside = |options: &str| {
                    let run = hold(&host, kind, place, levels, options).unwrap();
                    out(&run).to_owned()
                };
                assert_eq!(inside("--close-fds"), others, "{kind} {number}");
                for options in [
                    &keep,
                    &format!("--close-fds {keep}"),
                    &format!("{keep} --close-fds --keep-fd 1 {keep}"),
                ] {
                    assert_eq!(inside(options), out(&outside), "{kind} {options}");
                }
            }
        }
    }
}

/// An option that is a promise: the command has it, or does not start.
#[test]
fn a_descriptor_that_cannot_be_kept_is_a_refusal() {
    let host = Host::new();
    host.compile("hold", HOLD);
    host.compile("open", OPEN);
    let set = host.compile("set", SET);
    for (kind, name) in [
        ("directory", "a directory"),
        ("path-directory", "a mere place (O_PATH)"),
        ("path-regular", "a mere place (O_PATH)"),
        ("path-link", "a mere place (O_PATH)"),
        ("mount-namespace", "a namespace"),
        ("pid-namespace", "a namespace"),
        ("pidfd", ""),
        ("fscontext", "a file of this kind"),
        ("mount", "a mere place (O_PATH)"),
        ("tree", "a mere place (O_PATH)"),
    ] {
        // Before Linux 6.9 a pidfd is one of the kinds that have no name here.
        let names = match kind {
            "pidfd" => vec!["a pidfd", "a file of this kind"],
            _ => vec![name],
        };
        for place in PLACES {
            let number = place.0;
            // Of the first three, a mere place is closed before anybody looks: src/sys/entry.rs.
            let is_plugged = name.contains("O_PATH") && number <= 2;
            for options in ["", "--close-fds "] {
                let options = format!("{options}--keep-fd {number}");
                let run = hold(&host, kind, place, 1, &options).unwrap();
                let refusals = names.iter().map(|name| match is_plugged {
                    true => format!("selfdock: cannot keep descriptor {number}: it is not open\n"),
                    false => format!(
                        "selfdock: cannot keep descriptor {number}: {name} is not for the command\n"
                    ),
                });
                assert_ended(&run, host::CANNOT);
                let said = String::from_utf8_lossy(&run.stderr);
                assert!(
                    refusals.into_iter().any(|refusal| said == refusal),
                    "{kind}: {said}"
                );
            }
        }
    }
    for number in ["0", "2", "3", "4", "9", "1023", "1024", "2147483647"] {
        let mut command = host.as_caller(&set);
        command.args(["c0", "--"]).arg(host.program());
        // Descriptor 3 is one that selfdock opens itself.
        let run = command.args(["--keep-fd", "1", "--keep-fd", number, "run", "true"]);
        let run = run.output().unwrap();
        if number == "2" {
            assert_eq!(out(&run), "");
        } else {
            let refusal = format!("cannot keep descriptor {number}: it is not open");
            assert_refused(&run, &refusal);
        }
    }
}

#[test]
fn what_an_outer_instance_closes_cannot_be_kept_by_an_inner_one() {
    let host = Host::new();
    let script = "exec \"$0\" $1 run \"$0\" $2 run sh -c 'cat <&5' 5<&0 0</dev/null";
    let run = |outer, inner| {
        let mut shell = host.as_caller("sh");
        shell.args(["-c", script]).arg(host.program());
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"read").unwrap();
        drop(writer);
        let command = shell.args([outer, inner]).stdin(reader);
        command.output().unwrap()
    };
    for (outer, inner) in [
        ("", ""),
        ("--close-fds --keep-fd 5", "--keep-fd 5"),
        ("--keep-fd 5", "--close-fds --keep-fd 5"),
    ] {
        assert_eq!(out(&run(outer, inner)), "read", "{outer}, {inner}");
    }
    let refused = run("--close-fds", "--keep-fd 5");
    assert_refused(&refused, "cannot keep descriptor 5: it is not open");
    assert!(!run("--keep-fd 5", "--close-fds").status.success());
}

/// Attack: a command keeps what ties its instance to the outer supervisor, of which it could learn
/// when that is ended, and which it could hold on to.
#[test]
fn the_pipe_of_an_outer_selfdock_cannot_be_kept() {
    let host = Host::new();
    let set = host.compile("set", SET);
    let mut met = 0;
    for number in 3..32 {
        for options in ["", "--close-fds"] {
            let mut command = host.as_caller(&set);
            command.arg("--").arg(host.program()).arg("run");
            command.arg(host.program()).args(options.split_whitespace());
            let number = number.to_string();
            let run = command.args(["--keep-fd", &number, "run", "true"]).output();
            let run = run.unwrap();
            assert_ended(&run, host::CANNOT);
            met += usize::from(text(&run).contains("a socket of selfdock's own"));
        }
    }
    assert_eq!(met, 2);
}

#[test]
fn a_jobserver_is_kept_where_all_else_is_closed() {
    let host = Host::new();
    let dir = host.caller_dir("dir");
    let makefile = "
outer:
\t+@set -- $$(echo $(MAKEFLAGS) | sed -n 's/.*--jobserver-auth=\\([0-9]*\\),\\([0-9]*\\).*/\\1 \\2/p'); \\
\t$(SELFDOCK) -C $(DIR) --close-fds $$(test -z \"$(KEEP)\" || echo --keep-fd $$1 --keep-fd $$2) run $(MAKE) inner
inner: one two
one two:
\t@sleep 0.01
";
    host.caller_file("dir/Makefile", 0o644, makefile);
    let make = |keep: &str| {
        let script = "style=; if make --help | grep -q jobserver-style; then style=--jobserver-style=pipe; fi
            exec make --no-print-directory -j3 $style outer \"$@\" 7</dev/zero";
        let mut command = host.as_caller("sh");
        command.args(["-c", script, "sh"]);
        command.arg(format!("SELFDOCK={}", host.program().display()));
        command.arg(format!("DIR={}", dir.display()));
        command.args([keep]).current_dir(&dir);
        let run = command.env_remove("MAKEFLAGS").output().unwrap();
        assert_ended(&run, 0);
        text(&run)
    };
    let warning = "jobserver unavailable";
    assert!(make("KEEP=").contains(warning), "{}", make("KEEP="));
    assert!(!make("KEEP=yes").contains(warning), "{}", make("KEEP=yes"));
}

#[test]
fn the_command_has_no_descriptor_of_selfdocks() {
    let host = Host::new();
    let open = host.compile("open", OPEN);
    let dir = host.caller_dir("dir");
    let dir = dir.to_str().unwrap();
    let set = host.compile("set", SET);
    let bare = host.as_caller(&set).arg("--").arg(&open).output().unwrap();
    let expected = out(&bare);
    assert_eq!(expected.lines().count(), 3, "{expected}");
    let rootfs = host.busybox_rootfs("rootfs");
    fs::hard_link(&open, rootfs.join("open")).unwrap();
    let rootfs = rootfs.to_str().unwrap();
    let open = open.to_str().unwrap();
    let program = host.program();
    let program = program.to_str().unwrap();
    for words in [
        &["run", open][..],
        &["build", open],
        &[
            "-m", dir, dir, "-v", dir, dir, "-t", "", dir, "--here", "-C", "/tmp", "run", open,
        ],
        &["run", program, "-v", dir, dir, "run", program, "run", open],
        &["-r", rootfs, "run", "/open"],
        &["-r", rootfs, "build", "/open"],
    ] {
        let mut command = host.as_caller(&set);
        command.args(["--", program]).args(words).current_dir(dir);
        assert_eq!(out(&command.output().unwrap()), expected, "{words:?}");
    }
}

#[test]
fn inherited_files_and_pipes_work() {
    let host = Host::new();
    let dir = host.caller_dir("dir");
    let script = "
        exec 5> \"$1/file\"
        echo jobs | \"$0\" run /bin/sh -c 'cat <&3; echo written >&5' 3<&0 < /dev/null";
    let mut shell = host.as_caller("/bin/sh");
    let run = shell
        .args(["-c", script])
        .arg(host.program())
        .arg(&dir)
        .output()
        .unwrap();
    assert_eq!(out(&run), "jobs\n");
    assert_eq!(fs::read_to_string(dir.join("file")).unwrap(), "written\n");

    let mut file = output_file(&dir);
    let mut echo = host.selfdock();
    echo.args(["run", "/bin/echo", "to the file"])
        .stdout(file.try_clone().unwrap());
    assert!(echo.status().unwrap().success());
    file.rewind().unwrap();
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!(content, "to the file\n");
}

fn output_file(dir: &Path) -> File {
    let path: PathBuf = dir.join("output");
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap()
}

/// Closes its standard output and error, and lives until its standard input ends.
const SILENT: &str = "exec >&- 2>&-; read line; exit 42";

/// What comes out until the end, or nothing if that does not come in time.
fn read_to_end(mut output: impl Read + Send + 'static) -> Option<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut content = Vec::new();
        let _ = output.read_to_end(&mut content);
        let _ = sender.send(content);
    });
    receiver.recv_timeout(Duration::from_secs(10)).ok()
}

fn spawn(mut command: Command) -> Child {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_reader_sees_the_end_when_the_command_closes_its_output() {
    let host = Host::new();
    for levels in [1, 3] {
        let mut words = inside(&host, levels, "/bin/sh".as_ref()).into_iter();
        let mut command = host.as_caller(words.next().unwrap());
        command.args(words).args(["-c", SILENT]);
        let mut child = spawn(command);
        let ends = (
            read_to_end(child.stdout.take().unwrap()),
            read_to_end(child.stderr.take().unwrap()),
        );
        let is_running = child.try_wait().unwrap().is_none();
        drop(child.stdin.take());
        let status = child.wait().unwrap();
        assert_eq!(ends, (Some(vec![]), Some(vec![])), "{levels} levels");
        assert!(is_running, "{levels} levels: {status}");
        assert_eq!(status.code(), Some(42));
    }
}

/// Of a copy of the output that the command was not to have as well.
#[test]
fn a_reader_sees_the_end_of_what_the_command_was_not_to_have() {
    let host = Host::new();
    for levels in [1, 3] {
        for (options, expected) in [("--close-fds", true), ("--keep-fd 5", false)] {
            let mut command = host.as_caller("sh");
            let start = "exec \"$@\" 5>&1";
            command.args(["-c", start, "sh"]).arg(host.program());
            command.args(options.split(' ')).arg("run");
            for _ in 1..levels {
                command.arg(host.program()).arg("run");
            }
            let tell = "exec >&- 2>/dev/null; read line; echo late >&5; exit 42";
            command.args(["sh", "-c", tell]);
            let mut child = spawn(command);
            if expected {
                let end = read_to_end(child.stdout.take().unwrap());
                assert_eq!(end, Some(vec![]), "{levels} levels");
                assert!(child.try_wait().unwrap().is_none(), "{levels} levels");
            }
            drop(child.stdin.take());
            let run = child.wait_with_output().unwrap();
            assert_ended(&run, 42);
            let late: &[u8] = if expected { b"" } else { b"late\n" };
            assert_eq!(run.stdout, late, "{levels} levels, {options}");
        }
    }
}

#[test]
fn a_writer_sees_the_end_when_the_command_closes_its_input() {
    let host = Host::new();
    // The fifo keeps it alive when its standard input is closed.
    let dir = host.caller_dir("dir");
    let fifo = dir.join("fifo");
    let made = host.as_caller("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let script = "exec <&-; echo closed; read line < \"$0\"";
    let mut command = host.selfdock();
    command.args(["run", "/bin/sh", "-c", script]).arg(&fifo);
    let mut child = spawn(command);
    let mut line = [0; 7];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut line)
        .unwrap();
    assert_eq!(&line, b"closed\n");
    let mut input = child.stdin.take().unwrap();
    let error = loop {
        if let Err(error) = input.write_all(&[0; 1024]) {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert!(child.try_wait().unwrap().is_none());
    fs::write(&fifo, "end\n").unwrap();
    let run: Output = child.wait_with_output().unwrap();
    assert_eq!(out(&run), "");
}

/// Attack: an error that libc takes for the end of a directory cuts the list of descriptors short.
#[test]
fn a_list_of_descriptors_that_is_cut_short_is_refused() {
    let host = Host::new();
    let start = |inject: &[&str]| {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=getdents64"]);
        command.args(inject);
        let id = host.uid().to_string();
        command.args(["setpriv", "--clear-groups", "--reuid", &id, "--regid", &id]);
        command
            .arg(host.program())
            .args(["run", "/bin/ls", "/proc/self/fd/200"]);
        // A way out, were it passed; and not among the first numbers, which are not listed.
        let mut shell = Command::new("/bin/bash");
        shell.args(["-c", "exec 200</; exec \"$@\"", "bash"]);
        shell.arg(command.get_program()).args(command.get_args());
        shell
            .current_dir("/")
            .env_remove("RUST_BACKTRACE")
            .output()
            .unwrap()
    };
    // What libc takes for the end; and what the kernel says at the end.
    for (how, errno) in [("error=ENOENT", Errno::ENOENT), ("retval=0", Errno::EIO)] {
        let cut = start(&["-e", &format!("inject=getdents64:{how}:when=1")]);
        let reason = errno.desc();
        let message = format!("cannot restrict the inherited descriptors: {reason}");
        host::assert_refused(&cut, &message);
    }
    // Whole, it has the directory in it.
    let whole = start(&[]);
    assert_eq!(whole.status.code(), Some(2), "{}", text(&whole));
}

//! The supervisor's own filter: of all system calls those that it needs, and no other. Who has taken
//! it over from inside has a process outside, but could do little with that.

mod host;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use host::{Host, new_terminal, out, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Says that it runs, and waits for ever.
const IDLE: &str = "#include <unistd.h>
    int main(void) { write(1, \"ready\\n\", 6); for (;;) pause(); }";

fn field(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap_or_default().trim().to_owned()
}

/// The processes of the caller's that are selfdock.
fn supervisors(host: &Host) -> Vec<u32> {
    let is_one = |pid: &u32| field(*pid, "Name:") == "selfdock";
    host.processes().into_iter().filter(is_one).collect()
}

/// Starts a program of the caller's, and waits until `idle` runs.
fn start(host: &Host, program: &Path, words: &[&str]) -> Child {
    let mut command = host.as_caller(program);
    command.args(words).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "{words:?}");
    child
}

/// Ends a supervisor, or a bare process, as a signal ends it.
fn end(mut child: Child) {
    let pid = Pid::from_raw(child.id().cast_signed());
    kill(pid, Signal::SIGTERM).unwrap();
    child.wait().unwrap();
}

/// Ways to start `idle`, and how many processes of selfdock there are then.
fn kinds(host: &Host) -> [(Vec<String>, usize); 5] {
    let (program, idle) = (host.program(), host.path("idle"));
    [
        ("run", 1),
        ("--name web run", 1),
        ("--init run", 2),
        ("run $SD run", 2),
        ("--init run $SD --init build", 4),
    ]
    .map(|(line, count)| {
        let words = line.split(' ').chain(["$IDLE"]);
        let fill = |word: &str| {
            word.replace("$SD", program.to_str().unwrap())
                .replace("$IDLE", idle.to_str().unwrap())
        };
        (words.map(fill).collect(), count)
    })
}

#[test]
fn every_supervisor_is_filtered_before_its_command_begins() {
    let host = Host::new();
    let idle = host.compile("idle", IDLE);
    let assert_filtered = |count: usize, what: &str| {
        let found = supervisors(&host);
        assert_eq!(found.len(), count, "{what}");
        for pid in found {
            assert_eq!(field(pid, "Seccomp:"), "2", "{what}");
            assert_eq!(field(pid, "Seccomp_filters:"), "1", "{what}");
            assert_eq!(field(pid, "NoNewPrivs:"), "1", "{what}");
        }
    };
    for (words, count) in kinds(&host) {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let child = start(&host, &host.program(), &words);
        assert_filtered(count, &words.join(" "));
        if words.contains(&"web") {
            let enter = ["enter", "web", idle.to_str().unwrap()];
            let guest = start(&host, &host.program(), &enter);
            assert_filtered(count + 1, "enter");
            end(guest);
        }
        end(child);
        host.assert_nothing_runs();
    }
}

#[test]
fn the_command_does_not_inherit_it() {
    let host = Host::new();
    for options in [&["run"][..], &["--init", "run"]] {
        let words = ["grep", "-E", "^(Seccomp|NoNewPrivs):", "/proc/self/status"];
        // Without a controlling terminal, which brings a filter of its own.
        let run = host
            .as_caller("setsid")
            .arg("--wait")
            .arg(host.program())
            .args(options)
            .args(words)
            .output();
        let expected = "NoNewPrivs:\t0\nSeccomp:\t0\n";
        assert_eq!(out(&run.unwrap()), expected, "{options:?}");
    }
}

/// All that a supervisor asks the kernel for, by the names that strace(1) has for it, and where it asks
/// with few arguments only, those. A new one is to be thought about, and then listed here.
const CALLS: [&str; 34] = [
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "close_range",
    "exit_group",
    "fcntl F_GETFD",
    "fcntl F_GETFL",
    "fcntl F_SETFD",
    "getdents64",
    "getpgid",
    "getpgrp",
    "getpid",
    "getsid",
    "gettid",
    "ioctl SECCOMP_IOCTL_NOTIF_ID_VALID",
    "ioctl SECCOMP_IOCTL_NOTIF_RECV",
    "ioctl SECCOMP_IOCTL_NOTIF_SEND",
    "ioctl TIOCGPGRP",
    "ioctl TIOCSPGRP",
    "openat",
    "pidfd_open",
    "pidfd_send_signal",
    "poll",
    "ppoll",
    "prlimit64",
    "read",
    "recvfrom",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "sendto",
    "statx",
    "tgkill",
    "waitid",
];
/// Memory, for which libc asks when it likes; old names; and what has to do with other processes of a
/// terminal's.
const OTHERS: [&str; 11] = [
    "brk",
    "kill 0",
    "kill SIGCONT",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "rt_sigpending",
    "tkill",
];

/// What the supervisors in a log of strace(1) asked for since they are filtered.
fn asked_for(log: &str) -> BTreeSet<String> {
    let mut filtered = BTreeSet::new();
    let mut asked = BTreeSet::new();
    for line in log.lines() {
        let (pid, call) = line.split_once(' ').unwrap();
        let Some((name, rest)) = call.trim_start().split_once('(') else {
            continue;
        };
        if name == "seccomp" && rest.starts_with("0xffffffff") {
            // How it sees that the filter is there.
            assert!(
                rest.contains("EPERM") || rest.contains("<unfinished"),
                "{line}"
            );
            filtered.insert(pid);
        } else if filtered.contains(pid) && !name.starts_with(['<', '+', '-']) {
            let rest = rest.replace(" <unfinished ...>", "");
            let second = rest.split([',', ')']).nth(1).unwrap_or_default();
            asked.insert(match name {
                "ioctl" | "fcntl" | "kill" => format!("{name}{second}"),
                _ => name.to_owned(),
            });
        }
    }
    asked
}

#[test]
fn it_asks_for_what_is_listed_and_for_nothing_else() {
    let host = Host::new();
    let log = host.path("log");
    let mut asked = BTreeSet::new();
    for line in [
        "$SD run true",
        "$SD --name web --init run sh -c (sleep 0.1&);exit",
        "$SD run $SD run true",
        "timeout 2 $SD run sleep 60",
        "timeout 2 $SD --init run $SD run sleep 60",
        "$SD run sh -c kill -TSTP $$",
        "$SD run $SD --init run sh -c kill -TSTP $$",
    ] {
        for is_on_terminal in [false, true] {
            let (_other_side, terminal) = new_terminal();
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "-o"]).arg(&log);
            command.args(["setpriv", "--clear-groups"]);
            let id = host.uid();
            command.args([format!("--reuid={id}"), format!("--regid={id}")]);
            command.args(["setsid", "--wait"]).current_dir("/");
            if is_on_terminal {
                command.arg("--ctty").stdin(Stdio::from(terminal));
            } else {
                command.stdin(Stdio::null());
            }
            let (start, script) = line.split_once(" -c ").unwrap_or((line, ""));
            let words = start.split(' ');
            let program = host.program();
            command.args(words.map(|word| word.replace("$SD", program.to_str().unwrap())));
            if !script.is_empty() {
                command.args(["-c", script]);
            }
            let run = command.output().expect("strace is needed");
            assert!(run.stderr.is_empty(), "{line}: {}", text(&run));
            let calls = asked_for(&fs::read_to_string(&log).unwrap());
            assert!(calls.contains("waitid"), "{line}: there is no supervisor");
            asked.extend(calls);
        }
    }
    let listed: BTreeSet<_> = CALLS
        .iter()
        .chain(&OTHERS)
        .map(|name| name.to_string())
        .collect();
    let unknown: Vec<_> = asked.difference(&listed).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let sure = [
        "openat",
        "pidfd_send_signal",
        "pidfd_open",
        "tgkill",
        "ioctl SECCOMP_IOCTL_NOTIF_SEND",
    ];
    for name in sure {
        assert!(asked.contains(name), "{name}: {asked:?}");
    }
}

/// What it refuses and allows: calls that a debugger of root's has the supervisor make. The machine
/// code of it is for one architecture.
#[cfg(target_arch = "x86_64")]
mod injected {
    use std::os::unix::process::ExitStatusExt;
    use std::time::{Duration, Instant};

    use super::*;
    use host::terminal::Terminal;
    use nix::libc;

    /// `inject PID native|narrow NUMBER [ARG]...`: has a process that sleeps in a system call make
    /// another one, and then go back to its own. Words that begin with `/` are strings. Says
    /// `returned N`, or `killed by N`.
    const INJECT: &str = r#"
        #define _GNU_SOURCE
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/ptrace.h>
        #include <sys/syscall.h>
        #include <sys/uio.h>
        #include <sys/user.h>
        #include <sys/wait.h>
        #include <unistd.h>
        static pid_t pid;
        static void check(long result, const char *what) {
            if (result < 0) perror(what), exit(98);
        }
        static int wait_for_stop(void) {
            int status;
            check(waitpid(pid, &status, __WALL), "waitpid");
            if (WIFSTOPPED(status)) return WSTOPSIG(status);
            printf("killed by %d\n", WTERMSIG(status));
            exit(0);
        }
        int main(int argc, char **argv) {
            struct user_regs_struct old, new;
            unsigned long args[6] = { 0 };
            pid = atoi(argv[1]);
            check(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD), "seize");
            for (;;) {
                check(ptrace(PTRACE_INTERRUPT, pid, 0, 0), "interrupt");
                wait_for_stop();
                check(ptrace(PTRACE_GETREGS, pid, 0, &old), "getregs");
                long at = old.orig_rax;
                if (at == SYS_poll || at == SYS_pause || at == SYS_restart_syscall) break;
                // It is about to go to sleep.
                check(ptrace(PTRACE_CONT, pid, 0, 0), "cont");
                usleep(1000);
            }
            // Back to the instruction in which it sleeps, two bytes long.
            old.rip -= 2;
            long code = ptrace(PTRACE_PEEKTEXT, pid, old.rip, 0);
            check((code & 0xffff) == 0x050f ? 0 : -1, "syscall instruction");
            for (int at = 4; at < argc; at++) {
                args[at - 4] = strtoul(argv[at], 0, 0);
                if (argv[at][0] != '/') continue;
                struct iovec here = { argv[at], strlen(argv[at]) + 1 };
                struct iovec there = { (void *)(old.rsp - 4096 + 256 * at), here.iov_len };
                check(process_vm_writev(pid, &here, 1, &there, 1, 0), "write");
                args[at - 4] = (unsigned long)there.iov_base;
            }
            new = old;
            new.orig_rax = -1;
            new.rax = strtoul(argv[3], 0, 0);
            new.rdi = args[0], new.rsi = args[1], new.rdx = args[2];
            new.r10 = args[3], new.r8 = args[4], new.r9 = args[5];
            if (!strcmp(argv[2], "narrow")) // int 0x80
                check(ptrace(PTRACE_POKETEXT, pid, old.rip, (code & ~0xffffL) | 0x80cd), "poke");
            check(ptrace(PTRACE_SETREGS, pid, 0, &new), "setregs");
            // To the beginning of the call, and to its end.
            for (int stops = 0; stops < 2;) {
                check(ptrace(PTRACE_SYSCALL, pid, 0, 0), "syscall");
                stops += wait_for_stop() == (SIGTRAP | 0x80);
            }
            check(ptrace(PTRACE_GETREGS, pid, 0, &new), "getregs");
            // And to where it was; it is only on the way there that it is killed.
            check(ptrace(PTRACE_POKETEXT, pid, old.rip, code), "poke");
            old.rax = old.orig_rax;
            old.orig_rax = -1;
            check(ptrace(PTRACE_SETREGS, pid, 0, &old), "setregs");
            check(ptrace(PTRACE_SYSCALL, pid, 0, 0), "syscall");
            wait_for_stop();
            printf("returned %ld\n", (long)new.rax);
            check(ptrace(PTRACE_DETACH, pid, 0, 0), "detach");
            return 0;
        }"#;

    /// By SIGSYS, as the filter has it.
    const KILLED: &str = "killed by 31\n";

    /// What an attacker would write to.
    const FILE: &str = "/dev/null";

    fn host() -> Host {
        let host = Host::new();
        host.compile("inject", INJECT);
        host.compile("idle", IDLE);
        host
    }

    /// Has the process make a call, written as its number and arguments.
    fn inject(host: &Host, pid: u32, call: &str) -> String {
        let (way, rest) = match call.strip_prefix("narrow ") {
            Some(rest) => ("narrow", rest),
            None => ("native", call),
        };
        let mut command = Command::new(host.path("inject"));
        command
            .arg(pid.to_string())
            .arg(way)
            .args(rest.split_whitespace());
        out(&command.output().unwrap()).to_owned()
    }

    fn call(number: libc::c_long, arguments: &str) -> String {
        format!("{number} {arguments}")
    }

    /// An instance in which `idle` runs.
    fn instance(host: &Host) -> Child {
        let idle = host.path("idle");
        start(host, &host.program(), &["run", idle.to_str().unwrap()])
    }

    /// Calls that the supervisor has no use for, and who has taken it over had.
    fn useless() -> Vec<String> {
        [
            (libc::SYS_execve, "/nowhere 0 0"),
            (libc::SYS_execveat, "-100 /nowhere 0 0 0"),
            (libc::SYS_clone, "0x800"),
            (libc::SYS_clone3, "0 0"),
            (libc::SYS_ptrace, "16 1"),
            (libc::SYS_process_vm_readv, "1 0 0 0 0 0"),
            (libc::SYS_process_vm_writev, "1 0 0 0 0 0"),
            (libc::SYS_pidfd_getfd, "9 0 0"),
            (libc::SYS_mount, "0 / 0 0x44000 0"),
            (libc::SYS_open_tree, "-100 / 1"),
            (libc::SYS_unshare, "0x20000"),
            (libc::SYS_setns, "9 0"),
            (libc::SYS_chroot, "/"),
            (libc::SYS_socket, "1 1 0"),
            (libc::SYS_connect, "9 0 0"),
            (libc::SYS_bind, "9 0 0"),
            (libc::SYS_accept, "9 0 0"),
            (libc::SYS_sendmsg, "9 0 0"),
            (libc::SYS_open, "/dev/null 0"),
            (libc::SYS_creat, "/proc/nowhere 0"),
            (libc::SYS_openat2, "-100 /dev/null 0 24"),
            (libc::SYS_write, "9 /dev/null 1"),
            (libc::SYS_writev, "9 0 0"),
            (libc::SYS_pwrite64, "9 /dev/null 1 0"),
            (libc::SYS_sendfile, "9 9 0 1"),
            (libc::SYS_unlink, "/proc/nowhere"),
            (libc::SYS_rename, "/proc/nowhere /proc/nowhere"),
            (libc::SYS_symlink, "/proc/nowhere /proc/nowhere"),
            (libc::SYS_link, "/proc/nowhere /proc/nowhere"),
            (libc::SYS_chmod, "/proc/nowhere 0"),
            (libc::SYS_truncate, "/proc/nowhere 0"),
            (libc::SYS_mkdir, "/proc/nowhere 0"),
            (libc::SYS_dup, "9"),
            (libc::SYS_setresuid, "-1 -1 -1"),
            (libc::SYS_capset, "0 0"),
            (libc::SYS_prctl, "4 1"), // PR_SET_DUMPABLE
            (libc::SYS_bpf, "-1 0 0"),
            (libc::SYS_io_uring_setup, "0 0"),
            (libc::SYS_userfaultfd, "-1"),
            (libc::SYS_memfd_create, "/name 0"),
            (libc::SYS_keyctl, "-1"),
            (libc::SYS_shmget, "0 0 0"),
            (libc::SYS_rt_sigqueueinfo, "0 0 0"),
        ]
        .map(|(number, arguments)| call(number, arguments))
        .to_vec()
    }

    /// Calls that it needs, but not with these arguments.
    fn misused() -> Vec<String> {
        [
            (libc::SYS_openat, "-100 /dev/null 1"), // O_WRONLY
            (libc::SYS_openat, "-100 /dev/null 2"), // O_RDWR
            (libc::SYS_openat, "-100 /dev/null 0x100000002"),
            (libc::SYS_openat, "-100 /dev/null 0x40"), // O_CREAT
            (libc::SYS_openat, "-100 /dev/null 0x200"), // O_TRUNC
            (libc::SYS_openat, "-100 /tmp 0x410002"),  // O_TMPFILE
            (libc::SYS_ioctl, "9 0x5412 0"),           // TIOCSTI
            (libc::SYS_ioctl, "9 0x100005412 0"),
            (libc::SYS_ioctl, "9 0x5401 0"),        // TCGETS
            (libc::SYS_ioctl, "9 0x40182103 0"),    // SECCOMP_IOCTL_NOTIF_ADDFD
            (libc::SYS_fcntl, "9 0"),               // F_DUPFD
            (libc::SYS_fcntl, "9 8 1"),             // F_SETOWN
            (libc::SYS_mmap, "0 4096 5 0x22 -1 0"), // PROT_EXEC
            (libc::SYS_mprotect, "0 4096 5"),
            (libc::SYS_kill, "0 28"), // SIGWINCH
            (libc::SYS_tgkill, "1 1 0"),
            (libc::SYS_tkill, "1 0"),
            (libc::SYS_prlimit64, "1 4 0 0"),
            (libc::SYS_prlimit64, "0 7 0 0"), // RLIMIT_NOFILE
            // Nobody but the command is to be signalled, unless there is a terminal.
            (libc::SYS_pidfd_open, "1 0"),
            (libc::SYS_ioctl, "9 0xc0502100 0"), // SECCOMP_IOCTL_NOTIF_RECV
        ]
        .map(|(number, arguments)| call(number, arguments))
        .to_vec()
    }

    /// getpid(2) by other tables than the machine's own: i386, x32.
    fn by_other_tables() -> Vec<String> {
        vec!["narrow 20".to_owned(), "0x40000027".to_owned()]
    }

    /// Fails unless each of the calls, which do something without selfdock, ends the supervisor, and
    /// everything inside with it.
    fn assert_killed(calls: &[String]) {
        let host = host();
        let mut bare = start(&host, &host.path("idle"), &[]);
        for call in calls {
            let control = inject(&host, bare.id(), call);
            assert!(control.starts_with("returned "), "{call}: {control}");

            let mut child = instance(&host);
            assert_eq!(inject(&host, child.id(), call), KILLED, "{call}");
            let status = child.wait().unwrap();
            assert_eq!(status.signal(), Some(libc::SIGSYS), "{call}: {status}");
            assert!(!status.core_dumped(), "{call}");
            assert_eq!(bare.try_wait().unwrap(), None, "{call}");
            wait_for_processes(&host, &[bare.id()]);
        }
        end(bare);
    }

    /// Until these are all that the caller has.
    fn wait_for_processes(host: &Host, expected: &[u32]) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while host.processes() != expected {
            assert!(Instant::now() < deadline, "{:?}", host.processes());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Attack: who has the supervisor in hand has a process outside of the instance.
    #[test]
    fn a_call_that_it_does_not_need_ends_the_supervisor_and_the_instance() {
        assert_killed(&useless());
    }

    #[test]
    fn so_does_one_that_it_needs_with_other_arguments() {
        assert_killed(&misused());
    }

    #[test]
    fn so_does_every_call_by_another_table() {
        assert_killed(&by_other_tables());
    }

    /// A wait that was interrupted goes on by restart_syscall(2), a call like others.
    #[test]
    fn what_it_needs_is_allowed_and_it_goes_on() {
        let host = host();
        let mut child = instance(&host);
        let pid = child.id();
        for (call, expected) in [
            (call(libc::SYS_getpid, ""), pid.cast_signed()),
            (call(libc::SYS_kill, "0 0"), 0),
            (call(libc::SYS_tgkill, &format!("{pid} {pid} 0")), 0),
            (call(libc::SYS_prlimit64, "0 4 0 0"), 0),
            (call(libc::SYS_mprotect, "0 0 3"), 0),
            // By that it sees that the filter is there.
            (call(libc::SYS_seccomp, "-1 0 0"), -libc::EPERM),
        ] {
            let answer = inject(&host, pid, &call);
            assert_eq!(answer, format!("returned {expected}\n"), "{call}");
        }
        let opened = inject(
            &host,
            pid,
            &call(libc::SYS_openat, &format!("-100 {FILE} 0")),
        );
        let number = opened.strip_prefix("returned ").unwrap().trim();
        assert!(number.parse::<u32>().is_ok(), "{opened}");

        for signal in ["-STOP", "-CONT", "-TERM"] {
            let mut kill = Command::new("kill");
            let sent = kill.args([signal, &pid.to_string()]).status();
            assert!(sent.unwrap().success());
        }
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
    }

    #[test]
    fn every_kind_of_supervisor_is_ended_by_it() {
        let host = host();
        let exec = call(libc::SYS_execve, "/nowhere 0 0");
        for (words, count) in kinds(&host) {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            for index in 0..count {
                let mut child = start(&host, &host.program(), &words);
                let pid = supervisors(&host)[index];
                assert_eq!(inject(&host, pid, &exec), KILLED, "{words:?}: {index}");
                // The others are told, and end in the same way, or as pid 1 does.
                let status = child.wait().unwrap();
                let ended = status.signal().or(status.code().map(|code| code - 128));
                assert_eq!(ended, Some(libc::SIGSYS), "{words:?}: {index}: {status}");
                host.assert_nothing_runs();
            }
        }
        let idle = host.path("idle");
        let idle = idle.to_str().unwrap();
        let running = start(&host, &host.program(), &["--name", "web", "run", idle]);
        let before = host.processes();
        // The instance cannot end before its guest is collected, and the machine's init may be slow.
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let mut guest = start(&host, &host.program(), &["enter", "web", idle]);
        assert_eq!(inject(&host, guest.id(), &exec), KILLED);
        assert_eq!(guest.wait().unwrap().signal(), Some(libc::SIGSYS));
        wait_for_processes(&host, &before);
        host.reap();
        end(running);
    }

    /// It is told there of processes that stop themselves, and looks for them.
    #[test]
    fn with_a_terminal_it_may_open_processes_and_no_more() {
        let host = host();
        let (program, idle) = (host.program(), host.path("idle"));
        let words = [program.to_str().unwrap(), "run", idle.to_str().unwrap()];
        for (call, is_allowed) in [
            (call(libc::SYS_pidfd_open, "1 0"), true),
            (call(libc::SYS_openat, "-100 /dev/tty 2"), false),
            (call(libc::SYS_ioctl, "9 0x5412 0"), false),
            (call(libc::SYS_ioctl, "9 0x40182103 0"), false),
        ] {
            let mut terminal = Terminal::start(&host, &words, &[]);
            terminal.until("ready");
            let answer = inject(&host, supervisors(&host)[0], &call);
            assert_eq!(
                answer.starts_with("returned "),
                is_allowed,
                "{call}: {answer}"
            );
            assert!(is_allowed || answer == KILLED, "{call}: {answer}");
            terminal.hang_up();
            terminal.end();
            host.assert_nothing_runs();
        }
    }
}

//! The terminal that the command shares with its caller: it can be used as outside, but nothing can
//! be typed into it, nor is its other side taken from who has it. Each attack is shown to work outside
//! first.

mod host;

use std::fs;
use std::process::{Command, Stdio};

use host::fixtures::{Taking, assert_can_be_taken, not_taken, taken};
use host::{Host, Install, new_terminal, out};
use nix::errno::Errno;

/// `type [own NUMBER] TERMINAL WAY...`: tries to type a letter into TERMINAL, a descriptor's number
/// or a path, in each way, and prints a line for it: the way, the error, and how many letters are
/// there to be read then. The error is -1 if the machine has no such way. With `own`, the terminal
/// of that descriptor first becomes the controlling one of a new session.
const TYPE: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <fcntl.h>
    #include <setjmp.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/ioctl.h>
    #include <sys/mman.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <termios.h>
    #include <unistd.h>
    #define HIGH 0xdead000100000000UL
    static sigjmp_buf none;
    static void absent(int signal) { siglongjmp(none, 1); }
    static int call(long number, long terminal, long request, char *letter) {
        return syscall(number, terminal, request, letter) ? errno : 0;
    }
    static int narrow(long terminal, long request, char *letter) {
    #ifdef __x86_64__
        long status = 54;
        if (sigsetjmp(none, 1)) return -1;
        __asm__ volatile ("int $0x80" : "+a" (status)
            : "b" (terminal), "c" (request), "d" (letter) : "memory", "r8", "r9", "r10", "r11");
        return -(int)status;
    #else
        return -1;
    #endif
    }
    static int try(const char *way, long terminal, char *letter) {
    #define IS(name) if (!strcmp(way, name))
        IS("native") return call(SYS_ioctl, terminal, TIOCSTI, letter);
        IS("native-high") return call(SYS_ioctl, terminal, TIOCSTI | HIGH, letter);
        IS("linux") return call(SYS_ioctl, terminal, TIOCLINUX, letter);
        IS("linux-high") return call(SYS_ioctl, terminal, TIOCLINUX | HIGH, letter);
        IS("narrow") return narrow(terminal, TIOCSTI, letter);
        IS("narrow-high") return narrow(terminal, TIOCSTI | HIGH, letter);
    #ifdef __x86_64__
        IS("x32") return call(0x40000000 | 514, terminal, TIOCSTI, letter);
        IS("x32-high") return call(0x40000000 | 514, terminal, TIOCSTI | HIGH, letter);
        IS("x32-native") return call(0x40000000 | 16, terminal, TIOCSTI, letter);
        IS("x32-without-bit") return call(514, terminal, TIOCSTI, letter);
    #endif
        return -1;
    }
    int main(int argc, char **argv) {
        signal(SIGSEGV, absent);
        if (!strcmp(argv[1], "own")) {
            if (fork()) {
                int status;
                wait(&status);
                return WEXITSTATUS(status);
            }
            if (setsid() < 0 || ioctl(atoi(argv[2]), TIOCSCTTY, 0)) return perror("TIOCSCTTY"), 98;
            argv += 2;
        }
        int is_path = argv[1][0] == '/';
        int terminal = is_path ? open(argv[1], O_RDWR) : atoi(argv[1]);
        struct termios raw;
        if (tcgetattr(terminal, &raw)) return perror("tcgetattr"), 98;
        cfmakeraw(&raw);
        if (tcsetattr(terminal, TCSANOW, &raw)) return perror("tcsetattr"), 98;
        // Below 4 GiB, for the ways that pass 32 bits.
    #ifndef MAP_32BIT
    #define MAP_32BIT 0
    #endif
        char *letter = mmap(0, 4096, PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        if (letter == MAP_FAILED) return perror("mmap"), 98;
        for (argv += 2; *argv; argv++) {
            *letter = 'x';
            int error = try(*argv, terminal, letter), queued = -1;
            ioctl(terminal, FIONREAD, &queued);
            printf("%s %d %d\n", *argv, error, queued);
            tcflush(terminal, TCIFLUSH);
        }
        return fflush(stdout);
    }"#;

/// Prints what a terminal, standard input, answers to the other requests.
const USE: &str = r#"
    #include <errno.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/ioctl.h>
    #include <termios.h>
    int main() {
        struct winsize size = { 0 };
        struct termios modes = { 0 };
        int count = -1, ldisc = -1, result;
    #define TRY(request, argument) \
        result = ioctl(0, request, argument), printf(#request " %d\n", result ? errno : 0)
        TRY(TIOCGWINSZ, &size);
        size.ws_row = 33; size.ws_col = 99;
        TRY(TIOCSWINSZ, &size);
        memset(&size, 0, sizeof size);
        TRY(TIOCGWINSZ, &size);
        printf("%d %d\n", size.ws_row, size.ws_col);
        TRY(TCGETS, &modes);
        modes.c_lflag ^= ECHO;
        TRY(TCSETS, &modes);
        printf("%x %x %x %x\n", modes.c_iflag, modes.c_oflag, modes.c_cflag, modes.c_lflag);
        TRY(FIONREAD, &count);
        TRY(TIOCOUTQ, &count);
        TRY(TIOCGETD, &ldisc);
        TRY(TIOCGPGRP, &count);
        TRY(TIOCGSID, &count);
        TRY(TCFLSH, TCIOFLUSH);
        TRY(0x5411, &count); // beside both that are refused
        TRY(0x541b, &count);
        TRY(0x541d, &count);
        return fflush(stdout);
    }"#;

/// What works on every machine where typing is allowed at all.
const NATIVE: [&str; 2] = ["native", "native-high"];
/// What only some machines have.
const NARROW: [&str; 2] = ["narrow", "narrow-high"];
const X32: [&str; 4] = ["x32", "x32-high", "x32-native", "x32-without-bit"];
/// What is for virtual consoles, which those here are not.
const LINUX: [&str; 2] = ["linux", "linux-high"];

fn host() -> Host {
    let host = Host::new();
    host.compile("type", TYPE);
    host
}

/// What the words print as this user, in a session of its own, so many levels deep. `start` is a
/// shell command in which `"$@"` stands for them, and has a terminal as standard input.
fn printed(host: &Host, uid: u32, start: &str, levels: usize, words: &str) -> String {
    let program = host.program();
    let prefix = format!("{} run ", program.display()).repeat(levels);
    let words = words.replace("type", host.path("type").to_str().unwrap());
    let line = format!("{prefix}{words}");
    let (_other_side, terminal) = new_terminal();
    let mut command = Command::new("setpriv");
    command
        .args([&format!("--reuid={uid}"), &format!("--regid={uid}")])
        .args(["--clear-groups", "sh", "-c", start, "sh"])
        .args(line.split(' '))
        .current_dir("/")
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::from(terminal));
    out(&command.output().unwrap()).to_owned()
}

/// `printed`, for the caller and a terminal that is the controlling one and standard input.
fn on_terminal(host: &Host, levels: usize, words: &str) -> String {
    printed(host, host.uid(), CONTROLLING, levels, words)
}

const CONTROLLING: &str = "exec setsid --ctty --wait \"$@\"";

/// What a way prints where it is not filtered: the letter is there, or, where the administrator has
/// forbidden TIOCSTI to all but root, EIO. Before Linux 6.2 nobody could do so.
fn typed(way: &str) -> String {
    let allowed = fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti");
    match allowed.as_deref().map(str::trim) {
        Ok("0") => format!("{way} {} 0\n", Errno::EIO as i32),
        _ => format!("{way} 0 1\n"),
    }
}

fn refused(way: &str) -> String {
    format!("{way} {} 0\n", Errno::EPERM as i32)
}

/// The line of /proc/self/status.
fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {status}"));
    line[name.len()..].trim()
}

/// How many seccomp filters: Linux 5.9. The machine that the test runs on may have its own.
fn filters(status: &str) -> usize {
    field(status, "Seccomp_filters:").parse().unwrap()
}

const STATUS: &str = "cat /proc/self/status";

/// The status of a process that many levels deep, each with `--init`: without that, there may be a
/// filter for job control as well.
fn status(host: &Host, start: &str, levels: usize, options: &str) -> String {
    let program = host.program();
    let prefix = format!("{} --init {options}run ", program.display()).repeat(levels);
    printed(host, host.uid(), start, 0, &format!("{prefix}{STATUS}"))
}

// What is refused.

/// Attack: a command types into the terminal, for the caller's shell to read when it has ended;
/// CVE-2017-5226. With more than 32 bits of request, CVE-2019-10063; as an i386 and an x32 program.
#[test]
fn nothing_can_be_typed_into_the_terminal_by_any_way_of_the_machine() {
    let host = host();
    let absent = |way: &str| format!("{way} -1 0\n");
    let unknown = |way: &str| format!("{way} {} 0\n", Errno::ENOSYS as i32);
    for way in NATIVE {
        assert_eq!(on_terminal(&host, 0, &format!("type 0 {way}")), typed(way));
    }
    for way in NATIVE.iter().chain(&NARROW).chain(&X32).chain(&LINUX) {
        let words = format!("type 0 {way}");
        let outside = on_terminal(&host, 0, &words);
        let known = [typed(way), absent(way), unknown(way)];
        assert!(
            known.contains(&outside) || LINUX.contains(way) && outside != refused(way),
            "{outside}"
        );
        let expected = if outside == absent(way) {
            outside
        } else {
            refused(way)
        };
        for levels in [1, 3] {
            let inside = on_terminal(&host, levels, &words);
            assert_eq!(inside, expected, "{levels} levels");
        }
    }
}

/// Attack: the terminal is not among descriptors 0 to 2, or it controls no session yet, and the
/// command makes it control one of its own.
#[test]
fn nothing_can_be_typed_wherever_the_terminal_is() {
    let host = host();
    let null = "0</dev/null";
    for (start, words) in [
        // Controls the session, and is no descriptor.
        (
            format!("exec setsid --ctty --wait sh -c 'exec \"$@\" {null}' sh \"$@\""),
            "type /dev/tty native",
        ),
        // Controls nothing, and is one.
        (
            "exec setsid --wait \"$@\"".to_owned(),
            "type own 0 0 native",
        ),
        (
            format!("exec setsid --wait \"$@\" 2<&0 {null}"),
            "type own 2 2 native",
        ),
        (
            format!("exec setsid --wait \"$@\" 7<&0 {null}"),
            "type own 7 7 native",
        ),
        (
            format!("exec setsid --wait \"$@\" 7<&0 {null}"),
            "type own 7 /dev/tty native",
        ),
    ] {
        let run = |levels| printed(&host, host.uid(), &start, levels, words);
        assert_eq!(run(0), typed("native"), "{start} {words}");
        for levels in [1, 2] {
            assert_eq!(run(levels), refused("native"), "{start} {words}");
        }
    }
}

/// Attack: selfdock reads in /proc whether there is a terminal, behind the name of the program, which
/// may look like what is to be read there (CVE-2017-1000367).
#[test]
fn a_program_name_that_looks_like_a_status_hides_no_terminal() {
    let host = host();
    let own = host.caller_dir("own");
    for name in [") S 1 1 1 0 -1 ", "a S 1 1 1 0 -1", "(((", "\n) S 1 1 1 0"] {
        let link = own.join(name);
        fs::hard_link(host.program(), &link).unwrap();
        let (_other_side, terminal) = new_terminal();
        let start = "exec setsid --ctty --wait sh -c 'exec \"$@\" 0</dev/null' sh \"$@\"";
        let mut command = host.as_caller("sh");
        command.args(["-c", start, "sh"]).arg(link).arg("run");
        command.arg(host.path("type")).args(["/dev/tty", "native"]);
        let run = command.stdin(Stdio::from(terminal)).output().unwrap();
        assert_eq!(out(&run), refused("native"), "{name:?}");
    }
}

/// Attack: what the command inherits is the other side of a pseudoterminal, and so is a way to it.
#[test]
fn the_other_side_of_a_pseudoterminal_counts_as_one() {
    let host = host();
    let run = |levels: usize| {
        let (other_side, _terminal) = new_terminal();
        let mut command = host.as_caller("sh");
        let run = format!(
            "exec setsid --wait {} {} own 7 /dev/tty native 7<&0 0</dev/null",
            format!("{} run", host.program().display()).repeat(levels),
            host.path("type").display()
        );
        let run = command.args(["-c", &run]).stdin(Stdio::from(other_side));
        out(&run.output().unwrap()).to_owned()
    };
    assert_eq!(run(0), typed("native"));
    assert_eq!(run(1), refused("native"));
}

/// Attack: a socket that the command inherits tells who is at its other end, and what that process has
/// open can be taken from it: a directory, by which the command leaves the instance, or the other side of
/// the terminal, through which it types.
#[test]
fn no_descriptor_of_a_process_outside_is_taken_by_any_way_of_the_machine() {
    let host = Host::new();
    let taking = Taking::new(&host);
    let start = format!("exec setsid --ctty --wait {} \"$@\"", taking.hold("-"));
    let run = |levels, way: &str| {
        let words = taking.from("-", way);
        printed(&host, host.uid(), &start, levels, &words)
    };
    assert_can_be_taken(&run(0, "native"));
    for way in ["native", "nobodys", "narrow", "x32"] {
        let outside = run(0, way);
        let absent = format!("{way} -1 -\n");
        let known = [taken(way), absent.clone(), not_taken(way, Errno::ENOSYS)];
        let is_nobodys = way == "nobodys" && outside == not_taken(way, Errno::EBADF);
        assert!(known.contains(&outside) || is_nobodys, "{outside}");
        let expected = if outside == absent {
            outside
        } else {
            not_taken(way, Errno::EPERM)
        };
        for levels in [1, 3] {
            assert_eq!(run(levels, way), expected, "{levels} levels");
        }
    }
    let prefix = format!("{} --init run ", host.program().display());
    let words = prefix + &taking.from("-", "native nobodys");
    let refused = ["native", "nobodys"].map(|way| not_taken(way, Errno::EPERM));
    let beside_init = printed(&host, host.uid(), &start, 0, &words);
    assert_eq!(beside_init, refused.concat());
}

/// Without a terminal, and without `--no-nest`, nothing but the kernel keeps the command from it, which
/// does so where the instance is in a user namespace of its own: SECURITY.md says so.
#[test]
fn without_a_terminal_what_a_process_outside_has_can_be_taken() {
    let host = Host::new();
    let taking = Taking::new(&host);
    let name = format!("taken-{}", host.uid());
    for name in ["-", &name] {
        let start = format!(
            "exec setsid --wait {} \"$@\" 0</dev/null",
            taking.hold(name)
        );
        let run = |levels, way| {
            let words = taking.from(name, way);
            printed(&host, host.uid(), &start, levels, &words)
        };
        assert_can_be_taken(&run(0, "native"));
        let inside = Install::wanted().choose(
            taken("native"),
            taken("native"),
            not_taken("native", Errno::EPERM),
        );
        for levels in [1, 2] {
            assert_eq!(run(levels, "native"), inside, "{levels} levels");
            let nobodys = run(levels, "nobodys");
            assert_eq!(nobodys, not_taken("nobodys", Errno::EBADF));
        }
    }
}

#[test]
fn nothing_can_be_typed_beside_an_init() {
    let host = host();
    let prefix = format!("{} --init run ", host.program().display());
    for levels in [1, 2] {
        let words = format!("{}type 0 native", prefix.repeat(levels));
        assert_eq!(on_terminal(&host, 0, &words), refused("native"));
    }
}

#[test]
fn root_cannot_type_either() {
    let host = host();
    // The capability, not the sysctl, is what lets root type.
    let outside = printed(&host, 0, CONTROLLING, 0, "type 0 native native-high");
    assert_eq!(outside, "native 0 1\nnative-high 0 1\n");
    let inside = printed(&host, 0, CONTROLLING, 1, "type 0 native native-high");
    assert_eq!(inside, [refused("native"), refused("native-high")].concat());
}

/// The filter is inherited by everything inside, whatever terminal that makes for itself.
#[test]
fn a_pseudoterminal_can_be_made_inside_and_nothing_typed_there_either() {
    let host = host();
    let inject = host.caller_file(
        "inject",
        0o755,
        format!("#!/bin/sh\nexec {} 0 native\n", host.path("type").display()),
    );
    let script = format!("script -qec {} /dev/null", inject.display());
    let run = |start, levels| {
        // On its way through the outer terminal a line's end may become two.
        printed(&host, host.uid(), start, levels, &script).replace("\r\n", "\n")
    };
    assert_eq!(run(CONTROLLING, 0), typed("native"));
    for levels in [1, 3] {
        assert_eq!(run(CONTROLLING, levels), refused("native"));
    }
    // Without a terminal of the caller's there is no filter, and what is made inside is its own.
    // Its input has no end, at which script(1) would type ^D.
    let fifo = host.caller_dir("dir").join("fifo");
    let made = host.as_caller("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let alone = format!("exec setsid --wait \"$@\" 0<>{}", fifo.display());
    assert_eq!(run(&alone, 1), typed("native"));
}

#[test]
fn nothing_can_be_typed_into_the_terminal_that_a_recording_makes() {
    let host = host();
    let typing = host.path("type");
    for (prefix, expected) in [
        (String::new(), typed("native")),
        (
            format!("{} run ", host.program().display()),
            refused("native"),
        ),
    ] {
        let line = format!("{prefix}{} 0 native", typing.display());
        // At the end of its input, script(1) would type ^D.
        let (input, _not_ended) = std::io::pipe().unwrap();
        let mut script = host.as_caller("script");
        let script = script.args(["-qec", &line, "/dev/null"]).stdin(input);
        let run = script.output().unwrap();
        assert_eq!(out(&run).replace("\r\n", "\n"), expected, "{line}");
    }
}

// What is not.

#[test]
fn every_other_request_is_answered_as_outside() {
    let host = host();
    let program = host.compile("use", USE);
    let answers = |levels| on_terminal(&host, levels, program.to_str().unwrap());
    let outside = answers(0);
    for line in ["TIOCSWINSZ 0\n33 99\n", "TCSETS 0\n", "FIONREAD 0\n"] {
        let line = line.replace("SWINSZ 0\n33", "SWINSZ 0\nTIOCGWINSZ 0\n33");
        assert!(outside.contains(&line), "{outside}");
    }
    for levels in [1, 3] {
        assert_eq!(answers(levels), outside, "{levels} levels");
    }
}

#[test]
fn there_is_one_filter_for_each_level_and_nothing_else_changes() {
    let host = host();
    let outside = status(&host, CONTROLLING, 0, "");
    for levels in [1, 2, 3, 8] {
        let inside = status(&host, CONTROLLING, levels, "");
        assert_eq!(field(&inside, "Seccomp:"), "2", "{levels} levels");
        assert_eq!(filters(&inside), filters(&outside) + levels);
        for name in [
            "NoNewPrivs:",
            "Speculation_Store_Bypass:",
            "SpeculationIndirectBranch:",
        ] {
            assert_eq!(field(&inside, name), field(&outside, name), "{levels}");
        }
    }
    assert_eq!(field(&outside, "NoNewPrivs:"), "0");
}

/// Else Linux before 5.16 switches the speculation off that makes the command fast.
#[test]
fn the_filter_leaves_the_commands_speculation_alone() {
    let host = host();
    let log = host.path("log");
    let (_other_side, terminal) = new_terminal();
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-e", "trace=seccomp", "-o"])
        .arg(&log);
    command.args(["setpriv", "--clear-groups"]);
    command.args([
        format!("--reuid={}", host.uid()),
        format!("--regid={}", host.uid()),
    ]);
    command
        .arg(host.program())
        .args(["run", "/bin/echo", "ran"]);
    command.current_dir("/").stdin(Stdio::from(terminal));
    assert_eq!(out(&command.output().expect("strace is needed")), "ran\n");
    let calls = fs::read_to_string(&log).unwrap();
    let mut filters = calls
        .lines()
        .filter(|line| line.contains("SECCOMP_SET_MODE_FILTER"));
    assert!(filters.clone().count() > 0, "{calls}");
    assert!(
        filters.all(|line| line.contains("SECCOMP_FILTER_FLAG_SPEC_ALLOW")),
        "{calls}"
    );
}

/// It would cost every system call some time, for nothing.
#[test]
fn there_is_no_filter_without_a_terminal() {
    let host = host();
    for start in [
        "exec setsid --wait \"$@\" 0</dev/null",
        "exec setsid --wait \"$@\" 0<&-",
        "exec setsid --wait \"$@\" 0</dev/zero 2</dev/null 7</dev/random",
        "true | setsid --wait \"$@\" | cat",
    ] {
        let status = |levels| printed(&host, host.uid(), start, levels, STATUS);
        let outside = status(0);
        for levels in [1, 3] {
            let inside = status(levels);
            for name in ["Seccomp:", "Seccomp_filters:"] {
                let (inside, outside) = (field(&inside, name), field(&outside, name));
                assert_eq!(inside, outside, "{start}, {levels} levels");
            }
        }
    }
}

#[test]
fn a_terminal_that_does_not_pass_needs_no_filter() {
    let host = host();
    let start = "exec setsid --wait \"$@\" 7<&0 0</dev/null";
    let count = |levels, options| filters(&status(&host, start, levels, options));
    let outside = count(0, "");
    assert_eq!(count(1, ""), outside + 1);
    assert_eq!(count(1, "--close-fds "), outside);
    assert_eq!(count(1, "--close-fds --keep-fd 7 "), outside + 1);
}

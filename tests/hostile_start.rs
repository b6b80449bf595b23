//! What a process hands on to the program that it executes, all of it shaped by an attacker: masks,
//! signals, timers, working directory, words, groups, the name of the program itself.
//!
//! More of it elsewhere: descriptors and environment in tests/entry.rs and tests/inheritance.rs,
//! limits and moments in tests/refusals.rs.

mod host;

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use host::{CANNOT, Host, Install, assert_ended, assert_refused, out, set_mode, text};

/// `state CHANGE... -- PROGRAM ARG...`: changes what a process hands on to its program, and executes
/// that. `block` and `ignore` all signals; `pending` blocks and sends itself each; `real=US`,
/// `virtual=US`, `prof=US` start a timer; `personality=HEX`; `prctl=NUMBER,VALUE`.
const STATE: &str = r#"
    #define _GNU_SOURCE
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/personality.h>
    #include <sys/prctl.h>
    #include <sys/time.h>
    #include <unistd.h>
    static void start(int which, int time) {
        struct itimerval timer = {{0, 0}, {time / 1000000, time % 1000000}};
        if (setitimer(which, &timer, 0)) exit(97);
    }
    int main(int argc, char **argv) {
        sigset_t all;
        sigfillset(&all);
        unsigned long number, value;
        for (argv++; strcmp(*argv, "--"); argv++) {
            char *at = strchr(*argv, '=');
            if (!strcmp(*argv, "block")) sigprocmask(SIG_BLOCK, &all, 0);
            else if (!strcmp(*argv, "ignore"))
                for (int signum = 1; signum < 65; signum++) signal(signum, SIG_IGN);
            else if (!strcmp(*argv, "pending")) {
                sigprocmask(SIG_BLOCK, &all, 0);
                for (int signum = 1; signum < 65; signum++)
                    if (signum != SIGKILL && signum != SIGSTOP && (signum < 32 || signum > 33))
                        kill(getpid(), signum);
            }
            else if (!strncmp(*argv, "real", 4)) start(ITIMER_REAL, atoi(at + 1));
            else if (!strncmp(*argv, "virtual", 7)) start(ITIMER_VIRTUAL, atoi(at + 1));
            else if (!strncmp(*argv, "prof", 4)) start(ITIMER_PROF, atoi(at + 1));
            else if (!strncmp(*argv, "personality", 11)) {
                if (personality(strtoul(at + 1, 0, 16)) < 0) return 95;
            }
            else if (sscanf(*argv, "prctl=%lu,%lu", &number, &value) == 2) {
                if (prctl(number, value, 0, 0, 0)) { perror(*argv); return 96; }
            }
            else return 98;
        }
        execv(argv[1], argv + 1);
        return 99;
    }"#;

/// Ends after a second of its own time, in which a timer or a limit ends it.
const BUSY: &str = r#"
    #include <time.h>
    int main(void) { while (clock() < CLOCKS_PER_SEC); return 0; }"#;

/// The command line that shows that its command ran.
const SAY: [&str; 3] = ["run", "/bin/echo", "ran"];

/// A host with `STATE`, and the program that it starts with these changes.
fn changed(host: &Host, changes: &[&str], program: impl AsRef<OsStr>) -> Command {
    if !host.path("state").exists() {
        host.compile("state", STATE);
    }
    let mut command = host.as_caller(host.path("state"));
    command.args(changes).arg("--").arg(program);
    command
}

// Masks and signals.

/// Attack: a mask of 000 makes what selfdock makes writable for everybody, one of 777 unusable.
#[test]
fn what_is_made_does_not_depend_on_the_callers_umask() {
    let host = Host::new();
    host.caller_dir("dir");
    let masked = |umask: &str, program: &str| {
        let script = format!("umask {umask}; {program}");
        let mut shell = host.as_caller("/bin/sh");
        shell.args(["-c", &script]).current_dir(host.path("dir"));
        out(&shell.output().unwrap()).to_owned()
    };
    let program = host.program();
    let program = program.to_str().unwrap();
    let list = "find /dev /tmp -xdev -printf '%p %m %U %l\\n' | sort";
    for options in ["run", "build", "-m /dev/null /dev/x -m /etc /dev/y run"] {
        let made = |umask| masked(umask, &format!("{program} {options} sh -c \"{list}\""));
        let usual = made("022");
        let me = host.uid();
        for line in [
            "/dev 755 ",
            Install::wanted().choose("/dev/pts 755 0 ", "/dev/pts 755 0 ", "/dev/pts 755 65534 "),
            "/tmp 1777 ",
            "/dev/shm 1777 ",
        ] {
            assert!(usual.contains(line), "{options}: {line}: {usual}");
        }
        assert!(
            usual.contains(&format!("/dev/stdin 777 {me} /proc/self/fd/0\n")),
            "{usual}"
        );
        assert_eq!(made("000"), usual, "{options}");
        assert_eq!(made("777"), usual, "{options}");
    }
    let control = masked("777", "mkdir made; stat -c %a made");
    assert_eq!(control, "0\n", "the mask has no effect here");
}

/// Attack: with SIGCHLD ignored the kernel reaps the command, with all signals blocked or pending
/// nothing ends the wait.
#[test]
fn signals_blocked_ignored_or_pending_neither_stop_nor_confuse_a_start() {
    let host = Host::new();
    let program = host.program();
    for changes in [
        &["block"][..],
        &["ignore"],
        &["pending"],
        &["ignore", "block"],
    ] {
        for words in [
            &SAY[..],
            &["build", "/bin/echo", "ran"],
            &["run", program.to_str().unwrap(), "run", "/bin/echo", "ran"],
            &["--init", "run", "/bin/echo", "ran"],
        ] {
            let mut command = changed(&host, changes, &program);
            let run = command.args(words).output().unwrap();
            assert_eq!(out(&run), "ran\n", "{changes:?} {words:?}");
        }
        let mut command = changed(&host, changes, &program);
        let run = command.args(["run", "/bin/sh", "-c", "exit 7"]).output();
        assert_ended(&run.unwrap(), 7);
        let run = changed(&host, changes, &program).args(["-x"]).output();
        assert_ended(&run.unwrap(), CANNOT);
    }
}

/// Attack: the timers that count time used, besides that of tests/refusals.rs which counts any.
#[test]
fn a_timer_of_the_time_used_ends_a_start_and_leaves_nothing() {
    let host = Host::new();
    let busy = host.compile("busy", BUSY);
    let program = host.program();
    for (timer, signal) in [("virtual", Signal::SIGVTALRM), ("prof", Signal::SIGPROF)] {
        let control = changed(&host, &[&format!("{timer}=1")], &busy).output();
        assert_ended(&control.unwrap(), -(signal as i32));
        for step in 0..40 {
            let time = format!("{timer}={}", step * 200 + 1);
            let run = changed(&host, &[&time], &program).args(SAY).output();
            let run = run.unwrap();
            let is_whole = run.status.success() && run.stdout == b"ran\n";
            let is_ended = run.status.signal() == Some(signal as i32);
            assert!(is_whole || is_ended, "{time}: {}", text(&run));
            host.assert_nothing_runs();
        }
    }
}

/// Attack: bits that make a program easier to exploit, or let the kernel lie about its version; and
/// attributes that survive exec.
#[test]
fn personality_and_process_attributes_weaken_nothing() {
    let host = Host::new();
    let program = host.program();
    let cat = ["/bin/cat", "/proc/self/personality"];
    // READ_IMPLIES_EXEC, ADDR_NO_RANDOMIZE, ADDR_COMPAT_LAYOUT, MMAP_PAGE_ZERO; and 2.6 as version.
    let weak = 0x0400000 | 0x0040000 | 0x0200000 | 0x0100000;
    for flags in [weak, 0x0020000, 0x0000008, weak | 0x0020000 | 0x4000000] {
        let word = format!("personality={flags:x}");
        let control = changed(&host, &[&word], cat[0]).arg(cat[1]).output();
        // Any exec takes back READ_IMPLIES_EXEC where a program does not ask for it.
        let shown = flags & !0x0400000;
        assert_eq!(out(&control.unwrap()).trim(), format!("{shown:08x}"));
        let run = changed(&host, &[&word], &program)
            .arg("run")
            .args(cat)
            .output();
        let run = run.unwrap();
        let left = u32::from_str_radix(out(&run).trim(), 16).unwrap();
        // Who gains nothing at its exec loses nothing: then they are the command's own affair.
        let kept = Install::wanted().choose(flags & !weak, flags & !weak, shown);
        assert_eq!(left, kept, "{word}");
        host.assert_nothing_runs();
    }
    // No memory that is written and executed; no time stamp counter; orphans come to the caller;
    // death with the parent.
    for prctl in ["65,1", "26,2", "36,1", "1,9", "4,0"] {
        let word = format!("prctl={prctl}");
        let run = changed(&host, &[&word], &program)
            .args(SAY)
            .output()
            .unwrap();
        let is_killed = run.status.signal() == Some(libc::SIGSEGV) && run.stdout.is_empty();
        assert!(is_killed || out(&run) == "ran\n", "{word}: {}", text(&run));
        host.assert_nothing_runs();
    }
}

/// What a program without the set-user-id bit says, if it must have privilege.
const NOT_INSTALLED: &str = "selfdock is not installed set-user-id root\n\
    hint: ./install.sh, in its sources, installs it as it must be";

/// Securebits are root's to set, so this is a container's doing: no start is better than a start
/// with capabilities that do not go when the user id does.
#[test]
fn secure_bits_that_change_what_ids_mean_are_refused() {
    let host = Host::new();
    let id = host.uid().to_string();
    let secured = |bits: &str, program: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--securebits", bits, "--reuid", &id, "--regid", &id]);
        command.args(["--clear-groups", "--"]).arg(program);
        command.current_dir("/").stdin(Stdio::null());
        command
    };
    let withheld = "cannot get privilege: the secure bits withhold capabilities (SECBIT_NOROOT)\n\
                    hint: an outer container withholds them: start it without SECBIT_NOROOT";
    let effective = "cannot use privilege: capabilities were effective from the start\n\
                     hint: give its file capabilities as permitted only: setcap ...+p";
    let none = format!("cannot get privilege: {NOT_INSTALLED}");
    let (noroot, fixup) = (
        "+noroot,+noroot_locked",
        "+no_setuid_fixup,+no_setuid_fixup_locked",
    );
    for (bits, message, falls_back) in [
        // File capabilities are what they are.
        (
            noroot,
            Install::wanted().choose(withheld, "", withheld),
            true,
        ),
        (
            fixup,
            Install::wanted().choose(effective, "", &*none),
            Install::is_rootless(),
        ),
    ] {
        let forced = [&["--privilege", "setuid"][..], &SAY].concat();
        let forced = secured(bits, &host.program())
            .args(forced)
            .output()
            .unwrap();
        let auto = secured(bits, &host.program()).args(SAY).output().unwrap();
        if message.is_empty() {
            assert_eq!((out(&forced), out(&auto)), ("ran\n", "ran\n"), "{bits}");
            continue;
        }
        assert_refused(&forced, message);
        if falls_back {
            assert_eq!(out(&auto), "ran\n", "{bits}");
        } else {
            assert_refused(&auto, message);
        }
    }
    // This one ends in the entry point, which cannot say anything.
    let keep = "+keep_caps_locked";
    let run = secured(keep, &host.program()).args(SAY).output().unwrap();
    assert_ended(&run, CANNOT);
    assert!(
        run.stdout.is_empty() && run.stderr.is_empty(),
        "{}",
        text(&run)
    );
    for bits in [noroot, fixup, keep] {
        let control = secured(bits, Path::new("/bin/echo")).arg("ran").output();
        assert_eq!(out(&control.unwrap()), "ran\n", "{bits}");
    }
    let run = secured("-noroot", &host.program()).args(SAY).output();
    assert_eq!(out(&run.unwrap()), "ran\n");
}

// The working directory.

/// A directory so deep that its path is longer than the kernel tells; the process goes there.
const DEEP: &str = r#"
    #define _GNU_SOURCE
    #include <string.h>
    #include <sys/stat.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        char name[201] = { 0 };
        memset(name, 'd', 200);
        for (int level = 0; level < 60; level++) {
            mkdir(name, 0755);
            if (chdir(name)) return 98;
        }
        execv(argv[1], argv + 1);
        return 99;
    }"#;

/// Attack: a current directory without a path, for code that takes "(unreachable)/x" as a relative
/// one (CVE-2018-1000001) or has a buffer of PATH_MAX.
#[test]
fn a_current_directory_beyond_any_path_is_no_place_to_start_nor_a_way_out() {
    let host = Host::new();
    let home = host.caller_dir("home");
    let deep = host.compile("deep", DEEP);
    let no_path = "cannot use the current directory: it has no path here\n\
                   hint: change to a directory that exists";
    let from = |words: &[&str]| {
        let mut command = host.as_caller(&deep);
        command.arg(host.program()).args(words).current_dir(&home);
        command.output().unwrap()
    };
    assert_eq!(out(&from(&["run", "/bin/pwd"])), "/\n");
    assert_ended(&from(&["--here", "run", "/bin/pwd"]), CANNOT);
    assert!(
        from(&["--here", "run", "/bin/echo", "ran"])
            .stdout
            .is_empty()
    );
    // It can be mapped as any directory that the caller has; there is nothing above to be had.
    assert_eq!(
        out(&from(&["-m", ".", "/mnt", "run", "/bin/ls", "-A", "/mnt"])),
        ""
    );
    let up = from(&["-m", ".", "/mnt", "-C", "/mnt", "run", "/bin/ls", ".."]);
    assert!(out(&up).contains("mnt"), "{}", text(&up));

    // On a filesystem that is mounted nowhere any more.
    host.root_dir("mount", 0o755);
    let setup = "mount -t tmpfs -o mode=777 t $DIR/mount; cd $DIR/mount; umount -l $DIR/mount
        mkdir -m 777 '(unreachable)'; touch file";
    let unreachable = |program: &Path, words: &[&str]| {
        let mut command = host.on_host(setup, program);
        command.args(words).output().unwrap()
    };
    let control = unreachable(Path::new("/bin/ls"), &[]);
    assert_eq!(out(&control), "(unreachable)\nfile\n");
    let program = host.program();
    assert_eq!(out(&unreachable(&program, &["run", "/bin/pwd"])), "/\n");
    let refused = unreachable(&program, &["--here", "run", "/bin/pwd"]);
    assert_refused(&refused, no_path);
    for source in [".", "file", "(unreachable)"] {
        let words = ["-m", source, "/mnt", "run", "/bin/ls", "/mnt"];
        assert_refused(
            &unreachable(&program, &words),
            &format!(
                "cannot map {source:?} on \"/mnt\": Invalid argument\n\
                 hint: the source belongs to another mount namespace"
            ),
        );
    }
}

/// Attack: a directory that the caller was put into and cannot reach: by its path it is closed, and
/// what is above it must stay so.
#[test]
fn a_current_directory_that_the_caller_cannot_reach_leads_no_further_than_outside() {
    let host = Host::new();
    host.root_dir("vault", 0o700);
    host.root_file("vault/secret", 0o644, "hunter2");
    host.root_dir("vault/open", 0o755);
    host.root_file("vault/open/here", 0o644, "shown");
    let from = |dir: &str, words: &[&str]| {
        // Root goes there, and becomes the caller.
        let script =
            "cd \"$1\"; shift; exec setpriv --reuid $ID --regid $ID --clear-groups -- \"$@\"";
        let mut shell = Command::new("/bin/sh");
        shell.args(["-euc", script, "sh"]).arg(host.path(dir));
        shell.args(
            words
                .iter()
                .map(|word| word.replace("$SD", host.program().to_str().unwrap())),
        );
        shell
            .env("ID", host.uid().to_string())
            .current_dir("/")
            .stdin(Stdio::null());
        shell.output().unwrap()
    };
    // The control: outside, what is in it can be read, and what is above cannot.
    assert_eq!(out(&from("vault/open", &["cat", "here"])), "shown");
    assert!(!from("vault/open", &["cat", "../secret"]).status.success());

    assert_eq!(out(&from("vault/open", &["$SD", "run", "pwd"])), "/\n");
    let map = |source, file| ["$SD", "-m", source, "/mnt", "run", "cat", file];
    assert_eq!(out(&from("vault/open", &map(".", "/mnt/here"))), "shown");
    let denied = |source: &str| format!("cannot map {source:?} on \"/mnt\": Permission denied");
    assert_refused(
        &from("vault/open", &map("../secret", "/mnt")),
        &denied("../secret"),
    );
    let above = from("vault/open", &map("..", "/mnt/secret"));
    assert!(
        !above.status.success() && above.stdout.is_empty(),
        "{}",
        text(&above)
    );
    for source in [".", "open", "secret", "open/here"] {
        assert_refused(&from("vault", &map(source, "/mnt/secret")), &denied(source));
    }
    assert_eq!(out(&from("vault", &["$SD", "run", "pwd"])), "/\n");
}

// Words.

/// Attack: more words, longer words, more options than anything was made for.
#[test]
fn any_number_of_words_of_any_length_ends_in_a_start_or_a_refusal() {
    let host = Host::new();
    let script = host.root_file("script", 0o755, "echo $#\n");
    let script = script.to_str().unwrap();
    let run = |words: &[&str]| host.selfdock().args(words).output().unwrap();

    // Without an interpreter line, hence with /bin/sh, whose words are one more.
    let many = [&["run", script][..], &["x"; 18_000]].concat();
    assert_eq!(out(&run(&many)), "18000\n");
    let mut search = host.selfdock();
    search
        .env("PATH", "/x:".repeat(43_000))
        .args(["run", "nosuch"]);
    let search = search.output().unwrap();
    assert_ended(&search, 127);
    assert!(text(&search).lines().count() < 5, "{}", text(&search));

    let start = Instant::now();
    let maps = ["-m", "/etc", "/mnt"].repeat(20_000);
    assert_refused(
        &run(&[&maps[..], &SAY].concat()),
        "too many mount options: 20000, and at most 4096 are possible",
    );
    let variables = ["-e", "A", "1"].repeat(30_000);
    assert_eq!(out(&run(&[&variables[..], &SAY].concat())), "ran\n");
    let unset = ["-E", "A"].repeat(30_000);
    assert_eq!(out(&run(&[&unset[..], &SAY].concat())), "ran\n");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");

    // The longest word that exec takes.
    let long = "x".repeat(131_000);
    let (path, option) = (format!("/{long}"), format!("--{long}"));
    for line in [
        &["-m", &long, "/mnt", "run", "true"][..],
        &["-m", "/etc", &path, "run", "true"],
        &["-r", &long, "run", "true"],
        &["-t", &long, "/mnt", "run", "true"],
        &["-C", &path, "run", "true"],
        &["--name", &long, "run", "true"],
        &["--keep-fd", &long, "run", "true"],
        &[&long],
        &[&option, "run", "true"],
    ] {
        let run = run(line);
        let what: String = line[0].chars().take(12).collect();
        assert_eq!(run.status.code(), Some(CANNOT), "{what}");
        assert!(run.stderr.starts_with(b"selfdock: "), "{what}");
        assert!(run.stdout.is_empty(), "{what}");
    }
}

// Groups.

/// Attack: a group that a file is closed to (`chmod 705`) is left behind, so the file opens. To drop
/// a group is a gain (CVE-2014-8989, CVE-2018-7169).
#[test]
fn a_group_that_denies_goes_on_to_deny() {
    let host = Host::new();
    let group = host.uid() + 7;
    host.root_dir("dir", 0o755);
    let file = host.root_file("dir/file", 0o705, "denied to the group");
    chown(&file, Some(0), Some(group)).unwrap();
    set_mode(&file, 0o705);
    let read = |groups: &[&str], words: &str| {
        let id = host.uid().to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &id, "--regid", &id])
            .args(groups)
            .arg("--");
        let words = words
            .replace("$SD", host.program().to_str().unwrap())
            .replace("$DIR", host.path("dir").to_str().unwrap());
        command
            .args(words.split(' '))
            .current_dir("/")
            .stdin(Stdio::null());
        command.output().unwrap()
    };
    let member = ["--groups", &group.to_string()];
    for line in [
        "cat $DIR/file",
        "$SD run cat $DIR/file",
        "$SD build cat $DIR/file",
        "$SD -m $DIR /mnt run cat /mnt/file",
        "$SD -v $DIR/file /etc/passwd run cat /etc/passwd",
        "$SD run $SD run $SD run cat $DIR/file",
        "$SD --init run cat $DIR/file",
    ] {
        let denied = read(&member, line);
        assert!(
            text(&denied).contains("Permission denied"),
            "{line}: {}",
            text(&denied)
        );
        assert!(denied.stdout.is_empty(), "{line}: {}", text(&denied));
        let control = read(&["--clear-groups"], line);
        assert_eq!(out(&control), "denied to the group", "{line}");
    }
}

// The program's own name.

/// Attack: a hard link in a directory of the caller's (`fs.protected_hardlinks=0`), with what a
/// program might look for beside itself (CVE-2021-44730).
#[test]
fn a_link_to_selfdock_with_other_files_beside_it_is_selfdock_and_no_more() {
    let host = Host::new();
    let own = host.caller_dir("own");
    for name in ["own/lib", "own/share", "own/etc"] {
        host.caller_dir(name);
    }
    for name in [
        "own/ld.so.preload",
        "own/etc/ld.so.preload",
        "own/etc/passwd",
        "own/selfdock.conf",
    ] {
        host.caller_file(name, 0o644, "/nosuch.so\n");
    }
    let link = own.join("su");
    fs::hard_link(host.program(), &link).unwrap();
    let start = |words: &[&str]| {
        let mut command = host.as_caller(&link);
        command.arg0("sudo").args(words).current_dir(&own);
        command.output().unwrap()
    };
    assert_eq!(out(&start(&SAY)), "ran\n");
    let nested = [&["run", link.to_str().unwrap()][..], &SAY].concat();
    assert_eq!(out(&start(&nested)), "ran\n");
    // The one mount that is not nosuid is where the link is; at its usual path it is inert.
    let table = start(&["run", "/bin/cat", "/proc/self/mountinfo"]);
    let live: Vec<_> = out(&table)
        .lines()
        .filter(|line| !line.contains("nosuid"))
        .collect();
    let places: Vec<_> = live.iter().map(|line| line.split(' ').nth(4)).collect();
    let expected = [link.to_str()];
    let expected = Install::wanted().choose(&expected[..], &expected, &[]);
    assert_eq!(places, expected);
    assert!(out(&table).contains(&format!(" {} ro,", link.display())));
    let usual = host.program();
    let nosuid = "selfdock is on a nosuid filesystem\n\
         hint: PREFIX=DIR ./install.sh, where DIR is on a filesystem without nosuid";
    let bounded = "CAP_SYS_ADMIN is not in the capability bounding set\n\
         hint: an outer container, or an instance of root's, withholds it: docker run --cap-add SYS_ADMIN";
    let cause = Install::wanted().choose(nosuid, nosuid, bounded);
    let usual = ["run", usual.to_str().unwrap()];
    let forced = [&["--privilege", "setuid"][..], &SAY].concat();
    assert_refused(
        &start(&[&usual[..], &forced].concat()),
        &format!("cannot get privilege: {cause}"),
    );
    assert_eq!(out(&start(&[&usual[..], &SAY].concat())), "ran\n");
    // A copy is not set-user-id, and a removed link leaves the file what it is.
    let copy = own.join("copy");
    let made = host.as_caller("cp").arg(&link).arg(&copy).output().unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let refused = host.as_caller(&copy).args(forced).output().unwrap();
    let cause = NOT_INSTALLED.to_owned();
    assert_refused(&refused, &format!("cannot get privilege: {cause}"));
    let copy = host.as_caller(&copy).args(SAY).output().unwrap();
    assert_eq!(out(&copy), "ran\n");
}

/// `swap A B PROGRAM ARG...`: opens PROGRAM, exchanges A and B all the time, and executes what it
/// has opened.
const SWAP: &str = r#"
    #define _GNU_SOURCE
    #include <fcntl.h>
    #include <signal.h>
    #include <stdio.h>
    #include <sys/prctl.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(int argc, char **argv, char **environment) {
        int program = open(argv[3], O_PATH | O_CLOEXEC), ready[2];
        char byte = 0;
        if (program < 0 || pipe(ready)) return 97;
        pid_t starter = fork();
        if (!starter) {
            read(ready[0], &byte, 1);
            close(ready[0]), close(ready[1]);
            syscall(SYS_execveat, program, "", argv + 3, environment, AT_EMPTY_PATH);
            return 98;
        }
        int status = -1, count = 0;
        write(ready[1], &byte, 1);
        do {
            if (syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], 2)) return 96;
            count++;
        } while (!waitpid(starter, &status, WNOHANG));
        if (count & 1) syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], 2);
        return (status >> 8) & 255;
    }"#;

/// Attack: the mount that is not nosuid goes where selfdock's own file is, by its path. Meanwhile the
/// path leads to a set-user-id program of root's, and back.
#[test]
fn where_selfdocks_path_leads_meanwhile_nothing_gains_by_its_mount() {
    let host = Host::new();
    let swap = host.compile("swap", SWAP);
    host.root_dir("arsenal", 0o755);
    let weapon = host.compile(
        "arsenal/su",
        "#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf(\"euid %d\\n\", geteuid()); }",
    );
    set_mode(&weapon, 0o4755);
    let control = host.as_caller(&weapon).output().unwrap();
    assert_eq!(out(&control), "euid 0\n");

    let home = host.caller_dir("home");
    let own = host.caller_dir("home/own");
    fs::hard_link(host.program(), own.join("su")).unwrap();
    let trap = home.join("trap");
    std::os::unix::fs::symlink(host.path("arsenal"), &trap).unwrap();
    std::os::unix::fs::lchown(&trap, Some(host.uid()), Some(host.uid())).unwrap();
    let link = own.join("su");
    let inert = format!("euid {}\n", host.uid());
    let (mut weapons, mut selfdocks) = (0, 0);
    for _ in 0..60 {
        let mut command = host.as_caller(&swap);
        command.args([&own, &trap, &link]).arg("run").arg(&link);
        let run = command.output().unwrap();
        match String::from_utf8_lossy(&run.stdout).as_ref() {
            said if said == inert => weapons += 1,
            // selfdock without words; or its path led nowhere, or to a mount that is nosuid.
            "" => selfdocks += 1,
            _ => panic!("{}", text(&run)),
        }
        host.assert_nothing_runs();
    }
    assert!(
        weapons > 0 && selfdocks > 0,
        "{weapons} and {selfdocks}: no race"
    );
}

// Ends, crowds and traces.

/// Attack: a core of the half-privileged launcher, in a directory of the caller's (CVE-2025-4598 and
/// CVE-2025-5054 read those of others).
#[test]
fn a_launcher_that_crashes_leaves_no_core_file_at_any_moment() {
    let host = Host::new();
    let busy = host.compile("busy", BUSY);
    let dir = host.caller_dir("work");
    let crash = |program: &Path, words: &[&str], signal: Signal, after: Duration| {
        // Whoever runs the tests in the background has SIGQUIT ignored.
        let mut command = host.as_caller("env");
        command
            .args(["--default-signal", "prlimit", "--core=unlimited", "--"])
            .arg(program)
            .args(words);
        command
            .current_dir(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        await_exec(&child, program);
        std::thread::sleep(after); // the moment is what varies
        let is_up = has_command(&host);
        let _ = kill(Pid::from_raw(child.id().cast_signed()), signal);
        (child.wait().unwrap(), is_up)
    };
    let (control, _) = crash(&busy, &[], Signal::SIGQUIT, Duration::from_millis(1));
    assert!(control.core_dumped(), "no core files here: {control:?}");
    for core in fs::read_dir(&dir).unwrap() {
        fs::remove_file(core.unwrap().path()).unwrap();
    }
    for signal in [Signal::SIGSEGV, Signal::SIGQUIT] {
        let mut late = 0;
        for step in 0.. {
            let after = Duration::from_micros(step * 150);
            let sleep = ["run", "/bin/sleep", "1000"];
            let (ended, is_up) = crash(&host.program(), &sleep, signal, after);
            assert_eq!(ended.signal(), Some(signal as i32), "{after:?}");
            // Who has no privilege is like any other, until it has made a user namespace.
            let may_dump = Install::is_rootless() && !is_up;
            assert!(may_dump || !ended.core_dumped(), "{signal} after {after:?}");
            host.assert_nothing_runs();
            late += usize::from(is_up);
            if step >= 50 && late >= 5 {
                break;
            }
            assert!(step < 2000, "the command does not start");
        }
    }
    let cores = fs::read_dir(&dir).unwrap().count();
    assert!(Install::is_rootless() || cores == 0, "{cores}");
}

/// Does the caller's command run?
fn has_command(host: &Host) -> bool {
    let comm = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let mut processes = host.processes().into_iter();
    processes.any(|pid| comm(pid) == "sleep\n")
}

/// Waits until `child` runs `program`.
fn await_exec(child: &Child, program: &Path) {
    let name = program.file_name().unwrap().to_str().unwrap();
    let comm = format!("/proc/{}/comm", child.id());
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::read_to_string(&comm).is_ok_and(|comm| comm.trim() != name) {
        assert!(Instant::now() < deadline, "{name} does not start");
        std::thread::yield_now();
    }
}

/// Forks for ever.
const BOMB: &str = r#"
    #include <unistd.h>
    int main(void) { for (;;) if (fork() < 0) usleep(1000); }"#;

/// Attack: more processes than the limit allows, by way of the launcher's; and then nobody can end
/// them.
#[test]
fn a_fork_bomb_stays_below_the_limit_and_ends_with_its_supervisor() {
    const LIMIT: usize = 25;
    for levels in [1, 2] {
        // Each its own caller: who has ended counts until it is collected.
        let host = Host::new();
        let bomb = host.compile("bomb", BOMB);
        let mut command = host.as_caller("prlimit");
        command.arg(format!("--nproc={LIMIT}:{LIMIT}")).arg("--");
        for _ in 0..levels {
            command.arg(host.program()).arg("run");
        }
        let mut child = command.arg(&bomb).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        // Until the limit is reached, and then some more.
        let (mut now, mut looks) = (0, 0);
        while looks < 20 {
            assert!(Instant::now() < deadline, "no bomb: {now} processes");
            now = host.processes().len();
            assert!(now <= LIMIT, "{now} processes");
            looks += usize::from(now == LIMIT);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        host.assert_nothing_runs();
    }
}

/// Attack: one caller uses up what all share. The limits that a start meets are the caller's own.
#[test]
fn a_crowd_of_instances_keeps_nobody_else_from_starting() {
    let (alice, bob) = (Host::new(), Host::new());
    let mut crowd = Vec::new();
    let refused = loop {
        let mut command = alice.as_caller("prlimit");
        command.args(["--nproc=60:60", "--"]).arg(alice.program());
        command.args(["run", "/bin/sh", "-c", "echo ran; exec /bin/sleep 1000"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = [0; 4];
        if child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut said)
            .is_err()
        {
            break child.wait_with_output().unwrap();
        }
        crowd.push(child);
    };
    let message = format!(
        "cannot start a process: fork: {}\n\
         hint: the limit of processes is reached: ulimit -u",
        nix::errno::Errno::EAGAIN.desc()
    );
    assert_refused(&refused, &message);
    assert_eq!((crowd.len(), alice.processes().len()), (30, 60));
    for _ in 0..5 {
        assert_eq!(out(&bob.run(SAY)), "ran\n");
    }
    let root = Command::new(bob.program())
        .args(SAY)
        .current_dir("/")
        .output();
    assert_eq!(out(&root.unwrap()), "ran\n");
    for mut child in crowd {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    alice.assert_nothing_runs();
}

/// Attack: `kill(-1, ...)` reaches what the caller may signal. Inside that is the instance alone.
#[test]
fn a_signal_to_everybody_reaches_nobody_outside() {
    let host = Host::new();
    let mut bystander = host.as_caller("/bin/sleep").arg("1000").spawn().unwrap();
    let pid = bystander.id();
    await_exec(&bystander, Path::new("/bin/sleep"));
    for options in [&["run"][..], &["--init", "run"], &["build"]] {
        let script =
            format!("sleep 30 & kill -TERM -1; wait; kill -KILL -1; kill -0 {pid} || echo nobody");
        let mut command = host.selfdock();
        command.args(options).args(["/bin/sh", "-c", &script]);
        let run = command.stderr(Stdio::null()).output().unwrap();
        // With --init the shell is no pid 1, and ends by its own SIGKILL.
        let is_ended = run.status.signal() == Some(libc::SIGKILL);
        assert!(
            is_ended || run.stdout == b"nobody\n",
            "{options:?}: {}",
            text(&run)
        );
        assert_eq!(host.processes(), [pid], "{options:?}");
        assert!(bystander.try_wait().unwrap().is_none(), "{options:?}");
    }
    // The control: outside it reaches both.
    let control = host
        .as_caller("/bin/sh")
        .args(["-c", "kill -KILL -1"])
        .output();
    control.unwrap();
    assert_eq!(bystander.wait().unwrap().signal(), Some(libc::SIGKILL));
}

/// What can be seen of a file that was written to, moved or changed; not when it was read.
type Trace = (PathBuf, u64, u32, u32, u64, (i64, i64), (i64, i64));

fn traces(dir: &Path, found: &mut Vec<Trace>) {
    let stat = fs::symlink_metadata(dir).unwrap();
    found.push((
        dir.to_owned(),
        stat.ino(),
        stat.mode(),
        stat.uid(),
        stat.len(),
        (stat.mtime(), stat.mtime_nsec()),
        (stat.ctime(), stat.ctime_nsec()),
    ));
    if stat.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        for entry in entries {
            traces(&entry, found);
        }
    }
}

/// Attack, or only a nuisance: a file made, a time stamp changed, a mode lost. Nothing is ever written
/// to a real filesystem, whatever is asked for.
#[test]
fn no_start_leaves_a_trace_on_a_real_filesystem() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("os");
    fs::remove_dir(rootfs.join("mnt")).unwrap();
    host.caller_dir("own");
    host.caller_file("own/file", 0o644, "file");
    let all = || {
        let mut found = Vec::new();
        traces(&host.path(""), &mut found);
        found
    };
    let before = all();
    for (line, status) in [
        ("run true", 0),
        ("build true", 0),
        ("-r $DIR/os run true", 0),
        ("-r $DIR/os build true", 0),
        (
            "-r $DIR/os -m $DIR/own /etc -t size=1m /bin build /dev/selfdock --version",
            0,
        ),
        ("-r $DIR/os -v $DIR/own /mnt build true", CANNOT),
        ("-r $DIR/os -t mode=777 /mnt build true", CANNOT),
        ("-r $DIR/os -v $DIR/own/file /bin/new build true", CANNOT),
        (
            "-m $DIR/own /dev/new -v $DIR/own/file /dev/file run ls /dev/new/file",
            0,
        ),
        ("-v $DIR/own $DIR/own -C $DIR/own run cat file", 0),
        ("--name trace --init run true", 0),
        ("-r $DIR/os build /dev/selfdock run true", 0),
        ("ps", 0),
        ("enter nosuch true", CANNOT),
    ] {
        let run = host.run_line(line);
        assert_eq!(run.status.code(), Some(status), "{line}: {}", text(&run));
        assert_eq!(all(), before, "{line}");
    }
    // The control: what the command writes is seen.
    let run: Output = host.run_line("-v $DIR/own /mnt run touch /mnt/file");
    assert_eq!(out(&run), "");
    assert_ne!(all(), before);
}

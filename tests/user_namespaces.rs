//! User namespaces where the host leaves them to programs that AppArmor knows by their paths: in a
//! tree of the caller's making, any program can be at such a path, so none makes one.
//!
//! The setting is Ubuntu's, and few machines have it. Root's strace has the one call that opens it
//! answer with a descriptor of a file that the test has written.

mod host;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use host::{Host, Install, assert_refused, out, text};
use nix::errno::Errno;

/// What is opened, below /proc.
const SETTING: &str = "sys/kernel/apparmor_restrict_unprivileged_userns";

/// Tries to make a user namespace in each way that its arguments name, each in a process of its own,
/// and prints the way and the error: -1 if the machine has no such way. `threads` needs none.
const MAKE: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <pthread.h>
    #include <sched.h>
    #include <signal.h>
    #include <spawn.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <unistd.h>
    #define HIGH 0xdead000000000000UL
    static unsigned long long arguments[8]; // as many as clone3 has had from the start
    /// The result of clone(2) or of the like.
    static int born(long status) {
        if (status == 0) _exit(0);
        return status < 0 ? errno : 0;
    }
    static int narrow(int number, int flags) {
    #ifdef __x86_64__
        int status = number;
        __asm__ volatile ("int $0x80" : "+a" (status)
            : "b" (flags), "c" (0), "d" (0), "S" (0), "D" (0) : "memory", "r8", "r9", "r10", "r11");
        if (!status) _exit(0);
        return status < 0 ? -status : 0;
    #else
        return -1;
    #endif
    }
    static void *nothing(void *argument) { return argument; }
    static int threads(void) {
        pthread_t thread;
        pid_t spawned;
        char *words[] = { "true", NULL };
        int error = pthread_create(&thread, NULL, nothing, NULL), status;
        if (error) return error;
        pthread_join(thread, NULL);
        error = posix_spawn(&spawned, "/bin/true", NULL, NULL, words, NULL);
        if (error) return error;
        return waitpid(spawned, &status, 0) == spawned && !status ? 0 : -1;
    }
    static int try(const char *way) {
    #define IS(name) if (!strcmp(way, name))
        arguments[0] = CLONE_NEWUSER;
        arguments[4] = SIGCHLD;
        IS("unshare") return unshare(CLONE_NEWUSER) ? errno : 0;
        IS("unshare-more") return unshare(CLONE_NEWUSER | CLONE_NEWNS) ? errno : 0;
        IS("clone") return born(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
        IS("clone-high") return born(syscall(SYS_clone, HIGH | CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
        IS("clone3") return born(syscall(SYS_clone3, arguments, sizeof arguments));
    #ifdef __x86_64__
        IS("unshare-x32") return syscall(0x40000000 | 272, CLONE_NEWUSER) ? errno : 0;
        IS("clone-x32") return born(syscall(0x40000000 | 56, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
        IS("clone3-x32") return born(syscall(0x40000000 | 435, arguments, sizeof arguments));
        IS("unshare-narrow") return narrow(310, CLONE_NEWUSER);
        IS("clone-narrow") return narrow(120, CLONE_NEWUSER | SIGCHLD);
    #endif
        IS("unshare-other") return unshare(CLONE_FS) ? errno : 0;
        IS("threads") return threads();
        return -1;
    }
    int main(int argc, char **argv) {
        while (*++argv) {
            int status;
            fflush(stdout);
            pid_t child = fork();
            if (child == 0) _exit(try(*argv));
            waitpid(child, &status, 0); // as pid 1, it gets the children of those as well
            int error = WIFSIGNALED(status) ? -1 : (signed char)WEXITSTATUS(status);
            printf("%s %d\n", *argv, error);
        }
        return fflush(stdout);
    }"#;

/// Ways that every machine has.
const NATIVE: [&str; 5] = ["unshare", "unshare-more", "clone", "clone-high", "clone3"];
/// Ways that only some have.
const OTHERS: [&str; 5] = [
    "unshare-x32",
    "clone-x32",
    "clone3-x32",
    "unshare-narrow",
    "clone-narrow",
];
/// What needs no user namespace.
const INNOCENT: [&str; 2] = ["unshare-other", "threads"];

/// A caller's own program, at a path that some profile may be for, and a root filesystem with it.
fn host() -> Host {
    let host = Host::new();
    host.compile("make", MAKE);
    let rootfs = host.busybox_rootfs("rootfs");
    let copied = Command::new("cp")
        .arg(host.path("make"))
        .arg(rootfs.join("bin"))
        .status();
    assert!(copied.unwrap().success());
    host
}

/// The words of `line`, each way to make one included. `$M` is that program with all ways.
fn words(host: &Host, line: &str) -> Vec<String> {
    let ways = [&NATIVE[..], &OTHERS, &INNOCENT].concat().join(" ");
    line.replace("$M", &format!("{} {ways}", host.path("make").display()))
        .replace("$ALL", &ways)
        .replace("$SD", host.program().to_str().unwrap())
        .replace("$DIR/", host.path("").to_str().unwrap())
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// What opening the setting comes to.
#[derive(Debug, Clone, Copy)]
enum Setting<'a> {
    /// The kernel has none.
    Absent,
    /// A file with this content.
    Holds(&'a str),
    /// This, by strace's name; and that is what opening its directory comes to.
    Fails(&'a str),
}

const ON: Setting = Setting::Holds("1\n");
const OFF: Setting = Setting::Holds("0\n");

/// Runs selfdock as the caller with the words of `line`, on a machine with that setting. The second
/// answer is what strace says of the calls that name it, or the directory in which it is.
fn on_machine(host: &Host, setting: Setting, line: &str) -> (Output, Vec<String>) {
    let log = host.path("log");
    let content = match setting {
        Setting::Holds(content) => content,
        _ => "",
    };
    let file: PathBuf = host.path("setting");
    fs::write(&file, content).unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec \"$@\" 9<\"$SETTING\"", "sh"]);
    command
        .env("SETTING", &file)
        .args(["strace", "-f", "-qq", "-o"]);
    command.arg(&log).args(["-P", SETTING]);
    let answer = match setting {
        Setting::Absent => "error=ENOENT".to_owned(),
        Setting::Holds(_) => "retval=9".to_owned(),
        Setting::Fails(errno) => format!("error={errno}"),
    };
    if let Setting::Fails(_) = setting {
        command.args(["-P", "sys/kernel"]);
    }
    command.args(["-e", &format!("inject=openat2:{answer}")]);
    command.args(["setpriv", "--clear-groups"]);
    let id = host.uid().to_string();
    command.args(["--reuid", &id, "--regid", &id]);
    command.arg(host.program()).args(words(host, line));
    command.current_dir(host.path("")).stdin(Stdio::null());
    let run = command.env_remove("RUST_BACKTRACE").output();
    let run = run.expect("strace is needed");
    let log = fs::read_to_string(&log).unwrap();
    let calls = log.lines().filter(|line| line.contains(" openat2("));
    (run, calls.map(str::to_owned).collect())
}

/// What was tried, and its error.
fn errors(said: &str) -> Vec<(&str, i32)> {
    let lines = said.lines().map(|line| line.split_once(' ').unwrap());
    lines
        .map(|(way, error)| (way, error.parse().unwrap()))
        .collect()
}

#[track_caller]
fn assert_allowed(run: &Output, what: &str) {
    assert!(run.status.success(), "{what}: {}", text(run));
    for (way, error) in errors(out(run)) {
        assert!(error == 0 || OTHERS.contains(&way), "{what}: {way} {error}");
    }
}

#[track_caller]
fn assert_forbidden(run: &Output, what: &str) {
    assert!(run.status.success(), "{what}: {}", text(run));
    let errors = errors(out(run));
    assert_eq!(errors.len(), 12, "{what}");
    for (way, error) in errors {
        let expected = match way {
            _ if INNOCENT.contains(&way) => 0,
            "clone3" | "clone3-x32" => Errno::ENOSYS as i32,
            _ => Errno::EPERM as i32,
        };
        // A machine without 32-bit programs ends what tries to be one.
        let is_absent = OTHERS.contains(&way) && error == -1;
        assert!(error == expected || is_absent, "{what}: {way} {error}");
    }
}

/// Each puts something of the caller's choice into the tree.
const SHAPED: [&str; 10] = [
    "--map $DIR/ /mnt run $M",
    "--vol $DIR/ /mnt run $M",
    "--here run $M",
    "--tmpfs size=1m,exec /opt run $M",
    "--map $DIR/make $DIR/make build $M",
    "--rootfs $DIR/rootfs run /bin/make $ALL",
    "--rootfs $DIR/rootfs build /bin/make $ALL",
    "--no-nest --map $DIR/ /mnt run $M",
    "--init --map $DIR/ /mnt run $M",
    "run $SD --map $DIR/ /mnt run $M",
];

/// The host's own tree, as it is.
const OWN: [&str; 6] = [
    "run $M",
    "build $M",
    "--rootfs / -C / -e A b run $M",
    "--rootfs /usr/.. --init run $M",
    "--no-nest run $M",
    "run $SD run $M",
];

/// Attack: the program is put where a profile allows it user namespaces.
#[test]
fn in_a_tree_of_the_callers_making_none_is_made_where_the_host_restricts_them() {
    let host = host();
    let control = host.as_caller(host.path("make")).args(NATIVE).output();
    assert_allowed(&control.unwrap(), "outside");
    for line in SHAPED {
        for (setting, is_on) in [(Setting::Absent, false), (OFF, false), (ON, true)] {
            let (run, log) = on_machine(&host, setting, line);
            if is_on {
                assert_forbidden(&run, line);
            } else {
                assert_allowed(&run, line);
            }
            // Asked once, which is what it costs where there is none.
            assert_eq!(log.len(), 1, "{line}: {log:?}");
        }
    }
}

/// There, every program is where it is outside.
#[test]
fn in_the_hosts_own_tree_they_are_as_outside_and_nothing_is_asked() {
    let host = host();
    for line in OWN {
        let (run, log) = on_machine(&host, ON, line);
        assert_allowed(&run, line);
        assert_eq!(log, [""; 0], "{line}");
    }
}

#[test]
fn what_cannot_be_read_counts_as_restricted() {
    let host = host();
    let line = "--here run $M";
    for setting in [
        Setting::Fails("EACCES"),
        Setting::Fails("EXDEV"),
        Setting::Fails("EMFILE"),
        // Of both, the setting and the directory.
        Setting::Fails("ENOENT"),
        Setting::Holds(""),
        Setting::Holds("2\n"),
        Setting::Holds("00\n"),
    ] {
        let (run, _) = on_machine(&host, setting, line);
        assert_forbidden(&run, &format!("{setting:?}"));
    }
}

/// How selfdock without privilege refuses where it would need a user namespace and may make none.
const BOUND: &str = "cannot make a user namespace: unshare: Operation not permitted; and \
     CAP_SYS_ADMIN is not in the capability bounding set\n\
     hint: a seccomp filter forbids user namespaces: an outer container, or an outer instance, \
     forbids them: docker run --security-opt seccomp=unconfined";
/// And where it may show no procfs.
const MASKED: &str = "cannot make a proc filesystem: Operation not permitted\n\
     hint: an outer container hides parts of /proc: docker run --security-opt systempaths=unconfined";

/// What hides the settings on some hosts.
const HIDDEN: &str = "mount -t tmpfs tmpfs /proc/sys";

/// Attack: a /proc that has no settings at all, of the host's or in an instance on such a host; or one
/// where they are hidden.
#[test]
fn a_procfs_without_settings_does_not_tell_that_there_is_none() {
    let host = host();
    let setup = "mount -t proc -o subset=pid proc /proc";
    let run = |setup: &str, line: &str| {
        let mut command = host.on_host(setup, host.program());
        command.args(words(&host, line)).output().unwrap()
    };
    for line in [
        "--map $DIR/ /mnt run $M",
        "run $SD --map $DIR/ /mnt run $M",
        "--map $DIR/ /mnt run $SD run $M",
    ] {
        let (without, hidden) = (run(setup, line), run(HIDDEN, line));
        match Install::is_rootless() {
            // In an instance that is bound itself, and in one whose procfs is no whole one.
            true if line.ends_with("run $SD run $M") => assert_refused(&without, BOUND),
            true if line.starts_with("run $SD") => assert_refused(&without, MASKED),
            _ => assert_forbidden(&without, line),
        }
        match Install::is_rootless() {
            // The kernel gives none to a user namespace where parts of it are hidden.
            true => assert_refused(&hidden, MASKED),
            false => assert_forbidden(&hidden, line),
        }
        assert_allowed(&on_machine(&host, OFF, line).0, line);
    }
    assert_allowed(&run(setup, "run $M"), "own");
}

/// Attack: the innermost tree is the outer one's, and that is the caller's.
#[test]
fn a_nested_instance_is_bound_as_the_outer_one() {
    let host = host();
    for line in [
        "--map $DIR/ /mnt run $SD run $M",
        "--map $DIR/ /mnt run $SD run $SD build $M",
        "--rootfs $DIR/rootfs run /dev/selfdock run /bin/make $ALL",
    ] {
        let run = on_machine(&host, ON, line).0;
        match Install::is_rootless() {
            // It is bound itself: there is no nested instance without a user namespace.
            true => assert_refused(&run, BOUND),
            false => assert_forbidden(&run, line),
        }
        assert_allowed(&on_machine(&host, OFF, line).0, line);
    }
}

/// An instance that runs until this is dropped.
struct Instance(Child);

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whose tree it is that is entered, is not asked.
#[test]
fn what_enters_an_instance_makes_none_where_the_host_restricts_them() {
    let host = host();
    for options in ["--here", ""] {
        let mut selfdock = host.selfdock();
        selfdock.args(options.split_whitespace());
        selfdock.args(["--name", "web", "run", "/bin/sh", "-c"]);
        selfdock.arg("echo up; exec sleep 1000");
        selfdock.current_dir(host.path("")).stdout(Stdio::piped());
        let mut instance = Instance(selfdock.spawn().unwrap());
        let mut said = String::new();
        let output = instance.0.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut said).unwrap();
        assert_eq!(said, "up\n");
        let line = "enter web $M";
        assert_forbidden(&on_machine(&host, ON, line).0, options);
        assert_allowed(&on_machine(&host, OFF, line).0, options);
        assert_allowed(&on_machine(&host, Setting::Absent, line).0, options);
    }
}

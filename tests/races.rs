//! What the caller names changes all the time, and the processes of selfdock are stopped and go on at
//! any moment: nothing is read that is closed to the caller, and nothing is mounted outside.

mod host;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use host::{CANNOT, Host, mounts, starts, text};

/// What is closed to the caller.
const MARKER: &str = "hunter2";

/// Exchanges pairs of names for ever, in the order given, and rests for up to so many microseconds when
/// it has done them all.
const FLIP: &str = r#"
    #define _GNU_SOURCE
    #include <fcntl.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/prctl.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            for (int pair = 2; pair + 1 < argc; pair += 2) {
                renameat2(AT_FDCWD, argv[pair], AT_FDCWD, argv[pair + 1], RENAME_EXCHANGE);
                if (rand() % 4 == 0) usleep(rand() % 200);
            }
            usleep(rand() % (1 + rand() % atoi(argv[1])));
        }
    }"#;

/// Runs a command, and stops it and its child at any moment, for a moment. Ends as it does: 128 and
/// more after a signal, 98 if it does not end.
const STORM: &str = r#"
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/prctl.h>
    #include <sys/wait.h>
    #include <time.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        srand(getpid());
        int pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            execv(argv[1], argv + 1);
            _exit(99);
        }
        char children[64];
        sprintf(children, "/proc/%d/task/%d/children", pid, pid);
        time_t end = time(0) + 30;
        int status;
        while (waitpid(pid, &status, WNOHANG) == 0) {
            usleep(rand() % 1500);
            int child = 0;
            FILE *file = fopen(children, "r");
            if (file) {
                if (fscanf(file, "%d", &child) != 1) child = 0;
                fclose(file);
            }
            kill(pid, SIGSTOP);
            if (child) kill(child, SIGSTOP);
            usleep(rand() % 300);
            if (child) kill(child, SIGCONT);
            kill(pid, SIGCONT);
            if (time(0) > end) return kill(pid, SIGKILL), 98;
        }
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }"#;

/// Prints its effective user id, what it can read of some files, and mounts that are not nosuid, where
/// it finds the table of them.
const WITNESS: &str = r#"
    #include <stdio.h>
    #include <string.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        char line[4096];
        printf("%d\n", geteuid());
        for (int file = 1; file < argc; file++) {
            FILE *in = fopen(argv[file], "r");
            if (in && fgets(line, sizeof line, in)) printf("%s\n", strtok(line, "\n"));
            if (in) fclose(in);
        }
        FILE *table = fopen("/proc/self/mountinfo", "r");
        if (!table) table = fopen("/other/self/mountinfo", "r");
        while (table && fgets(line, sizeof line, table)) {
            if (!strstr(line, "nosuid")) printf("%s", line);
        }
        return 0;
    }"#;

/// Pairs of names, and how long they are left alone in between, in microseconds.
type Flips<'a> = (&'a str, u32);

/// Ends with its test, also when that fails.
struct Flipper(Child);

impl Flipper {
    /// Exchanges the two words of each pair, names in this test's directory, as the caller.
    fn start(host: &Host, (pairs, rest): Flips<'_>) -> Self {
        let names = pairs.split_whitespace().map(|name| host.path(name));
        let mut flip = host.as_caller(host.path("flip"));
        flip.arg(rest.to_string());
        Self(flip.args(names).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Flipper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A host with the programs, and a directory that is closed to the caller, with a marker.
fn racing() -> Host {
    let host = Host::new();
    host.compile("flip", FLIP);
    host.compile("storm", STORM);
    host.compile("witness", WITNESS);
    host.root_dir("vault", 0o700);
    host.root_dir("vault/open", 0o755);
    let secret = host.root_file("vault/open/secret", 0o644, MARKER);
    let control = host.as_caller("/bin/cat").arg(secret).output().unwrap();
    assert!(!control.status.success(), "fixture is open to the caller");
    host.caller_dir("play");
    host
}

/// What came of it.
#[derive(Debug, Default)]
struct Tally {
    ran: usize,
    refused: usize,
}

/// Starts instances with the lines in turn, in a storm, while the pairs are exchanged. Whatever runs
/// may print the caller's user id, these words, and the mount of selfdock's own file.
fn race(host: &Host, flips: Flips<'_>, lines: &[&str], allowed: &[&str]) -> Tally {
    let before = mounts();
    let flipper = Flipper::start(host, flips);
    let mut tally = Tally::default();
    for round in 0..starts(150) {
        let line = lines[round % lines.len()];
        let words = line
            .split_whitespace()
            .map(|word| word.replace("$DIR", host.path("").to_str().unwrap()));
        let mut storm = host.as_caller(host.path("storm"));
        let run = storm.arg(host.program()).args(words).output().unwrap();
        let said = text(&run);
        assert!(!said.contains(MARKER), "{line}: {said}");
        let shown = String::from_utf8_lossy(&run.stdout).into_owned();
        let errors = String::from_utf8_lossy(&run.stderr).into_owned();
        match run.status.code() {
            Some(0) => {
                assert_shown(host, &shown, allowed, &format!("{line}: {said}"));
                assert_eq!(errors, "", "{line}");
                tally.ran += 1;
            }
            Some(CANNOT) => {
                assert!(
                    errors.starts_with("selfdock: cannot ") && shown.is_empty(),
                    "{line}: {said}"
                );
                tally.refused += 1;
            }
            _ => panic!("{line}: {said}"),
        }
        assert_eq!(
            mounts(),
            before,
            "{line}: the host's mount table has changed"
        );
    }
    drop(flipper);
    tally
}

fn assert_shown(host: &Host, shown: &str, allowed: &[&str], what: &str) {
    let mut lines = shown.lines();
    assert_eq!(
        lines.next(),
        Some(host.uid().to_string().as_str()),
        "{what}"
    );
    let mut is_own_seen = false;
    for line in lines.filter(|line| !allowed.contains(line)) {
        let is_own = line.contains("/bin/selfdock ") && line.contains(" ro,nodev");
        assert!(is_own && !is_own_seen, "{line:?}: {what}");
        is_own_seen = true;
    }
}

/// Attack: what SRC or DIR leads to changes between two looks at it: directories, open and closed, and
/// links to both, trade places.
#[test]
fn a_source_that_is_exchanged_in_a_storm_never_leads_to_a_closed_directory() {
    let host = racing();
    host.root_dir("play/b", 0o700);
    host.root_dir("play/b/open", 0o755);
    host.root_file("play/b/open/secret", 0o644, MARKER);
    host.caller_dir("play/a");
    host.caller_dir("play/a/open");
    host.caller_file("play/a/open/secret", 0o644, "mine");
    symlink("../vault", host.path("play/m")).unwrap();
    symlink("a", host.path("play/l")).unwrap();
    host.root_file("place", 0o644, "");
    for directory in ["dev", "proc", "tmp"] {
        host.caller_dir(format!("play/a/open/{directory}"));
    }
    run(host
        .as_caller("cp")
        .arg(host.path("witness"))
        .arg(host.path("play/a/open")));
    let lines = [
        "-m $DIR/play/a/open /mnt run $DIR/witness /mnt/secret",
        "-v $DIR/play/l/open /mnt run $DIR/witness /mnt/secret",
        "-m $DIR/play/l/open/secret $DIR/place run $DIR/witness $DIR/place",
        "-r $DIR/play/a/open run /witness /secret",
        "-r $DIR/play/l/open build /witness /secret",
        "-C $DIR/play/a/open run $DIR/witness secret ../../b/open/secret",
    ];
    let tally = race(
        &host,
        ("play/a play/b play/l play/m play/a play/l", 100),
        &lines,
        &["mine"],
    );
    assert!(
        tally.ran > 4 && tally.refused > 4,
        "nothing was raced: {tally:?}"
    );
}

/// Attack: the way to DST leads out of the root filesystem at the moment of mounting: its directories
/// become links to the host's, or are moved out and back.
#[test]
fn a_target_whose_way_is_exchanged_in_a_storm_is_mounted_inside_or_nowhere() {
    let host = racing();
    rootfs(&host);
    for directory in ["way", "way/etc", "way/etc/deep", "mnt", "etc"] {
        host.caller_dir(format!("play/os/{directory}"));
    }
    for directory in ["out", "out/etc", "out/etc/deep"] {
        host.caller_dir(format!("play/{directory}"));
    }
    symlink("/", host.path("play/os/root")).unwrap();
    symlink("../../../../../../../..", host.path("play/os/up")).unwrap();
    symlink("/etc", host.path("play/os/way/link")).unwrap();
    host.caller_dir("mine");
    host.caller_file("mine/secret", 0o644, "mine");
    let lines = [
        "-r $DIR/play/os -m $DIR/mine /way/etc run /witness /way/etc/secret",
        "-r $DIR/play/os -v $DIR/mine /way/etc/deep run /witness /way/etc/deep/secret",
        "-r $DIR/play/os -m $DIR/mine /way/etc/deep/../../../etc run /witness /etc/secret",
        "-r $DIR/play/os -t mode=700 /way/etc build /witness /way/etc/secret",
        "-m $DIR/mine $DIR/play/os/way/etc run $DIR/witness $DIR/play/os/way/etc/secret",
    ];
    let pairs = "play/os/way play/os/root play/os/way/etc play/os/way/link play/os/way play/os/up \
                 play/os/way/etc/deep play/out/etc/deep play/os/way play/out";
    let etc = names_in("/etc");
    let tally = race(&host, (pairs, 100), &lines, &["mine"]);
    assert_eq!(names_in("/etc"), etc);
    assert!(
        tally.ran > 4 && tally.refused > 4,
        "nothing was raced: {tally:?}"
    );
}

fn names_in(directory: &str) -> BTreeSet<OsString> {
    let names = std::fs::read_dir(directory).unwrap();
    names.map(|entry| entry.unwrap().file_name()).collect()
}

/// Attack: the directories that selfdock mounts on become links that lead out, and back.
#[test]
fn own_mounts_in_a_root_filesystem_that_is_exchanged_in_a_storm_stay_inside() {
    let host = racing();
    rootfs(&host);
    for directory in ["other", "mnt", "etc"] {
        host.caller_dir(format!("play/os/{directory}"));
    }
    symlink("../../../../../../../../dev", host.path("play/os/devices")).unwrap();
    symlink(host.path("vault/open"), host.path("play/os/temporary")).unwrap();
    let marker = host.path("vault/open/secret");
    let lines = [
        format!(
            "-r $DIR/play/os run /witness {} /tmp/secret /temporary/secret",
            marker.display()
        ),
        "-r $DIR/play/os build /witness /tmp/secret /../../vault/open/secret".to_owned(),
        "-r $DIR/play/os --init run /witness /proc/1/root/../vault/open/secret".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    // Each there and back: a start needs all of them in their places, several times.
    let pairs = ["dev devices", "proc other", "tmp temporary"].map(|pair| {
        let (one, other) = pair.split_once(' ').unwrap();
        format!("play/os/{one} play/os/{other} ").repeat(2)
    });
    let tally = race(&host, (&pairs.concat(), 1200), &lines, &[]);
    assert!(
        tally.ran > 4 && tally.refused > 4,
        "nothing was raced: {tally:?}"
    );
}

/// Mounts a procfs in a user namespace of its own, and prints what is in its `version`.
const REVEALER: &str = r#"
    #define _GNU_SOURCE
    #include <sched.h>
    #include <stdio.h>
    #include <sys/mount.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(void) {
        char line[4096];
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID)) return perror("unshare"), 1;
        int pid = fork();
        if (pid) return waitpid(pid, 0, 0), 0;
        if (mount("proc", "/tmp", "proc", 0, 0)) return 0;
        FILE *file = fopen("/tmp/version", "r");
        if (file && fgets(line, sizeof line, file)) fputs(line, stdout);
        return 0;
    }"#;

/// Attack: where the host hides a part of /proc, ours is marked by a mount on it, for the kernel to mind;
/// in a root filesystem of the caller's, that lands elsewhere.
#[test]
fn what_is_hidden_in_proc_stays_hidden_while_the_way_there_is_exchanged() {
    let host = racing();
    let revealer = host.compile("revealer", REVEALER);
    for name in [
        "os",
        "os/dev",
        "os/tmp",
        "os/proc",
        "os/proc/1",
        "os/fake",
        "os/fake/1",
    ] {
        host.caller_dir(format!("play/{name}"));
    }
    host.caller_file("play/os/proc/1/limits", 0o644, "");
    host.caller_file("play/os/fake/1/limits", 0o644, "");
    std::fs::copy(&revealer, host.path("play/os/revealer")).unwrap();
    let reveal = |setup: &str| {
        let _flipper = Flipper::start(&host, ("play/os/proc play/os/fake", 20));
        let script = "for n in $(seq $STARTS); do \"$@\" 2>/dev/null || :; done | sort -u";
        let mut command = host.on_host(setup, "/bin/sh");
        command.args(["-c", script, "sh"]).arg(host.program());
        command
            .arg("-r")
            .arg(host.path("play/os"))
            .args(["run", "/revealer"]);
        let run = command
            .env("STARTS", starts(200).to_string())
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", text(&run));
        String::from_utf8(run.stdout).unwrap()
    };
    assert!(
        reveal(":").starts_with("Linux version"),
        "nothing is revealed where nothing is hidden"
    );
    assert_eq!(reveal("mount --bind /dev/null /proc/version"), "");
}

/// A root filesystem of the caller's with the witness in it: `play/os`.
fn rootfs(host: &Host) {
    for directory in ["", "/dev", "/proc", "/tmp"] {
        host.caller_dir(format!("play/os{directory}"));
    }
    run(host
        .as_caller("cp")
        .arg(host.path("witness"))
        .arg(host.path("play/os")));
}

fn run(command: &mut Command) {
    let run = command.output().unwrap();
    assert!(run.status.success(), "{}", text(&run));
}

/// Starts an instance whose pid 1 has a certain number, has the caller enter it by that number, ends it,
/// and gives the number to a process outside, of the caller's or of root's, again and again. As root and
/// as pid 1, so that the numbers are its own to give. Prints how often a process outside got the number.
const RECYCLE: &str = r#"
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/wait.h>
    #include <time.h>
    #include <unistd.h>
    enum { NUMBER = 4000 };
    static int uid;
    static char *selfdock, *inside;
    static void next_number(int number) {
        FILE *file = fopen("/proc/sys/kernel/ns_last_pid", "w");
        if (!file || fprintf(file, "%d", number - 1) < 0 || fclose(file)) exit(97);
    }
    static long now(void) {
        struct timespec time;
        clock_gettime(CLOCK_MONOTONIC, &time);
        return time.tv_sec * 1000000 + time.tv_nsec / 1000;
    }
    static int start(int is_roots, int out, char **words) {
        int pid = fork();
        if (pid) return pid;
        if (!is_roots && (setgid(uid) || setuid(uid))) _exit(96);
        dup2(out, 1);
        execv(words[0], words);
        _exit(95);
    }
    int main(int argc, char **argv) {
        int rounds = atoi(argv[1]), reused = 0, up[2];
        uid = atoi(argv[2]), selfdock = argv[3], inside = argv[4];
        char number[16], line[16];
        sprintf(number, "%d", NUMBER);
        char *instance[] = {selfdock, "-m", inside, "/mnt", "run", "/bin/sh", "-c", "echo up; exec sleep 1000", 0};
        char *enter[] = {selfdock, "enter", number, "/bin/sh", "-c", "cat /mnt/marker || echo outside; exec sleep 1000", 0};
        char *decoy[] = {"/bin/sleep", "1000", 0};
        if (pipe(up)) return 94;
        for (int round = 0; round < rounds; round++) {
            alarm(60);
            srand(round);
            next_number(NUMBER - 1);
            // To enter takes about as long as a start, which depends on the machine: half of them get in.
            long took = now();
            int supervisor = start(0, up[1], instance), entered[3];
            if (read(up[0], line, sizeof line) != 3) return 93;
            took = now() - took;
            if (kill(NUMBER, 0)) return 92;
            for (int n = 0; n < 3; n++) {
                entered[n] = start(0, 1, enter);
                usleep(rand() % (took / 4));
            }
            usleep(rand() % took);
            kill(supervisor, SIGKILL);
            waitpid(supervisor, 0, 0);
            waitpid(NUMBER, 0, 0);
            next_number(NUMBER);
            int other = start(round % 2, 1, decoy);
            reused += other == NUMBER;
            usleep(rand() % (4 * took));
            for (int n = 0; n < 3; n++) kill(entered[n], SIGKILL);
            kill(other, SIGKILL);
            while (wait(0) > 0) {}
        }
        printf("reused %d\n", reused);
        return 0;
    }"#;

/// Attack: the pid of an instance becomes that of a process outside while it is entered.
#[test]
fn a_pid_that_another_process_gets_while_it_is_entered_leads_nowhere_else() {
    let host = Host::new();
    let recycle = host.compile("recycle", RECYCLE);
    host.root_dir("inside", 0o755);
    host.root_file("inside/marker", 0o644, "inside\n");
    let rounds = starts(50);
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    unshare
        .arg(recycle)
        .args([rounds.to_string(), host.uid().to_string()]);
    let run = unshare
        .arg(host.program())
        .arg(host.path("inside"))
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    let shown = String::from_utf8_lossy(&run.stdout).into_owned();
    let (entered, rest): (Vec<&str>, Vec<&str>) = shown.lines().partition(|line| *line == "inside");
    let [reused] = rest[..] else {
        panic!("{}", text(&run))
    };
    let reused: usize = reused.strip_prefix("reused ").unwrap().parse().unwrap();
    assert!(
        entered.len() > 10 && reused * 2 > rounds,
        "{} of {rounds}: {}",
        entered.len(),
        text(&run)
    );
    let errors = String::from_utf8_lossy(&run.stderr).into_owned();
    for line in errors.lines().filter(|line| !line.starts_with("hint: ")) {
        assert!(
            line.starts_with("selfdock: cannot enter \"4000\": "),
            "{line}"
        );
    }
}

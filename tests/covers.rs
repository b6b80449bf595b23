//! What lies beneath the host's mountpoints never shows, whatever the caller does to the way there;
//! and nothing that selfdock mounts shows on the host.
//!
//! The bait is on the real filesystem of this test, where no mount hides it: there the caller and an
//! instance can read it, which proves that a search that finds nothing could have found something.

mod host;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use host::{Host, Install, assert_ended, assert_refused, mounts, out, set_mode, text};

/// What must not be read.
const BAIT: &str = "bait-that-lies-beneath";

/// Directories with bait in them: the caller's, root's, anybody's, below the caller's, and some
/// whose names the mount table escapes.
const DIRECTORIES: [&str; 10] = [
    "own",
    "roots",
    "open",
    "way/deep/down",
    "a blank",
    "a\ttab",
    "a\nline",
    "a\\slash",
    "an\\040escape",
    "a#number",
];

/// Files of bait.
const FILES: [&str; 2] = ["file", "a file\nof lines"];

/// A host of few mounts, whatever this one has: `/` with nothing on it but /dev, /proc and /sys.
const PLAIN: [&str; 3] = [
    "mkdir -p $DIR/plain && mount --bind / $DIR/plain && cd $DIR/plain",
    "for name in dev proc sys; do mount --rbind /$name $name || exit 99; done",
    "pivot_root . . && umount -l . && cd /",
];

/// A new mount namespace is mounted on `$AT/file`. It must have a higher number than the one that it
/// is mounted in (`mnt_ns_loop()` in Linux `fs/namespace.c`), and each processor counts on its own.
const NAMESPACE_FILE: &str = "try=0; until unshare --mount=$AT/file true 2>/dev/null; do \
    try=$((try + 1)); [ $try -lt 500 ] || exit 99; done";

/// Lays the bait out in `at`, a new directory.
fn lay_bait(host: &Host, at: &Path) {
    host.root_dir(at, 0o755);
    for name in DIRECTORIES {
        fs::create_dir_all(at.join(name)).unwrap();
        fs::write(at.join(name).join("bait"), BAIT).unwrap();
    }
    for name in FILES {
        fs::write(at.join(name), BAIT).unwrap();
    }
    fs::write(at.join("other"), "other\n").unwrap();
    set_mode(&at.join("open"), 0o1777);
    for name in ["own", "way", "way/deep", "other"] {
        chown(at.join(name), Some(host.uid()), Some(host.uid())).unwrap();
    }
}

/// Places in `$AT`, and how root hides each of them on an odd host: the last command does it.
fn covered() -> Vec<(&'static str, Vec<String>)> {
    let directories = DIRECTORIES.into_iter().chain(["way"]);
    let directories =
        directories.map(|name| (name, vec![format!("mount -t tmpfs tmpfs $AT/'{name}'")]));
    let files = FILES.map(|name| (name, vec![format!("mount --bind $AT/other $AT/'{name}'")]));
    let mut covered: Vec<_> = directories.chain(files).collect();
    let all = covered.iter().flat_map(|(_, mounts)| mounts.clone());
    let all: Vec<_> = all.collect();
    // Bait in a mount, beneath another: on the same place, below it, on a file in it.
    for (name, commands) in [
        (
            "own",
            ["echo $BAIT > $AT/own/bait", "mount -t tmpfs tmpfs $AT/own"],
        ),
        (
            "roots",
            [
                "mkdir $AT/roots/sub && echo $BAIT > $AT/roots/sub/bait",
                "mount -t tmpfs tmpfs $AT/roots/sub",
            ],
        ),
        (
            "open",
            [
                "echo $BAIT > $AT/open/bait",
                "mount --bind $AT/other $AT/open/bait",
            ],
        ),
    ] {
        let first = format!("mount -t tmpfs tmpfs $AT/{name}");
        let commands = commands.map(str::to_owned);
        covered.push((name, [first].into_iter().chain(commands).collect()));
    }
    covered.push((".", all));
    covered
}

/// Runs the shell script `script` as the caller, on a host where root ran the commands of `setup`
/// before. `$SD` is selfdock, `$DIR` this test's directory, `$AT` a place in it, `$BAIT` what must
/// not be read. The mount table of that host must be the same at the end, and the caller has a look.
fn on<S: AsRef<str>>(host: &Host, at: &Path, setup: &[S], script: &str) -> Output {
    let commands = setup.iter().map(S::as_ref);
    let setup: Vec<&str> = [":"].into_iter().chain(commands).collect();
    let watched = "table=$(cat /proc/self/mountinfo)
        trap '[ \"$table\" = \"$(cat /proc/self/mountinfo)\" ] || echo the mount table has changed >&2' EXIT
        eval \"$SCRIPT\"";
    host.on_host(&setup.join(" && "), "/bin/sh")
        .args(["-euc", watched])
        .env("SCRIPT", script)
        .env("SD", host.program())
        .env("AT", at)
        .env("BAIT", BAIT)
        .output()
        .unwrap()
}

/// Searches for bait: `name` in `$AT` outside, and `name` in `inside` in an instance. What cannot be
/// searched, status 2 of grep, shows nothing either.
fn search<S: AsRef<str>>(
    host: &Host,
    at: &Path,
    setup: &[S],
    words: &str,
    (inside, name): (&str, &str),
) -> Output {
    let names: Vec<&str> = match name {
        "." => DIRECTORIES.into_iter().chain(FILES).collect(),
        name => vec![name],
    };
    let all = |place: &str| {
        let paths = names.iter().map(|name| format!("{place}/'{name}'"));
        paths.collect::<Vec<_>>().join(" ")
    };
    let script = format!(
        "grep -rqsF \"$BAIT\" {} && echo outside || :
        status=0; $SD {words} grep -rqsF \"$BAIT\" {} || status=$?
        case $status in 0) echo inside;; 1|2) echo nothing;; *) echo $status;; esac",
        all("$AT"),
        all(inside)
    );
    on(host, at, setup, &script)
}

/// Fails unless neither the caller nor an instance finds bait, on each of the odd hosts; and unless
/// both find it where nothing is mounted.
fn assert_covered(host: &Host, at: &Path, first: &[&str], words: &str, inside: &str) {
    for (name, mounts) in covered() {
        let run = search(host, at, first, words, (inside, name));
        let found = "outside\ninside\n";
        assert_eq!(out(&run), found, "the bait is not there: {words}: {name}");
        let first = first.iter().map(|command| (*command).to_owned());
        let setup: Vec<String> = first.chain(mounts).collect();
        let run = search(host, at, &setup, words, (inside, name));
        assert_eq!(out(&run), "nothing\n", "{words}: {setup:#?}");
    }
}

/// Attack: a clone of one mount alone shows what the mounts on it hide.
#[test]
fn nothing_beneath_a_mount_shows_in_the_hosts_own_root() {
    let host = Host::new();
    let at = host.path("data");
    lay_bait(&host, &at);
    for words in ["run", "build", "run $SD run"] {
        assert_covered(&host, &at, &[], words, "$AT");
    }
}

/// The same on a host where nothing else forces covers.
#[test]
fn nothing_beneath_a_mount_shows_in_the_root_of_a_plain_host() {
    let host = Host::new();
    let at = host.path("data");
    lay_bait(&host, &at);
    for words in ["run", "build $SD build"] {
        assert_covered(&host, &at, &PLAIN, words, "$AT");
    }
}

#[test]
fn nothing_beneath_a_mount_shows_in_another_root_filesystem() {
    let host = Host::new();
    let at = host.busybox_rootfs("os").join("data");
    lay_bait(&host, &at);
    for words in ["run", "build", "run /dev/selfdock run"] {
        assert_covered(&host, &at, &[], &format!("-r $DIR/os {words}"), "/data");
    }
}

#[test]
fn nothing_beneath_a_mount_shows_in_another_root_filesystem_that_is_a_mount_itself() {
    let host = Host::new();
    let at = host.busybox_rootfs("os").join("data");
    lay_bait(&host, &at);
    let bind = "mount --bind $DIR/os $DIR/os";
    for words in ["run", "build", "run /dev/selfdock build"] {
        assert_covered(&host, &at, &[bind], &format!("-r $DIR/os {words}"), "/data");
    }
}

#[test]
fn nothing_beneath_a_mount_shows_in_a_map() {
    let host = Host::new();
    let at = host.path("data");
    lay_bait(&host, &at);
    host.root_dir("new", 0o755);
    for (option, inside) in [
        ("-m $AT $DIR/new", "$DIR/new"),
        ("-v $DIR $DIR/new", "$DIR/new/data"),
        ("run $SD -m $AT $DIR/new", "$DIR/new"),
        ("-v $AT $DIR/new run $SD -v $DIR/new $DIR/new", "$DIR/new"),
    ] {
        assert_covered(&host, &at, &[], &format!("{option} run"), inside);
    }
    // Without the mount that hides it, the same search finds what is in another mount.
    for (name, mut mounts) in covered() {
        if mounts.len() > 1 && name != "." {
            mounts.pop();
            let words = "-m $AT $DIR/new run";
            let run = search(&host, &at, &mounts, words, ("$DIR/new", name));
            assert_eq!(out(&run), "outside\ninside\n", "{mounts:?}");
        }
    }
}

/// Attack: in `build` the caller could write to a directory of their own that is hidden outside.
#[test]
fn nothing_can_be_written_beneath_a_mount() {
    let host = Host::new();
    let at = host.busybox_rootfs("os").join("data");
    lay_bait(&host, &at);
    let setup = ["mount -t tmpfs -o mode=1777 tmpfs $AT/own"];
    for (words, place) in [
        ("build", "$AT/own"),
        ("build $SD build", "$AT/own"),
        ("-r $DIR/os build", "/data/own"),
    ] {
        let script = format!("$SD {words} touch {place}/new && exit 99; [ ! -e $AT/own/new ]");
        let run = on(&host, &at, &setup, &script);
        assert_ended(&run, 0);
        let is_refused = text(&run).contains("Read-only file system");
        assert!(is_refused, "{words}: {}", text(&run));
        assert!(!at.join("own/new").exists(), "{words}");
        let run = on(
            &host,
            &at,
            &setup[1..],
            &format!("$SD {words} touch {place}/new"),
        );
        assert_eq!(out(&run), "", "{words}");
        fs::remove_file(at.join("own/new")).expect("fixture is closed to the caller");
    }
}

/// A recursive clone leaves out an unbindable mount, and would show what lies beneath.
#[test]
fn nothing_beneath_an_unbindable_mount_shows() {
    let host = Host::new();
    let at = host.busybox_rootfs("os").join("data");
    lay_bait(&host, &at);
    let new = host.root_dir("new", 0o755);
    host.root_file("single", 0o644, "single\n");
    host.root_file("other", 0o644, "");
    let shallow = [
        "mount -t tmpfs tmpfs $AT/own",
        "mount --make-unbindable $AT/own",
    ];
    let deep = [
        "mount -t tmpfs tmpfs $AT/way",
        "mkdir $AT/way/deep && echo $BAIT > $AT/way/deep/bait",
        "mount -t tmpfs tmpfs $AT/way/deep",
        "mount --make-unbindable $AT/way/deep",
    ];
    for (setup, name) in [(&shallow[..], "own"), (&deep[..], "way")] {
        for (words, inside) in [
            ("run", "$AT"),
            ("build", "$AT"),
            ("run $SD run", "$AT"),
            ("-r $DIR/os run", "/data"),
            ("-r $DIR/os build", "/data"),
        ] {
            let run = search(&host, &at, setup, words, (inside, name));
            assert_eq!(out(&run), "nothing\n", "{words}");
        }
        // In a private copy of the namespace it is like any other mount.
        for (option, source, target) in [
            ("-m", at.clone(), new.clone()),
            ("-v", host.path("single"), host.path("other")),
        ] {
            let words = format!("{option} {} {}", source.display(), target.display());
            let script = format!(
                "$SD {words} run grep -rsF $BAIT {}/{name} || echo nothing",
                target.display()
            );
            assert_eq!(out(&on(&host, &at, setup, &script)), "nothing\n", "{words}");
        }
        // A source on another mount has nothing to do with it.
        let script = "$SD -m /dev $DIR/new run ls $DIR/new/null";
        let run = on(&host, &at, setup, script);
        assert_eq!(out(&run), format!("{}\n", new.join("null").display()));
    }
}

/// Where nothing can be hidden there is nothing to cover: most hosts should pay nothing for theirs. In a
/// user namespace all mounts come along, and each has a cover.
#[test]
fn an_empty_mountpoint_of_roots_alone_costs_no_mount() {
    let host = Host::new();
    let at = host.root_dir("at", 0o755);
    host.root_dir("at/empty", 0o755);
    host.root_dir("at/full", 0o755);
    host.root_file("at/full/file", 0o644, "");
    host.caller_dir("at/own");
    host.caller_dir("at/way");
    host.root_dir("at/way/empty", 0o755);
    let count_of = |action: &str, name: Option<&str>| {
        let mut setup: Vec<String> = PLAIN.map(str::to_owned).into();
        if let Some(name) = name {
            setup.push(format!("mount -t tmpfs -o mode=755 tmpfs $AT/{name}"));
            setup.push(format!("echo seen > $AT/{name}/seen"));
        }
        let script = "ls $AT/empty $AT/full $AT/own $AT/way/empty | grep -c seen || :
            $SD ACTION sh -c 'wc -l < /proc/self/mountinfo
                ls $AT/empty $AT/full $AT/own $AT/way/empty | grep -c seen || :'";
        let run = on(&host, &at, &setup, &script.replace("ACTION", action));
        let numbers = out(&run).lines().map(|line| line.parse().unwrap());
        let numbers: Vec<usize> = numbers.collect();
        let (outside, inside) = (numbers[0], numbers[2]);
        assert_eq!((outside, inside), (usize::from(name.is_some()), 0));
        numbers[1]
    };
    let count = |name| count_of("run", name);
    let bare = count(None);
    assert_eq!(
        count(Some("empty")),
        Install::wanted().choose(bare, bare, bare + 2)
    );
    assert!(count(Some("full")) > bare);
    assert!(count(Some("own")) > bare);
    // Nor may anything on the way there be the caller's to change.
    assert!(count(Some("way/empty")) > bare);
    // What can be written to is never shown bare.
    let is_bare = count_of("build", None) == bare;
    assert_eq!(is_bare, Install::is_rootless());
}

/// A separate /usr is part of the system, and so is what a container puts on /etc/hosts.
#[test]
fn the_systems_own_mounts_stay_and_are_read_only_in_build_too() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("os");
    let at = host.path("data");
    lay_bait(&host, &at);
    fs::create_dir_all(rootfs.join("usr/local")).unwrap();
    host.root_file("os/hosts", 0o644, "");
    let setup = [
        "mount --bind /usr /usr",
        "for place in /usr/local /opt $DIR/os/usr/local $DIR/os/etc; do \
         mount -t tmpfs -o mode=1777 tmpfs $place && echo kept > $place/kept || exit 99; done",
        "for place in $AT/file $DIR/os/hosts; do mount --bind $AT/other $place || exit 99; done",
    ];
    let script = "cat /usr/local/kept /opt/kept $AT/file; ls /usr/local /opt
        for place in /usr/local/new /opt/new $AT/file; do
            (echo > $place) 2>/dev/null && echo written || :
        done";
    let shown = "kept\nkept\nother\n/opt:\nkept\n\n/usr/local:\nkept\n";
    let run = on(&host, &at, &setup, script);
    assert_eq!(out(&run), format!("{shown}written\nwritten\nwritten\n"));
    fs::write(at.join("other"), "other\n").unwrap();
    for words in [
        "run",
        "build",
        "run $SD run",
        "build $SD build",
        "-r /usr/.. build",
    ] {
        let run = on(&host, &at, &setup, &format!("$SD {words} sh -c '{script}'"));
        assert_eq!(out(&run), shown, "{words}");
        let places = "-e ' /usr ' -e ' /usr/local ' -e ' /opt '";
        let script = format!("$SD {words} grep {places} /proc/self/mountinfo");
        let run = on(&host, &at, &setup, &script);
        let flags = out(&run).lines().map(|line| line.split(' ').nth(5));
        let flags: Vec<_> = flags.map(Option::unwrap).collect();
        let is_restricted = |flags: &&str| flags.starts_with("ro,nosuid,nodev");
        assert!(
            flags.len() == 3 && flags.iter().all(is_restricted),
            "{words}: {flags:?}"
        );
    }
    // Another root filesystem is one filesystem, and nothing else.
    for words in ["-r $DIR/os run", "-r $DIR/os build"] {
        let script = format!("$SD {words} sh -c 'ls -A /usr/local /etc; cat /hosts'");
        let run = on(&host, &at, &setup, &script);
        assert_eq!(out(&run), "/etc:\n\n/usr/local:\n", "{words}");
    }
}

/// Files of mount namespaces, like those that snapd keeps in /run, cannot be in a tree that is
/// cloned too early.
#[test]
fn a_mount_namespace_file_on_roots_empty_file_does_no_harm() {
    let host = Host::new();
    let at = host.busybox_rootfs("os").join("data");
    host.root_dir(&at, 0o755);
    host.root_file(at.join("file"), 0o444, "");
    host.root_dir("new", 0o755);
    let setup = [NAMESPACE_FILE];
    for (words, must_work) in [
        ("run true", true),
        ("build true", true),
        ("run $SD run true", true),
        ("-r $DIR/os run /bin/true", true),
        ("-r $DIR/os build /bin/true", true),
        ("-m $AT $DIR/new run true", false),
        (
            "-v $AT $DIR/new run $SD -m $DIR/new $DIR/new run true",
            false,
        ),
        ("-v $AT/file $DIR/data/file run true", false),
    ] {
        let words = words.replace("$DIR/data", "$DIR/os/data");
        let run = on(&host, &at, &setup, &format!("$SD {words}"));
        // A map of it may be refused, in words.
        if must_work || run.status.success() {
            assert_eq!(out(&run), "", "{words}: {}", text(&run));
        } else {
            assert_ended(&run, host::CANNOT);
            assert!(
                text(&run).contains("selfdock: cannot map"),
                "{}",
                text(&run)
            );
            assert!(!text(&run).contains("has changed"), "{words}");
        }
    }
}

/// A residual: `unshare(CLONE_NEWNS)` itself leaves files of mount namespaces out of the copy
/// (`copy_tree()` in Linux `fs/namespace.c`), so what lies beneath one shows. It may not show more
/// than it does to anybody in a user namespace.
#[test]
fn beneath_a_mount_namespace_file_nothing_shows_but_what_the_kernel_shows_everybody() {
    let host = Host::new();
    let at = host.busybox_rootfs("os").join("data");
    lay_bait(&host, &at);
    let setup = [NAMESPACE_FILE];
    let hidden = on(&host, &at, &setup, "grep -s $BAIT $AT/file || echo hidden");
    assert_eq!(out(&hidden), "hidden\n", "fixture is open to the caller");
    let look = "cat $AT/file";
    let kernel = on(&host, &at, &setup, &format!("unshare -Urm {look}"));
    let ours = on(&host, &at, &setup, &format!("$SD run {look}"));
    assert_eq!(out(&ours), out(&kernel));
}

/// A tree of the caller's, `$AT`, with bait in b/m, and a place outside of it to move things to.
fn movable(host: &Host) -> PathBuf {
    let at = host.busybox_rootfs("os");
    host.caller_dir("os/b");
    host.caller_dir("os/b/m");
    host.caller_file("os/b/m/bait", 0o644, BAIT);
    host.caller_dir("out");
    host.root_dir("new", 0o755);
    at
}

/// What the caller does before an instance is started, how it is (or with which options), and what
/// the caller does after.
type Moves<'a> = (&'a str, &'a str, &'a str);

/// Starts an instance with a script, `$LATE`, that reads b/m/bait in `inside` when all is done.
fn read_late<S: AsRef<str>>(
    host: &Host,
    setup: &[S],
    (before, words, after): Moves<'_>,
    inside: &str,
) -> Output {
    let late =
        format!("echo up >&3; read -r line <&4; cat {inside}/b/m/bait 2>/dev/null || echo nothing");
    let script = format!(
        "mkfifo $DIR/out/up $DIR/out/go
        exec 3<>$DIR/out/up 4<>$DIR/out/go
        rm $DIR/out/up $DIR/out/go
        export LATE='{late}'
        {before}
        {{ timeout 20 {words} \"$LATE\" || echo refused; echo up >&3; }} &
        read -r line <&3
        {after}
        echo go >&4
        wait"
    );
    on(host, &host.path("os"), setup, &script)
}

/// Fails unless the bait is read late without the mount on b/m, and not with it.
fn assert_not_read_late(host: &Host, first: &[&str], moves: Moves<'_>, inside: &str) {
    let (before, words, after) = moves;
    let words = format!("$SD {words} sh -c");
    let moves = (before, words.as_str(), after);
    let run = read_late(host, first, moves, inside);
    assert_eq!(out(&run), BAIT, "the bait is not there: {moves:?}");
    let setup = [first, &["mount -t tmpfs tmpfs $AT/b/m"]].concat();
    let run = read_late(host, &setup, moves, inside);
    assert!(!text(&run).contains(BAIT), "{moves:?}: {}", text(&run));
    // No bait, and the reason is that it is covered, or that the start was refused.
    let (is_covered, is_refused) = ("nothing\n", "refused\n");
    let shown = String::from_utf8_lossy(&run.stdout);
    assert!(
        shown == is_covered || shown == is_refused,
        "{moves:?}: {}",
        text(&run)
    );
}

/// Attack: a mountpoint that cannot be reached during the start, but later.
#[test]
fn a_mountpoint_behind_a_closed_directory_stays_covered() {
    let host = Host::new();
    movable(&host);
    for (words, inside) in [
        ("run", "$AT"),
        ("build", "$AT"),
        ("-r $AT run", ""),
        ("-r $AT build", ""),
        ("-m $AT $DIR/new run", "$DIR/new"),
    ] {
        let moves = ("chmod 0 $AT/b", words, "chmod 755 $AT/b");
        assert_not_read_late(&host, &[], moves, inside);
    }
}

/// Attack: what is renamed during the start is not found by its path. The mount goes along.
#[test]
fn a_mountpoint_that_is_moved_and_moved_back_stays_covered_in_the_hosts_own_root() {
    let host = Host::new();
    movable(&host);
    for words in ["run", "build", "run $SD run"] {
        let moves = ("mv $AT/b $DIR/out", words, "mv $DIR/out/b $AT");
        assert_not_read_late(&host, &[], moves, "$AT");
        assert_not_read_late(&host, &PLAIN, moves, "$AT");
    }
}

/// A residual: a recursive clone takes along what is mounted below its directory at that moment
/// (`copy_tree()` in Linux `fs/namespace.c`). A caller who owns the way to a mountpoint can move it
/// out before, and back after. They may not see more than they would in a user namespace.
#[test]
fn a_mountpoint_that_is_moved_out_and_back_shows_but_what_the_kernel_shows_everybody() {
    let host = Host::new();
    movable(&host);
    let setup = ["mount -t tmpfs tmpfs $AT/b/m"];
    let moves = |words| ("mv $AT/b $DIR/out", words, "mv $DIR/out/b $AT");
    let ours = read_late(
        &host,
        &setup,
        moves("$SD -m $AT $DIR/new run sh -c"),
        "$DIR/new",
    );
    let kernel = "unshare -Urm sh -c 'mount --rbind $AT $DIR/new && sh -c \"$1\"' sh";
    let kernel = read_late(&host, &setup, moves(kernel), "$DIR/new");
    assert_eq!(out(&ours), out(&kernel));
}

/// Changes one thing for ever, or until the test has ended: `chmod DIR` or `exchange A B`.
const FLIP: &str = r#"
    #define _GNU_SOURCE
    #include <fcntl.h>
    #include <signal.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/prctl.h>
    #include <sys/stat.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(600);
        for (;;) {
            if (!strcmp(argv[1], "chmod")) {
                chmod(argv[2], 0);
                chmod(argv[2], 0755);
            } else {
                renameat2(AT_FDCWD, argv[2], AT_FDCWD, argv[3], RENAME_EXCHANGE);
            }
        }
    }"#;

/// Tries again and again to read one of some files, and prints the first.
const PEEK: &str = r#"
    #include <fcntl.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        char buffer[64];
        for (int try = 0; try < 40; try++) {
            for (int file = 1; file < argc; file++) {
                int fd = open(argv[file], O_RDONLY);
                ssize_t size = fd < 0 ? 0 : read(fd, buffer, sizeof buffer);
                if (size > 0) return write(1, buffer, size), write(1, "\n", 1), 0;
                close(fd);
            }
            usleep(100);
        }
        return 1;
    }"#;

/// Starts instances for some seconds while the caller flips something, and fails if one of them
/// reads bait; and unless one does without the mount on b/m.
fn assert_never_read(host: &Host, flip: &str, words: &str, inside: &str) {
    let starts = |most: u32| {
        format!(
            "$DIR/flip {flip} & flip=$!
            end=$(($(date +%s) + 4)); count=0; found=0; refused=0
            while [ $count -lt 20 ] || {{ [ $count -lt {most} ] && [ $(date +%s) -lt $end ]; }}; do
                status=0
                $SD {words} {inside}/peek {inside}/a/m/bait {inside}/b/m/bait || status=$?
                case $status in 0) found=$((found + 1));; 1) ;; *) refused=$((refused + 1));; esac
                count=$((count + 1))
            done
            kill $flip; wait
            echo $count $found $refused"
        )
    };
    let at = host.path("os");
    // Where the bait is after the first round, nobody knows.
    let mount = "for name in a b; do if [ -e $AT/$name/m/bait ]; \
                 then mount -t tmpfs tmpfs $AT/$name/m || exit 99; fi; done";
    let outside = "$AT/peek $AT/a/m/bait $AT/b/m/bait || echo hidden";
    assert_eq!(out(&on(host, &at, &[mount], outside)), "hidden\n");
    let run = on(host, &at, &[""; 0], &starts(20));
    let numbers = last_numbers(&run);
    assert!(numbers[1] > 0, "the bait is not there: {}", text(&run));
    let run = on(host, &at, &[mount], &starts(250));
    assert!(!text(&run).contains(BAIT), "{flip} {words}: {}", text(&run));
    // The table of that host tells of the renames, and may well be another at the end.
    let numbers = last_numbers(&run);
    let (count, refused) = (numbers[0], numbers[2]);
    assert!(refused * 2 < count, "{flip} {words}: {}", text(&run));
}

fn last_numbers(run: &Output) -> Vec<u32> {
    let shown = String::from_utf8_lossy(&run.stdout);
    let line = shown.lines().last().unwrap_or_default();
    let numbers = line.split(' ').map(|word| word.parse().ok());
    let numbers: Option<Vec<_>> = numbers.collect();
    numbers.unwrap_or_else(|| panic!("{}", text(run)))
}

/// A tree as `movable` makes it, with a twin of b beside it, and the programs.
fn flipping() -> Host {
    let host = Host::new();
    movable(&host);
    host.caller_dir("os/a");
    host.caller_dir("os/a/m");
    host.compile("flip", FLIP);
    host.compile("os/peek", PEEK);
    host
}

#[test]
fn a_mountpoint_is_never_uncovered_while_the_way_there_opens_and_closes() {
    let host = flipping();
    assert_never_read(&host, "chmod $AT/b", "run", "$AT");
    assert_never_read(&host, "chmod $AT/b", "-r $AT build", "");
}

#[test]
fn a_mountpoint_is_never_uncovered_while_the_way_there_is_exchanged() {
    let host = flipping();
    assert_never_read(&host, "exchange $AT/a $AT/b", "run", "$AT");
    assert_never_read(&host, "exchange $AT/a $AT/b", "-r $AT run", "");
    assert_never_read(
        &host,
        "exchange $AT/a $AT/b",
        "-m $AT $DIR/new run",
        "$DIR/new",
    );
}

/// Attack: in a user namespace the caller has all capabilities over a copy of the mounts.
#[test]
fn a_user_namespace_inside_cannot_undo_the_covers() {
    let host = Host::new();
    let at = host.busybox_rootfs("os").join("data");
    lay_bait(&host, &at);
    let setup = [
        "mount -t tmpfs -o mode=1777 tmpfs $AT/own",
        "mount --bind $AT/other $AT/file",
    ];
    let attacks = |root: &str, root_writable: &str| {
        format!(
            "export PLACE={root}/own
            mount -t tmpfs tmpfs /mnt && umount /mnt && echo armed || echo disarmed
            try() {{ \"$@\" 2>/dev/null && echo \"$*\" || :; }}
            try umount $PLACE; try umount -l $PLACE; try umount {root}/file; try umount -l /
            {root_writable} || try mount -o remount,bind,rw /
            try mount -o remount,bind,suid /; try mount -o remount,bind,dev /
            try mount -o remount,bind,rw $PLACE; try mount -o remount,rw $PLACE
            try mount -o remount,bind,rw /dev; try mount --bind / /mnt; try mount --move $PLACE /mnt
            mount --rbind / /mnt 2>/dev/null || :
            grep -rlsF $BAIT $PLACE /mnt$PLACE {root}/file /mnt{root}/file || :
            try touch $PLACE/new; try touch {root}/own/new; try touch /dev/new"
        )
    };
    for (words, root) in [
        ("run", "$AT"),
        ("run $SD run", "$AT"),
        ("-r $DIR/os run", "/data"),
        ("-r $DIR/os build", "/data"),
    ] {
        let is_build = words.ends_with("build");
        let script = attacks(root, if is_build { "true" } else { "false" });
        // Outside the caller has the same weapons, and no use of them either.
        let outside =
            "unshare -Urm sh -c 'mount -t tmpfs tmpfs /mnt && umount /mnt && echo armed ||
            echo disarmed' 2>/dev/null || echo disarmed";
        let outside = on(&host, &at, &setup, outside);
        let inside =
            format!("$SD {words} unshare -Urm sh -c '{script}' 2>/dev/null || echo disarmed");
        let inside = on(&host, &at, &setup, &inside);
        assert_eq!(out(&inside), out(&outside), "{words}");
        let inside =
            format!("$SD {words} unshare -Urm sh -c '{script}' 2>/dev/null || echo disarmed");
        let inside = on(
            &host,
            &at,
            &setup[2..],
            &inside.replace("$PLACE /mnt$", "$PLACE $"),
        );
        let is_armed = out(&outside) == "armed\n";
        assert_eq!(
            out(&inside).contains("/bait\n"),
            is_armed,
            "the bait is not there: {words}"
        );
    }
}

/// Attack: the caller may look into the root directory of their own processes from outside.
#[test]
fn what_is_covered_is_not_seen_from_outside_through_proc_either() {
    let host = Host::new();
    let at = host.path("data");
    lay_bait(&host, &at);
    let script = "mkfifo $DIR/sync/up $DIR/sync/go
        exec 3<>$DIR/sync/up 4<>$DIR/sync/go
        rm $DIR/sync/up $DIR/sync/go
        timeout 20 $SD $WORDS sh -c 'echo up >&3; read -r line <&4' &
        read -r line <&3
        for root in /proc/[0-9]*/root; do
            grep -rlsF $BAIT $root$AT/own $root$AT/file 2>/dev/null | sed 's/.*/found/' || :
        done
        echo go >&4; wait";
    host.caller_dir("sync");
    let setup = [
        "mount -t tmpfs tmpfs $AT/own",
        "mount --bind $AT/other $AT/file",
    ];
    for words in ["run", "build", "run $SD run"] {
        let script = script.replace("$WORDS", words);
        assert_eq!(out(&on(&host, &at, &setup, &script)), "", "{words}");
        let run = on(&host, &at, &setup[2..], &script);
        assert!(
            out(&run).starts_with("found\nfound\n"),
            "the bait is not there"
        );
    }
}

/// A mount namespace in which `/` is shared, as systemd makes it, kept by a process that only waits.
struct Peer(Child);

impl Peer {
    fn new() -> Self {
        let mut peer = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "/bin/sh", "-euc"])
            .arg("mount --make-rshared /; echo ready; exec sleep 60")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = peer.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(peer)
    }

    /// A command in a new mount namespace whose mounts are peers of this one's.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.0.id()))
            .args(["--", "unshare", "--mount", "--propagation", "unchanged"])
            .current_dir("/");
        command
    }

    fn mounts(&self) -> String {
        mounts_of(self.0.id())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mounts_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap()
}

/// Attack: a mount made below a shared mount appears in all of its peers.
#[test]
fn nothing_that_selfdock_mounts_appears_in_a_shared_tree() {
    let host = Host::new();
    host.busybox_rootfs("os");
    host.caller_dir("own");
    host.root_dir("new", 0o755);
    host.root_dir("covered", 0o755);
    host.root_file("covered/file", 0o644, "");
    let peer = Peer::new();
    // Power: what is mounted in the one namespace does appear in the other.
    let before = peer.mounts();
    let shared = peer
        .enter()
        .args(["/bin/sh", "-euc"])
        .arg("mount -t tmpfs tmpfs $DIR/new; cmp -s /proc/self/mountinfo /proc/$PEER/mountinfo || grep -c $DIR/new /proc/$PEER/mountinfo; umount $DIR/new")
        .env("DIR", host.path("").to_str().unwrap().trim_end_matches('/'))
        .env("PEER", peer.0.id().to_string())
        .output()
        .unwrap();
    assert_eq!(out(&shared), "1\n", "the namespaces are not peers");
    assert_eq!(peer.mounts(), before);

    let all = "-m $DIR/own $DIR/new -t size=4k $DIR/covered -v /usr /mnt";
    for (words, starts) in [
        ("run", true),
        ("build", true),
        (all, true),
        ("-r $DIR/os run", true),
        ("-r $DIR/os -v $DIR/own /mnt build", true),
        ("run $SD build $SD run", true),
        ("-m $DIR/own /selfdock-test/missing run", false),
        ("-m $DIR/own $DIR/new -m $DIR/own /proc/self run", false),
        ("-t size=4k $DIR/new -m $DIR/own // build", false),
        ("-r $DIR/own run", false),
        ("-C /selfdock-test/missing run", false),
        ("run $SD -m $DIR/own /selfdock-test/missing run", false),
    ] {
        let words = words.replace(all, &format!("{all} run"));
        let words = words
            .replace("$SD", host.program().to_str().unwrap())
            .replace(
                "$DIR",
                host.path("").to_str().unwrap().trim_end_matches('/'),
            );
        let id = host.uid().to_string();
        let mut child = peer
            .enter()
            .args([
                "setpriv",
                "--reuid",
                &id,
                "--regid",
                &id,
                "--clear-groups",
                "--",
            ])
            .args([
                "/bin/sh",
                "-c",
                "echo ready; read line; \"$@\"; echo $?; read line",
                "sh",
            ])
            .arg(host.program())
            .args(words.split(' '))
            .args([
                "/bin/sh",
                "-c",
                "echo up; read line; exec grep -c -e ' shared:' -e ' master:' /proc/self/mountinfo",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut expect = |expected: &str| {
            assert_eq!(lines.next().unwrap().unwrap(), expected, "{words}");
        };
        expect("ready");
        let own = mounts_of(child.id());
        assert_ne!(own, before, "no other namespace");
        let mut assert_same = |moment: &str| {
            assert_eq!(peer.mounts(), before, "{moment}: {words}");
            assert_eq!(mounts_of(child.id()), own, "{moment}: {words}");
            writeln!(stdin).unwrap();
        };
        assert_same("before");
        if starts {
            expect("up");
            assert_same("during");
            expect("0"); // lines that tell of propagation
            expect("1"); // the status of grep
        } else {
            expect("124");
        }
        assert_same("after");
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(mounts(), mounts_of(std::process::id()));
}

/// Everything in a directory: names, owners, modes, times, links, and which inode it is.
fn snapshot(directory: &Path) -> String {
    let find = Command::new("find")
        .arg(directory)
        .args(["-printf", "%p %i %U:%G %m %s %T@ %C@ %l\n"])
        .output()
        .unwrap();
    out(&find).to_owned()
}

/// A root filesystem with links of every direction, and a source to be mapped.
fn linked(host: &Host) -> PathBuf {
    let rootfs = host.busybox_rootfs("os");
    for directory in ["os/srv", "os/run", "os/var", "source"] {
        host.caller_dir(directory);
    }
    host.caller_file("source/file", 0o644, "content\n");
    for (name, destination) in [
        ("link", "/srv"),
        ("up", "../../../../../../srv"),
        ("round", "/link/../up"),
        ("etcetera", "/etc"),
        ("top", "/"),
        ("loop", "/loop"),
        ("gone", "/missing"),
        ("var/run", "/run"),
    ] {
        symlink(destination, rootfs.join(name)).unwrap();
    }
    rootfs
}

/// Attack: an absolute link in a root filesystem leads to the host's directory of that name.
#[test]
fn a_target_is_looked_up_below_the_root_filesystem() {
    let host = Host::new();
    let rootfs = linked(&host);
    let (before, table) = (snapshot(&rootfs), mounts());
    for (target, place) in [
        ("/srv", "/srv"),
        ("/link", "/srv"),
        ("/up", "/srv"),
        ("/round", "/srv"),
        ("//srv", "/srv"),
        ("/../../srv", "/srv"),
        ("/./srv/", "/srv"),
        ("/srv/../srv", "/srv"),
        ("/top/srv", "/srv"),
        ("/top/top/link/../link", "/srv"),
        ("/var/run", "/run"),
        ("/etcetera", "/etc"),
    ] {
        for action in ["run", "build"] {
            let line = format!("-r $DIR/os -m $DIR/source {target} {action} /bin/sh -euc");
            let mut words: Vec<String> = line.split(' ').map(|word| expand(&host, word)).collect();
            words.push(format!(
                "cat {place}/file; grep -c ' {place} ' /proc/self/mountinfo"
            ));
            let run = host.run(&words);
            assert_eq!(out(&run), "content\n1\n", "{target}");
            assert_eq!(
                (snapshot(&rootfs), mounts()),
                (before.clone(), table.clone()),
                "{target}"
            );
        }
    }
}

fn expand(host: &Host, word: &str) -> String {
    let dir = host.path("");
    word.replace("$DIR", dir.to_str().unwrap().trim_end_matches('/'))
}

#[test]
fn a_target_that_cannot_be_is_refused_and_nothing_is_changed() {
    let host = Host::new();
    let rootfs = linked(&host);
    host.root_dir(rootfs.join("closed"), 0o700);
    host.root_dir(rootfs.join("closed/in"), 0o755);
    let (before, table) = (snapshot(&rootfs), mounts());
    for (target, reason) in [
        ("/", "the target is the root directory"),
        ("//", "the target is the root directory"),
        ("/.", "the target is the root directory"),
        ("/..", "the target is the root directory"),
        ("/srv/..", "the target is the root directory"),
        ("/link/..", "the target is the root directory"),
        ("/top", "the target is the root directory"),
        ("/top/../..", "the target is the root directory"),
        ("/proc", "the target is in /proc"),
        ("/proc/self", "the target is in /proc"),
        ("/proc/self/attr", "the target is in /proc"),
        ("/proc/sys", "the target is in /proc"),
        ("/dev/fd/0", "Too many symbolic links encountered"),
        ("/proc/self/cwd", "Too many symbolic links encountered"),
        ("/proc/self/root/srv", "Too many symbolic links encountered"),
        ("/loop", "Too many symbolic links encountered"),
        ("/missing", "No such file or directory"),
        ("/srv/missing", "No such file or directory"),
        ("/gone", "No such file or directory"),
        ("/tmp/missing", "No such file or directory"),
        ("/closed/in", "Permission denied"),
        ("/bin/sh", "Not a directory"),
        ("/bin/sh/", "Not a directory"),
        ("/dev/null", "Not a directory"),
    ] {
        for (option, action) in [("-m", "run"), ("-v", "build")] {
            let line =
                format!("-r $DIR/os {option} $DIR/source {target} {action} /bin/echo started");
            let run = host.run_line(&line);
            assert_ended(&run, host::CANNOT);
            let source = host.path("source");
            let message = format!("selfdock: cannot map {source:?} on \"{target}\": {reason}\n");
            let stderr = String::from_utf8_lossy(&run.stderr);
            assert!(stderr.starts_with(&message), "{}", text(&run));
            assert!(run.stdout.is_empty(), "{}", text(&run));
            assert_eq!(
                (snapshot(&rootfs), mounts()),
                (before.clone(), table.clone()),
                "{target}"
            );
        }
    }
}

/// Attack: the links are where selfdock's own mounts shall be.
#[test]
fn own_mounts_stay_in_the_root_filesystem_or_are_refused() {
    let host = Host::new();
    let rootfs = linked(&host);
    for (name, destination, expected) in [
        ("dev", "/etc", Ok("/etc")),
        ("dev", "../../../etc", Ok("/etc")),
        ("proc", "/run", Ok("/run")),
        ("tmp", "/var/run", Ok("/run")),
        ("tmp", "/srv/../up", Ok("/srv")),
        (
            "dev",
            "/",
            Err("cannot mount a tmpfs on \"/dev\": the target is the root directory"),
        ),
        (
            "proc",
            "..",
            Err("cannot mount a proc on \"/proc\": the target is the root directory"),
        ),
        (
            "tmp",
            "../../..",
            Err("cannot mount a tmpfs on \"/tmp\": the target is the root directory"),
        ),
        (
            "dev",
            "/missing",
            Err("cannot mount a tmpfs on \"/dev\": No such file or directory"),
        ),
        (
            "proc",
            "/bin/sh",
            Err("cannot mount a proc on \"/proc\": Not a directory"),
        ),
        (
            "proc",
            "/tmp",
            Err("cannot mount a tmpfs on \"/tmp\": the target is in /proc"),
        ),
        (
            "tmp",
            "/proc",
            Err("cannot mount a tmpfs on \"/tmp\": the target is in /proc"),
        ),
        (
            "tmp",
            "/proc/self/cwd",
            Err("cannot mount a tmpfs on \"/tmp\": "),
        ),
        (
            "tmp",
            "/loop",
            Err("cannot mount a tmpfs on \"/tmp\": Too many symbolic links encountered"),
        ),
    ] {
        let own = rootfs.join(name);
        fs::remove_dir(&own).unwrap();
        symlink(destination, &own).unwrap();
        let (before, table) = (snapshot(&rootfs), mounts());
        for action in ["run", "build"] {
            let line =
                format!("-r $DIR/os {action} /bin/busybox cat /{name}/../run/self/mountinfo");
            let line = match name {
                "proc" => line.replace("/proc/../run", "/proc"),
                _ => line.replace(&format!("/{name}/../run"), "/proc"),
            };
            let run = host.run_line(&line);
            match expected {
                Ok(place) => {
                    let there = format!(" {place} ");
                    assert!(
                        out(&run).contains(&there),
                        "{name} {destination}: {}",
                        text(&run)
                    );
                    assert!(
                        !out(&run).contains(&format!(" /{name} ")),
                        "{name}: {}",
                        text(&run)
                    );
                }
                Err(message) => {
                    assert_ended(&run, host::CANNOT);
                    let message = format!("selfdock: {message}");
                    let stderr = String::from_utf8_lossy(&run.stderr);
                    assert!(
                        stderr.starts_with(&message),
                        "{name} {destination}: {}",
                        text(&run)
                    );
                }
            }
            assert_eq!(
                (snapshot(&rootfs), mounts()),
                (before.clone(), table.clone()),
                "{name}"
            );
        }
        fs::remove_file(&own).unwrap();
        host.caller_dir(&own);
    }
}

/// Where the root directory of the process is not the top of what is mounted there.
const AS_IN_A_CHROOT: &str = "cannot make a user namespace: unshare: Operation not permitted; \
     and selfdock is not installed set-user-id root\n\
     hint: a filter, a security module or a chroot may be in the way";

/// Prints its effective user id.
const EUID: &str = "
    #include <stdio.h>
    #include <unistd.h>
    int main(void) { return printf(\"%d\\n\", geteuid()) < 0; }";

/// Attack: `/..` leads to the top of what is stacked on the root directory. If the host has a mount
/// over its root, the old root has one, and taking away the top is not enough: what is left there
/// is writable, and set-user-id programs are what they are.
#[test]
fn what_is_mounted_over_the_root_directory_is_no_way_out() {
    let host = Host::new();
    let weapon = host.compile("euid", EUID);
    host::set_mode(&weapon, 0o4755);
    let weapon = format!("/..{}", weapon.display());
    let outside = host.as_caller(&weapon).output().unwrap();
    assert_eq!(out(&outside), "0\n", "the weapon does not work");
    for setup in [
        "mount --bind / /",
        "mount --rbind / / && mount -t tmpfs tmpfs /..",
    ] {
        for words in ["run", "build", "run $SD run", "-r / run", "-r // run"] {
            let run = on(
                &host,
                &host.path("."),
                &[setup],
                &format!("$SD {words} {weapon}"),
            );
            if Install::is_rootless() {
                // To the kernel this is a chroot, in which nobody makes user namespaces.
                assert_refused(&run, AS_IN_A_CHROOT);
                continue;
            }
            assert_eq!(out(&run), format!("{}\n", host.uid()), "{setup}: {words}");
            let roots = "test / -ef /.. && grep -c \" / / \" /proc/self/mountinfo";
            let script = format!("$SD {words} sh -c '{roots}'");
            let run = on(&host, &host.path("."), &[setup], &script);
            assert_eq!(out(&run), "1\n", "{setup}: {words}");
        }
    }
}

/// Attack: to the kernel a procfs with `subset=pid` is a whole one, so that a user namespace that
/// sees it may mount another with all its parts.
#[test]
fn a_user_namespace_inside_cannot_mount_what_is_hidden_in_proc() {
    let host = Host::new();
    let mount =
        "unshare -Urmpf sh -c 'mount -t proc proc /mnt 2>/dev/null && ls /mnt/fs' || echo no";
    let run = on(
        &host,
        &host.path("."),
        &[""; 0],
        &mount.replace("ls", "ls -d"),
    );
    assert_eq!(out(&run), "/mnt/fs\n", "user namespaces do not work here");
    let setup = ["mount -t tmpfs tmpfs /proc/fs"];
    let refused = on(&host, &host.path("."), &setup, mount);
    assert_eq!(out(&refused), "no\n", "the kernel does not mind");
    for words in ["run", "run $SD run"] {
        let inside = format!("MOUNT=\"{mount}\" $SD {words} sh -c 'eval \"$MOUNT\"'");
        let run = on(&host, &host.path("."), &setup, &inside);
        if Install::is_rootless() {
            // Nor can selfdock, in a user namespace of its own.
            assert_refused(
                &run,
                "cannot make a proc filesystem: Operation not permitted\n\
                 hint: an outer container hides parts of /proc: docker run --security-opt systempaths=unconfined",
            );
        } else {
            assert_eq!(out(&run), "no\n", "{words}");
        }
    }
}

/// Attack: somebody else's mount, which everybody's selfdock looks for, is where it cannot be found.
#[test]
fn nobody_keeps_others_from_starting_by_where_their_mounts_are() {
    let host = Host::new();
    let at = host.root_dir("at", 0o755);
    let theirs = format!(
        "mkdir -p $AT/theirs/way/m && chown -R {0}:{0} $AT/theirs && mount -t tmpfs tmpfs $AT/theirs/way/m",
        host.other_uid()
    );
    let moved = "python3 -c '
import os
os.chdir(os.environ[\"AT\"] + \"/theirs\")
for _ in range(20):
    os.mkdir(\"n\" * 250)
    os.chdir(\"n\" * 250)
os.rename(os.environ[\"AT\"] + \"/theirs/way\", \"way\")'";
    // What is mounted here has no name any more.
    let removed = "mkdir $AT/theirs/source $AT/theirs/place && \
        mount --bind $AT/theirs/source $AT/theirs/place && rmdir $AT/theirs/source";
    for odd in [moved, removed] {
        for words in ["run", "build", "-m /usr /mnt run", "--privilege userns run"] {
            let script = format!("$SD {words} echo works");
            let run = on(&host, &at, &[&theirs, odd], &script);
            assert_eq!(out(&run), "works\n", "{odd}: {words}");
            fs::remove_dir_all(at.join("theirs")).unwrap();
        }
    }
}

/// Attack: the server of somebody else's mount, which is to be covered, keeps whoever mounts something
/// there waiting, beyond the reach of SIGKILL.
#[test]
fn a_server_of_somebody_elses_keeps_nobody_from_starting() {
    let host = Host::new();
    let at = host.root_dir("at", 0o755);
    set_mode(&host.root_dir("scratch", 0o777), 0o777);
    let server = host.compile("fuse", include_str!("attacks/fuse.c"));
    let other = host.other_uid();
    let mounted = format!(
        "mkdir -p $AT/theirs/m && chown -R {other}:{other} $AT/theirs && \
         {} mute {other} others $AT/theirs/m /bin/true $DIR/scratch/log",
        server.display()
    );
    let held = format!(
        "{{ setpriv --reuid {other} --regid {other} --clear-groups -- \
             mkdir $AT/theirs/m/new >/dev/null 2>&1 & }} && \
         until grep -qs asked $DIR/scratch/log; do sleep 0.01; done"
    );
    let script = "ls $AT/theirs/m/other >/dev/null 2>&1 & sleep 0.2
        grep -q '^State:.D' /proc/$!/status && echo waits
        for words in run build 'run $SD run' '--privilege userns run'; do
            eval timeout -s KILL 10 $SD $words echo works || echo $?
        done
        : >$DIR/scratch/log.answer; wait";
    let run = on(&host, &at, &[mounted, held], script);
    assert_eq!(out(&run), "waits\nworks\nworks\nworks\nworks\n");
}

/// Not mended: the kernel lets a mount go whose mountpoint is removed where it is none. SECURITY.md
/// names it, since where user namespaces are off nobody else brings the caller there.
#[test]
fn a_mount_that_comes_later_is_held_by_no_instance_as_by_no_user_namespace() {
    let host = Host::new();
    host.caller_dir("own");
    let script = r#"
        caller="setpriv --reuid $ID --regid $ID --clear-groups --"
        $caller mkdir $DIR/own/share && mkfifo $DIR/go
        $caller $WITH sh -c "echo up; read line; rmdir $THERE/share && echo removed" <>$DIR/go >$DIR/said 2>&1 &
        until grep -qs up $DIR/said; do sleep 0.01; done
        mount -t tmpfs tmpfs $DIR/own/share
        $caller rmdir $DIR/own/share 2>/dev/null || echo busy
        echo go >$DIR/go
        wait $!
        tail -n 1 $DIR/said; grep -c " $DIR/own/share " /proc/self/mountinfo || rm $DIR/go $DIR/said"#;
    let [own, program] = [host.path("own"), host.program()].map(|path| path.display().to_string());
    for (with, there) in [
        (format!("{program} -v {own} /mnt run"), "/mnt"),
        ("unshare -Urm".to_owned(), own.as_str()),
    ] {
        let mut command = host.with_own_mounts(script);
        let run = command
            .env("WITH", with)
            .env("THERE", there)
            .output()
            .unwrap();
        assert_eq!(out(&run), "busy\nremoved\n0\n", "{there}");
    }
}

/// What is stacked on a mountpoint hides it no less than a single mount.
#[test]
fn nothing_that_is_stacked_on_a_mountpoint_shows() {
    let host = Host::new();
    let at = host.root_dir("at", 0o755);
    host.root_dir("at/m", 0o755);
    host.root_file("at/m/bait", 0o644, BAIT);
    let setup = [
        "mount -t tmpfs tmpfs $AT/m",
        "echo one > $AT/m/file",
        "mount -t tmpfs -o mode=777 tmpfs $AT/m",
        "echo two > $AT/m/file",
    ];
    let seen = on(&host, &at, &setup, "ls $AT/m");
    assert_eq!(out(&seen), "file\n", "fixture is closed to the caller");
    for words in ["run", "build", "run $SD run", "build $SD build"] {
        let list = on(&host, &at, &setup, &format!("$SD {words} ls -A $AT/m"));
        assert_eq!(out(&list), "", "{words}");
        let write = on(
            &host,
            &at,
            &setup,
            &format!("$SD {words} touch $AT/m/new || ls $AT/m"),
        );
        assert_eq!(
            String::from_utf8_lossy(&write.stdout),
            "file\n",
            "{words}: {}",
            text(&write)
        );
    }
}

/// A cover looks the same whatever the caller's umask: it is an empty directory, not a closed one.
#[test]
fn a_cover_does_not_take_its_mode_from_the_callers_umask() {
    let host = Host::new();
    let at = host.root_dir("at", 0o755);
    host.root_dir("at/m", 0o755);
    host.root_file("at/m/bait", 0o644, BAIT);
    let setup = ["mount -t tmpfs tmpfs $AT/m"];
    for umask in ["000", "022", "777"] {
        for words in ["run", "build"] {
            let script = format!("umask {umask}; $SD {words} sh -c 'stat -c %a $AT/m; umask'");
            let run = on(&host, &at, &setup, &script);
            assert_eq!(out(&run), format!("755\n0{umask}\n"), "{words}");
        }
    }
}

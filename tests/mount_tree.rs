//! What an instance shows: which mounts with which restrictions, and what can be written, opened
//! and executed on them.

mod host;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, fchown, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use host::{CANNOT, Host, Install, PLAIN, assert_ended, assert_refused, out, text};

/// Runs the shell script `script` as the caller, on a host where root ran each line of `setup`
/// before. `$SD` is selfdock, `$DIR` this test's directory. The mount table of that host must be
/// the same at the end, and the caller has a look.
fn on(host: &Host, setup: &str, script: &str) -> Output {
    let lines = setup.lines().map(str::trim).filter(|line| !line.is_empty());
    let setup = [":"].into_iter().chain(lines).collect::<Vec<_>>();
    let watched = "table=$(cat /proc/self/mountinfo)
        trap '[ \"$table\" = \"$(cat /proc/self/mountinfo)\" ] || echo the mount table has changed >&2' EXIT
        eval \"$SCRIPT\"";
    host.on_host(&setup.join(" && "), "/bin/sh")
        .args(["-euc", watched])
        .env("SCRIPT", script)
        .env("SD", host.program())
        .output()
        .unwrap()
}

/// Runs the shell script `script` as the caller on this host.
fn here(host: &Host, script: &str) -> Output {
    host.as_caller("/bin/sh")
        .args(["-euc", script])
        .env("SD", host.program())
        .env("DIR", host.path(""))
        .output()
        .unwrap()
}

/// One line of a mount table.
#[derive(Debug)]
struct Mount<'a> {
    id: &'a str,
    parent: &'a str,
    root: &'a str,
    place: &'a str,
    flags: BTreeSet<&'a str>,
    tags: Vec<&'a str>,
    kind: &'a str,
    options: &'a str,
}

/// The lines of proc_pid_mountinfo(5).
fn table(text: &str) -> Vec<Mount<'_>> {
    let parse = |line| {
        let words: Vec<&str> = str::split(line, ' ').collect();
        let separator = words.iter().position(|word| *word == "-").unwrap();
        Mount {
            id: words[0],
            parent: words[1],
            root: words[3],
            place: words[4],
            flags: words[5].split(',').collect(),
            tags: words[6..separator].to_vec(),
            kind: words[separator + 1],
            options: words[separator + 3],
        }
    };
    text.lines().map(parse).collect()
}

/// The mount that is seen on `place`: of several, the one with no other on it. The order of the
/// table says nothing.
#[track_caller]
fn at<'a>(mounts: &'a [Mount<'a>], place: &str) -> &'a Mount<'a> {
    let there = || mounts.iter().filter(|mount| mount.place == place);
    let top = there().find(|mount| there().all(|other| other.parent != mount.id));
    top.unwrap_or_else(|| panic!("nothing is mounted on {place}: {mounts:#?}"))
}

/// Each mount in one line: where, how it is restricted, and for a whole filesystem of which kind.
fn shape(text: &str) -> Vec<String> {
    let line = |mount: &Mount<'_>| {
        let known = ["ro", "rw", "nosuid", "nodev", "noexec"];
        let flags: Vec<&str> = known
            .into_iter()
            .filter(|flag| mount.flags.contains(flag))
            .collect();
        let is_whole = mount.root == "/" && mount.place != "/";
        let kind = if is_whole { mount.kind } else { "" };
        format!("{} {} {kind}", mount.place, flags.join(","))
            .trim_end()
            .to_owned()
    };
    let mut lines: Vec<String> = table(text).iter().map(line).collect();
    lines.sort();
    lines
}

/// The shape of what is seen of an instance whose selfdock is at `program`, with a root that is `ro` or
/// `rw`: without the host's mounts, which come along in a user namespace and lie beneath.
fn golden(program: &Path, root: &str) -> Vec<String> {
    let mut lines = vec![
        format!("/ {root},nosuid,nodev"),
        "/dev ro,nosuid,noexec tmpfs".to_owned(),
        "/dev/full rw,nosuid,noexec".to_owned(),
        "/dev/null rw,nosuid,noexec".to_owned(),
        "/dev/pts rw,nosuid,noexec devpts".to_owned(),
        "/dev/random rw,nosuid,noexec".to_owned(),
        "/dev/shm rw,nosuid,nodev tmpfs".to_owned(),
        "/dev/tty rw,nosuid,noexec".to_owned(),
        "/dev/urandom rw,nosuid,noexec".to_owned(),
        "/dev/zero rw,nosuid,noexec".to_owned(),
        "/proc rw,nosuid,nodev,noexec proc".to_owned(),
        "/tmp rw,nosuid,nodev tmpfs".to_owned(),
        format!(
            "{} ro,{}nodev",
            program.display(),
            Install::wanted().choose("", "", "nosuid,")
        ),
    ];
    lines.sort();
    lines
}

fn cover_of_sys() -> Option<String> {
    Install::is_rootless().then(|| "/sys ro,nosuid,nodev,noexec".to_owned())
}

/// The same of an instance of the host's own root, if that is `PLAIN`. In a user namespace /sys has a
/// cover; and whatever is not seen must lose its effect as well.
#[track_caller]
fn assert_is_of_plain_root(mounts: &str, own: &Path) {
    let mut expected = golden(own, "ro");
    expected.extend(cover_of_sys());
    expected.sort();
    let seen = host::table::seen(mounts);
    assert_eq!(shape(&seen.join("\n")), expected);
    let all = table(mounts);
    assert_eq!(all.len() > seen.len(), Install::is_rootless());
    let has_tags = |mount: &&Mount<'_>| !mount.tags.is_empty();
    assert_eq!(all.iter().filter(has_tags).count(), 0, "{mounts}");
    let is_seen = |mount: &Mount<'_>| {
        seen.iter()
            .any(|line| line.starts_with(&format!("{} ", mount.id)))
    };
    for hidden in all.iter().filter(|mount| !is_seen(mount)) {
        assert!(
            ["nosuid", "nodev"]
                .iter()
                .all(|flag| hidden.flags.contains(flag)),
            "{hidden:?}"
        );
    }
}

/// Everything in a directory: names, owners, modes, times, links, and which inode it is.
fn snapshot(directory: &Path) -> String {
    let find = std::process::Command::new("find")
        .arg(directory)
        .args(["-printf", "%p %i %U:%G %m %s %T@ %C@ %l\n"])
        .output()
        .unwrap();
    out(&find).to_owned()
}

#[test]
fn an_instance_of_the_hosts_root_has_exactly_these_mounts() {
    let host = Host::new();
    let run = on(&host, PLAIN, "$SD run cat /proc/self/mountinfo");
    assert_is_of_plain_root(out(&run), &host.program());
}

#[test]
fn an_instance_of_another_root_filesystem_has_exactly_these_mounts() {
    let host = Host::new();
    host.busybox_rootfs("os");
    for (action, root) in [("run", "ro"), ("build", "rw")] {
        let script = format!("$SD --rootfs $DIR/os {action} cat /proc/self/mountinfo");
        let run = on(&host, PLAIN, &script);
        let expected = golden(Path::new("/dev/selfdock"), root);
        assert_eq!(shape(out(&run)), expected, "{action}");
    }
}

#[test]
fn without_nesting_an_instance_has_exactly_these_mounts_but_selfdocks_own_file() {
    let host = Host::new();
    host.busybox_rootfs("os");
    for (options, own, root) in [
        ("run", &*host.program(), "ro"),
        ("--rootfs $DIR/os run", Path::new("/dev/selfdock"), "ro"),
        ("--rootfs $DIR/os build", Path::new("/dev/selfdock"), "rw"),
    ] {
        let script = format!("$SD --no-nest {options} cat /proc/self/mountinfo");
        let run = on(&host, PLAIN, &script);
        let mut expected = golden(own, root);
        let own = format!("{} ", own.display());
        expected.retain(|line| !line.starts_with(&own));
        if options == "run" {
            expected.extend(cover_of_sys());
            expected.sort();
        }
        let seen = host::table::seen(out(&run)).join("\n");
        assert_eq!(shape(&seen), expected, "{options}");
    }
}

/// The covers are for the host's mounts alone: the own ones must be seen, and work.
#[test]
fn the_own_mounts_work_where_others_must_be_covered() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("os");
    host.caller_dir(rootfs.join("covered"));
    let covered = "mount -t tmpfs -o mode=1777 tmpfs $DIR/os/covered";
    let script = "echo x > /tmp/x && cat /tmp/x && echo y > /dev/shm/x && cat /dev/shm/x
        echo z > /dev/null && cat /proc/self/comm
        (: > $COVERED/x) 2>/dev/null || echo covered";
    for (tmp, setup) in [
        ("a mount", format!("{PLAIN}\n{covered}")),
        (
            "a mere directory",
            format!("{PLAIN}\numount -l /tmp\n{covered}"),
        ),
    ] {
        for options in ["run", "build", "-r $DIR/os run", "-r $DIR/os build"] {
            let place = match options.strip_prefix("-r") {
                Some(_) => "/covered",
                None => "$DIR/os/covered",
            };
            let line = format!("COVERED={place} $SD {options} sh -c '{script}'");
            let run = on(&host, &setup, &line);
            let expected = "x\ny\ncat\ncovered\n";
            assert_eq!(out(&run), expected, "{options}, /tmp is {tmp}");
        }
    }
}

#[test]
fn a_nested_instance_has_the_same_mounts_as_the_outer_one() {
    let host = Host::new();
    let run = on(
        &host,
        PLAIN,
        "$SD run $SD run $SD run cat /proc/self/mountinfo",
    );
    assert_is_of_plain_root(out(&run), &host.program());
}

/// It is what nesting rests on, and the one door through which a set-user-id bit has an effect.
#[test]
fn the_one_mount_that_is_not_nosuid_is_selfdocks_own_file() {
    let host = Host::new();
    host.busybox_rootfs("os");
    let own = fs::metadata(host.program()).unwrap();
    let program = host.program();
    for (options, place) in [
        ("run", program.to_str().unwrap()),
        ("build", program.to_str().unwrap()),
        ("run $SD run", program.to_str().unwrap()),
        ("-v /dev /dev run", program.to_str().unwrap()),
        ("-r $DIR/os run", "/dev/selfdock"),
        ("-r $DIR/os build /dev/selfdock build", "/dev/selfdock"),
    ] {
        let script = "cat /proc/self/mountinfo";
        let run = here(&host, &format!("$SD {options} {script}"));
        let mounts = table(out(&run));
        let open: Vec<_> = mounts
            .iter()
            .filter(|mount| !mount.flags.contains("nosuid"))
            .collect();
        let (count, owner) = Install::wanted().choose((1, 0), (1, 0), (0, 65534));
        assert_eq!(open.len(), count, "{options}: {open:#?}");
        assert!(open.iter().all(|mount| mount.place == place), "{options}");
        let own_mount = at(&mounts, place);
        assert!(
            own_mount.root.ends_with("/bin/selfdock"),
            "{options}: {own_mount:?}"
        );
        assert!(
            ["ro", "nodev"]
                .iter()
                .all(|flag| own_mount.flags.contains(flag)),
            "{options}: {own_mount:?}"
        );
        let run = here(
            &host,
            &format!("$SD {options} stat -c '%d:%i %a %u' {place}"),
        );
        let mode = Install::wanted().mode();
        let expected = format!("{}:{} {mode:o} {owner}\n", own.dev(), own.ino());
        assert_eq!(out(&run), expected, "{options}");
    }
}

#[test]
fn nothing_of_the_hosts_other_mounts_is_there_unless_asked_for() {
    let host = Host::new();
    host.root_dir("home", 0o755);
    let setup = format!(
        "{PLAIN}
        mount -t tmpfs -o mode=1777 tmpfs $DIR/home
        echo visible > $DIR/home/file"
    );
    let script = "cat $DIR/home/file; $SD run sh -c 'ls -A /sys; ls -A $DIR/home'";
    let run = on(&host, &setup, script);
    assert_eq!(out(&run), "visible\n");
    let script = "$SD -m $DIR/home $DIR/home -m /sys /sys run sh -c 'cat $DIR/home/file; ls /sys'";
    let run = on(&host, &setup, script);
    assert!(out(&run).starts_with("visible\n") && out(&run).contains("kernel\n"));
}

#[test]
fn the_root_is_writable_in_build_alone_and_only_as_far_as_the_caller_may() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("os");
    host.root_dir(rootfs.join("roots"), 0o755);
    for (words, place, refusal) in [
        ("run", "", Some("Read-only file system")),
        ("build", "", None),
        ("build", "roots", Some("Permission denied")),
        ("build /dev/selfdock run", "", Some("Read-only file system")),
        ("run /dev/selfdock build", "", Some("Read-only file system")),
        ("build /dev/selfdock build", "", None),
    ] {
        let run = host.run_line(&format!("-r $DIR/os {words} /bin/touch /{place}/new"));
        let new = rootfs.join(place).join("new");
        match refusal {
            Some(refusal) => {
                assert_ended(&run, 1);
                assert!(text(&run).contains(refusal), "{words}: {}", text(&run));
                assert!(!new.exists(), "{words}");
            }
            None => {
                assert_eq!(out(&run), "", "{words}");
                assert_eq!(fs::metadata(&new).unwrap().uid(), host.uid(), "{words}");
                fs::remove_file(&new).unwrap();
            }
        }
    }
}

#[test]
fn the_hosts_own_root_is_writable_in_build_alone_and_only_as_far_as_the_caller_may() {
    let host = Host::new();
    let own = host.caller_dir("own");
    for (words, place, refusal) in [
        ("run", "own", Some("Read-only file system")),
        ("build", "own", None),
        ("build", "bin", Some("Permission denied")),
        ("build $SD run", "own", Some("Read-only file system")),
        ("run $SD build", "own", Some("Read-only file system")),
        (
            "run $SD run $SD build $SD build",
            "own",
            Some("Read-only file system"),
        ),
        ("build $SD build", "own", None),
    ] {
        let run = host.run_line(&format!("{words} /bin/touch $DIR/{place}/new"));
        let new = own.join("new");
        match refusal {
            Some(refusal) => {
                assert_ended(&run, 1);
                assert!(text(&run).contains(refusal), "{words}: {}", text(&run));
                assert!(!new.exists() && !host.path("bin/new").exists(), "{words}");
            }
            None => {
                assert_eq!(out(&run), "", "{words}");
                fs::remove_file(&new).unwrap();
            }
        }
    }
}

/// The mounts below a source come along, and are no more writable than the source.
#[test]
fn a_vol_is_writable_as_far_as_the_caller_may_and_a_map_is_not_nor_what_is_mounted_below() {
    let host = Host::new();
    let source = host.caller_dir("source");
    host.caller_dir("source/sub");
    host.root_dir("source/roots", 0o755);
    host.root_dir("target", 0o755);
    let setup = "
        mount -t tmpfs -o mode=1777 tmpfs $DIR/source/sub
        mkdir -m 1777 $DIR/source/sub/deep
        mount -t tmpfs -o mode=1777 tmpfs $DIR/source/sub/deep";
    let touch = "for place in . roots sub sub/deep; do
            (: > $DIR/target/$place/new) 2>/dev/null && echo $place || :
        done; grep -c $DIR/target /proc/self/mountinfo";
    let script = "$SD $OPTION $DIR/source $DIR/target run sh -c \"$TOUCH\"
        ls $DIR/source/sub/deep $DIR/source/sub; ls $DIR/source";
    for (option, expected) in [
        ("--vol", ".\nsub\nsub/deep\n3\n"),
        ("--map", "3\n"),
        (
            "--map $DIR/source $DIR/source --vol",
            ".\nsub\nsub/deep\n3\n",
        ),
    ] {
        let script = script
            .replace("$OPTION", option)
            .replace("$TOUCH", &touch.replace('$', "\\$"));
        let run = on(&host, setup, &script);
        assert!(out(&run).starts_with(expected), "{option}: {}", text(&run));
        let is_vol = expected.starts_with('.');
        assert_eq!(source.join("new").exists(), is_vol, "{option}");
        // Twice on the mounts below, once in the directory itself.
        let made = out(&run).lines().filter(|line| *line == "new").count();
        assert_eq!(made, if is_vol { 3 } else { 0 }, "{option}: {}", text(&run));
        let _ = fs::remove_file(source.join("new"));
    }
}

#[test]
fn a_vol_of_the_hosts_own_usr_is_no_more_writable_than_outside() {
    let host = Host::new();
    let name = "/usr/selfdock-test";
    let run = host.run(["-v", "/usr", "/usr", "run", "/bin/touch", name]);
    assert_ended(&run, 1);
    assert!(text(&run).contains("Permission denied"), "{}", text(&run));
    let run = host.run(["-m", "/usr", "/usr", "run", "/bin/touch", name]);
    assert!(
        text(&run).contains("Read-only file system"),
        "{}",
        text(&run)
    );
    assert!(!Path::new(name).exists());
}

#[test]
fn within_an_instance_a_vol_gives_no_more_than_the_outer_instance_has() {
    let host = Host::new();
    host.caller_dir("own");
    host.root_dir("target", 0o755);
    let touch = "/bin/touch $DIR/target/new";
    for line in [
        "run $SD -v $DIR/own $DIR/target run",
        "-m $DIR/own $DIR/own run $SD -v $DIR/own $DIR/target build",
    ] {
        let run = host.run_line(&format!("{line} {touch}"));
        assert!(
            text(&run).contains("Read-only file system"),
            "{}",
            text(&run)
        );
    }
    let line = "-v $DIR/own $DIR/own run $SD -v $DIR/own $DIR/target run";
    assert_eq!(out(&host.run_line(&format!("{line} {touch}"))), "");
    assert!(host.path("own/new").exists());
}

#[test]
fn a_tmpfs_is_what_its_options_say() {
    let host = Host::new();
    let new = host.root_dir("new", 0o755);
    let size = "df -k --output=size $NEW | tail -n 1 | tr -d ' '";
    let mode = "stat -c '%a %u' $NEW";
    let owned = |mode| format!("{mode} {}\n", host.uid());
    let files = "for name in 1 2 3 4 5; do (: > $NEW/$name) 2>/dev/null && echo $name || :; done";
    let fill = "head -c 4096 /dev/zero > $NEW/x; (echo > $NEW/y) 2>/dev/null || echo full";
    let execute = "cp /bin/true $NEW && { $NEW/true 2>/dev/null; echo $?; }";
    for (options, script, expected) in [
        ("size=4k", size, "4\n"),
        ("size=4K", size, "4\n"),
        ("size=1", size, "4\n"),
        ("mode=700,size=1M", size, "1024\n"),
        ("mode=700,size=1M", mode, &owned("700")),
        ("mode=0", mode, &owned("0")),
        ("", mode, &owned("1777")),
        // The root directory is one of them.
        ("nr_inodes=4", files, "1\n2\n3\n"),
        ("size=4k", fill, "full\n"),
        ("exec", execute, "0\n"),
        ("", execute, "0\n"),
        ("noexec", execute, "126\n"),
    ] {
        // On a host where the caller may execute from a /tmp.
        let script = format!("NEW=$DIR/new $SD -t \"{options}\" $DIR/new run sh -c \"$SCRIPT\"")
            .replace("$SCRIPT", &script.replace('$', "\\$"));
        assert_eq!(out(&on(&host, PLAIN, &script)), expected, "{script}");
    }
    assert_eq!(fs::read_dir(&new).unwrap().count(), 0);
    let run = on(
        &host,
        PLAIN,
        "$SD -t '' $DIR/new run cat /proc/self/mountinfo",
    );
    let expected = format!("{} rw,nosuid,nodev tmpfs", new.display());
    assert!(shape(out(&run)).contains(&expected), "{}", text(&run));
}

#[test]
fn tmp_is_a_tmpfs_of_the_instances_own_for_everybody() {
    let host = Host::new();
    let script = "cp /bin/true /tmp/ && /tmp/true && echo $(stat -c %a /tmp) $(ls -A /tmp)";
    let run = on(
        &host,
        PLAIN,
        &format!("$SD run sh -c '{script}'; ls -A /tmp"),
    );
    assert_eq!(out(&run), "1777 true\n");
}

#[test]
fn tmp_is_the_hosts_if_mapped() {
    let host = Host::new();
    let script = "echo outer > /tmp/outer
        $SD -v /tmp /tmp run sh -c 'cat /tmp/outer; echo inner > /tmp/inner'
        cat /tmp/inner";
    assert_eq!(out(&on(&host, PLAIN, script)), "outer\ninner\n");
}

#[test]
fn tmp_is_another_tmpfs_if_asked_for() {
    let host = Host::new();
    let script = "$SD -t mode=700,size=8k /tmp run sh -c 'stat -c %a /tmp; df --output=size /tmp'";
    let run = on(&host, PLAIN, script);
    let words: Vec<_> = out(&run).split_whitespace().collect();
    assert_eq!((words.first(), words.last()), (Some(&"700"), Some(&"8")));
}

/// Where an administrator has forbidden it, selfdock is no way around.
#[test]
fn no_new_tmpfs_is_executable_where_the_callers_tmp_is_not() {
    let host = Host::new();
    host.root_dir("new", 0o755);
    let setup = format!("{PLAIN}\nmount -o remount,noexec /tmp");
    let script = "cp /bin/true /tmp/ && { /tmp/true 2>/dev/null || echo $?; }
        for place in /tmp /dev/shm $DIR/new; do
            $SD $OPTION -t '' $DIR/new run sh -c \"cp /bin/true $place/ && $place/true\" 2>/dev/null ||
                echo $?
        done";
    let outer = [
        "",
        "run $SD",
        "-t '' /tmp",
        "-t '' /tmp run $SD",
        // An outer instance's /tmp is of the caller's choice: one to execute from, but not to write to.
        "-m /usr /tmp run $SD",
        "-v /usr /tmp run $SD",
    ];
    for option in outer {
        let run = on(&host, &setup, &script.replace("$OPTION", option));
        assert_eq!(out(&run), "126\n126\n126\n126\n", "{option}");
    }
    // Where they can do so anyway.
    host.caller_dir("own");
    let script =
        "$SD -v $DIR/own /tmp run $SD run sh -c 'cp /bin/true /tmp && /tmp/true && echo yes'";
    assert_eq!(out(&on(&host, &setup, script)), "yes\n");
    let place = host.path("new");
    let run = on(&host, &setup, "$SD -t exec $DIR/new run true");
    let message = format!(
        "cannot mount a tmpfs on {place:?}: exec is refused, as nothing of the caller's can be executed in /tmp"
    );
    assert_refused(&run, &message);
    let run = on(
        &host,
        &setup,
        "$SD -m /usr /tmp run $SD -t exec $DIR/new run true",
    );
    assert_refused(&run, &message);
}

#[test]
fn the_devices_work_and_there_are_no_others() {
    let host = Host::new();
    let script = "echo x > /dev/null && cat /dev/null
        head -c 8 /dev/zero | tr '\\0' z && echo
        for name in random urandom; do head -c 8 /dev/$name | wc -c; done
        (echo > /dev/full) 2>/dev/null || echo full
        (: < /dev/tty) 2>/dev/null || echo no terminal
        for name in fd stdin stdout stderr ptmx; do readlink /dev/$name; done
        echo through | cat /dev/stdin && { echo out > /dev/stdout; } | cat
        echo $(ls /dev) and $(ls /dev/pts) and $(ls /dev/shm)
        for place in . null/x pts shm; do (: > /dev/$place/new) 2>/dev/null && echo $place || :; done";
    let expected = "zzzzzzzz\n8\n8\nfull\nno terminal\n/proc/self/fd\n/proc/self/fd/0\n\
        /proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\nthrough\nout\n\
        fd full null ptmx pts random shm stderr stdin stdout tty urandom zero and ptmx and\nshm\n";
    for words in ["run", "build", "run $SD run", "run $SD run $SD build"] {
        let line = format!("{words} /bin/sh -eu $DIR/script");
        let path = host.path("script");
        fs::write(path, script).unwrap();
        assert_eq!(out(&host.run_line(&line)), expected, "{words}");
    }
}

/// Baseline: the caller's own terminal, which stays the host's, is in the host's devpts.
#[test]
fn a_pseudo_terminal_can_be_made_inside_and_the_hosts_are_not_there() {
    let host = Host::new();
    let (_master, slave) = terminal(&host);
    let name = nix::unistd::ttyname(&slave).unwrap();
    host.compile(
        "pty",
        r#"
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <sys/stat.h>
        #include <unistd.h>
        int main(void) {
            char buffer[8] = "";
            struct stat stat;
            int master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
            if (master < 0 || grantpt(master) || unlockpt(master)) return perror("ptmx"), 1;
            int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
            if (slave < 0 || fstat(slave, &stat)) return perror("slave"), 1;
            if (write(slave, "hello", 5) != 5 || read(master, buffer, 5) != 5) return 2;
            printf("%s %o %s\n", ptsname(master), stat.st_mode & 07777, buffer);
            return 0;
        }"#,
    );
    for words in ["run", "build", "run $SD run"] {
        let run = host.run_line(&format!("{words} $DIR/pty"));
        assert_eq!(out(&run), "/dev/pts/0 620 hello\n", "{words}");
        let run = host.run_line(&format!("{words} /bin/ls -A /dev/pts"));
        assert_eq!(out(&run), "ptmx\n", "{words}: {}", name.display());
    }
}

/// A terminal of the caller's.
fn terminal(host: &Host) -> (File, OwnedFd) {
    let pty = nix::pty::openpty(None, None).unwrap();
    fchown(&pty.slave, Some(host.uid()), Some(host.uid())).unwrap();
    (pty.master.into(), pty.slave)
}

#[test]
fn the_console_is_the_callers_terminal() {
    let host = Host::new();
    for words in ["run", "build", "run $SD run", "run $SD build $SD run"] {
        let (mut master, slave) = terminal(&host);
        let device = nix::sys::stat::fstat(&slave).unwrap().st_rdev;
        let script = "name=$(tty) && echo $name $(stat -L -c %t:%T $name) && echo hello > $name
            (: > /dev/new) 2>/dev/null || ls /dev/console";
        fs::write(host.path("script"), script).unwrap();
        let words = words.replace("$SD", host.program().to_str().unwrap());
        let run = host
            .selfdock()
            .args(words.split(' '))
            .arg("/bin/sh")
            .arg(host.path("script"))
            .stdin(slave.try_clone().unwrap())
            .output()
            .unwrap();
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let expected = format!("/dev/console {major:x}:{minor:x}\n/dev/console\n");
        assert_eq!(out(&run), expected, "{words}");
        let mut written = [0; 7];
        master.read_exact(&mut written).unwrap();
        assert_eq!(&written, b"hello\r\n", "{words}");
    }
}

#[test]
fn without_a_terminal_there_is_no_console() {
    let host = Host::new();
    let run = host.run_script(&[], "[ -e /dev/console ] || tty");
    assert_eq!(
        String::from_utf8_lossy(&run.stdout),
        "not a tty\n",
        "{}",
        text(&run)
    );
}

#[test]
fn the_controlling_terminal_is_at_dev_tty() {
    let host = Host::new();
    for words in ["run", "run $SD run"] {
        let (mut master, slave) = terminal(&host);
        let words = words.replace("$SD", host.program().to_str().unwrap());
        let run = host
            .as_caller("setsid")
            .args(["--ctty", "--wait"])
            .arg(host.program())
            .args(words.split(' '))
            .args(["/bin/sh", "-c", "echo hello > /dev/tty && echo written"])
            .stdin(slave.try_clone().unwrap())
            .output()
            .unwrap();
        assert_eq!(out(&run), "written\n", "{words}");
        let mut written = [0; 7];
        master.read_exact(&mut written).unwrap();
        assert_eq!(&written, b"hello\r\n", "{words}");
    }
}

#[test]
fn a_place_directly_in_dev_is_made_for_a_mount() {
    let host = Host::new();
    host.caller_dir("dir");
    host.caller_file("dir/file", 0o644, "content\n");
    for (option, target) in [
        ("-v $DIR/dir /dev/new", "/dev/new/file"),
        ("-m $DIR/dir/file /dev/new", "/dev/new"),
        ("-m $DIR/dir //dev/../dev/./new/", "/dev/new/file"),
        (
            "-t size=4k /dev/new -m $DIR/dir /dev/other",
            "/dev/other/file",
        ),
        ("-m $DIR/dir/file /dev/full", "/dev/full"),
        ("-r / run $SD -m $DIR/dir /dev/new", "/dev/new/file"),
    ] {
        let run = host.run_line(&format!("{option} run /bin/cat {target}"));
        assert_eq!(out(&run), "content\n", "{option}");
        let run = host.run_line(&format!("{option} run /bin/touch /dev/more"));
        assert!(
            text(&run).contains("Read-only file system"),
            "{}",
            text(&run)
        );
    }
    for target in [
        "/dev/new/er",
        "/dev/shm/new",
        "/dev/pts/new",
        "/new",
        "/dev/../new",
    ] {
        let run = host.run_line(&format!("-v $DIR/dir {target} run /bin/true"));
        let source = host.path("dir");
        let message = format!(
            "cannot map {source:?} on \"{target}\": No such file or directory\n\
             hint: \"{target}\" must exist in the root filesystem, or in what is mapped before; nothing is created there"
        );
        assert_refused(&run, &message);
    }
    assert!(!Path::new("/dev/new").exists() && !Path::new("/new").exists());
}

/// Through `-v /dev /dev` the caller reaches what it reaches outside, and no more.
#[test]
fn a_vol_of_the_hosts_dev_shows_the_hosts_nodes() {
    let host = Host::new();
    let (mut master, slave) = terminal(&host);
    let name = nix::unistd::ttyname(&slave).unwrap();
    let script = format!(
        "ls /dev > $DIR/list; for device in /dev/*; do
            (: < $device) 2>/dev/null && echo $device || :
        done; echo hello > {}",
        name.display()
    );
    // Not every device: opening some has effects.
    let script = script.replace(
        "/dev/*",
        "/dev/null /dev/zero /dev/mem /dev/kmsg /dev/vda /dev/loop0",
    );
    let script = script.replace("> $DIR/list", "");
    let outside = here(&host, &script);
    let inside = here(&host, &format!("$SD -v /dev /dev run sh -eu -c '{script}'"));
    assert_eq!(out(&inside), out(&outside));
    let mut written = [0; 14];
    master.read_exact(&mut written).unwrap();
    assert_eq!(&written, b"hello\r\nhello\r\n");
    let run = here(&host, "$SD -v /dev /dev run cat /proc/self/mountinfo");
    let mounts = table(out(&run));
    let dev = at(&mounts, "/dev");
    let outside = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let outside = table(&outside);
    let mut expected = at(&outside, "/dev").flags.clone();
    expected.insert("nosuid");
    assert_eq!(dev.flags, expected);
}

#[test]
fn proc_shows_the_processes_of_the_instance_alone() {
    let host = Host::new();
    for words in ["run", "build", "run $SD run"] {
        // The shell itself expands the name, so that there is no other process.
        fs::write(host.path("script"), "echo /proc/[0-9]*; cat /proc/1/comm").unwrap();
        let run = host.run_line(&format!("{words} /bin/sh $DIR/script"));
        assert_eq!(out(&run), "/proc/1\nsh\n", "{words}");
    }
}

/// What is said where the kernel forbids it in user namespaces.
const NO_PROC: &str = "selfdock: cannot make a proc filesystem: Operation not permitted\n\
     hint: an outer container hides parts of /proc: docker run --security-opt systempaths=unconfined\n";

/// The same, where nothing can be written to it either.
const NO_MAPS: &str = "selfdock: cannot make a user namespace: setgroups: Read-only file system\n\
     hint: an outer container hides parts of /proc: docker run --security-opt systempaths=unconfined\n";

/// Attack: a fresh procfs has all the parts that were masked, as containers do with /proc/kcore.
/// The kernel forbids that in user namespaces, but not to us.
#[test]
fn a_proc_with_masked_parts_is_not_revealed_by_a_fresh_one() {
    let host = Host::new();
    let script = "if [ -s $PROC/version ]; then echo outside; fi
        $SD $OPTION run sh -c 'ls /proc | grep -v \"^[0-9]\" | sort | tr \"\\n\" \" \"
            (: < /proc/version) 2>/dev/null && echo whole || echo processes
            head -n 1 /proc/self/status | cut -f 1'";
    let whole = "mount -t proc proc /proc";
    for (is_whole, masks) in [
        (true, ":"),
        (false, "mount --bind /dev/null /proc/uptime"),
        (false, "mount --bind /dev/null /proc/version"),
        (false, "mount -t tmpfs -o ro tmpfs /proc/sys"),
        (
            false,
            "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys",
        ),
        (false, "mount -t tmpfs tmpfs /proc/sys/kernel"),
        (false, "mount -o remount,bind,ro /proc"),
        (false, "mount -t proc -o subset=pid proc /proc"),
        (false, "mount -t tmpfs tmpfs /proc/sys/fs/binfmt_misc"),
        (
            true,
            "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc",
        ),
        (
            true,
            "rm -f $DIR/daemon && mkfifo $DIR/daemon && exec 9<>$DIR/daemon && mount -t autofs \
             -o fd=9,pgrp=$$,minproto=5,maxproto=5,direct systemd-1 /proc/sys/fs/binfmt_misc && \
             mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc && exec 9<&-",
        ),
    ] {
        for option in ["", "run $SD", "-r / build $SD"] {
            let setup = format!("{whole}\n{masks}");
            let script = script.replace("$OPTION", option).replace("$PROC", "/proc");
            let run = on(&host, &setup, &script);
            // That one the kernel takes for a whole one, and nothing can be in the other place; but
            // what is made then is marked, so that no further one is.
            let is_overlooked = masks.contains("subset") || masks.contains("binfmt");
            let is_masked = !is_whole && (!is_overlooked || !option.is_empty());
            if Install::is_rootless() && is_masked {
                assert_ended(&run, CANNOT);
                let stderr = String::from_utf8_lossy(&run.stderr);
                let expected = if masks.ends_with("ro /proc") {
                    NO_MAPS
                } else {
                    NO_PROC
                };
                assert_eq!(stderr, expected, "{option} {masks}");
                continue;
            }
            let shown = out(&run).lines().last().unwrap_or_default();
            assert_eq!(shown, "Name:", "{masks}: {}", text(&run));
            let is_shown = out(&run).contains(" whole\n");
            assert_eq!(is_shown, is_whole, "{option} {masks}: {}", text(&run));
            assert_eq!(out(&run).contains("uptime"), is_whole, "{masks}");
        }
    }
    let run = on(
        &host,
        "mount -t proc -o subset=pid proc /proc",
        "$SD run cat /proc/self/mountinfo",
    );
    let mounts = table(out(&run));
    let options = at(&mounts, "/proc").options;
    assert!(
        options.split(',').any(|option| option == "subset=pid"),
        "{options}"
    );
}

/// A caller's /proc may hide the processes of others (hidepid). A fresh one hides none, and has none to
/// hide: all that run inside are the caller's own.
#[test]
fn a_proc_that_hides_processes_is_not_revealed_by_a_fresh_one() {
    let host = Host::new();
    let list = "stat -c %u /proc/[0-9]* | sort -u; echo; ls -d /proc/[0-9]*";
    for (hides, is_hidden) in [
        ("hidepid=0", false),
        ("hidepid=1", false),
        ("hidepid=2", true),
    ] {
        let setup = format!("mount -t proc -o {hides} proc /proc");
        let outside = on(&host, &setup, "[ -e /proc/1 ] && echo there || echo hidden");
        let expected = if is_hidden { "hidden\n" } else { "there\n" };
        assert_eq!(out(&outside), expected, "{hides}");
        for nested in ["", "run $SD"] {
            let run = on(&host, &setup, &format!("$SD {nested} run sh -c '{list}'"));
            let (owners, processes) = out(&run).split_once("\n\n").unwrap();
            assert_eq!(owners, host.uid().to_string(), "{hides}: {processes}");
            assert!(processes.lines().count() <= 4, "{hides}: {processes}");
        }
    }
}

const FLAGS: [&str; 6] = ["ro", "nosuid", "nodev", "noexec", "nosymfollow", "noatime"];

/// The mount words that the caller finds at `place` inside, and those of the source outside.
fn flags_inside(host: &Host, flag: &str, words: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let setup = format!("mount --bind $DIR/os $DIR/os\nmount -o remount,bind,{flag} $DIR/os");
    let script = format!("cat /proc/self/mountinfo; echo inside; {words}");
    let run = on(host, &setup, &script);
    let (outside, inside) = out(&run).split_once("inside\n").unwrap();
    let flags = |text, place: &str| -> BTreeSet<String> {
        let mounts = table(text);
        at(&mounts, place)
            .flags
            .iter()
            .map(|flag| (*flag).to_owned())
            .collect()
    };
    let place = if words.contains("--rootfs") {
        "/".to_owned()
    } else {
        host.path("new").display().to_string()
    };
    (
        flags(outside, host.path("os").to_str().unwrap()),
        flags(inside, &place),
    )
}

/// Attack: the older bind-remount replaces the flags of a mount, and so nosuid or nodev of a FUSE
/// or USB mount was gone: root for anybody.
#[test]
fn the_flags_of_a_source_stay_and_only_some_are_added() {
    let host = Host::new();
    host.busybox_rootfs("os");
    host.root_dir("new", 0o755);
    let tools = "-m $DIR/os/bin /dev/bin"; // for the root filesystem that is noexec
    fs::create_dir(host.path("tools")).unwrap();
    // Not by this process: the fork of another test might still hold it open for writing.
    let copy = std::process::Command::new("cp")
        .arg("/bin/busybox")
        .arg(host.path("tools"))
        .output();
    assert_eq!(out(&copy.unwrap()), "");
    let tools = tools.replace("$DIR/os/bin", "$DIR/tools");
    let cat = "cat /proc/self/mountinfo";
    for flag in FLAGS {
        for (words, added) in [
            (format!("$SD -m $DIR/os $DIR/new run {cat}"), &["ro", "nosuid"][..]),
            (format!("$SD -v $DIR/os $DIR/new run {cat}"), &["nosuid"]),
            (format!("$SD -v $DIR/os $DIR/new build {cat}"), &["nosuid"]),
            (
                format!("$SD -v $DIR/os $DIR/os run $SD -v $DIR/os $DIR/new run {cat}"),
                &["nosuid"],
            ),
            (
                format!("$SD -v $DIR/os $DIR/new run $SD -v $DIR/new $DIR/new build {cat}"),
                &["nosuid"],
            ),
            (
                format!("$SD --rootfs $DIR/os {tools} run /dev/bin/busybox {cat}"),
                &["ro", "nosuid", "nodev"],
            ),
            (
                format!("$SD --rootfs $DIR/os {tools} build /dev/bin/busybox {cat}"),
                &["nosuid", "nodev"],
            ),
            (
                format!("$SD --rootfs $DIR/os {tools} build /dev/selfdock {tools} build /dev/bin/busybox {cat}").replace("/dev/selfdock -m $DIR/tools", "/dev/selfdock -m /dev/bin"),
                &["nosuid", "nodev"],
            ),
        ] {
            let (mut outside, inside) = flags_inside(&host, flag, &words);
            assert!(outside.contains(flag), "{flag} does nothing outside");
            outside.extend(added.iter().map(|flag| (*flag).to_owned()));
            if outside.contains("ro") {
                outside.remove("rw");
            }
            assert_eq!(inside, outside, "{flag}: {words}");
        }
    }
}

/// Baseline: outside, the node on the mount without nodev can be opened, and only that one.
#[test]
fn a_device_node_on_a_nodev_source_stays_closed() {
    let host = Host::new();
    host.root_dir("nodev", 0o755);
    host.root_dir("dev", 0o755);
    host.root_dir("new", 0o755);
    let setup = "
        mount -t tmpfs -o nodev,mode=755 tmpfs $DIR/nodev
        mount -t tmpfs -o mode=755 tmpfs $DIR/dev
        mknod -m 666 $DIR/nodev/null c 1 3
        mknod -m 666 $DIR/dev/null c 1 3";
    let script = "for source in nodev dev; do
            (: < $DIR/$source/null) 2>/dev/null && echo outside $source || :
            for option in -m -v; do for action in run build; do
                $SD $option $DIR/$source $DIR/new $action sh -c ': < $DIR/new/null' 2>/dev/null &&
                    echo inside $source || :
            done; done
        done";
    let open = "outside dev\ninside dev\ninside dev\ninside dev\ninside dev\n";
    assert_eq!(out(&on(&host, setup, script)), open);
}

#[test]
fn a_program_on_a_noexec_source_cannot_be_executed() {
    let host = Host::new();
    host.root_dir("source", 0o755);
    host.root_dir("new", 0o755);
    let setup = "
        mount -t tmpfs -o noexec,mode=755 tmpfs $DIR/source
        cp /bin/true $DIR/source/program";
    for option in ["-m", "-v", "-m $DIR/source $DIR/source run $SD -v"] {
        let script = format!("$SD {option} $DIR/source $DIR/new run $DIR/new/program");
        let run = on(&host, setup, &script);
        assert_ended(&run, 126);
        let message = format!(
            "cannot run {:?}: Permission denied",
            host.path("new/program")
        );
        assert!(text(&run).contains(&message), "{}", text(&run));
    }
}

/// A root filesystem may come from anybody's archive. Baseline: outside the node can be opened.
#[test]
fn a_device_node_in_a_root_filesystem_stays_closed() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("os");
    let mknod = format!("mknod -m 666 {}/etc/null c 1 3", rootfs.display());
    let made = std::process::Command::new("/bin/sh")
        .args(["-c", &mknod])
        .output();
    assert_eq!(out(&made.unwrap()), "");
    let outside = here(&host, "head -c 1 $DIR/os/etc/null && echo open");
    assert_eq!(out(&outside), "open\n", "fixture is closed to the caller");
    for words in ["run", "build", "run /dev/selfdock run"] {
        let run = host.run_line(&format!("-r $DIR/os {words} /bin/head -c 1 /etc/null"));
        assert_ended(&run, 1);
        assert!(
            text(&run).contains("Permission denied"),
            "{words}: {}",
            text(&run)
        );
    }
}

#[test]
fn the_command_starts_in_the_callers_directory_if_that_very_one_is_visible() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("os");
    host.caller_dir("own");
    host.root_dir("hidden", 0o755);
    // Of the same name inside, and yet another.
    let twin = rootfs.join(host.path("own").strip_prefix("/").unwrap());
    fs::create_dir_all(&twin).unwrap();
    let own = format!("{}\n", host.path("own").display());
    let setup = "mount -t tmpfs -o mode=1777 tmpfs $DIR/hidden";
    for (words, expected) in [
        ("cd $DIR/own; $SD run pwd -P", own.as_str()),
        ("cd $DIR/own; $SD build pwd -P", &own),
        ("cd $DIR/own; $SD run $SD run pwd -P", &own),
        ("cd $DIR/hidden; $SD run pwd -P", "/\n"),
        ("cd $DIR/own; $SD -r $DIR/os run pwd -P", "/\n"),
        (
            "cd $DIR/own; $SD -r $DIR/os -m $DIR/own $DIR/own run pwd -P",
            &own,
        ),
        ("cd $DIR/own; $SD -m $DIR/os $DIR/own run pwd -P", "/\n"),
        ("cd $DIR/own; $SD -C /usr/../usr run pwd -P", "/usr\n"),
        (
            "cd $DIR/own; $SD -C $DIR/hidden -m $DIR/own $DIR/hidden run ls -A",
            "",
        ),
        ("cd $DIR/own; $SD --here run pwd -P", &own),
        (
            "mkdir $DIR/own/gone; cd $DIR/own/gone; rmdir ../gone; $SD run pwd -P",
            "/\n",
        ),
    ] {
        assert_eq!(out(&on(&host, setup, words)), expected, "{words}");
    }
}

#[test]
fn here_makes_the_callers_directory_writable_and_visible() {
    let host = Host::new();
    host.caller_dir("own");
    host.root_dir("hidden", 0o755);
    let setup = "mount -t tmpfs -o mode=1777 tmpfs $DIR/hidden";
    for place in ["own", "own/../own", "bin/../own"] {
        let script = format!("cd $DIR/{place}; $SD --here run touch new; rm new");
        assert_eq!(out(&on(&host, setup, &script)), "", "{place}");
    }
    let script = "cd $DIR/own; $SD --here run $SD --here run touch new; rm new
        $SD run $SD --here run touch new 2>/dev/null || echo closed";
    assert_eq!(out(&on(&host, setup, script)), "closed\n");
    let run = on(
        &host,
        setup,
        "mkdir $DIR/own/gone; cd $DIR/own/gone; rmdir ../gone; $SD --here run true",
    );
    let message = "cannot use the current directory: it has no path here\n\
                   hint: change to a directory that exists";
    assert_refused(&run, message);
}

#[test]
fn a_terminal_is_told_that_the_command_starts_elsewhere() {
    let host = Host::new();
    host.root_dir("hidden", 0o755);
    let (_master, slave) = terminal(&host);
    let run = host
        .on_host("mount -t tmpfs -o mode=1777 tmpfs $DIR/hidden", "/bin/sh")
        .args(["-c", "cd $DIR/hidden; $SD run pwd"])
        .env("SD", host.program())
        .stdin(slave)
        .output()
        .unwrap();
    let hint = "hint: the current directory is not visible inside, so the command starts in /; \
                --here shows it\n";
    assert_eq!(String::from_utf8_lossy(&run.stdout), "/\n");
    assert_eq!(String::from_utf8_lossy(&run.stderr), hint);
}

#[test]
fn a_working_directory_that_is_not_there_is_refused() {
    let host = Host::new();
    let closed = host.root_dir("closed", 0o700);
    let run = host.run_line("-C /selfdock-test/missing run /bin/true");
    let message =
        "cannot change to directory \"/selfdock-test/missing\": No such file or directory";
    assert_refused(&run, message);
    let run = host.run_line("-C $DIR/closed run /bin/true");
    assert_refused(
        &run,
        &format!("cannot change to directory {closed:?}: Permission denied"),
    );
}

#[test]
fn a_root_filesystem_without_selfdock_nests_through_dev() {
    let host = Host::new();
    host.busybox_rootfs("os");
    let rootfs = host.path("os");
    let before = snapshot(&rootfs);
    let line = "-r $DIR/os run /dev/selfdock run /dev/selfdock run /bin/sh -c";
    let mut words: Vec<String> = line
        .split(' ')
        .map(|word| {
            word.replace(
                "$DIR",
                host.path("").to_str().unwrap().trim_end_matches('/'),
            )
        })
        .collect();
    words.push("echo $$ $(id -u); ls /dev/selfdock".to_owned());
    let expected = format!("1 {}\n/dev/selfdock\n", host.uid());
    assert_eq!(out(&host.run(&words)), expected);
    assert_eq!(snapshot(&rootfs), before);
}

/// Baseline of the second part: what is at that path in the root filesystem is another file.
#[test]
fn selfdock_is_at_its_own_path_if_a_file_is_there_and_that_file_does_not_change() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("os");
    let inside = rootfs.join(host.program().strip_prefix("/").unwrap());
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    let decoy = host.caller_file(&inside, 0o755, "#!/bin/sh\necho decoy\n");
    let before = snapshot(&rootfs);
    for action in ["run", "build"] {
        let line = format!("-r $DIR/os {action} $SD run $SD {action} /bin/sh -c ls${{IFS}}/dev");
        let run = host.run_line(&line);
        assert!(!out(&run).contains("selfdock"), "{}", text(&run));
        let run = host.run_line(&format!("-r $DIR/os {action} $SD --version"));
        assert!(out(&run).starts_with("selfdock "), "{}", text(&run));
        // Last of all, so that nothing of the caller's lies on it.
        let decoy = "-m $DIR/os/bin/busybox $SD";
        let run = host.run_line(&format!("-r $DIR/os {decoy} {action} $SD --version"));
        assert!(out(&run).starts_with("selfdock "), "{}", text(&run));
        assert_eq!(snapshot(&rootfs), before);
    }
    // What is no regular file stays what it is.
    fs::remove_file(&decoy).unwrap();
    for make in [
        |path: &Path| fs::create_dir(path),
        |path: &Path| symlink("/missing", path),
    ] {
        make(&inside).unwrap();
        let run = host.run_line("-r $DIR/os run /dev/selfdock run /bin/echo nested");
        assert_eq!(out(&run), "nested\n");
        let _ = fs::remove_dir(&inside).or_else(|_| fs::remove_file(&inside));
    }
}

/// As the second best: an instance without a place for selfdock does not nest, and that is all.
#[test]
fn a_vol_on_dev_of_another_root_filesystem_leaves_no_place_for_selfdock_and_works() {
    let host = Host::new();
    host.busybox_rootfs("os");
    let run = host.run_line("-r $DIR/os -v /dev /dev run /bin/ls /dev/selfdock /dev/null");
    assert_ended(&run, 1);
    assert!(text(&run).contains("/dev/null\n"), "{}", text(&run));
    assert_ne!(run.status.code(), Some(CANNOT));
}

/// Attack: an image or an overlay of the caller's making, for the kernel's parsers (CVE-2023-30549,
/// CVE-2026-41163). Root's strace sees what is asked for, and these three have no medium.
#[test]
fn no_filesystem_with_a_medium_is_ever_mounted() {
    let host = Host::new();
    host.busybox_rootfs("os");
    host.caller_file("image", 0o644, "an image");
    let log = host.path("log");
    let id = host.uid().to_string();
    let mut seen = BTreeSet::new();
    for line in [
        "-t size=1m /mnt -m /usr /srv build true",
        "-r $DIR/os --init run /dev/selfdock run true",
        "run $SD -v $DIR /mnt run true",
        "-m $DIR/image /mnt run true",
    ] {
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qq", "-e", "trace=fsopen,mount", "-o"])
            .arg(&log);
        command.args([
            "setpriv",
            "--reuid",
            &id,
            "--regid",
            &id,
            "--clear-groups",
            "--",
        ]);
        let words = line.replace("$DIR", host.path("").to_str().unwrap());
        let words = words.replace("$SD", host.program().to_str().unwrap());
        command.arg(host.program()).args(words.split(' '));
        let run = command
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let is_mapped_on_a_directory = line.contains("image");
        assert_eq!(
            run.status.success(),
            !is_mapped_on_a_directory,
            "{line}: {}",
            text(&run)
        );
        for call in fs::read_to_string(&log).unwrap().lines() {
            assert!(!call.contains(" mount("), "{line}: {call}");
            let name = call
                .split_once(" fsopen(\"")
                .and_then(|(_, rest)| rest.split('"').next());
            seen.extend(name.map(str::to_owned));
        }
    }
    let expected = ["devpts", "proc", "tmpfs"].map(str::to_owned);
    assert_eq!(seen, expected.into());
}

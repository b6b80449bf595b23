//! The command line: what is asked is done in the order given, and what cannot be meant is refused
//! with one line that says what was tried, on what, and why, and perhaps a hint.

mod host;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use host::{CANNOT, Host, assert_ended, assert_refused, out, text};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};

const SEE_HELP: &str = "\nhint: selfdock --help lists actions and options";

/// Fails unless `line` is refused with exactly `message`; `$DIR` as in `Host::run_line`.
#[track_caller]
fn assert_line_refused(host: &Host, line: &str, message: &str) {
    let message = message.replace(
        "$DIR",
        host.path("").to_str().unwrap().trim_end_matches('/'),
    );
    assert_words_refused(&host.run_line(line), line, &message);
}

/// `assert_refused`, which also tells the line of a table.
#[track_caller]
fn assert_words_refused(run: &Output, line: &str, message: &str) {
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert_eq!(stderr, format!("selfdock: {message}\n"), "{line}");
    assert_eq!(run.status.code(), Some(CANNOT), "{line}: {}", text(run));
    assert!(run.stdout.is_empty(), "{line}: {}", text(run));
}

/// A command with a terminal as standard input, and that terminal's other side.
fn on_terminal(mut command: Command) -> (Command, File) {
    let OpenptyResult { master, slave } = openpty(None, None).unwrap();
    for side in [&master, &slave] {
        fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    command.stdin(Stdio::from(slave));
    (command, File::from(master))
}

/// Every file below `dir`: its path, inode, mode, owner, size, number of names and times of change.
fn listing(dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let file = fs::symlink_metadata(&path).unwrap();
        lines.push(format!(
            "{path:?} {} {:o} {} {} {} {}.{} {}.{}",
            file.ino(),
            file.mode(),
            file.uid(),
            file.size(),
            file.nlink(),
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec()
        ));
        if file.is_dir() {
            todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    lines.sort();
    lines
}

/// The caller's directories `one` and `two`, each with a file `name` that holds its name, and a
/// directory `sub`; and an empty directory `target`.
fn sources(host: &Host) {
    for name in ["one", "two"] {
        let dir = host.caller_dir(name);
        host.caller_file(dir.join("name"), 0o644, name);
        host.caller_dir(dir.join("sub"));
    }
    host.caller_dir("target");
}

// Wrong usage.

#[test]
fn an_unknown_action_is_refused() {
    let host = Host::new();
    for (line, word) in [
        ("start sh", r#""start""#),
        ("Run sh", r#""Run""#),
        ("-r / exec run sh", r#""exec""#),
        ("-- -r / run true", r#""-r""#),
        ("/bin/true", r#""/bin/true""#),
    ] {
        assert_line_refused(&host, line, &format!("unknown action {word}{SEE_HELP}"));
    }
    let empty = host.run([""]);
    assert_refused(&empty, &format!(r#"unknown action ""{SEE_HELP}"#));
}

#[test]
fn no_action_is_refused() {
    let host = Host::new();
    for line in ["", "--here", "-r /", "--", "-e A B"] {
        let message = format!("no action given: run, build, enter, ps or doctor{SEE_HELP}");
        assert_line_refused(&host, line, &message);
    }
}

#[test]
fn no_command_without_a_terminal_is_refused() {
    let host = Host::new();
    for line in ["run", "build", "run --", "run -C /", "-r / run -- "] {
        assert_line_refused(
            &host,
            line,
            "no command given\n\
             hint: without a terminal, name the command: selfdock run CMD",
        );
    }
}

#[test]
fn an_unknown_option_is_refused() {
    let host = Host::new();
    for (line, option) in [
        ("-x run true", r#""-x""#),
        ("--nope run true", r#""--nope""#),
        ("--nope=1 run true", r#""--nope""#),
        ("run -x true", r#""-x""#),
        ("run --ma /a /b true", r#""--ma""#),
        ("run --Here true", r#""--Here""#),
    ] {
        assert_line_refused(&host, line, &format!("unknown option {option}{SEE_HELP}"));
    }
}

#[test]
fn an_option_without_its_values_is_refused() {
    let host = Host::new();
    for (line, option, hint) in [
        (
            "-m",
            "--map <SRC> <DST>",
            "--map takes two words: --map SRC DST",
        ),
        (
            "run -m /a",
            "--map <SRC> <DST>",
            "--map takes two words: --map SRC DST",
        ),
        (
            "-v",
            "--vol <SRC> <DST>",
            "--vol takes two words: --vol SRC DST",
        ),
        (
            "--vol /a",
            "--vol <SRC> <DST>",
            "--vol takes two words: --vol SRC DST",
        ),
        (
            "run -t size=1m",
            "--tmpfs <OPT> <DST>",
            "--tmpfs takes two words: --tmpfs OPT DST",
        ),
        (
            "-e A",
            "--env <NAME> <VALUE>",
            "--env takes two words: --env NAME VALUE",
        ),
        ("run -E", "-E <NAME>", "-E takes a word: -E NAME"),
        (
            "-r",
            "--rootfs <DIR>",
            "--rootfs takes a word: --rootfs DIR",
        ),
        ("run -C", "-C <DIR>", "-C takes a word: -C DIR"),
    ] {
        let message = format!("option {option} is not complete\nhint: {hint}");
        assert_line_refused(&host, line, &message);
    }
}

#[test]
fn a_value_for_an_option_that_takes_none_is_refused() {
    let host = Host::new();
    for (line, option) in [("--here=1 run true", "--here"), ("run --help=1", "--help")] {
        let message = format!("option {option} takes no value{SEE_HELP}");
        assert_line_refused(&host, line, &message);
    }
}

#[test]
fn dockers_joined_words_are_refused_with_the_two_word_form() {
    let host = Host::new();
    for (line, message) in [
        (
            "-v /a:/b run sh",
            "cannot map \"/a:/b\" on \"run\": not an absolute path\n\
             hint: --vol takes two words: --vol \"/a\" \"/b\"",
        ),
        (
            "run --map /a:/b:ro sh",
            "cannot map \"/a:/b:ro\" on \"sh\": not an absolute path\n\
             hint: --map takes two words: --map \"/a\" \"/b:ro\"",
        ),
        (
            "run -e A=B env",
            "cannot change the variable \"A=B\": not a name\n\
             hint: --env takes two words: --env \"A\" \"B\"",
        ),
        (
            "-E A=B run env",
            "cannot change the variable \"A=B\": not a name\n\
             hint: --env takes two words: --env \"A\" \"B\"",
        ),
    ] {
        assert_line_refused(&host, line, message);
    }
    let empty = host.run(["-e", "", "x", "run", "true"]);
    assert_refused(&empty, r#"cannot change the variable "": not a name"#);
}

#[test]
fn starting_without_any_word_is_refused() {
    let host = Host::new();
    let source = r#"
        #include <unistd.h>
        #include <stdio.h>
        int main(int argc, char **argv) {
            char *none[] = { NULL }, *env[] = { "run", "/bin/echo", "started", NULL };
            execve(argv[1], none, env);
            perror(argv[1]);
            return 99;
        }"#;
    let bare = host.compile("bare", source);
    let run = host.as_caller(bare).arg(host.program()).output().unwrap();
    // Since 5.18 the kernel puts an empty word where there is none.
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(
        stderr == "selfdock: started without arguments\n"
            || stderr
                == format!(
                    "selfdock: no action given: run, build, enter, ps or doctor{SEE_HELP}\n"
                ),
        "{}",
        text(&run)
    );
    assert_ended(&run, CANNOT);
    assert!(run.stdout.is_empty());
}

#[test]
fn a_message_is_one_line_whatever_it_speaks_of() {
    let host = Host::new();
    let evil = OsStr::from_bytes(b"/a\nb\x1b[2J\x07\xff\r\x7f\"");
    let shown = r#""/a\nb\u{1b}[2J\u{7}\xFF\r\u{7f}\"""#;
    let cases = [
        (
            vec![
                "-m".as_ref(),
                evil,
                "/mnt".as_ref(),
                "run".as_ref(),
                "true".as_ref(),
            ],
            format!(r#"cannot map {shown} on "/mnt": No such file or directory"#),
        ),
        (
            vec![
                "-v".as_ref(),
                "/usr".as_ref(),
                evil,
                "run".as_ref(),
                "true".as_ref(),
            ],
            format!(
                "cannot map \"/usr\" on {shown}: No such file or directory\n\
                 hint: {shown} must exist in the root filesystem, or in what is mapped before; nothing is created there"
            ),
        ),
        (
            vec!["-r".as_ref(), evil, "run".as_ref(), "true".as_ref()],
            format!("cannot use {shown} as root filesystem: No such file or directory"),
        ),
        (
            vec!["-C".as_ref(), evil, "run".as_ref(), "true".as_ref()],
            format!("cannot change to directory {shown}: No such file or directory"),
        ),
        (vec![evil], format!("unknown action {shown}{SEE_HELP}")),
        (
            vec![
                "-e".as_ref(),
                OsStr::from_bytes(b"A\n="),
                "x".as_ref(),
                "run".as_ref(),
            ],
            "cannot change the variable \"A\\n=\": not a name\n\
             hint: --env takes two words: --env \"A\\n\" \"\""
                .to_owned(),
        ),
        (
            vec![
                "-t".as_ref(),
                OsStr::new("\x1b[2J\n"),
                "/mnt".as_ref(),
                "run".as_ref(),
            ],
            "cannot mount a tmpfs on \"/mnt\": unknown option \"\\u{1b}[2J\\n\"".to_owned(),
        ),
    ];
    for (words, message) in cases {
        assert_words_refused(&host.run(&words), &format!("{words:?}"), &message);
    }
    let words = [OsStr::new("--\x1b[2J\nx"), "run".as_ref()];
    let message = format!("unknown option \"--\\u{{1b}}[2J\\nx\"{SEE_HELP}");
    assert_words_refused(&host.run(words), "an option", &message);

    let run = host.run([OsStr::new("run"), evil]);
    assert_ended(&run, 127);
    let expected = format!("selfdock: cannot run {shown}: No such file or directory\n");
    assert_eq!(String::from_utf8_lossy(&run.stderr), expected);
}

// Paths that cannot be had.

#[test]
fn a_relative_target_is_refused() {
    let host = Host::new();
    for (line, message) in [
        (
            "-m / mnt run true",
            r#"cannot map "/" on "mnt": not an absolute path"#,
        ),
        (
            "run -v / ./mnt true",
            r#"cannot map "/" on "./mnt": not an absolute path"#,
        ),
        (
            "-t size=1m tmp run true",
            r#"cannot mount a tmpfs on "tmp": not an absolute path"#,
        ),
    ] {
        assert_line_refused(&host, line, message);
    }
    let empty = host.run(["-m", "/", "", "run", "true"]);
    assert_refused(&empty, r#"cannot map "/" on "": not an absolute path"#);
}

#[test]
fn a_missing_source_is_refused() {
    let host = Host::new();
    host.caller_file("file", 0o644, "");
    host.caller_dir("target");
    for (line, message) in [
        (
            "-m $DIR/nosuch $DIR/target run true",
            r#"cannot map "$DIR/nosuch" on "$DIR/target": No such file or directory"#,
        ),
        (
            "-v nosuch $DIR/target run true",
            r#"cannot map "nosuch" on "$DIR/target": No such file or directory"#,
        ),
        (
            "-v $DIR/file/below $DIR/target run true",
            r#"cannot map "$DIR/file/below" on "$DIR/target": Not a directory"#,
        ),
        (
            "-m $DIR/file/ $DIR/target run true",
            r#"cannot map "$DIR/file/" on "$DIR/target": Not a directory"#,
        ),
        (
            "-m /proc/self/fd/0 $DIR/file run true",
            r#"cannot map "/proc/self/fd/0" on "$DIR/file": Too many symbolic links encountered"#,
        ),
        (
            "-m /proc/self/root $DIR/target run true",
            r#"cannot map "/proc/self/root" on "$DIR/target": Too many symbolic links encountered"#,
        ),
    ] {
        assert_line_refused(&host, line, message);
    }
    let target = host.path("target");
    let empty = host.run([
        "-m".as_ref(),
        "".as_ref(),
        target.as_os_str(),
        "run".as_ref(),
    ]);
    // The shell has nothing to do with it: the words are judged before the terminal is missed.
    assert_refused(
        &empty,
        "no command given\nhint: without a terminal, name the command: selfdock run CMD",
    );
    let words = [
        "-m".as_ref(),
        "".as_ref(),
        target.as_os_str(),
        "run".as_ref(),
        "true".as_ref(),
    ];
    let message = format!(r#"cannot map "" on {target:?}: No such file or directory"#);
    assert_refused(&host.run(words), &message);
}

#[test]
fn a_source_that_the_caller_cannot_reach_is_refused() {
    let host = Host::new();
    host.root_dir("vault", 0o700);
    host.root_file("vault/secret", 0o644, "secret");
    host.caller_file("file", 0o644, "");
    let secret = host.path("vault/secret");
    let baseline = host.as_caller("/bin/cat").arg(secret).output().unwrap();
    assert!(
        !baseline.status.success(),
        "the vault is open to the caller"
    );
    for option in ["-m", "-v"] {
        assert_line_refused(
            &host,
            &format!("{option} $DIR/vault/secret $DIR/file run cat $DIR/file"),
            r#"cannot map "$DIR/vault/secret" on "$DIR/file": Permission denied"#,
        );
    }
    // Nor does a refusal tell what there is.
    assert_line_refused(
        &host,
        "-m $DIR/vault/nosuch $DIR/file run true",
        r#"cannot map "$DIR/vault/nosuch" on "$DIR/file": Permission denied"#,
    );
}

#[test]
fn a_missing_target_is_refused_and_not_made() {
    let host = Host::new();
    host.caller_dir("dir");
    host.caller_file("file", 0o644, "");
    for action in ["run", "build"] {
        for source in ["dir", "file"] {
            assert_line_refused(
                &host,
                &format!("-v $DIR/{source} $DIR/nosuch {action} true"),
                &format!(
                    "cannot map \"$DIR/{source}\" on \"$DIR/nosuch\": No such file or directory\n\
                     hint: \"$DIR/nosuch\" must exist in the root filesystem, or in what is mapped before; \
                     nothing is created there"
                ),
            );
        }
        assert_line_refused(
            &host,
            &format!("-t size=1m $DIR/nosuch {action} true"),
            "cannot mount a tmpfs on \"$DIR/nosuch\": No such file or directory\n\
             hint: \"$DIR/nosuch\" must exist in the root filesystem, or in what is mapped before; nothing is created there",
        );
        assert!(!host.path("nosuch").exists());
    }
}

#[test]
fn a_directory_goes_on_a_directory_and_a_file_on_a_file() {
    let host = Host::new();
    host.caller_dir("dir");
    host.caller_file("file", 0o644, "outer");
    host.caller_file("other", 0o644, "inner");
    for (line, message) in [
        (
            "-m $DIR/dir $DIR/file run true",
            "cannot map \"$DIR/dir\" on \"$DIR/file\": Not a directory\n\
             hint: the source is a directory, and \"$DIR/file\" is not",
        ),
        (
            "-v $DIR/file $DIR/dir run true",
            "cannot map \"$DIR/file\" on \"$DIR/dir\": Not a directory\n\
             hint: \"$DIR/dir\" is a directory, and the source is not",
        ),
        (
            "-t size=1m $DIR/file run true",
            "cannot mount a tmpfs on \"$DIR/file\": Not a directory\n\
             hint: the source is a directory, and \"$DIR/file\" is not",
        ),
    ] {
        assert_line_refused(&host, line, message);
    }
    let run = host.run_line("-m $DIR/other $DIR/file run cat $DIR/file");
    assert_eq!(out(&run), "inner");
}

#[test]
fn bad_options_of_a_tmpfs_are_refused() {
    let host = Host::new();
    let size = "a number above 0 with one of k, m, g, or 1% to 50%";
    let inodes = "a number from 1 to 1048576";
    let mode = "an octal number up to 1777";
    for (options, message) in [
        ("size=0", format!(r#"bad value in "size=0": {size}"#)),
        ("size=-1", format!(r#"bad value in "size=-1": {size}"#)),
        ("size=51%", format!(r#"bad value in "size=51%": {size}"#)),
        (
            "mode=0,size=1t",
            format!(r#"bad value in "size=1t": {size}"#),
        ),
        (
            "nr_inodes=0",
            format!(r#"bad value in "nr_inodes=0": {inodes}"#),
        ),
        ("mode=4777", format!(r#"bad value in "mode=4777": {mode}"#)),
        ("mode=8", format!(r#"bad value in "mode=8": {mode}"#)),
        ("noswap", r#"unknown option "noswap""#.to_owned()),
        ("suid", r#"unknown option "suid""#.to_owned()),
        ("uid=0", r#"unknown option "uid=0""#.to_owned()),
        ("size=1m,,", r#"unknown option """#.to_owned()),
        (
            "size=1m,size=2m",
            r#"option "size=2m" is given twice"#.to_owned(),
        ),
        (
            "exec,noexec",
            r#"option "noexec" is given twice"#.to_owned(),
        ),
    ] {
        assert_line_refused(
            &host,
            &format!("-t {options} /tmp run true"),
            &format!(r#"cannot mount a tmpfs on "/tmp": {message}"#),
        );
    }
}

#[test]
fn a_bad_working_directory_is_refused() {
    let host = Host::new();
    host.root_dir("closed", 0o700);
    host.caller_file("file", 0o644, "");
    for (directory, message) in [
        ("usr", "not an absolute path"),
        (".", "not an absolute path"),
        ("/nosuch/dir", "No such file or directory"),
        ("$DIR/file", "Not a directory"),
        ("$DIR/closed", "Permission denied"),
        ("/proc/self/fd/0", "Too many symbolic links encountered"),
        ("/proc/self/root", "Too many symbolic links encountered"),
        ("/proc/self/cwd", "Too many symbolic links encountered"),
        ("/dev/fd/0", "Too many symbolic links encountered"),
    ] {
        assert_line_refused(
            &host,
            &format!("-C {directory} run true"),
            &format!(r#"cannot change to directory "{directory}": {message}"#),
        );
    }
}

#[test]
fn a_bad_root_filesystem_is_refused() {
    let host = Host::new();
    host.root_dir("closed", 0o700);
    host.root_dir("closed/rootfs", 0o755);
    host.caller_file("file", 0o644, "");
    for (dir, message) in [
        ("$DIR/nosuch", "No such file or directory"),
        ("nosuch", "No such file or directory"),
        ("$DIR/file", "Not a directory"),
        ("$DIR/closed/rootfs", "Permission denied"),
        ("/proc/self/root", "Too many symbolic links encountered"),
    ] {
        for action in ["run", "build"] {
            assert_line_refused(
                &host,
                &format!("-r {dir} {action} true"),
                &format!(r#"cannot use "{dir}" as root filesystem: {message}"#),
            );
        }
    }
    let empty = host.run(["-r", "", "run", "true"]);
    assert_refused(
        &empty,
        r#"cannot use "" as root filesystem: No such file or directory"#,
    );
}

#[test]
fn a_root_filesystem_without_a_place_for_our_own_mounts_is_refused() {
    let host = Host::new();
    for (missing, kind) in [("dev", "tmpfs"), ("proc", "proc"), ("tmp", "tmpfs")] {
        let rootfs = host.busybox_rootfs(&format!("without-{missing}"));
        fs::remove_dir(rootfs.join(missing)).unwrap();
        assert_line_refused(
            &host,
            &format!("-r $DIR/without-{missing} run true"),
            &format!(
                "cannot mount a {kind} on \"/{missing}\": No such file or directory\n\
                 hint: \"/{missing}\" must exist in the root filesystem, or in what is mapped before; nothing is created there"
            ),
        );
        assert!(!rootfs.join(missing).exists());
    }
}

#[test]
fn a_target_that_is_the_root_is_refused_in_every_spelling() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("rootfs");
    symlink("/", rootfs.join("mnt/absolute")).unwrap();
    symlink("../../..", rootfs.join("mnt/relative")).unwrap();
    let spellings = [
        "/",
        "//",
        "/.",
        "/./",
        "/..",
        "/../../.",
        "/bin/..",
        "/bin/../",
        "/dev/..",
        "/mnt/absolute",
        "/mnt/absolute/mnt/relative/",
    ];
    for target in spellings {
        for action in ["run", "build"] {
            assert_line_refused(
                &host,
                &format!("-r $DIR/rootfs -v /usr {target} {action} true"),
                &format!(
                    "cannot map \"/usr\" on \"{target}\": the target is the root directory\n\
                     hint: use --rootfs for another root directory"
                ),
            );
        }
        assert_line_refused(
            &host,
            &format!("-r $DIR/rootfs -t size=1m {target} run true"),
            &format!(
                "cannot mount a tmpfs on \"{target}\": the target is the root directory\n\
                 hint: use --rootfs for another root directory"
            ),
        );
    }
    for target in ["/", "//", "/.", "/usr/.."] {
        assert_line_refused(
            &host,
            &format!("-m $DIR {target} run true"),
            &format!(
                "cannot map \"$DIR\" on \"{target}\": the target is the root directory\n\
                 hint: use --rootfs for another root directory"
            ),
        );
    }
}

#[test]
fn a_target_in_proc_is_refused() {
    let host = Host::new();
    host.caller_file("file", 0o644, "");
    let in_proc = "the target is in /proc";
    let magic = "Too many symbolic links encountered";
    for (source, target, message) in [
        ("/usr", "/proc", in_proc),
        ("/usr", "/proc/", in_proc),
        ("/usr", "//proc/.", in_proc),
        ("/usr", "/proc/self", in_proc),
        ("/usr", "/proc/1/task", in_proc),
        ("/usr", "/proc/sys", in_proc),
        ("/usr", "/dev/fd", in_proc),
        ("$DIR/file", "/proc/self/status", in_proc),
        ("$DIR/file", "/proc/mounts", in_proc),
        ("$DIR/file", "/dev/stdin", magic),
        ("$DIR/file", "/proc/self/exe", magic),
        ("/usr", "/proc/self/root", magic),
        ("/usr", "/proc/self/cwd", magic),
        ("/usr", "/proc/self/root/usr", magic),
    ] {
        assert_line_refused(
            &host,
            &format!("-v {source} {target} run true"),
            &format!(r#"cannot map "{source}" on "{target}": {message}"#),
        );
    }
    for target in ["/proc", "/proc/self", "/dev/fd"] {
        assert_line_refused(
            &host,
            &format!("-t size=1m {target} run true"),
            &format!(r#"cannot mount a tmpfs on "{target}": {in_proc}"#),
        );
    }
}

/// A procfs that the caller mapped elsewhere is no place for a lie either.
#[test]
fn a_target_in_a_mapped_proc_is_refused() {
    let host = Host::new();
    host.caller_dir("target");
    host.caller_file("file", 0o644, "");
    assert_line_refused(
        &host,
        "-m /proc $DIR/target -m $DIR/file $DIR/target/version run true",
        r#"cannot map "$DIR/file" on "$DIR/target/version": the target is in /proc"#,
    );
}

// How many.

/// `words` of selfdock for the caller, with room for `files` descriptors at most.
fn with_descriptors(host: &Host, files: &str, words: &[&OsStr]) -> Output {
    let id = host.uid().to_string();
    let mut command = Command::new("prlimit");
    command.arg(format!("--nofile={files}"));
    command.args([
        "setpriv",
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        "--",
    ]);
    command.arg(host.program()).args(words);
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn there_may_be_4096_mounts_and_no_more() {
    let host = Host::new();
    sources(&host);
    let (one, two, target) = (host.path("one"), host.path("two"), host.path("target"));
    let name = target.join("name");
    let line = |first: usize| {
        let mut words: Vec<&OsStr> = Vec::new();
        for _ in 0..first {
            words.extend(["-m".as_ref(), one.as_os_str(), target.as_os_str()]);
        }
        words.extend(["-m".as_ref(), two.as_os_str(), target.as_os_str()]);
        words.extend(["run".as_ref(), "/bin/cat".as_ref(), name.as_os_str()]);
        words
    };
    let most = with_descriptors(&host, "256:8192", &line(4095));
    assert_eq!(out(&most), "two");
    let too_many = with_descriptors(&host, "256:8192", &line(4096));
    assert_refused(
        &too_many,
        "too many mount options: 4097, and at most 4096 are possible",
    );
    // Every kind counts.
    let here = "--here ".repeat(2);
    let mixed = format!(
        "{} -t size=1k /tmp {here} run true",
        "-m / /mnt ".repeat(4096)
    );
    let run = host.run_line(&mixed);
    assert_ended(&run, CANNOT);
    assert!(
        text(&run).contains("too many mount options: 4098"),
        "{}",
        text(&run)
    );
}

// What is asked is done.

#[test]
fn options_stand_before_the_action_and_between_it_and_the_command() {
    let host = Host::new();
    sources(&host);
    for line in [
        "-m $DIR/one $DIR/target -C $DIR/target run cat name",
        "run -m $DIR/one $DIR/target -C $DIR/target cat name",
        "-m $DIR/one $DIR/target run -C $DIR/target cat name",
        "--map $DIR/one $DIR/target -- run -C $DIR/target -- cat name",
        "-- run --map $DIR/one $DIR/target -C $DIR/target -- cat name",
        "-- build -m $DIR/one $DIR/target -C $DIR/target -- cat name",
    ] {
        assert_eq!(out(&host.run_line(line)), "one", "{line}");
    }
}

#[test]
fn from_the_command_on_every_word_is_its_own() {
    let host = Host::new();
    for (line, expected) in [
        ("run echo -r /nosuch --help", "-r /nosuch --help\n"),
        ("run echo -- x", "-- x\n"),
        ("run -- echo -- -C x", "-- -C x\n"),
        ("-- run -- echo run build", "run build\n"),
        ("-e A -O2 run printenv A", "-O2\n"),
        ("run -e A --here printenv A", "--here\n"),
    ] {
        assert_eq!(out(&host.run_line(line)), expected, "{line}");
    }
}

#[test]
fn of_a_repeated_root_or_directory_the_last_wins() {
    let host = Host::new();
    for name in ["one", "two"] {
        let rootfs = host.busybox_rootfs(name);
        host.caller_file(rootfs.join("etc/name"), 0o644, name);
    }
    for (line, expected) in [
        ("-r $DIR/one -r $DIR/two run cat /etc/name", "two"),
        ("-r $DIR/one run -r $DIR/two cat /etc/name", "two"),
        ("-r $DIR/nosuch run -r $DIR/one cat /etc/name", "one"),
        ("-C /etc -C /bin run pwd", "/bin\n"),
        ("-C /nosuch run -C /etc pwd", "/etc\n"),
    ] {
        let line = if line.contains("-r ") {
            line.to_owned()
        } else {
            format!("-r $DIR/one {line}")
        };
        assert_eq!(out(&host.run_line(&line)), expected, "{line}");
    }
}

#[test]
fn mounts_are_made_in_command_line_order_whatever_their_kind() {
    let host = Host::new();
    sources(&host);
    let shown = "cat name 2>/dev/null; cat sub/name 2>/dev/null; ls -A | wc -l";
    for (options, expected) in [
        ("-m $DIR/one $DIR/target -v $DIR/two $DIR/target", "two2\n"),
        ("-v $DIR/two $DIR/target -m $DIR/one $DIR/target", "one2\n"),
        ("-m $DIR/one $DIR/target -t size=1m $DIR/target", "0\n"),
        ("-t size=1m $DIR/target -m $DIR/one $DIR/target", "one2\n"),
        (
            "-m $DIR/one $DIR/target -v $DIR/two $DIR/target/sub",
            "onetwo2\n",
        ),
        (
            "-v $DIR/one $DIR/target -m $DIR/two $DIR/target/sub",
            "onetwo2\n",
        ),
        (
            "-m $DIR/one $DIR/target -t size=1m $DIR/target/sub",
            "one2\n",
        ),
        (
            "-m $DIR/two $DIR/target -m $DIR/two $DIR/target/sub -m $DIR/one $DIR/target",
            "one2\n",
        ),
    ] {
        // Where the order counts, it counts across the action as well.
        let (before, after) = options.split_at(options.find(" -").unwrap() + 1);
        for line in [
            format!("{options} run"),
            format!("{before}run {after}"),
            format!("run {options}"),
        ] {
            let words = format!("{line} -C $DIR/target");
            let words = words.split(' ').map(|word| {
                word.replace(
                    "$DIR",
                    host.path("").to_str().unwrap().trim_end_matches('/'),
                )
            });
            let words = words.chain(["/bin/sh", "-c", shown].map(str::to_owned));
            assert_eq!(out(&host.run(words)), expected, "{line}");
        }
    }
    // What is covered by then is no target any more.
    assert_line_refused(
        &host,
        "-t size=1m $DIR/target -m $DIR/two $DIR/target/sub run true",
        "cannot map \"$DIR/two\" on \"$DIR/target/sub\": No such file or directory\n\
         hint: \"$DIR/target/sub\" must exist in the root filesystem, or in what is mapped before; nothing is created there",
    );
}

#[test]
fn a_map_is_read_only_and_a_vol_is_not() {
    let host = Host::new();
    sources(&host);
    let script = "(: > $0/new) 2>/dev/null && echo written || echo no";
    let target = host.path("target");
    let shell = [
        "run".as_ref(),
        "/bin/sh".as_ref(),
        "-c".as_ref(),
        OsStr::new(script),
    ];
    for (option, expected) in [("-m", "no\n"), ("-v", "written\n")] {
        let source = host.path("one");
        let words = [option.as_ref(), source.as_os_str(), target.as_os_str()];
        let words = words.into_iter().chain(shell).chain([target.as_os_str()]);
        let run = host.run(words);
        assert_eq!(
            String::from_utf8_lossy(&run.stdout),
            expected,
            "{}",
            text(&run)
        );
        assert_eq!(source.join("new").exists(), option == "-v");
    }
    assert_eq!(fs::read_dir(target).unwrap().count(), 0);
}

#[test]
fn here_is_the_current_directory_read_write_and_the_place_to_start() {
    let host = Host::new();
    let dir = host.caller_dir("work");
    let script = "pwd; (: > new) 2>/dev/null && echo written";
    let run = |options: &[&str]| {
        let words = options.iter().copied();
        let words = words.chain(["run", "/bin/sh", "-c", script]);
        host.selfdock()
            .args(words)
            .current_dir(&dir)
            .output()
            .unwrap()
    };
    let without = run(&[]);
    assert_eq!(
        String::from_utf8_lossy(&without.stdout),
        format!("{}\n", dir.display())
    );
    assert_ended(&without, 2);
    assert_eq!(
        out(&run(&["--here"])),
        format!("{}\nwritten\n", dir.display())
    );
    assert!(dir.join("new").exists());
    // Twice is no more than once, and -C still says where to start.
    assert_eq!(
        out(&run(&["--here", "--here"])),
        format!("{}\nwritten\n", dir.display())
    );
    let elsewhere = run(&["--here", "-C", "/tmp"]);
    assert_eq!(out(&elsewhere), "/tmp\nwritten\n");
    // In order with the others, so a later one covers it.
    let path = dir.to_str().unwrap();
    let covering = run(&["-t", "", path, "--here"]);
    assert_eq!(out(&covering), format!("{path}\nwritten\n"));
    let covered = run(&["--here", "-t", "", path]);
    assert_eq!(String::from_utf8_lossy(&covered.stdout), "/\n");
}

#[test]
fn a_current_directory_without_a_path_is_refused_for_here_and_else_is_the_root() {
    let host = Host::new();
    let dir = host.caller_dir("home");
    let deleted = |words: &str| {
        let script = format!("mkdir gone && cd gone && rmdir ../gone && exec \"$0\" {words}");
        let mut shell = host.as_caller("/bin/sh");
        shell
            .args(["-c", &script])
            .arg(host.program())
            .current_dir(&dir);
        shell.output().unwrap()
    };
    assert_eq!(out(&deleted("run /bin/pwd")), "/\n");
    assert_refused(
        &deleted("--here run /bin/pwd"),
        "cannot use the current directory: it has no path here\n\
         hint: change to a directory that exists",
    );
}

/// The same path alone does not make it the same directory: /dev/shm is another one inside.
#[test]
fn the_command_starts_in_the_callers_directory_only_if_it_is_the_very_same() {
    let host = Host::new();
    let dir = host.caller_dir("work");
    for (directory, expected) in [
        (dir.as_path(), dir.as_path()),
        ("/dev/shm".as_ref(), "/".as_ref()),
    ] {
        let run = host
            .selfdock()
            .args(["run", "/bin/pwd"])
            .current_dir(directory)
            .output()
            .unwrap();
        assert_eq!(out(&run), format!("{}\n", expected.display()));
    }
    // Covered by another one of the same name.
    let words = ["-t", "", dir.to_str().unwrap(), "run", "/bin/pwd"];
    let run = host
        .selfdock()
        .args(words)
        .current_dir(&dir)
        .output()
        .unwrap();
    assert_eq!(out(&run), "/\n");
}

#[test]
fn who_types_is_told_that_the_current_directory_is_not_visible() {
    let host = Host::new();
    let hint = "hint: the current directory is not visible inside, so the command starts in /; \
                --here shows it\n";
    for (directory, words, expected) in [
        ("/dev/shm", &["run", "/bin/true"][..], hint),
        ("/dev/shm", &["-C", "/tmp", "run", "/bin/true"], ""),
        ("/", &["run", "/bin/true"], ""),
    ] {
        let mut command = host.selfdock();
        command.args(words).current_dir(directory);
        let silent = command.output().unwrap();
        assert_eq!(out(&silent), "", "{directory} {words:?}");
        let (mut command, _terminal) = on_terminal(command);
        let run = command.output().unwrap();
        assert_ended(&run, 0);
        assert_eq!(
            String::from_utf8_lossy(&run.stderr),
            expected,
            "{directory} {words:?}"
        );
    }
}

#[test]
fn variables_are_set_and_unset_in_order() {
    let host = Host::new();
    let run = |options: &[&str]| {
        let mut command = host.selfdock();
        command
            .env_clear()
            .env("A", "outer")
            .env("PATH", "/usr/bin:/bin");
        command.args(options).args(["run", "/usr/bin/env"]);
        let run = command.output().unwrap();
        let mut lines: Vec<_> = out(&run).lines().map(str::to_owned).collect();
        lines.retain(|line| !line.starts_with("PATH="));
        lines.sort();
        lines.join(" ")
    };
    for (options, expected) in [
        (&[][..], "A=outer"),
        (&["-e", "A", "1"], "A=1"),
        (&["-e", "A", "1", "-e", "A", "2"], "A=2"),
        (&["-E", "A"], ""),
        (&["-E", "nosuch"], "A=outer"),
        (&["-e", "B", "x", "-E", "A"], "B=x"),
        (&["-e", "B", "x", "-E", "B"], "A=outer"),
        (&["-E", "B", "-e", "B", "x"], "A=outer B=x"),
        (&["-e", "B", ""], "A=outer B="),
        (&["--env", "B", "a=b c"], "A=outer B=a=b c"),
    ] {
        assert_eq!(run(options), expected, "{options:?}");
    }
}

#[test]
fn help_and_version_need_no_privilege() {
    let host = Host::new();
    let plain = host.path("plain");
    // Not by this process: a fork of another thread's would hold it open for writing.
    let mut install = Command::new("install");
    install.args(["-m", "755"]).arg(host.program()).arg(&plain);
    assert!(install.status().unwrap().success());
    let run = |words: &[&str]| host.as_caller(&plain).args(words).output().unwrap();
    assert_refused(
        &run(&["--privilege", "setuid", "run", "/bin/true"]),
        "cannot get privilege: selfdock is not installed set-user-id root\n\
         hint: ./install.sh, in its sources, installs it as it must be",
    );
    let help = run(&["--help"]);
    for word in [
        "run", "build", "--rootfs", "-C", "--map", "--vol", "--here", "--tmpfs", "--env", "-E",
    ] {
        assert!(out(&help).contains(word), "{word}: {}", text(&help));
    }
    assert_eq!(
        out(&run(&["--version"])),
        concat!("selfdock ", env!("CARGO_PKG_VERSION"), "\n")
    );
    for (short, long) in [("-h", "--help"), ("-V", "--version")] {
        let expected = run(&[long]);
        for words in [
            &[short][..],
            &["run", short],
            &["-r", "/nosuch", short],
            &["run", "--here", long],
        ] {
            assert_eq!(out(&run(words)), out(&expected), "{words:?}");
        }
    }
    // Behind the command, it is the command's.
    let words = ["run", "/bin/sh", "-c", "echo $1", "sh", "--help"];
    assert_eq!(out(&host.run(words)), "--help\n");
}

#[test]
fn help_that_cannot_be_written_is_a_failure() {
    let host = Host::new();
    for option in ["--help", "--version"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let run = host.selfdock().arg(option).stdout(full).output().unwrap();
        assert_ended(&run, CANNOT);
    }
}

#[test]
fn run_alone_on_a_terminal_starts_the_shell() {
    let host = Host::new();
    let shell = host.compile(
        "shell",
        r#"#include <stdio.h>
        #include <unistd.h>
        int main(int argc, char **argv) { printf("mine %d %d\n", getpid(), argc); return 7; }"#,
    );
    let shell = shell.to_str().unwrap();
    for words in [&["run"][..], &["run", "--"], &["-C", "/", "run", "-E", "A"]] {
        let mut command = host.selfdock();
        command.args(words).env("SHELL", shell);
        let (mut command, _terminal) = on_terminal(command);
        let run = command.output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&run.stdout),
            "mine 1 1\n",
            "{}",
            text(&run)
        );
        assert_ended(&run, 7);
    }
    // Of the environment that it shall have.
    let mut command = host.selfdock();
    command
        .args(["run", "-e", "SHELL", shell])
        .env("SHELL", "/bin/false");
    let (mut command, _terminal) = on_terminal(command);
    assert_ended(&command.output().unwrap(), 7);
}

#[test]
fn who_has_no_shell_gets_bin_sh() {
    let host = Host::new();
    for shell in [None, Some("")] {
        let mut command = host.selfdock();
        command.arg("run").env_remove("SHELL").env_remove("ENV");
        if let Some(shell) = shell {
            command.env("SHELL", shell);
        }
        let (mut command, mut terminal) = on_terminal(command);
        terminal.write_all(b"echo \"$0 $$\"; exit 7\n").unwrap();
        let run = command.output().unwrap();
        assert_ended(&run, 7);
        assert_eq!(
            String::from_utf8_lossy(&run.stdout),
            "/bin/sh 1\n",
            "{}",
            text(&run)
        );
    }
}

#[test]
fn a_failure_leaves_the_root_filesystem_as_it_was() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("rootfs");
    host.caller_file(rootfs.join("etc/file"), 0o644, "");
    symlink("/nosuch", rootfs.join("mnt/dangling")).unwrap();
    sources(&host);
    let before = listing(&rootfs);
    for (action, status) in [
        ("-v $DIR/one /nosuch ACTION true", 124),
        ("-v $DIR/one /mnt/nosuch ACTION true", 124),
        ("-v $DIR/one /mnt/nosuch/below ACTION true", 124),
        ("-v $DIR/one/name /mnt/nosuch ACTION true", 124),
        ("-v $DIR/one /mnt/dangling ACTION true", 124),
        ("-v $DIR/one /etc/file ACTION true", 124),
        ("-v $DIR/one/name /etc ACTION true", 124),
        ("-t size=1m /nosuch ACTION true", 124),
        ("-v $DIR/one /mnt -v $DIR/two /mnt/nosuch ACTION true", 124),
        ("-v $DIR/one /dev/new -v $DIR/one /nosuch ACTION true", 124),
        ("-v $DIR/nosuch /mnt ACTION true", 124),
        ("-C /nosuch ACTION true", 124),
        ("-m $DIR/one / ACTION true", 124),
        ("-m $DIR/one /proc ACTION true", 124),
        ("ACTION nosuch", 127),
        ("ACTION /etc/file", 126),
        ("-v $DIR/one /dev/new ACTION false", 1),
    ] {
        for word in ["run", "build"] {
            let line = format!("-r $DIR/rootfs {}", action.replace("ACTION", word));
            let run = host.run_line(&line);
            assert_eq!(run.status.code(), Some(status), "{line}: {}", text(&run));
            assert_eq!(listing(&rootfs), before, "{line}");
        }
    }
}

//! The exit status: the command's own, one of selfdock's, or the signal that killed the command;
//! and how the command is found, which is what 126 and 127 are about.

mod host;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use host::{Host, assert_ended, out, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A file that can be executed at once: written by another process than this, of which a fork of
/// another thread's might still hold it open.
fn program_file(host: &Host, path: &Path, mode: &str, content: &str) -> PathBuf {
    let path = host.path(path);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-euc", "cat > \"$0\"; chmod \"$1\" \"$0\""]);
    let mut shell = shell
        .arg(&path)
        .arg(mode)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    input.write_all(content.as_bytes()).unwrap();
    drop(input);
    assert!(shell.wait().unwrap().success());
    path
}

/// Fails unless selfdock said that it cannot run `command`, with this word of the kernel's.
#[track_caller]
fn assert_cannot_run(run: &Output, status: i32, command: &str, word: &str) {
    assert_ended(run, status);
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert_eq!(
        stderr,
        format!("selfdock: cannot run {command:?}: {word}\n")
    );
    assert!(run.stdout.is_empty(), "{}", text(run));
}

const NOT_THERE: &str = "No such file or directory";
const DENIED: &str = "Permission denied";

/// `run COMMAND` with this PATH.
fn run_with_path(host: &Host, path: &str, command: &str) -> Output {
    let mut selfdock = host.selfdock();
    selfdock.args(["run", command]).env("PATH", path);
    selfdock.output().unwrap()
}

#[test]
fn the_status_is_the_commands_own() {
    let host = Host::new();
    for status in [0, 1, 2, 42, 123, 124, 125, 126, 127, 128, 137, 255] {
        let script = format!("exit {status}");
        for levels in [1, 3] {
            let program = host.program();
            let mut selfdock = host.selfdock();
            for _ in 1..levels {
                selfdock.arg("run").arg(&program);
            }
            let run = selfdock
                .args(["run", "/bin/sh", "-c", &script])
                .output()
                .unwrap();
            assert_ended(&run, status);
            assert!(
                run.stderr.is_empty() && run.stdout.is_empty(),
                "{}",
                text(&run)
            );
        }
    }
}

#[test]
fn what_selfdock_cannot_do_is_124() {
    let host = Host::new();
    for line in [
        "",
        "nosuch",
        "--nosuch run true",
        "run",
        "run -C /nosuch true",
        "run -m /nosuch /tmp true",
        "run -m /usr /nosuch true",
        "run -r /nosuch true",
    ] {
        assert_ended(&host.run_line(line), 124);
    }
    // As the status of an inner one it comes out of the outer one.
    assert_ended(&host.run_line("run $SD run -C /nosuch true"), 124);
}

#[test]
fn what_cannot_be_executed_is_126() {
    let host = Host::new();
    host.caller_file("plain", 0o644, "#!/bin/sh\n");
    host.root_file("closed", 0o700, "#!/bin/sh\n");
    host.root_dir("vault", 0o700);
    host.root_file("vault/tool", 0o755, "#!/bin/sh\n");
    for command in [
        "/".to_owned(),
        "/usr".to_owned(),
        "/proc/mounts".to_owned(),
        "/dev/null".to_owned(),
        "./usr".to_owned(),
        host.path("plain").display().to_string(),
        host.path("closed").display().to_string(),
        host.path("vault/tool").display().to_string(),
    ] {
        let baseline = host.as_caller(&command).output().unwrap_err();
        assert_eq!(
            baseline.raw_os_error(),
            Some(nix::errno::Errno::EACCES as i32),
            "{command}"
        );
        assert_cannot_run(&host.run(["run", &command]), 126, &command, DENIED);
    }
    let nested = host.run_line("run $SD run /");
    assert_cannot_run(&nested, 126, "/", DENIED);
}

#[test]
fn a_missing_interpreter_is_126_and_named_as_the_cause() {
    let host = Host::new();
    let script = program_file(&host, "script".as_ref(), "755", "#!/nosuch/interpreter\n");
    for command in [script.display().to_string(), "script".to_owned()] {
        let run = run_with_path(&host, host.path("").to_str().unwrap(), &command);
        assert_ended(&run, 126);
        let expected = format!(
            "selfdock: cannot run {command:?}: {NOT_THERE}\n\
             hint: the file is there, but the interpreter that it asks for is not\n"
        );
        assert_eq!(String::from_utf8_lossy(&run.stderr), expected);
    }
}

#[test]
fn what_is_not_there_is_127() {
    let host = Host::new();
    host.caller_file("file", 0o755, "");
    symlink("/nosuch", host.path("dangling")).unwrap();
    let long = "x".repeat(300);
    for command in [
        "/1".to_owned(),
        "/nosuch/tool".to_owned(),
        "nosuchcommand".to_owned(),
        "./nosuchcommand".to_owned(),
        String::new(),
        long.clone(),
        format!("/{long}"),
        host.path("file/below").display().to_string(),
        host.path("dangling").display().to_string(),
        // Outside it is there.
        "/sys/kernel".to_owned(),
    ] {
        let run = run_with_path(&host, "/bin:/usr/bin", &command);
        assert_cannot_run(&run, 127, &command, NOT_THERE);
    }
    let nested = host.run_line("-e PATH /bin run $SD run nosuchcommand");
    assert_cannot_run(&nested, 127, "nosuchcommand", NOT_THERE);
}

#[test]
fn an_empty_path_is_the_current_directory() {
    let host = Host::new();
    let dir = host.caller_dir("work");
    program_file(&host, "work/tool".as_ref(), "755", "#!/bin/sh\necho here\n");
    assert_cannot_run(&run_with_path(&host, "", "tool"), 127, "tool", NOT_THERE);
    assert_cannot_run(
        &run_with_path(&host, "/nosuch", "tool"),
        127,
        "tool",
        NOT_THERE,
    );
    for path in ["", ":", "/nosuch:", ":/nosuch", "/nosuch::/bin", "."] {
        let mut selfdock = host.selfdock();
        selfdock
            .args(["run", "tool"])
            .env("PATH", path)
            .current_dir(&dir);
        assert_eq!(out(&selfdock.output().unwrap()), "here\n", "{path:?}");
        let mut selfdock = host.selfdock();
        selfdock
            .arg("-C")
            .arg(&dir)
            .args(["run", "tool"])
            .env("PATH", path);
        assert_eq!(out(&selfdock.output().unwrap()), "here\n", "{path:?}");
    }
    // An empty name is nowhere, not even in an empty directory name.
    assert_cannot_run(&run_with_path(&host, "", ""), 127, "", NOT_THERE);
}

#[test]
fn a_later_executable_wins_over_an_earlier_file_that_is_none() {
    let host = Host::new();
    for name in ["plain", "directory", "closed", "good", "empty"] {
        host.root_dir(name, 0o755);
    }
    host.root_file("plain/tool", 0o644, "#!/bin/sh\necho wrong\n");
    host.root_dir("directory/tool", 0o755);
    host.root_file("closed/tool", 0o755, "#!/bin/sh\necho wrong\n");
    host::set_mode(&host.path("closed"), 0o700);
    host.root_file("file", 0o755, "");
    program_file(&host, "good/tool".as_ref(), "755", "#!/bin/sh\necho good\n");
    let path = |names: &str| {
        let names = names
            .split(' ')
            .map(|name| host.path(name).display().to_string());
        names.collect::<Vec<_>>().join(":")
    };
    for names in [
        "good",
        "good plain",
        "empty good",
        "nosuch good",
        "file good",
        "plain good",
        "directory good",
        "closed good",
        "plain directory closed empty good plain",
    ] {
        let run = run_with_path(&host, &path(names), "tool");
        assert_eq!(out(&run), "good\n", "{names}");
        // The same as without selfdock.
        let mut env = host.as_caller("/usr/bin/env");
        let env = env.arg("tool").env("PATH", path(names)).output().unwrap();
        assert_eq!(out(&env), "good\n", "{names}");
    }
    // The same as without selfdock: where a file is in the way, that is what is told.
    let bare = |names: &str| {
        let mut env = host.as_caller("/usr/bin/env");
        let env = env.arg("tool").env("PATH", path(names)).output().unwrap();
        env.status.code()
    };
    for names in [
        "plain",
        "directory",
        "closed",
        "plain empty",
        "nosuch directory file",
    ] {
        assert_eq!(bare(names), Some(126), "{names}");
        let run = run_with_path(&host, &path(names), "tool");
        assert_cannot_run(&run, 126, "tool", DENIED);
    }
    for names in ["empty", "nosuch", "file", "empty nosuch file"] {
        let run = run_with_path(&host, &path(names), "tool");
        assert_cannot_run(&run, 127, "tool", NOT_THERE);
    }
}

#[test]
fn the_path_is_the_commands_own() {
    let host = Host::new();
    host.root_dir("tools", 0o755);
    program_file(
        &host,
        "tools/tool".as_ref(),
        "755",
        "#!/bin/sh\necho \"$PATH\"\n",
    );
    let tools = host.path("tools").display().to_string();
    let run = |options: &[&str], path: &str, command: &str| {
        let mut selfdock = host.selfdock();
        selfdock
            .args(options)
            .args(["run", command])
            .env("PATH", path);
        selfdock.output().unwrap()
    };
    let set = run(&["-e", "PATH", &tools], "/bin", "tool");
    assert_eq!(out(&set), format!("{tools}\n"));
    let overridden = run(&["-e", "PATH", "/bin"], &tools, "tool");
    assert_cannot_run(&overridden, 127, "tool", NOT_THERE);
    let unset = run(&["-E", "PATH"], &tools, "tool");
    assert_cannot_run(&unset, 127, "tool", NOT_THERE);
}

#[test]
fn without_a_path_it_is_bin_and_usr_bin() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("rootfs");
    for directory in ["usr", "usr/bin", "usr/local", "usr/local/bin"] {
        host.caller_dir(rootfs.join(directory));
    }
    for (file, content) in [
        ("bin/both", "echo bin"),
        ("usr/bin/both", "echo usr"),
        ("usr/bin/usr", "echo usr"),
        ("usr/local/bin/local", "echo local"),
        ("here", "echo here"),
    ] {
        let content = format!("#!/bin/sh\n{content}\n");
        program_file(&host, &rootfs.join(file), "755", &content);
    }
    let run = |command: &str| {
        let mut selfdock = host.selfdock();
        selfdock.arg("-r").arg(&rootfs).args(["run", command]);
        selfdock.env_remove("PATH").output().unwrap()
    };
    assert_eq!(out(&run("both")), "bin\n");
    assert_eq!(out(&run("usr")), "usr\n");
    assert_cannot_run(&run("local"), 127, "local", NOT_THERE);
    assert_cannot_run(&run("here"), 127, "here", NOT_THERE);
}

/// More words than fitted on the stack of the C program's child, which it overran.
#[test]
fn a_script_without_an_interpreter_line_is_run_by_bin_sh() {
    let host = Host::new();
    host.root_dir("tools", 0o755);
    let content = "echo \"$# $1 $0\"\nexit 5\n";
    let script = program_file(&host, "tools/script".as_ref(), "755", content);
    let tools = host.path("tools").display().to_string();
    for (command, count) in [
        (script.to_str().unwrap(), 0),
        (script.to_str().unwrap(), 1),
        ("script", 2),
        ("script", 9_000),
        ("script", 18_000),
        ("script", 100_000),
    ] {
        let mut selfdock = host.selfdock();
        selfdock.args(["run", command]).env("PATH", &tools);
        selfdock.args((0..count).map(|_| "word"));
        let run = selfdock.output().unwrap();
        let first = if count == 0 { "" } else { "word" };
        let expected = format!("{count} {first} {}\n", script.display());
        assert_eq!(
            String::from_utf8_lossy(&run.stdout),
            expected,
            "{}",
            text(&run)
        );
        assert_ended(&run, 5);
        // The same as without selfdock: execvp(3).
        let mut bare = host.as_caller(&script);
        let bare = bare.args((0..count).map(|_| "word")).output().unwrap();
        assert_eq!((bare.status, bare.stdout), (run.status, run.stdout));
    }
    // Where there is no shell, that is what is missing, and nothing worse happens.
    let rootfs = host.busybox_rootfs("rootfs");
    program_file(&host, &rootfs.join("bin/script"), "755", content);
    fs::remove_file(rootfs.join("bin/sh")).unwrap();
    let mut selfdock = host.selfdock();
    selfdock.arg("-r").arg(&rootfs).args(["run", "/bin/script"]);
    let run = selfdock.args((0..18_000).map(|_| "word")).output().unwrap();
    assert_cannot_run(&run, 126, "/bin/script", "Exec format error");
}

#[test]
fn too_long_a_variable_is_126() {
    let host = Host::new();
    let mut selfdock = host.selfdock();
    selfdock.args(["-e", "BIG", &"x".repeat(131_070), "run", "/bin/true"]);
    let run = selfdock.output().unwrap();
    // A single string may have 128 KiB, its NUL byte included: the word had them, the variable has more.
    assert_ended(&run, 126);
    let expected = "selfdock: cannot run \"/bin/true\": Argument list too long\n";
    assert_eq!(String::from_utf8_lossy(&run.stderr), expected);
}

// Signals.

/// As pid 1 a command dies of no signal that it sends to itself, but of faults and of SIGKILL from
/// outside.
const FAULTS: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/mman.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        const char *fault = argv[1];
        if (!strcmp(fault, "SEGV")) *(volatile int *)8 = 1;
        if (!strcmp(fault, "ILL")) __builtin_trap();
        if (!strcmp(fault, "BUS")) {
            FILE *empty = fopen(argv[2], "r");
            char *page = mmap(0, 4096, PROT_READ, MAP_SHARED, fileno(empty), 0);
            return *(volatile char *)page;
        }
        if (!strcmp(fault, "KILL")) {
            puts("ready");
            fflush(stdout);
            pause();
        }
        return 99;
    }"#;

/// The parent of the command is a process of the caller's too: the one whose parent is this.
fn child_of(host: &Host, parent: u32) -> u32 {
    let is_child = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status
            .lines()
            .any(|line| line == format!("PPid:\t{parent}"))
    };
    let mut children = host.processes().into_iter().filter(is_child);
    let child = children.next().unwrap();
    assert_eq!(children.next(), None);
    child
}

/// Waits for the line `ready`.
fn wait_until_ready(child: &mut std::process::Child) {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
}

#[test]
fn of_a_command_that_a_signal_kills_selfdock_dies_likewise() {
    let host = Host::new();
    let faults = host.compile("faults", FAULTS);
    let empty = host.caller_file("empty", 0o644, "");
    for (fault, signal) in [
        ("SEGV", Signal::SIGSEGV),
        ("ILL", Signal::SIGILL),
        ("BUS", Signal::SIGBUS),
    ] {
        let baseline = host
            .as_caller(&faults)
            .arg(fault)
            .arg(&empty)
            .output()
            .unwrap();
        assert_ended(&baseline, -(signal as i32));
        let mut selfdock = host.selfdock();
        let run = selfdock
            .arg("run")
            .arg(&faults)
            .arg(fault)
            .arg(&empty)
            .output()
            .unwrap();
        assert_ended(&run, -(signal as i32));
        assert!(run.stderr.is_empty(), "{}", text(&run));
    }
}

#[test]
fn of_a_command_that_is_killed_from_outside_selfdock_dies_of_sigkill() {
    let host = Host::new();
    let faults = host.compile("faults", FAULTS);
    let mut selfdock = host.selfdock();
    selfdock
        .arg("run")
        .arg(&faults)
        .arg("KILL")
        .stdout(Stdio::piped());
    let mut supervisor = selfdock.spawn().unwrap();
    wait_until_ready(&mut supervisor);
    let command = child_of(&host, supervisor.id());
    kill(Pid::from_raw(command.cast_signed()), Signal::SIGKILL).unwrap();
    assert_eq!(
        supervisor.wait().unwrap().signal(),
        Some(Signal::SIGKILL as i32)
    );
}

/// Of those that pid 1 does not feel, selfdock dies in its stead: see the tests on signals.
#[test]
fn of_a_signal_that_ends_the_instance_selfdock_dies() {
    let host = Host::new();
    let faults = host.compile("faults", FAULTS);
    for signal in [1, 2, 3, 10, 13, 14, 15, 34, 40, 64] {
        // Treated as usual, whatever this test was started by: nohup(1), say.
        let mut selfdock = host.as_caller("env");
        selfdock.arg("--default-signal").arg(host.program());
        selfdock
            .arg("run")
            .arg(&faults)
            .arg("KILL")
            .stdout(Stdio::piped());
        let mut supervisor = selfdock.spawn().unwrap();
        wait_until_ready(&mut supervisor);
        let script = format!("kill -{signal} {}", supervisor.id());
        let sent = host
            .as_caller("/bin/sh")
            .args(["-c", &script])
            .status()
            .unwrap();
        assert!(sent.success());
        assert_eq!(supervisor.wait().unwrap().signal(), Some(signal));
    }
}

/// A shell sees 128 and the number, as it would without selfdock.
#[test]
fn a_shell_sees_the_same_status_with_and_without_selfdock() {
    let host = Host::new();
    let faults = host.compile("faults", FAULTS);
    let status = |prefix: &str| {
        let script = format!("{prefix} \"$1\" SEGV; echo $?");
        let mut shell = host.as_caller("/bin/sh");
        shell.args(["-c", &script]).arg(host.program()).arg(&faults);
        String::from_utf8(shell.output().unwrap().stdout).unwrap()
    };
    assert_eq!(status(""), "139\n");
    assert_eq!(status("\"$0\" run"), "139\n");
    assert_eq!(status("\"$0\" run \"$0\" run"), "139\n");
}

/// An inner selfdock is pid 1 itself, which no signal of its own kills: so it tells the outer one.
#[test]
fn the_outermost_selfdock_dies_of_the_signal_of_the_innermost_command() {
    let host = Host::new();
    let faults = host.compile("faults", FAULTS);
    let faults = faults.to_str().unwrap();
    let program = host.program();
    let program = program.to_str().unwrap();
    for levels in [2, 4] {
        let selfdocks = [program, "run"].repeat(levels - 1);
        let words = ["run"].iter().chain(&selfdocks).copied();
        let run = host.run(words.clone().chain([faults, "SEGV"]));
        assert_ended(&run, -(Signal::SIGSEGV as i32));
        assert!(run.stderr.is_empty(), "{}", text(&run));

        let mut selfdock = host.selfdock();
        selfdock
            .args(words.chain([faults, "KILL"]))
            .stdout(Stdio::piped());
        let mut supervisor = selfdock.spawn().unwrap();
        wait_until_ready(&mut supervisor);
        let supervisor_id = Pid::from_raw(supervisor.id().cast_signed());
        kill(supervisor_id, Signal::SIGTERM).unwrap();
        let ended = supervisor.wait().unwrap();
        assert_eq!(ended.signal(), Some(Signal::SIGTERM as i32), "{ended}");
    }
}

/// As pid 1 of a namespace that no selfdock has made there is nobody to tell.
#[test]
fn as_pid_1_of_another_namespace_selfdock_exits_with_128_and_the_signal() {
    let host = Host::new();
    let faults = host.compile("faults", FAULTS);
    let uid = host.uid().to_string();
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--pid",
        "--fork",
        "--mount-proc",
        "setpriv",
        "--reuid",
        &uid,
    ]);
    unshare.args(["--regid", &uid, "--clear-groups", "--"]);
    let run = unshare
        .arg(host.program())
        .args(["run", faults.to_str().unwrap(), "SEGV"])
        .output()
        .unwrap();
    assert_ended(&run, 128 + Signal::SIGSEGV as i32);
}

/// The command may leave one, that is its own business; selfdock, which only repeats its death,
/// must not overwrite that.
#[test]
fn selfdock_leaves_no_core_file() {
    let host = Host::new();
    let faults = host.compile("faults", FAULTS);
    let dir = host.caller_dir("work");
    let id = host.uid().to_string();
    let crash = |words: &[&std::ffi::OsStr]| {
        let mut command = Command::new("prlimit");
        command.arg("--core=unlimited");
        command.args([
            "setpriv",
            "--reuid",
            &id,
            "--regid",
            &id,
            "--clear-groups",
            "--",
        ]);
        command.args(words).current_dir(&dir).output().unwrap()
    };
    let baseline = crash(&[faults.as_os_str(), "SEGV".as_ref()]);
    assert!(baseline.status.core_dumped(), "{}", text(&baseline));
    for core in fs::read_dir(&dir).unwrap() {
        fs::remove_file(core.unwrap().path()).unwrap();
    }
    let program = host.program();
    let run = crash(&[
        program.as_os_str(),
        "run".as_ref(),
        faults.as_os_str(),
        "SEGV".as_ref(),
    ]);
    assert_ended(&run, -(Signal::SIGSEGV as i32));
    assert!(!run.status.core_dumped(), "{}", text(&run));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

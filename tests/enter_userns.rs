//! Entering an instance whose command has made user namespaces of its own: what selfdock joins is never of
//! the command's choice, and nobody inside gets hold of who enters.

mod host;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use host::terminal::PATIENCE;
use host::{Host, Install, out, text};

/// `grasp FILE`, with the machine's /proc on /mnt: in a user namespace of its own, where it has every
/// capability, it writes to FILE through the root directory of any process that lets it.
const GRASP: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (unshare(CLONE_NEWUSER)) return perror("unshare"), 99;
    puts("ready");
    fflush(stdout);
    for (;;) {
        DIR *all = opendir("/mnt");
        if (!all) return perror("/mnt"), 98;
        for (struct dirent *entry; (entry = readdir(all));) {
            if (!atoi(entry->d_name)) continue;
            char path[4096];
            snprintf(path, sizeof path, "/mnt/%s/root%s", entry->d_name, argv[1]);
            int file = open(path, O_WRONLY);
            if (file < 0) continue;
            write(file, "grasped\n", 8);
            close(file);
        }
        closedir(all);
    }
}
"#;

/// Every way to have an instance, and who enters it: the program, and the mode.
const MODES: [(&str, &str); 3] = [
    ("setuid", "setuid"),
    ("setuid", "userns"),
    ("bare", "userns"),
];

fn host() -> Host {
    let host = Host::new();
    host.install_as(Install::SetUserId, &host.path("setuid"));
    host.install_as(Install::Rootless, &host.path("bare"));
    host
}

/// An instance that runs, until this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one by the name `web`, and waits until its command has printed a line.
fn start(host: &Host, program: &Path, mode: &str, options: &[&str], command: &[&str]) -> Running {
    let mut selfdock = host.as_caller(program);
    selfdock
        .args(["--privilege", mode, "--name", "web"])
        .args(options)
        .arg("run")
        .args(command);
    let mut child = selfdock.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"ready\n");
    Running(child)
}

fn enter(host: &Host, program: &Path, command: &[&str]) -> Output {
    host.as_caller(program)
        .args(["enter", "web"])
        .args(command)
        .output()
        .unwrap()
}

/// Pid 1 of the instance, as it is outside.
fn pid1(host: &Host, program: &Path) -> String {
    let listing = host.as_caller(program).arg("ps").output().unwrap();
    let line = out(&listing).lines().nth(1).unwrap();
    line.split_whitespace().next().unwrap().to_owned()
}

/// Attack: the command holds capabilities in a user namespace of its own, and waits there.
#[test]
fn nothing_inside_reaches_the_machine_through_who_enters() {
    for (program, mode) in [("setuid", "userns"), ("bare", "userns")] {
        let host = host();
        let program = host.path(program);
        let grasp = host.compile("grasp", GRASP);
        let marker = host.caller_file("marker", 0o644, "");
        let (file, grasp) = (marker.to_str().unwrap(), grasp.to_str().unwrap());
        let _running = start(
            &host,
            &program,
            mode,
            &["-m", "/proc", "/mnt"],
            &[grasp, file],
        );
        for _ in 0..20 {
            assert_eq!(out(&enter(&host, &program, &["echo", "in"])), "in\n");
        }
        // The moment after each setns(2), for half a second. Traced by the caller, it is without the bit.
        let mut command = host.as_caller("strace");
        command.args(["-f", "-o", "/dev/null", "-e", "trace=setns"]);
        command.args(["-e", "inject=setns:delay_exit=500000"]);
        command
            .arg(host.path("bare"))
            .args(["enter", "web", "echo", "in"]);
        let watcher = watch(&host);
        assert_eq!(out(&command.output().unwrap()), "in\n");
        assert_eq!(fs::read_to_string(&marker).unwrap(), "", "{mode}");
        assert_eq!(seen(watcher), "", "who enters can be looked at");

        // Control: a program that goes there without care.
        let mut careless = host.as_caller("nsenter");
        careless.args([
            "--user",
            "--preserve-credentials",
            "--target",
            &pid1(&host, &program),
        ]);
        let mut careless = careless.args(["sleep", "1000"]).spawn().unwrap();
        let comm = format!("/proc/{}/comm", careless.id());
        let deadline = Instant::now() + PATIENCE;
        while fs::read_to_string(&comm).unwrap() != "sleep\n"
            || fs::read_to_string(&marker).unwrap().is_empty()
        {
            assert!(Instant::now() < deadline, "control: nobody is grasped");
            std::thread::sleep(Duration::from_millis(5));
        }
        let watcher = watch(&host);
        assert!(seen(watcher).contains("sleep"), "control: nobody is seen");
        careless.kill().unwrap();
        careless.wait().unwrap();
    }
}

/// Looks, as the caller, for processes of theirs outside of instances that are in another user namespace
/// and let themselves be looked at; once, and again until its input ends.
fn watch(host: &Host) -> Child {
    let script = "own=$(readlink /proc/self/ns/user); inside=$(readlink /proc/self/ns/pid)
        while :; do for process in /proc/[0-9]*; do
            users=$(readlink $process/ns/user) && [ \"$users\" != \"$own\" ] &&
                [ \"$(readlink $process/ns/pid)\" = \"$inside\" ] && cat $process/comm
        done; read -t 0.01 line; [ $? -gt 128 ] || break; done 2>/dev/null";
    let mut watcher = host.as_caller("bash");
    watcher
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    watcher.spawn().unwrap()
}

/// What it has seen.
fn seen(mut watcher: Child) -> String {
    std::thread::sleep(Duration::from_millis(100)); // once more
    drop(watcher.stdin.take());
    let run = watcher.wait_with_output().unwrap();
    String::from_utf8_lossy(&run.stdout).into_owned()
}

/// The namespaces that the instance is made of count, and not that in which its pid 1 is by now.
#[test]
fn an_instance_whose_command_is_in_a_user_namespace_of_its_own_is_entered() {
    let host = host();
    for (program, mode) in MODES {
        let program = host.path(program);
        for map in ["--map-root-user", "--map-current-user"] {
            let command = [
                "unshare",
                "--user",
                map,
                "sh",
                "-c",
                "echo ready; exec sleep 100",
            ];
            let _running = start(&host, &program, mode, &[], &command);
            let script = "cat /proc/self/uid_map; grep CapEff /proc/self/status; ls -d /proc/1";
            let entered = enter(&host, &program, &["sh", "-c", script]);
            let (first, count) = match mode {
                "setuid" => (0, u32::MAX),
                _ => (host.uid(), 1),
            };
            let expected = format!(
                "{first:>10} {first:>10} {count:>10}\nCapEff:\t0000000000000000\n/proc/1\n"
            );
            assert_eq!(out(&entered), expected, "{mode} {map}");
        }
    }
}

/// Nor does selfdock go to mounts of the command's own making, in which a set-user-id program would obey
/// it.
#[test]
fn an_instance_whose_command_has_mounts_of_its_own_is_entered_elsewhere_or_not_at_all() {
    let host = host();
    for (program, mode) in MODES {
        let program = host.path(program);
        let command = ["unshare", "-Urm", "sh", "-c", "echo ready; exec sleep 100"];
        let _running = start(&host, &program, mode, &[], &command);
        host::assert_refused(
            &enter(&host, &program, &["id"]),
            "cannot enter \"web\": it is of another user namespace",
        );
    }
}

/// From inside a user namespace of the caller's, what is outside is of another one.
#[test]
fn an_instance_further_out_is_refused_in_words() {
    let host = host();
    for (program, mode) in MODES {
        let program: PathBuf = host.path(program);
        let _running = start(
            &host,
            &program,
            mode,
            &[],
            &["sh", "-c", "echo ready; exec sleep 100"],
        );
        let mut command = host.as_caller("unshare");
        command
            .args(["--user", "--map-current-user"])
            .arg(&program)
            .args(["enter", "web", "id"]);
        let run = command.output().unwrap();
        assert_eq!(run.status.code(), Some(host::CANNOT), "{}", text(&run));
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(
            said.starts_with("selfdock: cannot enter \"web\": "),
            "{said}"
        );
        assert!(run.stdout.is_empty());
    }
    // Nothing was left behind by what was refused.
    let listing: Command = host.as_caller(host.path("bare"));
    let mut listing = listing;
    assert_eq!(out(&listing.arg("ps").output().unwrap()).lines().count(), 1);
}

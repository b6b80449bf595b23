//! What the kernel saw of selfdock: root's strace. Traced by root, a set-user-id program keeps its
//! privilege.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::Host;

/// One system call of a trace.
#[derive(Debug, Clone)]
pub struct Call {
    pub pid: String,
    pub name: String,
    pub text: String,
}

impl Call {
    /// The program that it executes, if it does not fail.
    pub fn executes(&self) -> Option<&str> {
        let succeeds = self.text.ends_with("= 0") || self.text.contains("unfinished");
        (self.name == "execve" && succeeds)
            .then(|| self.path())
            .flatten()
    }

    /// The first string that it is given.
    pub fn path(&self) -> Option<&str> {
        self.text.split('"').nth(1)
    }

    /// Does it look a path up, rather than act on a descriptor?
    pub fn takes_a_path(&self) -> bool {
        let names = [
            "open",
            "openat",
            "openat2",
            "creat",
            "access",
            "faccessat",
            "faccessat2",
            "stat",
            "lstat",
            "newfstatat",
            "readlink",
            "readlinkat",
            "chdir",
            "chroot",
            "mkdir",
            "mkdirat",
            "mknod",
            "mknodat",
            "unlink",
            "unlinkat",
            "rename",
            "renameat",
            "renameat2",
            "link",
            "linkat",
            "symlink",
            "symlinkat",
            "chmod",
            "fchmodat",
            "chown",
            "lchown",
            "fchownat",
            "utimensat",
            "mount",
            "umount2",
            "pivot_root",
            "open_tree",
            "move_mount",
            "mount_setattr",
            "statfs",
            "truncate",
            "execve",
            "execveat",
            "setxattr",
            "getxattr",
            "inotify_add_watch",
            "swapon",
            "acct",
            "uselib",
            "statx",
            "socket",
            "connect",
        ];
        names.contains(&self.name.as_str())
    }
}

/// Runs `command` by `strace` as root, and returns what selfdock did: from each exec of it on, until
/// the process executes something else.
pub fn trace(host: &Host, words: &[&str], environment: &[(&str, &str)]) -> (Output, Vec<Call>) {
    let log = host.path("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-s", "4096", "-o"]).arg(&log);
    // Not of strace's own environment, which would obey as well.
    for (name, value) in environment {
        command.args(["-E", &format!("{name}={value}")]);
    }
    command.args(words).env_remove("RUST_BACKTRACE");
    let run = command
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .expect("strace is needed");
    (run, read(&log))
}

/// The calls that strace wrote to `log`, without signals, ends, and what an interrupted line goes on
/// with: what a call is given stands where it begins.
pub fn read(log: &Path) -> Vec<Call> {
    let log = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
    let calls = log.lines().filter_map(|line| {
        let (pid, text) = line.split_once(' ')?;
        let text = text.trim_start();
        let (name, _) = text.split_once('(')?;
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_name.then(|| Call {
            pid: pid.to_owned(),
            name: name.to_owned(),
            text: text.to_owned(),
        })
    });
    calls.collect()
}

/// The calls of processes that run selfdock, with those that they fork, from the exec of it to that
/// of something else; of each start of it anew.
pub fn of_selfdock(calls: &[Call]) -> Vec<Vec<Call>> {
    let mut starts: Vec<Vec<Call>> = Vec::new();
    let mut now: HashMap<&str, usize> = HashMap::new();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut forking = None;
    for call in calls {
        let pid = call.pid.as_str();
        // strace names a child in the result, which may come after the child's own calls.
        if seen.insert(pid)
            && let Some(start) = forking.take()
        {
            now.insert(pid, start);
        }
        if let Some(path) = call.executes() {
            if path.ends_with("/selfdock") {
                now.insert(pid, starts.len());
                starts.push(vec![call.clone()]);
            } else {
                let last = now.remove(pid);
                last.inspect(|start| starts[*start].push(call.clone()));
            }
        } else if let Some(start) = now.get(pid) {
            if ["clone", "clone3", "fork", "vfork"].contains(&call.name.as_str()) {
                forking = Some(*start);
            }
            starts[*start].push(call.clone());
        }
    }
    starts
}

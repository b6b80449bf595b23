//! What the caller's processes are doing.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::Host;
use crate::host::terminal::PATIENCE;

/// Of each of the caller's processes: its state, as a letter, and its parent. See
/// proc_pid_stat(5).
pub fn states(host: &Host) -> Vec<(char, u32)> {
    let state = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut words = rest.split(' ');
        Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
    };
    host.processes().into_iter().filter_map(state).collect()
}

/// Waits until each process of the caller's is in one of these states: at two looks that are the same,
/// for one look does not see who begins meanwhile.
#[track_caller]
pub fn calm(host: &Host, wanted: &str) {
    let mut before = Vec::new();
    wait_until(host, wanted, || {
        let now = states(host);
        let is_calm = now.iter().all(|(state, _)| wanted.contains(*state)) && now == before;
        before = now;
        is_calm
    });
}

/// The children of `parent`, of which there is one.
#[track_caller]
pub fn only_child(host: &Host, parent: u32) -> Pid {
    let is_child = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains(&format!("\nPPid:\t{parent}\n"))
    };
    let children: Vec<_> = host.processes().into_iter().filter(is_child).collect();
    assert_eq!(children.len(), 1, "{children:?}");
    Pid::from_raw(children[0].cast_signed())
}

/// How many of the caller's processes have exactly these words.
pub fn count_of(host: &Host, words: &[&str]) -> usize {
    let words: String = words.iter().map(|word| format!("{word}\0")).collect();
    let is_it =
        |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|it| it == words.as_bytes());
    host.processes().into_iter().filter(is_it).count()
}

/// Ends whatever the caller runs.
pub fn kill_all(host: &Host) {
    for pid in host.processes() {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
}

/// Asks until it is so.
#[track_caller]
pub fn wait_until(host: &Host, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}? {:?}", states(host));
        std::thread::sleep(Duration::from_millis(1));
    }
}

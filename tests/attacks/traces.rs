//! What must be the same before and after an attack.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::host::{Host, mounts};

/// How long what ends may take to be gone.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A file: inode, mode, owner, group, size, times of modification and change, links to it.
type Stat = [i64; 9];

/// The machine, as far as the callers could have changed it.
#[derive(PartialEq, Eq)]
pub struct Traces {
    mounts: String,
    files: BTreeMap<PathBuf, Stat>,
    processes: BTreeSet<u32>,
    /// The mount and pid namespaces of those processes, and of all others that see our files
    /// mounted: each instance of this test's has selfdock's own file mounted.
    namespaces: BTreeSet<String>,
}

impl Traces {
    pub fn of(host: &Host) -> Self {
        let mut files = BTreeMap::new();
        record(&host.path("."), &mut files);
        Self {
            mounts: mounts(),
            files,
            processes: host.processes().into_iter().collect(),
            namespaces: namespaces(host),
        }
    }

    /// What is different now, unless it comes right within some seconds.
    pub fn say_what_changed(&self, host: &Host) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Self::of(host);
            if now == *self {
                return None;
            }
            if Instant::now() > deadline {
                return Some(self.difference(&now));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn difference(&self, now: &Self) -> String {
        let mut said = String::new();
        if self.mounts != now.mounts {
            said.push_str(&format!("mount table, now:\n{}", now.mounts));
        }
        let paths: BTreeSet<_> = self.files.keys().chain(now.files.keys()).collect();
        for path in paths {
            let (before, after) = (self.files.get(path), now.files.get(path));
            if before != after {
                said.push_str(&format!("{}: {before:?}, {after:?}\n", path.display()));
            }
        }
        if self.processes != now.processes {
            said.push_str(&format!("{:?} {:?}\n", self.processes, now.processes));
        }
        if self.namespaces != now.namespaces {
            said.push_str(&format!("{:?} {:?}\n", self.namespaces, now.namespaces));
        }
        said
    }
}

/// Everything below, but what is in a directory called `scratch`.
fn record(path: &Path, files: &mut BTreeMap<PathBuf, Stat>) {
    let Ok(stat) = fs::symlink_metadata(path) else {
        return;
    };
    let is_scratch = path.ends_with("scratch");
    let (modified, changed) = match is_scratch {
        true => (0, 0),
        false => (
            stat.mtime() * 1_000_000_000 + stat.mtime_nsec(),
            stat.ctime() * 1_000_000_000 + stat.ctime_nsec(),
        ),
    };
    let numbers = [stat.ino(), stat.mode().into(), stat.uid().into()];
    let [inode, mode, uid] = numbers.map(u64::cast_signed);
    let numbers = [stat.gid().into(), stat.size(), stat.nlink()];
    let [gid, size, links] = numbers.map(u64::cast_signed);
    let size = if is_scratch { 0 } else { size };
    let rdev = stat.rdev().cast_signed();
    let entry = [inode, mode, uid, gid, size, modified, changed, links, rdev];
    files.insert(path.to_owned(), entry);
    if stat.is_dir() && !is_scratch {
        for entry in fs::read_dir(path).unwrap().flatten() {
            record(&entry.path(), files);
        }
    }
}

fn namespaces(host: &Host) -> BTreeSet<String> {
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    let mut known: BTreeMap<PathBuf, bool> = BTreeMap::from([(own, false)]);
    let callers: BTreeSet<u32> = host.processes().into_iter().collect();
    let program = host.path("bin");
    let directory = program.parent().unwrap().to_str().unwrap().to_owned();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(mount) = fs::read_link(entry.path().join("ns/mnt")) else {
            continue;
        };
        let shows_ours = *known.entry(mount.clone()).or_insert_with(|| {
            let table = fs::read_to_string(entry.path().join("mountinfo"));
            table.is_ok_and(|table| table.contains(&directory))
        });
        if shows_ours || callers.contains(&pid) {
            found.insert(mount.display().to_string());
            let pids = fs::read_link(entry.path().join("ns/pid_for_children"));
            found.extend(pids.map(|pids| pids.display().to_string()));
        }
    }
    found
}

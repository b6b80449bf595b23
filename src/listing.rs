//! Which instances run: nothing is kept about them, so /proc is asked.
//!
//! An instance is a pid 1 whose parent looks like a supervisor: one pid namespace further out,
//! with no_new_privs, and with a command line of selfdock's that starts something, which tells the
//! name, the root filesystem and the command. Without privilege, and nothing but what the kernel
//! says is believed where it matters: whose it is. A caller can forge instances of their own only.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::iter::successors;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use thiserror::Error;

use crate::cli::{self, Parsed};
use crate::mountinfo::MountTable;
use crate::name::InstanceName;
use crate::path::HostPath;
use crate::procinfo::{Status, start, words};
use crate::request::{Order, Program, Request};
use crate::sys::procfs::Procfs;

/// Units of a start time in a second: USER_HZ of every architecture that this is made for.
const TICKS: u64 = 100;

/// Why the instances are not known.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ListingError {
    /// Its numbers are not ours, and it shows what is not ours.
    #[error("/proc belongs to another pid namespace")]
    Foreign,
    /// The processes, or this one, could not be read; or the clock.
    #[error("{}", .0.desc())]
    Kernel(#[from] Errno),
}

/// Why a word does not lead to an instance.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum FindError {
    /// None of the caller's.
    #[error("no such instance")]
    None,
    /// Root sees those of all users, and each network namespace has its own names.
    #[error("several instances have that name")]
    Several,
}

/// One that runs.
#[derive(Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its pid 1.
    pub pid: u32,
    /// The process that waits for it.
    pub supervisor: u32,
    /// Whose it is.
    pub uid: u32,
    /// For how long it has run.
    pub age_seconds: u64,
    /// `--name`
    pub name: Option<InstanceName>,
    /// `--rootfs` as it was typed, perhaps relative to a directory that nobody knows any more.
    pub rootfs: HostPath,
    /// The words of the command; none means a shell.
    pub command: Vec<CString>,
    /// The innermost listed instance in which it runs.
    pub outer: Option<u32>,
    started: u64,
    level: usize,
}

/// Those that the caller may know of: their own, or for root all.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    instances: Vec<Instance>,
    /// Who has asked.
    viewer: u32,
    /// Are they those of all users?
    pub is_of_all: bool,
}

impl Listing {
    /// Reads what runs now. What ends meanwhile is left out.
    pub fn read(procfs: &Procfs) -> Result<Self, ListingError> {
        let own = procfs.read(c"self/status")?;
        let own = Status::parse(&own).ok_or(Errno::EINVAL)?;
        if own.pids.len() != 1 {
            return Err(ListingError::Foreign);
        }
        let status = |pid| Some((pid, Status::parse(&procfs.read_of(pid, "status")?)?));
        let scan = Scan {
            procfs,
            viewer: own.uid,
            processes: procfs.processes()?.into_iter().filter_map(status).collect(),
            now: now()?,
        };
        let found = scan.processes.keys().filter_map(|pid| scan.instance(*pid));
        let mut instances: Vec<Instance> = found.collect();
        instances.sort_by_key(|instance| (instance.started, instance.pid));
        let levels = |instance: &Instance| (instance.pid, instance.level);
        let levels: BTreeMap<u32, usize> = instances.iter().map(levels).collect();
        for instance in &mut instances {
            instance.outer = scan.outer(instance, &levels);
        }
        Ok(Self {
            instances,
            viewer: scan.viewer,
            is_of_all: scan.sees_all(),
        })
    }

    /// Those directly in the instance `outer`, or in none that is listed, in the order of their
    /// starts.
    pub fn inside(&self, outer: Option<u32>) -> impl Iterator<Item = &Instance> {
        let instances = self.instances.iter();
        instances.filter(move |instance| instance.outer == outer)
    }

    /// Does this user have one of that name?
    pub fn has(&self, uid: u32, name: &InstanceName) -> bool {
        let mut instances = self.instances.iter();
        instances.any(|instance| instance.uid == uid && instance.name.as_ref() == Some(name))
    }

    /// The one that is meant by a pid, its own or else its supervisor's, or by a name.
    pub fn find(&self, word: &OsStr) -> Result<&Instance, FindError> {
        if let Ok(name) = InstanceName::new(word) {
            let is_meant = |instance: &Instance| instance.name.as_ref() == Some(&name);
            // Root's own before those of users, who may choose any name.
            return match self.only(|instance| is_meant(instance) && instance.uid == self.viewer) {
                Err(FindError::None) => self.only(is_meant),
                own => own,
            };
        }
        let digits = word.as_bytes();
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(FindError::None);
        }
        let number = str::from_utf8(digits)
            .ok()
            .and_then(|word| word.parse().ok());
        let pid: u32 = number.ok_or(FindError::None)?;
        // Of a selfdock that was started by another without more ado, the supervisor is itself the
        // pid 1 of the outer one, which it then stands for.
        self.only(|instance| instance.pid == pid)
            .or_else(|_| self.only(|instance| instance.supervisor == pid))
    }

    fn only(&self, is_meant: impl Fn(&Instance) -> bool) -> Result<&Instance, FindError> {
        let mut meant = self.instances.iter().filter(|instance| is_meant(instance));
        match (meant.next(), meant.next()) {
            (Some(instance), None) => Ok(instance),
            (Some(_), Some(_)) => Err(FindError::Several),
            (None, _) => Err(FindError::None),
        }
    }
}

/// All processes, at one moment or nearly so.
struct Scan<'a> {
    procfs: &'a Procfs,
    viewer: u32,
    processes: BTreeMap<u32, Status>,
    now: u64,
}

impl Scan<'_> {
    fn sees_all(&self) -> bool {
        self.viewer == 0
    }

    /// The instance whose pid 1 this process is, if it is one.
    fn instance(&self, pid: u32) -> Option<Instance> {
        let pid1 = self.processes.get(&pid)?;
        let supervisor = self.processes.get(&pid1.parent)?;
        // The supervisor's user id is the caller's; a command of root's may have changed its own.
        let is_viewers = self.sees_all() || supervisor.uid == self.viewer;
        let is_supervised = pid1.is_pid1_below()
            && supervisor.has_no_new_privs
            && supervisor.pids.len() + 1 == pid1.pids.len();
        if !is_viewers || pid1.is_dead || !is_supervised || !self.is_confined(pid) {
            return None;
        }
        let request = self.request(pid1.parent)?;
        let started = start(&self.procfs.read_of(pid, "stat")?)?;
        Some(Instance {
            pid,
            supervisor: pid1.parent,
            uid: supervisor.uid,
            age_seconds: self.now.saturating_sub(started) / TICKS,
            name: request.name,
            rootfs: request.layout.rootfs,
            command: match request.exec.program {
                Program::Shell => Vec::new(),
                Program::Words(name, arguments) => [vec![name], arguments].concat(),
            },
            outer: None,
            started,
            level: pid1.pids.len(),
        })
    }

    /// Is every mount nosuid, but for selfdock's own file? If that cannot be read, it may be.
    fn is_confined(&self, pid: u32) -> bool {
        let Some(table) = self.procfs.read_of(pid, "mountinfo") else {
            return true;
        };
        MountTable::parse(&table).is_ok_and(|table| table.count_without_nosuid() <= 1)
    }

    /// What the supervisor was asked to start.
    fn request(&self, supervisor: u32) -> Option<Request> {
        let mut words = words(&self.procfs.read_of(supervisor, "cmdline")?);
        if words.is_empty() {
            return None;
        }
        match cli::parse(words.split_off(1)) {
            Ok(Parsed::Order(cli)) => match Order::try_from(cli) {
                Ok(Order::Start(request)) => Some(request),
                _ => None,
            },
            _ => None,
        }
    }

    /// The innermost of these instances in which the supervisor runs.
    fn outer(&self, instance: &Instance, levels: &BTreeMap<u32, usize>) -> Option<u32> {
        let parent = |pid: &u32| Some(self.processes.get(pid)?.parent);
        // Processes that were reparented while they were read might make a circle: the number of
        // steps ends that one, and the order of the levels one of instances.
        successors(Some(instance.supervisor), parent)
            .take(self.processes.len())
            .find(|pid| levels.get(pid).is_some_and(|level| *level < instance.level))
    }
}

/// The time since the machine started, in the units of a start time.
fn now() -> Result<u64, Errno> {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
    let (seconds, nanoseconds) = (now.tv_sec().unsigned_abs(), now.tv_nsec().unsigned_abs());
    Ok(seconds * TICKS + nanoseconds / (1_000_000_000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(pid: u32, supervisor: u32, uid: u32, name: &str) -> Instance {
        Instance {
            pid,
            supervisor,
            uid,
            age_seconds: 0,
            name: InstanceName::new(name.as_ref()).ok(),
            rootfs: HostPath::root(),
            command: Vec::new(),
            outer: None,
            started: 0,
            level: 2,
        }
    }

    #[test]
    fn an_instance_is_found_by_its_name_its_pid_or_its_supervisors() {
        let listing = Listing {
            instances: vec![
                instance(11, 10, 7, "web"),
                // In the first one, and started by it without more ado.
                instance(12, 11, 7, "inner"),
                instance(21, 20, 8, "both"),
                instance(31, 30, 9, "both"),
                instance(41, 40, 9, ""),
            ],
            viewer: 7,
            is_of_all: true,
        };
        for (word, expected) in [
            ("web", Ok(11)),
            ("11", Ok(11)),
            ("10", Ok(11)),
            ("inner", Ok(12)),
            ("12", Ok(12)),
            ("41", Ok(41)),
            ("40", Ok(41)),
            ("both", Err(FindError::Several)),
            ("21", Ok(21)),
            ("Web", Err(FindError::None)),
            ("13", Err(FindError::None)),
            ("", Err(FindError::None)),
            ("-1", Err(FindError::None)),
            ("+11", Err(FindError::None)),
            ("11 ", Err(FindError::None)),
            ("4294967307", Err(FindError::None)),
        ] {
            let found = listing.find(word.as_ref()).map(|instance| instance.pid);
            assert_eq!(found, expected, "{word:?}");
        }
        let both = InstanceName::new("both".as_ref()).unwrap();
        for (uid, expected) in [(7, false), (8, true), (9, true)] {
            assert_eq!(listing.has(uid, &both), expected, "{uid}");
        }
    }
}

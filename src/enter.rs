//! Entering an instance that runs, as `docker exec` does.
//!
//! A mount namespace of somebody else's making is the oldest trap for a set-user-id program: there
//! su(1) believes what its maker has put into /etc (CVE-2022-31214). So nothing is believed of it.
//! The kernel lets us in by the caller's own right to trace the process, and says whose it is; then
//! every mount loses set-user-id in a copy of our own, whatever it was before.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::iter::{once, successors};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::unistd::{Pid, getuid};
use thiserror::Error;

use crate::instance::{self, InstanceError, Subject, put_program};
use crate::listing::{FindError, Listing, ListingError};
use crate::mountinfo::{Entry, MountTable, MountTableError};
use crate::own::OwnFiles;
use crate::path::{InstancePath, Quoted};
use crate::place::{NewRoot, PlaceError};
use crate::procinfo::Status;
use crate::sys::cause::Cause;
use crate::sys::fs::{self, Stat};
use crate::sys::mount::{self, Attr};
use crate::sys::privilege::{AtRest, Gain, Privilege, PrivilegeError, Shelved};
use crate::sys::process::{self, NamespaceError, Process};
use crate::sys::procfs::Procfs;
use crate::sys::rootless::UserNamespaceError;

/// Why an instance cannot be entered.
#[derive(Debug, Error)]
#[error("cannot enter {}: {reason}", Quoted(.instance.as_bytes()))]
pub struct EnterError {
    /// Pid or name, as typed.
    pub instance: OsString,
    /// What keeps the caller out.
    pub reason: Reason,
}

/// What keeps the caller out.
#[derive(Debug, Error)]
pub enum Reason {
    /// None of the caller's has this name, or no process this number.
    #[error("no such instance")]
    None,
    /// More than one has this name.
    #[error("several instances have that name")]
    Several,
    /// A process, but not pid 1 of an instance, nor its supervisor.
    #[error("it is not an instance of selfdock")]
    NotAnInstance,
    /// A process of somebody else's.
    #[error("it belongs to another user")]
    OtherUsers,
    /// It was there a moment ago.
    #[error("it has just ended")]
    Ended,
    /// setns(2): the caller may not trace any process of it.
    #[error("none of its processes may be traced")]
    Untraceable,
    /// Its mount or pid namespace belongs to another user namespace than ours.
    #[error("it is of another user namespace")]
    ForeignUsers,
    /// A mount namespace whose root is not the process's: it was started in a chroot.
    #[error("it was started in a chroot")]
    Chroot,
    /// Mounts other than that of selfdock's own file are not nosuid.
    #[error("its mounts honour set-user-id programs")]
    Unconfined,
    /// The instances could not be listed.
    #[error("cannot list the instances: {0}")]
    Listing(#[from] ListingError),
    /// Its mount table is not what the kernel's manual says.
    #[error(transparent)]
    TableForm(#[from] MountTableError),
    /// A system call failed.
    #[error("{call}: {}", errno.desc())]
    Kernel {
        /// The call that failed.
        call: &'static str,
        /// The kernel's word.
        errno: Errno,
    },
    /// selfdock's own file or the terminal could not be put in place.
    #[error(transparent)]
    Place(#[from] InstanceError),
    /// It belongs to our own user namespace, over which we have nothing.
    #[error("cannot get privilege: {0}")]
    Unprivileged(Cause),
    /// A copy of its mount namespace could not be made.
    #[error("cannot make a mount namespace: {0}")]
    Namespace(#[from] NamespaceError),
    /// Privilege could not be raised.
    #[error("cannot use privilege: {0}")]
    Privilege(#[from] PrivilegeError),
}

fn failed(call: &'static str) -> impl Fn(Errno) -> Reason {
    move |errno| match errno {
        Errno::ESRCH => Reason::Ended,
        errno => Reason::Kernel { call, errno },
    }
}

/// An instance to be entered: one of its processes, held so that its number cannot become another's.
#[derive(Debug)]
pub struct Target {
    process: Process,
    pid1: u32,
    /// The root directory of that process. Not of root's, who is promised nothing: asking would take
    /// capabilities that the caller has and we do not raise.
    root: Option<Stat>,
}

impl Target {
    /// Finds what a pid or a name means.
    ///
    /// Pid 1 itself, or else another process of its namespace: selfdock, nested or as `--init`,
    /// cannot be traced.
    pub fn find(privilege: &Privilege, procfs: &Procfs, word: &OsStr) -> Result<Self, Reason> {
        let listing = Listing::read(procfs)?;
        let pid1 = match listing.find(word) {
            Ok(instance) if instance.uid != getuid().as_raw() => return Err(Reason::OtherUsers),
            Ok(instance) => instance.pid,
            Err(FindError::Several) => return Err(Reason::Several),
            Err(FindError::None) => return Err(explain_absence(procfs, word)),
        };
        Self::choose(privilege, privilege.is_root(), procfs, pid1)
    }

    /// The first process that may be traced.
    fn choose(
        at_rest: &impl AtRest,
        is_root: bool,
        procfs: &Procfs,
        pid1: u32,
    ) -> Result<Self, Reason> {
        for pid in members(procfs, pid1)? {
            match Self::hold(at_rest, is_root, procfs, (pid, pid1)) {
                // With pid 1 all others end, of which some may still be there.
                Err(Errno::ESRCH | Errno::ENOENT) if pid == pid1 => return Err(Reason::Ended),
                Err(_) => {}
                Ok(target) => return Ok(target),
            }
        }
        Err(Reason::Untraceable)
    }

    fn hold(
        at_rest: &impl AtRest,
        is_root: bool,
        procfs: &Procfs,
        (pid, pid1): (u32, u32),
    ) -> Result<Self, Errno> {
        let process = Process::open(Pid::from_raw(pid.cast_signed()))?;
        // By now the number may be that of a process outside.
        match procfs.depth_below(at_rest, &process) {
            Some(depth) if depth > 0 => {}
            _ => return Err(Errno::ESRCH),
        }
        let root = (!is_root).then(|| procfs.root_of(at_rest, &process));
        Ok(Self {
            root: root.transpose()?,
            process,
            pid1,
        })
    }

    /// Gets privilege over what belongs to the instance: what there is, or else what the instance's own
    /// user namespace gives, of which the caller is the owner; then without what there was.
    ///
    /// The owner may trace all that is in it, and who has come there what anybody may: then it can be
    /// another process by which the rest is entered.
    pub fn join_users(
        self,
        privilege: Privilege,
        procfs: &Procfs,
    ) -> Result<(Self, Shelved), Reason> {
        let owner = match procfs.other_owner_of_pids(&privilege, &self.process) {
            // Root's: see `root`.
            Err(Errno::EACCES) if privilege.is_root() => None,
            Err(Errno::EACCES) => return Err(Reason::Untraceable),
            Err(Errno::EPERM) => return Err(Reason::ForeignUsers),
            // Of a process that has ended, and has not been collected.
            Err(Errno::ENOENT) => return Err(Reason::Ended),
            owner => owner.map_err(failed("openat"))?,
        };
        match (owner, privilege) {
            (None, Privilege::Shelved(shelved)) => Ok((self, shelved)),
            (None, Privilege::None(_)) => Err(Reason::Unprivileged(Cause::of_no_privilege())),
            (Some(owner), privilege) => match privilege.give_up()?.join_user_namespace(&owner) {
                Ok(shelved) => {
                    let target = Self::choose(&shelved, shelved.is_root(), procfs, self.pid1)?;
                    Ok((target, shelved))
                }
                // Of another's making, or one in which the caller has another number.
                Err(
                    UserNamespaceError::Kernel {
                        errno: Errno::EPERM,
                        ..
                    }
                    | UserNamespaceError::Privilege(PrivilegeError::MixedUsers),
                ) => Err(Reason::ForeignUsers),
                Err(UserNamespaceError::Privilege(error)) => Err(Reason::Privilege(error)),
                Err(UserNamespaceError::Kernel { call, errno }) => Err(failed(call)(errno)),
            },
        }
    }

    /// Has the next child of this process begin in the pid namespace of the instance.
    pub fn join_processes(&self, shelved: &mut Shelved) -> Result<(), Reason> {
        let raised = shelved.raise()?;
        process::join_pid_namespace(&raised, &self.process).map_err(|errno| match errno {
            Errno::EPERM => Reason::Untraceable,
            errno => failed("setns")(errno),
        })
    }

    /// What the instance's own command may gain by an exec, and so what enters it.
    ///
    /// To be asked when its processes have been joined: then one of them may be traced, and pid 1 has
    /// given up before that what it gives up. If pid 1 has ended, and its number is another's, no process
    /// can begin in its namespace.
    pub fn gain(&self, procfs: &Procfs) -> Result<Gain, Reason> {
        let status = procfs.read_of(self.pid1, "status");
        let status = status.and_then(|status| Status::parse(&status));
        match status {
            Some(pid1) => Ok(Gain::of_status(pid1.has_no_new_privs, pid1.bounding)),
            None => Err(Reason::Ended),
        }
    }

    /// Moves this process to the mounts of the instance: to a copy of them, so that nothing that is
    /// done here is seen there, in which no set-user-id program but selfdock has an effect.
    pub fn join_mounts(
        &self,
        shelved: &mut Shelved,
        own: OwnFiles,
        procfs: &Procfs,
    ) -> Result<(), Reason> {
        let raised = shelved.raise_to_enter()?;
        process::join_mount_namespace(&raised, &self.process).map_err(failed("setns"))?;
        drop(raised);
        match procfs.owns_namespaces() {
            Ok(true) => {}
            Ok(false) | Err(Errno::EPERM) => return Err(Reason::ForeignUsers),
            Err(errno) => return Err(failed("ioctl")(errno)),
        }
        self.check_mounts(shelved, &own, procfs)?;
        process::unshare_mount_namespace(shelved)?;
        let raised = shelved.raise()?;
        mount::restrict_namespace(&raised, Attr::NOSUID).map_err(failed("mount_setattr"))?;
        drop(raised);
        Ok(put_own(shelved, own)?)
    }

    /// Is it what selfdock makes? Not for safety, which is made anew: it is somebody else's if not.
    fn check_mounts(
        &self,
        shelved: &Shelved,
        own: &OwnFiles,
        procfs: &Procfs,
    ) -> Result<(), Reason> {
        let here = fs::open_dir(shelved, c"/").and_then(Stat::of);
        let here = here.map_err(failed("openat2"))?;
        if self.root.is_some_and(|root| !root.is_same_place(&here)) {
            return Err(Reason::Chroot);
        }
        let table = procfs.mount_table().map_err(failed("read"))?;
        let table = MountTable::parse(&table)?;
        let mut exceptions = table.without_nosuid();
        let is_own = |entry: &Entry<'_>| is_own_file(shelved, own, entry);
        if exceptions.next().is_none_or(is_own) && exceptions.next().is_none() {
            Ok(())
        } else {
            Err(Reason::Unconfined)
        }
    }
}

/// Is this mount the running program's file, by whatever path?
fn is_own_file(shelved: &Shelved, own: &OwnFiles, entry: &Entry<'_>) -> bool {
    let path = InstancePath::new(OsStr::from_bytes(&entry.mountpoint).to_owned());
    let there =
        path.map(|path| fs::open_without_links(shelved, path.as_c_str()).and_then(Stat::of));
    let own = own.program_stat();
    matches!((there, own), (Ok(Ok(stat)), Some(own)) if stat.mount_id == entry.id && stat.is_same_file(&own))
}

/// selfdock's own file, and the terminal if the instance was started on one.
fn put_own(shelved: &mut Shelved, own: OwnFiles) -> Result<(), InstanceError> {
    let new_root = NewRoot::current(shelved).map_err(InstanceError::Enter)?;
    if let Some(console) = own.console {
        let path = InstancePath::literal(c"/dev/console");
        match new_root.put(shelved, &console, &path) {
            Ok(()) | Err(PlaceError::Lookup(_)) => {}
            Err(error) => return Err(instance::misplaced(Subject::Device, path, error)),
        }
    }
    match own.program {
        Some(program) => put_program(shelved, &new_root, program),
        None => Ok(()),
    }
}

/// The processes of the namespace whose pid 1 this is, itself first: its descendants in there.
fn members(procfs: &Procfs, pid1: u32) -> Result<Vec<u32>, Reason> {
    let numbers = procfs.processes().map_err(ListingError::from)?;
    let status = |pid| Some((pid, Status::parse(&procfs.read_of(pid, "status")?)?));
    let all: BTreeMap<u32, Status> = numbers.into_iter().filter_map(status).collect();
    let level = all.get(&pid1).ok_or(Reason::Ended)?.pids.len();
    let parent = |pid: &u32| Some(all.get(pid)?.parent);
    let is_member = |(pid, status): &(&u32, &Status)| {
        // The number of steps ends a circle, as of processes that were reparented meanwhile.
        let mut line = successors(Some(**pid), parent).take(all.len());
        **pid != pid1 && status.pids.len() == level && line.any(|ancestor| ancestor == pid1)
    };
    let others = all.iter().filter(is_member).map(|(pid, _)| *pid);
    Ok(once(pid1).chain(others).collect())
}

/// What there is instead of an instance.
fn explain_absence(procfs: &Procfs, word: &OsStr) -> Reason {
    let pid = word.to_str().and_then(|word| word.parse::<u32>().ok());
    let status = pid.and_then(|pid| Status::parse(&procfs.read_of(pid, "status")?));
    match status {
        None => Reason::None,
        Some(status) if status.uid != getuid().as_raw() => Reason::OtherUsers,
        Some(_) => Reason::NotAnInstance,
    }
}

//! A /proc that cannot lie: what the kernel says about this process itself.
//!
//! Inside an instance the caller may have mapped anything anywhere, so `/proc` is proven first:
//! its root must be inode 1 of a proc filesystem, and nothing is looked up across a mount below it.
//! It may belong to an outer pid namespace; `self` is this process in every one that knows it.

use std::ffi::{CStr, CString};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::str::FromStr;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;

use super::fs::{self, Stat, for_each_name, is_on_procfs, open_without_links};
use super::new_descriptor;
use super::privilege::{AtRest, Raised, Renounced};
use super::process::Process;
use crate::procinfo::{self, field};

/// Inode number of the root of every procfs: `PROC_ROOT_INO` in Linux `fs/proc/internal.h`.
const ROOT_INODE: u64 = 1;

/// A proven proc filesystem.
#[derive(Debug)]
pub struct Procfs {
    root: OwnedFd,
    /// The number of the mount that it is on.
    mount: u64,
    /// Is it read by openat(2)?
    is_plain: bool,
}

impl Procfs {
    /// Opens `/proc` and proves it. `ENODEV` if it is something else.
    pub fn open(at_rest: &impl AtRest) -> Result<Self, Errno> {
        let root = open_without_links(at_rest, c"/proc")?;
        let stat = Stat::of(&root)?;
        if !is_on_procfs(&root)? || stat.inode != ROOT_INODE {
            return Err(Errno::ENODEV);
        }
        let mount = stat.mount_id;
        let is_plain = false;
        Ok(Self {
            root,
            mount,
            is_plain,
        })
    }

    /// From now on it is read by openat(2), as the supervisor's filter has it: that sees whether a file
    /// is to be written to, and of openat2(2) it does not.
    pub fn by_plain_calls(self, _: &Renounced) -> Self {
        let is_plain = true;
        Self { is_plain, ..self }
    }

    /// The numbers of the open descriptors, those of this reading excepted.
    ///
    /// A loop up to RLIMIT_NOFILE would miss those above a limit that was lowered since. But since
    /// Linux 6.2 the size of the directory is how many there are (`proc_fd_getattr()` in Linux
    /// `fs/proc/fd.c`), and mostly these are among the first numbers: to ask each of those takes less
    /// time than a list. `EIO` if what is certainly open is not among them.
    pub fn descriptors(&self) -> Result<Vec<RawFd>, Errno> {
        const FIRST: RawFd = 16;
        let dir = self.lookup(c"self/fd", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        let ours = [self.root.as_raw_fd(), dir.as_raw_fd()];
        let mut numbers: Vec<_> = (0..FIRST).filter(|number| is_open(*number)).collect();
        if u64::try_from(numbers.len()) != Ok(Stat::of(&dir)?.size) {
            numbers = numbers_in(&dir)?;
        }
        if !ours.iter().all(|number| numbers.contains(number)) {
            return Err(Errno::EIO);
        }
        numbers.retain(|number| !ours.contains(number));
        Ok(numbers)
    }

    /// The processes that the caller can see, by the numbers that they have here.
    pub fn processes(&self) -> Result<Vec<u32>, Errno> {
        numbers_in(&self.open_to_read(c".", OFlag::O_DIRECTORY)?)
    }

    /// What the kernel calls the file behind the descriptor `number`: a path, or `kind:[detail]`.
    pub fn name_of_descriptor(&self, number: RawFd) -> Result<Vec<u8>, Errno> {
        let link = CString::new(format!("self/fd/{number}")).map_err(|_| Errno::EINVAL)?;
        Ok(self.read_link(&link)?.into_bytes())
    }

    /// The mount table of this process's namespace, in the form of proc_pid_mountinfo(5).
    pub fn mount_table(&self) -> Result<Vec<u8>, Errno> {
        self.read(c"self/mountinfo")
    }

    /// The path by which the running program was found.
    pub fn path_of_program(&self) -> Result<CString, Errno> {
        self.read_link(c"self/exe")
    }

    /// Has this process a controlling terminal?
    pub fn has_controlling_terminal(&self) -> Result<bool, Errno> {
        // What is not understood counts as one: the filter only costs time.
        Ok(procinfo::terminal(&self.read(c"self/stat")?) != Some(0))
    }

    /// Does the host leave user namespaces to programs that AppArmor knows by their paths?
    ///
    /// What cannot be found out counts as yes. A kernel that has no such setting does not; but it may
    /// be this procfs that has none at all, and nothing but the processes.
    pub fn restricts_user_namespaces(&self) -> bool {
        match self.read(c"sys/kernel/apparmor_restrict_unprivileged_userns") {
            Ok(setting) => setting.trim_ascii() != b"0",
            Err(Errno::ENOENT) => self.lookup(c"sys/kernel", OFlag::O_PATH).is_err(),
            Err(_) => true,
        }
    }

    /// Writes `content` to a file of this process's own.
    ///
    /// The one other lookup with privilege, which is over a user namespace only, and of a constant: see
    /// `mount::clone_program`.
    pub(super) fn write(&self, _: &Raised<'_>, path: &CStr, content: &[u8]) -> Result<(), Errno> {
        let file = self.lookup(path, OFlag::O_WRONLY)?;
        let count = nix::unistd::write(file, content)?;
        if count == content.len() {
            Ok(())
        } else {
            Err(Errno::EIO)
        }
    }

    /// What the running program's file is.
    pub fn stat_of_program(&self, at_rest: &impl AtRest) -> Result<Stat, Errno> {
        let dir = self.open_own_dir(at_rest)?;
        // A magic link of our own process, which `lookup` would refuse to follow.
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        Stat::of(openat(&dir, c"exe", flags, Mode::empty())?)
    }

    /// Opens this process's own directory, in which `exe` is the running program's file.
    pub fn open_own_dir(&self, _: &impl AtRest) -> Result<OwnedFd, Errno> {
        self.lookup(c"self", OFlag::O_PATH | OFlag::O_DIRECTORY)
    }

    /// Do our mount and pid namespaces belong to our own user namespace?
    ///
    /// They are asked of the kernel by descriptors. `EPERM` if an owner is further out.
    pub fn owns_namespaces(&self) -> Result<bool, Errno> {
        // As a mere place: not dumpable, we may not read it, but only search it.
        let dir = self.lookup(c"self/ns", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        // Magic links of our own process, which `lookup` would refuse to follow.
        let open = |name| {
            openat(
                &dir,
                name,
                OFlag::O_RDONLY | OFlag::O_CLOEXEC,
                Mode::empty(),
            )
        };
        let own = Stat::of(open(c"user")?)?;
        for name in [c"mnt", c"pid"] {
            let owner = owner_of_namespace(&open(name)?)?;
            if !Stat::of(owner)?.is_same_file(&own) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the root directory of a process is. `EACCES` if the caller may not trace it.
    pub fn root_of(&self, at_rest: &impl AtRest, process: &Process) -> Result<Stat, Errno> {
        Stat::of(self.open_link(at_rest, process, c"root", OFlag::O_PATH)?)
    }

    /// The user namespace that the pid namespace of a process belongs to, if it is not our own.
    ///
    /// Not that of the process itself, which it may have chosen. `EACCES` if the caller may not trace the
    /// process; `EPERM` if the owner is further out than ours.
    pub fn other_owner_of_pids(
        &self,
        at_rest: &impl AtRest,
        process: &Process,
    ) -> Result<Option<OwnedFd>, Errno> {
        let own = self.lookup(c"self/ns", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        let own = openat(
            &own,
            c"user",
            OFlag::O_PATH | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        let pids = self.open_link(at_rest, process, c"ns/pid", OFlag::O_RDONLY)?;
        let owner = owner_of_namespace(&pids)?;
        let is_own = Stat::of(own)?.is_same_file(&Stat::of(&owner)?);
        Ok((!is_own).then_some(owner))
    }

    /// Opens what a magic link of a process's leads to.
    fn open_link(
        &self,
        _: &impl AtRest,
        process: &Process,
        link: &CStr,
        flags: OFlag,
    ) -> Result<OwnedFd, Errno> {
        let pid = self.pid_of(process).ok_or(Errno::ESRCH)?;
        let dir = CString::new(pid.to_string()).map_err(|_| Errno::EINVAL)?;
        let dir = self.lookup(&dir, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        // `lookup` would refuse to follow it; the caller's right to it is asked.
        match openat(&dir, link, flags | OFlag::O_CLOEXEC, Mode::empty()) {
            // Also the kernel's word of one that has ended since: `proc_pid_get_link()`.
            Err(Errno::EACCES) if self.pid_of(process).is_none() => Err(Errno::ESRCH),
            opened => opened,
        }
    }

    /// The process that the thread of this number belongs to, both in the numbers of our namespace.
    /// `None` if this procfs has others.
    pub fn process_of_thread(&self, thread: u32) -> Option<u32> {
        let own = self.read(c"self/status").ok()?;
        let is_ours = field(&own, "NSpid:")?.split_whitespace().count() == 1;
        let status = is_ours.then(|| self.read_of(thread, "status"))??;
        field(&status, "Tgid:")?.parse().ok()
    }

    /// In how many pid namespaces below ours has the process a number as well? `None` if it has
    /// ended, or cannot be seen.
    pub fn depth_below(&self, _: &impl AtRest, process: &Process) -> Option<usize> {
        let own = self.read(c"self/status").ok()?;
        let theirs = self.read(&fdinfo_of(process)?).ok()?;
        let depth = |text| Some(field(text, "NSpid:")?.split_whitespace().count());
        depth(&theirs)?.checked_sub(depth(&own)?)
    }

    /// Is it pid 1 of its pid namespace?
    pub fn is_pid_1(&self, _: &Renounced, process: &Process) -> bool {
        let info = fdinfo_of(process).and_then(|path| self.read(&path).ok());
        let numbers = info.as_deref().and_then(|text| field(text, "NSpid:"));
        numbers.is_some_and(|numbers| numbers.split_whitespace().next_back() == Some("1"))
    }

    /// The number that the process has in this procfs, which may not be that of our namespace. `None`
    /// if it has ended, or cannot be seen.
    pub fn pid_of(&self, process: &Process) -> Option<u32> {
        let info = self.read(&fdinfo_of(process)?).ok()?;
        field(&info, "Pid:")?.parse().ok()
    }

    /// A file of this process's directory, if it is there and the caller may read it.
    pub fn read_of(&self, pid: u32, file: &str) -> Option<Vec<u8>> {
        self.read(&CString::new(format!("{pid}/{file}")).ok()?).ok()
    }

    fn lookup(&self, path: &CStr, flags: OFlag) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::RESOLVE_NO_XDEV;
        openat2(
            &self.root,
            path,
            OpenHow::new()
                .flags(flags | OFlag::O_CLOEXEC)
                .resolve(resolve),
        )
    }

    fn open_to_read(&self, path: &CStr, kind: OFlag) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDONLY | kind;
        if !self.is_plain {
            return self.lookup(path, flags);
        }
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let opened = openat(&self.root, path, flags, Mode::empty())?;
        // No path that is read has `..` or a magic link in it: what it crossed would show.
        if Stat::of(&opened)?.mount_id != self.mount {
            return Err(Errno::EXDEV);
        }
        Ok(opened)
    }

    /// A file of this procfs.
    pub fn read(&self, path: &CStr) -> Result<Vec<u8>, Errno> {
        let file = self.open_to_read(path, OFlag::empty())?;
        let mut content = Vec::new();
        // The kernel gives no more at once (`seq_read_iter()` in Linux `fs/seq_file.c`).
        let mut piece = [0; 4096];
        loop {
            match nix::unistd::read(&file, &mut piece) {
                Ok(0) => return Ok(content),
                Ok(count) => content.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn read_link(&self, path: &CStr) -> Result<CString, Errno> {
        let link = self.lookup(path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
        fs::read_link(link, c"")
    }
}

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// The user namespace that a namespace belongs to: ioctl_ns(2), Linux 4.9.
fn owner_of_namespace(namespace: &OwnedFd) -> Result<OwnedFd, Errno> {
    let (number, request) = (namespace.as_raw_fd(), libc::NS_GET_USERNS);
    // SAFETY: takes numbers only.
    new_descriptor(unsafe { libc::ioctl(number, request) }.into())
}

/// What the kernel says about a descriptor of ours that is a process: see pidfd_open(2).
fn fdinfo_of(process: &Process) -> Option<CString> {
    CString::new(format!("self/fdinfo/{}", process.as_fd().as_raw_fd())).ok()
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: takes numbers only, and changes nothing.
    let status = unsafe { libc::fcntl(number, libc::F_GETFD) };
    status >= 0
}

/// The entries that are numbers, in a directory that may have others.
fn numbers_in<T: FromStr>(dir: &OwnedFd) -> Result<Vec<T>, Errno> {
    let mut numbers = Vec::new();
    let seen = for_each_name(dir, |name| {
        numbers.extend(str::from_utf8(name).unwrap_or_default().parse().ok());
        ControlFlow::Continue(())
    });
    seen.map(|_| numbers)
}

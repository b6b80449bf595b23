//! Inherited descriptors: which kinds the command may keep, and closing the rest.
//!
//! They pass through as through env(1), so that jobservers and process substitution keep working,
//! but only kinds that are for reading and writing. (What those lead to is the caller's doing: a
//! socket can carry a descriptor, and /proc/PID/mem of an outer process is a file.) A directory, a
//! namespace, a pidfd (`pidfd_getfd(2)`) or a mount is a way out of the instance; a kind that is
//! not known here might be.

use std::io::IsTerminal;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use libc::{c_int, c_uint};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use thiserror::Error;

use super::fs::{self, FileKind, Stat};
use super::leash::Leash;
use super::procfs::Procfs;

/// Kinds without a file type that may pass, by the kernel's name for them.
const HARMLESS: [&[u8]; 5] = [
    b"anon_inode:[eventfd]",
    b"anon_inode:[timerfd]",
    b"anon_inode:[signalfd]",
    b"anon_inode:[eventpoll]",
    b"anon_inode:inotify",
];

/// Which of them the caller wants the command to have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// `--keep-fd N`: these must be there, and fit to pass.
    pub kept: Vec<RawFd>,
    /// `--close-fds`: of those above 2 no other passes.
    pub closes_others: bool,
}

impl Wishes {
    fn wants(&self, number: RawFd) -> bool {
        number <= libc::STDERR_FILENO || !self.closes_others || self.kept.contains(&number)
    }
}

/// What passes.
#[derive(Debug)]
pub struct Inherited {
    /// Is a terminal among it, whatever its number?
    pub has_terminal: bool,
    /// What ties us to an outer supervisor.
    pub outer: Option<Leash>,
}

/// Why the command cannot have the descriptors that it should.
#[derive(Debug, Error)]
pub enum DescriptorError {
    /// openat2(2), getdents64(2), fcntl(2), fstat(2), fstatfs(2), readlinkat(2).
    #[error("cannot restrict the inherited descriptors: {}", .0.desc())]
    Kernel(#[from] Errno),
    /// One that the caller named is closed.
    #[error("cannot keep descriptor {0}: it is not open")]
    Closed(RawFd),
    /// One that the caller named is not of a kind that passes.
    #[error("cannot keep descriptor {0}: {1} is not for the command")]
    Unfit(RawFd, Unfit),
}

/// A kind that does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unfit {
    /// A directory.
    #[error("a directory")]
    Directory,
    /// Opened with O_PATH.
    #[error("a mere place (O_PATH)")]
    Place,
    /// A namespace.
    #[error("a namespace")]
    Namespace,
    /// A pidfd.
    #[error("a pidfd")]
    Pidfd,
    /// What ties us to our supervisor.
    #[error("a socket of selfdock's own")]
    Leash,
    /// Some other kind, known to lead out or not known.
    #[error("a file of this kind")]
    Other,
}

/// Marks every inherited descriptor that the command must not have, or shall not, as close-on-exec.
///
/// Called before anything of ours is open but `procfs`. Marked and not closed: the numbers stay
/// taken until exec, so that nothing of ours becomes descriptor 0, 1 or 2. The leash to an outer
/// supervisor, if there is one, is taken over.
pub fn restrict_inherited(procfs: &Procfs, wishes: &Wishes) -> Result<Inherited, DescriptorError> {
    let mut missing = wishes.kept.clone();
    let mut inherited = Inherited {
        has_terminal: false,
        outer: None,
    };
    for number in procfs.descriptors()? {
        // SAFETY: `number` was listed as open a moment ago, and nothing in this process, which has
        // one thread, closes descriptors until this borrow has ended.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        if is_plug(descriptor)? {
            continue;
        }
        let leash = Leash::inherit(descriptor, number)?;
        let stat = Stat::of(descriptor)?;
        // Of each, wanted or not.
        let unfit = match &leash {
            Some(_) => Some(Unfit::Leash),
            None => unfit(procfs, descriptor, &stat)?,
        };
        if let Some(unfit) = unfit
            && wishes.kept.contains(&number)
        {
            return Err(DescriptorError::Unfit(number, unfit));
        }
        missing.retain(|kept| *kept != number);
        if unfit.is_none() && wishes.wants(number) {
            // On Linux nothing but a character device is a terminal.
            inherited.has_terminal |= stat.is(libc::S_IFCHR) && descriptor.is_terminal();
        } else {
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        inherited.outer = inherited.outer.or(leash);
    }
    match missing.first() {
        Some(number) => Err(DescriptorError::Closed(*number)),
        None => Ok(inherited),
    }
}

/// Is it none of the caller's, but what the entry point has put where nothing was open? Exec has
/// left nothing else that is close-on-exec.
fn is_plug(descriptor: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(fcntl(descriptor, FcntlArg::F_GETFD)? & libc::FD_CLOEXEC != 0)
}

/// What keeps it from passing.
fn unfit(procfs: &Procfs, descriptor: BorrowedFd<'_>, stat: &Stat) -> Result<Option<Unfit>, Errno> {
    if fcntl(descriptor, FcntlArg::F_GETFL)? & OFlag::O_PATH.bits() != 0 {
        return Ok(Some(Unfit::Place));
    }
    let unless = |passes: bool, unfit: Unfit| if passes { None } else { Some(unfit) };
    Ok(match stat.mode & libc::S_IFMT {
        libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR | libc::S_IFBLK => None,
        libc::S_IFREG => match fs::kind_of_file(descriptor)? {
            // Regular files to stat(2): namespaces, wherever they are mounted, and pidfds.
            FileKind::Namespace => Some(Unfit::Namespace),
            FileKind::Pidfd => Some(Unfit::Pidfd),
            FileKind::Anonymous => unless(is_harmless(procfs, descriptor)?, Unfit::Other),
            FileKind::Other => None,
        },
        libc::S_IFDIR => Some(Unfit::Directory),
        0 => unless(is_harmless(procfs, descriptor)?, Unfit::Other),
        _ => Some(Unfit::Other),
    })
}

fn is_harmless(procfs: &Procfs, descriptor: BorrowedFd<'_>) -> Result<bool, Errno> {
    let name = procfs.name_of_descriptor(descriptor.as_raw_fd())?;
    Ok(HARMLESS.contains(&name.as_slice()))
}

/// Closes every descriptor of this process but `kept`: close_range(2), Linux 5.9.
pub(crate) fn close_all_but(kept: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut numbers: Vec<c_uint> = kept
        .iter()
        .map(|fd| fd.as_raw_fd().cast_unsigned())
        .collect();
    numbers.sort_unstable();
    let mut first = 0;
    for number in numbers {
        if first < number {
            close_range(first, number - 1)?;
        }
        first = number + 1;
    }
    close_range(first, c_uint::MAX)
}

fn close_range(first: c_uint, last: c_uint) -> Result<(), Errno> {
    const NO_FLAGS: c_int = 0;
    // SAFETY: the range holds no descriptor that is used again: the only caller leaves out those
    // that it keeps, and the process goes on with nothing else.
    let status = unsafe { libc::syscall(libc::SYS_close_range, first, last, NO_FLAGS) };
    Errno::result(status).map(drop)
}

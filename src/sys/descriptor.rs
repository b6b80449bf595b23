//! Inherited descriptors: which kinds the command may keep, and closing the rest.
//!
//! They pass through as through env(1), so that jobservers and process substitution keep working,
//! but only kinds that are for reading and writing. (What those lead to is the caller's doing: a
//! socket can carry a descriptor, and /proc/PID/mem of an outer process is a file.) A directory, a
//! namespace, a pidfd (`pidfd_getfd(2)`) or a mount is a way out of the instance; a kind that is
//! not known here might be.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use libc::{c_int, c_uint};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

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

/// Marks every inherited descriptor that the command must not have as close-on-exec.
///
/// Called before anything of ours is open but `procfs`. Marked and not closed: the numbers stay
/// taken until exec, so that nothing of ours becomes descriptor 0, 1 or 2. The leash to an outer
/// supervisor, if there is one, is taken over.
pub fn restrict_inherited(procfs: &Procfs) -> Result<Option<Leash>, Errno> {
    let mut outer = None;
    for number in procfs.descriptors()? {
        // SAFETY: `number` was listed as open a moment ago, and nothing in this process, which has
        // one thread, closes descriptors until this borrow has ended.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let kind = Stat::of(descriptor)?.mode & libc::S_IFMT;
        let leash = match kind {
            libc::S_IFSOCK => Leash::inherit(descriptor, number)?,
            _ => None,
        };
        if leash.is_some() || !may_pass(procfs, descriptor, number, kind)? {
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        outer = outer.or(leash);
    }
    Ok(outer)
}

fn may_pass(
    procfs: &Procfs,
    descriptor: BorrowedFd<'_>,
    number: RawFd,
    kind: libc::mode_t,
) -> Result<bool, Errno> {
    if fcntl(descriptor, FcntlArg::F_GETFL)? & OFlag::O_PATH.bits() != 0 {
        return Ok(false);
    }
    Ok(match kind {
        libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR | libc::S_IFBLK => true,
        libc::S_IFREG => match fs::kind_of_file(descriptor)? {
            // Regular files to stat(2): namespaces, wherever they are mounted, and pidfds.
            FileKind::Namespace | FileKind::Pidfd => false,
            FileKind::Anonymous => is_harmless(procfs, number)?,
            FileKind::Other => true,
        },
        0 => is_harmless(procfs, number)?,
        _ => false,
    })
}

fn is_harmless(procfs: &Procfs, number: RawFd) -> Result<bool, Errno> {
    Ok(HARMLESS.contains(&procfs.name_of_descriptor(number)?.as_slice()))
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

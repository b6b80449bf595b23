//! Files: opening what the caller names, with the caller's own rights, and asking about it.
//!
//! What looks a path up takes `&Shelved`, so that it cannot run while privilege is raised. A path
//! is looked up once; everything after that goes by the descriptor.

use std::ffi::{CStr, CString};
use std::ops::ControlFlow::{self, Break, Continue};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::c_int;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FchmodatFlags, Mode};
use nix::sys::statfs::{FsType, NSFS_MAGIC, PROC_SUPER_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{AccessFlags, faccessat};

use super::privilege::{AtRest, Renounced, Shelved};

/// The longest path that the kernel tells.
const PATH_MAX: usize = libc::PATH_MAX as usize;

/// How often a lookup is tried again that a rename made uncertain: `EAGAIN` of openat2(2).
const LOOKUP_TRIES: usize = 128;

/// Opens what the caller names, whatever its kind, as a mere place: `O_PATH`.
///
/// As a directory first, since `O_PATH` alone does not trigger an automount
/// (`follow_automount()` in Linux `fs/namei.c`). Never through a magic link of procfs: those lead
/// where no path of the caller's leads, `ELOOP`.
pub fn open_place(shelved: &Shelved, path: &CStr) -> Result<OwnedFd, Errno> {
    match open_dir(shelved, path) {
        Err(Errno::ENOTDIR) => lookup(
            AT_FDCWD,
            path,
            OFlag::O_PATH,
            ResolveFlag::RESOLVE_NO_MAGICLINKS,
        ),
        opened => opened,
    }
}

/// Opens a directory that the caller names as a mere place.
pub fn open_dir(_: &Shelved, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    lookup(AT_FDCWD, path, flags, ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

/// Opens the place of a path in which no link of any kind may occur.
pub fn open_without_links(_: &impl AtRest, path: &CStr) -> Result<OwnedFd, Errno> {
    lookup(
        AT_FDCWD,
        path,
        OFlag::O_PATH,
        ResolveFlag::RESOLVE_NO_SYMLINKS,
    )
}

/// Opens the place that `path` names if `root` is taken for the root directory.
///
/// Absolute links and `..` stay inside.
pub fn open_in_root(_: &Shelved, root: &OwnedFd, path: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    lookup(root.as_fd(), path, OFlag::O_PATH, resolve)
}

/// Opens the place that `path` names below `dir`, on the same mount and through no link.
pub fn open_beneath(_: &Shelved, dir: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    lookup(dir, path, OFlag::O_PATH | OFlag::O_NOFOLLOW, resolve)
}

/// Opens the directory that the command shall start in, when nothing is privileged any more.
pub fn open_working_dir(_: &Renounced, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    lookup(AT_FDCWD, path, flags, ResolveFlag::RESOLVE_NO_MAGICLINKS)
}

fn lookup(
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlag,
    resolve: ResolveFlag,
) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(resolve);
    for _ in 1..LOOKUP_TRIES {
        match openat2(dir, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            opened => return opened,
        }
    }
    openat2(dir, path, how)
}

/// Did a lookup not happen, for want of memory or of descriptors? The caller can bring that about at any
/// moment: prlimit(2).
pub fn is_want(errno: Errno) -> bool {
    [Errno::ENOMEM, Errno::EMFILE, Errno::ENFILE].contains(&errno)
}

/// What a descriptor leads to, in the kernel's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Number of the mount, as in the first field of `mountinfo`.
    pub mount_id: u64,
    /// Is it the root of that mount?
    pub is_mount_root: bool,
    /// Device of the filesystem, major and minor.
    pub device: (u32, u32),
    /// Inode number, unique on its device.
    pub inode: u64,
    /// Kind and permissions: `S_IFMT` and octal bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Number of names; 0 is a file that was removed.
    pub links: u32,
    /// Of a device node: which device, major and minor.
    pub special: (u32, u32),
    /// Bytes, or what the filesystem says instead.
    pub size: u64,
}

impl Stat {
    /// Asks about `fd`: statx(2) with an empty path, Linux 5.8 for the mount's number.
    pub fn of(fd: impl AsFd) -> Result<Self, Errno> {
        Self::at(fd.as_fd().as_raw_fd(), c"")
    }

    /// Asks about the root directory of this process.
    pub fn of_root(_: &Shelved) -> Result<Self, Errno> {
        Self::at(libc::AT_FDCWD, c"/")
    }

    /// Asks about the top of what is mounted on the root directory of this process.
    pub fn of_top(_: &Shelved) -> Result<Self, Errno> {
        Self::at(libc::AT_FDCWD, c"/..")
    }

    /// Asks about what is at `name` in a directory of our own, and about the mount on top there.
    pub fn of_entry(_: &Shelved, own: &OwnedFd, name: &CStr) -> Result<Self, Errno> {
        Self::at(own.as_raw_fd(), name)
    }

    /// Asks about the current directory, whether or not it can be searched or named.
    pub fn of_current_dir() -> Result<Self, Errno> {
        Self::at(libc::AT_FDCWD, c"")
    }

    fn at(fd: c_int, path: &CStr) -> Result<Self, Errno> {
        let mask = libc::STATX_BASIC_STATS | libc::STATX_MNT_ID;
        // What is known already will do: a FUSE server could let the question wait.
        let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | libc::AT_STATX_DONT_SYNC;
        let mut answer = std::mem::MaybeUninit::<libc::statx>::zeroed();
        let (path, buffer) = (path.as_ptr(), answer.as_mut_ptr());
        // SAFETY: `path` is NUL-terminated and outlives the call; the kernel writes one `struct statx`
        // into `buffer`, which is one; `fd` is only looked at.
        let status = unsafe { libc::syscall(libc::SYS_statx, fd, path, flags, mask, buffer) };
        Errno::result(status)?;
        // SAFETY: zeroed and then filled in; every field is an integer, for which zero is a value.
        let answer = unsafe { answer.assume_init() };
        if answer.stx_mask & libc::STATX_MNT_ID == 0 {
            return Err(Errno::ENOSYS);
        }
        let is_mount_root = answer.stx_attributes & (libc::STATX_ATTR_MOUNT_ROOT as u64) != 0;
        Ok(Self {
            mount_id: answer.stx_mnt_id,
            is_mount_root,
            device: (answer.stx_dev_major, answer.stx_dev_minor),
            inode: answer.stx_ino,
            mode: u32::from(answer.stx_mode),
            uid: answer.stx_uid,
            links: answer.stx_nlink,
            special: (answer.stx_rdev_major, answer.stx_rdev_minor),
            size: answer.stx_size,
        })
    }

    /// Is it of this kind, one of `S_IFDIR`, `S_IFREG` and so on?
    pub fn is(&self, kind: libc::mode_t) -> bool {
        self.mode & libc::S_IFMT == kind
    }

    /// Is it a directory?
    pub fn is_dir(&self) -> bool {
        self.is(libc::S_IFDIR)
    }

    /// Is it the very same file on the very same mount?
    pub fn is_same_place(&self, other: &Self) -> bool {
        (self.mount_id, self.inode) == (other.mount_id, other.inode)
    }

    /// Is it the very same file, wherever it is mounted?
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// Kinds of regular files that are no files of anybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A namespace: on nsfs, under a path or not.
    Namespace,
    /// A process: on pidfs, Linux 6.9.
    Pidfd,
    /// An object of the kernel's: `anon_inode:[NAME]`.
    Anonymous,
    /// What people call a file.
    Other,
}

/// Which kind of regular file is it? By the filesystem that it is on: fstatfs(2).
pub fn kind_of_file(fd: impl AsFd) -> Result<FileKind, Errno> {
    const PID_FS_MAGIC: FsType = FsType(0x5049_4446);
    const ANON_INODE_FS_MAGIC: FsType = FsType(0x0904_1934);
    Ok(match fstatfs(fd)?.filesystem_type() {
        NSFS_MAGIC => FileKind::Namespace,
        PID_FS_MAGIC => FileKind::Pidfd,
        ANON_INODE_FS_MAGIC => FileKind::Anonymous,
        _ => FileKind::Other,
    })
}

/// Is it on a proc filesystem?
pub fn is_on_procfs(fd: impl AsFd) -> Result<bool, Errno> {
    Ok(fstatfs(fd)?.filesystem_type() == PROC_SUPER_MAGIC)
}

/// Can the caller make files in this directory, and execute them: faccessat2(2), fstatfs(2).
///
/// Both, since what is at a path may be of the caller's choice: a directory that is only read, with
/// programs of root's, says nothing of where the caller's own may be executed.
pub fn may_execute_new_files(_: &Shelved, dir: impl AsFd) -> Result<bool, Errno> {
    let both = AccessFlags::W_OK | AccessFlags::X_OK;
    let flags = AtFlags::AT_EMPTY_PATH | AtFlags::AT_EACCESS;
    match faccessat(&dir, c"", both, flags) {
        Ok(()) => Ok(!fstatvfs(&dir)?.flags().contains(FsFlags::ST_NOEXEC)),
        Err(Errno::EACCES | Errno::EROFS) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Is the directory empty, and may the caller see that? `EACCES` if not.
pub fn is_empty_dir(_: &Shelved, dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let readable = openat(dir, c".", flags, Mode::empty())?;
    let found = for_each_name(&readable, |name| match name {
        b"." | b".." => Continue(()),
        _ => Break(()),
    });
    Ok(found?.is_continue())
}

/// Passes every name in a directory, which is open for reading, to `visit`, until that has seen
/// enough: getdents64(2).
///
/// Not by libc, which takes some errors for the end, and 32 KiB for each directory.
pub(super) fn for_each_name(
    dir: &OwnedFd,
    mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Errno> {
    // Of `struct linux_dirent64`: where the length of an entry is, and the name in it.
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    let mut buffer = [0_u8; 2048];
    loop {
        let (number, start, size) = (dir.as_raw_fd(), buffer.as_mut_ptr(), buffer.len());
        // SAFETY: the kernel writes at most `size` bytes from `start`, and `buffer` has that many.
        let status = unsafe { libc::syscall(libc::SYS_getdents64, number, start, size) };
        let count = usize::try_from(Errno::result(status)?).unwrap_or(0);
        let mut rest = buffer.get(..count).unwrap_or_default();
        if rest.is_empty() {
            return Ok(Continue(()));
        }
        while let Some(length) = rest.get(LENGTH..).and_then(|field| field.first_chunk()) {
            let length = usize::from(u16::from_ne_bytes(*length));
            let (entry, others) = rest.split_at_checked(length).ok_or(Errno::EIO)?;
            let name = entry.get(NAME..).ok_or(Errno::EIO)?;
            let seen = visit(name.split(|byte| *byte == 0).next().unwrap_or_default());
            if seen.is_break() {
                return Ok(seen);
            }
            rest = others;
        }
    }
}

/// The path of the current directory, or `None` if it has none here: deleted, or out of reach.
///
/// The bare system call: libc's `getcwd` would go looking for the directory itself.
pub fn current_dir() -> Option<CString> {
    let mut buffer = [0_u8; PATH_MAX];
    let (start, size) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the kernel writes at most `size` bytes from `start`, and `buffer` has that many.
    let status = unsafe { libc::syscall(libc::SYS_getcwd, start, size) };
    Errno::result(status).ok()?;
    let path = CStr::from_bytes_until_nul(&buffer).ok()?;
    path.to_bytes().starts_with(b"/").then(|| path.to_owned())
}

/// Where the link `name` in `dir` leads, or the link `dir` itself if that is empty: readlinkat(2).
///
/// Neither here nor for the current directory is the longest path allocated: nothing else is as long,
/// and an allocator may well go to the kernel for it.
pub(super) fn read_link(dir: impl AsFd, name: &CStr) -> Result<CString, Errno> {
    let mut buffer = [0_u8; PATH_MAX];
    let (number, name) = (dir.as_fd().as_raw_fd(), name.as_ptr());
    let (start, size) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: `name` is NUL-terminated and outlives the call; the kernel writes at most `size` bytes
    // from `start`, and `buffer` has that many.
    let status = unsafe { libc::readlinkat(number, name, start, size) };
    let count = usize::try_from(Errno::result(status)?).unwrap_or(0);
    if count == buffer.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    CString::new(buffer.get(..count).unwrap_or_default()).map_err(|_| Errno::EINVAL)
}

/// Makes the empty directory `name` in a tmpfs of our own, for something to be mounted on it.
pub fn create_dir(_: &Shelved, own: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    nix::sys::stat::mkdirat(own, name, Mode::from_bits_truncate(0o755))?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(own, name, flags, Mode::empty())
}

/// Makes the empty file `name` in a tmpfs of our own, for something to be mounted on it.
///
/// Open for reading only: with a writer on it, a mount cannot become read-only.
pub fn create_file(_: &Shelved, own: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    openat(own, name, flags, Mode::from_bits_truncate(0o644))
}

/// Sets the permissions of `name` in a tmpfs of our own, whatever the caller's umask.
pub fn set_mode(_: &Shelved, own: &OwnedFd, name: &CStr, mode: u32) -> Result<(), Errno> {
    let mode = Mode::from_bits_truncate(mode);
    nix::sys::stat::fchmodat(own, name, mode, FchmodatFlags::FollowSymlink)
}

/// Makes the link `name` to `destination` in a tmpfs of our own.
pub fn create_link(
    _: &Shelved,
    own: &OwnedFd,
    name: &CStr,
    destination: &CStr,
) -> Result<(), Errno> {
    nix::unistd::symlinkat(destination, own, name)
}

/// Asks about the file of this name, whether or not it can be executed.
pub fn stat_of(_: &Renounced, path: &CStr) -> Result<Stat, Errno> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
    openat2(AT_FDCWD, path, how).and_then(Stat::of)
}

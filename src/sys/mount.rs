//! The mount calls: each takes a descriptor, and `&Raised` to show that privilege is in use.
//!
//! Flags are only ever added (`attr_clr` is 0 in the one place that fills it in): the older
//! `MS_REMOUNT|MS_BIND` replaces them, and so took nosuid from a source.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use libc::{c_int, c_uint};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::unistd::{fchdir, pivot_root};

use super::new_descriptor;
use super::privilege::Raised;

/// What is forbidden on a mount: `MOUNT_ATTR_*` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr(u64);

impl Attr {
    /// Set-user-id bits and file capabilities mean nothing.
    pub const NOSUID: Self = Self(libc::MOUNT_ATTR_NOSUID);
    /// Nothing can be written.
    pub const RDONLY: Self = Self(libc::MOUNT_ATTR_RDONLY);
    /// Device nodes cannot be opened.
    pub const NODEV: Self = Self(libc::MOUNT_ATTR_NODEV);
    /// Nothing can be executed.
    pub const NOEXEC: Self = Self(libc::MOUNT_ATTR_NOEXEC);

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `other` as well, if `condition` holds.
    pub const fn and_if(self, condition: bool, other: Self) -> Self {
        if condition { self.and(other) } else { self }
    }
}

/// How far a clone or a change of attributes goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The one mount.
    One,
    /// The mounts below it too: `AT_RECURSIVE`.
    All,
}

impl Depth {
    const fn flag(self) -> c_int {
        match self {
            Self::One => 0,
            Self::All => libc::AT_RECURSIVE,
        }
    }
}

/// Clones the mount at `place` into a detached tree: open_tree(2), Linux 5.2.
///
/// Of `Depth::All` the kernel would leave out unbindable mounts, and show what lies beneath them;
/// in a private namespace there are none.
/// Errors: `EINVAL` if `place` is in another mount namespace, or, in a user namespace, if `Depth::One` would uncover a locked mount.
/// Source: `open_detached_copy()` and `__do_loopback()` in Linux `fs/namespace.c`.
pub fn clone_tree(_: &Raised<'_>, place: impl AsFd, depth: Depth) -> Result<OwnedFd, Errno> {
    clone_at(place.as_fd().as_raw_fd(), c"", depth)
}

/// Does our privilege reach the mount namespace that we are in? It may be that of an outer user
/// namespace.
///
/// The kernel asks for that before it looks at anything else, such as a descriptor that is none.
/// Source: `vfs_open_tree()` in Linux `fs/namespace.c`.
pub fn is_reached(_: &Raised<'_>) -> Result<bool, Errno> {
    match clone_at(-1, c"", Depth::One) {
        Err(Errno::EBADF) => Ok(true),
        Err(Errno::EPERM) => Ok(false),
        Err(errno) => Err(errno),
        Ok(_) => Err(Errno::EIO),
    }
}

/// Clones the single-file mount of the running program, whose directory in procfs is `own_dir`.
///
/// The one lookup with privilege: of a constant, a magic link, in a directory proven to be procfs.
/// Errors: `EINVAL` after an unshare(2): the file is on a mount of the old namespace then.
pub fn clone_program(_: &Raised<'_>, own_dir: &OwnedFd) -> Result<OwnedFd, Errno> {
    clone_at(own_dir.as_raw_fd(), c"exe", Depth::One)
}

fn clone_at(dir: c_int, name: &CStr, depth: Depth) -> Result<OwnedFd, Errno> {
    let flags = libc::OPEN_TREE_CLONE
        | libc::OPEN_TREE_CLOEXEC
        | (libc::AT_EMPTY_PATH | depth.flag()) as c_uint;
    let path = name.as_ptr();
    // SAFETY: `path` is NUL-terminated and outlives the call; `dir` is only looked at, and open in all
    // callers but one, which wants it refused.
    let status = unsafe { libc::syscall(libc::SYS_open_tree, dir, path, flags) };
    new_descriptor(status)
}

/// Adds `attr` to the detached `tree` and takes it out of all propagation: mount_setattr(2),
/// Linux 5.12.
///
/// One recursive call, not a remount loop: a loop misses mounts that arrive meanwhile. On a
/// detached tree, so that no one ever sees it without.
/// Errors: `EINVAL` if `tree` is not the root of a mount.
/// Source: `do_mount_setattr()` in Linux `fs/namespace.c`.
pub fn restrict(_: &Raised<'_>, tree: impl AsFd, attr: Attr, depth: Depth) -> Result<(), Errno> {
    mount_setattr(
        tree.as_fd().as_raw_fd(),
        c"",
        depth.flag() | libc::AT_EMPTY_PATH,
        attr,
    )
}

/// Makes every mount of the namespace private: nothing comes in any more, nothing goes out.
///
/// `/` is shared on most hosts, and a private tree attached below a shared mount would appear
/// there too. Never slave: a mount that arrives later would not be nosuid.
/// Errors: `EINVAL` if `/` is not the root of a mount, as in a chroot.
pub fn make_namespace_private(_: &Raised<'_>) -> Result<(), Errno> {
    mount_setattr(libc::AT_FDCWD, c"/", libc::AT_RECURSIVE, Attr(0))
}

/// Forbids `attr` on every mount of the namespace, and makes each private.
///
/// Errors: `EINVAL` if `/` is not the root of a mount.
pub fn restrict_namespace(_: &Raised<'_>, attr: Attr) -> Result<(), Errno> {
    mount_setattr(libc::AT_FDCWD, c"/", libc::AT_RECURSIVE, attr)
}

fn mount_setattr(dir: c_int, path: &CStr, flags: c_int, attr: Attr) -> Result<(), Errno> {
    let change = libc::mount_attr {
        attr_set: attr.0,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    let (path, size) = (path.as_ptr(), size_of_val(&change));
    let change = &raw const change;
    // SAFETY: `path` is NUL-terminated and `change` one `mount_attr` of `size` bytes; both outlive
    // the call. `dir` is open, or AT_FDCWD.
    let status = unsafe { libc::syscall(libc::SYS_mount_setattr, dir, path, flags, change, size) };
    Errno::result(status).map(drop)
}

/// Makes a new filesystem of this `kind`, detached: fsopen(2), fsconfig(2), fsmount(2), Linux 5.2.
///
/// Each option goes to the kernel as a key and a value, so no comma in a value can add another.
/// Only `tmpfs`, `proc` and `devpts` are ever asked for: see the callers.
/// Errors: `EPERM` where a fresh procfs would reveal what the outer one hides; `EINVAL` for an
/// option that this kernel does not know.
pub fn new_filesystem(
    _: &Raised<'_>,
    kind: &CStr,
    options: &[(&CStr, &CStr)],
    attr: Attr,
) -> Result<OwnedFd, Errno> {
    let name = kind.as_ptr();
    // SAFETY: `name` is NUL-terminated and outlives the call.
    let status = unsafe { libc::syscall(libc::SYS_fsopen, name, libc::FSOPEN_CLOEXEC) };
    let context = new_descriptor(status)?;
    for (key, value) in options {
        configure(&context, libc::FSCONFIG_SET_STRING, Some((key, value)))?;
    }
    configure(&context, libc::FSCONFIG_CMD_CREATE, None)?;
    let context = context.as_raw_fd();
    // SAFETY: takes numbers only; `context` is open until the end of this function.
    let status =
        unsafe { libc::syscall(libc::SYS_fsmount, context, libc::FSMOUNT_CLOEXEC, attr.0) };
    new_descriptor(status)
}

fn configure(
    context: &OwnedFd,
    command: libc::fsconfig_command,
    option: Option<(&CStr, &CStr)>,
) -> Result<(), Errno> {
    let key = option.map_or(std::ptr::null(), |(key, _)| key.as_ptr());
    let value = option.map_or(std::ptr::null(), |(_, value)| value.as_ptr());
    let context = context.as_raw_fd();
    // SAFETY: `key` and `value` are NUL-terminated and outlive the call, or null for the command
    // that takes neither; `context` is borrowed, hence open.
    let status = unsafe { libc::syscall(libc::SYS_fsconfig, context, command, key, value, 0) };
    Errno::result(status).map(drop)
}

/// Attaches the detached `tree` on `place`, on top of what may be mounted there: move_mount(2).
///
/// Errors: `ENOTDIR` if one is a directory and the other is not; `EINVAL` if `place` is in another
/// mount namespace; `ENOENT` if `place` was removed; `ENOSPC` at `fs.mount-max` mounts; `ELOOP` if
/// the tree holds a file of a mount namespace no older than this one.
/// Source: `do_move_mount()` in Linux `fs/namespace.c`.
pub fn attach(_: &Raised<'_>, tree: impl AsFd, place: impl AsFd) -> Result<(), Errno> {
    let (tree, place) = (tree.as_fd().as_raw_fd(), place.as_fd().as_raw_fd());
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    let empty = c"".as_ptr();
    // SAFETY: `empty` is a NUL-terminated literal, twice; both descriptors are borrowed, hence open.
    let status = unsafe { libc::syscall(libc::SYS_move_mount, tree, empty, place, empty, flags) };
    Errno::result(status).map(drop)
}

/// Makes the attached `root` the root of the namespace, with the old one stacked on it.
///
/// pivot_root(2) with the same directory twice needs no place to put the old root.
/// Errors: `EINVAL` if the caller is in a chroot, or on the initial ramfs.
pub fn pivot(_: &Raised<'_>, root: &OwnedFd) -> Result<(), Errno> {
    fchdir(root)?;
    pivot_root(c".", c".")
}

/// Detaches what is on top of the current directory, with everything below it: umount2(2),
/// `MNT_DETACH`. Only that one: if it was stacked on another mount, the other one is on top now.
pub fn detach_top(_: &Raised<'_>) -> Result<(), Errno> {
    umount2(c".", MntFlags::MNT_DETACH)
}

//! The instance's own filesystems: /dev, /proc, and tmpfs wherever one is wanted. Nothing else is
//! ever mounted from scratch: no image, no overlay.

use std::ffi::CStr;
use std::os::fd::AsFd;

use crate::instance::{InstanceError, Subject, misplaced};
use crate::path::InstancePath;
use crate::place::{NewRoot, PlaceError};
use crate::sys::fs::{self, Stat};
use crate::sys::mount::{self, Attr, Depth};
use crate::sys::privilege::{Raised, Shelved};
use crate::tmpfs::TmpfsOptions;
use crate::tree::Tree;

/// Of everything in /proc, beside nosuid.
const PROC_ATTR: Attr = Attr::NODEV.and(Attr::NOEXEC);

/// A new filesystem; whatever its kind, nothing on it is set-user-id.
fn new_filesystem(
    raised: &Raised<'_>,
    kind: (&'static str, &CStr),
    options: &[(&CStr, &CStr)],
    attr: Attr,
) -> Result<Tree, InstanceError> {
    let (kind, name) = kind;
    mount::new_filesystem(raised, name, options, attr.and(Attr::NOSUID))
        .and_then(Tree::new)
        .map_err(|errno| InstanceError::Filesystem { kind, errno })
}

/// A tmpfs for the command; executing from it is allowed where the caller can put programs in /tmp and
/// run them.
pub fn new_tmpfs(
    raised: &Raised<'_>,
    options: &TmpfsOptions,
    may_exec_tmp: bool,
) -> Result<Tree, InstanceError> {
    let is_noexec = !options.exec.unwrap_or(may_exec_tmp);
    let attr = Attr::NODEV.and_if(is_noexec, Attr::NOEXEC);
    let options = options.for_kernel();
    let options: Vec<_> = options
        .iter()
        .map(|(key, value)| (*key, value.as_c_str()))
        .collect();
    new_filesystem(raised, ("tmpfs", c"tmpfs"), &options, attr)
}

/// Our own /dev, writable until it is sealed.
pub fn new_dev(raised: &Raised<'_>) -> Result<Tree, InstanceError> {
    let options = [(c"mode", c"755"), (c"size", c"64k")];
    new_filesystem(raised, ("tmpfs", c"tmpfs"), &options, Attr::NOEXEC)
}

/// The terminals of the instance, none of which is one of the host's.
pub fn new_pts(raised: &Raised<'_>) -> Result<Tree, InstanceError> {
    let options = [(c"mode", c"620"), (c"ptmxmode", c"666")];
    new_filesystem(raised, ("devpts", c"devpts"), &options, Attr::NOEXEC)
}

/// The processes of the instance; where the caller sees a /proc with parts hidden, nothing else.
///
/// The kernel's rule against revealing what an outer procfs hides exempts the initial user
/// namespace (`mount_too_revealing()` in Linux `fs/namespace.c`), so it is applied here. Elsewhere it
/// is the kernel that looks for the outer one, hence while that is still there.
pub fn new_proc(raised: &Raised<'_>, is_whole: bool) -> Result<Tree, InstanceError> {
    let options: &[(&CStr, &CStr)] = if is_whole {
        &[]
    } else {
        &[(c"subset", c"pid")]
    };
    new_filesystem(raised, ("proc", c"proc"), options, PROC_ATTR)
}

/// Puts it in place.
///
/// Not `put`, which refuses places in procfs: the host's own may be beneath.
pub fn put_proc(
    shelved: &mut Shelved,
    new_root: &NewRoot,
    proc: &Tree,
    is_whole: bool,
) -> Result<(), InstanceError> {
    let target = InstancePath::literal(c"/proc");
    let placed = new_root
        .find(shelved, &target)
        .and_then(|place| new_root.attach(shelved, proc, &place, &target));
    placed.map_err(|error| misplaced(Subject::Filesystem("proc"), target, error))?;
    if is_whole {
        Ok(())
    } else {
        mark_as_masked(shelved, proc)
    }
}

/// Keeps user namespaces inside from mounting a whole procfs.
///
/// To that rule ours is whole, though it has the processes only, unless something is mounted on a
/// part of it that is not always empty. So a file of pid 1, which nobody replaces, is mounted on
/// itself: nothing changes for those who read it. Found by the descriptor: what the path of /proc leads
/// to, the caller may exchange at any moment.
fn mark_as_masked(shelved: &mut Shelved, proc: &Tree) -> Result<(), InstanceError> {
    const LIMITS: &CStr = c"1/limits";
    let failed = |errno| InstanceError::Filesystem {
        kind: "proc",
        errno,
    };
    let place = fs::open_beneath(shelved, proc.as_fd(), LIMITS).map_err(failed)?;
    let raised = shelved.raise()?;
    let attr = PROC_ATTR.and(Attr::NOSUID);
    let limits = Tree::clone_of(&raised, &place, attr, Depth::One).map_err(failed)?;
    mount::attach(&raised, &limits, &place).map_err(failed)?;
    drop(raised);
    let there = Stat::of_entry(shelved, proc.fd(), LIMITS).map_err(failed)?;
    if there.mount_id == limits.stat.mount_id {
        Ok(())
    } else {
        let target = InstancePath::literal(c"/proc/1/limits");
        Err(misplaced(
            Subject::Filesystem("proc"),
            target,
            PlaceError::Moved,
        ))
    }
}

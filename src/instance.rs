//! The child, pid 1: what is put in place, and in which order. Knows trees and paths inside, but
//! no host path.

use std::ffi::CStr;

use nix::errno::Errno;

use thiserror::Error;

use crate::covers::cover_mounts;
use crate::dev::{Device, Slots};
use crate::filesystems::{new_dev, new_proc, new_pts, new_tmpfs, put_proc};
use crate::mountinfo::{MountTable, MountTableError};
use crate::own::{OwnFiles, OwnProgram};
use crate::path::{HostPath, InstancePath};
use crate::place::{NewRoot, PlaceError};
use crate::plan::{Step, Trees};
use crate::sys::fs;
use crate::sys::privilege::{PrivilegeError, Shelved};
use crate::sys::procfs::Procfs;
use crate::tmpfs::TmpfsOptions;
use crate::tree::Tree;

/// What should have been put in place.
#[derive(Debug)]
pub enum Subject {
    /// A tree of the host's.
    Graft(HostPath),
    /// A filesystem of this kind.
    Filesystem(&'static str),
    /// A device node, the terminal included.
    Device,
    /// selfdock's own file.
    Program,
}

/// Why an instance did not come about.
#[derive(Debug, Error)]
pub enum InstanceError {
    /// pivot_root(2), umount2(2), or move_mount(2) on `/`.
    #[error("cannot enter the root filesystem: {0}")]
    Enter(PlaceError),
    /// A tree could not be put in place.
    #[error("cannot {}: {error}", attempt(subject, target))]
    Place {
        /// What it is.
        subject: Subject,
        /// Where it should have been.
        target: InstancePath,
        /// Why it is not there.
        error: PlaceError,
    },
    /// fsopen(2), fsconfig(2), fsmount(2), or making the first files in it.
    #[error("cannot make a {kind} filesystem: {}", errno.desc())]
    Filesystem {
        /// `tmpfs`, `proc` or `devpts`.
        kind: &'static str,
        /// The kernel's word.
        errno: Errno,
    },
    /// What lies on the root filesystem could not be covered.
    #[error("cannot cover the mounts on the root filesystem: {}", .0.desc())]
    Cover(Errno),
    /// The mount table is not what the kernel's manual says.
    #[error("cannot cover the mounts on the root filesystem: {0}")]
    TableForm(#[from] MountTableError),
    /// Privilege could not be raised.
    #[error("cannot use privilege: {0}")]
    Privilege(#[from] PrivilegeError),
}

fn attempt(subject: &Subject, target: &InstancePath) -> String {
    match subject {
        Subject::Graft(source) => format!("map {source} on {target}"),
        Subject::Filesystem(kind) => format!("mount a {kind} on {target}"),
        Subject::Device => format!("put a device on {target}"),
        Subject::Program => format!("put selfdock's own file on {target}"),
    }
}

/// Turns a process in a private copy of its caller's mount namespace into one in an instance.
///
/// The old root goes before anything else comes, so that the mount table is the instance's own and
/// short, and no path leads out. Our own /dev, /proc and /tmp come first: what they lie on need not
/// be covered. selfdock's own file comes last: nothing of the caller's lies on it.
pub fn assemble(
    shelved: &mut Shelved,
    trees: Trees,
    own: OwnFiles,
    procfs: &Procfs,
) -> Result<(), InstanceError> {
    let Trees {
        root,
        devices,
        steps,
        may_exec_tmp,
        has_whole_procfs,
        is_hosts_own: _,
    } = trees;
    let console = own.console.map(|console| (c"/dev/console", console));
    let devices = devices.into_iter().chain(console);
    let Fresh {
        proc,
        tmp,
        dev,
        slots,
    } = make_fresh(shelved, devices, has_whole_procfs, may_exec_tmp)?;
    let (tree, keeps) = root.into_parts();
    let mut new_root = NewRoot::enter(shelved, tree).map_err(InstanceError::Enter)?;
    // Read before anything of ours is on the root: what is ours is not to be covered.
    let table = keeps
        .map(|keeps| Ok((keeps, procfs.mount_table()?)))
        .transpose();
    let table = table.map_err(InstanceError::Cover)?;
    new_root.put_dev(shelved, dev).map_err(|error| {
        let target = InstancePath::literal(c"/dev");
        misplaced(Subject::Filesystem("tmpfs"), target, error)
    })?;
    put_proc(shelved, &new_root, &proc, has_whole_procfs)?;
    put(
        shelved,
        &new_root,
        &tmp,
        InstancePath::literal(c"/tmp"),
        Subject::Filesystem("tmpfs"),
    )?;
    if let Some((keeps, table)) = table {
        cover_mounts(
            shelved,
            &new_root,
            keeps,
            &MountTable::parse(&table)?,
            &slots,
        )?;
    }
    slots.fill(shelved, &new_root)?;
    for step in steps {
        put_step(shelved, &new_root, step, may_exec_tmp)?;
    }
    if let Some(program) = own.program {
        put_program(shelved, &new_root, program)?;
    }
    let dev = InstancePath::literal(c"/dev");
    new_root
        .seal_dev(shelved)
        .map_err(|error| misplaced(Subject::Filesystem("tmpfs"), dev, error))
}

/// Filesystems that are the instance's own.
struct Fresh {
    proc: Tree,
    tmp: Tree,
    dev: Tree,
    /// What belongs in /dev.
    slots: Slots,
}

/// Makes them all, with privilege raised once.
fn make_fresh(
    shelved: &mut Shelved,
    devices: impl Iterator<Item = (&'static CStr, Tree)>,
    has_whole_procfs: bool,
    may_exec_tmp: bool,
) -> Result<Fresh, InstanceError> {
    let raised = shelved.raise()?;
    let proc = new_proc(&raised, has_whole_procfs)?;
    let tmp = new_tmpfs(&raised, &TmpfsOptions::SHARED, may_exec_tmp)?;
    let dev = new_dev(&raised)?;
    let pts = new_pts(&raised)?;
    let shm = new_tmpfs(&raised, &TmpfsOptions::SHARED, may_exec_tmp)?;
    drop(raised);
    let devices = devices.map(|(path, tree)| Device::new(path, Subject::Device, tree));
    let others = [
        Device::new(c"/dev/pts", Subject::Filesystem("devpts"), pts),
        Device::new(c"/dev/shm", Subject::Filesystem("tmpfs"), shm),
    ];
    Ok(Fresh {
        slots: Slots::make(shelved, &dev, devices.chain(others))?,
        proc,
        tmp,
        dev,
    })
}

/// One mount that the caller asked for.
fn put_step(
    shelved: &mut Shelved,
    new_root: &NewRoot,
    step: Step<Tree>,
    may_exec_tmp: bool,
) -> Result<(), InstanceError> {
    let (tree, target, subject) = match step {
        Step::Graft {
            source,
            name,
            target,
            ..
        } => (source, target, Subject::Graft(name)),
        Step::Tmpfs { options, target } => {
            let tree = new_tmpfs(&shelved.raise()?, &options, may_exec_tmp)?;
            (tree, target, Subject::Filesystem("tmpfs"))
        }
    };
    put(shelved, new_root, &tree, target, subject)
}

/// An error that says what could not be put where.
pub fn misplaced(subject: Subject, target: InstancePath, error: PlaceError) -> InstanceError {
    InstanceError::Place {
        subject,
        target,
        error,
    }
}

/// Puts `tree` at `target`, or says what could not be put where.
pub fn put(
    shelved: &mut Shelved,
    new_root: &NewRoot,
    tree: &Tree,
    target: InstancePath,
    subject: Subject,
) -> Result<(), InstanceError> {
    new_root
        .put(shelved, tree, &target)
        .map_err(|error| misplaced(subject, target, error))
}

/// selfdock's own file, over the path where it was found if a regular file is there in the new
/// root, else in our own /dev. Without either place the instance does not nest, and that is all.
pub fn put_program(
    shelved: &mut Shelved,
    new_root: &NewRoot,
    program: OwnProgram,
) -> Result<(), InstanceError> {
    let OwnProgram { tree, path } = program;
    let placed = match new_root.find(shelved, &path) {
        Ok(place) if place.stat.is(libc::S_IFREG) => new_root
            .attach(shelved, &tree, &place, &path)
            .map_err(|error| (path, error)),
        // It may be there, and have something beneath that only this is to hide.
        Err(error @ PlaceError::Lookup(errno)) if fs::is_want(errno) => Err((path, error)),
        _ => {
            let path = InstancePath::literal(c"/dev/selfdock");
            match new_root.put(shelved, &tree, &path) {
                Err(PlaceError::Lookup(_) | PlaceError::Kind { .. }) => Ok(()),
                placed => placed.map_err(|error| (path, error)),
            }
        }
    };
    placed.map_err(|(path, error)| misplaced(Subject::Program, path, error))
}

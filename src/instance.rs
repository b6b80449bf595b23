//! The child, pid 1: what is put in place, and in which order. Knows trees and paths inside, but
//! no host path.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use thiserror::Error;

use crate::mountinfo::{MountTable, MountTableError};
use crate::own::OwnFiles;
use crate::path::{HostPath, InstancePath};
use crate::place::{NewRoot, PlaceError};
use crate::plan::{Step, Trees};
use crate::root::Keeps;
use crate::sys::fs;
use crate::sys::mount::{self, Attr, Depth};
use crate::sys::privilege::{PrivilegeError, Raised, Shelved};
use crate::sys::procfs::Procfs;
use crate::tmpfs::TmpfsOptions;
use crate::tree::Tree;

/// Links in /dev, and what they lead to.
const LINKS: [(&CStr, &CStr); 5] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"ptmx", c"pts/ptmx"),
];

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
    } = trees;
    let (tree, keeps) = root.into_parts();
    let mut new_root = NewRoot::enter(shelved, tree).map_err(InstanceError::Enter)?;
    put_dev(shelved, &mut new_root)?;
    put_proc(shelved, &new_root, has_whole_procfs)?;
    let tmp = new_tmpfs(&shelved.raise()?, &TmpfsOptions::SHARED, may_exec_tmp)?;
    put(
        shelved,
        &new_root,
        &tmp,
        InstancePath::literal(c"/tmp"),
        Subject::Filesystem("tmpfs"),
    )?;
    if let Some(keeps) = keeps {
        cover_mounts(shelved, &new_root, keeps, procfs)?;
    }
    fill_dev(shelved, &new_root, devices, own.console, may_exec_tmp)?;
    for step in steps {
        match step {
            Step::Graft {
                source,
                name,
                target,
                ..
            } => {
                put(shelved, &new_root, &source, target, Subject::Graft(name))?;
            }
            Step::Tmpfs { options, target } => {
                let tree = new_tmpfs(&shelved.raise()?, &options, may_exec_tmp)?;
                put(
                    shelved,
                    &new_root,
                    &tree,
                    target,
                    Subject::Filesystem("tmpfs"),
                )?;
            }
        }
    }
    put_program(shelved, &new_root, &own.program, own.path)?;
    let dev = InstancePath::literal(c"/dev");
    new_root
        .seal_dev(shelved)
        .map_err(|error| misplaced(Subject::Filesystem("tmpfs"), dev, error))
}

fn misplaced(subject: Subject, target: InstancePath, error: PlaceError) -> InstanceError {
    InstanceError::Place {
        subject,
        target,
        error,
    }
}

fn put(
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

/// A tmpfs for the command; executing from it is allowed where the caller may do so in /tmp.
fn new_tmpfs(
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

/// Our own /dev: a small tmpfs with links for now, and writable until it is sealed.
fn put_dev(shelved: &mut Shelved, new_root: &mut NewRoot) -> Result<(), InstanceError> {
    let options = [(c"mode", c"755"), (c"size", c"64k")];
    let dev = new_filesystem(
        &shelved.raise()?,
        ("tmpfs", c"tmpfs"),
        &options,
        Attr::NOEXEC,
    )?;
    for (name, destination) in LINKS {
        fs::create_link(dev.fd(), name, destination).map_err(|errno| {
            InstanceError::Filesystem {
                kind: "tmpfs",
                errno,
            }
        })?;
    }
    let target = InstancePath::literal(c"/dev");
    let subject = Subject::Filesystem("tmpfs");
    new_root
        .put_dev(shelved, dev)
        .map_err(|error| misplaced(subject, target, error))
}

/// The processes of the instance. Where the caller sees a /proc with parts hidden, nothing else.
///
/// The kernel's rule against revealing what an outer procfs hides exempts the initial user
/// namespace (`mount_too_revealing()` in Linux `fs/namespace.c`), so it is applied here.
fn put_proc(
    shelved: &mut Shelved,
    new_root: &NewRoot,
    is_whole: bool,
) -> Result<(), InstanceError> {
    let options: &[(&CStr, &CStr)] = if is_whole {
        &[]
    } else {
        &[(c"subset", c"pid")]
    };
    let attr = Attr::NODEV.and(Attr::NOEXEC);
    let proc = new_filesystem(&shelved.raise()?, ("proc", c"proc"), options, attr)?;
    let target = InstancePath::literal(c"/proc");
    // Not `put`, which would refuse a clone of the host's /proc as a place.
    let placed = new_root
        .find(shelved, &target)
        .and_then(|place| new_root.attach(shelved, &proc, &place, &target));
    placed.map_err(|error| misplaced(Subject::Filesystem("proc"), target, error))
}

/// Device nodes, terminals and shared memory; the places for them are made as they come.
fn fill_dev(
    shelved: &mut Shelved,
    new_root: &NewRoot,
    devices: Vec<(&'static CStr, Tree)>,
    console: Option<Tree>,
    may_exec_tmp: bool,
) -> Result<(), InstanceError> {
    let console = console.map(|console| (c"/dev/console", console));
    for (path, device) in devices.into_iter().chain(console) {
        put(
            shelved,
            new_root,
            &device,
            InstancePath::literal(path),
            Subject::Device,
        )?;
    }
    let options = [(c"mode", c"620"), (c"ptmxmode", c"666")];
    let pts = new_filesystem(
        &shelved.raise()?,
        ("devpts", c"devpts"),
        &options,
        Attr::NOEXEC,
    )?;
    let target = InstancePath::literal(c"/dev/pts");
    put(
        shelved,
        new_root,
        &pts,
        target,
        Subject::Filesystem("devpts"),
    )?;
    let shm = new_tmpfs(&shelved.raise()?, &TmpfsOptions::SHARED, may_exec_tmp)?;
    let target = InstancePath::literal(c"/dev/shm");
    put(
        shelved,
        new_root,
        &shm,
        target,
        Subject::Filesystem("tmpfs"),
    )
}

/// selfdock's own file, over the path where it was found if a regular file is there in the new
/// root, else in our own /dev. Without either place the instance does not nest, and that is all.
fn put_program(
    shelved: &mut Shelved,
    new_root: &NewRoot,
    program: &Tree,
    path: InstancePath,
) -> Result<(), InstanceError> {
    let placed = match new_root.find(shelved, &path) {
        Ok(place) if place.stat.is(libc::S_IFREG) => new_root
            .attach(shelved, program, &place, &path)
            .map_err(|error| (path, error)),
        _ => {
            let path = InstancePath::literal(c"/dev/selfdock");
            match new_root.put(shelved, program, &path) {
                Err(PlaceError::Lookup(_) | PlaceError::Kind { .. }) => Ok(()),
                placed => placed.map_err(|error| (path, error)),
            }
        }
    };
    placed.map_err(|(path, error)| misplaced(Subject::Program, path, error))
}

/// Puts an empty cover on each mount that is directly on the root, or makes it read-only if it is
/// one to keep.
///
/// On top, so that what lies beneath stays hidden as it is outside. A mount that the caller cannot
/// reach or has moved meanwhile is left: it shows what the caller sees outside.
fn cover_mounts(
    shelved: &mut Shelved,
    new_root: &NewRoot,
    keeps: Keeps,
    procfs: &Procfs,
) -> Result<(), InstanceError> {
    let table = procfs.mount_table().map_err(InstanceError::Cover)?;
    let table = MountTable::parse(&table)?;
    let mut covers = None;
    for entry in table.children(new_root.mount_id()) {
        let Ok(path) = CString::new(entry.mountpoint.as_ref()) else {
            continue;
        };
        let Ok(place) = new_root.look(shelved, &path) else {
            continue;
        };
        if place.stat.mount_id != entry.id {
            continue;
        }
        if keeps.keeps(&entry.mountpoint, &place.stat) {
            let kept = mount::restrict(&shelved.raise()?, &place, Attr::RDONLY, Depth::All);
            kept.map_err(InstanceError::Cover)?;
            continue;
        }
        let covers = match &covers {
            Some(covers) => covers,
            None => covers.insert(Covers::make(shelved, new_root)?),
        };
        let cover = if place.stat.is_dir() {
            &covers.dir
        } else {
            &covers.file
        };
        let raised = shelved.raise()?;
        Tree::clone_of(&raised, cover, Attr::RDONLY, Depth::One)
            .and_then(|cover| mount::attach(&raised, &cover, &place))
            .map_err(InstanceError::Cover)?;
    }
    Ok(())
}

/// An empty directory and an empty file, to be cloned as often as needed.
struct Covers {
    dir: OwnedFd,
    file: OwnedFd,
}

impl Covers {
    /// They are on a tmpfs beneath what will be /dev/shm: before Linux 6.15 what is not attached
    /// cannot be cloned.
    fn make(shelved: &mut Shelved, new_root: &NewRoot) -> Result<Self, InstanceError> {
        let options = [(c"mode", c"755"), (c"size", c"64k")];
        let attr = Attr::NODEV.and(Attr::NOEXEC);
        let tmpfs = new_filesystem(&shelved.raise()?, ("tmpfs", c"tmpfs"), &options, attr)?;
        let target = InstancePath::literal(c"/dev/shm");
        put(
            shelved,
            new_root,
            &tmpfs,
            target,
            Subject::Filesystem("tmpfs"),
        )?;
        let made =
            fs::create_dir(tmpfs.fd(), c"dir").and_then(|()| fs::create_file(tmpfs.fd(), c"file"));
        let open = |name| fs::open_beneath(shelved, tmpfs.as_fd(), name);
        made.and_then(|()| {
            Ok(Self {
                dir: open(c"dir")?,
                file: open(c"file")?,
            })
        })
        .map_err(InstanceError::Cover)
    }
}

//! From names to trees: every host path is opened here, as the caller, then cloned, then never
//! named again. Runs in the child, in its own copy of the caller's mount namespace.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use thiserror::Error;

use crate::mountinfo::{MountTable, MountTableError};
use crate::path::{HostPath, InstancePath, Quoted};
use crate::request::{Access, Layout, Mount};
use crate::root::{Root, RootPlace};
use crate::sys::fs::{self, Stat};
use crate::sys::mount::{self, Attr, Depth};
use crate::sys::privilege::{PrivilegeError, Raised, Shelved};
use crate::sys::procfs::Procfs;
use crate::tmpfs::TmpfsOptions;
use crate::tree::Tree;

/// The device nodes of an instance: where they are on the host, major and minor number.
const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"/dev/null", 1, 3),
    (c"/dev/zero", 1, 5),
    (c"/dev/full", 1, 7),
    (c"/dev/random", 1, 8),
    (c"/dev/urandom", 1, 9),
    (c"/dev/tty", 5, 0),
];

/// Why what the caller named cannot be had.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The root filesystem: openat2(2), open_tree(2), mount_setattr(2).
    #[error("cannot use {dir} as root filesystem: {}", errno.desc())]
    Root {
        /// DIR.
        dir: HostPath,
        /// The kernel's word.
        errno: Errno,
    },
    /// The source of `--map` or `--vol`.
    #[error("cannot map {source_path} on {target}: {}", errno.desc())]
    Source {
        /// SRC.
        source_path: HostPath,
        /// DST.
        target: InstancePath,
        /// The kernel's word.
        errno: Errno,
    },
    /// `--here`, but the current directory is deleted, or not below the caller's root directory.
    #[error("cannot use the current directory: it has no path here")]
    NowhereHere,
    /// A device of the caller's /dev.
    #[error("cannot use {}: {}", Quoted(path.to_bytes()), errno.desc())]
    Device {
        /// Where it is.
        path: &'static CStr,
        /// The kernel's word; `ENODEV` if it is something else.
        errno: Errno,
    },
    /// `-t exec`, where the caller's /tmp is noexec, or the caller can make no files there.
    #[error(
        "cannot mount a tmpfs on {target}: exec is refused, as nothing of the caller's can be executed in /tmp"
    )]
    Exec {
        /// DST.
        target: InstancePath,
    },
    /// The mount table could not be read from procfs.
    #[error("cannot read the mount table: {}", .0.desc())]
    Table(Errno),
    /// The mount table is not what the kernel's manual says.
    #[error("cannot read the mount table: {0}")]
    TableForm(#[from] MountTableError),
    /// mount_setattr(2) on `/`; `EINVAL` in a chroot.
    #[error("cannot make the mount namespace private: {}", .0.desc())]
    Private(Errno),
    /// Privilege could not be raised.
    #[error("cannot use privilege: {0}")]
    Privilege(#[from] PrivilegeError),
}

/// A mount that the caller asks for, its source being a place at first and a tree later.
#[derive(Debug)]
pub enum Step<S> {
    /// A tree of the host's.
    Graft {
        /// The place, or its clone.
        source: S,
        /// SRC, for messages.
        name: HostPath,
        /// DST.
        target: InstancePath,
        /// Read-only or not.
        access: Access,
    },
    /// A new tmpfs.
    Tmpfs {
        /// Its size and so on.
        options: TmpfsOptions,
        /// DST.
        target: InstancePath,
    },
}

/// Everything that the caller named, open as a mere place.
#[derive(Debug)]
pub struct Plan {
    root: RootPlace,
    devices: Vec<(&'static CStr, OwnedFd)>,
    steps: Vec<Step<OwnedFd>>,
    may_exec_tmp: bool,
}

/// Everything that the instance is made of, and the caller's own limits that it keeps to.
#[derive(Debug)]
pub struct Trees {
    /// The root filesystem.
    pub root: Root,
    /// Device nodes, and where they go.
    pub devices: Vec<(&'static CStr, Tree)>,
    /// Steps run in the order given, and a later one covers an earlier one. Never sorted:
    /// `--vol a /x --map b /x/y` shows `b` at `/x/y`, and the reverse order hides it.
    pub steps: Vec<Step<Tree>>,
    /// May files be executed from a new tmpfs: can the caller make some in /tmp, and execute them?
    pub may_exec_tmp: bool,
    /// Does the caller see a whole /proc, or one with parts hidden?
    pub has_whole_procfs: bool,
    /// Is it the caller's own root, and nothing but ours in it? Then every program is where it is
    /// outside, or where anybody can put one: in /tmp and /dev/shm.
    pub is_hosts_own: bool,
}

impl Plan {
    /// Opens every place with the caller's own rights, so that a step can hide files but never
    /// reveal one.
    pub fn open(
        shelved: &Shelved,
        layout: Layout,
        here: Option<&InstancePath>,
    ) -> Result<Self, PlanError> {
        let root = RootPlace::open(shelved, layout.rootfs, layout.access)?;
        let tmp = fs::open_dir(shelved, c"/tmp");
        let may_exec_tmp = tmp.and_then(|tmp| fs::may_execute_new_files(shelved, tmp)) == Ok(true);
        let devices = DEVICES
            .into_iter()
            .map(|device| open_device(shelved, device));
        let devices = devices.collect::<Result<_, _>>()?;
        let steps = layout.mounts.into_iter().map(|mount| match mount {
            Mount::Graft {
                source,
                target,
                access,
            } => open_source(shelved, source, target, access),
            Mount::Here => {
                let target = here.ok_or(PlanError::NowhereHere)?.clone();
                open_source(shelved, HostPath::current_dir(), target, Access::ReadWrite)
            }
            Mount::Tmpfs { options, target } if options.exec == Some(true) && !may_exec_tmp => {
                Err(PlanError::Exec { target })
            }
            Mount::Tmpfs { options, target } => Ok(Step::Tmpfs { options, target }),
        });
        let steps = steps.collect::<Result<_, _>>()?;
        Ok(Self {
            root,
            devices,
            steps,
            may_exec_tmp,
        })
    }

    /// Makes the namespace private, and clones every place.
    ///
    /// Private before anything is cloned: no mount arrives any more, no clone joins a peer group,
    /// and none is unbindable, which a recursive clone would leave out, showing what it hides. But
    /// not before the places are open: an automount that opening sets off comes by propagation.
    pub fn clone_trees(
        self,
        shelved: &mut Shelved,
        procfs: &Procfs,
        program: Option<&InstancePath>,
    ) -> Result<Trees, PlanError> {
        let raised = shelved.raise()?;
        mount::make_namespace_private(&raised).map_err(PlanError::Private)?;
        let devices = self
            .devices
            .into_iter()
            .map(|device| clone_device(&raised, device));
        let devices = devices.collect::<Result<_, _>>()?;
        let steps = self.steps.into_iter().map(|step| clone_step(&raised, step));
        let steps = steps.collect::<Result<Vec<_>, _>>()?;
        let root = self.root.clone_bare(&raised)?;
        drop(raised);

        let table = procfs.mount_table().map_err(PlanError::Table)?;
        let table = MountTable::parse(&table)?;
        let root = root.uncovers_nothing(shelved, &table, program);
        Ok(Trees {
            is_hosts_own: root.is_hosts_own() && steps.is_empty(),
            root: root.finish(shelved)?,
            devices,
            steps,
            may_exec_tmp: self.may_exec_tmp,
            has_whole_procfs: table.has_whole_procfs(),
        })
    }
}

fn open_source(
    shelved: &Shelved,
    name: HostPath,
    target: InstancePath,
    access: Access,
) -> Result<Step<OwnedFd>, PlanError> {
    match fs::open_place(shelved, name.as_c_str()) {
        Ok(source) => Ok(Step::Graft {
            source,
            name,
            target,
            access,
        }),
        Err(errno) => Err(PlanError::Source {
            source_path: name,
            target,
            errno,
        }),
    }
}

/// Clones one source recursively: else it would show what lies beneath the mounts below it.
///
/// nosuid whatever the access; the source's own flags stay, so that `--vol /dev /dev` reaches what
/// the caller reaches outside.
fn clone_step(raised: &Raised<'_>, step: Step<OwnedFd>) -> Result<Step<Tree>, PlanError> {
    match step {
        Step::Tmpfs { options, target } => Ok(Step::Tmpfs { options, target }),
        Step::Graft {
            source,
            name,
            target,
            access,
        } => {
            let attr = Attr::NOSUID.and_if(access == Access::ReadOnly, Attr::RDONLY);
            match Tree::clone_of(raised, &source, attr, Depth::All) {
                Ok(source) => Ok(Step::Graft {
                    source,
                    name,
                    target,
                    access,
                }),
                Err(errno) => Err(PlanError::Source {
                    source_path: name,
                    target,
                    errno,
                }),
            }
        }
    }
}

/// Opens a device of the caller's /dev, if it is the one that its name says.
fn open_device(
    shelved: &Shelved,
    (path, major, minor): (&'static CStr, u32, u32),
) -> Result<(&'static CStr, OwnedFd), PlanError> {
    let failed = |errno| PlanError::Device { path, errno };
    let device = fs::open_without_links(shelved, path).map_err(failed)?;
    let stat = Stat::of(&device).map_err(failed)?;
    if !stat.is(libc::S_IFCHR) || stat.special != (major, minor) {
        return Err(failed(Errno::ENODEV));
    }
    Ok((path, device))
}

fn clone_device(
    raised: &Raised<'_>,
    (path, device): (&'static CStr, OwnedFd),
) -> Result<(&'static CStr, Tree), PlanError> {
    // Not nodev, of course; but where the caller's /dev is, so is its clone.
    let attr = Attr::NOSUID.and(Attr::NOEXEC);
    match Tree::clone_of(raised, &device, attr, Depth::One) {
        Ok(tree) => Ok((path, tree)),
        Err(errno) => Err(PlanError::Device { path, errno }),
    }
}

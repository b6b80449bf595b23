//! The two things that exist only as open files of this process, and are cloned before all else:
//! selfdock's own file, and the caller's terminal. After an unshare(2) both would be foreign.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use thiserror::Error;

use crate::caller::with_terminal;
use crate::path::InstancePath;
use crate::sys::fs::{self, Stat};
use crate::sys::mount::{self, Attr, Depth};
use crate::sys::privilege::{Gain, PrivilegeError, Shelved};
use crate::sys::procfs::Procfs;
use crate::tree::Tree;

/// Why there is no instance for want of one of them.
#[derive(Debug, Error)]
pub enum OwnError {
    /// The kernel did not give us our own file: readlink(2), open_tree(2), mount_setattr(2).
    #[error("cannot use selfdock's own file: {}", .0.desc())]
    Program(Errno),
    /// It was removed or replaced while it ran, and running instances would keep the old one.
    #[error("cannot use selfdock's own file: it was replaced or removed")]
    Replaced,
    /// Not a regular file of root's.
    #[error("cannot use selfdock's own file: it is not a regular file owned by root")]
    NotRoots,
    /// Privilege could not be raised.
    #[error("cannot use privilege: {0}")]
    Privilege(#[from] PrivilegeError),
}

/// Clones of both.
#[derive(Debug, Default)]
pub struct OwnFiles {
    /// selfdock's own file, where it shall nest.
    pub program: Option<OwnProgram>,
    /// The terminal, if one of descriptors 0 to 2 is one and the kernel lets us have it.
    pub console: Option<Tree>,
}

/// selfdock's own file: the one mount of an instance that is not nosuid, so that it nests.
#[derive(Debug)]
pub struct OwnProgram {
    /// Its clone.
    pub tree: Tree,
    /// Where it was found.
    pub path: InstancePath,
}

impl OwnFiles {
    /// Clones both, or the terminal alone for a command that shall gain nothing; `None` if our
    /// privilege does not reach the mounts that they are on.
    pub fn clone_if_reached(
        shelved: &mut Shelved,
        procfs: &Procfs,
        gain: Gain,
    ) -> Result<Option<Self>, OwnError> {
        if !shelved.reaches_callers_mounts() {
            return Ok(None);
        }
        let program = match gain {
            Gain::ByNesting => Some(OwnProgram::clone(shelved, procfs)?),
            Gain::Nothing => None,
        };
        let console = clone_console(shelved, procfs)?;
        Ok(Some(Self { program, console }))
    }

    /// Finds both by their names, in a mount namespace of our own user namespace, and clones them.
    ///
    /// Nothing in there honours set-user-id, so a wrong file would be a mere file of the caller's.
    pub fn find(shelved: &mut Shelved, procfs: &Procfs, gain: Gain) -> Result<Self, OwnError> {
        let program = match gain {
            Gain::ByNesting => OwnProgram::find(shelved, procfs)?,
            Gain::Nothing => None,
        };
        let console = clone_console(shelved, procfs)?;
        Ok(Self { program, console })
    }

    /// What selfdock's own file is, if it is here.
    pub fn program_stat(&self) -> Option<Stat> {
        self.program.as_ref().map(|program| program.tree.stat)
    }
}

impl OwnProgram {
    /// Clones it. Which file is ours, the kernel says; no path is asked.
    fn clone(shelved: &mut Shelved, procfs: &Procfs) -> Result<Self, OwnError> {
        let path = procfs.path_of_program().map_err(OwnError::Program)?;
        let path = InstancePath::from_c_string(path).map_err(|_| OwnError::Replaced)?;
        // Of no use to root, whose instances nest without it: then it is nosuid like the rest.
        let attr = Attr::RDONLY
            .and(Attr::NODEV)
            .and_if(shelved.is_root(), Attr::NOSUID);
        let tree = clone_program(shelved, procfs, attr)?;
        Ok(Self { tree, path })
    }

    /// Clones what is at the path where it was found, if that is still the same file.
    fn find(shelved: &mut Shelved, procfs: &Procfs) -> Result<Option<Self>, OwnError> {
        let path = procfs.path_of_program().map_err(OwnError::Program)?;
        let running = procfs.stat_of_program(shelved).map_err(OwnError::Program)?;
        let Ok(path) = InstancePath::from_c_string(path) else {
            return Ok(None);
        };
        let Some(place) = open_same(shelved, path.as_c_str(), &running) else {
            return Ok(None);
        };
        let attr = Attr::RDONLY.and(Attr::NODEV).and(Attr::NOSUID);
        let tree = Tree::clone_of(&shelved.raise()?, &place, attr, Depth::One);
        let tree = tree.map_err(OwnError::Program)?;
        Ok(Some(Self { tree, path }))
    }
}

/// Opens what is at `path`, if it is this very file.
fn open_same(shelved: &Shelved, path: &CStr, file: &Stat) -> Option<OwnedFd> {
    let place = fs::open_without_links(shelved, path).ok()?;
    let is_same = Stat::of(&place).is_ok_and(|stat| stat.is_same_file(file));
    is_same.then_some(place)
}

/// A single-file clone: nothing beside the program is reachable through it.
fn clone_program(shelved: &mut Shelved, procfs: &Procfs, attr: Attr) -> Result<Tree, OwnError> {
    let own_dir = procfs.open_own_dir(shelved).map_err(OwnError::Program)?;
    let raised = shelved.raise()?;
    let clone = mount::clone_program(&raised, &own_dir).map_err(OwnError::Program)?;
    mount::restrict(&raised, &clone, attr, Depth::One).map_err(OwnError::Program)?;
    let program = Tree::new(clone).map_err(OwnError::Program)?;
    drop(raised);
    if program.stat.links == 0 {
        return Err(OwnError::Replaced);
    }
    // That it is set-user-id or has file capabilities need not be asked: if we hold what root and
    // the caller's ambient capabilities cannot have given, it is; else it gives nobody anything.
    // Where the caller is root it gives nobody anything either, and in a user namespace root is another.
    if !program.stat.is(libc::S_IFREG) || program.stat.uid != 0 && !shelved.is_root() {
        return Err(OwnError::NotRoots);
    }
    Ok(program)
}

/// The terminal of descriptor 0, 1 or 2. In a nested instance, or in a user namespace, that descriptor
/// is on a mount of the host's, which cannot be cloned; then what has its name is, or /dev/console, if
/// it is the very same device.
fn clone_console(shelved: &mut Shelved, procfs: &Procfs) -> Result<Option<Tree>, PrivilegeError> {
    let attr = Attr::NOSUID.and(Attr::NOEXEC);
    let terminal = with_terminal(|terminal| -> Result<_, PrivilegeError> {
        let raised = shelved.raise()?;
        let tree = Tree::clone_of(&raised, terminal, attr, Depth::One);
        drop(raised);
        let name = procfs.name_of_descriptor(terminal.as_raw_fd()).ok();
        Ok((tree.ok(), Stat::of(terminal).ok(), name))
    });
    let (stat, name) = match terminal.transpose()? {
        Some((None, Some(stat), name)) => (stat, name.and_then(|name| CString::new(name).ok())),
        Some((tree, ..)) => return Ok(tree),
        None => return Ok(None),
    };
    let mut names = name.as_deref().into_iter().chain([c"/dev/console"]);
    let Some(place) = names.find_map(|name| open_same(shelved, name, &stat)) else {
        return Ok(None);
    };
    Ok(Tree::clone_of(&shelved.raise()?, &place, attr, Depth::One).ok())
}

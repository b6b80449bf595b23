//! The two things that exist only as open files of this process, and are cloned before all else:
//! selfdock's own file, and the caller's terminal. After an unshare(2) both would be foreign.

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
#[derive(Debug)]
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
    /// Clones both, or the terminal alone for a command that shall gain nothing.
    pub fn clone(shelved: &mut Shelved, procfs: &Procfs, gain: Gain) -> Result<Self, OwnError> {
        let program = match gain {
            Gain::ByNesting => Some(OwnProgram::clone(shelved, procfs)?),
            Gain::Nothing => None,
        };
        Ok(Self {
            program,
            console: clone_console(shelved)?,
        })
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
}

/// A single-file clone: nothing beside the program is reachable through it.
fn clone_program(shelved: &mut Shelved, procfs: &Procfs, attr: Attr) -> Result<Tree, OwnError> {
    let own_dir = procfs.open_own_dir(shelved).map_err(OwnError::Program)?;
    let raised = shelved.raise()?;
    let clone = mount::clone_program(&raised, &own_dir).map_err(OwnError::Program)?;
    mount::restrict(&raised, &clone, attr, Depth::One).map_err(OwnError::Program)?;
    let program = Tree::new(clone).map_err(OwnError::Program)?;
    if program.stat.links == 0 {
        return Err(OwnError::Replaced);
    }
    // That it is set-user-id or has file capabilities need not be asked: if we hold what root and
    // the caller's ambient capabilities cannot have given, it is; else it gives nobody anything.
    if !program.stat.is(libc::S_IFREG) || program.stat.uid != 0 {
        return Err(OwnError::NotRoots);
    }
    Ok(program)
}

/// The terminal of descriptor 0, 1 or 2. In a nested instance that descriptor is on a mount of the
/// host's, which cannot be cloned; then /dev/console is, if it is the very same device.
fn clone_console(shelved: &mut Shelved) -> Result<Option<Tree>, PrivilegeError> {
    let attr = Attr::NOSUID.and(Attr::NOEXEC);
    let terminal = with_terminal(|terminal| -> Result<_, PrivilegeError> {
        let raised = shelved.raise()?;
        let tree = Tree::clone_of(&raised, terminal, attr, Depth::One);
        Ok((tree.ok(), Stat::of(terminal).ok()))
    });
    let (stat, outer) = match terminal.transpose()? {
        Some((None, Some(stat))) => (stat, fs::open_without_links(shelved, c"/dev/console")),
        Some((tree, _)) => return Ok(tree),
        None => return Ok(None),
    };
    let Ok(outer) = outer else { return Ok(None) };
    if !Stat::of(&outer).is_ok_and(|outer| outer.is_same_file(&stat)) {
        return Ok(None);
    }
    Ok(Tree::clone_of(&shelved.raise()?, &outer, attr, Depth::One).ok())
}

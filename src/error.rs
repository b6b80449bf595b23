//! Everything that can end a start: one line for a person, at most one hint, one exit status.

use std::ffi::CStr;

use nix::errno::Errno;
use thiserror::Error;

use crate::command::CommandError;
use crate::enter::{EnterError, Reason};
use crate::exit;
use crate::instance::InstanceError;
use crate::listing::ListingError;
use crate::name::ClaimError;
use crate::own::OwnError;
use crate::path::Quoted;
use crate::place::PlaceError;
use crate::plan::PlanError;
use crate::request::RequestError;
use crate::supervisor::SuperviseError;
use crate::sys::cause::Cause;
use crate::sys::descriptor::DescriptorError;
use crate::sys::filter::FilterError;
use crate::sys::privilege::PrivilegeError;
use crate::sys::process::{NamespaceError, SplitError};
use crate::sys::rootless::UserNamespaceError;

/// What else was tried, in an error of user namespaces.
fn also(cause: Option<Cause>) -> String {
    cause.map_or_else(String::new, |cause| format!("; and {cause}"))
}

/// Why there is no command running.
#[derive(Debug, Error)]
pub enum Error {
    /// The program was started without a name of its own: execve(2) with an empty argv.
    #[error("started without arguments")]
    NoArguments,
    /// The command line.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// `run` alone, and nobody to type into a shell.
    #[error("no command given")]
    NoCommand,
    /// The set-user-id bit had no effect.
    #[error("cannot get privilege: {0}")]
    Unprivileged(Cause),
    /// open_tree(2): it could not be found out how far privilege reaches.
    #[error("cannot use privilege: open_tree: {}", .0.desc())]
    Reach(Errno),
    /// And no user namespace to make up for it; or it was asked for.
    #[error("cannot make a user namespace: {error}{}", also(*cause))]
    UserNamespace {
        /// Why the set-user-id bit had no effect, if it mattered.
        cause: Option<Cause>,
        /// The kernel's word.
        error: UserNamespaceError,
    },
    /// Privilege could not be shelved, raised or renounced.
    #[error("cannot use privilege: {0}")]
    Privilege(#[from] PrivilegeError),
    /// `/proc` is missing, or not a proc filesystem; `ENODEV` for the latter.
    #[error("cannot use /proc: {}", .0.desc())]
    Procfs(Errno),
    /// The inherited descriptors.
    #[error(transparent)]
    Descriptors(#[from] DescriptorError),
    /// setrlimit(2), RLIMIT_NOFILE.
    #[error("cannot make room for descriptors: {}", .0.desc())]
    DescriptorLimit(Errno),
    /// sigaction(2), for the processes of `doctor`.
    #[error("cannot start a process: {}", .0.desc())]
    Trial(#[from] Errno),
    /// What runs could not be found out.
    #[error("cannot list the instances: {0}")]
    Listing(#[from] ListingError),
    /// `enter`
    #[error(transparent)]
    Enter(#[from] EnterError),
    /// `--name`
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Our own file and the terminal.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// unshare(2), CLONE_NEWPID.
    #[error("cannot make a pid namespace: {0}")]
    PidNamespace(NamespaceError),
    /// unshare(2), CLONE_NEWNS.
    #[error("cannot make a mount namespace: {0}")]
    MountNamespace(NamespaceError),
    /// fork(2) and what belongs to it.
    #[error("cannot start a process: {0}")]
    Split(#[from] SplitError),
    /// A path that the caller named.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A tree that does not fit.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// What keeps the command from typing into the terminal, and from taking other processes' descriptors.
    #[error("cannot install the command's filter: {0}")]
    Filter(FilterError),
    /// What keeps the command from making user namespaces.
    #[error("cannot forbid user namespaces: {0}")]
    UserNamespaces(FilterError),
    /// The command itself.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// read(2), poll(2) on the socket that leads to the supervisor.
    #[error("cannot wait for the supervisor: {}", .0.desc())]
    Released(Errno),
    /// The process that waits for the command.
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
}

impl Error {
    /// The exit status that tells a program which kind it is.
    pub fn status(&self) -> u8 {
        match self {
            Self::Claim(ClaimError::InUse(_)) => exit::NAME_IN_USE,
            Self::Command(CommandError::NotFound(_)) => exit::NOT_FOUND,
            Self::Command(CommandError::NotExecutable { .. }) => exit::NOT_EXECUTABLE,
            _ => exit::CANNOT,
        }
    }

    /// What the person may do about it, if that is known.
    pub fn hint(&self) -> Option<String> {
        let known = match self {
            Self::Request(error) => return error.hint(),
            Self::Unprivileged(cause) => cause.remedy(),
            Self::UserNamespace { error, .. } => return namespace_hint(error),
            Self::Privilege(PrivilegeError::Effective) => {
                "give its file capabilities as permitted only: setcap ...+p"
            }
            Self::Enter(error) => enter_hint(&error.reason)?,
            Self::NoCommand => "without a terminal, name the command: selfdock run CMD",
            Self::Claim(ClaimError::InUse(_)) => "selfdock ps lists the running instances",
            Self::Own(OwnError::Replaced) => "start it anew from outside of the running instances",
            // openat2 is of Linux 5.6, the mount id of statx of 5.8, mount_setattr of 5.12.
            Self::Procfs(Errno::ENOSYS)
            | Self::Reach(Errno::ENOSYS)
            | Self::Own(OwnError::Program(Errno::ENOSYS))
            | Self::Supervise(SuperviseError::Kernel(Errno::ENOSYS)) => {
                "selfdock needs Linux 5.12 or later"
            }
            Self::Own(OwnError::Program(Errno::EPERM)) => {
                "capabilities of a user namespace do not reach its outer mounts: run it outside"
            }
            Self::Filter(FilterError::Kernel(Errno::EINVAL | Errno::ENOSYS))
            | Self::Supervise(SuperviseError::Filter(FilterError::Kernel(
                Errno::EINVAL | Errno::ENOSYS,
            ))) => "selfdock needs a kernel with CONFIG_SECCOMP_FILTER",
            Self::PidNamespace(NamespaceError::Kernel(Errno::ENOSPC)) => {
                "too deeply nested: 32 levels are possible; or user.max_pid_namespaces is reached"
            }
            Self::MountNamespace(NamespaceError::Kernel(Errno::ENOSPC)) => {
                "user.max_mnt_namespaces or fs.mount-max is reached"
            }
            Self::Split(SplitError::Kernel {
                call: "fork",
                errno: Errno::EAGAIN,
            }) => "the limit of processes is reached: ulimit -u",
            Self::Plan(PlanError::Private(Errno::EINVAL))
            | Self::Instance(InstanceError::Enter(PlaceError::Attach(Errno::EINVAL))) => {
                "selfdock does not work in a chroot, nor on an initial ramfs"
            }
            Self::Instance(InstanceError::Filesystem {
                kind: "proc",
                errno: Errno::EPERM,
            }) => return Some(in_the_way(Cause::MaskedProc)),
            Self::Plan(PlanError::Source {
                errno: Errno::EINVAL,
                ..
            }) => "the source belongs to another mount namespace",
            Self::Plan(PlanError::NowhereHere) => "change to a directory that exists",
            Self::Instance(InstanceError::Place { target, error, .. }) => {
                return place_hint(target.as_c_str(), error);
            }
            Self::Command(CommandError::NotExecutable {
                errno: Errno::ENOENT,
                ..
            }) => "the file is there, but the interpreter that it asks for is not",
            _ => return None,
        };
        Some(known.to_owned())
    }
}

fn enter_hint(reason: &Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::None | Reason::NotAnInstance => "selfdock ps lists the running instances",
        Reason::Several => "use the pid: selfdock ps lists it",
        Reason::Untraceable => {
            "an instance that only holds another one cannot be entered: enter that one, by its pid"
        }
        Reason::Privilege(PrivilegeError::CannotEnter) => {
            "an outer container withholds it, or the file capabilities lack cap_sys_chroot"
        }
        Reason::Unprivileged(Cause::NotInstalled) => {
            "it was started by a selfdock that is installed set-user-id root: use that one"
        }
        Reason::Unprivileged(cause) => cause.remedy(),
        Reason::Unconfined => "it may be of another version of selfdock: start it anew",
        Reason::OtherUsers => "only its own user can enter it, and no other user, not even root",
        _ => return None,
    })
}

fn in_the_way(cause: Cause) -> String {
    format!("{cause}: {}", cause.remedy())
}

/// What is known to be in the way of a user namespace, and what would mend it.
fn namespace_hint(error: &UserNamespaceError) -> Option<String> {
    let UserNamespaceError::Kernel { call, errno } = error else {
        return None;
    };
    let unknown = match errno {
        Errno::ENOSPC => "user.max_user_namespaces is reached, or the 32 levels that are possible",
        _ => "a filter, a security module or a chroot may be in the way",
    };
    let cause = Cause::of_no_namespace(call, *errno);
    Some(cause.map_or(unknown.to_owned(), in_the_way))
}

fn place_hint(target: &CStr, error: &PlaceError) -> Option<String> {
    let target = Quoted(target.to_bytes());
    match error {
        PlaceError::Lookup(Errno::ENOENT) => Some(format!(
            "{target} must exist in the root filesystem, or in what is mapped before; nothing is created there"
        )),
        PlaceError::Kind {
            is_source_dir: true,
        } => Some(format!("the source is a directory, and {target} is not")),
        PlaceError::Kind {
            is_source_dir: false,
        } => Some(format!("{target} is a directory, and the source is not")),
        PlaceError::IsRoot => Some("use --rootfs for another root directory".to_owned()),
        PlaceError::Attach(Errno::ENOSPC) => Some("fs.mount-max is reached".to_owned()),
        _ => None,
    }
}

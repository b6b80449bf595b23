//! Privilege without the set-user-id bit: over a user namespace, and what belongs to it.
//!
//! Nobody gains anything by one. It knows a single user, its maker's own, so that every file is its
//! owner's as before; what was mounted outside can neither be changed nor uncovered in it.
//! user_namespaces(7), mount_namespaces(7).

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getgid, getuid};
use thiserror::Error;

use super::privilege::{PrivilegeError, Shelved, Unprivileged};
use super::procfs::Procfs;

/// Why there is no privilege over a user namespace.
#[derive(Debug, Error)]
pub enum UserNamespaceError {
    /// unshare(2), setns(2), or openat2(2) and write(2) of the maps.
    #[error("{call}: {}", errno.desc())]
    Kernel {
        /// The call, or the file in /proc.
        call: &'static str,
        /// The kernel's word.
        errno: Errno,
    },
    /// What it gives could not be shelved.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
}

impl UserNamespaceError {
    /// Was there none at all?
    pub fn is_of_unshare(&self) -> bool {
        matches!(
            self,
            Self::Kernel {
                call: "unshare",
                ..
            }
        )
    }
}

fn failed(call: &'static str) -> impl Fn(Errno) -> UserNamespaceError {
    move |errno| UserNamespaceError::Kernel { call, errno }
}

impl Unprivileged {
    /// Moves this process to a new user namespace, in which the caller's user and group have the
    /// numbers that they have outside, and nobody else has one.
    ///
    /// Errors of unshare: `EPERM` in a chroot, for a user without a number in the outer namespace, or
    /// where a filter or a setting of the host's forbids it; `ENOSPC` at the 33rd level, or at
    /// `user.max_user_namespaces`. Of the maps: `EPERM` where a security module gives no capabilities.
    /// Source: `create_user_ns()` and `map_write()` in Linux `kernel/user_namespace.c`.
    pub fn make_user_namespace(self, procfs: &Procfs) -> Result<Shelved, UserNamespaceError> {
        let (uid, gid) = (getuid(), getgid());
        self.show_to_tracers()?;
        self.raise_to_map()?;
        unshare(CloneFlags::CLONE_NEWUSER).map_err(failed("unshare"))?;
        let mut shelved = self.in_new_namespace()?;
        // Without the right to leave groups, nobody gains by being in fewer of them.
        let maps = [
            (c"self/setgroups", "setgroups", "deny".to_owned()),
            (c"self/uid_map", "uid_map", format!("{uid} {uid} 1")),
            (c"self/gid_map", "gid_map", format!("{gid} {gid} 1")),
        ];
        for (path, name, line) in maps {
            write(&mut shelved, procfs, path, &line)?.map_err(failed(name))?;
        }
        Ok(shelved.conceal()?)
    }

    /// Moves this process to a user namespace.
    ///
    /// Errors: `EPERM` if it is not of the caller's making. Source: `userns_install()` in Linux
    /// `kernel/user_namespace.c`.
    pub fn join_user_namespace(self, users: &OwnedFd) -> Result<Shelved, UserNamespaceError> {
        setns(users, CloneFlags::CLONE_NEWUSER).map_err(failed("setns"))?;
        Ok(self.in_new_namespace()?.conceal()?)
    }
}

/// Writes one of this process's own files. Raised: the kernel asks who opens a map what they may.
fn write(
    shelved: &mut Shelved,
    procfs: &Procfs,
    path: &CStr,
    line: &str,
) -> Result<Result<(), Errno>, PrivilegeError> {
    let raised = shelved.raise()?;
    Ok(procfs.write(&raised, path, line.as_bytes()))
}

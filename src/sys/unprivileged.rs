//! Why the program has no privilege, for the message that says so. Runs without any.

use std::fs;
use std::os::unix::fs::MetadataExt;

use caps::Capability;
use nix::sys::prctl;
use nix::sys::statvfs::{FsFlags, statvfs};
use thiserror::Error;

use super::capability::{bounding_set, mask};

/// What keeps the set-user-id bit, or file capabilities, from having their effect: `bprm_creds_from_file()` and
/// `mnt_may_suid()` in Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Cause {
    /// An outer program has given new privileges up for all that it starts.
    #[error("no_new_privs is set")]
    NoNewPrivs,
    /// The file has no set-user-id bit, or is not root's, and has no capabilities either.
    #[error("selfdock is not installed set-user-id root")]
    NotInstalled,
    /// The file is where no such bit counts.
    #[error("selfdock is on a nosuid filesystem")]
    NoSuid,
    /// An outer container, or an instance of root's.
    #[error("CAP_SYS_ADMIN is not in the capability bounding set")]
    Bounded,
    /// An outer container has it that set-user-id root is nothing special: capabilities(7).
    #[error("the secure bits withhold capabilities (SECBIT_NOROOT)")]
    SecureBits,
    /// None of these, so a debugger: its programs do not gain privileges.
    #[error("selfdock is being traced")]
    Traced,
    /// Root of this user namespace is not root of the file's.
    #[error("the set-user-id bit is not honoured in this user namespace")]
    UserNamespace,
}

impl Cause {
    /// Finds the cause. Nothing is decided by it, so that a /proc that lies does no harm.
    pub fn find() -> Self {
        const PROGRAM: &str = "/proc/self/exe";
        if prctl::get_no_new_privs() == Ok(true) {
            return Self::NoNewPrivs;
        }
        if bounding_set().is_ok_and(|set| set & mask(Capability::CAP_SYS_ADMIN) == 0) {
            return Self::Bounded;
        }
        if withholds_capabilities() {
            return Self::SecureBits;
        }
        // Elsewhere the owner of the file may read as somebody else.
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        if map.split_whitespace().ne(["0", "0", "4294967295"]) {
            return Self::UserNamespace;
        }
        let is_set_user_id = |file: fs::Metadata| file.uid() == 0 && file.mode() & 0o4000 != 0;
        if fs::metadata(PROGRAM).is_ok_and(|file| !is_set_user_id(file)) && !has_capability() {
            return Self::NotInstalled;
        }
        if statvfs(PROGRAM).is_ok_and(|mount| mount.flags().contains(FsFlags::ST_NOSUID)) {
            return Self::NoSuid;
        }
        Self::Traced
    }

    /// What would mend it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::NoNewPrivs => {
                "what runs selfdock forbids new privileges to its children, as --no-nest does"
            }
            Self::NotInstalled => "install.sh installs it as it must be",
            Self::NoSuid => "install it on a filesystem that is not mounted nosuid",
            Self::Bounded => "an outer container, or an instance of root's, withholds it",
            Self::SecureBits => "an outer container withholds them",
            Self::Traced => "only root can trace a set-user-id program",
            Self::UserNamespace => "run selfdock outside of the user namespace",
        }
    }
}

fn withholds_capabilities() -> bool {
    const NOROOT: libc::c_int = 1;
    // SAFETY: this prctl takes no argument and touches no memory of ours.
    let bits = unsafe { libc::prctl(libc::PR_GET_SECUREBITS) };
    bits > 0 && bits & NOROOT != 0
}

/// Has the running program's file the capability that is needed? getxattr(2): `struct vfs_cap_data` in
/// `linux/capability.h`, of which the second word has the first 32 of those permitted.
fn has_capability() -> bool {
    let (path, name) = (c"/proc/self/exe".as_ptr(), c"security.capability".as_ptr());
    let mut words = [0_u32; 6];
    let (start, size) = (words.as_mut_ptr().cast(), size_of_val(&words));
    // SAFETY: both names are NUL-terminated literals; the kernel writes at most `size` bytes from
    // `start`, and `words` has that many.
    let status = unsafe { libc::getxattr(path, name, start, size) };
    let [_, permitted, ..] = words.map(u32::from_le);
    status > 0 && u64::from(permitted) & mask(Capability::CAP_SYS_ADMIN) != 0
}

//! What keeps the set-user-id bit from having its effect, or a user namespace from being made: for the
//! message that says so, and for `doctor`. Runs while nothing is effective. A /proc that lies does no harm:
//! all that is decided by it is whether privilege that reaches nothing is given up, or refused.

use std::fs;
use std::os::unix::fs::MetadataExt;

use caps::Capability;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::sys::utsname::uname;
use nix::unistd::getuid;
use thiserror::Error;

use super::capability::{bounding_set, mask};
use super::user_namespaces::is_forbidden;
use crate::mountinfo::MountTable;
use crate::procinfo::field;

/// The running program's own file.
const PROGRAM: &str = "/proc/self/exe";
/// The first Linux with mount_setattr(2): major and minor version.
const OLDEST: (u32, u32) = (5, 12);

/// One thing that is in the way: `bprm_creds_from_file()`, `mnt_may_suid()`, `create_user_ns()` and
/// `mount_too_revealing()` in Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Cause {
    /// A kernel without mount_setattr(2).
    #[error("the kernel is older than Linux 5.12")]
    OldKernel,
    /// The root directory is not that of the mount namespace.
    #[error("selfdock runs in a chroot")]
    Chroot,

    /// An outer program has given new privileges up for all that it starts.
    #[error("no_new_privs is set")]
    NoNewPrivs,
    /// The file has no set-user-id bit, and no capabilities either.
    #[error("selfdock is not installed set-user-id root")]
    NotInstalled,
    /// The file has the bit, of another user's.
    #[error("selfdock is installed set-user-id, but does not belong to root")]
    NotRoots,
    /// The file is where no such bit counts.
    #[error("selfdock is on a nosuid filesystem")]
    NoSuid,
    /// An outer container, or an instance of root's.
    #[error("CAP_SYS_ADMIN is not in the capability bounding set")]
    Bounded,
    /// An outer container has it that set-user-id root is nothing special: capabilities(7).
    #[error("the secure bits withhold capabilities (SECBIT_NOROOT)")]
    SecureBits,
    /// A debugger: its programs do not gain privileges.
    #[error("selfdock is being traced")]
    Traced,
    /// None of these: a debugger outside of our pid namespace does not show, nor does the mount by which
    /// an outer mount namespace has the file.
    #[error("the set-user-id bit had no effect")]
    Unknown,
    /// Root of this user namespace is not root of the file's.
    #[error("the set-user-id bit is not honoured in this user namespace")]
    UserNamespace,

    /// By the host's administrator.
    #[error("user.max_user_namespaces is 0")]
    NoUserNamespaces,
    /// The same on Debian's kernels.
    #[error("kernel.unprivileged_userns_clone is 0")]
    NotForUsers,
    /// The same on Ubuntu's, but for programs that AppArmor knows.
    #[error("kernel.apparmor_restrict_unprivileged_userns is not 0")]
    AppArmor,
    /// Root's own number can only be mapped with it.
    #[error("root has no CAP_SETFCAP in the capability bounding set")]
    NoMap,
    /// A seccomp filter of an outer container, or of an outer instance.
    #[error("a seccomp filter forbids user namespaces")]
    Filter,
    /// Parts of /proc are hidden, which a user namespace must not show.
    #[error("an outer container hides parts of /proc")]
    MaskedProc,
}

impl Cause {
    /// What keeps the start from having had privilege: the first cause, for there is one.
    pub fn of_no_privilege() -> Self {
        let first = Self::against_privilege().into_iter().next();
        first.unwrap_or(Self::Unknown)
    }

    /// Why there is privilege, but not over the mounts that the caller sees.
    pub fn of_no_reach() -> Option<Self> {
        (!is_initial_user_namespace()).then_some(Self::UserNamespace)
    }

    /// What has kept a user namespace from being made, by the call that failed and its error.
    pub fn of_no_namespace(call: &str, errno: Errno) -> Option<Self> {
        let possible: &[Self] = match (call, errno) {
            ("unshare", Errno::ENOSPC) => &[Self::NoUserNamespaces],
            ("unshare", _) => &[Self::NotForUsers, Self::Filter, Self::Chroot],
            // A read-only /proc counts as one with parts hidden.
            (_, Errno::EROFS) => &[Self::MaskedProc],
            _ => &[Self::AppArmor, Self::NoMap],
        };
        let mut there = Self::against_user_namespaces().into_iter();
        there.find(|cause| possible.contains(cause))
    }

    /// What keeps the set-user-id bit, or file capabilities, from having their effect.
    pub fn against_privilege() -> Vec<Self> {
        let is_bounded = !is_bounded_to(Capability::CAP_SYS_ADMIN);
        let file = fs::metadata(PROGRAM);
        let has_bit = |file: &fs::Metadata| file.mode() & 0o4000 != 0;
        let is_alone = is_initial_user_namespace();
        let is_bare = file.as_ref().is_ok_and(|file| !has_bit(file)) && !has_capability();
        // Elsewhere the owner of the file may read as somebody else.
        let is_roots = |file: &fs::Metadata| !has_bit(file) || file.uid() == 0;
        let is_others = is_alone && file.is_ok_and(|file| !is_roots(&file));
        let is_nosuid =
            statvfs(PROGRAM).is_ok_and(|mount| mount.flags().contains(FsFlags::ST_NOSUID));
        let is_root = getuid().is_root();
        let is_without_new_privileges = prctl::get_no_new_privs() == Ok(true);
        found([
            (Self::OldKernel, is_old_kernel()),
            (Self::NoNewPrivs, is_without_new_privileges),
            (Self::Bounded, is_bounded),
            (Self::SecureBits, withholds_capabilities()),
            (Self::UserNamespace, !is_alone),
            (Self::NotInstalled, is_bare && !is_root),
            (Self::NotRoots, is_others && !is_root),
            (Self::NoSuid, is_nosuid && !is_root),
            (Self::Traced, is_traced()),
        ])
    }

    /// What keeps a user namespace from being made, or an instance in it.
    pub fn against_user_namespaces() -> Vec<Self> {
        let is_setting =
            |name: &str, value: &str| setting(name).is_some_and(|there| there.trim() == value);
        let apparmor = setting("kernel/apparmor_restrict_unprivileged_userns");
        found([
            (Self::OldKernel, is_old_kernel()),
            (
                Self::NoUserNamespaces,
                is_setting("user/max_user_namespaces", "0"),
            ),
            (
                Self::NotForUsers,
                is_setting("kernel/unprivileged_userns_clone", "0"),
            ),
            (
                Self::AppArmor,
                apparmor.is_some_and(|there| there.trim() != "0"),
            ),
            (
                Self::NoMap,
                getuid().is_root() && !is_bounded_to(Capability::CAP_SETFCAP),
            ),
            (Self::Filter, is_forbidden()),
            (Self::Chroot, Self::is_chroot()),
            (Self::MaskedProc, is_proc_masked()),
        ])
    }

    /// Is the root directory another than that of the mount namespace? Of one that is a mountpoint the
    /// kernel does not tell.
    pub fn is_chroot() -> bool {
        let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
        MountTable::parse(&table).is_ok_and(|table| !table.has_root())
    }

    /// What would mend it: a command, where there is one.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::OldKernel => "start the machine with Linux 5.12 or later",
            Self::Chroot => "enter the directory with pivot_root(2) instead: systemd-nspawn -D DIR",
            Self::NoNewPrivs => {
                "start it from outside of what has set that, as --no-nest does, or \
                 NoNewPrivileges= of systemd"
            }
            Self::NotInstalled | Self::NotRoots => {
                "./install.sh, in its sources, installs it as it must be"
            }
            Self::NoSuid => "PREFIX=DIR ./install.sh, where DIR is on a filesystem without nosuid",
            Self::Bounded => {
                "an outer container, or an instance of root's, withholds it: docker run --cap-add \
                 SYS_ADMIN"
            }
            Self::SecureBits => "an outer container withholds them: start it without SECBIT_NOROOT",
            Self::Traced => {
                "only root can trace a set-user-id program: sudo strace -u $USER selfdock"
            }
            Self::Unknown => {
                "a debugger outside may trace it, or it was started by another path than its own"
            }
            Self::UserNamespace => "run selfdock outside of the user namespace",
            Self::NoUserNamespaces => "as root: sysctl user.max_user_namespaces=15000",
            Self::NotForUsers => "as root: sysctl kernel.unprivileged_userns_clone=1",
            Self::AppArmor => {
                "./install.sh, in its sources; or as root: sysctl \
                 kernel.apparmor_restrict_unprivileged_userns=0"
            }
            Self::NoMap => "an outer container withholds it: docker run --cap-add SETFCAP",
            Self::Filter => {
                "an outer container, or an outer instance, forbids them: docker run --security-opt \
                 seccomp=unconfined"
            }
            Self::MaskedProc => "docker run --security-opt systempaths=unconfined",
        }
    }
}

/// Is it among those that an exec may give?
fn is_bounded_to(capability: Capability) -> bool {
    bounding_set().is_ok_and(|set| set & mask(capability) != 0)
}

/// Those that are there.
fn found<const COUNT: usize>(candidates: [(Cause, bool); COUNT]) -> Vec<Cause> {
    let candidates = candidates.into_iter().filter(|(_, is_there)| *is_there);
    candidates.map(|(cause, _)| cause).collect()
}

fn is_old_kernel() -> bool {
    let Ok(name) = uname() else { return false };
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    let mut number = || numbers.next()?.parse::<u32>().ok();
    number()
        .zip(number())
        .is_some_and(|version| version < OLDEST)
}

fn setting(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()
}

fn is_initial_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn is_proc_masked() -> bool {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    MountTable::parse(&table).is_ok_and(|table| !table.has_whole_procfs())
}

fn is_traced() -> bool {
    let status = fs::read("/proc/self/status").unwrap_or_default();
    field(&status, "TracerPid:").is_some_and(|pid| pid != "0")
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

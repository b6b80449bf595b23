//! What happens to privilege: it is shelved, raised for a few lines, and renounced.
//!
//! The only code that changes ids, capabilities or the dumpable flag, and each change is read back:
//! a filter of the caller's may let a call return 0 and do nothing. No path is looked up here.
//! The wrong orders do not compile; each stands beside a right one that does:
//!
//! ```
//! # use selfdock::sys::{fs, mount, privilege::{Gain, Raised, Renounced, Shelved}};
//! fn open_then_mount(mut shelved: Shelved) {
//!     let dir = fs::open_dir(&shelved, c"/").unwrap();
//!     let raised = shelved.raise().unwrap();
//!     let _ = mount::clone_tree(&raised, &dir, mount::Depth::One);
//!     drop(raised);
//!     let _: Renounced = shelved.renounce(Gain::Nothing).unwrap();
//! }
//! ```
//! A path is not looked up while privilege is raised:
//! ```compile_fail,E0502
//! # use selfdock::sys::{fs, privilege::Shelved};
//! fn open_raised(mut shelved: Shelved) {
//!     let raised = shelved.raise().unwrap();
//!     let _ = fs::open_dir(&shelved, c"/");
//!     drop(raised);
//! }
//! ```
//! Nothing is raised twice:
//! ```compile_fail,E0499
//! # use selfdock::sys::privilege::Shelved;
//! fn raise_twice(mut shelved: Shelved) {
//!     let first = shelved.raise().unwrap();
//!     let second = shelved.raise().unwrap();
//!     drop((first, second));
//! }
//! ```
//! Nothing is renounced while it is raised:
//! ```compile_fail,E0505
//! # use selfdock::sys::privilege::{Gain, Shelved};
//! fn renounce_raised(mut shelved: Shelved) {
//!     let raised = shelved.raise().unwrap();
//!     let _ = shelved.renounce(Gain::Nothing);
//!     drop(raised);
//! }
//! ```
//! Nothing is raised after it was renounced:
//! ```compile_fail,E0382
//! # use selfdock::sys::privilege::{Gain, Shelved};
//! fn raise_renounced(mut shelved: Shelved) {
//!     let _ = shelved.renounce(Gain::Nothing);
//!     let _ = shelved.raise();
//! }
//! ```
//! No other thread ever has it:
//! ```compile_fail,E0277
//! # use selfdock::sys::privilege::Shelved;
//! fn give_away(shelved: Shelved) {
//!     std::thread::spawn(move || drop(shelved));
//! }
//! ```

use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use caps::Capability;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::unistd::{getresgid, getresuid};
use thiserror::Error;

use super::capability::{self, Sets, mask};
use super::process::exit;
use crate::exit::CANNOT;

/// The one capability that the work needs.
const WORK: u64 = mask(Capability::CAP_SYS_ADMIN);
/// Taken along where it is at hand, for cutting the bounding set and for nothing else.
const CUT: u64 = mask(Capability::CAP_SETPCAP);

/// For moving to another mount namespace, and for nothing else: setns(2).
const ENTER: u64 = mask(Capability::CAP_SYS_CHROOT);

/// Without it the kernel lets nobody give root's number to a user namespace of theirs, not even to
/// one who is root: `verify_root_map()` in Linux `kernel/user_namespace.c`.
const MAP: u64 = mask(Capability::CAP_SETFCAP);

/// What stays in the bounding set of a command whose caller is not root: what a nested selfdock
/// needs, CAP_SYS_CHROOT for entering an instance included.
const BOUNDING_OF_USERS: u64 = WORK | CUT | ENTER;
/// What stays for root, who gets the whole bounding set back at exec: what building a root
/// filesystem needs, and nothing that undoes an instance or reaches a device or the kernel.
/// Not CAP_DAC_READ_SEARCH: with `open_by_handle_at(2)` it reaches every file of a filesystem.
const BOUNDING_OF_ROOT: u64 = mask(Capability::CAP_CHOWN)
    | mask(Capability::CAP_DAC_OVERRIDE)
    | mask(Capability::CAP_FOWNER)
    | mask(Capability::CAP_FSETID)
    | mask(Capability::CAP_KILL)
    | mask(Capability::CAP_SETGID)
    | mask(Capability::CAP_SETUID)
    | mask(Capability::CAP_SETFCAP)
    | mask(Capability::CAP_SYS_CHROOT);

/// Why privilege could not be had, used or given up.
#[derive(Debug, Error)]
pub enum PrivilegeError {
    /// Without CAP_SYS_CHROOT no other mount namespace can be entered.
    #[error("CAP_SYS_CHROOT is missing")]
    CannotEnter,
    /// Installed set-group-id, or started by such a program: groups are none of our business.
    #[error("the real, effective and saved group ids differ")]
    MixedGroups,
    /// libc has started up with privilege: file capabilities of the `+e` kind.
    #[error("capabilities were effective from the start")]
    Effective,
    /// The user ids differ, among themselves or from that of the start, after the entry point made
    /// them one.
    #[error("the real, effective and saved user ids differ")]
    MixedUsers,
    /// A second token was asked for in the same process.
    #[error("it is held already")]
    Held,
    /// A call reported success, but what it was to set reads differently.
    #[error("{0} did not take effect")]
    Ineffective(&'static str),
    /// The bounding set has more than it may, for want of CAP_SETPCAP or in spite of it.
    #[error("the capability bounding set cannot be reduced")]
    Uncut,
    /// A system call failed: capset(2), prctl(2).
    #[error("{call}: {}", errno.desc())]
    Kernel {
        /// The call that failed.
        call: &'static str,
        /// The kernel's word.
        errno: Errno,
    },
}

/// Names the call in which the kernel said no.
fn failed(call: &'static str) -> impl Fn(Errno) -> PrivilegeError {
    move |errno| PrivilegeError::Kernel { call, errno }
}

/// What the start came with: made once, see `Privilege::acquire`.
#[derive(Debug)]
pub enum Privilege {
    /// By the set-user-id bit or file capabilities, or from a caller who is root.
    Shelved(Shelved),
    /// None at all.
    None(Unprivileged),
}

/// Proof that there is no privilege: every id is the caller's, every capability set is empty; but for
/// `MAP` of root's.
#[derive(Debug)]
pub struct Unprivileged {
    permitted: u64,
}

/// Privilege at rest: every id is the caller's, a few capabilities are permitted, none is effective.
///
/// The kernel answers this process as it answers the caller. Not Clone, not Send, one at a time.
#[derive(Debug)]
pub struct Shelved {
    permitted: u64,
    is_root: bool,
    origin: Origin,
    _one_thread: PhantomData<*const ()>,
}

/// Where privilege comes from, and so how far it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// From the start: it reaches the mounts that the caller sees.
    Start,
    /// From a user namespace that this process made or joined: it reaches what belongs to that.
    UserNamespace,
}

/// Privilege in use: CAP_SYS_ADMIN is effective while this lives, and no path can be looked up.
#[derive(Debug)]
pub struct Raised<'a> {
    shelved: &'a Shelved,
}

/// Proof that every capability is given up for good, in this process and in all that it becomes; but
/// for root's, which are no more than root's command has.
#[derive(Debug)]
pub struct Renounced(());

/// What the command may gain by an exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gain {
    /// What selfdock's own file gives, so that it nests.
    ByNesting,
    /// Nothing, for ever.
    Nothing,
}

impl Gain {
    /// What pid 1 of an instance, and so what enters it, may gain: by what its status says.
    ///
    /// By both, since with `--init` pid 1 is selfdock itself, which sets no_new_privs in any case.
    /// Root's bounding set never has what nesting needs, and that of a user namespace is empty: what
    /// enters such an instance with `--init` does without new privileges too, of which a tree that is all
    /// nosuid has none to give.
    pub fn of_status(has_no_new_privs: bool, bounding: u64) -> Self {
        if has_no_new_privs && bounding & WORK == 0 {
            Self::Nothing
        } else {
            Self::ByNesting
        }
    }
}

/// Proof that nothing is effective, so that the kernel answers as it answers the caller.
pub trait AtRest {}
impl AtRest for Privilege {}
impl AtRest for Unprivileged {}
impl AtRest for Shelved {}
impl AtRest for Renounced {}

impl Privilege {
    /// Shelves what the entry point kept: see `sys/entry.rs`.
    ///
    /// Whatever the outcome, none is effective, and none is left but CAP_SYS_ADMIN, CAP_SETPCAP and,
    /// until it is known what shall be done, CAP_SYS_CHROOT; for root also those that the command will
    /// have, so that its exec gains nothing. Dumpable goes off after the last change of the ids, which
    /// sets it anew (`commit_creds()` in Linux `kernel/cred.c`); from then on no other process of the
    /// caller's may trace this one, nor look at its descriptors.
    pub fn acquire() -> Result<Self, PrivilegeError> {
        static HELD: AtomicBool = AtomicBool::new(false);
        if HELD.swap(true, Ordering::Relaxed) {
            return Err(PrivilegeError::Held);
        }
        let held = Sets::read().map_err(failed("capget"))?;
        let is_root = uid_at_exec() == 0;
        let wanted = WORK | CUT | ENTER | if is_root { BOUNDING_OF_ROOT } else { 0 };
        if held.permitted & WORK == 0 {
            let unprivileged = Unprivileged::keep(held.permitted, is_root)?;
            refuse_mixed_ids()?;
            return Ok(Self::None(unprivileged));
        }
        let permitted = held.permitted & wanted;
        set(permitted, 0)?;
        if held.effective != 0 && !is_root {
            return Err(PrivilegeError::Effective);
        }
        hide_from_tracers()?;
        refuse_mixed_ids()?;
        Ok(Self::Shelved(Shelved {
            permitted,
            is_root,
            origin: Origin::Start,
            _one_thread: PhantomData,
        }))
    }

    /// Is the caller root, and has privilege?
    pub fn is_root(&self) -> bool {
        matches!(self, Self::Shelved(shelved) if shelved.is_root)
    }

    /// Gives up for ever whatever there is.
    pub fn give_up(self) -> Result<Unprivileged, PrivilegeError> {
        match self {
            Self::Shelved(shelved) => Unprivileged::keep(shelved.permitted, shelved.is_root),
            Self::None(unprivileged) => Ok(unprivileged),
        }
    }

    /// Is the bounding set cut as that of a command whose caller is not root?
    pub fn is_bounded_as_users(&self) -> Result<bool, PrivilegeError> {
        let bounding = capability::bounding_set().map_err(failed("prctl"))?;
        Ok(bounding & !BOUNDING_OF_USERS == 0)
    }

    /// Takes back what the entry point asks for as pid 1, to get SIGKILL when its parent ends.
    pub fn outlive_parent(&self) -> Result<(), PrivilegeError> {
        prctl::set_pdeathsig(None).map_err(failed("prctl"))
    }
}

impl Unprivileged {
    fn keep(permitted: u64, is_root: bool) -> Result<Self, PrivilegeError> {
        let permitted = if is_root { permitted & MAP } else { 0 };
        set(permitted, 0)?;
        Ok(Self { permitted })
    }

    /// Runs `make` with what a user namespace is to be made with effective. If that fails, nothing is.
    pub(super) fn raised_to_map(
        &self,
        make: impl FnOnce() -> Result<(), Errno>,
    ) -> Result<Result<(), Errno>, PrivilegeError> {
        set(self.permitted, self.permitted)?;
        let made = make();
        if made.is_err() {
            set(self.permitted, 0)?;
        }
        Ok(made)
    }

    /// Shelves what this process has in a user namespace that it has just come to: over what belongs to
    /// that, and over nothing that the caller has not.
    ///
    /// If it has not come there, that shows: there is nothing that could be permitted then.
    pub(super) fn in_new_namespace(self) -> Result<Shelved, PrivilegeError> {
        let permitted = WORK | CUT | ENTER;
        set(permitted, 0)?;
        Ok(Shelved {
            permitted,
            // What its user has inside, whatever the number, is bounded as for anybody.
            is_root: false,
            origin: Origin::UserNamespace,
            _one_thread: PhantomData,
        })
    }

    /// Lets other processes of the caller's look at this one: or its own files in /proc would be root's.
    /// There is nothing that they could gain by it.
    pub(super) fn show_to_tracers(&self) -> Result<(), PrivilegeError> {
        prctl::set_dumpable(true).map_err(failed("prctl"))?;
        match prctl::get_dumpable() {
            Ok(true) => Ok(()),
            _ => Err(PrivilegeError::Ineffective("prctl(PR_SET_DUMPABLE)")),
        }
    }

    /// Here nothing will be executed, nor gained.
    pub fn renounce(self) -> Result<Renounced, PrivilegeError> {
        forgo_new_privileges()?;
        set(0, 0)?;
        Ok(Renounced(()))
    }
}

impl Shelved {
    /// Is the caller root, for whom no boundary is promised?
    pub fn is_root(&self) -> bool {
        self.is_root
    }

    /// Does it reach the mounts that the caller sees? Else only copies of them.
    pub fn reaches_callers_mounts(&self) -> bool {
        self.origin == Origin::Start
    }

    /// Ends the making of a user namespace: from now on nobody of the caller's may look at this process.
    pub(super) fn conceal(self) -> Result<Self, PrivilegeError> {
        hide_from_tracers()?;
        refuse_mixed_ids()?;
        Ok(self)
    }

    /// Gives up what only `raise_to_enter` needs, for those who will enter nothing.
    pub fn give_up_entering(&mut self) -> Result<(), PrivilegeError> {
        if !self.is_root() {
            self.permitted &= !ENTER;
            set(self.permitted, 0)?;
        }
        Ok(())
    }

    /// Makes CAP_SYS_CHROOT effective as well. `CannotEnter` where an outer container withholds it.
    pub fn raise_to_enter(&mut self) -> Result<Raised<'_>, PrivilegeError> {
        if self.permitted & ENTER == 0 {
            return Err(PrivilegeError::CannotEnter);
        }
        let raised = Raised { shelved: self };
        set(self.permitted, WORK | ENTER)?;
        Ok(raised)
    }

    /// Makes CAP_SYS_ADMIN effective for as long as the answer lives.
    pub fn raise(&mut self) -> Result<Raised<'_>, PrivilegeError> {
        let raised = Raised { shelved: self };
        set(self.permitted, WORK)?;
        Ok(raised)
    }

    /// Gives everything up for ever, in the process that will execute the command.
    ///
    /// The bounding set is cut as well: for root it is the only thing that holds after exec, for
    /// others it is a second wall behind nosuid. Root without the means to cut it is refused.
    ///
    /// Root keeps permitted, but not effective, what its exec would give back anyway: an exec that
    /// gains a capability would undo PR_SET_PDEATHSIG, and the command would outlive us.
    pub fn renounce(self, gain: Gain) -> Result<Renounced, PrivilegeError> {
        let is_root = self.is_root();
        let keep = match (self.origin, gain) {
            // Whoever nests there makes a user namespace of their own.
            (Origin::UserNamespace, _) => 0,
            _ if is_root => BOUNDING_OF_ROOT,
            (Origin::Start, Gain::ByNesting) => BOUNDING_OF_USERS,
            (Origin::Start, Gain::Nothing) => 0,
        };
        let can_cut = self.permitted & CUT != 0;
        if can_cut {
            set(self.permitted, CUT)?;
            capability::cut_bounding_set(keep).map_err(failed("prctl"))?;
        }
        // Without CAP_SETPCAP, as in some containers, users do without the second wall, but for
        // those who have asked for it.
        if is_root || can_cut || gain == Gain::Nothing {
            let left = capability::bounding_set().map_err(failed("prctl"))?;
            if left & !keep != 0 {
                return Err(PrivilegeError::Uncut);
            }
        }
        if gain == Gain::Nothing {
            forgo_new_privileges()?;
        }
        let permitted = if is_root {
            self.permitted & BOUNDING_OF_ROOT
        } else {
            0
        };
        self.keep_only(permitted)
    }

    /// Gives everything up for ever, in the process that only waits.
    ///
    /// It will execute nothing, so no_new_privs costs it nothing.
    pub fn renounce_waiting(self) -> Result<Renounced, PrivilegeError> {
        forgo_new_privileges()?;
        self.keep_only(0)
    }

    fn keep_only(self, permitted: u64) -> Result<Renounced, PrivilegeError> {
        set(permitted, 0)?;
        hide_from_tracers()?;
        Ok(Renounced(()))
    }
}

fn refuse_mixed_ids() -> Result<(), PrivilegeError> {
    let uid = getresuid().map_err(failed("getresuid"))?;
    // And the one that we were started with: getuid(2) may have lied to the entry point.
    let is_starters = uid_at_exec() == libc::c_ulong::from(uid.real.as_raw());
    if uid.effective != uid.real || uid.saved != uid.real || !is_starters {
        return Err(PrivilegeError::MixedUsers);
    }
    let gid = getresgid().map_err(failed("getresgid"))?;
    if gid.effective != gid.real || gid.saved != gid.real {
        return Err(PrivilegeError::MixedGroups);
    }
    Ok(())
}

/// The real user id that exec found: getauxval(3), AT_UID.
fn uid_at_exec() -> libc::c_ulong {
    // SAFETY: getauxval only reads the vector that libc has saved.
    unsafe { libc::getauxval(libc::AT_UID) }
}

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        if set(self.shelved.permitted, 0).is_err() {
            // Going on would look paths up with privilege. Not abort(3): pid 1 ignores SIGABRT.
            exit(CANNOT);
        }
    }
}

/// Sets the permitted and the effective set, empties the inheritable one, and reads all three back.
fn set(permitted: u64, effective: u64) -> Result<(), PrivilegeError> {
    let wanted = Sets {
        permitted,
        effective,
        inheritable: 0,
    };
    wanted.write().map_err(failed("capset"))?;
    if Sets::read().map_err(failed("capget"))? != wanted {
        return Err(PrivilegeError::Ineffective("capset"));
    }
    Ok(())
}

/// Has every exec to come gain nothing: prctl(2), PR_SET_NO_NEW_PRIVS.
pub(super) fn forgo_new_privileges() -> Result<(), PrivilegeError> {
    prctl::set_no_new_privs().map_err(failed("prctl"))?;
    match prctl::get_no_new_privs() {
        Ok(true) => Ok(()),
        _ => Err(PrivilegeError::Ineffective("prctl(PR_SET_NO_NEW_PRIVS)")),
    }
}

/// Turns the dumpable flag off: prctl(2), PR_SET_DUMPABLE.
pub(super) fn hide_from_tracers() -> Result<(), PrivilegeError> {
    prctl::set_dumpable(false).map_err(failed("prctl"))?;
    match prctl::get_dumpable() {
        Ok(false) => Ok(()),
        // EINVAL: nix knows 0 and 1, the kernel 2 (readable by root only) as well.
        _ => Err(PrivilegeError::Ineffective("prctl(PR_SET_DUMPABLE)")),
    }
}

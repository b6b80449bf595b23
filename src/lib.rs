//! selfdock runs one command in its own mount and pid namespaces over a read-only root
//! filesystem, as the invoking user, as pid 1.
//!
//! Installed set-user-id root on machines that people share with strangers: the caller never gains
//! access that they did not have outside. `launch` is the page to read first; each line of it is a
//! step that cannot be moved without the compiler saying so. `sys/privilege.rs` says why.
// What may end a setuid program early, or in a way of its own. Tests may do what they like.
#![deny(
    clippy::disallowed_macros,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::mem_forget, // of `Raised`, it would leave privilege on
    clippy::panic,
    clippy::unwrap_used
)]

pub mod caller;
pub mod cli;
pub mod command;
pub mod covers;
pub mod delivery;
pub mod dev;
pub mod diagnosis;
pub mod enter;
pub mod environment;
pub mod error;
pub mod exit;
pub mod filesystems;
#[cfg(test)]
mod fuzz;
pub mod hearing;
pub mod instance;
pub mod listing;
pub mod mountinfo;
pub mod name;
pub mod options;
pub mod own;
pub mod path;
pub mod place;
pub mod plan;
pub mod procinfo;
pub mod report;
pub mod request;
pub mod root;
pub mod supervisor;
pub mod sys;
pub mod tmpfs;
pub mod tree;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use caller::Caller;
use cli::Parsed;
use command::{Nesting, StartingPoint};
use diagnosis::Diagnosis;
use enter::{EnterError, Reason, Target};
use environment::Environment;
use error::Error;
use listing::Listing;
use name::Claim;
use own::OwnFiles;
use plan::Plan;
use request::{Entry, Exec, Format, Mode, Order, Program, Request};
use supervisor::{Held, Ward, supervise};
use sys::cause::Cause;
use sys::descriptor::{self, Inherited};
use sys::entry::Start;
use sys::filter;
use sys::leash::Leash;
use sys::mount;
use sys::privilege::{Gain, Privilege, PrivilegeError, Renounced, Shelved, Unprivileged};
use sys::process::{self, DescriptorLimit, Ending, InitSide, Side};
use sys::procfs::Procfs;
use sys::self_stop::SelfStops;
use sys::signal;
use sys::user_namespaces;

/// Runs the program, from the C `main` to the exit status.
pub fn run(start: &Start) -> u8 {
    match launch(start) {
        Ok(Ending::Exited(status)) => status,
        Ok(Ending::Signaled(signal)) => {
            signal::die_of(signal);
            // Still here: pid 1 of an outer instance cannot die of a signal.
            exit::SIGNALED.wrapping_add(signal as u8)
        }
        Err(error) => {
            complain(&error);
            error.status()
        }
    }
}

/// From argv to exec.
fn launch(start: &Start) -> Result<Ending, Error> {
    let privilege = Privilege::acquire(); // from here on we are the caller
    let order = match cli::parse(words(start)?).map_err(request::RequestError::from)? {
        Parsed::Order(cli) => Order::try_from(cli)?,
        Parsed::Print(text) => return Ok(print(&text)),
    };
    match order {
        Order::Start(request) => run_new(Session::open(privilege?, start, &request.exec)?, request),
        Order::Enter(entry) => enter(Session::open(privilege?, start, &entry.exec)?, entry),
        Order::List(format) => list(privilege?, format),
        Order::Diagnose(format) => diagnose(privilege, format),
    }
}

/// What there is before anything is started.
struct Session<'a> {
    privilege: Privilege,
    procfs: Procfs,
    inherited: Inherited,
    caller: Caller<'a>,
}

impl<'a> Session<'a> {
    fn open(privilege: Privilege, start: &'a Start, exec: &Exec) -> Result<Self, Error> {
        let procfs = Procfs::open(&privilege).map_err(Error::Procfs)?;
        let inherited = descriptor::restrict_inherited(&procfs, &exec.descriptors)?;
        if process::is_pid_1() && !is_nested(&privilege, &procfs, &inherited)? {
            privilege.outlive_parent()?;
        }
        let has_terminal =
            inherited.has_terminal || procfs.has_controlling_terminal().map_err(Error::Procfs)?;
        let caller = Caller::current(&start.environment, has_terminal);
        if exec.program == Program::Shell && !caller.is_interactive {
            return Err(Error::NoCommand);
        }
        Ok(Self {
            privilege,
            procfs,
            inherited,
            caller,
        })
    }
}

/// Is this pid 1 of an outer instance, and not of something else?
///
/// No sign is there always. A leash is left to it by an outer selfdock that executes it, but by no
/// other command. The bounding set is cut for users, but less for root, and not where CAP_SETPCAP was
/// lacking. In an instance selfdock's own file is a mount by itself, as it is hardly anywhere else; but
/// a `--map` shows it as one file among others, and there may be copies of it.
fn is_nested(privilege: &Privilege, procfs: &Procfs, inherited: &Inherited) -> Result<bool, Error> {
    if inherited.outer.is_some() || privilege.is_bounded_as_users()? {
        return Ok(true);
    }
    let program = procfs.stat_of_program(privilege).map_err(Error::Procfs)?;
    Ok(program.is_mount_root)
}

/// `run`, `build`
fn run_new(session: Session<'_>, request: Request) -> Result<Ending, Error> {
    let Session {
        privilege,
        procfs,
        inherited,
        caller,
    } = session;
    let mut privilege = for_new_instance(privilege, request.mode, &procfs)?;
    privilege.give_up_entering()?;
    let name = request.name.as_ref();
    let claim = name.map(|name| Claim::take(name, &procfs)).transpose()?;
    let own = OwnFiles::clone_if_reached(&mut privilege, &procfs, request.gain)?;
    process::unshare_pid_namespace(&privilege.raise()?).map_err(Error::PidNamespace)?;
    let mut held = Held {
        outer: inherited.outer,
        claim,
        has_terminal: caller.has_terminal,
        ..Held::default()
    };
    if caller.has_terminal && !request.has_init {
        held.self_stops = SelfStops::listen(&privilege.raise()?);
    }
    match process::split(privilege)? {
        Side::Supervisor(child, hold, renounced) => {
            drop(own);
            let child = (child, hold);
            Ok(supervise(&renounced, child, Ward::Pid1, held, procfs)?)
        }
        Side::Child(privilege, leash) => {
            drop(held); // the supervisor's alone
            become_command(privilege, leash, request, &caller, own, procfs)
        }
    }
}

/// `enter`
fn enter(session: Session<'_>, entry: Entry) -> Result<Ending, Error> {
    let Session {
        privilege,
        procfs,
        inherited,
        caller,
    } = session;
    let failed = |reason| {
        let instance = entry.instance.clone();
        Error::Enter(EnterError { instance, reason })
    };
    let target = Target::find(&privilege, &procfs, &entry.instance).map_err(failed)?;
    let (target, mut privilege) = target.join_users(privilege, &procfs).map_err(failed)?;
    target.join_processes(&mut privilege).map_err(failed)?;
    let gain = target.gain(&procfs).map_err(failed)?;
    let own = OwnFiles::clone_if_reached(&mut privilege, &procfs, gain)?;
    match process::split(privilege) {
        Ok(Side::Supervisor(child, hold, renounced)) => {
            drop((own, target));
            let held = Held {
                outer: inherited.outer,
                has_terminal: caller.has_terminal,
                ..Held::default()
            };
            let child = (child, hold);
            Ok(supervise(&renounced, child, Ward::Guest, held, procfs)?)
        }
        Ok(Side::Child(mut privilege, leash)) => {
            drop(inherited.outer);
            // In the tree of a user namespace it is where it was, and nosuid like the rest.
            let own = own.unwrap_or_default();
            let own_file = own.program_stat();
            target
                .join_mounts(&mut privilege, own, &procfs)
                .map_err(failed)?;
            privilege.give_up_entering()?;
            // Whose tree it is, is not known here.
            install_filters(&mut privilege, &caller, gain, &procfs, false)?;
            let renounced = privilege.renounce(gain)?;
            let environment = settle(&renounced, &entry.exec, &caller, "-C names another")?;
            leash.wait_for_release().map_err(Error::Released)?;
            // A leash is for pid 1: a selfdock that is started here ends with the instance.
            let nesting = Nesting {
                own_file,
                leash: None,
            };
            Err(command::execute(&renounced, &nesting, entry.exec.program, &environment).into())
        }
        // No process can begin in a pid namespace whose pid 1 has ended.
        Err(error) if error.is_of_ended_namespace() => Err(failed(Reason::Ended)),
        Err(error) => Err(error.into()),
    }
}

/// `ps`: privilege goes first, for all that is read is what the caller may read.
fn list(privilege: Privilege, format: Format) -> Result<Ending, Error> {
    let renounced = privilege.give_up()?.renounce()?;
    let procfs = Procfs::open(&renounced).map_err(Error::Procfs)?;
    let listing = Listing::read(&procfs)?;
    Ok(print(&report::report(&listing, format)))
}

/// `doctor`: without privilege, and each way of starting something is tried as anybody would.
fn diagnose(privilege: Result<Privilege, PrivilegeError>, format: Format) -> Result<Ending, Error> {
    let diagnosis = match privilege {
        Ok(privilege) => {
            let is_privileged = matches!(privilege, Privilege::Shelved(_));
            Diagnosis::find(&privilege.give_up()?, is_privileged)?
        }
        Err(error) => Diagnosis::of_refusal(&Error::from(error)),
    };
    let printed = print(&report::diagnosis(&diagnosis, format));
    Ok(match diagnosis.chosen {
        Some(_) => printed,
        None => Ending::Exited(exit::CANNOT),
    })
}

/// What a new instance is made with: what there is, or else what a user namespace gives.
fn for_new_instance(privilege: Privilege, mode: Mode, procfs: &Procfs) -> Result<Shelved, Error> {
    // Asked only where it matters, for it takes a hundred calls; and not from within a new one.
    let namespace = |unprivileged: Unprivileged, cause: fn() -> Option<Cause>| {
        unprivileged
            .make_user_namespace(procfs)
            .map_err(|error| Error::UserNamespace {
                cause: error.is_of_unshare().then(cause).flatten(),
                error,
            })
    };
    match (mode, privilege) {
        (Mode::UserNamespace, privilege) => namespace(privilege.give_up()?, || None),
        (Mode::SetUserId, Privilege::None(_)) => Err(Error::Unprivileged(Cause::of_no_privilege())),
        (Mode::Auto, Privilege::None(unprivileged)) => {
            namespace(unprivileged, || Some(Cause::of_no_privilege()))
        }
        (_, Privilege::Shelved(mut shelved)) => {
            let is_reached = mount::is_reached(&shelved.raise()?).map_err(Error::Reach)?;
            if is_reached {
                return Ok(shelved);
            }
            match Cause::of_no_reach() {
                None => Err(Error::Reach(Errno::EPERM)),
                Some(_) if mode == Mode::Auto => {
                    let unprivileged = Privilege::Shelved(shelved).give_up()?;
                    namespace(unprivileged, Cause::of_no_reach)
                }
                Some(cause) => Err(Error::Unprivileged(cause)),
            }
        }
    }
}

/// The child's way to exec. Host paths are named in `Plan::open`, and never again. With `--init` it
/// is the command that goes the last step, and this process sees how it ends.
fn become_command(
    mut privilege: Shelved,
    leash: Leash,
    request: Request,
    caller: &Caller<'_>,
    own: Option<OwnFiles>,
    procfs: Procfs,
) -> Result<Ending, Error> {
    process::expect_to_be_pid_1().map_err(Error::PidNamespace)?;
    process::unshare_mount_namespace(&mut privilege).map_err(Error::MountNamespace)?;
    let own = match own {
        Some(own) => own,
        None => OwnFiles::find(&mut privilege, &procfs, request.gain)?,
    };
    let limit =
        DescriptorLimit::make_room(request.layout.mounts.len()).map_err(Error::DescriptorLimit)?;
    let own_file = own.program_stat();
    let here = caller.directory.as_ref().map(|(path, _)| path);
    let plan = Plan::open(&privilege, request.layout, here)?;
    let own_path = own.program.as_ref().map(|program| &program.path);
    let trees = plan.clone_trees(&mut privilege, &procfs, own_path)?;
    let is_hosts_own = trees.is_hosts_own;
    instance::assemble(&mut privilege, trees, own, &procfs)?;
    limit.restore().map_err(Error::DescriptorLimit)?;

    install_filters(&mut privilege, caller, request.gain, &procfs, is_hosts_own)?;
    let renounced = privilege.renounce(request.gain)?;
    let environment = settle(&renounced, &request.exec, caller, "--here shows it")?;
    leash.wait_for_release().map_err(Error::Released)?;
    let mut leash = Some(leash);
    if request.has_init {
        match process::split_from_init(&renounced)? {
            InitSide::Init(child, hold) => {
                let held = Held {
                    outer: leash,
                    has_terminal: caller.has_terminal,
                    ..Held::default()
                };
                let child = (child, hold);
                return Ok(supervise(
                    &renounced,
                    child,
                    Ward::ChildOfInit,
                    held,
                    procfs,
                )?);
            }
            InitSide::Command(inner) => {
                inner.wait_for_release().map_err(Error::Released)?;
                // Pid 1 ends with its supervisor, and with pid 1 all: no need of another leash.
                leash = None;
            }
        }
    }
    let nesting = Nesting { own_file, leash };
    Err(command::execute(&renounced, &nesting, request.exec.program, &environment).into())
}

/// Keeps the command from typing, from taking descriptors of processes outside, and from making user
/// namespaces by the name of another program.
///
/// Against the first two there is one filter, where there is a terminal or nothing is to be gained. Others are
/// spared the time that a filter takes.
fn install_filters(
    privilege: &mut Shelved,
    caller: &Caller<'_>,
    gain: Gain,
    procfs: &Procfs,
    is_hosts_own: bool,
) -> Result<(), Error> {
    if caller.has_terminal || gain == Gain::Nothing {
        filter::forbid_ways_out(&privilege.raise()?).map_err(Error::Filter)?;
    }
    if !is_hosts_own && procfs.restricts_user_namespaces() {
        user_namespaces::forbid(&privilege.raise()?).map_err(Error::UserNamespaces)?;
    }
    Ok(())
}

/// Goes to the directory where the command begins, and makes its environment.
fn settle(
    renounced: &Renounced,
    exec: &Exec,
    caller: &Caller<'_>,
    remedy: &str,
) -> Result<Environment, Error> {
    let start = command::enter_directory(renounced, exec.directory.as_ref(), caller)?;
    if start == StartingPoint::InRoot && caller.is_interactive {
        say(&format!(
            "hint: the current directory is not visible inside, so the command starts in /; \
             {remedy}\n"
        ));
    }
    Ok(Environment::new(caller.environment, &exec.changes))
}

/// The words after the program's own name.
fn words(start: &Start) -> Result<Vec<OsString>, Error> {
    let (_, words) = start.args.split_first().ok_or(Error::NoArguments)?;
    Ok(words
        .iter()
        .map(|word| OsStr::from_bytes(word.to_bytes()).to_owned())
        .collect())
}

/// Help, version or a listing, on standard output; a closed one is the caller's business.
fn print(text: &str) -> Ending {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ending::Exited(0),
        Err(_) => Ending::Exited(exit::CANNOT),
    }
}

/// One line that says what was tried, on what, and the kernel's word; then perhaps a hint.
fn complain(error: &Error) {
    let mut message = format!("selfdock: {error}\n");
    if let Some(hint) = error.hint() {
        message.push_str(&format!("hint: {hint}\n"));
    }
    say(&message);
}

/// In one write, so that it stays together; where there is no standard error, nobody listens.
fn say(message: &str) {
    let _ = std::io::stderr().write_all(message.as_bytes());
}

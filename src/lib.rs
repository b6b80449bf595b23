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
pub mod environment;
pub mod error;
pub mod exit;
pub mod filesystems;
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

use caller::Caller;
use cli::Parsed;
use command::{Nesting, StartingPoint};
use environment::Environment;
use error::Error;
use listing::Listing;
use name::Claim;
use own::OwnFiles;
use plan::Plan;
use request::{Format, Order, Program, Request};
use supervisor::{Held, Ward, supervise};
use sys::descriptor;
use sys::entry::Start;
use sys::leash::Leash;
use sys::privilege::{self, PrivilegeError, Shelved};
use sys::process::{self, DescriptorLimit, Ending, Side};
use sys::procfs::Procfs;
use sys::self_stop::SelfStops;
use sys::signal;
use sys::unprivileged::Cause;

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
    let privilege = Shelved::acquire(); // from here on we are the caller
    let order = match cli::parse(words(start)?).map_err(request::RequestError::from)? {
        Parsed::Order(cli) => Order::try_from(cli)?,
        Parsed::Print(text) => return Ok(print(&text)),
    };
    let request = match order {
        Order::Start(request) => request,
        Order::List(format) => return list(privilege, format),
    };
    let mut privilege = privilege.map_err(explain_missing)?;
    let procfs = Procfs::open(&privilege).map_err(Error::Procfs)?;
    privilege.outlive_parent_unless_nested()?;
    let inherited = descriptor::restrict_inherited(&procfs, &request.descriptors)?;
    let caller = Caller::current(&start.environment);
    if request.program == Program::Shell && !caller.is_interactive {
        return Err(Error::NoCommand);
    }
    let name = request.name.as_ref();
    let claim = name.map(|name| Claim::take(name, &procfs)).transpose()?;
    let own = OwnFiles::clone(&mut privilege, &procfs)?;
    process::unshare_pid_namespace(&privilege.raise()?).map_err(Error::PidNamespace)?;
    let mut held = Held {
        outer: inherited.outer,
        claim,
        ..Held::default()
    };
    if !request.has_init {
        held.self_stops = SelfStops::listen(&privilege.raise()?);
    }
    match process::split(privilege)? {
        Side::Supervisor(child, hold, renounced) => {
            drop(own);
            let ward = Ward::Pid1(child, hold);
            supervise(&renounced, ward, held, &procfs).map_err(Error::Supervise)
        }
        Side::Pid1(privilege, leash) => {
            drop(held); // the supervisor's alone
            become_command(privilege, leash, request, &caller, own, &procfs)
        }
    }
}

/// `ps`: privilege goes first, for all that is read is what the caller may read.
fn list(privilege: Result<Shelved, PrivilegeError>, format: Format) -> Result<Ending, Error> {
    let renounced = privilege::renounce_all(privilege)?;
    let procfs = Procfs::open(&renounced).map_err(Error::Procfs)?;
    let listing = Listing::read(&procfs)?;
    Ok(print(&report::report(&listing, format)))
}

/// The child's way to exec. Host paths are named in `Plan::open`, and never again. With `--init` it
/// is the command that goes the last step, and this process sees how it ends.
fn become_command(
    mut privilege: Shelved,
    leash: Leash,
    request: Request,
    caller: &Caller<'_>,
    own: OwnFiles,
    procfs: &Procfs,
) -> Result<Ending, Error> {
    process::unshare_mount_namespace(&privilege.raise()?).map_err(Error::MountNamespace)?;
    let limit =
        DescriptorLimit::make_room(request.layout.mounts.len()).map_err(Error::DescriptorLimit)?;
    let own_file = own.program.stat;
    let here = caller.directory.as_ref().map(|(path, _)| path);
    let plan = Plan::open(&privilege, request.layout, here)?;
    let trees = plan.clone_trees(&mut privilege, procfs, &own.path)?;
    instance::assemble(&mut privilege, trees, own, procfs)?;
    limit.restore().map_err(Error::DescriptorLimit)?;

    let renounced = privilege.renounce()?;
    let start = command::enter_directory(&renounced, request.directory, caller)?;
    if start == StartingPoint::InRoot && caller.is_interactive {
        say(
            "hint: the current directory is not visible inside, so the command starts in /; \
             --here shows it\n",
        );
    }
    let environment = Environment::new(caller.environment, &request.changes);
    leash.wait_for_release().map_err(Error::Released)?;
    let leash = if request.has_init {
        if let Some(child) = process::split_from_init(&renounced)? {
            let ward = Ward::ChildOfInit(child);
            let held = Held {
                outer: Some(leash),
                ..Held::default()
            };
            return supervise(&renounced, ward, held, procfs).map_err(Error::Supervise);
        }
        None
    } else {
        Some(leash)
    };
    let nesting = Nesting { own_file, leash };
    Err(command::execute(&renounced, &nesting, request.program, &environment).into())
}

/// The words after the program's own name.
fn words(start: &Start) -> Result<Vec<OsString>, Error> {
    let (_, words) = start.args.split_first().ok_or(Error::NoArguments)?;
    Ok(words
        .iter()
        .map(|word| OsStr::from_bytes(word.to_bytes()).to_owned())
        .collect())
}

fn explain_missing(error: PrivilegeError) -> Error {
    match error {
        PrivilegeError::Missing => Error::Unprivileged(Cause::find()),
        error => Error::Privilege(error),
    }
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

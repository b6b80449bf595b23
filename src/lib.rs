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
pub mod mountinfo;
pub mod options;
pub mod own;
pub mod path;
pub mod place;
pub mod plan;
pub mod request;
pub mod root;
pub mod supervisor;
pub mod sys;
pub mod tmpfs;
pub mod tree;

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use caller::Caller;
use cli::Parsed;
use command::{Nesting, StartingPoint};
use environment::Environment;
use error::Error;
use own::OwnFiles;
use plan::Plan;
use request::{Program, Request};
use supervisor::supervise;
use sys::descriptor;
use sys::entry::Start;
use sys::filter;
use sys::leash::Leash;
use sys::privilege::{PrivilegeError, Shelved};
use sys::process::{self, DescriptorLimit, Ending, Side};
use sys::procfs::Procfs;
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
    let request = match cli::parse(words(start)?).map_err(request::RequestError::from)? {
        Parsed::Start(cli) => Request::try_from(cli)?,
        Parsed::Print(text) => return Ok(print(&text)),
    };
    let mut privilege = privilege.map_err(explain_missing)?;
    let procfs = Procfs::open(&privilege).map_err(Error::Procfs)?;
    privilege.outlive_parent_unless_nested()?;
    let inherited = descriptor::restrict_inherited(&procfs, &request.descriptors)?;
    let has_terminal =
        inherited.has_terminal || procfs.has_controlling_terminal().map_err(Error::Procfs)?;
    let caller = Caller::current(&start.environment, has_terminal);
    if request.program == Program::Shell && !caller.is_interactive {
        return Err(Error::NoCommand);
    }
    let own = OwnFiles::clone(&mut privilege, &procfs)?;
    process::unshare_pid_namespace(&privilege.raise()?).map_err(Error::PidNamespace)?;
    match process::split(privilege)? {
        Side::Supervisor(child, renounced) => {
            drop(own);
            supervise(&renounced, &child, &procfs).map_err(Error::Supervise)
        }
        Side::Pid1(privilege, leash) => {
            let Err(error) = become_command(privilege, leash, request, &caller, own, &procfs);
            Err(error)
        }
    }
}

/// The child's way to exec. Host paths are named in `Plan::open`, and never again.
fn become_command(
    mut privilege: Shelved,
    leash: Leash,
    request: Request,
    caller: &Caller<'_>,
    own: OwnFiles,
    procfs: &Procfs,
) -> Result<Infallible, Error> {
    process::unshare_mount_namespace(&privilege.raise()?).map_err(Error::MountNamespace)?;
    let limit =
        DescriptorLimit::make_room(request.layout.mounts.len()).map_err(Error::DescriptorLimit)?;
    let nesting = Nesting {
        program: own.program.stat,
        leash,
    };
    let here = caller.directory.as_ref().map(|(path, _)| path);
    let plan = Plan::open(&privilege, request.layout, here)?;
    let trees = plan.clone_trees(&mut privilege, procfs, &own.path)?;
    instance::assemble(&mut privilege, trees, own, procfs)?;
    limit.restore().map_err(Error::DescriptorLimit)?;

    if caller.has_terminal {
        filter::forbid_typing(&privilege.raise()?).map_err(Error::Filter)?;
    }
    let renounced = privilege.renounce()?;
    let start = command::enter_directory(&renounced, request.directory, caller)?;
    if start == StartingPoint::InRoot && caller.is_interactive {
        say(
            "hint: the current directory is not visible inside, so the command starts in /; \
             --here shows it\n",
        );
    }
    let environment = Environment::new(caller.environment, &request.changes);
    nesting.leash.wait_for_release().map_err(Error::Released)?;
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

/// Help or version, on standard output; a closed one is the caller's business.
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

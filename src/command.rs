//! The command: where it starts, where it is found, and exec. Nothing is privileged any more.

use std::ffi::{CStr, CString};

use nix::errno::Errno;
use thiserror::Error;

use crate::caller::Caller;
use crate::environment::Environment;
use crate::path::{InstancePath, Quoted};
use crate::request::Program;
use crate::sys::fs::{self, Stat};
use crate::sys::leash::Leash;
use crate::sys::privilege::Renounced;
use crate::sys::process;
use crate::sys::terminal;

/// What a missing PATH means: as with execvp(3).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";
/// What runs a script without `#!`, and is the shell of those who have none.
const SHELL: &CStr = c"/bin/sh";

/// Shells that make themselves the leader of the terminal's foreground group.
const SHELLS: [&[u8]; 12] = [
    b"ash", b"bash", b"csh", b"dash", b"fish", b"ksh", b"ksh93", b"mksh", b"sh", b"tcsh", b"yash",
    b"zsh",
];

/// Why the command does not run.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The directory of `-C`: openat2(2), fchdir(2).
    #[error("cannot change to directory {path}: {}", errno.desc())]
    Directory {
        /// DIR.
        path: InstancePath,
        /// The kernel's word.
        errno: Errno,
    },
    /// The leash could not be held back from the command, or passed on: fcntl(2).
    #[error("cannot execute a command: fcntl: {}", .0.desc())]
    Leash(Errno),
    /// There is no such file.
    #[error("cannot run {}: {}", Quoted(.0.to_bytes()), Errno::ENOENT.desc())]
    NotFound(CString),
    /// There is one, but execve(2) refused it.
    #[error("cannot run {}: {}", Quoted(name.to_bytes()), errno.desc())]
    NotExecutable {
        /// The command's name as given.
        name: CString,
        /// The kernel's word; `ENOENT` means its interpreter or loader.
        errno: Errno,
    },
}

/// Where the command came to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartingPoint {
    /// Where it was asked to.
    AsAsked,
    /// In `/`, since the caller's directory is not visible inside.
    InRoot,
}

/// Goes to the directory of `-C`; else to the caller's own, if the very same directory is visible
/// at the same path. The process is in the root directory already.
pub fn enter_directory(
    renounced: &Renounced,
    wanted: Option<&InstancePath>,
    caller: &Caller<'_>,
) -> Result<StartingPoint, CommandError> {
    if let Some(path) = wanted {
        let entered = fs::open_working_dir(renounced, path.as_c_str())
            .and_then(|dir| process::change_dir(renounced, &dir));
        return match entered {
            Ok(()) => Ok(StartingPoint::AsAsked),
            Err(errno) => Err(CommandError::Directory {
                path: path.clone(),
                errno,
            }),
        };
    }
    let Some((path, stat)) = &caller.directory else {
        return Ok(StartingPoint::InRoot);
    };
    let entered = fs::open_working_dir(renounced, path.as_c_str()).and_then(|dir| {
        if !Stat::of(&dir)?.is_same_file(stat) {
            return Err(Errno::ENOENT);
        }
        process::change_dir(renounced, &dir)
    });
    Ok(if entered.is_ok() {
        StartingPoint::AsAsked
    } else {
        StartingPoint::InRoot
    })
}

/// What the exec of a nested selfdock, and of nothing else, needs.
#[derive(Debug)]
pub struct Nesting {
    /// selfdock's own file, where it nests.
    pub own_file: Option<Stat>,
    /// What ties this process to its supervisor, if it is pid 1.
    pub leash: Option<Leash>,
}

/// Executes the program, and comes back only if that is impossible.
pub fn execute(
    renounced: &Renounced,
    nesting: &Nesting,
    program: Program,
    environment: &Environment,
) -> CommandError {
    let (name, arguments) = match program {
        Program::Words(name, arguments) => (name, arguments),
        Program::Shell => {
            let own = environment.get(b"SHELL").filter(|shell| !shell.is_empty());
            (own.unwrap_or(SHELL).to_owned(), Vec::new())
        }
    };
    if is_interactive_shell(&name, &arguments) {
        terminal::lead_foreground(renounced);
    }
    let mut args = vec![name.clone()];
    args.extend(arguments);
    let path = environment
        .get(b"PATH")
        .map_or(DEFAULT_PATH, CStr::to_bytes);
    let mut refusal = None;
    for candidate in candidates(&name, path) {
        match attempt(renounced, nesting, &candidate, &args, environment) {
            Attempt::Absent => {}
            // Remembered, and the search goes on: perhaps a later one can be executed.
            Attempt::Refused(errno @ (Errno::EACCES | Errno::ENOENT)) => {
                refusal.get_or_insert(errno);
            }
            Attempt::Refused(errno) => return CommandError::NotExecutable { name, errno },
            Attempt::Failed(error) => return error,
        }
    }
    match refusal {
        Some(errno) => CommandError::NotExecutable { name, errno },
        None => CommandError::NotFound(name),
    }
}

/// Is it a shell that, on a terminal, does job control: no script, and no `-c`?
fn is_interactive_shell(name: &CStr, arguments: &[CString]) -> bool {
    let name = name.to_bytes().rsplit(|byte| *byte == b'/').next();
    let is_option = |word: &CString| match word.to_bytes() {
        [b'-', b'-', ..] | [b'+', ..] => true,
        [b'-', letters @ ..] => !letters.contains(&b'c'),
        _ => false,
    };
    name.is_some_and(|name| SHELLS.contains(&name)) && arguments.iter().all(is_option)
}

/// Every path that `name` may mean, in order. An empty part of PATH is the current directory.
fn candidates(name: &CStr, path: &[u8]) -> Vec<CString> {
    let bytes = name.to_bytes();
    if bytes.is_empty() {
        return Vec::new();
    }
    if bytes.contains(&b'/') {
        return vec![name.to_owned()];
    }
    let directories = path.split(|byte| *byte == b':');
    let candidates = directories.map(|directory| match directory {
        b"" => bytes.to_vec(),
        _ => [directory, b"/", bytes].concat(),
    });
    candidates
        .filter_map(|candidate| CString::new(candidate).ok())
        .collect()
}

/// What became of one candidate.
enum Attempt {
    /// No file is there.
    Absent,
    /// A file is there.
    Refused(Errno),
    /// It was not tried.
    Failed(CommandError),
}

fn attempt(
    renounced: &Renounced,
    nesting: &Nesting,
    candidate: &CStr,
    args: &[CString],
    environment: &Environment,
) -> Attempt {
    let stat = fs::stat_of(renounced, candidate);
    if let Some(leash) = &nesting.leash {
        let is_own = |stat: Stat| nesting.own_file.is_some_and(|own| stat.is_same_file(&own));
        let is_nested = stat.is_ok_and(is_own);
        if let Err(errno) = leash.pass_on(renounced, is_nested) {
            return Attempt::Failed(CommandError::Leash(errno));
        }
    }
    match process::execute(renounced, candidate, args, environment.entries()) {
        Errno::ENOENT if stat.is_ok() => Attempt::Refused(Errno::ENOENT),
        Errno::ENOENT
        | Errno::ENOTDIR
        | Errno::ENAMETOOLONG
        | Errno::ENODEV
        | Errno::ESTALE
        | Errno::ETIMEDOUT => Attempt::Absent,
        // A script without `#!`: as execvp(3), but with the words on the heap, not on the stack.
        Errno::ENOEXEC => {
            let mut words = vec![SHELL, candidate];
            words.extend(args.iter().skip(1).map(CString::as_c_str));
            process::execute(renounced, SHELL, &words, environment.entries());
            Attempt::Refused(Errno::ENOEXEC)
        }
        errno => Attempt::Refused(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_without_a_script_is_interactive() {
        for (line, expected) in [
            ("sh", true),
            ("/bin/dash -i", true),
            ("bash --norc -l +m", true),
            ("sh -c", false),
            ("sh -ec", false),
            ("sh script", false),
            ("sh -x script", false),
            ("ssh", false),
            ("/bin/sh/", false),
        ] {
            let mut words = line.split(' ').map(|word| CString::new(word).unwrap());
            let name = words.next().unwrap();
            let arguments: Vec<_> = words.collect();
            assert_eq!(is_interactive_shell(&name, &arguments), expected, "{line}");
        }
    }

    #[test]
    fn a_name_is_looked_for_in_every_part_of_path() {
        for (name, path, expected) in [
            (c"sh", "/bin:/usr/bin", &["/bin/sh", "/usr/bin/sh"][..]),
            (c"sh", "", &["sh"]),
            (c"sh", ":/bin:", &["sh", "/bin/sh", "sh"]),
            (c"sh", "relative", &["relative/sh"]),
            (c"./sh", "/bin", &["./sh"]),
            (c"/", "/bin", &["/"]),
            (c"", "/bin", &[]),
        ] {
            let found: Vec<_> = candidates(name, path.as_bytes());
            let found: Vec<_> = found.iter().map(|path| path.to_str().unwrap()).collect();
            assert_eq!(found, expected, "{name:?} in {path}");
        }
    }
}

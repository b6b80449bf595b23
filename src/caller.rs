//! Who started us, and how: read once. Never passwd, NSS or a configuration file.

use std::ffi::CStr;
use std::io::{IsTerminal, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};

use crate::path::InstancePath;
use crate::sys::fs::{self, Stat};

/// What we need to know of the caller, beyond what the kernel applies by itself.
#[derive(Debug)]
pub struct Caller<'a> {
    /// The environment, byte for byte.
    pub environment: &'a [&'static CStr],
    /// The current directory, if it can be named: its path, and which directory that is.
    pub directory: Option<(InstancePath, Stat)>,
    /// Is standard input a terminal?
    pub is_interactive: bool,
    /// Is there a terminal that the command could type into: a controlling one, or among the
    /// descriptors that it inherits one that can become that, by setsid(2) and TIOCSCTTY?
    pub has_terminal: bool,
}

impl<'a> Caller<'a> {
    /// Reads what this process has from its caller.
    pub fn current(environment: &'a [&'static CStr], has_terminal: bool) -> Self {
        let directory = fs::current_dir()
            .and_then(|path| InstancePath::from_c_string(path).ok())
            .and_then(|path| Some((path, Stat::of_current_dir().ok()?)));
        Self {
            environment,
            directory,
            is_interactive: stdin().is_terminal(),
            has_terminal,
        }
    }
}

/// Runs `found` with the first of descriptors 0 to 2 that is a terminal.
pub fn with_terminal<T>(found: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T> {
    let (input, output, error) = (stdin(), stdout(), stderr());
    let standard = [input.as_fd(), output.as_fd(), error.as_fd()];
    standard
        .into_iter()
        .find(|descriptor| descriptor.is_terminal())
        .map(found)
}

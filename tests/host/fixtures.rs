//! What several suites attack with, and what they attack.

use std::path::PathBuf;

use nix::errno::Errno;

use super::Host;

/// Prints the effective user and group id and the effective capabilities.
pub const RIGHTS: &str = include_str!("c/rights.c");

/// `try NODE`: tries what only root may do, each in a process of its own, and prints the errors.
pub const TRY_EVERYTHING: &str = include_str!("c/try.c");

/// `undo OWN COPY FILE...`: tries to undo every mount, and one of its own on OWN, and prints what works.
pub const UNDO: &str = include_str!("c/undo.c");

/// What looks like a supervisor and its pid 1, as which it is started with a command line of
/// selfdock's. NOSUID makes every mount nosuid; LATER is run after that; then the user id becomes
/// ID. With HIDDEN, pid 1 may not be traced, so that its mounts cannot be read, but its child may.
pub const LOOKALIKE: &str = include_str!("c/lookalike.c");

/// `hide [PROGRAM [ARG]...]`: may not be traced, and waits for the command that it starts.
pub const HIDE: &str = include_str!("c/hide.c");

/// `watch MARKER`, until end-of-file: looks at every other process, as selfdock and afterwards. A
/// byte makes it tell whether MARKER was found, which is outside, and begin anew.
pub const WATCH: &str = include_str!("c/watch.c");

/// `take hold DIRECTORY NAME WORD...`, `take from NAME WAY...`: a process with a socket and an open
/// directory, and what takes that from it through the socket.
const TAKE: &str = include_str!("c/take.c");

/// A process outside with something worth taking, and who tries.
pub struct Taking {
    program: String,
    directory: String,
}

impl Taking {
    pub fn new(host: &Host) -> Self {
        let name = |path: PathBuf| path.to_str().unwrap().to_owned();
        Self {
            program: name(host.compile("take", TAKE)),
            directory: name(host.caller_dir("kept")),
        }
    }

    /// The words before those that are to have its socket: as standard input, if `name` is `-`, or to
    /// connect to by this abstract address.
    pub fn hold(&self, name: &str) -> String {
        format!("{} hold {} {name}", self.program, self.directory)
    }

    /// The words that try these ways.
    pub fn from(&self, name: &str, ways: &str) -> String {
        format!("{} from {name} {ways}", self.program)
    }
}

/// What a way prints that has led out.
pub fn taken(way: &str) -> String {
    format!("{way} 0 made\n")
}

/// And one that fails so.
pub fn not_taken(way: &str, error: Errno) -> String {
    format!("{way} {} -\n", error as i32)
}

/// Fails unless a descriptor can be taken outside: all that is tried inside would prove nothing.
#[track_caller]
pub fn assert_can_be_taken(outside: &str) {
    assert_eq!(
        outside,
        taken("native"),
        "needs SO_PEERPIDFD, Linux 6.5, and where there is Yama, a ptrace_scope of 0 or 1"
    );
}

/// An /etc of the caller's at `name`, in which root has no password.
pub fn fake_etc(host: &Host, name: &str) -> PathBuf {
    let etc = host.caller_dir(name);
    host.caller_dir(etc.join("pam.d"));
    let permit = "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n\
                  session sufficient pam_permit.so\npassword sufficient pam_permit.so\n";
    for service in ["su", "su-l", "other"] {
        host.caller_file(etc.join("pam.d").join(service), 0o644, permit);
    }
    let me = host.uid();
    for (name, content) in [
        (
            "passwd",
            format!("root::0:0::/:/bin/sh\nme:x:{me}:{me}::/:/bin/sh\n"),
        ),
        ("group", format!("root:x:0:\nme:x:{me}:\n")),
        (
            "shadow",
            "root::1:0:99999:7:::\nme:*:1:0:99999:7:::\n".to_owned(),
        ),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\n".to_owned(),
        ),
    ] {
        host.caller_file(etc.join(name), 0o644, content);
    }
    etc
}

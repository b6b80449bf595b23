//! What several suites attack with, and what they attack.

use std::path::PathBuf;

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

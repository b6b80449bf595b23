//! `doctor`: which ways of starting an instance work here, and what keeps the others from it. Each is
//! tried for real, as the caller would; nothing here is privileged.

use std::process::{Command, Stdio};

use nix::errno::Errno;

use crate::error::Error;
use crate::sys::cause::Cause;
use crate::sys::privilege::Unprivileged;
use crate::sys::signal;

/// One way of starting an instance.
#[derive(Debug)]
pub struct Finding {
    /// Its name, as `--privilege` takes it.
    pub mode: &'static str,
    /// What selfdock said when it was tried; `None` if it works.
    pub refusal: Option<String>,
    /// What is known to be in the way.
    pub causes: Vec<Cause>,
}

/// What there is to say about this host.
#[derive(Debug)]
pub struct Diagnosis {
    /// Every way.
    pub modes: [Finding; 2],
    /// The way that is taken if none is asked for; `None` if nothing can be started.
    pub chosen: Option<&'static str>,
}

impl Diagnosis {
    /// Tries every way. Had this process privilege when it was started?
    pub fn find(_: &Unprivileged, was_privileged: bool) -> Result<Self, Errno> {
        signal::expect_children()?;
        // What a tracer keeps from us it may give to our children.
        let setuid = if was_privileged {
            refusal("setuid")
        } else {
            Some(Error::Unprivileged(Cause::of_no_privilege()).to_string())
        };
        let setuid = Finding::new("setuid", setuid, Cause::against_privilege);
        let userns = Finding::new("userns", refusal("userns"), Cause::against_user_namespaces);
        let modes = [setuid, userns];
        let chosen = modes.iter().find(|finding| finding.refusal.is_none());
        let chosen = chosen.map(|finding| finding.mode);
        Ok(Self { modes, chosen })
    }

    /// What keeps selfdock from starting anything keeps it from trying.
    pub fn of_refusal(error: &Error) -> Self {
        let finding = |mode| Finding::new(mode, Some(error.to_string()), Vec::new);
        Self {
            modes: [finding("setuid"), finding("userns")],
            chosen: None,
        }
    }
}

impl Finding {
    fn new(
        mode: &'static str,
        refusal: Option<String>,
        causes: impl FnOnce() -> Vec<Cause>,
    ) -> Self {
        let causes = match &refusal {
            None => Vec::new(),
            Some(_) => {
                let mut causes = causes();
                if Cause::is_chroot() && !causes.contains(&Cause::Chroot) {
                    causes.push(Cause::Chroot);
                }
                causes
            }
        };
        Self {
            mode,
            refusal,
            causes,
        }
    }
}

/// What selfdock says if it cannot run itself in this way.
fn refusal(mode: &str) -> Option<String> {
    const PROGRAM: &str = "/proc/self/exe";
    let run = Command::new(PROGRAM)
        .args(["--privilege", mode, "run", PROGRAM, "--version"])
        .stdin(Stdio::null())
        .output();
    match run {
        Ok(run) if run.status.success() => None,
        Ok(run) => {
            let said = String::from_utf8_lossy(&run.stderr);
            let line = said.lines().next().unwrap_or("it ended without a word");
            Some(line.trim_start_matches("selfdock: ").to_owned())
        }
        Err(error) => Some(format!("cannot start it: {error}")),
    }
}

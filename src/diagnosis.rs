//! `doctor`: which ways of starting an instance work here, and what keeps the others from it. Each is
//! tried for real, as the caller would; nothing here is privileged.

use std::process::{Command, Stdio};

use crate::sys::cause::Cause;
use crate::sys::privilege::Unprivileged;

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
    pub fn find(_: &Unprivileged, was_privileged: bool) -> Self {
        let setuid = Finding::of("setuid", Cause::against_privilege);
        let userns = Finding::of("userns", Cause::against_user_namespaces);
        // What a tracer keeps from us it may give to our children.
        let is_preferred = was_privileged && setuid.refusal.is_none();
        let chosen = match refusal(&[]) {
            None if is_preferred => Some(setuid.mode),
            None => Some(userns.mode),
            Some(_) => None,
        };
        Self {
            modes: [setuid, userns],
            chosen,
        }
    }
}

impl Finding {
    fn of(mode: &'static str, causes: impl FnOnce() -> Vec<Cause>) -> Self {
        let refusal = refusal(&["--privilege", mode]);
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

/// What selfdock says if it cannot run itself, with these options.
fn refusal(options: &[&str]) -> Option<String> {
    const PROGRAM: &str = "/proc/self/exe";
    let run = Command::new(PROGRAM)
        .args(options)
        .args(["run", PROGRAM, "--version"])
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

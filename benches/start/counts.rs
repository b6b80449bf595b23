//! What the kernel is asked for, case by case.

use std::path::Path;
use std::process::Command;

use crate::cases::Case;
use crate::host::counts::{of_start, traced};
use crate::stage::Stage;

/// How many system calls a start of each case makes until the command begins; none where there is no
/// strace, or for a peer whose command has another name.
pub fn system_calls(stage: &Stage, cases: &[Case]) -> Vec<Option<usize>> {
    let has_strace = Command::new("strace").arg("-V").output().is_ok();
    let count = |case: &Case| {
        let is_traced = has_strace && case.workers == 1 && case.mounts == 0 && case.user.is_none();
        (is_traced
            && case
                .command
                .last()
                .is_some_and(|word| word == crate::cases::TRUE))
        .then(|| count(stage, case))
    };
    cases.iter().map(count).collect()
}

fn count(stage: &Stage, case: &Case) -> usize {
    let user = stage.user().0.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"])
        .args(&case.command);
    let calls = traced(Path::new(&stage.path("calls")), &command);
    of_start(&calls, Path::new(&case.command[0])).len()
}

//! Each system call of a start fails, lies, or is the last one of its process: selfdock refuses, or
//! the instance is whole, and nothing is left.
//!
//! Every call is meddled with alone, from the entry point to the exec of the command, of the parent
//! and of the child. What need not be a refusal is listed below, with its reason. A run in full, with
//! every errno for every call of every way to start, takes minutes: `SELFDOCK_FAULTS=all`.
// cargo shows what a test has printed where it fails, and the figures with --nocapture.
#![allow(clippy::disallowed_macros)]

mod host;

#[path = "faults/meddling.rs"]
mod meddling;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Mutex;

use nix::errno::Errno;

use host::Host;
use meddling::{Call, Deed, Kind, Stage, for_each, prepare, sample};

/// What may come of a failing call beside a refusal with a message: of which call (the beginning of
/// what it is, and a part), by which error if not by any, and why.
type Row = (Kind, &'static str, &'static str, Option<Errno>, &'static str);
const GOLDEN: &[Row] = &[];

/// The rows are few because these hold for whole stretches.
fn is_of_stretch(call: &Call, kind: Kind) -> bool {
    // Nothing can be said before `main`, and libc ends as it likes; no command runs.
    let at_start = [Kind::Silent, Kind::Ended, Kind::Whole, Kind::NotExecutable];
    // Nothing can be said any more: what was to be said, the command's status says.
    let waiting = [Kind::Silent, Kind::Overtaken, Kind::Whole];
    call.is_start_up && at_start.contains(&kind) || call.is_waiting && waiting.contains(&kind)
}

fn row_of(call: &Call, errno: Errno, kind: Kind) -> Option<usize> {
    GOLDEN.iter().position(|(of, begin, part, error, _)| {
        *of == kind
            && call.what.starts_with(begin)
            && call.what.contains(part)
            && error.is_none_or(|error| error == errno)
    })
}

fn is_in_full() -> bool {
    std::env::var_os("SELFDOCK_FAULTS").is_some_and(|value| value == "all")
}

/// Fails each of `calls` with each of `errors`.
fn fail_each(stage: &Stage<'_>, plan: &[(Call, Errno)]) -> BTreeSet<usize> {
    let (rows, figures) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeMap::new()));
    for_each(plan, |(call, errno)| {
        let complain = |kind: &dyn std::fmt::Debug| format!("{errno:?} {call:?}: {kind:?}");
        let (hit, kind) = stage
            .meddle(call, Deed::Fail(*errno))
            .map_err(|error| format!("{errno:?} {call:?}: {error}"))?;
        *figures.lock().unwrap().entry(kind).or_insert(0) += 1;
        // Not made this time: then nothing was to happen.
        let Some(hit) = hit else {
            return if kind == Kind::Whole { Ok(()) } else { Err(complain(&kind)) };
        };
        if kind == Kind::Refused || is_of_stretch(&hit, kind) {
            return Ok(());
        }
        let row = row_of(&hit, *errno, kind).ok_or_else(|| complain(&kind))?;
        rows.lock().unwrap().insert(row);
        Ok(())
    });
    println!("{} faults: {:?}", plan.len(), figures.into_inner().unwrap());
    rows.into_inner().unwrap()
}

#[test]
fn a_start_of_which_any_call_fails_is_refused_or_whole() {
    let host = Host::new();
    prepare(&host);
    let stage = Stage::new(&host, "run");
    let mut plan = Vec::new();
    for errno in [Errno::EPERM, Errno::EINTR, Errno::ENOENT] {
        plan.extend(stage.calls.iter().map(|call| (call.clone(), errno)));
    }
    let rows = fail_each(&stage, &plan);
    let _ = rows;
}

//! How long a start takes, from spawn to exit of `/bin/true`: `cargo bench`.
//!
//! Bare, under the floor (`../floor.c`: the same work in C, without a check), under selfdock in many
//! ways, and under those of its peers that are installed; as an unprivileged user. In interleaved
//! rounds, since one long run of each would measure the machine's mood: ratios are taken within a
//! round, and then the median of them. Nothing is asserted.
#![allow(clippy::disallowed_macros)] // not the setuid program

mod cases;
mod counts;
#[path = "../../tests/host/mod.rs"]
mod host;
mod json;
mod options;
mod peers;
mod report;
mod stage;
mod targets;
mod worker;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use cases::Case;
use options::Options;
use report::Report;
use stage::Stage;
use worker::Taken;

/// Every error here is for a person to read, and for nobody to match on.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    if let Some(work) = worker::work() {
        return worker::main(&work);
    }
    let options = Options::parse();
    let done = if options.write_baseline {
        write_baseline()
    } else {
        measure(&options)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write_baseline() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/baseline.json");
    let counts = host::counts::typical(5);
    fs::write(&path, host::counts::to_json(&counts))?;
    println!("{} counts in {}", counts.len(), path.display());
    Ok(())
}

fn measure(options: &Options) -> Result<()> {
    let stage = Stage::set(options)?;
    let (cases, absent) = cases::available(&stage, options)?;
    let rounds = rounds(&stage, &cases, options)?;
    let report = Report {
        options,
        cases: &cases,
        absent: &absent,
        rounds: &rounds,
        system_calls: counts::system_calls(&stage, &cases),
        counts: host::counts::all(),
    };
    print!("{}", report.table());
    if let Some(path) = &options.json {
        fs::write(path, json::of(&report))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// What each case took in each round, for all its starts.
fn rounds(stage: &Stage, cases: &[Case], options: &Options) -> Result<Vec<Vec<Taken>>> {
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let mut taken = vec![Taken::default(); cases.len()];
        for place in 0..cases.len() {
            // Each round begins with another case, so that none always follows the same one.
            let index = (place + round) % cases.len();
            let case = &cases[index];
            taken[index] = case.take(stage, case.starts(options))?;
        }
        rounds.push(taken);
    }
    Ok(rounds)
}

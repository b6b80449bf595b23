//! How long a start takes, from spawn to exit of `/bin/true`: `cargo bench`.
//!
//! Bare, under the floor (`../floor.c`: the same work in C, without a check), under selfdock, and
//! under those of its peers that are installed; as an unprivileged user. In interleaved rounds,
//! since one long run of each would measure the machine's mood: ratios are taken within a round,
//! and then the median of them. Nothing is asserted.
#![allow(clippy::disallowed_macros)] // not the setuid program

mod cases;
mod options;
mod report;
mod stage;
mod worker;

use std::error::Error;
use std::process::ExitCode;

use cases::Case;
use options::Options;
use report::Report;
use stage::Stage;

/// Every error here is for a person to read, and for nobody to match on.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    if let Some(job) = worker::job() {
        return worker::main(&job);
    }
    match measure(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    let stage = Stage::set()?;
    let (cases, absent) = cases::available(&stage, options)?;
    let rounds = rounds(&stage, &cases, options)?;
    let report = Report {
        options,
        cases: &cases,
        absent: &absent,
        rounds: &rounds,
    };
    if options.json {
        print!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(())
}

/// Microseconds per start: for each round, those of each case.
fn rounds(stage: &Stage, cases: &[Case], options: &Options) -> Result<Vec<Vec<f64>>> {
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        let mut times = vec![0.0; cases.len()];
        for place in 0..cases.len() {
            // Each round begins with another case, so that none always follows the same one.
            let index = (place + round) % cases.len();
            let case = &cases[index];
            let time = stage.time(&case.command, options.starts)?;
            times[index] = time.as_secs_f64() * 1e6 / options.starts as f64;
        }
        rounds.push(times);
    }
    Ok(rounds)
}

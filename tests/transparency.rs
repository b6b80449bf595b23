//! As if it were not there: scripts that run bare and under selfdock, and what their caller sees.
//!
//! Everything is the same, to the byte, but for the rows of docs/differences.md. Terminals and job
//! control are elsewhere. tests/transparency/harness.rs says what a case is.

mod host;

#[path = "transparency/endings.rs"]
mod endings;
#[path = "transparency/files.rs"]
mod files;
#[path = "transparency/harness.rs"]
mod harness;
#[path = "transparency/inherited.rs"]
mod inherited;
#[path = "transparency/processes.rs"]
mod processes;
#[path = "transparency/streams.rs"]
mod streams;
#[path = "transparency/tools.rs"]
mod tools;
#[path = "transparency/words.rs"]
mod words;

use std::collections::{BTreeMap, BTreeSet};

use harness::{Case, MODES, Mode};

const DOCUMENT: &str = include_str!("../docs/differences.md");

/// Every case there is.
fn cases() -> impl Iterator<Item = &'static Case> {
    let files = [
        endings::ALL,
        files::ALL,
        inherited::ALL,
        processes::ALL,
        streams::ALL,
        tools::ALL,
        words::ALL,
    ];
    files.into_iter().flatten()
}

/// The table of the document: what it says of each mode, by row.
fn rows() -> BTreeMap<&'static str, [&'static str; 3]> {
    let lines = DOCUMENT.lines().filter(|line| line.starts_with("| `"));
    let mut rows = BTreeMap::new();
    for line in lines {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, _what, _outside, inside, init, userns, _why] = cells[..] else {
            panic!("a row has seven columns: {line}");
        };
        let twin = rows.insert(id.trim_matches('`'), [inside, init, userns]);
        assert!(twin.is_none(), "twice: {line}");
    }
    rows
}

/// The rows that cases rely on in this mode.
fn rows_of_cases(mode: Mode) -> BTreeSet<&'static str> {
    let differences = cases().filter_map(|case| case.difference(mode));
    differences.map(|difference| difference.row).collect()
}

#[test]
fn every_difference_has_its_row_and_every_row_its_test() {
    let rows = rows();
    for (column, mode) in MODES.into_iter().enumerate() {
        let told = rows
            .iter()
            .filter(|(_, modes)| modes[column] != "as outside");
        let told: BTreeSet<_> = told.map(|(id, _)| *id).collect();
        assert_eq!(told, rows_of_cases(mode), "{mode:?}: rows, cases");
    }
}

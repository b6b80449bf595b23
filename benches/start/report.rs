//! Medians and ratios, for people and for programs.

use std::fmt::Write;

use crate::cases::{Absent, BARE, Case, FLOOR};
use crate::options::Options;

/// Everything that was found out.
pub struct Report<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// What was measured.
    pub cases: &'a [Case],
    /// What was not.
    pub absent: &'a [Absent],
    /// Microseconds per start: for each round, those of each case.
    pub rounds: &'a [Vec<f64>],
}

/// What is told about one case.
struct Row {
    /// Microseconds per start, round by round.
    times: Vec<f64>,
    /// How many times as long as the bare command, and as the floor.
    to_bare: f64,
    to_floor: f64,
}

impl Report<'_> {
    /// For people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{}\n{} rounds of {} starts of /bin/true; microseconds per start\n\n",
            machine(),
            self.options.rounds,
            self.options.starts
        );
        let head = ["median", "min", "max", "to bare", "to floor"];
        let _ = write!(text, "{:14}", "");
        for word in head {
            let _ = write!(text, "{word:>10}");
        }
        text.push('\n');
        for (index, case) in self.cases.iter().enumerate() {
            let row = self.row(index);
            let _ = writeln!(
                text,
                "{:14}{:10.0}{:10.0}{:10.0}{:10.2}{:10.2}",
                case.name,
                median(&row.times),
                minimum(&row.times),
                maximum(&row.times),
                row.to_bare,
                row.to_floor
            );
        }
        for absent in self.absent {
            let _ = writeln!(text, "{:14}{}", absent.name, absent.reason);
        }
        text
    }

    /// For programs: one object.
    pub fn json(&self) -> String {
        let cases = self.cases.iter().enumerate().map(|(index, case)| {
            let row = self.row(index);
            let times: Vec<_> = row.times.iter().map(|time| format!("{time:.1}")).collect();
            format!(
                "{{\"name\": {}, \"median\": {:.1}, \"min\": {:.1}, \"max\": {:.1}, \
                 \"to_bare\": {:.3}, \"to_floor\": {:.3}, \"rounds\": [{}]}}",
                quoted(&case.name),
                median(&row.times),
                minimum(&row.times),
                maximum(&row.times),
                row.to_bare,
                row.to_floor,
                times.join(", ")
            )
        });
        let absent = self.absent.iter().map(|absent| {
            let (name, reason) = (quoted(&absent.name), quoted(&absent.reason));
            format!("{{\"name\": {name}, \"reason\": {reason}}}")
        });
        let list = |items: Vec<String>| items.join(",\n    ");
        format!(
            "{{\n  \"machine\": {},\n  \"unit\": \"microseconds per start\",\n  \
             \"starts_in_a_round\": {},\n  \"cases\": [\n    {}\n  ],\n  \"absent\": [\n    {}\n  ]\n}}\n",
            quoted(&machine()),
            self.options.starts,
            list(cases.collect()),
            list(absent.collect())
        )
    }

    fn row(&self, index: usize) -> Row {
        Row {
            times: self.rounds.iter().map(|round| round[index]).collect(),
            to_bare: self.ratio(index, BARE),
            to_floor: self.ratio(index, FLOOR),
        }
    }

    /// The median of the rounds' ratios, not the ratio of medians: what slows a whole round down,
    /// other work on the machine above all, is in both numbers.
    fn ratio(&self, index: usize, name: &str) -> f64 {
        let Some(base) = self.cases.iter().position(|case| case.name == name) else {
            return f64::NAN;
        };
        let ratios: Vec<_> = self
            .rounds
            .iter()
            .map(|round| round[index] / round[base])
            .collect();
        median(&ratios)
    }
}

/// Kernel and processors, in one line.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    match nix::sys::utsname::uname() {
        Ok(name) => format!(
            "{} {} {}, {processors} processors",
            name.sysname().display(),
            name.release().display(),
            name.machine().display()
        ),
        Err(errno) => format!("{errno}, {processors} processors"),
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
    f64::midpoint(sorted[low], sorted[high])
}

fn minimum(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(f64::INFINITY, f64::min)
}

fn maximum(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

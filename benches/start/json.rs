//! The same for programs: `../report` makes the table and the chart of it.

use std::fmt::{Display, Write};

use crate::host::counts;
use crate::report::{Report, machine, maximum, median, minimum};
use crate::targets::{self, Limit, Target};

/// One object.
pub fn of(report: &Report<'_>) -> String {
    let rows = (0..report.cases.len()).map(|index| row(report, index));
    let absent = report.absent.iter().map(|absent| {
        object(&[
            ("name", quoted(&absent.name)),
            ("reason", quoted(&absent.reason)),
        ])
    });
    let targets = targets::of(report);
    let counts = counts::to_json(&report.counts);
    let text = object(&[
        ("machine", quoted(&machine())),
        ("unit", quoted("microseconds per start")),
        ("rounds", report.options.rounds.to_string()),
        ("starts", report.options.starts.to_string()),
        ("cases", list(rows)),
        ("absent", list(absent)),
        ("targets", list(targets.iter().map(target))),
        ("counts", counts.trim_end().to_owned()),
    ]);
    text + "\n"
}

fn row(report: &Report<'_>, index: usize) -> String {
    let (case, row) = (&report.cases[index], report.row_at(index));
    let times = row.times.iter().map(|time| format!("{time:.1}"));
    object(&[
        ("name", quoted(&case.name)),
        ("median", format!("{:.1}", median(&row.times))),
        ("min", format!("{:.1}", minimum(&row.times))),
        ("max", format!("{:.1}", maximum(&row.times))),
        ("to_bare", format!("{:.3}", row.to_bare)),
        ("base", quoted(&case.base)),
        ("to_base", format!("{:.3}", row.to_base)),
        ("workers", case.workers.to_string()),
        ("mounts", case.mounts.to_string()),
        ("user", optional(case.user.map(|user| user.0))),
        ("starts_in_a_round", case.starts(report.options).to_string()),
        ("page_faults", format!("{:.1}", row.faults)),
        ("system_calls", optional(row.system_calls)),
        ("bytes_written", row.written.to_string()),
        (
            "rounds",
            format!("[{}]", times.collect::<Vec<_>>().join(", ")),
        ),
    ])
}

fn target(target: &Target) -> String {
    let (side, limit) = match target.limit {
        Limit::AtMost(limit) => ("at_most", limit),
        Limit::AtLeast(limit) => ("at_least", limit),
    };
    object(&[
        ("name", quoted(&target.name)),
        ("value", format!("{:.3}", target.value)),
        (side, limit.to_string()),
        ("is_met", target.is_met().to_string()),
    ])
}

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("{}: {value}", quoted(name)))
        .collect();
    format!("{{{}}}", members.join(", "))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[\n    {}\n  ]", items.collect::<Vec<_>>().join(",\n    "))
}

fn optional(value: Option<impl Display>) -> String {
    value.map_or("null".to_owned(), |value| value.to_string())
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

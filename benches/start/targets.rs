//! What the numbers should come to, beside what they come to.

use crate::cases::{BARE, FLOOR, LEVELS, SELFDOCK};
use crate::report::Report;

/// A number with a limit.
pub struct Target {
    /// What it is.
    pub name: String,
    /// What it comes to.
    pub value: f64,
    /// What it should come to, at most or at least.
    pub limit: Limit,
}

/// Which side is the good one.
#[derive(Clone, Copy)]
pub enum Limit {
    /// Not more than that.
    AtMost(f64),
    /// Not less than that.
    AtLeast(f64),
}

impl Target {
    /// Is it as it should be?
    pub fn is_met(&self) -> bool {
        match self.limit {
            Limit::AtMost(limit) => self.value <= limit,
            Limit::AtLeast(limit) => self.value >= limit,
        }
    }
}

/// Those that what was measured can tell of.
pub fn of(report: &Report<'_>) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |name: &str, value: Option<f64>, limit| {
        targets.extend(value.map(|value| Target {
            name: name.to_owned(),
            value,
            limit,
        }));
    };
    let ratio = |one, other| report.median_of(&[one, other], |times| times[0] / times[1]);
    let to_floor = ratio(SELFDOCK, FLOOR);
    add("selfdock, to the floor", to_floor, Limit::AtMost(1.10));
    // By that name tests/musl's program is to be given: see docs/performance.md.
    let to_floor = ratio("musl", FLOOR);
    add("musl, to the floor", to_floor, Limit::AtMost(0.90));
    let to_bwrap = ratio(SELFDOCK, "bwrap");
    add("selfdock, to bwrap", to_bwrap, Limit::AtMost(0.50));
    for levels in LEVELS {
        let name = format!("{levels} levels");
        let cost = report.median_of(&[&name, SELFDOCK, BARE], |times| {
            (times[0] - times[1]) / (levels - 1) as f64 / (times[1] - times[2])
        });
        let name = format!("{name}: one level more, to the first");
        add(&name, cost, Limit::AtMost(1.15));
    }
    let long = report.median_of(&["2000 maps"], |times| times[0] / 1000.0);
    add("2000 maps, milliseconds", long, Limit::AtMost(150.0));
    let linear = report.median_of(&["2000 maps", "100 maps", SELFDOCK], |times| {
        (times[0] - times[2]) / 2000.0 / ((times[1] - times[2]) / 100.0)
    });
    add("a map of 2000, to one of 100", linear, Limit::AtMost(1.25));
    for name in ["1000 mounts", "1000 mountpoints"] {
        let [own, floor] = [SELFDOCK, FLOOR].map(|program| format!("{program}, {name}"));
        let crowded = report.median_of(&[&own, &floor], |times| times[0] / times[1]);
        let name = format!("{name}, to the floor there");
        add(&name, crowded, Limit::AtMost(1.7));
    }
    // Each takes half the time where two go at once.
    for name in [SELFDOCK, FLOOR] {
        let both = format!("{name}, 2 workers");
        let two = report.median_of(&[name, &both], |times| times[0] / times[1]);
        let name = format!("{name}: throughput of two workers, to one");
        add(&name, two, Limit::AtLeast(1.8));
    }
    let count = |name: &str| report.counts.get(name).map(|count| *count as f64);
    for (name, limit) in [("page faults", 45.0), ("own KiB", 400.0)] {
        let name = format!("{name} of a waiting supervisor");
        let count = count(&format!("setuid: {name}"));
        add(&name, count, Limit::AtMost(limit));
    }
    let written = report.row(SELFDOCK).map(|row| row.written as f64);
    add("bytes written to disk", written, Limit::AtMost(0.0));
    targets
}

//! Medians and ratios.

use std::fmt::Write;

use crate::cases::{Absent, BARE, Case};
use crate::host::counts::Counts;
use crate::options::Options;
use crate::targets::{self, Limit};
use crate::worker::Taken;

/// Everything that was found out.
pub struct Report<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// What was measured.
    pub cases: &'a [Case],
    /// What was not.
    pub absent: &'a [Absent],
    /// What each case took in each round.
    pub rounds: &'a [Vec<Taken>],
    /// How many system calls each case makes, where that is known.
    pub system_calls: Vec<Option<usize>>,
    /// What is counted on a host of few mounts.
    pub counts: Counts,
}

/// What is told about one case.
pub struct Row {
    /// Microseconds per start, round by round. With several workers, of the time that passes for all.
    pub times: Vec<f64>,
    /// How many times as long as the bare command, and as the case that it is compared with.
    pub to_bare: f64,
    pub to_base: f64,
    /// Page faults of a start.
    pub faults: f64,
    /// Bytes written by the block layer, in all rounds.
    pub written: u64,
    /// System calls of a start.
    pub system_calls: Option<usize>,
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
        let head = [
            "median", "min", "max", "to bare", "to base", "faults", "calls",
        ];
        let _ = write!(text, "{:26}", "");
        for word in head {
            let _ = write!(text, "{word:>10}");
        }
        text.push_str("  base\n");
        for (index, case) in self.cases.iter().enumerate() {
            text.push_str(&line(case, &self.row_at(index)));
        }
        for absent in self.absent {
            let _ = writeln!(text, "{:26}{}", absent.name, absent.reason);
        }
        text.push('\n');
        for target in targets::of(self) {
            let verdict = if target.is_met() { "met" } else { "MISSED" };
            let (words, limit) = match target.limit {
                Limit::AtMost(limit) => ("at most", limit),
                Limit::AtLeast(limit) => ("at least", limit),
            };
            let _ = writeln!(
                text,
                "{:52}{:10.2}  {words} {limit}: {verdict}",
                target.name, target.value
            );
        }
        text
    }

    /// What is told about the case of that name, if it was measured.
    pub fn row(&self, name: &str) -> Option<Row> {
        self.place(name).map(|index| self.row_at(index))
    }

    /// What is told about the case at that place.
    pub fn row_at(&self, index: usize) -> Row {
        let case = &self.cases[index];
        let all = || self.rounds.iter().map(|round| &round[index]);
        let starts = (case.starts(self.options) * case.workers) as f64;
        let faults: Vec<_> = all().map(|taken| taken.faults as f64 / starts).collect();
        Row {
            times: self.times(index).collect(),
            to_bare: self.ratio(index, BARE),
            to_base: self.ratio(index, &case.base),
            faults: median(&faults),
            written: all().map(|taken| taken.written).sum(),
            system_calls: self.system_calls[index],
        }
    }

    /// The median over the rounds of what `number` makes of the times of these cases in a round; none
    /// if one was not measured. Not a number of medians: what slows a whole round down, other work on
    /// the machine above all, is in all of them.
    pub fn median_of(&self, names: &[&str], number: impl Fn(&[f64]) -> f64) -> Option<f64> {
        let places: Option<Vec<_>> = names.iter().map(|name| self.place(name)).collect();
        let times: Vec<Vec<f64>> = places?
            .iter()
            .map(|index| self.times(*index).collect())
            .collect();
        let numbers = (0..self.rounds.len()).map(|round| {
            let of_round: Vec<_> = times.iter().map(|times| times[round]).collect();
            number(&of_round)
        });
        Some(median(&numbers.collect::<Vec<_>>()))
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.cases.iter().position(|case| case.name == name)
    }

    fn times(&self, index: usize) -> impl Iterator<Item = f64> {
        let case = &self.cases[index];
        let starts = (case.starts(self.options) * case.workers) as f64;
        self.rounds
            .iter()
            .map(move |round| round[index].time.as_secs_f64() * 1e6 / starts)
    }

    fn ratio(&self, index: usize, base: &str) -> f64 {
        let names = [self.cases[index].name.as_str(), base];
        self.median_of(&names, |times| times[0] / times[1])
            .unwrap_or(f64::NAN)
    }
}

fn line(case: &Case, row: &Row) -> String {
    let calls = row
        .system_calls
        .map_or("-".to_owned(), |calls| calls.to_string());
    format!(
        "{:26}{:10.0}{:10.0}{:10.0}{:10.2}{:10.2}{:10.0}{calls:>10}  {}\n",
        case.name,
        median(&row.times),
        minimum(&row.times),
        maximum(&row.times),
        row.to_bare,
        row.to_base,
        row.faults,
        case.base
    )
}

/// Kernel and processors, in one line.
pub fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let is_virtual =
        std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" hypervisor"));
    let machine = if is_virtual {
        "virtual machine"
    } else {
        "machine"
    };
    match nix::sys::utsname::uname() {
        Ok(name) => format!(
            "{} {} {}, {machine} with {processors} processors ({model})",
            name.sysname().display(),
            name.release().display(),
            name.machine().display()
        ),
        Err(errno) => format!("{errno}, {processors} processors"),
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
    f64::midpoint(sorted[low], sorted[high])
}

/// The least.
pub fn minimum(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The greatest.
pub fn maximum(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

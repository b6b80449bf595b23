//! What a start costs, in numbers that say the same on every machine: benches/baseline.json has them,
//! and `cargo bench -- --write-baseline` writes it anew, if what has changed was meant to. Times are
//! only ever reported.

mod host;

use std::fs;
use std::path::Path;

use host::counts::{self, Counts, MODES};

/// Calls of selfdock that depend on which of its two processes is ahead: how often it wakes up, which
/// may be once or twice more or less.
const BY_LUCK: [&str; 3] = ["poll", "read", "waitid"];

/// Calls that are not selfdock's own: those of libc's start, its memory and its directory streams; and
/// `fork`, which is a system call in one libc and `clone` in the other.
const OF_LIBC: [&str; 19] = [
    "access",
    "arch_prctl",
    "brk",
    "clone",
    "fcntl",
    "fork",
    "getrandom",
    "gettid",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "prlimit64",
    "readlink",
    "rseq",
    "rt_sigprocmask",
    "set_robust_list",
    "set_tid_address",
];

/// Three names of one question.
const STATS: [&str; 3] = ["fstat", "newfstatat", "statx"];

/// Which program is under test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Build {
    /// The one to be released, as the baseline is of.
    Released,
    /// The same with another libc.
    OtherLibc,
    /// The one that cargo builds for tests. Its library looks at each descriptor before closing it.
    ForTests,
}

impl Build {
    fn of_this_test() -> Self {
        if std::env::var_os("SELFDOCK_BINARY").is_none() {
            Self::ForTests
        } else if host::has_glibc() {
            Self::Released
        } else {
            Self::OtherLibc
        }
    }

    /// Is that call made as often as the baseline says?
    fn has_exactly(self, name: &str) -> bool {
        match self {
            Self::Released => true,
            Self::OtherLibc => !OF_LIBC.contains(&name),
            Self::ForTests => name != "fcntl",
        }
    }
}

fn baseline() -> Counts {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/baseline.json");
    counts::from_json(&fs::read_to_string(path).unwrap())
}

/// Those of `counts` whose names begin so, without that.
fn of<'a>(counts: &'a Counts, begin: &str) -> impl Iterator<Item = (&'a str, u64)> {
    counts
        .iter()
        .filter_map(move |(name, count)| Some((name.strip_prefix(begin)?, *count)))
}

/// What can be compared of the system calls in `counts`.
fn comparable(counts: &Counts, mode: &str, build: Build) -> Counts {
    let mut comparable = Counts::new();
    for (name, count) in of(counts, &format!("{mode}: system calls: ")) {
        if build.has_exactly(name) {
            let name = if STATS.contains(&name) { "stat" } else { name };
            *comparable.entry(name.to_owned()).or_default() += count;
        }
    }
    comparable
}

#[test]
fn a_start_makes_the_system_calls_of_the_baseline_and_no_other() {
    let (build, baseline) = (Build::of_this_test(), baseline());
    for (mode, options) in MODES {
        let expected = comparable(&baseline, mode, build);
        let found = comparable(&counts::system_calls(mode, options), mode, build);
        assert!(expected.len() > 30, "{mode}: {expected:?}");
        let names = expected.keys().chain(found.keys());
        let differ: Vec<_> = names
            .filter_map(|name| {
                let of = |counts: &Counts| counts.get(name).copied().unwrap_or(0);
                let margin = 2 * u64::from(BY_LUCK.contains(&name.as_str()));
                let (expected, found) = (of(&expected), of(&found));
                (expected.abs_diff(found) > margin)
                    .then(|| format!("{name}: {found}, and not {expected}"))
            })
            .collect();
        assert!(differ.is_empty(), "{mode}: {}", differ.join("; "));
    }
}

/// How many it is also depends on which process is ahead after the fork, for whoever is writes to a page
/// that is shared has it copied: hence a fifth. The
/// other two builds are other programs, but not twice as large in memory.
#[test]
fn a_start_and_a_waiting_supervisor_touch_hardly_more_pages_than_the_baseline_says() {
    let (build, baseline) = (Build::of_this_test(), baseline());
    for (mode, options) in MODES {
        let found = counts::page_faults(mode, options);
        let begin = format!("{mode}: page faults");
        assert_eq!(of(&baseline, &begin).count(), 2);
        for (name, expected) in of(&baseline, &begin) {
            let most = match build {
                Build::Released => expected + expected / 5,
                Build::OtherLibc | Build::ForTests => expected * 2,
            };
            let found = found[&format!("{begin}{name}")];
            assert!(
                found <= most,
                "{begin}{name}: {found}, and not {expected} (at most {most})"
            );
        }
    }
}

/// What it has to itself in memory; the rest is the program's file, once for all instances.
#[test]
fn a_waiting_supervisor_has_little_memory_of_its_own() {
    for (mode, options) in MODES {
        let name = format!("{mode}: own KiB of a waiting supervisor");
        let found = counts::page_faults(mode, options)[&name];
        assert!((20..=400).contains(&found), "{name}: {found}");
    }
}

/// The margin is for another version of the compiler. The program that cargo builds for tests is an
/// order of magnitude larger, and grows with this one.
#[test]
fn the_program_is_hardly_larger_than_the_baseline_says() {
    let (expected, found) = (baseline()["bytes of the program"], counts::program_size());
    let most = match Build::of_this_test() {
        Build::Released | Build::OtherLibc => expected + expected / 20,
        Build::ForTests => expected * 20,
    };
    assert!(
        found <= most,
        "{found} bytes, and not {expected} (at most {most})"
    );
}

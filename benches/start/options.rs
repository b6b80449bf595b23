//! What `cargo bench -- ...` can be asked for.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

/// What to measure, how often, and in which form to tell.
pub struct Options {
    /// How many rounds.
    pub rounds: usize,
    /// How many starts of a case that takes as long as one instance, in a round.
    pub starts: usize,
    /// Only cases with one of these words in their names, and those that ratios are taken to.
    pub filter: Vec<String>,
    /// Further builds of selfdock, each by a name.
    pub beside: Vec<(String, PathBuf)>,
    /// Where to write JSON.
    pub json: Option<PathBuf>,
    /// Write benches/baseline.json instead of measuring time.
    pub write_baseline: bool,
}

impl Options {
    /// Parses the words of this process; ends it if they make no sense.
    pub fn parse() -> Self {
        let matches = command().get_matches();
        let number = |name: &str| {
            let number = matches.get_one::<u64>(name).copied().unwrap_or(1);
            usize::try_from(number).unwrap_or(usize::MAX)
        };
        let many = |name: &str| matches.get_many::<String>(name).into_iter().flatten();
        Self {
            rounds: number("rounds"),
            starts: number("starts"),
            filter: many("filter").cloned().collect(),
            beside: many("beside").filter_map(|word| named(word)).collect(),
            json: matches.get_one("json").cloned(),
            write_baseline: matches.get_flag("write-baseline"),
        }
    }
}

/// `NAME=PATH`
fn named(word: &str) -> Option<(String, PathBuf)> {
    let (name, path) = word.split_once('=')?;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    (!name.is_empty() && name.chars().all(is_plain)).then(|| (name.to_owned(), path.into()))
}

fn is_named(word: &str) -> Result<String, &'static str> {
    named(word)
        .map(|_| word.to_owned())
        .ok_or("this is not NAME=PATH, where NAME is of letters, digits and hyphens")
}

fn command() -> Command {
    let number = |name, default, help| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .default_value(default)
            .value_parser(value_parser!(u64).range(1..=1_000_000))
            .help(help)
    };
    let many = |name, value, help| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .action(ArgAction::Append)
            .help(help)
    };
    let flag = |name| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("cargo bench --")
        .about("Measures the start-to-exit time of /bin/true, bare and under selfdock and others")
        .args([
            number("rounds", "9", "Rounds; every case has its turn in each"),
            number(
                "starts",
                "100",
                "Starts of a case in a round; fewer of those that take longer",
            ),
            many(
                "filter",
                "WORD",
                "Only cases with WORD in their names (or another one), beside those that ratios are to",
            ),
            many(
                "beside",
                "NAME=PATH",
                "Another build of selfdock, measured as well",
            )
            .value_parser(is_named),
            Arg::new("json")
                .long("json")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Write everything to FILE as JSON, too"),
            flag("write-baseline")
                .help("Write benches/baseline.json, which tests/counts.rs compares with, and no more"),
            flag("bench").hide(true), // cargo's own
        ])
}

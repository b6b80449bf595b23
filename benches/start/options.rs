//! What `cargo bench -- ...` can be asked for.

use clap::{Arg, ArgAction, Command, value_parser};

/// What to measure, how often, and in which form to tell.
pub struct Options {
    /// How many rounds.
    pub rounds: usize,
    /// How many starts of each case in a round.
    pub starts: usize,
    /// Only cases with this word in their names, and the two that ratios are taken to.
    pub filter: String,
    /// As JSON, not as a table.
    pub json: bool,
}

impl Options {
    /// Parses the words of this process; ends it if they make no sense.
    pub fn parse() -> Self {
        let matches = command().get_matches();
        let number = |name: &str| {
            let number = matches.get_one::<u64>(name).copied().unwrap_or(1);
            usize::try_from(number).unwrap_or(usize::MAX)
        };
        Self {
            rounds: number("rounds"),
            starts: number("starts"),
            filter: matches
                .get_one::<String>("filter")
                .cloned()
                .unwrap_or_default(),
            json: matches.get_flag("json"),
        }
    }
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
    let flag = |name| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("cargo bench --")
        .about("Measures the start-to-exit time of /bin/true, bare and under selfdock and others")
        .args([
            number("rounds", "9", "Rounds; every case has its turn in each"),
            number("starts", "100", "Starts of each case in a round"),
            Arg::new("filter")
                .long("filter")
                .value_name("WORD")
                .help("Only cases with WORD in their names, beside bare and floor"),
            flag("json").help("Print JSON"),
            flag("bench").hide(true), // cargo's own
        ])
}

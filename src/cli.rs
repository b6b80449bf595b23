//! What was typed, in order. Pure: nothing is opened, looked up or judged by its meaning.

use std::ffi::OsString;

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use thiserror::Error;

use crate::options::{self, WORDS};
use crate::path::Quoted;
use std::os::unix::ffi::OsStrExt;

/// Why the command line is not one of ours.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum CliError {
    /// An option that does not exist.
    #[error("unknown option {}", Quoted(.0.as_bytes()))]
    UnknownOption(String),
    /// An option without its value, or with one of two.
    #[error("option {0} is not complete")]
    Incomplete(String),
    /// A value for an option that takes none.
    #[error("option {0} takes no value")]
    NoValue(String),
    /// What else clap may find wrong.
    #[error("{0}")]
    Other(String),
    /// None of ours.
    #[error("unknown action {}", Quoted(.0.as_bytes()))]
    UnknownAction(OsString),
    /// Nothing but options.
    #[error("no action given: run, build, enter, ps or doctor")]
    NoAction,
}

/// One option, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// `--rootfs DIR`
    Rootfs(OsString),
    /// `-C DIR`
    Directory(OsString),
    /// `--map SRC DST`
    Map(OsString, OsString),
    /// `--vol SRC DST`
    Vol(OsString, OsString),
    /// `--here`
    Here,
    /// `--tmpfs OPT DST`
    Tmpfs(OsString, OsString),
    /// `--env NAME VALUE`
    SetEnv(OsString, OsString),
    /// `-E NAME`
    UnsetEnv(OsString),
    /// `--init`
    Init,
    /// `--no-nest`
    NoNest,
    /// `--name NAME`
    Name(OsString),
    /// `--privilege MODE`
    Privilege(OsString),
    /// `--json`
    Json,
    /// `--keep-fd N`
    KeepFd(OsString),
    /// `--close-fds`
    CloseFds,
}

impl Choice {
    /// The option that it was made with.
    pub fn option(&self) -> &'static str {
        match self {
            Self::Rootfs(_) => "--rootfs",
            Self::Directory(_) => "-C",
            Self::Map(..) => "--map",
            Self::Vol(..) => "--vol",
            Self::Here => "--here",
            Self::Tmpfs(..) => "--tmpfs",
            Self::SetEnv(..) => "--env",
            Self::UnsetEnv(_) => "-E",
            Self::Init => "--init",
            Self::NoNest => "--no-nest",
            Self::Name(_) => "--name",
            Self::Privilege(_) => "--privilege",
            Self::Json => "--json",
            Self::KeepFd(_) => "--keep-fd",
            Self::CloseFds => "--close-fds",
        }
    }
}

/// What shall be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The root is read-only.
    Run,
    /// The root is as writable as it is for the caller.
    Build,
    /// Nothing is started: what runs is listed.
    Ps,
    /// Something is started in an instance that runs.
    Enter,
    /// Nothing is started but what is needed to know whether it could be.
    Doctor,
}

/// The command line, split into its parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Cli {
    /// Every option in the order given, wherever it stood.
    pub choices: Vec<Choice>,
    /// The action.
    pub action: Result<Action, CliError>,
    /// For `enter`: which one.
    pub instance: Option<OsString>,
    /// The command and its words; none means a shell.
    pub command: Vec<OsString>,
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// To do something.
    Order(Cli),
    /// To print this, and nothing else.
    Print(String),
}

/// Splits the words after the program's own name.
///
/// The action is judged last: `-v /a:/b run sh` swallows it, and the two-word hint for that says
/// more than "unknown action".
pub fn parse(words: Vec<OsString>) -> Result<Parsed, CliError> {
    match split(words) {
        Ok(cli) => Ok(Parsed::Order(cli)),
        Err(Stop::Print(text)) => Ok(Parsed::Print(text)),
        Err(Stop::Error(error)) => Err(error),
    }
}

fn split(words: Vec<OsString>) -> Result<Cli, Stop> {
    let mut choices = Vec::new();
    let mut rest = take_options(words, &mut choices)?.into_iter();
    let action = match rest.next() {
        None => Err(CliError::NoAction),
        Some(word) if word == "run" => Ok(Action::Run),
        Some(word) if word == "build" => Ok(Action::Build),
        Some(word) if word == "ps" => Ok(Action::Ps),
        Some(word) if word == "enter" => Ok(Action::Enter),
        Some(word) if word == "doctor" => Ok(Action::Doctor),
        Some(word) => Err(CliError::UnknownAction(word)),
    };
    let mut command = match action {
        Ok(_) => take_options(rest.collect(), &mut choices)?,
        Err(_) => Vec::new(),
    };
    let mut instance = None;
    if action == Ok(Action::Enter) && !command.is_empty() {
        instance = Some(command.remove(0));
        command = take_options(command, &mut choices)?;
    }
    Ok(Cli {
        choices,
        action,
        instance,
        command,
    })
}

/// Why the words are not split to the end.
enum Stop {
    Print(String),
    Error(CliError),
}

/// Adds the options that stand first to `choices`, and returns what follows them.
fn take_options(words: Vec<OsString>, choices: &mut Vec<Choice>) -> Result<Vec<OsString>, Stop> {
    let is_option = |word: &OsString| word.as_bytes().starts_with(b"-");
    // The usual case behind the action, and worth a parser's time.
    if words.first().is_none_or(is_option) {
        parse_options(words, choices)
    } else {
        Ok(words)
    }
}

/// The same by clap: by itself, for its frame has pages of the stack that nothing else touches.
#[inline(never)]
fn parse_options(words: Vec<OsString>, choices: &mut Vec<Choice>) -> Result<Vec<OsString>, Stop> {
    let mut command = options::command();
    let matches = command
        .try_get_matches_from_mut(words)
        .map_err(|error| Stop::Error(explain(&error)))?;
    if matches.get_flag("help") {
        return Err(Stop::Print(command.render_help().to_string()));
    }
    if matches.get_flag("version") {
        return Err(Stop::Print(command.render_version()));
    }
    choices.extend(found(&matches));
    let rest = matches.get_many::<OsString>(WORDS).unwrap_or_default();
    Ok(rest.cloned().collect())
}

/// The options in command-line order, whatever their kind: clap keeps each kind by itself.
fn found(matches: &ArgMatches) -> Vec<Choice> {
    let mut found = Vec::new();
    let mut pairs = |name: &str, choice: fn(OsString, OsString) -> Choice| {
        for (place, values) in occurrences(matches, name) {
            if let [first, second] = values.as_slice() {
                found.push((place, choice(first.clone(), second.clone())));
            }
        }
    };
    pairs("map", Choice::Map);
    pairs("vol", Choice::Vol);
    pairs("tmpfs", Choice::Tmpfs);
    pairs("env", Choice::SetEnv);
    let mut singles = |name: &str, choice: fn(OsString) -> Choice| {
        for (place, values) in occurrences(matches, name) {
            found.extend(values.into_iter().map(|value| (place, choice(value))));
        }
    };
    singles("rootfs", Choice::Rootfs);
    singles("directory", Choice::Directory);
    singles("unset", Choice::UnsetEnv);
    singles("name", Choice::Name);
    singles("keep-fd", Choice::KeepFd);
    singles("privilege", Choice::Privilege);
    let flags = [
        ("here", Choice::Here),
        ("init", Choice::Init),
        ("no-nest", Choice::NoNest),
        ("close-fds", Choice::CloseFds),
        ("json", Choice::Json),
    ];
    for (name, choice) in flags {
        if matches.get_flag(name) {
            found.extend(matches.index_of(name).map(|place| (place, choice)));
        }
    }
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, choice)| choice).collect()
}

/// Each time that an option was given: the place of its first value, and its values.
fn occurrences(matches: &ArgMatches, name: &str) -> Vec<(usize, Vec<OsString>)> {
    let values = matches
        .get_occurrences::<OsString>(name)
        .unwrap_or_default();
    let mut places = matches.indices_of(name).unwrap_or_default();
    let mut found = Vec::new();
    for values in values {
        let values: Vec<OsString> = values.cloned().collect();
        if let Some(first) = places.by_ref().take(values.len()).min() {
            found.push((first, values));
        }
    }
    found
}

/// clap's error in one line of our own.
fn explain(error: &clap::Error) -> CliError {
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => option.clone(),
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::UnknownArgument => CliError::UnknownOption(option),
        ErrorKind::WrongNumberOfValues | ErrorKind::InvalidValue => CliError::Incomplete(option),
        ErrorKind::TooManyValues => CliError::NoValue(option),
        kind => CliError::Other(kind.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn started(line: &str) -> Cli {
        match parse(words(line)) {
            Ok(Parsed::Order(cli)) => cli,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn two(choice: fn(OsString, OsString) -> Choice, first: &str, second: &str) -> Choice {
        choice(first.into(), second.into())
    }

    #[test]
    fn options_stand_before_and_after_the_action_and_keep_their_order() {
        let expected = [
            two(Choice::Map, "a", "/b"),
            two(Choice::Vol, "c", "/d"),
            two(Choice::Tmpfs, "size=1k", "/t"),
            Choice::Here,
            two(Choice::Map, "e", "/f"),
            Choice::Rootfs("x".into()),
            two(Choice::SetEnv, "N", "V"),
            Choice::UnsetEnv("M".into()),
            Choice::Directory("/w".into()),
            Choice::KeepFd("5".into()),
            Choice::CloseFds,
            Choice::KeepFd("-6".into()),
        ];
        for line in [
            "-m a /b -v c /d -t size=1k /t --here --map e /f -r x -e N V -E M -C /w --keep-fd 5 --close-fds --keep-fd -6 run sh -c -m",
            "run -m a /b -v c /d -t size=1k /t --here --map e /f -r x -e N V -E M -C /w --keep-fd 5 --close-fds --keep-fd -6 sh -c -m",
            "-m a /b --vol c /d --tmpfs size=1k /t run --here -m e /f --rootfs x --env N V -E M -C /w --keep-fd 5 --close-fds --keep-fd -6 -- sh -c -m",
            "-m a /b -v c /d -t size=1k /t -- run --here -m e /f -r x -e N V -E M -C /w --keep-fd 5 --close-fds --keep-fd -6 -- sh -c -m",
        ] {
            let cli = started(line);
            assert_eq!(cli.choices, expected, "{line}");
            assert_eq!(cli.action, Ok(Action::Run));
            assert_eq!(cli.command, words("sh -c -m"), "{line}");
        }
    }

    #[test]
    fn from_the_command_on_every_word_is_its_own() {
        for (line, command) in [
            ("run ls --rootfs /x", "ls --rootfs /x"),
            ("run -- --rootfs /x", "--rootfs /x"),
            ("-- run -- -- x", "-- x"),
            ("run a -- b", "a -- b"),
            ("run run build", "run build"),
            ("run -", "-"),
            ("run ps --json", "ps --json"),
            ("run doctor", "doctor"),
            ("run", ""),
            ("run --", ""),
            ("run --here", ""),
        ] {
            assert_eq!(started(line).command, words(command), "{line}");
        }
        let cli = parse(vec!["build".into(), "".into(), "".into()]);
        let Ok(Parsed::Order(cli)) = cli else {
            panic!("{cli:?}")
        };
        assert_eq!((cli.action, cli.command.len()), (Ok(Action::Build), 2));
    }

    #[test]
    fn the_options_of_ps_and_doctor_stand_before_and_after_them_too() {
        for (name, action) in [("ps", Action::Ps), ("doctor", Action::Doctor)] {
            for line in ["--json NAME", "NAME --json", "-- NAME -- ", "NAME"] {
                let cli = started(&line.replace("NAME", name));
                assert_eq!(cli.action, Ok(action), "{line}");
                let is_json = cli.choices == [Choice::Json];
                assert_eq!(is_json, line.contains("json"), "{line}");
                assert_eq!(cli.command.len(), 0, "{line}");
            }
        }
    }

    #[test]
    fn a_value_is_the_next_word_whatever_it_looks_like() {
        let cli = started("-e CFLAGS -O2 -m -m -- -E -x run true");
        let expected = [
            two(Choice::SetEnv, "CFLAGS", "-O2"),
            two(Choice::Map, "-m", "--"),
            Choice::UnsetEnv("-x".into()),
        ];
        assert_eq!(cli.choices, expected);
    }

    #[test]
    fn bytes_that_are_not_unicode_survive() {
        use std::os::unix::ffi::OsStringExt;
        let odd = OsString::from_vec(b"/\xff".to_vec());
        let line = vec![
            "-m".into(),
            odd.clone(),
            odd.clone(),
            "run".into(),
            odd.clone(),
        ];
        let Ok(Parsed::Order(cli)) = parse(line) else {
            panic!()
        };
        assert_eq!(cli.choices, [Choice::Map(odd.clone(), odd.clone())]);
        assert_eq!(cli.command, [odd]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            ("--rootf x run", CliError::UnknownOption("--rootf".into())),
            ("-x run", CliError::UnknownOption("-x".into())),
            ("-m", CliError::Incomplete("--map <SRC> <DST>".into())),
            ("-m a", CliError::Incomplete("--map <SRC> <DST>".into())),
            (
                "--map=a b run",
                CliError::Incomplete("--map <SRC> <DST>".into()),
            ),
            ("-C", CliError::Incomplete("-C <DIR>".into())),
            ("--here=yes run", CliError::NoValue("--here".into())),
        ] {
            assert_eq!(parse(words(line)), Err(expected), "{line}");
        }
        for (line, expected) in [
            ("", CliError::NoAction),
            ("--here", CliError::NoAction),
            ("--", CliError::NoAction),
            ("start sh", CliError::UnknownAction("start".into())),
            ("Run sh", CliError::UnknownAction("Run".into())),
            ("ru sh", CliError::UnknownAction("ru".into())),
        ] {
            assert_eq!(started(line).action, Err(expected), "{line}");
        }
    }

    #[test]
    fn help_and_version_are_asked_for_anywhere_before_the_command() {
        for line in ["-h", "--help", "run -h", "-m a /b build --help sh"] {
            let Ok(Parsed::Print(text)) = parse(words(line)) else {
                panic!("{line}")
            };
            assert!(text.contains("Usage: selfdock [OPTIONS] run"), "{text}");
            for option in [
                "--rootfs",
                "-C ",
                "--map",
                "--vol",
                "--here",
                "--tmpfs",
                "--env",
                "-E ",
                "--init",
                "--no-nest",
                "--name",
                "--privilege",
                "--json",
                "--keep-fd",
                "--close-fds",
                "--help",
                "--version",
            ] {
                assert!(text.contains(option), "{option} is not in the help");
            }
        }
        let version = format!("selfdock {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(parse(words("-V")), Ok(Parsed::Print(version.clone())));
        assert_eq!(parse(words("run --version")), Ok(Parsed::Print(version)));
        assert_eq!(started("run sh -h").command, words("sh -h"));
    }
}

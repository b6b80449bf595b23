//! The grammar of the command line once more, written down without a parser's help, for comparison.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::cli::Choice;

/// An option: its spellings, how many words it takes, and what it becomes of them.
pub struct Spelled {
    pub long: Option<&'static str>,
    pub short: Option<u8>,
    pub values: usize,
    make: fn(&[OsString]) -> Option<Choice>,
}

macro_rules! spelled {
    ($long:expr, $short:expr, $values:expr, $make:expr) => {
        Spelled {
            long: $long,
            short: $short,
            values: $values,
            make: $make,
        }
    };
}

/// All that there are.
pub const OPTIONS: [Spelled; 17] = [
    spelled!(Some("rootfs"), Some(b'r'), 1, |v| Some(Choice::Rootfs(
        v[0].clone()
    ))),
    spelled!(None, Some(b'C'), 1, |v| Some(Choice::Directory(
        v[0].clone()
    ))),
    spelled!(Some("map"), Some(b'm'), 2, |v| Some(Choice::Map(
        v[0].clone(),
        v[1].clone()
    ))),
    spelled!(Some("vol"), Some(b'v'), 2, |v| Some(Choice::Vol(
        v[0].clone(),
        v[1].clone()
    ))),
    spelled!(Some("here"), None, 0, |_| Some(Choice::Here)),
    spelled!(Some("tmpfs"), Some(b't'), 2, |v| Some(Choice::Tmpfs(
        v[0].clone(),
        v[1].clone()
    ))),
    spelled!(Some("env"), Some(b'e'), 2, |v| Some(Choice::SetEnv(
        v[0].clone(),
        v[1].clone()
    ))),
    spelled!(None, Some(b'E'), 1, |v| Some(Choice::UnsetEnv(
        v[0].clone()
    ))),
    spelled!(Some("init"), None, 0, |_| Some(Choice::Init)),
    spelled!(Some("no-nest"), None, 0, |_| Some(Choice::NoNest)),
    spelled!(Some("name"), None, 1, |v| Some(Choice::Name(v[0].clone()))),
    spelled!(Some("privilege"), None, 1, |v| Some(Choice::Privilege(
        v[0].clone()
    ))),
    spelled!(Some("json"), None, 0, |_| Some(Choice::Json)),
    spelled!(Some("keep-fd"), None, 1, |v| Some(Choice::KeepFd(
        v[0].clone()
    ))),
    spelled!(Some("close-fds"), None, 0, |_| Some(Choice::CloseFds)),
    spelled!(Some("help"), Some(b'h'), 0, |_| None),
    spelled!(Some("version"), Some(b'V'), 0, |_| None),
];

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// These options, this word as the action (perhaps none, or none that exists), for `enter` the
    /// instance, and the command.
    Order(
        Vec<Choice>,
        Option<OsString>,
        Option<OsString>,
        Vec<OsString>,
    ),
    /// Help or version.
    Print,
    /// It is not one of ours.
    Nothing,
}

/// Reads a whole line.
pub fn read(words: &[OsString]) -> Meaning {
    read_line(words).unwrap_or_else(|end| end)
}

fn read_line(words: &[OsString]) -> Result<Meaning, Meaning> {
    let mut choices = Vec::new();
    let rest = read_options(words, &mut choices)?;
    let Some((action, rest)) = rest.split_first() else {
        return Ok(Meaning::Order(choices, None, None, Vec::new()));
    };
    let (mut instance, mut command) = (None, Vec::new());
    if ["run", "build", "ps", "enter", "doctor"]
        .iter()
        .any(|known| action == known)
    {
        let mut rest = read_options(rest, &mut choices)?;
        if let (true, Some((first, behind))) = (action == "enter", rest.split_first()) {
            instance = Some(first.clone());
            rest = read_options(behind, &mut choices)?;
        }
        command = rest.to_vec();
    }
    Ok(Meaning::Order(
        choices,
        Some(action.clone()),
        instance,
        command,
    ))
}

/// Reads the options that stand first, and returns what follows.
fn read_options<'a>(
    words: &'a [OsString],
    choices: &mut Vec<Choice>,
) -> Result<&'a [OsString], Meaning> {
    let mut rest = words;
    let (mut found, mut is_print): (Vec<Choice>, bool) = (Vec::new(), false);
    while let Some((word, behind)) = rest.split_first() {
        if !word.as_bytes().starts_with(b"-") || word == "-" {
            break;
        }
        rest = behind;
        if word == "--" {
            break;
        }
        for (option, attached) in spelled_in(word)? {
            let own: Vec<OsString> = attached.into_iter().collect();
            let more = if own.is_empty() { option.values } else { 0 };
            let values = [&own, rest.get(..more).ok_or(Meaning::Nothing)?].concat();
            rest = &rest[more..];
            if values.len() != option.values {
                return Err(Meaning::Nothing);
            }
            match (option.make)(&values) {
                // Twice is once, at the later place.
                Some(flag) if option.values == 0 => {
                    found.retain(|other| *other != flag);
                    found.push(flag);
                }
                Some(choice) => found.push(choice),
                None => is_print = true,
            }
        }
    }
    choices.extend(found);
    if is_print {
        Err(Meaning::Print)
    } else {
        Ok(rest)
    }
}

/// The options of one word: `--long`, `--long=VALUE`, or letters of which the last may be followed by
/// its value, with or without an equals sign.
fn spelled_in(word: &OsStr) -> Result<Vec<(&'static Spelled, Option<OsString>)>, Meaning> {
    let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    if let Some(long) = word.as_bytes().strip_prefix(b"--") {
        let mut parts = long.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default();
        let is_it = |option: &&Spelled| option.long.is_some_and(|long| long.as_bytes() == name);
        let option = OPTIONS.iter().find(is_it).ok_or(Meaning::Nothing)?;
        return Ok(vec![(option, parts.next().map(owned))]);
    }
    let (mut found, mut letters) = (Vec::new(), &word.as_bytes()[1..]);
    while let Some((letter, behind)) = letters.split_first() {
        let is_it = |option: &&Spelled| option.short == Some(*letter);
        let option = OPTIONS.iter().find(is_it).ok_or(Meaning::Nothing)?;
        letters = behind;
        let mut attached = None;
        if option.values > 0 && !behind.is_empty() {
            attached = Some(owned(behind.strip_prefix(b"=").unwrap_or(behind)));
            letters = b"";
        }
        found.push((option, attached));
    }
    Ok(found)
}

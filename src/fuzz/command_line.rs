//! The command line: what it means, what is made of it, and what is said about it.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

use super::grammar::{self, Meaning, OPTIONS};
use super::{byte, config, is_printable, odd_word, samples};
use crate::cli::{self, Choice, Parsed};
use crate::environment::EnvChange;
use crate::error::Error;
use crate::exit;
use crate::path::InstancePath;
use crate::request::{Access, Format, Mode, Mount, Order, Program, Request, RequestError};
use crate::sys::privilege::Gain;

const ACTIONS: [&str; 5] = ["run", "build", "enter", "ps", "doctor"];

/// Values that some option takes, or nearly.
const VALUES: [&str; 14] = [
    "/",
    "/tmp",
    "//a/../b/",
    "a",
    "",
    "A",
    "A=B",
    "/a:/b",
    "0",
    "2147483647",
    "-1",
    "size=1m,mode=700",
    "noexec",
    "mode=4777",
];

fn option_word() -> impl Strategy<Value = OsString> {
    let spellings = OPTIONS.iter().flat_map(|option| {
        let short = option.short.map(|short| format!("-{}", char::from(short)));
        [short, option.long.map(|long| format!("--{long}"))]
    });
    select(spellings.flatten().map(OsString::from).collect::<Vec<_>>())
}

/// An option and something that is stuck to it.
fn joined_word() -> impl Strategy<Value = OsString> {
    (option_word(), select(&["=", ""][..]), vec(byte(), 0..4)).prop_map(|(option, joint, rest)| {
        let parts = [option.as_bytes(), joint.as_bytes(), &rest];
        OsString::from_vec(parts.concat())
    })
}

fn any_word() -> impl Strategy<Value = OsString> {
    let known = [&ACTIONS[..], &["--", "-"], &VALUES].concat();
    prop_oneof![
        6 => option_word(),
        8 => select(known).prop_map(OsString::from),
        1 => joined_word(),
        2 => odd_word(),
    ]
}

/// A value that the option in question takes.
fn good_values(option: &str) -> impl Strategy<Value = [OsString; 2]> + use<> {
    let (paths, names) = (&["/", "/tmp", "//a/../b/"][..], &["A", "a-1.b", "a_b"][..]);
    let (first, second) = match option {
        "--tmpfs" => (&["", "size=1m,mode=700", "noexec"][..], paths),
        "--env" => (names, &VALUES[..]),
        "-E" | "--name" => (names, names),
        "--keep-fd" => (&["0", "07", "2147483647"][..], paths),
        "-C" => (paths, paths),
        _ => (&VALUES[..], paths),
    };
    (select(first), select(second)).prop_map(|(first, second)| [first.into(), second.into()])
}

/// Options that are complete, of any kind, with any values; most of those make sense.
fn complete_options() -> impl Strategy<Value = Vec<OsString>> {
    // Not --help or --version, and --json only with ps.
    let options = OPTIONS[..OPTIONS.len() - 2].iter();
    let options = options
        .filter(|option| option.long != Some("json"))
        .map(|option| {
            let short = option.short.map(|short| format!("-{}", char::from(short)));
            let long = option.long.map(|long| format!("--{long}"));
            let name = long.clone().or(short.clone()).unwrap();
            let wild = [any_word(), any_word()];
            let values = prop_oneof![9 => good_values(&name), 1 => wild];
            (any::<bool>(), values).prop_map(move |(is_short, values)| {
                let spelling = if is_short { &short } else { &long }.as_ref();
                let mut words = vec![spelling.unwrap_or(&name).into()];
                words.extend(values.into_iter().take(option.values));
                words
            })
        });
    let option = Union::new(options.collect::<Vec<_>>());
    vec(option, 0..5).prop_map(|options| options.concat())
}

/// A line as people write it, whatever the words.
fn plausible_line() -> impl Strategy<Value = Vec<OsString>> {
    let action = select(&["run", "build", "enter", "enter web"][..]).prop_map(words);
    let start = (
        complete_options(),
        action,
        complete_options(),
        vec(any_word(), 0..4),
    );
    let start =
        start.prop_map(|(before, action, behind, rest)| [before, action, behind, rest].concat());
    let listing = select(
        &[
            "ps",
            "ps --json",
            "--json ps",
            "-- ps --",
            "ps -r /",
            "doctor --json",
        ][..],
    )
    .prop_map(words);
    prop_oneof![6 => start, 1 => listing]
}

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

fn any_line() -> impl Strategy<Value = Vec<OsString>> {
    prop_oneof![vec(any_word(), 0..10), plausible_line()]
}

fn order(words: Vec<OsString>) -> Result<Option<Order>, RequestError> {
    match cli::parse(words)? {
        Parsed::Order(cli) => Order::try_from(cli).map(Some),
        Parsed::Print(_) => Ok(None),
    }
}

fn c_strings(words: &[OsString]) -> Vec<CString> {
    let words = words.iter().map(|word| CString::new(word.as_bytes()));
    words.collect::<Result<_, _>>().unwrap()
}

/// Fails unless the request is what the choices ask for, in their order, and nothing else.
fn assert_asked(choices: &[Choice], command: &[OsString], request: &Request) {
    let mut mounts = request.layout.mounts.iter();
    let mut changes = request.exec.changes.iter();
    let mut kept = request.exec.descriptors.kept.iter();
    let (mut rootfs, mut directory, mut name) = (OsString::from("/"), None, None);
    let mut mode = None;
    for choice in choices {
        match choice {
            Choice::Map(source, target) => {
                assert_graft(mounts.next(), (source, target), Access::ReadOnly);
            }
            Choice::Vol(source, target) => {
                assert_graft(mounts.next(), (source, target), Access::ReadWrite);
            }
            Choice::Here => assert_eq!(mounts.next(), Some(&Mount::Here)),
            Choice::Tmpfs(_, target) => match mounts.next() {
                Some(Mount::Tmpfs { target: found, .. }) => assert_is_path(target, found),
                other => panic!("{other:?}"),
            },
            Choice::SetEnv(name, value) => {
                let entry = [name.as_bytes(), value.as_bytes()].join(&b'=');
                let expected = EnvChange::Set(CString::new(entry).unwrap(), name.len());
                assert_eq!(changes.next(), Some(&expected));
            }
            Choice::UnsetEnv(name) => {
                let name = CString::new(name.as_bytes()).unwrap();
                assert_eq!(changes.next(), Some(&EnvChange::Unset(name)));
            }
            Choice::KeepFd(word) => {
                let number = word.to_str().unwrap().trim_start_matches('0');
                let kept = kept.next().unwrap().to_string();
                assert_eq!(kept.trim_start_matches('0'), number);
            }
            Choice::Rootfs(dir) => rootfs.clone_from(dir),
            Choice::Directory(dir) => directory = Some(dir),
            Choice::Name(word) => name = Some(word),
            Choice::Init => assert!(request.has_init),
            Choice::NoNest => assert_eq!(request.gain, Gain::Nothing),
            Choice::CloseFds => assert!(request.exec.descriptors.closes_others),
            Choice::Privilege(word) => mode = Some(word),
            Choice::Json => panic!("--json is for ps and doctor"),
        }
    }
    assert_eq!(
        (mounts.next(), changes.next(), kept.next()),
        (None, None, None)
    );
    assert_eq!(
        request.gain == Gain::Nothing,
        choices.contains(&Choice::NoNest)
    );
    let modes = ["auto", "setuid", "userns"].into_iter().zip([
        Mode::Auto,
        Mode::SetUserId,
        Mode::UserNamespace,
    ]);
    let asked = mode.map(|word| modes.clone().find(|(name, _)| word == name).unwrap().1);
    assert_eq!(request.mode, asked.unwrap_or(Mode::Auto));
    assert_eq!(request.has_init, choices.contains(&Choice::Init));
    assert_eq!(
        request.exec.descriptors.closes_others,
        choices.contains(&Choice::CloseFds)
    );
    assert_eq!(
        request.layout.rootfs.as_c_str().to_bytes(),
        rootfs.as_bytes()
    );
    assert_eq!(
        request.name.as_ref().map(|name| name.as_str()),
        name.map(|name| name.to_str().unwrap())
    );
    match (directory, &request.exec.directory) {
        (Some(dir), Some(found)) => assert_is_path(dir, found),
        other => assert_eq!(other, (None, &None)),
    }
    assert_program(command, &request.exec.program);
}

fn assert_graft(mount: Option<&Mount>, paths: (&OsString, &OsString), expected: Access) {
    let Some(Mount::Graft {
        source,
        target,
        access,
    }) = mount
    else {
        panic!("{mount:?}")
    };
    assert_eq!(source.as_c_str().to_bytes(), paths.0.as_bytes());
    assert_is_path(paths.1, target);
    assert_eq!(*access, expected);
}

fn assert_is_path(word: &OsString, path: &InstancePath) {
    let bytes = path.as_c_str().to_bytes();
    assert_eq!(bytes, word.as_bytes());
    assert!(bytes.starts_with(b"/"));
}

fn assert_program(command: &[OsString], program: &Program) {
    match (c_strings(command).split_first(), program) {
        (None, Program::Shell) => {}
        (Some((name, rest)), Program::Words(found, words)) => {
            assert_eq!((name, rest), (found, &words[..]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_lines_that_are_tried_are_of_every_kind() {
    let (mut started, mut entered, mut listed, mut printed, mut refused) = (0, 0, 0, 0, 0);
    for line in samples(any_line(), 4000) {
        match order(line) {
            Ok(Some(Order::Start(_))) => started += 1,
            Ok(Some(Order::Enter(_))) => entered += 1,
            Ok(Some(Order::List(_) | Order::Diagnose(_))) => listed += 1,
            Ok(None) => printed += 1,
            Err(_) => refused += 1,
        }
    }
    let least = started.min(entered).min(listed).min(printed).min(refused);
    assert!(
        least > 20,
        "{started} {entered} {listed} {printed} {refused}"
    );
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_line_means_what_the_grammar_says(words in any_line()) {
        let meaning = match cli::parse(words.clone()) {
            Ok(Parsed::Print(_)) => Meaning::Print,
            Err(_) => Meaning::Nothing,
            Ok(Parsed::Order(cli)) => {
                let action = match grammar::read(&words) {
                    Meaning::Order(_, action, ..) => action,
                    other => panic!("an order, but {other:?}"),
                };
                let is_action = action.as_ref().is_some_and(|action| ACTIONS.iter().any(|known| action == known));
                prop_assert_eq!(cli.action.is_ok(), is_action);
                Meaning::Order(cli.choices, action, cli.instance, cli.command)
            }
        };
        prop_assert_eq!(meaning, grammar::read(&words));
    }

    #[test]
    fn what_is_requested_is_what_was_asked_and_nothing_else(words in plausible_line()) {
        let Meaning::Order(choices, action, instance, command) = grammar::read(&words) else {
            return Ok(());
        };
        let action = action.unwrap();
        match order(words) {
            Err(_) | Ok(None) => {}
            Ok(Some(Order::Start(request))) => {
                assert_asked(&choices, &command, &request);
                let is_writable = request.layout.access == Access::ReadWrite;
                prop_assert_eq!(action, if is_writable { "build" } else { "run" });
            }
            Ok(Some(order @ (Order::List(format) | Order::Diagnose(format)))) => {
                let is_list = matches!(order, Order::List(_));
                let expected = if is_list { "ps" } else { "doctor" };
                prop_assert_eq!((action.to_str(), command.len()), (Some(expected), 0));
                prop_assert!(choices.iter().all(|choice| *choice == Choice::Json));
                prop_assert_eq!(format == Format::Json, !choices.is_empty());
            }
            Ok(Some(Order::Enter(entry))) => {
                prop_assert_eq!(action.to_str(), Some("enter"));
                prop_assert_eq!(Some(entry.instance), instance);
                assert_program(&command, &entry.exec.program);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_printable_lines_and_is_status_124(words in any_line()) {
        if let Err(error) = order(words) {
            let error = Error::from(error);
            prop_assert!(is_printable(&error.to_string()), "{:?}", error.to_string());
            if let Some(hint) = error.hint() {
                prop_assert!(is_printable(&hint), "{:?}", hint);
            }
            prop_assert_eq!(error.status(), exit::CANNOT);
        }
    }

    #[test]
    fn from_the_command_on_no_word_is_interpreted(
        before in complete_options(),
        action in select(&["run", "build", "enter web"][..]),
        behind in complete_options(),
        (has_dashes, command) in (any::<bool>(), any_word()),
        rest in vec(any_word(), 0..8),
    ) {
        let action = words(action);
        let dashes = if has_dashes { vec!["--".into()] } else { Vec::new() };
        let command = if has_dashes { command } else { [OsString::from("x"), command].join(OsStr::new("")) };
        let start = [before, action, behind, dashes].concat();
        let own = [vec![command], rest].concat();
        let Parsed::Order(with) = cli::parse([start.clone(), own.clone()].concat())? else {
            panic!("help was asked for")
        };
        prop_assert_eq!(with.command, own);
        let Parsed::Order(other) = cli::parse([start, vec!["true".into()]].concat())? else {
            panic!("help was asked for")
        };
        prop_assert_eq!((with.choices, with.action, with.instance), (other.choices, other.action, other.instance));
    }

    #[test]
    fn a_word_with_a_nul_byte_never_gets_through(mut words in plausible_line(), at in any::<prop::sample::Index>()) {
        let index = at.index(words.len());
        words[index].push("\0x");
        let is_order = matches!(order(words), Ok(Some(Order::Start(_) | Order::List(_))));
        prop_assert!(!is_order);
    }
}

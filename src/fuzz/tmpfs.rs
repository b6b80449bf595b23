//! The option word of `--tmpfs`, which ends in a call with privilege.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{config, is_printable, samples};
use crate::tmpfs::{TmpfsOptions, TmpfsSize};

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..=2048_u32).prop_map(|number| number.to_string()),
        2 => any::<u64>().prop_map(|number| number.to_string()),
        2 => (0..=0o2000_u32).prop_map(|number| format!("{number:o}")),
        1 => "[-+ ]?[0-9]{0,24}[kKmMgGtT%e.]{0,2}",
        1 => "[^\0]{0,5}",
    ]
}

fn allowed_option() -> impl Strategy<Value = String> {
    prop_oneof![
        (
            1..=1_u64 << 33,
            select(&["", "k", "K", "m", "M", "g", "G"][..])
        )
            .prop_map(|(number, unit)| format!("size={number}{unit}")),
        (1..=50_u8).prop_map(|percent| format!("size={percent}%")),
        (1..=1_u32 << 20).prop_map(|count| format!("nr_inodes={count:03}")),
        (0..=0o1777_u32).prop_map(|mode| format!("mode={mode:04o}")),
        select(&["exec", "noexec"][..]).prop_map(str::to_owned),
    ]
}

fn option() -> impl Strategy<Value = String> {
    let key = select(
        &[
            "size",
            "nr_inodes",
            "mode",
            "uid",
            "gid",
            "huge",
            "mpol",
            "SIZE",
            "source",
            "",
        ][..],
    );
    let known = select(&["size", "nr_inodes", "mode"][..]);
    let suffix = select(&["", "k", "K", "m", "M", "g", "G", "%"][..]);
    prop_oneof![
        6 => allowed_option(),
        3 => (known, value(), suffix).prop_map(|(key, value, suffix)| format!("{key}={value}{suffix}")),
        1 => (key, value()).prop_map(|(key, value)| format!("{key}={value}")),
        2 => select(&["exec", "noexec", "", "suid", "dev", "noswap", "size", "ro"][..]).prop_map(str::to_owned),
        1 => "[^\0]{0,8}",
    ]
}

fn word() -> impl Strategy<Value = String> {
    vec(option(), 0..4).prop_map(|options| options.join(","))
}

/// The number that the text stands for, with as many digits as it likes.
fn number(digits: &str, base: u32) -> u128 {
    digits.chars().fold(0, |sum: u128, digit| {
        let digit = digit.to_digit(base).expect("a digit");
        sum.saturating_mul(base.into()).saturating_add(digit.into())
    })
}

fn asked_size(value: &str) -> TmpfsSize {
    if let Some(percent) = value.strip_suffix('%') {
        return TmpfsSize::Percent(number(percent, 10).try_into().unwrap());
    }
    let digits = value.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
    let unit = match value[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        other => panic!("{other:?} is no unit"),
    };
    TmpfsSize::Bytes((number(digits, 10) * unit).try_into().unwrap())
}

/// What the word asks for, if every part of it is allowed.
fn asked(word: &str) -> TmpfsOptions {
    let mut options = TmpfsOptions::default();
    for option in word.split(',').filter(|_| !word.is_empty()) {
        let is_new = match option.split_once('=') {
            Some(("size", value)) => options.size.replace(asked_size(value)).is_none(),
            Some(("nr_inodes", value)) => {
                let inodes = number(value, 10).try_into().unwrap();
                options.inodes.replace(inodes).is_none()
            }
            Some(("mode", value)) => {
                let mode = number(value, 8).try_into().unwrap();
                options.mode.replace(mode).is_none()
            }
            None if ["exec", "noexec"].contains(&option) => {
                options.exec.replace(option == "exec").is_none()
            }
            _ => panic!("{option:?} is allowed"),
        };
        assert!(is_new, "{option:?} is given twice");
    }
    options
}

/// Is every number in its range?
fn is_within_bounds(options: &TmpfsOptions) -> bool {
    let is_size = match options.size {
        Some(TmpfsSize::Bytes(bytes)) => (1..=i64::MAX as u64).contains(&bytes),
        Some(TmpfsSize::Percent(percent)) => (1..=50).contains(&percent),
        None => true,
    };
    let is_count = options
        .inodes
        .is_none_or(|count| (1..=1 << 20).contains(&count));
    is_size && is_count && options.mode.is_none_or(|mode| mode & !0o1777 == 0)
}

#[test]
fn many_of_the_words_that_are_tried_are_accepted_and_many_are_not() {
    let words: Vec<String> = samples(word(), 1000).collect();
    let is_accepted = |word: &&String| {
        TmpfsOptions::parse(word).is_ok_and(|options| options != TmpfsOptions::default())
    };
    let accepted = words.iter().filter(is_accepted).count();
    assert!((100..900).contains(&accepted), "{accepted}");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_accepted_is_allowed_and_is_what_was_asked(word in word()) {
        match TmpfsOptions::parse(&word) {
            Ok(options) => {
                prop_assert!(is_within_bounds(&options), "{:?}", options);
                prop_assert_eq!(options, asked(&word));
            }
            Err(error) => prop_assert!(is_printable(&error.to_string()), "{}", error),
        }
    }

    #[test]
    fn what_is_allowed_is_accepted(
        size in prop::option::of(prop_oneof![
            (1..=i64::MAX as u64).prop_map(TmpfsSize::Bytes),
            (1..=50_u8).prop_map(TmpfsSize::Percent),
        ]),
        inodes in prop::option::of(1..=1_u32 << 20),
        mode in prop::option::of(0..=0o1777_u32),
        exec in any::<Option<bool>>(),
    ) {
        let options = TmpfsOptions { size, inodes, mode, exec };
        let size = size.map(|size| match size {
            TmpfsSize::Bytes(bytes) => format!("size={bytes}"),
            TmpfsSize::Percent(percent) => format!("size={percent}%"),
        });
        let inodes = inodes.map(|inodes| format!("nr_inodes={inodes}"));
        let mode = mode.map(|mode| format!("mode={mode:o}"));
        let exec = exec.map(|exec| if exec { "exec" } else { "noexec" }.to_owned());
        let word: Vec<String> = [size, inodes, mode, exec].into_iter().flatten().collect();
        prop_assert_eq!(TmpfsOptions::parse(&word.join(",")), Ok(options));
    }

    #[test]
    fn the_kernel_gets_numbers_under_three_names_and_nothing_else(word in word()) {
        let Ok(options) = TmpfsOptions::parse(&word) else {
            return Ok(());
        };
        let mut names = Vec::new();
        for (name, value) in options.for_kernel() {
            let (name, value) = (name.to_str()?, value.to_str()?);
            let digits = if name == "size" { value.strip_suffix('%').unwrap_or(value) } else { value };
            prop_assert!(digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty(), "{}", value);
            names.push(name);
        }
        let asked = [("size", options.size.is_some()), ("nr_inodes", options.inodes.is_some()), ("mode", options.mode.is_some())];
        let asked: Vec<&str> = asked.into_iter().filter(|(_, is_asked)| *is_asked).map(|(name, _)| name).collect();
        prop_assert_eq!(names, asked);
    }
}

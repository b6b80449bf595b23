//! The environment, which is passed on byte for byte but for what is changed by name.

use std::ffi::{CStr, CString};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{bytes, config};
use crate::environment::{EnvChange, Environment};

/// A name: not empty, and without an equals sign. Most are one of few.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let odd = bytes(4).prop_map(|mut name| {
        name.retain(|byte| *byte != b'=');
        name.push(b'n');
        name
    });
    prop_oneof![3 => "[AB]{1,2}".prop_map(String::into_bytes), 1 => odd]
}

fn entry() -> impl Strategy<Value = CString> {
    let usual = (name(), bytes(4)).prop_map(|(name, value)| [name, value].join(&b'='));
    let entry = prop_oneof![4 => usual, 1 => bytes(6)];
    entry.prop_map(|entry| CString::new(entry).unwrap())
}

fn change() -> impl Strategy<Value = EnvChange> {
    let set = (name(), bytes(4)).prop_map(|(name, value)| {
        let entry = CString::new([&name[..], &value].join(&b'='));
        EnvChange::Set(entry.unwrap(), name.len())
    });
    let unset = name().prop_map(|name| EnvChange::Unset(CString::new(name).unwrap()));
    prop_oneof![set, unset]
}

fn name_of(change: &EnvChange) -> &[u8] {
    match change {
        EnvChange::Set(entry, length) => &entry.as_bytes()[..*length],
        EnvChange::Unset(name) => name.as_bytes(),
    }
}

fn is_of(entry: &CStr, name: &[u8]) -> bool {
    let behind = entry.to_bytes().strip_prefix(name);
    behind.is_some_and(|rest| rest.starts_with(b"="))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_not_changed_stays_and_of_a_name_the_last_change_counts(
        inherited in vec(entry(), 0..8),
        changes in vec(change(), 0..5),
    ) {
        let strings: Vec<&CStr> = inherited.iter().map(CString::as_c_str).collect();
        let environment = Environment::new(&strings, &changes);
        let is_changed = |entry: &&CString| changes.iter().any(|change| is_of(entry, name_of(change)));
        let rest: Vec<&CString> = environment.entries().iter().filter(|entry| !is_changed(entry)).collect();
        let before: Vec<&CString> = inherited.iter().filter(|entry| !is_changed(entry)).collect();
        prop_assert_eq!(rest, before);
        for change in &changes {
            let name = name_of(change);
            let last = changes.iter().rfind(|other| name_of(other) == name).unwrap();
            let expected: Vec<&CString> = match last {
                EnvChange::Set(entry, _) => vec![entry],
                EnvChange::Unset(_) => Vec::new(),
            };
            let found: Vec<&CString> = environment.entries().iter().filter(|entry| is_of(entry, name)).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_variable_is_what_getenv_would_find(inherited in vec(entry(), 0..8), name in name()) {
        let strings: Vec<&CStr> = inherited.iter().map(CString::as_c_str).collect();
        let environment = Environment::new(&strings, &[]);
        let first = strings.iter().find(|entry| is_of(entry, &name));
        let value = first.map(|entry| &entry.to_bytes()[name.len() + 1..]);
        prop_assert_eq!(environment.get(&name).map(CStr::to_bytes), value);
    }
}

//! Paths of the two sides, names of instances, and both in messages.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{byte, bytes, config, is_printable, odd_word};
use crate::name::{InstanceName, NameError};
use crate::path::{HostPath, InstancePath, PathError, Quoted};

/// A word that may even have a NUL byte in it, which exec(2) cannot pass.
fn any_word() -> impl Strategy<Value = OsString> {
    let with_nul = vec(prop_oneof![9 => byte(), 1 => Just(0)], 0..12);
    prop_oneof![odd_word(), with_nul.prop_map(OsString::from_vec)]
}

/// Undoes what `Quoted` does.
fn unquoted(text: &str) -> Vec<u8> {
    let inside = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let (mut rest, mut bytes) = (inside.expect("quotes"), Vec::new());
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        if letter != '\\' {
            assert_ne!(letter, '"', "a quotation mark that is not escaped");
            bytes.extend(letter.to_string().bytes());
            continue;
        }
        let (kind, behind) = rest.split_at(1);
        rest = behind;
        match kind {
            "x" => {
                let (digits, behind) = rest.split_at(2);
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = behind;
            }
            "u" => {
                let (digits, behind) = rest[1..].split_once('}').unwrap();
                let number = u32::from_str_radix(digits, 16).unwrap();
                bytes.extend(char::from_u32(number).unwrap().to_string().bytes());
                rest = behind;
            }
            "n" => bytes.push(b'\n'),
            "t" => bytes.push(b'\t'),
            "r" => bytes.push(b'\r'),
            "0" => bytes.push(0),
            other => bytes.extend(other.bytes()),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_path_is_the_word_itself_without_nul_and_inside_absolute(word in any_word()) {
        let bytes = word.as_bytes();
        let (has_nul, is_absolute) = (bytes.contains(&0), bytes.starts_with(b"/"));
        match HostPath::new(word.clone()) {
            Ok(path) => prop_assert_eq!(path.as_c_str().to_bytes(), bytes),
            Err(error) => prop_assert_eq!(error, PathError::Nul),
        }
        prop_assert_eq!(HostPath::new(word.clone()).is_err(), has_nul);
        match InstancePath::new(word.clone()) {
            Ok(path) => {
                prop_assert_eq!(path.as_c_str().to_bytes(), bytes);
                prop_assert!(is_absolute && !has_nul);
            }
            Err(PathError::Nul) => prop_assert!(has_nul),
            Err(PathError::Relative) => prop_assert!(!is_absolute && !has_nul),
        }
    }

    #[test]
    fn what_is_split_is_the_path_again_and_the_name_one_that_a_directory_can_have(word in any_word()) {
        let Ok(path) = InstancePath::new(word.clone()) else {
            return Ok(());
        };
        let last = word.as_bytes().split(|byte| *byte == b'/').rfind(|part| !part.is_empty());
        let Some((parent, name)) = path.split() else {
            prop_assert!(matches!(last, None | Some(b"." | b"..")), "{:?}", word);
            return Ok(());
        };
        prop_assert_eq!(Some(name.as_bytes()), last);
        prop_assert!(parent.as_c_str().to_bytes().starts_with(b"/"));
        let whole = [parent.as_c_str().to_bytes(), name.as_bytes()].concat();
        let rest = word.as_bytes().strip_prefix(&whole[..]);
        prop_assert!(rest.is_some_and(|rest| rest.iter().all(|byte| *byte == b'/')));
    }

    #[test]
    fn what_is_quoted_is_one_printable_line_and_tells_every_byte(word in prop_oneof![any_word(), bytes(40).prop_map(OsString::from_vec)]) {
        let text = Quoted(word.as_bytes()).to_string();
        prop_assert!(is_printable(&text), "{}", text);
        prop_assert_eq!(unquoted(&text), word.as_bytes());
    }

    #[test]
    fn a_name_is_of_plain_letters_or_refused(word in prop_oneof![
        2 => "[a-zA-Z][a-zA-Z0-9_.-]{0,70}".prop_map(OsString::from),
        1 => any_word(),
    ]) {
        let bytes = word.as_bytes();
        let is_plain = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte));
        let is_one = is_plain && bytes.first().is_some_and(u8::is_ascii_alphabetic);
        let expected = match InstanceName::new(&word) {
            Ok(name) => {
                prop_assert_eq!(OsStr::new(name.as_str()), &word);
                None
            }
            Err(error) => Some(error),
        };
        let reason = if !is_one { Some(NameError::Form) } else { (bytes.len() > 64).then_some(NameError::Length) };
        prop_assert_eq!(expected, reason);
    }
}

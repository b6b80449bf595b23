//! What must hold for any input: random words, tables and strings, in the places where a caller, or a
//! process of a caller's, decides what is parsed.
//!
//! The usual run is always the same one. `PROPTEST_CASES=1000000 cargo test --release --lib fuzz` tries
//! that many others of each kind, and keeps what fails in `proptest-regressions/`, which is tried first
//! from then on.

mod command_line;
mod environment;
mod grammar;
mod paths;
mod tables;
mod tmpfs;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};

/// How many inputs of each kind the usual run tries.
const CASES: u32 = 500;

pub fn config() -> ProptestConfig {
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return ProptestConfig::default();
    }
    ProptestConfig {
        cases: CASES,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Values of a kind, always the same ones.
fn samples<T: Strategy>(strategy: T, count: usize) -> impl Iterator<Item = T::Value> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(move |_| strategy.new_tree(&mut runner).expect("a value").current())
}

/// Bytes as likely to be special in some way as not; none is NUL.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        3 => prop::sample::select(&b"/.-=,:\\ \t\n\"'%#_0189aknx()\x1b\x7f\x80\xc3\xa9\xff"[..]),
        1 => 1..=255_u8,
    ]
}

/// Up to `most` of them.
fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(byte(), 0..=most)
}

/// A word as exec(2) can pass it: of odd bytes, of odd characters, or rather ordinary.
fn odd_word() -> impl Strategy<Value = OsString> {
    prop_oneof![
        bytes(12).prop_map(OsString::from_vec),
        "[^\0]{0,6}".prop_map(OsString::from),
        "/?[a-z.]{0,3}(/[a-z.]{0,3}){0,3}".prop_map(OsString::from),
        prop::sample::select(
            &[
                "\u{202e}gpj",
                "\u{1b}[2J",
                "a\nb",
                "\u{2028}",
                "e\u{301}",
                "\u{feff}"
            ][..]
        )
        .prop_map(OsString::from),
    ]
}

/// Is it one line that changes nothing about a terminal or about the order of what is read?
fn is_printable(text: &str) -> bool {
    text.chars()
        .all(|letter| "\"'\\".contains(letter) || letter.escape_debug().count() == 1)
}

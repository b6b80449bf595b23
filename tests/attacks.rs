//! The negative suite in all places: what the caller must not gain, attempted on the machine itself,
//! in an instance, sixteen deep, and in a root filesystem that the caller has shaped.
//!
//! A table: each line is a sentence, an attack, its control, and all that may come of it. Each line
//! is tried in each place, and after each try the machine must be as it was. The suites by subject
//! have more of each attack on the machine itself; here it is about the places.

mod host;

#[path = "attacks/entering.rs"]
mod entering;
#[path = "attacks/fixtures.rs"]
mod fixtures;
#[path = "attacks/mounts.rs"]
mod mounts;
#[path = "attacks/nesting.rs"]
mod nesting;
#[path = "attacks/paths.rs"]
mod paths;
#[path = "attacks/processes.rs"]
mod processes;
#[path = "attacks/range.rs"]
mod range;
#[path = "attacks/served.rs"]
mod served;
#[path = "attacks/table.rs"]
mod table;
#[path = "attacks/traces.rs"]
mod traces;
#[path = "attacks/victims.rs"]
mod victims;
#[path = "attacks/weapons.rs"]
mod weapons;

use std::collections::BTreeSet;
use std::io::Write;

use host::Install;
use range::Range;
use table::{Attack, PLACES};

/// All of them, by group.
const GROUPS: [&[Attack]; 7] = [
    paths::ATTACKS,
    weapons::ATTACKS,
    mounts::ATTACKS,
    processes::ATTACKS,
    served::ATTACKS,
    entering::ATTACKS,
    nesting::ATTACKS,
];

/// How many there are, so that none is lost or left out in silence: who changes the table changes
/// these.
#[test]
fn each_attack_is_tried_in_each_place_or_it_is_told_why_not() {
    let attacks = || GROUPS.into_iter().flatten();
    let mut excepted = 0;
    for (attack, place) in attacks().flat_map(|attack| PLACES.map(|place| (attack, place))) {
        if let Some(reason) = attack.reason_against(place) {
            excepted += 1;
            let line = format!("not tried {place}: {}: {reason}\n", attack.name);
            // Past what captures the output of tests.
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
    }
    let names: BTreeSet<_> = attacks().map(|attack| attack.name).collect();
    assert_eq!(names.len(), attacks().count(), "two of one name");
    assert!(names.iter().all(|name| name.contains(' ')));
    let tries: usize = attacks().map(|attack| attack.tries.len()).sum();
    let pairs = attacks().count() * PLACES.len() - excepted;
    let (with, without) = ((277, 3), (274, 6));
    let expected = Install::wanted().choose(with, with, without);
    assert_eq!((attacks().count(), tries), (70, 212));
    assert_eq!((pairs, excepted), expected);
}

#[test]
fn names_give_no_more_than_the_caller_has() {
    Range::new().hold_against(paths::ATTACKS);
}

#[test]
fn programs_give_no_more_than_the_caller_has() {
    Range::new().hold_against(weapons::ATTACKS);
}

#[test]
fn mounts_give_no_more_than_the_caller_has() {
    Range::new().hold_against(mounts::ATTACKS);
}

#[test]
fn processes_give_no_more_than_the_caller_has() {
    Range::new().hold_against(processes::ATTACKS);
}

#[test]
fn served_filesystems_give_no_more_than_the_caller_has() {
    Range::new().hold_against(served::ATTACKS);
}

#[test]
fn instances_entered_give_no_more_than_the_caller_has() {
    Range::new().hold_against(entering::ATTACKS);
}

#[test]
fn odd_starts_give_no_more_than_the_caller_has() {
    Range::new().hold_against(nesting::ATTACKS);
}

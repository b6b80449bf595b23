//! What an attack is: the line of a table.

use std::fmt;

use crate::host::Install;

/// Where an attack starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the machine itself.
    Outside,
    /// In an instance.
    Inside,
    /// In an instance of an instance, and so on: sixteen.
    Deep,
    /// In an instance over a root filesystem that the caller has shaped: /etc, /dev, what lies
    /// beneath /proc, the dynamic loader, ld.so.preload, and a program at selfdock's own path.
    Hostile,
}

pub const PLACES: [Place; 4] = [Place::Outside, Place::Inside, Place::Deep, Place::Hostile];

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Outside => "outside",
            Self::Inside => "in an instance",
            Self::Deep => "sixteen deep",
            Self::Hostile => "in a hostile root",
        })
    }
}

/// Who attacks. Neither has a right that the other lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The caller whose fixtures and instances there are.
    Alice,
    /// A stranger.
    Bob,
}

/// The proof that the attack is one: that it works where its guard is not.
#[derive(Debug, Clone, Copy)]
pub enum Control {
    /// Said by a script of root's.
    Root(&'static str, &'static str),
    /// Said by a script of the attacker's, on the machine.
    Attacker(&'static str, &'static str),
    /// Said by a script of the attacker's, in each place: the counterpart that is allowed.
    There(&'static str, &'static str),
}

/// What must come of it: all that is printed, on both outputs, and the status.
#[derive(Debug, Clone, Copy)]
pub enum Outcome {
    /// selfdock refuses, with exactly this message: 124.
    Refused(&'static str),
    /// It runs, ends with 0, and says exactly this: no effect, or that of the guard.
    Says(&'static str),
    /// It says the first on the machine itself, and the second wherever the victims are out of
    /// sight, in a pid namespace further out.
    SaysThenInside(&'static str, &'static str),
    /// The same of a refusal.
    RefusedThenInside(&'static str, &'static str),
    /// The first where selfdock has privilege, and the second where it has none and makes user
    /// namespaces.
    WithAndWithout(&'static Outcome, &'static Outcome),
}

/// A line of the table. Scripts are for a shell that finds `$SD`, the selfdock that is privileged
/// there; `$FIX`, the fixtures; `$SCRATCH`, a directory to write in; `$ME`, the attacker's user id;
/// and the numbers of processes named in `victims.rs`. The same names are filled in in what is
/// expected.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// A sentence.
    pub name: &'static str,
    pub who: Who,
    /// What root has done to the machine before, in a mount namespace made for it.
    pub machine: &'static str,
    pub control: Control,
    pub tries: &'static [(&'static str, Outcome)],
    /// Where it cannot be tried, and why.
    pub not_in: &'static [(Place, &'static str)],
    /// The same where selfdock has no privilege.
    pub not_without: &'static [(Place, &'static str)],
}

/// What selfdock says that must have privilege, within an instance that was made without.
pub const BOUNDED: &str = "cannot get privilege: CAP_SYS_ADMIN is not in the capability bounding set\n\
     hint: an outer container, or an instance of root's, withholds it: docker run --cap-add SYS_ADMIN";

/// What most lines have in common.
pub const ATTACK: Attack = Attack {
    name: "",
    who: Who::Alice,
    machine: "",
    control: Control::Root("", ""),
    tries: &[],
    not_in: &[],
    not_without: &[],
};

impl Attack {
    /// Why it cannot be tried there.
    pub fn reason_against(&self, place: Place) -> Option<&'static str> {
        let without: &[_] = match Install::is_rootless() {
            true => self.not_without,
            false => &[],
        };
        let mut reasons = self.not_in.iter().chain(without);
        reasons
            .find(|(excepted, _)| *excepted == place)
            .map(|(_, reason)| *reason)
    }
}

//! What is measured of selfdock itself, beside what it is compared with.

use crate::Result;
use crate::options::Options;
use crate::peers;
use crate::stage::Stage;
use crate::worker::{Taken, User};

/// The command that every case comes to in the end.
pub const TRUE: &str = "/bin/true";

/// The case that shows what a start costs without anything around it.
pub const BARE: &str = "bare";
/// The case that shows how fast the same work can be.
pub const FLOOR: &str = "floor";
/// The installed program, as it is.
pub const SELFDOCK: &str = "selfdock";

/// How many instances within each other.
pub const LEVELS: [usize; 2] = [4, 16];
/// How many maps.
pub const MAPS: [usize; 3] = [10, 100, 2000];
/// How many mounts the host has beside its own.
pub const MOUNTS: [usize; 3] = [20, 200, 1000];
/// How many starts at the same time.
pub const WORKERS: [usize; 2] = [2, 8];

/// A command to be timed, and where.
#[derive(Clone)]
pub struct Case {
    /// What the table calls it.
    pub name: String,
    /// An absolute path, and the words after it.
    pub command: Vec<String>,
    /// About how many times as long as one instance it takes.
    pub weight: usize,
    /// How many workers start it at the same time.
    pub workers: usize,
    /// How many mounts the host has beside those that it has.
    pub mounts: usize,
    /// The name of the case that it is to be compared with.
    pub base: String,
    /// Whether each of these is on a directory of the root filesystem, as those of containers are,
    /// rather than all in one place.
    pub is_scattered: bool,
    /// Who starts it, if that cannot be the user of the measurement.
    pub user: Option<User>,
}

impl Case {
    /// `wrapper` around the command, started by an unprivileged user on the host as it is.
    pub fn new(name: &str, wrapper: &[&str]) -> Self {
        let words = wrapper.iter().chain([&TRUE]);
        Self {
            name: name.to_owned(),
            command: words.map(|word| (*word).to_owned()).collect(),
            weight: 1,
            workers: 1,
            mounts: 0,
            base: FLOOR.to_owned(),
            is_scattered: false,
            user: None,
        }
    }

    /// The same for so many times as long.
    pub fn weighing(self, weight: usize) -> Self {
        Self { weight, ..self }
    }

    /// How often it is started in a round, by each worker.
    pub fn starts(&self, options: &Options) -> usize {
        (options.starts / self.weight / self.workers).max(1)
    }

    /// Starts it so often, and tells what that took.
    pub fn take(&self, stage: &Stage, starts: usize) -> Result<Taken> {
        let taken = stage.take(self, starts);
        taken.map_err(|error| format!("{}: {error}", self.name).into())
    }
}

/// A peer that is not measured.
pub struct Absent {
    /// What the table calls it.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// The cases that were asked for, each tried once, and the peers that are not there.
///
/// What does not work is an error, but for peers.
pub fn available(stage: &Stage, options: &Options) -> Result<(Vec<Case>, Vec<Absent>)> {
    let (mut cases, mut absent) = (own(stage, options)?, Vec::new());
    for (name, case) in peers::all(stage)? {
        let tried = case.and_then(|case| case.take(stage, 1).map(|_| case));
        match tried {
            Ok(case) => cases.push(case),
            Err(error) => absent.push(Absent {
                name: name.to_owned(),
                reason: error.to_string().replace(&format!("{name}: "), ""),
            }),
        }
    }
    let is_wanted = |name: &str| {
        let named = options.filter.iter().any(|word| name.contains(word));
        options.filter.is_empty() || named
    };
    let mut bases: Vec<String> = cases
        .iter()
        .filter(|case| is_wanted(&case.name))
        .map(|case| case.base.clone())
        .collect();
    bases.extend([BARE, FLOOR].map(str::to_owned));
    cases.retain(|case| is_wanted(&case.name) || bases.contains(&case.name));
    absent.retain(|absent| is_wanted(&absent.name));
    Ok((cases, absent))
}

fn own(stage: &Stage, options: &Options) -> Result<Vec<Case>> {
    let selfdock = stage.path(SELFDOCK);
    let run = [selfdock.as_str(), "run"];
    let floor = stage.path(FLOOR);
    let mut cases = vec![
        Case::new(BARE, &[]),
        Case::new(FLOOR, &[&floor]),
        Case::new(SELFDOCK, &run),
        rootless("rootless", &selfdock),
    ];
    for (name, _) in &options.beside {
        let program = stage.path(name);
        cases.push(Case::new(name, &[&program, "run"]));
        cases.push(rootless(&format!("{name}, rootless"), &program));
    }
    cases.extend(LEVELS.map(|levels| {
        let case = Case::new(&format!("{levels} levels"), &run.repeat(levels));
        Case {
            base: SELFDOCK.to_owned(),
            ..case.weighing(levels)
        }
    }));
    for maps in MAPS {
        cases.push(with_maps(stage, &selfdock, maps)?);
    }
    for mounts in MOUNTS {
        let name = format!("{mounts} mounts");
        cases.extend(with_mounts(&name, mounts, false, &floor, &run));
    }
    let [.., most] = MOUNTS;
    stage.make_mountpoints(most)?;
    let name = format!("{most} mountpoints");
    cases.extend(with_mounts(&name, most, true, &floor, &run));
    for workers in WORKERS {
        cases.extend(
            [(FLOOR, &[floor.as_str()][..]), (SELFDOCK, &run)].map(|(name, words)| Case {
                workers,
                base: name.to_owned(),
                ..Case::new(&format!("{name}, {workers} workers"), words)
            }),
        );
    }
    Ok(cases)
}

fn rootless(name: &str, program: &str) -> Case {
    Case::new(name, &[program, "--privilege", "userns", "run"])
}

fn with_maps(stage: &Stage, selfdock: &str, maps: usize) -> Result<Case> {
    let mut words = vec![selfdock.to_owned()];
    for number in 0..maps {
        let path = stage.dir(&format!("map-{number}"))?;
        words.extend(["--map".to_owned(), path.clone(), path]);
    }
    words.push("run".to_owned());
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let case = Case::new(&format!("{maps} maps"), &words);
    Ok(Case {
        base: SELFDOCK.to_owned(),
        ..case.weighing(1 + maps / 40)
    })
}

fn with_mounts(
    name: &str,
    mounts: usize,
    is_scattered: bool,
    floor: &str,
    run: &[&str],
) -> [Case; 2] {
    let base = format!("{FLOOR}, {name}");
    let case = |name: &str, words: &[&str]| Case {
        mounts,
        is_scattered,
        base: base.clone(),
        ..Case::new(name, words).weighing(1 + mounts / 200)
    };
    [
        case(&base, &[floor]),
        case(&format!("{SELFDOCK}, {name}"), run),
    ]
}

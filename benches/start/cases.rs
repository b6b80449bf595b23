//! What is measured.

use std::env;
use std::path::Path;

use crate::Result;
use crate::options::Options;
use crate::stage::Stage;

/// The command that every case comes to in the end.
const TRUE: &str = "/bin/true";

/// The case that shows what a start costs without anything around it.
pub const BARE: &str = "bare";
/// The case that shows how fast the same work can be.
pub const FLOOR: &str = "floor";

/// Those who do something like it for an unprivileged user, asked for about the same: a read-only
/// root, own /dev, /proc and /tmp, and a pid namespace. firejail cannot do with less than it does,
/// unshare does far less.
const PEERS: [&str; 3] = [
    "bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-pid",
    "firejail --quiet --noprofile",
    "unshare --user --map-root-user --mount --pid --fork --mount-proc",
];

/// A command to be timed.
pub struct Case {
    /// What the table calls it.
    pub name: String,
    /// An absolute path, and the words after it.
    pub command: Vec<String>,
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
    let is_wanted = |name: &str| name.contains(&options.filter) || name == BARE || name == FLOOR;
    let mut cases = own(stage)?;
    cases.retain(|case| is_wanted(&case.name));
    for case in &cases {
        stage.time(&case.command, 1)?;
    }
    let mut absent = Vec::new();
    for line in PEERS {
        let (name, words) = line.split_once(' ').unwrap_or((line, ""));
        if !is_wanted(name) {
            continue;
        }
        match peer(stage, name, words) {
            Ok(case) => cases.push(case),
            Err(error) => absent.push(Absent {
                name: name.to_owned(),
                reason: error.to_string(),
            }),
        }
    }
    Ok((cases, absent))
}

fn own(stage: &Stage) -> Result<Vec<Case>> {
    let selfdock = stage.path("selfdock");
    let run = [selfdock.as_str(), "run"];
    let mut maps = vec![selfdock.clone()];
    for number in 0..100 {
        let path = stage.dir(&format!("map-{number}"))?;
        maps.extend(["--map".to_owned(), path.clone(), path]);
    }
    maps.push("run".to_owned());
    Ok(vec![
        case(BARE, &[]),
        case(FLOOR, &[&stage.path("floor")]),
        case("selfdock", &run),
        case("nested twice", &[run, run].concat()),
        case(
            "100 maps",
            &maps.iter().map(String::as_str).collect::<Vec<_>>(),
        ),
    ])
}

/// A case for a program of the host's, if it is there and does it.
fn peer(stage: &Stage, name: &str, words: &str) -> Result<Case> {
    let path = find(name).ok_or("not installed")?;
    let words: Vec<_> = [path.as_str()]
        .into_iter()
        .chain(words.split(' '))
        .collect();
    let case = case(name, &words);
    stage.time(&case.command, 1)?;
    Ok(case)
}

fn case(name: &str, wrapper: &[&str]) -> Case {
    let words = wrapper.iter().chain([&TRUE]);
    Case {
        name: name.to_owned(),
        command: words.map(|word| (*word).to_owned()).collect(),
    }
}

fn find(name: &str) -> Option<String> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| Path::new(&directory).join(name))
        .find(|program| program.is_file())
        .map(|program| program.display().to_string())
}

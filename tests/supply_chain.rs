//! Other people's code: which crates are in the program, which are only run to build or test it, and
//! where they come from. What cannot be known without a network is in deny.toml.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

const CLONE: &str = env!("CARGO_MANIFEST_DIR");

/// The lines of `cargo tree` with dependencies of these kinds, one for each crate but our own.
///
/// As the clone's owner, whose cargo it is that has the crates: root may be testing for them.
fn lines(kinds: &str, format: &str) -> BTreeSet<String> {
    let owner = fs::metadata(CLONE).unwrap();
    let cargo = Path::new(env!("CARGO"));
    let mut tree = Command::new(cargo);
    tree.args([
        "tree",
        "--locked",
        "--offline",
        "--prefix",
        "none",
        "--no-dedupe",
    ]);
    tree.args(["-e", kinds, "--format", format])
        .current_dir(CLONE);
    // A proxy in PATH would look for its toolchains in root's home.
    let rustc = cargo.with_file_name("rustc");
    if rustc.exists() {
        tree.env("RUSTC", rustc);
    }
    let run = tree.uid(owner.uid()).gid(owner.gid()).output().unwrap();
    let (shown, errors) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{errors}");
    let (own, lines): (Vec<&str>, Vec<&str>) = shown
        .lines()
        .partition(|line| line.starts_with("selfdock "));
    assert_eq!(own.len(), 1, "{shown}");
    lines.into_iter().map(str::to_owned).collect()
}

fn tree(kinds: &str, format: &str) -> BTreeSet<String> {
    let lines = lines(kinds, format);
    lines.iter().map(|line| without_version(line)).collect()
}

/// `name v1.2 FEATURES` as the list has it: versions are in Cargo.lock.
fn without_version(line: &str) -> String {
    let words: Vec<&str> = line
        .split(' ')
        .filter(|word| *word != "(proc-macro)")
        .collect();
    let words = [&words[..1], &words[2..]].concat();
    words.join(" ").trim().to_owned()
}

fn names(kinds: &str) -> BTreeSet<String> {
    tree(kinds, "{p}")
}

fn less(one: &BTreeSet<String>, other: &BTreeSet<String>) -> BTreeSet<String> {
    one.difference(other).cloned().collect()
}

#[test]
fn the_crates_of_the_program_and_of_its_build_are_those_of_the_list() {
    let text = fs::read_to_string(Path::new(CLONE).join("tests/dependencies.txt")).unwrap();
    let parts: Vec<BTreeSet<String>> = text
        .split("\n\n")
        .map(|part| {
            part.lines()
                .filter(|line| !line.starts_with('#'))
                .map(str::to_owned)
                .collect()
        })
        .filter(|part: &BTreeSet<String>| !part.is_empty())
        .collect();
    let [program, macros, build] = &parts[..] else {
        panic!("three parts, not {}", parts.len())
    };
    let names_of_program = names("normal,no-proc-macro");
    assert_eq!(&tree("normal,no-proc-macro", "{p} {f}"), program);
    assert_eq!(&less(&names("normal"), &names_of_program), macros);
    assert_eq!(&less(&names("no-dev"), &names("normal")), build);
}

/// The directories of crates, such as `nix-0.31.3`.
fn directories(kinds: &str) -> BTreeSet<String> {
    let lines = lines(kinds, "{p}").into_iter();
    let words = lines.map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    words
        .map(|words| format!("{}-{}", words[0], words[1].trim_start_matches('v')))
        .collect()
}

#[test]
fn what_is_only_run_to_build_or_to_test_is_not_in_the_program() {
    // The one that was built for this test tells in its debugging information what it is made of.
    let program = fs::read(env!("CARGO_BIN_EXE_selfdock")).unwrap();
    let program = String::from_utf8_lossy(&program);
    let is_inside = |directory: &&String| program.contains(&format!("/{directory}/src"));
    let inside = directories("normal,no-proc-macro");
    let outside = less(&directories("all"), &inside);
    for name in ["clap_builder-", "nix-", "caps-"] {
        let known = inside
            .iter()
            .find(|directory| directory.starts_with(name))
            .unwrap();
        assert!(is_inside(&known), "{known} is inside, and is not found");
    }
    for name in ["proptest-", "clap_mangen-", "syn-"] {
        assert!(
            outside.iter().any(|directory| directory.starts_with(name)),
            "{outside:?}"
        );
    }
    let found: Vec<&String> = outside.iter().filter(is_inside).collect();
    assert_eq!(found, [""; 0]);
}

#[test]
fn every_crate_comes_from_the_one_registry_and_has_a_checksum() {
    let lock = fs::read_to_string(Path::new(CLONE).join("Cargo.lock")).unwrap();
    let mut sources = BTreeSet::new();
    let packages = lock.split("[[package]]").skip(1);
    for package in packages {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key));
            line.map(|value| value.trim_matches('"'))
        };
        let name = value("name = ").unwrap();
        let (source, checksum) = (value("source = "), value("checksum = "));
        if name == "selfdock" {
            assert_eq!((source, checksum), (None, None));
            continue;
        }
        assert_eq!(checksum.map(str::len), Some(64), "{name}");
        sources.insert(source.unwrap_or_else(|| panic!("{name} is not of a registry")));
    }
    let sources: Vec<&str> = sources.into_iter().collect();
    let [source] = sources[..] else {
        panic!("{sources:?}")
    };
    // The lock file names the default one by its index, whatever a configuration puts in its place.
    assert!(source.starts_with("registry+https://"), "{source}");
}

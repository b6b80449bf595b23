//! What must never be in the program, whoever writes on it next: words of its source, and why.

use std::fs;
use std::path::{Path, PathBuf};

/// Words, why they are not to be there, and the lines that may have them nevertheless.
const NEVER: [(&str, &str, &[&str]); 18] = [
    (
        "std::env",
        "the environment is the caller's, and nothing of it is obeyed",
        &[],
    ),
    ("getenv", "the same", &[]),
    (
        "Command::new",
        "no helper is started",
        // What is parsed; and `doctor`, which tries itself when it has given all up.
        &["Command::new(\"selfdock\")", "Command::new(PROGRAM)"],
    ),
    (
        "execvp",
        "what libc looks for, in PATH, may be a helper of the caller's",
        &[],
    ),
    (
        "posix_spawn",
        "it shares memory with a process that has privilege",
        &[],
    ),
    ("vfork", "the same", &[]),
    ("CLONE_VM", "the same", &[]),
    ("dlopen", "no code but its own", &[]),
    ("getpw", "no user database, which may be the caller's", &[]),
    ("getgr", "the same", &[]),
    ("User::from", "the same", &[]),
    (
        "setgroups",
        "a group can deny: no group is ever left",
        &["(c\"self/setgroups\", \"setgroups\", \"deny\".to_owned())"],
    ),
    ("chown", "no owner of a file is ever changed", &[]),
    ("utimens", "nor a time", &[]),
    (
        "set_dumpable(true",
        "nobody may trace it before the command runs",
        // Without privilege, as long as it takes to write its own maps.
        &["prctl::set_dumpable(true).map_err("],
    ),
    (
        "attr_clr:",
        "flags of mounts are only ever added",
        &["attr_clr: 0"],
    ),
    (
        "set_current_dir",
        "a directory is entered by its descriptor",
        &[],
    ),
    (
        "std::process::exit",
        "an end by the way leaves out what has to be undone",
        &[],
    ),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The lines of `src` that are code of the program: no comments, no unit tests.
fn code() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let mut lines = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        // Only a test's, as the one line says that takes it in.
        if file.components().any(|part| part.as_os_str() == "fuzz") {
            continue;
        }
        let text = text.replace("#[cfg(test)]\nmod fuzz;", "");
        let program = text.split("#[cfg(test)]").next().unwrap();
        for line in program.lines() {
            let code = line.split("//").next().unwrap();
            lines.push((file.clone(), code.to_owned()));
        }
    }
    lines
}

#[test]
fn what_a_setuid_program_must_never_do_is_not_in_the_source() {
    let lines = code();
    assert!(lines.len() > 3000, "{} lines of code only", lines.len());
    for (word, why, known) in NEVER {
        for (file, line) in &lines {
            let is_known = known.iter().any(|known| line.contains(known));
            assert!(
                !line.contains(word) || is_known,
                "{}: {line}: {why}",
                file.display()
            );
        }
    }
}

/// Process ids are used again; a pidfd stays what it is. kill(2) is for the caller's own process
/// group alone, where a number that is used again is still of that caller.
#[test]
fn no_process_is_signalled_by_its_number() {
    let calls: Vec<_> = code()
        .into_iter()
        .filter(|(_, line)| line.contains(" kill(") || line.contains("::kill("))
        .collect();
    for (file, line) in &calls {
        let is_of_a_group = line.contains("from_raw(-group") || line.contains("from_raw(0)");
        assert!(is_of_a_group, "{}: {line}", file.display());
    }
    assert!(!calls.is_empty(), "kill(2) is called by another name now");
}

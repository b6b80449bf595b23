//! The documents: what they name exists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of the repository.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// All files below `dir` whose name ends with `ending`.
fn files(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
}

/// The text of all sources of the test or module `name`: NAME.rs, and what is in NAME/.
fn source(name: &str) -> String {
    let mut text = String::new();
    for dir in ["tests", "src"] {
        let path = file(dir).join(name);
        text += &fs::read_to_string(path.with_extension("rs")).unwrap_or_default();
        let mut parts = Vec::new();
        if path.is_dir() {
            files(&path, ".rs", &mut parts);
        }
        for part in parts {
            text += &fs::read_to_string(part).unwrap();
        }
    }
    text
}

/// Is there a test of that name, and not a function only?
fn has_test(source: &str, name: &str) -> bool {
    let head = format!("fn {name}()");
    source.match_indices(&head).any(|(place, _)| {
        let before: Vec<_> = source[..place].lines().rev().take(4).collect();
        before.iter().any(|line| line.trim() == "#[test]")
    })
}

/// The rows of the tables in `text`, without their heads: the cells of each.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<_> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("|---");
    let is_row = |at: &usize| {
        let next = lines.get(at + 1).is_some_and(|next| is_rule(next));
        lines[*at].starts_with('|') && !is_rule(lines[*at]) && !next
    };
    let rows = (0..lines.len()).filter(is_row);
    let cells = rows.map(|at| lines[at].trim().trim_matches('|').split('|').map(str::trim));
    cells.map(Iterator::collect).collect()
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_attack_has_a_test_that_exists_or_a_reason() {
    let text = fs::read_to_string(file("docs/cve.md")).unwrap();
    let rows = rows(&text);
    assert!(rows.len() > 120, "{} rows only", rows.len());
    let mut sources = BTreeMap::new();
    for row in rows {
        let (tests, attack) = (row.last().unwrap(), row[0]);
        assert!(
            (3..=4).contains(&row.len()),
            "{attack}: {} cells",
            row.len()
        );
        let here = row[row.len() - 2];
        let mut count = 0;
        for name in quoted(tests) {
            let (file, test) = name
                .split_once("::")
                .unwrap_or_else(|| panic!("{attack}: {name}"));
            let source = sources
                .entry(file.to_owned())
                .or_insert_with(|| source(file));
            assert!(has_test(source, test), "{attack}: there is no test {name}");
            count += 1;
        }
        let rest: String = tests.split('`').step_by(2).collect();
        assert!(
            rest.chars().all(|letter| ", ".contains(letter)),
            "{attack}: {rest}"
        );
        let has_reason = here.contains("cannot apply") || here.contains("a residual risk");
        assert!(
            count > 0 || has_reason,
            "{attack}: neither a test nor a reason"
        );
    }
}

/// Is this the form of a number: CVE, a year, four digits or more?
fn is_cve(word: &str) -> bool {
    let parts: Vec<_> = word.split('-').collect();
    let is_number =
        |part: &str, least| part.len() >= least && part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts[..], ["CVE", year, number] if year.len() == 4 && is_number(year, 4) && is_number(number, 4))
}

#[test]
fn every_known_vulnerability_has_one_row() {
    let text = fs::read_to_string(file("docs/cve.md")).unwrap();
    let mut seen = BTreeMap::new();
    for row in rows(&text)
        .into_iter()
        .filter(|row| row[0].starts_with("CVE"))
    {
        assert_eq!(row.len(), 4, "{}", row[0]);
        for number in row[0].split(", ") {
            assert!(is_cve(number), "{number}");
            let twin = seen.insert(number, row[1]);
            assert!(twin.is_none(), "{number} has two rows");
        }
    }
    assert!(seen.len() > 80, "{} only", seen.len());
}

/// `[text](target)` in Markdown.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// The heading that `#name` leads to.
fn has_heading(text: &str, name: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let mut names = headings.map(|line| {
        let line = line.trim_start_matches('#').trim().to_lowercase();
        let kept = line
            .chars()
            .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.collect::<String>().replace(' ', "-")
    });
    names.any(|heading| heading == name)
}

#[test]
fn links_in_documents_lead_to_files_and_headings_that_exist() {
    let mut documents = Vec::new();
    files(&file("docs"), ".md", &mut documents);
    documents.extend(["README.md", "SECURITY.md", "CHANGELOG.md"].map(file));
    let mut count = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for target in links(&text).filter(|target| !target.contains("://")) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = match path {
                "" => document.clone(),
                path => document.with_file_name(path),
            };
            assert!(path.exists(), "{}: {target}", document.display());
            let text = fs::read_to_string(&path).unwrap_or_default();
            let is_there = heading.is_empty() || has_heading(&text, heading);
            assert!(is_there, "{}: {target}", document.display());
            count += 1;
        }
    }
    assert!(count > 3, "{count} links only");
}

/// Files of the repository that documents name without a link: `src/...`, `tests/...`, `docs/...`.
#[test]
fn files_that_documents_name_exist() {
    let mut documents = Vec::new();
    files(&file("docs"), ".md", &mut documents);
    documents.extend(["README.md", "SECURITY.md"].map(file));
    let mut count = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        let is_of_name = |letter: char| letter.is_alphanumeric() || "/._-".contains(letter);
        for word in text.split(|letter| !is_of_name(letter)) {
            let word = word.trim_end_matches(['.', '-']);
            let is_ours = ["src/", "tests/", "docs/"]
                .iter()
                .any(|dir| word.starts_with(dir));
            if is_ours {
                assert!(file(word).exists(), "{}: {word}", document.display());
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count} names only");
}

//! A listing or a diagnosis as text for people, or as JSON for programs.
//!
//! Its words are other people's, and root may read it on a terminal: what comes out is printable.

use std::borrow::Cow;

use crate::diagnosis::{Diagnosis, Finding};
use crate::listing::{Instance, Listing};
use crate::path::Quoted;
use crate::request::Format;

/// How much of a command or a path is shown to people, in characters.
const WIDEST: usize = 100;

/// What `doctor` found.
pub fn diagnosis(diagnosis: &Diagnosis, format: Format) -> String {
    match format {
        Format::Table => findings(diagnosis),
        Format::Json => {
            let mut text = String::from("{\"run\":");
            put_string_or_null(&mut text, diagnosis.chosen);
            text.push_str(",\"modes\":[");
            for (index, finding) in diagnosis.modes.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                put_finding(&mut text, finding);
            }
            text.push_str("]}\n");
            text
        }
    }
}

/// A paragraph for each way, and a line for the outcome.
fn findings(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    for finding in &diagnosis.modes {
        match &finding.refusal {
            None => text.push_str(&format!("{}: works\n", finding.mode)),
            Some(refusal) => text.push_str(&format!("{}: no: {refusal}\n", finding.mode)),
        }
        for cause in &finding.causes {
            text.push_str(&format!("  {cause}\n    {}\n", cause.remedy()));
        }
    }
    text.push_str(&match diagnosis.chosen {
        Some(mode) => format!("run: works, by {mode}\n"),
        None => "run: no\n".to_owned(),
    });
    text
}

fn put_finding(text: &mut String, finding: &Finding) {
    text.push_str("{\"mode\":");
    put_string(text, finding.mode.as_bytes());
    text.push_str(&format!(
        ",\"works\":{},\"refusal\":",
        finding.refusal.is_none()
    ));
    put_string_or_null(text, finding.refusal.as_deref());
    text.push_str(",\"causes\":[");
    for (index, cause) in finding.causes.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str("{\"cause\":");
        put_string(text, cause.to_string().as_bytes());
        text.push_str(",\"remedy\":");
        put_string(text, cause.remedy().as_bytes());
        text.push('}');
    }
    text.push_str("]}");
}

fn put_string_or_null(text: &mut String, string: Option<&str>) {
    match string {
        Some(string) => put_string(text, string.as_bytes()),
        None => text.push_str("null"),
    }
}

/// The listing, in lines.
pub fn report(listing: &Listing, format: Format) -> String {
    match format {
        Format::Table => table(listing),
        Format::Json => {
            let mut text = String::new();
            put_json(&mut text, listing, None);
            text.push('\n');
            text
        }
    }
}

/// Columns, each as wide as its widest cell; the command, of any width, stands last.
fn table(listing: &Listing) -> String {
    let mut head = vec!["PID", "NAME", "AGE", "ROOTFS", "COMMAND"];
    if listing.is_of_all {
        head.insert(1, "UID");
    }
    let mut rows = vec![head.into_iter().map(str::to_owned).collect()];
    put_rows(&mut rows, listing, None, 0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in &rows {
        let Some((last, rest)) = row.split_last() else {
            continue;
        };
        for (column, cell) in rest.iter().enumerate() {
            text.push_str(&format!("{cell:0$}  ", width(column)));
        }
        text.push_str(last);
        text.push('\n');
    }
    text
}

/// Inner instances below the one in which they run, and indented.
fn put_rows(rows: &mut Vec<Vec<String>>, listing: &Listing, outer: Option<u32>, depth: usize) {
    for instance in listing.inside(outer) {
        let name = instance.name.as_ref().map_or("-", |name| name.as_str());
        let mut row = vec![
            instance.pid.to_string(),
            name.to_owned(),
            age(instance.age_seconds),
            brief(readable(instance.rootfs.as_c_str().to_bytes()).into_owned()),
            "  ".repeat(depth) + &brief(command(instance)),
        ];
        if listing.is_of_all {
            row.insert(1, instance.uid.to_string());
        }
        rows.push(row);
        put_rows(rows, listing, Some(instance.pid), depth + 1);
    }
}

/// In the largest unit of which there is one.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

fn command(instance: &Instance) -> String {
    if instance.command.is_empty() {
        return "(shell)".to_owned();
    }
    let words = instance
        .command
        .iter()
        .map(|word| readable(word.as_bytes()));
    words.collect::<Vec<_>>().join(" ")
}

/// The word itself where it is one of harmless characters, else in double quotes and escaped.
fn readable(word: &[u8]) -> Cow<'_, str> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\".contains(byte);
    match str::from_utf8(word) {
        Ok(text) if !word.is_empty() && word.iter().all(is_plain) => Cow::Borrowed(text),
        _ => Cow::Owned(Quoted(word).to_string()),
    }
}

/// Cuts off what is too long for a line.
fn brief(text: String) -> String {
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "...",
        None => text,
    }
}

/// The instances directly in `outer` as an array of objects.
fn put_json(text: &mut String, listing: &Listing, outer: Option<u32>) {
    text.push('[');
    for (index, instance) in listing.inside(outer).enumerate() {
        if index > 0 {
            text.push(',');
        }
        let Instance {
            pid,
            uid,
            age_seconds,
            ..
        } = instance;
        text.push_str(&format!("{{\"pid\":{pid},\"uid\":{uid},\"name\":"));
        match &instance.name {
            Some(name) => put_string(text, name.as_str().as_bytes()),
            None => text.push_str("null"),
        }
        text.push_str(&format!(",\"age\":{age_seconds},\"rootfs\":"));
        put_string(text, instance.rootfs.as_c_str().to_bytes());
        text.push_str(",\"command\":[");
        for (index, word) in instance.command.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            put_string(text, word.as_bytes());
        }
        text.push_str("],\"instances\":");
        put_json(text, listing, Some(*pid));
        text.push('}');
    }
    text.push(']');
}

/// A string of RFC 8259 in nothing but printable ASCII. What is not UTF-8 becomes U+FFFD.
fn put_string(text: &mut String, bytes: &[u8]) {
    text.push('"');
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            ' '..='~' => text.push(character),
            _ => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json_of(bytes: &[u8]) -> String {
        let mut text = String::new();
        put_string(&mut text, bytes);
        text
    }

    #[test]
    fn a_json_string_is_printable_ascii() {
        let cases: [(&[u8], &str); 8] = [
            (b"", r#""""#),
            (b"plain ~ text", r#""plain ~ text""#),
            (b"\"\\/", r#""\"\\/""#),
            (b"\n\x1b[2J\x7f\0", r#""\u000a\u001b[2J\u007f\u0000""#),
            ("é".as_bytes(), r#""\u00e9""#),
            ("😀".as_bytes(), r#""\ud83d\ude00""#),
            ("\u{9b}\u{202e}".as_bytes(), r#""\u009b\u202e""#),
            (b"a\xff\xc3b", r#""a\ufffd\ufffdb""#),
        ];
        for (bytes, expected) in cases {
            assert_eq!(json_of(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_word_that_is_not_plain_is_quoted() {
        let cases: [(&[u8], &str); 9] = [
            (b"-c", "-c"),
            (b"/bin/sh", "/bin/sh"),
            (b"", r#""""#),
            (b"a b", r#""a b""#),
            (b"a\"b", r#""a\"b""#),
            (b"it's", r#""it's""#),
            (b"\n\x1b[2J", r#""\n\u{1b}[2J""#),
            (b"\xff", r#""\xFF""#),
            ("\u{9b}\u{202e}é".as_bytes(), r#""\u{9b}\u{202e}é""#),
        ];
        for (word, expected) in cases {
            assert_eq!(readable(word), expected, "{word:?}");
        }
    }

    #[test]
    fn an_age_has_one_unit() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3599, "59m"),
            (3600, "1h"),
            (86399, "23h"),
            (86400, "1d"),
            (400 * 86400, "400d"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let full = "é".repeat(WIDEST);
        assert_eq!(brief(full.clone()), full);
        assert_eq!(brief(full.clone() + "x"), full + "...");
    }
}

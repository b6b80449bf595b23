//! What /proc says about a process: its files, parsed. Pure.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::str::FromStr;

/// What is of interest in `/proc/PID/status`.
#[derive(Debug, PartialEq, Eq)]
pub struct Status {
    /// The real user id.
    pub uid: u32,
    /// The parent; 0 where that is in an outer pid namespace.
    pub parent: u32,
    /// Its number in each pid namespace, from the one of this /proc to its own.
    pub pids: Vec<u32>,
    /// Its process group, in the numbers of this /proc.
    pub group: u32,
    /// Will it never gain privilege by an exec?
    pub has_no_new_privs: bool,
    /// The capability bounding set.
    pub bounding: u64,
    /// Has it ended, and waits only for its parent to notice?
    pub is_dead: bool,
    /// Is it stopped, until SIGCONT comes?
    pub is_stopped: bool,
}

impl Status {
    /// Parses the file, or `None` if a line is missing.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Some(Self {
            uid: numbers(field(text, "Uid:")?)?.first().copied()?,
            parent: field(text, "PPid:")?.parse().ok()?,
            pids: numbers(field(text, "NSpid:")?)?,
            group: numbers(field(text, "NSpgid:")?)?.first().copied()?,
            has_no_new_privs: field(text, "NoNewPrivs:")? == "1",
            bounding: u64::from_str_radix(field(text, "CapBnd:")?, 16).ok()?,
            is_dead: field(text, "State:")?.starts_with(['Z', 'X']),
            is_stopped: field(text, "State:")?.starts_with('T'),
        })
    }

    /// Is it pid 1 of a pid namespace below that of this /proc?
    pub fn is_pid1_below(&self) -> bool {
        self.pids.len() > 1 && self.pids.last() == Some(&1)
    }
}

/// The value of the line that begins with `name`.
pub fn field<'a>(text: &'a [u8], name: &str) -> Option<&'a str> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(name.as_bytes()))?;
    str::from_utf8(value).ok().map(str::trim)
}

fn numbers<T: FromStr>(list: &str) -> Option<Vec<T>> {
    let numbers = list.split_ascii_whitespace().map(str::parse);
    numbers.collect::<Result<_, _>>().ok()
}

/// When the process started, in hundredths of a second since the machine did: field 22 of
/// `/proc/PID/stat`.
pub fn start(stat: &[u8]) -> Option<u64> {
    number_in(stat, 22)
}

/// The device number of the controlling terminal, or 0: field 7 of `/proc/PID/stat`.
pub fn terminal(stat: &[u8]) -> Option<i32> {
    number_in(stat, 7)
}

/// A field behind the second one, which is the process's own to choose, parentheses and blanks
/// included; it ends with the last of the parentheses.
fn number_in<T: FromStr>(stat: &[u8], field: usize) -> Option<T> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(stat.get(end + 1..)?).ok()?;
    // What comes first here is field 3.
    let place = field.checked_sub(3)?;
    rest.split_ascii_whitespace().nth(place)?.parse().ok()
}

/// The words of `/proc/PID/cmdline`, each of which ends with a NUL byte.
pub fn words(cmdline: &[u8]) -> Vec<OsString> {
    let Some(cmdline) = cmdline.strip_suffix(b"\0") else {
        return Vec::new();
    };
    cmdline
        .split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tUid:\\n0\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t17\n\
        Ngid:\t0\nPid:\t17\nPPid:\t16\nUid:\t1000\t1001\t1002\t1003\nNStgid:\t17\t2\t1\n\
        NSpid:\t17\t2\t1\nNSpgid:\t15\t0\t0\nCapBnd:\t00000000002c0000\nNoNewPrivs:\t1\n";

    #[test]
    fn a_status_is_understood() {
        let status = Status::parse(STATUS.as_bytes()).unwrap();
        let expected = Status {
            uid: 1000,
            parent: 16,
            pids: vec![17, 2, 1],
            group: 15,
            has_no_new_privs: true,
            bounding: 0x2c_0000,
            is_dead: false,
            is_stopped: false,
        };
        assert_eq!(status, expected);
        let dead = STATUS.replace("S (sleeping)", "Z (zombie)");
        assert!(Status::parse(dead.as_bytes()).unwrap().is_dead);
        let stopped = STATUS.replace("S (sleeping)", "T (stopped)");
        assert!(Status::parse(stopped.as_bytes()).unwrap().is_stopped);
        let other = STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t0");
        assert!(!Status::parse(other.as_bytes()).unwrap().has_no_new_privs);
        for line in [
            "Uid:",
            "PPid:",
            "NSpid:",
            "NSpgid:",
            "CapBnd:",
            "NoNewPrivs:",
            "State:",
        ] {
            let without = STATUS.replace(&format!("\n{line}"), "\nX:");
            assert_eq!(Status::parse(without.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn pid_1_of_an_inner_namespace_has_several_numbers_and_the_last_is_1() {
        for (pids, expected) in [
            ("1", false),
            ("17", false),
            ("17\t2", false),
            ("17\t1", true),
            ("17\t1\t2", false),
            ("17\t2\t1", true),
        ] {
            let text = STATUS.replace("\nNSpid:\t17\t2\t1", &format!("\nNSpid:\t{pids}"));
            let status = Status::parse(text.as_bytes()).unwrap();
            assert_eq!(status.is_pid1_below(), expected, "{pids}");
        }
    }

    #[test]
    fn start_and_terminal_are_found_behind_any_name() {
        let rest = "S 1 17 17 34816 -1 4194304 99 0 0 0 0 0 0 0 20 0 1 0 12345 1000 1";
        for name in [
            "sh",
            "",
            "a b",
            ") S 1 2",
            "a) S 1 1 1 0 ",
            "((",
            "))",
            "\u{1b}[2J)",
        ] {
            let stat = format!("17 ({name}) {rest}\n");
            assert_eq!(start(stat.as_bytes()), Some(12345), "{name}");
            assert_eq!(terminal(stat.as_bytes()), Some(34816), "{name}");
            let without = stat.replace(" 34816 ", " 0 ");
            assert_eq!(terminal(without.as_bytes()), Some(0), "{name}");
        }
        for other in [
            &b"17 (\xff) S 1"[..],
            b"17 sh S 1 1 1 0",
            b"17 (sh) S 1 17 17",
            b"",
        ] {
            assert_eq!((start(other), terminal(other)), (None, None), "{other:?}");
        }
    }

    #[test]
    fn words_are_split_at_nul_and_empty_ones_stay() {
        let cases: [(&[u8], &[&str]); 6] = [
            (b"", &[]),
            (b"a\0", &["a"]),
            (b"a\0b c\0", &["a", "b c"]),
            (b"\0", &[""]),
            (b"a\0\0\0", &["a", "", ""]),
            (b"rewritten by itself", &[]),
        ];
        for (cmdline, expected) in cases {
            assert_eq!(words(cmdline), expected, "{cmdline:?}");
        }
    }
}

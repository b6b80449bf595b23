//! The installed program with random words: it ends, by no signal, with a status that is documented, and
//! what it says itself is one line and at most one hint, all of it printable. The words are the same ones
//! each time.

mod host;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::process::Output;

use host::{CANNOT, Host, starts, text};

/// Options, actions, and values that some of them take.
const WORDS: [&str; 50] = [
    "run",
    "run",
    "run",
    "build",
    "enter",
    "ps",
    "--",
    "-",
    "",
    "true",
    "/bin/true",
    "/bin/echo",
    "-r",
    "--rootfs",
    "-C",
    "-m",
    "--map",
    "-v",
    "--vol",
    "--here",
    "-t",
    "--tmpfs",
    "-e",
    "--env",
    "-E",
    "--init",
    "--name",
    "--json",
    "--keep-fd",
    "--close-fds",
    "-h",
    "--help",
    "-V",
    "--version",
    "/",
    "/tmp",
    "/etc",
    "/nowhere",
    "/etc/passwd",
    "/proc/self/root",
    "//usr/../tmp/",
    "a",
    "A=B",
    "size=1m,mode=700",
    "mode=4777",
    "0",
    "2",
    "-1",
    "99999999999",
    "--rootfs=/",
];

/// A sequence that is always the same: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % most as u64) as usize
    }

    fn word(&mut self) -> OsString {
        if self.below(8) > 0 {
            return WORDS[self.below(WORDS.len())].into();
        }
        let length = self.below(10);
        let bytes = (0..length).map(|_| self.below(255) as u8 + 1);
        OsString::from_vec(bytes.collect())
    }

    /// One in two is short, and begins with an action: it goes far.
    fn line(&mut self) -> Vec<OsString> {
        let length = self.below(9);
        let mut words: Vec<OsString> = (0..length).map(|_| self.word()).collect();
        if self.below(2) == 0 {
            words.truncate(4);
            words.insert(0, ["run", "build", "enter", "ps"][self.below(4)].into());
        }
        words
    }
}

fn is_printable(letter: char) -> bool {
    "\"'\\".contains(letter) || letter.escape_debug().count() == 1
}

/// Fails unless this is what selfdock says about what it could not do.
#[track_caller]
fn assert_said_well(run: &Output, words: &[OsString]) {
    let said = String::from_utf8(run.stderr.clone()).expect("a message in UTF-8");
    let lines: Vec<&str> = said.split_terminator('\n').collect();
    let is_message = match &lines[..] {
        [message] => message.starts_with("selfdock: "),
        [message, hint] => message.starts_with("selfdock: ") && hint.starts_with("hint: "),
        _ => false,
    };
    let is_printable = lines.iter().all(|line| line.chars().all(is_printable));
    assert!(
        is_message && is_printable && said.ends_with('\n'),
        "{words:?}: {}",
        text(run)
    );
    assert!(run.stdout.is_empty(), "{words:?}: {}", text(run));
}

#[test]
fn random_words_end_in_a_command_or_in_a_message() {
    let host = Host::new();
    // The only command that a word can be without a path; `ps` is one elsewhere.
    host.root_dir("commands", 0o755);
    symlink("/bin/true", host.path("commands/true")).unwrap();
    let path = format!("PATH={}", host.path("commands").display());
    let mut random = Random(1);
    let (mut refused, mut absent, mut done) = (0, 0, 0);
    for _ in 0..starts(400) {
        let words = random.line();
        // With this signal its status is not 124, which would look like a refusal.
        let mut timeout = host.as_caller("timeout");
        timeout.args(["--signal=KILL", "20", "env", &path]);
        timeout.arg(host.program()).args(&words);
        let run = timeout.output().unwrap();
        match run.status.code() {
            Some(CANNOT) => {
                assert_said_well(&run, &words);
                refused += 1;
            }
            Some(126 | 127) => {
                assert_said_well(&run, &words);
                absent += 1;
            }
            // true, echo, --help and ps, and nothing else, is to be found among the words.
            Some(0) => {
                assert!(run.stderr.is_empty(), "{words:?}: {}", text(&run));
                done += 1;
            }
            _ => panic!("{words:?}: {}", text(&run)),
        }
    }
    assert!(
        refused > 20 && absent > 10 && done > 20,
        "refused {refused}, not to be had {absent}, done {done}"
    );
}

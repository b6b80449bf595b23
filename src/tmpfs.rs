//! The option word of `--tmpfs`: parsed, allow-listed, and rendered for fsconfig(2). Pure.
//!
//! The kernel knows many more options (`uid=`, `huge=`, `mpol=`, `noswap`); a setuid program hands
//! over no string of its caller's.

use std::ffi::{CStr, CString};

use thiserror::Error;

/// Why an option word is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TmpfsError {
    /// Not one of ours.
    #[error("unknown option {0:?}")]
    Unknown(String),
    /// The same option again, or `exec` and `noexec`.
    #[error("option {0:?} is given twice")]
    Repeated(String),
    /// Not a positive number of bytes, or above half of the memory.
    #[error("bad value in {0:?}: a number above 0 with one of k, m, g, or 1% to 50%")]
    Size(String),
    /// Not a number of files.
    #[error("bad value in {0:?}: a number from 1 to 1048576")]
    Inodes(String),
    /// Not an octal mode, or one with set-user-id or set-group-id bits.
    #[error("bad value in {0:?}: an octal number up to 1777")]
    Mode(String),
}

/// How much a tmpfs may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TmpfsSize {
    /// This many bytes, which the kernel rounds up to pages.
    Bytes(u64),
    /// This part of the memory, 1 to 50.
    Percent(u8),
}

/// What `--tmpfs OPT` asks for; what it leaves open is the kernel's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TmpfsOptions {
    /// `size=`
    pub size: Option<TmpfsSize>,
    /// `nr_inodes=`, 1 to 1048576
    pub inodes: Option<u32>,
    /// `mode=` of its root directory, at most 0o1777
    pub mode: Option<u32>,
    /// `exec`, `noexec`; open means as the caller's own /tmp
    pub exec: Option<bool>,
}

impl TmpfsOptions {
    /// What /tmp and /dev/shm are: anybody's, but everybody's files are their own.
    pub const SHARED: Self = Self {
        size: None,
        inodes: None,
        mode: Some(0o1777),
        exec: None,
    };

    /// Parses a comma-separated list; the empty word is the empty list.
    pub fn parse(word: &str) -> Result<Self, TmpfsError> {
        let mut options = Self::default();
        if word.is_empty() {
            return Ok(options);
        }
        for option in word.split(',') {
            let own = || option.to_owned();
            let is_new = match option.split_once('=') {
                Some(("size", value)) => {
                    let size = parse_size(value).ok_or_else(|| TmpfsError::Size(own()))?;
                    options.size.replace(size).is_none()
                }
                Some(("nr_inodes", value)) => {
                    let inodes = parse_inodes(value).ok_or_else(|| TmpfsError::Inodes(own()))?;
                    options.inodes.replace(inodes).is_none()
                }
                Some(("mode", value)) => {
                    let mode = parse_mode(value).ok_or_else(|| TmpfsError::Mode(own()))?;
                    options.mode.replace(mode).is_none()
                }
                None if option == "exec" => options.exec.replace(true).is_none(),
                None if option == "noexec" => options.exec.replace(false).is_none(),
                _ => return Err(TmpfsError::Unknown(own())),
            };
            if !is_new {
                return Err(TmpfsError::Repeated(own()));
            }
        }
        Ok(options)
    }

    /// Keys and values for fsconfig(2), made from numbers and never from the caller's text.
    pub fn for_kernel(&self) -> Vec<(&'static CStr, CString)> {
        let size = self.size.map(|size| match size {
            TmpfsSize::Bytes(bytes) => (c"size", bytes.to_string()),
            TmpfsSize::Percent(percent) => (c"size", format!("{percent}%")),
        });
        let inodes = self.inodes.map(|inodes| (c"nr_inodes", inodes.to_string()));
        let mode = self.mode.map(|mode| (c"mode", format!("{mode:o}")));
        let options = [size, inodes, mode].into_iter().flatten();
        options
            .filter_map(|(key, value)| Some((key, CString::new(value).ok()?)))
            .collect()
    }
}

/// The digits of `text` in this base, and nothing else: no sign, no space.
fn parse_digits(text: &str, base: u32) -> Option<u64> {
    let is_number = !text.is_empty() && text.chars().all(|digit| digit.is_digit(base));
    if is_number {
        u64::from_str_radix(text, base).ok()
    } else {
        None
    }
}

fn parse_size(value: &str) -> Option<TmpfsSize> {
    if let Some(percent) = value.strip_suffix('%') {
        let percent = u8::try_from(parse_digits(percent, 10)?).ok()?;
        return (1..=50)
            .contains(&percent)
            .then_some(TmpfsSize::Percent(percent));
    }
    let (digits, shift) = match value.as_bytes().last()? {
        b'k' | b'K' => (value.get(..value.len() - 1)?, 10),
        b'm' | b'M' => (value.get(..value.len() - 1)?, 20),
        b'g' | b'G' => (value.get(..value.len() - 1)?, 30),
        _ => (value, 0),
    };
    let bytes = parse_digits(digits, 10)?.checked_mul(1 << shift)?;
    // The kernel counts in a signed 64-bit number.
    (bytes != 0 && i64::try_from(bytes).is_ok()).then_some(TmpfsSize::Bytes(bytes))
}

fn parse_inodes(value: &str) -> Option<u32> {
    let inodes = u32::try_from(parse_digits(value, 10)?).ok()?;
    (1..=1 << 20).contains(&inodes).then_some(inodes)
}

fn parse_mode(value: &str) -> Option<u32> {
    let mode = u32::try_from(parse_digits(value, 8)?).ok()?;
    (mode <= 0o1777).then_some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(word: &str) -> String {
        let options = TmpfsOptions::parse(word).unwrap().for_kernel();
        let pairs = options
            .iter()
            .map(|(key, value)| format!("{}={}", key.to_str().unwrap(), value.to_str().unwrap()));
        pairs.collect::<Vec<_>>().join(",")
    }

    #[test]
    fn what_is_allowed_reaches_the_kernel_as_numbers() {
        for (word, expected) in [
            ("", ""),
            ("size=4096", "size=4096"),
            ("size=4K", "size=4096"),
            ("size=4k", "size=4096"),
            ("size=3m", "size=3145728"),
            ("size=2G", "size=2147483648"),
            ("size=50%", "size=50%"),
            ("size=007", "size=7"),
            ("nr_inodes=1048576", "nr_inodes=1048576"),
            ("mode=0700", "mode=700"),
            (
                "mode=1777,size=1M,nr_inodes=5",
                "size=1048576,nr_inodes=5,mode=1777",
            ),
            ("exec", ""),
            ("noexec,mode=0", "mode=0"),
        ] {
            assert_eq!(rendered(word), expected, "{word}");
        }
        assert_eq!(TmpfsOptions::parse("").unwrap().exec, None);
        assert_eq!(TmpfsOptions::parse("exec").unwrap().exec, Some(true));
        assert_eq!(TmpfsOptions::parse("noexec").unwrap().exec, Some(false));
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        for word in [
            "size=0",
            "size=",
            "size=-1",
            "size=+1",
            "size=1000%",
            "size=51%",
            "size=0%",
            "size=%",
            "size=9999999T",
            "size=1M\nx",
            "size= 1",
            "size=1 ",
            "size=0x10",
            "size=K",
            "size=1kk",
            "size=99999999999999999999",
            "size=9223372036854775808",
            "size=9999999999G",
            "size=1é",
        ] {
            assert_eq!(
                TmpfsOptions::parse(word),
                Err(TmpfsError::Size(word.to_owned())),
                "{word}"
            );
        }
        for word in [
            "nr_inodes=0",
            "nr_inodes=1048577",
            "nr_inodes=1k",
            "nr_inodes=",
            "nr_inodes=-1",
        ] {
            assert_eq!(
                TmpfsOptions::parse(word),
                Err(TmpfsError::Inodes(word.to_owned())),
                "{word}"
            );
        }
        for word in [
            "mode=4777",
            "mode=2000",
            "mode=8",
            "mode=",
            "mode=u+s",
            "mode=-1",
            "mode=0o7",
        ] {
            assert_eq!(
                TmpfsOptions::parse(word),
                Err(TmpfsError::Mode(word.to_owned())),
                "{word}"
            );
        }
        for word in [
            ",",
            "size",
            "uid=0",
            "gid=0",
            "noswap",
            "huge=always",
            "mpol=bind:0",
            "usrquota",
            "ro",
            "source=x",
            "context=x",
            "exec=1",
            "SIZE=1",
            "suid",
            "dev",
            "nr_blocks=1",
            "inode64",
        ] {
            let unknown = word.split(',').next().unwrap().to_owned();
            assert_eq!(
                TmpfsOptions::parse(word),
                Err(TmpfsError::Unknown(unknown)),
                "{word}"
            );
        }
        for (word, again) in [
            ("size=1,size=1", "size=1"),
            ("mode=0,mode=7", "mode=7"),
            ("exec,noexec", "noexec"),
        ] {
            assert_eq!(
                TmpfsOptions::parse(word),
                Err(TmpfsError::Repeated(again.to_owned()))
            );
        }
    }
}

//! Paths of the two sides. They never convert into each other. Pure.
//!
//! A host path is looked up by the kernel as the caller; an instance path below the new root.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use thiserror::Error;

/// Why a word is not a path of that side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathError {
    /// A NUL byte cannot be passed to the kernel.
    #[error("it contains a NUL byte")]
    Nul,
    /// Inside there is no current directory that a path could be relative to.
    #[error("not an absolute path")]
    Relative,
}

/// A path as the caller sees it, absolute or relative to the caller's current directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPath(CString);

impl HostPath {
    /// Takes the caller's spelling as it is. An empty one is the kernel's to refuse.
    pub fn new(spelling: OsString) -> Result<Self, PathError> {
        CString::new(spelling.into_vec())
            .map(Self)
            .map_err(|_| PathError::Nul)
    }

    /// The caller's root directory.
    pub fn root() -> Self {
        Self(c"/".to_owned())
    }

    /// The caller's current directory.
    pub fn current_dir() -> Self {
        Self(c".".to_owned())
    }

    /// For the kernel.
    pub fn as_c_str(&self) -> &CStr {
        &self.0
    }
}

/// An absolute path inside the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstancePath(CString);

impl InstancePath {
    /// Takes the caller's spelling as it is, if it is absolute.
    pub fn new(spelling: OsString) -> Result<Self, PathError> {
        let path = CString::new(spelling.into_vec()).map_err(|_| PathError::Nul)?;
        Self::from_c_string(path)
    }

    /// A path of our own, absolute as we wrote it.
    pub fn literal(path: &'static CStr) -> Self {
        debug_assert!(path.to_bytes().starts_with(b"/"));
        Self(path.to_owned())
    }

    /// The same of a path that the kernel has given.
    pub fn from_c_string(path: CString) -> Result<Self, PathError> {
        if !path.as_bytes().starts_with(b"/") {
            return Err(PathError::Relative);
        }
        Ok(Self(path))
    }

    /// For the kernel.
    pub fn as_c_str(&self) -> &CStr {
        &self.0
    }

    /// The directory it stands in and its own name there, or `None` if it ends in `.` or `..`, or
    /// is the root.
    pub fn split(&self) -> Option<(Self, CString)> {
        let path = self.0.to_bytes();
        let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
        let begin = path.get(..end)?.iter().rposition(|byte| *byte == b'/')? + 1;
        let name = path.get(begin..end)?;
        if matches!(name, b"." | b"..") {
            return None;
        }
        let parent = Self(CString::new(path.get(..begin)?).ok()?);
        Some((parent, CString::new(name).ok()?))
    }
}

/// The caller's spelling in double quotes, with control characters and broken UTF-8 escaped, so
/// that a message is one line whatever it speaks of.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(OsStr::from_bytes(self.0), formatter)
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Quoted(self.0.as_bytes()).fmt(formatter)
    }
}

impl fmt::Display for InstancePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Quoted(self.0.as_bytes()).fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(path: &str) -> InstancePath {
        InstancePath::new(path.into()).unwrap()
    }

    #[test]
    fn an_instance_path_is_absolute() {
        for relative in ["", ".", "a", "a/b", "../a"] {
            assert_eq!(
                InstancePath::new(relative.into()),
                Err(PathError::Relative),
                "{relative}"
            );
        }
        for absolute in ["/", "//", "/a", "/../a"] {
            assert!(InstancePath::new(absolute.into()).is_ok(), "{absolute}");
        }
    }

    #[test]
    fn no_path_contains_a_nul_byte() {
        assert_eq!(InstancePath::new("/a\0b".into()), Err(PathError::Nul));
        assert_eq!(HostPath::new("a\0b".into()), Err(PathError::Nul));
    }

    #[test]
    fn a_path_splits_into_directory_and_name() {
        for (path, parent, name) in [
            ("/dev/dri", "/dev/", c"dri"),
            ("//dev//dri//", "//dev//", c"dri"),
            ("/dri", "/", c"dri"),
            ("/a/../b", "/a/../", c"b"),
            ("/a/...", "/a/", c"..."),
        ] {
            assert_eq!(
                instance(path).split(),
                Some((instance(parent), name.to_owned())),
                "{path}"
            );
        }
        for whole in ["/", "//", "/dev/.", "/dev/..", "/dev/../"] {
            assert_eq!(instance(whole).split(), None, "{whole}");
        }
    }

    #[test]
    fn messages_show_a_path_on_one_line() {
        for (bytes, shown) in [
            (&b"/plain path"[..], r#""/plain path""#),
            (b"/a\nb\x1b[2J\x07", r#""/a\nb\u{1b}[2J\u{7}""#),
            (b"/\xff\xfe", r#""/\xFF\xFE""#),
            ("/grüße".as_bytes(), r#""/grüße""#),
            ("/\u{202e}gpj".as_bytes(), r#""/\u{202e}gpj""#),
            (b"/\"quoted\"", r#""/\"quoted\"""#),
        ] {
            assert_eq!(Quoted(bytes).to_string(), shown);
        }
    }
}

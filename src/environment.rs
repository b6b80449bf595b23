//! The environment of the command: the caller's, byte for byte, but for what `-e` and `-E` change.
//! Pure: nothing here looks at a variable to decide anything.

use std::ffi::{CStr, CString};

/// A change that `-e NAME VALUE` or `-E NAME` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvChange {
    /// The whole entry, `NAME=VALUE`, and how many bytes of it are the name.
    Set(CString, usize),
    /// The name.
    Unset(CString),
}

impl EnvChange {
    fn name(&self) -> &[u8] {
        match self {
            Self::Set(entry, length) => entry.as_bytes().get(..*length).unwrap_or_default(),
            Self::Unset(name) => name.as_bytes(),
        }
    }
}

/// Strings of the form `NAME=VALUE`, in order; duplicates and oddities are the caller's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment(Vec<CString>);

impl Environment {
    /// Takes the caller's strings, and makes the changes in order.
    ///
    /// A changed variable stays where its first entry stood, as with setenv(3).
    pub fn new(inherited: &[&CStr], changes: &[EnvChange]) -> Self {
        let mut entries: Vec<CString> = inherited.iter().map(|entry| (*entry).to_owned()).collect();
        for change in changes {
            let is_it = |entry: &CString| value_of(entry, change.name()).is_some();
            let place = entries.iter().position(is_it).unwrap_or(entries.len());
            entries.retain(|entry| !is_it(entry));
            if let EnvChange::Set(entry, _) = change {
                entries.insert(place.min(entries.len()), entry.clone());
            }
        }
        Self(entries)
    }

    /// The value of the first entry of this name.
    pub fn get(&self, name: &[u8]) -> Option<&CStr> {
        self.0.iter().find_map(|entry| value_of(entry, name))
    }

    /// Every entry, for exec.
    pub fn entries(&self) -> &[CString] {
        &self.0
    }
}

fn value_of<'a>(entry: &'a CStr, name: &[u8]) -> Option<&'a CStr> {
    let value = entry
        .to_bytes_with_nul()
        .strip_prefix(name)?
        .strip_prefix(b"=")?;
    CStr::from_bytes_with_nul(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INHERITED: [&CStr; 6] = [c"A=1", c"B=2", c"odd", c"A=3", c"", c"=x"];

    fn changed(changes: &[EnvChange]) -> Vec<String> {
        let environment = Environment::new(&INHERITED, changes);
        environment
            .entries()
            .iter()
            .map(|entry| entry.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn it_is_the_callers_byte_for_byte() {
        assert_eq!(changed(&[]), ["A=1", "B=2", "odd", "A=3", "", "=x"]);
    }

    #[test]
    fn changes_are_made_in_order() {
        let set = |entry: &CStr, length| EnvChange::Set(entry.to_owned(), length);
        let unset = |name: &CStr| EnvChange::Unset(name.to_owned());
        for (changes, expected) in [
            (vec![set(c"A=9", 1)], &["A=9", "B=2", "odd", "", "=x"][..]),
            (vec![unset(c"A")], &["B=2", "odd", "", "=x"]),
            (
                vec![set(c"C=", 1)],
                &["A=1", "B=2", "odd", "A=3", "", "=x", "C="],
            ),
            (
                vec![set(c"C=1", 1), unset(c"C")],
                &["A=1", "B=2", "odd", "A=3", "", "=x"],
            ),
            (
                vec![unset(c"A"), set(c"A=0", 1)],
                &["B=2", "odd", "", "=x", "A=0"],
            ),
            (
                vec![unset(c"od"), unset(c"odd")],
                &["A=1", "B=2", "odd", "A=3", "", "=x"],
            ),
            (
                vec![set(c"B=a=b", 1)],
                &["A=1", "B=a=b", "odd", "A=3", "", "=x"],
            ),
        ] {
            assert_eq!(changed(&changes), expected, "{changes:?}");
        }
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environment = Environment::new(&[c"PATHS=no", c"PATH=yes", c"PATH=later"], &[]);
        assert_eq!(environment.get(b"PATH"), Some(c"yes"));
        assert_eq!(environment.get(b"PAT"), None);
    }
}

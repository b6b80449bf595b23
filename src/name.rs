//! The name of an instance, and the claim to it: nothing on disk, gone with the supervisor however
//! that ends.
//!
//! The claim is a listening socket in the abstract namespace: of two that start at once, the kernel
//! lets one have it. Anybody may bind any such name, and each network namespace has its own, so the
//! running instances are asked as well, and a stranger's socket keeps nobody from starting.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::getuid;
use thiserror::Error;

use crate::listing::{Listing, ListingError};
use crate::path::Quoted;
use crate::sys::procfs::Procfs;
use crate::sys::socket;

/// The longest name, in bytes.
const LONGEST: usize = 64;

/// How often it is tried again to take a name whose holder does not answer, a millisecond apart:
/// it has just ended, or is about to listen.
const TRIES: usize = 20;

/// Why a word is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// It would be taken for a pid or an option, could not be typed, or looks like something else.
    #[error("a name is a letter, then letters, digits, and any of _.-")]
    Form,
    /// Too long for the address of a socket.
    #[error("a name has {LONGEST} bytes at most")]
    Length,
}

/// What an instance is called: a letter, then letters, digits, `_`, `.` and `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceName(String);

impl InstanceName {
    /// Takes a word that is one.
    pub fn new(word: &OsStr) -> Result<Self, NameError> {
        let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
        let bytes = word.as_bytes();
        if !bytes.first().is_some_and(u8::is_ascii_alphabetic) || !bytes.iter().all(is_of_name) {
            return Err(NameError::Form);
        }
        if bytes.len() > LONGEST {
            return Err(NameError::Length);
        }
        Ok(Self(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// As it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Quoted(self.0.as_bytes()).fmt(formatter)
    }
}

impl TryFrom<OsString> for InstanceName {
    type Error = NameError;

    fn try_from(word: OsString) -> Result<Self, NameError> {
        Self::new(&word)
    }
}

/// Why the name cannot be had.
#[derive(Debug, Error)]
pub enum ClaimError {
    /// The caller has a running instance of that name.
    #[error("cannot name the instance {0}: an instance of that name is running")]
    InUse(InstanceName),
    /// socket(2), bind(2), listen(2), connect(2).
    #[error("cannot name the instance {name}: {}", errno.desc())]
    Socket {
        /// The name.
        name: InstanceName,
        /// The kernel's word.
        errno: Errno,
    },
    /// The running instances could not be asked.
    #[error("cannot name the instance {name}: {error}")]
    Listing {
        /// The name.
        name: InstanceName,
        /// What kept them from being listed.
        error: ListingError,
    },
}

/// The name is this instance's for as long as the supervisor has this.
#[derive(Debug)]
pub struct Claim(Option<UnixListener>);

impl Claim {
    /// Takes the name, unless an instance of the same caller's has it.
    pub fn take(name: &InstanceName, procfs: &Procfs) -> Result<Self, ClaimError> {
        let in_use = || ClaimError::InUse(name.clone());
        let uid = getuid().as_raw();
        let address = format!("selfdock/{uid}/{}", name.as_str());
        let socket = match bind(&address, uid) {
            Ok(Bound::Ours(socket)) => Some(socket),
            Ok(Bound::Callers) => return Err(in_use()),
            Ok(Bound::Unknown) => None,
            Err(errno) => {
                let name = name.clone();
                return Err(ClaimError::Socket { name, errno });
            }
        };
        match Listing::read(procfs) {
            Ok(listing) if listing.has(uid, name) => Err(in_use()),
            // The /proc of an outer pid namespace: the socket has to do.
            Ok(_) | Err(ListingError::Foreign) => Ok(Self(socket)),
            Err(error) => {
                let name = name.clone();
                Err(ClaimError::Listing { name, error })
            }
        }
    }

    /// The descriptor that must stay open, if there is one.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }
}

/// Whose an address is now.
enum Bound {
    /// Taken just now.
    Ours(UnixListener),
    /// Another process of the caller's has it.
    Callers,
    /// A stranger has it, or somebody who does not say who they are.
    Unknown,
}

fn bind(address: &str, uid: u32) -> Result<Bound, Errno> {
    for _ in 0..TRIES {
        match socket::listen(address) {
            Err(Errno::EADDRINUSE) => {}
            socket => return socket.map(Bound::Ours),
        }
        match socket::listener_uid(address) {
            Ok(owner) if owner == uid => return Ok(Bound::Callers),
            // EAGAIN: as many connections wait there as may, which any stranger can arrange; EPERM,
            // EACCES: a security module keeps us apart.
            Ok(_) | Err(Errno::EAGAIN | Errno::EPERM | Errno::EACCES) => return Ok(Bound::Unknown),
            Err(Errno::ECONNREFUSED) => sleep(Duration::from_millis(1)),
            Err(errno) => return Err(errno),
        }
    }
    Ok(Bound::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_letter_and_what_may_follow() {
        let longest = "x".repeat(64);
        for word in ["a", "Z", "web-1", "a.b_c-D9", "a.", "a--", &longest] {
            assert_eq!(InstanceName::new(word.as_ref()).unwrap().as_str(), word);
        }
        let too_long = "x".repeat(65);
        assert_eq!(InstanceName::new(too_long.as_ref()), Err(NameError::Length));
        for word in [
            "", "1", "12", "1a", "-a", ".a", "_a", "a b", " a", "a/b", "a:b", "a\n", "é", "aé",
            "a\u{1b}", "a\0b",
        ] {
            assert_eq!(
                InstanceName::new(word.as_ref()),
                Err(NameError::Form),
                "{word:?}"
            );
        }
        let odd = OsStr::from_bytes(b"a\xff");
        assert_eq!(InstanceName::new(odd), Err(NameError::Form));
    }
}

//! The only place where numbers of exit statuses stand.
//!
//! Never 125: `git bisect run` reads it as "skip this revision".

/// The caller has a running instance of that name.
pub const NAME_IN_USE: u8 = 123;
/// selfdock itself could not: wrong usage, a refusal, a failed system call.
pub const CANNOT: u8 = 124;
/// The command was found but cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that killed the command, where we cannot die of it ourselves.
pub const SIGNALED: u8 = 128;

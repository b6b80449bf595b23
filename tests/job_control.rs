//! Job control and terminals: whoever types, and whatever shell is typed into, cannot tell whether
//! a command runs bare or inside.
//!
//! Each dialogue is held with a real shell on a real terminal, bare and in several ways inside, and
//! what is printed must be the same to the letter. What differs by nature is asserted on both sides.
// cargo shows what a test has printed where it fails: which way that was.
#![allow(clippy::disallowed_macros)]

mod host;

#[path = "job_control/conversation.rs"]
mod conversation;
#[path = "job_control/jobs.rs"]
mod jobs;
#[path = "job_control/parents.rs"]
mod parents;
#[path = "job_control/processes.rs"]
mod processes;
#[path = "job_control/shells.rs"]
mod shells;
#[path = "job_control/terminals.rs"]
mod terminals;
#[path = "job_control/windows.rs"]
mod windows;

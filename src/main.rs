//! The setuid program: its C `main`, and nothing else. Read `lib.rs` first.
#![no_main]

selfdock::c_main!();

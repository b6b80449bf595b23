//! The setuid program: its memory, its C `main`, and nothing else. Read `lib.rs` first.
#![no_main]

use selfdock::sys::arena::Arena;

#[global_allocator]
static MEMORY: Arena = Arena::new();

selfdock::c_main!();

//! Makes our own ELF entry point the program's: see `src/sys/entry.rs`.
#![allow(clippy::disallowed_macros)] // a build script speaks to cargo on its standard output

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-Wl,-e,selfdock_entry");
}

//! Makes our own ELF entry point the program's (see `src/sys/entry.rs`), and renders man page and
//! completions from the one definition of the command line, into `assets` beside the program.
#![allow(clippy::disallowed_macros)] // a build script speaks to cargo on its standard output

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use clap::builder::{PossibleValuesParser, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;

#[path = "src/options.rs"]
mod options;

/// The sections of the man page that no definition of options can tell.
const SECTIONS: &str = include_str!("docs/sections.1");

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/options.rs");
    println!("cargo::rerun-if-changed=docs/sections.1");
    println!("cargo::rustc-link-arg-bins=-Wl,-e,selfdock_entry");

    // RUSTFLAGS in the environment would replace those of .cargo/config.toml, without a word.
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if !features.split(',').any(|feature| feature == "crt-static") {
        println!("cargo::error=selfdock must be static: build it without RUSTFLAGS");
    }

    let assets = assets_dir()?;
    fs::create_dir_all(&assets)?;
    fs::write(assets.join("selfdock.1"), man_page()?)?;
    complete(&assets)
}

/// `target/TRIPLE/PROFILE/assets`: cargo has no place for what is installed beside a program, so
/// it is found from `target/TRIPLE/PROFILE/build/selfdock-HASH/out`.
fn assets_dir() -> Result<PathBuf, Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    Ok(out
        .ancestors()
        .nth(3)
        .ok_or("OUT_DIR is not where it was")?
        .join("assets"))
}

fn man_page() -> Result<Vec<u8>, Box<dyn Error>> {
    let man = Man::new(options::command()).manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    // Not clap's synopsis, which would tell of one action and not of the two places for options.
    let (synopsis, rest) = SECTIONS
        .split_once(".SH EXIT")
        .ok_or("no section EXIT STATUS")?;
    page.extend_from_slice(synopsis.as_bytes());
    man.render_options_section(&mut page)?;
    page.extend_from_slice(b".SH EXIT");
    page.extend_from_slice(rest.as_bytes());
    Ok(page)
}

fn complete(assets: &Path) -> Result<(), Box<dyn Error>> {
    let actions = PossibleValuesParser::new(["run", "build", "enter", "ps", "doctor"]);
    let modes = PossibleValuesParser::new(["auto", "setuid", "userns"]);
    let paths = ["rootfs", "directory", "map", "vol"];
    let command = options::command()
        .no_binary_name(false)
        .mut_arg(options::WORDS, |words| {
            words.hide(false).value_parser(actions)
        })
        .mut_arg("privilege", |mode| mode.value_parser(modes));
    let mut command = paths.iter().fold(command, |command, path| {
        command.mut_arg(path, |arg| arg.value_hint(ValueHint::AnyPath))
    });
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "selfdock", assets)?;
    }
    Ok(())
}

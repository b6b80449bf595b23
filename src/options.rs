//! The one definition of the command line: parser, help, man page and completions come from it.
//! Pure, and without a reference to the rest, since the build script reads it too.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command};

/// What is left when the options are read: the action and the command, or the command alone.
pub const WORDS: &str = "words";

/// Below the options in `--help`; the same words head a section of the man page.
pub const EXIT_STATUS: &str = "\
Exit status: the command's own; 123 if the name is in use, 124 if selfdock could not start
it, 126 if it cannot be executed, 127 if it was not found; of a command that a signal killed,
the same signal.";

/// Options, then words that are nobody's business here.
///
/// The grammar is this line twice: `[OPTIONS] [--] run|build|... [OPTIONS] [--] CMD [ARG]...`. So
/// it is parsed twice, and `--` means the same in both places. A value is always the next word,
/// whatever that begins with: `-e CFLAGS -O2`.
pub fn command() -> Command {
    Command::new("selfdock")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs one command in its own mount and pid namespaces over a read-only root")
        .override_usage(
            "selfdock [OPTIONS] run   [OPTIONS] [--] [CMD [ARG]...]\n       \
             selfdock [OPTIONS] build [OPTIONS] [--] [CMD [ARG]...]\n       \
             selfdock [OPTIONS] enter INSTANCE [OPTIONS] [--] [CMD [ARG]...]\n       \
             selfdock ps [--json]\n       \
             selfdock doctor [--json]",
        )
        .after_help(EXIT_STATUS)
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args([
            value("rootfs", 'r', "DIR", "Directory to use as the root filesystem [default: /]"),
            value("directory", 'C', "DIR", "Working directory inside [default: the caller's own, if it is there]").long(None),
            pair("map", 'm', "SRC", "DST", "Show SRC at DST, read-only"),
            pair("vol", 'v', "SRC", "DST", "Show SRC at DST, read-write"),
            flag("here", "The current directory, read-write, at its own path"),
            pair("tmpfs", 't', "OPT", "DST", "New tmpfs at DST; OPT is a list of size=, nr_inodes=, mode=, exec, noexec, or \"\""),
            pair("env", 'e', "NAME", "VALUE", "Set a variable for the command"),
            value("unset", 'E', "NAME", "Unset a variable for the command").long(None),
            flag("init", "Stay as pid 1 and run the command as its child"),
            flag("no-nest", "The command can gain nothing: no_new_privs, and no selfdock inside"),
            value("name", 'n', "NAME", "Name of the instance: no other of yours may run under it").short(None),
            value("privilege", 'p', "MODE", "By the set-user-id bit, setuid, or a user namespace, userns [default: auto]").short(None),
            flag("json", "Print JSON (with ps and doctor)"),
            value("keep-fd", 'k', "N", "Fail unless descriptor N is open and reaches the command").short(None),
            flag("close-fds", "Close all other descriptors above 2 for the command"),
            flag("help", "Print help").short('h'),
            flag("version", "Print version").short('V'),
        ])
        .arg(
            Arg::new(WORDS)
                .num_args(0..)
                .trailing_var_arg(true)
                .hide(true)
                .value_parser(ValueParser::os_string()),
        )
}

/// An option with one value, as often as given. The value is always the next word.
fn value(name: &'static str, short: char, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .short(short)
        .long(name)
        .help(help)
        .action(ArgAction::Append)
        .num_args(1)
        .value_name(value)
        .allow_hyphen_values(true)
        .value_parser(ValueParser::os_string())
}

fn pair(
    name: &'static str,
    short: char,
    first: &'static str,
    second: &'static str,
    help: &'static str,
) -> Arg {
    value(name, short, first, help)
        .num_args(2)
        .value_names([first, second])
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .action(ArgAction::SetTrue)
        .overrides_with(name)
}

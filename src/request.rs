//! What is asked, valid by construction. Pure: whether it exists is the kernel's to say, later.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use thiserror::Error;

use crate::cli::{Action, Choice, Cli, CliError};
use crate::environment::EnvChange;
use crate::name::{InstanceName, NameError};
use crate::path::{HostPath, InstancePath, PathError, Quoted};
use crate::sys::descriptor::Wishes;
use crate::sys::privilege::Gain;
use crate::tmpfs::{TmpfsError, TmpfsOptions};

/// The most mount options that one command line may have.
pub const MOST_MOUNTS: usize = 4096;

/// May the files be written to, as far as their modes allow?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// No.
    ReadOnly,
    /// Yes.
    ReadWrite,
}

/// One mount that the caller asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Mount {
    /// `--map`, `--vol`: a tree of the host's.
    Graft {
        /// Where it is on the host.
        source: HostPath,
        /// Where it shall be inside.
        target: InstancePath,
        /// Read-only or not.
        access: Access,
    },
    /// `--here`: the current directory, read-write at its own path.
    Here,
    /// `--tmpfs`: a new, empty tree.
    Tmpfs {
        /// Its size and so on.
        options: TmpfsOptions,
        /// Where it shall be inside.
        target: InstancePath,
    },
}

/// What shall be started.
#[derive(Debug, PartialEq, Eq)]
pub enum Program {
    /// The caller's shell.
    Shell,
    /// This command: its name, then its arguments.
    Words(CString, Vec<CString>),
}

/// What the mount tree shall be.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// Root filesystem.
    pub rootfs: HostPath,
    /// `ReadOnly` for `run`, `ReadWrite` for `build`.
    pub access: Access,
    /// In the order given.
    pub mounts: Vec<Mount>,
}

/// The form of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Where privilege shall come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// From the set-user-id bit where that has an effect, else from a user namespace.
    Auto,
    /// From the set-user-id bit or file capabilities.
    SetUserId,
    /// From a user namespace.
    UserNamespace,
}

impl Mode {
    /// Each has a name.
    fn named(word: &OsStr) -> Option<Self> {
        match word.as_bytes() {
            b"auto" => Some(Self::Auto),
            b"setuid" => Some(Self::SetUserId),
            b"userns" => Some(Self::UserNamespace),
            _ => None,
        }
    }
}

/// What shall be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// `run`, `build`
    Start(Request),
    /// `ps`
    List(Format),
    /// `doctor`
    Diagnose(Format),
    /// `enter`
    Enter(Entry),
}

/// Something that shall be started in an instance that runs.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Pid or name, as typed.
    pub instance: OsString,
    /// What shall be started.
    pub exec: Exec,
}

/// What shall be started, wherever that is, and how it begins.
#[derive(Debug, PartialEq, Eq)]
pub struct Exec {
    /// `-C`
    pub directory: Option<InstancePath>,
    /// In the order given.
    pub changes: Vec<EnvChange>,
    /// `--keep-fd`, `--close-fds`
    pub descriptors: Wishes,
    /// The command.
    pub program: Program,
}

/// A new instance.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// What the command shall see.
    pub layout: Layout,
    /// `--name`
    pub name: Option<InstanceName>,
    /// `--privilege`
    pub mode: Mode,
    /// `--init`: is the command a child of selfdock's, who is pid 1, and not pid 1 itself?
    pub has_init: bool,
    /// `--no-nest`: may the command gain what a nested selfdock needs?
    pub gain: Gain,
    /// What shall be started in it.
    pub exec: Exec,
}

/// Why a command line cannot be meant.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// It has no meaning at all.
    #[error(transparent)]
    Cli(#[from] CliError),
    /// The source or the target of `--map` or `--vol` is not a path of its side.
    #[error("cannot map {} on {}: {error}", quoted(.source_word), quoted(.target))]
    Graft {
        /// `--map` or `--vol`.
        option: &'static str,
        /// SRC as typed.
        source_word: OsString,
        /// DST as typed.
        target: OsString,
        /// What is wrong with one of them.
        error: PathError,
    },
    /// The target of a tmpfs is not a path inside.
    #[error("cannot mount a tmpfs on {}: {error}", quoted(.target))]
    TmpfsTarget {
        /// DST as typed.
        target: OsString,
        /// What is wrong with it.
        error: PathError,
    },
    /// The option word of a tmpfs is refused.
    #[error("cannot mount a tmpfs on {}: {error}", quoted(.target))]
    TmpfsOptions {
        /// DST as typed.
        target: OsString,
        /// What is wrong with OPT.
        error: TmpfsError,
    },
    /// The root filesystem is not a path.
    #[error("cannot use {} as root filesystem: {error}", quoted(.dir))]
    Rootfs {
        /// DIR as typed.
        dir: OsString,
        /// What is wrong with it.
        error: PathError,
    },
    /// The working directory is not a path inside.
    #[error("cannot change to directory {}: {error}", quoted(.dir))]
    Directory {
        /// DIR as typed.
        dir: OsString,
        /// What is wrong with it.
        error: PathError,
    },
    /// No instance can have this name.
    #[error("cannot name the instance {}: {error}", quoted(.word))]
    Name {
        /// NAME as typed.
        word: OsString,
        /// What is wrong with it.
        error: NameError,
    },
    /// `ps` or `doctor` with more than it takes.
    #[error("{0} takes no option but --json, and no command")]
    Alone(&'static str),
    /// `--privilege` with something else.
    #[error("cannot get privilege by {}: auto, setuid and userns are known", quoted(.0))]
    UnknownMode(OsString),
    /// `enter` alone.
    #[error("enter needs an instance: its pid or its name")]
    NoInstance,
    /// An option that would make an instance.
    #[error("option {0} is not for enter, which makes no instance")]
    NotForEnter(&'static str),
    /// An option of `ps` and `doctor` for something that is started.
    #[error("option --json is for ps and doctor only")]
    StrayJson,
    /// No variable can have this name.
    #[error("cannot change the variable {}: not a name", quoted(.0))]
    VariableName(OsString),
    /// No descriptor can have this number.
    #[error("cannot keep descriptor {}: not a number from 0 to {}", quoted(.0), RawFd::MAX)]
    DescriptorNumber(OsString),
    /// More than `MOST_MOUNTS`.
    #[error("too many mount options: {0}, and at most {MOST_MOUNTS} are possible")]
    TooManyMounts(usize),
    /// A word with a NUL byte, which exec(2) cannot have passed.
    #[error("a word contains a NUL byte")]
    Nul,
}

fn quoted(word: &OsString) -> Quoted<'_> {
    Quoted(word.as_bytes())
}

impl RequestError {
    /// What the person may have meant. Docker joins with a colon or an equals sign what are two
    /// words here.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Graft {
                option,
                source_word,
                ..
            } => in_two_words(option, source_word, b':'),
            Self::VariableName(name) => in_two_words("--env", name, b'='),
            Self::Cli(CliError::Incomplete(option)) => {
                let (name, values) = option.split_once(' ')?;
                let values = values.replace(['<', '>'], "");
                let count = if values.contains(' ') {
                    "two words"
                } else {
                    "a word"
                };
                Some(format!("{name} takes {count}: {name} {values}"))
            }
            Self::Cli(_) => Some("selfdock --help lists actions and options".to_owned()),
            _ => None,
        }
    }
}

fn in_two_words(option: &str, word: &OsString, joint: u8) -> Option<String> {
    let mut parts = word.as_bytes().splitn(2, |byte| *byte == joint);
    let (first, second) = (Quoted(parts.next()?), Quoted(parts.next()?));
    Some(format!(
        "{option} takes two words: {option} {first} {second}"
    ))
}

impl TryFrom<Cli> for Order {
    type Error = RequestError;

    fn try_from(cli: Cli) -> Result<Self, RequestError> {
        match cli.action {
            Ok(Action::Ps) => Ok(Self::List(format("ps", &cli)?)),
            Ok(Action::Doctor) => Ok(Self::Diagnose(format("doctor", &cli)?)),
            Ok(Action::Enter) => Entry::try_from(cli).map(Self::Enter),
            _ => Request::try_from(cli).map(Self::Start),
        }
    }
}

/// The form of what only prints, and takes nothing else.
fn format(action: &'static str, cli: &Cli) -> Result<Format, RequestError> {
    let is_json = |choice: &Choice| *choice == Choice::Json;
    if !cli.command.is_empty() || !cli.choices.iter().all(is_json) {
        return Err(RequestError::Alone(action));
    }
    Ok(if cli.choices.is_empty() {
        Format::Table
    } else {
        Format::Json
    })
}

impl TryFrom<Cli> for Request {
    type Error = RequestError;

    fn try_from(cli: Cli) -> Result<Self, RequestError> {
        let mut request = Self {
            layout: Layout {
                rootfs: HostPath::root(),
                access: Access::ReadOnly,
                mounts: Vec::new(),
            },
            name: None,
            mode: Mode::Auto,
            has_init: false,
            gain: Gain::ByNesting,
            exec: Exec::new(cli.command)?,
        };
        for choice in cli.choices {
            request.choose(choice)?;
        }
        if request.layout.mounts.len() > MOST_MOUNTS {
            return Err(RequestError::TooManyMounts(request.layout.mounts.len()));
        }
        request.layout.access = match cli.action? {
            Action::Run => Access::ReadOnly,
            Action::Build => Access::ReadWrite,
            Action::Ps | Action::Doctor | Action::Enter => return Err(RequestError::NoInstance),
        };
        Ok(request)
    }
}

impl TryFrom<Cli> for Entry {
    type Error = RequestError;

    fn try_from(cli: Cli) -> Result<Self, RequestError> {
        let instance = cli.instance.ok_or(RequestError::NoInstance)?;
        let mut exec = Exec::new(cli.command)?;
        for choice in cli.choices {
            exec.choose(choice)?;
        }
        Ok(Self { instance, exec })
    }
}

impl Exec {
    fn new(command: Vec<OsString>) -> Result<Self, RequestError> {
        let mut words = command.into_iter().map(c_string);
        let program = match words.next() {
            Some(name) => Program::Words(name?, words.collect::<Result<_, _>>()?),
            None => Program::Shell,
        };
        Ok(Self {
            directory: None,
            changes: Vec::new(),
            descriptors: Wishes::default(),
            program,
        })
    }

    /// Takes an option that is about the command, and refuses every other.
    fn choose(&mut self, choice: Choice) -> Result<(), RequestError> {
        match choice {
            Choice::Directory(dir) => {
                let directory = InstancePath::new(dir.clone())
                    .map_err(|error| RequestError::Directory { dir, error })?;
                self.directory = Some(directory);
            }
            Choice::SetEnv(name, value) => self.changes.push(set_variable(name, value)?),
            Choice::UnsetEnv(name) => {
                let name = c_string(variable_name(name)?)?;
                self.changes.push(EnvChange::Unset(name));
            }
            Choice::KeepFd(word) => self.descriptors.kept.push(descriptor_number(word)?),
            Choice::CloseFds => self.descriptors.closes_others = true,
            other => return Err(RequestError::NotForEnter(other.option())),
        }
        Ok(())
    }
}

impl Request {
    fn choose(&mut self, choice: Choice) -> Result<(), RequestError> {
        match choice {
            Choice::Rootfs(dir) => {
                let rootfs = HostPath::new(dir.clone());
                self.layout.rootfs = rootfs.map_err(|error| RequestError::Rootfs { dir, error })?;
            }
            Choice::Map(source, target) => {
                self.layout
                    .mounts
                    .push(graft(source, target, Access::ReadOnly)?)
            }
            Choice::Vol(source, target) => {
                self.layout
                    .mounts
                    .push(graft(source, target, Access::ReadWrite)?)
            }
            Choice::Here => self.layout.mounts.push(Mount::Here),
            Choice::Tmpfs(options, target) => self.layout.mounts.push(tmpfs(&options, target)?),
            Choice::Init => self.has_init = true,
            Choice::NoNest => self.gain = Gain::Nothing,
            Choice::Name(word) => {
                let name = InstanceName::new(&word);
                self.name = Some(name.map_err(|error| RequestError::Name { word, error })?);
            }
            Choice::Privilege(word) => {
                self.mode = Mode::named(&word).ok_or(RequestError::UnknownMode(word))?;
            }
            Choice::Json => return Err(RequestError::StrayJson),
            about_command => self.exec.choose(about_command)?,
        }
        Ok(())
    }
}

fn graft(source: OsString, target: OsString, access: Access) -> Result<Mount, RequestError> {
    let option = match access {
        Access::ReadOnly => "--map",
        Access::ReadWrite => "--vol",
    };
    let paths = HostPath::new(source.clone())
        .and_then(|source| Ok((source, InstancePath::new(target.clone())?)));
    match paths {
        Ok((source, target)) => Ok(Mount::Graft {
            source,
            target,
            access,
        }),
        Err(error) => Err(RequestError::Graft {
            option,
            source_word: source,
            target,
            error,
        }),
    }
}

fn tmpfs(options: &OsString, target: OsString) -> Result<Mount, RequestError> {
    let options = TmpfsOptions::parse(&options.to_string_lossy()).map_err(|error| {
        RequestError::TmpfsOptions {
            target: target.clone(),
            error,
        }
    })?;
    match InstancePath::new(target.clone()) {
        Ok(target) => Ok(Mount::Tmpfs { options, target }),
        Err(error) => Err(RequestError::TmpfsTarget { target, error }),
    }
}

fn set_variable(name: OsString, value: OsString) -> Result<EnvChange, RequestError> {
    let mut entry = variable_name(name)?;
    let length = entry.len();
    entry.push("=");
    entry.push(value);
    Ok(EnvChange::Set(c_string(entry)?, length))
}

fn variable_name(name: OsString) -> Result<OsString, RequestError> {
    if name.is_empty() || name.as_bytes().contains(&b'=') {
        return Err(RequestError::VariableName(name));
    }
    Ok(name)
}

/// Digits only: `parse` would take a sign as well.
fn descriptor_number(word: OsString) -> Result<RawFd, RequestError> {
    let digits = word.to_str().unwrap_or_default();
    match digits.parse() {
        Ok(number) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(RequestError::DescriptorNumber(word)),
    }
}

fn c_string(word: OsString) -> Result<CString, RequestError> {
    CString::new(word.into_vec()).map_err(|_| RequestError::Nul)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{self, Parsed};

    fn request(line: &str) -> Result<Request, RequestError> {
        let words = line
            .split(' ')
            .map(|word| OsString::from(word.trim_matches('\'')))
            .collect();
        match cli::parse(words)? {
            Parsed::Order(cli) => Request::try_from(cli),
            Parsed::Print(text) => panic!("{text}"),
        }
    }

    #[test]
    fn defaults_are_the_hosts_root_read_only_and_a_shell() {
        let bare = request("run").unwrap();
        assert_eq!(bare.layout.rootfs, HostPath::root());
        assert_eq!(bare.layout.access, Access::ReadOnly);
        assert_eq!(bare.exec.program, Program::Shell);
        assert_eq!((bare.layout.mounts.len(), bare.exec.directory), (0, None));
        assert_eq!(request("build").unwrap().layout.access, Access::ReadWrite);
    }

    #[test]
    fn of_a_repeated_root_or_directory_the_last_wins() {
        let last = request("-r a -C /a run -r b -C /b true").unwrap();
        assert_eq!(last.layout.rootfs, HostPath::new("b".into()).unwrap());
        assert_eq!(
            last.exec.directory,
            Some(InstancePath::new("/b".into()).unwrap())
        );
    }

    #[test]
    fn every_descriptor_that_is_to_be_kept_counts() {
        let wishes = |line| request(line).unwrap().exec.descriptors;
        assert_eq!(wishes("run true"), Wishes::default());
        let both = wishes("--keep-fd 3 run --close-fds --keep-fd 0 --keep-fd 2147483647 true");
        assert_eq!(both.kept, [3, 0, 2_147_483_647]);
        assert!(both.closes_others);
        for word in ["", "-1", "+3", "3a", "0x3", " 3", "99999999999", "\u{663}"] {
            let refused = descriptor_number(word.into());
            assert_eq!(refused, Err(RequestError::DescriptorNumber(word.into())));
        }
    }

    #[test]
    fn messages_and_hints_are_for_a_person() {
        for (line, message, hint) in [
            (
                "-v /a:/b run sh",
                r#"cannot map "/a:/b" on "run": not an absolute path"#,
                Some(r#"--vol takes two words: --vol "/a" "/b""#),
            ),
            (
                "run -m /a:/b:ro sh",
                r#"cannot map "/a:/b:ro" on "sh": not an absolute path"#,
                Some(r#"--map takes two words: --map "/a" "/b:ro""#),
            ),
            (
                "-m a b run",
                r#"cannot map "a" on "b": not an absolute path"#,
                None,
            ),
            (
                "run -v /a:/b",
                "option --vol <SRC> <DST> is not complete",
                Some("--vol takes two words: --vol SRC DST"),
            ),
            (
                "-C",
                "option -C <DIR> is not complete",
                Some("-C takes a word: -C DIR"),
            ),
            (
                "-e A=B run env",
                r#"cannot change the variable "A=B": not a name"#,
                Some(r#"--env takes two words: --env "A" "B""#),
            ),
            (
                "-e '' x run",
                r#"cannot change the variable "": not a name"#,
                None,
            ),
            (
                "-E A=B run",
                r#"cannot change the variable "A=B": not a name"#,
                Some(r#"--env takes two words: --env "A" "B""#),
            ),
            (
                "--keep-fd +3 run true",
                r#"cannot keep descriptor "+3": not a number from 0 to 2147483647"#,
                None,
            ),
            (
                "--keep-fd 2147483648 run true",
                r#"cannot keep descriptor "2147483648": not a number from 0 to 2147483647"#,
                None,
            ),
            (
                "--keep-fd",
                "option --keep-fd <N> is not complete",
                Some("--keep-fd takes a word: --keep-fd N"),
            ),
            (
                "-C rel run",
                r#"cannot change to directory "rel": not an absolute path"#,
                None,
            ),
            (
                "-t size=0 /tmp run",
                r#"cannot mount a tmpfs on "/tmp": bad value in "size=0": a number above 0 with one of k, m, g, or 1% to 50%"#,
                None,
            ),
            (
                "-t '' tmp run",
                r#"cannot mount a tmpfs on "tmp": not an absolute path"#,
                None,
            ),
            (
                "start sh",
                r#"unknown action "start""#,
                Some("selfdock --help lists actions and options"),
            ),
            (
                "--here",
                "no action given: run, build, enter, ps or doctor",
                Some("selfdock --help lists actions and options"),
            ),
        ] {
            let error = request(line).unwrap_err();
            assert_eq!(error.to_string(), message, "{line}");
            assert_eq!(error.hint().as_deref(), hint, "{line}");
        }
    }

    #[test]
    fn there_may_be_4096_mounts_and_no_more() {
        let line = |count| format!("{}run true", "-m / /mnt ".repeat(count));
        assert_eq!(request(&line(4096)).unwrap().layout.mounts.len(), 4096);
        assert_eq!(request(&line(4097)), Err(RequestError::TooManyMounts(4097)));
    }
}

//! What is set up for the measurement and taken away again: the set-user-id programs, in a
//! directory that only the user of the measurement can reach, for the floor protects nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::Result;
use crate::worker::{self, User};

const FLOOR: &str = include_str!("../floor.c");

/// The installed programs. Dropping it removes them.
pub struct Stage {
    dir: PathBuf,
    user: User,
    interrupts: SignalFd,
}

impl Stage {
    /// Installs selfdock and the floor. Needs root, and a C compiler.
    pub fn set() -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            return Err("the benchmark installs set-user-id programs: run it as root".into());
        }
        let process = std::process::id();
        // As in tests/host, beside whose users this one is: not in /tmp, which is another one
        // inside; and on the root filesystem, or a nested selfdock is not found there.
        let base = std::env::var_os("SELFDOCK_TEST_DIR").unwrap_or_else(|| "/var/tmp".into());
        let dir = Path::new(&base).join(format!("selfdock-bench-{process}"));
        let user = User(1_000_000 + process % 1_000_000 * 1000 + 999);
        let interrupts = block_interrupts()?;
        fs::create_dir(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        let stage = Self {
            dir,
            user,
            interrupts,
        };
        chown(&stage.dir, Some(0), Some(user.0))?;
        set_mode(&stage.dir, 0o750)?;
        stage.install_selfdock()?;
        stage.install_floor()?;
        Ok(stage)
    }

    /// The path of something in the directory, as a word of a command.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Makes an empty directory, or leaves the one that is there, and tells its path.
    pub fn dir(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// How long it takes the unprivileged user to start `command` so often.
    pub fn time(&self, command: &[String], starts: usize) -> Result<Duration> {
        let time = worker::time(self.user, command, starts);
        match self.interrupts.read_signal()? {
            Some(_) => Err("interrupted".into()),
            None => time,
        }
    }

    /// The program that cargo built for this, or the one to be released.
    fn install_selfdock(&self) -> Result<()> {
        let built = std::env::var_os("SELFDOCK_BINARY")
            .map_or(env!("CARGO_BIN_EXE_selfdock").into(), PathBuf::from);
        let path = self.dir.join("selfdock");
        fs::copy(&built, &path).map_err(|error| format!("{}: {error}", built.display()))?;
        make_setuid(&path)
    }

    fn install_floor(&self) -> Result<()> {
        let (path, source) = (self.dir.join("floor"), self.dir.join("floor.c"));
        fs::write(&source, FLOOR)?;
        let compiler = Command::new("cc")
            .args(["-O2", "-static", "-o"])
            .args([&path, &source])
            .output()
            .map_err(|error| format!("a C compiler is needed: cc: {error}"))?;
        if !compiler.status.success() {
            let message = String::from_utf8_lossy(&compiler.stderr);
            return Err(format!("cc cannot compile floor.c: {message}").into());
        }
        make_setuid(&path)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}

/// From now on ^C and the like are read and not died of, so that nothing set-user-id stays behind.
fn block_interrupts() -> Result<SignalFd> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    Ok(SignalFd::with_flags(&signals, flags)?)
}

fn make_setuid(path: &Path) -> Result<()> {
    chown(path, Some(0), Some(0))?;
    set_mode(path, 0o4755)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

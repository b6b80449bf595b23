//! What is set up for the measurement and taken away again: the set-user-id programs, in a
//! directory that only the user of the measurement can reach, for the floor protects nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::Result;
use crate::cases::Case;
use crate::options::Options;
use crate::worker::{self, Job, Taken, User};

const FLOOR: &str = include_str!("../floor.c");

/// The installed programs. Dropping it removes them.
pub struct Stage {
    dir: PathBuf,
    user: User,
    interrupts: SignalFd,
}

impl Stage {
    /// Installs selfdock and the floor. Needs root, and a C compiler.
    pub fn set(options: &Options) -> Result<Self> {
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
        stage.install("selfdock", &built())?;
        for (name, path) in &options.beside {
            stage.install(name, path)?;
        }
        stage.install_floor()?;
        Ok(stage)
    }

    /// Whoever starts things here.
    pub fn user(&self) -> User {
        self.user
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

    /// The same, where the user may write.
    pub fn user_dir(&self, name: &str) -> Result<String> {
        let path = self.dir(name)?;
        chown(&path, Some(self.user.0), Some(self.user.0))?;
        Ok(path)
    }

    /// Makes so many directories of the root filesystem to mount something on.
    pub fn make_mountpoints(&self, count: usize) -> Result<()> {
        (0..count).try_for_each(|number| self.dir(&format!("mountpoints/{number}")).map(drop))
    }

    /// What it takes to start the command of `case` so often.
    pub fn take(&self, case: &Case, starts: usize) -> Result<Taken> {
        let mountpoints = if case.is_scattered {
            self.dir("mountpoints")?
        } else {
            // Empty, and nobody but root can move it, as most hosts' mounts are: simple to hide.
            self.dir("mounts")?
        };
        let taken = worker::take(&Job {
            user: case.user.unwrap_or(self.user),
            starts,
            workers: case.workers,
            mounts: case.mounts,
            mountpoints: Path::new(&mountpoints),
            command: &case.command,
        });
        match self.interrupts.read_signal()? {
            Some(_) => Err("interrupted".into()),
            None => taken,
        }
    }

    /// Makes a set-user-id copy, and tells its path.
    pub fn install(&self, name: &str, built: &Path) -> Result<String> {
        let path = self.dir.join(name);
        fs::copy(built, &path).map_err(|error| format!("{}: {error}", built.display()))?;
        make_setuid(&path)?;
        Ok(path.display().to_string())
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

/// The program that cargo built for this, or the one to be released.
pub fn built() -> PathBuf {
    std::env::var_os("SELFDOCK_BINARY").map_or(env!("CARGO_BIN_EXE_selfdock").into(), PathBuf::from)
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

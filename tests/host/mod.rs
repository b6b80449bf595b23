//! The fixture: an installed copy of selfdock, an unprivileged caller, and bait.
//!
//! With SELFDOCK_TEST_INSTALL=file-capabilities in the environment it is not set-user-id, but has
//! capabilities of its own; with `rootless` it is a file like any other.
//!
//! Each test has its own directory, outside of the clone (which the caller may not be able to
//! reach) and outside of /tmp (which is another one inside), and its own user id, which no passwd
//! file knows. At the end nothing may be left: no process of that user, no mount, no file.
#![allow(dead_code)] // each test file uses its own part

pub mod counts;
pub mod fixtures;
pub mod table;
pub mod terminal;
pub mod trace;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use terminal::PATIENCE;

/// How selfdock is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Install {
    SetUserId,
    FileCapabilities,
    Rootless,
}

impl Install {
    /// What SELFDOCK_TEST_INSTALL asks for.
    pub fn wanted() -> Self {
        match std::env::var("SELFDOCK_TEST_INSTALL").as_deref() {
            Err(_) | Ok("" | "setuid") => Self::SetUserId,
            Ok("file-capabilities") => Self::FileCapabilities,
            Ok("rootless") => Self::Rootless,
            Ok(other) => panic!("SELFDOCK_TEST_INSTALL: {other}: no such way"),
        }
    }

    /// The permissions of the installed file.
    pub fn mode(self) -> u32 {
        match self {
            Self::SetUserId => 0o4755,
            Self::FileCapabilities | Self::Rootless => 0o755,
        }
    }

    /// Asserted where they differ: the one of what the three come to.
    pub fn choose<T>(self, set_user_id: T, file_capabilities: T, rootless: T) -> T {
        match self {
            Self::SetUserId => set_user_id,
            Self::FileCapabilities => file_capabilities,
            Self::Rootless => rootless,
        }
    }

    /// Has it no privilege of its own, so that every instance is in a user namespace?
    pub fn is_rootless() -> bool {
        Self::wanted() == Self::Rootless
    }
}

/// As install.sh gives them: see setcap(8).
pub const CAPABILITIES: &str = "cap_sys_admin,cap_sys_chroot,cap_setpcap+p";

/// selfdock's own exit status for what it could not do.
pub const CANNOT: i32 = 124;

/// A host of few mounts, whatever this one has: `/` with nothing on it but /dev, /proc, /sys and an
/// empty /tmp from which programs can be executed.
pub const PLAIN: &str = "
    mkdir -p $DIR/plain
    mount --bind / $DIR/plain
    mount --rbind /dev $DIR/plain/dev
    mount --rbind /proc $DIR/plain/proc
    mount --rbind /sys $DIR/plain/sys
    mount -t tmpfs -o mode=1777 tmpfs $DIR/plain/tmp
    cd $DIR/plain
    pivot_root . .
    umount -l .
    cd /";

/// In /proc/PID/status of a process that has ended.
const ZOMBIE: &str = "\nState:\tZ";

/// From a caller's user id to that of the stranger who may attack them.
const OTHERS: u32 = 500;

/// A machine with selfdock installed, as far as one test is concerned.
pub struct Host {
    dir: PathBuf,
    uid: u32,
    mounts: String,
}

impl Host {
    /// Installs selfdock for a new caller. Needs root, and says so.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests install a setuid program: run them as root"
        );
        // What the callers are to use is readable, whoever runs the tests.
        umask(Mode::from_bits_truncate(0o022));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        assert!(count < OTHERS, "too many tests for one program");
        let uid = 1_000_000 + process % 1_000_000 * 1000 + count;
        let base = std::env::var_os("SELFDOCK_TEST_DIR").unwrap_or_else(|| "/var/tmp".into());
        let dir = Path::new(&base).join(format!("selfdock-test-{process}-{count}"));
        fs::create_dir(&dir)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", dir.display()));
        let host = Self {
            dir,
            uid,
            mounts: mounts(),
        };
        set_mode(&host.dir, 0o755);
        host.install(&host.root_dir("bin", 0o755).join("selfdock"));
        host
    }

    /// Puts a copy of selfdock at `path`, root's, and makes it as privileged as it must be.
    pub fn install(&self, path: &Path) {
        self.install_as(Install::wanted(), path);
    }

    /// The same in this way, whatever is wanted.
    pub fn install_as(&self, install: Install, path: &Path) {
        copy(&binary(), path);
        set_mode(path, install.mode());
        if install == Install::FileCapabilities {
            let setcap = Command::new("setcap").arg(CAPABILITIES).arg(path).output();
            let setcap = setcap.expect("setcap is needed: libcap2-bin");
            assert!(setcap.status.success(), "{}", text(&setcap));
        }
    }

    /// The installed program.
    pub fn program(&self) -> PathBuf {
        self.dir.join("bin/selfdock")
    }

    /// The user id of the caller; the group id is the same.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The user id of another caller, a stranger to the first; the group id is the same.
    pub fn other_uid(&self) -> u32 {
        self.uid + OTHERS
    }

    /// A path in this test's own directory, which is root's, 0755.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.join(name)
    }

    /// `program`, to be run by the caller, in `/`, with standard input closed off.
    pub fn as_caller(&self, program: impl AsRef<OsStr>) -> Command {
        Self::as_user(self.uid, program)
    }

    /// The same by the other caller.
    pub fn as_other(&self, program: impl AsRef<OsStr>) -> Command {
        Self::as_user(self.other_uid(), program)
    }

    fn as_user(uid: u32, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .uid(uid)
            .gid(uid)
            .current_dir("/")
            .stdin(Stdio::null());
        command.env_remove("RUST_BACKTRACE");
        command
    }

    /// selfdock, to be run by the caller.
    pub fn selfdock(&self) -> Command {
        self.as_caller(self.program())
    }

    /// Runs selfdock as the caller with these words.
    pub fn run<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Output {
        self.selfdock().args(words).output().unwrap()
    }

    /// Runs selfdock as the caller with the words of `line`, which are separated by blanks; `$SD`
    /// is selfdock's own path and `$DIR` this test's directory.
    pub fn run_line(&self, line: &str) -> Output {
        let words = line.split_whitespace().map(|word| {
            word.replace("$SD", self.program().to_str().unwrap())
                .replace("$DIR", self.dir.to_str().unwrap())
        });
        self.run(words)
    }

    /// `selfdock OPTIONS run /bin/sh -c SCRIPT` as the caller.
    pub fn run_script(&self, options: &[&OsStr], script: &str) -> Output {
        self.selfdock()
            .args(options)
            .args(["run", "/bin/sh", "-c", script])
            .output()
            .unwrap()
    }

    /// A new directory of the caller's, 0755.
    pub fn caller_dir(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.root_dir(name, 0o755);
        chown(&path, Some(self.uid), Some(self.uid)).unwrap();
        path
    }

    /// A new file of the caller's.
    pub fn caller_file(
        &self,
        name: impl AsRef<Path>,
        mode: u32,
        content: impl AsRef<[u8]>,
    ) -> PathBuf {
        let path = self.root_file(name, mode, content);
        chown(&path, Some(self.uid), Some(self.uid)).unwrap();
        set_mode(&path, mode);
        path
    }

    /// A new directory of root's.
    pub fn root_dir(&self, name: impl AsRef<Path>, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        set_mode(&path, mode);
        path
    }

    /// A new file of root's.
    pub fn root_file(
        &self,
        name: impl AsRef<Path>,
        mode: u32,
        content: impl AsRef<[u8]>,
    ) -> PathBuf {
        let path = self.path(name);
        write(&path, content.as_ref());
        set_mode(&path, mode);
        path
    }

    /// Compiles a C program; static, so that it runs in any root filesystem.
    pub fn compile(&self, name: &str, source: &str) -> PathBuf {
        let path = self.path(name);
        let code = self.root_file(format!("{name}.c"), 0o644, source);
        let compiler = Command::new("cc")
            .args(["-O1", "-static", "-w", "-o"])
            .arg(&path)
            .arg(code)
            .output();
        let compiler = compiler.expect("a C compiler is needed: cc");
        assert!(compiler.status.success(), "{}", text(&compiler));
        path
    }

    /// A directory that can be a root filesystem: dev, proc, tmp, and a static busybox with its
    /// names in bin. Owned by the caller.
    pub fn busybox_rootfs(&self, name: &str) -> PathBuf {
        let rootfs = self.caller_dir(name);
        for directory in ["dev", "proc", "tmp", "bin", "mnt", "etc"] {
            self.caller_dir(rootfs.join(directory));
        }
        let busybox = rootfs.join("bin/busybox");
        copy(Path::new("/bin/busybox"), &busybox); // the package busybox-static
        let names = Command::new(&busybox)
            .arg("--list")
            .output()
            .unwrap()
            .stdout;
        for name in String::from_utf8(names)
            .unwrap()
            .lines()
            .filter(|name| *name != "busybox")
        {
            fs::hard_link(&busybox, rootfs.join("bin").join(name)).unwrap();
        }
        rootfs
    }

    /// `program`, to be run by the caller on a machine whose mounts differ: in a mount namespace of
    /// its own, after root has run the shell script `setup` there. `$DIR` is this test's directory.
    pub fn on_host(&self, setup: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.with_own_mounts(
            "eval \"$SETUP\"; exec setpriv --reuid $ID --regid $ID --clear-groups -- \"$@\"",
        );
        command.arg(program).env("SETUP", setup);
        command
    }

    /// The shell script, to be run by root in a mount namespace of its own. `$DIR` is this test's
    /// directory, `$ID` the caller's user id.
    pub fn with_own_mounts(&self, script: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command.args(["/bin/sh", "-euc", script, "sh"]);
        command
            .env("DIR", &self.dir)
            .env("ID", self.uid.to_string())
            .env_remove("RUST_BACKTRACE");
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Every process of the two callers', but zombies: these have ended, and who should collect them may
    /// be slow.
    pub fn processes(&self) -> Vec<u32> {
        self.with_status(|status| !status.contains(ZOMBIE))
    }

    /// Every process of the two callers' whose /proc/PID/status is so.
    fn with_status(&self, is_so: impl Fn(&str) -> bool) -> Vec<u32> {
        let real = [self.uid, self.other_uid()].map(|uid| format!("\nUid:\t{uid}\t"));
        let is_wanted = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            real.iter().any(|real| status.contains(real)) && is_so(&status)
        };
        let pids = fs::read_dir("/proc").unwrap().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(is_wanted)
            .collect()
    }

    /// Collects what has ended of the callers' and was left to this process, if that is a subreaper. An
    /// instance ends only when who has entered it is collected, and the machine's pid 1 may be slow.
    pub fn reap(&self) {
        let parent = format!("\nPPid:\t{}\n", std::process::id());
        for pid in self.with_status(|status| status.contains(&parent) && status.contains(ZOMBIE)) {
            let _ = waitpid(Pid::from_raw(pid.cast_signed()), None);
        }
    }

    /// Fails unless the caller has no process any more, within some seconds.
    pub fn assert_nothing_runs(&self) {
        assert_eq!(self.still_running(), [], "left running");
    }

    /// What the caller still has after some seconds.
    fn still_running(&self) -> Vec<u32> {
        let deadline = Instant::now() + PATIENCE;
        while !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.processes()
    }
}

impl Drop for Host {
    /// Cleans up first, and complains afterwards.
    fn drop(&mut self) {
        let is_failing = std::thread::panicking();
        let running = if is_failing {
            Vec::new()
        } else {
            self.still_running()
        };
        for pid in self.processes() {
            let pid = Pid::from_raw(pid.cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let removed = fs::remove_dir_all(&self.dir);
        if !is_failing {
            assert_eq!(running, [], "left running");
            assert_eq!(mounts(), self.mounts, "the host's mount table has changed");
            removed.unwrap();
        }
    }
}

/// The program under test: the one that cargo built for it, or the one to be released.
fn binary() -> PathBuf {
    std::env::var_os("SELFDOCK_BINARY").map_or(env!("CARGO_BIN_EXE_selfdock").into(), PathBuf::from)
}

/// Is its C library glibc? Of another one the start and the memory are made of other system calls.
pub fn has_glibc() -> bool {
    static IS_SO: OnceLock<bool> = OnceLock::new();
    *IS_SO.get_or_init(|| {
        let program = fs::read(binary()).unwrap();
        let mark = b"GNU C Library";
        program.windows(mark.len()).any(|part| part == mark)
    })
}

/// Copies a file that is to be executed.
///
/// By another process: were it open for writing here, a test that forks at that moment would hold
/// it open until its exec, and executing it would be ETXTBSY.
pub fn copy(source: &Path, target: &Path) {
    let copied = Command::new("cp")
        .arg("--")
        .arg(source)
        .arg(target)
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", text(&copied));
}

/// Writes a file that is perhaps to be executed: see `copy`.
fn write(path: &Path, content: &[u8]) {
    let mut writer = Command::new("/bin/sh")
        .args(["-c", "cat > \"$1\"", "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(content).unwrap();
    assert!(
        writer.wait().unwrap().success(),
        "cannot write {}",
        path.display()
    );
}

/// How often to try what depends on luck: `SELFDOCK_TEST_STARTS` times, or as often as usual.
pub fn starts(usual: usize) -> usize {
    let starts = std::env::var("SELFDOCK_TEST_STARTS").ok();
    let number = |starts: String| starts.parse().expect("SELFDOCK_TEST_STARTS is a number");
    starts.map_or(usual, number)
}

/// The mount table of this process.
pub fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// A new pseudoterminal: its other side, and the terminal. Close-on-exec from the start, or what
/// another test starts at that moment would have it.
pub fn new_terminal() -> (OwnedFd, OwnedFd) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let other_side = posix_openpt(flags).unwrap();
    grantpt(&other_side).unwrap();
    unlockpt(&other_side).unwrap();
    let name = ptsname_r(&other_side).unwrap();
    let terminal = fs::File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(name);
    (other_side.into(), terminal.unwrap().into())
}

/// Sets permissions, whatever the umask.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Both outputs and the status, for messages.
pub fn text(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{}\n--- out\n{out}--- err\n{err}", output.status)
}

/// Standard output, if the command exited with 0 and said nothing on standard error.
#[track_caller]
pub fn out(output: &Output) -> &str {
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        text(output)
    );
    std::str::from_utf8(&output.stdout).unwrap()
}

/// Fails unless selfdock itself refused, with exactly this message (which may have a second line,
/// the hint), and nothing else came out.
#[track_caller]
pub fn assert_refused(output: &Output, message: &str) {
    assert_eq!(output.status.code(), Some(CANNOT), "{}", text(output));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!("selfdock: {message}\n")
    );
    assert!(output.stdout.is_empty(), "{}", text(output));
}

/// Fails unless the status is this one: a number, or the negative of a signal's.
#[track_caller]
pub fn assert_ended(output: &Output, expected: i32) {
    let ended = output
        .status
        .code()
        .or(output.status.signal().map(|signal| -signal));
    assert_eq!(ended, Some(expected), "{}", text(output));
}

//! The process that starts the command again and again, as an unprivileged user.
//!
//! A process of its own, so that it can give its user id up once, and so spawn at the least cost:
//! posix_spawn(3) cannot change ids, and fork(2) copies more the more the parent has in memory.
//! Several of them can go at the same time: each says when it is ready, and all are let go at once.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Error, Read, Result, Seek};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Gid, Uid, dup2_stdin, setgroups, setresgid, setresuid};

/// What marks the command line of a worker.
const MARK: &str = "--as-worker";

/// The user and group id of whoever starts things here; no passwd file knows it.
#[derive(Clone, Copy)]
pub struct User(pub u32);

/// What a worker is to do, and where.
pub struct Job<'a> {
    /// Who starts the command; root only where nobody else can.
    pub user: User,
    /// How often, after a first time that does not count.
    pub starts: usize,
    /// How many workers do so at the same time.
    pub workers: usize,
    /// How many mounts the host has beside those that it has.
    pub mounts: usize,
    /// Where: on the directories `0`, `1`, ... in this one, or, if it has none, on such of a tmpfs there.
    pub mountpoints: &'a Path,
    /// What to start.
    pub command: &'a [String],
}

/// What it took.
#[derive(Default, Clone, Copy)]
pub struct Taken {
    /// From the first start to the last end.
    pub time: Duration,
    /// Page faults of all that was started, and waited for.
    pub faults: u64,
    /// Bytes that those had the block layer write.
    pub written: u64,
}

/// Has the job done by as many workers as it wants.
pub fn take(job: &Job<'_>) -> super::Result<Taken> {
    let (gate, opener) = std::io::pipe()?;
    let mut workers = Vec::new();
    for _ in 0..job.workers {
        workers.push(spawn(job, gate.try_clone()?.into())?);
    }
    let mut answers = Vec::new();
    for worker in &mut workers {
        let mut answer = BufReader::new(worker.stdout.take().ok_or("no pipe")?);
        answer.read_line(&mut String::new())?;
        answers.push(answer);
    }
    drop(opener);
    let mut taken = Taken::default();
    for (worker, mut answer) in workers.into_iter().zip(answers) {
        let mut numbers = String::new();
        answer.read_to_string(&mut numbers)?;
        let output = worker.wait_with_output()?;
        let numbers: Vec<u64> = numbers
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        let ([nanoseconds, faults, written], true) = (&numbers[..], output.status.success()) else {
            let message = String::from_utf8_lossy(&output.stderr);
            let line = message.lines().next().unwrap_or("no word");
            return Err(line.chars().take(200).collect::<String>().into());
        };
        taken.time = taken.time.max(Duration::from_nanos(*nanoseconds));
        taken.faults += faults;
        taken.written += written;
    }
    Ok(taken)
}

fn spawn(job: &Job<'_>, gate: Stdio) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg(MARK)
        .args([job.user.0 as usize, job.starts, job.mounts].map(|number| number.to_string()))
        .arg(job.mountpoints)
        .args(job.command)
        .current_dir("/")
        .stdin(gate)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .spawn()
}

/// What this process is to do, if it is a worker.
pub struct Work {
    user: User,
    starts: usize,
    mounts: usize,
    mountpoints: PathBuf,
    command: Vec<CString>,
}

/// The work, if this process is a worker.
pub fn work() -> Option<Work> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != MARK {
        return None;
    }
    let mut number = || words.next()?.to_str()?.parse::<usize>().ok();
    let (user, starts, mounts) = (number()?, number()?, number()?);
    let mountpoints = words.next()?.into();
    let command = words
        .map(|word| CString::new(word.into_vec()))
        .collect::<std::result::Result<_, _>>();
    Some(Work {
        user: User(u32::try_from(user).ok()?),
        starts,
        mounts,
        mountpoints,
        command: command.ok()?,
    })
}

/// Does the work, and prints nanoseconds, page faults and bytes written.
pub fn main(work: &Work) -> ExitCode {
    match repeat(work) {
        Ok(taken) => {
            println!(
                "{} {} {}",
                taken.time.as_nanos(),
                taken.faults,
                taken.written
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn repeat(work: &Work) -> Result<Taken> {
    // The harness has them blocked, to clean up after itself; a worker may just die.
    SigSet::all().thread_unblock()?;
    make_mounts(work)?;
    // Whoever has changed ids cannot open it any more.
    let mut io = File::open("/proc/self/io")?;
    become_user(work.user)?;
    start(&work.command)?; // the first one reads files, perhaps from a disk
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    dup2_stdin(File::open("/dev/null")?)?;

    let (faults, bytes) = (faults()?, written(&mut io)?);
    let begin = Instant::now();
    for _ in 0..work.starts {
        start(&work.command)?;
    }
    Ok(Taken {
        time: begin.elapsed(),
        faults: self::faults()? - faults,
        written: written(&mut io)? - bytes,
    })
}

/// A host with more mounts than this one, for this process and what it starts; and what that mounts is
/// not left behind on this one.
fn make_mounts(work: &Work) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let (nothing, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    mount(nothing, "/", nothing, private, nothing)?;
    if work.mounts == 0 {
        return Ok(());
    }
    let tmpfs = |place: &Path| {
        let kind = Some("tmpfs");
        mount(kind, place, kind, MsFlags::empty(), nothing)
    };
    let place = |number: usize| work.mountpoints.join(number.to_string());
    if !place(0).exists() {
        tmpfs(&work.mountpoints)?;
        (0..work.mounts).try_for_each(|number| fs::create_dir(place(number)))?;
    }
    tmpfs(&place(0))?;
    for number in 1..work.mounts {
        let bind = MsFlags::MS_BIND;
        mount(Some(&place(0)), &place(number), nothing, bind, nothing)?;
    }
    Ok(())
}

fn become_user(User(id): User) -> Result<()> {
    setgroups(&[])?;
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    setresgid(group, group, group)?;
    Ok(setresuid(user, user, user)?)
}

/// Of the children that have been waited for, and of theirs.
fn faults() -> Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.minor_page_faults() + usage.major_page_faults()).cast_unsigned())
}

/// Of this process and of the children that have been waited for.
fn written(io: &mut File) -> Result<u64> {
    let mut text = String::new();
    io.rewind()?;
    io.read_to_string(&mut text)?;
    let bytes = text
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    bytes
        .and_then(|bytes| bytes.parse().ok())
        .ok_or(Error::other("/proc/self/io names no write_bytes"))
}

fn start(command: &[CString]) -> Result<()> {
    let program = command.first().ok_or(Error::other("no command"))?;
    let environment = [c"PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
    let actions = PosixSpawnFileActions::init()?;
    let attributes = PosixSpawnAttr::init()?;
    let child = posix_spawn(
        program.as_c_str(),
        &actions,
        &attributes,
        command,
        &environment,
    )?;
    match waitpid(child, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        ending => Err(Error::other(format!("ended with {ending:?}"))),
    }
}

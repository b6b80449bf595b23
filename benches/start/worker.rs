//! The process that starts the command again and again, as an unprivileged user.
//!
//! A process of its own, so that it can give its user id up once, and so spawn at the least cost:
//! posix_spawn(3) cannot change ids, and fork(2) copies more the more the parent has in memory.

use std::ffi::CString;
use std::io::{Error, Result};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::signal::SigSet;
use nix::sys::wait::{WaitStatus, waitpid};

/// What marks the command line of a worker.
const MARK: &str = "--as-worker";

/// The user and group id of whoever starts things here; no passwd file knows it.
#[derive(Clone, Copy)]
pub struct User(pub u32);

/// What a worker is to do.
pub struct Job {
    starts: usize,
    command: Vec<CString>,
}

/// Has `command` started so often by `user`, one after the other, and tells how long that took.
pub fn time(user: User, command: &[String], starts: usize) -> super::Result<Duration> {
    let output = Command::new(std::env::current_exe()?)
        .args([MARK, &starts.to_string()])
        .args(command)
        .uid(user.0)
        .gid(user.0)
        .current_dir("/")
        .stdin(std::process::Stdio::null())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()?;
    let nanoseconds = String::from_utf8_lossy(&output.stdout).trim().parse();
    match nanoseconds {
        Ok(nanoseconds) if output.status.success() => Ok(Duration::from_nanos(nanoseconds)),
        _ => {
            let message = String::from_utf8_lossy(&output.stderr);
            Err(format!("{}: {}", command.join(" "), message.trim_end()).into())
        }
    }
}

/// The job, if this process is a worker.
pub fn job() -> Option<Job> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != MARK {
        return None;
    }
    let starts = words.next()?.to_str()?.parse().ok()?;
    let command = words
        .map(|word| CString::new(word.into_vec()))
        .collect::<std::result::Result<_, _>>();
    Some(Job {
        starts,
        command: command.ok()?,
    })
}

/// Does the job, and prints how many nanoseconds it took.
pub fn main(job: &Job) -> ExitCode {
    match repeat(job) {
        Ok(time) => {
            println!("{}", time.as_nanos());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn repeat(job: &Job) -> Result<Duration> {
    // The harness has them blocked, to clean up after itself; a worker may just die.
    SigSet::all().thread_unblock()?;
    start(&job.command)?; // the first one reads files, perhaps from a disk
    let begin = Instant::now();
    for _ in 0..job.starts {
        start(&job.command)?;
    }
    Ok(begin.elapsed())
}

fn start(command: &[CString]) -> Result<()> {
    let program = command.first().ok_or(Error::other("no command"))?;
    let environment = [c"PATH=/usr/bin:/bin"];
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

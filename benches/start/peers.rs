//! Who else does something like it, asked for about the same: a read-only root, own /dev, /proc and
//! /tmp, and a pid namespace.
//!
//! firejail cannot do with less than it does, unshare does far less; runc and podman get a root
//! filesystem of one program. Whoever is not installed, or does not work here, is left out with a word.

use std::env;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::cases::Case;
use crate::stage::Stage;
use crate::worker::User;

const BWRAP: [&str; 10] = [
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
    "--proc",
    "/proc",
    "--tmpfs",
    "/tmp",
    "--unshare-pid",
];
const UNSHARE: [&str; 6] = [
    "--user",
    "--map-root-user",
    "--mount",
    "--pid",
    "--fork",
    "--mount-proc",
];

/// Each with the name that the table calls it by.
pub fn all(stage: &Stage) -> Result<Vec<(&'static str, Result<Case>)>> {
    Ok(vec![
        ("bwrap", bwrap()),
        ("bwrap setuid", bwrap_setuid(stage)),
        ("unshare", program("unshare", "unshare", &UNSHARE)),
        ("firejail", firejail()),
        ("runc", runc(stage)),
        ("podman", podman(stage)),
        ("selfdock in C", in_c(stage)),
    ])
}

fn program(name: &str, file: &str, words: &[&str]) -> Result<Case> {
    let path = find(file)?;
    Ok(Case::new(name, &[&[path.as_str()], words].concat()))
}

fn bwrap() -> Result<Case> {
    program("bwrap", "bwrap", &BWRAP)
}

/// As some distributions install it.
fn bwrap_setuid(stage: &Stage) -> Result<Case> {
    let copy = stage.install("bwrap", Path::new(&find("bwrap")?))?;
    Ok(Case::new(
        "bwrap setuid",
        &[&[copy.as_str()], &BWRAP[..]].concat(),
    ))
}

/// By root: it wants a user who may log in.
fn firejail() -> Result<Case> {
    let case = program("firejail", "firejail", &["--quiet", "--noprofile"])?;
    Ok(Case {
        user: Some(User(0)),
        ..case.weighing(10)
    })
}

/// By the user themselves, in a user namespace.
fn runc(stage: &Stage) -> Result<Case> {
    let runc = find("runc")?;
    let state = stage.user_dir("runc")?;
    let bundle = stage.dir("bundle")?;
    let user = stage.user().0.to_string();
    let configuration = RUNC.replace("ROOT", &rootfs(stage)?).replace("USER", &user);
    fs::write(Path::new(&bundle).join("config.json"), configuration)?;
    let mut case = Case::new(
        "runc",
        &[&runc, "--root", &state, "run", "--bundle", &bundle, "bench"],
    );
    // The command is in the configuration.
    case.command.pop();
    Ok(case.weighing(15))
}

/// By root: a user whom no passwd file knows has no images, nor a home to keep them in.
fn podman(stage: &Stage) -> Result<Case> {
    let podman = find("podman")?;
    let (root, run) = (stage.dir("podman")?, stage.dir("podman-run")?);
    let rootfs = rootfs(stage)?;
    let words = [
        &podman,
        "--root",
        &root,
        "--runroot",
        &run,
        "--tmpdir",
        &run,
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
        "--events-backend",
        "none",
        "run",
        "--rm",
        "--read-only",
        "--network",
        "none",
        "--rootfs",
        &rootfs,
    ];
    let case = Case::new("podman", &words.map(AsRef::as_ref));
    Ok(Case {
        user: Some(User(0)),
        ..case.weighing(100)
    })
}

/// The program that this one has taken the place of, if `SELFDOCK_C` names it.
fn in_c(stage: &Stage) -> Result<Case> {
    let built = env::var_os("SELFDOCK_C").ok_or("SELFDOCK_C does not name it")?;
    let program = stage.install("selfdock-c", Path::new(&built))?;
    Ok(Case::new("selfdock in C", &[&program, "run"]))
}

/// A root filesystem of one static program, which is `true` there.
fn rootfs(stage: &Stage) -> Result<String> {
    let path = stage.dir("rootfs")?;
    for directory in ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "var"] {
        stage.dir(&format!("rootfs/{directory}"))?;
    }
    let busybox = find("busybox")?;
    fs::copy(&busybox, Path::new(&path).join("bin/true"))
        .map_err(|error| format!("{busybox}: {error}"))?;
    Ok(path)
}

fn find(name: &str) -> Result<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file());
    Ok(found.ok_or("not installed")?.display().to_string())
}

const RUNC: &str = r#"{
  "ociVersion": "1.0.2",
  "process": {
    "user": {"uid": 0, "gid": 0},
    "args": ["/bin/true"],
    "env": ["PATH=/bin"],
    "cwd": "/",
    "noNewPrivileges": true
  },
  "root": {"path": "ROOT", "readonly": true},
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "nodev", "mode=1777"]},
    {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]}
  ],
  "linux": {
    "uidMappings": [{"containerID": 0, "hostID": USER, "size": 1}],
    "gidMappings": [{"containerID": 0, "hostID": USER, "size": 1}],
    "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "user"}]
  }
}
"#;

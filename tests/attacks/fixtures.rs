//! What is attacked, and with what: made by root, once for each group.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::host::fixtures::{HIDE, LOOKALIKE, RIGHTS, TRY_EVERYTHING, WATCH, fake_etc};
use crate::host::{Host, copy, set_mode, text};

/// The names of busybox that the scripts use: the same tools everywhere, whatever root there is.
const NAMES: &str = "awk busybox cat chmod chroot cp cut date dd echo env false find grep head id \
    kill ln ls mkdir mkfifo mknod mount mv nsenter od printf ps readlink rm rmdir sed seq sh sleep \
    sort stat su tail test timeout touch tr true umount unshare uniq wc xargs";

/// Programs, their sources, and what the compiler is told.
const PROGRAMS: [(&str, &str, &[&str]); 9] = [
    ("tool", include_str!("tool.c"), &["-static"]),
    ("fuse", include_str!("fuse.c"), &["-static"]),
    (
        "loader",
        include_str!("loader.c"),
        &["-static", "-nostartfiles"],
    ),
    ("dynamic", RIGHTS, &[]),
    ("rights", RIGHTS, &["-static"]),
    ("try", TRY_EVERYTHING, &["-static"]),
    ("hide", HIDE, &["-static"]),
    ("lookalike", LOOKALIKE, &["-static"]),
    ("watch", WATCH, &["-static"]),
];

/// Each program, compiled once for all groups.
fn programs() -> &'static Vec<Vec<u8>> {
    static PROGRAMS_BUILT: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    PROGRAMS_BUILT.get_or_init(|| {
        let host = Host::new();
        let build = |(name, source, options): &(&str, &str, &[&str])| {
            let (code, program) = (
                host.root_file(format!("{name}.c"), 0o644, source),
                host.path(name),
            );
            let mut compiler = Command::new("cc");
            compiler.args(["-O1", "-w"]).args(*options);
            let compiled = compiler.arg("-o").arg(&program).arg(code).output();
            let compiled = compiled.expect("a C compiler is needed: cc");
            assert!(compiled.status.success(), "{}", text(&compiled));
            fs::read(program).unwrap()
        };
        PROGRAMS.iter().map(build).collect()
    })
}

/// The name of the dynamic loader: where a dynamic program says that it is.
fn loader_name(program: &[u8]) -> String {
    let mut words = program.split(|byte| *byte == 0);
    let word =
        words.find(|word| word.starts_with(b"/") && word.windows(4).any(|part| part == b"/ld-"));
    String::from_utf8(word.expect("a dynamic program").to_vec()).unwrap()
}

/// Makes all of them: `f` in the test's directory is `$FIX`.
pub fn lay_out(host: &Host) {
    host.root_dir("f", 0o755);
    host.root_dir("f/scratch", 0o1777);
    tools(host);
    weapons(host);
    closed_places(host);
    covered_places(host);
    roots(host);
    hostile(host);
    host.caller_dir("f/source");
    host.caller_file("f/source/file", 0o644, "content\n");
    for name in ["f/mnt", "f/served", "f/flags"] {
        host.root_dir(name, 0o755);
    }
    for name in ["nosuid", "nodev", "noexec", "ro", "none"] {
        host.root_dir(format!("f/flags/{name}"), 0o755);
    }
    host.root_file("f/place", 0o644, "");
    host.root_file("f/marker", 0o644, "marker\n");
}

fn tools(host: &Host) {
    host.root_dir("f/tools", 0o755);
    let busybox = host.path("f/tools/busybox");
    copy(Path::new("/bin/busybox"), &busybox); // the package busybox-static
    for name in NAMES.split_whitespace().filter(|name| *name != "busybox") {
        fs::hard_link(&busybox, host.path("f/tools").join(name)).unwrap();
    }
    for ((name, ..), program) in PROGRAMS.iter().zip(programs()) {
        host.root_file(format!("f/tools/{name}"), 0o755, program);
    }
}

/// Programs that are root for whoever executes them, where nothing forbids it.
fn weapons(host: &Host) {
    host.root_dir("f/weapons", 0o755);
    for (name, from, mode) in [
        ("setuid", "rights", 0o4755),
        ("setgid", "rights", 0o2755),
        ("filecaps", "rights", 0o755),
        ("dynamic", "dynamic", 0o4755),
        ("su", "busybox", 0o4755),
    ] {
        let weapon = host.path("f/weapons").join(name);
        copy(&host.path("f/tools").join(from), &weapon);
        set_mode(&weapon, mode);
    }
    let mut setcap = Command::new("setcap");
    setcap.arg("cap_dac_override,cap_sys_admin+ep");
    let setcap = setcap.arg(host.path("f/weapons/filecaps")).output();
    let setcap = setcap.expect("setcap is needed: libcap2-bin");
    assert!(setcap.status.success(), "{}", text(&setcap));
    let (zero, mode) = (makedev(1, 5), Mode::from_bits_truncate(0o666));
    let node = host.path("f/weapons/zero");
    mknod(&node, SFlag::S_IFCHR, mode, zero).unwrap();
    set_mode(&node, 0o666);
}

/// A directory that is closed to the callers, one that they may pass through, and links to both.
fn closed_places(host: &Host) {
    host.root_dir("f/vault", 0o700);
    host.root_dir("f/vault/open", 0o755);
    host.root_file("f/vault/open/marker", 0o644, "hunter2\n");
    host.root_file("f/vault/file", 0o644, "");
    host.root_file("f/vault/suid", 0o4755, "");
    symlink("/", host.path("f/vault/link")).unwrap();
    host.root_dir("f/hall", 0o711);
    host.root_dir("f/hall/room", 0o755);
    host.root_file("f/hall/room/marker", 0o644, "come in\n");
    host.caller_dir("f/home");
    symlink("../vault/open", host.path("f/home/vault")).unwrap();
    symlink("../hall/room", host.path("f/home/hall")).unwrap();
    symlink("/proc/self/cwd", host.path("f/home/magic")).unwrap();
}

/// Directories and files with bait, for root to cover: names that a mount table escapes among them.
fn covered_places(host: &Host) {
    host.root_dir("f/beneath", 0o755);
    for name in ["roots", "a blank", "a\nline"] {
        host.root_dir(Path::new("f/beneath").join(name), 0o755);
        host.root_file(
            Path::new("f/beneath").join(name).join("bait"),
            0o644,
            "bait\n",
        );
    }
    host.caller_dir("f/beneath/own");
    host.caller_file("f/beneath/own/bait", 0o644, "bait\n");
    host.root_file("f/beneath/file", 0o644, "bait\n");
    host.root_file("f/beneath/other", 0o644, "other\n");
}

/// Root filesystems: one that works, with links of every direction; and some that cannot be one.
fn roots(host: &Host) {
    let os = host.busybox_rootfs("f/os");
    for name in ["srv", "run", "beneath"] {
        host.caller_dir(os.join(name));
    }
    host.caller_file("f/os/beneath/bait", 0o644, "bait\n");
    for (name, destination) in [
        ("link", "/srv"),
        ("up", "../../../../../../srv"),
        ("top", "/"),
        ("loop", "/loop"),
        ("gone", "/missing"),
    ] {
        symlink(destination, os.join(name)).unwrap();
    }
    for name in ["setuid", "filecaps", "zero"] {
        let arguments = [host.path("f/weapons").join(name), os.join("bin").join(name)];
        let copied = Command::new("cp").arg("-a").args(arguments).status();
        assert!(copied.unwrap().success());
    }
    host.caller_dir("f/empty");
    for (name, own, destination) in [
        ("dev-above", "dev", "/"),
        ("proc-above", "proc", ".."),
        ("tmp-above", "tmp", "../../.."),
        ("tmp-magic", "tmp", "/proc/self/cwd"),
        ("dev-gone", "dev", "/missing"),
    ] {
        let root = host.caller_dir(Path::new("f").join(name));
        for each in ["dev", "proc", "tmp"] {
            match each == own {
                true => symlink(destination, root.join(each)).unwrap(),
                false => drop(host.caller_dir(root.join(each))),
            }
        }
    }
    fake_etc(host, "f/etc");
    host.caller_dir("f/fakeproc");
    host.caller_dir("f/fakeproc/self");
    host.caller_file("f/fakeproc/self/mountinfo", 0o644, "");
}

/// A root filesystem as its owner would make it who means harm.
fn hostile(host: &Host) {
    let root = host.busybox_rootfs("hostile");
    fs::remove_dir(root.join("etc")).unwrap();
    fake_etc(host, "hostile/etc");
    host.caller_file("hostile/etc/ld.so.preload", 0o644, "/evil.so\n");
    host.caller_file(
        "hostile/etc/sudoers",
        0o644,
        "ALL ALL=(ALL) NOPASSWD: ALL\n",
    );
    host.caller_file("hostile/evil.so", 0o755, "not even one");
    // The loader of every dynamic program, and a library that none will load.
    let loader = root.join(loader_name(&programs()[3]).trim_start_matches('/'));
    fs::create_dir_all(loader.parent().unwrap()).unwrap();
    copy(&host.path("f/tools/loader"), &loader);
    fs::write(loader.with_file_name("libc.so.6"), "shaped").unwrap();
    // Beneath what selfdock mounts.
    host.caller_dir("hostile/proc/self");
    host.caller_file("hostile/proc/self/mountinfo", 0o644, "");
    symlink("/fake", root.join("proc/self/exe")).unwrap();
    host.caller_file("hostile/dev/null", 0o666, "");
    symlink("/etc/passwd", root.join("dev/zero")).unwrap();
    symlink("/fake", root.join("dev/selfdock")).unwrap();
    // Who calls selfdock by its own path calls this, once it is there: as long as a regular file
    // is found at that path, selfdock's own goes there.
    host.caller_file("hostile/fake", 0o755, "#!/bin/sh\necho fake\n");
    let own = root.join(host.program().strip_prefix("/").unwrap());
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    symlink("/tmp/selfdock", own).unwrap();
    fs::create_dir_all(root.join(host.path("f").strip_prefix("/").unwrap())).unwrap();
    fs::create_dir_all(root.join("sys")).unwrap();
    give_all(host, &root);
}

/// All of it is the caller's, but no device and no set-user-id program is in it.
fn give_all(host: &Host, path: &Path) {
    let stat = fs::symlink_metadata(path).unwrap();
    assert_eq!(stat.permissions().mode() & 0o6000, 0, "{}", path.display());
    if stat.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_all(host, &entry.unwrap().path());
        }
    }
    if !stat.is_symlink() {
        chown(path, Some(host.uid()), Some(host.uid())).unwrap();
    }
}

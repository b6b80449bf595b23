//! install.sh: what it installs, what it refuses, and that it takes everything away again.

mod host;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use host::{Host, assert_ended, out, set_mode, text};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh");

/// install.sh as root, with the words of `line`; `$DIR` is this test's directory. It installs into
/// its `usr`, and the file to install is the fixture's own copy.
fn install(host: &Host, line: &str) -> Output {
    let prefix = host.path("usr");
    installer(host, line)
        .env("PREFIX", prefix)
        .output()
        .unwrap()
}

fn installer(host: &Host, line: &str) -> Command {
    let dir = host.path("");
    let dir = dir.to_str().unwrap().trim_end_matches('/');
    let mut command = Command::new(SCRIPT);
    command.args(
        line.split_whitespace()
            .map(|word| word.replace("$DIR", dir)),
    );
    command
        .env_remove("DESTDIR")
        .env_remove("PREFIX")
        .current_dir("/");
    command
}

/// Every path below `dir`, with its mode.
fn tree(dir: &Path) -> BTreeMap<String, u32> {
    let find = Command::new("find")
        .arg(dir)
        .args(["-printf", "%P %m\n"])
        .output()
        .unwrap();
    let lines = out(&find)
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap());
    lines
        .map(|(path, mode)| (path.to_owned(), u32::from_str_radix(mode, 8).unwrap()))
        .collect()
}

#[track_caller]
fn assert_install_refused(run: &Output, message: &str) {
    assert_ended(run, 1);
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(said, format!("install.sh: {message}\n"));
}

#[test]
fn it_is_installed_set_user_id_root_and_proves_that_it_works() {
    let host = Host::new();
    let run = install(&host, "--binary $DIR/bin/selfdock");
    let program = host.path("usr/bin/selfdock");
    assert_eq!(
        out(&run),
        format!(
            "install.sh: installed {}\n\
             install.sh: it works: user 65534 ran selfdock run sh -c 'echo $$ $(id -u)' and got \"1 65534\"\n",
            program.display()
        )
    );
    let stat = fs::metadata(&program).unwrap();
    assert_eq!((stat.mode(), stat.uid(), stat.gid()), (0o104_755, 0, 0));
    let run = host
        .as_caller(&program)
        .args(["run", "sh", "-c", "echo $$"])
        .output()
        .unwrap();
    assert_eq!(out(&run), "1\n");
}

#[test]
fn what_the_build_rendered_is_installed_and_what_it_did_not_is_not_missed() {
    let host = Host::new();
    host.root_dir("bin/assets", 0o755);
    host.root_file("bin/assets/selfdock.1", 0o600, "man page");
    host.root_file("bin/assets/_selfdock", 0o644, "zsh");
    host.root_file("bin/assets/selfdock.fish", 0o644, "fish");
    out(&install(&host, "--no-proof --binary $DIR/bin/selfdock"));
    let files: Vec<_> = tree(&host.path("usr"))
        .into_iter()
        .filter(|(path, _)| host.path("usr").join(path).is_file())
        .collect();
    let expected = [
        ("bin/selfdock", 0o4755),
        ("share/fish/vendor_completions.d/selfdock.fish", 0o644),
        ("share/man/man1/selfdock.1", 0o644),
        ("share/selfdock/manifest", 0o644),
        ("share/zsh/site-functions/_selfdock", 0o644),
    ];
    assert_eq!(files, expected.map(|(path, mode)| (path.to_owned(), mode)));

    // A later build that renders all of it adds to what will be removed.
    host.root_file("bin/assets/selfdock.bash", 0o644, "bash");
    out(&install(&host, "--no-proof --binary $DIR/bin/selfdock"));
    let bash = host.path("usr/share/bash-completion/completions/selfdock");
    assert_eq!(fs::read_to_string(bash).unwrap(), "bash");
    out(&install(&host, "--uninstall"));
    assert!(!host.path("usr").exists());
}

#[test]
fn uninstalling_leaves_everything_else_and_nothing_of_its_own() {
    let host = Host::new();
    host.root_dir("bin/assets", 0o755);
    host.root_file("bin/assets/selfdock.1", 0o644, "man page");
    host.root_dir("usr", 0o755);
    host.root_dir("usr/bin", 0o755);
    host.root_dir("usr/share", 0o755);
    let before = tree(&host.path("usr"));
    out(&install(&host, "--no-proof --binary $DIR/bin/selfdock"));
    fs::hard_link(host.path("usr/bin/selfdock"), host.path("link")).unwrap();
    out(&install(&host, "--uninstall"));
    assert_eq!(tree(&host.path("usr")), before);
    assert_eq!(fs::metadata(host.path("link")).unwrap().mode() & 0o7777, 0);

    // A directory that others have come to use meanwhile stays as well, and is named.
    out(&install(&host, "--no-proof --binary $DIR/bin/selfdock"));
    let other = host.root_file("usr/share/man/man1/other.1", 0o644, "");
    let run = install(&host, "--uninstall");
    assert!(
        out(&run).contains("share/man/man1: it is not empty\n"),
        "{}",
        text(&run)
    );
    assert!(other.exists());
    assert_install_refused(
        &install(&host, "--uninstall"),
        &format!(
            "nothing to remove: there is no {}",
            host.path("usr/share/selfdock/manifest").display()
        ),
    );
}

#[test]
fn with_a_group_only_its_members_can_start_it() {
    let host = Host::new();
    let group = host.uid();
    let run = install(
        &host,
        &format!("--group {group} --binary $DIR/bin/selfdock"),
    );
    assert!(out(&run).contains("it works: user 65534"), "{}", text(&run));
    let program = host.path("usr/bin/selfdock");
    let stat = fs::metadata(&program).unwrap();
    assert_eq!((stat.mode(), stat.uid(), stat.gid()), (0o104_750, 0, group));
    out(&host
        .as_caller(&program)
        .args(["run", "true"])
        .output()
        .unwrap());
    let mut stranger = host.as_caller(&program);
    std::os::unix::process::CommandExt::gid(&mut stranger, group + 1);
    let refused = stranger.args(["run", "true"]).output().unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
}

/// What getcap(8) has to say of a file.
fn capabilities(path: &Path) -> String {
    let run = Command::new("getcap").arg(path).output().unwrap();
    out(&run)
        .replace(&path.display().to_string(), "")
        .trim()
        .to_owned()
}

/// Three of them, permitted and not effective, whatever the order in which they are told.
fn assert_has_capabilities(path: &Path) {
    let found = capabilities(path);
    let (names, flags) = found.rsplit_once(['=', '+']).unwrap();
    let mut names: Vec<_> = names.trim_end_matches([' ', '=']).split(',').collect();
    names.sort_unstable();
    let expected = ["cap_setpcap", "cap_sys_admin", "cap_sys_chroot"];
    assert_eq!((names.as_slice(), flags), (&expected[..], "p"), "{found}");
}

#[test]
fn with_file_capabilities_it_is_not_set_user_id_and_works() {
    let host = Host::new();
    let line = "--file-capabilities --binary $DIR/bin/selfdock";
    let run = install(&host, line);
    assert!(out(&run).contains("it works: user 65534"), "{}", text(&run));
    let program = host.path("usr/bin/selfdock");
    let stat = fs::metadata(&program).unwrap();
    assert_eq!((stat.mode(), stat.uid(), stat.gid()), (0o100_755, 0, 0));
    assert_has_capabilities(&program);
    let mut nested = host.as_caller(&program);
    nested.arg("run").arg(&program);
    let run = nested
        .args(["run", "sh", "-c", "echo $$"])
        .output()
        .unwrap();
    assert_eq!(out(&run), "1\n");

    let group = host.uid();
    out(&install(&host, &format!("{line} --group {group}")));
    let stat = fs::metadata(&program).unwrap();
    assert_eq!((stat.mode(), stat.gid()), (0o100_750, group));
    assert_has_capabilities(&program);
}

/// Attack: as below, with a program that is replaced by one of the other kind.
#[test]
fn what_it_replaces_or_removes_has_no_capabilities_left() {
    let host = Host::new();
    let capable = "--file-capabilities --no-proof --binary $DIR/bin/selfdock";
    let plain = "--no-proof --binary $DIR/bin/selfdock";
    for (number, (old, new)) in [(capable, plain), (capable, capable), (plain, capable)]
        .iter()
        .chain(&[(capable, "--uninstall")])
        .enumerate()
    {
        out(&install(&host, old));
        let (program, link) = (
            host.path("usr/bin/selfdock"),
            host.path(format!("link{number}")),
        );
        fs::hard_link(&program, &link).unwrap();
        // Were the link without effect before, the rest would prove nothing.
        out(&host
            .as_caller(&link)
            .args(["run", "true"])
            .output()
            .unwrap());
        out(&install(&host, new));
        assert_eq!(capabilities(&link), "", "{old} {new}");
        let stat = fs::metadata(&link).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.uid()), (0, 0), "{old} {new}");
        if *new == plain {
            assert_eq!(capabilities(&program), "");
        }
    }
}

#[test]
fn without_setcap_it_says_where_that_is() {
    let host = Host::new();
    let mut command = host.with_own_mounts(
        "mount -t tmpfs selfdock-test /usr/sbin; exec \"$1\" --file-capabilities --binary \"$2\"",
    );
    command.args([Path::new(SCRIPT), &host.program()]);
    command
        .env("PREFIX", host.path("usr"))
        .env_remove("DESTDIR");
    command.env("PATH", "/usr/bin:/bin");
    assert_install_refused(
        &command.output().unwrap(),
        "setcap is needed for --file-capabilities, and is not here: in Debian it is in libcap2-bin",
    );
    assert!(!host.path("usr").exists());
}

/// Attack: a hard link keeps a vulnerable program alive after its upgrade.
#[test]
fn a_replaced_program_is_of_no_use_to_who_holds_a_link_to_it() {
    let host = Host::new();
    out(&install(&host, "--no-proof --binary $DIR/bin/selfdock"));
    let link = host.path("link");
    fs::hard_link(host.path("usr/bin/selfdock"), &link).unwrap();
    // Were the link without effect before, the rest would prove nothing.
    out(&host
        .as_caller(&link)
        .args(["run", "true"])
        .output()
        .unwrap());
    out(&install(&host, "--binary $DIR/bin/selfdock"));
    assert_eq!(fs::metadata(&link).unwrap().mode() & 0o7777, 0);
    assert_ne!(
        fs::metadata(&link).unwrap().ino(),
        fs::metadata(host.path("usr/bin/selfdock")).unwrap().ino()
    );
}

#[test]
fn a_link_in_its_place_is_replaced_and_what_it_leads_to_is_left() {
    let host = Host::new();
    host.root_dir("usr", 0o755);
    host.root_dir("usr/bin", 0o755);
    let other = host.root_file("other", 0o755, "");
    std::os::unix::fs::symlink(&other, host.path("usr/bin/selfdock")).unwrap();
    out(&install(&host, "--binary $DIR/bin/selfdock"));
    assert!(
        host.path("usr/bin/selfdock")
            .symlink_metadata()
            .unwrap()
            .is_file()
    );
    assert_eq!(fs::metadata(&other).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_filesystem_where_the_bit_has_no_effect_is_refused() {
    let host = Host::new();
    let usr = host.root_dir("usr", 0o755);
    for (option, way, message) in [
        (
            "nosuid",
            "--no-proof",
            "nosuid: the set-user-id bit has no effect there",
        ),
        (
            "nosuid",
            "--file-capabilities",
            "nosuid: file capabilities have no effect there",
        ),
        ("noexec", "--no-proof", "noexec: nothing can be run there"),
    ] {
        let script = format!(
            "mount -t tmpfs -o mode=755,{option} selfdock-test \"$PREFIX\"
            ended=0
            \"$1\" {way} --binary \"$2\" || ended=$?
            find \"$PREFIX\" -mindepth 1
            exit $ended"
        );
        let mut command = host.with_own_mounts(&script);
        command
            .args([Path::new(SCRIPT), &host.program()])
            .env("PREFIX", &usr)
            .env_remove("DESTDIR");
        let run = command.output().unwrap();
        assert_install_refused(
            &run,
            &format!(
                "{}/bin is on a filesystem that is mounted {message}",
                usr.display()
            ),
        );
        assert!(run.stdout.is_empty(), "something was left: {}", text(&run));
    }
}

/// Attack: a loader obeys files and variables of its caller's, and would do so as root.
#[test]
fn a_program_that_needs_a_loader_is_refused() {
    let host = Host::new();
    let refused = |message: &str| {
        let run = install(&host, "--binary $DIR/program");
        assert_install_refused(
            &run,
            &format!("{} {message}", host.path("program").display()),
        );
        assert!(!host.path("usr").exists());
    };
    let code = host.root_file("program.c", 0o644, "int main(void) { return 0; }");
    let mut compiler = Command::new("cc");
    out(&compiler
        .arg("-o")
        .arg(host.path("program"))
        .arg(code)
        .output()
        .unwrap());
    refused("is not statically linked: a set-user-id program must not have a loader");
    host.compile("program2", "int main(void) { return 0; }");
    fs::rename(host.path("program2"), host.path("program")).unwrap();
    refused("is not selfdock: --version does not say so");
    let whole = fs::read(host.program()).unwrap();
    fs::write(host.path("program"), &whole[..100]).unwrap();
    refused("is not a complete ELF program");
    fs::write(host.path("program"), "#!/bin/sh\necho selfdock 1\n").unwrap();
    refused("is not an ELF program");
}

/// Attack: who may write to a directory on the way can exchange the program, or what root is about
/// to make set-user-id.
#[test]
fn a_directory_on_the_way_that_others_can_write_to_is_refused() {
    let host = Host::new();
    let refused = |message: &str| {
        let run = install(&host, "--binary $DIR/bin/selfdock");
        assert_install_refused(
            &run,
            &format!("the directory {} {message}", host.path("usr").display()),
        );
        assert_eq!(tree(&host.path("usr")).len(), 1, "something was left");
    };
    let usr = host.caller_dir("usr");
    refused("is not root's; install into one that is");
    chown(&usr, Some(0), Some(0)).unwrap();
    for mode in [0o775, 0o757, 0o1777] {
        set_mode(&usr, mode);
        refused(&format!("is writable by others than root (mode {mode:o})"));
    }
    // What exists already is judged too, and by where it is, not by the links to it.
    set_mode(&usr, 0o755);
    let elsewhere = host.caller_dir("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, usr.join("bin")).unwrap();
    assert_install_refused(
        &install(&host, "--binary $DIR/bin/selfdock"),
        &format!(
            "the directory {} is not root's; install into one that is",
            elsewhere.display()
        ),
    );
}

#[test]
fn a_refused_installation_changes_nothing() {
    let host = Host::new();
    out(&install(&host, "--no-proof --binary $DIR/bin/selfdock"));
    let before = tree(&host.path("usr"));
    let inode = fs::metadata(host.path("usr/bin/selfdock")).unwrap().ino();
    host.root_file("program", 0o755, "not selfdock");
    for (line, message) in [
        (
            "--binary $DIR/program",
            "$DIR/program is not an ELF program",
        ),
        (
            "--binary $DIR/missing",
            "there is no such file: $DIR/missing",
        ),
        (
            "--binary $DIR/bin/selfdock --group no:such",
            "there is no group \"no:such\"",
        ),
        ("--binary", "option --binary needs a value"),
        ("--group", "option --group needs a value"),
        (
            "--prefix /usr",
            "unknown option \"--prefix\"; --help shows those that there are",
        ),
        (
            "now",
            "unknown option \"now\"; --help shows those that there are",
        ),
        (
            "--uninstall --group 0",
            "--uninstall and --build-only take no other option",
        ),
        (
            "--uninstall --file-capabilities",
            "--uninstall and --build-only take no other option",
        ),
    ] {
        let dir = host.path("");
        let message = message.replace("$DIR/", dir.to_str().unwrap());
        assert_install_refused(&install(&host, line), &message);
    }
    let relative = installer(&host, "--binary $DIR/bin/selfdock")
        .env("PREFIX", "usr")
        .output()
        .unwrap();
    assert_install_refused(
        &relative,
        "PREFIX must be an absolute path, and not the root directory: usr",
    );
    let dots = installer(&host, "--uninstall")
        .env("PREFIX", "/usr/../etc")
        .output()
        .unwrap();
    assert_install_refused(&dots, "PREFIX must be a plain path: /usr/../etc");
    assert_eq!(tree(&host.path("usr")), before);
    assert_eq!(
        fs::metadata(host.path("usr/bin/selfdock")).unwrap().ino(),
        inode
    );
}

#[test]
fn a_staging_directory_comes_in_front_and_nothing_is_tried_there() {
    let host = Host::new();
    let stage = host.root_dir("stage", 0o755);
    let with_stage = |line: &str| {
        installer(&host, line)
            .env("DESTDIR", &stage)
            .output()
            .unwrap()
    };
    let run = with_stage("--binary $DIR/bin/selfdock");
    assert!(
        out(&run).contains("no proof: DESTDIR is set"),
        "{}",
        text(&run)
    );
    let program = stage.join("usr/local/bin/selfdock");
    assert_eq!(fs::metadata(program).unwrap().mode(), 0o104_755);
    // So that a package can be unpacked elsewhere, and removed there.
    let manifest = fs::read_to_string(stage.join("usr/local/share/selfdock/manifest")).unwrap();
    assert!(!manifest.contains("stage"), "{manifest}");
    out(&with_stage("--uninstall"));
    assert_eq!(tree(&stage).len(), 1);
}

#[test]
fn the_help_names_every_option() {
    let host = Host::new();
    let help = install(&host, "--help");
    for word in [
        "--group",
        "--file-capabilities",
        "--binary",
        "--no-proof",
        "--uninstall",
        "--build-only",
        "PREFIX",
        "DESTDIR",
    ] {
        assert!(out(&help).contains(word), "{word}");
    }
}

#[test]
fn without_root_and_without_sudo_it_says_so() {
    let host = Host::new();
    let tools = tools(&host, &["sh", "id", "dirname"]);
    let run = as_caller(&host, &tools).output().unwrap();
    assert_install_refused(&run, "only root can install it, and there is no sudo here");
}

/// What is built is the caller's; what sudo runs is the installing step, and nothing before it.
#[test]
fn it_builds_as_the_caller_and_asks_sudo_for_the_installing_step_alone() {
    let host = Host::new();
    let tools = tools(
        &host,
        &[
            "sh", "id", "dirname", "stat", "sed", "mkdir", "cp", "cat", "env",
        ],
    );
    host.root_file("tools/cc", 0o755, "#!/bin/sh\n");
    host.root_file("tools/sudo", 0o755, "#!/bin/sh\necho sudo: \"$@\"\n");
    let rustc = "#!/bin/sh
        case \"$*\" in
            -vV) echo host: machine-vendor-linux-gnu ;;
            *machine-unknown-linux-musl) echo $LIBRARIES ;;
            *) exit 1 ;;
        esac";
    host.root_file("tools/rustc", 0o755, rustc);
    let cargo = "#!/bin/sh
        echo cargo: \"$@\" as $(id -u) with \"${RUSTFLAGS-no flags}\"
        while [ $1 != --target ]; do shift; done
        mkdir -p $CARGO_TARGET_DIR/$2/release";
    host.root_file("tools/cargo", 0o755, cargo);
    let libraries = host.root_dir("libraries", 0o755);
    let target = host.caller_dir("target");
    // Where the crates are is not to be told by the program, if that can be written down.
    for (triple, crates, config) in [
        (
            "machine-vendor-linux-gnu",
            "/my crates",
            " --config target.machine-vendor-linux-gnu.rustflags = \
             ['--remap-path-prefix=/my crates=/cargo']",
        ),
        ("machine-unknown-linux-musl", "/somebody's crates", ""),
    ] {
        let run = as_caller(&host, &tools)
            .args(["--no-proof", "--file-capabilities", "--group", "staff"])
            .env("PREFIX", "/opt/selfdock")
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", "-Ctarget-feature=-crt-static")
            .env("LIBRARIES", &libraries)
            .env("CARGO_HOME", crates)
            .output()
            .unwrap();
        let (uid, target) = (host.uid(), target.display());
        assert_eq!(
            out(&run),
            format!(
                "install.sh: building for {triple}\n\
                 cargo: build --release --locked --bin selfdock --target {triple} --target-dir {target}{config} as {uid} with no flags\n\
                 sudo: -- env DESTDIR= PREFIX=/opt/selfdock sh {} --binary {target}/{triple}/release/selfdock --no-proof --group staff --file-capabilities\n",
                host.path("install.sh").display()
            )
        );
        // From now on the toolchain has the standard library for musl as well.
        fs::write(libraries.join("libstd-0123456789abcdef.rlib"), "").unwrap();
    }
}

/// A directory with these tools, and no others.
fn tools(host: &Host, names: &[&str]) -> std::path::PathBuf {
    let tools = host.root_dir("tools", 0o755);
    for name in names {
        let find = Command::new("sh")
            .args(["-c", "command -v \"$0\"", name])
            .output()
            .unwrap();
        std::os::unix::fs::symlink(out(&find).trim(), tools.join(name)).unwrap();
    }
    tools
}

/// A copy of install.sh, to be run by the caller, who may not be able to reach the clone.
fn as_caller(host: &Host, path: &Path) -> Command {
    let script = host.root_file("install.sh", 0o755, fs::read(SCRIPT).unwrap());
    let mut command = host.as_caller("/bin/sh");
    command.arg(script).env("PATH", path);
    command.env_remove("DESTDIR").env_remove("PREFIX");
    command
}

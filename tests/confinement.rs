//! The negative suite: what the caller must not gain, attempted by a caller who tries.
//!
//! Each attack is shown to work without its guard, or its target to be closed to the caller; then
//! it is refused, or has no effect. That nothing is left behind, the fixture checks at its end.

mod host;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use host::fixtures::{RIGHTS, TRY_EVERYTHING, UNDO, fake_etc};
use host::table::seen;
use host::{CANNOT, Host, Install, PLAIN, assert_refused, mounts, out, set_mode, text};

/// The words of `line` with `$DIR` and `$SD` filled in, as `Host::run_line` does.
fn fill(host: &Host, line: &str) -> String {
    line.replace("$SD", host.program().to_str().unwrap())
        .replace(
            "$DIR",
            host.path("").to_str().unwrap().trim_end_matches('/'),
        )
}

/// Copies a program. By another process: were this one to hold it open for writing, a child that
/// another thread forks meanwhile would hold it too, and exec would say ETXTBSY.
fn copy(from: &Path, to: &Path) {
    let run = Command::new("cp").args([from, to]).output().unwrap();
    assert!(run.status.success(), "{}", text(&run));
}

/// What the command of `line` says, if it ran and all is well.
#[track_caller]
fn said_by(host: &Host, line: &str) -> String {
    let run = host.run_line(line);
    assert!(
        run.status.success() && run.stderr.is_empty(),
        "{line}: {}",
        text(&run)
    );
    out(&run).to_owned()
}

/// What `RIGHTS` says of a process of the caller's with no right beyond.
fn no_rights(host: &Host) -> String {
    format!("{0} {0} 0000000000000000\n", host.uid())
}

/// A directory `arsenal` and a root filesystem `rootfs`, both with the program `rights`, which
/// `arm` has made a weapon; and `place`, a file to mount on.
fn arsenal(host: &Host, arm: impl Fn(&Path)) -> PathBuf {
    host.root_dir("arsenal", 0o755);
    host.root_file("place", 0o755, "");
    let weapon = host.compile("arsenal/rights", RIGHTS);
    host.busybox_rootfs("rootfs");
    let other = host.path("rootfs/bin/rights");
    copy(&weapon, &other);
    arm(&weapon);
    arm(&other);
    weapon
}

/// Every way by which a program of the host's can be started inside.
const WAYS_TO_START_A_WEAPON: [&str; 19] = [
    "run $DIR/arsenal/rights",
    "build $DIR/arsenal/rights",
    "-C $DIR/arsenal run ./rights",
    "--map $DIR/arsenal /mnt run /mnt/rights",
    "--vol $DIR/arsenal /mnt run /mnt/rights",
    "--vol $DIR/arsenal /mnt build /mnt/rights",
    "--map / /mnt run /mnt$DIR/arsenal/rights",
    "--map $DIR/arsenal/rights $DIR/place run $DIR/place",
    "--vol $DIR/arsenal/rights $DIR/place run $DIR/place",
    "--map $DIR/arsenal/rights /dev/weapon run /dev/weapon",
    "--rootfs $DIR/rootfs run /bin/rights",
    "--rootfs $DIR/rootfs build /bin/rights",
    "--rootfs $DIR/rootfs --vol $DIR/arsenal /tmp run /tmp/rights",
    "--rootfs $DIR/rootfs --map $DIR/arsenal /etc run /etc/rights",
    "run $SD run $SD run $DIR/arsenal/rights",
    "run $SD --map $DIR/arsenal /mnt run $SD --map /mnt /mnt run /mnt/rights",
    "--map $DIR/arsenal /mnt run $SD --vol /mnt /srv run $SD --map /srv /srv build /srv/rights",
    "--rootfs $DIR/rootfs run /dev/selfdock run /bin/rights",
    "--rootfs $DIR/rootfs build /dev/selfdock build /bin/rights",
];

/// Attack: a set-user-id program of root's, in a root that the caller shaped, is root for anybody:
/// `su` believes its /etc/passwd.
#[test]
fn a_setuid_program_of_roots_is_inert_wherever_it_shows() {
    let host = Host::new();
    let weapon = arsenal(&host, |path| set_mode(path, 0o4755));

    let control = host.as_caller(&weapon).output().unwrap();
    assert!(out(&control).starts_with("0 "), "{}", text(&control));

    for line in WAYS_TO_START_A_WEAPON {
        assert_eq!(said_by(&host, line), no_rights(&host), "{line}");
    }
}

/// Attack: file capabilities are the other way by which exec gives rights.
#[test]
fn file_capabilities_are_inert_wherever_they_show() {
    let host = Host::new();
    let weapon = arsenal(&host, |path| {
        let mut setcap = Command::new("setcap");
        setcap.arg("cap_dac_override,cap_sys_admin+ep").arg(path);
        let setcap = setcap.output().expect("setcap is needed: libcap2-bin");
        assert!(setcap.status.success(), "{}", text(&setcap));
    });

    let control = host.as_caller(&weapon).output().unwrap();
    let armed = format!("{0} {0} 0000000000200002\n", host.uid());
    assert_eq!(out(&control), armed);

    for line in WAYS_TO_START_A_WEAPON {
        assert_eq!(said_by(&host, line), no_rights(&host), "{line}");
    }
}

/// Attack: `su` with an /etc of the caller's, in which root has no password. The C program was
/// root by this.
#[test]
fn su_with_a_fake_etc_is_not_root() {
    let host = Host::new();
    fake_etc(&host, "etc");

    let mut control = host.on_host("mount --bind $DIR/etc /etc", "su");
    let control = control.args(["-c", "id -u"]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&control.stdout),
        "0\n",
        "{}",
        text(&control)
    );

    for line in [
        "--map $DIR/etc /etc run su -c id",
        "--vol $DIR/etc /etc run su -c id",
        "--vol $DIR/etc /etc build su -c id",
        "--map $DIR/etc /etc run $SD run su -c id",
        "run $SD --map $DIR/etc /etc run su -c id",
    ] {
        let run = host.run_line(line);
        assert!(!run.status.success(), "{line}: {}", text(&run));
        assert_ne!(
            run.status.code(),
            Some(CANNOT),
            "su did not run: {}",
            text(&run)
        );
        assert!(!text(&run).contains("uid=0"), "{line}: {}", text(&run));
    }
}

/// Attack: one mount that is not nosuid is enough. One there is: selfdock's own file, and nothing
/// else can be reached through it. In a user namespace there is none, and root's file is nobody's.
#[test]
fn every_mount_is_nosuid_but_selfdocks_own_file() {
    let host = Host::new();
    host.busybox_rootfs("rootfs");
    host.caller_dir("own");
    let program = fs::metadata(host.program()).unwrap();
    let cat = "/bin/cat /proc/self/mountinfo";
    for (options, own) in [
        ("run", "$SD"),
        ("build", "$SD"),
        (
            "--map / /mnt --vol $DIR/own /srv --tmpfs exec /media run",
            "$SD",
        ),
        ("--vol /dev /dev run", "$SD"),
        ("--rootfs $DIR/rootfs run", "/dev/selfdock"),
        ("--rootfs $DIR/rootfs build", "/dev/selfdock"),
        ("run $SD run $SD run", "$SD"),
        ("run $SD --rootfs $DIR/rootfs build", "/dev/selfdock"),
        (
            "--rootfs $DIR/rootfs run /dev/selfdock run /dev/selfdock run",
            "/dev/selfdock",
        ),
    ] {
        let own = fill(&host, own);
        let run = host.run_line(&format!("{options} {cat}"));
        let table: Vec<Vec<&str>> = out(&run)
            .lines()
            .map(|line| line.split(' ').collect())
            .collect();
        let has = |line: &[&str], option| line[5].split(',').any(|word| word == option);
        let live: Vec<_> = table.iter().filter(|line| !has(line, "nosuid")).collect();
        let (count, owner) = Install::wanted().choose((1, 0), (1, 0), (0, 65534));
        assert_eq!(live.len(), count, "{options}: {live:?}");
        let owns: Vec<_> = table.iter().filter(|line| line[4] == own).collect();
        assert!(live.iter().all(|line| owns.contains(line)), "{options}");
        assert!(!owns.is_empty(), "{options}: {table:?}");
        for line in owns {
            assert!(line[3].ends_with("/bin/selfdock"), "{options}: {line:?}");
            assert!(has(line, "ro") && has(line, "nodev"), "{options}: {line:?}");
        }
        let stat = host.run_line(&format!("{options} stat -c %i:%u:%a {own}"));
        let mode = Install::wanted().mode();
        assert_eq!(
            out(&stat),
            format!("{}:{owner}:{mode:o}\n", program.ino()),
            "{options}"
        );
    }
}

/// Attack: a second file where selfdock is found, for the next start to be another program; or
/// selfdock by another path, in the hope for a mount that is not nosuid.
#[test]
fn selfdocks_own_path_cannot_be_taken_and_another_path_is_inert() {
    let host = Host::new();
    arsenal(&host, |path| set_mode(path, 0o4755));
    let version = out(&host.run(["--version"])).to_owned();
    for line in [
        "--map $DIR/arsenal/rights $SD run $SD --version",
        "--vol $DIR/arsenal/rights $SD build $SD --version",
    ] {
        assert_eq!(out(&host.run_line(line)), version, "{line}");
    }
    let alone = [host.uid(), host.uid(), 1].map(|number| number.to_string());
    for (options, path) in [
        ("--map $DIR/bin /mnt run", "/mnt/selfdock"),
        ("--vol $DIR/bin /mnt build", "/mnt/selfdock"),
        ("--map $SD $DIR/place run", "$DIR/place"),
    ] {
        let nosuid = "selfdock is on a nosuid filesystem\n\
             hint: PREFIX=DIR ./install.sh, where DIR is on a filesystem without nosuid";
        let cause = Install::wanted().choose(nosuid, nosuid, OF_ROOTLESS);
        let refused = host.run_line(&format!(
            "{options} {path} --privilege setuid run /bin/echo ran"
        ));
        assert_refused(&refused, &format!("cannot get privilege: {cause}"));
        // It is of use, then, as a program without any privilege.
        let map = host.run_line(&format!("{options} {path} run /bin/cat /proc/self/uid_map"));
        assert_eq!(out(&map).split_whitespace().collect::<Vec<_>>(), alone);
    }
}

/// Why there is no privilege in an instance that is in a user namespace.
const OF_ROOTLESS: &str = "CAP_SYS_ADMIN is not in the capability bounding set\n\
     hint: an outer container, or an instance of root's, withholds it: docker run --cap-add SYS_ADMIN";

/// Attack: exec through a descriptor that was opened on the host's mounts, which are not nosuid:
/// one that is inherited, and one that arrives over an inherited socket.
#[test]
fn a_setuid_program_is_inert_through_a_descriptor_from_outside() {
    let host = Host::new();
    let weapon = arsenal(&host, |path| set_mode(path, 0o4755));
    let inherit = |program: &str, words: &str| {
        let script = format!("exec 9<\"$1\"; exec \"$2\" {words} /proc/self/fd/9");
        let mut shell = host.as_caller("/bin/sh");
        shell.args(["-c", &script, "sh"]).arg(&weapon).arg(program);
        shell.output().unwrap()
    };
    let control = inherit("/usr/bin/env", "");
    assert!(out(&control).starts_with("0 "), "{}", text(&control));
    let program = host.program();
    let program = program.to_str().unwrap();
    for words in ["run".to_owned(), format!("run {program} run")] {
        assert_eq!(out(&inherit(program, &words)), no_rights(&host), "{words}");
    }

    let send = host.compile(
        "send",
        r#"
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int pair[2], dir = open(argv[1], O_RDONLY | O_DIRECTORY);
    if (dir < 0 || socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) return 1;
    char byte = 0, control[CMSG_SPACE(sizeof dir)] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1,
        .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof dir);
    memcpy(CMSG_DATA(header), &dir, sizeof dir);
    if (sendmsg(pair[0], &message, 0) != 1) return 2;
    close(dir), dup2(pair[1], 9), close(pair[1]);
    execv(argv[2], argv + 2);
    return 3;
}
"#,
    );
    let receive = host.compile(
        "receive",
        r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    char byte, control[256];
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1,
        .msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(9, &message, 0) != 1 || !CMSG_FIRSTHDR(&message)) return 1;
    int dir;
    memcpy(&dir, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof dir);
    char *args[] = {"rights", 0}, *environment[] = {0};
    execveat(dir, "rights", args, environment, 0);
    return 2;
}
"#,
    );
    let smuggle = |words: &[&OsStr]| {
        let mut sender = host.as_caller(&send);
        sender
            .arg(host.path("arsenal"))
            .args(words)
            .output()
            .unwrap()
    };
    let control = smuggle(&[receive.as_os_str()]);
    assert!(out(&control).starts_with("0 "), "{}", text(&control));
    let inside = smuggle(&[OsStr::new(program), OsStr::new("run"), receive.as_os_str()]);
    assert_eq!(out(&inside), no_rights(&host));
}

/// A directory `vault` that is closed to the caller, with a readable directory and file below it,
/// and the link `home/link` to that directory.
fn vault(host: &Host) {
    host.root_dir("vault", 0o700);
    host.root_dir("vault/open", 0o755);
    let secret = host.root_file("vault/open/secret", 0o644, "hunter2");
    host.root_file("place", 0o644, "");
    let home = host.caller_dir("home");
    symlink(host.path("vault/open"), home.join("link")).unwrap();
    symlink("../vault/open/secret", home.join("secret")).unwrap();

    // Without selfdock the kernel says no. Were it to say yes, the rest would prove nothing.
    let baseline = host.as_caller("/bin/cat").arg(secret).output().unwrap();
    assert!(!baseline.status.success(), "fixture is open to the caller");
}

/// Attack: mounting needs privilege, so the source path might be looked up with it too. The file
/// is world-readable; only the directory above it keeps the caller out.
#[test]
fn no_option_reaches_through_a_directory_closed_to_the_caller() {
    let host = Host::new();
    vault(&host);
    let map = |source: &str, target: &str| {
        let (source, target) = (fill(&host, source), fill(&host, target));
        format!("cannot map {source:?} on {target:?}: Permission denied")
    };
    let root = |dir: &str| {
        format!(
            "cannot use {:?} as root filesystem: Permission denied",
            fill(&host, dir)
        )
    };
    let to = |dir: &str| {
        format!(
            "cannot change to directory {:?}: Permission denied",
            fill(&host, dir)
        )
    };
    let open = "$DIR/vault/open";
    for (options, command, message) in [
        (
            "--map $DIR/vault/open /mnt run",
            "/mnt/secret",
            map(open, "/mnt"),
        ),
        (
            "--vol $DIR/vault/open /mnt run",
            "/mnt/secret",
            map(open, "/mnt"),
        ),
        (
            "--map $DIR/vault/open /mnt build",
            "/mnt/secret",
            map(open, "/mnt"),
        ),
        (
            "--vol $DIR/vault/open /mnt build",
            "/mnt/secret",
            map(open, "/mnt"),
        ),
        (
            "--map $DIR/vault/open/secret $DIR/place run",
            "$DIR/place",
            map("$DIR/vault/open/secret", "$DIR/place"),
        ),
        (
            "--map $DIR/home/link /mnt run",
            "/mnt/secret",
            map("$DIR/home/link", "/mnt"),
        ),
        (
            "--vol $DIR/home/link/. /mnt run",
            "/mnt/secret",
            map("$DIR/home/link/.", "/mnt"),
        ),
        (
            "--map $DIR/home/secret $DIR/place run",
            "$DIR/place",
            map("$DIR/home/secret", "$DIR/place"),
        ),
        (
            "--map $DIR/home/../vault/open /mnt run",
            "/mnt/secret",
            map("$DIR/home/../vault/open", "/mnt"),
        ),
        (
            "run $SD --map $DIR/vault/open /mnt run",
            "/mnt/secret",
            map(open, "/mnt"),
        ),
        ("--rootfs $DIR/vault/open run", "/secret", root(open)),
        ("--rootfs $DIR/vault/open build", "/secret", root(open)),
        (
            "--rootfs $DIR/home/link run",
            "/secret",
            root("$DIR/home/link"),
        ),
        ("-C $DIR/vault/open run", "secret", to(open)),
        ("-C $DIR/home/link build", "secret", to("$DIR/home/link")),
        ("-C $DIR/vault run", "open/secret", to("$DIR/vault")),
        (
            "--map /usr $DIR/vault/open run",
            "$DIR/vault/open/secret",
            map("/usr", open),
        ),
    ] {
        assert_refused(
            &host.run_line(&format!("{options} /bin/cat {command}")),
            &message,
        );
    }
}

/// The same by a path that does not start with a slash.
#[test]
fn a_relative_path_reaches_no_further() {
    let host = Host::new();
    vault(&host);
    for (dir, source) in [
        ("", "vault/open"),
        ("home", "link"),
        ("home", "../vault/open"),
        ("home", "./link/.."),
    ] {
        let mut command = host.selfdock();
        command.current_dir(host.path(dir)).args([
            "--map",
            source,
            "/mnt",
            "run",
            "/bin/cat",
            "/mnt/secret",
        ]);
        let message = format!("cannot map {source:?} on \"/mnt\": Permission denied");
        assert_refused(&command.output().unwrap(), &message);
        let mut command = host.selfdock();
        command
            .current_dir(host.path(dir))
            .args(["-r", source, "run", "/bin/cat", "/secret"]);
        let message = format!("cannot use {source:?} as root filesystem: Permission denied");
        assert_refused(&command.output().unwrap(), &message);
    }
}

/// Attack: the closed directory itself is the source. It can be named, so it can be mapped; it
/// must stay as closed as it is.
#[test]
fn a_closed_directory_is_as_closed_inside() {
    let host = Host::new();
    vault(&host);
    for options in [
        "--map $DIR/vault /mnt run",
        "--vol $DIR/vault /mnt run",
        "--vol $DIR/vault /mnt build",
    ] {
        for command in [
            "/bin/ls /mnt",
            "/bin/cat /mnt/open/secret",
            "/bin/ls /mnt/open",
        ] {
            let run = host.run_line(&format!("{options} {command}"));
            assert!(
                !run.status.success() && run.status.code() != Some(CANNOT),
                "{}",
                text(&run)
            );
            assert!(text(&run).contains("Permission denied"), "{}", text(&run));
            assert!(run.stdout.is_empty(), "{}", text(&run));
        }
    }
}

/// Not an attack: who may pass through a directory, but not list it, can name what is below it.
#[test]
fn a_directory_that_can_be_searched_but_not_read_works() {
    let host = Host::new();
    host.root_dir("hall", 0o711);
    host.root_dir("hall/room", 0o711);
    host.root_file("hall/room/note", 0o644, "come in");
    host.root_file("place", 0o644, "");
    for line in [
        "--map $DIR/hall/room /mnt run /bin/cat /mnt/note",
        "--vol $DIR/hall/room /mnt run /bin/cat /mnt/note",
        "--map $DIR/hall /mnt run /bin/cat /mnt/room/note",
        "--map $DIR/hall/room/note $DIR/place run /bin/cat $DIR/place",
        "-C $DIR/hall/room run /bin/cat note",
        "run $SD -C $DIR/hall/room run /bin/cat note",
    ] {
        assert_eq!(out(&host.run_line(line)), "come in", "{line}");
    }
    let mut command = host.selfdock();
    command
        .current_dir(host.path("hall/room"))
        .args(["run", "/bin/cat", "note"]);
    assert_eq!(out(&command.output().unwrap()), "come in");
}

/// Attack: the message or the status tells whether a name exists below a closed directory.
#[test]
fn the_caller_cannot_tell_which_names_exist_below_a_closed_directory() {
    let host = Host::new();
    vault(&host);
    host.root_file("vault/file", 0o644, "");
    host.root_file("vault/suid", 0o4755, "");
    host.root_dir("vault/dir", 0o755);
    symlink("/", host.path("vault/link")).unwrap();
    for line in [
        "--map $DIR/vault/NAME /mnt run /bin/true",
        "--vol $DIR/vault/NAME /mnt run /bin/true",
        "--map $DIR/vault/NAME $DIR/place run /bin/true",
        "--rootfs $DIR/vault/NAME run /bin/true",
        "--rootfs $DIR/vault/NAME build /bin/true",
        "-C $DIR/vault/NAME run /bin/true",
        "--map /usr $DIR/vault/NAME run /bin/true",
        "--map /bin/true $DIR/vault/NAME run /bin/true",
        "--tmpfs size=1m $DIR/vault/NAME run /bin/true",
        "run $DIR/vault/NAME",
        "run $SD --map $DIR/vault/NAME /mnt run /bin/true",
    ] {
        let answer = |name: &str| {
            let run = host.run_line(&line.replace("NAME", name));
            assert!(!run.status.success(), "{}", text(&run));
            text(&run).replace(&format!("vault/{name}"), "vault/NAME")
        };
        let missing = answer("none");
        assert!(missing.contains("Permission denied"), "{missing}");
        for existing in ["file", "dir", "suid", "link"] {
            assert_eq!(answer(existing), missing, "{line}: {existing}");
        }
    }
}

/// Attack: procfs has links that lead where no path of the caller's leads: to a directory that an
/// inherited descriptor holds open, or, in a privileged process, to another root.
#[test]
fn magic_links_are_refused_wherever_a_path_is_expected() {
    let host = Host::new();
    vault(&host);
    symlink("/proc/self/cwd", host.path("home/magic")).unwrap();
    let magic = [
        "/proc/self/root",
        "/proc/self/cwd",
        "/proc/self/fd/9",
        "/proc/thread-self/cwd",
        "/dev/fd/9",
        "/proc/self/root/etc",
        "$DIR/home/magic",
        "/proc/self/task/../cwd",
    ];
    // Descriptor 9 is a directory that root has opened below the closed one.
    let with_vault = |words: &[&str]| {
        let script = "exec 9<\"$DIR/vault/open\"; exec setpriv --reuid $ID --regid $ID --clear-groups -- \"$@\"";
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-euc", script, "sh"])
            .args(words.iter().map(|word| fill(&host, word)));
        shell
            .env("DIR", host.path(""))
            .env("ID", host.uid().to_string());
        shell
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let control = with_vault(&["/bin/cat", "/proc/self/fd/9/secret"]);
    assert_eq!(out(&control), "hunter2", "the link leads nowhere");

    let eloop = "Too many symbolic links encountered";
    for path in magic {
        let shown = fill(&host, path);
        let map = format!("cannot map {shown:?} on \"/mnt\": {eloop}");
        assert_refused(
            &with_vault(&[
                "$SD",
                "--map",
                path,
                "/mnt",
                "run",
                "/bin/cat",
                "/mnt/secret",
            ]),
            &map,
        );
        assert_refused(
            &with_vault(&[
                "$SD",
                "--vol",
                path,
                "/mnt",
                "build",
                "/bin/cat",
                "/mnt/secret",
            ]),
            &map,
        );
        let root = format!("cannot use {shown:?} as root filesystem: {eloop}");
        assert_refused(
            &with_vault(&["$SD", "--rootfs", path, "run", "/bin/cat", "/secret"]),
            &root,
        );
        let directory = format!("cannot change to directory {shown:?}: {eloop}");
        let run = with_vault(&["$SD", "-C", path, "run", "/bin/cat", "secret"]);
        assert_refused(&run, &directory);
        // As a target. Inside nothing is open at 9, so there may be no such link at all.
        let run = with_vault(&["$SD", "--map", "/usr", path, "run", "/bin/echo", "ran"]);
        assert_eq!(run.status.code(), Some(CANNOT), "{path}: {}", text(&run));
        let (loops, absent) = (
            text(&run).contains(eloop),
            text(&run).contains("No such file"),
        );
        assert!(
            loops || (absent && path.ends_with('9')),
            "{path}: {}",
            text(&run)
        );
        let run = with_vault(&[
            "$SD",
            "--tmpfs",
            "mode=1777",
            path,
            "build",
            "/bin/echo",
            "ran",
        ]);
        assert_eq!(run.status.code(), Some(CANNOT), "{path}: {}", text(&run));
    }
}

/// Attack: a descriptor of a directory, a mount, a process or a namespace is a way out of any
/// root. What has no way out in it passes.
#[test]
fn descriptors_that_lead_out_do_not_reach_the_command() {
    let host = Host::new();
    let carry = host.compile(
        "carry",
        r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <unistd.h>
#include <linux/mount.h>
static void at(int number, int descriptor) {
    if (descriptor < 0) exit(number);
    dup2(descriptor, number), close(descriptor);
}
int main(int argc, char **argv) {
    char parameters[256] = {0};
    at(20, open("/", O_RDONLY | O_DIRECTORY));
    at(21, open("/", O_PATH));
    at(22, open("/etc/passwd", O_PATH));
    at(23, syscall(SYS_pidfd_open, getppid(), 0));
    at(24, open("/proc/self/ns/mnt", O_RDONLY));
    at(25, open("/proc/self/ns/user", O_RDONLY));
    at(26, open("/proc/self", O_RDONLY));
    at(27, syscall(SYS_open_tree, AT_FDCWD, "/", 0));
    at(28, open("/proc/self/ns/pid", O_RDONLY));
    at(29, syscall(SYS_pidfd_open, getpid(), 0));
    int ring = syscall(SYS_io_uring_setup, 4, parameters);
    if (ring >= 0) at(30, ring);
    at(400, open("/", O_RDONLY | O_DIRECTORY));
    /* Harmless ones. */
    at(40, open("/etc/passwd", O_RDONLY));
    int pair[2];
    if (pipe(pair)) return 1;
    at(41, pair[0]), at(42, pair[1]);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 1;
    at(43, pair[0]), close(pair[1]);
    at(44, epoll_create1(0));
    /* 400 is above the limit by now. */
    struct rlimit limit = {100, 1000};
    if (setrlimit(RLIMIT_NOFILE, &limit)) return 2;
    execv(argv[1], argv + 1);
    return 3;
}
"#,
    );
    let scout = host.compile(
        "scout",
        r#"
#include <fcntl.h>
#include <stdio.h>
int main(void) {
    for (int number = 3; number < 1024; number++)
        if (fcntl(number, F_GETFD) >= 0 && number >= 20 && number <= 500) printf("%d ", number);
    puts("");
    return 0;
}
"#,
    );
    let start = |words: &[&OsStr]| {
        let run = host.as_caller(&carry).args(words).output().unwrap();
        let numbers = out(&run)
            .split_whitespace()
            .map(|word| word.parse::<u32>().unwrap());
        numbers
            .filter(|number| *number != 30 && *number < 250 || *number == 400)
            .collect::<Vec<_>>()
    };
    let harmless = [40, 41, 42, 43, 44];
    let control = start(&[scout.as_os_str()]);
    let all: Vec<u32> = (20..30).chain(harmless).chain([400]).collect();
    assert_eq!(control, all, "not carried outside of selfdock either");

    let program = host.program();
    let (program, run, build) = (program.as_os_str(), OsStr::new("run"), OsStr::new("build"));
    for words in [
        &[program, run, scout.as_os_str()][..],
        &[program, build, scout.as_os_str()],
        &[program, run, program, run, scout.as_os_str()],
    ] {
        assert_eq!(start(words), harmless, "{words:?}");
    }
}

/// Attack: by the caller's uid a debugger, or /proc, gets hold of a process that has, or may have
/// kept, what the caller has not: memory, descriptors, the host's mount namespace.
#[test]
fn no_process_of_selfdocks_can_be_traced_and_the_command_can() {
    let host = Host::new();
    // `pry`: starts selfdock again and again and tries everything on the launcher and its child
    // for as long as they are called selfdock, and on the command once it is not.
    let pry = host.compile(
        "pry",
        r#"
#define _GNU_SOURCE
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
enum { SEIZE, MEM, MAPS, ENVIRON, SYSCALL, FD, NS, CWD, ROOT, GETFD, READV, KINDS };
static const char *names[] = {"ptrace", "mem", "maps", "environ", "syscall", "fd", "ns", "cwd", "root",
    "pidfd_getfd", "process_vm_readv"};
static int is_called(int pid, const char *name) {
    char path[64], comm[32] = {0};
    sprintf(path, "/proc/%d/comm", pid);
    int file = open(path, O_RDONLY);
    if (file < 0) return 0;
    int length = read(file, comm, sizeof comm - 1);
    close(file);
    return length > 0 && !strncmp(comm, name, strlen(name)) && comm[strlen(name)] == '\n';
}
static int opens(int pid, const char *what) {
    char path[64], byte;
    sprintf(path, "/proc/%d/%s", pid, what);
    int file = open(path, O_RDONLY);
    if (file < 0) return 0;
    /* Of a process that is about to end they can be opened, and are empty. */
    int length = pread(file, &byte, 1, strcmp(what, "mem") ? 0 : 4096);
    int works = length > 0 || (length < 0 && errno == EIO);
    close(file);
    return works;
}
static int leads(int pid, const char *what) {
    char path[64], target[256];
    sprintf(path, "/proc/%d/%s", pid, what);
    return readlink(path, target, sizeof target) >= 0;
}
static int works(int kind, int pid) {
    switch (kind) {
    case SEIZE: {
        if (ptrace(PTRACE_SEIZE, pid, 0, 0)) return 0;
        ptrace(PTRACE_INTERRUPT, pid, 0, 0);
        waitpid(pid, 0, __WALL);
        ptrace(PTRACE_DETACH, pid, 0, 0);
        return 1;
    }
    case MEM: return opens(pid, "mem");
    case MAPS: return opens(pid, "maps");
    case ENVIRON: return opens(pid, "environ");
    case SYSCALL: return opens(pid, "syscall");
    case FD: return leads(pid, "fd/0") || leads(pid, "fd/3");
    case NS: return leads(pid, "ns/mnt");
    case CWD: return leads(pid, "cwd");
    case ROOT: return leads(pid, "root");
    case GETFD: {
        int pidfd = syscall(SYS_pidfd_open, pid, 0);
        int got = syscall(SYS_pidfd_getfd, pidfd, 0, 0);
        int refused = got < 0 && errno == EPERM, known = got >= 0 || errno == EBADF;
        close(got), close(pidfd);
        return !refused && known;
    }
    default: {
        char byte;
        struct iovec here = {&byte, 1}, there = {(void *)4096, 1};
        return process_vm_readv(pid, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT;
    }
    }
}
static int child_of(int pid) {
    char path[64], line[32] = {0};
    sprintf(path, "/proc/%d/task/%d/children", pid, pid);
    int file = open(path, O_RDONLY);
    if (file < 0) return 0;
    if (read(file, line, sizeof line - 1) < 0) line[0] = 0;
    close(file);
    return atoi(line);
}
/* A look that succeeds may have met the moment of an exec: only a second one counts. */
static int attack(int kind, int pid) {
    if (!works(kind, pid)) return 0;
    usleep(50);
    return works(kind, pid) && is_called(pid, "selfdock");
}
int main(int argc, char **argv) {
    struct timespec start, now;
    long attempts[2] = {0}, early = 0, held = 0, traced[KINDS] = {0};
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int round = 0; round < 400; round++) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec - start.tv_sec >= atoi(argv[1])) break;
        int launcher = fork();
        if (!launcher) {
            execv(argv[2], argv + 2);
            _exit(99);
        }
        int child = 0, status, kind = round % KINDS;
        while (!waitpid(launcher, &status, WNOHANG)) {
            kind = (kind + 1) % KINDS;
            if (is_called(launcher, "selfdock")) {
                attempts[0]++;
                if (!attack(kind, launcher)) ;
                else if (!child) early++;
                else held++, printf("launcher: %s\n", names[kind]);
            }
            if (!child) child = child_of(launcher);
            if (!child) continue;
            if (is_called(child, "selfdock")) {
                attempts[1]++;
                if (attack(kind, child)) held++, printf("child: %s\n", names[kind]);
            } else if (is_called(child, "prey")) {
                if (works(kind, child)) traced[kind]++;
            }
        }
    }
    printf("early %ld launcher %ld child %ld held %ld command", early, attempts[0], attempts[1], held);
    for (int kind = 0; kind < KINDS; kind++) printf(" %d", traced[kind] > 0);
    puts("");
    return 0;
}
"#,
    );
    // Lives long enough to be traced, and for the supervisor to be tried.
    let prey = host.compile(
        "prey",
        "#include <time.h>\nint main(void) { struct timespec time = {0, 5000000};\
         while (nanosleep(&time, &time)); return 0; }",
    );
    let run = host
        .as_caller(&pry)
        .arg("20")
        .arg(host.program())
        .arg("run")
        .arg(&prey)
        .output()
        .unwrap();
    let said = out(&run);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words.len(), 9 + 11, "{said}");
    let attempts = |index: usize| words[index].parse::<u64>().unwrap();
    assert_eq!(attempts(7), 0, "{said}");
    // Without privilege it is a process like any other, until it makes a user namespace.
    assert_eq!(attempts(1) > 0, Install::is_rootless(), "{said}");
    assert!(
        attempts(3) > 1000 && attempts(5) > 1000,
        "hardly tried: {said}"
    );
    assert_eq!(
        words[9..],
        ["1"; 11],
        "the command cannot be traced: {said}"
    );
}

/// Attack: a device node that root left in a root filesystem, or that the caller's FUSE shows, is
/// the device itself wherever it can be opened.
#[test]
fn a_device_node_in_a_rootfs_cannot_be_opened() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("rootfs");
    let node = rootfs.join("etc/zero");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    let device = nix::sys::stat::makedev(1, 5);
    nix::sys::stat::mknod(&node, nix::sys::stat::SFlag::S_IFCHR, mode, device).unwrap();
    set_mode(&node, 0o666);
    assert!(fs::metadata(&node).unwrap().file_type().is_char_device());

    let control = host
        .as_caller("/usr/bin/head")
        .arg("-c4")
        .arg(&node)
        .output()
        .unwrap();
    assert_eq!(out(&control), "\0\0\0\0", "the node does not work outside");

    for line in [
        "--rootfs $DIR/rootfs run /bin/head -c4 /etc/zero",
        "--rootfs $DIR/rootfs build /bin/head -c4 /etc/zero",
        "run /usr/bin/head -c4 $DIR/rootfs/etc/zero",
        "run $SD --rootfs $DIR/rootfs run /bin/head -c4 /etc/zero",
    ] {
        let run = host.run_line(line);
        assert!(
            text(&run).contains("Permission denied"),
            "{line}: {}",
            text(&run)
        );
        assert!(
            run.stdout.is_empty() && !run.status.success(),
            "{line}: {}",
            text(&run)
        );
    }
}

/// Attack: what SRC leads to changes between a check and its use: directories, and links, trade
/// places all the time. Root's thread does it, as the caller could in a directory of their own.
#[test]
fn a_source_that_changes_all_the_time_never_leads_to_a_closed_directory() {
    let host = Host::new();
    vault(&host);
    let play = host.caller_dir("play");
    host.root_dir("play/b", 0o700);
    host.root_dir("play/b/open", 0o755);
    host.root_file("play/b/open/secret", 0o644, "hunter2");
    host.caller_dir("play/a");
    host.caller_dir("play/a/open");
    host.caller_file("play/a/open/secret", 0o644, "mine");
    symlink("a", play.join("l")).unwrap();
    symlink("../vault", play.join("m")).unwrap();
    let control = host
        .as_caller("/bin/cat")
        .arg(play.join("b/open/secret"))
        .output()
        .unwrap();
    assert!(!control.status.success(), "fixture is open to the caller");

    let stop = AtomicBool::new(false);
    let (mut mine, mut denied, mut flips) = (0, 0, 0_u64);
    std::thread::scope(|scope| {
        let flipper = scope.spawn(|| {
            let mut flips = 0;
            let exchange = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
            while !stop.load(Ordering::Relaxed) {
                for (one, other) in [("a", "b"), ("l", "m")] {
                    let (one, other) = (play.join(one), play.join(other));
                    let here = nix::fcntl::AT_FDCWD;
                    nix::fcntl::renameat2(here, &one, here, &other, exchange).unwrap();
                }
                flips += 1;
                std::thread::sleep(Duration::from_micros(30));
            }
            flips
        });
        let end = Instant::now() + Duration::from_secs(12);
        for round in 0..1000 {
            if Instant::now() > end {
                break;
            }
            let line = [
                "--map $DIR/play/a/open /mnt run /bin/cat /mnt/secret",
                "--vol $DIR/play/l/open /mnt run /bin/cat /mnt/secret",
                "--map $DIR/play/l/open/secret $DIR/place run /bin/cat $DIR/place",
                "--rootfs $DIR/play/a/open run /secret",
            ][round % 4];
            let run = host.run_line(line);
            let said = text(&run);
            if said.contains("hunter2") {
                stop.store(true, Ordering::Relaxed);
                panic!("{line}: {said}");
            }
            match run.status.code() {
                Some(0) => mine += 1,
                Some(CANNOT) if said.contains("Permission denied") => denied += 1,
                // A root filesystem without /dev, or a link that was not there at that moment.
                Some(CANNOT) if said.contains("No such file") => {}
                _ => {
                    stop.store(true, Ordering::Relaxed);
                    panic!("{line}: {said}");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        flips = flipper.join().unwrap();
    });
    assert!(
        mine > 20 && denied > 20,
        "nothing was raced: {mine} {denied} {flips}"
    );
}

/// Attack: `--tmpfs mode=` might be a chmod of what is at the target: the C program made any
/// directory of root's world-writable.
#[test]
fn a_tmpfs_changes_nothing_of_the_directory_it_hides() {
    let host = Host::new();
    let roots = host.root_dir("roots", 0o751);
    let own = host.caller_dir("own");
    let closed = host.root_dir("closed", 0o700);
    host.root_file("roots/file", 0o604, "x");
    let stat = |path: &Path| {
        let stat = fs::metadata(path).unwrap();
        (
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime_nsec(),
            stat.ctime_nsec(),
            stat.nlink(),
        )
    };
    let all = || [&roots, &own, &closed, &host.path("roots/file")].map(|path| stat(path));
    let before = all();
    for action in ["run", "build"] {
        for target in ["roots", "own", "closed"] {
            let script =
                "chmod 770 $DIR/T && touch $DIR/T/new && chmod 600 $DIR/T/new && echo inside";
            let script = fill(&host, script).replace('T', target);
            let run = host
                .selfdock()
                .args(["--tmpfs", "mode=1777"])
                .arg(host.path(target))
                .args([action, "/bin/sh", "-c", &script])
                .output()
                .unwrap();
            // The tmpfs is the caller's to use, but not theirs to chmod: root of it is the caller.
            assert!(text(&run).contains("inside"), "{}", text(&run));
            assert_eq!(all(), before, "{target}");
        }
    }
    for magic in [
        "/proc/self/cwd",
        "/proc/1/root",
        "/proc/self/fd/0",
        "/proc",
        "/proc/sys",
    ] {
        let run = host.run(["--tmpfs", "mode=777", magic, "build", "/bin/echo", "ran"]);
        assert_eq!(run.status.code(), Some(CANNOT), "{magic}: {}", text(&run));
        assert!(!text(&run).contains("ran"), "{magic}: {}", text(&run));
        assert_eq!(all(), before, "{magic}");
    }
}

/// Attack: the command looks for anything that selfdock forgot to give up.
#[test]
fn nothing_that_needs_privilege_works_for_the_command() {
    let host = Host::new();
    let tool = host.compile("try", TRY_EVERYTHING);
    // What it is on this host without any privilege, where the same must hold.
    let node = "/dev/shm/selfdock-test-node";
    let lines = |run: &Output| out(run).lines().map(str::to_owned).collect::<Vec<_>>();
    let baseline = lines(&host.as_caller(&tool).arg(node).output().unwrap());
    // In a user namespace that knows the caller alone, root is not even a user.
    let to_root = ["setresuid", "setuid", "setresgid"];
    let denied = |line: &String, is_alone| {
        let (name, errno) = line.rsplit_once(' ').unwrap();
        let expected = match is_alone && to_root.contains(&name) {
            true => nix::libc::EINVAL,
            false => nix::libc::EPERM,
        };
        errno == expected.to_string() || name == "quotactl"
    };
    assert!(
        baseline.iter().all(|line| denied(line, false)),
        "{baseline:?}"
    );

    // Root in a mount namespace of its own can do most of it, so the calls are the right ones.
    let mut control = Command::new("unshare");
    control
        .args(["--mount", "--uts", "--propagation", "private"])
        .arg(&tool)
        .arg(host.path("node"));
    let control = lines(&control.output().unwrap());
    let works = control.iter().filter(|line| line.ends_with(" 0")).count();
    assert!(works >= 14, "{control:?}");

    for line in [
        "run $DIR/try $NODE",
        "build $DIR/try $NODE",
        "run $SD run $SD run $DIR/try $NODE",
        "--vol /dev /dev --vol $DIR /mnt run $DIR/try $NODE",
    ] {
        let inside = lines(&host.run_line(&line.replace("$NODE", node)));
        assert_eq!(inside.len(), baseline.len());
        let is_alone = Install::is_rootless();
        assert!(
            inside.iter().all(|line| denied(line, is_alone)),
            "{line}: {inside:?}"
        );
    }
}

/// The number of each capability, from capabilities(7).
mod capability {
    pub const CHOWN: u32 = 0;
    pub const DAC_OVERRIDE: u32 = 1;
    pub const FOWNER: u32 = 3;
    pub const FSETID: u32 = 4;
    pub const KILL: u32 = 5;
    pub const SETGID: u32 = 6;
    pub const SETUID: u32 = 7;
    pub const SETPCAP: u32 = 8;
    pub const SYS_CHROOT: u32 = 18;
    pub const SYS_ADMIN: u32 = 21;
    pub const SETFCAP: u32 = 31;
}

fn mask(numbers: &[u32]) -> u64 {
    numbers.iter().map(|number| 1 << number).sum()
}

/// The capability sets in a `/proc/PID/status`: Inh, Prm, Eff, Bnd, Amb.
fn capability_sets(status: &str) -> [u64; 5] {
    ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(|name| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    })
}

/// Even were a set-user-id program to gain uid 0 inside, it would be a root without capabilities.
#[test]
fn the_command_has_no_capability_and_a_bounding_set_of_three() {
    use capability::{SETPCAP, SYS_ADMIN, SYS_CHROOT};
    let host = Host::new();
    let ours = capability_sets(&fs::read_to_string("/proc/self/status").unwrap())[3];
    let three = ours & mask(&[SYS_ADMIN, SYS_CHROOT, SETPCAP]);
    // Whoever nests in a user namespace makes another.
    let bounding = Install::wanted().choose(three, three, 0);
    for line in [
        "run /bin/cat /proc/self/status",
        "build /bin/cat /proc/self/status",
        "run $SD run $SD run /bin/cat /proc/self/status",
    ] {
        let run = host.run_line(line);
        let status = out(&run);
        assert_eq!(capability_sets(status), [0, 0, 0, bounding, 0], "{line}");
        let ids = format!(
            "\nUid:\t{0}\t{0}\t{0}\t{0}\nGid:\t{0}\t{0}\t{0}\t{0}\n",
            host.uid()
        );
        assert!(status.contains(&ids), "{line}: {status}");
        assert!(status.contains("\nNoNewPrivs:\t0\n"), "{line}: {status}");
    }
}

/// A caller may carry inheritable and ambient capabilities: the command must not have them, nor
/// must they be what lets selfdock do its work.
#[test]
fn ambient_and_inheritable_capabilities_do_not_reach_the_command() {
    let host = Host::new();
    let mut command = Command::new("setpriv");
    let id = host.uid().to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    command.args([
        "--inh-caps",
        "+dac_override,+chown",
        "--ambient-caps",
        "+dac_override,+chown",
        "--",
    ]);
    let start = |words: &[&OsStr], command: &mut Command| {
        let run = command
            .args(words)
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        capability_sets(out(&run))
    };
    let cat = ["/bin/cat", "/proc/self/status"].map(OsStr::new);
    let [_, permitted, effective, ..] = start(&cat, &mut { clone_of(&command) });
    assert_eq!((permitted, effective), (3, 3), "not ambient outside");
    let program = host.program();
    let inside = start(
        &[&[program.as_os_str(), OsStr::new("run")][..], &cat].concat(),
        &mut command,
    );
    assert_eq!([inside[0], inside[1], inside[2], inside[4]], [0; 4]);
}

fn clone_of(command: &Command) -> Command {
    let mut clone = Command::new(command.get_program());
    clone.args(command.get_args());
    clone
}

/// selfdock, to be run by root.
fn as_root(host: &Host, words: &[&str]) -> Output {
    let mut command = Command::new(host.program());
    command
        .args(words.iter().map(|word| fill(host, word)))
        .current_dir("/")
        .stdin(Stdio::null());
    command.env_remove("RUST_BACKTRACE").output().unwrap()
}

/// Root gets capabilities back at exec, from the bounding set: so that is a written list.
#[test]
fn for_root_the_command_has_the_documented_capabilities_and_no_other() {
    use capability::*;
    let host = Host::new();
    let list = mask(&[
        CHOWN,
        DAC_OVERRIDE,
        FOWNER,
        FSETID,
        KILL,
        SETGID,
        SETUID,
        SETFCAP,
        SYS_CHROOT,
    ]);
    let ours = capability_sets(&fs::read_to_string("/proc/self/status").unwrap())[3];
    for action in ["run", "build"] {
        let run = as_root(&host, &[action, "/bin/cat", "/proc/self/status"]);
        let [inherited, permitted, effective, bounding, ambient] = capability_sets(out(&run));
        assert_eq!(
            (permitted, effective, bounding),
            (list & ours, list & ours, list & ours)
        );
        assert_eq!((inherited, ambient), (0, 0));
    }
    // What the man page says.
    let page = include_str!("../docs/sections.1");
    let (_, rest) = page.split_once("Root's command has ").unwrap();
    let (sentence, _) = rest.split_once(", and no\n").unwrap();
    let words = sentence.split([' ', '\n', ',']);
    let mut documented: Vec<&str> = words.filter(|word| word.starts_with("CAP_")).collect();
    documented.sort_unstable();
    let names = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ];
    assert_eq!(documented, names);
}

/// Attack: root inside undoes the instance, reaches a device or another's process.
#[test]
fn for_root_nothing_that_would_undo_the_instance_works() {
    let host = Host::new();
    let tool = host.compile("try", TRY_EVERYTHING);
    let run = as_root(
        &host,
        &["run", tool.to_str().unwrap(), "/dev/shm/selfdock-test-node"],
    );
    let said = out(&run);
    let may = [
        "setresuid",
        "setuid",
        "setresgid",
        "setgroups",
        "chroot",
        "quotactl",
    ];
    for line in said.lines() {
        let (name, errno) = line.rsplit_once(' ').unwrap();
        assert!(may.contains(&name) || errno == "1", "{said}");
    }
    let run = as_root(&host, &["run", "mount", "-t", "tmpfs", "x", "/mnt"]);
    assert!(
        !run.status.success() && text(&run).contains("permission denied"),
        "{}",
        text(&run)
    );
}

/// Root's instances withhold CAP_SYS_ADMIN from the command, hence from a nested selfdock too; the
/// message must say that, and not that something is installed wrongly. It makes a user namespace.
#[test]
fn selfdock_inside_an_instance_of_roots_has_no_privilege_and_says_so() {
    let host = Host::new();
    let words = ["run", "$SD", "--privilege", "setuid", "run", "/bin/true"];
    assert_refused(
        &as_root(&host, &words),
        &format!("cannot get privilege: {OF_ROOTLESS}"),
    );
    // Its own file is of no use to root, so it is not the exception either.
    let table = as_root(&host, &["run", "/bin/cat", "/proc/self/mountinfo"]);
    let flags = out(&table)
        .lines()
        .map(|line| line.split(' ').nth(5).unwrap());
    let has_nosuid = |flags: &str| flags.split(',').any(|flag| flag == "nosuid");
    assert!(
        flags.clone().count() > 5 && flags.clone().all(has_nosuid),
        "{}",
        text(&table)
    );
    let map = as_root(
        &host,
        &["run", "$SD", "run", "/bin/cat", "/proc/self/uid_map"],
    );
    assert_eq!(
        out(&map).split_whitespace().collect::<Vec<_>>(),
        ["0", "0", "1"]
    );
}

/// A running instance on a host of few mounts: its supervisor, and the pid of its command.
#[allow(clippy::zombie_processes)] // who gets it waits for it
fn start_sleeping(host: &Host, words: &[&str]) -> (std::process::Child, u32) {
    let mut command = host.on_host(PLAIN, host.program());
    let child = command
        .args(words.iter().map(|word| fill(host, word)))
        .args(["run", "/bin/sleep", "1000"]);
    let child = child.spawn().unwrap();
    let is_asleep = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(pid) = host.processes().into_iter().find(is_asleep) {
            return (child, pid);
        }
        assert!(Instant::now() < deadline, "the command does not start");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Attack: with the old root still in the mount namespace, beneath or above the new one, whoever
/// gets a capability inside has the host, with its set-user-id programs.
#[test]
fn nothing_of_the_old_root_remains_in_the_mount_namespace() {
    let host = Host::new();
    host.busybox_rootfs("rootfs");
    for (options, is_hosts_own) in [(&[][..], true), (&["--rootfs", "$DIR/rootfs"], false)] {
        let (mut supervisor, pid) = start_sleeping(&host, options);
        // In a user namespace the host's mounts come along, beneath those of the instance.
        let is_whole = Install::is_rootless() && is_hosts_own;
        // Root enters by the namespace, whose root is the namespace's own and not the command's.
        let enter = |words: &[&str]| {
            let mut command = Command::new("nsenter");
            command
                .args(["--mount", "--pid", "--target", &pid.to_string(), "--"])
                .args(words);
            out(&command.output().unwrap()).to_owned()
        };
        let within = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        assert_eq!(enter(&["/bin/cat", "/proc/self/mountinfo"]), within);
        let inodes = enter(&["stat", "-c", "%d:%i", "/", "/.."]);
        let (root, above) = inodes.trim().split_once('\n').unwrap();
        assert_eq!(root, above);
        let table: Vec<Vec<&str>> = within
            .lines()
            .map(|line| line.split(' ').collect())
            .collect();
        assert_eq!(
            table.iter().filter(|line| line[4] == "/").count(),
            1,
            "{within}"
        );
        let seen = seen(&within);
        assert_eq!(seen.len() < table.len(), is_whole, "{within}");
        let known = ["/", "/dev", "/proc", "/tmp"];
        let program = host.program();
        for line in seen {
            let line: Vec<&str> = line.split(' ').collect();
            let is_ours = known.contains(&line[4]) || line[4].starts_with("/dev/");
            let is_cover = is_whole && line[3] == "/pts" && line[5].starts_with("ro,nosuid,nodev");
            assert!(
                is_ours || is_cover || Path::new(line[4]) == program,
                "{within}"
            );
        }
        // Whatever the host calls a mount, none of its numbers is in here.
        let outside = mounts();
        let mut numbers = outside.lines().map(|line| line.split(' ').next().unwrap());
        assert!(numbers.all(|number| table.iter().all(|line| line[0] != number)));
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        host.assert_nothing_runs();
    }
    for line in [
        "run stat -c %d:%i / /..",
        "run stat -c %d:%i / /../../.",
        "run stat -c %d:%i / /proc/self/root/..",
    ] {
        let run = host.run_line(line);
        let (root, above) = out(&run).trim().split_once('\n').unwrap();
        assert_eq!(root, above, "{line}");
    }
}

/// Attack: where the instance is in a user namespace, what runs in it can make another, and is root there:
/// over its copy of the mounts, with all that restricts and hides. tests/covers.rs has the same for the
/// other modes.
#[test]
fn in_a_user_namespace_no_mount_of_an_instances_can_be_undone_from_another() {
    let host = Host::new();
    host.compile("undo", UNDO);
    for name in ["own", "copy", "hidden", "hidden/dir"] {
        host.root_dir(name, 0o755);
    }
    let files = ["hidden/dir/beneath", "hidden/file", "hidden/dir/between"];
    for name in &files[..2] {
        host.root_file(name, 0o644, "beneath");
    }
    host.root_file("other", 0o644, "");
    let hide = "mount -t tmpfs tmpfs $DIR/hidden/dir && echo between >$DIR/hidden/dir/between &&
        mount --bind $DIR/other $DIR/hidden/file";
    let files = files.map(|name| host.path(name).to_str().unwrap().to_owned());
    let undo = format!(
        "unshare -Urm $DIR/undo $DIR/own $DIR/copy {}",
        files.join(" ")
    );
    let on = |setup: &str, words: &str| {
        let script = fill(&host, &format!("{words} {undo}"));
        let mut command = host.on_host(setup, "/bin/sh");
        out(&command.args(["-euc", &script]).output().unwrap()).to_owned()
    };
    let own = host.path("own");
    let works = |what| format!("{what} {}\n", own.display());
    let all = [
        "ro", "nosuid", "nodev", "noexec", "remount", "clone", "unmount",
    ]
    .map(works);
    let read = |file: &String| {
        let copy = host.path("copy");
        format!("read {file}\nread {}{file}\n", copy.display())
    };
    // Outside it undoes what is its own, and shows what there is to be seen: what lies between.
    assert_eq!(on(hide, ""), all.concat() + &read(&files[2]));
    for words in [
        "$SD --privilege userns run",
        "$SD --privilege userns build",
        "$SD --privilege userns --no-nest --init run",
        "$SD --privilege userns run $SD run",
        "$SD run $SD --privilege userns build",
    ] {
        assert_eq!(on(hide, words), all.concat(), "{words}");
        // Were there no mounts on them, two of the files could be read.
        let shown = [&files[0], &files[1]].map(read).concat();
        assert_eq!(on(":", words), all.concat() + &shown, "{words}");
    }
}

/// Attack: a fork with CAP_SYS_ADMIN in effect is not subject to RLIMIT_NPROC, so each start would
/// be a process beyond the limit.
#[test]
fn the_limit_of_processes_holds_for_selfdock_too() {
    let host = Host::new();
    let limited = |limit: &str, line: &str| {
        let mut command = host.as_caller("prlimit");
        command.arg(format!("--nproc={limit}:{limit}"));
        command
            .args(fill(&host, line).split_whitespace())
            .output()
            .unwrap()
    };
    let refusal = format!(
        "cannot start a process: fork: {}\nhint: the limit of processes is reached: ulimit -u",
        nix::errno::Errno::EAGAIN.desc()
    );
    // The supervisor and the command; then a supervisor more.
    for (line, needed) in [
        ("$SD run /bin/echo ran", 2),
        ("$SD run $SD run /bin/echo ran", 3),
    ] {
        assert_eq!(out(&limited(&needed.to_string(), line)), "ran\n", "{line}");
        assert_refused(&limited(&(needed - 1).to_string(), line), &refusal);
    }
    let forks = "for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2 & done; wait";
    let mut command = host.as_caller("prlimit");
    command
        .args(["--nproc=6:6"])
        .arg(host.program())
        .args(["run", "/bin/sh", "-c", forks]);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(host.processes().len());
    }
    assert!(most <= 6, "{most} processes at once");
}

/// Attack: files that the caller may not write become writable, because the root is, in `build`.
#[test]
fn build_writes_only_what_the_caller_may_write() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("rootfs");
    let roots = rootfs.join("etc/roots");
    fs::write(&roots, "root's").unwrap();
    chown(rootfs.join("etc"), Some(0), Some(0)).unwrap();
    for script in [
        "echo x >/etc/roots",
        "echo x >/etc/new",
        "rm /etc/roots",
        "chmod 777 /etc",
        "chown 1 /bin",
    ] {
        let run = host.run([
            "--rootfs",
            rootfs.to_str().unwrap(),
            "build",
            "/bin/sh",
            "-c",
            script,
        ]);
        assert!(!run.status.success(), "{script}: {}", text(&run));
    }
    assert_eq!(fs::read_to_string(&roots).unwrap(), "root's");
    assert_eq!(
        fs::metadata(rootfs.join("etc"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o755
    );
    // The control: what is the caller's, they can write.
    let script = "echo x >/mnt/new && cat /mnt/new";
    let run = host.run([
        "--rootfs",
        rootfs.to_str().unwrap(),
        "build",
        "/bin/sh",
        "-c",
        script,
    ]);
    assert_eq!(out(&run), "x\n");
    let run = host.run([
        "--rootfs",
        rootfs.to_str().unwrap(),
        "run",
        "/bin/sh",
        "-c",
        script,
    ]);
    assert!(!run.status.success(), "{}", text(&run));
}

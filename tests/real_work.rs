//! What people do with it: compilers, builds, scripts, other systems' roots. Not only `true`.
//!
//! What is needed for that, and missing, fails the test; `tests/run --install-packages` installs it.

mod host;

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use host::{Host, assert_ended, out, text};

const HELLO: &str = "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 7; }\n";

/// A program of the caller's environment, not of the one that the tests were started in: no
/// directory that only root can reach is in its PATH.
fn as_user(host: &Host, program: &str) -> Command {
    let mut command = host.as_caller(program);
    let selfdock = host.program();
    let bin = selfdock.parent().unwrap().display();
    command
        .env_clear()
        .env("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin"));
    command
        .env("HOME", host.path("home"))
        .env("LC_ALL", "C.UTF-8");
    command
}

/// The caller types this into bash, in this directory. As with `out`, no error may show.
#[track_caller]
fn type_in(host: &Host, dir: &Path, script: &str) -> String {
    let mut shell = as_user(host, "/bin/bash");
    let run = shell
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(dir)
        .output()
        .unwrap();
    out(&run).to_owned()
}

#[test]
fn a_c_program_is_compiled_and_runs() {
    let host = Host::new();
    let dir = host.caller_dir("project");
    host.caller_file("project/hello.c", 0o644, HELLO);
    let cc = host.run_line(
        "-v $DIR/project $DIR/project -C $DIR/project run cc -Wall -O2 -g -o hello hello.c",
    );
    assert_eq!(out(&cc), "");
    let program = fs::metadata(dir.join("hello")).unwrap();
    assert_eq!((program.uid(), program.gid()), (host.uid(), host.uid()));
    let hello = host.run_line("run $DIR/project/hello");
    assert_ended(&hello, 7);
    assert_eq!(hello.stdout, b"hello\n", "{}", text(&hello));

    // What the compiler says, and how it ends, is as without selfdock.
    host.caller_file("project/hello.c", 0o644, "int main(void) { return x; }");
    let words = ["-c", "hello.c", "-o", "/dev/null"];
    let bare = host
        .as_caller("cc")
        .args(words)
        .current_dir(&dir)
        .output()
        .unwrap();
    let cc = host
        .selfdock()
        .args(["--here", "run", "cc"])
        .args(words)
        .current_dir(&dir)
        .output();
    let cc = cc.unwrap();
    assert_ended(&bare, 1);
    assert_eq!((cc.status, text(&cc)), (bare.status, text(&bare)));
    // And outside of the directory nothing can be written.
    let cc =
        host.run_line("-m $DIR/project $DIR/project -C $DIR/project run cc -E hello.c -o hello.i");
    assert_ended(&cc, 1);
    assert!(text(&cc).contains("Read-only file system"), "{}", text(&cc));
}

/// A make that starts selfdock that starts a make: one jobserver for all.
#[test]
fn make_builds_here_and_shares_its_jobserver() {
    let host = Host::new();
    let dir = host.caller_dir("project");
    let mut makefile = String::from("all: program\nprogram: ");
    for number in 0..20 {
        let code = format!("int f{number}(void) {{ return {number}; }}\n");
        host.caller_file(format!("project/f{number}.c"), 0o644, code);
        write!(makefile, "f{number}.o ").unwrap();
    }
    let main = "int f19(void); int main(void) { return f19(); }";
    host.caller_file("project/main.c", 0o644, main);
    makefile.push_str("main.o\n\t$(CC) -o $@ $^\nouter:\n\t+selfdock --here run $(MAKE) all\n");
    host.caller_file("project/Makefile", 0o644, makefile);

    type_in(
        &host,
        &dir,
        "selfdock --here run make -j4 && rm *.o program",
    );
    // make 4.4 keeps its jobserver in /tmp, where an instance does not see it, unless told.
    let built = type_in(
        &host,
        &dir,
        "style=; if make --help | grep -q jobserver-style; then style=--jobserver-style=pipe; fi
        make -j2 $style outer 2>&1; ./program || echo ended with $?",
    );
    assert!(built.ends_with("\nended with 19\n"), "{built}");
    assert!(!built.contains("jobserver"), "{built}");
}

/// The toolchain may be in a home that the caller cannot enter; then this is done on a machine where
/// it is in another place as well.
#[test]
fn a_cargo_project_is_built_tested_and_run() {
    let host = Host::new();
    let dir = host.caller_dir("project");
    host.caller_dir("project/src");
    let manifest = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    host.caller_file("project/Cargo.toml", 0o644, manifest);
    let build = "fn main() { println!(\"cargo::rustc-env=BUILT_AS={}\", std::process::id()); }";
    host.caller_file("project/build.rs", 0o644, build);
    let code = "/// ```\n/// assert_eq!(small::twice(2), 4);\n/// ```\npub fn twice(x: u32) -> u32 { 2 * x }\n\
        #[test] fn twice_two() { assert_eq!(twice(2), 4); }\n";
    host.caller_file("project/src/lib.rs", 0o644, code);
    let main = "fn main() { println!(\"{} {}\", small::twice(21), std::process::id()); }";
    host.caller_file("project/src/main.rs", 0o644, main);

    let toolchain = host.root_dir("toolchain", 0o755);
    let bind = format!("mount --bind '{}' \"$DIR/toolchain\"", sysroot().display());
    let mut command = host.on_host(&bind, host.program());
    // These tests are themselves run by cargo, which tells its children a lot.
    for (name, _) in std::env::vars_os() {
        let is_cargos = ["CARGO", "RUST", "LD_LIBRARY_PATH"]
            .iter()
            .any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()));
        if is_cargos {
            command.env_remove(name);
        }
    }
    let path = format!("{}/bin:/usr/bin:/bin", toolchain.display());
    command
        .env("PATH", path)
        .env("HOME", &dir)
        .current_dir(&dir);
    command.arg("-m").args([&toolchain, &toolchain]);
    command.args(["--here", "run", "sh", "-c"]);
    command.arg("cargo test --offline -q >/dev/null && cargo run --release --offline -q");
    let run = command.output().unwrap();
    assert_eq!(out(&run).split(' ').next(), Some("42"));
    let program = fs::metadata(dir.join("target/release/small")).unwrap();
    assert_eq!(program.uid(), host.uid());
}

/// Where the compiler that builds these tests has its libraries: what a caller's `cargo` needs.
fn sysroot() -> PathBuf {
    let cargo = Path::new(env!("CARGO"));
    let rustc = cargo.with_file_name("rustc");
    let mut rustc = Command::new(if rustc.exists() {
        &rustc
    } else {
        Path::new("rustc")
    });
    let sysroot = rustc
        .args(["--print", "sysroot"])
        .output()
        .expect("rustc is needed");
    let sysroot = PathBuf::from(out(&sysroot).trim());
    assert!(
        sysroot.join("bin/cargo").exists(),
        "no cargo in {}",
        sysroot.display()
    );
    sysroot
}

/// Semaphores and shared memory are files in /dev/shm; a pool's workers are children of pid 1.
#[test]
fn python_works_with_several_processes() {
    let host = Host::new();
    let script = "
import multiprocessing as mp
from multiprocessing import shared_memory

def work(n):
    with lock:
        total.value += n
    return n * n

def share(memory, lock, total):
    globals().update(lock=lock, total=total)

if __name__ == '__main__':
    for method in 'fork', 'spawn', 'forkserver':
        context = mp.get_context(method)
        lock, total = context.Lock(), context.Value('i', 0)
        with context.Pool(3, share, (None, lock, total)) as pool:
            assert pool.map(work, range(50)) == [n * n for n in range(50)]
        print(method, total.value)
    memory = shared_memory.SharedMemory(create=True, size=1 << 20)
    memory.buf[:5] = b'hello'
    again = shared_memory.SharedMemory(memory.name)
    print(bytes(again.buf[:5]))
    again.close(); memory.close(); memory.unlink()
";
    host.root_file("work.py", 0o644, script);
    let run = as_user(&host, "selfdock")
        .args(["run", "/usr/bin/python3"])
        .arg(host.path("work.py"))
        .output()
        .unwrap();
    assert_eq!(
        out(&run),
        "fork 1225\nspawn 1225\nforkserver 1225\nb'hello'\n"
    );
    assert!(
        !Path::new("/dev/shm")
            .read_dir()
            .unwrap()
            .flatten()
            .any(|entry| { entry.metadata().is_ok_and(|stat| stat.uid() == host.uid()) })
    );
}

#[test]
fn pipelines_and_process_substitution_work_across_it() {
    let host = Host::new();
    let home = host.caller_dir("home");
    for (script, expected) in [
        (
            "selfdock run sort <(printf 'b\\na\\n') <(selfdock run echo aa)",
            "a\naa\nb\n",
        ),
        ("diff <(selfdock run seq 3) <(seq 3) && echo same", "same\n"),
        (
            "seq 3 | selfdock run tee >(selfdock run wc -l >$HOME/count) | wc -c; until [ -s $HOME/count ]; do sleep .05; done; cat $HOME/count",
            "6\n3\n",
        ),
        (
            "printf x | selfdock run cat | selfdock run selfdock run cat | selfdock run wc -c",
            "1\n",
        ),
        ("exec 7<<<seven; selfdock run sh -c 'cat <&7'", "seven\n"),
        (
            "exec 10>$HOME/log; selfdock run bash -c 'echo ten >&10'; cat $HOME/log",
            "ten\n",
        ),
        // A writer whose reader is gone ends: pid 1 by the error, for the kernel spares it SIGPIPE.
        (
            "set +o pipefail; selfdock run yes 2>/dev/null | head -n1; echo ${PIPESTATUS[0]}",
            "y\n1\n",
        ),
        (
            "selfdock run bash -c 'yes | head -n1; echo ${PIPESTATUS[0]}'",
            "y\n141\n",
        ),
        // A reader sees the end as soon as the command closes its output, though it goes on.
        (
            "selfdock run sh -c 'echo early; exec >&-; sleep 3' | timeout 2 cat",
            "early\n",
        ),
        (
            "selfdock run bash -c 'cat <(echo inside) /dev/fd/0 <<<here; echo err >&2' 2>&1",
            "inside\nhere\nerr\n",
        ),
        (
            "coproc selfdock run cat; echo coproc >&${COPROC[1]}; read -r l <&${COPROC[0]}; echo $l; kill $COPROC_PID",
            "coproc\n",
        ),
    ] {
        assert_eq!(type_in(&host, &home, script), expected, "{script}");
    }
}

#[test]
fn a_busybox_is_a_whole_system() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("os");
    host.root_file("os/etc/motd", 0o644, "another system\n");
    let run = |script: &str| {
        host.selfdock()
            .arg("-r")
            .arg(&rootfs)
            .args(["run", "sh", "-c", script])
            .output()
            .unwrap()
    };
    assert_eq!(
        out(&run("ls / && cat /etc/motd")),
        "bin\ndev\netc\nmnt\nproc\ntmp\nanother system\n"
    );
    let work = "cd /tmp && seq 1000 >a && tar cf - a | gzip | gunzip | tar xOf - | md5sum -c /etc/sums 2>&1";
    let sum = Command::new("sh")
        .args(["-c", "seq 1000 | md5sum"])
        .output()
        .unwrap();
    host.root_file("os/etc/sums", 0o644, out(&sum));
    assert_eq!(out(&run(work)), "-: OK\n");
    // The machine's own system is not there, however the way out is spelled.
    let found = run("ls -d /usr /../usr /proc/1/root/usr /proc/self/cwd/usr 2>&1");
    assert_ended(&found, 1);
    assert_eq!(out(&run("find / -xdev -name '*.so*' | wc -l")), "0\n");
    // It has no selfdock, and nests all the same.
    assert_eq!(
        out(&run("/dev/selfdock run /dev/selfdock run sh -c 'echo $$'")),
        "1\n"
    );
}

/// Another installation of a whole distribution, with a loader and libraries of its own, by the
/// mirror that this machine is configured for. It takes half a minute, and is here because that is
/// what people have: not one static program.
#[test]
fn another_distributions_root_works_like_a_machine_of_its_own() {
    let host = Host::new();
    let rootfs = host.path("os");
    // In a mount namespace of its own: it mounts a /proc meanwhile.
    let script = r#"
        . /etc/os-release
        mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Identifier: Packages' |
            sed -n "s/ $VERSION_CODENAME main\$//p" | head -n1)
        exec debootstrap --variant=minbase --include=perl-base "$VERSION_CODENAME" "$0" "$mirror""#;
    let debootstrap = || {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-euc", script])
            .arg(&rootfs);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let mut made = debootstrap();
    if !made.status.success() {
        // A mirror may well fail once.
        let _ = fs::remove_dir_all(&rootfs);
        made = debootstrap();
    }
    assert!(
        made.status.success(),
        "debootstrap and a mirror are needed: {}",
        text(&made)
    );
    fs::write(rootfs.join("etc/hostname"), "another\n").unwrap();

    let run = |words: &[&str]| {
        as_user(&host, "selfdock")
            .arg("-r")
            .arg(&rootfs)
            .args(words)
            .output()
            .unwrap()
    };
    assert_eq!(out(&run(&["run", "cat", "/etc/hostname"])), "another\n");
    let packages = run(&[
        "run",
        "dpkg-query",
        "-W",
        "-f",
        "${Package}\\n",
        "bash",
        "perl-base",
    ]);
    assert_eq!(out(&packages), "bash\nperl-base\n");
    let perl = "print join ' ', $$, $<, map { $_ * $_ } 1 .. 3";
    assert_eq!(
        out(&run(&["run", "perl", "-e", perl])),
        format!("1 {} 1 4 9", host.uid())
    );
    let bash = "shopt -s extglob; cat <(ls -d /home /usr) && echo ${BASH_VERSION%%.*} && id -u && mktemp /tmp/XXXXXX | wc -c";
    assert!(out(&run(&["run", "bash", "-c", bash])).starts_with("/home\n/usr\n"));
    // What is set-user-id there has no effect, and what is root's stays as it is, `build` or not.
    for action in ["run", "build"] {
        let su = run(&[action, "su", "-s", "/bin/sh", "-c", "id -u"]);
        assert!(
            !su.status.success() && su.stdout.is_empty(),
            "{}",
            text(&su)
        );
        assert_ended(&run(&[action, "sh", "-c", "echo >/etc/hostname"]), 2);
    }
    assert_eq!(
        fs::read_to_string(rootfs.join("etc/hostname")).unwrap(),
        "another\n"
    );
    // A project of the caller's in that system's place for it.
    let project = host.caller_dir("project");
    let project = project.to_str().unwrap();
    out(&run(&[
        "-v",
        project,
        "/srv",
        "-C",
        "/srv",
        "run",
        "sh",
        "-c",
        "dpkg --print-architecture >arch",
    ]));
    assert!(fs::metadata(host.path("project/arch")).unwrap().len() > 1);
}

#[test]
fn a_root_filesystem_is_authored_with_build_and_used_with_run() {
    let host = Host::new();
    let rootfs = host.busybox_rootfs("os");
    let files = host.caller_dir("files");
    let install = "#!/bin/sh
        mkdir -p /opt/app/bin && cp /mnt/app /opt/app/bin/ && chmod 755 /opt/app/bin/app
        ln -s ../opt/app/bin/app /bin/app && echo built-with $$ >/etc/built
        echo temporary >/tmp/gone && rm /bin/telnet";
    host.caller_file("files/install", 0o755, install);
    host.caller_file("files/app", 0o644, "#!/bin/sh\necho \"app: $*\"\n");
    let run = |words: &[&str]| {
        as_user(&host, "selfdock")
            .arg("-r")
            .arg(&rootfs)
            .args(words)
            .output()
            .unwrap()
    };
    assert_eq!(
        out(&run(&[
            "-m",
            files.to_str().unwrap(),
            "/mnt",
            "build",
            "/mnt/install"
        ])),
        ""
    );
    assert_eq!(out(&run(&["run", "app", "a", "b c"])), "app: a b c\n");
    assert_eq!(out(&run(&["run", "cat", "/etc/built"])), "built-with 1\n");
    assert_ended(&run(&["run", "telnet"]), 127);
    let app = fs::metadata(rootfs.join("opt/app/bin/app")).unwrap();
    assert_eq!((app.uid(), app.mode()), (host.uid(), 0o100_755));
    assert!(!rootfs.join("tmp/gone").exists());
    // What was a build is now read-only.
    for words in [["run", "rm", "/etc/built"], ["run", "mkdir", "/opt/more"]] {
        assert_ended(&run(&words), 1);
    }
    assert!(rootfs.join("etc/built").exists());
    // `build` gives no right to what is not the caller's.
    let roots = host.root_file("os/etc/roots", 0o644, "root's");
    chown(rootfs.join("etc"), Some(0), Some(0)).unwrap();
    for script in ["echo x >/etc/roots", "rm -f /etc/roots"] {
        assert_ended(&run(&["build", "sh", "-c", script]), 1);
    }
    assert_eq!(fs::read_to_string(roots).unwrap(), "root's");
}

/// Attack: a script that does all the harm that its caller could do.
#[test]
fn an_untrusted_script_cannot_write_anywhere_nor_stay() {
    let host = Host::new();
    let home = host.caller_dir("home");
    host.caller_dir("home/.config");
    let precious = host.caller_file("home/precious", 0o600, "precious");
    let script = host.caller_file(
        "script",
        0o755,
        r#"#!/bin/bash
        # Every directory that shows, and every file of mine.
        while IFS= read -r dir; do
            { : >"$dir/.selfdock-was-here"; } 2>/dev/null && echo "wrote to $dir"
        done < <(find / -type d -writable -not -path '/proc/*' 2>/dev/null; echo "$HOME"; echo "$HOME/.config")
        echo gone 2>/dev/null >"$HOME/precious"
        rm -rf "$HOME" 2>/dev/null
        chmod 777 "$HOME/precious" 2>/dev/null
        mv "$HOME/precious" "$HOME/gone" 2>/dev/null
        ln -s /etc/passwd "$HOME/link" 2>/dev/null
        kill -9 "$OUTSIDE" 2>/dev/null && echo killed
        ls /proc/"$OUTSIDE" 2>/dev/null
        # Those that stay behind, in a session of their own.
        setsid sh -c 'trap "" HUP TERM; sleep 1000' >/dev/null 2>&1 &
        (setsid sleep 1000 >/dev/null 2>&1 &)
        exit 0
        "#,
    );
    let mut outside = as_user(&host, "sleep").arg("1000").spawn().unwrap();
    let jailed = as_user(&host, "selfdock")
        .args(["run", "bash"])
        .arg(&script)
        .env("OUTSIDE", outside.id().to_string())
        .output()
        .unwrap();
    assert!(
        outside.try_wait().unwrap().is_none(),
        "the process outside is gone"
    );
    let own = ["/dev/shm", "/tmp"].map(|dir| format!("wrote to {dir}\n"));
    let mut wrote: Vec<_> = out(&jailed).split_inclusive('\n').collect();
    wrote.sort_unstable();
    assert_eq!(wrote, own);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(fs::metadata(&precious).unwrap().mode() & 0o777, 0o600);
    for place in ["/tmp", "/dev/shm", "/var/tmp"]
        .map(Path::new)
        .into_iter()
        .chain([home.as_path()])
    {
        assert!(
            !place.join(".selfdock-was-here").exists(),
            "{}",
            place.display()
        );
    }
    assert_eq!(host.processes(), [outside.id()]);

    // Without selfdock it does all of that. Were it to fail for another reason, this proves nothing.
    let harm = "echo gone >$HOME/precious && kill -9 $OUTSIDE";
    let bare = as_user(&host, "sh")
        .args(["-c", harm])
        .env("OUTSIDE", outside.id().to_string())
        .output();
    out(&bare.unwrap());
    assert!(!outside.wait().unwrap().success());
    assert_eq!(fs::read_to_string(&precious).unwrap(), "gone\n");
}

#[test]
fn sources_are_cloned_archived_built_and_compared() {
    let host = Host::new();
    host.caller_dir("home");
    let dir = host.caller_dir("work");
    let same = type_in(
        &host,
        &dir,
        r#"
        run() { selfdock --here run "$@"; }
        git() { run git -c user.name=n -c user.email=e@example.org -c init.defaultBranch=main "$@"; }
        git init -q origin && cd origin
        for n in $(seq 50); do mkdir -p d$n && seq $((n * 100)) >d$n/file; done
        printf 'all: $(patsubst %%,out/%%,$(wildcard d*))\nout/%%: %%/file\n\t@mkdir -p out && sort -r $< | cksum >$@\n' >Makefile
        git add . && git commit -qm first && git tag v1 && git gc -q 2>&1
        cd ..
        git clone -q --no-hardlinks "$PWD/origin" copy 2>&1
        (cd copy && git log --oneline --decorate=no | wc -l && git status --porcelain && git diff --stat v1)
        run tar -C copy --exclude .git -cf - . | (mkdir tree && cd tree && run tar -xf -)
        run diff -r --exclude .git copy tree
        cd tree && run make -s -j4 && ls out | wc -l
        run sh -c 'cat out/* | cksum' >../inside && cat out/* | cksum | cmp - ../inside && echo same
        "#,
    );
    assert_eq!(same, "1\n50\nsame\n");
}

/// What each example of the README prints: these lines, in this order, and perhaps others.
const EXAMPLES: [(&str, &str); 8] = [
    ("Wrap a compiler", "cc -O2 -o hello hello.c\nhello\n"),
    ("Wrap a compiler", ""),
    ("Run a script that you do not trust", "hello.c\n"),
    ("Use another system", "bin\ndev\nproc\ntmp\nLinux\n"),
    ("Nest it", "pid 1 of /proc/1\n"),
    ("Pass things in", "C none\nA\nB\n"),
    ("Name it, see what runs, and go there", "pid 1 is sleep\n"),
    ("Leave pid 1 to selfdock", "status 137\n"),
];

#[test]
fn the_examples_of_the_readme_work_when_pasted() {
    let host = Host::new();
    let home = host.caller_dir("home");
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let examples = examples(&readme);
    let headings: Vec<_> = examples.iter().map(|(heading, _)| *heading).collect();
    assert_eq!(headings, EXAMPLES.map(|(heading, _)| heading));
    for ((heading, script), (_, expected)) in examples.into_iter().zip(EXAMPLES) {
        let mut shell = as_user(&host, "/bin/bash");
        let run = shell
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(&home)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(
            run.status.success() && !said.contains("selfdock:"),
            "{heading}: {}",
            text(&run)
        );
        let mut printed = std::str::from_utf8(&run.stdout).unwrap().lines();
        for line in expected.lines() {
            assert!(
                printed.any(|found| found == line),
                "{heading}, {line:?}: {}",
                text(&run)
            );
        }
    }
}

/// The shell blocks below `## Examples`, each with its heading.
fn examples(readme: &str) -> Vec<(&str, &str)> {
    let (_, examples) = readme.split_once("\n## Examples\n").unwrap();
    let (examples, _) = examples.split_once("\n## ").unwrap();
    let sections = examples.split("\n### ").skip(1);
    let blocks = sections.flat_map(|section| {
        let (heading, text) = section.split_once('\n').unwrap();
        let blocks = text.split("```sh\n").skip(1);
        blocks.map(move |block| (heading, block.split_once("```").unwrap().0))
    });
    blocks.collect()
}

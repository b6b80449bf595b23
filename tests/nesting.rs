//! selfdock within selfdock: as deep as the kernel goes, and no weaker for it.

mod host;

use host::table::seen;
use host::{Host, Install, assert_refused, out};

/// selfdock `levels` deep, then the command.
fn nested(host: &Host, levels: usize, command: &[&str]) -> std::process::Output {
    let program = host.program();
    let program = program.to_str().unwrap();
    let inner = [program, "run"].repeat(levels - 1);
    host.run(
        ["run"]
            .into_iter()
            .chain(inner)
            .chain(command.iter().copied()),
    )
}

#[test]
fn the_command_is_pid_1_at_every_level() {
    let host = Host::new();
    for levels in [1, 2, 4, 16, 32] {
        let run = nested(&host, levels, &["/bin/sh", "-c", "echo $$ /proc/[0-9]*"]);
        assert_eq!(out(&run), "1 /proc/1\n", "{levels} levels");
    }
}

#[test]
fn the_33rd_level_is_refused_in_words() {
    let host = Host::new();
    let run = nested(&host, 33, &["/bin/true"]);
    assert_refused(
        &run,
        "cannot make a pid namespace: No space left on device\n\
         hint: too deeply nested: 32 levels are possible; or user.max_pid_namespaces is reached",
    );
}

#[test]
fn the_root_stays_read_only_and_the_devices_work_at_depth() {
    let host = Host::new();
    let script = "for place in / /dev /etc /usr; do
            if (: > $place/selfdock-test) 2>/dev/null; then echo $place is writable; fi
        done
        echo x > /dev/null && head -c 4 /dev/zero | wc -c";
    for levels in [1, 4, 16] {
        let run = nested(&host, levels, &["/bin/sh", "-c", script]);
        assert_eq!(out(&run), "4\n", "{levels} levels");
    }
}

/// Else a deep instance would carry the mounts of all outer ones, and each level would cost more. In a
/// user namespace it does, but what is seen is the same.
#[test]
fn a_nested_instance_has_no_more_mounts_than_the_outer_one() {
    let host = Host::new();
    let count = |levels| {
        let run = nested(&host, levels, &["/bin/cat", "/proc/self/mountinfo"]);
        (seen(out(&run)).len(), out(&run).lines().count())
    };
    let [(seen_once, once), (_, twice), (seen_deep, deep)] = [count(1), count(2), count(16)];
    assert_eq!(seen_once, seen_deep);
    let more = Install::wanted().choose(0, 0, twice - once);
    assert_eq!(deep, once + 15 * more);
    // No more than it has itself: not those of the host once more.
    assert!(more <= seen_once + 1, "{more} for each, {seen_once} seen");
}

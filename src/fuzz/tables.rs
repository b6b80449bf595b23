//! What the kernel says in /proc, with names in it that a caller has chosen.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{bytes, config};
use crate::mountinfo::MountTable;
use crate::procinfo::{self, Status};

/// A mount, with what the parser keeps of it.
#[derive(Debug, Clone)]
struct Mount {
    id: u64,
    parent: u64,
    root: Vec<u8>,
    mountpoint: Vec<u8>,
    options: &'static str,
    shared: &'static str,
    kind: &'static str,
    source: Vec<u8>,
    super_options: &'static str,
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    bytes(12).prop_map(|bytes| [&b"/"[..], &bytes].concat())
}

fn mount() -> impl Strategy<Value = Mount> {
    let options = select(
        &[
            "rw",
            "ro,nosuid",
            "rw,nosuid,nodev,noexec",
            "rw,nosuidx",
            "nosuid",
        ][..],
    );
    let shared = select(
        &[
            "",
            "shared:1 ",
            "shared:2 master:1 ",
            "unbindable ",
            "propagate_from:3 ",
        ][..],
    );
    let kind = select(&["ext4", "proc", "fuse.a", "-"][..]);
    let words = (
        options,
        shared,
        kind,
        select(&["rw", "ro,nosuid", "-", ""][..]),
    );
    ((1..9_u64, 1..9_u64), (path(), path(), bytes(8)), words).prop_map(|(ids, paths, words)| {
        Mount {
            id: ids.0,
            parent: ids.1,
            root: paths.0,
            mountpoint: paths.1,
            options: words.0,
            shared: words.1,
            kind: words.2,
            source: paths.2,
            super_options: words.3,
        }
    })
}

/// As `mangle_path()` in Linux `fs/seq_file.c` does.
fn mangled(field: &[u8]) -> Vec<u8> {
    let escaped = field.iter().map(|byte| match byte {
        b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}").into_bytes(),
        _ => vec![*byte],
    });
    escaped.collect::<Vec<_>>().concat()
}

/// As `show_mountinfo()` in Linux `fs/proc_namespace.c` does.
fn rendered(mounts: &[Mount]) -> Vec<u8> {
    let lines = mounts.iter().map(|mount| {
        let start = format!("{} {} 0:1 ", mount.id, mount.parent);
        let middle = format!(" {} {}- {} ", mount.options, mount.shared, mount.kind);
        let (root, mountpoint) = (mangled(&mount.root), mangled(&mount.mountpoint));
        let end = format!(" {}\n", mount.super_options);
        let start = [start.as_bytes(), &root, b" ", &mountpoint].concat();
        [
            &start,
            middle.as_bytes(),
            &mangled(&mount.source),
            end.as_bytes(),
        ]
        .concat()
    });
    lines.collect::<Vec<_>>().concat()
}

/// A table and a few changes to it: place, and what is put there in place of how many bytes.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), bytes(4), 0..4_usize), 0..4);
    (vec(mount(), 1..4), changes).prop_map(|(mounts, changes)| {
        let mut text = rendered(&mounts);
        for (index, insert, count) in changes {
            let begin = index.index(text.len() + 1);
            let end = text.len().min(begin + count);
            text.splice(begin..end, insert);
        }
        text
    })
}

/// As `proc_task_name()` in Linux `fs/proc/array.c` does, for the file status.
fn escaped_name(name: &[u8]) -> Vec<u8> {
    let escaped = name.iter().map(|byte| match byte {
        b'\n' => b"\\n".to_vec(),
        b'\\' => b"\\\\".to_vec(),
        _ => vec![*byte],
    });
    escaped.collect::<Vec<_>>().concat()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_mount_table_is_read_as_the_kernel_wrote_it(mounts in vec(mount(), 0..8)) {
        let text = rendered(&mounts);
        let table = MountTable::parse(&text)?;
        for mount in &mounts {
            let first = mounts.iter().find(|other| other.id == mount.id).unwrap();
            let entry = table.get(mount.id).unwrap();
            prop_assert_eq!((entry.id, entry.parent), (first.id, first.parent));
            prop_assert_eq!(entry.root.as_ref(), &first.root[..]);
            prop_assert_eq!(entry.mountpoint.as_ref(), &first.mountpoint[..]);
        }
        let without: Vec<_> = mounts.iter().filter(|mount| !mount.options.split(',').any(|word| word == "nosuid")).map(|mount| mount.id).collect();
        prop_assert_eq!(table.without_nosuid().map(|entry| entry.id).collect::<Vec<_>>(), without);
        for id in 0..10 {
            let below = mounts.iter().filter(|mount| mount.parent == id && mount.id != id).map(|mount| mount.id);
            prop_assert_eq!(table.children(id).map(|entry| entry.id).collect::<Vec<_>>(), below.collect::<Vec<_>>());
            // Parents may well go round in a circle here.
            prop_assert_eq!(table.is_at_or_below(id, id), mounts.iter().any(|mount| mount.id == id));
        }
    }

    #[test]
    fn no_line_of_a_damaged_table_is_passed_over(text in prop_oneof![damaged(), bytes(60)]) {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let lines: Vec<&[u8]> = lines.collect();
        let Ok(table) = MountTable::parse(&text) else {
            return Ok(());
        };
        table.has_whole_procfs();
        for id in 0..10 {
            table.is_at_or_below(id, 1);
        }
        // nosuid is on a line only if that says so.
        let says_so = |line: &&&[u8]| line.windows(6).any(|window| window == b"nosuid");
        let silent = lines.iter().filter(|line| !says_so(line)).count();
        prop_assert!(table.count_without_nosuid() >= silent);
        for line in lines {
            prop_assert!(MountTable::parse(line).is_ok());
        }
    }

    #[test]
    fn a_status_is_the_kernels_whatever_the_name(
        name in prop_oneof![4 => bytes(15), 1 => Just(b"\nNoNewPrivs:\t1".to_vec())],
        uid in any::<u32>(),
        parent in any::<u32>(),
        pids in vec(any::<u32>(), 1..5),
        group in any::<u32>(),
        has_no_new_privs in any::<bool>(),
        bounding in any::<u64>(),
        state in select(&["R (running)", "S (sleeping)", "T (stopped)", "t (tracing stop)", "Z (zombie)", "X (dead)"][..]),
    ) {
        let numbers: Vec<String> = pids.iter().map(u32::to_string).collect();
        let numbers = numbers.join("\t");
        let rest = format!("\nUmask:\t0022\nState:\t{state}\nPPid:\t{parent}\nUid:\t{uid}\t1\t2\t3\nNSpid:\t{numbers}\nNSpgid:\t{group}\t1\nCapBnd:\t{bounding:016x}\nNoNewPrivs:\t{}\n", u8::from(has_no_new_privs));
        let text = [b"Name:\t", &escaped_name(&name)[..], rest.as_bytes()].concat();
        let (is_dead, is_stopped) = (state.starts_with(['Z', 'X']), state.starts_with('T'));
        let expected = Status { uid, parent, pids, group, has_no_new_privs, bounding, is_dead, is_stopped };
        prop_assert_eq!(Status::parse(&text), Some(expected));
        // Cut off anywhere before the last line, it is none.
        let last = text.windows(11).rposition(|window| window == b"NoNewPrivs:").unwrap();
        for end in 0..last {
            prop_assert_eq!(Status::parse(&text[..end]), None);
        }
    }

    #[test]
    fn start_and_terminal_are_the_kernels_whatever_the_name(name in bytes(15), terminal in any::<i32>(), start in any::<u64>()) {
        let rest = format!(") S 1 2 3 {terminal} -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start} 1 1\n");
        let stat = [b"7 (", &name[..], rest.as_bytes()].concat();
        prop_assert_eq!((procinfo::terminal(&stat), procinfo::start(&stat)), (Some(terminal), Some(start)));
    }

    #[test]
    fn any_bytes_are_a_status_or_none(text in bytes(80)) {
        Status::parse(&text);
        procinfo::start(&text);
        procinfo::terminal(&text);
    }

    #[test]
    fn words_are_those_that_were_passed(words in vec(bytes(6), 0..6)) {
        let text: Vec<u8> = words.iter().flat_map(|word| [&word[..], b"\0"].concat()).collect();
        let words: Vec<OsString> = words.into_iter().map(OsString::from_vec).collect();
        prop_assert_eq!(procinfo::words(&text), words);
    }
}

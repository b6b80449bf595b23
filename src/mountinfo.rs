//! The mount table of a namespace: `/proc/PID/mountinfo`, parsed. Pure.
//!
//! Read from a proven procfs only. A line that cannot be understood is an error: what is decided
//! from this table hides things.

use std::borrow::Cow;
use std::str;

use thiserror::Error;

/// A line that is not of the form of proc_pid_mountinfo(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("line {0} of the mount table cannot be understood")]
pub struct MountTableError(usize);

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number.
    pub id: u64,
    /// Number of the mount that it is mounted on.
    pub parent: u64,
    /// The directory or file of its filesystem that is its root.
    pub root: Cow<'a, [u8]>,
    /// Where it is mounted, seen from this process's root.
    pub mountpoint: Cow<'a, [u8]>,
    options: &'a [u8],
    kind: &'a [u8],
    super_options: &'a [u8],
}

impl Entry<'_> {
    fn has_option(&self, wanted: &[u8]) -> bool {
        [self.options, self.super_options].iter().any(|list| {
            list.split(|byte| *byte == b',')
                .any(|option| option == wanted)
        })
    }

    /// The user who serves it, if it is a FUSE filesystem: fuse(4).
    pub fn server(&self) -> Option<u32> {
        let is_fuse = matches!(self.kind, b"fuse" | b"fuseblk") || self.kind.starts_with(b"fuse.");
        let mut options = self.super_options.split(|byte| *byte == b',');
        let user = options.find_map(|option| option.strip_prefix(b"user_id="));
        str::from_utf8(user.filter(|_| is_fuse)?).ok()?.parse().ok()
    }

    /// A procfs with all its parts: its root, not read-only, not only the processes.
    fn is_whole_procfs(&self) -> bool {
        self.kind == b"proc"
            && self.root.as_ref() == b"/"
            && !self.has_option(b"ro")
            && !self
                .super_options
                .split(|byte| *byte == b',')
                .any(|option| option.starts_with(b"subset="))
    }
}

/// Every mount of a namespace that this process can see.
#[derive(Debug, PartialEq, Eq)]
pub struct MountTable<'a>(Vec<Entry<'a>>);

impl<'a> MountTable<'a> {
    /// Parses the whole file.
    pub fn parse(text: &'a [u8]) -> Result<Self, MountTableError> {
        let lines = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        // Hardly a line is shorter: room for all, so that none is ever moved.
        let mut entries = Vec::with_capacity(text.len() / 64);
        for (index, line) in lines.enumerate() {
            entries.push(parse_line(line).ok_or(MountTableError(index + 1))?);
        }
        Ok(Self(entries))
    }

    /// The mount of this number.
    pub fn get(&self, id: u64) -> Option<&Entry<'a>> {
        self.0.iter().find(|entry| entry.id == id)
    }

    /// The mounts directly on this one.
    pub fn children(&self, id: u64) -> impl Iterator<Item = &Entry<'a>> {
        self.0
            .iter()
            .filter(move |entry| entry.parent == id && entry.id != id)
    }

    /// The mounts on which set-user-id programs have an effect.
    pub fn without_nosuid(&self) -> impl Iterator<Item = &Entry<'a>> {
        // Of the mount, not of the filesystem, where it would be a word without effect.
        let has_nosuid = |entry: &&Entry<'_>| {
            let mut options = entry.options.split(|byte| *byte == b',');
            options.any(|option| option == b"nosuid")
        };
        self.0.iter().filter(move |entry| !has_nosuid(entry))
    }

    /// How many those are.
    pub fn count_without_nosuid(&self) -> usize {
        self.without_nosuid().count()
    }

    /// Is the mount `id` the mount `ancestor`, or on it, or on one that is on it, and so on?
    pub fn is_at_or_below(&self, id: u64, ancestor: u64) -> bool {
        let mut at = id;
        // A chain of parents has no loop, but the length of the table ends any that had.
        for _ in &self.0 {
            match self.get(at) {
                Some(entry) if entry.id == ancestor => return true,
                Some(entry) => at = entry.parent,
                None => return false,
            }
        }
        false
    }

    /// Is the root directory of who reads it the root of a mount?
    pub fn has_root(&self) -> bool {
        self.0.iter().any(|entry| entry.mountpoint.as_ref() == b"/")
    }

    /// Can the caller see a whole /proc: one with nothing hidden below a mount?
    ///
    /// The kernel applies this rule to procfs mounts of user namespaces (`mount_too_revealing()` in
    /// Linux `fs/namespace.c`) and exempts the initial one. The mountpoint of binfmt_misc is made
    /// by the kernel and empty for ever, so what is mounted there hides nothing.
    pub fn has_whole_procfs(&self) -> bool {
        self.0
            .iter()
            .filter(|entry| entry.is_whole_procfs())
            .any(|procfs| {
                self.children(procfs.id).all(|child| {
                    matches!(child.kind, b"autofs" | b"binfmt_misc")
                        && child.mountpoint.strip_prefix(procfs.mountpoint.as_ref())
                            == Some(b"/sys/fs/binfmt_misc")
                })
            })
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse_line(line: &[u8]) -> Option<Entry<'_>> {
    let mut fields = line.splitn(7, |byte| *byte == b' ');
    let id = parse_number(fields.next()?)?;
    let parent = parse_number(fields.next()?)?;
    let _device = fields.next()?;
    let root = unescape(fields.next()?)?;
    let mountpoint = unescape(fields.next()?)?;
    let options = fields.next()?;
    // No or several words of propagation, then the separator.
    let rest = fields.next()?;
    let rest = match rest.strip_prefix(b"- ") {
        Some(rest) => rest,
        None => rest.get(rest.windows(3).position(|window| window == b" - ")? + 3..)?,
    };
    let mut fields = rest.splitn(3, |byte| *byte == b' ');
    let kind = fields.next()?;
    let _source = fields.next()?;
    let super_options = fields.next()?;
    Some(Entry {
        id,
        parent,
        root,
        mountpoint,
        options,
        kind,
        super_options,
    })
}

fn parse_number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Undoes the `\040` of space, tab, newline, backslash and number sign: `mangle_path()` in Linux.
fn unescape(field: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !field.contains(&b'\\') {
        return Some(Cow::Borrowed(field));
    }
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'\\' {
            let (digits, tail) = tail.split_at_checked(3)?;
            bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(Cow::Owned(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "\
22 27 0:21 / /proc rw,nosuid - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
28 27 0:25 / /a\\040b\\011c\\012d\\134e\\043f rw shared:2 master:1 - tmpfs none rw
30 28 0:27 / /deep rw unbindable - tmpfs none rw
31 22 0:28 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw
32 31 0:29 / /proc/sys/fs/binfmt_misc rw - binfmt_misc none rw
";

    #[test]
    fn lines_of_the_kernel_are_understood() {
        let table = MountTable::parse(HOST.as_bytes()).unwrap();
        let children: Vec<u64> = table.children(27).map(|entry| entry.id).collect();
        assert_eq!(children, [22, 28]);
        assert_eq!(
            table.get(28).unwrap().mountpoint.as_ref(),
            b"/a b\tc\nd\\e#f"
        );
        assert_eq!(table.get(99), None);
    }

    #[test]
    fn mounts_that_are_not_nosuid_are_counted() {
        for (text, expected) in [
            (HOST, 5),
            ("", 0),
            ("22 27 0:21 / /proc nosuid - proc proc rw\n", 0),
            ("22 27 0:21 / /nosuid rw,nosuidx - proc nosuid rw\n", 1),
        ] {
            let table = MountTable::parse(text.as_bytes()).unwrap();
            assert_eq!(table.count_without_nosuid(), expected, "{text}");
        }
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error() {
        for line in [
            "22",
            "x 27 0:21 / /proc rw - proc proc rw",
            "22 27 0:21 / /proc rw",
            "22 27 0:21 / /proc rw shared:1 proc proc rw",
            "22 27 0:21 / /proc rw - proc",
            "22 27 0:21 / /pr\\04 rw - proc proc rw",
            "22 27 0:21 / /pr\\999 rw - proc proc rw",
            "-1 27 0:21 / /proc rw - proc proc rw",
        ] {
            let text = format!("22 27 0:21 / /proc rw - proc proc rw\n{line}\n");
            assert_eq!(
                MountTable::parse(text.as_bytes()),
                Err(MountTableError(2)),
                "{line}"
            );
        }
    }

    #[test]
    fn a_mount_is_below_another_at_any_depth() {
        let table = MountTable::parse(HOST.as_bytes()).unwrap();
        for (id, ancestor, expected) in [
            (30, 30, true),
            (30, 28, true),
            (30, 27, true),
            (27, 30, false),
            (22, 28, false),
            (99, 27, false),
            (99, 99, false),
        ] {
            assert_eq!(
                table.is_at_or_below(id, ancestor),
                expected,
                "{id} {ancestor}"
            );
        }
    }

    #[test]
    fn a_procfs_with_something_hidden_is_not_whole() {
        for (text, whole) in [
            (HOST, true),
            (
                "22 27 0:21 / /proc rw - proc proc rw\n23 22 0:3 / /proc/sys/fs/binfmt_misc rw - binfmt_misc n rw\n",
                true,
            ),
            (
                "22 27 0:21 / /proc rw - proc proc rw,hidepid=invisible\n",
                true,
            ),
            ("22 27 0:21 / /proc rw - proc proc rw,subset=pid\n", false),
            ("22 27 0:21 / /proc ro,nosuid - proc proc rw\n", false),
            ("22 27 0:21 / /proc rw - proc proc ro\n", false),
            ("22 27 0:21 /sys /proc/sys rw - proc proc rw\n", false),
            (
                "22 27 0:21 / /proc rw - proc proc rw\n23 22 0:3 / /proc/kcore rw - tmpfs none rw\n",
                false,
            ),
            (
                "22 27 0:21 / /proc rw - proc proc rw\n23 22 0:3 / /proc/sys/fs/binfmt_misc rw - tmpfs none rw\n",
                false,
            ),
            (
                "22 27 0:21 / /proc rw - proc proc rw\n23 22 0:3 / /proc/kcore rw - tmpfs none rw\n24 27 0:21 / /mnt rw - proc proc rw\n",
                true,
            ),
            ("27 1 254:0 / / rw - ext4 proc rw\n", false),
        ] {
            assert_eq!(
                MountTable::parse(text.as_bytes())
                    .unwrap()
                    .has_whole_procfs(),
                whole,
                "{text}"
            );
        }
    }
}

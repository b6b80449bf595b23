//! Names that might be looked up with more than the caller's rights, or somewhere else.

use crate::table::Control::{Attacker, Root, There};
use crate::table::Outcome::{Refused, Says, WithAndWithout};
use crate::table::{ATTACK, Attack, BOUNDED, Outcome};

/// A source or root directory, and how it is refused.
macro_rules! sources {
    ($reason:literal: $($name:literal),*) => {
        &[$(
            (
                concat!("exec $SD -m ", $name, " /mnt run cat /mnt/marker"),
                Refused(concat!("cannot map \"", $name, "\" on \"/mnt\": ", $reason)),
            ),
            (
                concat!("exec $SD -v ", $name, " /mnt build cat /mnt/marker"),
                Refused(concat!("cannot map \"", $name, "\" on \"/mnt\": ", $reason)),
            ),
            (
                concat!("exec $SD -r ", $name, " run cat /marker"),
                Refused(concat!("cannot use \"", $name, "\" as root filesystem: ", $reason)),
            ),
            (
                concat!("exec $SD $IN -C ", $name, " run cat marker"),
                Refused(concat!("cannot change to directory \"", $name, "\": ", $reason)),
            ),
        )*]
    };
}

/// Targets in a root filesystem of the caller's, and how they are refused.
macro_rules! targets {
    ($($target:literal: $reason:literal),* $(,)?) => {
        &[$((
            concat!("exec $SD -r $FIX/os -m $FIX/source ", $target, " run true"),
            Refused(concat!("cannot map \"$FIX/source\" on \"", $target, "\": ", $reason)),
        )),*]
    };
}

/// Root filesystems in which selfdock's own mounts would go astray.
macro_rules! own_mounts {
    ($($root:literal, $kind:literal: $reason:literal),* $(,)?) => {
        &[$((
            concat!("exec $SD -r $FIX/", $root, " run true"),
            Refused(concat!("cannot mount a ", $kind, ": ", $reason)),
        )),*]
    };
}

/// What selfdock says at a path where it has no privilege.
const NOSUID: &str = "cannot get privilege: selfdock is on a nosuid filesystem\n\
    hint: PREFIX=DIR ./install.sh, where DIR is on a filesystem without nosuid";

const CAME_IN: Outcome = Says("come in");

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "what lies below a closed directory cannot be named",
        control: There(
            "$SD -m $FIX/hall/room /mnt run cat /mnt/marker",
            "come in",
        ),
        tries: sources!("Permission denied": "$FIX/vault/open", "$FIX/home/vault",
            "$FIX/home/../vault/open/."),
        ..ATTACK
    },
    Attack {
        name: "what lies below a closed directory cannot be named as a file, relatively, or as target",
        control: There(
            "cd $FIX/home; $SD -m hall /mnt run cat /mnt/marker",
            "come in",
        ),
        tries: &[
            (
                "exec $SD -m $FIX/vault/open/marker /tmp run true",
                Refused("cannot map \"$FIX/vault/open/marker\" on \"/tmp\": Permission denied"),
            ),
            (
                "cd $FIX/home; exec $SD -m vault /mnt run cat /mnt/marker",
                Refused("cannot map \"vault\" on \"/mnt\": Permission denied"),
            ),
            (
                "cd $FIX/home; exec $SD -r ../vault/open run cat /marker",
                Refused("cannot use \"../vault/open\" as root filesystem: Permission denied"),
            ),
            (
                "exec $SD $IN -m $FIX/source $FIX/vault/open run true",
                Refused("cannot map \"$FIX/source\" on \"$FIX/vault/open\": Permission denied"),
            ),
            (
                "exec $SD $IN -t mode=777 $FIX/vault/open build true",
                Refused("cannot mount a tmpfs on \"$FIX/vault/open\": Permission denied"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "a closed directory is as closed inside",
        control: Root("$SD -m $FIX/vault /mnt run cat /mnt/open/marker", "hunter2"),
        tries: &[
            (
                "$SD -m $FIX/vault /mnt run cat /mnt/open/marker 2>/dev/null; echo $?",
                Says("1"),
            ),
            (
                "$SD -v $FIX/vault /mnt build ls /mnt/open >/dev/null 2>&1; [ $? -ne 0 ]",
                Says(""),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "a directory that can be passed but not listed works as outside",
        control: Attacker("cat $FIX/hall/room/marker; ls $FIX/hall 2>/dev/null || echo closed",
            "come in\nclosed"),
        tries: &[
            ("$SD -m $FIX/hall /mnt run cat /mnt/room/marker", CAME_IN),
            ("$SD $IN -C $FIX/hall/room run cat marker", CAME_IN),
            ("$SD -m $FIX/hall /mnt run ls /mnt 2>/dev/null || echo closed", Says("closed")),
        ],
        ..ATTACK
    },
    Attack {
        name: "a link that changes all the time never leads to a closed directory",
        control: Root("cat $FIX/vault/open/marker", "hunter2"),
        tries: &[(
            "cd $SCRATCH; ln -s $FIX/hall/room a; ln -s $FIX/vault/open b; tool flip a b & flip=$!
            for round in $(seq 30); do $SD -m $SCRATCH/a /mnt run cat /mnt/marker; done 2>&1 | sort -u
            kill $flip",
            Says("come in\nselfdock: cannot map \"$SCRATCH/a\" on \"/mnt\": Permission denied"),
        )],
        ..ATTACK
    },
    Attack {
        name: "directories that trade places all the time never let a closed one show",
        machine: "mkdir -p $SCRATCH/play/a/open $SCRATCH/play/b/open
            echo hunter2 >$SCRATCH/play/b/open/marker; echo mine >$SCRATCH/play/a/open/marker
            chown -R $ALICE $SCRATCH/play; chown -R 0 $SCRATCH/play/b; chmod 700 $SCRATCH/play/b",
        control: Root("cat $SCRATCH/play/b/open/marker", "hunter2"),
        tries: &[(
            "tool flip $SCRATCH/play/a $SCRATCH/play/b & flip=$!
            for round in $(seq 30); do $SD -r $SCRATCH/play/a/open run /marker; done 2>&1 | cut -d: -f2- | sort -u
            for round in $(seq 30); do $SD -v $SCRATCH/play/a/open /mnt run cat /mnt/marker; done 2>&1 | sort -u
            kill $flip",
            Says(" \"/dev\" must exist in the root filesystem, or in what is mapped before; nothing is created there\n \
                cannot mount a tmpfs on \"/dev\": No such file or directory\n \
                cannot use \"$SCRATCH/play/a/open\" as root filesystem: Permission denied\n\
                mine\n\
                selfdock: cannot map \"$SCRATCH/play/a/open\" on \"/mnt\": Permission denied"),
        )],
        ..ATTACK
    },
    Attack {
        name: "a target by a link, or with dots in it, stays below the new root",
        control: Attacker("readlink -f $FIX/os/link", "/srv"),
        tries: &[(
            "for target in /srv /link /up //srv /../../srv /./srv/ /top/srv /top/top/link/../link; do
                $SD -r $FIX/os -m $FIX/source $target run sh -c \
                    'cat /srv/file; grep -c \" /srv \" /proc/self/mountinfo'
            done | counted",
            Says("8 1\n8 content"),
        )],
        ..ATTACK
    },
    Attack {
        name: "no target is the root directory, in procfs, or beyond a link that leads nowhere",
        control: There("$SD -r $FIX/os -m $FIX/source /srv run cat /srv/file", "content"),
        tries: targets!(
            "/": "the target is the root directory\nhint: use --rootfs for another root directory",
            "//": "the target is the root directory\nhint: use --rootfs for another root directory",
            "/.": "the target is the root directory\nhint: use --rootfs for another root directory",
            "/srv/..": "the target is the root directory\nhint: use --rootfs for another root directory",
            "/link/..": "the target is the root directory\nhint: use --rootfs for another root directory",
            "/top": "the target is the root directory\nhint: use --rootfs for another root directory",
            "/proc": "the target is in /proc",
            "/proc/self": "the target is in /proc",
            "/proc/sys": "the target is in /proc",
            "/proc/self/cwd": "Too many symbolic links encountered",
            "/proc/self/root/srv": "Too many symbolic links encountered",
            "/dev/fd/0": "Too many symbolic links encountered",
            "/loop": "Too many symbolic links encountered",
        ),
        ..ATTACK
    },
    Attack {
        name: "what is missing in a root filesystem is not made there",
        control: There("$SD -r $FIX/os -m $FIX/source /srv run cat /srv/file", "content"),
        tries: targets!(
            "/missing": "No such file or directory\nhint: \"/missing\" must exist in the root \
                filesystem, or in what is mapped before; nothing is created there",
            "/gone": "No such file or directory\nhint: \"/gone\" must exist in the root \
                filesystem, or in what is mapped before; nothing is created there",
            "/bin/sh": "Not a directory\nhint: the source is a directory, and \"/bin/sh\" is not",
        ),
        ..ATTACK
    },
    Attack {
        name: "selfdock's own mounts do not go astray in a root filesystem of links",
        control: There("$SD -r $FIX/os run echo sound", "sound"),
        tries: own_mounts!(
            "dev-above", "tmpfs on \"/dev\"": "the target is the root directory\n\
                hint: use --rootfs for another root directory",
            "proc-above", "proc on \"/proc\"": "the target is the root directory\n\
                hint: use --rootfs for another root directory",
            "tmp-above", "tmpfs on \"/tmp\"": "the target is the root directory\n\
                hint: use --rootfs for another root directory",
            "tmp-magic", "tmpfs on \"/tmp\"": "Too many symbolic links encountered",
            "dev-gone", "tmpfs on \"/dev\"": "No such file or directory\n\
                hint: \"/dev\" must exist in the root filesystem, or in what is mapped before; \
                nothing is created there",
            "empty", "tmpfs on \"/dev\"": "No such file or directory\n\
                hint: \"/dev\" must exist in the root filesystem, or in what is mapped before; \
                nothing is created there",
        ),
        ..ATTACK
    },
    Attack {
        name: "no name leads through a magic link",
        control: There("cd $FIX/hall/room; cat /proc/self/cwd/marker", "come in"),
        tries: sources!("Too many symbolic links encountered": "/proc/self/root",
            "/proc/self/cwd", "/proc/thread-self/cwd", "/proc/self/root/etc", "/proc/self/fd/0"),
        ..ATTACK
    },
    Attack {
        name: "a link of the caller's to a magic link leads nowhere either",
        control: There("cd $FIX/hall/room; cat $FIX/home/magic/marker", "come in"),
        tries: sources!("Too many symbolic links encountered": "$FIX/home/magic"),
        ..ATTACK
    },
    Attack {
        name: "a tmpfs never changes the mode of what it is put on",
        control: There(
            "$SD $IN -t mode=751 $FIX/source run stat -c %a $FIX/source; stat -c %a $FIX/source",
            "751\n755",
        ),
        tries: &[
            (
                "cd $FIX/source; exec $SD -t mode=777 /proc/self/cwd build true",
                Refused("cannot mount a tmpfs on \"/proc/self/cwd\": \
                    Too many symbolic links encountered"),
            ),
            (
                "exec $SD -t mode=777 /proc/1/root build true",
                Refused("cannot mount a tmpfs on \"/proc/1/root\": \
                    Too many symbolic links encountered"),
            ),
            (
                "exec $SD -t mode=777 /proc/sys build true",
                Refused("cannot mount a tmpfs on \"/proc/sys\": the target is in /proc"),
            ),
            (
                "$SD $IN -t mode=1777 $FIX/home run chmod 700 $FIX/home 2>&1; stat -c %a $FIX/home",
                Says("755"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "a fake /proc cannot be put over the true one",
        control: There("$SD $IN -m $FIX/marker $FIX/place run cat $FIX/place", "marker"),
        tries: &[
            (
                "exec $SD -m $FIX/fakeproc /proc run $SD run true",
                Refused("cannot map \"$FIX/fakeproc\" on \"/proc\": the target is in /proc"),
            ),
            (
                "exec $SD -m $FIX/marker /proc/self/mountinfo run $SD run true",
                Refused("cannot map \"$FIX/marker\" on \"/proc/self/mountinfo\": \
                    the target is in /proc"),
            ),
            (
                "exec $SD -t '' /proc/1 run $SD run true",
                Refused("cannot mount a tmpfs on \"/proc/1\": the target is in /proc"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "another program cannot be put where selfdock is",
        control: There("$SD $IN -m $FIX/marker $FIX/place run cat $FIX/place", "marker"),
        tries: &[
            (
                "$SD $IN -m $FIX/tools/echo $SD run $SD --version | cut -d' ' -f1",
                Says("selfdock"),
            ),
            (
                "$SD $IN -v $FIX/tools/echo $SD build $SD run echo nests",
                Says("nests"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "selfdock by another path has no privilege, as any set-user-id program there",
        control: There("$SD run $SD run echo nests", "nests"),
        tries: &[
            (
                "exec $SD -m ${SD%/*} /mnt run /mnt/selfdock --privilege setuid run true",
                WithAndWithout(&Refused(NOSUID), &Refused(BOUNDED)),
            ),
            (
                "exec $SD $IN -m $SD $FIX/place run $FIX/place --privilege setuid run true",
                WithAndWithout(&Refused(NOSUID), &Refused(BOUNDED)),
            ),
            (
                "$SD -m ${SD%/*} /mnt run /mnt/selfdock run cat /proc/self/uid_map | map",
                Says("$ME $ME 1"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "a working directory is entered as the caller, inside",
        control: There("$SD -C /tmp run pwd", "/tmp"),
        tries: &[
            (
                "exec $SD $IN -C $FIX/vault run pwd",
                Refused("cannot change to directory \"$FIX/vault\": Permission denied"),
            ),
            (
                "exec $SD -C /missing run pwd",
                Refused("cannot change to directory \"/missing\": No such file or directory"),
            ),
            (
                "mkdir $SCRATCH/gone; cd $SCRATCH/gone; rmdir ../gone; $SD run pwd",
                Says("/"),
            ),
            (
                "mkdir $SCRATCH/gone; cd $SCRATCH/gone; rmdir ../gone; exec $SD --here run pwd",
                Refused("cannot use the current directory: it has no path here\n\
                    hint: change to a directory that exists"),
            ),
        ],
        ..ATTACK
    },
];

//! Programs that give whoever executes them rights, in a root that the caller shapes.

use crate::table::Control::{Attacker, Root, There};
use crate::table::Outcome::{Refused, Says, WithAndWithout};
use crate::table::{ATTACK, Attack};

/// What a process without any right says of itself.
const NOTHING: &str = "$ME $ME 0000000000000000";

/// In the hostile root as it is, or there from elsewhere.
macro_rules! in_hostile_root {
    ($there:literal, $here:literal) => {
        concat!(
            "if [ -e $DIR/hostile ]; then $SD -r $DIR/hostile -m $FIX /mnt run /mnt/",
            $there,
            "; else ",
            $here,
            "; fi"
        )
    };
}

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "set-user-id, set-group-id and file capabilities have no effect wherever they show",
        control: Attacker(
            "$FIX/weapons/setuid | cut -d' ' -f1; $FIX/weapons/setgid | cut -d' ' -f2
            $FIX/weapons/filecaps | cut -d' ' -f3",
            "0\n0\n0000000000200002",
        ),
        tries: &[(
            "for weapon in setuid setgid filecaps; do
                $SD $IN run $FIX/weapons/$weapon
                $SD $IN build $FIX/weapons/$weapon
                $SD -m $FIX/weapons /mnt run /mnt/$weapon
                $SD -v $FIX/weapons /mnt build /mnt/$weapon
                $SD -m $FIX/weapons/$weapon /dev/weapon run /dev/weapon
                $SD -r $FIX/os -v $FIX/weapons /tmp run /tmp/$weapon
                $SD $IN run $SD $IN run $FIX/weapons/$weapon
                $SD -m $FIX/weapons /mnt run $SD -v /mnt /tmp build /tmp/$weapon
                $SD $IN --init run $FIX/weapons/$weapon
            done | sort | uniq -c | sed 's/^ *//'",
            Says("27 $ME $ME 0000000000000000"),
        )],
        ..ATTACK
    },
    Attack {
        name: "set-user-id programs and file capabilities in a root filesystem have no effect",
        control: Attacker(
            "$FIX/os/bin/setuid | cut -d' ' -f1; $FIX/os/bin/filecaps | cut -d' ' -f3",
            "0\n0000000000200002",
        ),
        tries: &[
            ("$SD -r $FIX/os run /bin/setuid", Says(NOTHING)),
            ("$SD -r $FIX/os build /bin/setuid", Says(NOTHING)),
            ("$SD -r $FIX/os run /dev/selfdock run /bin/setuid", Says(NOTHING)),
            ("$SD -r $FIX/os run /bin/filecaps", Says(NOTHING)),
            ("$SD -r $FIX/os build /dev/selfdock build /bin/filecaps", Says(NOTHING)),
        ],
        ..ATTACK
    },
    Attack {
        name: "su that believes the caller's passwords is not root",
        control: Root(
            "mount --bind $FIX/etc /etc; $AS_ALICE $FIX/weapons/su -c 'id -u' root",
            "0",
        ),
        tries: &[
            (
                "$SD $IN -m $FIX/etc /etc run $FIX/weapons/su -c 'id -u' root 2>/dev/null; echo $?",
                Says("1"),
            ),
            (
                "$SD $IN -v $FIX/etc /etc build $FIX/weapons/su -c 'id -u' root 2>/dev/null; echo $?",
                Says("1"),
            ),
            (
                "$SD $IN -m $FIX/etc /etc run $SD $IN run $FIX/weapons/su -c 'id -u' root 2>/dev/null; echo $?",
                Says("1"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "the dynamic loader of a hostile root is not root",
        control: Root(
            "mount --bind $FIX $DIR/hostile/mnt
            chroot --userspec=$ALICE:$ALICE $DIR/hostile /mnt/weapons/dynamic",
            "loaded as root",
        ),
        tries: &[(
            in_hostile_root!("weapons/dynamic", "$FIX/weapons/dynamic"),
            Says("loaded"),
        )],
        ..ATTACK
    },
    Attack {
        name: "selfdock itself loads nothing of a hostile root",
        control: There(
            in_hostile_root!("tools/dynamic", "$FIX/tools/dynamic"),
            "loaded",
        ),
        tries: &[(
            "export LD_PRELOAD=/evil.so LD_LIBRARY_PATH=/ GLIBC_TUNABLES=x
            if [ -e $DIR/hostile ]; then
                $SD -r $DIR/hostile run /dev/selfdock run /dev/selfdock run /bin/echo ran
            else $SD run /dev/selfdock run /bin/echo ran; fi",
            Says("ran"),
        )],
        ..ATTACK
    },
    Attack {
        name: "a program at selfdock's own path in a hostile root has no privilege and gives none",
        control: There("$SD run $SD run echo nests", "nests"),
        tries: &[(
            "script='cp /fake /tmp/selfdock; $DIR/bin/selfdock run id; /dev/selfdock run echo nests'
            if [ -e $DIR/hostile ]; then $SD -r $DIR/hostile run sh -c \"$script\"
            else eval \"$script\"; fi",
            Says("fake\nnests"),
        )],
        ..ATTACK
    },
    Attack {
        name: "a set-user-id program has no effect through an inherited descriptor",
        control: Attacker(
            "exec 9<$FIX/weapons/setuid; /proc/self/fd/9 | cut -d' ' -f1",
            "0",
        ),
        tries: &[
            (
                "exec 9<$FIX/weapons/setuid; $SD --keep-fd 9 run /proc/self/fd/9",
                Says(NOTHING),
            ),
            (
                "exec 9<$FIX/weapons/setuid; $SD run $SD build /proc/self/fd/9",
                Says(NOTHING),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "a set-user-id program has no effect through the root of a process outside",
        control: Attacker(
            "/proc/$OUTSIDER/root$FIX/weapons/setuid | cut -d' ' -f1",
            "0",
        ),
        tries: &[
            (
                "$SD -m /proc /mnt run /mnt/$$/root$FIX/weapons/setuid 2>&1 | sed s,/$$/,/PID/,",
                // From within a user namespace no process outside can be looked at.
                WithAndWithout(
                    &Says(NOTHING),
                    &Says(
                        "selfdock: cannot run \"/mnt/PID/root$FIX/weapons/setuid\": Permission denied",
                    ),
                ),
            ),
            (
                "exec $SD -m /proc /mnt run $SD -m /mnt/$$/root /tmp run true 2>&1 | sed s/$$/PID/",
                WithAndWithout(
                    &Says(
                        "selfdock: cannot map \"/mnt/PID/root\" on \"/tmp\": \
                         Too many symbolic links encountered",
                    ),
                    &Says("selfdock: cannot map \"/mnt/PID/root\" on \"/tmp\": Permission denied"),
                ),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "every mount is nosuid but that of selfdock's own file",
        control: Attacker(
            "test $(grep -vc nosuid /proc/self/mountinfo) -gt 1 && echo many",
            "many",
        ),
        tries: &[
            (
                "for options in '' \"-m / /mnt\" \"-t exec /mnt\" \"-v /dev /mnt\"; do
                    $SD $IN $options run grep -v nosuid /proc/self/mountinfo
                    $SD $IN $options build grep -v nosuid /proc/self/mountinfo
                    $SD $IN $options run $SD $IN run grep -v nosuid /proc/self/mountinfo
                done | cut -d' ' -f5,6 | cut -d, -f1,2 | sort | uniq -c | sed 's/^ *//'",
                WithAndWithout(&Says("12 $SD ro,nodev"), &Says("")),
            ),
            (
                "$SD -r $FIX/os run grep -v nosuid /proc/self/mountinfo | cut -d' ' -f5,6 | cut -d, -f1,2",
                WithAndWithout(&Says("/dev/selfdock ro,nodev"), &Says("")),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "nothing of the old root is left above the new one",
        control: Root("mount -t tmpfs t /; stat -c %d:%i / /.. | uniq | wc -l", "2"),
        tries: &[
            (
                "$SD $IN run sh -c 'stat -c %d:%i / /.. /../../. /proc/self/root/.. | uniq | wc -l
                    cut -d\" \" -f5 /proc/self/mountinfo | grep -c ^/$'",
                Says("1\n1"),
            ),
            (
                "$SD -r $FIX/os run sh -c 'stat -c %d:%i / /.. /proc/self/root/.. | uniq | wc -l
                    cut -d\" \" -f5 /proc/self/mountinfo | grep -c ^/$'",
                Says("1\n1"),
            ),
            ("$SD $IN run /..$FIX/weapons/setuid", Says(NOTHING)),
        ],
        ..ATTACK
    },
    Attack {
        name: "a fake device in /dev is not taken for the device",
        control: There("$SD -m /dev/null /dev/null run $SD run echo ran", "ran"),
        tries: &[
            (
                "exec $SD -m $FIX/marker /dev/null run $SD run true",
                Refused("cannot use \"/dev/null\": No such device"),
            ),
            (
                "exec $SD -m /dev/zero /dev/full run $SD run true",
                Refused("cannot use \"/dev/full\": No such device"),
            ),
            (
                "mkfifo $SCRATCH/fifo; exec $SD -v $SCRATCH/fifo /dev/tty run $SD run true",
                Refused("cannot use \"/dev/tty\": No such device"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "nothing that needs privilege works for the command",
        control: Root(
            "unshare --mount --uts --propagation private $FIX/tools/try $SCRATCH/node >$SCRATCH/said
            test $(grep -c ' 0$' $SCRATCH/said) -ge 14 && echo armed",
            "armed",
        ),
        tries: &[(
            "for way in run build \"run $SD $IN run\" '--init run'; do
                $SD $IN $way try /dev/shm/selfdock-test-node
            done | grep -v quotactl | sed 's/.* //' | sort | uniq -c | sed 's/^ *//'",
            // EINVAL, where the kernel looks at something else before it looks at rights.
            WithAndWithout(&Says("84 1"), &Says("72 1\n12 22")),
        )],
        ..ATTACK
    },
];

//! selfdock started where it must not work, from wherever that is; and what its messages give away.

use crate::table::Control::{Root, There};
use crate::table::Outcome::{Refused, RefusedThenInside, Says, WithAndWithout};
use crate::table::{ATTACK, Attack, BOUNDED};

const NOT_ROOTS: &str = "cannot get privilege: selfdock is installed set-user-id, but does not belong to root\n\
     hint: ./install.sh, in its sources, installs it as it must be";

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "the 33rd level is refused, wherever it is counted from",
        control: There(
            "words=; for level in $(seq 16); do words=\"$words $SD run\"; done; $words echo ran",
            "ran",
        ),
        tries: &[(
            "words=; for level in $(seq 33); do words=\"$words $SD run\"; done; exec $words true",
            Refused("cannot make a pid namespace: No space left on device\n\
                hint: too deeply nested: 32 levels are possible; or user.max_pid_namespaces is reached"),
        )],
        ..ATTACK
    },
    Attack {
        name: "in a user namespace of the caller's selfdock reaches nothing outside of it",
        control: There("unshare -Ur id -u", "0"),
        tries: &[(
            "for options in -U -Ur -Urm -Urmpf; do
                echo $options $(unshare $options $SD $IN run sh -c \"cat $FIX/vault/open/marker
                    (: >>/new || : >>$FIX/hall/room/marker || : >>$FIX/weapons/setuid) && echo written
                    mount -o remount,bind,rw / && echo remounted
                    cat /proc/self/uid_map\" 2>/dev/null | map)
            done; unshare -Ur chroot / $SD run cat /proc/self/uid_map | map",
            // The third and fourth as root of that namespace, as which they own its mounts.
            Says("-U\n-Ur 0 0 1\n-Urm 0 $ME 1\n-Urmpf 0 $ME 1\n0 0 1"),
        )],
        ..ATTACK
    },
    Attack {
        name: "selfdock without the privilege of its file has none and says so",
        control: There("$SD run echo ran", "ran"),
        tries: &[
            (
                "exec tool nnp $SD --privilege setuid run echo ran",
                Refused("cannot get privilege: no_new_privs is set\n\
                    hint: start it from outside of what has set that, as --no-nest does, or \
                    NoNewPrivileges= of systemd"),
            ),
            (
                "exec tool traced $SD --privilege setuid run echo ran",
                WithAndWithout(
                    &Refused("cannot get privilege: selfdock is being traced\n\
                        hint: only root can trace a set-user-id program: sudo strace -u $USER selfdock"),
                    &RefusedThenInside(
                        "cannot get privilege: selfdock is not installed set-user-id root\n\
                        hint: ./install.sh, in its sources, installs it as it must be",
                        BOUNDED,
                    ),
                ),
            ),
            (
                "cp $SD $SCRATCH/copy; chmod 4755 $SCRATCH/copy
                exec $SCRATCH/copy --privilege setuid run echo ran",
                WithAndWithout(&Refused(NOT_ROOTS), &RefusedThenInside(NOT_ROOTS, BOUNDED)),
            ),
            ("tool nnp $SD run cat /proc/self/uid_map | map", Says("$ME $ME 1")),
            ("tool traced $SD run cat /proc/self/uid_map | map", Says("$ME $ME 1")),
            (
                "cp $SD $SCRATCH/copy; chmod 4755 $SCRATCH/copy
                $SCRATCH/copy run cat /proc/self/uid_map | map",
                Says("$ME $ME 1"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "no answer tells which names there are below a closed directory",
        control: Root("ls $FIX/vault", "file\nlink\nopen\nsuid"),
        tries: &[(
            "for line in '-m $FIX/vault/NAME /mnt run true' '-v $FIX/vault/NAME /tmp build true' \
                '-r $FIX/vault/NAME run true' '$IN -C $FIX/vault/NAME run true' \
                '$IN -m $FIX/source $FIX/vault/NAME run true' '$IN -t size=1m $FIX/vault/NAME run true' \
                '$IN run $FIX/vault/NAME' '$IN run $SD -m $FIX/vault/NAME /mnt run true'; do
                for name in none file suid link open; do
                    eval $SD $(echo $line | sed s/NAME/$name/) >$SCRATCH/said 2>&1
                    echo $? $(sed s,vault/$name,vault/NAME,g $SCRATCH/said)
                done | sort | uniq -c
            done | sed 's/^ *//' | grep -c '^5 12[46] .*Permission denied'",
            Says("8"),
        )],
        ..ATTACK
    },
    Attack {
        name: "what a message repeats cannot write to the terminal",
        control: There("printf '\\033[2J' | od -An -c | tr -d ' '", "033[2J"),
        tries: &[
            (
                "exec $SD -m \"$(printf '/\\033[2J\\rx\\ny')\" /mnt run true",
                Refused("cannot map \"/\\u{1b}[2J\\rx\\ny\" on \"/mnt\": No such file or directory"),
            ),
            (
                "exec $SD -r \"$(printf '/\\033]0;x\\007')\" run true",
                Refused("cannot use \"/\\u{1b}]0;x\\u{7}\" as root filesystem: No such file or directory"),
            ),
            (
                "exec $SD -C \"$(printf '/\\033[2J')\" run true",
                Refused("cannot change to directory \"/\\u{1b}[2J\": No such file or directory"),
            ),
            (
                "$SD run \"$(printf '/\\033[2J')\"; [ $? = 127 ]",
                Says("selfdock: cannot run \"/\\u{1b}[2J\": No such file or directory"),
            ),
            (
                "exec $SD enter \"$(printf '\\033[2J')\" true",
                Refused("cannot enter \"\\u{1b}[2J\": no such instance\n\
                    hint: selfdock ps lists the running instances"),
            ),
        ],
        ..ATTACK
    },
];

//! A filesystem that the caller serves, and that says what the caller likes.

use crate::table::Control::{Attacker, Root};
use crate::table::Outcome::{Refused, Says};
use crate::table::{ATTACK, Attack, Who};

/// Mounted as fusermount does it.
const SERVED: &str =
    "$FIX/tools/fuse serve $ALICE nosuid $FIX/served $FIX/tools/rights $SCRATCH/log";

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "a set-user-id program that the caller's own filesystem invents has no effect",
        machine: "$FIX/tools/fuse serve $ALICE suid $FIX/served $FIX/tools/rights $SCRATCH/log",
        control: Attacker(
            "$FIX/served/suid | cut -d' ' -f1; $FIX/tools/tool node $FIX/served/zero",
            "0\nworks",
        ),
        tries: &[(
            "for words in '-m $FIX/served /mnt run' '-v $FIX/served /mnt build' \
                \"-m $FIX/served /mnt run $SD -m /mnt /mnt run\" '--init -m $FIX/served /mnt run'; do
                eval $SD $words /mnt/suid
            done | sort | uniq -c | sed 's/^ *//'; $SD $IN run $FIX/served/suid",
            Says("4 $ME $ME 0000000000000000\n$ME $ME 0000000000000000"),
        )],
        ..ATTACK
    },
    Attack {
        name: "the flags of a served filesystem stay on its clones",
        machine: SERVED,
        control: Root(
            "$FIX/tools/fuse serve $ALICE suid $FIX/mnt $FIX/tools/rights $SCRATCH/other
            $AS_ALICE $FIX/mnt/suid | cut -d' ' -f1; $AS_ALICE $FIX/tools/tool node $FIX/mnt/zero",
            "0\nworks",
        ),
        tries: &[
            ("$SD -m $FIX/served /mnt run /mnt/suid", Says("$ME $ME 0000000000000000")),
            ("$SD -v $FIX/served /mnt build /mnt/suid", Says("$ME $ME 0000000000000000")),
            ("$SD $IN -v $FIX/served /mnt run tool node /mnt/zero", Says("EACCES")),
            ("$SD $IN run $SD $IN run tool node $FIX/served/zero", Says("EACCES")),
            (
                "exec $SD -r $FIX/served run true",
                Refused("cannot mount a tmpfs on \"/dev\": No such file or directory\n\
                    hint: \"/dev\" must exist in the root filesystem, or in what is mapped before; \
                    nothing is created there"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "another user's filesystem is as closed to selfdock as it is to its caller",
        who: Who::Bob,
        machine: SERVED,
        control: Root("$AS_ALICE $SD -m $FIX/served/dir /mnt run echo inside", "inside"),
        tries: &[
            (
                "exec $SD -m $FIX/served/dir /mnt run true",
                Refused("cannot map \"$FIX/served/dir\" on \"/mnt\": Permission denied"),
            ),
            (
                "exec $SD -r $FIX/served/dir run true",
                Refused("cannot use \"$FIX/served/dir\" as root filesystem: Permission denied"),
            ),
            (
                "$SD -m $FIX/served /mnt run /mnt/suid 2>/dev/null; [ $? -ne 0 ]",
                Says(""),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "a launcher that waits for a server that reads nothing can be killed and leaves nothing",
        machine: "$FIX/tools/fuse deaf $ALICE nosuid $FIX/served $FIX/tools/rights $SCRATCH/log",
        control: Attacker("timeout -s KILL 1 ls $FIX/served/dir; echo $?", "137"),
        tries: &[(
            "for signal in KILL TERM HUP; do
                $SD -m $FIX/served/dir /mnt run true & launcher=$!
                until grep -qs asked $SCRATCH/log && [ \"$(child_of $launcher)\" ]; do sleep 0.01; done
                kill -$signal $launcher; wait $launcher; echo $?
            done 2>/dev/null",
            Says("137\n143\n129"),
        )],
        ..ATTACK
    },
    Attack {
        name: "a launcher that waits for a server that does not answer can be killed and leaves nothing",
        machine: "$FIX/tools/fuse mute $ALICE nosuid $FIX/served $FIX/tools/rights $SCRATCH/log",
        control: Attacker(
            "ls $FIX/served/dir 2>/dev/null & until grep -qs asked $SCRATCH/log; do sleep 0.01; done
            grep -q '^State:.[DS]' /proc/$!/status && echo waits
            : >$SCRATCH/log.answer; wait",
            "waits",
        ),
        tries: &[(
            "$SD -m $FIX/served/dir /mnt run true & launcher=$!
            until grep -qs asked $SCRATCH/log; do sleep 0.01; done
            kill -9 $launcher; wait $launcher 2>/dev/null; echo $?; : >$SCRATCH/log.answer",
            Says("137"),
        )],
        ..ATTACK
    },
];

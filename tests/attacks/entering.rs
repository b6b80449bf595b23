//! `enter`, pointed at what is no instance of the caller's, and what it must do in one that is.

use crate::table::Control::{Attacker, Root, There};
use crate::table::Outcome::{Refused, RefusedThenInside, Says, WithAndWithout};
use crate::table::{ATTACK, Attack, Place};

const NOT_ONE: &str = "cannot enter PID: it is not an instance of selfdock\n\
    hint: selfdock ps lists the running instances";

/// The command in an instance called `web`, which ends with the try.
macro_rules! in_web {
    ($script:literal) => {
        concat!(
            "$SD $IN --name web run sleep 30 & web=$!
            until $SD enter web true 2>/dev/null; do sleep 0.01; done
            ",
            $script,
            "
            ended=$?; kill -9 $web; wait $web 2>/dev/null; exit $ended"
        )
    };
}

/// What only looks like an instance: in a user namespace, with an /etc that believes its maker.
macro_rules! lookalike {
    ($variables:literal) => {
        concat!(
            "rm -f $SCRATCH/up; ",
            $variables,
            " unshare -Urm sh -c 'mount --bind $FIX/etc /etc
                exec -a selfdock $FIX/tools/lookalike --name fake run true' >$SCRATCH/up & fake=$!
            until grep -qs up $SCRATCH/up; do sleep 0.01; done
            entering $(child_of $fake) $FIX/weapons/su -c 'id -u' root; ended=$?
            kill -9 $fake; wait $fake 2>/dev/null; exit $ended"
        )
    };
}

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "a namespace of the caller's own making is not entered",
        control: Root(
            "mount --bind $FIX/etc /etc; $AS_ALICE $FIX/weapons/su -c 'id -u' root",
            "0",
        ),
        tries: &[
            (
                lookalike!("NOSUID="),
                Refused("cannot enter PID: it is of another user namespace"),
            ),
            (
                lookalike!("NOSUID= HIDDEN="),
                Refused("cannot enter PID: it is of another user namespace"),
            ),
            (
                lookalike!(""),
                // Inside, every mount is nosuid as it is.
                RefusedThenInside(
                    NOT_ONE,
                    "cannot enter PID: it is of another user namespace",
                ),
            ),
            (
                "unshare -Urm sleep 30 & other=$!; until_it_is $other sleep
                entering $other id; ended=$?; kill -9 $other; wait $other 2>/dev/null; exit $ended",
                Refused(NOT_ONE),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "a process that is in no instance is not entered",
        control: There(in_web!("$SD enter web echo inside"), "inside"),
        tries: &[
            (
                "sleep 30 & other=$!; until_it_is $other sleep
                entering $other id; ended=$?; kill -9 $other; wait $other 2>/dev/null; exit $ended",
                Refused(NOT_ONE),
            ),
            (
                "exec $SD enter nobody id",
                Refused("cannot enter \"nobody\": no such instance\n\
                    hint: selfdock ps lists the running instances"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "a container of another tool's is not entered",
        control: There(in_web!("$SD enter web echo inside"), "inside"),
        tries: &[(
            "bwrap --bind / / --unshare-pid --proc /proc --die-with-parent sleep 30 & bwrap=$!
            until inner=$(child_of $bwrap) && inner=$(child_of $inner) && grep -qsx sleep /proc/$inner/comm
            do sleep 0.01; done 2>/dev/null
            entering $inner id; ended=$?; kill -9 $bwrap; wait $bwrap 2>/dev/null; exit $ended",
            Refused(NOT_ONE),
        )],
        not_in: &[(Place::Hostile, "bwrap is dynamic, and the loader there is the caller's")],
        ..ATTACK
    },
    Attack {
        name: "an instance whose command may not be traced is not entered",
        control: There(
            "$SD $IN --name web run hide sleep 30 & web=$!
            until $SD enter web echo inside 2>/dev/null; do sleep 0.01; done; kill -9 $web",
            "inside",
        ),
        tries: &[(
            "mkfifo $SCRATCH/up; $SD $IN --name web run hide >$SCRATCH/up & web=$!
            read -r line <$SCRATCH/up; $SD enter web id; ended=$?; kill -9 $web; exit $ended",
            Refused("cannot enter \"web\": none of its processes may be traced\n\
                hint: an instance that only holds another one cannot be entered: enter that one, by its pid"),
        )],
        ..ATTACK
    },
    Attack {
        name: "in an entered instance nothing has more effect than in its own command",
        control: Attacker(
            "$FIX/weapons/setuid | cut -d' ' -f1; $FIX/weapons/filecaps | cut -d' ' -f3",
            "0\n0000000000200002",
        ),
        tries: &[
            (
                in_web!(
                    "for weapon in setuid setgid filecaps; do $SD enter web $FIX/weapons/$weapon; done | sort -u
                    $SD enter web $SD $IN run $FIX/weapons/setuid"
                ),
                Says("$ME $ME 0000000000000000\n$ME $ME 0000000000000000"),
            ),
            (
                in_web!("$SD enter web grep -v nosuid /proc/self/mountinfo | cut -d' ' -f5,6 | cut -d, -f1,2"),
                WithAndWithout(&Says("$SD ro,nodev"), &Says("")),
            ),
            (
                in_web!("$SD enter web try /dev/shm/node | grep -v quotactl | sed 's/.* //' | counted"),
                WithAndWithout(&Says("21 1"), &Says("18 1\n3 22")),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "an entered command is restricted as one that is run",
        control: Attacker(
            "[ \"$(grep CapBnd /proc/self/status)\" != \"$($SD run grep CapBnd /proc/self/status)\" ] && echo differs",
            "differs",
        ),
        tries: &[(
            in_web!(
                "what='^(Cap|Seccomp|NoNewPrivs|Uid|Gid|Groups|Sig[BIC]|CoreDumping|Shd)'
                $SD $IN run grep -E $what /proc/self/status >$SCRATCH/run
                $SD enter web grep -E $what /proc/self/status >$SCRATCH/entered
                cmp $SCRATCH/run $SCRATCH/entered && echo same
                $SD $IN run sh -c 'ulimit -a; umask' >$SCRATCH/run
                $SD enter web sh -c 'ulimit -a; umask' >$SCRATCH/entered
                cmp $SCRATCH/run $SCRATCH/entered && echo same
                for way in \"$SD $IN run\" \"$SD enter web\"; do
                    $way awk '{ print $5, $6 }' /proc/self/mountinfo | grep -vF \"$SD \" |
                        sort >$SCRATCH/table-${way##* }
                done; cmp $SCRATCH/table-run $SCRATCH/table-web && echo same"
            ),
            Says("same\nsame\nsame"),
        )],
        ..ATTACK
    },
    Attack {
        name: "a working directory by a magic link is not entered",
        control: There(in_web!("$SD enter web -C /tmp pwd"), "/tmp"),
        tries: &[
            (
                in_web!("$SD enter web -C /proc/self/cwd pwd"),
                Refused("cannot change to directory \"/proc/self/cwd\": Too many symbolic links encountered"),
            ),
            (
                in_web!("$SD enter web -C /proc/1/root pwd"),
                Refused("cannot change to directory \"/proc/1/root\": Too many symbolic links encountered"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "who waits inside gets hold of the command that enters, and never of selfdock",
        control: There(in_web!("$SD enter web readlink /proc/1/exe"), "$FIX/tools/sleep"),
        tries: &[(
            "mkfifo $SCRATCH/in; $SD $IN --name web run watch $FIX/weapons/none \
                <$SCRATCH/in >$SCRATCH/out & web=$!
            exec 3>$SCRATCH/in; until grep -qs up $SCRATCH/out; do sleep 0.01; done
            printf x >&3; for round in $(seq 20); do $SD enter web true; done
            for round in 1 2 3; do $SD enter web sleep 0.1; done
            exec 3>&-; wait $web; tail -n 1 $SCRATCH/out | sed 's/looks [0-9]*/looks N/'",
            Says("looks N held 0 led 0 commands 1 1 1 1 1 1 1 1 1"),
        )],
        ..ATTACK
    },
    Attack {
        name: "what enters an instance that ends runs in it or not at all",
        control: There(
            in_web!("[ $($SD enter web readlink /proc/self/ns/pid) != $(readlink /proc/self/ns/pid) ] && echo inside"),
            "inside",
        ),
        tries: &[(
            "here=$(readlink /proc/self/ns/pid)
            for round in $(seq 12); do
                $SD $IN --name web run sleep 30 & web=$!
                until $SD enter web true 2>/dev/null; do sleep 0.01; done
                kill -9 $web & $SD enter web readlink /proc/self/ns/pid
                wait $web
            done 2>/dev/null | grep -cxF $here || :",
            Says("0"),
        )],
        ..ATTACK
    },
];

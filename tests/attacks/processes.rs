//! Processes: selfdock's own, those outside, and those of others.

use crate::table::Control::{Attacker, Root, There};
use crate::table::Outcome::{Refused, RefusedThenInside, Says, SaysThenInside, WithAndWithout};
use crate::table::{ATTACK, Attack, Who};

/// Every way of getting hold of a process, and every one refused: of another user's, or of one that
/// may not be looked at.
const HELD_OFF: &str = "ptrace EPERM mem EACCES environ EACCES maps EACCES syscall EACCES root EACCES \
    cwd EACCES exe EACCES fd/0 EACCES ns/mnt EACCES ns/pid EACCES getfd EPERM readv EPERM";

/// Each of them works.
const HELD: &str = "ptrace works mem works environ works maps works syscall works root works \
    cwd works exe works fd/0 works ns/mnt works ns/pid works getfd works readv works";

/// What the one who has made a user namespace has of a process that was started in it and may not be
/// looked at: by capabilities over that namespace. It has nothing that they have not.
const HELD_BY_OWNER: &str = "ptrace works mem EACCES environ EACCES maps works syscall EACCES root \
    works cwd works exe works fd/0 EACCES ns/mnt works ns/pid works getfd EBADF readv works";

/// There is no such process.
const ABSENT: &str = "ptrace ESRCH mem ENOENT environ ENOENT maps ENOENT syscall ENOENT root ENOENT \
    cwd ENOENT exe ENOENT fd/0 ENOENT ns/mnt ENOENT ns/pid ENOENT getfd ESRCH readv ESRCH";

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "the caller gets no hold of selfdock's processes, but of the command",
        control: There(
            "$SD $IN run sleep 30 & launcher=$!
            until command=$(child_of $launcher) && grep -qsx sleep /proc/$command/comm; do :; done
            tool probe $command; kill -9 $launcher",
            HELD,
        ),
        tries: &[
            (
                "$SD $IN run sleep 30 & launcher=$!
                until command=$(child_of $launcher) && grep -qsx sleep /proc/$command/comm; do :; done
                tool probe $launcher; kill -9 $launcher",
                Says(HELD_OFF),
            ),
            (
                "$SD $IN --init run sleep 30 & launcher=$!
                until init=$(child_of $launcher) && command=$(child_of $init) &&
                    grep -qsx sleep /proc/$command/comm; do :; done 2>/dev/null
                tool probe $init; kill -9 $launcher",
                Says(HELD_OFF),
            ),
            (
                "$SD $IN run $SD $IN run sleep 30 & launcher=$!
                until inner=$(child_of $launcher) && command=$(child_of $inner) &&
                    grep -qsx sleep /proc/$command/comm; do :; done 2>/dev/null
                tool probe $inner; kill -9 $launcher",
                WithAndWithout(&Says(HELD_OFF), &Says(HELD_BY_OWNER)),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "a command sees and signals nobody outside",
        control: Attacker("kill -0 $OUTSIDER && echo reached", "reached"),
        tries: &[
            (
                "$SD $IN run sh -c 'kill -9 -1 2>/dev/null; echo alive; set -- /proc/[0-9]*; echo $#'",
                Says("alive\n1"),
            ),
            (
                "$SD $IN run tool signal $OUTSIDER | counted; $SD $IN run tool probe $OUTSIDER",
                Says("28 ESRCH\nptrace ESRCH mem ENOENT environ ENOENT maps ENOENT syscall ENOENT \
                    root ENOENT cwd ENOENT exe ENOENT fd/0 ENOENT ns/mnt ENOENT ns/pid ENOENT \
                    getfd ESRCH readv ESRCH"),
            ),
            (
                "$SD $IN run cat /proc/1/comm",
                Says("cat"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "a killed launcher leaves nothing running, however deep",
        control: There("$SD run $SD run $SD run echo ran", "ran"),
        tries: &[(
            "for signal in TERM KILL; do
                $SD $IN run $SD $IN --init run $SD $IN run sleep 1000 & launcher=$!
                until grep -qsx sleep /proc/[0-9]*/comm; do sleep 0.01; done
                kill -$signal $launcher; wait $launcher 2>/dev/null; echo $?
                while grep -qsx sleep /proc/[0-9]*/comm; do sleep 0.01; done
            done",
            Says("143\n137"),
        )],
        not_in: &[(
            crate::table::Place::Outside,
            "its processes cannot be told from others' there; the fixture looks for them by user",
        )],
        ..ATTACK
    },
    Attack {
        name: "a stranger signals no process of an instance",
        who: Who::Bob,
        control: There("tool signal 0 | counted", "28 works"),
        tries: &[(
            "for pid in $PID1 $SUPERVISOR $ROOTS_PID1 $ROOTS_SUPERVISOR; do tool signal $pid; done | counted",
            SaysThenInside("112 EPERM", "112 ESRCH"),
        )],
        ..ATTACK
    },
    Attack {
        name: "a stranger gets no hold of a process of an instance",
        who: Who::Bob,
        control: Root("$AS_ALICE $FIX/tools/tool probe $PID1", HELD),
        tries: &[
            ("tool probe $PID1", SaysThenInside(HELD_OFF, ABSENT)),
            ("tool probe $SUPERVISOR", SaysThenInside(HELD_OFF, ABSENT)),
        ],
        ..ATTACK
    },
    Attack {
        name: "a stranger can neither map nor enter what a process of an instance sees",
        who: Who::Bob,
        control: Root("$AS_ALICE $SD enter $PID1 echo inside", "inside"),
        tries: &[
            (
                "exec $SD -m /proc/$PID1/root /mnt run true",
                RefusedThenInside(
                    "cannot map \"/proc/$PID1/root\" on \"/mnt\": Permission denied",
                    "cannot map \"/proc/$PID1/root\" on \"/mnt\": No such file or directory",
                ),
            ),
            (
                "exec $SD -m /proc/$PID1/cwd /mnt run true",
                RefusedThenInside(
                    "cannot map \"/proc/$PID1/cwd\" on \"/mnt\": Permission denied",
                    "cannot map \"/proc/$PID1/cwd\" on \"/mnt\": No such file or directory",
                ),
            ),
            (
                "exec $SD enter $PID1 true",
                RefusedThenInside(
                    "cannot enter \"$PID1\": it belongs to another user\n\
                    hint: only its own user can enter it, and no other user, not even root",
                    "cannot enter \"$PID1\": no such instance\nhint: selfdock ps lists the running instances",
                ),
            ),
            (
                "exec $SD enter $SUPERVISOR true",
                RefusedThenInside(
                    "cannot enter \"$SUPERVISOR\": it belongs to another user\n\
                    hint: only its own user can enter it, and no other user, not even root",
                    "cannot enter \"$SUPERVISOR\": no such instance\nhint: selfdock ps lists the running instances",
                ),
            ),
            (
                "$SD ps --json | grep -c \"\\\"pid\\\":$PID1,\" || :",
                Says("0"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "a stranger's kill of everything kills nothing of others",
        who: Who::Bob,
        control: There("$SD run sh -c 'sleep 30 & kill -9 -1; wait $!; echo $?' 2>/dev/null", "137"),
        tries: &[(
            "$SD run sh -c 'kill -9 -1; kill -15 -1; echo alive' 2>/dev/null",
            Says("alive"),
        )],
        ..ATTACK
    },
    Attack {
        name: "who squats a name keeps nobody from it, and gives nobody a second one",
        control: Attacker("grep -c @selfdock/$ALICE/squatted$ /proc/net/unix", "1"),
        tries: &[
            ("$SD --name squatted run echo ran", Says("ran")),
            (
                "$SD --name squatted run sleep 30 & launcher=$!
                until $SD ps | grep -q squatted; do sleep 0.01; done
                $SD --name squatted run echo ran; echo $?; kill -9 $launcher",
                Says("selfdock: cannot name the instance \"squatted\": an instance of that name is running\n\
                    hint: selfdock ps lists the running instances\n123"),
            ),
        ],
        ..ATTACK
    },
    Attack {
        name: "an instance of root's cannot be signalled, held, mapped or entered by a user",
        control: Root("$SD enter $ROOTS_PID1 echo inside", "inside"),
        tries: &[
            (
                "for pid in $ROOTS_PID1 $ROOTS_SUPERVISOR; do tool signal $pid; done | counted",
                SaysThenInside("56 EPERM", "56 ESRCH"),
            ),
            ("tool probe $ROOTS_PID1", SaysThenInside(HELD_OFF, ABSENT)),
            (
                "exec $SD enter $ROOTS_PID1 true",
                RefusedThenInside(
                    "cannot enter \"$ROOTS_PID1\": it belongs to another user\n\
                    hint: only its own user can enter it, and no other user, not even root",
                    "cannot enter \"$ROOTS_PID1\": no such instance\nhint: selfdock ps lists the running instances",
                ),
            ),
            (
                "exec $SD enter rootly-$ALICE true",
                Refused("cannot enter \"rootly-$ALICE\": no such instance\n\
                    hint: selfdock ps lists the running instances"),
            ),
            (
                "exec $SD -m /proc/$ROOTS_PID1/root /mnt run true",
                RefusedThenInside(
                    "cannot map \"/proc/$ROOTS_PID1/root\" on \"/mnt\": Permission denied",
                    "cannot map \"/proc/$ROOTS_PID1/root\" on \"/mnt\": No such file or directory",
                ),
            ),
        ],
        ..ATTACK
    },
];

//! Processes beside the command: those that it leaves behind, those of its caller, and their locks.

use crate::harness::{case, cases};

cases! {
    its_numbers_are_its_own: case(
        "$RUN $P ids", 0, "pid 1: 0, parent 0: 0, group 0: 0, session 0: 0\n")
        .as_pid_1("numbers", 0, "pid 1: 1, parent 0: 1, group 0: 1, session 0: 1\n")
        .with_init("numbers", 0, "pid 1: 0, parent 0: 0, group 0: 1, session 0: 1\n");
    it_is_pid_1: case("$RUN sh -c '[ $$ -gt 2 ] || echo -n first of few; echo'", 0, "\n")
        .inside("numbers", 0, "first of few\n");
    it_leads_no_session: case("exec $RUN $P setsid", 0, "Operation not permitted\n")
        .inside("leader", 0, "a new session\n");
    processes_of_the_caller_are_not_there: case(
        "export OUTER=$$; $RUN sh -c 'kill -0 $OUTER && echo there; [ -e /proc/$OUTER ] && echo seen' 2>/dev/null",
        0, "there\nseen\n")
        .inside("processes", 1, "");
    children_are_waited_for: case(
        "$RUN sh -c '(sleep 1; echo first; exit 3) & wait $!; echo $?'", 0, "first\n3\n");
    what_it_leaves_behind_ends: case(
        "$RUN sh -c '(sleep 2; echo late) & echo now' | cat", 0, "now\nlate\n")
        .inside("left-behind", 0, "now\n");
    a_daemon_ends: case(
        "mkfifo pipe; exec 9>lock; flock 9; $RUN setsid -f sh -c 'read line < pipe'; exec 9>&-
        if flock -n lock true; then echo ended; else echo lives; echo > pipe; fi",
        0, "lives\n")
        .inside("left-behind", 0, "ended\n");
    orphans_become_its_children: case("$RUN $P adopt", 0, "another's\n")
        .as_pid_1("orphans", 0, "the command's\n");
    it_may_wait_for_orphans: case("$RUN $P orphan", 0, "exited 3\nNo child processes\n")
        .as_pid_1("orphans", 0, "exited 3\nexited 7\n");

    it_has_no_child_of_its_callers: case("$P with child -- $RUN $P child", 0, "exited 5\n")
        .inside("new-process", 0, "No child processes\n");
    its_caller_waits_for_its_own_children: case(
        "$RUN $P exit 3 & a=$!; $P exit 4 & b=$!; wait $a; echo $?; wait $b; echo $?", 0, "3\n4\n");
    it_reaps_for_nobody: case("$P with subreaper -- $RUN $P subreaper", 0, "1\n")
        .inside("new-process", 0, "0\n");
    locks_of_a_process_are_lost: case("> file; $P with lock=file -- $RUN $P lock file", 0, "held\n")
        .inside("new-process", 0, "free\n");
    locks_of_a_descriptor_pass: case(
        "exec 9>lock; flock 9; $RUN flock -n 9 && echo ours; $RUN flock -n lock true || echo taken",
        0, "ours\ntaken\n");
    a_lock_lasts_as_long_as_the_command: case(
        "mkfifo pipe; ( flock 9; exec $RUN sh -c 'echo > pipe; read line < pipe' ) 9>lock & read line < pipe
        flock -n lock true || echo taken; echo > pipe; wait; flock -n lock true && echo free",
        0, "taken\nfree\n");
    a_lock_is_free_when_the_command_drops_it: case(
        "mkfifo pipe; ( flock 9; exec $RUN sh -c 'exec 9>&-; echo > pipe; read line < pipe' ) 9>lock &
        read line < pipe; flock -n lock true && echo free; echo > pipe; wait", 0, "free\n");
    fifty_run_at_once: case(
        "for i in {1..50}; do $RUN $P exit $i & pids[i]=$!; done
        for i in {1..50}; do wait ${pids[i]}; echo -n $(($? - i)); done",
        0, "00000000000000000000000000000000000000000000000000");
    one_may_wait_for_another: case(
        "mkfifo pipe; $RUN sh -c 'read line < pipe; echo got $line' & $RUN sh -c 'echo text > pipe'; wait",
        0, "got text\n");
}

//! How the command ends, and what its parent is told; and commands that never start.

use crate::harness::{case, cases};

cases! {
    the_status_is_the_commands_own: case(
        "for status in 0 1 2 3 42 63 64 77 100 123 124 125 126 127 128 129 130 137 143 200 254 255; do
            $RUN $P exit $status; echo -n $?,
        done",
        0, "0,1,2,3,42,63,64,77,100,123,124,125,126,127,128,129,130,137,143,200,254,255,");
    a_status_is_cut_to_a_byte: case(
        "for status in 256 511 -1 1000; do $P wait $RUN $P exit $status; done",
        0, "exited 0\nexited 255\nexited 255\nexited 232\n");
    its_parent_sees_that_it_exited: case("exec $RUN $P exit 42", 42, "");
    its_parent_sees_124: case("exec $RUN $P exit 124", 124, "");
    its_parent_sees_137_and_no_signal: case("exec $RUN $P exit 137", 137, "");

    its_parent_sees_a_segmentation_fault: case("ulimit -c 0; exec $RUN $P fault segv", -11, "");
    its_parent_sees_a_stack_overflow: case("ulimit -c 0; exec $RUN $P fault stack", -11, "");
    its_parent_sees_a_bus_error: case("ulimit -c 0; exec $RUN $P fault bus", -7, "");
    its_parent_sees_a_division_by_zero: case("ulimit -c 0; exec $RUN $P fault fpe", -8, "");
    its_parent_sees_an_illegal_instruction: case("ulimit -c 0; exec $RUN $P fault ill", -4, "");
    a_shell_says_how_it_was_killed: case(
        "ulimit -c 0; { $RUN $P fault segv; echo $?; } 2>&1 | sed 's/.*: [0-9 ]*//'", 0,
        "Segmentation fault      $RUN $P fault segv\n139\n");
    abort_ends_it: case("ulimit -c 0; exec $RUN $P fault abort", -6, "")
        .as_pid_1("own-signal", -11, "");
    it_may_kill_itself: case("exec $RUN sh -c 'kill -9 $$; echo still here'", -9, "")
        .as_pid_1("own-signal", 0, "still here\n");
    it_may_end_itself_by_every_signal: case(
        "ulimit -c 0
        for signal in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 24 25 26 27 29 30 31 33 34 64; do
            $P wait $RUN $P kill $signal
        done | tr '\\n' ,",
        0,
        "killed 1,killed 2,killed 3,killed 4,killed 5,killed 6,killed 7,killed 8,killed 9,killed 10,\
         killed 11,killed 12,killed 13,killed 14,killed 15,killed 16,killed 24,killed 25,killed 26,\
         killed 27,killed 29,killed 30,killed 31,killed 33,killed 34,killed 64,")
        .as_pid_1("own-signal", 0,
            "1: still here,exited 0,2: still here,exited 0,*,64: still here,exited 0,");
    its_own_alarm_ends_it: case(
        "exec $RUN bash -c '$0 with alarm=300 -- $1 spin 0 && exec $0 with alarm=300 -- sleep 3' $P $P",
        -14, "spun\n")
        .as_pid_1("own-signal", 0, "spun\n");
    what_it_starts_may_be_killed: case(
        "exec $RUN bash -c '$0 wait $0 kill 9; $0 wait $0 kill 15; $0 wait sh -c \"exit 9\"' $P",
        0, "killed 9\nkilled 15\nexited 9\n");
    a_child_may_kill_its_shell: case(
        "exec $RUN sh -c 'sh -c \"kill -9 \\$PPID\"; echo still here'", -9, "")
        .as_pid_1("own-signal", 0, "still here\n");
    killing_its_own_group_ends_it: case(
        "$P wait $P with group -- $RUN sh -c 'kill 0; sleep 30'", 0, "killed 15\n");
    the_parent_sees_no_core_of_the_commands: case(
        "ulimit -c unlimited; $P wait $HERE $P fault segv", 0, "killed 11 core\n")
        .by_root(&["prlimit", "--core=unlimited", "setpriv", "--clear-groups"])
        .inside("core-flag", 0, "killed 11\n");

    what_is_not_there_is_127: case(
        "for word in nosuch ./nosuch /nosuch/nosuch ''; do $P with -- $RUN \"$word\"; echo -n $?,; done 2>/dev/null",
        0, "127,127,127,127,");
    who_says_that_it_is_not_there: case("$RUN nosuch", 127, "")
        .err("*nosuch: command not found\n")
        .inside("messages", 127, "")
        .inside_err("selfdock: cannot run \"nosuch\": No such file or directory\n");
    what_may_not_be_executed_is_126: case(
        "echo true > file; ln -s loop loop
        for word in ./file . / ./loop; do $P with -- $RUN $word; echo -n $?,; done 2>/dev/null",
        0, "126,126,126,126,");
    a_program_that_is_being_written_is_126: case(
        "cp $P program; exec 9>>program; $P with -- $RUN ./program exit 3 2>/dev/null; echo $?
        exec 9>&-; $RUN ./program exit 3; echo $?",
        0, "126\n3\n");
    a_missing_interpreter_is_127: case(
        "printf '#!/nosuch\\n' > script; chmod +x script; $P with -- $RUN ./script 2>/dev/null; echo $?",
        0, "127\n")
        .inside("interpreter", 0, "126\n");
    a_script_runs_by_its_first_line: case(
        "printf '#!/bin/sh -e\\necho $0 $*; exit 3\\n' > script; chmod +x script
        $RUN ./script a b; echo $?",
        0, "./script a b\n3\n");
    a_script_without_a_first_line_is_the_shells: case(
        "echo 'echo $0 $*; exit 3' > script; chmod +x script; PATH=$W:$PATH
        $P with -- $RUN ./script a b; echo $?; $P with -- $RUN script '' 'c d'; echo $?",
        0, "./script a b\n3\n*/work/script c d\n3\n");
    a_file_of_no_format_is_the_shells: case(
        "printf '\\177ELF\\n' > file; chmod +x file; $P with -- $RUN ./file; echo $?", 0, "127\n")
        .err("*not found\n");

    a_caller_that_ignores_sigchld_gets_the_status: case(
        "exec $P with ignore=17 -- $RUN $P exit 42", 42, "");
    a_caller_that_blocks_sigchld_gets_the_status: case(
        "exec $P with block=17 -- $RUN $P exit 42", 42, "");
    a_child_that_the_caller_had_does_not_count: case(
        "exec $P with child -- $RUN $P exit 6", 6, "");
}

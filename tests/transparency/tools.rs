//! Programs that run other programs, around selfdock and within it.

use crate::harness::{case, cases};

/// A make that starts others. A jobserver that is not a pipe but a file is in $TMPDIR.
macro_rules! makefile {
    () => {
        "export TMPDIR=$W
        printf '1 2 3 4: ; $(HERE) $(MAKE) -f sub $@a $@b $@c\\n' > Makefile
        sed -i '1 i all: 1 2 3 4' Makefile
        echo 'both: ; $(HERE) $(MAKE) -f sub left right' >> Makefile
        echo '%: ; @echo $@' > sub
        printf 'left: ; @echo met > pipe\\nright: ; @cat pipe\\n' >> sub
        "
    };
}

/// What it makes.
const MADE: &str = "1a,1b,1c,2a,2b,2c,3a,3b,3c,4a,4b,4c,";

/// A program of two files, to be optimized as a whole, in several processes.
macro_rules! program {
    () => {
        "export TMPDIR=$W
        echo 'int f(void); int main(void) { return f(); }' > a.c; echo 'int f(void) { return 7; }' > b.c
        printf 'program: a.o b.o\\n\\t+$(HERE) gcc -flto=jobserver -flto-partition=1to1 -o $@ $^\\n' > Makefile
        printf '%%.o: %%.c\\n\\t$(HERE) gcc -O1 -flto -c -o $@ $<\\n' >> Makefile
        "
    };
}

cases! {
    a_deadline_outside_passes: case("exec timeout 1 $RUN sleep 60", 124, "");
    a_deadline_inside_passes: case("exec $RUN timeout 1 sleep 60", 124, "");
    a_deadline_in_the_foreground_passes: case("exec timeout --foreground 1 $RUN sleep 60", 124, "");
    a_deadline_that_kills_passes: case("exec 2>file; timeout -s KILL 1 $RUN sleep 60; echo $?", 0, "137\n");
    a_deadline_that_kills_inside_passes: case("$P wait $RUN timeout -s KILL 1 sleep 60", 0, "killed 9\n")
        .as_pid_1("own-signal", 0, "exited 137\n");
    a_deadline_that_insists_passes: case(
        "exec 2>file; timeout -k 1 2 $RUN sh -c 'trap \"\" TERM; sleep 60'; echo $?", 0, "137\n");
    a_deadline_keeps_the_status: case(
        "timeout --preserve-status 1 $RUN sleep 60; echo $?; timeout 60 $RUN $P exit 3; echo $?",
        0, "143\n3\n");
    // It goes to the process and to its group: the second one may come when the first is being handled.
    a_deadline_that_is_caught_is_caught: case(
        "exec 2>file; timeout 3 $RUN bash -c 'trap \"trap : TERM; echo caught; exit 5\" TERM; while :; do sleep 0.1; done'; echo $?",
        0, "caught\n124\n");
    a_deadline_tells_what_killed_it: case(
        "ulimit -c 0; $P wait timeout 60 $RUN $P fault segv; $P wait $RUN timeout 60 $P exit 4",
        0, "killed 11\nexited 4\n");

    hanging_up_is_ignored_outside: case(
        "nohup $RUN sh -c 'kill -HUP $$; echo still here' 2>&1", 0, "*still here\n");
    hanging_up_is_ignored_inside: case(
        "$RUN nohup sh -c 'kill -HUP $$; echo still here' 2>&1", 0, "*still here\n");
    a_new_session_outside_passes: case("setsid -w $RUN $P exit 3; echo $?", 0, "3\n");
    a_new_session_inside_passes: case("$RUN setsid -w $P exit 4; echo $?", 0, "4\n");
    nice_env_and_the_like_may_stand_around: case(
        "nice env A=1 stdbuf -o0 $RUN sh -c 'echo $A' | cat; $RUN nice env A=2 sh -c 'echo $A'", 0, "1\n2\n");
    xargs_runs_many: case(
        "seq 20 | xargs -P 4 -n 1 $RUN echo | sort -n | tr '\\n' ,", 0,
        "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,");
    xargs_runs_many_inside: case(
        "seq 20 | $RUN xargs -P 4 -n 1 echo | sort -n | tr '\\n' ,", 0,
        "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,");
    xargs_stops_at_255: case(
        "{ printf '255\\n3\\n' | xargs -n 1 $RUN $P exit; echo $?; echo 3 | xargs -n 1 $RUN $P exit; echo $?; } 2>&1 \
            | sed 's,/.*: ,,'", 0, "xargs: exited with status 255; aborting\n124\n123\n");
    xargs_stops_at_a_signal: case(
        "ulimit -c 0; { echo segv | xargs -n 1 $RUN $P fault; echo $?; } 2>&1 | sed 's,/.*: ,,'", 0,
        "xargs: terminated by signal 11\n125\n");
    find_runs_it: case(
        "touch a b; find . -type f -exec $RUN echo {} \\; | sort; find . -type f -exec $RUN echo {} + | wc -w",
        0, "./a\n./b\n2\n");
    the_time_is_told: case("{ time -p $RUN true; } 2>&1 | tr -d 0-9", 0, "real .\nuser .\nsys .\n");
    time_on_the_processor_counts: case(
        "TIMEFORMAT='%U %S'; read user system <<< \"$( { time $RUN $P spin 300 >file; } 2>&1 )\"
        [ $((10#${user/./} + 10#${system/./})) -ge 290 ] && echo yes",
        0, "yes\n");
    processes_may_stand_for_files: case(
        "$RUN cat <(echo a) <(echo b); $RUN diff <(seq 3) <(seq 2)", 1, "a\nb\n3d2\n< 3\n");
    processes_may_stand_for_output_files: case(
        "mkfifo pipe; echo text | $RUN tee >(cat >pipe) | cat & cat pipe; wait", 0, "text\ntext\n");
    processes_may_stand_for_files_inside: case(
        "$RUN bash -c 'cat <(echo a) <(echo b); exec 3> >(cat >&2); echo c >&3; exec 3>&-; wait $!'", 0, "a\nb\n")
        .err("c\n");
    a_coprocess_is_talked_to: case(
        "coproc $RUN cat; echo text >&${COPROC[1]}; read -u ${COPROC[0]} line; echo $line", 0, "text\n");
    a_pipeline_fails_where_it_fails: case(
        "set -o pipefail; $RUN $P exit 3 | $RUN cat; echo $?; $RUN $P exit 3 | $RUN $P exit 4 | true
        echo ${PIPESTATUS[@]}", 0, "3\n3 4 0\n");
    a_shell_stops_where_it_fails: case("set -e; $RUN true; $RUN $P exit 3; echo not here", 3, "");
    a_shell_inside_runs_its_traps: case(
        "$RUN bash -c 'trap \"echo bye\" EXIT; (exit 2) || echo failed $?; exit 5'", 5, "failed 2\nbye\n");
    a_script_comes_through_a_pipe: case("echo 'echo $#; exit 6' | $RUN sh -s a b", 6, "2\n");
    archives_go_through_pipes: case(
        "mkdir a b; echo text > a/file; $RUN tar -C a -cf - . | $HERE tar -C b -xf -; cat b/file", 0, "text\n");
    files_are_changed_in_place: case(
        "echo text > file; chmod 640 file; $HERE sed -i s/e/a/ file; cat file; stat -c %a file", 0,
        "taxt\n640\n");
    a_temporary_file_can_be_made: case(
        "$RUN sh -c 'f=$(mktemp) && echo text > $f && cat $f && rm $f'", 0, "text\n");
    busybox_does_it_as_well: case(
        "$RUN busybox sh -c 'echo a | busybox cat; exit 9'; echo $?", 0, "a\n9\n");
    a_traced_selfdock_makes_a_user_namespace: case(
        "strace -f -o file $RUN stat -c %u /etc", 0, "0\n")
        .inside("traced", 0, "65534\n");
    a_command_is_traced_inside: case("$RUN strace -o /dev/null -f $P exit 3", 3, "");

    make_shares_its_jobs_within: case(
        concat!(makefile!(), "$HERE make -s -j8 HERE= | sort | tr '\\n' ,"), 0, MADE);
    make_shares_its_jobs_around: case(
        concat!(makefile!(), "make -s -j4 | sort | tr '\\n' ,"), 0, MADE);
    make_shares_its_jobs_around_and_within: case(
        concat!(makefile!(), "$HERE make -s -j4 | sort | tr '\\n' ,"), 0, MADE);
    // Each waits for the other: one job at a time would never end.
    make_runs_jobs_at_the_same_time: case(
        concat!(makefile!(), "mkfifo pipe; make -s -j2 both; $HERE make -s -j2 HERE= both"), 0, "met\nmet\n");
    make_tells_a_failure: case(
        "printf 'all:\\n\\t@$(RUN) $(P) exit 3\\n' > Makefile; make; echo $?; $RUN make; echo $?", 0, "2\n2\n")
        .err("make: *** [Makefile:2: all] Error 3\nmake: *** [Makefile:2: all] Error 3\n");
    make_tells_a_signal: case(
        "ulimit -c 0; printf 'all:\\n\\t@$(RUN) $(P) fault segv\\n' > Makefile; make; echo $?", 0, "2\n")
        .err("make: *** [Makefile:2: all] Segmentation fault\n");
    a_compiler_takes_jobs_of_make: case(
        concat!(program!(), "make -s -j2; ./program; echo $?"), 0, "7\n");
    a_compiler_takes_jobs_of_make_within: case(
        concat!(program!(), "$HERE make -s -j2 HERE=; ./program; echo $?"), 0, "7\n");
    a_compiler_says_what_is_wrong: case(
        "echo 'int main(void) { return x; }' > file.c; $HERE gcc -c file.c", 1, "")
        .err("file.c: *'x' undeclared*");
}

//! What a process has from the one that executed it: ids, limits, scheduling, signals, timers.

use crate::harness::{case, cases};

cases! {
    the_umask_is_0777: case("umask 0777; $RUN sh -c umask", 0, "0777\n");
    the_umask_is_0: case("umask 0; $RUN sh -c umask", 0, "0000\n");
    the_umask_is_for_new_files: case(
        "umask 027; $HERE sh -c 'echo > file; mkdir dir'; stat -c %a file dir", 0, "640\n750\n");
    directories_are_as_open_as_ever: case(
        "umask 0777; $RUN stat -c '%a %n' /tmp /dev/shm /proc", 0,
        "1777 /tmp\n1777 /dev/shm\n555 /proc\n");
    the_user_is_the_same: case(
        "$RUN sh -c 'id -u; id -ru; id -g; id -rg; stat -c %u:%g /proc/self'; $HERE sh -c 'echo > file'
        stat -c %u:%g file", 0, "*")
        .by_userns("owners", 0, "*\n65534:65534\n*");
    owners_are_the_same: case("$RUN stat -c %u:%g /etc; $RUN find / -maxdepth 0 -user root", 0, "0:0\n/\n")
        .by_userns("owners", 0, "65534:65534\n");
    supplementary_groups_pass: case("$RUN grep ^Groups /proc/self/status", 0, "Groups:\t7 1234567 \n")
        .by_root(&["setpriv", "--groups", "7,1234567"])
        .by_userns("groups", 0, "Groups:\t65534 65534 \n");
    supplementary_groups_count: case(
        "echo theirs > file; chgrp 7 file; chmod 060 file; test -O file && $RUN cat file", 1, "")
        .by_root(&["setpriv", "--groups", "7,1234567"])
        .err("*Permission denied\n");
    no_supplementary_group_is_none: case("$RUN grep ^Groups /proc/self/status", 0, "Groups:\t \n");
    the_status_file_says_the_same: case(
        "$RUN grep -E '^(Umask|State|Uid|Gid|Groups|NoNewPrivs|CapInh|CapPrm|CapEff|CapAmb|\
            Speculation|Cpus|Mems|THP|CoreDumping|x86_Thread|Sig[BIC]|Threads)' /proc/self/status",
        0, "Umask:*CapEff:\t0000000000000000\n*");
    the_bounding_set_is_cut: case(
        "diff <($RUN grep ^CapBnd /proc/self/status) <(grep ^CapBnd /proc/self/status) && echo whole",
        0, "whole\n")
        .inside("capabilities", 1, "*< CapBnd:\t0000000000240100\n*")
        .by_userns("capabilities", 1, "*< CapBnd:\t0000000000000000\n*");
    ambient_capabilities_are_gone: case("$RUN grep -E '^Cap(Inh|Amb)' /proc/self/status",
        0, "CapInh:\t0000000000000400\nCapAmb:\t0000000000000400\n")
        .by_root(&["setpriv", "--clear-groups", "--inh-caps", "+net_bind_service",
            "--ambient-caps", "+net_bind_service"])
        .inside("capabilities", 0, "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n");
    no_new_privs_makes_a_user_namespace: case(
        "$P with no-new-privs -- $RUN stat -c %u /etc", 0, "0\n")
        .inside("no-new-privs", 0, "65534\n");
    an_ordinary_user_of_a_setuid_program: case(
        "test $($RUN $DIR/id -u) = 0 && echo root || echo caller", 0, "root\n")
        .inside("nosuid", 0, "caller\n");

    the_nice_value_is_the_same: case("nice -n 5 $RUN nice; $RUN nice -n 3 nice", 0, "5\n3\n");
    the_scheduling_class_is_batch: case(
        "chrt -b 0 $RUN sh -c 'chrt -p $$' | sed 's/.*: //'", 0, "SCHED_BATCH\n0\n");
    the_scheduling_class_is_idle: case(
        "chrt -i 0 $RUN sh -c 'chrt -p $$' | sed 's/.*: //'", 0, "SCHED_IDLE\n0\n");
    a_scheduling_class_that_children_lose_is_lost: case(
        "chrt -R -b 0 $RUN sh -c 'chrt -p $$' | sed 's/.*: //'", 0, "SCHED_BATCH|SCHED_RESET_ON_FORK\n0\n")
        .inside("new-process", 0, "SCHED_BATCH\n0\n");
    processors_are_the_same: case(
        "taskset -c 0 $RUN grep ^Cpus_allowed_list /proc/self/status", 0, "Cpus_allowed_list:\t0\n");
    the_priority_of_input_and_output_is_the_same: case(
        "ionice -c 2 -n 7 $RUN ionice; ionice -c 3 $RUN ionice", 0, "best-effort: prio 7\nidle\n");
    it_is_killed_as_soon_for_want_of_memory: case(
        "choom -n 500 -- $RUN cat /proc/self/oom_score_adj", 0, "500\n");
    what_prctl_sets_passes: case(
        "$P with slack=123456 no-huge-pages memory-failure=1 -- $RUN $P prctl", 0,
        "slack 123456, no huge pages 1, memory failure 1\n\
         dumpable 1, keep capabilities 0, securebits 0, no new privs 0\n");
    there_is_no_filter: case("$RUN grep ^Seccomp: /proc/self/status", 0, "Seccomp:\t0\n");
    the_filter_of_cores_is_the_same: case(
        "echo 0x7f > /proc/self/coredump_filter; $RUN cat /proc/self/coredump_filter", 0, "0000007f\n");
    the_signal_of_a_parents_death_is_selfdocks: case(
        "$P with pdeath=15 -- $RUN $P death-signal", 0, "15\n")
        .as_pid_1("death-signal", 0, "9\n")
        .with_init("death-signal", 0, "0\n");
    no_randomization_is_reset: case(
        "$P with personality=0040000 -- $RUN $P personality", 0, "40000\n")
        .inside("personality", 0, "0\n")
        .by_exec();
    an_old_kernels_name_stays: case(
        "$P with personality=0020000 -- $RUN $P personality; setarch --uname-2.6 $RUN uname -r",
        0, "20000\n2.6.*\n");
    the_session_keyring_is_the_same: case(
        "$P with keyring -- $RUN $P keyring", 0, "the caller's\n");
    the_control_group_is_the_same: case("$RUN cat /proc/self/cgroup", 0, "*");
    other_namespaces_are_the_same: case(
        "for kind in net ipc uts cgroup time; do $RUN readlink /proc/self/ns/$kind; done; $RUN uname -a",
        0, "net:*ipc:*uts:*cgroup:*time:*");
    the_user_namespace_is_the_same: case(
        "diff <($RUN cat /proc/self/uid_map) /proc/self/uid_map && echo same", 0, "same\n")
        .by_userns("user-namespace", 1, "1c1\n*          1\n---\n*");

    limits_are_the_same: case(
        "prlimit --as=4000000000:5000000000 --cpu=1000:2000 --data=3000000000:4000000000 \
            --fsize=100000000:200000000 --locks=100:200 --memlock=4096:8192 --msgqueue=1000:2000 \
            --nofile=100:200 --nproc=300:400 --rss=1000000:2000000 --sigpending=100:200 \
            --stack=1048576:2097152 --rttime=1000000:2000000 --core=0:0 $RUN cat /proc/self/limits",
        0, "Limit*Max cpu time *1000 *2000 *Max stack size *1048576 *2097152 *");
    a_stack_above_8_mib_is_8_mib: case("ulimit -S -s 16384; $RUN sh -c 'ulimit -S -s'", 0, "16384\n")
        .inside("stack-limit", 0, "8192\n")
        .by_exec();
    the_hard_limit_of_the_stack_stays: case(
        "ulimit -s 16384; $RUN sh -c 'ulimit -H -s'", 0, "16384\n");
    a_file_that_grows_too_large_ends_it: case(
        "ulimit -c 0; ulimit -f 1; $P wait $HERE dd if=/dev/zero of=file bs=1000 count=2; stat -c %s file",
        0, "killed 25\n1024\n")
        .as_pid_1("own-signal", 0, "exited 1\n1024\n")
        .inside_err("dd: *File too large\n*");
    time_on_the_processor_that_is_spent_ends_it: case(
        "ulimit -c 0; ulimit -S -t 1; ulimit -H -t 2; $P wait $RUN $P spin 60000", 0, "killed 24\n")
        .as_pid_1("own-signal", 0, "killed 9\n");
    time_on_the_processor_is_over_for_good: case(
        "ulimit -c 0; ulimit -t 1; $P wait $RUN $P spin 60000", 0, "killed 9\n");
    memory_is_limited: case(
        "ulimit -v 400000; $RUN $P allocate 100; $RUN $P allocate 500",
        0, "enough\nCannot allocate memory\n");
    processes_are_limited: case(
        "exec prlimit --nproc=6 $RUN $P forks", 0, "5, then: Resource temporarily unavailable\n")
        .as_pid_1("nproc", 0, "4, then: Resource temporarily unavailable\n")
        .with_init("nproc", 0, "3, then: Resource temporarily unavailable\n");
    descriptors_are_limited: case("ulimit -n 64; $RUN sh -c 'ulimit -n; ulimit -Hn'", 0, "64\n64\n");
    hardly_any_descriptor_is_too_few: case("ulimit -n 4; $RUN $P exit 3", 3, "")
        .inside("few-descriptors", 124, "")
        .inside_err("selfdock: *Too many open files\n");

    blocked_and_ignored_signals_stay: case(
        "$P with ignore=12 ignore=2 ignore=40 block=10 block=14 block=35 -- \
            $RUN cat /proc/self/status | grep -E '^(Sig[BIC]|ShdPnd)'", 0,
        "ShdPnd:\t0000000000000000\nSigBlk:\t0000000400002200\nSigIgn:\t00000080*0000802\nSigCgt:\t0000000000000000\n");
    ignoring_and_blocking_everything_stays: case(
        "$P with $(for n in {1..64}; do echo ignore=$n block=$n; done) -- \
            $RUN grep -E '^(Sig[BIC])' /proc/self/status", 0, "SigBlk:\tfffffffe7ffbfeff\nSigIgn:*");
    a_command_in_the_background_ignores_the_keys: case(
        "$RUN grep SigIgn /proc/self/status & wait", 0, "SigIgn:\t00000000*0000006\n");
    a_pending_signal_stays_pending: case(
        "$P with block=10 raise=10 -- $RUN $P pending 10", 0, "pending\n");
    the_callers_alarm_ends_it: case("exec $P with alarm=1000 -- $RUN sleep 60", -14, "");
    the_callers_alarm_is_caught: case(
        "exec $P with alarm=3000 -- $RUN bash -c 'trap \"echo rang; exit 3\" ALRM; while :; do sleep 0.1; done'",
        3, "rang\n");
    the_callers_alarm_is_ignored: case(
        "exec $P with alarm=500 ignore=14 -- $RUN sh -c 'sleep 1; echo slept'", 0, "slept\n");
    the_callers_alarm_cannot_be_seen: case(
        "$P with alarm=60000 -- $RUN $P timers", 0, "real set, cpu none\n")
        .inside("timers", 0, "real none, cpu none\n");
    the_callers_alarm_of_the_processor_does_not_ring: case(
        "$P wait $P with cpu-alarm=200 -- $RUN $P spin 600", 0, "killed 27\n")
        .inside("timers", 0, "spun\nexited 0\n");

    signals_that_end_it_end_it: case(
        "ulimit -c 0; exec 2>file
        for signal in TERM HUP USR1 USR2 ALRM KILL PIPE VTALRM PROF IO XCPU XFSZ SYS STKFLT PWR RTMIN RTMAX; do
            $RUN sleep 60 & kill -s $signal $!; wait $!; echo -n $?,
        done",
        0, "143,129,138,140,142,137,141,154,155,157,152,153,159,144,158,162,192,");
    a_handler_runs: case(
        "mkfifo pipe
        $RUN bash -c 'trap \"echo got; exit 7\" TERM; echo > pipe; while :; do sleep 0.1; done' &
        read line < pipe; kill $!; wait $!; echo $?", 0, "got\n7\n");
    an_ignored_signal_is_ignored: case(
        "mkfifo pipe back
        $RUN sh -c 'trap \"\" TERM; echo > pipe; read line < back; echo still here' &
        read line < pipe; kill $!; echo > back; wait $!; echo $?", 0, "still here\n0\n");
    a_signal_to_the_group_comes_twice: case(
        "mkfifo pipe; setsid $RUN $P count > pipe & exec 3<pipe; read line <&3
        kill -s RTMIN -- -$!; kill -s RTMIN+1 $!; wait $!", 0, "")
        .err("1\n")
        .inside("group-signal", 0, "")
        .inside_err("2\n")
        .init_err("3\n");
    many_signals_in_a_row_are_waited_for: case(
        "mkfifo pipe; $RUN $P count > pipe & exec 3<pipe; read line <&3
        for i in {1..200}; do kill -s RTMIN $!; done; kill -s RTMIN+1 $!; wait $!", 0, "")
        .err("200\n");
    a_program_that_blocks_signals_for_long_is_ended: case(
        "exec 2>file
        for delay in 0.45 0.5 0.55 0.6; do timeout -k 10 $delay $RUN $P children; echo -n $?,; done",
        0, "124,124,124,124,");
    a_shell_that_is_busy_is_ended: case(
        "exec 2>file
        for i in {1..8}; do timeout -k 10 0.3 $RUN sh -c 'while :; do /bin/true; done'; echo -n $?,; done",
        0, "124,124,124,124,124,124,124,124,");
    stopping_it_from_outside_stops_the_supervisor: case(
        "mkfifo ask answer; exec 3<>ask 4<>answer
        $RUN sh -c 'echo ready > answer; read line < ask; echo answer > answer' & read line <&4
        kill -STOP $!; until grep -q ^State:.T /proc/$!/status; do sleep 0.01; done
        echo >&3; if read -t 5 line <&4; then echo $line; else echo stopped; fi
        kill -CONT $!; wait $!", 0, "stopped\n")
        .inside("stop", 0, "answer\n");
}

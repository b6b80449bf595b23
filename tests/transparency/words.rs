//! The command's words, its environment, and what follows from them.

use crate::harness::{case, cases};

cases! {
    empty_words_pass: case(
        "$RUN $P args '' a '' ' ' $'\\n' ''", 0, "[]\n[a]\n[]\n[ ]\n[\\012]\n[]\n");
    words_of_any_bytes_pass: case(
        "$RUN $P args $'\\xff\\xfe' $'\\x01' $'\\xc3\\xa9' '*' '$HOME' '\\'", 0,
        "[\\377\\376]\n[\\001]\n[\\303\\251]\n[*]\n[$HOME]\n[\\]\n");
    words_that_look_like_options_pass: case(
        "$RUN $P args -- -v --help --rootfs / -C '' run --init", 0,
        "[--]\n[-v]\n[--help]\n[--rootfs]\n[/]\n[-C]\n[]\n[run]\n[--init]\n");
    a_hundred_thousand_words_pass: case(
        "$RUN $P sum-args $(seq 100000)", 0, "100000 strings, 588895 bytes, *");
    a_very_long_word_passes: case(
        "$RUN $P sum-args \"$(head -c 131071 /dev/zero | tr '\\0' a)\"", 0, "1 strings, 131072 bytes, *");
    no_word_at_all_passes: case("$RUN $P sum-args", 0, "0 strings, 0 bytes, hash 1505\n");
    the_command_is_called_as_it_was: case(
        "$RUN sh -c 'echo $0'; $RUN /bin/sh -c 'echo $0'; $RUN cat /proc/self/cmdline | tr '\\0' .
        $RUN cat /proc/self/comm", 0, "sh\n/bin/sh\ncat./proc/self/cmdline.cat\n");
    the_command_is_not_called_otherwise: case(
        "(exec -a other $RUN cat /proc/self/cmdline) | tr '\\0' .", 0, "other./proc/self/cmdline.")
        .inside("argv0", 0, "cat./proc/self/cmdline.");
    the_kernel_tells_it_the_same: case(
        "$RUN $P auxv; cd $DIR; $RUN ./probe auxv; PATH=$DIR:$PATH; $RUN probe auxv", 0,
        "/*probe, secure 0\n./probe, secure 0\n/*/probe, secure 0\n");

    an_empty_environment_stays_empty: case("env -i $RUN $P env", 0, "");
    an_odd_environment_stays_odd: case(
        "$P with env=A=1 env=A=2 env=odd env= env==x env=A=3 env=B= -- $RUN $P env", 0,
        "[A=1]\n[A=2]\n[odd]\n[]\n[=x]\n[A=3]\n[B=]\n");
    an_environment_of_any_bytes_passes: case(
        "$P with $'env=N=\\xff\\xfe\\x01' $'env=\\xe9=1' $'env=L=a\\nb' -- $RUN $P env", 0,
        "[N=\\377\\376\\001]\n[\\351=1]\n[L=a\\012b]\n");
    an_environment_of_a_mebibyte_passes: case(
        "$P with fill-env=1048576 -- $RUN $P sum-env", 0, "8 strings, 1048576 bytes, *");
    thousands_of_variables_pass: case(
        "$P with $(for n in {1..4000}; do echo env=V$n=$n; done) -- $RUN $P sum-env", 0, "4000 strings, *");
    variables_that_a_loader_drops_stay: case(
        "env -i LD_LIBRARY_PATH=/x LD_PRELOAD= LD_AUDIT= LD_DEBUG_OUTPUT=/x TMPDIR=/x GCONV_PATH=/x \
            LOCPATH=/x NLSPATH=/x RES_OPTIONS=x HOSTALIASES=/x MALLOC_CHECK_=0 GLIBC_TUNABLES= TZDIR=/x \
            RESOLV_HOST_CONF=/x GETCONF_DIR=/x LOCALDOMAIN=x MALLOC_TRACE=/x RUST_BACKTRACE=1 $RUN $P env",
        0, "[LD_LIBRARY_PATH=/x]\n*[TMPDIR=/x]\n*[RUST_BACKTRACE=1]\n");
    a_path_is_searched_in_order: case(
        "mkdir a b; for d in a b; do echo \"echo $d\" > $d/tool; done; chmod +x b/tool; cp b/tool b/other
        PATH=$W/a:b:$PATH; $P with -- $RUN tool; $P with -- $RUN other; PATH= $P with -- $RUN b/tool", 0,
        "b\nb\nb\n");
    no_path_is_a_default_path: case("env -i $RUN sh -c 'echo $#'", 0, "0\n");
    variables_set_for_it_are_set: case(
        "A=1 B='2 3' $RUN sh -c 'echo $A-$B-$C'", 0, "1-2 3-\n");

    sorting_is_by_the_callers_locale: case(
        "printf 'b\\nA\\na\\nB\\n' | LC_ALL=C $RUN sort | tr '\\n' .; printf 'b\\nA\\n' | LC_ALL=C.UTF-8 $RUN sort",
        0, "A.B.a.b.A\nb\n");
    characters_are_the_callers: case(
        "LC_ALL=C.UTF-8 $RUN bash -c 'v=$(printf \"\\303\\251\"); echo ${#v}'
        LC_ALL=C $RUN bash -c 'v=$(printf \"\\303\\251\"); echo ${#v}'; LC_ALL=C.UTF-8 $RUN locale charmap",
        0, "1\n2\nUTF-8\n");
    the_time_zone_is_the_callers: case(
        "TZ=EST5 $RUN date -d @0 +%T%z", 0, "19:00:00-0500\n");

    the_working_directory_is_the_same: case(
        "$RUN /bin/pwd; mkdir -p 'a b'/$'c\\n\\xff'; cd a*/c*; $RUN sh -c '/bin/pwd; pwd | cksum'; [ $(stat -c %i .) = $($RUN stat -c %i .) ] && echo same",
        0, "*");
    the_working_directory_may_be_behind_a_link: case(
        "mkdir dir; ln -s dir link; cd link; $RUN sh -c 'pwd; /bin/pwd; echo $PWD'",
        0, "/*/link\n/*/dir\n/*/link\n");
    a_working_directory_that_is_gone_is_gone: case(
        "mkdir gone; cd gone; rmdir ../gone; $RUN readlink /proc/self/cwd", 0, "/*/gone (deleted)\n")
        .inside("directory", 0, "/\n");
    a_working_directory_of_another_mount_is_not_there: case(
        "cd /dev/shm; $RUN /bin/pwd", 0, "/dev/shm\n")
        .inside("directory", 0, "/\n");
}

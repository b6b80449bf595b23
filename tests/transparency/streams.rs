//! Standard input, output and error, and other descriptors: what goes through them, in which order,
//! and when they end.

use crate::harness::{case, cases};

cases! {
    nothing_is_closed: case("exec $RUN $P closed", 0, "");
    standard_input_is_closed: case("exec $RUN $P closed <&-", 1, "");
    standard_output_is_closed: case("exec $RUN $P closed >&-", 2, "");
    standard_input_and_output_are_closed: case("exec $RUN $P closed <&- >&-", 3, "");
    standard_error_is_closed: case("exec $RUN $P closed 2>&-", 4, "");
    standard_input_and_error_are_closed: case("exec $RUN $P closed <&- 2>&-", 5, "");
    standard_output_and_error_are_closed: case("exec $RUN $P closed >&- 2>&-", 6, "");
    everything_is_closed: case("exec $RUN $P closed <&- >&- 2>&-", 7, "");
    reading_closed_input_fails: case("exec $RUN cat <&-", 1, "")
        .err("cat: *Bad file descriptor\n*");
    writing_closed_output_fails: case("exec $RUN /bin/echo text >&-", 1, "")
        .err("*Bad file descriptor\n");

    yes_into_head_ends_by_sigpipe: case(
        "$RUN yes | head -n1; echo ${PIPESTATUS[@]}", 0, "y\n141 0\n")
        .as_pid_1("sigpipe", 0, "y\n1 0\n")
        .inside_err("yes: standard output: Broken pipe\n");
    yes_into_head_inside_ends_by_sigpipe: case(
        "$RUN bash -c 'yes | head -n1; echo ${PIPESTATUS[@]}'", 0, "y\n141 0\n");
    yes_into_a_command_that_ends_ends_by_sigpipe: case(
        "yes | $RUN head -n1; echo ${PIPESTATUS[@]}", 0, "y\n141 0\n");
    yes_into_head_is_told_where_sigpipe_is_ignored: case(
        "$P with ignore=13 -- $RUN yes | head -n1; echo ${PIPESTATUS[@]}", 0, "y\n1 0\n")
        .err("yes: standard output: Broken pipe\n");
    a_pipeline_passes_ten_mebibytes: case(
        "seq 1500000 | $RUN cat | $RUN cat | cksum", 0, "462506388 10888896\n");
    a_file_takes_ten_mebibytes: case(
        "$RUN seq 1500000 > file; cksum < file", 0, "462506388 10888896\n");
    both_outputs_take_much_at_once: case(
        "$RUN sh -c 'seq 300000 & seq 300000 >&2; wait' 2>error | cksum; cksum < error",
        0, "2732413854 1988895\n2732413854 1988895\n");

    output_and_errors_stay_in_order: case(
        "$RUN bash -c 'for i in 1 2 3; do echo out $i; echo err $i >&2; done' 2>&1",
        0, "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\n");
    a_thousand_lines_stay_in_order: case(
        "for i in {1..500}; do echo out $i; echo err $i; done | cksum
        $RUN bash -c 'for i in {1..500}; do echo out $i; echo err $i >&2; done' 2>&1 | cksum",
        0, "2628513182 7784\n2628513182 7784\n");
    commands_in_a_row_stay_in_order: case(
        "{ echo a; $RUN echo b; echo c; $RUN sh -c 'echo d >&2'; echo e; } 2>&1",
        0, "a\nb\nc\nd\ne\n");
    a_file_is_appended_to: case(
        "echo a > file; $RUN sh -c 'echo b; echo c' >> file; echo d >> file; cat file",
        0, "a\nb\nc\nd\n");
    a_file_is_written_on_where_the_last_one_stopped: case(
        "{ $RUN echo one; echo two; $RUN echo three; } > file; cat file", 0, "one\ntwo\nthree\n");
    a_file_is_read_on_where_the_command_stopped: case(
        "printf 1234567890 > file; { $RUN head -c 5; echo; cat; } < file", 0, "12345\n67890");
    lines_that_were_not_taken_stay: case(
        "seq 4 > file; { $RUN head -n 1; echo -; $RUN sh -c 'read line; echo $line'; echo -; cat; } < file",
        0, "1\n-\n2\n-\n3\n4\n");
    a_shared_offset_may_be_set: case(
        "seq 3 > file; exec 9<>file; $RUN sh -c 'cat <&9; echo 4 >&9'; echo 5 >&9; cat file",
        0, "1\n2\n3\n1\n2\n3\n4\n5\n");

    dev_stdout_is_standard_output: case(
        "$RUN sh -c 'echo pipe > /dev/stdout' | cat; $RUN sh -c 'echo file > /dev/stdout' > file
        $RUN sh -c 'echo more >> /dev/stdout' >> file; cat file",
        0, "pipe\nfile\nmore\n");
    dev_stderr_is_standard_error: case("$RUN sh -c 'echo text > /dev/stderr' 2>&1 | cat", 0, "text\n");
    dev_stdin_is_standard_input: case(
        "echo text | $RUN cat /dev/stdin; $RUN cat /dev/fd/0 <<< again", 0, "text\nagain\n");
    dev_fd_is_any_descriptor: case(
        "exec 7>file; $RUN sh -c 'echo 12345678 > /dev/fd/7; truncate -s 4 /dev/fd/7'; cat file",
        0, "1234");
    a_full_device_is_full: case("$RUN /bin/echo text > /dev/full", 1, "")
        .err("/bin/echo: write error: No space left on device\n");
    a_full_device_inside_is_full: case("$RUN sh -c '/bin/echo text > /dev/full'", 1, "")
        .err("/bin/echo: write error: No space left on device\n");
    devices_give_what_they_give: case(
        "$RUN sh -c 'head -c 3 /dev/zero | od -An -tx1; head -c 9 /dev/urandom | wc -c; cat /dev/null'",
        0, " 00 00 00\n9\n");
    there_is_no_terminal: case("$RUN sh -c 'tty; exec 3<>/dev/tty'", 2, "not a tty\n")
        .err("*/dev/tty: No such device or address\n");

    a_socket_is_as_good_as_a_pipe: case("$P socket $RUN cat", 0, "over a socket\nexited 0\n");
    a_socket_cannot_be_opened_by_name: case(
        "$P socket $RUN sh -c 'cat /dev/stdin 2>&1'", 0,
        "cat: /dev/stdin: No such device or address\nexited 0\n");
    flags_of_open_files_stay: case(
        "{ $P with nonblock=0 nonblock=1 -- $RUN $P flags; } 2>>file | cat; $RUN $P flags >>file; cat file",
        0, "0: nonblock\n1: nonblock\n2: append\n0: nonblock\n1: append\n2:\n");
    flags_are_left_as_they_were: case(
        "{ $RUN true; $P flags; } < /dev/zero 2>>file | cat", 0, "0:\n1:\n2: append\n");
    high_descriptors_pass: case(
        "exec 9>file 200>&9; $RUN sh -c 'echo nine >&9'; $RUN bash -c 'echo more >&200'; cat file",
        0, "nine\nmore\n");
    a_named_pipe_can_be_read: case(
        "mkfifo pipe; $RUN cat pipe & echo text > pipe; wait", 0, "text\n");
    a_named_pipe_can_be_written: case(
        "mkfifo pipe; $RUN sh -c 'echo text > pipe' & cat pipe; wait", 0, "text\n");

    a_reader_sees_the_end_when_the_command_closes_its_output: case(
        "mkfifo pipe; { $RUN sh -c 'exec >&- 2>&-; read line < pipe' & } | cat
        echo end; echo > pipe",
        0, "end\n");
    a_writer_sees_the_end_when_the_command_closes_its_input: case(
        "mkfifo pipe
        { yes; echo yes ended by $? >&9; } 9>told | $RUN sh -c 'exec <&-; read line < pipe' &
        until [ -s told ]; do sleep 0.05; done; cat told; echo > pipe; wait",
        0, "yes ended by 141\n");
    a_reader_waits_for_a_command_in_the_background: case(
        "( $RUN sh -c 'sleep 1; echo late' & ) | cat", 0, "late\n");
    a_child_holds_the_output_open: case(
        "$RUN sh -c '(sleep 1; echo late) & echo now; wait' | cat", 0, "now\nlate\n");
    input_comes_from_a_document: case(
        "$RUN cat <<END\n$(seq 3)\nEND\nseq 20000 > file; $RUN cksum <<< \"$(cat file)\"; cksum < file",
        0, "1\n2\n3\n3231941463 108894\n3231941463 108894\n");
}

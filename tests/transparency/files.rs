//! What an instance is for: which files are there, and which can be written to.

use crate::harness::{case, cases};

cases! {
    nothing_can_be_written: case("$RUN sh -c 'echo text > file'; cat file", 0, "text\n")
        .inside("read-only", 1, "")
        .inside_err("sh: *Read-only file system\ncat: file: No such file or directory\n");
    what_is_in_tmp_is_not_there: case(
        "file=$(mktemp); echo text > $file; $RUN cat $file 2>/dev/null || echo absent; rm $file", 0, "text\n")
        .inside("tmp", 0, "absent\n");
    what_is_put_in_tmp_is_gone: case(
        "file=/tmp/${W//\\//-}; $RUN sh -c \"echo text > $file\"; cat $file 2>/dev/null || echo absent; rm -f $file",
        0, "text\n")
        .inside("tmp", 0, "absent\n");
    other_mounts_are_empty: case("$RUN test -e /sys/kernel && echo there || echo absent", 0, "there\n")
        .inside("mounts", 0, "absent\n");
    devices_are_few: case("$RUN ls -x -w0 /dev", 0, "*")
        .inside("devices", 0, "fd  full  null  ptmx  pts  random  shm  stderr  stdin  stdout  tty  urandom  zero\n");
    directories_do_not_pass: case("$RUN test -e /proc/self/fd/9 9<. && echo there || echo absent", 0, "there\n")
        .inside("descriptors", 0, "absent\n");
}

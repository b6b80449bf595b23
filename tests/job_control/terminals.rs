//! The terminal itself: what it is called, how it is set, how large it is, and its end.

use crate::conversation::{BARE, BASH, INIT, NESTED, RUN, Shell, WAYS, alike, held};
use crate::host::Host;
use crate::processes::{calm, count_of, kill_all};

#[test]
fn lines_are_edited_and_end_as_bare() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        shell.start_line("$W cat");
        shell.key("ab\x7fc\n");
        shell.until("c\r\nac\r\n");
        shell.key("lost\x15kept\n");
        shell.until("kept\r\nkept\r\n");
        shell.key("\x04");
        shell.prompted();
        assert_eq!(shell.run("echo $?"), "0\n");
        shell.run_until("$W bash -c 'read -s -p give: x; echo \"<$x>\"'", "give:");
        shell.calmly("secret\n");
        assert_eq!(shell.prompted(), "<secret>\n");
    });
}

#[test]
fn the_terminal_is_set_as_bare() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        let outside = shell.run("stty -a");
        assert!(outside.contains("rows 24; columns 80;"));
        assert_eq!(shell.run("$W stty -a"), outside);
        shell.run("$W stty erase ^H -ixon");
        let changed = shell.run("stty -a");
        assert!(
            changed.contains("erase = ^H;") && changed.contains("-ixon"),
            "{changed}"
        );
        shell.run("$W stty sane");
        shell.run("$W tput cols; $W tput lines");
    });
}

#[test]
fn the_terminal_is_one() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        let test = "for n in 0 1 2; do test -t $n; echo $?; done; test -t 0 </dev/null; echo $?";
        assert_eq!(shell.run(&format!("$W sh -c '{test}'")), "0\n0\n0\n1\n");
        shell.run("$W true | $W sh -c 'tty; test -t 0; echo $?'");
    });
}

/// By nature: the instance has a /dev of its own, in which the terminal is `console`. That path can
/// be opened, and so can /dev/tty.
#[test]
fn the_terminal_has_a_name_that_can_be_opened() {
    let host = Host::new();
    for way in [BARE].into_iter().chain(WAYS) {
        held(&host, BASH, way, |shell| {
            let name = shell.run("$W tty");
            let is_bare = way == BARE;
            assert_eq!(name.starts_with("/dev/pts/"), is_bare, "{name}");
            assert_eq!(name == "/dev/console\n", !is_bare, "{name}");
            let write = "echo by name >\"$(tty)\"; echo by tty >/dev/tty; stty size <\"$(tty)\"";
            assert_eq!(
                shell.run(&format!("$W sh -c '{write}'")),
                "by name\nby tty\n24 80\n"
            );
            let python = "import os; print(os.ttyname(0) == os.ttyname(2), os.isatty(1))";
            assert_eq!(
                shell.run(&format!("$W python3 -c '{python}'")),
                "True True\n"
            );
        });
    }
}

#[test]
fn a_change_of_size_arrives() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        let line = "trap 'stty size; exit 3' WINCH; echo up; while :; do sleep 0.05; done";
        shell.run_until(&format!("$W sh -c \"{line}\""), "up\r\n");
        shell.terminal.widen(100);
        assert_eq!(shell.prompted(), "24 100\n");
        assert_eq!(shell.run("$W tput cols"), "100\n");
    });
}

#[test]
fn closing_the_terminal_ends_what_does_not_care() {
    let host = Host::new();
    for way in [BARE].into_iter().chain(WAYS) {
        println!("{}", way.0);
        for line in [
            "$W sh -c 'echo up; exec sleep 60'",
            "$W sh -c 'echo up; cat; exit 5'",
        ] {
            let mut shell = Shell::start(&host, BASH, way);
            shell.run_until(line, "up");
            calm(&host, "S");
            shell.terminal.hang_up();
            shell.ended();
            host.assert_nothing_runs();
        }
    }
}

#[test]
fn closing_the_terminal_leaves_what_ignores_that() {
    let host = Host::new();
    for way in [BARE].into_iter().chain(WAYS) {
        println!("{}", way.0);
        let mut shell = Shell::start(&host, BASH, way);
        let line = "nohup $W sh -c 'echo up >/dev/tty; exec sleep 60' </dev/null >/dev/null";
        shell.run_until(line, "up\r\n");
        calm(&host, "S");
        shell.terminal.hang_up();
        shell.ended();
        assert_eq!(count_of(&host, &["sleep", "60"]), 1);
        calm(&host, "S");
        assert_eq!(count_of(&host, &["sleep", "60"]), 1);
        kill_all(&host);
        host.assert_nothing_runs();
    }
}

#[test]
fn a_new_terminal_can_be_opened_inside() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        assert_eq!(shell.run("$W script -qc 'stty size' /dev/null"), "24 80\n");
        assert_eq!(
            shell.run("$W script -qec 'exit 3' /dev/null; echo $?"),
            "3\n"
        );
        shell.run_until("$W script -qc 'echo up; cat' /dev/null", "up");
        shell.calmly("text\n");
        shell.until("text\r\ntext\r\n");
        shell.calmly("\x04");
        shell.prompted();
        shell.run_until("$W script -qc 'echo up; exec sleep 60' /dev/null", "up");
        shell.calmly("\x03");
        shell.prompted();
        shell.run("stty -a");
        let spawn = "import pty, sys; sys.exit(pty.spawn([\"sh\", \"-c\", \"echo up; cat\"]))";
        shell.run_until(&format!("$W python3 -c '{spawn}'"), "up");
        shell.calmly("text\n");
        shell.until("text\r\ntext\r\n");
        shell.calmly("\x04");
        shell.prompted();
        assert_eq!(shell.run("echo $?"), "0\n");
    });
}

/// One that runs inside has a terminal of its own for each command, with job control on it.
#[test]
fn job_control_works_on_a_terminal_that_was_opened_inside() {
    let host = Host::new();
    alike(&host, BASH, &[RUN, INIT, NESTED], |shell| {
        let inner = "PS1='in''ner> ' bash --norc --noprofile --noediting -i";
        shell.run_until(&format!("$W script -qc \"{inner}\" /dev/null"), "inner> ");
        calm(&host, "S");
        shell.run_until("sh -c 'echo u\"\"p; read line; echo got $line'", "up");
        shell.calmly("\x1a");
        shell.until("inner> ");
        shell.run_until("jobs", "inner> ");
        shell.foreground();
        shell.calmly("text\n");
        shell.until("got text\r\ninner> ");
        shell.key("exit 7\n");
        shell.prompted();
        shell.run("stty -a");
    });
}

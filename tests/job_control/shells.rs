//! An interactive shell inside, with jobs of its own.

use crate::conversation::{
    BARE, BASH, DASH, INIT, INIT_NESTED, NESTED, NESTED_INIT, RUN, Shell, WAYS, alike, held,
};
use crate::host::Host;
use crate::processes::calm;

/// What the shell inside prompts with.
const INNER: &str = "inner> ";

const INNER_BASH: &str = "bash --norc --noprofile --noediting";

/// Starts a shell inside; what is typed does not contain its prompt.
#[track_caller]
fn start(shell: &mut Shell, words: &str) {
    shell.run_until(&format!("PS1=\"in\"\"ner> \" {words}"), INNER);
}

/// What the inner shell prints for this line.
#[track_caller]
fn inside(shell: &mut Shell, line: &str) -> String {
    shell.run_until(line, INNER)
}

/// A command, its stopping, going on, and ending, in whatever shell is there.
#[track_caller]
fn hold_jobs(shell: &mut Shell) {
    shell.run_until(
        "sh -c 'echo up; read line; echo got $line; exit 3'",
        "up\r\n",
    );
    shell.calmly("\x1a");
    assert!(shell.until(INNER).contains("Stopped"));
    assert!(inside(shell, "echo $?").starts_with("148\n"));
    inside(shell, "jobs");
    shell.foreground();
    shell.calmly("text\n");
    assert!(shell.until(INNER).contains("got text\n"));
    assert_eq!(inside(shell, "echo $?"), "3\n");
    // Keys at its prompt.
    shell.calmly("\x03");
    shell.until(INNER);
    shell.calmly("\x1a");
    inside(shell, "");
}

/// A command in the background.
#[track_caller]
fn hold_background(shell: &mut Shell) {
    shell.run_until("sh -c 'echo up; exec sleep 60'", "up\r\n");
    shell.calmly("\x1a");
    shell.until(INNER);
    inside(shell, "bg");
    calm(shell.host, "S");
    shell.foreground();
    shell.calmly("\x03");
    shell.until(INNER);
    assert_eq!(inside(shell, "echo $?"), "130\n");
}

#[test]
fn a_shell_inside_has_jobs_and_gives_the_terminal_back() {
    let host = Host::new();
    for (outer, inner) in [
        (BASH, INNER_BASH),
        (BASH, "dash"),
        (BASH, "sh -i"),
        (DASH, INNER_BASH),
        (DASH, "dash"),
    ] {
        alike(&host, outer, &WAYS, |shell| {
            println!("{inner}");
            let before = shell.run("stty -a");
            start(shell, &format!("$W {inner}"));
            hold_jobs(shell);
            hold_background(shell);
            shell.start_line("exit 7");
            shell.prompted();
            assert_eq!(shell.run("echo $?"), "7\n");
            assert_eq!(shell.run("stty -a"), before);
            shell.start_line("cat");
            shell.calmly("text\n");
            shell.until("text\r\ntext\r\n");
            shell.calmly("\x04");
            shell.prompted();
        });
    }
}

/// Whose name is not that of a shell. Nothing goes on in the background here: the signal that tells
/// the shell so makes it lose a line or its prompt now and then, also when bare (its handler has no
/// `SA_RESTART`, and a write(2) that it interrupts is not repeated).
#[test]
fn a_shell_of_busybox_inside_has_jobs_and_gives_the_terminal_back() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        start(shell, "$W busybox ash");
        hold_jobs(shell);
        shell.start_line("exit 7");
        shell.prompted();
        assert_eq!(shell.run("echo $?"), "7\n");
        shell.start_line("cat");
        shell.calmly("text\n");
        shell.until("text\r\ntext\r\n");
        shell.calmly("\x04");
        shell.prompted();
    });
}

#[test]
fn a_shell_that_something_else_starts_inside_has_jobs_and_gives_the_terminal_back() {
    let host = Host::new();
    for words in [
        format!("env {INNER_BASH} -i"),
        format!("sh -c '{INNER_BASH} -i; exit 7'"),
        format!("sh -c '{INNER_BASH} -i; read line; echo got $line; exit 7'"),
    ] {
        alike(&host, BASH, &WAYS, |shell| {
            println!("{words}");
            start(shell, &format!("$W {words}"));
            hold_jobs(shell);
            hold_background(shell);
            shell.start_line("exit 7");
            if words.contains("read") {
                shell.until("exit\r\n");
                shell.calmly("text\n");
            }
            shell.prompted();
            assert_eq!(shell.run("echo $?"), "7\n");
            shell.run("stty -a");
        });
    }
}

#[test]
fn a_shell_inside_gives_the_terminal_back_to_a_script() {
    let host = Host::new();
    for inner in [INNER_BASH, "dash"] {
        for script in ["sh", "bash"] {
            alike(&host, BASH, &WAYS, |shell| {
                let words = format!("PS1=\"in\"\"ner> \" $W {inner} -i; echo $?; cat");
                shell.run_until(&format!("{script} -c '{words}'"), INNER);
                inside(shell, "echo inside");
                shell.start_line("exit 7");
                shell.until("7\r\n");
                shell.calmly("text\n");
                shell.until("text\r\ntext\r\n");
                shell.calmly("\x04");
                shell.prompted();
            });
        }
    }
}

#[test]
fn a_shell_inside_can_be_suspended() {
    let host = Host::new();
    alike(&host, BASH, &[INIT, NESTED_INIT], |shell| {
        start(shell, &format!("$W {INNER_BASH}"));
        for _ in 0..2 {
            calm(&host, "S");
            shell.start_line("suspend");
            let printed = shell.prompted();
            assert!(printed.contains("Stopped"), "{printed:?}");
            shell.run("jobs");
            assert_eq!(shell.run("echo again"), "again\n");
            shell.foreground();
            shell.until(INNER);
        }
        hold_jobs(shell);
        shell.start_line("exit 7");
        shell.prompted();
        assert_eq!(shell.run("echo $?"), "7\n");
    });
}

/// By nature: the shell leads process group 1, and a signal to that, kill(-1), is one to all but
/// itself.
#[test]
fn a_shell_that_is_pid_1_cannot_be_suspended() {
    let host = Host::new();
    for way in [RUN, NESTED, INIT_NESTED] {
        held(&host, BASH, way, |shell| {
            start(shell, &format!("$W {INNER_BASH}"));
            inside(shell, "suspend");
            assert_eq!(inside(shell, "echo still here"), "still here\n");
            shell.start_line("exit 7");
            shell.prompted();
            assert_eq!(shell.run("echo $?"), "7\n");
        });
    }
}

/// By nature: dash gives the terminal back to the group that it was started in, and that has no
/// number inside. A shell that is the command itself leads a group of its own from the beginning.
#[test]
fn a_dash_that_something_else_starts_inside_says_that_it_cannot_give_the_terminal_back() {
    let host = Host::new();
    for way in [BARE].into_iter().chain(WAYS) {
        held(&host, BASH, way, |shell| {
            start(
                shell,
                "$W sh -c 'dash -i; read line; echo got $line; exit 7'",
            );
            inside(shell, "echo inside");
            shell.start_line("exit 6");
            if way != BARE {
                shell.until("Cannot set tty process group");
            }
            shell.calmly("text\n");
            assert!(shell.prompted().ends_with("got text\n"));
            assert_eq!(shell.run("echo $?"), "7\n");
        });
    }
}

#[test]
fn a_shell_inside_with_a_stopped_job_asks_before_it_ends() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        start(shell, &format!("$W {INNER_BASH}"));
        shell.run_until("sh -c 'echo up; exec sleep 60'", "up\r\n");
        shell.calmly("\x1a");
        shell.until(INNER);
        assert!(inside(shell, "exit").contains("There are stopped jobs."));
        shell.start_line("exit 5");
        shell.prompted();
        assert_eq!(shell.run("echo $?"), "5\n");
    });
}

/// A shell whose terminal is another's waits for it.
#[test]
fn a_shell_inside_that_starts_in_the_background_stops() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        shell.whisper(&format!("PS1=\"in\"\"ner> \" $W {INNER_BASH} -i &"));
        shell.job_stops();
        shell.whisper("");
        shell.whisper("jobs");
        shell.foreground();
        shell.until(INNER);
        inside(shell, "echo inside");
        shell.start_line("exit 7");
        shell.prompted();
        assert_eq!(shell.run("echo $?"), "7\n");
    });
}

#[test]
fn a_shell_inside_edits_its_lines() {
    let host = Host::new();
    let editing = ["bash", "--norc", "--noprofile", "-i"];
    for way in [BARE, RUN, INIT] {
        held(&host, BASH, way, |shell| {
            let words = editing.join(" ");
            start(shell, &format!("INPUTRC=/dev/null HISTFILE= $W {words}"));
            shell.calmly("echo first\r");
            shell.until("first\r\n");
            shell.until(INNER);
            // Up, back over `first`, which becomes `the first`.
            shell.calmly("\x1b[A\x1b[D\x1b[D\x1b[D\x1b[D\x1b[Dthe-\r");
            shell.until("2004l\rthe-first\r\n");
            shell.until(INNER);
            shell.calmly("half a line");
            shell.until("half a line");
            shell.calmly("\x03");
            shell.until(INNER);
            shell.calmly("echo comp\x01\x0bexit 7\r");
            shell.prompted();
            assert_eq!(shell.run("echo $?"), "7\n");
        });
    }
}

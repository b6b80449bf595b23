//! Keys, and what an interactive shell does with jobs.

use std::cell::RefCell;

use crate::conversation::{
    BARE, BASH, DASH, INIT, INIT_NESTED, NESTED, NESTED_INIT, RUN, Shell, WAYS, alike, held,
};
use crate::host::Host;
use crate::host::terminal::PROMPT;
use crate::processes::{calm, count_of, states, wait_until};

/// Says `up`, and waits until something ends it.
const SLEEPING: &str = "$W sh -c 'echo up; exec sleep 60'";
/// Says `up`, waits for a line, and says what that is.
const READING: &str = "$W sh -c 'echo up; read line; echo got $line; exit 3'";

/// A pipeline of three, all of which have started.
fn three_cats(shell: &mut Shell) {
    shell.start_line("$W cat | $W cat | $W cat");
    wait_until(shell.host, "three cats", || {
        count_of(shell.host, &["cat"]) == 3
    });
}

// ^C and its like.

#[test]
fn an_interrupt_ends_what_does_not_care() {
    let host = Host::new();
    for shell in [BASH, DASH] {
        alike(&host, shell, &WAYS, |shell| {
            shell.run("ulimit -c 0");
            for (key, status) in [("\x03", "130\n"), ("\x1c", "131\n")] {
                shell.run_until(SLEEPING, "up\r\n");
                shell.calmly(key);
                shell.prompted();
                assert_eq!(shell.run("echo $?"), status);
            }
        });
    }
}

#[test]
fn an_interrupt_that_is_caught_is_the_commands_own_business() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        for (signal, key) in [("INT", "\x03"), ("QUIT", "\x1c")] {
            let trap = format!("trap 'echo caught; exit 5' {signal}");
            let line = format!("$W sh -c \"{trap}; echo up; sleep 60\"");
            shell.run("ulimit -c 0");
            shell.run_until(&line, "up\r\n");
            shell.calmly(key);
            assert!(shell.prompted().contains("caught"));
            assert_eq!(shell.run("echo $?"), "5\n");
        }
    });
}

#[test]
fn an_interrupt_that_is_ignored_does_nothing() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        shell.run_until(
            "(trap '' INT QUIT; exec $W sh -c 'echo up; read line; echo got $line')",
            "up\r\n",
        );
        for (key, echo) in [("\x03", "^C"), ("\x1c", "^\\")] {
            shell.calmly(key);
            shell.until(echo);
        }
        shell.calmly("text\n");
        assert!(shell.prompted().contains("got text\n"));
    });
}

#[test]
fn an_interrupt_ends_a_pipeline() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        shell.run_until("$W sh -c 'echo up >&2; exec sleep 60' | cat", "up\r\n");
        shell.calmly("\x03");
        shell.prompted();
        assert_eq!(shell.run("echo ${PIPESTATUS[*]}"), "130 130\n");
    });
    // By nature: pid 1 is ended by its supervisor, not by the kernel, so that its neighbour may see
    // the end of the file and end by itself first.
    alike(&host, BASH, &[INIT], |shell| {
        three_cats(shell);
        shell.calmly("\x03");
        shell.prompted();
        assert_eq!(shell.run("echo ${PIPESTATUS[*]}"), "130 130 130\n");
    });
}

/// By nature: the kernel spares pid 1 the signal of a broken pipe, so it may well see the error, and
/// end by it, before the supervisor comes to end it.
#[test]
fn an_interrupt_ends_a_pipeline_that_is_busy() {
    let host = Host::new();
    for (way, expected) in [
        (BARE, &["130 130\n"][..]),
        (INIT, &["130 130\n"]),
        (RUN, &["130 130\n", "1 130\n"]),
    ] {
        held(&host, BASH, way, |shell| {
            shell.run_until(
                "$W sh -c 'echo up >&2; exec yes' | cat >/dev/null",
                "up\r\n",
            );
            shell.key("\x03");
            shell.prompted();
            let ended = shell.run("echo ${PIPESTATUS[*]}");
            assert!(expected.contains(&ended.as_str()), "{ended}");
        });
    }
}

/// bash asks how the command ended: it goes on with its script if that has caught the signal.
#[test]
fn a_script_ends_with_its_command_on_an_interrupt() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        for outer in ["bash", "dash"] {
            let line = format!("{outer} -c \"$W sh -c 'echo up; exec sleep 60'; echo after\"");
            shell.run_until(&line, "up\r\n");
            shell.calmly("\x03");
            assert!(!shell.prompted().contains("after"));
            shell.run("echo $?");
        }
        let catching = "trap 'exit 5' INT; echo up; sleep 60";
        shell.run_until(
            &format!("bash -c \"$W sh -c \\\"{catching}\\\"; echo after\""),
            "up\r\n",
        );
        shell.calmly("\x03");
        assert!(shell.prompted().contains("after"));
    });
}

#[test]
fn a_loop_ends_on_an_interrupt() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        shell.run_until(
            "while :; do $W sh -c 'echo up; exec sleep 60'; done",
            "up\r\n",
        );
        shell.calmly("\x03");
        assert!(!shell.prompted().contains("up"));
        assert_eq!(shell.run("echo $?"), "130\n");
    });
}

#[test]
fn make_tells_of_an_interrupt_and_deletes_the_target() {
    let host = Host::new();
    let dir = host.caller_dir("make");
    let recipe = "target:\n\techo half >target; $$W sh -c 'echo up; exec sleep 60'\n";
    host.caller_file("make/Makefile", 0o644, recipe);
    let said = RefCell::new(Vec::new());
    alike(&host, BASH, &WAYS, |shell| {
        shell.run(&format!("cd {}", dir.display()));
        // Once in a while make waits twice for the child that it has interrupted, also when bare.
        let interrupt = |shell: &mut Shell| {
            shell.start_line("make");
            shell.terminal.until("\nup\r\n");
            assert!(dir.join("target").exists());
            shell.calmly("\x03");
            shell.terminal.until(PROMPT).replace("\r\n", "\n")
        };
        let mut tries = (0..9).map(|_| interrupt(shell));
        let printed = tries.find(|printed| !printed.contains("No child processes"));
        drop(tries);
        let printed = printed.expect("make never waits for its child");
        said.borrow_mut().push(printed.clone());
        assert!(
            printed.contains("make: *** Deleting file 'target'\n"),
            "{printed}"
        );
        assert!(
            printed.contains("make: *** [Makefile:2: target] Interrupt\n"),
            "{printed}"
        );
        assert!(!dir.join("target").exists());
        assert_eq!(shell.run("echo $?"), "130\n");
    });
    let said = said.into_inner();
    assert!(said.iter().all(|printed| *printed == said[0]), "{said:?}");
}

// ^Z and its like.

#[test]
fn stopping_and_going_on_is_as_bare() {
    let host = Host::new();
    for shell in [BASH, DASH] {
        alike(&host, shell, &WAYS, |shell| {
            shell.run_until(READING, "up\r\n");
            shell.calmly("\x1a");
            let printed = shell.prompted();
            assert!(printed.contains("Stopped"), "{printed}");
            assert_eq!(shell.run("echo $?"), "148\n");
            shell.run("jobs");
            shell.foreground();
            shell.calmly("\x1a");
            shell.prompted();
            shell.foreground();
            shell.calmly("text\n");
            assert!(shell.prompted().contains("got text\n"));
            assert_eq!(shell.run("echo $?"), "3\n");
            assert_eq!(shell.run("jobs"), "");
        });
    }
}

#[test]
fn a_stopped_job_goes_on_in_the_background() {
    let host = Host::new();
    for shell in [BASH, DASH] {
        alike(&host, shell, &WAYS, |shell| {
            shell.run_until(SLEEPING, "up\r\n");
            shell.calmly("\x1a");
            shell.prompted();
            shell.run("bg");
            calm(&host, "S");
            assert!(shell.run("jobs").contains("Running"));
            shell.foreground();
            shell.calmly("\x1a");
            shell.prompted();
            shell.foreground();
            shell.calmly("\x03");
            shell.prompted();
            assert_eq!(shell.run("echo $?"), "130\n");
        });
    }
}

#[test]
fn a_stopped_job_can_be_ended() {
    let host = Host::new();
    for kill in ["kill", "kill -9", "kill -HUP"] {
        alike(&host, BASH, &WAYS, |shell| {
            shell.run_until(SLEEPING, "up\r\n");
            shell.calmly("\x1a");
            shell.prompted();
            let until_gone = "while kill -0 $pid; do sleep 0.01; done 2>/dev/null";
            shell.whisper(&format!("pid=$(jobs -p); {kill} %1; {until_gone}"));
            shell.whisper("");
            assert_eq!(shell.run("jobs"), "");
        });
    }
}

/// The kernel sends SIGHUP and SIGCONT to a group that is stopped when nobody is left who could
/// have it go on.
#[test]
fn a_stopped_job_ends_with_the_shell() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        shell.run_until(SLEEPING, "up\r\n");
        shell.calmly("\x1a");
        shell.prompted();
        assert!(shell.run("exit").contains("There are stopped jobs."));
    });
    alike(&host, BASH, &WAYS, |shell| {
        shell.run_until(SLEEPING, "up\r\n");
        shell.calmly("\x1a");
        shell.prompted();
        shell.run("disown %1");
    });
}

#[test]
fn a_stopped_job_stops_as_a_whole() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        shell.run_until(
            "$W sh -c '(echo up; read line; echo got $line); exit 3'",
            "up\r\n",
        );
        shell.calmly("\x1a");
        shell.prompted();
        calm(&host, "ST");
        let states = states(&host);
        let others = states.iter().filter(|(state, _)| *state != 'T').count();
        assert_eq!(others, 1, "only the shell is awake: {states:?}");
        shell.foreground();
        shell.calmly("text\n");
        assert!(shell.prompted().contains("got text\n"));
    });
}

#[test]
fn a_pipeline_stops_and_goes_on() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        three_cats(shell);
        for _ in 0..2 {
            shell.calmly("\x1a");
            shell.prompted();
            shell.run("jobs");
            shell.foreground();
            shell.calmly("text\n");
            shell.until("text\r\ntext\r\n");
        }
        shell.calmly("\x04");
        shell.prompted();
        assert_eq!(shell.run("echo $?"), "0\n");
    });
}

#[test]
fn who_reads_in_the_background_stops_until_it_is_in_the_foreground() {
    let host = Host::new();
    for shell in [BASH, DASH] {
        alike(&host, shell, &WAYS, |shell| {
            shell.whisper("$W cat &");
            shell.job_stops();
            shell.whisper("");
            let printed = shell.run("jobs -l");
            assert!(printed.contains("Stopped (tty input)"), "{printed}");
            shell.whisper("bg");
            shell.job_stops();
            shell.whisper("");
            shell.foreground();
            shell.calmly("text\n");
            shell.until("text\r\ntext\r\n");
            shell.calmly("\x1a");
            shell.prompted();
            shell.foreground();
            shell.calmly("more\n\x04");
            assert!(shell.prompted().contains("more\nmore\n"));
            assert_eq!(shell.run("echo $?"), "0\n");
        });
    }
}

#[test]
fn who_writes_in_the_background_stops_where_that_is_asked_for() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        shell.run("stty tostop");
        shell.whisper("$W sh -c 'echo te\"\"xt' &");
        shell.job_stops();
        shell.whisper("");
        let printed = shell.run("jobs -l");
        assert!(printed.contains("Stopped (tty output)"), "{printed}");
        assert!(shell.run("fg").ends_with("\ntext\n"));
        assert_eq!(shell.run("echo $?"), "0\n");
        shell.run("stty -tostop");
        assert_eq!(shell.run("($W sh -c 'echo text' & wait)"), "text\n");
    });
}

#[test]
fn who_changes_the_terminal_in_the_background_stops() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        shell.whisper("$W bash -c 'stty -echoctl; stty -a | grep -o .echoctl' &");
        shell.job_stops();
        shell.whisper("");
        let printed = shell.run("jobs -l");
        assert!(printed.contains("Stopped (tty output)"), "{printed}");
        assert!(!shell.run("stty -a").contains("-echoctl"));
        assert!(shell.run("fg").ends_with("\n-echoctl\n"));
    });
}

/// dash has every signal blocked for a moment whenever it starts something: what comes then is for
/// later, and has its effect nevertheless.
#[test]
fn who_blocks_a_signal_for_a_moment_is_stopped_and_ended_by_it() {
    let host = Host::new();
    let source = r#"
        #include <signal.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            sigset_t set;
            sigfillset(&set);
            sigprocmask(SIG_SETMASK, &set, NULL);
            write(1, "up\n", 3);
            for (;;) {
                sigpending(&set);
                if (sigismember(&set, SIGTSTP) || sigismember(&set, SIGINT)) break;
                usleep(1000);
            }
            usleep(20000);
            sigemptyset(&set);
            sigprocmask(SIG_SETMASK, &set, NULL);
            for (;;) pause();
        }"#;
    host.compile("later", source);
    alike(&host, BASH, &WAYS, |shell| {
        shell.run_until("$W $DIR/later", "up\r\n");
        shell.key("\x1a");
        assert!(shell.prompted().contains("Stopped"));
        shell.foreground();
        shell.calmly("\x03");
        shell.prompted();
        shell.run_until("$W $DIR/later", "up\r\n");
        shell.key("\x03");
        shell.prompted();
        assert_eq!(shell.run("echo $?"), "130\n");
    });
}

/// A process that signals its own group is in the instance, and has another number there.
#[test]
fn a_signal_to_the_own_group_arrives_once() {
    let host = Host::new();
    let source = r#"
        #include <signal.h>
        #include <stdio.h>
        #include <unistd.h>
        static int count;
        static void tell(int signal) { count++; }
        int main(void) {
            for (int n = 0; n < 20; n++) {
                signal(SIGUSR1, tell);
                kill(0, SIGUSR1);
                usleep(10000);
            }
            printf("%d\n", count);
        }"#;
    host.compile("group", source);
    // Not below `--init`: the number is also that of the pid 1 there, who may well forward signals.
    let ways = [RUN, INIT, NESTED, NESTED_INIT];
    alike(&host, BASH, &ways, |shell| {
        assert_eq!(shell.run("(trap '' USR1; $W $DIR/group)"), "20\n");
    });
}

// Commands that stop themselves.

#[test]
fn a_command_that_stops_itself_is_stopped() {
    let host = Host::new();
    for (signal, text) in [("STOP", "Stopped (signal) $W"), ("TSTP", "Stopped $W")] {
        alike(&host, BASH, &WAYS, |shell| {
            for target in ["$$", "0"] {
                shell.run(&format!(
                    "$W sh -c 'kill -{signal} {target}; echo on; exit 3'"
                ));
                let printed = shell.run("jobs -l");
                assert!(printed.contains(text), "{printed}");
                assert!(shell.run("fg").ends_with("on\n"));
                assert_eq!(shell.run("echo $?"), "3\n");
            }
        });
    }
}

/// By nature: the kernel spares pid 1 what comes from inside. With --init, it is not pid 1.
#[test]
fn a_command_that_its_child_stops_is_stopped_unless_it_is_pid_1() {
    let host = Host::new();
    let stops = |shell: &mut Shell| {
        for signal in ["STOP", "TSTP"] {
            let child = format!("kill -{signal} \\$PPID; :");
            shell.whisper(&format!("$W sh -c \"sh -c '{child}'; echo on\""));
            assert!(shell.run("jobs").contains("Stopped"));
            assert!(shell.run("fg").contains("on\n"));
        }
    };
    alike(&host, BASH, &[INIT, NESTED_INIT], stops);
    for way in [RUN, NESTED, INIT_NESTED] {
        held(&host, BASH, way, |shell| {
            for signal in ["STOP", "TSTP"] {
                let child = format!("kill -{signal} \\$PPID; :");
                let printed = shell.run(&format!("$W sh -c \"sh -c '{child}'; echo on\""));
                assert_eq!(printed, "on\n");
            }
        });
    }
}

/// Of a pid namespace that something else makes inside: it is spared its own stop signal, as it is
/// outside, and nobody would have it go on.
#[test]
fn pid_1_of_another_tools_namespace_does_not_stop() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        let words = "sh -c 'kill -TSTP $$; echo still here'";
        let printed = shell.run(&format!("$W unshare -Urpf --kill-child {words}"));
        assert_eq!(printed, "still here\n");
    });
}

#[test]
fn a_script_with_job_control_stops_and_goes_on() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        let script = "set -m; $W sh -c \"kill -TSTP \\$\\$; echo on\"; echo $?; jobs; fg; echo $?";
        let printed = shell.run(&format!("bash -c '{script}'"));
        assert!(
            printed.contains("148\n") && printed.ends_with("on\n0\n"),
            "{printed}"
        );
    });
}

// timeout(1), from a shell.

#[test]
fn a_deadline_ends_a_job() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        for options in [
            "",
            "--foreground",
            "-s INT",
            "-s KILL",
            "-s HUP --preserve-status",
        ] {
            shell.run(&format!("timeout {options} 0.3 $W sleep 60"));
            shell.run("echo $?");
        }
        // Late enough for the trap to be set on a busy machine.
        let catching = "trap 'exit 5' TERM; sleep 60";
        shell.run(&format!(
            "timeout --preserve-status 2 $W sh -c \"{catching}\""
        ));
        assert_eq!(shell.run("echo $?"), "5\n");
    });
}

#[test]
fn a_job_with_a_deadline_reads_in_the_foreground_only() {
    let host = Host::new();
    alike(&host, BASH, &WAYS, |shell| {
        shell.run_until("timeout --foreground 60 $W sh -c 'echo up; cat'", "up\r\n");
        shell.calmly("text\n");
        shell.until("text\r\ntext\r\n");
        shell.calmly("\x04");
        shell.prompted();
        assert_eq!(shell.run("echo $?"), "0\n");
    });
}

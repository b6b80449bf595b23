//! What a parent sees that is no shell, and what comes from outside of the terminal.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::conversation::{BARE, INIT, INIT_NESTED, RUN, WAYS, Way};
use crate::host::Host;
use crate::host::terminal::Terminal;
use crate::processes::{calm, only_child, states};

/// Runs a program in a foreground group of its own, tells what waitpid(2) tells of it, and does
/// what it is told whenever the program is not in the foreground:
/// `fg`, `bg`, `wait`, `group SIGNAL`, `both SIGNAL`, which is with SIGCONT, `one SIGNAL`.
const PARENT: &str = r#"
    #define _GNU_SOURCE
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/wait.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        setvbuf(stdout, NULL, _IONBF, 0);
        signal(SIGTTOU, SIG_IGN);
        pid_t child = fork();
        if (!child) {
            setpgid(0, 0);
            tcsetpgrp(0, getpid());
            signal(SIGTTOU, SIG_DFL);
            execvp(argv[1], argv + 1);
            _exit(99);
        }
        setpgid(child, child);
        tcsetpgrp(0, child);
        int in_foreground = 1, is_ending = 0;
        for (;;) {
            int status, number = 0;
            char line[64], word[64] = "";
            if (waitpid(child, &status, WUNTRACED | WCONTINUED) < 0) return 98;
            if (WIFEXITED(status)) { printf("<exited %d>\n", WEXITSTATUS(status)); break; }
            if (WIFSIGNALED(status)) { printf("<killed %d>\n", WTERMSIG(status)); break; }
            // With `both` it may go on for a moment.
            if (WIFCONTINUED(status)) printf(is_ending ? "" : "<continued>\n");
            if (WIFSTOPPED(status)) {
                tcsetpgrp(0, getpgrp());
                in_foreground = 0;
                printf("<stopped %d>\n", WSTOPSIG(status));
            }
            if (in_foreground || is_ending) continue;
            if (!fgets(line, sizeof line, stdin)) return 97;
            sscanf(line, "%s %d", word, &number);
            if (!strcmp(word, "fg")) {
                in_foreground = 1;
                tcsetpgrp(0, child);
                kill(-child, SIGCONT);
            }
            if (!strcmp(word, "bg")) kill(-child, SIGCONT);
            if (!strcmp(word, "group")) kill(-child, number);
            if (!strcmp(word, "both")) { is_ending = 1; kill(-child, number); kill(-child, SIGCONT); }
            if (!strcmp(word, "one")) kill(child, number);
        }
        tcsetpgrp(0, getpgrp());
        return 0;
    }"#;

/// Tells of each signal that it catches, and of each line that it reads; `quit` ends it with 3.
/// `actor raise NUMBER` first sends itself that signal; `actor idle` reads nothing.
const ACTOR: &str = r#"
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <unistd.h>
    static void tell(int signal) {
        char text[] = "<got 00>\n";
        text[5] += signal / 10;
        text[6] += signal % 10;
        write(1, text, sizeof text - 1);
    }
    int main(int argc, char **argv) {
        char line[64];
        setvbuf(stdout, NULL, _IONBF, 0);
        if (argc > 2 && !strcmp(argv[1], "raise")) raise(atoi(argv[2]));
        for (int number = 2; argc > 1 && !strcmp(argv[1], "catch") && number < argc; number++) {
            struct sigaction action = { .sa_handler = tell, .sa_flags = SA_RESTART };
            sigaction(atoi(argv[number]), &action, NULL);
        }
        printf("<up>\n");
        if (argc > 1 && !strcmp(argv[1], "idle")) for (;;) pause();
        while (fgets(line, sizeof line, stdin)) {
            if (!strcmp(line, "quit\n")) return 3;
            printf("<%s>\n", strtok(line, "\n"));
        }
        return 4;
    }"#;

/// A parent that has started the actor.
struct Watched {
    terminal: Terminal,
    host: Host,
}

impl Watched {
    /// Starts `actor WORDS` in this way.
    fn start(way: Way, words: &str) -> Self {
        println!("{}: {words}", way.0); // where a test fails
        let host = Host::new();
        host.compile("parent", PARENT);
        host.compile("actor", ACTOR);
        let line = format!("exec $DIR/parent {} $DIR/actor {words}", way.1);
        let terminal = Terminal::start(&host, &["/bin/sh", "-c", &line], &[]);
        Self { terminal, host }
    }

    /// Types, once all sleep, and waits for what is printed then.
    #[track_caller]
    fn exchange(&mut self, keys: &str, awaited: &str) {
        calm(&self.host, "ST");
        self.terminal.enter(keys);
        let before = self.terminal.until(awaited);
        assert!(!before.contains('<'), "before {awaited}: {before:?}");
    }

    /// The same for two things of which the parent says one and the actor the other.
    #[track_caller]
    fn exchange_in_either_order(&mut self, keys: &str, mut awaited: [&str; 2]) {
        calm(&self.host, "ST");
        self.terminal.enter(keys);
        let printed = [self.terminal.until(">"), self.terminal.until(">")];
        let mut words = printed
            .each_ref()
            .map(|text| text.rsplit('<').next().unwrap());
        words.sort();
        awaited.sort();
        assert_eq!(words, awaited);
    }

    /// The parent is told so, after it may have been told that the actor was continued: if that stops
    /// again before the parent asks, there is nothing to tell of it.
    #[track_caller]
    fn waits_for_terminal(&mut self, mut keys: &str) {
        loop {
            calm(&self.host, "ST");
            self.terminal.enter(keys);
            let told = self.terminal.until(">");
            if told.ends_with("<stopped 21") {
                break;
            }
            assert!(told.ends_with("<continued"), "{told}");
            keys = "wait\n";
        }
    }

    /// Ends the actor, of which nothing else has come.
    #[track_caller]
    fn quit(mut self) {
        self.exchange("quit\n", "<exited 3>");
        let (rest, _) = self.terminal.end();
        assert_eq!(rest, "\r\n");
    }

    /// The actor, or its supervisor.
    fn outermost(&self) -> Pid {
        only_child(&self.host, self.terminal.child.id())
    }

    fn send(&self, signal: Signal) {
        calm(&self.host, "ST");
        kill(self.outermost(), signal).unwrap();
    }
}

fn bare_and_inside() -> impl Iterator<Item = Way> {
    [BARE].into_iter().chain(WAYS)
}

#[test]
fn a_parent_sees_a_key_stop_the_command_and_the_command_go_on() {
    for way in bare_and_inside() {
        let mut watched = Watched::start(way, "");
        watched.exchange("", "<up>");
        for _ in 0..2 {
            watched.exchange("\x1a", "<stopped 20>");
            watched.exchange("fg\n", "<continued>");
            watched.exchange("text\n", "<text>");
        }
        watched.quit();
    }
}

#[test]
fn a_parent_sees_by_which_signal_the_command_stops_itself() {
    for signal in [19, 20] {
        for way in bare_and_inside() {
            let mut watched = Watched::start(way, &format!("raise {signal}"));
            watched.exchange("", &format!("<stopped {signal}>"));
            watched.exchange_in_either_order("fg\n", ["continued", "up"]);
            watched.quit();
        }
    }
}

#[test]
fn a_parent_sees_the_command_wait_for_the_terminal() {
    for way in bare_and_inside() {
        let mut watched = Watched::start(way, "");
        watched.exchange("", "<up>");
        watched.exchange("\x1a", "<stopped 20>");
        watched.waits_for_terminal("bg\n");
        watched.exchange("fg\n", "<continued>");
        watched.exchange("text\n", "<text>");
        watched.quit();
    }
}

#[test]
fn a_signal_to_the_group_of_a_stopped_command_ends_it() {
    for way in [BARE, RUN, INIT, INIT_NESTED] {
        for signal in [9, 15, 1, 2] {
            let mut watched = Watched::start(way, "");
            watched.exchange("", "<up>");
            watched.exchange("\x1a", "<stopped 20>");
            // It is for when it goes on, but the one that nobody can put off.
            let keys = if signal == 9 {
                "group 9\n"
            } else {
                "both 15\n"
            };
            let keys = keys.replace("15", &signal.to_string());
            watched.exchange(&keys, &format!("<killed {signal}>"));
            watched.terminal.end();
        }
    }
}

#[test]
fn a_handler_of_sigtstp_runs_once_and_the_command_goes_on() {
    for way in bare_and_inside() {
        let mut watched = Watched::start(way, "catch 20 18");
        watched.exchange("", "<up>");
        for _ in 0..3 {
            watched.exchange("\x1a", "<got 20>");
            watched.exchange("text\n", "<text>");
        }
        watched.quit();
    }
}

#[test]
fn a_handler_of_sigcont_runs_once_each_time() {
    for way in bare_and_inside() {
        let mut watched = Watched::start(way, "catch 18");
        watched.exchange("", "<up>");
        for _ in 0..3 {
            watched.exchange("\x1a", "<stopped 20>");
            watched.exchange_in_either_order("fg\n", ["continued", "got 18"]);
            watched.exchange("text\n", "<text>");
        }
        watched.send(Signal::SIGCONT);
        watched.exchange("", "<got 18>");
        watched.exchange("text\n", "<text>");
        watched.quit();
    }
}

#[test]
fn a_signal_from_outside_stops_the_command_and_has_it_go_on() {
    for way in bare_and_inside() {
        let mut watched = Watched::start(way, "");
        watched.exchange("", "<up>");
        watched.send(Signal::SIGTSTP);
        watched.exchange("", "<stopped 20>");
        // The parent has the terminal, so it stops again as soon as it reads.
        watched.send(Signal::SIGCONT);
        watched.waits_for_terminal("wait\n");
        watched.exchange("fg\n", "<continued>");
        watched.exchange("text\n", "<text>");
        watched.quit();
    }
}

/// By nature: SIGSTOP can neither be caught nor be seen, so it stops the supervisor alone. The
/// command goes on.
#[test]
fn sigstop_from_outside_stops_the_supervisor_alone() {
    for way in bare_and_inside() {
        let mut watched = Watched::start(way, "idle");
        watched.exchange("", "<up>");
        watched.send(Signal::SIGSTOP);
        watched.exchange("", "<stopped 19>");
        calm(&watched.host, "ST");
        let states = states(&watched.host);
        let stopped = states.iter().filter(|(state, _)| *state == 'T').count();
        assert_eq!(stopped, 1, "{states:?}");
        watched.exchange("fg\n", "<continued>");
        watched.exchange("\x1a", "<stopped 20>");
        watched.exchange("group 9\n", "<killed 9>");
        watched.terminal.end();
    }
}

/// Nobody could have it go on, so the kernel does not stop it: it has a session of its own.
#[test]
fn a_command_without_a_shell_is_not_stopped() {
    for way in bare_and_inside() {
        println!("{}", way.0);
        let host = Host::new();
        host.compile("actor", ACTOR);
        let line = format!("exec {} $DIR/actor", way.1);
        let mut terminal = Terminal::start(&host, &["/bin/sh", "-c", &line], &[]);
        terminal.until("<up>");
        for _ in 0..3 {
            calm(&host, "S");
            terminal.enter("\x1a");
            calm(&host, "S");
            terminal.enter("text\n");
            terminal.until("<text>");
        }
        terminal.enter("quit\n");
        let (_, status) = terminal.end();
        assert_eq!(status.code(), Some(3));
    }
}

#[test]
fn a_change_of_the_terminals_size_is_told_once() {
    for way in bare_and_inside() {
        let mut watched = Watched::start(way, "catch 28");
        watched.exchange("", "<up>");
        for columns in 81..84 {
            calm(&watched.host, "S");
            watched.terminal.widen(columns);
            watched.exchange("", "<got 28>");
            watched.exchange("text\n", "<text>");
        }
        watched.quit();
    }
}

#[test]
fn the_supervisor_holds_no_terminal_open() {
    let mut watched = Watched::start(RUN, "");
    watched.exchange("", "<up>");
    watched.exchange("\x1a", "<stopped 20>");
    watched.exchange("fg\n", "<continued>");
    watched.exchange("text\n", "<text>");
    calm(&watched.host, "S");
    let fds = fs::read_dir(format!("/proc/{}/fd", watched.outermost())).unwrap();
    for fd in fds {
        let link = fs::read_link(fd.unwrap().path()).unwrap();
        let link = link.display().to_string();
        assert!(!link.contains("pts") && !link.contains("tty"), "{link}");
    }
    watched.quit();
}

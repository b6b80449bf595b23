/* Starts a program as a user, sees every system call that selfdock makes in it, and meddles with
 * one: `meddle log=FILE [at=PROCESS:CALL do=DEED] [always=PROCESS:CALL:ERROR] [terminal] [alone] uid=UID
 * PROGRAM [ARG]...`. The other one fails in any case: it makes a machine that is another. `alone` is in a
 * pid namespace of its own: whoever looks at every process there is makes as many calls each time.
 *
 * Processes are numbered in the order in which they begin, and the calls of each from the first
 * exec of selfdock on; those that it makes as anything else are not counted. DEED is a number: the
 * call does not happen and fails with that error, or with 0 only claims success; or `kill`, which
 * ends the process instead. Root traces, so set-user-id programs keep their privilege.
 *
 * FILE gets the calls, one a line: `PROCESS CALL NAME DETAIL`; with `at=` only that one. Then `all
 * ended`, unless processes are left five seconds (on an idle machine it takes none) after the program has
 * ended, or one was killed; and
 * `mounts changed` if the mount table has. Everything ends with this program, whose status is that
 * of PROGRAM.
 *
 * It all happens in a mount namespace that nothing gets out of. NEVER outside of one: a selfdock whose
 * unshare(2) only claims success takes the machine's own root away. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <linux/ptrace.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

extern long ptrace(int, pid_t, void *, void *);

#define MOST 64
static struct process {
    pid_t pid;
    int is_selfdock, calls, is_meddled, answer, halves;
    char place[100]; /* what was looked up last: most other calls are about it */
} processes[MOST];
static int count, running;
static FILE *report;
static int at_process = -1, at_call = -1, deed;
static int always_process = -1, always_call = -1, always_error;
static int is_late;

/* What tells the calls of one name apart: the Nth argument, as a string or as a number. */
static const struct { long number; const char *name; char kind; int argument; } names[] = {
#define CALL(name, kind, argument) {SYS_##name, #name, kind, argument}
    CALL(prctl, 'p', 0), CALL(fcntl, 'n', 1), CALL(ioctl, 'x', 1), CALL(openat2, 's', 1),
    CALL(openat, 's', 1), CALL(readlinkat, 's', 1), CALL(statx, 's', 1), CALL(newfstatat, 's', 1),
    CALL(unshare, 'x', 0), CALL(setns, 'x', 1), CALL(open_tree, 's', 1), CALL(mount_setattr, 's', 1),
    CALL(fsopen, 's', 0), CALL(fsconfig, 's', 2), CALL(fsmount, 0, 0), CALL(move_mount, 0, 0),
    CALL(pivot_root, 's', 0), CALL(umount2, 's', 0), CALL(mkdirat, 's', 1), CALL(symlinkat, 's', 2),
    CALL(execve, 's', 0), CALL(capset, 0, 0), CALL(capget, 0, 0), CALL(setresuid, 0, 0),
    CALL(getresuid, 0, 0), CALL(getresgid, 0, 0), CALL(getuid, 0, 0), CALL(geteuid, 0, 0),
    CALL(getpid, 0, 0), CALL(getppid, 0, 0), CALL(gettid, 0, 0), CALL(close, 0, 0),
    CALL(close_range, 0, 0), CALL(socketpair, 0, 0), CALL(socket, 0, 0), CALL(bind, 0, 0),
    CALL(listen, 0, 0), CALL(connect, 0, 0), CALL(getsockopt, 0, 0), CALL(clone, 0, 0),
    CALL(pidfd_getfd, 0, 0),
    CALL(pidfd_open, 0, 0), CALL(pidfd_send_signal, 0, 0), CALL(waitid, 0, 0), CALL(fchdir, 0, 0),
    CALL(getcwd, 0, 0), CALL(fstatfs, 0, 0), CALL(getdents64, 0, 0), CALL(lseek, 0, 0),
    CALL(read, 0, 0), CALL(write, 0, 0), CALL(sendto, 0, 0), CALL(recvfrom, 0, 0),
    CALL(signalfd4, 0, 0), CALL(rt_sigaction, 0, 0), CALL(rt_sigprocmask, 0, 0), CALL(seccomp, 'n', 0),
    CALL(prlimit64, 'n', 1), CALL(brk, 0, 0), CALL(mmap, 0, 0), CALL(munmap, 0, 0),
    CALL(mremap, 0, 0), CALL(mprotect, 0, 0), CALL(getrandom, 0, 0), CALL(set_tid_address, 0, 0),
    CALL(set_robust_list, 0, 0), CALL(rseq, 0, 0), CALL(exit_group, 0, 0), CALL(epoll_create1, 0, 0),
    CALL(readv, 0, 0), CALL(writev, 0, 0), CALL(futex, 0, 0), CALL(sigaltstack, 0, 0),
    CALL(rt_sigreturn, 0, 0), CALL(faccessat, 's', 1), CALL(ppoll, 0, 0), CALL(getpgid, 0, 0),
    CALL(getsid, 0, 0), CALL(kill, 0, 0), CALL(tgkill, 0, 0), CALL(clone3, 0, 0),
    CALL(faccessat2, 0, 0),
#ifdef SYS_access
    CALL(access, 's', 0), CALL(readlink, 's', 0), CALL(poll, 0, 0), CALL(arch_prctl, 0, 0),
    CALL(fork, 0, 0), CALL(open, 's', 0), CALL(stat, 's', 0),
#endif
};

static void fail(const char *what) {
    perror(what);
    exit(95);
}

static void describe(struct process *process, long number, const unsigned long long *arguments, char *text) {
    pid_t pid = process->pid;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].number != number) continue;
        unsigned long long value = arguments[names[i].argument];
        char string[80] = "";
        size_t most = sizeof string - 1, first = 4096 - (value & 4095);
        if (first > most) first = most;
        struct iovec here = {string, most};
        struct iovec there[] = {{(void *)value, first}, {(char *)value + first, most - first}};
        switch (names[i].kind) {
        case 's':
            /* The end of its page may be the end of all: in two pieces, the second of which may fail. */
            if (!value) strcpy(string, "(null)");
            else process_vm_readv(pid, &here, 1, there, 2, 0);
            if (*string) sprintf(process->place, "%s %.79s", names[i].name, string);
            if (*string) strcpy(text, process->place);
            else sprintf(text, "%s of %s", names[i].name, process->place);
            break;
        case 'n': sprintf(text, "%s %llu, last %s", names[i].name, value, process->place); break;
        case 'x': sprintf(text, "%s %#llx, last %s", names[i].name, value, process->place); break;
        case 'p': sprintf(text, "%s %llu %lld", names[i].name, value, (long long)arguments[1]); break;
        default: sprintf(text, "%s, last %s", names[i].name, process->place);
        }
        return;
    }
    sprintf(text, "call-%ld", number);
}

static struct process *find(pid_t pid) {
    for (int i = 0; i < count; i++)
        if (processes[i].pid == pid) return &processes[i];
    if (count == MOST) exit(96);
    processes[count].pid = pid;
    running++;
    return &processes[count++];
}

/* The call does not happen. */
static void skip(pid_t pid) {
#ifdef __x86_64__
    if (ptrace(PTRACE_POKEUSR, pid, (void *)offsetof(struct user_regs_struct, orig_rax), (void *)-1L)) fail("skip");
#else
    int none = -1;
    struct iovec where = {&none, sizeof none};
    if (ptrace(PTRACE_SETREGSET, pid, (void *)NT_ARM_SYSTEM_CALL, &where)) fail("skip");
#endif
}

static void answer(pid_t pid, long value) {
#ifdef __x86_64__
    if (ptrace(PTRACE_POKEUSR, pid, (void *)offsetof(struct user_regs_struct, rax), (void *)value)) fail("answer");
#else
    struct user_regs_struct registers;
    struct iovec where = {&registers, sizeof registers};
    if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &where)) fail("answer");
    registers.regs[0] = value;
    if (ptrace(PTRACE_SETREGSET, pid, (void *)NT_PRSTATUS, &where)) fail("answer");
#endif
}

static void set_deadline(void) {
    struct itimerval seconds = {{0, 0}, {5, 0}};
    if (!is_late++) setitimer(ITIMER_REAL, &seconds, 0);
}

/* At once, since a wait may never be interrupted; what is traced ends with us. */
static void at_deadline(int signal) {
    dprintf(fileno(report), "left at %d\n", signal);
    _exit(97);
}

static void see_call(struct process *process) {
    struct ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, process->pid, (void *)sizeof info, &info) < 0) return;
    if (info.op == PTRACE_SYSCALL_INFO_EXIT && process->is_meddled) {
        process->is_meddled = 0;
        answer(process->pid, -process->answer);
    }
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !process->is_selfdock) return;
    int number = process - processes, call = process->calls++;
    int is_it = number == at_process && call == at_call;
    int is_always = number == always_process && call == always_call;
    char text[240];
    describe(process, info.entry.nr, info.entry.args, text);
    if (at_process < 0 || is_it) fprintf(report, "%d %d %s\n", number, call, text);
    if (!is_it && !is_always) return;
    process->answer = is_it ? deed : always_error;
    if (process->answer < 0) {
        kill(process->pid, SIGKILL);
        set_deadline();
    } else {
        process->is_meddled = 1;
        skip(process->pid);
    }
}

static void see_exec(struct process *process) {
    char link[64], path[4096];
    sprintf(link, "/proc/%d/exe", process->pid);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    const char *name = strrchr(path, '/');
    process->is_selfdock = name && !strcmp(name, "/selfdock");
}

static void go_on(struct process *process, int signal) {
    int how = process->is_selfdock || process == processes ? PTRACE_SYSCALL : PTRACE_CONT;
    ptrace(how, process->pid, 0, (void *)(long)signal);
}

/* No longer traced, so no longer heard of: its parent is, if it has one, or else it is ours. */
static void await(pid_t pid, int signal) {
    ptrace(PTRACE_DETACH, pid, 0, (void *)(long)signal);
    if (pid != processes->pid) running--;
}

static void see_stop(struct process *process, int status) {
    int signal = WSTOPSIG(status), event = status >> 16;
    unsigned long born;
    /* A fault does not end pid 1 as long as it is traced: force_sig_info_to_task() in the kernel. */
    if (!event && (signal == SIGSEGV || signal == SIGBUS || signal == SIGILL)) {
        process->is_selfdock = 0;
        await(process->pid, signal);
        return;
    }
    if (signal == (SIGTRAP | 0x80)) {
        see_call(process);
        signal = 0;
    } else if (event == PTRACE_EVENT_STOP && process->halves < 2) {
        /* A new one: what it runs is known by its parent's word, which may come later. */
        if (++process->halves < 2) return;
        signal = 0;
    } else if (event == PTRACE_EVENT_STOP) {
        /* Stopped, as by SIGSTOP: so it stays. */
        ptrace(signal == SIGTRAP ? PTRACE_SYSCALL : PTRACE_LISTEN, process->pid, 0, 0);
        return;
    } else if (event) {
        if (event == PTRACE_EVENT_EXEC) see_exec(process);
        else if (!ptrace(PTRACE_GETEVENTMSG, process->pid, 0, &born)) {
            struct process *child = find(born);
            child->is_selfdock = process->is_selfdock;
            if (++child->halves == 2) go_on(child, 0);
        }
        signal = 0;
    }
    go_on(process, signal);
}

/* Anew, so that it is on a mount of our namespace, and as the controlling one. */
static void open_terminal(void) {
    char path[64] = "";
    if (readlink("/proc/self/fd/0", path, sizeof path - 1) < 0) fail("terminal");
    int terminal = open(path, O_RDWR | O_NOCTTY);
    if (terminal < 0 || dup2(terminal, 0) || close(terminal) || ioctl(0, TIOCSCTTY, 0)) fail(path);
}

static void become(char **words, unsigned uid, int has_terminal, int go) {
    char byte;
    if (read(go, &byte, 1) != 1) _exit(94);
    close_range(3, ~0U, 0);
    setsid();
    if (has_terminal) open_terminal();
    if (setgroups(0, 0) || setregid(uid, uid) || setreuid(uid, uid)) fail("uid");
    char *environment[] = {"PATH=/usr/bin:/bin", 0};
    execve(words[0], words, environment);
    fail(words[0]);
}

static char *mount_table(void) {
    static char tables[2][1 << 20];
    static int used;
    char *table = tables[used++];
    FILE *file = fopen("/proc/thread-self/mountinfo", "re");
    if (!file) return strcpy(table, "none");
    table[fread(table, 1, sizeof tables[0] - 1, file)] = 0;
    fclose(file);
    return table;
}

/* Starts the program, and sees it to its end: its status. */
static int trace(char **words, unsigned uid, int has_terminal) {
    int go[2], status, ended = 0;
    pid_t first = pipe2(go, O_CLOEXEC) ? -1 : fork();
    if (!first) become(words, uid, has_terminal, go[0]);
    long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK
        | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
    if (ptrace(PTRACE_SEIZE, first, 0, (void *)options)) fail("seize");
    /* No stop comes of being seized: the first is the exec. */
    find(first)->halves = 2;
    if (write(go[1], "", 1) != 1) fail("go");
    struct sigaction action = {.sa_handler = at_deadline};
    sigaction(SIGALRM, &action, 0);
    alarm(20);
    while (running) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0) fail("waitpid");
        struct process *process = find(pid);
        if (WIFSTOPPED(status)) see_stop(process, status);
        else {
            running--;
            if (process == processes) {
                ended = status;
                set_deadline();
            }
            process->pid = 0;
        }
    }
    signal(SIGALRM, SIG_IGN);
    return ended;
}

/* As pid 1 of a namespace, if it is one: with a /proc that shows that namespace. */
static int see_all(char **words, unsigned uid, int has_terminal, int is_alone) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (is_alone && mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0)) fail("proc");
    /* What the kernel mounts where it is looked for, and unmounts when it likes. */
    umount2("/sys/kernel/tracing", MNT_DETACH);
    umount2("/sys/kernel/debug/tracing", MNT_DETACH);
    const char *mounts = mount_table();
    int ended = trace(words, uid, has_terminal);
    if (strcmp(mounts, mount_table())) fprintf(report, "mounts changed\n");
    fprintf(report, "all ended\n");
    fclose(report);
    return ended;
}

static void end_alike(int status) {
    if (WIFSIGNALED(status)) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        kill(getpid(), WTERMSIG(status));
    }
    exit(WEXITSTATUS(status));
}

int main(int argc, char **argv) {
    int has_terminal = 0, is_alone = 0, status;
    for (argv++; *argv; argv++) {
        if (!strncmp(*argv, "log=", 4)) report = fopen(*argv + 4, "we");
        else if (!strncmp(*argv, "at=", 3)) sscanf(*argv + 3, "%d:%d", &at_process, &at_call);
        else if (!strncmp(*argv, "always=", 7))
            sscanf(*argv + 7, "%d:%d:%d", &always_process, &always_call, &always_error);
        else if (!strcmp(*argv, "do=kill")) deed = -1;
        else if (!strncmp(*argv, "do=", 3)) deed = atoi(*argv + 3);
        else if (!strcmp(*argv, "terminal")) has_terminal = 1;
        else if (!strcmp(*argv, "alone")) is_alone = 1;
        else break;
    }
    if (!report || argc < 3 || strncmp(*argv, "uid=", 4)) return 94;
    if (unshare(CLONE_NEWNS | (is_alone ? CLONE_NEWPID : 0)) || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0))
        fail("namespaces");
    /* pid 1 cannot end by a signal of its own, so that its parent does. */
    int *ended = mmap(0, sizeof *ended, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = ended == MAP_FAILED ? -1 : fork();
    if (!child) {
        *ended = see_all(argv + 1, atoi(*argv + 4), has_terminal, is_alone);
        return 0;
    }
    if (child < 0 || waitpid(child, &status, 0) < 0) fail("fork");
    end_alike(status ? status : *ended);
}

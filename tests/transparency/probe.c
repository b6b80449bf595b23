/* The program that the cases run: `probe with SETTING... -- WORD...` gives itself a setting and then
 * executes the words; every other verb shows, or does, one thing. Static, so that it runs in any
 * root, and so that no loader or shell stands between it and what it is given. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void die(const char *what) { perror(what); exit(99); }

/* What to give before exec. */

static char *new_environ[4096];
static int entries = -1;

static void add_entry(char *entry) {
    if (entries < 0) entries = 0;
    new_environ[entries++] = entry;
}

/* An environment of this many bytes, in strings of the greatest length that exec takes. */
static void fill_environ(size_t bytes) {
    const size_t longest = 128 * 1024;
    for (int number = 0; bytes; number++) {
        size_t length = bytes < longest ? bytes : longest;
        char *entry = malloc(length);
        memset(entry, 'a' + number % 26, length - 1);
        entry[length - 1] = 0;
        if (length > 8) sprintf(entry, "V%03d", number), entry[4] = '=';
        add_entry(entry);
        bytes -= length;
    }
}

static void set_timer(int which, int milliseconds) {
    struct itimerval value = { { 0, 0 }, { milliseconds / 1000, milliseconds % 1000 * 1000 } };
    if (setitimer(which, &value, NULL)) die("setitimer");
}

/* A lock of the kind that belongs to a process, on a descriptor that stays open. */
static void lock_record(const char *path) {
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int file = open(path, O_RDWR);
    if (file < 0 || fcntl(file, F_SETLK, &lock)) die(path);
}

static void join_keyring(void) {
    static char entry[64];
    long serial = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    if (serial < 0) die("keyctl");
    sprintf(entry, "%ld", serial);
    setenv("KEYRING", entry, 1);
}

static void give(char *setting) {
    char *value = strchr(setting, '=');
    int number = value ? atoi(++value) : 0;
    sigset_t set;
    sigemptyset(&set);
    if (number > 0 && number < 65) sigaddset(&set, number);
#define IS(name) (!strncmp(setting, name, strlen(name)))
    if (IS("ignore=")) signal(number, SIG_IGN);
    else if (IS("default=")) signal(number, SIG_DFL);
    else if (IS("block=")) sigprocmask(SIG_BLOCK, &set, NULL);
    else if (IS("raise=")) raise(number);
    else if (IS("close=")) close(number);
    else if (IS("alarm=")) set_timer(ITIMER_REAL, number);
    else if (IS("cpu-alarm=")) set_timer(ITIMER_PROF, number);
    else if (IS("env=")) add_entry(value);
    else if (IS("fill-env=")) fill_environ(number);
    else if (IS("nonblock=")) fcntl(number, F_SETFL, fcntl(number, F_GETFL) | O_NONBLOCK);
    else if (IS("subreaper")) prctl(PR_SET_CHILD_SUBREAPER, 1);
    else if (IS("pdeath=")) prctl(PR_SET_PDEATHSIG, number);
    else if (IS("slack=")) prctl(PR_SET_TIMERSLACK, number);
    else if (IS("no-huge-pages")) prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    else if (IS("no-new-privs")) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    else if (IS("memory-failure=")) prctl(PR_MCE_KILL, PR_MCE_KILL_SET, number, 0, 0);
    else if (IS("lock=")) lock_record(value);
    else if (IS("keyring")) join_keyring();
    else if (IS("personality=")) personality(strtoul(value, NULL, 16));
    else if (IS("child")) { if (!fork()) _exit(5); }
    else if (IS("group")) setpgid(0, 0);
    else { fprintf(stderr, "probe: no such setting: %s\n", setting); exit(99); }
}

static int with(char **words) {
    for (; *words && strcmp(*words, "--"); words++) give(*words);
    if (!*words++) return 99;
    if (entries >= 0) environ = new_environ;
    execvp(*words, words);
    return errno == ENOENT ? 127 : 126;
}

/* How others end, and how this one does. */

static void tell(int status) {
    if (WIFEXITED(status)) printf("exited %d\n", WEXITSTATUS(status));
    else printf("killed %d%s\n", WTERMSIG(status), WCOREDUMP(status) ? " core" : "");
    fflush(stdout);
}

static int run(char **words) {
    int status;
    pid_t child = fork();
    if (!child) {
        execvp(*words, words);
        _exit(errno == ENOENT ? 127 : 126);
    }
    if (waitpid(child, &status, 0) != child) die("waitpid");
    tell(status);
    return 0;
}

static void overflow(volatile char *above) {
    volatile char frame[4096];
    frame[0] = above[0];
    overflow(frame);
    frame[1] = 0;
}

static int fault(const char *kind) {
    volatile int zero = 0;
    if (!strcmp(kind, "segv")) *(volatile char *)zero = 1;
    if (!strcmp(kind, "stack")) overflow("");
    if (!strcmp(kind, "bus")) {
        *(volatile char *)mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, memfd_create("none", 0), 0) = 1;
    }
    if (!strcmp(kind, "fpe")) {
#if defined __x86_64__ || defined __i386__
        zero = 7 / zero; /* 1 / x needs no division */
#else
        return 98; /* no trap there */
#endif
    }
    if (!strcmp(kind, "ill")) __builtin_trap();
    if (!strcmp(kind, "abort")) abort();
    return 0;
}

static int kill_self(int signal_number) {
    raise(signal_number);
    kill(getpid(), signal_number);
    printf("%d: still here\n", signal_number);
    return 0;
}

/* What is seen. */

static int show_strings(char **strings) {
    for (; *strings; strings++) {
        putchar('[');
        for (unsigned char *c = (unsigned char *)*strings; *c; c++)
            if (*c < 32 || *c > 126) printf("\\%03o", *c); else putchar(*c);
        puts("]");
    }
    return 0;
}

static int sum_strings(char **strings) {
    unsigned long count = 0, bytes = 0, hash = 5381;
    for (; *strings; strings++, count++)
        for (unsigned char *c = (unsigned char *)*strings;; c++) {
            hash = hash * 33 + *c, bytes++;
            if (!*c) break;
        }
    printf("%lu strings, %lu bytes, hash %lx\n", count, bytes, hash);
    return 0;
}

static int closed(void) {
    int mask = 0;
    for (int number = 0; number < 3; number++)
        if (fcntl(number, F_GETFD) < 0) mask |= 1 << number;
    return mask;
}

static int show_flags(void) {
    for (int number = 0; number < 3; number++) {
        int flags = fcntl(number, F_GETFL);
        printf("%d:%s%s%s\n", number, flags & O_NONBLOCK ? " nonblock" : "",
            flags & O_APPEND ? " append" : "", fcntl(number, F_GETFD) ? " cloexec" : "");
    }
    return 0;
}

static int show_auxv(void) {
    printf("%s, secure %lu\n", (char *)getauxval(AT_EXECFN), getauxval(AT_SECURE));
    return 0;
}

static int show_prctl(void) {
    printf("slack %d, no huge pages %d, memory failure %d\n", prctl(PR_GET_TIMERSLACK),
        prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0), prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
    printf("dumpable %d, keep capabilities %d, securebits %d, no new privs %d\n",
        prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS), prctl(PR_GET_SECUREBITS),
        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    return 0;
}

static int show_number(int option) {
    int number = 0;
    prctl(option, &number);
    printf("%d\n", number);
    return 0;
}

static int show_timers(void) {
    struct itimerval real, cpu;
    getitimer(ITIMER_REAL, &real);
    getitimer(ITIMER_PROF, &cpu);
    printf("real %s, cpu %s\n", timerisset(&real.it_value) ? "set" : "none",
        timerisset(&cpu.it_value) ? "set" : "none");
    return 0;
}

/* As a shell that starts one command after the other on a busy machine: signals are blocked while
 * the child has not executed anything yet. */
static int start_children(void) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    for (int count = 0; count < 50; count++) {
        sigprocmask(SIG_SETMASK, &all, NULL);
        pid_t child = vfork();
        if (!child) usleep(400000), _exit(0);
        sigprocmask(SIG_SETMASK, &none, NULL);
        waitpid(child, NULL, 0);
        usleep(8000);
    }
    return 0;
}

static int show_lock(const char *path) {
    fflush(stdout);
    if (!fork()) { /* one's own locks are not told */
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        int file = open(path, O_RDONLY);
        lock.l_type = F_RDLCK;
        if (file < 0 || fcntl(file, F_GETLK, &lock)) die(path);
        puts(lock.l_type == F_UNLCK ? "free" : "held");
        exit(0);
    }
    wait(NULL);
    return 0;
}

static int show_keyring(void) {
    long serial = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
    puts(serial == atol(getenv("KEYRING")) ? "the caller's" : "another");
    return 0;
}

static int show_child(void) {
    int status, child = wait(&status);
    if (child < 0) puts(strerror(errno)); else tell(status);
    return 0;
}

/* Is this signal pending? Forwarded ones may take a moment. */
static int await_pending(int signal_number) {
    sigset_t set;
    for (int moment = 0; moment < 3000; moment++) {
        sigpending(&set);
        if (sigismember(&set, signal_number)) return puts("pending"), 0;
        usleep(10000);
    }
    return puts("not pending"), 1;
}

/* What is done. */

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static int spin(int milliseconds) {
    while (cpu_seconds() * 1000 < milliseconds) ;
    puts("spun");
    return 0;
}

/* How many children, before there may be no more processes. */
static int fork_all(void) {
    int count = 0, hold[2];
    pipe(hold);
    for (pid_t child; (child = fork()) >= 0; count++)
        if (!child) { char byte; close(hold[1]); read(hold[0], &byte, 1); _exit(0); }
    int error = errno;
    close(hold[1]);
    while (wait(NULL) > 0) ;
    printf("%d, then: %s\n", count, strerror(error));
    return 0;
}

static int allocate(int mebibytes) {
    void *memory = malloc((size_t)mebibytes << 20);
    puts(memory ? "enough" : strerror(errno));
    return 0;
}

/* A child leaves a child of its own behind, which then exits with 7: who may wait for it? */
static int orphan(void) {
    int gate[2], status;
    pipe(gate);
    if (!fork()) {
        if (!fork()) { char byte; close(gate[1]); read(gate[0], &byte, 1); _exit(7); }
        _exit(3);
    }
    wait(&status), tell(status);
    close(gate[1]);
    if (wait(&status) > 0) tell(status); else puts(strerror(errno));
    return 0;
}

/* A descendant whose parent has ended: is this process its parent now? */
static int adopt(void) {
    int gate[2], told[2], own = getpid();
    char byte;
    pipe(gate), pipe(told);
    if (!fork()) {
        if (!fork()) {
            close(gate[1]), read(gate[0], &byte, 1);
            puts(getppid() == own ? "the command's" : "another's");
            exit(0);
        }
        _exit(0);
    }
    wait(NULL);
    close(gate[1]), close(told[1]);
    read(told[0], &byte, 1); /* until the other has ended */
    return 0;
}

/* The words talk to this process over a socket, both ways. */
static int over_socket(char **words) {
    int ends[2];
    char data[4096];
    ssize_t got;
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    if (!fork()) {
        dup2(ends[1], 0), dup2(ends[1], 1), close(ends[0]), close(ends[1]);
        execvp(*words, words);
        _exit(127);
    }
    close(ends[1]);
    write(ends[0], "over a socket\n", 14);
    shutdown(ends[0], SHUT_WR);
    while ((got = read(ends[0], data, sizeof data)) > 0) write(1, data, got);
    return run((char *[]){ "true", NULL });
}

/* Counts SIGRTMIN until SIGRTMIN+1 comes; both are blocked, hence queued. */
static int count(void) {
    sigset_t set;
    int got = 0;
    sigemptyset(&set), sigaddset(&set, SIGRTMIN), sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    puts("ready"), fflush(stdout);
    while (sigwaitinfo(&set, NULL) == SIGRTMIN) got++;
    fprintf(stderr, "%d\n", got);
    return 0;
}

static int new_session(void) {
    puts(setsid() < 0 ? strerror(errno) : "a new session");
    return 0;
}

/* May it be told to others by number? */
static int show_ids(void) {
    printf("pid 1: %d, parent 0: %d, group 0: %d, session 0: %d\n",
        getpid() == 1, getppid() == 0, getpgrp() == 0, getsid(0) == 0);
    return 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2) return 99;
    char *verb = argv[1], *argument = argc > 2 ? argv[2] : "";
#define VERB(name, call) if (!strcmp(verb, name)) return call
    VERB("with", with(argv + 2));
    VERB("wait", run(argv + 2));
    VERB("exit", atoi(argument));
    VERB("fault", fault(argument));
    VERB("kill", kill_self(atoi(argument)));
    VERB("args", show_strings(argv + 2));
    VERB("sum-args", sum_strings(argv + 2));
    VERB("env", show_strings(environ));
    VERB("sum-env", sum_strings(environ));
    VERB("closed", closed());
    VERB("flags", show_flags());
    VERB("auxv", show_auxv());
    VERB("prctl", show_prctl());
    VERB("death-signal", show_number(PR_GET_PDEATHSIG));
    VERB("subreaper", show_number(PR_GET_CHILD_SUBREAPER));
    VERB("personality", printf("%x\n", personality(0xffffffff)) < 0);
    VERB("timers", show_timers());
    VERB("lock", show_lock(argument));
    VERB("keyring", show_keyring());
    VERB("child", show_child());
    VERB("pending", await_pending(atoi(argument)));
    VERB("spin", spin(atoi(argument)));
    VERB("forks", fork_all());
    VERB("allocate", allocate(atoi(argument)));
    VERB("orphan", orphan());
    VERB("adopt", adopt());
    VERB("socket", over_socket(argv + 2));
    VERB("count", count());
    VERB("children", start_children());
    VERB("setsid", new_session());
    VERB("ids", show_ids());
    fprintf(stderr, "probe: no such verb: %s\n", verb);
    return 99;
}

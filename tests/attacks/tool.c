/* What a shell cannot do: `tool VERB [ARG]...`. Static, so that it runs in any root filesystem. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *word(long result) { return result < 0 ? strerrorname_np(errno) : "works"; }

static long opens(int pid, const char *what, int flags) {
    char path[64];
    sprintf(path, "/proc/%d/%s", pid, what);
    int file = open(path, flags);
    char byte;
    if (file < 0) return -1;
    /* Of a process that may not be looked at some can be opened, and are empty. */
    long length = flags & O_PATH ? 1 : pread(file, &byte, 1, strcmp(what, "mem") ? 0 : 4096);
    int known = errno;
    close(file);
    errno = known;
    if (length == 0) errno = ENODATA;
    return length > 0 || (length < 0 && errno == EIO) ? 0 : -1;
}

/* `probe PID`: how each way of getting hold of another process is answered. */
static int probe(int pid) {
    long result = ptrace(PTRACE_SEIZE, pid, 0, 0);
    printf("ptrace %s", word(result));
    if (result == 0) ptrace(PTRACE_INTERRUPT, pid, 0, 0), waitpid(pid, 0, __WALL), ptrace(PTRACE_DETACH, pid, 0, 0);
    const char *files[] = {"mem", "environ", "maps", "syscall"};
    for (int each = 0; each < 4; each++) printf(" %s %s", files[each], word(opens(pid, files[each], O_RDONLY)));
    const char *links[] = {"root", "cwd", "exe", "fd/0", "ns/mnt", "ns/pid"};
    for (int each = 0; each < 6; each++) printf(" %s %s", links[each], word(opens(pid, links[each], O_PATH)));
    int pidfd = syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) errno = ESRCH;
    printf(" getfd %s", word(pidfd < 0 ? -1 : syscall(SYS_pidfd_getfd, pidfd, 0, 0)));
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)4096, 1};
    result = process_vm_readv(pid, &here, 1, &there, 1, 0);
    printf(" readv %s\n", word(result < 0 && errno == EFAULT ? 0 : result));
    return 0;
}

/* `signal PID`: how signals to it are answered, by each of the calls that send one; 0 is a child of
 * its own, which is not collected. */
static int send_signals(int pid) {
    if (pid == 0 && (pid = fork()) == 0) for (;;) pause();
    int signals[] = {0, SIGTERM, SIGKILL, SIGSTOP, SIGCONT, SIGINT, SIGRTMIN + 5};
    union sigval value = {0};
    for (unsigned each = 0; each < sizeof signals / sizeof *signals; each++) {
        int number = signals[each];
        int pidfd = syscall(SYS_pidfd_open, pid, 0);
        if (pidfd < 0) errno = ESRCH;
        printf("%s%s", each ? ", " : "", word(pidfd < 0 ? -1 : syscall(SYS_pidfd_send_signal, pidfd, number, 0, 0)));
        close(pidfd);
        printf(" %s", word(kill(pid, number)));
        printf(" %s", word(syscall(SYS_tgkill, pid, pid, number)));
        printf(" %s", word(sigqueue(pid, number, value)));
    }
    puts("");
    return 0;
}

/* `flip A B`: the two trade places until this is killed. */
static int flip(char **names) {
    for (;;) {
        if (syscall(SYS_renameat2, AT_FDCWD, names[0], AT_FDCWD, names[1], 2 /* RENAME_EXCHANGE */)) return 1;
        usleep(30);
    }
}

/* `squat ADDRESS`: listens on an abstract address until this is killed. */
static int squat(const char *name) {
    struct sockaddr_un address = {AF_UNIX};
    int length = strlen(name), listener = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(address.sun_path + 1, name, length);
    if (bind(listener, (void *)&address, sizeof address.sun_family + 1 + length) || listen(listener, 1)) return 1;
    puts("up");
    fclose(stdout);
    for (;;) pause();
}

/* `traced CMD [ARG]...`: executes it as one who is traced. */
static int traced(char **words) {
    int child = fork(), status;
    if (!child) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        execv(words[0], words);
        _exit(99);
    }
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        int number = WSTOPSIG(status);
        ptrace(PTRACE_CONT, child, 0, number == SIGTRAP ? 0 : number);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

/* `node PATH`: reads what is in a device, a character at a time. */
static int read_node(const char *path) {
    char byte;
    int file = open(path, O_RDONLY);
    puts(word(file < 0 ? -1 : read(file, &byte, 1)));
    return 0;
}

int main(int argc, char **argv) {
    char **rest = argv + 2;
    if (argc < 3) return 90;
    if (!strcmp(argv[1], "probe")) return probe(atoi(rest[0]));
    if (!strcmp(argv[1], "signal")) return send_signals(atoi(rest[0]));
    if (!strcmp(argv[1], "flip")) return flip(rest);
    if (!strcmp(argv[1], "squat")) return squat(rest[0]);
    if (!strcmp(argv[1], "traced")) return traced(rest);
    if (!strcmp(argv[1], "node")) return read_node(rest[0]);
    if (!strcmp(argv[1], "nnp")) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        execv(rest[0], rest);
    }
    return 91;
}

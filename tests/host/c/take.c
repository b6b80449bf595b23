/* `take hold DIRECTORY NAME WORD...`: runs the words, and meanwhile has the directory open, as
 * descriptor 40. Standard input of the words is one end of a pair of sockets, if NAME is `-`; else this
 * process listens on the abstract address NAME.
 *
 * `take from NAME WAY...`: tries to take descriptor 40 of the process at the other end of standard input,
 * or of that address, in each way, and prints a line for it: the way, the error, and whether a file could
 * be made in that directory then. The error is -1 if the machine has no such way. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif
#define GETFD 438 /* in every table */
#define KEPT 40

static sigjmp_buf none;
static void absent(int signal) { siglongjmp(none, 1); }

static socklen_t address(struct sockaddr_un *address, const char *name) {
    address->sun_family = AF_UNIX;
    address->sun_path[0] = 0;
    strcpy(address->sun_path + 1, name);
    return offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
}

static int hold(const char *directory, const char *name, char **words) {
    int kept = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (kept < 0 || dup3(kept, KEPT, O_CLOEXEC) < 0) return perror(directory), 98;
    /* Where Yama limits who may trace whom. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    int ends[2] = {-1, -1};
    if (!strcmp(name, "-")) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) return perror("socketpair"), 98;
    } else {
        struct sockaddr_un own;
        socklen_t length = address(&own, name);
        int socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(socket_, (void *)&own, length) || listen(socket_, 9)) return perror(name), 98;
    }
    pid_t child = fork();
    if (child == 0) {
        if (ends[1] >= 0) dup2(ends[1], 0);
        execv(*words, words);
        return perror(*words), 98;
    }
    close(ends[1]);
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

static int narrow(long process) {
#ifdef __x86_64__
    long status = GETFD;
    if (sigsetjmp(none, 1)) return -1;
    __asm__ volatile ("int $0x80" : "+a" (status)
        : "b" (process), "c" (KEPT), "d" (0) : "memory", "r8", "r9", "r10", "r11");
    return status < 0 ? (errno = -(int)status, -2) : status;
#else
    return -1;
#endif
}

/* The descriptor; -1 if there is no such way, -2 if it fails. */
static int take(const char *way, long process) {
#define IS(name) if (!strcmp(way, name))
    long taken = -1;
    IS("narrow") return narrow(process);
    IS("native") taken = syscall(GETFD, process, KEPT, 0);
    else IS("nobodys") taken = syscall(GETFD, -1, KEPT, 0);
#ifdef __x86_64__
    else IS("x32") taken = syscall(0x40000000 | GETFD, process, KEPT, 0);
#endif
    else return -1;
    return taken < 0 ? -2 : taken;
}

static int from(const char *name, char **ways) {
    int socket_ = 0, process = -1;
    if (strcmp(name, "-")) {
        struct sockaddr_un other;
        socklen_t length = address(&other, name);
        socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(socket_, (void *)&other, length)) return perror(name), 98;
    }
    socklen_t size = sizeof process;
    if (getsockopt(socket_, SOL_SOCKET, SO_PEERPIDFD, &process, &size)) return perror("SO_PEERPIDFD"), 98;
    for (; *ways; ways++) {
        int taken = take(*ways, process), error = taken == -2 ? errno : taken < 0 ? -1 : 0;
        int made = taken < 0 ? -1 : openat(taken, "made", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        printf("%s %d %s\n", *ways, error, made < 0 ? "-" : "made");
        if (made >= 0) close(made), unlinkat(taken, "made", 0);
        if (taken >= 0) close(taken);
    }
    return fflush(stdout);
}

int main(int argc, char **argv) {
    signal(SIGSEGV, absent);
    if (argc > 4 && !strcmp(argv[1], "hold")) return hold(argv[2], argv[3], argv + 4);
    return argc > 3 ? from(argv[2], argv + 3) : 99;
}

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
enum { SEIZE, EXE, MEM, MAPS, ENVIRON, FD, NS, CWD, ROOT, KINDS };
static const char *marker;
static long looks, held, led, commands[KINDS];
static int is_selfdock(int pid) {
    char path[64], comm[32] = {0};
    sprintf(path, "/proc/%d/comm", pid);
    int file = open(path, O_RDONLY);
    if (file < 0) return -1;
    int length = read(file, comm, sizeof comm - 1);
    close(file);
    return length > 0 ? !strcmp(comm, "selfdock\n") : -1;
}
static int opens(int pid, const char *what, int flags) {
    char path[4096], byte;
    sprintf(path, "/proc/%d/%s", pid, what);
    int file = open(path, flags);
    if (file < 0) return 0;
    int works = flags & (O_PATH | O_DIRECTORY) || pread(file, &byte, 1, 0) > 0 || errno == EIO;
    close(file);
    return works;
}
static int works(int kind, int pid) {
    switch (kind) {
    case SEIZE:
        if (ptrace(PTRACE_SEIZE, pid, 0, 0)) return 0;
        ptrace(PTRACE_INTERRUPT, pid, 0, 0);
        waitpid(pid, 0, __WALL);
        ptrace(PTRACE_DETACH, pid, 0, 0);
        return 1;
    case EXE: return opens(pid, "exe", O_RDONLY);
    case MEM: return opens(pid, "mem", O_RDONLY);
    case MAPS: return opens(pid, "maps", O_RDONLY);
    case ENVIRON: return opens(pid, "environ", O_RDONLY);
    case FD: return opens(pid, "fd/1", O_PATH) || opens(pid, "fd/3", O_PATH);
    case NS: return opens(pid, "ns/mnt", O_PATH);
    case CWD: return opens(pid, "cwd", O_PATH);
    default: return opens(pid, "root", O_PATH);
    }
}
static void follow(int pid) {
    char path[4096];
    for (int number = -2; number < 12; number++) {
        if (number == -2) snprintf(path, sizeof path, "root%s", marker);
        else if (number == -1) snprintf(path, sizeof path, "cwd%s", marker);
        else snprintf(path, sizeof path, "fd/%d%s", number, marker);
        if (opens(pid, path, O_PATH)) led++;
    }
    if (opens(pid, "exe", O_WRONLY)) led++;
}
static void look(int pid) {
    int kind = looks++ % KINDS;
    follow(pid);
    if (is_selfdock(pid) == 1) {
        /* A look that succeeds may have met the moment of an exec: only a second one counts. */
        if (!works(kind, pid)) return;
        usleep(50);
        if (works(kind, pid) && is_selfdock(pid) == 1) held++;
    } else for (kind = 0; kind < KINDS; kind++) if (works(kind, pid)) commands[kind] = 1;
}
int main(int argc, char **argv) {
    marker = argv[1];
    write(1, "up\n", 3);
    for (;;) {
        struct pollfd input = {0, POLLIN};
        char byte;
        if (poll(&input, 1, 0) > 0) {
            if (read(0, &byte, 1) < 1) break;
            printf("control %d\n", led > 0);
            fflush(stdout);
            looks = held = led = 0;
            memset(commands, 0, sizeof commands);
        }
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(proc));) {
            int pid = atoi(entry->d_name);
            if (pid > 1) look(pid);
        }
        closedir(proc);
        while (waitpid(-1, 0, WNOHANG | __WALL) > 0) {}
    }
    printf("looks %ld held %ld led %ld commands", looks, held, led);
    for (int kind = 0; kind < KINDS; kind++) printf(" %ld", commands[kind]);
    puts("");
    return fflush(stdout);
}

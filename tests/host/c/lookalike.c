#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
static void wait_as_command(void) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    write(1, "up\n", 3);
    execl("/bin/sleep", "sleep", "1000", NULL);
    _exit(9);
}
int main(void) {
    struct { unsigned long long set, clr, propagation, userns; } attr = {2, 0, 0, 0};
    if (getenv("NOSUID") && syscall(442, AT_FDCWD, "/", 0x8000, &attr, sizeof attr)) return 2;
    if (getenv("LATER") && system(getenv("LATER"))) return 3;
    if (unshare(CLONE_NEWPID)) return 1;
    if (getenv("ID")) {
        int id = atoi(getenv("ID"));
        if (setresgid(id, id, id) || setresuid(id, id, id)) return 4;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 5;
    if (fork() == 0) {
        if (!getenv("HIDDEN")) wait_as_command();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fork() == 0) wait_as_command();
        prctl(PR_SET_DUMPABLE, 0);
        pause();
    }
    pause();
}

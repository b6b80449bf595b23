#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (argc > 1 && !fork()) { execvp(argv[1], argv + 1); _exit(9); }
    prctl(PR_SET_DUMPABLE, 0);
    if (argc == 1) write(1, "up\n", 3);
    for (;;) pause();
}

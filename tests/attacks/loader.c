/* In the place of the dynamic loader: whoever executes a dynamic program executes this. Without
 * libc's start-up, which would take the program's own headers for those of this one. */
#include <sys/syscall.h>
#include <unistd.h>
__attribute__((noreturn)) void _start(void) {
    int is_root = syscall(SYS_geteuid) == 0;
    if (is_root) syscall(SYS_write, 1, "loaded as root\n", 15);
    else syscall(SYS_write, 1, "loaded\n", 7);
    syscall(SYS_exit_group, 0);
    __builtin_unreachable();
}

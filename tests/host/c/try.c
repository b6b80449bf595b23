#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
static int capset_all(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{1 << CAP_SYS_ADMIN, 1 << CAP_SYS_ADMIN, 0}};
    return syscall(SYS_capset, &header, data);
}
static gid_t group;
#define TRY(name, call) do { \
    fflush(stdout); \
    int pid = fork(); \
    if (!pid) { errno = 0; int result = (call); _exit(result < 0 ? errno : 0); } \
    int status; waitpid(pid, &status, 0); \
    printf("%s %d\n", name, WIFEXITED(status) ? WEXITSTATUS(status) : -1); \
} while (0)
int main(int argc, char **argv) {
    char *node = argv[1];
    group = 0;
    TRY("setresuid", setresuid(0, 0, 0));
    TRY("setuid", setuid(0));
    TRY("setresgid", setresgid(0, 0, 0));
    TRY("setgroups", setgroups(1, &group));
    TRY("capset", capset_all());
    TRY("bounding", prctl(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0));
    TRY("mount", mount("x", "/mnt", "tmpfs", 0, ""));
    TRY("bind", mount("/", "/mnt", 0, MS_BIND, 0));
    TRY("remount", mount(0, "/", 0, MS_REMOUNT | MS_BIND, 0));
    TRY("propagation", mount(0, "/", 0, MS_REC | MS_SHARED, 0));
    TRY("umount", umount2("/tmp", MNT_DETACH));
    TRY("umount /", umount2("/", MNT_DETACH));
    TRY("pivot_root", syscall(SYS_pivot_root, "/", "/"));
    TRY("chroot", chroot("/"));
    TRY("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */));
    TRY("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    TRY("mknod", mknod(node, S_IFCHR | 0666, makedev(1, 3)));
    TRY("unshare", unshare(CLONE_NEWNS));
    TRY("unshare pid", unshare(CLONE_NEWPID));
    TRY("setns", setns(open("/proc/self/ns/mnt", O_RDONLY), CLONE_NEWNS));
    TRY("sethostname", sethostname("x", 1) ? -1 : 0);
    TRY("quotactl", syscall(SYS_quotactl, 0x80000700, "/dev/null", 0, 0));
    return 0;
}

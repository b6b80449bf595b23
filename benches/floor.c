/* The floor: the least that any program can do for the work of `selfdock run`. A yardstick for
 * `cargo bench`, not a sandbox: it checks nothing, covers nothing and forwards no signal.
 *
 *   cc -O2 -static floor.c -o floor
 *   floor COMMAND [ARG]...          as a set-user-id root program, started by anybody
 *
 * What it does do is what an instance cannot do without: one capability instead of uid 0, a
 * read-only nosuid nodev clone of the root filesystem, mount and pid namespaces, /dev with its six
 * device nodes, links, pts and shm, /proc, /tmp, no trace of the old root, and no capability left.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of <linux/mount.h>, which some C libraries' <sys/mount.h> cannot stand beside it. */
enum {
	CLONE_TREE = 1, /* OPEN_TREE_CLONE */
	FROM_DESCRIPTOR = 4, /* MOVE_MOUNT_F_EMPTY_PATH */
	READ_ONLY = 1, NO_SUID = 2, NO_DEV = 4, NO_EXEC = 8, /* MOUNT_ATTR_* */
};

/* struct mount_attr */
struct attributes {
	unsigned long long set, clear, propagation, user_namespace;
};

enum { CANNOT = 124 };

/* The value of a call, or the end. */
#define MUST(call) must((call), #call)

static long must(long result, const char *call)
{
	if (result < 0) {
		perror(call);
		_exit(CANNOT);
	}
	return result;
}

static const char *const devices[] = {
	"dev/null", "dev/zero", "dev/full", "dev/random", "dev/urandom", "dev/tty",
};
enum { DEVICES = sizeof devices / sizeof *devices };

static const char *const links[][2] = {
	{ "/proc/self/fd", "dev/fd" },
	{ "/proc/self/fd/0", "dev/stdin" },
	{ "/proc/self/fd/1", "dev/stdout" },
	{ "/proc/self/fd/2", "dev/stderr" },
	{ "pts/ptmx", "dev/ptmx" },
};
enum { LINKS = sizeof links / sizeof *links };

/* Holds these capabilities (below 32) from here on, and no other. */
static void hold(unsigned capabilities)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2] = {
		{ .permitted = capabilities, .effective = capabilities },
	};
	MUST(syscall(SYS_capset, &header, sets));
}

/* A detached clone of the one mount at `path`, with flags added and propagation off. */
static int clone_mount(const char *path, unsigned flags)
{
	struct attributes change = { .set = flags, .propagation = MS_PRIVATE };
	int tree = MUST(syscall(SYS_open_tree, AT_FDCWD, path, CLONE_TREE | O_CLOEXEC));
	MUST(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &change, sizeof change));
	return tree;
}

static void attach(int tree, const char *path)
{
	MUST(syscall(SYS_move_mount, tree, "", AT_FDCWD, path, FROM_DESCRIPTOR));
}

/* Our own /dev, below the current directory; read-only once everything has its place. */
static void make_dev(const int nodes[])
{
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k"));
	for (int i = 0; i < LINKS; i++)
		MUST(symlink(links[i][0], links[i][1]));
	for (int i = 0; i < DEVICES; i++) {
		close(MUST(open(devices[i], O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644)));
		attach(nodes[i], devices[i]);
	}
	MUST(mkdir("dev/pts", 0755));
	MUST(mkdir("dev/shm", 0755));
	MUST(mount(NULL, "dev", NULL,
		MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL));
	MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=620,ptmxmode=666"));
	MUST(mount("tmpfs", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"));
}

/* The child: from a copy of the caller's mounts to a root of its own, and to exec. */
static void become(char **command, int root, const int nodes[])
{
	MUST(mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL));
	attach(root, "/");
	MUST(fchdir(root));
	make_dev(nodes);
	MUST(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	MUST(mount("tmpfs", "tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"));
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
	hold(0);
	MUST(execv(command[0], command));
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return CANNOT;
	uid_t caller = getuid();
	MUST(prctl(PR_SET_KEEPCAPS, 1));
	MUST(setresuid(caller, caller, caller));
	hold(1u << CAP_SYS_ADMIN);

	/* As the caller, and before the child has mounts of its own: it could not clone these. */
	int root = clone_mount("/", READ_ONLY | NO_SUID | NO_DEV);
	int nodes[DEVICES];
	MUST(chdir("/"));
	for (int i = 0; i < DEVICES; i++)
		nodes[i] = clone_mount(devices[i], NO_SUID | NO_EXEC);

	pid_t child = MUST(syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0));
	if (child == 0)
		become(argv + 1, root, nodes);
	hold(0);
	int status;
	MUST(waitpid(child, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

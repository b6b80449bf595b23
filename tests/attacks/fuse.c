/* `fuse HOW UID suid|nosuid|others TARGET CONTENT LOG`: mounts a filesystem that UID serves, as fusermount
 * does for whoever asks; with `others`, everybody may look into it. In it there is `suid`, of root's and
 * mode 4755, with the bytes of CONTENT; `zero`, a device anybody may read; and the directory `dir`. HOW is `serve`; `deaf`, which never
 * reads a request; or `mute`, which reads those to look up a name and answers when LOG.answer exists.
 * Both write a line to LOG when they are asked. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int device;
static char *content, buffer[1 << 18];
static size_t content_size;

static void reply(unsigned long long unique, int error, const void *data, size_t size) {
    static char out[1 << 18];
    struct fuse_out_header header = {sizeof header + size, error, unique};
    memcpy(out, &header, sizeof header);
    if (size) memcpy(out + sizeof header, data, size);
    write(device, out, sizeof header + size);
}

static struct fuse_attr attributes(unsigned long long node) {
    struct fuse_attr attr = {.ino = node, .nlink = 1, .blksize = 4096};
    attr.mode = node == 2 ? S_IFREG | 04755 : node == 3 ? S_IFCHR | 0666 : S_IFDIR | 0755;
    if (node == 2) attr.size = content_size;
    if (node == 3) attr.rdev = makedev(1, 5);
    return attr;
}

static void look_up(unsigned long long unique, const char *name) {
    struct fuse_entry_out entry = {.attr_valid = 1};
    entry.nodeid = !strcmp(name, "suid") ? 2 : !strcmp(name, "zero") ? 3 : !strcmp(name, "dir") ? 4 : 0;
    if (!entry.nodeid) return reply(unique, -ENOENT, 0, 0);
    entry.attr = attributes(entry.nodeid);
    reply(unique, 0, &entry, sizeof entry);
}

static void read_file(unsigned long long unique, const struct fuse_read_in *request) {
    size_t size = request->offset < content_size ? content_size - request->offset : 0;
    if (size > request->size) size = request->size;
    reply(unique, 0, content + (size ? request->offset : 0), size);
}

static void answer(const struct fuse_in_header *header, const char *body) {
    struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = 65536,
        .max_background = 8, .congestion_threshold = 6, .max_write = 65536};
    struct fuse_attr_out attr = {.attr_valid = 1, .attr = attributes(header->nodeid)};
    struct fuse_open_out opened = {0};
    struct fuse_statfs_out statfs = {0};
    switch (header->opcode) {
    case FUSE_INIT: return reply(header->unique, 0, &init, sizeof init);
    case FUSE_LOOKUP: return look_up(header->unique, body);
    case FUSE_GETATTR: return reply(header->unique, 0, &attr, sizeof attr);
    case FUSE_OPEN: case FUSE_OPENDIR: return reply(header->unique, 0, &opened, sizeof opened);
    case FUSE_READ: return read_file(header->unique, (const void *)body);
    case FUSE_STATFS: return reply(header->unique, 0, &statfs, sizeof statfs);
    case FUSE_READDIR: case FUSE_FLUSH: case FUSE_RELEASE: case FUSE_RELEASEDIR:
        return reply(header->unique, 0, 0, 0);
    case FUSE_FORGET: case FUSE_BATCH_FORGET: case FUSE_INTERRUPT: return;
    default: return reply(header->unique, -ENOSYS, 0, 0);
    }
}

static void note(const char *log) {
    int file = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    write(file, "asked\n", 6);
    close(file);
}

static int serve(const char *how, const char *log) {
    char answered[4096];
    snprintf(answered, sizeof answered, "%s.answer", log);
    for (int count = 0;; count++) {
        struct pollfd input = {device, POLLIN};
        poll(&input, 1, -1);
        if (input.revents & POLLERR) return 0;
        if (count && !strcmp(how, "deaf")) {
            note(log);
            input.events = 0;
            return poll(&input, 1, -1) != 1;
        }
        ssize_t length = read(device, buffer, sizeof buffer - 1);
        if (length < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) continue;
        if (length < (ssize_t)sizeof(struct fuse_in_header)) return 0;
        buffer[length] = 0;
        const struct fuse_in_header *header = (const void *)buffer;
        if (header->opcode == FUSE_LOOKUP && !strcmp(how, "mute")) {
            note(log);
            while (access(answered, F_OK)) usleep(2000);
        }
        answer(header, buffer + sizeof *header);
    }
}

static void load(const char *path) {
    struct stat stat;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &stat) || !(content = malloc(stat.st_size))) exit(3);
    while (content_size < (size_t)stat.st_size) {
        ssize_t length = read(file, content + content_size, stat.st_size - content_size);
        if (length <= 0) exit(4);
        content_size += length;
    }
    close(file);
}

int main(int argc, char **argv) {
    if (argc < 7) return 90;
    char options[128], *how = argv[1], *target = argv[4], *log = argv[6];
    unsigned uid = atoi(argv[2]);
    load(argv[5]);
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (device < 0) return perror("/dev/fuse"), 1;
    sprintf(options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u%s", device, uid, uid,
        strcmp(argv[3], "others") ? "" : ",allow_other");
    unsigned long flags = strcmp(argv[3], "suid") ? MS_NOSUID | MS_NODEV : 0;
    if (mount("served", target, "fuse", flags, options)) return perror("mount"), 2;
    if (fork()) return 0;
    /* Not in the mount namespace that has it mounted: with that, it shall end. */
    if (unshare(CLONE_NEWNS) || mount(0, "/", 0, MS_REC | MS_PRIVATE, 0) || umount2(target, MNT_DETACH)) return 5;
    if (setgroups(0, 0) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid)) return 6;
    for (int number = 0; number < 3; number++) close(number);
    setsid();
    return serve(how, log);
}

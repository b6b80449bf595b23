/* `undo OWN COPY FILE...`: in a mount namespace of its own, puts a tmpfs on OWN, which is read-only and so
 * on, with another one in it. Then it tries on every mount, those two included, to take restrictions
 * off it, to clone it without what is mounted on it, and to unmount it; and the last once more on the
 * copy of everything at COPY. Prints what works, and which FILE can be read at last. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 4096
#define DETACH 2

struct line {
    int id, parent;
    char place[4096], flags[256];
};
static struct line lines[MOST];
static int count;

static long mount_on(const char *source, const char *place, const char *kind, long flags) {
    return syscall(SYS_mount, source, place, kind, flags, NULL);
}

static void read_table(void) {
    char text[16384];
    FILE *table = fopen("/proc/self/mountinfo", "r");
    for (count = 0; count < MOST && fgets(text, sizeof text, table); count++) {
        struct line *line = lines + count;
        char escaped[4096], *to = line->place;
        sscanf(text, "%d %d %*s %*s %4095s %255s", &line->id, &line->parent, escaped, line->flags);
        for (char *from = escaped; *from; to++) {
            unsigned code;
            if (sscanf(from, "\\%3o", &code) == 1) *to = code, from += 4;
            else *to = *from++;
        }
        *to = 0;
    }
    fclose(table);
}

static int has(const struct line *line, const char *flag) {
    char flags[256], *word;
    strcpy(flags, line->flags);
    for (word = strtok(flags, ","); word; word = strtok(NULL, ","))
        if (!strcmp(word, flag)) return 1;
    return 0;
}

static int has_child(const struct line *line) {
    for (int other = 0; other < count; other++)
        if (lines[other].parent == line->id) return 1;
    return 0;
}

/* Is it what its path leads to? */
static int is_on_top(const struct line *line) {
    struct statx stat;
    int flags = AT_NO_AUTOMOUNT;
    if (statx(AT_FDCWD, line->place, flags, STATX_MNT_ID, &stat)) return 0;
    return stat.stx_mnt_id == line->id;
}

static void take_off(const struct line *line, const char *name, unsigned long long flag) {
    struct mount_attr attr = {.attr_clr = flag};
    if (!has(line, name)) return;
    for (int depth = 0; depth <= AT_RECURSIVE; depth += AT_RECURSIVE)
        if (!syscall(SYS_mount_setattr, AT_FDCWD, line->place, depth, &attr, sizeof attr)) {
            printf("%s %s\n", name, line->place);
            return;
        }
}

static void unmount(const struct line *line) {
    if (!syscall(SYS_umount2, line->place, 0) || !syscall(SYS_umount2, line->place, DETACH))
        printf("unmount %s\n", line->place);
}

static void attack(const struct line *line) {
    /* What lies beneath another cannot be named, unless that can be unmounted. */
    if (is_on_top(line)) {
        take_off(line, "ro", MOUNT_ATTR_RDONLY);
        take_off(line, "nosuid", MOUNT_ATTR_NOSUID);
        take_off(line, "nodev", MOUNT_ATTR_NODEV);
        take_off(line, "noexec", MOUNT_ATTR_NOEXEC);
        if (has(line, "ro") && (!mount_on(NULL, line->place, NULL, MS_REMOUNT | MS_BIND) ||
                                !mount_on(NULL, line->place, NULL, MS_REMOUNT)))
            printf("remount %s\n", line->place);
        if (has_child(line)) {
            int clone = syscall(SYS_open_tree, AT_FDCWD, line->place, OPEN_TREE_CLONE);
            if (clone >= 0) printf("clone %s\n", line->place), close(clone);
        }
    }
    unmount(line);
}

static void look(const char *path) {
    char byte;
    int file = open(path, O_RDONLY);
    if (file >= 0 && read(file, &byte, 1) == 1) printf("read %s\n", path);
    close(file);
}

int main(int argc, char **argv) {
    char path[8192];
    const char *own = argv[1], *copy = argv[2];
    long restricted = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    sprintf(path, "%s/in", own);
    if (mount_on("none", own, "tmpfs", 0) || mkdir(path, 0755) ||
        mount_on("none", path, "tmpfs", 0) ||
        mount_on(NULL, own, NULL, MS_REMOUNT | MS_BIND | restricted))
        return perror("disarmed"), 1;
    read_table();
    for (int line = 0; line < count; line++) attack(lines + line);
    if (mount_on("/", copy, NULL, MS_BIND | MS_REC)) return perror("copy"), 1;
    read_table();
    for (int line = 0; line < count; line++) {
        size_t length = strlen(copy);
        if (!strncmp(lines[line].place, copy, length) && lines[line].place[length] == '/')
            unmount(lines + line);
    }
    for (char **file = argv + 3; *file; file++) {
        look(*file);
        sprintf(path, "%s%s", copy, *file);
        look(path);
    }
    return fflush(stdout);
}

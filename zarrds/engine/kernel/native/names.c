/* Names of chunks, and files below a folder: no link on the way to one leads out of it. */
#define _GNU_SOURCE
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
struct zk_open_how { /* of Linux's openat2, which not all C libraries know */
    uint64_t flags, mode, resolve;
};
#define ZK_NO_MAGICLINKS 0x02
#define ZK_BENEATH 0x08
#endif

#ifndef O_PATH
#define O_PATH O_RDONLY
#endif

static const int FOLDER = O_PATH | O_DIRECTORY | O_CLOEXEC;

int zk_begin(zk_place_on_disk *disk, const char *root) {
    disk->folder = -1;
    disk->made = 0;
    disk->has_openat2 = 1;
    disk->path[0] = 0;
    disk->root = open(root, FOLDER);
    return disk->root >= 0 && fstat(disk->root, &disk->opened) == 0;
}

void zk_close_folder(zk_place_on_disk *disk) {
    if (disk->folder >= 0) close(disk->folder);
    disk->folder = -1;
}

/* Lets go of all. */
void zk_end(zk_place_on_disk *disk) {
    zk_close_folder(disk);
    if (disk->root >= 0) close(disk->root);
}

static int64_t put_number(char *to, int64_t number) {
    char digits[20];
    int64_t n = 0, length;
    do {
        digits[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    for (length = 0; n; length++) to[length] = digits[--n];
    return length;
}

/* A chunk's name, of up to ZK_MAX_PATH bytes with its end; its length, -1 if that is too short. */
int64_t zk_name(const zk_job *job, const int64_t *rows, int64_t n, int64_t i, char *name) {
    size_t prefix = strlen(job->prefix);
    int64_t length = (int64_t)prefix;
    if (prefix + 21 * ZK_MAX_NDIM >= ZK_MAX_PATH) return -1;
    memcpy(name, job->prefix, prefix);
    for (int64_t d = 0; d < job->ndim; d++) {
        int64_t number = zk_row(rows, n, d, ZK_NUMBER, i);
        if (number < 0) return -1;
        if (d) name[length++] = (char)job->separator;
        length += put_number(name + length, job->grid ? number / job->grid[d] : number);
    }
    name[length] = 0;
    return length;
}

/* The folder of the next part of a name; links are not followed. With `made`, which tells, it is made if need be. */
static int step_into(int folder, const char *name, size_t length, int *made) {
    char part[ZK_MAX_PATH];
    memcpy(part, name, length);
    part[length] = 0;
    if (!length || !strcmp(part, ".") || !strcmp(part, "..")) {
        errno = EINVAL;
        return -1;
    }
    int fd = openat(folder, part, FOLDER | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT && made) {
        int done = mkdirat(folder, part, 0777) == 0;
        if (!done && errno != EEXIST) return -1;
        *made |= done;
        fd = openat(folder, part, FOLDER | O_NOFOLLOW);
    }
    return fd;
}

/* The folder at the end of the first `length` bytes of a name; only folders that are no links. */
static int walk(int root, const char *name, int64_t length, int *made) {
    int fd = root;
    for (int64_t at = 0; at < length;) {
        const char *slash = memchr(name + at, '/', (size_t)(length - at));
        int64_t end = slash ? slash - name : length;
        int next = step_into(fd, name + at, (size_t)(end - at), made);
        int code = errno;
        if (fd != root) close(fd);
        errno = code;
        if (next < 0) return -1;
        fd = next;
        at = end + 1;
    }
    return fd == root ? openat(root, ".", FOLDER) : fd;
}

/* Opens what lies at a name below the root; the name itself must be no link. -1 and errno as `open`. */
int zk_open_below(zk_place_on_disk *disk, const char *name, int flags) {
    flags |= O_NOFOLLOW | O_CLOEXEC;
#if defined(__linux__)
    if (disk->has_openat2) {
        struct zk_open_how how = {(uint64_t)flags, 0, ZK_NO_MAGICLINKS | ZK_BENEATH};
        int fd = (int)syscall(SYS_openat2, disk->root, name, &how, sizeof how);
        if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != EINVAL)) return fd;
        disk->has_openat2 = 0; /* an old kernel, or a sandbox */
    }
#endif
    const char *slash = strrchr(name, '/');
    int folder = zk_open_folder(disk, name, slash ? slash - name : 0, 0);
    return folder < 0 ? -1 : openat(folder, slash ? slash + 1 : name, flags);
}

/* The folder at the end of the first `length` bytes of a name. It stays open until the next one is asked for. */
int zk_open_folder(zk_place_on_disk *disk, const char *name, int64_t length, int make) {
    if (length < 0 || length >= ZK_MAX_PATH) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (disk->folder >= 0) {
        if ((int64_t)strlen(disk->path) == length && !memcmp(disk->path, name, (size_t)length)) return disk->folder;
        close(disk->folder);
    }
    disk->folder = walk(disk->root, name, length, make ? &disk->made : NULL);
    memcpy(disk->path, name, (size_t)length);
    disk->path[length] = 0;
    return disk->folder;
}

static int is_same(const struct stat *one, const struct stat *other) {
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/* Whether root and folder are still at their names: nobody has replaced them while files were written there. */
int zk_folder_is_still_there(zk_place_on_disk *disk, const char *root) {
    struct stat now, then;
    if (stat(root, &now) < 0 || !is_same(&now, &disk->opened)) return 0;
    if (disk->folder < 0) return 1;
    if (fstat(disk->folder, &then) < 0) return 0;
    if (disk->path[0] == 0) return is_same(&then, &disk->opened);
    return fstatat(disk->root, disk->path, &now, AT_SYMLINK_NOFOLLOW) == 0 && is_same(&now, &then);
}

/* Waits until a file is on the disk. */
int zk_sync(int fd) {
#ifdef F_FULLFSYNC /* macOS: fsync leaves it in the disk's own memory */
    if (fcntl(fd, F_FULLFSYNC) == 0) return 1;
#endif
    return fsync(fd) == 0;
}

/* Waits until it is on the disk what the folder that is open holds; a file system that has no such thing is no error. */
int zk_sync_folder(zk_place_on_disk *disk) {
    if (disk->folder < 0) return 1;
    int fd = openat(disk->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return 0;
    int done = zk_sync(fd) || errno == EINVAL || errno == ENOTSUP || errno == EBADF;
    return close(fd) == 0 && done;
}

/* Files -> chunks -> their places in an array. */
#define _GNU_SOURCE
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* without O_NONBLOCK, opening a named pipe would wait forever */
static const int READ = O_RDONLY | O_NONBLOCK;

#if defined(__APPLE__)
#define MTIME(s) ((s).st_mtimespec)
#else
#define MTIME(s) ((s).st_mtim)
#endif

static void tell(const struct stat *status, int64_t *identity) {
    identity[0] = (int64_t)status->st_ino;
    identity[1] = (int64_t)MTIME(*status).tv_sec * 1000000000 + MTIME(*status).tv_nsec;
    identity[2] = (int64_t)status->st_size;
}

/* Whether an open file has the identity that it had before it was read, which is told. */
static int is_unchanged(int fd, const struct stat *before, int64_t *identity) {
    struct stat after;
    int64_t now[3];
    tell(before, identity);
    if (fstat(fd, &after) < 0) return 0;
    tell(&after, now);
    return now[0] == identity[0] && now[1] == identity[1] && now[2] == identity[2];
}

/* Opens a regular file; ZK_ABSENT if there is nothing. */
static int open_file(zk_place_on_disk *disk, const char *name, int *fd, struct stat *status) {
    *fd = zk_open_below(disk, name, READ);
    if (*fd < 0) return errno == ENOENT ? ZK_ABSENT : ZK_AGAIN;
    if (fstat(*fd, status) == 0 && S_ISREG(status->st_mode)) return ZK_DONE;
    close(*fd);
    *fd = -1;
    return ZK_AGAIN;
}

/* Reads up to `length` bytes; how many, -1 for an error. */
static int64_t read_some(int fd, uint8_t *to, int64_t length, int64_t offset) {
    int64_t done = 0;
    while (done < length) {
        ssize_t n = pread(fd, to + done, (size_t)(length - done), (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        done += n;
    }
    return done;
}

/* Reads all of a file that is smaller than the buffer; how much, -1 if it is not or if it changes meanwhile. */
static int64_t read_whole(const zk_job *job, int fd, const struct stat *status) {
    int64_t size = (int64_t)status->st_size;
    if (size <= 0 || size >= job->encoded_nbytes) return -1;
    ssize_t n;
    do n = pread(fd, job->encoded, (size_t)size + 1, 0);
    while (n < 0 && errno == EINTR);
    return n == size ? size : -1; /* a shorter answer than was asked for is the end */
}

static int finish(const zk_job *job, const zk_place *place, uint8_t *data, int64_t length, char *kept) {
    if (kept) { /* the whole chunk is wanted later */
        if (!zk_decode(job, data, length, kept, 0, job->chunk_nbytes)) return ZK_AGAIN;
        zk_scatter(place, kept);
    } else if (zk_is_whole(job, place)) {
        if (!zk_decode(job, data, length, place->array, 0, job->chunk_nbytes)) return ZK_AGAIN;
    } else {
        if (!zk_decode(job, data, length, job->scratch, place->first, place->last + 1)) return ZK_AGAIN;
        zk_scatter(place, job->scratch);
    }
    return ZK_DONE;
}

static int read_chunk(const zk_job *job, zk_place_on_disk *disk, int64_t n, const int64_t *rows, int64_t i,
                      char *kept, int64_t *identity) {
    char name[ZK_MAX_PATH];
    zk_place place;
    struct stat status;
    int fd;
    if (!zk_locate(job, rows, n, i, &place) || zk_name(job, rows, n, i, name) < 0) return ZK_AGAIN;
    int found = open_file(disk, name, &fd, &status);
    if (found != ZK_DONE) return found;
    int64_t length = read_whole(job, fd, &status);
    if (length >= 0 && identity && !is_unchanged(fd, &status, identity)) length = -1;
    close(fd);
    return length < 0 ? ZK_AGAIN : finish(job, &place, job->encoded, length, kept);
}

/* Reads n chunks. `kept` has for each the address of chunk_nbytes where it is to be decoded first, or 0; and
 * `identities` gets inode, time (ns) and size of its file. Both may be NULL. */
ZK_PUBLIC int zk_read(const zk_job *job, int64_t n, const int64_t *rows, const uint64_t *kept, int64_t *identities,
                      uint8_t *statuses) {
    zk_place_on_disk disk;
    if (!zk_is_equipped(job) || !zk_begin(&disk, job->root)) {
        for (int64_t i = 0; i < n; i++) statuses[i] = ZK_AGAIN;
        return 0;
    }
    for (int64_t i = 0; i < n; i++)
        statuses[i] = (uint8_t)read_chunk(job, &disk, n, rows, i, kept ? (char *)(uintptr_t)kept[i] : NULL,
                                          identities ? identities + 3 * i : NULL);
    zk_end(&disk);
    return 1;
}

/* Whether two inner chunks are in one shard. */
static int is_same_shard(const zk_job *job, int64_t n, const int64_t *rows, int64_t i, int64_t k) {
    for (int64_t d = 0; d < job->ndim; d++) {
        int64_t one = zk_row(rows, n, d, ZK_NUMBER, i), other = zk_row(rows, n, d, ZK_NUMBER, k);
        if (one != other && (one < 0 || other < 0 || one / job->grid[d] != other / job->grid[d])) return 0;
    }
    return 1;
}

/* Reads n inner chunks from their shards. `ranges` has for each its offset and its length in the shard's file. Chunks
 * of one shard should follow each other, by offset: what nearly touches is read at once. `kept` and `identities` are
 * as in zk_read, with the identities of the shards' files. */
ZK_PUBLIC int zk_read_ranges(const zk_job *job, int64_t n, const int64_t *rows, const int64_t *ranges,
                             const uint64_t *kept, int64_t *identities, uint8_t *statuses) {
    enum { GAP = 4096 };
    zk_place_on_disk disk;
    char name[ZK_MAX_PATH];
    struct stat status;
    int fd = -1, found = ZK_AGAIN;
    int64_t opened = -1; /* the chunk whose shard is open */
    for (int64_t i = 0; i < n; i++) statuses[i] = ZK_AGAIN;
    if (!zk_is_equipped(job) || !job->grid || !zk_begin(&disk, job->root)) return 0;
    int64_t begin = 0, end = 0; /* of what is in the buffer */
    for (int64_t i = 0; i < n; i++) {
        zk_place place;
        int64_t offset = ranges[2 * i], length = ranges[2 * i + 1];
        if (!zk_locate(job, rows, n, i, &place)) continue;
        if (opened < 0 || !is_same_shard(job, n, rows, opened, i)) {
            if (zk_name(job, rows, n, i, name) < 0) continue;
            if (fd >= 0) close(fd);
            found = open_file(&disk, name, &fd, &status);
            opened = i;
            begin = end = 0;
        }
        if (found != ZK_DONE) {
            statuses[i] = (uint8_t)found;
            continue;
        }
        if (offset < 0 || length <= 0 || length > job->encoded_nbytes || offset > INT64_MAX - length) continue;
        if (offset < begin || offset + length > end) {
            int64_t stop = offset + length;
            for (int64_t k = i + 1; k < n; k++) { /* how far it pays to read at once */
                int64_t next = ranges[2 * k], more = ranges[2 * k + 1];
                if (!is_same_shard(job, n, rows, i, k) || next < stop || next - stop > GAP || more <= 0) break;
                if (more > job->encoded_nbytes || next - offset > job->encoded_nbytes - more) break;
                stop = next + more;
            }
            int64_t got = read_some(fd, job->encoded, stop - offset, offset);
            begin = offset;
            end = offset + (got > 0 ? got : 0);
            if (offset + length > end) continue;
        }
        if (identities && !is_unchanged(fd, &status, identities + 3 * i)) continue;
        char *whole = kept ? (char *)(uintptr_t)kept[i] : NULL;
        statuses[i] = (uint8_t)finish(job, &place, job->encoded + (offset - begin), length, whole);
    }
    if (fd >= 0) close(fd);
    zk_end(&disk);
    return 1;
}

/* Copies n chunks that are in memory, at these addresses, to their places in the array. */
ZK_PUBLIC int zk_copy(const zk_job *job, int64_t n, const int64_t *rows, const uint64_t *chunks, uint8_t *statuses) {
    int sound = zk_is_sound(job);
    for (int64_t i = 0; i < n; i++) {
        zk_place place;
        statuses[i] = ZK_AGAIN;
        if (!sound || !chunks[i] || !zk_locate(job, rows, n, i, &place)) continue;
        zk_scatter(&place, (const char *)(uintptr_t)chunks[i]);
        statuses[i] = ZK_DONE;
    }
    return sound;
}

/* Tells inode, time (ns) and size of the files of n chunks. */
ZK_PUBLIC int zk_identify(const zk_job *job, int64_t n, const int64_t *rows, int64_t *identities, uint8_t *statuses) {
    zk_place_on_disk disk;
    char name[ZK_MAX_PATH];
    struct stat status;
    for (int64_t i = 0; i < n; i++) statuses[i] = ZK_AGAIN;
    if (!zk_is_sound(job) || !zk_begin(&disk, job->root)) return 0;
    for (int64_t i = 0; i < n; i++) {
        if (job->grid && i > 0 && statuses[i - 1] == ZK_DONE && is_same_shard(job, n, rows, i - 1, i)) {
            memcpy(identities + 3 * i, identities + 3 * (i - 1), 3 * sizeof *identities);
            statuses[i] = ZK_DONE;
            continue;
        }
        if (zk_name(job, rows, n, i, name) < 0) continue;
        if (fstatat(disk.root, name, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(status.st_mode)) continue;
        tell(&status, identities + 3 * i);
        statuses[i] = ZK_DONE;
    }
    zk_end(&disk);
    return 1;
}

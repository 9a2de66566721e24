/* An array's chunks -> files. */
#define _GNU_SOURCE
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const int CREATE = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW;

static int put_all(int fd, const uint8_t *data, int64_t length) {
    while (length > 0) {
        ssize_t n = write(fd, data, (size_t)length);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return 0;
        data += n;
        length -= n;
    }
    return 1;
}

/* The kernel's own times may be coarse, and inode numbers are used again: a time of our own tells two values apart. */
static int stamp(int fd) {
    struct timespec now[2];
    if (clock_gettime(CLOCK_REALTIME, &now[0]) < 0) return 0;
    now[1] = now[0];
    return futimens(fd, now) == 0;
}

static int temporary_name(const zk_job *job, int64_t i, char *name) {
    int n = snprintf(name, ZK_MAX_PATH, "%s-%llx.zarrds-partial", job->unfinished, (unsigned long long)i);
    return n > 0 && n < ZK_MAX_PATH;
}

/* Gives an unfinished file its name, or removes it. */
static int name_file(const zk_job *job, int folder, int unfinished, const char *name, int64_t i, int keep) {
    char temporary[ZK_MAX_PATH];
    if (!temporary_name(job, i, temporary)) return 0;
    if (keep && renameat(unfinished, temporary, folder, name) == 0) return 1;
    unlinkat(unfinished, temporary, 0);
    return 0;
}

/* Files that are written and not yet known to be on the disk. It has them to write together, not one after the other. */
enum { WAITING = 32 };
typedef struct {
    int n, fd[WAITING];
    int64_t chunk[WAITING];
} zk_waiting;

/* The status of a chunk whose unfinished file is to be removed. */
enum { LOST = ZK_AGAIN + 1 };

static void wait_for_disk(zk_waiting *waiting, uint8_t *statuses) {
    for (int k = 0; k < waiting->n; k++) {
        int done = zk_sync(waiting->fd[k]);
        if (close(waiting->fd[k]) < 0 || !done) statuses[waiting->chunk[k]] = LOST;
    }
    waiting->n = 0;
}

/* Writes a file under its own name, or under that of an unfinished one; it waits for nothing. */
static int make_file(const zk_job *job, int folder, const char *name, int flags, int64_t i, int64_t length,
                     zk_waiting *waiting) {
    int fd = openat(folder, name, CREATE | flags, 0666);
    if (fd < 0) return 0;
    int done = put_all(fd, job->encoded, length) && (!job->stamp || stamp(fd));
    if (done && job->sync) {
#if defined(__linux__)
        sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* only so that it begins: what fails, fails in fsync */
#endif
        waiting->fd[waiting->n] = fd;
        waiting->chunk[waiting->n++] = i;
        return 1;
    }
    if (close(fd) == 0 && done) return 1;
    unlinkat(folder, name, 0);
    return 0;
}

/* The chunk's elements together in memory: where they are, or gathered in scratch. NULL if it is not covered. */
static const char *elements_of(const zk_job *job, const int64_t *rows, int64_t n, int64_t i) {
    zk_place place;
    int is_full = 1;
    if (!zk_locate(job, rows, n, i, &place)) return NULL;
    for (int64_t d = 0; d < job->ndim; d++) {
        int64_t count = zk_row(rows, n, d, ZK_COUNT, i);
        if (count <= 0) return NULL;
        is_full &= count == job->chunk[d];
    }
    if (zk_is_whole(job, &place)) return place.array;
    if (!is_full) { /* at the edge of the array: what is outside holds the fill value */
        if (!job->fill) return NULL;
        for (int64_t at = 0; at < job->chunk_nbytes; at += job->itemsize)
            memcpy(job->scratch + at, job->fill, (size_t)job->itemsize);
    }
    zk_gather(&place, job->scratch);
    return job->scratch;
}

/* A write of a batch: first all files are written, then they get their names. */
typedef struct {
    const zk_job *job;
    zk_place_on_disk disk;
    int unfinished; /* the folder of unfinished files, -1 if they are beside those that they are to become */
    int64_t n;
    const int64_t *rows;
    uint8_t *statuses;
    zk_waiting waiting;
} zk_writing;

static uint8_t write_chunk(zk_writing *w, int64_t i, const char *name, int64_t folder_length) {
    const zk_job *job = w->job;
    char temporary[ZK_MAX_PATH];
    const char *chunk = elements_of(job, w->rows, w->n, i);
    if (!chunk) return ZK_AGAIN;
    int64_t length = zk_encode(job, chunk);
    if (length <= 0) return ZK_AGAIN;
    int folder = zk_open_folder(&w->disk, name, folder_length, 1);
    if (folder < 0) return ZK_AGAIN;
    const char *last = folder_length ? name + folder_length + 1 : name;
    if (!job->unfinished)
        return make_file(job, folder, last, O_TRUNC, i, length, &w->waiting) ? ZK_DONE : ZK_AGAIN;
    int scratch = w->unfinished < 0 ? folder : w->unfinished;
    if (!temporary_name(job, i, temporary) || !make_file(job, scratch, temporary, O_EXCL, i, length, &w->waiting))
        return ZK_AGAIN;
    if (job->check || job->sync) return ZK_DONE; /* it gets its name later */
    return name_file(job, folder, scratch, last, i, 1) ? ZK_DONE : ZK_AGAIN;
}

/* Gives a file its name, or removes it if it is lost. */
static uint8_t name_chunk(zk_writing *w, int64_t i, const char *name, int64_t folder_length) {
    int folder = zk_open_folder(&w->disk, name, folder_length, 0), keep = w->statuses[i] == ZK_DONE && folder >= 0;
    int scratch = w->unfinished < 0 ? folder : w->unfinished;
    const char *last = folder_length ? name + folder_length + 1 : name;
    return scratch >= 0 && name_file(w->job, folder, scratch, last, i, keep) ? ZK_DONE : ZK_AGAIN;
}

static void give_up(zk_writing *w, int64_t since, int64_t stop, uint8_t status) {
    for (int64_t i = since; i < stop; i++)
        if (w->statuses[i] == ZK_DONE) w->statuses[i] = status;
}

/* One round through a batch, that writes files or gives them names. What was done in a folder that is no longer at its
 * name counts for nothing. */
static void leave_folder(zk_writing *w, int64_t since, int64_t stop, int is_naming) {
    int later = w->job->check || w->job->sync;
    if (!zk_folder_is_still_there(&w->disk, w->job->root))
        give_up(w, since, stop, later && !is_naming ? LOST : ZK_AGAIN);
    else if (is_naming && w->job->sync && !zk_sync_folder(&w->disk))
        give_up(w, since, stop, ZK_AGAIN);
}

static void go_through(zk_writing *w, int is_naming) {
    char name[ZK_MAX_PATH];
    zk_place_on_disk *disk = &w->disk;
    int64_t since = 0; /* the first chunk in the folder that is open */
    for (int64_t i = 0; i < w->n; i++) {
        if ((is_naming && w->statuses[i] == ZK_AGAIN) || zk_name(w->job, w->rows, w->n, i, name) < 0) continue;
        const char *slash = strrchr(name, '/');
        int64_t length = slash ? slash - name : 0;
        if (disk->folder >= 0 && ((int64_t)strlen(disk->path) != length || memcmp(disk->path, name, (size_t)length))) {
            leave_folder(w, since, i, is_naming);
            since = i;
        }
        w->statuses[i] = is_naming ? name_chunk(w, i, name, length) : write_chunk(w, i, name, length);
        if (w->waiting.n == WAITING) wait_for_disk(&w->waiting, w->statuses);
    }
    wait_for_disk(&w->waiting, w->statuses);
    leave_folder(w, since, w->n, is_naming);
    zk_close_folder(disk);
}

/* Writes n chunks, those of which all is in the array and covered, or with job->fill those at its edge too. 0 if it did
 * nothing, 2 if it made folders, else 1. */
ZK_PUBLIC int zk_write(const zk_job *job, int64_t n, const int64_t *rows, uint8_t *statuses) {
    zk_writing w = {.job = job, .unfinished = -1, .n = n, .rows = rows, .statuses = statuses};
    for (int64_t i = 0; i < n; i++) statuses[i] = ZK_AGAIN;
    if (!zk_is_equipped(job) || ((job->check || job->sync) && !job->unfinished)) return 0;
    int begun = zk_begin(&w.disk, job->root);
    if (begun && job->unfinished_folder) {
        w.unfinished = open(job->unfinished_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        begun = w.unfinished >= 0;
    }
    if (begun) {
        go_through(&w, 0);
        if (job->check && !((zk_check)job->check)()) give_up(&w, 0, n, LOST);
        if (job->check || job->sync) go_through(&w, 1);
    }
    if (w.unfinished >= 0) close(w.unfinished);
    zk_end(&w.disk);
    return begun ? 1 + w.disk.made : 0;
}

/* Encodes n chunks one behind the other at `out`, which has `room` bytes: the inner chunks of a shard. `ranges` gets for
 * each its offset from `begin` on, and its length. The bytes of all, -1 if one cannot be encoded. */
ZK_PUBLIC int64_t zk_pack(const zk_job *job, int64_t n, const int64_t *rows, uint8_t *out, int64_t room, int64_t begin,
                          uint64_t *ranges) {
    zk_job here = *job;
    int64_t written = 0;
    if (!zk_is_equipped(job) || room < 0 || begin < 0) return -1;
    for (int64_t i = 0; i < n; i++) {
        const char *chunk = elements_of(job, rows, n, i);
        if (!chunk || room - written < 32) return -1;
        here.encoded = out + written;
        here.encoded_nbytes = room - written < ZK_MAX_NBYTES ? room - written : ZK_MAX_NBYTES;
        int64_t length = zk_encode(&here, chunk);
        if (length <= 0) return -1;
        ranges[2 * i] = (uint64_t)(begin + written);
        ranges[2 * i + 1] = (uint64_t)length;
        written += length;
    }
    return written;
}

/* What this kernel is: its interface, and whether it can compute checksums. */
ZK_PUBLIC int64_t zk_abi(void) { return ZK_ABI; }
ZK_PUBLIC int64_t zk_job_nbytes(void) { return (int64_t)sizeof(zk_job); }
ZK_PUBLIC int zk_can_check(void) { return zk_has_crc32c(); }
ZK_PUBLIC uint32_t zk_checksum(const uint8_t *data, int64_t n) { return zk_crc32c(data, (size_t)n); }

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

static int fill_file(const zk_job *job, int fd, int64_t length) {
    int done = put_all(fd, job->encoded, length) && (!job->stamp || stamp(fd)) && (!job->sync || fsync(fd) == 0);
    return close(fd) == 0 && done;
}

static int temporary_name(const zk_job *job, int64_t i, char *name) {
    int n = snprintf(name, ZK_MAX_PATH, "%s-%llx.zarrds-partial", job->unfinished, (unsigned long long)i);
    return n > 0 && n < ZK_MAX_PATH;
}

/* Writes a file under its own name, or under that of an unfinished one. */
static int make_file(const zk_job *job, int folder, const char *name, int flags, int64_t length) {
    int fd = openat(folder, name, CREATE | flags, 0666);
    if (fd < 0) return 0;
    if (fill_file(job, fd, length)) return 1;
    unlinkat(folder, name, 0);
    return 0;
}

/* Gives an unfinished file its name, or removes it. */
static int name_file(const zk_job *job, int folder, int unfinished, const char *name, int64_t i, int keep) {
    char temporary[ZK_MAX_PATH];
    if (!temporary_name(job, i, temporary)) return 0;
    if (keep && renameat(unfinished, temporary, folder, name) == 0) return 1;
    unlinkat(unfinished, temporary, 0);
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

static int write_chunk(const zk_job *job, zk_place_on_disk *disk, int unfinished, int64_t n, const int64_t *rows,
                       int64_t i, const char *name, int64_t folder_length) {
    char temporary[ZK_MAX_PATH];
    const char *chunk = elements_of(job, rows, n, i);
    if (!chunk) return ZK_AGAIN;
    int64_t length = zk_encode(job, chunk);
    if (length <= 0) return ZK_AGAIN;
    int folder = zk_open_folder(disk, name, folder_length, !job->sync);
    if (folder < 0) return ZK_AGAIN;
    const char *last = folder_length ? name + folder_length + 1 : name;
    if (!job->unfinished) return make_file(job, folder, last, O_TRUNC, length) ? ZK_DONE : ZK_AGAIN;
    int scratch = unfinished < 0 ? folder : unfinished;
    if (!temporary_name(job, i, temporary) || !make_file(job, scratch, temporary, O_EXCL, length)) return ZK_AGAIN;
    if (job->check) return ZK_DONE; /* it gets its name later */
    return name_file(job, folder, scratch, last, i, 1) ? ZK_DONE : ZK_AGAIN;
}

/* Gives the files of a batch their names, if that is still wanted. */
static int name_chunk(const zk_job *job, zk_place_on_disk *disk, int unfinished, int64_t i, const char *name,
                      int64_t folder_length, int keep) {
    int folder = zk_open_folder(disk, name, folder_length, 0);
    if (folder < 0) {
        if (unfinished >= 0) name_file(job, -1, unfinished, name, i, 0);
        return ZK_AGAIN;
    }
    const char *last = folder_length ? name + folder_length + 1 : name;
    return name_file(job, folder, unfinished < 0 ? folder : unfinished, last, i, keep) ? ZK_DONE : ZK_AGAIN;
}

/* One round through a batch: `phase` 0 writes, 1 gives names, 2 removes. What was done in a folder that is no longer at
 * its name counts for nothing. */
static void go_through(const zk_job *job, zk_place_on_disk *disk, int unfinished, int64_t n, const int64_t *rows,
                       uint8_t *statuses, int phase) {
    char name[ZK_MAX_PATH];
    int64_t since = 0; /* the first chunk in the folder that is open */
    for (int64_t i = 0; i < n; i++) {
        if ((phase && statuses[i] != ZK_DONE) || zk_name(job, rows, n, i, name) < 0) continue;
        const char *slash = strrchr(name, '/');
        int64_t length = slash ? slash - name : 0;
        int is_other = (int64_t)strlen(disk->path) != length || memcmp(disk->path, name, (size_t)length);
        if (disk->folder >= 0 && is_other) {
            if (!zk_folder_is_still_there(disk, job->root)) memset(statuses + since, ZK_AGAIN, (size_t)(i - since));
            since = i;
        }
        statuses[i] = (uint8_t)(phase ? name_chunk(job, disk, unfinished, i, name, length, phase == 1)
                                      : write_chunk(job, disk, unfinished, n, rows, i, name, length));
    }
    if (!zk_folder_is_still_there(disk, job->root)) memset(statuses + since, ZK_AGAIN, (size_t)(n - since));
}

/* Writes n chunks, those of which all is in the array and covered, or with job->fill those at its edge too. */
ZK_PUBLIC int zk_write(const zk_job *job, int64_t n, const int64_t *rows, uint8_t *statuses) {
    zk_place_on_disk disk;
    int unfinished = -1;
    for (int64_t i = 0; i < n; i++) statuses[i] = ZK_AGAIN;
    if (!zk_is_equipped(job) || (job->check && !job->unfinished)) return 0;
    int begun = zk_begin(&disk, job->root);
    if (begun && job->unfinished_folder) {
        unfinished = open(job->unfinished_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        begun = unfinished >= 0;
    }
    if (begun) {
        go_through(job, &disk, unfinished, n, rows, statuses, 0);
        if (job->check) go_through(job, &disk, unfinished, n, rows, statuses, ((zk_check)job->check)() ? 1 : 2);
    }
    if (unfinished >= 0) close(unfinished);
    zk_end(&disk);
    return begun;
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

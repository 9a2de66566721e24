/* A fuzz target for the kernel's writer: bytes as a batch of chunks, as what lies in the store before, and as what
 * others do there meanwhile. Built and run as fuzz.c is, and with
 *
 * -Wl,--wrap=fsync,--wrap=renameat,--wrap=mkdirat
 *
 * guided.c stands in for libFuzzer where there is none. What is written is compared with a slow way to do the same.
 * Nothing may get out of the store, no unfinished file may stay, and no descriptor. What is to be durable must have been
 * synced: files before they get their names, folders after that. */
#define _GNU_SOURCE
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int zk_write(const zk_job *, int64_t, const int64_t *, uint8_t *);
int64_t zk_pack(const zk_job *, int64_t, const int64_t *, uint8_t *, int64_t, int64_t, uint64_t *);

enum { NDIM = 2, MOST = 6, HEADER = 8 };
enum mischief { NOTHING, LINK_FOLDER, MOVE_FOLDER, FILE_FOR_FOLDER, MOVE_ROOT, REMOVE_SCRATCH, N_MISCHIEF };

static char base[64], root[96], scratch[96], outside[96], away[96];
static int mood, calls, when_to_act, what_to_do, allows;

#define REQUIRE(x)                                                    \
    do                                                                \
        if (!(x)) {                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);   \
            abort();                                                  \
        }                                                             \
    while (0)

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at) {
    (void)status, (void)kind, (void)at;
    return remove(path);
}

static void remove_all(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static int n_files, n_partial;
static int count_one(const char *path, const struct stat *status, int kind, struct FTW *at) {
    (void)status, (void)kind, (void)at;
    n_files++;
    n_partial += strstr(path, ".zarrds-partial") != NULL;
    return 0;
}

static void count(const char *path) {
    n_files = n_partial = 0;
    nftw(path, count_one, 16, FTW_PHYS);
}

static void path_of(char *path, const char *name) { snprintf(path, 512, "%s/%s", root, name); }

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0) return;
    if (write(fd, text, strlen(text)) < 0) abort();
    close(fd);
}

/* What was synced, and what got a name in which folder since that was synced; a disk of a bad mood says no. */
enum { MOST_NOTED = 64 };
static ino_t synced[MOST_NOTED], named[MOST_NOTED], named_in[MOST_NOTED];
static int n_synced, n_named, n_syncs, must_sync;

static int find(const ino_t *noted, int n, ino_t one) {
    for (int k = 0; k < n; k++)
        if (noted[k] == one) return k;
    return -1;
}

static ino_t number_of(int folder, const char *name) {
    struct stat status;
    return fstatat(folder, name, &status, name[0] ? AT_SYMLINK_NOFOLLOW : AT_EMPTY_PATH) < 0 ? 0 : status.st_ino;
}

static void note_name(int folder, const char *name) {
    REQUIRE(n_named < MOST_NOTED);
    named[n_named] = number_of(folder, name);
    named_in[n_named++] = number_of(folder, "");
}

int __wrap_fsync(int fd) {
    ino_t number = number_of(fd, "");
    if ((mood & 16) && n_syncs++ == (mood >> 5)) {
        errno = EIO;
        return -1;
    }
    for (int k; (k = find(named_in, n_named, number)) >= 0; n_named--)
        named[k] = named[n_named - 1], named_in[k] = named_in[n_named - 1];
    if (n_synced < MOST_NOTED) synced[n_synced++] = number;
    return 0;
}

int __real_renameat(int from, const char *old, int to, const char *name);
int __wrap_renameat(int from, const char *old, int to, const char *name) {
    ino_t number = number_of(from, old);
    REQUIRE(!must_sync || !number || find(synced, n_synced, number) >= 0);
    int failed = __real_renameat(from, old, to, name);
    if (!failed) note_name(to, name);
    return failed;
}

int __real_mkdirat(int folder, const char *name, mode_t mode);
int __wrap_mkdirat(int folder, const char *name, mode_t mode) {
    int failed = __real_mkdirat(folder, name, mode);
    if (!failed) note_name(folder, name);
    return failed;
}

/* What another process does in the middle of the batch. */
static void act(void) {
    char folder[512];
    if (calls++ != when_to_act) return;
    path_of(folder, "c");
    switch (what_to_do) {
    case LINK_FOLDER:
        if (rename(folder, away) == 0 && symlink(outside, folder) < 0) abort();
        break;
    case MOVE_FOLDER:
        rename(folder, away);
        break;
    case FILE_FOR_FOLDER:
        if (rename(folder, away) == 0) put(folder, "a file");
        break;
    case MOVE_ROOT:
        if (rename(root, away) == 0 && symlink(outside, root) < 0) abort();
        break;
    case REMOVE_SCRATCH:
        remove_all(scratch);
        break;
    default:
        break;
    }
}

static int check(void) {
    act();
    return allows;
}

/* The compressors: eight bytes, then all as it is. They may also fail in the ways that real ones do. */
static int64_t pack(const void *src, size_t n, void *dest, size_t room) {
    act();
    if (n + HEADER > room || (mood & 3) == 1) return 0;
    memset(dest, 7, HEADER);
    memcpy((char *)dest + HEADER, src, n);
    return (int64_t)n + HEADER;
}

static int blosc(int clevel, int shuffle, size_t typesize, size_t n, const void *src, void *dest, size_t room,
                 const char *cname, size_t blocksize, int nthreads) {
    (void)clevel, (void)shuffle, (void)typesize, (void)cname, (void)blocksize, (void)nthreads;
    return (mood & 7) == 3 ? -1 : (int)pack(src, n, dest, room);
}

static size_t zstd(void *dest, size_t room, const void *src, size_t n, int level) {
    (void)level;
    int64_t done = pack(src, n, dest, room);
    return done ? (size_t)done : (size_t)-70;
}

static int lz4(const char *src, char *dest, int n, int room, int acceleration) {
    (void)acceleration;
    return room < 0 ? 0 : (int)pack(src, (size_t)n, dest, (size_t)room);
}

/* What a chunk's file is to hold; its length, 0 where the chunk is not to be written. */
static int64_t expected(const zk_job *job, const int64_t *rows, int64_t n, int64_t i, uint8_t *to) {
    int64_t at = 0, count[NDIM], is_full = 1, index[NDIM];
    for (int d = 0; d < NDIM; d++) {
        int64_t many = zk_row(rows, n, d, ZK_COUNT, i);
        if (many <= 0) return 0;
        count[d] = many;
        is_full &= many == job->chunk[d];
    }
    if (!is_full && !job->fill) return 0;
    if (job->codec == ZK_LZ4)
        for (int k = 0; k < 4; k++) to[at++] = (uint8_t)(job->chunk_nbytes >> 8 * k);
    if (job->codec != ZK_NONE) memset(to + at, 7, HEADER), at += HEADER;
    for (int64_t k = 0; !is_full && k < job->chunk_nbytes; k += job->itemsize)
        memcpy(to + at + k, job->fill, (size_t)job->itemsize);
    for (index[0] = 0; index[0] < count[0]; index[0]++)
        for (index[1] = 0; index[1] < count[1]; index[1]++) {
            int64_t inside = 0, out = 0;
            for (int d = 0; d < NDIM; d++) {
                int64_t step = zk_row(rows, n, d, ZK_STEP, i), place, x = index[d];
                place = zk_row(rows, n, d, ZK_INSIDE, i) + x * step;
                inside = inside * job->chunk[d] + place;
                out += (zk_row(rows, n, d, ZK_OUT, i) + job->directions[d] * x) * job->strides[d];
                if (place < 0 || place >= job->chunk[d]) return 0;
            }
            if (out < 0 || out >= job->itemsize * job->shape[0] * job->shape[1]) return 0;
            memcpy(to + at + inside * job->itemsize, job->array + out, (size_t)job->itemsize);
        }
    at += job->chunk_nbytes;
    if (job->checksum) {
        uint32_t crc = zk_crc32c(to, (size_t)at);
        memcpy(to + at, &crc, 4);
        at += 4;
    }
    return at;
}

/* `n_durable` is of how many folders above a file it is to be on the disk what they hold. */
static void check_file(const char *name, const uint8_t *wanted, int64_t length, int n_durable) {
    char path[512];
    uint8_t found[4096];
    struct stat status;
    path_of(path, name);
    REQUIRE(lstat(path, &status) == 0 && S_ISREG(status.st_mode));
    int fd = open(path, O_RDONLY | O_NOFOLLOW);
    REQUIRE(fd >= 0 && read(fd, found, sizeof found) == length && !memcmp(found, wanted, (size_t)length));
    close(fd);
    if (n_durable) REQUIRE(find(synced, n_synced, status.st_ino) >= 0);
    while (n_durable-- && strlen(path) > strlen(root)) {
        REQUIRE(find(named, n_named, number_of(AT_FDCWD, path)) < 0);
        *strrchr(path, '/') = 0;
    }
}

/* What lies at the name of a chunk, or of its folder, before. */
static void put_obstacle(const char *name, int kind) {
    char path[512], folder[512];
    path_of(path, name);
    path_of(folder, "c");
    if (kind & 8) mkdir(folder, 0777);
    if (kind & 8 && strchr(name + 2, '/')) {
        *strrchr(path, '/') = 0;
        mkdir(path, 0777);
        path_of(path, name);
    }
    switch (kind & 7) {
    case 1: put(path, "old"); break;
    case 2: mkdir(path, 0777); break;
    case 3: if (symlink(outside, path) < 0) return; break;
    case 4: if (symlink("nowhere", path) < 0) return; break;
    case 5: if (symlink(outside, folder) < 0) return; break;
    case 6: put(folder, "a file"); break;
    default: break;
    }
}

static void begin_anew(void) {
    if (!base[0]) {
        snprintf(base, sizeof base, "/dev/shm/zarrds-fuzz-%d", (int)getpid());
        snprintf(root, sizeof root, "%s/store", base);
        snprintf(scratch, sizeof scratch, "%s/scratch", base);
        snprintf(outside, sizeof outside, "%s/outside", base);
        snprintf(away, sizeof away, "%s/away", base);
    }
    remove_all(base);
    if (mkdir(base, 0777) < 0 || mkdir(root, 0777) < 0 || mkdir(scratch, 0777) < 0 || mkdir(outside, 0777) < 0) abort();
}

static void fuzz_pack(zk_job *job, int64_t n, const int64_t *rows, int64_t room) {
    uint8_t *out = malloc((size_t)room + 1), wanted[4096];
    uint64_t ranges[2 * MOST];
    int64_t written = zk_pack(job, n, rows, out, room, 5, ranges), at = 0;
    REQUIRE(written <= room);
    for (int64_t i = 0; written >= 0 && i < n; i++) {
        int64_t length = expected(job, rows, n, i, wanted);
        REQUIRE(ranges[2 * i] == (uint64_t)at + 5 && ranges[2 * i + 1] == (uint64_t)length);
        REQUIRE(length && !memcmp(out + at, wanted, (size_t)length));
        at += length;
    }
    REQUIRE(written < 0 || at == written);
    free(out);
}

/* The first chunk that the writer answers for: what was named before another one acted, that one may have moved. */
static int64_t first_to_check(const zk_job *job, int64_t n, const int64_t *rows, char names[MOST][ZK_MAX_PATH]) {
    uint8_t any[4096];
    int64_t left = when_to_act, at = 0;
    zk_place place;
    if (job->check || job->sync) return 0; /* all are named after that */
    for (; at < n; at++) /* the compressor is called for those that can be written */
        if (names[at][0] && zk_locate(job, rows, n, at, &place) && expected(job, rows, n, at, any) && left-- == 0) break;
    for (; at > 0 && at < n; at--) { /* back to the first one in its folder */
        size_t length = names[at - 1][0] ? (size_t)(strrchr(names[at], '/') - names[at]) + 1 : 0;
        if (!strrchr(names[at], '/') || strncmp(names[at], names[at - 1], length)) break;
        if (length && strchr(names[at - 1] + length, '/')) break;
    }
    return at;
}

static void check_all(const zk_job *job, int64_t n, const int64_t *rows, const uint8_t *statuses, int acted, int has_made) {
    char names[MOST][ZK_MAX_PATH];
    uint8_t wanted[4096];
    for (int64_t i = 0; i < n; i++)
        if (zk_name(job, rows, n, i, names[i]) < 0) names[i][0] = 0;
    int64_t first = acted ? first_to_check(job, n, rows, names) : 0;
    for (int64_t i = 0; i < n; i++) {
        int is_last = 1;
        for (int64_t k = i + 1; k < n; k++) is_last &= strcmp(names[i], names[k]) != 0;
        REQUIRE(statuses[i] == ZK_DONE || statuses[i] == ZK_AGAIN);
        if (statuses[i] != ZK_DONE || !is_last) continue;
        int64_t length = expected(job, rows, n, i, wanted);
        REQUIRE(names[i][0] && length > 0 && (!job->check || allows));
        if (i >= first) check_file(names[i], wanted, length, !job->sync || acted ? 0 : has_made ? 1 : 9);
    }
    count(base);
    REQUIRE(n_partial == 0 || (acted && !job->unfinished_folder));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int64_t rows[NDIM * ZK_COLUMNS * MOST], chunk[NDIM], shape[NDIM], strides[NDIM], directions[NDIM];
    char fill[16];
    if (size < 24) return 0;
    int64_t n = 1 + data[0] % MOST, itemsize = 1 + data[1] % 9;
    for (int d = 0; d < NDIM; d++) {
        chunk[d] = 1 + data[2 + d] % 4;
        shape[d] = 1 + data[4 + d] % 9;
        directions[d] = data[6] >> d & 1 ? -1 : 1;
    }
    strides[1] = itemsize, strides[0] = itemsize * shape[1];
    memset(fill, 9, sizeof fill);
    mood = data[7], when_to_act = data[8] % 8, what_to_do = data[9] % N_MISCHIEF, allows = data[10] % 4 != 0, calls = 0;
    n_synced = n_named = n_syncs = 0, must_sync = data[13] >> 3 & 1;
    begin_anew();
    for (int d = 0; d < NDIM; d++) /* mostly rows that make sense */
        for (int64_t i = 0; i < n; i++) {
            const uint8_t *from = data + 16 + (i * NDIM + d) % (int64_t)(size - 23);
            int64_t at = from[1] % shape[d], most = directions[d] > 0 ? shape[d] - at : at + 1;
            int64_t whole = chunk[d] < most ? chunk[d] : most;
            int64_t row[ZK_COLUMNS] = {from[0] % 3, at, 0, 1, from[2] & 1 ? whole : 1 + from[2] % whole};
            if (from[3] > 240) row[from[3] % ZK_COLUMNS] = from[4] == 127 ? INT64_MAX : (int8_t)from[4];
            if (from[3] < 16) row[ZK_INSIDE] = from[4] % 4, row[ZK_STEP] = from[5] % 3;
            for (int c = 0; c < ZK_COLUMNS; c++) rows[(d * ZK_COLUMNS + c) * n + i] = row[c];
        }
    zk_job job = {.nbytes = sizeof job, .root = root, .prefix = data[11] & 1 ? "c/" : data[11] & 2 ? "c/a/" : "c.",
                  .separator = data[11] & 4 ? '/' : '.', .ndim = NDIM, .chunk = chunk, .itemsize = itemsize,
                  .chunk_nbytes = itemsize * chunk[0] * chunk[1], .shape = shape, .strides = strides,
                  .directions = directions, .codec = data[12] % 4, .checksum = data[12] >> 2 & 1,
                  .fill = data[12] & 8 ? fill : NULL, .unfinished = data[13] & 1 ? ".u" : NULL,
                  .unfinished_folder = data[13] & 2 ? scratch : NULL, .stamp = data[13] >> 2 & 1,
                  .sync = data[13] >> 3 & 1, .check = data[13] & 16 ? (void *)check : NULL};
    job.compress = job.codec == ZK_BLOSC ? (void *)blosc : job.codec == ZK_ZSTD ? (void *)zstd : (void *)lz4;
    size_t array_nbytes = (size_t)(itemsize * shape[0] * shape[1]);
    job.encoded_nbytes = mood & 64 ? 32 + data[14] % 64 : job.chunk_nbytes + 64;
    job.array = malloc(array_nbytes), job.encoded = malloc((size_t)job.encoded_nbytes);
    job.scratch = calloc(1, (size_t)job.chunk_nbytes);
    for (size_t k = 0; k < array_nbytes; k++) job.array[k] = (char)(k * 31 + data[15]);
    if (data[13] & 32) {
        what_to_do = NOTHING;
        fuzz_pack(&job, n, rows, data[14] * 4);
    } else {
        uint8_t statuses[MOST];
        char name[ZK_MAX_PATH];
        for (int64_t i = 0; i < 2 && i < n; i++)
            if (zk_name(&job, rows, n, i, name) >= 0 && job.unfinished) put_obstacle(name, data[size - 1 - (size_t)i]);
        int before = dup(0);
        close(before);
        count(outside);
        int n_outside = n_files;
        int answer = zk_write(&job, n, rows, statuses);
        int after = dup(0);
        close(after);
        count(outside);
        REQUIRE(before == after && n_files == n_outside);
        check_all(&job, n, rows, statuses, what_to_do != NOTHING && calls > when_to_act, answer == 2);
    }
    free(job.array);
    free(job.encoded);
    free(job.scratch);
    remove_all(base);
    return 0;
}

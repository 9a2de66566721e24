/* A libFuzzer target for the kernel's reader: bytes as a chunk's frame, and as the rows of a plan.
 *
 * clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -I zarrds/engine/kernel/native \
 *     tests/engine/native/fuzz.c zarrds/engine/kernel/native/{checksum,copy,frames,names,read,write}.c -o fuzz
 * ./fuzz -max_len=4096 -max_total_time=600
 *
 * All memory is as large as it must be and no larger, so that the sanitizers see each step too far. The compressors are
 * stand-ins that touch what the real ones may touch: of a frame all that its header says, and all of the result. */
#include "kernel.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile unsigned sink;

static int touch(const uint8_t *src, size_t length, char *dest, size_t n) {
    unsigned sum = 0;
    for (size_t i = 0; i < length; i++) sum += src[i];
    sink = sum;
    memset(dest, (int)sum, n);
    return (int)n;
}

static uint32_t get32(const uint8_t *data) {
    uint32_t x;
    memcpy(&x, data, 4);
    return x;
}

static int blosc(const void *src, void *dest, size_t destsize, int nthreads) {
    const uint8_t *data = src;
    uint32_t nbytes = get32(data + 4), blocksize = get32(data + 8), length = get32(data + 12);
    (void)nthreads;
    if (nbytes > destsize || !data[3] || !blocksize || blocksize > nbytes) abort(); /* it must have been refused */
    if (!(data[2] & 2) && data[2] >> 5 == 0) { /* BloscLZ: each split is read without a look at the end of the frame */
        for (uint32_t block = 0; block * (uint64_t)blocksize < nbytes; block++) {
            uint32_t left = nbytes - block * blocksize, at = get32(data + 16 + 4 * block);
            uint32_t n = data[2] & 16 || left < blocksize ? 1 : data[3];
            for (uint32_t i = 0; i < n; i++) {
                uint32_t size = get32(data + at);
                touch(data + at + 4, size, dest, 0);
                at += 4 + size;
            }
        }
    }
    return touch(data, length, dest, nbytes);
}

static size_t zstd(void *dest, size_t destsize, const void *src, size_t size) {
    return (size_t)touch(src, size, dest, destsize);
}

static int lz4(const char *src, char *dest, int size, int destsize) {
    return touch((const uint8_t *)src, (size_t)size, dest, (size_t)destsize);
}

static int pack(int clevel, int shuffle, size_t typesize, size_t nbytes, const void *src, void *dest, size_t destsize,
                const char *cname, size_t blocksize, int nthreads) {
    (void)clevel, (void)shuffle, (void)typesize, (void)cname, (void)blocksize, (void)nthreads;
    if (nbytes + 16 > destsize) return 0;
    touch(src, nbytes, dest, nbytes + 16);
    return (int)nbytes + 16;
}

enum { NDIM = 3, COUNT = 2, N_FILES = 3 };

static char root[64];

static void each_file(int is_made) {
    char path[128];
    if (is_made) mkdir(root, 0777);
    for (int k = 0; k < N_FILES * N_FILES * N_FILES; k++) {
        snprintf(path, sizeof path, "%s/%d.%d.%d", root, k / 9, k / 3 % 3, k % 3);
        int fd = is_made ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
        if (fd < 0) unlink(path);
        else if (write(fd, path, (size_t)(k * k % 97)) < 0 || close(fd) < 0) abort();
    }
    if (!is_made) rmdir(root);
}

static void remove_files(void) { each_file(0); }

static void make_files(void) { /* which are read, and never changed */
    snprintf(root, sizeof root, "/dev/shm/zarrds-fuzz-%d", (int)getpid());
    each_file(1);
    atexit(remove_files);
}

static void fuzz_frame(const uint8_t *data, size_t size) {
    static const int64_t one = 1;
    if (size < 4) return;
    int64_t nbytes = 1 + (data[0] | data[1] << 8) % 2048, n = (int64_t)size - 4;
    int64_t first = data[2] * nbytes / 256, stop = first + 1 + data[3] * (nbytes - first - 1) / 255;
    uint8_t *copy = malloc((size_t)(n + 8)), *frame = malloc((size_t)(n + 32));
    char *target = malloc((size_t)nbytes);
    for (int64_t codec = ZK_NONE; codec <= ZK_LZ4; codec++)
        for (int way = 0; way < 4; way++) {
            zk_job job = {.nbytes = sizeof job, .chunk = &nbytes, .ndim = 1, .itemsize = 1, .chunk_nbytes = nbytes,
                          .shape = &nbytes, .strides = &one, .directions = &one, .separator = '/', .codec = codec,
                          .checksum = way & 1, .in_blocks = way >> 1, .frame = frame, .encoded_nbytes = n + 32,
                          .decompress = codec == ZK_BLOSC ? (void *)blosc
                                        : codec == ZK_ZSTD ? (void *)zstd : (void *)lz4};
            int64_t length = n;
            uint8_t *exact = malloc((size_t)(n + 4 * job.checksum) + 1);
            memcpy(exact, data + 4, (size_t)n);
            if (job.checksum) { /* a right one, else nothing behind it is tried */
                uint32_t crc = zk_crc32c(exact, (size_t)n);
                memcpy(exact + n, &crc, 4);
                length += 4;
            }
            exact = realloc(exact, (size_t)length ? (size_t)length : 1);
            zk_decode(&job, exact, length, target, way & 2 ? first : 0, way & 2 ? stop : nbytes);
            free(exact);
        }
    free(copy);
    free(frame);
    free(target);
}

static void fuzz_rows(const uint8_t *data, size_t size) {
    int64_t rows[NDIM * ZK_COLUMNS * COUNT], chunk[NDIM], shape[NDIM], strides[NDIM], directions[NDIM];
    int64_t itemsize, total;
    char fill[16] = {0};
    if (size < 16) return;
    if (!root[0]) make_files();
    itemsize = 1 + data[0] % 16;
    for (int d = 0; d < NDIM; d++) {
        chunk[d] = 1 + data[1 + d] % 6;
        shape[d] = data[4 + d] % 9;
        directions[d] = data[7] >> d & 1 ? 1 : -1;
    }
    for (int d = NDIM - 1, s = 1; d >= 0; d--) strides[d] = s * itemsize, s *= (int)shape[d];
    total = itemsize * chunk[0] * chunk[1] * chunk[2];
    size_t array_nbytes = (size_t)(itemsize * shape[0] * shape[1] * shape[2]);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        int8_t small = (int8_t)data[8 + k % (size - 8)];
        rows[k] = small == 127 ? INT64_MAX : small == -128 ? INT64_MIN : small % 10;
    }
    zk_job job = {.nbytes = sizeof job, .root = root, .prefix = "", .separator = data[7] & 32 ? '/' : '.',
                  .ndim = NDIM, .chunk = chunk, .itemsize = itemsize, .chunk_nbytes = total, .shape = shape,
                  .strides = strides, .directions = directions, .codec = data[7] & 64 ? ZK_LZ4 : ZK_NONE, .encoded_nbytes = total + 32, .decompress = (void *)lz4,
                  .fill = data[7] & 8 ? fill : NULL, .compress = (void *)pack};
    uint8_t statuses[COUNT];
    int64_t identities[3 * COUNT], ranges[2 * COUNT];
    for (int k = 0; k < 2 * COUNT; k++) {
        int8_t small = (int8_t)data[size - 1 - k];
        ranges[k] = small == 127 ? INT64_MAX : small == -128 ? INT64_MIN : small;
    }
    job.array = malloc(array_nbytes ? array_nbytes : 1);
    memset(job.array, 1, array_nbytes ? array_nbytes : 1);
    job.encoded = malloc((size_t)job.encoded_nbytes);
    job.scratch = calloc(1, (size_t)total);
    char *chunk_memory = calloc(1, (size_t)total);
    uint64_t chunks[COUNT] = {(uint64_t)(uintptr_t)chunk_memory, 0};
    zk_place place;
    for (int64_t i = 0; i < COUNT; i++)
        if (zk_locate(&job, rows, COUNT, i, &place)) {
            zk_scatter(&place, chunk_memory);
            zk_gather(&place, job.scratch);
        }
    extern int zk_copy(const zk_job *, int64_t, const int64_t *, const uint64_t *, uint8_t *);
    extern int zk_read(const zk_job *, int64_t, const int64_t *, const uint64_t *, int64_t *, uint8_t *);
    extern int zk_read_ranges(const zk_job *, int64_t, const int64_t *, const int64_t *, const uint64_t *,
                              int64_t *, uint8_t *);
    extern int zk_identify(const zk_job *, int64_t, const int64_t *, int64_t *, uint8_t *);
    zk_copy(&job, COUNT, rows, chunks, statuses);
    if (data[7] & 16) {
        zk_read(&job, COUNT, rows, data[size - 5] & 1 ? chunks : NULL, identities, statuses);
        zk_identify(&job, COUNT, rows, identities, statuses);
        job.grid = chunk;
        zk_read_ranges(&job, COUNT, rows, ranges, data[size - 5] & 2 ? chunks : NULL, identities, statuses);
    }
    free(job.array);
    free(job.encoded);
    free(job.scratch);
    free(chunk_memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    (data[0] & 1 ? fuzz_frame : fuzz_rows)(data + 1, size - 1);
    return 0;
}

/* Between chunks and their places in an array in memory. */
#include "kernel.h"

#include <string.h>

static int product(const int64_t *sizes, int64_t n, int64_t itemsize, int64_t *result) {
    int64_t total = itemsize;
    for (int64_t i = 0; i < n; i++) {
        if (sizes[i] <= 0 || total > ZK_MAX_NBYTES / sizes[i]) return 0;
        total *= sizes[i];
    }
    *result = total;
    return 1;
}

/* Whether what all batches have in common makes sense. */
int zk_is_sound(const zk_job *job) {
    int64_t total;
    if (job->nbytes != (int64_t)sizeof(zk_job) || job->ndim < 0 || job->ndim > ZK_MAX_NDIM) return 0;
    if (job->itemsize <= 0 || job->itemsize > ZK_MAX_NBYTES) return 0;
    if (!product(job->chunk, job->ndim, job->itemsize, &total) || total != job->chunk_nbytes) return 0;
    if (total > ZK_MAX_NBYTES) return 0;
    for (int64_t d = 0; d < job->ndim; d++) {
        if (job->shape[d] < 0 || (job->directions[d] != 1 && job->directions[d] != -1)) return 0;
        if (job->grid && job->grid[d] <= 0) return 0;
    }
    return job->separator == '/' || job->separator == '.';
}

/* Whether there is also memory to work in. */
int zk_is_equipped(const zk_job *job) {
    return zk_is_sound(job) && job->encoded && job->scratch && job->encoded_nbytes >= 32 &&
           job->encoded_nbytes <= ZK_MAX_NBYTES;
}

/* Where a chunk's elements go, or come from; 0 if that lies outside of the chunk or the array. */
int zk_locate(const zk_job *job, const int64_t *rows, int64_t n, int64_t i, zk_place *place) {
    int64_t stride = job->itemsize, kept = 0;
    int64_t count[ZK_MAX_NDIM], inside[ZK_MAX_NDIM], out[ZK_MAX_NDIM];
    place->array = job->array;
    place->first = 0;
    place->last = job->itemsize - 1;
    for (int64_t d = job->ndim - 1; d >= 0; d--) {
        int64_t at = zk_row(rows, n, d, ZK_OUT, i), begin = zk_row(rows, n, d, ZK_INSIDE, i);
        int64_t step = zk_row(rows, n, d, ZK_STEP, i), many = zk_row(rows, n, d, ZK_COUNT, i);
        int64_t size = job->chunk[d], length = job->shape[d];
        if (many == INT64_MIN) return 0;
        if (many < 0) many = -many;
        if (many == 0 || many > size || begin < 0 || begin >= size) return 0;
        if (many == 1) step = 1;
        if (step <= 0 || step > size || (many - 1) > (size - 1 - begin) / step) return 0;
        if (at < 0 || at >= length) return 0;
        if (job->directions[d] > 0 ? many - 1 > length - 1 - at : many - 1 > at) return 0;
        count[d] = many;
        inside[d] = step * stride;
        out[d] = job->directions[d] * job->strides[d];
        place->array += at * job->strides[d];
        place->first += begin * stride;
        place->last += (begin + (many - 1) * step) * stride;
        stride *= size;
    }
    /* the last dimensions together, as far as they lie together on both sides */
    place->run = job->itemsize;
    int64_t d = job->ndim - 1;
    while (d >= 0 && (count[d] == 1 || (inside[d] == place->run && out[d] == place->run))) place->run *= count[d--];
    for (; d >= 0; d--) {
        if (count[d] == 1) continue;
        place->count[kept] = count[d];
        place->inside[kept] = inside[d];
        place->out[kept++] = out[d];
    }
    place->n_axes = kept;
    return 1;
}

/* Whether the chunk lies whole and contiguous in the array. */
int zk_is_whole(const zk_job *job, const zk_place *place) {
    return place->n_axes == 0 && place->run == job->chunk_nbytes;
}

#define COPY(T)                                                     \
    for (int64_t k = 0; k < n; k++) {                               \
        memcpy(to, from, sizeof(T)); /* of a size that is known */  \
        to += to_stride, from += from_stride;                       \
    }                                                               \
    break

enum { LINES_AHEAD = 4, MOST_AHEAD = 1024 };
#if defined(__GNUC__)
#define ZK_PREFETCH(at) __builtin_prefetch((const void *)(at), 1)
#else
#define ZK_PREFETCH(at) ((void)0)
#endif

/* Lines that lie apart are asked for early: no processor foresees them. A size that is known needs no call. */
#define LINES(size)                                                                                          \
    for (int64_t k = 0; k < n; k++) {                                                                        \
        for (int64_t at = 0; at < ahead; at += 64) ZK_PREFETCH((intptr_t)to + LINES_AHEAD * to_stride + at); \
        memcpy(to, from, size);                                                                              \
        to += to_stride, from += from_stride;                                                                \
    }                                                                                                        \
    break

static void copy_line(char *to, int64_t to_stride, const char *from, int64_t from_stride, int64_t n, int64_t run) {
    int64_t ahead = to_stride == run ? 0 : run < MOST_AHEAD ? run : MOST_AHEAD;
    switch (run) {
    case 1: COPY(uint8_t);
    case 2: COPY(uint16_t);
    case 4: COPY(uint32_t);
    case 8: COPY(uint64_t);
    case 16: COPY(uint64_t[2]);
    case 32: LINES(32);
    case 64: LINES(64);
    default: LINES((size_t)run);
    }
}

static void copy(const zk_place *place, char *to, const int64_t *to_strides, const char *from,
                 const int64_t *from_strides) {
    int64_t counter[ZK_MAX_NDIM] = {0};
    if (place->n_axes == 0) {
        memcpy(to, from, (size_t)place->run);
        return;
    }
    for (;;) { /* axis 0 is the innermost */
        copy_line(to, to_strides[0], from, from_strides[0], place->count[0], place->run);
        int64_t d = 1;
        for (; d < place->n_axes; d++) {
            to += to_strides[d];
            from += from_strides[d];
            if (++counter[d] < place->count[d]) break;
            to -= place->count[d] * to_strides[d];
            from -= place->count[d] * from_strides[d];
            counter[d] = 0;
        }
        if (d == place->n_axes) return;
    }
}

/* From a chunk, contiguous in memory, to its place in the array. */
void zk_scatter(const zk_place *place, const char *chunk) {
    copy(place, place->array, place->out, chunk + place->first, place->inside);
}

/* The other way. */
void zk_gather(const zk_place *place, char *chunk) {
    copy(place, chunk + place->first, place->inside, place->array, place->out);
}

/* The native kernel: chunks of an array <-> files below a folder, a batch at a time.
 *
 * It keeps nothing between two calls, starts no thread, takes no lock and formats no error. What it cannot do plainly it
 * leaves to the caller, who is told so by a status for each chunk. All that comes from a file is hostile until it was
 * checked; all that comes from the caller is checked as far as memory depends on it. */
#ifndef ZARRDS_KERNEL_H
#define ZARRDS_KERNEL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define ZK_ABI 4
#define ZK_MAX_NDIM 32
#define ZK_MAX_PATH 4096
/* Neither chunks nor what they are encoded to are larger: all sizes fit an int, and sums of two of them as well. */
#define ZK_MAX_NBYTES (1 << 30)

enum zk_status { ZK_DONE = 0, ZK_ABSENT = 1, ZK_AGAIN = 2 };
enum zk_codec { ZK_NONE = 0, ZK_BLOSC = 1, ZK_ZSTD = 2, ZK_LZ4 = 3 };

typedef int (*zk_blosc_decompress)(const void *src, void *dest, size_t destsize, int nthreads);
typedef int (*zk_blosc_compress)(int clevel, int shuffle, size_t typesize, size_t nbytes, const void *src, void *dest,
                                 size_t destsize, const char *cname, size_t blocksize, int nthreads);
typedef size_t (*zk_zstd_decompress)(void *dest, size_t destsize, const void *src, size_t size);
typedef size_t (*zk_zstd_compress)(void *dest, size_t destsize, const void *src, size_t size, int level);
typedef int (*zk_check)(void);
typedef int (*zk_lz4_decompress)(const char *src, char *dest, int size, int destsize);
typedef int (*zk_lz4_compress)(const char *src, char *dest, int size, int destsize, int acceleration);

/* What all batches of one read or write have in common; every member has eight bytes. */
typedef struct {
    int64_t nbytes; /* of this structure */
    /* names: prefix, then the chunk's numbers with separators between them */
    const char *root;
    const char *prefix;
    int64_t separator;
    int64_t ndim;
    const int64_t *grid; /* inner chunks of a shard, along each dimension; or NULL */
    /* chunks */
    const int64_t *chunk; /* elements along each dimension */
    int64_t itemsize;
    int64_t chunk_nbytes;
    /* the array in memory */
    char *array;
    const int64_t *shape;
    const int64_t *strides;    /* bytes */
    const int64_t *directions; /* 1, or -1 where it runs against the chunks */
    /* codecs */
    int64_t codec;
    int64_t checksum; /* whether a CRC32C stands behind the rest */
    void *decompress;
    void *compress;
    const char *cname;
    int64_t level; /* Blosc's clevel, Zstandard's level, LZ4's acceleration */
    int64_t shuffle;
    int64_t typesize;
    int64_t blocksize;
    int64_t in_blocks; /* whether of a Blosc frame only the blocks that are wanted need be decoded */
    /* memory for one batch at a time */
    uint8_t *encoded;
    int64_t encoded_nbytes;
    uint8_t *frame; /* of encoded_nbytes, if in_blocks */
    char *scratch;  /* of chunk_nbytes */
    /* writing */
    const char *fill;  /* one element: what chunks hold outside of the array; or NULL */
    const char *unfinished; /* how names of unfinished files begin; NULL to write files under their own names at once */
    const char *unfinished_folder; /* where these are, if not beside the files; or NULL */
    int64_t stamp;  /* whether each file gets a time of its own */
    int64_t sync;   /* whether it must be on the disk before it gets its name, and its name when the call returns; the
                     * folders above new folders are left to the caller, who is told that some were made */
    void *check;    /* called when all files of a batch are there, before they get their names: 0 removes them; or NULL */
} zk_job;

/* Rows of a plan: for each dimension five rows of n integers, see Table.rows in zarrds/engine/planning/tables.py. */
enum { ZK_NUMBER = 0, ZK_OUT = 1, ZK_INSIDE = 2, ZK_STEP = 3, ZK_COUNT = 4, ZK_COLUMNS = 5 };

static inline int64_t zk_row(const int64_t *rows, int64_t n, int64_t axis, int column, int64_t i) {
    return rows[(axis * ZK_COLUMNS + column) * n + i];
}

/* copy.c */
typedef struct {
    int64_t n_axes;
    int64_t count[ZK_MAX_NDIM], inside[ZK_MAX_NDIM], out[ZK_MAX_NDIM]; /* strides in bytes */
    int64_t run;          /* bytes that lie together on both sides */
    int64_t first, last;  /* the first and the last byte that is wanted of the chunk */
    char *array;          /* where the first element goes */
} zk_place;

int zk_is_sound(const zk_job *job);
int zk_is_equipped(const zk_job *job);
int zk_locate(const zk_job *job, const int64_t *rows, int64_t n, int64_t i, zk_place *place);
int zk_is_whole(const zk_job *job, const zk_place *place);
void zk_scatter(const zk_place *place, const char *chunk);
void zk_gather(const zk_place *place, char *chunk);

/* checksum.c */
int zk_has_crc32c(void);
uint32_t zk_crc32c(const uint8_t *data, size_t n);

/* frames.c */
int zk_decode(const zk_job *job, uint8_t *data, int64_t length, char *target, int64_t first, int64_t stop);
int64_t zk_encode(const zk_job *job, const char *chunk);

/* names.c */
typedef struct {
    int root;
    int folder; /* the one that was used last, -1 if there is none */
    int made; /* whether folders were made */
    int has_openat2;
    struct stat opened; /* the root, when it was opened */
    char path[ZK_MAX_PATH]; /* of that folder */
} zk_place_on_disk;

int zk_begin(zk_place_on_disk *disk, const char *root);
void zk_end(zk_place_on_disk *disk);
void zk_close_folder(zk_place_on_disk *disk);
int64_t zk_name(const zk_job *job, const int64_t *rows, int64_t n, int64_t i, char *name);
int zk_open_below(zk_place_on_disk *disk, const char *name, int flags);
int zk_open_folder(zk_place_on_disk *disk, const char *name, int64_t length, int make);
int zk_folder_is_still_there(zk_place_on_disk *disk, const char *root);
int zk_sync(int fd);
int zk_sync_folder(zk_place_on_disk *disk);

/* what the caller calls */
#if defined(__GNUC__)
#define ZK_PUBLIC __attribute__((visibility("default")))
#else
#define ZK_PUBLIC
#endif
#endif

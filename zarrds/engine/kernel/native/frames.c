/* A chunk's bytes -> its elements, and back. The checks of headers are those of zarrds/codecs/blosc.py and
 * zarrds/codecs/compressors.py: what is accepted here is accepted there. */
#include "kernel.h"

#include <string.h>

enum { HEADER = 16, MEMCPYED = 0x02, DONT_SPLIT = 0x10, BLOSCLZ = 0, CODEC_SHIFT = 5 };

static int64_t get32(const uint8_t *data) {
    return (int64_t)((uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24);
}

static int64_t get_signed(const uint8_t *data) {
    int64_t value = get32(data);
    return value > INT32_MAX ? value - ((int64_t)1 << 32) : value;
}

static void put32(uint8_t *data, int64_t value) {
    for (int i = 0; i < 4; i++) data[i] = (uint8_t)((uint64_t)value >> 8 * i & 0xff);
}

/* Refuses splits that claim to be larger compressed than not: c-blosc 1.21 reads out of bounds there (issue 405). */
static int has_sound_splits(const uint8_t *data, int64_t length, int64_t nbytes, int64_t blocksize) {
    int flags = data[2], typesize = data[3];
    int64_t n_blocks = (nbytes + blocksize - 1) / blocksize;
    if (n_blocks > (length - HEADER) / 4) return 0;
    for (int64_t block = 0; block < n_blocks; block++) {
        int64_t left = nbytes - block * blocksize, position = get_signed(data + HEADER + 4 * block);
        int64_t n_splits = flags & DONT_SPLIT || left < blocksize ? 1 : typesize;
        int64_t split = (left < blocksize ? left : blocksize) / n_splits;
        for (int64_t i = 0; i < n_splits; i++) {
            if (position <= 0 || position > length - 4) return 0;
            int64_t size = get_signed(data + position), room = length - position - 4;
            if (size <= 0 || size > split || size > room) return 0;
            position += 4 + size;
        }
    }
    return 1;
}

/* Whether a Blosc frame may be decoded, to `nbytes` bytes. */
static int is_sound_frame(const uint8_t *data, int64_t length, int64_t nbytes) {
    if (length < HEADER || nbytes <= 0 || data[0] != 2) return 0;
    int flags = data[2], typesize = data[3];
    int64_t blocksize = get32(data + 8);
    if (get32(data + 4) != nbytes || get32(data + 12) != length) return 0;
    if (blocksize <= 0 || blocksize > nbytes || !typesize) return 0;
    if (flags & MEMCPYED) return length == nbytes + HEADER;
    return flags >> CODEC_SHIFT != BLOSCLZ || has_sound_splits(data, length, nbytes, blocksize);
}

/* Makes a frame of those blocks of a sound one that hold the bytes from `first` to `stop`, at `frame`.
 * Its length; 0 if the frame is to be decoded as it is: it takes all blocks, they are stored as they are, or it is
 * damaged. `begin` and `nbytes` say where in the whole the blocks begin, and how much they decode to. */
static int64_t frame_of_blocks(const uint8_t *data, int64_t length, int64_t first, int64_t stop, uint8_t *frame,
                               int64_t room, int64_t *begin, int64_t *nbytes) {
    int64_t total = get32(data + 4), blocksize = get32(data + 8);
    int64_t n_blocks = (total + blocksize - 1) / blocksize;
    int64_t from = first / blocksize, to = (stop - 1) / blocksize + 1, n = to - from;
    int64_t table_stop = HEADER + 4 * n_blocks;
    if (n <= 0 || n == n_blocks || to > n_blocks || data[2] & MEMCPYED || table_stop > length) return 0;
    int64_t written = HEADER + 4 * n;
    if (written > room) return 0;
    for (int64_t block = from; block < to; block++) {
        int64_t start = get_signed(data + HEADER + 4 * block), end = length;
        if (start < table_stop || start >= length) return 0;
        /* blocks lie in any order: each ends where the next one begins */
        for (int64_t other = 0; other < n_blocks; other++) {
            int64_t bound = get_signed(data + HEADER + 4 * other);
            if (bound > start && bound < end) end = bound;
        }
        /* blocks that share bytes would make the frame larger than all that it is made of */
        if (end - start > room - written || written + (end - start) > length) return 0;
        put32(frame + HEADER + 4 * (block - from), written);
        memcpy(frame + written, data + start, (size_t)(end - start));
        written += end - start;
    }
    *begin = from * blocksize;
    *nbytes = (to * blocksize < total ? to * blocksize : total) - *begin;
    memcpy(frame, data, HEADER);
    if (*nbytes < blocksize) { /* the last block alone, which Blosc never splits because it is a short one */
        frame[2] |= DONT_SPLIT;
        blocksize = *nbytes;
    }
    put32(frame + 4, *nbytes);
    put32(frame + 8, blocksize);
    put32(frame + 12, written);
    return written;
}

/* The most blocks of a frame of which only some are decoded: to find where one ends, all are looked at. */
enum { MAX_BLOCKS = 512 };

static int decode_blosc(const zk_job *job, const uint8_t *data, int64_t length, char *target, int64_t first,
                        int64_t stop) {
    zk_blosc_decompress decompress = (zk_blosc_decompress)job->decompress;
    int64_t nbytes = job->chunk_nbytes, begin = 0;
    if (!is_sound_frame(data, length, nbytes)) return 0;
    if (job->in_blocks && job->frame && nbytes / get32(data + 8) < MAX_BLOCKS) {
        int64_t part =
            frame_of_blocks(data, length, first, stop, job->frame, job->encoded_nbytes, &begin, &nbytes);
        if (part) {
            data = job->frame;
            length = part;
        } else {
            nbytes = job->chunk_nbytes;
            begin = 0;
        }
        if (!is_sound_frame(data, length, nbytes)) return 0;
    }
    return decompress(data, target + begin, (size_t)nbytes, 1) == nbytes;
}

static int decode_zstd(const zk_job *job, const uint8_t *data, int64_t length, char *target) {
    zk_zstd_decompress decompress = (zk_zstd_decompress)job->decompress;
    static const uint8_t magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    if (length < 6 || memcmp(data, magic, 4)) return 0;
    int descriptor = data[4], is_single = descriptor & 0x20, n = descriptor >> 6;
    int64_t size_bytes = n ? 1 << n : is_single ? 1 : 0;
    int64_t start = 5 + (is_single ? 0 : 1) + (descriptor & 3 ? 1 << ((descriptor & 3) - 1) : 0);
    if (!size_bytes || size_bytes > 4 || start + size_bytes > length) return 0;
    int64_t told = 0;
    for (int64_t i = 0; i < size_bytes; i++) told |= (int64_t)data[start + i] << 8 * i;
    if (size_bytes == 2) told += 256;
    if (told != job->chunk_nbytes) return 0;
    return decompress(target, (size_t)job->chunk_nbytes, data, (size_t)length) == (size_t)job->chunk_nbytes;
}

static int decode_lz4(const zk_job *job, const uint8_t *data, int64_t length, char *target) {
    zk_lz4_decompress decompress = (zk_lz4_decompress)job->decompress;
    if (length < 5 || get_signed(data) != job->chunk_nbytes) return 0; /* the size stands before the frame */
    int64_t n = decompress((const char *)data + 4, target, (int)(length - 4), (int)job->chunk_nbytes);
    return n == job->chunk_nbytes;
}

/* Decodes a chunk to `target`, of chunk_nbytes, if that is plainly possible. Only the bytes from `first` to `stop` are
 * wanted; of the others some may be left as they were. */
int zk_decode(const zk_job *job, uint8_t *data, int64_t length, char *target, int64_t first, int64_t stop) {
    if (job->checksum) {
        length -= 4;
        if (length < 0 || zk_crc32c(data, (size_t)length) != (uint32_t)get32(data + length)) return 0;
    }
    switch (job->codec) {
    case ZK_NONE:
        if (length != job->chunk_nbytes) return 0;
        memcpy(target + first, data + first, (size_t)(stop - first));
        return 1;
    case ZK_BLOSC:
        return decode_blosc(job, data, length, target, first, stop);
    case ZK_ZSTD:
        return decode_zstd(job, data, length, target);
    case ZK_LZ4:
        return decode_lz4(job, data, length, target);
    default:
        return 0;
    }
}

/* Encodes a chunk to job->encoded; the length, 0 if that is not possible. */
int64_t zk_encode(const zk_job *job, const char *chunk) {
    int64_t n = 0, nbytes = job->chunk_nbytes, room = job->encoded_nbytes - (job->checksum ? 4 : 0);
    switch (job->codec) {
    case ZK_NONE:
        if (nbytes > room) return 0;
        memcpy(job->encoded, chunk, (size_t)nbytes);
        n = nbytes;
        break;
    case ZK_BLOSC: /* with more room than that, what cannot be compressed would be stored in splits, and be larger */
        if (room > nbytes + HEADER) room = nbytes + HEADER;
        n = ((zk_blosc_compress)job->compress)((int)job->level, (int)job->shuffle, (size_t)job->typesize,
                                               (size_t)nbytes, chunk, job->encoded, (size_t)room, job->cname,
                                               (size_t)job->blocksize, 1);
        break;
    case ZK_ZSTD: {
        size_t written = ((zk_zstd_compress)job->compress)(job->encoded, (size_t)room, chunk, (size_t)nbytes,
                                                           (int)job->level);
        n = written <= (size_t)room ? (int64_t)written : 0; /* errors are very large sizes */
        break;
    }
    case ZK_LZ4:
        put32(job->encoded, nbytes);
        n = ((zk_lz4_compress)job->compress)(chunk, (char *)job->encoded + 4, (int)nbytes, (int)(room - 4),
                                             (int)job->level);
        n = n > 0 ? n + 4 : 0;
        break;
    default:
        return 0;
    }
    if (n <= 0 || n > room) return 0;
    if (job->checksum) {
        put32(job->encoded + n, zk_crc32c(job->encoded, (size_t)n));
        n += 4;
    }
    return n;
}

/* CRC32C (RFC 3720) by the processor's own instruction; without one the kernel leaves checksums to the caller. */
#include "kernel.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#define ZK_CRC __attribute__((target("sse4.2")))
#define ZK_CRC8(crc, x) ((uint32_t)_mm_crc32_u64((crc), (x)))
#define ZK_CRC1(crc, x) _mm_crc32_u8((crc), (x))

int zk_has_crc32c(void) { return __builtin_cpu_supports("sse4.2") != 0; }

#elif defined(__aarch64__) && (defined(__ARM_FEATURE_CRC32) || defined(__APPLE__))
#include <arm_acle.h>
#define ZK_CRC
#define ZK_CRC8(crc, x) __crc32cd((crc), (x))
#define ZK_CRC1(crc, x) __crc32cb((crc), (x))

int zk_has_crc32c(void) { return 1; }

#else

int zk_has_crc32c(void) { return 0; }

uint32_t zk_crc32c(const uint8_t *data, size_t n) {
    (void)data;
    (void)n;
    return 0;
}

#endif

#ifdef ZK_CRC
/* Three lanes at once: the instruction takes three cycles, but the next can begin after one. */
#define LANE 4096

/* What LANE bytes of zeros make of each bit of a checksum. */
static const uint32_t shifted[32] = {
    0xc2a5b65eu, 0x80a71a4du, 0x04a2426bu, 0x094484d6u, 0x128909acu, 0x25121358u,
    0x4a2426b0u, 0x94484d60u, 0x2d7cec31u, 0x5af9d862u, 0xb5f3b0c4u, 0x6e0b1779u,
    0xdc162ef2u, 0xbdc02b15u, 0x7e6c20dbu, 0xfcd841b6u, 0xfc5cf59du, 0xfd559dcbu,
    0xff474d67u, 0xfb62ec3fu, 0xf329ae8fu, 0xe3bf2befu, 0xc292212fu, 0x80c834afu,
    0x047c1fafu, 0x08f83f5eu, 0x11f07ebcu, 0x23e0fd78u, 0x47c1faf0u, 0x8f83f5e0u,
    0x1aeb9d31u, 0x35d73a62u,
};

static uint32_t shift(uint32_t crc) {
    uint32_t moved = 0;
    for (int bit = 0; bit < 32; bit++) moved ^= shifted[bit] & (0u - (crc >> bit & 1u));
    return moved;
}

static inline uint64_t load(const uint8_t *data) {
    uint64_t x;
    memcpy(&x, data, 8);
    return x;
}

ZK_CRC uint32_t zk_crc32c(const uint8_t *data, size_t n) {
    uint32_t crc = 0xffffffffu;
    while (n >= 3 * LANE) {
        uint32_t a = crc, b = 0, c = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            a = ZK_CRC8(a, load(data + i));
            b = ZK_CRC8(b, load(data + LANE + i));
            c = ZK_CRC8(c, load(data + 2 * LANE + i));
        }
        crc = shift(shift(a) ^ b) ^ c;
        data += 3 * LANE;
        n -= 3 * LANE;
    }
    for (; n >= 8; data += 8, n -= 8) crc = ZK_CRC8(crc, load(data));
    for (; n; data++, n--) crc = ZK_CRC1(crc, *data);
    return ~crc;
}
#endif

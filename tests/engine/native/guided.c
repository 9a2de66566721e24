/* Stands in for libFuzzer where there is only gcc: changes bytes, and keeps those that get to where none got before.
 *
 * flags="-g -O1 -std=gnu11 -fsanitize=address,undefined -fno-sanitize-recover=undefined -I zarrds/engine/kernel/native"
 * for f in checksum copy frames names read write; do gcc $flags -fsanitize-coverage=trace-pc -c zarrds/engine/kernel/native/$f.c; done
 * gcc $flags tests/engine/native/{guided,fuzz_write}.c {checksum,copy,frames,names,read,write}.o -o fuzz_write
 * ./fuzz_write RUNS SEED
 *
 * What fails is printed as hexadecimal digits, which may be given in the place of RUNS. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 256, CORPUS = 4096, SEEN = 1 << 13 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_cov_trace_pc(void);
void __sanitizer_set_death_callback(void (*)(void));

static struct {
    uint8_t size, data[MOST];
} corpus[CORPUS], now;
static unsigned char seen[SEEN], here[SEEN];
static uintptr_t last;
static uint64_t state;
static int n_seen;

/* Called by what was built with -fsanitize-coverage=trace-pc, at each step from one piece of code to another. */
void __sanitizer_cov_trace_pc(void) {
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);
    uintptr_t step = (pc ^ last >> 1) * 0x9e3779b1u >> 7 & (SEEN - 1);
    last = pc;
    if (here[step] < 255) here[step]++;
}

static uint32_t any(uint32_t below) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 16) % below;
}

static void tell(void) {
    fputs("\nfailing input: ", stderr);
    for (int i = 0; i < now.size; i++) fprintf(stderr, "%02x", now.data[i]);
    fputc('\n', stderr);
}

static void change(void) {
    static const uint8_t odd[] = {0, 1, 2, 4, 8, 16, 32, 64, 127, 128, 255};
    for (uint32_t k = 1 + any(6); k && now.size; k--) {
        uint32_t at = any(now.size);
        switch (any(6)) {
        case 0: now.data[at] ^= (uint8_t)(1u << any(8)); break;
        case 1: now.data[at] = (uint8_t)any(256); break;
        case 2: now.data[at] = odd[any(sizeof odd)]; break;
        case 3: now.data[at] = now.data[any(now.size)]; break;
        case 4: now.size = (uint8_t)(1 + any(MOST - 1)); break;
        default: now.data[at] = (uint8_t)(now.data[at] + any(7) - 3);
        }
    }
}

/* Whether the last run took a step, or took it as often, as none did before. */
static int is_new(void) {
    int found = 0;
    for (int i = 0; i < SEEN; i++) {
        int n = here[i];
        unsigned char class = n == 0 ? 0 : n == 1 ? 1 : n < 4 ? 2 : n < 16 ? 4 : 8;
        if (class & ~seen[i]) found = 1, n_seen++;
        seen[i] |= class;
    }
    return found;
}

static void run(void) {
    memset(here, 0, sizeof here);
    last = 0;
    uint8_t *exact = malloc(now.size ? now.size : 1);
    memcpy(exact, now.data, now.size);
    LLVMFuzzerTestOneInput(exact, now.size);
    free(exact);
}

int main(int argc, char **argv) {
    long runs = argc > 1 ? atol(argv[1]) : 10000;
    int n = 1;
    state = (argc > 2 ? (uint64_t)atol(argv[2]) : 1) * 0x9e3779b97f4a7c15u + 1;
    __sanitizer_set_death_callback(tell);
    if (argc == 2 && strlen(argv[1]) > 12) {
        for (const char *digits = argv[1]; sscanf(digits, "%2hhx", &now.data[now.size]) == 1; digits += 2) now.size++;
        run();
        return 0;
    }
    corpus[0].size = 64;
    for (int i = 0; i < 64; i++) corpus[0].data[i] = (uint8_t)any(256);
    for (long k = 0; k < runs; k++) {
        now = corpus[any((uint32_t)n)];
        change();
        run();
        if (is_new() && n < CORPUS) corpus[n++] = now;
    }
    printf("%ld runs, %d kinds of steps, %d inputs kept\n", runs, n_seen, n);
    return 0;
}

"""Decodes thousands of damaged chunks in a process of its own, which a crash would end: run by ``test_damage``.

Prints one line for each kind of exception that is not one of zarrds, then ``done``.
"""

from __future__ import annotations

import faulthandler
import random
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.codecs.cases import CASES, Array, Case, array_of, encoded, pipeline_of
from zarrds.codecs.pipeline import Pipeline
from zarrds.errors import ChunkError

NUMBERS = (0, 1, 2, 15, 16, 127, 128, 255, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


class Fuzz:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.failures: Counter[str] = Counter()

    def attempt(self, name: str, pipeline: Pipeline, data: bytes | bytearray) -> None:
        shape = pipeline.spec.shape
        # the memory around the destination shows what was written past its ends
        size, guard = max(pipeline.spec.nbytes or 0, 1), 64
        memory = np.full(size + 2 * guard, 0xA5, np.uint8)
        out = None
        if pipeline.in_place:
            out = memory[guard:-guard].view(pipeline.spec.dtype).reshape(shape)
        span = None
        if pipeline.has_blocks and self.random.random() < 0.5:
            start = self.random.randrange(size)
            span = start, self.random.randrange(start, size) + 1
        try:
            decoded = pipeline.decode(bytes(data), out, span)
            if decoded.shape != shape:
                raise AssertionError(f"shape {decoded.shape}")
            if decoded.size < 10_000:
                decoded.tolist()  # elements that cannot be made into objects show here
        except ChunkError:
            pass
        except Exception as error:
            self.failures[f"{name}: {type(error).__name__}: {str(error)[:100]}"] += 1
        if (memory[:guard] != 0xA5).any() or (memory[-guard:] != 0xA5).any():
            self.failures[f"{name}: wrote outside of its memory"] += 1

    def damaged(self, data: bytes) -> bytearray:
        chunk = bytearray(data)
        for _ in range(self.random.choice((1, 1, 2, 4))):
            match self.random.randrange(5):
                case 0 if chunk:
                    chunk[self.random.randrange(len(chunk))] ^= 1 << self.random.randrange(8)
                case 1 if chunk:
                    chunk[self.random.randrange(len(chunk))] = self.random.randrange(256)
                case 2 if len(chunk) > 4:
                    # lengths and counts stand at the front, mostly
                    at = self.random.randrange(min(len(chunk) - 3, 64))
                    number = self.random.choice((*NUMBERS, len(chunk), self.random.randrange(2**32)))
                    struct.pack_into("<I", chunk, at, number)
                case 3:
                    del chunk[self.random.randrange(len(chunk) + 1) :]
                case _:
                    at = self.random.randrange(len(chunk) + 1)
                    chunk[at:at] = self.random.randbytes(self.random.randrange(6))
        return chunk

    def forged_blosc(self, data: bytes) -> bytearray:
        """A frame with a header that passes as many checks as can be, and says something else."""
        chunk = bytearray(data)
        nbytes = struct.unpack_from("<I", data, 4)[0]
        for _ in range(self.random.choice((1, 1, 2, 3))):
            match self.random.randrange(6):
                case 0:
                    chunk[2] ^= 1 << self.random.randrange(8)  # flags and inner codec
                case 1:
                    chunk[3] = self.random.choice((0, 1, 2, 3, 4, 8, 16, 127, 128, 255))  # typesize
                case 2:
                    blocksize = self.random.choice(
                        (*NUMBERS, nbytes, nbytes - 1, nbytes // 2, self.random.randrange(nbytes))
                    )
                    struct.pack_into("<I", chunk, 8, blocksize)
                case 3 if len(chunk) >= 20:
                    # the start of a block, or what stands behind the starts: the size of a split
                    at = 16 + 4 * self.random.randrange(min(64, (len(chunk) - 16) // 4))
                    number = self.random.choice(
                        (*NUMBERS, len(chunk), len(chunk) - 4, self.random.randrange(2 * len(chunk)))
                    )
                    struct.pack_into("<I", chunk, at, number)
                case 4:
                    chunk[1] = self.random.randrange(256)
                case _:
                    chunk[self.random.randrange(16, len(chunk))] = self.random.randrange(256)
        if self.random.random() < 0.2:
            del chunk[self.random.randrange(16, len(chunk)) :]
        struct.pack_into("<I", chunk, 12, len(chunk))
        return chunk


def small_chunks() -> Iterator[tuple[str, Pipeline, bytes]]:
    for case in CASES:
        dtype = case.dtypes[0]
        for shape, content in (((40,), "ramp"), ((), "random"), ((6, 50), "constant")):
            pipeline = pipeline_of(case, dtype, shape)
            yield str(case), pipeline, encoded(pipeline, array_of(dtype, shape, content))


def frames_of_many_blocks() -> Iterator[tuple[str, Pipeline, bytes]]:
    for cname in ("blosclz", "lz4", "lz4hc", "zlib", "zstd"):
        for shuffle in ("noshuffle", "shuffle", "bitshuffle"):
            settings: dict[str, Any] = {
                "cname": cname, "clevel": 5, "shuffle": shuffle, "typesize": 4, "blocksize": 256
            }  # fmt: skip
            case = Case("blosc", settings)
            pipeline = pipeline_of(case, "<i4", (1000,))
            yield f"blocks of {case}", pipeline, encoded(pipeline, array_of("<i4", (1000,), "ramp"))


def large_blosc_frames() -> Iterator[tuple[str, Pipeline, bytes]]:
    """Frames of BloscLZ of more than 8 MB, on which c-blosc reads without looking (its issue 405)."""
    array: Array = np.random.default_rng(1).integers(0, 50, (9 * 2**20,), dtype=np.uint8).view("<i4")
    array[::7] = 3
    for blocksize in (0, 2**20, 9 * 2**20):
        for shuffle in ("noshuffle", "shuffle"):
            settings: dict[str, Any] = {
                "cname": "blosclz", "clevel": 5, "shuffle": shuffle, "typesize": 4, "blocksize": blocksize
            }  # fmt: skip
            case = Case("blosc", settings)
            pipeline = pipeline_of(case, "<i4", array.shape)
            yield f"large {case}", pipeline, encoded(pipeline, array)


def oversized_splits(seed: int) -> Iterator[tuple[Pipeline, bytes]]:
    """Frames of BloscLZ over 8 MB with one split, which claims to be larger compressed than not."""
    rng = np.random.default_rng(seed)
    n = 9 * 2**20
    pipeline = pipeline_of(Case("blosc", {"cname": "blosclz"}), "i1", (n,))
    for pattern in (1, 2, 5, n):
        body = np.resize(rng.integers(0, 256, pattern, dtype=np.uint8), n + n // 2).tobytes()
        header = struct.pack("<BBBBIII", 2, 1, 0x10, 1, n, n, 24 + len(body))
        yield pipeline, header + struct.pack("<II", 20, len(body)) + body


def main(seed: int, rounds: int) -> None:
    faulthandler.enable()
    fuzz = Fuzz(seed)
    for name, pipeline, data in small_chunks():
        forge: Callable[[bytes], bytearray] = fuzz.forged_blosc if "blosc" in name and len(data) > 16 else fuzz.damaged
        for i in range(rounds):
            fuzz.attempt(name, pipeline, (forge if i % 2 else fuzz.damaged)(data))
            if i % 8 == 0:
                fuzz.attempt(name, pipeline, fuzz.random.randbytes(fuzz.random.randrange(2 * len(data) + 1)))
    for name, pipeline, data in frames_of_many_blocks():
        for _ in range(2 * rounds):
            fuzz.attempt(name, pipeline, fuzz.forged_blosc(data))
    for name, pipeline, data in large_blosc_frames():
        for _ in range(rounds // 4):
            fuzz.attempt(name, pipeline, fuzz.forged_blosc(data))
    for pipeline, frame in oversized_splits(seed):
        fuzz.attempt("oversized split", pipeline, frame)
    for failure, times in fuzz.failures.items():
        print(times, failure)
    print("done")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

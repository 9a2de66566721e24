"""Small chunks that claim to be large, decoded in a process with little memory: run by ``test_damage``.

Prints the name of each that was not refused, or that took memory, then ``done``.
"""

from __future__ import annotations

import bz2
import lzma
import resource
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numcodecs.zstd import Zstd

from tests.codecs.cases import data_type
from zarrds.codecs.pipeline import build_pipeline
from zarrds.errors import ChunkError

HEADROOM = 192 * 2**20
LARGE = 2**30
FIXED, STRINGS = "<i4", "string"


def zeros_of(compressor: Any) -> bytes:
    """A gigabyte of zeros: one piece, compressed so that it can be repeated."""
    head = compressor.compress(bytes(1)) + compressor.flush(zlib.Z_FULL_FLUSH)
    piece = compressor.compress(bytes(2**22)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return bytes(head + piece * (LARGE // 2**22) + compressor.flush())


def zstd_without_size(runs: bool) -> bytes:
    """A frame of 8192 blocks of 128 KiB: each one byte repeated, or a compressed one of its own."""
    head = b"\x28\xb5\x2f\xfd" + bytes([0x00, 0x58])  # no size, a window of 2 MiB
    if runs:
        block = struct.pack("<I", 1 << 1 | 2**17 << 3)[:3] + b"\x07"
        last = struct.pack("<I", 1 | 1 << 1 | 2**17 << 3)[:3] + b"\x07"
        return head + block * 8191 + last
    # the only block of a frame of 128 KiB of a short pattern
    frame = bytes(Zstd(level=3).encode(b"ab" * 2**16))
    start = 5 + (0 if frame[4] & 0x20 else 1) + (1 if frame[4] & 0x20 else 0, 2, 4, 8)[frame[4] >> 6]
    header = int.from_bytes(frame[start : start + 3], "little")
    body = frame[start + 3 : start + 3 + (header >> 3)]
    assert header & 1
    return head + ((header & ~1).to_bytes(3, "little") + body) * 8191 + header.to_bytes(3, "little") + body


def bombs() -> Iterator[tuple[str, str, list[dict[str, Any]], bytes]]:
    """Name, data type, the codecs behind the serializer, and the chunk."""
    # many streams behind each other are as good as one where a gigabyte would take too long to make
    yield "zlib", FIXED, [{"name": "numcodecs.zlib"}], zeros_of(zlib.compressobj(9))
    yield "gzip", FIXED, [{"name": "gzip"}], zeros_of(zlib.compressobj(9, wbits=31))
    yield "bz2", FIXED, [{"name": "numcodecs.bz2"}], bz2.compress(bytes(2**24), 9) * 64
    yield "lzma", FIXED, [{"name": "numcodecs.lzma"}], lzma.compress(bytes(2**24), preset=0) * 64
    # a frame that says that its dictionary has 3 GiB
    alone = lzma.compress(bytes(4 * 8), lzma.FORMAT_ALONE)
    told = alone[:1] + struct.pack("<I", 3 * 2**30) + alone[5:]
    yield "lzma's dictionary", FIXED, [{"name": "numcodecs.lzma", "configuration": {"format": lzma.FORMAT_ALONE}}], told
    for dtype in (FIXED, STRINGS):
        told = b"\x28\xb5\x2f\xfd" + bytes([0xE0]) + struct.pack("<Q", LARGE) + b"\x01\x00\x00"
        yield f"zstd with a size, {dtype}", dtype, [{"name": "zstd"}], told
        told = struct.pack("<i", LARGE) + b"\x1f\x00" + b"\xff" * 50
        yield f"lz4, {dtype}", dtype, [{"name": "numcodecs.lz4"}], told
        for codec in range(5):
            header = struct.pack("<BBBBIII", 2, 1, codec << 5 | 0x10, 1, LARGE, LARGE, 40)
            yield (
                f"blosc {codec}, {dtype}",
                dtype,
                [{"name": "blosc"}],
                header + struct.pack("<III", 20, 4, 1) + bytes(12),
            )
    yield "zstd without a size, runs", FIXED, [{"name": "zstd"}], zstd_without_size(True)
    yield "zstd without a size, blocks", FIXED, [{"name": "zstd"}], zstd_without_size(False)
    yield "vlen's count", STRINGS, [], struct.pack("<I", 2**32 - 1) + bytes(40)
    yield "vlen's lengths", STRINGS, [], struct.pack("<II", 8, 2**32 - 1) + bytes(40)


def main() -> None:
    chunks = list(bombs())
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + HEADROOM, used + HEADROOM))
    for name, dtype, behind, chunk in chunks:
        serializer = {"name": "vlen-utf8"} if dtype == STRINGS else {"name": "bytes"}
        pipeline = build_pipeline([serializer, *behind], (8,), data_type(dtype))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            pipeline.decode(chunk)
        except ChunkError as error:
            # a decoder that ran out of memory had asked for it
            if isinstance(error.__cause__, MemoryError):
                print(name, "asked for too much memory")
        else:
            print(name, "was not refused")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if grown > 64 * 2**10:
            print(name, f"took {grown // 2**10} MiB")
    print("done")


if __name__ == "__main__":
    main()

"""The ``blosc`` codec, through python-blosc, with every header checked before C sees it.

Sources: Zarr v3 "Blosc codec" specification; c-blosc 1 chunk format (``README_CHUNK_FORMAT.rst``).
"""

from __future__ import annotations

import struct
import sys
from bisect import bisect_right
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
from types import ModuleType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from zarrds.codecs.base import (
    MAX_DECODED,
    MAX_EXPANSION,
    AnyArray,
    Buffer,
    Parts,
    Span,
    as_bytes,
    join,
    numcodecs_module,
)
from zarrds.errors import ChunkError, MetadataError
from zarrds.metadata.fields import JSONObject

__all__ = ["SHUFFLES", "Blosc"]


def _python_blosc() -> Any:
    """The module ``blosc``, without its tests, which it imports with itself, and with them unittest and psutil."""
    if "blosc" in sys.modules or "blosc.test" in sys.modules:
        return import_module("blosc")
    later = ModuleType("blosc.test")
    later.__dict__["run"] = lambda *args: import_module("blosc.test").run(*args)
    sys.modules["blosc.test"] = later
    try:
        return import_module("blosc")
    finally:
        del sys.modules["blosc.test"]  # who imports them by name gets them


blosc = _python_blosc()
# Threads are the workers' affair (zarrds.engine.executor): Blosc must let go of the GIL, and use one thread itself,
# because it would otherwise build a thread pool at every call. Both settings are python-blosc's, for the process.
blosc.set_releasegil(True)
blosc.set_nthreads(1)

# version, version of the inner codec, flags, typesize, nbytes, blocksize, cbytes
_HEADER = struct.Struct("<BBBBIII")
_START_NBYTES = 4  # of a block's start, an int32 in the table behind the header
# the codec's names of shuffles, and c-blosc's numbers
SHUFFLES = {"noshuffle": blosc.NOSHUFFLE, "shuffle": blosc.SHUFFLE, "bitshuffle": blosc.BITSHUFFLE}
_INNER_CODECS = ("blosclz", "lz4", "lz4hc", "zlib", "zstd")
_MAX_TYPESIZE = 255
# c-blosc's own limit, BLOSC_MAX_BUFFERSIZE
MAX_NBYTES = 2**31 - 1 - 16
_FLAG_MEMCPYED, _FLAG_DONT_SPLIT, _INNER_CODEC_SHIFT, _BLOSCLZ = 0x02, 0x10, 5, 0


@dataclass(frozen=True, slots=True)
class Blosc:
    """Blosc 1.

    Attributes
    ----------
    cname : {"blosclz", "lz4", "lz4hc", "zlib", "zstd"}
    clevel : int
        0 (store) to 9.
    shuffle : {"noshuffle", "shuffle", "bitshuffle"}
    typesize : int
        Bytes of an element, for the shuffle.
    blocksize : int
        Bytes; 0 leaves it to Blosc.
    refused : MetadataError or None
        Why nothing can be encoded.
    """

    cname: str
    clevel: int
    shuffle: str
    typesize: int
    blocksize: int = 0
    refused: MetadataError | None = None

    def __post_init__(self) -> None:
        if self.blocksize:
            numcodecs_module("blosc")  # not first in a thread: a fork in the middle of an import never ends

    @classmethod
    def from_configuration(cls, configuration: JSONObject, itemsize: int) -> Self:
        """Parse the codec's configuration; `itemsize` (bytes) serves where it names no typesize."""
        known = {"cname", "clevel", "shuffle", "typesize", "blocksize"}
        if unknown := configuration.keys() - known:
            raise MetadataError("unknown settings of the codec", codec="blosc", found=sorted(unknown))
        shuffle = configuration.get("shuffle", "shuffle")
        if isinstance(shuffle, int):  # numcodecs' numbers
            shuffle = {0: "noshuffle", 1: "shuffle", 2: "bitshuffle", -1: "autoshuffle"}.get(shuffle)
        typesize = configuration.get("typesize") or itemsize
        if shuffle == "autoshuffle":
            shuffle = "bitshuffle" if typesize == 1 else "shuffle"
        cname, clevel = configuration.get("cname", "lz4"), configuration.get("clevel", 5)
        blocksize = configuration.get("blocksize", 0)
        refused = None
        # types first: Python takes 5.0 for one of range(10), and a list for no key of a table at all
        if not (
            isinstance(cname, str)
            and cname in _INNER_CODECS
            and isinstance(shuffle, str)
            and shuffle in SHUFFLES
            and type(clevel) is int
            and clevel in range(10)
            and type(typesize) is int
            and typesize > 0
            and type(blocksize) is int
            and blocksize in range(MAX_NBYTES)
        ):
            # a frame says itself how it is decoded
            refused = MetadataError(
                "invalid settings of the codec",
                codec="blosc",
                expected=f"cname of {_INNER_CODECS}, clevel 0 to 9, shuffle of {tuple(SHUFFLES)}, blocksize in bytes",
                found=configuration,
            )
            cname, clevel, shuffle, typesize, blocksize = "lz4", 5, "shuffle", max(itemsize, 1), 0
        return cls(cname, clevel, shuffle, typesize if typesize <= _MAX_TYPESIZE else 1, blocksize, refused)

    def check_encoding(self) -> None:
        """Raise `MetadataError` for settings that only matter when something is encoded, and are wrong."""
        if self.refused is not None:
            raise self.refused

    def encoded_size(self, size: int | None) -> int | None:
        return None

    def encode(self, parts: Parts) -> Parts:
        self.check_encoding()
        data = as_bytes(join(parts))
        if data.nbytes > MAX_NBYTES:
            raise ChunkError("chunk is too large for Blosc", codec="blosc", expected=f"at most {MAX_NBYTES} bytes")
        typesize = self.typesize if data.nbytes % self.typesize == 0 else 1
        if self.blocksize:
            return (self._encode_with_blocksize(data, typesize),)
        address = data.__array_interface__["data"][0]
        shuffle = SHUFFLES[self.shuffle]
        return (blosc.compress_ptr(address, data.nbytes // typesize, typesize, self.clevel, shuffle, self.cname),)

    def _encode_with_blocksize(self, data: npt.NDArray[np.uint8], typesize: int) -> bytes:
        # python-blosc's block size is a setting of the process; numcodecs takes it per call
        from numcodecs import blosc as numcodecs_blosc

        encoded: bytes = numcodecs_blosc.compress(
            data, self.cname.encode("ascii"), self.clevel, SHUFFLES[self.shuffle], self.blocksize, typesize
        )
        return encoded

    def decode(self, data: Buffer, size: int | None) -> Buffer:
        out = np.empty(_check_frame(data, size), np.uint8)
        self.decode_into(data, out)
        return out.data

    def decode_into(self, data: Buffer, out: AnyArray, span: Span | None = None) -> None:
        """Decode a frame, or of a `span` those blocks that hold it, each to its place in `out`."""
        nbytes, begin = _check_frame(data, out.nbytes), 0
        found = None if span is None else _frame_of_blocks(data, *span)
        if found is not None:
            data, nbytes, begin = found
            _check_frame(data, nbytes)
        if nbytes == 0:
            return
        try:
            written = blosc.decompress_ptr(data, out.__array_interface__["data"][0] + begin)
        except blosc.blosc_extension.error as error:  # and no other: a signal's handler may raise what it likes
            raise ChunkError(f"chunk is damaged: {error}", codec="blosc") from error
        if written != nbytes:
            raise ChunkError("chunk is damaged", codec="blosc", expected=f"{nbytes} bytes", found=f"{written}")


def _frame_of_blocks(data: Buffer, start: int, stop: int) -> tuple[bytes, int, int] | None:
    """A frame of those blocks of a checked one that hold the bytes from `start` to `stop`.

    Returns
    -------
    (bytes, int, int) or None
        The frame, the bytes that it decodes to, and where in the whole these begin. None if the frame is to be decoded
        as it is: it takes all blocks, they are stored as they are, or it is damaged.
    """
    version, inner_version, flags, typesize, nbytes, blocksize, length = _HEADER.unpack_from(data)
    n_blocks = -(-nbytes // blocksize)
    first, stop_block = start // blocksize, (stop - 1) // blocksize + 1
    table_stop = _HEADER.size + _START_NBYTES * n_blocks
    if stop_block - first == n_blocks or flags & _FLAG_MEMCPYED or table_stop > length:
        return None
    starts = struct.unpack_from(f"<{n_blocks}i", data, _HEADER.size)
    wanted = starts[first:stop_block]
    if min(wanted) < table_stop or max(wanted) >= length:
        return None  # damaged: Blosc will say so
    # blocks lie in any order: each ends where the next one begins
    bounds = sorted((*starts, length))
    ends = [bounds[bisect_right(bounds, start)] for start in wanted]
    lengths = (end - start for start, end in zip(wanted, ends, strict=True))
    moved = list(accumulate(lengths, initial=_HEADER.size + _START_NBYTES * len(wanted)))
    if moved[-1] > length:
        return None  # blocks that share bytes: the frame would be larger than all that it is made of
    begin, end = first * blocksize, min(stop_block * blocksize, nbytes)
    if end - begin < blocksize:  # the last block alone, which Blosc never splits because it is a short one
        flags |= _FLAG_DONT_SPLIT
        blocksize = end - begin
    header = _HEADER.pack(version, inner_version, flags, typesize, end - begin, blocksize, moved[-1])
    view = memoryview(data)
    blocks = [view[a:b] for a, b in zip(wanted, ends, strict=True)]
    return b"".join((header, struct.pack(f"<{len(wanted)}i", *moved[:-1]), *blocks)), end - begin, begin


def _check_frame(data: Buffer, size: int | None) -> int:
    """The number of bytes that a frame decodes to, after all that makes it safe to decode was checked."""
    length = len(data)
    if length < _HEADER.size:
        raise ChunkError(
            "chunk is truncated", codec="blosc", expected=f"at least {_HEADER.size} bytes", found=f"{length} bytes"
        )
    version, _, flags, typesize, nbytes, blocksize, cbytes = _HEADER.unpack_from(data)
    if version != 2:
        raise ChunkError("chunk is no Blosc 1 frame", codec="blosc", expected="version 2", found=f"version {version}")
    if cbytes != length:
        raise ChunkError(
            "chunk is truncated or damaged", codec="blosc", expected=f"{cbytes} bytes", found=f"{length} bytes"
        )
    if nbytes != size if size is not None else nbytes > min(MAX_DECODED, MAX_EXPANSION * length):
        raise ChunkError(
            "chunk decodes to a wrong size",
            codec="blosc",
            expected="less" if size is None else f"{size} bytes",
            found=f"{nbytes} bytes",
        )
    if nbytes and not (0 < blocksize <= nbytes and typesize):
        raise ChunkError("chunk's header is damaged", codec="blosc", found=f"blocks of {blocksize} bytes")
    if flags & _FLAG_MEMCPYED:
        if length != nbytes + _HEADER.size:
            raise ChunkError("chunk's header is damaged", codec="blosc", expected=f"{nbytes + 16} bytes", found=length)
    elif nbytes and flags >> _INNER_CODEC_SHIFT == _BLOSCLZ:
        _check_blosclz_splits(data, flags, typesize, nbytes, blocksize)
    return int(nbytes)


def _check_blosclz_splits(data: Buffer, flags: int, typesize: int, nbytes: int, blocksize: int) -> None:
    """Refuse splits that claim to be larger compressed than not: c-blosc 1.21 reads out of bounds there (issue 405)."""
    length = len(data)
    n_blocks = -(-nbytes // blocksize)
    if _HEADER.size + 4 * n_blocks > length:
        raise ChunkError("chunk is damaged: it has no room for its blocks", codec="blosc")
    for block, start in enumerate(np.frombuffer(data, "<i4", n_blocks, _HEADER.size).tolist()):
        left = nbytes - block * blocksize
        n_splits = 1 if flags & _FLAG_DONT_SPLIT or left < blocksize else typesize
        split_size = min(left, blocksize) // n_splits
        position = start
        for _ in range(n_splits):
            if not 0 < position <= length - 4:
                raise ChunkError("chunk is damaged: a block lies outside of it", codec="blosc")
            (csize,) = struct.unpack_from("<i", data, position)
            if not 0 < csize <= min(split_size, length - position - 4):
                raise ChunkError("chunk is damaged: a block has an impossible size", codec="blosc", found=csize)
            position += 4 + csize

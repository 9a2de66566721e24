"""General compressors: gzip, zlib, bz2 and lzma through the standard library, zstd and lz4 through numcodecs.

Each is told how much may come out, so that a small forged chunk cannot fill the memory.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from zarrds.codecs.base import FREE_DECODED, MAX_DECODED, MAX_EXPANSION, MAX_RATIO, Buffer, Parts, as_bytes, join
from zarrds.errors import ChunkError, MetadataError
from zarrds.metadata.fields import JSONObject

__all__ = ["Compressor", "make_compressor"]

# bytes that the header of one chunk may have the LZMA decoder allocate
_LZMA_MEMORY = 2**28
# what the libraries raise for damaged bytes; all else is passed on, since a signal's handler may raise what it likes
_DAMAGED = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: Buffer, max_length: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Compressor:
    """A bytes → bytes codec made of two functions.

    Attributes
    ----------
    name : str
    compress : callable
        Bytes to bytes.
    decompress : callable
        Bytes and how many must come out (bytes; None if that is not known) to bytes, of which there may be up to one
        too many; raises one of `_DAMAGED` for damaged ones.
    refused : MetadataError or None
        Why nothing can be encoded.
    level : int or None
        Zstandard's level or LZ4's acceleration, where the encoded bytes depend on nothing else.
    """

    name: str
    compress: Callable[[Buffer], Buffer]
    decompress: Callable[[Buffer, int | None], Buffer]
    refused: MetadataError | None = None
    level: int | None = None

    def check_encoding(self) -> None:
        """Raise `MetadataError` for settings that only matter when something is encoded, and are wrong."""
        if self.refused is not None:
            raise self.refused

    def encoded_size(self, size: int | None) -> int | None:
        return None

    def encode(self, parts: Parts) -> Parts:
        self.check_encoding()
        return (self.compress(as_bytes(join(parts)).data),)

    def decode(self, data: Buffer, size: int | None) -> Buffer:
        try:
            decoded = self.decompress(data, size)
        except ChunkError:
            raise
        except _DAMAGED as error:
            if isinstance(error, OSError) and type(error) is not OSError:
                raise  # bz2 raises no other: a TimeoutError is that of a signal's handler
            raise ChunkError(f"chunk is damaged: {error}", codec=self.name) from error
        if size is not None and len(decoded) != size:
            raise ChunkError(
                "chunk decodes to a wrong size",
                codec=self.name,
                expected=f"{size} bytes",
                found=f"{'more' if len(decoded) > size else len(decoded)} bytes",
            )
        return decoded


def _bounded(name: str, make: Callable[[], _Decompressor]) -> Callable[[Buffer, int | None], bytes]:
    """Decompress all streams of a value, stopping one byte behind the size."""

    def decompress(data: Buffer, size: int | None) -> bytes:
        decoded: list[bytes] = []
        value = data
        left = (most_decoded(data) if size is None else size) + 1
        while True:
            decompressor = make()
            decoded.append(decompressor.decompress(data, left))
            left -= len(decoded[-1])
            if left <= 0:
                if size is None:
                    raise ChunkError(
                        "chunk decodes to too much", codec=name, expected=f"at most {most_decoded(value)} bytes"
                    )
                break
            if not decompressor.eof:
                raise ChunkError("chunk is truncated", codec=name)
            data = decompressor.unused_data
            if not data:
                break
        return b"".join(decoded)

    return decompress


def _limit(data: Buffer, size: int | None) -> int:
    """The most bytes that `data` may claim to hold."""
    return min(most_decoded(data), MAX_EXPANSION * len(data)) if size is None else size


def most_decoded(data: Buffer) -> int:
    """The most bytes that `data` may decode to where nothing tells how many they are."""
    return min(MAX_DECODED, max(FREE_DECODED, MAX_RATIO * len(data)))


def _checked_zstd(data: Buffer, size: int | None) -> Buffer:
    """A frame that can be decoded without more memory than it may need (RFC 8878, section 3.1.1)."""
    if len(data) < 6 or bytes(data[:4]) != b"\x28\xb5\x2f\xfd":
        raise ChunkError("chunk is no Zstandard frame", codec="zstd")
    descriptor = data[4]
    single_segment = bool(descriptor & 0x20)
    size_bytes = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    start = 5 + (0 if single_segment else 1) + (0, 1, 2, 4)[descriptor & 3]
    if len(data) < start + size_bytes:
        raise ChunkError("chunk is truncated", codec="zstd")
    if size_bytes:
        told = int.from_bytes(bytes(data[start : start + size_bytes]), "little") + (256 if size_bytes == 2 else 0)
        if told > _limit(data, size):
            raise ChunkError("chunk decodes to a wrong size", codec="zstd", expected=f"{size} bytes", found=told)
        return data
    if size is not None:
        # a frame that does not tell its size is told it, so that its decoder stops there
        head = bytes(data[:4]) + bytes([descriptor | 0xC0]) + bytes(data[5:start])
        return head + size.to_bytes(8, "little") + bytes(data[start:])
    # each block holds 128 KiB at the most
    position, n_blocks, last = start, 0, False
    while not last:
        if position + 3 > len(data):
            raise ChunkError("chunk is truncated", codec="zstd")
        header = int.from_bytes(bytes(data[position : position + 3]), "little")
        last, is_run = bool(header & 1), header >> 1 & 3 == 1
        position += 3 + (1 if is_run else header >> 3)
        n_blocks += 1
    if n_blocks * 2**17 > most_decoded(data):
        raise ChunkError("chunk decodes to too much", codec="zstd", expected=f"at most {most_decoded(data)} bytes")
    return data


def _zstd(level: int = 0, checksum: bool = False) -> Compressor:
    from numcodecs import zstd

    codec = zstd.Zstd(level=level, checksum=checksum)

    def decompress(data: Buffer, size: int | None) -> Buffer:
        decoded: bytes = codec.decode(_checked_zstd(data, size))
        return decoded

    return Compressor("zstd", codec.encode, decompress, level=None if checksum else level)


def _lz4(acceleration: int = 1) -> Compressor:
    from numcodecs import lz4

    codec = lz4.LZ4(acceleration=acceleration)

    def decompress(data: Buffer, size: int | None) -> Buffer:
        # the size stands before the frame
        if len(data) < 4 or not 0 <= struct.unpack_from("<i", data)[0] <= _limit(data, size):
            raise ChunkError("chunk decodes to a wrong size", codec="lz4", expected=f"{size} bytes")
        decoded: bytes = codec.decode(data)
        return decoded

    return Compressor("lz4", codec.encode, decompress, level=acceleration)


def _gzip(level: int = 1) -> Compressor:
    def compress(data: Buffer) -> bytes:
        stream = zlib.compressobj(level, wbits=31)
        return stream.compress(data) + stream.flush()

    return Compressor("gzip", compress, _bounded("gzip", lambda: zlib.decompressobj(wbits=31)))


def _zlib(level: int = 1) -> Compressor:
    return Compressor("zlib", lambda data: zlib.compress(data, level), _bounded("zlib", zlib.decompressobj))


def _bz2(level: int = 1) -> Compressor:
    return Compressor("bz2", lambda data: bz2.compress(data, level), _bounded("bz2", bz2.BZ2Decompressor))


def _lzma(
    format: int = lzma.FORMAT_XZ,  # noqa: A002  # the setting's name in a store
    check: int = -1,
    preset: int | None = None,
    filters: list[Any] | None = None,
) -> Compressor:
    # xz -9 needs 65 MiB to decode; a raw stream's filters stand in the metadata and are tried there
    raw = {"filters": filters} if format == lzma.FORMAT_RAW else {"memlimit": _LZMA_MEMORY}
    return Compressor(
        "lzma",
        lambda data: lzma.compress(data, format=format, check=check, preset=preset, filters=filters),
        _bounded("lzma", lambda: lzma.LZMADecompressor(format=format, **raw)),
    )


# what is wrong with these never stops a read (GDAL writes "checksum": "NO", and of LZMA a "delta")
_ONLY_FOR_ENCODING = frozenset({"level", "checksum", "acceleration", "delta"})
_MAKERS: dict[str, tuple[Callable[..., Compressor], dict[str, range | tuple[Any, ...] | None]]] = {
    # the settings that each understands, and their values
    "gzip": (_gzip, {"level": range(-1, 10)}),
    "zlib": (_zlib, {"level": range(-1, 10)}),
    "bz2": (_bz2, {"level": range(1, 10)}),
    "lzma": (_lzma, {"format": range(4), "check": range(-1, 17), "preset": None, "filters": None}),
    "zstd": (_zstd, {"level": range(-131072, 23), "checksum": (True, False)}),
    "lz4": (_lz4, {"acceleration": range(-(2**31), 2**31)}),
}


def make_compressor(name: str, configuration: JSONObject) -> Compressor:
    """The compressor `name` with the settings of its configuration.

    Raises
    ------
    MetadataError
        For settings that the compressor does not know, or values that it does not take; of settings that only matter
        for encoding, when something is encoded.
    """
    maker, settings = _MAKERS[name]
    refused = None
    known = {}
    for key, value in configuration.items():
        allowed = settings.get(key, ())
        if allowed is None or (isinstance(value, int) and value in allowed):
            known[key] = value
            continue
        error = MetadataError(f"invalid setting {key!r} of the codec", codec=name, found=f"{value!r:.80}")
        if key not in _ONLY_FOR_ENCODING:
            raise error
        refused = error
    try:
        compressor = maker(**known)
        # the settings that are not checked above are tried on nothing
        if None in settings.values():
            compressor.decode(join(compressor.encode((np.zeros(0, np.uint8).data,))), 0)
    except Exception as error:  # whatever a library says of settings that it refuses
        raise MetadataError(f"invalid settings of the codec: {error}", codec=name, found=dict(configuration)) from error
    return replace(compressor, refused=refused)

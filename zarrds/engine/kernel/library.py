"""The kernel's library, and the compressors' functions that it calls: found, tried, or left alone."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import crc32c
import numpy as np

__all__ = ["Check", "Compressor", "Job", "Library", "compressor", "library"]

_ABI = 4
_FILE = Path(__file__).with_name("native") / "kernel.so"

_P, _I = ctypes.c_void_p, ctypes.c_int64
Check = ctypes.CFUNCTYPE(ctypes.c_int)


class Job(ctypes.Structure):
    """What all batches of one read or write have in common; see ``native/kernel.h``."""

    _fields_ = (
        ("nbytes", _I),
        ("root", ctypes.c_char_p),
        ("prefix", ctypes.c_char_p),
        ("separator", _I),
        ("ndim", _I),
        ("grid", _P),
        ("chunk", _P),
        ("itemsize", _I),
        ("chunk_nbytes", _I),
        ("array", _P),
        ("shape", _P),
        ("strides", _P),
        ("directions", _P),
        ("codec", _I),
        ("checksum", _I),
        ("decompress", _P),
        ("compress", _P),
        ("cname", ctypes.c_char_p),
        ("level", _I),
        ("shuffle", _I),
        ("typesize", _I),
        ("blocksize", _I),
        ("in_blocks", _I),
        ("encoded", _P),
        ("encoded_nbytes", _I),
        ("frame", _P),
        ("scratch", _P),
        ("fill", _P),
        ("unfinished", ctypes.c_char_p),
        ("unfinished_folder", ctypes.c_char_p),
        ("stamp", _I),
        ("sync", _I),
        ("check", _P),
    )


@dataclass(frozen=True, slots=True)
class Library:
    """The kernel's functions; each lets go of the interpreter's lock.

    Attributes
    ----------
    can_check : bool
        Whether it has an instruction for CRC32C.
    read, read_ranges, write, identify, copy, pack : callable
        See ``native/read.c`` and ``native/write.c``.
    """

    can_check: bool
    read: Any
    read_ranges: Any
    write: Any
    identify: Any
    copy: Any
    pack: Any


@dataclass(frozen=True, slots=True)
class Compressor:
    """Addresses of the functions of a compressor."""

    decompress: int
    compress: int


@functools.cache
def library() -> Library | None:
    """The kernel, None where it was not built or does not work."""
    try:
        native = ctypes.CDLL(os.fspath(_FILE))
        native.zk_abi.restype = native.zk_job_nbytes.restype = _I
        if native.zk_abi() != _ABI or native.zk_job_nbytes() != ctypes.sizeof(Job):
            return None
        native.zk_checksum.restype = ctypes.c_uint32
        native.zk_checksum.argtypes = (ctypes.c_char_p, _I)
        sample = bytes(range(256)) * 97
        can_check = bool(native.zk_can_check()) and all(
            native.zk_checksum(sample, n) == crc32c.crc32c(sample[:n]) for n in (0, 1, 7, 8, 4096, 12289, len(sample))
        )
        signatures = {
            "zk_read": (_P, _I, _P, _P, _P, _P),
            "zk_read_ranges": (_P, _I, _P, _P, _P, _P, _P),
            "zk_write": (_P, _I, _P, _P),
            "zk_identify": (_P, _I, _P, _P, _P),
            "zk_copy": (_P, _I, _P, _P, _P),
            "zk_pack": (_P, _I, _P, _P, _I, _I, _P),
        }
        for name, arguments in signatures.items():
            getattr(native, name).argtypes = arguments
        native.zk_pack.restype = _I
    except (OSError, AttributeError):
        return None
    return Library(can_check, *(getattr(native, name) for name in signatures))


# of these 384 bytes, by each compressor's own tools
_SAMPLE = (np.arange(96, dtype="<i4") * 3 % 64).tobytes()
_FRAMES: Mapping[str, bytes] = {
    "blosc": bytes.fromhex(
        "020131048001000080010000890000001400000071000000ff56000306090c0f1215181b1e2124272a2d303336393c3f0205080b0e1114"
        "171a1d202326292c2f3235383b3e0104070a0d101316191c1f2225282b2e3134373a3d000306090c0f1215181b1e2124272a2d30333639"
        "3c3f0205080b0e1114171a1d00000000000500ff04500000000000"
    ),
    "zstd": bytes.fromhex(
        "28b52ffd608000250300e20f160810f86c061fab4c0177c7bd76d95f673d75d34707bd73cd2fa73c72c71747bc70c1bff39ebbedb3c3de"
        "baeaa7931ebae79b635eb9e48f339eb8e18303debbeeb7d31ebbebaba35ebae89f739eb9e59343deb8e287131ef80200796025e0c78014"
    ),
    "lz4": bytes.fromhex(
        "f0ef000000000300000006000000090000000c0000000f0000001200000015000000180000001b0000001e000000210000002400000027"
        "0000002a0000002d000000300000003300000036000000390000003c0000003f0000000200000005000000080000000b0000000e000000"
        "1100000014000000170000001a0000001d000000200000002300000026000000290000002c0000002f000000320000003500000038000000"
        "3b0000003e0000000100000004000000070000000a0000000d000000100000001300000016000000190000001c0000001f000000220000"
        "0025000000280000002b0000002e0000003100000034000000370000003a0000003d00fe000f00016650001d000000"
    ),
}


def _extension(name: str) -> ctypes.CDLL | None:
    """numcodecs' extension module of that name, as a library: it is not imported, which takes a long time."""
    spec = find_spec("numcodecs")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for suffix in EXTENSION_SUFFIXES:
            file = os.path.join(folder, name + suffix)
            if os.path.isfile(file):
                return ctypes.CDLL(file)
    return None


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


@functools.cache
def compressor(name: str) -> Compressor | None:
    """The functions of ``"blosc"``, ``"zstd"`` or ``"lz4"``, None where they are not exported or do not work."""
    try:
        extension = _extension(name)
        return None if extension is None else _PROBES[name](extension)
    except (OSError, AttributeError):
        return None


def _restores(decode: Callable[[bytes, Any], int], *frames: bytes) -> bool:
    """Whether each frame is decoded to the sample, into memory that is given."""
    out = ctypes.create_string_buffer(len(_SAMPLE))
    for frame in frames:
        ctypes.memset(out, 0, len(out))
        if decode(frame, out) != len(_SAMPLE) or out.raw != _SAMPLE:
            return False
    return True


def _blosc(extension: ctypes.CDLL) -> Compressor | None:
    decompress, compress = extension.blosc_decompress_ctx, extension.blosc_compress_ctx
    size, text, number = ctypes.c_size_t, ctypes.c_char_p, ctypes.c_int
    decompress.argtypes = (text, _P, size, number)
    compress.argtypes = (number, number, size, size, text, _P, size, text, size, number)
    packed = ctypes.create_string_buffer(len(_SAMPLE) + 16)
    n = compress(5, 1, 4, len(_SAMPLE), _SAMPLE, packed, len(packed), b"lz4", 0, 1)
    works = _restores(lambda frame, out: decompress(frame, out, len(out), 1), _FRAMES["blosc"], packed.raw[:n])
    return Compressor(_address(decompress), _address(compress)) if works else None


def _zstd(extension: ctypes.CDLL) -> Compressor | None:
    decompress, compress = extension.ZSTD_decompress, extension.ZSTD_compress
    size, text = ctypes.c_size_t, ctypes.c_char_p
    decompress.argtypes, decompress.restype = (_P, size, text, size), size
    compress.argtypes, compress.restype = (_P, size, text, size, ctypes.c_int), size
    packed = ctypes.create_string_buffer(len(_SAMPLE) + 64)
    n = compress(packed, len(packed), _SAMPLE, len(_SAMPLE), 1)
    frames = (_FRAMES["zstd"], packed.raw[: min(n, len(packed))])
    works = _restores(lambda frame, out: decompress(out, len(out), frame, len(frame)), *frames)
    return Compressor(_address(decompress), _address(compress)) if works else None


def _lz4(extension: ctypes.CDLL) -> Compressor | None:
    decompress, compress = extension.LZ4_decompress_safe, extension.LZ4_compress_fast
    text, number = ctypes.c_char_p, ctypes.c_int
    decompress.argtypes = (text, _P, number, number)
    compress.argtypes = (text, _P, number, number, number)
    packed = ctypes.create_string_buffer(len(_SAMPLE) + 64)
    n = compress(_SAMPLE, packed, len(_SAMPLE), len(packed), 1)
    frames = (_FRAMES["lz4"], packed.raw[: max(n, 0)])
    works = _restores(lambda frame, out: decompress(frame, out, len(frame), len(out)), *frames)
    return Compressor(_address(decompress), _address(compress)) if works else None


_PROBES = {"blosc": _blosc, "zstd": _zstd, "lz4": _lz4}

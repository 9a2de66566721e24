"""One table of all codecs: with which settings, for which dtypes, and where they stand among other codecs."""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zarrds.codecs.defaults import default_codecs
from zarrds.codecs.layout import serializer_for
from zarrds.codecs.pipeline import Pipeline, build_pipeline
from zarrds.codecs.registry import kind
from zarrds.metadata.dtypes import BYTES, OBJECTS_AS_JSON, STRING, DataType
from zarrds.metadata.formats import v3

Array = np.ndarray[Any, np.dtype[Any]]

ANY = tuple("? i1 <i2 >i4 <u8 <f2 >f4 <f8 <c8 >c16 <M8[s] >m8[ns] S3 <U2 >U2 V5".split())
BYTE_DTYPES = ("<i4", ">f8", "S3")
INTS, FLOATS = ("i1", "<i4", ">i4", "<u2"), ("<f4", ">f4", "<f8")


@dataclass(frozen=True)
class Case:
    """A codec with its settings.

    `dtypes` are those it is tried with ("string", "bytes" and "json" among them); `lossy` is the largest
    difference that is right; `checked` says that it finds every flipped bit.
    """

    name: str
    configuration: dict[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] = BYTE_DTYPES
    lossy: float = 0
    checked: bool = False
    zarr_python: bool = True  # that it has the codec too

    def __str__(self) -> str:
        return f"{self.name}-{'-'.join(map(str, self.configuration.values()))}"

    def codecs(self, data_type: DataType, *, behind: bool = False) -> list[dict[str, Any]]:
        """All codecs of an array; a filter stands before the serializer, or behind it as in v2."""
        me = {"name": self.name, "configuration": self.configuration} if self.configuration else {"name": self.name}
        match kind(self.name):
            case "array_bytes":
                return [me]
            case "array_array" if not behind:
                resolved = serializer_for(data_type)
                return [me, resolved]
            case _:
                return [serializer_for(data_type), me]


def _blosc(name: str = "blosc") -> Iterator[Case]:
    for cname in ("blosclz", "lz4", "lz4hc", "zlib", "zstd"):
        for shuffle in ("noshuffle", "shuffle", "bitshuffle"):
            yield Case(name, {"cname": cname, "clevel": 5, "shuffle": shuffle, "typesize": 4, "blocksize": 0})
    yield Case(name, {"cname": "lz4", "clevel": 0, "shuffle": "noshuffle", "typesize": 1, "blocksize": 0})
    yield Case(name, {"cname": "zstd", "clevel": 9, "shuffle": "shuffle", "typesize": 8, "blocksize": 256})
    yield Case(name, {"cname": "lz4", "clevel": 3, "shuffle": "shuffle", "typesize": 300, "blocksize": 0}, ("V5",))


CASES: list[Case] = [
    Case("bytes", {}, ("?", "i1", "S3", "V5")),
    Case("bytes", {"endian": "little"}, ANY),
    Case("bytes", {"endian": "big"}, ANY),
    Case("endian", {"endian": "big"}, ("<i4", ">f8"), zarr_python=False),
    Case("vlen-utf8", {}, ("string",)),
    Case("vlen-bytes", {}, ("bytes",)),
    Case("numcodecs.json2", {}, ("json",), zarr_python=False),
    Case("transpose", {"order": "reversed"}, ANY),
    Case("crc32c", {}, ANY, checked=True),
    *_blosc(),
    Case("numcodecs.blosc", {"cname": "zstd", "clevel": 1, "shuffle": 2}),
    *(Case(name, {"level": level}) for name in ("gzip", "numcodecs.gzip") for level in (0, 1, 9)),
    *(Case("numcodecs.zlib", {"level": level}) for level in (-1, 0, 1, 9)),
    *(Case(name, {"level": 3, "checksum": False}) for name in ("zstd", "numcodecs.zstd")),
    Case("zstd", {"level": -5, "checksum": True}),
    *(Case("numcodecs.bz2", {"level": level}) for level in (1, 9)),
    Case("numcodecs.lzma", {}),
    Case("numcodecs.lzma", {"format": lzma.FORMAT_ALONE, "check": -1, "preset": 1}),
    Case(
        "numcodecs.lzma",
        {"format": lzma.FORMAT_RAW, "filters": [{"id": lzma.FILTER_DELTA, "dist": 4}, {"id": lzma.FILTER_LZMA2}]},
    ),
    Case("numcodecs.lz4", {"acceleration": 1}),
    Case("numcodecs.lz4", {}),
    Case("numcodecs.shuffle", {"elementsize": 2}, ("<i4", ">f8")),
    Case("numcodecs.shuffle", {}, BYTE_DTYPES),
    Case("numcodecs.fletcher32", {}, ("<i4", ">f8")),
    Case("numcodecs.crc32", {}, checked=True),
    Case("numcodecs.crc32c", {"location": "end"}, checked=True),
    Case("numcodecs.adler32", {"location": "start"}, checked=True),
    Case("numcodecs.jenkins_lookup3", {}, checked=True),
    Case("numcodecs.delta", {"dtype": "<i4"}, ("<i4",)),
    Case("numcodecs.delta", {"dtype": ">i4", "astype": "<i8"}, (">i4",)),
    Case("numcodecs.delta", {"dtype": "<f8"}, ("<f8",), lossy=1e-9),
    Case("numcodecs.packbits", {}, ("?",)),
    Case("packbits", {}, ("?", "<i4", ">i4", "<f8", "<c8"), zarr_python=False),
    Case("packbits", {"padding_encoding": "first_byte"}, ("?", "<u2"), zarr_python=False),
    Case(
        "numcodecs.fixedscaleoffset", {"offset": -8, "scale": 8, "dtype": "<f8", "astype": "<i4"}, ("<f8",), lossy=0.07
    ),
    Case("numcodecs.quantize", {"digits": 2, "dtype": "<f4"}, ("<f4",), lossy=0.01),
    Case("numcodecs.bitround", {"keepbits": 20}, ("<f4", "<f8"), lossy=1e-4),
    Case("numcodecs.astype", {"encode_dtype": "<f8", "decode_dtype": "<f4"}, ("<f4",)),
]

SHAPES: list[tuple[int, ...]] = [(), (1,), (7,), (5, 3), (2, 1, 9), (1, 300)]


def data_type(dtype: str) -> DataType:
    special = {"string": STRING, "bytes": BYTES, "json": OBJECTS_AS_JSON}
    return special.get(dtype) or DataType.from_numpy(np.dtype(dtype))


def array_of(dtype: str, shape: Sequence[int], content: str = "random") -> Array:
    """Elements of `dtype`: "random" ones of no pattern, "constant" ones, or a "ramp"."""
    size = int(np.prod(shape, dtype=int))
    rng = np.random.default_rng(size)
    numbers = {"random": rng.integers(0, 100, size), "constant": np.full(size, 7), "ramp": np.arange(size) % 100}[
        content
    ]
    if dtype in ("string", "bytes", "json"):
        flat = np.empty(size, object)
        for i, n in enumerate(numbers.tolist()):
            text = "é\N{GRINNING FACE}" * (n % 4) + str(n)
            flat[i] = {"string": text, "bytes": text.encode() + b"\x00\xff", "json": {"n": [n, None, text]}}[dtype]
        return flat.reshape(shape)
    kind_ = np.dtype(dtype).kind
    if kind_ == "f":
        values = numbers / 8 if content != "random" else rng.random(size)
    elif kind_ == "c":
        values = numbers - 1j * numbers
    elif kind_ == "b":
        values = numbers % 3 == 0
    elif kind_ == "V":
        return np.frombuffer(rng.bytes(size * 5), dtype).reshape(shape)
    else:
        values = numbers
    return np.asarray(values).astype(dtype).reshape(shape)


def pipeline_of(case: Case, dtype: str, shape: tuple[int, ...], *, behind: bool = False) -> Pipeline:
    codecs = case.codecs(data_type(dtype), behind=behind)
    for codec in codecs:
        if codec["name"] == "transpose":
            codec["configuration"] = {"order": list(range(len(shape)))[::-1]}
    return build_pipeline(codecs, shape, data_type(dtype))


def default_pipeline(dtype: str, shape: tuple[int, ...]) -> Pipeline:
    return build_pipeline(default_codecs(data_type(dtype), v3), shape, data_type(dtype))


def encoded(pipeline: Pipeline, array: Array) -> bytes:
    return b"".join(bytes(part) for part in pipeline.encode(array))


def assert_decodes(case: Case, decoded: Array, array: Array) -> None:
    assert decoded.shape == array.shape
    assert decoded.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    if case.lossy:
        np.testing.assert_allclose(decoded, array, atol=case.lossy, rtol=0)
    else:
        np.testing.assert_array_equal(decoded, array)

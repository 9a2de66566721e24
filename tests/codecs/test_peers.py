"""zarr-python and TensorStore read what these codecs wrote, and the other way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import tensorstore
import zarr

import zarrds
from tests.codecs.cases import CASES, Case, array_of, assert_decodes, data_type, encoded, pipeline_of
from zarrds.codecs.registry import kind
from zarrds.metadata.formats.v2_codecs import codec_from_v2

# zarr-python's warnings of codecs and data types beyond the v3 core
pytestmark = pytest.mark.filterwarnings("ignore")
SHAPE, CHUNKS = (7, 10), (4, 5)
PEERS = [pytest.param(case, dtype, id=f"{case}-{dtype}") for case in CASES if case.zarr_python for dtype in case.dtypes]


def codecs_of(case: Case, dtype: str) -> list[dict[str, Any]]:
    codecs = case.codecs(data_type(dtype))
    if case.name == "transpose":
        codecs[0]["configuration"] = {"order": [1, 0]}
    return codecs


def v3_array(folder: Path, case: Case, dtype: str) -> zarrds.Array:
    element = {"string": "string", "bytes": "bytes"}.get(dtype, dtype)
    return zarrds.create_array(str(folder), shape=SHAPE, chunks=CHUNKS, dtype=element, codecs=codecs_of(case, dtype))


def as_objects(values: Any) -> Any:
    return values.astype(object) if values.dtype.kind == "T" else values


# v3 has no data types of a byte order, and so no filters for them
@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("case", "dtype"), [p for p in PEERS if kind(p.values[0].name) != "array_array" or ">" not in str(p.values)]
)
def test_zarr_python_agrees_in_v3(tmp_path: Path, case: Case, dtype: str) -> None:
    array = array_of(dtype, SHAPE)
    mine = v3_array(tmp_path / "z", case, dtype)
    mine[...] = array
    theirs = zarr.open_array(str(tmp_path / "z"), mode="r+")
    assert_decodes(case, as_objects(theirs[...]), array)
    other = array[::-1, ::-1].copy()
    theirs[...] = other
    assert_decodes(case, zarrds.open_array(str(tmp_path / "z"))[...], other)


# what v2 has under the same settings; zarr-python's v2 knows the order and the byte order elsewhere
V2 = [p for p in PEERS if p.values[0].name not in ("bytes", "transpose", "vlen-bytes")]  # type: ignore[attr-defined]  # a Case


@pytest.mark.one_in(4)
@pytest.mark.parametrize(("case", "dtype"), V2)
def test_zarr_python_agrees_in_v2(tmp_path: Path, case: Case, dtype: str) -> None:
    array = array_of(dtype, SHAPE)
    folder = str(tmp_path / "z")
    settings = dict(case.configuration)
    if isinstance(settings.get("shuffle"), str):
        settings["shuffle"] = ["noshuffle", "shuffle", "bitshuffle"].index(settings["shuffle"])
    settings.pop("typesize", None)
    identifier = case.name.removeprefix("numcodecs.")
    if identifier == "crc32c":
        settings["location"] = "end"
    if identifier in ("delta", "quantize", "fixedscaleoffset"):
        settings.setdefault("dtype", dtype)
    theirs: Any
    if dtype == "string":
        theirs = zarr.create_array(folder, shape=SHAPE, chunks=CHUNKS, dtype=str, zarr_format=2, compressors=None)
    else:
        codec = numcodecs.get_codec({"id": identifier, **settings})
        is_filter = kind(case.name) == "array_array"
        theirs = zarr.create_array(
            folder,
            shape=SHAPE,
            chunks=CHUNKS,
            dtype=dtype,
            zarr_format=2,
            filters=[codec] if is_filter else None,
            compressors=None if is_filter else codec,
        )
    theirs[...] = array
    mine = zarrds.open_array(folder, mode="r+")
    assert_decodes(case, mine[...], array)
    other = array[::-1, ::-1].copy()
    mine[...] = other
    assert_decodes(case, as_objects(zarr.open_array(folder, mode="r")[...]), other)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<i4", ">f8", "S3", ">U2", ">M8[s]"])
def test_orders_of_v2(tmp_path: Path, order: Any, dtype: str) -> None:
    array = array_of(dtype, SHAPE)
    theirs = zarr.create_array(
        str(tmp_path / "z"), shape=SHAPE, chunks=CHUNKS, dtype=dtype, zarr_format=2, order=order,
        filters=[numcodecs.Shuffle(4)] if dtype == "<i4" else None,
    )  # fmt: skip
    theirs[...] = array
    mine = zarrds.open_array(str(tmp_path / "z"), mode="r+")
    assert mine.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(mine[...], array)
    mine[1:3] = array[:2]
    np.testing.assert_array_equal(zarr.open_array(str(tmp_path / "z"))[1:3], array[:2])


def test_objects_of_v2() -> None:
    # zarr-python 3 writes no objects but strings: numcodecs itself says what others wrote
    for case, codec in [
        (next(c for c in CASES if c.dtypes == ("json",)), numcodecs.JSON()),
        (next(c for c in CASES if c.dtypes == ("bytes",)), numcodecs.VLenBytes()),
        (next(c for c in CASES if c.dtypes == ("string",)), numcodecs.VLenUTF8()),
    ]:
        array = array_of(case.dtypes[0], (3, 4))
        pipeline = pipeline_of(case, case.dtypes[0], (3, 4))
        np.testing.assert_array_equal(pipeline.decode(bytes(codec.encode(array))), array)
        np.testing.assert_array_equal(np.reshape(codec.decode(encoded(pipeline, array)), (3, 4)), array)


def test_shuffle_of_v2_has_its_own_default() -> None:
    codec = codec_from_v2(numcodecs.Shuffle().get_config())
    assert codec == codec_from_v2({"id": "shuffle"})


@pytest.mark.parametrize(
    "codec",
    [
        {"name": "gzip", "configuration": {"level": 1}},
        {"name": "zstd", "configuration": {"level": 3}},  # in frames that do not tell their size
        {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 5, "shuffle": "bitshuffle", "typesize": 4}},
        {"name": "crc32c"},
    ],
    ids=lambda codec: codec["name"],
)
@pytest.mark.parametrize("dtype", ["<i4", "<f8"])
def test_tensorstore_agrees(tmp_path: Path, codec: dict[str, Any], dtype: str) -> None:
    array = array_of(dtype, SHAPE, "ramp")
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": str(tmp_path / "z")},
        "metadata": {
            "shape": SHAPE,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": CHUNKS}},
            "data_type": np.dtype(dtype).name,
            "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}, codec],
        },
    }
    theirs = tensorstore.open(spec, create=True).result()
    theirs.write(array).result()
    mine = zarrds.open_array(str(tmp_path / "z"), mode="r+")
    np.testing.assert_array_equal(mine[...], array)
    mine[...] = array + 1
    again = tensorstore.open({"driver": "zarr3", "kvstore": spec["kvstore"]}).result()
    np.testing.assert_array_equal(again.read().result(), array + 1)


# bytes that were written down once, so that no codec changes unseen; those that do not depend on a library's version
GOLDEN: list[tuple[str, dict[str, Any], str, Any, str]] = [
    ("bytes", {"endian": "little"}, "<i2", [1, -2], "0100feff"),
    ("bytes", {"endian": "big"}, "<i2", [1, -2], "0001fffe"),
    ("vlen-utf8", {}, "string", ["é", ""], "0200000002000000c3a900000000"),
    ("vlen-bytes", {}, "bytes", [b"\xff", b"ab"], "0200000001000000ff020000006162"),
    ("crc32c", {}, "<i2", [1, -2], "0100feffda0e1e88"),
    ("numcodecs.crc32", {"location": "start"}, "<i2", [1, -2], "c79bc53e0100feff"),
    ("numcodecs.adler32", {"location": "end"}, "<i2", [1, -2], "0100feffff010303"),
    ("numcodecs.fletcher32", {}, "<i2", [1, -2], "0100feffffff0001"),
    ("numcodecs.shuffle", {"elementsize": 2}, "<i2", [1, -2], "01fe00ff"),
    ("numcodecs.delta", {"dtype": "<i2"}, "<i2", [1, -2], "0100fdff"),
    ("numcodecs.packbits", {}, "?", [True, False, True], "05a0"),
    ("packbits", {}, "?", [True, False, True], "05"),
    ("packbits", {"padding_encoding": "first_byte"}, "?", [True, False, True], "0505"),
    ("packbits", {"last_bit": 3}, "i1", [1, -3, 7], "d107"),
    ("packbits", {"first_bit": 2, "last_bit": 11, "padding_encoding": "last_byte"}, ">u2", [4, 8, 400], "0108400602"),
    ("packbits", {"first_bit": None}, ">i2", [1, -2], "0100feff"),
    ("numcodecs.json2", {}, "json", [{"a": 1}, None], b'[{"a":1},null,"|O",[2]]'.hex()),
]


@pytest.mark.parametrize(("name", "configuration", "dtype", "values", "expected"), GOLDEN, ids=[g[0] for g in GOLDEN])
def test_golden_bytes(name: str, configuration: dict[str, Any], dtype: str, values: list[Any], expected: str) -> None:
    array = np.empty(len(values), data_type(dtype).dtype)
    array[:] = values
    pipeline = pipeline_of(Case(name, configuration), dtype, array.shape)
    assert encoded(pipeline, array).hex() == expected
    np.testing.assert_array_equal(pipeline.decode(bytes.fromhex(expected)), array)


# what numcodecs 0.16 made of an array
@pytest.mark.parametrize(
    ("name", "array", "chunk"),
    [
        (
            "numcodecs.zlib",
            np.zeros(16, "<i4"),
            "78da6360a00c000000400001",
        ),
        (
            "zstd",
            np.zeros(16, "<i4"),
            "28b52ffd20404500001000000100930016",
        ),
        (
            "numcodecs.lz4",
            np.zeros(16, "<i4"),
            "400000001f00010027500000000000",
        ),
        (
            "numcodecs.bz2",
            np.zeros(16, "<i4"),
            "425a68313141592653596cc6b1ae0000004800400000042000210082831772453850906cc6b1ae",
        ),
        (
            "numcodecs.lzma",
            np.zeros(16, "<i4"),
            "fd377a585a000004e6d6b4460200210116000000742fe5a3e0003f00065d00006e5846980000000002243016a57a54de"
            "000122409bb2e8f11fb6f37d010000000004595a",
        ),
        (
            "blosc",
            np.arange(100, dtype="<i4"),
            "0201310490010000900100008d0000001400000075000000ff5a000102030405060708090a0b0c0d0e0f101112131415"
            "161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445"
            "464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f6061626300000000000500ff10500000000000",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_golden_chunks_of_compressors(name: str, array: Any, chunk: str) -> None:
    pipeline = pipeline_of(Case(name), "<i4", array.shape)
    np.testing.assert_array_equal(pipeline.decode(bytes.fromhex(chunk)), array)

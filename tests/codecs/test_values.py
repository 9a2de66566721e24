"""The registered codecs that change values, and what else current writers write."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import zarrds
from zarrds.codecs.base import join
from zarrds.codecs.pipeline import build_pipeline
from zarrds.errors import EncodingError, MetadataError, UnsupportedError, ZarrdsError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.formats.v3 import parse

BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def coded(codecs: list[dict[str, Any]], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is stored of values, and what is read again."""
    pipeline = build_pipeline([*codecs, BYTES], values.shape, DataType.from_numpy(values.dtype))
    stored = bytes(join(pipeline.encode(values)))
    return np.frombuffer(stored, pipeline.serialized.dtype), pipeline.decode(stored)


def codec(name: str, **configuration: Any) -> dict[str, Any]:
    return {"name": name, "configuration": configuration}


@given(hnp.arrays("f8", 5, elements=st.floats(-1e4, 1e4)), st.sampled_from([0.1, 10, -3]), st.floats(-100, 100))
def test_scale_and_offset(values: np.ndarray, scale: float, offset: float) -> None:
    stored, found = coded([codec("scale_offset", offset=offset, scale=scale)], values)
    np.testing.assert_array_equal(stored, (values - offset) * scale)
    np.testing.assert_allclose(found, values, atol=1e-9)


def test_as_numcodecs_did() -> None:
    values = np.linspace(10, 90, 9, dtype="f4")
    old = numcodecs.FixedScaleOffset(offset=10, scale=2, dtype="<f4", astype="u1")
    codecs = [codec("scale_offset", offset=10, scale=2), codec("cast_value", data_type="uint8", out_of_range="wrap")]
    stored, found = coded(codecs, values)
    np.testing.assert_array_equal(stored, old.encode(values))
    np.testing.assert_array_equal(found, old.decode(old.encode(values)))


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("nearest-even", [-2, -2, 0, 0, 2, 2]),
        ("towards-zero", [-2, -1, 0, 0, 1, 2]),
        ("towards-positive", [-2, -1, 0, 1, 2, 3]),
        ("towards-negative", [-3, -2, -1, 0, 1, 2]),
        ("nearest-away", [-3, -2, -1, 1, 2, 3]),
    ],
)
def test_rounding(rounding: str, expected: list[int]) -> None:
    stored, _ = coded(
        [codec("cast_value", data_type="int8", rounding=rounding)], np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    )
    assert stored.tolist() == expected


@given(st.sampled_from(INTEGERS), st.sampled_from(INTEGERS), st.data())
def test_integers_out_of_range(source: str, target: str, data: Any) -> None:
    values = data.draw(hnp.arrays(source, 4))
    info, exact = np.iinfo(target), [int(v) for v in values]
    expected = {
        "clamp": [min(max(v, info.min), info.max) for v in exact],
        "wrap": [(v - info.min) % 2**info.bits + info.min for v in exact],
    }
    for how, wanted in expected.items():
        stored, _ = coded_only([codec("cast_value", data_type=target, out_of_range=how)], values)
        assert [int(v) for v in stored] == wanted
    if expected["clamp"] != exact:
        with pytest.raises(EncodingError, match="no place"):
            coded_only([codec("cast_value", data_type=target)], values)


def coded_only(codecs: list[dict[str, Any]], values: np.ndarray) -> tuple[np.ndarray, bytes]:
    pipeline = build_pipeline([*codecs, BYTES], values.shape, DataType.from_numpy(values.dtype))
    stored = bytes(join(pipeline.encode(values)))
    return np.frombuffer(stored, pipeline.serialized.dtype), stored


@given(hnp.arrays("f8", 4, elements=st.floats(-1e6, 1e6)), st.sampled_from(["int8", "uint8", "int16"]))
def test_floats_out_of_range(values: np.ndarray, target: str) -> None:
    info, exact = np.iinfo(target), [int(v) for v in np.rint(values)]
    clamped, _ = coded_only([codec("cast_value", data_type=target, out_of_range="clamp")], values)
    assert clamped.tolist() == [min(max(v, info.min), info.max) for v in exact]
    wrapped, _ = coded_only([codec("cast_value", data_type=target, out_of_range="wrap")], values)
    assert wrapped.tolist() == [(v - info.min) % 2**info.bits + info.min for v in exact]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_is_no_number_of_the_type(value: float) -> None:
    with pytest.raises(ZarrdsError):
        coded_only([codec("cast_value", data_type="int16")], np.array([value]))
    if not np.isnan(value):
        stored, _ = coded_only(
            [codec("cast_value", data_type="int16", out_of_range="clamp")], np.array([value, -value])
        )
        assert stored.tolist() == [32767, -32768]


@pytest.mark.parametrize(
    "wrong",
    [
        codec("cast_value"),
        codec("cast_value", data_type="string"),
        codec("cast_value", data_type="int8", rounding="up"),
        codec("cast_value", data_type="int8", out_of_range=[]),
        codec("cast_value", data_type="int8", scalar_map={}),
        codec("scale_offset", offset=0, scale=0),
        codec("scale_offset", offset="x", scale=1),
        codec("scale_offset", offset=0, scale=1, dtype="f4"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(MetadataError):
        build_pipeline([wrong, BYTES], (2,), DataType.from_v3("float32"))


def test_bitround_by_its_registered_name() -> None:
    values = np.linspace(0, 1, 9, dtype="f4")
    for name in ("bitround", "numcodecs.bitround"):
        stored, _ = coded([codec(name, keepbits=5)], values)
        np.testing.assert_array_equal(
            stored.view("f4"), numcodecs.BitRound(5).decode(numcodecs.BitRound(5).encode(values))
        )


def document(**changes: Any) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [4],
        "data_type": "int32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4]}},
        "chunk_key_encoding": {"name": "default"},
        "fill_value": 0,
        "codecs": [BYTES],
        **changes,
    }


def test_structs_with_objects_as_fill_values(tmp_path: Path) -> None:
    point = {"name": "struct", "configuration": {"fields": [{"name": "x", "data_type": "float32"}]}}
    fields = [{"name": "id", "data_type": "int16"}, {"name": "p", "data_type": point}]
    raw = document(
        data_type={"name": "struct", "configuration": {"fields": fields}}, fill_value={"id": 7, "p": {"x": "NaN"}}
    )
    (tmp_path / "zarr.json").write_text(json.dumps(raw))
    values = zarrds.open_array(tmp_path)[...]
    assert values["id"].tolist() == [7] * 4
    assert np.isnan(values["p"]["x"]).all()
    for wrong in ({"id": 7}, {"id": 7, "p": 3}, {"id": "x", "p": {"x": 0}}, {"id": 7, "p": {"x": 0}, "q": 1}):
        with pytest.raises(MetadataError, match="fill value"):
            parse({**raw, "fill_value": wrong})


@pytest.mark.parametrize(("data_type", "zero"), [("int32", 0), ("float64", 0.0), ("bool", False), ("string", "")])
def test_null_is_the_natural_zero(data_type: str, zero: Any, tmp_path: Path) -> None:
    codecs = [{"name": "vlen-utf8"}] if data_type == "string" else [BYTES]
    (tmp_path / "zarr.json").write_text(json.dumps(document(data_type=data_type, fill_value=None, codecs=codecs)))
    assert zarrds.open_array(tmp_path)[...].tolist() == [zero] * 4


# as GDAL writes them
DELTA = [{"id": lzma.FILTER_DELTA, "dist": 1}, {"id": lzma.FILTER_LZMA2, "preset": 6}]


@pytest.mark.parametrize(
    ("compressor", "encoder"),
    [
        ({"id": "zstd", "level": 13, "checksum": "NO"}, numcodecs.Zstd(3)),
        ({"id": "zstd", "level": "13"}, numcodecs.Zstd(3)),
        ({"id": "zlib", "level": 99}, numcodecs.Zlib(3)),
        ({"id": "gzip", "level": None}, numcodecs.GZip(3)),
        ({"id": "lz4", "acceleration": "fast"}, numcodecs.LZ4()),
        ({"id": "lzma", "preset": 6, "delta": 1}, numcodecs.LZMA(filters=DELTA)),
        ({"id": "blosc", "cname": "brotli", "clevel": 77, "shuffle": 9, "blocksize": -1}, numcodecs.Blosc()),
    ],
)
def test_settings_for_encoding_never_stop_a_read(compressor: dict[str, Any], encoder: Any, tmp_path: Path) -> None:
    array = zarrds.create_array(tmp_path, shape=(4,), dtype="<i4", chunks=(4,), zarr_format=2)
    raw = json.loads((tmp_path / ".zarray").read_text())
    (tmp_path / ".zarray").write_text(json.dumps({**raw, "compressor": compressor, "filters": None}))
    (tmp_path / "0").write_bytes(encoder.encode(np.arange(4, dtype="<i4")))
    array = zarrds.open_array(tmp_path, "r+")
    assert array[...].tolist() == [0, 1, 2, 3]
    with pytest.raises(ZarrdsError):
        array[...] = 5  # nobody can tell how
    with pytest.raises(ZarrdsError):
        zarrds.create_array(zarrds.MemoryStore(), shape=(4,), dtype="<i4", codecs=[BYTES, codec("zstd", level=99)])


@pytest.mark.parametrize("name", ["pcodec", "zfp", "reshape"])
def test_what_stays_refused_is_named(name: str) -> None:
    with pytest.raises(UnsupportedError, match=name):
        build_pipeline([codec(name), BYTES], (2,), DataType.from_v3("bool"))

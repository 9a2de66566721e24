"""The same checks on every codec: what was encoded decodes, and the promises of `zarrds.codecs.base`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codecs.cases import CASES, SHAPES, Case, array_of, assert_decodes, data_type, encoded, pipeline_of
from zarrds.codecs.pipeline import Pipeline, build_pipeline
from zarrds.codecs.registry import KNOWN, kind
from zarrds.errors import ChunkError, EncodingError, MetadataError
from zarrds.metadata.dtypes import DataType

EACH = [pytest.param(case, dtype, id=f"{case}-{dtype}") for case in CASES for dtype in case.dtypes]


def test_every_codec_is_in_the_table() -> None:
    # shards are more than a codec; codecs that change values or dtypes have their oracles in test_values
    assert {case.name for case in CASES} == KNOWN - {"sharding_indexed", "bitround", "cast_value", "scale_offset"}


@pytest.mark.one_in(4)
@pytest.mark.parametrize(("case", "dtype"), EACH)
@pytest.mark.parametrize("content", ["random", "constant", "ramp"])
def test_what_was_encoded_decodes(case: Case, dtype: str, content: str) -> None:
    for shape in SHAPES:
        array = array_of(dtype, shape, content)
        before = array.copy()
        for behind in (False, True) if kind(case.name) == "array_array" and case.name != "transpose" else (False,):
            pipeline = pipeline_of(case, dtype, shape, behind=behind)
            data = encoded(pipeline, array)
            assert_decodes(case, pipeline.decode(data), array)
            np.testing.assert_array_equal(array, before)  # encoding changes nothing
            out = np.empty(shape, array.dtype)
            assert_decodes(case, pipeline.decode(data, out), array)


@pytest.mark.one_in(4)
@pytest.mark.parametrize(("case", "dtype"), EACH)
def test_arrays_of_any_layout_are_encoded(case: Case, dtype: str) -> None:
    array = array_of(dtype, (6, 8))
    pipeline = pipeline_of(case, dtype, (6, 8))
    data = encoded(pipeline, array)
    assert encoded(pipeline, np.asfortranarray(array)) == data
    assert encoded(pipeline_of(case, dtype, (3, 4)), array[::2, ::-2]) == encoded(
        pipeline_of(case, dtype, (3, 4)), array[::2, ::-2].copy()
    )


@pytest.mark.one_in(4)
@pytest.mark.parametrize(("case", "dtype"), EACH)
def test_any_bytes_like_is_decoded(case: Case, dtype: str) -> None:
    array = array_of(dtype, (5, 3))
    pipeline = pipeline_of(case, dtype, (5, 3))
    data = encoded(pipeline, array)
    padded = bytearray(b"xyz" + data)
    for buffer in (data, bytearray(data), memoryview(data), memoryview(padded)[3:]):
        assert_decodes(case, pipeline.decode(buffer), array)


@pytest.mark.one_in(4)
@pytest.mark.parametrize(("case", "dtype"), EACH)
def test_chunks_of_another_shape_are_refused(case: Case, dtype: str) -> None:
    # codecs that take any number of bytes are followed by one that does not
    data = encoded(pipeline_of(case, dtype, (6,)), array_of(dtype, (6,), "ramp"))
    # single bits without a byte that says so fill bytes up with zeros
    shapes = [(48,), (6, 20)] if case.name == "packbits" and dtype == "?" else [(5,), (48,), (6, 20)]
    for shape in shapes:
        with pytest.raises(ChunkError):
            pipeline_of(case, dtype, shape).decode(data)


@pytest.mark.parametrize("dtype", ["<i4", ">f8", "<M8[s]", "V5", "?"])
@pytest.mark.parametrize("endian", ["little", "big"])
def test_chunks_decode_into_the_memory_that_is_given(dtype: str, endian: str) -> None:
    array = array_of(dtype, (4, 5))
    for codec in ({"name": "blosc"}, {"name": "blosc", "configuration": {"blocksize": 64}}):
        pipeline = _build([{"name": "bytes", "configuration": {"endian": endian}}, codec], dtype, (4, 5))
        assert pipeline.in_place
        out = np.empty((4, 5), array.dtype)
        assert pipeline.decode(encoded(pipeline, array), out) is out
        np.testing.assert_array_equal(out, array)


def test_fields_of_either_byte_order() -> None:
    dtype = np.dtype([("a", ">i4"), ("b", "<f8"), ("c", "S2")])
    array = np.array([(1, 2.5, b"xy"), (-7, np.inf, b"")], dtype)
    for endian in ("little", "big", None):
        settings = {} if endian is None else {"configuration": {"endian": endian}}
        pipeline = _build([{"name": "bytes", **settings}, {"name": "blosc"}], dtype, (2,))
        data = encoded(pipeline, array)
        for out in (None, np.empty(2, dtype)):
            np.testing.assert_array_equal(pipeline.decode(data, out), array)


def _build(codecs: list[dict[str, Any]], dtype: Any, shape: tuple[int, ...]) -> Pipeline:
    return build_pipeline(codecs, shape, DataType.from_numpy(np.dtype(dtype)))


LOSSLESS = [case for case in CASES if not case.lossy and case.dtypes[0] not in ("string", "bytes", "json", "?")]


@given(
    st.lists(st.sampled_from([c for c in LOSSLESS if kind(c.name) == "bytes_bytes"]), max_size=3),
    st.sampled_from(["little", "big"]),
    st.permutations([0, 1, 2]),
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6)),
    st.sampled_from(["<i4", ">u2", "<f8", ">c8", "S4"]),
    st.sampled_from(["random", "constant", "ramp"]),
)
def test_any_chain_of_codecs(
    cases: list[Case], endian: str, order: list[int], shape: tuple[int, ...], dtype: str, content: str
) -> None:
    array = array_of(dtype, shape, content)
    codecs: list[dict[str, Any]] = [
        {"name": "transpose", "configuration": {"order": order}},
        {"name": "bytes", "configuration": {"endian": endian}},
        # a byte shuffle and a Fletcher checksum take whole elements only
        *(
            {"name": case.name, "configuration": case.configuration}
            for case in cases
            if case.name not in ("numcodecs.shuffle", "numcodecs.fletcher32")
        ),
    ]
    pipeline = _build(codecs, dtype, shape)
    np.testing.assert_array_equal(pipeline.decode(encoded(pipeline, array)), array)


def test_variable_length_types_take_nothing_but_their_elements() -> None:
    for dtype, wrong in [("string", [None, 0, 1.5, b"x", "\ud800"]), ("bytes", [None, 0, "x", [1]])]:
        case = next(c for c in CASES if c.dtypes == (dtype,))
        pipeline = pipeline_of(case, dtype, (1,))
        for value in wrong:
            array = np.empty(1, object)
            array[0] = value
            with pytest.raises(EncodingError):
                pipeline.encode(array)
    json2 = pipeline_of(next(c for c in CASES if c.dtypes == ("json",)), "json", (1,))
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    for unfit in (object(), {1j: 2}, b"x", deep):
        array = np.empty(1, object)
        array[0] = unfit
        with pytest.raises(EncodingError):
            json2.encode(array)


def test_data_types_and_codecs_that_do_not_fit() -> None:
    for codecs, dtype in [
        ([{"name": "bytes"}], "string"),
        # zarr-python takes these elements for others, and gives back numbers that nobody stored
        ([{"name": "numcodecs.delta", "configuration": {"dtype": ">i4", "astype": "<i8"}}, {"name": "bytes"}], "<i4"),
        ([{"name": "numcodecs.delta", "configuration": {"dtype": "<i4"}}, {"name": "bytes"}], "<f4"),
        ([{"name": "numcodecs.delta", "configuration": {"dtype": "<i4", "astype": ">i2"}}, {"name": "bytes"}], "<i4"),
        ([{"name": "vlen-utf8"}], "bytes"),
        ([{"name": "vlen-bytes"}], "<i4"),
        ([{"name": "numcodecs.json2"}], "string"),
        ([{"name": "vlen-utf8"}, {"name": "numcodecs.packbits"}], "string"),
        ([{"name": "numcodecs.packbits"}, {"name": "vlen-utf8"}], "string"),
        ([{"name": "vlen-bytes"}, {"name": "numcodecs.bitround", "configuration": {"keepbits": 3}}], "bytes"),
    ]:
        with pytest.raises(MetadataError):
            build_pipeline(codecs, (3,), data_type(dtype))

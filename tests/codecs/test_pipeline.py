"""One pipeline for many threads, and what it promises of memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import vlen

from tests.codecs.cases import CASES, Case, array_of, assert_decodes, data_type, default_pipeline, encoded, pipeline_of
from zarrds.codecs.base import ChunkSpec
from zarrds.codecs.pipeline import build_pipeline
from zarrds.errors import ChunkError, EncodingError
from zarrds.metadata.dtypes import DataType

FIRST_OF_EACH = list({case.name: case for case in CASES}.values())


@pytest.mark.parametrize("case", FIRST_OF_EACH, ids=str)
def test_one_pipeline_serves_many_threads(case: Case) -> None:
    dtype, shape = case.dtypes[-1], (16, 25)
    pipeline = pipeline_of(case, dtype, shape)
    base = array_of(dtype, shape, "ramp")

    def work(thread: int) -> None:
        array = np.roll(base, thread)  # each thread has chunks of its own
        out = np.empty(shape, array.dtype)
        for _ in range(10):
            assert_decodes(case, pipeline.decode(encoded(pipeline, array), out), array)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_threads_that_decode_damaged_chunks_do_not_disturb_others() -> None:
    pipeline = default_pipeline("<f8", (40, 40))
    array = array_of("<f8", (40, 40))
    data = encoded(pipeline, array)

    def work(thread: int) -> None:
        for _ in range(20):
            if thread % 2:
                with pytest.raises(ChunkError):
                    pipeline.decode(data[:-1])
            else:
                np.testing.assert_array_equal(pipeline.decode(data), array)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_equal_codecs_share_a_pipeline() -> None:
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "blosc"}]
    again = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "blosc"}]
    assert build_pipeline(codecs, (4,), data_type("<i4")) is build_pipeline(again, (4,), data_type("<i4"))
    assert build_pipeline(codecs, (4,), data_type(">i4")) is not build_pipeline(codecs, (4,), data_type("<i4"))


def test_what_cannot_be_decoded_in_place_leaves_the_memory_alone() -> None:
    for case in CASES:
        dtype = case.dtypes[0]
        pipeline = pipeline_of(case, dtype, (6,))
        if pipeline.in_place:
            continue
        array = array_of(dtype, (6,))
        out = np.zeros(6, array.dtype)
        assert pipeline.decode(encoded(pipeline, array), out) is not out
        assert (out == np.zeros(6, array.dtype)).all()


def test_sizes_of_chunks() -> None:
    assert ChunkSpec((3, 4), data_type("<i4")).nbytes == 48
    assert ChunkSpec((), data_type("S3")).nbytes == 3
    assert ChunkSpec((3,), data_type("string")).nbytes is None


@pytest.mark.parametrize(
    ("codec", "name", "elements"),
    [("vlen-utf8", "string", [np.str_("ü"), "b"]), ("vlen-bytes", "variable_length_bytes", [np.bytes_(b"a"), b""])],
)
def test_scalars_of_numpy_are_text_and_bytes_too(codec: str, name: str, elements: list[Any]) -> None:
    array = np.empty(2, object)
    array[:] = elements
    pipeline = build_pipeline([{"name": codec}], (2,), DataType(name, np.dtype(object)))
    (encoded,) = pipeline.encode(array)
    assert pipeline.decode(bytes(encoded)).tolist() == elements


_TEXTS = st.text(st.sampled_from("a\0é\U0001f600") | st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["", "\0\0\0\0", "x" * 255, "x" * 256, "é" * 40_000, "\x01\0\0\0"]
)


@pytest.mark.parametrize("codec", ["vlen-utf8", "vlen-bytes"])
@given(texts=st.lists(_TEXTS, max_size=12))
def test_elements_of_any_length_are_laid_out_as_numcodecs_does(codec: str, texts: list[str]) -> None:
    array = np.empty(len(texts), object)
    array[:] = texts if codec == "vlen-utf8" else [text.encode() for text in texts]
    expected = (vlen.VLenUTF8() if codec == "vlen-utf8" else vlen.VLenBytes()).encode(array)
    name = "string" if codec == "vlen-utf8" else "variable_length_bytes"
    (encoded,) = build_pipeline([{"name": codec}], array.shape, DataType(name, np.dtype(object))).encode(array)
    assert bytes(encoded) == expected


@pytest.mark.parametrize(
    ("codec", "name", "elements"),
    [
        ("vlen-utf8", "string", ["a", None]),
        ("vlen-utf8", "string", ["a", b"b"]),
        ("vlen-utf8", "string", [np.nan, "a"]),
        ("vlen-bytes", "variable_length_bytes", [b"a", None]),
        ("vlen-bytes", "variable_length_bytes", ["a"]),
        ("vlen-bytes", "variable_length_bytes", [b"a", bytearray(b"b")]),
    ],
)
def test_nothing_but_text_or_bytes_is_laid_out(codec: str, name: str, elements: list[Any]) -> None:
    array = np.empty(len(elements), object)
    array[:] = elements
    pipeline = build_pipeline([{"name": codec}], array.shape, DataType(name, np.dtype(object)))
    with pytest.raises(EncodingError, match=f"something else than {'strings' if name == 'string' else 'bytes'}"):
        pipeline.encode(array)


def test_half_of_a_character_is_refused() -> None:
    pipeline = build_pipeline([{"name": "vlen-utf8"}], (2,), DataType("string", np.dtype(object)))
    with pytest.raises(EncodingError, match=r"lone surrogate.*found '\\ud800'\. Replace it"):
        pipeline.encode(np.array(["a", "b\ud800c"], object))

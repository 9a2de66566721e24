from __future__ import annotations

from math import prod
from typing import Any

import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrds import MemoryStore, create_array
from zarrds.arrays.layout import auto_chunks, data_type_of, new_array_metadata
from zarrds.codecs.defaults import parse_codec
from zarrds.errors import EncodingError, UnsupportedError, ZarrdsError
from zarrds.metadata.dtypes import BYTES, STRING, DataType
from zarrds.metadata.nodes.documents import open_nodes
from zarrds.metadata.nodes.transaction import put_node

MIB = 1 << 20


@given(
    st.lists(st.integers(0, 100) | st.integers(0, 10**7) | st.integers(0, 2**62), max_size=4).map(tuple),
    st.sampled_from(["?", "f2", "f8", "c16", "U100", "string"]),
)
def test_automatic_chunks(shape: tuple[int, ...], dtype: str) -> None:
    data_type = data_type_of(dtype)
    itemsize = 32 if data_type.is_variable_length else data_type.dtype.itemsize
    chunks = auto_chunks(shape, data_type)
    nbytes = prod(chunks) * itemsize
    sizes = tuple(size or 1024 for size in shape)  # what is empty is there to be appended to
    whole = prod(sizes) * itemsize
    assert all(1 <= chunk <= size for chunk, size in zip(chunks, sizes, strict=True))
    if whole <= (4 if len(shape) == 1 else 2) * MIB:
        assert chunks == sizes
    else:
        # halving rounds up, so that a little less than half of the target can come out, of few elements far less
        assert MIB / 2 < nbytes <= 2 * MIB
        assert new_array_metadata(shape=shape, dtype=dtype).chunks == chunks


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (5, (5, 5)),
        (np.int64(5), (5, 5)),
        ([5, 6], (5, 6)),
        (np.array([5, 6]), (5, 6)),
        ((-1, 6), (10, 6)),
        (-1, (10, 1)),
        ((100, 7), (100, 7)),
        (None, (10, 1024)),
        ("auto", (10, 1024)),
    ],
)
def test_chunks(chunks: Any, expected: tuple[int, ...]) -> None:
    metadata = new_array_metadata(shape=(10, 0), dtype="f4", chunks=chunks)
    assert metadata.chunks == expected
    assert all(type(chunk) is int for chunk in metadata.chunks)


@pytest.mark.parametrize("shape", [3, np.int32(3), (3,), [np.int64(3)], np.array([3]), {"x": 3}.values(), iter([3])])
def test_shapes(shape: Any) -> None:
    metadata = new_array_metadata(shape=shape, dtype="f4")
    assert metadata.shape == (3,)
    assert type(metadata.shape[0]) is int


@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": -1},
        {"shape": 2**63},
        {"shape": 2.5},
        {"shape": (2, "a")},
        {"shape": None},
        {"chunks": 0},
        {"chunks": -2},
        {"chunks": (2, 2)},
        {"chunks": ()},
        {"chunks": 2.5},
        {"chunks": "big"},
        {"dtype": "no such dtype"},
        {"dtype": object},
        {"dtype": "f16"},
        {"dtype": "S0"},
        {"dtype": np.dtype([("a", "i4", (2,))])},
        {"dimension_names": ["x", "y"]},
        {"dimension_names": []},
        {"zarr_format": 1},
        {"zarr_format": 4},
        {"codecs": "blosc"},
        {"codecs": [5]},
        {"codecs": [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 100}}]},
        {"fill_value": "x"},
        {"fill_value": [1, 2]},
        {"chunks": 2**40, "shape": 2**40},
        {"attributes": {"a": object()}},
    ],
)
def test_arguments_that_are_refused(arguments: dict[str, Any]) -> None:
    store = MemoryStore()
    with pytest.raises(ZarrdsError):
        create_array(store, **({"shape": 3, "dtype": "f4"} | arguments))
    assert list(store.list_prefix()) == []


def test_data_types() -> None:
    assert data_type_of(str) is data_type_of("string") is STRING
    assert data_type_of(bytes) is data_type_of("bytes") is data_type_of("variable_length_bytes") is BYTES
    assert data_type_of(STRING) is STRING
    assert data_type_of(np.dtypes.StringDType()) == STRING
    assert data_type_of(np.float32) == data_type_of("f4") == DataType.from_numpy(np.dtype("<f4"))
    with pytest.raises((EncodingError, UnsupportedError), match="object"):
        data_type_of("O")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["i2", ">f8", "M8[ns]", "U4", "S3", "string"])
@pytest.mark.parametrize("codecs", [None, [{"name": "blosc"}], [{"name": "zstd"}], [{"name": "gzip"}]])
def test_what_is_made_is_what_a_reader_sees(dtype: str, codecs: Any, zarr_format: Any) -> None:
    if codecs is not None:
        codecs = [{"name": "vlen-utf8" if dtype == "string" else "bytes"}, *codecs]
    made = new_array_metadata(
        shape=(4, 5), dtype=dtype, codecs=codecs, zarr_format=zarr_format, dimension_names=["a", "b"]
    )
    store = MemoryStore()
    put_node(store, "", made)
    read: Any = open_nodes(store).get("")
    for name in ("shape", "chunks", "data_type", "dimension_names", "chunk_key_encoding", "zarr_format"):
        assert getattr(read, name) == getattr(made, name)
    if zarr_format == 3:  # v2 does not say Blosc's typesize
        assert read.codecs == made.codecs


def test_no_setting_is_left_open_in_a_document() -> None:
    bytes_, blosc = new_array_metadata(shape=3, dtype="f8", codecs=[{"name": "bytes"}, {"name": "blosc"}]).codecs
    assert bytes_["configuration"] == {"endian": "little"}
    assert blosc["configuration"] == {
        "cname": "lz4",
        "clevel": 5,
        "shuffle": "shuffle",
        "typesize": 8,
        "blocksize": 0,
    }


@pytest.mark.parametrize(("dtype", "shuffle"), [("i1", "bitshuffle"), ("f4", "shuffle")])
def test_automatic_shuffle_of_numcodecs_is_settled_for_v3(dtype: str, shuffle: str) -> None:
    codecs = [{"name": "bytes"}, numcodecs.Blosc(cname="zstd", shuffle=numcodecs.Blosc.AUTOSHUFFLE)]
    metadata = new_array_metadata(shape=4, dtype=dtype, codecs=map(parse_codec, codecs))
    configuration = metadata.codecs[1]["configuration"]
    assert (configuration["shuffle"], configuration["typesize"]) == (shuffle, np.dtype(dtype).itemsize)

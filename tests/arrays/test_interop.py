"""The same arrays through zarr-python and TensorStore, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorstore as ts
import zarr

from tests.arrays.test_array import BIG_ENDIAN, BYTES, CHECKSUM, F_ORDER, SHAPE, strings_of, values_of
from zarrds import LocalStore, create_array, open_array
from zarrds.arrays.array import Array
from zarrds.arrays.layout import new_array_metadata
from zarrds.metadata.model import ChunkKeyEncoding
from zarrds.metadata.nodes.transaction import put_node

PAIRS = np.dtype([("a", "<i2"), ("b", "<f8"), ("c", "S3")])
DTYPES = "? i1 <i2 >i4 i8 u2 >u8 f2 f4 >f8 c8 c16".split()
BLOSCS = [
    {"name": "blosc", "configuration": {"cname": name, "clevel": 5, "shuffle": shuffle, "blocksize": size}}
    for name, shuffle, size in (
        ("blosclz", "noshuffle", 0),
        ("lz4", "shuffle", 0),
        ("lz4hc", "bitshuffle", 0),
        ("zlib", "shuffle", 256),
        ("zstd", "bitshuffle", 0),
    )
]
BOTH: list[list[dict[str, Any]] | None] = [None, [BYTES], [F_ORDER, BYTES], [F_ORDER, BIG_ENDIAN, BLOSCS[1]]]
BOTH += [[BYTES, c] for c in (*BLOSCS, {"name": "gzip"}, {"name": "zstd"}, {"name": "blosc"})]
ONLY_V3 = [[BIG_ENDIAN, {"name": "zstd", "configuration": {"level": 1, "checksum": True}}, CHECKSUM], [BYTES, CHECKSUM]]
ENCODINGS = {
    2: [ChunkKeyEncoding("v2", "."), ChunkKeyEncoding("v2", "/")],
    3: [ChunkKeyEncoding("default", "/"), ChunkKeyEncoding("default", "."), ChunkKeyEncoding("v2", ".")],
}


def with_tensorstore(folder: Path, zarr_format: int) -> Any:
    driver = {"driver": "zarr" if zarr_format == 2 else "zarr3", "kvstore": {"driver": "file", "path": str(folder)}}
    return ts.open(driver, open=True).result()


def make(folder: Path, values: npt.NDArray[Any], zarr_format: Any, codecs: Any, encoding: ChunkKeyEncoding) -> Array:
    if codecs is not None and values.dtype.itemsize == 1:
        codecs = [{"name": "bytes"} if c["name"] == "bytes" else c for c in codecs]
    metadata = new_array_metadata(
        shape=values.shape,
        dtype=values.dtype,
        chunks=(2, 3),
        codecs=codecs,
        zarr_format=zarr_format,
        chunk_key_encoding=encoding,
        fill_value=values[0, 1],
        dimension_names=("y", "x"),
        attributes={"units": "K"},
    )
    put_node(LocalStore(folder), "", metadata)
    return open_array(folder, "r+")


@pytest.mark.one_in(4)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_peers_read_what_zarrds_writes(tmp_path: Path, dtype: str, zarr_format: int) -> None:
    values = values_of(dtype)
    expected = values.astype(values.dtype.newbyteorder("="))
    for i, codecs in enumerate(BOTH + (ONLY_V3 if zarr_format == 3 else [])):
        encodings = ENCODINGS[zarr_format]
        folder = tmp_path / str(i)
        make(folder, values, zarr_format, codecs, encodings[i % len(encodings)])[:4] = values[:4]
        expected[4:] = values[0, 1]  # its last chunks are not there
        peer = zarr.open_array(folder, mode="r", zarr_format=zarr_format)
        np.testing.assert_array_equal(peer[...], expected)
        assert peer.attrs["units"] == "K"
        np.testing.assert_array_equal(with_tensorstore(folder, zarr_format).read().result(), expected)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_zarrds_reads_what_tensorstore_writes(tmp_path: Path, dtype: str, zarr_format: int) -> None:
    values = values_of(dtype)
    expected = values.astype(values.dtype.newbyteorder("="))
    for i, codecs in enumerate(BOTH + (ONLY_V3 if zarr_format == 3 else [])):
        encodings = ENCODINGS[zarr_format]
        folder = tmp_path / str(i)
        array = make(folder, values, zarr_format, codecs, encodings[i % len(encodings)])
        with_tensorstore(folder, zarr_format)[:4].write(expected[:4]).result()
        expected[4:] = values[0, 1]
        np.testing.assert_array_equal(array[...], expected)
        # and both write parts of the same chunks
        array[0, 1:] = 0
        with_tensorstore(folder, zarr_format)[1, 1:6].write(np.ones(5, expected.dtype)).result()
        expected[0, 1:], expected[1, 1:6] = 0, 1
        np.testing.assert_array_equal(open_array(folder)[::-1], expected[::-1])
        expected = values.astype(expected.dtype)


ZARR_PYTHON: list[tuple[int, dict[str, Any]]] = [
    (2, {}),
    (2, {"compressors": None, "order": "F"}),
    (2, {"compressors": {"id": "zlib", "level": 1}, "chunk_key_encoding": {"name": "v2", "separator": "/"}}),
    (2, {"compressors": {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 2, "blocksize": 0}, "order": "F"}),
    (3, {}),
    (3, {"compressors": None, "chunk_key_encoding": {"name": "default", "separator": "."}}),
    (3, {"compressors": [{"name": "gzip", "configuration": {"level": 2}}, {"name": "crc32c"}]}),
    (3, {"filters": [F_ORDER], "serializer": BIG_ENDIAN, "compressors": BLOSCS[4]}),
    (3, {"chunk_key_encoding": {"name": "v2", "separator": "."}, "compressors": BLOSCS[0]}),
]


@pytest.mark.one_in(4)
@pytest.mark.parametrize(("zarr_format", "options"), ZARR_PYTHON)
@pytest.mark.parametrize("dtype", [*DTYPES, "M8[ns]", "m8[s]", "S5", "U3", PAIRS, "string"], ids=str)
def test_zarrds_reads_what_zarr_python_writes(
    tmp_path: Path, dtype: Any, zarr_format: Any, options: dict[str, Any]
) -> None:
    if dtype == "string":
        values: Any = strings_of("string")
        options = {name: value for name, value in options.items() if name not in ("filters", "serializer")}
    else:
        values = values_of(dtype)
        if values.dtype.itemsize == 1 and "serializer" in options:
            options = options | {"serializer": {"name": "bytes"}}
    peer = zarr.create_array(
        tmp_path,
        shape=SHAPE,
        chunks=(2, 3),
        dtype="string" if dtype == "string" else values.dtype,
        zarr_format=zarr_format,
        **options,
    )
    peer[:4] = values[:4]
    array = open_array(tmp_path, "r+")
    got, expected = array[...], np.asarray(peer[...])
    if dtype == "string":
        assert got.tolist() == expected.tolist()
    else:
        assert got.astype(expected.dtype).tobytes() == expected.tobytes()
    array[3:, 2:] = values[3:, 2:]
    got, expected = array[...], np.asarray(zarr.open_array(tmp_path, mode="r")[...])
    assert got.tolist() == expected.tolist() or got.astype(expected.dtype).tobytes() == expected.tobytes()


def test_names_and_attributes_between_libraries(tmp_path: Path) -> None:
    create_array(tmp_path, path="g/a", shape=3, dtype="f4", dimension_names=["x"], attributes={"units": "K", "n": [1]})
    peer = zarr.open_array(tmp_path, path="g/a")
    assert peer.metadata.to_dict()["dimension_names"] == ("x",)
    peer.attrs["more"] = {"a": None}
    peer.append(np.ones(2, "f4"))
    array = open_array(tmp_path, "r+", "g/a")
    assert array.attrs == {"units": "K", "n": [1], "more": {"a": None}}
    assert array.dimension_names == ("x",)
    assert array[...].tolist() == [0, 0, 0, 1, 1]

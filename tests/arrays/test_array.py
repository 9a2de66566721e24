from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from zarrds import MemoryStore, create_array, open_array
from zarrds.arrays.layout import new_array_metadata
from zarrds.errors import (
    EncodingError,
    MetadataError,
    SelectionError,
    UnsupportedError,
)
from zarrds.metadata.dtypes import OBJECTS_AS_JSON
from zarrds.metadata.nodes.transaction import put_node

SHAPE, CHUNKS = (5, 7), (2, 3)
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
BIG_ENDIAN = {"name": "bytes", "configuration": {"endian": "big"}}
BLOSC = {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 1, "shuffle": "shuffle"}}
F_ORDER = {"name": "transpose", "configuration": {"order": [1, 0]}}
CHECKSUM = {"name": "crc32c"}

NUMBERS = "? i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8 c8 c16 >i2 >u4 >i8 >f4 >f8 >c16".split()
TIMES = ["M8[s]", "M8[ns]", ">M8[D]", "m8[ms]", ">m8[25s]"]
TEXTS = ["S5", "U3", ">U4", "V6"]
STRUCTURED = np.dtype([("a", "<i2"), ("b", ">f8"), ("c", "S3"), ("d", [("e", "u1"), ("f", "M8[s]")])])
FIXED = [*NUMBERS, *TIMES, *TEXTS, STRUCTURED]


def values_of(dtype: npt.DTypeLike, shape: tuple[int, ...] = SHAPE) -> npt.NDArray[Any]:
    """Any elements of that dtype, with special ones among them."""
    kind = np.dtype(dtype)
    random = np.random.default_rng(prod(shape))
    if kind.kind in "US":
        words = np.array(["", "a", "é€"[: 2 if kind.kind == "U" else 0], "xyzab"[: 3 if kind.kind == "U" else 5]])
        return words.astype(kind)[random.integers(0, 4, shape)]
    if kind.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if kind.names is not None:
        structured = np.empty(shape, kind)
        for name in kind.names:
            structured[name] = values_of(kind[name], shape)
        return structured
    raw = random.integers(0, 256, (*shape, kind.itemsize), np.uint8)
    values = raw.view(kind).reshape(shape)
    if kind.kind in "fc" and values.size:
        values.flat[:4] = [np.nan, np.inf, -np.inf, -0.0]
    if kind.kind in "mM" and values.size:
        values.flat[0] = "NaT"
    return values


def strings_of(kind: str, shape: tuple[int, ...] = SHAPE) -> npt.NDArray[Any]:
    words = np.array(["", "a", "naïve €uro 𝄞", "x" * 1000], object)
    if kind == "bytes":
        words = np.array([w.encode() + b"\0\xff" for w in words], object)
    return words[np.random.default_rng(1).integers(0, 4, shape)]


def codec_lists(zarr_format: int) -> Iterator[list[dict[str, Any]] | None]:
    yield None
    yield [BYTES]
    yield [F_ORDER, BYTES]
    yield [F_ORDER, BYTES, BLOSC]
    yield [BIG_ENDIAN, BLOSC]
    if zarr_format == 3:
        yield [BYTES, CHECKSUM]
        yield [{"name": "transpose", "configuration": {"order": [0, 1]}}, BIG_ENDIAN, BLOSC, CHECKSUM]


def same_bits(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.one_in(4)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", FIXED, ids=str)
def test_every_dtype(dtype: npt.DTypeLike, zarr_format: Any) -> None:
    values = values_of(dtype)
    for codecs in codec_lists(zarr_format):
        if codecs is not None and np.dtype(dtype).itemsize == 1:
            codecs = [{"name": "bytes"} if c["name"] == "bytes" else c for c in codecs]
        for workers in (1, 4):
            store = MemoryStore()
            made = create_array(
                store, shape=SHAPE, chunks=CHUNKS, dtype=dtype, codecs=codecs, zarr_format=zarr_format, workers=workers
            )
            made[...] = values
            made[1:4, ::-2] = values[1:4, ::-2]
            array = open_array(store, workers=workers)
            assert array.dtype == made.dtype
            if zarr_format == 3:
                assert array.dtype == np.dtype(dtype).newbyteorder("=")
            elif codecs is None:
                assert array.dtype == np.dtype(dtype)
            else:
                assert array.dtype == np.dtype(dtype).newbyteorder(">" if BIG_ENDIAN in codecs else "<")
            expected = values.astype(array.dtype)
            # in a structured array NaN and NaT are not equal to themselves
            assert same_bits(array[...], expected), codecs
            assert same_bits(array[1:, 6::-2], expected[1:, 6::-2])
            assert same_bits(array.oindex[[3, 0], [6, 6, 0]], expected[np.ix_([3, 0], [6, 6, 0])])
            assert same_bits(array.vindex[[3, 0], [6, 1]], expected[[3, 0], [6, 1]])
            element = array[2, 3]
            assert type(element) is type(expected[2, 3])
            assert element.tobytes() == expected[2, 3].tobytes()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("kind", ["string", "bytes"])
@pytest.mark.parametrize("more", [[], [{"name": "zstd"}], [{"name": "blosc", "configuration": {"cname": "lz4"}}]])
def test_strings_and_bytes_of_any_length(kind: str, zarr_format: Any, more: list[Any]) -> None:
    values = strings_of(kind)
    codecs = [{"name": "vlen-utf8" if kind == "string" else "vlen-bytes"}, *more] if more else None
    for workers in (1, 4):
        store = MemoryStore()
        made = create_array(
            store, shape=SHAPE, chunks=CHUNKS, dtype=kind, codecs=codecs, zarr_format=zarr_format, workers=workers
        )
        assert made[0, 0] == ("" if kind == "string" else b"")
        made[...] = values
        made[1:3, 4] = values[1:3, 4].tolist()
        made[4, 4] = values[4, 4]
        array = open_array(store, workers=workers)
        assert array.dtype == object
        got = array[...]
        assert (got == values).all()
        assert {type(v) for v in got.flat} == {str if kind == "string" else bytes}
        assert array[4, 4] == values[4, 4]
        assert (array.vindex[[0, 4], [6, 2]] == values[[0, 4], [6, 2]]).all()


def test_numpy_strings_become_strings() -> None:
    array = create_array(MemoryStore(), shape=3, dtype=str, chunks=2)
    for values in (np.array(["a", "", "é"]), np.array(["a", "", "é"], np.dtypes.StringDType()), ["a", "", "é"]):
        array[...] = values
        assert array[...].tolist() == ["a", "", "é"]
    array[1] = "b"
    assert array[1] == "b"
    for wrong in ([1, 2, 3], [None, "a", "b"], [b"a", b"b", b"c"], 5):
        with pytest.raises(EncodingError):
            array[...] = wrong
    assert array[...].tolist() == ["a", "b", "é"]


def test_json_elements_are_not_taken_apart() -> None:
    store = MemoryStore()
    fill: Any = [1, {"a": None}]
    metadata = new_array_metadata(shape=(3, 2), dtype=OBJECTS_AS_JSON, chunks=2, zarr_format=2, fill_value=fill)
    put_node(store, "", metadata)
    array = open_array(store, "r+")
    assert array[0, 0] == fill
    assert array[...].tolist() == [[fill, fill]] * 3
    array[1, 1] = [1, [2]]
    array[2, 0] = {"k": [3]}
    array[0, 0] = 5
    expected = [[5, fill], [fill, [1, [2]]], [{"k": [3]}, fill]]
    assert open_array(store)[...].tolist() == expected
    assert array[1, 1] == [1, [2]]
    assert array.vindex[[2, 1], [0, 1]].tolist() == [{"k": [3]}, [1, [2]]]
    array.resize((2, 2))
    array.resize((3, 2))
    assert array[...].tolist() == [*expected[:2], [fill, fill]]
    put_node(store, "s", new_array_metadata(shape=(), dtype=OBJECTS_AS_JSON, zarr_format=2))
    scalar = open_array(store, "r+", "s")
    scalar[...] = [1, 2]
    assert scalar[()] == [1, 2]
    assert scalar.vindex[()] == [1, 2]


# fill values


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("dtype", "fill_value"),
    [
        ("f4", np.nan),
        ("f8", -np.inf),
        (">f8", 1.5),
        ("c16", complex(np.nan, -1)),
        ("i2", -7),
        ("?", True),
        ("M8[s]", np.datetime64("NaT", "s")),
        ("M8[ms]", np.datetime64("2020-02-29T12:00", "ms")),
        ("m8[D]", np.timedelta64(3, "D")),
        ("S4", b"ab"),
        ("U4", "éß"),
        ("V3", np.void(b"a\0b")),
        (STRUCTURED, np.array((1, 2.5, b"x", (3, "2001-01-01")), STRUCTURED)[()]),
    ],
    ids=str,
)
def test_chunks_that_were_never_written_are_fill_values(dtype: Any, fill_value: Any, zarr_format: Any) -> None:
    store = MemoryStore()
    create_array(store, shape=SHAPE, chunks=CHUNKS, dtype=dtype, fill_value=fill_value, zarr_format=zarr_format)
    array = open_array(store, "r+")
    expected = np.full(SHAPE, fill_value, array.dtype)
    assert same_bits(array[...], expected)
    assert same_bits(array.vindex[[0, 4], [6, 0]], expected[[0, 4], [6, 0]])
    value = values_of(array.dtype)[2, 4]
    array[2, 4] = value
    expected[2, 4] = value
    assert same_bits(open_array(store)[...], expected)
    # one chunk was written, and all its other elements with it
    assert sum(not key.rpartition("/")[2].startswith((".z", "zarr")) for key in store.list_prefix()) == 1


@pytest.mark.parametrize(
    ("dtype", "zero"),
    [("f4", 0.0), ("?", False), ("M8[s]", np.datetime64("NaT", "s")), ("U2", ""), ("string", ""), ("bytes", b"")],
)
@pytest.mark.parametrize("null", [False, True])
def test_no_fill_value(dtype: str, zero: Any, null: bool) -> None:
    store = MemoryStore()
    metadata = new_array_metadata(shape=3, dtype=dtype, chunks=2, zarr_format=2, null_fill_value=null)
    put_node(store, "", metadata)
    array = open_array(store, "r+")
    assert (array.metadata.fill_value is None) == null
    assert np.array_equal(array[...], np.full(3, zero, array.dtype), equal_nan=array.dtype.kind in "Mf")
    array[1:2] = array[1:2]
    array.attrs["a"] = 1
    assert (open_array(store).metadata.fill_value is None) == null


# values


def test_values_are_broadcast_and_cast_as_numpy_does() -> None:
    for dtype in ("i2", "f4", "?", "U3", "M8[s]", "c8"):
        for value in (1, 2.0, True, np.float32(3), np.int64(4), [[1], [0]], np.ones((1, 1, 3)), np.arange(3.0), "5"):
            expected = np.zeros((2, 3), dtype)
            array = create_array(MemoryStore(), shape=(2, 3), dtype=dtype, chunks=(1, 2))
            array[...] = expected
            try:
                expected[...] = value
            except (TypeError, ValueError):
                if isinstance(value, np.ndarray | np.generic):
                    continue  # NumPy's own cast speaks, chunk by chunk
                with pytest.raises(EncodingError):
                    array[...] = value
            else:
                array[...] = value
            assert same_bits(array[...], expected), (dtype, value)


@pytest.mark.parametrize("value", [300, -129, [1, 2, 300], "x", None, 1j, [[1], [2, 3]], object(), float("nan")])
def test_values_that_are_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        np.zeros(3, "i1")[...] = value
    array = create_array(MemoryStore(), shape=3, dtype="i1", chunks=1, fill_value=7)
    with pytest.raises(EncodingError) as caught:
        array[...] = value
    assert caught.value.path == array.store.path
    assert array[...].tolist() == [7, 7, 7]
    with pytest.raises(EncodingError):
        array.append(value)
    assert array.shape == (3,)


def test_objects_are_refused_before_anything_is_written() -> None:
    array = create_array(MemoryStore(), shape=3, dtype="f8", chunks=1)
    with pytest.raises(EncodingError, match="cannot be stored"):
        array[...] = np.array([1.0, 2.0, "no number"], object)
    assert array[...].tolist() == [0, 0, 0]
    array[...] = np.array([1, 2.5, "3"], object)
    assert array[...].tolist() == [1, 2.5, 3]


def test_what_is_written_is_not_kept() -> None:
    array = create_array(MemoryStore(), shape=(2, 3), dtype="f8", chunks=(2, 3), codecs=[BYTES])
    values = np.ones((2, 3))
    array[...] = values
    values[...] = 2
    got = array[...]
    got[...] = 3
    assert array[...].tolist() == [[1.0] * 3] * 2


def test_other_memory_layouts() -> None:
    values = np.arange(35, dtype="f4").reshape(5, 7)
    for given in (np.asfortranarray(values), values[::-1][::-1], values.astype(">f4"), np.ma.masked_array(values)):
        array = create_array(MemoryStore(), shape=(5, 7), dtype="f4", chunks=(5, 7))
        array[...] = given
        np.testing.assert_array_equal(array[...], values)


# shapes


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["f8", "string", "M8[s]"])
def test_no_dimensions(zarr_format: Any, dtype: str) -> None:
    store = MemoryStore()
    array = create_array(store, shape=(), dtype=dtype, zarr_format=zarr_format)
    value = {"f8": 1.5, "string": "ä", "M8[s]": np.datetime64("2020-01-01", "s")}[dtype]
    keys: tuple[Any, ...] = ((), ..., (...,))
    for key in keys:
        for way in (array, array.oindex, array.vindex):
            way[key] = value
            assert way[key] == value
            assert np.ndim(way[key]) == 0
    assert open_array(store)[()] == value
    assert np.asarray(array).shape == ()
    assert (array.ndim, array.size, array.chunks) == (0, 1, ())
    assert [key for key in store.list_prefix() if "z" not in key] == ["c" if zarr_format == 3 else "0"]
    with pytest.raises(TypeError):
        len(array)
    for bad in (0, slice(None), [0]):
        with pytest.raises(SelectionError):
            array.vindex[bad]
    with pytest.raises(SelectionError):
        array.append([1])
    array.resize(())
    assert array[()] == value


def test_no_elements() -> None:
    for shape in ((0,), (3, 0), (0, 0, 2)):
        store = MemoryStore()
        array = create_array(store, shape=shape, dtype="f4", chunks=2)
        array[...] = 1
        array[...] = np.ones(shape)
        assert array[...].shape == shape
        assert array.nbytes == 0
        assert list(store.list_prefix()) == [".zarrds/.zarrds.json", "zarr.json"]


# opening


@pytest.mark.parametrize("name", ["no-such-codec", "numcodecs.pickle"])
def test_unknown_codec(name: str) -> None:
    store = MemoryStore()
    create_array(store, path="a", shape=3, dtype="i4", codecs=[BYTES, {"name": "gzip"}])
    document = bytes(store.get("a/zarr.json") or b"").replace(b'"gzip"', f'"{name}"'.encode())
    store.set("a/zarr.json", document)
    with pytest.raises(UnsupportedError, match=name) as caught:
        open_array(store, path="a")
    assert (caught.value.path, caught.value.key, caught.value.codec) == (store.path, "a", name)
    with pytest.raises(UnsupportedError, match=name):
        create_array(store, path="b", shape=3, dtype="i4", codecs=[BYTES, {"name": name}])
    assert list(store.list_prefix("b")) == []


def test_codecs_that_do_not_fit() -> None:
    for codecs in ([], [BLOSC], [BYTES, BYTES], [BLOSC, BYTES], [{"name": "vlen-utf8"}], [F_ORDER, BYTES]):
        store = MemoryStore()
        with pytest.raises((MetadataError, EncodingError)):
            create_array(store, shape=3, dtype="i4", codecs=codecs)
        assert list(store.list_prefix()) == []

"""Chunks that are absent: lost where the array was written as a whole, else the fill value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr

from zarrds import MemoryStore, create_array, create_group, open_array, open_group
from zarrds.arrays.array import Array
from zarrds.engine.elements import Elements
from zarrds.errors import ChunkError, EncodingError
from zarrds.metadata.extension import Marks, marks_of, new_id, with_marks
from zarrds.metadata.nodes.transaction import put_node

SHAPE, CHUNKS = (9, 8), (4, 3)
VALUES = np.arange(72.0).reshape(SHAPE) + 1
LAYOUTS: dict[str, dict[str, Any]] = {
    "v3": {"chunks": CHUNKS},
    "v2": {"chunks": CHUNKS, "zarr_format": 2},
    "shards": {"chunks": (2, 1), "shards": CHUNKS},
    "shards behind a codec": {
        "chunks": CHUNKS,
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [2, 1],
                    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                    "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
                },
            },
            {"name": "crc32c"},
        ],
    },
}


def completed(array: Array, sizes: tuple[int, ...] | None = None) -> Array:
    """The array, marked as `save` does when it has written all of it."""
    put_node(array.store, array.path, with_marks(array.metadata, Marks(new_id(), sizes or array.shape)))
    return open_array(array.store, "r+", array.path)


def make(store: Any, layout: str, sizes: tuple[int, ...] | None = None, path: str = "g/t2m") -> Array:
    array = create_array(store, path=path, shape=SHAPE, dtype="f8", fill_value=-1, **LAYOUTS[layout])
    array[...] = VALUES
    return completed(array, sizes)


def key_of(array: Array, *position: int) -> str:
    return f"{array.path}/{array.metadata.chunk_key_encoding.key(position)}"


def lost(position: tuple[int, int]) -> Any:
    """`VALUES` with the fill value where the chunk was."""
    values = VALUES.copy()
    values[tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, CHUNKS, strict=True))] = -1
    return values


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["memory", "local"])
def test_a_lost_chunk_of_a_complete_array_is_an_error(layout: str, kind: str, tmp_path: Path) -> None:
    array = make(MemoryStore() if kind == "memory" else tmp_path, layout)
    key = key_of(array, 1, 0)
    np.testing.assert_array_equal(array[...], VALUES)
    array.store.delete(key)
    for access in (
        lambda: array[...],
        lambda: array[5, 1],
        lambda: array[::-2, ::3],
        lambda: array.oindex[[8, 5], [7, 2]],
        lambda: array.vindex[[8, 5], [7, 2]],
        lambda: array.__setitem__((5, 1), 0),
        lambda: array.__setitem__((slice(3, 7), 1), 0),
        lambda: array.vindex.__setitem__(([5, 6], [0, 2]), 0),
    ):
        with pytest.raises(ChunkError, match="missing") as caught:
            access()
        assert (caught.value.path, caught.value.key) == (array.store.path, key)
        assert "missing_chunks='fill'" in str(caught.value)
    assert array.store.get(key) is None
    # all else can be read, and writing the chunk mends it
    np.testing.assert_array_equal(array[:3], VALUES[:3])
    np.testing.assert_array_equal(array[4:, 3:], VALUES[4:, 3:])
    array[4:8, :3] = VALUES[4:8, :3]
    np.testing.assert_array_equal(array[4:], VALUES[4:])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_lost_chunk_at_the_edge(layout: str) -> None:
    array = make(MemoryStore(), layout)
    array.store.delete(key_of(array, 2, 2))
    for access in (lambda: array[8, 7], lambda: array.__setitem__((8, 7), 0)):
        with pytest.raises(ChunkError, match="missing"):
            access()
    array[8:, 6:] = VALUES[8:, 6:]
    np.testing.assert_array_equal(array[...], VALUES)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_absent_chunks_beyond_what_was_complete_are_fill_values(layout: str) -> None:
    array = make(MemoryStore(), layout, sizes=(5, 6))  # chunks 0 and 1 along each dimension
    for position in ((2, 1), (0, 2)):
        array.store.delete(key_of(array, *position))
        np.testing.assert_array_equal(array[...], lost(position))
        array[8, 4] = array[0, 7] = 5
        array[...] = VALUES
    array.store.delete(key_of(array, 1, 1))
    with pytest.raises(ChunkError, match="missing"):
        array[...]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_user_may_say_what_an_absent_chunk_is(layout: str) -> None:
    store = MemoryStore()
    array = make(store, layout)
    plain = make(store, layout, path="plain")
    put_node(store, "plain", with_marks(plain.metadata, Marks()))
    for path in ("g/t2m", "plain"):
        store.delete(key_of(open_array(store, path=path), 1, 1))
        filled = open_array(store, "r+", path, missing_chunks="fill")
        np.testing.assert_array_equal(filled[...], lost((1, 1)))
        strict = open_array(store, "r+", path, missing_chunks="error")
        for access in (lambda a=strict: a[4, 3], lambda a=strict: a.__setitem__((4, 3), 1)):
            with pytest.raises(ChunkError, match="missing"):
                access()
        np.testing.assert_array_equal(strict[:4], VALUES[:4])
    assert open_array(store, path="plain")[4, 3] == -1
    filled = open_array(store, "r+", "g/t2m", missing_chunks="fill")
    filled[4, 3] = 7
    assert array[4:8, 3:6].tolist() == [[7, -1, -1]] + [[-1] * 3] * 3


def test_groups_hand_it_on() -> None:
    store = MemoryStore()
    make(store, "v3")
    store.delete("g/t2m/c/0/0")
    for mode in ("r", "r+"):
        array = open_group(store, mode, missing_chunks="fill")["g"]["t2m"]  # type: ignore[index, arg-type]  # a group
        assert isinstance(array, Array)
        assert array[0, 0] == -1
        for option in (None, "error"):
            array = open_group(store, missing_chunks=option)["g/t2m"]  # type: ignore[arg-type]  # a str
            with pytest.raises(ChunkError):
                array[0, 0]


def test_edits_keep_what_the_user_said() -> None:
    store = MemoryStore()
    make(store, "v3")
    store.delete("g/t2m/c/0/0")
    array = open_array(store, "r+", "g/t2m", missing_chunks="fill")
    array.attrs["units"] = "K"
    array.append(VALUES[:1])
    array.resize((9, 8))
    assert array[0, 0] == -1


@pytest.mark.parametrize("option", ["Fill", True, 0, "", ("fill",)])
def test_unknown_options(option: Any) -> None:
    store = MemoryStore()
    make(store, "v3")
    with pytest.raises(EncodingError, match="missing_chunks"):
        open_array(store, path="g/t2m", missing_chunks=option)


def test_no_dimensions() -> None:
    array = create_array(MemoryStore(), shape=(), dtype="i4", fill_value=-1)
    assert array[()] == -1
    array[()] = 5
    array = completed(array)
    array.store.delete("c")
    with pytest.raises(ChunkError, match="missing"):
        array[()]
    array[()] = 6
    assert array[()] == 6


def test_empty_chunks_are_written_where_their_absence_would_be_a_loss() -> None:
    array = make(MemoryStore(), "v3", sizes=(4, 8))
    for key in [key_of(array, 0, 0), key_of(array, 1, 0)]:
        array.store.delete(key)
    sparse = Elements(array.store, array.path, array.metadata, write_empty_chunks=False)
    sparse.write((slice(0, 8), slice(0, 3)), -1)
    assert array.store.get(key_of(array, 0, 0)) is not None
    assert array.store.get(key_of(array, 1, 0)) is None
    assert (array[:8, :3] == -1).all()


# inner chunks


def test_inner_chunks_that_a_shard_does_not_have_are_fill_values(tmp_path: Path) -> None:
    theirs = zarr.create_array(tmp_path, shape=(8,), dtype="f8", chunks=(2,), shards=(4,), fill_value=-1)
    theirs[2:8] = np.arange(2.0, 8)  # leaves out the first inner chunk
    array = completed(open_array(tmp_path, "r+"))
    expected = [-1, -1, 2, 3, 4, 5, 6, 7]
    for option in (None, "fill", "error"):
        assert open_array(tmp_path, missing_chunks=option)[...].tolist() == expected  # type: ignore[arg-type]  # a str
    array[3] = 9
    assert array[:4].tolist() == [-1, -1, 2, 9]
    array.store.delete("c/0")
    with pytest.raises(ChunkError, match="missing"):
        array[0]


# shapes that change


def test_append_and_resize_keep_the_marks_true() -> None:
    array = make(MemoryStore(), "v3")
    id_ = marks_of(array.metadata).id
    array.append(VALUES[:4])
    assert marks_of(array.metadata) == Marks(id_, (13, 8))
    array.store.delete(key_of(array, 3, 0))  # which was appended
    with pytest.raises(ChunkError, match="missing"):
        array[12, 0]
    array.resize((8, 20))
    assert marks_of(array.metadata) == Marks(id_, (8, 8))
    assert (array[:, 9:] == -1).all()
    array.resize((12, 20))
    assert marks_of(open_array(array.store, path=array.path).metadata) == Marks(id_, (8, 8))
    assert (array[8:] == -1).all()
    np.testing.assert_array_equal(array[:8, :8], VALUES[:8])
    array.append(VALUES[:, :5].repeat(2, 0)[:12], axis=1)
    assert marks_of(array.metadata) == Marks(id_, (8, 8))


def test_an_array_without_marks_gets_none() -> None:
    array = create_array(MemoryStore(), shape=(4,), dtype="i4", chunks=2)
    array.append([1, 2])
    assert marks_of(array.metadata).complete is None


def test_shrinking_does_not_hide_a_loss() -> None:
    array = make(MemoryStore(), "v3")
    array.store.delete(key_of(array, 1, 0))
    array.resize((6, 8))
    with pytest.raises(ChunkError, match="missing"):
        array[4, 0]
    np.testing.assert_array_equal(array[:, 3:], VALUES[:6, 3:])
    array.resize((9, 8))
    assert (array[6:, 3:] == -1).all()


def test_append_does_not_hide_a_loss() -> None:
    array = make(MemoryStore(), "v3")
    array.store.delete(key_of(array, 2, 1))  # of which an append writes the rest
    with pytest.raises(ChunkError, match="missing") as caught:
        array.append(VALUES)
    assert caught.value.key == key_of(array, 2, 1)
    assert open_array(array.store, path=array.path).shape == SHAPE


# other libraries


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_zarr_python_made_larger_is_fill_values(tmp_path: Path, zarr_format: int) -> None:
    make(tmp_path, f"v{zarr_format}")
    theirs = zarr.open_array(tmp_path, path="g/t2m", mode="r+", zarr_format=zarr_format)  # type: ignore[arg-type]  # an int
    theirs.resize((14, 10))
    array = open_array(tmp_path, "r+", "g/t2m")
    expected = np.full((14, 10), -1.0)
    expected[:9, :8] = VALUES
    np.testing.assert_array_equal(array[...], expected)
    array[13, 9] = expected[13, 9] = 3
    np.testing.assert_array_equal(theirs[...], expected)
    (tmp_path / key_of(array, 1, 1)).unlink()
    if zarr_format == 3:
        with pytest.raises(ChunkError, match="missing"):
            array[...]
    else:  # it drops the marks of v2 arrays
        assert array[4, 3] == -1
    theirs.resize((4, 3))
    assert open_array(tmp_path, path="g/t2m")[...].tolist() == VALUES[:4, :3].tolist()


@pytest.mark.parametrize("layout", ["v3", "v2", "shards"])
def test_other_libraries_read_arrays_with_marks(tmp_path: Path, layout: str) -> None:
    create_group(tmp_path, zarr_format=LAYOUTS[layout].get("zarr_format", 3))
    array = make(tmp_path, layout)
    zarr_format = array.metadata.zarr_format
    assert marks_of(array.metadata).complete == SHAPE
    array.attrs["units"] = "K"
    zarr.consolidate_metadata(tmp_path, zarr_format=zarr_format)
    for use in (True, False):
        theirs = zarr.open_group(tmp_path, mode="r", zarr_format=zarr_format, use_consolidated=use)["g/t2m"]
        assert isinstance(theirs, zarr.Array)
        np.testing.assert_array_equal(theirs[...], VALUES)
        assert dict(theirs.attrs) == {"units": "K"}
    spec = {
        "driver": "zarr3" if zarr_format == 3 else "zarr",
        "kvstore": {"driver": "file", "path": str(tmp_path / "g/t2m")},
    }
    np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), VALUES)
    child = open_group(tmp_path)["g/t2m"]
    assert isinstance(child, Array)
    # its consolidated copy of v2 documents has only the members that it knows
    assert marks_of(child.metadata).complete == (None if zarr_format == 2 else SHAPE)
    assert marks_of(open_array(tmp_path, "r+", "g/t2m").metadata).complete == SHAPE


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_array_has_an_id_of_its_own(tmp_path: Path, zarr_format: Any) -> None:
    ids = set()
    for _ in range(3):
        create_array(tmp_path, path="a", shape=3, dtype="i4", zarr_format=zarr_format, overwrite=True)
        array = open_array(tmp_path, "r+", "a")
        ids.add(marks_of(array.metadata).id)
        array.append([1])
        array.attrs["x"] = 1
        assert marks_of(open_array(tmp_path, path="a").metadata).id in ids
    assert len(ids) == 3
    assert None not in ids

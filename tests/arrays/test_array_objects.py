"""What an array says of itself, and where it goes: pickles, processes, dask."""

from __future__ import annotations

import copy
import pickle
from multiprocessing import get_context
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

from zarrds import LocalStore, MemoryStore, create_array, create_group, open_array, open_group
from zarrds.arrays.array import Array
from zarrds.errors import (
    EncodingError,
    ReadOnlyError,
    ZarrdsError,
)


def test_what_an_array_says_of_itself() -> None:
    store = MemoryStore()
    array = create_array(
        store, path="a/b", shape=(4, 6), dtype=">f4", chunks=(2, -1), dimension_names=("y", None), zarr_format=2
    )
    assert (array.shape, array.dtype, array.chunks, array.shards) == ((4, 6), np.dtype(">f4"), (2, 6), None)
    assert (array.ndim, array.size, array.nbytes, len(array)) == (2, 24, 96, 4)
    assert array.path == "a/b"
    assert array.store is store
    assert not array.read_only
    assert "a/b" in repr(array)
    assert repr(array.dimension_names) == "('y', None)"
    array[...] = 1
    assert np.asarray(array).dtype == np.dtype(">f4")
    assert np.asarray(array, "i8").dtype == np.int64
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(array, copy=False)
    assert sum(row.sum() for row in array) == 24


def test_read_only() -> None:
    store = MemoryStore()
    create_array(store, path="a", shape=3, dtype="i4", attributes={"x": 1})[...] = 1
    before = {key: store.identity(key) for key in store.list_prefix()}
    array = open_array(store, path="a")
    group = open_group(store)
    for change in (
        lambda: array.__setitem__(0, 1),
        lambda: array.oindex.__setitem__([0], 1),
        lambda: array.vindex.__setitem__([0], 1),
        lambda: array.resize(4),
        lambda: array.append([1]),
        lambda: array.attrs.update(x=2),
        lambda: array.attrs.pop("x"),
        lambda: array.attrs.clear(),
        lambda: group.attrs.update(x=2),
        lambda: group.create_array("b", shape=1, dtype="i4"),
        lambda: group.create_group("b"),
        lambda: group["a"].__setitem__(0, 1),  # type: ignore[union-attr]  # it is an array
    ):
        with pytest.raises(ReadOnlyError, match="mode='r\\+'"):
            change()
    assert {key: store.identity(key) for key in store.list_prefix()} == before
    with pytest.raises(EncodingError, match="unknown mode"):
        open_array(store, "w", "a")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(EncodingError, match="workers"):
        open_array(store, path="a", workers=0)


def total(array: Array) -> float:
    return float(array[...].sum())


@pytest.mark.parametrize("make", [MemoryStore, LocalStore])
def test_pickle(make: type[MemoryStore] | type[LocalStore], tmp_path: Path) -> None:
    store = make(tmp_path) if make is LocalStore else make()  # type: ignore[call-arg]  # a LocalStore's path
    array = create_array(store, path="a", shape=(4, 6), dtype="f4", chunks=3, attributes={"x": [1]}, workers=2)
    array[...] = 1
    for other in (pickle.loads(pickle.dumps(array)), copy.copy(array), copy.deepcopy(array)):
        assert total(other) == 24
        assert other.attrs == {"x": [1]}
        assert other.metadata == array.metadata
        assert not other.read_only
        other[0] = 1
    assert pickle.loads(pickle.dumps(open_array(store, path="a"))).read_only
    group = pickle.loads(pickle.dumps(open_group(store)))
    assert total(group["a"]) == 24
    if make is LocalStore:
        copied = pickle.loads(pickle.dumps(array))
        copied[...] = 2
        assert total(array) == 48


@pytest.mark.slow
def test_processes(tmp_path: Path) -> None:
    array = create_array(tmp_path, shape=(4, 6), dtype="f4", chunks=3)
    array[...] = 2
    with get_context("spawn").Pool(2) as pool:
        assert pool.map(total, [array] * 3) == [48.0] * 3


@pytest.mark.slow
def test_errors_travel_between_processes(tmp_path: Path) -> None:
    array = create_array(tmp_path, path="a", shape=4, dtype="f4", chunks=2)
    array[...] = 2
    (tmp_path / "a/c/1").write_bytes(b"")
    with get_context("spawn").Pool(1) as pool, pytest.raises(ZarrdsError) as caught:
        pool.map(total, [array])
    assert (caught.value.path, caught.value.key) == (str(tmp_path), "a/c/1")


def test_dask() -> None:
    store = MemoryStore()
    array = create_array(store, shape=(40, 30), dtype="f8", chunks=(7, 30))
    values = np.arange(1200.0).reshape(40, 30)
    array[...] = values
    lazy = da.from_array(open_array(store), chunks=(13, 10))
    np.testing.assert_array_equal((lazy + 1).compute(), values + 1)
    np.testing.assert_array_equal(lazy[::-3, [1, 5]].compute(), values[::-3][:, [1, 5]])
    assert lazy.name == da.from_array(open_array(store), chunks=(13, 10)).name
    target = create_array(store, path="", shape=(40, 30), dtype="f8", chunks=(7, 30), overwrite=True)
    assert lazy.name != da.from_array(target, chunks=(13, 10)).name
    # blocks that share chunks, stored by many threads without a lock
    da.store(da.from_array(values, chunks=(5, 4)), target, lock=False)
    np.testing.assert_array_equal(target[...], values)


def test_groups_of_arrays_use_their_workers() -> None:
    group = create_group(MemoryStore(), workers=3)
    array = group.create_array("a", shape=3, dtype="i4")
    assert array._n_workers == open_array(group.store, path="a", workers=3)._n_workers

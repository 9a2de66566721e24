"""Resize, append and attributes in any sequence; resize and append one by one, also where they fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import zarr
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.engine.selections import SLICES
from zarrds import LocalStore, MemoryStore, Store, create_array, open_array, open_group
from zarrds.arrays.array import Array
from zarrds.errors import ConflictError, EncodingError, SelectionError, StoreIOError

PROJECT = Path(__file__).resolve().parents[2]
FILL = 77
VALUES = st.integers(-100, 76)


class ArrayMachine(RuleBasedStateMachine):
    """An array in a store, and the NumPy array that it should equal."""

    zarr_format: ClassVar[Any]
    make: ClassVar[Callable[[Path], Store]]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize(
        shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
        chunks=st.tuples(*[st.integers(1, 4)] * 3),
        consolidated=st.booleans(),
        f_order=st.booleans(),
    )
    def create(self, shape: tuple[int, ...], chunks: tuple[int, ...], consolidated: bool, f_order: bool) -> None:
        self.store = type(self).make(self.folder)
        order = {"name": "transpose", "configuration": {"order": list(range(len(shape)))[::-1]}}
        self.array = create_array(
            self.store,
            path="g/a",
            shape=shape,
            dtype="i2",
            chunks=chunks[: len(shape)],
            fill_value=FILL,
            zarr_format=self.zarr_format,
            codecs=[order, {"name": "bytes", "configuration": {"endian": "big"}}] if f_order else None,
        )
        self.model = np.full(shape, FILL, "i2")
        self.attributes: dict[str, Any] = {}
        if consolidated and isinstance(self.store, LocalStore):
            zarr.consolidate_metadata(self.folder, zarr_format=self.zarr_format)

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        key = tuple(data.draw(SLICES) for _ in self.model.shape)
        part = self.model[key]
        value = data.draw(VALUES | hnp.arrays("i2", part.shape, elements=VALUES, fill=VALUES))
        part[...] = value
        self.array[key] = value

    @rule(data=st.data(), other=st.booleans())
    def resize(self, data: st.DataObject, other: bool) -> None:
        shape = tuple(data.draw(st.integers(0, 7)) for _ in self.model.shape)
        # sometimes through another object, which this one then knows nothing of
        array = open_array(self.store, "r+", "g/a") if other else self.array
        array.resize(shape)
        new = np.full(shape, FILL, "i2")
        kept = tuple(slice(0, min(n, m)) for n, m in zip(shape, self.model.shape, strict=True))
        new[kept] = self.model[kept]
        self.model = new
        if other:
            self.array = open_array(self.store, "r+", "g/a")

    @precondition(lambda self: max(self.model.shape) < 15)
    @rule(data=st.data(), stale=st.booleans())
    def append(self, data: st.DataObject, stale: bool) -> None:
        axis = data.draw(st.integers(-self.model.ndim, self.model.ndim - 1))
        shape = list(self.model.shape)
        shape[axis] = data.draw(st.integers(0, 4))
        added = data.draw(hnp.arrays("i2", tuple(shape), elements=VALUES, fill=VALUES))
        for array in [self.array, open_array(self.store, "r+", "g/a")] if stale else [self.array]:
            # both were opened before either appended
            self.model = np.concatenate([self.model, added], axis)
            assert array.append(added, axis) == self.model.shape
        self.array = open_array(self.store, "r+", "g/a") if stale else self.array

    @rule(name=st.sampled_from("xyz"), value=st.none() | st.integers() | st.text(max_size=3) | st.just([1, {"a": 2}]))
    def set_attribute(self, name: str, value: Any) -> None:
        self.array.attrs[name] = value
        self.attributes[name] = value

    @rule(name=st.sampled_from("xyz"))
    def delete_attribute(self, name: str) -> None:
        if name in self.attributes:
            del self.array.attrs[name]
            del self.attributes[name]
        else:
            with pytest.raises(KeyError):
                del self.array.attrs[name]

    @rule()
    def reopen(self) -> None:
        child = open_group(self.store, "r+")["g/a"]
        assert isinstance(child, Array)
        self.array = child

    @invariant()
    def equal(self) -> None:
        assert self.array.shape == self.model.shape
        np.testing.assert_array_equal(self.array[...], self.model)
        reopened = open_array(self.store, path="g/a")
        assert reopened.attrs == self.array.attrs == self.attributes
        assert reopened.metadata == self.array.metadata or self.zarr_format == 2
        np.testing.assert_array_equal(reopened[::-1], self.model[::-1])

    def teardown_with_peer(self) -> None:
        """What zarr-python makes of it, from consolidated metadata where there is any."""
        peer = zarr.open_group(self.folder, mode="r", zarr_format=self.zarr_format)["g/a"]
        assert isinstance(peer, zarr.Array)
        np.testing.assert_array_equal(peer[...], self.model)
        assert dict(peer.attrs) == self.attributes
        alone = zarr.open_array(self.folder, path="g/a", mode="r", zarr_format=self.zarr_format)
        np.testing.assert_array_equal(alone[...], self.model)


class LocalMachine(ArrayMachine):
    make = staticmethod(lambda folder: LocalStore(folder))

    def teardown(self) -> None:
        try:
            if hasattr(self, "model"):
                self.teardown_with_peer()
        finally:
            super().teardown()


@pytest.mark.one_in(2)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("kind", ["memory", "local"])
def test_any_sequence_of_edits(kind: str, zarr_format: int) -> None:
    members: dict[str, Any] = {"zarr_format": zarr_format}
    if kind == "memory":
        members["make"] = staticmethod(lambda folder: MemoryStore())
    machine = type("Machine", (ArrayMachine if kind == "memory" else LocalMachine,), members)
    run_state_machine_as_test(machine, settings=settings(max_examples=10, stateful_step_count=12))


# resize and append, one by one


def test_what_was_cut_off_does_not_come_back() -> None:
    array = create_array(MemoryStore(), shape=(10, 10), dtype="i4", chunks=(4, 4), fill_value=-1)
    array[...] = 5
    array.resize((5, 10))
    array.resize((3, 2))
    array.resize((10, 10))
    expected = np.full((10, 10), -1)
    expected[:3, :2] = 5
    np.testing.assert_array_equal(array[...], expected)


def test_resize_deletes_what_lies_outside() -> None:
    store = MemoryStore()
    array = create_array(store, shape=(10,), dtype="i4", chunks=2)
    array[...] = 1
    array.resize(4)
    assert sorted(store.list_prefix("c")) == ["c/0", "c/1"]
    array.resize(np.int64(0))  # type: ignore[arg-type]  # NumPy's integers serve, too
    assert sorted(store.list_prefix("c")) == []
    assert array.shape == (0,)


def test_bad_shapes_and_values_change_nothing() -> None:
    store = MemoryStore()
    array = create_array(store, shape=(4, 3), dtype="i4", chunks=2)
    array[...] = 1
    before = {key: store.identity(key) for key in store.list_prefix()}
    for shape in (3, (4,), (4, 3, 1), (-1, 3)):
        with pytest.raises(SelectionError, match="not a shape"):
            array.resize(shape)
    for values, axis in (
        (np.ones((2, 4)), 0),
        (np.ones(3), 0),
        (5, 0),
        (np.ones((2, 3, 1)), 0),
        (np.ones((2, 3)), 1),
        (np.ones((2, 3)), 2),
        (np.ones((2, 3)), -3),
    ):
        with pytest.raises(SelectionError):
            array.append(values, axis)
    with pytest.raises(EncodingError):
        array.append([["a", "b", "c"]])
    assert {key: store.identity(key) for key in store.list_prefix()} == before


def test_append_strings() -> None:
    array = create_array(MemoryStore(), shape=(1, 2), dtype=str, chunks=2)
    assert array.append([["a", "b"]]) == (2, 2)
    assert array.append(np.array([["c"], ["d"]]), axis=1) == (2, 3)
    assert array[...].tolist() == [["", "", "c"], ["a", "b", "d"]]


class FailingStore(MemoryStore):
    """Refuses to set keys after a number of them, as a full disk does."""

    left = 10**9  # also of what is staged for it

    def set(self, key: str, *parts: Any, **options: Any) -> None:
        if FailingStore.left <= 0:
            raise StoreIOError("cannot write: the disk is full", path=self.path, key=key)
        FailingStore.left -= 1
        super().set(key, *parts, **options)


@pytest.mark.parametrize("sets", range(5))
def test_append_that_fails_leaves_nothing(sets: int) -> None:
    store = FailingStore()
    array = create_array(store, shape=(3, 4), dtype="i4", chunks=2, fill_value=-1, workers=1)
    array[...] = 1
    FailingStore.left = sets
    with pytest.raises(StoreIOError, match="full"):
        array.append(np.full((3, 4), 2))
    FailingStore.left = 10**9
    assert array.shape == open_array(store).shape == (3, 4)
    assert (array[...] == 1).all()
    assert "c/2/0" not in list(store.list_prefix())


def test_append_after_a_failed_one() -> None:
    store = FailingStore()
    array = create_array(store, shape=(3,), dtype="i4", chunks=2, fill_value=-1, workers=1)
    array[...] = 1
    FailingStore.left = 2
    with pytest.raises(StoreIOError):
        array.append([2, 2, 2, 2, 2])
    FailingStore.left = 10**9
    array.append([3])
    array.resize(8)
    assert array[...].tolist() == [1, 1, 1, 3, -1, -1, -1, -1]


def test_full_file_system_leaves_old_chunks(tmp_path: Path) -> None:
    array = create_array(
        tmp_path,
        shape=(8, 5000),
        dtype="f8",
        chunks=(2, 5000),
        codecs=[{"name": "bytes", "configuration": {"endian": "little"}}],
    )
    array[...] = 1
    code = """
import resource, signal, sys
import numpy as np
import zarrds
from zarrds.errors import StoreIOError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
array = zarrds.open_array(sys.argv[1], "r+")
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for write in (
    lambda: array.__setitem__(..., 2),
    lambda: array.__setitem__((slice(1, 5), 7), 2),
    lambda: array.append(np.full((4, 5000), 2.0)),
):
    try:
        write()
    except StoreIOError as error:
        print(error.errno, error.path == sys.argv[1], error.key[:2], "limit" in str(error))
"""
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT, capture_output=True, text=True)
    assert (run.stderr, run.stdout) == ("", "27 True c/ True\n" * 3)
    assert open_array(tmp_path).shape == (8, 5000)
    assert (open_array(tmp_path)[...] == 1).all()
    assert sorted(LocalStore(tmp_path).list_prefix("c")) == [f"c/{i}/0" for i in range(4)]
    assert len([name for _, _, names in os.walk(tmp_path) for name in names]) == 6


def test_shrinking_a_huge_array_looks_at_its_chunks_only() -> None:
    array = create_array(MemoryStore(), shape=10**12, dtype="i1", chunks=10)
    array[10**11] = 1
    array.resize(10**11)
    assert [key for key in array.store.list_prefix() if key.startswith("c/")] == []
    array.resize(10**12)
    assert array[10**11] == 0


@pytest.mark.parametrize("shape", [(2.9,), "ab", (1, 2), (-1,), None, (2**63,)])
def test_resize_to_what_is_no_shape(shape: Any) -> None:
    array = create_array(MemoryStore(), shape=3, dtype="i4")
    with pytest.raises((SelectionError, EncodingError)):
        array.resize(shape)
    assert array.shape == (3,)
    assert open_array(array.store).shape == (3,)


def test_no_array_gets_larger_than_its_document_can_say() -> None:
    array = create_array(MemoryStore(), shape=2**63 - 1, dtype="i4", chunks=2)
    with pytest.raises(SelectionError, match=r"2\*\*63 - 1"):
        array.append([5])
    assert open_array(array.store).shape == (2**63 - 1,)


# another writer replaces the array


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_array_that_was_replaced_is_not_written_to(zarr_format: Any) -> None:
    """Chunks of the old grid would destroy the new array."""
    store = MemoryStore()
    create_array(store, shape=12, dtype="f8", chunks=4, zarr_format=zarr_format)[...] = 1
    stale = open_array(store, "r+")
    stale[0] = 5
    create_array(store, shape=12, dtype="f8", chunks=3, zarr_format=zarr_format, overwrite=True)[...] = np.arange(12.0)
    for write in (lambda: stale.write(slice(0, 10), 7), lambda: stale.oindex.__setitem__([1], 7)):
        with pytest.raises(ConflictError, match="Open it again"):
            write()
    assert open_array(store)[...].tolist() == list(range(12))


def test_an_array_that_another_object_has_grown_is_written_to() -> None:
    store = MemoryStore()
    old = create_array(store, shape=6, dtype="f8", chunks=4)
    open_array(store, "r+").append(np.ones(3))
    old[5] = 7
    assert open_array(store)[5:].tolist() == [7, 1, 1, 1]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_array_that_was_replaced_is_not_edited(zarr_format: Any) -> None:
    """What was opened is another array than what stands there, however alike they are."""
    store = MemoryStore()
    create_array(store, shape=4, dtype="f8", chunks=2, zarr_format=zarr_format)
    stale = open_array(store, "r+")
    create_array(store, shape=4, dtype="f8", chunks=2, zarr_format=zarr_format, overwrite=True)[...] = 1
    acts: list[Callable[[], object]] = [
        lambda: stale.append([7.0]),
        lambda: stale.resize(2),
        lambda: stale.attrs.update(units="K"),
        lambda: stale.attrs.clear(),
    ]
    before = {key: bytes(store.get(key) or b"") for key in store.list_prefix()}
    for act in acts:
        with pytest.raises(ConflictError, match=r"replaced the array since it was opened.*Nothing was written"):
            act()
    assert {key: bytes(store.get(key) or b"") for key in store.list_prefix()} == before
    fresh = open_array(store, "r+")
    other = open_array(store, "r+")
    other.resize(2)  # what another object has cut is still that array
    fresh.append([8.0])
    assert open_array(store)[...].tolist() == [1, 1, 8]

"""Where the kernel writes: durable stores, staged changes, and shards of stores that are no files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.kernel.modes import KERNEL, Spy, needs_kernel, with_kernel
from tests.engine.selections import ids_of
from zarrds import create_array, open_array
from zarrds.engine.elements import Elements
from zarrds.errors import StoreIOError
from zarrds.storage.commits.overlay import Overlay
from zarrds.stores import LocalStore, MemoryStore

pytestmark = needs_kernel


def test_durable_writes_and_what_is_above_new_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path / "s").as_durable()
    array = create_array(store, path="a", shape=(12, 12), dtype="i4", chunks=(3, 4))
    synced: list[str] = []

    def fsync(fd: int) -> None:
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), tmp_path))
        real(fd)

    real = os.fsync
    monkeypatch.setattr(os, "fsync", fsync)
    with with_kernel(Spy()) as spy:
        array[...] = ids_of((12, 12)).astype("i4")
        # the folders of chunks are synced by the kernel, as their files are: tests/engine/native/fuzz_write.c
        assert {"s", "s/a", "s/a/c"} <= set(synced)
        assert not any(place.startswith("s/a/c/") for place in synced)
        synced.clear()
        array[3:] = 7
        assert synced == []  # no folder is new
    assert (spy.given["write"], spy.left) == (12 + 9, 0)
    assert open_array(store, path="a")[2:5, 3].tolist() == [27, 7, 7]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_synced_is_an_error(tmp_path: Path) -> None:
    array = create_array(LocalStore(tmp_path / "s").as_durable(), shape=(4, 4), dtype="i4", chunks=(2, 2))
    array[...] = 1
    (tmp_path / "s" / "c" / "0").chmod(0o300)
    for kernel in (None, KERNEL):
        with with_kernel(kernel), pytest.raises(StoreIOError):
            array[...] = 2
    (tmp_path / "s" / "c" / "0").chmod(0o700)


@pytest.mark.parametrize("durable", [False, True])
def test_whole_chunks_are_staged(durable: bool, tmp_path: Path) -> None:
    found = []
    for name, kernel in (("py", None), ("c", Spy())):
        with with_kernel(kernel):
            store = LocalStore(tmp_path / name).as_durable(durable)
            array = create_array(store, path="a", shape=(10, 12), dtype="i4", chunks=(3, 4))
            array[...] = 1
            changes = store.stage_changes()
            elements = Elements(Overlay(store, changes), "a", array.metadata)
            elements.write((slice(2, 9), slice(4, None)), np.int32(5))
            assert (array[...] == 1).all()
            assert (elements.read(...) == 5).sum() == 7 * 8
            found.append({key: bytes(changes.get(key) or b"") for key in sorted(changes.list_prefix())})
            store.apply_changes(changes)
            assert (array[...] == 5).sum() == 7 * 8
    assert isinstance(kernel, Spy)
    assert kernel.given["write"] - kernel.left == 9 + 4  # the others are read first
    assert found[0] == found[1]
    assert list(found[1]) == [f"0/a/c/{i}/{j}" for i in range(3) for j in (1, 2)]


@pytest.mark.parametrize("noise", [2, 2**31 - 1])
def test_shards_in_memory_are_encoded_alike(noise: int) -> None:
    values: Any = np.random.default_rng(0).integers(0, noise, (64, 96), "i4")
    found = []
    for kernel in (None, Spy()):
        with with_kernel(kernel):
            store = MemoryStore()
            array = create_array(store, shape=(64, 96), dtype="i4", chunks=(8, 8), shards=(32, 32))
            array[...] = values
            array[5:9, 3] = values[5:9, 3]
            np.testing.assert_array_equal(array[...], values)
            found.append({key: store.get(key) for key in store.list_prefix("c")})
    assert isinstance(kernel, Spy)
    assert kernel.given["pack"] == 7 * 16  # six shards, and one of them again
    assert found[0] == found[1]

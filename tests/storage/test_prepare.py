"""Stores of many files, whose folder is made apart from those beside it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

import zarrds
from zarrds.errors import StoreIOError
from zarrds.storage.local import folders
from zarrds.stores import LocalStore

MANY = 10**6


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "t2m.zarr"


@pytest.mark.parametrize("durable", [True, False])
def test_a_new_folder_is_as_any_other(root: Path, durable: bool) -> None:
    store = LocalStore(root).as_durable(durable)
    store.prepare(1)
    assert not root.parent.exists()
    store.prepare(MANY)
    assert os.listdir(root.parent) in ([], ["t2m.zarr"])  # not every file system knows how
    store.set("a/k", b"v")
    assert os.listdir(root.parent) == ["t2m.zarr"]
    assert LocalStore(root).get("a/k") == b"v"
    beside = root.parent / "beside"
    beside.mkdir()
    assert stat.S_IMODE(root.stat().st_mode) == stat.S_IMODE(beside.stat().st_mode)


@pytest.mark.parametrize("kind", ["filled", "empty", "link"])
def test_a_folder_that_is_there_stays(root: Path, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "elsewhere" if kind == "link" else root
    place.mkdir(parents=True)
    if kind == "filled":
        (place / "k").write_bytes(b"v")
    if kind == "link":
        root.parent.mkdir()
        root.symlink_to(place)
    before = place.stat()
    LocalStore(root).prepare(MANY)
    assert os.path.samestat(place.stat(), before)
    assert os.listdir(root.parent) == ["t2m.zarr"]


def test_where_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LocalStore(tmp_path / "file" / "t2m.zarr")
    store.prepare(MANY)  # who writes finds out
    with pytest.raises(StoreIOError):
        store.set("k", b"v")


def test_a_staged_store_stays_its_owners(root: Path) -> None:
    store = LocalStore(root)
    staged = store.stage()
    staged.prepare(MANY)
    assert LocalStore(root).clean() == []
    staged.set("k", b"v")
    store.publish(staged, replace=False)
    assert os.listdir(root.parent) == ["t2m.zarr"]
    assert store.get("k") == b"v"


def test_arrays_of_many_chunks(root: Path) -> None:
    array = zarrds.create_array(root, shape=(600,), chunks=(1,), dtype="i2")
    array[...] = range(600)
    assert os.listdir(root.parent) == ["t2m.zarr"]
    assert zarrds.open_array(root)[...].tolist() == list(range(600))


def test_spread_says_so_to_the_file_system(tmp_path: Path) -> None:
    if not folders.spread(str(tmp_path)):
        pytest.skip("this file system does not know folders whose folders are to be apart")
    lsattr = shutil.which("lsattr")
    if lsattr is None:
        pytest.skip("needs lsattr")
    (tmp_path / "inner").mkdir()
    told = subprocess.run([lsattr, "-d", tmp_path, tmp_path / "inner"], capture_output=True, text=True, check=True)
    outer, inner = (line.split()[0] for line in told.stdout.splitlines())
    assert "T" in outer
    assert "T" not in inner

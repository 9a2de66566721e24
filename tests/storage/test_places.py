"""Paths that no folder can have, and those of which nobody knows where they lead: errors that say so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import zarrds
from zarrds.errors import InvalidKeyError, ZarrdsError
from zarrds.stores import LocalStore

DATASET = xr.Dataset({"v": ("x", [1.0])})
CALLS: dict[str, Callable[[Any], object]] = {
    "save": lambda place: zarrds.save(DATASET, place),
    "open": lambda place: xr.open_dataset(place, engine="zarrds"),
    "tree": lambda place: xr.open_datatree(place, engine="zarrds"),
    "open_array": lambda place: zarrds.open_array(place),
    "create_array": lambda place: zarrds.create_array(place, shape=2, dtype="f8"),
    "create_group": lambda place: zarrds.create_group(place),
    "verify": lambda place: zarrds.verify(place, repair=True),
    "info": lambda place: zarrds.info(place),
    "update_attrs": lambda place: zarrds.update_attrs(place, {"a": 1}),
    "index": lambda place: zarrds.index(place, "x"),
    "copy": lambda place: zarrds.copy(place, zarrds.MemoryStore()),
    "copy to": lambda place: zarrds.copy(saved(), place),
}


def saved() -> zarrds.MemoryStore:
    store = zarrds.MemoryStore()
    zarrds.save(DATASET, store)
    return store


@pytest.mark.parametrize("path", ["", "\0", "a\0b.zarr", "/nowhere/a\0b", "half a pair \ud800"])
def test_no_folder_can_have_it(path: str) -> None:
    for name, call in CALLS.items():
        with pytest.raises(InvalidKeyError, match="no store can have this path") as caught:
            call(path)
        assert caught.value.path == path, name
    with pytest.raises(ValueError, match="no store can have this path"):
        LocalStore(path)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no folder that a process works in")
def test_the_current_folder_is_gone(tmp_path: Path) -> None:
    """In a process of its own: others run in the folder of this one."""
    program = """
import os, sys
from tests.storage.test_places import CALLS
from zarrds.errors import StoreIOError
os.chdir(sys.argv[1])
os.rmdir(sys.argv[1])
for path in ("x.zarr", "./x.zarr", "."):
    for name, call in CALLS.items():
        try:
            call(path)
        except StoreIOError as error:
            assert "the current folder is gone" in str(error) and error.path == path, error
        else:
            raise AssertionError(name)
"""
    folder = tmp_path / "gone"
    folder.mkdir()
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_groups_that_are_nested_too_deeply(tmp_path: Path) -> None:
    """Deeper than Python calls: an error, or saved; never half of it."""
    zarrds.save(DATASET, tmp_path / "x.zarr")
    deep = "/".join(["g"] * 1500)
    for act in (
        lambda: zarrds.save(DATASET, tmp_path / "x.zarr", group=deep),
        lambda: zarrds.update_attrs(tmp_path / "x.zarr", {"a": 1}, group=deep),
        lambda: zarrds.create_array(tmp_path / "x.zarr", path=f"{deep}/a", shape=1, dtype="i1"),
    ):
        with suppress(ZarrdsError):
            act()
        assert xr.open_dataset(tmp_path / "x.zarr", engine="zarrds").v.values.tolist() == [1.0]
    assert not [name for name in os.listdir(tmp_path / "x.zarr") if name.endswith("partial")]
    subprocess.run(["rm", "-rf", str(tmp_path / "x.zarr")], check=True)  # Python's own cannot remove deep folders

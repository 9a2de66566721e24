"""A save that fails, or dies at any instant, leaves the dataset from before it or the one from after it."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
import zarr

import zarrds
from zarrds.datasets.writing.changes import ArrayChange
from zarrds.datasets.writing.commit.adding import edges_of
from zarrds.engine.chunk_io import Chunks
from zarrds.errors import StoreExistsError

PROJECT = Path(__file__).resolve().parents[2]
FORMATS = [3, 2]
SMALL = xr.Dataset({"v": ("x", np.arange(6.0))}, {"x": np.arange(6)})


def dataset(value: float, dtype: str = "f8") -> xr.Dataset:
    return xr.Dataset(
        {"v": (("y", "x"), np.full((6, 8), value, dtype)), "w": ("y", np.arange(6.0) + value)},
        {"y": np.arange(6) * value, "name": ("x", [f"{value}-{i}" for i in range(8)])},
        {"value": value},
    ).chunk({"y": 2, "x": 4})


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_identical(store: Any, expected: xr.Dataset, group: str | None = None) -> None:
    for engine in ("zarrds", "zarr") if isinstance(store, Path) else ("zarrds",):
        xr.testing.assert_identical(xr.open_dataset(store, engine=engine, group=group).load(), expected.compute())


# a save that fails


class Failure(BaseException):
    """Not an Exception, as KeyboardInterrupt is none."""


def fail(block: Any) -> Any:
    raise Failure


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("group", [None, "a/b"])
def test_a_failing_dask_graph(group: str | None, zarr_format: int, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    broken = dataset(2.0)
    broken["v"] = broken.v.copy(data=broken.v.data.map_blocks(fail, dtype="f8", meta=np.empty((0, 0))))
    with pytest.raises(Failure):
        zarrds.save(broken, path, group=group, zarr_format=zarr_format)
    assert os.listdir(tmp_path) == []
    zarrds.save(dataset(1.0), path, group=group, zarr_format=zarr_format)
    before = files(tmp_path)
    with pytest.raises(Failure):
        zarrds.save(broken, path, group=group, mode="w", zarr_format=zarr_format)
    assert files(tmp_path) == before
    zarrds.save(dataset(2.0), path, group=group, mode="w", zarr_format=zarr_format)
    assert_identical(path, dataset(2.0), group)


# real failures


def run_python(code: str, *arguments: str, before: tuple[str, ...] = ()) -> str:
    command = [*before, sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout


ON_A_SMALL_DISK = """
import os, resource, signal, sys
import numpy as np, xarray as xr, zarrds
path, limit = sys.argv[1] + "/x.zarr", int(sys.argv[2])
small = xr.Dataset({"v": ("x", np.arange(1000.0))})
large = xr.Dataset({"v": ("x", np.random.default_rng(0).random(200_000))})
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
def save_large(mode):
    try:
        zarrds.save(large, path, mode=mode, encoding={"v": {"chunks": 50_000}})
    except zarrds.errors.StoreIOError as error:
        print(error.errno, "|", error.path == path, error.key, error)
save_large("w-")
print(os.listdir(sys.argv[1]))
zarrds.save(small, path)
save_large("w")
print(os.listdir(sys.argv[1]), xr.open_dataset(path, engine="zarrds").load().identical(small))
"""


def check_small_disk(printed: str, number: int) -> None:
    first, nothing, second, there = printed.splitlines()
    for line in (first, second):
        assert line.startswith(f"{number} | True v/c.")
    assert nothing == "[]"
    assert there == "['x.zarr'] True"


def test_full_disk(tmp_path: Path) -> None:
    mount = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec "$@"', "sh")
    if shutil.which("unshare") is None or subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    check_small_disk(run_python(ON_A_SMALL_DISK, str(tmp_path), "0", before=mount), errno.ENOSPC)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_file_size_limit(tmp_path: Path) -> None:
    check_small_disk(run_python(ON_A_SMALL_DISK, str(tmp_path), "100000"), errno.EFBIG)


def test_what_consolidated_metadata_does_not_name_is_not_replaced(tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    zarrds.save(SMALL, store)
    zarr.open_group(store, mode="r+", use_consolidated=False).create_array("grp/precious", data=np.arange(3))
    with pytest.raises(StoreExistsError, match="'grp'"):
        zarrds.save(SMALL, store, group="grp")
    assert zarr.open_array(store, path="grp/precious", mode="r")[:].tolist() == [0, 1, 2]


@pytest.mark.parametrize("mode", ["w-", "w"])
def test_a_folder_inside_of_a_store_is_left_alone(tmp_path: Path, mode: Any) -> None:
    store = tmp_path / "x.zarr"
    zarrds.save(SMALL, store)
    (store / "sub").mkdir()
    (store / "sub" / "notes.txt").write_text("mine")
    with pytest.raises(StoreExistsError, match="holds files"):
        zarrds.save(SMALL, store, group="sub", mode=mode)
    assert (store / "sub" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("groups", [(None, None), ("a", "b")])
def test_of_two_saves_at_once_none_is_lost_silently(tmp_path: Path, groups: tuple[str | None, ...]) -> None:
    """Both found nothing at the path; the second to be ready must not replace the first."""
    both = threading.Barrier(2)

    def wait(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        both.wait(30)
        return block

    def save(i: int) -> str:
        ds = xr.Dataset({"v": ("x", dask.array.full(3, i, chunks=3).map_blocks(wait, dtype=int))})
        try:
            zarrds.save(ds, tmp_path / "x.zarr", group=groups[i])
        except StoreExistsError:
            return "refused"
        return "saved"

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(save, range(2)))
    assert sorted(outcomes) == ["refused", "saved"]
    winner = outcomes.index("saved")
    saved = xr.open_dataset(tmp_path / "x.zarr", engine="zarrds", group=groups[winner])
    assert saved.v.values.tolist() == [winner] * 3


def test_a_store_in_memory_is_not_written_by_other_processes() -> None:
    store = zarrds.MemoryStore()
    ds = xr.Dataset({"v": ("x", np.arange(6))})
    with dask.config.set(scheduler="processes"):
        zarrds.save(ds.chunk(x=2), store)
    xr.testing.assert_identical(xr.open_dataset(store, engine="zarrds"), ds)


def test_whose_a_key_is_is_told_by_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each array looked at all keys: with 500 variables that took 0.7 s."""
    store = zarrds.MemoryStore()
    arrays = {}
    for path in ("a", "g/a", "g/b", "new"):
        metadata = zarrds.create_array(store, path=path, shape=(4,), chunks=(2,), dtype="i4").metadata
        arrays[path] = ArrayChange(None if path == "new" else metadata, metadata, xr.Variable("x", [0]), (4,))
    looked: list[str] = []
    real = Chunks.position_in_grid
    monkeypatch.setattr(Chunks, "position_in_grid", lambda self, key: looked.append(key) or real(self, key))
    old = {f"{path}/c/{n}" for path in ("a", "g/a", "g/b") for n in range(2)}
    keys = {*old, "a/c/2", "g/b/c/7", "g/b/zarr.json"}
    assert edges_of(store, arrays, {*keys, "new/c/0", "g/zarr.json", "zarr.json"}) == old
    assert sorted(looked) == sorted(keys)

"""A save that fails, or dies at any instant, leaves the dataset from before it or the one from after it."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
import zarr

import zarrds
from zarrds.errors import StoreExistsError, StoreIOError
from zarrds.stores.base import Buffer

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


class Mortal(zarrds.LocalStore):
    """A directory store that fails at its n-th change; once dead it changes nothing any more."""

    countdown: ClassVar[int | None] = None
    failure: ClassVar[Callable[[], BaseException]] = Failure
    stays_dead: ClassVar[bool] = False

    @classmethod
    @contextmanager
    def failing(cls, after: int, failure: Callable[[], BaseException], stays_dead: bool = False) -> Iterator[None]:
        cls.countdown, cls.failure, cls.stays_dead = after, failure, stays_dead
        try:
            yield
        finally:
            cls.countdown = None

    @classmethod
    def count(cls) -> None:
        if cls.countdown is not None:
            cls.countdown -= 1
            if cls.countdown == -1 or (cls.countdown < -1 and cls.stays_dead):
                raise cls.failure()

    def set(self, key: str, *parts: Buffer) -> None:
        self.count()
        super().set(key, *parts)

    def delete(self, key: str) -> None:
        self.count()
        super().delete(key)

    def delete_prefix(self, prefix: str) -> None:
        self.count()
        super().delete_prefix(prefix)

    def stage(self, prefix: str = "") -> Self:
        self.count()
        return super().stage(prefix)

    def publish(self, staged: Self, prefix: str = "", *, replace: bool = True) -> None:
        self.count()
        super().publish(staged, prefix, replace=replace)

    def discard(self, staged: Self) -> None:
        if not self.stays_dead:
            super().discard(staged)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, lambda: StoreIOError("cannot write: the disk is full")])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_failing_store(failure: Callable[[], BaseException], in_memory: bool, tmp_path: Path) -> None:
    old, new = dataset(1.0), dataset(2.0)
    if in_memory:
        old, new = old.compute(), new.compute()
    path = tmp_path / "x.zarr"
    for after in (0, 1, 3, 5):
        with Mortal.failing(after, failure), pytest.raises((KeyboardInterrupt, StoreIOError)):
            zarrds.save(new, Mortal(path))
        assert os.listdir(tmp_path) == []
    zarrds.save(old, path)
    before = files(tmp_path)
    for after in (0, 1, 3, 5):
        with Mortal.failing(after, failure), pytest.raises((KeyboardInterrupt, StoreIOError)):
            zarrds.save(new, Mortal(path), mode="w")
        assert files(tmp_path) == before
    zarrds.save(new, path, mode="w")
    assert_identical(path, new)


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize("group", [None, "a", "a/b", "new", "new/deep"])
def test_dead_after_any_change(group: str | None, consolidated: bool, zarr_format: int, tmp_path: Path) -> None:
    # the same size and another dtype: nothing would notice old chunks under new metadata, or new under old
    old, new = (xr.Dataset({"v": ("x", np.arange(4, dtype=dtype))}, attrs={"n": dtype}) for dtype in ("f8", "i8"))
    other = xr.Dataset({"v": ("x", [7, 8])})
    before, path = tmp_path / "before.zarr", tmp_path / "x.zarr"
    zarrds.save(other if group else old, before, zarr_format=zarr_format)
    if group:
        zarrds.save(other, before, group="a-b")
        zarrds.save(old, before, group="a")
        zarrds.save(old, before, group="a/b")
    if not consolidated:
        remove_consolidated(before)
    is_new = group is not None and group.startswith("new")
    outcomes = []
    while outcomes[-1:] != ["finished"]:
        shutil.copytree(before, path)
        try:
            with Mortal.failing(len(outcomes), Failure, stays_dead=True):
                zarrds.save(new, Mortal(path), group=group, mode="w", encoding={"v": {"chunks": 2}}, workers=1)
            outcomes.append("finished")
        except Failure:
            try:
                found = open_zarrds(path, group)
            except FileNotFoundError:
                outcomes.append("nothing")
            else:
                outcomes.append("old" if found.identical(old) else "new")
                xr.testing.assert_identical(found, new if outcomes[-1] == "new" else old)
                xr.testing.assert_identical(found, open_zarrds(path, group, consolidated=False))
        if group:
            xr.testing.assert_identical(open_zarrds(path, None), other)
            xr.testing.assert_identical(open_zarrds(path, "a-b"), other)
        # and the next one works
        zarrds.save(new, path, group=group, mode="w")
        assert_identical(path, new, group)
        if group:
            assert_identical(path, other)
        shutil.rmtree(path)
    assert len(outcomes) > 6
    assert set(outcomes) <= {"nothing" if is_new else "old", "new", "finished"}


def open_zarrds(path: Path, group: str | None, consolidated: bool | None = None) -> xr.Dataset:
    return xr.open_dataset(path, engine="zarrds", group=group, consolidated=consolidated).load()


def remove_consolidated(path: Path) -> None:
    document = path / "zarr.json"
    if document.exists():
        content = json.loads(document.read_text())
        del content["consolidated_metadata"]
        document.write_text(json.dumps(content))
    else:
        (path / ".zmetadata").unlink()


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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_file_size_limit(tmp_path: Path) -> None:
    check_small_disk(run_python(ON_A_SMALL_DISK, str(tmp_path), "100000"), errno.EFBIG)


# for each line it is given, this process makes a child that saves over one store for ever, in either order
SAVES_FOR_EVER = """
import os, sys
import numpy as np, xarray as xr, zarrds
datasets = [
    xr.Dataset({f"v{n}": (("y", "x"), np.full((64, 64), i, dtype)) for n in range(3 + i)}, attrs={"i": i})
    for i, dtype in enumerate(["f8", "i8"])
]
for first in sys.stdin:
    pid = os.fork()
    if pid == 0:
        while True:
            for ds in datasets[::int(first)]:
                zarrds.save(ds, sys.argv[1], group=sys.argv[2] or None, mode="w",
                            encoding={name: {"chunks": (16, 16)} for name in ds})
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print("dead", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("group", ["", "a"])
def test_killed_at_any_instant(group: str, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    datasets = [
        xr.Dataset({f"v{n}": (("y", "x"), np.full((64, 64), i, dtype)) for n in range(3 + i)}, attrs={"i": i})
        for i, dtype in enumerate(["f8", "i8"])
    ]
    other = dataset(3.0)
    if group:
        zarrds.save(other, path)
    zarrds.save(datasets[0], path, group=group or None)
    rng = random.Random(0)
    seen = set()
    command = [sys.executable, "-c", SAVES_FOR_EVER, str(path), group]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for n in range(30):
            server.stdin.write("1\n" if n % 2 else "-1\n")
            server.stdin.flush()
            pid = int(server.stdout.readline())
            time.sleep(rng.random() * 0.15)
            os.kill(pid, signal.SIGKILL)
            assert server.stdout.readline() == "dead\n"
            found = xr.open_dataset(path, engine="zarrds", group=group or None).load()
            seen.add(found.attrs["i"])
            xr.testing.assert_identical(found, datasets[found.attrs["i"]])
            if group:
                xr.testing.assert_identical(open_zarrds(path, None), other.compute())
        server.stdin.close()
    assert seen == {0, 1}
    zarrds.save(datasets[1], path, group=group or None, mode="w")
    assert_identical(path, datasets[1], group or None)
    # what the dead left behind goes with the next save, or is hidden
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == ["x.zarr"]


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

"""Copies and other chunks in steps: after kills, beside another, and what is left of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import days, maps
from zarrds.errors import (
    ChunkError,
    ConflictError,
    StoreExistsError,
    StoreIOError,
    StoreNotFoundError,
)
from zarrds.storage.local import staging
from zarrds.storage.local.workspace import Workspace

RUN = """
import sys, zarrds
source, target = sys.argv[1:]
zarrds.rechunk(source, target, chunks={"t": -1, "y": 16, "x": 16}, max_memory="3MB", durable=False,
               progress=lambda done, total: print(done, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_a_killed_run_goes_on(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    maps(tmp_path / "a.zarr", 48, 128)
    command = [sys.executable, "-c", RUN, str(tmp_path / "a.zarr"), str(tmp_path / "b.zarr")]
    chance = random.Random(seed)
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(chance.randint(1, 8)):
                if not child.stdout.readline():
                    break
            time.sleep(chance.random() / 50)
            child.send_signal(signal.SIGKILL)
        if (tmp_path / "b.zarr").exists():
            break
    finished: list[Any] = []
    finish = Workspace.finish
    monkeypatch.setattr(Workspace, "finish", lambda self, step: (finished.append(step), finish(self, step)))
    if not (tmp_path / "b.zarr").exists():
        options: dict[str, Any] = {"chunks": {"t": -1, "y": 16, "x": 16}, "max_memory": "3MB", "durable": False}
        steps: list[Any] = []
        zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", **options, progress=lambda *at: steps.append(at))
        assert len(finished) < len(steps) - 1  # less work than from the start
    array = zarrds.open_array(tmp_path / "b.zarr", path="v")
    np.testing.assert_array_equal(array[...], zarrds.open_array(tmp_path / "a.zarr", path="v")[...])
    assert zarrds.verify(tmp_path / "b.zarr").ok
    left = [name for name in os.listdir(tmp_path) if name.endswith(".zarrds-partial")]
    assert not left or not finished  # killed when all was done: only what it cleans up may be left
    zarrds.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", mode="w")
    zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", mode="w")
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "b.zarr"]


def test_a_run_that_ended_before_it_noted_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done again, and needs the same pieces."""
    monkeypatch.setattr("zarrds.datasets.rechunking.plan._OVERHEAD", 0)
    maps(tmp_path / "a.zarr", 48, 32)
    options: dict[str, Any] = {"chunks": {"t": -1, "y": 8, "x": 8}, "max_memory": 80_000, "durable": False}
    finish, steps = Workspace.finish, list[str]()

    def stop(self: Workspace, step: str) -> None:
        if "write" in step and step not in steps:
            steps.append(step)
            raise KeyboardInterrupt
        finish(self, step)

    monkeypatch.setattr(Workspace, "finish", stop)
    while not (tmp_path / "b.zarr").exists():
        with suppress(KeyboardInterrupt):
            zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", **options)
    assert steps
    array = zarrds.open_array(tmp_path / "b.zarr", path="v")
    np.testing.assert_array_equal(array[...], zarrds.open_array(tmp_path / "a.zarr", path="v")[...])
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "b.zarr"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, None])
def test_a_run_that_ended_right_after_the_instant(
    tmp_path: Path, kind: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has exchanged is the old store: to do it again must not put that back."""
    old, new = (xr.Dataset({"v": ("t", np.arange(20.0) + n)}) for n in (0, 100))
    source, target = tmp_path / "x.zarr", tmp_path / "y.zarr"
    zarrds.save(new, source, encoding={"v": {"chunks": (5,)}})
    zarrds.save(old, target, encoding={"v": {"chunks": (5,)}})
    left = tmp_path / ".y.zarr.copy.zarrds-partial"
    remove, remove_tree = staging.remove, staging.remove_tree

    def interrupt(hidden: str) -> None:
        if Path(hidden).name == "store":
            raise KeyboardInterrupt
        remove(hidden)

    with monkeypatch.context() as patched:
        patched.setattr(staging, "remove", interrupt)
        if kind is None:  # killed: then nothing is removed
            patched.setattr(staging, "remove_tree", lambda path: path == str(left) or remove_tree(path))
        with pytest.raises(KeyboardInterrupt):
            zarrds.copy(source, target, mode="w")
    assert left.exists() == (kind is None)
    for _ in range(2):
        xr.testing.assert_identical(xr.load_dataset(target, engine="zarrds"), new)
        zarrds.copy(source, target, mode="w")
    assert sorted(os.listdir(tmp_path)) == ["x.zarr", "y.zarr"]


def test_other_work_begins_anew_and_two_at_once_are_refused(tmp_path: Path) -> None:
    zarrds.save(days(0, 6), tmp_path / "a.zarr", encoding={"t2m": {"chunks": (1, 1)}})

    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            with pytest.raises(ConflictError, match="another process is at work"):
                zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", chunks={"time": 2})
            raise StopError

    with pytest.raises(StopError):
        zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", chunks={"time": 3}, progress=stop)
    assert any(name.endswith(".zarrds-partial") for name in os.listdir(tmp_path))
    zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", chunks={"time": 2})
    assert zarrds.open_array(tmp_path / "b.zarr", path="t2m").chunks == (2, 1)
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "b.zarr"]


@pytest.mark.parametrize("place", ["file", "file/b.zarr"])
def test_a_target_that_is_a_file_is_refused_before_any_work(tmp_path: Path, place: str) -> None:
    zarrds.save(days(0, 6), tmp_path / "a.zarr")
    (tmp_path / "file").write_text("mine")

    def never(done: int, total: int) -> None:
        raise AssertionError("work was begun")

    ways: list[Any] = [
        lambda **more: zarrds.copy(tmp_path / "a.zarr", tmp_path / place, **more),
        lambda **more: zarrds.rechunk(tmp_path / "a.zarr", tmp_path / place, chunks={"time": 2}, **more),
    ]
    for way in ways:
        for mode in ("w", "w-"):
            with pytest.raises((StoreExistsError, StoreIOError), match="a file stands where"):
                way(mode=mode, progress=never)
    with pytest.raises((StoreExistsError, StoreIOError), match="a file stands where"):
        zarrds.convert(tmp_path / "a.zarr", tmp_path / place, overwrite=True, progress=never)
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_what_failed_before_anything_was_done_leaves_nothing(tmp_path: Path) -> None:
    zarrds.save(xr.Dataset({"v": ("x", np.arange(9.0))}), tmp_path / "a.zarr", encoding={"v": {"chunks": (3,)}})
    for chunk in (tmp_path / "a.zarr/v").glob("c.*"):
        chunk.write_bytes(b"damaged")
    with pytest.raises(ChunkError):
        zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", chunks={"x": 9})
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_leftovers_are_named_and_go_when_they_are_old(tmp_path: Path) -> None:
    zarrds.save(days(0, 6), tmp_path / "a.zarr", encoding={"t2m": {"chunks": (1, 1)}})
    zarrds.save(days(0, 1), tmp_path / "b.zarr")

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            assert zarrds.verify(tmp_path / "b.zarr", repair=True).findings == ()  # somebody is at work
            raise KeyboardInterrupt

    def leave() -> Path:
        with pytest.raises(KeyboardInterrupt):
            zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", chunks={"time": 3}, mode="w", progress=stop)
        return tmp_path / ".b.zarr.rechunk.zarrds-partial"

    left = leave()
    for repair in (False, True):  # it is young, and another run may go on from it
        (finding,) = zarrds.verify(tmp_path / "b.zarr", repair=repair).findings
        assert (finding.severity, finding.key, finding.mended) == ("warning", left.name, False)
        assert "goes on from it; once it is an hour old" in finding.problem
    assert zarrds.verify(tmp_path / "a.zarr").findings == ()
    for place in (left, left / "done"):
        os.utime(place, (0, 0))
    assert "goes on from it; verify(" in zarrds.verify(tmp_path / "b.zarr").findings[0].problem
    (finding,) = zarrds.verify(tmp_path / "b.zarr", repair=True).findings
    assert (finding.key, finding.mended) == (left.name, True)
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "b.zarr"]
    # a run of the other kind removes it too
    for place in (leave(), left / "done"):
        os.utime(place, (0, 0))
    lock = tmp_path / ".b.zarr.rechunk.lock.zarrds-partial"  # as of a process that was killed
    lock.touch()
    zarrds.copy(tmp_path / "a.zarr", tmp_path / "b.zarr", mode="w")
    assert sorted(os.listdir(tmp_path)) == ["a.zarr", "b.zarr"]


def test_leftovers_are_named_where_nothing_else_is(tmp_path: Path) -> None:
    zarrds.save(days(0, 6), tmp_path / "a.zarr", encoding={"t2m": {"chunks": (1, 1)}})

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        zarrds.rechunk(tmp_path / "a.zarr", tmp_path / "b.zarr", chunks={"time": 3}, progress=stop)
    left = tmp_path / ".b.zarr.rechunk.zarrds-partial"
    for repair in (False, True):
        with pytest.raises(StoreNotFoundError, match=r"an unfinished copy.*: \.b\.zarr\.rechunk.*goes on from it"):
            zarrds.verify(tmp_path / "b.zarr", repair=repair)
    for place in (left, left / "done"):
        os.utime(place, (0, 0))
    with pytest.raises(StoreNotFoundError, match=r"which was removed: \.b\.zarr\.rechunk"):
        zarrds.verify(tmp_path / "b.zarr", repair=True)
    assert os.listdir(tmp_path) == ["a.zarr"]

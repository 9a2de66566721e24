"""Data of dask that is computed after its documents are in place: compute=False."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from dask.delayed import Delayed

import zarrds
from tests.datasets.samples import CHUNKS, Format, complete, days, files, load, open_zarrds
from zarrds.errors import ChunkError, ConflictError, EncodingError


def chunk_file(path: Path, name: str, *position: int) -> Path:
    numbers = ".".join(map(str, position))
    return path / name / (numbers if (path / name / ".zarray").exists() else f"c.{numbers}")


@pytest.mark.parametrize("group", [None, "a/b"])
def test_metadata_first_and_data_later(path: Path, group: str | None, zarr_format: Format) -> None:
    ds = days(0, 9).assign(t2m=days(0, 9).t2m.chunk(time=2), season=days(0, 9).season.chunk(time=5))
    later = zarrds.save(ds, path, group=group, encoding=CHUNKS, compute=False, zarr_format=zarr_format)
    assert isinstance(later, Delayed)
    for engine in ("zarrds", "zarr"):
        found = load(path, engine, group=group)
        assert found.t2m.isnull().all()
        assert not found.season.any()
        rest = ["t2m", "season"]
        xr.testing.assert_identical(found.drop_vars(rest), days(0, 9).drop_vars(rest))
    base = path / (group or "")
    assert not chunk_file(base, "t2m", 0, 0).exists()
    assert [complete(base, name) for name in ("t2m", "season", "name")] == [None, None, [9]]
    reader = open_zarrds(path, group=group)
    assert later.compute() is None
    for engine in ("zarrds", "zarr"):
        for consolidated in (True, False):
            found = load(path, engine, group=group, consolidated=consolidated)
            xr.testing.assert_identical(found, days(0, 9))
    xr.testing.assert_identical(reader.load(), days(0, 9))
    assert [complete(base, name) for name in ("t2m", "season", "name")] == [[9, 3], [9], [9]]
    later.compute()  # once more does no harm
    lost = chunk_file(base, "t2m", 1, 0)
    lost.unlink()
    with pytest.raises(ChunkError, match="a chunk is missing") as caught:
        load(path, group=group)
    assert caught.value.key == str(lost.relative_to(path))
    filled = load(path, group=group, missing_chunks="fill").t2m
    assert filled[4:8, :2].isnull().all()
    np.testing.assert_array_equal(filled[:4], days(0, 4).t2m)


def test_without_dask_arrays_there_is_nothing_left_to_do(path: Path) -> None:
    later = zarrds.save(days(0, 3), path, compute=False)
    xr.testing.assert_identical(load(path), days(0, 3))
    assert complete(path, "t2m") == [3, 3]
    later.compute()
    xr.testing.assert_identical(load(path), days(0, 3))


def test_an_append_that_is_computed_later(path: Path, zarr_format: Format) -> None:
    zarrds.save(days(0, 5), path, encoding=CHUNKS, zarr_format=zarr_format)
    later = zarrds.save(days(5, 9).chunk(time=3), path, append_dim="time", compute=False)
    found = load(path)
    xr.testing.assert_identical(found.isel(time=slice(5)), days(0, 5))
    np.testing.assert_array_equal(found.time, days(0, 9).time)
    assert found.t2m[5:].isnull().all()
    assert complete(path, "t2m") == [5, 3]
    later.compute()
    xr.testing.assert_identical(load(path), days(0, 9))
    assert complete(path, "t2m") == [9, 3]


@pytest.mark.parametrize("region", [None, {"time": slice(2, 7)}], ids=str)
def test_overwriting_that_is_computed_later(path: Path, region: Any) -> None:
    zarrds.save(days(0, 9), path, encoding=CHUNKS)
    part = days(0, 9).isel(region or {})[["t2m"]].drop_vars(["season", "height"])
    mode: Any = "a" if region is None else "r+"
    later = zarrds.save((part + 9).chunk(time=2), path, region=region, mode=mode, compute=False)
    xr.testing.assert_equal(load(path), days(0, 9))
    later.compute()
    expected = days(0, 9)
    expected["t2m"][(region or {}).get("time", slice(None))] += 9
    xr.testing.assert_equal(load(path), expected)
    assert complete(path, "t2m") == [9, 3]


def test_a_region_that_is_computed_later_leaves_the_mark(path: Path) -> None:
    """What was not complete when the region was planned is complete when it is computed."""
    whole = zarrds.save(days(0, 9).chunk(time=4), path, encoding=CHUNKS, compute=False)
    part = days(0, 4)[["t2m"]].drop_vars("height").chunk(time=2)
    later = zarrds.save(part + 9, path, region={"time": slice(0, 4)}, compute=False)
    whole.compute()
    assert complete(path, "t2m") == [9, 3]
    later.compute()
    assert complete(path, "t2m") == [9, 3]
    expected = days(0, 9)
    expected["t2m"][:4] += 9
    xr.testing.assert_equal(load(path), expected)
    chunk_file(path, "t2m", 2, 0).unlink()
    with pytest.raises(ChunkError, match="a chunk is missing"):
        load(path)


def test_a_tree_that_is_computed_later(path: Path, zarr_format: Format) -> None:
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"a": 1}), "/a": days(0, 5), "/b/c": days(0, 3)})
    later = zarrds.save(tree.chunk(time=2), path, compute=False, zarr_format=zarr_format)
    assert xr.open_datatree(path, engine="zarrds")["b/c/t2m"].isnull().all()
    later.compute()
    xr.testing.assert_identical(xr.open_datatree(path, engine="zarrds").compute(), tree)


def test_what_is_made_anew_before_it_is_computed(path: Path) -> None:
    later = zarrds.save(days(0, 5).chunk(time=2), path, compute=False)
    zarrds.save(days(3, 8), path, append_dim="time", on_overlap="skip")
    later.compute()  # the array has grown, and is the same
    xr.testing.assert_identical(load(path), days(0, 8))


def test_what_is_replaced_before_it_is_computed_is_left_alone(path: Path, zarr_format: Format) -> None:
    """Chunks of the old array would destroy the new one."""
    later = zarrds.save(days(0, 9).chunk(time=2), path, encoding=CHUNKS, compute=False, zarr_format=zarr_format)
    zarrds.save(days(20, 29), path, mode="w", zarr_format=zarr_format)
    before = files(path)
    with pytest.raises(ConflictError, match="replaced the array"):
        later.compute()
    assert files(path) == before


@pytest.mark.parametrize("chunks", [{}, {"time": 3}, None], ids=str)
@pytest.mark.filterwarnings("ignore:The specified chunks separate")
def test_replacing_what_is_read_must_not_wait(path: Path, chunks: Any) -> None:
    zarrds.save(days(0, 9), path, encoding=CHUNKS)
    zarrds.save(days(0, 9), path, group="g", encoding=CHUNKS)
    before = files(path.parent)
    for group in (None, "g"):
        lazy = open_zarrds(path, chunks=chunks)
        lazy = lazy.assign(t2m=lazy.t2m * 2)
        with pytest.raises(EncodingError, match="still to be read from the store"):
            zarrds.save(lazy, path, group=group, mode="w", compute=False)
    assert files(path.parent) == before
    zarrds.save(open_zarrds(path, chunks={}), path.with_name("y.zarr"), mode="w", compute=False).compute()
    xr.testing.assert_identical(load(path.with_name("y.zarr")), days(0, 9))


REGIONS = """
import sys
import threading
import time
import xarray as xr, zarrds
sys.path.insert(0, sys.argv[1])
from tests.datasets.samples import days
path, start, stop = sys.argv[2], *map(int, sys.argv[3:])
for first in range(start, stop, 3):
    part = days(first, min(first + 3, stop))[["t2m", "name"]].drop_vars("height")
    zarrds.save(part, path, region="auto")
"""


@pytest.mark.slow
def test_regions_from_processes_into_what_is_never_computed(path: Path, zarr_format: Format) -> None:
    ds = days(0, 40)
    zarrds.save(ds.drop_vars("area").chunk(time=4), path, encoding=CHUNKS, compute=False, zarr_format=zarr_format)
    # parts share chunks with those of the other processes
    parts = [(0, 9), (9, 18), (18, 29), (29, 40)]
    command = [sys.executable, "-c", REGIONS, str(Path(__file__).parents[2]), str(path)]
    processes = [subprocess.Popen([*command, *map(str, part)]) for part in parts]
    assert [process.wait() for process in processes] == [0] * len(parts)
    for engine in ("zarrds", "zarr"):
        xr.testing.assert_identical(load(path, engine), ds.drop_vars("area"))
    assert complete(path, "t2m") is None
    assert [p.name for p in path.rglob(".*") if p.name.endswith(".zarrds-partial")] == []

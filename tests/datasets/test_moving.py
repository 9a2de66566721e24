"""Appends of dask arrays to a store that grows meanwhile: they go behind what others have appended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import CHUNKS, Format, days, files, load
from zarrds.errors import ConflictError, LabelError


def meanwhile(ds: xr.Dataset, act: Any) -> xr.Dataset:
    """A dataset whose first block acts, once, when it is computed."""
    done: list[int] = []

    def compute(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if block.size and not done:
            done.append(1)
            act()
        return block

    data = dask.array.map_blocks(compute, ds.t2m.chunk(time=2).data, dtype="f8", meta=np.empty((0, 0)))
    return ds.assign(t2m=(("time", "x"), data, ds.t2m.attrs))


@pytest.mark.one_in(3)
@pytest.mark.parametrize("shift", [1, 2, 3, 4])
@pytest.mark.parametrize("encoding", [CHUNKS, {}], ids=["chunks", "default"])
def test_it_goes_behind_what_came_first(path: Path, zarr_format: Format, shift: int, encoding: Any) -> None:
    zarrds.save(days(0, 3), path, encoding=encoding, zarr_format=zarr_format)
    first = days(3, 3 + shift)
    later = meanwhile(days(10, 17), lambda: zarrds.save(first, path, append_dim="time"))
    zarrds.save(later, path, append_dim="time")
    expected = xr.concat([days(0, 3), first, days(10, 17)], "time", data_vars="minimal", coords="minimal")
    xr.testing.assert_identical(load(path), expected)
    assert zarrds.verify(path).ok
    assert list(path.parent.rglob(".*zarrds-partial")) == []


@pytest.mark.parametrize("options", [{}, {"write_empty_chunks": False}])
def test_empty_chunks_stay_empty(path: Path, options: dict[str, Any]) -> None:
    def part(start: int, value: float) -> xr.Dataset:
        return xr.Dataset({"t2m": ("time", np.full(4, value))}, {"time": np.arange(start, start + 4)})

    zarrds.save(part(0, 1), path, encoding={"t2m": {"chunks": (2,), "fill_value": 0.0}}, **options)
    new = part(8, 0)
    data = dask.array.map_blocks(
        lambda block: (_append(path, part(4, 2)), block)[1], new.t2m.chunk().data, dtype="f8", meta=np.empty(0)
    )
    zarrds.save(new.assign(t2m=("time", data)), path, append_dim="time", **options)
    assert load(path).t2m.values.tolist() == [1.0] * 4 + [2.0] * 4 + [0.0] * 4


def _append(path: Path, ds: xr.Dataset) -> None:
    if ds.time[0].item() not in load(path).time.values:
        zarrds.save(ds, path, append_dim="time")


def test_what_no_longer_fits_is_a_conflict(path: Path) -> None:
    zarrds.save(days(0, 3), path)
    later = meanwhile(days(4, 6), lambda: zarrds.save(days(8, 9), path, append_dim="time"))
    with pytest.raises(ConflictError, match="Save again") as caught:
        zarrds.save(later, path, append_dim="time")
    assert "backwards" in str(caught.value.__cause__)
    xr.testing.assert_identical(
        load(path), xr.concat([days(0, 3), days(8, 9)], "time", data_vars="minimal", coords="minimal")
    )


def test_a_store_that_was_replaced_is_a_conflict(path: Path) -> None:
    zarrds.save(days(0, 3), path)
    other = xr.Dataset({"w": ("y", [1, 2])})
    later = meanwhile(days(4, 6), lambda: zarrds.save(other, path, mode="w"))
    with pytest.raises(ConflictError):
        zarrds.save(later, path, append_dim="time")
    xr.testing.assert_identical(load(path), other)


def test_labels_in_dask_say_where_a_position_is(path: Path) -> None:
    def part(contig: int, start: int) -> xr.Dataset:
        ds = xr.Dataset(
            {"v": ("variants", np.arange(3)), "variant_contig": ("variants", np.full(3, contig))},
            {"variants": np.arange(start, start + 3)},
        )
        return ds.chunk(variants=2)

    zarrds.save(part(0, 0), path)
    zarrds.save(part(0, 3), path, append_dim="variants")
    before = files(path)
    with pytest.raises(LabelError, match="variant_contig"):
        zarrds.save(part(1, 0), path, append_dim="variants")
    assert files(path) == before


def test_times_in_dask_get_finer_units(path: Path) -> None:
    def part(*times: str) -> xr.Dataset:
        ds = xr.Dataset({"v": ("n", np.arange(len(times)))}, {"seen": ("n", np.array(times, "M8[ns]"))})
        return ds.chunk(n=1)

    zarrds.save(part("2024-01-01"), path, encoding={"seen": {"units": "days since 2024-01-01"}})
    zarrds.save(part("2024-01-02T06:30", "2024-01-03"), path, append_dim="n")
    assert load(path).seen.values.tolist() == part("2024-01-01", "2024-01-02T06:30", "2024-01-03").seen.values.tolist()


CHILD = """
import sys, numpy as np, xarray as xr, zarrds
for i in range(60):
    now = xr.Dataset({"v": (("n", "x"), np.full((1, 3), i))}, {"n": [i]})
    zarrds.save(now, sys.argv[1], append_dim="n", on_unordered="append", durable=False)
"""


@pytest.mark.slow
def test_beside_appends_of_another_process(path: Path) -> None:
    """Neither waits for ever, nothing is lost, and each one's are in order."""
    first = xr.Dataset({"v": (("n", "x"), np.full((1, 3), -1))}, {"n": [-1]})
    zarrds.save(first, path, encoding={"v": {"chunks": (4, 3)}})
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)])
    for i in range(1000, 1010):
        now = xr.Dataset({"v": (("n", "x"), np.full((2, 3), [[2 * i], [2 * i + 1]]))}, {"n": [2 * i, 2 * i + 1]})
        zarrds.save(now.chunk(n=1), path, append_dim="n", on_unordered="append", durable=False)
    assert child.wait(60) == 0
    back = load(path)
    assert (back.v.values == back.n.values[:, None]).all()
    found = back.n.values.tolist()
    assert [n for n in found if n < 1000] == list(range(-1, 60))
    assert [n for n in found if n >= 1000] == list(range(2000, 2020))
    assert zarrds.verify(path).ok

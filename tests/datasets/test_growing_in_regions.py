"""Longer text and finer times in a region, and with mode="r+": the array is written anew, in one commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import Format, files, load
from zarrds.errors import ConflictError, EncodingError

TIMES = np.array(["2000-01-01", "2000-01-02", "2000-01-03"], "M8[ns]")
FINER = np.array(["2000-01-02T01:30"], "M8[ns]")


def stored() -> xr.Dataset:
    return xr.Dataset(
        {
            "name": ("x", np.array(["a", "bb", "ccc"])),
            "raw": (("x", "y"), np.array([[b"a", b"b"]] * 3)),
            "when": ("x", TIMES),
            "v": (("x", "y"), np.arange(6.0).reshape(3, 2)),
        },
        {"x": [1, 2, 3]},
    )


def part_of_text(**parts: Any) -> xr.Dataset:
    return stored().isel(x=[1]).assign(parts)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("as_dask", [False, True])
@pytest.mark.parametrize("option", [{"region": "auto"}, {"region": {"x": slice(1, 2)}, "mode": "a"}])
def test_a_region(path: Path, option: dict[str, Any], as_dask: bool, zarr_format: Format) -> None:
    zarrds.save(stored(), path, zarr_format=zarr_format)
    new = part_of_text(
        name=("x", ["longer text"]), when=("x", FINER), raw=(("x", "y"), np.array([[b"long", b"longer"]]))
    )
    zarrds.save(new.chunk() if as_dask else new, path, **option)
    expected = stored()
    expected["name"] = "x", np.array(["a", "longer text", "ccc"])
    expected["raw"] = ("x", "y"), np.array([[b"a", b"b"], [b"long", b"longer"], [b"a", b"b"]])
    expected["when"] = "x", np.concatenate([TIMES[:1], FINER, TIMES[2:]])
    for engine in ("zarrds", "zarr"):
        xr.testing.assert_equal(load(path, engine), expected)
    xr.testing.assert_identical(load(path), expected)
    assert zarrds.verify(path).ok


@pytest.mark.parametrize("as_dask", [False, True])
def test_all_of_it(path: Path, as_dask: bool, zarr_format: Format) -> None:
    zarrds.save(stored(), path, zarr_format=zarr_format)
    new = stored().assign(name=("x", ["longer text", "", "b"]), when=("x", TIMES + np.timedelta64(1, "us")))
    zarrds.save(new.chunk() if as_dask else new, path, mode="r+")
    xr.testing.assert_identical(load(path), new)


@pytest.mark.parametrize("shards", [None, (2, 2)])
def test_a_region_of_two_dimensions(path: Path, shards: tuple[int, ...] | None) -> None:
    text = xr.Dataset({"t": (("x", "y"), np.array([["a", "b", "c"]] * 4))})
    encoding = {"t": {"chunks": (1, 1), "shards": shards}} if shards else {"t": {"chunks": (2, 2)}}
    zarrds.save(text, path, encoding=encoding)
    new = xr.Dataset({"t": (("y", "x"), np.array([["longer", "than"]]))})
    zarrds.save(new, path, region={"x": slice(1, 3), "y": slice(2, 3)})
    expected = text.t.values.astype("<U6")
    expected[1:3, 2] = ["longer", "than"]
    np.testing.assert_array_equal(load(path).t.values, expected)
    assert zarrds.verify(path).ok


def test_a_template_stays_one(path: Path) -> None:
    zarrds.save(stored().chunk(x=1), path, compute=False)
    assert zarrds.open_array(path, path="name").metadata.data_type.dtype == np.dtype("<U3")
    zarrds.save(part_of_text(name=("x", ["longer text"]))[["name"]], path, region="auto")
    zarrds.save(stored().isel(x=[0]), path, region="auto")
    found = load(path)
    assert found.name.values.tolist() == ["a", "longer text", ""]
    assert np.isnan(found.v.values[1:]).all()


def test_times_of_a_coarse_resolution(path: Path) -> None:
    for option in ({"region": {"x": slice(1, 2)}}, {"append_dim": "x"}):
        zarrds.save(xr.Dataset({"t": ("x", TIMES.astype("M8[s]"))}), path, mode="w")
        more = FINER + np.timedelta64(7, "ns")
        zarrds.save(xr.Dataset({"t": ("x", more)}), path, **option)
        assert more[0] in load(path).t.values
        assert zarrds.verify(path).ok


def test_bounds_follow_their_times(path: Path) -> None:
    bounds = np.stack([TIMES, TIMES + np.timedelta64(1, "D")], axis=1)
    ds = xr.Dataset({"v": ("time", [1.0, 2.0, 3.0])}, {"time": TIMES})
    ds = ds.assign_coords(end=("time", TIMES, {"bounds": "b"}), b=(("time", "n"), bounds))
    zarrds.save(ds, path)
    new = ds.assign_coords(end=ds.end + np.timedelta64(1, "h"), b=ds.b + np.timedelta64(1, "h"))
    new["end"].attrs = ds.end.attrs
    zarrds.save(new, path, mode="r+")
    xr.testing.assert_identical(load(path), new)


def test_labels_are_still_compared(path: Path) -> None:
    zarrds.save(xr.Dataset({"v": ("t", [1.0, 2.0, 3.0])}, {"t": TIMES}), path)
    before = files(path)
    with pytest.raises(zarrds.errors.LabelError, match="not those of the store"):
        zarrds.save(xr.Dataset({"v": ("t", [1.0])}, {"t": FINER}), path, region={"t": slice(1, 2)})
    assert files(path) == before


def test_another_writer_is_not_overwritten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarrds.save(stored(), path, encoding={"name": {"chunks": (1,)}})
    dask = pytest.importorskip("dask")
    new = part_of_text(name=("x", np.array(["longer text"])))[["name"]]

    def late(text: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        zarrds.save(stored().isel(x=[0]).assign(name=("x", ["z"]))[["name"]], path, region="auto")
        return text

    chunked = new.chunk()
    chunked["name"] = chunked.name.copy(data=chunked.name.data.map_blocks(late, meta=chunked.name.data._meta))
    with dask.config.set(scheduler="synchronous"), pytest.raises(ConflictError, match="another writer"):
        zarrds.save(chunked, path, region="auto")
    assert load(path).name.values.tolist() == ["z", "bb", "ccc"]


def test_compute_false_writes_what_is_longer_at_once(path: Path) -> None:
    zarrds.save(stored()[["name"]], path)
    more = stored()[["name"]].assign(name=("x", ["longer text"] * 3)).assign_coords(x=[4, 5, 6])
    delayed = zarrds.save(more.chunk(), path, append_dim="x", compute=False)
    expected = ["a", "bb", "ccc", *["longer text"] * 3]
    assert load(path).name.values.tolist() == expected
    delayed.compute()
    assert load(path).name.values.tolist() == expected


def test_what_is_too_large_to_be_written_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zarrds.datasets.writing.room.growing._MAX_REWRITTEN", 10)
    zarrds.save(stored(), path)
    before = files(path)
    with pytest.raises(EncodingError, match=r"'name'.*too large to be written anew"):
        zarrds.save(part_of_text(name=("x", ["longer text"]))[["name"]], path, region="auto")
    assert files(path) == before


def test_times_with_a_zone(path: Path) -> None:
    times = pd.date_range("2000-01-01", periods=3, tz="Europe/London", unit="s")
    zarrds.save(xr.Dataset({"t": ("x", times)}), path)
    finer = pd.DatetimeIndex([times[1] + pd.Timedelta("1ms")]).as_unit("ms")
    zarrds.save(xr.Dataset({"t": ("x", finer)}), path, region={"x": slice(1, 2)})
    assert list(load(path).t.values) == list(times[:1].as_unit("ms").append(finer).append(times[2:].as_unit("ms")))

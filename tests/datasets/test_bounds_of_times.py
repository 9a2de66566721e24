"""Bounds of times: those that are none, which readers must not decode, and those that become such by their name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.same import assert_same
from tests.datasets.samples import load, open_zarrds
from zarrds.errors import EncodingError

_STARTS = pd.date_range("2000", periods=2)
_DATES = xr.date_range("2000-01-01", periods=2, calendar="noleap", use_cftime=True)
NO_TIMES: dict[str, Any] = {
    "booleans": np.array([[True, False], [True, True]]),  # as notnull() makes them
    "integers": np.array([[1, 2], [3, 4]]),
    "floats": np.array([[1.5, np.nan], [3.0, 4.0]]),
    "text": np.array([["a", "b"], ["c", None]], object),
    "timedeltas": np.array([[1, 2], [3, 4]], "m8[s]"),
    "categories": pd.Categorical(["a", "b"]),
    "nullable": pd.array([1, None], "Int64"),
}


@pytest.mark.parametrize("name", NO_TIMES)
@pytest.mark.parametrize(
    "times", [_STARTS, _STARTS.tz_localize("Europe/London"), _DATES], ids=["plain", "zone", "cftime"]
)
@pytest.mark.parametrize("units", [{}, {"units": "hPa"}, {"units": None}])
@pytest.mark.parametrize("is_lazy", [False, True])
def test_bounds_of_times_that_are_no_times(
    name: str, times: Any, units: dict[str, Any], is_lazy: bool, path: Path, zarr_format: Any
) -> None:
    values = NO_TIMES[name]
    if name == "timedeltas" and units:
        return  # which are of their own
    coords = {"time": ("time", times, {"bounds": "b", "long_name": "start"})}
    saved = xr.Dataset({"b": (("time", "n")[: np.ndim(values)], values, units)}, coords)
    chunked = saved.chunk(time=1) if is_lazy and isinstance(values, np.ndarray) else saved
    zarrds.save(chunked, path, zarr_format=zarr_format)
    assert_same(saved, open_zarrds(path).load())
    later = saved.assign_coords(time=("time", times + pd.Timedelta(2, "D"), saved.time.attrs))
    zarrds.save(later, path, append_dim="time")
    assert_same(xr.concat([saved, later], "time"), open_zarrds(path).load())
    assert zarrds.verify(path).ok
    if isinstance(values, np.ndarray) and values.dtype.kind in "bif":
        np.testing.assert_array_equal(xr.open_zarr(path).b[:2], values)  # other readers see no times either


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("flags", [np.ones((2, 2), bool), np.arange(4).reshape(2, 2), np.array([["a", "b"]] * 2)])
def test_bounds_that_are_no_times_stay_apart(flags: np.ndarray[Any, Any], zarr_format: Any) -> None:
    """When variables are added later, with their labels, which name the bounds that are not saved again."""
    ds = xr.Dataset({"flags": (("t", "n"), flags)}, {"t": pd.date_range("2000-01-01", periods=2)})
    ds.t.attrs["bounds"] = "flags"
    store = zarrds.MemoryStore()
    zarrds.save(ds, store, zarr_format=zarr_format)
    more = ds.assign(v=("t", [1, 2]))
    for names in (["v"], ["t"], ["flags"]):
        zarrds.save(more[names], store, mode="a")
        xr.testing.assert_identical(open_zarrds(store).load(), more)


@pytest.mark.parametrize("flags", [np.ones((2, 2), bool), np.arange(4).reshape(2, 2)])
def test_bounds_that_are_no_times_come_after_their_times(flags: np.ndarray[Any, Any]) -> None:
    ds = xr.Dataset({"flags": (("t", "n"), flags)}, {"t": pd.date_range("2000-01-01", periods=2)})
    ds.t.attrs["bounds"] = "flags"
    store = zarrds.MemoryStore()
    zarrds.save(ds[["t"]], store)
    zarrds.save(ds, store, mode="a")
    xr.testing.assert_identical(open_zarrds(store).load(), ds)


@pytest.mark.parametrize("values", [pd.array([1, None], dtype="Int32"), pd.Categorical(["a", "b"])])
def test_units_of_no_times_are_seen_by_everybody(values: Any) -> None:
    """Also of what is saved again: they were hidden from other readers."""
    ds = xr.Dataset({"v": ("x", values, {"units": "K"})})
    store = zarrds.MemoryStore()
    for mode in ("w", "a"):
        zarrds.save(ds, store, mode=mode)  # type: ignore[arg-type]  # a mode
        assert zarrds.open_array(store, path="v").metadata.attributes["units"] == "K"
        xr.testing.assert_identical(open_zarrds(store).load(), ds)


@pytest.mark.parametrize("values", [np.ones((2, 2), bool), np.arange(4).reshape(2, 2), np.array([["a", "b"]] * 2)])
@pytest.mark.parametrize("way", ["save", "update_attrs"])
def test_no_times_do_not_become_bounds_by_name_alone(values: np.ndarray[Any, Any], way: str, zarr_format: Any) -> None:
    """Where their coordinate stays as it is stored, nothing would keep readers from taking them for times."""
    times = pd.date_range("2000-01-01", periods=2)
    store = zarrds.MemoryStore()
    flags = xr.Dataset({"flags": (("t", "n"), values)})
    if way == "save":
        zarrds.save(xr.Dataset(coords={"t": ("t", times, {"bounds": "flags"})}), store, zarr_format=zarr_format)
        before = open_zarrds(store).load()
        with pytest.raises(EncodingError, match=r"read as times: the stored 't' names it .*at 'flags'"):
            zarrds.save(flags, store, mode="a")
        with_units = flags.assign(flags=flags.flags.assign_attrs(units="1"))
        zarrds.save(with_units, store, mode="a")
        before = before.assign(with_units)
    else:
        zarrds.save(flags.assign_coords(t=times), store, zarr_format=zarr_format)
        before = open_zarrds(store).load()
        with pytest.raises(EncodingError, match=r"how the stored values are decoded .*at 't'.*'bounds'"):
            zarrds.update_attrs(store, {"bounds": "flags"}, "t")
        zarrds.update_attrs(store, {"bounds": "none"}, "t")
        before.t.attrs["bounds"] = "none"
    xr.testing.assert_identical(open_zarrds(store).load(), before)


def test_no_times_become_bounds_by_name_where_their_times_grow(zarr_format: Any) -> None:
    """The coordinate is saved too, and keeps its stored attributes."""
    days = pd.date_range("2000-01-01", periods=4)
    first, then = (xr.Dataset(coords={"t": ("t", part, {"bounds": "n"})}) for part in (days[:2], days[2:]))
    store = zarrds.MemoryStore()
    zarrds.save(first, store, zarr_format=zarr_format)
    with pytest.raises(EncodingError, match=r"read as times: the stored 't' names it .*at 'n'.*with units of its own"):
        zarrds.save(then.assign(n=5), store, append_dim="t")
    xr.testing.assert_identical(open_zarrds(store).load(), first)
    zarrds.save(then.assign(n=((), 5, {"units": "1"})), store, append_dim="t")
    assert open_zarrds(store).n == 5


@pytest.mark.parametrize(
    ("units", "name", "change", "delete"), [({"units": "1"}, "b", {}, ["units"]), ({}, "t", {"bounds": "x"}, [])]
)
def test_no_attribute_makes_times_of_numbers_or_numbers_of_times(
    tmp_path: Path, units: dict[str, str], name: str, change: dict[str, str], delete: list[str]
) -> None:
    """In a store of xarray's engine, in which bounds of times need no units of their own."""
    times = {"units": "days since 2000-01-01", "bounds": "b"}
    ds = xr.Dataset({"b": (("t", "n"), np.arange(4).reshape(2, 2), units)}, {"t": ("t", [0, 1], times)})
    ds.to_zarr(tmp_path, consolidated=False, mode="w")
    before = load(tmp_path)
    assert (before.b.dtype.kind == "M") == (not units)
    with pytest.raises(EncodingError, match=r"how the stored values are decoded .*'(bounds|units)'"):
        zarrds.update_attrs(tmp_path, change, name, delete=delete)
    xr.testing.assert_identical(load(tmp_path), before)


@pytest.mark.parametrize("is_lazy", [False, True])
def test_bounds_that_are_not_decoded_yet_are_times(is_lazy: bool, zarr_format: Any) -> None:
    """They are new beside a coordinate that is stored; they came back as numbers."""
    ds = xr.Dataset({"b": (("t", "n"), np.array([[0, 1], [1, 2]], "M8[D]").astype("M8[ns]"))})
    ds = ds.assign_coords(t=("t", ds.b.values[:, 0], {"bounds": "b"}))
    ds.t.encoding["units"] = "hours since 1970-01-01"
    raw, _ = xr.conventions.cf_encoder({"b": ds.b.variable, "t": ds.t.variable}, {})
    undecoded = xr.Dataset(raw).set_coords("t")
    assert "units" not in undecoded.b.attrs
    store = zarrds.MemoryStore()
    zarrds.save(ds[["t"]], store, zarr_format=zarr_format)
    zarrds.save(undecoded.chunk(t=1) if is_lazy else undecoded, store, mode="a")
    xr.testing.assert_identical(open_zarrds(store).load(), ds)

"""``zarrds.aggregate`` gives what xarray gives, and reads no chunk that statistics tell of."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.errors import ChunkError, QueryError, VariableNotFoundError

YZ = ["y", "z"]
HOWS = ("min", "max", "count", "sum", "mean")
SELECTIONS: list[dict[str, Any]] = [{}, {"x": slice(2, 7)}, {"x": [0, 3, 3, 4]}, {"x": 3}]


def dataset() -> xr.Dataset:
    rng = np.random.default_rng(0)
    t = rng.normal(280, 10, (12, 5, 6)).astype("f4")
    t[2:4, :2, :3] = np.nan
    t[5, 1, 1] = np.nan
    t[:, 4, 5] = np.nan
    dims = ("x", "y", "z")
    return xr.Dataset(
        {
            "t": (dims, t, {"units": "K"}),
            "p": (dims, np.round(t, 2)),
            "i": (dims, rng.integers(-9, 9, t.shape).astype("i2")),
            "u": (dims, rng.integers(0, 2**60, t.shape).astype("u8")),
            "f": (dims[:2], t[:, :, 0] > 280),
            "w": ("x", np.arange("2019-01", "2020-01", dtype="M8[M]").astype("M8[ns]")),
            "s": ("x", ["a"] * 12),
        },
        {"y": np.arange(5.0)},
    )


ENCODING: dict[str, Any] = {
    "t": {"chunks": (2, 2, 3)},
    "p": {"chunks": (1, 5, 6), "dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768},
    "i": {"chunks": (12, 1, 1)},
    "u": {"chunks": (5, 3, 4)},
    "f": {"chunks": (4, 5)},
    "w": {"chunks": (5,)},
}


@pytest.fixture(scope="module", params=["without statistics", "with statistics"])
def store(request: pytest.FixtureRequest) -> zarrds.Store:
    store = zarrds.MemoryStore()
    zarrds.save(dataset(), store, encoding=ENCODING)
    if request.param == "with statistics":
        zarrds.index(store)
    return store


@pytest.mark.one_in(6)
@pytest.mark.parametrize("name", "tpiufw")
def test_as_xarray(store: zarrds.Store, name: str) -> None:
    lazy = xr.open_dataset(store, engine="zarrds")[[name]]  # type: ignore[arg-type]  # a store of ours
    loaded = lazy.copy().load()
    dims = loaded[name].dims
    cases = [gone for n in range(len(dims) + 1) for gone in itertools.combinations(dims, n)]
    for gone, how, sel in itertools.product(cases, HOWS, SELECTIONS):
        part = loaded[name].isel(sel)
        kept = [dim for dim in gone if dim in part.dims]
        if how in ("sum", "mean") and (name == "w" or not kept):
            continue
        found = zarrds.aggregate(lazy.isel(sel), name, how, kept)  # type: ignore[arg-type]  # one of them
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # means of nothing
            wide = part.astype("f8") if how in ("sum", "mean") and part.dtype.kind in "fu" else part
            right = getattr(wide, how)(kept)
        assert found.dims == right.dims
        if how in ("sum", "mean"):
            np.testing.assert_allclose(found, right, rtol=1e-6)
        else:
            np.testing.assert_array_equal(found, right)
            assert how == "count" or found.dtype == right.dtype
        assert set(found.coords) == set(right.coords)


def test_nothing_is_read_that_is_known() -> None:
    store = zarrds.MemoryStore()
    zarrds.save(dataset(), store, encoding=ENCODING)
    zarrds.index(store)
    for key in [key for key in store.list_prefix("p") if "/.zarrds/" not in key and not key.endswith(".json")]:
        value = bytes(store.get(key) or b"")
        store.set(key, bytes(len(value) - 4), value[-4:])  # cannot be decoded, under the same digest
    p = dataset().p
    for how in HOWS:
        np.testing.assert_allclose(zarrds.aggregate(store, "p", how, YZ), getattr(p, how)(YZ), rtol=1e-5)
        np.testing.assert_allclose(zarrds.aggregate(store, "p", how), getattr(p, how)(), rtol=1e-5)
    with pytest.raises(ChunkError):
        zarrds.aggregate(store, "p", "max", "x")
    with pytest.raises(ChunkError):
        zarrds.aggregate(xr.open_dataset(store, engine="zarrds").isel(z=slice(1, 6)), "p", "max")  # type: ignore[arg-type]  # a store of ours


def test_what_was_changed_is_read() -> None:
    store = zarrds.MemoryStore()
    zarrds.save(dataset(), store, encoding=ENCODING)
    zarrds.index(store)
    zarrds.open_array(store, mode="r+", path="i").elements.write((3, 3, 3), 1000)
    assert int(zarrds.aggregate(store, "i", "max")) == 1000
    assert int(zarrds.aggregate(store, "i", "sum")) == int(dataset().i.sum() - dataset().i[3, 3, 3] + 1000)


def test_results_and_bad_input() -> None:
    ds = dataset()
    found = zarrds.aggregate(ds.t, None, "max", "x")
    assert (found.name, found.attrs, found.dims) == ("t", {"units": "K"}, ("y", "z"))
    assert zarrds.aggregate(ds, "t", "count").attrs == {}
    with pytest.raises(QueryError, match="no such way"):
        zarrds.aggregate(ds, "t", "median")  # type: ignore[arg-type]  # as a user may
    with pytest.raises(QueryError, match="no such dimension"):
        zarrds.aggregate(ds, "t", "max", "lat")
    with pytest.raises(QueryError, match="cannot be reduced"):
        zarrds.aggregate(ds, "s", "max")
    with pytest.raises(QueryError, match="cannot be reduced"):
        zarrds.aggregate(ds, "w", "sum")
    with pytest.raises(QueryError, match="nothing to reduce"):
        zarrds.aggregate(ds.isel(x=slice(0, 0)), "i", "max")
    with pytest.raises(VariableNotFoundError):
        zarrds.aggregate(ds, "tt", "max")
    assert float(zarrds.aggregate(ds.y, None, "max")) == 4  # which is called as its own labels
    assert zarrds.find(ds.y, "y > 2").y.values.tolist() == [3, 4]
    assert zarrds.aggregate(ds.t.rename(None), None, "max").name is None
    zones = xr.Dataset(coords={"w": pd.date_range("2019", periods=3, tz="Europe/Berlin")})
    assert zarrds.aggregate(zones, "w", "max").values == np.datetime64("2019-01-02T23")
    nullable = xr.Dataset({"b": ("x", pd.array([True, None], dtype="boolean")), "n": ("x", pd.array([2, None]))})
    for name in "bn":
        found = [zarrds.aggregate(nullable, name, how) for how in ("min", "sum", "count")]  # type: ignore[arg-type]  # one of them
        assert list(map(float, found)) == [1 + (name == "n"), 1 + (name == "n"), 1]
    assert int(zarrds.aggregate(ds.isel(x=slice(0, 0)), "i", "count")) == 0
    assert np.isnan(zarrds.aggregate(ds.isel(x=slice(0, 0)), "t", "max"))


@pytest.mark.filterwarnings("ignore:Can't decode floating point")
@pytest.mark.parametrize("statistics", [False, True])
@pytest.mark.parametrize("how", ["min", "max"])
def test_times_that_turn_out_finer_than_those_at_the_ends(how: Any, statistics: bool) -> None:
    store = zarrds.MemoryStore()
    numbers = np.array([0.0, 1.5, -3.25, 1.0])
    data = {
        "t": ("x", numbers, {"units": "seconds since 1970-01-01"}),
        "d": ("x", numbers, {"units": "seconds", "dtype": "timedelta64[s]"}),
    }
    zarrds.save(xr.Dataset(data), store, statistics=statistics, encoding={name: {"chunks": (2,)} for name in data})
    coder = xr.coders.CFDatetimeCoder(time_unit="s")
    opened = xr.open_dataset(store, engine="zarrds", decode_times=coder)
    for name in data:
        loaded = opened[name].load()
        assert zarrds.aggregate(opened, name, how).values == getattr(loaded, how)().values


@pytest.mark.parametrize("shape", [(2**62,), (2**40, 2**10)])
def test_an_array_that_claims_more_than_can_be_read(shape: tuple[int, ...]) -> None:
    store = zarrds.MemoryStore()
    zarrds.create_group(store)
    zarrds.create_array(
        store, path="v", shape=shape, chunks=(16,) * len(shape), dtype="f8", dimension_names=["x", "y"][: len(shape)]
    )
    for dim in (None, "x"):
        with pytest.raises(QueryError, match="too large") as caught:
            zarrds.aggregate(store, "v", "max", dim)
        assert caught.value.key == "v"


def test_more_chunks_than_have_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    store = zarrds.MemoryStore()
    ds = dataset()
    zarrds.save(ds, store, encoding={"t": {"chunks": (1, 1, 2)}})
    monkeypatch.setattr("zarrds.datasets.querying.aggregate.MAX_CHUNKS", 3)
    monkeypatch.setattr("zarrds.datasets.querying.aggregate._BLOCK", 7)
    np.testing.assert_array_equal(zarrds.aggregate(store, "t", "max", "x"), ds.t.max("x"))

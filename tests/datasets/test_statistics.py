"""``zarrds.statistics`` and ``zarrds.index``: what is in each chunk, and whether it still is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.errors import EncodingError, UnsupportedError, VariableNotFoundError

TIMES = pd.date_range("2019-03-01", periods=7, freq="h")


def dataset() -> xr.Dataset:
    rng = np.random.default_rng(0)
    t2m = rng.normal(280, 10, (7, 4, 5)).astype("f4")
    t2m[2, 1, 1] = np.nan
    t2m[4:6] = np.nan
    return xr.Dataset(
        {
            "t2m": (("time", "lat", "lon"), t2m, {"units": "K"}),
            "n": (("time", "lat"), rng.integers(-9, 9, (7, 4))),
            "name": ("time", [f"{i}" * 40 for i in range(7)]),
            "when": (("time",), TIMES),
        },
        {"time": TIMES, "lat": [52.0, 51, 50, 49]},
    )


CHUNKS: dict[str, Any] = {
    "t2m": {"chunks": (2, 2, 3)},
    "n": {"chunks": (3, 4)},
    "name": {"chunks": (4,)},
    "when": {"chunks": (4,)},
}
PACKED = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -32768}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    zarrds.save(dataset(), tmp_path / "t2m.zarr", encoding=CHUNKS)
    zarrds.index(tmp_path / "t2m.zarr")
    return tmp_path / "t2m.zarr"


def by_chunks(values: xr.DataArray, how: str) -> Any:
    """What xarray finds in chunks of (2, 2, 3)."""
    out = np.full((4, 2, 2), np.nan)
    for at in np.ndindex(out.shape):
        part = values[tuple(slice(i * n, (i + 1) * n) for i, n in zip(at, (2, 2, 3), strict=True))]
        out[at] = getattr(part, how)()
    return out


@pytest.mark.parametrize("encoding", [{}, PACKED, {**PACKED, "scale_factor": -0.01}])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_they_are_those_of_the_decoded_chunks(tmp_path: Path, encoding: dict[str, Any], zarr_format: Any) -> None:
    zarrds.save(
        dataset(), tmp_path / "v.zarr", encoding={"t2m": {**CHUNKS["t2m"], **encoding}}, zarr_format=zarr_format
    )
    zarrds.index(tmp_path / "v.zarr", "t2m")
    stored = xr.open_dataset(tmp_path / "v.zarr", engine="zarrds").t2m.load()
    found = zarrds.statistics(tmp_path / "v.zarr", "t2m")
    assert not found["max"].variable._in_memory
    np.testing.assert_array_equal(found["min"], by_chunks(stored, "min"))
    np.testing.assert_array_equal(found["max"], by_chunks(stored, "max"))
    np.testing.assert_array_equal(found["count"], by_chunks(stored, "count"))
    np.testing.assert_allclose(found["mean"], by_chunks(stored.astype("f8"), "mean"), rtol=1e-6)
    assert found["max"].dtype == stored.dtype
    assert found.known.all()
    assert found["max"].attrs["units"] == "K"
    np.testing.assert_array_equal(found.time_first, TIMES[::2])
    np.testing.assert_array_equal(found.time_last, TIMES[[1, 3, 5, 6]])
    np.testing.assert_array_equal(found.lat_last, [51, 49])


def test_other_kinds(path: Path) -> None:
    when = zarrds.statistics(path, "when")
    np.testing.assert_array_equal(when["min"], TIMES[[0, 4]])
    np.testing.assert_array_equal(when["max"], TIMES[[3, 6]])
    assert "sum" not in when
    name = zarrds.statistics(path, "name")
    assert name["min"].values.tolist() == ["0" * 32, "4" * 32]
    assert name["max"].values.tolist() == ["3" * 31 + "4", "6" * 31 + "7"]
    n = zarrds.statistics(path, "n")
    np.testing.assert_array_equal(n["sum"].sum(), dataset().n.sum())
    tree = zarrds.statistics(path)
    assert set(tree.children) == {"t2m", "n", "name", "when"}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_nullable_ones(zarr_format: Any) -> None:
    store = zarrds.MemoryStore()
    columns = {
        "n": pd.array([1, None, 3, 4, None, None], dtype="Int64"),
        "u": pd.array([1, None, 3, 4, 200, None], dtype="UInt8"),
        "b": pd.array([True, None, False, True, None, None], dtype="boolean"),
    }
    ds = xr.Dataset({name: ("x", values) for name, values in columns.items()})
    chunks = {name: {"chunks": (2,)} for name in columns}
    zarrds.save(ds, store, encoding=chunks, statistics=True, zarr_format=zarr_format)
    for name, values in columns.items():
        for of in (store, xr.open_dataset(store, engine="zarrds")):  # type: ignore[call-overload]  # stores of ours
            found = zarrds.statistics(of, name).load()
            parts = [pd.Series(values[i : i + 2]).astype("Float64") for i in (0, 2, 4)]
            for each in ("min", "max", "mean"):
                expected = [np.nan if pd.isna(v := getattr(part, each)()) else float(v) for part in parts]
                np.testing.assert_array_equal(found[each], expected)
            assert found["count"].values.tolist() == [part.count() for part in parts]
            assert found["sum"].values.tolist() == [float(part.sum()) for part in parts]
            assert found["known"].all()
    assert set(zarrds.statistics(store).children) == set(columns)


@pytest.mark.parametrize(
    "values",
    [
        pd.period_range("2000", periods=4, freq="M").array,
        pd.Categorical(["a", "b"]),
        pd.array(["a", None], dtype="string"),
    ],
)
def test_those_of_what_is_made_of_other_elements(values: Any) -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"c": ("x", values)}), store, statistics=True)
    with pytest.raises(UnsupportedError, match="are of the stored elements") as caught:
        zarrds.statistics(store, "c")
    assert "zarrds.find" in str(caught.value)


def test_a_part_of_a_dataset(path: Path) -> None:
    whole = zarrds.statistics(path, "t2m")
    ds = xr.open_dataset(path, engine="zarrds")
    part = zarrds.statistics(ds.sel(time=slice("2019-03-01T03", "2019-03-01T04"), lat=50), "t2m")
    np.testing.assert_array_equal(part["max"], whole["max"][1:3, 1])
    np.testing.assert_array_equal(part.time_first, TIMES[3:5])
    backwards = zarrds.statistics(ds.isel(time=slice(None, None, -1)), "t2m")
    np.testing.assert_array_equal(backwards["max"], whole["max"])
    np.testing.assert_array_equal(backwards.time_first, TIMES[[1, 3, 5, 6]])


def test_what_others_write_is_not_known(path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.open_group(path, mode="r+")["t2m"][3, 3, 4] = 1000
    found = zarrds.statistics(path, "t2m").load()
    assert np.argwhere(~found.known.values).tolist() == [[1, 1, 1]]
    assert np.isnan(found["max"][1, 1, 1])
    zarrds.index(path)
    assert zarrds.statistics(path, "t2m")["max"].max() == 1000


def test_what_decodes_otherwise_is_not_known(tmp_path: Path) -> None:
    zarrds.save(dataset(), tmp_path / "v.zarr", encoding={"t2m": {**CHUNKS["t2m"], **PACKED}})
    zarrds.index(tmp_path / "v.zarr", "t2m")
    raw = xr.open_dataset(tmp_path / "v.zarr", engine="zarrds", mask_and_scale=False)
    found = zarrds.statistics(raw, "t2m").load()
    has_fill = by_chunks((raw.t2m == -32768).astype(int), "max") == 1
    np.testing.assert_array_equal(found.known, ~has_fill)
    np.testing.assert_array_equal(found["max"].values[~has_fill], by_chunks(raw.t2m, "max")[~has_fill])


def test_a_fill_value_that_is_masked_when_it_is_read(tmp_path: Path) -> None:
    array = zarrds.create_array(tmp_path / "v.zarr", path="v", shape=6, dtype="i4", chunks=2, dimension_names=["x"])
    array[:] = [0, 5, 1, 2, 0, 0]
    zarrds.index(tmp_path / "v.zarr")
    ds = xr.open_dataset(tmp_path / "v.zarr", engine="zarrds", use_zarr_fill_value_as_mask=True)
    found = zarrds.statistics(ds, "v").load()
    np.testing.assert_array_equal(found.known, [False, True, False])
    np.testing.assert_array_equal(found["max"], [np.nan, 2, np.nan])


def test_they_go_with_their_array(path: Path) -> None:
    before = zarrds.statistics(path, "t2m").load()
    zarrds.rename(path, {"t2m": "temperature"})
    after = zarrds.statistics(path, "temperature").load()
    assert after.known.all()
    xr.testing.assert_equal(before, after)
    assert not zarrds.verify(path).findings
    zarrds.drop_vars(path, "temperature")
    assert not list(path.glob("t[2e]*/.zarrds/statistics"))


def test_without_statistics(tmp_path: Path) -> None:
    zarrds.save(dataset(), tmp_path / "v.zarr", encoding=CHUNKS)
    found = zarrds.statistics(tmp_path / "v.zarr", "t2m")
    assert not found.known.any()
    assert np.isnan(found["max"]).all()
    assert (found["count"] == -1).all()


def test_others_read_the_store_as_before(path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    assert set(zarr.open_group(path).array_keys()) == {"t2m", "n", "name", "when", "time", "lat"}
    xr.testing.assert_equal(xr.open_dataset(path, engine="zarr", consolidated=False), dataset())
    rows = zarr.open_array(path / "t2m" / ".zarrds" / "statistics")
    assert rows.shape == (4, 2, 2)


def test_bad_input(path: Path) -> None:
    with pytest.raises(VariableNotFoundError, match="Did you mean 't2m'"):
        zarrds.statistics(path, "t2n")
    with pytest.raises(UnsupportedError, match="in memory"):
        zarrds.statistics(path, "time")
    with pytest.raises(UnsupportedError, match="not read lazily"):
        zarrds.statistics(dataset(), "t2m")
    with pytest.raises(EncodingError, match="of a store"):
        zarrds.statistics(dataset(), "t2m", group="a")
    zarrds.create_array(path, path="c", shape=4, dtype="c8")
    with pytest.raises(UnsupportedError, match="nothing is noted of data like this"):
        zarrds.index(path, "c")

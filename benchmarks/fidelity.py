"""What comes back how, of zarrds, xarray's zarr engine and netCDF4: the tables of docs/fidelity.md.

Run from the project's root: ``python -m benchmarks.fidelity`` prints both tables.

"same" is: the same values, dtypes, dimensions, coordinates, indexes and attributes with their types, as
`tests.datasets.same` compares them. "refused" is an error, after which the store is as it was before.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cftime
import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

if not __package__:  # as a script
    sys.path[0] = str(Path(__file__).parents[1])

import zarrds
from tests.datasets.same import differences

Save = Callable[..., Any]


def _save_zarrds(ds: xr.Dataset, path: Path, **options: Any) -> None:
    zarrds.save(ds, path, durable=False, **options)


def _save_zarr(ds: xr.Dataset, path: Path, **options: Any) -> None:
    ds.to_zarr(path, **options)


def _save_netcdf(ds: xr.Dataset, path: Path, **options: Any) -> None:
    ds.to_netcdf(path, engine="netcdf4", **options)


ENGINES: dict[str, tuple[str, Save]] = {
    "zarrds": ("zarrds", _save_zarrds),
    "zarr": ("zarr", _save_zarr),
    "netcdf4": ("netcdf4", _save_netcdf),
}


def data(values: Any, dims: Any = "x", attrs: Any = None, **encoding: Any) -> xr.Dataset:
    return xr.Dataset({"a": (dims, values, attrs or {}, encoding)})


def labelled(index: Any, **attrs: Any) -> xr.Dataset:
    coords = xr.Coordinates.from_pandas_multiindex(index, "x") if isinstance(index, pd.MultiIndex) else {"x": index}
    return xr.Dataset({"a": ("x", np.arange(len(index)))}, coords, attrs)


def objects(*values: Any) -> Any:
    result = np.empty(len(values), object)
    result[:] = values
    return result


def grid() -> xr.Dataset:
    coords = {"lat": (("y", "x"), np.ones((2, 2))), "crs": ((), 0, {"grid_mapping_name": "latitude_longitude"})}
    return xr.Dataset({"a": (("y", "x"), np.ones((2, 2)), {"grid_mapping": "crs"})}, coords)


NA = np.dtypes.StringDType(na_object=np.nan)
# what is saved, and opened
SAVED: dict[str, Callable[[], xr.Dataset]] = {
    "numbers of all NumPy dtypes up to 8 bytes": lambda: xr.Dataset(
        {t: ("x", np.array([0, 1]).astype(t)) for t in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")}
    ),
    "float16": lambda: data(np.array([0.5, 2], "f2")),
    "complex numbers": lambda: data(np.array([1 + 2j])),
    "booleans": lambda: data([True, False]),
    "long doubles": lambda: data(np.array([1.0], "g")),
    "text": lambda: data(objects("a", "", "åäö")),
    "text with None": lambda: data(objects("a", None)),
    "text with None, of dask": lambda: data(da.from_array(objects("a", None), chunks=1)),
    'text that says "nan"': lambda: data(objects("nan", None, "")),
    "nothing but None": lambda: data(objects(None, None)),
    "StringDType with missing values": lambda: data(np.array(["a", np.nan], NA)),
    "bytes, S1 alleles (variants, alleles)": lambda: data(np.array([[b"A", b"T"]], "S1"), ("v", "al")),
    "booleans with None (objects)": lambda: data(objects(True, None)),
    "large integers with None (objects)": lambda: data(objects(2**62 + 1, None)),
    "numbers and text mixed": lambda: data(objects(1, "a")),
    "lists": lambda: data(objects([1, 2], [3])),
    "datetime64[ns] to the nanosecond": lambda: data(np.array(["2000-01-01T00:00:00.000000001", "NaT"], "M8[ns]")),
    "datetime64[s], years 1 to 9999": lambda: data(np.array(["0001-01-01", "9999-12-31"], "M8[s]")),
    "timedelta64[ms]": lambda: data(np.array([1, -5, "NaT"], "m8[ms]")),
    "dates of 360 days a year": lambda: data(
        objects(cftime.Datetime360Day(2000, 2, 30), cftime.Datetime360Day(2001, 1, 1))
    ),
    "categories": lambda: labelled(pd.CategoricalIndex(["b", "a"], ["b", "a"], ordered=True)),
    "time zones": lambda: labelled(pd.date_range("2000", periods=2, tz="Europe/London")),
    "periods": lambda: labelled(pd.period_range("2000-01", periods=2, freq="M")),
    "intervals": lambda: labelled(pd.interval_range(0, 2)),
    "MultiIndex": lambda: labelled(pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["k", "n"])),
    "Int64 with NA": lambda: data(pd.array([1, None], "Int64")),
    "2-D latitudes, a grid mapping": grid,
    "a coordinate without index": lambda: xr.Dataset({"a": ("x", [1, 2])}).assign_coords(
        xr.Coordinates({"x": ("x", [3, 4])}, indexes={})
    ),
    "names with blanks": lambda: xr.Dataset({"a b": ("x", [1])}, {"c d": ("x", [1])}),
    "attributes: int8 flags, float32": lambda: data(
        [1], attrs={"flag_values": np.array([0, 1], "i1"), "s": np.float32(0.1)}
    ),
    "attributes: None, nested, NaN": lambda: data([1], attrs={"n": None, "d": {"k": [1, None]}, "nan": np.nan}),
    "attributes: dates, sets, objects": lambda: data([1], attrs={"d": pd.Timestamp("2000")}),
    "carried int16 packing, other values": lambda: data(
        [1e6, np.nan, 0.123], dtype=np.dtype("i2"), scale_factor=0.01, _FillValue=-1
    ),
    "carried hours, new minutes": lambda: data(
        np.array(["2000-01-01T00:07:03"], "M8[ns]"), units="hours since 1900-01-01", dtype=np.dtype("i4")
    ),
    "carried S1, longer text": lambda: data(np.array([b"a", b"bcd"]), dtype=np.dtype("S1")),
    "carried missing_value beside another _FillValue": lambda: data([1.0, np.nan], _FillValue=-1.0, missing_value=-9.0),
    "int64 above 2⁵³ with a carried _FillValue": lambda: data(np.array([2**60 + 1, 5]), _FillValue=5),
    "units that nobody can decode": lambda: data([1, 2], attrs={"units": "fortnights since 2000-01-01"}),
    "dask blocks longer than they say": lambda: data(
        da.from_array(np.array(["a", "b"], "U1"), chunks=1).map_blocks(lambda b: b.astype("U3") + "bc", dtype="U1")
    ),
    "no elements": lambda: data(np.zeros((0, 3)), ("x", "y")),
}


def days(first: str, value: Any = 1.0, units: str = "K", x: Any = (1, 2), **encoding: Any) -> xr.Dataset:
    times = pd.DatetimeIndex([first])
    values = np.full((1, 2), value)
    return xr.Dataset({"a": (("time", "x"), values, {"units": units}, encoding)}, {"time": times, "x": list(x)})


def batch(ids: list[str]) -> xr.Dataset:
    return xr.Dataset({"g": (("v", "s"), np.ones((1, 2), "i1")), "sample_id": ("s", np.array(ids, object))})


APPEND = {"append_dim": "time"}
PACKED = {"a": {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -1}}
Case = tuple[xr.Dataset, dict[str, Any], xr.Dataset, dict[str, Any]]
# what is saved, how, what is written into it, how; "right" is what concat, or an assignment, gives
GROWN: dict[str, Callable[[], Case]] = {
    "the next day": lambda: (days("2000-01-01"), {}, days("2000-01-02"), APPEND),
    "06:30 after midnight": lambda: (days("2000-01-01"), {}, days("2000-01-01T06:30"), APPEND),
    "the same day again": lambda: (days("2000-01-01"), {}, days("2000-01-01"), APPEND),
    "an earlier day, after two": lambda: (
        xr.concat([days("2000-01-02"), days("2000-01-03")], "time"), {}, days("2000-01-01"), APPEND
    ),
    "other units": lambda: (days("2000-01-01"), {}, days("2000-01-02", units="degC"), APPEND),
    "other longitudes": lambda: (days("2000-01-01"), {}, days("2000-01-02", x=(1, 3)), APPEND),
    "values beyond the packing": lambda: (
        days("2000-01-01"), {"encoding": PACKED}, days("2000-01-02", 9999.0), APPEND
    ),
    "other samples": lambda: (batch(["A", "B"]), {}, batch(["B", "A"]), {"append_dim": "v"}),
    "longer text": lambda: (data(np.array(["a"])), {}, data(np.array(["bcd"])), {"append_dim": "x"}),
    "1.5 into integers": lambda: (data([1]), {}, data([1.5]), {"append_dim": "x"}),
    "-1 into unsigned integers": lambda: (data(np.array([1], "u1")), {}, data(np.array([-1])), {"append_dim": "x"}),
    "timedeltas into dates": lambda: (
        data(np.array(["2000"], "M8[ns]")), {}, data(np.array([5], "m8[ns]")), {"append_dim": "x"}
    ),
    "nothing but NaN into text": lambda: (data(objects("a")), {}, data(np.array([np.nan])), {"append_dim": "x"}),
    "Int64 with NA into integers": lambda: (
        data([1]), {}, data(pd.array([2, None], dtype="Int64")), {"append_dim": "x"}
    ),
    "larger Int64 into Int8": lambda: (
        data(pd.array([1, None], dtype="Int8")), {}, data(pd.array([999], dtype="Int64")), {"append_dim": "x"}
    ),
    "longer text into a region": lambda: (
        data(np.array(["a", "b"])), {}, data(np.array(["bcd"])), {"region": {"x": slice(1, 2)}}
    ),
    "06:30 into a region": lambda: (
        data(np.array(["2000-01-01"], "M8[ns]")), {}, data(np.array(["2000-01-01T06:30"], "M8[ns]")),
        {"region": {"x": slice(0, 1)}},
    ),
    "None into text": lambda: (data(objects("a")), {}, data(objects(None)), {"append_dim": "x"}),
    "text into categories": lambda: (
        data(pd.Categorical(["a", "b"])), {}, data(np.array(["b", "c"])), {"append_dim": "x"}
    ),
    "categories into text": lambda: (
        data(np.array(["a", "b"])), {}, data(pd.Categorical(["b", "c"])), {"append_dim": "x"}
    ),
    "new categories into a region": lambda: (
        data(pd.Categorical(["a", "b"])), {}, data(pd.Categorical(["c"])), {"region": {"x": slice(1, 2)}}
    ),
    "region=\"auto\", labels with a gap": lambda: (
        labelled(pd.Index([1, 2, 3])), {}, labelled(pd.Index([1, 3])), {"region": "auto"}
    ),
    "a region under other labels": lambda: (
        labelled(pd.Index([1, 2, 3])), {}, labelled(pd.Index([7, 8])), {"region": {"x": slice(0, 2)}}
    ),
}  # fmt: skip


def state(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return {str(p): hashlib.md5(p.read_bytes()).hexdigest() for p in files}


def saved(engine: str, make: Callable[[], xr.Dataset], folder: Path) -> str:
    """How a dataset comes back."""
    name, save = ENGINES[engine]
    ds = make()
    try:
        save(ds.copy(), folder / "a")
    except Exception as error:  # what kind of error it is counts
        return _refused(error, left=bool(state(folder)), ours=engine == "zarrds")
    try:
        with xr.open_dataset(folder / "a", engine=name) as opened:
            found = differences(_computed(ds), opened.load())
    except Exception:
        return "**cannot be read**"
    return "same" if not found else f"**{_in_words(found)}**"


def _computed(ds: xr.Dataset) -> xr.Dataset:
    return ds if all(v.chunks is None for v in ds.variables.values()) else ds.compute()


def grown(engine: str, make: Callable[[], Case], folder: Path) -> str:
    """How what was written into a store comes back."""
    name, save = ENGINES[engine]
    first, how, second, into = make()
    try:
        save(first, folder / "a", **how)
    except Exception:
        return "refused, the first too"
    before = state(folder)
    try:
        save(second, folder / "a", **into)
    except Exception as error:
        return _refused(error, left=state(folder) != before, ours=engine == "zarrds")
    if "region" in into:
        with xr.open_dataset(folder / "a", engine=name) as opened:
            there = opened.isel(into["region"]) if isinstance(into["region"], dict) else second * np.nan
            return (
                "right"
                if all(_close(v.values, there[n].values) for n, v in second.variables.items())
                else "**written**"
            )
    with xr.open_dataset(folder / "a", engine=name) as opened:
        opened.load()
        along = into["append_dim"]
        with_it = [n for n, v in first.variables.items() if along in v.dims]
        joined = xr.concat([_objects(first[with_it]), _objects(second[with_it])], along, data_vars="all")
        right = joined.merge(first.drop_vars(with_it))
        same = all(_close(right[n].values, opened[n].values) for n in right.variables)
        same &= all(second[n].attrs.get("units") == opened[n].attrs.get("units") for n in second.data_vars)
        same &= all(_close(second[n].values, opened[n].values) for n in second.variables if along not in second[n].dims)
        repeated = along in opened.indexes and not opened.indexes[along].is_monotonic_increasing
        repeated |= along in opened.indexes and not opened.indexes[along].is_unique
    return "**wrong**" if not same else "**accepted, out of order or twice**" if repeated else "right"


def _objects(ds: xr.Dataset) -> xr.Dataset:
    """A dataset with pandas' own arrays as objects, which can be put together with others."""
    own = {n: v for n, v in ds.data_vars.items() if not isinstance(v.dtype, np.dtype)}
    return ds.assign({n: (v.dims, np.asarray(v.variable.data.astype(object))) for n, v in own.items()})


def _close(one: Any, two: Any) -> bool:
    if one.shape != two.shape:
        return False
    if one.dtype.kind in "fiu" and two.dtype.kind in "fiu":
        return bool(np.allclose(one.astype(float), two.astype(float), atol=0.01, equal_nan=True))
    if {one.dtype.kind, two.dtype.kind} & set("mM") and one.dtype.kind != two.dtype.kind:
        return False
    missing = pd.isnull(one.ravel())
    return bool((missing == pd.isnull(two.ravel())).all() and (one.ravel()[~missing] == two.ravel()[~missing]).all())


def _refused(error: Exception, *, left: bool, ours: bool) -> str:
    text = "refused" if isinstance(error, zarrds.errors.ZarrdsError) or not ours else "**foreign error**"
    return f"{text}, **something is left**" if left else text


def _in_words(found: list[str]) -> str:
    line = found[0]
    for word in ("indexes", "coordinates", "variables", "attribute", "dtype", "element"):
        if word in line:
            return "other " + {"element": "values", "attribute": "attributes", "dtype": "dtype"}.get(word, word)
    return "another shape"


def table(head: str, cases: dict[str, Any], engines: list[str], outcome: Callable[[str, Any, Path], str]) -> str:
    titles = {"zarrds": "zarrds", "zarr": "xarray's zarr engine", "netcdf4": "netCDF4"}
    lines = [f"| {head} | " + " | ".join(titles[e] for e in engines) + " |", "| --- |" + " --- |" * len(engines)]
    for name, make in cases.items():
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            places = [Path(folder, engine) for engine in engines]
            for place in places:
                place.mkdir()
            cells = [outcome(engine, make, place) for engine, place in zip(engines, places, strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    print(table("what is saved", SAVED, ["zarrds", "zarr", "netcdf4"], saved))
    print()
    print(table("what is written into a store", GROWN, ["zarrds", "zarr"], grown))


if __name__ == "__main__":
    main()

"""One index of every kind that pandas and xarray have, of six labels each."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

N = 6
_NUMBERS = [3, 1, 4, 15, 9, 2]
_HOURS = pd.date_range("2019-03-30T22:00", periods=N, freq="h")
_CALENDARS = ("standard", "proleptic_gregorian", "noleap", "all_leap", "360_day", "julian")


def _intervals(closed: Any, breaks: Any) -> pd.IntervalIndex:
    return pd.IntervalIndex.from_breaks(breaks, closed=closed)


def _cftimes(calendar: str) -> pd.Index:
    return xr.date_range("2000-02-25", periods=N, freq="36h", calendar=calendar, use_cftime=True)


INDEXES: dict[str, pd.Index] = {
    **{f"numpy-{d}": pd.Index(np.array(_NUMBERS, d)) for d in "i1 i2 i4 i8 u1 u2 u4 u8 f4 f8 c8 c16".split()},
    "numpy-bool": pd.Index(np.array([True, False, True, True, False, False])),
    "int64-sorted": pd.Index(np.arange(0, 60, 10)),
    "float-descending": pd.Index(np.linspace(60, 50, N)),
    "text-objects": pd.Index([*"bacfed"], dtype=object),
    "text-str": pd.Index([*"bacfe", "ü ñ"], dtype="str"),
    "text-string": pd.Index([*"bacfe", pd.NA], dtype="string[python]"),
    "text-fixed": pd.Index(np.array([*"bacfe", "long"])),
    "range": pd.RangeIndex(N),
    "range-from-5": pd.RangeIndex(5, 5 + 3 * N, 3),
    "range-descending": pd.RangeIndex(N, 0, -1),
    **{f"datetime-{u}": pd.date_range("2000-02-25", periods=N, freq="D").as_unit(u) for u in ("s", "ms", "us", "ns")},
    "datetime-irregular": pd.DatetimeIndex(["2001-01-01", "1999-12-31T23:59:59.123", *_HOURS[:4]]),
    "datetime-missing": pd.DatetimeIndex(["2001-01-01", "NaT", *_HOURS[:4]]),
    "datetime-far": pd.DatetimeIndex(np.array(["0001-01-01", *(f"{y}-07-01" for y in range(9990, 9995))], "M8[s]")),
    "tz-utc": _HOURS.tz_localize("UTC"),
    "tz-london": _HOURS.tz_localize("UTC").tz_convert("Europe/London"),
    "tz-offset": _HOURS.tz_localize("+05:30"),
    **{f"timedelta-{u}": pd.timedelta_range("1D", periods=N, freq="12h").as_unit(u) for u in ("s", "ms", "us", "ns")},
    **{f"cftime-{calendar}": _cftimes(calendar) for calendar in _CALENDARS},
    **{f"period-{f}": pd.period_range("2000-02-25", periods=N, freq=f) for f in ("D", "M", "Q-NOV", "Y", "W-WED", "h")},
    "period-3M": pd.period_range("2000-02", periods=N, freq="3M"),
    "period-missing": pd.PeriodIndex(["2000-01", "NaT", "2000-03", "2001-01", "1800-05", "2200-12"], freq="M"),
    **{f"interval-{c}": _intervals(c, [0, 1, 2.5, 3, 4, 8, 9]) for c in ("left", "right", "both", "neither")},
    "interval-int": _intervals("left", np.arange(0, 70, 10)),
    "interval-datetime": _intervals("left", pd.date_range("2000", periods=N + 1, freq="MS")),
    "interval-tz": _intervals("right", pd.date_range("2000", periods=N + 1, freq="7D", tz="Asia/Tokyo")),
    "interval-timedelta": _intervals("right", pd.timedelta_range("1h", periods=N + 1)),
    "categorical": pd.CategoricalIndex([*"abcabc"], categories=[*"cabd"]),
    "categorical-ordered": pd.CategoricalIndex([*"abcabc"], categories=[*"cab"], ordered=True),
    "categorical-spaces": pd.CategoricalIndex(["a b", "c", "", "a b", "c", "c"]),
    "categorical-missing": pd.CategoricalIndex(["a", None, "b", "a", None, "b"]),
    "categorical-ints": pd.CategoricalIndex([30, 10, 30, 10, 20, 20]),
    "categorical-times": pd.CategoricalIndex(_HOURS.tz_localize("UTC")[[0, 1, 0, 2, 1, 0]]),
    "categorical-intervals": pd.CategoricalIndex(pd.cut(_NUMBERS, [0, 2, 5, 20])),
    "categorical-many": pd.CategoricalIndex(_NUMBERS, categories=np.arange(40_000)),
    **{d: pd.Index([1, 2, None, 4, 5, 6], dtype=d) for d in ("Int8", "Int16", "Int32", "UInt8", "UInt64", "Float32")},
    "Int64": pd.Index([2**62 + 1, -(2**63) + 1, None, 4, 5, 6], dtype="Int64"),
    "Int64-whole": pd.Index([*range(N)], dtype="Int64"),
    "Float64": pd.Index([0.5, None, 1, 2, 3, 4], dtype="Float64"),
    "boolean": pd.Index([True, False, None, True, True, None], dtype="boolean"),
}

_LETTERS = [*"aaabbb"]
MULTI_INDEXES: dict[str, pd.MultiIndex] = {
    "numbers": pd.MultiIndex.from_arrays([_LETTERS, [1, 2, 3] * 2], names=["letter", "number"]),
    "product": pd.MultiIndex.from_product([["b", "a"], _HOURS[:3]], names=["letter", "hour"]),
    "three": pd.MultiIndex.from_arrays([_LETTERS, [1, 1, 2] * 2, np.arange(N) / 2], names=["a", "b", "c"]),
    "missing": pd.MultiIndex.from_arrays([["a", None, "a", "b", "b", "c"], [1, 2, None, 1, 2, 3]], names=["l", "n"]),
    "missing-ints": pd.MultiIndex(
        levels=[[10, 20], pd.date_range("2000", periods=2)],
        codes=[[0, 1, -1, 0, 1, 0], [0, 0, 1, 1, -1, 1]],
        names=["i", "t"],
    ),
    "categories": pd.MultiIndex.from_arrays(
        [pd.Categorical(_LETTERS, categories=[*"cba"], ordered=True), [1, 2, 3] * 2], names=["c", "n"]
    ),
    "time-zones": pd.MultiIndex.from_arrays([_HOURS.tz_localize("Asia/Tokyo"), _LETTERS], names=["when", "what"]),
    "intervals": pd.MultiIndex.from_arrays([_intervals("left", np.arange(N + 1)), _LETTERS], names=["part", "what"]),
    "periods": pd.MultiIndex.from_arrays([pd.period_range("2000-01", periods=N, freq="M"), _LETTERS], names=["p", "q"]),
    "nullable": pd.MultiIndex.from_arrays([pd.array([1, None, 3, 4, 5, 6], "Int64"), _LETTERS], names=["n", "q"]),
}


def dataset_of(name: str, part: slice = slice(None)) -> xr.Dataset:
    """Data along an index of a kind; a coordinate with attributes beside it."""
    positions = np.arange(N)[part]
    data = {"v": ("x", positions * 1.5), "w": (("y", "x"), np.stack([positions, -positions]))}
    if name in MULTI_INDEXES:
        coordinates = xr.Coordinates.from_pandas_multiindex(MULTI_INDEXES[name][part], "x")
        return xr.Dataset(data, coordinates, {"title": name}).assign_coords(y=("y", [5, 6], {"units": "m"}))
    coords = {"x": INDEXES[name][part], "y": ("y", [5, 6], {"units": "m"})}
    return xr.Dataset(data, coords, {"title": name})


def assert_same_indexes(found: xr.Dataset, expected: xr.Dataset) -> None:
    """The datasets are identical, and so are their indexes, down to the dtypes of levels and categories."""
    # missing labels are not always the same to xarray: pd.NA, and NaN in a tuple
    levels = [i.get_level_values(n) for i in expected.indexes.values() for n in i.names if i.nlevels > 1]
    is_comparable = expected.identical(pickle.loads(pickle.dumps(expected))) and not any(
        level.hasnans for level in levels
    )
    if is_comparable:
        xr.testing.assert_identical(found, expected)
    else:
        labels = [name for name in expected.xindexes if expected[name].dims == ("x",)]
        xr.testing.assert_identical(found.drop_vars(labels), expected.drop_vars(labels))
        assert all(found[name].attrs == expected[name].attrs for name in labels)
    assert set(found.variables) == set(expected.variables)
    assert set(found.xindexes) == set(expected.xindexes)
    for name, index in expected.indexes.items():
        other = found.indexes[name]
        assert type(other) is type(index), (name, type(other), type(index))
        assert other.name == index.name
        if isinstance(index, pd.RangeIndex):
            assert (other.start, other.stop, other.step) == (index.start, index.stop, index.step)
        elif isinstance(index, pd.MultiIndex):
            pd.testing.assert_index_equal(other, index, exact=True)
            assert [level.dtype for level in other.levels] == [level.dtype for level in index.levels]
        else:
            pd.testing.assert_index_equal(other, index, exact=True)
            assert other.dtype == index.dtype

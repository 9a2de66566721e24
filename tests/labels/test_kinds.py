"""Every kind of index through a real store, and which array others see."""

from __future__ import annotations

import datetime as dt
import warnings
import zoneinfo
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from tests.labels.stored_labels import restored, round_trip, save
from zarrds.errors import EncodingError
from zarrds.labels.kinds.table import Plain, added_attributes, from_plain, to_plain

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # periods of business days are deprecated
    BUSINESS = pd.PeriodIndex(["2024-01-05", "2024-01-08", None], freq="B")

LONDON = pd.DatetimeIndex(["2024-03-31T00:30", "2024-03-31T01:30", "2024-10-27T00:30", "2024-10-27T01:30"], tz="UTC")


def _many_categories() -> pd.CategoricalIndex:
    names = [f"category {i}" for i in range(40_000)]
    return pd.CategoricalIndex(names[::-7], categories=names)


def _intervals(closed: Any) -> pd.IntervalIndex:
    return pd.IntervalIndex.from_breaks([0, 1, 3, 7], closed=closed)


INDEXES: dict[str, pd.Index] = {
    **{
        f"datetime {unit}": pd.DatetimeIndex(["2024-01-01T12:30:01", None, "1999-12-31"]).as_unit(unit)
        for unit in ("s", "ms", "us", "ns")
    },
    **{
        f"timedelta {unit}": pd.TimedeltaIndex(["1 days", None, "-3h"]).as_unit(unit)
        for unit in ("s", "ms", "us", "ns")
    },
    "datetime, fractions": pd.DatetimeIndex(["2024-01-01T00:00:00.000001", "2024-01-01T12:30:01"]).as_unit("us"),
    "datetime, far": pd.DatetimeIndex(np.array(["0001-01-01", "9999-12-31T23:59:59"], "M8[s]")),
    "datetime, ns": pd.DatetimeIndex(np.array([0, -(2**63) + 1, 2**63 - 1], "M8[ns]")),
    "datetime, all missing": pd.DatetimeIndex([None, None]).as_unit("us"),
    "datetime, empty": pd.DatetimeIndex([]).as_unit("ms"),
    "timedelta, empty": pd.TimedeltaIndex([]).as_unit("ns"),
    "datetime, daily": pd.date_range("2024-01-01", periods=5),
    "datetime, months": pd.date_range("1850-01-01", periods=30, freq="MS", unit="s"),
    "datetime, weeks": pd.date_range("2024-01-01", periods=4, freq="2W-WED", tz="America/New_York"),
    "datetime, backwards": pd.date_range("2024-01-01", periods=4, freq="-15min"),
    "datetime, over the summer": pd.date_range("2024-03-30", periods=4, freq="D", tz="Europe/London"),
    "timedelta, hourly": pd.timedelta_range("0h", periods=5, freq="6h"),
    "zone UTC": LONDON,
    "zone London": LONDON.tz_convert("Europe/London"),
    "zone London, ns": LONDON.tz_convert("Europe/London").as_unit("ns"),
    "zone ZoneInfo": LONDON.tz_convert(zoneinfo.ZoneInfo("America/New_York")),
    "zone fixed": LONDON.tz_convert(dt.timezone(-dt.timedelta(hours=3, minutes=30))),
    "zone fixed, seconds": LONDON.tz_convert(dt.timezone(dt.timedelta(seconds=4521))),
    "zone, empty": LONDON[:0].tz_convert("Asia/Tokyo"),
    **{
        f"period {freq}": pd.PeriodIndex.from_ordinals([-700, -1, 0, 3, np.iinfo(np.int64).min, 5000], freq=freq)
        for freq in ["3M", "15min", "W-SUN", "2W-WED", "Q-DEC", "2Q-MAR", "Y", "M", "D", "h", "s", "ms", "5us", "ns"]
    },
    "period, before 1677": pd.period_range("0001-01", "1676-12", freq="M"),
    "period, after 2262": pd.PeriodIndex(["9999-12-31", "2263-01-01", "1066-10-14"], freq="D"),
    "period, empty": pd.PeriodIndex([], freq="M"),
    **{f"interval {closed}": _intervals(closed) for closed in ("left", "right", "both", "neither")},
    **{
        f"interval {dtype}": pd.IntervalIndex.from_breaks(np.array([0, 3, 4, 120], dtype))
        for dtype in ("int8", "uint8", "int32", "uint64", "float32", "float64")
    },
    "interval, large": pd.IntervalIndex.from_breaks(np.array([-(2**63), -1, 2**53 + 1, 2**63 - 1])),
    "interval, large uint": pd.IntervalIndex.from_breaks(np.array([0, 2**63 + 1, 2**64 - 1], np.uint64)),
    "interval, infinite": pd.IntervalIndex.from_breaks([-np.inf, 5e-324, 1.5, 1.7e308, np.inf]),
    "interval, all numbers": pd.IntervalIndex.from_tuples([(-np.inf, np.inf), (0.0, 1.0)]),
    "interval, missing": pd.IntervalIndex.from_tuples([(0.5, 1), None, (1, 1)], closed="both"),
    "interval, empty": pd.IntervalIndex.from_breaks(np.array([], np.int64)),
    "interval, overlapping": pd.IntervalIndex.from_tuples([(0, 3), (1, 2), (0, 3)]),
    "interval, dates": pd.IntervalIndex.from_breaks(pd.date_range("2024-01-01", periods=4, unit="s")),
    "interval, ns": pd.IntervalIndex.from_breaks(pd.DatetimeIndex([0, 1, 2**62]).as_unit("ns")),
    "interval, dates missing": pd.IntervalIndex.from_arrays(*[pd.DatetimeIndex(["2024-01-01", None])] * 2),
    "interval, zone": pd.IntervalIndex.from_breaks(LONDON.tz_convert("Europe/London"), closed="left"),
    "interval, timedelta": pd.IntervalIndex.from_breaks(pd.TimedeltaIndex(["1s", "90s", "1h"])),
    "category": pd.CategoricalIndex(["b", "a", None, "b"], categories=["b", "a", "unused"]),
    "category, ordered": pd.CategoricalIndex(["lo", "hi"], categories=["lo", "mid", "hi"], ordered=True),
    "category, spaces": pd.CategoricalIndex(["a b", "", "a b", "ü"]),
    "category, many": _many_categories(),
    "category, none": pd.CategoricalIndex([None, None]),
    "category, empty": pd.CategoricalIndex([]),
    "category, ints": pd.CategoricalIndex([3, 1, None, 3]),
    "category, floats": pd.CategoricalIndex([0.5, np.inf, None]),
    "category, bools": pd.CategoricalIndex([True, False, None]),
    "category, Int64": pd.CategoricalIndex(pd.array([3, 1, None], dtype="Int64")),
    "category, dates": pd.CategoricalIndex(LONDON.tz_convert("Europe/London")),
    "category, daily": pd.CategoricalIndex(pd.date_range("2024-01-01", periods=3)),
    "category, periods": pd.CategoricalIndex(pd.period_range("2024-01", periods=3, freq="Q")),
    "category, intervals": pd.CategoricalIndex(pd.cut([1, 5, 9, np.nan], 3)),
    "category, strings": pd.CategoricalIndex(pd.array(["x", "y", None], dtype="string")),
    "category, objects": pd.CategoricalIndex(["x", "y"], categories=pd.Index(["x", "y"], dtype=object)),
    **{
        f"nullable {name}": pd.Index(
            pd.array([np.iinfo(name.lower()).min, None, np.iinfo(name.lower()).max, 7], dtype=name)
        )
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    },
    "nullable, no missing": pd.Index(pd.array([1, 2], dtype="Int16")),
    "nullable, empty": pd.Index(pd.array([], dtype="Int64")),
    "nullable, all values": pd.Index(pd.array(range(-128, 128), dtype="Int8")),
    "boolean": pd.Index(pd.array([True, None, False], dtype="boolean")),
    "Float32": pd.Index(pd.array([0.1, None, np.inf], dtype="Float32")),
    "Float64": pd.Index(pd.array([0.1, None, -0.0], dtype="Float64")),
    "string": pd.Index(pd.array(["a b", "", "ü"], dtype="string[python]")),
    "string, missing": pd.Index(pd.array(["<NA>", None, "nan"], dtype="string[python]")),
    "string, all missing": pd.Index(pd.array([None, None], dtype="string[python]")),
    "string, empty": pd.Index(pd.array([], dtype="string[python]")),
    "str": pd.Index(["a", "", "c"]),
    "str, empty": pd.Index([], dtype="str"),
    "objects, empty": pd.Index([], dtype=object),
    "str, missing": pd.Index(["a", None, "<NA>", "<NA 1>"], dtype="str"),
    "objects": pd.Index(["a", "b"], dtype=object),
    "objects, missing": pd.Index(["a", np.nan, "<NA>"], dtype=object),
    "ints": pd.Index([3, 1, 2]),
    "small ints": pd.Index(np.array([3, 1, 2], np.uint8)),
    "floats": pd.Index([0.5, np.nan]),
    "bools": pd.Index([True, False]),
}


@pytest.mark.one_in(4)
@pytest.mark.parametrize("zarr_format", [3, 2])
@pytest.mark.parametrize("name", INDEXES)
def test_index_comes_back(name: str, zarr_format: int, tmp_path: Path) -> None:
    index = INDEXES[name]
    back = round_trip(tmp_path / "s.zarr", index, zarr_format=zarr_format)
    pd.testing.assert_index_equal(back, index, exact=True)
    assert back.identical(index)
    assert getattr(back, "freq", None) == getattr(index, "freq", None)
    if isinstance(index, pd.PeriodIndex):
        np.testing.assert_array_equal(back.asi8, index.asi8)


@pytest.mark.filterwarnings("ignore:PeriodDtype.B. is deprecated", "ignore:Period with BDay freq is deprecated")
def test_business_days_come_back(tmp_path: Path) -> None:
    back = round_trip(tmp_path / "s.zarr", BUSINESS)
    assert back.identical(BUSINESS)
    np.testing.assert_array_equal(back.asi8, BUSINESS.asi8)


@pytest.mark.parametrize(
    "calendar", ["standard", "gregorian", "proleptic_gregorian", "julian", "noleap", "all_leap", "360_day"]
)
def test_cftime_comes_back_in_every_calendar(calendar: str, tmp_path: Path) -> None:
    times = xr.date_range("2000-01-30", periods=4, freq="ME", calendar=calendar, use_cftime=True)
    plain = to_plain(times) or Plain(times.values)
    # the others are decoded to cftime without being told
    is_told = calendar in ("standard", "gregorian", "proleptic_gregorian")
    assert plain.description == ({"dtype": "cftime"} if is_told else {})
    back = restored(tmp_path, save(tmp_path, plain, mode="w"))
    rebuilt = xr.Dataset(coords={"x": back}).indexes["x"]
    assert isinstance(rebuilt, xr.CFTimeIndex)
    assert rebuilt.equals(times)
    assert rebuilt.calendar == times.calendar


def test_other_readers_see_plain_arrays(tmp_path: Path) -> None:
    def read(plain: Plain | None) -> tuple[Any, xr.Dataset]:
        assert plain is not None
        save(tmp_path, plain, mode="w", zarr_format=2)
        return zarr.open_group(tmp_path, mode="r"), xr.open_dataset(tmp_path, engine="zarr")

    group, dataset = read(to_plain(INDEXES["category"]))
    assert group["v"][:].tolist() == [0, 1, -1, 0]
    assert group["v"].dtype == np.int8
    assert group["v"].attrs["flag_values"] == [0, 1, 2]
    assert group["v"].attrs["flag_meanings"] == "b a unused"
    assert group["v_categories"][:].tolist() == ["b", "a", "unused"]
    np.testing.assert_array_equal(dataset.v, [0, 1, np.nan, 0])

    _, dataset = read(to_plain(INDEXES["period D"]))
    assert dataset.v.values[2] == np.datetime64("1970-01-01")

    group, dataset = read(to_plain(INDEXES["interval, dates"]))
    assert group["v"].attrs["units"] == group["v_bounds"].attrs["units"] == "minutes since 1970-01-01"
    np.testing.assert_array_equal(dataset.v_bounds[:, 0], np.array(["2024-01-01", "2024-01-02", "2024-01-03"], "M8[s]"))
    np.testing.assert_array_equal(dataset.v, dataset.v_bounds[:, 0] + np.timedelta64(12, "h"))

    group, dataset = read(to_plain(INDEXES["nullable Int16"]))
    np.testing.assert_array_equal(dataset.v, [-(2**15), np.nan, 2**15 - 1, 7])

    _, dataset = read(to_plain(INDEXES["string, missing"]))
    assert dataset.v.values[[0, 2]].tolist() == ["<NA>", "nan"]
    assert pd.isnull(dataset.v.values[1])

    group, dataset = read(to_plain(INDEXES["zone London"]))
    np.testing.assert_array_equal(dataset.v, LONDON.tz_convert(None))


@pytest.mark.parametrize(
    ("words", "has_meanings"),
    [(["a", "b.c+d-e_f@1"], True), (["a b", "c"], False), (["", "c"], False), (["ü"], False), (list(range(3)), False)],
)
def test_meanings_are_words_of_cf(words: list[Any], has_meanings: bool) -> None:
    plain = to_plain(pd.CategoricalIndex(words))
    assert plain is not None
    assert ("flag_meanings" in plain.attrs) is has_meanings
    assert plain.attrs.keys() <= added_attributes(plain.description)


def test_meanings_of_up_to_a_thousand_categories() -> None:
    sizes = {1000: True, 1001: False}
    for size, has_meanings in sizes.items():
        plain = to_plain(pd.CategoricalIndex([f"c{i:04}" for i in range(size)]))
        assert plain is not None
        assert ("flag_meanings" in plain.attrs) is has_meanings
        assert plain.attrs["_FillValue"] == -1


@pytest.mark.parametrize(
    ("name", "values"),
    [("Int8", [-128, None, -127, -125]), ("UInt8", [255, 254, None, 252]), ("Int64", [-(2**63), -(2**63) + 2, None])],
)
def test_marker_is_the_first_that_is_free(name: str, values: list[Any]) -> None:
    plain = to_plain(pd.array(values, dtype=name))  # type: ignore[call-overload]  # the name of a dtype
    assert plain is not None
    expected = {"Int8": -126, "UInt8": 253, "Int64": -(2**63) + 1}[name]
    assert plain.description == {"dtype": name, "missing": expected}
    assert plain.attrs == {"_FillValue": expected}
    assert plain.values[values.index(None)] == expected


def test_no_marker_is_left() -> None:
    with pytest.raises(EncodingError, match="no integer is left"):
        to_plain(pd.array([*range(256), None], dtype="UInt8"))


@pytest.mark.parametrize(
    "values",
    [
        pd.Index([1, 2]),
        pd.RangeIndex(3),
        pd.DatetimeIndex(["2024-01-01", "2024-01-05", None]).as_unit("ns"),
        pd.TimedeltaIndex([1, 2]).as_unit("ns"),
        np.array(["a", "b"]),
        np.array([b"a"]),
        np.array([1.5], np.float16),
        np.array([1j]),
        np.array([[1, 2]]),
        np.array(["2024-01-01"], "M8[ns]"),
        np.array([{"a": 1}, 3], dtype=object),
    ],
)
def test_nothing_is_said_where_the_array_says_all(values: Any) -> None:
    assert to_plain(values) is None


@pytest.mark.parametrize("values", [pd.Index(["a", "b"], dtype=object), np.array([["a"], [np.str_("b")]], object)])
def test_objects_that_are_text_are_marked_as_that_and_not_copied(values: Any) -> None:
    plain = to_plain(values)
    assert isinstance(plain, Plain)
    assert plain.description == plain.attrs == {}
    assert xr.coding.strings.check_vlen_dtype(plain.values.dtype) is str
    assert plain.values.shape == values.shape
    assert np.shares_memory(plain.values, np.asarray(values))


def test_a_multi_index_is_stored_level_by_level() -> None:
    with pytest.raises(TypeError, match="one by one"):
        to_plain(pd.MultiIndex.from_product([[1], [2]]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pd.PeriodIndex.from_ordinals([9000], freq="Y"), "years 1 to 9999"),
        (pd.PeriodIndex.from_ordinals([2**60], freq="Q"), "years 1 to 9999"),
        (pd.PeriodIndex.from_ordinals([2**60], freq="h"), "years 1 to 9999"),
        (pd.DatetimeIndex(np.array(["12000-01-01"], "M8[s]")), "years 1 to 9999"),
        (pd.arrays.SparseArray([1, 0, 0]), "dtype cannot be stored"),
        (pd.IntervalIndex.from_breaks(pd.array([1, 2, 3], dtype="Int64")), "cannot be stored"),
        (np.array([pd.Timestamp("2024", tz="UTC"), pd.Timestamp("2024", tz="Asia/Tokyo")]), "several time zones"),
        (np.array([pd.Timestamp("2024", tz="UTC"), pd.Timestamp("2024")]), "several time zones"),
        (np.array([pd.Timestamp("1000-01-01", tz="UTC"), pd.Timestamp(1, tz="UTC").as_unit("ns")]), "in one unit"),
    ],
)
def test_what_cannot_be_stored(values: Any, message: str) -> None:
    with pytest.raises(EncodingError, match=message):
        to_plain(values)


def test_a_zone_without_a_name() -> None:
    class Here(dt.tzinfo):
        def utcoffset(self, when: dt.datetime | None) -> dt.timedelta | None:
            return None if when is None else dt.timedelta(hours=1)

        def dst(self, when: dt.datetime | None) -> dt.timedelta:
            return dt.timedelta(0)

    with pytest.raises(EncodingError, match="no name"):
        to_plain(np.array([dt.datetime(2024, 1, 1, tzinfo=Here())], dtype=object))


def test_text_of_pyarrow_without_pyarrow() -> None:
    back = from_plain({"dtype": "string[pyarrow]", "missing": "-"}, np.array(["a", "-"], dtype=object), {})
    assert isinstance(back.dtype, pd.StringDtype)
    assert back[0] == "a"
    assert back[1] is pd.NA


def test_cftime_objects_of_one_calendar_are_seen_behind_missing_ones() -> None:
    plain = to_plain(np.array([None, cftime.datetime(2000, 1, 1, calendar="standard")], dtype=object))
    assert plain is not None
    assert plain.description == {"dtype": "cftime"}

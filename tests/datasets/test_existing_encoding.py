from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import cftime
import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from hypothesis import assume, example, given
from hypothesis import strategies as st

import zarrds
from zarrds.arrays.layout import new_array_metadata
from zarrds.compat.xarray_internals import decode_cf_variables
from zarrds.datasets.encoding.as_stored import encode_like
from zarrds.datasets.encoding.encoded import encoded_variable
from zarrds.datasets.encoding.new_variable import NewVariable
from zarrds.errors import EncodingError, LabelError

START = np.datetime64("2019-03-05", "ns")
HOUR = np.timedelta64(1, "h")
SINCE = {"units": "hours since 2019-01-01", "calendar": "standard"}
PACKED = {"dtype": "i2", "scale_factor": 0.5, "add_offset": 10.0, "_FillValue": -1}


def noleap(*numbers: int) -> Any:
    return cftime.num2date(list(numbers), "hours since 2019-03-05", "noleap")


class Stored:
    """A variable `v` along `x` in a store, as xarray decodes it."""

    def __init__(self, path: Path, data: Any, encoding: dict[str, Any], zarr_format: Any = 3) -> None:
        self.path, self.zarr_format = path, zarr_format
        xr.Dataset({"v": ("x", data)}).to_zarr(path, encoding={"v": encoding}, zarr_format=zarr_format)
        self.variable = xr.open_dataset(path, engine="zarrds").variables["v"]
        self.metadata = zarrds.open_array(path, path="v").metadata

    def encode(self, data: Any, dims: Any = "x") -> xr.Variable:
        return encode_like("v", xr.Variable(dims, data), self.variable, self.metadata)


def stored(values: Any, **encoding: Any) -> Any:
    """`encode_like` into a variable in memory that is stored as `values`."""
    raw = xr.Variable("x", np.asarray(values), encoding)
    decoded = decode_cf_variables({"v": raw}, {})[0]["v"]
    metadata = new_array_metadata(shape=raw.shape, dtype=raw.dtype)
    return lambda data: encode_like("v", xr.Variable("x", data), decoded, metadata)


FITTING: list[tuple[Any, dict[str, Any], Any]] = [
    (np.float32([1.5, 2]), {}, np.array([2.25, np.nan])),
    ([1.5, 2.0], {"dtype": "f4", "_FillValue": -99.0}, [np.nan, 3.5]),
    ([1.5, 2.0], PACKED, [12.0, np.nan, 11.25, 11.75, -3.5]),
    ([1.5, 2.0], PACKED, np.float32([12.0, np.nan, 11.25])),
    ([1.0, 2.0], {"dtype": "u1", "scale_factor": 0.1}, [0.0, 25.5, 7.36]),
    ([1.0, 2.0], {"dtype": "i4", "add_offset": 100.0}, [7.0]),
    ([1.0, np.nan], {"dtype": "u2", "_FillValue": 65535}, [65534.0, np.nan]),
    (np.array([1, 2], "i4"), {}, np.array([7, -(2**31)], "i8")),
    (np.array([1, 2], "u8"), {}, np.array([2**64 - 1], "u8")),
    (START + np.arange(3) * HOUR, SINCE | {"dtype": "i4"}, START + np.arange(90, 93) * HOUR),
    (START + np.arange(3) * HOUR, SINCE | {"dtype": "f8"}, (START + np.arange(90, 93) * HOUR).astype("M8[s]")),
    (START + np.arange(3) * HOUR, {}, START + np.arange(24, 96, 24) * HOUR),
    (np.arange(3) * HOUR.astype("m8[ns]"), {"dtype": "i8", "units": "hours"}, np.arange(5) * HOUR.astype("m8[ns]")),
    (noleap(1, 2), {"units": "hours since 2000-01-01", "calendar": "noleap", "dtype": "i8"}, noleap(5, 9)),
    (np.array(["a", "bcd"], object), {}, np.array(["defgh"], object)),
    (np.array([True, False]), {}, np.array([False, True])),
    (np.complex64([1j]), {}, np.complex64([2 + 1j])),
]  # fmt: skip


@pytest.mark.one_in(3)
@pytest.mark.filterwarnings("ignore:saving variable")  # of the zarr engine: integers without _FillValue
@pytest.mark.parametrize("is_dask", [False, True])
@pytest.mark.parametrize(("first", "encoding", "more"), FITTING)
def test_elements_are_those_that_the_zarr_engine_appends(
    tmp_path: Path, first: Any, encoding: dict[str, Any], more: Any, is_dask: bool
) -> None:
    there = Stored(tmp_path / "x.zarr", first, encoding)
    more = np.asarray(more)
    encoded = there.encode(dask.array.from_array(more, chunks=2) if is_dask else more)
    assert (encoded.chunks is not None) == is_dask
    assert encoded.dims == ("x",)
    xr.Dataset({"v": ("x", more)}).to_zarr(there.path, append_dim="x")
    right = zarr.open_group(there.path)["v"][len(first) :]  # type: ignore[index]  # it is an array
    values = pickle.loads(pickle.dumps(encoded)).values
    np.testing.assert_array_equal(values, right)
    assert values.dtype == encoded.dtype == there.metadata.data_type.dtype


@pytest.mark.parametrize("dtype", ["U3", "S3"])
def test_strings_of_fixed_length(tmp_path: Path, dtype: str) -> None:
    there = Stored(tmp_path / "x.zarr", np.array(["a", "bcd"], dtype), {}, zarr_format=2)
    new = np.array(["xy", "zzz"], dtype)
    assert there.encode(new).values.tolist() == there.encode(new.astype(object)).values.tolist() == new.tolist()
    assert there.encode(new.astype(object)).dtype == there.metadata.data_type.dtype
    for other in (dtype[0] + "2", dtype[0] + "4", "i8", {"U": "S3", "S": "U3"}[dtype[0]]):
        with pytest.raises(EncodingError, match="Mismatched dtypes for variable v"):
            there.encode(np.zeros(2, other))
    with pytest.raises(EncodingError, match=r"cannot hold whole .*found b?'abcd' at x=1"):
        there.encode(np.array(["abc", "abcd"], dtype[0]).astype(object))


KINDS = {
    "booleans": np.array([True]), "integers": np.array([1]), "floats": np.array([1.0]), "complex": np.array([1j]),
    "datetimes": np.array([START]), "timedeltas": np.array([HOUR]).astype("m8[ns]"), "strings": np.array(["a"], object),
}  # fmt: skip
ALLOWED = {
    ("booleans", "integers"),
    ("booleans", "floats"),
    ("integers", "floats"),
    ("floats", "integers"),
    ("integers", "complex"),
    ("floats", "complex"),
}


@pytest.mark.parametrize("there", KINDS)
def test_kinds_that_do_not_fit_are_refused(tmp_path: Path, there: str) -> None:
    store = Stored(tmp_path / "x.zarr", KINDS[there], {})
    for kind, data in KINDS.items():
        if kind == there or (kind, there) in ALLOWED:
            assert store.encode(data).dtype == store.metadata.data_type.dtype
            continue
        for array in (data, dask.array.from_array(data, chunks=-1)):
            with pytest.raises(EncodingError, match="Mismatched dtypes for variable v"):
                store.encode(array).compute()


def test_dimensions() -> None:
    there, metadata = xr.Variable(("y", "x"), np.zeros((2, 3))), new_array_metadata(shape=(2, 3), dtype="f8")
    new = xr.Variable(("x", "y"), np.arange(12.0).reshape(3, 4), {"units": "K"}, {"dtype": "i2"})
    encoded = encode_like("v", new, there, metadata)
    assert encoded.dims == ("y", "x")
    np.testing.assert_array_equal(encoded, new.transpose())
    for dims in (("x", "z"), ("y",)):
        with pytest.raises(LabelError, match="different dimension names"):
            encode_like("v", xr.Variable(dims, np.zeros((1,) * len(dims))), there, metadata)


HALF: dict[str, Any] = {"scale_factor": 0.5}
MARKED: dict[str, Any] = HALF | {"_FillValue": np.int16(-1)}
MINUTE = np.timedelta64(1, "m")
NOLEAP = {"units": "days since 2000-01-01", "calendar": "noleap"}
BEFORE = {"units": "days since 1850-01-01"}
# what the store holds, its encoding, the data, and the error
WRONG: list[tuple[Any, dict[str, Any], Any, str]] = [
    (np.int16([0]), HALF, [0.0, 1.0, 16384.0], r"values from -16384 to 16383.5, as int16 .*found 16384\.0 at x=2"),
    (np.int16([0]), MARKED | {"units": "days"}, [0.0, 1.0, 4e4], r"found 40000\.0 at x=2"),
    (np.int16([0]), HALF, [0.0, np.nan], "missing, and the store has no _FillValue.*found nan at x=1"),
    (np.int16([0]), MARKED, [np.nan, -0.5], "_FillValue, and would read.*found -0.5 at x=1"),
    (np.int16([0]), MARKED, [0.0, np.inf], "found inf at x=1"),
    (np.uint8([0]), {}, np.array([255, 256]), "uint8 from 0 to 255, found 256 at x=1"),
    (np.uint8([0]), {}, np.array([0, -1], "i1"), "uint8 from 0 to 255, found -1 at x=1"),
    (np.int64([0]), {}, np.array([2**63], "u8"), "found 9223372036854775808 at x=0"),
    (np.int64([0]), {}, [2.0**63], r"found 9.22.*e\+18 at x=0"),
    (np.int32([0]), {}, [1.0, 1.5], "not whole.*found 1.5 at x=1"),
    (np.int32([0]), {}, [1.0, np.nan], "missing.*found nan at x=1"),
    (np.int32([0]), {"_FillValue": np.int32(9)}, [8, 9], "found 9 at x=1"),
    (np.int32([0]), {"missing_value": np.int32(9)}, [8, 9], "found 9 at x=1"),
    (np.int8([0]), {"_Unsigned": "true"}, [255, 256], "uint8 from 0 to 255.*found 256 at x=1"),
    (np.float32([0]), {}, [1e38, 1e39], r"too large for float32.*found 1e\+39 at x=1"),
    (np.float32([0]), {}, [2**24, 2**24 + 1], "float32 cannot hold exactly.*found 16777217 at x=1"),
    (np.float64([0]), {}, [2**60, 2**63 - 1], "float64 cannot hold exactly.*at x=1"),
    (
        np.int64([0]),
        SINCE,
        START + np.array([60, 90]) * MINUTE,
        "units cannot hold exactly.*whole hours since 2019-01-01.*found 2019-03-05 01:30:00 at x=1",
    ),
    (np.int16([0]), SINCE, START + np.array([0, 40000]) * HOUR, "int16 from .*in hours since.*at x=1"),
    (np.int32([0]), SINCE, np.array([START, "NaT"], "M8[ns]"), "missing.*found NaT at x=1"),
    (np.float64([0]), BEFORE, START + np.array([0, 1], "m8[ns]"), "would read back as 2019-03-05 .*at x=1"),
    (np.float32([0]), BEFORE, START + np.array([0, 1]) * MINUTE, "would read back as 2019-03-05 .*at x=1"),
    (np.int64([0]), SINCE, np.array(["1500-01-01"], "M8[s]"), "prior to the reform"),
    (
        np.int64([0]),
        NOLEAP,
        cftime.num2date([0], NOLEAP["units"], "360_day"),
        "another calendar than the store.s.*convert_calendar",
    ),
    (np.int64([0]), NOLEAP, noleap(0, 1), "units cannot hold exactly.*at x=1"),
    (
        np.int64([0]),
        {"units": "hours", "dtype": "timedelta64[ns]"},
        np.array([60, 90]) * MINUTE.astype("m8[s]"),
        "whole hours.*found 0 days 01:30:00 at x=1",
    ),
]


@pytest.mark.parametrize(("values", "encoding", "data", "message"), WRONG)
def test_what_the_store_cannot_hold_is_an_error(values: Any, encoding: dict[str, Any], data: Any, message: str) -> None:
    encode = stored(values, **encoding)
    with pytest.raises(EncodingError, match=message) as caught:
        encode(np.asarray(data))
    assert "'v'" in str(caught.value)
    lazy = encode(dask.array.from_array(np.asarray(data), chunks=1))
    with pytest.raises(EncodingError, match=message):
        lazy.compute(scheduler="sync")


def test_far_dates_are_counted_exactly() -> None:
    encode = stored(np.int64([737122]), units="days since 0001-01-01", calendar="proleptic_gregorian")
    assert encode(np.array(["2019-03-05"], "M8[ns]")).values.tolist() == [737122]
    with pytest.raises(EncodingError, match="units cannot hold exactly"):
        encode(np.array(["2019-03-05T12"], "M8[ns]"))
    with pytest.raises(EncodingError, match="unable to decode"):  # which is what every reader would say
        encode(np.array(["2019-03-05", "NaT"], "M8[ns]"))


def test_missing_times() -> None:
    times = np.array(["NaT", "2019-03-05"], "M8[ns]")
    hours = 63 * 24
    assert stored(np.int64([0]), **SINCE)(times).values.tolist() == [np.iinfo(np.int64).min, hours]
    assert stored(np.int16([0]), **SINCE, _FillValue=np.int16(-9))(times).values.tolist() == [-9, hours]
    np.testing.assert_array_equal(stored(np.float64([0]), **SINCE)(times), [np.nan, hours])
    np.testing.assert_array_equal(stored(np.float64([0]), **SINCE, _FillValue=-9.0)(times), [-9, hours])
    assert stored(np.int64([0]), **SINCE)(times[:1]).values.tolist() == [np.iinfo(np.int64).min]


def test_unsigned_values_are_stored_as_signed() -> None:
    encode = stored(np.int8([0]), _Unsigned="true", _FillValue=np.int8(-1))
    assert encode(np.array([0, 200, np.nan])).values.tolist() == [0, -56, -1]


def test_large_markers_are_written_exactly() -> None:
    encode = stored(np.int64([0]), _FillValue=np.int64(2**63 - 1))
    assert encode(np.array([1.0, np.nan])).values.tolist() == [1, 2**63 - 1]


def test_strings_of_fixed_length_into_strings_of_any() -> None:
    there, metadata = xr.Variable("x", np.array(["a"], object)), new_array_metadata(shape=(1,), dtype="string")
    encoded = encode_like("v", xr.Variable("x", ["defgh", "é"]), there, metadata)
    assert (encoded.dtype, encoded.values.tolist()) == (np.dtype(object), ["defgh", "é"])


def test_strings_without_a_text_for_missing() -> None:
    there, metadata = xr.Variable("x", np.array(["a"], object)), new_array_metadata(shape=(1,), dtype="string")
    with pytest.raises(EncodingError, match=r"missing.*found (None|nan) at x=1"):
        encode_like("v", xr.Variable("x", np.array(["a", None], object)), there, metadata)
    there.encoding["missing_value"] = "n/a"
    encoded = encode_like("v", xr.Variable("x", np.array(["a", None], object)), there, metadata)
    assert encoded.values.tolist() == ["a", "n/a"]


def test_positions_count_over_all_blocks() -> None:
    data = np.zeros((4, 6), "i4")
    data[3, 4] = 300
    there, metadata = xr.Variable(("y", "x"), np.zeros((1, 6), "u1")), new_array_metadata(shape=(1, 6), dtype="u1")
    lazy = encode_like("v", xr.Variable(("y", "x"), dask.array.from_array(data, chunks=(2, 4))), there, metadata)
    assert lazy.dtype == np.uint8
    with pytest.raises(EncodingError, match="found 300 at y=3, x=4"):
        lazy.compute()


def test_data_that_needs_no_encoding_is_passed_on() -> None:
    data = dask.array.zeros(4, chunks=2)
    assert stored(np.zeros(1), _FillValue=np.nan)(data).data is data


@example("i1", 1.0, 0.0, True, [127 / 128])  # the marker itself
@given(
    st.sampled_from(["i1", "u1", "i2", "u2", "i4"]),
    st.sampled_from([1.0, 0.1, -0.25, 3.0]),
    st.sampled_from([0.0, -5.0, 1000.0]),
    st.booleans(),
    st.lists(st.floats(-2.0, 2.0) | st.just(np.nan), min_size=1, max_size=6),
)
def test_packed_values_read_back_or_are_refused(
    dtype: str, scale: float, offset: float, has_marker: bool, fractions: list[float]
) -> None:
    info = np.iinfo(dtype)
    packed = np.array(fractions) * max(info.max, -info.min)
    values = packed * scale + offset
    # at the very ends the last bit decides
    assume(not np.any((np.abs(packed - info.min + 0.5) < 1e-3) | (np.abs(packed - info.max - 0.5) < 1e-3)))
    attributes: dict[str, Any] = {"scale_factor": scale, "add_offset": offset}
    if has_marker:
        attributes["_FillValue"] = np.dtype(dtype).type(info.max)
    whole = np.rint(packed)
    missing = np.isnan(packed)
    fits = (missing & has_marker) | ((whole >= info.min) & (whole <= info.max) & ~((whole == info.max) & has_marker))
    assume(not (has_marker and np.any(np.abs(packed - info.max + 0.5) < 1e-3)))
    encode = stored(np.zeros(1, dtype), **attributes)
    if not fits.all():
        with pytest.raises(EncodingError, match=r" at x=\d"):
            encode(values)
    else:
        raw = encode(values)
        decoded = decode_cf_variables({"v": xr.Variable("x", raw.values, attributes)}, {})[0]["v"]
        np.testing.assert_allclose(decoded, values, atol=abs(scale) * 0.501, rtol=0)
    packed_anew = xr.Variable("x", values, {}, attributes | {"dtype": np.dtype(dtype)})
    if fits.all():
        found, why = encoded_variable(NewVariable("v", packed_anew, True))
        np.testing.assert_array_equal(found, raw)
        assert why is None
    else:
        with pytest.raises(EncodingError, match="variable 'v' holds a value"):
            encoded_variable(NewVariable("v", packed_anew, True))


def test_dask_arrays_are_checked_when_they_are_computed() -> None:
    values = dask.array.from_array(np.arange(300.0), chunks=100)
    found, _ = encoded_variable(NewVariable("v", xr.Variable("x", values, {"a": 1}, {"dtype": "u1"}), True))
    assert (found.attrs, found.chunks, found.dtype) == ({"a": 1}, ((100, 100, 100),), np.dtype("u1"))
    with pytest.raises(EncodingError, match=r"found 256\.0 at x=256"):
        found.compute()
    np.testing.assert_array_equal(found[:200], np.arange(200.0))
    times = xr.Variable("x", START + np.array([0, 70000]) * HOUR, {}, SINCE | {"dtype": "i2"})
    with pytest.raises(EncodingError, match=r"int16.*hours since .*at x=1"):
        encoded_variable(NewVariable("v", times, True))


@pytest.mark.parametrize("encoding", [{}, {"_FillValue": -1, "dtype": "i8"}, {"dtype": "f8"}])
@pytest.mark.parametrize("calendar", ["noleap", "standard"])
@pytest.mark.parametrize("new", [[None, None], [np.nan, np.nan], ["NaT", "NaT"], ["NaT", "2001-01-01"], ["mixed"]])
def test_dates_of_cftime_are_missing_where_a_number_says_so(
    encoding: dict[str, Any], calendar: str, new: list[Any]
) -> None:
    dates = xr.date_range("2000-01-01", periods=2, calendar=calendar, use_cftime=True).values
    store, units = zarrds.MemoryStore(), {"units": "days since 2000-01-01", "calendar": calendar}
    zarrds.save(xr.Dataset({"v": ("x", dates, {}, {**encoding, **units})}), store)
    values = np.array([dates[0], None], object) if "mixed" in new else np.array(new, "M8[s]" if "NaT" in new else None)
    problem = ""
    try:
        zarrds.save(xr.Dataset({"v": ("x", values)}), store, append_dim="x")
    except (EncodingError, LabelError) as error:
        problem, values = str(error), values[:0]
    assert bool(encoding) > bool(problem) or re.search(r"no _FillValue|expected cftime|another calendar", problem)
    assert "installing" not in problem
    found = xr.open_dataset(store, engine="zarrds").load().v.values
    assert found[:2].tolist() == dates.tolist()
    assert pd.isnull(found[2:]).tolist() == pd.isnull(values).tolist()


def test_datetimes_are_of_the_standard_calendar() -> None:
    encode = stored([1, 2], units="days since 2000-01-01", calendar="noleap")
    with pytest.raises(EncodingError, match="another calendar") as caught:
        encode(np.array(["2001-01-01"], "M8[ns]"))
    assert "noleap" in str(caught.value.expected)
    assert "convert_calendar" in str(caught.value.mend)


@pytest.mark.parametrize("dtype", ["i2", "i8", "u1", "f4"])
@pytest.mark.parametrize("number", [[0.5], [1], 1, 3, 0.1, np.float32(0.5), np.int64(2)])
@pytest.mark.parametrize("key", ["scale_factor", "add_offset"])
def test_what_was_read_can_be_appended(dtype: str, number: Any, key: str) -> None:
    raw = np.arange(3, dtype=dtype)
    decoded = decode_cf_variables({"v": xr.Variable("x", raw, {key: number})}, {})[0]["v"]
    metadata = new_array_metadata(shape=raw.shape, dtype=raw.dtype)
    again = encode_like("v", xr.Variable("x", decoded.values), decoded, metadata)
    assert (again.dtype, again.values.tolist()) == (raw.dtype, raw.tolist())


@pytest.mark.parametrize("values", [[3, 4], [3.0, 4.5]])
def test_integers_are_not_rounded(values: list[Any]) -> None:
    encode = stored(np.array([0, 1], "i2"), scale_factor=3)
    assert encode([3, 9]).values.tolist() == [1, 3]
    with pytest.raises(EncodingError, match=r"would read back as [36]"):
        encode(values)

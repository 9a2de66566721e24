"""Times beyond the range of nanoseconds beside others: NumPy makes other times of them, and from 2.5 on an error."""

from __future__ import annotations

import datetime as dt
import warnings
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from zarrds.compat.xarray_faults import mend_interpolation
from zarrds.errors import EncodingError, LabelError, MetadataError, UndecodableError, ZarrdsError
from zarrds.labels.sorted.lazy_index import LazyIndex
from zarrds.metadata.times import ATTOSECONDS, as_times, in_unit

NEAR = {
    "M": np.array(["2000-01-01", "2000-01-02T00:00:00.000000001"], "M8[ns]"),
    "m": np.array([1, 86_400_000_000_002], "m8[ns]"),
}
FAR = {
    "M": np.array(["3000-01-01", "3500-01-01"], "M8[s]"),
    "m": np.array([10**12, 10**12 + 86_400], "m8[s]"),
}
KINDS = pytest.mark.parametrize("kind", ["M", "m"])


def labelled(times: Any) -> xr.Dataset:
    return xr.Dataset({"v": ("t", np.arange(len(times)) + 0.5)}, {"t": times})


def read(store: Any, **options: Any) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarrds", decode_timedelta=True, **options)


def saved(ds: xr.Dataset, **options: Any) -> zarrds.MemoryStore:
    store = zarrds.MemoryStore()
    zarrds.save(ds, store, **options)
    return store


def outcome(function: Any) -> Any:
    """What a call gives, or the kind of its error."""
    try:
        found = function()
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        return type(error)
    return repr(np.asarray(found).tolist())  # in which NaN is equal


@KINDS
def test_which_times_are_in_the_range_of_a_unit(kind: str) -> None:
    nanoseconds = np.dtype(f"{kind}8[ns]")
    assert in_unit(FAR[kind], nanoseconds) is None
    assert in_unit((-FAR[kind].view(np.int64)).view(f"{kind}8[s]"), nanoseconds) is None
    for ticks in (2**63 - 1, -(2**63) + 1):
        times = np.array([ticks, -(2**63)]).view(nanoseconds)
        found = in_unit(times, np.dtype(f"{kind}8[s]"))
        assert found is not None
        assert found.view(np.int64).tolist() == [ticks // 10**9, -(2**63)]
        for step in (0, 1):  # the last whole seconds, and those behind them
            edge = np.array([int(ticks / 10**9) + step * (1 if ticks > 0 else -1)]).view(f"{kind}8[s]")
            assert (in_unit(edge, nanoseconds) is None) == bool(step)


@KINDS
def test_arrays_take_no_times_beyond_their_unit(kind: str) -> None:
    store = zarrds.MemoryStore()
    array = zarrds.create_array(store, shape=4, dtype=f"{kind}8[ns]", chunks=3)
    array[:2] = NEAR[kind]
    for key, value in ((slice(2), FAR[kind]), (slice(1, 3), FAR[kind]), (0, FAR[kind][0]), (..., FAR[kind][:1])):
        with pytest.raises(EncodingError, match="range"):
            array[key] = value
    np.testing.assert_array_equal(array[:2], NEAR[kind])
    array[:2] = NEAR[kind].astype(f"{kind}8[s]")
    np.testing.assert_array_equal(array[:2], NEAR[kind].astype(f"{kind}8[s]").astype(f"{kind}8[ns]"))
    with pytest.raises(MetadataError, match="fill value"):
        zarrds.create_array(zarrds.MemoryStore(), shape=1, dtype=f"{kind}8[ns]", fill_value=FAR[kind][0])


@KINDS
def test_days_that_no_seconds_hold_are_told_when_they_are_read(kind: str) -> None:
    store = zarrds.MemoryStore()
    zarrds.create_group(store)
    array = zarrds.create_array(store, path="v", shape=2, dtype=f"{kind}8[D]", dimension_names=["x"])
    array[:] = np.array([2**62, 5]).view(f"{kind}8[D]")
    with pytest.raises(UndecodableError, match="range"):
        read(store).v.load()
    assert read(store).v[1].values == np.array(5, f"{kind}8[D]")
    assert zarrds.open_array(store, path="v")[:].view(np.int64).tolist() == [2**62, 5]


@KINDS
@pytest.mark.parametrize("first_is_far", [True, False])
def test_no_unit_holds_both(kind: str, first_is_far: bool) -> None:
    first, second = (FAR[kind], NEAR[kind]) if first_is_far else (NEAR[kind], FAR[kind])
    for data in (xr.Dataset({"v": ("t", first)}), labelled(first)):
        store = saved(data)
        more = xr.Dataset({"v": ("t", second)}) if "t" not in data.coords else labelled(second)
        for new in (more, more.chunk(t=1)):
            with pytest.raises(ZarrdsError):
                zarrds.save(new, store, append_dim="t", on_unordered="append")
        xr.testing.assert_identical(read(store), data)
    with pytest.raises(ZarrdsError):
        zarrds.save(
            xr.Dataset({"v": ("t", second[1:])}), saved(xr.Dataset({"v": ("t", first)})), region={"t": slice(1)}
        )
    with pytest.raises(LabelError):
        zarrds.save(labelled(second), saved(labelled(first)), region="auto")
    with pytest.raises(LabelError, match="no unit"):
        zarrds.save(
            labelled(pd.CategoricalIndex(second)),
            saved(labelled(pd.CategoricalIndex(first))),
            append_dim="t",
            on_unordered="append",
        )


@KINDS
def test_far_times_go_on_behind_times_that_have_no_part_of_a_second(kind: str) -> None:
    near = NEAR[kind].astype(f"{kind}8[s]")
    store = saved(labelled(near))
    zarrds.save(labelled(FAR[kind]), store, append_dim="t")
    np.testing.assert_array_equal(read(store).t.values, np.concatenate([near, FAR[kind]]))


@KINDS
def test_an_encoding_that_does_not_reach_so_far(kind: str) -> None:
    units = "nanoseconds since 2000-01-01" if kind == "M" else "nanoseconds"
    ds = xr.Dataset({"v": ("t", FAR[kind])})
    with pytest.raises(EncodingError, match="'v'"):
        zarrds.save(ds, zarrds.MemoryStore(), encoding={"v": {"units": units, "dtype": "i8"}})
    ds.v.encoding = {"units": units, "dtype": "i8"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)  # that it gives way
        xr.testing.assert_identical(read(saved(ds)), ds)


@KINDS
def test_a_block_of_dask_that_does_not_fit_what_is_declared(kind: str) -> None:
    block = da.from_delayed(dask.delayed(FAR[kind].copy)(), (2,), np.dtype(f"{kind}8[ns]"))
    with pytest.raises(EncodingError):
        zarrds.save(xr.Dataset({"v": ("t", block)}), zarrds.MemoryStore())


@KINDS
@pytest.mark.parametrize("stored", ["near", "far"])
def test_labels_are_looked_up_as_in_a_plain_index(kind: str, stored: str) -> None:
    first = (NEAR if stored == "near" else FAR)[kind][0]
    store = saved(labelled(first + np.arange(66_000) * np.timedelta64(86_400, np.datetime_data(first.dtype)[0])))
    zarrds.index(store, "t")
    lazy, plain = read(store, index="lazy"), read(store, index="pandas")
    assert isinstance(lazy.indexes["t"], LazyIndex)
    for wanted in (
        NEAR[kind],
        FAR[kind],
        FAR[kind].astype(f"{kind}8[us]"),
        (-FAR[kind].view(np.int64)).view(f"{kind}8[s]"),
    ):
        for look_up in (
            lambda ds, w=wanted: ds.sel(t=w).v,
            lambda ds, w=wanted: ds.sel(t=w[0]).v,
            lambda ds, w=wanted: ds.sel(t=slice(w[0], w[-1])).v,
            lambda ds, w=wanted: ds.reindex(t=w).v,
            lambda ds, w=wanted: ds.indexes["t"].isin(w).nonzero()[0],
            lambda ds, w=wanted: ds.indexes["t"].searchsorted(w[1]),
            lambda ds, w=wanted: ds.indexes["t"].equals(pd.Index(w)),
        ):
            assert outcome(lambda f=look_up: f(lazy)) == outcome(lambda f=look_up: f(plain))


@KINDS
def test_labels_of_which_one_is_missing_are_opened_lazily(kind: str) -> None:
    for times in (NEAR[kind], FAR[kind]):
        with_nothing = np.concatenate([times, np.array(["NaT"], times.dtype)])
        with pytest.warns(UserWarning, match="in none"):
            found = read(saved(labelled(with_nothing)), index="lazy")
        np.testing.assert_array_equal(found.t.values, with_nothing)


@pytest.mark.parametrize("times", [NEAR["M"], FAR["M"]])
def test_queries_count_in_python_s_integers(times: Any) -> None:
    store = saved(labelled(times).assign(w=("t", times)))
    zarrds.index(store, "w")
    seconds = times.astype("M8[s]").view(np.int64)
    for date in ("0001-01-01", "1500-01-01", "2000-01-01", "3000-01-01", "9999-01-01"):
        limit = int(np.datetime64(date, "s").astype(np.int64))
        found = zarrds.find(store, f"w <= '{date}'", ["v"])
        exact = [int(s) < limit or (int(s) == limit and s == t) for s, t in zip(seconds, seconds, strict=True)]
        assert found.v.values.tolist() == [i + 0.5 for i, is_found in enumerate(exact) if is_found]
    assert zarrds.aggregate(store, "w", "max").values == times[-1]


@KINDS
@pytest.mark.parametrize("is_indexed", [True, False])
def test_queries_compare_times_of_two_units(kind: str, is_indexed: bool) -> None:
    near, far = np.append(NEAR[kind], np.array("NaT", NEAR[kind].dtype)), FAR[kind][[0, 1, 1]]
    store = saved(xr.Dataset({"near": ("t", near), "far": ("t", far), "same": ("t", near.astype(f"{kind}8[us]"))}))
    if is_indexed:
        zarrds.index(store, ["near", "far", "same"])
    found = {op: zarrds.find(store, f"near {op} far", count=True) for op in ("<", "<=", "==", ">=", ">", "!=")}
    assert found == {"<": 2, "<=": 2, "==": 0, ">=": 0, ">": 0, "!=": 3}
    assert zarrds.find(store, "far > near", count=True) == 2
    equal = int((near.astype(f"{kind}8[us]") == near).sum())
    assert zarrds.find(store, "near == same", count=True) == equal
    assert zarrds.find(store, "near > same", count=True) == 2 - equal


@KINDS
def test_far_times_differ_from_near_ones(kind: str) -> None:
    for near in (NEAR[kind], NEAR[kind].astype(f"{kind}8[s]")):
        near_one, far_one = (xr.Dataset({"v": ("t", times)}) for times in (near, FAR[kind]))
        found = zarrds.diff(saved(near_one), saved(far_one))
        assert "differ in 2 of 2" in str(found)
    # of which NumPy makes each other where it casts in silence, and the same in two units
    wrapping, five = np.array([2**55 + 5]).view(f"{kind}8[s]"), np.array([5]).view(f"{kind}8[s]")
    for one, n in ((wrapping, 1), (five, 0)):
        sides = [xr.Dataset({"v": ("t", times)}) for times in (one, five.astype(f"{kind}8[ns]"))]
        assert len(zarrds.diff(*sides).differences) == n


@pytest.mark.parametrize("zone", ["UTC", "Europe/London"])
def test_far_labels_with_a_zone(zone: str) -> None:
    near, far = (pd.DatetimeIndex(times["M"]).tz_localize(zone) for times in (NEAR, FAR))
    store = saved(labelled(near))
    with pytest.raises(ZarrdsError):
        zarrds.save(labelled(far), store, append_dim="t")
    assert read(store).indexes["t"].equals(near)
    assert read(saved(labelled(far))).indexes["t"].equals(far)
    mixed = np.array([*near, *far], dtype=object)
    with pytest.raises(ZarrdsError, match="one unit"):
        saved(xr.Dataset({"v": ("t", mixed)}))


@KINDS
def test_a_page_shows_far_times(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    zarrds.report(
        saved(xr.Dataset({"v": ("t", np.append(FAR[kind], np.array("NaT", FAR[kind].dtype)))})), tmp_path / "x.html"
    )
    assert (tmp_path / "x.html").stat().st_size


def test_times_between_far_ones_are_interpolated() -> None:
    mend_interpolation()
    ds = labelled(np.array(["1000-01-01", "2000-01-01", "3000-01-01", "3500-01-01"], "M8[s]"))
    wanted = np.array(["1999-12-31T23:59:59.500", "2000-01-01"], "M8[ns]")
    np.testing.assert_allclose(ds.v.interp(t=wanted, method="cubic").values, [1.5, 1.5], rtol=1e-6)


def test_dates_of_python_and_texts_are_in_range() -> None:
    nanoseconds = np.dtype("M8[ns]")
    far, near = dt.datetime(3000, 1, 1), dt.datetime(1999, 12, 31, 23, 59, 59, 999_999)
    for value in (far, [near, far], "3000-01-01", ["NaT", "1500-01-01"], dt.date(3000, 1, 1), np.array(["3000"])):
        assert as_times(value, nanoseconds) is None
    for value in (near, [near, None], "2000-01-01", "1677-09-21T00:12:43.145224193", 2**62, [2**62, -5]):
        np.testing.assert_array_equal(as_times(value, nanoseconds), np.asarray(value, nanoseconds))
    assert as_times(dt.timedelta(days=300_000), np.dtype("m8[ns]")) is None
    span = dt.timedelta(days=-100_000, microseconds=1)
    assert as_times(span, np.dtype("m8[ns]")) == np.timedelta64(span).astype("m8[ns]")
    with pytest.raises((TypeError, ValueError)):
        as_times("no date", nanoseconds)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_times(dt.timedelta.max, np.dtype("m8[us]")) is None
        assert as_times([dt.timedelta.min, None], np.dtype("m8[D]")) is None
        assert as_times("1970-01-01T00:00:09.3", np.dtype("M8[as]")) is None
        assert as_times("1970-01-01T00:00:09.2", np.dtype("M8[as]")) is not None


UNITS = {"Y": (0, 12), "M": (0, 1)} | {unit: (1, length) for unit, length in ATTOSECONDS.items()}


@given(st.data())
def test_units_of_any_length_are_converted_exactly(data: st.DataObject) -> None:
    """As by integers without end, also where neither length is a multiple of the other."""
    unit, other = data.draw(st.lists(st.sampled_from(list(UNITS)), min_size=2, max_size=2))
    if UNITS[unit][0] != UNITS[other][0]:
        return
    m, n = data.draw(st.lists(st.sampled_from([1, 2, 7, 25, 60, 1000]), min_size=2, max_size=2))
    kind = data.draw(st.sampled_from("Mm"))
    extreme = st.sampled_from([0, 1, 2**62, 2**63 - 1]).flatmap(lambda size: st.sampled_from([size, -size]))
    ticks = data.draw(st.lists(extreme | st.integers(1 - 2**63, 2**63 - 1), max_size=3))
    exact = [tick * UNITS[unit][1] * m // (UNITS[other][1] * n) for tick in ticks]
    found = in_unit(
        np.array([*ticks, -(2**63)], np.int64).view(f"{kind}8[{m}{unit}]"), np.dtype(f"{kind}8[{n}{other}]")
    )
    if any(abs(count) >= 2**63 for count in exact):
        assert found is None
    else:
        assert found is not None
        assert found.view(np.int64).tolist() == [*exact, -(2**63)]


def test_times_become_months_by_way_of_days() -> None:
    late = np.array([2**62], "M8[7us]")
    wanted = np.array([2**62 * 7 // 86_400_000_000], "M8[D]").astype("M8[M]")
    np.testing.assert_array_equal(in_unit(late, np.dtype("M8[M]")), wanted)

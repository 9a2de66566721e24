from __future__ import annotations

from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from zarrds.datasets.writing.changes import UpdateOptions
from zarrds.datasets.writing.placing.region import StoredDimensions, check_region_labels, resolve_region
from zarrds.errors import EncodingError, LabelError, LabelNotFoundError
from zarrds.metadata.formats import v3

TIMES = pd.date_range("2019-03-05", periods=5, unit="ns").to_numpy()


class Untouched(xr.backends.BackendArray):  # type: ignore[misc]  # xarray's class is untyped
    """Data that nothing may read."""

    shape, dtype = (5, 4), np.dtype(float)

    def __getitem__(self, key: object) -> object:
        raise AssertionError("data was read where labels are enough")


def stored() -> dict[str, xr.Variable]:
    data = xr.core.indexing.LazilyIndexedArray(Untouched())
    return {
        "v": xr.Variable(("time", "x"), data, fastpath=True),
        "u": xr.Variable("x", np.zeros(4)),
        "w": xr.Variable(("z",), np.zeros(3)),
        "time": xr.Variable("time", TIMES),
        "x": xr.Variable("x", np.float32([0.1, 0.2, 0.3, 0.4])),
    }


def region_of(
    region: Any, ds: xr.Dataset, there: dict[str, xr.Variable], mode: Any, append_dim: str | None = None
) -> dict[str, slice]:
    how = UpdateOptions(mode, append_dim, region, "error", "error", v3)
    return resolve_region(how, ds, StoredDimensions(there))


def part(times: Any = slice(None), xs: Any = slice(None)) -> xr.Dataset:
    whole = xr.Dataset({"v": (("time", "x"), np.ones((5, 4)))}, {"time": TIMES, "x": [0.1, 0.2, 0.3, 0.4]})
    return whole.isel(time=times, x=xs)


@pytest.mark.parametrize(
    ("region", "resolved"),
    [
        ("auto", {"time": slice(1, 3), "x": slice(2, 4)}),
        ({"time": "auto", "x": slice(2, 4)}, {"time": slice(1, 3), "x": slice(2, 4)}),
        ({"time": slice(-4, -2), "x": slice(2, None)}, {"time": slice(1, 3), "x": slice(2, 4)}),
        ({"time": slice(np.int64(1), 3, 1), "x": slice(-2, None)}, {"time": slice(1, 3), "x": slice(2, 4)}),
        ({"x": slice(2, 99), "time": slice(1, 3)}, {"x": slice(2, 4), "time": slice(1, 3)}),
    ],
)
def test_regions(region: Any, resolved: dict[str, slice]) -> None:
    found = region_of(region, part(slice(1, 3), slice(2, 4)), stored(), "r+")
    assert found == resolved
    assert list(found) == list(resolved)
    assert all(type(end) is int for s in found.values() for end in (s.start, s.stop))
    check_region_labels(part(slice(1, 3), slice(2, 4)), found, stored())


def test_dimensions_outside_of_the_region_are_whole() -> None:
    assert region_of({"time": slice(0, 1)}, part([0]), stored(), "r+") == {"time": slice(0, 1)}
    with pytest.raises(LabelError, match="different dimension sizes"):
        region_of({"time": slice(0, 1)}, part([0], [0, 1]), stored(), "r+")


def test_dimensions_without_labels_are_there_as_a_whole() -> None:
    assert region_of("auto", xr.Dataset({"w": ("z", [1.0, 2.0, 3.0])}), stored(), "a") == {"z": slice(0, 3)}
    for size in (0, 2, 4):
        with pytest.raises(LabelError, match=r"no labels, nor has the store.*region=\{'z': slice"):
            region_of("auto", xr.Dataset({"w": ("z", np.zeros(size))}), stored(), "a")


def test_labels_of_other_dtypes_are_found() -> None:
    ds = part([2]).assign_coords(time=TIMES[2:3].astype("M8[s]"))
    assert region_of("auto", ds, stored(), "r+")["time"] == slice(2, 3)


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=8, unique=True),
    st.data(),
)
def test_labels_are_found_where_pandas_finds_them(labels: list[int], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(labels) - 1))
    block = st.just(labels[first : data.draw(st.integers(first + 1, len(labels)))])
    wanted = data.draw(block | st.lists(st.integers(0, 14), min_size=1, max_size=4))
    there = {"v": xr.Variable("x", np.zeros(len(labels))), "x": xr.Variable("x", labels)}
    ds = xr.Dataset({"v": ("x", np.zeros(len(wanted)))}, {"x": wanted})
    positions = pd.Index(labels).get_indexer(wanted)
    if (positions < 0).any():
        with pytest.raises(LabelNotFoundError):
            region_of("auto", ds, there, "r+")
    elif (np.diff(positions) != 1).any():
        with pytest.raises(LabelError, match="not one block"):
            region_of("auto", ds, there, "r+")
    else:
        assert region_of("auto", ds, there, "r+") == {"x": slice(positions[0], positions[-1] + 1)}


@pytest.mark.parametrize(
    ("region", "mode", "kind", "message"),
    [
        (slice(None), "r+", TypeError, "must be a dict"),
        ("all", "r+", TypeError, "must be a dict"),
        ("auto", "a-", ValueError, "expected mode='r\\+' or 'a', found mode='a-'"),
        ({"time": "auto"}, "w", ValueError, "mode does not go"),
        ({"q": slice(1)}, "r+", ValueError, "all keys in ``region`` are not in Dataset dimensions.*'q'"),
        ({"time": [0, 1]}, "r+", TypeError, "must be slice objects"),
        ({"time": 3}, "r+", TypeError, "must be slice objects"),
        ({"time": slice("2019", "2020")}, "r+", TypeError, "not of labels.*'auto'"),
        ({"time": slice(None, None, 2)}, "r+", ValueError, "step on all slices"),
        ({"time": slice(0, 3)}, "r+", ValueError, "variable 'v' already exists with different dimension sizes"),
        ({"time": slice(4, 9)}, "r+", ValueError, "different dimension sizes"),
        ({"time": slice(3, 1)}, "r+", ValueError, "different dimension sizes"),
    ],
)
def test_wrong_regions(region: Any, mode: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        region_of(region, part([0, 1]), stored(), mode)
    assert isinstance(caught.value, EncodingError | LabelError)


def test_labels_that_are_not_there_are_named() -> None:
    ds = part([0, 1]).assign_coords(time=TIMES[:2] + np.array([0, 1]))
    with pytest.raises(KeyError, match=r"2019-03-06 00:00:00.000000001, the first of 1 new ones"):
        region_of("auto", ds, stored(), "r+")
    with pytest.raises(KeyError, match="another kind"):
        region_of("auto", part([0, 1]).assign_coords(time=[1, 2]), stored(), "r+")
    noleap = cftime.num2date([0, 1], "days since 2019-03-05", "noleap")
    with pytest.raises(KeyError, match="calendar noleap"):
        region_of({"time": "auto"}, part([0, 1]).assign_coords(time=noleap), stored(), "r+")
    with pytest.raises(KeyError, match="store has no labels for dimension 'z'"):
        region_of("auto", xr.Dataset({"w": ("z", [1.0])}, {"z": [0]}), stored(), "r+")


def test_labels_that_are_no_block_are_named() -> None:
    with pytest.raises(ValueError, match=r"2019-03-05 00:00:00 at 0 of the store, then 2019-03-07 00:00:00 at 2"):
        region_of("auto", part([0, 2, 3]), stored(), "r+")
    with pytest.raises(ValueError, match="not one block"):
        region_of("auto", part([1, 0]), stored(), "r+")


def test_all_variables_must_lie_in_the_region() -> None:
    message = r"must have at least one dimension in common with the region's dimensions.*drop_vars\(\['s', 'w'\]\)"
    with pytest.raises(ValueError, match=message):
        region_of({"time": slice(0, 2)}, part([0, 1]).assign(s=1, w=("z", [1, 2, 3])), stored(), "r+")
    # labels are compared, not written
    assert region_of({"time": slice(0, 2)}, part([0, 1]), stored(), "r+") == {"time": slice(0, 2)}


def test_regions_and_append_dim() -> None:
    with pytest.raises(ValueError, match="cannot list the same dimension in both"):
        region_of({"time": slice(0, 2)}, part([0, 1]), stored(), "a", "time")
    later = part([0, 1], [0]).assign_coords(time=TIMES[:2] + np.timedelta64(9, "D"))
    region = region_of({"x": "auto"}, later, stored(), "a", "time")
    assert region == {"x": slice(0, 1)}
    check_region_labels(later, region, stored(), "time")


def test_new_variables_have_the_store_s_sizes() -> None:
    with pytest.raises(ValueError, match="dimension 'time' has different dimension sizes"):
        region_of({"time": slice(0, 2)}, xr.Dataset({"new": ("time", [1.0])}), stored(), "a")
    with pytest.raises(ValueError, match="'q', which the store does not have"):
        region_of({"q": slice(0, 1)}, xr.Dataset({"new": ("q", [1.0])}), stored(), "a")


def test_labels_in_the_region_are_compared() -> None:
    region = {"time": slice(1, 3)}
    check_region_labels(part([1, 2]), region, stored())
    check_region_labels(part([1, 2]).drop_vars(["time", "x"]), region, stored())
    check_region_labels(part([1, 2]).assign_coords(z=[0, 1, 2]), region, stored())
    with pytest.raises(
        LabelError, match=r"labels of 'time'.*2 of 2 differ.*time=0 .*expected 2019-03-06 .*found 2019-03-05"
    ):
        check_region_labels(part([0, 1]), region, stored())
    with pytest.raises(LabelError, match=r"labels of 'x'.*1 of 4 differ.*x=3"):
        check_region_labels(part([1, 2]).assign_coords(x=[0.1, 0.2, 0.3, 9]), region, stored())


def test_auto_without_labels_is_all_or_an_error() -> None:
    stored = {"x": xr.Variable("x", [10, 20, 30]), "v": xr.Variable("x", [1.0, 2.0, 3.0])}
    assert region_of("auto", xr.Dataset({"v": ("x", [5.0, 6.0, 7.0])}), stored, "r+") == {"x": slice(0, 3)}
    with pytest.raises(LabelError, match="the dataset has no labels"):
        region_of("auto", xr.Dataset({"v": ("x", [5.0, 6.0])}), stored, "r+")

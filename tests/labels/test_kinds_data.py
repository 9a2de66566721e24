"""Data variables: extension arrays, and objects in any number of dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.labels.stored_labels import round_trip
from tests.labels.test_kinds import INDEXES
from tests.releases import PANDAS
from zarrds.errors import MetadataError
from zarrds.labels.kinds.table import array_from_plain, to_plain


def _objects(values: Any) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


# years that nanoseconds do not reach; of the earlier ones pandas 2 cannot make objects, in zones of pytz
FAR = "1000-01-01" if PANDAS >= (3,) else "3000-01-01"
STAMPS = _objects(
    pd.DatetimeIndex(np.array(["2024-07-01T11:00", "NaT", FAR], "M8[s]"), tz="UTC").tz_convert("Europe/London")
)


@pytest.mark.parametrize(
    "name",
    ["category", "category, dates", "period Q-DEC", "interval both", "interval, zone", "nullable UInt64", "boolean"],
)
def test_extension_arrays_come_back(name: str, tmp_path: Path) -> None:
    array = INDEXES[name].array
    back = round_trip(tmp_path, array, is_data=True)
    assert type(back) is type(array)
    assert back.dtype == array.dtype
    assert back.equals(array)


@pytest.mark.parametrize(
    "values",
    [
        STAMPS,
        np.stack([STAMPS, STAMPS]),
        _objects(["a", pd.NA, "<NA>"]),
        _objects([["a", pd.NA], ["", "b"]]),
        _objects(["a", np.nan, ""]),
        np.array(["2024-01-01", "NaT"], "M8[us]"),
        np.array([["2024-01-01", "NaT"]], "M8[s]"),
        np.array([1, 2], "m8[ms]"),
    ],
    ids=["zone", "zone 2-D", "NA", "lists", "NaN", "datetime", "datetime 2-D", "timedelta"],
)
def test_arrays_come_back_as_they_were(values: Any, tmp_path: Path) -> None:
    if isinstance(values.flat[0], list):
        values = np.array(values.tolist(), dtype=object)
    back = round_trip(tmp_path, values, is_data=True)
    assert (back.dtype, back.shape) == (values.dtype, values.shape)
    np.testing.assert_array_equal(pd.isna(back), pd.isna(values))
    present = ~pd.isna(values)
    assert back[present].tolist() == values[present].tolist()
    kinds = [{type(value) for value in array.ravel()} for array in (back, values)]
    assert kinds[0] == kinds[1]
    if values is STAMPS:
        assert {str(stamp.tz) for stamp in back[present]} == {"Europe/London"}


@pytest.mark.parametrize(
    "scalar",
    [
        pd.Timestamp("2024-01-01", tz="Asia/Tokyo"),
        pd.Period("2024-01", "M"),
        pd.Interval(0, 1, closed="left"),
        pd.Interval(pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-02", tz="UTC")),
    ],
    ids=repr,
)
def test_scalars_of_indexes_come_back(scalar: Any, tmp_path: Path) -> None:
    values = np.empty((), dtype=object)
    values[()] = scalar
    back = round_trip(tmp_path, values, is_data=True)
    assert back.shape == ()
    assert back[()] == scalar
    assert type(back[()]) is type(scalar)


def test_objects_of_different_units_keep_the_finest() -> None:
    stamps = _objects([pd.Timestamp("2024", tz="UTC").as_unit("s"), pd.Timestamp(1001, tz="UTC").as_unit("us"), None])
    plain = to_plain(stamps)
    assert plain is not None
    assert plain.description == {"dtype": "datetime64[us, UTC]"}
    assert plain.values[:2].tolist() == [stamp.to_pydatetime().replace(tzinfo=None) for stamp in stamps[:2]]
    assert np.isnat(plain.values[2])


def test_an_object_index_of_zoned_times_is_recognised() -> None:
    plain = to_plain(pd.Index(STAMPS, dtype=object))
    assert plain is not None
    assert plain.description == {"dtype": "datetime64[s, Europe/London]"}


def test_data_have_no_frequency() -> None:
    values = np.array(["2024-01-01", "2024-01-02"], "M8[s]")
    back = array_from_plain({"dtype": "datetime64[s]", "freq": "D"}, values, {})
    assert isinstance(back, np.ndarray)
    np.testing.assert_array_equal(back, values)


def test_bounds_of_another_shape() -> None:
    description = {"dtype": "interval", "closed": "left", "subtype": {"dtype": "int64"}, "bounds": "b"}
    with pytest.raises(MetadataError, match="another shape"):
        array_from_plain(description, np.zeros((2, 2)), {"bounds": np.zeros((4, 2))})

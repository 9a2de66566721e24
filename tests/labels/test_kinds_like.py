"""Labels that are written to a store that has labels already."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.releases import PANDAS
from zarrds.errors import EncodingError, LabelError, MetadataError
from zarrds.labels.kinds.table import Plain, StoredKind, from_plain, to_plain


def like(labels: Any) -> StoredKind:
    """As a store that `labels` were saved to."""
    plain = to_plain(labels)
    categories = labels.categories if isinstance(labels, pd.CategoricalIndex) else None
    return StoredKind({} if plain is None else plain.description, categories)


def joined(first: Any, second: Any) -> pd.Index:
    """The labels of a store that has `first` and gets `second`, put together as its arrays are."""
    before, after = to_plain(first), to_plain(second, like(first))
    assert before is not None
    assert after is not None
    assert after.values.dtype == before.values.dtype
    assert after.description == before.description
    assert after.encoding == {}
    companions: dict[str, Any] = {}
    if "bounds" in before.companions:
        companions["bounds"] = np.concatenate([p.companions["bounds"].values for p in (before, after)])
    if isinstance(first, pd.CategoricalIndex):
        assert after.companions == {}
        companions["categories"] = first.categories
    return from_plain(before.description, np.concatenate([before.values, after.values]), companions)


def _zoned(zone: str, unit: Any = "us") -> pd.DatetimeIndex:
    return pd.DatetimeIndex(["2024-01-01", "2024-07-01"], tz=zone).as_unit(unit)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (_zoned("UTC"), _zoned("Asia/Tokyo"), _zoned("UTC").append(_zoned("Asia/Tokyo").tz_convert("UTC"))),
        (_zoned("Asia/Tokyo", "s"), _zoned("UTC", "ns"), None),
        (pd.DatetimeIndex(["2024-01-01"]).as_unit("s"), pd.DatetimeIndex(["2024-01-02", None]).as_unit("ns"), None),
        (pd.TimedeltaIndex([5]).as_unit("us"), pd.TimedeltaIndex(["3h"]).as_unit("s"), None),
        (pd.PeriodIndex(["2024-01"], freq="3M"), pd.PeriodIndex(["2024-02", None], freq="3M"), None),
        (pd.IntervalIndex.from_breaks([0, 1]), pd.IntervalIndex.from_breaks([5.0, 6.0]), None),
        (pd.IntervalIndex.from_breaks([0.5, 1]), pd.IntervalIndex.from_breaks([5, 6]), None),
        (pd.IntervalIndex.from_breaks(_zoned("UTC")), pd.IntervalIndex.from_breaks(_zoned("Asia/Tokyo", "s")), None),
        (
            pd.CategoricalIndex(["a", "b"], categories=["b", "a", "c"]),
            pd.CategoricalIndex(["c", None, "a"], categories=["a", "zzz", "c"]),
            pd.CategoricalIndex(["a", "b", "c", None, "a"], categories=["b", "a", "c"]),
        ),
        (
            pd.CategoricalIndex(["lo"], categories=["lo", "mid", "hi"], ordered=True),
            pd.CategoricalIndex(["hi", "lo"], categories=["lo", "hi"], ordered=True),
            pd.CategoricalIndex(["lo", "hi", "lo"], categories=["lo", "mid", "hi"], ordered=True),
        ),
        (
            pd.CategoricalIndex(["x0"], categories=[f"x{i}" for i in range(300)]),
            pd.CategoricalIndex(["x299"]),
            pd.CategoricalIndex(["x0", "x299"], categories=[f"x{i}" for i in range(300)]),
        ),
        (
            pd.CategoricalIndex(pd.IntervalIndex.from_tuples([(0, 3), (1, 2)])),
            pd.CategoricalIndex(pd.IntervalIndex.from_tuples([(1, 2)])),
            pd.CategoricalIndex(pd.IntervalIndex.from_tuples([(0, 3), (1, 2), (1, 2)])),
        ),
        (pd.Index(pd.array([1, None], dtype="Int64")), pd.Index(pd.array([None, 3], dtype="Int8")), None),
        (pd.Index(pd.array([1, None], dtype="UInt8")), pd.Index([2, 3]), None),
        (pd.Index(pd.array([True, None], dtype="boolean")), pd.Index([False]), None),
        (pd.Index(pd.array([0.5, None], dtype="Float32")), pd.Index(pd.array([None, 1.5], dtype="Float64")), None),
        (pd.Index(["a", None], dtype="string[python]"), pd.Index([None, "b"], dtype="str"), None),
        (pd.Index(["a", None], dtype="str"), pd.Index(["b"], dtype=object), None),
        (pd.Index(["a"], dtype="str" if PANDAS >= (3,) else "string[python]"), np.array(["b"]), None),
    ],
)
def test_labels_take_the_form_of_the_stored(first: Any, second: Any, expected: Any) -> None:
    result = joined(first, second)
    if expected is None:
        expected = first.append(pd.Index(second).astype(first.dtype))
    pd.testing.assert_index_equal(result, expected, exact=True)


def test_a_frequency_that_does_not_fit_any_more_is_dropped() -> None:
    days = pd.date_range("2024-01-01", periods=4)
    assert joined(days[:2], days[2:]).identical(days)
    assert joined(days[:2], days[3:]).equals(days[[0, 1, 3]])
    assert getattr(joined(days[:2], days[3:]), "freq", 0) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (_zoned("UTC"), _zoned("UTC").tz_convert(None)),
        (_zoned("UTC").tz_convert(None), _zoned("UTC")),
        (_zoned("UTC"), pd.Index([1, 2])),
        (_zoned("UTC"), pd.TimedeltaIndex([1])),
        (pd.PeriodIndex(["2024"], freq="M"), pd.PeriodIndex(["2024"], freq="D")),
        (pd.PeriodIndex(["2024"], freq="M"), _zoned("UTC").tz_convert(None)),
        (pd.IntervalIndex.from_breaks([0, 1]), pd.IntervalIndex.from_breaks([0, 1], closed="left")),
        (pd.IntervalIndex.from_breaks([0, 1]), pd.IntervalIndex.from_breaks([0.5, 1])),
        (pd.IntervalIndex.from_breaks([0, 1]), pd.IntervalIndex.from_tuples([(0, 1), None])),
        (pd.IntervalIndex.from_breaks(np.array([0, 1], "u1")), pd.IntervalIndex.from_breaks([-1, 0])),
        (pd.IntervalIndex.from_breaks(np.array([0, 1], "u8")), pd.IntervalIndex.from_breaks([-1, 0])),
        (pd.IntervalIndex.from_breaks([0.0, 1]), pd.IntervalIndex.from_breaks([2**53 + 1, 2**53 + 2])),
        (pd.IntervalIndex.from_breaks([0, 1]), pd.IntervalIndex.from_breaks(_zoned("UTC"))),
        (pd.IntervalIndex.from_breaks(_zoned("UTC")), pd.IntervalIndex.from_breaks([0, 1])),
        (pd.CategoricalIndex(["a"]), pd.CategoricalIndex(["b"])),
        (pd.CategoricalIndex(["a"]), pd.CategoricalIndex(["a"], ordered=True)),
        (
            pd.CategoricalIndex(["a"], categories=["a", "b"], ordered=True),
            pd.CategoricalIndex(["a"], categories=["b", "a"], ordered=True),
        ),
        (pd.CategoricalIndex(["a"]), pd.Index(["a"])),
        (pd.CategoricalIndex(["a"]), np.array([1.5], np.float16)),
        (pd.Index(pd.array([1], dtype="Int64")), pd.Index([1.5])),
        (pd.Index(pd.array([1], dtype="Int64")), pd.Index(["a"])),
        (pd.Index(pd.array([1.5], dtype="Float32")), pd.Index([0.1])),
        (pd.Index(["a", None], dtype="str"), pd.Index([1])),
        (pd.Index([1, 2]), pd.Index(pd.array([1], dtype="Int64"))),
        (pd.Index([1, 2]), pd.CategoricalIndex([1])),
    ],
)
def test_labels_of_another_kind(first: Any, second: Any) -> None:
    with pytest.raises(LabelError) as raised:
        to_plain(second, like(first))
    assert raised.value.found is not None
    assert raised.value.expected is not None
    assert raised.value.mend is not None


def test_new_categories_are_named() -> None:
    with pytest.raises(LabelError, match="found \\['z', 'y'\\]"):
        to_plain(pd.CategoricalIndex(["y", "a", "z"], categories=["z", "y", "a"]), like(pd.CategoricalIndex(["a"])))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            pd.DatetimeIndex(["2024"], tz="UTC").as_unit("ns"),
            pd.DatetimeIndex(np.array(["1000"], "M8[s]"), tz="UTC"),
            "exact",
        ),
        (pd.Index(pd.array([1, None], dtype="Int8")), pd.Index([-128]), "stands for missing"),
        (pd.Index(pd.array([1, None], dtype="Int8")), pd.Index([200]), "do not fit"),
        (pd.Index(["a", None], dtype="str"), pd.Index(["<NA>"]), "stands for missing"),
        (pd.Index(["a"], dtype="str"), pd.Index(["b", None]), "has had none"),
        (pd.Index(pd.array(range(256), dtype="UInt8")), pd.Index(pd.array([None], dtype="UInt8")), "is left"),
    ],
)
def test_labels_that_the_store_cannot_hold(first: Any, second: Any, message: str) -> None:
    with pytest.raises(EncodingError, match=message):
        to_plain(second, like(first))


@pytest.mark.parametrize(
    "values",
    [pd.Index([1]), pd.DatetimeIndex(["2024"]).as_unit("us"), pd.Index(["a"], dtype=object), np.array(["a"])],
)
def test_arrays_without_a_description_take_what_they_hold_as_it_is(values: Any) -> None:
    assert to_plain(values, StoredKind({})) is None


@pytest.mark.parametrize(
    ("description", "labels"),
    [
        ({"dtype": "Int8", "missing": "x"}, pd.Index(pd.array([1], dtype="Int8"))),
        ({"dtype": "str", "missing": 3}, pd.Index(["a"], dtype="str")),
        ({"dtype": "interval", "closed": "right", "subtype": 3}, pd.IntervalIndex.from_breaks([0, 1])),
        ({"dtype": "int64"}, pd.Index([1])),
        ({"dtype": 3}, pd.Index([1])),
    ],
)
def test_descriptions_of_a_store_are_not_believed(description: Any, labels: Any) -> None:
    with pytest.raises(MetadataError):
        to_plain(labels, StoredKind(description))


def test_large_arrays_are_not_looked_at() -> None:
    values = np.broadcast_to(np.float32(1), (2**20, 2**20))  # four terabytes, if it were copied
    assert to_plain(values) is to_plain(values, StoredKind({})) is None


def test_arrays_without_a_description_take_text() -> None:
    plain = to_plain(pd.Index(["a", "b"], dtype="string[python]"), StoredKind({}))
    assert isinstance(plain, Plain)
    assert plain.description == plain.attrs == {}
    assert plain.values.dtype == object
    assert plain.values.tolist() == ["a", "b"]

"""Any values come back; any description is refused, or gives labels: nothing else happens."""

from __future__ import annotations

import contextlib
from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.releases import PANDAS
from zarrds.errors import MetadataError
from zarrds.labels.kinds.table import array_from_plain, companion_names, decode_options, from_plain, to_plain

INT64 = st.integers(-(2**63), 2**63 - 1)
NUMBERS = ["int8", "uint8", "int16", "int64", "uint64", "float32", "float64"]
DAYS = st.integers(-719162, 2932896)


def _ints(name: str) -> Any:
    limits = np.iinfo(name)
    return st.integers(int(limits.min), int(limits.max))


@st.composite
def masked(draw: st.DrawFn) -> pd.Index:
    name = draw(st.sampled_from(["Int8", "UInt8", "Int32", "Int64", "UInt64"]))
    return pd.Index(pd.array(draw(st.lists(st.none() | _ints(name.lower()))), dtype=name))  # type: ignore[call-overload]  # the name of a dtype


@st.composite
def zoned(draw: st.DrawFn) -> pd.Index:
    unit = draw(st.sampled_from(["s", "ms", "us", "ns"]))
    zone = draw(st.sampled_from(["UTC", "Europe/London", "Pacific/Apia", "UTC-03:30", None]))
    # pandas 2 ends the interpreter where it makes objects of days before -106_751 in a zone of pytz
    is_near = unit == "ns" or (PANDAS < (3,) and zone is not None and "/" in zone)
    days = draw(st.lists(st.none() | (st.integers(-90_000, 90_000) if is_near else DAYS.filter(lambda d: d > -700000))))
    values = np.array(["NaT" if day is None else np.datetime64(day, "D") for day in days], f"M8[{unit}]")
    index = pd.DatetimeIndex(values + np.timedelta64(draw(st.integers(0, 999)), unit))
    return index if zone is None else index.tz_localize("UTC").tz_convert(zone)


@st.composite
def periods(draw: st.DrawFn) -> pd.Index:
    freq = draw(st.sampled_from(["Y-MAR", "Q-NOV", "4M", "M", "W-THU", "D", "7h", "min", "s", "ms"]))
    starts = pd.PeriodIndex.from_ordinals(draw(st.lists(DAYS)), freq="D").asfreq(freq)
    return starts[starts.asfreq("D", how="start").asi8 > -719162]


@st.composite
def intervals(draw: st.DrawFn) -> pd.Index:
    dtype = np.dtype(draw(st.sampled_from([*NUMBERS, "M8[us]", "m8[ns]"])))
    elements = st.integers(-(10**15), 10**15) if dtype.kind in "Mm" else hnp.from_dtype(dtype, allow_nan=False)
    ends = np.sort(np.array(draw(st.lists(st.tuples(elements, elements))), dtype).reshape(-1, 2))
    closed = draw(st.sampled_from(["left", "right", "both", "neither"]))
    return pd.IntervalIndex.from_arrays(*ends.T, closed=closed)


@st.composite
def texts(draw: st.DrawFn) -> pd.Index:
    dtype = draw(st.sampled_from(["str", "string[python]", object]))
    words = st.text() | st.sampled_from(["<NA>", "<NA 1>", "nan", "None"])
    return pd.Index(draw(st.lists(st.none() | words)), dtype=dtype)


PLAIN_KINDS = st.one_of(masked(), zoned(), periods(), intervals(), texts())


@st.composite
def categories(draw: st.DrawFn) -> pd.Index:
    labels = draw(PLAIN_KINDS).dropna()
    # not Index.unique, which makes complex numbers of intervals, and rounds them
    positions = {label: position for position, label in enumerate(labels)}
    unique = labels[list(positions.values())]
    codes = draw(st.lists(st.integers(-1, len(unique) - 1)))
    return pd.CategoricalIndex(pd.Categorical.from_codes(codes, categories=unique, ordered=draw(st.booleans())))


def _back(labels: pd.Index) -> pd.Index:
    plain = to_plain(labels)
    if plain is None:
        return labels
    if not plain.description:  # the array says all
        return pd.Index(plain.values, dtype=object)
    companions: dict[str, Any] = {}
    if "bounds" in plain.companions:
        companions["bounds"] = plain.companions["bounds"].values
    if isinstance(labels, pd.CategoricalIndex):
        companions["categories"] = _back(labels.categories)
    return from_plain(plain.description, plain.values, companions)


@given(st.one_of(PLAIN_KINDS, categories()))
def test_any_labels_come_back(labels: pd.Index) -> None:
    pd.testing.assert_index_equal(_back(labels), labels, exact=True)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
DTYPES = st.one_of(
    st.sampled_from(
        "datetime64[ns] datetime64[us, Europe/London] datetime64[s, UTC-25:00] datetime64[s, ../../etc/passwd] "
        "datetime64[s, dateutil//etc/passwd] datetime64[D] datetime64[ns, America] timedelta64[s] timedelta64[ns, UTC] "
        "cftime period[M] period[0D] period[B] period[W-XXX] period[999999999999999999D] period[C] period[MS] interval "
        "category Int8 UInt64 boolean Float32 string[python] string[pyarrow] str object int64".split()
    ),
    st.builds("period[{}{}]".format, st.integers(0, 99), st.text("WMQYDBhminsu-JANSU", max_size=5)),
    st.builds("datetime64[s, {}]".format, st.text(max_size=6)),
    JSONS,
)
DESCRIPTIONS = JSONS | st.fixed_dictionaries(
    {"dtype": DTYPES},
    optional={
        "freq": st.sampled_from(["D", "H", "MS", "-B", "0D", "0B", "C", "bh", "9" * 25 + "D", "WOM-2MON"]) | JSONS,
        "closed": st.sampled_from(["left", "both"]) | JSONS,
        "subtype": st.fixed_dictionaries({"dtype": DTYPES | st.sampled_from(NUMBERS)}) | JSONS,
        "bounds": st.just("x_bounds") | JSONS,
        "categories": st.just("x_categories") | JSONS,
        "ordered": st.booleans() | JSONS,
        "missing": st.integers(-130, 130) | st.just("<NA>") | JSONS,
    },
)
OBJECTS = st.none() | st.text(max_size=3) | st.just(cftime.datetime(2000, 1, 1)) | st.integers() | st.just(np.nan)


SIZES = st.integers(0, 3)


@st.composite
def arrays(draw: st.DrawFn, shape: Any = SIZES) -> Any:
    dtype = draw(
        st.sampled_from([*NUMBERS, "bool", "M8[s]", "M8[us]", "M8[ns]", "M8[D]", "m8[s]", "m8[ns]", "U3", "S2", "O"])
    )
    size = draw(shape)
    return draw(hnp.arrays(dtype, size, elements=OBJECTS if dtype == "O" else None))


COMPANIONS = st.fixed_dictionaries(
    {},
    optional={
        "bounds": arrays(st.tuples(st.integers(0, 3), st.integers(1, 2))) | JSONS,
        "categories": PLAIN_KINDS | st.just(pd.MultiIndex.from_product([["a"], [1, 2]])) | JSONS,
    },
)


@pytest.mark.filterwarnings("ignore:PeriodDtype.B. is deprecated")  # which pandas says of each array of them
@given(DESCRIPTIONS, arrays() | arrays(st.just((1, 1))), COMPANIONS)
def test_any_description_is_refused_or_gives_labels(description: Any, values: Any, companions: Any) -> None:
    before = values.copy()
    for restore, kind in ((from_plain, pd.Index), (array_from_plain, (np.ndarray, pd.api.extensions.ExtensionArray))):
        with contextlib.suppress(MetadataError):
            assert isinstance(restore(description, values, companions), kind)  # type: ignore[arg-type]  # whatever is made up
    for look in (decode_options, companion_names):
        with contextlib.suppress(MetadataError):
            assert isinstance(look(description), dict)
    assert values.tobytes() == before.tobytes()


TIMES = np.array(["2024-01-01", "2024-02-01", "NaT"], "M8[s]")
SPAN: dict[str, Any] = {"dtype": "interval", "closed": "left", "subtype": {"dtype": "int64"}}
BOUNDS = np.array([[0, 1], [1, 2], [2, 3]])
AB = pd.Index(["a", "b"])


@pytest.mark.parametrize(
    ("description", "values", "companions"),
    [
        ({}, TIMES, {}),
        ({"dtype": "int64"}, TIMES, {}),
        ({"dtype": "datetime64[s]"}, np.array([1, 2]), {}),
        ({"dtype": "datetime64[s]"}, np.array([1001], "M8[ms]"), {}),
        ({"dtype": "datetime64[ns]"}, np.array(["1000"], "M8[s]"), {}),
        ({"dtype": "datetime64[s, No/Where]"}, TIMES, {}),
        ({"dtype": "datetime64[s, UTC+24:00]"}, TIMES, {}),
        ({"dtype": "datetime64[s, tzlocal()]"}, TIMES, {}),
        ({"dtype": "datetime64[s]", "freq": 3}, TIMES, {}),
        ({"dtype": "timedelta64[s]"}, TIMES, {}),
        ({"dtype": "cftime"}, TIMES, {}),
        ({"dtype": "cftime"}, np.array([1], dtype=object), {}),
        ({"dtype": "period[M]"}, TIMES + np.timedelta64(1, "s"), {}),
        ({"dtype": "period[M]"}, np.array([1]), {}),
        ({"dtype": "period[M]"}, np.array([2**62], "M8[s]"), {}),
        ({"dtype": "period[0M]"}, TIMES, {}),
        ({"dtype": "period[__import__]"}, TIMES, {}),
        ({**SPAN, "closed": "up"}, np.arange(3.0), {"bounds": BOUNDS}),
        ({**SPAN, "subtype": SPAN}, np.arange(3.0), {"bounds": BOUNDS}),
        ({**SPAN, "subtype": None}, np.arange(3.0), {"bounds": BOUNDS}),
        (SPAN, np.arange(3.0), {}),
        (SPAN, np.arange(2.0), {"bounds": BOUNDS}),
        (SPAN, np.arange(3.0), {"bounds": BOUNDS * 1.0}),
        (SPAN, np.arange(3.0) + 2, {"bounds": BOUNDS}),
        (SPAN, np.array([0, 1, np.nan]), {"bounds": BOUNDS}),
        (SPAN, np.arange(3.0), {"bounds": BOUNDS[:, ::-1]}),
        ({"dtype": "category"}, np.array([0]), {"categories": AB}),
        ({"dtype": "category", "ordered": False}, np.array([0]), {}),
        ({"dtype": "category", "ordered": False}, np.array([2]), {"categories": AB}),
        ({"dtype": "category", "ordered": False}, np.array([-2]), {"categories": AB}),
        ({"dtype": "category", "ordered": False}, np.array([0.0]), {"categories": AB}),
        ({"dtype": "category", "ordered": False}, np.array([0]), {"categories": pd.Index(["a", "a"])}),
        ({"dtype": "category", "ordered": False}, np.array([0]), {"categories": pd.Index(["a", None])}),
        ({"dtype": "Int8"}, np.array([0]), {}),
        ({"dtype": "Int8", "missing": 200}, np.array([0], "i1"), {}),
        ({"dtype": "Int8", "missing": True}, np.array([0], "i1"), {}),
        ({"dtype": "Int8", "missing": "0"}, np.array([0], "i1"), {}),
        ({"dtype": "boolean", "missing": 1}, np.array([0], "i1"), {}),
        ({"dtype": "boolean", "missing": -1}, np.array([2], "i1"), {}),
        ({"dtype": "Float32"}, np.array([0.5]), {}),
        ({"dtype": "str"}, np.array([1, "a"], dtype=object), {}),
        ({"dtype": "str"}, np.array([None, "a"], dtype=object), {}),
        ({"dtype": "str", "missing": 3}, np.array(["a"], dtype=object), {}),
        ({"dtype": "string[rust]"}, np.array(["a"], dtype=object), {}),
        ({"dtype": "string[python]"}, np.array([b"a"]), {}),
    ],
)
def test_what_does_not_fit_its_arrays(description: Any, values: Any, companions: Any) -> None:
    with pytest.raises(MetadataError):
        from_plain(description, values, companions)


@pytest.mark.parametrize("name", [None, 3, "", "..", "a/b", ["x"]])
def test_names_of_companions_that_no_array_has(name: Any) -> None:
    with pytest.raises(MetadataError, match="does not name"):
        companion_names({"dtype": "category", "ordered": True, "categories": name})


def test_masked_text_is_missing_too() -> None:
    values = np.array(["a", np.nan, "-"], dtype=object)
    back = from_plain({"dtype": "string[python]", "missing": "-"}, values, {})
    assert back.isna().tolist() == [False, True, True]


def test_array_may_have_either_order_of_bytes() -> None:
    back = from_plain({"dtype": "Int16", "missing": -1}, np.array([258, -1], ">i2"), {})
    assert back.equals(pd.Index(pd.array([258, None], dtype="Int16")))

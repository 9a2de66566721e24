"""Arrow-backed labels and data come back Arrow-backed, and as pandas' own like dtypes where there is no pyarrow.

`.ci/matrix pyarrow` runs these with pyarrow installed.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.errors import EncodingError, LabelError, MetadataError
from zarrds.labels.kinds.arrow import as_pandas
from zarrds.labels.kinds.table import array_from_plain, from_plain

Description = dict[str, Any]

# the name of a type, some values of it, one more
TYPES: dict[str, tuple[list[Any], Any]] = {
    "int8": ([1, None, -128], 5),
    "int64": ([2**62 + 1, None, 3], 5),
    "uint16": ([1, 2, 65535], 7),
    "uint64": ([2**64 - 1, None, 0], 5),
    "float": ([0.5, None, 2.0], 3.5),
    "double": ([0.1, None, -0.0], 3.5),
    "bool": ([True, None, False], True),
    "string": (["a", None, "", "<NA>"], "ü"),
    "large_string": (["a", None], "b"),
    "timestamp[s]": ([dt.datetime(1500, 1, 1), None], dt.datetime(2000, 1, 1)),
    "timestamp[us]": ([dt.datetime(2000, 1, 1, 0, 0, 0, 7), None], dt.datetime(2001, 1, 1)),
    "timestamp[ns]": ([dt.datetime(2000, 1, 1, 0, 0, 0, 7), None], dt.datetime(2001, 1, 1)),
    "timestamp[us, tz=Europe/Berlin]": (
        [dt.datetime(2000, 7, 1, tzinfo=dt.UTC), None],
        dt.datetime(2001, 1, 1, tzinfo=dt.UTC),
    ),
    "timestamp[ms, tz=+05:30]": (
        [dt.datetime(2000, 7, 1, tzinfo=dt.UTC), None],
        dt.datetime(2001, 1, 1, tzinfo=dt.UTC),
    ),
    "duration[ms]": ([dt.timedelta(milliseconds=3), None], dt.timedelta(1)),
}


def arrow(name: str, values: list[Any]) -> Any:
    pa = pytest.importorskip("pyarrow")
    if name.startswith("timestamp"):
        unit, _, zone = name[len("timestamp[") : -1].partition(", tz=")
        kind = pa.timestamp(unit, tz=zone or None)
    else:
        kind = pa.type_for_alias(name)
    return pd.arrays.ArrowExtensionArray(pa.array(values, kind))  # type: ignore[attr-defined]  # of pandas-stubs


def assert_same(found: Any, expected: Any) -> None:
    """Of the same dtype, with the same values and missing ones."""
    assert found.dtype == expected.dtype
    assert pd.Series(found).equals(pd.Series(expected))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", TYPES)
def test_data_and_labels_come_back(name: str, zarr_format: Any, tmp_path: Path) -> None:
    values, more = TYPES[name]
    array, added, labels = arrow(name, values), arrow(name, [more]), arrow(name, [more])
    ds = xr.Dataset({"v": ("x", array)}, {"y": pd.Index(labels, name="y")})
    zarrds.save(ds, tmp_path / "a.zarr", zarr_format=zarr_format)
    with xr.open_dataset(tmp_path / "a.zarr", engine="zarrds") as back:
        assert_same(back["v"].load().variable.data, array)
        assert_same(back.indexes["y"], ds.indexes["y"])
        assert_same(back["v"][1:].load().variable.data, array[1:])
    zarrds.save(xr.Dataset({"v": ("x", added)}), tmp_path / "a.zarr", append_dim="x")
    zarrds.save(xr.Dataset({"v": ("x", added)}), tmp_path / "a.zarr", region={"x": slice(1, 2)})
    assert zarrds.verify(tmp_path / "a.zarr").ok
    expected = arrow(name, [values[0], more, *values[2:], more])
    with xr.open_dataset(tmp_path / "a.zarr", engine="zarrds") as back:
        assert_same(back["v"].load().variable.data, expected)


@pytest.mark.parametrize("values", [[], [None, None]], ids=["empty", "missing"])
@pytest.mark.parametrize("name", TYPES)
def test_nothing_there(name: str, values: list[Any], tmp_path: Path) -> None:
    array = arrow(name, values)
    zarrds.save(xr.Dataset({"v": ("x", array)}), tmp_path / "a.zarr")
    with xr.open_dataset(tmp_path / "a.zarr", engine="zarrds") as back:
        assert_same(back["v"].load().variable.data, array)


@pytest.mark.parametrize("name", TYPES)
def test_what_is_all_missing_is_added(name: str, tmp_path: Path) -> None:
    store, some = tmp_path / "a.zarr", [value for value in TYPES[name][0] if value is not None]
    zarrds.save(xr.Dataset({"v": ("x", arrow(name, [*some, None]))}), store)
    nothing = xr.Dataset({"v": ("x", arrow(name, [None]))})
    zarrds.save(nothing, store, append_dim="x")
    zarrds.save(nothing, store, region={"x": slice(0, 1)})
    with xr.open_dataset(store, engine="zarrds") as back:
        assert_same(back["v"].load().variable.data, arrow(name, [None, *some[1:], None, None]))


def test_what_pandas_has_nothing_like_is_refused_by_name(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    for kind in (
        pa.float16(),
        pa.date32(),
        pa.list_(pa.int8()),
        pa.decimal128(5, 2),
        pa.time64("us"),
        pa.binary(),
        pa.null(),
    ):
        array = pd.arrays.ArrowExtensionArray(pa.array([None], kind))  # type: ignore[attr-defined]  # of pandas-stubs
        with pytest.raises(EncodingError) as caught:
            zarrds.save(xr.Dataset({"v": ("x", array)}), tmp_path / "a.zarr")
        assert f"{kind}[pyarrow]" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_the_stored_type_does_not_hold_is_not_appended(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    zarrds.save(xr.Dataset({"n": ("x", arrow("int8", [1]))}), store)
    with pytest.raises((EncodingError, LabelError), match="'n'"):
        zarrds.save(xr.Dataset({"n": ("x", arrow("int64", [300]))}), store, append_dim="x")
    zarrds.save(xr.Dataset({"n": ("x", arrow("int64", [2]))}), store, append_dim="x")
    zarrds.save(xr.Dataset({"n": ("x", pd.array([3, None], dtype="Int64"))}), store, append_dim="x")
    with xr.open_dataset(store, engine="zarrds") as back:
        assert_same(back["n"].load().variable.data, arrow("int8", [1, 2, 3, None]))


STORED: list[tuple[Description, Any]] = [
    ({"dtype": "Int64", "missing": -1, "arrow": "int64"}, np.array([3, -1])),
    ({"dtype": "Float32", "arrow": "float"}, np.float32([3, np.nan])),
    ({"dtype": "boolean", "missing": -1, "arrow": "bool"}, np.int8([1, -1])),
    ({"dtype": "string[pyarrow]", "missing": "-", "arrow": "string"}, np.array(["a", "-"], object)),
    ({"dtype": "datetime64[us, UTC]", "arrow": "timestamp"}, np.array(["2000", "NaT"], "M8[us]")),
    ({"dtype": "timedelta64[s]", "arrow": "duration"}, np.array([1, "NaT"], "m8[s]")),
]


@pytest.mark.parametrize(("description", "values"), STORED, ids=lambda value: str(value)[:40])
def test_the_same_values_without_pyarrow(
    description: Description, values: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {key: value for key, value in description.items() if key != "arrow"}
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)  # as where it is not installed
    expected, found = from_plain(own, values, {}), from_plain(description, values, {})
    assert_same(found, expected)
    plain, made = array_from_plain(own, values, {}), array_from_plain(description, values, {})
    assert type(made) is type(plain)
    assert pd.Series(made).equals(pd.Series(plain))


@pytest.mark.parametrize("name", ["int32", "date32", "decimal128(5, 2)", "", 3, True, ["int64"], {"a": 1}])
def test_a_description_that_contradicts_itself(name: Any) -> None:
    with pytest.raises(MetadataError, match="Arrow"):
        from_plain({"dtype": "Int64", "missing": -1, "arrow": name}, np.array([3, -1]), {})


@pytest.mark.parametrize("is_category", [False, True], ids=["values", "categories"])
@pytest.mark.parametrize("name", [name for name in TYPES if None in TYPES[name][0]])
def test_queries_are_those_of_the_like_dtype(name: str, is_category: bool, tmp_path: Path) -> None:
    some = [value for value in TYPES[name][0] if value is not None]
    values = [*some, None, TYPES[name][1], *some, None, None, None, None]
    labels = arrow(name, values)
    own = as_pandas(labels)
    assert own is not None
    ds = xr.Dataset({"v": ("x", labels)})
    like = xr.Dataset({"v": ("x", own[0].array)})
    if is_category:
        categories = pd.Index(labels).dropna().unique()
        codes = categories.get_indexer(pd.Index(labels))
        ds = xr.Dataset({"v": ("x", pd.Categorical.from_codes(codes, categories=categories))})
    zarrds.save(ds, tmp_path / "a.zarr", encoding={"v": {"chunks": (4,)}}, statistics=True)
    zarrds.save(like, tmp_path / "like.zarr", encoding={"v": {"chunks": (4,)}}, statistics=True)
    if name == "bool":
        queries = ["v", "not v", "v == True"]
    elif "string" in name or name.startswith(("timestamp", "duration")):
        one = "3 ms" if name.startswith("duration") else "2000-07-01" if name.startswith("timestamp") else "a"
        queries = [f"v {op} '{one}'" for op in ("<", "<=", ">", "==", "!=")] + [f"not v > '{one}'"]
    else:
        queries = [f"v {op} {some[0]}" for op in ("<", "<=", ">", "==", "!=")] + [f"v in [{some[0]}, {some[-1]}]"]
    for found in (tmp_path / "a.zarr", ds):
        for query in queries:
            at = [zarrds.find(each, query)["x_index"].values.tolist() for each in (found, tmp_path / "like.zarr")]
            assert at[0] == at[1], query
        for how in ("min", "max", "count") if "string" not in name else ():
            value, expected = (zarrds.aggregate(each, "v", how) for each in (found, tmp_path / "like.zarr"))
            assert value.values == expected.values
            assert value.dtype == expected.dtype


def test_queries_leave_chunks_out(tmp_path: Path) -> None:
    columns = {"i": arrow("int16", [*range(39), None]), "f": arrow("float", [*range(39), None])}
    ds = xr.Dataset({name: ("x", column) for name, column in columns.items()})
    zarrds.save(ds, tmp_path / "a.zarr", encoding={name: {"chunks": (8,)} for name in columns}, statistics=True)
    for name in columns:
        explained: Any = zarrds.find(tmp_path / "a.zarr", f"{name} > 35", explain=True)
        assert explained.variables[0].read == 1

"""Values of NumPy's dtypes that an array would give back as others: as missing, of another zone, or rounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import Format, load, objects
from zarrds import MemoryStore
from zarrds.errors import EncodingError, ZarrdsError

TEXT = np.dtypes.StringDType
MIN, MAX = -(2**63), 2**64 - 1
ZONED = pd.DatetimeIndex(["2000-01-01", None], tz="Europe/Berlin")


def column(values: Any, start: int = 0, encoding: dict[str, Any] | None = None) -> xr.Dataset:
    return xr.Dataset({"c": ("x", values, {}, encoding)}, {"x": np.arange(len(values)) + start})


# what is stored, what would be read as something else, what would not, and the encoding of what is stored
CASES: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    "text": (objects("a", None), np.array(["b", "<NA>"]), np.array(["b", "<NA"]), {}),
    "fixed text": (np.array(["a", "bc"]), np.array(["b", "<NA>"]), np.array(["b", "<NA"]), {}),
    "pandas' text": (pd.array(["a", None], dtype="string"), np.array(["b", "<NA>"]), np.array(["b", ""]), {}),
    "StringDType": (np.array(["a", None], TEXT(na_object=None)), np.array(["<NA>"] * 2), np.array(["b", "c"]), {}),
    "marked text": (objects("a", None), np.array(["b", "N/A"]), np.array(["b", "<NA>"]), {"_FillValue": "N/A"}),
    "marked objects": (objects("a", None), objects("b", "N/A"), objects("b", "<NA>"), {"_FillValue": "N/A"}),
    "bytes": (objects(b"long", None), np.array([b"b", b"<NA>"]), np.array([b"b", b""]), {}),
    "integers": (objects(5, None), np.array([1, MIN]), np.array([1, MIN + 1]), {}),
    "large integers": (objects(2**63, None), np.array([1, MAX], "u8"), np.array([1, MAX - 1], "u8"), {}),
    "booleans": (objects(True, None), np.array([1, -1], "i2"), np.array([True, False]), {}),
    "booleans and others": (objects(True, None), np.array([2, 5]), np.array([False, False]), {}),
    "whole booleans": (objects(True, None), np.array([0.0, 1.0]), np.array([False, True]), {}),
    "a zone": (ZONED.array, np.array(["2001-01-01", "NaT"], "M8[ns]"), objects(ZONED[0], None), {}),
    "objects of a zone": (objects(*ZONED), np.array(["2001-01-01"] * 2, "M8[s]"), objects(*ZONED), {}),
}  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {
    "append": {"append_dim": "x"},
    "region": {"region": {"x": slice(0, 2)}},
    "a": {"mode": "a"},
    "r+": {"mode": "r+"},
}


def files(store: MemoryStore) -> dict[str, bytes]:
    return {key: bytes(store.get(key) or b"") for key in store.list_prefix()}


def listed(variable: Any) -> list[Any]:
    values = getattr(variable, "variable", variable).data if isinstance(variable, xr.DataArray) else variable
    return [None if pd.isna(value) else value for value in list(values.astype(object))]


# of which the value that stands for what is missing becomes another one, if all of it is in memory
MOVED = frozenset({"text", "fixed text", "pandas' text", "StringDType", "bytes", "integers", "large integers"})


@pytest.mark.one_in(4)
@pytest.mark.filterwarnings("ignore:variable .* is a dask array with dtype=object")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_what_would_be_read_as_another_thing(case: str, way: str, zarr_format: Format) -> None:
    stored, bad, good, encoding = CASES[case]
    at = 2 if way == "append" else 0

    def made() -> MemoryStore:
        store = MemoryStore()
        zarrds.save(column(stored, 0, encoding), store, zarr_format=zarr_format)
        if case == "fixed text":
            zarrds.save(column(objects("a", None)), store, mode="r+")
        return store

    there = listed(load(made()).c)
    for new in (column(bad, at), column(bad, at).chunk(x=1)):
        store = made()
        before = files(store)
        if case in MOVED and new.c.chunks is None:
            zarrds.save(new, store, **WAYS[way])
            assert listed(load(store).c) == (
                there + listed(column(bad).c) if way == "append" else listed(column(bad).c)
            )
            assert zarrds.verify(store).ok
            continue
        with pytest.raises(ZarrdsError) as caught:
            zarrds.save(new, store, **WAYS[way])
        assert caught.value.key == "c"
        assert caught.value.mend is not None
        assert files(store) == before
    store = made()
    for new in (column(good, at), column(good, at).chunk(x=1)):
        options: dict[str, Any] = {"on_overlap": "replace"} if way == "append" else {}
        zarrds.save(new, store, **WAYS[way], **options)
        expected = listed(column(good).c)
        assert listed(load(store).c) == (there + expected if way == "append" else expected)
        assert zarrds.verify(store).ok


@pytest.mark.parametrize("start", [0, 1])
def test_tables_too(zarr_format: Format, start: int) -> None:
    tables: list[tuple[Any, Any, Any]] = [
        (objects(1, None), np.array([1, MIN]), np.array([1, 2])),
        (objects("a", None), np.array(["b", "<NA>"]), np.array(["b", ""])),
        (objects(b"long", None), np.array([b"b", b"<NA>"]), np.array([b"b", b""])),
        (objects(True, None), np.array([1, 0]), np.array([True, False])),
    ]
    for stored, bad, good in tables:
        store, new = MemoryStore(), xr.Dataset({"c": (("x", "y"), good[None])})
        shards = {"c": {"chunks": (1, 1), "shards": (1, 2)}} if zarr_format == 3 else {}
        zarrds.save(xr.Dataset({"c": (("x", "y"), stored[None])}), store, zarr_format=zarr_format, encoding=shards)
        with pytest.raises(ZarrdsError):
            zarrds.save(new.copy(data={"c": bad[None]}).chunk(y=1), store, append_dim="x")
        zarrds.save(new.chunk(y=1), store, append_dim="x")
        assert listed(load(store).c[1]) == good.tolist()
        if good.dtype != bool:
            zarrds.save(new.copy(data={"c": bad[None]}), store, region={"x": slice(start, start + 1)})
            rows = [listed(load(store).c[row]) for row in (0, 1)]
            assert rows == ([bad.tolist(), good.tolist()] if start == 0 else [listed(stored), bad.tolist()])


def test_missing_times_have_any_zone() -> None:
    store = MemoryStore()
    zarrds.save(column(ZONED.array), store)
    zarrds.save(column(np.array(["NaT", "NaT"], "M8[ns]"), 2), store, append_dim="x")
    assert listed(load(store).c) == [ZONED[0], None, None, None]


WHOLE = st.integers(0, 63).flatmap(lambda n: st.integers(-1, 1).map(lambda step: min(2**n + step, 2**63 - 1)))


@given(number=WHOLE, dtype=st.sampled_from(["f2", "f4", "f8", "Float32", "Float64"]))
@example(2049, "f2")
@example(16777217, "f4")
@example(2**53 + 1, "Float64")
@settings(max_examples=8)
def test_integers_are_not_rounded(number: int, dtype: str) -> None:
    """However they are given: plain, nullable, as objects, with or without missing ones and floats among them."""
    numpy_dtype = np.dtype(dtype.lower())
    with np.errstate(over="ignore"):
        as_float = float(numpy_dtype.type(number))
    is_exact = np.isfinite(as_float) and int(as_float) == number
    stored = pd.array([1.5], dtype=dtype) if dtype[0] == "F" else np.array([1.5], dtype)  # type: ignore[call-overload]  # a dtype by its name
    forms: list[Any] = [np.array([number]), objects(number, None), pd.array([number, None], dtype="Int64")]
    if dtype[0] == "f":
        forms += [objects(number, 1.5, None), np.array([number]).astype(object)]
    for new in forms:
        store = MemoryStore()
        zarrds.save(column(stored), store)
        if is_exact:
            zarrds.save(column(new, 1), store, append_dim="x")
            assert listed(load(store).c) == [1.5, *listed(column(new).c)]
        else:
            with pytest.raises(EncodingError, match="cannot hold exactly"):
                zarrds.save(column(new, 1), store, append_dim="x")

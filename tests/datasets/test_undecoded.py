"""Undecoded data, as files have it, is added to a store that was saved decoded, and to one that was not."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import load
from zarrds.errors import EncodingError

LARGE = np.array([2**53 + 1, -1, -(2**62) - 1])
RAW: dict[str, Any] = {
    "booleans": xr.Variable("x", np.array([0, 1, 1], "i1"), {"dtype": "bool", "long_name": "wet"}),
    "text": xr.Variable("x", np.array(["ä".encode(), b"", b"long"]), {"_Encoding": "utf-8", "long_name": "name"}),
    "large": xr.Variable("x", LARGE, {"_FillValue": np.int64(-1)}),
    "large, missing": xr.Variable("x", LARGE, {"missing_value": np.int64(-1)}),
    "unsigned": xr.Variable("x", np.array([2**64 - 1, 2**63 + 1], "u8"), {"_FillValue": np.uint64(2**64 - 1)}),
}


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "how", [{"append_dim": "x"}, {"mode": "r+"}, {"mode": "a"}, {"region": {"x": slice(0, 1)}}], ids=str
)
@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
def test_it_comes_back_undecoded(raw: xr.Variable, how: dict[str, Any], zarr_format: Any) -> None:
    store = zarrds.MemoryStore()
    ds = xr.Dataset({"v": raw})
    zarrds.save(ds, store, zarr_format=zarr_format)
    new = ds.isel(x=slice(0, 1)) if "region" in how else ds
    zarrds.save(new, store, **how)
    expected = xr.concat([ds, ds], "x") if "append_dim" in how else ds
    found = load(store, decode_cf=False)
    # booleans are stored as such
    np.testing.assert_array_equal(found.v.values, expected.v.values)
    assert zarrds.verify(store).ok


@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize("kind", ["booleans", "text"])
def test_it_is_decoded_beside_decoded_data(kind: str, is_lazy: bool) -> None:
    store, raw = zarrds.MemoryStore(), xr.Dataset({"v": RAW[kind]})
    decoded = xr.decode_cf(raw).load().drop_encoding()
    zarrds.save(decoded, store)
    zarrds.save(raw.chunk(x=2) if is_lazy else raw, store, append_dim="x")
    xr.testing.assert_equal(load(store), xr.concat([decoded, decoded], "x"))


@pytest.mark.parametrize("dtype", ["i1", "i2", "f4"])
def test_a_dtype_that_says_nothing_of_numbers_that_are_packed(dtype: str) -> None:
    raw = xr.Dataset({"v": ("x", np.array([3, 0, 5], dtype), {"scale_factor": 0.5, "dtype": "bool"})})
    store = zarrds.MemoryStore()
    zarrds.save(raw, store)
    zarrds.save(raw, store, append_dim="x")
    assert load(store).v.values.tolist() == [1.5, 0, 2.5] * 2


def test_dates_by_a_factor_of_single_precision() -> None:
    """Which readers count in, so that finer units are no more exact."""
    attributes = {"scale_factor": np.float32(0.1), "units": "days since 0001-01-01", "calendar": "noleap"}
    raw = xr.Dataset({"v": ("x", np.array([3, 1, 0], "u8"), attributes)})
    store = zarrds.MemoryStore()
    zarrds.save(raw, store)
    before = load(store).v.values.tolist()
    zarrds.save(raw, store, append_dim="x")
    assert load(store).v.values.tolist() == before * 2
    assert load(store, decode_cf=False).v.values.tolist() == [3, 1, 0] * 2


def test_what_cannot_be_decoded_is_refused_by_name() -> None:
    store = zarrds.MemoryStore()
    before = xr.Dataset({"b": ("x", [True]), "t": ("x", ["a"])})
    zarrds.save(before, store)
    for name, values, attributes in (
        ("b", np.array([2], "i1"), {"dtype": "bool"}),
        ("t", np.array([b"\xff"]), {"_Encoding": "utf-8"}),
        ("t", np.array([b"a"]), {"_Encoding": "utf-9"}),
    ):
        for new in (before, before.chunk()):
            with pytest.raises(EncodingError, match=f"'{name}' is .* by its attribute"):
                zarrds.save(new.assign({name: ("x", values, attributes)}), store, append_dim="x")
    xr.testing.assert_identical(load(store), before)


@pytest.mark.parametrize("key", ["scale_factor", "add_offset"])
@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "i4"])
def test_numbers_that_are_packed_and_are_not(key: str, is_lazy: bool, dtype: str) -> None:
    """Decoded, with attributes of the undecoded file: they were read back as scaled once more."""
    values = xr.Dataset({"v": ("x", [1.0, 2.0])})
    zarrds.save(values, store := zarrds.MemoryStore())
    ds = xr.Dataset({"v": ("x", np.array([1, 2], dtype), {key: 0.5}, {"dtype": "i2", key: 0.5})})
    ds = ds.chunk(x=1) if is_lazy else ds
    for options in ({"mode": "w"}, {"append_dim": "x"}, {"mode": "r+"}, {"region": {"x": slice(0, 2)}}, {"mode": "a"}):
        with pytest.raises(EncodingError, match=f"{key} as an attribute.*Delete the attribute"):
            zarrds.save(ds, store, **options)
    xr.testing.assert_identical(load(store), values)


@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "i4"])
@pytest.mark.parametrize(
    ("attribute", "key"),
    [("_FillValue", "scale_factor"), ("missing_value", "add_offset"), ("scale_factor", "add_offset")],
)
def test_what_attributes_say_is_packed_is_not_packed_again(attribute: str, key: str, dtype: str, is_lazy: bool) -> None:
    """A marker that packed values are equal to made them missing, and an offset in front of a factor moved them."""
    raw = xr.Dataset({"v": ("x", np.array([1, -2, 4], dtype), {attribute: -4})})
    raw = raw.chunk(x=2) if is_lazy else raw
    encoding = {key: 0.5 if key == "scale_factor" else 2.0, "dtype": "i2"}
    with pytest.raises(EncodingError, match=f"not packed: it has the attribute '{attribute}'.*leave out {key}"):
        zarrds.save(raw, store := zarrds.MemoryStore(), encoding={"v": encoding})
    raw.v.encoding = encoding
    with pytest.warns(xr.SerializationWarning, match="is of what is decoded"):
        zarrds.save(raw, store)
    np.testing.assert_array_equal(load(store).v, xr.decode_cf(raw).v)


@pytest.mark.parametrize(
    ("attribute", "encoding"),
    [
        (np.nan, {"scale_factor": 0.5, "dtype": "i2", "_FillValue": -9}),  # NaN marks no integer
        (-999.0, {"scale_factor": 1.0}),  # which packs nothing
        (-999.0, {"add_offset": 0.0, "scale_factor": 1, "dtype": "f4"}),
    ],
)
def test_what_says_nothing_of_packing_is_in_no_way(attribute: float, encoding: dict[str, Any]) -> None:
    values = [1.0, 2.5, np.nan]
    ds = xr.Dataset({"v": ("x", values, {"missing_value": attribute})})
    zarrds.save(ds, store := zarrds.MemoryStore(), encoding={"v": encoding})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", xr.SerializationWarning)  # of two markers
        np.testing.assert_array_equal(load(store).v, values)


def test_another_marker_is_another_encoding() -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": RAW["large"]}), store)
    other = xr.Variable("x", LARGE, {"_FillValue": np.int64(7)})
    with pytest.raises(EncodingError, match="too large to be masked"):
        zarrds.save(xr.Dataset({"v": other}), store, append_dim="x")


integers = st.sampled_from([-1, 0, 1, 2**53 - 1, 2**53 + 1, -(2**60) - 1, 2**63 - 1])


@given(st.lists(st.lists(integers, min_size=1, max_size=4), min_size=1, max_size=4))
def test_any_integers_in_any_batches(parts: list[list[int]]) -> None:
    store = zarrds.MemoryStore()
    for i, part in enumerate(parts):
        raw = xr.Dataset({"v": ("x", np.array(part), {"_FillValue": np.int64(-1)})})
        zarrds.save(raw, store, **({"append_dim": "x"} if i else {}))
    assert load(store, decode_cf=False).v.values.tolist() == [value for part in parts for value in part]

"""Objects that are added to an array of text, and damage of one array: what is wrong is said in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.errors import LabelError, MetadataError


@pytest.mark.parametrize(
    ("values", "word"), [([1, None], "integer"), ([True, None], "boolean"), ([b"a", None], "bytes")]
)
def test_objects_for_an_array_of_text(values: list[Any], word: str) -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("t", np.array(["a", None], object))}), store)
    more = xr.Dataset({"v": ("t", np.array(values, object))})
    with pytest.raises(LabelError, match=f"'v'.*expected text.*found objects: {word}"):
        zarrds.save(more, store, append_dim="t")


def test_damage_of_one_array_hides_no_other() -> None:
    store = zarrds.MemoryStore()
    for name in "ab":
        zarrds.create_array(store, path=name, shape=2, dtype="i4", dimension_names=["x"])
    store.set("a/zarr.json", b"{")
    with pytest.warns(UserWarning, match="'a': metadata document is not valid JSON.* drop_variables"):
        assert list(xr.open_dataset(store, engine="zarrds").data_vars) == ["b"]
    with pytest.raises(MetadataError, match="drop_variables"):
        zarrds.open_array(store, path="a")
    assert list(xr.open_dataset(store, engine="zarrds", drop_variables="a").data_vars) == ["b"]


@pytest.mark.parametrize("values", [[pd.NaT, pd.NaT], [None, pd.NaT]])
@pytest.mark.parametrize("is_lazy", [False, True])
def test_objects_that_are_no_time_at_all(values: list[Any], is_lazy: bool) -> None:
    ds, store = xr.Dataset({"v": ("t", np.array(values, object))}), zarrds.MemoryStore()
    zarrds.save(ds.chunk() if is_lazy else ds, store)
    back = xr.open_dataset(store, engine="zarrds").v
    assert back.dtype.kind == "M"
    assert np.isnat(back.values).all()


def test_times_with_a_zone_of_which_none_is_left() -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("t", pd.date_range("2000", periods=2, tz="UTC").array)}), store)
    zarrds.save(xr.Dataset({"v": ("t", np.array([pd.NaT] * 2, object))}), store, mode="a")
    opened = xr.open_dataset(store, engine="zarrds").load()
    assert opened.v.isnull().all()
    zarrds.save(opened, zarrds.MemoryStore())


_NOTHING: dict[str, Any] = {
    "objects": np.empty(0, object),
    "text": np.empty(0, "U3"),
    "floats": np.empty(0),
    "times": np.empty(0, "M8[s]"),
    "bytes": np.empty(0, "S3"),
}
_LATER: dict[str, list[Any]] = {
    "nothing": [None, None],
    "NaN": [np.nan, np.nan],
    "pd.NA": [pd.NA, pd.NA],
    "booleans": [True, None],
    "integers": [2**60, None],
    "bytes": [b"longer", None],
    "text": ["longer", None],
    "dates": [*xr.date_range("2000-02-29", periods=2, calendar="all_leap", use_cftime=True)],
}


@pytest.mark.filterwarnings("ignore:variable .* is a dask array with dtype=")
@pytest.mark.parametrize("shape", [(2,), (2, 2)], ids=str)
@pytest.mark.parametrize("later", _LATER)
@pytest.mark.parametrize("first", _NOTHING)
def test_dask_objects_are_the_first_of_an_array(first: str, later: str, shape: tuple[int, ...]) -> None:
    """As those in memory are."""
    dims, values = ("t", "y")[: len(shape)], np.empty(shape, object)
    values[:] = np.array(_LATER[later], object).reshape((2,) + (1,) * (len(shape) - 1))
    nothing = _NOTHING[first].reshape((0, *shape[1:]))
    found = []
    for chunks in (None, {"t": 1}):
        store = zarrds.MemoryStore()
        zarrds.save(xr.Dataset({"v": (dims, nothing)}), store)
        new = xr.Dataset({"v": (dims, values)})
        zarrds.save(new if chunks is None else new.chunk(chunks), store, append_dim="t")
        found.append(xr.open_dataset(store, engine="zarrds").v.values.astype(object).ravel().tolist())
    present = [value for value in values.ravel().tolist() if not pd.isna(value)]
    assert [[value for value in each if not pd.isna(value)] for each in found] == [present, present]
    assert [len(each) for each in found] == [values.size] * 2

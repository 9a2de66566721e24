"""Attributes that say nothing sensible of how an array is decoded: an error of zarrds that names the array."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds import MemoryStore
from zarrds.errors import MetadataError, ZarrdsError

ATTRIBUTES = (
    "coordinates bounds grid_mapping formula_terms units calendar _FillValue missing_value scale_factor add_offset "
    "dtype _ARRAY_DIMENSIONS _Unsigned _Encoding"
).split()
NAMES = ["v", "t", "lat", "c"]
ODD = [-1, None, [], [1, "x"], [[1], [1, 2]], {"a": 1}, "a\0b"]


def dataset() -> xr.Dataset:
    return xr.Dataset(
        {
            "v": (("t", "x"), np.arange(6.0).reshape(3, 2)),
            "c": ("x", pd.Categorical(["a", "b"])),
            "bounds": (("t", "nv"), np.zeros((3, 2))),
        },
        {"t": pd.date_range("2000-01-01", periods=3), "x": [1, 2], "lat": ("x", [1.0, 2.0])},
    )


def with_attributes(zarr_format: Any, name: str, attributes: dict[str, Any]) -> MemoryStore:
    """A saved dataset of which one array has other attributes, wherever documents say it."""
    store = MemoryStore()
    zarrds.save(dataset(), store, zarr_format=zarr_format)
    for key in list(store.list_prefix()):
        if key.endswith((".zattrs", ".zmetadata", "zarr.json")):
            document = json.loads(bytes(store.get(key) or b""))
            for holder in _holders(document, key, name):
                holder.update(attributes)
            store.set(key, json.dumps(document).encode())
    return store


def _holders(document: Any, key: str, name: str) -> list[dict[str, Any]]:
    if key == f"{name}/.zattrs":
        return [document]
    if key == ".zmetadata":
        return [document["metadata"][f"{name}/.zattrs"]]
    if key == f"{name}/zarr.json":
        return [document["attributes"]]
    return [document["consolidated_metadata"]["metadata"][name]["attributes"]] if key == "zarr.json" else []


def later() -> xr.Dataset:
    ds = dataset()
    return ds.assign_coords(t=ds.t + np.timedelta64(3, "D"))


DONE: dict[str, Callable[[MemoryStore], Any]] = {
    "open": lambda store: xr.open_dataset(store, engine="zarrds").load(),
    "open all": lambda store: xr.open_dataset(store, engine="zarrds", decode_coords="all").load(),
    "dask": lambda store: xr.open_dataset(store, engine="zarrds", chunks={}).compute(),
    "append": lambda store: zarrds.save(later(), store, append_dim="t"),
    "a": lambda store: zarrds.save(dataset(), store, mode="a"),
    "region": lambda store: zarrds.save(dataset()[["v"]].drop_vars(["t", "x", "lat"]), store, region={"t": slice(3)}),
    "edit": lambda store: zarrds.update_attrs(store, {"title": "new"}, "v"),
    "rename": lambda store: zarrds.rename(store, {"v": "w"}),
    "info": lambda store: str(zarrds.info(store)),
    "verify": lambda store: str(zarrds.verify(store, repair=True)),
}


def homeless(zarr_format: int, name: str, attribute: str, value: object) -> list[tuple[str, ZarrdsError]]:
    """Do all that one does with a store; the errors of zarrds that do not say where."""
    store = with_attributes(zarr_format, name, {attribute: value})
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for what, do in DONE.items():
            try:
                do(store)
            except ZarrdsError as error:
                if error.path != store.path or error.key is None:
                    found.append((what, error))
    return found


@pytest.mark.one_in(6)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_some_odd_values(zarr_format: int, attribute: str) -> None:
    assert not homeless(zarr_format, "v" if attribute != "calendar" else "t", attribute, [1, "x"])


@pytest.mark.slow
@pytest.mark.parametrize("attribute", ATTRIBUTES)
@pytest.mark.parametrize("name", NAMES)
def test_odd_values(attribute: str, name: str) -> None:
    """Each in one of the formats: in the other one it is of the next array."""
    turn = ATTRIBUTES.index(attribute) + NAMES.index(name)
    for i, value in enumerate(ODD):
        assert not homeless(2 + (turn + i) % 2, name, attribute, value), value


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("v", {"coordinates": -1}),
        ("t", {"calendar": "mayan"}),
        ("t", {"units": "days since the fall"}),
        ("t", {"bounds": ["x"]}),
    ],
)
def test_the_array_is_named_and_given_as_it_is_stored(zarr_format: int, name: str, attributes: dict[str, Any]) -> None:
    store = with_attributes(zarr_format, name, attributes)
    with pytest.warns(UserWarning, match=rf"cannot be decoded.*'{name}': ") as caught:
        opened = xr.open_dataset(store, engine="zarrds").load()
    assert len(caught) == 1
    assert attributes.items() <= opened[name].attrs.items()
    expected = xr.open_dataset(store, engine="zarrds", drop_variables=name).load()
    xr.testing.assert_identical(opened.drop_vars(name), expected)
    raw = xr.open_dataset(store, engine="zarrds", decode_cf=False).load()
    if attributes.keys().isdisjoint({"coordinates", "bounds"}):
        np.testing.assert_array_equal(opened[name].values, raw[name].values)
    if name == "t" and "bounds" not in attributes:
        with pytest.raises(ZarrdsError) as refused:
            zarrds.save(later(), store, append_dim="t")
        assert (refused.value.path, refused.value.key) == (store.path, name)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("attribute", sorted({*ATTRIBUTES} - {"coordinates", "_ARRAY_DIMENSIONS"}))  # of names
def test_lists_of_other_lengths_are_saved_on(zarr_format: int, attribute: str, tmp_path: Path) -> None:
    store = with_attributes(zarr_format, "v", {attribute: [[1], [1, 2]]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for other in (MemoryStore(), tmp_path / "b.zarr"):
            if isinstance(other, MemoryStore):
                zarrds.save(xr.open_dataset(store, engine="zarrds"), other)
            else:
                zarrds.save(xr.open_dataset(store, engine="zarrds", decode_cf=False), other)
            found = xr.open_dataset(other, engine="zarrds").load()
            assert found.v.values.tolist() == dataset().v.values.tolist()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("values", [["a", "b"], np.array(["a", "b"], object), [b"a", b"bc"]])
@pytest.mark.parametrize("attributes", [{"scale_factor": 2}, {"add_offset": 0.5}, {"scale_factor": 1, "units": "K"}])
def test_packing_of_what_are_no_numbers(zarr_format: Any, values: Any, attributes: dict[str, Any]) -> None:
    store = MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", values), "w": ("x", [1.0, 2.0])}), store, zarr_format=zarr_format)
    zarrds.open_array(store, "r+", path="v").attrs.update(attributes)
    with pytest.warns(UserWarning, match="cannot be decoded.*'v'"):
        opened = xr.open_dataset(store, engine="zarrds").load()
    assert opened.v.values.tolist() == list(values)
    assert opened.v.attrs == attributes
    assert opened.w.values.tolist() == [1.0, 2.0]
    again = MemoryStore()
    zarrds.save(opened, again)
    xr.testing.assert_identical(xr.open_dataset(again, engine="zarrds").load(), opened)


def test_packing_that_is_no_number() -> None:
    store = with_attributes(3, "v", {"scale_factor": {"a": 1}})
    with pytest.warns(UserWarning, match="cannot be decoded.*'v'"):
        opened = xr.open_dataset(store, engine="zarrds").load()
    xr.testing.assert_identical(opened, xr.open_dataset(store, engine="zarrds", mask_and_scale={"v": False}).load())


def test_times_that_are_out_of_range_when_they_are_read() -> None:
    store = MemoryStore()
    array = zarrds.create_array(store, path="v", shape=5, chunks=5, dtype="i8", dimension_names=["x"])
    array[...] = [0, 1, 2**62, 2, 3]  # xarray looks at the first and the last one
    array.attrs.update({"units": "days since 2000-01-01", "calendar": "noleap"})
    opened = xr.open_dataset(store, engine="zarrds", decode_times=True)
    with pytest.raises(MetadataError, match="cannot be decoded") as caught:
        opened.load()
    assert (caught.value.path, caught.value.key) == (store.path, "v")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_appending_to_categories_that_cannot_be_read(zarr_format: Any) -> None:
    store, more = MemoryStore(), xr.Dataset({"c": ("x", pd.Categorical(["b"]))})
    zarrds.save(dataset()[["c"]].drop_vars(["x", "lat"]), store, zarr_format=zarr_format)
    document = "c_categories/zarr.json" if zarr_format == 3 else "c_categories/.zarray"
    found = json.loads(bytes(store.get(document) or b""))
    store.set(document, json.dumps(found | {"codecs": [{"name": "x"}], "compressor": {"id": "x"}}).encode())
    with pytest.raises(ZarrdsError) as caught:
        zarrds.save(more, store, append_dim="x")
    assert caught.value.path == store.path
    assert caught.value.key in ("c_categories", "c")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_array_with_a_strange_codec_does_not_hide_others(zarr_format: Any) -> None:
    store = MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", [1.0]), "w": ("x", [2.0])}), store, zarr_format=zarr_format)
    for key in (".zmetadata", "v/.zarray", "zarr.json", "v/zarr.json"):
        if value := store.get(key):
            store.set(key, bytes(value).replace(b'"shuffle": 1', b'"shuffle": [1]', 1))
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        opened = xr.open_dataset(store, engine="zarrds").load()
    assert opened.w.values == [2.0]


def test_consolidated_metadata_without_a_root() -> None:
    store = MemoryStore()
    zarrds.save(dataset(), store, zarr_format=2)
    document = json.loads(bytes(store.get(".zmetadata") or b""))
    del document["metadata"][".zgroup"]
    store.set(".zmetadata", json.dumps(document).encode())
    zarrds.save(later(), store, append_dim="t")
    assert xr.open_dataset(store, engine="zarrds", consolidated=False).sizes["t"] == 6
    assert not [f for f in zarrds.verify(store, repair=True).findings if not f.mended]
    assert zarrds.verify(store).ok


@pytest.mark.parametrize(
    "members",
    [{"shape": [1] * 70, "chunks": [1] * 70}, {"dtype": "<M8", "fill_value": None}],
    ids=["many dimensions", "times without a unit"],
)
def test_what_no_variable_can_be_is_left_out(members: dict[str, Any]) -> None:
    store = MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", [1.0]), "w": ("y", [2.0])}), store, zarr_format=2)
    store.delete(".zmetadata")
    array = json.loads(bytes(store.get("v/.zarray") or b"")) | members
    store.set("v/.zarray", json.dumps(array).encode())
    names = [f"x{i}" for i in range(len(array["shape"]))]
    store.set("v/.zattrs", json.dumps({"_ARRAY_DIMENSIONS": names}).encode())
    with pytest.warns(UserWarning, match="left out: 'v'"):
        opened = xr.open_dataset(store, engine="zarrds", chunks={})
    assert list(opened.variables) == ["w"]
    with pytest.raises(ZarrdsError) as caught:
        zarrds.save(xr.Dataset({"v": ("x", [1.0])}), store, mode="a")
    assert (caught.value.path, caught.value.key) == (store.path, "v")


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_fill_value_of_other_bytes_than_floats_have(dtype: str) -> None:
    store = MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", np.zeros(2, dtype))}), store)
    document = json.loads(store.get("zarr.json"))
    document["consolidated_metadata"]["metadata"]["v"]["attributes"]["_FillValue"] = "AAAA"
    store.set("zarr.json", json.dumps(document).encode())
    assert xr.open_dataset(store, engine="zarrds").v.dtype == dtype

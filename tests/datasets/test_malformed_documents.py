"""Members of documents that are of another kind than they should be: our errors, or what they tell of is left out."""

from __future__ import annotations

import json
import tracemalloc
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds import MemoryStore
from zarrds.datasets.description.cdl import cdl_of
from zarrds.datasets.description.plain import json_value
from zarrds.errors import EncodingError, LabelError, MetadataError, ZarrdsError

Change = Callable[[dict[str, Any]], object]


def edit(store: MemoryStore, key: str, change: Change) -> None:
    document = json.loads(bytes(store.get(key) or b""))
    change(document)
    store.set(key, json.dumps(document).encode())


def opened(store: MemoryStore) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarrds")


# ------------------------------------------------------------------------------------ codecs of shards

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
INDEX = [LITTLE, "crc32c"]


def sharded(codec: Any) -> MemoryStore:
    """A store with one array, whose only codec is this."""
    store = MemoryStore()
    ds = xr.Dataset({"v": ("x", np.arange(8.0))})
    encoding = {"v": {"chunks": (2,), "shards": (4,), "compressors": [{"name": "zstd"}, {"name": "crc32c"}]}}
    zarrds.save(ds, store, encoding=encoding)
    edit(store, "v/zarr.json", lambda d: d.update(codecs=[codec]))
    edit(store, "zarr.json", lambda d: d["consolidated_metadata"]["metadata"]["v"].update(codecs=[codec]))
    return store


def sharding(**settings: Any) -> dict[str, Any]:
    return {"name": "sharding_indexed", "configuration": settings}


def test_inner_codecs_may_be_given_by_their_names_alone() -> None:
    store = sharded(sharding(chunk_shape=[2], codecs=[LITTLE, "zstd", "crc32c"], index_codecs=INDEX))
    zarrds.save(xr.Dataset({"v": ("x", [8.0, 9.0])}), store, append_dim="x")
    copied = MemoryStore()
    zarrds.rechunk(store, copied, chunks={"x": 4})
    for each in (store, copied):
        assert opened(each).v.values.tolist() == list(range(10))
    assert opened(store).v.encoding["compressors"] == ({"name": "zstd"}, {"name": "crc32c"})
    assert "zstd" in zarrds.open_group(store)._repr_html_()


@pytest.mark.parametrize(
    "codec",
    [
        "sharding_indexed",
        {"name": "sharding_indexed"},
        sharding(codecs=3),
        sharding(chunk_shape=[2], codecs=[LITTLE], index_codecs=3),
        sharding(chunk_shape=[2], codecs=[3], index_codecs=INDEX),
        sharding(chunk_shape=[True], codecs=[LITTLE], index_codecs=INDEX),
        sharding(chunk_shape=[2, 2], codecs=[LITTLE], index_codecs=INDEX),
        sharding(chunk_shape=[2], codecs=[LITTLE], index_codecs=INDEX, index_location=["end"]),
    ],
    ids=str,
)
def test_shards_that_are_described_wrongly(codec: Any) -> None:
    store = sharded(codec)
    assert "cannot be read" in zarrds.open_group(store)._repr_html_()
    assert "v cannot be read" in str(zarrds.info(store))
    for act in (
        lambda: zarrds.open_array(store, path="v"),
        lambda: zarrds.rechunk(store, MemoryStore(), chunks={"x": 4}),
        lambda: zarrds.save(xr.Dataset({"v": ("x", [8.0])}), store, append_dim="x"),
    ):
        with pytest.raises(MetadataError) as caught:
            act()
        assert (caught.value.path, caught.value.key) == (store.path, "v")


# ------------------------------------------------------------------------------- settings of codecs


def filtered(codec: dict[str, Any], values: Any) -> Any:
    store = MemoryStore()
    encoding = {"v": {"filters": [codec], "_FillValue": None, "fill_value": 0}}
    zarrds.save(xr.Dataset({"v": ("x", np.array(values))}), store, encoding=encoding)
    return opened(store).v.values.tolist()


def test_settings_in_every_form_of_the_specifications() -> None:
    hexadecimal = {"offset": "0x3ff0000000000000", "scale": 2}
    assert filtered({"name": "scale_offset", "configuration": hexadecimal}, [1.5, 2.0]) == [1.5, 2.0]
    stored_as = {"data_type": {"name": "int16"}}
    assert filtered({"name": "cast_value", "configuration": stored_as}, [1.0, 2.0]) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("numcodecs.fixedscaleoffset", {"offset": 0, "scale": 0, "dtype": "<f8", "astype": "<i4"}),
        ("numcodecs.fixedscaleoffset", {"offset": "0", "scale": 1, "dtype": "<f8", "astype": "<i4"}),
        ("numcodecs.quantize", {"digits": [2], "dtype": "<f8"}),
        ("numcodecs.delta", {"dtype": ["<f8"]}),
        ("cast_value", {"data_type": {"name": ["int16"]}}),
        ("cast_value", {}),
    ],
    ids=str,
)
def test_settings_that_are_none(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises((EncodingError, MetadataError)) as caught:
        filtered({"name": name, "configuration": settings}, [1.0, 2.0])
    assert caught.value.key == "v"


@pytest.mark.parametrize("setting", ["clevel", "typesize", "blocksize"])
def test_true_is_no_number_of_blosc(setting: str) -> None:
    codec = {"name": "blosc", "configuration": {setting: True}}
    with pytest.raises(MetadataError, match="invalid settings"):
        zarrds.create_array(MemoryStore(), shape=3, dtype="f8", codecs=[LITTLE, codec])


# ------------------------------------------------------------------------------ evenly spaced labels


def spaced(first: float) -> xr.Dataset:
    index = xr.indexes.RangeIndex.arange(first, first + 4, 1.0, dim="x")
    return xr.Dataset({"v": ("x", np.arange(4.0))}).assign_coords(xr.Coordinates.from_xindex(index))


def noted(change: Change) -> MemoryStore:
    store = MemoryStore()
    zarrds.save(spaced(0.0), store)
    edit(store, "zarr.json", lambda d: change(d["consolidated_metadata"]["zarrds"]["v"]["range_indexes"]["x"]))
    edit(store, "v/.zarrds/.zarrds.json", lambda d: change(d["range_indexes"]["x"]))
    return store


def test_a_step_that_is_not_said_follows_from_the_others() -> None:
    store = noted(lambda labels: labels.pop("step"))
    assert opened(store).x.values.tolist() == [0.0, 1.0, 2.0, 3.0]
    zarrds.save(spaced(4.0), store, append_dim="x")
    assert opened(store).x.values.tolist() == list(range(8))


@pytest.mark.parametrize(
    "change",
    [
        {"start": 10**400},
        {"start": None},
        {"stop": "4"},
        {"step": [1.0]},
        {"size": True},
        {"size": None},
        {"size": 4.0},
        {"dimension": ["x"]},
        {"dimension": None},
        {"dtype": ["float64"]},
        {"attributes": [1]},
    ],
    ids=lambda change: str(change)[:24],
)
@pytest.mark.filterwarnings("ignore:.*evenly spaced labels")
def test_labels_that_are_described_wrongly_are_left_out(change: dict[str, Any]) -> None:
    store = noted(lambda labels: labels.update(change))
    assert "x" not in opened(store).coords
    zarrds.rename(store, {"v": "w"})
    with pytest.raises(ZarrdsError, match="does not have"):
        zarrds.save(spaced(4.0).rename(v="w"), store, append_dim="x")
    zarrds.save(spaced(4.0).rename(v="w").drop_vars("x"), store, append_dim="x")
    assert opened(store).w.values.tolist() == [0.0, 1.0, 2.0, 3.0] * 2
    with pytest.raises(ZarrdsError, match="no labels"):
        zarrds.save(spaced(1.0).rename(v="w"), store, region="auto")


# ------------------------------------------------------------------------- what stands for missing ones


@pytest.mark.parametrize("marker", [[[1, 2]], [[]], [{}], {}, ["x"], True], ids=str)
@pytest.mark.filterwarnings("ignore")
def test_markers_of_any_kind_mark_what_xarray_takes_for_missing(marker: Any) -> None:
    store = MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", np.arange(4.0))}, {"x": np.arange(4.0) + 5}), store)
    for name in ("v", "x"):
        edit(store, f"{name}/zarr.json", lambda d: d["attributes"].update(missing_value=marker))

    def change(root: dict[str, Any]) -> None:
        for document in root["consolidated_metadata"]["metadata"].values():
            document["attributes"]["missing_value"] = marker

    edit(store, "zarr.json", change)
    zarrds.index(store)
    zarrds.statistics(store)
    assert zarrds.verify(store, workers=1).n_arrays == 2
    assert zarrds.find(store, "v >= 0").sizes["x"] == (opened(store).v >= 0).sum()


# --------------------------------------------------------------------------------- notes of pandas' kinds


@pytest.mark.filterwarnings("ignore:.*'v'")
@pytest.mark.parametrize(
    "note",
    [
        {"kind": 3},
        {"dtype": ["Int64"]},
        {"dtype": "Int64", "missing": []},
        {"dtype": "Int64", "missing": True},
        {"dtype": "Int64", "missing": 10**400},
        {"dtype": "objects[integer]", "missing": "x", "na": "None"},
        {"dtype": "objects[integer]", "missing": 1, "na": []},
        {"dtype": "category", "ordered": 1, "categories": "w"},
        {"dtype": "interval", "closed": [], "bounds": "w", "subtype": {"dtype": "int64"}},
    ],
    ids=lambda note: str(note)[:40],
)
def test_what_is_noted_of_labels_wrongly_counts_for_nothing(note: dict[str, Any]) -> None:
    ds = xr.Dataset({"v": ("x", pd.array([1, None, 3], "Int64")), "w": ("x", [1, 2, 3])})
    for options, n in ({"append_dim": "x"}, 2), ({"mode": "a"}, 1):
        store = MemoryStore()
        zarrds.save(ds, store)
        edit(store, "v/.zarrds/.zarrds.json", lambda d: d.update(pandas=note))
        edit(store, "zarr.json", lambda d: d["consolidated_metadata"]["zarrds"]["v"].update(pandas=note))
        with pytest.warns(UserWarning, match="'v'"):
            assert opened(store).v.dtype != "Int64"
        zarrds.save(ds, store, **options)
        values = opened(store).v.astype(float).values
        np.testing.assert_array_equal(values, [1, np.nan, 3] * n)


def categories_of_categories(*names: str) -> MemoryStore:
    """A store in which each array is the categories of the one before it."""
    store = MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", pd.Categorical(["a", "a"]))}), store)

    def change(root: dict[str, Any]) -> None:
        consolidated = root["consolidated_metadata"]
        metadata, notes = consolidated["metadata"], consolidated["zarrds"]
        for number, (name, following) in enumerate(pairwise(names)):
            note = {"dtype": "category", "ordered": False, "categories": following}
            metadata[name] = metadata["v"] if name == "v" else {**metadata["v"], "dimension_names": [f"d{number}"]}
            notes[name] = {"must_understand": False, "pandas": note}

    edit(store, "zarr.json", change)
    return store


def test_parts_that_have_parts_without_end() -> None:
    longer = [f"c{i}" for i in range(12)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert "v" in opened(categories_of_categories("v", *longer, "v_categories"))
        assert "r1" in opened(categories_of_categories("r1", "r2", "r1"))
    assert sum("too many parts" in str(each.message) for each in caught) > 2
    assert sum("a part of itself" in str(each.message) for each in caught) == 2
    names = ["v", *(f"c{i}" for i in range(1100)), "v_categories"]  # more than calls can be nested
    for parts, dropped in ((names, "v"), (["r1", "r2", "r1"], "r1")):
        found = xr.open_dataset(categories_of_categories(*parts), engine="zarrds", drop_variables=[dropped])
        assert not {*found.variables}.intersection(parts)


def test_texts_of_attributes_take_no_more_memory_than_they_have() -> None:
    """NumPy pads all texts of an array to the longest."""
    texts = ["x" * 100_000, *["y"] * 10_000]
    for note in (
        {"kind": "texts", "shape": [len(texts)]},
        {"kind": "texts", "shape": [2]},
        {"kind": "objects", "shape": [2**24]},
    ):
        store = MemoryStore()
        zarrds.save(xr.Dataset({"v": ("x", [1.0])}), store)

        def change(root: dict[str, Any], note: dict[str, Any] = note) -> None:
            root["consolidated_metadata"]["metadata"]["v"]["attributes"]["a"] = texts
            root["consolidated_metadata"]["zarrds"]["v"]["attributes"] = {"a": note}

        edit(store, "zarr.json", change)
        tracemalloc.start()
        try:
            assert opened(store).v.attrs["a"] == texts
            assert tracemalloc.get_traced_memory()[1] < 2**25
        finally:
            tracemalloc.stop()


def test_stored_categories_that_are_not_unique() -> None:
    """They are none, as when they are read: an append says so."""
    store = MemoryStore()
    ds = xr.Dataset({"v": ("x", pd.Categorical(list("abc")))})
    zarrds.save(ds, store)
    zarrds.open_array(store, path="v_categories", mode="r+")[...] = np.array(list("aab"), object)
    with pytest.warns(UserWarning, match="not unique"):
        assert opened(store).v.values.tolist() == [0, 1, 2]
    for options in ({"append_dim": "x"}, {"mode": "r+"}, {"region": {"x": slice(0, 3)}}):
        # what is stored is read as integers
        with pytest.raises(EncodingError, match="Mismatched dtypes for variable v"):
            zarrds.save(ds, store, **options)


def test_attributes_that_are_nested_deeper_than_calls() -> None:
    store = MemoryStore()
    zarrds.create_array(store, path="v", shape=2, dtype="i4")
    document = bytes(store.get("v/zarr.json") or b"")
    deep = b'{"a": ' + b"[" * 600 + b"]" * 600
    store.set("v/zarr.json", document.replace(b'"attributes": {', b'"attributes": ' + deep))
    array = zarrds.open_array(store, path="v")
    with pytest.raises(MetadataError, match="'a' is nested too deeply"):
        array.attrs["a"]


def test_settings_of_codecs_that_are_nested_deeper_than_calls() -> None:
    nested: Any = 1
    for _ in range(5000):
        nested = [nested]
    codec = {"name": "zstd", "configuration": {"level": nested}}
    with pytest.raises(EncodingError, match="nested too deeply"):
        zarrds.create_array(MemoryStore(), shape=2, dtype="i4", codecs=[codec])


def test_attributes_beside_settings_of_codecs_that_are_nested_deeper_than_calls() -> None:
    store = MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", [1.0, 2.0])}), store, zarr_format=2)
    deep = '{"a": [' * 400 + "]}" * 400
    for key in ("v/.zarray", ".zmetadata"):
        edit(store, key, lambda d: d.get("metadata", {"v/.zarray": d})["v/.zarray"]["compressor"].update(clevel="deep"))
        store.set(key, bytes(store.get(key) or b"").replace(b'"deep"', deep.encode()))
    zarrds.update_attrs(store, {"b": 1}, "v")
    assert zarrds.open_array(store, path="v").attrs["b"] == 1


@pytest.mark.filterwarnings("ignore:Duplicate dimension names")
def test_a_dimension_of_two_lengths_in_one_array() -> None:
    store = MemoryStore()
    zarrds.save(xr.Dataset({"v": (("y", "x"), np.zeros((3, 2)))}), store)
    for key, names in (
        ("v/zarr.json", lambda d: d),
        ("zarr.json", lambda d: d["consolidated_metadata"]["metadata"]["v"]),
    ):
        edit(store, key, lambda d, names=names: names(d).update(dimension_names=["x", "x"]))
    with pytest.raises(MetadataError, match="conflicting sizes for dimension 'x'"):
        opened(store)
    with pytest.raises(LabelError, match="disagree about the size of dimension 'x'"):
        zarrds.save(xr.Dataset({"w": ("x", [1.0, 2.0])}), store, mode="a")


def test_what_is_noted_of_the_order_of_an_array_that_has_another_shape_by_now() -> None:
    """It is left out where an array is written anew."""
    store, target = MemoryStore(), MemoryStore()
    ds = xr.Dataset({"v": (("y", "x"), np.zeros((3, 2)))}, {"x": [1, 2]})
    zarrds.save(ds, store)

    note = json.loads(bytes(store.get("zarr.json") or b""))["consolidated_metadata"]["zarrds"]["x"]["order"]
    edit(store, "zarr.json", lambda d: d["consolidated_metadata"]["zarrds"]["v"].update(order=note))
    zarrds.rechunk(store, target, chunks={"y": 1})
    xr.testing.assert_identical(opened(target), ds)


def test_attributes_that_are_nested_too_deeply_to_be_shown() -> None:
    nested: Any = 1
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(MetadataError, match="nested too deeply"):
        json_value({"a": nested})
    with pytest.raises(MetadataError, match="'a' is nested too deeply"):
        cdl_of("x", {}, [], {"a": nested})


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_other_attributes_than_one_that_is_nested_too_deeply_are_edited(zarr_format: Any) -> None:
    store = MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", [1.0], {"a": "deep"})}, attrs={"a": "deep"}), store, zarr_format=zarr_format)
    for key in list(store.list_prefix()):
        if "deep" in (text := bytes(store.get(key) or b"").decode("latin-1")):
            store.set(key, text.replace('"deep"', "[" * 600 + "]" * 600).encode("latin-1"))
    for variable in ("v", None):
        zarrds.update_attrs(store, {"b": 1}, variable)
    found = opened(store)
    assert found.attrs["b"] == found.v.attrs["b"] == 1
    assert zarrds.verify(store).ok

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import FORMATS, files, small
from zarrds.errors import EncodingError, UnsupportedError, ZarrdsError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.zarr"


def objects(*values: Any) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


UNSUPPORTED = {
    "dicts": (xr.Dataset({"bad": ("x", objects({"a": 1}, {"b": 2}))}), "bad"),
    "lists": (xr.Dataset({"bad": ("x", objects([1], [2, 3]))}), "bad"),
    "mixed": (xr.Dataset({"bad": ("x", objects(1, "a", 2.5))}), "bad"),
    "strings and bytes": (xr.Dataset({"bad": ("x", objects("a", b"b"))}), "bad"),
    "Python objects": (xr.Dataset({"bad": ("x", objects(object(), object()))}), "bad"),
    "periods": (xr.Dataset(coords={"bad": pd.period_range("2000", periods=2, freq="M")}), "bad"),
    "intervals": (xr.Dataset(coords={"bad": pd.interval_range(0, 2)}), "bad"),
    "MultiIndex": (
        xr.Dataset(coords={"y": ("bad", [1, 2]), "z": ("bad", ["a", "b"])}).set_index(bad=["y", "z"]),
        "bad",
    ),
    "attribute set": (xr.Dataset({"v": ("x", [1], {"bad": {1, 2}})}), "bad"),
    "attribute object": (xr.Dataset({"v": ("x", [1])}, attrs={"bad": object()}), "bad"),
    "attribute dtype": (xr.Dataset({"v": ("x", [1], {"bad": np.dtype("f4")})}), "bad"),
    "attribute complex": (xr.Dataset({"v": ("x", [1], {"bad": 1j})}), "bad"),
    "attribute name of a variable": (xr.Dataset({"v": ("x", [1], {5: "bad"})}), "5"),
    "attribute name": (xr.Dataset({"v": ("x", [1])}, attrs={5: "bad"}), "5"),
    "attribute time": (xr.Dataset(attrs={"bad": np.datetime64("2000-01-01", "ns")}), "bad"),
    "dimension": (xr.Dataset({"v": ((5,), [1, 2])}), "5"),
    "dimension tuple": (xr.Dataset({"v": (("a", "b"), [[1]])}).rename({"a": ("bad", 1)}), "bad"),
    "name number": (xr.Dataset({5: ("x", [1])}), "5"),
    "name empty": (xr.Dataset({"": ("x", [1])}), "''"),
    "name slash": (xr.Dataset({"bad/name": ("x", [1])}), "bad/name"),
    "name dots": (xr.Dataset({"..": ("x", [1])}), ".."),
    "name dot": (xr.Dataset({".": ("x", [1])}), "'.'"),
    "name backslash": (xr.Dataset({"bad\\name": ("x", [1])}), "bad"),
    "name NUL": (xr.Dataset({"bad\0": ("x", [1])}), "bad"),
    "name surrogate": (xr.Dataset({"bad\ud800": ("x", [1])}), "bad"),
    "name zarr.json": (xr.Dataset({"zarr.json": ("x", [1])}), "zarr.json"),
    "name .zarray": (xr.Dataset({".zarray": ("x", [1])}), ".zarray"),
    "name of unfinished files": (xr.Dataset({".bad.zarrds-partial": ("x", [1])}), "bad"),
    "scale and text": (xr.Dataset({"bad": ("x", ["a", "b"], {}, {"scale_factor": 2.0, "dtype": "i2"})}), "bad"),
    "time units": (
        xr.Dataset({"bad": ("x", np.array(["2000-01-01"], "M8[ns]"), {}, {"units": "parsecs since then"})}),
        "bad",
    ),
}


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported(tmp_path: Path, case: str, zarr_format: int) -> None:
    ds, word = UNSUPPORTED[case]
    ds = ds.assign(good=("n", [1, 2, 3]))
    path = tmp_path / "x.zarr"
    with pytest.raises((ZarrdsError, NotImplementedError, TypeError, ValueError)) as caught:
        zarrds.save(ds, path, zarr_format=zarr_format)
    assert word in str(caught.value)
    assert os.listdir(tmp_path) == []
    zarrds.save(small(), path, zarr_format=zarr_format)
    before = files(path)
    with pytest.raises(type(caught.value)):
        zarrds.save(ds, path, mode="w", zarr_format=zarr_format)
    assert files(tmp_path / "x.zarr") == before


def test_unsupported_in_a_tree(path: Path) -> None:
    tree = xr.DataTree.from_dict({"/": small(), "/a/b": xr.Dataset({"bad": ("z", objects({"a": 1}))})})
    with pytest.raises(ZarrdsError, match="bad"):
        zarrds.save(tree, path)
    assert not path.exists()
    for encoding in ({"/nowhere": {}}, {"/": {"nothing": {}}}):
        with pytest.raises(ZarrdsError, match=r"nowhere|nothing"):
            zarrds.save(xr.DataTree(small()), path, encoding=encoding)
    assert not path.exists()


def test_errors_name_the_store_and_the_group() -> None:
    store = zarrds.MemoryStore()
    tree = xr.DataTree.from_dict({"/a": xr.Dataset({"v": ("x", [1], {"bad": b"bytes"})})})
    with pytest.raises(EncodingError, match="'a/v'") as caught:
        zarrds.save(tree, store)
    assert caught.value.path == store.path
    with pytest.raises(EncodingError, match="dictionary"):
        zarrds.save(xr.Dataset({"v": ("x", [1])}), store, encoding={"v": 3})
    with pytest.raises(UnsupportedError, match="zarr_format"):
        zarrds.save(xr.Dataset(), store, zarr_format=1)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(UnsupportedError, match="MultiIndex"):
        zarrds.save(xr.Dataset(coords={"y": ("x", [1]), "z": ("x", [2])}).set_index(x=["y", "z"]), store)
    with pytest.raises(EncodingError, match="Convert"):
        zarrds.save(xr.Dataset({"v": ("x", pd.Categorical(["a"]))}), store)
    assert list(store.list_prefix()) == []


@pytest.mark.parametrize("obj", [np.zeros(3), {"v": 1}, None, small().v.variable, "x"], ids=lambda o: type(o).__name__)
def test_what_is_no_dataset(path: Path, obj: Any) -> None:
    with pytest.raises(EncodingError, match="a Dataset, DataArray or DataTree") as caught:
        zarrds.save(obj, path)
    assert isinstance(caught.value, TypeError)
    assert not path.exists()

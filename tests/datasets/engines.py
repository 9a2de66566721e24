"""Stores through zarrds, xarray's zarr engine (zarr-python) and TensorStore, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import xarray as xr

from tests.releases import XARRAY, assert_identical

__all__ = ["assert_same", "assert_same_encoding", "documents", "normalised", "open_both", "read_with_tensorstore"]


def open_both(path: Path, **options: Any) -> tuple[xr.Dataset, xr.Dataset]:
    """The store through zarrds and through zarr-python, loaded."""
    ours = xr.open_dataset(path, engine="zarrds", **options).load()
    theirs = xr.open_dataset(path, engine="zarr", **options).load()
    return ours, theirs


def dtypes(ds: xr.Dataset) -> dict[Any, Any]:
    # strings of any length are objects in zarrds, as in the netCDF engines, and StringDType in the zarr engine
    return {n: np.dtype(object) if v.dtype.kind == "T" else v.dtype for n, v in ds.variables.items()}


def assert_same(actual: xr.Dataset, expected: xr.Dataset) -> None:
    """Identical, and more than that: dtypes, index types, the order of names, dimensions and their order."""
    assert_identical(actual, expected)
    assert dtypes(actual) == dtypes(expected)
    assert {n: type(i) for n, i in actual.indexes.items()} == {n: type(i) for n, i in expected.indexes.items()}
    assert {n: v.dims for n, v in actual.variables.items()} == {n: v.dims for n, v in expected.variables.items()}


def assert_same_encoding(actual: xr.Dataset, expected: xr.Dataset) -> None:
    """The encodings agree, but for codecs, which each engine gives as its own objects."""
    codecs = {"compressors", "filters", "serializer"}
    for name, variable in actual.variables.items():
        ours = {k: v for k, v in variable.encoding.items() if k not in codecs}
        theirs = {k: v for k, v in expected.variables[name].encoding.items() if k not in codecs | {"source"}}
        ours.pop("source", None)
        if XARRAY < (2026, 7):  # its zarr engine does not tell this one of format 3
            ours.pop("fill_value", None)
        np.testing.assert_equal(ours, theirs)


def documents(path: Path) -> dict[str, Any]:
    """Of each array: shape, chunks, dtype and codecs, as its own document says."""
    found = {}
    for file in [*path.rglob("zarr.json"), *path.rglob(".zarray")]:
        document = json.loads(file.read_text())
        if file.name == ".zarray" or document["node_type"] == "array":
            kept = "shape chunk_grid chunks data_type dtype codecs compressor filters order".split()
            found[str(file.parent.relative_to(path))] = {k: document[k] for k in kept if k in document}
    return found


def normalised(found: dict[str, Any]) -> dict[str, Any]:
    """`documents`, without what can be left out, and without the byte order, which xarray makes native."""
    for document in found.values():
        for codec in document.get("codecs", []):
            codec.get("configuration", {}).pop("typesize", None)
            if not codec.get("configuration", True):
                del codec["configuration"]
        if document.get("compressor"):
            document["compressor"].setdefault("checksum", False)
        if isinstance(document.get("dtype"), str):
            document["dtype"] = document["dtype"].replace(">", "<")
    return found


def read_with_tensorstore(path: Path, zarr_format: int) -> np.ndarray[Any, Any]:
    driver = "zarr3" if zarr_format == 3 else "zarr"
    return np.asarray(
        tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": str(path)}}).result().read().result()
    )

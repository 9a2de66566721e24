"""Equality of nodes: NaN is equal to NaN, and values of other types are not."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import files
from zarrds.metadata.equality import is_same
from zarrds.metadata.formats import v2, v3
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node

NAN = math.nan
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
)
ODD = {"units": "K", "valid_range": [NAN, {"deep": [NAN, 1, True]}], "missing_value": NAN}
V3_ARRAY = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [4],
    "data_type": "float32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "codecs": [
        {"name": "numcodecs.fixedscaleoffset", "configuration": {"scale": NAN, "offset": NAN, "dtype": "<f4"}},
        {"name": "bytes", "configuration": {"endian": "little"}},
    ],
    "fill_value": "NaN",
    "dimension_names": ["x"],
    "attributes": ODD,
    "zarrds": {"must_understand": False, "order": {"first": [NAN], "last": [NAN]}},
    "other": {"must_understand": False, "value": NAN},
}
V2_ARRAY = {
    ".zarray": {
        "zarr_format": 2,
        "shape": [4],
        "chunks": [2],
        "dtype": "<c8",
        "compressor": None,
        "filters": [{"id": "fixedscaleoffset", "scale": NAN, "offset": NAN, "dtype": "<f4"}],
        "fill_value": [NAN, NAN],
        "order": "C",
        "zarrds": {"must_understand": False, "order": {"first": [NAN]}},
    },
    ".zattrs": {**ODD, "_ARRAY_DIMENSIONS": ["x"]},
}
DOCUMENTS = {
    "v3 array": V3_ARRAY,
    "v2 array": V2_ARRAY,
    "v3 group": {"zarr_format": 3, "node_type": "group", "attributes": ODD},
    "v2 group": {".zgroup": {"zarr_format": 2}, ".zattrs": ODD},
}


def parsed(document: Any) -> Node:
    """The node of a document, whose NaNs are objects of their own."""
    raw = json.loads(json.dumps(document))
    node: Node = (v3 if "zarr_format" in document else v2).parse(raw)
    return node


def places(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [where, *(place for name, part in inner for place in places(part, (*where, name)))]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_equal_documents_with_nan_in_every_place(name: str) -> None:
    one, other = parsed(DOCUMENTS[name]), parsed(DOCUMENTS[name])
    assert one == other
    assert (one != other) is False
    assert one in [other]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_nan_that_became_a_number(name: str) -> None:
    document = DOCUMENTS[name]
    for *above, last in places(document)[1:]:
        changed: Any = copy.deepcopy(document)
        parent = changed
        for part in above:
            parent = parent[part]
        if isinstance(parent[last], float) and math.isnan(parent[last]):
            parent[last] = 0.5
            assert parsed(changed) != parsed(document), (above, last)


def test_an_array_is_no_group() -> None:
    assert parsed(V3_ARRAY) != parsed(DOCUMENTS["v3 group"])
    assert parsed(V3_ARRAY) != "something else"
    assert isinstance(parsed(V3_ARRAY), ArrayMetadata)
    assert isinstance(parsed(DOCUMENTS["v2 group"]), GroupMetadata)


@given(VALUES)
def test_what_json_gives_back_is_the_same(value: Any) -> None:
    assert is_same(value, json.loads(json.dumps(value)))


@given(VALUES, VALUES)
def test_what_json_writes_differently_is_not(one: Any, other: Any) -> None:
    texts = [json.dumps(value, sort_keys=True) for value in (one, other)]
    assert is_same(one, other) == (texts[0] == texts[1])


def test_deeply_nested() -> None:
    one: Any = NAN
    other: Any = float("nan")
    for _ in range(100_000):
        one, other = [one], [other]
    assert is_same(one, other)
    while one:  # or it would be taken apart by recursion
        one, other = (x[0] if isinstance(x, list) else None for x in (one, other))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (np.float32("nan"), np.float32("nan"), True),
        (np.float32("nan"), -np.float32("nan"), True),
        (np.float32("nan"), np.float64("nan"), False),
        (np.float64("nan"), NAN, True),
        (np.complex64(complex(NAN, 1)), np.complex64(complex(NAN, 1)), True),
        (np.complex64(complex(NAN, 1)), np.complex64(complex(NAN, 2)), False),
        (np.datetime64("NaT", "s"), np.datetime64("NaT", "s"), True),
        (np.datetime64("NaT", "s"), np.datetime64("NaT", "ns"), False),
        (np.array((NAN, 1), "f4,i4")[()], np.array((NAN, 1), "f4,i4")[()], True),
        (np.array((NAN, 1), "f4,i4")[()], np.array((NAN, 2), "f4,i4")[()], False),
        (np.array([NAN, -NAN]), np.array([-NAN, NAN]), True),
        ((1, 2), [1, 2], True),
        ([1], [True], False),
        ([1], [1.0], False),
        ([0.0], [-0.0], False),
    ],
)
def test_scalars(one: Any, other: Any, same: bool) -> None:
    assert is_same(one, other) is same
    assert is_same(other, one) is same


def test_attributes_that_change_their_type_alone(tmp_path: Path) -> None:
    ds = xr.Dataset({"x": ("x", [1])}, attrs={"flag": 1})
    zarrds.save(ds, tmp_path / "s.zarr")
    zarrds.save(ds.assign_attrs(flag=True), tmp_path / "s.zarr", mode="a")
    assert xr.open_dataset(tmp_path / "s.zarr", engine="zarrds").attrs["flag"] is True


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_regions_rewrite_no_documents(tmp_path: Path, zarr_format: Any) -> None:
    path = tmp_path / "s.zarr"
    attrs = {"valid": NAN}
    ds = xr.Dataset({"v": ("x", np.array([1.0, NAN, 3, 4]), attrs)}, {"x": [1.0, 2, 3, 4]}, attrs)
    zarrds.save(ds, path, zarr_format=zarr_format, encoding={"v": {"chunks": (2,)}})
    before = {name: (path / name).stat() for name in files(path) if "z" in Path(name).name}
    assert before
    zarrds.save(ds.isel(x=slice(0, 2)), path, region={"x": slice(0, 2)})
    zarrds.save(ds.isel(x=slice(0, 2)), path, region="auto")
    assert {name: (path / name).stat() for name in before} == before


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_nan_in_groups_is_no_conflict(tmp_path: Path, zarr_format: Any) -> None:
    path = tmp_path / "s.zarr"
    ds = xr.Dataset({"v": ("x", np.arange(4.0))}, attrs={"valid": [NAN]})
    zarrds.save(ds, path, zarr_format=zarr_format)
    zarrds.save(ds.rename(x="y").chunk(y=2), path, group="below")
    zarrds.save(ds.chunk(x=2), path, append_dim="x")
    assert xr.open_dataset(path, engine="zarrds").sizes["x"] == 8

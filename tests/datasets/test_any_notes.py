"""Whatever stands in place of the notes of labels, a store can be opened."""

from __future__ import annotations

import json
import warnings
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrds
from tests.datasets.index_kinds import dataset_of
from zarrds.errors import ZarrdsError

OPTIONS: list[dict[str, Any]] = [
    {"index": "pandas"},
    {"index": "auto", "index_threshold": 2},
    {"index": "lazy"},
    {"index": "none"},
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from(["x", "y", "v", "w", "n", "x_bounds", "x_categories", "", "..", "a/b", "other"])
dtypes = st.sampled_from(
    [
        *"category interval Int64 UInt8 boolean Float32 str string string[python] range cftime float64 object".split(),
        *"period[M] period[3D] period[?] timedelta64[s] datetime64[s] datetime64[ns] datetime64[D]".split(),
        *["datetime64[us, Europe/London]", "datetime64[ns, ../../etc]", "datetime64[s, +05:30]", "period[W-WED]"],
    ]
)
descriptions = st.fixed_dictionaries(
    {"dtype": dtypes | json_values},
    optional={
        "ordered": st.booleans() | json_values,
        "categories": names | json_values,
        "bounds": names | json_values,
        "closed": st.sampled_from(["left", "both", "no"]) | json_values,
        "subtype": st.fixed_dictionaries({"dtype": dtypes}) | json_values,
        "missing": st.integers(-3, 3) | json_values,
        "freq": st.sampled_from(["D", "h", "2MS", "-1D", "W-WED", "__import__"]) | json_values,
        "start": st.integers(-2, 2) | json_values,
        "step": st.integers(-2, 2) | json_values,
        "level": dtypes | json_values,
    },
)
multi_indexes = st.fixed_dictionaries(
    {}, optional={"dimension": names | json_values, "levels": st.lists(names, max_size=3) | json_values}
)
orders = st.fixed_dictionaries(
    {},
    optional={
        "size": st.just(6) | json_values,
        "order": st.sampled_from(["increasing", "decreasing"]) | json_values,
        "unique": st.booleans() | json_values,
        "step": st.integers(-3, 10) | json_values,
        "block": st.sampled_from([6, 3, 0, -6]) | json_values,
        "first": st.lists(st.integers(0, 50), max_size=2) | json_values,
        "last": st.lists(st.integers(0, 50), max_size=2) | json_values,
        "crc32c": st.lists(st.integers(0, 2**32), max_size=2) | json_values,
    },
)
numbers = st.integers(-2, 8) | st.floats(-2, 8) | st.sampled_from([10**400, -(10**400)])
evenly_spaced = st.fixed_dictionaries(
    {},
    optional={
        "dimension": names | json_values,
        "start": numbers | json_values,
        "stop": numbers | json_values,
        "step": numbers | json_values,
        "size": st.just(6) | json_values,
        "dtype": st.sampled_from(["float64", "int8", "object"]) | json_values,
        "attributes": st.just({"units": "m"}) | json_values,
    },
)
indexes = st.builds(
    lambda spaced, others: spaced | others,
    evenly_spaced,
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["none", "pandas", "range", "regions", "points", "other"]) | json_values},
        optional={
            "coordinates": st.lists(names, max_size=3) | json_values,
            "interval": st.sampled_from(["end", "length"]) | json_values,
            "contig_id": st.lists(names, max_size=2) | json_values,
        },
    ),
)
kept_types = st.fixed_dictionaries(
    {
        "kind": st.sampled_from("bytes float list tuple dict numbers texts objects hidden apart".split())
        | st.just("bytes array")
        | json_values
    },
    optional={
        "value": st.sampled_from(["", "AAAA", "nan"]) | json_values,
        "items": st.dictionaries(st.sampled_from(["0", "1", "a"]), json_values, max_size=2) | json_values,
        "keys": st.lists(st.lists(json_values, max_size=3), max_size=2) | json_values,
        "dtype": st.sampled_from(["int8", "float64", "M8[s]"]) | json_values,
        "shape": st.lists(st.integers(0, 3), max_size=2) | json_values,
        "note": json_values,
    },
)
notes = st.fixed_dictionaries(
    {},
    optional={
        "coordinate": st.booleans() | json_values,
        "coordinates_attribute": json_values,
        "from_encoding": st.lists(st.just("units")) | json_values,
        "index": indexes | json_values,
        "range_indexes": st.dictionaries(names, evenly_spaced | json_values, max_size=2) | json_values,
        "attributes": st.dictionaries(st.sampled_from(["units", "other"]), kept_types | json_values) | json_values,
        "pandas": descriptions | json_values,
        "multi_index": multi_indexes | json_values,
        "range_dimensions": st.lists(names, max_size=3) | json_values,
        "order": orders | json_values,
        "id": json_values,
        "complete": json_values,
    },
)


@pytest.mark.parametrize("dtype", ["period[Q-XXX]", "period[XX]", "period[0D]", f"period[{10**17}D]"])
@pytest.mark.parametrize("way", [{"append_dim": "x"}, {"region": {"x": slice(0, 2)}}])
def test_periods_that_are_none_count_for_nothing(dtype: str, way: dict[str, Any]) -> None:
    """Missing text went through a dtype that is none to pandas, whose error was all that was told."""
    store = zarrds.MemoryStore()
    ds = xr.Dataset({"v": ("x", np.array(["a", "b"], object))})
    zarrds.save(ds, store)
    noted = {"must_understand": False, "pandas": {"dtype": dtype}}
    store.set("v/.zarrds/.zarrds.json", json.dumps(noted).encode())
    store.set("zarr.json", json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}).encode())
    assert not zarrds.verify(store).ok
    missing = ds.copy(data={"v": np.array([None, "c"], object)})
    for new in (missing, missing.isel(x=[0, 0])):
        with suppress(ZarrdsError):
            zarrds.save(new, store, **way)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the note, where it is still there
        found = xr.open_dataset(store, engine="zarrds").v.values.tolist()
    assert found[-1] == "b" or pd.isna(found[-1])


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(["int64-sorted", "categorical", "interval-int", "text-str", "numpy-bool", "datetime-s"]),
    added=st.dictionaries(st.sampled_from(["x", "v", "w", "y", "n", "x_bounds", "x_categories"]), notes, min_size=1),
    options=st.sampled_from(OPTIONS),
)
def test_any_notes(kind: str, added: dict[str, Any], options: dict[str, Any]) -> None:
    """Opening never fails, nor does anything that edits or checks the store."""
    store = zarrds.MemoryStore()
    ds = dataset_of(kind).assign_coords(n=("x", [*"abcdef"]))
    zarrds.save(ds, store)
    for name, note in added.items():
        if store.get(f"{name}/zarr.json") is not None:
            store.set(f"{name}/.zarrds/.zarrds.json", json.dumps({**note, "must_understand": False}).encode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = xr.open_dataset(store, engine="zarrds", consolidated=False, **options)
    assert found.sizes["x"] == 6
    assert set(found.xindexes) <= {*found.variables}
    assert zarrds.verify(store, workers=1).n_arrays >= 4
    zarrds.rename(store, {"v": "renamed"})
    zarrds.drop_vars(store, "w")

"""dask arrays of text are written block by block; what needs a look at all of them is looked at then."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import Format, files, load, objects
from tests.releases import assert_identical
from zarrds import MemoryStore
from zarrds.errors import EncodingError, ZarrdsError

dask = pytest.importorskip("dask")
da: Any = pytest.importorskip("dask.array")

TEXT = np.dtypes.StringDType
NA = TEXT(na_object=np.nan)


def column(values: Any, chunks: int = 2) -> xr.Dataset:
    return xr.Dataset({"c": ("x", da.from_array(values, chunks=chunks))})


VALUES: dict[str, Any] = {
    "text": objects("a", "bb", "ccc", ""),
    "missing later": objects("a", "bb", None, "x"),
    "missing first": objects(None, "bb", None, "x"),
    "StringDType": np.array(["a", "b", ""], TEXT()),
    "StringDType with NaN": np.array(["a", np.nan, "<NA"], NA),
}


@pytest.mark.parametrize("case", VALUES)
def test_blocks_are_computed_once_and_one_at_a_time(path: Path, case: str, zarr_format: Format) -> None:
    seen: list[int] = []

    def look(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        seen.append(len(values))
        return values

    ds = column(VALUES[case], 1)
    watched = ds.assign(c=ds.c.copy(data=ds.c.data.map_blocks(look, dtype=ds.c.dtype, meta=ds.c.data._meta)))
    with warnings.catch_warnings(), dask.config.set(scheduler="synchronous"):
        warnings.simplefilter("error")
        zarrds.save(watched, path, zarr_format=zarr_format, encoding={"c": {"chunks": (1,)}})
    assert max(seen) == 1
    assert sum(seen) <= ds.c.size + 4  # what its objects are, the first ones tell
    found = load(path)
    assert_identical(found, ds.compute())
    assert found.c.dtype == ds.c.dtype
    xr.testing.assert_equal(load(path, "zarr"), ds.compute().astype(object))


STORED: dict[str, Any] = {
    "dask": column(objects("a", "b")),
    "numpy": xr.Dataset({"c": ("x", objects("a", "b"))}),
    "fixed": xr.Dataset({"c": ("x", np.array(["a", "b"]))}),
    "missing": xr.Dataset({"c": ("x", objects("a", None))}),
    "StringDType": xr.Dataset({"c": ("x", np.array(["a", np.nan], NA))}),
}


@pytest.mark.parametrize("new", [objects("c", "longer", None, "<NA>"), np.array(["c", np.nan, "longer"], NA)])
@pytest.mark.parametrize("stored", STORED)
def test_appends(stored: str, new: Any) -> None:
    store = MemoryStore()
    zarrds.save(STORED[stored], store)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*it is computed", xr.SerializationWarning)
        zarrds.save(column(new), store, append_dim="x")
        zarrds.save(column(new).isel(x=slice(1)), store, region={"x": slice(0, 1)})
    found = xr.open_dataset(store, engine="zarrds").load().c.values
    expected = ["c", *STORED[stored].c.values.tolist()[1:], *new.tolist()]
    assert [v if isinstance(v, str) else None for v in found] == [v if isinstance(v, str) else None for v in expected]


def test_text_that_stands_for_what_is_missing(path: Path) -> None:
    ds = column(objects("a", "b", "<NA>", None))
    zarrds.save(ds, path)
    assert load(path).c.values[2] == "<NA>"
    xr.testing.assert_identical(load(path), ds.compute())


@pytest.mark.parametrize("key", ["_FillValue", "missing_value"])
def test_what_stands_for_it_is_asked_for(path: Path, key: str, zarr_format: Format) -> None:
    ds = column(objects("a", None, "c"))
    zarrds.save(ds, path, encoding={"c": {key: "none"}}, zarr_format=zarr_format)
    for engine in ("zarrds", "zarr"):
        xr.testing.assert_equal(load(path, engine), ds.compute())
    assert zarrds.open_array(path, path="c")[...].tolist() == ["a", "none", "c"]
    with pytest.raises(EncodingError, match="missing"):
        zarrds.save(column(objects("a", None, "none")), path, mode="w", encoding={"c": {key: "none"}})


def test_other_objects_behind_text(path: Path) -> None:
    zarrds.save(column(objects("a", "b")), path)
    before = files(path)
    for more in (objects("a", "b", 1), objects("a", "b", b"c")):
        with pytest.raises(ZarrdsError) as caught:
            zarrds.save(column(more), path, append_dim="x")
        assert caught.value.key == "c"
        assert files(path) == before
    later = path.with_name("later.zarr")
    with pytest.raises(ZarrdsError):
        zarrds.save(column(objects("a", "b", 1)), later, compute=False)
    assert not later.exists()


MISSING = [None, np.nan, pd.NA]


@given(
    st.lists(st.sampled_from(["a", "<NA>", *MISSING]), max_size=12),
    st.sampled_from([(-1,), (-1, 2)]),
    st.booleans(),
    st.data(),
)
@settings(max_examples=15)
def test_what_is_missing_does_not_depend_on_blocks(
    values: list[Any], shape: tuple[int, ...], is_later: bool, choice: Any
) -> None:
    """All of it is pd.NA if any is, else what is missing first."""
    values = [*values, "a"] if len(values) % 2 else ["a", *values, "a"]
    whole = objects(*values).reshape(shape)
    chunks = choice.draw(st.tuples(*(st.integers(1, size) for size in whole.shape)))
    flat = whole.reshape(-1).tolist()
    missing = [value for value in flat if not isinstance(value, str)]
    kind = pd.NA if any(value is pd.NA for value in missing) else next(iter(missing), None)
    ds = xr.Dataset({"c": (tuple("xy"[: whole.ndim]), da.from_array(whole, chunks=chunks))})
    store = MemoryStore()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*it is computed", xr.SerializationWarning)
        delayed = zarrds.save(ds, store, compute=not is_later)
        if is_later:
            delayed.compute()
    found = xr.open_dataset(store, engine="zarrds").c.values.reshape(-1).tolist()
    assert [repr(v) for v in found] == [repr(v if isinstance(v, str) else kind) for v in flat]


def test_coordinates_without_an_index_get_none() -> None:
    """Also one that all of it must be looked at of."""
    texts = da.from_array(objects("a", "b", None), chunks=2)
    ds = xr.Dataset(coords=xr.Coordinates({"x": ("x", texts)}, indexes={}))
    store = MemoryStore()
    zarrds.save(ds, store)
    found = xr.open_dataset(store, engine="zarrds")
    assert "x" not in found.xindexes
    assert found.x.values.tolist() == ["a", "b", None]


@pytest.mark.filterwarnings("ignore:.*it is computed")
@pytest.mark.parametrize("way", ["append", "region"])
@pytest.mark.parametrize("missing", [None, np.nan])
@pytest.mark.parametrize(
    "stored",
    [
        np.array(["a", "b"], object),
        np.array(["a", "b"], np.dtypes.StringDType()),
        pd.array([1.5, 2], dtype="Float32"),
        np.array([b"a", b"b"], object),
    ],
    ids=lambda stored: str(stored.dtype),
)
def test_blocks_of_which_all_is_missing(path: Path, stored: Any, missing: Any, way: str) -> None:
    """A batch in which a column is empty is taken as it is from memory."""
    zarrds.save(xr.Dataset({"v": ("x", stored)}), path)
    nothing = xr.Dataset({"v": ("x", objects(missing, missing))}).chunk(x=1)
    zarrds.save(nothing, path, **({"append_dim": "x"} if way == "append" else {"region": {"x": slice(0, 2)}}))
    found = pd.isnull(np.asarray(load(path).v.values, object)).tolist()
    assert found == ([False, False, True, True] if way == "append" else [True, True])
    if way == "append":
        assert list(load(path).v.values[:2]) == list(stored)

"""Labels that are evenly spaced in the store and have no array: regions and appends find their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import Format, load
from zarrds import MemoryStore
from zarrds.errors import LabelError, LabelNotFoundError, ZarrdsError


def spaced(first: int, n: int, start: float = 0.3, step: float = 0.1, dim: str = "x") -> xr.Dataset:
    """Labels of one range from its place `first` on."""
    begin = start + first * step
    index = xr.indexes.RangeIndex.linspace(begin, begin + n * step, n, endpoint=False, dim=dim)
    return xr.Dataset({"v": (dim, np.arange(n) + 10.0 * first)}).assign_coords(xr.Coordinates.from_xindex(index))


def opened(store: Any) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarrds")


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize("region", ["auto", {"x": "auto"}, {"x": slice(3, 6)}])
@pytest.mark.parametrize("mode", ["r+", "a"])
def test_a_region(path: Path, region: Any, mode: Any, as_array: bool, zarr_format: Format) -> None:
    zarrds.save(spaced(0, 10), path, zarr_format=zarr_format)
    part = spaced(3, 3)
    if as_array:
        part = part.drop_vars("x").assign_coords(x=part.x.values)
    zarrds.save(part, path, region=region, mode=mode)
    found = load(path)
    assert found.v.values.tolist() == [0, 1, 2, 30, 31, 32, 6, 7, 8, 9]
    assert type(found.xindexes["x"]) is xr.indexes.RangeIndex
    xr.testing.assert_identical(found.x, spaced(0, 10).x)


@pytest.mark.parametrize("part", [spaced(8, 3), spaced(-1, 2), spaced(1, 2, start=0.35), spaced(1, 2, step=0.2)])
def test_labels_that_are_not_there(part: xr.Dataset) -> None:
    store = MemoryStore()
    zarrds.save(spaced(0, 10), store)
    for ds in (part, part.drop_vars("x").assign_coords(x=part.x.values)):
        with pytest.raises(LabelNotFoundError) as caught:
            zarrds.save(ds, store, region="auto")
        assert caught.value.key == "x"
    with pytest.raises(LabelError, match="evenly spaced in the store"):
        zarrds.save(part, store, region={"x": slice(4, 4 + part.x.size)})


NOWHERE = [[3.0, np.nan, 0.5], [np.nan], [np.inf], [-np.inf, 0.4], [1e300], [-1e300, 0.4], [1e17], [0.4, np.inf]]


@pytest.mark.parametrize("labels", NOWHERE)
def test_labels_that_are_nowhere(labels: list[float]) -> None:
    store = MemoryStore()
    zarrds.save(spaced(0, 10), store)
    part = xr.Dataset({"v": ("x", np.ones(len(labels)))}, {"x": labels})
    with pytest.raises(LabelNotFoundError, match="evenly spaced in the store") as caught:
        zarrds.save(part, store, region="auto")
    assert caught.value.key == "x"
    with pytest.raises(LabelError):
        zarrds.save(part, store, append_dim="x")
    assert opened(store).v.values.tolist() == list(range(10))


@pytest.mark.parametrize("start", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("step", [0.1, np.nan, 0.0])
def test_ranges_that_are_nowhere(start: float, step: float) -> None:
    store = MemoryStore()
    zarrds.save(spaced(0, 10), store)
    index = xr.indexes.RangeIndex(xr.indexes.range_index.RangeCoordinateTransform(start, start + step, 1, "x", "x"))
    part = xr.Dataset({"v": ("x", [1.0])}).assign_coords(xr.Coordinates.from_xindex(index))
    for option in ({"region": "auto"}, {"append_dim": "x"}):
        with pytest.raises(ZarrdsError):
            zarrds.save(part, store, **option)  # type: ignore[arg-type]  # a keyword each
    assert opened(store).v.values.tolist() == list(range(10))


def test_without_labels() -> None:
    store = MemoryStore()
    zarrds.save(spaced(0, 10), store)
    with pytest.raises(LabelNotFoundError, match="no labels"):
        zarrds.save(spaced(3, 3).drop_vars("x"), store, region="auto")
    zarrds.save(spaced(3, 3).drop_vars("x"), store, region={"x": slice(3, 6)})


@pytest.mark.parametrize("as_array", [False, True])
def test_appends(as_array: bool) -> None:
    store = MemoryStore()
    zarrds.save(spaced(0, 4), store)
    more = spaced(3, 4)
    if as_array:
        more = more.drop_vars("x").assign_coords(x=more.x.values)
    with pytest.raises(LabelError, match="overlap"):
        zarrds.save(more, store, append_dim="x")
    zarrds.save(more, store, append_dim="x", on_overlap="skip")
    found = opened(store).load()
    assert found.v.values.tolist() == [0, 1, 2, 3, 31, 32, 33]
    zarrds.save(more, store, append_dim="x", on_overlap="replace")
    found = opened(store).load()
    assert found.v.values.tolist() == [0, 1, 2, 30, 31, 32, 33]
    np.testing.assert_allclose(found.x.values, 0.3 + np.arange(7) * 0.1)
    assert type(found.xindexes["x"]) is xr.indexes.RangeIndex
    with pytest.raises(LabelError, match="do not go on"):
        zarrds.save(spaced(9, 1), store, append_dim="x")


@given(
    start=st.floats(-1e6, 1e6),
    step=st.floats(1e-3, 1e3).flatmap(lambda step: st.sampled_from([step, -step])),
    size=st.integers(1, 40),
    data=st.data(),
)
def test_any_range(start: float, step: float, size: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, size - 1))
    n = data.draw(st.integers(1, size - first))
    store = MemoryStore()
    zarrds.save(spaced(0, size, start, step), store)
    whole = opened(store)
    part = whole.isel(x=slice(first, first + n)).load() + 1000
    if data.draw(st.booleans()):
        part = part.drop_vars("x").assign_coords(x=part.x.values)
    zarrds.save(part, store, region="auto")
    expected = np.arange(size) * 1.0
    expected[first : first + n] += 1000
    np.testing.assert_array_equal(opened(store).v.values, expected)


@pytest.mark.parametrize(("first", "n"), [(0, 2), (1, 2), (2, 2), (0, 4), (2, 4)])
def test_labels_that_are_stored_are_skipped(first: int, n: int) -> None:
    store = MemoryStore()
    zarrds.save(spaced(0, 4), store)
    zarrds.save(spaced(first, n), store, append_dim="x", on_overlap="skip")
    expected = spaced(0, max(4, first + n))
    found = opened(store)
    xr.testing.assert_allclose(found.x, expected.x)
    assert found.v.values[:4].tolist() == [0, 1, 2, 3]
    assert type(found.xindexes["x"]) is xr.indexes.RangeIndex


def test_labels_of_another_name_than_their_dimension(path: Path) -> None:
    """xarray makes no index of pandas of them."""
    labels = xr.Coordinates.from_xindex(xr.indexes.RangeIndex.linspace(0.0, 1.0, 4, dim="x", coord_name="place"))
    ds = xr.Dataset({"v": ("x", np.arange(4.0))}).assign_coords(labels)
    zarrds.save(ds, path)
    zarrds.save(ds.isel(x=slice(0, 2)) * 2, path, region={"x": slice(0, 2)})
    zarrds.save(ds[["v"]].rename(v="w"), path, mode="a")
    xr.testing.assert_identical(
        xr.open_dataset(path, engine="zarrds").load(), ds.assign(w=ds.v, v=("x", [0.0, 2.0, 2.0, 3.0]))
    )

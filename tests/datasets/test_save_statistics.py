"""Statistics that are noted while data is saved, and kept right by what writes to the store afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds


def dataset(start: int, n: int) -> xr.Dataset:
    values = np.arange(n * 4.0).reshape(n, 4) + 100 * start
    return xr.Dataset({"v": (("t", "x"), values), "w": ("t", np.arange(n))}, {"t": np.arange(start, start + n)})


ENCODING: dict[str, Any] = {"v": {"chunks": (2, 3)}}


def check(store: Any) -> None:
    """That the statistics of all chunks are known and right."""
    for name in ("v", "w"):
        found = zarrds.statistics(store, name).load()
        values = xr.open_dataset(store, engine="zarrds")[name].values
        assert found.known.all()
        assert found["max"].max() == values.max()
        assert found["min"].min() == values.min()
        assert found["count"].sum() == values.size
    assert not zarrds.verify(store).findings


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    store: Any = tmp_path / "v.zarr" if request.param == "local" else zarrds.MemoryStore()
    zarrds.save(dataset(0, 5), store, statistics=True, encoding=ENCODING)
    return store


def test_writes_that_follow(store: Any) -> None:
    pytest.importorskip("dask")
    check(store)
    zarrds.save(dataset(5, 4), store, append_dim="t")
    check(store)
    zarrds.save(dataset(9, 4).chunk({"t": 1}), store, append_dim="t")
    check(store)
    zarrds.save(dataset(2, 2).drop_vars("t") + 1000, store, region={"t": slice(2, 4)})
    check(store)
    zarrds.save(dataset(0, 13)[["v"]] * 2, store, mode="a")
    check(store)
    zarrds.rename(store, {"x": "y"})
    check(store)


def test_they_are_made_when_they_are_asked_for(store: Any) -> None:
    zarrds.save(dataset(5, 1), store, append_dim="t", statistics=False)
    assert not zarrds.statistics(store, "v").known[-1].any()
    zarrds.save(dataset(0, 3), store, mode="w")
    assert not zarrds.statistics(store, "v").known.any()
    zarrds.save(dataset(0, 3), store, mode="w", group="g", statistics=True)
    assert zarrds.statistics(store, "v", group="g").known.all()


def test_an_append_to_a_store_that_was_indexed(tmp_path: Path) -> None:
    zarrds.save(dataset(0, 5), tmp_path / "v.zarr", encoding=ENCODING)
    zarrds.index(tmp_path / "v.zarr")
    zarrds.save(dataset(5, 4), tmp_path / "v.zarr", append_dim="t")
    check(tmp_path / "v.zarr")


def test_elements_cost_speed_and_not_truth(store: Any) -> None:
    zarrds.open_array(store, mode="r+", path="v")[0, 0] = 5000
    known = zarrds.statistics(store, "v").known.values
    assert np.argwhere(~known).tolist() == [[0, 0]]
    assert zarrds.find(store, "v > 4000").v.values.tolist() == [5000]

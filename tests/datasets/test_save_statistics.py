"""Statistics that are noted while data is saved, and kept right by what writes to the store afterwards."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import Counting
from zarrds.chunk_statistics.building import rows_of_all
from zarrds.chunk_statistics.record import read_rows
from zarrds.errors import ChunkError, ConflictError


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


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("selection", ["basic", "oindex", "vindex", "append", "resize"])
def test_elements_and_appends_of_arrays(tmp_path: Path, zarr_format: Any, selection: str) -> None:
    path = tmp_path / "v.zarr"
    zarrds.save(dataset(0, 5), path, statistics=True, encoding=ENCODING, zarr_format=zarr_format)
    array = zarrds.open_array(path, mode="r+", path="v")
    if selection == "append":
        array.append(np.full((4, 4), 7000.0))
        array.append(np.full((9, 2), -7000.0), axis=1)
    elif selection == "resize":
        array.resize((9, 3))
        array[5:] = 3
        array.resize((3, 5))
        array[:, 3:] = 9
    else:
        array[1:3, 2] = 5000
        if selection == "oindex":
            array.oindex[[0, 4], 1:3] = -5000
        elif selection == "vindex":
            array.vindex[[4, 0, 4], [3, 0, 0]] = [6000, -6000, 1]
    values = array[...]
    found = zarrds.statistics(xr.Dataset({"v": lazily(array)}), "v").load()
    assert found.known.all()
    facts = [float(each) for each in (found["min"].min(), found["max"].max(), found["count"].sum(), found["sum"].sum())]
    assert facts == [values.min(), values.max(), values.size, values.sum()]


def lazily(array: Any) -> xr.DataArray:
    """An array of a store as xarray reads it, whatever shape its neighbours have."""
    chosen = xr.open_dataset(array.store, engine="zarrds", drop_variables=["t", "w"])
    return chosen["v"]


def test_elements_of_another_shape_are_noted_by_nobody(store: Any) -> None:
    opened = zarrds.open_array(store, mode="r+", path="v")
    zarrds.open_array(store, mode="r+", path="v").resize((7, 4))
    opened[0, 0] = 5000  # whose row is not put, since the array has another shape by now
    here = lazily(opened).to_dataset()
    assert zarrds.find(here, "v > 4000").v.values.tolist() == [5000]
    assert not zarrds.statistics(here, "v").known[0, 0]


def test_chunks_that_are_lost_stay_so(tmp_path: Path) -> None:
    zarrds.save(dataset(0, 5), tmp_path / "v.zarr", statistics=True, encoding=ENCODING)
    (tmp_path / "v.zarr/v/c.2.0").unlink()
    zarrds.open_array(tmp_path / "v.zarr", mode="r+", path="v").resize((6, 4))
    with pytest.raises(ChunkError, match="missing"):
        zarrds.find(xr.open_dataset(tmp_path / "v.zarr", engine="zarrds", drop_variables=["t", "w"]), "v == 0")


def test_rows_of_many_writers_at_once(tmp_path: Path) -> None:
    ds = xr.Dataset({"v": ("t", np.arange(40.0))})
    zarrds.save(ds, tmp_path / "v.zarr", statistics=True, encoding={"v": {"chunks": (3,)}})

    def write(i: int) -> None:
        zarrds.open_array(tmp_path / "v.zarr", mode="r+", path="v")[2 * i : 2 * i + 2] = i

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(20)))
    # each chunk's last row is of what was stored at the time; who wrote it later noted it again
    found = zarrds.statistics(tmp_path / "v.zarr", "v").load()
    assert found["max"].where(found.known, 0).max() <= 19
    assert zarrds.find(tmp_path / "v.zarr", "v == 19", count=True) == 2
    for row in np.argwhere(found.known.values).ravel():
        assert found["max"][row] == (3 * row + 2) // 2 if row < 13 else 19


MANY: dict[str, dict[str, Any]] = {
    "small": {"chunks": (1, 3)},
    "shards": {"chunks": (2, 2), "shards": (4, 4)},
    "no checksum": {
        "chunks": (4, 4),
        "compressors": [{"name": "zstd", "configuration": {"level": 0, "checksum": False}}],
    },
    "packed": {"chunks": (4, 4), "dtype": "i2", "scale_factor": 0.5, "_FillValue": -1},
    "other order": {"chunks": (4, 4), "dtype": ">f4"},
    "lossy": {
        "chunks": (4, 4),
        "filters": [{"name": "numcodecs.quantize", "configuration": {"digits": 1, "dtype": "<f8"}}],
    },
}


def rows_of(store: Any, name: str) -> Any:
    array = zarrds.open_array(store, path=name)
    rows: Any = read_rows(array.store, name, array.metadata)
    assert rows is not None
    return rows


@pytest.mark.one_in(3)
@pytest.mark.parametrize("how", ["at once", "dask", "append"])
@pytest.mark.parametrize("encoding", MANY)
def test_those_of_what_is_written_are_those_of_what_is_stored(tmp_path: Path, encoding: str, how: str) -> None:
    values = np.random.default_rng(0).integers(-40, 40, (10, 7)) / 2
    values[3, 3] = np.nan
    times = np.arange(70).reshape(10, 7).astype("M8[s]")
    ds = xr.Dataset(
        {"v": (("t", "x"), values), "when": (("t", "x"), times), "b": (("t", "x"), values > 3)},
        attrs={"title": "a test"},
    )
    if how == "dask":
        pytest.importorskip("dask")
        ds = ds.chunk({"t": 3, "x": 4})
    path = tmp_path / "v.zarr"
    first = ds.isel(t=slice(0, 5)) if how == "append" else ds
    zarrds.save(first, path, statistics=True, encoding={"v": MANY[encoding], "b": {"chunks": (1, 2)}})
    if how == "append":
        zarrds.save(ds.isel(t=slice(5, None)), path, append_dim="t")
    found = {name: rows_of(path, str(name)) for name in ds.data_vars}
    zarrds.index(path)
    for name, rows in found.items():
        again = rows_of(path, str(name))
        assert rows["known"].all()
        for field in ("crc32c", "count", "min", "max"):
            np.testing.assert_array_equal(rows[field], again[field])
        np.testing.assert_allclose(rows["sum"], again["sum"])


def test_many_variables_are_indexed_in_one_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each took as long as all documents together, each time; after some seconds there is one more."""

    def n_looks(n: int) -> int:
        plain = xr.Dataset({f"v{i}": ("x", np.arange(4.0) + i) for i in range(n)})
        zarrds.save(plain, store := Counting())
        store.reads.clear()
        zarrds.index(store)
        n_done = store.reads["zarr.json"]
        assert all(zarrds.statistics(store, name).known.all() for name in plain)
        assert not zarrds.verify(store).findings
        return n_done

    assert n_looks(6) == n_looks(2)
    monkeypatch.setattr("zarrds.datasets.editing.index._AT_ONCE", -1.0)
    assert n_looks(6) > n_looks(2)


def test_what_was_indexed_before_a_lost_chunk_is_noted(tmp_path: Path) -> None:
    zarrds.save(xr.Dataset({"a": ("x", [1.0]), "b": ("x", [2.0])}), tmp_path / "s.zarr")
    (tmp_path / "s.zarr" / "b" / "c.0").unlink()
    with pytest.raises(ChunkError, match="a chunk is missing"):
        zarrds.index(tmp_path / "s.zarr", ["a", "b"])
    assert zarrds.statistics(tmp_path / "s.zarr", "a").known.all()


@pytest.mark.parametrize(
    "change",
    [
        lambda store: zarrds.drop_vars(store, "b"),
        lambda store: zarrds.save(xr.Dataset({"b": ("x", [4.0])}), store, mode="w"),
    ],
    ids=["dropped", "replaced"],
)
def test_what_another_writer_takes_away_is_no_lost_chunk(
    change: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch, zarr_format: Any
) -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"a": ("x", [1.0, 0.0]), "b": ("x", [2.0, 3.0])}), store, zarr_format=zarr_format)

    def changed_meanwhile(*args: Any) -> Any:
        rows = list(rows_of_all(*args))
        if args[1].path == "a":
            change(store)
        return rows

    monkeypatch.setattr("zarrds.datasets.editing.index.rows_of_all", changed_meanwhile)
    with pytest.raises(ConflictError, match=r"another writer (has replaced the array.*'b'|changed the array)"):
        zarrds.index(store, ["a", "b"])


def test_what_was_indexed_beside_a_changed_array_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    zarrds.save(xr.Dataset({"a": ("x", [1.0]), "b": ("x", [2.0]), "c": ("x", [3.0])}), store := zarrds.MemoryStore())

    def changed_meanwhile(*args: Any) -> Any:
        rows = list(rows_of_all(*args))
        if args[1].path == "a":
            zarrds.save(xr.Dataset({"a": ("x", [4.0])}), store, mode="a")
        return rows

    monkeypatch.setattr("zarrds.datasets.editing.index.rows_of_all", changed_meanwhile)
    with pytest.raises(ConflictError, match=r"changed the array meanwhile.*'a'"):
        zarrds.index(store)
    assert [zarrds.statistics(store, name).known.all().item() for name in "abc"] == [False, True, True]
    assert not zarrds.verify(store).findings

"""Chunks follow dimensions by name, are asked for by dimension, and leave room where an array begins with one step."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sparse
import xarray as xr

import zarrds
from tests.datasets.samples import FORMATS, DuckArray, chunks_of, open_zarrds
from zarrds.errors import EncodingError


def test_chunks_follow_their_dimensions(path: Path, tmp_path: Path) -> None:
    ds = xr.Dataset({"v": (("time", "y", "x"), np.zeros((8, 6, 4)))})
    zarrds.save(ds, path, encoding={"v": {"chunks": (2, 3, 4), "shards": (4, 6, 4)}})
    turned = open_zarrds(path).transpose("x", "time", "y")
    zarrds.save(turned, tmp_path / "b.zarr")
    array = zarrds.open_array(tmp_path / "b.zarr", path="v")
    assert array.chunks == (4, 2, 3)
    assert array.metadata.chunks == (4, 4, 6)
    zarrds.save(open_zarrds(path).isel(y=0), tmp_path / "c.zarr")
    assert zarrds.open_array(tmp_path / "c.zarr", path="v").chunks == (2, 4)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_chunks_beside_a_dimension_that_is_new(path: Path, tmp_path: Path, zarr_format: Any) -> None:
    """In a dataset that was opened, and in a variable that is added to a store."""
    ds = xr.Dataset({"v": (("y", "x"), np.zeros((20, 30)))})
    zarrds.save(ds, path, encoding={"v": {"chunks": (5, 10)}}, zarr_format=zarr_format)
    for engine in ("zarrds", "zarr"):
        opened = xr.open_dataset(path, engine=engine)
        for dims, size in ((("t", "y", "x"), 1), (("y", "t", "x"), 3), (("x", "y", "t"), 10**6)):
            more = opened.expand_dims(t=size).transpose(*dims)
            zarrds.save(more, tmp_path / "more.zarr", mode="w", compute=False)
            array = zarrds.open_array(tmp_path / "more.zarr", path="v")
            chunks = dict(zip(dims, array.chunks, strict=True))
            assert (chunks["y"], chunks["x"]) == (5, 10)
            assert array.nbytes == 0 or np.prod(array.chunks) * 8 <= 4 * 2**20
            assert chunks["t"] >= (163 if dims[0] == "t" else min(size, 1000))  # with room for more steps
    asked: dict[str, Any] = {"w": {"dtype": "f4"}}
    for name, dims in (("n", ("t", "x", "y")), ("m", ("y", "x", "t")), ("w", ("y", "t", "x"))):
        new = xr.Variable(dims, np.zeros([{"t": 2, "y": 20, "x": 30}[dim] for dim in dims]))
        zarrds.save(xr.Dataset({name: new}), path, mode="a", encoding={k: v for k, v in asked.items() if k == name})
        chunks = dict(zip(dims, zarrds.open_array(path, path=name).chunks, strict=True))
        assert (chunks["y"], chunks["x"]) == (5, 10)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_new_first_dimension_of_which_there_is_nothing_yet_gets_room(path: Path, zarr_format: Any) -> None:
    ds = xr.Dataset({"v": (("y", "x"), np.zeros((20, 30)))})
    zarrds.save(ds, path, encoding={"v": {"chunks": (5, 10)}}, zarr_format=zarr_format)
    zarrds.save(xr.open_dataset(path, engine="zarrds").expand_dims(t=0), path.with_name("none.zarr"))
    zarrds.save(xr.Dataset({"w": (("t", "y", "x"), np.zeros((0, 20, 30)))}), path, mode="a")
    for store, name in ((path.with_name("none.zarr"), "v"), (path, "w")):
        assert zarrds.open_array(store, path=name).chunks[0] >= 100


def test_a_new_variable_beside_shards_has_no_file_for_each_inner_chunk(path: Path) -> None:
    ds = xr.Dataset({"v": (("y", "x"), np.zeros((200, 200)))})
    zarrds.save(ds, path, encoding={"v": {"chunks": (10, 10), "shards": (200, 200)}})
    for name, dims in (("w", ("y", "x")), ("u", ("y", "x", "t"))):
        zarrds.save(xr.Dataset({name: (dims, np.zeros((200, 200, 3)[: len(dims)]))}), path, mode="a")
        assert np.prod(zarrds.open_array(path, path=name).chunks) >= 200 * 200


def test_chunks_of_a_dataset(path: Path) -> None:
    ds = xr.Dataset(
        {"v": (("time", "x"), np.zeros((100, 10))), "w": ("x", np.zeros(10)), "u": ("time", np.zeros(100))},
        {"time": np.arange(100)},
    )
    zarrds.save(ds, path, chunks={"time": 24}, encoding={"u": {"chunks": (7,)}})
    assert [chunks_of(path, name) for name in "vwu"] == [[24, 10], [1024], [7]]
    assert chunks_of(path, "time") == [1024]  # with room for more
    zarrds.save(open_zarrds(path), path, mode="w", chunks={"time": -1, "x": 5})
    assert [chunks_of(path, name) for name in "vwu"] == [[100, 5], [5], [100]]
    tree = xr.DataTree.from_dict({"/": ds, "/a": ds.drop_vars("time")})
    zarrds.save(tree, path, mode="w", chunks={"x": np.int64(2)})
    assert chunks_of(path, "a/v") == [204, 2]
    bad: Any
    for bad in ({"nowhere": 3}, {"x": 0}, {"x": 1.5}):
        with pytest.raises(EncodingError, match="chunks"):
            zarrds.save(ds, path, mode="w", chunks=bad)


def test_shards_and_empty_chunks_of_one_variable(path: Path) -> None:
    ds = xr.Dataset({"v": ("x", np.zeros(12)), "w": ("x", np.zeros(12))})
    asked: Any = {"chunks": (3,), "fill_value": 0.0, "_FillValue": None}
    zarrds.save(ds, path, encoding={"v": {**asked, "write_empty_chunks": False}, "w": {**asked, "shards": "auto"}})
    assert not list((path / "v").glob("c*"))
    assert zarrds.open_array(path, path="w").metadata.chunks == (12,)
    np.testing.assert_array_equal(open_zarrds(path).v, 0)
    assert zarrds.verify(path).ok
    with pytest.raises(EncodingError, match="write_empty_chunks"):
        zarrds.save(ds, path, mode="w", encoding={"v": {"write_empty_chunks": 3}})
    with pytest.raises(EncodingError, match="Use compressors"):
        zarrds.save(ds, path, mode="w", encoding={"v": {"compressor": None}})


def test_keywords_of_to_zarr(path: Path) -> None:
    ds = xr.Dataset({"v": ("x", [1.0])})
    zarrds.save(ds, path, consolidated=True, safe_chunks=False)
    with pytest.raises(EncodingError, match="always consolidated"):
        zarrds.save(ds, path, mode="w", consolidated=False)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_an_array_that_begins_with_one_step(path: Path, zarr_format: Any) -> None:
    def step(i: int) -> xr.Dataset:
        small = xr.Dataset({"v": ("t", [1.0]), "m": (("t", "x"), np.ones((1, 100)))}, {"t": [i]})
        return small.assign(big=(("t", "y", "x"), np.ones((1, 100, 100))))

    zarrds.save(step(0), path, zarr_format=zarr_format)
    for i in range(1, 3):
        zarrds.save(step(i), path, append_dim="t")
    chunks = {name: zarrds.open_array(path, path=name).chunks for name in ("t", "v", "m", "big")}
    assert chunks["t"][0] >= 100
    assert chunks["v"][0] >= 100
    assert 20 <= chunks["m"][0] <= 1000
    assert chunks["big"] == (1, 100, 100)
    assert open_zarrds(path).sizes["t"] == 3


@pytest.mark.parametrize("n", [0, 1, 2, 24])
@pytest.mark.parametrize("is_dask", [False, True])
def test_small_arrays_leave_room(path: Path, n: int, is_dask: bool) -> None:
    """Whatever the first save holds, what is appended to it goes into chunks of a sensible size."""

    def part(start: int, stop: int) -> xr.Dataset:
        size = stop - start
        ds = xr.Dataset({"v": ("t", np.arange(start, stop)), "m": (("t", "x"), np.ones((size, 10), "f4"))})
        ds = ds.assign(text=("t", np.array([f"{i}" for i in range(start, stop)], object)))
        return ds.assign(large=(("t", "y"), np.zeros((size, 20000), "i1"))).assign_coords(t=np.arange(start, stop) / 2)

    zarrds.save(part(0, n), path, encoding={"v": {"dtype": "i8"}})
    more = part(n, n + 50).chunk(t=7) if is_dask else part(n, n + 50)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*it is computed", xr.SerializationWarning)
        zarrds.save(more, path, append_dim="t")
    chunks = {name: zarrds.open_array(path, path=name).chunks for name in ("t", "v", "text", "m", "large")}
    assert {chunks[name] for name in ("t", "v", "text")} == {(1024,)}
    assert chunks["m"][0] >= 400
    assert chunks["large"][0] == {0: 1024, 1: 3}.get(n, n)
    found = open_zarrds(path).load()
    xr.testing.assert_identical(found, part(0, n + 50))
    assert zarrds.verify(path).ok


def test_chunks_that_were_asked_for_leave_none(path: Path) -> None:
    ds = xr.Dataset({"v": ("t", np.arange(4.0))}, {"t": np.arange(4)})
    zarrds.save(ds, path, encoding={"v": {"chunks": (2,)}}, chunks={"t": 3})
    assert chunks_of(path, "v") == [2]
    zarrds.save(ds.drop_vars("t").chunk(t=2), path, mode="w")
    assert chunks_of(path, "v") == [2]
    zarrds.save(open_zarrds(path), path, mode="w")  # those that it came with
    assert chunks_of(path, "v") == [2]


def test_very_many_very_small_chunks_are_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zarrds.datasets.writing.hints._MANY_CHUNKS", 5)
    ds = xr.Dataset({"v": ("t", np.arange(8.0)), "w": ("t", np.arange(8.0))})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zarrds.save(ds, path, encoding={"v": {"chunks": (1,)}, "w": {"chunks": (8,)}})
    with pytest.warns(UserWarning, match=r"'v' \(8 of 8 bytes\).*zarrds.rechunk") as caught:
        zarrds.save(ds, path, append_dim="t")
    assert [warning.filename for warning in caught] == [__file__]
    assert open_zarrds(path).v.size == 16


def test_arrays_of_other_libraries(path: Path) -> None:
    class Flat(DuckArray):
        """Has chunks, but not as dask has them."""

        def __init__(self, values: Any) -> None:
            self.values, self.shape, self.dtype, self.ndim, self.chunks = values, values.shape, values.dtype, 1, (2,)

    zarrds.save(xr.Dataset({"a": ("x", Flat(np.arange(4)))}), path)  # type: ignore[arg-type]  # a duck array
    assert open_zarrds(path).a.values.tolist() == [0, 1, 2, 3]
    thin = xr.Dataset({"s": (("y", "x"), sparse.COO.from_numpy(np.eye(3)))})
    with pytest.raises(EncodingError, match=r"dense.*todense") as caught:
        zarrds.save(thin, path, mode="w")
    assert caught.value.key == "s"
    assert open_zarrds(path).a.values.tolist() == [0, 1, 2, 3]


def test_errors_of_encoders_name_the_variable_and_a_mend(path: Path) -> None:
    times = np.array(["2000-01-01"], "M8[ns]")
    with pytest.raises(EncodingError, match=r"'v'.*Remove that key from the variable's attrs"):
        zarrds.save(xr.Dataset({"v": ("x", times, {"units": "days since 1970-01-01"})}), path)
    lists = np.empty(2, object)
    lists[:] = [[1], [2, 3]]
    with pytest.raises(EncodingError, match=r"'v'.*flat array"):
        zarrds.save(xr.Dataset({"v": ("x", lists)}), path)
    assert not path.exists()

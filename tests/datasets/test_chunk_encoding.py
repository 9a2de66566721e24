from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import chunks_of, open_zarrds, small
from zarrds.datasets.encoding.chunks import choose_chunks
from zarrds.datasets.encoding.new_variable import NewVariable
from zarrds.errors import EncodingError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.formats import v3


def test_even_blocks_become_chunks(path: Path) -> None:
    values = np.arange(70.0).reshape(10, 7)
    ds = xr.Dataset(
        {
            "even": (("y", "x"), dask.array.from_array(values, chunks=(4, 7))),
            "uneven": (("y", "x"), dask.array.from_array(values, chunks=((2, 8), (3, 4)))),
            "kept": (("y", "x"), dask.array.from_array(values, chunks=(4, 7)), {}, {"chunks": (2, 7)}),
            "stale": (("y", "x"), dask.array.from_array(values, chunks=(4, 7)), {}, {"chunks": (3, 5)}),
        }
    )
    zarrds.save(ds, path)
    assert {name: chunks_of(path, name) for name in ds} == {
        "even": [4, 7],
        "uneven": [292, 7],  # with room for more
        "kept": [2, 7],
        "stale": [4, 7],
    }
    xr.testing.assert_identical(open_zarrds(path).load(), ds.compute())


@pytest.mark.parametrize(
    "chunks",
    [(2,), (1, 2, 3), (2, 0), (5, 4.5), "rubbish", ((2, 1), (4,)), (-5, 4), (10**6, 10**6), (None, 2), 4.5, 3, (-1, 2)],
)
def test_stale_chunks_never_stop_a_save(path: Path, chunks: Any) -> None:
    ds = small()
    ds["v"].encoding = {"chunks": chunks, "preferred_chunks": {"y": 1}, "shards": None}
    zarrds.save(ds, path)
    xr.testing.assert_identical(open_zarrds(path).load(), ds)


@pytest.mark.parametrize(
    "chunks", [(2,), (1, 2, 3), (2, 0), (5, 4.5), "rubbish", ((2, 1), (4,)), (-5, 4), (None, 2), 4.5]
)
def test_wrong_chunks_that_were_asked_for(path: Path, chunks: Any) -> None:
    with pytest.raises(EncodingError, match="chunks") as caught:
        zarrds.save(small(), path, encoding={"v": {"chunks": chunks}})
    assert caught.value.key == "v"
    assert not path.exists()


def test_chunks_of_a_larger_array(path: Path) -> None:
    # small ones are kept, for what may be appended one day; large ones are cut, and do not pad a point to a gigabyte
    for stale, expected in (
        ((100, 100), [100, 100]),
        ((1000, 1000), [3, 4]),
        ((1000, 2), [1000, 2]),
        ((2, 10**9), [2, 4]),
    ):
        ds = small()
        ds["v"].encoding["chunks"] = stale
        zarrds.save(ds, path, mode="w")
        assert chunks_of(path, "v") == expected
    zarrds.save(small(), path, mode="w", encoding={"v": {"chunks": (1000, 1000)}})
    assert chunks_of(path, "v") == [1000, 1000]


def test_chunks_of_netcdf_are_kept_if_they_are_large_enough(path: Path) -> None:
    values = np.zeros((300, 200))
    for sizes, expected in (((100, 100), [100, 100]), ((1000, 1000), [300, 200]), ((1, 1), [300, 200])):
        ds = xr.Dataset({"v": (("y", "x"), values, {}, {"chunksizes": sizes})})
        zarrds.save(ds, path, mode="w")
        assert chunks_of(path, "v") == expected
    ds["v"].encoding = {"chunksizes": (100, 100), "contiguous": True}
    zarrds.save(ds, path, mode="w")
    assert chunks_of(path, "v") == [300, 200]


def test_the_first_step_of_a_netcdf_file_leaves_room(path: Path, tmp_path: Path) -> None:
    """Its chunks are cut to one step: each that is appended would have been a file of 8 bytes, for ever."""
    step = xr.Dataset({"v": (("time", "x"), np.ones((1, 50)))}, {"time": [0]})
    step.to_netcdf(tmp_path / "step.nc", unlimited_dims=["time"])
    with xr.open_dataset(tmp_path / "step.nc") as ds:
        assert ds.time.encoding["chunksizes"] == (512,)
        zarrds.save(ds, path)
        assert chunks_of(path, "time")[0] >= 512
        assert chunks_of(path, "v")[0] > 100
    zarrds.convert(tmp_path / "step.nc", path, overwrite=True)
    assert chunks_of(path, "time")[0] >= 512


def test_few_chunks_lie_in_the_folder_of_their_array(tmp_path: Path) -> None:
    ds = xr.Dataset({"few": ("x", np.arange(64)), "many": ("x", np.arange(64))})
    encoding = {
        "few": {"chunks": 1},
        "many": {"chunks": 1, "chunk_key_encoding": {"name": "default", "separator": "/"}},
    }
    zarrds.save(ds, tmp_path / "x.zarr", encoding=encoding)
    zarrds.save(ds.pad(x=(0, 1)), tmp_path / "y.zarr", encoding={"few": {"chunks": 1}})
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}
    assert {"x.zarr/few/c.0", "x.zarr/few/c.63", "x.zarr/many/c/0", "y.zarr/few/c/64", "y.zarr/many/c.0"} <= files
    for engine in ("zarrds", "zarr"):
        xr.testing.assert_identical(xr.open_dataset(tmp_path / "x.zarr", engine=engine), ds)


def test_chunk_key_encoding(path: Path) -> None:
    encoding = {"v": {"chunk_key_encoding": {"name": "v2", "separator": "."}}}
    zarrds.save(small(), path, encoding=encoding)
    assert (path / "v" / "0.0").exists()
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarr").load(), small())


@pytest.mark.parametrize(("size", "chunk"), [(2**24, None), (2**24 + 1, 2**15)])
def test_many_labels_get_chunks_that_are_quickly_searched(size: int, chunk: int | None) -> None:
    variable = xr.Variable("x", np.broadcast_to(np.int8(1), size))
    int8 = DataType.from_numpy(np.dtype("i1"))
    automatic, _ = choose_chunks(NewVariable("v", variable, False), int8, v3)
    found, _ = choose_chunks(NewVariable("x", variable, False), int8, v3)
    assert found == ((chunk,) if chunk else automatic)
    variable.encoding = {"chunks": (77,)}
    assert choose_chunks(NewVariable("x", variable, True), int8, v3)[0] == (77,)

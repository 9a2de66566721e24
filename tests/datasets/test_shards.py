"""Shards through ``encoding["shards"]``, against xarray's zarr engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds.errors import EncodingError, UnsupportedError

SHARDED = {"a": {"chunks": (2, 3), "shards": (4, 9)}}


@pytest.fixture
def ds() -> xr.Dataset:
    return xr.Dataset({"a": (("x", "y"), np.arange(10 * 11.0).reshape(10, 11))}, {"x": np.arange(10)})


def shapes(encoding: dict[str, Any]) -> tuple[Any, Any]:
    return encoding["chunks"], encoding["shards"]


@pytest.mark.parametrize("blocks", [None, {"x": 3, "y": 4}, {}])
def test_both_engines_open_what_was_saved_in_shards(tmp_path: Path, ds: xr.Dataset, blocks: Any) -> None:
    zarrds.save(ds if blocks is None else ds.chunk(blocks), tmp_path / "a.zarr", encoding=SHARDED)
    for engine in ("zarrds", "zarr"):
        opened = xr.open_dataset(tmp_path / "a.zarr", engine=engine)
        xr.testing.assert_identical(opened, ds)
        assert shapes(opened.a.encoding) == ((2, 3), (4, 9))
        # a shard is read as a whole
        preferred = {"x": 4, "y": 9} if engine == "zarrds" else {"x": 2, "y": 3}
        assert opened.a.encoding["preferred_chunks"] == preferred


@pytest.mark.parametrize("engine", ["zarrds", "zarr"])
def test_saving_what_was_opened_keeps_shards_and_codecs(tmp_path: Path, ds: xr.Dataset, engine: str) -> None:
    zstd = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
    ds.to_zarr(tmp_path / "a.zarr", encoding={"a": SHARDED["a"] | {"compressors": [zstd]}})
    zarrds.save(xr.open_dataset(tmp_path / "a.zarr", engine=engine), tmp_path / "b.zarr")
    opened = xr.open_dataset(tmp_path / "b.zarr", engine="zarrds")
    xr.testing.assert_identical(opened, ds)
    assert shapes(opened.a.encoding) == ((2, 3), (4, 9))
    assert opened.a.encoding["compressors"] == (zstd,)


def test_shards_that_an_earlier_store_left_never_stop_a_save(tmp_path: Path, ds: xr.Dataset) -> None:
    zarrds.save(ds, tmp_path / "a.zarr", encoding=SHARDED)
    opened = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds")
    zarrds.save(opened, tmp_path / "v2.zarr", zarr_format=2)
    zarrds.save(opened.isel(x=0), tmp_path / "cut.zarr")
    zarrds.save(opened.chunk(x=5), tmp_path / "blocks.zarr")
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "v2.zarr", engine="zarrds"), ds)
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "cut.zarr", engine="zarrds"), ds.isel(x=0))
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "blocks.zarr", engine="zarrds"), ds)


@pytest.mark.parametrize("shards", [(3, 9), (4,), "large", (4, 9.5)])
def test_shards_that_are_asked_for_must_fit(tmp_path: Path, ds: xr.Dataset, shards: Any) -> None:
    with pytest.raises(EncodingError, match="shards"):
        zarrds.save(ds, tmp_path / "a.zarr", encoding={"a": {"chunks": (2, 3), "shards": shards}})
    with pytest.raises(UnsupportedError, match="shards"):
        zarrds.save(ds, tmp_path / "a.zarr", encoding=SHARDED, zarr_format=2)
    assert not (tmp_path / "a.zarr").exists()

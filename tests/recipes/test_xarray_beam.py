"""xarray-beam: pipelines that read chunks and write regions."""

# needs: xarray-beam

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import zarrds
from tests.recipes.data import climate, saved

xbeam = pytest.importorskip("xarray_beam")
beam = pytest.importorskip("apache_beam")


def test_chunks_to_regions(tmp_path: Path) -> None:
    source = xr.open_dataset(saved(climate(), tmp_path / "x.zarr"), engine="zarrds")
    target = str(tmp_path / "y.zarr")
    zarrds.save(xbeam.make_template(source), target, compute=False, encoding={"t2m": {"chunks": (12, 11, 16)}})

    def doubled(key: Any, part: xr.Dataset) -> Any:
        first = key.offsets["time"]
        moving = part[["t2m"]].drop_vars(["lat", "lon"]) * 2
        zarrds.save(moving, target, region={"time": slice(first, first + part.sizes["time"])})
        return key

    with beam.Pipeline("DirectRunner") as pipeline:
        pipeline | xbeam.DatasetToChunks(source, chunks={"time": 12}) | beam.MapTuple(doubled)
    found = xr.open_dataset(target, engine="zarrds")
    xr.testing.assert_equal(found.load(), climate() * 2)


def test_chunks_to_zarr(tmp_path: Path) -> None:
    """What xarray-beam itself writes."""
    source = xr.open_dataset(saved(climate(), tmp_path / "x.zarr"), engine="zarrds")
    writing = xbeam.ChunksToZarr(
        str(tmp_path / "y.zarr"), template=xbeam.make_template(source), zarr_chunks={"time": 12, "lat": 11, "lon": 16}
    )
    with beam.Pipeline("DirectRunner") as pipeline:
        pipeline | xbeam.DatasetToChunks(source, chunks={"time": 12}) | writing
    xr.testing.assert_equal(xr.open_dataset(tmp_path / "y.zarr", engine="zarrds").load(), climate())

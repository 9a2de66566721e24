"""GDAL, as rasterio is built with it (on Python 3.11 with one that is too old), reads what zarrds writes."""

# needs: rasterio
# python: python3.13 python3.12 python3.14

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

import zarrds
from tests.recipes.data import climate

rasterio = pytest.importorskip("rasterio")

WITHOUT_CHECKSUM = {
    "compressors": {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle"}}
}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_variable_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture, zarr_format: int) -> None:
    ds = climate()
    encoding = {"t2m": {"chunks": (12, 11, 16)}}
    if zarr_format == 3:  # this build of GDAL has no crc32c
        encoding = {name: encoding.get(name, {}) | WITHOUT_CHECKSUM for name in ds.variables}
    zarrds.save(ds, tmp_path / "x.zarr", encoding=encoding, zarr_format=zarr_format)
    with caplog.at_level(logging.WARNING), rasterio.open(f"ZARR:{tmp_path / 'x.zarr'}:/t2m") as found:
        np.testing.assert_array_equal(found.read(), ds.t2m.values)
        assert found.units[0] == "K"
    assert not caplog.records


def test_the_default_checksum_is_what_it_lacks(tmp_path: Path) -> None:
    """Once this fails, docs/works-with.md can say so."""
    zarrds.save(climate(), tmp_path / "x.zarr")
    with pytest.raises(rasterio.errors.RasterioIOError, match="crc32c"):
        rasterio.open(f"ZARR:{tmp_path / 'x.zarr'}:/t2m")

"""Settings of filters that are left open: they follow from the array, and stand in its document for all readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import FORMATS

FILTERS = {
    "quantize": ("filters", {"digits": 2}, "f8", 0.005),
    "shuffle": ("compressors", {}, "f8", 0),
    "delta": ("filters", {}, "f8", 1e-12),
    "fixedscaleoffset": ("filters", {"offset": 0, "scale": 100, "astype": "i2"}, "f8", 0),
    "astype": ("filters", {"encode_dtype": "f4"}, "f8", 1e-6),
}


# of zarr-python, as it reads filters of numcodecs in format 3
@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("name", FILTERS)
def test_all_readers_fill_them_in_alike(name: str, zarr_format: int, path: Path) -> None:
    key, settings, dtype, error = FILTERS[name]
    values = np.round(np.linspace(0, 1, 51), 2).astype(dtype)
    codec: dict[str, Any] = {"name": f"numcodecs.{name}", "configuration": settings}
    zarrds.save(xr.Dataset({"v": ("x", values)}), path, zarr_format=zarr_format, encoding={"v": {key: [codec]}})
    for engine in ("zarrds", "zarr"):
        with xr.open_dataset(path, engine=engine) as found:
            np.testing.assert_allclose(found.v, values, rtol=0, atol=error, err_msg=engine)
    with xr.open_dataset(path, engine="zarrds") as found:
        zarrds.save(found, path.with_name("again"), zarr_format=zarr_format)
    with xr.open_dataset(path.with_name("again"), engine="zarr") as found:
        np.testing.assert_allclose(found.v, values, rtol=0, atol=error)


def test_documents_that_lack_them_hide_nothing(path: Path) -> None:
    """As zarrds wrote them until 0.1: zarr-python cannot open them."""
    codec = {"name": "numcodecs.delta"}
    ds = xr.Dataset({"v": ("x", np.arange(5))})
    zarrds.save(ds, path, zarr_format=2, encoding={"v": {"filters": [codec]}})
    for name in (".zmetadata", "v/.zarray"):
        text = (path / name).read_text()
        document = json.loads(text)
        array = document["metadata"]["v/.zarray"] if name == ".zmetadata" else document
        assert array["filters"][0].pop("dtype") == "<i8"
        (path / name).write_text(json.dumps(document))
    with xr.open_dataset(path, engine="zarrds") as found:
        xr.testing.assert_identical(found, ds)
        (numcodecs_filter,) = found.v.encoding["filters"]
    assert numcodecs_filter.get_config()["dtype"] == "<i8"

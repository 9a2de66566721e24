"""What several tests of regions ask for by name."""

from __future__ import annotations

import pytest
import xarray as xr

import zarrds
from tests.labels.genomes import NAMES, genome


@pytest.fixture(params=["numpy", "dask", "lazy"])
def ds(request: pytest.FixtureRequest) -> xr.Dataset:
    """Three contigs, not in the order of their names; a long record at the begin of one."""
    contigs = ["chr2"] * 3 + ["chr10"] * 4 + ["X"]
    ds = genome(contigs, [5, 5, 9, 1, 3, 8, 20, 4], [6, 5, 9, 30, 3, 8, 22, 4])
    if request.param == "dask":
        return ds.chunk(v=3)
    if request.param == "lazy":
        store = zarrds.MemoryStore()
        zarrds.save(ds, store, encoding={name: {"chunks": (3,)} for name in NAMES})
        return xr.open_dataset(store, engine="zarrds")
    return ds

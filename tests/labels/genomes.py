"""Records along a genome, for the tests of `RegionIndex`."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from zarrds.labels.genomics.regions import RegionIndex

NAMES = ["contig", "position", "end"]


def genome(contigs: list[Any], positions: list[int], ends: list[int] | None = None) -> xr.Dataset:
    columns: dict[str, Any] = {"contig": contigs, "position": positions} | ({} if ends is None else {"end": ends})
    coords = {
        name: ("v", np.array(values, object if name == "contig" else int) if values else np.empty(0, int))
        for name, values in columns.items()
    }
    return xr.Dataset({"n": ("v", np.arange(len(positions)))}, coords)


def indexed(ds: xr.Dataset, **options: Any) -> xr.Dataset:
    return ds.set_xindex([name for name in NAMES if name in ds.coords], RegionIndex, **options)


def numbers(ds: xr.Dataset) -> list[int]:
    return ds.n.values.tolist()

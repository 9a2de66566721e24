"""Import an engine in this process, and open the cube with it if there is one.

Usage: ``python -m benchmarks.import_process MODULE [PATH]``.

Prints the seconds that it took beyond ``import xarray``, how far memory rose, and the value that was read.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

import numpy  # noqa: F401  # what every user of xarray has imported before
import pandas  # noqa: F401  # the same
import xarray as xr

if not __package__:  # as a script
    sys.path[0] = str(Path(__file__).parents[1])

from benchmarks.memory import begin_marks, highest

# by module: where the engine's class is. Given to xarray in place of a name, it spares all engines the search for
# others that are installed, which would import them
_BACKENDS = {
    "zarrds": ("zarrds.datasets.reading.backend", "ZarrdsBackendEntrypoint"),
    "zarr": ("xarray.backends.zarr", "ZarrBackendEntrypoint"),
    "netCDF4": ("xarray.backends.netCDF4_", "NetCDF4BackendEntrypoint"),
    "h5netcdf": ("xarray.backends.h5netcdf_", "H5netcdfBackendEntrypoint"),
}


def main(module: str, path: str | None = None) -> None:
    begin = begin_marks()
    start = time.perf_counter()
    importlib.import_module(module)
    value = _first_value(module, path) if path else None
    seconds = time.perf_counter() - start
    megabytes = None if begin is None else highest() - begin
    print(json.dumps({"seconds": seconds, "megabytes": megabytes, "value": value}))


def _first_value(module: str, path: str) -> float:
    owner, name = _BACKENDS[module]
    backend = getattr(importlib.import_module(owner), name)
    with xr.open_dataset(path, engine=backend) as ds:
        return float(ds.t2m[0, 0, 0])


if __name__ == "__main__":
    main(*sys.argv[1:])

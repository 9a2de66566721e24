"""New processes: what the import of an engine takes, and to open the cube and read one value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.contenders import Contender, Measured, Row
from benchmarks.data import Bench
from benchmarks.dataset_engines import Engine, engines
from benchmarks.sources import CUBE
from benchmarks.work import contender

_SCRIPT = Path(__file__).with_name("import_process.py")
_MODULES = {"zarrds": "zarrds", "zarr engine": "zarr", "netCDF4": "netCDF4", "h5netcdf": "h5netcdf"}


@dataclass(frozen=True)
class _Value(Measured):
    """With what it read."""

    value: float | None


def _in_a_process(with_cube: bool, bench: Bench, _stack: ExitStack) -> list[Contender]:
    expected = float(bench.climate().t2m[0, 0, 0]) if with_cube else None

    def check(_k: int, told: _Value) -> None:
        if told.value != expected:
            raise AssertionError("the value is not the one that was saved")

    # a checkout gets compiled modules in the warm-up, as packages that are installed have them
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def of(engine: Engine) -> Contender:
        command = [sys.executable, str(_SCRIPT), _MODULES[engine.name]]
        command += [str(CUBE.stored(engine, bench))] if with_cube else []

        def run(_k: int) -> _Value:
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
            found: dict[str, Any] = json.loads(done.stdout)
            return _Value(**found)

        return contender(engine, "a process of its own", run, check)

    return [of(engine) for engine in engines() if engine.name in _MODULES]


def rows() -> list[Row]:
    """The rows of this module."""
    return [
        Row("import", "import", "Import it, after xarray", partial(_in_a_process, False), memory="told"),
        Row(
            "import",
            "import-and-open",
            "The same, open the cube, one value",
            partial(_in_a_process, True),
            memory="told",
        ),
    ]

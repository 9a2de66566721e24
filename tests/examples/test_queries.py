"""``examples/queries.py``: hours and places above a threshold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import xarray as xr

from tests.examples.running import png_size, run


@pytest.mark.slow
@pytest.mark.parametrize("is_real", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_queries(is_real: bool, data_dir: Path, tmp_path: Path) -> None:
    for module in ("matplotlib", "netCDF4"):
        pytest.importorskip(module, reason=f"examples/queries.py is tested with {module}, which is not installed")
    done = run("queries.py", *([data_dir / "era5_t2m_uk_2019-03.nc"] if is_real else []), "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    total, pruned = map(int, re.findall(r"t2m: (\d+) chunks, (\d+) pruned", done.stdout)[0])
    assert pruned > total / 2
    (query,) = re.findall(r"^t2m > (\S+)$", done.stdout, re.MULTILINE)
    (n_found,) = re.findall(r"^found +(\d+) hours", done.stdout, re.MULTILINE)
    with xr.open_dataset(tmp_path / "queries.zarr", engine="zarrds") as ds:
        assert int((ds.t2m > float(query)).sum()) == int(n_found)
    width, height = png_size(tmp_path / "queries.png")
    assert width > height > 300

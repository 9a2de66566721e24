"""What examples need that may not be installed."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def _climate() -> None:
    for module in ("matplotlib", "tqdm", "netCDF4", "zarr"):
        pytest.importorskip(module, reason=f"examples/climate.py is tested with {module}, which is not installed")


@pytest.fixture(scope="module")
def _genomics() -> None:
    for module in ("cyvcf2", "matplotlib", "tqdm", "zarr"):
        pytest.importorskip(module, reason=f"examples/genomics.py is tested with {module}, which is not installed")

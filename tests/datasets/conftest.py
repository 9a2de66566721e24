"""What the tests of datasets ask for by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.datasets.samples import FORMATS, Format


@pytest.fixture(params=FORMATS, ids=["v3", "v2"])
def zarr_format(request: pytest.FixtureRequest) -> Format:
    found: Format = request.param
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.zarr"


@pytest.fixture(params=[2, 3])
def default_zarr_format(request: pytest.FixtureRequest) -> Iterator[None]:
    """xarray's own tests choose the format by a setting of zarr-python."""
    import zarr

    with zarr.config.set(default_zarr_format=request.param):
        yield

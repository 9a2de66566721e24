"""What the tests of datasets ask for by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.datasets.lazy_cases import SIZES, save_stores
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


@pytest.fixture
def no_warnings() -> Iterator[None]:
    """All are errors but xarray's own, when it looks at indexes."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="(Period|Datetime)Index.values")
        yield


@pytest.fixture(scope="session")
def lazy_stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one store a kind of labels, which are to be searched where they lie."""
    folder = tmp_path_factory.mktemp("stores")
    for kind in SIZES:
        save_stores(folder, kind)
    return folder

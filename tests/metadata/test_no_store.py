"""What is said where there is no store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

import zarrds
from zarrds.errors import StoreNotFoundError

WAYS: dict[str, Callable[[Path], object]] = {
    "open": lambda path: xr.open_dataset(path, engine="zarrds"),
    "arrays": zarrds.open_group,
    "verify": zarrds.verify,
    "info": zarrds.info,
    "attributes": lambda path: zarrds.update_attrs(path, {"a": 1}),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_file_of_another_format_is_told_what_it_needs(tmp_path: Path, way: Callable[[Path], object]) -> None:
    source = tmp_path / "t2m.nc"
    xr.Dataset({"t2m": ("x", [280.5])}).to_netcdf(source)
    before = source.read_bytes()
    with pytest.raises(StoreNotFoundError, match=r"this is a file, and no Zarr store.*zarrds\.convert"):
        way(source)
    assert source.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t2m.nc"]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_nothing(tmp_path: Path, way: Callable[[Path], object]) -> None:
    with pytest.raises(StoreNotFoundError, match=r"no Zarr store here.*Check the path"):
        way(tmp_path / "none.zarr")
    assert list(tmp_path.iterdir()) == []

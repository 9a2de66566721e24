"""What is saved comes back as it was, or is refused by name before anything is written, whatever a Dataset can hold."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.same import assert_same
from zarrds.errors import ZarrdsError

PROJECT = Path(__file__).parents[2]


def names_in(ds: xr.Dataset) -> set[str]:
    """What an error may name: variables, attributes, dimensions."""
    names = {*map(str, ds.variables), *map(str, ds.dims), *map(str, ds.attrs)}
    return names.union(*(map(str, variable.attrs) for variable in ds.variables.values()))


def saved_and_opened(ds: xr.Dataset, place: Path, **options: Any) -> xr.Dataset | None:
    """What comes back; None if it was refused, by name, before anything was written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of encodings that give way
        try:
            zarrds.save(ds, place, durable=False, **options)
        except ZarrdsError as error:
            refused = str(error)
        else:
            refused = ""
    if refused:
        assert any(name in refused for name in names_in(ds)), refused
        assert not place.exists()
        return None
    return xr.open_dataset(place, engine="zarrds").load()


def without_fill(ds: xr.Dataset) -> xr.Dataset:
    """Undecoded variables without `_FillValue`, which xarray gives to all floats, and stores in the array's dtype."""
    for variable in ds.variables.values():
        variable.attrs.pop("_FillValue", None)
    return ds


# ------------------------------------------------------------------------------------------- real files

FILES = sorted((PROJECT.parent / "shared/data").glob("*.nc")) + sorted(
    path for path in (Path(xr.__file__).parent / "tests/data").glob("*.nc") if path.stat().st_size < 2**20
)
DECODINGS: dict[str, dict[str, Any]] = {
    "decoded": {},
    "undecoded": {"decode_cf": False},
    "unmasked": {"mask_and_scale": False},
    "no times": {"decode_times": False},
}


@pytest.mark.filterwarnings("ignore:variable .* has non-conforming")  # so has the file
@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_files_as_they_come(file: Path, decoding: str, tmp_path: Path) -> None:
    options = DECODINGS[decoding]
    try:
        ds = xr.open_dataset(file, **options)
    except ValueError as error:
        pytest.skip(f"xarray itself cannot open it: {error}")
    with ds:
        small = ds.isel({dim: slice(0, 50) for dim in ds.dims}).load()
        back = saved_and_opened(small, tmp_path / "a.zarr")
        assert back is not None
        raw = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds", **options).load()
        assert_same(without_fill(small), without_fill(raw))
        again = saved_and_opened(back, tmp_path / "b.zarr", zarr_format=2)
        assert again is not None
        assert_same(without_fill(back), without_fill(again))
        undecoded = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds", decode_cf=False).load()
        third = saved_and_opened(undecoded, tmp_path / "c.zarr", zarr_format=2)
        assert third is not None
        reopened = xr.open_dataset(tmp_path / "c.zarr", engine="zarrds", decode_cf=False).load()
        assert_same(without_fill(undecoded), without_fill(reopened))


@pytest.mark.filterwarnings("ignore:variable .* has non-conforming")  # as above
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_files_appended_to_themselves(file: Path, tmp_path: Path) -> None:
    with xr.open_dataset(file) as whole:
        ds = whole.isel({dim: slice(0, 20) for dim in whole.dims}).load()
    dim = next((d for d in ("time", "month", *ds.sizes) if d in ds.xindexes and ds.sizes[d] > 1), None)
    if dim is None or ds[dim].ndim != 1 or ds[dim].dtype.kind not in "iufM":
        pytest.skip("there is nothing to append along")
    step = ds[dim].values[-1] - ds[dim].values[0] + (ds[dim].values[1] - ds[dim].values[0])
    later = ds.assign_coords({dim: (dim, ds[dim].values + step, ds[dim].attrs)})
    later[dim].encoding = ds[dim].encoding
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarrds.save(ds, tmp_path / "a.zarr")
        zarrds.save(later, tmp_path / "a.zarr", append_dim=dim)
    found = xr.open_dataset(tmp_path / "a.zarr", engine="zarrds").load()
    expected = xr.concat([ds, later], dim, data_vars="minimal", coords="minimal", compat="override", join="outer")
    xr.testing.assert_equal(found, expected)
    assert zarrds.verify(tmp_path / "a.zarr").ok
    assert np.array_equal(found[dim].values, np.concatenate([ds[dim].values, later[dim].values]))

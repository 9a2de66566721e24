"""What is saved comes back as it was, or is refused by name before anything is written, whatever a Dataset can hold."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrds
from tests.datasets.same import assert_same
from tests.datasets.samples import FORMATS, Format, objects
from tests.datasets.strategies import datasets
from zarrds.errors import EncodingError, ZarrdsError

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


def check(ds: xr.Dataset, zarr_format: Format) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        back = saved_and_opened(ds, folder / "a.zarr", zarr_format=zarr_format)
        if back is None:
            return
        assert_same(ds, back)
        # with the encoding that it has now, in the other format
        again = saved_and_opened(back, folder / "b.zarr", zarr_format=5 - zarr_format)
        assert again is not None
        assert_same(back, again)
        assert sorted(os.listdir(folder)) == ["a.zarr", "b.zarr"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@settings(max_examples=60, derandomize=True)  # the long one below looks for more
@given(datasets(), st.sampled_from(FORMATS))
def test_everything_that_a_dataset_can_hold(ds: xr.Dataset, zarr_format: Format) -> None:
    check(ds, zarr_format)


@pytest.mark.sweep
@settings(max_examples=1500)
@given(datasets(), st.sampled_from(FORMATS))
def test_everything_that_a_dataset_can_hold_for_longer(ds: xr.Dataset, zarr_format: Format) -> None:
    check(ds, zarr_format)


KINDS: dict[str, np.ndarray[Any, Any]] = {
    "booleans": np.array([True, False]),
    "int8": np.array([1, 2], "i1"),
    "float32": np.array([1, 0.1], "f4"),
    "float64": np.array([1, 0.5]),
    "complex": np.array([1, 2], "c8"),
    "text": objects("a", "bcd"),
    "some text": objects("a", None),
    "nothing": objects(None, np.nan),
    "object booleans": objects(True, False),
    "object integers": objects(1, None),
    "object bytes": objects(b"a", b"b\0"),
    "some bytes": objects(b"a\0", None),
    "U": np.array(["a", "bcd"]),
    "S3": np.array([b"a", b"xyz"]),
    "S1": np.array([b"a", b""]),
    "StringDType": np.array(["a", "bc"], np.dtypes.StringDType()),
    "no objects": np.empty(0, object),
    "datetimes": np.array(["2000-01-01T06", "NaT"], "M8[ns]"),
    "milliseconds": np.array([0, 86400], "m8[ms]"),
}
CARRIED: list[dict[str, Any]] = [
    {"dtype": "float32", "_FillValue": 1e20},
    {"dtype": "int8", "_FillValue": -1},
    {"dtype": "bool"},
    {"dtype": "nonsense"},
    {"dtype": "<U2"},
    {"dtype": "float64", "scale_factor": 0.5},
    {"dtype": "M8[ns]"},
    {"dtype": "timedelta64[ns]", "units": "hours"},
    {"_FillValue": np.nan},
    {"_FillValue": "x"},
    {"_FillValue": b"\0"},
    {"missing_value": -9},
    {"units": "seconds", "dtype": "float64"},
    {"units": "days"},
]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("kind", KINDS)
def test_an_encoding_of_another_kind_of_data_gives_way(kind: str) -> None:
    for number, hint in enumerate(CARRIED):
        ds = xr.Dataset({"v": ("x", KINDS[kind], {}, hint)})
        with tempfile.TemporaryDirectory() as folder:
            back = saved_and_opened(ds, Path(folder) / "a.zarr", zarr_format=FORMATS[number % 2])
        assert back is not None, hint
        assert_same(ds, back)


def test_text_is_not_asked_for_as_numbers(tmp_path: Path) -> None:
    ds = xr.Dataset({"v": ("x", ["1", "2"])})
    with pytest.raises(EncodingError, match="is float32, but it holds strings"):
        zarrds.save(ds, tmp_path / "a.zarr", encoding={"v": {"dtype": "float32"}})
    assert not os.listdir(tmp_path)


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


@pytest.mark.one_in(4)
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


@pytest.mark.parametrize("is_dask", [False, True])
@pytest.mark.parametrize("is_asked", [False, True])
@pytest.mark.parametrize("shape", [(2,), (2, 1), ()])
def test_text_of_single_bytes_is_not_joined(is_dask: bool, is_asked: bool, shape: tuple[int, ...]) -> None:
    values = np.resize(np.array(["x", "y"]), shape).astype(object)
    encoding = {"dtype": "S1"}
    ds = xr.Dataset({"v": (("t", "u")[: len(shape)], values, {}, {} if is_asked else encoding)})
    store = zarrds.MemoryStore()
    chunked = ds.chunk() if is_dask and shape else ds
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*it is computed", xr.SerializationWarning)
        zarrds.save(chunked, store, encoding={"v": encoding} if is_asked else None)
    xr.testing.assert_identical(xr.open_dataset(store, engine="zarrds").load(), ds)

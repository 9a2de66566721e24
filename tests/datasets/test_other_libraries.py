"""What other libraries put into datasets, made by hand: units beside values, geometries, tables, their own indexes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.samples import DuckArray
from zarrds.errors import EncodingError, ReadOnlyError, UnsupportedError


class Quantity(DuckArray):
    """As pint's: an array of any library with units, which becomes one of NumPy without them."""

    def __init__(self, values: Any) -> None:
        self.values, self.units = values, "kelvin"

    def __getattr__(self, name: str) -> Any:
        if name == "values":
            raise AttributeError(name)
        return getattr(self.values, name)


@pytest.mark.parametrize(
    "data",
    [
        Quantity(np.ones(4)),
        Quantity(dask.array.ones(4, chunks=2)),
    ],
    ids=["in memory", "of dask"],
)
def test_units_beside_the_values_are_not_dropped(tmp_path: Path, data: Any) -> None:
    ds = xr.Dataset({"t2m": ("x", data)})
    with pytest.raises(EncodingError, match=r"units.*'t2m'.*kelvin of .*Quantity.*dequantify") as caught:
        zarrds.save(ds, tmp_path / "a.zarr")
    assert caught.value.key == "t2m"


@pytest.mark.parametrize("compute", [True, False])
def test_units_beside_the_values_of_blocks_are_not_dropped(tmp_path: Path, compute: bool) -> None:
    """Before anything is computed, where dask knows; ``dequantify`` does not look into blocks."""
    plain = dask.array.ones(4, chunks=2)
    known, unknown = (plain.map_blocks(Quantity, dtype="f8", meta=m) for m in (Quantity(np.ones(0)), np.ones(0)))
    said = r"units.*'t2m'.*kelvin of .*Quantity.*block\.magnitude"
    with pytest.raises(EncodingError, match=said) as caught:
        zarrds.save(xr.Dataset({"t2m": ("x", known)}), tmp_path / "a.zarr", compute=compute)
    assert caught.value.key == "t2m"
    assert not list(tmp_path.iterdir())
    with pytest.raises(EncodingError, match=said):
        dask.compute(zarrds.save(xr.Dataset({"t2m": ("x", unknown)}), tmp_path / "a.zarr", compute=compute))


def test_units_are_not_dropped_where_there_is_a_store(tmp_path: Path) -> None:
    plain = xr.Dataset({"t2m": ("x", np.zeros(4), {"units": "kelvin"})})
    zarrds.save(plain, tmp_path / "a.zarr")
    ds = xr.Dataset({"t2m": ("x", Quantity(np.ones(4)))})  # type: ignore[arg-type]  # a duck array
    with pytest.raises(EncodingError, match="units"):
        zarrds.save(ds, tmp_path / "a.zarr", region={"x": slice(0, 4)})
    with pytest.raises(EncodingError, match="units"):
        zarrds.save(ds, tmp_path / "a.zarr", append_dim="x")
    with xr.open_dataset(tmp_path / "a.zarr", engine="zarrds") as found:
        xr.testing.assert_identical(found, plain)


class Grid(xr.Index):
    """As xdggs': it alone knows of which grid its cells are."""

    __module__ = "xdggs.healpix"


def test_an_index_of_another_library_is_written_by_that(tmp_path: Path) -> None:
    ds = xr.Dataset(coords=xr.Coordinates({"x": ("x", [1, 2])}, indexes={"x": Grid()}))
    with pytest.raises(
        UnsupportedError, match=r"type Grid .*Have xdggs write .*attributes first.*drop_indexes\(\['x'\]\)"
    ):
        zarrds.save(ds, tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())


@dataclass(frozen=True)
class Point:
    x: int
    y: int


def test_objects_are_named_by_their_type(tmp_path: Path) -> None:
    for geometry in ([None, Point(1, 2)], [Point(1, 2), Point(3, 4)]):
        ds = xr.Dataset({"geometry": ("x", np.array(geometry, dtype=object))})
        with pytest.raises(EncodingError, match=r"'geometry'.*dtype object, of .*\.Point\..*WKB or WKT"):
            zarrds.save(ds, tmp_path / "a.zarr")


def test_labels_of_a_dtype_of_another_library(tmp_path: Path) -> None:
    """As geometries of GeoPandas."""

    class Dtype(pd.api.extensions.ExtensionDtype):
        name, type = "geometry", Point

    class Geometries(pd.api.extensions.ExtensionArray):
        dtype = Dtype()

        def __len__(self) -> int:
            return 2

        def __getitem__(self, item: Any) -> Any:
            return Point(1, 2) if isinstance(item, int) else self

        def isna(self) -> Any:
            return np.zeros(2, bool)

        def copy(self) -> Geometries:
            return self

    ds = pd.DataFrame({"geometry": pd.Series(Geometries())}).to_xarray()
    with pytest.raises(EncodingError, match=r"'geometry'.*found geometry.*to_wkb"):
        zarrds.save(ds, tmp_path / "a.zarr")


def test_a_store_that_only_its_library_writes_says_so() -> None:
    """As sessions of Icechunk."""
    with pytest.raises(ReadOnlyError, match=r"ds\.to_zarr\(store\)"):
        zarrds.save(xr.Dataset({"a": 1}), zarr.storage.MemoryStore(), mode="a")


def test_what_is_no_dataset_becomes_one(tmp_path: Path) -> None:
    class Polars:
        def to_pandas(self) -> pd.DataFrame:
            return pd.DataFrame({"a": [1]})

    for given, way in (
        (Polars(), r"\.to_pandas\(\)\.to_xarray\(\)"),
        (pd.DataFrame({"a": [1]}), r"first: \.to_xarray\(\)"),
        (object(), "found object$"),
    ):
        with pytest.raises(EncodingError, match=way):
            zarrds.save(given, tmp_path / "a.zarr")  # type: ignore[arg-type]  # a user's mistake
    zarrds.save(Polars().to_pandas().to_xarray(), tmp_path / "a.zarr")


@pytest.mark.parametrize("labels", [pd.interval_range(0, 3), pd.period_range("2000-01", periods=3, freq="M")])
def test_objects_that_are_intervals_or_periods_come_back_as_such(tmp_path: Path, labels: Any) -> None:
    """As flox groups by bins."""
    ds = xr.Dataset({"v": ("b", labels.astype(object))}, {"b": labels.astype(object)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zarrds.save(ds, tmp_path / "a.zarr")
    with xr.open_dataset(tmp_path / "a.zarr", engine="zarrds") as found:
        assert found.indexes["b"].equals(labels)
        assert found.v.values.tolist() == list(labels)

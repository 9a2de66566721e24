"""xarray's own tests of an engine, run on ``zarrds.save`` and ``engine="zarrds"``.

What a class leaves out is overridden by name, with the reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.xarray_overrides import KeepsLabels

pytest.importorskip("dask", reason="xarray's tests of engines use dask arrays")
suite = pytest.importorskip("xarray.tests.test_backends", reason="this xarray was installed without its tests")

# xarray's encoders warn of some of the data in its own tests: a _FillValue that does not fit, objects in dask arrays
pytestmark = pytest.mark.filterwarnings("ignore::xarray.SerializationWarning")

# what either engine makes of a store must be identical
PACKED: Any = next(
    mark.args[1]
    for mark in suite.CFEncodedBase.test_roundtrip_mask_and_scale.pytestmark
    if mark.name == "parametrize" and "decoded_fn" in mark.args[0]
)
FLOAT32 = pytest.mark.skip(reason="JSON has no float32: a scale_factor is read as float64, and so is what it scales")


@pytest.fixture(params=["s", "ms", "us", "ns"])
def time_unit(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["numpy", "dask"])
def use_dask(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class ZarrdsBase(KeepsLabels, suite.CFEncodedBase):  # type: ignore[misc,name-defined]  # xarray's tests are untyped
    file_format = "NETCDF4"  # else the suite believes that there is no uint8
    save_kwargs: ClassVar[dict[str, Any]] = {"zarr_format": 3}

    @contextmanager
    def make_target(self) -> Iterator[Any]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / "x.zarr"

    def save(self, dataset: xr.Dataset, path: Any, **kwargs: Any) -> None:
        zarrds.save(dataset, path, **self.save_kwargs, **kwargs)

    @contextmanager
    def open(self, path: Any, **kwargs: Any) -> Iterator[xr.Dataset]:
        with xr.open_dataset(path, engine="zarrds", **kwargs) as ds:
            yield ds

    @contextmanager
    def roundtrip(
        self,
        data: xr.Dataset,
        save_kwargs: dict[str, Any] | None = None,
        open_kwargs: dict[str, Any] | None = None,
        allow_cleanup_failure: bool = False,
    ) -> Iterator[xr.Dataset]:
        with self.make_target() as target:
            self.save(data, target, **(save_kwargs or {}))
            with self.open(target, **(open_kwargs or {})) as ds:
                yield ds

    @contextmanager
    def roundtrip_append(self, data: xr.Dataset) -> Iterator[xr.Dataset]:
        with self.make_target() as target:
            for name in data.variables:
                self.save(data[[name]], target, mode="a")
            with self.open(target) as ds:
                yield ds

    def test_write_store(self) -> None:
        # `dump_to_store` needs xarray's AbstractDataStore, which zarrds does without: the same through `save`
        expected = suite.create_test_data()
        with self.roundtrip(expected, open_kwargs={"decode_cf": False}) as stored:
            suite.assert_allclose(expected, xr.decode_cf(stored))

    def test_roundtrip_example_1_netcdf(self) -> None:
        # xarray's mark asks for a module "netcdf", which nobody has
        with suite.open_example_dataset("example_1.nc") as expected, self.roundtrip(expected) as actual:
            suite.assert_identical(expected, actual)

    @pytest.mark.skip(reason="this one goes through Iris, and through no file")
    def test_coordinate_variables_after_iris_roundtrip(self) -> None: ...

    @pytest.mark.skip(reason="Zarr has no unlimited dimensions: every dimension can grow")
    def test_encoding_unlimited_dims(self) -> None: ...

    @pytest.mark.skip(reason="objects of dask are written block by block: there is nothing to warn of")
    def test_string_object_warning(self) -> None: ...

    @pytest.mark.skip(reason="Zarr has strings of any length: characters in a dimension of their own are netCDF's")
    def test_encoding_kwarg_fixed_width_string(self) -> None: ...

    @pytest.mark.parametrize(("decoded_fn", "encoded_fn"), PACKED)
    @pytest.mark.parametrize("dtype", [np.dtype("f8"), pytest.param(np.dtype("f4"), marks=FLOAT32)], ids=str)
    def test_roundtrip_mask_and_scale(self, decoded_fn: Any, encoded_fn: Any, dtype: np.dtype[Any]) -> None:
        super().test_roundtrip_mask_and_scale(decoded_fn, encoded_fn, dtype)

    def test_append_with_invalid_dim_raises(self) -> None:
        # with the message of xarray's zarr engine, not that of its netCDF engines
        data = suite.create_test_data()
        with self.make_target() as target:
            self.save(data, target)
            cut = data.assign(var9=data.var2 * 3).isel(dim1=slice(2, 6))
            with pytest.raises(ValueError, match="different dimension sizes"):
                self.save(cut, target, mode="a")
            with self.open(target) as actual:
                suite.assert_identical(data, actual)


class TestFormat3(ZarrdsBase):
    pass


@pytest.mark.slow
class TestFormat2(ZarrdsBase):
    save_kwargs: ClassVar[dict[str, Any]] = {"zarr_format": 2}


@pytest.mark.slow
class TestMemoryStore(ZarrdsBase):
    @contextmanager
    def make_target(self) -> Iterator[Any]:
        yield zarrds.MemoryStore()


@pytest.mark.slow
class TestDaskData(ZarrdsBase):
    def save(self, dataset: xr.Dataset, path: Any, **kwargs: Any) -> None:
        super().save(dataset.chunk(), path, **kwargs)

    @contextmanager
    def open(self, path: Any, **kwargs: Any) -> Iterator[xr.Dataset]:
        with super().open(path, **{"chunks": {}, **kwargs}) as ds:
            yield ds

    @pytest.mark.skip(reason="data of dask is never cached")
    def test_dataset_caching(self) -> None: ...

"""xarray's own tests of its zarr engine, run on zarrds: ``ZarrBase`` and ``TestZarrWriteEmpty``, in both formats.

What zarrds does in another way is overridden by name, with the reason. Left out are xarray's classes that are about the
stores of zarr-python: ``TestZarrDictStore``, ``TestInstrumentedZarrStore``, ``TestZarrNoConsolidatedMetadataSupport``.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.as_zarr_engine import Folder, leave_out, put_in_place
from tests.datasets.xarray_overrides import KeepsLabels
from zarrds.errors import LabelError, StoreNotFoundError

pytest.importorskip("dask", reason="xarray's tests of engines use dask arrays")
zarr = pytest.importorskip("zarr", reason="these are tests of the engine for zarr-python")
numcodecs = pytest.importorskip("numcodecs", reason="codecs of format 2 are its")
suite = pytest.importorskip("xarray.tests.test_backends", reason="this xarray was installed without its tests")

# xarray's encoders warn of some of the data in its own tests: a _FillValue that does not fit, objects in dask arrays
pytestmark = pytest.mark.filterwarnings("ignore::xarray.SerializationWarning")

zarr_python_to_zarr = xr.Dataset.to_zarr
ZSTD = {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle", "blocksize": 0}}


@pytest.fixture(autouse=True)
def _on_zarrds(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    leave_out(request)
    put_in_place(monkeypatch)


@pytest.fixture(params=[False, True], ids=["numpy", "dask"])
def use_dask(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=["s", "ms", "us", "ns"])
def time_unit(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.slow
class TestZarr(Folder, KeepsLabels, suite.TestZarrWriteEmpty):  # type: ignore[misc,name-defined]  # xarray's tests are untyped
    file_format = "NETCDF4"  # else the suite believes that there is no uint8

    def test_runs_on_zarrds(self) -> None:
        # or else all of this would test xarray's own engine
        with self.create_zarr_target() as store:
            xr.Dataset({"v": ("x", [1.0])}).to_zarr(store)
            assert "zarrds" in zarrds.open_array(store, path="v").metadata.extensions
            for opened in (xr.open_dataset(store), xr.open_dataset(store, engine="zarr"), xr.open_zarr(store)):
                assert isinstance(opened.v.encoding["compressors"][0], dict)  # zarr-python has objects there

    # ------------------------------------------------------------------------- what is about zarr-python's objects

    def test_write_store(self) -> None:
        # `dump_to_store` needs xarray's ZarrStore: the same through `save`
        expected = suite.create_test_data()
        with self.roundtrip(expected, open_kwargs={"decode_cf": False}) as stored:
            suite.assert_allclose(expected, xr.decode_cf(stored))

    @pytest.mark.skip_if_param(default_zarr_format=3, reason="no hidden attributes")
    def test_hidden_zarr_keys(self) -> None:
        # the same through `save` and zarr-python's group, without xarray's ZarrStore between them
        expected = suite.create_test_data()
        with self.create_zarr_target() as store:
            self.save(expected, store)
            group = zarr.open_group(store, mode="r+")
            for name, variable in expected.variables.items():
                assert group[name].attrs[self.DIMENSION_KEY] == list(variable.dims)
            with self.open(store) as actual:
                assert not any(self.DIMENSION_KEY in variable.attrs for variable in actual.variables.values())

            del group["var2"].attrs[self.DIMENSION_KEY]
            # there it is an error; here one strange array does not hide the others
            with (
                pytest.warns(UserWarning, match="'var2': it has no names for its dimensions"),
                xr.open_zarr(store, consolidated=False) as actual,
            ):
                assert set(actual.variables) == set(expected.variables) - {"var2"}

    @pytest.mark.skip_if_param(default_zarr_format=2, reason="no dimension names")
    def test_dimension_names(self) -> None:
        # the same through `save` and zarr-python's group, without xarray's ZarrStore between them
        expected = suite.create_test_data()
        with self.create_zarr_target() as store:
            self.save(expected, store)
            for name, array in zarr.open_group(store, mode="r").arrays():
                assert array.metadata.dimension_names == expected[name].dims

    @pytest.mark.skip(reason="objects of dask are written block by block: there is nothing to warn of")
    def test_string_object_warning(self) -> None: ...

    def test_to_zarr_append_compute_false_roundtrip(self) -> None:
        """Objects of dask are written block by block: there is nothing to warn of."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pytest, "warns", lambda *_: contextlib.nullcontext())
            super().test_to_zarr_append_compute_false_roundtrip()

    @pytest.mark.skip(reason="this one is of zarr-python and xarray's ZarrStore alone; zarrds keeps no list of members")
    def test_cache_members(self) -> None: ...

    def test_compressor_encoding(self) -> None:
        # codecs may be given as zarr-python's objects, but are read as JSON objects
        if zarr.config.get("default_zarr_format") == 3:
            codec = zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=8, blocksize=0)
        else:
            codec = numcodecs.Blosc(cname="zstd", clevel=3, shuffle=1)
        # of format 2 as numcodecs has them, so that xarray's own engine takes them too
        read = ZSTD if zarr.config.get("default_zarr_format") == 3 else codec.get_config()
        original = suite.create_test_data()
        for given in (codec, ZSTD):
            with self.roundtrip(original, save_kwargs={"encoding": {"var1": {"compressors": (given,)}}}) as stored:
                assert stored["var1"].encoding["compressors"] == (read,)
                with self.roundtrip(stored) as again:
                    assert again["var1"].encoding["compressors"] == (read,)

    def test_roundtrip_bytes_with_fill_value(self) -> None:
        # ZarrBase leaves it out for a fault of zarr-python
        suite.CFEncodedBase.test_roundtrip_bytes_with_fill_value(self)

    def test_avoid_excess_metadata_calls(self) -> None:
        # xarray's test looks into zarr-python; here it is seen what is asked of the store
        store = Recording()
        xr.Dataset({"test": ("Z", [123])}).to_zarr(store)
        store.gets.clear()
        opened = xr.open_zarr(store)
        assert store.gets
        assert not any(key.startswith("test/") for key in store.gets)  # consolidated metadata is at the root
        store.gets.clear()
        opened.test.compute(scheduler="sync")
        assert store.gets in (["test/c.0"], ["test/0"])

    def test_write_preexisting_override_metadata(self) -> None:
        # there mode="a" leaves the attributes of variables as they are, which xarray's test calls arguably incorrect
        old = xr.Dataset({"u": ("x", np.zeros(10), {"variable": "original"})}, attrs={"global": "original"})
        new = xr.Dataset({"u": ("x", np.ones(10), {"variable": "modified"})}, attrs={"global": "modified"})
        data = xr.Dataset({"u": ("x", np.ones(10), {"variable": "original"})}, attrs={"global": "original"})
        options: list[tuple[dict[str, Any], xr.Dataset]] = [({"mode": "a"}, new), ({"mode": "r+"}, data)]
        for how, expected in [*options, ({"region": {"x": slice(None)}}, data)]:
            with self.create_zarr_target() as store:
                self.save(old, store)
                self.save(new, store, **how)
                with self.open(store) as actual:
                    suite.assert_identical(actual, expected)

    @pytest.mark.parametrize("dtype", ["U", "S"])
    def test_append_string_length_mismatch_raises(self, dtype: str) -> None:
        # strings may get longer: the array is written anew with them
        ds, more = suite.create_append_string_length_mismatch_test_data(dtype)
        more = more.assign_coords(time=[3, 4, 5])
        with self.create_zarr_target() as store:
            self.save(ds, store)
            self.save(more, store, append_dim="time")
            with self.open(store) as actual:
                suite.assert_identical(actual, xr.concat([ds, more], "time"))

    # ------------------------------------------------------------------------------------------ consolidated metadata

    def test_read_non_consolidated_warning(self) -> None:
        # zarrds always writes consolidated metadata, and does without it in other stores, in silence
        expected = suite.create_test_data()
        with self.create_zarr_target() as store:
            zarr_python_to_zarr(expected, store, consolidated=False)
            with xr.open_zarr(store) as actual:
                suite.assert_identical(expected, actual)

    def test_non_existent_store(self) -> None:
        # with a message of its own, as there may well be a file or a folder
        with pytest.raises(StoreNotFoundError, match="no Zarr store here") as caught:
            xr.open_zarr(str(self._folder / "none.zarr"))
        assert isinstance(caught.value, FileNotFoundError)

    # --------------------------------------------------------------------------- chunks, and dask blocks of all sizes

    def test_chunk_encoding(self) -> None:
        # what an earlier file left in an encoding gives way where it does not fit; what is asked for is an error
        data = suite.create_test_data()
        data["var2"].encoding["chunks"] = (5, 5)
        with self.roundtrip(data) as actual:
            assert actual["var2"].encoding["chunks"] == (5, 5)
        data["var2"].encoding["chunks"] = (5, 4.5)
        with self.roundtrip(data) as actual:
            suite.assert_identical(data, actual)
        with pytest.raises(TypeError), self.roundtrip(data, {"encoding": {"var2": {"chunks": (5, 4.5)}}}):
            pass

    @pytest.mark.skip_if_param(default_zarr_format=2, reason="no shards")
    def test_shard_encoding(self) -> None:
        # as above
        data = suite.create_test_data()
        data["var2"].encoding |= {"chunks": (1, 1), "shards": (5, 5)}
        with self.roundtrip(data) as actual:
            assert actual["var2"].encoding["shards"] == (5, 5)
        data["var2"].encoding["chunks"] = (2, 2)
        with self.roundtrip(data) as actual:
            suite.assert_identical(data, actual)
        bad = {"var2": {"chunks": (2, 2), "shards": (5, 5)}}
        with pytest.raises(ValueError, match="shards must be multiples"), self.roundtrip(data, {"encoding": bad}):
            pass

    @pytest.mark.skip_if_param(default_zarr_format=2, reason="no shards")
    @pytest.mark.parametrize("blocks", [6, 3, (5, 4, 3)], ids=str)
    @pytest.mark.parametrize(("chunks", "shards"), [(3, 6), (1, 3), (2, 4), (2, 8)])
    def test_shard_encoding_with_dask(self, blocks: Any, chunks: int, shards: int) -> None:
        # any dask blocks can be saved into any shards
        ds = xr.Dataset({"var1": ("x", np.arange(12))})
        encoding = {"var1": {"chunks": (chunks,), "shards": (shards,)}}
        with self.roundtrip(ds.chunk({"x": blocks}), {"encoding": encoding}) as actual:
            assert actual["var1"].encoding["chunks"] == (chunks,)
            assert actual["var1"].encoding["shards"] == (shards,)
            suite.assert_identical(ds, actual)

    @pytest.mark.parametrize("asked", [None, 2, 3, (4,), 5, 6])
    @pytest.mark.parametrize("blocks", [4, (5, 4, 3), (3, 3, 6), (3, 6, 3), (5, 5, 2), (3, 5, 3, 1)], ids=str)
    def test_chunk_encoding_with_dask(self, blocks: Any, asked: Any) -> None:
        # any dask blocks can be saved into any chunks
        ds = xr.Dataset({"var1": ("x", np.arange(12))})
        chunked = ds.chunk({"x": blocks})
        if asked is None:
            with self.roundtrip(chunked) as actual:
                if blocks in (4, (5, 5, 2)):
                    assert actual["var1"].encoding["chunks"] == (chunked.chunks["x"][0],)
                suite.assert_identical(ds, actual)
            return
        with self.roundtrip(chunked, {"encoding": {"var1": {"chunks": asked}}}) as actual:
            assert actual["var1"].encoding["chunks"] == (asked if isinstance(asked, tuple) else (asked,))
            suite.assert_identical(ds, actual)
        chunked["var1"].encoding["chunks"] = asked  # what an earlier file left
        with self.roundtrip(chunked) as actual:
            suite.assert_identical(ds, actual)

    # ---------------------------------------------------------------------------------------------- labels of appends

    def test_append_with_append_dim_no_overwrite(self) -> None:
        # coordinates without the dimension must be those of the store, in every mode
        ds, to_append, _ = suite.create_append_test_data()
        with self.create_zarr_target() as store:
            ds.to_zarr(store)
            for mode in ("a", "a-"):
                with pytest.raises(LabelError, match="labels of 'lon' are not those of the store") as caught:
                    to_append.assign_coords(lon=[-999] * 3).to_zarr(store, mode=mode, append_dim="time")
                assert caught.value.key == "lon"
            suite.assert_identical(ds, xr.open_zarr(store))

            to_append.to_zarr(store, mode="a-", append_dim="time")
            both = xr.concat([ds, to_append], dim="time")
            suite.assert_identical(both, xr.open_zarr(store))
            with pytest.raises(LabelError, match="overlap"):  # xarray's test appends the same times twice
                to_append.to_zarr(store, append_dim="time")
            for on_overlap in ("skip", "replace"):
                to_append.to_zarr(store, append_dim="time", on_overlap=on_overlap)
                suite.assert_identical(both, xr.open_zarr(store))

    # -------------------------------------------------------------------------------------------------------- the rest

    def test_drop_encoding(self) -> None:
        # xarray's mark asks for a module "netcdf", which nobody has
        with suite.open_example_dataset("example_1.nc") as ds:
            encoding = {name: dict(variable.encoding) for name, variable in ds.data_vars.items()}
            with self.roundtrip(ds, {"encoding": encoding}) as actual:
                suite.assert_identical(ds, actual)

    @pytest.mark.parametrize("on_variable", [False, True])
    def test_attributes(self, on_variable: bool) -> None:
        # the message names the variable, if it is one's
        ds = xr.Dataset({"foo": xr.Variable((), 0)})
        attributes = ds.foo.attrs if on_variable else ds.attrs
        attributes["good"] = {"key": "value"}
        with self.roundtrip(ds) as actual:
            suite.assert_identical(ds, actual)
        attributes["bad"] = xr.DataArray()
        with pytest.raises(TypeError, match="attribute 'bad' cannot be stored") as caught, self.roundtrip(ds):
            pass
        assert caught.value.key == ("foo" if on_variable else None)

    @pytest.mark.parametrize("write_empty", [True, False, None])
    def test_write_empty(self, write_empty: bool | None, use_dask: bool) -> None:
        # xarray's default is False, and keys of few chunks are written with other separators here
        data = np.array([np.nan, np.nan, 1.0, np.nan]).reshape((1, 2, 2))
        ds = xr.Dataset({"test": (("Z", "Y", "X"), data)})
        encoding = {} if use_dask else {"test": {"chunks": (1, 1, 1)}}
        ds = ds.chunk(1) if use_dask else ds
        with self.create_zarr_target() as store:
            ds.to_zarr(store, encoding=encoding, write_empty_chunks=write_empty)
            first = {"0.1.0"} if write_empty is False else {"0.0.0", "0.0.1", "0.1.0", "0.1.1"}
            assert chunk_names(store) == first
            ds.to_zarr(store, mode="a", append_dim="Z", write_empty_chunks=write_empty)
            assert chunk_names(store) == first | {name.replace("0", "1", 1) for name in first}
            suite.assert_identical(xr.open_zarr(store).compute(), xr.concat([ds, ds], dim="Z").compute())


def chunk_names(store: str) -> set[str]:
    """The names of the chunks of the array "test"."""
    names = {path.name for path in Path(store, "test").iterdir() if path.is_file()} - {
        "zarr.json",
        ".zarray",
        ".zattrs",
    }
    return {name.removeprefix("c.") for name in names}


class Recording(zarrds.MemoryStore):
    """Notes the keys whose values are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.gets: list[str] = []

    def get(self, key: str, buffer: memoryview | None = None) -> Any:
        self.gets.append(key)
        return super().get(key, buffer)

"""xarray's own tests of DataTree and its zarr engine, run on zarrds.

What zarrds does in another way is overridden by name, with the reason.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import zarrds
from tests.datasets.as_zarr_engine import put_in_place

pytest.importorskip("dask", reason="xarray's tests of engines use dask arrays")
zarr = pytest.importorskip("zarr", reason="these are tests of the engine for zarr-python")
numcodecs = pytest.importorskip("numcodecs", reason="codecs of format 2 are its")
suite = pytest.importorskip("xarray.tests.test_backends_datatree", reason="this xarray was installed without its tests")
fixtures = pytest.importorskip("xarray.tests.conftest", reason="this xarray was installed without its tests")

zarr_python_to_zarr = xr.DataTree.to_zarr
create_test_datatree = fixtures.create_test_datatree
simple_datatree = fixtures.simple_datatree
unaligned_datatree_zarr_factory = suite.unaligned_datatree_zarr_factory


@pytest.fixture(autouse=True)
def _on_zarrds(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch)


class TestZarrDatatreeIO(suite.TestZarrDatatreeIO):  # type: ignore[misc,name-defined]  # xarray's tests are untyped
    def test_runs_on_zarrds(self, tmp_path: Path, simple_datatree: xr.DataTree, zarr_format: int) -> None:
        # or else all of this would test xarray's own engine
        path = tmp_path / "x.zarr"
        simple_datatree.to_zarr(path, zarr_format=zarr_format)
        assert "zarrds" in zarrds.open_array(path, path="set2/a").metadata.extensions
        for options in ({}, {"engine": "zarr"}):
            compressors = xr.open_datatree(path, **options)["set2/a"].encoding["compressors"]
            assert isinstance(compressors[0], dict)  # zarr-python has objects there

    def test_zarr_encoding(self, tmp_path: Path, simple_datatree: xr.DataTree, zarr_format: int) -> None:
        # codecs may be given as zarr-python's objects, but are read as JSON objects
        if zarr_format == 2:
            codec = numcodecs.Blosc(cname="zstd", clevel=3, shuffle=2)
        else:
            codec = zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")
        path = tmp_path / "test.zarr"
        encoding: dict[str, Any] = {"/set2": {name: {"compressors": (codec,)} for name in "ab"}}
        simple_datatree.to_zarr(path, encoding=encoding, zarr_format=zarr_format)
        settings = {"cname": "zstd", "clevel": 3, "shuffle": "bitshuffle", "blocksize": 0}
        read = codec.get_config() if zarr_format == 2 else {"name": "blosc", "configuration": settings}
        with xr.open_datatree(path, engine="zarr") as stored:
            assert stored["set2/a"].encoding["compressors"] == (read,)
            assert stored["set1/a"].encoding["compressors"] != stored["set2/a"].encoding["compressors"]
        with pytest.raises(ValueError, match="unexpected encoding group"):
            simple_datatree.to_zarr(path, encoding=encoding | {"/not/a/group": {"foo": "bar"}})

    @pytest.mark.skip(reason="a zip file is a store of zarr-python")
    def test_to_zarr_zip_store(self, zarr_format: int) -> None: ...

    def test_to_zarr_not_consolidated(self, tmp_path: Path, simple_datatree: xr.DataTree, zarr_format: int) -> None:
        # zarrds always writes consolidated metadata, and does without it in other stores, in silence
        path = tmp_path / "test.zarr"
        zarr_python_to_zarr(simple_datatree, path, consolidated=False, zarr_format=zarr_format)
        with xr.open_datatree(path, engine="zarr") as stored:
            suite.assert_equal(simple_datatree, stored)

    def test_to_zarr_compute_false(self, tmp_path: Path, simple_datatree: xr.DataTree, zarr_format: int) -> None:
        # as xarray's test, but with the file names of zarrds, which also writes chunks that hold the fill value alone
        path = tmp_path / "test.zarr"
        chunked = simple_datatree.chunk()
        later = chunked.to_zarr(path, compute=False, zarr_format=zarr_format)
        # .chunk() leaves scalars as they are, and these are written at once
        assert chunk_files(path) == {f"set1/{name}/{'0' if zarr_format == 2 else 'c'}" for name in "ab"}
        with xr.open_datatree(path, engine="zarr") as unfinished:
            assert set(unfinished.groups) == set(simple_datatree.groups)
            assert not unfinished.equals(simple_datatree)
        later.compute()
        suite.assert_identical(xr.load_datatree(path, engine="zarr"), simple_datatree)


def chunk_files(store: Path) -> set[str]:
    """The keys of all chunks."""
    documents = {"zarr.json", ".zarrds.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"}
    return {str(p.relative_to(store)) for p in store.rglob("*") if p.is_file() and p.name not in documents}

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import FORMATS, contents, files, open_zarrds, small
from zarrds.errors import NodeNotFoundError, StoreExistsError, UnsupportedError, ZarrdsError

# modes and groups


def test_new_store(path: Path) -> None:
    assert zarrds.save(small(), path) is None  # type: ignore[func-returns-value]  # that is what is tested
    before = files(path)
    for mode in (None, "w-"):
        with pytest.raises(StoreExistsError, match="mode='w'"):
            zarrds.save(small(2), path, mode=mode)  # type: ignore[arg-type]  # of the two modes
    assert files(path) == before


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_mode_w_replaces_the_whole_store(path: Path, zarr_format: int) -> None:
    zarrds.save(small().rename(v="gone", x="gone too"), path, zarr_format=5 - zarr_format)
    zarrds.save(small(), path, group="a")
    zarrds.save(small(2), path, mode="w", zarr_format=zarr_format)
    clean = path.parent / "clean.zarr"
    zarrds.save(small(2), clean, zarr_format=zarr_format)
    assert contents(path) == contents(clean)
    assert set(os.listdir(path.parent)) == {"x.zarr", "clean.zarr"}


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_groups(path: Path, zarr_format: int) -> None:
    zarrds.save(small(1), path, group="a/b", zarr_format=zarr_format)
    zarrds.save(small(2), path, group="a-b")  # in the store's own format
    zarrds.save(small(3), path, group="/c/")
    before = files(path)
    for group in ("a/b", "a", "/c/", ""):
        with pytest.raises(StoreExistsError, match="exists here already"):
            zarrds.save(small(9), path, group=group)
    assert files(path) == before
    zarrds.save(small(4), path, group="c", mode="w")
    zarrds.save(small(5), path, group="a/b/d/e")
    root_documents = {"zarr.json", ".zmetadata"}
    touched = {key for key, value in files(path).items() if before.get(key) != value} | before.keys() - files(
        path
    ).keys()
    assert {key for key in touched if not key.startswith(("c/", "a/b/d/"))} <= root_documents
    for engine in ("zarrds", "zarr"):
        options = {"engine": engine, "consolidated": True}
        for group, factor in (("a/b", 1), ("a-b", 2), ("c", 4), ("a/b/d/e", 5)):
            xr.testing.assert_identical(xr.open_dataset(path, group=group, **options).load(), small(factor))
        tree = xr.open_datatree(path, **options)
        assert set(tree.groups) == {"/", "/a", "/a-b", "/a/b", "/a/b/d", "/a/b/d/e", "/c"}
    with pytest.raises(StoreExistsError, match="format"):
        zarrds.save(small(), path, group="new", zarr_format=5 - zarr_format)
    with pytest.raises(NodeNotFoundError, match="an array cannot hold groups"):
        zarrds.save(small(), path, group="c/v/deeper")


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_group_in_a_store_of_zarr_python(path: Path, zarr_format: int) -> None:
    small(1).to_zarr(path, zarr_format=zarr_format, consolidated=False)
    small(2).to_zarr(path, group="a/b", zarr_format=zarr_format, mode="a", consolidated=False)
    zarrds.save(small(3), path, group="a/c")
    zarrds.save(small(4), path, group="a/b", mode="w")
    for engine in ("zarrds", "zarr"):
        for group, factor in ((None, 1), ("a/b", 4), ("a/c", 3)):
            found = xr.open_dataset(path, engine=engine, group=group, consolidated=True)
            xr.testing.assert_identical(found.load(), small(factor))


@pytest.mark.parametrize("mode", ["w-", "w"])
@pytest.mark.parametrize("group", [None, "a"])
def test_a_folder_of_other_files_is_kept(tmp_path: Path, mode: Any, group: str | None) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    before = files(tmp_path)
    with pytest.raises(StoreExistsError, match="replaces nothing that is no Zarr store"):
        zarrds.save(small(), tmp_path / "thesis", mode=mode, group=group)
    (tmp_path / "file.zarr").write_text("x")
    before["file.zarr"] = b"x"
    with pytest.raises(ZarrdsError) as caught:
        zarrds.save(small(), tmp_path / "file.zarr", mode=mode, group=group)
    assert isinstance(caught.value, OSError)
    assert files(tmp_path) == before


def test_an_empty_folder_may_become_a_store(path: Path) -> None:
    path.mkdir()
    zarrds.save(small(), path)
    xr.testing.assert_identical(open_zarrds(path).load(), small())


@pytest.mark.parametrize("store", ["path", "memory"])
@pytest.mark.parametrize("chunks", [None, {}, {"y": 2}])
@pytest.mark.filterwarnings("ignore:The specified chunks separate")
def test_a_lazy_dataset_over_its_own_store(path: Path, store: str, chunks: Any) -> None:
    target: Any = path if store == "path" else zarrds.MemoryStore()
    zarrds.save(small(), target, encoding={"v": {"chunks": (1, 4)}})
    changed = open_zarrds(target, chunks=chunks)
    changed = changed.assign(w=changed.v * 2).isel(x=slice(None, None, -1))
    expected = changed.compute()
    zarrds.save(changed, target, mode="w")
    xr.testing.assert_identical(open_zarrds(target).load(), expected)


def test_a_lazy_group_over_itself(path: Path) -> None:
    zarrds.save(small(), path, group="a")
    lazy = open_zarrds(path, group="a", chunks={})
    zarrds.save(lazy * 2, path, group="a", mode="w")
    xr.testing.assert_identical(open_zarrds(path, group="a").load(), small() * 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "x"}, "unknown mode"),
        ({"mode": "r"}, "unknown mode"),
        ({"group": "../x"}, "not a valid key"),
        ({"group": "a//b"}, "not a valid key"),
        ({"zarr_format": 1}, "zarr_format"),
        ({"workers": 0}, "workers"),
    ],
)
def test_wrong_options(path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ZarrdsError, match=words):
        zarrds.save(small(), path, **options)
    assert not path.exists()


# DataArrays


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("name", ["t2m", None, "x", "y", "label", "a b"])
def test_data_arrays(path: Path, name: str | None, zarr_format: int) -> None:
    array = xr.DataArray(
        np.arange(6.0).reshape(2, 3), {"x": [1, 2, 3], "label": ("y", ["a", "b"])}, ("y", "x"), name, {"units": "K"}
    )
    zarrds.save(array, path, zarr_format=zarr_format)
    for engine in ("zarrds", "zarr"):
        found = xr.open_dataarray(path, engine=engine)
        xr.testing.assert_identical(found.load(), array)
        assert found.name == name
    assert array.attrs == {"units": "K"}


def test_the_dataset_itself_is_left_alone(path: Path) -> None:
    ds = small().chunk(y=2)
    ds["v"].encoding = {"chunks": (2, 2), "_FillValue": -1}
    ds["v"].attrs = {"list": [1, 2]}
    ds.encoding = {"unlimited_dims": {"y"}}
    copy = ds.copy(deep=True)
    zarrds.save(ds, path, encoding={"v": {"dtype": "i2"}})
    assert ds.v.encoding == copy.v.encoding
    assert ds.encoding == copy.encoding
    assert ds.v.chunks == copy.v.chunks
    xr.testing.assert_identical(ds, copy)


# progress and workers


def test_progress(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ds = xr.Dataset({"v": (("y", "x"), np.zeros((8, 6))), "d": ("x", dask.array.zeros(6, chunks=4)), "s": ((), 1.0)})
    zarrds.save(ds, path, encoding={"v": {"chunks": (3, 4)}, "d": {"chunks": 2}}, progress=True)
    shown = capsys.readouterr().err
    assert "save" in shown
    assert "10/10" in shown.replace(" ", "")  # 6 + 3 + 1 chunks
    zarrds.save(ds, path, mode="w")
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_progress_needs_tqdm(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["tqdm"] = None  # as if it were not installed
import xarray as xr, zarrds
try:
    zarrds.save(xr.Dataset({"v": 1}), sys.argv[1], progress=True)
except zarrds.errors.UnsupportedError as error:
    print(error)
zarrds.save(xr.Dataset({"v": 1}), sys.argv[1])
"""
    command = [sys.executable, "-c", code, str(tmp_path / "x.zarr")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]).stdout
    assert "tqdm" in printed
    assert "pip install" in printed


@pytest.mark.parametrize("chunked", [False, True])
def test_as_many_workers_as_you_like(tmp_path: Path, chunked: bool) -> None:
    rng = np.random.default_rng(0)
    ds = xr.Dataset({"v": (("y", "x"), rng.integers(0, 9, (200, 300))), "s": ("y", [f"n{i}" for i in range(200)])})
    if chunked:
        ds = ds.chunk(y=70)
    for workers in (None, 1, 4):
        zarrds.save(ds, tmp_path / f"{workers}.zarr", encoding={"v": {"chunks": (30, 40)}}, workers=workers)
    assert contents(tmp_path / "1.zarr") == contents(tmp_path / "4.zarr") == contents(tmp_path / "None.zarr")


def test_a_group_and_a_variable_of_one_name(path: Path) -> None:
    zarrds.save(small(), path)
    with pytest.raises(ZarrdsError):
        zarrds.save(small(), path, group="v")
    with pytest.raises((ZarrdsError, UnsupportedError)):
        zarrds.save(small(), path, group="v/c")
    xr.testing.assert_identical(open_zarrds(path).load(), small())

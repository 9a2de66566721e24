"""What a user puts beside or inside of a store is never deleted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import Format, files, load
from zarrds.errors import StoreExistsError
from zarrds.metadata.nodes.belonging import others

DS = xr.Dataset({"a": (("y", "x"), np.arange(12.0).reshape(3, 4)), "b": ("y", [1, 2, 3])}, {"y": [0, 1, 2]})
WAYS: dict[str, Callable[[Path], Any]] = {
    "w": lambda path: zarrds.save(DS, path, mode="w"),
    "w of another format": lambda path: zarrds.save(DS, path, mode="w", zarr_format=2),
    "w of a group": lambda path: zarrds.save(DS, path, mode="w", group="g"),
    "w of a group above": lambda path: zarrds.save(DS[["b"]], path, mode="w", group="g"),
    "w of dask": lambda path: zarrds.save(DS.chunk(), path, mode="w"),
    "w of compute=False": lambda path: zarrds.save(DS.chunk(), path, mode="w", compute=False),
    "tree": lambda path: zarrds.save(xr.DataTree(DS), path, mode="w"),
    "drop_vars": lambda path: zarrds.drop_vars(path, "a", group="g"),
    "create_array": lambda path: zarrds.create_array(
        path,
        path="g/a",
        shape=(3,),
        dtype="i4",
        overwrite=True,
        zarr_format=zarrds.open_group(path).metadata.zarr_format,
    ),
    "create_group": lambda path: zarrds.open_group(path, "r+").create_group("g", overwrite=True),
}


@pytest.mark.one_in(4)
@pytest.mark.parametrize("place", ["g/a/plots/x.png", "g/a/README", "g/a/c/notes.txt", "g/a/0/notes.txt", "g/a/007"])
@pytest.mark.parametrize("way", WAYS)
def test_files_stay(path: Path, way: str, place: str, zarr_format: Format) -> None:
    zarrds.save(DS, path, zarr_format=zarr_format)
    zarrds.save(DS, path, group="g", mode="a")
    file = path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    before = files(path)
    with pytest.raises(StoreExistsError, match="no part of Zarr would be deleted") as caught:
        WAYS[way](path)
    assert caught.value.key == place
    assert files(path) == before
    file.unlink()
    WAYS[way](path)


@pytest.mark.parametrize("place", ["README", "docs/a/b.txt", "more/2024.csv", "c/x", "007", "more/2024.01", "more/٣"])
def test_files_beside_arrays(path: Path, place: str, zarr_format: Format) -> None:
    zarrds.save(DS, path, zarr_format=zarr_format)
    file = path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    with pytest.raises(StoreExistsError) as caught:
        zarrds.save(DS, path, mode="w")
    assert caught.value.key == place
    # what deletes nothing goes on
    zarrds.save(DS + 1, path, mode="a")
    zarrds.save(DS.assign_coords(y=[3, 4, 5]), path, append_dim="y")
    zarrds.drop_vars(path, "b")
    zarrds.rename(path, {"a": "c_of_a"})
    assert file.read_text() == "mine"


def test_files_that_come_meanwhile(path: Path) -> None:
    zarrds.save(DS, path)

    def block(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        (path / "README").write_text("mine")
        return values

    later = DS.chunk()
    later["a"] = later.a.copy(data=later.a.data.map_blocks(block, meta=np.zeros((0, 0))))
    with pytest.raises(StoreExistsError, match="no part of Zarr"):
        zarrds.save(later, path, mode="w")
    assert (path / "README").read_text() == "mine"
    xr.testing.assert_identical(load(path), DS)


def test_files_move_with_an_array_that_is_renamed(path: Path) -> None:
    zarrds.save(DS, path)
    (path / "a" / "README").write_text("mine")
    zarrds.rename(path, {"a": "z"})
    assert (path / "z" / "README").read_text() == "mine"


def test_chunks_of_every_kind_are_zarr_s(path: Path, zarr_format: Format) -> None:
    import zarr

    encodings: list[Any] = (
        [None] if zarr_format == 2 else [("default", "/"), ("default", "."), ("v2", "/"), ("v2", ".")]
    )
    for i, encoding in enumerate(encodings):
        name = {} if encoding is None else {"chunk_key_encoding": {"name": encoding[0], "separator": encoding[1]}}
        group = zarr.open_group(path, mode="a", zarr_format=zarr_format)
        for ndim in range(4):
            array = group.create_array(f"a{i}{ndim}", shape=(3,) * ndim, chunks=(2,) * ndim, dtype="i4", **name)
            array[...] = 1
    # what systems and other writers leave is nobody's
    for junk in (".DS_Store", "a00/._x", "a01/c.0.3f2a.partial"):
        (path / junk).write_text("")
    assert list(others(files(path))) == []
    zarrds.save(DS, path, mode="w")
    xr.testing.assert_identical(load(path), DS)


def test_stores_that_are_no_folders() -> None:
    for store in (zarrds.MemoryStore(), "memory://users-files/x.zarr"):
        if isinstance(store, str):
            fsspec = pytest.importorskip("fsspec", reason="URLs need fsspec")
            zarrds.save(DS, store, mode="w")
            fsspec.filesystem("memory").pipe("/users-files/x.zarr/README", b"mine")
        else:
            zarrds.save(DS, store, mode="w")
            store.set("README", b"mine")
        with pytest.raises(StoreExistsError, match="no part of Zarr"):
            zarrds.save(DS, store, mode="w")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_name_with_a_line_feed_is_not_a_users_file(tmp_path: Path, zarr_format: Any) -> None:
    ds = xr.Dataset({"a\nb": ("x", [1, 2]), "c": ("x", [3, 4])})
    zarrds.save(ds, tmp_path / "s.zarr", zarr_format=zarr_format)
    zarrds.save(ds, tmp_path / "s.zarr", zarr_format=zarr_format, mode="w")
    zarrds.drop_vars(tmp_path / "s.zarr", ["a\nb"])
    assert list(xr.load_dataset(tmp_path / "s.zarr", engine="zarrds").data_vars) == ["c"]

"""Names that differ only in case: two here, one on macOS and Windows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest
import xarray as xr

import zarrds
from zarrds import LocalStore
from zarrds.errors import InvalidKeyError
from zarrds.metadata.nodes.belonging import same_but_for_case
from zarrds.storage.local.tree import folds_case


class Folding(LocalStore):
    """A store on a file system that folds case, as far as it tells."""

    folds_case = True  # type: ignore[assignment]  # a property there


def of(*names: str) -> xr.Dataset:
    return xr.Dataset({name: ("x", [1.0, 2.0]) for name in names})


def test_a_new_store_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(InvalidKeyError, match=r"'t2m' and 'T2M'|'T2M' and 't2m'"):
        zarrds.save(of("t2m", "T2M"), Folding(tmp_path / "x.zarr"))
    assert os.listdir(tmp_path) == []
    tree = xr.DataTree.from_dict({"/a": of("v"), "/A": of("v")})
    with pytest.raises(InvalidKeyError, match="differ only in case"):
        zarrds.save(tree, Folding(tmp_path / "x.zarr"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_stands_there_is_not_overwritten(tmp_path: Path, zarr_format: Literal[2, 3]) -> None:
    store = Folding(tmp_path / "x.zarr")
    zarrds.save(of("t2m"), store, zarr_format=zarr_format)
    zarrds.save(of("other"), store, mode="a")
    zarrds.save(of("t2m", "other"), store, mode="a")  # the same names
    before = sorted(tmp_path.rglob("*"))
    attempts = [
        lambda: zarrds.save(of("T2M"), store, mode="a"),
        lambda: zarrds.save(of("v"), store, group="T2m"),
        lambda: zarrds.rename(store, {"other": "T2M"}),
        lambda: zarrds.create_array(store, path="T2M", shape=3, dtype="i4", zarr_format=zarr_format),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidKeyError, match="differ only in case"):
            attempt()
    assert sorted(tmp_path.rglob("*")) == before
    assert zarrds.verify(store).findings == ()


def test_where_case_tells_names_apart_they_are_saved_and_verify_warns(tmp_path: Path) -> None:
    zarrds.save(of("t2m", "T2M"), tmp_path / "x.zarr")
    report = zarrds.verify(tmp_path / "x.zarr")
    assert report.ok
    (found,) = report.findings
    assert found.severity == "warning"
    assert found.key.lower() == "t2m"
    assert "only in case" in found.problem


def test_the_probe(tmp_path: Path) -> None:
    """It looks for a folder, or a file in it, by the name in the other case; a linked file is as one that folds."""
    (tmp_path / "Abc").mkdir()
    assert not folds_case(str(tmp_path / "Abc"))
    (tmp_path / "aBC").mkdir()  # another folder
    assert not folds_case(str(tmp_path / "Abc"))
    folder = tmp_path / "2020"
    assert not folds_case(str(folder))
    folder.mkdir()
    assert not folds_case(str(folder))
    (folder / "zarr.json").write_text("{}")
    assert not folds_case(str(folder))
    (folder / "ZARR.JSON").hardlink_to(folder / "zarr.json")
    assert folds_case(str(folder))
    assert LocalStore(folder).folds_case


def test_pairs() -> None:
    assert list(same_but_for_case(["a", "b", "a/B", "a/b", "c"])) == [("a/B", "a/b")]
    assert list(same_but_for_case(["x/a", "X/a", "x/a"])) == [("x", "X")]
    assert list(same_but_for_case(["\u00e9", "e\u0301"])) == [("\u00e9", "e\u0301")]  # one name on macOS, too

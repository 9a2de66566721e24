"""Groups whose arrays are levels of one image (OME-Zarr, SpatialData): a dimension has another size in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import zarrds
from zarrds.errors import MetadataError

OME = {"ome": {"version": "0.5", "multiscales": [{"datasets": [{"path": "s0"}, {"path": "s1"}]}]}}


def store_of_images(path: Path, attributes: dict[str, Any]) -> None:
    """A table, and an image of two levels, as `ome_zarr.writer` writes it."""
    root = zarr.create_group(path)
    table = root.create_array("table/n", shape=(3,), dtype="i4", dimension_names=["row"])
    table[:] = [1, 2, 3]
    image = root.create_group("images/cells", attributes=attributes)
    for level, size in enumerate((4, 2)):
        array = image.create_array(f"s{level}", shape=(size, size), dtype="f4", dimension_names=["y", "x"])
        array[:] = np.full((size, size), level + 1.0)


def test_a_pyramid_hides_no_other_group(path: Path) -> None:
    store_of_images(path, OME)
    with pytest.warns(UserWarning, match=r"1 arrays.*'images/cells/s1': its dimension 'y' has the size 2, and 4 in"):
        tree = xr.open_datatree(path, engine="zarrds")
    assert tree["table"].n.values.tolist() == [1, 2, 3]
    assert tree["images/cells"].s0.values.tolist() == np.ones((4, 4)).tolist()
    assert list(tree["images/cells"].data_vars) == ["s0"]
    with pytest.warns(UserWarning, match="s1"):
        assert xr.open_groups(path, engine="zarrds")["/table"].n.sum() == 6
    xr.testing.assert_identical(xr.open_datatree(path, engine="zarrds", drop_variables="s1"), tree)  # without a warning
    with pytest.raises(MetadataError, match=r"conflicting sizes for dimension 'y'.*drop_variables"):
        xr.open_dataset(path, engine="zarrds", group="images/cells")
    with xr.open_dataset(path, engine="zarrds", group="images/cells", drop_variables="s0") as level:
        assert level.s1.shape == (2, 2)


def test_copies_of_a_pyramid(path: Path, tmp_path: Path) -> None:
    store_of_images(path, OME)
    zarrds.copy(path, tmp_path / "copy.zarr")
    assert zarr.open_array(tmp_path / "copy.zarr", path="images/cells/s1")[:].tolist() == [[2.0, 2.0], [2.0, 2.0]]
    with pytest.warns(UserWarning, match="s1"):
        assert not zarrds.diff(path, tmp_path / "copy.zarr").differences
    with pytest.warns(UserWarning, match="s1"):
        zarrds.convert(path, tmp_path / "two.zarr", zarr_format=2)
    with xr.open_datatree(tmp_path / "two.zarr", engine="zarrds") as tree:
        assert tree["images/cells"].s0.shape == (4, 4)


@pytest.mark.parametrize("make", [zarrds.copy, zarrds.rechunk])
def test_files_that_are_no_zarr_stay_behind(path: Path, tmp_path: Path, make: Any) -> None:
    """As SpatialData keeps tables of shapes beside arrays."""
    store_of_images(path, OME)
    make(path, tmp_path / "a.zarr")  # without a warning
    (path / "shapes/cells").mkdir(parents=True)
    (path / "shapes/cells/shapes.parquet").write_bytes(b"PAR1")
    (path / ".DS_Store").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"1 files .*were not copied: 'shapes/cells/shapes\.parquet'$") as told:
        make(path, tmp_path / "b.zarr")
    assert told[0].filename == __file__
    make(path, tmp_path / "c.zarr", group="table")
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix == ".zarr") == sorted(
        {"a.zarr", "b.zarr", "c.zarr", path.name}
    )


@pytest.mark.parametrize("attributes", [OME, OME["ome"]], ids=["0.5", "0.4"])
def test_a_pyramid_is_no_damage(path: Path, attributes: dict[str, Any]) -> None:
    store_of_images(path, attributes)
    assert zarrds.verify(path).ok
    zarrds.open_group(path, mode="r+")["images/cells"].attrs.clear()
    found = zarrds.verify(path)
    assert [(each.severity, each.key) for each in found.findings][:1] == [("error", "images/cells/s1")]

"""Labels that groups inherit from the group above: a DataTree reads a group's data by them, though it has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import Format, files
from zarrds.errors import LabelError, LabelNotFoundError


@pytest.fixture
def path(tmp_path: Path, zarr_format: Format) -> Path:
    path = tmp_path / "x.zarr"
    zarrds.save(tree(), path, zarr_format=zarr_format)
    return path


def tree(add: float = 0, x: Any = (10, 20, 30, 40)) -> xr.DataTree:
    """The groups below the root have no labels along x, but inherit them."""
    n = len(x)
    v = xr.Dataset({"v": ("x", np.arange(n) + add)})
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset({"w": ("x", np.arange(n) * 10.0 + add)}, {"x": list(x)}),
            "/c": v,
            "/c/d": xr.Dataset({"u": (("y", "x"), np.arange(2.0 * n).reshape(2, n) + add)}, {"y": [1, 2]}),
            "/e/f": v + 0.5,
        }
    )


def without(whole: xr.DataTree, *groups: str) -> xr.DataTree:
    kept = {path: node for path, node in whole.to_dict().items() if not path.startswith(groups)}
    return xr.DataTree.from_dict(kept)


def load_tree(path: Path) -> xr.DataTree:
    return xr.open_datatree(path, engine="zarrds").load()


def expected(after: xr.DataTree, x: slice, y: slice = slice(None)) -> xr.DataTree:
    """The tree of which a part is replaced by that of another."""

    def mixed(before: xr.Dataset, after: xr.Dataset) -> xr.Dataset:
        before = before.copy(deep=True)
        for name in before.data_vars:
            key = {dim: part for dim, part in (("x", x), ("y", y)) if dim in before[name].dims}
            before[name][key] = after[name][key]
        return before

    return xr.map_over_datasets(mixed, tree(), after)


# regions


@pytest.mark.one_in(3)
@pytest.mark.parametrize("part", [slice(1, 3), slice(2, 4), slice(0, 1), slice(3, 4)], ids=str)
@pytest.mark.parametrize("chunks", [False, True], ids=["numpy", "dask"])
def test_a_region_that_is_found_at_the_root(path: Path, part: slice, chunks: bool) -> None:
    new = tree(100).isel(x=part)
    zarrds.save(new.chunk(x=1) if chunks else new, path, region="auto")
    xr.testing.assert_identical(load_tree(path), expected(tree(100), part))


def test_a_region_that_is_found_in_two_groups(path: Path) -> None:
    """x is found at the root, y in the group that has it."""
    new = tree(100).isel(x=slice(1, 3))
    new["c/d"] = xr.DataTree(new["c/d"].to_dataset(inherit=False).isel(y=[1]))
    zarrds.save(new, path, region="auto")
    there = load_tree(path)
    np.testing.assert_array_equal(there["c/d/u"], expected(tree(100), slice(1, 3), slice(1, 2))["c/d/u"])
    np.testing.assert_array_equal(there["e/f/v"], expected(tree(100), slice(1, 3))["e/f/v"])


@pytest.mark.parametrize("region", [{"x": "auto"}, {"x": slice(1, 3)}], ids=str)
def test_a_region_of_one_dimension(path: Path, region: Any) -> None:
    new = without(tree(100).isel(x=slice(1, 3)), "/c/d", "/e")
    zarrds.save(new, path, region=region)
    there, after = load_tree(path), expected(tree(100), slice(1, 3))
    for name in ("w", "c/v"):
        np.testing.assert_array_equal(there[name], after[name])
    for name in ("c/d/u", "e/f/v"):
        np.testing.assert_array_equal(there[name], tree()[name])


@pytest.mark.parametrize("region", [{"t": "auto"}, {"t": slice(1, 2)}, {"t": slice(1, 2), "k": "auto"}], ids=str)
def test_levels_without_the_dimension(tmp_path: Path, region: Any) -> None:
    """What they hold must be what is stored, as in an append of a tree."""

    def of(values: Any, times: list[int], beside: list[float]) -> xr.DataTree:
        root = xr.Dataset({"v": ("t", values)}, {"t": times})
        return xr.DataTree.from_dict(
            {"/": root, "/a": xr.Dataset({"w": ("t", values)}), "/b": xr.Dataset({"z": ("k", beside)}, {"k": [5, 6]})}
        )

    store = tmp_path / "t.zarr"
    zarrds.save(of([1, 2, 3], [0, 1, 2], [0.5, 1.5]), store)
    zarrds.save(of([7], [1], [0.5, 1.5]), store, region=region)
    xr.testing.assert_identical(load_tree(store), of([1, 7, 3], [0, 1, 2], [0.5, 1.5]))
    before = files(store)
    if "k" not in region:
        with pytest.raises(zarrds.errors.LabelError, match=r"values of 'z' are not those of the store"):
            zarrds.save(of([8], [1], [0.5, 9]), store, region=region)
    with pytest.raises(zarrds.errors.LabelError, match=r"keys in ``region`` are not in Dataset dimensions"):
        zarrds.save(of([8], [1], [0.5, 1.5]), store, region={**region, "q": slice(0, 1)})
    assert files(store) == before


def test_a_region_that_is_not_there(path: Path) -> None:
    before = files(path)
    with pytest.raises(LabelNotFoundError, match="found 50"):
        zarrds.save(tree(100, x=(40, 50)), path, region="auto")
    assert files(path) == before


# labels that are replaced


MOVED = (11, 21, 31, 41)


@pytest.mark.parametrize("mode", ["a", "r+"])
def test_labels_by_which_a_group_below_is_read(path: Path, mode: Any) -> None:
    before = files(path)
    moved = tree(x=MOVED)
    for part, below in ((moved.to_dataset(), "'c/v'|'c/d/u'|'e/f/v'"), (without(moved, "/e"), "'e/f/v'")):
        with pytest.raises(LabelError, match=f"by which ({below}) is read too.*Save the whole tree") as caught:
            zarrds.save(part, path, mode=mode)
        assert (caught.value.path, caught.value.key) == (str(path), "x")
        assert files(path) == before
    xr.testing.assert_identical(load_tree(path), tree())
    zarrds.save(tree(5, x=MOVED), path, mode=mode)  # with all that they label
    xr.testing.assert_identical(load_tree(path), tree(5, x=MOVED))


def test_labels_of_a_group_between(path: Path) -> None:
    """No other groups inherit from "c" than those below it; and not those that have labels of their own."""
    own = tree()["c"].to_dataset()
    zarrds.save(own, path, group="c", mode="a")
    before = files(path)
    with pytest.raises(LabelError, match="by which 'c/d/u' is read too") as caught:
        zarrds.save(own.assign_coords(x=list(MOVED)), path, group="c", mode="a")
    assert caught.value.key == "c/x"
    assert files(path) == before
    zarrds.save(tree()["c/d"].to_dataset(), path, group="c/d", mode="a")
    zarrds.save(own.assign_coords(x=list(MOVED)), path, group="c", mode="a")
    np.testing.assert_array_equal(xr.open_dataset(path, engine="zarrds", group="c").x, MOVED)
    np.testing.assert_array_equal(xr.open_dataset(path, engine="zarrds", group="c/d").x, tree().x)


def test_equal_labels_and_other_dimensions_are_no_matter(path: Path) -> None:
    zarrds.save(tree(3).to_dataset(), path, mode="a")
    np.testing.assert_array_equal(load_tree(path).w, tree(3).w)
    zarrds.save(xr.Dataset({"z": ("k", [1, 2])}, {"k": [0, 1]}), path, mode="a")
    zarrds.save(xr.Dataset({"z": ("k", [3, 4])}, {"k": [5, 6]}), path, mode="a")
    assert load_tree(path).k.values.tolist() == [5, 6]


# labels of its own that a group gets


@pytest.mark.parametrize("whole", [False, True], ids=["a group", "a tree"])
def test_other_labels_than_those_that_a_group_inherits(tmp_path: Path, whole: bool) -> None:
    """What is there would lie under them too, and the groups would be no tree any more."""

    def below(t: int, x: list[int]) -> xr.Dataset:
        return xr.Dataset({"v": (("t", "x"), [[1.0, 2.0]])}, {"t": [t], "x": x})

    path = tmp_path / "t.zarr"
    zarrds.save(
        xr.DataTree.from_dict({"/": xr.Dataset({"w": ("x", [5, 6])}, {"x": [0, 1]}), "/g/h": below(0, [0, 1])}), path
    )
    before = files(path)
    other: Any = {"obj": below(1, [0, 2]), "group": "g/h"}
    if whole:
        other = {"obj": xr.DataTree.from_dict({"/g/h": below(1, [0, 2])})}
    with pytest.raises(LabelError, match=r"labels of 'x' are not those of the store.*Leave them out") as caught:
        zarrds.save(other.pop("obj"), path, append_dim="t", **other)
    assert caught.value.key == "g/h/x"
    assert files(path) == before
    zarrds.save(below(1, [0, 2]).drop_vars("x"), path, group="g/h", append_dim="t")
    zarrds.save(below(2, [0, 1]), path, group="g/h", append_dim="t")
    assert load_tree(path)["g/h"].t.values.tolist() == [0, 1, 2]


def test_other_labels_for_what_stays_in_a_group(path: Path) -> None:
    before = files(path)
    new = xr.Dataset({"z": ("x", [1, 2, 3, 4])}, {"x": list(MOVED)})
    with pytest.raises(LabelError, match=r"labels of 'x' are not those of the store.*Leave them out") as caught:
        zarrds.save(new, path, group="e/f", mode="a")
    assert caught.value.key == "e/f/x"
    assert files(path) == before
    zarrds.save(new.assign_coords(x=tree().x), path, group="e/f", mode="a")
    np.testing.assert_array_equal(load_tree(path)["e/f/z"], [1, 2, 3, 4])
    # which replaces all that lay under the others
    zarrds.save(new.rename(z="v"), path, group="c", mode="a")
    np.testing.assert_array_equal(xr.open_dataset(path, engine="zarrds", group="c").x, MOVED)


# groups that are new

LEVELS = xr.Coordinates.from_pandas_multiindex(pd.MultiIndex.from_product([[1, 2], [1, 2]], names=["p", "q"]), "x")
SPACED = xr.Coordinates.from_xindex(xr.indexes.RangeIndex.arange(10, 30, 5, dim="x"))


@pytest.mark.parametrize(
    ("coords", "size", "problem"),
    [
        ({"x": [10, 20, 30, 41]}, 4, "labels of 'x' are not those of the store"),
        ({"x": [10, 20]}, 2, "another size"),
        ({}, 2, "another size"),
        ({"x": ["a", "b", "c", "d"]}, 4, "of another kind"),
        (LEVELS, 4, "of another kind"),
        (SPACED, 4, "labels of 'x' are not those of the store"),
    ],
)
@pytest.mark.parametrize("group", ["n", "c/d/n", "n/m"])
def test_a_new_group_of_a_tree_fits_those_above(
    path: Path, group: str, coords: dict[str, Any], size: int, problem: str
) -> None:
    new = xr.DataTree.from_dict({f"/{group}": xr.Dataset({"t": ("x", np.zeros(size))}, coords)})
    before = files(path)
    with pytest.raises(LabelError, match=problem) as caught:
        zarrds.save(new, path, mode="a")
    assert caught.value.key in (group, f"{group}/x")
    assert files(path) == before


@pytest.mark.parametrize(
    ("group", "new", "problem"),
    [
        ("e", xr.Dataset({"z": ("x", [1, 2])}), "another size than in group '/'"),
        ("e", xr.Dataset({"z": ("x", [1, 2, 3, 4])}, {"x": [10, 20, 30, 41]}), "labels of 'x' are not those"),
        ("c", xr.Dataset({"w": ("y", [1, 2, 3])}), "another size than in group '/c/d'"),
        ("f/g", xr.Dataset({"z": ("x", [1, 2])}, {"x": [10, 20]}), "another size than in group '/'"),
    ],
)
def test_groups_of_a_tree_that_change_fit_those_above_and_below(
    path: Path, group: str, new: xr.Dataset, problem: str
) -> None:
    """Also those that are there: nothing opened the store as a tree any more."""
    before = files(path)
    with pytest.raises(LabelError, match=problem):
        zarrds.save(xr.DataTree.from_dict({f"/{group}": new}), path, mode="a")
    assert files(path) == before
    other = new.rename({name: f"{name}_2" for name in (*new.data_vars, *new.dims)})
    zarrds.save(xr.DataTree.from_dict({f"/{group}": other}), path, mode="a")
    assert load_tree(path)[group].data_vars


def test_several_levels_where_a_group_inherits_labels(path: Path) -> None:
    before = files(path)
    new = xr.DataTree.from_dict({"/e/f": xr.Dataset({"z": ("x", np.zeros(4))}, LEVELS)})
    with pytest.raises(LabelError, match=r"labels of 'x' are of another kind .*at 'e/f/x'"):
        zarrds.save(new, path, mode="a")
    assert files(path) == before


@pytest.mark.parametrize("coords", [{}, {"x": [10, 20, 30, 40]}, {"x": ("x", [10.0, 20.0, 30.0, 40.0])}])
def test_a_new_group_of_a_tree_that_fits(path: Path, coords: dict[str, Any]) -> None:
    new = xr.Dataset({"t": ("x", np.zeros(4))}, coords)
    zarrds.save(xr.DataTree.from_dict({"/n/m": new}), path, mode="a")
    np.testing.assert_array_equal(load_tree(path)["n/m/t"], new.t)
    np.testing.assert_array_equal(load_tree(path)["n/m"].x, [10, 20, 30, 40])


def test_a_new_group_beside_labels_that_are_written_anew(path: Path) -> None:
    """The whole tree is replaced, with other labels above the new group."""
    new = tree(5, x=(1, 2, 3, 4))
    new["n"] = xr.DataTree(xr.Dataset({"t": ("x", [1, 2, 3, 4])}))
    zarrds.save(new, path, mode="a")
    xr.testing.assert_identical(load_tree(path), new)


def test_a_group_by_itself_is_no_part_of_a_tree(path: Path) -> None:
    coarse = xr.Dataset({"t": ("x", [1.0, 2.0])}, {"x": [15, 35]})
    zarrds.save(coarse, path, group="coarse", mode="a")
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds", group="coarse").load(), coarse)


@pytest.mark.parametrize("mode", ["a", "append"])
def test_parts_of_labels_are_no_dimensions_of_a_tree(tmp_path: Path, mode: str) -> None:
    """Categories of one name in two groups, of which one has more: their dimension is nobody's."""
    few, more = (xr.Dataset({"kind": ("x", pd.Categorical(list(letters)))}) for letters in ("aab", "abc"))
    path = tmp_path / "t.zarr"
    zarrds.save(xr.DataTree.from_dict({"/": few, "/g": few}), path)
    if mode == "a":
        new = {"/g": few.assign(z=few.kind), "/h": more}
        zarrds.save(xr.DataTree.from_dict(new), path, mode="a")
    else:
        new = {"/": few, "/g": more}
        zarrds.save(xr.DataTree.from_dict(new), path, append_dim="x")
    found = load_tree(path)
    assert not zarrds.verify(path).findings
    for group, ds in new.items():
        np.testing.assert_array_equal(found[group].kind.values[-3:], ds.kind.values)

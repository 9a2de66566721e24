"""Dask graphs that are saved while another writer comes between: nothing of the other's is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import Format, files, load
from zarrds.errors import ConflictError, NodeNotFoundError, StoreExistsError
from zarrds.stores import LocalStore


@pytest.fixture
def path(tmp_path: Path, zarr_format: Format) -> Path:
    path = tmp_path / "x.zarr"
    zarrds.save(stored(), path, zarr_format=zarr_format, encoding={"v": {"chunks": (2,)}})
    return path


def stored() -> xr.Dataset:
    return xr.Dataset({"v": ("time", [0.0, 1.0, 2.0, 3.0])}, {"time": [0, 1, 2, 3]}, {"title": "weather"})


def along(dim: str, values: Any, **names: str) -> xr.Dataset:
    """One variable; `names` are its attributes."""
    return xr.Dataset({names.pop("name", "u"): (dim, np.asarray(values, float))}, attrs=names)


def meanwhile(ds: xr.Dataset, name: str, act: Callable[[], object]) -> xr.Dataset:
    """A dataset of which one variable is a dask array; when it is computed, another writer acts first."""
    values = ds[name].values

    def compute(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        act()
        return block

    data = dask.array.from_array(values, chunks=-1).map_blocks(compute, dtype=values.dtype, meta=values[:0])
    return ds.assign({name: ds[name].copy(data=data)})


def visible(path: Path) -> dict[str, bytes]:
    """What a reader may see: all but what an unfinished save has staged."""
    return {name: value for name, value in files(path).items() if "zarrds-partial" not in name}


def save_against(path: Path, ds: xr.Dataset, name: str, act: Callable[[], object], **options: Any) -> ConflictError:
    """Save while another writer acts; the error that says so. All is as the other left it."""
    seen: list[dict[str, bytes]] = []

    def acting() -> None:
        act()
        seen.append(visible(path))

    with pytest.raises(ConflictError, match=r"nothing of this save was written.*Save again") as caught:
        zarrds.save(meanwhile(ds, name, acting), path, **options)
    assert [files(path)] == seen
    assert caught.value.path == str(path)
    return caught.value


# groups


@pytest.mark.parametrize("mode", ["a", "w-", "w"])
def test_a_parent_that_became_a_group(path: Path, mode: Any) -> None:
    ds, other = along("x", [1, 2, 3]), stored().assign_attrs(title="kept")
    error = save_against(path, ds, "u", lambda: zarrds.save(other, path, group="g"), group="g/h", mode=mode)
    assert error.key == "g"
    xr.testing.assert_identical(load(path, group="g"), other)
    zarrds.save(ds, path, group="g/h", mode=mode)
    xr.testing.assert_identical(load(path, group="g"), other)
    xr.testing.assert_identical(load(path, group="g/h"), ds)


@pytest.mark.parametrize("mode", ["a", "w-", "w"])
def test_a_parent_that_became_an_array(path: Path, mode: Any) -> None:
    ds, other = along("x", [1, 2, 3]), along("q", [4, 5], name="g", title="kept")
    late = meanwhile(ds, "u", lambda: zarrds.save(other, path, mode="a"))
    for found in (late, ds):
        with pytest.raises((ConflictError, NodeNotFoundError)) as caught:
            zarrds.save(found, path, group="g/h", mode=mode)
        assert caught.value.key == "g"
        xr.testing.assert_identical(load(path), stored().assign_attrs(title="kept").merge(other))


def test_the_same_new_group(path: Path) -> None:
    ds, other = along("x", [1, 2, 3, 4]), along("x", [5, 6], name="w", title="kept")
    error = save_against(path, ds, "u", lambda: zarrds.save(other, path, group="g"), group="g", mode="a")
    assert error.key == "g"
    xr.testing.assert_identical(load(path, group="g"), other)


def test_other_groups_are_no_conflict(path: Path) -> None:
    ds, other = along("x", [1, 2, 3]), along("x", [5, 6])
    zarrds.save(meanwhile(ds, "u", lambda: zarrds.save(other, path, group="h/i")), path, group="g/h", mode="a")
    xr.testing.assert_identical(load(path, group="g/h"), ds)
    xr.testing.assert_identical(load(path, group="h/i"), other)


# what else is in the group


def test_a_variable_that_came_along_the_dimension_that_grows(path: Path) -> None:
    more = stored().assign_coords(time=[4, 5, 6, 7])
    other = along("time", [10, 11, 12, 13], name="w", title="weather")
    error = save_against(path, more, "v", lambda: zarrds.save(other, path, mode="a"), append_dim="time")
    assert error.key == "w"
    np.testing.assert_array_equal(load(path).w, [10, 11, 12, 13])


def test_variables_that_came_along_the_same_new_dimension(path: Path) -> None:
    other = along("x", [10, 11], name="w", title="weather")
    save_against(path, along("x", [1, 2, 3]), "u", lambda: zarrds.save(other, path, mode="a"), mode="a")
    assert load(path).sizes == {"time": 4, "x": 2}
    # with the same size there is none
    ds = along("x", [1, 2], title="weather")
    more = along("x", [12, 13], name="z", title="weather")
    zarrds.save(meanwhile(ds, "u", lambda: zarrds.save(more, path, mode="a")), path, mode="a")
    xr.testing.assert_identical(load(path), xr.merge([stored(), other, ds, more], combine_attrs="override"))


def test_coordinates_that_came(path: Path) -> None:
    """Which variables are coordinates stands in one attribute of the group: neither writer's may undo the other's."""
    ds = stored().assign_coords(lon=("time", [1.0, 2.0, 3.0, 4.0])).rename(v="u")
    other = stored().assign_coords(lat=("time", [5.0, 6.0, 7.0, 8.0])).drop_vars("v")
    error = save_against(path, ds, "u", lambda: zarrds.save(other, path, mode="a"), mode="a")
    assert error.key == "/"
    assert set(load(path).coords) == {"time", "lat"}
    zarrds.save(ds, path, mode="a")
    assert set(load(path).coords) == {"time", "lat", "lon"}


@pytest.mark.parametrize("variable", [None, "v"])
def test_attributes_that_changed(path: Path, variable: str | None) -> None:
    more = stored().assign_coords(time=[4, 5, 6, 7])
    save_against(path, more, "v", lambda: zarrds.update_attrs(path, {"by": "B"}, variable), append_dim="time")
    there = load(path)
    assert (there if variable is None else there[variable]).attrs["by"] == "B"


# regions


@pytest.mark.parametrize("other", [along("z", [1, 2], name="q"), stored().isel(time=slice(2)) + 100], ids=["none", "v"])
def test_a_store_that_is_replaced_while_a_region_is_written(path: Path, zarr_format: Format, other: xr.Dataset) -> None:
    ds = meanwhile(
        stored()[["v"]].drop_vars("time"), "v", lambda: zarrds.save(other, path, mode="w", zarr_format=zarr_format)
    )
    with pytest.raises(ConflictError, match="replaced the array") as caught:
        zarrds.save(ds, path, region={"time": slice(0, 4)})
    assert caught.value.key == "v"
    if "v" not in other:
        xr.testing.assert_identical(load(path), other)
    assert [p.name for p in path.parent.rglob(".*") if p.name.endswith(".zarrds-partial")] == []


# what is left of a variable that is gone


def test_chunks_that_came_after_their_variable_was_dropped(path: Path) -> None:
    chunks = {key: value for key, value in files(path).items() if key.startswith("v/") and key[-1].isdigit()}
    zarrds.drop_vars(path, "v")
    (path / "v").mkdir()
    for key, value in chunks.items():  # as a writer that looked before it was dropped
        (path / key).write_bytes(value)
    new = along("place", [7], name="v", title="weather")
    zarrds.save(new, path, mode="a", encoding={"v": {"chunks": (1,)}})
    expected = stored().drop_vars("v").merge(new)
    for engine in ("zarrds", "zarr"):
        xr.testing.assert_identical(load(path, engine), expected)
    assert len([key for key in files(path / "v") if key[-1].isdigit()]) == 1
    # nor does it come back when the array grows
    array = zarrds.open_array(path, "r+", path="v")
    array.resize((4,))
    np.testing.assert_array_equal(load(path, missing_chunks="fill").v, [7, np.nan, np.nan, np.nan])


@pytest.mark.parametrize("name", ["notes.txt", "c.0.bak", "deep/er/0"])
def test_files_where_a_variable_is_to_be_are_kept(path: Path, name: str) -> None:
    (path / "u" / name).parent.mkdir(parents=True)
    (path / "u" / name).write_text("mine")
    before = files(path)
    for ds in (along("time", [1, 2, 3, 4]), along("time", [1, 2, 3, 4]).chunk(time=1)):
        with pytest.raises(StoreExistsError, match="stands where a new variable is to be") as caught:
            zarrds.save(ds, path, mode="a")
        assert caught.value.key == f"u/{name}"
        assert files(path) == before


def test_a_group_where_a_variable_is_to_be_is_kept(path: Path, zarr_format: Format) -> None:
    zarrds.save(along("x", [1, 2]), path, group="u/below")
    before = files(path)
    with pytest.raises(StoreExistsError):
        zarrds.save(along("time", [1, 2, 3, 4]), path, mode="a")
    assert files(path) == before


def test_what_a_save_has_nothing_to_do_with_may_change_meanwhile(path: Path) -> None:
    zarrds.save(xr.Dataset({"v": ("x", [1.0]), "other": 1}), path, mode="w")

    def block(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        zarrds.update_attrs(path, {"title": "changed"}, "other")
        return values

    more = xr.Dataset({"v": ("x", [2.0])}).chunk()
    more["v"] = more.v.map_blocks(block, template=more.v)
    zarrds.save(more, path, append_dim="x")
    found = xr.open_dataset(path, engine="zarrds")
    assert found.v.values.tolist() == [1.0, 2.0]
    assert found.other.attrs == {"title": "changed"}


@pytest.mark.parametrize("group", ["/", "v"])
def test_what_the_error_of_a_region_says_was_written(tmp_path: Path, zarr_format: Format, group: str) -> None:
    path = tmp_path / "x.zarr"
    template = stored().chunk(time=2)
    zarrds.save(template, path, compute=False, zarr_format=zarr_format, encoding={"v": {"chunks": (2,)}})

    def act() -> None:
        zarrds.update_attrs(path, {"title": "changed"}, None if group == "/" else group)

    region = meanwhile(stored().drop_vars("time"), "v", act)
    with pytest.raises(ConflictError, match="the data of this save was written to its region") as caught:
        zarrds.save(region, path, region={"time": slice(0, 4)}, mode="r+" if group == "v" else "a")
    assert "nothing of this save" not in str(caught.value)
    assert load(path).v.values.tolist() == [0, 1, 2, 3]


EDITS: dict[str, Callable[[Path], object]] = {
    "attributes": lambda path: zarrds.update_attrs(path, {"a": 1}),
    "rename": lambda path: zarrds.rename(path, {"v": "w"}),
    "drop": lambda path: zarrds.drop_vars(path, "v"),
    "array": lambda path: zarrds.create_array(path, path="n", shape=3, dtype="i4"),
    "add": lambda path: zarrds.save(xr.Dataset({"z": ("t", np.arange(4))}), path, mode="a"),
    "array's attributes": lambda path: zarrds.open_array(path, path="v", mode="r+").attrs.update(a=1),
}


@pytest.mark.parametrize("moment", ["stage_changes", "link", "set", "apply_changes"])
@pytest.mark.parametrize("edit", EDITS)
def test_a_store_that_is_replaced_as_a_whole_gets_nothing(
    tmp_path: Path, edit: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock was taken in the store that was there before, and so was what the change was made from."""
    path = tmp_path / "x.zarr"
    old, new = (xr.Dataset({"v": ("t", np.arange(4.0) + n)}, {"t": np.arange(4)}, {"n": n}) for n in range(2))
    zarrds.save(old, path)
    before: Any = getattr(LocalStore, moment)
    calls: list[str] = []

    def replaced(store: LocalStore, *args: object, **more: object) -> object:
        if not calls and (moment != "set" or "commit" in str(store._final)):
            calls.append(moment)
            zarrds.save(new, path, mode="w")
        return before(store, *args, **more)

    monkeypatch.setattr(LocalStore, moment, replaced)
    try:
        EDITS[edit](path)
    except ConflictError:
        pass
    else:
        assert not calls
    if calls:
        xr.testing.assert_identical(xr.load_dataset(path, engine="zarrds"), new)
    assert zarrds.verify(path).ok
    assert os.listdir(tmp_path) == ["x.zarr"]

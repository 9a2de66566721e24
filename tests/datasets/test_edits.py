from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.samples import DAY, Format, days, files, load
from zarrds.errors import (
    ConflictError,
    EncodingError,
    InvalidKeyError,
    LabelError,
    NodeNotFoundError,
    StoreNotFoundError,
    VariableNotFoundError,
    ZarrdsError,
)

ENGINES = ["zarrds", "zarr"]
DOCUMENTS = {"zarr.json", ".zarrds.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}


def weather() -> xr.Dataset:
    """Days of weather with attributes that name other variables."""
    ds = days(0, 6)
    ds["crs"] = 0
    ds["time_bnds"] = ds.time + xr.DataArray([0, 1], dims="nv") * DAY
    ds["time"].attrs["bounds"] = "time_bnds"
    ds["t2m"].attrs |= {"grid_mapping": "crs", "cell_measures": "area: area", "ancillary_variables": "name crs"}
    return ds


@pytest.fixture(params=[None, "a/b"], ids=["root", "group"])
def group(request: pytest.FixtureRequest) -> str | None:
    found: str | None = request.param
    return found


@pytest.fixture
def path(tmp_path: Path, zarr_format: Format, group: str | None) -> Path:
    path = tmp_path / "x.zarr"
    zarrds.save(weather(), path, group=group, zarr_format=zarr_format, encoding={"t2m": {"chunks": (4, 2)}})
    return path


def is_readable_as(path: Path, group: str | None, expected: xr.Dataset) -> None:
    """Check what both engines read, by consolidated metadata and by single documents."""
    for engine in ENGINES:
        for consolidated in (True, False):
            found = load(path, engine, group=group, consolidated=consolidated)
            xr.testing.assert_identical(found, expected)


def inodes(path: Path) -> dict[str, int]:
    return {str(p.relative_to(path)): os.stat(p).st_ino for p in path.rglob("*") if p.is_file()}


def chunk_files(path: Path) -> dict[str, int]:
    return {name: inode for name, inode in inodes(path).items() if name.rpartition("/")[2] not in DOCUMENTS}


# attributes


def test_attributes_of_a_variable(path: Path, group: str | None) -> None:
    before = files(path)
    reader = xr.open_dataset(path, engine="zarrds", group=group)
    zarrds.update_attrs(path, {"units": "degC", "valid": np.array([1.0, 2.5]), "n": np.int16(3)}, "t2m", group=group)
    expected = weather()
    expected["t2m"].attrs |= {"units": "degC", "valid": [1.0, 2.5], "n": 3}
    is_readable_as(path, group, expected)
    changed = {name for name, value in files(path).items() if before.get(name) != value}
    base = f"{group}/" if group else ""
    assert changed <= {"zarr.json", ".zmetadata"} | {
        f"{base}t2m/{name}" for name in ("zarr.json", ".zattrs", ".zarrds/.zarrds.json", ".zarray")
    }
    xr.testing.assert_identical(reader.load(), weather())  # who is reading goes on


def test_attributes_of_a_group(path: Path, group: str | None) -> None:
    zarrds.update_attrs(path, {"title": "new", "history": ["a", "b"]}, group=group, durable=False)
    is_readable_as(path, group, weather().assign_attrs(title="new", history=["a", "b"]))
    assert "season" in load(path, group=group).coords


def test_attributes_that_go(path: Path, group: str | None) -> None:
    typed = {"n": np.int16(3), "extra": "x", "tuple": (1, 2)}
    zarrds.update_attrs(path, typed, "t2m", group=group)
    zarrds.update_attrs(path, {"title": "t"}, group=group)
    zarrds.update_attrs(path, {"extra": "y", "more": 1}, "t2m", delete=["n", "units", "extra", "tuple"], group=group)
    zarrds.update_attrs(path, {}, delete="title", group=group)
    expected = weather()
    del expected["t2m"].attrs["units"]
    expected["t2m"].attrs |= {"extra": "y", "more": 1}
    expected.attrs.pop("title", None)
    is_readable_as(path, group, expected)
    assert zarrds.verify(path).ok


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("variable", "names"),
    [
        ("t2m", ["scale_factor"]),
        ("t2m", ["more", "_FillValue"]),
        ("time", ["units"]),
        ("time", ["calendar"]),
        ("area", ["dtype"]),
        ("time", ["_ARRAY_DIMENSIONS"]),
        ("t2m", ["nothing", "more"]),
    ],
)
def test_attributes_that_stay(path: Path, group: str | None, variable: str, names: list[str]) -> None:
    zarrds.update_attrs(path, {"more": 1}, variable, group=group)
    before = files(path)
    with pytest.raises(EncodingError, match=r"how the stored values are decoded|no such attribute") as caught:
        zarrds.update_attrs(path, {"harmless": 1}, variable, delete=names, group=group)
    assert (caught.value.found or [""])[0] in names
    assert files(path) == before


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("variable", "attrs"),
    [
        ("t2m", {"scale_factor": 2.0}),
        ("t2m", {"add_offset": 1.0}),
        ("t2m", {"_FillValue": 280.0}),
        ("t2m", {"missing_value": 280.0}),
        ("t2m", {"units": "days since 2000-01-01"}),
        ("t2m", {"_ARRAY_DIMENSIONS": ["a", "b"]}),
        ("t2m", {"coordinates": "area"}),
        ("time", {"units": "hours since 2019-03-05 00:00:00"}),
        ("time", {"calendar": "noleap"}),
        ("t2m", {"units": "fortnights since 2000-01-01"}),
        ("area", {"dtype": "bool"}),
        (None, {"coordinates": "t2m"}),
    ],
)
def test_attributes_that_say_how_to_decode_are_refused(
    path: Path, group: str | None, variable: str | None, attrs: dict[str, Any]
) -> None:
    before = files(path)
    with pytest.raises(EncodingError, match="how the stored values are decoded") as caught:
        zarrds.update_attrs(path, {"harmless": 1, **attrs}, variable, group=group)
    assert next(iter(attrs)) in str(caught.value)
    assert files(path) == before


def test_attributes_that_cannot_be_stored(path: Path, group: str | None) -> None:
    before = files(path)
    for attrs in ({"bad": object()}, {"bad": {1, 2}}, {5: "bad"}):
        with pytest.raises(EncodingError):
            zarrds.update_attrs(path, attrs, "t2m", group=group)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(VariableNotFoundError) as caught:
        zarrds.update_attrs(path, {"a": 1}, "nothing", group=group)
    assert "t2m" in str(caught.value)
    with pytest.raises(NodeNotFoundError):
        zarrds.update_attrs(path, {"a": 1}, group="nowhere")
    assert files(path) == before
    with pytest.raises(StoreNotFoundError):
        zarrds.update_attrs(path.with_name("nothing.zarr"), {"a": 1})
    assert not path.with_name("nothing.zarr").exists()


# names


def test_rename(path: Path, group: str | None) -> None:
    before, chunks = files(path), chunk_files(path)
    names = {"t2m": "temperature", "time": "day", "area": "cell_area", "crs": "grid", "season": "quarter"}
    zarrds.rename(path, names, group=group)
    expected = weather().rename(names)
    expected["temperature"].attrs |= {
        "grid_mapping": "grid",
        "cell_measures": "area: cell_area",
        "ancillary_variables": "name grid",
    }
    is_readable_as(path, group, expected)
    base = f"{group}/" if group else ""

    def moved(name: str) -> str:
        variable, _, rest = name.removeprefix(base).partition("/")
        return f"{base}{names.get(variable, variable)}/{rest}"

    # no chunk was written: each is the same file, under another name
    assert chunk_files(path) == {moved(name): inode for name, inode in chunks.items()}
    assert {n: v for n, v in files(path).items() if n in chunk_files(path)} == {
        moved(name): value for name, value in before.items() if name in chunks
    }


def test_rename_of_a_dimension_without_a_coordinate(path: Path, group: str | None) -> None:
    chunks = chunk_files(path)
    zarrds.rename(path, {"nv": "bound"}, group=group)
    is_readable_as(path, group, weather().rename(nv="bound"))
    assert chunk_files(path) == chunks


def test_a_renamed_variable_keeps_its_place(path: Path, group: str | None) -> None:
    before = [*load(path, group=group).variables]
    names = {"t2m": "temperature", "time": "day"}
    zarrds.rename(path, names, group=group)
    assert [*load(path, group=group).variables] == [names.get(str(name), name) for name in before]


def test_a_renamed_store_is_written_on(path: Path, group: str | None) -> None:
    zarrds.rename(path, {"t2m": "temperature", "time": "day"}, group=group)
    more = weather().assign_coords(time=weather().time + 6 * DAY).rename(t2m="temperature", time="day")
    zarrds.save(more, path, append_dim="day", group=group)
    found = load(path, group=group)
    np.testing.assert_array_equal(found.temperature, np.concatenate([weather().t2m, weather().t2m]))
    zarrds.save(
        weather()[["t2m"]].drop_vars("season").rename(time="old"), path, group=group, mode="a"
    )  # the name is free
    np.testing.assert_array_equal(load(path, group=group).t2m, weather().t2m)


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("names", "error"),
    [
        ({"nothing": "x2"}, VariableNotFoundError),
        ({"t2m": "area"}, LabelError),
        ({"t2m": "nv"}, LabelError),
        ({"t2m": "same", "area": "same"}, LabelError),
        ({"t2m": "area", "area": "t2m"}, LabelError),
        ({"t2m": "a/b"}, LabelError),
        ({"t2m": "zarr.json"}, LabelError),
        ({"t2m": ".zarray"}, LabelError),
        ({"t2m": ".zmetadata"}, LabelError),
        ({"t2m": ".."}, InvalidKeyError),
        ({"t2m": ""}, InvalidKeyError),
        ({"t2m": "back\\slash"}, InvalidKeyError),
        ({"t2m": 3}, EncodingError),
        ({"time": None}, EncodingError),
    ],
    ids=str,
)
def test_names_that_cannot_be(path: Path, group: str | None, names: dict[str, Any], error: type[ZarrdsError]) -> None:
    before = files(path)
    with pytest.raises(error):
        zarrds.rename(path, names, group=group)
    assert files(path) == before


def test_a_group_keeps_its_name(path: Path, group: str | None) -> None:
    zarrds.save(xr.Dataset({"v": 1}), path, group=f"{group or ''}/below")
    for names in ({"t2m": "below"}, {"below": "other"}):
        with pytest.raises((LabelError, VariableNotFoundError)):
            zarrds.rename(path, names, group=group)
    with pytest.raises(VariableNotFoundError):
        zarrds.drop_vars(path, "below", group=group)
    zarrds.rename(path, {"t2m": "t2m"}, group=group)  # nothing to do
    is_readable_as(path, group, weather())


# variables that go


def test_drop_vars(path: Path, group: str | None) -> None:
    before = files(path)
    zarrds.drop_vars(path, ["crs", "season", "name"], group=group)
    expected = weather().drop_vars(["crs", "season", "name"])
    expected["t2m"].attrs = {"units": "K", "cell_measures": "area: area"}
    is_readable_as(path, group, expected)
    base = f"{group}/" if group else ""
    gone = {name for name in before if name.removeprefix(base).split("/")[0] in {"crs", "season", "name"}}
    assert before.keys() - files(path).keys() == gone
    assert not [name for name in ("crs", "season", "name") if (path / base / name).exists()]
    zarrds.drop_vars(path, ["time", "time_bnds"], group=group)
    assert "time" not in load(path, group=group).variables
    with pytest.raises(VariableNotFoundError):
        zarrds.drop_vars(path, ["area", "crs"], group=group)
    zarrds.drop_vars(path, ["area", "crs"], group=group, errors="ignore")
    assert set(load(path, group=group).variables) == {"t2m", "x", "height"}
    with pytest.raises(EncodingError, match="unknown errors"):
        zarrds.drop_vars(path, "t2m", group=group, errors="drop")  # type: ignore[arg-type]  # wrong on purpose


def test_a_dropped_variable_is_saved_anew(path: Path, group: str | None) -> None:
    opened = xr.open_dataset(path, engine="zarrds", group=group)
    zarrds.drop_vars(path, "area", group=group)
    zarrds.save(weather()[["area"]] + 1, path, group=group, mode="a")
    np.testing.assert_array_equal(load(path, group=group).area, weather().area + 1)
    with pytest.raises(ConflictError):
        opened.area.load()


# others


@pytest.mark.parametrize("chunks", [None, {}])
def test_readers_from_before_keep_what_is_there(path: Path, group: str | None, chunks: Any) -> None:
    opened = xr.open_dataset(path, engine="zarrds", group=group, chunks=chunks)
    copy = pickle.loads(pickle.dumps(opened))
    zarrds.rename(path, {"t2m": "temperature"}, group=group)
    zarrds.drop_vars(path, "area", group=group)
    for reader in (opened, copy):
        for gone in ("t2m", "area"):
            with pytest.raises(ConflictError, match="Open the dataset again"):
                reader[gone].variable.compute()
        for kept in ("name", "time_bnds", "season"):
            xr.testing.assert_identical(reader[kept].variable.compute(), weather()[kept].variable)


def test_edits_of_stores_of_the_zarr_engine(tmp_path: Path, zarr_format: Format, group: str | None) -> None:
    path = tmp_path / "x.zarr"
    ds = weather().drop_vars("name")
    ds["t2m"].attrs.pop("ancillary_variables")
    ds.to_zarr(path, group=group, zarr_format=zarr_format, consolidated=False)
    zarr.open_group(path, mode="r+", path=group or "", zarr_format=zarr_format).attrs["added"] = 1
    zarrds.update_attrs(path, {"units": "degC"}, "t2m", group=group)
    zarrds.rename(path, {"area": "cell_area", "x": "place"}, group=group)
    zarrds.drop_vars(path, "season", group=group)
    expected = ds.rename(area="cell_area", x="place").drop_vars("season").assign_attrs(added=1)
    expected["t2m"].attrs |= {"units": "degC", "cell_measures": "area: cell_area"}
    for engine in ENGINES:
        xr.testing.assert_identical(load(path, engine, group=group, consolidated=False), expected)
        # zarrds rewrites what is consolidated, and only the documents of what was not
        xr.testing.assert_identical(load(path, engine, group=group), expected)


def test_edits_in_memory(zarr_format: Format) -> None:
    store = zarrds.MemoryStore()
    zarrds.save(days(0, 4), store, zarr_format=zarr_format)
    zarrds.rename(store, {"t2m": "t", "x": "place"})
    zarrds.drop_vars(store, ["name"])
    zarrds.update_attrs(store, {"units": "degC"}, "t")
    expected = days(0, 4).rename(t2m="t", x="place").drop_vars("name")
    expected["t"].attrs["units"] = "degC"
    xr.testing.assert_identical(load(store), expected)


@pytest.mark.parametrize("writer", ["zarrds", "zarr"])
@pytest.mark.parametrize("way", ["drop_vars", "copy", "export"])
def test_coordinates_that_only_a_dropped_variable_names(
    tmp_path: Path, writer: str, way: str, zarr_format: Any
) -> None:
    labels = {"label": ("y", list("abc")), "lat": (("x", "y"), np.ones((2, 3))), "height": 5}
    ds = xr.Dataset({"t": (("x", "y"), np.ones((2, 3))), "u": ("x", [1, 2])}, {"x": [1, 2], **labels})
    path, out = tmp_path / "x.zarr", tmp_path / ("x.nc" if way == "export" else "y.zarr")
    if writer == "zarrds":
        zarrds.save(ds, path, zarr_format=zarr_format)
    else:
        ds.to_zarr(path, zarr_format=zarr_format, consolidated=False)
    names = ["u", "x", *labels]
    if way == "drop_vars":
        zarrds.copy(path, out)
        zarrds.drop_vars(out, "t")
        assert zarrds.verify(out).ok
    else:
        getattr(zarrds, way)(path, out, variables=names)
    found = xr.load_dataset(out, engine=None if way == "export" else "zarrds")
    assert set(found.coords) == {"x", *labels}
    xr.testing.assert_identical(found, ds[names])

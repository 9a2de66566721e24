"""What other tools rightly do to a store, and xarray with what was opened."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.samples import Format


def test_absent_chunks_of_arrays_without_dimensions(path: Path, zarr_format: Format) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.create_array("raw", shape=(), dtype=bool)[...] = False
    group.create_array("empty", shape=(0, 3), dtype="f4", chunks=(1, 3))
    report = zarrds.verify(path)
    assert report.ok, str(report)
    assert not zarrds.open_array(path, path="raw")[()]


def test_labels_that_were_appended_by_another_tool(path: Path, zarr_format: Format) -> None:
    def at(start: int) -> xr.Dataset:
        return xr.Dataset({"v": ("t", [1.0, 2.0])}, {"t": [start, start + 1]})

    zarrds.save(at(0), path, zarr_format=zarr_format)
    at(2).to_zarr(path, append_dim="t")
    report = zarrds.verify(path)
    assert report.ok, str(report)
    assert xr.open_dataset(path, engine="zarrds").t.values.tolist() == [0, 1, 2, 3]
    zarrds.verify(path, repair=True)
    assert not zarrds.verify(path).findings


@pytest.mark.parametrize("dims", [["x", "a", "b"], ["x"], []])
def test_what_is_added_to_the_store_of_another_tool_that_consolidates_again(dims: list[str], path: Path) -> None:
    """Its arrays have no notes, and not all are looked at for such: those that are must tell of the new ones."""
    coordinates = {dim: np.arange(3.0) for dim in dims}
    xr.Dataset({"v": ("x", [0.0, 1.0, 2.0])}, coordinates).to_zarr(path, zarr_format=3)
    kinds = {"m": ("x", pd.Categorical(["u", "v", "u"])), "n": ("x", pd.array([1, 2, None]))}
    zarrds.save(xr.Dataset(kinds), path, mode="a")
    wanted = xr.open_dataset(path, engine="zarrds").load()
    assert wanted.m.dtype == "category"
    assert not zarrds.verify(path).findings
    zarr.consolidate_metadata(path)
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), wanted)
    zarrds.update_attrs(path, {"title": "again"})
    zarrds.verify(path, repair=True)
    assert not zarrds.verify(path).findings
    xr.testing.assert_equal(xr.open_dataset(path, engine="zarr").v, wanted.v)


def test_a_group_between_those_of_another_tool(path: Path) -> None:
    own = xr.Dataset(
        {"c": ("x", pd.Categorical(["u", "v", None])), "n": ("x", pd.array([1, None, 3]))}, {"x": [1, 2, 3]}
    )
    other = xr.Dataset({"v": ("x", [1.0, 2.0])}, {"x": [5, 6]})
    zarrds.save(own, path, group="level1")
    wanted = xr.open_dataset(path, engine="zarrds", group="level1").load()
    for level in ("level0", "level2"):
        other.to_zarr(path, group=level, mode="a")
    zarr.consolidate_metadata(path)
    found = xr.open_dataset(path, engine="zarrds", group="level1").load()
    xr.testing.assert_identical(found, wanted)
    zarrds.save(own[["n"]].rename(n="m"), path, group="level1", mode="a")
    assert xr.open_dataset(path, engine="zarrds", group="level1").c.dtype == "category"
    zarrds.verify(path, repair=True)
    assert not zarrds.verify(path).findings


@pytest.mark.parametrize("n_others", [1, 2])
def test_coordinates_of_another_tool_before_and_behind_all_others(path: Path, n_others: int) -> None:
    zarrds.save(xr.Dataset({"c": ("x", pd.Categorical(["u", "v"]))}, {"x": [1, 2]}), path)
    others = {f"{side}{n}": [n] for side in "az" for n in range(n_others)}
    xr.Dataset(coords=others).to_zarr(path, mode="a")
    if n_others == 1:  # of more than that no reader looks for notes, but writers keep them
        assert xr.open_dataset(path, engine="zarrds").c.values.tolist() == ["u", "v"]
    zarrds.update_attrs(path, {"title": "more"})
    assert xr.open_dataset(path, engine="zarrds").c.values.tolist() == ["u", "v"]
    assert not zarrds.verify(path).findings


@pytest.mark.parametrize("added", [{"x": ("x", [1, 2])}, {"a": ("a", [1]), "x": ("x", [1, 2])}])
def test_readers_find_notes_beside_simpler_arrays_of_another_tool(added: dict[str, Any], path: Path) -> None:
    """Labels that were added to data without any would tell of no notes."""
    zarrds.save(xr.Dataset({"c": ("x", pd.array([1, None], "Int64"))}), path)
    xr.Dataset(coords=added).to_zarr(path, mode="a")
    zarr.consolidate_metadata(path)
    assert xr.open_dataset(path, engine="zarrds").c.dtype == "Int64"


def test_an_array_of_another_tool_that_tells_of_notes_is_appended_to(path: Path) -> None:
    """What is noted of it says nothing, in both places."""
    zarrds.save(xr.Dataset({"v": ("x", [1.0, 2.0])}), path)
    xr.Dataset({"z": ("x", [1.0, 2.0])}).to_zarr(path, mode="a")
    zarrds.update_attrs(path, {"title": "more"})
    more = xr.Dataset({"v": ("x", [3.0]), "z": ("x", [3.0])})
    for n in (1, 2):
        zarrds.save(more, path, append_dim="x")
        assert not zarrds.verify(path).findings
        assert xr.open_dataset(path, engine="zarrds").z.values.tolist() == [1, 2] + n * [3]


@pytest.mark.parametrize("copied", [zarrds.copy, zarrds.rechunk])
def test_copies_have_notes_that_no_reader_looks_for(copied: Any, path: Path) -> None:
    zarrds.save(xr.Dataset({"c": ("x", pd.Categorical(["u", "v"]))}, {"x": [1, 2]}), path)
    others = {name: [1] for name in ("a0", "a1", "zy", "zz")}
    xr.Dataset({"zc": ("zz", [1])}, others).to_zarr(path, mode="a")
    assert xr.open_dataset(path, engine="zarrds").c.values.tolist() == [0, 1]
    copied(path, path.with_name("b.zarr"))
    assert xr.open_dataset(path.with_name("b.zarr"), engine="zarrds").c.values.tolist() == ["u", "v"]


def test_what_is_noted_of_arrays_beside_what_another_tool_appends(path: Path) -> None:
    """Of format 3; what another tool does to a store of format 2 loses it (docs/fidelity.md)."""

    def at(start: int) -> xr.Dataset:
        dates = pd.date_range(f"2000-01-{start:02}", periods=2)
        return xr.Dataset({"v": (("t", "site"), np.full((2, 3), float(start)))}, {"t": dates})

    sites = {
        "site": ["a", "b", "c"],
        "kind": ("site", pd.Categorical(["u", "v", "u"])),
        "height": ("site", pd.array([1, None, 3])),
        "years": ("site", pd.PeriodIndex(["2000", "2001", "2002"], freq="Y")),
    }
    zarrds.save(at(1).assign_coords(sites), path)
    wanted = xr.open_dataset(path, engine="zarrds").load()
    at(3).to_zarr(path, append_dim="t")
    found = xr.open_dataset(path, engine="zarrds").load()
    for name in sites:
        xr.testing.assert_identical(found[name], wanted[name])
    xr.testing.assert_equal(found.v, xr.concat([at(1).v, at(3).v], "t").assign_coords(found.v.coords))
    zarrds.save(at(5), path, append_dim="t")
    assert not zarrds.verify(path).findings
    again = xr.open_dataset(path, engine="zarrds").load()
    for name in sites:
        xr.testing.assert_identical(again[name], wanted[name])


def test_what_another_tool_stored_as_nothing_but_the_fill_value_is_not_written_again(
    path: Path, zarr_format: Format
) -> None:
    """Else it is noted as written, and lost when that tool stores it so again, as its appends do."""

    def at(day: int) -> xr.Dataset:
        beside = {"crs": 0, "is_global": False, "mask": ("x", np.array([1, np.nan], "f4")), "gone": ("x", [np.nan] * 2)}
        return xr.Dataset({"v": ("t", [1.0]), **beside}, {"t": [day], "height": 0.0, "x": [1, 2]})

    at(0).to_zarr(path, zarr_format=zarr_format)
    for day in range(1, 5):
        if day % 2:
            zarrds.save(at(day), path, append_dim="t")
        else:
            at(day).to_zarr(path, append_dim="t")
        wanted = xr.concat(
            [at(n) for n in range(day + 1)], "t", data_vars="minimal", coords="minimal", compat="override"
        )
        xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), wanted)
        report = zarrds.verify(path)
        assert report.ok, str(report)
    changed = at(9).assign(crs=1, gone=("x", [np.nan, 2.0]))
    zarrds.save(changed, path, append_dim="t")  # what is not there yet is written
    found = xr.open_dataset(path, engine="zarrds")
    assert (found.crs.item(), found.gone.values[1]) == (1, 2.0)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("asked", ["s", "us", "ns"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_interpolation_in_time(unit: Any, asked: str, chunks: Any, path: Path) -> None:
    times = pd.date_range("2000-01-01", periods=4).as_unit(unit)
    ds = xr.Dataset(
        {"v": ("time", [0.0, 1, 2, 3]), "w": (("time", "x"), np.arange(8.0).reshape(4, 2))}, {"time": times}
    )
    zarrds.save(ds, path)
    opened = xr.open_dataset(path, engine="zarrds", chunks=chunks)
    assert opened.time.dtype == times.dtype
    new = np.array(["2000-01-01T12", "2000-01-03T18", "1999-01-01"], f"M8[{asked}]")
    np.testing.assert_allclose(opened.v.interp(time=new), [0.5, 2.75, np.nan])
    np.testing.assert_allclose(opened.w.interp(time=new, x=[0.5])[:2, 0], [1.5, 6])


@pytest.mark.parametrize(("unit", "asked"), [("s", "ns"), ("ns", "s"), ("ms", "us")])
def test_interpolation_between_lead_times(unit: Any, asked: str) -> None:
    ds = xr.Dataset({"v": ("lead", [0.0, 2.0])}, {"lead": np.array([0, 2], "m8[h]").astype(f"m8[{unit}]")})
    zarrds.save(ds, store := zarrds.MemoryStore())
    new = np.array([1, 3], "m8[h]").astype(f"m8[{asked}]")
    np.testing.assert_allclose(xr.open_dataset(store, engine="zarrds").v.interp(lead=new), [1.0, np.nan])


def test_shards_with_codecs_without_settings(path: Path) -> None:
    values = np.arange(64) % 3 == 0
    encoding = {"m": {"chunks": (16,), "shards": (64,), "filters": [numcodecs.PackBits()]}}
    zarrds.save(xr.Dataset({"m": ("v", values)}), path, encoding=encoding)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that codecs of numcodecs are no standard
        found = zarr.open_group(path, mode="r")["m"][...]  # type: ignore[index]  # an array
    np.testing.assert_array_equal(found, values)


def test_bare_numbers_in_attributes_stay_numbers(path: Path, zarr_format: Format) -> None:
    """zarr-python writes NaN and infinities as JSON does not have them; what zarrds writes is valid JSON."""
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format, attributes={"limit": np.nan})
    for name in ("v", "w"):
        given: Any = {"dimension_names": [name]} if zarr_format == 3 else {}
        attributes = {"range": [np.nan, -np.inf, 1.0], "of": {"deep": np.inf}, "_ARRAY_DIMENSIONS": [name]}
        group.create_array(name, shape=(2,), dtype="f4", attributes=attributes, **given)[...] = [1, 2]
    zarr.consolidate_metadata(path)
    before = xr.open_dataset(path, engine="zarrds").load()
    zarrds.save(xr.Dataset({"v": ("v", np.array([3], "f4"))}), path, append_dim="v")
    zarrds.update_attrs(path, {"more": 1}, "v")
    for consolidated in (True, False):
        found = xr.open_dataset(path, engine="zarrds", consolidated=consolidated).load()
        if consolidated or zarr_format == 3:  # what is noted of groups of format 2 lies in consolidated metadata alone
            assert repr(found.attrs) == repr(before.attrs)
        assert repr(found.w.attrs) == repr(before.w.attrs)
        assert repr(found.v.attrs) == repr({**before.v.attrs, "more": 1})
    assert not zarrds.verify(path).findings
    root = path / ("zarr.json" if zarr_format == 3 else ".zmetadata")
    json.loads(root.read_text(), parse_constant=lambda text: pytest.fail(text))
    xr.open_zarr(path).load()


@pytest.mark.parametrize("edits", ["the variable", "the group", "another variable"])
def test_attributes_that_are_nested_deeper_than_calls_are_no_hindrance(
    path: Path, zarr_format: Format, edits: str
) -> None:
    zarrds.save(xr.Dataset({"v": ("x", [1, 2])}, attrs={"title": "a"}), path, zarr_format=zarr_format)
    document = path / "v" / ("zarr.json" if zarr_format == 3 else ".zattrs")
    whole = json.loads(document.read_text())
    (whole["attributes"] if zarr_format == 3 else whole)["deep"] = "DEEP"
    document.write_text(json.dumps(whole).replace('"DEEP"', "[" * 500 + "]" * 500))
    for n in (1, 2):
        if edits == "another variable":
            zarrds.save(xr.Dataset({f"w{n}": ("x", [3, 4])}), path, mode="a")
        else:
            zarrds.update_attrs(path, {"n": n}, "v" if edits == "the variable" else None)
    assert document.read_text().count("[") >= 500

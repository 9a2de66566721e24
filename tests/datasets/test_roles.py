"""Coordinates stay coordinates, and the set of indexes comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from xarray.testing import assert_identical

import zarrds
from tests.datasets.same import differences
from tests.datasets.samples import Format, load, open_zarrds, variants
from tests.releases import XARRAY
from zarrds.errors import EncodingError, LabelError, UnsupportedError

BASE = xr.Dataset({"v": ("x", [1.0, 2.0, 3.0])}, {"x": [0, 1, 2]})


def ranged(start: float, size: int, step: float = 0.1, **options: Any) -> xr.Dataset:
    options = {"dim": "x"} | options
    if XARRAY >= (2026, 7):
        index = xr.indexes.RangeIndex.arange(start, start + (size - 0.5) * step, step, **options)
    else:  # whose arange has another step where the stop is no label
        index = xr.indexes.RangeIndex.linspace(start, start + size * step, size, endpoint=False, **options)
    return xr.Dataset({"v": ("x", np.arange(size))}, coords=xr.Coordinates.from_xindex(index))


def genome(contig: list[Any], **options: Any) -> xr.Dataset:
    coords = {"contig": ("r", np.array(contig, None if isinstance(contig[0], int) else object))}
    ds = xr.Dataset({"n": ("r", np.arange(4))}, {**coords, "position": ("r", [1, 5, 2, 3]), "end": ("r", [2, 6, 2, 4])})
    return ds.set_xindex(["contig", "position", "end"], zarrds.RegionIndex, **options)


def named(role: str, where: str) -> xr.Dataset:
    ds = BASE.assign_coords(q=0, z=("x", [3.0, 4, 5]))
    text = {"cell_measures": "area: q", "formula_terms": "a: q b: z"}.get(role, "q")
    getattr(ds.v, where)[role] = text
    return ds


def with_attribute(text: str, *, data: bool) -> xr.Dataset:
    ds = BASE.assign_coords(lat=("x", [1, 2, 3]))
    ds = ds.reset_coords("lat") if data else ds
    ds.v.attrs["coordinates"] = text
    return ds


STRANGE = {"a b": ("x", [1, 2, 3]), "sp ace": 5, "ü": ("x", list("abc")), "p:q": 1, "[z]": ("k", [1, 2])}
LEVELS = BASE.drop_vars("x").assign_coords(a=("x", [1, 1, 2]), q=("x", [1, 2, 2])).set_index(x=["a", "q"])
POINTS = xr.Dataset(
    {"v": (("y", "x"), np.zeros((2, 2)))},
    {"xx": (("y", "x"), [[1.0, 2], [3, 4]]), "yy": (("y", "x"), [[1.0, 2], [3, 5]])},
)
CASES: dict[str, xr.Dataset] = {
    "strange names": BASE.assign_coords(STRANGE),
    "without index": BASE.drop_indexes("x"),
    "without index, objects": BASE.assign_coords(x=["a", "b", "c"]).drop_indexes("x"),
    "without index, categories": BASE.assign_coords(x=pd.Categorical(list("aba"))).drop_indexes("x"),
    "without index, time zone": BASE.assign_coords(x=pd.date_range("2000", periods=3, tz="Asia/Tokyo")).drop_indexes(
        "x"
    ),
    "data": BASE.drop_indexes("x").reset_coords("x"),
    "data, categories": BASE.assign_coords(x=pd.Categorical(list("aba"))).drop_indexes("x").reset_coords("x"),
    "data, time zone": BASE.assign_coords(x=pd.date_range("2000", periods=3, tz="Asia/Tokyo"))
    .drop_indexes("x")
    .reset_coords("x"),
    "data, intervals": BASE.assign_coords(x=pd.interval_range(0, 3)).drop_indexes("x").reset_coords("x"),
    "only some": xr.Dataset(coords={"x": [1, 2], "y": [3, 4]}).drop_indexes("y"),
    "on times": BASE.assign_coords(t=("x", pd.date_range("2000", periods=3))).set_xindex("t"),
    "on categories": BASE.assign_coords(t=("x", pd.Categorical(list("aba")))).set_xindex("t"),
    "on text": BASE.assign_coords(t=("x", ["ab", "c", "d"])).set_xindex("t"),
    "on a pandas range": BASE.assign_coords(t=("x", pd.RangeIndex(5, 11, 2))).set_xindex("t"),
    "several": BASE.assign_coords(t=("x", pd.PeriodIndex(["2000", "2001", "2002"], freq="Y")), s=("x", list("xyz")))
    .set_xindex("t")
    .set_xindex("s"),
    "in place of the dimension's": BASE.drop_vars("x").assign_coords(a=("x", [1, 1, 2])).set_xindex("a"),
    "levels": LEVELS,
    "evenly spaced": ranged(0, 10),
    "evenly spaced, in part": ranged(0, 10).isel(x=slice(1, 8, 2)),
    "evenly spaced, other name": ranged(3, 4, coord_name="c").assign_attrs(a=1),
    "evenly spaced, alone": ranged(0, 10).drop_vars("v"),
    "regions": genome(["1", "1", "2", "X"]),
    "regions, codes": genome([0, 0, 1, 2], contig_id=["a", "b", "c", "d"], interval="length"),
    "points beside labels": POINTS.assign_coords({dim: range(size) for dim, size in POINTS.sizes.items()}).set_xindex(
        ("xx", "yy"), xr.indexes.NDPointIndex
    ),
    "points": POINTS.set_xindex(("xx", "yy"), xr.indexes.NDPointIndex),
    "data that an attribute names": with_attribute("lat", data=True),
    "coordinates that an attribute names": with_attribute("lat", data=False),
    "an attribute that names nothing": with_attribute("lon", data=False),
    **{
        f"{role} in {where}": named(role, where)
        for role in ("grid_mapping", "bounds", "cell_measures", "ancillary_variables", "formula_terms")
        for where in ("attrs", "encoding")
    },
}


def opened(store: Any, **options: Any) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarrds", **options)


def assert_same(found: xr.Dataset, expected: xr.Dataset) -> None:
    assert_identical(found, expected)  # of indexes too
    for name, index in expected.xindexes.items():
        assert type(found.xindexes[name]) is type(index)
        assert found.xindexes[name].equals(index)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", CASES)
def test_comes_back(name: str, path: Path, tmp_path: Path, zarr_format: Format) -> None:
    ds = CASES[name]
    zarrds.save(ds, path, zarr_format=zarr_format)
    assert_same(opened(path), ds)
    zarrds.save(opened(path), tmp_path / "again.zarr", zarr_format=5 - zarr_format)  # type: ignore[arg-type]  # 2 or 3
    assert_same(opened(tmp_path / "again.zarr"), ds)
    assert zarrds.verify(path).ok
    bare = opened(path, create_default_indexes=False)
    assert not bare.xindexes
    assert set(bare.variables) == set(ds.variables) - ({"x"} if name == "levels" else set())
    assert set(bare.coords) == set(ds.coords) & set(bare.variables)


def test_comes_back_in_trees(path: Path, zarr_format: Format) -> None:
    groups = {
        "/": BASE.assign_coords(c=("x", [1, 2, 3])).set_xindex("c"),
        "/a": xr.Dataset({"w": ("x", [1, 2, 3])}).assign_coords({"b c": 1}),
        "/a/q": xr.Dataset({"u": ("y", [1, 2])}, {"y": [1, 2]}).drop_indexes("y"),
    }
    tree = xr.DataTree.from_dict(groups)
    zarrds.save(tree, path, zarr_format=zarr_format)
    for group in (None, "/a"):
        found = xr.open_datatree(path, engine="zarrds", group=group)
        expected = tree if group is None else xr.DataTree.from_dict({"/": groups["/a"], "/q": groups["/a/q"]})
        assert_identical(found, expected)
        for node in expected.subtree:
            assert set(found[node.path].xindexes) == set(node.xindexes)
    assert not xr.open_datatree(path, engine="zarrds", create_default_indexes=False)["a/q"].xindexes
    assert_identical(xr.open_groups(path, engine="zarrds")["/a/q"], groups["/a/q"])


@pytest.mark.parametrize(
    "attributes",
    [
        {"scale_factor": 0.5},
        {"_FillValue": 2},
        {"units": "days since 2000-01-01"},
        {"units": "m"},
    ],
)
def test_of_what_is_not_decoded_attributes_say_it(path: Path, attributes: dict[str, Any], zarr_format: Format) -> None:
    values = ("x", [1, 2], {**attributes, "coordinates": "lat level", "grid_mapping": "crs"})
    raw = xr.Dataset({"v": values, "lat": ("x", [3, 4]), "level": 5, "crs": 0})
    zarrds.save(raw, path, zarr_format=zarr_format)
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds", decode_cf=False).load(), raw)
    for decode_coords in (True, "all"):
        found = xr.open_dataset(path, engine="zarrds", decode_coords=decode_coords)
        # without anything to decode, what came as data comes back as data
        expected = raw if attributes == {"units": "m"} else xr.decode_cf(raw, decode_coords=decode_coords)
        assert set(found.coords) >= set(expected.coords)
        if decode_coords is True:
            xr.testing.assert_identical(found.load(), expected)


def test_of_files_that_are_not_decoded_coordinates_come_back_as_decoding_gives_them(path: Path, tmp_path: Path) -> None:
    ds = BASE.assign_coords(lat=(("x", "y"), np.ones((3, 2))), far=("q", [1.0, 2, 3]), one=5)
    ds["v"] = ds.v.astype(float)
    ds.to_netcdf(tmp_path / "a.nc")
    raw = xr.load_dataset(tmp_path / "a.nc", decode_cf=False)
    assert raw.attrs["coordinates"] == "far" or "far" in raw.attrs["coordinates"].split()
    zarrds.save(raw, path)
    found = xr.open_dataset(path, engine="zarrds")
    assert set(found.coords) == set(ds.coords)
    xr.testing.assert_equal(found.load(), ds)
    assert found.attrs == ds.attrs
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds", decode_cf=False).load(), raw)


def test_of_characters_that_are_not_decoded_attributes_say_it(path: Path) -> None:
    names = (("x", "n"), np.array([[b"a", b"b"], [b"c", b""]]), {"_Encoding": "utf-8"})
    raw = xr.Dataset({"v": ("x", [1.0, 2.0], {"coordinates": "name"}), "name": names})
    zarrds.save(raw, path)
    xr.testing.assert_equal(xr.open_dataset(path, engine="zarrds", decode_cf=False).load(), raw)
    assert set(xr.open_dataset(path, engine="zarrds").coords) == set(xr.decode_cf(raw).coords) == {"name"}


def test_what_is_selected_by(path: Path) -> None:
    zarrds.save(CASES["regions, codes"], path)
    ds = opened(path)
    assert ds.sel(contig="b").n.values.tolist() == [2]
    assert not ds.sel(contig="d").n.size  # of which there are no records
    zarrds.save(CASES["evenly spaced"], path, mode="w")
    assert int(opened(path).sel(x=0.31, method="nearest").v) == 3
    assert not (path / "x").exists()


def test_coordinates_are_not_told_where_that_is_not_asked_for(path: Path) -> None:
    zarrds.save(CASES["grid_mapping in attrs"], path)
    assert set(opened(path, decode_coords=False).coords) == {"x"}


def test_evenly_spaced_labels_grow(path: Path) -> None:
    zarrds.save(ranged(0, 5), path)
    zarrds.save(ranged(0.5, 3), path, append_dim="x")
    ds = opened(path)
    np.testing.assert_allclose(ds.x, np.arange(8) / 10)
    assert isinstance(ds.xindexes["x"], xr.indexes.RangeIndex)
    for wrong in (ranged(0.9, 3), ranged(0.8, 3, 0.2), ranged(0.8, 3).drop_vars("x")):
        with pytest.raises(LabelError, match="'x'"):
            zarrds.save(wrong, path, append_dim="x")
    assert opened(path).identical(ds)
    zarrds.rename(path, {"x": "y"})
    assert isinstance(opened(path).xindexes["y"], xr.indexes.RangeIndex)
    zarrds.drop_vars(path, "y")
    assert not opened(path).xindexes


@pytest.mark.parametrize("part", [slice(None, None, 2), slice(4, 1, -1), slice(1, 4), slice(2, 2)])
def test_evenly_spaced_labels_of_a_part(path: Path, part: slice) -> None:
    zarrds.save(ranged(0, 5), path)
    chosen = opened(path).isel(x=part)
    np.testing.assert_allclose(chosen.x, np.arange(5)[part] / 10)
    zarrds.save(chosen, path.with_name("y.zarr"))
    np.testing.assert_allclose(opened(path.with_name("y.zarr")).x, np.arange(5)[part] / 10)


def test_renamed_and_dropped(path: Path) -> None:
    ds = genome(["1", "1", "2", "X"])
    zarrds.save(ds, path)
    zarrds.rename(path, {"position": "pos", "contig": "chromosome", "r": "records"})
    assert_same(opened(path), ds.rename({"position": "pos", "contig": "chromosome", "r": "records"}))
    zarrds.drop_vars(path, "end")
    assert not opened(path).xindexes


def test_names_with_blanks_that_are_given_later(path: Path) -> None:
    ds = BASE.assign_coords(lat=("x", [3.0, 4, 5]), lon=("x", [6.0, 7, 8]), q=0, crs=0)
    ds["v"].attrs["grid_mapping"] = "crs"
    zarrds.save(ds, path)
    names = {"lat": "a latitude", "q": "a q", "crs": "a crs"}
    zarrds.rename(path, names)
    expected = ds.rename(names)
    expected["v"].attrs["grid_mapping"] = "a crs"
    assert_same(opened(path), expected)
    assert zarrds.open_array(path, path="v").attrs["coordinates"] == "lon"  # which one of two words would not name
    zarrds.rename(path, {new: old for old, new in names.items()})
    assert_same(opened(path), ds)


@pytest.mark.parametrize(
    ("attribute", "names", "expected"),
    [
        ("cell_measures", {"area": "cell_area"}, "area: cell_area volume: v"),
        ("grid_mapping", {"crs": "p", "x": "e"}, "p: e y"),
        ("bounds", {"t b": "tb"}, "tb"),
        ("formula_terms", {"other": "name"}, "a: ap  b: b"),
    ],
)
def test_attributes_that_name_others_follow(path: Path, attribute: str, names: dict[str, str], expected: str) -> None:
    values = {"cell_measures": "area: area volume: v", "grid_mapping": "crs: x y", "bounds": "t b"}
    value = values.get(attribute, "a: ap  b: b")
    others = {name: ("z", [1.0]) for name in names if name != "x"}
    zarrds.save(BASE.assign(others).assign(w=("x", [1, 2, 3], {attribute: value})), path)
    zarrds.rename(path, names)
    assert opened(path).w.attrs[attribute] == expected


@pytest.mark.parametrize("labels", ["range", "evenly spaced"])
def test_labels_without_an_array_are_not_lost_with_the_last_variable(path: Path, labels: str) -> None:
    ds = ranged(5, 3) if labels == "evenly spaced" else BASE.assign_coords(x=pd.RangeIndex(3))
    zarrds.save(ds.assign(w=ds.v, q=1), path)
    zarrds.drop_vars(path, "v")
    assert_same(opened(path), ds.assign(w=ds.v, q=1).drop_vars("v"))
    with pytest.raises(LabelError, match=r"'x'.*Drop them too: 'w', 'x'"):
        zarrds.drop_vars(path, "w")
    zarrds.drop_vars(path, ["w", "x"])
    assert set(opened(path).variables) == {"q"}


def test_a_measure_that_is_dropped_leaves_no_key(path: Path) -> None:
    zarrds.save(BASE.assign(area=1.0, w=("x", [1, 2, 3], {"cell_measures": "area: area volume: v"})), path)
    zarrds.drop_vars(path, "area")
    assert opened(path).w.attrs == {"cell_measures": "volume: v"}


def test_variables_that_are_left_out(path: Path) -> None:
    zarrds.save(genome(["1", "1", "2", "X"]), path)
    assert not opened(path, drop_variables="end").xindexes  # without a warning
    zarrds.save(ranged(0, 5), path, mode="w")
    assert not opened(path, drop_variables="x").coords


def test_other_indexes_are_refused_by_name(path: Path) -> None:
    class Mine(xr.indexes.NDPointIndex[Any]):
        pass

    ds = POINTS.set_xindex(("xx", "yy"), Mine)
    with pytest.raises(UnsupportedError, match=r"Mine.*'xx'.*drop_indexes"):
        zarrds.save(ds, path)
    assert not path.exists()
    zarrds.save(ds.drop_indexes(["xx", "yy"]), path)
    huge = xr.indexes.RangeIndex.arange(0, 1e12, 1, dim="x")
    with pytest.raises(UnsupportedError, match="'x'"):
        zarrds.save(xr.Dataset(coords=xr.Coordinates.from_xindex(huge)), path, mode="w")


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("contig", {"kind": "os.system", "coordinates": ["contig"]}),
        ("contig", {"kind": "regions", "coordinates": ["contig", "none"]}),
        ("contig", {"kind": "regions", "coordinates": ["contig", "position"], "interval": 5}),
        ("contig", {"kind": "regions", "coordinates": "contig"}),
        ("position", {"kind": "none"}),
        (
            "position",
            {"kind": "range", "dimension": "r", "start": 0, "stop": 4, "size": 4, "step": 1, "dtype": "int64"},
        ),
        ("position", "pandas"),
    ],
)
def test_notes_that_do_not_fit(name: str, note: Any, path: Path) -> None:
    ds = genome(["1", "1", "2", "X"]).drop_indexes(["contig", "position", "end"])
    zarrds.save(ds, path, zarr_format=2)
    for key in (path / name / ".zarray", path / ".zmetadata"):
        document = json.loads(key.read_text())
        array = document["metadata"][f"{name}/.zarray"] if key.name == ".zmetadata" else document
        array["zarrds"]["index"] = note
        key.write_text(json.dumps(document))
    with pytest.warns(UserWarning, match=name):
        found = opened(path)
    assert_identical(found, ds)


def test_a_stale_hint_of_coordinates_is_no_order(path: Path, tmp_path: Path) -> None:
    zarrds.save(BASE.assign_coords(lat=("x", [1, 2, 3])), path)
    ds = opened(path).reset_coords("lat").load()
    zarrds.save(ds, tmp_path / "again.zarr")
    assert_identical(opened(tmp_path / "again.zarr"), ds)


def test_mode_a_notes_the_indexes_that_are_given(path: Path, zarr_format: Format) -> None:
    plain = xr.Dataset({"v": ("x", [1.0, 2.0])}, {"x": [0, 1], "c": ("x", [10, 20]), "contig": ("x", ["1", "1"])})
    given = {
        "on another coordinate": plain.set_xindex("c"),
        "of regions": plain.set_xindex(["contig", "c"], zarrds.RegionIndex),
        "with other labels": plain.assign_coords(c=("x", [30, 40])).set_xindex("c"),
    }
    for ds in given.values():
        zarrds.save(plain, path, mode="w", zarr_format=zarr_format)
        zarrds.save(ds, path, mode="a")
        found = load(path)
        assert {name: type(i) for name, i in found.xindexes.items()} == {
            name: type(i) for name, i in ds.xindexes.items()
        }
        others = [name for name in ds.xindexes if name != "x"]
        assert found.drop_indexes(others).equals(ds.drop_indexes(others))
        zarrds.save(plain.assign_coords(c=ds.c.variable), path, mode="a")  # what is not given stays
        assert set(load(path).xindexes) == set(ds.xindexes)
        assert not zarrds.verify(path).findings
    zarrds.save(plain.drop_indexes("x"), path, mode="w")
    zarrds.save(plain, path, mode="a")
    assert set(load(path).xindexes) == {"x"}


@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_what_is_looked_at_gets_no_index(path: Path, kind: str) -> None:
    days = np.array(["2000-01-01", "2000-01-02", "2000-01-03"], "M8[ns]")
    ds = xr.Dataset({"v": ("t", [1, 2, 3])}, {"t": days}).drop_indexes("t")
    zarrds.save(ds.chunk(), path, compute=False)
    zarrds.save(variants(ds)[kind].isel(t=slice(1)), path, region={"t": slice(1)})  # nothing was stored there yet
    zarrds.save(variants(ds)[kind].isel(t=slice(1, 3)), path, region={"t": slice(1, 3)})
    assert load(path).identical(ds)
    raw = ds.copy()
    raw["t"] = xr.Variable("t", [31, 32, 33], {"units": "days since 2000-01-01"})
    raw = variants(raw.drop_indexes("t"))[kind]
    zarrds.save(raw, path, mode="a")
    assert not load(path).xindexes
    assert str(load(path).t.values[0])[:10] == "2000-02-01"


@pytest.mark.parametrize("kind", ["numpy", "dask"])
def test_levels_that_are_not_decoded(path: Path, tmp_path: Path, kind: str, zarr_format: Format) -> None:
    def reports(first: str) -> xr.Dataset:
        days = pd.date_range(first, periods=2, unit="ns")
        pairs = pd.MultiIndex.from_arrays([["Kew", "Leith"], days], names=["station", "date"])
        return xr.Dataset({"rain": ("report", [0.5, 1.0])}, xr.Coordinates.from_pandas_multiindex(pairs, "report"))

    zarrds.save(reports("2000-01-01"), path, zarr_format=zarr_format)
    zarrds.save(reports("2000-01-03"), tmp_path / "raw.zarr")
    raw = variants(open_zarrds(tmp_path / "raw.zarr", decode_times=False))[kind]
    assert raw.date.dtype.kind == "i"
    zarrds.save(raw, path, append_dim="report")
    assert load(path).identical(xr.concat([reports("2000-01-01"), reports("2000-01-03")], "report"))


@pytest.mark.parametrize("extra", [{}, {"kind": ("x", pd.Categorical(["a", "b"]))}])
def test_data_that_has_the_name_of_a_dimension(path: Path, zarr_format: Format, extra: dict[str, Any]) -> None:
    """Beside labels that get an index, of which xarray makes coordinates anew."""

    def part(times: list[int]) -> xr.Dataset:
        whole = xr.Dataset({"t": (("time", "x"), np.ones((3, 2)))}, {"time": times, "x": [1.0, 2.0]}).assign(extra)
        return whole.reset_index("time").reset_coords("time")

    ds = part([1, 2, 3])
    zarrds.save(ds, path, zarr_format=zarr_format)
    assert not differences(ds, load(path))
    zarrds.save(ds.isel(time=[2]).drop_vars(["x", *extra]), path, region={"time": slice(2, 3)})
    zarrds.save(part([4, 5, 6]), path, append_dim="time")
    assert load(path).time.values.tolist() == [1, 2, 3, 4, 5, 6]
    assert "time" in load(path).data_vars
    tree = xr.DataTree.from_dict({"/": ds, "/below": xr.Dataset({"w": ("x", [1, 2])})})
    zarrds.save(tree, path, mode="w")
    assert "time" in xr.open_datatree(path, engine="zarrds").data_vars


@pytest.mark.parametrize("key", ["grid_mapping", "cell_measures", "formula_terms", "bounds", "geometry"])
def test_roles_that_attributes_and_the_encoding_name(key: str, path: Path, zarr_format: Format) -> None:
    """As rioxarray writes them beside what xarray's decoders have moved: what the user sees counts."""
    ds = xr.Dataset({"v": ("x", [1.0])}, {"crs": 0, "other": 0})
    ds.v.attrs[key] = "a: crs" if key in ("cell_measures", "formula_terms") else "crs"
    for carried in (ds.v.attrs[key], "other"):
        ds.v.encoding = {key: carried, "dtype": "f8"}
        zarrds.save(ds, path, mode="w", zarr_format=zarr_format)
        xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), ds)
    zarrds.save(ds, path, mode="w", encoding={"v": {key: ds.v.attrs[key]}})
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), ds)
    with pytest.raises(EncodingError, match=f"{key}.* attrs"):
        zarrds.save(ds, path, mode="w", encoding={"v": {key: "other"}})

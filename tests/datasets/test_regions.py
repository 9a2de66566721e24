from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import CHUNKS, DAY, Format, complete, days, files, load, open_zarrds, variants
from zarrds.errors import ConflictError, EncodingError, LabelError, LabelNotFoundError

KINDS = ["numpy", "dask"]


@pytest.fixture
def path(tmp_path: Path, zarr_format: Format) -> Path:
    path = tmp_path / "x.zarr"
    zarrds.save(days(0, 9), path, encoding=CHUNKS, zarr_format=zarr_format)
    return path


def part(start: int, stop: int, names: list[str] | None = None) -> xr.Dataset:
    """Days with other values, but the labels of the store; without what does not vary along time."""
    ds = days(start, stop)[names or ["t2m", "name"]].drop_vars(["season", "height"])
    return ds.assign(t2m=ds.t2m + 1000)


def written(start: int, stop: int) -> xr.Dataset:
    ds = days(0, 9)
    ds["t2m"][start:stop] += 1000
    ds["t2m"].attrs = {"units": "K"}
    return ds


# against NumPy


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    chunks = [draw(st.integers(1, 5)) for _ in shape]
    shards = [chunk * draw(st.integers(1, 3)) for chunk in chunks] if draw(st.booleans()) else None
    region = []
    for size in shape:
        start = draw(st.integers(0, size))
        region.append(slice(start, draw(st.integers(start, size))))
    blocks = None
    if draw(st.booleans()):
        blocks = tuple(draw(st.integers(1, 4)) for _ in shape)
    return {"shape": shape, "chunks": chunks, "shards": shards, "region": region, "blocks": blocks}


@given(cases(), st.integers(0, 1))
def test_as_numpy(case: dict[str, Any], first: int) -> None:
    store = zarrds.MemoryStore()
    dims = ["a", "b", "c"][: len(case["shape"])]
    values = np.arange(np.prod(case["shape"])).reshape(case["shape"])
    encoding = {"v": {"chunks": case["chunks"]} | ({"shards": case["shards"]} if case["shards"] else {})}
    zarrds.save(xr.Dataset({"v": (dims, values)}), store, encoding=encoding)
    region = case["region"]
    new: Any = -1 - values[tuple(region)]
    expected = values.copy()
    expected[tuple(region)] = new
    if case["blocks"] is not None:
        new = dask.array.from_array(new, chunks=case["blocks"])
    # dimensions that are written whole may be left out
    named = {
        d: r for i, (d, r, n) in enumerate(zip(dims, region, values.shape, strict=True)) if r != slice(0, n) or not i
    }
    ds = xr.Dataset({"v": (dims, new)})
    zarrds.save(ds if first else ds.transpose(*reversed(dims)), store, region=named)
    np.testing.assert_array_equal(load(store).v, expected)


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    "region", [slice(2, 5), slice(-7, -4), slice(2, -4), slice(np.int64(2), np.int64(5), 1)], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["r+", "a", None])
def test_a_part_of_the_time(path: Path, kind: str, region: slice, mode: Any) -> None:
    before = files(path)
    zarrds.save(variants(part(2, 5))[kind], path, region={"time": region}, mode=mode)
    for engine in ("zarrds", "zarr"):
        xr.testing.assert_identical(load(path, engine), written(2, 5))
    changed = {name for name, value in files(path).items() if value != before.get(name)}
    # nothing but chunks, and of the labels none
    assert {name.split("/")[0] for name in changed} <= {"t2m", "name"}
    assert not {name for name in changed if "." in name and "z" in name}
    assert complete(path, "t2m") == [9, 3]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "region", ["auto", {"time": "auto"}, {"time": "auto", "x": "auto"}, {"time": "auto", "x": slice(3)}]
)
def test_auto(path: Path, kind: str, region: Any) -> None:
    zarrds.save(variants(part(3, 8))[kind], path, region=region)
    xr.testing.assert_identical(load(path), written(3, 8))
    if region == "auto":
        corner = part(3, 8, ["t2m"]).isel(x=slice(1, 2), time=slice(1, 3))
        zarrds.save(variants(corner)[kind], path, region="auto")
        xr.testing.assert_identical(load(path), written(3, 8))


def test_auto_without_labels(path: Path) -> None:
    before = files(path)
    with pytest.raises(LabelError, match="the dataset has no labels, the store has"):
        zarrds.save(part(0, 4).drop_vars(["time", "x"]), path, region="auto")
    assert files(path) == before
    zarrds.save(part(0, 9).drop_vars(["time", "x"]), path, region="auto")  # all of it
    xr.testing.assert_identical(load(path), written(0, 9))


@pytest.mark.parametrize("region", ["auto", {}], ids=str)
def test_scalars_lie_in_any_region(path: Path, region: Any) -> None:
    ds = xr.Dataset({"v": 1.5, "name": "a"}, {"height": 2.0})
    zarrds.save(ds, path, mode="w")
    reader = open_zarrds(path)
    new = xr.Dataset({"v": 5.5, "name": "b"}, {"height": 3.0})
    zarrds.save(new, path, region=region)
    xr.testing.assert_identical(load(path), new)
    if region:
        xr.testing.assert_identical(reader.load(), new)  # it is the same array
    lazy = new.assign(v=new.v.chunk() * 2)
    zarrds.save(lazy, path, region=region)
    assert load(path).v == 11


def test_an_empty_region_is_all_of_the_store(path: Path) -> None:
    zarrds.save(part(0, 9), path, region={})
    xr.testing.assert_identical(load(path), written(0, 9))


@pytest.mark.parametrize("region", ["auto", {"x": "auto"}], ids=str)
def test_labels_that_are_stored_twice(path: Path, region: Any) -> None:
    ds = xr.Dataset({"v": ("x", [1.0, 2.0, 3.0, 4.0])}, {"x": [1, 1, 2, 3]})
    zarrds.save(ds, path, mode="w")
    before = files(path)
    with pytest.raises(LabelError, match=r"some are stored more than once.*found 1.*as a slice") as caught:
        zarrds.save(ds.isel(x=[0]) + 10, path, region=region)
    assert caught.value.key == "x"
    assert files(path) == before
    zarrds.save(ds.isel(x=[2, 3]) + 10, path, region=region)  # these are stored once
    zarrds.save(ds.isel(x=[1]) + 10, path, region={"x": slice(1, 2)})
    assert load(path).v.values.tolist() == [1, 12, 13, 14]


def test_groups_and_foreign_stores(path: Path, zarr_format: Format) -> None:
    foreign = path.with_name("foreign.zarr")
    days(0, 9).to_zarr(foreign, group="a/b", encoding=CHUNKS, zarr_format=zarr_format, consolidated=False)
    zarrds.save(part(2, 5).chunk(time=2), foreign, group="a/b", region="auto")
    for engine in ("zarrds", "zarr"):
        xr.testing.assert_identical(load(foreign, engine, group="a/b", consolidated=False), written(2, 5))


def test_trees(path: Path) -> None:
    tree = xr.DataTree.from_dict({"/a": days(0, 9), "/b": days(0, 9)})
    zarrds.save(tree, path, mode="w", encoding={"/a": CHUNKS})
    zarrds.save(xr.DataTree.from_dict({"/a": part(2, 5), "/b": part(2, 5)}), path, region="auto")
    for group in "ab":
        xr.testing.assert_identical(load(path, group=group), written(2, 5))


# what is refused


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("ds", "region", "error", "words"),
    [
        (part(2, 5), {"time": slice(3, 6)}, LabelError, "labels of 'time'.*3 of 3 differ"),
        (part(2, 5).assign_coords(x=[10, 21, 30]), {"time": slice(2, 5)}, LabelError, "1 of 3 differ.*found 21"),
        (part(2, 5), {"time": slice(2, 6)}, LabelError, "different dimension sizes"),
        (part(2, 5), {"time": slice(7, 12)}, LabelError, "different dimension sizes"),
        (part(2, 5), {}, LabelError, "sizes"),
        (part(2, 5).isel(x=slice(2)), {"time": slice(2, 5)}, LabelError, "sizes"),
        (part(2, 5).isel(time=[0, 2]), "auto", LabelError, "not one block"),
        (part(2, 5).isel(time=[1, 0, 2]), "auto", LabelError, "not one block"),
        (part(7, 11), "auto", LabelNotFoundError, "does not have all labels.*2 new ones"),
        (part(2, 5).assign_coords(time=[1, 2, 3]), "auto", LabelNotFoundError, "another kind"),
        (part(2, 5).assign(height=3.0), {"time": slice(2, 5)}, LabelError, r"others: \['height'\]"),
        (part(2, 5).assign(t2m=lambda ds: ds.t2m.astype(str)), {"time": slice(2, 5)}, EncodingError, "Mismatched"),
        (part(2, 5), {"time": "2019-03-07"}, EncodingError, "slice objects"),
        (part(2, 5), {"time": slice("2019-03-07", "2019-03-09")}, EncodingError, "of positions, not of labels"),
        (part(2, 5), "all", EncodingError, "must be a dict"),
        (part(2, 5), {"time": slice(2, 5), "y": slice(1)}, LabelError, "not in Dataset dimensions"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_fit(path: Path, ds: xr.Dataset, region: Any, error: Any, words: str, kind: str) -> None:
    before = files(path.parent)
    with pytest.raises(error, match=words):
        zarrds.save(variants(ds)[kind], path, region=region)
    assert files(path.parent) == before


# from the same store


@pytest.mark.one_in(3)
@pytest.mark.parametrize("chunks", [None, {}, {"time": 2}, {"time": 5}], ids=str)
@pytest.mark.parametrize("shift", [1, 4, -2])
@pytest.mark.filterwarnings("ignore:The specified chunks separate")
def test_shifted(path: Path, chunks: Any, shift: int) -> None:
    there, here = (slice(shift, None), slice(0, -shift)) if shift > 0 else (slice(0, shift), slice(-shift, None))
    lazy = open_zarrds(path, chunks=chunks)[["t2m", "name"]].isel(time=there)
    expected = days(0, 9)
    for name in ("t2m", "name"):
        expected[name][here] = expected[name].values[there]
    zarrds.save(lazy.drop_vars(["time", "x", "season", "height"]), path, region={"time": here})
    xr.testing.assert_identical(load(path), expected)


@pytest.mark.parametrize("chunks", [None, {}, {"time": 3}], ids=str)
@pytest.mark.parametrize("region", [None, {"time": slice(0, 6)}, {"time": slice(1, None)}], ids=str)
@pytest.mark.filterwarnings("ignore:The specified chunks separate")
def test_swapped(path: Path, chunks: Any, region: Any) -> None:
    time = np.arange(9)
    ds = xr.Dataset({"v": ("time", time * 1.0), "w": ("time", time - 100.0)}, {"time": time})
    zarrds.save(ds, path, mode="w", encoding={"v": {"chunks": 2}, "w": {"chunks": 4}})
    lazy = open_zarrds(path, chunks=chunks).rename(v="w", w="v")
    expected = ds.copy(deep=True)
    at = slice(None) if region is None else region["time"]
    for name, other in (("v", "w"), ("w", "v")):
        expected[name][at] = ds[other].values[at]
    zarrds.save(lazy.isel(time=at), path, mode="a" if region is None else "r+", region=region)
    xr.testing.assert_identical(load(path), expected)


@pytest.mark.filterwarnings("ignore:The specified chunks separate")
def test_mirrored_by_another_name_of_the_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    Path("link.zarr").symlink_to("x.zarr")
    for name in ("x.zarr", "link.zarr"):
        lazy = open_zarrds(name, chunks={"time": 2})[["t2m"]].isel(time=slice(None, None, -1))
        expected = lazy.t2m.values
        zarrds.save(lazy.drop_vars(["time", "x", "season", "height"]), path, region={"time": slice(0, 9)})
        np.testing.assert_array_equal(load(path).t2m, expected)


@pytest.mark.filterwarnings("ignore:The specified chunks separate")
def test_what_is_computed_later_may_not_read_what_it_changes(path: Path) -> None:
    before = files(path.parent)
    lazy = open_zarrds(path, chunks={"time": 2})[["t2m"]].isel(time=slice(1, None))
    lazy = lazy.drop_vars(["time", "x", "season", "height"])
    with pytest.raises(EncodingError, match="still to be read from the store") as caught:
        zarrds.save(lazy, path, region={"time": slice(0, -1)}, compute=False)
    assert caught.value.key == "t2m"
    assert files(path.parent) == before
    # what is new may be made of what is there
    new = open_zarrds(path, chunks={"time": 2})[["t2m"]].rename(t2m="double") * 2
    zarrds.save(new, path, mode="a", compute=False).compute()
    np.testing.assert_array_equal(load(path).double, days(0, 9).t2m * 2)


# others


def test_a_reader_goes_on_and_sees_the_new_values(path: Path) -> None:
    reader = open_zarrds(path)
    zarrds.save(part(2, 5), path, region="auto")
    xr.testing.assert_identical(reader.load(), written(2, 5))


def test_labels_that_change_while_a_region_is_computed(path: Path) -> None:
    def meanwhile(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if block.size:
            zarrds.save(days(0, 9).assign_coords(x=[1, 2, 3]), path, mode="a")
        return block

    source = part(2, 5, ["t2m"])
    data = dask.array.map_blocks(meanwhile, source.t2m.chunk().data, dtype="f8", meta=np.empty((0, 0)))
    lazy = open_zarrds(path)  # read from this store, so that it is written as a whole
    first = lazy.t2m[2:5].chunk().variable.data * 0
    ds = source.assign(t2m=(("time", "x"), data + first))
    with pytest.raises(ConflictError):
        zarrds.save(ds, path, region={"time": slice(2, 5)})
    xr.testing.assert_identical(load(path), days(0, 9).assign_coords(x=[1, 2, 3]))


@pytest.mark.parametrize("mode", ["a", "r+"])
@pytest.mark.parametrize(
    "coords", [{"x": [7, 8]}, {"x": [1, 2]}, {"quality": ("x", [0.5, 1.0])}], ids=["labels", "places", "along"]
)
def test_coordinates_that_the_store_does_not_have_are_not_left_out(
    tmp_path: Path, coords: dict[str, Any], mode: Any, zarr_format: Format
) -> None:
    path = tmp_path / "bare.zarr"
    template = xr.Dataset({"v": ("x", dask.array.zeros(6, chunks=2))})
    zarrds.save(template, path, compute=False, zarr_format=zarr_format)
    ds = xr.Dataset({"v": ("x", [1.0, 2.0])}, coords)
    before = files(path)
    with pytest.raises((EncodingError, LabelError), match=r"or leave it out|Leave them out") as caught:
        zarrds.save(ds, path, region={"x": slice(1, 3)}, mode=mode)
    assert next(iter(coords)) in str(caught.value)
    assert files(path) == before
    zarrds.save(ds.drop_vars(list(coords)), path, region={"x": slice(1, 3)}, mode=mode)
    np.testing.assert_array_equal(load(path).v, [np.nan, 1, 2, np.nan, np.nan, np.nan])


def test_later_labels_are_not_compared_where_there_are_none(path: Path) -> None:
    shifted = part(2, 5).assign_coords(time=part(2, 5).time + DAY)
    with pytest.raises(LabelError):
        zarrds.save(shifted, path, region={"time": slice(2, 5)})
    zarrds.save(shifted.drop_vars("time"), path, region={"time": slice(2, 5)})
    xr.testing.assert_identical(load(path), written(2, 5))


@pytest.mark.parametrize("how", ["w", "a"])
def test_an_array_that_is_replaced_while_a_region_is_computed(path: Path, how: Any) -> None:
    moved = days(0, 9).assign_coords(x=[1, 2, 3])
    zarrds.save(days(0, 9), path, group="g", mode="w", encoding=CHUNKS)

    def meanwhile(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if block.size:
            zarrds.save(moved, path, group="g", mode=how, encoding=CHUNKS if how == "w" else None)
        return block

    source = part(2, 5, ["t2m"])
    data = dask.array.map_blocks(meanwhile, source.t2m.chunk().data, dtype="f8", meta=np.empty((0, 0)))
    # it is written in place, chunk by chunk: too late to be undone, but not in silence
    with pytest.raises(ConflictError, match="replaced the array, or its labels") as caught:
        zarrds.save(source.assign(t2m=(("time", "x"), data)), path, group="g", region="auto")
    assert caught.value.key == "g/t2m"


def test_growing_while_a_region_is_computed_is_fine(path: Path) -> None:
    def meanwhile(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if block.size:
            zarrds.save(days(9, 11), path, append_dim="time")
        return block

    source = part(2, 9, ["t2m"])
    data = dask.array.map_blocks(meanwhile, source.t2m.chunk().data, dtype="f8", meta=np.empty((0, 0)))
    zarrds.save(source.assign(t2m=(("time", "x"), data)), path, region="auto")
    expected = days(0, 11)
    expected["t2m"][2:9] += 1000
    xr.testing.assert_equal(load(path), expected)


@pytest.mark.parametrize("source", ["open_zarr", "from_zarr", "open_array"])
def test_a_shifted_region_of_what_other_libraries_read_from_the_store(tmp_path: Path, source: str) -> None:
    import dask.array
    import zarr

    path = tmp_path / "x.zarr"
    zarrds.save(xr.Dataset({"v": ("x", np.arange(21.0))}), path, encoding={"v": {"chunks": (4,)}})
    data: Any = {
        "open_zarr": lambda: xr.open_zarr(path).v.data,
        "from_zarr": lambda: dask.array.from_zarr(str(path), component="v"),
        "open_array": lambda: dask.array.from_array(zarr.open_array(path, path="v", mode="r"), chunks=4),
    }[source]()
    zarrds.save(xr.Dataset({"v": ("x", data[:-1])}), path, region={"x": slice(1, 21)})
    assert load(path).v.values.tolist() == [0, *range(20)]

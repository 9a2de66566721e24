from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import CHUNKS, FORMATS, Format, complete, contents, days, document, files, load, variants
from zarrds.errors import (
    ConflictError,
    EncodingError,
    LabelError,
    NodeNotFoundError,
    StoreExistsError,
    StoreNotFoundError,
)

KINDS = ["numpy", "dask"]
ENGINES = ["zarrds", "zarr"]


def save(engine: str, obj: Any, store: Any, **options: Any) -> None:
    """`zarrds.save`, or what it stands for."""
    if engine == "zarrds":
        zarrds.save(obj, store, **options)
    else:
        obj.to_zarr(store, **options)


# where nothing stands


@pytest.mark.one_in(3)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("group", [None, "a/b"])
@pytest.mark.parametrize("mode", ["w-", "w", "a", "a-", None])
def test_what_is_new(path: Path, mode: Any, group: str | None, zarr_format: Format) -> None:
    zarrds.save(days(0, 6).chunk(time=4), path, mode=mode, group=group, encoding=CHUNKS, zarr_format=zarr_format)
    for engine in ENGINES:
        xr.testing.assert_identical(load(path, engine, group=group), days(0, 6))
    clean = path.with_name("clean.zarr")
    zarrds.save(days(0, 6), clean, group=group, encoding=CHUNKS, zarr_format=zarr_format)
    assert contents(path) == contents(clean)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_new_group_in_mode_a_leaves_the_others_alone(path: Path, zarr_format: Format) -> None:
    zarrds.save(days(0, 6), path, zarr_format=zarr_format)
    before = files(path)
    zarrds.save(days(6, 9), path, group="a/b", mode="a")
    changed = {name for name, value in before.items() if files(path)[name] != value}
    assert changed <= {"zarr.json", ".zmetadata"}
    for engine in ENGINES:
        xr.testing.assert_identical(load(path, engine), days(0, 6))
        xr.testing.assert_identical(load(path, engine, group="a/b"), days(6, 9))
        assert list(xr.open_groups(path, engine=engine)) == ["/", "/a", "/a/b"]
    with pytest.raises(NodeNotFoundError, match="an array cannot hold groups"):
        zarrds.save(days(6, 9), path, group="t2m/b", mode="a")
    with pytest.raises(LabelError, match="array stands where a group is to be"):
        zarrds.save(days(6, 9), path, group="t2m", mode="a")


@pytest.mark.parametrize("group", [None, "g"])
@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("options", [{"mode": "r+"}, {"region": {"time": slice(6)}}, {"append_dim": "time"}], ids=str)
def test_nothing_to_write_into(path: Path, exists: bool, options: dict[str, Any], group: str | None) -> None:
    if exists and group is None:
        zarrds.save(xr.Dataset(), path, group="other")
    elif exists:
        zarrds.save(days(0, 6), path)
    before = files(path.parent)
    new = days(0, 6)[["t2m"]].drop_vars(["x", "season", "height"]) if "region" in options else days(0, 6)
    with pytest.raises((LabelError, EncodingError, NodeNotFoundError, StoreNotFoundError)) as caught:
        zarrds.save(new, path, group=group, **options)
    # as the engine: no such file, or no such label
    kind: Any = ValueError if (group is None and exists) or "append_dim" in options else FileNotFoundError
    assert isinstance(caught.value, kind)
    if group and exists:
        assert caught.value.key == group
    assert files(path.parent) == before


# where something stands


@pytest.mark.one_in(3)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writer", ENGINES)
@pytest.mark.parametrize("mode", ["a", "a-", "r+"])
def test_variables_are_overwritten_in_their_own_encoding(
    path: Path, mode: Any, writer: str, kind: str, zarr_format: Format
) -> None:
    encoding: dict[str, Any] = {"t2m": {"chunks": (4, 2), "dtype": "f4"}}
    save(writer, days(0, 6), path, encoding=encoding, zarr_format=zarr_format)
    before = document(path, "t2m")
    new = days(0, 6).assign(t2m=days(0, 6).t2m + 50)
    new["t2m"].attrs = {"units": "kelvin", "long_name": "of mode a"}
    new["t2m"].encoding = {"chunks": (1, 1), "dtype": "f8", "compressors": None}
    zarrds.save(variants(new)[kind], path, mode=mode)
    expected = new.assign(t2m=new.t2m.astype("f4"))
    expected["t2m"].attrs = {"units": "K"} if mode == "r+" else new.t2m.attrs
    for engine in ENGINES:
        xr.testing.assert_identical(load(path, engine), expected)
    after = document(path, "t2m")
    assert after.pop("zarrds", {}).get("complete", [6, 3]) == [6, 3]
    for added in ("zarrds", "storage_transformers"):
        before.pop(added, None)
    for found in (before, after):
        found.pop("attributes", None)
    assert after == before


def test_mode_r_plus_keeps_the_attributes_and_mode_a_replaces_those_that_are_given(path: Path) -> None:
    zarrds.save(days(0, 6), path)
    zarrds.save(days(0, 6).assign_attrs(title="other"), path, mode="r+")
    assert load(path).attrs == {"title": "weather"}
    zarrds.save(days(0, 6)[["area"]].drop_attrs().assign_attrs(history="new"), path, mode="a")
    for engine in ENGINES:
        found = load(path, engine)
        assert found.attrs == {"title": "weather", "history": "new"}
        assert found.area.attrs == {}
        # what the dataset does not hold is a coordinate still
        assert set(found.coords) == set(days(0, 6).coords)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_mode_a_adds_variables(path: Path, kind: str, zarr_format: Format) -> None:
    zarrds.save(days(0, 6), path, zarr_format=zarr_format, encoding=CHUNKS)
    before = files(path)
    new = xr.Dataset(
        {"wind": (("time", "x"), np.arange(18.0).reshape(6, 3)), "level": ("z", [1, 2])},
        {"lat": ("x", [50.0, 51.0, 52.0])},
        {"title": "weather"},
    )
    zarrds.save(variants(new)[kind], path, mode="a", encoding={"wind": {"chunks": (2, 3), "dtype": "f4"}})
    for engine in ENGINES:
        found = load(path, engine)
        xr.testing.assert_identical(found, days(0, 6).merge(new.assign(wind=new.wind.astype("f4"))))
        assert "lat" in found.coords
    assert load(path).wind.encoding["chunks"] == (2, 3)
    assert complete(path, "wind") == [6, 3]
    same = {name for name, value in before.items() if files(path)[name] == value}
    assert before.keys() - same <= {"zarr.json", ".zmetadata", ".zattrs", ".zgroup"}


@pytest.mark.parametrize("name", ["v", None, "x"])
@pytest.mark.parametrize("mode", ["a", "r+"])
def test_data_arrays(path: Path, name: str | None, mode: Any) -> None:
    array = xr.DataArray(np.arange(3.0), {"x": [1, 2, 3]}, "x", name=name)
    for engine in ENGINES:
        store = path / engine
        save(engine, array, store)
        zarrds.save(array + 5, store, mode=mode)
        xr.testing.assert_identical(xr.open_dataarray(store, engine="zarr").load(), array + 5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_trees(path: Path, kind: str, zarr_format: Format) -> None:
    def tree(**groups: xr.Dataset) -> xr.DataTree:
        return xr.DataTree.from_dict({f"/{name}": variants(ds)[kind] for name, ds in groups.items()})

    zarrds.save(tree(a=days(0, 3), b=days(3, 7)), path, zarr_format=zarr_format, encoding={"/a": CHUNKS})
    with pytest.raises(StoreExistsError):
        zarrds.save(tree(c=days(0, 3)), path)
    zarrds.save(tree(b=days(3, 7), c=days(7, 9)), path, mode="a", encoding={"/c": CHUNKS})
    wind = days(0, 3).assign(t2m=days(0, 3).t2m * 2)
    zarrds.save(tree(a=wind), path, mode="r+")
    expected = xr.DataTree.from_dict({"/a": wind, "/b": days(3, 7), "/c": days(7, 9)})
    expected["/a/t2m"].attrs = {"units": "K"}
    for engine in ENGINES:
        xr.testing.assert_identical(xr.open_datatree(path, engine=engine).compute(), expected)
    assert load(path, group="c").t2m.encoding["chunks"] == (4, 2)
    zarrds.save(tree(d=days(0, 1)), path, mode="w")
    assert xr.open_datatree(path, engine="zarrds").groups == ("/", "/d")
    with pytest.raises(NodeNotFoundError) as caught:
        zarrds.save(tree(d=days(0, 1), e=days(0, 1)), path, mode="r+")
    assert caught.value.key == "e"


def test_inherited_coordinates(path: Path) -> None:
    tree = xr.DataTree.from_dict({"/": days(0, 3)[["x"]], "/a": days(0, 3)[["t2m"]].drop_vars("x")})
    for inherited, there in ((False, False), (True, True)):
        zarrds.save(tree, path, mode="w", write_inherited_coords=inherited)
        assert ("x" in load(path, group="a").coords) is there


# labels


def test_labels_that_other_variables_use_are_not_replaced(path: Path) -> None:
    zarrds.save(days(0, 6), path)
    before = files(path)
    moved = days(0, 6).assign_coords(x=[11, 21, 31])
    for part in (moved[["x"]], moved[["t2m"]], moved[["area"]]):
        with pytest.raises(LabelError, match=r"would get the new labels|would be read under") as caught:
            zarrds.save(part, path, mode="a")
        assert caught.value.key == "x"
    with pytest.raises(LabelError, match="different dimension sizes"):
        zarrds.save(days(0, 5), path, mode="a")
    with pytest.raises(LabelError, match="different dimension names"):
        zarrds.save(days(0, 6)[["area"]].rename(x="y"), path, mode="a")
    with pytest.raises(LabelError, match="new variable 'new' has different dimension sizes"):
        zarrds.save(xr.Dataset({"new": ("x", [1, 2])}), path, mode="a")
    assert files(path) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writer", ENGINES)
def test_labels_are_replaced_with_all_that_they_label(path: Path, kind: str, writer: str) -> None:
    save(writer, days(0, 6), path, encoding=CHUNKS)
    opened = xr.open_dataset(path, engine="zarrds")
    moved = days(0, 6).assign_coords(x=[11, 21, 31])
    zarrds.save(variants(moved)[kind], path, mode="a")
    xr.testing.assert_identical(load(path), moved)
    # and nobody reads the new data under the old labels
    with pytest.raises(ConflictError, match="Open the dataset again"):
        opened.t2m.load()
    with pytest.raises(ConflictError):
        opened.area.load()


def test_equal_labels_are_not_written_again(path: Path) -> None:
    zarrds.save(days(0, 6), path)
    opened = xr.open_dataset(path, engine="zarrds")
    before = files(path)
    new = days(0, 6)[["area"]]
    zarrds.save(new.assign(area=new.area + 1), path, mode="a")
    # the documents too: "area" is another array now, of which who opened it before must not read a part
    assert {name for name, value in files(path).items() if before[name] != value} == {
        "area/c.0",
        "area/.zarrds/.zarrds.json",
        "zarr.json",
    }
    xr.testing.assert_identical(opened.t2m.load(), days(0, 6).t2m)
    with pytest.raises(ConflictError, match="Open the dataset again"):
        opened.area.load()


# what the engine refuses is refused too, by the same kind of error; nothing is written

A, B = days(0, 6), days(6, 9)
ONLY = ["x", "season", "height", "area"]
REFUSED: dict[str, tuple[xr.Dataset, dict[str, Any]]] = {
    "unknown mode": (A, {"mode": "x"}),
    "reading mode": (A, {"mode": "r"}),
    "exists": (A, {"mode": "w-"}),
    "exists, unsaid": (A, {}),
    "group in r+": (A, {"mode": "r+", "group": "g"}),
    "new variable in r+": (A.assign(new=1), {"mode": "r+"}),
    "new variable in a region": (A.drop_vars(ONLY).assign(new=("time", range(6))), {"region": {"time": slice(6)}}),
    "encoding of what exists": (A, {"mode": "a", "encoding": {"t2m": {"chunks": (1, 1)}}}),
    "empty encoding": (A, {"mode": "a", "encoding": {"t2m": {}}}),
    "encoding in an append": (B, {"append_dim": "time", "encoding": {"t2m": {"dtype": "f4"}}}),
    "encoding of nothing": (A, {"mode": "a", "encoding": {"nothing": {}}}),
    "sizes": (B, {"mode": "a"}),
    "dimensions": (A.assign(t2m=("time", range(6))), {"mode": "a"}),
    "append in w": (B, {"mode": "w", "append_dim": "time"}),
    "append in w-": (B, {"mode": "w-", "append_dim": "time"}),
    "append in r+": (B, {"mode": "r+", "append_dim": "time"}),
    "append along nothing": (B, {"append_dim": "nothing"}),
    "append of another kind": (B.assign(t2m=B.t2m.astype(str)), {"append_dim": "time"}),
    "append of other dimensions": (B.assign(t2m=B.t2m[:, 0].drop_vars("x")), {"append_dim": "time"}),
    "append of other sizes": (B.isel(x=slice(2)), {"append_dim": "time"}),
    "append to a region of it": (B.drop_vars(ONLY), {"append_dim": "time", "region": {"time": slice(3)}}),
    "region in w": (A, {"mode": "w", "region": {"time": slice(6)}}),
    "region that is none": (A, {"region": 5}),
    "region of a number": (A.drop_vars(ONLY), {"region": {"time": 3}}),
    "region with a step": (A.drop_vars(ONLY), {"region": {"time": slice(0, 6, 2)}}),
    "region of nothing": (A.drop_vars(ONLY), {"region": {"nothing": slice(1)}}),
    "region of other sizes": (A.drop_vars(ONLY), {"region": {"time": slice(3)}}),
    "region and others": (A, {"region": {"time": slice(6)}}),
    "region auto in a-": (A.drop_vars(ONLY), {"region": "auto", "mode": "a-"}),
    "region of other labels": (B.drop_vars(ONLY), {"region": "auto"}),
}


@pytest.mark.one_in(6)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::RuntimeWarning")
def test_what_the_engine_refuses(path: Path, case: str, zarr_format: Format) -> None:
    ds, options = REFUSED[case]
    kinds = (ValueError, TypeError, KeyError, FileExistsError, FileNotFoundError)
    theirs = path.with_name("theirs.zarr")
    A.to_zarr(theirs, zarr_format=zarr_format)
    with pytest.raises(kinds) as refused:
        ds.to_zarr(theirs, **options)
    kind = next(kind for kind in kinds if isinstance(refused.value, kind))
    for store, writer in ((path, "zarrds"), (path.with_name("foreign.zarr"), "zarr")):
        save(writer, A, store, zarr_format=zarr_format)
        before = files(store)
        with pytest.raises(kind) as caught:
            zarrds.save(ds, store, **options)
        assert isinstance(caught.value, zarrds.errors.ZarrdsError)
        assert files(store) == before


def test_wrong_options(path: Path) -> None:
    zarrds.save(A, path)
    with pytest.raises(EncodingError, match="format 3"):
        zarrds.save(A, path, mode="a", zarr_format=2)
    with pytest.raises(EncodingError, match="on_overlap"):
        zarrds.save(B, path, append_dim="time", on_overlap="drop")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(EncodingError, match="unknown mode"):
        zarrds.save(B, path, mode="append")  # type: ignore[arg-type]  # wrong on purpose


# options of the store


@pytest.mark.parametrize("durable", [True, False])
def test_durable_or_not_the_contents_are_the_same(path: Path, durable: bool) -> None:
    plain = path.with_name("plain.zarr")
    stores: list[tuple[Path, dict[str, Any]]] = [(path, {"durable": durable}), (plain, {})]
    for store, options in stores:
        zarrds.save(A.chunk(time=5), store, encoding=CHUNKS, **options)
        zarrds.save(B.chunk(time=2), store, append_dim="time", **options)
        zarrds.save(B, store, group="g", mode="a", **options)
        zarrds.save(B[["t2m"]].drop_vars(["season", "height"]) * 2, store, group="g", region="auto", **options)
        zarrds.save(A, store, group="g", mode="w", **options)
    assert contents(path) == contents(plain)
    xr.testing.assert_identical(load(path), days(0, 9))
    assert [p for p in path.parent.rglob("*") if p.name.endswith(".zarrds-partial")] == []


def test_storage_options_are_ignored_for_local_paths(path: Path) -> None:
    zarrds.save(A, path, storage_options={"anon": True})
    zarrds.save(B, str(path), append_dim="time", storage_options={"anon": True})
    xr.testing.assert_identical(load(path, storage_options={"anon": True}), days(0, 9))


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_remote_stores(zarr_format: Format) -> None:
    pytest.importorskip("fsspec", reason="URLs need fsspec")
    store = f"memory://test-modes-{zarr_format}/x.zarr"
    zarrds.save(A.chunk(time=5), store, encoding=CHUNKS, zarr_format=zarr_format, mode="w", storage_options={})
    zarrds.save(B, store, append_dim="time")
    zarrds.save(B[["t2m"]].drop_vars(["season", "height"]), store, region="auto")
    xr.testing.assert_identical(load(store), days(0, 9))


# names


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_new_coordinate_of_old_variables_is_a_coordinate(path: Path, zarr_format: Format) -> None:
    ds = xr.Dataset({"v": ("x", [1.0, 2.0])})
    zarrds.save(ds, path, zarr_format=zarr_format)
    grown = ds.assign_coords(lat=("x", [3, 4]))
    zarrds.save(grown, path, mode="a")
    for engine in ENGINES:
        xr.testing.assert_identical(load(path, engine), grown)


def test_a_variable_without_a_name(path: Path) -> None:
    ds = xr.Dataset({None: ("t", [1, 2])})
    zarrds.save(ds, path)
    zarrds.save(ds, path, append_dim="t")
    assert load(path)[None].values.tolist() == [1, 2, 1, 2]
    zarrds.save(xr.Dataset({None: ("t", [5, 6, 7, 8])}), path, mode="r+")
    assert load(path)[None].values.tolist() == [5, 6, 7, 8]


def test_a_store_that_is_replaced_while_more_is_appended(path: Path) -> None:
    """What the append has staged went with the old store: it says so, and the new store is as it was saved."""
    zarrds.save(days(0, 3), path)

    def replace(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        zarrds.save(days(10, 12), path, mode="w")
        return block

    more = days(3, 6)
    more["t2m"] = more.t2m.chunk().map_blocks(replace, template=more.t2m.chunk())
    with pytest.raises(ConflictError):
        zarrds.save(more, path, append_dim="time")
    xr.testing.assert_identical(load(path), days(10, 12))
    assert [name for name in path.parent.iterdir() if name != path] == []

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.samples import VARIED_CHUNKS, Counting, open_zarrds, varied
from zarrds.datasets.reading.backend import ZarrdsBackendEntrypoint
from zarrds.errors import InvalidKeyError, LabelError, MetadataError, UnsupportedError


@pytest.fixture
def path(tmp_path: Path, zarr_format: int) -> Path:
    path = tmp_path / "x.zarr"
    zarrds.save(varied(), path, encoding=VARIED_CHUNKS, zarr_format=zarr_format)
    return path


# what may be opened


def test_engine_is_installed() -> None:
    engine = xr.backends.list_engines()["zarrds"]
    assert isinstance(engine, ZarrdsBackendEntrypoint)
    assert engine.supports_groups
    assert "zarrds" in engine.description


def test_guess_can_open(path: Path, tmp_path: Path) -> None:
    engine = ZarrdsBackendEntrypoint()
    moved = tmp_path / "no suffix"
    shutil.copytree(path, moved)
    for name in (
        path,
        str(path),
        f"{path}/",
        "nowhere.zarr",
        "nowhere.zarr/",
        moved,
        f"{moved}/",
        zarrds.MemoryStore(),
    ):
        assert engine.guess_can_open(name)
    for other in ("x.nc", tmp_path, tmp_path / "nothing", "http://host/x.nc", 5, None, b"x.zarr", {}):
        assert not engine.guess_can_open(other)


def test_opened_without_naming_the_engine(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = tmp_path / "no suffix"
    shutil.copytree(path, moved)
    xr.testing.assert_identical(xr.open_dataset(moved).load(), varied())
    store = zarrds.MemoryStore()
    zarrds.save(varied(), store)
    xr.testing.assert_identical(xr.open_dataset(store).load(), varied())


def test_every_way_to_name_a_store(path: Path, zarr_format: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    documents = ["zarr.json"] if zarr_format == 3 else [".zgroup", ".zmetadata"]
    spaced = path.parent / "a b.zarr"
    shutil.copytree(path, spaced)
    names: list[Any] = [
        path,
        str(path),
        f"{path}/",
        "x.zarr",
        "./x.zarr/",
        f"file://{path}",
        f"file://localhost{path}/",
        f"file://{path.parent}/a%20b.zarr",
        spaced,
        zarrds.LocalStore(path),
        *(path / document for document in documents),
        *(f"file://{path}/{document}" for document in documents),
    ]
    for name in names:
        xr.testing.assert_identical(open_zarrds(name).load(), varied())
    monkeypatch.chdir(path)
    for name in (".", *documents):
        xr.testing.assert_identical(open_zarrds(name).load(), varied())
    monkeypatch.setenv("HOME", str(path.parent))
    xr.testing.assert_identical(open_zarrds("~/x.zarr").load(), varied())


@pytest.mark.parametrize("url", ["nothing://host/x.zarr", "file:x.zarr", "file://host/x.zarr"])
def test_urls_of_other_kinds(url: str) -> None:
    with pytest.raises((UnsupportedError, FileNotFoundError)):
        open_zarrds(url)


def test_unknown_options_and_objects(path: Path) -> None:
    with pytest.raises(TypeError, match="auto_chunk"):
        open_zarrds(path, auto_chunk=True)
    with pytest.raises(TypeError, match="a store is a path"):
        open_zarrds(5)


# groups


def test_groups(path: Path, zarr_format: int) -> None:
    zarrds.save(varied(2.0), path, group="a/b", encoding=VARIED_CHUNKS)
    for group, factor in ((None, 1), ("", 1), ("/", 1), ("a/b", 2), ("/a/b/", 2)):
        xr.testing.assert_identical(open_zarrds(path, group=group).load(), varied(factor))
    assert open_zarrds(path, group="a").identical(xr.Dataset())
    for group in ("..", "a/../b", "a//b", "./a"):
        with pytest.raises(InvalidKeyError):
            open_zarrds(path, group=group)
    assert list(xr.open_groups(path, engine="zarrds")) == ["/", "/a", "/a/b"]
    assert list(xr.open_groups(path, engine="zarrds", group="a")) == [".", "b"]
    tree = xr.open_datatree(path, engine="zarrds", group="/a", drop_variables="s")
    xr.testing.assert_identical(tree["b"].to_dataset().load(), varied(2.0).drop_vars("s"))


# what is left out


@pytest.mark.parametrize("group", [None, "a"])
def test_groups_that_are_no_tree(tmp_path: Path, zarr_format: Any, group: str | None) -> None:
    path = tmp_path / "pyramid.zarr"
    for name, size in (("", 4), ("a", 3), ("a/b", 2)):
        part = xr.Dataset({"v": ("x", np.zeros(size)), "w": ("x", np.zeros(size))})
        zarrds.save(part, path, group=name or None, zarr_format=zarr_format)
    with pytest.raises(LabelError, match=r"dimension 'x' has another size than in .*open_groups") as caught:
        xr.open_datatree(path, engine="zarrds", group=group)
    assert caught.value.key == ("a" if group is None else "b")
    assert len(xr.open_groups(path, engine="zarrds", group=group)) == (3 if group is None else 2)
    found = [finding.problem for finding in zarrds.verify(path).findings]
    assert len(found) == 3  # "a" is smaller than the root, and "a/b" than both
    assert all("xr.open_datatree cannot open the store" in problem for problem in found)


@pytest.mark.parametrize("labels", [[0, 2], ["a", "b"], pd.date_range("2000", periods=2)], ids=str)
def test_groups_of_other_labels_are_no_tree(tmp_path: Path, labels: Any) -> None:
    """Each by itself is right, and opens."""
    path, inner = tmp_path / "x.zarr", xr.Dataset({"v": ("x", [3.0, 4.0])}, {"x": labels})
    zarrds.save(xr.Dataset({"v": ("x", [1.0, 2.0])}, {"x": [0, 1]}), path)
    zarrds.save(inner, path, group="a")
    with pytest.raises(LabelError, match=r"'/a' .*index 'x' has other labels than in '/'.*open_groups") as caught:
        xr.open_datatree(path, engine="zarrds")
    assert caught.value.key == "a"
    assert caught.value.found in {"2", "a", "2000-01-01 00:00:00"}
    xr.testing.assert_identical(xr.open_groups(path, engine="zarrds")["/a"].load(), inner)
    zarrds.rename(path, {"x": "y"}, group="a")  # as the error says
    xr.testing.assert_identical(
        xr.open_datatree(path, engine="zarrds")["a"].to_dataset(inherit=False).load(), inner.rename(x="y")
    )


def test_dropped_variables_are_not_looked_at(path: Path, zarr_format: int) -> None:
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    group.create_array("nameless", shape=(3,), dtype="f4")
    with pytest.warns(UserWarning, match="'nameless': it has no names for its dimensions") as caught:
        open_zarrds(path, consolidated=False)
    assert "drop_variables" in str(caught[0].message)
    document = path / "w" / ("zarr.json" if zarr_format == 3 else ".zarray")
    document.write_text(document.read_text().replace("lz4", "rot13"))
    document = path / "s" / ("zarr.json" if zarr_format == 3 else ".zarray")
    document.write_text("no JSON")
    dropped = ["nameless", "w", "s", "never there"]
    expected = varied().drop_vars(["w", "s"])
    for options in ({"drop_variables": dropped}, {"drop_variables": tuple(dropped)}):
        xr.testing.assert_identical(open_zarrds(path, consolidated=False, **options).load(), expected)


def test_drop_variables_as_the_zarr_engine(path: Path) -> None:
    for dropped in ("v", ["v", "x"], ["time"], ("height",), []):
        xr.testing.assert_identical(
            open_zarrds(path, drop_variables=dropped).load(),
            xr.open_dataset(path, engine="zarr", drop_variables=dropped).load(),
        )


def test_default_indexes_can_be_left_out(path: Path) -> None:
    for index in ("auto", "none"):
        ds = open_zarrds(path, create_default_indexes=False, index=index)
        assert not ds.xindexes
        assert set(ds.coords) == {"time", "x", "height", "label"}
        assert not ds.time.variable._in_memory


# what is read, and when


@pytest.mark.parametrize("options", [{}, {"chunks": {}}, {"chunks": "auto"}, {"chunks": None}, {"cache": False}])
def test_opening_reads_one_document_and_the_indexes(zarr_format: int, options: dict[str, Any]) -> None:
    store = Counting()
    # where it is to make dask arrays, xarray looks at the first of all objects once more, and that time it must be told
    ds = varied().drop_vars("s") if options.get("chunks") is not None else varied()
    zarrds.save(ds, store, encoding=VARIED_CHUNKS, zarr_format=zarr_format)
    store.reads.clear()
    store.listings = 0
    ds = open_zarrds(store, **options)
    document = "zarr.json" if zarr_format == 3 else ".zmetadata"
    assert store.reads.pop(document) == 1
    chunks = {name: f"{name}/{'c.0' if zarr_format == 3 else '0'}" for name in ("time", "x")}
    # xarray's time decoder looks at the first and at the last value
    assert store.reads.pop(chunks["time"]) <= 4
    assert store.reads.pop(chunks["x"]) == 1
    # v2 looks for v3's document first; what is not there costs nothing much
    assert set(store.reads) <= ({"zarr.json"} if zarr_format == 2 else set())
    assert store.listings == 0
    repr(ds)
    ds.v.isel(time=slice(2))
    assert set(store.reads) <= {"zarr.json"}
    ds.v.isel(time=5, x=slice(1, 3)).variable.load()
    touched = "v/c.1.0" if zarr_format == 3 else "v/1.0"
    assert store.reads.pop(touched) == 1
    assert set(store.reads) <= {"zarr.json"}


def test_opening_a_group_reads_one_document(zarr_format: int) -> None:
    store = Counting()
    zarrds.save(varied(), store, zarr_format=zarr_format)
    zarrds.save(varied(), store, group="a")
    store.reads.clear()
    open_zarrds(store, group="a", create_default_indexes=False, decode_times=False)
    xr.open_datatree(store, engine="zarrds", create_default_indexes=False, decode_times=False)
    document = "zarr.json" if zarr_format == 3 else ".zmetadata"
    assert {key: n for key, n in store.reads.items() if store.identity(key) is not None} == {document: 2}


# many files, and files of others


def test_open_mfdataset(tmp_path: Path, zarr_format: int) -> None:
    ds = varied()
    for i in range(2):
        zarrds.save(ds.isel(time=slice(5 * i, 5 * i + 5)), tmp_path / f"{i}.zarr", zarr_format=zarr_format)
    names = [tmp_path / "0.zarr", str(tmp_path / "1.zarr")]
    for options in ({}, {"parallel": True}):
        with xr.open_mfdataset(
            names, engine="zarrds", data_vars="minimal", coords="minimal", compat="override", join="outer", **options
        ) as opened:
            assert opened.v.chunks is not None
            xr.testing.assert_identical(opened.compute(), ds)


def test_stores_without_consolidated_metadata(tmp_path: Path, zarr_format: int) -> None:
    tree = xr.DataTree.from_dict({"/": varied(), "/a/b": varied(2.0)})
    tree.to_zarr(tmp_path / "x.zarr", zarr_format=zarr_format, consolidated=False)
    xr.testing.assert_identical(open_zarrds(tmp_path / "x.zarr").load(), varied())
    xr.testing.assert_identical(xr.open_datatree(tmp_path / "x.zarr", engine="zarrds").load(), tree)
    with pytest.raises(MetadataError, match="no consolidated metadata"):
        open_zarrds(tmp_path / "x.zarr", consolidated=True)


def test_consolidated_metadata_decides(path: Path) -> None:
    zarr.open_group(path, mode="r+", use_consolidated=False).create_array("later", shape=(3,), dtype="f4")
    xr.testing.assert_identical(open_zarrds(path).load(), varied())
    xr.testing.assert_identical(open_zarrds(path, consolidated=True).load(), varied())
    with pytest.warns(UserWarning, match="'later': it has no names"):
        open_zarrds(path, consolidated=False)


def test_a_store_of_both_formats(tmp_path: Path) -> None:
    zarrds.save(varied(1.0), tmp_path / "x.zarr", zarr_format=3)
    zarrds.save(varied(2.0), tmp_path / "2.zarr", zarr_format=2)
    shutil.copytree(tmp_path / "2.zarr", tmp_path / "x.zarr", dirs_exist_ok=True)
    xr.testing.assert_identical(open_zarrds(tmp_path / "x.zarr").load(), varied(1.0))
    xr.testing.assert_identical(open_zarrds(tmp_path / "x.zarr", zarr_format=3).load(), varied(1.0))
    xr.testing.assert_identical(open_zarrds(tmp_path / "x.zarr", zarr_format=2).load(), varied(2.0))


def test_nczarr(tmp_path: Path) -> None:
    # as netCDF-C writes it: no _ARRAY_DIMENSIONS, but references; attributes of its own
    path = tmp_path / "x.zarr"
    zarrds.save(varied(), path, zarr_format=2)
    (path / ".zmetadata").unlink()
    (path / ".zattrs").write_text(json.dumps({"title": "small", "_NCProperties": "version=2", "_nczarr_group": {}}))
    for name in ("v", "s", "w", "time", "x", "height", "label"):
        attributes = json.loads((path / name / ".zattrs").read_text())
        document = json.loads((path / name / ".zarray").read_text())
        references = [f"/{dim}" for dim in attributes.pop("_ARRAY_DIMENSIONS")]
        document["_NCZARR_ARRAY"] = {"dimrefs": references, "storage": "chunked"}
        (path / name / ".zattrs").write_text(json.dumps({**attributes, "_NCZARR_ATTR": {"types": {}}}))
        (path / name / ".zarray").write_text(json.dumps(document))
    ours = open_zarrds(path, decode_coords="all").load()
    xr.testing.assert_identical(ours, varied())
    xr.testing.assert_identical(ours, xr.open_dataset(path, engine="zarr", consolidated=False).load())


@pytest.mark.parametrize("mask", [None, True, False])
def test_fill_values_as_missing_values(tmp_path: Path, zarr_format: int, mask: bool | None) -> None:
    group = zarr.create_group(tmp_path / "x.zarr", zarr_format=zarr_format)
    names = {"dimension_names": ["x"]} if zarr_format == 3 else {}
    array = group.create_array("v", shape=(4,), chunks=(2,), dtype="i4", fill_value=7, **names)  # type: ignore[arg-type]  # two types in one dict
    if zarr_format == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = ["x"]
    array[:1] = 5  # the rest is the fill value, one chunk of it absent
    found = open_zarrds(tmp_path / "x.zarr", use_zarr_fill_value_as_mask=mask).load()
    masked = zarr_format == 2 if mask is None else mask
    np.testing.assert_array_equal(found.v, [5, *([np.nan] * 3 if masked else [7] * 3)])
    if mask is None:
        theirs = xr.open_dataset(tmp_path / "x.zarr", engine="zarr", consolidated=False).load()
        xr.testing.assert_identical(found, theirs)
        told = found.v.encoding.get("fill_value")
        assert told == theirs.v.encoding.get("fill_value", told)  # some releases of xarray do not tell it


@pytest.mark.parametrize("function", ["open_dataset", "open_datatree", "open_groups_as_dict"])
def test_keywords_are_declared_for_all_functions(function: str) -> None:
    parameters = inspect.signature(getattr(ZarrdsBackendEntrypoint(), function)).parameters
    assert tuple(parameters) == ZarrdsBackendEntrypoint.open_dataset_parameters
    assert {parameters[name].kind for name in list(parameters)[1:]} == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters["mask_and_scale"].default is True
    with pytest.raises(TypeError, match=rf"{function}\(\) got an unexpected keyword argument 'tiles'"):
        getattr(ZarrdsBackendEntrypoint(), function)(zarrds.MemoryStore(), tiles=2)

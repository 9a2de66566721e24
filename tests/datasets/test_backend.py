from __future__ import annotations

import inspect
import json
import pickle
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.samples import FORMATS, Counting, open_zarrds
from zarrds.datasets.reading.backend import ZarrdsBackendEntrypoint
from zarrds.errors import InvalidKeyError, LabelError, MetadataError, UnsupportedError


def small(factor: float = 1.0) -> xr.Dataset:
    return xr.Dataset(
        {
            "v": (("time", "x"), np.arange(60.0).reshape(10, 6) * factor, {"units": "K"}),
            "s": ("x", np.array(list("abcdef"), object)),
            "w": ("time", np.arange(10, dtype="i4")),
        },
        {
            "time": pd.date_range("2019-03-01", periods=10, unit="ns"),
            "x": np.arange(6) * 10,
            "height": 2.0,
            "label": ("time", [f"t{i}" for i in range(10)]),
        },
        {"title": "small"},
    )


CHUNKS = {"v": {"chunks": (4, 3)}, "w": {"chunks": 4}, "label": {"chunks": 4}}


@pytest.fixture(params=FORMATS, ids=["v3", "v2"])
def zarr_format(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def path(tmp_path: Path, zarr_format: int) -> Path:
    path = tmp_path / "x.zarr"
    zarrds.save(small(), path, encoding=CHUNKS, zarr_format=zarr_format)
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
    xr.testing.assert_identical(xr.open_dataset(moved).load(), small())
    store = zarrds.MemoryStore()
    zarrds.save(small(), store)
    xr.testing.assert_identical(xr.open_dataset(store).load(), small())


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
        xr.testing.assert_identical(open_zarrds(name).load(), small())
    monkeypatch.chdir(path)
    for name in (".", *documents):
        xr.testing.assert_identical(open_zarrds(name).load(), small())
    monkeypatch.setenv("HOME", str(path.parent))
    xr.testing.assert_identical(open_zarrds("~/x.zarr").load(), small())


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
    zarrds.save(small(2.0), path, group="a/b", encoding=CHUNKS)
    for group, factor in ((None, 1), ("", 1), ("/", 1), ("a/b", 2), ("/a/b/", 2)):
        xr.testing.assert_identical(open_zarrds(path, group=group).load(), small(factor))
    assert open_zarrds(path, group="a").identical(xr.Dataset())
    for group in ("..", "a/../b", "a//b", "./a"):
        with pytest.raises(InvalidKeyError):
            open_zarrds(path, group=group)
    assert list(xr.open_groups(path, engine="zarrds")) == ["/", "/a", "/a/b"]
    assert list(xr.open_groups(path, engine="zarrds", group="a")) == [".", "b"]
    tree = xr.open_datatree(path, engine="zarrds", group="/a", drop_variables="s")
    xr.testing.assert_identical(tree["b"].to_dataset().load(), small(2.0).drop_vars("s"))


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
    expected = small().drop_vars(["w", "s"])
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
    ds = small().drop_vars("s") if options.get("chunks") is not None else small()
    zarrds.save(ds, store, encoding=CHUNKS, zarr_format=zarr_format)
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
    zarrds.save(small(), store, zarr_format=zarr_format)
    zarrds.save(small(), store, group="a")
    store.reads.clear()
    open_zarrds(store, group="a", create_default_indexes=False, decode_times=False)
    xr.open_datatree(store, engine="zarrds", create_default_indexes=False, decode_times=False)
    document = "zarr.json" if zarr_format == 3 else ".zmetadata"
    assert {key: n for key, n in store.reads.items() if store.identity(key) is not None} == {document: 2}


def test_selections_read_only_their_chunks(zarr_format: int) -> None:
    store = Counting()
    zarrds.save(small(), store, encoding=CHUNKS, zarr_format=zarr_format)
    ds = open_zarrds(store, chunk_cache=0)

    def chunks_read(selected: xr.DataArray) -> set[str]:
        store.reads.clear()
        selected.variable.load()
        return {key.removeprefix("v/c.").removeprefix("v/").replace(".", "/") for key in store.reads}

    assert chunks_read(ds.v.sel(time="2019-03-06", x=40)) == {"1/1"}
    assert chunks_read(ds.v.isel(time=[0, 9])) == {"0/0", "0/1", "2/0", "2/1"}
    assert chunks_read(ds.v.isel(time=[0, 9], x=[5, 4])) == {"0/1", "2/1"}
    points = {"time": xr.DataArray([0, 9], dims="p"), "x": xr.DataArray([0, 5], dims="p")}
    assert chunks_read(ds.v.isel(points)) == {"0/0", "2/1"}
    assert chunks_read(ds.v.isel(time=slice(None, None, -9))) == {"2/0", "2/1", "0/0", "0/1"}
    assert chunks_read(ds.v.isel(time=slice(0, 0))) == set()


# dask


def test_preferred_chunks(path: Path) -> None:
    ds = open_zarrds(path, chunks={})
    assert ds.v.chunks == ((4, 4, 2), (3, 3))
    assert ds.w.chunks == ((4, 4, 2),)
    assert ds.v.encoding["preferred_chunks"] == {"time": 4, "x": 3}
    assert open_zarrds(path).v.chunks is None
    assert open_zarrds(path, chunks={"time": 8}).v.chunks == ((8, 2), (3, 3))
    assert open_zarrds(path, chunks=-1).v.chunks == ((10,), (6,))
    # neither dask nor xarray can guess the size of objects
    plain = {"drop_variables": ["s", "label"]}
    assert open_zarrds(path, chunks="auto", **plain).v.chunks == ((10,), (6,))
    for chunks in ({}, {"time": 8}, {"time": 5}, -1, 3):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The specified chunks separate")
            ours, theirs = (xr.open_dataset(path, engine=engine, chunks=chunks) for engine in ("zarrds", "zarr"))
        assert {n: v.chunks for n, v in ours.variables.items()} == {n: v.chunks for n, v in theirs.variables.items()}
        xr.testing.assert_identical(ours.compute(), small())


def test_token_follows_the_content(path: Path, zarr_format: int) -> None:
    memory = zarrds.MemoryStore()
    zarrds.save(small(), memory, zarr_format=zarr_format)
    for store in (path, str(path), zarrds.LocalStore(path), memory):
        names = [open_zarrds(store, chunks={}).v.data.name for _ in range(2)]
        assert names[0] == names[1]
        zarrds.save(small(), store, mode="w", zarr_format=zarr_format)
        assert open_zarrds(store, chunks={}).v.data.name != names[0]
    other = zarrds.MemoryStore()
    zarrds.save(small(), other, zarr_format=zarr_format)
    assert open_zarrds(other, chunks={}).v.data.name != open_zarrds(memory, chunks={}).v.data.name


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_dask_schedulers(path: Path, scheduler: str) -> None:
    ds = open_zarrds(path, chunks={"time": 8})
    with dask.config.set(scheduler=scheduler):
        xr.testing.assert_identical(ds.compute(), small())
        xr.testing.assert_identical((ds.v.mean("time") + ds.w).compute(), small().v.mean("time") + small().w)


# copies, threads and event loops


@pytest.mark.parametrize("chunks", [None, {}])
def test_pickles(path: Path, chunks: Any) -> None:
    for opened in (
        open_zarrds(path, chunks=chunks),
        open_zarrds(path, chunks=chunks).isel(time=slice(2, 8, 3), x=[3, 0]),
    ):
        content = pickle.dumps(opened)
        assert len(content) < 20_000
        copy = pickle.loads(content)
        assert not copy.v.variable._in_memory
        xr.testing.assert_identical(copy.load(), opened.load())
    store = zarrds.MemoryStore()
    zarrds.save(small(), store)
    copy = pickle.loads(pickle.dumps(open_zarrds(store, chunks=chunks)))
    zarrds.save(xr.Dataset(), store, mode="w")  # the copy has a store of its own
    xr.testing.assert_identical(copy.load(), small())


@pytest.mark.parametrize("workers", [None, 1, 4])
def test_many_threads_load_from_one_dataset(tmp_path: Path, workers: int | None) -> None:
    rng = np.random.default_rng(0)
    ds = xr.Dataset({"v": (("y", "x"), rng.random((300, 400))), "s": ("y", [f"n{i}" for i in range(300)])})
    zarrds.save(ds, tmp_path / "x.zarr", encoding={"v": {"chunks": (40, 30)}})
    opened = open_zarrds(tmp_path / "x.zarr", cache=False, workers=workers)

    def check(i: int) -> None:
        selection = {"y": slice(i * 7, 300 - i, 1 + i % 3), "x": [i, 399 - i, 200]}
        xr.testing.assert_identical(opened.isel(selection).load(), ds.isel(selection))
        xr.testing.assert_identical(opened.compute(), ds)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(check, range(32)))


@pytest.mark.asyncio
async def test_load_async(path: Path) -> None:
    xr.testing.assert_identical(await open_zarrds(path).load_async(), small())
    selected = open_zarrds(path).isel(time=[7, 1], x=slice(None, None, -2))
    xr.testing.assert_identical(await selected.load_async(), small().isel(time=[7, 1], x=slice(None, None, -2)))


def test_indexing_as_numpy(path: Path) -> None:
    expected = small()
    for key in (
        {"time": 3},
        {"time": -1, "x": -6},
        {"time": slice(1, 9, 3), "x": slice(None, None, -1)},
        {"time": [5, 5, 0], "x": [True, False, True, False, False, True]},
        {"x": xr.DataArray([[0, 1], [5, 2]], dims=("p", "q"))},
        {"time": xr.DataArray([9, 0], dims="p"), "x": xr.DataArray([1, 1], dims="p")},
        {"time": np.array([], int)},
    ):
        xr.testing.assert_identical(open_zarrds(path).isel(key).load(), expected.isel(key))
        chained = open_zarrds(path).isel(time=slice(1, None)).isel(time=slice(None, None, 2))
        xr.testing.assert_identical(chained.load(), expected.isel(time=slice(1, None, 2)))


@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("kind", ["numbers", "text", "StringDType", "zone", "cftime"])
def test_nothing_is_selected(kind: str, size: int) -> None:
    """Backwards too, where xarray asks for the last one; of dates of cftime it asks for the first."""
    zones = pd.date_range("2000", periods=3, tz="UTC").astype(object).to_numpy()
    values = {
        "numbers": np.arange(3),
        "text": np.array(["a", None, "b"], object),
        "StringDType": np.array(["a", "b", "c"], np.dtypes.StringDType()),
        "zone": zones,
        "cftime": xr.date_range("2000", periods=3, calendar="noleap", use_cftime=True).to_numpy(),
    }[kind][:size]
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", values), "w": (("x", "y"), np.stack([values] * 2, 1))}), store)
    for part in (slice(2, 2, -1), slice(0, 2, -1), slice(5, 3, -2), [], slice(0, 0)):
        opened = open_zarrds(store)
        chosen = opened.isel(x=part).load()
        assert chosen.sizes == {"x": 0, "y": 2}
        assert [v.dtype for v in chosen.variables.values()] == [v.dtype for v in opened.variables.values()]
    backwards = open_zarrds(store).isel(x=slice(None, None, -1)).load()
    xr.testing.assert_identical(backwards, open_zarrds(store).load().isel(x=slice(None, None, -1)))


# many files, and files of others


def test_open_mfdataset(tmp_path: Path, zarr_format: int) -> None:
    ds = small()
    for i in range(2):
        zarrds.save(ds.isel(time=slice(5 * i, 5 * i + 5)), tmp_path / f"{i}.zarr", zarr_format=zarr_format)
    names = [tmp_path / "0.zarr", str(tmp_path / "1.zarr")]
    for options in ({}, {"parallel": True}):
        with xr.open_mfdataset(
            names, engine="zarrds", data_vars="minimal", coords="minimal", compat="override", join="outer", **options
        ) as opened:
            assert opened.v.chunks is not None
            xr.testing.assert_identical(opened.compute(), ds)


def test_use_after_close(path: Path) -> None:
    with open_zarrds(path) as ds:
        pass
    xr.testing.assert_identical(ds.load(), small())


def test_stores_without_consolidated_metadata(tmp_path: Path, zarr_format: int) -> None:
    tree = xr.DataTree.from_dict({"/": small(), "/a/b": small(2.0)})
    tree.to_zarr(tmp_path / "x.zarr", zarr_format=zarr_format, consolidated=False)
    xr.testing.assert_identical(open_zarrds(tmp_path / "x.zarr").load(), small())
    xr.testing.assert_identical(xr.open_datatree(tmp_path / "x.zarr", engine="zarrds").load(), tree)
    with pytest.raises(MetadataError, match="no consolidated metadata"):
        open_zarrds(tmp_path / "x.zarr", consolidated=True)


def test_consolidated_metadata_decides(path: Path) -> None:
    zarr.open_group(path, mode="r+", use_consolidated=False).create_array("later", shape=(3,), dtype="f4")
    xr.testing.assert_identical(open_zarrds(path).load(), small())
    xr.testing.assert_identical(open_zarrds(path, consolidated=True).load(), small())
    with pytest.warns(UserWarning, match="'later': it has no names"):
        open_zarrds(path, consolidated=False)


def test_a_store_of_both_formats(tmp_path: Path) -> None:
    zarrds.save(small(1.0), tmp_path / "x.zarr", zarr_format=3)
    zarrds.save(small(2.0), tmp_path / "2.zarr", zarr_format=2)
    shutil.copytree(tmp_path / "2.zarr", tmp_path / "x.zarr", dirs_exist_ok=True)
    xr.testing.assert_identical(open_zarrds(tmp_path / "x.zarr").load(), small(1.0))
    xr.testing.assert_identical(open_zarrds(tmp_path / "x.zarr", zarr_format=3).load(), small(1.0))
    xr.testing.assert_identical(open_zarrds(tmp_path / "x.zarr", zarr_format=2).load(), small(2.0))


def test_nczarr(tmp_path: Path) -> None:
    # as netCDF-C writes it: no _ARRAY_DIMENSIONS, but references; attributes of its own
    path = tmp_path / "x.zarr"
    zarrds.save(small(), path, zarr_format=2)
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
    xr.testing.assert_identical(ours, small())
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


def test_an_encoding_that_is_changed_is_that_of_one_variable_alone(tmp_path: Path) -> None:
    ds = xr.Dataset({"a": ("x", np.arange(4.0)), "b": ("x", np.arange(4.0))})
    zarrds.save(ds, tmp_path / "s")
    with xr.open_dataset(tmp_path / "s", engine="zarrds") as opened:
        opened.a.encoding["serializer"]["configuration"]["endian"] = "big"
        opened.a.encoding["compressors"][0]["configuration"]["cname"] = "none"
        for other in (opened.b, xr.open_dataset(tmp_path / "s", engine="zarrds").a):
            assert other.encoding["serializer"]["configuration"] == {"endian": "little"}
            assert other.encoding["compressors"][0]["configuration"]["cname"] == "lz4"
            xr.testing.assert_equal(other.drop_vars([]), ds[other.name])

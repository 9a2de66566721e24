from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
import zarr.codecs
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from zarrds.datasets.blocks import aligned_blocks
from zarrds.errors import EncodingError, NodeNotFoundError, StoreExistsError, UnsupportedError, ZarrdsError

FORMATS = [3, 2]


def open_zarrds(store: Any, **options: Any) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarrds", **options)


def small(factor: int = 1) -> xr.Dataset:
    return xr.Dataset({"v": (("y", "x"), np.arange(12).reshape(3, 4) * factor)}, {"x": [1, 2, 3, 4]})


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def document(path: Path, name: str) -> dict[str, Any]:
    file = path / name / "zarr.json"
    found: dict[str, Any] = json.loads((file if file.exists() else path / name / ".zarray").read_text())
    return found


def codec_names(path: Path, name: str) -> list[str]:
    return [codec["name"] for codec in document(path, name)["codecs"]]


def chunks_of(path: Path, name: str) -> list[int]:
    found: list[int] = document(path, name)["chunk_grid"]["configuration"]["chunk_shape"]
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.zarr"


# modes and groups


def test_new_store(path: Path) -> None:
    assert zarrds.save(small(), path) is None  # type: ignore[func-returns-value]  # that is what is tested
    before = files(path)
    for mode in (None, "w-"):
        with pytest.raises(StoreExistsError, match="mode='w'"):
            zarrds.save(small(2), path, mode=mode)  # type: ignore[arg-type]  # of the two modes
    assert files(path) == before


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_mode_w_replaces_the_whole_store(path: Path, zarr_format: int) -> None:
    zarrds.save(small().rename(v="gone", x="gone too"), path, zarr_format=5 - zarr_format)
    zarrds.save(small(), path, group="a")
    zarrds.save(small(2), path, mode="w", zarr_format=zarr_format)
    clean = path.parent / "clean.zarr"
    zarrds.save(small(2), clean, zarr_format=zarr_format)
    assert files(path) == files(clean)
    assert os.listdir(path.parent) == ["x.zarr", "clean.zarr"] or set(os.listdir(path.parent)) == {
        "x.zarr",
        "clean.zarr",
    }


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_groups(path: Path, zarr_format: int) -> None:
    zarrds.save(small(1), path, group="a/b", zarr_format=zarr_format)
    zarrds.save(small(2), path, group="a-b")  # in the store's own format
    zarrds.save(small(3), path, group="/c/")
    before = files(path)
    for group in ("a/b", "a", "/c/", ""):
        with pytest.raises(StoreExistsError, match="exists here already"):
            zarrds.save(small(9), path, group=group)
    assert files(path) == before
    zarrds.save(small(4), path, group="c", mode="w")
    zarrds.save(small(5), path, group="a/b/d/e")
    root_documents = {"zarr.json", ".zmetadata"}
    touched = {key for key, value in files(path).items() if before.get(key) != value} | before.keys() - files(
        path
    ).keys()
    assert {key for key in touched if not key.startswith(("c/", "a/b/d/"))} <= root_documents
    for engine in ("zarrds", "zarr"):
        options = {"engine": engine, "consolidated": True}
        for group, factor in (("a/b", 1), ("a-b", 2), ("c", 4), ("a/b/d/e", 5)):
            xr.testing.assert_identical(xr.open_dataset(path, group=group, **options).load(), small(factor))
        tree = xr.open_datatree(path, **options)
        assert set(tree.groups) == {"/", "/a", "/a-b", "/a/b", "/a/b/d", "/a/b/d/e", "/c"}
    with pytest.raises(StoreExistsError, match="format"):
        zarrds.save(small(), path, group="new", zarr_format=5 - zarr_format)
    with pytest.raises(NodeNotFoundError, match="an array cannot hold groups"):
        zarrds.save(small(), path, group="c/v/deeper")


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_group_in_a_store_of_zarr_python(path: Path, zarr_format: int) -> None:
    small(1).to_zarr(path, zarr_format=zarr_format, consolidated=False)
    small(2).to_zarr(path, group="a/b", zarr_format=zarr_format, mode="a", consolidated=False)
    zarrds.save(small(3), path, group="a/c")
    zarrds.save(small(4), path, group="a/b", mode="w")
    for engine in ("zarrds", "zarr"):
        for group, factor in ((None, 1), ("a/b", 4), ("a/c", 3)):
            found = xr.open_dataset(path, engine=engine, group=group, consolidated=True)
            xr.testing.assert_identical(found.load(), small(factor))


@pytest.mark.parametrize("mode", ["w-", "w"])
@pytest.mark.parametrize("group", [None, "a"])
def test_a_folder_of_other_files_is_kept(tmp_path: Path, mode: Any, group: str | None) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    before = files(tmp_path)
    with pytest.raises(StoreExistsError, match="deletes nothing that is not Zarr"):
        zarrds.save(small(), tmp_path / "thesis", mode=mode, group=group)
    (tmp_path / "file.zarr").write_text("x")
    before["file.zarr"] = b"x"
    with pytest.raises(ZarrdsError) as caught:
        zarrds.save(small(), tmp_path / "file.zarr", mode=mode, group=group)
    assert isinstance(caught.value, OSError)
    assert files(tmp_path) == before


def test_an_empty_folder_may_become_a_store(path: Path) -> None:
    path.mkdir()
    zarrds.save(small(), path)
    xr.testing.assert_identical(open_zarrds(path).load(), small())


@pytest.mark.parametrize("store", ["path", "memory"])
@pytest.mark.parametrize("chunks", [None, {}, {"y": 2}])
@pytest.mark.filterwarnings("ignore:The specified chunks separate")
def test_a_lazy_dataset_over_its_own_store(path: Path, store: str, chunks: Any) -> None:
    target: Any = path if store == "path" else zarrds.MemoryStore()
    zarrds.save(small(), target, encoding={"v": {"chunks": (1, 4)}})
    changed = open_zarrds(target, chunks=chunks)
    changed = changed.assign(w=changed.v * 2).isel(x=slice(None, None, -1))
    expected = changed.compute()
    zarrds.save(changed, target, mode="w")
    xr.testing.assert_identical(open_zarrds(target).load(), expected)


def test_a_lazy_group_over_itself(path: Path) -> None:
    zarrds.save(small(), path, group="a")
    lazy = open_zarrds(path, group="a", chunks={})
    zarrds.save(lazy * 2, path, group="a", mode="w")
    xr.testing.assert_identical(open_zarrds(path, group="a").load(), small() * 2)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "a"},
        {"mode": "a-"},
        {"mode": "r+"},
        {"append_dim": "x"},
        {"region": "auto"},
        {"region": {"x": slice(2)}},
        {"compute": False},
    ],
    ids=str,
)
def test_what_is_still_to_come(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(NotImplementedError, match=next(iter(options))):
        zarrds.save(small(), path, **options)
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "x"}, "unknown mode"),
        ({"mode": "r"}, "unknown mode"),
        ({"group": "../x"}, "not a valid key"),
        ({"group": "a//b"}, "not a valid key"),
        ({"zarr_format": 1}, "zarr_format"),
        ({"workers": 0}, "workers"),
    ],
)
def test_wrong_options(path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ZarrdsError, match=words):
        zarrds.save(small(), path, **options)
    assert not path.exists()


@pytest.mark.parametrize("obj", [np.zeros(3), {"v": 1}, None, small().v.variable, "x"], ids=lambda o: type(o).__name__)
def test_what_is_no_dataset(path: Path, obj: Any) -> None:
    with pytest.raises(EncodingError, match="a Dataset, DataArray or DataTree") as caught:
        zarrds.save(obj, path)
    assert isinstance(caught.value, TypeError)
    assert not path.exists()


# DataArrays


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("name", ["t2m", None, "x", "y", "label", "a b"])
def test_data_arrays(path: Path, name: str | None, zarr_format: int) -> None:
    array = xr.DataArray(
        np.arange(6.0).reshape(2, 3), {"x": [1, 2, 3], "label": ("y", ["a", "b"])}, ("y", "x"), name, {"units": "K"}
    )
    zarrds.save(array, path, zarr_format=zarr_format)
    for engine in ("zarrds", "zarr"):
        found = xr.open_dataarray(path, engine=engine)
        xr.testing.assert_identical(found.load(), array)
        assert found.name == name
    assert array.attrs == {"units": "K"}


def test_encoding_of_a_data_array(path: Path) -> None:
    zarrds.save(xr.DataArray([1.0, 2.0], dims="x", name="v"), path, encoding={"v": {"dtype": "f4"}})
    assert document(path, "v")["data_type"] == "float32"


# any chunks of dask into any chunks of the store

SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=6).map(tuple)


@given(st.lists(st.integers(0, 9), max_size=8).map(tuple), st.integers(1, 9))
def test_aligned_blocks(blocks: tuple[int, ...], chunk: int) -> None:
    aligned = aligned_blocks(blocks, chunk)
    ends = np.cumsum(aligned)
    assert sum(aligned) == sum(blocks)
    assert not np.any(ends[:-1] % chunk)
    assert len(aligned) <= max(len(blocks), 1)
    # no block grows by more than what completes its last chunk
    assert max(aligned) < max(blocks, default=0) + chunk


@given(rows=SIZES, columns=SIZES, chunks=st.tuples(st.integers(1, 8), st.integers(1, 8)), explicit=st.booleans())
def test_any_blocks_into_any_chunks(
    rows: tuple[int, ...], columns: tuple[int, ...], chunks: tuple[int, int], explicit: bool
) -> None:
    values = np.arange(sum(rows) * sum(columns)).reshape(sum(rows), sum(columns))
    data = dask.array.from_array(values, chunks=(rows, columns))
    ds = xr.Dataset({"v": (("y", "x"), data), "t": (("x", "y"), data.T)})
    encoding = {"v": {"chunks": chunks}} if explicit else {}
    if not explicit:
        ds["v"].encoding["chunks"] = chunks  # stale, perhaps
    store = zarrds.MemoryStore()
    zarrds.save(ds, store, encoding=encoding)
    found = open_zarrds(store)
    np.testing.assert_array_equal(found.v, values)
    np.testing.assert_array_equal(found.t, values.T)
    if explicit:
        assert found.v.encoding["chunks"] == chunks


def test_even_blocks_become_chunks(path: Path) -> None:
    values = np.arange(70.0).reshape(10, 7)
    ds = xr.Dataset(
        {
            "even": (("y", "x"), dask.array.from_array(values, chunks=(4, 7))),
            "uneven": (("y", "x"), dask.array.from_array(values, chunks=((2, 8), (3, 4)))),
            "kept": (("y", "x"), dask.array.from_array(values, chunks=(4, 7)), {}, {"chunks": (2, 7)}),
            "stale": (("y", "x"), dask.array.from_array(values, chunks=(4, 7)), {}, {"chunks": (3, 5)}),
        }
    )
    zarrds.save(ds, path)
    assert {name: chunks_of(path, name) for name in ds} == {
        "even": [4, 7],
        "uneven": [10, 7],
        "kept": [2, 7],
        "stale": [4, 7],
    }
    xr.testing.assert_identical(open_zarrds(path).load(), ds.compute())


@pytest.mark.parametrize(
    "chunks",
    [(2,), (1, 2, 3), (2, 0), (5, 4.5), "rubbish", ((2, 1), (4,)), (-5, 4), (10**6, 10**6), (None, 2), 4.5, 3, (-1, 2)],
)
def test_stale_chunks_never_stop_a_save(path: Path, chunks: Any) -> None:
    ds = small()
    ds["v"].encoding = {"chunks": chunks, "preferred_chunks": {"y": 1}, "shards": None}
    zarrds.save(ds, path)
    xr.testing.assert_identical(open_zarrds(path).load(), ds)


@pytest.mark.parametrize(
    "chunks", [(2,), (1, 2, 3), (2, 0), (5, 4.5), "rubbish", ((2, 1), (4,)), (-5, 4), (None, 2), 4.5]
)
def test_wrong_chunks_that_were_asked_for(path: Path, chunks: Any) -> None:
    with pytest.raises(EncodingError, match="chunks") as caught:
        zarrds.save(small(), path, encoding={"v": {"chunks": chunks}})
    assert caught.value.key == "v"
    assert not path.exists()


def test_chunks_of_a_larger_array(path: Path) -> None:
    # small ones are kept, for what may be appended one day; large ones are cut, and do not pad a point to a gigabyte
    for stale, expected in (
        ((100, 100), [100, 100]),
        ((1000, 1000), [3, 4]),
        ((1000, 2), [1000, 2]),
        ((2, 10**9), [2, 4]),
    ):
        ds = small()
        ds["v"].encoding["chunks"] = stale
        zarrds.save(ds, path, mode="w")
        assert chunks_of(path, "v") == expected
    zarrds.save(small(), path, mode="w", encoding={"v": {"chunks": (1000, 1000)}})
    assert chunks_of(path, "v") == [1000, 1000]


# encodings

NETCDF_LEFTOVER = {
    "zlib": True,
    "szip": False,
    "zstd": False,
    "bzip2": False,
    "blosc": False,
    "shuffle": True,
    "complevel": 4,
    "fletcher32": False,
    "contiguous": False,
    "chunksizes": (100, 100),
    "source": "x.nc",
    "original_shape": (1000, 1000),
    "preferred_chunks": {"y": 100, "x": 100},
    "endian": "big",
    "least_significant_digit": 2,
    "unlimited_dims": {"y"},
    "dtype": np.dtype("f4"),
    "_FillValue": np.float32(-1),
    "missing_value": np.float32(-1),
    "quantize_mode": "BitGroom",
    "compression_opts": 5,
}


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("as_dask", [False, True])
def test_leftovers_of_netcdf(path: Path, zarr_format: int, as_dask: bool) -> None:
    ds = xr.Dataset({"v": (("y", "x"), np.arange(60_000.0).reshape(300, 200))})
    ds["v"].encoding = NETCDF_LEFTOVER
    zarrds.save(ds.chunk(y=130) if as_dask else ds, path, zarr_format=zarr_format)
    for engine in ("zarrds", "zarr"):
        found = xr.open_dataset(path, engine=engine)
        assert found.v.dtype == np.dtype("f4")
        np.testing.assert_array_equal(found.v, ds.v)
    if zarr_format == 3:
        assert codec_names(path, "v") == ["bytes", "blosc", "crc32c"]


def test_chunks_of_netcdf_are_kept_if_they_are_large_enough(path: Path) -> None:
    values = np.zeros((300, 200))
    for sizes, expected in (((100, 100), [100, 100]), ((1000, 1000), [300, 200]), ((1, 1), [300, 200])):
        ds = xr.Dataset({"v": (("y", "x"), values, {}, {"chunksizes": sizes})})
        zarrds.save(ds, path, mode="w")
        assert chunks_of(path, "v") == expected
    ds["v"].encoding = {"chunksizes": (100, 100), "contiguous": True}
    zarrds.save(ds, path, mode="w")
    assert chunks_of(path, "v") == [300, 200]


def test_netcdf_encodings_that_are_asked_for(path: Path) -> None:
    ds = xr.Dataset({"v": (("y", "x"), np.arange(60_000.0).reshape(300, 200))})

    def saved(**encoding: Any) -> tuple[list[int], list[dict[str, Any]]]:
        zarrds.save(ds, path, mode="w", encoding={"v": encoding})
        np.testing.assert_array_equal(open_zarrds(path).v, ds.v)
        np.testing.assert_array_equal(xr.open_dataset(path, engine="zarr").v, ds.v)
        return chunks_of(path, "v"), document(path, "v")["codecs"]

    chunks, codecs = saved(chunksizes=(7, 9))
    assert chunks == [7, 9]
    _, codecs = saved(zlib=True, complevel=7)
    assert [c["name"] for c in codecs] == ["bytes", "blosc", "crc32c"]
    assert codecs[1]["configuration"] | {"typesize": 8} == codecs[1]["configuration"]
    assert (codecs[1]["configuration"]["cname"], codecs[1]["configuration"]["clevel"]) == ("zlib", 7)
    assert codecs[1]["configuration"]["shuffle"] == "shuffle"
    _, codecs = saved(zlib=True, shuffle=False)
    assert codecs[1]["configuration"]["shuffle"] == "noshuffle"
    _, codecs = saved(zlib=False)
    assert "blosc" not in [c["name"] for c in codecs]
    _, codecs = saved(endian="big")
    assert codecs[0] == {"name": "bytes", "configuration": {"endian": "big"}}
    assert saved(contiguous=True, fletcher32=True, shuffle=True)[0] == [300, 200]


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_unknown_encoding_that_is_asked_for(path: Path, zarr_format: int) -> None:
    for encoding in ({"v": {"foo": 1}}, {"v": {"compressor": None}}, {"v": {"unknown": 1, "chunks": (1, 1)}}):
        with pytest.raises(EncodingError, match="unexpected encoding") as caught:
            zarrds.save(small(), path, encoding=encoding, zarr_format=zarr_format)
        assert caught.value.key == "v"
        assert isinstance(caught.value, ValueError)
    with pytest.raises(EncodingError, match="variable that the dataset does not have") as caught:
        zarrds.save(small(), path, encoding={"missing": {}}, zarr_format=zarr_format)
    assert isinstance(caught.value, KeyError)
    assert "missing" in str(caught.value)
    with pytest.raises(ZarrdsError):
        zarrds.save(small(), path, encoding={"v": {"compressors": [{"name": "rot13"}]}}, zarr_format=zarr_format)
    assert not path.exists()


def test_fill_values_that_are_asked_for(path: Path) -> None:
    ds = xr.Dataset({"v": ("x", [1.0, 2.0])})
    zarrds.save(ds, path, encoding={"v": {"fill_value": 5.5}})
    assert document(path, "v")["fill_value"] == 5.5
    zarrds.save(open_zarrds(path), path, mode="w")
    assert document(path, "v")["fill_value"] == 5.5
    zarrds.save(ds, path, mode="w")
    assert document(path, "v")["fill_value"] == "NaN"
    with pytest.raises(EncodingError, match="Use _FillValue"):
        zarrds.save(ds, path, mode="w", zarr_format=2, encoding={"v": {"fill_value": 5.5}})
    zarrds.save(ds, path, mode="w", zarr_format=2, encoding={"v": {"_FillValue": 5.5}})
    assert document(path, "v")["fill_value"] == 5.5


@pytest.mark.parametrize(
    "codec",
    [
        {"name": "zstd", "configuration": {"level": 3, "checksum": False}},
        zarr.codecs.ZstdCodec(level=3),
        [zarr.codecs.ZstdCodec(level=3)],
        ({"name": "zstd", "configuration": {"level": 3}},),
        {"id": "zstd", "level": 3},
    ],
    ids=["json", "zarr", "list", "tuple", "v2"],
)
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_ways_to_name_a_codec(path: Path, codec: Any, zarr_format: int) -> None:
    zarrds.save(small(), path, encoding={"v": {"compressors": codec}}, zarr_format=zarr_format)
    if zarr_format == 3:
        assert codec_names(path, "v")[1:] == ["zstd"] or codec_names(path, "v")[1:] == ["numcodecs.zstd"]
    else:
        assert document(path, "v")["compressor"]["id"] == "zstd"
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarr").load(), small())


def test_chunk_key_encoding(path: Path) -> None:
    encoding = {"v": {"chunk_key_encoding": {"name": "v2", "separator": "."}}}
    zarrds.save(small(), path, encoding=encoding)
    assert (path / "v" / "0.0").exists()
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarr").load(), small())


def test_the_dataset_itself_is_left_alone(path: Path) -> None:
    ds = small().chunk(y=2)
    ds["v"].encoding = {"chunks": (2, 2), "_FillValue": -1}
    ds["v"].attrs = {"list": [1, 2]}
    ds.encoding = {"unlimited_dims": {"y"}}
    copy = ds.copy(deep=True)
    zarrds.save(ds, path, encoding={"v": {"dtype": "i2"}})
    assert ds.v.encoding == copy.v.encoding
    assert ds.encoding == copy.encoding
    assert ds.v.chunks == copy.v.chunks
    xr.testing.assert_identical(ds, copy)


# progress and workers


def test_progress(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ds = xr.Dataset({"v": (("y", "x"), np.zeros((8, 6))), "d": ("x", dask.array.zeros(6, chunks=4)), "s": ((), 1.0)})
    zarrds.save(ds, path, encoding={"v": {"chunks": (3, 4)}, "d": {"chunks": 2}}, progress=True)
    shown = capsys.readouterr().err
    assert "save" in shown
    assert "10/10" in shown.replace(" ", "")  # 6 + 3 + 1 chunks
    zarrds.save(ds, path, mode="w")
    assert capsys.readouterr().err == ""


def test_progress_needs_tqdm(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["tqdm"] = None  # as if it were not installed
import xarray as xr, zarrds
try:
    zarrds.save(xr.Dataset({"v": 1}), sys.argv[1], progress=True)
except zarrds.errors.UnsupportedError as error:
    print(error)
zarrds.save(xr.Dataset({"v": 1}), sys.argv[1])
"""
    command = [sys.executable, "-c", code, str(tmp_path / "x.zarr")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]).stdout
    assert "tqdm" in printed
    assert "pip install" in printed


@pytest.mark.parametrize("chunked", [False, True])
def test_as_many_workers_as_you_like(tmp_path: Path, chunked: bool) -> None:
    rng = np.random.default_rng(0)
    ds = xr.Dataset({"v": (("y", "x"), rng.integers(0, 9, (200, 300))), "s": ("y", [f"n{i}" for i in range(200)])})
    if chunked:
        ds = ds.chunk(y=70)
    for workers in (None, 1, 4):
        zarrds.save(ds, tmp_path / f"{workers}.zarr", encoding={"v": {"chunks": (30, 40)}}, workers=workers)
    assert files(tmp_path / "1.zarr") == files(tmp_path / "4.zarr") == files(tmp_path / "None.zarr")


# what cannot be saved: named, and nothing is written


def objects(*values: Any) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), object)
    array[:] = values
    return array


UNSUPPORTED = {
    "dicts": (xr.Dataset({"bad": ("x", objects({"a": 1}, {"b": 2}))}), "bad"),
    "lists": (xr.Dataset({"bad": ("x", objects([1], [2, 3]))}), "bad"),
    "mixed": (xr.Dataset({"bad": ("x", objects(1, "a", 2.5))}), "bad"),
    "strings and bytes": (xr.Dataset({"bad": ("x", objects("a", b"b"))}), "bad"),
    "Python objects": (xr.Dataset({"bad": ("x", objects(object(), object()))}), "bad"),
    "periods": (xr.Dataset(coords={"bad": pd.period_range("2000", periods=2, freq="M")}), "bad"),
    "intervals": (xr.Dataset(coords={"bad": pd.interval_range(0, 2)}), "bad"),
    "MultiIndex": (
        xr.Dataset(coords={"y": ("bad", [1, 2]), "z": ("bad", ["a", "b"])}).set_index(bad=["y", "z"]),
        "bad",
    ),
    "attribute set": (xr.Dataset({"v": ("x", [1], {"bad": {1, 2}})}), "bad"),
    "attribute object": (xr.Dataset({"v": ("x", [1])}, attrs={"bad": object()}), "bad"),
    "attribute dtype": (xr.Dataset({"v": ("x", [1], {"bad": np.dtype("f4")})}), "bad"),
    "attribute complex": (xr.Dataset({"v": ("x", [1], {"bad": 1j})}), "bad"),
    "attribute name of a variable": (xr.Dataset({"v": ("x", [1], {5: "bad"})}), "5"),
    "attribute name": (xr.Dataset({"v": ("x", [1])}, attrs={5: "bad"}), "5"),
    "attribute time": (xr.Dataset(attrs={"bad": np.datetime64("2000-01-01", "ns")}), "bad"),
    "dimension": (xr.Dataset({"v": ((5,), [1, 2])}), "5"),
    "dimension tuple": (xr.Dataset({"v": (("a", "b"), [[1]])}).rename({"a": ("bad", 1)}), "bad"),
    "name number": (xr.Dataset({5: ("x", [1])}), "5"),
    "name empty": (xr.Dataset({"": ("x", [1])}), "''"),
    "name slash": (xr.Dataset({"bad/name": ("x", [1])}), "bad/name"),
    "name dots": (xr.Dataset({"..": ("x", [1])}), ".."),
    "name dot": (xr.Dataset({".": ("x", [1])}), "'.'"),
    "name backslash": (xr.Dataset({"bad\\name": ("x", [1])}), "bad"),
    "name NUL": (xr.Dataset({"bad\0": ("x", [1])}), "bad"),
    "name surrogate": (xr.Dataset({"bad\ud800": ("x", [1])}), "bad"),
    "name zarr.json": (xr.Dataset({"zarr.json": ("x", [1])}), "zarr.json"),
    "name .zarray": (xr.Dataset({".zarray": ("x", [1])}), ".zarray"),
    "name of unfinished files": (xr.Dataset({".bad.zarrds-partial": ("x", [1])}), "bad"),
    "scale and text": (xr.Dataset({"bad": ("x", ["a", "b"], {}, {"scale_factor": 2.0, "dtype": "i2"})}), "bad"),
    "time units": (
        xr.Dataset({"bad": ("x", np.array(["2000-01-01"], "M8[ns]"), {}, {"units": "parsecs since then"})}),
        "bad",
    ),
}


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported(tmp_path: Path, case: str, zarr_format: int) -> None:
    ds, word = UNSUPPORTED[case]
    ds = ds.assign(good=("n", [1, 2, 3]))
    path = tmp_path / "x.zarr"
    with pytest.raises((ZarrdsError, NotImplementedError, TypeError, ValueError)) as caught:
        zarrds.save(ds, path, zarr_format=zarr_format)
    assert word in str(caught.value)
    assert os.listdir(tmp_path) == []
    zarrds.save(small(), path, zarr_format=zarr_format)
    before = files(path)
    with pytest.raises(type(caught.value)):
        zarrds.save(ds, path, mode="w", zarr_format=zarr_format)
    assert files(tmp_path / "x.zarr") == before


def test_unsupported_in_a_tree(path: Path) -> None:
    tree = xr.DataTree.from_dict({"/": small(), "/a/b": xr.Dataset({"bad": ("z", objects({"a": 1}))})})
    with pytest.raises(ZarrdsError, match="bad"):
        zarrds.save(tree, path)
    assert not path.exists()
    for encoding in ({"/nowhere": {}}, {"/": {"nothing": {}}}):
        with pytest.raises(ZarrdsError, match=r"nowhere|nothing"):
            zarrds.save(xr.DataTree(small()), path, encoding=encoding)
    assert not path.exists()


def test_a_group_and_a_variable_of_one_name(path: Path) -> None:
    zarrds.save(small(), path)
    with pytest.raises(ZarrdsError):
        zarrds.save(small(), path, group="v")
    with pytest.raises((ZarrdsError, UnsupportedError)):
        zarrds.save(small(), path, group="v/c")
    xr.testing.assert_identical(open_zarrds(path).load(), small())


@pytest.mark.parametrize("key", ["compressors", "filters", "serializer"])
def test_words_that_are_no_codecs(key: str) -> None:
    store = zarrds.MemoryStore()
    with pytest.raises(EncodingError, match=key):
        zarrds.save(xr.Dataset({"v": ("x", [1.0])}), store, encoding={"v": {key: "zstd"}})
    assert list(store.list_prefix()) == []
    zarrds.save(xr.Dataset({"v": ("x", [1.0])}), store, encoding={"v": {key: "auto"}})


@pytest.mark.parametrize(
    "encoding", [{"endian": "big"}, {"serializer": {"name": "bytes", "configuration": {"endian": "big"}}}]
)
def test_byte_order_that_is_asked_for_in_v2(tmp_path: Path, encoding: dict[str, Any]) -> None:
    zarrds.save(xr.Dataset({"v": ("x", np.arange(3))}), tmp_path / "x.zarr", encoding={"v": encoding}, zarr_format=2)
    array = zarr.open_array(tmp_path / "x.zarr", path="v", mode="r", zarr_format=2)
    assert array.dtype == ">i8"
    assert array[:].tolist() == [0, 1, 2]


def test_errors_name_the_store_and_the_group() -> None:
    store = zarrds.MemoryStore()
    tree = xr.DataTree.from_dict({"/a": xr.Dataset({"v": ("x", [1], {"bad": b"bytes"})})})
    with pytest.raises(EncodingError, match="'a/v'") as caught:
        zarrds.save(tree, store)
    assert caught.value.path == store.path
    with pytest.raises(EncodingError, match="dictionary"):
        zarrds.save(xr.Dataset({"v": ("x", [1])}), store, encoding={"v": 3})
    with pytest.raises(UnsupportedError, match="zarr_format"):
        zarrds.save(xr.Dataset(), store, zarr_format=1)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(UnsupportedError, match="MultiIndex"):
        zarrds.save(xr.Dataset(coords={"y": ("x", [1]), "z": ("x", [2])}).set_index(x=["y", "z"]), store)
    with pytest.raises(EncodingError, match="Convert"):
        zarrds.save(xr.Dataset({"v": ("x", pd.Categorical(["a"]))}), store)
    assert list(store.list_prefix()) == []


def test_few_chunks_lie_in_the_folder_of_their_array(tmp_path: Path) -> None:
    ds = xr.Dataset({"few": ("x", np.arange(64)), "many": ("x", np.arange(64))})
    encoding = {
        "few": {"chunks": 1},
        "many": {"chunks": 1, "chunk_key_encoding": {"name": "default", "separator": "/"}},
    }
    zarrds.save(ds, tmp_path / "x.zarr", encoding=encoding)
    zarrds.save(ds.pad(x=(0, 1)), tmp_path / "y.zarr", encoding={"few": {"chunks": 1}})
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}
    assert {"x.zarr/few/c.0", "x.zarr/few/c.63", "x.zarr/many/c/0", "y.zarr/few/c/64", "y.zarr/many/c.0"} <= files
    for engine in ("zarrds", "zarr"):
        xr.testing.assert_identical(xr.open_dataset(tmp_path / "x.zarr", engine=engine), ds)

"""The same stores through zarrds, xarray's zarr engine (zarr-python) and TensorStore."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr.codecs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numcodecs import Blosc, Zstd

import zarrds
from tests.datasets.engines import (
    assert_same,
    assert_same_encoding,
    documents,
    normalised,
    open_both,
    read_with_tensorstore,
)
from tests.datasets.samples import FORMATS
from tests.releases import XARRAY

REAL_FILES = ["eraint_uvz.nc", "era5_t2m_uk_2019-03.nc", "basin_mask.nc"]


# real data


# eraint_uvz.nc marks int16 data as missing with NaN, of which xarray warns
REAL = pytest.mark.filterwarnings(
    "ignore:variable .* has non-conforming '_FillValue'", "ignore:saving variable .* without any _FillValue"
)


@pytest.fixture(params=REAL_FILES)
def real(request: pytest.FixtureRequest, data_dir: Path) -> Iterator[xr.Dataset]:
    with xr.open_dataset(data_dir / request.param, engine="netcdf4") as ds:
        yield ds


@REAL
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_real_data_saved_by_zarrds(real: xr.Dataset, zarr_format: int, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    zarrds.save(real, path, zarr_format=zarr_format)
    ours, theirs = open_both(path)
    assert_same(ours, real.load())
    assert_same(theirs, real)
    assert_same_encoding(ours, theirs)
    raw = xr.open_dataset(path, engine="zarr", decode_cf=False).load()
    for name, variable in raw.variables.items():
        np.testing.assert_array_equal(read_with_tensorstore(path / str(name), zarr_format), variable.values)


CODECS_V3 = {
    "default": "auto",
    "blosc": [zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")],
    "zstd": [zarr.codecs.ZstdCodec(level=3, checksum=True)],
    "gzip+crc": [zarr.codecs.GzipCodec(level=1), zarr.codecs.Crc32cCodec()],
    "none": None,
}
CODECS_V2 = {
    "default": "auto",
    "blosc": [Blosc(cname="blosclz", clevel=3, shuffle=Blosc.SHUFFLE)],
    "zstd": [Zstd(level=3)],
    "none": None,
}


@pytest.mark.one_in(4)
@REAL
@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize(
    ("zarr_format", "compressors"),
    [pytest.param(3, c, id=f"v3-{n}") for n, c in CODECS_V3.items()]
    + [pytest.param(2, c, id=f"v2-{n}") for n, c in CODECS_V2.items()],
)
def test_real_data_saved_by_zarr(
    real: xr.Dataset, zarr_format: int, compressors: Any, consolidated: bool, tmp_path: Path
) -> None:
    # a day, if there are days
    ds = real.isel({dim: slice(24) for dim in real.dims if "time" in str(dim)}).load().drop_encoding()
    path = tmp_path / "x.zarr"
    encoding = {} if compressors == "auto" else {name: {"compressors": compressors} for name in ds.variables}
    ds.to_zarr(path, zarr_format=zarr_format, encoding=encoding, consolidated=consolidated)
    ours, theirs = open_both(path, **({} if consolidated else {"consolidated": False}))
    assert_same(ours, theirs)
    assert_same(ours, ds)
    assert_same_encoding(ours, theirs)


# encodings survive


def small() -> xr.Dataset:
    rng = np.random.default_rng(0)
    temperature = rng.normal(280, 5, (6, 4, 5)).round(2)
    temperature[2, 1, 3] = np.nan
    return xr.Dataset(
        {
            "t2m": (("time", "y", "x"), temperature, {"units": "K"}),
            "count": (("y", "x"), rng.integers(0, 100, (4, 5), "i4")),
            "name": ("y", np.array(["a", "bb", "", "ü"], object)),
        },
        {
            "time": pd.date_range("2019-03-01", periods=6, freq="6h", unit="ns"),
            "y": [1.5, 2.5, 3.5, 4.5],
            "x": np.arange(5, dtype="i2"),
        },
        {"title": "small"},
    )


def rich_encoding(zarr_format: int) -> dict[str, Any]:
    blosc: Any = zarr.codecs.BloscCodec(cname="zstd", clevel=7, shuffle="shuffle", typesize=2)
    zstd: Any = zarr.codecs.ZstdCodec(level=2)
    more: dict[str, Any] = {"filters": [zarr.codecs.TransposeCodec(order=(1, 0))]}
    if zarr_format == 2:
        blosc, zstd, more = Blosc("zstd", 7, Blosc.SHUFFLE), Zstd(2), {}
    packed = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": -9999}
    return {
        "t2m": {**packed, "chunks": (2, 3, 5), "compressors": [blosc]},
        "count": {"chunks": (2, 2), "compressors": [zstd], **more},
        "time": {"units": "hours since 2000-01-01", "dtype": "i4", "compressors": None},
    }


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("opened_with", ["zarr", "zarrds"])
def test_saving_what_was_opened_keeps_chunks_and_codecs(opened_with: str, zarr_format: int, tmp_path: Path) -> None:
    first, second = tmp_path / "1.zarr", tmp_path / "2.zarr"
    ds = small()
    if opened_with == "zarr" and (zarr_format == 2 or XARRAY < (2026, 1)):
        # the zarr engine gives it as StringDType, which xarray's own encoder makes strings of fixed length for v2;
        # that of xarray 2025.12 tells no encoding of text
        del ds["name"]
    ds.to_zarr(first, zarr_format=zarr_format, encoding=rich_encoding(zarr_format))
    for chunks in (None, {}):
        opened = xr.open_dataset(first, engine=opened_with, chunks=chunks)
        zarrds.save(opened, second, zarr_format=zarr_format, mode="w")
        ours, theirs = open_both(second)
        assert_same(ours, opened.load())
        assert_same(theirs, ours)
        assert normalised(documents(second)) == normalised(documents(first))


def test_a_store_of_one_format_saved_in_the_other(tmp_path: Path) -> None:
    for before, after in ((2, 3), (3, 2)):
        first, second = tmp_path / f"{before}.zarr", tmp_path / f"{before}-{after}.zarr"
        zarrds.save(small().drop_vars("name"), first, zarr_format=before)
        for engine in ("zarrds", "zarr"):
            opened = xr.open_dataset(first, engine=engine)
            zarrds.save(opened, second, zarr_format=after, mode="w")
            ours, theirs = open_both(second)
            assert_same(ours, opened.load())
            assert_same(theirs, ours)


def test_opened_with_zarrds_saved_with_to_zarr(tmp_path: Path) -> None:
    zarrds.save(small(), tmp_path / "1.zarr", encoding=rich_encoding(3))
    opened = xr.open_dataset(tmp_path / "1.zarr", engine="zarrds")
    opened.to_zarr(tmp_path / "2.zarr", zarr_format=3)
    ours, theirs = open_both(tmp_path / "2.zarr")
    assert_same(ours, opened.load())
    assert_same(theirs, ours)
    found = normalised(documents(tmp_path / "2.zarr"))
    expected = normalised(documents(tmp_path / "1.zarr"))
    assert {n: d["chunk_grid"] for n, d in found.items()} == {n: d["chunk_grid"] for n, d in expected.items()}
    for name in ("t2m", "count"):
        assert found[name]["codecs"] == expected[name]["codecs"]


# trees


def tree() -> xr.DataTree:
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset({"top": ("y", [1.0, 2.0])}, {"y": [10, 20], "height": 2.0}, {"title": "root"}),
            "/a": xr.Dataset({"v": (("y", "x"), np.arange(6.0).reshape(2, 3))}, {"x": list("abc")}),
            "/a/b": xr.Dataset(
                {"w": ("t", [1, 2])}, {"t": pd.date_range("2019-03-01", periods=2, unit="ns")}, {"n": 1}
            ),
            "/empty": xr.Dataset(),
            "/p/q/r": xr.Dataset({"deep": 5}),
            "/with space": xr.Dataset({"v": ("y", [3, 4])}),
        }
    )


@pytest.mark.one_in(4)
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("saved_with", ["zarrds", "zarr"])
@pytest.mark.parametrize("inherited", [False, True])
def test_trees(saved_with: str, zarr_format: int, inherited: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    if saved_with == "zarrds":
        zarrds.save(tree(), path, zarr_format=zarr_format, write_inherited_coords=inherited)
    else:
        tree().to_zarr(path, zarr_format=zarr_format, write_inherited_coords=inherited)
    for group in (None, "/", "a", "/a/", "a/b", "p"):
        ours = xr.open_datatree(path, engine="zarrds", group=group)
        theirs = xr.open_datatree(path, engine="zarr", group=group)
        xr.testing.assert_identical(ours.load(), theirs.load())
        if group is None:
            xr.testing.assert_identical(ours, tree())
            assert [n.path for n in ours.subtree] == [n.path for n in theirs.subtree]
        our_groups = xr.open_groups(path, engine="zarrds", group=group)
        their_groups = xr.open_groups(path, engine="zarr", group=group)
        assert set(our_groups) == set(their_groups)
        for name, ds in our_groups.items():
            assert_same(ds.load(), their_groups[name].load())
    for group in ("", "/", "a", "/a", "a/b/", "p", "with space"):
        ours, theirs = open_both(path, group=group)
        assert_same(ours, theirs)
    assert ("y" in xr.open_dataset(path, engine="zarrds", group="a").coords) == inherited


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_part_of_a_tree(zarr_format: int, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    zarrds.save(tree()["a"], path, zarr_format=zarr_format, encoding={"/a/b": {"w": {"dtype": "f4"}}})
    for engine in ("zarrds", "zarr"):
        found = xr.open_datatree(path, engine=engine)
        assert found["b/w"].encoding["dtype"] == np.dtype("f4")
        assert list(found.coords) == ["y", "x"] or set(found.coords) == {"x", "y", "height"}
        np.testing.assert_array_equal(found["v"], tree()["a/v"])


def test_a_tree_in_a_group(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    zarrds.save(small(), path)
    zarrds.save(tree(), path, group="trees/one")
    assert_same(xr.open_dataset(path, engine="zarr").load(), small())
    for engine in ("zarrds", "zarr"):
        xr.testing.assert_identical(xr.open_datatree(path, engine=engine, group="trees/one").load(), tree())


# anything


def labels(size: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.permutations(range(size)).map(np.array),
        st.just(pd.date_range("2000-01-01", periods=size, freq="7h", unit="ns")),
        st.just(np.array([f"n{i}" for i in range(size)])),
        st.just(np.linspace(-1, 1, size, dtype="f4")),
    )


DTYPES = st.one_of(
    st.sampled_from([np.dtype(d) for d in ["?", "i1", "u2", "i4", "i8", "u8", "f2", "f4", "f8", "c16", ">i2", ">f8"]]),
    st.sampled_from([np.dtype("M8[ns]"), np.dtype("m8[ns]")]),
    st.sampled_from([np.dtype("S3"), np.dtype("U3"), np.dtype("O")]),
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)


def elements(dtype: np.dtype[Any]) -> st.SearchStrategy[Any] | None:
    if dtype.kind in "OU":
        return TEXT
    if dtype.kind in "Mm":  # years that every unit of xarray's default encoding can tell
        return st.integers(-(10**17), 10**18).map(lambda n: np.array(n).astype(dtype)[()])
    return None


@st.composite
def datasets(draw: st.DrawFn) -> xr.Dataset:
    sizes = {dim: draw(st.integers(0, 4)) for dim in draw(st.sets(st.sampled_from(["x", "y", "t z"])))}
    coords = {dim: draw(labels(size)) for dim, size in sizes.items() if draw(st.booleans())}
    names = draw(st.sets(st.sampled_from(["a", "b.c", "ü d", "0"]), max_size=3))
    variables = {}
    for name in names:
        dims = draw(st.permutations(sorted(sizes)))[: draw(st.integers(0, len(sizes)))]
        dtype = draw(DTYPES)
        shape = tuple(sizes[dim] for dim in dims)
        if dtype.kind == "O":
            count = int(np.prod(shape, dtype=int))
            data: Any = np.empty(count, object)
            data[:] = draw(st.lists(TEXT, min_size=count, max_size=count))
            data = data.reshape(shape)
        else:
            data = draw(npst.arrays(dtype, shape, elements=elements(dtype)))
        attrs = draw(st.dictionaries(TEXT.filter(bool).map("k".__add__), st.one_of(st.integers(), TEXT), max_size=2))
        variables[name] = (dims, data, attrs)
    scalars = dict.fromkeys(draw(st.sets(st.sampled_from(["height", "level"]))), 2.5)
    return xr.Dataset(variables, coords | scalars, draw(st.dictionaries(st.just("k"), TEXT)))


@settings(max_examples=25)
@given(ds=datasets(), zarr_format=st.sampled_from(FORMATS), chunk=st.integers(1, 3), automatic=st.booleans())
def test_any_dataset(
    ds: xr.Dataset, zarr_format: int, chunk: int, automatic: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "x.zarr"
    encoding = {} if automatic else {n: {"chunks": (chunk,) * v.ndim} for n, v in ds.variables.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Times can't be serialized faithfully")
        zarrds.save(ds, path, zarr_format=zarr_format, encoding=encoding)
        ours, theirs = open_both(path, decode_timedelta=True)
        assert_same(ours, theirs)
        xr.testing.assert_identical(ours, ds)
        again = path.with_name("again.zarr")
        zarrds.save(xr.open_dataset(path, engine="zarrds", decode_timedelta=True), again, zarr_format=zarr_format)
    xr.testing.assert_identical(xr.open_dataset(again, engine="zarrds", decode_timedelta=True), ds)
    assert normalised(documents(again)) == normalised(documents(path))

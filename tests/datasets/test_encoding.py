from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
import zarr.codecs

import zarrds
from tests.datasets.samples import FORMATS, chunks_of, codec_names, document, open_zarrds, small
from zarrds.errors import EncodingError, UnsupportedError, ZarrdsError

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
    ds = xr.Dataset({"v": (("y", "x"), np.arange(60_000, dtype="f4").reshape(300, 200))})
    ds["v"].encoding = NETCDF_LEFTOVER
    zarrds.save(ds.chunk(y=130) if as_dask else ds, path, zarr_format=zarr_format)
    for engine in ("zarrds", "zarr"):
        found = xr.open_dataset(path, engine=engine)
        assert found.v.dtype == np.dtype("f4")
        np.testing.assert_array_equal(found.v, ds.v)
    if zarr_format == 3:
        assert codec_names(path, "v") == ["bytes", "blosc", "crc32c"]


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
        assert {"dtype", "scale_factor", "_FillValue", "units", "chunks"} <= set(
            str(caught.value.expected).removeprefix("some of ").split(", ")
        )
    with pytest.raises(EncodingError, match="variable that the dataset does not have") as caught:
        zarrds.save(small(), path, encoding={"missing": {}}, zarr_format=zarr_format)
    assert isinstance(caught.value, KeyError)
    assert "'missing'). Did you mean" in str(caught.value) or "'missing'). There is" in str(caught.value)
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


def test_a_fill_value_that_came_along_and_does_not_fit_is_none(path: Path) -> None:
    encoding = {"dtype": "i4", "_FillValue": -1, "fill_value": np.nan}
    zarrds.save(xr.Dataset({"v": ("x", [1.0, np.nan], {}, encoding)}), path)
    assert document(path, "v")["fill_value"] == -1  # what was never written is missing


@pytest.mark.parametrize(
    "codec",
    [
        {"name": "zstd", "configuration": {"level": 3, "checksum": False}},
        zarr.codecs.ZstdCodec(level=3),
        [zarr.codecs.ZstdCodec(level=3)],
        ({"name": "zstd", "configuration": {"level": 3}},),
        {"id": "zstd", "level": 3},
        "zstd",
        ["zstd"],
    ],
    ids=["json", "zarr", "list", "tuple", "v2", "name", "names"],
)
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_ways_to_name_a_codec(path: Path, codec: Any, zarr_format: int) -> None:
    zarrds.save(small(), path, encoding={"v": {"compressors": codec}}, zarr_format=zarr_format)
    if zarr_format == 3:
        assert codec_names(path, "v")[1:] == ["zstd"] or codec_names(path, "v")[1:] == ["numcodecs.zstd"]
    else:
        assert document(path, "v")["compressor"]["id"] == "zstd"
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarr").load(), small())


@pytest.mark.parametrize("filters", ["packbits", ["packbits"], ["numcodecs.packbits"]])
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_filter_by_its_name(path: Path, filters: Any, zarr_format: int) -> None:
    ds = xr.Dataset({"v": ("x", [True, False, True])})
    zarrds.save(ds, path, encoding={"v": {"filters": filters}}, zarr_format=zarr_format)
    assert "numcodecs.packbits" in codec_names(path, "v") if zarr_format == 3 else document(path, "v")["filters"]
    xr.testing.assert_identical(xr.open_dataset(path, engine="zarrds").load(), ds)
    with pytest.raises(EncodingError, match=r"no filter.*serializer"):
        zarrds.save(ds, path, mode="w", encoding={"v": {"filters": [{"name": "packbits"}]}})


@pytest.mark.parametrize("key", ["compressors", "filters", "serializer"])
def test_words_that_are_no_codecs(key: str) -> None:
    store = zarrds.MemoryStore()
    with pytest.raises(UnsupportedError, match=r"'fast' is not supported.*zstd") as caught:
        zarrds.save(xr.Dataset({"v": ("x", [1.0])}), store, encoding={"v": {key: "fast"}})
    assert caught.value.key == "v"
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


def test_encoding_of_a_data_array(path: Path) -> None:
    zarrds.save(xr.DataArray([1.0, 2.0], dims="x", name="v"), path, encoding={"v": {"dtype": "f4"}})
    assert document(path, "v")["data_type"] == "float32"


TRANSPOSED = {"name": "transpose", "configuration": {"order": [1, 0]}}
AS_SHORT = {"name": "numcodecs.astype", "configuration": {"encode_dtype": "<i2", "decode_dtype": "<f8"}}


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda v: v + 0.0, ["transpose", "numcodecs.astype"]),
        (lambda v: v.isel(x=0), ["numcodecs.astype"]),
        (lambda v: v.isel(x=0, y=0), ["numcodecs.astype"]),
        (lambda v: v.expand_dims("z"), ["numcodecs.astype"]),
        (lambda v: v.astype("i4"), ["transpose"]),
    ],
)
def test_filters_that_came_along_give_way_where_dimensions_or_dtype_changed(path: Path, change: Any, kept: Any) -> None:
    ds = xr.Dataset({"v": (("x", "y"), np.arange(12.0).reshape(3, 4))})
    zarrds.save(ds, path, encoding={"v": {"filters": [TRANSPOSED, AS_SHORT]}})
    there = open_zarrds(path).load()
    changed = change(there.v)
    changed.encoding = {k: v for k, v in there.v.encoding.items() if k not in ("dtype", "_FillValue")}
    zarrds.save(changed.to_dataset(), path, mode="w")
    np.testing.assert_array_equal(open_zarrds(path).v, changed)
    assert [name for name in codec_names(path, "v") if name in ("transpose", "numcodecs.astype")] == kept


@pytest.mark.parametrize(
    ("there", "name", "settings"),
    [(np.arange(8) % 2 == 0, "numcodecs.packbits", {}), (np.arange(8.0), "numcodecs.bitround", {"keepbits": 9})],
)
def test_filters_of_booleans_and_of_floats_give_way_to_integers(
    path: Path, there: Any, name: str, settings: Any
) -> None:
    filters = [{"name": name, "configuration": settings}]
    zarrds.save(xr.Dataset({"v": ("x", there)}), path, encoding={"v": {"filters": filters}})
    ds = open_zarrds(path).load()
    zarrds.save(ds, path, mode="w")
    assert name in codec_names(path, "v")
    changed = xr.Dataset({"v": ("x", np.arange(8), {}, {"filters": ds.v.encoding["filters"]})})
    zarrds.save(changed, path, mode="w")
    assert name not in codec_names(path, "v")
    np.testing.assert_array_equal(open_zarrds(path).v, changed.v)


@pytest.mark.parametrize(
    "wrong",
    [
        *({key: value} for key in ("zlib", "shuffle", "fletcher32", "contiguous") for value in ("no", 3, 1.0, b"", [])),
        *({"zlib": True, "complevel": level} for level in (True, "high", 10, -1, 2.5, [3])),
        *({"endian": order} for order in ("middle", b"big", True, 1, ["big"])),
    ],
)
def test_words_of_netcdf_are_checked(wrong: dict[str, Any]) -> None:
    store = zarrds.MemoryStore()
    with pytest.raises(EncodingError, match=re.escape(f"encoding['{list(wrong)[-1]}']")) as caught:
        zarrds.save(xr.Dataset({"v": ("x", np.arange(3.0))}), store, encoding={"v": wrong})
    assert caught.value.key == "v"
    assert not list(store.list_prefix(""))


@pytest.mark.parametrize("level", [None, 0, 9, np.int8(3)])
def test_words_of_netcdf_as_netcdf_says_them(level: Any) -> None:
    ds, store = xr.Dataset({"v": ("x", np.arange(3.0))}), zarrds.MemoryStore()
    asked = {"zlib": np.True_, "complevel": level, "shuffle": 0, "fletcher32": None, "endian": "native"}
    zarrds.save(ds, store, encoding={"v": {**asked, "contiguous": False, "chunksizes": None}})
    opened = xr.open_dataset(store, engine="zarrds")
    xr.testing.assert_identical(opened.load(), ds)
    (blosc,) = [c for c in zarrds.open_array(store, path="v").metadata.codecs if c["name"] == "blosc"]
    assert blosc["configuration"]["clevel"] == (4 if level is None else level)

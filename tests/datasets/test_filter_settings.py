"""Settings of filters that are left open: they follow from the array, and stand in its document for all readers."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import FORMATS, Format, load
from zarrds.errors import EncodingError, MetadataError, UnsupportedError, ZarrdsError

FILTERS = {
    "quantize": ("filters", {"digits": 2}, "f8", 0.005),
    "shuffle": ("compressors", {}, "f8", 0),
    "delta": ("filters", {}, "i8", 0),
    "fixedscaleoffset": ("filters", {"offset": 0, "scale": 100, "astype": "i2"}, "f8", 0),
    "astype": ("filters", {"encode_dtype": "f4"}, "f8", 1e-6),
}


# of zarr-python, as it reads filters of numcodecs in format 3
@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize("name", FILTERS)
def test_all_readers_fill_them_in_alike(name: str, zarr_format: int, path: Path) -> None:
    key, settings, dtype, error = FILTERS[name]
    values = np.round(np.linspace(0, 1, 51), 2) if dtype == "f8" else np.arange(51)
    codec: dict[str, Any] = {"name": f"numcodecs.{name}", "configuration": settings}
    zarrds.save(xr.Dataset({"v": ("x", values)}), path, zarr_format=zarr_format, encoding={"v": {key: [codec]}})
    for engine in ("zarrds", "zarr"):
        with xr.open_dataset(path, engine=engine) as found:
            np.testing.assert_allclose(found.v, values, rtol=0, atol=error, err_msg=engine)
    with xr.open_dataset(path, engine="zarrds") as found:
        zarrds.save(found, path.with_name("again"), zarr_format=zarr_format)
    with xr.open_dataset(path.with_name("again"), engine="zarr") as found:
        np.testing.assert_allclose(found.v, values, rtol=0, atol=error)


def test_documents_that_lack_them_hide_nothing(path: Path) -> None:
    """As zarrds wrote them until 0.1: zarr-python cannot open them."""
    codec = {"name": "numcodecs.delta"}
    ds = xr.Dataset({"v": ("x", np.arange(5))})
    zarrds.save(ds, path, zarr_format=2, encoding={"v": {"filters": [codec]}})
    for name in (".zmetadata", "v/.zarray"):
        text = (path / name).read_text()
        document = json.loads(text)
        array = document["metadata"]["v/.zarray"] if name == ".zmetadata" else document
        assert array["filters"][0].pop("dtype") == "<i8"
        (path / name).write_text(json.dumps(document))
    with xr.open_dataset(path, engine="zarrds") as found:
        xr.testing.assert_identical(found, ds)
        (numcodecs_filter,) = found.v.encoding["filters"]
    assert numcodecs_filter.get_config()["dtype"] == "<i8"


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_what_would_be_lost_behind_missing_values_is_refused(zarr_format: int, path: Path) -> None:
    """zarr-python reads NaN in all of such a chunk that is not full, but for its first row."""
    ds = xr.Dataset({"v": (("x", "y"), np.arange(60.0).reshape(6, 10))})
    encoding: dict[str, Any] = {"chunks": (4, 4), "filters": [{"name": "numcodecs.delta"}]}
    with pytest.raises(EncodingError, match="'v' cannot be encoded by its codecs: delta loses what stands behind NaN"):
        zarrds.save(ds, path, zarr_format=zarr_format, encoding={"v": encoding})
    assert not path.exists()
    encoding |= {"fill_value" if zarr_format == 3 else "_FillValue": -1.0}
    zarrds.save(ds, path, zarr_format=zarr_format, encoding={"v": encoding})
    np.testing.assert_array_equal(load(path).v, ds.v)


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("delta", np.arange(9) % 2 == 0),
        ("packbits", np.array([b"ab"])),
        ("packbits", np.array(["a"])),
        ("packbits", np.array([1.5])),
        ("packbits", np.array([2], "u1")),
    ],
)
def test_filters_that_cannot_hold_such_elements(name: str, values: Any, zarr_format: int, path: Path) -> None:
    encoding = {"v": {"filters": [{"name": f"numcodecs.{name}"}], "dtype": values.dtype}}
    with pytest.raises(ZarrdsError, match=r"would read back|packs booleans"):
        zarrds.save(xr.Dataset({"v": ("x", values)}), path, zarr_format=zarr_format, encoding=encoding)
    assert not path.exists()


def test_a_filter_among_compressors(path: Path) -> None:
    """zarr-python refuses such an array of format 3."""
    ds = xr.Dataset({"v": ("x", np.arange(5))})
    encoding = {"v": {"compressors": [{"name": "numcodecs.delta"}]}}
    with pytest.raises(EncodingError, match="holds a codec of elements") as caught:
        zarrds.save(ds, path, encoding=encoding)
    assert "encoding['filters']" in str(caught.value.mend)
    assert not path.exists()


@pytest.mark.parametrize(
    "codecs",
    [
        [{"name": "bitround", "configuration": {"keepbits": 8}}],
        [{"name": "scale_offset", "configuration": {"offset": 0, "scale": 4}}],
        [
            {"name": "scale_offset", "configuration": {"scale": 4}},
            {"name": "cast_value", "configuration": {"data_type": "int16"}},
        ],
    ],
    ids=["bitround", "scale_offset", "cast_value"],
)
def test_filters_of_format_3_that_came_along(codecs: list[Any], path: Path) -> None:
    """In format 2 `bitround` is numcodecs' own, and what there is not gives way: what was rounded stays so."""
    values = np.arange(12.0, dtype="f4") / 4
    zarrds.save(xr.Dataset({"v": ("x", values)}), path, encoding={"v": {"filters": codecs, "fill_value": 0.0}})
    with xr.open_dataset(path, engine="zarrds") as ds:
        zarrds.save(ds, path.with_name("two"), zarr_format=2)
    for engine in ("zarrds", "zarr"):
        with xr.open_dataset(path.with_name("two"), engine=engine) as found:
            np.testing.assert_array_equal(found.v, values)
    with xr.open_dataset(path.with_name("two"), engine="zarrds") as found:
        names = {codec.codec_id for codec in found.v.encoding["filters"] or ()}
    assert names - {"blosc"} == {codec["name"] for codec in codecs} & {"bitround"}


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize(
    "codec", [("packbits", {}), ("fixedscaleoffset", {"scale": 0, "offset": 0})], ids=lambda c: c[0]
)
def test_arrays_whose_filters_leave_nothing(codec: tuple[str, dict[str, Any]], zarr_format: Any) -> None:
    objects = [{"name": f"numcodecs.{codec[0]}", "configuration": codec[1]}, {"name": "bytes"}]
    with pytest.raises(MetadataError, match=r"packs booleans|a scale of 0"):
        zarrds.create_array(zarrds.MemoryStore(), shape=(4,), dtype="f8", codecs=objects, zarr_format=zarr_format)


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize(
    ("fill_value", "values"),
    [
        (1e20, np.linspace(280, 281, 49).reshape(7, 7)),  # all is lost behind it in a chunk that is not full
        (
            0.0,
            np.stack([1.1 * 2.0 ** np.arange(61), np.full(61, 1.1)]),
        ),  # each by itself is given back, but not by chunks
    ],
    ids=["behind the fill value", "behind a large one"],
)
def test_differences_of_floats_are_held_against_them(
    fill_value: float, values: Any, zarr_format: int, path: Path
) -> None:
    delta = [{"name": "numcodecs.delta"}]
    encoding: dict[str, Any] = {"chunks": (2, 61) if values.shape[1] == 61 else (5, 5), "filters": delta}
    encoding["fill_value" if zarr_format == 3 else "_FillValue"] = fill_value
    with pytest.raises(EncodingError, match="differences of these floats do not give them back"):
        zarrds.save(xr.Dataset({"v": (("y", "x"), values)}), path, zarr_format=zarr_format, encoding={"v": encoding})
    assert not path.exists()


def test_an_array_is_not_left_with_floats_that_are_lost() -> None:
    objects = [{"name": "numcodecs.delta"}, {"name": "bytes"}]
    array = zarrds.create_array(
        zarrds.MemoryStore(), shape=(4,), chunks=(4,), dtype="f8", codecs=objects, fill_value=np.nan
    )
    with pytest.raises(EncodingError, match="differences of these floats"):
        array[2:] = 1.5  # behind two that are NaN
    assert np.isnan(array[:]).all()
    array[:3] = 1.5
    np.testing.assert_array_equal(array[:], [1.5, 1.5, 1.5, np.nan])


def test_differences_of_floats_that_came_along_give_way(path: Path) -> None:
    ds = xr.Dataset({"v": (("y", "x"), np.arange(36.0).reshape(6, 6))})
    encoding = {"v": {"chunks": (3, 3), "filters": [{"name": "numcodecs.delta"}], "fill_value": 1e20}}
    zarrds.save(ds, path, encoding=encoding)
    opened = load(path)
    opened.v.encoding["chunks"] = (4, 4)
    with pytest.warns(xr.SerializationWarning, match="replaced: 'v'"):
        zarrds.save(opened, path.with_name("again"))
    np.testing.assert_array_equal(load(path.with_name("again")).v, ds.v)


def test_encodings_of_filters_without_settings_are_zarr_pythons(path: Path) -> None:
    ds = xr.Dataset({"v": ("x", np.arange(6))})
    zarrds.save(ds, path, encoding={"v": {"compressors": [{"name": "numcodecs.shuffle"}, {"name": "numcodecs.crc32"}]}})
    with xr.open_dataset(path, engine="zarrds") as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr-python's, of codecs of numcodecs
        opened.to_zarr(path.with_name("theirs"), zarr_format=3)
    np.testing.assert_array_equal(load(path.with_name("theirs")).v, ds.v)


_SHUFFLE = {"name": "numcodecs.shuffle", "configuration": {"elementsize": 8}}
_SCALE = {"name": "scale_offset", "configuration": {"offset": 0.0, "scale": 2.0}}
_CAST = {"name": "cast_value", "configuration": {"data_type": "int16"}}


# of zarr-python, as it reads filters of numcodecs in format 3
@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3", "ignore:encodings that came along")
@pytest.mark.parametrize("rows", [3, 1])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "?", "S3", "U3", "T", "c8", "M8[s]"])
@pytest.mark.parametrize(
    "codecs",
    [
        {"compressors": [_SHUFFLE, {"name": "zstd", "configuration": {"level": 1}}]},
        {"filters": [_SHUFFLE]},
        {"filters": [_SCALE]},
        {"filters": [_SCALE, _CAST]},
    ],
)
def test_codecs_that_came_along_with_other_elements(
    codecs: dict[str, Any], dtype: str, rows: int, zarr_format: Format, path: Path
) -> None:
    ds = xr.Dataset({"v": (("y", "x"), np.arange(12.0).reshape(3, 4))})
    zarrds.save(ds, path, encoding={"v": {"chunks": (3, 4), **codecs}})
    other = np.arange(12)[: 4 * rows].reshape(rows, 4).astype(np.dtypes.StringDType() if dtype == "T" else dtype)
    new = xr.Dataset({"v": (("y", "x"), other)})
    for key in ((), ("dtype", "_FillValue")):
        new.v.encoding = {k: value for k, value in load(path).v.encoding.items() if k not in key}
        again = path.with_name("again")
        zarrds.save(new, again, mode="w", zarr_format=zarr_format)
        np.testing.assert_array_equal(load(again).v, new.v)
        if "filters" not in codecs or _SHUFFLE in codecs["filters"]:
            with xr.open_dataset(again, engine="zarr") as found:
                np.testing.assert_array_equal(found.v, new.v)


def test_floats_that_came_along_as_integers_stay_so() -> None:
    """Where no chunk is filled up."""
    ds, store = xr.Dataset({"v": (("y", "x"), np.arange(12.0).reshape(3, 4))}), zarrds.MemoryStore()
    zarrds.save(ds, store, encoding={"v": {"chunks": (3, 2), "filters": [_CAST]}})
    again = zarrds.MemoryStore()
    zarrds.save(load(store), again)
    assert zarrds.open_array(again, path="v").metadata.codecs[0]["name"] == "cast_value"


@pytest.mark.parametrize("key", ["filters", "compressors"])
def test_codecs_of_others_that_came_along_give_way(key: str, zarr_format: Format, path: Path) -> None:
    ds = xr.Dataset({"v": ("x", np.arange(10.0))})
    ds.to_zarr(path, zarr_format=2, encoding={"v": {key: [numcodecs.Base64()]}})
    with xr.open_dataset(path, engine="zarr") as found:
        with pytest.warns(xr.SerializationWarning, match=r"cannot be written.*'v' \(codecs: .*base64"):
            zarrds.save(found, path.with_name("again"), zarr_format=zarr_format)
        with pytest.raises(UnsupportedError, match="base64"):
            zarrds.save(found, path.with_name("b"), zarr_format=2, encoding={"v": {key: [numcodecs.Base64()]}})
    xr.testing.assert_identical(load(path.with_name("again")), ds)

"""Documents of Zarr v2 <-> the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zarrds.errors import MetadataError, UnsupportedError
from zarrds.metadata.dtypes import BYTES, OBJECTS_AS_JSON, STRING, DataType
from zarrds.metadata.formats import v2
from zarrds.metadata.formats.v2_codecs import codec_from_v2, from_v2, to_v2
from zarrds.metadata.model import ArrayMetadata, ChunkKeyEncoding, GroupMetadata

DOCUMENT: dict[str, Any] = {
    "zarr_format": 2,
    "shape": [4, 5],
    "chunks": [2, 3],
    "dtype": ">f4",
    "fill_value": "NaN",
    "order": "C",
    "filters": None,
    "compressor": None,
    "dimension_separator": ".",
}
SHUFFLE = {"id": "shuffle", "elementsize": 4}
DELTA = {"id": "delta", "dtype": "<i4", "astype": "<i2"}
ZLIB = {"id": "zlib", "level": 1}
BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}


def parsed(document: dict[str, Any], attributes: dict[str, Any] | None = None) -> ArrayMetadata:
    raw: dict[str, Any] = {v2.ARRAY: document}
    node = v2.parse(raw if attributes is None else raw | {v2.ATTRIBUTES: attributes})
    assert isinstance(node, ArrayMetadata)
    return node


def test_a_document_survives() -> None:
    node = parsed(DOCUMENT, {"units": "K"})
    assert (node.shape, node.chunks, node.data_type.dtype) == ((4, 5), (2, 3), np.dtype(">f4"))
    assert node.chunk_key_encoding == ChunkKeyEncoding("v2", ".")
    assert node.zarr_format == 2
    assert v2.to_raw(node) == {v2.ARRAY: DOCUMENT, v2.ATTRIBUTES: {"units": "K"}}


def test_a_group_survives() -> None:
    raw = {v2.GROUP: {"zarr_format": 2, "_NCZARR_GROUP": {"dims": {}}}, v2.ATTRIBUTES: {"title": "t"}}
    node = v2.parse(raw)
    assert isinstance(node, GroupMetadata)
    assert v2.to_raw(node) == raw


@pytest.mark.parametrize("separator", [".", "/"])
def test_dimension_separator(separator: str) -> None:
    node = parsed(DOCUMENT | {"dimension_separator": separator})
    assert node.chunk_key_encoding.key((1, 2)) == f"1{separator}2"
    assert v2.to_raw(node)[v2.ARRAY]["dimension_separator"] == separator


def test_the_separator_may_be_absent() -> None:
    document = {name: value for name, value in DOCUMENT.items() if name != "dimension_separator"}
    assert parsed(document).chunk_key_encoding.separator == "."


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("filters", [None, [DELTA], [SHUFFLE], [DELTA, {"id": "packbits"}]], ids=str)
@pytest.mark.parametrize(
    "compressor",
    [
        None,
        ZLIB,
        BLOSC,
        BLOSC | {"shuffle": -1},
        BLOSC | {"shuffle": 2},
        {"id": "gzip", "level": 5},
        {"id": "zstd", "level": 3, "checksum": True},
        {"id": "bz2", "level": 1},
        {"id": "lz4", "acceleration": 1},
        {"id": "lzma", "format": 1, "check": -1, "preset": None, "filters": None},
    ],
    ids=str,
)
def test_codecs_survive(order: str, filters: Any, compressor: Any) -> None:
    if filters == [SHUFFLE] and compressor is None:
        compressor = ZLIB  # a byte shuffle alone is as good a compressor as a filter
    members = {"order": order, "filters": filters, "compressor": compressor}
    codecs = from_v2(members | {"dtype": "<i4"}, 3)
    assert to_v2(codecs, 3)._asdict() == members
    assert sum(codec["name"] == "bytes" for codec in codecs) == 1
    assert (codecs[0]["name"] == "transpose") == (order == "F")


@pytest.mark.parametrize("ndim", [0, 1])
def test_the_order_of_one_dimension_means_nothing(ndim: int) -> None:
    assert from_v2({"order": "F", "dtype": "<i4", "compressor": None}, ndim) == ({"name": "bytes"},)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([{"id": "vlen-utf8"}], STRING),
        ([{"id": "vlen-bytes"}], BYTES),
        ([{"id": "json2", "encoding": "utf-8"}], OBJECTS_AS_JSON),
    ],
)
def test_objects_are_known_by_their_first_filter(filters: Any, expected: DataType) -> None:
    document = DOCUMENT | {"dtype": "|O", "filters": filters, "fill_value": None, "compressor": ZLIB}
    node = parsed(document)
    assert node.data_type == expected
    assert v2.to_raw(node)[v2.ARRAY] == document


@pytest.mark.parametrize(
    "filters", [None, [], [{"id": "pickle"}], [ZLIB], [{"id": 3}], [None], "x", [{"id": "os"}]], ids=str
)
def test_other_objects_are_refused(filters: Any) -> None:
    with pytest.raises(UnsupportedError, match="object codec"):
        parsed(DOCUMENT | {"dtype": "|O", "filters": filters})


def test_defaults_that_numcodecs_has() -> None:
    assert codec_from_v2({"id": "blosc"})["configuration"] == {"shuffle": "shuffle"}
    assert codec_from_v2({"id": "shuffle"})["configuration"] == {"elementsize": 4}


def test_codecs_of_v3_that_v2_has() -> None:
    endian = {"name": "bytes", "configuration": {"endian": "big"}}
    assert to_v2([endian, {"name": "crc32c"}], 1).compressor == {"id": "crc32c", "location": "end"}
    assert to_v2([{"name": "transpose", "configuration": {"order": [0, 1]}}, endian], 2).order == "C"
    with pytest.raises(UnsupportedError, match="C and F order"):
        to_v2([{"name": "transpose", "configuration": {"order": [1, 0, 2]}}, endian], 3)
    with pytest.raises(UnsupportedError, match="sharding_indexed"):
        to_v2([{"name": "sharding_indexed"}], 1)


def test_dimension_names_are_xarrays_attribute() -> None:
    attributes = {"units": "K", v2.DIMENSIONS: ["time", "x"]}
    node = parsed(DOCUMENT, attributes)
    assert node.dimension_names == ("time", "x")
    assert node.attributes == {"units": "K"}
    assert v2.to_raw(node)[v2.ATTRIBUTES] == attributes


@pytest.mark.parametrize("names", [["time"], ["time", 3], "tx", None, {"time": 1, "x": 2}], ids=str)
def test_wrong_dimension_names_are_refused(names: Any) -> None:
    with pytest.raises(MetadataError, match="_ARRAY_DIMENSIONS"):
        parsed(DOCUMENT, {v2.DIMENSIONS: names})


@pytest.mark.parametrize("member", ["_NCZARR_ARRAY", "_nczarr_array"])
@pytest.mark.parametrize("references", ["dimrefs", "dimension_references"])
def test_dimension_names_of_netcdf_c(member: str, references: str) -> None:
    extension = {member: {references: ["/time", "/group/x"], "storage": "chunked"}}
    for node in (parsed(DOCUMENT | extension), parsed(DOCUMENT, extension)):
        assert node.dimension_names == ("time", "x")
    assert v2.to_raw(parsed(DOCUMENT | extension))[v2.ARRAY] == DOCUMENT | extension


def test_unusable_dimension_names_of_netcdf_c_are_left_alone() -> None:
    for references in (["/time"], ["/time", 3], "tx", None):
        assert parsed(DOCUMENT | {"_NCZARR_ARRAY": {"dimrefs": references}}).dimension_names is None


def test_unknown_members_survive() -> None:
    unknown = {"zarrds": {"must_understand": False, "x": [1]}}
    assert v2.to_raw(parsed(DOCUMENT | unknown))[v2.ARRAY] == DOCUMENT | unknown


def test_the_byte_order_of_the_bytes_codec_goes_into_the_dtype() -> None:
    node = ArrayMetadata(
        shape=(2,),
        data_type=DataType("int32", np.dtype("<i4")),
        chunks=(2,),
        codecs=({"name": "bytes", "configuration": {"endian": "big"}},),
        fill_value=np.int32(1),
        chunk_key_encoding=ChunkKeyEncoding("v2", "."),
        zarr_format=2,
    )
    assert v2.to_raw(node)[v2.ARRAY]["dtype"] == ">i4"


def test_v2_has_no_other_chunk_keys() -> None:
    node = ArrayMetadata((2,), DataType("int8", np.dtype("i1")), (2,), ({"name": "bytes"},), np.int8(0), zarr_format=2)
    with pytest.raises(UnsupportedError, match="chunk key encoding"):
        v2.to_raw(node)


def test_the_document_that_makes_a_node_is_written_last() -> None:
    raw = {v2.ARRAY: DOCUMENT, v2.ATTRIBUTES: {"a": 1}}
    assert list(v2.documents("x/y", raw)) == ["x/y/.zattrs", "x/y/.zarray"]


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("<f8", "0", 0.0),
        ("<f4", "-9999", -9999.0),
        ("<f4", "1e20", np.float32(1e20)),
        ("|u1", "255", 255),
        ("<i8", "9007199254740993", 2**53 + 1),
        ("<f8", "inf", np.inf),
        ("<U2", 0, None),
        ("|S2", 0, None),
        ("<U2", "0", "0"),
    ],
)
def test_fill_values_of_older_writers(dtype: str, value: Any, expected: Any) -> None:
    found = parsed(DOCUMENT | {"dtype": dtype, "fill_value": value}).fill_value
    assert found == expected
    assert type(found) is (type(None) if expected is None else np.dtype(dtype).type)


@pytest.mark.parametrize("codec", ["vlen-utf8", "vlen-bytes"])
def test_zero_for_text_is_no_fill_value(codec: str) -> None:
    assert parsed(DOCUMENT | {"dtype": "|O", "fill_value": 0, "filters": [{"id": codec}]}).fill_value is None


@pytest.mark.parametrize(("dtype", "value"), [("|u1", "256"), ("<i4", "1.5"), ("|b1", "true"), ("<f4", "many")])
def test_quotes_around_what_is_no_such_number_are_refused(dtype: str, value: str) -> None:
    with pytest.raises(MetadataError, match="not a fill value"):
        parsed(DOCUMENT | {"dtype": dtype, "fill_value": value})

"""The table of data types: against NumPy, against both specifications' forms, and against zarr-python."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.lib.recfunctions import repack_fields

from zarrds.errors import MetadataError, UnsupportedError
from zarrds.metadata.dtypes import BYTES, OBJECTS_AS_JSON, STRING, DataType
from zarrds.metadata.formats import v2, v3
from zarrds.metadata.model import ArrayMetadata

# zarr-python warns of what it writes beyond the v3 core; so does NumPy of the names that zarr-python gives it
pytestmark = pytest.mark.filterwarnings("ignore")

_RECORD = np.dtype([("i", ">i4"), ("f", "<f8"), ("s", "S3"), ("t", "<M8[s]")])
_NESTED = np.dtype([("inner", [("x", "<f4"), ("y", ">u2")]), ("flag", "?")])
_NUMBERS = "? i1 u1 <i2 >i2 <u2 >u2 <i4 >i4 <u4 >u4 <i8 >i8 <u8 >u8 <f2 >f2 <f4 >f4 <f8 >f8 <c8 >c8 <c16 >c16".split()
_FIXED = "S1 S7 <U1 <U5 >U5 V4".split()
_TIMES = "<M8[ns] >M8[ns] <M8[D] <M8[10us] <M8 <m8[ns] >m8[s] <m8[3h] <m8".split()
FIXED_LENGTH = [np.dtype(d) for d in [*_NUMBERS, *_FIXED, *_TIMES]] + [_RECORD, _NESTED]
UNITS = "Y M W D h m s ms us ns ps fs as".split()


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=")


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, NaN and NaT too."""
    if isinstance(a, str | bytes) and not isinstance(a, np.generic):
        return bool(a == b)
    left, right = np.asarray(a), np.asarray(b)
    return left.dtype.kind == right.dtype.kind and left.tobytes() == right.astype(left.dtype).tobytes()


@pytest.mark.parametrize("dtype", FIXED_LENGTH, ids=str)
def test_every_dtype_survives_v2(dtype: np.dtype[Any]) -> None:
    data_type = DataType.from_numpy(dtype)
    again = DataType.from_v2(through_json(data_type.to_v2()))
    assert again == data_type
    assert again.dtype == dtype  # with its byte order


@pytest.mark.parametrize("dtype", FIXED_LENGTH, ids=str)
def test_every_dtype_survives_v3(dtype: np.dtype[Any]) -> None:
    data_type = DataType.from_numpy(native(dtype))
    assert DataType.from_v3(through_json(data_type.to_v3())) == data_type


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("kind", "mM")
def test_every_unit_of_time_survives(kind: str, unit: str) -> None:
    for scale in (1, 7):
        data_type = DataType.from_numpy(np.dtype(f"{kind}8[{scale}{unit}]"))
        assert DataType.from_v3(through_json(data_type.to_v3())) == data_type
        assert DataType.from_v2(through_json(data_type.to_v2())) == data_type


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("r16", DataType("raw_bytes", np.dtype("V2"))),
        ({"name": "r16"}, DataType("raw_bytes", np.dtype("V2"))),
        ({"name": "int8"}, DataType("int8", np.dtype("i1"))),
        ({"name": "int8", "configuration": {}}, DataType("int8", np.dtype("i1"))),
        ("string", STRING),
        ("bytes", BYTES),
        ("variable_length_bytes", BYTES),
        (
            {"name": "numpy.datetime64", "configuration": {"unit": "μs", "scale_factor": 2}},
            DataType("numpy.datetime64", np.dtype("M8[2us]")),
        ),
        (
            {"name": "struct", "configuration": {"fields": [{"name": "x", "data_type": "int16"}]}},
            DataType("structured", np.dtype([("x", "i2")])),
        ),
    ],
)
def test_other_spellings_in_v3(document: Any, expected: DataType) -> None:
    assert DataType.from_v3(document) == expected


def test_objects_as_json_exist_in_v2_only() -> None:
    assert OBJECTS_AS_JSON.to_v2() == STRING.to_v2() == BYTES.to_v2() == "|O"
    with pytest.raises(UnsupportedError, match="zarr_format=2"):
        OBJECTS_AS_JSON.to_v3()


@pytest.mark.parametrize(
    "dtype",
    [
        np.dtype(object),
        np.dtype(np.longdouble),
        np.dtype(np.clongdouble),
        np.dtype("S0"),
        np.dtype("U0"),
        np.dtype("V0"),
        np.dtype("M8[0s]"),
        np.dtype([("a", object)]),
        np.dtype([("a", "i4", (2,))]),
        np.dtype([(("title", "a"), "i4")]),
    ],
    ids=str,
)
def test_dtypes_without_an_equivalent_are_refused(dtype: np.dtype[Any]) -> None:
    with pytest.raises(UnsupportedError, match="cannot be stored"):
        DataType.from_numpy(dtype)


@pytest.mark.parametrize(
    "dtype",
    [
        np.dtype([("a", "i1"), ("b", ">i4"), ("c", "U1")], align=True),
        np.dtype([("a", "i1"), ("b", np.dtype([("x", "i1"), ("y", "f8")], align=True))], align=True),
        np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 2]}),
    ],
    ids=str,
)
def test_fields_are_stored_one_right_behind_the_other(dtype: np.dtype[Any]) -> None:
    assert DataType.from_numpy(dtype).dtype == repack_fields(dtype, recurse=True)


@pytest.mark.parametrize(
    "document",
    [
        "float8_e4m3",
        "int4",
        "r0",
        "r12",
        "r99999999999",
        "numpy.datetime64",
        "<f4",
        "",
        {"name": "numpy.datetime64"},
        {"name": "numpy.datetime64", "configuration": {"unit": "B"}},
        {"name": "numpy.datetime64", "configuration": {"unit": []}},
        {"name": "numpy.datetime64", "configuration": {"unit": "s", "scale_factor": 0}},
        {"name": "numpy.datetime64", "configuration": {"unit": "s", "scale_factor": 2**40}},
        {"name": "null_terminated_bytes", "configuration": {"length_bytes": 0}},
        {"name": "null_terminated_bytes", "configuration": {"length_bytes": -1}},
        {"name": "null_terminated_bytes", "configuration": {"length_bytes": True}},
        {"name": "null_terminated_bytes", "configuration": {"length_bytes": "3"}},
        {"name": "null_terminated_bytes", "configuration": {"length_bytes": 2**31}},
        {"name": "fixed_length_utf32", "configuration": {"length_bytes": 6}},
        {"name": "fixed_length_utf32", "configuration": {}},
        {"name": "structured", "configuration": {"fields": []}},
        {"name": "structured", "configuration": {"fields": "ab"}},
        {"name": "structured", "configuration": {"fields": [["a", "string"]]}},
        {"name": "structured", "configuration": {"fields": [["a", "int8"], ["a", "int8"]]}},
        {"name": "structured", "configuration": {"fields": [["", "int8"]]}},
        {"name": "structured", "configuration": {"fields": [{"name": "a"}]}},
        {"name": "structured", "configuration": []},
        {"name": "unheard of", "configuration": {"a": 1}},
        {"name": 3},
        {},
        [],
        3,
        None,
    ],
    ids=str,
)
def test_wrong_data_types_of_v3_are_refused(document: Any) -> None:
    with pytest.raises(MetadataError):
        DataType.from_v3(document)


@pytest.mark.parametrize(
    "document",
    [
        "|O",
        "<i3",
        "<f16",
        "float32",
        "<U",
        "|S0",
        "|S99999999999",
        "<M8[X]",
        "<M8[0s]",
        "<i4,<i4",
        "(2,)<i4",
        "",
        [],
        [["a", "|O"]],
        [["a", "<i4", [2]]],
        [["a", "<i4"], ["a", "<i4"]],
        [["", "<i4"]],
        [["a"]],
        [3],
        {"names": ["a"]},
        3,
        None,
    ],
    ids=str,
)
def test_wrong_dtypes_of_v2_are_refused(document: Any) -> None:
    with pytest.raises(UnsupportedError):
        DataType.from_v2(document)


# ----------------------------------------------------------------------------------------- zarr-python

_FILLS: list[tuple[Any, list[Any]]] = [
    ("?", [False, True]),
    ("i1", [0, -128]),
    (">i4", [7, -(2**31)]),
    ("<u8", [2**64 - 1]),
    ("<f2", [0.5, np.nan]),
    (">f4", [np.nan, np.inf, -np.inf, -0.0, 0.1]),
    ("<f8", [np.nan, -np.inf, 1e300]),
    ("<c8", [1 - 2j, complex(np.nan, -np.inf)]),
    (">c16", [1e300j, complex(0, np.inf)]),
    ("S3", [b"", b"abc"]),
    ("<U4", ["", "añ\N{GRINNING FACE}"]),
    (">U4", ["b"]),
    ("V3", [b"\x00\xff\x01"]),
    ("<M8[ns]", [np.datetime64("NaT", "ns"), np.datetime64("2019-03-05T01:02:03.000000004", "ns")]),
    (">M8[D]", [np.datetime64("1969-12-31", "D")]),
    ("<m8[10us]", [np.timedelta64("NaT", "us"), np.timedelta64(-3, "10us")]),
    (_RECORD, [np.array((1, -2.5, b"xy", "2000-01-01"), _RECORD)[()]]),
    (_NESTED, [np.array(((1.5, 3), True), _NESTED)[()]]),
]
CASES = [(np.dtype(dtype), fill) for dtype, fills in _FILLS for fill in fills]


def _of_zarr(dtype: Any, fill: Any, zarr_format: Any) -> tuple[zarr.Array[Any], dict[str, Any]]:
    """An array of zarr-python, and its documents as `zarrds.metadata.formats.v2` or ``v3`` take them."""
    memory = zarr.storage.MemoryStore()
    zarr.create_array(memory, shape=(3,), chunks=(2,), dtype=dtype, zarr_format=zarr_format, fill_value=fill)
    array = zarr.open_array(memory, mode="r")  # v3 documents do not say all that the one just created knows
    raws = {key: json.loads(value.to_bytes()) for key, value in memory._store_dict.items()}
    return array, raws["zarr.json"] if zarr_format == 3 else raws


def _to_zarr(raw: dict[str, Any], zarr_format: int) -> zarr.Array[Any]:
    documents = v3.documents("", raw) if zarr_format == 3 else v2.documents("", raw)
    buffers = {key: zarr.core.buffer.cpu.Buffer.from_bytes(value) for key, value in documents.items()}
    return zarr.open_array(zarr.storage.MemoryStore(buffers), mode="r")


@pytest.mark.parametrize(
    ("zarr_format", "dtype", "fill"),
    # zarr-python cannot open v2 arrays of nested structured dtypes, not its own either
    [(f, dtype, fill) for f in (2, 3) for dtype, fill in CASES if f == 3 or dtype != _NESTED],
    ids=str,
)
def test_zarr_python_agrees_both_ways(dtype: np.dtype[Any], fill: Any, zarr_format: int) -> None:
    array, raw = _of_zarr(dtype, fill, zarr_format)
    module = v3 if zarr_format == 3 else v2
    node = module.parse(raw)
    assert isinstance(node, ArrayMetadata)
    assert node.data_type.dtype == (dtype if zarr_format == 2 else native(dtype))
    assert same(node.fill_value, array.fill_value)
    back = _to_zarr(module.to_raw(node), zarr_format)
    assert back.dtype == array.dtype
    assert same(back.fill_value, array.fill_value)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("fill", ["", "missing", "ä"])
def test_zarr_python_agrees_on_strings(fill: str, zarr_format: int) -> None:
    array, raw = _of_zarr("string", fill, zarr_format)
    module = v3 if zarr_format == 3 else v2
    node = module.parse(raw)
    assert node.data_type == STRING
    assert node.fill_value == fill
    back = _to_zarr(module.to_raw(node), zarr_format)
    assert (back.dtype, back.fill_value) == (array.dtype, array.fill_value)


@pytest.mark.parametrize("fill", [b"", b"\x00\xff"])
def test_zarr_python_agrees_on_bytes(fill: bytes) -> None:
    array, raw = _of_zarr("variable_length_bytes", fill, 3)
    node = v3.parse(raw)
    assert (node.data_type, node.fill_value) == (BYTES, fill)
    back = _to_zarr(v3.to_raw(node), 3)
    assert (back.dtype, back.fill_value) == (array.dtype, array.fill_value)


@pytest.mark.parametrize("text", ["0x7fc00001", "0xffffffff", "0x00000001"])
def test_zarr_python_agrees_on_hexadecimal_fill_values(text: str) -> None:
    _, raw = _of_zarr("<f4", 0, 3)
    node = v3.parse(raw | {"fill_value": text})
    assert _to_zarr(v3.to_raw(node), 3).fill_value.tobytes() == node.fill_value.tobytes()
    assert node.fill_value.tobytes()[::-1].hex() == text[2:]

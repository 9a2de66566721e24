"""Fill values in every form of both specifications; against zarr-python: test_dtypes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metadata.test_dtypes import FIXED_LENGTH, same, through_json
from zarrds.errors import MetadataError
from zarrds.metadata.dtypes import BYTES, OBJECTS_AS_JSON, STRING, DataType
from zarrds.metadata.fill_values import decode_fill_value, default_fill_value, encode_fill_value


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("bool", True, np.bool_(True)),
        ("bool", 0, np.bool_(False)),
        ("int8", -128, np.int8(-128)),
        ("int64", -(2**63), np.int64(-(2**63))),
        ("uint64", 2**64 - 1, np.uint64(2**64 - 1)),
        ("int32", 5.0, np.int32(5)),
        ("float16", "NaN", np.float16("nan")),
        ("float32", "Infinity", np.float32("inf")),
        ("float32", "-Infinity", np.float32("-inf")),
        ("float32", -0.0, np.float32(-0.0)),
        ("float32", 0.1, np.float32(0.1)),
        ("float64", 1, np.float64(1)),
        ("float64", float("nan"), np.float64("nan")),  # bare NaN, which Python's JSON reads and writes
        ("float32", "0x7fc00000", np.float32("nan")),
        ("float32", "0x7F800001", np.frombuffer(bytes.fromhex("0100807f"), "<f4")[0]),
        ("float16", "0x3c00", np.float16(1)),
        ("float64", "0xfff0000000000000", np.float64("-inf")),
        ("complex64", [1, "NaN"], np.array([1, np.nan], "f4").view("c8")[0]),
        ("complex128", ["-Infinity", "0x3ff0000000000000"], complex(-np.inf, 1)),
        ("complex64", 2.5, np.complex64(2.5)),
        ("numpy.datetime64[s]", "NaT", np.datetime64("NaT", "s")),
        ("numpy.datetime64[s]", 60, np.datetime64("1970-01-01T00:01", "s")),
        ("numpy.timedelta64[3h]", -2, np.timedelta64(-2, "3h")),
        ("string", "ä\N{GRINNING FACE}", "ä\N{GRINNING FACE}"),
        ("string", 0, ""),
        ("bytes", "AP8=", b"\x00\xff"),
        ("bytes", [1, 2], b"\x01\x02"),
        ("bytes", 0, b""),
        ("S4", "YWI=", np.bytes_(b"ab")),
        ("S4", "", np.bytes_(b"")),
        ("S4", 0, np.bytes_(b"")),
        ("U3", "añb", np.str_("añb")),
        ("U3", 0, np.str_("")),
        ("V2", "AQI=", np.void(b"\x01\x02")),
        ("V2", [1, 2], np.void(b"\x01\x02")),
        ("V2", 0, np.void(b"\x00\x00")),
        ("json", {"a": [1]}, {"a": [1]}),
    ],
)
def test_every_form_of_a_fill_value(name: str, value: Any, expected: Any) -> None:
    decoded = decode_fill_value(value, _named(name))
    assert same(decoded, expected) if name != "json" else decoded == expected
    for zarr_format in (2, 3):
        if not (zarr_format == 2 and isinstance(value, str) and value == "0x7F800001"):  # v2 has no NaNs but one
            encoded = through_json(encode_fill_value(decoded, _named(name), zarr_format=zarr_format))
            again = decode_fill_value(encoded, _named(name))
            assert same(again, decoded) if name != "json" else again == decoded


def _named(name: str) -> DataType:
    special = {"string": STRING, "bytes": BYTES, "json": OBJECTS_AS_JSON}
    return special.get(name) or DataType.from_numpy(np.dtype(name.removeprefix("numpy.")))


@pytest.mark.parametrize("name", ["bool", "f4", "string", "bytes", "json", "M8[s]", "V2"])
def test_null_is_no_fill_value(name: str) -> None:
    assert decode_fill_value(None, _named(name)) is None
    assert encode_fill_value(None, _named(name), zarr_format=2) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bool", 2),
        ("bool", "true"),
        ("bool", []),
        ("int8", 128),
        ("uint8", -1),
        ("int32", 1.5),
        ("int32", True),
        ("int32", "1"),
        ("int32", float("nan")),
        ("int32", float("inf")),
        ("int64", 10**400),
        ("float32", "nan"),
        ("float32", "0x7fc000"),
        ("float32", "0x7fc0000g"),
        ("float64", 10**400),
        ("float64", True),
        ("float64", [1.0]),
        ("complex64", [1]),
        ("complex64", [1, 2, 3]),
        ("complex64", "1+2j"),
        ("M8[s]", 1.5),
        ("M8[s]", True),
        ("M8[s]", "2000-01-01"),
        ("M8[s]", 2**63),
        ("M8[s]", {}),
        ("string", 1),
        ("string", False),
        ("string", ["a"]),
        ("bytes", 5),
        ("bytes", 10**12),  # not so many zeros
        ("bytes", {}),
        ("bytes", [256]),
        ("bytes", "not base64"),
        ("S2", "YWJj"),
        ("S2", {}),
        ("S2", "ä"),
        ("U2", "abc"),
        ("U2", 1),
        ("V2", "AQ=="),
        ("V2", 1),
    ],
)
def test_what_is_no_fill_value_is_refused(name: str, value: Any) -> None:
    with pytest.raises(MetadataError, match="not a fill value"):
        decode_fill_value(value, _named(name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bool", "yes"),
        ("int8", 300),
        ("int8", 1.5),
        ("int8", float("nan")),
        ("float32", "many"),
        ("float32", [1, 2]),
        ("M8[s]", "soon"),
        ("S2", b"abc"),
        ("U2", "abc"),
        ("V2", b"abc"),
        ("V2", 3),
        ("bytes", 5),
        ("bytes", "text"),
    ],
)
def test_values_that_do_not_fit_are_never_shortened(name: str, value: Any) -> None:
    with pytest.raises(MetadataError, match="not a fill value"):
        encode_fill_value(value, _named(name), zarr_format=3)


def test_fill_value_of_a_structured_dtype_may_be_a_tuple() -> None:
    data_type = DataType.from_numpy(np.dtype([("a", ">i4"), ("b", "S2")]))
    encoded = encode_fill_value((1, b"xy"), data_type, zarr_format=2)
    assert encoded == "AAAAAXh5"  # 00 00 00 01 78 79
    assert decode_fill_value(encoded, data_type).item() == (1, b"xy")


@pytest.mark.parametrize("dtype", FIXED_LENGTH, ids=str)
def test_default_fill_values_survive(dtype: np.dtype[Any]) -> None:
    data_type = DataType.from_numpy(dtype)
    default = default_fill_value(data_type)
    for zarr_format in (2, 3):
        encoded = through_json(encode_fill_value(default, data_type, zarr_format=zarr_format))
        assert same(decode_fill_value(encoded, data_type), default)


@given(st.binary(min_size=16, max_size=16), st.sampled_from("f2 f4 f8 c8 c16 i8 u8 M8[ns] m8[s] V16".split()))
def test_any_bits_survive_v3(bits: bytes, name: str) -> None:
    data_type = DataType.from_numpy(np.dtype(name))
    value = np.frombuffer(bits, data_type.dtype)[0]
    encoded = json.loads(json.dumps(encode_fill_value(value, data_type, zarr_format=3), allow_nan=False))
    assert decode_fill_value(encoded, data_type).tobytes() == value.tobytes()

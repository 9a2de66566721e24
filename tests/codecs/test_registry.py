"""The allow-list: what is not on it is refused by name, and settings are looked at."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.codecs.cases import CASES, Case, data_type
from zarrds.codecs.defaults import default_codecs, default_compressors, parse_codec
from zarrds.codecs.pipeline import build_pipeline
from zarrds.codecs.registry import KNOWN, kind
from zarrds.errors import EncodingError, MetadataError, UnsupportedError, ZarrdsError
from zarrds.metadata import formats
from zarrds.metadata.dtypes import DataType

BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
FORBIDDEN = [
    "pickle",
    "numcodecs.pickle",
    "numcodecs.pickles",
    "numcodecs.msgpack2",
    "numcodecs.categorize",
    "numcodecs.base64",
    "numcodecs.zfpy",
    "numcodecs.abc",
    "numcodecs.__init__",
    "numcodecs.zlib.Zlib",
    "numcodecs.",
    "os.system",
    "zarrds.codecs.blosc.Blosc",
    "../blosc",
    "BLOSC",
    "",
    "sharding",
]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_other_codecs_are_refused_by_name_in_v3(name: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        build_pipeline([BYTES, {"name": name}], (2,), data_type("<i4"))
    assert caught.value.codec == name
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", [n for n in FORBIDDEN if not n.startswith("numcodecs.")])
@pytest.mark.parametrize("place", ["compressor", "filters"])
def test_other_codecs_are_refused_by_name_in_v2(name: str, place: str) -> None:
    store = zarrds.MemoryStore()
    zarrds.create_array(store, shape=(2,), dtype="<i4", zarr_format=2, path="a")[...] = 1
    document = json.loads(bytes(store.get("a/.zarray") or b""))
    document[place] = {"id": name} if place == "compressor" else [{"id": name}]
    store.set("a/.zarray", json.dumps(document).encode())
    with pytest.raises(UnsupportedError) as caught:
        zarrds.open_array(store, path="a")[...]
    assert (caught.value.path, caught.value.key, caught.value.codec) == (store.path, "a", f"numcodecs.{name}")


def test_nothing_is_unpickled() -> None:
    store = zarrds.MemoryStore()
    zarrds.create_array(store, shape=(1,), dtype="string", zarr_format=2)
    document = json.loads(bytes(store.get(".zarray") or b""))
    store.set(".zarray", json.dumps(document | {"filters": [{"id": "pickle", "protocol": 5}]}).encode())
    with pytest.raises(UnsupportedError, match="pickle"):
        zarrds.open_array(store)


@pytest.mark.parametrize("order", [[], [BYTES, BYTES], [{"name": "crc32c"}], [{"name": "crc32c"}, BYTES]], ids=str)
def test_codecs_out_of_order(order: list[Any]) -> None:
    with pytest.raises(MetadataError):
        build_pipeline(order, (2,), data_type("<i4"))


def test_transpose_behind_the_serializer() -> None:
    with pytest.raises(MetadataError, match="wrong place"):
        build_pipeline([BYTES, {"name": "transpose", "configuration": {"order": [0]}}], (2,), data_type("<i4"))


@pytest.mark.parametrize(
    ("name", "configuration"),
    [
        ("bytes", {"endian": "middle"}),
        ("bytes", {"endian": []}),
        ("transpose", {}),
        ("transpose", {"order": [0, 1]}),
        ("transpose", {"order": ["0"]}),
        ("transpose", {"order": [False]}),
        ("transpose", {"order": [[0]]}),
        ("blosc", {"cname": "snappy"}),
        ("blosc", {"cname": []}),
        ("blosc", {"clevel": 10}),
        ("blosc", {"clevel": 5.0}),
        ("blosc", {"clevel": "5"}),
        ("blosc", {"shuffle": []}),
        ("blosc", {"shuffle": {}}),
        ("blosc", {"shuffle": 3}),
        ("blosc", {"typesize": -1}),
        ("blosc", {"typesize": 4.0}),
        ("blosc", {"blocksize": -1}),
        ("blosc", {"blocksize": 2**31}),
        ("blosc", {"blocksize": 64.0}),
        ("blosc", {"nthreads": 4}),
        ("gzip", {"level": 10}),
        ("gzip", {"level": "1"}),
        ("gzip", {"window": 3}),
        ("zstd", {"level": 100}),
        ("zstd", {"checksum": 3}),
        ("numcodecs.bz2", {"level": 0}),
        ("numcodecs.lz4", {"acceleration": 2**31}),
        ("numcodecs.lzma", {"format": 7}),
        ("numcodecs.lzma", {"preset": "x"}),
        ("numcodecs.lzma", {"preset": 10**30}),
        ("numcodecs.lzma", {"format": 3}),
        ("numcodecs.lzma", {"format": 3, "filters": [{"id": 10**6}]}),
        ("numcodecs.lzma", {"format": 3, "filters": 5}),
        ("numcodecs.shuffle", {"elementsize": 0}),
        ("numcodecs.shuffle", {"elementsize": "4"}),
        ("numcodecs.shuffle", {"elementsize": 2**40}),
        ("numcodecs.delta", {"dtype": "|O"}),
        ("numcodecs.delta", {"dtype": "O"}),
        ("numcodecs.delta", {"dtype": "<i4", "astype": "S4"}),
        ("numcodecs.delta", {"dtype": {"names": ["a"]}}),
        ("numcodecs.delta", {"dtype": "a9999999999999"}),
        ("numcodecs.quantize", {"digits": 2}),
        ("numcodecs.bitround", {"keepbits": -1}),
        ("numcodecs.bitround", {"keepbits": "many"}),
        ("numcodecs.astype", {}),
        ("numcodecs.fixedscaleoffset", {"scale": 1}),
        ("numcodecs.crc32", {"location": 3, "level": 1}),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(name: str, configuration: dict[str, Any]) -> None:
    me = {"name": name, "configuration": configuration}
    codecs = [me] if name == "bytes" else [me, BYTES] if kind(name) == "array_array" else [BYTES, me]
    with pytest.raises(MetadataError) as caught:
        # what only matters for encoding never stops a read, but is refused before anything is made with it
        build_pipeline(codecs, (2,), data_type("<i4")).check_encoding()
    assert caught.value.codec is not None
    assert caught.value.codec in name


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["<i4", "M8[s]", "|O"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
SETTINGS = sorted(
    {name for case in CASES for name in case.configuration} | {"astype", "preset", "filters", "prefix", "initval"}
)


@given(st.sampled_from(CASES), st.sampled_from(SETTINGS), JSON, st.booleans())
def test_any_settings_end_in_our_errors(case: Case, setting: str, value: Any, behind: bool) -> None:
    changed = Case(case.name, case.configuration | {setting: value}, case.dtypes)
    dtype = case.dtypes[0]
    array = np.zeros(4, data_type(dtype).dtype)
    if array.dtype.hasobject:
        array[:] = {"string": "a", "bytes": b"a", "json": 1}[dtype]
    try:
        pipeline = build_pipeline(changed.codecs(data_type(dtype), behind=behind), (4,), data_type(dtype))
        data = b"".join(bytes(part) for part in pipeline.encode(array))
        pipeline.decode(data)
    except ZarrdsError as error:
        str(error)


def test_deep_settings_end_in_our_errors() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    for name in sorted(KNOWN):
        me = {"name": name, "configuration": {"order": deep, "dtype": deep, "filters": deep}}
        with pytest.raises(MetadataError):
            build_pipeline([BYTES, me], (2,), data_type("<i4"))


# ------------------------------------------------------------------------------------- what users write


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"name": "zstd", "configuration": {"level": 3}}, {"name": "zstd", "configuration": {"level": 3}}),
        ({"name": "crc32c", "configuration": {}}, {"name": "crc32c"}),
        ({"id": "zlib", "level": np.int64(1)}, {"name": "numcodecs.zlib", "configuration": {"level": 1}}),
        ({"id": "gzip", "level": 1}, {"name": "gzip", "configuration": {"level": 1}}),
    ],
)
def test_codecs_as_json(written: Any, expected: Any) -> None:
    assert parse_codec(written) == expected


def test_codecs_as_objects_of_other_libraries() -> None:
    import numcodecs
    import zarr.codecs

    blosc = parse_codec(zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle", typesize=4))
    assert blosc["name"] == "blosc"
    assert (blosc["configuration"]["cname"], blosc["configuration"]["shuffle"]) == ("zstd", "bitshuffle")
    assert parse_codec(zarr.codecs.BytesCodec()) == BYTES
    old = parse_codec(numcodecs.Blosc(cname="lz4", clevel=1, shuffle=2))
    assert old == {
        "name": "blosc",
        "configuration": {"cname": "lz4", "clevel": 1, "shuffle": "bitshuffle", "blocksize": 0},
    }
    for codec in (blosc, old):
        build_pipeline([BYTES, codec], (4,), data_type("<i4"))


@pytest.mark.parametrize("written", [3, None, [], 1.5], ids=repr)
def test_what_is_no_codec(written: Any) -> None:
    with pytest.raises(EncodingError, match="not a codec"):
        parse_codec(written)


@pytest.mark.parametrize("dtype", ["?", "<i4", ">f8", "S3", "<U2", "V5", "<M8[s]", "string", "bytes", "S300"])
def test_default_codecs(dtype: str) -> None:
    v3 = default_codecs(data_type(dtype), formats.v3)
    v2 = default_codecs(data_type(dtype), formats.v2)
    assert [codec["name"] for codec in v3[1:]] == ["blosc", "crc32c"]
    assert v2 == v3[:-1]
    build_pipeline(v3, (3,), data_type(dtype))
    settings = default_compressors(data_type(dtype), formats.v3)[0]["configuration"]
    assert 1 <= settings["typesize"] <= 255


def test_default_codecs_of_structured_dtypes() -> None:
    parsed = DataType.from_numpy(np.dtype([("a", "<i4"), ("b", "S3")]))
    assert default_codecs(parsed, formats.v3)[1]["configuration"]["typesize"] == 7

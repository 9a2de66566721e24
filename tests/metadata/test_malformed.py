"""Documents that are wrong in every way: each ends in an error of zarrds that says where."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrds import MemoryStore, open_array, open_group
from zarrds.errors import MetadataError, StoreNotFoundError, UnsupportedError, ZarrdsError
from zarrds.metadata.fields import dump
from zarrds.metadata.formats.v3 import parse

V3_ARRAY: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [4],
    "data_type": {"name": "numpy.datetime64", "configuration": {"unit": "s", "scale_factor": 1}},
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": 0,
    "codecs": [
        {"name": "transpose", "configuration": {"order": [0]}},
        {"name": "numcodecs.delta", "configuration": {"dtype": "<M8[s]", "astype": "<m8[s]"}},
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 8}},
        {"name": "crc32c"},
    ],
    "dimension_names": ["x"],
    "attributes": {"units": "K"},
    "storage_transformers": [],
    "labels": {"must_understand": False},
}


def rectilinear(*axes: Any) -> dict[str, Any]:
    return {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": list(axes)}}


V3_STRUCTURED = V3_ARRAY | {
    "data_type": {
        "name": "structured",
        "configuration": {
            "fields": [["a", "int8"], ["b", {"name": "fixed_length_utf32", "configuration": {"length_bytes": 8}}]]
        },
    },
    "fill_value": "AQAAAAAAAAAA",
    "codecs": [
        {"name": "bytes", "configuration": {"endian": "little"}},
        {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
    ],
}
V3_SHARDED = V3_ARRAY | {
    "data_type": "float32",
    "fill_value": "NaN",
    "codecs": [
        {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": [1],
                "codecs": [
                    {"name": "scale_offset", "configuration": {"offset": 1, "scale": "0x3f800000"}},
                    {"name": "cast_value", "configuration": {"data_type": "int16", "rounding": "towards-zero"}},
                    {"name": "bytes", "configuration": {"endian": "big"}},
                    {"name": "gzip", "configuration": {"level": 1}},
                ],
                "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, "crc32c"],
                "index_location": "start",
            },
        }
    ],
}
V3_GROUP = {
    "zarr_format": 3,
    "node_type": "group",
    "attributes": {},
    "consolidated_metadata": {
        "kind": "inline",
        "must_understand": False,
        "metadata": {"a": V3_ARRAY, "s": V3_SHARDED, "g": {"zarr_format": 3, "node_type": "group"}},
    },
}
V2_ARRAY: dict[str, Any] = {
    "zarr_format": 2,
    "shape": [4],
    "chunks": [2],
    "dtype": [["a", "<f4"], ["b", "|S2"]],
    "fill_value": "AAAAAAAA",
    "order": "C",
    "filters": [{"id": "shuffle", "elementsize": 6}],
    "compressor": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
    "dimension_separator": ".",
    "_NCZARR_ARRAY": {"dimrefs": ["/x"]},
}
V2_STRINGS = V2_ARRAY | {"dtype": "|O", "filters": [{"id": "vlen-utf8"}], "fill_value": ""}
V2_CONSOLIDATED = {
    "zarr_consolidated_format": 1,
    "metadata": {
        ".zgroup": {"zarr_format": 2},
        ".zattrs": {},
        "a/.zarray": V2_ARRAY,
        "a/.zattrs": {"_ARRAY_DIMENSIONS": ["x"]},
        "g/.zgroup": {"zarr_format": 2},
    },
}
# what is mutated: the key of the document, and the other documents that the store holds
STORES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "v3 array": ("zarr.json", V3_ARRAY, {}),
    "v3 structured": ("zarr.json", V3_STRUCTURED, {}),
    "v3 sharded": ("zarr.json", V3_SHARDED, {}),
    "v3 group": ("zarr.json", V3_GROUP, {}),
    "v3 child": ("a/zarr.json", V3_ARRAY, {"zarr.json": {"zarr_format": 3, "node_type": "group"}}),
    "v2 array": (".zarray", V2_ARRAY, {".zattrs": {"_ARRAY_DIMENSIONS": ["x"]}}),
    "v2 strings": (".zarray", V2_STRINGS, {}),
    "v2 attributes": (".zattrs", {"_ARRAY_DIMENSIONS": ["x"], "units": "K"}, {".zarray": V2_ARRAY}),
    "v2 group": (".zgroup", {"zarr_format": 2}, {"a/.zarray": V2_ARRAY}),
    "v2 consolidated": (".zmetadata", V2_CONSOLIDATED, {".zgroup": {"zarr_format": 2}}),
}
ANYTHING: list[Any] = [None, True, False, -1, 0, 1, 2**31, 10**30, 1.5, float("nan"), float("inf"), "", "x", "../x"]
ANYTHING += [[], [[]], [-1], [0], ["x"], [None], {}, {"name": "x"}, {"id": "x"}, {"name": "x", "configuration": 3}]


def store_of(documents: dict[str, Any]) -> MemoryStore:
    store = MemoryStore()
    for key, document in documents.items():
        store.set(key, document if isinstance(document, bytes) else json.dumps(document).encode())
    return store


def visit(store: MemoryStore, *, as_array: bool) -> None:
    """Open what a store holds and read a bit of each array."""
    if as_array:
        arrays = [open_array(store)]
    else:
        group = open_group(store)
        group.tree()
        group._repr_html_()
        for _, child in group.groups():
            len(child.attrs)
        arrays = [array for _, array in group.arrays()]
    for array in arrays:
        len(array.attrs)
        repr(array)
        array[(slice(0, 1),) * array.ndim]


def errors(store: MemoryStore) -> list[ZarrdsError]:
    """What opening the store as an array and as a group raises; any error but ours is the test's failure."""
    raised: list[ZarrdsError] = []
    for as_array in (True, False):
        try:
            visit(store, as_array=as_array)
        except ZarrdsError as error:
            raised.append(error)
    for error in raised:
        str(error)
    return raised


def paths(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to every member of a document."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for name, value in items:
        yield (*path, name)
        yield from paths(value, (*path, name))


def changed(document: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    document = copy.deepcopy(document)
    holder = document
    for name in path[:-1]:
        holder = holder[name]
    change(holder, path[-1])
    return document


def remove(holder: Any, name: Any) -> None:
    del holder[name]


@pytest.mark.parametrize("name", STORES)
def test_the_documents_are_valid(name: str) -> None:
    key, document, others = STORES[name]
    (error,) = errors(store_of(others | {key: document}))  # each root is an array or a group
    assert error.problem.startswith("this is a")


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", STORES)
def test_each_member_missing_or_anything_else(name: str) -> None:
    key, document, others = STORES[name]
    for path in paths(document):
        errors(store_of(others | {key: changed(document, path, remove)}))
        for value in ANYTHING:

            def replace(holder: Any, member: Any, value: Any = value) -> None:
                holder[member] = value

            errors(store_of(others | {key: changed(document, path, replace)}))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["bytes", "|O", "S2"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("name id a configuration".split()), inner)
    ),
    max_leaves=6,
)


@given(st.data())
def test_random_mutations_end_in_our_errors(data: st.DataObject) -> None:
    key, document, others = STORES[data.draw(st.sampled_from(sorted(STORES)))]
    for _ in range(data.draw(st.integers(1, 3))):
        every = list(paths(document))
        if not every:
            return
        path = data.draw(st.sampled_from(every))
        if data.draw(st.booleans()):
            document = changed(document, path, remove)
        else:
            value = data.draw(JSON)

            def replace(holder: Any, name: Any, value: Any = value) -> None:
                holder[name] = value

            document = changed(document, path, replace)
    errors(store_of(others | {key: document}))


@given(st.sampled_from(sorted(STORES)), st.data())
def test_damaged_bytes_end_in_our_errors(name: str, data: st.DataObject) -> None:
    key, document, others = STORES[name]
    damaged = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    errors(store_of(others | {key: bytes(damaged)}))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b" ",
        b"{",
        b"{} {}",
        b"\xff\xfe\x00\xd8",
        b'{"zarr_format": "\xff"}',
        b"\x00",
        b"null",
        b"[]",
        b"3",
        b'"group"',
        b'{"zarr_format": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda value: repr(value[:24]),
)
@pytest.mark.parametrize("name", STORES)
def test_what_is_no_json_object_is_refused_by_path_and_key(name: str, damaged: bytes) -> None:
    key, _, others = STORES[name]
    store = store_of(others | {key: damaged})
    error = errors(store)[-1]  # of open_group
    assert isinstance(error, MetadataError)
    assert error.path == store.path
    assert error.key is not None
    assert error.key.startswith(key.rpartition("/")[0])


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", STORES)
def test_deep_documents_end_in_our_errors(name: str) -> None:
    key, document, others = STORES[name]
    top = list(document)
    # shallow enough for the parser, which recurses (much deeper from Python 3.13 on), and too deep for what looks at it
    for depth in (100, 700, 800, 850, 900, 920, 940, 960, 980, 3_000):
        for deep in ("[" * depth + "]" * depth, '{"name":' * depth + "1" + "}" * depth):
            for member in top:
                text = json.dumps(document | {member: "DEEP"}).replace('"DEEP"', deep)
                errors(store_of(others | {key: text.encode()}))
    nested = {"name": "structured", "configuration": {"fields": [["x", "DEEP"]]}}
    text = json.dumps(nested)
    for _ in range(80):
        text = text.replace('"DEEP"', json.dumps(nested))
    errors(store_of({"zarr.json": json.dumps(V3_ARRAY | {"data_type": "DEEPEST"}).replace('"DEEPEST"', text).encode()}))


# ------------------------------------------------------------------------------- what the errors say


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"zarr_format": 4}, UnsupportedError, "zarr_format"),
        ({"node_type": "table"}, MetadataError, "node_type"),
        ({"shape": "4"}, MetadataError, "'shape'"),
        ({"shape": [-1]}, MetadataError, "'shape'"),
        ({"shape": [True]}, MetadataError, "'shape'"),
        ({"shape": [2**63]}, MetadataError, "'shape'"),
        ({"data_type": "float13"}, UnsupportedError, "'float13'"),
        ({"data_type": 3}, MetadataError, "'data_type'"),
        ({"chunk_grid": {"name": "rectilinear", "configuration": {}}}, MetadataError, "'chunk_shapes'"),
        ({"chunk_grid": {"name": "rectilinear", "configuration": {"chunk_shapes": [2]}}}, UnsupportedError, "listed"),
        ({"chunk_grid": rectilinear([2, 2], [1])}, MetadataError, "do not fit the shape"),
        ({"chunk_grid": rectilinear([1, 2])}, MetadataError, "do not fit the shape"),
        ({"chunk_grid": rectilinear([])}, MetadataError, "do not fit the shape"),
        ({"chunk_grid": rectilinear([2**62, 2**62, 1])}, UnsupportedError, "longer than any array"),
        ({"chunk_grid": rectilinear([3, [1, 2**20]])}, UnsupportedError, "too many chunks"),
        ({"chunk_grid": rectilinear([3, [1, 2**60]])}, UnsupportedError, "too many chunks"),
        *(
            ({"chunk_grid": rectilinear(axis)}, MetadataError, "chunk_shapes are malformed")
            for axis in (
                0,
                -1,
                2**63,
                10**400,
                True,
                2.0,
                "4",
                None,
                {},
                [2, True],
                [2.0, 2],
                [0, 4],
                [4, -1],
                ["4"],
                [None],
                [[2]],
                [[2, 2, 2]],
                [[2, 0], 4],
                [[0, 2], 4],
                [[2, -1]],
                [[2, True]],
                [[2.0, 2]],
                [[[2], 2]],
                [4, [1, 2**63]],
                [4, 10**400],
                [{}],
            )
        ),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0]}}}, MetadataError, "'chunk_shape'"),
        ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1]}}}, MetadataError, "chunk_shape"),
        ({"chunk_grid": 3}, MetadataError, "chunk_grid"),
        ({"chunk_key_encoding": {"name": "hashed"}}, UnsupportedError, "'hashed'"),
        ({"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "-"}}}, MetadataError, "separator"),
        ({"fill_value": "zero"}, MetadataError, "fill value"),
        ({"codecs": None}, MetadataError, "'codecs'"),
        ({"codecs": [3]}, MetadataError, "codec"),
        ({"dimension_names": ["x", "y"]}, MetadataError, "dimension_names"),
        ({"dimension_names": [1]}, MetadataError, "dimension_names"),
        ({"attributes": []}, MetadataError, "'attributes'"),
        ({"storage_transformers": [{"name": "x"}]}, UnsupportedError, "storage transformers"),
        ({"unknown": 1}, UnsupportedError, "'unknown'"),
    ],
    ids=str,
)
def test_wrong_members_of_v3_are_named(change: dict[str, Any], kind: type[MetadataError], message: str) -> None:
    root = {"zarr_format": 3, "node_type": "group"}
    store = store_of({"zarr.json": root, "a/zarr.json": V3_ARRAY | change})
    with pytest.raises(kind, match=message) as caught:
        open_array(store, path="a")
    assert (caught.value.path, caught.value.key) == (store.path, "a")


@pytest.mark.parametrize(
    "member", ["node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs"]
)
def test_missing_members_of_v3_are_named(member: str) -> None:
    with pytest.raises(MetadataError, match=f"lacks the member '{member}'"):
        parse({name: value for name, value in V3_ARRAY.items() if name != member})


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"zarr_format": 3}, UnsupportedError, "zarr_format"),
        ({"shape": [4, 4]}, MetadataError, "'chunks'"),
        ({"chunks": [0]}, MetadataError, "'chunks'"),
        ({"chunks": [1.0]}, MetadataError, "'chunks'"),
        ({"dtype": "<q9"}, UnsupportedError, "'<q9'"),
        ({"dtype": "|O", "filters": [{"id": "pickle"}]}, UnsupportedError, "pickle"),
        ({"dtype": "|O", "filters": None}, UnsupportedError, "object codec"),
        ({"order": "K"}, MetadataError, "order"),
        ({"filters": "x"}, MetadataError, "filters"),
        ({"filters": [{"name": "x"}]}, MetadataError, "codec is malformed"),
        ({"compressor": []}, MetadataError, "codec is malformed"),
        ({"dimension_separator": "-"}, MetadataError, "dimension_separator"),
        ({"fill_value": "***"}, MetadataError, "fill value"),
    ],
    ids=str,
)
def test_wrong_members_of_v2_are_named(change: dict[str, Any], kind: type[MetadataError], message: str) -> None:
    store = store_of({".zgroup": {"zarr_format": 2}, "a/.zarray": V2_ARRAY | change})
    with pytest.raises(kind, match=message) as caught:
        open_array(store, path="a")
    assert (caught.value.path, caught.value.key) == (store.path, "a")


@pytest.mark.parametrize("member", ["zarr_format", "shape", "chunks", "dtype", "fill_value"])
def test_missing_members_of_v2_are_named(member: str) -> None:
    document = {name: value for name, value in V2_ARRAY.items() if name != member}
    with pytest.raises(MetadataError, match=f"lacks the member '{member}'"):
        open_array(store_of({".zarray": document}))


def test_long_findings_are_cut_short() -> None:
    with pytest.raises(MetadataError) as caught:
        parse(V3_ARRAY | {"shape": [-1] * 100_000})
    assert len(str(caught.value)) < 2000


def test_a_units_length_of_zero_is_refused() -> None:
    # NumPy makes the dtype and then divides by the zero, which ends the interpreter
    with pytest.raises(UnsupportedError, match="no length"):
        open_array(store_of({".zarray": V2_ARRAY | {"dtype": "<M8[0s]", "fill_value": 0}}))


def test_keys_of_consolidated_metadata_do_not_leave_the_store() -> None:
    outside = {"../outside/.zarray": V2_ARRAY, "/etc/.zarray": V2_ARRAY, "a//b/.zarray": V2_ARRAY}
    consolidated = {"zarr_consolidated_format": 1, "metadata": {".zgroup": {"zarr_format": 2}} | outside}
    group = open_group(store_of({".zgroup": {"zarr_format": 2}, ".zmetadata": consolidated}))
    for path in ("../outside", "..", "a//b"):
        with pytest.raises(ZarrdsError):
            group[path]


def test_nothing_at_all_is_no_store() -> None:
    assert [type(error) for error in errors(MemoryStore())] == [StoreNotFoundError] * 2


def test_dump_is_what_load_reads() -> None:
    assert json.loads(dump(V3_GROUP)) == V3_GROUP

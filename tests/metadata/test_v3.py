"""zarr.json documents <-> the model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from zarrds import MemoryStore
from zarrds.errors import MetadataError, UnsupportedError
from zarrds.metadata.extension import is_replaced
from zarrds.metadata.formats import v3
from zarrds.metadata.model import ArrayMetadata, ChunkKeyEncoding, GroupMetadata

GROUP: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "group",
    "attributes": {"title": "t", "nested": {"a": [1, None]}},
}
ARRAY: dict[str, Any] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [4, 5],
    "data_type": "float32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": "NaN",
    "codecs": [
        {"name": "bytes", "configuration": {"endian": "big"}},
        {"name": "gzip", "configuration": {"level": 1}},
        {"name": "crc32c"},
    ],
    "dimension_names": ["time", None],
    "attributes": {"units": "K"},
}


def test_a_document_survives() -> None:
    node = v3.parse(ARRAY)
    assert isinstance(node, ArrayMetadata)
    assert (node.shape, node.chunks, node.dimension_names) == ((4, 5), (2, 3), ("time", None))
    assert (node.data_type.dtype, np.isnan(node.fill_value)) == (np.dtype("f4"), True)
    assert node.codecs[0] == {"name": "bytes", "configuration": {"endian": "big"}}
    assert v3.to_raw(node) == ARRAY
    assert v3.to_raw(v3.parse(GROUP)) == GROUP


def test_names_stand_for_objects() -> None:
    short = ARRAY | {"codecs": ["bytes", "crc32c"], "chunk_key_encoding": "default"}
    node = v3.parse(short)
    assert isinstance(node, ArrayMetadata)
    assert node.codecs == ({"name": "bytes"}, {"name": "crc32c"})
    assert node.chunk_key_encoding == ChunkKeyEncoding("default", "/")


@pytest.mark.parametrize(
    "axes", [[[[2, 2]], [[5, 1]]], [[2, 2], [5]], [[2, [2, 1]], 5], [[[2, 2**60]], [[5, 2], 5]], [2, 5]]
)
def test_a_rectilinear_grid_of_equal_chunks_is_a_regular_one(axes: list[Any]) -> None:
    grid = {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": axes}}
    node = v3.parse(ARRAY | {"chunk_grid": grid})
    assert isinstance(node, ArrayMetadata)
    assert node.chunks == (2, 5)
    assert v3.to_raw(node)["chunk_grid"] == {"name": "regular", "configuration": {"chunk_shape": [2, 5]}}


@pytest.mark.parametrize(
    ("axes", "chunks", "counts"),
    [
        ([[1, 3], 5], (3, 5), (2, 1)),
        ([4, [[1, 2], 3]], (4, 3), (1, 3)),
        # the second chunk along the first dimension, and all behind it, lie outside of the array
        ([[4, 9, [7, 3]], [5]], (4, 5), (1, 1)),
        ([[1, 2, [1, 2]], [3, 4]], (2, 4), (3, 2)),
    ],
)
def test_rectilinear_grids_come_back_as_they_were(
    axes: list[Any], chunks: tuple[int, ...], counts: tuple[int, ...]
) -> None:
    grid = {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": axes}}
    node = v3.parse(ARRAY | {"chunk_grid": grid})
    assert isinstance(node, ArrayMetadata)
    assert (node.chunks, node.chunk_grid) == (chunks, counts)
    again = v3.parse(v3.to_raw(node))
    assert again == node
    assert v3.to_raw(node)["chunk_grid"]["name"] == "rectilinear"
    assert node != v3.parse(ARRAY | {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [*chunks]}}})


@pytest.mark.parametrize(
    ("axes", "is_another"),
    [
        ([[1, 2, 1], 5], False),
        ([[1, [2, 2]], 5], False),
        ([[1, 2, 1, 2], 5], False),
        ([[2, 2], 5], True),
        ([[1, 1, 2], 5], True),
        ([[1, 2, 1], 4], True),
    ],
)
def test_a_rectilinear_grid_that_has_grown_is_of_the_same_array(axes: list[Any], is_another: bool) -> None:
    def grid(shape: list[int], *axes: Any) -> ArrayMetadata:
        chunks = {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": list(axes)}}
        node = v3.parse(ARRAY | {"chunk_grid": chunks, "shape": shape})
        assert isinstance(node, ArrayMetadata)
        return node

    assert is_replaced(grid([3, 5], [1, 2], 5), grid([4, 5], *axes)) == is_another


def test_the_same_rectilinear_grid_is_written_in_runs() -> None:
    grid = {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": [[1, 1, [1, 2], 2], [5]]}}
    written = v3.to_raw(v3.parse(ARRAY | {"chunk_grid": grid}))["chunk_grid"]
    assert written["configuration"] == {"kind": "inline", "chunk_shapes": [[[1, 4], 2], 5]}


@pytest.mark.parametrize(
    ("encoding", "key", "scalar_key"),
    [
        ({"name": "default"}, "c/1/2", "c"),
        ({"name": "default", "configuration": {"separator": "."}}, "c.1.2", "c"),
        ({"name": "v2"}, "1.2", "0"),
        ({"name": "v2", "configuration": {"separator": "/"}}, "1/2", "0"),
    ],
)
def test_chunk_keys(encoding: dict[str, Any], key: str, scalar_key: str) -> None:
    node = v3.parse(ARRAY | {"chunk_key_encoding": encoding})
    assert isinstance(node, ArrayMetadata)
    assert node.chunk_key_encoding.key((1, 2)) == key
    assert node.chunk_key_encoding.key(()) == scalar_key


def test_members_that_need_not_be_understood_survive() -> None:
    unknown = {"labels": {"must_understand": False, "index": [1, {"a": None}]}}
    for document in (ARRAY, GROUP):
        node = v3.parse(document | unknown)
        assert node.extensions == unknown
        assert v3.to_raw(node) == document | unknown


@pytest.mark.parametrize("value", [{"must_understand": True}, {}, 1, None, [], {"must_understand": 0}])
@pytest.mark.parametrize("document", [ARRAY, GROUP], ids=["array", "group"])
def test_other_unknown_members_are_refused_by_name(document: dict[str, Any], value: Any) -> None:
    with pytest.raises(UnsupportedError, match="'frobnicate'"):
        v3.parse(document | {"frobnicate": value})


@pytest.mark.parametrize("transformers", [[], None])
def test_no_storage_transformers_are_fine(transformers: Any) -> None:
    assert isinstance(v3.parse(ARRAY | {"storage_transformers": transformers}), ArrayMetadata)


def test_chunks_of_no_length_serve_dimensions_of_no_length() -> None:
    grid = {"name": "regular", "configuration": {"chunk_shape": [0, 3]}}
    node = v3.parse(ARRAY | {"shape": [0, 5], "chunk_grid": grid})
    assert isinstance(node, ArrayMetadata)
    assert node.chunks == (1, 3)  # zarr-python writes such documents
    with pytest.raises(MetadataError, match="chunk_shape"):
        v3.parse(ARRAY | {"chunk_grid": grid})


def test_consolidated_metadata_cannot_replace_the_root() -> None:
    root = GROUP | {"consolidated_metadata": {"kind": "inline", "metadata": {"": ARRAY, "a": ARRAY}}}
    raws = v3.consolidated_in(root)
    assert raws is not None
    assert isinstance(v3.parse(raws[""]), GroupMetadata)
    assert raws["a"] == ARRAY


def test_attributes_that_are_no_text_survive() -> None:
    # half of a surrogate pair: JSON can say it, UTF-8 cannot
    store = MemoryStore()
    for attributes in ({"a": "\ud800"}, {"a": "ä", "b": 1.5}):
        for key, value in v3.documents("", GROUP | {"attributes": attributes}).items():
            store.set(key, value)
            value.decode("utf-8")
        raw = v3.load_raw(store, "")
        assert raw is not None
        assert raw["attributes"] == attributes


def test_documents_are_strictly_valid_json() -> None:
    bare = {"a": [float("nan"), {"b": float("inf")}], "c": -float("inf")}
    for value in v3.documents("", GROUP | {"attributes": bare}).values():
        found = json.loads(value, parse_constant=lambda text: pytest.fail(text))
        assert found["attributes"] == {"a": ["NaN", {"b": "Infinity"}], "c": "-Infinity"}


def test_documents_are_json_with_their_key() -> None:
    (key,) = v3.documents("a/b", GROUP)
    assert key == "a/b/zarr.json"
    assert json.loads(v3.documents("a/b", GROUP)[key]) == GROUP


@pytest.mark.parametrize(
    ("name", "value"),
    [("shape", [4.0, 5]), ("shape", [True, 5]), ("dimension_names", ["time", 1]), ("chunk_grid", {"name": "regular"})],
)
def test_what_equals_a_document_that_was_read_before_is_looked_at_all_the_same(name: str, value: Any) -> None:
    v3.parse(ARRAY | {"shape": [1, 5]})
    v3.parse(ARRAY)
    with pytest.raises(MetadataError):
        v3.parse(ARRAY | {name: value})


def test_documents_that_have_much_in_common() -> None:
    one, other = v3.parse(ARRAY), v3.parse(ARRAY | {"attributes": {"units": "m"}, "zarrds": {"must_understand": False}})
    assert isinstance(one, ArrayMetadata)
    assert isinstance(other, ArrayMetadata)
    assert (one.attributes, one.extensions) == ({"units": "K"}, {})
    assert (other.attributes, other.extensions) == ({"units": "m"}, {"zarrds": {"must_understand": False}})
    negative = v3.parse(ARRAY | {"fill_value": -0.0})
    positive = v3.parse(ARRAY | {"fill_value": 0.0})
    assert np.signbit(negative.fill_value)
    assert not np.signbit(positive.fill_value)


def test_what_is_changed_of_one_array_is_not_changed_of_others() -> None:
    """Documents are read anew, and each has codecs of its own."""
    read = [v3.parse(json.loads(json.dumps(ARRAY))) for _ in range(2)]
    for node in read:
        assert isinstance(node, ArrayMetadata)
        node.codecs[0].clear()  # type: ignore[attr-defined]  # types forbid it, Python does not
    node = v3.parse(ARRAY)
    assert isinstance(node, ArrayMetadata)
    assert [codec["name"] for codec in node.codecs] == [codec["name"] for codec in ARRAY["codecs"]]

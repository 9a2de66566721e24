"""Members of documents, of the kinds that are asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zarrds import MemoryStore
from zarrds.errors import MetadataError
from zarrds.metadata.fields import a_list, an_object, chunk_sizes, load, member, named_object, names_of, sizes

VALUES: list[Any] = [None, True, 3, 2.5, "a", [1], {"a": 1}]
KINDS: dict[Any, list[Any]] = {
    bool: [True],
    int: [3],
    float: [3, 2.5],
    str: ["a"],
    list: [[1]],
    dict: [{"a": 1}],
    (str, dict): ["a", {"a": 1}],
    object: VALUES,
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_member_is_of_its_kind(kind: Any) -> None:
    for value in VALUES:
        if any(value is each for each in KINDS[kind]) or (value in KINDS[kind] and type(value) is not bool):
            assert member({"m": value}, "m", kind) is value
        else:
            with pytest.raises(MetadataError, match=r"member 'm' .* wrong type"):
                member({"m": value}, "m", kind)


def test_a_member_that_is_not_there() -> None:
    assert member({}, "m", str, "default") == "default"
    with pytest.raises(MetadataError, match="lacks the member 'm'"):
        member({}, "m", str)


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_of_two_kinds(value: Any) -> None:
    for function, kind in ((an_object, dict), (a_list, list)):
        if isinstance(value, kind):
            assert function(value, "it") is value
        else:
            with pytest.raises(MetadataError, match="it is malformed"):
                function(value, "it")


def test_names_and_sizes() -> None:
    assert names_of(["x", None], 2) == ("x", None)
    for wrong in (None, "xy", ["x"], ["x", 1], ["x", True], {"x": 1, "y": 2}):
        assert names_of(wrong, 2) is None
    assert sizes({"m": [3, 0]}, "m") == (3, 0)
    for unsized in ([True], [1.0], [-1], [2**63], ["1"], [None], "3"):
        with pytest.raises(MetadataError, match="'m'"):
            sizes({"m": unsized}, "m")
    assert chunk_sizes({"m": [0, 2]}, "m", (0, 5)) == (1, 2)


def test_an_extension_point_has_a_name() -> None:
    assert named_object("zstd", "it") == ("zstd", {})
    assert named_object({"name": "zstd", "configuration": {"level": 1}}, "it") == ("zstd", {"level": 1})
    for wrong in (None, 3, [], {}, {"name": 3}, {"name": "zstd", "configuration": None}):
        with pytest.raises(MetadataError, match="it is malformed"):
            named_object(wrong, "it")


@pytest.mark.parametrize("deep", ["[" * 50_000 + "]" * 50_000, '{"a": ' * 50_000 + "1" + "}" * 50_000])
def test_what_no_call_could_look_at_is_no_document(deep: str) -> None:
    store = MemoryStore()
    store.set("zarr.json", f'{{"attributes": {deep}}}'.encode())
    with pytest.raises(MetadataError, match="not valid JSON"):
        load(store, "zarr.json")


def test_brackets_in_texts_are_no_depth() -> None:
    document = {"text": "[" * 5000, "many": [[i] for i in range(5000)], "deep": [[[[]]]]}
    store = MemoryStore()
    store.set("zarr.json", json.dumps(document).encode())
    assert load(store, "zarr.json") == document

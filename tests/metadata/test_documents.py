"""The nodes of whole stores, consolidated or not, against zarr-python both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from zarrds import MemoryStore, create_array, create_group, open_array
from zarrds.errors import MetadataError, NodeNotFoundError, StoreNotFoundError, UnsupportedError
from zarrds.metadata.formats import module_of, v2, v3
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node, ZarrFormat
from zarrds.metadata.nodes.documents import document_key, open_nodes, spec_there, walk
from zarrds.metadata.nodes.lookup import get_array, get_group, get_node
from zarrds.metadata.nodes.transaction import change_documents, put_node
from zarrds.metadata.nodes.written import documents_of_store, raws_of
from zarrds.storage.local.store import LocalStore

pytestmark = pytest.mark.filterwarnings("ignore")  # zarr-python's, on consolidated metadata of v3
FORMATS: tuple[ZarrFormat, ...] = (2, 3)
PATHS = ["", "outer", "outer/inner", "outer/inner/b", "a"]


def filled(store: Any, zarr_format: ZarrFormat) -> None:
    """The nodes of `PATHS`."""
    create_group(store, attributes={"title": "root"}, zarr_format=zarr_format)
    create_array(store, path="a", shape=(4,), dtype="f4", fill_value=np.nan, zarr_format=zarr_format)
    create_array(
        store, path="outer/inner/b", shape=(2, 3), dtype="i2", dimension_names=("x", "y"), zarr_format=zarr_format
    )


def consolidate(store: Any, nodes: dict[str, Node]) -> None:
    for key, value in documents_of_store(raws_of(nodes), nodes[""]).items():
        store.set(key, value)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_nodes_are_found_one_by_one(zarr_format: ZarrFormat) -> None:
    store = MemoryStore()
    filled(store, zarr_format)
    nodes = open_nodes(store)
    assert not nodes.consolidated
    assert (nodes.zarr_format, spec_there(store)) == (zarr_format, module_of(zarr_format))
    assert sorted(walk(nodes)) == sorted(PATHS)
    assert sorted(nodes.children("")) == ["a", "outer"]
    assert list(nodes.children("outer")) == ["inner"]
    with pytest.raises(MetadataError, match="no consolidated metadata"):
        open_nodes(store, consolidated=True)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_consolidated_metadata_says_the_same(zarr_format: ZarrFormat) -> None:
    store = MemoryStore()
    filled(store, zarr_format)
    before = walk(open_nodes(store))
    consolidate(store, before)
    nodes = open_nodes(store)
    assert nodes.consolidated
    after = walk(nodes)
    assert set(after) == set(PATHS)
    for path, node in after.items():
        assert repr(node) == repr(before[path])
    assert not open_nodes(store, consolidated=False).consolidated


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_zarr_python_reads_what_was_consolidated(tmp_path: Path, zarr_format: ZarrFormat) -> None:
    store = LocalStore(tmp_path / "z")
    filled(store, zarr_format)
    consolidate(store, walk(open_nodes(store)))
    group = zarr.open_consolidated(str(tmp_path / "z"), zarr_format=zarr_format)
    assert {path for path, _ in group.members(max_depth=None)} == set(PATHS) - {""}
    assert group["outer/inner/b"].shape == (2, 3)
    assert group.attrs["title"] == "root"
    assert np.isnan(group["a"].fill_value)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_what_zarr_python_consolidated_is_read(tmp_path: Path, zarr_format: ZarrFormat) -> None:
    path = str(tmp_path / "z")
    root = zarr.open_group(path, mode="w", zarr_format=zarr_format, attributes={"title": "root"})
    root.create_array("a", shape=(4,), dtype="f4", fill_value=-np.inf)
    inner = root.create_group("outer").create_group("inner", attributes={"deep": True})
    inner.create_array("b", shape=(2, 3), dtype="i2")
    apart = walk(open_nodes(LocalStore(path)))
    zarr.consolidate_metadata(path)
    nodes = open_nodes(LocalStore(path))
    assert nodes.consolidated
    together = walk(nodes)
    assert set(together) == set(PATHS)
    assert repr(sorted(together.items())) == repr(sorted(apart.items()))
    assert together["outer/inner"].attributes == {"deep": True}


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_changes_reach_consolidated_metadata(zarr_format: ZarrFormat) -> None:
    store = MemoryStore()
    filled(store, zarr_format)
    consolidate(store, walk(open_nodes(store)))
    put_node(store, "outer", GroupMetadata({"new": 1}, zarr_format=zarr_format))
    put_node(store, "", GroupMetadata({"title": "other"}, zarr_format=zarr_format))
    change_documents(store, {}, ["outer/inner"], like=module_of(zarr_format))
    for consolidated in (True, False):
        nodes = open_nodes(store, consolidated=consolidated)
        assert set(walk(nodes)) == {"", "outer", "a"}
        assert get_group(store, nodes, "outer").attributes == {"new": 1}
        assert get_group(store, nodes, "").attributes == {"title": "other"}
    assert not list(store.list_prefix("outer/inner"))


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_what_consolidated_metadata_does_not_name_is_not_there(zarr_format: ZarrFormat) -> None:
    store = MemoryStore()
    filled(store, zarr_format)
    nodes = walk(open_nodes(store))
    put_node(store, "late", nodes["a"])
    consolidate(store, nodes)
    assert open_nodes(store).get("late") is None
    assert open_nodes(store, consolidated=False).get("late") is not None


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_extensions_survive_consolidation(zarr_format: ZarrFormat) -> None:
    store = MemoryStore()
    filled(store, zarr_format)
    nodes: dict[str, Node] = walk(open_nodes(store))
    extension = {"zarrds": {"must_understand": False, "index": {"kind": "range"}}}
    array = nodes["a"]
    assert isinstance(array, ArrayMetadata)
    nodes["a"] = ArrayMetadata(
        array.shape, array.data_type, array.chunks, array.codecs, array.fill_value, array.chunk_key_encoding,
        extensions=extension, zarr_format=zarr_format,
    )  # fmt: skip
    consolidate(store, nodes)
    read = open_nodes(store).get("a")
    assert read is not None
    assert read.extensions == extension


def test_v3_is_read_where_both_formats_are() -> None:
    store = MemoryStore()
    filled(store, 2)
    store.set("zarr.json", json.dumps({"zarr_format": 3, "node_type": "group"}).encode())
    assert open_nodes(store).zarr_format == 3
    assert open_nodes(store, like=v2).zarr_format == 2
    assert (v3.root_key(consolidated=False), v2.root_key(consolidated=False)) == ("zarr.json", ".zgroup")
    assert (v3.root_key(consolidated=True), v2.root_key(consolidated=True)) == ("zarr.json", ".zmetadata")


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_wrong_paths_say_what_is_there(zarr_format: ZarrFormat) -> None:
    store = MemoryStore()
    filled(store, zarr_format)
    nodes = open_nodes(store)
    with pytest.raises(NodeNotFoundError, match="there is: a, outer") as caught:
        get_node(store, nodes, "temperature")
    assert (caught.value.path, caught.value.key) == (store.path, "temperature")
    with pytest.raises(NodeNotFoundError, match="a group, not an array"):
        get_array(store, nodes, "outer")
    with pytest.raises(NodeNotFoundError, match="an array, not a group"):
        get_group(store, nodes, "a")
    store.set(document_key("a", nodes), b"{}")
    with pytest.raises(NodeNotFoundError, match="there is: a, outer"):  # also what cannot be read
        get_node(store, open_nodes(store), "temperature")


def test_an_empty_store_is_no_store() -> None:
    store = MemoryStore()
    assert spec_there(store) is None
    with pytest.raises(StoreNotFoundError, match=r"zarr\.json"):
        open_nodes(store)
    with pytest.raises(StoreNotFoundError, match="v2"):
        open_nodes(store, like=v2)


def test_consolidated_metadata_of_another_kind_is_refused_and_can_be_passed_by() -> None:
    for zarr_format, key, document in [
        (3, "zarr.json", {"zarr_format": 3, "node_type": "group", "consolidated_metadata": {"kind": "remote"}}),
        (2, ".zmetadata", {"zarr_consolidated_format": 2, "metadata": {}}),
    ]:
        store = MemoryStore()
        create_group(store, zarr_format=3 if zarr_format == 3 else 2)
        store.set(key, json.dumps(document).encode())
        with pytest.raises(UnsupportedError, match="consolidated=False") as caught:
            open_nodes(store)
        assert (caught.value.path, caught.value.key) == (store.path, key)
        assert walk(open_nodes(store, consolidated=False)).keys() == {""}


def test_attributes_that_stay_are_not_written_again(tmp_path: Path) -> None:
    """Their document is another tool's as long as nothing changes in it; the array's own tells of every change."""
    array = create_array(tmp_path, shape=3, dtype="i4", attributes={"units": "m"}, zarr_format=2)
    (tmp_path / ".zattrs").write_text('{"units":    "m"}')
    own = array.identity()
    array.append([1])
    assert (tmp_path / ".zattrs").read_text() == '{"units":    "m"}'
    assert array.identity() != own
    array.attrs["units"] = "km"
    assert open_array(tmp_path).attrs == {"units": "km"}
    assert json.loads((tmp_path / ".zattrs").read_text()) == {"units": "km"}

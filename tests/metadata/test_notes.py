"""Where what zarrds notes lies in a store, and what is left of it when other tools have written there."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.samples import Counting, Format
from zarrds.metadata.extension import MEMBER, marks_of, note_of, with_note, without_notes
from zarrds.metadata.formats import v3
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node
from zarrds.metadata.nodes.documents import open_nodes, own_node
from zarrds.metadata.nodes.transaction import put_node
from zarrds.metadata.nodes.written import documents_of_change


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.zarr"


@pytest.fixture(params=[3, 2], ids=["v3", "v2"])
def zarr_format(request: pytest.FixtureRequest) -> Format:
    return request.param  # type: ignore[no-any-return]  # it is one of the two


def labelled() -> xr.Dataset:
    return xr.Dataset(
        {"v": ("time", np.arange(4)), "kind": ("n", pd.Categorical([*"abca"]))},
        {"time": pd.date_range("2000-01-01", periods=4, unit="s"), "span": pd.IntervalIndex.from_breaks([0, 1, 3])},
    )


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def arrays(path: Path) -> dict[str, ArrayMetadata]:
    nodes = open_nodes(zarrds.LocalStore(path))
    return {name: node for name, node in nodes.children("").items() if isinstance(node, ArrayMetadata)}


MEMBERS_OF_V3 = {
    "zarr_format",
    "node_type",
    "attributes",
    "shape",
    "data_type",
    "chunk_grid",
    "chunk_key_encoding",
    "codecs",
    "fill_value",
    "dimension_names",
}


def test_documents_hold_what_the_format_knows(path: Path) -> None:
    zarrds.save(xr.DataTree.from_dict({"/": labelled(), "/a/b": labelled()}), path)
    zarrds.create_array(path, path="a/plain", shape=4, dtype="i4")
    root = read(path / "zarr.json")
    consolidated = root.pop("consolidated_metadata")
    assert root.keys() <= MEMBERS_OF_V3
    assert consolidated.keys() == {"kind", "must_understand", "metadata", MEMBER}
    for name, copy in consolidated["metadata"].items():
        assert copy == read(path / name / "zarr.json")
        assert copy.keys() <= MEMBERS_OF_V3
        notes = path / name / ".zarrds/.zarrds.json"
        assert notes.exists() is (copy["node_type"] == "array")
        assert not notes.exists() or consolidated[MEMBER][name] == read(notes)


def test_one_document_is_read(zarr_format: Format) -> None:
    store = Counting()
    zarrds.save(labelled(), store, zarr_format=zarr_format)
    store.reads.clear()
    xr.open_dataset(store, engine="zarrds")
    documents = [key for key in store.reads if key.rpartition("/")[2].startswith((".z", "zarr"))]
    assert documents == (["zarr.json"] if zarr_format == 3 else ["zarr.json", ".zmetadata"])


@pytest.mark.parametrize("chunks", [(4, 4), (1, 1)], ids=["one folder", "folders"])
def test_beside_a_document_lie_chunks_alone(path: Path, chunks: tuple[int, int]) -> None:
    """Whoever takes what is not `zarr.json` for a chunk finds one, in whatever order a folder is read."""
    v = ("y", "x"), np.ones((40, 4))
    zarrds.save(labelled().assign(v=v, text=("x", np.arange(4.0))), path, encoding={"v": {"chunks": chunks}})
    zarrds.rename(path, {"text": "words"})
    zarrds.update_attrs(path, {"units": "1"}, "v")
    zarrds.save(xr.Dataset({"more": ("x", np.arange(4))}), path, mode="a")
    for name in arrays(path):
        beside = {file.name for file in (path / name).iterdir() if file.is_file()}
        assert {each for each in beside if not re.fullmatch(r"c(\.\d+)*", each)} == {"zarr.json"}
        assert read(path / name / ".zarrds/.zarrds.json")["id"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        assert {name for name, _ in zarr.open_group(path, use_consolidated=False).members()} == arrays(path).keys()
        assert set(xr.open_zarr(path, consolidated=False).variables) == arrays(path).keys()
        zarr.consolidate_metadata(path)


def appended(path: Path) -> None:
    more = xr.open_dataset(path, engine="zarr")[["v"]].drop_vars("span", errors="ignore").load()
    more["time"] = more.time + np.timedelta64(4, "D")
    for variable in more.variables.values():
        variable.encoding = {}
    more.to_zarr(path, append_dim="time")


def resized(path: Path) -> None:
    zarr.open_array(path / "v", mode="r+").resize((3,))
    zarr.open_array(path / "v", mode="r+").resize((4,))
    zarr.consolidate_metadata(path)


EDITS: list[Callable[[Path], Any]] = [
    zarr.consolidate_metadata,
    lambda path: zarr.open_group(path, mode="r+").attrs.update(k=1),
    lambda path: zarr.open_array(path / "kind", mode="r+").attrs.update(k=1),
    resized,
    appended,
]


@pytest.mark.parametrize("edit", EDITS)
def test_edits_of_other_tools(path: Path, edit: Callable[[Path], Any]) -> None:
    zarrds.save(labelled(), path)
    before = {name: marks_of(metadata).id for name, metadata in arrays(path).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # zarr-python warns of what it takes for no part of a hierarchy
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        edit(path)
    assert {name: marks_of(metadata).id for name, metadata in arrays(path).items()} == before
    for options in ({}, {"consolidated": False}):
        found = xr.open_dataset(path, engine="zarrds", **options)
        assert found.indexes["span"].dtype == "interval[int64, right]"
        assert found.time.dtype == "datetime64[s]"
    zarrds.update_attrs(path, {"title": "ours again"})
    assert read(path / "zarr.json")["consolidated_metadata"][MEMBER]["v"]["id"] == before["v"]


def test_stores_of_others_are_not_searched(path: Path) -> None:
    """The notes of some arrays are looked for: the first two and the last two labels, the last of each other kind."""
    names = [f"v{i:03}" for i in range(50)]
    labels = {"x": [1, 2, 3], **{name: [1] for name in "abcd"}}
    xr.Dataset({name: ("x", np.arange(3)) for name in names}, labels).to_zarr(path)
    store = Counting()
    for key, value in {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}.items():
        store.set(key, value)
    store.reads.clear()
    open_nodes(store).children("")
    assert sorted(store.reads) == [
        *(f"{name}/.zarrds/.zarrds.json" for name in ("a", "b", "d", "v049", "x")),
        "zarr.json",
    ]


@pytest.mark.parametrize("group", ["", "a/b"])
def test_stores_of_the_first_zarrds(path: Path, group: str) -> None:
    """The notes were members of the arrays' documents; they move with the next change."""
    zarrds.save(labelled(), path, group=group or None)
    root = read(path / "zarr.json")
    notes = root["consolidated_metadata"].pop(MEMBER)
    for name, note in notes.items():
        root["consolidated_metadata"]["metadata"][name][MEMBER] = note
        (path / name / ".zarrds/.zarrds.json").unlink()
        (path / name / "zarr.json").write_text(json.dumps(read(path / name / "zarr.json") | {MEMBER: note}))
    (path / "zarr.json").write_text(json.dumps(root))
    for options in ({}, {"consolidated": False}):
        xr.testing.assert_identical(
            xr.open_dataset(path, engine="zarrds", group=group or None, **options).load(), labelled()
        )
    assert zarrds.verify(path).ok
    zarrds.update_attrs(path, {"long_name": "moved"}, "v", group=group or None)
    v = f"{group}/v" if group else "v"
    assert MEMBER not in read(path / v / "zarr.json")
    assert read(path / v / ".zarrds/.zarrds.json") == notes[v]
    copies = read(path / "zarr.json")["consolidated_metadata"]
    assert copies[MEMBER] == notes
    assert not any(MEMBER in copy for copy in copies["metadata"].values())
    assert zarrds.verify(path).ok


@pytest.mark.parametrize(
    "junk", ["", "[]", "null", "{", "{}", '{"must_understand": true}', '{"id": "0f1e2d3c4b5a6978"}']
)
def test_malformed_notes_are_absent(path: Path, junk: str) -> None:
    zarrds.save(labelled()[["v"]], path)
    (path / "v/.zarrds/.zarrds.json").write_text(junk)
    node = own_node(zarrds.LocalStore(path), "v", v3)
    assert isinstance(node, ArrayMetadata)
    assert node.extensions == {}
    root = read(path / "zarr.json")
    root["consolidated_metadata"][MEMBER]["v"] = [junk]
    (path / "zarr.json").write_text(json.dumps(root))
    assert arrays(path)["v"].extensions == {}
    root["consolidated_metadata"][MEMBER] = junk
    (path / "zarr.json").write_text(json.dumps(root))
    np.testing.assert_array_equal(xr.open_dataset(path, engine="zarrds").v, np.arange(4))


def test_notes_of_groups(path: Path, zarr_format: Format) -> None:
    """They lie in the root's consolidated metadata, and zarr-python opens the groups."""
    zarrds.save(xr.DataTree.from_dict({"/": labelled()[["v"]], "/a": labelled()[["v"]]}), path, zarr_format=zarr_format)
    store = zarrds.LocalStore(path)
    nodes = open_nodes(store)
    for name in ("", "a"):
        group = nodes.get(name)
        assert isinstance(group, GroupMetadata)
        put_node(store, name, with_note(group, "attributes", {"k": name}))
    found: list[Node | None] = [open_nodes(store).get(name) for name in ("", "a")]
    assert [note_of(node, "attributes") if node else None for node in found] == [{"k": ""}, {"k": "a"}]
    assert all(without_notes(node).extensions == {} for node in found if isinstance(node, GroupMetadata))
    for consolidated in (True, False):
        group = zarr.open_group(path, mode="r", use_consolidated=consolidated)
        assert sorted(name for name, _ in group.members()) == ["a", "time", "v"] if zarr_format == 3 else group
        assert dict(group["a"].attrs) == {}
    assert zarrds.verify(path).ok
    # a save keeps them, and is no conflict
    zarrds.save(labelled()[["v"]].rename(v="w"), path, group="a", mode="a")
    node = open_nodes(store).get("a")
    assert node is not None
    assert note_of(node, "attributes") == {"k": "a"}


def test_notes_that_are_taken_back(path: Path) -> None:
    """What was noted of an array before is not found again beside it."""
    zarrds.save(labelled()[["v"]], path)
    store = zarrds.LocalStore(path)
    metadata = without_notes(arrays(path)["v"])
    # it is one of those that tell of the others' notes, and so has one that says nothing
    nothing = replace(metadata, extensions={MEMBER: {"must_understand": False}})
    _, root, old, _ = documents_of_change(store, {"v": metadata})
    for key, value in {**root, **old}.items():
        store.set(key, value)
    assert own_node(store, "v", v3) == nothing == arrays(path)["v"]
    zarrds.save(labelled()[["v"]], path, mode="w")
    put_node(store, "v", metadata)
    assert own_node(store, "v", v3) == nothing == arrays(path)["v"]

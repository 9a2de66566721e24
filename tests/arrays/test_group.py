from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import zarrds
from zarrds import LocalStore, MemoryStore, create_array, create_group, open_array, open_group
from zarrds.arrays.array import Array
from zarrds.arrays.group import Group
from zarrds.errors import (
    InvalidKeyError,
    MetadataError,
    NodeNotFoundError,
    StoreExistsError,
    StoreNotFoundError,
    UnsupportedError,
)

both_formats = pytest.mark.parametrize("zarr_format", [2, 3])


@both_formats
def test_missing_groups_above_are_made(tmp_path: Path, zarr_format: Any) -> None:
    create_array(tmp_path, path="/a/b/c/", shape=3, dtype="i4", zarr_format=zarr_format)
    create_group(tmp_path, path="a/d/e", zarr_format=zarr_format)
    root = open_group(tmp_path)
    for path in ("a", "a/b", "a/d", "a/d/e"):
        assert isinstance(root[path], Group)
    assert isinstance(root["a/b/c"], Array)
    peer = zarr.open_group(tmp_path, mode="r", zarr_format=zarr_format)
    assert sorted(path for path, _ in peer.members(max_depth=None)) == ["a", "a/b", "a/b/c", "a/d", "a/d/e"]


@both_formats
@pytest.mark.parametrize("consolidated", [False, True])
def test_reads_like_a_dict(tmp_path: Path, zarr_format: Any, consolidated: bool) -> None:
    group = create_group(tmp_path, zarr_format=zarr_format)
    array = group.create_array("x/a", shape=(2, 3), dtype="f4", dimension_names=("time", "y"))
    group.create_array("b", shape=(), dtype=str)
    group.create_group("x/y/z")
    if consolidated:
        zarr.consolidate_metadata(tmp_path, zarr_format=zarr_format)
        group = open_group(tmp_path)
    assert sorted(group) == ["b", "x"]
    assert len(group) == 2
    assert [name for name, _ in group.arrays()] == ["b"]
    assert [name for name, _ in group.groups()] == ["x"]
    for name in ("x", "x/a", "/x/a/", "x/y/z", "b"):
        assert name in group
    for name in ("a", "x/b", "x/y/a", "", "/", "..", "x/../b", "x//a", 5, None):
        assert name not in group
    child = group["x"]
    assert isinstance(child, Group)
    same = child["a"]
    assert isinstance(same, Array)
    assert (same.path, same.shape, same.dimension_names) == ("x/a", array.shape, ("time", "y"))
    assert child.path == "x"
    assert "x" in repr(child)
    assert str(tmp_path) in repr(child)
    tree = ["/", "├── b () string", "└── x/", "    ├── a (time: 2, y: 3) float32", "    └── y/", "        └── z/"]
    assert sorted(group.tree().replace("├", "└").splitlines()) == sorted(line.replace("├", "└") for line in tree)
    assert child.tree().splitlines()[0] == "/x"
    with pytest.raises(NodeNotFoundError, match="there is: b, x") as caught:
        group["nothing"]
    assert isinstance(caught.value, KeyError)
    assert (caught.value.path, caught.value.key) == (str(tmp_path), "nothing")
    for name in ("", "/", "..", "x/../b", "x\\a"):
        with pytest.raises(InvalidKeyError):
            group[name]


@pytest.mark.parametrize("name", ["", "/", "..", "../a", "a//b", "a\\b", "a\0"])
def test_malformed_names(tmp_path: Path, name: str) -> None:
    group = create_group(tmp_path / "s")
    inner = group.create_group("inner", attributes={"kept": 1})
    for where in (group, inner):
        with pytest.raises(InvalidKeyError):
            where.create_group(name, overwrite=True)
        with pytest.raises(InvalidKeyError):
            where.create_array(name, shape=1, dtype="i4", overwrite=True)
    assert list(open_group(tmp_path / "s")) == ["inner"]
    assert open_group(tmp_path / "s", path="inner").attrs == {"kept": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]


def test_new_members_are_seen_at_once() -> None:
    group = create_group(MemoryStore())
    child = group.create_group("x")
    child.create_array("a", shape=1, dtype="i4")
    assert "x/a" in group
    other = open_group(group.store, "r+")
    other.create_array("b", shape=1, dtype="i4")
    assert "b" in group
    assert sorted(group) == ["b", "x"]


# opening what is something else


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    for path in ("empty", "nothing", "file"):
        for opened in (open_group, open_array):
            with pytest.raises(StoreNotFoundError) as caught:
                opened(tmp_path / path)
            assert isinstance(caught.value, FileNotFoundError)
            assert caught.value.path == str(tmp_path / path)
    create_group(tmp_path / "s")
    for opened in (open_group, open_array):
        with pytest.raises(NodeNotFoundError):
            opened(tmp_path / "s", path="a/b")
        with pytest.raises(InvalidKeyError):
            opened(tmp_path / "s", path="../empty")


@both_formats
def test_array_in_the_place_of_a_group(zarr_format: Any) -> None:
    store = MemoryStore()
    group = create_group(store, zarr_format=zarr_format)
    array = group.create_array("a", shape=3, dtype="i4")
    array[...] = 7
    with pytest.raises(NodeNotFoundError, match="is an array, not a group") as caught:
        open_group(store, path="a")
    assert caught.value.key == "a"
    with pytest.raises(NodeNotFoundError, match="is a group, not an array"):
        open_array(store)
    before = sorted(store.list_prefix())
    for overwrite in (False, True):
        with pytest.raises(NodeNotFoundError, match="cannot hold other nodes"):
            create_array(store, path="a/b/c", shape=1, dtype="i4", zarr_format=zarr_format, overwrite=overwrite)
    with pytest.raises(NodeNotFoundError):
        group["a/b"]
    assert sorted(store.list_prefix()) == before
    root = MemoryStore()
    create_array(root, shape=3, dtype="i4", zarr_format=zarr_format)
    with pytest.raises(NodeNotFoundError, match="cannot hold"):
        create_group(root, path="g", zarr_format=zarr_format)
    with pytest.raises(NodeNotFoundError, match="is an array"):
        open_group(root)


# overwriting


@both_formats
def test_what_exists_is_kept_unless_overwritten(tmp_path: Path, zarr_format: Any) -> None:
    store = LocalStore(tmp_path)
    group = create_group(store, zarr_format=zarr_format)
    array = group.create_array("g/a", shape=4, dtype="i4", chunks=2, attributes={"x": 1})
    array[...] = 5
    before = {key: store.identity(key) for key in store.list_prefix()}
    for path in ("", "g", "g/a"):
        with pytest.raises(StoreExistsError, match="overwrite=True") as caught:
            create_array(store, path=path, shape=1, dtype="i4", zarr_format=zarr_format)
        assert caught.value.key == (path or "/")
        with pytest.raises(StoreExistsError, match="overwrite=True"):
            create_group(store, path=path, zarr_format=zarr_format)
    assert {key: store.identity(key) for key in store.list_prefix()} == before

    new = group.create_array("g/a", shape=4, dtype="i4", chunks=2, fill_value=-1, overwrite=True)
    assert new[...].tolist() == [-1] * 4
    assert new.attrs == {}
    group.create_array("g", shape=1, dtype="f4", overwrite=True)
    assert sorted(open_group(store)) == ["g"]
    assert open_array(store, path="g").shape == (1,)
    create_array(store, shape=(2, 2), dtype="i4", zarr_format=zarr_format, overwrite=True)
    assert open_array(store)[...].tolist() == [[0, 0], [0, 0]]
    assert not any(key.startswith("g") for key in store.list_prefix())


def test_other_format(tmp_path: Path) -> None:
    create_array(tmp_path, path="a", shape=2, dtype="i4")
    for overwrite in (False, True):
        with pytest.raises(StoreExistsError, match="zarr_format=3"):
            create_array(tmp_path, path="a", shape=2, dtype="i4", zarr_format=2, overwrite=overwrite)
    with pytest.raises(StoreExistsError, match="zarr_format=3"):
        create_group(tmp_path, zarr_format=2)
    group = create_group(tmp_path, zarr_format=2, overwrite=True)
    assert group.metadata.zarr_format == 2
    assert sorted(LocalStore(tmp_path).list_prefix()) == [".zattrs", ".zgroup"]


@both_formats
def test_refused_arguments_do_not_destroy_what_they_were_to_replace(zarr_format: Any) -> None:
    store = MemoryStore()
    create_array(store, path="a", shape=3, dtype="i4", zarr_format=zarr_format)[...] = 7
    before = {key: store.identity(key) for key in store.list_prefix()}
    no_such_order = {"name": "transpose", "configuration": {"order": [1, 0, 2]}}
    bad: list[dict[str, Any]] = [{"attributes": {"x": object()}}, {"codecs": [{"name": "nothing"}]}]
    if zarr_format == 2:
        bad.append({"shape": (1, 1, 1), "codecs": [no_such_order, {"name": "bytes"}]})
    for arguments in bad:
        with pytest.raises((MetadataError, ValueError)):
            create_array(
                store, path="a", **({"shape": 3, "dtype": "i4"} | arguments), zarr_format=zarr_format, overwrite=True
            )
    assert {key: store.identity(key) for key in store.list_prefix()} == before


@both_formats
def test_array_that_zarrds_cannot_read_is_one_nevertheless(tmp_path: Path, zarr_format: Any) -> None:
    name = "zarr.json" if zarr_format == 3 else ".zarray"
    create_array(tmp_path, path="a", shape=3, dtype="i4", zarr_format=zarr_format)
    document = (tmp_path / "a" / name).read_text().replace("int32", "int77").replace("<i4", "<i3")
    (tmp_path / "a" / name).write_text(document)
    with pytest.raises(UnsupportedError):
        open_array(tmp_path, path="a")
    with pytest.raises(StoreExistsError):
        create_array(tmp_path, path="a", shape=3, dtype="i4", zarr_format=zarr_format)
    assert (tmp_path / "a" / name).read_text() == document
    create_array(tmp_path, path="a", shape=3, dtype="i4", zarr_format=zarr_format, overwrite=True)
    assert open_array(tmp_path, path="a").shape == (3,)


@both_formats
def test_array_that_consolidated_metadata_does_not_name(tmp_path: Path, zarr_format: Any) -> None:
    create_group(tmp_path, zarr_format=zarr_format)
    zarr.consolidate_metadata(tmp_path, zarr_format=zarr_format)
    peer = zarr.create_array(
        tmp_path, name="a", shape=(3,), dtype="i4", fill_value=1, zarr_format=zarr_format, chunks=(3,)
    )
    peer[...] = 5
    assert "a" not in open_group(tmp_path)
    with pytest.raises(StoreExistsError):
        create_array(tmp_path, path="a", shape=3, dtype="i4", zarr_format=zarr_format)
    assert (np.asarray(zarr.open_array(tmp_path, path="a")[...]) == 5).all()


@both_formats
def test_chunks_of_an_array_that_is_no_more(zarr_format: Any) -> None:
    """What a process that died while it removed an array has left."""
    store = MemoryStore()
    create_array(store, path="g/a", shape=4, dtype="i4", chunks=2, zarr_format=zarr_format)[...] = 5
    store.delete("g/a/zarr.json" if zarr_format == 3 else "g/a/.zarray")
    with pytest.raises(StoreExistsError, match="chunks of an array without"):
        create_array(store, path="g/a", shape=4, dtype="i4", chunks=2, zarr_format=zarr_format)
    store.set("g/a/notes.txt", b"mine")
    array = create_array(store, path="g/a", shape=4, dtype="i4", chunks=2, zarr_format=zarr_format, overwrite=True)
    assert array[...].tolist() == [0] * 4
    assert store.get("g/a/notes.txt") == b"mine"
    store.delete("g/zarr.json" if zarr_format == 3 else "g/.zgroup")
    with pytest.raises(StoreExistsError, match="below"):
        create_array(store, path="g", shape=4, dtype="i4", zarr_format=zarr_format)
    create_group(store, path="g", zarr_format=zarr_format)
    assert open_array(store, path="g/a").shape == (4,)


@both_formats
def test_chunks_that_consolidated_metadata_does_not_name(zarr_format: Any) -> None:
    """What a process that died before the commit of a new array has left: they do not become the new one's."""
    store = MemoryStore()
    zarrds.save(xr.Dataset({"t2m": ("x", np.arange(3.0))}), store, zarr_format=zarr_format)
    left = ["pr/c/0", "pr/c/1"] if zarr_format == 3 else ["pr/0", "pr/1"]
    for key in left:
        store.set(key, b"left behind")
    array = open_group(store, "r+").create_array("pr", shape=4, dtype="i4", chunks=2)
    assert array[...].tolist() == [0] * 4
    assert not {*left} & {*store.list_prefix()}


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/thesis.txt").write_text("mine")
    create_array(tmp_path / "data", shape=3, dtype="i4")[...] = 1
    assert (tmp_path / "data/thesis.txt").read_text() == "mine"


def test_a_member_that_cannot_be_read_hides_no_other() -> None:
    store = MemoryStore()
    group = create_group(store)
    group.create_array("good", shape=3, dtype="i4")
    store.set("odd/zarr.json", (store.get("good/zarr.json") or b"").replace(b'"int32"', b'"int33"'))
    for opened in (open_group(store), open_group(store, "r+")):
        assert sorted(opened) == ["good", "odd"]
        assert len(opened) == 2
        assert "odd" in opened
        assert repr(opened).startswith("<zarrds.Group")
        assert "odd (cannot be read)" in opened.tree()
        assert opened["good"].shape == (3,)
        with pytest.raises(UnsupportedError, match="int33"):
            opened["odd"]

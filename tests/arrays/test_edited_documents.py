"""Documents that edits write: attributes, consolidated metadata, and what another library changed beside them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from zarrds import MemoryStore, create_array, create_group, open_array, open_group
from zarrds.arrays.array import Array
from zarrds.arrays.group import Group
from zarrds.errors import EncodingError


def test_two_views_of_the_attributes() -> None:
    store = MemoryStore()
    array = create_array(store, shape=3, dtype="i4")
    one, other = array.attrs, array.attrs
    one["a"] = 1
    other["b"] = 2
    assert dict(one) == dict(other) == open_array(store).attrs == {"a": 1, "b": 2}
    group = create_group(MemoryStore())
    first, second = open_group(group.store, "r+"), open_group(group.store, "r+")
    first.attrs["a"] = 1
    second.attrs["b"] = 2
    assert open_group(group.store).attrs == {"a": 1, "b": 2}


@pytest.mark.parametrize("consolidated", [False, True])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_another_object_does_not_undo_an_append(tmp_path: Path, zarr_format: Any, consolidated: bool) -> None:
    create_array(tmp_path, path="a", shape=2, dtype="i4", zarr_format=zarr_format)[...] = 1
    if consolidated:
        zarr.consolidate_metadata(tmp_path, zarr_format=zarr_format)
    group = open_group(tmp_path, "r+")

    def array() -> Array:
        child = group["a"]
        assert isinstance(child, Array)
        return child

    before = array()
    array().append([2])
    array().append([3])
    before.attrs["units"] = "K"
    assert array()[...].tolist() == open_array(tmp_path, path="a")[...].tolist() == [1, 1, 2, 3]
    assert array().attrs == {"units": "K"}


def test_attributes_are_a_mapping() -> None:
    store = MemoryStore()
    values = {"a": 1, "b": [None, True, {"ü": 1.5}], "c": "x"}
    for node in (
        create_group(store, attributes=values),
        create_array(store, path="a", shape=3, dtype="i4", attributes=values),
    ):
        attrs = node.attrs
        assert (dict(attrs), len(attrs), list(attrs)) == (values, 3, ["a", "b", "c"])
        assert repr(attrs) == f"Attributes({values!r})"
        assert attrs.pop("a") == 1
        assert attrs.pop("a", 7) == 7
        assert attrs.setdefault("d", 2) == 2
        attrs.update({"e": 3}, f=4)
        attrs.update([("g", 5)])
        assert dict(node.attrs) == {"b": values["b"], "c": "x", "d": 2, "e": 3, "f": 4, "g": 5}
        key = "a/zarr.json" if isinstance(node, Array) else "zarr.json"
        before = store.identity(key)
        assert before is not None
        attrs.clear()
        after = store.identity(key)
        assert after is not None
        assert dict(attrs) == dict(node.attrs) == {}
        with pytest.raises(KeyError):
            attrs["a"]


@pytest.mark.parametrize("value", [object(), np.datetime64(1, "s"), np.complex64(1), {1, 2}, b"a", 1j, [object()]])
def test_attributes_that_are_not_json(value: Any) -> None:
    store = MemoryStore()
    array = create_array(store, shape=3, dtype="i4", attributes={"ok": 1})
    before = store.identity("zarr.json")
    with pytest.raises(EncodingError, match="'bad'"):
        array.attrs["bad"] = value
    with pytest.raises(EncodingError, match="'bad'"):
        array.attrs.update(good=1, bad=value)
    with pytest.raises(EncodingError, match="5"):
        array.attrs[5] = 1  # type: ignore[index]  # on purpose
    assert (store.identity("zarr.json"), dict(array.attrs)) == (before, {"ok": 1})
    other = MemoryStore()
    with pytest.raises(EncodingError, match="'bad'"):
        create_array(other, shape=3, dtype="i4", attributes={"bad": value})
    with pytest.raises(EncodingError, match="'bad'"):
        create_group(other, attributes={"bad": value})
    assert list(other.list_prefix()) == []


# consolidated metadata


def consolidated_views(folder: Path, zarr_format: Any) -> list[dict[str, Any]]:
    """What each library says is there: by consolidated metadata, and without it."""
    views = []
    for use in (True, False):
        peer = zarr.open_group(folder, mode="r", zarr_format=zarr_format, use_consolidated=use)
        views.append({path: (getattr(n, "shape", None), dict(n.attrs)) for path, n in peer.members(max_depth=None)})
    view: dict[str, Any] = {}

    def walk(group: Group) -> None:
        for name, child in [*group.arrays(), *group.groups()]:
            shape = child.shape if isinstance(child, Array) else None
            attributes = dict(child.attrs)
            view[f"{group.path}/{name}".lstrip("/")] = (shape, attributes)
            if isinstance(child, Group):
                walk(child)

    walk(open_group(folder))
    return [*views, view]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_consolidated_metadata_keeps_step(tmp_path: Path, zarr_format: Any) -> None:
    group = create_group(tmp_path, zarr_format=zarr_format, attributes={"title": "x"})
    a = group.create_array("g/a", shape=(4, 2), dtype="f4", chunks=2, dimension_names=("x", "y"))
    group.create_array("g/b", shape=3, dtype="i2")
    group.create_group("h/i", attributes={"deep": True})
    zarr.consolidate_metadata(tmp_path, zarr_format=zarr_format)
    group = open_group(tmp_path, "r+")
    paths = {"g", "g/a", "g/b", "h", "h/i"}

    def check() -> dict[str, Any]:
        one, two, ours = consolidated_views(tmp_path, zarr_format)
        for view in (one, two):  # an attribute only in v2, and zarrds takes it away
            for _, attributes in view.values():
                attributes.pop("_ARRAY_DIMENSIONS", None)
        assert one == two == ours
        assert set(ours) == paths
        return ours

    check()
    a.append(np.ones((1, 2)))
    assert check()["g/a"] == ((5, 2), {})
    a.attrs["units"] = "K"
    assert check()["g/a"] == ((5, 2), {"units": "K"})
    a.resize((2, 9))
    assert check()["g/a"] == ((2, 9), {"units": "K"})
    group.create_array("new/c", shape=7, dtype="i4")
    paths |= {"new", "new/c"}
    assert check()["new/c"] == ((7,), {})
    child = group["h/i"]
    assert isinstance(child, Group)
    child.attrs.update(deep=False)
    child.create_array("j", shape=(), dtype="?")
    paths |= {"h/i/j"}
    assert check()["h/i"] == (None, {"deep": False})
    group.create_group("g", overwrite=True)
    paths -= {"g/a", "g/b"}
    check()
    group.attrs["title"] = "y"
    check()
    for use in (True, False):
        assert zarr.open_group(tmp_path, mode="r", use_consolidated=use).attrs["title"] == "y"
    create_group(tmp_path, zarr_format=zarr_format, overwrite=True)
    assert list(open_group(tmp_path)) == []
    with pytest.raises(ValueError, match=r"onsolidated|\.zmetadata"):
        zarr.open_group(tmp_path, mode="r", zarr_format=zarr_format, use_consolidated=True)


def test_attributes_of_numpy_and_copies() -> None:
    given = {"list": [1, 2]}
    array = create_array(MemoryStore(), shape=3, dtype="i4", attributes=given)
    given["list"].append(3)
    array.attrs["list"].append(3)
    array.attrs.update(scalar=np.float32(0.5), flags=np.array([True, False]))
    assert dict(array.attrs) == {"list": [1, 2], "scalar": 0.5, "flags": [True, False]}


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_edits_keep_what_another_library_changed(tmp_path: Path, zarr_format: Any) -> None:
    """Its consolidated metadata is then stale: the array's own document counts."""
    path = tmp_path / "a.zarr"
    create_array(path, path="v", shape=6, dtype="i4", chunks=2, zarr_format=zarr_format)[...] = np.arange(6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr-python: consolidated metadata is in no specification of v3
        zarr.consolidate_metadata(path, zarr_format=zarr_format)
    for edit in (
        lambda a: a.append(np.array([7], "i4")),
        lambda a: a.attrs.update(u=1),
        lambda a: a.resize(a.shape[0] + 1),
    ):
        theirs = zarr.open_array(path, path="v", mode="r+")
        theirs.append(np.array([100, 101], "i4"))
        theirs.attrs["theirs"] = 1
        before = theirs[...]
        ours = open_array(path, "r+", path="v")
        edit(ours)
        np.testing.assert_array_equal(ours[: before.size], before)
        assert ours.attrs["theirs"] == 1

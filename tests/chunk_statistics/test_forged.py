"""Statistics that others damaged, forged, or made stale: never a wrong answer, and never a crash."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrds
from zarrds.chunk_statistics.record import statistics_path
from zarrds.engine.elements import Elements
from zarrds.errors import ZarrdsError
from zarrds.metadata.hidden import hidden_array

N = 10
QUERIES = ("v == 0", "v < w", "w >= 2 and v != 1")


def saved(values: Any, others: Any, zarr_format: Any) -> Any:
    """Few different values, and a chunk at the edge that may be stored as a whole one is."""
    store = zarrds.MemoryStore()
    ds = xr.Dataset({"v": ("x", values), "w": ("x", others)})
    ds.v.encoding["_FillValue"] = None
    zarrds.save(ds, store, statistics=True, encoding={name: {"chunks": (4,)} for name in "vw"}, zarr_format=zarr_format)
    return store


def check(store: Any) -> None:
    ds = xr.open_dataset(store, engine="zarrds").load()
    v, w = ds.v.values, ds.w.values
    with np.errstate(all="ignore"):
        expected = (v == 0, v < w, (w >= 2) & (v != 1))
    for query, mask in zip(QUERIES, expected, strict=True):
        assert zarrds.find(store, query).x_index.values.tolist() == np.flatnonzero(mask).tolist()
    assert zarrds.find(store, QUERIES[-1], count=True) == expected[-1].sum()
    for name, values in (("v", v), ("w", w)):
        there = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        assert int(zarrds.aggregate(store, name, "count")) == there.size
        if there.size:
            assert zarrds.aggregate(store, name, "min") == there.min()
            assert zarrds.aggregate(store, name, "max") == there.max()
        found = zarrds.statistics(store, name).load()
        for i in np.flatnonzero(found.known.values):
            assert int(found["count"][i]) == np.count_nonzero(~np.isnan(values[4 * i : 4 * i + 4]))


FIELDS = ("known", "crc32c", "count", "sum", "min", "max", "check")
VALUES = [0, 1, -1, 2, 3, 4, 77, 2**31, 2**62, float("nan"), float("inf")]
MEMBERS: list[tuple[tuple[Any, ...], Any]] = [
    (("shape",), [2**40]),
    (("shape",), [1]),
    (("shape",), [-3]),
    (("chunk_grid", "configuration", "chunk_shape"), [2**40]),
    (("chunk_grid", "configuration", "chunk_shape"), [1]),
    (("data_type",), "float32"),
    (("data_type", "configuration", "fields", 4, 1), "int16"),
    (("data_type", "configuration", "fields", 4, 0), "low"),
    (("data_type", "configuration", "fields"), []),
    (("fill_value",), "AAAA"),
    (("codecs",), []),
    (("codecs",), [{"name": "bytes", "configuration": {"endian": "big"}}]),
    (("attributes", "statistics_of", "shape"), [12]),
    (("attributes", "statistics_of", "shape"), [2**61]),
    (("attributes", "statistics_of", "chunks"), [2]),
    (("attributes", "statistics_of", "codecs"), None),
    (("attributes", "statistics_of"), "all"),
    (("attributes",), {}),
    (("node_type",), "group"),
]


@st.composite
def edits(draw: st.DrawFn) -> tuple[Any, ...]:
    how = draw(st.sampled_from(["field", "copy", "swap", "doc", "bytes", "gone", "other", "chunk"]))
    name = draw(st.sampled_from("vw"))
    one, other = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    if how == "field":
        return how, name, one, draw(st.sampled_from(FIELDS)), draw(st.sampled_from(VALUES))
    if how == "doc":
        return how, name, draw(st.sampled_from(MEMBERS))
    if how == "bytes":
        return how, name, draw(st.integers(0, 400)), draw(st.integers(0, 255))
    return how, name, one, other


def edit(store: Any, how: str, name: str, *more: Any) -> None:
    """What another tool does to the hidden array, or below it."""
    where = statistics_path(name)
    keys = [key for key in store.list_prefix(where) if "/c/" in key]
    if how in ("field", "copy", "swap"):
        try:
            hidden = hidden_array(store, where)
            rows = None if hidden is None else Elements(store, where, hidden).read(...)
        except ZarrdsError:
            return
        if hidden is None or rows is None or rows.shape != (3,) or rows.dtype.names != FIELDS:
            return
        if how == "field":
            at, field, value = more
            with np.errstate(all="ignore"):
                rows[field][at] = np.array([value], float).astype(rows.dtype[field])[0]
        else:
            one, other = more
            rows[one], rows[other] = rows[other].copy(), (rows[one] if how == "swap" else rows[other]).copy()
        Elements(store, where, hidden).write(..., rows)
    elif how == "doc":
        ((path, value),) = more
        raw = json.loads(bytes(store.get(f"{where}/zarr.json") or b"{}"))
        inside: Any = raw
        try:
            for each in path[:-1]:
                inside = inside[each]
            inside[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            return
        store.set(f"{where}/zarr.json", json.dumps(raw).encode())
    elif how == "bytes":
        at, byte = more
        for key in keys:
            raw_bytes = bytearray(store.get(key))
            raw_bytes[at % len(raw_bytes)] = byte
            store.set(key, bytes(raw_bytes))
    elif how == "gone":
        for key in keys:
            store.delete(key)
    elif how == "other":
        source = statistics_path("w" if name == "v" else "v")
        for key in list(store.list_prefix(source)):
            store.set(where + key.removeprefix(source), bytes(store.get(key)))
    elif how == "chunk":
        prefix = f"{name}/c." if store.get(f"{name}/c.0") is not None else f"{name}/"
        one, other = more
        if store.get(f"{prefix}{one}") is not None:
            store.set(f"{prefix}{other}", bytes(store.get(f"{prefix}{one}")))


values = st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0, 3.0, np.nan]), min_size=N, max_size=N).map(np.array)
integers = st.lists(st.sampled_from([0, 0, 1, 2, 3]), min_size=N, max_size=N).map(lambda few: np.array(few, "i2"))


def attacked(data: Any, zarr_format: Any, attacks: list[tuple[Any, ...]], then: str) -> None:
    store = saved(data[0], data[1], zarr_format)
    for attack in attacks:
        edit(store, *attack)
    check(store)
    # whoever writes next makes of it what is right again
    if then == "append":
        zarrds.save(
            xr.Dataset({name: ("x", values[:3]) for name, values in zip("vw", data, strict=True)}),
            store,
            append_dim="x",
        )
    elif then == "region":
        more = xr.Dataset({name: ("x", values[:5]) for name, values in zip("vw", data, strict=True)})
        zarrds.save(more, store, region={"x": slice(2, 7)})
    elif then == "elements":
        zarrds.open_array(store, mode="r+", path="v")[3:9] = 3
    else:
        zarrds.index(store)
        assert zarrds.statistics(store, "v").known.all()
    check(store)
    assert zarrds.verify(store).ok


THEN = st.sampled_from(["append", "region", "elements", "index"])


@settings(max_examples=4, deadline=None)
@given(st.tuples(values, integers), st.sampled_from([2, 3]), st.lists(edits(), min_size=1, max_size=4), THEN)
def test_any_edits(data: Any, zarr_format: Any, attacks: list[tuple[Any, ...]], then: str) -> None:
    attacked(data, zarr_format, attacks, then)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.tuples(values, integers), st.sampled_from([2, 3]), st.lists(edits(), min_size=1, max_size=6), THEN)
def test_any_edits_many(data: Any, zarr_format: Any, attacks: list[tuple[Any, ...]], then: str) -> None:
    attacked(data, zarr_format, attacks, then)


def test_members_of_the_document() -> None:
    data = np.array([0.0, 1, 2, 3, 0, 1, 2, 3, 0, 1]), np.arange(N, dtype="i2")
    for member in MEMBERS[::6]:
        attacked(data, 3, [("doc", "v", member)], "elements")


@pytest.mark.slow
@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: "-".join(map(str, member[0])))
def test_every_member_of_the_document(member: Any) -> None:
    data = np.array([0.0, 1, 2, 3, 0, 1, 2, 3, 0, 1]), np.arange(N, dtype="i2")
    attacked(data, 3, [("doc", "v", member)], "index")


@pytest.mark.parametrize(("one", "other"), [(0, 2), (2, 0)])
def test_a_row_of_a_chunk_that_is_stored_alike(one: int, other: int) -> None:
    """The chunk at the edge is padded with zeros, which do not count; of the one that is stored like it all counts."""
    store = saved(np.zeros(N), np.array([5, 5, 0, 0, 1, 1, 1, 1, 5, 5], "i2"), 3)
    first, last = (store.get(f"w/c.{n}") for n in (0, 2))
    assert bytes(first) == bytes(last)
    edit(store, "copy", "w", one, other)
    check(store)


@pytest.mark.skipif(sys.platform == "win32", reason="making links needs a privilege there")
@pytest.mark.parametrize("link", ["statistics", ".zarrds", "chunk", "document", "loop"])
def test_links_lead_nowhere(tmp_path: Path, link: str) -> None:
    for name, high in (("a.zarr", 9.0), ("b.zarr", 3.0)):
        ds = xr.Dataset({"v": ("x", np.linspace(0, high, N)), "w": ("x", np.arange(N))})
        zarrds.save(ds, tmp_path / name, statistics=True, encoding={"v": {"chunks": (4,)}})
    hidden = {
        "statistics": "v/.zarrds/statistics",
        ".zarrds": "v/.zarrds",
        "chunk": "v/.zarrds/statistics/c/0",
        "document": "v/.zarrds/statistics/zarr.json",
        "loop": "v/.zarrds/statistics",
    }[link]
    os.rename(tmp_path / "a.zarr" / hidden, tmp_path / "kept")
    os.symlink(
        tmp_path / "a.zarr" / hidden if link == "loop" else tmp_path / "b.zarr" / hidden, tmp_path / "a.zarr" / hidden
    )
    assert zarrds.find(tmp_path / "a.zarr", "v > 2.5", count=True) == 7
    assert float(zarrds.aggregate(tmp_path / "a.zarr", "v", "max")) == 9
    before = sorted((path, path.read_bytes()) for path in (tmp_path / "b.zarr").rglob("*") if path.is_file())
    # it does not write through links; what it wrote of the array itself is told by its digest
    with contextlib.suppress(ZarrdsError):
        zarrds.open_array(tmp_path / "a.zarr", mode="r+", path="v")[0] = 100
    assert zarrds.find(tmp_path / "a.zarr", "v > 50", count=True) == 1
    assert before == sorted((path, path.read_bytes()) for path in (tmp_path / "b.zarr").rglob("*") if path.is_file())

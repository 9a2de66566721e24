"""Rows in a store are believed only of the chunks that they were made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds.chunk_statistics.building import rows_of_stored
from zarrds.chunk_statistics.digests import stale_rows, stored_digest
from zarrds.chunk_statistics.facts import rule_of
from zarrds.chunk_statistics.record import put_rows, read_rows, row_of, statistics_path
from zarrds.datasets.querying.bounds.stored import stored_chunks
from zarrds.engine.elements import Elements
from zarrds.errors import ChunkError
from zarrds.metadata.hidden import hidden_array, hidden_document
from zarrds.metadata.model import ArrayMetadata


def positions(array: zarrds.Array) -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, array.metadata.chunk_grid)))


def note(array: zarrds.Array, only: list[tuple[int, ...]] | None = None) -> None:
    rows = rows_of_stored(array.elements, positions(array) if only is None else only)
    put_rows(array.store, array.store, array.path, array.metadata, rows.items())


def known(array: zarrds.Array) -> Any:
    rows = read_rows(array.store, array.path, array.metadata)
    assert rows is not None
    return rows["known"].tolist()


@pytest.fixture(params=["v3", "v2", "shards", "no checksum"])
def array(request: pytest.FixtureRequest) -> zarrds.Array:
    options: dict[str, Any] = {
        "v3": {},
        "v2": {"zarr_format": 2},
        "shards": {"chunks": (1, 2), "shards": (2, 2)},
        "no checksum": {"codecs": [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 1}}]},
    }[request.param]
    made = zarrds.create_array(
        zarrds.MemoryStore(), path="v", shape=(5, 3), dtype="f4", **{"chunks": (2, 2), **options}
    )
    made[:] = np.arange(1, 16).reshape(5, 3)
    note(made)
    return made


def test_rows_are_those_of_the_chunks(array: zarrds.Array) -> None:
    rows = read_rows(array.store, array.path, array.metadata)
    assert rows is not None
    values = np.arange(1.0, 16).reshape(5, 3)
    digest = stored_digest(array.elements)
    for i, j in positions(array):
        part = values[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        assert rows[i, j].tolist()[2:-1] == (part.size, part.sum(), part.min(), part.max())
        assert rows["crc32c"][i, j] == digest((i, j))
    part = read_rows(array.store, array.path, array.metadata, (slice(1, 3), slice(1, 2)))
    assert part is not None
    assert part.tolist() == rows[1:3, 1:2].tolist()


def test_another_part_of_the_chunk_is_in_the_array(array: zarrds.Array) -> None:
    array.resize((6, 3))
    assert known(array) == [[1, 1], [1, 1], [0, 0]]
    note(array, [(2, 0)])
    assert known(array) == [[1, 1], [1, 1], [1, 0]]
    array.resize((6, 7))
    assert known(array) == [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    array.resize((4, 3))
    assert known(array) == [[1, 1], [1, 1]]  # as it was when they were noted


def test_what_is_kept_of_the_others(array: zarrds.Array) -> None:
    array[0, 0] = 99
    note(array, [(0, 0)])
    rows = read_rows(array.store, array.path, array.metadata)
    assert rows is not None
    assert (rows["max"][0, 0], rows["max"][2, 1]) == (99, 15)
    assert rows["known"].all()


def hidden_of(array: zarrds.Array) -> ArrayMetadata:
    hidden = hidden_array(array.store, statistics_path(array.path))
    assert hidden is not None
    return hidden


def _damaged(array: zarrds.Array, field: str, value: Any) -> None:
    elements = Elements(array.store, statistics_path(array.path), hidden_of(array))
    rows = elements.read(...)
    rows[field][1, 1] = value
    elements.write(..., rows)


@pytest.mark.parametrize("field", ["known", "crc32c", "count", "sum", "min", "max", "check"])
def test_rows_that_somebody_changed(array: zarrds.Array, field: str) -> None:
    _damaged(array, field, 77)
    assert known(array) == [[1, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: {**m, "shape": m["shape"][:1]},
        lambda m: {**m, "shape": "?"},
        lambda m: {**m, "chunks": [2, 3]},
        lambda m: {**m, "version": 1},
        lambda m: {**m, "attributes": {"_FillValue": 3}},
        lambda m: None,
    ],
)
def test_rows_of_something_else(array: zarrds.Array, change: Callable[[Any], Any]) -> None:
    hidden = hidden_of(array)
    changed = replace(hidden, attributes={"statistics_of": change(hidden.attributes["statistics_of"])})
    array.store.set(*hidden_document(statistics_path(array.path), changed))
    assert read_rows(array.store, array.path, array.metadata) is None


def test_damage_is_no_error(array: zarrds.Array) -> None:
    where = statistics_path(array.path)
    for key in [key for key in array.store.list_prefix(where) if "/c/" in key]:
        array.store.set(key, b"damage")
    assert read_rows(array.store, array.path, array.metadata) is None
    array.store.set(f"{where}/zarr.json", b"{}")
    assert read_rows(array.store, array.path, array.metadata) is None
    note(array)
    assert np.all(known(array))


@pytest.mark.parametrize("value", [b"", b"\0\0\0\0"])
def test_a_digest_of_zero_is_that_of_absent_chunks(value: bytes) -> None:
    array = zarrds.create_array(
        zarrds.MemoryStore(), path="v", shape=(4,), dtype="f4", chunks=(2,), dimension_names=["x"], fill_value=1
    )
    note(array)
    assert known(array) == [1, 1]
    array.store.set("v/c/0", value)  # which is a chunk that nobody can read
    chunks = stored_chunks(xr.open_dataset(array.store, engine="zarrds", consolidated=False).variables["v"])
    assert chunks is not None
    assert chunks.verify(np.ones(2, bool))
    assert chunks.rows["known"].tolist() == [0, 1]
    rule = rule_of(array.metadata)
    assert rule is not None
    facts = rule.facts(np.ones(2, "f4"))
    assert [int(row_of(rule, digest, facts)["known"][0]) for digest in (None, 0, 5)] == [1, 0, 1]


def test_absent_chunks_cost_nothing() -> None:
    store = zarrds.MemoryStore()
    zarrds.create_group(store)
    array = zarrds.create_array(
        store, path="v", shape=(3, 2**32 + 3), dtype="f4", chunks=(2, 2**20), dimension_names=["t", "x"], fill_value=2
    )
    array[0, :10], array[:, 2**20 * 3 : 2**20 * 3 + 5] = 3, 7
    zarrds.index(store, "v")
    found = zarrds.statistics(store, "v").load()
    assert found.known.all()
    assert found["max"].values[:, [0, 1, 3, -1]].tolist() == [[3, 2, 7, 2], [2, 2, 7, 2]]
    assert found["count"].values[:, [0, -1]].tolist() == [[2**21, 6], [2**20, 3]]
    assert found["sum"].values[1, [1, -1]].tolist() == [2**21, 6]
    assert zarrds.find(store, "v > 6", count=True) == 15


def test_of_many_dimensions() -> None:
    array = zarrds.create_array(
        zarrds.MemoryStore(), path="v", shape=(1,) * 30 + (3, 0), chunks=(1,) * 30 + (2, 2), dtype="f4"
    )
    zarrds.index(array.store)  # which would take for ever, were both ends of each dimension looked at
    array = zarrds.create_array(
        zarrds.MemoryStore(), path="v", shape=(1,) * 29 + (3, 4), chunks=(1,) * 29 + (2, 2), dtype="f4", fill_value=1
    )
    zarrds.index(array.store)
    rows = read_rows(array.store, "v", array.metadata)
    assert rows is not None
    assert rows["count"].ravel().tolist() == [4, 4, 2, 2]


def test_absent_chunks_that_must_be_there() -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", np.arange(6.0))}), store, encoding={"v": {"chunks": (2,)}})
    store.delete("v/c.1")
    with pytest.raises(ChunkError, match="missing"):
        zarrds.index(store, "v")


CRC32C = {"name": "crc32c"}
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
ENDS: dict[str, dict[str, Any]] = {
    "shards": {"chunks": (2,), "shards": (4,)},
    "a shard of one chunk": {"chunks": (4,), "shards": (4,)},
    "plain shards": {"chunks": (2,), "shards": (4,), "codecs": [BYTES]},
    "its own": {"chunks": (4,), "codecs": [BYTES, CRC32C]},
    "twice": {"chunks": (4,), "codecs": [BYTES, CRC32C, CRC32C]},
    "numcodecs": {"chunks": (4,), "codecs": [BYTES, {"name": "numcodecs.crc32c"}]},
    "none": {"chunks": (4,), "codecs": [BYTES]},
    "v2": {"chunks": (4,), "zarr_format": 2},
}


@pytest.mark.parametrize("end", ENDS)
def test_no_checksum_in_a_value_hides_what_it_is_of(end: str) -> None:
    array = zarrds.create_array(zarrds.MemoryStore(), path="v", shape=(12,), dtype="f4", fill_value=1, **ENDS[end])
    array[:] = np.arange(12)
    note(array)
    rows = read_rows(array.store, "v", array.metadata)
    assert rows is not None
    assert not stale_rows(array.elements, rows)
    assert len(set(rows["crc32c"].tolist())) == 3
    for position, value in ((5, 50), (5, 60), (8, 1)):
        array[position] = value
        assert (position // 4,) in stale_rows(array.elements, rows)

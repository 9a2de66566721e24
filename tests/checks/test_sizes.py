"""No size is believed: what a store claims must be possible from the bytes that are there, before memory is taken."""

from __future__ import annotations

import bz2
import json
import lzma
import os
import re
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds.codecs import compressors
from zarrds.codecs.base import FREE_DECODED
from zarrds.codecs.compressors import make_compressor, most_decoded
from zarrds.errors import ChunkError, MetadataError, ZarrdsError


def in_child(folder: Path, zarr_format: int, part: int, parts: int) -> None:
    command = [sys.executable, "-m", "tests.checks.sizes_child", str(folder), str(zarr_format), str(part), str(parts)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-1000:]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is limited by what Linux tells")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_some_hostile_sizes(tmp_path: Path, zarr_format: int) -> None:
    in_child(tmp_path, zarr_format, 5, 150)


@pytest.mark.sweep
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is limited by what Linux tells")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_every_hostile_size(tmp_path: Path, zarr_format: int) -> None:
    in_child(tmp_path, zarr_format, 0, 1)


def changed(path: Path, **members: Any) -> None:
    """Change members of an array's document; there is no other."""
    document = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps(document | members))


def labels_without_chunks(path: Path, size: int) -> None:
    zarrds.create_group(path)
    zarrds.create_array(path, path="x", shape=4, chunks=4, dtype="i8", dimension_names=["x"])
    changed(path / "x", shape=[size])


@pytest.mark.parametrize("size", [10**9, 10**18])
def test_labels_that_are_not_there(tmp_path: Path, size: int) -> None:
    labels_without_chunks(tmp_path / "s.zarr", size)
    with pytest.raises(MetadataError, match="labels are not stored") as caught:
        xr.open_dataset(tmp_path / "s.zarr", engine="zarrds")
    assert caught.value.key == "x"
    assert list(xr.open_dataset(tmp_path / "s.zarr", engine="zarrds", drop_variables="x").variables) == []
    with pytest.raises(MetadataError, match="labels are not stored"):
        zarrds.index(tmp_path / "s.zarr")
    assert not zarrds.verify(tmp_path / "s.zarr").ok


def test_many_labels_that_are_there(tmp_path: Path) -> None:
    n = 9_000_000
    zarrds.save(xr.Dataset({}, {"x": np.arange(n) ** 2 % 1000003}), tmp_path / "s.zarr", durable=False)
    assert xr.open_dataset(tmp_path / "s.zarr", engine="zarrds", index="pandas").sizes["x"] == n


@pytest.mark.parametrize("name", ["c/0", "zarr.json"])
def test_sparse_files(tmp_path: Path, name: str) -> None:
    array = zarrds.create_array(tmp_path / "a.zarr", shape=4, chunks=4, dtype="f8")
    array[...] = 1
    os.truncate(tmp_path / "a.zarr" / name, 1 << 40)
    with pytest.raises(ZarrdsError, match=r"larger than it can be|too large"):
        zarrds.open_array(tmp_path / "a.zarr")[...]
    report = zarrds.verify(tmp_path / "a.zarr")
    assert not report.ok
    if name == "c/0":
        with pytest.raises(ChunkError, match="larger than it can be"):
            zarrds.open_array(tmp_path / "a.zarr", "r+")[1:3] = 2


def test_sparse_shard(tmp_path: Path) -> None:
    array = zarrds.create_array(tmp_path / "a.zarr", shape=8, chunks=2, shards=4, dtype="f8")
    array[...] = 1
    os.truncate(tmp_path / "a.zarr" / "c" / "0", 1 << 40)
    with pytest.raises(ChunkError):
        zarrds.open_array(tmp_path / "a.zarr")[...]
    assert not zarrds.verify(tmp_path / "a.zarr").ok


@pytest.mark.parametrize("name", ["bz2", "lzma"])
def test_a_small_chunk_that_decodes_to_too_much(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressors, "FREE_DECODED", 2**20)
    bomb = {"bz2": bz2, "lzma": lzma}[name].compress(bytes(2**20 + 2))
    with pytest.raises(ChunkError, match="too much"):
        make_compressor(name, {}).decode(bomb, None)


def test_how_much_may_come_out() -> None:
    assert most_decoded(b"x") == FREE_DECODED
    assert most_decoded(memoryview(bytearray(2**20))) == 2**30


@pytest.mark.parametrize("codecs", [[{"name": "bytes"}], [{"name": "bytes"}, {"name": "numcodecs.zlib"}], None])
def test_chunks_that_cannot_be_compressed_are_not_too_large(codecs: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 2**63, 1000)
    store = zarrds.MemoryStore()
    array = zarrds.create_array(store, shape=1000, chunks=1000, dtype="i8", codecs=codecs)
    array[...] = noise
    assert (array[...] == noise).all()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_block_of_an_order_is_larger_than_any_number_of_elements(zarr_format: Any) -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset(coords={"x": [1, 2, 3]}), store, zarr_format=zarr_format)
    zarrds.index(store, "x")
    n_changed = 0
    for key in list(store.list_prefix()):
        value, n = re.subn(rb'"block":\s*\d+', b'"block":3' + b"0" * 30, bytes(store.get(key) or b""))
        store.set(key, value)
        n_changed += n
    assert n_changed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert xr.open_dataset(store, engine="zarrds").x.values.tolist() == [1, 2, 3]
    assert "block" in str(zarrds.verify(store))


def unreadable(store: zarrds.MemoryStore, **members: Any) -> zarrds.Array:
    """An array whose document is changed like that, open for writing."""
    document = json.loads(bytes(store.get("zarr.json") or b""))
    store.set("zarr.json", json.dumps(document | members).encode())
    return zarrds.open_array(store, "r+")


@pytest.mark.parametrize("key", [(0,), (slice(0, 3),)])
def test_elements_that_are_larger_than_memory(key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = zarrds.MemoryStore()
    zarrds.create_array(store, shape=4, chunks=2, dtype="S4")
    width = {"name": "null_terminated_bytes", "configuration": {"length_bytes": 2**30}}
    array = unreadable(store, data_type=width, fill_value=0)

    def full(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("zarrds.engine.chunk_io.np.empty", full)
    with pytest.raises(ZarrdsError, match="memory"):
        array[key] = b"x"


def test_a_fill_value_takes_no_more_memory_than_it_says() -> None:
    store = zarrds.MemoryStore()
    zarrds.create_array(store, shape=4, chunks=2, dtype="S4")
    width = {"name": "null_terminated_bytes", "configuration": {"length_bytes": 2**30}}
    tracemalloc.start()
    try:
        assert unreadable(store, data_type=width, fill_value=0).fill_value == b""
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


def test_a_shard_that_is_larger_than_memory(tmp_path: Path) -> None:
    """The kernel is not asked for the places of its inner chunks."""
    array = zarrds.create_array(tmp_path / "a.zarr", shape=8, chunks=2, shards=4, dtype="f8")
    document = json.loads((tmp_path / "a.zarr/zarr.json").read_text())
    document["shape"] = document["chunk_grid"]["configuration"]["chunk_shape"] = [2**60]
    (tmp_path / "a.zarr/zarr.json").write_text(json.dumps(document))
    array = zarrds.open_array(tmp_path / "a.zarr", "r+")
    with pytest.raises(ZarrdsError, match="does not fit in memory") as caught:
        array[3] = 1
    assert caught.value.path == str(tmp_path / "a.zarr")

"""What lies beyond the shape of an array is never seen when the array grows: as after a writer that died."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zarrds
from zarrds.metadata.nodes.transaction import put_node

SIZE = st.tuples(st.integers(0, 7), st.integers(0, 7))


def with_stale(store: Any, shape: tuple[int, ...], stale: tuple[int, ...], **options: Any) -> zarrds.Array:
    """An array of `shape`, full of 1, beyond which lie elements that are 9: of a resize that was killed."""
    longer = tuple(map(max, shape, stale))
    array = zarrds.create_array(store, shape=longer, dtype="i4", fill_value=-1, **options)
    array[...] = 9
    array[tuple(slice(0, n) for n in shape)] = 1
    put_node(array.store, "", replace(array.metadata, shape=shape))
    return zarrds.open_array(store, "r+")


def expected(shape: tuple[int, ...], new: tuple[int, ...]) -> np.ndarray[Any, Any]:
    values = np.full(new, -1, "i4")
    values[tuple(slice(0, n) for n in shape)] = 1
    return values


@given(SIZE, SIZE, SIZE, SIZE, st.sampled_from([(1, 1), (2, 3), (4, 2), (8, 8)]), st.sampled_from([2, 3]))
@settings(deadline=None)
def test_resized(shape: Any, stale: Any, first: Any, second: Any, chunks: Any, zarr_format: Any) -> None:
    array = with_stale(zarrds.MemoryStore(), shape, stale, chunks=chunks, zarr_format=zarr_format)
    model = expected(shape, shape)
    for new in (first, second):
        array.resize(new)
        grown = np.full(new, -1, "i4")
        common = tuple(slice(0, min(pair)) for pair in zip(model.shape, new, strict=True))
        grown[common] = model[common]
        model = grown
        np.testing.assert_array_equal(array[...], model)


@pytest.mark.parametrize("shards", [None, (4, 4)])
def test_appended_and_resized(tmp_path: Path, shards: Any) -> None:
    array = with_stale(tmp_path / "a.zarr", (3, 3), (9, 9), chunks=(2, 2), shards=shards)
    array.append(np.full((2, 3), 5, "i4"))
    array.append(np.full((5, 1), 6, "i4"), axis=1)
    array.resize((8, 8))
    wanted = np.full((8, 8), -1)
    wanted[:3, :3], wanted[3:5, :3], wanted[:5, 3] = 1, 5, 6
    np.testing.assert_array_equal(array[...], wanted)
    assert zarrds.verify(tmp_path / "a.zarr").ok


def test_lost_chunks_stay_lost(tmp_path: Path) -> None:
    array = with_stale(tmp_path / "a.zarr", (4,), (9,), chunks=(3,))
    (tmp_path / "a.zarr" / "c" / "1").unlink()
    array.resize(7)
    assert not (tmp_path / "a.zarr" / "c" / "1").exists()
    assert not (tmp_path / "a.zarr" / "c" / "2").exists()

"""Single elements and arrays of them: read by the kernel from whole chunks, and from the cache."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.kernel.modes import Spy, needs_kernel, settled_array, with_kernel
from tests.engine.selections import basic_keys, grids, ids_of, select_basic
from zarrds import create_array
from zarrds.engine.cache import ChunkCache
from zarrds.engine.elements import Elements
from zarrds.engine.kernel import applies
from zarrds.engine.kernel.reading import _distinct
from zarrds.engine.planning.selection import plan_orthogonal, plan_pointwise

pytestmark = needs_kernel


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("points")


@pytest.mark.parametrize("shards", [None, (40, 30)])
def test_points_come_from_the_cache_too(shards: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applies, "SOONER_DECODED", 0)
    array, values = settled_array(tmp_path, shards)
    rng = np.random.default_rng(0)
    key = rng.integers(0, 80, (5, 7)), rng.integers(0, 60, 7)
    rows, columns = np.array([70, 3, 3]), np.array([59, 0, 20])
    for first, second in ((None, Spy()), (Spy(), None), (Spy(), Spy())):
        elements = Elements(array.store, "", array.metadata, cache=ChunkCache(10**7))
        for kernel in (first, second):
            with with_kernel(kernel):
                np.testing.assert_array_equal(elements.read(key, plan_pointwise), values[key])
                np.testing.assert_array_equal(elements.read((rows, columns), plan_orthogonal), values[rows][:, columns])
    assert isinstance(second, Spy)
    assert set(second.given) == {"identify"}  # nothing was read twice
    array[int(key[0][0, 0]), int(key[1][0])] = -5
    values[key[0][0, 0], key[1][0]] = -5
    for kernel in (Spy(), None):
        with with_kernel(kernel):
            np.testing.assert_array_equal(elements.read(key, plan_pointwise), values[key])


@pytest.mark.one_in(3)
@given(data=st.data(), grid=grids(), codec=st.sampled_from(["blosc", "big", "none"]))
def test_chunks_that_python_decodes_are_put_in_place(data: Any, grid: Any, codec: str, folder: Path) -> None:
    shape, chunks = grid
    dtype = ">i4" if codec == "big" else "<i4"
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}] if codec == "none" else None
    shutil.rmtree(folder / "a", ignore_errors=True)
    array = create_array(folder / "a", shape=shape, dtype=dtype, chunks=chunks, codecs=codecs)
    array[...] = ids_of(shape)
    key = data.draw(basic_keys(shape))
    with with_kernel(Spy()) as spy, pytest.MonkeyPatch.context() as patch:
        patch.setattr(applies, "LARGEST_READ", 0)  # as if all chunks were large
        np.testing.assert_array_equal(array[key], select_basic(ids_of(shape), key))
    assert spy.left == 0


def test_the_kernel_copies_what_python_decoded(folder: Path) -> None:
    array = create_array(folder / "b", shape=(20, 30), dtype="i4", chunks=(10, 10))
    array[...] = ids_of((20, 30)).astype("i4")
    with with_kernel(Spy()) as spy, pytest.MonkeyPatch.context() as patch:
        patch.setattr(applies, "LARGEST_READ", 0)
        np.testing.assert_array_equal(array[::-1, 5:], ids_of((20, 30))[::-1, 5:])
        assert spy.given["copy"] == 6
        # where little is wanted of each chunk, it would take longer to begin than it saves
        np.testing.assert_array_equal(array[:, 5], ids_of((20, 30))[:, 5])
    assert spy.given["copy"] == 6


numbers = st.integers(0, 3) | st.sampled_from([2**31, 2**40, 2**62])


@given(st.integers(1, 3).flatmap(lambda n: st.lists(st.tuples(*[numbers] * n), min_size=1, max_size=12)))
def test_distinct_positions(positions: list[tuple[int, ...]]) -> None:
    found, which = _distinct(np.array(positions).T)
    assert sorted(found) == sorted(set(positions))
    assert [found[i] for i in which.tolist()] == positions

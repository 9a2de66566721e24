"""Chunks that are decoded sooner than they are found in a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.kernel.modes import Spy, needs_kernel, settled_array, with_kernel
from zarrds.engine.cache import ChunkCache
from zarrds.engine.elements import Elements
from zarrds.engine.planning.selection import plan_pointwise

pytestmark = needs_kernel

_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def _inner(cname: str) -> list[Any]:
    settings = {"cname": cname, "clevel": 5, "shuffle": "shuffle", "typesize": 4, "blocksize": 0}
    codecs = [_BYTES, {"name": "blosc", "configuration": settings}]
    index = [_BYTES, {"name": "crc32c"}]
    given = {"chunk_shape": [20, 10], "codecs": codecs, "index_codecs": index, "index_location": "end"}
    return [{"name": "sharding_indexed", "configuration": given}]


@pytest.mark.parametrize(
    ("options", "is_kept"),
    [
        ({"shards": (40, 30)}, False),
        ({"chunks": (40, 30), "codecs": _inner("zstd")}, True),  # which takes longer
        ({}, True),  # a file for each chunk
    ],
)
def test_small_inner_chunks_are_decoded_again(options: dict[str, Any], is_kept: bool, tmp_path: Path) -> None:
    array, values = settled_array(tmp_path, **options)
    cache = ChunkCache(10**7)
    elements = Elements(array.store, "", array.metadata, cache=cache)
    key = (slice(5, 70), slice(13, 44))
    points = np.arange(60), np.arange(60)
    with with_kernel(Spy()) as spy:
        for _ in range(3):
            np.testing.assert_array_equal(elements.read(key), values[key])
            np.testing.assert_array_equal(elements.read(points, plan_pointwise), values[points])
    assert ("identify" in spy.given) is is_kept
    assert (len(cache) > 0) is is_kept
    with with_kernel(None):  # Python always looks
        for _ in range(2):
            assert elements.read((11, 20)) == values[11, 20]
    assert len(cache) > 0
    array[10, 20] = values[10, 20] = -5
    np.testing.assert_array_equal(elements.read(key), values[key])

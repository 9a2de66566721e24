"""The benchmark of requests: what it counts and compares, not what it times."""

from __future__ import annotations

import pytest

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")
pytest.importorskip("zarr.storage", reason="it is compared with zarr-python")

from benchmarks.object_libraries import Floor, libraries
from benchmarks.object_rows import rows
from benchmarks.object_server import serving
from benchmarks.requests import measure


@pytest.mark.slow
def test_a_row() -> None:
    with serving() as server:
        ours, *_, tuned = libraries(server.options)  # s3fs may not be installed
        row = next(rows(server))
        found = measure(row, [ours, tuned], Floor(server.options), server, [0, 1], n_rounds=1)
    requests = {name: cell.partition(";")[0] for name, cell in found.items()}
    assert requests == {ours.name: "5", tuned.name: "7", "floor": "5"}
    assert all(cell.count("/") == 1 for cell in found.values())

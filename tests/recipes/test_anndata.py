"""anndata: its stores are groups of plain arrays."""

# needs: anndata

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import zarrds

anndata = pytest.importorskip("anndata")


def test_arrays_of_a_store(tmp_path: Path) -> None:
    cells = pd.DataFrame({"kind": list("ab" * 10)}, index=[f"c{i}" for i in range(20)])
    data = anndata.AnnData(np.random.default_rng(0).random((20, 5)).astype("f4"), obs=cells)
    data.write_zarr(tmp_path / "x.zarr")
    group = zarrds.open_group(tmp_path / "x.zarr")
    np.testing.assert_array_equal(group["X"][...], data.X)
    assert group.attrs["encoding-type"] == "anndata"
    assert zarrds.verify(tmp_path / "x.zarr").ok

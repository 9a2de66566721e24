"""The name of xarray that is not public API does what labels rely on.

If a release of xarray changes it, this is where it shows.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from zarrds.labels import xarray_internals as internals


def test_every_name_is_checked_here() -> None:
    assert internals.__all__ == ["IndexSelResult"]


def test_index_sel_result() -> None:
    # what an index answers to a selection; xarray reads it as this tuple, and so positions of dimensions come first
    result = internals.IndexSelResult({"x": slice(1, 3)})
    assert result.dim_indexers == {"x": slice(1, 3)}
    assert len(result.as_tuple()) == 6
    index = xr.Dataset(coords={"x": [10, 20, 30]}).xindexes["x"]
    theirs = index.sel({"x": slice(20, 30)})
    assert type(theirs) is internals.IndexSelResult
    assert theirs.dim_indexers == {"x": slice(1, 3)}
    assert np.array_equal(np.arange(3)[theirs.dim_indexers["x"]], [1, 2])

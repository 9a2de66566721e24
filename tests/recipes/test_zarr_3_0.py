"""zarr-python 3.0.8 reads what zarrds writes."""

# needs: zarr==3.0.8

from __future__ import annotations

from pathlib import Path

import pytest

zarr = pytest.importorskip("zarr", reason="zarr-python is what is tried")


def test_all_arrays_are_read(tmp_path: Path) -> None:
    from tests.recipes.readers import check_all_arrays_are_read

    if zarr.__version__ != "3.0.8":
        pytest.skip("zarr-python of another release is installed")
    check_all_arrays_are_read(tmp_path)

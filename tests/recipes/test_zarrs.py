"""zarrs, as the pipeline of codecs of zarr-python, reads what zarrds writes."""

# needs: zarrs

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("zarrs")
zarr = pytest.importorskip("zarr", reason="zarr-python is what uses it")


def test_all_arrays_are_read(tmp_path: Path) -> None:
    from tests.recipes.readers import check_all_arrays_are_read

    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        check_all_arrays_are_read(tmp_path)

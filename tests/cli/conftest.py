"""A store for the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

import zarrds
from tests.cli.samples import climate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    zarrds.save(climate(), tmp_path / "t.zarr", encoding={"t2m": {"chunks": (2, 2, 3)}})
    return tmp_path / "t.zarr"

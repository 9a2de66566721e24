"""A store for the commands, and how they are run."""

from __future__ import annotations

from pathlib import Path

import pytest

import zarrds
from tests.cli.samples import Run, climate
from zarrds.cli.main import main


@pytest.fixture
def path(tmp_path: Path) -> Path:
    zarrds.save(climate(), tmp_path / "t.zarr", encoding={"t2m": {"chunks": (2, 2, 3)}})
    return tmp_path / "t.zarr"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(word) for word in words])
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return status, shown.out, shown.err

    return run

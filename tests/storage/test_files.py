"""System calls that races with other processes make fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zarrds.storage.local import folders


def test_a_folder_that_goes_while_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process removes it between two system calls: no error, as whoever writes into it looks again."""
    (tmp_path / "a").mkdir()
    mkdir = os.mkdir

    def mkdir_and_lose(location: str) -> None:
        try:
            mkdir(location)
        except FileExistsError:
            os.rmdir(location)
            raise

    monkeypatch.setattr(os, "mkdir", mkdir_and_lose)
    assert folders.make_folders(str(tmp_path / "a")) == []
    assert folders.make_folders(str(tmp_path / "a")) == [str(tmp_path / "a")]

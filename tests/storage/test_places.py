"""Places where a store cannot be put: found before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zarrds.errors import StoreExistsError
from zarrds.stores import LocalStore


def test_a_file_at_the_root(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    with pytest.raises(StoreExistsError, match="a file stands"):
        LocalStore(tmp_path / "x").stage()
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("name", [".", "../here"])
def test_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(StoreExistsError, match="current folder"):
        LocalStore(name).stage()
    assert os.listdir(tmp_path) == ["here"]
    store = LocalStore(".")
    store.set("a", b"1")  # values may be written one by one
    assert store.get("a") == b"1"

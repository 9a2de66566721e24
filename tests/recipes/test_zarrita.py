"""zarrita.js reads what zarrds writes, where there is node with npm."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrds
from tests.recipes.data import kinds

RELEASES = ("zarrita@0.7.5", "@zarrita/storage@0.2.0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which node finds zarrita.js."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no node with npm")
    folder = tmp_path_factory.mktemp("node")
    shutil.copy(Path(__file__).with_name("read_by_zarrita.mjs"), folder)
    subprocess.run([npm, "install", "--no-audit", "--no-fund", *RELEASES], cwd=folder, check=True, timeout=300)
    return folder


def _read(folder: Path, store: Path, names: list[str]) -> dict[str, Any]:
    command = ["node", "read_by_zarrita.mjs", str(store), *names]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=60)
    assert not done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_all_arrays_are_read(tmp_path: Path, folder: Path) -> None:
    ds = kinds()
    zarrds.save(ds, tmp_path / "a.zarr")
    names = [str(name) for name in ds.variables]
    found = _read(folder, tmp_path / "a.zarr", names)
    for name in names:
        expected = zarrds.open_array(tmp_path / "a.zarr" / name)
        values = expected[...]
        assert tuple(found[name]["shape"]) == values.shape
        read = np.array(found[name]["values"], object).reshape(values.shape)
        np.testing.assert_array_equal(read if values.dtype == object else read.astype(values.dtype), values)

"""The examples run from the command line, as a newcomer runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    # the checkout's own package; UTF-8 wherever it runs
    path = os.environ.get("PYTHONPATH", str(EXAMPLES.parent))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=300, check=False)


def png_size(path: Path) -> tuple[int, int]:
    """Width and height, from the header."""
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def check_output(output: str, folder: Path, name: str) -> xr.Dataset:
    """Check what was printed and drawn; return what was saved."""
    store, picture = folder / f"{name}.zarr", folder / f"{name}.png"
    for step in ("save", "open", "read all"):
        assert re.search(rf"^{step} +\d+\.\d{{3}} s   ", output, re.MULTILINE), step
    (on_disk,) = re.findall(rf"{re.escape(str(store))}, (\S+) MB on disk", output)
    assert float(on_disk) == pytest.approx(
        sum(f.stat().st_size for f in store.rglob("*") if f.is_file()) / 1e6, abs=0.01
    )
    assert "identical to what was saved" in output
    assert f"picture   {picture}\n" in output
    width, height = png_size(picture)
    assert 800 < width < 3000
    assert 300 < height < 2000
    assert picture.stat().st_size > 20_000  # an empty picture of this size has about 5 kB
    with xr.open_dataset(store, engine="zarr") as by_zarr, xr.open_dataset(store, engine="zarrds") as by_zarrds:
        xr.testing.assert_identical(by_zarr.load(), by_zarrds.load())
    return by_zarrds

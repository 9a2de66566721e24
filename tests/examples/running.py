"""The examples run from the command line, as a newcomer runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import xarray as xr

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_python(str(EXAMPLES / name), *map(str, arguments))


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    # the checkout's own package; UTF-8 wherever it runs
    path = os.environ.get("PYTHONPATH", str(EXAMPLES.parent))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=300, check=False)


EACH = """
import contextlib, io, json, os, runpy, sys
for sys.argv in json.loads(sys.argv[1]):
    sys.path[0] = os.path.dirname(sys.argv[0])
    status, error = 0, io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            status = end.code
    print(json.dumps([status, error.getvalue()]))
"""


def check_refusals(
    name: str, refusals: Iterable[tuple[Sequence[str | Path], str]], *, names_file: bool = False
) -> None:
    """Run an example with arguments that are refused, in one process; what its error must say is given beside them."""
    refusals = [([str(EXAMPLES / name), *map(str, arguments)], message) for arguments, message in refusals]
    done = run_python("-c", EACH, json.dumps([arguments for arguments, _ in refusals]))
    assert done.returncode == 0, done.stderr
    for (arguments, message), line in zip(refusals, done.stdout.splitlines(), strict=True):
        status, error = json.loads(line)
        assert status == 2, arguments
        assert message in error
        assert Path(arguments[1]).name in error or not names_file
        assert "Traceback" not in error


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

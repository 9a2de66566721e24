"""Two versions can be put beside each other: here one with itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_version_beside_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.versions", sys.executable, sys.executable]
    chosen = ["read-4MB", "attributes"]
    options = ["--rounds", "1", "--size", "small", "--workdir", str(tmp_path), *(f"--only={row}" for row in chosen)]
    done = subprocess.run(command + options, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [line.split(" | ")[0] for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[2:] == [f"| {row}" for row in chosen]
    assert "Geometric means of now ÷ before" in done.stdout
    assert list(tmp_path.iterdir()) == []

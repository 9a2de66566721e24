"""The benchmark of queries runs on small sizes, where all ways give the same answers; its times mean nothing here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_all_ways_give_the_same_answers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.queries", "--rounds", "1", "--workdir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--gigabytes", "0.01", "--variants", "2000"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| zarrds by statistics | ")]
    assert len(rows) >= 3

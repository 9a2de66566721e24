"""The benchmark of how cost grows runs on small sizes; its times mean nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "growth.py"


def test_labels(tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    command = [sys.executable, SCRIPT, "--labels", "100000", "--labels", "200000", "--rounds", "2"]
    done = subprocess.run(
        [*command, "--workdir", tmp_path, "--json", output], check=True, capture_output=True, text=True, timeout=120
    )
    results = json.loads(output.read_text())
    assert set(results) == {"100000", "200000"}
    for row in results.values():
        assert set(row) == {"open", "one label", "slice of 10,000", "1,000 labels", "nearest of 1,000", "peak MB"}
        assert all(value > 0 for value in row.values())
    assert [line.split("|")[1].strip() for line in done.stdout.splitlines()[2:]] == ["100,000", "200,000"]
    assert list(tmp_path.iterdir()) == [output]

"""The benchmark of how cost grows runs on small sizes; its times mean nothing here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

CHUNK_COLUMNS = {
    "open (ms)",
    "one value (ms)",
    "box (ms)",
    "peak of these (MB)",
    "read all (ms)",
    "a chunk (µs), read",
    "read all, besides (MB)",
    "save (ms)",
    "a chunk (µs), saved",
    "save (MB)",
}
VARIABLE_COLUMNS = {
    "save (ms)",
    "save (MB)",
    "open (ms)",
    "open (MB)",
    "load (ms)",
    "load (MB)",
    "one value (ms)",
    "the same in memory (ms)",
    "append a step (ms)",
    "append a step (MB)",
}
THREAD_COLUMNS = {"read all (ms)", "save (ms)", "read all, besides (MB)", "save (MB)"}
LABEL_COLUMNS = {
    "open (ms)",
    "one label (ms)",
    "slice of 10,000 (ms)",
    "1,000 labels (ms)",
    "nearest of 1,000 (ms)",
    "peak (MB)",
}


def growth(folder: Path, *arguments: str) -> tuple[dict[str, Any], list[str]]:
    """The JSON document, and the first cells of all lines."""
    output = folder / "out.json"
    command = [sys.executable, "-m", "benchmarks.growth", *arguments, "--rounds", "1"]
    done = subprocess.run(
        [*command, "--workdir", str(folder), "--json", str(output)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == [output]  # it cleans up behind itself
    cells = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line]
    return json.loads(output.read_text()), cells


def check(document: dict[str, Any], sizes: list[str], columns: set[str]) -> None:
    assert list(document["figures"]) == sizes
    for row in document["figures"].values():
        assert set(row) == columns
        assert all(value > 0 for column, value in row.items() if not column.endswith("(MB)"))


@pytest.mark.slow
def test_chunks_as_files_and_in_shards(tmp_path: Path) -> None:
    document, cells = growth(tmp_path, "--chunks", "16", "--shards", "16")
    assert set(document) == {"chunks", "shards"}
    check(document["chunks"], ["16"], CHUNK_COLUMNS)
    check(document["shards"], ["16"], CHUNK_COLUMNS)
    assert cells[:6] == ["chunks", "---:", "16", "exponent", "last step", "growth"]
    assert set(document["chunks"]["growth"]) == CHUNK_COLUMNS


@pytest.mark.slow
def test_variables(tmp_path: Path) -> None:
    document, cells = growth(tmp_path, "--only", "variables", "--variables", "3")
    check(document["variables"], ["3"], VARIABLE_COLUMNS)
    assert cells == ["variables", "---:", "3", "exponent", "last step", "growth"]


@pytest.mark.slow
def test_threads(tmp_path: Path) -> None:
    document, cells = growth(tmp_path, "--only", "threads", "--megabytes", "8")
    check(document["threads"], ["1", "2"], THREAD_COLUMNS)
    assert cells == ["threads", "---:", "1", "2", "speedup, 2"]
    figures = document["threads"]["figures"]
    assert document["threads"]["speedup"]["2"] == {
        column: figures["1"][column] / figures["2"][column] for column in ("read all (ms)", "save (ms)")
    }


@pytest.mark.slow
def test_labels(tmp_path: Path) -> None:
    document, cells = growth(tmp_path, "--labels", "100000", "--labels", "200000")
    assert set(document) == {"labels"}
    check(document["labels"], ["100000", "200000"], LABEL_COLUMNS)
    assert cells == ["labels", "---:", "100,000", "200,000", "exponent", "last step", "growth"]


def test_chunks_that_hold_no_box_are_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.growth", "--chunks", "17", "--workdir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert done.returncode != 0
    assert "17 chunks make no grid" in done.stderr
    assert not list(tmp_path.iterdir())

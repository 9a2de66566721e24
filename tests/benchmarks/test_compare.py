"""The benchmark runs, on tiny data: every row has a figure of every contender that is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REAL_FILES = ("eraint_uvz.nc", "era5_t2m_uk_2019-03.nc", "basin_mask.nc")

ARRAY_ROWS = {f"{verb}-{size}" for verb in ("read", "write") for size in ("4MB", "400kB", "64kB")}
MEMORY_ROWS = {"peak-read-4MB"}
DATASET_ROWS = {
    "save-cube",
    "load-cube",
    "open-cube",
    "point-series",
    "one-map",
    "small-box",
    "scattered-points",
    "every-tenth",
    "save-labels",
    "open-labels",
    "save-texts",
    "load-texts",
    "save-500-variables",
    "open-500-variables",
    "load-500-variables",
    "save-tree",
    "open-tree",
    "save-genotypes",
    "read-genotypes",
}
WRITE_ROWS = {"append-step"}
# the module that each contender needs
ARRAY_PEERS = {"zarr-python": "zarr", "zarr-python+zarrs": "zarrs", "TensorStore": "tensorstore"}
WRITE_PEERS = {"zarr engine": "zarr"}
DATASET_PEERS = {"zarr engine": "zarr", "netCDF4": "netCDF4", "h5netcdf": "h5netcdf"}


def compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "benchmarks" / "compare.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def installed(peers: dict[str, str]) -> set[str]:
    return {name for name, module in peers.items() if importlib.util.find_spec(module) is not None}


def test_every_row_has_a_figure_of_every_contender(tmp_path: Path) -> None:
    done = compare("--size", "small", "--rounds", "1", "--json", str(tmp_path / "out.json"), "--workdir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]  # it cleans up behind itself
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    found = {row["name"]: row for row in document["rows"]}

    has_real_files = any((ROOT.parent / "shared" / "data" / name).is_file() for name in REAL_FILES)
    dataset_rows = DATASET_ROWS | ({"save-real", "load-real"} if has_real_files else set())
    assert set(found) == ARRAY_ROWS | MEMORY_ROWS | dataset_rows | WRITE_ROWS

    for name, row in found.items():
        ours = {"zarrds"} if name in dataset_rows | WRITE_ROWS else {"zarrds", "zarrds+crc32c"}
        if name.startswith("save-") or name in WRITE_ROWS:
            ours |= {"zarrds durable"}
        peers = installed(DATASET_PEERS if name in dataset_rows else WRITE_PEERS if name in WRITE_ROWS else ARRAY_PEERS)
        assert set(row["contenders"]) - {"zarr-python fused"} == ours | peers, name
        medians = {}
        for contender, result in row["contenders"].items():
            assert len(result["figures"]) == 1
            assert result["figures"][0] == result["median"]
            assert result["median"] > 0 or row["unit"] == "MB"  # a tiny array may fit into memory that is there
            assert result["uses"]
            medians[contender] = result["median"]
        if peers and medians["zarrds"]:
            best = min(value for contender, value in medians.items() if not contender.startswith("zarrds"))
            assert medians[row["best_peer"]] == best
            assert row["ratio"] == pytest.approx(best / medians["zarrds"])
        assert f"| {name} |" in done.stdout


def test_only_measures_the_rows_that_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = compare("--size", "small", "--rounds", "2", "--only", "one-map", "--only", "open-cube", "--json", str(out))
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [row["name"] for row in rows] == ["open-cube", "one-map"]
    assert {len(result["figures"]) for row in rows for result in row["contenders"].values()} == {2}


def test_list_names_rows_without_measuring() -> None:
    done = compare("--list")
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()} >= ARRAY_ROWS | MEMORY_ROWS | DATASET_ROWS


def test_an_unknown_row_is_refused() -> None:
    done = compare("--only", "no-such-row")
    assert done.returncode == 2
    assert "no-such-row" in done.stderr

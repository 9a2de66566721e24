"""The benchmark runs, on tiny data: every row has a figure of every contender that is installed."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
REAL_FILE = ROOT.parent / "shared" / "data" / "basin_mask.nc"

SIZES = ("4MB", "400kB", "64kB", "slab")
ARRAY_READS = {f"read-{size}" for size in SIZES}
ARRAY_WRITES = {f"write-{size}" for size in SIZES}
SHARDS = {"read-shards", "box-shards", "write-shards"}
SELECTIONS = {"one-value", "point-series", "one-map", "small-box"}
OPENINGS = {"open-cube", "open-500-variables", "open-tree"}
CUBE_LOADS = {"load-cube", "load-cube-40kB"}
SAVES = {
    "save-cube",
    "save-cube-40kB",
    "save-500-variables",
    "save-tree",
    "save-genotypes",
    "save-labels",
    "save-texts",
}
OTHERS = {
    "scattered-points",
    "every-tenth",
    "load-500-variables",
    "read-genotypes",
    "one-sample",
    "open-labels",
    "load-texts",
}
APPENDS = {"append-20-steps"}
DASK = {"dask-mean": "dask", "distributed-mean": "distributed"}
IMPORTS = {"import", "import-and-open"}
WITH_FLOOR = ARRAY_READS | SELECTIONS | OPENINGS | CUBE_LOADS

# the module that each contender needs
ARRAY_PEERS = {"zarr-python": "zarr", "zarr-python+zarrs": "zarrs", "TensorStore": "tensorstore"}
ZARR_ENGINES = {"zarr engine": "zarr", "zarr engine+zarrs": "zarrs"}
NETCDF_ENGINES = {"netCDF4": "netCDF4", "h5netcdf": "h5netcdf"}
IMPORTED = {"zarr engine": "zarr", **NETCDF_ENGINES}


QUERIES = {"find", "find-worst", "largest"}


def compare(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.compare", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def installed(peers: dict[str, str]) -> set[str]:
    return {name for name, module in peers.items() if is_installed(module)}


def expected_rows() -> set[str]:
    real = {"save-real", "load-real"} if REAL_FILE.is_file() else set()
    datasets = SELECTIONS | OPENINGS | CUBE_LOADS | SAVES | OTHERS | APPENDS | QUERIES | installed(DASK) | real
    return ARRAY_READS | ARRAY_WRITES | SHARDS | datasets | IMPORTS


def one_of_each_kind() -> set[str]:
    """But of those that another test measures, and of a cluster, which is made anew for each contender."""
    kinds = {"read-400kB", "write-400kB", "load-cube", "save-labels"}
    return (kinds | {"scattered-points", "append-20-steps", "find", "import", "dask-mean"}) & expected_rows()


def expected_contenders(row: str) -> set[str]:
    """All but zarr-python's fused pipeline, which not every release has."""
    found = {"zarrds"}
    if row in ARRAY_READS | ARRAY_WRITES:
        found |= {"zarrds+crc32c", "zarrds without kernel"} | installed(ARRAY_PEERS)
    elif row in SHARDS:
        found |= {"zarrds without kernel"} | installed(ARRAY_PEERS)
    elif row in IMPORTS:
        found |= installed(IMPORTED)
    else:
        found |= installed(ZARR_ENGINES) | (installed(NETCDF_ENGINES) if row not in APPENDS else set())
    if row in QUERIES:
        found |= {"zarrds by statistics"}
    if row == "scattered-points":
        found -= {"netCDF4"}
    if row in ARRAY_WRITES and "TensorStore" in found:
        found |= {"TensorStore durable"}
    if row in ARRAY_WRITES | APPENDS or row.startswith("save-"):
        found |= {"zarrds durable"}
    return found | ({"floor"} if row in WITH_FLOOR else set())


def check_contenders(row: dict[str, Any]) -> None:
    found = set(row["contenders"]) - {"zarr-python fused", "zarr engine fused"}
    assert found == expected_contenders(row["name"]), row["name"]


def check_ratios(row: dict[str, Any]) -> None:
    """Held against the medians, by the contenders' names."""
    medians = {name: contender["median"] for name, contender in row["contenders"].items()}
    ours = medians.pop("zarrds")
    assert row["floor_ratio"] == (pytest.approx(ours / medians.pop("floor")) if "floor" in medians else None)
    durable = {name: median for name, median in medians.items() if name.endswith("durable")}
    peers = {name: median for name, median in medians.items() if not name.startswith("zarrds") and name not in durable}
    if peers:
        assert row["best_peer"] == min(peers, key=peers.__getitem__)
        assert row["ratio"] == pytest.approx(min(peers.values()) / ours)
    if len(durable) == 2:
        assert row["durable_ratio"] == pytest.approx(durable["TensorStore durable"] / durable["zarrds durable"])
    else:
        assert row["durable_ratio"] is None


@pytest.mark.slow
@pytest.mark.parametrize("rows", [pytest.param(expected_rows(), marks=pytest.mark.sweep), one_of_each_kind()])
def test_every_row_has_figures_of_every_contender(rows: set[str], tmp_path: Path) -> None:
    arguments = [argument for row in sorted(rows) for argument in ("--only", row)] if rows < expected_rows() else []
    places = ("--json", str(tmp_path / "out.json"), "--workdir", str(tmp_path))
    done = compare("--size", "small", "--rounds", "1", *places, *arguments)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]  # it cleans up behind itself
    document = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    found = {row["name"]: row for row in document["rows"]}
    assert set(found) == rows
    for name, row in found.items():
        check_contenders(row)
        for result in row["contenders"].values():
            assert len(result["times"]) == 1
            assert result["times"][0] == result["median"] > 0
            assert result["uses"]
            can_tell = Path("/proc/self/clear_refs").exists() and name != "distributed-mean"
            assert (result["memory"] is not None) == (can_tell and result["kind"] != "floor")
        check_ratios(row)
        assert done.stdout.count(f"| {name} |") == 2  # the tables of time and of memory
    assert f"÷ zarrds: {document['geometric_mean']:.2f}" in done.stdout


@pytest.mark.slow
def test_only_measures_the_rows_that_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = compare("--size", "small", "--rounds", "2", "--only", "one-map", "--only", "open-cube", "--json", str(out))
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text(encoding="utf-8"))["rows"]
    assert [row["name"] for row in rows] == ["open-cube", "one-map"]
    for row in rows:
        check_contenders(row)
    assert {len(result["times"]) for row in rows for result in row["contenders"].values()} == {2}


@pytest.mark.slow
def test_it_says_that_there_is_no_kernel(tmp_path: Path) -> None:
    """As in a checkout that was installed, but not with `-e`: what is imported is the folder that one stands in."""
    for package in ("zarrds", "benchmarks"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.so", "*.dll", "*.dylib"))
    done = compare("--size", "small", "--rounds", "1", "--only", "open-cube", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'zarrds'} has no kernel" in done.stderr
    assert "kernel Python" in done.stdout


@pytest.mark.slow
def test_it_runs_as_a_script_from_anywhere(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "compare.py"), "--list"]
    listed = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert listed == compare("--list").stdout != ""


@pytest.mark.slow
def test_list_names_rows_without_measuring() -> None:
    done = compare("--list")
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()} == expected_rows()


@pytest.mark.slow
def test_an_unknown_row_is_refused() -> None:
    done = compare("--only", "no-such-row")
    assert done.returncode == 2
    assert "no-such-row" in done.stderr

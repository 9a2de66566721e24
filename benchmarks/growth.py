"""How time and memory grow with the number of labels.

Usage: ``python benchmarks/growth.py [--labels N]... [--rounds N] [--workdir DIR] [--json FILE]``; the numbers of labels
are 10⁶ to 10⁹ unless said, which takes 2 GB of disk and some minutes. docs/benchmarks.md holds the table.

Labels are made chunk by chunk, so that they never are in memory together. What is measured runs in processes of its
own; each of them opens a store once to warm up, and every selection is made of labels that were not asked for before.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import xarray as xr

import zarrds

CHUNK = 16_384
# so many labels are made at once
_PART = CHUNK * 64


def labels_at(positions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The label at each position: increasing, sparse, and in no arithmetic sequence."""
    return positions * 10 + (positions * 7919 % 9973) % 9


def make(path: Path, size: int) -> None:
    """A store of `size` labels, with a variable along them that was never written."""
    root = zarrds.create_group(path)
    array = root.create_array("position", shape=(size,), dtype="int64", chunks=(CHUNK,), dimension_names=["position"])
    for start in range(0, size, _PART):
        stop = min(start + _PART, size)
        array[start:stop] = labels_at(np.arange(start, stop))
    root.create_array("depth", shape=(size,), dtype="int16", chunks=(10 * CHUNK,), dimension_names=["position"])
    zarrds.index(path, "position", durable=False)


def operations(size: int, n: int) -> dict[str, Callable[[xr.Dataset], Any]]:
    """What is done with an open dataset; `n` tells one round from the others."""
    random = np.random.default_rng([size, n])
    at = labels_at(random.integers(0, size, 1000))
    start = int(random.integers(0, size - 10_000))
    ends = [int(labels_at(np.array(p))) for p in (start, start + 9_999)]
    return {
        "one label": lambda ds: ds.sel(position=int(at[0])).position.item() == at[0],
        "slice of 10,000": lambda ds: ds.sel(position=slice(*ends)).sizes["position"] == 10_000,
        "1,000 labels": lambda ds: bool((ds.sel(position=at).position.values == at).all()),
        "nearest of 1,000": lambda ds: ds.sel(position=at + 1, method="nearest").sizes["position"] == 1000,
    }


def measure(path: str, size: int, rounds: int) -> dict[str, float]:
    """Medians in ms, and the peak of this process in MB; for a process of its own."""
    xr.open_dataset(path, engine="zarrds", index="lazy").sel(position=0, method="nearest")
    times: dict[str, list[float]] = {}
    for n in range(rounds):
        began = time.perf_counter()
        ds = xr.open_dataset(path, engine="zarrds", index="lazy")
        times.setdefault("open", []).append(time.perf_counter() - began)
        for name, operation in operations(size, n).items():
            began = time.perf_counter()
            is_right = operation(ds)
            times.setdefault(name, []).append(time.perf_counter() - began)
            if not is_right:
                raise AssertionError(f"{name} of {size} labels is wrong")
    found = {name: 1000 * median(values) for name, values in times.items()}
    # the kernel's own mark: `ru_maxrss` would begin with the parent's
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return {**found, "peak MB": int(peak[1]) / 1024 if peak else float("nan")}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--labels", type=int, action="append", metavar="N")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workdir", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", metavar="PATH", help=argparse.SUPPRESS)  # what the processes of its own do
    asked = parser.parse_args(arguments)
    sizes = asked.labels or [10**6, 10**7, 10**8, 10**9]
    if asked.measure:
        print(json.dumps(measure(asked.measure, sizes[0], asked.rounds)))
        return 0
    results: dict[int, dict[str, float]] = {}
    for size in sizes:
        folder = Path(tempfile.mkdtemp(dir=asked.workdir))
        try:
            began = time.perf_counter()
            make(folder / "x.zarr", size)
            made = time.perf_counter() - began
            command = [sys.executable, __file__, "--labels", str(size), "--rounds", str(asked.rounds)]
            done = subprocess.run(
                [*command, "--measure", str(folder / "x.zarr")], check=True, capture_output=True, text=True
            )
            results[size] = json.loads(done.stdout)
            print(f"{size:>13,} labels, made in {made:.1f} s", file=sys.stderr)
        finally:
            shutil.rmtree(folder)
    columns = list(next(iter(results.values())))
    print("| labels | " + " | ".join(f"{c} (ms)" if c != "peak MB" else c for c in columns) + " |")
    print("| ---: |" + " ---: |" * len(columns))
    for size, row in results.items():
        print(f"| {size:,} | " + " | ".join(f"{row[c]:.1f}" for c in columns) + " |")
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

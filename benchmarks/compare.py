"""Save, open, load and slice the same data with zarrds and with the peers that are installed.

Usage: ``python benchmarks/compare.py [--only ROW]... [--rounds N] [--size small|full] [--json FILE] [--workdir DIR]``;
``--list`` tells the rows. docs/benchmarks.md says what each row is and how to read the table.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import rows_arrays
import rows_datasets
import rows_writes
from data import SIZES, Bench
from timing import OURS, Result, Row, measure

# what the times depend on
_PACKAGES = "numpy blosc crc32c numcodecs xarray pandas zarr zarrs tensorstore netCDF4 h5netcdf h5py".split()


def all_rows() -> list[Row]:
    return [*rows_arrays.rows(), *rows_datasets.rows(), *rows_writes.rows()]


def machine() -> dict[str, str]:
    """The processor and its cores, the system, Python, and the versions of all that is measured."""
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    found = {
        "processor": model[1] if model else platform.processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def geometric_mean(results: Iterable[Result]) -> float | None:
    """Of the ratios of all rows that count time."""
    ratios = [r.ratio for r in results if r.row.unit == "ms" and r.ratio is not None]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(results: Sequence[Result]) -> str:
    """One Markdown table for each family of rows, and below them who used what."""
    lines = []
    for family in dict.fromkeys(r.row.family for r in results):
        members = [r for r in results if r.row.family == family]
        names = list(dict.fromkeys(name for r in members for name in r.figures))
        lines += [
            f"| {family} ({members[0].row.unit}) | {' | '.join(names)} | best peer ÷ {OURS} |",
            f"| --- |{' ---: |' * (len(names) + 1)}",
        ]
        for result in members:
            cells = [_figure(result.medians.get(name)) for name in names]
            best = f"**{result.ratio:.2f}** ({result.best_peer})" if result.ratio is not None else "–"
            lines.append(f"| {result.row.name} | {' | '.join(cells)} | {best} |")
        lines.append("")
    mean = geometric_mean(results)
    lines.append(f"Geometric mean of best peer ÷ {OURS}, rows of time: {_figure(mean)}")
    return "\n".join(lines)


def uses(results: Sequence[Result]) -> str:
    """What each contender used, rows with the same together."""
    rows_of: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for result in results:
        rows_of.setdefault(tuple(result.uses.items()), []).append(result.row.name)
    lines = []
    for used, names in rows_of.items():
        lines.append(f"{', '.join(names)}:")
        lines += [f"  {name}: {what}" for name, what in used]
    return "\n".join(lines)


def as_json(results: Sequence[Result], size: str, rounds: int) -> dict[str, Any]:
    return {
        "machine": machine(),
        "size": size,
        "rounds": rounds,
        "rows": [
            {
                "family": r.row.family,
                "name": r.row.name,
                "about": r.row.about,
                "unit": r.row.unit,
                "contenders": {
                    name: {"uses": r.uses[name], "median": r.medians[name], "figures": figures}
                    for name, figures in r.figures.items()
                },
                "best_peer": r.best_peer,
                "ratio": r.ratio,
            }
            for r in results
        ],
        "geometric_mean": geometric_mean(results),
    }


def run(rows: Sequence[Row], bench: Bench, rounds: int) -> list[Result]:
    results = []
    for row in rows:
        print(f"{row.name}: {row.about}", file=sys.stderr, flush=True)
        results.append(measure(row, bench, rounds))
        medians = ", ".join(f"{name} {_figure(value)}" for name, value in results[-1].medians.items())
        print(f"  {row.unit}: {medians}", file=sys.stderr, flush=True)
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    rows = all_rows()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", metavar="ROW", choices=[row.name for row in rows])
    parser.add_argument("--rounds", type=int, default=5, help="that count, after one to warm up (5)")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    parser.add_argument("--workdir", type=Path, metavar="DIR", help="where to make a folder to work in")
    parser.add_argument("--list", action="store_true", help="tell the rows and stop")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.list:
        print("\n".join(f"{row.name:20} {row.about}" for row in rows))
        return
    warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")  # zarr-python, at every save
    warnings.filterwarnings("ignore", "variable .* has non-conforming '_FillValue'")  # in a real file
    warnings.filterwarnings(
        "ignore", "saving variable .* with floating point data as an integer dtype"
    )  # packed, as in the file
    chosen = [row for row in rows if not options.only or row.name in options.only]
    with tempfile.TemporaryDirectory(prefix="zarrds-bench-", dir=options.workdir) as folder:
        results = run(chosen, Bench(SIZES[options.size], Path(folder)), options.rounds)
    print(", ".join(f"{name} {value}" for name, value in machine().items()), end="\n\n")
    print(table(results), end="\n\n")
    print(uses(results))
    if options.json:
        document = as_json(results, options.size, options.rounds)
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

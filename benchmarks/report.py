"""Results as text: tables in Markdown, and JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import OURS
from benchmarks.results import Result, geometric_mean

# what the times depend on
_PACKAGES = (
    "numpy blosc crc32c numcodecs xarray pandas dask distributed zarr zarrs zarrista tensorstore netCDF4 h5netcdf h5py"
).split()


def machine() -> dict[str, str]:
    """The processor and its cores, the system, Python, whether zarrds has its kernel, and all versions."""
    import zarrds

    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    found = {
        "processor": model[1] if model else platform.processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "kernel": str(zarrds.info().kernel),
    }
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def figure(value: float | None) -> str:
    """A number in three digits or so."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def time_tables(results: Sequence[Result]) -> str:
    """One table for each family of rows; columns that nobody in the family has are left out."""
    lines = []
    for family in dict.fromkeys(r.row.family for r in results):
        members = [r for r in results if r.row.family == family]
        names = list(dict.fromkeys(name for r in members for name in r.times))
        names.sort(key=lambda name: _place(members, name))
        ratios = {
            f"best peer ÷ {OURS}": [_best(r) for r in members],
            "the same, durable": [figure(r.durable_ratio) for r in members],
            f"{OURS} ÷ floor": [figure(r.floor_ratio) for r in members],
        }
        ratios = {title: cells for title, cells in ratios.items() if set(cells) != {"–"}}
        lines += [f"| {family} (ms) | {' | '.join([*names, *ratios])} |", _rule(len(names) + len(ratios))]
        for i, result in enumerate(members):
            cells = [figure(result.medians.get(name)) for name in names] + [column[i] for column in ratios.values()]
            lines.append(f"| {result.row.name} | {' | '.join(cells)} |")
        lines.append("")
    lines.append(f"Geometric mean of best peer ÷ {OURS}: {figure(geometric_mean(results))}")
    return "\n".join(lines)


def memory_table(results: Sequence[Result]) -> str:
    """How far memory rose, of zarrds and of the peer that was fastest."""
    lines = [f"| memory (MB) | {OURS} | best peer in time | {OURS} ÷ best peer |", _rule(3)]
    for result in results:
        peer = result.best_peer or ""
        theirs = result.memory.get(peer)
        cells = [figure(result.memory.get(OURS)), figure(theirs) if theirs is None else f"{figure(theirs)} ({peer})"]
        lines.append(f"| {result.row.name} | {' | '.join(cells)} | {figure(result.memory_ratio)} |")
    return "\n".join(lines)


def uses(results: Sequence[Result]) -> str:
    """What each contender used, rows with the same together; and who was measured in fewer rounds."""
    rows_of: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for result in results:
        most = max(len(times) for times in result.times.values())
        used = {name: c.uses for name, c in result.contenders.items()}
        for name, times in result.times.items():
            if len(times) < most:
                used[name] += f" ({len(times)} rounds)"
        rows_of.setdefault(tuple(used.items()), []).append(result.row.name)
    lines = []
    for row_uses, names in rows_of.items():
        lines.append(f"{', '.join(names)}:")
        lines += [f"  {name}: {what}" for name, what in row_uses]
    return "\n".join(lines)


def as_json(results: Sequence[Result], size: str, rounds: int) -> dict[str, Any]:
    """All figures, with machine and versions."""
    return {
        "machine": machine(),
        "size": size,
        "rounds": rounds,
        "rows": [_row_as_json(result) for result in results],
        "geometric_mean": geometric_mean(results),
    }


def _row_as_json(result: Result) -> dict[str, Any]:
    return {
        "family": result.row.family,
        "name": result.row.name,
        "about": result.row.about,
        "contenders": {
            name: {
                "uses": contender.uses,
                "kind": contender.kind,
                "durable": contender.durable,
                "median": result.medians[name],
                "times": result.times[name],
                "memory": result.memory.get(name),
            }
            for name, contender in result.contenders.items()
        },
        "best_peer": result.best_peer,
        "ratio": result.ratio,
        "durable_ratio": result.durable_ratio,
        "floor_ratio": result.floor_ratio,
        "memory_ratio": result.memory_ratio,
    }


def _place(members: Sequence[Result], name: str) -> int:
    kind = next(r.contenders[name].kind for r in members if name in r.contenders)
    return ("ours", "peer", "floor").index(kind)


def _best(result: Result) -> str:
    return "–" if result.ratio is None else f"**{result.ratio:.2f}** ({result.best_peer})"


def _rule(n_columns: int) -> str:
    return f"| --- |{' ---: |' * n_columns}"

"""Save, open, load and slice the same data with zarrds and with the peers that are installed.

Usage: ``python -m benchmarks.compare [--only ROW]... [--rounds N] [--size small|full] [--json FILE] [--workdir DIR]``;
``--list`` tells the rows. docs/benchmarks.md says what each row is and how to read the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # as a script
    sys.path[0] = str(Path(__file__).parents[1])

from benchmarks import (
    rows_appends,
    rows_arrays,
    rows_cube,
    rows_dask,
    rows_genotypes,
    rows_import,
    rows_labels,
    rows_many,
    rows_queries,
    rows_real,
    rows_selections,
    rows_shards,
)
from benchmarks.contenders import Row
from benchmarks.data import SIZES, Bench
from benchmarks.report import as_json, figure, machine, memory_table, time_tables, uses
from benchmarks.results import Result
from benchmarks.timing import measure


def all_rows() -> list[Row]:
    """In the order of the tables."""
    families = (
        rows_arrays,
        rows_shards,
        rows_cube,
        rows_selections,
        rows_many,
        rows_appends,
        rows_genotypes,
        rows_labels,
        rows_dask,
        rows_queries,
        rows_real,
        rows_import,
    )
    return [row for family in families for row in family.rows()]


def run(rows: Sequence[Row], bench: Bench, rounds: int) -> list[Result]:
    """Measure the rows, and tell on the way how it goes."""
    results = []
    begin = time.monotonic()
    for i, row in enumerate(rows, 1):
        print(f"[{i}/{len(rows)}] {row.name}: {row.about}", file=sys.stderr, flush=True)
        results.append(measure(row, bench, rounds))
        medians = ", ".join(f"{name} {figure(value)}" for name, value in results[-1].medians.items())
        print(f"  {time.monotonic() - begin:.0f} s; in ms: {medians}", file=sys.stderr, flush=True)
    return results


def ignore_warnings() -> None:
    warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")  # zarr-python, at every save
    warnings.filterwarnings("ignore", "variable .* has non-conforming '_FillValue'")  # in a real file
    # packed, as in the file
    warnings.filterwarnings("ignore", "saving variable .* with floating point data as an integer dtype")


def warn_without_kernel() -> None:
    """A checkout that is installed elsewhere, not with `-e`, is imported from where one stands, without its kernel."""
    import zarrds

    if zarrds.info().kernel != "native":
        where = Path(zarrds.__file__).parent
        print(f"{where} has no kernel, so small chunks are slow: pip install -e '.[bench]'", file=sys.stderr)


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
    ignore_warnings()
    warn_without_kernel()
    chosen = [row for row in rows if not options.only or row.name in options.only]
    with tempfile.TemporaryDirectory(prefix="zarrds-bench-", dir=options.workdir) as folder:
        results = run(chosen, Bench(SIZES[options.size], Path(folder)), options.rounds)
    print(", ".join(f"{name} {value}" for name, value in machine().items()), end="\n\n")
    print(time_tables(results), end="\n\n")
    print(memory_table(results), end="\n\n")
    print(uses(results))
    if options.json:
        document = as_json(results, options.size, options.rounds)
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

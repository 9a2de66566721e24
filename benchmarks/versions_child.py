"""One row by the zarrds of this interpreter: ``PYTHON versions_child.py ROW SIZE FOLDER``, by `benchmarks.versions`.

It is run as a file, so that it measures what is installed, of whatever version, and not the checkout beside it. Does a
round for each line that it is given, and prints milliseconds, on the clock and of the processor; null if this
version lacks what the row needs.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import zarrds  # what is installed, before the folder in which the benchmark is can be searched

sys.path.append(str(Path(__file__).parents[1]))
from benchmarks import array_engines, dataset_engines, rows_queries
from benchmarks.compare import all_rows, ignore_warnings
from benchmarks.contenders import OURS, Contender, Row
from benchmarks.data import SIZES, Bench, Size
from benchmarks.rows_changes import rows as more_rows
from benchmarks.timing import check, prepare, touch_memory


def _is_ours(module: str) -> bool:
    return module in ("zarrds", "dask", "distributed")


def _round(row: Row, contender: Contender, number: int, size: Size) -> tuple[float, float]:
    first = number * row.repeat
    prepared = prepare(contender, range(first, first + row.repeat), size)
    gc.collect()
    touch_memory(row.nbytes(size))
    start, worked = time.perf_counter(), time.process_time()
    results = [contender.run(value) for value in prepared]
    seconds = time.perf_counter() - start, time.process_time() - worked
    check(contender, first, results)
    return seconds[0] * 1000 / row.repeat, seconds[1] * 1000 / row.repeat


def main(name: str, size: str, folder: str) -> None:
    array_engines.has = dataset_engines.has = _is_ours  # no peers
    ignore_warnings()
    if not hasattr(zarrds, "find") and name in {row.name for row in rows_queries.rows()}:
        print("null", flush=True)
        return
    row = next(row for row in [*all_rows(), *more_rows()] if row.name == name)
    bench = Bench(SIZES[size], Path(folder))
    with ExitStack() as stack:
        (contender,) = (each for each in row.contenders(bench, stack) if each.name == OURS)
        gc.freeze()
        for number, _ in enumerate(sys.stdin):
            print(json.dumps(_round(row, contender, number, bench.size)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

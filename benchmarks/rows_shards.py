"""Shards of small inner chunks: read all, read a box, write all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.array_engines import Array, Engine, engines
from benchmarks.contenders import Contender, Row
from benchmarks.data import Bench
from benchmarks.timing import put_away
from benchmarks.work import check_values

_ABOUT = "{} of a 17 MB array in shards of 4 MB, inner chunks of 1 kB"


def _values(bench: Bench) -> Array:
    n, height, width = bench.size.shards
    return np.ascontiguousarray(bench.cube()[: 2 * n, : 2 * height, :width])


def _engines(durable: bool = False) -> list[Engine]:
    return [engine for engine in engines(durable=durable) if not engine.own_files and not engine.durable]


def _contender(
    engine: Engine, bench: Bench, run: Callable[[Path], Any], check: Callable[[int, Any], None], path: Path, **more: Any
) -> Contender:
    uses = f"{engine.uses}, shards {bench.size.shards}, chunks {bench.size.inner_chunks}"
    return Contender(engine.name, uses, run, check, lambda _k: path, kind=engine.kind, **more)


def _read(key: Any, bench: Bench, stack: ExitStack) -> list[Contender]:
    values, path = _values(bench), bench.folder / "shards.zarr"
    stack.callback(put_away, path)
    _engines()[0].write(path, values, bench.size.inner_chunks, bench.size.shards)

    def check(_k: int, found: Array) -> None:
        check_values(values[key], found)

    return [_contender(engine, bench, partial(engine.read, key=key), check, path) for engine in _engines()]


def _box(bench: Bench, stack: ExitStack) -> list[Contender]:
    n = bench.size.shards[0]
    return _read((slice(3, n - 3), slice(5, n), slice(n // 2, n + 9)), bench, stack)


def _write(bench: Bench, _stack: ExitStack) -> list[Contender]:
    values, output = _values(bench), bench.folder / "written-shards.zarr"

    def of(engine: Engine) -> Contender:
        family = engine.name.split()[0].split("+")[0]
        others = [e for e in _engines() if not e.name.startswith(family)] or [engine]

        def run(path: Path) -> None:
            engine.write(path, values, bench.size.inner_chunks, bench.size.shards)

        def check(_k: int, _result: None) -> None:
            check_values(values, others[-1].read(output))

        return _contender(engine, bench, run, check, output, output=output)

    return [of(engine) for engine in _engines()]


def rows() -> list[Row]:
    """The rows of this module."""
    return [
        Row("arrays", "read-shards", _ABOUT.format("Open and read all"), partial(_read, ...)),
        Row("arrays", "box-shards", _ABOUT.format("Open and read a box"), _box),
        Row("arrays", "write-shards", _ABOUT.format("Create and write all"), _write),
    ]

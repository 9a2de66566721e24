"""The kinds of work that many rows do: contenders that save, open, load, or select from something that is open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.array_engines import Array
from benchmarks.contenders import Contender, Row
from benchmarks.data import Bench, Size
from benchmarks.dataset_engines import Engine, Opener, engines
from benchmarks.floors import OPEN_FLOOR, in_memory
from benchmarks.sources import Source

Work = Callable[[Bench, ExitStack], list[Contender]]
# for each dimension, what of it
Selection = Mapping[str, Any]

_MIB = 2**20


def some_nbytes(_size: Size) -> int:
    """Of rows that need little memory."""
    return 32 * _MIB


def row(name: str, about: str, work: Work, nbytes: Callable[[Size], int] = some_nbytes, repeat: int = 1) -> Row:
    """A row of the datasets' table."""
    return Row("datasets", name, about, work, repeat, nbytes)


def check_dataset(expected: Any, found: Any) -> None:
    """Raise unless all values are equal, and close what was open."""
    try:
        xr.testing.assert_equal(expected, found.load())
    finally:
        found.close()


def check_values(expected: Array, found: Array) -> None:
    """Raise unless type, shape and values are equal."""
    if found.dtype != expected.dtype or not np.array_equal(found, expected):
        raise AssertionError("the values are not those that were saved")


def numbers(k: int, *limits: int) -> list[int]:
    """For each limit a number below it, random but for every call `k` the same."""
    return [int(n) for n in np.random.default_rng(k).integers(limits)]


def contender(
    engine: Opener,
    uses: str,
    run: Callable[[Any], Any],
    check: Callable[[int, Any], None],
    prepare: Callable[[int], Any] = lambda k: k,
    output: Path | None = None,
) -> Contender:
    """What an engine contributes to a row."""
    return Contender(engine.name, uses, run, check, prepare, output, engine.kind, engine.durable)


def save(sources: Sequence[Source], bench: Bench, _stack: ExitStack) -> list[Contender]:
    """Save datasets or trees, one after the other."""

    def of(engine: Engine) -> Contender:
        output = bench.folder / "saved"
        work = [
            (source.get(bench), output / f"{source.name}{engine.suffix}", source.encoding(engine, bench))
            for source in sources
        ]

        def prepare(_k: int) -> None:
            output.mkdir()

        def run(_prepared: None) -> None:
            for obj, path, encoding in work:
                engine.save(obj, path, encoding)

        def check(_k: int, _result: None) -> None:
            for obj, path, _ in work:
                check_dataset(obj, engine.open_tree(path) if isinstance(obj, xr.DataTree) else engine.open(path))

        return contender(engine, sources[0].uses(engine, bench), run, check, prepare, output)

    return [of(engine) for engine in engines(durable=True)]


def open_(source: Source, bench: Bench, _stack: ExitStack) -> list[Contender]:
    """Open a dataset or a tree; with a floor."""
    expected = source.get(bench)

    def of(opener: Opener, uses: str, stored: Any) -> Contender:
        open_it: Callable[[Any], Any] = opener.open_tree if isinstance(expected, xr.DataTree) else opener.open

        def check(_k: int, found: Any) -> None:
            check_dataset(expected, found)

        return contender(opener, uses, open_it, check, lambda _k: stored)

    peers = [of(engine, source.uses(engine, bench), source.stored(engine, bench)) for engine in engines()]
    return [*peers, of(OPEN_FLOOR, OPEN_FLOOR.uses, in_memory(source, bench))]


def load(sources: Sequence[Source], bench: Bench, _stack: ExitStack) -> list[Contender]:
    """Load datasets that were opened before."""

    def of(engine: Engine) -> Contender:
        paths = [source.stored(engine, bench) for source in sources]

        def prepare(_k: int) -> list[xr.Dataset]:
            return [engine.open(path) for path in paths]

        def run(datasets: list[xr.Dataset]) -> list[xr.Dataset]:
            return [ds.load() for ds in datasets]

        def check(_k: int, found: list[xr.Dataset]) -> None:
            for source, ds in zip(sources, found, strict=True):
                check_dataset(source.get(bench), ds)

        return contender(engine, sources[0].uses(engine, bench), run, check, prepare)

    return [of(engine) for engine in engines()]


def select(
    source: Source,
    variable: str,
    place: Callable[[Bench, int], Selection],
    with_floor: bool,
    bench: Bench,
    stack: ExitStack,
) -> list[Contender]:
    """A selection on a dataset that stays open, elsewhere at each call, but for all contenders in the same places."""
    expected: xr.DataArray = source.get(bench)[variable]

    def check(k: int, found: Array) -> None:
        check_values(expected.isel(place(bench, k)).values, found)

    def of(opener: Opener, uses: str, stored: Any) -> Contender:
        array = stack.enter_context(opener.open(stored))[variable]

        def run(selection: Selection) -> Array:
            return array.isel(selection).values

        return contender(opener, uses, run, check, partial(place, bench))

    peers = [of(engine, source.uses(engine, bench), source.stored(engine, bench)) for engine in engines()]
    return [*peers, of(OPEN_FLOOR, OPEN_FLOOR.uses, in_memory(source, bench))] if with_floor else peers

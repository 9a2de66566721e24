"""Plain arrays: read and write all of a float32 cube."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.array_engines import Array, Engine, engines
from benchmarks.contenders import Contender, Row
from benchmarks.data import Bench, Size
from benchmarks.floors import decode_floor
from benchmarks.timing import put_away
from benchmarks.work import check_values


def _contender(
    engine: Engine,
    chunks: tuple[int, ...],
    run: Callable[[Path], Any],
    check: Callable[[int, Any], None],
    path: Path,
    output: Path | None = None,
) -> Contender:
    uses = f"{engine.uses}, chunks {chunks}"
    return Contender(engine.name, uses, run, check, lambda _k: path, output, engine.kind, engine.durable)


def _read_all(size_name: str, bench: Bench, stack: ExitStack) -> list[Contender]:
    chunks = bench.size.cube_chunks[size_name]

    def write(engine: Engine, name: str) -> Path:
        path = bench.folder / name
        stack.callback(put_away, path)
        engine.write(path, bench.cube(), chunks)
        return path

    all_engines = engines()
    shared = write(all_engines[0], "shared.zarr")

    def check(_k: int, found: Array) -> None:
        check_values(bench.cube(), found)

    def of(engine: Engine) -> Contender:
        path = write(engine, f"{engine.name}.zarr") if engine.own_files else shared
        return _contender(engine, chunks, engine.read, check, path)

    return [*(of(engine) for engine in all_engines), decode_floor(bench.cube(), shared, chunks)]


def _write_all(size_name: str, bench: Bench, _stack: ExitStack) -> list[Contender]:
    chunks = bench.size.cube_chunks[size_name]
    output = bench.folder / "written.zarr"

    def of(engine: Engine) -> Contender:
        # another library than the one that wrote it says whether it is right, if there is one
        family = engine.name.split("+")[0].split()[0]
        others = [e for e in engines() if not e.name.startswith(family)] or [engine]

        def run(path: Path) -> None:
            engine.write(path, bench.cube(), chunks)

        def check(_k: int, _result: None) -> None:
            check_values(bench.cube(), others[-1].read(output))

        return _contender(engine, chunks, run, check, output, output)

    return [of(engine) for engine in engines(durable=True)]


def _nbytes(size: Size) -> int:
    return 2 * size.cube_nbytes  # what is read or written, and the library's buffers or the files' pages


def rows() -> list[Row]:
    """The rows of this module."""
    found = []
    for name, about in {"4MB": "4 MB", "400kB": "400 kB", "64kB": "64 kB", "slab": "whole steps"}.items():
        cube = f"the 520 MB array in chunks of {about}"
        found.append(Row("arrays", f"read-{name}", f"Open and read {cube}", partial(_read_all, name), nbytes=_nbytes))
        found.append(
            Row("arrays", f"write-{name}", f"Create and write {cube}", partial(_write_all, name), nbytes=_nbytes)
        )
    return found

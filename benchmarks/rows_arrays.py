"""Plain arrays: read and write all of a float32 cube, and the memory that reading it takes."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from array_engines import Array, Engine, engines
from data import Bench, Size
from timing import Contender, Row


def _stored(bench: Bench, engine: Engine, chunks: tuple[int, ...]) -> Path:
    """The cube in a store that the engine is to read; in most rows all read the same one."""
    kind = engine.name if engine.own_files else "shared"
    path = bench.folder / f"cube-{kind}-{'x'.join(map(str, chunks))}.zarr"
    writer = engine if engine.own_files else engines()[0]
    bench.once(path, lambda: writer.write(path, bench.cube(), chunks))
    return path


def _check_values(expected: Array, _k: int, found: Array) -> None:
    if found.dtype != expected.dtype or not np.array_equal(found, expected):
        raise AssertionError("the array is not what was written")


def _read_all(size_name: str, bench: Bench, _stack: ExitStack) -> list[Contender]:
    chunks = bench.size.cube_chunks[size_name]
    check = partial(_check_values, bench.cube())

    def contender(engine: Engine) -> Contender:
        path = _stored(bench, engine, chunks)
        return Contender(engine.name, f"{engine.uses}, chunks {chunks}", engine.read, check, prepare=lambda _k: path)

    return [contender(e) for e in engines()]


def _write_all(size_name: str, bench: Bench, _stack: ExitStack) -> list[Contender]:
    chunks = bench.size.cube_chunks[size_name]
    all_engines = engines()

    def contender(engine: Engine) -> Contender:
        output = bench.folder / "written.zarr"
        # another library than the one that wrote it says whether it is right, if there is one
        others = [e for e in all_engines if not e.name.startswith(engine.name.partition("+")[0])] or [engine]

        def check(k: int, _result: object) -> None:
            _check_values(bench.cube(), k, others[-1].read(output))

        def write(_k: int) -> None:
            engine.write(output, bench.cube(), chunks)

        return Contender(engine.name, f"{engine.uses}, chunks {chunks}", write, check, output=output)

    return [contender(e) for e in all_engines]


def _memory(bench: Bench, _stack: ExitStack) -> list[Contender]:
    chunks = bench.size.cube_chunks["4MB"]
    checksum = bench.once("checksum", lambda: zlib.crc32(bench.cube().data))

    def contender(engine: Engine) -> Contender:
        path = _stored(bench, engine, chunks)
        warm = bench.folder / f"warm-{engine.name}.zarr"
        bench.once(warm, lambda: engine.write(warm, bench.cube()[:8, :8, :8], (4, 4, 4)))

        def run(_k: int) -> float:
            script = str(Path(__file__).with_name("peak_memory.py"))
            command = [sys.executable, script, engine.name, str(warm), str(path)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            if found["checksum"] != checksum:
                raise AssertionError("the array is not what was written")
            return float(found["peak"]) / 1e6

        return Contender(engine.name, f"{engine.uses}, chunks {chunks}", run, lambda _k, _result: None)

    return [contender(e) for e in engines()]


def rows() -> list[Row]:
    def nbytes(size: Size) -> int:
        return 2 * size.cube_nbytes  # what is read or written, and the library's buffers or the files' pages

    found = []
    for size_name in ("4MB", "400kB", "64kB"):
        about = f"the 500 MB cube in chunks of {size_name}"
        read, write = partial(_read_all, size_name), partial(_write_all, size_name)
        found.append(Row("arrays", f"read-{size_name}", f"Open and read {about}", read, nbytes=nbytes))
        found.append(Row("arrays", f"write-{size_name}", f"Create and write {about}", write, nbytes=nbytes))
    about = "Peak memory of reading the 500 MB cube in chunks of 4MB"
    found.append(Row("memory", "peak-read-4MB", about, _memory, unit="MB"))
    return found

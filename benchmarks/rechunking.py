"""From maps to series: zarrds.rechunk beside rechunker and dask's p2p, each in a process of its own.

Run from the project's root: ``python -m benchmarks.rechunking`` prints the table of docs/rechunk.md. rechunker needs
zarr-python 2, so it has an environment of its own: ``--rechunker /path/to/its/python``, else it is left out. The source
is of Zarr format 2, which all of them read, with the same codec on both sides. What each writes is compared with what
was to be written.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

import zarrds
from zarrds.codecs.base import AnyArray

SIDE = 32  # of the chunks that are written, over all of the first dimension


def _map(i: int, size: int) -> AnyArray:
    noise = np.random.default_rng(i).normal(0, 3, (size, size))
    return (np.round(280 + 9 * np.sin(i / 24) + noise, 1)).astype("f4")


def _source(path: Path, mib: int) -> tuple[int, int]:
    """Maps of 1 MiB, one a chunk."""
    size = 512
    blosc = {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle"}}
    codecs = [{"name": "bytes"}, blosc]
    array = zarrds.create_array(
        path, path="v", shape=(mib, size, size), chunks=(1, size, size), dtype="f4", codecs=codecs, zarr_format=2
    )
    for i in range(mib):
        array[i] = _map(i, size)
    return mib, size


def _is_right(path: Path, n: int, size: int) -> bool:
    array = zarrds.open_array(path / "v")
    if array.shape != (n, size, size) or array.chunks != (n, SIDE, SIDE):
        return False
    slab = array[:, :SIDE]
    return all(np.array_equal(slab[i], _map(i, size)[:SIDE]) for i in range(n)) and np.array_equal(
        array[n // 2], _map(n // 2, size)
    )


def main() -> None:
    """Print a row for each contender: seconds on the clock and of the processor, and MB; medians over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=2048, help="of the array")
    parser.add_argument("--max-memory", type=int, help="MB; an eighth of the array unless said")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rechunker", metavar="PYTHON", help="of an environment with rechunker")
    parser.add_argument("--folder", help="where to work; the system's folder for temporary files unless said")
    args = parser.parse_args()
    memory = args.max_memory or args.mib // 8
    pythons = {"zarrds": sys.executable, "dask p2p": sys.executable} | (
        {"rechunker": args.rechunker} if args.rechunker else {}
    )
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in pythons}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        n, size = _source(Path(folder) / "source.zarr", args.mib)
        for _ in range(args.rounds):
            for name, python in pythons.items():
                work = Path(folder) / "work"
                work.mkdir()
                words = [
                    python,
                    str(Path(__file__).with_name("rechunking_child.py")),
                    name,
                    f"{folder}/source.zarr",
                    str(work),
                    str(memory),
                    str(SIDE),
                ]
                done = subprocess.run(words, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{name} failed:\n{done.stderr}")
                if not _is_right(work / "target.zarr", n, size):
                    raise SystemExit(f"{name} has written something else")
                told = json.loads(done.stdout.splitlines()[-1])
                found[name].append((told["seconds"], told["cpu"], told["mb"]))
                shutil.rmtree(work)
    print(
        f"{args.mib} MiB, (1, {size}, {size}) -> ({n}, {SIDE}, {SIDE}), {memory} MB allowed, median of {args.rounds}\n"
    )
    print("| | seconds | ÷ zarrds | of the processor | ÷ zarrds | peak memory, MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    ours = [median(column) for column in zip(*found["zarrds"], strict=True)]
    for name, each in found.items():
        clock, cpu, mb = (median(column) for column in zip(*each, strict=True))
        print(f"| {name} | {clock:.1f} | {clock / ours[0]:.1f} | {cpu:.1f} | {cpu / ours[1]:.1f} | {mb:.0f} |")


if __name__ == "__main__":
    main()

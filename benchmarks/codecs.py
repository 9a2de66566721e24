"""Measure Blosc's settings on real arrays, to choose the defaults of zarrds.

Usage: ``python -m benchmarks.codecs [--data DIR] [--rounds N] [--json FILE]``

Every array is cut into chunks of one to two MiB. Each setting (inner codec, level, shuffle) compresses and
decompresses the same chunks with one Blosc thread; the settings take turns within a round, so that a busy
moment of the machine does not fall on one of them alone, and the median over the rounds counts.
BloscLZ is left out: forged BloscLZ frames can crash c-blosc 1.21, so zarrds does not write any.

Needs python-blosc, NumPy and netCDF4; the genotypes also need cyvcf2 and are left out without it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import blosc
import netCDF4
import numpy as np
import numpy.typing as npt

MIB = 2**20
CHUNK_BYTES = 2 * MIB
CHUNKS_PER_ARRAY = 2
# A setting that needs this long for one array is compressed once only: zstd 9 would take minutes otherwise,
# and a measurement this long is steady enough to rule a setting out.
SLOW_SECONDS = 0.05

CNAMES = ("lz4", "lz4hc", "zstd")
CLEVELS = (1, 3, 5, 7, 9)
SHUFFLES = {"none": blosc.NOSHUFFLE, "shuffle": blosc.SHUFFLE, "bitshuffle": blosc.BITSHUFFLE}
# Rates at which one worker may get compressed bytes from its store, in MB/s: a local SSD, and a shared file system.
STORE_RATES = (2000, 200)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Setting:
    """One contender: Blosc's inner codec, its level (1 to 9) and the name of its shuffle."""

    cname: str
    clevel: int
    shuffle: str


@dataclass(frozen=True)
class Sample:
    """One array as it would be stored: a name and its C-contiguous chunks, all of one dtype.

    `text` says that the bytes are strings of variable length, already encoded, and no numbers.
    """

    name: str
    chunks: list[Array]
    text: bool = False

    @property
    def group(self) -> str:
        """Which arrays to take the means with: those of one item size, or text."""
        return "text" if self.text else f"item size {self.dtype.itemsize}"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The data type of every chunk."""
        return self.chunks[0].dtype

    @property
    def nbytes(self) -> int:
        """Bytes before compression, over all chunks."""
        return sum(chunk.nbytes for chunk in self.chunks)


@dataclass
class Timings:
    """What was measured for one setting on one array: seconds per pass over its chunks, and bytes stored."""

    compressed: int = 0
    compress: list[float] = field(default_factory=list)
    decompress: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """One line of the table; rates are in MB/s of uncompressed data, one thread."""

    array: str
    dtype: str
    group: str
    cname: str
    clevel: int
    shuffle: str
    ratio: float
    compress: float
    decompress: float

    @property
    def setting(self) -> Setting:
        """The setting this line belongs to."""
        return Setting(self.cname, self.clevel, self.shuffle)


def cut(name: str, values: Array) -> Sample:
    """Cut an array along its leading axes into the chunks to measure.

    Parameters
    ----------
    name : str
        What to call the array in the tables.
    values : ndarray
        Any shape. The last two dimensions of an array of three or more stay whole, as a map would.

    Returns
    -------
    Sample
        At most ``CHUNKS_PER_ARRAY`` equal chunks of at most about 2 MiB, taken from the array's start.
    """
    rows = values.reshape(-1, *values.shape[-2:]) if values.ndim > 2 else values
    pieces = np.array_split(rows, math.ceil(rows.nbytes / CHUNK_BYTES))
    return Sample(name, [np.ascontiguousarray(piece) for piece in pieces[:CHUNKS_PER_ARRAY]])


def climate(data: Path) -> Iterator[Sample]:
    """ERA5 and ERA-Interim fields: packed as in the file, decoded, and wind speed, whose mantissas are full."""
    with netCDF4.Dataset(data / "era5_t2m_uk_2019-03.nc") as file:
        variable = file["t2m"]
        # Unpacked in float64 and rounded once, as xarray decodes it.
        decoded: Array = np.ma.getdata(variable[:])
        yield cut("era5 t2m", decoded.astype("f4"))
        variable.set_auto_maskandscale(False)
        yield cut("era5 t2m packed", variable[:])
    winds: dict[str, Array] = {}
    with netCDF4.Dataset(data / "eraint_uvz.nc") as file:
        for name in ("u", "v", "z"):
            variable = file[name]
            variable.set_auto_maskandscale(False)
            packed: Array = variable[:]
            decoded = packed * float(variable.scale_factor) + float(variable.add_offset)
            winds[name] = decoded
            # netCDF 3 is big-endian; arrays are stored little-endian.
            yield cut(f"eraint {name} packed", packed.astype("<i2"))
            yield cut(f"eraint {name}", decoded)
            yield cut(f"eraint {name}", decoded.astype("f4"))
    speed = np.hypot(winds["u"], winds["v"])
    yield cut("eraint wind speed", speed)
    yield cut("eraint wind speed", speed.astype("f4"))
    with netCDF4.Dataset(data / "basin_mask.nc") as file:
        variable = file["basin"]
        variable.set_auto_maskandscale(False)
        basin: Array = variable[:]
        yield cut("basin mask", basin)
        yield cut("basin land", basin == variable.missing_value)


def coordinates(data: Path) -> Iterator[Sample]:
    """Sorted labels: ERA5's hourly time axis carried on to 2 MiB (30 years), and 301,778 genome positions.

    With the positions come two columns of text of the same file, short (reference alleles) and longer (a sample's
    fields), each string behind its length of four bytes, as the codec vlen-utf8 stores it.
    """
    with netCDF4.Dataset(data / "era5_t2m_uk_2019-03.nc") as file:
        first, second = (int(value) for value in file["time"][:2])
    times = first + (second - first) * np.arange(CHUNK_BYTES // 8, dtype="i8")
    yield cut("hourly time", times)
    yield cut("hourly time", times.astype("f8"))
    with gzip.open(data / "NA12878.prod.chr20snippet.g.vcf.gz", "rt", encoding="utf-8") as lines:
        records = [line.rstrip("\n").split("\t") for line in lines if not line.startswith("#")]
    positions = np.array([int(record[1]) for record in records], "i8")
    yield cut("positions", positions.astype("i4"))
    yield cut("positions", positions)
    for name, column in (("alleles", 3), ("sample fields", 9)):
        strings = [record[column].encode() for record in records]
        encoded = b"".join(len(string).to_bytes(4, "little") + string for string in strings)
        yield replace(cut(name, np.frombuffer(encoded, "u1")), text=True)


def genotypes(data: Path, *, tiles: tuple[int, int] = (40, 10), seed: int = 22) -> Iterator[Sample]:
    """Genotype calls of 1000 Genomes, int8, variants x samples x 2, tiled from 20 kB to 8 MB, and which are missing.

    The file holds 100 variants of 100 samples. A plain repetition would lie within the codecs' windows and
    compress far too well, so every tile takes the samples, and every band of tiles the variants, in a random
    order of its own. Nothing is yielded when cyvcf2 is not installed.
    """
    try:
        import cyvcf2
    except ImportError:
        print("cyvcf2 is not installed: the genotypes are left out")
        return
    calls = np.stack([record.genotype.array()[:, :2] for record in cyvcf2.VCF(str(data / "chr22.vcf.gz"))])
    calls = calls.astype("i1")
    random = np.random.default_rng(seed)
    bands = []
    for _ in range(tiles[0]):
        band = calls[random.permutation(len(calls))]
        bands.append(np.concatenate([band[:, random.permutation(band.shape[1])] for _ in range(tiles[1])], axis=1))
    tiled = np.concatenate(bands)
    yield cut("genotypes (tiled)", tiled)
    yield cut("genotypes missing", tiled < 0)


def measure_once(sample: Sample, setting: Setting, timings: Timings, outputs: list[Array]) -> None:
    """Time one pass of one setting over one array, and at the first pass check that the values come back."""
    shuffle = SHUFFLES[setting.shuffle]
    itemsize = sample.dtype.itemsize
    start = time.perf_counter()
    frames = [
        blosc.compress_ptr(chunk.ctypes.data, chunk.size, itemsize, setting.clevel, shuffle, setting.cname)
        for chunk in sample.chunks
    ]
    timings.compress.append(time.perf_counter() - start)
    repeats = 1 if len(timings.compress) > 1 or timings.compress[0] < SLOW_SECONDS else 3
    for _ in range(repeats):
        start = time.perf_counter()
        for frame, output in zip(frames, outputs, strict=True):
            blosc.decompress_ptr(frame, output.ctypes.data)
        timings.decompress.append(time.perf_counter() - start)
    if timings.compressed:
        return
    timings.compressed = sum(len(frame) for frame in frames)
    for chunk, output in zip(sample.chunks, outputs, strict=True):
        if chunk.tobytes() != output.tobytes():
            raise AssertionError(f"{setting} does not give {sample.name} back")


def measure(samples: Iterable[Sample], settings: list[Setting], rounds: int) -> list[Result]:
    """Measure every setting on every array.

    Parameters
    ----------
    samples : iterable of Sample
        The arrays.
    settings : list of Setting
        The contenders, which take turns within each round.
    rounds : int
        Passes per array and setting; slow settings get one.

    Returns
    -------
    list of Result
        One for each array and setting.
    """
    blosc.set_nthreads(1)
    results = []
    for sample in samples:
        outputs = [np.zeros_like(chunk) for chunk in sample.chunks]
        measured = {setting: Timings() for setting in settings}
        for _ in range(rounds):
            for setting, timings in measured.items():
                if not timings.compress or timings.compress[0] < SLOW_SECONDS:
                    measure_once(sample, setting, timings, outputs)
        megabytes = sample.nbytes / 1e6
        for setting, timings in measured.items():
            results.append(
                Result(
                    sample.name,
                    sample.dtype.name,
                    sample.group,
                    setting.cname,
                    setting.clevel,
                    setting.shuffle,
                    sample.nbytes / timings.compressed,
                    megabytes / statistics.median(timings.compress),
                    megabytes / statistics.median(timings.decompress),
                )
            )
    return results


def copy_rate(rounds: int) -> float:
    """Measure a plain copy of one chunk, in MB/s: what no codec can be expected to beat by much."""
    source, target = np.ones(CHUNK_BYTES, "u1"), np.zeros(CHUNK_BYTES, "u1")
    seconds = []
    for _ in range(10 * rounds):
        start = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - start)
    return CHUNK_BYTES / 1e6 / statistics.median(seconds)


def read_rate(result: Result, store: float) -> float:
    """Model reading and then decoding, in MB/s of uncompressed data, from a store that gives `store` MB/s."""
    return 1 / (1 / result.decompress + 1 / (result.ratio * store))


def summary(title: str, results: list[Result]) -> None:
    """Print the geometric means over the given results for each setting, fastest to decompress first."""
    by_setting: dict[Setting, list[Result]] = {}
    for result in results:
        by_setting.setdefault(result.setting, []).append(result)

    def mean(setting: Setting, value: Callable[[Result], float]) -> float:
        return statistics.geometric_mean([value(result) for result in by_setting[setting]])

    print(f"\n{title}: geometric means over {len({(result.array, result.dtype) for result in results})} arrays")
    reads = "".join(f"{f'read@{store}':>11}" for store in STORE_RATES)
    print(f"{'codec':<7}{'level':>5}  {'shuffle':<11}{'ratio':>7}{'compress':>10}{'decompress':>12}{reads}")
    for setting in sorted(by_setting, key=lambda setting: -mean(setting, lambda result: result.decompress)):
        ratio = mean(setting, lambda result: result.ratio)
        compress = mean(setting, lambda result: result.compress)
        decompress = mean(setting, lambda result: result.decompress)
        rates = "".join(f"{mean(setting, partial(read_rate, store=store)):11.0f}" for store in STORE_RATES)
        print(
            f"{setting.cname:<7}{setting.clevel:>5}  {setting.shuffle:<11}"
            f"{ratio:7.2f}{compress:10.0f}{decompress:12.0f}{rates}"
        )


def table(results: list[Result]) -> None:
    """Print every measurement: array by array, fastest to decompress first."""
    print(f"{'array':<21}{'dtype':<9}{'codec':<7}{'level':>5}  {'shuffle':<11}", end="")
    print(f"{'ratio':>8}{'compress':>10}{'decompress':>12}")
    for line in sorted(results, key=lambda line: (line.group, line.array, line.dtype, -line.decompress)):
        print(
            f"{line.array:<21}{line.dtype:<9}{line.cname:<7}{line.clevel:>5}  {line.shuffle:<11}"
            f"{line.ratio:8.2f}{line.compress:10.0f}{line.decompress:12.0f}"
        )


def main() -> None:
    """Measure, print the tables, and write the measurements as JSON when asked to."""
    parser = argparse.ArgumentParser(description="Measure Blosc's settings on real arrays.")
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    parser.add_argument("--data", type=Path, default=default, help="folder of the data files")
    parser.add_argument("--rounds", type=int, default=5, help="passes per array and setting (default: 5)")
    parser.add_argument("--json", type=Path, help="also write every measurement to this file")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if not options.data.is_dir():
        parser.error(f"no folder {options.data}: name the folder of the data files with --data")

    began = time.perf_counter()
    settings = [Setting(c, level, shuffle) for level in CLEVELS for c in CNAMES for shuffle in SHUFFLES]
    samples = [*climate(options.data), *genotypes(options.data), *coordinates(options.data)]
    results = measure(samples, settings, options.rounds)
    table(results)
    for group in sorted({result.group for result in results}):
        summary(group, [result for result in results if result.group == group])
    summary("all numbers", [result for result in results if result.group != "text"])
    print(f"\nMB/s of uncompressed data, one thread; a plain copy: {copy_rate(options.rounds):.0f}.")
    print(f"{len(results)} measurements in {time.perf_counter() - began:.0f} s; blosc {blosc.blosclib_version}")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

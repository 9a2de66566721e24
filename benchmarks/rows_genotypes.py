"""Genotypes, 160 MB: save them, open them and read a region, and one sample by its name."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

import numpy as np

from benchmarks.array_engines import Array
from benchmarks.contenders import Contender, Row
from benchmarks.data import Bench, Size
from benchmarks.dataset_engines import Engine, engines
from benchmarks.sources import GENOTYPES
from benchmarks.work import Selection, check_values, contender, numbers, row, save


def _region(bench: Bench, k: int) -> Selection:
    n_variants, n_samples = bench.size.genotypes
    variant, sample = numbers(k, n_variants - n_variants // 20 + 1, n_samples - n_samples // 5 + 1)
    return {
        "variants": slice(variant, variant + n_variants // 20),
        "samples": slice(sample, sample + n_samples // 5),
    }


def _open_and_read(bench: Bench, _stack: ExitStack) -> list[Contender]:
    expected = bench.genotypes().call_genotype

    def check(k: int, found: Array) -> None:
        check_values(expected.isel(_region(bench, k)).values, found)

    def of(engine: Engine) -> Contender:
        path = GENOTYPES.stored(engine, bench)

        def run(region: Selection) -> Array:
            with engine.open(path) as ds:
                return np.asarray(ds.call_genotype.isel(region).values)

        return contender(engine, GENOTYPES.uses(engine, bench), run, check, partial(_region, bench))

    return [of(engine) for engine in engines()]


def _one_sample(bench: Bench, stack: ExitStack) -> list[Contender]:
    ds = bench.genotypes()
    names = ds.samples.values

    def sample(k: int) -> int:
        return numbers(k, names.size)[0]

    def check(k: int, found: Array) -> None:
        check_values(ds.call_genotype.values[:, sample(k)], found)

    def of(engine: Engine) -> Contender:
        calls = stack.enter_context(engine.open(GENOTYPES.stored(engine, bench))).call_genotype

        def run(name: str) -> Array:
            return np.asarray(calls.sel(samples=name).values)

        return contender(engine, GENOTYPES.uses(engine, bench), run, check, lambda k: names[sample(k)])

    return [of(engine) for engine in engines()]


def _nbytes(size: Size) -> int:
    return 3 * size.genotypes_nbytes


def rows() -> list[Row]:
    """The rows of this module."""
    part = "5 % of the variants, 20 % of the samples"
    return [
        row("save-genotypes", "Save 160 MB of genotypes, Zstandard", partial(save, [GENOTYPES]), _nbytes),
        row("read-genotypes", f"Open them and read a region of {part}", _open_and_read, repeat=3),
        row("one-sample", "On them, open: one sample by name", _one_sample, _nbytes),
    ]

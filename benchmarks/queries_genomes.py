"""Variants of a region by their quality: VCF Zarr by statistics and without, BCF by bcftools, and other tools' ways."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import zarrds
from benchmarks.queries_ways import Question, Way, has

_SAMPLES = 20
_CONTIGS = ("chr1", "chr2")
_QUALITY = 995
_NAMES = ["variant_contig", "variant_position", "variant_length"]
# which variants of a contig, in hundredths
_REGION = (30, 60)

Positions = list[int]


def _make_vcf(path: Path, n: int) -> None:
    """Some qualities are high, here and there in runs, as they are where reads are many."""
    rng = np.random.default_rng(0)
    header = ["##fileformat=VCFv4.3", *(f"##contig=<ID={name},length=250000000>" for name in _CONTIGS)]
    header += ['##FILTER=<ID=low,Description="low quality">']
    header += ['##INFO=<ID=DP,Number=1,Type=Integer,Description="depth">']
    header += ['##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">']
    samples = [f"s{i}" for i in range(_SAMPLES)]
    header += ["\t".join("#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT".split() + samples)]
    calls = np.array(["0/0", "0/1", "1/1"])
    with io.TextIOWrapper(path.open("wb"), encoding="ascii") as file:
        file.write("\n".join(header) + "\n")
        for name in _CONTIGS:
            at = np.cumsum(rng.integers(50, 500, n // 2))
            quality = rng.integers(20, 900, n // 2)
            runs = rng.integers(0, n // 2, 12)
            for run in runs:
                quality[run : run + 40] = rng.integers(900, 1000, quality[run : run + 40].size)
            genotypes = rng.choice(calls, (n // 2, _SAMPLES), p=[0.8, 0.15, 0.05])
            depth = rng.integers(1, 60, n // 2)
            file.writelines(
                f"{name}\t{p}\t.\tA\tT\t{q}\t{'PASS' if q > 50 else 'low'}\tDP={d}\tGT\t{chr(9).join(g)}\n"
                for p, q, d, g in zip(at.tolist(), quality.tolist(), depth.tolist(), genotypes.tolist(), strict=True)
            )


def _by_zarrds(path: Path, region: str) -> Positions:
    ds = xr.open_dataset(path, engine="zarrds", index="lazy").set_coords(_NAMES)
    ds = ds.set_xindex(_NAMES, zarrds.RegionIndex, contig_id=ds.contig_id, region_index=ds.region_index)
    found = zarrds.find(ds.sel(variant_contig=region), f"variant_quality > {_QUALITY}")
    return list(found.variant_position.values.tolist())


def _by_engine(path: Path, contig: int, first: int, last: int) -> Positions:
    ds = xr.open_dataset(path, engine="zarr", chunks=None)
    position, quality = ds.variant_position.values, ds.variant_quality.values
    is_there = (ds.variant_contig.values == contig) & (position >= first) & (position <= last) & (quality > _QUALITY)
    return list(position[is_there].tolist())


def _by_bcftools(path: Path, region: str) -> Positions:
    query = ["bcftools", "query", "-r", region, "-i", f"QUAL>{_QUALITY}", "-f", "%POS\n", str(path)]
    return list(map(int, subprocess.run(query, check=True, capture_output=True, text=True).stdout.split()))


def _by_vcztools(path: Path, region: str) -> Positions:
    query = [
        sys.executable,
        "-m",
        "vcztools",
        "query",
        "-r",
        region,
        "-i",
        f"QUAL>{_QUALITY}",
        "-f",
        "%POS\n",
        str(path),
    ]
    return list(map(int, subprocess.run(query, check=True, capture_output=True, text=True).stdout.split()))


def _by_zarrds_in_a_process(path: Path, region: str) -> Positions:
    code = (
        "from pathlib import Path; from benchmarks.queries_genomes import _by_zarrds; "
        f"print(*_by_zarrds(Path({str(path)!r}), {region!r}))"
    )
    return list(
        map(
            int, subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
        )
    )


def _make_parquet(path: Path, source: Path) -> None:
    import polars

    ds = xr.open_dataset(source, engine="zarrds")
    names = {"contig": "variant_contig", "position": "variant_position", "quality": "variant_quality"}
    columns: dict[str, Any] = {name: ds[variable].values for name, variable in names.items()}
    polars.DataFrame(columns).write_parquet(path, compression="lz4", row_group_size=10_000, statistics=True)


def _by_duckdb(path: Path, contig: int, first: int, last: int) -> Positions:
    import duckdb

    where = f"contig = {contig} AND position BETWEEN {first} AND {last} AND quality > {_QUALITY}"
    found = duckdb.sql(f"SELECT position FROM '{path}' WHERE {where} ORDER BY position").fetchall()
    return [position for (position,) in found]


def _by_polars(path: Path, contig: int, first: int, last: int) -> Positions:
    import polars

    col = polars.col
    where = (col("contig") == contig) & col("position").is_between(first, last) & (col("quality") > _QUALITY)
    return list(polars.scan_parquet(path).filter(where).select("position").collect()["position"].to_list())


def questions(folder: Path, n: int) -> list[Question]:
    """The questions of this module; makes the data."""
    if not has("cyvcf2"):
        return []
    text = folder / "variants.vcf"
    _make_vcf(text, n)
    for name, statistics in (("known", True), ("plain", None)):
        zarrds.convert(text, folder / f"{name}.vcz", statistics=statistics, durable=False)
    known, plain = folder / "known.vcz", folder / "plain.vcz"
    ds = xr.open_dataset(known, engine="zarrds")
    at = ds.variant_position.values[: n // 2]
    first, last = (int(at[n // 2 * part // 100]) for part in _REGION)
    region, place = f"{_CONTIGS[0]}:{first}-{last}", (0, first, last)
    ways = [
        Way("zarrds by statistics", partial(_by_zarrds, known, region)),
        Way("zarrds, all of the region read", partial(_by_zarrds, plain, region)),
    ]
    if has("zarr"):
        ways.append(Way("xarray's zarr engine, NumPy", partial(_by_engine, plain, *place)))
    if has("polars"):
        table = folder / "variants.parquet"
        _make_parquet(table, known)
        ways += [
            Way(f"{name}, Parquet", partial(ask, table, *place))
            for name, ask in (("duckdb", _by_duckdb), ("polars", _by_polars))
            if has(name)
        ]
    in_processes = [Way("zarrds by statistics", partial(_by_zarrds_in_a_process, known, region))]
    if shutil.which("bcftools") is not None:
        binary = folder / "variants.bcf"
        subprocess.run(["bcftools", "view", "-Ob", "-o", str(binary), str(text)], check=True)
        subprocess.run(["bcftools", "index", str(binary)], check=True)
        in_processes.append(Way("bcftools query, BCF", partial(_by_bcftools, binary, region)))
    if has("vcztools", "pyranges"):
        in_processes.append(Way("vcztools query", partial(_by_vcztools, plain, region)))
    title = f"a filter in a region, {n:,} variants"
    return [
        Question(title, tuple(ways)),
        Question(f"{title}, in a process of its own", tuple(in_processes)),
    ]

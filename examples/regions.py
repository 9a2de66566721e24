"""Save a VCF file as VCF Zarr lays it out, then select regions of the genome from the store, and draw one of them.

    python examples/regions.py FILE.vcf.gz
    python examples/regions.py FILE.vcf.gz --region 20:150,000-150,200 --region 20:420,000- --output FOLDER

All it needs comes with ``python -m pip install '.[all]'``. The VCF file must be sorted; it is read into memory once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # pictures go to files: no screen is needed

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import zarrds
from zarrds.errors import LabelError

try:
    from cyvcf2 import VCF
except ImportError:
    raise SystemExit("examples/regions.py reads VCF with cyvcf2: python -m pip install '.[genomics]'") from None

CHUNK = 10_000  # records: a region of a few needs one chunk of each variable that is looked at
N_RANDOM = 1000  # regions for the timing
MISSING, PADDING = -1, -2  # what VCF Zarr has for a value that is missing, and for one that is not there


class VcfError(Exception):
    """A file that is no VCF, or one that this example cannot use."""


def read_vcf(path: Path) -> xr.Dataset:
    """Contigs, positions, lengths, and depths if there are any: the names and types are those of VCF Zarr."""
    try:
        vcf = VCF(str(path))
    except Exception as error:  # cyvcf2 raises nothing more particular
        raise VcfError("it is not a VCF file") from error
    contigs = {name: code for code, name in enumerate(vcf.seqnames)}
    code, position, length, depth = [], [], [], []
    for record in vcf:
        # a name that the header does not have comes after those that it has
        code.append(contigs.setdefault(record.CHROM, len(contigs)))
        position.append(record.POS)
        length.append(record.end - record.start)  # by END, else by the reference allele
        depths = record.format("DP") if vcf.samples and "DP" in record.FORMAT else None
        depth.append(np.full(len(vcf.samples), MISSING) if depths is None else np.maximum(depths[:, 0], MISSING))
    if not code:
        raise VcfError("it has no records")
    if (np.diff(position)[np.diff(code) == 0] < 0).any():
        raise VcfError("its records are not sorted: bcftools sort does that")
    return xr.Dataset(
        {
            "contig_id": ("contigs", np.array(list(contigs), dtype=object)),
            "call_DP": (("variants", "samples"), np.array(depth, "int32").reshape(len(code), -1)),
            "region_index": (("region_index_values", "region_index_fields"), region_index(code, position, length)),
        },
        {
            "variant_contig": ("variants", np.array(code, "int16")),
            "variant_position": ("variants", np.array(position, "int32")),
            "variant_length": ("variants", np.array(length, "int32")),
            "sample_id": ("samples", np.array(vcf.samples, dtype=object)),
        },
        {"source": path.name},
    )


def region_index(code: list[int], position: list[int], length: list[int]) -> np.ndarray:
    """A row for each contig in each chunk: chunk, contig, first and last position, largest end, number of records."""
    contig, first = np.array(code), np.array(position)
    end = first + np.array(length) - 1
    rows = []
    for start in range(0, len(contig), CHUNK):
        here = slice(start, start + CHUNK)
        for each in dict.fromkeys(contig[here].tolist()):  # in the order of the records
            of_contig = contig[here] == each
            positions = first[here][of_contig]
            rows.append((start // CHUNK, each, positions[0], positions[-1], end[here][of_contig].max(), positions.size))
    return np.array(rows, "int32")


def open_indexed(store: Path) -> xr.Dataset:
    """The dataset, lazily, with an index of its regions: this is all that a user of the store has to write."""
    ds = xr.open_dataset(store, engine="zarrds")
    names = ["variant_contig", "variant_position", "variant_length"]
    return ds.set_xindex(names, zarrds.RegionIndex, contig_id=ds.contig_id, region_index=ds.region_index)


def busiest(ds: xr.Dataset) -> str:
    """Some 100 records around the middle of the contig that has most of them, as the text of a region."""
    code = np.bincount(ds.variant_contig).argmax()
    positions = ds.variant_position.values[ds.variant_contig.values == code]
    middle = len(positions) // 2
    start, stop = positions[max(0, middle - 50)], positions[min(middle + 50, len(positions) - 1)]
    return f"{ds.contig_id.values[code]}:{start}-{stop}"


def check(opened: xr.Dataset, ds: xr.Dataset, regions: list[tuple[str, int, int]]) -> int:
    """Select regions one by one, compare each with a look at every record, return how many records were found."""
    codes = {name: code for code, name in enumerate(ds.contig_id.values)}
    first, last = ds.variant_position.values, ds.variant_position.values + ds.variant_length.values - 1
    found = 0
    for name, start, stop in regions:
        chosen = opened.sel(variant_contig=name, variant_position=slice(start, stop))
        expected = np.flatnonzero((ds.variant_contig.values == codes[name]) & (first <= stop) & (last >= start))
        np.testing.assert_array_equal(chosen.variant_position, first[expected])
        np.testing.assert_array_equal(chosen.variant_length, ds.variant_length.values[expected])
        found += expected.size
    return found


def draw(window: xr.Dataset, ds: xr.Dataset, region: str) -> plt.Figure:
    """The intervals of a region one by one with their depth, and how many records each contig has."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained", width_ratios=(3, 1))
    shown = window.isel(variants=slice(0, 2000))
    start = shown.variant_position.values - 0.5
    has_depth = shown.sizes["samples"] > 0
    # without depths, lanes keep neighbours apart
    height = shown.call_DP.values[:, 0] if has_depth else np.arange(start.size) % 10
    left.hlines(height, start, start + shown.variant_length.values, color="tab:blue", linewidth=2.5)
    left.set(title=f"{region}: {window.sizes['variants']:,} records", xlabel="position (base pairs)")
    left.set_ylabel(f"depth of {shown.sample_id.values[0]}" if has_depth else "records, in ten lanes")
    left.ticklabel_format(axis="x", style="plain", useOffset=False)
    left.grid(alpha=0.3)

    codes, counts = np.unique(ds.variant_contig.values, return_counts=True)
    if codes.size > 1:
        right.bar(ds.contig_id.values[codes].astype(str), counts, color="tab:orange")
        right.set(title="Records of each contig", xlabel="contig")
    else:
        right.hist(ds.variant_length, bins=40, color="tab:orange", edgecolor="white")
        right.set(title="Lengths of all records", xlabel="base pairs", ylabel="records", yscale="log")
    return figure


def megabytes(path: Path) -> str:
    return f"{sum(file.stat().st_size for file in path.rglob('*') if file.is_file()) / 1e6:.2f} MB"


@contextmanager
def timed(what: str) -> Iterator[list[str]]:
    """Print what was done in the block, how long it took, and the notes it made."""
    notes: list[str] = []
    start = time.perf_counter()
    yield notes
    print(f"{what:9} {time.perf_counter() - start:6.3f} s   {', '.join(notes)}")


def run(path: Path, regions: list[str], folder: Path) -> None:
    name = path.name.removesuffix(".gz").removesuffix(".vcf")
    store = folder / f"{name}-regions.zarr"
    xr.backends.list_engines()  # imported now, so that the times are those of the work
    with timed("read VCF") as notes:
        ds = read_vcf(path)
        notes.append(f"{ds.sizes['variants']:,} records of {len(np.unique(ds.variant_contig))} contigs")

    of_records = ("call_DP", "variant_contig", "variant_position", "variant_length")
    chunks = {each: {"chunks": (CHUNK, *(max(1, n) for n in ds[each].shape[1:]))} for each in of_records}
    with timed("save") as notes:
        zarrds.save(ds, store, mode="w", encoding=chunks)
        notes.append(f"{store}, {megabytes(store)} on disk")

    with timed("open") as notes:  # no record is read but the first and the last chunk of them
        opened = open_indexed(store)
        notes.append("with an index of their regions")
    print(opened.xindexes["variant_position"])

    for region in regions or [busiest(ds)]:
        with timed("select") as notes:
            window = opened.sel(variant_contig=region)
            notes.append(f"{region}: {window.sizes['variants']:,} records")
            if window.sizes["variants"]:
                positions, lengths = window.variant_position.values, window.variant_length.values
                notes.append(f"from {positions[0]:,} to {(positions + lengths - 1).max():,}")
            if window.call_DP.size:
                notes.append(f"mean depth {window.call_DP.values.mean():.1f}")

    rng = np.random.default_rng(0)
    some = rng.integers(0, ds.sizes["variants"], N_RANDOM)
    starts = ds.variant_position.values[some] + rng.integers(-50, 50, N_RANDOM)
    names = ds.contig_id.values[ds.variant_contig.values[some]]
    random = list(zip(names, starts.tolist(), (starts + rng.integers(0, 1000, N_RANDOM)).tolist(), strict=True))
    with timed("random") as notes:
        for contig, start, stop in random:
            opened.sel(variant_contig=contig, variant_position=slice(start, stop))
        notes.append(f"{N_RANDOM:,} regions")
    with timed("check") as notes:
        notes.append(
            f"{check(opened, ds, random[:100]):,} records in 100 of them, the same that a look at each record finds"
        )
    with timed("read all") as notes:
        xr.testing.assert_identical(xr.load_dataset(store, engine="zarrds"), ds)
        notes.append("identical to what was saved")

    picture = folder / f"{name}-regions.png"
    region = (regions or [busiest(ds)])[0]
    draw(opened.sel(variant_contig=region), ds, region).savefig(picture, dpi=110)
    print(f"picture   {picture}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a VCF file, compressed or not")
    parser.add_argument(
        "--region", action="append", default=[], help="such as 20, 20:100 or 20:1,000-2,000; may be given again"
    )
    parser.add_argument(
        "--output", type=Path, help="folder for the store and picture, which replace earlier ones; else a temporary one"
    )
    options = parser.parse_args()
    if not options.file.is_file():
        parser.error(f"there is no file {str(options.file)!r}: give the path of a VCF file")
    folder = options.output or Path(tempfile.mkdtemp(prefix="zarrds-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run(options.file, options.region, folder)
    except VcfError as error:
        parser.error(f"cannot use {str(options.file)!r}: {error}")
    except LabelError as error:  # text that is no region, a contig that is not there
        parser.error(str(error))


if __name__ == "__main__":
    main()

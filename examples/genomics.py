"""Save the genotypes of a VCF file with zarrds, open them lazily, select by sample and position, draw a picture.

    python examples/genomics.py FILE.vcf.gz
    python examples/genomics.py FILE.vcf.gz --output FOLDER

All it needs comes with ``python -m pip install '.[all]'``. It reads the whole VCF file into memory.
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
from matplotlib.colors import BoundaryNorm, ListedColormap

import zarrds

try:
    from cyvcf2 import VCF
except ImportError:
    raise SystemExit("examples/genomics.py reads VCF with cyvcf2: python -m pip install '.[genomics]'") from None


class VcfError(Exception):
    """A file that is no VCF, or one that this example cannot use."""


MISSING, PADDING = -1, -2  # a call that was not made; no call at all, where ploidy differs


def read_vcf(path: Path) -> xr.Dataset:
    """The genotypes, alleles, contigs and positions of a VCF file, under the names of the VCF Zarr convention."""
    try:
        vcf = VCF(str(path))
    except Exception as error:  # cyvcf2 raises nothing more particular
        raise VcfError("it is not a VCF file") from error
    contigs, positions, alleles, genotypes = [], [], [], []
    for record in vcf:
        contigs.append(record.CHROM)
        positions.append(record.POS)
        alleles.append((record.REF, *record.ALT))
        # samples × (ploidy + whether phased), or None for a record without genotypes
        genotypes.append(record.genotype.array() if vcf.samples and "GT" in record.FORMAT else None)

    if not alleles:
        raise VcfError("it has no records")

    n_alleles = max(map(len, alleles))
    variant_allele = np.full((len(alleles), n_alleles), "", dtype=object)
    for i, names in enumerate(alleles):
        variant_allele[i, : len(names)] = names

    ploidy = max((calls.shape[1] - 1 for calls in genotypes if calls is not None), default=2)
    dtype = "int8" if n_alleles <= 128 else "int16"
    call_genotype = np.full((len(genotypes), len(vcf.samples), ploidy), PADDING, dtype)
    for i, calls in enumerate(genotypes):
        if calls is None:
            call_genotype[i] = MISSING
        else:
            call_genotype[i, :, : calls.shape[1] - 1] = calls[:, :-1]

    position = np.array(positions, "int32")
    samples = np.array(vcf.samples, dtype=object)
    return xr.Dataset(
        {
            "call_genotype": (("variants", "samples", "ploidy"), call_genotype, {"long_name": "number of the allele"}),
            "variant_allele": (("variants", "alleles"), variant_allele, {"long_name": "reference, then alternatives"}),
        },
        {
            # coordinates named like their dimensions are what .sel(variants=..., samples=...) looks in
            "variants": ("variants", position, {"long_name": "position", "units": "base pairs"}),
            "samples": ("samples", samples, {"long_name": "sample"}),
            "variant_contig": ("variants", np.array(contigs, dtype=object)),
            "variant_position": ("variants", position),
            "sample_id": ("samples", samples),
        },
        {"source": path.name},
    )


def alt_frequency(calls: xr.DataArray) -> xr.DataArray:
    """Which share of the alleles called at each variant is not the reference; NaN where none is called."""
    n_called = (calls >= 0).sum(["samples", "ploidy"])
    return (calls > 0).sum(["samples", "ploidy"]) / n_called.where(n_called > 0)


def draw_genotypes(left: plt.Axes, right: plt.Axes, ds: xr.Dataset) -> None:
    """The calls at up to 100 variants as a matrix, and how frequent the alternative alleles of all variants are."""
    frequency = alt_frequency(ds.call_genotype)
    calls, which = ds.call_genotype, "variants"
    if calls.sizes["variants"] > 100 and (frequency > 0).any():
        calls, which = calls[(frequency > 0).values], "variants with alternative alleles"
    calls = calls[:100]
    n_alt = (calls > 0).sum("ploidy").where((calls >= 0).any("ploidy"), -1)
    names = ["not called", *map(str, range(calls.sizes["ploidy"] + 1))]
    colours = ["0.85", *plt.get_cmap("YlGnBu")(np.linspace(0.1, 0.9, len(names) - 1))]
    bounds = np.arange(-1.5, len(names) - 1)
    image = left.imshow(
        n_alt.transpose("samples", "variants"),
        cmap=ListedColormap(colours),
        norm=BoundaryNorm(bounds, len(names)),
        aspect="auto",
        interpolation="nearest",
    )
    bar = left.figure.colorbar(image, ax=left, ticks=bounds[:-1] + 0.5, label="alternative alleles of a sample")
    bar.ax.set_yticklabels(names)
    at = np.linspace(0, n_alt.sizes["variants"] - 1, min(5, n_alt.sizes["variants"])).astype(int)
    left.set_xticks(at, [f"{position:,}" for position in n_alt.variants.values[at]])
    at = np.linspace(0, n_alt.sizes["samples"] - 1, min(8, n_alt.sizes["samples"])).astype(int)
    left.set_yticks(at, n_alt.samples.values[at])
    title = f"Genotypes at the first {n_alt.sizes['variants']} {which}"
    left.set(title=title, xlabel="position (base pairs)", ylabel="sample")

    right.hist(frequency, bins=np.linspace(0, 1, 26), color="tab:blue", edgecolor="white")
    right.set(title=f"Allele frequencies of {frequency.notnull().sum().item():,} variants with calls", yscale="log")
    right.set(xlabel="frequency of the alternative alleles", ylabel="variants")


def draw_positions(left: plt.Axes, right: plt.Axes, ds: xr.Dataset) -> None:
    """For a file without samples: how many variants each contig has, and where."""
    contigs, counts = np.unique(ds.variant_contig.values.astype(str), return_counts=True)
    left.bar(contigs, counts)
    left.set(title="Variants of each contig", xlabel="contig", ylabel="variants")
    positions = [ds.variant_position.values[ds.variant_contig.values == contig] for contig in contigs]
    right.hist(positions, bins=30, stacked=True, label=list(contigs))
    right.set(title="Where they are", xlabel="position (base pairs)", ylabel="variants")
    right.legend(title="contig", loc="lower right")


def megabytes(path: Path) -> str:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 1e6:.2f} MB"


@contextmanager
def timed(what: str) -> Iterator[list[str]]:
    """Print what was done in the block, how long it took, and the notes it made."""
    notes: list[str] = []
    start = time.perf_counter()
    yield notes
    print(f"{what:9} {time.perf_counter() - start:6.3f} s   {', '.join(notes)}")


def run(path: Path, folder: Path) -> None:
    name = path.name.removesuffix(".gz").removesuffix(".vcf")
    store = folder / f"{name}.zarr"
    # xarray imports its engines, and dask, when it first needs them: do it now, so that the times are those of the work
    xr.backends.list_engines()
    xr.Variable("x", [0]).isel(x=0)

    with timed("read VCF") as notes:
        ds = read_vcf(path)
        notes.append(" × ".join(f"{dim} {size}" for dim, size in ds.sizes.items()))
        notes.append(f"{megabytes(path)} as VCF, {ds.nbytes / 1e6:.2f} MB in memory without the strings")

    with timed("save") as notes:
        zarrds.save(ds, store, mode="w", progress=True)
        notes.append(f"{store}, {megabytes(store)} on disk")

    with timed("open") as notes:  # reads metadata and index labels; the data waits until it is used
        opened = xr.open_dataset(store, engine="zarrds")
        notes.append("lazily: no genotype is read yet")

    # positions start again on each contig: take the first one
    contigs = list(dict.fromkeys(opened.variant_contig.values))
    here = opened if len(contigs) == 1 else opened.isel(variants=opened.variant_contig.values == contigs[0])
    positions = here.indexes["variants"]
    start, stop = positions[len(positions) // 4], positions[min(len(positions) // 4 + 100, len(positions) * 3 // 4)]

    with timed("positions") as notes:
        window = here.sel(variants=slice(start, stop)).load()
        notes.append(f"contig {contigs[0]}, {start:,} to {stop:,}: {window.sizes['variants']} variants, all samples")

    if opened.sizes["samples"]:
        n_called = (window.call_genotype >= 0).sum(["variants", "ploidy"])
        sample = n_called.idxmax("samples").item()
        with timed("sample") as notes:
            calls = here.call_genotype.sel(samples=sample, variants=slice(start, stop))
            called, alternative = (calls >= 0).any("ploidy"), (calls > 0).any("ploidy")
            notes.append(f"{sample}, the same positions: called at {called.sum().item()}")
            notes.append(f"with an alternative allele at {alternative.sum().item()}")
        print("frequencies of the first variants with calls there:")
        some = window.isel(variants=(window.call_genotype >= 0).any(["samples", "ploidy"]).values)
        for i in range(min(5, some.sizes["variants"])):
            variant = some.isel(variants=i)
            calls = variant.call_genotype.values[variant.call_genotype.values >= 0]
            alleles = [allele for allele in variant.variant_allele.values if allele]
            frequencies = ", ".join(f"{allele} {np.mean(calls == j):.3f}" for j, allele in enumerate(alleles))
            print(f"  {contigs[0]}:{variant.variant_position.item():<10}  {frequencies}  of {calls.size} alleles")
    else:
        print("samples   none in this file")

    with timed("read all") as notes:
        xr.testing.assert_identical(opened.load(), ds)
        notes.append("identical to what was saved")

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained", width_ratios=(3, 2))
    if opened.sizes["samples"]:
        draw_genotypes(left, right, here)
    else:
        draw_positions(left, right, opened)
    figure.suptitle(f"{path.name}: variants {opened.sizes['variants']:,}, samples {opened.sizes['samples']:,}")
    picture = folder / f"{name}.png"
    figure.savefig(picture, dpi=110)
    print(f"picture   {picture}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a VCF file, compressed or not")
    parser.add_argument(
        "--output", type=Path, help="folder for the store and picture, which replace earlier ones; else a temporary one"
    )
    options = parser.parse_args()
    if not options.file.is_file():
        parser.error(f"there is no file {str(options.file)!r}: give the path of a VCF file")
    folder = options.output or Path(tempfile.mkdtemp(prefix="zarrds-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run(options.file, folder)
    except VcfError as error:
        parser.error(f"cannot use {str(options.file)!r}: {error}")


if __name__ == "__main__":
    main()

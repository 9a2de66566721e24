"""``examples/regions.py``: VCF Zarr, and regions of the genome from it."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
import xarray as xr

from tests.examples.running import check_refusals, png_size, run


def check_regions(output: str, folder: Path, name: str) -> xr.Dataset:
    """Check what examples/regions.py printed and drew; return what it saved."""
    store, picture = folder / f"{name}-regions.zarr", folder / f"{name}-regions.png"
    for step in ("read VCF", "save", "open", "select", "random", "check", "read all"):
        assert re.search(rf"^{step} +\d+\.\d{{3}} s   ", output, re.MULTILINE), step
    assert "the same that a look at each record finds" in output
    assert "identical to what was saved" in output
    assert png_size(picture) == (1430, 550)
    assert picture.stat().st_size > 15_000
    return xr.load_dataset(store, engine="zarrds")


@pytest.mark.slow
@pytest.mark.usefixtures("_genomics")
@pytest.mark.parametrize(
    ("name", "region", "facts"),
    [
        # 28 of 301,778 records, counted with awk
        pytest.param(
            "NA12878.prod.chr20snippet.g",
            "20:150,000-150,200",
            ["28 records, from 149,996 to 150,205", "20: 301,778"],
            marks=pytest.mark.sweep,
        ),
        (
            "multi_contig",
            "3:900-",
            ["3:900-: 34 records, from 900 to 933", "4,665 intervals on 5 contigs", "    4: 933"],
        ),
        ("chr22", "chr22", ["chr22: 100 records"]),
    ],
)
def test_regions_with_real_data(name: str, region: str, facts: list[str], data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / f"{name}.vcf.gz"
    done = run("regions.py", path, "--region", region, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    for fact in facts:
        assert fact in done.stdout
    ds = check_regions(done.stdout, tmp_path, name)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        records = [line.split("\t") for line in file if not line.startswith("#")]
    assert ds.contig_id.values[ds.variant_contig.values].tolist() == [record[0] for record in records]
    assert ds.variant_position.values.tolist() == [int(record[1]) for record in records]
    ends = [re.search(r"(?:^|;)END=(\d+)", record[7]) for record in records]
    lengths = [int(e[1]) - int(r[1]) + 1 if e else len(r[3]) for e, r in zip(ends, records, strict=True)]
    assert ds.variant_length.values.tolist() == lengths
    assert ds.region_index.values[:, 5].sum() == len(records)


@pytest.mark.slow
@pytest.mark.usefixtures("_genomics")
def test_regions_chooses_a_region_where_none_is_given(data_dir: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second run replaces what the first one saved
        done = run("regions.py", data_dir / "multi_contig.vcf.gz", "--output", tmp_path)
        assert done.returncode == 0, done.stderr
    assert "0:417-517: 101 records, from 417 to 517" in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("_genomics")
def test_regions_says_what_is_wrong(tmp_path: Path) -> None:
    header = "##fileformat=VCFv4.2\n##contig=<ID=X,length=99>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    line = "X\t{}\t.\tA\tT\t.\t.\t.\n"
    (tmp_path / "text.vcf").write_text("not VCF", encoding="utf-8")
    (tmp_path / "empty.vcf").write_text(header, encoding="utf-8")
    (tmp_path / "unsorted.vcf").write_text(header + line.format(9) + line.format(5), encoding="utf-8")
    (tmp_path / "good.vcf").write_text(header + line.format(5) + line.format(9), encoding="utf-8")
    refusals = (
        ("nowhere.vcf", "X", "there is no file"),
        ("text.vcf", "X", "not a VCF file"),
        ("empty.vcf", "X", "no records"),
        ("unsorted.vcf", "X", "not sorted"),
        ("good.vcf", "chrX:1-5", "there is no such contig"),
        ("good.vcf", "X:5-1", "its start is after its stop"),
    )
    arguments = [[tmp_path / name, "--region", region, "--output", tmp_path / "out"] for name, region, _ in refusals]
    check_refusals("regions.py", zip(arguments, (message for *_, message in refusals), strict=True))

"""``examples/genomics.py``: the genotypes of VCF files."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import numpy as np
import pytest

from tests.examples.running import EXAMPLES, check_output, check_refusals, run

VCF = """\
##fileformat=VCFv4.2
##contig=<ID=X,length=1000>
##contig=<ID=Y,length=1000>
##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="depth">
#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT one two three
X 10 . A T . . . GT 0/1 1 1|1
X 20 . AC A,ACC . . . GT ./. 0/2 1/2
X 20 . G C . . . DP 3 4 5
X 30 . G . . . . GT 0/0 0/0 ./0
Y 5 . C T . . . GT 0 1 .
"""


@pytest.mark.slow
@pytest.mark.usefixtures("_genomics")
def test_genomics_reads_every_kind_of_record(tmp_path: Path) -> None:
    (tmp_path / "small.vcf").write_text(
        "".join(line if line.startswith("##") else line.replace(" ", "\t") for line in VCF.splitlines(keepends=True)),
        encoding="utf-8",
    )
    for _ in range(2):  # the second run replaces what the first one saved
        done = run("genomics.py", tmp_path / "small.vcf", "--output", tmp_path)
        assert done.returncode == 0, done.stderr
    ds = check_output(done.stdout, tmp_path, "small")
    # by hand: -1 is not called, -2 is no call at all (a haploid one has one)
    np.testing.assert_array_equal(
        ds.call_genotype,
        [
            [[0, 1], [1, -2], [1, 1]],
            [[-1, -1], [0, 2], [1, 2]],
            [[-1, -1], [-1, -1], [-1, -1]],
            [[0, 0], [0, 0], [-1, 0]],
            [[0, -2], [1, -2], [-1, -2]],
        ],
    )
    assert ds.call_genotype.dtype == "int8"
    assert ds.variant_allele.values.tolist() == [
        ["A", "T", ""],
        ["AC", "A", "ACC"],
        ["G", "C", ""],
        ["G", "", ""],
        ["C", "T", ""],
    ]
    assert ds.variant_contig.values.tolist() == ["X", "X", "X", "X", "Y"]
    assert ds.variant_position.values.tolist() == ds.variants.values.tolist() == [10, 20, 20, 30, 5]
    assert ds.sample_id.values.tolist() == ds.samples.values.tolist() == ["one", "two", "three"]
    one = ds.isel(variants=ds.variant_contig.values == "X")
    assert one.call_genotype.sel(samples="three", variants=slice(15, 30)).values.tolist() == [[1, 2], [-1, -1], [-1, 0]]
    assert "contig X, 20 to 30: 3 variants" in done.stdout
    assert re.search(r"X:20 +AC 0.250, A 0.250, ACC 0.500  of 4 alleles", done.stdout)


@pytest.mark.slow
@pytest.mark.usefixtures("_genomics")
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("chr22", {"variants": 100, "samples": 100, "ploidy": 2, "alleles": 3}),
        ("multi_contig", {"variants": 4665, "samples": 0, "ploidy": 2, "alleles": 1}),
        ("NA12878.prod.chr20snippet.g", {"variants": 301_778, "samples": 1, "ploidy": 2, "alleles": 5}),
    ],
)
def test_genomics_with_real_data(name: str, sizes: dict[str, int], data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / f"{name}.vcf.gz"
    done = run("genomics.py", path, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    ds = check_output(done.stdout, tmp_path, name)
    assert dict(ds.sizes) == sizes
    # read the file once more, as text
    with gzip.open(path, "rt", encoding="utf-8") as file:
        records = [line.rstrip("\n").split("\t") for line in file if not line.startswith("##")]
    header, *records = records
    assert ds.samples.values.tolist() == header[9:]
    assert ds.variant_contig.values.tolist() == [record[0] for record in records]
    assert ds.variants.values.tolist() == [int(record[1]) for record in records]
    alleles = [[record[3], *(record[4].split(",") if record[4] != "." else ())] for record in records]
    assert [[a for a in row if a] for row in ds.variant_allele.values.tolist()] == alleles
    calls = [re.split(r"[/|]", field.split(":")[0].replace(".", "-1")) for record in records for field in record[9:]]
    np.testing.assert_array_equal(ds.call_genotype.values.reshape(-1, 2), np.array(calls, int).reshape(-1, 2))


@pytest.mark.slow
@pytest.mark.usefixtures("_genomics")
def test_genomics_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "text.vcf").write_text("not VCF", encoding="utf-8")
    (tmp_path / "empty.vcf").write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    refusals = (("nowhere.vcf", "there is no file"), ("text.vcf", "not a VCF file"), ("empty.vcf", "no records"))
    cases = [([tmp_path / name, "--output", tmp_path], why) for name, why in refusals]
    check_refusals("genomics.py", cases, names_file=True)
    assert not list(tmp_path.glob("*.zarr"))


@pytest.mark.usefixtures("_genomics")
def test_genomics_says_how_to_install_cyvcf2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a module that cannot be imported, found before the real one
    (tmp_path / "cyvcf2.py").write_text("raise ImportError", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(EXAMPLES.parent)]))
    done = run("genomics.py", tmp_path / "any.vcf")
    assert done.returncode == 1
    assert "python -m pip install '.[genomics]'" in done.stderr
    assert "Traceback" not in done.stderr

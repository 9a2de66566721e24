"""VCF to VCF Zarr: bio2zarr is the oracle, and small files by hand."""

from __future__ import annotations

import gzip
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds.cli.main import main
from zarrds.errors import EncodingError, StoreExistsError, StoreNotFoundError, UnsupportedError

pytest.importorskip("cyvcf2")

HEADER = """\
##fileformat=VCFv4.3
##contig=<ID=X,length=1000>
##contig=<ID=Y,length=900>
##FILTER=<ID=low,Description="low quality">
##INFO=<ID=DP,Number=1,Type=Integer,Description="depth">
##INFO=<ID=AF,Number=A,Type=Float,Description="frequency">
##INFO=<ID=DB,Number=0,Type=Flag,Description="in a data base">
##INFO=<ID=WHO,Number=.,Type=String,Description="names">
##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">
##FORMAT=<ID=AD,Number=R,Type=Integer,Description="depths">
##FORMAT=<ID=GQ,Number=1,Type=Integer,Description="quality">
##FORMAT=<ID=PS,Number=1,Type=String,Description="phase set">
#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT one two three
"""
RECORDS = """\
X 10 rs1 A T 30.5 PASS DP=300;AF=0.25;DB GT:AD:GQ 0/1:3,4:50 1|1:0,9:. 1:2,.:7
X 20 . AC A,ACC . low AF=.,0.5;WHO=ann,bob GT:PS ./.:. 0/2:a 1/2:b
X 20 . G C . . DP=-40000 AD 3 . 5,6
Y 5 rs2;rs3 C . 0 PASS . GT 0/0 ./0 .
"""


def vcf(path: Path, header: str = HEADER, records: str = RECORDS) -> Path:
    lines = [line if line.startswith("##") else line.replace(" ", "\t") for line in (header + records).splitlines()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def raw(path: Path) -> xr.Dataset:
    return xr.load_dataset(path, engine="zarrds", decode_cf=False)


def bits(values: np.ndarray[Any, Any]) -> list[Any]:
    return np.asarray(values, "f4").view("u4").tolist()


def test_by_hand(tmp_path: Path) -> None:
    zarrds.convert(vcf(tmp_path / "a.vcf"), tmp_path / "a.zarr", chunks={"variants": 3, "samples": 2})
    ds = raw(tmp_path / "a.zarr")
    missing, fill = 0x7F800001, 0x7F800002
    assert dict(ds.sizes) == {
        "contigs": 2, "filters": 2, "samples": 3, "variants": 4, "alleles": 3, "alt_alleles": 2, "ploidy": 2,
        "INFO_WHO_dim": 2, "region_index_values": 2, "region_index_fields": 6,
    }  # fmt: skip
    assert ds.contig_id.values.tolist() == ["X", "Y"]
    assert ds.contig_length.values.tolist() == [1000, 900]
    assert ds.filter_id.values.tolist() == ["PASS", "low"]
    assert ds.sample_id.values.tolist() == ["one", "two", "three"]
    assert ds.variant_contig.values.tolist() == [0, 0, 0, 1]
    assert ds.variant_position.values.tolist() == [10, 20, 20, 5]
    assert ds.variant_length.values.tolist() == [1, 2, 1, 1]
    assert ds.variant_id.values.tolist() == ["rs1", ".", ".", "rs2;rs3"]
    assert ds.variant_id_mask.values.tolist() == [False, True, True, False]
    assert ds.variant_allele.values.tolist() == [["A", "T", ""], ["AC", "A", "ACC"], ["G", "C", ""], ["C", "", ""]]
    assert bits(ds.variant_quality) == [*bits(np.array([30.5])), missing, missing, 0]
    assert ds.variant_filter.values.tolist() == [[True, False], [False, True], [False, False], [True, False]]
    assert ds.variant_DP.values.tolist() == [300, -1, -40000, -1]
    assert ds.variant_DP.dtype == "int32"
    quarter, half = bits(np.array([0.25, 0.5]))
    assert bits(ds.variant_AF) == [[quarter, fill], [missing, half], [missing] * 2, [missing] * 2]
    assert ds.variant_DB.values.tolist() == [True, False, False, False]
    assert ds.variant_WHO.values.tolist() == [[".", "."], ["ann", "bob"], [".", "."], [".", "."]]
    assert ds.call_AD.values.tolist()[0] == [[3, 4, -2], [0, 9, -2], [2, -1, -2]]
    assert ds.call_AD.values.tolist()[2] == [[3, -2, -2], [-1, -2, -2], [5, 6, -2]]
    assert ds.call_AD.values.tolist()[3] == [[-1] * 3] * 3
    assert ds.call_GQ.values.tolist()[0] == [50, -1, 7]
    assert ds.call_PS.values.tolist()[1] == [".", "a", "b"]
    assert ds.call_genotype.values.tolist() == [
        [[0, 1], [1, 1], [1, -2]],
        [[-1, -1], [0, 2], [1, 2]],
        [[-1, -1]] * 3,
        [[0, 0], [-1, 0], [-1, -2]],
    ]
    np.testing.assert_array_equal(ds.call_genotype_mask, ds.call_genotype < 0)
    assert ds.call_genotype_phased.values.tolist()[0][:2] == [False, True]
    assert ds.region_index.values.tolist() == [[0, 0, 10, 20, 21, 3], [1, 1, 5, 5, 5, 1]]
    assert ds.attrs["source"].startswith("zarrds-")
    assert ["fileformat", "VCFv4.3"] in ds.attrs["vcf_meta_information"]
    assert zarrds.info(tmp_path / "a.zarr", "call_AD").variables[0].chunks == (3, 2, 3)
    assert zarrds.verify(tmp_path / "a.zarr").findings == ()


def test_regions_can_be_selected(data_dir: Path, tmp_path: Path) -> None:
    zarrds.convert(data_dir / "multi_contig.vcf.gz", tmp_path / "m.zarr")
    ds = xr.open_dataset(tmp_path / "m.zarr", engine="zarrds")
    ds = ds.set_coords(["variant_contig", "variant_position", "variant_length"])
    names = ["variant_contig", "variant_position", "variant_length"]
    ds = ds.set_xindex(names, zarrds.RegionIndex, contig_id=ds.contig_id, region_index=ds.region_index)
    assert ds.sel(variant_contig="3:900-").sizes["variants"] == 34


# in a process of its own: bio2zarr starts workers and meddles with signals
_BIO2ZARR = "import sys, bio2zarr.vcf as v\nv.convert([sys.argv[1]], sys.argv[2], worker_processes=0)\n"


@pytest.mark.one_in(9)
@pytest.mark.parametrize("name", ["chr22", "by_hand"])
def test_bio2zarr_writes_the_same(name: str, data_dir: Path, tmp_path: Path) -> None:
    """All arrays; only that bio2zarr also describes those that the file does not declare, in words of its own."""
    pytest.importorskip("bio2zarr")
    zarr = pytest.importorskip("zarr")
    source = (
        data_dir / "chr22.vcf.gz"
        if name == "chr22"
        else vcf(tmp_path / "a.vcf", records=RECORDS[: RECORDS.index("Y 5")])
    )
    done = subprocess.run(
        [sys.executable, "-c", _BIO2ZARR, source, tmp_path / "theirs"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    zarrds.convert(source, tmp_path / "ours", zarr_format=2)
    theirs, ours = (zarr.open_group(tmp_path / side, mode="r") for side in ("theirs", "ours"))
    assert {n for n, _ in theirs.arrays()} == {n for n, _ in ours.arrays()}
    for key, array in theirs.arrays():
        expected, found = array[...], ours[key][...]
        assert array.attrs["_ARRAY_DIMENSIONS"] == ours[key].attrs["_ARRAY_DIMENSIONS"], key
        assert expected.dtype == found.dtype or key == "region_index", key  # which is int32 always
        if expected.dtype == "f4":
            expected, found = expected.view("u4"), found.view("u4")
        np.testing.assert_array_equal(expected, found, err_msg=key)
        assert array.chunks == ours[key].chunks or expected.size == 0, key
    for key in ("vcf_zarr_version", "vcf_meta_information"):
        assert theirs.attrs[key] == ours.attrs[key]


def test_records_that_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are taken over many records at a time; whatever wait together, each comes to its own row."""
    draw = np.random.default_rng(3)
    lines, depths, qualities, called = [], [], [], []
    for i in range(60):
        depth = None if draw.random() < 0.5 else draw.integers(-40_000, 40_000, draw.integers(1, 4)).tolist()
        quality = None if draw.random() < 0.5 else draw.integers(0, 300, 3).tolist()
        calls = None if draw.random() < 0.3 else draw.integers(0, 2, (3, draw.integers(1, 3))).tolist()
        parts = {
            "GT": calls and ["|".join(map(str, call)) for call in calls],
            "GQ": quality and list(map(str, quality)),
        }
        there = {name: texts for name, texts in parts.items() if texts} or {"AD": ["."] * 3}
        samples = " ".join(":".join(texts[n] for texts in there.values()) for n in range(3))
        info = "DB" if depth is None else f"DP={','.join(map(str, depth))}"
        lines.append(f"X {i + 1} . A T . . {info} {':'.join(there)} {samples}")
        depths.append([-1, -1, -1] if depth is None else depth + [-2] * (3 - len(depth)))
        qualities.append(quality or [-1] * 3)
        called.append([[-1, -1]] * 3 if calls is None else [call + [-2] * (2 - len(call)) for call in calls])
    source = vcf(tmp_path / "a.vcf", records="\n".join(lines) + "\n")
    for most, rows in ((1, 60), (7, 8), (64 * 1024, 25)):
        monkeypatch.setattr("zarrds.datasets.vcf.values._MOST_WAITING", most)
        zarrds.convert(source, tmp_path / "a.zarr", chunks={"variants": rows}, overwrite=True)
        found = raw(tmp_path / "a.zarr")
        assert found.variant_DP.values.tolist() == depths
        assert found.call_GQ.values.tolist() == qualities
        assert found.call_genotype.values.tolist() == called
        assert found.call_genotype_mask.values.tolist() == (np.array(called) < 0).tolist()
        assert found.variant_DB.values.tolist() == [row == [-1, -1, -1] for row in depths]


def test_of_a_field_that_is_there_twice_the_first_counts(tmp_path: Path) -> None:
    source = vcf(tmp_path / "a.vcf", records="X 1 . A T . . DP=3;DB;DP=500 GT:GQ:GQ 0/1:1:2 0/0:3:4 1/1:5:6\n")
    zarrds.convert(source, tmp_path / "a.zarr")
    found = raw(tmp_path / "a.zarr")
    assert found.variant_DP.values.tolist() == [3]
    assert found.call_GQ.values.tolist() == [[1, 3, 5]]


@pytest.mark.slow
def test_memory_is_bounded_by_chunks_not_records(tmp_path: Path) -> None:
    """Records come and go: what is kept does not grow with them."""
    import tracemalloc

    peaks = []
    for n in (500, 4000):
        records = "".join(f"X {i + 1} . A T . . DP={i} GT 0/1 0/0 1/1\n" for i in range(n))
        source = vcf(tmp_path / f"{n}.vcf", records=records)
        tracemalloc.start()
        zarrds.convert(source, tmp_path / f"{n}.zarr", chunks={"variants": 100})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] + 2**20


def test_what_is_wrong_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    good = vcf(tmp_path / "good.vcf")
    unsorted = vcf(tmp_path / "unsorted.vcf", records="X 9 . A T . . . GT 0 0 0\nX 5 . A T . . . GT 0 0 0\n")
    (tmp_path / "text.vcf").write_text("no VCF", encoding="utf-8")
    for inputs, options, kind, problem in (
        (tmp_path / "nowhere.vcf", {}, StoreNotFoundError, "no file"),
        (tmp_path / "text.vcf", {}, UnsupportedError, "not a VCF"),
        (unsorted, {}, EncodingError, "not sorted"),
        (vcf(tmp_path / "empty.vcf", records=""), {}, EncodingError, "no records"),
        ([good, good], {"concat_dim": "variants"}, UnsupportedError, "bcftools"),
        (good, {"chunks": {"time": 3}}, EncodingError, "no such dimension"),
        (good, {"group": "a"}, UnsupportedError, "root"),
    ):
        with pytest.raises(kind, match=problem):
            zarrds.convert(inputs, out, **options)
        assert not [p for p in tmp_path.iterdir() if "out" in p.name]
    assert main(["convert", str(good), str(out)]) == 0
    with pytest.raises(StoreExistsError):
        zarrds.convert(good, out)


def test_a_target_that_is_a_file_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("zarrds.datasets.vcf.convert.scan", None)
    with pytest.raises(StoreExistsError, match="a file stands where"):
        zarrds.convert(vcf(tmp_path / "a.vcf"), tmp_path / "file", overwrite=True)
    assert (tmp_path / "file").read_text() == "mine"


GOOD = "X 10 rs1 A T 30.5 PASS DP=3 GT 0/1 1|1 1\n"
CUT = {  # what bcftools refuses too
    "an empty line": (GOOD + "\n" + GOOD, "a line is empty"),
    "no sample columns": (GOOD + "X 12 . A T . . DP=3 GT\n", "fewer columns"),
    "no FORMAT": (GOOD + "X 12 . A T . . DP=3\n", "fewer columns"),
    "one sample short": (GOOD + "X 12 . A T . . . GT 0/1 0/1\n", "a record cannot be read"),
    "a position that is none": (GOOD + "X ten . A T . . . GT 0/1 0/1 1\n", "a record cannot be read"),
    "a filter that is not declared": (GOOD + "X 12 . A T . odd . GT 0/1 0/1 1\n", "filter is not declared"),
}


@pytest.mark.parametrize("name", CUT)
def test_records_that_are_damaged(tmp_path: Path, name: str) -> None:
    records, problem = CUT[name]
    with pytest.raises((UnsupportedError, EncodingError), match=problem):
        zarrds.convert(vcf(tmp_path / "a.vcf", records=records), tmp_path / "out.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["a.vcf"]


def test_files_whose_ends_are_damaged(tmp_path: Path) -> None:
    text = vcf(tmp_path / "a.vcf").read_bytes()
    (tmp_path / "bom.vcf").write_bytes(b"\xef\xbb\xbf" + text)
    with pytest.raises(UnsupportedError, match="mark of byte order"):
        zarrds.convert(tmp_path / "bom.vcf", tmp_path / "out.zarr")
    end = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
    block = zlib.compressobj(wbits=-15)
    data = block.compress(text) + block.flush()
    head = bytes.fromhex("1f8b08040000000000ff060042430200") + struct.pack("<H", len(data) + 25)
    whole = head + data + struct.pack("<II", zlib.crc32(text), len(text)) + end
    (tmp_path / "whole.vcf.gz").write_bytes(whole)
    zarrds.convert(tmp_path / "whole.vcf.gz", tmp_path / "whole.zarr")
    (tmp_path / "cut.vcf.gz").write_bytes(whole[:-28])  # at the end of a block: htslib reads on without a word
    with pytest.raises(UnsupportedError, match="cut off"):
        zarrds.convert(tmp_path / "cut.vcf.gz", tmp_path / "out.zarr")
    (tmp_path / "plain.vcf.gz").write_bytes(gzip.compress(text))
    zarrds.convert(tmp_path / "plain.vcf.gz", tmp_path / "plain.zarr")
    (tmp_path / "crlf.vcf").write_bytes(text.replace(b"\n", b"\r\n"))
    zarrds.convert(tmp_path / "crlf.vcf", tmp_path / "crlf.zarr")
    for name in ("plain", "crlf"):
        xr.testing.assert_identical(
            raw(tmp_path / f"{name}.zarr").drop_attrs(), raw(tmp_path / "whole.zarr").drop_attrs()
        )
    (tmp_path / "open.vcf").write_bytes(text[:-1])
    with pytest.warns(UserWarning, match="may have been cut off"):
        zarrds.convert(tmp_path / "open.vcf", tmp_path / "open.zarr")
    assert not (tmp_path / "out.zarr").exists()


def test_fields_that_are_not_declared(tmp_path: Path) -> None:
    record = "X 10 . A T . . NEW=3;DP=1 GT:ZZ 0/1:1 1|1:2 1:3\n"
    with pytest.warns(UserWarning, match="does not declare INFO/NEW, FORMAT/ZZ: left out"):
        zarrds.convert(vcf(tmp_path / "a.vcf", records=record), tmp_path / "a.zarr")
    assert raw(tmp_path / "a.zarr").variant_DP.values.tolist() == [1]
    without = "".join(line for line in HEADER.splitlines(True) if "ID=GT" not in line)
    with pytest.raises(EncodingError, match="genotypes that the header does not declare"):
        zarrds.convert(vcf(tmp_path / "b.vcf", header=without, records=GOOD), tmp_path / "b.zarr")
    assert not (tmp_path / "b.zarr").exists()
    no_contigs = "".join(line for line in HEADER.splitlines(True) if "##contig" not in line)
    zarrds.convert(vcf(tmp_path / "c.vcf", header=no_contigs, records=GOOD), tmp_path / "c.zarr")
    assert raw(tmp_path / "c.zarr").contig_id.values.tolist() == ["X"]


def test_sizes_that_a_header_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes may claim any number of values."""
    records = "X 10 . A T . . DP=3 GT 0 0 0\n"
    for number, size in (("3", 3), ("9999999999", 1)):
        header = HEADER.replace("ID=DP,Number=1", f"ID=DP,Number={number}")
        zarrds.convert(vcf(tmp_path / "a.vcf", header, records), tmp_path / f"{number}.zarr")
        assert raw(tmp_path / f"{number}.zarr").variant_DP.values.ravel().tolist() == [3, -2, -2][:size]
    monkeypatch.setattr("zarrds.datasets.vcf.convert.memory_nbytes", lambda: 2**20)
    header = HEADER.replace("ID=AD,Number=R", "ID=AD,Number=9999")
    many = vcf(tmp_path / "b.vcf", header, "".join(f"X {i} . A T . . . AD 3 3 3\n" for i in range(1, 100)))
    with pytest.raises(EncodingError, match=r"does not fit in memory.*call_AD"):
        zarrds.convert(many, tmp_path / "b.zarr")
    zarrds.convert(many, tmp_path / "b.zarr", chunks={"variants": 10})
    assert raw(tmp_path / "b.zarr").sizes["FORMAT_AD_dim"] == 9999


@pytest.mark.parametrize(
    ("line", "damaged", "values"),
    [
        ("AF,Number=A,Type=Float", "AF,Type=Float", [[0.25, np.nan], [np.nan, 0.5]]),
        ("AF,Number=A,Type=Float", "AF,Number=A", [["0.25", ""], [".", "0.5"]]),
        ("AF,Number=A,Type=Float", "AF,Number=A,Type=Fraction", [["0.25", ""], [".", "0.5"]]),
    ],
)
def test_lines_of_the_header_that_are_damaged(tmp_path: Path, line: str, damaged: str, values: list[Any]) -> None:
    """What is not there, or not known, is any number of texts, as to htslib."""
    zarrds.convert(vcf(tmp_path / "a.vcf", HEADER.replace(line, damaged)), tmp_path / "a.zarr")
    found = raw(tmp_path / "a.zarr").variant_AF.values[:2].tolist()
    assert str(found) == str(values)  # NaN is as good as NaN


def test_a_line_of_the_header_without_a_name(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="does not declare INFO/AF"):
        zarrds.convert(vcf(tmp_path / "a.vcf", HEADER.replace("ID=AF,", "")), tmp_path / "a.zarr")
    assert "variant_AF" not in raw(tmp_path / "a.zarr")


ODD = """\
X 10 . A <DEL> 30 PASS . GT 0/1 0/0/1 1
X 20 . N <INS>,<DUP:TANDEM> . . AF=0.5,. GT 1|2 . ./.
X 30 . A A[Y:40[ . . WHO=a;WHO=b;DP=3;DP=4 GT:AD 0|1:1,2 0:. .|.:3,4
X 31 . A * . . . GT 1 0 0
X 32 . A . . . DP=. GT 0/0 0 .
"""


@pytest.mark.skipif(which("bcftools") is None, reason="bcftools is the oracle (Debian: bcftools)")
def test_odd_records_as_bcftools_has_them(tmp_path: Path) -> None:
    path = vcf(tmp_path / "a.vcf", records=ODD)
    zarrds.convert(path, tmp_path / "a.zarr")
    ds = raw(tmp_path / "a.zarr")
    form = "%POS\t%REF\t%ALT\t%INFO/DP[\t%GT]\n"
    said = subprocess.run(["bcftools", "query", "-f", form, path], capture_output=True, text=True, check=True).stdout
    for i, line in enumerate(said.splitlines()):
        position, ref, alt, depth, *calls = line.split("\t")
        assert int(ds.variant_position[i]) == int(position)
        alleles = [each for each in ds.variant_allele.values[i].tolist() if each]
        assert alleles == [ref, *(alt.split(",") if alt != "." else [])]
        assert int(ds.variant_DP[i]) == (-1 if depth == "." else int(depth))
        for j, call in enumerate(calls):
            expected = [-1 if each == "." else int(each) for each in re.split(r"[/|]", call)]
            found = [each for each in ds.call_genotype.values[i, j].tolist() if each != -2]
            assert found == expected, (i, j, call)
            if len(expected) > 1:
                assert bool(ds.call_genotype_phased[i, j]) == ("/" not in call)

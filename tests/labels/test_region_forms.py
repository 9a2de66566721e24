"""Columns and regions in other forms: bytes, floats, objects, nullable integers; tables, BED files, intervals."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.labels.genomes import genome, indexed, numbers
from zarrds.errors import LabelError, LabelNotFoundError
from zarrds.labels.genomics.regions import RegionIndex


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_float_columns_with_missing_ends(tmp_path: Path, zarr_format: Any) -> None:
    ds = genome(["1"] * 3, [1, 5, 9]).assign_coords(end=("v", [7.0, np.nan, 12.0]))
    zarrds.save(ds, tmp_path / "f.zarr", zarr_format=zarr_format)
    opened = indexed(xr.open_dataset(tmp_path / "f.zarr", engine="zarrds"))
    assert numbers(opened.sel(contig="1:6-8")) == [0]
    assert numbers(opened.sel(contig="1:5-8")) == [0, 1]  # without an end, where it begins


@pytest.mark.parametrize("kind", ["S", object])
def test_contigs_as_bytes(kind: Any) -> None:
    ds = genome(["?"] * 3, [1, 5, 9]).assign_coords(contig=("v", np.array([b"chr1", b"chr1", b"X"], kind)))
    for index in (indexed(ds), indexed(ds, contig_id=np.array([b"X", b"chr1"]))):
        assert numbers(index.sel(contig="chr1:5-")) == numbers(index.sel(contig=b"chr1:5-")) == [1]
        assert numbers(index.sel(contig=[b"X", "chr1:1"])) == [0, 2]
    coded = ds.assign_coords(contig=("v", [1, 1, 0]))
    coded = indexed(coded, contig_id=xr.DataArray(np.array([b"X", b"chr1"]), dims="contigs"))
    assert numbers(coded.sel(contig="chr1:5-")) == numbers(coded.sel(contig=1, position=slice(5, None))) == [1]


TABLES = {
    "1-based": pd.DataFrame({"contig": ["X", "chr10"], "start": [4, 9], "end": [4, 20]}),
    "by code": pd.DataFrame({"chrom": ["X", "chr10"], "pos": [4, 9], "stop": [4.0, 20.0], "name": ["a", "b"]}),
    "BED": pd.DataFrame({"chrom": ["X", "chr10"], "chromStart": [3, 8], "chromEnd": [4, 20]}),
    "PyRanges": pd.DataFrame({"Chromosome": ["X", "chr10"], "Start": [3, 8], "End": [4, 20]}),
}


@pytest.mark.parametrize("name", TABLES)
def test_regions_as_a_table(ds: xr.Dataset, name: str) -> None:
    assert numbers(indexed(ds).sel(contig=TABLES[name])) == [3, 6, 7]
    assert numbers(indexed(ds.drop_vars("end")).sel(contig=TABLES[name])) == [6, 7]


def test_tables_without_ends_or_starts(ds: xr.Dataset) -> None:
    table = TABLES["1-based"]
    assert numbers(indexed(ds).sel(contig=table[["contig"]])) == [3, 4, 5, 6, 7]
    assert numbers(indexed(ds).sel(contig=table[["contig", "start"]])) == [3, 7]
    assert numbers(indexed(ds).sel(contig=table.assign(end=[4, np.nan]))) == [3, 6, 7]
    assert numbers(indexed(ds).sel(contig=table.iloc[:0])) == []


def test_tables_that_are_none_of_regions(ds: xr.Dataset) -> None:
    table = TABLES["1-based"]
    for strange, message in (
        (table.rename(columns={"contig": "gene"}), "needs a column of contigs"),
        (table.drop(columns="start"), "needs a column of contigs, and of starts"),
        (table.rename(columns={"end": "chromEnd"}), "mixes the columns of BED"),
        (table.assign(start=[1.5, 2]), "whole number.*1.5"),
        (table.assign(start=["a", "b"]), "whole number"),
    ):
        with pytest.raises(LabelError, match=message):
            indexed(ds).sel(contig=strange)
    with pytest.raises(LabelNotFoundError, match="found 'Y'"):
        indexed(ds).sel(contig=table.assign(contig=["X", "Y"]))


@pytest.mark.parametrize("name", ["a.bed", "a.bed.gz"])
def test_regions_as_a_bed_file(ds: xr.Dataset, tmp_path: Path, name: str) -> None:
    text = "track name=x\n#chrom start end\nX\t3\t4\tgene\n\nchr10\t8\t20\n"
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    assert numbers(indexed(ds).sel(contig=tmp_path / name)) == [3, 6, 7]


@pytest.mark.parametrize("text", ["X\t3", "X\t-3\t4", "X\ta\t4", "X\t1.5\t4", "X\t\u0663\t4", "\x1f\x8bnot gzip"])
def test_bed_files_that_are_none(ds: xr.Dataset, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.bed").write_bytes(text.encode("latin-1") if "\x8b" in text else text.encode())
    with pytest.raises(LabelError, match=r"a\.bed"):
        indexed(ds).sel(contig=tmp_path / "a.bed")
    with pytest.raises(LabelError, match="cannot be read"):
        indexed(ds).sel(contig=tmp_path / "absent.bed")


def test_positions_as_intervals(ds: xr.Dataset) -> None:
    points = indexed(ds.drop_vars("end"))
    for closed, expected in (("both", [4, 5]), ("left", [4]), ("right", [5]), ("neither", [])):
        interval = pd.Interval(3, 8, closed=closed)
        assert numbers(points.sel(contig="chr10", position=interval)) == expected, closed
        intervals = pd.IntervalIndex([interval, pd.Interval(19.5, np.inf, closed=closed)])
        assert numbers(points.sel(contig="chr10", position=intervals)) == [*expected, 6], closed
    assert numbers(points.sel(contig="chr10", position=[slice(1, 2), slice(8, None)])) == [3, 5, 6]
    with pytest.raises(LabelError, match="an interval of positions"):
        points.sel(contig="chr10", position=pd.Interval(pd.Timestamp(0), pd.Timestamp(1)))


@pytest.mark.slow
def test_many_contigs_regions_and_positions() -> None:
    n = 20_000
    names = np.array([f"scaffold_{i}" for i in range(n)], object)
    ds = genome(["?"] * n, [7] * n, [9] * n).assign_coords(contig=("v", np.arange(n)))
    index = indexed(ds, contig_id=names)
    assert numbers(index.sel(contig=[f"scaffold_{i}:8" for i in reversed(range(n))])) == list(range(n))
    assert numbers(index.sel(contig=np.arange(0, n, 7))) == list(range(0, n, 7))
    assert f"{n:,} intervals on {n:,} contigs" in repr(index.xindexes["contig"]).replace("20000", "20,000")
    one = indexed(genome(["1"] * n, list(range(n))))
    shuffled = np.random.default_rng(5).permutation(n)[: n // 2]
    assert numbers(one.sel(contig="1", position=shuffled)) == sorted(shuffled.tolist())


@pytest.mark.parametrize("names", [["x", "y"], [b"x", b"y"], [b"x", b"\xff"]])
def test_names_of_contigs_in_bytes_are_saved_as_text(names: list[Any]) -> None:
    coords = {"contig": ("v", [0, 0, 1]), "pos": ("v", [1, 5, 2])}
    ds = xr.Dataset(coords=coords).set_xindex(["contig", "pos"], zarrds.RegionIndex, contig_id=names)
    store = zarrds.MemoryStore()
    zarrds.save(ds, store)
    assert xr.open_dataset(store, engine="zarrds").sel(contig=names[1]).pos.values.tolist() == [2]


@pytest.mark.parametrize("where", ["memory", "store"])
def test_columns_of_nullable_integers_and_objects(tmp_path: Path, where: str) -> None:
    """Also of which some are missing, where they are ends; and they are saved with their index."""
    ends = [(pd.array([7, None, 12], "Int64")), np.array([7, None, 12], object), np.array([7, pd.NA, 12], object)]
    for i, end in enumerate(ends):
        coords = {
            "c": ("v", pd.array(["1"] * 3, "string")),
            "p": ("v", pd.array([1, 5, 9], "UInt16")),
            "end": ("v", end),
        }
        ds = xr.Dataset({"x": ("v", [0, 1, 2])}, coords)
        if where == "store":
            zarrds.save(ds, tmp_path / f"{i}.zarr")
            ds = xr.open_dataset(tmp_path / f"{i}.zarr", engine="zarrds")
        ds = ds.set_xindex(["c", "p", "end"], RegionIndex)
        assert ds.sel(c="1:6-9").x.values.tolist() == [0, 2]
        zarrds.save(ds, tmp_path / f"with{i}.zarr")
        assert xr.open_dataset(tmp_path / f"with{i}.zarr", engine="zarrds").sel(c="1:5").x.values.tolist() == [0, 1]


def test_columns_of_objects_that_are_no_integers() -> None:
    for column, found in (([1, None], "None at element 1"), ([1, 2.5], "mixed-integer-float"), ([1, 2**64], "64 bits")):
        ds = xr.Dataset(coords={"c": ("v", ["1"] * 2), "p": ("v", np.array(column, object))})
        with pytest.raises(LabelError, match=found):
            ds.set_xindex(["c", "p"], RegionIndex)


def test_regions_as_tuples() -> None:
    ds = xr.Dataset(coords={"c": ("v", ["1", "1", "2"]), "p": ("v", [1, 5, 9])}).set_xindex(["c", "p"], RegionIndex)
    assert ds.sel(c=[("2", 1, 10), (b"1", 2, 5)]).p.values.tolist() == [5, 9]


def test_regions_that_end_before_they_begin(tmp_path: Path) -> None:
    """They are refused wherever they come from; those of no position at all are not."""
    ds = xr.Dataset(coords={"c": ("v", ["1", "1"]), "p": ("v", [1, 5])}).set_xindex(["c", "p"], RegionIndex)
    bed = tmp_path / "r.bed"
    for start, end in ((9, 3), (4, 3)):
        table = pd.DataFrame({"chrom": ["1"], "chromStart": [start], "chromEnd": [end]})
        bed.write_text(f"1\t{start}\t{end}\n")
        for regions in (table, bed, [("1", start + 1, end)]):
            with pytest.raises(LabelError, match=r"before"):
                ds.sel(c=regions)
    bed.write_bytes(b"\xef\xbb\xbf1\t4\t4\n1\t4\t5\n")  # with a byte order mark, and a region of no position
    assert ds.sel(c=bed).p.values.tolist() == [5]
    assert ds.sel(c=[("1", 5, 4)]).p.values.tolist() == []


def test_several_regions_in_one_text() -> None:
    """With commas between them, which numbers may have too."""
    coords = {"c": ("v", ["1", "1", "chr2", "HLA:1,2"]), "p": ("v", [1000, 5000, 9, 3])}
    ds = xr.Dataset(coords=coords).set_xindex(["c", "p"], RegionIndex)
    for text, found in {
        "1:5,000-6,000,chr2": [5000, 9],
        "1:1,000,chr2:9-9": [1000, 9],
        "{chr2}:1-9,{HLA:1,2}": [9, 3],
        "HLA:1,2,1:1,000-": [1000, 5000, 3],
        "1,1:5000": [1000, 5000],
        "1:1,000-5,000": [1000, 5000],
    }.items():
        assert ds.sel(c=text).p.values.tolist() == found, text
    for text in ("1:5,x", "1:5,000-6,000,chr3:1", "chr2,", ","):
        with pytest.raises(LabelError):
            ds.sel(c=text)

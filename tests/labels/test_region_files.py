"""Regions of real genomes, stored: equal to a look at each record, and only chunks that can hold an answer are read."""

from __future__ import annotations

import gzip
import json
import pickle
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import Counting
from zarrds.errors import ConflictError, LabelError
from zarrds.labels.genomics.columns import RegionColumns
from zarrds.labels.genomics.regions import RegionIndex

NAMES = ["variant_contig", "variant_position", "variant_length"]
CHUNK = 1000

Array = np.ndarray[Any, Any]


def lines_of(path: Path) -> tuple[list[str], list[str]]:
    """The header and the records of a VCF file."""
    with gzip.open(path, "rt") as file:
        lines = file.readlines()
    return [line for line in lines if line.startswith("#")], [line for line in lines if not line.startswith("#")]


def read_records(path: Path) -> tuple[Array, Array, Array]:
    """Contigs, positions and ends of all records, straight from the text of a VCF file."""
    contigs, positions, ends = [], [], []
    for line in lines_of(path)[1]:
        contig, position, _, reference, _, _, _, info = line.split("\t", 8)[:8]
        end = next((item[4:] for item in info.strip().split(";") if item.startswith("END=")), None)
        contigs.append(contig)
        positions.append(int(position))
        ends.append(int(position) + len(reference) - 1 if end is None else int(end))
    return np.array(contigs, object), np.array(positions), np.array(ends)


@pytest.fixture(scope="module")
def intervals(data_dir: Path) -> tuple[Array, Array, Array]:
    contigs, positions, ends = read_records(data_dir / "NA12878.prod.chr20snippet.g.vcf.gz")
    assert len(positions) == 301_778
    return contigs, positions, ends


def vcf_zarr(contigs: Array, positions: Array, ends: Array) -> xr.Dataset:
    """As bio2zarr lays it out: codes, lengths, and what is known of each contig in each chunk."""
    names, codes = np.unique(contigs.astype(str), return_inverse=True)
    rows = []
    for chunk in range(-(-len(codes) // CHUNK)):
        window = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        for code in dict.fromkeys(codes[window].tolist()):
            here = np.arange(len(codes))[window][codes[window] == code]
            first, last = positions[here[[0, -1]]]
            rows.append((chunk, code, first, last, ends[here].max(), here.size))
    return xr.Dataset(
        {
            "contig_id": ("contigs", names.astype(object)),
            "region_index": (("region_index_values", "region_index_fields"), np.array(rows, "i4")),
            "call": ("variants", np.arange(len(codes))),
        },
        {
            "variant_contig": ("variants", codes.astype("i1")),
            "variant_position": ("variants", positions.astype("i4")),
            "variant_length": ("variants", (ends - positions + 1).astype("i4")),
            "variant_end": ("variants", ends.astype("i4")),
        },
    )


def stored(ds: xr.Dataset) -> Counting:
    store = Counting()
    zarrds.save(ds, store, encoding={name: {"chunks": (CHUNK,)} for name in [*ds.coords, "call"]})
    store.reads.clear()
    return store


def opened(store: Any, **options: Any) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarrds", **options)


def indexed(ds: xr.Dataset, names: list[str] = NAMES, **options: Any) -> xr.Dataset:
    return ds.set_xindex(names, RegionIndex, contig_id=ds.contig_id, **options)


def some_regions(positions: Array, n: int) -> list[tuple[int, int]]:
    """Short and long, inside of records and between them, also before the first and after the last."""
    random = np.random.default_rng(20)
    starts = random.integers(positions[0] - 1000, positions[-1] + 1000, n)
    starts[: n // 3] = random.choice(positions, n // 3) + random.integers(-2, 3, n // 3)
    lengths = (10 ** random.uniform(0, 5, n)).astype(int) - 1
    return list(zip(starts.tolist(), (starts + lengths).tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pass", "region_index", "ends", "dask"])
def test_a_thousand_regions_of_a_genome(how: str, intervals: tuple[Array, Array, Array]) -> None:
    _, positions, ends = intervals
    ds = opened(stored(vcf_zarr(*intervals)), chunks={"variants": 50_000} if how == "dask" else None)
    names = [*NAMES[:2], "variant_end"] if how == "ends" else NAMES
    index = indexed(ds, names, region_index=ds.region_index if how == "region_index" else None).xindexes[names[0]]
    numbers = np.arange(len(positions))
    for start, stop in some_regions(positions, 100 if how == "dask" else 1000):
        result = index.sel({"variant_contig": "20", "variant_position": slice(start, stop)})
        expected = np.flatnonzero((positions <= stop) & (ends >= start))
        assert np.array_equal(numbers[result.dim_indexers["variants"]], expected)


def test_selected_data_are_those_of_the_region(intervals: tuple[Array, Array, Array]) -> None:
    _, positions, ends = intervals
    ds = indexed(opened(stored(vcf_zarr(*intervals))))
    regions = some_regions(positions, 50)
    found = ds.sel(variant_contig=[f"20:{max(start, 1)}-{stop}" for start, stop in regions])
    expected = np.zeros(len(positions), bool)
    for start, stop in regions:
        expected |= (positions <= stop) & (ends >= start)
    assert np.array_equal(found.call, np.flatnonzero(expected))
    assert np.array_equal(found.variant_position, positions[expected])
    # the whole from another start: the index is that of what was selected
    again = found.sel(variant_position=slice(*regions[0]))
    within = expected & (positions <= regions[0][1]) & (ends >= regions[0][0])
    assert np.array_equal(again.call, np.flatnonzero(within))


def test_only_chunks_that_can_hold_an_answer_are_read(intervals: tuple[Array, Array, Array]) -> None:
    _, positions, ends = intervals
    store = stored(vcf_zarr(*intervals))
    ds = opened(store)
    ds = indexed(ds, region_index=ds.region_index)
    # the names of contigs, the table, and the first and the last chunk: nothing that grows with the genome
    assert len(store.chunks_read()) <= 2 + 3 * 2
    index = ds.xindexes["variant_position"]
    longest = 0
    for start, stop in some_regions(positions, 200):
        index = indexed(ds.drop_indexes(NAMES), region_index=ds.region_index).xindexes["variant_position"]
        store.reads.clear()
        index.sel({"variant_contig": "20", "variant_position": slice(start, stop)})
        chunks = store.chunks_read()
        can_hold = [
            i
            for i, window in enumerate(np.arange(0, len(positions), CHUNK))
            if positions[window] <= stop and ends[window : window + CHUNK].max() >= start
        ]
        allowed = {f"{name}/c/{i}" for name in NAMES[1:] for i in can_hold}
        assert chunks <= allowed
        longest = max(longest, len(chunks))
    assert 0 < longest < 20
    store.reads.clear()
    assert ds.sel(variant_contig="20").isel(variants=slice(5000, 9000)).sizes["variants"] == 4000
    assert not store.chunks_read()


def test_one_pass_reads_each_chunk_once_and_little_at_a_time(intervals: tuple[Array, Array, Array]) -> None:
    store = stored(vcf_zarr(*intervals))
    ds = opened(store)
    indexed(ds)
    read = {key: n for key, n in store.reads.items() if "/c/" in key and key.startswith("variant_")}
    assert set(read) == {f"{name}/c/{i}" for name in NAMES for i in range(302)}
    assert set(read.values()) == {1}
    # with ends, region_index tells all but how far they reach
    store.reads.clear()
    indexed(opened(store), [*NAMES[:2], "variant_end"], region_index=ds.region_index)
    assert len([key for key in store.chunks_read() if key.startswith("variant_contig")]) == 2


def test_threads_share_an_index(intervals: tuple[Array, Array, Array]) -> None:
    _, positions, ends = intervals
    index = indexed(opened(stored(vcf_zarr(*intervals)))).xindexes["variant_position"]
    regions = some_regions(positions, 200)

    def find(region: tuple[int, int]) -> Array:
        result = index.sel({"variant_contig": "20", "variant_position": slice(*region)})
        return np.arange(len(positions))[result.dim_indexers["variants"]]

    with ThreadPoolExecutor(8) as threads:
        for (start, stop), found in zip(regions, threads.map(find, regions), strict=True):
            assert np.array_equal(found, np.flatnonzero((positions <= stop) & (ends >= start)))


def test_what_an_index_keeps_is_bounded() -> None:
    n = 3_000_000
    ds = xr.Dataset(coords={"contig": ("v", np.zeros(n, "i1")), "position": ("v", np.arange(n, dtype="i4"))})
    ds = ds.set_xindex(["contig", "position"], RegionIndex)
    tracemalloc.start()
    for start in range(0, n, 10_000):
        assert ds.sel(contig=0, position=slice(start + 5, start + 9000)).sizes["v"] == 8996
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 2**22 < kept < 2**24 + 2**21
    assert len(pickle.dumps(ds)) < 6 * n


def test_a_page_that_is_kept_keeps_no_others() -> None:
    n, stretch = 2**23, 2**18
    zeros = xr.Variable("v", np.zeros(n, "i1"))
    columns = RegionColumns(zeros, zeros, None, "end")
    tracemalloc.start()
    for start in range(0, n, stretch):
        columns.read(start, start + stretch)
        for earlier in range(0, start, stretch):
            columns.read(earlier, earlier + 1)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2**24 + 2**20


def test_contigs_of_a_file(data_dir: Path, tmp_path: Path) -> None:
    contigs, positions, ends = read_records(data_dir / "multi_contig.vcf.gz")
    zarrds.save(vcf_zarr(contigs, positions, ends), tmp_path / "x.zarr")
    coded = indexed(opened(tmp_path / "x.zarr"))
    named = coded.drop_indexes(NAMES).assign_coords(variant_contig=("variants", contigs))
    for ds in (coded, named.set_xindex(NAMES, RegionIndex), named.set_xindex(NAMES[:2], RegionIndex)):
        for contig in "01234":
            assert np.array_equal(ds.sel(variant_contig=contig).call, np.flatnonzero(contigs == contig))
            found = ds.sel(variant_contig=contig, variant_position=slice(100, 200))
            expected = (contigs == contig) & (positions <= 200) & (ends >= 100)
            assert np.array_equal(found.call, np.flatnonzero(expected))
        text = ["3:7", "1:933-", "1:930-932", "4:-2"]
        assert ds.sel(variant_contig=text).variant_position.values.tolist() == [930, 931, 932, 933, 7, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[:-1], "expected 1500 records, found 1000"),
        (lambda table: table[:, :5], "expected 6 columns"),
        (lambda table: table[::-1], "rows that are none"),
        (lambda table: table + np.array([0, 9, 0, 0, 0, 0]), "codes of 1 contigs"),
        (lambda table: table + np.array([0, 0, 1, 0, 0, 0]), r"positions 2 to .* at records 0 to 1000, found 1 to"),
        (lambda table: table * np.array([1, 1, 1, -1, 1, 1]), "rows that are none"),
        (lambda table: table * np.array([1, 1, 0, 1, 1, 1]), "positions that do not fall"),
    ],
)
def test_a_region_index_of_other_records(change: Any, message: str) -> None:
    positions = np.arange(1500) + 1
    ds = vcf_zarr(np.repeat(["a"], 1500).astype(object), positions, positions + 2)
    assert indexed(ds, region_index=ds.region_index.values).sel(variant_contig="a:5").call.values.tolist() == [2, 3, 4]
    with pytest.raises(LabelError, match=message) as caught:
        indexed(ds, region_index=change(ds.region_index.values))
    assert "Leave region_index out" in str(caught.value)


def test_a_stale_region_index_is_noticed_where_it_is_used() -> None:
    positions = np.arange(3500) + 1
    ds = vcf_zarr(np.repeat(["a"], 3500).astype(object), positions, positions)
    table = ds.region_index.values
    longer = ds.variant_length.copy()
    longer[1989] = 500  # reaches beyond its chunk, which the table does not say
    stale = indexed(ds.assign_coords(variant_length=longer), region_index=table)
    with pytest.raises(LabelError, match="region_index is stale"):
        stale.sel(variant_contig="a:1995")
    named = ds.assign_coords(variant_contig=("variants", np.repeat(["a"], 3500)))
    with pytest.raises(LabelError, match="Pass their names as contig_id"):
        named.set_xindex(NAMES, RegionIndex, region_index=table)
    assert indexed(named, region_index=table).sel(variant_contig="a:7").sizes["variants"] == 1
    codes = ds.set_xindex(NAMES, RegionIndex, region_index=table)
    assert codes.sel(variant_contig="0:7").sizes["variants"] == 1


def test_ends_that_region_index_does_not_know_are_read() -> None:
    positions = np.arange(3500) + 1
    ds = vcf_zarr(np.repeat(["a"], 3500).astype(object), positions, positions)
    ends = positions.copy()
    ends[7] = 3000
    ds = ds.assign_coords(variant_end=("variants", ends))
    found = indexed(ds, [*NAMES[:2], "variant_end"], region_index=ds.region_index).sel(variant_contig="a:2990")
    assert found.call.values.tolist() == [7, 2989]


def test_codes_that_equal_the_fill_value_are_no_missing_values(tmp_path: Path) -> None:
    # in format 2 the fill value means missing, and xarray makes such integers floats with NaN
    positions = np.arange(10)
    ds = vcf_zarr(np.repeat(["a", "b"], 5).astype(object), positions, positions)
    zarrds.save(ds, tmp_path / "x.zarr", zarr_format=2)
    (tmp_path / "x.zarr" / ".zmetadata").unlink()
    for name in [*NAMES, "region_index"]:
        document = tmp_path / "x.zarr" / name / ".zarray"
        document.write_text(json.dumps(json.loads(document.read_text()) | {"fill_value": 0}))
    back = opened(tmp_path / "x.zarr")
    assert back.variant_contig.isnull().sum() == 5
    for table in (None, back.region_index):
        found = indexed(back, region_index=table).sel(variant_contig=["a:1-3", "b"])
        assert found.call.values.tolist() == [1, 2, 3, 5, 6, 7, 8, 9]


def test_a_store_that_was_replaced(tmp_path: Path) -> None:
    positions = np.arange(5000)
    ds = vcf_zarr(np.repeat(["a"], 5000).astype(object), positions, positions)
    zarrds.save(ds, tmp_path / "x.zarr")
    lazy = indexed(opened(tmp_path / "x.zarr"))
    zarrds.save(ds.assign_coords(variant_position=ds.variant_position + 1), tmp_path / "x.zarr", mode="w")
    with pytest.raises(ConflictError, match="Open the dataset again"):
        lazy.sel(variant_contig="a:77")


def bio2zarr(files: list[Path], store: Path, zarr_format: int) -> xr.Dataset:
    options = ["--no-progress", "--variants-chunk-size", str(CHUNK), "--zarr-format", str(zarr_format)]
    command = [sys.executable, "-m", "bio2zarr", "vcf2zarr", "convert", *options, *map(str, files), str(store)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return opened(store).set_coords(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_that_bio2zarr_made(zarr_format: int, data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("bio2zarr", reason="bio2zarr is not installed: python -m pip install 'bio2zarr[vcf]'")
    header, lines = lines_of(data_dir / "NA12878.prod.chr20snippet.g.vcf.gz")
    for contig in ("20", "21"):  # it wants an index for a file of several contigs, but takes several files
        some = [contig + line.removeprefix("20") for line in lines[:2500]]
        with gzip.open(tmp_path / f"{contig}.vcf.gz", "wt") as file:
            file.writelines([*header, *some])
    ds = bio2zarr([tmp_path / "20.vcf.gz", tmp_path / "21.vcf.gz"], tmp_path / "x.zarr", zarr_format)
    _, positions, ends = read_records(tmp_path / "20.vcf.gz")
    assert ds.region_index.shape[1] == 6
    for table in (None, ds.region_index):
        index = indexed(ds, region_index=table)
        assert "21: 2,500" in repr(index.xindexes["variant_contig"])
        for start, stop in some_regions(positions, 50):
            found = index.sel(variant_contig="21", variant_position=slice(start, stop))
            expected = (positions <= stop) & (ends >= start)
            assert np.array_equal(found.variant_position, positions[expected])
            assert set(found.variant_contig.values.tolist()) <= {20}
    with pytest.raises(KeyError, match="no such contig"):
        index.sel(variant_contig="chr21")


@pytest.mark.slow
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_contigs_of_a_store_that_bio2zarr_made(zarr_format: int, data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("bio2zarr", reason="bio2zarr is not installed: python -m pip install 'bio2zarr[vcf]'")
    header, lines = lines_of(data_dir / "multi_contig.vcf.gz")
    files = []
    for contig in "01234":
        files.append(tmp_path / f"{contig}.vcf")
        files[-1].write_text("".join(header + [line for line in lines if line.startswith(contig + "\t")]))
    ds = bio2zarr(files, tmp_path / "x.zarr", zarr_format)
    index = indexed(ds, region_index=ds.region_index)
    assert index.sizes["variants"] == 4665
    for contig in range(5):
        found = index.sel(variant_contig=str(contig), variant_position=slice(930, None))
        assert found.variant_position.values.tolist() == [930, 931, 932, 933]
        assert set(found.variant_contig.values.tolist()) == {contig}

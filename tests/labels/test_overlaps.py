"""The search in sorted records, on NumPy arrays alone, against a look at each record."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrds.errors import LabelError, LabelNotFoundError
from zarrds.labels.genomics.overlaps import RecordBlocks, find_overlapping, indexer_of, merged, runs_among
from zarrds.labels.genomics.text import FAR, Region, parse_region

runs_of_few = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6).map(
    lambda pairs: np.array(pairs, np.int64).reshape(-1, 2)
)


def members(runs: np.ndarray) -> list[int]:
    return sorted({i for start, stop in runs.tolist() for i in range(start, stop)})


@given(st.lists(runs_of_few, max_size=4))
def test_merged_runs_are_the_union(runs: list[np.ndarray]) -> None:
    union = merged(runs)
    assert members(union) == sorted({i for each in runs for i in members(each)})
    assert (union[:, 0] < union[:, 1]).all()
    assert (union[1:, 0] > union[:-1, 1]).all()  # apart: neighbours are one run
    assert np.arange(30)[indexer_of(union)].tolist() == members(union)


@given(st.sets(st.integers(0, 40)))
def test_runs_among_positions(positions: set[int]) -> None:
    runs = runs_among(np.array(sorted(positions), np.int64))
    assert members(runs) == sorted(positions)
    assert len(runs) == sum(i - 1 not in positions for i in positions)


def test_one_run_is_a_slice() -> None:
    assert indexer_of(np.array([[3, 8]])) == slice(3, 8)
    assert indexer_of(np.empty((0, 2), np.int64)) == slice(0, 0)


class Records:
    """Sorted records in blocks, which remember what is read of them."""

    def __init__(self, positions: np.ndarray, ends: np.ndarray, block: int) -> None:
        self.positions, self.ends, self.read_at = positions, ends, set[int]()
        starts = np.arange(0, len(positions), block)
        bounds = np.append(starts, len(positions))
        first, last = positions[starts], positions[bounds[1:] - 1]
        self.blocks = RecordBlocks(bounds, np.zeros(len(starts), int), first, last, np.maximum.reduceat(ends, starts))

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        self.read_at |= set(range(start, stop))
        return self.positions[start:stop], self.ends[start:stop]


@st.composite
def records(draw: st.DrawFn) -> Records:
    positions = np.sort(np.array(draw(st.lists(st.integers(1, 60), min_size=1, max_size=40)), np.int64))
    lengths = draw(st.lists(st.integers(0, 70) | st.just(0), min_size=len(positions), max_size=len(positions)))
    return Records(positions, positions + lengths, draw(st.integers(1, 9)))


@given(records(), st.integers(-2, 80), st.integers(-2, 80))
def test_what_overlaps_is_found_and_little_else_is_read(records: Records, start: int, stop: int) -> None:
    found = members(find_overlapping(records.blocks, 0, np.array([[start, stop]]), records.read))
    expected = (records.positions <= stop) & (records.ends >= start) & (start <= stop)
    assert found == np.flatnonzero(expected).tolist()
    assert find_overlapping(records.blocks, 1, np.array([[start, stop]]), records.read).size == 0
    for block, (low, high) in enumerate(zip(records.blocks.bounds[:-1], records.blocks.bounds[1:], strict=True)):
        if low in records.read_at:  # only if that block alone leaves it open
            assert records.ends[low:high].max() >= start
            assert records.positions[low] <= stop
            assert not (start <= records.blocks.first[block] and records.blocks.last[block] <= stop)


@given(records(), st.lists(st.tuples(st.integers(-2, 80), st.integers(-2, 80)), max_size=12))
def test_many_regions_in_any_order_are_each_of_them(records: Records, regions: list[tuple[int, int]]) -> None:
    found = members(find_overlapping(records.blocks, 0, np.array(regions, np.int64).reshape(-1, 2), records.read))
    expected = np.zeros(len(records.positions), bool)
    for start, stop in regions:
        expected |= (records.positions <= stop) & (records.ends >= start) & (start <= stop)
    assert found == np.flatnonzero(expected).tolist()


def test_every_region_of_a_few_records() -> None:
    random = np.random.default_rng(4)
    for block in (1, 2, 3, 5):
        positions = np.sort(random.integers(0, 15, 12))
        ends = positions + random.choice([0, 0, 1, 9], 12)
        records = Records(positions, ends, block)
        for start in range(-1, 18):
            for stop in range(start, 18):
                found = members(find_overlapping(records.blocks, 0, np.array([[start, stop]]), records.read))
                assert found == np.flatnonzero((positions <= stop) & (ends >= start)).tolist()


def test_a_long_record_far_before_is_found_without_reading_what_lies_between() -> None:
    positions = np.arange(100_000)
    ends = positions.copy()
    ends[7] = 99_995
    records = Records(positions, ends, 100)
    found = find_overlapping(records.blocks, 0, np.array([[90_050, 90_052]]), records.read)
    assert members(found) == [7, 90_050, 90_051, 90_052]
    assert len(records.read_at) == 200


def test_no_more_than_some_records_are_read_at_once() -> None:
    positions = np.arange(600_000)
    records = Records(positions, np.full(600_000, 600_000), 1000)
    most = []

    def read(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        most.append(stop - start)
        return records.read(start, stop)

    assert len(members(find_overlapping(records.blocks, 0, np.array([[599_999, 599_999]]), read))) == 600_000
    assert max(most) <= 2**18 < sum(most)


def test_blocks_that_are_not_sorted() -> None:
    bounds, nought = np.array([0, 2, 4, 6]), np.zeros(3, int)
    with pytest.raises(LabelError, match="one stretch, found another order at record 4"):
        RecordBlocks(bounds, np.array([1, 0, 1]), nought, nought, nought)
    with pytest.raises(LabelError, match=r"do not fall, found another order at record 2\. Sort them"):
        RecordBlocks(bounds, nought, np.array([5, 3, 9]), np.array([6, 8, 9]), nought)


@pytest.mark.parametrize("what", ["position", "end"])
def test_records_that_are_not_those_of_the_blocks(what: str) -> None:
    records = Records(np.arange(10), np.arange(10), 5)
    if what == "position":
        records.positions = records.positions + 1
    else:
        records.ends = records.ends + 7
    with pytest.raises(LabelError, match="are not those that the index describes"):
        find_overlapping(records.blocks, 0, np.array([[2, 3]]), records.read)


CONTIGS = ["chr1", "HLA-A*01:01:01", "HLA:7", "HLA", "3"]


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("chr1", Region("chr1", -FAR, FAR)),
        ("chr1:100", Region("chr1", 100, 100)),
        ("chr1:100-", Region("chr1", 100, FAR)),
        ("chr1:-100", Region("chr1", 1, 100)),
        (" chr1:1,000,000-2,000,000 ", Region("chr1", 1_000_000, 2_000_000)),
        ("chr1:7-7", Region("chr1", 7, 7)),
        ("3:3", Region("3", 3, 3)),
        ("HLA-A*01:01:01", Region("HLA-A*01:01:01")),
        ("HLA-A*01:01:01:5-6", Region("HLA-A*01:01:01", 5, 6)),
        ("HLA:7", Region("HLA:7")),  # the name of a contig is that contig
        ("HLA:7-7", Region("HLA", 7, 7)),
        ("{HLA}:7", Region("HLA", 7, 7)),  # braces say where it ends
        ("{HLA:7}", Region("HLA:7")),
        ("{HLA:7}:1-5", Region("HLA:7", 1, 5)),
        ("{chr1}", Region("chr1")),
        ("chr1:0-3", Region("chr1", 0, 3)),  # as htslib reads it
        ("chr1:1.5k-2M", Region("chr1", 1500, 2_000_000)),
        ("chr1:1e3-1e6", Region("chr1", 1000, 1_000_000)),
    ],
)
def test_regions_as_text(text: str, region: Region) -> None:
    assert parse_region(text, CONTIGS) == region


@pytest.mark.parametrize(
    "text",
    [
        *("chr1:", "chr1:-", "chr1:x", "chr1:5-3", "chr1:0", "{chr1}:", "chr1:1.5", "chr1:,5", "chr1:\u0661"),
        "chr1:" + "9" * 19,
    ],
)
def test_malformed_text(text: str) -> None:
    with pytest.raises(LabelError, match="cannot read a region") as caught:
        parse_region(text, CONTIGS)
    assert not isinstance(caught.value, LabelNotFoundError)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(("text", "shown"), [("chr2:5-6", "'chr2'"), ("2", "'2'"), ("", "''"), ("chr2:x", "'chr2:x'")])
def test_unknown_contigs(text: str, shown: str) -> None:
    with pytest.raises(LabelNotFoundError, match=r"expected one of 'chr1', 'HLA-A") as caught:
        parse_region(text, CONTIGS)
    assert isinstance(caught.value, KeyError)
    assert f"found {shown}" in str(caught.value)
    with pytest.raises(LabelNotFoundError, match="'c19' and 80 more"):
        parse_region(text, [f"c{i}" for i in range(100)])

"""Selection by contig and position through xarray, against a look at each record."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.labels.genomes import NAMES, genome, indexed, numbers
from zarrds.errors import LabelError, LabelNotFoundError
from zarrds.labels.genomics.regions import RegionIndex


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("labels", "starting", "overlapping"),
    [
        ({"contig": "chr10"}, [3, 4, 5, 6], [3, 4, 5, 6]),
        ({"contig": "chr2", "position": 5}, [0, 1], [0, 1]),
        ({"contig": "chr2", "position": 6}, [], [0]),
        ({"contig": "chr10", "position": slice(8, 20)}, [5, 6], [3, 5, 6]),
        ({"contig": "chr10", "position": slice(21, None)}, [], [3, 6]),
        ({"contig": "chr10", "position": slice(None, 3)}, [3, 4], [3, 4]),
        ({"contig": "chr10", "position": slice(9, 7)}, [], []),
        ({"contig": "chr10", "position": slice(8.0, 2e1)}, [5, 6], [3, 5, 6]),
        ({"contig": "chr10", "position": [3, 8, 3]}, [4, 5], [3, 4, 5]),
        ({"contig": "chr10", "position": np.array(8)}, [5], [3, 5]),
        ({"contig": "chr2:9-"}, [2], [2]),
        ({"contig": ["X", "chr10:1-3", "chr10:2-7"]}, [3, 4, 7], [3, 4, 7]),
        ({"contig": np.array(["X", "chr2:6"])}, [7], [0, 7]),
        ({"contig": xr.DataArray(["chr2", "chr10"], dims="r")}, [0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5, 6]),
        ({"contig": xr.DataArray("X")}, [7], [7]),
        ({"contig": []}, [], []),
        ({"contig": slice(None), "position": slice(None)}, list(range(8)), list(range(8))),
        ({"contig": "chr2", "position": slice(None)}, [0, 1, 2], [0, 1, 2]),
    ],
)
def test_selections(ds: xr.Dataset, labels: dict[str, Any], starting: list[int], overlapping: list[int]) -> None:
    assert numbers(indexed(ds).sel(labels)) == overlapping
    assert numbers(indexed(ds.drop_vars("end")).sel(labels)) == starting
    assert indexed(ds).sel(labels).n.dims == ("v",)


def test_one_block_is_a_slice(ds: xr.Dataset) -> None:
    index = indexed(ds).xindexes["contig"]
    assert index.sel({"contig": ["chr2", "chr10:1-"]}).dim_indexers == {"v": slice(0, 7)}
    assert index.sel({"contig": "X:9"}).dim_indexers == {"v": slice(0, 0)}
    assert index.sel({"contig": "chr10", "position": 8}).dim_indexers["v"].tolist() == [3, 5]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"position": 5}, "Name the contig"),
        ({"contig": ["X", "chr2"], "position": 5}, "positions are those of one contig"),
        ({"contig": slice("X", "chr2")}, "no order to slice by"),
        ({"contig": "X", "end": 5}, "selected by contig and position"),
        ({"contig": "X", "position": 5.5}, r"whole number.*found 5\.5 \(float\)"),
        ({"contig": "X", "position": "5"}, r"whole number.*found '5' \(str\)"),
        ({"contig": "X", "position": True}, "whole number"),
        ({"contig": "X", "position": slice(1, float("nan"))}, "whole number"),
        ({"contig": "X", "position": slice(1, 9, 2)}, "no step"),
        ({"contig": [["X"]]}, "there is no such contig"),
        ({"contig": np.array([["X"]])}, "one dimension at most"),
        ({"contig": "X:5-2"}, "start is after its stop"),
        ({"contig": "chr3"}, r"expected one of 'chr2', 'chr10', 'X', found 'chr3'"),
        ({"contig": "chr3", "position": 5}, "found 'chr3'"),
        ({"contig": 0}, "there is no such contig: .*found 0"),
    ],
)
def test_what_cannot_be_selected(labels: dict[str, Any], message: str) -> None:
    ds = indexed(genome(["chr2", "chr10", "X"], [1, 2, 3], [1, 2, 3]))
    with pytest.raises(LabelError, match=message) as caught:
        ds.sel(labels)
    assert isinstance(caught.value, LabelNotFoundError) == ("no such contig" in str(caught.value))


def test_no_method() -> None:
    with pytest.raises(LabelError, match="selected exactly"):
        indexed(genome(["X"], [1])).sel(contig="X", method="nearest")


def test_a_position_is_enough_where_there_is_one_contig(ds: xr.Dataset) -> None:
    assert numbers(indexed(ds).sel(contig="chr10").sel(position=slice(8, 9))) == [3, 5]


def test_codes_of_contigs() -> None:
    ds = genome([2, 2, 0], [1, 5, 3]).assign_coords(contig=("v", np.array([2, 2, 0], "i1")))
    named = indexed(ds, contig_id=xr.DataArray(["a", "b", "c"], dims="contigs"))
    assert numbers(named.sel(contig="c", position=5)) == numbers(named.sel(contig="c:5")) == [1]
    assert numbers(named.sel(contig="b")) == []  # a contig that is there, without records
    assert numbers(named.sel(contig=2)) == numbers(named.sel(contig=np.int8(2))) == [0, 1]
    assert numbers(named.sel(contig=[0])) == [2]
    unnamed = indexed(ds)
    assert numbers(unnamed.sel(contig=2)) == numbers(unnamed.sel(contig="2")) == [0, 1]
    for each, contig in ((named, 3), (named, "2"), (unnamed, 1)):
        with pytest.raises(LabelNotFoundError):
            each.sel(contig=contig)
    with pytest.raises(LabelError, match=r"unknown contig: expected one of the 2 of contig_id, found 2\. Pass all"):
        indexed(ds, contig_id=["a", "b"])
    with pytest.raises(LabelError, match="must be different names"):
        indexed(ds, contig_id=["a", "a", "b"])
    with pytest.raises(LabelError, match=r"unknown contig.*found -1"):
        indexed(ds.assign_coords(contig=("v", [-1, -1, 0])))


def test_names_with_contig_id() -> None:
    ds = indexed(genome(["b", "b", "a"], [1, 5, 3]), contig_id=["a", "b", "c"])
    assert numbers(ds.sel(contig="b")) == [0, 1]
    assert numbers(ds.sel(contig="c")) == []
    with pytest.raises(LabelError, match="found 'z'"):
        indexed(genome(["z"], [1]), contig_id=["a"])


@pytest.mark.parametrize("kind", ["U", "category", "string"])
def test_names_of_any_kind(kind: str) -> None:
    names = ["b", "b", "a"]
    contigs: Any = np.array(names) if kind == "U" else pd.array(names, dtype=kind)
    ds = xr.Dataset({"n": ("v", np.arange(3))}, {"contig": ("v", contigs), "position": ("v", [1, 5, 3])})
    assert numbers(indexed(ds).sel(contig="b", position=slice(2, 9))) == [1]
    if kind == "string":
        with pytest.raises(LabelError, match="contig of a record is missing"):
            indexed(ds.assign_coords(contig=("v", pd.array(["b", None, None], dtype="string"))))


@pytest.mark.parametrize("missing", [None, np.nan])
def test_names_that_are_missing(missing: Any) -> None:
    with pytest.raises(LabelError, match="contig of a record is missing"):
        indexed(genome(["b", missing, "b"], [1, 2, 3]))


def test_lengths_and_missing_ends() -> None:
    ds = genome(["X"] * 4, [1, 5, 6, 8]).assign_coords(length=("v", np.array([6, -1, 0, 3], "i1")))
    names = ["contig", "position", "length"]
    by_length = ds.set_xindex(names, RegionIndex)
    assert [numbers(by_length.sel(contig="X", position=p)) for p in (5, 6, 7, 10, 11)] == [[0, 1], [0, 2], [], [3], []]
    ends = ds.rename(length="stop").assign_coords(stop=("v", [6, np.nan, -1, 10]))
    assert numbers(ends.set_xindex(["contig", "position", "stop"], RegionIndex).sel(contig="X:5-6")) == [0, 1, 2]
    with pytest.raises(LabelError, match="cannot tell what coordinate 'size' says"):
        ds.rename(length="size").set_xindex(["contig", "position", "size"], RegionIndex)
    said = ds.rename(length="size").set_xindex(["contig", "position", "size"], RegionIndex, interval="length")
    assert numbers(said.sel(contig="X:6")) == [0, 2]


@pytest.mark.parametrize(
    ("contigs", "positions", "message"),
    [
        (["a", "b", "a"], [1, 2, 3], "in one stretch, found another order at record 2"),
        (["a", "a", "b"], [2, 1, 3], r"found another order at record 1\. Sort them before"),
    ],
)
def test_records_that_are_not_sorted(contigs: list[Any], positions: list[int], message: str) -> None:
    ds = genome(contigs, positions)
    with pytest.raises(LabelError, match=message):
        indexed(ds)
    assert numbers(indexed(ds.sortby(["contig", "position"])).sel(contig="a")) in ([0, 2], [1, 0])


def test_records_that_are_not_sorted_across_what_is_read_at_once() -> None:
    n = 300_000
    positions = np.arange(n)
    for contigs, back in ((np.repeat([0, 1], n // 2), 262_144), (np.where(np.arange(n) < 270_000, 0, 1), 262_144)):
        ds = genome([], []).drop_dims("v").assign_coords(contig=("v", contigs), position=("v", positions))
        assert indexed(ds).sel(contig=1).sizes["v"] == (contigs == 1).sum()
        fallen = positions.copy()
        fallen[back:] -= 9
        with pytest.raises(LabelError, match=f"at record {back}"):
            indexed(ds.assign_coords(position=("v", fallen)))
    with pytest.raises(LabelError, match="in one stretch"):
        indexed(ds.assign_coords(contig=("v", np.where(np.arange(n) < 10, 1, contigs))))


def test_coordinates_that_cannot_be_indexed() -> None:
    ds = genome(["a"], [1])
    with pytest.raises(LabelError, match="two or three coordinates along one dimension"):
        ds.set_xindex(["contig"], RegionIndex)
    with pytest.raises(LabelError, match="two or three coordinates along one dimension"):
        ds.assign_coords(position=3).set_xindex(["contig", "position"], RegionIndex)
    with pytest.raises(LabelError, match="found fasta"):
        indexed(ds, fasta="x")
    strange = {
        1.5: "found 1.5",
        np.inf: "found inf",
        1e300: "found 1e",
        "x": "dtype",
        np.nan: "is missing.*NaN at element 0",
    }
    for value, message in strange.items():
        with pytest.raises(LabelError, match=message):
            indexed(ds.assign_coords(position=("v", [value])))


def test_no_records() -> None:
    ds = genome([], [], []).assign_coords(contig=("v", np.empty(0, "i1")))
    index = indexed(ds, contig_id=["a"])
    assert numbers(index.sel(contig="a")) == numbers(index.sel(contig="a:5-7")) == []
    assert numbers(index.sel(contig="a", position=slice(None))) == []
    assert "0 intervals on 0 contigs" in repr(index.xindexes["contig"])
    with pytest.raises(LabelNotFoundError, match="there are no records"):
        indexed(ds).sel(contig="a")


# -------------------------------------------------------------------- against a look at each record


@st.composite
def genomes(draw: st.DrawFn) -> xr.Dataset:
    contigs: list[str] = []
    positions: list[int] = []
    for contig in draw(st.permutations(["a", "b:1", "b"])):
        there = sorted(draw(st.lists(st.integers(1, 30), max_size=12)))
        positions += there
        contigs += [contig] * len(there)
    lengths = draw(st.lists(st.integers(0, 3) | st.integers(0, 40), min_size=len(contigs), max_size=len(contigs)))
    ds = genome(contigs, positions, (np.array(positions, int) + lengths).tolist())
    if draw(st.booleans()):
        ds = ds.drop_vars("end")
    return ds.chunk(v=draw(st.integers(1, 7))) if len(contigs) and draw(st.booleans()) else ds


regions = st.tuples(st.sampled_from(["a", "b", "b:1"]), st.integers(1, 40), st.integers(0, 40))


def brute_force(ds: xr.Dataset, asked: list[tuple[str, int, int]]) -> list[int]:
    begins = ds.position.values
    ends = ds.end.values if "end" in ds else begins
    found = np.zeros(ds.sizes["v"], bool)
    for contig, start, stop in asked:
        found |= (ds.contig.values == contig) & (begins <= stop) & (ends >= start)
    return ds.n.values[found].tolist()


@pytest.mark.slow
@given(genomes(), st.lists(regions, min_size=1, max_size=4), st.data())
def test_regions_and_selections_of_selections(ds: xr.Dataset, pairs: list[tuple[str, int, int]], data: Any) -> None:
    asked = [(contig, start, start + length) for contig, start, length in pairs]
    contig, start, stop = asked[0]
    whole = indexed(ds, contig_id=["b", "b:1", "a"])
    size = ds.sizes["v"]
    ordered = st.lists(st.integers(-size, size - 1), max_size=20).map(lambda i: sorted(np.array(i, int) % max(size, 1)))
    indexer = data.draw(st.slices(size).filter(lambda s: (s.step or 1) > 0) | (ordered if size else st.just([])))
    part = whole.isel(v=indexer)
    part = part.chunk(v=-1) if part.n.chunks else part  # dask fails where there are more chunks than elements
    for each in (whole, part, part.isel(v=slice(1, None)), part.isel(v=np.arange(part.sizes["v"]) % 3 > 0)):
        assert isinstance(each.xindexes["position"], RegionIndex)
        text = [f"{c}:{a}-{b}" for c, a, b in asked]
        assert numbers(each.sel(contig=text)) == brute_force(each, asked)
        one = each.sel(contig=contig, position=slice(start, stop))
        assert numbers(one) == brute_force(each, asked[:1])
        # what was selected is selected from again
        assert numbers(one.sel(contig=["a", "b", "b:1"])) == numbers(one)
        assert numbers(one.sel(contig=contig, position=start + 1)) == brute_force(one, [(contig, start + 1, start + 1)])


# -------------------------------------------------------------------- what else xarray does with an index


def test_isel(ds: xr.Dataset) -> None:
    ds = indexed(ds)
    expected = ds.drop_indexes([*ds.xindexes])
    for kept in (slice(2, 6), slice(None), slice(0, 8, 3), [0, 0, 3], [-3, -1], np.arange(8) > 3, slice(5, 2)):
        part = ds.isel(v=kept)
        assert isinstance(part.xindexes["end"], RegionIndex)
        xr.testing.assert_identical(part.drop_indexes([*part.xindexes]), expected.isel(v=kept))
    for dropped in (
        3,
        [3, 1],
        slice(None, None, -1),
        xr.DataArray([1, 2], dims="w"),
        xr.DataArray([[1]], dims=["w", "z"]),
    ):
        part = ds.isel(v=dropped)
        assert not part.xindexes
        xr.testing.assert_identical(part, expected.isel(v=dropped))
    along = ds.isel(v=xr.DataArray([1, 2], dims="v"))
    assert numbers(along.sel(contig="chr2")) == [1, 2]


def test_rename(ds: xr.Dataset) -> None:
    renamed = indexed(ds).rename(contig="chrom", position="pos", v="variants")
    assert renamed.pos.dims == ("variants",)
    renamed = renamed.isel(variants=slice(1, None))
    assert renamed.pos.dims == ("variants",)
    found = renamed.sel(chrom="chr2", pos=slice(6, None))
    assert numbers(found) == [2]
    assert [*found.xindexes] == ["chrom", "pos", "end"]


def test_attributes_and_encoding_stay(ds: xr.Dataset) -> None:
    ds.position.attrs["long_name"] = "where"
    ds.position.encoding["zlib"] = True
    for each in (indexed(ds), indexed(ds).sel(contig="chr2"), indexed(ds).sel(contig=["X", "chr2:9"])):
        assert each.position.attrs == {"long_name": "where"}
        assert each.position.encoding["zlib"]


def test_copies_and_pickles(ds: xr.Dataset) -> None:
    ds = indexed(ds)
    for other in (ds.copy(), ds.copy(deep=True), copy.deepcopy(ds), pickle.loads(pickle.dumps(ds))):
        assert other.xindexes["position"].equals(ds.xindexes["position"])
        assert numbers(other.sel(contig="chr10", position=8)) == [3, 5]
        xr.testing.assert_identical(other, ds)
        assert (other.n + ds.n).values.tolist() == [2 * i for i in range(8)]


def test_equals(ds: xr.Dataset) -> None:
    def index_of(ds: xr.Dataset, **options: Any) -> xr.Index:
        return indexed(ds, **options).xindexes["position"]

    index = index_of(ds)
    assert index.equals(index_of(ds.copy(deep=True)))
    assert index.equals(
        index_of(ds.assign_coords(contig=("v", [1, 1, 1, 0, 0, 0, 0, 2])), contig_id=["chr10", "chr2", "X"])
    )
    assert index.isel({"v": slice(1, 4)}).equals(index_of(ds.isel(v=slice(1, 4))))
    assert index.isel({"v": [1, 6]}).equals(index_of(ds.isel(v=[1, 6])))
    different = [
        ds.isel(v=slice(7)),
        ds.drop_vars("end"),
        ds.assign_coords(position=ds.position + 1),
        ds.assign_coords(end=ds.end + 1),
        ds.assign_coords(contig=("v", ["chr2"] * 3 + ["chr10"] * 4 + ["Y"])),
    ]
    assert not any(index.equals(index_of(other)) for other in different)
    assert not index.equals(xr.Dataset(coords={"x": [1]}).xindexes["x"])
    with pytest.raises(ValueError, match="cannot align"):
        xr.align(indexed(ds), indexed(different[2]), join="exact")


def test_concat(ds: xr.Dataset) -> None:
    ds = indexed(ds)
    parts = [ds.sel(contig=contig) for contig in ("chr2", "chr10", "X")]
    together = xr.concat(parts, "v")
    xr.testing.assert_identical(together, ds)
    assert numbers(together.sel(contig="chr10", position=9)) == [3]
    # other records, or another order of contigs: made anew
    for order in ([2, 0, 1], [1]):
        apart = [indexed(parts[i].drop_indexes(NAMES).load()) for i in order]
        again = xr.concat(apart, "v")
        assert numbers(again) == [n for i in order for n in numbers(parts[i])]
        assert numbers(again.sel(contig="chr10", position=8)) == [3, 5]
    with pytest.raises(LabelError, match="not sorted"):
        xr.concat([parts[0], parts[0]], "v")
    with pytest.raises(LabelError, match="not alike"):
        xr.concat([parts[0], indexed(parts[1].drop_indexes(NAMES), contig_id=["chr10"])], "v")


def test_groupby_puts_records_back(ds: xr.Dataset) -> None:
    ds = indexed(ds.load())  # xarray wants the groups' labels in memory
    result = ds.groupby("contig").map(lambda group: group.assign(n=group.n * 2))
    assert sorted(numbers(result)) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert numbers(indexed(result).sel(contig="chr2")) == [0, 2, 4]


def test_to_pandas_index(ds: xr.Dataset) -> None:
    found = indexed(ds).sel(contig="chr2")
    expected = pd.MultiIndex.from_arrays([["chr2"] * 3, [5, 5, 9], [6, 5, 9]], names=NAMES)
    pd.testing.assert_index_equal(found.indexes["position"], expected, exact=False)
    coords = xr.Coordinates.from_xindex(found.xindexes["position"])
    assert coords["end"].values.tolist() == [6, 5, 9]


def test_repr(ds: xr.Dataset) -> None:
    part = indexed(ds).isel(v=slice(2, None))
    assert repr(part.xindexes["contig"]).splitlines() == [
        "RegionIndex(6 intervals on 3 contigs)",
        "    chr2: 1",
        "    chr10: 4",
        "    X: 1",
    ]
    assert "RegionIndex(6 intervals on 3 contigs)" in repr(part)
    assert "chr10: 4" in part._repr_html_()
    many = indexed(genome([f"c{i}" for i in range(12)], [1] * 12)).xindexes["contig"]
    assert repr(many).splitlines()[-1] == "    ... and 2 more contigs"
    assert many._repr_inline_(20) == "RegionIndex"


def test_data_arrays_and_saving(ds: xr.Dataset) -> None:
    ds = indexed(ds)
    assert ds.n.sel(contig="chr10", position=slice(8, None)).values.tolist() == [3, 5, 6]
    store = zarrds.MemoryStore()
    zarrds.save(ds.sel(contig="chr10").load(), store)
    back = xr.open_dataset(store, engine="zarrds")
    assert numbers(back.sel(contig="chr10:8")) == [3, 5]
    xr.testing.assert_identical(back.load(), ds.sel(contig="chr10").load())

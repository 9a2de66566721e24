"""Records that are appended where a RegionIndex is noted go on in its order, or are refused."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import Format
from zarrds import MemoryStore, RegionIndex
from zarrds.errors import LabelError, ZarrdsError


def records(contigs: Any, positions: list[int], *, indexed: bool = True) -> xr.Dataset:
    ds = xr.Dataset(
        {"call": ("variants", np.arange(len(positions)))},
        {"contig": ("variants", np.array(contigs)), "position": ("variants", positions)},
    )
    return ds.set_xindex(["contig", "position"], RegionIndex) if indexed else ds


def opened(store: Any) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarrds")


NEW: dict[str, tuple[list[str], list[int], bool]] = {
    "the next contig": (["c2", "c3"], [3, 1], True),
    "the same position": (["c2"], [3], True),
    "another contig": (["a"], [1], True),
    "a position before": (["c2"], [2], False),
    "a contig once more": (["c1"], [9], False),
    "a contig once more, later": (["c2", "c3", "c1"], [3, 1, 1], False),
    "a contig twice": (["c3", "c4", "c3"], [1, 1, 1], False),
    "positions that fall": (["c3", "c3"], [2, 1], False),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("as_dask", [False, True])
@pytest.mark.parametrize("case", NEW)
def test_appends(case: str, as_dask: bool, zarr_format: Format) -> None:
    store = MemoryStore()
    contigs, positions, goes_on = NEW[case]
    zarrds.save(records(["c1", "c1", "c2"], [1, 5, 3]), store, zarr_format=zarr_format)
    new = records(contigs, positions, indexed=False)
    new = new.chunk() if as_dask else new
    if goes_on:
        zarrds.save(new, store, append_dim="variants")
        found = opened(store)
        assert type(found.xindexes["contig"]) is RegionIndex
        assert found.sel(contig="c1").sizes["variants"] == 2
        return
    with pytest.raises(LabelError, match="do not go on by contig and position") as caught:
        zarrds.save(new, store, append_dim="variants")
    assert caught.value.key == "position"
    assert opened(store).sizes["variants"] == 3
    with pytest.warns(UserWarning, match="RegionIndex of 'contig', 'position' is dropped") as warned:
        zarrds.save(new, store, append_dim="variants", on_unordered="append")
    assert [each.filename for each in warned] == [__file__]
    found = opened(store)
    assert found.contig.values.tolist() == ["c1", "c1", "c2", *contigs]
    assert not found.xindexes
    assert set(found.coords) == {"contig", "position"}
    assert zarrds.verify(store).ok


_RECORDS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), min_size=1, max_size=5)


def is_sorted(pairs: list[tuple[str, int]]) -> bool:
    contigs = [contig for contig, _ in pairs]
    runs = [c for i, c in enumerate(contigs) if not i or contigs[i - 1] != c]
    falls = any(a == b and p > q for (a, p), (b, q) in pairwise(pairs))
    return len(runs) == len(set(runs)) and not falls


@given(first=_RECORDS.filter(is_sorted), then=_RECORDS)
def test_any_records(first: list[tuple[str, int]], then: list[tuple[str, int]]) -> None:
    store = MemoryStore()
    zarrds.save(records(*map(list, zip(*first, strict=True))), store)  # type: ignore[arg-type]  # of two columns
    new = records(*map(list, zip(*then, strict=True)), indexed=False)  # type: ignore[arg-type]  # as well
    if is_sorted(first + then):
        zarrds.save(new, store, append_dim="variants")
        found = opened(store).sel(contig=then[-1][0])
        assert found.sizes["variants"] == sum(contig == then[-1][0] for contig, _ in first + then)
    else:
        with pytest.raises(ZarrdsError, match="do not go on"):
            zarrds.save(new, store, append_dim="variants")

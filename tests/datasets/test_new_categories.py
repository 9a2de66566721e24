"""Categories that are new extend those of the store, in the commit of the append."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import Format, files, load
from zarrds.errors import LabelError, ZarrdsError


def of(labels: Any, start: int = 0, **categorical: Any) -> xr.Dataset:
    values = pd.Categorical(labels, **categorical)
    return xr.Dataset({"kind": ("x", values)}, {"x": np.arange(start, start + len(values))})


def kinds(path: Any) -> list[Any]:
    found: list[Any] = load(path).kind.values.tolist()
    return found


@pytest.mark.parametrize("ordered", [False, True])
def test_a_variable_gets_new_categories(path: Path, zarr_format: Format, ordered: bool) -> None:
    zarrds.save(of(["rain", "snow"], categories=["rain", "snow"], ordered=ordered), path, zarr_format=zarr_format)
    codes = zarrds.open_array(path, path="kind")[:]
    new = of(["hail", "rain", None], 2, categories=["rain", "snow", "hail", "never"], ordered=ordered)
    zarrds.save(new, path, append_dim="x")
    back = load(path).kind
    assert back.to_index().dtype.ordered is ordered
    assert back.to_index().categories.tolist() == ["rain", "snow", "hail"]
    assert back.values.tolist()[:4] == ["rain", "snow", "hail", "rain"]
    assert pd.isnull(back.values[4])
    stored = zarrds.open_array(path, path="kind")
    assert stored[:2].tolist() == codes.tolist()
    assert stored.attrs["flag_meanings"] == "rain snow hail"
    assert stored.attrs["flag_values"] == [0, 1, 2]
    assert zarrds.verify(path).ok


def test_the_index_along_which_it_grows(path: Path, zarr_format: Format) -> None:
    def part(labels: list[str]) -> xr.Dataset:
        return xr.Dataset({"v": ("station", np.arange(len(labels)))}, {"station": pd.CategoricalIndex(labels)})

    zarrds.save(part(["b", "c"]), path, zarr_format=zarr_format)
    zarrds.save(part(["d", "a"]), path, append_dim="station")
    assert load(path).station.values.tolist() == ["b", "c", "d", "a"]
    with pytest.raises(LabelError, match="'c'"):
        zarrds.save(part(["e", "c"]), path, append_dim="station")
    zarrds.save(part(["c", "e"]), path, append_dim="station", on_overlap="skip")
    assert load(path).station.values.tolist() == ["b", "c", "d", "a", "e"]


@pytest.mark.parametrize("categories", [["low", "middle", "high"], ["low", "middle"]])
def test_ordered_categories_are_only_added_above(path: Path, categories: list[str]) -> None:
    zarrds.save(of(["low", "high"], categories=["low", "high"], ordered=True), path)
    before = files(path)
    with pytest.raises(LabelError, match="above") as caught:
        zarrds.save(of(["middle"], 2, categories=categories, ordered=True), path, append_dim="x")
    assert caught.value.key == "kind"
    assert files(path) == before


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ([1, 2], [5, 1]),
        ([0.5, 2.0], [-1.0]),
        (list(pd.date_range("2024", periods=2)), list(pd.date_range("2025", periods=2, freq="h"))),
        (list(pd.date_range("2024", periods=2, tz="UTC")), list(pd.date_range("2025", periods=2, tz="UTC"))),
        (list(pd.interval_range(0, 2)), list(pd.interval_range(7, 9))),
    ],
)
def test_categories_of_any_kind(path: Path, stored: list[Any], new: list[Any]) -> None:
    zarrds.save(of(stored), path)
    zarrds.save(of(new, 2), path, append_dim="x")
    assert kinds(path) == stored + new


def test_more_than_a_byte_can_number(path: Path, zarr_format: Format) -> None:
    labels = [f"s{i}" for i in range(300)]
    zarrds.save(of(labels[:100]), path, zarr_format=zarr_format)
    zarrds.save(of(labels[100:], 100), path, append_dim="x")
    assert kinds(path) == labels
    assert zarrds.open_array(path, path="kind").dtype == np.int16
    assert zarrds.verify(path).ok


def test_categories_of_another_kind_are_refused_by_name(path: Path) -> None:
    zarrds.save(of(["a", "b"]), path)
    before = files(path)
    with pytest.raises(ZarrdsError, match="kind"):
        zarrds.save(of([1, 2], 2), path, append_dim="x")
    assert files(path) == before


def test_a_region_adds_none(path: Path) -> None:
    zarrds.save(of(["a", "b"]), path)
    with pytest.raises(LabelError, match="append_dim"):
        zarrds.save(of(["c"]).drop_vars("x"), path, region={"x": slice(0, 1)})
    assert kinds(path) == ["a", "b"]


@given(st.lists(st.lists(st.sampled_from([*"abcde", None]), max_size=4), min_size=2, max_size=4))
def test_any_labels_go_on(parts: list[list[str | None]]) -> None:
    store, whole = zarrds.MemoryStore(), []
    for i, part in enumerate(parts):
        # of no text at all nobody knows that it is to be text
        new = of(part, len(whole), categories=sorted({p for p in part if p is not None} | {"a"}))
        zarrds.save(new, store, **({"append_dim": "x"} if i else {}))
        whole += part
    assert [None if pd.isnull(v) else v for v in kinds(store)] == whole

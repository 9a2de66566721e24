"""Warnings name the line of the user's that they are about, also where xarray or pandas stands between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.labels.sources import StaleSource
from zarrds.labels.sorted.lazy_index import lazy_index

OPENERS: dict[str, Callable[[str], Any]] = {
    "open_dataset": lambda path: xr.open_dataset(path, engine="zarrds"),
    "load_dataset": lambda path: xr.load_dataset(path, engine="zarrds"),
    "open_mfdataset": lambda path: xr.open_mfdataset([path], engine="zarrds"),
    "open_datatree": lambda path: xr.open_datatree(path, engine="zarrds"),
}


def check_names_this_file(path: Path, opener: str, words: str) -> None:
    with pytest.warns(UserWarning, match=words) as caught:
        OPENERS[opener](str(path))
    assert {each.filename for each in caught} == {__file__}


@pytest.mark.parametrize("opener", OPENERS)
def test_of_what_cannot_be_opened(path: Path, opener: str) -> None:
    zarrds.save(xr.Dataset({"v": ("x", [1, 2])}), path)
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace('"int64"', '"int63"'))
    check_names_this_file(path, opener, "cannot be opened and are left out")


@pytest.mark.parametrize("opener", OPENERS)
def test_of_variables_that_cannot_be_decoded(path: Path, opener: str) -> None:
    zarrds.save(xr.Dataset({"v": ("x", [1, 2], {"units": "fortnights since 2000-01-01"})}), path)
    check_names_this_file(path, opener, "cannot be decoded")


def test_of_labels_without_order(path: Path) -> None:
    labels = np.random.default_rng(0).permutation(100_000)
    zarrds.save(xr.Dataset({"v": ("x", labels)}, {"x": labels}), path)
    with pytest.warns(UserWarning, match="read into memory") as caught:
        xr.open_dataset(path, engine="zarrds", index="lazy")
    assert [each.filename for each in caught] == [__file__]


def test_of_labels_that_change_while_pandas_looks_for_one() -> None:
    index = lazy_index(StaleSource(np.arange(100_000)), "x")
    with pytest.warns(UserWarning, match="all labels are read instead") as caught:
        pd.Series(0, index).loc[5]
    assert [each.filename for each in caught] == [__file__]

"""Stores of one column, what is added to it, and what is read back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import zarrds
from zarrds import MemoryStore

__all__ = ["NAN", "column", "files_of", "listed", "opened", "save"]

NAN = float("nan")


def column(values: Any, start: int = 0) -> xr.Dataset:
    return xr.Dataset({"c": ("x", values)}, {"x": np.arange(len(values)) + start})


def opened(store: Any) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarrds").load()


def save(values: Any, store: MemoryStore, start: int) -> None:
    """Save a column, or append it."""
    if start:
        zarrds.save(column(values, start), store, append_dim="x")
    else:
        zarrds.save(column(values), store)


def listed(values: Any) -> list[Any]:
    if not isinstance(values, np.ndarray):
        values = values.astype(object)
    return [None if pd.isna(value) else value for value in list(values)]


def files_of(store: MemoryStore) -> dict[str, bytes]:
    return {key: bytes(store.get(key) or b"") for key in store.list_prefix()}

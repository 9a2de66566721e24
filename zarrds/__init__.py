"""Labelled scientific datasets on disk: plain Zarr, read lazily through xarray."""

from __future__ import annotations

from zarrds import errors
from zarrds.arrays.array import Array
from zarrds.arrays.group import Group, create_array, create_group, open_array, open_group
from zarrds.datasets.writer import save
from zarrds.stores import LocalStore, MemoryStore, Store

__all__ = [
    "Array",
    "Group",
    "LocalStore",
    "MemoryStore",
    "Store",
    "__version__",
    "create_array",
    "create_group",
    "errors",
    "open_array",
    "open_group",
    "save",
]

__version__ = "0.1.0"

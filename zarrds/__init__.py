"""Labelled scientific datasets on disk: plain Zarr, read lazily through xarray."""

from __future__ import annotations

from zarrds import errors
from zarrds.arrays.array import Array
from zarrds.arrays.create import create_array
from zarrds.arrays.group import Group
from zarrds.arrays.opening import create_group, open_array, open_group
from zarrds.arrays.report import Finding, Report
from zarrds.datasets.edits import drop_vars, rename, update_attrs
from zarrds.datasets.index import index
from zarrds.datasets.verify import verify
from zarrds.datasets.writer import save
from zarrds.labels.regions import RegionIndex
from zarrds.stores import LocalStore, MemoryStore, RemoteStore, Store

__all__ = [
    "Array",
    "Finding",
    "Group",
    "LocalStore",
    "MemoryStore",
    "RegionIndex",
    "RemoteStore",
    "Report",
    "Store",
    "__version__",
    "create_array",
    "create_group",
    "drop_vars",
    "errors",
    "index",
    "open_array",
    "open_group",
    "rename",
    "save",
    "update_attrs",
    "verify",
]

__version__ = "0.1.0"

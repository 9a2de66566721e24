"""Labelled scientific datasets on disk: plain Zarr, read lazily through xarray."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zarrds import errors

if TYPE_CHECKING:
    from zarrds.arrays.array import Array
    from zarrds.arrays.create import create_array
    from zarrds.arrays.group import Group
    from zarrds.arrays.opening import create_group, open_array, open_group
    from zarrds.checks.report import Finding, Report
    from zarrds.checks.verify import verify
    from zarrds.datasets.comparing.diff import diff
    from zarrds.datasets.comparing.model import Diff, Difference
    from zarrds.datasets.converting.convert import Conversion, convert
    from zarrds.datasets.converting.export import export
    from zarrds.datasets.description.info import info
    from zarrds.datasets.description.model import Info
    from zarrds.datasets.description.versions import Versions
    from zarrds.datasets.editing.attributes import update_attrs
    from zarrds.datasets.editing.index import index
    from zarrds.datasets.editing.names import drop_vars, rename
    from zarrds.datasets.querying.aggregate import aggregate
    from zarrds.datasets.querying.find import find
    from zarrds.datasets.querying.prepared_query import Explanation
    from zarrds.datasets.querying.statistics import statistics
    from zarrds.datasets.rechunking.rechunk import copy, rechunk, rechunk_plan
    from zarrds.datasets.writing.writer import save
    from zarrds.labels.genomics.regions import RegionIndex
    from zarrds.reports.page import report
    from zarrds.storage.fsspec.store import RemoteStore
    from zarrds.storage.local.store import LocalStore
    from zarrds.storage.memory import MemoryStore
    from zarrds.storage.protocol import Store

__all__ = [
    "Array",
    "Conversion",
    "Diff",
    "Difference",
    "Explanation",
    "Finding",
    "Group",
    "Info",
    "LocalStore",
    "MemoryStore",
    "RegionIndex",
    "RemoteStore",
    "Report",
    "Store",
    "Versions",
    "__version__",
    "aggregate",
    "convert",
    "copy",
    "create_array",
    "create_group",
    "diff",
    "drop_vars",
    "errors",
    "export",
    "find",
    "index",
    "info",
    "open_array",
    "open_group",
    "rechunk",
    "rechunk_plan",
    "rename",
    "report",
    "save",
    "statistics",
    "update_attrs",
    "verify",
]

__version__ = "0.1.0"

# Where the public names are made. Each module is imported when its name is first used: who reads a dataset waits for no
# writer.
_HOMES = {
    "Array": "arrays.array",
    "Conversion": "datasets.converting.convert",
    "Diff": "datasets.comparing.model",
    "Difference": "datasets.comparing.model",
    "Explanation": "datasets.querying.prepared_query",
    "Finding": "checks.report",
    "Group": "arrays.group",
    "Info": "datasets.description.model",
    "LocalStore": "storage.local.store",
    "MemoryStore": "storage.memory",
    "RegionIndex": "labels.genomics.regions",
    "RemoteStore": "storage.fsspec.store",
    "Report": "checks.report",
    "Store": "storage.protocol",
    "Versions": "datasets.description.versions",
    "aggregate": "datasets.querying.aggregate",
    "convert": "datasets.converting.convert",
    "copy": "datasets.rechunking.rechunk",
    "create_array": "arrays.create",
    "create_group": "arrays.opening",
    "diff": "datasets.comparing.diff",
    "drop_vars": "datasets.editing.names",
    "export": "datasets.converting.export",
    "find": "datasets.querying.find",
    "index": "datasets.editing.index",
    "info": "datasets.description.info",
    "open_array": "arrays.opening",
    "open_group": "arrays.opening",
    "rechunk": "datasets.rechunking.rechunk",
    "rechunk_plan": "datasets.rechunking.rechunk",
    "rename": "datasets.editing.names",
    "report": "reports.page",
    "save": "datasets.writing.writer",
    "statistics": "datasets.querying.statistics",
    "update_attrs": "datasets.editing.attributes",
    "verify": "checks.verify",
}

if not TYPE_CHECKING:  # type checkers would take it for a module that has every name

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({name for name in globals() if name.startswith("__")} | set(__all__))


from zarrds.accessor import register as _register  # noqa: E402  # it uses the names above

_register()

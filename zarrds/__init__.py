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
    from zarrds.arrays.report import Finding, Report
    from zarrds.datasets.edits import drop_vars, rename, update_attrs
    from zarrds.datasets.index import index
    from zarrds.datasets.verify import verify
    from zarrds.datasets.writer import save
    from zarrds.labels.regions import RegionIndex
    from zarrds.stores.base import Store
    from zarrds.stores.local import LocalStore
    from zarrds.stores.memory import MemoryStore
    from zarrds.stores.remote import RemoteStore

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

# Where the public names are made. Each module is imported when its name is first used: who reads a dataset waits for no
# writer.
_HOMES = {
    "Array": "arrays.array",
    "Finding": "arrays.report",
    "Group": "arrays.group",
    "LocalStore": "stores.local",
    "MemoryStore": "stores.memory",
    "RegionIndex": "labels.regions",
    "RemoteStore": "stores.remote",
    "Report": "arrays.report",
    "Store": "stores.base",
    "create_array": "arrays.create",
    "create_group": "arrays.opening",
    "drop_vars": "datasets.edits",
    "index": "datasets.index",
    "open_array": "arrays.opening",
    "open_group": "arrays.opening",
    "rename": "datasets.edits",
    "save": "datasets.writer",
    "update_attrs": "datasets.edits",
    "verify": "datasets.verify",
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

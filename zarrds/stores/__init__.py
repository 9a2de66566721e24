"""Bytes under keys: the protocol, a directory, memory, changes to either."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarrds.stores.base import Store
    from zarrds.stores.local import LocalStore
    from zarrds.stores.memory import MemoryStore
    from zarrds.stores.overlay import Overlay
    from zarrds.stores.remote import RemoteStore
    from zarrds.stores.resolve import as_store

__all__ = ["LocalStore", "MemoryStore", "Overlay", "RemoteStore", "Store", "as_store"]

# as in `zarrds` itself: a store is imported when it is first used
_HOMES = {
    "LocalStore": "local",
    "MemoryStore": "memory",
    "Overlay": "overlay",
    "RemoteStore": "remote",
    "Store": "base",
    "as_store": "resolve",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({name for name in globals() if name.startswith("__")} | set(__all__))

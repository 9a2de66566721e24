"""The public names of `zarrds.storage`: bytes under keys."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarrds.storage.commits.committer import Committer, committer_of
    from zarrds.storage.commits.overlay import Overlay
    from zarrds.storage.fsspec.store import RemoteStore
    from zarrds.storage.local.store import LocalStore
    from zarrds.storage.locate import as_store
    from zarrds.storage.memory import MemoryStore
    from zarrds.storage.protocol import Store, Traits

__all__ = [
    "Committer",
    "LocalStore",
    "MemoryStore",
    "Overlay",
    "RemoteStore",
    "Store",
    "Traits",
    "as_store",
    "committer_of",
]

# as in `zarrds` itself: a store is imported when it is first used
_HOMES = {
    "Committer": "zarrds.storage.commits.committer",
    "LocalStore": "zarrds.storage.local.store",
    "MemoryStore": "zarrds.storage.memory",
    "Overlay": "zarrds.storage.commits.overlay",
    "RemoteStore": "zarrds.storage.fsspec.store",
    "Store": "zarrds.storage.protocol",
    "Traits": "zarrds.storage.protocol",
    "as_store": "zarrds.storage.locate",
    "committer_of": "zarrds.storage.commits.committer",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({name for name in globals() if name.startswith("__")} | set(__all__))

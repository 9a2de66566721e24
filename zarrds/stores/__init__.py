"""Bytes under keys: the protocol, a directory, memory."""

from zarrds.stores.base import Store
from zarrds.stores.local import LocalStore
from zarrds.stores.memory import MemoryStore
from zarrds.stores.resolve import as_store

__all__ = ["LocalStore", "MemoryStore", "Store", "as_store"]

"""Bytes under keys: the protocol, a directory, memory, changes to either."""

from zarrds.stores.base import Store
from zarrds.stores.local import LocalStore
from zarrds.stores.memory import MemoryStore
from zarrds.stores.overlay import Overlay
from zarrds.stores.remote import RemoteStore
from zarrds.stores.resolve import as_store

__all__ = ["LocalStore", "MemoryStore", "Overlay", "RemoteStore", "Store", "as_store"]

"""Documents of the two formats, which meet nowhere else, and the module of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from zarrds.errors import UnsupportedError
from zarrds.metadata.fields import JSON, Raw
from zarrds.metadata.formats import v2, v3
from zarrds.metadata.model import Node, ZarrFormat
from zarrds.storage.protocol import Store

__all__ = ["Format", "module_of", "v2", "v3"]


class Format(Protocol):
    """What each of the modules `v2` and `v3` is, by which documents become nodes and nodes documents."""

    def keys_of(self, path: str) -> list[str]:
        """The keys that `load_raw` may read."""
        ...

    def load_raw(self, store: Store, path: str) -> Raw | None: ...

    def load_consolidated(self, store: Store, root: Raw | None = None) -> dict[str, Raw] | None: ...

    def copies_in(self, root: Raw) -> dict[str, Raw]: ...

    def is_copy(self, store: Store, path: str, copy: Raw) -> bool: ...

    def parse(self, raw: Raw) -> Node: ...

    def named_dimensions(self, raw: Raw) -> JSON: ...

    def to_raw(self, node: Node) -> Raw: ...

    def documents(self, path: str, raw: Raw) -> dict[str, bytes]: ...

    def consolidated_documents(self, raws: Mapping[str, Raw]) -> dict[str, bytes]: ...


_FORMATS: dict[ZarrFormat, Format] = {3: v3, 2: v2}


def module_of(zarr_format: ZarrFormat) -> Format:
    """The module of a format."""
    asked: object = zarr_format  # whatever its type says
    if not isinstance(asked, int) or asked not in _FORMATS:
        raise UnsupportedError("unknown zarr_format", expected="2 or 3", found=repr(zarr_format))
    return _FORMATS[zarr_format]

"""Documents of the two formats, which meet nowhere else, and the module of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from zarrds.errors import UnsupportedError
from zarrds.metadata.fields import JSON, Raw
from zarrds.metadata.formats import v2, v3
from zarrds.metadata.model import ChunkKeyEncoding, Formatted, Node, ZarrFormat
from zarrds.storage.protocol import Store

__all__ = ["Format", "module_of", "spec_of", "v2", "v3"]


class Format(Protocol):
    """What each of the modules `v2` and `v3` is: documents <-> nodes, and what arrays can be in that format.

    Attributes
    ----------
    zarr_format : {2, 3}
    KEY_ENCODING, FLAT_KEYS : ChunkKeyEncoding
        Of arrays for which none was asked; of such as have few chunks, without a folder for these.
    HAS_SHARDS : bool
    IS_ORDER_IN_DTYPE : bool
        Whether the dtype says the byte order, and not the codec ``bytes``.
    IS_FILL_MISSING : bool
        Whether the fill value is what stands for missing elements, so that there may be none; else it is only what
        was never written.
    HAS_CODECS_OF_NUMCODECS : bool
        Whether codecs are called and set as in numcodecs, which has no ``crc32c`` at the end of a pipeline.
    RESERVED : frozenset of str
        Names of attributes that the format takes for itself.
    """

    zarr_format: ZarrFormat
    KEY_ENCODING: ChunkKeyEncoding
    FLAT_KEYS: ChunkKeyEncoding
    HAS_SHARDS: bool
    IS_ORDER_IN_DTYPE: bool
    IS_FILL_MISSING: bool
    HAS_CODECS_OF_NUMCODECS: bool
    RESERVED: frozenset[str]

    def keys_of(self, path: str) -> list[str]:
        """The keys that `load_raw` may read."""
        ...

    def load_raw(self, store: Store, path: str) -> Raw | None: ...

    def load_consolidated(
        self, store: Store, root: Raw | None = None, *, is_sure: bool = False
    ) -> dict[str, Raw] | None:
        """All documents by path, with what is noted of arrays; `is_sure`: also where few are likely to have notes."""
        ...

    def copies_in(self, root: Raw) -> dict[str, Raw]: ...

    def is_copy(self, store: Store, path: str, copy: Raw) -> bool: ...

    def parse(self, raw: Raw) -> Node: ...

    def document_key(self, path: str) -> str:
        """The key of the document that makes an array exist."""
        ...

    def root_key(self, *, consolidated: bool) -> str:
        """The key whose value says which nodes a store has."""
        ...

    def document_names(self, node: Node | None) -> frozenset[str]:
        """The names of the documents that a node may have, below its path."""
        ...

    def named_dimensions(self, raw: Raw) -> JSON: ...

    def to_raw(self, node: Node) -> Raw: ...

    def documents(self, path: str, raw: Raw, before: Raw | None = None) -> dict[str, bytes]: ...

    def noted_to_tell(self, raws: Mapping[str, Raw]) -> dict[str, Raw]: ...

    def consolidated_documents(self, raws: Mapping[str, Raw]) -> dict[str, bytes]: ...


_FORMATS: dict[ZarrFormat, Format] = {3: v3, 2: v2}


def module_of(zarr_format: ZarrFormat) -> Format:
    """The module of a format."""
    asked: object = zarr_format  # whatever its type says
    if not isinstance(asked, int) or asked not in _FORMATS:
        raise UnsupportedError("unknown zarr_format", expected="2 or 3", found=repr(zarr_format))
    return _FORMATS[zarr_format]


def spec_of(like: Formatted) -> Format:
    """The module of the format that something is of."""
    return _FORMATS[like.zarr_format]

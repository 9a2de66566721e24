"""What a store's metadata says, in one frozen model shaped like Zarr v3.

v2 documents are translated into it when they are read (`zarrds.metadata.formats.v2`); what depends on
the format is asked of the modules there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, NotRequired, Protocol, TypeAlias, TypedDict

from zarrds.errors import MetadataError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.equality import is_same
from zarrds.metadata.fields import JSON, JSONObject, Raw, member, named_object, sizes
from zarrds.metadata.rectilinear import Edges, n_chunks

__all__ = [
    "SHARDING",
    "ArrayMetadata",
    "ChunkKeyEncoding",
    "CodecObject",
    "Formatted",
    "GroupMetadata",
    "Inner",
    "Node",
    "Sharded",
    "ZarrFormat",
    "codec_object",
    "codec_objects",
    "raw_codec",
    "written_codec",
]

ZarrFormat: TypeAlias = Literal[2, 3]


class Formatted(Protocol):
    """What is of one format: a node, the nodes of a store, a module of `zarrds.metadata.formats`."""

    @property
    def zarr_format(self) -> ZarrFormat: ...


SHARDING = "sharding_indexed"


class CodecObject(TypedDict):
    """A codec as a v3 document has it, of whose settings only `zarrds.codecs` knows more."""

    name: str
    configuration: NotRequired[JSONObject]


def codec_object(value: JSON) -> CodecObject:
    """The codec that a document names. Raises `MetadataError`."""
    name, configuration = named_object(value, "a codec")
    return {"name": name, "configuration": configuration} if configuration else {"name": name}


def codec_objects(values: Iterable[JSON]) -> tuple[CodecObject, ...]:
    """The codecs that a document lists. Raises `MetadataError`."""
    return tuple([codec_object(value) for value in values])


@dataclass(frozen=True, slots=True)
class Sharded:
    """The settings of the codec ``sharding_indexed``.

    Attributes
    ----------
    chunks : tuple of int
        The shape of an inner chunk, in elements.
    codecs, index_codecs : tuple of codec objects
    index_location : str
        ``"start"`` or ``"end"``.
    """

    chunks: tuple[int, ...]
    codecs: tuple[CodecObject, ...]
    index_codecs: tuple[CodecObject, ...]
    index_location: str = "end"

    @classmethod
    def of(cls, codec: CodecObject, ndim: int | None = None) -> Sharded:
        """Those of a codec, for chunks of so many dimensions if that is known. Raises `MetadataError`."""
        settings = codec.get("configuration", {})
        chunks, location = sizes(settings, "chunk_shape"), member(settings, "index_location", str, "end")
        if ndim not in (None, len(chunks)) or not all(chunks):
            raise MetadataError("invalid chunk_shape", codec=SHARDING, found=chunks)
        if location not in ("start", "end"):
            raise MetadataError("invalid index_location", codec=SHARDING, found=location)
        inner, index = (codec_objects(member(settings, name, list)) for name in ("codecs", "index_codecs"))
        return cls(chunks, inner, index, location)

    def codec(self) -> CodecObject:
        """The codec with these settings."""
        settings: JSONObject = {
            "chunk_shape": list(self.chunks),
            "codecs": [written_codec(codec) for codec in self.codecs],
            "index_codecs": [written_codec(codec) for codec in self.index_codecs],
            "index_location": self.index_location,
        }
        return {"name": SHARDING, "configuration": settings}


class Inner(NamedTuple):
    """What can be read of an array by itself: its chunks, or those inside of its shards.

    Attributes
    ----------
    chunks : tuple of int
        The shape of one, in elements.
    codecs : tuple of codec objects
    shards : tuple of int or None
        The shape of a shard, if there are some.
    """

    chunks: tuple[int, ...]
    codecs: tuple[CodecObject, ...]
    shards: tuple[int, ...] | None


def raw_codec(codec: CodecObject) -> Raw:
    """A codec as the JSON that it is."""
    named: Raw = {"name": codec["name"]}
    return named | {"configuration": codec["configuration"]} if "configuration" in codec else named


def written_codec(codec: CodecObject) -> Raw:
    """A codec as documents are to have it, also inside of shards."""
    name, settings = codec["name"], codec.get("configuration", {})
    if name == SHARDING:
        inner = {
            key: [written_codec(each) for each in codec_objects(value)]
            for key in ("codecs", "index_codecs")
            if isinstance(value := settings.get(key), list | tuple)
        }
        settings = {**settings, **inner}
    # zarr-python opens no array with a codec of numcodecs that has no configuration
    is_said = "configuration" in codec or name.startswith("numcodecs.")
    return {"name": name, "configuration": settings} if is_said else {"name": name}


@dataclass(frozen=True, slots=True)
class ChunkKeyEncoding:
    """How a chunk's position in the grid becomes a key below its array (v3 core, "Chunk key encoding").

    Attributes
    ----------
    name : {"default", "v2"}
    separator : {"/", "."}
    """

    name: Literal["default", "v2"] = "default"
    separator: Literal["/", "."] = "/"

    @property
    def prefix(self) -> str:
        """What stands before the first number, given that the array has dimensions."""
        return f"c{self.separator}" if self.name == "default" else ""

    def key(self, position: Iterable[int]) -> str:
        """The key of the chunk at `position` (chunks, one number a dimension), below its array.

        Examples
        --------
        >>> ChunkKeyEncoding("default", "/").key((1, 0)), ChunkKeyEncoding("v2", ".").key(())
        ('c/1/0', '0')
        """
        parts = [str(p) for p in position]
        if not parts:
            return "c" if self.name == "default" else "0"
        return self.prefix + self.separator.join(parts)


class _Comparable:
    """Equality by `is_same`: that of dataclasses takes two nodes with NaN in them for different."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        names = [f.name for f in fields(self)]  # type: ignore[arg-type]  # of the dataclasses below
        return all(is_same(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]  # attributes are mappings


@dataclass(frozen=True, slots=True, eq=False)
class ArrayMetadata(_Comparable):
    """One array; two are equal if their documents would say the same.

    Attributes
    ----------
    shape, chunks : tuple of int
        In elements; one number a dimension. Where the chunks differ, the longest along each.
    data_type : DataType
    codecs : tuple of codec objects
        As in a v3 document: array → array, then one array → bytes, then bytes → bytes.
    fill_value : scalar or None
        What an absent chunk holds; None (v2 null) says that it does not matter.
    chunk_key_encoding : ChunkKeyEncoding
    dimension_names : tuple of (str or None), or None
    attributes : mapping
        The user's, without what the format itself puts there.
    extensions : mapping
        Members of the document that need not be understood; they survive a rewrite.
    zarr_format : {2, 3}
        Only for `zarrds.metadata`, which must write it back the same.
    edges : tuple of (int or runs of (length, how many)), or None
        Along each dimension, of a grid whose chunks differ in length; None for a regular one. They may go on behind
        the array.
    """

    shape: tuple[int, ...]
    data_type: DataType
    chunks: tuple[int, ...]
    codecs: tuple[CodecObject, ...]
    fill_value: Any
    chunk_key_encoding: ChunkKeyEncoding = ChunkKeyEncoding()
    dimension_names: tuple[str | None, ...] | None = None
    attributes: JSONObject = field(default_factory=dict)
    extensions: JSONObject = field(default_factory=dict)
    zarr_format: ZarrFormat = 3
    edges: tuple[Edges, ...] | None = None

    def sharded(self) -> Sharded | None:
        """How its chunks are shards, None if they are none. Raises `MetadataError` for settings that are malformed."""
        is_sharded = len(self.codecs) == 1 and self.codecs[0]["name"] == SHARDING
        return Sharded.of(self.codecs[0], len(self.shape)) if is_sharded else None

    def inner(self) -> Inner:
        """What can be read by itself. Raises as `sharded`."""
        sharded = self.sharded()
        if sharded is None:
            return Inner(self.chunks, self.codecs, None)
        return Inner(sharded.chunks, sharded.codecs, self.chunks)

    @property
    def chunk_grid(self) -> tuple[int, ...]:
        """How many chunks there are along each dimension."""
        return self.grid_of(self.shape)

    def grid_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """How many chunks along each dimension hold the elements of that shape, which begins where the array does."""
        if self.edges is None:
            return tuple(-(-size // chunk) for size, chunk in zip(shape, self.chunks, strict=True))
        return tuple(n_chunks(edges, size) for edges, size in zip(self.edges, shape, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class GroupMetadata(_Comparable):
    """One group; the attributes are as in `ArrayMetadata`."""

    attributes: JSONObject = field(default_factory=dict)
    extensions: JSONObject = field(default_factory=dict)
    zarr_format: ZarrFormat = 3


Node: TypeAlias = ArrayMetadata | GroupMetadata

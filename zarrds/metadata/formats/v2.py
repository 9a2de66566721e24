"""Zarr v2 documents (``.zarray``, ``.zgroup``, ``.zattrs``, ``.zmetadata``) <-> the model.

Sources: Zarr v2 specification; xarray's "Zarr encoding specification" for ``_ARRAY_DIMENSIONS``; NCZarr for
``_NCZARR_ARRAY`` and ``_nczarr_array``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from zarrds.errors import MetadataError, UnsupportedError
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.equality import is_same
from zarrds.metadata.fetched import is_page
from zarrds.metadata.fields import (
    JSON,
    JSONObject,
    Raw,
    chunk_sizes,
    depth_and_parent,
    dump,
    load,
    member,
    names_of,
    sizes,
)
from zarrds.metadata.fill_values import decode_fill_value, encode_fill_value
from zarrds.metadata.formats import v2_codecs
from zarrds.metadata.model import ArrayMetadata, ChunkKeyEncoding, GroupMetadata, Node, ZarrFormat
from zarrds.storage.protocol import Store

__all__ = [
    "FLAT_KEYS",
    "HAS_CODECS_OF_NUMCODECS",
    "HAS_SHARDS",
    "IS_FILL_MISSING",
    "IS_ORDER_IN_DTYPE",
    "KEY_ENCODING",
    "RESERVED",
    "consolidated_documents",
    "copies_in",
    "document_key",
    "document_names",
    "documents",
    "is_copy",
    "keys_of",
    "load_consolidated",
    "load_raw",
    "named_dimensions",
    "noted_to_tell",
    "parse",
    "root_key",
    "to_raw",
    "zarr_format",
]

ARRAY, GROUP, ATTRIBUTES, CONSOLIDATED = ".zarray", ".zgroup", ".zattrs", ".zmetadata"
DIMENSIONS = "_ARRAY_DIMENSIONS"
zarr_format: ZarrFormat = 2
KEY_ENCODING = FLAT_KEYS = ChunkKeyEncoding("v2", ".")
HAS_SHARDS = False
IS_ORDER_IN_DTYPE = True
IS_FILL_MISSING = True
HAS_CODECS_OF_NUMCODECS = True
RESERVED = frozenset({DIMENSIONS})
MEMBER = "zarrds"  # of .zmetadata: what zarrds notes of groups, by path; that of an array is a member of its .zarray
_NCZARR = ("_NCZARR_ARRAY", "_nczarr_array")
# what numbers are, by NumPy's kind, that stand in quotes as fill values: zarr-python takes them
_QUOTED: dict[str, Callable[[str], int | float]] = {"i": int, "u": int, "f": float}
_ARRAY_MEMBERS = {
    "zarr_format",
    "shape",
    "chunks",
    "dtype",
    "fill_value",
    "order",
    "filters",
    "compressor",
    "dimension_separator",
}


def _key(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def keys_of(path: str) -> list[str]:
    """The keys that `load_raw` may read."""
    return [_key(path, name) for name in (ARRAY, GROUP, ATTRIBUTES)]


def document_key(path: str) -> str:
    """The key of the document that makes an array exist."""
    return _key(path, ARRAY)


def root_key(*, consolidated: bool) -> str:
    """The key whose value says which nodes a store has."""
    return CONSOLIDATED if consolidated else GROUP


def document_names(node: Node | None) -> frozenset[str]:
    """The names of the documents that a node may have, below its path."""
    if isinstance(node, ArrayMetadata):
        return frozenset({ARRAY, ATTRIBUTES})
    # a group that is a store to others may have consolidated metadata of its own
    return frozenset({GROUP, ATTRIBUTES, CONSOLIDATED})


def load_raw(store: Store, path: str) -> Raw | None:
    """The documents of the node at `path`, or None."""
    for name in (ARRAY, GROUP):
        try:
            document = load(store, _key(path, name))
        except MetadataError:
            if name == GROUP or not _is_group(store, path):
                raise
            continue
        if document is not None:
            attributes = load(store, _key(path, ATTRIBUTES))
            raw: Raw = {name: document}
            return raw if attributes is None else raw | {ATTRIBUTES: attributes}
    return None


def _is_group(store: Store, path: str) -> bool:
    """Whether it has the document of a group, and only a page for that of an array, as some web servers send one."""
    group = _key(path, GROUP)
    return is_page(store, _key(path, ARRAY)) and store.identity(group) is not None and not is_page(store, group)


def copies_in(root: Raw) -> dict[str, Raw]:
    """What the root's own documents have of all others: nothing, in this format."""
    return {}


def is_copy(store: Store, path: str, copy: Raw) -> bool:
    """Whether such a copy says what the own document of an array says."""
    return False


def load_consolidated(store: Store, root: Raw | None = None, *, is_sure: bool = False) -> dict[str, Raw] | None:
    """All documents by path, from ``.zmetadata``; None without it. The root's own do not say it."""
    document = load(store, CONSOLIDATED)
    if document is None:
        return None
    if document.get("zarr_consolidated_format") != 1:
        raise UnsupportedError(
            "unknown zarr_consolidated_format",
            key=CONSOLIDATED,
            expected=1,
            found=document.get("zarr_consolidated_format"),
            mend="Open with consolidated=False",
        )
    raws: dict[str, Raw] = {}
    for key, value in member(document, "metadata", dict).items():
        path, _, name = key.rpartition("/")
        raws.setdefault(path, {})[name] = value
    notes = document.get(MEMBER)
    for path, note in notes.items() if isinstance(notes, dict) else ():
        if GROUP in raws.get(path, {}) and isinstance(note, dict):
            raws[path][MEMBER] = note
    return {path: raw for path, raw in raws.items() if ARRAY in raw or GROUP in raw}


def parse(raw: Raw) -> Node:
    """The model of a node's documents; the errors are those of `zarrds.metadata.formats.v3.parse`."""
    attributes = dict(member(raw, ATTRIBUTES, dict, {}))
    document = member(raw, ARRAY if ARRAY in raw else GROUP, dict)
    if member(document, "zarr_format", int) != 2:
        raise UnsupportedError("unknown zarr_format in a v2 document", expected=2, found=document["zarr_format"])
    if ARRAY not in raw:
        # zarr-python puts an empty v3 member into the groups of its .zmetadata
        extensions = {k: v for k, v in document.items() if k not in ("zarr_format", "consolidated_metadata")}
        noted = {MEMBER: raw[MEMBER]} if MEMBER in raw else {}
        return GroupMetadata(attributes, extensions | noted, zarr_format=2)
    shape = sizes(document, "shape")
    typestr = member(document, "dtype", (str, list))
    filters = document.get("filters")
    data_type = v2_codecs.object_data_type(filters) if typestr == "|O" else DataType.from_v2(typestr)
    separator = member(document, "dimension_separator", str, ".")
    if separator not in ("/", "."):
        raise MetadataError("unknown dimension_separator", expected="'/' or '.'", found=repr(separator))
    extensions = {name: document[name] for name in document.keys() - _ARRAY_MEMBERS}
    return ArrayMetadata(
        shape=shape,
        data_type=data_type,
        chunks=chunk_sizes(document, "chunks", shape),
        codecs=v2_codecs.from_v2(document, len(shape)),
        fill_value=decode_fill_value(_plain_fill_value(member(document, "fill_value"), data_type), data_type),
        chunk_key_encoding=ChunkKeyEncoding("v2", "/" if separator == "/" else "."),
        dimension_names=_dimension_names(attributes, extensions, len(shape)),
        attributes=attributes,
        extensions=extensions,
        zarr_format=2,
    )


def _plain_fill_value(value: JSON, data_type: DataType) -> JSON:
    """A fill value as the specification has it, of those that older writers have put otherwise.

    0 for text and bytes is what zarr-python 2 wrote where none was given: that is none, or empty texts were missing.
    """
    kind = data_type.dtype.kind
    if isinstance(value, str) and kind in _QUOTED:
        with suppress(ValueError):
            return _QUOTED[kind](value)
    is_text = kind in "SU" or data_type.name in ("string", "variable_length_bytes")
    return None if is_text and type(value) in (int, float) and value == 0 else value


def _dimension_names(attributes: Raw, extensions: JSONObject, ndim: int) -> tuple[str | None, ...] | None:
    """xarray's attribute, which is taken out of `attributes`, or NCZarr's references."""
    if DIMENSIONS in attributes:
        said = attributes.pop(DIMENSIONS)
        names = names_of(said, ndim)
        if names is None:
            raise MetadataError(f"{DIMENSIONS} do not fit the shape", expected=f"{ndim} names", found=f"{said!r:.100}")
        return names
    # a member of .zarray until netCDF-C 4.9, an attribute since, and both names changed on the way
    for nczarr in (place.get(name) for place in (extensions, attributes) for name in _NCZARR):
        references = nczarr.get("dimrefs", nczarr.get("dimension_references")) if isinstance(nczarr, dict) else None
        if (paths := names_of(references, ndim)) is not None and None not in paths:
            return tuple([path and path.rpartition("/")[2] for path in paths])
    return None


def to_raw(node: Node) -> Raw:
    """The documents of a node."""
    if isinstance(node, GroupMetadata):
        # zarr-python refuses a group with a member that it does not know
        others = {name: value for name, value in node.extensions.items() if name != MEMBER}
        noted = {MEMBER: node.extensions[MEMBER]} if MEMBER in node.extensions else {}
        return {GROUP: {"zarr_format": 2, **others}, ATTRIBUTES: dict(node.attributes), **noted}
    data_type = _stored_data_type(node)
    document = {
        "zarr_format": 2,
        "shape": list(node.shape),
        "chunks": list(node.chunks),
        "dtype": data_type.to_v2(),
        "fill_value": encode_fill_value(node.fill_value, data_type, zarr_format=2),
        "dimension_separator": node.chunk_key_encoding.separator,
        **v2_codecs.to_v2(node.codecs, len(node.shape))._asdict(),
        **node.extensions,
    }
    if node.chunk_key_encoding.name != "v2":
        raise UnsupportedError("Zarr v2 has only the chunk key encoding 'v2'", found=node.chunk_key_encoding.name)
    attributes = dict(node.attributes)
    if node.dimension_names is not None:
        attributes[DIMENSIONS] = list(node.dimension_names)
    return {ARRAY: document, ATTRIBUTES: attributes}


def named_dimensions(raw: Raw) -> JSON:
    """What stands where an array's document names its dimensions, whatever else is wrong with it."""
    attributes = raw.get(ATTRIBUTES)
    return attributes.get(DIMENSIONS) if isinstance(attributes, dict) else None


def _stored_data_type(node: ArrayMetadata) -> DataType:
    """v2 says the byte order in the dtype, v3 in the ``bytes`` codec."""
    for codec in node.codecs:
        endian = codec.get("configuration", {}).get("endian") if codec["name"] == "bytes" else None
        if endian is not None and not node.data_type.is_variable_length:
            dtype: np.dtype[Any] = node.data_type.dtype.newbyteorder("<" if endian == "little" else ">")
            return DataType(node.data_type.name, dtype)
    return node.data_type


def documents(path: str, raw: Raw, before: Raw | None = None) -> dict[str, bytes]:
    """The keys and bytes that store one node; the one that makes it exist comes last.

    Attributes that are as `before`, in the documents that stand there, are not among them. The others tell by their
    identity that something has changed, and always are.
    """
    is_kept = before is not None and ATTRIBUTES in before and is_same(before[ATTRIBUTES], raw.get(ATTRIBUTES))
    names = (ARRAY, GROUP) if is_kept else (ATTRIBUTES, ARRAY, GROUP)
    return {_key(path, name): dump(raw[name]) for name in names if name in raw}


def consolidated_documents(raws: Mapping[str, Raw]) -> dict[str, bytes]:
    """The keys and bytes of the root's documents, ``.zmetadata`` with all nodes of `raws` (by path) among them."""
    paths = sorted(raws, key=depth_and_parent)
    metadata = {_key(path, name): document for path in paths for name, document in raws[path].items() if name != MEMBER}
    notes = {path: raws[path][MEMBER] for path in paths if MEMBER in raws[path]}
    document: Raw = {"zarr_consolidated_format": 1, "metadata": metadata}
    # no node of its own stands for the root of a store whose consolidated metadata alone says that there is one
    return {**documents("", raws.get("", {})), CONSOLIDATED: dump(document | ({MEMBER: notes} if notes else {}))}


def noted_to_tell(_raws: Mapping[str, Raw]) -> dict[str, Raw]:
    """None: what is noted of an array stands in its own document."""
    return {}

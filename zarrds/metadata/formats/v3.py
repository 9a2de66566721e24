"""Zarr v3 documents (``zarr.json``) <-> the model. Source: Zarr v3 core specification, "Metadata".

What zarrds notes of an array lies in a hidden folder of the array, with a copy in the root's consolidated
metadata: some readers refuse an array with a member that they do not know. In a `Raw` it is a member all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

from zarrds.errors import InvalidKeyError, MetadataError, StoreIOError, UnsupportedError, ZarrdsError
from zarrds.metadata import rectilinear
from zarrds.metadata.dtypes import DataType
from zarrds.metadata.equality import is_same
from zarrds.metadata.fetched import is_denied, more_prefetched, prefetched, without
from zarrds.metadata.fields import (
    JSON,
    JSONObject,
    Keyed,
    Raw,
    chunk_sizes,
    depth_and_parent,
    dump,
    keyed,
    load,
    member,
    named_object,
    names_of,
    sizes,
)
from zarrds.metadata.fill_values import decode_fill_value, default_fill_value, encode_fill_value
from zarrds.metadata.model import (
    ArrayMetadata,
    ChunkKeyEncoding,
    GroupMetadata,
    Node,
    ZarrFormat,
    codec_objects,
    written_codec,
)
from zarrds.metadata.rectilinear import Edges
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
    "prefetched_nodes",
    "root_key",
    "to_raw",
    "zarr_format",
]

zarr_format: ZarrFormat = 3
KEY_ENCODING, FLAT_KEYS = ChunkKeyEncoding("default", "/"), ChunkKeyEncoding("default", ".")
HAS_SHARDS = True
IS_ORDER_IN_DTYPE = False
IS_FILL_MISSING = False
HAS_CODECS_OF_NUMCODECS = False
RESERVED = frozenset[str]()

NAME = "zarr.json"
# Below an array alone: zarr-python looks into all that lies in a group's folder, and warns of what is no node. And in a
# folder of its own: what lies beside `zarr.json` is chunks only, for those who take it for such.
NOTES = ".zarrds/.zarrds.json"
MEMBER = "zarrds"  # of consolidated metadata: the notes of all nodes, by path
_KEY_ENCODINGS: dict[tuple[str, str], ChunkKeyEncoding] = {
    (encoding.name, encoding.separator): encoding
    for encoding in (
        ChunkKeyEncoding("default", "/"),
        ChunkKeyEncoding("default", "."),
        ChunkKeyEncoding("v2", "/"),
        ChunkKeyEncoding("v2", "."),
    )
}
_GROUP_MEMBERS = {"zarr_format", "node_type", "attributes", "consolidated_metadata"}
# members of an array's document that say what the array is, all but its attributes
_DESCRIBING = (
    "shape",
    "data_type",
    "chunk_grid",
    "chunk_key_encoding",
    "codecs",
    "fill_value",
    "dimension_names",
    "storage_transformers",
)
_ARRAY_MEMBERS = {"zarr_format", "node_type", "attributes", *_DESCRIBING}
_MOST_REMEMBERED = 4096  # bytes of what is remembered of one document


def _key(path: str, name: str = NAME) -> str:
    return f"{path}/{name}" if path else name


def keys_of(path: str) -> list[str]:
    """The keys that `load_raw` may read."""
    return [_key(path), _key(path, NOTES)] if path else [NAME]


def document_key(path: str) -> str:
    """The key of the document that makes an array exist."""
    return _key(path)


def root_key(*, consolidated: bool) -> str:
    """The key whose value says which nodes a store has."""
    return NAME


def document_names(node: Node | None) -> frozenset[str]:
    """The names of the documents that a node may have, below its path."""
    return frozenset({NAME, NOTES} if isinstance(node, ArrayMetadata) else {NAME})


def load_raw(store: Store, path: str) -> Raw | None:
    """The document of the node at `path`, with what zarrds notes of it; None if there is none."""
    raw = load(store, _key(path))
    if raw is None:
        return None
    if raw.get("node_type") == "array":
        return _noted(store, path, raw)
    return raw if path else _joined(raw, (_notes_in(raw) or {}).get(""))


def load_consolidated(store: Store, root: Raw | None = None, *, is_sure: bool = False) -> dict[str, Raw] | None:
    """All documents by path, from the root's consolidated metadata; None without it. `root` is its own, if known."""
    root = load(store, _key("")) if root is None else root
    raws = None if root is None else consolidated_in(root)
    if root is None or raws is None or _notes_in(root) is not None:
        return raws
    return _with_own_notes(store, raws, is_sure=is_sure)


def consolidated_in(root: Raw) -> dict[str, Raw] | None:
    """All documents by path in a root document, with the notes that it has of them."""
    consolidated = root.get("consolidated_metadata")
    if consolidated is None:
        return None
    if not isinstance(consolidated, dict) or consolidated.get("kind") != "inline":
        raise UnsupportedError(
            "consolidated metadata of an unknown kind",
            key=NAME,
            expected="inline",
            found=f"{consolidated!r:.80}",
            mend="Open with consolidated=False",
        )
    named = member(consolidated, "metadata", dict)
    below = {path: raw for path, raw in named.items() if isinstance(raw, dict)}
    if len(below) < len(named):
        raise MetadataError("consolidated metadata holds something that is no document", key=NAME)
    raws = {**below, "": root}
    notes = _notes_in(root)
    return raws if notes is None else {path: _joined(raw, notes.get(path)) for path, raw in raws.items()}


def copies_in(root: Raw) -> dict[str, Raw]:
    """As `consolidated_in`; nothing where another tool has written it, or what cannot be read."""
    try:
        return (consolidated_in(root) or {}) if _notes_in(root) is not None else {}
    except ZarrdsError:
        return {}


def is_copy(store: Store, path: str, copy: Raw) -> bool:
    """Whether the root's document has a copy of what the own document of an array says, but for notes."""
    return copy.get("node_type") == "array" and is_same(load(store, _key(path)), _without(copy, MEMBER))


def _notes_in(root: Raw) -> Raw | None:
    """The notes of all nodes in a root document, by path; None if another tool has written it since."""
    consolidated = root.get("consolidated_metadata")
    notes = consolidated.get(MEMBER) if isinstance(consolidated, dict) else None
    return notes if isinstance(notes, dict) else None


def _noted(store: Store, path: str, raw: Raw) -> Raw:
    """The document of an array, with the notes that lie below it; until zarrds 0.1 they were a member of it."""
    try:
        note = load(store, _key(path, NOTES))
    except (InvalidKeyError, MetadataError):
        note = None
    except StoreIOError as error:
        if not is_denied(store, error):
            raise
        note = None
    return _joined(raw, note)


def _joined(raw: Raw, note: JSON) -> Raw:
    # what is malformed counts as absent
    return raw | {MEMBER: note} if isinstance(note, dict) and note.get("must_understand") is False else raw


def _with_own_notes(store: Store, raws: dict[str, Raw], *, is_sure: bool) -> dict[str, Raw]:
    """Documents of which another tool has written the consolidated copies, with the notes beside the arrays.

    Most such stores have none, and no value should be read in vain for each of their arrays: zarrds notes something
    of every array that it saves, so in each group the last array tells of those that have the name of their dimension,
    of other one-dimensional ones, and of all others, and of the first of these kinds the first two and the last two:
    hardly anybody adds more to each. Who writes all of them anew looks below each, to be sure.
    """
    arrays = [path for path, raw in raws.items() if raw.get("node_type") == "array" and MEMBER not in raw]
    noted = _all_noted(store, raws, arrays if is_sure else _telling(raws, arrays))
    if any(MEMBER in raw for raw in noted.values()):
        noted |= _all_noted(store, raws, [path for path in arrays if path not in noted])
    return raws | noted


def _all_noted(store: Store, raws: Mapping[str, Raw], paths: Collection[str]) -> dict[str, Raw]:
    seen = more_prefetched(store, [_key(path, NOTES) for path in paths]) if paths else store
    return {path: _noted(seen, path, raws[path]) for path in paths}


def _telling(raws: Mapping[str, Raw], arrays: Sequence[str]) -> set[str]:
    """Those of some arrays that tell whether there are notes in their groups."""
    groups: dict[str, dict[int, list[str]]] = {}
    for path in sorted(arrays):
        groups.setdefault(path.rpartition("/")[0], {}).setdefault(_rank(path, raws[path]), []).append(path)
    told: set[str] = set()
    for kinds in groups.values():
        simplest = kinds[min(kinds)]
        told.update(simplest[:2], simplest[-2:], (paths[-1] for paths in kinds.values()))
    return told


def noted_to_tell(raws: Mapping[str, Raw]) -> dict[str, Raw]:
    """Arrays of another tool that get a note, which says nothing, where others of their group have some.

    They are those that who looks for notes looks at first, once another tool has consolidated the metadata.
    """
    arrays = [path for path, raw in raws.items() if raw.get("node_type") == "array"]
    noted = {path for path in arrays if raws[path].get(MEMBER)}
    if not noted or len(noted) == len(arrays):
        return {}
    groups = {path.rpartition("/")[0] for path in noted}
    mixed = [path for path in arrays if path.rpartition("/")[0] in groups]
    return {path: raws[path] | {MEMBER: {"must_understand": False}} for path in _telling(raws, mixed) - noted}


def prefetched_nodes(store: Store, paths: Sequence[str]) -> Store:
    """A view of a store with the documents of nodes at hand, and their notes as far as there are likely to be some.

    Of a store of which no root's document tells what is noted; as `load_consolidated` of one by another tool.
    """
    seen = prefetched(store, [_key(path) for path in paths])
    if seen is store:
        return store
    raws: dict[str, Raw] = {}
    for path in paths:
        with suppress(ZarrdsError):
            raws[path] = load(seen, _key(path)) or {}
    telling = _telling(raws, [path for path, raw in raws.items() if raw.get("node_type") == "array"])
    seen = more_prefetched(seen, [_key(path, NOTES) for path in telling])
    others = [_key(path, NOTES) for path in paths if path not in telling]
    is_noted = any(seen.identity(_key(path, NOTES)) is not None for path in telling)
    return more_prefetched(seen, others) if is_noted else without(seen, others)


def _rank(path: str, raw: Raw) -> int:
    names = raw.get("dimension_names")
    if names == [path.rpartition("/")[2]]:
        return 0
    return 1 if isinstance(names, list) and len(names) == 1 else 2


def parse(raw: Raw) -> Node:
    """The model of a document.

    Raises
    ------
    MetadataError
        For missing or wrong members.
    UnsupportedError
        For extensions that must be understood and are not.
    """
    if member(raw, "zarr_format", int) != 3:
        raise UnsupportedError("unknown zarr_format in a v3 document", expected=3, found=raw["zarr_format"])
    node_type = member(raw, "node_type", str)
    attributes = member(raw, "attributes", dict, {})
    if node_type == "group":
        return GroupMetadata(attributes, _extensions(raw, _GROUP_MEMBERS))
    if node_type != "array":
        raise MetadataError("unknown node_type", expected="'group' or 'array'", found=repr(node_type))
    told = _described(raw)
    return ArrayMetadata(
        shape=told.shape,
        data_type=told.data_type,
        chunks=told.chunks,
        codecs=codec_objects(member(raw, "codecs", list)),  # its own: changing them changes no other array
        fill_value=told.fill_value,
        chunk_key_encoding=told.chunk_key_encoding,
        dimension_names=told.dimension_names,
        attributes=attributes,
        extensions=_extensions(raw, _ARRAY_MEMBERS),
        edges=told.edges,
    )


def _described(raw: Raw) -> ArrayMetadata:
    """What a document says of an array itself: what many arrays of a dataset have in common is looked at once."""
    told = None
    if isinstance(raw.get("data_type"), str):  # fill values of others may be such as can be changed
        with suppress(ValueError):
            told = keyed([raw.get(name, ...) for name in _DESCRIBING])
    return _array_of(raw) if told is None or len(told) > _MOST_REMEMBERED else _remembered(told)


@lru_cache(maxsize=1024)
def _remembered(told: Keyed) -> ArrayMetadata:
    return _array_of({name: value for name, value in zip(_DESCRIBING, told.value, strict=True) if value is not ...})


def _array_of(raw: Raw) -> ArrayMetadata:
    """The model of what a document says of an array itself, without its attributes and extensions."""
    shape = sizes(raw, "shape")
    data_type = DataType.from_v3(member(raw, "data_type", (str, dict)))
    said = raw.get("dimension_names")
    names = names_of(said, len(shape))
    if said is not None and names is None:
        raise MetadataError("dimension_names do not fit the shape", expected=f"{len(shape)} names", found=said)
    if raw.get("storage_transformers"):
        raise UnsupportedError("storage transformers are not supported", found=f"{raw['storage_transformers']!r:.80}")
    fill_value = decode_fill_value(member(raw, "fill_value"), data_type)
    if fill_value is None:  # which some write where the data type has a natural one
        fill_value = default_fill_value(data_type)
    chunks, edges = _grid(raw, shape)
    return ArrayMetadata(
        shape=shape,
        data_type=data_type,
        chunks=chunks,
        codecs=codec_objects(member(raw, "codecs", list)),
        fill_value=fill_value,
        chunk_key_encoding=_chunk_key_encoding(raw),
        dimension_names=names,
        edges=edges,
    )


def _extensions(raw: Raw, known: set[str]) -> JSONObject:
    unknown = {name: value for name, value in raw.items() if name not in known}
    for name, value in unknown.items():
        if not (isinstance(value, dict) and value.get("must_understand") is False):
            raise UnsupportedError(
                f"member {name!r} of the metadata document is unknown and must be understood",
                mend="Read this store with a newer zarrds, or with the library that wrote it",
            )
    return unknown


def _grid(raw: Raw, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[Edges, ...] | None]:
    """The chunks of a regular grid, or the longest chunks and the edges of one whose chunks differ."""
    name, configuration = named_object(member(raw, "chunk_grid"), "chunk_grid")
    if name == "regular":
        return chunk_sizes(configuration, "chunk_shape", shape), None
    if name != "rectilinear":
        raise UnsupportedError(f"chunk grid {name!r} is not supported", expected="'regular' or 'rectilinear'")
    edges = rectilinear.parse(configuration, shape)
    chunks = tuple(rectilinear.largest(each, size) for each, size in zip(edges, shape, strict=True))
    return chunks, None if all(isinstance(each, int) for each in edges) else edges


def _chunk_grid(node: ArrayMetadata) -> Raw:
    if node.edges is not None:
        return {"name": "rectilinear", "configuration": rectilinear.written(node.edges)}
    return {"name": "regular", "configuration": {"chunk_shape": list(node.chunks)}}


def _chunk_key_encoding(raw: Raw) -> ChunkKeyEncoding:
    name, configuration = named_object(member(raw, "chunk_key_encoding"), "chunk_key_encoding")
    if name not in ("default", "v2"):
        raise UnsupportedError(f"chunk key encoding {name!r} is not supported", expected="'default' or 'v2'")
    separator = configuration.get("separator", "/" if name == "default" else ".")
    if separator not in ("/", "."):
        raise MetadataError("unknown separator in chunk_key_encoding", expected="'/' or '.'", found=repr(separator))
    return _KEY_ENCODINGS[name, separator]


def to_raw(node: Node) -> Raw:
    """The document of a node, without consolidated metadata."""
    raw: Raw = {"zarr_format": 3}
    if isinstance(node, GroupMetadata):
        raw["node_type"] = "group"
    else:
        encoding = node.chunk_key_encoding
        raw |= {
            "node_type": "array",
            "shape": list(node.shape),
            "data_type": node.data_type.to_v3(),
            "chunk_grid": _chunk_grid(node),
            "chunk_key_encoding": {"name": encoding.name, "configuration": {"separator": encoding.separator}},
            "fill_value": encode_fill_value(node.fill_value, node.data_type),
            "codecs": [written_codec(codec) for codec in node.codecs],
        }
        if node.dimension_names is not None:
            raw["dimension_names"] = list(node.dimension_names)
    return raw | {"attributes": dict(node.attributes)} | dict(node.extensions)


def named_dimensions(raw: Raw) -> JSON:
    """What stands where an array's document names its dimensions, whatever else is wrong with it."""
    return raw.get("dimension_names")


def documents(path: str, raw: Raw, before: Raw | None = None) -> dict[str, bytes]:
    """The keys and bytes that store one node; the one that makes it exist comes last. All are written, also as before.

    What stood in one document until zarrds 0.1 stands in two.
    """
    own = {_key(path): dump(_without(raw, MEMBER))}
    if raw.get("node_type") != "array" or MEMBER not in raw:
        return own
    return {_key(path, NOTES): dump(raw[MEMBER]), **own}


def consolidated_documents(raws: Mapping[str, Raw]) -> dict[str, bytes]:
    """The key and bytes of the root document with all nodes of `raws` (by path; ``""`` is the root) in it."""
    paths = sorted(raws, key=depth_and_parent)
    below = {path: _without(raws[path], "consolidated_metadata", MEMBER) for path in paths if path}
    consolidated: Raw = {"kind": "inline", "must_understand": False, "metadata": below}
    notes = {path: raws[path][MEMBER] for path in paths if raws[path].get(MEMBER)}
    root = _without(raws[""], MEMBER)
    return documents("", root | {"consolidated_metadata": consolidated | {MEMBER: notes}})


def _without(raw: Raw, *names: str) -> Raw:
    return {name: value for name, value in raw.items() if name not in names}

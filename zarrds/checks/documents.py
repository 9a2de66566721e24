"""The documents of a store: whether each can be read, and whether consolidated metadata says what they say.

Single documents win: what consolidated metadata says of a node counts only where the node has no document of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from zarrds.checks.report import Finding, finding_of
from zarrds.datasets.reading.notes import notes_of
from zarrds.errors import (
    InvalidKeyError,
    MetadataError,
    ReadOnlyError,
    StoreIOError,
    UnsupportedError,
    ZarrdsError,
)
from zarrds.metadata.equality import is_same
from zarrds.metadata.fetched import is_page
from zarrds.metadata.fields import JSON, MALFORMED, Raw, without_bare
from zarrds.metadata.formats import Format, v2, v3
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node
from zarrds.metadata.nodes.documents import new_groups, no_store, parents_of
from zarrds.metadata.nodes.locking import locked
from zarrds.metadata.nodes.transaction import Transaction
from zarrds.metadata.nodes.written import raws_of, strict_raw
from zarrds.storage.protocol import Store, check_prefix, path_below
from zarrds.storage.traits import get_at_most

__all__ = ["Survey", "format_of", "mend", "survey"]

_V2_NAMES: Final = (v2.ARRAY, v2.GROUP, v2.ATTRIBUTES)
_MAX_SHOWN = 3  # differences of one node
_REPAIR = ". verify(..., repair=True) mends it"


@dataclass(frozen=True, slots=True)
class Survey:
    """The nodes of a store, and what is wrong with their documents.

    Attributes
    ----------
    nodes : mapping of str to (Node or None)
        By path, parents first; None for those that cannot be read. ``""`` is always there.
    findings : tuple of Finding
    """

    nodes: Mapping[str, Node | None]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Documents:
    """All documents of a store as they are.

    Attributes
    ----------
    spec : Format
    own : mapping
        The documents of each node, by path, or why they cannot be read.
    named : mapping or None
        What consolidated metadata has, by path; None without it, or if it cannot be read.
    named_error : ZarrdsError or None
        Why it cannot be read.
    restorable : frozenset of str
        Paths of nodes without documents of their own of which something else is left.
    """

    spec: Format
    own: Mapping[str, Raw | ZarrdsError]
    named: Mapping[str, Raw] | None
    named_error: ZarrdsError | None
    restorable: frozenset[str]


def format_of(store: Store) -> Format:
    """The format of the documents at the root of a store, even if they are damaged."""
    names = (v2.GROUP, v2.ARRAY, v2.CONSOLIDATED)
    if store.identity(v3.NAME) is not None and (
        not is_page(store, v3.NAME) or all(is_page(store, name) for name in names)
    ):
        return v3
    if any(store.identity(name) is not None for name in names):
        return v2
    for name in (v3.NAME, v2.GROUP, v2.ARRAY):
        get_at_most(store, name, 0)  # which says so if something else than a file stands there
    raise no_store(store)


def survey(store: Store, spec: Format) -> Survey:
    """Read all documents of a store."""
    found = _judged(_load(store, spec))
    if found.findings:
        # while a writer is at work documents need not fit each other
        with suppress(StoreIOError, ReadOnlyError), locked(store):
            return _judged(_load(store, spec))
        # where one cannot lock one cannot write, but others may
        found = _judged(_load(store, spec))
    return found


def mend(store: Store, spec: Format) -> Survey:
    """Read all documents of a store, and put right what can be; the findings say what was."""
    with locked(store):
        documents = _load(store, spec)
        found = _judged(documents)
        try:
            written = _mending(documents)
        except RecursionError:  # nested too deeply to be written again
            written = {}
        if not written:
            return found
        with Transaction(store) as transaction:
            transaction.put_documents(written)
            transaction.commit()
        left = _judged(_load(store, spec))
    gone = [f for f in found.findings if f not in left.findings]
    mended = [replace(f, mended=True, problem=f.problem.removesuffix(_REPAIR)) for f in gone]
    return Survey(left.nodes, (*mended, *left.findings))


def _load(store: Store, spec: Format) -> _Documents:
    named: dict[str, Raw] | None = None
    error: ZarrdsError | None = None
    try:
        named = spec.load_consolidated(store)
    except ZarrdsError as caught:
        error = caught
    own = dict(_walk(store, spec, named or {}))
    if isinstance(own.get(""), ZarrdsError) and spec is v3:
        error = None  # it is the same document
    for path in (named or {}).keys() - own.keys():
        raw = _load_own(store, spec, path)
        if raw is not None:
            own[path] = raw
    missing = (named or {}).keys() - own.keys()
    restorable = frozenset(path for path in missing if _is_restorable(store, path, own, (named or {})[path]))
    return _Documents(spec, own, named, error, restorable)


def _load_own(store: Store, spec: Format, path: str) -> Raw | ZarrdsError | None:
    try:
        check_prefix(path)
    except InvalidKeyError:  # a path that only consolidated metadata can have
        return None
    try:
        return spec.load_raw(store, path)
    except ZarrdsError as error:  # also one of a link out of the store, which is not gone for that
        return error


def _walk(store: Store, spec: Format, named: Mapping[str, Raw]) -> Iterator[tuple[str, Raw | ZarrdsError]]:
    """The documents of all nodes; also of those below folders that are no groups."""
    waiting = [""]
    while waiting:
        path = waiting.pop()
        raw = _load_own(store, spec, path)
        if raw is not None:
            yield path, raw
        kind = named.get(path) if raw is None or isinstance(raw, ZarrdsError) else raw
        if kind is None or not _is_array(kind):
            waiting += [path_below(path, name) for name in store.list_children(path)]


def _is_array(raw: Raw) -> bool:
    return v2.ARRAY in raw or raw.get("node_type") == "array"


def _is_restorable(store: Store, path: str, own: Mapping[str, Raw | ZarrdsError], raw: Raw) -> bool:
    for parent in parents_of(path):
        above = own.get(parent)
        if isinstance(above, dict) and _is_array(above):
            return False
    try:
        return not _is_array(raw) or next(store.list_prefix(path), None) is not None
    except InvalidKeyError:
        return False


def _judged(documents: _Documents) -> Survey:
    """What is wrong with documents."""
    findings = [*_unreadable(documents), *_differences(documents)]
    nodes: dict[str, Node | None] = {**new_groups([""], documents.spec)}
    named = documents.named or {}
    for path in sorted({*documents.own, *documents.restorable}):
        raw = documents.own.get(path, named.get(path))
        node = raw if isinstance(raw, ZarrdsError) or raw is None else _parsed(documents.spec, raw)
        if isinstance(node, ZarrdsError) and node is not raw:
            findings.append(finding_of(node, path))
        if isinstance(node, ZarrdsError) and path in named:
            node = _parsed(documents.spec, named[path])
        nodes[path] = None if isinstance(node, ZarrdsError) else node
    return Survey(nodes, (*findings, *_orphans(nodes), *_unequal_sizes(nodes), *_unaligned(nodes)))


def _parsed(spec: Format, raw: Raw) -> Node | ZarrdsError:
    try:
        return spec.parse(raw)
    except ZarrdsError as error:
        return error
    except RecursionError:
        return MetadataError("metadata is nested too deeply")
    except MALFORMED as error:
        return MetadataError(f"metadata is malformed: {error}")


def _unreadable(documents: _Documents) -> Iterator[Finding]:
    for path, raw in documents.own.items():
        if isinstance(raw, ZarrdsError):
            yield finding_of(raw, path)
    if documents.named_error is not None:
        yield finding_of(documents.named_error, documents.spec.root_key(consolidated=True))


def _differences(documents: _Documents) -> Iterator[Finding]:
    """Where consolidated metadata and single documents are at odds."""
    if documents.named is None:
        return
    for path in documents.own.keys() | documents.named.keys():
        own, named = documents.own.get(path), documents.named.get(path)
        if named is None:
            problem = "consolidated metadata does not name it: its readers do not see it"
        elif own is None and path in documents.restorable:
            problem = "it has no document of its own, only an entry in consolidated metadata"
        elif own is None:
            problem = "consolidated metadata names it, but neither a document nor a chunk of it is left"
        elif isinstance(own, ZarrdsError) or (difference := _difference(documents, own, named)) is None:
            continue
        else:
            problem = f"consolidated metadata differs from its document: {difference}"
        yield Finding("error", path or "/", problem + _REPAIR)


def _mending(documents: _Documents) -> dict[str, bytes]:
    """The documents to write: those that are restored, then the root's with consolidated metadata."""
    own, named = documents.own, documents.named or {}
    # what another version wrote is not replaced
    is_readable = documents.named is not None or not isinstance(documents.named_error, UnsupportedError | None)
    if not is_readable or (documents.named_error is None and next(_differences(documents), None) is None):
        return {}
    merged: dict[str, Raw] = {}
    written: dict[str, bytes] = {}
    for path in own.keys() | documents.restorable:
        raw = own.get(path)
        if isinstance(raw, dict):
            # what other libraries have put in .zmetadata beside the documents is kept
            others = named.get(path, {}) if documents.spec is v2 else {}
            merged[path] = {name: value for name, value in others.items() if name not in _V2_NAMES} | raw
        elif path in named:
            merged[path] = named[path]
            if raw is None:
                written |= documents.spec.documents(path, named[path])
    if "" not in merged:
        return {}
    merged = {path: strict_raw(documents.spec, raw) for path, raw in merged.items()}
    key = documents.spec.root_key(consolidated=True)
    return written | {key: documents.spec.consolidated_documents(merged)[key]}


def _difference(documents: _Documents, own: Raw, named: Raw) -> str | None:
    """How a node's documents and its entry in consolidated metadata differ, in words."""
    both = (_comparable(own), _comparable(named))
    try:
        found = list(islice(_all_differences(*both), _MAX_SHOWN))
        # what one of them leaves out may be what the other says
        parsed = [_parsed(documents.spec, raw) for raw in both] if found else []
        nodes = [node for node in parsed if not isinstance(node, ZarrdsError)]
        if len(nodes) == len(both):
            here, there = (raws_of({"": node})[""] for node in nodes)
            found = list(islice(_all_differences(here, there), _MAX_SHOWN))
    except RecursionError:
        return "it is nested too deeply to tell where"
    except (ZarrdsError, *MALFORMED):
        pass  # a node that cannot be written as a document again: they differ as they are
    return "; ".join(f"{where!r} is {_shown(said)}, not {_shown(is_)}" for where, is_, said in found) or None


def _comparable(raw: Raw) -> Raw:
    """The documents of a node without what may differ."""
    if v2.ARRAY not in raw and v2.GROUP not in raw:
        # what is noted of a group lies in consolidated metadata alone
        left_out = {"consolidated_metadata"} if _is_array(raw) else {"consolidated_metadata", v3.MEMBER}
        return {name: value for name, value in raw.items() if name not in left_out}
    kind = v2.ARRAY if v2.ARRAY in raw else v2.GROUP
    document = raw[kind]
    return {
        kind: _without_consolidated(document) if isinstance(document, dict) else document,
        v2.ATTRIBUTES: raw.get(v2.ATTRIBUTES) or {},
    }


def _without_consolidated(document: Raw) -> Raw:
    return {name: value for name, value in document.items() if name != "consolidated_metadata"}


_NOTHING: Final = object()


def _all_differences(one: JSON, other: JSON, where: str = "") -> Iterator[tuple[str, JSON, JSON]]:
    """Where two JSON values differ, see `is_same`, and both values there; bare NaN is the text that stands for it."""
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [(name, one.get(name, _NOTHING), other.get(name, _NOTHING)) for name in {**one, **other}]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(str(i), *both) for i, both in enumerate(zip(one, other, strict=True))]
    else:
        if not is_same(*(without_bare(each) if isinstance(each, float) else each for each in (one, other))):
            yield where, one, other
        return
    for name, mine, theirs in pairs:
        yield from _all_differences(mine, theirs, path_below(where, name))


def _shown(value: JSON) -> str:
    return "missing" if value is _NOTHING else f"{value!r:.80}"


def _orphans(nodes: Mapping[str, Node | None]) -> Iterator[Finding]:
    """Folders that hold nodes, and are none."""
    for parent in sorted({parent for path in nodes for parent in parents_of(path)} - nodes.keys()):
        yield Finding("warning", parent, "it holds groups or arrays, but has no document that makes it a group")


def _unequal_sizes(nodes: Mapping[str, Node | None]) -> Iterator[Finding]:
    """Dimensions that have more than one size in the arrays of one group."""
    seen: dict[tuple[str, str], tuple[int, str]] = {}
    for path, node in nodes.items():
        if not isinstance(node, ArrayMetadata):
            continue
        for name, size in zip(node.dimension_names or (), node.shape, strict=False):
            if name is None:
                continue
            group = path.rpartition("/")[0]
            first, where = seen.setdefault((group, name), (size, path))
            if size != first and not _is_pyramid(nodes.get(group)):
                problem = (
                    f"dimension {name!r} has the size {size}, but {first} in {where!r}: xarray cannot open the group"
                )
                yield Finding("error", path, problem)


def _is_pyramid(group: Node | None) -> bool:
    """Whether a group says that its arrays are levels of one image (OME-Zarr), each of another size."""
    attributes = group.attributes if isinstance(group, GroupMetadata) else {}
    ome = attributes.get("ome")
    return "multiscales" in attributes or (isinstance(ome, dict) and "multiscales" in ome)


def _unaligned(nodes: Mapping[str, Node | None]) -> Iterator[Finding]:
    """Dimensions that have another size in a group above: as a DataTree the store cannot be opened."""
    groups: dict[str, dict[str, ArrayMetadata]] = {}
    for path, node in nodes.items():
        if isinstance(node, ArrayMetadata):
            group, _, name = path.rpartition("/")
            groups.setdefault(group, {})[name] = node
    sizes: dict[str, dict[str, int]] = {}
    for group, arrays in groups.items():
        here = sizes.setdefault(group, {})
        # no reader of a tree sees those that are parts of others (categories), and their dimensions
        parts = {part for roles in notes_of(arrays).companions.values() for part in roles.values()}
        for array in (array for name, array in arrays.items() if name not in parts):
            here |= {dim: n for dim, n in zip(array.dimension_names or (), array.shape, strict=False) if dim}
    for group, here in sizes.items():
        for above in parents_of(group) if group else ():
            for name, size in here.items():
                known = sizes.get(above, {}).get(name, size)
                if known != size:
                    problem = (
                        f"dimension {name!r} has the size {size}, but {known} in the group {above or '/'!r}: "
                        "xr.open_datatree cannot open the store, xr.open_groups can"
                    )
                    yield Finding("warning", group, problem)

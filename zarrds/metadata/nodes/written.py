"""Documents to write: those of a new store, and those that a change of one touches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from zarrds.errors import InvalidKeyError, ZarrdsError
from zarrds.metadata.attributes import with_noted_floats
from zarrds.metadata.equality import is_same
from zarrds.metadata.extension import MEMBER
from zarrds.metadata.fetched import prefetched
from zarrds.metadata.fields import MALFORMED, Raw, has_bare
from zarrds.metadata.formats import Format, spec_of
from zarrds.metadata.model import Formatted, Node
from zarrds.metadata.nodes.documents import DOCUMENTS, keys_of, no_store, root_keys, spec_there
from zarrds.storage.protocol import Store, path_below

__all__ = ["Changed", "documents_of_change", "documents_of_store", "is_same_document", "raws_of", "strict_raw"]


class Changed(NamedTuple):
    """The documents that a change of a store writes, by key.

    Attributes
    ----------
    new : dict of str to bytes
        Of nodes that are new.
    root : dict of str to bytes
        The root's, with consolidated metadata.
    old : dict of str to bytes
        Of nodes that were there.
    commit : str or None
        The one of the root's that makes all of it visible to readers of consolidated metadata; None if that did not say
        what the nodes' own documents say.
    """

    new: dict[str, bytes]
    root: dict[str, bytes]
    old: dict[str, bytes]
    commit: str | None


def raws_of(nodes: Mapping[str, Node]) -> dict[str, Raw]:
    """The parsed documents of nodes, by path.

    Raises `ZarrdsError` for names that no node can have, and for what their format cannot hold.
    """
    for path in nodes:
        if path.rpartition("/")[2] in DOCUMENTS:  # it would be the folder where a file is, and the other way round
            raise InvalidKeyError("no array or group can be called so", key=path, mend="Give it another name")
    return {path: spec_of(node).to_raw(with_noted_floats(node)) for path, node in nodes.items()}


def documents_of_store(raws: Mapping[str, Raw], like: Formatted) -> dict[str, bytes]:
    """All documents of a new store, by key; last the root's, with consolidated metadata.

    Parameters
    ----------
    raws : mapping of str to JSON object
        From `raws_of`; ``""`` is the root group.
    like : Formatted
        Of their format.
    """
    module = spec_of(like)
    found: dict[str, bytes] = {}
    for path, raw in raws.items():
        if path:
            found |= module.documents(path, raw)
    found |= module.consolidated_documents(raws)
    return found


def documents_of_change(
    store: Store,
    nodes: Mapping[str, Node],
    removed: Collection[str] = (),
    *,
    like: Formatted | None = None,
    consolidate: bool = True,
    known: Mapping[str, Raw] | None = None,
    renamed: Mapping[str, str] | None = None,
) -> Changed:
    """The documents that a change of a store is to write, in the three steps of `Committer.stage_changes`.

    The caller holds the store's lock. What the change does not name is kept to the letter.

    Parameters
    ----------
    store : Store
    nodes : mapping of str to Node
        What is new or changed, by path from the root.
    removed : collection of str
        Paths that are no longer to be, with all below them; what `nodes` puts there is new.
    like : Formatted, optional
        Of the format of the nodes; that of the store unless said, which must be there then.
    consolidate : bool
        Whether the root's documents get consolidated metadata if they have none.
    known : mapping of str to JSON object, optional
        The own documents of nodes that are there, by path, where the caller has read them and sees that they are still
        those.
    renamed : mapping of str to str, optional
        Paths of `removed`, and those of `nodes` that take their places in the order of the others.

    Returns
    -------
    Changed
    """
    module = spec_there(store) if like is None else spec_of(like)
    if module is None:
        raise no_store(store)
    known = known or {}
    unknown = keys_of([path for path in nodes if path not in known], module)
    seen = prefetched(store, list(dict.fromkeys([*root_keys(module, None), *unknown])))
    before = None if "" in removed else module.load_consolidated(seen, known.get(""), is_sure=True)
    if before is not None and module.root_key(consolidated=True) == module.root_key(consolidated=False):
        known = {**known, "": before[""]}  # which is in the same document
    is_told = before is not None
    if before is None and consolidate:
        before = {} if "" in removed else _walk_raws(store, module, "")
    changed = raws_of(nodes)
    root, new, old = dict[str, bytes](), dict[str, bytes](), dict[str, bytes]()
    if before is not None:
        kept = {path: strict_raw(module, raw) for path, raw in _without(before, removed).items()}
        every = _ordered(kept | changed, [(renamed or {}).get(path, path) for path in before])
        told = module.noted_to_tell(every)
        changed |= {path: raw for path, raw in told.items() if path in changed}
        for path, raw in told.items():
            own = module.document_key(path)
            new |= {key: value for key, value in module.documents(path, raw).items() if key != own}
        root |= module.consolidated_documents(every | told)
    below = tuple(f"{path}/" for path in removed)
    for path, raw in changed.items():
        is_gone = path in removed or path.startswith(below)
        there = known[path] if path in known else module.load_raw(seen, path)
        standing = None if is_gone else there
        is_told = is_told and before is not None and is_same_document(standing, before.get(path))
        documents = _documents(module, path, raw, standing)
        if not path and before is None:
            root |= documents
        else:
            # of a node that is replaced too: who writes into it waits for nobody to hold its document
            (new if there is None else old).update(documents)
    new, old = ({key: value for key, value in each.items() if key not in root} for each in (new, old))
    return Changed(new, root, old, module.root_key(consolidated=True) if is_told else None)


def strict_raw(module: Format, raw: Raw) -> Raw:
    """A document as it is copied into the root's, which is valid JSON; one that nobody can read is as it is."""
    attributes = next((raw[name] for name in (".zattrs", "attributes") if name in raw), None)
    if not isinstance(attributes, dict) or not has_bare(attributes):
        return raw
    try:
        return module.to_raw(with_noted_floats(module.parse(raw)))
    except (ZarrdsError, *MALFORMED):
        return raw


def is_same_document(own: Raw | None, consolidated: Raw | None) -> bool:
    """Whether a node's own documents say what the root's document says of it, which may note more of groups."""
    if own is None or consolidated is None:
        return own is consolidated
    return is_same(_essence(own), _essence(consolidated))


def _essence(raw: Raw) -> Raw:
    """A document without what another place has of it, and without notes that are empty."""
    noted = {} if raw.get("node_type") == "group" or ".zgroup" in raw else raw.get(MEMBER) or {}
    others = {name: value for name, value in raw.items() if name not in ("consolidated_metadata", MEMBER)}
    return others | {MEMBER: noted}


def _documents(module: Format, path: str, raw: Raw, before: Raw | None) -> dict[str, bytes]:
    """The keys and bytes that store a node; what was noted of the one before it is not to be taken for its own."""
    is_left = before is not None and MEMBER in before and MEMBER not in raw
    return module.documents(path, raw | {MEMBER: {}} if is_left else raw, before)


def _without(raws: Mapping[str, Raw], removed: Collection[str]) -> dict[str, Raw]:
    """Documents by path, but for those at or below a path that is removed."""
    gone, below = set(removed), tuple(f"{path}/" for path in removed)
    return {path: raw for path, raw in raws.items() if path not in gone and not path.startswith(below)}


def _ordered(raws: Mapping[str, Raw], first: Iterable[str]) -> dict[str, Raw]:
    """Documents by path, those of `first` before the others, in its order."""
    return {path: raws[path] for path in dict.fromkeys([*first, *raws]) if path in raws}


def _walk_raws(store: Store, module: Format, path: str) -> dict[str, Raw]:
    raw = module.load_raw(store, path)
    if raw is None:
        return {}
    found = {path: raw}
    for name in store.list_children(path):
        found |= _walk_raws(store, module, path_below(path, name))
    return found

"""What is noted of labels, held against all that is stored: a part of ``zarrds.verify``."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import xarray as xr

from zarrds.checks.again import LOOKS, as_now, held
from zarrds.checks.report import Finding, Severity, finding_of
from zarrds.checks.stores import Nodes
from zarrds.datasets.reading.decoding import decode, decoders_for
from zarrds.datasets.reading.lazy import LazyArrays, check_is_stored
from zarrds.datasets.reading.notes import GroupNotes, notes_of, range_of
from zarrds.datasets.reading.restored import NoteMismatchError, index_of
from zarrds.engine.cache import cache_of
from zarrds.engine.elements import Elements
from zarrds.errors import MetadataError, UnsupportedError, ZarrdsError, locating
from zarrds.labels.kinds.plain import Description
from zarrds.labels.kinds.table import array_from_plain
from zarrds.labels.sorted.blocks import Blocks
from zarrds.labels.sorted.record import OrderRecord, is_recordable, record_of
from zarrds.metadata.extension import ORDER, note_of, with_note
from zarrds.metadata.formats import spec_of
from zarrds.metadata.model import ArrayMetadata
from zarrds.metadata.nodes.documents import own_node
from zarrds.metadata.nodes.locking import locked
from zarrds.metadata.nodes.transaction import change_documents
from zarrds.storage.protocol import Store

__all__ = ["check_labels"]

# elements that are held against their description at a time
_PIECE = 1 << 20
_SAVE_AGAIN = "It is read as if nothing was noted. Save it again to have its index back"


def check_labels(store: Store, nodes: Nodes, *, repair: bool, n_workers: int | None = None) -> Iterator[Finding]:
    """Find what is noted of labels and is not true of them.

    Parameters
    ----------
    store : Store
    nodes : mapping of str to (Node or None)
        By path; None for those that cannot be read, of which nothing is said.
    repair : bool
        Note orders anew that are wrong, or remove them.
    n_workers : int, optional
    """
    groups: dict[str, dict[str, ArrayMetadata]] = {}
    for path, node in nodes.items():
        if isinstance(node, ArrayMetadata):
            group, _, name = path.rpartition("/")
            groups.setdefault(group, {})[name] = node
    for group, arrays in groups.items():
        yield from _settled(store, f"{group}/" if group else "", arrays, repair, n_workers)


def _settled(
    store: Store, base: str, arrays: dict[str, ArrayMetadata], repair: bool, n_workers: int | None
) -> list[Finding]:
    """What is wrong in a group, also while others write to it."""
    found: list[Finding] = []
    mended: list[Finding] = []
    for look in range(LOOKS + 1):
        with held(store, look):
            if look:
                now = {name: as_now(store, base + name, node, node) for name, node in arrays.items()}
                fresh = {name: node for name, node in now.items() if isinstance(node, ArrayMetadata)}
                if not mended and fresh == arrays:
                    return found
                arrays = fresh
            found = list(_group(store, base, arrays, repair, n_workers))
        mended += [finding for finding in found if finding.mended]
        if len(found) == sum(finding.mended for finding in found):
            return mended
    return [*mended, *found]


def _group(
    store: Store, base: str, all_arrays: Mapping[str, ArrayMetadata], repair: bool, n_workers: int | None
) -> Iterator[Finding]:
    arrays = dict[str, ArrayMetadata]()
    for name, metadata in all_arrays.items():
        try:
            check_is_stored(Elements(store, base + name, metadata))
        except ZarrdsError as error:  # what is not there is not walked through
            if metadata.dimension_names == (name,):
                yield finding_of(error, base + name)
            continue
        arrays[name] = metadata
    notes = notes_of(arrays)
    problems = {**notes.problems, **dict(_misfits(store, base, arrays, notes, n_workers))}
    for name, problem in problems.items():
        text = f"what is noted of its labels does not fit: {problem}. {_SAVE_AGAIN}"
        yield Finding("error", base + name, text)
    for name, metadata in arrays.items():
        if note_of(metadata, ORDER) is not None:
            yield from _check_order(store, base + name, metadata, repair, n_workers)


# orders


def _check_order(
    store: Store, path: str, metadata: ArrayMetadata, repair: bool, n_workers: int | None
) -> Iterator[Finding]:
    try:
        elements = Elements(store, path, metadata, n_workers=n_workers)
        now, problem = _judged(elements)
        is_stale = problem is not None and _is_stale(elements)
    except ZarrdsError:
        return  # a chunk that cannot be read: that was found already
    if problem is None:
        return
    severity: Severity = "warning" if is_stale else "error"
    why = "its labels were changed since their order was noted" if is_stale else "what is noted of their order is wrong"
    text = f"{why}: {problem}"
    if not repair:
        yield Finding(severity, path or "/", f"{text}. verify(..., repair=True) mends it")
        return
    yield Finding(severity, path or "/", text, mended=_mend(store, path, metadata, now))


def _is_stale(elements: Elements) -> bool:
    """Whether the labels are not those that were noted: a tool that knows nothing of the note may write others.

    Readers see it by their number and their digests, and search them in memory.
    """
    note = note_of(elements.metadata, ORDER)
    if isinstance(note, dict) and note.get("size") != elements.metadata.shape[0]:
        return True
    try:
        noted = OrderRecord.from_json(note, elements.metadata)
    except MetadataError:
        return False
    blocks = Blocks(elements, noted.block)
    return any(blocks.digest(i) != digest for i, digest in enumerate(noted.crc32c))


def _mend(store: Store, path: str, metadata: ArrayMetadata, record: OrderRecord | None) -> bool:
    with locked(store):
        try:
            if own_node(store, path, metadata) != metadata:
                return False  # another writer was here
            change_documents(store, {path: with_note(metadata, ORDER, record.to_json() if record else None)})
        except (MetadataError, UnsupportedError):  # the documents above cannot be read
            return False
    return True


def _judged(elements: Elements) -> tuple[OrderRecord | None, str | None]:
    """The record that an array should have, None if it should have none, and what is wrong with the one that it has."""
    metadata = elements.metadata
    if metadata.dimension_names != (elements.path.rpartition("/")[2],) or not is_recordable(metadata):
        return None, "the array holds no labels that can be searched where they lie"
    now = record_of(elements)
    try:
        noted = OrderRecord.from_json(note_of(metadata, ORDER), metadata)
    except MetadataError as error:
        return now, str(error)
    return now, _claims(noted, now) or _zones(noted, now, elements)


def _claims(noted: OrderRecord, now: OrderRecord) -> str | None:
    """What a record says of all labels that is not so; it may say less than could be said."""
    is_constant = now.size < 2 or bool(now.order and now.first[0] == now.last[-1])
    if noted.order is not None and noted.order != now.order and not (now.order and is_constant):
        return f"they are not {noted.order}"
    if None not in (noted.unique, now.unique) and noted.unique is not now.unique:
        return "some occur twice" if noted.unique else "none occurs twice"
    if noted.step is not None and noted.step != now.step:
        return f"they are no range in steps of {noted.step}"
    return None


def _zones(noted: OrderRecord, now: OrderRecord, elements: Elements) -> str | None:
    """What a record says of single blocks that is not so."""
    first, last, digests = now.first, now.last, now.crc32c
    if noted.block != now.block:
        blocks = Blocks(elements, noted.block)
        read = blocks.reader(1)
        first, last = np.empty_like(noted.first), np.empty_like(noted.last)
        for i in range(len(blocks)):
            stored, _ = read((i,))
            first[i], last[i] = stored[0], stored[-1]
        digests = np.array([blocks.digest(i) for i in range(len(blocks))], np.uint32)
    if not (_equal(first, noted.first) and _equal(last, noted.last)):
        return "the first and last labels of its chunks are others"
    # into the last block, if the array ends in it, others may have put what is not yet, or never was, in the array
    n = noted.size // noted.block
    if not np.array_equal(digests[:n], noted.crc32c[:n]):
        return "the chunks were changed since, and only their ends are the same"
    return None


def _equal(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    # missing ones are equal to each other
    return bool(((one == other) | ((one != one) & (other != other))).all())


# descriptions


def _misfits(
    store: Store, base: str, arrays: Mapping[str, ArrayMetadata], notes: GroupNotes, n_workers: int | None
) -> Iterator[tuple[str, str]]:
    """The names of arrays whose elements are not what is described, and why."""
    described = {name: arrays[name] for name in notes.descriptions.keys() | notes.hidden}
    while described:
        try:
            variables = _decoded(store, base, described, notes, n_workers)
            break
        except ZarrdsError as error:
            # of an array that cannot be read, which was found already, or that xarray cannot decode, whatever is
            # noted, nothing can be judged, nor of what it belongs to
            gone = next((name for name in described if error.key == base + name), None)
            if gone is None:
                return
            del described[gone]
    for name in described.keys() & notes.descriptions.keys():
        with suppress(ZarrdsError, KeyError):
            if problem := _misfit(name, variables, notes):
                yield name, problem


def _decoded(
    store: Store, base: str, arrays: Mapping[str, ArrayMetadata], notes: GroupNotes, n_workers: int | None
) -> Mapping[Hashable, xr.Variable]:
    is_mask = spec_of(next(iter(arrays.values()))).IS_FILL_MISSING
    lazy_arrays = LazyArrays(store, None, n_workers, None, cache_of(0), is_mask)
    raw = {}
    for name, metadata in arrays.items():
        with locating(store.path, base + name):
            raw[name] = lazy_arrays.variable(lazy_arrays.array(base + name, metadata))
    decoders, _ = decoders_for(notes, {})
    return decode(raw, {}, decoders, store.path, base.rstrip("/"))[0]


def _misfit(name: str, variables: Mapping[Hashable, xr.Variable], notes: GroupNotes) -> str | None:
    """What is described of an array and is not so; its elements are looked at a part at a time."""
    description, variable = notes.descriptions[name], variables[name]
    roles = notes.companions.get(name, {})
    beside: dict[str, Any] = {}
    try:
        if "categories" in roles:
            beside["categories"] = index_of(roles["categories"], variables, notes.descriptions, notes.companions)
        rows = max(_PIECE // max(variable[:1].size, 1), 1) if variable.ndim else 1
        for start in range(0, len(variable) if variable.ndim else 1, rows):
            part = slice(start, start + rows) if variable.ndim else ...
            if "bounds" in roles:
                beside["bounds"] = variables[roles["bounds"]][part].values
            values = variable[part].values
            if description["dtype"] != "range":
                array_from_plain(description, values, beside)
            elif problem := _range_problem(description, values, start):
                return problem
    except NoteMismatchError as error:
        return f"of {error.name!r}, {error.problem}"
    except MetadataError as error:
        return error.problem
    return None


def _range_problem(description: Description, values: np.ndarray[Any, Any], at: int) -> str | None:
    index = range_of(description, at + values.size)
    if index is None:
        return "its range has no start and step"
    is_same = values.ndim == 1 and np.array_equal(values, index[at:])
    return None if is_same else f"its labels are not the range from {index.start} in steps of {index.step}"

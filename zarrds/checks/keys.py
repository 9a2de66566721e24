"""The keys of a store: does each belong there, is every chunk there that must be, and can each be read.

Keys are listed and not kept, and chunks are read in threads (`chunks`); so memory does not grow with the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod

from zarrds.checks.again import LOOKS, as_now, held
from zarrds.checks.arrays import CheckedArray, array_now, array_of, is_inside, positions
from zarrds.checks.chunks import ChunksToRead, chunk_checker
from zarrds.checks.report import Finding, Severity, finding_of
from zarrds.checks.tally import MAX_LISTED, Tally
from zarrds.chunk_statistics.record import statistics_path
from zarrds.engine import executor
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import InvalidKeyError, StoreIOError
from zarrds.metadata.formats import Format, spec_of
from zarrds.metadata.model import ArrayMetadata, Node
from zarrds.metadata.nodes.belonging import others
from zarrds.storage.protocol import Store
from zarrds.storage.traits import FOLDER, get_at_most, list_strange

__all__ = ["check_keys"]

_MISSING = (
    "a chunk is missing that was written. Restore it from a copy of the store, or write that part of the array again. "
    "If another library removed it because it held nothing but the fill value, open with missing_chunks='fill'"
)


def check_keys(
    store: Store,
    nodes: Mapping[str, Node | None],
    spec: Format,
    tally: Tally,
    *,
    progress: ProgressOption,
    n_workers: int | None,
) -> None:
    """Look at every key and read every chunk of a store.

    Parameters
    ----------
    store : Store
    nodes : mapping of str to (Node or None)
        By path, None for those that cannot be read: nothing is said of what is below them.
    spec : Format
    tally : Tally
        Gets what is found.
    progress : bool or callable
    n_workers : int, optional
    """
    arrays = dict(_arrays(store, nodes, tally))
    _sort_keys(store, nodes, spec, arrays, tally)
    strange = _sort_strange(store, nodes, arrays, tally)
    settled = [one for one in (_settled(store, array, tally, strange) for array in arrays.values()) if one]
    tally.n_chunks += sum(array.n_stored for array in settled)
    plan = ChunksToRead(store, settled)
    largest = max((a.chunks.nbytes_of(a.chunks.metadata.chunks) for a in settled), default=1)
    with progress_bar(len(plan), "verify", enabled=progress) as advance:
        executor.run(
            plan,
            lambda: chunk_checker(store, tally),
            part_nbytes=largest,
            workers=n_workers,
            progress=advance,
        )


def _arrays(store: Store, nodes: Mapping[str, Node | None], tally: Tally) -> Iterator[tuple[str, CheckedArray]]:
    """The arrays whose codecs zarrds has."""
    for path, node in nodes.items():
        if not isinstance(node, ArrayMetadata):
            continue
        if _leads_out(store, path):
            continue  # that is a finding of its document
        array = array_of(store, path, node, tally)
        if array is not None:
            yield path, array


def _settled(store: Store, array: CheckedArray, tally: Tally, strange: Mapping[str, str]) -> CheckedArray | None:
    """The array as its keys fit it best, if others write to it meanwhile; None if it is gone.

    `strange` is what lies in the place of some chunks.
    """
    path = array.chunks.path
    for look in range(LOOKS + 1):
        with held(store, look):
            if look:
                now = array_now(store, array, tally)
                if now is array:
                    break
                if now is None:
                    return None
                array = now
                _count_again(store, path, array)
            _find_missing(store, path, array, strange)
        if not array.found.findings:
            break
    tally.merge(array.found)
    return array


def _count_again(store: Store, path: str, array: CheckedArray) -> None:
    """Count the chunks that an array has now."""
    metadata = array.chunks.metadata
    documents = spec_of(metadata).document_names(metadata)
    for key in store.list_prefix(path):
        name = key[len(path) + 1 :] if path else key
        if name not in documents and not key.startswith(f"{statistics_path(path)}/"):
            _count_chunk(key, path, array)


def _leads_out(store: Store, path: str) -> bool:
    """Whether the folder of a node is a symbolic link that leads out of the store."""
    try:
        store.identity(f"{path}/any" if path else "any")
    except InvalidKeyError:
        return True
    return False


def _owner_of(key: str, nodes: Mapping[str, Node | None]) -> str:
    """The path of the innermost node that a key lies below; the root is always there."""
    owner = key.rpartition("/")[0]
    while owner not in nodes:
        owner = owner.rpartition("/")[0]
    return owner


def _sort_keys(
    store: Store,
    nodes: Mapping[str, Node | None],
    spec: Format,
    arrays: Mapping[str, CheckedArray],
    tally: Tally,
) -> None:
    """Count the chunks of each array, and report what belongs to nobody."""
    documents = {path: spec.document_names(node) for path, node in nodes.items()}
    folders: Counter[str] = Counter()
    for key in store.list_prefix():
        owner = _owner_of(key, nodes)
        name = key[len(owner) + 1 :] if owner else key
        if name in documents[owner] or nodes[owner] is None or key.startswith(f"{statistics_path(owner)}/"):
            continue
        if isinstance(nodes[owner], ArrayMetadata):
            if owner in arrays:
                _count_chunk(key, owner, arrays[owner])
        elif "/" in name:
            folders[key[: len(key) - len(name)] + name.partition("/")[0]] += 1
        else:
            problem = "a stray file: no document of the group, and below no array"
            tally.add(owner, "stray files", Finding("warning", key, problem))
    for folder, n in folders.items():
        if as_now(store, folder, spec, None) is not None:
            continue  # somebody has made it meanwhile
        owner = folder.rpartition("/")[0]
        problem = f"a folder that holds keys ({n}) but is neither group nor array"
        tally.add(owner, "folders that are no groups or arrays", Finding("warning", folder, problem))


def _sort_strange(
    store: Store, nodes: Mapping[str, Node | None], arrays: Mapping[str, CheckedArray], tally: Tally
) -> dict[str, str]:
    """Report what lies where keys do and is none: readers refuse it, or pass over it.

    Returns
    -------
    dict of str to str
        What lies in the place of chunks that must be there, as far as these are listed one by one.
    """
    required: dict[str, str] = {}
    for key, what in list_strange(store, folders=True):
        owner = _owner_of(key, nodes)
        array = arrays.get(owner)
        position = None if array is None else array.chunks.position(key)
        if key in nodes:
            continue  # a finding of the document
        if what == FOLDER and (array is None or position is None or not is_inside(position, array.grid)):
            continue
        problem = f"{what}, and no file: nothing of it is read. Remove it, or put a copy of the file in its place"
        if array is not None and position is not None and array.is_required(position):
            if len(required) < MAX_LISTED * len(arrays):
                required[key] = problem  # a finding of the chunk
            continue
        severity: Severity = "warning" if any(others([key])) else "error"
        tally.add(owner, "things that are no files", Finding(severity, key, problem))
    return required


def _count_chunk(key: str, path: str, array: CheckedArray) -> None:
    position = array.chunks.position(key)
    if position is None:
        problem = "a stray file: neither document nor chunk of the array"
        array.found.add(path, "stray files", Finding("warning", key, problem))
    elif not is_inside(position, array.grid):
        problem = f"a chunk outside of the array, which has {array.grid} chunks; it comes back if the array grows"
        array.found.add(path, "chunks outside of the array", Finding("warning", key, problem))
    else:
        array.n_stored += 1
        array.n_required += array.is_required(position)


def _find_missing(store: Store, path: str, array: CheckedArray, strange: Mapping[str, str]) -> None:
    n_missing = prod(array.required) - array.n_required
    array.found.n_absent = prod(array.grid) - array.n_stored - n_missing
    n_listed = 0
    for position in positions(array.required):
        if n_listed == min(n_missing, MAX_LISTED):
            break
        key = array.chunks.key(position)
        try:
            if store.identity(key) is not None:
                continue
            get_at_most(store, key, 0)
            finding = Finding("error", key, strange.get(key, _MISSING))
        except (InvalidKeyError, StoreIOError) as error:  # a link out of the store, a pipe
            finding = finding_of(error, key)
        n_listed += 1
        array.found.add(path, "missing chunks", finding)
    if n_missing > n_listed == MAX_LISTED:
        array.found.add_more(path, "missing chunks", "error", n_missing - n_listed)

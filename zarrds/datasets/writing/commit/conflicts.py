"""Whether a store is still what a save was planned for."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from zarrds.engine.chunk_io import Chunks
from zarrds.errors import ConflictError, StoreExistsError
from zarrds.metadata.extension import is_replaced, without_notes
from zarrds.metadata.model import ArrayMetadata, Formatted, GroupMetadata
from zarrds.metadata.nodes.documents import own_node
from zarrds.storage.protocol import Store, path_below
from zarrds.storage.traits import ask_all

__all__ = [
    "PART_WRITTEN",
    "check_groups",
    "check_not_replaced",
    "check_sizes_of_others",
    "check_versions",
    "leftovers_of",
    "true_of_regions",
]

NOTHING_WRITTEN = "nothing of this save was written"
PART_WRITTEN = "some of the data of this save may be written to its region"
DATA_WRITTEN = "the data of this save was written to its region, but not what it changes in documents"


def check_versions(store: Store, versions: Mapping[str, Hashable], but: Collection[str] = ()) -> None:
    """Check that keys, `but` for some, have the identities that they had when a save was planned.

    Raises
    ------
    ConflictError
    """
    keys = [key for key in versions if key not in but]
    for key, now in zip(keys, ask_all(store, store.identity, keys), strict=True):
        if now != versions[key]:
            raise _conflict(store, key)


def check_groups(store: Store, groups: Mapping[str, GroupMetadata | None], like: Formatted) -> None:
    """Check that groups, by path, are what they were when a save was planned; None stands for nothing.

    Raises
    ------
    ConflictError
    """
    for path, metadata in groups.items():
        now = own_node(store, path, like)
        # what is noted of a group does not lie in its own document
        if isinstance(now, GroupMetadata):
            now = without_notes(now)
        if now != (None if metadata is None else without_notes(metadata)):
            raise _conflict(store, path or "/")


def check_sizes_of_others(
    store: Store, path: str, known: Iterable[str], sizes: Mapping[str, int], like: Formatted
) -> None:
    """Check that arrays that came into a group meanwhile agree with its new sizes.

    Parameters
    ----------
    store : Store
    path : str
        Of the group.
    known : iterable of str
        Names of arrays that were there before, or that the save itself writes.
    sizes : mapping of str to int
        Elements along each dimension, after the save.
    like : Formatted

    Raises
    ------
    ConflictError
    """
    for name in set(store.list_children(path)) - set(known):
        node = own_node(store, path_below(path, name), like)
        if isinstance(node, ArrayMetadata):
            for dim, size in zip(node.dimension_names or (), node.shape, strict=False):
                if dim is not None and sizes.get(dim, size) != size:
                    raise _conflict(store, path_below(path, name))


def _conflict(store: Store, key: str) -> ConflictError:
    return ConflictError(
        f"another writer changed this meanwhile; {NOTHING_WRITTEN}",
        path=store.path,
        key=key,
        mend="Save again",
    )


@contextmanager
def true_of_regions(written: str = DATA_WRITTEN) -> Iterator[None]:
    """Around checks that come after data was written in place: their errors must not say that nothing was."""
    try:
        yield
    except ConflictError as error:
        error.problem = error.problem.replace(NOTHING_WRITTEN, written)
        raise


def leftovers_of(store: Store, arrays: Mapping[str, ArrayMetadata]) -> list[str]:
    """The keys of chunks that stand where new arrays go, and belong to none: they must not become theirs.

    Raises
    ------
    StoreExistsError
        If something else stands there.
    """
    found = []
    for path, metadata in arrays.items():
        chunks = Chunks(store, path, metadata)
        for key in store.list_prefix(path):
            if chunks.position(key) is None:
                raise StoreExistsError(
                    "something stands where a new variable is to be",
                    path=store.path,
                    key=key,
                    mend="Save again if another writer was there first; zarrds.verify tells what else it may be",
                )
            found.append(key)
    return found


def check_not_replaced(store: Store, arrays: Mapping[str, ArrayMetadata]) -> None:
    """Check that data that was written in place went where it belongs; by then it is written, but not in silence.

    Raises
    ------
    ConflictError
    """
    for path, metadata in arrays.items():
        if is_replaced(metadata, own_node(store, path, metadata)):
            raise ConflictError(
                "another writer replaced the array, or its labels, while data was written into it",
                path=store.path,
                key=path,
                mend="Some of the data may be in the new array now: look at it, and save again",
            )

"""Which keys are whose: documents and chunks are a Zarr store's own, all others a user's, and are never deleted.

And which names would be one name to some file systems.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from unicodedata import normalize

from zarrds.errors import InvalidKeyError, StoreExistsError
from zarrds.metadata.nodes.documents import DOCUMENTS
from zarrds.storage.protocol import Store
from zarrds.storage.traits import folds_case

__all__ = ["check_case", "check_nothing_else", "others", "same_but_for_case"]

# with those of NCZarr
_OWN = DOCUMENTS | {".nczarr", ".nczgroup", ".nczarray", ".nczvar"}
_NUMBER = "(?:0|[1-9][0-9]*)"  # as chunks have them: no leading zeros, and no digits of other scripts
# what chunks are called below their array, in both chunk key encodings, with both separators
_CHUNK = re.compile(rf"(?:.*/)?(?:c|{_NUMBER})(?:[/.]{_NUMBER})*\Z", re.DOTALL)  # names may have line feeds
# left behind by programs and systems, of no worth to anybody
_LEFTOVER = re.compile(
    r"\.DS_Store|Thumbs\.db|desktop\.ini|\._.*|\.nfs[0-9a-f]+|.*\.partial|\..*\.zarrds-partial", re.DOTALL
)


def others(keys: Iterable[str]) -> Iterator[str]:
    """Those of some keys that are no document, no chunk, and no leftover of a writer.

    Examples
    --------
    >>> list(others(["zarr.json", "t2m/c/0/1", "t2m/0.1", "README.md", "t2m/plots/c.png", "t2m/2020.01"]))
    ['README.md', 't2m/plots/c.png', 't2m/2020.01']
    """
    for key in keys:
        parts = key.split("/")
        is_own = parts[-1] in _OWN or _CHUNK.match(key) or any(map(_LEFTOVER.fullmatch, parts))
        if not is_own:
            yield key


def check_nothing_else(store: Store, prefix: str = "", keys: Iterable[str] | None = None) -> None:
    """Check that nothing but Zarr lies below a prefix before it is deleted or replaced.

    Parameters
    ----------
    store : Store
    prefix : str
        The path of a group or array; all of the store unless said.
    keys : iterable of str, optional
        All that lies there, where it is known.

    Raises
    ------
    StoreExistsError
        Naming the first key that is a user's.
    """
    found = next(others(store.list_prefix(prefix) if keys is None else keys), None)
    if found is not None:
        raise StoreExistsError(
            "a file that is no part of Zarr would be deleted",
            path=store.path,
            key=found,
            mend="Move it to another place first; zarrds deletes nothing that is not Zarr's",
        )


def same_but_for_case(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of names that differ only in case, in paths or in what they lie in; each pair once.

    Examples
    --------
    >>> list(same_but_for_case(["t2m", "x/a", "T2M", "X/a"]))
    [('t2m', 'T2M'), ('x', 'X')]
    """
    first: dict[str, str] = {}
    seen: set[str] = set()
    for path in paths:
        parts = path.split("/")
        for n in range(1, len(parts) + 1):
            name = "/".join(parts[:n])
            if name in seen:
                continue
            seen.add(name)
            other = first.setdefault("/".join([*parts[: n - 1], _folded(parts[n - 1])]), name)
            if other != name:
                yield other, name


def _folded(name: str) -> str:
    """The same for names that some file systems take for one: in case, and in how accents are put."""
    return normalize("NFC", name.casefold())


def check_case(store: Store, paths: Iterable[str]) -> None:
    """Check that no two new nodes, nor a new one and one that is there, would get the same files.

    Only where the file system takes names that differ only in case for one.

    Parameters
    ----------
    store : Store
    paths : iterable of str
        Of the nodes to write.

    Raises
    ------
    InvalidKeyError
    """
    if not folds_case(store):
        return
    new = [path for path in paths if path]
    parents = {path.rpartition("/")[0] for path in new}
    there = [f"{parent}/{name}".lstrip("/") for parent in parents for name in store.list_children(parent)]
    for one, other in same_but_for_case([*there, *new]):
        raise InvalidKeyError(
            "the names differ only in case (or in how accents are put), and this file system takes them for one",
            path=store.path,
            key=other,
            found=f"{one!r} and {other!r}",
            mend="Rename one of them",
        )

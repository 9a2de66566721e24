"""Which keys are a Zarr store's own: documents and chunks. All others are a user's, and are never deleted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from zarrds.errors import StoreExistsError
from zarrds.metadata import v2, v3
from zarrds.storage.protocol import Store

__all__ = ["check_nothing_else", "others"]

_DOCUMENTS = frozenset(
    {
        v3.NAME,
        v3.NOTES.rpartition("/")[2],
        v2.ARRAY,
        v2.GROUP,
        v2.ATTRIBUTES,
        v2.CONSOLIDATED,
        ".nczarr",
        ".nczgroup",
        ".nczarray",
        ".nczvar",
    }
)
# what chunks are called below their array, in both chunk key encodings, with both separators
_CHUNK = re.compile(r"(?:.*/)?(?:c(?:[/.]\d+)*|\d+(?:[/.]\d+)*)\Z")
# left behind by programs and systems, of no worth to anybody
_LEFTOVER = re.compile(r"\.DS_Store|Thumbs\.db|desktop\.ini|\._.*|\.nfs[0-9a-f]+|.*\.partial|\..*\.zarrds-partial")


def others(keys: Iterable[str]) -> Iterator[str]:
    """Those of some keys that are no document, no chunk, and no leftover of a writer.

    Examples
    --------
    >>> list(others(["zarr.json", "t2m/c/0/1", "t2m/0.1", "README.md", "t2m/plots/c.png"]))
    ['README.md', 't2m/plots/c.png']
    """
    for key in keys:
        parts = key.split("/")
        is_own = parts[-1] in _DOCUMENTS or _CHUNK.match(key) or any(map(_LEFTOVER.fullmatch, parts))
        if not is_own:
            yield key


def check_nothing_else(store: Store, prefix: str = "") -> None:
    """Check that nothing but Zarr lies below a prefix that is to be deleted or replaced.

    Parameters
    ----------
    store : Store
    prefix : str
        The path of a group or array; all of the store unless said.

    Raises
    ------
    StoreExistsError
        Naming the first key that is a user's.
    """
    found = next(others(store.list_prefix(prefix)), None)
    if found is not None:
        raise StoreExistsError(
            "a file that is no part of Zarr would be deleted",
            path=store.path,
            key=found,
            mend="Move it to another place first; zarrds deletes nothing that is not Zarr's",
        )

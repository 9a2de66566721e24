"""Arrays that zarrds keeps in the hidden folder of another array: of format 3, and in no consolidated metadata."""

from __future__ import annotations

from zarrds.errors import MetadataError
from zarrds.metadata.fields import MALFORMED, load
from zarrds.metadata.formats import v3
from zarrds.metadata.model import ArrayMetadata
from zarrds.storage.protocol import Store

__all__ = ["hidden_array", "hidden_document", "hidden_path"]

_FOLDER = v3.NOTES.rpartition("/")[0]


def hidden_path(path: str, name: str) -> str:
    """Where an array of that name lies below the array at `path`.

    Examples
    --------
    >>> hidden_path("t2m", "statistics"), hidden_path("", "statistics")
    ('t2m/.zarrds/statistics', '.zarrds/statistics')
    """
    return "/".join(part for part in (path, _FOLDER, name) if part)


def hidden_array(store: Store, path: str) -> ArrayMetadata | None:
    """The hidden array at a path, None if there is none.

    Raises
    ------
    MetadataError
        If its document is malformed.
    """
    raw = load(store, f"{path}/{v3.NAME}")
    if raw is None:
        return None
    try:
        node = v3.parse(raw)
    except MetadataError:
        raise
    except (RecursionError, *MALFORMED) as error:
        raise MetadataError(f"metadata is malformed: {error}", path=store.path, key=path) from error
    return node if isinstance(node, ArrayMetadata) else None


def hidden_document(path: str, metadata: ArrayMetadata) -> tuple[str, bytes]:
    """The key and bytes of the document of the hidden array at a path."""
    ((key, value),) = v3.documents(path, v3.to_raw(metadata)).items()
    return key, value

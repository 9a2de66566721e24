"""What web servers show of what they have: pages of links, of which no two servers make the same; read by fsspec.

A page is believed to be a listing only if it shows the document that stands there: many servers answer with a page of
their own for what is absent, or for a folder.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
from hashlib import sha256
from typing import Any

from zarrds.errors import StoreIOError
from zarrds.storage.found import Found
from zarrds.storage.fsspec.commits import NODE_DOCUMENTS
from zarrds.storage.fsspec.objects import Objects
from zarrds.storage.fsspec.refusals import does_not_list
from zarrds.threads import side_by_side

__all__ = ["WebListings"]

_BEGINNING = 64  # bytes that tell a document from a page
_LOOKED_AT = 3  # folders
_DEEPEST = 64  # folders in each other; links of a page that is none may lead on and on


class WebListings:
    """The listings of a web server, read with fsspec's client.

    Parameters
    ----------
    client : Objects
    read_at_most : callable, optional
        As that of the client, which is taken unless said.
    """

    def __init__(self, client: Objects, read_at_most: Callable[[str, int], bytes | None] | None = None) -> None:
        self._client = client
        self._read_at_most = read_at_most or client.read_at_most

    def find(self, name: str) -> dict[str, Any]:
        """Return all objects below `name`, and what is told about them.

        Raises
        ------
        StoreIOError
            If the server does not show them.
        """
        if not self._shows_documents(name) and (self._documents(name) or not self._shows_root(name)):
            raise does_not_list(name)
        found: dict[str, Any] = {}
        folders = [name]
        while folders:
            listed = side_by_side(self._entries, folders)
            below = [
                (_below(folder, *entry)) for folder, entries in zip(folders, listed, strict=True) for entry in entries
            ]
            found |= {path: {} for path, is_folder in below if not is_folder}
            folders = [path for path, is_folder in below if is_folder]
        return found

    def found(self, name: str, span: tuple[int, int] | dict[str, int] | None, limit: int | None = None) -> Found | None:
        """An object, or a part of it, from an answer that obstore cannot take; None if there is no such object.

        Of one of more than `limit` bytes it is a little more than that.
        """
        data = self._client.read(name) if limit is None else self._client.read_at_most(name, limit)
        if data is None:
            return None
        # the answer may tell nothing else by which this value could be told from another
        info = {"path": name, "size": len(data), "digest": sha256(data).hexdigest()}
        start, stop = (0, None) if span is None else span if isinstance(span, tuple) else (-span["suffix"], None)
        return Found(memoryview(data)[start:stop], info)

    def folders(self, name: str) -> list[str]:
        """Return the names of the folders directly below `name`; errors as of `find`."""
        entries = self._entries(name)
        folders = [entry for entry, is_folder in entries if is_folder]
        if {entry for entry, _ in entries} & NODE_DOCUMENTS:
            return folders
        if not entries or not (
            self._hides_documents(name, folders) if self._documents(name) else self._shows_root(name)
        ):
            raise does_not_list(name)
        return folders

    def _shows_documents(self, name: str) -> bool:
        return any(entry in NODE_DOCUMENTS for entry, _ in self._entries(name))

    def _entries(self, name: str) -> list[tuple[str, bool]]:
        if name.count("/") >= _DEEPEST:
            raise does_not_list(name, f"{_DEEPEST} folders in each other")
        try:
            entries = self._client.entries(name)
        except StoreIOError as error:
            if error.errno != errno.EACCES:
                raise
            raise does_not_list(name, error.found) from error  # most servers refuse so what they show nobody
        self._check_folders(name, entries)
        return entries

    def _check_folders(self, name: str, entries: list[tuple[str, bool]]) -> None:
        """Raise an error where links to folders look like those to files."""
        names = {entry for entry, _ in entries}
        if any(is_folder for _, is_folder in entries) or not names & NODE_DOCUMENTS or ".zarray" in names:
            return
        others = sorted(entry for entry in names - NODE_DOCUMENTS if not entry.startswith("."))
        # those of the same format: more is asked for nothing below each scalar, whose chunk looks like a folder
        likely = {"zarr.json"} & names | ({".zarray", ".zgroup"} if ".zgroup" in names else set())
        for other in others[:_LOOKED_AT]:
            if self._documents(_below(name, other, True)[0], likely or NODE_DOCUMENTS):
                raise does_not_list(name, "links to folders that look like those to files")

    def _documents(self, name: str, among: Collection[str] = NODE_DOCUMENTS) -> list[str]:
        """The documents that stand at `name`, of some; a page that is sent for what is absent is none."""
        start = f"{name}/" if name else ""

        def is_document(name: str) -> bool:
            return (self._read_at_most(start + name, _BEGINNING) or b"").lstrip()[:1] == b"{"

        documents = sorted(among)
        return [name for name, is_one in zip(documents, side_by_side(is_document, documents), strict=True) if is_one]

    def _hides_documents(self, name: str, folders: list[str]) -> bool:
        """Whether it is a listing without the names that begin with a dot: some folder has a document as well."""
        start = f"{name}/" if name else ""
        return "zarr.json" not in self._documents(name) and any(
            self._documents(start + folder) for folder in folders[:_LOOKED_AT]
        )

    def _shows_root(self, name: str) -> bool:
        """Whether the server lists at all, as far as the root shows it."""
        if not name:
            return bool(self._entries(""))
        return self._shows_documents("") or not self._documents("")


def _below(folder: str, name: str, is_folder: bool) -> tuple[str, bool]:
    return f"{folder}/{name}".lstrip("/"), is_folder

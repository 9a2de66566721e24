"""What web servers show of what they have: pages of links, of which no two servers make the same.

A page is believed to be a listing only if it shows the document that stands there: many servers answer with a page of
their own for what is absent, or for a folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zarrds.storage.fsspec.commits import DOORS
from zarrds.storage.fsspec.objects import Objects
from zarrds.storage.obstore.failures import does_not_list
from zarrds.threads import side_by_side

__all__ = ["WebListings"]

_LOOKED_AT = 3  # folders


class WebListings:
    """The listings of a web server, read with fsspec's client.

    Parameters
    ----------
    client : Objects
    read : callable
        From the name of an object to its value or its beginning; None if it is absent.
    """

    def __init__(self, client: Objects, read: Callable[[str], bytes | None]) -> None:
        self._client = client
        self._read = read

    def find(self, name: str) -> dict[str, Any]:
        """Return all objects below `name`, and what is told about them.

        Raises
        ------
        StoreIOError
            If the server does not show them.
        """
        # first, since links of a page that is none may lead on and on
        if not self._shows_documents(name) and (self._documents(name) or not self._shows_root(name)):
            raise does_not_list(name)
        found: dict[str, Any] = self._client.find(name)
        return found

    def folders(self, name: str) -> list[str]:
        """Return the names of the folders directly below `name`; errors as of `find`."""
        entries = self._client.entries(name)
        folders = [entry for entry, is_folder in entries if is_folder]
        if {entry for entry, _ in entries} & DOORS:
            return folders
        if not entries or not (
            self._hides_documents(name, folders) if self._documents(name) else self._shows_root(name)
        ):
            raise does_not_list(name)
        return folders

    def _shows_documents(self, name: str) -> bool:
        return any(entry in DOORS for entry, _ in self._client.entries(name))

    def _documents(self, name: str) -> list[str]:
        """The documents that stand at `name`; a page that is sent for what is absent is none."""
        start = f"{name}/" if name else ""

        def is_document(door: str) -> bool:
            return (self._read(start + door) or b"").lstrip()[:1] == b"{"

        doors = sorted(DOORS)
        return [door for door, is_one in zip(doors, side_by_side(is_document, doors), strict=True) if is_one]

    def _hides_documents(self, name: str, folders: list[str]) -> bool:
        """Whether it is a listing without the names that begin with a dot: some folder has a document as well."""
        start = f"{name}/" if name else ""
        return "zarr.json" not in self._documents(name) and any(
            self._documents(start + folder) for folder in folders[:_LOOKED_AT]
        )

    def _shows_root(self, name: str) -> bool:
        """Whether the server lists at all, as far as the root shows it."""
        if not name:
            return bool(self._client.entries(""))
        return self._shows_documents("") or not self._documents("")

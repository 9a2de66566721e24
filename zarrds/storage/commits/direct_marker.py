"""Commits whose instant is one conditional put of the root's document: their marker, and what signs documents.

JSON may end in any blanks. Those that a writer adds make each version of a document another value, also where it says
the same, and tell whose it is: servers may take digests of the content for ETags.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zarrds.storage.protocol import check_key

__all__ = ["DirectMarker", "is_signed", "new_write", "signed"]

_KIND = "growing"  # as docs/spec.md has it
_MEMBERS = ("owner", "folder", "root", "write", "documents", "replaces")
_BLANK = b" \n\r\t"
_WRITE = re.compile(r"[0-9a-f]{16}\Z")


@dataclass(frozen=True, slots=True)
class DirectMarker:
    """What the marker of such a commit says.

    Attributes
    ----------
    owner : str
        The process that began.
    folder : str
        Below which it gives heartbeats.
    root : str
        The key whose put is the commit.
    write : str
        16 hexadecimal digits that no other write has.
    documents : mapping of str to str
        What is put in place behind the root's document, by key.
    replaces : bool
        Whether keys are removed then, which a list in the folder names.
    """

    owner: str
    folder: str
    root: str
    write: str
    documents: Mapping[str, str]
    replaces: bool = False

    def dump(self) -> bytes:
        """The marker's value."""
        members = {name: getattr(self, name) for name in _MEMBERS}
        return json.dumps({"kind": _KIND, **members}).encode()

    @classmethod
    def of(cls, found: Any) -> DirectMarker | None:
        """Of a marker that was parsed; None for another kind. Raises ValueError, TypeError or KeyError if malformed."""
        if not isinstance(found, dict) or found.get("kind") != _KIND:
            return None
        owner, folder, write, documents = (found[name] for name in ("owner", "folder", "write", "documents"))
        if not (isinstance(owner, str) and isinstance(folder, str) and isinstance(write, str)):
            raise TypeError("a name is no text")
        if not _WRITE.match(write):
            raise ValueError(f"write is {write!r:.80}")
        if not isinstance(documents, dict) or not all(isinstance(text, str) for text in documents.values()):
            raise TypeError("documents are no texts by key")
        checked = {check_key(key): text for key, text in documents.items()}
        for text in documents.values():
            text.encode()  # a ValueError for what is no Unicode
        replaces = found.get("replaces", False)
        if not isinstance(replaces, bool):
            raise TypeError(f"replaces is {replaces!r:.80}")
        return cls(owner, folder, check_key(found["root"]), write, checked, replaces)


def new_write() -> str:
    """The id of a write, which no other one has."""
    return secrets.token_hex(8)


def signed(document: bytes, write: str) -> bytes:
    """A JSON document with the blanks of a write at its end."""
    return document.rstrip(_BLANK) + _blanks(write)


def is_signed(document: bytes, write: str) -> bool:
    """Whether a document ends in the blanks of a write."""
    return document.endswith(_blanks(write))


def _blanks(write: str) -> bytes:
    """64 spaces and newlines, one for each bit."""
    return f"{int(write, 16):064b}".replace("0", " ").replace("1", "\n").encode()

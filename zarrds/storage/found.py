"""What is told of an object in object storage, which of its values one has seen, and what is put over just that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["ConditionalObjects", "Found", "Info", "Version", "is_same_version", "version_of"]

Info = Mapping[str, Any]
Version = Mapping[str, Any]  # of an object's value: its ``e_tag`` and, at Google's, its ``version``


@dataclass(frozen=True, slots=True)
class Found:
    """What was read of an object.

    Attributes
    ----------
    data : memoryview
    info : mapping
        What the answer told about the whole object.
    """

    data: memoryview
    info: Info


def version_of(info: Info) -> Version:
    """What `ConditionalObjects.put_if` needs to know of an object that was read."""
    return {"e_tag": info.get("e_tag"), "version": info.get("version")}


def is_same_version(one: Version | None, other: Version | None) -> bool:
    """Whether two answers tell of the same value; not each of them must tell all that the other does."""
    if one is None or other is None:
        return one is other
    pairs = [(one.get(name), other.get(name)) for name in ("e_tag", "version")]
    told = [pair for pair in pairs if None not in pair]
    return bool(told) and all(a == b for a, b in told)


class ConditionalObjects(Protocol):
    """Objects that are put only over what was seen of them, as `zarrds.storage.traits.has_trait` asks for it.

    Where they cannot be, as through fsspec, it is noticed less what other machines do meanwhile.
    """

    def put_if(self, name: str, value: bytes, expected: Version | None, *, is_once: bool = False) -> Version:
        """Make `value` what an object holds, if it is still what it was; return the version that it has then.

        An answer that was lost is found out: what holds `value` already is taken to have been put.

        Parameters
        ----------
        name : str
        value : bytes
        expected : Version or None
            Of the object as it was seen; None if there was none.
        is_once : bool
            Not to repeat the request where it fails, which the caller does.

        Raises
        ------
        ValueChangedError
            If another writer has changed it since; or if the server refuses though it is the same, which it says.
        """
        ...

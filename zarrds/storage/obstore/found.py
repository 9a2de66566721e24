"""What is told of an object in object storage, and which of its values one has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Found", "Info", "Version", "version_of"]

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
    """What `ObstoreObjects.put_if` needs to know of an object that was read."""
    return {"e_tag": info.get("e_tag"), "version": info.get("version")}

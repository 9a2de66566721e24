"""Integers that a netCDF file has as an enumeration: in Zarr they are integers, and the names of values are noted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrds.metadata.extension import ENUMERATION, note_of
from zarrds.metadata.fields import JSONObject
from zarrds.metadata.model import ArrayMetadata

__all__ = ["Enumeration", "enumeration_of", "noted_enumeration", "with_names"]


@dataclass(frozen=True, slots=True)
class Enumeration:
    """A type of netCDF.

    Attributes
    ----------
    name : str
    members : mapping of str to int
        The values, by their names.
    """

    name: str
    members: Mapping[str, int]

    def to_json(self) -> JSONObject:
        """As it is noted."""
        return {"name": self.name, "members": dict(self.members)}


def enumeration_of(encoding: Mapping[str, Any]) -> Enumeration | None:
    """What an encoding that came along says of an enumeration in a netCDF file; None if nothing.

    Examples
    --------
    >>> dtype = np.dtype("u1", metadata={"enum": {"clear": 0}, "enum_name": "cloud"})
    >>> enumeration_of({"dtype": dtype})
    Enumeration(name='cloud', members={'clear': 0})
    """
    dtype = encoding.get("dtype")
    if not isinstance(dtype, np.dtype) or dtype.kind not in "iu" or dtype.metadata is None:
        return None
    return _checked(dtype.metadata.get("enum_name"), dtype.metadata.get("enum"), dtype)


def _checked(name: Any, members: Any, dtype: np.dtype[Any]) -> Enumeration | None:
    """What is said of an enumeration, if that can be one of such integers."""
    if not isinstance(name, str) or not isinstance(members, Mapping) or not members:
        return None
    limits = np.iinfo(dtype)
    for key, value in members.items():
        is_number = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not isinstance(key, str) or not is_number or not limits.min <= value <= limits.max:
            return None
    return Enumeration(name, {key: int(value) for key, value in members.items()})


def noted_enumeration(metadata: ArrayMetadata) -> Enumeration | None:
    """What is noted of an array of integers; None if that is nothing, or does not fit."""
    dtype = metadata.data_type.dtype
    if dtype.kind not in "iu" or not isinstance(note := note_of(metadata, ENUMERATION), dict):
        return None
    return _checked(note.get("name"), note.get("members"), dtype)


def with_names(encoding: Mapping[str, Any], metadata: ArrayMetadata) -> dict[str, Any]:
    """The encoding of an opened array, so that xarray makes the enumeration of netCDF of it again, if it was such."""
    if (noted := noted_enumeration(metadata)) is None:
        return dict(encoding)
    names: Any = {"enum": dict(noted.members), "enum_name": noted.name}  # as xarray's netCDF engines have them
    return {**encoding, "dtype": np.dtype(metadata.data_type.dtype, metadata=names)}

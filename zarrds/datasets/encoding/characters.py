"""Text that a netCDF file has as characters: in Zarr it is text, and what that file called them is noted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrds.metadata.extension import note_of
from zarrds.metadata.fields import JSONObject
from zarrds.metadata.model import ArrayMetadata

__all__ = ["CHARACTERS", "OF_CHARACTERS", "Characters", "characters_of", "encoding_of_text", "noted_characters"]

# the note of text and bytes that are characters in netCDF
CHARACTERS = "characters"
# what it stands for in an encoding
OF_CHARACTERS = frozenset({"char_dim_name", "dtype", "_Encoding"})
_CHARACTER = np.dtype("S1")


@dataclass(frozen=True, slots=True)
class Characters:
    """How a netCDF file has text.

    Attributes
    ----------
    dimension : str
        The name of the last dimension there.
    length : int
        Its size.
    encoding : str or None
        Of text: ``utf-8``, for example.
    """

    dimension: str
    length: int
    encoding: str | None = None

    def to_json(self) -> JSONObject:
        """As it is noted."""
        text = {} if self.encoding is None else {"encoding": self.encoding}
        return {"dimension": self.dimension, "length": self.length, **text}


def characters_of(encoding: Mapping[str, Any]) -> Characters | None:
    """What an encoding that came along says of characters in a netCDF file; None if nothing.

    Examples
    --------
    >>> characters_of({"dtype": np.dtype("S1"), "char_dim_name": "strlen", "original_shape": (3, 8)})
    Characters(dimension='strlen', length=8, encoding=None)
    """
    name, shape, text = (encoding.get(key) for key in ("char_dim_name", "original_shape", "_Encoding"))
    if not isinstance(name, str) or not isinstance(shape, tuple) or not shape or not _is_single(encoding.get("dtype")):
        return None
    return Characters(name, int(shape[-1]), text if isinstance(text, str) else None)


def _is_single(dtype: Any) -> bool:
    try:
        return dtype is not None and np.dtype(dtype) == _CHARACTER
    except TypeError:
        return False


def noted_characters(metadata: ArrayMetadata) -> Characters | None:
    """What is noted of an array of text or bytes; None if that is nothing, or not well-formed."""
    if metadata.data_type.dtype.kind not in "SO" or not isinstance(note := note_of(metadata, CHARACTERS), dict):
        return None
    name, length, text = note.get("dimension"), note.get("length"), note.get("encoding")
    if not isinstance(name, str) or type(length) is not int or length < 0 or not isinstance(text, str | None):
        return None
    return Characters(name, length, text)


def encoding_of_text(metadata: ArrayMetadata) -> dict[str, Any]:
    """What the encoding of an opened array says so that xarray makes the characters of netCDF of it again, if anything.

    By the `original_shape` xarray sees that their dimension has another size by now, and gives it another name.
    """
    if (noted := noted_characters(metadata)) is not None:
        text = {} if noted.encoding is None else {"_Encoding": noted.encoding}
        shape = (*metadata.shape, noted.length)
        return {"dtype": _CHARACTER, "char_dim_name": noted.dimension, "original_shape": shape, **text}
    are_characters = metadata.data_type.dtype == _CHARACTER and "_Encoding" in metadata.attributes
    return {"original_shape": metadata.shape} if are_characters else {}

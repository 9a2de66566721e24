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
    fill_value : str or None
        The character that stands where nothing was written.
    """

    dimension: str
    length: int
    encoding: str | None = None
    fill_value: str | None = None

    def to_json(self) -> JSONObject:
        """As it is noted."""
        text = {} if self.encoding is None else {"encoding": self.encoding}
        fill_value = {} if self.fill_value is None else {"fill_value": self.fill_value}
        return {"dimension": self.dimension, "length": self.length, **text, **fill_value}


def characters_of(encoding: Mapping[str, Any]) -> Characters | None:
    """What an encoding that came along says of characters in a netCDF file; None if nothing.

    Examples
    --------
    >>> characters_of({"dtype": np.dtype("S1"), "char_dim_name": "strlen", "original_shape": (3, 8)})
    Characters(dimension='strlen', length=8, encoding=None, fill_value=None)
    """
    shape = encoding.get("original_shape")
    if not isinstance(shape, tuple) or not shape or not _is_single(encoding.get("dtype")):
        return None
    length = int(shape[-1]) if isinstance(shape[-1], np.integer) else shape[-1]
    fill_value = encoding.get("_FillValue")
    character = fill_value.decode("latin-1") if isinstance(fill_value, bytes) else None
    return _checked(encoding.get("char_dim_name"), length, encoding.get("_Encoding"), character)


def _checked(name: Any, length: Any, text: Any, character: Any) -> Characters | None:
    """What is said of characters, if that can be."""
    if not isinstance(name, str) or type(length) is not int or length < 0:
        return None
    is_character = isinstance(character, str) and len(character) == 1 and character <= "\xff"
    encoding = text if isinstance(text, str) and _is_encoding(text) else None
    return Characters(name, length, encoding, character if is_character else None)


def _is_encoding(name: str) -> bool:
    """Whether text can be encoded so, with ASCII as single bytes: readers of netCDF join and split them."""
    try:
        return "a".encode(name) == b"a"
    except (LookupError, ValueError):
        return False


def _is_single(dtype: Any) -> bool:
    try:
        return dtype is not None and np.dtype(dtype) == _CHARACTER
    except TypeError:
        return False


def noted_characters(metadata: ArrayMetadata) -> Characters | None:
    """What is noted of an array of text or bytes; None if that is nothing, or not well-formed."""
    if metadata.data_type.dtype.kind not in "SOU" or not isinstance(note := note_of(metadata, CHARACTERS), dict):
        return None
    return _checked(note.get("dimension"), note.get("length"), note.get("encoding"), note.get("fill_value"))


def encoding_of_text(
    encoding: Mapping[str, Any], metadata: ArrayMetadata, group: Mapping[str, ArrayMetadata]
) -> dict[str, Any]:
    """The encoding of an opened array, so that xarray makes the characters of netCDF of it again, if it was such.

    By the `original_shape` xarray sees that their dimension has another size by now, and gives it another name. Where
    the `group` has something of that name by now, an array or a dimension, it would be taken for the characters.
    """
    noted = noted_characters(metadata)
    if noted is not None and not any(noted.dimension in (name, *_dimensions(each)) for name, each in group.items()):
        text: dict[str, Any] = {} if noted.encoding is None else {"_Encoding": noted.encoding}
        if noted.fill_value is not None and not text:  # which xarray cannot write beside an encoding
            text["_FillValue"] = np.bytes_(noted.fill_value.encode("latin-1"))
        shape = (*metadata.shape, noted.length)
        # no serializer of text: bytes are made of it
        kept = {key: value for key, value in encoding.items() if key != "serializer"}
        return {**kept, "dtype": _CHARACTER, "char_dim_name": noted.dimension, "original_shape": shape, **text}
    are_characters = metadata.data_type.dtype == _CHARACTER and "_Encoding" in metadata.attributes
    return {**encoding, **({"original_shape": metadata.shape} if are_characters else {})}


def _dimensions(metadata: ArrayMetadata) -> tuple[str | None, ...]:
    return metadata.dimension_names or ()

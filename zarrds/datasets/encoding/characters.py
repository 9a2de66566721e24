"""Text that a netCDF file has as characters: in Zarr it is text, and what that file called them is noted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zarrds.metadata.extension import PANDAS, note_of
from zarrds.metadata.fields import JSONObject, Raw
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
    dimension : str or None
        The name of the last dimension there; None of single characters, which have none of their own.
    length : int
        Its size.
    encoding : str or None
        Of text: ``utf-8``, for example.
    fill_value : str or None
        The character that stands where nothing was written.
    """

    dimension: str | None
    length: int
    encoding: str | None = None
    fill_value: str | None = None

    def to_json(self) -> JSONObject:
        """As it is noted."""
        said: Raw = {} if self.dimension is None else {"dimension": self.dimension, "length": self.length}
        if self.encoding is not None:
            said["encoding"] = self.encoding
        if self.fill_value is not None:
            said["fill_value"] = self.fill_value
        return said


def characters_of(encoding: Mapping[str, Any]) -> Characters | None:
    """What an encoding that came along says of characters in a netCDF file; None if nothing.

    Examples
    --------
    >>> characters_of({"dtype": np.dtype("S1"), "char_dim_name": "strlen", "original_shape": (3, 8)})
    Characters(dimension='strlen', length=8, encoding=None, fill_value=None)
    """
    if not _is_single(encoding.get("dtype")):
        return None
    shape = encoding.get("original_shape")
    length = shape[-1] if isinstance(shape, tuple) and shape else None
    length = int(length) if isinstance(length, np.integer) else length
    fill_value = encoding.get("_FillValue")
    character = fill_value.decode("latin-1") if isinstance(fill_value, bytes) else None
    return _checked(encoding.get("char_dim_name"), length, encoding.get("_Encoding"), character)


def _checked(name: Any, length: Any, text: Any, character: Any) -> Characters | None:
    """What is said of characters, if that can be."""
    is_character = isinstance(character, str) and len(character) == 1 and character <= "\xff"
    if name is None and is_character:
        return Characters(None, 1, None, character)
    if not isinstance(name, str) or not name or type(length) is not int or length < 0:
        return None
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
    noted = _checked(note.get("dimension"), note.get("length"), note.get("encoding"), note.get("fill_value"))
    if noted is None or noted.dimension is not None or not isinstance(kind := note_of(metadata, PANDAS), dict):
        return noted
    # by now another may stand for what is missing, as that of the file is among the characters that were added
    return _checked(None, 1, None, kind.get("missing", noted.fill_value)) or noted


def encoding_of_text(
    encoding: Mapping[str, Any], metadata: ArrayMetadata, group: Mapping[str, ArrayMetadata]
) -> dict[str, Any]:
    """The encoding of an opened array, so that xarray makes the characters of netCDF of it again, if it was such.

    By the `original_shape` xarray sees that their dimension has another size by now, and gives it another name. Where
    the `group` has something of that name by now, an array or a dimension, it would be taken for the characters.
    """
    noted = noted_characters(metadata)
    if noted is not None and noted.dimension is None:
        is_single = metadata.data_type.dtype == _CHARACTER
        return {**encoding, **({"dtype": _CHARACTER, "_FillValue": _as_bytes(noted)} if is_single else {})}
    if noted is not None and not any(noted.dimension in (name, *_dimensions(each)) for name, each in group.items()):
        text: dict[str, Any] = {} if noted.encoding is None else {"_Encoding": noted.encoding}
        if noted.fill_value is not None and not text:  # which xarray cannot write beside an encoding
            text["_FillValue"] = _as_bytes(noted)
        shape = (*metadata.shape, noted.length)
        # no serializer of text: bytes are made of it
        kept = {key: value for key, value in encoding.items() if key != "serializer"}
        return {**kept, "dtype": _CHARACTER, "char_dim_name": noted.dimension, "original_shape": shape, **text}
    are_characters = metadata.data_type.dtype == _CHARACTER and "_Encoding" in metadata.attributes
    return {**encoding, **({"original_shape": metadata.shape} if are_characters else {})}


def _dimensions(metadata: ArrayMetadata) -> tuple[str | None, ...]:
    return metadata.dimension_names or ()


def _as_bytes(noted: Characters) -> np.bytes_:
    return np.bytes_((noted.fill_value or "").encode("latin-1"))

"""What the arrays of a copy look like: other chunks, shards and codecs, all else as it was."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from zarrds.arguments import nearest
from zarrds.arrays.layout import new_array_metadata
from zarrds.datasets.encoding.codecs import choose_codecs
from zarrds.errors import EncodingError, VariableNotFoundError
from zarrds.metadata.extension import Marks, marks_of, new_id, with_marks
from zarrds.metadata.formats import spec_of
from zarrds.metadata.model import ArrayMetadata

__all__ = ["ByDimension", "check_names", "choices_for", "is_same_chunk", "laid_out", "marked_anew"]

ByDimension: TypeAlias = Mapping[Hashable, int] | None

_KEYS = ("chunks", "shards", "compressors", "filters", "serializer")


def check_names(
    encoding: Mapping[Any, Any], arrays: Iterable[str], by_dimension: Iterable[ByDimension], dims: set[Any]
) -> None:
    """Check that everything that is asked for is of a variable or a dimension that there is.

    Raises
    ------
    VariableNotFoundError, EncodingError
    """
    known = list(arrays)
    for name, asked in encoding.items():
        if name not in known:
            raise VariableNotFoundError(
                "encoding is for a variable that is not there", key=str(name), mend=nearest(name, known)
            )
        unknown = set(asked) - set(_KEYS)
        if unknown:
            raise EncodingError(
                "only the layout of stored data can be changed without changing it",
                key=str(name),
                expected=", ".join(_KEYS),
                found=", ".join(sorted(map(str, unknown))),
                mend="For another dtype, packing or units open the dataset and save it with that encoding",
            )
    for choice in by_dimension:
        strange = sorted(map(str, set(choice or ()) - dims))
        if strange:
            raise EncodingError(
                "chunks or shards are for a dimension that is not there",
                found=", ".join(strange),
                mend=nearest(strange[0], dims),
            )


def choices_for(
    path: str, metadata: ArrayMetadata, chunks: ByDimension, shards: ByDimension, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """What is asked for of one array: ``chunks``, ``shards`` and codecs, in the array's own order of dimensions.

    What is asked for by dimension leaves labels as they are, which are read whole, and puts no chunks into shards that
    are smaller.
    """
    names = metadata.dimension_names or (None,) * len(metadata.shape)
    inner = metadata.inner().chunks
    found: dict[str, Any] = {key: asked[key] for key in _KEYS if key in asked}
    is_labels = names == (path.rpartition("/")[2],)
    for key, by_dimension in (("chunks", chunks), ("shards", shards)):
        if key not in asked and by_dimension and not is_labels and set(by_dimension) & set(names):
            found[key] = dict(by_dimension)
        if isinstance(found.get(key), Mapping):
            now = inner if key == "chunks" else _shards_for(metadata, found.get("chunks", inner))
            found[key] = tuple(found[key].get(name, size) for name, size in zip(names, now, strict=True))
    if "shards" in found and "shards" not in asked:
        smallest = zip(found["shards"], found.get("chunks", inner), strict=True)
        if any(-1 != shard < chunk for shard, chunk in smallest):
            del found["shards"]
    return found


def _shards_for(metadata: ArrayMetadata, chunks: Any) -> tuple[int, ...]:
    """The shards along dimensions of which none is asked for: those that there are, in whole new chunks, or one."""
    inner, _, outer = metadata.inner()
    if not (isinstance(chunks, tuple | list) and len(chunks) == len(inner) and all(type(n) is int for n in chunks)):
        return outer or inner
    new = [max(1, size) if chunk == -1 else chunk for chunk, size in zip(chunks, metadata.shape, strict=True)]
    if outer is None:
        return tuple(new)
    return tuple(-(-shard // max(chunk, 1)) * max(chunk, 1) for shard, chunk in zip(outer, new, strict=True))


def laid_out(metadata: ArrayMetadata, choices: Mapping[str, Any]) -> ArrayMetadata:
    """The metadata of the copy.

    Raises
    ------
    EncodingError
        For chunks or codecs that do not fit the array.
    """
    if not choices:
        return metadata
    inner, codecs, shards = metadata.inner()
    if any(key in choices for key in _KEYS[2:]):
        codecs = tuple(choose_codecs(choices, metadata.data_type, spec_of(metadata)))
    chunks = choices.get("chunks", inner)
    shards = choices.get("shards", shards if "chunks" not in choices else None)
    made = new_array_metadata(
        shape=metadata.shape,
        dtype=metadata.data_type,
        chunks=chunks,
        shards=shards,
        codecs=codecs,
        fill_value=metadata.fill_value,
        dimension_names=metadata.dimension_names,
        attributes=metadata.attributes,
        zarr_format=metadata.zarr_format,
        chunk_key_encoding=metadata.chunk_key_encoding,
        null_fill_value=metadata.fill_value is None,
    )
    return replace(made, extensions=metadata.extensions)


def is_same_chunk(one: ArrayMetadata, other: ArrayMetadata) -> bool:
    """Whether a chunk (or inner chunk) of one array is byte for byte one of the other."""
    return one.inner()[:2] == other.inner()[:2] and one.data_type == other.data_type


def marked_anew(before: ArrayMetadata, after: ArrayMetadata, *, is_decoded: bool) -> ArrayMetadata:
    """The metadata of a copy with a name of its own, and with how much of it was certainly written.

    Parameters
    ----------
    before, after : ArrayMetadata
    is_decoded : bool
        Whether all of it was read and written: an absent chunk of the source is then one of fill values in the copy.
    """
    marks = marks_of(before)
    complete = after.shape if is_decoded else marks.complete
    # single bytes with a name are no characters of text, as another writer's are
    is_nameless = marks.id is None and after.data_type.dtype == np.dtype("S1") and "_Encoding" not in after.attributes
    return with_marks(after, Marks(id=None if is_nameless else new_id(), complete=complete))

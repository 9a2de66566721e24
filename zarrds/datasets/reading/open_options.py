"""What users ask of a store that they open: the keywords of `xr.open_dataset` with ``engine="zarrds"``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, TypeAlias, get_args

from zarrds.arguments import check_choice, check_texts
from zarrds.compat.xarray_opening import wants_default_indexes
from zarrds.datasets.reading.notes import Closed
from zarrds.datasets.reading.strange import PhonyDims
from zarrds.errors import EncodingError
from zarrds.labels import INDEX_THRESHOLD
from zarrds.metadata.model import ZarrFormat
from zarrds.storage.locate import CACHE_SIZE

__all__ = ["IndexOptions", "OpenOptions", "with_parameters"]

IndexKind: TypeAlias = Literal["auto", "pandas", "lazy", "none"]


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """What is asked of indexes; the names are those of `xr.open_dataset`.

    `are_made` is its ``create_default_indexes``: False for no index at all, None where it is not known.

    Raises
    ------
    EncodingError
    """

    index: IndexKind = "auto"
    index_threshold: int = INDEX_THRESHOLD
    are_made: bool | None = True

    def __post_init__(self) -> None:
        asked: object = self.index  # whatever its type says
        if not isinstance(asked, str) or asked not in get_args(IndexKind):
            raise EncodingError(
                "unknown index", expected="'auto', 'pandas', 'lazy' or 'none'", found=f"{self.index!r:.80}"
            )
        if type(self.index_threshold) is not int or self.index_threshold < 0:
            raise EncodingError(
                "index_threshold must be a number of labels, at least 0", found=f"{self.index_threshold!r:.80}"
            )

    def is_lazy(self, size: int) -> bool:
        """Whether to search so many labels where they lie, if possible."""
        return self.index == "lazy" or (self.index == "auto" and size > self.index_threshold)


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """What the functions of the backend take by name, declared nowhere else; see `ZarrdsBackendEntrypoint`."""

    mask_and_scale: bool | Mapping[str, bool] = True
    decode_times: Any = True
    concat_characters: bool | Mapping[str, bool] = True
    decode_coords: Any = True
    drop_variables: str | Iterable[str] | None = None
    use_cftime: bool | Mapping[str, bool] | None = None
    decode_timedelta: Any = None
    group: str | None = None
    consolidated: bool | None = None
    zarr_format: ZarrFormat | None = None
    use_zarr_fill_value_as_mask: bool | None = None
    missing_chunks: Literal["error", "fill"] | None = None
    index: IndexKind = "auto"
    index_threshold: int = INDEX_THRESHOLD
    intervals: Mapping[str, Closed] | None = None
    storage_options: Mapping[str, Any] | None = None
    chunk_cache: int | None = None
    workers: int | None = None
    phony_dims: PhonyDims = None
    local_cache: str | os.PathLike[str] | None = None
    cache_size: int = CACHE_SIZE

    @classmethod
    def of(cls, function: str, options: Mapping[str, Any]) -> Self:
        """The options of a call; raises `TypeError` as Python does for keywords that a function does not have."""
        if unknown := [name for name in options if name not in cls.__dataclass_fields__]:
            raise TypeError(f"{function}() got an unexpected keyword argument {unknown[0]!r}")
        return cls(**options)

    @property
    def root(self) -> str:
        """The path of the group."""
        check_texts(group=self.group)
        return (self.group or "").strip("/")

    @property
    def indexes(self) -> IndexOptions:
        """What labels become."""
        return IndexOptions(self.index, self.index_threshold, are_made=wants_default_indexes())

    @property
    def decoders(self) -> dict[str, Any]:
        """What xarray's decoders are told."""
        check_choice((True, False, None, "coordinates", "all"), decode_coords=self.decode_coords)
        names = (
            "mask_and_scale",
            "decode_times",
            "concat_characters",
            "decode_coords",
            "use_cftime",
            "decode_timedelta",
        )
        return {name: getattr(self, name) for name in names}


def with_parameters(function: Any) -> None:
    """Give a function that takes options by ``**`` the signature that it has, for xarray and ``help``."""
    own = inspect.signature(function)
    named = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type)
        for each in fields(OpenOptions)
    ]
    function.__signature__ = own.replace(parameters=[*list(own.parameters.values())[:-1], *named])

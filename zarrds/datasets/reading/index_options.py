"""What the user asks of indexes when a dataset is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from zarrds.errors import EncodingError
from zarrds.labels import INDEX_THRESHOLD

__all__ = ["IndexKind", "IndexOptions"]

IndexKind: TypeAlias = Literal["auto", "pandas", "lazy", "none"]


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """The names are those of `xr.open_dataset`.

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

"""Categoricals: codes, and the categories beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from zarrds.errors import LabelError
from zarrds.labels.kinds.plain import Array, Description, Labels, Like, Plain, misfit, other_kind
from zarrds.metadata.dtypes import JSON

__all__ = ["CATEGORY", "restore_categories", "store_categories"]

CATEGORY = re.compile("category")
# more would make the document longer than the codes
_MAX_FLAGS = 1000
# what CF allows in flag_meanings
_WORD = re.compile(r"[A-Za-z0-9_\-.+@]+")


def store_categories(labels: pd.CategoricalIndex, like: Like | None, nested: Callable[[Labels], Plain]) -> Plain:
    """Codes (-1 where a label is missing), and, unless the store has them, the categories as their companion.

    Parameters
    ----------
    labels : CategoricalIndex
    like : Like, optional
        With the categories of the store.
    nested : callable
        Stores the categories, which are labels of any kind.

    Raises
    ------
    LabelError
        For a category that the store does not have, and for another order of categories.
    """
    if like is not None:
        known = like.categories if like.categories is not None else pd.Index([])
        return Plain(_codes_in(known, labels, like), dict(like.description), _attributes(known))
    description: dict[str, JSON] = {"dtype": "category", "ordered": bool(labels.ordered)}
    companions = {"categories": nested(labels.categories)}
    return Plain(np.asarray(labels.codes), description, _attributes(labels.categories), companions=companions)


def _attributes(categories: Labels) -> dict[str, JSON]:
    """What readers of CF are told of the codes."""
    attributes: dict[str, JSON] = {"_FillValue": -1}
    if 0 < len(categories) <= _MAX_FLAGS and all(isinstance(c, str) and _WORD.fullmatch(c) for c in categories):
        attributes |= {"flag_values": list(range(len(categories))), "flag_meanings": " ".join(categories)}
    return attributes


def _codes_in(known: Labels, labels: pd.CategoricalIndex, like: Like) -> Array:
    """The codes of labels among the categories of the store."""
    if bool(labels.ordered) != like.description.get("ordered"):
        raise other_kind(like, labels.dtype, problem="categories are ordered either here or in the store")
    # not get_indexer, which refuses intervals that overlap
    positions = {category: position for position, category in enumerate(known)}
    found = np.array([positions.get(category, -1) for category in labels.categories], np.int64)
    if labels.ordered and (np.diff(found[found >= 0]) < 0).any():
        raise other_kind(like, labels.dtype, problem="categories have another order than the store's")
    codes = np.asarray(labels.codes)
    # the last is what code -1 picks
    mapped = np.append(found, -1)[codes]
    new = np.unique(codes[(mapped < 0) & (codes >= 0)])
    if new.size:
        raise LabelError(
            "categories are not among the store's",
            expected=f"some of {len(known)} categories",
            found=[str(category) for category in labels.categories[new[:5]]],
            mend="Save the variable anew with all categories (see Categorical.add_categories)",
        )
    return np.asarray(pd.Categorical.from_codes(mapped, categories=known).codes)


def restore_categories(description: Description, values: Array, companions: Mapping[str, Any]) -> Labels:
    """The index that `store_categories` was given."""
    ordered, categories = description.get("ordered"), companions.get("categories")
    if not isinstance(ordered, bool):
        raise misfit("description does not tell whether categories are ordered", found=f"{ordered!r:.80}")
    if not isinstance(categories, pd.Index) or isinstance(categories, pd.MultiIndex):
        raise misfit("the categories are missing", found=type(categories).__name__)
    if not categories.is_unique or categories.hasnans:
        raise misfit("categories are not unique, or some are missing")
    if values.dtype.kind not in "iu":
        raise misfit("array does not hold the codes that are described", expected="integers", found=values.dtype)
    if values.size and (values.max() >= len(categories) or values.min() < -1):
        raise misfit(
            "codes have no category",
            expected=f"-1 to {len(categories) - 1}",
            found=f"{values.min()} to {values.max()}",
        )
    codes = values.astype(np.int64)
    return pd.CategoricalIndex(pd.Categorical.from_codes(codes, categories=categories.rename(None), ordered=ordered))

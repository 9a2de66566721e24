"""Categoricals: codes, and the categories beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from zarrds.errors import LabelError
from zarrds.labels.kinds.plain import Array, Description, Labels, Plain, StoredKind, mismatch, other_kind
from zarrds.metadata.fields import Raw

__all__ = ["CATEGORY", "category_options", "check_categories", "restore_categories", "store_categories"]

CATEGORY = re.compile("category")
# more would make the document longer than the codes
_MAX_FLAGS = 1000
# what CF allows in flag_meanings
_WORD = re.compile(r"[A-Za-z0-9_\-.+@]+")


def store_categories(
    labels: pd.CategoricalIndex, like: StoredKind | None, nested: Callable[[Labels, StoredKind | None], Plain]
) -> Plain:
    """Codes (-1 where a label is missing), and, as their companion, those categories that the store does not have.

    Parameters
    ----------
    labels : CategoricalIndex
    like : StoredKind, optional
        With the categories of the store.
    nested : callable
        Stores the categories, which are labels of any kind.

    Raises
    ------
    LabelError
        For a category that the store does not have, unless it may be added behind those that it has; and for another
        order of categories.
    """
    if like is not None:
        known = like.categories if like.categories is not None else pd.Index([])
        new = _new_categories(known, labels, like)
        try:
            every = known.append(new) if len(known) and len(new) else new if len(new) else known
        except (ValueError, OverflowError) as error:  # OutOfBoundsDatetime
            problem = f"categories are times that no unit holds together with those of the store: {error}"
            raise other_kind(like, labels.dtype, problem=problem) from error
        added = {"categories": nested(new, like.of_categories)} if len(new) else {}
        return Plain(_codes_in(every, labels), dict(like.description), _attributes(every), companions=added)
    description: Raw = {"dtype": "category", "ordered": bool(labels.ordered)}
    companions = {"categories": nested(labels.categories, None)}
    return Plain(np.asarray(labels.codes), description, _attributes(labels.categories), companions=companions)


def _attributes(categories: Labels) -> Raw:
    """What readers of CF are told of the codes."""
    attributes: Raw = {"_FillValue": -1}
    if 0 < len(categories) <= _MAX_FLAGS and all(isinstance(c, str) and _WORD.fullmatch(c) for c in categories):
        attributes |= {"flag_values": list(range(len(categories))), "flag_meanings": " ".join(categories)}
    return attributes


def _new_categories(known: Labels, labels: pd.CategoricalIndex, like: StoredKind) -> Labels:
    """Categories that labels have and the store has not, in their order; they go behind the stored ones."""
    if bool(labels.ordered) != like.description.get("ordered"):
        words = {True: "ordered categories", False: "categories without an order"}
        raise LabelError(
            "categories are ordered either here or in the store",
            expected=words[not labels.ordered],
            found=words[bool(labels.ordered)],
            mend="Take away their order with .as_unordered() of pandas"
            if labels.ordered
            else f"Order them as the store does, with .set_categories({list(known)!r:.300}, ordered=True) of pandas",
        )
    found = _positions(known, labels.categories)
    if labels.ordered and (np.diff(found[found >= 0]) < 0).any():
        raise other_kind(like, labels.dtype, problem="categories have another order than the store's")
    codes = np.asarray(labels.codes)
    new = np.unique(codes[codes >= 0])
    new = new[found[new] < 0]
    if not new.size:
        return labels.categories[:0]
    shown = [str(category) for category in labels.categories[new[:5]]]
    if like.of_categories is None:
        raise LabelError(
            "categories are not among the store's",
            expected=f"some of {len(known)} categories",
            found=shown,
            mend="Labels in a region are not written: append with append_dim, which adds categories to the store",
        )
    if labels.ordered and len(known):
        # the highest of the store must be there too, or nobody could tell which one is higher
        highest = np.flatnonzero(found == len(known) - 1)
        if not highest.size or highest[0] > new[0]:
            raise LabelError(
                "ordered categories can only be added above those of the store",
                expected=f"categories of which new ones follow {str(known[-1])!r}",
                found=shown,
                mend="Give the new labels all categories of the store, in its order, with the new ones behind them "
                "(see Categorical.set_categories); to put some between, save the variable anew",
            )
    return labels.categories[new]


def _codes_in(known: Labels, labels: pd.CategoricalIndex) -> Array:
    """The codes of labels among categories."""
    # the last is what code -1 picks
    mapped = np.append(_positions(known, labels.categories), -1)[np.asarray(labels.codes)]
    return np.asarray(pd.Categorical.from_codes(mapped, categories=known).codes)


def _positions(known: Labels, categories: Labels) -> Array:
    """Where categories stand among those that are known, -1 for others."""
    # not get_indexer, which refuses intervals that overlap
    positions = {category: position for position, category in enumerate(known)}
    return np.array([positions.get(category, -1) for category in categories], np.int64)


def category_options(description: Description) -> dict[str, Any]:
    """How to decode codes: they stay what they are."""
    _is_ordered(description)
    return {"mask_and_scale": False}


def _is_ordered(description: Description) -> bool:
    ordered = description.get("ordered")
    if not isinstance(ordered, bool):
        raise mismatch("description does not tell whether categories are ordered", found=f"{ordered!r:.80}")
    return ordered


def check_categories(categories: Labels) -> None:
    """Raise `MetadataError` if labels cannot be categories."""
    if not categories.is_unique or categories.hasnans:
        raise mismatch("categories are not unique, or some are missing")


def restore_categories(description: Description, values: Array, companions: Mapping[str, Any]) -> Labels:
    """The index that `store_categories` was given."""
    ordered, categories = _is_ordered(description), companions.get("categories")
    if not isinstance(categories, pd.Index) or isinstance(categories, pd.MultiIndex):
        raise mismatch("the categories are missing", found=type(categories).__name__)
    check_categories(categories)
    if values.dtype.kind not in "iu":
        raise mismatch("array does not hold the codes that are described", expected="integers", found=values.dtype)
    if values.size and (values.max() >= len(categories) or values.min() < -1):
        raise mismatch(
            "codes have no category",
            expected=f"-1 to {len(categories) - 1}",
            found=f"{values.min()} to {values.max()}",
        )
    codes = values.astype(np.int64)
    return pd.CategoricalIndex(pd.Categorical.from_codes(codes, categories=categories.rename(None), ordered=ordered))

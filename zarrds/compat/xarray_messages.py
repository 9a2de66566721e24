"""Texts by which errors and warnings of xarray's coders are told apart, as they have no classes of their own.

Some are those of NumPy and Python, which xarray lets through. Whoever changes xarray may change them: that each still
comes is seen by ``tests/compat/test_xarray_messages.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

__all__ = ["is_about", "without_encoder_warnings", "without_name_warnings"]

Problem: TypeAlias = Literal["pd.NA", "no integers", "years", "attribute", "objects", "calendar", "lists"]

_TEXTS: Mapping[Problem, tuple[str, ...]] = {
    "pd.NA": ("NAType",),
    "no integers": ("callable rint",),
    # of times whose year has not four digits: xarray writes the first of them as a date
    "years": ("invalid reference date", "no attribute 'year'"),
    # which is to be made of the encoding; as xarray says it since 2026, and before
    "attribute": ("already exists in attrs", "failed to prevent overwriting"),
    "objects": (
        "not 'list'",
        "infer dtype",
        "convert an array of size 1",
        "element with a sequence",
        "out of bounds for uint64",
        "too large to convert",
    ),
    "calendar": ("calendar",),
    # elements that are such
    "lists": ("sequence",),
}
_SPACE = "coordinate .* has a space in its name"
_FLOATS = "saving variable .* with floating"
_TIMES = ".* can't be serialized faithfully"


def is_about(error: Exception, problem: Problem) -> bool:
    """Whether an error of xarray's coders is one of that kind.

    Examples
    --------
    >>> is_about(ValueError("invalid reference date for time units"), "years")
    True
    """
    return any(text in str(error) for text in _TEXTS[problem])


@contextmanager
def without_encoder_warnings() -> Iterator[None]:
    """Within, xarray warns of nothing that an encoding changes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _FLOATS, xr.SerializationWarning)
        warnings.filterwarnings("ignore", category=np.exceptions.ComplexWarning)
        warnings.filterwarnings("ignore", _TIMES, UserWarning)
        yield


@contextmanager
def without_name_warnings() -> Iterator[None]:
    """Within, xarray does not warn of coordinates that no attribute can name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _SPACE)
        yield

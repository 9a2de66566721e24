"""What xarray is doing when it asks for elements: decoding what was opened, or loading a dataset.

`Dataset.load` asks for one variable after the other, which over a network takes long; decoders look at a few elements.

Private names of xarray, as in `zarrds.compat.xarray_internals`; ``tests/compat/test_xarray_internals.py`` fails if a
release changes what is relied on here. The worst that can come of it is that variables are loaded one by one.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import xarray as xr
from xarray import conventions

__all__ = ["decode_opened", "is_decoding", "loaded_together", "loading_together", "to_be_loaded_too"]

_MAX_DEPTH = 100  # frames between `Dataset.load` and the backend: several for each decoder
_DATASET_LOAD, _VARIABLE_LOAD = xr.Dataset.load.__code__, xr.Variable.load.__code__
_state = threading.local()


def to_be_loaded_too() -> list[xr.Variable]:
    """The other variables of the dataset that `Dataset.load` is loading in this thread, if it is; but once only."""
    if loaded_together() is not None:
        return []
    frame, current = sys._getframe(1), None
    for _ in range(_MAX_DEPTH):
        if frame.f_back is None:
            return []
        frame = frame.f_back
        if frame.f_code is _VARIABLE_LOAD and current is None:
            current = frame.f_locals.get("self")
        elif frame.f_code is _DATASET_LOAD:
            dataset = frame.f_locals["self"]
            others = (v for v in dataset.variables.values() if v is not current)
            return [v for v in others if not v._in_memory and v.chunks is None]
    return []


@contextmanager
def loading_together(loaded: list[Any]) -> Iterator[None]:
    """While variables are loaded, so that none of them asks for the others in its turn; `loaded` is for what loads."""
    _state.loaded = loaded
    try:
        yield
    finally:
        _state.loaded = None


def loaded_together() -> list[Any] | None:
    """What `loading_together` was given in this thread; None outside of it."""
    found: list[Any] | None = getattr(_state, "loaded", None)
    return found


def decode_opened(*args: Any, **options: Any) -> tuple[Any, Any, Any]:
    """xarray's, which looks at first and last elements of lazy variables meanwhile; see `is_decoding`."""
    before = is_decoding()
    _state.is_decoding = True
    try:
        return conventions.decode_cf_variables(*args, **options)
    finally:
        _state.is_decoding = before


def is_decoding() -> bool:
    """Whether it is for xarray's decoders that elements are asked for in this thread."""
    found: bool = getattr(_state, "is_decoding", False)
    return found

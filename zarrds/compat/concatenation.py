"""A fault of xarray that is mended here: ``concat`` of lazy data of a dtype that only pandas knows is a ``ValueError``.

xarray asks NumPy for the dtype that all parts have (``xarray.core.duck_array_ops.as_shared_dtype``, 2026.9) before it
loads them, and NumPy knows none of pandas'. No engine of xarray's own gives such data; zarrds does.
``docs/upstream.md`` says more. Where the function is another, nothing is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from xarray.core import duck_array_ops, indexing

__all__ = ["mend_concatenation"]

_NAME = "as_shared_dtype"


def mend_concatenation() -> None:
    """Let ``concat`` load nullable numbers, categories and the like; called wherever lazy arrays are."""
    original = getattr(duck_array_ops, _NAME, None)
    if original is None or getattr(original, "is_mended", False):
        return

    def as_shared_dtype(scalars_or_arrays: Iterable[Any], *args: Any, **options: Any) -> Any:
        return original([_loaded(each) for each in scalars_or_arrays], *args, **options)

    as_shared_dtype.is_mended = True  # type: ignore[attr-defined]  # functions have attributes
    setattr(duck_array_ops, _NAME, as_shared_dtype)


def _loaded(data: Any) -> Any:
    is_lazy = isinstance(data, indexing.ExplicitlyIndexed)
    return data.get_duck_array() if is_lazy and isinstance(data.dtype, pd.api.extensions.ExtensionDtype) else data

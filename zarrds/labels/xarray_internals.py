"""What labels need of xarray that is not public API, imported here and nowhere else on this floor.

A release of xarray that moves or changes it fails in ``tests/labels/test_xarray_internals.py``.
"""

from __future__ import annotations

from xarray.core.indexing import IndexSelResult

__all__ = ["IndexSelResult"]

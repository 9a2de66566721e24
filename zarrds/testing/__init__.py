"""Tests of what every store must do, for authors of stores; they need pytest and hypothesis (extra ``test``).

Examples
--------
A module of tests, which pytest finds::

    from pathlib import Path
    from zarrds.testing import StoreContract
    from mine import MyStore

    class TestMyStore(StoreContract):
        def make(self, folder: Path) -> MyStore:
            return MyStore(folder / "x.zarr")
"""

from __future__ import annotations

import pytest

# so that what fails says what was compared
pytest.register_assert_rewrite("zarrds.testing.store", "zarrds.testing.changing", "zarrds.testing.machine")

from zarrds.testing.changing import run_together
from zarrds.testing.store import StoreContract

__all__ = ["StoreContract", "run_together"]

"""What another user may do: for tests of folders that are not its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["NOBODY", "as_nobody", "only_root"]

NOBODY = 65534

only_root = pytest.mark.skipif(
    not hasattr(os, "setuid") or os.geteuid() != 0, reason="only root can become another user"
)


@contextmanager
def as_nobody(folder: Path, access: int) -> Iterator[None]:
    """Be that user, where it has such access (``os.R_OK``, ``os.W_OK``) to the folder of the test; else skip it."""
    os.seteuid(NOBODY)
    try:
        if not os.access(folder, access, effective_ids=True):
            pytest.skip("others cannot reach the folder of this test")
        yield
    finally:
        os.seteuid(0)

"""Computations, and datasets of another shape, with labels that are searched where they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.battery import COMPUTED, SHAPED, Operation
from tests.datasets.lazy_checks import check, rows_of


@pytest.mark.one_in(20)
@pytest.mark.parametrize(("operation", "kind"), rows_of([*COMPUTED, *SHAPED]))
def test_operation(operation: Operation, kind: str, lazy_stores: Path) -> None:
    check(operation, kind, lazy_stores)

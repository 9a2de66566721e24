"""Computations, and datasets of another shape, with labels that are searched where they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.battery import COMPUTED, SHAPED, Operation
from tests.datasets.lazy_cases import SIZES, save_stores
from tests.datasets.lazy_checks import check, rows_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    for kind in SIZES:
        save_stores(folder, kind)
    return folder


@pytest.mark.parametrize(("operation", "kind"), rows_of([*COMPUTED, *SHAPED]))
def test_operation(operation: Operation, kind: str, folder: Path) -> None:
    check(operation, kind, folder)

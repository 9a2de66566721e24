"""All tests here are recipes; what the libraries that they use warn each other of is no fault of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.recipes)
            item.add_marker(pytest.mark.filterwarnings("default"))

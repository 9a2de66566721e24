"""What all tests share: the Hypothesis profiles and the folder of real data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No deadline and no complaint about slow generation: both would time the machine, not the code.
_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("zarrds", max_examples=50, derandomize="CI" in os.environ, **_UNTIMED)
settings.register_profile("thorough", max_examples=2000, **_UNTIMED)  # pytest --hypothesis-profile=thorough
settings.load_profile("zarrds")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real datasets, which is no part of the project; read-only."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real datasets are not on this machine (../shared/data beside the project)")
    return folder

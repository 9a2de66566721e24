"""What all tests share: the Hypothesis profiles and the folder of real data."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from zarrds.engine import workers
from zarrds.engine.kernel import applies, library

# No deadline and no complaint about slow generation: both would time the machine, not the code.
_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("zarrds", max_examples=25, derandomize="CI" in os.environ, **_UNTIMED)
settings.register_profile("thorough", max_examples=2000, **_UNTIMED)  # pytest --hypothesis-profile=thorough
settings.load_profile("zarrds")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kernel",
        choices=("auto", "on", "off"),
        default="auto",
        help="the native kernel: where it is the faster way, wherever it can be used, or not at all",
    )


def pytest_configure(config: pytest.Config) -> None:
    mode = config.getoption("--kernel")
    if mode == "off":
        library.library = lambda: None  # type: ignore[assignment]  # a stand-in
    elif mode == "on":
        if library.library() is None or library.compressor("blosc") is None:
            raise pytest.UsageError("--kernel=on: the kernel was not built (pip install -e .), or does not work")
        applies.LARGEST_READ = applies.LARGEST_WRITE = 2**28
        workers.MANY = workers.MANY_CACHED = 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow all but some cases of a test that is marked ``one_in(n)``: the first, and others by their names."""
    seen: Counter[str] = Counter()
    for item in items:
        if (mark := item.get_closest_marker("one_in")) is not None:
            test = item.nodeid.partition("[")[0]
            seen[test] += 1
            if seen[test] > 1 and zlib.crc32(item.name.encode()) % mark.args[0]:
                item.add_marker("slow")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real datasets, which is no part of the project; read-only."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real datasets are not on this machine (../shared/data beside the project)")
    return folder

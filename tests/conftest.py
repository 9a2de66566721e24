"""What all tests share: the Hypothesis profiles and the folder of real data."""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
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

_MEMORY, _ROOM = "/dev/shm", 8 << 30  # bytes
_PREFIX = "zarrds-tests-"
_MANY_CASES = 3
_LARGE_FOLDERS = ("tests/datasets/", "tests/labels/", "tests/storage/")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kernel",
        choices=("auto", "on", "off"),
        default="auto",
        help="the native kernel: where it is the faster way, wherever it can be used, or not at all",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if getattr(config.option, "dist", "no") == "load":
        # of pytest-xdist: what one worker has left the other takes, however slow it is
        config.option.dist = "worksteal"
    _use_memory(config)
    mode = config.getoption("--kernel")
    if mode == "off":
        library.library = lambda: None  # type: ignore[assignment]  # a stand-in
    elif mode == "on":
        if library.library() is None or library.compressor("blosc") is None:
            raise pytest.UsageError("--kernel=on: the kernel was not built (pip install -e .), or does not work")
        applies.LARGEST_READ = applies.LARGEST_WRITE = 2**28
        workers.MANY = workers.MANY_CACHED = 1


def _use_memory(config: pytest.Config) -> None:
    """Put the files of a quick run into a file system in memory, if there is a large one; the others test the disk."""
    is_worker = hasattr(config, "workerinput")
    is_quick = "not slow" in (config.option.markexpr or "")
    if is_worker or not is_quick or config.option.basetemp is not None or not os.access(_MEMORY, os.W_OK):
        return
    found = os.statvfs(_MEMORY)
    if found.f_bavail * found.f_frsize < _ROOM:
        return
    for left in Path(_MEMORY).glob(f"{_PREFIX}*-*"):  # by runs that were killed
        if not Path("/proc", left.name.removeprefix(_PREFIX).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_MEMORY)
    config.option.basetemp = Path(folder, "t")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow all but some cases of a test: the first, and others by their names.

    About one in n stay of a test that is marked ``one_in(n)``, and one in four of one that has many and writes stores.
    """
    cases = Counter(item.nodeid.partition("[")[0] for item in items)
    seen: Counter[str] = Counter()
    for item in items:
        test = item.nodeid.partition("[")[0]
        mark = item.get_closest_marker("one_in")
        is_large = cases[test] > _MANY_CASES and test.startswith(_LARGE_FOLDERS)
        share = mark.args[0] if mark is not None else 4 if is_large else 1
        seen[test] += 1
        if seen[test] > 1 and zlib.crc32(item.name.encode()) % share:
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def _temporary_files_go_with_the_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests, their child processes and other libraries put into the folder for temporary files."""
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("temporary")
        patched.setenv("TMPDIR", str(folder))
        patched.setattr(tempfile, "tempdir", str(folder))
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real datasets, which is no part of the project; read-only."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real datasets are not on this machine (../shared/data beside the project)")
    return folder

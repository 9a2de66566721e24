"""Each file operation of a save fails in turn: the store holds the dataset from before or from after, and no litter."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.datasets.faults import INTERRUPT, Countdown, watched
from tests.datasets.operations import OPERATIONS, REGIONS, Trial, leftovers, quick_folder
from zarrds.errors import StoreIOError

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as found:
        yield found


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def check_failures(
    trial: Trial, numbers: Iterator[int], codes: Sequence[int] = ERRORS, stays: bool = False
) -> set[tuple[str, bool]]:
    """Let the n-th operation fail, for all numbers until nothing fails; return what came out, and whether it raised."""
    outcomes = set()
    for n in numbers:
        trial.reset()
        before = descriptors()
        countdown = Countdown(n, codes[n // 2 % len(codes)], stays)
        raised: int | None = None
        with watched(str(trial.place), countdown):
            try:
                trial.do(trial.operation.run)
            except (StoreIOError, KeyboardInterrupt) as error:
                raised = getattr(error, "errno", INTERRUPT)
        if not countdown.has_struck:
            assert raised is None
            return outcomes
        where = f"code {countdown.code} at operation {n}: {countdown.log[n]}"
        assert raised in (None, countdown.code), where
        outcome = trial.now(), raised is not None
        # an error after the instant from which on all is new is still an error; but no error is a promise
        assert outcome in {("old", True), ("new", True), ("new", False)}, where
        assert descriptors() == before, where
        trial.do(trial.operation.again or trial.operation.run)
        assert trial.now() == "new", where
        assert leftovers(trial.place) == [], where
        outcomes.add(outcome)
    raise AssertionError("the numbers were too few")


@pytest.mark.one_in(30)
@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("name", [name for name in OPERATIONS if "not consolidated" not in name])
def test_file_operations_fail_once(name: str, step: int, folder: Path) -> None:
    outcomes = check_failures(Trial(folder, name, 3, durable=True), iter(range(0, 1000, step)))
    assert {("old", True), ("new", False)} <= outcomes


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", OPERATIONS)
def test_file_operations_fail_once_in_format_2(name: str, folder: Path) -> None:
    check_failures(Trial(folder, name, 2, durable=False), iter(range(1, 1000, 9)))


@pytest.mark.one_in(8)
@pytest.mark.parametrize("name", OPERATIONS)
def test_interrupted_at_file_operations(name: str, folder: Path) -> None:
    check_failures(Trial(folder, name, 3, durable=False), iter(range(1, 1000, 7)), [INTERRUPT])


@pytest.mark.one_in(30)
@pytest.mark.parametrize("name", OPERATIONS)
def test_from_some_file_operation_on_all_fail(name: str, folder: Path) -> None:
    """A disk that is full until somebody frees it, a device that is gone, a permission that is lost."""
    check_failures(Trial(folder, name, 3, durable=True), iter(range(0, 1000, 7)), stays=True)


@pytest.mark.one_in(30)
@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("name", REGIONS)
def test_file_operations_fail_while_a_region_is_written(name: str, stays: bool, folder: Path) -> None:
    """Each chunk is old or new, and nothing else has changed."""
    trial = Trial(folder, name, 3, durable=True)
    for n in range(0, trial.count(), 3):
        countdown = Countdown(n, ERRORS[n % 3], stays)
        with watched(str(trial.place), countdown), suppress(StoreIOError):
            trial.do(trial.operation.run)
        assert trial.is_between(), countdown.log[n]
        trial.do(trial.operation.run)
        assert trial.now() == "new", countdown.log[n]
        assert leftovers(trial.place) == [], countdown.log[n]
        trial.reset()

"""A saving process is killed: the store holds the dataset from before or from after, and the next save cleans up."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zarrds
from tests.datasets.dying import deaths
from tests.datasets.operations import (
    OPERATIONS,
    REGIONS,
    Format,
    Trial,
    are_identical,
    leftovers,
    quick_folder,
    snapshot,
    state,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

Die = Callable[..., dict[str, Any]]
N_DEATHS = 16  # of each operation, at file operations evenly apart
N_KILLS = 12  # of each operation, at random instants


@pytest.fixture(scope="module")
def die() -> Iterator[Die]:
    with deaths() as ask:
        yield ask


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as found:
        yield found


def evenly(n: int, count: int) -> list[int]:
    """At most so many numbers below n, with the first and the last."""
    return sorted({round(i * (n - 1) / (count - 1)) for i in range(count)})


class Dying:
    """A trial that is killed, and what must be true then."""

    def __init__(self, folder: Path, name: str, zarr_format: Format, durable: bool) -> None:
        self.trial = Trial(folder, name, zarr_format, durable)
        self.is_append = name.startswith("append")
        self.new_state = state(self.trial.store)
        self.trial.reset()
        self.old_state = state(self.trial.store)
        self.seen: list[str] = []

    def check(self, where: object) -> None:
        trial = self.trial
        if self.is_append:  # another library, which cannot finish what was begun, sees one of the two as well
            theirs = state(trial.store, "zarr", consolidated=True)
            assert any(are_identical(theirs, mine) for mine in (self.old_state, self.new_state)), where
        self.seen.append(trial.now())
        assert self.seen[-1] in ("old", "new"), where
        trial.do(trial.operation.again or trial.operation.run)
        assert trial.now() == "new", where
        assert leftovers(trial.place) == [], where
        trial.reset()


@pytest.mark.one_in(8)
@pytest.mark.parametrize("zarr_format", [3, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_death_at_file_operations(name: str, zarr_format: Format, folder: Path, die: Die) -> None:
    dying = Dying(folder, name, zarr_format, durable=zarr_format == 3)
    n_deaths = N_DEATHS if zarr_format == 3 else N_DEATHS // 3
    n_operations = dying.trial.count()
    for after in evenly(n_operations, n_deaths):
        status = die(name, dying.trial.store, dying.trial.durable, after=after)["status"]
        assert status == -signal.SIGKILL or after > n_operations - 10  # they need not be exactly as many
        dying.check(after)
    assert set(dying.seen) == {"old", "new"}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_death_at_random_instants(name: str, folder: Path, die: Die) -> None:
    dying = Dying(folder, name, 3, durable=False)
    rng = random.Random(0)
    durations = []
    for _ in range(5):
        durations.append(die(name, dying.trial.store, False)["seconds"])
        assert dying.trial.now() == "new"
        dying.trial.reset()
    for _ in range(N_KILLS):
        delay = rng.uniform(min(durations) / 3, sorted(durations)[2])
        die(name, dying.trial.store, False, delay=delay)
        dying.check(delay)


@pytest.mark.slow
@pytest.mark.parametrize("name", REGIONS)
def test_death_while_a_region_is_written(name: str, folder: Path, die: Die) -> None:
    """Each chunk is old or new, and nothing else has changed."""
    trial = Trial(folder, name, 3, durable=True)
    halves = 0
    n_operations = trial.count()
    for after in evenly(n_operations, N_DEATHS):
        status = die(name, trial.store, True, after=after)["status"]
        assert status == -signal.SIGKILL or after > n_operations - 10
        assert trial.is_between(), after
        halves += snapshot(trial.place) not in (trial.old, trial.new)
        assert zarrds.verify(trial.store).ok, after
        trial.do(trial.operation.run)
        assert trial.now() == "new", after
        assert leftovers(trial.place) == [], after
        trial.reset()
    assert halves

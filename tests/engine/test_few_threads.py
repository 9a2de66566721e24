"""Which jobs are done by the caller's thread alone, and which side by side."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.engine.test_executor import Counted
from zarrds import LocalStore
from zarrds.engine import executor
from zarrds.engine.planning.plans import ChunkProjection


@pytest.mark.parametrize("workers", [None, 1, 3])
@pytest.mark.parametrize("n", [0, 1, 8, 9, 40])
def test_small_jobs_that_wait_are_done_side_by_side(
    n: int, workers: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "n_cores", lambda: 4)
    done: list[tuple[int, int]] = []

    def wait(job: int) -> None:
        time.sleep(0.005)
        done.append((job, threading.get_ident()))

    executor.run_small(iter(range(n)), lambda: wait, LocalStore(tmp_path), workers)
    assert sorted(job for job, _ in done) == list(range(n))
    threads = {thread for _, thread in done}
    if n == 40:
        assert (len(threads) > 1) is (workers != 1)
    if workers is None and n > 8:  # the first tell
        assert {thread for job, thread in done if job < 8} == {threading.get_ident()}

    def fail(job: int) -> None:
        if job == n - 1:
            raise ValueError(job)

    if n:
        with pytest.raises(ValueError, match=str(n - 1)):
            executor.run_small(range(n), lambda: fail, LocalStore(tmp_path), workers)


def test_small_jobs_that_wait_later_are_done_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first may be of what the system has at hand."""
    monkeypatch.setattr(executor, "n_cores", lambda: 4)
    done: list[tuple[int, int]] = []

    def wait(job: int) -> None:
        if job >= 20:
            time.sleep(0.01)
        done.append((job, threading.get_ident()))

    executor.run_small(range(100), lambda: wait, LocalStore(tmp_path))
    assert sorted(job for job, _ in done) == list(range(100))
    assert len({thread for _, thread in done}) > 1


@pytest.mark.parametrize("worth", [0.0, 1e9])
@pytest.mark.parametrize("n", [300, 5000])
def test_the_caller_does_alone_what_is_soon_done(n: int, worth: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are woken once what is left takes longer than they are worth."""
    monkeypatch.setattr(executor, "n_cores", lambda: 4)
    monkeypatch.setattr(executor, "_WORTH_WAKING", worth)
    done: list[tuple[int, int]] = []
    progress: list[int] = []

    def work(part: ChunkProjection) -> None:
        time.sleep(0 if worth else 0.0005)
        done.append((part.out, threading.get_ident()))  # type: ignore[arg-type]  # `Counted` has numbers for places

    executor.run(Counted(n), lambda: work, part_nbytes=1024, progress=progress.append)
    assert sorted(number for number, _ in done) == list(range(n))
    assert sum(progress) == n
    assert {thread for number, thread in done if number < 64} == {threading.get_ident()}
    assert (len({thread for _, thread in done}) > 1) is (worth == 0)


@pytest.mark.parametrize("n_workers", [2, 3, 7])
def test_the_last_batches_are_none_of_single_things(n_workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes as long to hand out as many things take to be done."""
    monkeypatch.setattr(executor, "n_cores", lambda: n_workers)
    batches: list[int] = []
    executor.run(Counted(10**4), lambda: lambda _: None, part_nbytes=4096, workers=n_workers, progress=batches.append)
    assert sum(batches) == 10**4
    assert len([n for n in batches if n < 64]) <= n_workers

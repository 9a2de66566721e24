"""Two writers of one store in object storage, one of which is stopped, or that take turns: the winner is undamaged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zarrds
from tests.storage.s3_server import Fault, S3Server
from tests.storage.s3_writers import (
    MARKER,
    ROOT,
    URL,
    append,
    data,
    opened,
    options,
    paused_when,
    save,
    set_n,
)
from zarrds.errors import ConflictError, LabelError, ZarrdsError
from zarrds.storage.fsspec import commits
from zarrds.storage.obstore.changes import committing

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

pytestmark = pytest.mark.usefixtures("_impatient")


def paused_at(server: S3Server, number: int, act: Callable[[], None], meanwhile: Callable[[], None]) -> list[str]:
    """Stop the writer AKIAPAUSE before its request of that number, do something else, and let it go on."""
    left = iter(range(number))
    return paused_when(server, lambda method, key: next(left, None) is None, act, meanwhile)


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("other", ["t2m", None])
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_writer_of_documents_is_stopped_and_goes_on(server: S3Server, other: str | None, step: int) -> None:
    """It has got a conflict and changed nothing, or has changed what it was to change."""
    conflicts = 0
    for number in range(0, 30, step):
        server.clear()
        save(server)
        errors = paused_at(
            server, number, lambda: set_n(server, 2, "t2m", "AKIAPAUSE"), lambda: set_n(server, 3, other)
        )
        assert errors in ([], ["ConflictError"])
        conflicts += bool(errors)
        found = opened(server)
        if other is None:
            assert found.attrs == {"n": 3}
            assert found.t2m.attrs == ({} if errors else {"n": 2})
        else:
            assert found.t2m.attrs["n"] in ((3,) if errors else (2, 3))
        assert MARKER not in server.state.values
        assert zarrds.verify(URL, storage_options=options(server)).ok, number
    assert conflicts > 5 // step


def append_if_it_fits(server: S3Server, start: int, n: int) -> None:
    """Append labels, unless greater ones were appended before."""
    with suppress(LabelError):
        append(server, start, n)


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_a_writer_that_appends_is_stopped_and_goes_on(server: S3Server, step: int) -> None:
    n_overtaken = 0
    parts = {0: data(), 4: data(4, 3), 40: data(40, 7)}
    for number in range(0, 45, step):
        server.clear()
        save(server)
        errors = paused_at(
            server, number, lambda: append(server, 40, 7, "AKIAPAUSE"), lambda: append_if_it_fits(server, 4, 3)
        )
        found = opened(server)
        n_overtaken += 4 in found.time  # it has got an error, or has begun anew
        assert errors in ([], ["ConflictError"]), number
        expected = [4] if errors else [4, 40] if 4 in found.time else [40]
        xr.testing.assert_identical(found, xr.concat([parts[start] for start in (0, *expected)], "time"))
        report = zarrds.verify(URL, storage_options=options(server))
        assert report.ok, (number, report)
    assert n_overtaken > 8 // step


class Turns:
    """Lets one of two writers do its next request, as a plan has it; when one has ended, the other goes on alone."""

    def __init__(self, plan: list[bool]) -> None:
        self._plan = iter(plan)
        self._whose = next(self._plan, None)
        self._ended: set[bool] = set()
        self._changed = threading.Condition()

    def before(self, method: str, key: str, who: str) -> None:
        me = who == "AKIAFIRST"
        with self._changed:
            self._changed.wait_for(lambda: self._whose in (None, me) or self._whose in self._ended, 10)
            if self._whose is not None:
                self._whose = next(self._plan, None)
            self._changed.notify_all()

    def end(self, me: bool) -> None:
        with self._changed:
            self._ended.add(me)
            self._changed.notify_all()


def run_in_turns(server: S3Server, plan: list[bool], *acts: Callable[[str], object]) -> list[BaseException | None]:
    """What each of two writers raised whose requests come in that order."""
    turns = Turns(plan)
    errors: list[BaseException | None] = [None, None]

    def run(number: int) -> None:
        try:
            acts[number](("AKIAFIRST", "AKIAOTHER")[number])
        except BaseException as error:
            errors[number] = error
        finally:
            turns.end(number == 0)

    server.state.before = turns.before
    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.state.before = None
    return errors


PLANS = st.lists(st.tuples(st.booleans(), st.integers(1, 25)), max_size=12)


@pytest.mark.slow
@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("patience", [0.0, 20.0])
@given(plan=PLANS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_of_two_appends_none_is_mixed(running: S3Server, plan: list[tuple[bool, int]], patience: float) -> None:
    """Whatever the order of their requests: each is there whole, or has got an error and is not there."""
    running.clear()
    save(running)
    turns = [who for who, n in plan for _ in range(n)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(commits, "_PATIENCE", patience)
        patched.setattr(commits, "_POLL", 0.002)
        if patience:  # each takes the other for another process, which is alive
            patched.setattr(committing, "process_id", lambda: "elsewhere")
        errors = run_in_turns(
            running, turns, lambda who: append(running, 4, 3, who), lambda who: append(running, 40, 5, who)
        )
    found = opened(running)
    parts = {4: data(4, 3), 40: data(40, 5)}
    for start, error in zip(parts, errors, strict=True):
        assert error is None or isinstance(error, ConflictError | LabelError), error
        assert (error is None) == (start in found.time), errors
        if error is None:
            xr.testing.assert_equal(found.sel(time=parts[start].time), parts[start])
    assert found.sizes["time"] == 4 + sum(parts[s].sizes["time"] for s, e in zip(parts, errors, strict=True) if not e)
    xr.testing.assert_equal(found.isel(time=slice(0, 4)), data())
    report = zarrds.verify(URL, storage_options=options(running))
    assert report.ok, report


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_region_at_the_edge_is_not_undone_by_an_append(server: S3Server, step: int) -> None:
    """It changes no document, so that only the ETag of its chunk tells."""
    conflicts = 0
    part = xr.Dataset({"t2m": (("time", "x"), np.full((1, 3), -1.0))})
    for number in range(0, 30, step):
        server.clear()
        save(server)
        errors = paused_at(
            server,
            number,
            lambda: append(server, 4, 3, "AKIAPAUSE"),
            lambda: zarrds.save(part, URL, region={"time": slice(3, 4)}, storage_options=options(server)),
        )
        assert errors in ([], ["ConflictError"]), number
        conflicts += bool(errors)
        expected = data(0, 4 if errors else 7)
        expected.t2m[3] = -1
        xr.testing.assert_identical(opened(server), expected)
    assert conflicts


@pytest.mark.usefixtures("_without_locks")
def test_computed_data_goes_behind_what_came_first(server: S3Server) -> None:
    """Also where that came when all was computed, and the commit about to begin."""
    save(server)
    has_come: list[bool] = []

    def come_first(method: str, key: str, who: str) -> None:
        if method == "PUT" and key == MARKER and who == "AKIAPAUSE" and not has_come:
            has_come.append(True)
            append(server, 4, 3)

    n_computed: list[int] = []

    def computed(block: np.ndarray) -> np.ndarray:
        n_computed.append(len(block))
        return block

    later = data(40, 7).chunk(time=7)
    later["t2m"] = later.t2m.copy(data=later.t2m.data.map_blocks(computed, meta=np.empty((0, 0))))
    server.state.before = come_first
    zarrds.save(later, URL, append_dim="time", storage_options=options(server, "AKIAPAUSE"))
    server.state.before = None
    assert has_come
    assert n_computed == [7]
    xr.testing.assert_identical(opened(server), xr.concat([data(), data(4, 3), data(40, 7)], "time"))
    assert zarrds.verify(URL, storage_options=options(server)).ok


@pytest.mark.usefixtures("_without_locks")
def test_an_edge_that_changes_after_the_last_look_is_not_overwritten(server: S3Server) -> None:
    save(server)
    array = zarrds.open_array(URL, "r+", path="t2m", storage_options=options(server))
    has_come: list[bool] = []

    def come_between(method: str, key: str, who: str) -> None:
        if method == "PUT" and key == ROOT and who == "AKIAPAUSE" and not has_come:
            has_come.append(True)
            array[3:4] = -1.0

    server.state.before = come_between
    with pytest.raises(ConflictError):
        append(server, 4, 3, "AKIAPAUSE")
    server.state.before = None
    expected = data()
    expected.t2m[3] = -1
    xr.testing.assert_identical(opened(server), expected)


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("status", [503, None])
def test_no_put_of_a_chunk_is_repeated_after_another_has_begun(server: S3Server, status: int | None) -> None:
    """The other leaves the bytes of the edge as they were, so that an ETag that is a digest tells nothing."""
    save(server)
    edge, puts = "t2m.zarr/t2m/c.1.0", list[str]()
    missing = data(40, 2) * np.nan

    def before(method: str, key: str, who: str) -> None:
        if who == "AKIAPAUSE" and method == "PUT" and key == edge and not puts:
            puts.append(key)
            zarrds.save(missing, URL, append_dim="time", storage_options=options(server))

    def drop(method: str, key: str) -> Fault | None:
        if puts == [key] and method == "PUT" and MARKER not in server.state.values:
            puts.append(key)
            return Fault(status)
        return None

    server.state.before, server.state.fault = before, drop
    with pytest.raises(ConflictError):
        append(server, 4, 2, "AKIAPAUSE")
    server.state.before = server.state.fault = None
    assert len(puts) == 2
    xr.testing.assert_equal(opened(server), xr.concat([data(), missing], "time"))


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("status", [503, None])
def test_a_commit_is_no_conflict_where_another_has_finished_it(server: S3Server, status: int | None) -> None:
    """The answer was lost, and before the put is repeated another has finished the commit and made its own."""
    save(server)
    n_puts: list[str] = []

    def before(method: str, key: str, who: str) -> None:
        if who == "AKIAPAUSE" and method == "PUT" and key == ROOT:
            n_puts.append(key)
            if len(n_puts) == 3:
                server.state.fault = None
                append(server, 7, 2)

    def lose(method: str, key: str) -> Fault | None:
        return Fault(status, is_done=True) if method == "PUT" and key == ROOT and len(n_puts) == 2 else None

    server.state.before, server.state.fault = before, lose
    append(server, 4, 3, "AKIAPAUSE")
    server.state.before = server.state.fault = None
    assert len(n_puts) >= 3
    xr.testing.assert_identical(opened(server), data(0, 9))
    assert MARKER not in server.state.values
    assert zarrds.verify(URL, storage_options=options(server)).ok


@pytest.mark.usefixtures("_without_locks")
def test_staged_changes_keep_older_plans_from_being_committed(server: S3Server) -> None:
    """Even where the marker of that plan was lost: its put of the root would come before, and be undone in silence."""
    save(server)
    at_root, may_go, has_ended = threading.Event(), threading.Event(), threading.Event()
    puts: list[str] = []
    errors: list[BaseException] = []

    def before(method: str, key: str, who: str) -> None:
        if who == "AKIAPAUSE" and method == "PUT" and key == ROOT:
            puts.append(key)
            if len(puts) == 2:
                at_root.set()
                may_go.wait(20)
        elif method == "COPY" and "partial" not in key and not may_go.is_set():
            may_go.set()
            has_ended.wait(20)

    def run() -> None:
        try:
            append(server, 4, 3, "AKIAPAUSE")
        except ZarrdsError as error:
            errors.append(error)
        finally:
            at_root.set()
            has_ended.set()

    server.state.before = before
    thread = threading.Thread(target=run)
    thread.start()
    at_root.wait(20)
    del server.state.values[MARKER]
    zarrds.rename(URL, {"t2m": "tas"}, storage_options=options(server))
    thread.join()
    server.state.before = None
    assert [type(error) for error in errors] == [ConflictError]
    xr.testing.assert_identical(opened(server), data().rename(t2m="tas"))

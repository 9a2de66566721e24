"""Staged changes in object storage: their marker is put twice, and only the second makes them."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Literal

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import Fault, S3Server
from tests.storage.s3_writers import (
    MARKER,
    ROOT,
    URL,
    append,
    append_staged,
    data,
    opened,
    options,
    paused_when,
    save,
    set_n,
)
from zarrds.errors import ConflictError, StoreIOError, ZarrdsError

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

pytestmark = pytest.mark.usefixtures("_impatient")


class Stopped(threading.Thread):
    """A staged append of AKIAPAUSE, in whose way others come before its marker, and which is stopped behind it."""

    def __init__(self, server: S3Server) -> None:
        super().__init__()
        self.errors: list[ZarrdsError] = []
        self._server = server
        self._is_marked, self._may_go, self._has_reached = False, threading.Event(), threading.Event()
        server.state.before = self._before

    def _before(self, method: str, key: str, who: str) -> None:
        if who != "AKIAPAUSE":
            return
        if self._is_marked:
            self._has_reached.set()
            self._may_go.wait(20)
        elif method == "PUT" and key == MARKER:
            append(self._server, 4, 3)  # of another, which is faster
            self._is_marked = True

    def run(self) -> None:
        try:
            append_staged(self._server, 40, who="AKIAPAUSE")
        except ZarrdsError as error:
            self.errors.append(error)
        finally:
            self._has_reached.set()

    def reach(self) -> None:
        self.start()
        assert self._has_reached.wait(20)
        assert self._is_marked

    def go_on(self) -> None:
        self._may_go.set()
        self.join()
        self._server.state.before = None


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_plan_that_is_out_of_date_is_never_carried_out(server: S3Server, is_killed: bool) -> None:
    """Its writer is stopped, or killed, behind its marker and before it has looked at the root."""
    save(server)
    writer = Stopped(server)
    writer.reach()
    assert not json.loads(server.state.values[MARKER][0])["claimed"]
    xr.testing.assert_identical(opened(server), data(0, 7))  # readers neither wait nor finish it
    if is_killed:
        left = dict(server.state.values)
        writer.go_on()
        server.state.values.clear()
        server.state.values.update(left)  # as if it had not gone on
    append_staged(server, 7, 2)
    writer.go_on() if not is_killed else None
    assert [type(error) for error in writer.errors] == [ConflictError]
    xr.testing.assert_identical(opened(server), data(0, 9))
    assert MARKER not in server.state.values
    assert zarrds.verify(URL, storage_options=options(server)).ok


@pytest.mark.usefixtures("_without_locks")
def test_who_was_overtaken_removes_no_marker_of_others(server: S3Server) -> None:
    save(server)
    writer = Stopped(server)
    writer.reach()
    before, markers = server.state.before, list[bool]()

    def go_on(method: str, key: str, who: str) -> None:
        if who == "AKIAPAUSE" and before is not None:
            before(method, key, who)
        elif method == "COPY" and not markers:
            markers.append(MARKER in server.state.values)
            writer._may_go.set()
            writer.join()
            markers.append(MARKER in server.state.values)

    server.state.before = go_on
    append_staged(server, 7, 2)
    server.state.before = None
    assert markers == [True, True]
    assert [type(error) for error in writer.errors] == [ConflictError]
    xr.testing.assert_identical(opened(server), data(0, 9))


@pytest.mark.usefixtures("_without_locks")
def test_a_lost_answer_is_found_out_when_another_has_finished(server: S3Server) -> None:
    """Also where the other has removed the marker, and has committed more."""
    save(server)
    puts = Counter[str]()

    def before(method: str, key: str, who: str) -> None:
        if who == "AKIAPAUSE" and method == "PUT":
            puts[key] += 1
            if key == MARKER and puts[key] == 3:  # asked again
                server.state.fault = None
                append(server, 7, 2)

    def lose(method: str, key: str) -> Fault | None:
        return Fault(503, is_done=True) if key == MARKER and method == "PUT" and puts[key] == 2 else None

    server.state.before, server.state.fault = before, lose
    append_staged(server, 4, who="AKIAPAUSE")
    server.state.before = server.state.fault = None
    assert puts[MARKER] >= 3
    xr.testing.assert_identical(opened(server), data(0, 9))
    assert zarrds.verify(URL, storage_options=options(server)).ok


def test_markers_of_earlier_versions_are_finished(server: S3Server) -> None:
    """They were put once, and were the instant."""
    save(server)
    server.state.fault = lambda method, key: Fault(400) if method == "COPY" else None
    with pytest.raises(ZarrdsError):
        append_staged(server, 4)
    server.state.fault = None
    marker = json.loads(server.state.values[MARKER][0])
    assert marker.pop("claimed")
    server.state.values[MARKER] = json.dumps(marker).encode(), '"earlier"', 0.0
    xr.testing.assert_identical(opened(server), data(0, 7))
    assert MARKER not in server.state.values


@pytest.mark.usefixtures("_without_locks")
def test_of_new_stores_only_what_is_claimed_is_made(server: S3Server) -> None:
    """A save that dies before is none, and the next one is made."""
    puts = Counter[str]()

    def die(method: str, key: str) -> Fault | None:
        puts[key] += method == "PUT"
        return Fault(400) if puts[MARKER] and not (method == "PUT" and puts[MARKER] == 1) else None

    server.state.fault = die
    with pytest.raises(ZarrdsError):
        save(server)
    server.state.fault = None
    assert not json.loads(server.state.values[MARKER][0])["claimed"]
    with pytest.raises(FileNotFoundError):
        opened(server)
    zarrds.save(data(3), URL, storage_options=options(server))
    xr.testing.assert_identical(opened(server), data(3))
    assert MARKER not in server.state.values
    set_n(server, 5)
    assert opened(server).attrs == {"n": 5}
    assert np.array_equal(opened(server).time, data(3).time)
    assert ROOT in server.state.values


def replace(server: S3Server, who: str = "AKIATEST") -> None:
    """A store without one of the variables."""
    zarrds.save(data()[["time"]], URL, mode="w", storage_options=options(server, who))


@pytest.mark.usefixtures("_without_locks")
def test_who_was_overtaken_removes_nothing_of_others(server: S3Server) -> None:
    """It is stopped when all is copied, before it removes; another finishes for it, and adds what it was to remove."""
    save(server)
    server.state.requests.clear()

    def add() -> None:
        assert "t2m" not in opened(server)
        more = data()[["t2m"]]
        more.t2m.encoding = {"chunks": (3, 3)}
        zarrds.save(more, URL, mode="a", storage_options=options(server))

    def is_it(method: str, key: str) -> bool:
        return ("COPY", ROOT) in server.state.requests and key in (MARKER, "?delete")

    errors = paused_when(server, is_it, lambda: replace(server, "AKIAPAUSE"), add)
    assert errors == []
    xr.testing.assert_equal(opened(server), data())
    assert zarrds.verify(URL, storage_options=options(server)).ok
    assert MARKER not in server.state.values


@pytest.mark.usefixtures("_without_locks")
def test_nothing_is_copied_after_others_may_begin(server: S3Server) -> None:
    """The writer is stopped before its last copy, who finishes for it behind its marker, and a third commits."""
    save(server)
    has_ended, is_slow = threading.Event(), threading.Event()

    def act() -> None:
        append_staged(server, 4, who="AKIAPAUSE")

    def meanwhile() -> None:
        stopping = server.state.before

        def before(method: str, key: str, who: str) -> None:
            if who == "AKIAOTHER" and MARKER not in server.state.values:
                is_slow.set()
                has_ended.wait(20)
            elif stopping is not None:
                stopping(method, key, who)

        server.state.before = before
        other = threading.Thread(
            target=lambda: xr.open_dataset(URL, engine="zarrds", storage_options=options(server, "AKIAOTHER")).close()
        )
        other.start()
        assert is_slow.wait(20)
        append(server, 7, 2)
        others.append(other)

    others: list[threading.Thread] = []
    errors = paused_when(server, lambda method, key: method == "COPY" and key == ROOT, act, meanwhile)
    has_ended.set()
    others[0].join()
    assert errors == []
    xr.testing.assert_identical(opened(server), data(0, 9))
    assert zarrds.verify(URL, storage_options=options(server)).ok


@pytest.mark.parametrize("status", [404, 409, 412])
def test_a_marker_that_cannot_be_called_off_at_once_is_called_off(server: S3Server, status: int) -> None:
    """Else it would stay when what it names is gone, and nobody could open the store any more."""
    save(server)
    puts = Counter[str]()

    def fault(method: str, key: str) -> Fault | None:
        puts[key] += method == "PUT"
        is_last = method == "PUT" and key == MARKER and puts[key] == 3  # the first two make the commit
        return Fault(status) if is_last else None

    server.state.fault = fault
    append_staged(server, 4)
    server.state.fault = None
    assert puts[MARKER] == 4 or status == 409  # which obstore repeats itself
    assert not [key for key in server.state.values if "partial" in key]
    xr.testing.assert_identical(opened(server), xr.concat([data(), data(4, 3)], "time"))


@pytest.mark.usefixtures("_without_locks")
def test_whose_marker_is_gone_does_not_say_that_all_is_well(server: S3Server) -> None:
    save(server)
    told: list[str] = []

    def act() -> None:
        try:
            append_staged(server, 4, who="AKIAPAUSE")
        except StoreIOError as error:
            told.append(str(error))

    paused_when(
        server,
        lambda method, key: method == "COPY" and key == ROOT,
        act,
        lambda: [server.state.values.pop(key) for key in list(server.state.values) if "partial" in key] and None,
    )
    assert len(told) == 1
    assert "Look whether all of it is there" in told[0]  # not that another puts it in place


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_who_opens_between_the_claim_and_the_commit_is_told(server: S3Server, zarr_format: Literal[2, 3]) -> None:
    """The root's document was the same before and after what was read had changed: its chunks could be old and new."""
    zarrds.save(data(), URL, zarr_format=zarr_format, storage_options=options(server))
    lazy: list[xr.Dataset] = []
    found: list[object] = []

    def read() -> None:
        try:
            found.append(lazy[0].t2m.values.tolist())
        except ConflictError as error:
            found.append(error.key)

    def seen(method: str, key: str) -> None:
        if method == "PUT" and key in (ROOT, "t2m.zarr/.zmetadata") and not lazy:
            lazy.append(xr.open_dataset(URL, engine="zarrds", storage_options=options(server, "AKIAOTHER")))
        elif method == "COPY" and "/t2m/" in key and lazy and not found:
            server.state.seen = None
            read()

    server.state.seen = seen
    twice = data().assign(t2m=data().t2m * 2)
    zarrds.save(twice[["t2m"]].drop_vars("time"), URL, mode="a", storage_options=options(server))
    assert found == ["t2m"]
    np.testing.assert_array_equal(opened(server).t2m, twice.t2m)

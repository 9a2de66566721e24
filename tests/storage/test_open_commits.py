"""Appends in object storage begin before they read: nothing is gone by that other writers may be about to change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import Fault, S3Server
from tests.storage.s3_writers import (
    MARKER,
    ROOT,
    URL,
    answered_late,
    append,
    data,
    nth,
    opened,
    options,
    paused_when,
    save,
)
from zarrds.errors import ConflictError, LabelError, StoreIOError, ZarrdsError
from zarrds.storage.fsspec import commits
from zarrds.storage.fsspec.store import RemoteStore
from zarrds.storage.obstore.changes import committing, direct_commit, open_commit, sessions

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")


def check(server: S3Server, *parts: xr.Dataset) -> None:
    xr.testing.assert_identical(opened(server), xr.concat(parts, "time"))
    assert zarrds.verify(URL, storage_options=options(server)).ok
    assert MARKER not in server.state.values


def check_both_append(server: S3Server, is_there: threading.Event, is_done: threading.Event | None = None) -> None:
    """One machine appends when another has come as far as `is_there`; `is_done` is set when that one has ended."""

    def append_first() -> None:
        append(server, 4, 3, "AKIAOTHER")
        if is_done is not None:
            is_done.set()

    other = threading.Thread(target=append_first)
    other.start()
    assert is_there.wait(10)
    append(server, 40, 2, "AKIASECON")
    other.join()
    server.state.before = None
    check(server, data(), data(4, 3), data(40, 2))


@pytest.mark.usefixtures("_as_machines")
@pytest.mark.parametrize("is_made", [False, True])
def test_who_begins_while_another_is_at_it_waits(server: S3Server, is_made: bool) -> None:
    """The other has not made its commit yet, or not put its documents."""
    save(server)
    is_there, has_tried = threading.Event(), threading.Event()
    puts = list[str]()

    def before(method: str, key: str, who: str) -> None:
        if who == "AKIAOTHER" and method == "PUT" and key.endswith("/zarr.json"):
            puts.append(key)
            if (puts.count(ROOT) == 2 and key != ROOT) if is_made else puts == [ROOT]:
                is_there.set()
                has_tried.wait(10)
        elif who == "AKIASECON" and (method, key) == ("GET", MARKER):
            has_tried.set()

    server.state.before = before
    check_both_append(server, is_there)


@pytest.mark.usefixtures("_as_machines")
def test_another_that_ends_while_it_is_waited_for_is_no_conflict(server: S3Server) -> None:
    """It makes its commit between the look at the root and the one for a marker."""
    save(server)
    is_there, goes_on, is_done = threading.Event(), threading.Event(), threading.Event()
    puts, looks = list[str](), list[str]()

    def before(method: str, key: str, who: str) -> None:
        if who == "AKIAOTHER" and (method, key) == ("PUT", ROOT) and not puts:
            puts.append(key)
            is_there.set()
            goes_on.wait(10)
        elif who == "AKIASECON" and (method, key) == ("GET", MARKER):
            looks.append(key)
            if len(looks) == 3:  # after those by which it was told that another is at it, and the look at the root
                goes_on.set()
                is_done.wait(10)

    server.state.before = before
    check_both_append(server, is_there, is_done)


@pytest.mark.usefixtures("_impatient")
def test_labels_that_change_after_they_were_read_are_a_conflict(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No document tells, and their chunk is not one that is put."""
    encoding = {"time": {"chunks": (4,)}}
    zarrds.save(data(), URL, encoding=encoding, storage_options=options(server))
    other = data().assign_coords(time=[0, 1, 2, 41])
    zarrds.save(other, "s3://bucket/other.zarr", encoding=encoding, storage_options=options(server))
    chunk = next(key for key in server.state.values if key.startswith("other.zarr/time/c"))
    make = direct_commit.DirectCommit.make

    def change(self: direct_commit.DirectCommit, *args: Any) -> None:
        server.state.values[chunk.replace("other", "t2m")] = server.state.values[chunk]
        make(self, *args)

    monkeypatch.setattr(direct_commit.DirectCommit, "make", change)
    with pytest.raises(ConflictError):
        append(server, 40, 2)
    monkeypatch.undo()
    assert opened(server).time.values.tolist() == [0, 1, 2, 41]
    append(server, 42, 2)
    assert opened(server).time.values.tolist() == [0, 1, 2, 41, 42, 43]


@pytest.mark.usefixtures("_impatient")
def test_what_is_wrong_is_said_and_nothing_is_changed(server: S3Server) -> None:
    """But for blanks in the root's document, by which no older plan can be committed any more."""
    save(server)
    before = {key: value.rstrip() for key, (value, *_) in server.state.values.items()}
    with pytest.raises(LabelError):
        append(server, 2)
    with pytest.raises(LabelError):
        zarrds.save(data(4).drop_vars("t2m"), URL, append_dim="time", storage_options=options(server))
    assert {key: value.rstrip() for key, (value, *_) in server.state.values.items()} == before
    check(server, data())


@pytest.mark.usefixtures("_impatient")
def test_who_may_only_read_is_told_so(server: S3Server) -> None:
    save(server)
    server.state.fault = lambda method, key: None if method in ("GET", "HEAD", "LIST") else Fault(403)
    with pytest.raises(StoreIOError, match="denied"):
        append(server, 4)
    server.state.fault = None
    check(server, data())


@pytest.mark.usefixtures("_without_locks")
def test_a_root_that_changes_just_before_it_is_claimed_is_read_again(server: S3Server) -> None:
    """Another commits between the reading of the root and the marker: the append is planned from what is there then."""
    save(server)

    def before(method: str, key: str, who: str) -> None:
        if (method, key, who) == ("PUT", MARKER, "AKIASECON"):
            time.sleep(0.05)  # the root is read meanwhile
            server.state.before = None
            append(server, 4, 3)

    server.state.before = before
    append(server, 40, 2, "AKIASECON")
    assert server.state.before is None
    check(server, data(), data(4, 3), data(40, 2))


@pytest.mark.usefixtures("_impatient")
def test_who_plans_for_long_gives_signs_of_life(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another waits for it, rather than to take it for dead, and then appends as well."""
    monkeypatch.setattr(commits, "_PATIENCE", 0.6)
    monkeypatch.setattr(commits, "_BEAT", 0.2)
    monkeypatch.setattr(commits, "process_id", lambda: f"thread {threading.get_ident()}")
    monkeypatch.setattr(committing, "process_id", lambda: f"thread {threading.get_ident()}")
    monkeypatch.setattr(RemoteStore, "lock", lambda self, *keys: nullcontext())
    save(server)
    make, n_made = direct_commit.DirectCommit.make, iter(range(2))

    def late(self: direct_commit.DirectCommit, *args: Any) -> None:
        if not next(n_made):
            other.start()
            time.sleep(1.5)
        make(self, *args)

    monkeypatch.setattr(direct_commit.DirectCommit, "make", late)
    other = threading.Thread(target=append, args=(server, 40, 2))
    append(server, 4, 3)
    other.join()
    check(server, data(), data(4, 3), data(40, 2))


@pytest.mark.usefixtures("_impatient")
def test_documents_that_another_library_has_changed_are_gone_by(server: S3Server) -> None:
    """The root's document says something else of them, and so is no measure."""
    save(server)
    key = "t2m.zarr/t2m/zarr.json"
    text = server.state.values[key][0].rstrip().removesuffix(b"}") + b', "attributes": {"by": "another"}}'
    server.state.values[key] = text, '"other"', 0.0
    append(server, 4)
    found = xr.open_dataset(URL, engine="zarrds", storage_options=options(server), consolidated=False)
    assert found.t2m.attrs == {"by": "another"}
    np.testing.assert_array_equal(opened(server).t2m, data(0, 8).t2m)


@pytest.mark.usefixtures("_impatient")
def test_a_large_edge_is_read_when_it_is_needed(server: S3Server) -> None:
    ds = xr.Dataset({"t2m": (("time", "x"), np.ones((2, 2**17)))}, {"time": [0, 1]})
    zarrds.save(ds, URL, encoding={"t2m": {"chunks": (4, 2**16)}}, storage_options=options(server))
    for n in (1, 2):
        zarrds.save(ds.assign_coords(time=[2 * n, 2 * n + 1]), URL, append_dim="time", storage_options=options(server))
    assert (opened(server).t2m == 1).all()
    assert opened(server).sizes["time"] == 6


@pytest.mark.usefixtures("_impatient", "_without_locks")
@pytest.mark.parametrize("key", ["t2m/c.1.0", "time/c.0", "t2m/zarr.json"])
def test_what_is_read_after_another_has_gone_on_is_not_written_over(server: S3Server, key: str) -> None:
    """Chunks at the edge, or documents, are of the other's commit then: their ETags would tell nothing."""
    zarrds.save(
        data(), URL, encoding={"t2m": {"chunks": (3, 3)}, "time": {"chunks": (64,)}}, storage_options=options(server)
    )
    assert f"t2m.zarr/{key}" in server.state.values
    errors = paused_when(
        server,
        nth(1, "GET", f"t2m.zarr/{key}"),
        lambda: append(server, 40, 7, "AKIAPAUSE"),
        lambda: append(server, 4, 3),
    )
    check(server, data(), data(4, 3), *([] if errors else [data(40, 7)]))


def nth_change(number: int) -> Callable[[str, str], bool]:
    left = iter(range(number))
    return lambda method, key: next(left, None) is None


@pytest.mark.usefixtures("_impatient", "_without_locks")
@pytest.mark.parametrize("number", [0, 1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 12))])
def test_an_append_is_answered_late_at_each_request(server: S3Server, number: int) -> None:
    """Another takes the writer for dead meanwhile, and makes an append of its own."""
    save(server)

    def other() -> None:
        try:
            append(server, 4, 3)
        except LabelError:
            append(server, 47, 2)

    errors = answered_late(server, nth_change(number), lambda: append(server, 40, 7, "AKIAPAUSE"), other)
    assert errors in ([], ["ConflictError"])
    is_second = not errors and 4 in opened(server).time  # it began anew
    first = data(40, 7)
    check(server, data(), *([data(4, 3)] if errors else [data(4, 3), first] if is_second else [first, data(47, 2)]))


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_an_append_killed_at_each_request_can_be_made_again(server: S3Server, step: int) -> None:
    number = 0
    while True:
        server.clear()
        save(server)
        left = iter(range(number))
        server.state.fault = lambda method, key, left=left: None if next(left, None) is not None else Fault(400)
        is_killed = False
        try:
            append(server, 4, 3)
        except ZarrdsError:
            is_killed = True
        server.state.fault = None
        if opened(server).sizes["time"] == 4:
            append(server, 4, 3)
        append(server, 7, 2)
        check(server, data(0, 9))
        if not is_killed and number > 20:
            break
        number += step


@pytest.mark.usefixtures("_impatient", "_without_locks")
def test_a_root_that_is_replaced_while_its_documents_are_read_is_read_again(server: S3Server) -> None:
    """By one of the other format: of the old one and of the new one, that is seen which makes no store."""
    save(server)

    def replace() -> None:
        while ("GET", "t2m.zarr/.zgroup") not in server.state.requests:
            time.sleep(0.001)
        time.sleep(0.05)  # until it is answered
        zarrds.save(data(), URL, mode="w", zarr_format=2, storage_options=options(server))

    server.state.requests.clear()
    late = (ROOT, "t2m.zarr/.zmetadata")
    errors = paused_when(server, lambda _method, key: key in late, lambda: append(server, 40, 2, "AKIAPAUSE"), replace)
    assert not errors
    check(server, data(), data(40, 2))


@pytest.mark.parametrize("where", ["OpenCommit.keep_alive", "_Lock.__enter__"])
def test_who_is_interrupted_keeps_nobody_out(server: S3Server, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C between two steps: no heartbeat is given any more, and what was seen is forgotten."""
    kind, _, name = where.partition(".")
    made: Any = {"OpenCommit": open_commit.OpenCommit, "_Lock": sessions._Lock}[kind]
    method = getattr(made, name)
    save(server)

    def interrupted(self: Any) -> None:
        method(self)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(made, name, interrupted)
    with suppress(KeyboardInterrupt):
        append(server, 4, 3)
    assert MARKER not in server.state.values
    assert not [thread for thread in threading.enumerate() if thread.name == "zarrds"]
    server.clear()
    save(server)
    append(server, 4, 3)
    check(server, data(), data(4, 3))

"""Appends in object storage read side by side what other writers may be about to change: nothing old is gone by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

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
    opened,
    options,
    save,
)
from zarrds.errors import ConflictError, LabelError, ZarrdsError
from zarrds.storage.obstore import growth

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")


def check(server: S3Server, *parts: xr.Dataset) -> None:
    xr.testing.assert_identical(opened(server), xr.concat(parts, "time"))
    assert zarrds.verify(URL, storage_options=options(server)).ok
    assert MARKER not in server.state.values


@pytest.mark.slow  # it waits for what another gives up
@pytest.mark.usefixtures("_as_machines")
@pytest.mark.parametrize("is_seen", [False, True])
def test_documents_are_read_before_another_has_put_them(server: S3Server, is_seen: bool) -> None:
    """The look for a marker comes before the other begins, the root is read after its commit, documents before theirs.

    The second look comes while the other is still at it, or after it has ended.
    """
    save(server)
    has_looked, is_made, are_read, has_ended = (threading.Event() for _ in range(4))
    looks, puts, reads = list[str](), list[str](), list[str]()

    def before(method: str, key: str, who: str) -> None:
        if who == "AKIAGLANC":
            if key == MARKER:
                has_looked.set()
            if (method, key) == ("GET", ROOT) and not reads:
                is_made.wait(10)
            elif (method, key) == ("GET", MARKER):
                looks.append(key)
                if len(looks) == 2 and not is_seen:
                    has_ended.wait(10)
            elif method == "GET" and key.endswith(".json"):
                reads.append(key)
        elif who == "AKIAOTHER" and method == "PUT" and key.endswith("/zarr.json"):
            puts.append(key)
            if puts.count(ROOT) == 2 and key != ROOT:
                is_made.set()
                are_read.wait(10)

    def other() -> None:
        has_looked.wait(10)
        append(server, 4, 3, "AKIAOTHER")
        has_ended.set()

    def let_go() -> None:
        is_made.wait(10)
        while len(reads) < 4:
            time.sleep(0.005)
        time.sleep(0.03)  # they are answered as well
        are_read.set()

    server.state.before = before
    threads = [threading.Thread(target=act) for act in (other, let_go)]
    for thread in threads:
        thread.start()
    append(server, 40, 2, "AKIAGLANC")
    for thread in threads:
        thread.join()
    server.state.before = None
    check(server, data(), data(4, 3), data(40, 2))
    assert len(looks) > 2


@pytest.mark.usefixtures("_impatient")
def test_labels_that_change_after_they_were_read_are_a_conflict(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No document tells, and their chunk is not one that is put."""
    encoding = {"time": {"chunks": (4,)}}
    zarrds.save(data(), URL, encoding=encoding, storage_options=options(server))
    begin = growth.Straight._begin

    def change(self: growth.Straight, gone: object) -> None:
        zarrds.open_array(URL, "r+", path="time", storage_options=options(server))[3] = 41
        begin(self, gone)

    monkeypatch.setattr(growth.Straight, "_begin", change)
    with pytest.raises(ConflictError):
        append(server, 40, 2)
    monkeypatch.undo()
    assert opened(server).time.values.tolist() == [0, 1, 2, 41]
    append(server, 42, 2)
    assert opened(server).time.values.tolist() == [0, 1, 2, 41, 42, 43]


@pytest.mark.usefixtures("_impatient")
def test_what_is_wrong_is_said_and_nothing_is_put(server: S3Server) -> None:
    save(server)
    server.state.requests.clear()
    with pytest.raises(LabelError):
        append(server, 2)
    with pytest.raises(LabelError):
        zarrds.save(data(4).drop_vars("t2m"), URL, append_dim="time", storage_options=options(server))
    assert set(server.state.counts()) <= {"GET", "HEAD", "LIST"}
    check(server, data())


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
    first = data(40, 7)
    check(server, *([data(), data(4, 3)] if errors else [data(), first, data(47, 2)]))


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

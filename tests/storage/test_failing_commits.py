"""Commits in object storage that fail or die half-way: nothing is half there, and who comes next can go on."""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections import Counter

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import Fault, S3Server
from tests.storage.s3_writers import (
    ACTS,
    MARKER,
    ROOT,
    URL,
    append,
    append_staged,
    data,
    opened,
    options,
    save,
    seen_by_zarr,
    set_n,
)
from zarrds.errors import StoreIOError, ZarrdsError
from zarrds.storage.commits import direct_marker
from zarrds.storage.fsspec import commits
from zarrds.storage.fsspec.store import RemoteStore
from zarrds.storage.obstore.changes import direct_commit
from zarrds.stores import as_store

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

pytestmark = pytest.mark.usefixtures("_impatient")


def test_a_lost_answer_of_the_commit_is_found_out(server: S3Server) -> None:
    save(server)
    for status in (503, None):
        lost: list[str] = []

        def lose(method: str, key: str, lost: list[str] = lost, status: int | None = status) -> Fault | None:
            if method != "PUT" or key in lost:
                return None
            lost.append(key)
            return Fault(status, is_done=True)

        server.state.fault = lose
        set_n(server, 2 if status else 3, "t2m")
        server.state.fault = None
        assert ROOT in lost
        assert opened(server).t2m.attrs == {"n": 2 if status else 3}
        assert MARKER not in server.state.values


def test_an_answer_that_never_comes_is_decided(server: S3Server) -> None:
    """The put of the root is done, and all that is asked afterwards is refused: who comes next finds it out."""
    save(server)
    is_dead: list[bool] = []

    def die(method: str, key: str) -> Fault | None:
        if is_dead:
            return Fault(400)
        if method == "PUT" and key == ROOT:
            is_dead.append(True)
            return Fault(400, is_done=True)
        return None

    server.state.fault = die
    with pytest.raises(ZarrdsError):
        set_n(server, 2, "t2m")
    server.state.fault = None
    assert MARKER in server.state.values
    assert opened(server).t2m.attrs["n"] == 2  # no reader waits, nor has to write
    assert MARKER in server.state.values
    own = json.loads(server.state.values["t2m.zarr/t2m/zarr.json"][0])
    assert own["attributes"].get("n") is None
    set_n(server, 5)
    assert json.loads(server.state.values["t2m.zarr/t2m/zarr.json"][0])["attributes"]["n"] == 2
    assert opened(server).attrs == {"n": 5}
    assert zarrds.verify(URL, storage_options=options(server)).ok


def test_what_is_committed_is_not_said_to_have_failed(server: S3Server) -> None:
    """Whoever tries again would have it twice."""
    save(server)
    own = "t2m.zarr/t2m/zarr.json"
    server.state.fault = lambda method, key: Fault(403) if method == "PUT" and key == own else None
    with pytest.warns(UserWarning, match=r"is committed, .* the next writer puts them"):
        append(server, 4, 3)
    server.state.fault = None
    xr.testing.assert_identical(opened(server), data(0, 7))
    assert json.loads(server.state.values[own][0])["shape"] == [4, 3]
    set_n(server, 5)
    assert json.loads(server.state.values[own][0])["shape"] == [7, 3]
    assert MARKER not in server.state.values
    assert zarrds.verify(URL, storage_options=options(server)).ok


def test_what_is_committed_is_no_error_where_warnings_are(server: S3Server) -> None:
    save(server)
    own = "t2m.zarr/t2m/zarr.json"
    server.state.fault = lambda method, key: Fault(403) if method == "PUT" and key == own else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        append(server, 4, 3)
    server.state.fault = None
    assert json.loads(server.state.values[own][0])["shape"] == [4, 3]
    xr.testing.assert_identical(opened(server), data(0, 7))


def test_of_what_is_staged_it_is_said_that_it_is_committed(server: S3Server) -> None:
    save(server)
    server.state.fault = lambda method, key: Fault(403) if method == "COPY" else None
    with pytest.raises(StoreIOError, match=r"It is committed: .* Do not make the change again"):
        append_staged(server, 4, 4)
    server.state.fault = None
    xr.testing.assert_identical(opened(server), data(0, 8))


@pytest.mark.parametrize("status", [409, 412, 503, None])
def test_a_refusal_without_a_reason_is_no_conflict(server: S3Server, status: int | None) -> None:
    save(server)
    refused: list[str] = []

    def refuse(method: str, key: str) -> Fault | None:
        if method != "PUT" or key in refused or key == MARKER:
            return None
        refused.append(key)
        return Fault(status)

    server.state.fault = refuse
    set_n(server, 2, "t2m")
    refused.clear()
    append(server, 4, 6)
    server.state.fault = None
    assert {"t2m.zarr/t2m/c.1.0", "t2m.zarr/t2m/c.2.0"} <= set(refused)
    assert opened(server).t2m.attrs["n"] == 2
    xr.testing.assert_equal(opened(server), data(0, 10))
    assert zarrds.verify(URL, storage_options=options(server)).ok


KILLED = {name: act for name, act in ACTS.items() if name not in ("a group", "resize")}


def kill_at(server: S3Server, name: str, number: int) -> bool:
    """Kill a change at that request; whether it was. The store is old or new then, and the next writer works."""
    server.clear()
    save(server)
    before = opened(server)
    left = iter(range(number))
    server.state.fault = lambda method, key: None if next(left, None) is not None else Fault(400)
    try:
        ACTS[name](server)
        is_killed = False
    except ZarrdsError:
        is_killed = True
    server.state.fault = None
    if name == "append to an array":
        array = zarrds.open_array(URL, "r+", path="t2m", storage_options=options(server))
        array.append(np.full((1, 3), 2.0))
        n = len(array)
        assert n in (5, 9)
        np.testing.assert_array_equal(array[:], np.concatenate([before.t2m, np.ones((n - 5, 3)), np.full((1, 3), 2)]))
        return is_killed
    found = opened(server)
    other = seen_by_zarr(server.state.values)
    xr.testing.assert_equal(found, other)
    if name.startswith("attributes"):
        after = before.assign_attrs(n=2) if name == "attributes" else before.assign(t2m=before.t2m.assign_attrs(n=2))
        assert found.identical(before) or found.identical(after)
    elif name == "append":
        assert found.identical(before) or found.identical(data(0, 8))
        report = zarrds.verify(URL, storage_options=options(server))
        assert all(each.severity == "warning" for each in report.findings), report  # chunks beyond the shape
    elif name == "a variable":
        assert found.identical(before) or (found.pr == 1).all()
    n = found.sizes["time"]
    if "pr" not in found:
        append(server, n, 5)
        xr.testing.assert_equal(opened(server).drop_attrs(), data(0, n + 5).drop_attrs())
    else:
        set_n(server, 7)
    report = zarrds.verify(URL, storage_options=options(server))
    assert report.ok, report
    return is_killed


@pytest.mark.one_in(20)
@pytest.mark.parametrize("name", KILLED)
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_requests(server: S3Server, name: str, step: int) -> None:
    number = step - 1
    while kill_at(server, name, number):
        number += step
    assert number > 12


def test_what_a_dead_writer_left_beyond_the_shape_is_replaced(server: S3Server) -> None:
    save(server)
    last = threading.Event()
    puts = Counter[str]()

    def die(method: str, key: str) -> Fault | None:
        if method == "PUT":
            puts[key] += 1
            if key == ROOT and puts[key] == 2:
                last.set()
        return Fault(400) if last.is_set() else None

    server.state.fault = die
    with pytest.raises(ZarrdsError):
        append(server, 40, 8)
    server.state.fault = None
    assert "t2m.zarr/t2m/c.3.0" in server.state.values
    xr.testing.assert_identical(opened(server), data())
    append(server, 4, 3)  # over one of the chunks, and not as far as the others
    xr.testing.assert_identical(opened(server), data(0, 7))
    append(server, 7, 9)
    xr.testing.assert_identical(opened(server), data(0, 16))
    assert zarrds.verify(URL, storage_options=options(server)).ok


def test_a_dead_writer_that_wakes_up_cannot_commit(server: S3Server) -> None:
    """Who finds its marker claims the root before anything else."""
    save(server)
    claims: list[str] = []

    def die(method: str, key: str) -> Fault | None:
        if claims or (method == "PUT" and key.endswith("c.2.0")):
            claims.append(server.state.values[ROOT][1])
            return Fault(400)
        return None

    server.state.fault = die
    with pytest.raises(ZarrdsError):
        append(server, 4, 3)
    server.state.fault = None
    assert MARKER in server.state.values
    store = as_store(URL, options(server))
    store.recover()
    assert MARKER not in server.state.values
    assert server.state.values[ROOT][1] != claims[0]
    xr.testing.assert_identical(opened(server), data())


def test_signs_of_life_are_given_while_a_request_takes_long(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    save(server)
    monkeypatch.setattr(commits, "_BEAT", 0.02)
    monkeypatch.setattr(direct_commit, "QUICK_NBYTES", 0)
    signs: list[str] = []

    def slow(method: str, key: str, who: str) -> None:
        if key.endswith("t2m/c.2.0"):
            time.sleep(0.2)
        if ".alive" in key:
            signs.append(key)

    server.state.before = slow
    append(server, 4, 3)
    server.state.before = None
    assert len(signs) > 2
    xr.testing.assert_identical(opened(server), data(0, 7))
    assert not [key for key in server.state.values if "partial" in key]


def test_who_may_not_write_reads_what_a_dead_writer_left(server: S3Server) -> None:
    save(server)
    server.state.fault = lambda method, key: Fault(400) if method == "PUT" and key.endswith("c.2.0") else None
    marker: list[bytes] = []

    def note(method: str, key: str) -> None:
        if key == MARKER and method == "PUT":
            marker.append(server.state.values[MARKER][0])

    server.state.seen = note
    with pytest.raises(ZarrdsError):
        append(server, 4, 3)
    server.state.seen = None
    server.state.values[MARKER] = marker[0], '"1"', 0.0
    server.state.fault = lambda method, key: None if method in ("GET", "HEAD", "LIST") else Fault(403)
    for consolidated in (None, False):
        found = xr.open_dataset(URL, engine="zarrds", consolidated=consolidated, storage_options=options(server))
        xr.testing.assert_identical(found.load(), data())
    with pytest.raises(StoreIOError, match="denied"):
        append(server, 4, 3)
    server.state.fault = None
    append(server, 4, 3)
    xr.testing.assert_identical(opened(server), data(0, 7))


def test_who_may_not_write_reads_what_is_made_but_not_all_put(server: S3Server) -> None:
    save(server)
    own = "t2m.zarr/t2m/zarr.json"
    server.state.fault = lambda method, key: Fault(403) if method == "PUT" and key == own else None
    with pytest.warns(UserWarning, match="is committed"):
        set_n(server, 2, "t2m")
    server.state.fault = lambda method, key: None if method in ("GET", "HEAD", "LIST") else Fault(403)
    assert opened(server).t2m.attrs["n"] == 2
    with pytest.warns(UserWarning, match="may not put them"):
        found = xr.open_dataset(URL, engine="zarrds", consolidated=False, storage_options=options(server))
    assert "n" not in found.t2m.attrs
    with pytest.warns(UserWarning, match="may not put them"), pytest.raises(StoreIOError, match="denied"):
        set_n(server, 3)
    server.state.fault = None
    set_n(server, 4)
    assert json.loads(server.state.values[own][0])["attributes"]["n"] == 2
    assert MARKER not in server.state.values


def test_who_may_put_but_not_delete_replaces_nothing(server: S3Server) -> None:
    """What it could not carry out is refused before the instant."""
    save(server)
    server.state.fault = lambda method, key: Fault(403) if method == "DELETE" or key == "?delete" else None
    with pytest.raises(StoreIOError, match="denied"):
        zarrds.save(data(3)[["time"]], URL, mode="w", storage_options=options(server))
    with pytest.raises(StoreIOError, match="denied"):
        zarrds.drop_vars(URL, ["t2m"], storage_options=options(server))
    assert MARKER not in server.state.values
    xr.testing.assert_identical(opened(server), data())


@pytest.mark.parametrize("name", ["grow", "stage"])
def test_who_may_put_but_not_delete_commits(server: S3Server, name: str) -> None:
    """The marker stays and says that it means nothing, to this process and to others."""
    act = append if name == "grow" else append_staged
    save(server)
    server.state.fault = lambda method, key: Fault(403) if method == "DELETE" or key == "?delete" else None
    for start in (4, 7, 10):
        act(server, start, 3)
    assert json.loads(server.state.values[MARKER][0])["void"] is True
    assert as_store(URL, options(server)).damaged() == []
    server.state.fault = None
    xr.testing.assert_identical(opened(server), data(0, 13))
    assert zarrds.verify(URL, storage_options=options(server)).ok
    act(server, 13, 3)
    assert MARKER not in server.state.values
    xr.testing.assert_identical(opened(server), data(0, 16))


def test_a_marker_that_cannot_be_removed_is_not_called_off_for_ever(server: S3Server) -> None:
    save(server)
    server.state.fault = lambda method, key: Fault(400) if method == "DELETE" or key == "?delete" else None
    set_n(server, 2)
    with pytest.raises(StoreIOError, match="to call off"):
        set_n(server, 3)
    server.state.fault = None
    set_n(server, 4)
    assert opened(server).attrs == {"n": 4}


@pytest.mark.parametrize(
    "marker",
    [
        direct_marker.DirectMarker("elsewhere", commits.new_folder(), "zarr.json", direct_marker.new_write(), {}),
        commits.Commit(commits.new_folder(), (("0", 1),), "elsewhere", is_claimed=False),
    ],
    ids=["growing", "not claimed"],
)
def test_who_has_only_fsspec_leaves_such_commits_alone(marker: commits.Commit | direct_marker.DirectMarker) -> None:
    """The marker of a dead writer: read as it is; not replaced by who could not keep that writer from going on."""
    url = "memory://straight/t2m.zarr"
    zarrds.save(data(), url, mode="w")
    store = RemoteStore(url)
    store._objects.write(commits.MARKER, marker.dump())
    xr.testing.assert_identical(xr.open_dataset(url, engine="zarrds").load(), data())
    with pytest.raises(StoreIOError, match="conditional"):
        zarrds.update_attrs(url, {"n": 2})
    xr.testing.assert_identical(xr.open_dataset(url, engine="zarrds").load(), data())
    store._objects.remove(commits.MARKER)


GROWING = {
    "kind": "growing",
    "owner": "a",
    "folder": ".0a.zarrds-partial",
    "root": "zarr.json",
    "write": "0" * 16,
    "documents": {},
}


@pytest.mark.parametrize(
    "found",
    [
        {"kind": "growing"},
        GROWING | {"folder": "x"},
        GROWING | {"root": "../a"},
        GROWING | {"write": "z"},
        GROWING | {"documents": []},
        GROWING | {"documents": {"../a": ""}},
        GROWING | {"documents": {"t2m/zarr.json": "\ud800"}},
        GROWING | {"documents": {"t2m/c.0.0": ""}},
        GROWING | {"documents": {"zarr.json": "{}"}},
        GROWING | {"documents": {".commit.zarrds-partial": "{}"}},
        GROWING | {"documents": {".0a.zarrds-partial/zarr.json": "{}"}},
        GROWING | {"root": "t2m/c.0.0"},
        GROWING | {"root": "t2m/zarr.json"},
        GROWING | {"root": ".commit.zarrds-partial"},
        GROWING | {"kind": "other"},
        {"owner": "a", "folder": ".0a.zarrds-partial", "steps": [["0", -1]], "claimed": True},
        {"owner": "a", "folder": ".0a.zarrds-partial", "steps": [], "claimed": "no"},
    ],
)
def test_a_forged_marker_is_refused(server: S3Server, found: object) -> None:
    save(server)
    server.state.values[MARKER] = json.dumps(found).encode(), '"1"', 0.0
    before = {key: value for key, (value, _, _) in server.state.values.items()}
    with pytest.raises(StoreIOError, match="the marker of changes"):
        set_n(server, 2)
    assert {key: value for key, (value, _, _) in server.state.values.items()} == before

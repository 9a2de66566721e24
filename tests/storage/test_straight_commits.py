"""Changes that only add, in object storage: their commit is one conditional put of the root's document."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.core.buffer import cpu

import zarrds
from tests.storage.s3_server import Fault, S3Server
from tests.storage.s3_writers import (
    MARKER,
    ROOT,
    URL,
    add,
    append,
    data,
    grow,
    opened,
    options,
    save,
    set_n,
)
from zarrds.errors import StoreIOError, ZarrdsError
from zarrds.storage import growing, held
from zarrds.storage.fsspec import commits
from zarrds.storage.fsspec.store import RemoteStore
from zarrds.storage.obstore import growth
from zarrds.stores import as_store

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

pytestmark = pytest.mark.usefixtures("_impatient")

ACTS: dict[str, Callable[[S3Server], object]] = {
    "attributes": lambda server: set_n(server, 2),
    "attributes of a variable": lambda server: set_n(server, 2, "t2m"),
    "append": lambda server: append(server, 4),
    "a variable": lambda server: add(server),
    "append to an array": lambda server: grow(server),
    "resize": lambda server: zarrds.open_array(URL, "r+", path="t2m", storage_options=options(server)).resize((9, 3)),
    "a group": lambda server: zarrds.open_group(URL, "r+", storage_options=options(server)).create_group("a"),
}


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", ACTS)
def test_nothing_is_copied_nor_left(server: S3Server, name: str, zarr_format: Literal[2, 3]) -> None:
    save(server, zarr_format)
    server.state.requests.clear()
    ACTS[name](server)
    counts = Counter(method for method, _ in server.state.requests)
    assert not counts["COPY"]
    assert not [key for key in server.state.values if "partial" in key]
    puts = [key for method, key in server.state.requests if method == "PUT"]
    root = ROOT if zarr_format == 3 else "t2m.zarr/.zmetadata"
    assert puts[0] == MARKER
    assert puts[1] == root
    assert puts.count(root) == 2
    report = zarrds.verify(URL, storage_options=options(server))
    assert report.ok or name in ("append to an array", "resize"), report


# requests; who needs fewer lowers the number, who needs more says why
MOST = {
    "attributes": 17,
    "attributes of a variable": 19,
    "append": 30,
    "a variable": 26,
    "append to an array": 24,
    "resize": 23,
    "a group": 18,
}


@pytest.mark.parametrize("name", ACTS)
def test_requests(server: S3Server, name: str) -> None:
    save(server)
    server.state.requests.clear()
    ACTS[name](server)
    assert len(server.state.requests) == MOST[name], server.state.requests


def test_a_document_that_is_set_back_is_another_value(server: S3Server) -> None:
    save(server)
    seen = set()
    for n in (2, 1, 2, 1):
        set_n(server, n, "t2m")
        assert opened(server).t2m.attrs == {"n": n}
        seen |= {server.state.values[key][1] for key in (ROOT, "t2m.zarr/t2m/zarr.json")}
    assert len(seen) == 8
    assert len(server.state.values[ROOT][0]) - len(server.state.values[ROOT][0].rstrip()) == 64


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
    puts = iter(range(2))
    is_dead: list[bool] = []

    def die(method: str, key: str) -> Fault | None:
        if is_dead:
            return Fault(400)
        if method == "PUT" and key == ROOT and next(puts, None) == 1:
            is_dead.append(True)
            return Fault(400, is_done=True)
        return None

    server.state.fault = die
    with pytest.raises(ZarrdsError):
        set_n(server, 2, "t2m")
    server.state.fault = None
    assert MARKER in server.state.values
    assert opened(server).t2m.attrs == {"n": 2}  # no reader waits, nor has to write
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


def test_of_what_is_staged_it_is_said_that_it_is_committed(server: S3Server) -> None:
    save(server)
    server.state.fault = lambda method, key: Fault(403) if method == "COPY" else None
    with pytest.raises(StoreIOError, match=r"It is committed: .* Do not make the change again"):
        OTHERS["holes"](server)
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
    assert opened(server).t2m.attrs == {"n": 2}
    xr.testing.assert_equal(opened(server), data(0, 10))
    assert zarrds.verify(URL, storage_options=options(server)).ok


def seen_by_zarr(values: dict[str, tuple[bytes, str, float]]) -> xr.Dataset:
    """What zarr-python reads of a store by its consolidated metadata."""
    prefix = "t2m.zarr/"
    held = {k.removeprefix(prefix): cpu.Buffer.from_bytes(v[0]) for k, v in values.items() if "partial" not in k}
    return xr.open_dataset(zarr.storage.MemoryStore(held), engine="zarr", consolidated=True, chunks=None).load()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", ["append", "a variable", "attributes"])
def test_zarr_python_sees_old_or_new_at_each_instant(server: S3Server, name: str, zarr_format: Literal[2, 3]) -> None:
    save(server, zarr_format)
    before, moments = seen_by_zarr(server.state.values), list[dict[str, tuple[bytes, str, float]]]()
    server.state.seen = lambda method, key: moments.append(dict(server.state.values))
    try:
        ACTS[name](server)
    finally:
        server.state.seen = None
    after = seen_by_zarr(server.state.values)
    found = [seen_by_zarr(each) for each in sorted(moments, key=lambda each: max(when for _, _, when in each.values()))]
    states = [0 if each.identical(before) else 1 if each.identical(after) else 2 for each in found]
    assert states == sorted(states)
    assert set(states) == {0, 1}


def test_readers_do_not_wait_while_a_commit_is_under_way(server: S3Server) -> None:
    save(server)
    found: list[xr.Dataset] = []
    is_looking = threading.local()

    def look(method: str, key: str) -> None:
        if not getattr(is_looking, "yes", False):
            is_looking.yes = True
            found.append(opened(server))
            is_looking.yes = False

    server.state.seen = look
    try:
        append(server, 4)
    finally:
        server.state.seen = None
    states = [each.sizes["time"] for each in found]
    assert states == sorted(states)
    assert set(states) == {4, 8}
    xr.testing.assert_identical(found[-1], data(0, 8))
    xr.testing.assert_identical(found[0], data())


@pytest.mark.parametrize("number", range(1, 9))
def test_open_datasets_are_read_while_a_commit_is_under_way(server: S3Server, number: int) -> None:
    """Who reads does not take the writer for a dead one, which would keep it from committing."""
    save(server)
    ds = xr.open_dataset(URL, engine="zarrds", storage_options=options(server))
    left = iter(range(number))
    read: list[xr.Dataset] = []
    has_begun = threading.Event()

    def before(method: str, key: str, who: str) -> None:
        if who == "AKIAWRITE" and method == "PUT" and next(left, None) is None and not has_begun.is_set():
            has_begun.set()
            read.append(ds.isel(time=slice(1, None)).load())

    server.state.before = before
    append(server, 4, 3, who="AKIAWRITE")
    server.state.before = None
    xr.testing.assert_identical(read[0], data().isel(time=slice(1, None)))
    xr.testing.assert_identical(ds.load(), data())
    xr.testing.assert_identical(opened(server), data(0, 7))


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
    except (ZarrdsError, UserWarning):  # the warning that it is committed, but not all documents are put
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


@pytest.mark.parametrize("name", KILLED)
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_requests(server: S3Server, name: str, step: int) -> None:
    number = step - 1
    while kill_at(server, name, number):
        number += step
    assert number > 14


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


OTHERS: dict[str, Callable[[S3Server], object]] = {
    "elements that are visible": lambda server: zarrds.save(
        data().assign(t2m=data().t2m + 1), URL, mode="a", storage_options=options(server)
    ),
    "labels that overlap": lambda server: zarrds.save(
        data(3), URL, append_dim="time", on_overlap="replace", storage_options=options(server)
    ),
    "holes": lambda server: zarrds.save(
        data(4), URL, append_dim="time", write_empty_chunks=False, storage_options=options(server)
    ),
    "fewer elements": lambda server: zarrds.open_array(URL, "r+", path="t2m", storage_options=options(server)).resize(
        (2, 3)
    ),
    "other names": lambda server: zarrds.rename(URL, {"t2m": "tas"}, storage_options=options(server)),
    "an array less": lambda server: zarrds.drop_vars(URL, ["t2m"], storage_options=options(server)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_does_more_than_to_add_is_staged(server: S3Server, name: str) -> None:
    save(server)
    server.state.requests.clear()
    OTHERS[name](server)
    assert ("COPY", ROOT) in server.state.requests
    assert not [key for key in server.state.values if "partial" in key]


def test_many_values_are_staged(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held.HeldChanges.__init__, "__defaults__", (100,))
    save(server)
    append(server, 4, 9)
    assert ("COPY", "t2m.zarr/t2m/c.2.0") in server.state.requests
    xr.testing.assert_identical(opened(server), data(0, 13))
    assert not [key for key in server.state.values if "partial" in key]


@pytest.mark.parametrize("scheduler", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_dask_appends(server: S3Server, scheduler: str) -> None:
    save(server)
    more = {"scheduler": scheduler}
    server.state.requests.clear()
    zarrds.save(
        data(4, 6).chunk(time=2),
        URL,
        append_dim="time",
        chunkmanager_store_kwargs=more,
        storage_options=options(server),
    )
    assert (("COPY", ROOT) in server.state.requests) == (scheduler == "processes")
    xr.testing.assert_identical(opened(server), data(0, 10))
    assert zarrds.verify(URL, storage_options=options(server)).ok


def test_statistics_are_kept(server: S3Server) -> None:
    save(server)
    zarrds.index(URL, storage_options=options(server))
    append(server, 4, 5)
    xr.testing.assert_identical(opened(server), data(0, 9))
    assert zarrds.verify(URL, storage_options=options(server)).ok


def test_trees_grow(server: S3Server) -> None:
    trees = [xr.DataTree.from_dict({"/": data(start), "/a": data(start).drop_vars("time")}) for start in (0, 4)]
    zarrds.save(trees[0], URL, storage_options=options(server))
    server.state.requests.clear()
    zarrds.save(trees[1], URL, append_dim="time", storage_options=options(server))
    assert not server.state.counts()["COPY"]
    found = xr.open_datatree(URL, engine="zarrds", storage_options=options(server)).load()
    xr.testing.assert_identical(found.to_dataset(), data(0, 8))
    np.testing.assert_array_equal(found["a/t2m"], data(0, 8).t2m)


def test_shards_grow(server: S3Server) -> None:
    encoding = {"t2m": {"chunks": (1, 3), "shards": (3, 3)}}
    zarrds.save(data(), URL, encoding=encoding, storage_options=options(server))
    server.state.requests.clear()
    for start in (4, 6):
        append(server, start, 2)
    assert not server.state.counts()["COPY"]
    xr.testing.assert_identical(opened(server), data(0, 8))


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
    monkeypatch.setattr(commits, "_SIGN", 0.02)
    monkeypatch.setattr(growth, "_QUICK_NBYTES", 0)
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


@pytest.mark.parametrize(
    "marker",
    [
        growing.Growing("elsewhere", commits.new_folder(), "zarr.json", growing.new_write(), {}),
        commits.Commit(commits.new_folder(), (("0", 1),), "elsewhere", is_claimed=False),
    ],
    ids=["growing", "not claimed"],
)
def test_who_has_only_fsspec_leaves_such_commits_alone(marker: commits.Commit | growing.Growing) -> None:
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
        GROWING | {"kind": "other"},
        {"owner": "a", "folder": ".0a.zarrds-partial", "steps": [], "claimed": "no"},
    ],
)
def test_a_forged_marker_is_refused(server: S3Server, found: object) -> None:
    save(server)
    server.state.values[MARKER] = json.dumps(found).encode(), '"1"', 0.0
    with pytest.raises(StoreIOError, match="marker"):
        set_n(server, 2)

"""Changes that only add, in object storage: their commit is one conditional put of the root's document."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Literal

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.core.buffer import cpu

import zarrds
from tests.storage.s3_server import Fault, S3Server, serving
from zarrds.errors import ConflictError, LabelError, ZarrdsError
from zarrds.storage.fsspec import commits
from zarrds.storage.fsspec.store import RemoteStore
from zarrds.storage.obstore import committing

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

URL = "s3://bucket/t2m.zarr"
ROOT, MARKER = "t2m.zarr/zarr.json", "t2m.zarr/.commit.zarrds-partial"


@pytest.fixture(scope="module")
def running() -> Iterator[S3Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    clear(running)
    monkeypatch.setattr(commits, "_PATIENCE", 0.05)
    monkeypatch.setattr(commits, "_POLL", 0.01)
    return running


def clear(server: S3Server) -> None:
    server.state.values.clear()
    server.state.requests.clear()
    server.state.fault = server.state.before = None


def data(start: int = 0, n: int = 4) -> xr.Dataset:
    return xr.Dataset(
        {"t2m": (("time", "x"), np.arange(start * 3.0, (start + n) * 3).reshape(n, 3))},
        {"time": np.arange(start, start + n)},
        {"n": 1},
    )


def options(server: S3Server, who: str = "AKIATEST") -> dict[str, object]:
    return server.options | {"key": who}


def save(server: S3Server, zarr_format: Literal[2, 3] = 3) -> None:
    encoding = {"t2m": {"chunks": (3, 3)}}
    zarrds.save(data(), URL, zarr_format=zarr_format, encoding=encoding, storage_options=options(server))


def opened(server: S3Server) -> xr.Dataset:
    return xr.open_dataset(URL, engine="zarrds", storage_options=options(server)).load()


def append(server: S3Server, start: int, n: int = 4, who: str = "AKIATEST") -> None:
    zarrds.save(data(start, n), URL, append_dim="time", storage_options=options(server, who))


def set_n(server: S3Server, n: int, variable: str | None = None, who: str = "AKIATEST") -> None:
    zarrds.update_attrs(URL, {"n": n}, variable, storage_options=options(server, who))


def add(server: S3Server, who: str = "AKIATEST") -> None:
    new = xr.Dataset({"pr": (("time", "x"), np.ones((4, 3)))})
    zarrds.save(new, URL, mode="a", storage_options=options(server, who))


def grow(server: S3Server, who: str = "AKIATEST") -> None:
    zarrds.open_array(URL, "r+", path="t2m", storage_options=options(server, who)).append(np.ones((4, 3)))


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
    "attributes": 23,
    "attributes of a variable": 27,
    "append": 36,
    "a variable": 33,
    "append to an array": 27,
    "resize": 26,
    "a group": 21,
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


@pytest.mark.parametrize("status", [409, 412])
def test_a_refusal_without_a_reason_is_no_conflict(server: S3Server, status: int) -> None:
    save(server)
    refused: list[str] = []

    def refuse(method: str, key: str) -> Fault | None:
        if method != "PUT" or key in refused or key == MARKER:
            return None
        refused.append(key)
        return Fault(status)

    server.state.fault = refuse
    set_n(server, 2, "t2m")
    server.state.fault = None
    assert opened(server).t2m.attrs == {"n": 2}
    assert zarrds.verify(URL, storage_options=options(server)).ok


@pytest.fixture
def _without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads are as other machines then."""
    monkeypatch.setattr(RemoteStore, "lock", lambda self, *keys: nullcontext())


def seen_by_zarr(values: dict[str, tuple[bytes, str, float]]) -> xr.Dataset:
    """What zarr-python reads of a store by its consolidated metadata."""
    prefix = "t2m.zarr/"
    held = {k.removeprefix(prefix): cpu.Buffer.from_bytes(v[0]) for k, v in values.items() if "partial" not in k}
    return xr.open_dataset(zarr.storage.MemoryStore(held), engine="zarr", consolidated=True, chunks=None).load()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", ["append", "a variable", "attributes"])
def test_zarr_python_sees_old_or_new_at_each_instant(server: S3Server, name: str, zarr_format: Literal[2, 3]) -> None:
    save(server, zarr_format)
    before, found = seen_by_zarr(server.state.values), list[xr.Dataset]()
    server.state.seen = lambda method, key: found.append(seen_by_zarr(dict(server.state.values)))
    try:
        ACTS[name](server)
    finally:
        server.state.seen = None
    after = seen_by_zarr(server.state.values)
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


KILLED = {name: act for name, act in ACTS.items() if name not in ("a group", "resize")}


def kill_at(server: S3Server, name: str, number: int) -> bool:
    """Kill a change at that request; whether it was. The store is old or new then, and the next writer works."""
    clear(server)
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


def paused_at(server: S3Server, number: int, act: Callable[[], None], meanwhile: Callable[[], None]) -> list[str]:
    """Stop the writer AKIAPAUSE before its request of that number, do something else, and let it go on."""
    reached, may_go = threading.Event(), threading.Event()
    left = iter(range(number))
    errors: list[str] = []

    def before(method: str, key: str, who: str) -> None:
        if who == "AKIAPAUSE" and next(left, None) is None:
            reached.set()
            may_go.wait(20)

    def run() -> None:
        try:
            act()
        except ZarrdsError as error:
            errors.append(type(error).__name__)
        finally:
            reached.set()

    server.state.before = before
    thread = threading.Thread(target=run)
    thread.start()
    reached.wait(20)
    try:
        meanwhile()
    finally:
        may_go.set()
        thread.join()
        server.state.before = None
    return errors


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("other", ["t2m", None])
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_a_writer_of_documents_is_stopped_and_goes_on(server: S3Server, other: str | None, step: int) -> None:
    """It has got a conflict and changed nothing, or has changed what it was to change."""
    conflicts = 0
    for number in range(0, 30, step):
        clear(server)
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
    conflicts = 0
    parts = {0: data(), 4: data(4, 3), 40: data(40, 7)}
    for number in range(0, 45, step):
        clear(server)
        save(server)
        errors = paused_at(
            server, number, lambda: append(server, 40, 7, "AKIAPAUSE"), lambda: append_if_it_fits(server, 4, 3)
        )
        found = opened(server)
        conflicts += bool(errors)
        assert errors in ([], ["ConflictError"]), number
        expected = [4] if errors else [4, 40] if 4 in found.time else [40]
        xr.testing.assert_identical(found, xr.concat([parts[start] for start in (0, *expected)], "time"))
        report = zarrds.verify(URL, storage_options=options(server))
        assert report.ok, (number, report)
    assert conflicts > 8 // step


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


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("patience", [0.0, 20.0])
@given(plan=PLANS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_of_two_appends_none_is_mixed(running: S3Server, plan: list[tuple[bool, int]], patience: float) -> None:
    check_two_appends(running, plan, patience)


@pytest.mark.slow
@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("patience", [0.0, 20.0])
@given(plan=PLANS)
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_of_two_appends_none_is_ever_mixed(running: S3Server, plan: list[tuple[bool, int]], patience: float) -> None:
    check_two_appends(running, plan, patience)


def check_two_appends(running: S3Server, plan: list[tuple[bool, int]], patience: float) -> None:
    """Whatever the order of their requests: each is there whole, or has got an error and is not there."""
    clear(running)
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

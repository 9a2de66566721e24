"""Changes that only add, in object storage: their commit is one conditional put of the root's document."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Literal

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import Fault, S3Server, serving
from zarrds.errors import ZarrdsError
from zarrds.storage.fsspec import commits
from zarrds.storage.fsspec.store import RemoteStore

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
    assert zarrds.verify(URL, storage_options=options(server)).ok


# requests; who needs fewer lowers the number, who needs more says why
MOST = {"attributes": 23, "attributes of a variable": 27, "a group": 21}


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

"""`mode="w"` over a store in object storage: chunks under other keys, one put of the root's document, no copies."""

from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress

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
    check_whole,
    data,
    new,
    nth,
    opened,
    options,
    paused_when,
    replace,
    save,
    seen_by_zarr,
    set_n,
)
from zarrds.errors import ConflictError, StoreExistsError, ZarrdsError
from zarrds.storage import held
from zarrds.storage.obstore.changes import new_store, open_commit

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

pytestmark = pytest.mark.usefixtures("_impatient")


def test_nothing_is_copied_nor_left(server: S3Server) -> None:
    save(server)
    for ds in (new(), data(), new(7), new(8).drop_vars("t2m")):
        server.state.requests.clear()
        replace(server, ds)
        assert not server.state.counts()["COPY"]
        check_whole(server, ds)
        xr.testing.assert_equal(seen_by_zarr(server.state.values), ds)
    assert not [key for key in server.state.values if "/t2m/" in key]


def test_requests(server: S3Server) -> None:
    save(server)
    server.state.requests.clear()
    replace(server, data(9))
    assert len(server.state.requests) == 31, server.state.requests  # who needs fewer lowers the number


def test_a_tree_is_replaced(server: S3Server) -> None:
    for start in (0, 5, 9):
        tree = xr.DataTree.from_dict({"/": new(start), "/a": new(start).drop_vars("pr"), "/b/c": new(start)[["t2m"]]})
        server.state.requests.clear()
        zarrds.save(tree, URL, mode="w", storage_options=options(server))
        assert not server.state.counts()["COPY"]
        found = xr.open_datatree(URL, engine="zarrds", storage_options=options(server)).load()
        xr.testing.assert_identical(found, tree)
    assert zarrds.verify(URL, storage_options=options(server)).ok


def test_readers_see_old_or_new_and_do_not_wait(server: S3Server) -> None:
    save(server)
    found: list[xr.Dataset] = []
    of_zarr: list[xr.Dataset] = []
    is_looking = threading.local()

    def look(method: str, key: str) -> None:
        if not getattr(is_looking, "yes", False):
            is_looking.yes = True
            of_zarr.append(seen_by_zarr(dict(server.state.values)))
            found.append(opened(server))
            is_looking.yes = False

    server.state.seen = look
    replace(server)
    server.state.seen = None
    assert {each.identical(new()) for each in found} == {False, True}
    for each in found:
        assert each.identical(data()) or each.identical(new())
    for each in of_zarr:
        assert each.equals(data()) or each.equals(new())


@pytest.mark.parametrize("number", range(1, 5))
def test_who_has_it_open_is_told(server: S3Server, number: int) -> None:
    """What was replaced while it was read is an error, or all of it is of the old store."""
    save(server)
    ds = xr.open_dataset(URL, engine="zarrds", storage_options=options(server))
    left = iter(range(number))

    def before(method: str, key: str, who: str) -> None:
        if who == "AKIATEST" and next(left, None) is None:
            server.state.before = None
            replace(server, who="AKIAWRITE")

    server.state.before = before
    try:
        read = ds.load()
    except ConflictError:
        read = data()
    server.state.before = None
    xr.testing.assert_identical(read, data())


OTHERS: dict[str, Callable[[S3Server], object]] = {
    "the same keys": lambda server: replace(
        server,
        data(9),
        encoding={"t2m": {"chunks": (3, 3), "chunk_key_encoding": {"name": "default", "separator": "."}}},
    ),
    "holes": lambda server: replace(server, data(9), write_empty_chunks=False),
    "statistics": lambda server: replace(server, data(9), statistics=True),
    "format 2": lambda server: replace(server, data(9), zarr_format=2),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_cannot_stand_beside_it_is_staged(server: S3Server, name: str) -> None:
    save(server)
    server.state.requests.clear()
    OTHERS[name](server)
    assert server.state.counts()["COPY"]
    xr.testing.assert_identical(opened(server), data(9))
    OTHERS[name](server)
    replace(server)
    check_whole(server, new())


def test_much_is_staged(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held.HeldChanges.__init__, "__defaults__", (100,))
    save(server)
    replace(server)
    assert server.state.counts()["COPY"]
    check_whole(server, new())


def test_what_is_computed_later_does_not_show_what_was_there(server: S3Server) -> None:
    save(server)
    later = replace_later(server)
    assert np.isnan(opened(server).t2m).all()
    later.compute()
    xr.testing.assert_equal(opened(server), data(9))


def replace_later(server: S3Server) -> object:
    lazy = data(9).chunk(time=3)
    return zarrds.save(lazy, URL, mode="w", compute=False, storage_options=options(server))


def test_files_of_a_user_stay(server: S3Server) -> None:
    save(server)
    before = dict(server.state.values)

    def put(method: str, key: str, who: str) -> None:
        if method == "LIST" and "delimiter" not in key:
            server.state.values["t2m.zarr/notes.txt"] = b"mine", '"mine"', 0.0

    server.state.before = put
    with pytest.raises(ZarrdsError, match="no part of Zarr"):
        replace(server)
    server.state.before = None
    assert {key: value for key, value in server.state.values.items() if key != "t2m.zarr/notes.txt"} == before


# dead, and stopped, writers

POINTS = {
    "marker": (1, "PUT", MARKER),
    "claim": (1, "PUT", ROOT),
    "chunk": (1, "PUT", "t2m.zarr/pr/c.0"),
    "commit": (2, "PUT", ROOT),
    "document": (1, "PUT", "t2m.zarr/t2m/zarr.json"),
    "removal": (2, "POST", "?delete"),
    "end": (3, "POST", "?delete"),
}


@pytest.mark.parametrize("point", POINTS)
def test_the_next_writer_finishes_or_calls_off(server: S3Server, point: str) -> None:
    save(server)
    is_it = nth(*POINTS[point])
    is_dead: list[bool] = []

    def die(method: str, key: str) -> Fault | None:
        is_dead.extend([True] if not is_dead and is_it(method, key) else [])
        return Fault(400) if is_dead else None

    server.state.fault = die
    told: list[str] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            replace(server)
        told = [str(each.message) for each in caught if "is committed" in str(each.message)]
        is_made = True
    except ZarrdsError:
        is_made = False
    server.state.fault = None
    assert bool(told) == (point in ("document", "removal"))
    assert is_dead
    assert is_made == (point in ("document", "removal", "end"))
    expected = new() if is_made else data()
    xr.testing.assert_identical(opened(server), expected)
    set_n(server, 5)
    found = opened(server)
    xr.testing.assert_identical(found, expected.assign_attrs(n=5))
    findings = zarrds.verify(URL, storage_options=options(server)).findings
    assert not findings or not is_made
    replace(server, data(3))
    replace(server)
    check_whole(server, new())


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("other", ["replace", "append"])
@pytest.mark.parametrize("point", POINTS)
def test_a_writer_is_stopped_and_goes_on(server: S3Server, point: str, other: str) -> None:
    """It is taken for dead, and undoes nothing of what others have committed since."""
    save(server)
    is_made = point in ("document", "removal", "end")

    def meanwhile() -> None:
        if other == "append":
            append(server, 12 if is_made else 4, 3)
        else:
            replace(server, data(20))
            replace(server, new(30))

    errors = paused_when(server, nth(*POINTS[point]), lambda: replace(server, new(), "AKIAPAUSE"), meanwhile)
    assert errors == ([] if is_made else ["ConflictError"])
    if other == "replace":
        expected = new(30)
    elif is_made:
        expected = xr.concat([new(), data(12, 3)], "time", data_vars="minimal")
    else:
        expected = data(0, 7)
    xr.testing.assert_equal(opened(server), expected)
    assert zarrds.verify(URL, storage_options=options(server)).ok


ACTS: dict[str, Callable[[S3Server], None]] = {
    "replace": lambda server: replace(server, new(30)),
    "replace twice": lambda server: (replace(server, data(20)), replace(server, new(30)))[1],
    "attributes": lambda server: set_n(server, 5),
}


def one_after(number: int, stopped: list[tuple[str, str]]) -> Callable[[str, str], bool]:
    """Whether a request is the one behind so many others, which is then noted."""
    left = iter(range(number))

    def is_it(method: str, key: str) -> bool:
        is_next = next(left, None) is None and not stopped
        stopped.extend([(method, key)] if is_next else [])
        return is_next

    return is_it


@pytest.mark.slow
@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize("name", ACTS)
def test_a_writer_is_stopped_before_many_requests(server: S3Server, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it says, the store is what the last commit made of it, whole; but for a removal that is under way."""
    monkeypatch.setattr(open_commit, "LATE", 0.0)  # others are taken for dead at once
    for number in itertools.count(1, 2 if name == "replace" else 5):
        server.clear()
        save(server)
        stopped: list[tuple[str, str]] = []
        errors = paused_when(
            server, one_after(number, stopped), lambda: replace(server, new(), "AKIAPAUSE"), lambda: ACTS[name](server)
        )
        if not stopped:
            break
        assert errors in ([], ["ConflictError"], ["StoreExistsError"]), (number, stopped, errors)
        if name == "replace" and stopped[0][0] == "POST":
            continue
        found = opened(server)
        after = {"replace": new(30), "replace twice": new(30)}.get(name, data().assign_attrs(n=5))
        expected = [after] if errors else [after, new(), new().assign_attrs(n=5)]
        assert any(each.identical(found) for each in expected), (number, stopped, errors, found)
        problems = [
            each for each in zarrds.verify(URL, storage_options=options(server)).findings if each.severity == "error"
        ]
        assert not problems, (number, stopped, problems)
    assert number > 25


@pytest.mark.slow
@pytest.mark.usefixtures("_without_locks")
def test_a_writer_of_a_new_store_is_stopped_before_many_requests(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_commit, "LATE", 0.0)
    monkeypatch.setattr(new_store, "LATE", 0.0)

    def other() -> None:
        with suppress(StoreExistsError):  # the first was made before it was taken for dead
            replace(server, new(30))
            return
        replace(server, new(30))

    for number in itertools.count(1, 2):
        server.clear()
        stopped: list[tuple[str, str]] = []

        def act() -> None:
            zarrds.save(data(), URL, storage_options=options(server, "AKIAPAUSE"))

        errors = paused_when(server, one_after(number, stopped), act, other)
        if not stopped:
            break
        assert errors in ([], ["ConflictError"], ["StoreExistsError"]), (number, stopped, errors)
        assert opened(server).identical(new(30)), (number, stopped, errors)
        findings = zarrds.verify(URL, storage_options=options(server)).findings
        assert not [each for each in findings if each.severity == "error"], (number, stopped, findings)
    assert number > 15

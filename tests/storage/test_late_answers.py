"""Object storage whose answers come late, or never: others have taken the writer for dead by then, and gone on."""

from __future__ import annotations

import warnings
from contextlib import nullcontext, suppress
from datetime import timedelta
from types import SimpleNamespace
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
    answered_late,
    append,
    check_whole,
    data,
    new,
    nth,
    opened,
    options,
    replace,
    save,
    set_n,
)
from zarrds.errors import ConflictError, StoreExistsError, StoreIOError, ZarrdsError
from zarrds.storage.obstore.changes import new_store, open_commit, retries

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

pytestmark = pytest.mark.usefixtures("_impatient")


@pytest.fixture
def _late(monkeypatch: pytest.MonkeyPatch, _impatient: None, _without_locks: None) -> None:
    """What a writer takes for a short time is as short as what others wait."""
    monkeypatch.setattr(open_commit, "LATE", 0.0125)
    monkeypatch.setattr(new_store, "LATE", 0.0125)


@pytest.mark.usefixtures("_late")
@pytest.mark.parametrize("number", [1, 2])
def test_a_late_answer_of_the_root_removes_nothing_of_others(server: S3Server, number: int) -> None:
    """The put of the claim, or of the commit, is done; what the other puts has the keys that are to be removed."""
    save(server)
    errors = answered_late(
        server, nth(number, "PUT", ROOT), lambda: replace(server, new(), "AKIAPAUSE"), lambda: replace(server, data(20))
    )
    assert errors == (["ConflictError"] if number == 1 else [])
    check_whole(server, data(20))


@pytest.mark.usefixtures("_late")
def test_a_late_answer_of_the_claim_fills_no_holes_of_others(server: S3Server) -> None:
    save(server)
    empty = data(20).assign(t2m=data(20).t2m * np.nan)
    errors = answered_late(
        server,
        nth(1, "PUT", ROOT),
        lambda: replace(server, data(9), "AKIAPAUSE"),
        lambda: replace(server, empty, write_empty_chunks=False),
    )
    assert errors == ["ConflictError"]
    xr.testing.assert_identical(opened(server), empty)


@pytest.mark.usefixtures("_late")
@pytest.mark.parametrize("formats", [(3, 2), (2, 3)])
@pytest.mark.parametrize("number", [1, 2])
def test_a_late_answer_of_a_new_store_leaves_that_of_others(
    server: S3Server, number: int, formats: tuple[int, int]
) -> None:
    def act() -> None:
        zarrds.save(data(), URL, zarr_format=formats[0], storage_options=options(server, "AKIAPAUSE"))

    errors = answered_late(
        server, nth(number, "PUT", MARKER), act, lambda: replace(server, data(20), zarr_format=formats[1])
    )
    assert errors in ([[]] if number == 2 else [["ConflictError"], ["StoreExistsError"]])
    xr.testing.assert_identical(opened(server), data(20))
    roots = {key.removeprefix("t2m.zarr/") for key in server.state.values if key.count("/") == 1}
    assert roots == ({"zarr.json"} if formats[1] == 3 else {".zgroup", ".zmetadata", ".zattrs"})


def die_at_removal(server: S3Server) -> None:
    """Replace what is there, and die when all documents are in place."""
    removals: list[str] = []

    def die(method: str, key: str) -> Fault | None:
        removals.extend([key] if key == "?delete" else [])
        return Fault(400) if len(removals) > 1 else None

    server.state.fault = die
    with pytest.warns(UserWarning, match="is committed"):
        replace(server)
    server.state.fault = None


def test_who_may_not_remove_what_was_replaced_reads_and_writes(server: S3Server) -> None:
    """Who replaced it died when all documents were in place."""
    save(server)
    die_at_removal(server)
    server.state.fault = lambda method, key: None if method in ("GET", "HEAD", "LIST") else Fault(403)
    for consolidated in (True, False):
        found = xr.open_dataset(URL, engine="zarrds", consolidated=consolidated, storage_options=options(server))
        xr.testing.assert_identical(found.load(), new())
    assert zarrds.verify(URL, storage_options=options(server)).ok
    server.state.fault = lambda method, key: Fault(403) if method == "DELETE" or key == "?delete" else None
    append(server, 12, 3)
    server.state.fault = None
    assert opened(server).sizes["time"] == 6
    replace(server)
    check_whole(server, new())


def test_a_removal_that_is_refused_again_and_again_comes_to_an_end(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(server)
    naps: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", naps.append)
    removals: list[str] = []

    def refuse(method: str, key: str) -> Fault | None:
        removals.extend([key] if key == "?delete" else [])
        return Fault(503) if len(removals) > 1 and key == "?delete" else None

    server.state.fault = refuse
    more = options(server) | {"retry_config": {"max_retries": 1100}}
    with pytest.warns(UserWarning, match="is committed"):
        zarrds.save(new(), URL, mode="w", storage_options=more)
    server.state.fault = None
    monkeypatch.undo()
    assert len(naps) > 1000
    assert max(naps) <= 5
    xr.testing.assert_identical(opened(server), new())


@pytest.mark.parametrize(("seconds", "is_saved"), [(30, False), (None, False), (600, True)])
def test_a_busy_server_is_asked_for_as_long_as_the_options_say(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, seconds: int | None, is_saved: bool
) -> None:
    naps: list[float] = []
    monkeypatch.setattr(retries, "time", SimpleNamespace(sleep=naps.append, monotonic=lambda: sum(naps)))
    n = 0

    def refuse(method: str, key: str) -> Fault | None:  # 33 times, some 140 s
        nonlocal n
        n += (is_put := method == "PUT" and key == "t2m.zarr/t2m/zarr.json")
        return Fault(503) if is_put and n <= 33 else None

    server.state.fault = refuse
    asked = {"max_retries": 100} | ({} if seconds is None else {"retry_timeout": timedelta(seconds=seconds)})
    more = options(server) | {"retry_config": asked}
    with nullcontext() if is_saved else pytest.raises(StoreIOError):
        zarrds.save(data(), URL, storage_options=more)
    assert (n > 33) is is_saved
    if is_saved:
        xr.testing.assert_identical(opened(server), data())
    else:
        assert (seconds or 60) < sum(naps) <= (seconds or 60) + 5


def test_pauses_are_bounded_however_often_a_server_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", naps.append)
    for number in (0, 1, 2000):
        retries.pause(number)
    assert naps == [0.1, 0.2, 5.0]


def test_of_two_saves_that_died_the_first_may_be_made(server: S3Server) -> None:
    for number in (26, 24):
        left = iter(range(number))
        server.state.fault = lambda method, key, left=left: None if next(left, None) is not None else Fault(400)
        with suppress(ZarrdsError):
            replace(server, data())
    server.state.fault = None
    replace(server)
    check_whole(server, new())


@pytest.mark.parametrize(
    "value", [b"", b"[1]", b"{", b'["zarr.json", "t2m/zarr.json", ".0a.zarrds-partial"]', b'["a\\nb"]']
)
def test_a_list_of_what_was_replaced_that_is_damaged_or_forged(server: S3Server, value: bytes) -> None:
    """Nobody needs it, and nothing that counts is removed for its sake."""
    save(server)
    die_at_removal(server)
    (old,) = [key for key in server.state.values if key.endswith("/old")]
    server.state.values[old] = value, '"forged"', 0.0
    server.state.fault = lambda method, key: Fault(400) if "\n" in key else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        set_n(server, 5)
    server.state.fault = None
    xr.testing.assert_identical(opened(server), new().assign_attrs(n=5))
    assert MARKER not in server.state.values
    assert zarrds.verify(URL, storage_options=options(server)).ok


@pytest.mark.parametrize("has_holes", [False, True])
def test_an_array_that_was_replaced_is_not_said_to_be_damaged(server: S3Server, has_holes: bool) -> None:
    """Nor is it read as fill values."""
    zarrds.save(data(), URL, write_empty_chunks=not has_holes, storage_options=options(server))
    array = zarrds.open_array(URL, path="t2m", storage_options=options(server))
    replace(server)
    for read in (lambda: array[...], lambda: array.oindex[[0, 1]], lambda: array.vindex[[0], [1]]):
        with pytest.raises(ConflictError, match="has replaced the array"):
            read()
    if has_holes:
        zarrds.create_array(URL.replace("t2m", "b"), shape=4, chunks=2, dtype="i4", storage_options=options(server))
        assert not zarrds.open_array(URL.replace("t2m", "b"), storage_options=options(server))[...].any()


@pytest.mark.parametrize("key", ["t2m/zarr.json", "time/zarr.json", "t2m/.zarrds/.zarrds.json", "time/c.0"])
def test_who_goes_by_many_documents_opens_no_mixture(server: S3Server, key: str) -> None:
    save(server)

    def before(method: str, name: str, who: str) -> None:
        if (method, name, who) == ("GET", f"t2m.zarr/{key}", "AKIAREADS"):
            server.state.before = None
            replace(server)

    server.state.before = before
    found = xr.open_dataset(URL, engine="zarrds", consolidated=False, storage_options=options(server, "AKIAREADS"))
    assert server.state.before is None
    xr.testing.assert_identical(found.load(), new())  # it was opened once more


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_hidden_of_a_new_store_may_stay(server: S3Server, number: int) -> None:
    """Of two removals side by side one is refused."""
    removals: list[str] = []

    def refuse(method: str, key: str) -> Fault | None:
        removals.extend([key] if key == "?delete" else [])
        return Fault(400) if key == "?delete" and len(removals) == number else None

    server.state.fault = refuse
    zarrds.save(data(), URL, storage_options=options(server))
    server.state.fault = None
    assert MARKER not in server.state.values
    xr.testing.assert_identical(opened(server), data())


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize(("mode", "error"), [("w", ConflictError), ("w-", StoreExistsError)])
def test_who_saves_second_where_nothing_was_is_told_what_helps(
    server: S3Server, mode: Literal["w", "w-"], error: type[ZarrdsError]
) -> None:
    def before(method: str, key: str, who: str) -> None:
        if (method, key) == ("PUT", MARKER):
            server.state.before = None
            save(server)

    server.state.before = before
    with pytest.raises(error) as caught:
        zarrds.save(new(), URL, mode=mode, storage_options=options(server))
    assert ("mode='w'" in str(caught.value)) == (mode == "w-")


def test_a_store_whose_documents_are_being_replaced_is_not_taken_for_another(server: S3Server) -> None:
    """Its consolidated metadata is away when it is looked for, and comes back before the arrays are listed."""
    zarrds.save(data(), URL, zarr_format=2, storage_options=options(server))
    key = "t2m.zarr/.zmetadata"
    kept = server.state.values[key]

    def before(method: str, name: str, who: str) -> None:
        if (method, name, who) == ("GET", key, "AKIAREADS"):
            server.state.values.pop(key, None)
        elif method == "LIST":
            server.state.before = None
            server.state.values[key] = kept

    server.state.before = before
    found = xr.open_dataset(URL, engine="zarrds", storage_options=options(server, "AKIAREADS"))
    assert server.state.before is None
    xr.testing.assert_identical(found.load(), data())  # it was opened once more


@pytest.mark.parametrize("mode", ["w", "w-"])
def test_chunks_of_an_overtaken_writer_keep_no_group_out(server: S3Server, mode: Literal["w", "w-"]) -> None:
    save(server)
    server.state.values["t2m.zarr/pr/c.0.0"] = b"left", '"left"', 0.0
    zarrds.save(new(), URL, group="pr", mode=mode, storage_options=options(server))
    found = xr.open_dataset(URL, engine="zarrds", group="pr", storage_options=options(server))
    xr.testing.assert_identical(found.load(), new())
    assert "t2m.zarr/pr/c.0.0" not in server.state.values
    for kept in ("t2m.zarr/b/notes.txt", "t2m.zarr/b/c/zarr.json"):
        server.state.values[kept] = b"{}", '"mine"', 0.0
        with pytest.raises(StoreExistsError, match="no Zarr group"):
            zarrds.save(new(), URL, group="b", mode=mode, storage_options=options(server))
        del server.state.values[kept]

"""Writers of object stores: killed at each request, two at once, and parts of chunks from many machines."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import Fault, S3Server
from zarrds.errors import ConflictError, LabelError, StoreExistsError, ZarrdsError
from zarrds.storage.obstore import store
from zarrds.storage.obstore.objects import ObstoreObjects

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

pytestmark = pytest.mark.usefixtures("_impatient")

URL = "s3://bucket/t2m.zarr"
ENCODING = {"t2m": {"chunks": (2, 3)}}


def data(start: int = 0, value: float = 0.0) -> xr.Dataset:
    return xr.Dataset(
        {"t2m": (("time", "x"), np.arange(12.0).reshape(4, 3) + value)}, {"time": np.arange(start, start + 4)}, {"n": 1}
    )


def opened(server: S3Server) -> xr.Dataset | None:
    try:
        return xr.open_dataset(URL, engine="zarrds", storage_options=server.options).load()
    except FileNotFoundError:
        return None


def save_unheld(server: S3Server) -> None:
    """Save what does not fit into memory: each value goes to its key as soon as it is there."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store, "_MOST_NBYTES", 0)
        save(server, data(), mode="w-")


def save(server: S3Server, ds: xr.Dataset, **options: object) -> None:
    if options.get("mode") in ("w", "w-"):
        options["encoding"] = ENCODING
    zarrds.save(ds, URL, storage_options=server.options, **options)


OPERATIONS: dict[str, tuple[Callable[[S3Server], None], xr.Dataset | None, xr.Dataset]] = {
    "new": (lambda server: save(server, data(), mode="w-"), None, data()),
    "new, unheld": (save_unheld, None, data()),
    "append": (lambda server: save(server, data(4), append_dim="time"), data(), xr.concat([data(), data(4)], "time")),
    "replace": (lambda server: save(server, data(value=5), mode="w"), data(), data(value=5)),
    "attributes": (
        lambda server: zarrds.update_attrs(URL, {"n": 2}, storage_options=server.options),
        data(),
        data().assign_attrs(n=2),
    ),
}


def kill_at(server: S3Server, name: str, number: int) -> bool:
    """Kill an operation at that request, and look at what is left; whether it was killed."""
    run, before, after = OPERATIONS[name]
    server.state.values.clear()
    if before is not None:
        save(server, before, mode="w-")
    left = iter(range(number))
    server.state.fault = lambda method, key: None if next(left, None) is not None else Fault(400)
    try:
        run(server)
    except ZarrdsError:
        is_killed = True
    else:
        is_killed = False
    server.state.fault = None
    found = opened(server)
    assert any((found is None) if each is None else each.identical(found) for each in (before, after)), found
    save(server, data(value=9), mode="w")  # the next writer works
    xr.testing.assert_identical(opened(server), data(value=9))
    return is_killed


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_some_requests(server: S3Server, name: str) -> None:
    server.state.values.clear()
    if OPERATIONS[name][1] is not None:
        save(server, data(), mode="w-")
    server.state.requests.clear()
    OPERATIONS[name][0](server)
    n = len(server.state.requests)
    for number in sorted({n // 3, 2 * n // 3, n - 9, n - 4}):
        assert kill_at(server, name, number) or number >= n - 9


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_each_request(server: S3Server, name: str) -> None:
    number = 0
    while kill_at(server, name, number):
        number += 1
    assert number > 10


def at_once(*calls: Callable[[], object]) -> list[BaseException | None]:
    """What each of some calls raised that are made at once, as if by machines that know nothing of each other."""
    found: list[BaseException | None] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            calls[number]()
        except BaseException as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.usefixtures("_as_machines")
def test_of_appends_at_once_none_is_lost(server: S3Server) -> None:
    save(server, data(), mode="w-")
    errors = at_once(*(lambda start=start: save(server, data(start), append_dim="time") for start in (4, 40, 400)))
    # who looks when a later time is there already would go backwards
    assert all(error is None or isinstance(error, ConflictError | LabelError) for error in errors), errors
    found = opened(server)
    assert found is not None
    kept = [start for start, error in zip((4, 40, 400), errors, strict=True) if error is None]
    assert sorted(found.time.values[4::4]) == kept
    for start in kept:
        xr.testing.assert_equal(found.sel(time=slice(start, start + 3)), data(start))


@pytest.mark.usefixtures("_as_machines")
def test_of_saves_at_once_one_wins_whole(server: S3Server) -> None:
    errors = at_once(*(lambda value=value: save(server, data(value=value), mode="w-") for value in range(3)))
    assert all(error is None or isinstance(error, ConflictError | StoreExistsError) for error in errors), errors
    winners = [value for value, error in enumerate(errors) if error is None]
    assert len(winners) <= 1
    found = opened(server)
    assert (found is None) if not winners else data(value=winners[0]).identical(found)
    assert zarrds.verify(URL, storage_options=server.options).ok if winners else True


@pytest.mark.usefixtures("_as_machines")
def test_parts_of_a_chunk_are_written_by_many(server: S3Server) -> None:
    options = server.options
    zarrds.create_array(URL, shape=(24,), chunks=(24,), dtype="i4", storage_options=options)
    arrays = [zarrds.open_array(URL, "r+", storage_options=options) for _ in range(6)]

    def write(number: int) -> None:
        for i in range(4 * number, 4 * number + 4):
            arrays[number][i : i + 1] = i + 1

    assert at_once(*(lambda number=number: write(number) for number in range(6))) == [None] * 6
    assert arrays[0][:].tolist() == list(range(1, 25))


def test_new_stores_are_written_without_copies(server: S3Server) -> None:
    save(server, data(), mode="w-")
    assert not [key for method, key in server.state.requests if method == "COPY"]
    assert not [key for key in server.state.values if "partial" in key]


def test_a_lost_answer_is_found_out(server: S3Server) -> None:
    lost: set[str] = set()

    def lose(method: str, key: str) -> Fault | None:
        if method != "PUT" or key in lost:
            return None
        lost.add(key)
        return Fault(503, is_done=True)

    server.state.fault = lose
    save(server, data(), mode="w-")
    server.state.fault = None
    assert len(lost) > 5
    assert data().identical(opened(server))


@pytest.mark.parametrize("value", [b"", b"<html>busy</html>", b"\xff\xfe"])
def test_a_marker_that_says_nothing_keeps_nobody_out(server: S3Server, value: bytes) -> None:
    save(server, data(), mode="w-")
    marker = "t2m.zarr/.commit.zarrds-partial"

    def damage() -> None:
        server.state.values[marker] = value, '"damaged"', 0.0

    damage()
    (finding,) = zarrds.verify(URL, storage_options=server.options).findings
    assert finding.key == ".commit.zarrds-partial"
    (finding,) = zarrds.verify(URL, repair=True, storage_options=server.options).findings
    assert finding.mended
    assert marker not in server.state.values
    for name in ("append", "replace", "attributes"):
        damage()
        OPERATIONS[name][0](server)
        assert marker not in server.state.values
    assert not zarrds.verify(URL, storage_options=server.options).findings


@pytest.mark.parametrize("options", [{}, {"chunks": {}}])
def test_a_reader_notices_that_all_was_replaced(server: S3Server, options: dict[str, object]) -> None:
    save(server, data(), mode="w-")
    open_store = functools.partial(
        xr.open_dataset, URL, engine="zarrds", storage_options=server.options, cache=False, **options
    )
    before = open_store()
    zarrds.update_attrs(URL, {"n": 2}, storage_options=server.options)  # which replaces no array
    xr.testing.assert_equal(before.load(), data())
    before = open_store()
    save(server, data(value=7), mode="w")
    for read in (lambda: before.t2m[:1].values, lambda: before.t2m.mean().values, before.copy().load):
        with pytest.raises(ConflictError, match="was replaced"):
            read()
    xr.testing.assert_equal(open_store().load(), data(value=7))


def test_a_reader_in_the_middle_of_a_replacement_mixes_nothing(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each of its requests, one after the other, all of the store is replaced."""
    real = ObstoreObjects.find_one
    n_found = 0
    for number in range(4):
        save(server, data(), mode="w")
        ds = xr.open_dataset(URL, engine="zarrds", storage_options=server.options)
        left = iter(range(number))

        def replaced_first(self: ObstoreObjects, *args: Any, left: Iterator[int] = left, **options: Any) -> Any:
            if next(left, None) is None:
                monkeypatch.setattr(ObstoreObjects, "find_one", real)
                save(server, data(value=7), mode="w")
            return real(self, *args, **options)

        monkeypatch.setattr(ObstoreObjects, "find_one", replaced_first)
        try:
            found = ds.load()
        except ConflictError:
            continue
        finally:
            monkeypatch.setattr(ObstoreObjects, "find_one", real)
        n_found += 1
        xr.testing.assert_equal(found, data())
    assert n_found < 4

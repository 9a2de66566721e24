"""Writers on the tests' own S3 server, for the tests of commits."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Literal

import numpy as np
import xarray as xr
import zarr
from zarr.core.buffer import cpu

import zarrds
from tests.storage.s3_server import S3Server
from zarrds.errors import ZarrdsError

URL = "s3://bucket/t2m.zarr"
ROOT, MARKER = "t2m.zarr/zarr.json", "t2m.zarr/.commit.zarrds-partial"


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


def append_staged(server: S3Server, start: int, n: int = 3, who: str = "AKIATEST") -> None:
    """Append with holes, which is staged."""
    more = options(server, who)
    zarrds.save(data(start, n), URL, append_dim="time", write_empty_chunks=False, storage_options=more)


ACTS: dict[str, Callable[[S3Server], object]] = {
    "attributes": lambda server: set_n(server, 2),
    "attributes of a variable": lambda server: set_n(server, 2, "t2m"),
    "append": lambda server: append(server, 4),
    "a variable": lambda server: add(server),
    "append to an array": lambda server: grow(server),
    "resize": lambda server: zarrds.open_array(URL, "r+", path="t2m", storage_options=options(server)).resize((9, 3)),
    "a group": lambda server: zarrds.open_group(URL, "r+", storage_options=options(server)).create_group("a"),
}


def seen_by_zarr(values: dict[str, tuple[bytes, str, float]]) -> xr.Dataset:
    """What zarr-python reads of a store by its consolidated metadata."""
    prefix = "t2m.zarr/"
    held = {k.removeprefix(prefix): cpu.Buffer.from_bytes(v[0]) for k, v in values.items() if "partial" not in k}
    return xr.open_dataset(zarr.storage.MemoryStore(held), engine="zarr", consolidated=True, chunks=None).load()


def nth(number: int, method: str, key: str) -> Callable[[str, str], bool]:
    """Whether a request is the one that is meant, which is asked of each of a writer's."""
    numbers = itertools.count(1)
    return lambda asked, name: (asked, name) == (method, key) and next(numbers) == number


def paused_when(
    server: S3Server, is_it: Callable[[str, str], bool], act: Callable[[], None], meanwhile: Callable[[], None]
) -> list[str]:
    """Stop the writer AKIAPAUSE before some of its requests, from the first on until something else was done."""
    reached, may_go = threading.Event(), threading.Event()

    def before(method: str, key: str, who: str) -> None:
        if who == "AKIAPAUSE" and is_it(method, key):
            reached.set()
            may_go.wait(20)

    server.state.before = before
    try:
        return _errors_of(act, meanwhile, reached, may_go)
    finally:
        server.state.before = None


def answered_late(
    server: S3Server, is_it: Callable[[str, str], bool], act: Callable[[], None], meanwhile: Callable[[], None]
) -> list[str]:
    """As `paused_when`; but the request was done already, and only its answer comes late."""
    reached, may_go = threading.Event(), threading.Event()
    asking = threading.local()

    def before(method: str, key: str, who: str) -> None:
        asking.who = who

    def seen(method: str, key: str) -> None:
        if asking.who == "AKIAPAUSE" and not reached.is_set() and is_it(method, key):
            reached.set()
            may_go.wait(20)

    server.state.before, server.state.seen = before, seen
    try:
        return _errors_of(act, meanwhile, reached, may_go)
    finally:
        server.state.before = server.state.seen = None


def _errors_of(
    act: Callable[[], None], meanwhile: Callable[[], None], reached: threading.Event, may_go: threading.Event
) -> list[str]:
    """What a writer raised that is held back from when it has reached something until something else was done."""
    errors: list[str] = []

    def run() -> None:
        try:
            act()
        except (ZarrdsError, RuntimeError) as error:
            errors.append(type(error).__name__)
        finally:
            reached.set()

    thread = threading.Thread(target=run)
    thread.start()
    reached.wait(20)
    try:
        meanwhile()
    finally:
        may_go.set()
        thread.join()
    return errors


def new(start: int = 9) -> xr.Dataset:
    """What replaces `data`: an array more, one less long, one without dimensions."""
    ds = data(start, 3).assign(pr=("x", np.arange(3.0)), height=2.0)
    ds.t2m.encoding = {"chunks": (2, 3)}
    return ds


def replace(server: S3Server, ds: xr.Dataset | None = None, who: str = "AKIATEST", **more: object) -> None:
    zarrds.save(new() if ds is None else ds, URL, mode="w", storage_options=options(server, who), **more)


def check_whole(server: S3Server, ds: xr.Dataset) -> None:
    xr.testing.assert_identical(opened(server), ds)
    unconsolidated = xr.open_dataset(URL, engine="zarrds", consolidated=False, storage_options=options(server))
    xr.testing.assert_identical(unconsolidated.load(), ds)
    assert not list(zarrds.verify(URL, storage_options=options(server)).findings)
    # of who was killed: what says that another has finished its commit, and what was put beside a marker
    assert not [key for key in server.state.values if "partial" in key and not key.endswith(("/made", "/old"))]

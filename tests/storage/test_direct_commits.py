"""Changes that only add, in object storage: their commit is one conditional put of the root's document."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import S3Server
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
from zarrds.storage import held

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

pytestmark = pytest.mark.usefixtures("_impatient")


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
    assert set(puts[: puts.index(root) + 1]) == {MARKER, root}
    # where nothing is put before the commit, nothing is claimed for it
    assert puts.count(root) == (1 if name.startswith("attributes") else 2)
    report = zarrds.verify(URL, storage_options=options(server))
    assert report.ok or name in ("append to an array", "resize"), report


# requests; who needs fewer lowers the number, who needs more says why
MOST = {
    "attributes": 14,
    "attributes of a variable": 17,
    "append": 27,  # two of its arrays are small, and leave room in chunks that are there; each is read once
    "a variable": 21,
    "append to an array": 24,
    "resize": 22,
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


OTHERS: dict[str, Callable[[S3Server], object]] = {
    "elements that are visible": lambda server: zarrds.save(
        data().assign(t2m=data().t2m + 1), URL, mode="a", storage_options=options(server)
    ),
    "labels that overlap": lambda server: zarrds.save(
        data(3), URL, append_dim="time", on_overlap="replace", storage_options=options(server)
    ),
    "holes": lambda server: append_staged(server, 4, 4),
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

"""Object storage that refuses a put by a condition for ever, though nobody has changed anything."""

from __future__ import annotations

import itertools
import re

import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import Fault, S3Server
from tests.storage.s3_writers import ACTS, URL, data, opened, options, replace, save
from zarrds.errors import StoreIOError, StoreNotFoundError
from zarrds.storage.obstore import places
from zarrds.storage.obstore.changes import retries

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

_REFUSED = "refuses to put .*, again and again, though nobody has changed it"
_MARKER, _ROOT, _CHUNK = r"commit\.zarrds-partial$", r"t2m\.zarr/zarr\.json$", r"t2m\.zarr/t2m/c[./]\d"


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch, _impatient: None) -> None:
    """Pauses are short, and obstore does not repeat itself what was refused with 409."""
    monkeypatch.setattr(retries, "_PAUSE", 0.001)
    monkeypatch.setattr(places, "_RETRIES", places._RETRIES | {"max_retries": 0})


def refuse(server: S3Server, key: str, status: int) -> None:
    """All puts of what has such a key."""
    server.state.fault = lambda method, name: Fault(status) if method == "PUT" and re.search(key, name) else None


@pytest.mark.parametrize("status", [409, 412])
@pytest.mark.parametrize(
    ("act", "key"),
    [
        *itertools.product(["append", "replace"], [_MARKER, _ROOT, _CHUNK]),
        ("attributes", _MARKER),
        ("attributes", _ROOT),
    ],
)
def test_a_change_says_that_the_server_refuses(server: S3Server, act: str, key: str, status: int) -> None:
    """Not that there is another writer; and the next one need not wait for anything."""
    save(server)
    refuse(server, key, status)
    change = ACTS.get(act, replace)
    with pytest.raises(StoreIOError, match=_REFUSED):
        change(server)
    server.state.fault = None
    xr.testing.assert_identical(opened(server), data())
    zarrds.update_attrs(URL, {"n": 3}, storage_options=options(server))
    xr.testing.assert_identical(opened(server), data().assign_attrs(n=3))


@pytest.mark.parametrize("status", [409, 412])
@pytest.mark.parametrize("key", [_MARKER, _CHUNK])
@pytest.mark.parametrize("large", [False, True])
def test_a_new_store(server: S3Server, monkeypatch: pytest.MonkeyPatch, large: bool, key: str, status: int) -> None:
    if large:  # it goes to its keys as it comes
        monkeypatch.setattr("zarrds.storage.obstore.store._MOST_NBYTES", 0)
    refuse(server, key, status)
    with pytest.raises(StoreIOError, match=_REFUSED):
        save(server)
    server.state.fault = None
    with pytest.raises(StoreNotFoundError):
        opened(server)
    save(server)
    xr.testing.assert_identical(opened(server), data())


@pytest.mark.parametrize("status", [409, 412])
def test_a_part_of_a_chunk(server: S3Server, status: int) -> None:
    save(server)
    refuse(server, _CHUNK, status)
    part = data().drop_vars("time").isel(x=[0], time=[0]) + 100
    with pytest.raises(StoreIOError, match=_REFUSED):
        zarrds.save(part, URL, region={"x": slice(0, 1), "time": slice(0, 1)}, storage_options=options(server))
    server.state.fault = None
    xr.testing.assert_identical(opened(server), data())

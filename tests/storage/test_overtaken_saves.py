"""Saves of new stores in object storage that fail, or are stopped while another is made: each has its own chunks."""

from __future__ import annotations

import time
from contextlib import suppress
from types import SimpleNamespace

import dask.array
import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage import s3_server
from tests.storage.s3_server import S3Server
from tests.storage.s3_writers import MARKER, ROOT, URL, data, nth, opened, options, paused_when, save, set_n
from zarrds.errors import StoreExistsError
from zarrds.storage.obstore import store
from zarrds.stores import as_store

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

pytestmark = pytest.mark.usefixtures("_impatient")


def fail_to_save(server: S3Server, who: str = "AKIATEST") -> None:
    """Save a new store of which the last chunk cannot be computed."""

    def computed(block: np.ndarray, block_info: dict[None, dict[str, tuple[int, ...]]]) -> np.ndarray:
        if block_info[None]["chunk-location"][0] == 3:
            time.sleep(0.1)
            raise RuntimeError("not computed")
        return block

    values = dask.array.ones((4, 3), chunks=(1, 3)).map_blocks(computed, dtype=float, meta=np.ones((0, 0)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store, "_MOST_NBYTES", 0)  # else nothing is put before all is there
        zarrds.save(xr.Dataset({"pr": (("time", "x"), values)}), URL, storage_options=options(server, who))


@pytest.mark.usefixtures("_without_locks")
def test_a_save_that_fails_removes_nothing_of_another(server: S3Server) -> None:
    """It is stopped before it removes anything, until another has saved a store of the same chunks."""
    new = xr.Dataset({"pr": (("time", "x"), np.ones((4, 3)))})
    new["pr"].encoding = {"chunks": (1, 3)}
    errors = paused_when(
        server,
        lambda method, key: method == "DELETE" or key == "?delete",
        lambda: fail_to_save(server, "AKIAPAUSE"),
        lambda: zarrds.save(new, URL, mode="w", storage_options=options(server)),
    )
    assert errors == ["RuntimeError"]
    xr.testing.assert_identical(opened(server), new)
    assert zarrds.verify(URL, storage_options=options(server)).ok


def test_what_a_save_that_failed_has_put_is_replaced(server: S3Server) -> None:
    """Also after a day, when other leftovers are removed."""
    with pytest.raises(RuntimeError):
        fail_to_save(server)
    assert "t2m.zarr/pr/c.0.0" in server.state.values
    with pytest.raises(FileNotFoundError):
        opened(server)
    folders = [key.split("/")[1] for key in server.state.values if key.endswith("/straight")]
    assert len(folders) == 1
    for key, (value, etag, _) in list(server.state.values.items()):
        server.state.values[key.replace(folders[0], ".0a.zarrds-partial")] = value, etag, 0.0  # of another process
        del server.state.values[key]
    save(server)
    xr.testing.assert_identical(opened(server), data())
    assert not [key for key in server.state.values if "/pr/" in key]
    set_n(server, 2)
    assert not [key for key in server.state.values if "partial" in key]


@pytest.mark.parametrize("days", [0.0, 3.0])
def test_what_is_old_is_told_by_the_servers_clock(
    server: S3Server, days: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another has just staged is days old by a clock that goes before."""
    save(server)
    there = time.time() - days * 86400
    monkeypatch.setattr(
        s3_server, "time", SimpleNamespace(time=lambda: there, gmtime=time.gmtime, strftime=time.strftime)
    )
    server.state.values["t2m.zarr/.0a.zarrds-partial/0/t2m/c.0"] = b"", '"a"', there - 60
    before = set(server.state.values)
    assert as_store(URL, options(server)).clean() == []  # type: ignore[attr-defined]  # of stores that commit
    assert set(server.state.values) == before
    server.state.values["t2m.zarr/.0a.zarrds-partial/0/t2m/c.0"] = b"", '"a"', there - 2 * 86400
    assert as_store(URL, options(server)).clean() == [".0a.zarrds-partial"]  # type: ignore[attr-defined]  # of stores that commit
    assert not [key for key in server.state.values if "partial" in key]


@pytest.mark.usefixtures("_without_locks")
@pytest.mark.parametrize(
    ("number", "method", "key"),
    [
        (1, "PUT", MARKER),
        (1, "PUT", "t2m.zarr/t2m/c.0.0"),
        (2, "PUT", MARKER),
        (1, "PUT", ROOT),
        (1, "POST", "?delete"),
    ],
)
def test_a_save_of_a_new_store_is_overtaken(server: S3Server, number: int, method: str, key: str) -> None:
    """It is stopped before one of its requests, taken for dead, and goes on when another has saved."""
    other = data(7)
    other.t2m.encoding = {"chunks": (1, 3)}

    def replace() -> None:
        with suppress(StoreExistsError):  # the first is made before this one is
            zarrds.save(other, URL, mode="w", storage_options=options(server))
            return
        zarrds.save(other, URL, mode="w", storage_options=options(server))

    errors = paused_when(
        server,
        nth(number, method, key),
        lambda: zarrds.save(data(), URL, storage_options=options(server, "AKIAPAUSE")),
        replace,
    )
    is_made = key == ROOT or method == "POST"
    assert errors in ([], ["StoreIOError"]) if is_made else errors in (["ConflictError"], ["StoreExistsError"])
    xr.testing.assert_identical(opened(server), other)
    assert not list(zarrds.verify(URL, storage_options=options(server)).findings)

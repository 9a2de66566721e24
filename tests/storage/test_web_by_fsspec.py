"""Stores on web servers that fsspec reads: behind its caches, by its mappers, with options that only its client has."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.web_server import Handler, web
from zarrds.errors import MetadataError, StoreIOError
from zarrds.storage.fsspec import turns
from zarrds.stores import as_store

fsspec = pytest.importorskip("fsspec", reason="URLs need the extra 'remote'")
pytest.importorskip("aiohttp", reason="fsspec's client of web servers")

NAME = "50% #1 ü.zarr"
QUOTED = "50%25%20%231%20%C3%BC.zarr"


class Listing(Handler):
    """Shows a page instead of its listings, or none, and fails for chunks, if it is told to."""

    page: bytes | None = None
    status: int | None = None

    def list_directory(self, path):
        if self.page is None:
            return super().list_directory(path)
        if not self.page:
            self.send_error(404)
            return None
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        return io.BytesIO(self.page)

    def send_head(self):
        if self.status is not None and "/v/c/" in self.path:
            self.send_error(self.status)
            return None
        return super().send_head()


def cached(kind: str) -> Callable[[str, Path], Any]:
    return lambda url, folder: as_store(f"{kind}::{url}", {kind: {"cache_storage": str(folder / kind)}})


WAYS: dict[str, Callable[[str, Path], Any]] = {
    "option": lambda url, folder: as_store(url, {"client_kwargs": {"trust_env": False}}),
    "mapper": lambda url, folder: fsspec.get_mapper(url),
    "simplecache": cached("simplecache"),
    "filecache": cached("filecache"),
    "blockcache": cached("blockcache"),
}


@pytest.fixture
def ds(tmp_path: Path) -> xr.Dataset:
    made = xr.Dataset({"v": ("t", np.arange(1.0, 9))}, {"t": np.arange(8)})
    made.to_zarr(tmp_path / "plain.zarr", encoding={"v": {"chunks": (2,)}}, consolidated=False)
    (tmp_path / "plain.zarr").rename(tmp_path / NAME)  # zarr-python 3.4 cuts paths at a "#"
    return made


@pytest.mark.parametrize("way", [way for way in WAYS if way != "blockcache"])  # which needs a server that knows ranges
def test_without_listings_a_store_is_not_empty(ds: xr.Dataset, tmp_path: Path, way: str) -> None:
    for page in (b"", b"<a href='/'>home</a> <a href='x/'>x</a>"):
        with web(type("No", (Listing,), {"page": page}), tmp_path) as url:
            store = WAYS[way](f"{url}/{QUOTED}", tmp_path)
            for act in (zarrds.open_group, zarrds.verify, lambda s: xr.open_dataset(s, engine="zarrds")):
                with pytest.raises(StoreIOError, match="does not show what it has"):
                    list(act(store))
    with web(Listing, tmp_path) as url:
        found = xr.open_dataset(WAYS[way](f"{url}/{QUOTED}", tmp_path), engine="zarrds")
        xr.testing.assert_identical(found.load(), ds)


# fsspec's blockcache leaves the file of its cache open where a read fails
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("status", [403, 503])
@pytest.mark.parametrize("way", list(WAYS))
def test_what_fails_is_not_absent(
    ds: xr.Dataset, tmp_path: Path, way: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PAUSES", (0.01,))
    handler = type("Failing", (Listing,), {})
    with web(handler, tmp_path) as url:
        store = as_store(WAYS[way](f"{url}/{QUOTED}", tmp_path))
        array = zarrds.open_array(store, path="v")
        handler.status = status
        for act in (lambda: array[:], lambda: store.get("v/c/0"), lambda: store.identity("v/c/1")):
            with pytest.raises(StoreIOError, match="permission denied" if status == 403 else "refuses"):
                act()
        handler.status = 404
        assert np.isnan(array[:]).all()  # those of xarray are not marked as written


class Failing(Handler):
    """Fails in one way: once for each path, or for what it does not like."""

    way, start = "", b""
    asked: ClassVar[set[str]]
    refused: ClassVar[list[str]]

    def send_head(self):
        is_first, path = self.path not in self.asked, Path(self.translate_path(self.path))
        self.asked.add(self.path)
        if self.way == "busy" and is_first:
            self.send_error(503)
        elif self.way == "breaks off" and is_first and path.is_file():
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            return io.BytesIO(path.read_bytes()[:-1])
        elif self.way.startswith("no ranges") and "Range" in self.headers and path.exists():
            self.refused.append(self.path)
            self.send_error(501 if self.way.endswith("501") else 416)
        elif self.way == "hides" and "/." in self.path:
            self.send_error(403)
        elif self.way == "gone" and not path.exists():
            self.send_error(410)
        elif self.way == "a page" and not path.exists():
            self.send_response(200)
            self.end_headers()
            return io.BytesIO(self.start + b"<html>not here</html>")
        else:
            return super().send_head()
        return None


SOON = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=5), "base": 2}


@pytest.mark.parametrize("way", ["option", "mapper", "simplecache", "obstore"])
@pytest.mark.parametrize("failing", ["busy", "breaks off", "no ranges", "no ranges: 501", "gone", "hides", "a page"])
def test_what_other_clients_get_over(tmp_path: Path, way: str, failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PAUSES", (0.01,) * 3)
    values = np.arange(600, dtype="int32").reshape(20, 30)
    made = xr.Dataset({"v": (("y", "x"), values)}, {"y": np.arange(20)})
    made.to_zarr(tmp_path / "a.zarr", encoding={"v": {"chunks": (5, 6), "shards": (10, 12)}}, zarr_format=3)
    refused: list[str] = []
    with web(type("_", (Failing,), {"way": failing, "asked": set(), "refused": refused}), tmp_path) as url:
        if way == "obstore":
            store = as_store(f"{url}/a.zarr", {"retry_config": {"backoff": SOON}})
        else:
            store = as_store(WAYS[way](f"{url}/a.zarr", tmp_path))
        xr.testing.assert_identical(xr.open_dataset(store, engine="zarrds").load(), made)
        refused.clear()
        np.testing.assert_array_equal(zarrds.open_array(store, path="v")[3:7, 20:], values[3:7, 20:])
        if failing == "no ranges: 501" and way == "obstore":
            assert not refused  # obstore repeats each request that is answered so
        assert not zarrds.verify(store).findings


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf\n"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("way", ["option", "obstore"])
def test_format_2_is_found_where_a_page_stands_for_what_is_absent(
    ds: xr.Dataset, tmp_path: Path, way: str, start: bytes
) -> None:
    ds.to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=True)
    (tmp_path / "b.zarr").mkdir()
    with web(type("_", (Failing,), {"way": "a page", "start": start, "asked": set()}), tmp_path) as url:
        a, b = (as_store(WAYS.get(way, lambda url, folder: url)(f"{url}/{name}.zarr", tmp_path)) for name in "ab")
        for options in ({}, {"consolidated": False, "zarr_format": 2}):
            xr.testing.assert_identical(xr.open_dataset(a, engine="zarrds", **options).load(), ds)
        np.testing.assert_array_equal(zarrds.open_array(a, path="v")[...], ds.v)
        assert not zarrds.verify(a).findings
        for options in ({}, {"zarr_format": 3}):
            with pytest.raises(MetadataError, match=r"not valid JSON.*zarr\.json"):
                xr.open_dataset(b, engine="zarrds", **options)


def test_what_is_absent_behind_simplecache_is_asked_for_once(ds: xr.Dataset, tmp_path: Path) -> None:
    asked: list[str] = []

    class Counting(Handler):
        def send_head(self):
            asked.append(self.path)
            return super().send_head()

    with web(Counting, tmp_path) as url:
        store = WAYS["simplecache"](f"{url}/{QUOTED}", tmp_path)
        assert store.get("v/c/9") is None
        assert asked == [f"/{QUOTED}/v/c/9"]
        shutil.rmtree(tmp_path / "simplecache", ignore_errors=True)
        (tmp_path / "simplecache").touch()
        with pytest.raises(StoreIOError):  # no folder to keep it in is no absence
            store.get("v/c/0")

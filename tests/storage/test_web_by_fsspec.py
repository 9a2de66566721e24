"""Stores on web servers that fsspec reads: behind its caches, by its mappers, with options that only its client has."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.web_server import Handler, web
from zarrds.errors import StoreIOError
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
def test_what_fails_is_not_absent(ds: xr.Dataset, tmp_path: Path, way: str, status: int) -> None:
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

"""Stores behind a real HTTP server on this machine, read with both of fsspec's clients."""

from __future__ import annotations

import gzip
import importlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.web_server import Handler, web
from zarrds.errors import ReadOnlyError, StoreIOError, StoreNotFoundError
from zarrds.storage.fsspec import turns
from zarrds.stores import as_store

fsspec = pytest.importorskip("fsspec", reason="stores at URLs need the extra 'remote'")

SHARDED = np.arange(600, dtype="int32").reshape(20, 30)


class RangeHandler(Handler):
    """Serves parts of files, and refuses those that begin beyond the end, as object stores do."""

    def send_head(self):
        span = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if span is None or not path.is_file():
            return super().send_head()
        value = path.read_bytes()
        first, last = span.removeprefix("bytes=").split("-")
        if first:
            start, end = int(first), min(int(last) + 1, len(value)) if last else len(value)
        else:
            start, end = max(len(value) - int(last), 0), len(value)
        if start >= len(value):
            self.send_error(416)
            return None
        self.send_response(206)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(value)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(value[start:end])
        return None


@pytest.fixture(params=["aiohttp", "requests"])
def _client(request: pytest.FixtureRequest) -> Iterator[None]:
    pytest.importorskip(request.param, reason=f"http:// by {request.param} needs that package")
    # private, but there is no other way to put back what was there: the import below replaces it
    registry = importlib.import_module("fsspec.registry")._registry
    before = dict(registry)
    if request.param == "requests":
        importlib.import_module("fsspec.implementations.http_sync").register()
    else:
        registry["http"] = importlib.import_module("fsspec.implementations.http").HTTPFileSystem
    yield
    registry.clear()
    registry.update(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    ds = xr.Dataset(
        {"t2m": (("time", "x"), np.arange(200.0).reshape(20, 10)), "name": ("x", list("abcdefghij"))},
        {"time": np.arange("2019-01-01", "2019-01-21", dtype="datetime64[D]").astype("datetime64[ns]")},
        {"title": "served"},
    )
    for version in (2, 3):
        zarrds.save(ds, folder / f"v{version}.zarr", encoding={"t2m": {"chunks": (7, 4)}}, zarr_format=version)
    zarrds.create_array(folder / "sharded.zarr", shape=SHARDED.shape, dtype="int32", chunks=(5, 6), shards=(10, 12))[
        ...
    ] = SHARDED
    (folder / "odd.zarr" / "a b").mkdir(parents=True)
    (folder / "odd.zarr" / "a b" / "c#?%20").write_bytes(b"odd")
    return folder


@pytest.fixture(params=[Handler, RangeHandler], ids=["whole", "ranges"])
def url(request: pytest.FixtureRequest, folder: Path, _client: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with web(request.param, folder) as url:
        yield url


@pytest.mark.parametrize("version", [2, 3])
def test_datasets(url: str, folder: Path, version: int) -> None:
    with xr.open_dataset(folder / f"v{version}.zarr", engine="zarrds") as expected:
        with xr.open_dataset(f"{url}/v{version}.zarr", engine="zarrds") as ds:
            xr.testing.assert_identical(ds.load(), expected.load())
        part = xr.open_dataset(f"{url}/v{version}.zarr/", engine="zarrds").t2m.isel(time=-1, x=3)
        xr.testing.assert_identical(part.load(), expected.t2m.isel(time=-1, x=3))


def test_inner_chunks_of_shards(url: str) -> None:
    array = zarrds.open_array(as_store(f"{url}/sharded.zarr"))
    np.testing.assert_array_equal(array[3:17, 5:25], SHARDED[3:17, 5:25])


def test_ranges_are_slices_of_the_value(url: str, folder: Path) -> None:
    store = as_store(f"{url}/odd.zarr")
    value = (folder / "v3.zarr" / "zarr.json").read_bytes()
    size = len(value)
    store = as_store(f"{url}/v3.zarr")
    for start in (0, 3, size - 1, size, size + 5, -1, -7, -size, -size - 9):
        for length in (0, 1, 7, size, 2 * size):
            first = max(size + start, 0) if start < 0 else start
            if start > 0 and length == size:
                continue  # a server without ranges cannot be told from one that sends so much
            assert store.get_range("zarr.json", start, length) == value[first : first + length], (start, length)
    assert store.get_range("absent", 0, 5) is None
    assert store.get_range("absent", 0, 0) is None


def test_keys_are_quoted_and_listed(url: str) -> None:
    store = as_store(f"{url}/odd.zarr")
    assert store.get("a b/c#?%20") == b"odd"
    assert store.identity("a b/c#?%20") is not None
    assert list(store.list_prefix()) == ["a b/c#?%20"]
    assert store.list_children() == ["a b"]
    assert store.get("a b/c") is None
    assert store.identity("a b/c") is None


def test_writing_is_refused_with_a_mend(url: str, folder: Path) -> None:
    store = as_store(f"{url}/v3.zarr")
    before = sorted(folder.rglob("*"))
    staged = store.stage()
    for call in (
        lambda: store.set("k", b"v"),
        lambda: store.delete("zarr.json"),
        lambda: store.delete_prefix(""),
        lambda: staged.set("k", b"v"),
        lambda: store.publish(staged),
        lambda: zarrds.save(xr.Dataset({"a": 1}), store, mode="w"),
    ):
        with pytest.raises(ReadOnlyError, match=r"can only be read.*\. Write to a local path") as caught:
            call()
        assert caught.value.path == store.path
    store.discard(staged)
    assert store.clean() == []
    assert sorted(folder.rglob("*")) == before


def test_nothing_there(url: str) -> None:
    with pytest.raises(StoreNotFoundError, match="no Zarr store here"):
        xr.open_dataset(f"{url}/none.zarr", engine="zarrds")


def test_refusals_are_no_absence(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "forbidden", ("/t2m/", ".commit"))
    ds = xr.open_dataset(f"{url}/v3.zarr", engine="zarrds")  # who may not list is told so of what is absent
    with pytest.raises(StoreIOError, match="permission denied"):
        ds.t2m.load()


@pytest.mark.one_in(4)
def test_nobody_answers(url: str) -> None:
    host, _, port = url.rpartition(":")
    with pytest.raises(StoreIOError, match="cannot read"):
        as_store(f"{host}:{1 if port != '1' else 2}/v3.zarr").get("zarr.json")


def test_pickle(url: str) -> None:
    store = as_store(f"{url}/v3.zarr")
    copy = pickle.loads(pickle.dumps(store))
    assert copy == store
    assert copy.get("zarr.json") == store.get("zarr.json") is not None
    assert not store.traits.in_memory


class Strange(RangeHandler):
    """What other clients take, too: answers without a length, with headers that are none, compressed unasked, …"""

    way = ""
    passing: ClassVar[set[str]] = set()

    def send_error(self, code: int, *more: Any, **others: Any) -> None:
        ways = {"gone": 410, "json": 200}
        if code != 404 or self.way not in ways:
            super().send_error(code, *more, **others)
            return
        body = b'{"error": "there is no such thing"}' if self.way == "json" else b""
        self.send_response(ways[self.way])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def send_header(self, keyword: str, value: str) -> None:
        is_chunked = self.way == "chunked" and self.command == "GET"
        if keyword == "Content-Length" and (self.way == "endless" or is_chunked):
            return
        super().send_header(keyword, "yesterday" if (keyword, self.way) == ("Last-Modified", "dates") else value)

    def do_HEAD(self) -> None:  # noqa: N802  # a name of http.server
        if self.way.startswith("head "):
            super().send_error(int(self.way.removeprefix("head ")))
        else:
            super().do_HEAD()

    def do_GET(self) -> None:  # noqa: N802  # a name of http.server
        if self.way == "busy" and self.path not in self.passing:
            self.passing.add(self.path)
            self.send_error(503)
        elif self.way == "compressed" and (path := Path(self.translate_path(self.path))).is_file():
            body = gzip.compress(path.read_bytes())
            self.send_response(200)
            self.send_header("ETag", '"of what is compressed"')
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            super().do_GET()


@pytest.mark.one_in(4)
@pytest.mark.usefixtures("_client")
@pytest.mark.parametrize(
    "way", ["endless", "chunked", "dates", "gone", "json", "busy", "compressed", "head 404", "head 405", "head 501"]
)
def test_answers_that_other_clients_take(
    folder: Path, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(Strange, "way", way)
    monkeypatch.setattr(turns, "_PAUSES", (0.01,) * 3)
    Strange.passing.clear()
    with web(Strange, folder) as url:
        found = xr.open_dataset(f"{url}/v3.zarr", engine="zarrds").load()
        xr.testing.assert_identical(found, xr.open_dataset(folder / "v3.zarr", engine="zarrds").load())
        if way not in ("json", "gone"):  # where nobody sees what is absent, documents of the other format are none
            listed = xr.open_dataset(f"{url}/v3.zarr", engine="zarrds", consolidated=False)
            assert listed.variables.keys() == found.variables.keys()
            assert not zarrds.verify(f"{url}/sharded.zarr").findings
        zarrds.copy(
            f"{url}/v3.zarr", tmp_path / "copied.zarr"
        )  # what is told of documents tells that they are the same
        xr.testing.assert_identical(xr.open_dataset(tmp_path / "copied.zarr", engine="zarrds").load(), found)

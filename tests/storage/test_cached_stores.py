"""Stores of which fetched bytes are kept on this machine: the same is not sent again, and what has changed is read."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import S3Server
from tests.storage.test_byte_cache import forge, sizes
from tests.storage.web_server import Handler, web
from zarrds.errors import EncodingError, StoreIOError, UnsupportedError
from zarrds.storage.byte_cache import ByteCache
from zarrds.storage.obstore.cached import CachedObjects
from zarrds.storage.obstore.objects import ObstoreObjects
from zarrds.stores import as_store

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

URL = "s3://bucket/a.zarr"
DATA = xr.Dataset({"v": (("x", "y"), np.arange(800.0).reshape(20, 40))}, {"x": np.arange(20)})


def sent(server: S3Server) -> int:
    """Bytes of chunks that were sent since."""
    found, server.state.n_sent = server.state.n_sent, 0
    return found


def opened(server: S3Server, folder: Path, **options: Any) -> xr.Dataset:
    return xr.open_dataset(
        URL, engine="zarrds", storage_options=server.options, local_cache=folder, cache=False, **options
    )


@pytest.mark.parametrize(
    "encoding", [{"chunks": (5, 10)}, {"chunks": (5, 5), "shards": (10, 20)}], ids=["chunks", "shards"]
)
@pytest.mark.parametrize("options", [{}, {"chunks": {}}], ids=["lazy", "dask"])
def test_what_is_the_same_is_not_sent_again(
    server: S3Server, tmp_path: Path, encoding: dict[str, Any], options: dict[str, Any]
) -> None:
    zarrds.save(DATA, URL, encoding={"v": encoding}, storage_options=server.options)
    sent(server)
    parts: list[dict[str, Any]] = [{}, {"x": slice(3, 7), "y": 12}, {"x": 19}, {"y": slice(None, None, 9)}]
    for part in parts:
        xr.testing.assert_identical(opened(server, tmp_path, **options).isel(part).load(), DATA.isel(part))
    assert sent(server) > 4000
    for part in parts:
        xr.testing.assert_identical(opened(server, tmp_path, **options).isel(part).load(), DATA.isel(part))
    documents = 4 * (len(server.state.values["a.zarr/zarr.json"][0]) + 100)  # and that there is no marker
    assert sent(server) <= documents
    zarrds.save(
        (DATA + 1).isel(x=slice(5, 10)).drop_vars("x"), URL, region={"x": slice(5, 10)}, storage_options=server.options
    )
    now = DATA.copy(deep=True)
    now.v[5:10] += 1
    xr.testing.assert_identical(opened(server, tmp_path, **options).load(), now)


def test_arrays_groups_and_pickles(server: S3Server, tmp_path: Path) -> None:
    options: dict[str, Any] = {"storage_options": server.options, "local_cache": tmp_path, "cache_size": 10**6}
    zarrds.save(DATA, URL, storage_options=server.options)
    array = zarrds.open_array(URL, path="v", **options)
    assert np.array_equal(array[...], DATA.v)
    sent(server)
    copy = pickle.loads(pickle.dumps(zarrds.open_group(URL, "r+", **options)))
    assert np.array_equal(copy["v"][...], DATA.v)
    assert sent(server) < 6000  # documents
    writable = zarrds.open_array(URL, "r+", path="v", **options)
    writable[3] = 7
    assert np.array_equal(array[3], np.full(40, 7.0))
    found = xr.open_datatree(URL, engine="zarrds", **options)
    assert found.v.values[3, 0] == 7


def test_damaged_files_and_full_disks_do_not_matter(server: S3Server, tmp_path: Path) -> None:
    zarrds.save(DATA, URL, encoding={"v": {"chunks": (5, 10)}}, storage_options=server.options)
    xr.testing.assert_identical(opened(server, tmp_path / "c").load(), DATA)
    for number, path in enumerate(sizes(tmp_path / "c")):
        value = path.read_bytes()
        path.write_bytes(value[: len(value) // 2] if number % 2 else value[:-1] + bytes([value[-1] ^ 4]))
    xr.testing.assert_identical(opened(server, tmp_path / "c").load(), DATA)
    (tmp_path / "file").write_bytes(b"")
    xr.testing.assert_identical(opened(server, tmp_path / "file").load(), DATA)


@pytest.mark.parametrize("encoding", [{"chunks": (5, 10)}, {"chunks": (5, 5), "shards": (10, 20)}])
def test_values_that_are_cut_are_fetched_anew(server: S3Server, tmp_path: Path, encoding: dict[str, Any]) -> None:
    zarrds.save(DATA, URL, encoding={"v": encoding}, storage_options=server.options)
    xr.testing.assert_identical(opened(server, tmp_path).load(), DATA)
    for path in sizes(tmp_path):
        rest = path.read_bytes()[31:]
        stop = 4 + int.from_bytes(rest[:4], "little")
        forge(path, rest[4:stop], rest[stop:-3])
    xr.testing.assert_identical(opened(server, tmp_path).load(), DATA)


def test_what_is_read_to_be_replaced_is_fetched(server: S3Server, tmp_path: Path) -> None:
    """A server that says "unchanged" does not tell the generation that is to be replaced."""
    zarrds.save(DATA, URL, storage_options=server.options)
    key = next(name for name in server.state.values if "/v/c" in name).removeprefix("a.zarr/")
    plain: Any = as_store(URL, server.options)
    store = plain.cached_in(ByteCache(str(tmp_path), 10**6))
    for again in (store, pickle.loads(pickle.dumps(store))):
        size = len(again.get(key))
        sent(server)
        again.get(key)
        assert sent(server) == 0
        with again.lock(key):
            again.get(key)
        assert sent(server) == size
        assert again.get_many([key])[key].value is not None
        assert sent(server) == size


def base_36(number: int) -> str:
    return np.base_repr(number, 36).lower()


# from the time in seconds, the size, and the value of a file
TAGS: dict[str, Callable[[int, int, bytes], str]] = {
    "digest of parts": lambda time, size, value: hashlib.md5(value).hexdigest() + "-2",
    "digest": lambda time, size, value: hashlib.sha256(value).hexdigest(),
    "Azure": lambda time, size, value: "0x8" + hashlib.md5(value).hexdigest()[:14].upper(),
    "Apache": lambda time, size, value: f"{size:x}-{time * 10**6 + value[0] + value[-1]:x}",
    "Apache 2.2": lambda time, size, value: f"42-{size:x}-{time * 10**6 + value[0] + value[-1]:x}",
    "nginx": lambda time, size, value: f"{time:x}-{size:x}",
    "Caddy": lambda time, size, value: base_36(time) + base_36(size),
    "uhttpd": lambda time, size, value: f"42-{size:x}-{time:x}",
    "lighttpd": lambda time, size, value: str((time * 33 ^ size) * 10**6),
    "decimal": lambda time, size, value: f"{time}.0-{size}",
}
KEPT = ("digest of parts", "digest", "Azure", "Apache", "Apache 2.2")


class TaggingHandler(Handler):
    """Tells ETags."""

    kind = ""
    tag: str | None = None

    def send_head(self):
        path = Path(self.translate_path(self.path))
        if path.is_file():
            info = path.stat()
            self.tag = f'"{TAGS[self.kind](int(info.st_mtime), info.st_size, path.read_bytes())}"'
            if self.headers.get("If-None-Match") == self.tag:
                self.send_response(304)
                self.end_headers()
                return None
        return super().send_head()

    def end_headers(self) -> None:
        if self.tag:
            self.send_header("ETag", self.tag)
        super().end_headers()


@pytest.mark.parametrize("kind", TAGS)
def test_etags_of_web_servers(tmp_path: Path, kind: str) -> None:
    """By a time in seconds and a size, what is changed within a second looks the same: that is not kept."""
    path = tmp_path / "a.zarr"
    with web(type("_", (TaggingHandler,), {"kind": kind}), tmp_path) as url:
        for number in range(2):
            now = np.arange(20, dtype=np.uint8) + number
            array = zarrds.create_array(path, shape=20, chunks=10, dtype="u1", codecs=["bytes"], overwrite=True)
            array[...] = now
            for file in path.rglob("*"):
                os.utime(file, (1_795_000_000, 1_795_000_000))
            found = zarrds.open_array(f"{url}/a.zarr", local_cache=tmp_path / "c")
            assert np.array_equal(found[...], now)
    assert bool(sizes(tmp_path / "c")) is (kind in KEPT)


class OddHandler(TaggingHandler):
    """Answers so that obstore cannot take it, once it is told how: compressed, or, as "chunked", without a length."""

    kind = "digest"
    way: str | None = None

    def send_head(self):
        path = Path(self.translate_path(self.path))
        if self.way is None or not path.is_file():
            return super().send_head()
        body = path.read_bytes()
        self.send_response(200)
        if self.way == "compressed":
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return io.BytesIO(body)


@pytest.mark.parametrize("way", ["compressed", "without a length"])
def test_what_was_kept_comes_as_obstore_cannot_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    pytest.importorskip("aiohttp", reason="what obstore cannot take is read with it")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    path = tmp_path / "a.zarr"
    array = zarrds.create_array(path, shape=20, chunks=10, dtype="u1", codecs=["bytes"])
    with web(OddHandler, tmp_path) as url:
        for number in range(2):
            array[...] = number
            monkeypatch.setattr(OddHandler, "way", way if number else None)
            found = zarrds.open_array(f"{url}/a.zarr", local_cache=tmp_path / "c")
            assert np.array_equal(found[...], np.full(20, number, "u1"))
            assert sizes(tmp_path / "c")


def test_a_server_that_knows_no_conditional_reads(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarrds.save(DATA, URL, storage_options=server.options)
    opened(server, tmp_path).load()

    def refused(self: CachedObjects, name: str, options: dict[str, Any], limit: int | None) -> Any:
        if "if_none_match" in options:
            raise StoreIOError("status code: 501")
        return ObstoreObjects._answer(self, name, options, limit)

    monkeypatch.setattr(CachedObjects, "_answer", refused)
    xr.testing.assert_identical(opened(server, tmp_path).load(), DATA)


def test_web_servers(tmp_path: Path) -> None:
    """One of files, which knows times only: nothing is kept; the same is read."""
    zarrds.save(DATA, tmp_path / "a.zarr")
    with web(Handler, tmp_path) as url:
        for _ in range(2):
            found = xr.open_dataset(f"{url}/a.zarr", engine="zarrds", local_cache=tmp_path / "c")
            xr.testing.assert_identical(found.load(), DATA)
    assert not sizes(tmp_path / "c")


def test_where_there_is_no_cache(tmp_path: Path, server: S3Server) -> None:
    zarrds.save(DATA, tmp_path / "a.zarr")
    xr.testing.assert_identical(
        xr.open_dataset(tmp_path / "a.zarr", engine="zarrds", local_cache=tmp_path / "c").load(), DATA
    )
    assert not (tmp_path / "c").exists()
    pytest.importorskip("s3fs", reason="what obstore has nothing like is read with it")
    with pytest.raises(UnsupportedError, match="cannot be cached"):
        zarrds.open_group(f"simplecache::{URL}", storage_options={"s3": server.options}, local_cache=tmp_path / "c")
    with pytest.raises(EncodingError, match="path of a folder"):
        zarrds.open_group(URL, storage_options=server.options, local_cache=True)  # type: ignore[arg-type]  # as users do
    for folder in ("", "s3://me:secret-word@bucket/c", "file:///tmp/c"):
        with pytest.raises(EncodingError, match="path of a folder") as caught:
            zarrds.open_group(URL, storage_options=server.options, local_cache=folder)
        assert "secret-word" not in str(caught.value)
    with pytest.raises(EncodingError, match="cache_size"):
        zarrds.open_group(as_store(URL, server.options), local_cache=tmp_path, cache_size=-1)

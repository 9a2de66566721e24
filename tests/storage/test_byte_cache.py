"""Bytes kept on this machine: right, bounded, shared, and never in the way of a read."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.storage.s3_server import S3Server
from tests.storage.web_server import Handler, web
from zarrds.errors import EncodingError, UnsupportedError
from zarrds.storage.byte_cache import About, ByteCache
from zarrds.stores import as_store

URL = "s3://bucket/a.zarr"
DATA = xr.Dataset({"v": (("x", "y"), np.arange(800.0).reshape(20, 40))}, {"x": np.arange(20)})

ABOUT = About('"1"', 1000)


def sizes(folder: Path) -> dict[Path, int]:
    """Of the files with chunks."""
    return {path: path.stat().st_size for path in folder.rglob("*.zarrds*") if path.is_file()}


# the folder


@given(st.binary(max_size=100), st.data())
def test_what_was_altered_is_not_believed(value: bytes, choice: st.DataObject) -> None:
    cache, about = ByteCache(CACHES[0], 10**6), About('"1"', len(value), datetime(2020, 1, 2, tzinfo=UTC), "7")
    cache.put("name", about, value)
    kept = cache.get("name")
    assert kept is not None
    assert (kept.about, bytes(kept.data)) == (about, value)
    (path,) = sizes(Path(CACHES[0]))
    whole = path.read_bytes()
    at = choice.draw(st.integers(0, len(whole) - 1))
    damaged = choice.draw(
        st.sampled_from([whole[:at], whole + b"x", whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]])
    )
    path.write_bytes(damaged)
    assert cache.get("name") is None
    assert not path.exists()


CACHES: list[str] = []


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> Iterator[None]:
    CACHES.append(str(tmp_path / "cache"))
    yield
    CACHES.clear()


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = ByteCache(str(tmp_path / "c"), 100_000)
    for number in range(60):
        cache.put(str(number), ABOUT, bytes(1000))
        os.utime(cache._path(str(number)), (number, number))
    assert cache.get("3") is not None  # and so used just now
    for number in range(60, 120):
        cache.put(str(number), ABOUT, bytes(1000))
        assert sum(sizes(tmp_path / "c").values()) <= 100_000
    assert cache.get("3") is not None
    assert cache.get("4") is cache.get("5") is None
    assert cache.get("119") is not None
    cache.put("large", ABOUT, bytes(60_000))
    assert cache.get("large") is None


def test_the_size_holds_for_all_processes(tmp_path: Path) -> None:
    code = f"""
import sys
from zarrds.storage.byte_cache import About, ByteCache
cache = ByteCache({str(tmp_path / "c")!r}, 200_000)
for number in range(300):
    cache.put(f"{{sys.argv[1]}} {{number}}", About('"1"', 1000), bytes(1000))
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "abc"]
    assert [each.wait(60) for each in processes] == [0, 0, 0]
    found = sizes(tmp_path / "c")
    assert 100_000 < sum(found.values()) <= 200_000 * (1 + 3 / 64)
    assert not [path for path in found if path.name.endswith("partial")]


@pytest.mark.parametrize("kind", ["file", "no permission", "odd name", "folders in the way"])
def test_a_cache_that_fails_is_none(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "c"
    if kind == "file":
        folder.write_bytes(b"")
    elif kind == "no permission":
        folder = Path("/proc/zarrds")
    elif kind == "odd name":
        folder = Path("a\0b")
    cache = ByteCache(str(folder), 10**6)
    if kind == "folders in the way":
        os.makedirs(cache._path("name"))
    cache.put("name", ABOUT, b"value")
    assert cache.get("name") is None


def fill(folder: Path, nbytes: int = 100_000) -> ByteCache:
    """A cache that had to make room many times."""
    cache = ByteCache(str(folder), nbytes)
    for number in range(200):
        cache.put(str(number), ABOUT, bytes(1000))
    return cache


@pytest.mark.parametrize(
    "layout", ["{:02x}/t2m.nc", "zarrds-cache-1/{:02x}/t2m.nc", "zarrds-cache-1/{:02x}/" + 36 * "a"]
)
def test_nothing_but_its_own_files_is_removed(tmp_path: Path, layout: str) -> None:
    others = [tmp_path / layout.format(number) for number in range(256)]
    for path in others:
        path.parent.mkdir(mode=0o700, parents=True)
        path.write_bytes(bytes(1000))
        os.utime(path, (0, 0))
    (tmp_path / "zarrds-cache-1").mkdir(exist_ok=True)
    cache = fill(tmp_path)
    assert all(path.is_file() for path in others)
    assert cache.get("199") is not None
    assert cache.get("0") is None


@pytest.mark.parametrize("link", ["zarrds-cache-1/{:02x}", "zarrds-cache-1"])
def test_links_to_folders_are_not_followed(tmp_path: Path, link: str) -> None:
    """Not even to what looks like a cache."""
    elsewhere = tmp_path / "elsewhere"
    fill(elsewhere)
    own = elsewhere / "zarrds-cache-1"
    before = sizes(elsewhere)
    (tmp_path / "c").mkdir()
    if link == "zarrds-cache-1":
        os.symlink(own, tmp_path / "c" / link)
    else:
        (tmp_path / "c" / "zarrds-cache-1").mkdir()
        for number in range(256):
            os.symlink(own / f"{number:02x}", tmp_path / "c" / link.format(number))
    cache = fill(tmp_path / "c", 20_000)
    assert sizes(elsewhere) == before
    assert cache.get("199") is None


def test_what_cannot_be_removed_does_not_stop_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "zarrds-cache-1" / "00"
    (folder / f"{38 * 'a'}.zarrds").mkdir(parents=True)
    os.utime(folder / f"{38 * 'a'}.zarrds", (0, 0))
    os.mkfifo(folder / f"{38 * 'b'}.zarrds")
    cache = fill(tmp_path)
    assert cache.get("199") is not None
    assert sum(sizes(tmp_path).values()) <= 100_000


def test_only_its_user_enters_it(tmp_path: Path) -> None:
    own = tmp_path / "c" / "zarrds-cache-1"
    before = os.umask(0)
    try:
        cache = fill(tmp_path / "c")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (own, *own.glob("??"))} == {0o700}
    assert (own / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")
    assert cache.get("199") is not None
    own.chmod(0o777)
    assert cache.get("199") is None  # others may have written it
    found = sizes(own)
    fill(tmp_path / "c")
    assert sizes(own) == found
    own.chmod(0o700)
    assert cache.get("199") is not None


HEAD = {"e_tag": '"1"', "size": 1000, "last_modified": None, "version": None}
WRONG: dict[str, list[object]] = {
    "e_tag": [None, 1, "", "1", '""', 'W/"1"', '"a\r\nX: y"', '"ü"', '"\0"', '"a", "b"', "*", '"' + 300 * "a" + '"'],
    "size": [None, True, -1, 1.0, "1000", 2**63, 999],
    "last_modified": [5, True, "no", "2020-01-01", [], "2020-01-01T00:00:00"],
    "version": [5, "", "a b", "a\n", "ü"],
}
WRONG_HEADS = {
    "nested": b"[" * 4000,
    "long": b" " * 10**6 + json.dumps(HEAD).encode(),
    "large number": b'{"size":' + b"1" * 4000 + b"}",
    "no text": b"\xff",
    "no object": b"5",
    "missing": b"{}",
    "too much": json.dumps({**HEAD, "more": 1}).encode(),
    **{
        f"{name} {number}": json.dumps({**HEAD, name: value}).encode()
        for name, values in WRONG.items()
        for number, value in enumerate(values)
    },
}


def forge(path: Path, head: bytes, data: bytes) -> None:
    """Write a file whose digest is right."""
    rest = len(head).to_bytes(4, "little") + head + data
    path.write_bytes(b"zarrds cache 1\n" + hashlib.blake2b(rest, digest_size=16).digest() + rest)


@pytest.mark.parametrize("kind", WRONG_HEADS)
def test_odd_heads_are_not_believed(tmp_path: Path, kind: str) -> None:
    cache = ByteCache(str(tmp_path), 10**8)
    cache.put("name", ABOUT, bytes(1000))
    (path,) = sizes(tmp_path)
    forge(path, json.dumps(HEAD).encode(), b"a" * 1000)
    assert cache.get("name") is not None
    forge(path, WRONG_HEADS[kind], b"a" * 1000)
    assert cache.get("name") is None
    assert not path.exists()


def test_large_files_are_not_read(tmp_path: Path) -> None:
    cache = ByteCache(str(tmp_path), 10**12)
    cache.put("name", ABOUT, bytes(1000))
    (path,) = sizes(tmp_path)
    whole = path.read_bytes()
    for head, limit in itertools.product((b"", whole), (None, 1000)):
        path.write_bytes(head)
        os.truncate(path, 9 * 10**9)  # without any block on the disk
        tracemalloc.start()
        assert cache.get("name", limit) is None
        assert tracemalloc.get_traced_memory()[1] < 10**6
        tracemalloc.stop()


def test_sizes_that_are_none() -> None:
    for size in (0, -1, 1.5, True, "1GB"):
        with pytest.raises(EncodingError, match="cache_size"):
            ByteCache("c", size)  # type: ignore[arg-type]  # as users do
    copy = pickle.loads(pickle.dumps(ByteCache("c", 5)))
    assert (copy.folder, copy.nbytes) == (os.path.abspath("c"), 5)


# stores


pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")


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


class CompressingHandler(TaggingHandler):
    """Compresses what it sends, once it is told to, whoever asks."""

    kind = "digest"
    is_compressing = False

    def send_head(self):
        path = Path(self.translate_path(self.path))
        if not self.is_compressing or not path.is_file():
            return super().send_head()
        body = gzip.compress(path.read_bytes())
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return io.BytesIO(body)


def test_what_was_kept_comes_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp", reason="what obstore cannot take is read with it")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    path = tmp_path / "a.zarr"
    array = zarrds.create_array(path, shape=20, chunks=10, dtype="u1", codecs=["bytes"])
    with web(CompressingHandler, tmp_path) as url:
        for number in range(2):
            array[...] = number
            monkeypatch.setattr(CompressingHandler, "is_compressing", bool(number))
            found = zarrds.open_array(f"{url}/a.zarr", local_cache=tmp_path / "c")
            assert np.array_equal(found[...], np.full(20, number, "u1"))
            assert sizes(tmp_path / "c")


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

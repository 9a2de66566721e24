"""Bytes kept on this machine: right, bounded, shared, and never in the way of a read."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrds.errors import EncodingError
from zarrds.storage.byte_cache import About, ByteCache

ABOUT = About('"1"', 1000)


def sizes(folder: Path) -> dict[Path, int]:
    """Of the files with chunks."""
    return {path: path.stat().st_size for path in folder.rglob("*.zarrds*") if path.is_file()}


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

from __future__ import annotations

from pathlib import Path

import pytest

from zarrds.errors import UnsupportedError
from zarrds.stores import LocalStore, MemoryStore, as_store


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given, place in {
        "t2m.zarr": tmp_path / "t2m.zarr",
        Path("t2m.zarr"): tmp_path / "t2m.zarr",
        str(tmp_path / "a b"): tmp_path / "a b",
        "~/t2m.zarr": tmp_path / "home" / "t2m.zarr",
        Path("~/t2m.zarr"): tmp_path / "home" / "t2m.zarr",
        f"file://{tmp_path}/t2m%202019.zarr": tmp_path / "t2m 2019.zarr",
        f"FILE://localhost{tmp_path}/a?b#c": tmp_path / "a?b#c",
        "a%20b": tmp_path / "a%20b",
    }.items():
        as_store(given).set("k", b"v")
        assert (place / "k").read_bytes() == b"v"
        assert as_store(given) == LocalStore(place)
        (place / "k").unlink()


def test_store_objects(tmp_path: Path) -> None:
    for store in (MemoryStore(), LocalStore(tmp_path)):
        assert as_store(store) is store


@pytest.mark.parametrize(
    "url", ["s3://bucket/t2m.zarr", "https://a.b/c", "simplecache::s3://a/b", "memory://a", "x://"]
)
def test_other_urls(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsupportedError, match="only paths, file:// URLs and store objects are supported") as caught:
        as_store(url)
    assert caught.value.path == url


@pytest.mark.parametrize("url", ["file://relative/path", "file://host", "file://"])
def test_file_urls_that_name_no_file_here(url: str) -> None:
    with pytest.raises(UnsupportedError, match="file:///an/absolute/path"):
        as_store(url)


@pytest.mark.parametrize("thing", [None, 3, b"path", {}, object()])
def test_other_objects(thing: object) -> None:
    with pytest.raises(TypeError, match="a store is a path"):
        as_store(thing)


def test_empty_path() -> None:
    with pytest.raises(ValueError, match="empty path"):
        as_store("")

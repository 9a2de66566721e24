from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from zarrds.errors import EncodingError, StoreNotFoundError, UnsupportedError
from zarrds.storage.fsspec.store import RemoteStore
from zarrds.stores import LocalStore, MemoryStore, as_store

PROJECT = Path(__file__).resolve().parents[2]


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


def test_urls_are_remote() -> None:
    pytest.importorskip("fsspec", reason="stores at URLs need the extra 'remote'")
    one, other = as_store("memory://bucket/t2m.zarr"), as_store("simplecache::memory://bucket/t2m.zarr")
    assert isinstance(one, RemoteStore)
    assert isinstance(other, RemoteStore)
    one.set("k", b"v")
    assert other.get("k") == b"v"
    assert one.path == "memory://bucket/t2m.zarr"
    one.delete("k")


def test_local_urls_of_fsspec_are_local(tmp_path: Path) -> None:
    assert as_store(f"local://{tmp_path}/t2m.zarr") == LocalStore(tmp_path / "t2m.zarr")


def test_storage_options_reach_the_file_system(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="stores at URLs need the extra 'remote'")
    LocalStore(tmp_path / "t2m.zarr").set("k", b"v")
    # one file system below another takes its folder from the options
    store = as_store("dir://", {"path": f"{tmp_path}/t2m.zarr", "target_protocol": "file"})
    assert store.get("k") == b"v"
    assert pickle.loads(pickle.dumps(store)).get("k") == b"v"
    assert pickle.loads(pickle.dumps(store)) == store
    private = {"global_store": False, "skip_instance_cache": True}
    if "global_store" in inspect.signature(fsspec.get_filesystem_class("memory")).parameters:
        one, other = as_store("memory://a", private), as_store("memory://a", private)
        one.set("k", b"v")
        assert other.get("k") is None


def test_storage_options_do_not_change(tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason="stores at URLs need the extra 'remote'")
    options = {"use_listings_cache": True, "skip_instance_cache": True}
    store = as_store("memory://a", options)
    assert options == {"use_listings_cache": True, "skip_instance_cache": True}
    options["skip_instance_cache"] = False
    assert store != as_store("memory://a", options)


def test_storage_options_of_local_paths_are_ignored(tmp_path: Path) -> None:
    for place in (str(tmp_path), tmp_path, f"file://{tmp_path}"):
        assert as_store(place, {"anon": True}) == LocalStore(tmp_path)


@pytest.mark.parametrize("options", [{}, {"anon": True}])
def test_store_objects_take_no_storage_options(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(EncodingError, match="takes no storage_options") as caught:
        as_store(LocalStore(tmp_path), options)
    assert isinstance(caught.value, ValueError)  # which xarray raises
    assert caught.value.mend
    with pytest.raises(TypeError, match="storage_options are a mapping"):
        as_store(tmp_path, [("anon", True)])


def test_storage_options_that_do_not_fit() -> None:
    pytest.importorskip("fsspec", reason="stores at URLs need the extra 'remote'")
    with pytest.raises(EncodingError, match="storage_options, cannot be used") as caught:
        as_store("dir://", {"target_protocol": "file"})  # without the folder
    assert caught.value.path == "dir://"
    with pytest.raises(StoreNotFoundError, match="nothing here"):
        as_store("zip://::memory://none.zip")


@pytest.mark.parametrize("url", ["x://", "s4://bucket/a", "simplecache::s4://a/b", "s4::memory://a"])
def test_unknown_urls(url: str) -> None:
    pytest.importorskip("fsspec", reason="stores at URLs need the extra 'remote'")
    with pytest.raises(UnsupportedError, match=r"unknown kind of URL: (x|s4)://") as caught:
        as_store(url)
    assert caught.value.path == url


def test_missing_packages() -> None:
    pytest.importorskip("fsspec", reason="stores at URLs need the extra 'remote'")
    code = """
import sys
from zarrds.errors import UnsupportedError
from zarrds.stores import as_store
sys.modules["obstore"] = None
for package, url in [("s3fs", "s3://b/a"), ("aiohttp", "https://host/a"), ("fsspec", "memory://a")]:
    for name in [package, *(name for name in sys.modules if name.startswith(package + "."))]:
        sys.modules[name] = None  # an import of it fails
    try:
        as_store(url)
    except UnsupportedError as exc:
        print(exc)
"""
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    s3, https, memory = printed.splitlines()
    assert s3.startswith("the package behind s3:// is not installed (in store 's3://b/a')")
    assert "Install s3fs" in s3
    assert https.startswith("the package behind https:// is not installed (in store 'https://host/a')")
    assert "aiohttp" in https
    assert memory.startswith("stores at URLs need the package fsspec (in store 'memory://a')")
    assert "zarrds[remote]" in memory


def test_fsspec_is_imported_for_urls_only() -> None:
    code = """
import sys
before = set(sys.modules)
from zarrds.stores import as_store
as_store("t2m.zarr")
print([name for name in set(sys.modules) - before if name.startswith("fsspec")])
"""
    # without xarray, which may import it: the floor of the stores needs neither
    bare = (
        "import types, sys; zarrds = types.ModuleType('zarrds'); zarrds.__path__ = ['zarrds']; "
        "sys.modules['zarrds'] = zarrds\n"
    )
    command = [sys.executable, "-c", bare + code]
    assert subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("url", ["file://relative/path", "file://host", "file://"])
def test_file_urls_that_name_no_file_here(url: str) -> None:
    with pytest.raises(UnsupportedError, match="file:///an/absolute/path"):
        as_store(url)


@pytest.mark.parametrize("thing", [None, 3, b"path", {}, object()])
def test_other_objects(thing: object) -> None:
    with pytest.raises(TypeError, match="a store is a path") as caught:
        as_store(thing)
    assert ("MemoryStore" in str(caught.value)) is isinstance(thing, dict)  # which zarr-python takes as one


def test_empty_path() -> None:
    with pytest.raises(ValueError, match="no store can have this path"):
        as_store("")

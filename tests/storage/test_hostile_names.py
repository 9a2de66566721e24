"""Hidden names of a store that hold what no writer puts there: nothing outside is touched, nothing hangs."""

from __future__ import annotations

import json
import os
import select
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import zarrds
from tests.storage.hostile import dataset
from tests.storage.test_mortal import PROJECT
from zarrds.errors import StoreExistsError, StoreIOError, ZarrdsError
from zarrds.storage.local import files
from zarrds.stores import LocalStore

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and links")

TOKEN = "0123456789abcdef0"
NAMES = {
    "commit": ".commit.zarrds-partial",
    "step": ".commit.zarrds-partial/0",
    "staged": ".commit.zarrds-partial/0/v",
    "deleted": ".commit.zarrds-partial/deleted",
    "lock": ".lock.zarrds-partial",
    "staged folder": f".{TOKEN}.zarrds-partial",
    "its lock": f".{TOKEN}.lock.zarrds-partial",
    "unfinished": f"v/.c.{TOKEN}.zarrds-partial",
}


def link(to: str) -> Callable[[Path], None]:
    return lambda place: place.symlink_to(to)


def folder(place: Path) -> None:
    (place / "0" / "v").mkdir(parents=True)
    (place / "0" / "v" / "zarr.json").write_text("no document")


def sparse(place: Path) -> None:
    place.touch()
    os.truncate(place, 3 << 30)


def device(place: Path) -> None:
    try:
        os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
    except OSError:
        place.symlink_to("/dev/zero")


def deep(place: Path) -> None:
    here = os.open(place.parent, os.O_RDONLY)
    name = place.name
    for _ in range(1500):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here, name = inner, "v"
    os.close(here)


KINDS: dict[str, Callable[[Path], object]] = {
    "link to an array": link("../../mine.zarr"),
    "link to an array, absolute": lambda place: place.symlink_to(place.parents[-2] / "nothing"),
    "link to /": link("/"),
    "dangling link": link("nowhere/at/all"),
    "pipe": os.mkfifo,
    "folder": folder,
    "device": device,
    "sparse file": sparse,
    "garbage": lambda place: place.write_bytes(b"\xff\x00[[[["),
    "deep JSON": lambda place: place.write_bytes(b"[" * 1_000_000),
    "keys that leave": lambda place: place.write_text('["../mine.zarr", "/etc/passwd"]'),
    "deep folders": deep,
}
# what stands in the store's own place must not keep it from being read
HARMLESS = {"lock", "staged folder", "its lock", "unfinished"}


class Child:
    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.storage.hostile"]
        # threads of numerical libraries have stacks, which count
        settings = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **settings}
        )

    def ask(self, act: str, path: Path) -> list[Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([act, str(path)]).encode() + b"\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], 20)  # it is 5 on a machine that does nothing else
        assert ready, f"{act} hangs"
        answer: list[Any] = json.loads(self.process.stdout.readline())
        return answer


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.process.kill()
    child.process.communicate()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "x.zarr"
    zarrds.save(dataset(), path, encoding={"v": {"chunks": (2,)}})
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.sweep
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_hidden_names(child: Child, saved: Path, tmp_path: Path, kind: str, name: str) -> None:
    mine = tmp_path / "mine.zarr"
    for row in "012":  # as chunks of format 2 may lie, with folders in them that the store has, too
        for column in ("0", "v", "x"):
            (mine / row / column).mkdir(parents=True)
            (mine / row / column / "0").write_bytes(b"mine")
    before = content(mine)
    store = tmp_path / "x.zarr"
    for act in ("open", "verify", "append", "repair", "replace"):
        subprocess.run(["rm", "-rf", *tmp_path.glob("*x.zarr*")], check=True)  # Python's own cannot remove deep folders
        shutil.copytree(saved, store)
        place = store / NAMES[name]
        place.parent.mkdir(parents=True, exist_ok=True)
        KINDS[kind](place)
        answer = child.ask(act, store)
        assert answer[0] in ("ok", "error"), (act, answer)
        assert content(mine) == before, act
        if act == "open" and name in HARMLESS:
            assert answer[0] == "ok", answer
        if act == "open" and answer[0] == "ok":
            assert answer[1] == [0.0, 1.0]
        if act == "repair" and answer == ["ok", True]:
            assert child.ask("open", store) == ["ok", [0.0, 1.0]]
        if act == "replace":
            assert answer[0] == "ok", answer
            assert child.ask("open", store) == ["ok", [0.0, 1.0, 2.0]]
    subprocess.run(["rm", "-rf", *tmp_path.glob("*x.zarr*"), *tmp_path.glob(".x.zarr*")], check=True)


@pytest.mark.parametrize("kind", ["pipe", "garbage", "keys that leave", "link to an array", "folder"])
def test_repair_of_what_is_to_be_deleted(child: Child, saved: Path, tmp_path: Path, kind: str) -> None:
    store = tmp_path / "x.zarr"
    shutil.copytree(saved, store)
    place = store / NAMES["deleted"]
    place.parent.mkdir()
    KINDS[kind](place)
    answer = child.ask("open", store)
    assert answer[:2] == ["error", "StoreIOError"]
    assert "verify" in answer[2]
    assert child.ask("repair", store) == ["ok", True]
    assert child.ask("open", store) == ["ok", [0.0, 1.0]]
    assert not any(map(files.is_partial, os.listdir(store)))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("kind", ["nothing in it", "garbage", "a list", "of an unknown kind", "link out of the store"])
def test_a_root_that_cannot_be_read_is_replaced(tmp_path: Path, kind: str, zarr_format: Any) -> None:
    """Which is the way out where nothing is left to repair; only of all, and never with a file of a user's."""
    store, theirs = tmp_path / "x.zarr", tmp_path / "theirs.json"
    zarrds.save(dataset(), store, zarr_format=zarr_format)
    document = store / ("zarr.json" if zarr_format == 3 else ".zmetadata")
    root = {"zarr_format": 3, "node_type": "group", "consolidated_metadata": 5}
    contents = {
        "nothing in it": b"",
        "garbage": b"\xff",
        "a list": b"[]",
        "of an unknown kind": json.dumps(root).encode(),
    }
    theirs.write_text("{}")
    document.unlink()
    if kind in contents:
        document.write_bytes(contents[kind])
    else:
        document.symlink_to(theirs)
    if zarr_format == 3:
        for option in ({"mode": "w-"}, {"mode": "a"}, {"mode": "w", "group": "g"}):
            with pytest.raises(ZarrdsError, match=r"zarr\.json"):
                zarrds.save(dataset(), store, **option)
    (store / "notes.txt").write_text("mine")
    with pytest.raises(StoreExistsError, match=r"notes\.txt"):
        zarrds.save(dataset(), store, mode="w", zarr_format=zarr_format)
    (store / "notes.txt").unlink()
    zarrds.save(dataset(), store, mode="w", zarr_format=zarr_format)
    assert xr.open_dataset(store, engine="zarrds").identical(dataset())
    assert theirs.read_text() == "{}"
    assert zarrds.verify(store).ok


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_changes_in_the_store_of_another_user(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zarrds.storage.local import changes

    monkeypatch.setattr(changes, "_PATIENCE", 0.05)
    store = tmp_path / "x.zarr"
    shutil.copytree(saved, store)
    folder(store / NAMES["commit"])
    for path in (store, store / NAMES["commit"]):
        os.chown(path, 12345, 12345)
    with pytest.raises(StoreIOError, match="begun"):
        LocalStore(store).recover()
    assert (store / NAMES["staged"]).exists()


def test_long_names_do_not_take_each_others_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where folders cannot be exchanged, and a writer died when it had moved the old store away."""
    one, other = (tmp_path / (190 * "x" + end + ".zarr") for end in "ab")
    zarrds.save(dataset(), one)
    hidden = Path(files.partial(str(one)))
    aside = Path(str(hidden).replace(files.PARTIAL, f".old{files.PARTIAL}"))
    shutil.copytree(one, hidden)
    one.rename(aside)
    LocalStore(other).recover()
    assert not other.exists()
    LocalStore(one).recover()
    assert one.exists()
    assert files.short("x" * 100) == "x" * 100
    assert len(files.short("x" * 101)) > 100


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.parametrize("path", ["/proc/x.zarr", "/dev/fd/x.zarr", "/proc/self/fd/x.zarr"])
def test_folders_in_which_nothing_can_be_made(path: str) -> None:
    with pytest.raises(ZarrdsError):
        zarrds.save(dataset(), path)
    with pytest.raises(ZarrdsError):
        zarrds.create_array(path, shape=(1,), dtype="i4")

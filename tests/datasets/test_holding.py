"""Documents that are held while one writes beside them: nobody hangs, nothing stays held, and nothing gets by."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import Format
from zarrds.arrays.in_place import InPlace
from zarrds.errors import ConflictError
from zarrds.storage.local import changes
from zarrds.storage.local.locking import holding

fcntl = pytest.importorskip("fcntl", reason="Windows has no flock")

N = 40
MINE, NEW = -1.0, 7.0


@pytest.fixture
def path(tmp_path: Path, zarr_format: Format) -> Path:
    place = tmp_path / "x.zarr"
    data = xr.Dataset({"v": ("x", np.zeros(N)), "w": ("x", np.zeros(N))})
    encoding = {"v": {"chunks": (1,)}, "w": {"chunks": (4,)}}
    zarrds.save(data, place, encoding=encoding, zarr_format=zarr_format, durable=False)
    return place


def document(path: Path) -> Path:
    return next(place for place in (path / "v/zarr.json", path / "v/.zarray") if place.exists())


def writing(path: Path) -> threading.Thread:
    array = zarrds.open_array(path, "r+", "v")
    thread = threading.Thread(target=array.write, args=(0, MINE), daemon=True)
    thread.start()
    return thread


def ends(thread: threading.Thread) -> bool:
    thread.join(5)
    return not thread.is_alive()


def test_nothing_is_waited_for_behind_a_link_in_the_place_of_a_commit(path: Path, tmp_path: Path) -> None:
    link, elsewhere = path / changes.COMMIT, tmp_path / "elsewhere/2" / document(path).relative_to(path)
    elsewhere.parent.mkdir(parents=True)
    elsewhere.touch()
    array = zarrds.open_array(path, "r+", "v")
    link.symlink_to(tmp_path / "elsewhere")
    thread = threading.Thread(target=array.write, args=(0, MINE), daemon=True)
    thread.start()
    try:
        assert ends(thread)
        assert array[0] == MINE
    finally:
        link.unlink()  # a thread that turns for ever would not end


def test_a_file_system_that_gives_a_file_several_numbers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lstat = os.lstat
    real = document(path)

    def other(location: Any) -> os.stat_result:
        found = lstat(location)
        return os.stat_result((found[0], found[1] + 1, *found[2:])) if os.fspath(location) == str(real) else found

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", other)
        thread = writing(path)
        is_over = ends(thread)
    assert is_over


@pytest.mark.parametrize("answer", [OSError(37, "no locks available"), OSError(95, "not supported")])
def test_files_that_cannot_be_locked(path: Path, monkeypatch: pytest.MonkeyPatch, answer: OSError) -> None:
    def flock(*_: Any) -> None:
        raise answer

    opened = zarrds.open_array(path, "r+", "v")
    monkeypatch.setattr(fcntl, "flock", flock)
    before = len(os.listdir("/dev/fd"))
    opened[...] = MINE
    holding.wait_for_holders([str(document(path))])
    assert len(os.listdir("/dev/fd")) == before


def test_who_waits_could_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS gives a file alone only to who may write to it, and answers EBADF to others."""
    flock, seen = fcntl.flock, list[int]()

    def strict(file: Any, operation: int) -> None:
        if operation & fcntl.LOCK_EX and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "bad file descriptor")
        flock(file, operation)
        seen.append(operation & fcntl.LOCK_EX)

    monkeypatch.setattr(fcntl, "flock", strict)
    holding.wait_for_holders([str(document(path))])
    assert any(seen)


def test_what_fails_while_it_is_taken_is_let_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(holding, "_is_there", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        holding.share(str(document(path)))
    with document(path).open() as file:  # though the traceback is still there
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert caught.tb is not None


def test_each_of_several_is_waited_for_though_one_is_stopped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "_PATIENCE", 0.01)
    waited, opened = list[str](), holding._opened

    def noted(location: str) -> int:
        waited.append(location)
        return opened(location)

    monkeypatch.setattr(holding, "_opened", noted)
    held = holding.share(str(document(path)))
    assert held is not None
    places = [str(document(path)), *sorted(map(str, path.glob("w/*json")))]
    with held:
        holding.wait_for_holders(places)
    assert waited == places


def dropped(path: Path) -> None:
    zarrds.drop_vars(path, "v")
    zarrds.open_group(path, "r+").create_array("v", shape=N, dtype="f8", chunks=1, fill_value=NEW)


def renamed(path: Path) -> None:
    zarrds.rename(path, {"v": "old"})
    zarrds.open_group(path, "r+").create_array("v", shape=N, dtype="f8", chunks=1, fill_value=NEW)


@pytest.mark.parametrize("replace", [dropped, renamed])
@pytest.mark.parametrize("part", [slice(0, 1), slice(None)])  # by Python, and by the kernel where it is built
def test_one_that_goes_is_waited_for_too(
    path: Path, replace: Callable[[Path], None], part: slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what was looked at before would be left for the array that comes next."""
    opened = zarrds.open_array(path, "r+", "v", workers=1)
    other = threading.Thread(target=replace, args=(path,))
    check, looks = InPlace.check, list[int]()
    mine = threading.get_ident()

    def slow(self: InPlace) -> None:
        check(self)
        if threading.get_ident() == mine:
            looks.append(1)
            if len(looks) == 2:  # the first was at the beginning
                other.start()
                other.join(0.15)

    monkeypatch.setattr(InPlace, "check", slow)
    with suppress(ConflictError):  # if it is not put off until the write is over
        opened.write(part, MINE)
    other.join()
    with pytest.raises(ConflictError):
        opened.write(part, MINE)
    assert set(zarrds.open_array(path, path="v")[...]) == {NEW}
    assert zarrds.verify(path).ok


def test_one_that_goes_is_waited_for_after_a_crash(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = zarrds.open_array(path, "r+", "v")
    values = InPlace(opened.store, opened.store, "v", opened.metadata)
    waited: list[int] = []

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    number = document(path).stat().st_ino
    with values.hold():
        with monkeypatch.context() as patch:
            patch.setattr(holding, "_wait", die)
            with pytest.raises(KeyboardInterrupt):
                zarrds.drop_vars(path, "v")
        monkeypatch.setattr(holding, "_wait", lambda location, end: waited.append(os.stat(location).st_ino))
        assert list(zarrds.open_group(path)) == ["w"]
    assert number in waited


def test_one_that_goes_is_waited_for_on_another_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its document cannot be moved out of the way first."""
    own, waited, rename = str(document(path)), list[Any](), os.rename

    def refusing(old: Any, new: Any, **more: Any) -> None:
        if os.fspath(old) == own:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), old)
        rename(old, new, **more)

    monkeypatch.setattr(os, "rename", refusing)
    monkeypatch.setattr(holding, "_wait", lambda location, end: waited.append(location))
    zarrds.drop_vars(path, "v")
    assert own in waited
    assert list(zarrds.open_group(path)) == ["w"]


@pytest.mark.parametrize("part", [slice(0, 1), slice(None)])
def test_nothing_is_held_while_chunks_are_made(path: Path, part: slice, monkeypatch: pytest.MonkeyPatch) -> None:
    """That may take longer than anybody waits: a disk syncs them."""
    opened, held = zarrds.open_array(path, "r+", "v", workers=1), list[bool]()
    hold = InPlace.hold

    def counted(self: InPlace) -> AbstractContextManager[object]:
        held.append(any(path.rglob("*.zarrds-partial")))
        return hold(self)

    monkeypatch.setattr(InPlace, "hold", counted)
    opened.write(part, MINE)
    assert held
    assert all(held)


def test_groups_that_are_nested_deeper_than_calls(tmp_path: Path) -> None:
    """Their documents are waited for as others are, before they are deleted."""
    depth = 1020
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("a", dir_fd=folder)
        deeper = os.open("a", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = deeper
        os.close(os.open("zarr.json", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    os.close(folder)
    assert sum(1 for _ in holding.documents_below(str(tmp_path))) == depth
    for _ in range(depth):  # what removes the folders of tests may be nested no deeper either
        (tmp_path / "a").rename(tmp_path / "top")
        (tmp_path / "top" / "zarr.json").unlink()
        if (tmp_path / "top" / "a").exists():
            (tmp_path / "top" / "a").rename(tmp_path / "a")
        (tmp_path / "top").rmdir()

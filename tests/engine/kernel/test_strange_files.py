"""What the kernel and the Python beside it make of files that are none, or that change under their hands."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.engine.kernel.modes import (
    KERNEL,
    Spy,
    files_of,
    needs_kernel,
    outcome,
    same_with_and_without,
    with_kernel,
)
from tests.engine.selections import ids_of
from zarrds import create_array, open_array
from zarrds.arrays.in_place import InPlace
from zarrds.errors import ConflictError

pytestmark = needs_kernel


def _put(place: Path, kind: str, outside: Path) -> None:
    value = place.read_bytes()
    place.unlink()
    match kind:
        case "folder":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case "link inside":
            (place.parent / "other").write_bytes(value)
            place.symlink_to("other")
        case "link outside":
            outside.write_bytes(value)
            place.symlink_to(outside)
        case "dangling":
            place.symlink_to("nothing")
        case "empty":
            place.write_bytes(b"")
        case "sparse":
            place.write_bytes(value)
            os.truncate(place, 50_000_000)
        case "unreadable":
            place.write_bytes(value)
            place.chmod(0)


@pytest.mark.parametrize(
    "kind", ["folder", "pipe", "link inside", "link outside", "dangling", "empty", "sparse", "unreadable"]
)
@pytest.mark.parametrize("where", ["chunk", "folder"])
def test_what_is_no_file_of_the_store(kind: str, where: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    array = create_array(path, shape=(4, 4), dtype="i4", chunks=(2, 2))
    array[...] = ids_of((4, 4))
    if where == "chunk":
        _put(path / "c" / "0" / "1", kind, tmp_path / "outside")
    elif kind in ("link inside", "link outside", "dangling"):
        target = path / "moved" if kind == "link inside" else tmp_path / "moved"
        (path / "c" / "0").rename(target)
        (path / "c" / "0").symlink_to("nothing" if kind == "dangling" else target)
    else:
        pytest.skip("a folder is a folder or a link")
    for key in (..., (0, slice(None)), (slice(1, 3), slice(1, 3))):
        same_with_and_without(lambda k=key: open_array(path)[k])
    # and none is written through
    for kernel in (None, KERNEL):
        with with_kernel(kernel):
            outcome(lambda: open_array(path, "r+").write((slice(0, 2), slice(None)), 9))
    if (tmp_path / "outside").exists():
        assert (tmp_path / "outside").stat().st_nlink == 1
        assert (path / "c" / "0" / "1").is_symlink() is False  # it was replaced


def test_files_that_change_while_they_are_read(tmp_path: Path) -> None:
    array = create_array(tmp_path, shape=(64, 64), dtype="i4", chunks=(8, 8))
    values = ids_of((64, 64)).astype("i4")
    array[...] = values
    place = tmp_path / "c" / "3" / "3"
    value = place.read_bytes()
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            for length in (0, 5, len(value) // 2, len(value) + 9999):
                os.truncate(place, length)
            place.write_bytes(value)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        with with_kernel(KERNEL):
            for _ in range(200):
                found = outcome(lambda: open_array(tmp_path)[...])
                assert (found[0] == (64, 64) and found[2] == values.tobytes()) or issubclass(found[0], ValueError)
    finally:
        done.set()
        thread.join()


def test_a_folder_that_is_replaced_while_chunks_are_written(tmp_path: Path) -> None:
    array = create_array(tmp_path / "s", shape=(40, 40), dtype="i4", chunks=(2, 2))
    array[...] = 0
    done = threading.Event()

    def replace() -> None:
        n = 0
        while not done.is_set():
            n += 1
            try:
                os.rename(tmp_path / "s" / "c" / "3", tmp_path / f"old{n}")
            except OSError:
                continue
            time.sleep(0.001)  # who never pauses can undo every attempt of a writer

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        with with_kernel(KERNEL):
            for i in range(50):
                array[...] = i
    finally:
        done.set()
        thread.join()
    with with_kernel(KERNEL):
        array[...] = 77
        assert (array[...] == 77).all()


@pytest.mark.parametrize("n_workers", [1, 2])
def test_nothing_gets_its_name_when_the_array_was_replaced(n_workers: int, tmp_path: Path) -> None:
    path = tmp_path / "s"
    array = create_array(path, path="a", shape=(40, 40), dtype="i4", chunks=(4, 4), workers=n_workers)
    array[...] = 1
    mine = open_array(path, "r+", "a", workers=n_workers)
    replaced = create_array(path, path="a", shape=(40, 40), dtype="i4", chunks=(4, 4), overwrite=True)
    replaced[...] = 2
    with with_kernel(Spy()) as spy:
        elements = mine.elements.through(InPlace(mine.store, mine.store, "a", mine.metadata))
        with pytest.raises(ConflictError):
            elements.write(..., 3)
    assert spy.given["write"] > 0
    assert (replaced[...] == 2).all()
    assert [name for name in files_of(path) if "partial" in name] == []
    assert [place for place in path.rglob("*.zarrds-partial") if ".lock" not in place.name] == []
    with with_kernel(Spy()) as spy:
        replaced[...] = 4
        assert (replaced[...] == 4).all()
    assert spy.given["write"] == 100
    assert spy.left == 0

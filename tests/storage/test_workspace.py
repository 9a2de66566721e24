"""What stands where the unfinished work of a dead process would be, and is none: nothing outside is touched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from zarrds.storage.local.workspace import workspace
from zarrds.stores import LocalStore

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and links")

PLACES = (".", "store", "scratch", "done")
KINDS: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda place, mine: place.symlink_to(mine),
    "dangling link": lambda place, mine: place.symlink_to(mine / "nothing"),
    "pipe": lambda place, mine: os.mkfifo(place),
    "file": lambda place, mine: place.write_bytes(b"\xff"),
    "sparse file": lambda place, mine: (place.touch(), os.truncate(place, 1 << 40)),
    "folder": lambda place, mine: (place / "deep").mkdir(parents=True),
}


def work(target: LocalStore) -> set[str]:
    """Work that is broken off by whoever calls; what was done before it is returned."""
    with workspace(target, "work", "this") as here:
        done = set(here.done)
        here.scratch.set("k", b"new")
        here.store.set("zarr.json", b"{}")
        here.finish("step")
        raise KeyboardInterrupt(done)
    raise AssertionError


def begun(target: LocalStore) -> set[str]:
    with pytest.raises(KeyboardInterrupt) as caught:
        work(target)
    done: set[str] = caught.value.args[0]
    return done


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_leftovers(tmp_path: Path, kind: str, place: str) -> None:
    target = LocalStore(tmp_path / "x.zarr")
    assert begun(target) == set()
    assert begun(target) == {"step"}
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "k").write_bytes(b"mine")
    (mine / "done").write_bytes((tmp_path / ".x.zarr.work.zarrds-partial" / "done").read_bytes())
    before = {path: path.read_bytes() for path in mine.iterdir()}
    there = tmp_path / ".x.zarr.work.zarrds-partial" / place
    there.rename(tmp_path / "away")  # were it removed, what comes in its place might get its number
    KINDS[kind](there, mine)
    is_harmless = kind == "folder" and place == "scratch"  # of another store nothing was done
    assert begun(target) == ({"step"} if is_harmless else set())
    assert begun(target) == {"step"}
    assert {path: path.read_bytes() for path in mine.iterdir()} == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives folders away")
@pytest.mark.parametrize("place", [".", "store", "scratch"])
def test_what_another_user_left_is_begun_anew(tmp_path: Path, place: str) -> None:
    target = LocalStore(tmp_path / "x.zarr")
    begun(target)
    os.chown(tmp_path / ".x.zarr.work.zarrds-partial" / place, 12345, 12345)
    assert begun(target) == set()

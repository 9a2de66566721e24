"""Each change of an array, group or document is made as one: a process that dies at any file operation leaves the store
as it was, or as it is to be, with documents that agree.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.datasets.faults import KILL, Countdown, watched
from zarrds.metadata.model import ZarrFormat
from zarrds.stores import LocalStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def saved(path: Path, zarr_format: ZarrFormat) -> None:
    """A store with consolidated metadata, and chunks that are cut by the edges of the arrays."""
    data = {"v": (("r", "y"), np.arange(20.0).reshape(5, 4)), "w": ("z", np.arange(3))}
    ds = xr.Dataset(data, {"x": np.arange(5)})
    zarrds.save(ds, path, zarr_format=zarr_format, encoding={"v": {"chunks": (2, 3)}}, durable=False)


def attributes(path: Path) -> None:
    zarrds.open_array(path, "r+", "v", workers=1).attrs.update(units="K", long_name="new")


def group_attributes(path: Path) -> None:
    zarrds.open_group(path, "r+", workers=1).attrs["title"] = "new"


def resize(path: Path) -> None:
    zarrds.open_array(path, "r+", "v", workers=1).resize((3, 5))


def append(path: Path) -> None:
    zarrds.open_array(path, "r+", "v", workers=1).append(np.full((3, 4), 7.0))


def create_array(path: Path) -> None:
    zarrds.open_group(path, "r+", workers=1).create_array("g/h/new", shape=(3,), dtype="i4")


def create_group(path: Path) -> None:
    zarrds.open_group(path, "r+", workers=1).create_group("g/h", attributes={"a": 1})


def overwrite(path: Path) -> None:
    zarrds.open_group(path, "r+", workers=1).create_array("v", shape=(3,), dtype="i4", chunks=2, overwrite=True)


def update_attrs(path: Path) -> None:
    zarrds.update_attrs(path, {"units": "K"}, "v", durable=False)


def rename(path: Path) -> None:
    zarrds.rename(path, {"v": "u", "x": "t"}, durable=False)


def drop(path: Path) -> None:
    zarrds.drop_vars(path, "v", durable=False)


def repair(path: Path) -> None:
    assert zarrds.verify(path, repair=True, workers=1).ok


ACTS: dict[str, Callable[[Path], None]] = {
    act.__name__: act
    for act in (
        attributes,
        group_attributes,
        resize,
        append,
        create_array,
        create_group,
        overwrite,
        update_attrs,
        rename,
        drop,
        repair,
    )
}


def break_documents(path: Path, zarr_format: ZarrFormat) -> None:
    """As another library leaves them, which changes an array's own document only."""
    document = path / "v" / ("zarr.json" if zarr_format == 3 else ".zattrs")
    text = document.read_text()
    document.write_text(
        text.replace('"attributes":{', '"attributes":{"n":1,').replace('"attributes": {', '"attributes": {"n": 1,')
        if zarr_format == 3
        else text.replace("{", '{"n": 1,', 1)
    )


def content(path: Path) -> dict[str, bytes]:
    store = LocalStore(path)
    store.recover()
    return {key: bytes(store.get(key) or b"") for key in store.list_prefix()}


def normal(values: dict[str, bytes]) -> dict[str, bytes]:
    """Without the ids of new arrays, which differ from time to time."""
    import re

    return {key: re.sub(rb'"id":\s*"[^"]*"', b'"id"', value) for key, value in values.items()}


def dead_after(act: Callable[[Path], None], path: Path, n: int) -> bool:
    """Whether a child that does something was killed at its n-th file operation."""
    pid = os.fork()
    if not pid:
        try:
            with watched(str(path.parent), Countdown(n, KILL)):
                act(path)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status != 0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.sweep
@pytest.mark.parametrize("zarr_format", [3, 2])
@pytest.mark.parametrize("name", ACTS)
def test_dead_at_any_file_operation(name: str, zarr_format: ZarrFormat, folder: Path) -> None:
    before, path = folder / "before", folder / "x.zarr"
    saved(before, zarr_format)
    if name == "repair":
        break_documents(before, zarr_format)
    shutil.copytree(before, path)
    old = normal(content(path))
    ACTS[name](path)
    new = normal(content(path))
    assert new != old
    seen = []
    for n in range(10_000):
        shutil.rmtree(path)
        shutil.copytree(before, path)
        died = dead_after(ACTS[name], path, n)
        found = normal(content(path))
        assert found in (old, new), (n, {k for k in found.keys() | new.keys() if found.get(k) != new.get(k)})
        seen.append("old" if found == old else "new")
        if name != "repair":
            assert [f for f in zarrds.verify(path, workers=1).findings if f.severity == "error"] == [], n
        if not died:
            break
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {"old", "new"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resize", "append"])
def test_what_was_begun_does_not_come_back(name: str, folder: Path) -> None:
    """Elements that a dead writer wrote behind the end are not there when the array grows again."""
    path = folder / "x.zarr"
    for n in range(0, 60, 3):
        shutil.rmtree(path, ignore_errors=True)
        array = zarrds.create_array(path, shape=(5,), chunks=(4,), dtype="i4", fill_value=-1, workers=1)
        array[...] = 3
        change = {"resize": lambda p: zarrds.open_array(p, "r+", workers=1).resize(3)}.get(
            name, lambda p: zarrds.open_array(p, "r+", workers=1).append([9, 9, 9, 9, 9])
        )
        died = dead_after(change, path, n)
        array = zarrds.open_array(path, "r+", workers=1)
        size = array.shape[0]
        array.resize(12)
        assert set(array[size:].tolist()) == {-1}, n
        if not died:
            break

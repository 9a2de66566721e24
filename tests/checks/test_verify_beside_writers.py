"""`verify` while others write: what it believed of the documents is looked at again before anything is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.checks import again, stores


def days(start: int, stop: int) -> xr.Dataset:
    values = np.arange(start, stop) * 1.0
    return xr.Dataset({"v": ("time", values)}, {"time": pd.date_range("2000-01-01", periods=stop)[start:]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    zarrds.save(days(0, 5), tmp_path / "t.zarr", encoding={"v": {"chunks": (2,)}, "time": {"chunks": (4,)}})
    zarrds.save(xr.Dataset({"w": ("y", [1, 2])}), tmp_path / "t.zarr", mode="a")
    return tmp_path / "t.zarr"


def append(path: Path) -> None:
    stop = zarrds.open_array(path, path="time").shape[0]
    zarrds.save(days(stop, stop + 3), path, append_dim="time")


def drop(path: Path) -> None:
    zarrds.drop_vars(path, ["w"])


def add(path: Path) -> None:
    zarrds.save(xr.Dataset({"new": ("y", [1, 2])}), path, mode="a")


def replace(path: Path) -> None:
    array = zarrds.create_array(
        path, path="w", shape=(2,), dtype="f8", chunks=2, dimension_names=("y",), overwrite=True
    )
    array[...] = 1


def damage(path: Path) -> None:
    append(path)
    chunk = path / "v/c.1"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"!")


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize(("act", "told"), [(append, []), (drop, []), (add, []), (replace, []), (damage, ["v/c.1"])])
@pytest.mark.parametrize("when", ["documents", "keys"])
def test_documents_that_are_older_than_the_chunks(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    act: Callable[[Path], None],
    told: list[str],
    repair: bool,
) -> None:
    """Somebody writes when the documents have been read, and again when the keys were looked at."""
    check_keys = stores.check_keys

    def beside(*args: Any, **kwargs: Any) -> None:
        if when == "documents":
            act(path)
        check_keys(*args, **kwargs)
        if when == "keys":
            act(path)

    monkeypatch.setattr(stores, "check_keys", beside)
    report = zarrds.verify(path, repair=repair)
    assert [f.key for f in report.findings] == (told if when == "documents" else [])
    monkeypatch.undo()
    assert [f.key for f in zarrds.verify(path).findings] == told


def test_what_is_wrong_is_told_though_somebody_writes_all_the_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path / "v/c.0").unlink()
    look_again = again.as_now

    def beside(*args: Any) -> Any:
        append(path)
        return look_again(*args)

    monkeypatch.setattr("zarrds.checks.arrays.as_now", beside)
    (finding,) = zarrds.verify(path).findings
    assert (finding.severity, finding.key) == ("error", "v/c.0")

"""Changes of a store: what the tests of failing and dying saves try out, one file operation at a time."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import xarray as xr

import zarrds
from tests.datasets.faults import KILL, Countdown, watched
from zarrds.errors import StoreExistsError, VariableNotFoundError

Format = Literal[2, 3]
Run = Callable[[Path, bool], Any]
State = dict[str, xr.Dataset]  # by group; empty if there is no store

CHUNKS = {"v": {"chunks": (3, 2)}, "w": {"chunks": (4,)}}


def dataset(days: range = range(5), value: float = 0.0, dtype: str = "f8") -> xr.Dataset:
    """Days of data, of which no two share a value."""
    time = np.array(days)
    return xr.Dataset(
        {
            "v": (("time", "x"), (time[:, None] * 10 + np.arange(4) + value).astype(dtype), {"units": "K"}),
            "w": ("time", time * 100 + int(value)),
        },
        {"time": time, "x": ["a", "b", "c", "d"]},
        {"title": "days"},
    )


@dataclass(frozen=True)
class Operation:
    """A change of a store.

    Attributes
    ----------
    run : callable
        Does it, in the store at a path, durably or not.
    before : callable
        Makes the store that it changes.
    again : callable, optional
        As `run`, and no harm if it was done already; `run` itself unless said.
    """

    run: Run
    before: Callable[[Path, Format], None]
    again: Run | None = None


def some_days(path: Path, zarr_format: Format) -> None:
    zarrds.save(dataset(), path, encoding=CHUNKS, zarr_format=zarr_format, durable=False)


def some_groups(path: Path, zarr_format: Format) -> None:
    some_days(path, zarr_format)
    small = xr.Dataset({"k": ("y", [1, 2, 3])})
    for group, ds in {"g": dataset(value=0.25), "g/h": small, "g-h": small}.items():
        encoding = {name: CHUNKS[name] for name in CHUNKS if name in ds}
        zarrds.save(ds, path, group=group, encoding=encoding, mode="a", durable=False)


def some_groups_one_by_one(path: Path, zarr_format: Format) -> None:
    """Without consolidated metadata."""
    some_groups(path, zarr_format)
    document = path / "zarr.json"
    if zarr_format == 2:
        (path / ".zmetadata").unlink()
    else:
        content = json.loads(document.read_text())
        del content["consolidated_metadata"]
        document.write_text(json.dumps(content))


def nothing(path: Path, zarr_format: Format) -> None:
    pass


def _save(ds: xr.Dataset, **options: Any) -> Run:
    return lambda path, durable: zarrds.save(ds, path, workers=1, durable=durable, **options)


def _refused(first: Run, then: Run) -> Run:
    """Do the first, or if it was done already, the second."""

    def again(path: Path, durable: bool) -> None:
        try:
            first(path, durable)
        except (StoreExistsError, VariableNotFoundError):
            then(path, durable)

    return again


def _rename(path: Path, durable: bool) -> None:
    zarrds.rename(path, {"v": "temperature", "time": "day", "x": "place"}, durable=durable)


# other values and dtypes: nothing else would show old chunks under new metadata, or new ones under old
_OTHER = dataset(range(6), 0.5, "f4").assign_attrs(title="other")
_MORE = dataset(value=0.5).assign(new=("x", np.arange(4)), scalar=1.5).assign_attrs(title="more")
_NEXT = dataset(range(5, 9))
_SERIAL = {"scheduler": "sync"}

_PART = dataset(range(1, 5), 0.5).drop_vars("x")

# each chunk for itself, not all at once
REGIONS: Mapping[str, Operation] = {
    "region": Operation(_save(_PART, region={"time": slice(1, 5)}), some_days),
    "region auto dask": Operation(
        _save(_PART.chunk(time=3, x=3), region="auto", chunkmanager_store_kwargs=_SERIAL), some_days
    ),
}

# all at once
OPERATIONS: Mapping[str, Operation] = {
    "new": Operation(
        _save(dataset(), encoding=CHUNKS),
        nothing,
        again=_refused(_save(dataset(), encoding=CHUNKS), _save(dataset(), encoding=CHUNKS, mode="w")),
    ),
    "overwrite": Operation(_save(_OTHER, encoding=CHUNKS, mode="w"), some_days),
    "append": Operation(
        _save(_NEXT, append_dim="time"), some_days, again=_save(_NEXT, append_dim="time", on_overlap="skip")
    ),
    "append dask": Operation(
        _save(_NEXT.chunk(time=3), append_dim="time", chunkmanager_store_kwargs=_SERIAL),
        some_days,
        again=_save(_NEXT, append_dim="time", on_overlap="replace"),
    ),
    "add and overwrite": Operation(_save(_MORE, mode="a"), some_days),
    "new group": Operation(
        _save(_OTHER, group="new/deep"),
        some_groups,
        again=_refused(_save(_OTHER, group="new/deep"), _save(_OTHER, group="new/deep", mode="w")),
    ),
    "new group with mode a": Operation(_save(_OTHER, group="new/deep", mode="a"), some_groups),
    "replace a group": Operation(_save(_OTHER, group="g", mode="w", encoding=CHUNKS), some_groups),
    "replace a group that is not consolidated": Operation(
        _save(_OTHER, group="g/h", mode="w", encoding=CHUNKS), some_groups_one_by_one
    ),
    "update_attrs": Operation(
        lambda path, durable: zarrds.update_attrs(path, {"n": 1}, "v", durable=durable), some_days
    ),
    "rename": Operation(_rename, some_days, again=_refused(_rename, lambda path, durable: None)),
    "drop_vars": Operation(
        lambda path, durable: zarrds.drop_vars(path, ["v", "x"], errors="ignore", durable=durable), some_days
    ),
}


def state(path: Path, engine: str = "zarrds", **options: Any) -> State:
    """All groups that a reader sees, loaded."""
    try:
        return {group: ds.load() for group, ds in xr.open_groups(path, engine=engine, **options).items()}
    except FileNotFoundError:
        return {}


def are_identical(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(one[group].identical(other[group]) for group in one)


_ID = re.compile(rb'("id": *")[0-9a-f]{16}"')


def snapshot(path: Path) -> dict[str, bytes | None]:
    """All files, and folders as None, bit for bit but for what zarrds draws by lot; and nothing that is hidden."""
    found = {str(p.relative_to(path)): p for p in path.rglob("*") if "zarrds-partial" not in str(p)}
    return {name: _ID.sub(rb"\1\"", p.read_bytes()) if p.is_file() else None for name, p in found.items()}


def leftovers(folder: Path) -> list[str]:
    """Hidden files and folders of the store, and beside it."""
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if "zarrds-partial" in p.name]


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where possible: thousands of saves would wait for the disk."""
    with TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        yield Path(name).resolve()


class Trial:
    """One operation, tried again and again from the same beginning."""

    def __init__(self, folder: Path, name: str, zarr_format: Format, durable: bool) -> None:
        self.operation = {**OPERATIONS, **REGIONS}[name]
        self.durable = durable
        self._before = folder / "before"
        self.place = folder / "place"  # what is beside the store counts too
        self.store = self.place / "x.zarr"
        self._before.mkdir()
        self.operation.before(self._before / "x.zarr", zarr_format)
        self.reset()
        self.old = snapshot(self.place)
        self.do(self.operation.run)
        self.new = snapshot(self.place)
        assert state(self.store)
        assert are_identical(state(self.store), state(self.store, "zarr"))
        assert are_identical(state(self.store), state(self.store, consolidated=False))
        assert zarrds.verify(self.store).ok
        assert leftovers(self.place) == []

    def reset(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self._before, self.place)

    def do(self, run: Run) -> None:
        run(self.store, self.durable)

    def count(self) -> int:
        """How many file operations it takes."""
        self.reset()
        countdown = Countdown(10**9, KILL)
        with watched(str(self.place), countdown):
            self.do(self.operation.run)
        self.reset()
        return len(countdown.log)

    def is_between(self) -> bool:
        """Whether each file is old or new, after a reader has looked at the store."""
        state(self.store)
        found = snapshot(self.place)
        return found.keys() == self.old.keys() == self.new.keys() and all(
            found[name] in (self.old[name], self.new[name]) for name in found
        )

    def now(self) -> str:
        """What the store is after a reader has looked at it."""
        state_or_nothing = self.store.exists() and state(self.store)
        found = snapshot(self.place)
        if found == self.old or found == self.new:
            return "old" if found == self.old else "new"
        different = {k for k in found.keys() | self.new.keys() if found.get(k, b"-") != self.new.get(k, b"-")}
        return f"neither old nor new: {state_or_nothing}; not as the new: {sorted(different)}"

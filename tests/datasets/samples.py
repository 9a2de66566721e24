"""Datasets, and looks into stores, that the tests of reading and writing share."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

import zarrds
from zarrds.storage.protocol import Buffer

Format = Literal[2, 3]
FORMATS: list[Format] = [3, 2]
DAY = np.timedelta64(1, "D")


class DuckArray:
    """As arrays of other libraries: it has elements, and is one of NumPy where it is asked to be."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self.values, dtype)

    def __array_function__(self, *args: Any) -> Any:
        return NotImplemented

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        return NotImplemented

    def __getitem__(self, key: Any) -> Any:
        return type(self)(self.values[key])


class Counting(zarrds.MemoryStore):
    """A store in memory that counts what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.listings = 0

    def get(self, key: str, buffer: memoryview | None = None) -> Buffer | None:
        self.reads[key] += 1
        return super().get(key, buffer)

    def list_prefix(self, prefix: str = "") -> Iterator[str]:
        self.listings += 1
        return super().list_prefix(prefix)

    def chunks_read(self) -> set[str]:
        """The keys of chunks, of all that were there, that were read."""
        documents = ("zarr.json", ".zarrds.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
        return {key for key in self.reads if key in self._values and key.rpartition("/")[2] not in documents}


def objects(*values: Any) -> np.ndarray[Any, Any]:
    """An array of these, which NumPy leaves as they are."""
    made = np.empty(len(values), object)
    made[:] = values
    return made


def open_zarrds(store: Any, **options: Any) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarrds", **options)


def load(store: Any, engine: str = "zarrds", **options: Any) -> xr.Dataset:
    return xr.open_dataset(store, engine=engine, **options).load()


def small(factor: int = 1) -> xr.Dataset:
    return xr.Dataset({"v": (("y", "x"), np.arange(12).reshape(3, 4) * factor)}, {"x": [1, 2, 3, 4]})


def varied(factor: float = 1.0) -> xr.Dataset:
    """Numbers, text and times, with and without an index."""
    return xr.Dataset(
        {
            "v": (("time", "x"), np.arange(60.0).reshape(10, 6) * factor, {"units": "K"}),
            "s": ("x", np.array(list("abcdef"), object)),
            "w": ("time", np.arange(10, dtype="i4")),
        },
        {
            "time": pd.date_range("2019-03-01", periods=10, unit="ns"),
            "x": np.arange(6) * 10,
            "height": 2.0,
            "label": ("time", [f"t{i}" for i in range(10)]),
        },
        {"title": "small"},
    )


VARIED_CHUNKS = {"v": {"chunks": (4, 3)}, "w": {"chunks": 4}, "label": {"chunks": 4}}


def days(start: int, stop: int) -> xr.Dataset:
    """Days of weather at three places: numbers, strings, coordinates with and without an index; no value twice."""
    numbers = np.arange(start, stop)
    return xr.Dataset(
        {
            "t2m": (("time", "x"), 280.0 + numbers[:, None] + np.arange(3) / 4, {"units": "K"}),
            "name": ("time", np.array([f"day {n:03}" for n in numbers], "U7")),
            "area": ("x", [5.0, 6.0, 7.0]),
        },
        {
            "time": np.datetime64("2019-03-05", "ns") + numbers * DAY,
            "x": [10, 20, 30],
            "season": ("time", numbers // 2),
            "height": 2.0,
        },
        {"title": "weather"},
    )


CHUNKS = {"t2m": {"chunks": (4, 2)}, "name": {"chunks": (3,)}, "time": {"chunks": (4,)}, "season": {"chunks": (3,)}}


def variants(ds: xr.Dataset) -> dict[str, xr.Dataset]:
    """The same dataset in memory, and as dask arrays whose blocks do not fit the chunks."""
    return {"numpy": ds, "dask": ds.chunk({dim: 2 if dim == "x" else 3 for dim in ds.dims})}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def contents(folder: Path) -> dict[str, bytes]:
    """As `files`, without the names that zarrds gives to each array that it makes."""
    return {name: re.sub(rb'"id": ?"[0-9a-f]{16}"', b"", value) for name, value in files(folder).items()}


def document(path: Path, name: str) -> dict[str, Any]:
    file = path / name / "zarr.json"
    found: dict[str, Any] = json.loads((file if file.exists() else path / name / ".zarray").read_text())
    return found


def codec_names(path: Path, name: str) -> list[str]:
    return [codec["name"] for codec in document(path, name)["codecs"]]


def chunks_of(path: Path, name: str) -> list[int]:
    found: list[int] = document(path, name)["chunk_grid"]["configuration"]["chunk_shape"]
    return found


def complete(path: Path, name: str) -> list[int] | None:
    """How much of an array its document says is certainly there."""
    found: list[int] | None = notes_of(path, name).get("complete")
    return found


def notes_of(path: Path, name: str) -> dict[str, Any]:
    """What is noted of an array, by its own documents."""
    file = path / name / ".zarrds/.zarrds.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else document(path, name).get("zarrds", {})
    return found


def change_notes(path: Path, name: str, change: Callable[[dict[str, Any]], Any], *, copies: bool = True) -> None:
    """Change what is noted of an array: ``change({"zarrds": {...}})``, also in the consolidated copy if `copies`."""
    file = path / name / ".zarrds/.zarrds.json"
    if (path / name / "zarr.json").exists():
        content = {"zarrds": json.loads(file.read_text())} if file.exists() else {}
        change(content)
        file.write_text(json.dumps(content["zarrds"])) if "zarrds" in content else file.unlink(missing_ok=True)
        root = json.loads((path / "zarr.json").read_text())
        root.get("consolidated_metadata", {}).get("zarrds", {})[name] = content.get("zarrds")
        where = path / "zarr.json"
    else:
        own = path / name / ".zarray"
        content = json.loads(own.read_text())
        change(content)
        own.write_text(json.dumps(content))
        where = path / ".zmetadata"
        root = json.loads(where.read_text())
        root["metadata"][f"{name}/.zarray"] = content
    if copies:
        where.write_text(json.dumps(root))


def times(start: str, n: int, freq: str = "D") -> pd.DatetimeIndex:
    return pd.date_range(start, periods=n, freq=freq, unit="ns")


def maps(path: Path, n: int, size: int) -> Any:
    """A store of many maps, one a chunk, and what it holds."""
    array = zarrds.create_array(
        path, path="v", shape=(n, size, size), dtype="f4", chunks=(1, size, size), dimension_names=("t", "y", "x")
    )
    rows = np.arange(size, dtype="f4")
    for i in range(n):
        array[i] = rows[:, None] * 7 + rows + i
    return lambda t, y, x: y * 7.0 + x + t

"""Stores of sorted labels of every kind, and what is read of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

import zarrds
from zarrds.labels.sorted.lazy_labels import LazyIndex
from zarrds.labels.sorted.search import SortedLabels

# kinds of labels -> how many there are, and elements of a chunk of them
SIZES = {
    "int": (140_000, 4096),
    "float": (100_000, 2048),  # decreasing
    "twice": (100_000, 2048),  # integers, of which every other one occurs twice
    "text": (100_000, 2048),
    "time": (100_000, 2048),  # datetimes, about one an hour
}
SORTED_ONCE = "int float text time"
NUMBERS = "int float"
EVERY = "int float twice text time"


@cache
def labels_of(kind: str) -> np.ndarray:
    n, _ = SIZES[kind]
    i = np.arange(n)
    steps = np.cumsum(1 + i % 3)
    made: dict[str, Callable[[], np.ndarray]] = {
        "int": lambda: steps,
        "float": lambda: steps[::-1] / 4,
        "twice": lambda: i * 2 // 3 * 2,
        "text": lambda: np.array([f"rs{number:07}" for number in steps], dtype=object),
        "time": lambda: np.datetime64("2001-01-01T00:00", "ns") + (i * 60 + i % 7) * np.timedelta64(1, "m"),
    }
    return made[kind]()


def dataset_of(kind: str) -> xr.Dataset:
    labels = labels_of(kind)
    i = np.arange(len(labels))
    data = {"v": ("x", np.sin(i / 1000) + i / len(i)), "w": (("y", "x"), np.stack([i, i[::-1]]))}
    return xr.Dataset(
        data, {"x": ("x", labels, {"long_name": kind}), "y": [0.5, 3.0], "odd": ("x", i % 2)}, {"title": kind}
    )


def save_stores(folder: Path, kind: str) -> None:
    """Two stores of one kind of labels: in the other one, many are missing."""
    _, chunk = SIZES[kind]
    whole = dataset_of(kind)
    i = np.arange(whole.sizes["x"])
    encoding = {"x": {"chunks": chunk}, "v": {"chunks": 16384}, "w": {"chunks": (2, 16384)}}
    for name, ds in (("a", whole), ("b", whole.isel(x=(i >= len(i) // 4) & (i % 10 != 0)))):
        ds = ds.assign_coords(x=ds.x.copy(data=pd.Index(ds.x.values, dtype=object))) if kind == "text" else ds
        zarrds.save(ds, folder / f"{kind}-{name}.zarr", encoding=encoding)


@dataclass
class Case:
    """The stores of one kind of labels, opened in one way; `sources` are all that labels were read from."""

    folder: Path
    kind: str
    index: Literal["lazy", "pandas"]
    sources: list[SortedLabels] = field(default_factory=list)

    @property
    def block(self) -> int:
        return SIZES[self.kind][1]

    def open(self, name: str = "a", **options: Any) -> xr.Dataset:
        path = self.folder / f"{self.kind}-{name}.zarr"
        ds = xr.open_dataset(path, engine="zarrds", **{"index": self.index, **options})
        self.note(ds)
        return ds

    def note(self, made: Any) -> None:
        """Count what is read through the indexes of an object."""
        for index in indexes_of(made):
            if isinstance(index, LazyIndex) and all(index._window.source is not source for source in self.sources):
                self.sources.append(index._window.source)

    @property
    def labels_read(self) -> int:
        return sum(source.labels_read for source in self.sources)

    @cached_property
    def ds(self) -> xr.Dataset:
        return self.open()

    @cached_property
    def other(self) -> xr.Dataset:
        """With fewer labels."""
        return self.open("b")

    def plain(self, name: str = "a") -> xr.Dataset:
        """With an index in memory."""
        return self.open(name, index="pandas")

    @cached_property
    def tree(self) -> xr.DataTree:
        path = self.folder / f"{self.kind}-a.zarr"
        tree = xr.open_datatree(path, engine="zarrds", index=self.index)
        self.note(tree.ds)
        return tree

    @cached_property
    def labels(self) -> np.ndarray:
        return labels_of(self.kind)

    def at(self, position: Any) -> Any:
        return self.labels[position]

    def beside(self, position: Any) -> Any:
        """Labels that are not there, just behind those at positions."""
        label = self.labels[position]
        if self.kind == "text":
            return label + "x" if isinstance(label, str) else np.array([f"{one}x" for one in label], object)
        return label + (np.timedelta64(1, "s") if self.kind == "time" else 0.125)

    @contextmanager
    def store(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield Path(folder) / "made.zarr"


def indexes_of(made: Any) -> list[pd.Index]:
    if isinstance(made, xr.DataTree):
        return [index for node in made.subtree for index in indexes_of(node.ds)]
    if isinstance(made, xr.Dataset | xr.DataArray):
        return [index.index for index in made.xindexes.values() if isinstance(index, xr.indexes.PandasIndex)]
    if isinstance(made, tuple | list):
        return [index for one in made for index in indexes_of(one)]
    return [made] if isinstance(made, pd.Index) else []


# ---- saves, and what is read back


def saved(c: Case, ds: xr.Dataset) -> xr.Dataset:
    with c.store() as path:
        zarrds.save(ds, path)
        return xr.load_dataset(path, engine="zarrds", index="pandas")


def saved_as_netcdf(c: Case) -> xr.Dataset:
    with c.store() as path:
        c.ds.to_netcdf(path, engine="h5netcdf")
        return xr.load_dataset(path, engine="h5netcdf")


def appended(c: Case) -> xr.Dataset:
    with c.store() as path:
        zarrds.save(c.plain().isel(x=slice(0, 20_000)), path)
        zarrds.save(c.ds.isel(x=slice(20_000, None)), path, append_dim="x")
        return xr.load_dataset(path, engine="zarrds", index="pandas")


def region_saved(c: Case, region: Any) -> xr.Dataset:
    with c.store() as path:
        zarrds.save(c.plain() * 0, path, encoding={"v": {"chunks": 4096}, "w": {"chunks": (2, 4096)}})
        part = c.ds.isel(x=slice(8192, 16384)).drop_vars(["y", "odd"])
        zarrds.save(part if region == "auto" else part.drop_vars("x"), path, region=region)
        return xr.load_dataset(path, engine="zarrds", index="pandas")

"""A store that another writer changes, at each of its calls: who uses it has what it was, what it is, or an error."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds import LocalStore
from zarrds.errors import ConflictError

CALLS = "get get_at_most identity list_children list_prefix recover set link stage_changes".split()


class ChangedStore(LocalStore):
    """A store that somebody changes just before one of the calls of who reads it."""

    n_calls: ClassVar[int] = 0
    at: ClassVar[int] = 0
    change: ClassVar[Callable[[Path], object]]

    @classmethod
    def count(cls, path: str) -> None:
        ChangedStore.n_calls += 1
        if cls.n_calls == cls.at:
            cls.change(Path(path))


def _counted(name: str) -> Any:
    real = getattr(LocalStore, name)

    def call(self: ChangedStore, *args: Any, **options: Any) -> Any:
        self.count(self.path)
        return real(self, *args, **options)

    return call


for _name in CALLS:
    setattr(ChangedStore, _name, _counted(_name))


def generation(number: int) -> xr.Dataset:
    """Two variables and labels that all tell which one it is."""
    attrs = {"generation": number}
    data = {name: ("x", np.arange(4.0) + 100 * number, attrs) for name in ("v", "w")}
    return xr.Dataset(data, {"x": np.arange(4) + 10 * number}, attrs)


def save(number: int, path: Path, zarr_format: Literal[2, 3] = 3) -> None:
    zarrds.save(generation(number), path, mode="w", zarr_format=zarr_format, durable=False)


CHANGES: dict[str, Callable[[Path], object]] = {
    "replaced": lambda path: save(2, path),
    "replaced by the other format": lambda path: save(2, path, 2),
    "overwritten": lambda path: zarrds.save(generation(2), path, mode="a", durable=False),
    "appended to": lambda path: zarrds.save(generation(2), path, append_dim="x", durable=False),
    "dropped": lambda path: zarrds.drop_vars(path, ["w"], durable=False),
    "renamed": lambda path: zarrds.rename(path, {"v": "z"}, durable=False),
    "edited": lambda path: zarrds.update_attrs(path, {"generation": 3}, "w", durable=False),
    "removed": shutil.rmtree,
}


def zarrds_dataset(store: Any, consolidated: bool) -> xr.Dataset:
    return xr.open_dataset(store, engine="zarrds", consolidated=consolidated)


def seen(dataset: xr.Dataset) -> Any:
    return dataset.attrs, {
        name: (variable.values.tolist(), variable.attrs) for name, variable in dataset.variables.items()
    }


@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_it_is_one_state_or_an_error(tmp_path: Path, change: str, consolidated: bool) -> None:
    path = tmp_path / "x.zarr"

    def look() -> Any:
        return seen(zarrds_dataset(ChangedStore(path), consolidated))

    ChangedStore.at, ChangedStore.n_calls = 0, 0
    save(1, path)
    before = look()
    n_calls = ChangedStore.n_calls
    CHANGES[change](path)
    after = None if change == "removed" else look()
    ChangedStore.change = staticmethod(CHANGES[change])
    for at in range(1, n_calls + 1):
        save(1, path)
        ChangedStore.at, ChangedStore.n_calls = at, 0
        try:
            assert look() in (before, after), at
        except ConflictError:
            pass
        except zarrds.errors.StoreNotFoundError:
            assert change == "removed", at


@pytest.mark.parametrize("change", ["replaced", "appended to", "dropped"])
def test_it_is_opened_all_the_same(tmp_path: Path, change: str) -> None:
    path = tmp_path / "x.zarr"
    for at in range(1, 9):
        save(1, path)
        ChangedStore.at, ChangedStore.n_calls, ChangedStore.change = at, 0, staticmethod(CHANGES[change])
        found = zarrds_dataset(ChangedStore(path), False)
        assert ChangedStore.n_calls > at
        ChangedStore.at = 0
        xr.testing.assert_identical(found, xr.open_dataset(path, engine="zarrds"))


def batch(start: int, *, is_lazy: bool) -> xr.Dataset:
    labels = np.arange(start, start + 3)
    ds = xr.Dataset({"v": ("x", labels * 2.0)}, {"x": labels})
    return ds.chunk(x=2) if is_lazy else ds


@pytest.mark.parametrize("is_lazy", [False, True])
def test_an_append_to_a_store_that_is_replaced_meanwhile(tmp_path: Path, is_lazy: bool) -> None:
    """It goes into the one that is there, or is a conflict; nothing is said to be lost, or not to fit together."""
    path = tmp_path / "x.zarr"

    def first(chunk: int) -> None:
        options = {name: {"chunks": (chunk,)} for name in ("v", "x")}
        zarrds.save(batch(0, is_lazy=False), path, mode="w", encoding=options, durable=False)

    def append() -> None:
        zarrds.save(batch(3, is_lazy=is_lazy), ChangedStore(path), append_dim="x", durable=False)

    ChangedStore.at, ChangedStore.n_calls, ChangedStore.change = 0, 0, staticmethod(lambda _: first(5))
    first(2)
    append()
    for at in range(1, ChangedStore.n_calls + 1):
        first(2)
        ChangedStore.at, ChangedStore.n_calls = at, 0
        sizes = [3, 6]  # the store was replaced after the append, or before it
        try:
            append()
        except ConflictError:
            sizes = [3]
        found = xr.load_dataset(path, engine="zarrds")
        assert found.v.values.tolist() == [2.0 * i for i in range(found.sizes["x"])]
        assert found.sizes["x"] in sizes, at


@pytest.mark.parametrize("change", ["replaced", "dropped"])
def test_a_source_of_which_a_copy_is_made(tmp_path: Path, change: str) -> None:
    """Its chunks are not said to be lost."""
    path, target = tmp_path / "x.zarr", tmp_path / "y.zarr"

    def rechunked() -> Any:
        zarrds.rechunk(ChangedStore(path), target, chunks={"x": 3}, mode="w", durable=False)
        return seen(xr.open_dataset(target, engine="zarrds"))

    ChangedStore.at, ChangedStore.n_calls, ChangedStore.change = 0, 0, staticmethod(CHANGES[change])
    save(1, path)
    before = rechunked()
    n_calls = ChangedStore.n_calls
    CHANGES[change](path)
    after = rechunked()
    for at in range(1, n_calls + 1):
        save(1, path)
        ChangedStore.at, ChangedStore.n_calls = at, 0
        with suppress(ConflictError):
            assert rechunked() in (before, after), at


EDITS: dict[str, Callable[[Any], object]] = {
    "rename": lambda store: zarrds.rename(store, {"v": "z"}, durable=False),
    "drop_vars": lambda store: zarrds.drop_vars(store, ["v"], durable=False),
    "update_attrs": lambda store: zarrds.update_attrs(store, {"a": 1}, "v", durable=False),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_a_store_that_is_replaced_meanwhile(tmp_path: Path, edit: str) -> None:
    path = tmp_path / "x.zarr"

    def first() -> None:
        options = {name: {"chunks": (1,)} for name in ("v", "w")}
        zarrds.save(generation(1), path, mode="w", encoding=options, durable=False)

    ChangedStore.at, ChangedStore.n_calls, ChangedStore.change = 0, 0, staticmethod(CHANGES["replaced"])
    first()
    EDITS[edit](ChangedStore(path))
    for at in range(1, ChangedStore.n_calls + 1):
        first()
        ChangedStore.at, ChangedStore.n_calls = at, 0
        with suppress(ConflictError):
            EDITS[edit](ChangedStore(path))
        ChangedStore.at = 0
        assert xr.load_dataset(path, engine="zarrds").x.values.tolist() == [20, 21, 22, 23], at
        assert zarrds.verify(path).findings == (), at

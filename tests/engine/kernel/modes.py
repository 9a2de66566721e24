"""Doing the same with the native kernel and without it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.selections import ids_of
from zarrds import create_array
from zarrds.engine import workers
from zarrds.engine.kernel import applies, library
from zarrds.errors import ZarrdsError

KERNEL = library.library()
needs_kernel = pytest.mark.skipif(KERNEL is None, reason="the native kernel was not built, or --kernel=off")


class Spy:
    """The kernel, which notes how many chunks it was given, and of how many it did none."""

    def __init__(self) -> None:
        self.given: dict[str, int] = {}
        self.left = 0

    def __getattr__(self, name: str) -> Any:
        function = getattr(KERNEL, name)
        if name == "can_check":
            return function

        def call(*arguments: Any) -> Any:
            import ctypes

            n = arguments[1]
            self.given[name] = self.given.get(name, 0) + n
            done = function(*arguments)
            self.left += sum(map(bool, ctypes.string_at(arguments[-1], n)))
            return done

        return call


@contextmanager
def with_kernel(kernel: Any) -> Iterator[Any]:
    """Use that kernel, None for none, for chunks of every size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "library", lambda: kernel)
        patch.setattr(applies, "LARGEST_READ", 2**28)
        patch.setattr(applies, "LARGEST_WRITE", 2**28)
        patch.setattr(workers, "MANY", 1)
        patch.setattr(workers, "MANY_CACHED", 1)
        yield kernel


def outcome(work: Callable[[], Any]) -> Any:
    """What it returns, as bytes, or the error that it raises."""
    try:
        value = work()
    except ZarrdsError as error:
        return type(error), str(error)
    array = np.asarray(value)
    return array.shape, array.dtype, array.tobytes()


def same_with_and_without(work: Callable[[], Any]) -> Any:
    """What `work` does, which must be the same in both modes; and whether the kernel did it all."""
    with with_kernel(None):
        expected = outcome(work)
    with with_kernel(Spy()) as spy:
        found = outcome(work)
    assert found == expected
    return spy


def settled_array(path: Path, shards: Any = None, **options: Any) -> tuple[Any, Any]:
    """An array and its values, in files that are old enough to be kept in a cache at once."""
    values = ids_of((80, 60)).astype("i4")
    array = create_array(path, **{"shape": (80, 60), "dtype": "i4", "chunks": (20, 10), "shards": shards, **options})
    array[...] = values
    for place in path.rglob("*"):
        os.utime(place, (1_000_000_000, 1_000_000_000))
    return array, values


def files_of(folder: Path) -> dict[str, bytes]:
    """The chunks below a folder, by their names in it."""
    return {
        str(place.relative_to(folder)): place.read_bytes()
        for place in sorted(folder.rglob("*"))
        if place.is_file() and place.name != "zarr.json" and not place.name.startswith(".")
    }

"""Opens, reads and verifies stores one after the other in little memory and time, and tells of raw errors."""

from __future__ import annotations

import copy
import json
import os
import resource
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import zarrds

HOSTILE: list[Any] = [0, -1, 2**31, 2**62, 10**18, 10**30, 0.5, 1e300, "many", [], [2**40], None, True, {}]
SECONDS = 20  # for what takes milliseconds: others may be at work on the machine
MEMORY = 2**30


def sizes(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all numbers in a document, and of the lists that they are in."""
    if isinstance(value, dict | list):
        inner = list(value.items() if isinstance(value, dict) else enumerate(value))
        if isinstance(value, list) and inner and all(isinstance(v, int) for v in value):
            yield where
        for name, part in inner[:3] if isinstance(value, list) else inner:
            yield from sizes(part, (*where, name))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield where


def with_value(document: Any, where: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    parent = changed
    for part in where[:-1]:
        parent = parent[part]
    parent[where[-1]] = value
    return changed


def sample(path: str, zarr_format: Any) -> None:
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["s", "y"])
    ds = xr.Dataset(
        {
            "v": (("t", "x"), np.ones((3, 4), "f4")),
            "c": ("x", pd.Categorical(["p", "q", "p", "q"])),
            "u": ("x", ["aa", "b", "", "d"]),
        },
        {
            "t": pd.date_range("2000-01-01", periods=3),
            "x": np.array([10, 20, 30, 40]),
            "i": pd.interval_range(0, 3),
            "r": pd.RangeIndex(5, 9),
            **xr.Coordinates.from_pandas_multiindex(index, "m"),
        },
    )
    zarrds.save(ds, path, zarr_format=zarr_format, durable=False, encoding={"v": {"chunks": (2, 2)}})


def main(folder: str, zarr_format: int, part: int, parts: int) -> int:
    warnings.simplefilter("ignore")
    path = os.path.join(folder, "s.zarr")
    sample(path, zarr_format)
    acts: dict[str, Callable[[], object]] = {
        "open_dataset": lambda: xr.open_dataset(path, engine="zarrds"),
        "open_array": lambda: [zarrds.open_array(path, path=name)[...] for name in ("v", "x", "u")],
        "verify": lambda: zarrds.verify(path),
    }
    names = [
        os.path.join(where, name)
        for where, _, files in os.walk(path)
        for name in files
        if name in ("zarr.json", ".zarray", ".zattrs", ".zmetadata", ".zarrds.json")
    ]
    for act in acts.values():
        act()
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)

    def too_long(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    n_bad = n = 0
    for name in sorted(names):
        with open(name) as file:
            text = file.read()
        document = json.loads(text)
        for where in sizes(document):
            for value in HOSTILE:
                n += 1
                if n % parts != part:
                    continue
                with open(name, "w") as file:
                    json.dump(with_value(document, where, value), file)
                for what, act in acts.items():
                    signal.alarm(SECONDS)
                    try:
                        act()
                    except zarrds.errors.ZarrdsError:
                        pass
                    except BaseException as error:
                        n_bad += 1
                        print(what, name[len(path) :], where, repr(value), type(error).__name__, str(error)[:150])
                    finally:
                        signal.alarm(0)
        with open(name, "w") as file:
            file.write(text)
    shutil.rmtree(path)
    print("tried", n // parts, "bad", n_bad)
    return n_bad


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])), 100))

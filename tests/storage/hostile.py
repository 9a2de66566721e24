"""What a child does with a store that holds something odd under a hidden name; prints how each act ended."""

from __future__ import annotations

import json
import resource
import sys
import warnings

if __name__ == "__main__":  # not in the tests' own process, which imports from here
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

import numpy as np  # the limit is to hold for the imports, too
import xarray as xr

import zarrds
from zarrds.errors import ZarrdsError


def dataset(n: int = 2, start: int = 0) -> xr.Dataset:
    return xr.Dataset({"v": ("x", np.arange(start, start + n) * 1.0)}, {"x": np.arange(start, start + n)})


def act(name: str, path: str) -> object:
    store = zarrds.LocalStore(path, lock_timeout=1)
    if name == "open":
        with xr.open_dataset(path, engine="zarrds") as found:
            return found.v.values.tolist()
    if name == "verify":
        return zarrds.verify(store).ok
    if name == "repair":
        return zarrds.verify(store, repair=True).ok
    if name == "replace":
        return zarrds.save(dataset(3), store, mode="w")
    return zarrds.save(dataset(2, 2), store, append_dim="x")


def main() -> None:
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        name, path = json.loads(line)
        try:
            answer = ["ok", act(name, path)]
        except ZarrdsError as error:
            answer = ["error", type(error).__name__, str(error)]
        except BaseException as error:
            answer = ["raw", type(error).__name__, str(error)]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

"""Requests and milliseconds of what is done to a store in object storage: rows of the table of docs/remote.md.

Run from the project's root: ``python -m benchmarks.requests`` prints them, on the tests' own server with 30 ms of
latency for each request; ``python -m benchmarks.requests 0`` with none.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xarray as xr

if not __package__:  # as a script
    sys.path[0] = str(Path(__file__).parents[1])

import zarrds
from tests.storage.s3_server import S3Server, serving

URL = "s3://bucket/t2m.zarr"
_ROUNDS = 3


def _cube(start: int, n: int) -> xr.Dataset:
    values = np.random.default_rng(start).random((n, 40, 40)).astype("f4")
    coordinates = {"time": np.arange(start, start + n), "lat": np.arange(40.0), "lon": np.arange(40.0)}
    return xr.Dataset({"t2m": (("time", "lat", "lon"), values)}, coordinates | {"h": ("time", np.arange(n) * 1.0)})


def _wholes(server: S3Server) -> Iterator[tuple[str, Callable[[int], object]]]:
    options, kept = server.options, server.state.values
    new, large = _cube(0, 100), _cube(0, 1000).isel(lat=slice(0, 10))
    encoding = {"t2m": {"chunks": (1, 40, 40)}}

    def save_new(_: int) -> None:
        kept.clear()
        zarrds.save(new, URL, encoding=encoding, storage_options=options)

    yield "save 100 chunks", save_new
    yield (
        "mode='w', 1000 chunks",
        lambda _: zarrds.save(large, URL, mode="w", encoding={"t2m": {"chunks": (1, 10, 40)}}, storage_options=options),
    )


def _acts(server: S3Server) -> Iterator[tuple[str, Callable[[int], object]]]:
    options = server.options
    part = _cube(0, 10)[["t2m"]].drop_vars(["time", "lat", "lon", "h"])
    new = xr.Dataset({"v": (("lat", "lon"), np.ones((40, 40)))})
    yield "open", lambda _: xr.open_dataset(URL, engine="zarrds", storage_options=options)
    yield (
        "append one step",
        lambda i: zarrds.save(_cube(10 + i, 1), URL, append_dim="time", storage_options=options),
    )
    yield (
        "append ten steps",
        lambda i: zarrds.save(_cube(20 + 10 * i, 10), URL, append_dim="time", storage_options=options),
    )
    yield "attributes", lambda i: zarrds.update_attrs(URL, {"n": i}, storage_options=options)
    yield "attributes of a variable", lambda i: zarrds.update_attrs(URL, {"n": i}, "t2m", storage_options=options)
    yield (
        "a new variable",
        lambda i: zarrds.save(new.rename(v=f"v{i}"), URL, mode="a", storage_options=options),
    )
    yield (
        "region of 10 chunks",
        lambda _: zarrds.save(part, URL, region={"time": slice(0, 10)}, storage_options=options),
    )


def main(latency: float) -> None:
    """Print the table."""
    with serving(latency) as server:
        _show(server, _wholes(server))
        server.state.values.clear()
        zarrds.save(_cube(0, 10), URL, encoding={"t2m": {"chunks": (1, 40, 40)}}, storage_options=server.options)
        _show(server, _acts(server))


def _show(server: S3Server, acts: Iterator[tuple[str, Callable[[int], object]]]) -> None:
    for name, act in acts:
        seconds = []
        for number in range(_ROUNDS):
            server.state.requests.clear()
            start = time.perf_counter()
            act(number)
            seconds.append(time.perf_counter() - start)
        kinds = ", ".join(f"{n} {method}" for method, n in sorted(server.state.counts().items()))
        print(f"{name:26}{len(server.state.requests):5}{min(seconds) * 1000:8.0f} ms   {kinds}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("latency", nargs="?", type=float, default=30, help="of each request, ms; 30 unless said")
    main(parser.parse_args().latency / 1000)

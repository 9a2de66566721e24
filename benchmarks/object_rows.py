"""What is done to stores in a bucket: the rows of the table of requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

import zarrds
from benchmarks.object_libraries import BUCKET, Chunks, Floor, Library, Zarrds, object_store
from benchmarks.object_server import ObjectServer

_BY_STEP: Chunks = {"t2m": (1, 40, 40)}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    `run` is timed, and given what `prepare` made of library and number, which is not; `check` is given the number and
    the result, and raises if it is wrong. Where it is not `for_all`, xarray's zarr engine has nothing like it. `floor`
    makes the requests that the row cannot do without.
    """

    name: str
    run: Callable[[Library, Any], Any]
    check: Callable[[Library, int, Any], None]
    prepare: Callable[[Library, int], Any] = lambda _library, number: number
    for_all: bool = True
    floor: Callable[[Floor], None] | None = None


def rows(server: ObjectServer) -> Iterator[Row]:
    """All rows; what a row needs is made when it is asked for, and goes when the next one is."""
    for family in (_opening, _loading, _shards, _whole_stores, _changes):
        yield from family(server)
        server.remove("")


def cube(start: int, n: int, n_lat: int = 40) -> xr.Dataset:
    """So many steps: maps, and four coordinates."""
    values = np.random.default_rng(start).random((n, n_lat, 40), "f4")
    coordinates = {"time": np.arange(start, start + n), "lat": np.arange(1.0 * n_lat), "lon": np.arange(40.0)}
    heights = ("time", np.arange(start, start + n) / 2)
    return xr.Dataset({"t2m": (("time", "lat", "lon"), values)}, coordinates).assign_coords(h=heights)


def _opening(server: ObjectServer) -> Iterator[Row]:
    expected = cube(0, 100)
    ours = Zarrds(server.options)
    ours.save(expected, "one", _BY_STEP)
    labels = [key for name in expected.coords for key in _chunks(server, f"one/{name}")]
    yield Row(
        "open, consolidated, 4 coordinates",
        lambda library, _: library.open("one"),
        _is(expected),
        floor=lambda floor: floor.get(["one/zarr.json"], labels),
    )
    groups = {f"g{i}": cube(i, 2).drop_vars("h") for i in range(10)}
    tree = xr.DataTree.from_dict(dict(groups))
    zarrds.save(tree, f"s3://{BUCKET}/tree", storage_options=server.options)
    all_labels = [key for key in _chunks(server, "tree") if "/t2m/" not in key]
    yield Row(
        "open a tree of 10 groups, 3 coordinates each",
        lambda library, _: library.open_tree("tree"),
        lambda _library, _number, found: xr.testing.assert_equal(found, tree),
        floor=lambda floor: floor.get(["tree/zarr.json"], all_labels),
    )
    many = xr.Dataset({f"v{i:03}": (("lat", "lon"), np.full((4, 5), i)) for i in range(272)})
    many = many.assign_coords(
        {name: ("lat" if i % 2 else "lon", np.arange(5.0 - i % 2)) for i, name in enumerate("abcd")}
    )
    many.to_zarr(object_store(server.options, "plain"), consolidated=False)
    yield Row(
        "open 276 arrays, not consolidated",
        lambda library, _: library.open("plain", consolidated=False),
        _is(many),
    )


def _loading(server: ObjectServer) -> Iterator[Row]:
    ours = Zarrds(server.options)
    many = xr.Dataset({f"v{i:03}": (("lat", "lon"), np.full((40, 40), i)) for i in range(200)})
    ours.save(many, "many", {})
    yield Row(
        "load 200 variables of one chunk",
        lambda _, ds: ds.load(),
        _is(many),
        lambda library, _: library.open("many"),
        floor=lambda floor: floor.get(_chunks(server, "many")),
    )
    steps = cube(0, 100)
    ours.save(steps, "steps", _BY_STEP)
    chunks = _chunks(server, "steps/t2m")
    yield Row(
        "load 100 chunks",
        lambda _, ds: ds.load(),
        _is(steps),
        lambda library, _: library.open("steps"),
        floor=lambda floor: floor.get(chunks),
    )
    yield Row(
        "a series through 100 chunks",
        lambda _, ds: ds.t2m[:, 3, 4].load(),
        _is(steps.t2m[:, 3, 4]),
        lambda library, _: library.open("steps"),
        floor=lambda floor: floor.get(chunks),
    )


def _shards(server: ObjectServer) -> Iterator[Row]:
    values = np.random.default_rng(0).random((400, 400), "f4")
    expected = xr.Dataset({"v": (("x", "y"), values)})
    encoding = {"v": {"chunks": (20, 20), "shards": (200, 200)}}
    zarrds.save(expected, f"s3://{BUCKET}/shards", encoding=encoding, storage_options=server.options)
    yield Row(
        "shards: a row of 20 inner chunks in 2",
        lambda _, ds: ds.v[25:35].load(),
        _is(expected.v[25:35]),
        lambda library, _: library.open("shards"),
    )
    yield Row(
        "shards: all 400 inner chunks of 4",
        lambda _, ds: ds.load(),
        _is(expected),
        lambda library, _: library.open("shards"),
        floor=lambda floor: floor.get(_chunks(server, "shards")),
    )


def _whole_stores(server: ObjectServer) -> Iterator[Row]:
    new = cube(0, 100)
    ours = Zarrds(server.options)
    documents = [f"{name}/zarr.json" for name in new.variables]
    labels = [f"{name}/c/0" for name in new.coords]

    def put_all(floor: Floor, path: str, chunks: list[str], size: int) -> None:
        before = [f"{path}/{key}" for key in (*documents, *labels, *chunks)]
        floor.put(before, [f"{path}/zarr.json"], size=size)

    def check_new(library: Library, number: int, _: Any) -> None:
        xr.testing.assert_equal(ours.open(_path(library, "new", number)), new)
        server.remove(_path(library, "new", number))

    yield Row(
        "save 100 chunks",
        lambda library, number: library.save(new, _path(library, "new", number), _BY_STEP),
        check_new,
        floor=lambda floor: put_all(floor, "floor-new", [f"t2m/c/{i}/0/0" for i in range(100)], 5000),
    )
    large, small = cube(0, 1000, 10), {"t2m": (1, 10, 40)}

    def stored(library: Library, number: int) -> int:
        if not number:
            library.save(large - 1, _path(library, "old"), small)
        return number

    yield Row(
        'mode="w", 1000 chunks',
        lambda library, number: library.save(large + number, _path(library, "old"), small, mode="w"),
        lambda library, number, _: xr.testing.assert_equal(ours.open(_path(library, "old")), large + number),
        stored,
        floor=lambda floor: put_all(floor, "floor-old", [f"t2m/c/{i}/0/0" for i in range(1000)], 1300),
    )


def _changes(server: ObjectServer) -> Iterator[Row]:
    ours = Zarrds(server.options)

    def begun(library: Library, number: int) -> int:
        if not server.keys(f"{_path(library, 'store')}/zarr.json"):
            library.save(cube(0, 10), _path(library, "store"), _BY_STEP)
        return number

    def with_step(library: Library, number: int) -> xr.Dataset:
        begun(library, number)
        return cube(10 + number, 1)

    def check_step(library: Library, number: int, _: Any) -> None:
        found = ours.open(_path(library, "store")).isel(time=slice(10 + number, None))
        xr.testing.assert_equal(found, cube(10 + number, 1))

    yield Row(
        "append one step",
        lambda library, step: library.change(step, _path(library, "store"), append_dim="time"),
        check_step,
        with_step,
    )
    part = cube(5, 10)[["t2m"]].drop_vars(["time", "lat", "lon", "h"])

    def check_region(library: Library, _number: int, _: Any) -> None:
        np.testing.assert_array_equal(ours.open(_path(library, "store")).t2m[:10], part.t2m)

    yield Row(
        "region of 10 chunks",
        lambda library, _: library.change(part, _path(library, "store"), region={"time": slice(0, 10)}),
        check_region,
        begun,
    )

    new = xr.Dataset({"new": (("lat", "lon"), np.ones((40, 40)))})

    def without_it(library: Library, number: int) -> int:
        library.save(cube(0, 10), _path(library, "added", number), _BY_STEP)
        return number

    def check_new(library: Library, number: int, _: Any) -> None:
        np.testing.assert_array_equal(ours.open(_path(library, "added", number)).new, new.new)

    yield Row(
        "a new variable",
        lambda library, number: library.change(new, _path(library, "added", number), mode="a"),
        check_new,
        without_it,
    )

    def check_attribute(library: Library, number: int, _: Any) -> None:
        assert ours.open(_path(library, "store")).attrs["number"] == number  # a benchmark checks

    url = f"s3://{BUCKET}/{_path(ours, 'store')}"
    yield Row(
        "an attribute of the group",
        lambda _, number: zarrds.update_attrs(url, {"number": number}, storage_options=server.options),
        check_attribute,
        begun,
        for_all=False,
    )


def _is(expected: Any) -> Callable[[Library, int, Any], None]:
    def check(_library: Library, _number: int, found: Any) -> None:
        xr.testing.assert_equal(found, expected)

    return check


def _chunks(server: ObjectServer, path: str) -> list[str]:
    return [key for key in server.keys(f"{path}/") if not key.endswith(".json")]


def _path(library: Library, name: str, number: int | str = "") -> str:
    return f"{library.name.translate({ord(c): '-' for c in ' ,'})}/{name}{number}"

"""A cube of temperatures that is as large as it is asked for: a threshold, a maximum, and what rules out nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import zarrds
from benchmarks.queries_ways import Question, Way, has

_LATITUDES, _LONGITUDES = 360, 720
_STEPS = 48  # that are made at a time
_CHUNKS = (24, 90, 180)  # 1.6 MB
_ROWS = 1 << 20  # of a group of Parquet's rows
_THRESHOLD = 315.0


def _slab(start: int, stop: int) -> np.ndarray[Any, Any]:
    """Hourly temperatures of a sphere, in hundredths of a degree, with a few hot hours in one place."""
    rng = np.random.default_rng(start)
    latitude = np.linspace(90, -90, _LATITUDES)[:, None]
    longitude = np.linspace(0, 360, _LONGITUDES, endpoint=False)
    hours = np.arange(start, stop)[:, None, None]
    values = 288 - 30 * np.sin(np.deg2rad(latitude)) ** 2 + 5 * np.sin(np.deg2rad(longitude + 15 * hours))
    values = values + rng.normal(0, 0.5, values.shape)
    if start == _STEPS:
        values[20:23, 150:170, 300:320] += 25
    return np.round(values, 2).astype("f4")


def _slabs(n: int) -> Iterator[tuple[int, xr.Dataset]]:
    for start in range(0, n, _STEPS):
        dims = ("time", "latitude", "longitude")
        coordinates = {
            "time": np.arange(start, start + _STEPS),
            "latitude": np.linspace(90, -90, _LATITUDES),
            "longitude": np.linspace(0, 360, _LONGITUDES, endpoint=False),
        }
        yield start, xr.Dataset({"t2m": (dims, _slab(start, start + _STEPS))}, coordinates)


def _make_stores(folder: Path, n: int) -> None:
    """The same chunks with statistics and without, and one map a chunk."""
    maps = (1, _LATITUDES, _LONGITUDES)
    for name, chunks, statistics in (("known", _CHUNKS, True), ("plain", _CHUNKS, False), ("maps", maps, True)):
        for start, ds in _slabs(n if name != "maps" else n // 4 // _STEPS * _STEPS or _STEPS):
            if start:
                zarrds.save(ds, folder / name, append_dim="time", durable=False)
            else:
                encoding: Any = {"t2m": {"chunks": chunks}, "time": {"chunks": (n,)}}
                zarrds.save(ds, folder / name, statistics=statistics, encoding=encoding, durable=False)


def _make_parquet(folder: Path, n: int) -> None:
    """A table in the order of time, latitude and longitude, by the positions of these."""
    import polars

    y, x = (each.ravel().astype("i2") for each in np.indices((_LATITUDES, _LONGITUDES)))
    (folder / "parquet").mkdir()
    for start, ds in _slabs(n):
        columns = {
            "time": np.repeat(np.arange(start, start + _STEPS, dtype="i4"), y.size),
            "latitude": np.tile(y, _STEPS),
            "longitude": np.tile(x, _STEPS),
            "t2m": ds.t2m.values.ravel(),
        }
        polars.DataFrame(columns).write_parquet(
            folder / "parquet" / f"{start:06}.parquet", compression="lz4", row_group_size=_ROWS, statistics=True
        )


Points = list[tuple[int, ...]]


def _found(path: Path) -> Points:
    found = zarrds.find(path, f"t2m > {_THRESHOLD}")
    return list(zip(*(found[f"{dim}_index"].values.tolist() for dim in ("time", "latitude", "longitude")), strict=True))


def _pipeline(name: str) -> AbstractContextManager[Any]:
    if name != "zarrs":
        return nullcontext()
    import zarr

    found: AbstractContextManager[Any] = zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    return found


def _opened(path: Path, pipeline: str) -> xr.Dataset:
    with _pipeline(pipeline):
        return xr.open_dataset(path, engine="zarr", chunks={})


def _scanned(path: Path, pipeline: str) -> Points:
    with _pipeline(pipeline):
        found = np.argwhere((_opened(path, pipeline).t2m > np.float32(_THRESHOLD)).values)
    return list(map(tuple, found.tolist()))


def _by_duckdb(folder: Path) -> Points:
    import duckdb

    query = f"SELECT time, latitude, longitude FROM '{folder}/parquet/*.parquet' WHERE t2m > {_THRESHOLD} ORDER BY ALL"
    return duckdb.sql(query).fetchall()


def _by_polars(folder: Path) -> Points:
    import polars

    lazy = polars.scan_parquet(folder / "parquet" / "*.parquet").filter(polars.col("t2m") > _THRESHOLD)
    return lazy.select("time", "latitude", "longitude").sort("time", "latitude", "longitude").collect().rows()


def _largest_by_duckdb(folder: Path) -> float:
    import duckdb

    (found,) = duckdb.sql(f"SELECT max(t2m) FROM '{folder}/parquet/*.parquet'").fetchall()
    return float(found[0])


def _largest_by_polars(folder: Path) -> float:
    import polars

    found = polars.scan_parquet(folder / "parquet" / "*.parquet").select(polars.col("t2m").max()).collect()
    return float(found.item())


def _largest_by_engine(path: Path, pipeline: str) -> float:
    with _pipeline(pipeline):
        return float(_opened(path, pipeline).t2m.max())


def _of_each_map(path: Path) -> list[float]:
    return list(zarrds.aggregate(path, "t2m", "max", dim=["latitude", "longitude"]).values.tolist())


def _of_each_map_by_engine(path: Path, pipeline: str) -> list[float]:
    with _pipeline(pipeline):
        return list(_opened(path, pipeline).t2m.max(["latitude", "longitude"]).values.tolist())


def _unpruned(path: Path) -> int:
    return int(zarrds.find(path, "t2m - t2m < 0.5", count=True))


def _unpruned_by_slabs(path: Path) -> int:
    """A plain scan, a row of chunks at a time."""
    ds, found = xr.open_dataset(path, engine="zarrds"), 0
    for start in range(0, ds.sizes["time"], _CHUNKS[0]):
        values = ds.t2m[start : start + _CHUNKS[0]].values
        found += int(np.count_nonzero(values - values < 0.5))
    return found


def _unpruned_by_engine(path: Path, pipeline: str) -> int:
    with _pipeline(pipeline):
        values = _opened(path, pipeline).t2m
        return int((values - values < 0.5).sum())


def questions(folder: Path, gigabytes: float) -> list[Question]:
    """The questions of this module; makes the data."""
    n = max(2, round(gigabytes * 1e9 / (4 * _LATITUDES * _LONGITUDES) / _STEPS)) * _STEPS
    _make_stores(folder, n)
    known, plain, maps = (folder / name for name in ("known", "plain", "maps"))
    pipelines = [name for name in ("zarr", "zarrs") if has("zarr", "dask", name)]
    tables = []
    if has("polars"):
        _make_parquet(folder, n)
        tables = [name for name in ("duckdb", "polars") if has(name)]
    largest = partial(zarrds.aggregate, variable="t2m", how="max")
    by_table: dict[str, Any] = {"duckdb": _by_duckdb, "polars": _by_polars}
    largest_by_table: dict[str, Any] = {"duckdb": _largest_by_duckdb, "polars": _largest_by_polars}
    title = f"{4 * _LATITUDES * _LONGITUDES * n / 1e9:.1f} GB"
    return [
        Question(
            f"threshold, {title}",
            (
                Way("zarrds by statistics", partial(_found, known)),
                Way("zarrds, all read", partial(_found, plain)),
                *(Way(f"xarray's zarr engine, dask, {name}", partial(_scanned, plain, name)) for name in pipelines),
                *(Way(f"{name}, Parquet", partial(by_table[name], folder)) for name in tables),
            ),
        ),
        Question(
            f"largest of all, {title}",
            (
                Way("zarrds by statistics", lambda: float(largest(known))),
                Way("zarrds, all read", lambda: float(largest(plain))),
                *(Way(f"zarr engine, dask, {name}", partial(_largest_by_engine, plain, name)) for name in pipelines),
                *(Way(f"{name}, Parquet", partial(largest_by_table[name], folder)) for name in tables),
            ),
        ),
        Question(
            "largest of each step, a quarter of it",
            (
                Way("zarrds by statistics", partial(_of_each_map, maps)),
                *(Way(f"zarr engine, dask, {name}", partial(_of_each_map_by_engine, maps, name)) for name in pipelines),
            ),
        ),
        Question(
            f"nothing can be left out, {title}",
            (
                Way("zarrds with statistics", partial(_unpruned, known)),
                Way("zarrds without", partial(_unpruned, plain)),
                Way("zarrds, slab by slab", partial(_unpruned_by_slabs, plain)),
                *(Way(f"zarr engine, dask, {name}", partial(_unpruned_by_engine, plain, name)) for name in pipelines),
            ),
        ),
    ]

"""Large inputs where dask is not installed: part by part, through a hidden store beside the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from math import prod
from typing import Any

import xarray as xr

from zarrds.datasets.converting.plan import Target
from zarrds.datasets.rechunking.by_parts import Parts, hidden_store, parts_of, write_parts
from zarrds.datasets.rechunking.rechunk import rechunk
from zarrds.datasets.writing.commit.new_store import find_target
from zarrds.datasets.writing.writer import save
from zarrds.engine.blocks import BLOCK_NBYTES
from zarrds.storage.commits.committer import as_durable

__all__ = ["appended_parts", "parts_without_dask", "save_by_parts"]

# what bringing parts into the chunks that are wanted may take, and how many chunks of the largest kind that is at least
_MEMORY = 128 * 2**20
_CHUNKS = 16


def parts_without_dask(ds: xr.Dataset, along: str | None = None) -> Parts | None:
    """How to cut a dataset that does not fit into memory; None where dask reads it, or where it fits."""
    return parts_of(ds, BLOCK_NBYTES, along) if find_spec("dask") is None else None


def save_by_parts(groups: Mapping[str, tuple[xr.Dataset, Mapping[Any, Mapping[str, Any]]]], target: Target) -> None:
    """Save groups of datasets, by path, with the encodings that are asked for, as a new store, in bounded memory."""
    store, zarr_format = target.store, target.zarr_format
    find_target(store, "", target.mode, zarr_format)  # before any work
    asked: dict[str, dict[str, Any]] = {}
    largest = 0
    with hidden_store(store) as hidden:
        for path, (ds, encoding) in groups.items():
            group = path.strip("/")
            parts = parts_without_dask(ds)
            if parts is None:
                save(ds, hidden, mode="a", group=group or None, encoding=encoding, zarr_format=zarr_format)
                continue
            write_parts(ds, hidden, parts, group=group or None, encoding=encoding, zarr_format=zarr_format)
            for name, chunks in parts.chunks.items():
                given = {k: v for k, v in encoding.get(name, {}).items() if isinstance(v, tuple | list)}
                wanted = tuple(given.get("chunks") or parts.source_chunks[name])
                shards = {"shards": tuple(given["shards"])} if given.get("shards") else {}
                itemsize = max(ds.variables[name].dtype.itemsize, 1)
                largest = max(largest, *(prod(each) * itemsize for each in (chunks, wanted, *shards.values())))
                if wanted != chunks or shards:
                    asked[f"{group}/{name}".strip("/")] = {"chunks": wanted, **shards}
        rechunk(
            hidden,
            as_durable(store, target.durable),
            encoding=asked,
            mode=target.mode,
            max_memory=max(_MEMORY, _CHUNKS * largest),
            statistics=target.statistics,
            progress=target.progress,
        )


def appended_parts(ds: xr.Dataset, dim: str) -> Iterator[xr.Dataset]:
    """A dataset in parts along the dimension that it is appended along; whole where dask reads it, or where it fits."""
    parts = parts_without_dask(ds, dim)
    if parts is None:
        yield ds
        return
    for start in range(0, ds.sizes[dim], parts.step):
        yield ds.isel({dim: slice(start, start + parts.step)})

"""How each library saves and opens datasets through xarray."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import xarray as xr

import zarrds
from benchmarks.array_engines import has, zarr_pipeline
from benchmarks.contenders import OURS, OURS_DURABLE

Encoding = dict[Hashable, dict[str, Any]]
Chunks = Mapping[Hashable, tuple[int, ...]]  # by variable

# what of an encoding says how values are stored, not how they are compressed
_CF_KEYS = ("dtype", "scale_factor", "add_offset", "_FillValue", "missing_value", "units", "calendar")
_ZARR_PIPELINES = {
    "zarr engine": None,  # zarr-python's default
    "zarr engine fused": "zarr.core.codec_pipeline.FusedCodecPipeline",
    "zarr engine+zarrs": "zarrs.ZarrsCodecPipeline",
}


class Saver(Protocol):
    """Saves a dataset or a tree; with `append_dim`, behind what is there."""

    def __call__(self, obj: Any, path: Path, encoding: Any, append_dim: str | None = None) -> object:
        """Save `obj`; the encoding is None where it is appended."""


@dataclass(frozen=True)
class Opener:
    """What xarray opens something with. What runs in the `context` uses the library as this contender does."""

    name: str
    uses: str
    xarray_engine: Any
    kind: Literal["ours", "peer", "floor"] = "peer"
    durable: bool = False
    context: Callable[[], AbstractContextManager[Any]] = nullcontext

    def open(self, source: Any, chunks: Any = None) -> xr.Dataset:
        """Open a dataset, lazily; as dask arrays if `chunks` is given."""
        with self.context():
            return xr.open_dataset(source, engine=self.xarray_engine, chunks=chunks)

    def open_tree(self, source: Any) -> xr.DataTree:
        """Open a tree, lazily."""
        with self.context():
            return xr.open_datatree(source, engine=self.xarray_engine)


@dataclass(frozen=True, kw_only=True)
class Engine(Opener):
    """How one library saves, too.

    `storage` makes a variable's encoding from its stored dtype, its chunks, and the inner codec of Blosc.
    """

    suffix: Literal[".zarr", ".nc"]
    storage: Callable[[np.dtype[Any], tuple[int, ...], str], dict[str, Any]]
    write: Saver

    def save(self, obj: Any, path: Path, encoding: Any, append_dim: str | None = None) -> None:
        """Save a dataset or a tree."""
        with self.context():
            self.write(obj, path, encoding, append_dim)

    def encoding(self, ds: xr.Dataset, chunks: Chunks, cname: str) -> Encoding:
        """Chunks and compression for every array of numbers, and the CF encoding that it has."""
        found: Encoding = {}
        for name, variable in ds.variables.items():
            cf = {key: variable.encoding[key] for key in _CF_KEYS if key in variable.encoding}
            if variable.dtype.kind not in "OUS" and variable.ndim:
                dtype = np.dtype(cf.get("dtype", variable.dtype))
                cf |= self.storage(dtype, chunks.get(name, variable.shape), cname)
            found[name] = cf
        return found


def _zarrds_storage(dtype: np.dtype[Any], chunks: tuple[int, ...], cname: str) -> dict[str, Any]:
    if cname == "lz4":  # its default
        return {"chunks": chunks}
    blosc = {"cname": cname, "clevel": 5, "shuffle": _shuffle(dtype), "typesize": dtype.itemsize, "blocksize": 0}
    return {"chunks": chunks, "compressors": [{"name": "blosc", "configuration": blosc}, {"name": "crc32c"}]}


def _zarr_storage(dtype: np.dtype[Any], chunks: tuple[int, ...], cname: str) -> dict[str, Any]:
    from zarr.codecs import BloscCodec

    names: dict[str, Any] = {"cname": cname, "shuffle": _shuffle(dtype)}
    codec = BloscCodec(clevel=5, typesize=dtype.itemsize, **names)
    return {"chunks": chunks, "compressors": (codec,)}


def _shuffle(dtype: np.dtype[Any]) -> str:
    return "bitshuffle" if dtype.itemsize == 1 else "shuffle"


def _netcdf_storage(_dtype: np.dtype[Any], chunks: tuple[int, ...], _cname: str) -> dict[str, Any]:
    return {"chunksizes": chunks, "zlib": True, "complevel": 1, "shuffle": True}


def _zarrds_save(durable: bool, obj: Any, path: Path, encoding: Any, append_dim: str | None = None) -> None:
    zarrds.save(obj, path, encoding=encoding, append_dim=append_dim, durable=durable)


def _zarr_save(obj: Any, path: Path, encoding: Any, append_dim: str | None = None) -> None:
    # consolidated is xarray's default for stores that it creates, with a warning for v3 unless asked for
    if append_dim is not None:
        obj.to_zarr(path, append_dim=append_dim, consolidated=True)
    else:
        obj.to_zarr(path, encoding=encoding, zarr_format=3, consolidated=True)


def _netcdf_save(engine: str, obj: Any, path: Path, encoding: Any, append_dim: str | None = None) -> None:
    if append_dim is not None:
        raise ValueError("xarray does not append to netCDF files")
    obj.to_netcdf(path, engine=engine, encoding=encoding)


def _ours(durable: bool) -> Engine:
    return Engine(
        OURS_DURABLE if durable else OURS,
        "v3, Blosc, crc32c" + (", fsync" if durable else ""),
        OURS,
        "ours",
        durable,
        suffix=".zarr",
        storage=_zarrds_storage,
        write=partial(_zarrds_save, durable),
    )


def _zarr(name: str, pipeline: str | None) -> Engine:
    context = partial(zarr_pipeline, pipeline)
    return Engine(name, "v3, Blosc", "zarr", context=context, suffix=".zarr", storage=_zarr_storage, write=_zarr_save)


def _netcdf(name: str, engine: str) -> Engine:
    save = partial(_netcdf_save, engine)
    return Engine(name, "HDF5, zlib 1, shuffle", engine, suffix=".nc", storage=_netcdf_storage, write=save)


def engines(*, durable: bool = False) -> list[Engine]:
    """All that are installed, zarrds first.

    Parameters
    ----------
    durable : bool
        Whether those that wait for the disk are wanted too.
    """
    found = [_ours(False), _ours(True)] if durable else [_ours(False)]
    found += [_zarr(name, pipeline) for name, pipeline in _ZARR_PIPELINES.items() if has(pipeline or "zarr")]
    found += [_netcdf(name, name.lower()) for name in ("netCDF4", "h5netcdf") if has(name)]
    return found

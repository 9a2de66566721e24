"""How each library writes and reads a whole array.

Libraries are imported when they are first used, so that a process that measures one does not carry the others.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_PIPELINES = {
    "zarr-python": None,  # its default
    "zarr-python fused": "zarr.core.codec_pipeline.FusedCodecPipeline",
    "zarr-python+zarrs": "zarrs.ZarrsCodecPipeline",
}
_BLOSC = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 4, "blocksize": 0}
_CODECS = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "blosc", "configuration": _BLOSC},
]
_USES = "v3, Blosc LZ4 5 shuffle"


@dataclass(frozen=True)
class Engine:
    """How one library writes and reads a whole array; `write` is given path, values and chunks."""

    name: str
    uses: str
    write: Callable[[Path, Array, tuple[int, ...]], object]
    read: Callable[[Path], Array]
    needs: str  # a module, or a name in one
    own_files: bool = False  # it reads what it wrote itself, not the files that all others read


def _zarrds_write(codecs: Any, path: Path, values: Array, chunks: tuple[int, ...]) -> None:
    import zarrds

    array = zarrds.create_array(path, shape=values.shape, dtype=values.dtype, chunks=chunks, codecs=codecs)
    array[...] = values


def _zarrds_read(path: Path) -> Array:
    import zarrds

    return zarrds.open_array(path)[...]


def _zarr_pipeline(pipeline: str | None) -> Any:
    import zarr

    return nullcontext() if pipeline is None else zarr.config.set({"codec_pipeline.path": pipeline})


def _zarr_write(pipeline: str | None, path: Path, values: Array, chunks: tuple[int, ...]) -> None:
    import zarr
    from zarr.codecs import BloscCodec

    codec = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=4)
    with _zarr_pipeline(pipeline):
        array = zarr.create_array(path, shape=values.shape, dtype=values.dtype, chunks=chunks, compressors=[codec])
        array[...] = values


def _zarr_read(pipeline: str | None, path: Path) -> Array:
    import zarr

    with _zarr_pipeline(pipeline):
        return np.asarray(zarr.open_array(path, mode="r")[...])


def _tensorstore_spec(path: Path) -> dict[str, Any]:
    # the others leave it to the kernel when data gets to the disk; TensorStore would wait for it
    return {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/", "file_io_sync": False}}


def _tensorstore_write(path: Path, values: Array, chunks: tuple[int, ...]) -> None:
    import tensorstore as ts

    metadata = {
        "shape": values.shape,
        "data_type": values.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "codecs": _CODECS,
    }
    array = ts.open({**_tensorstore_spec(path), "metadata": metadata}, create=True).result()
    array.write(values, can_reference_source_data_indefinitely=True).result()


def _tensorstore_read(path: Path) -> Array:
    import tensorstore as ts

    return np.asarray(ts.open(_tensorstore_spec(path), read=True).result().read().result())


def has(module: str) -> bool:
    """Whether a module, or a name in a module, is installed."""
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        return False
    owner, _, name = module.rpartition(".")
    return not owner or hasattr(importlib.import_module(owner), name)


def all_engines() -> list[Engine]:
    """All that are known, zarrds first."""
    write_default = partial(_zarrds_write, None)
    return [
        Engine("zarrds", _USES, partial(_zarrds_write, _CODECS), _zarrds_read, "zarrds"),
        Engine("zarrds+crc32c", f"{_USES}, crc32c", write_default, _zarrds_read, "zarrds", own_files=True),
        *(
            Engine(name, _USES, partial(_zarr_write, pipeline), partial(_zarr_read, pipeline), pipeline or "zarr")
            for name, pipeline in _PIPELINES.items()
        ),
        Engine("TensorStore", f"{_USES}, no fsync", _tensorstore_write, _tensorstore_read, "tensorstore"),
    ]


def engines() -> list[Engine]:
    """All that are installed, zarrds first."""
    return [engine for engine in all_engines() if has(engine.needs)]

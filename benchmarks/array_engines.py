"""How each library writes and reads a whole array.

Libraries are imported when they are first used, so that a process that measures one does not carry the others.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.contenders import OURS, OURS_DURABLE, OURS_IN_PYTHON

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Shards = Shape | None

PIPELINES: dict[str, str | None] = {  # of zarr-python, by name
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
    """How one library writes and reads a whole array.

    `write` is given path, values, chunks and perhaps shards, `read` a path and perhaps an index.
    """

    name: str
    uses: str
    write: Callable[..., object]
    read: Callable[..., Array]
    needs: str  # a module, or a name in one
    kind: Literal["ours", "peer"] = "peer"
    own_files: bool = False  # it reads what it wrote itself, not the files that all others read
    durable: bool = False  # it waits for the disk when it writes, and reads as the one that does not


def _zarrds_write(codecs: Any, durable: bool, path: Path, values: Array, chunks: Shape, shards: Shards = None) -> None:
    import zarrds

    store = zarrds.LocalStore(path).as_durable(durable)
    # of codecs that are given, those of the array itself: shards then are the first of them
    inner = {"chunks": chunks, "codecs": codecs} if shards is None else {"chunks": shards, "codecs": _sharded(chunks)}
    array = zarrds.create_array(store, shape=values.shape, dtype=values.dtype, **inner)
    array[...] = values


def _sharded(chunks: Shape) -> list[Any]:
    index = [_CODECS[0], {"name": "crc32c"}]
    settings = {"chunk_shape": list(chunks), "codecs": _CODECS, "index_codecs": index, "index_location": "end"}
    return [{"name": "sharding_indexed", "configuration": settings}]


@contextmanager
def _without_kernel() -> Iterator[None]:
    from zarrds.engine.kernel import library

    found = library.library
    library.library = lambda: None
    try:
        yield
    finally:
        library.library = found


def _python_write(path: Path, values: Array, chunks: Shape, shards: Shards = None) -> None:
    with _without_kernel():
        _zarrds_write(_CODECS, False, path, values, chunks, shards)


def _python_read(path: Path, key: Any = ...) -> Array:
    with _without_kernel():
        return _zarrds_read(path, key)


def _zarrds_read(path: Path, key: Any = ...) -> Array:
    import zarrds

    return zarrds.open_array(path)[key]


def zarr_pipeline(pipeline: str | None) -> Any:
    import zarr

    return nullcontext() if pipeline is None else zarr.config.set({"codec_pipeline.path": pipeline})


def _zarr_write(pipeline: str | None, path: Path, values: Array, chunks: Shape, shards: Shards = None) -> None:
    import zarr
    from zarr.codecs import BloscCodec

    codec = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=4)
    with zarr_pipeline(pipeline):
        layout = {"shape": values.shape, "chunks": chunks, "shards": shards}
        array = zarr.create_array(path, dtype=values.dtype, compressors=[codec], **layout)
        array[...] = values


def _zarr_read(pipeline: str | None, path: Path, key: Any = ...) -> Array:
    import zarr

    with zarr_pipeline(pipeline):
        return np.asarray(zarr.open_array(path, mode="r")[key])


def _document(values: Array, chunks: Shape, shards: Shards) -> dict[str, Any]:
    """Of libraries that are told what to make by an array's whole document."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(values.shape),
        "data_type": values.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shards or chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": _CODECS if shards is None else _sharded(chunks),
    }


def _tensorstore_spec(path: Path, durable: bool = False) -> dict[str, Any]:
    # the others leave it to the kernel when data gets to the disk; TensorStore waits for it unless told
    return {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/", "file_io_sync": durable}}


def _tensorstore_write(durable: bool, path: Path, values: Array, chunks: Shape, shards: Shards = None) -> None:
    import tensorstore as ts

    spec = {**_tensorstore_spec(path, durable), "metadata": _document(values, chunks, shards)}
    array = ts.open(spec, create=True).result()
    array.write(values, can_reference_source_data_indefinitely=True).result()


def _tensorstore_read(path: Path, key: Any = ...) -> Array:
    import tensorstore as ts

    return np.asarray(ts.open(_tensorstore_spec(path), read=True).result()[key].read().result())


def _zarrista_write(path: Path, values: Array, chunks: Shape, shards: Shards = None) -> None:
    import zarrista

    path.mkdir(exist_ok=True)
    store = zarrista.store.FilesystemStore(path)
    array = zarrista.Array.from_metadata(_document(values, chunks, shards), store)
    array.store_metadata()
    array.store_array_subset(..., values)


def _zarrista_read(path: Path, key: Any = ...) -> Array:
    import zarrista

    found = zarrista.Array.open(zarrista.store.FilesystemStore(path)).retrieve_array_subset(key)
    values: Array = found.to_numpy()
    return values


def has(module: str) -> bool:
    """Whether a module, or a name in a module, is installed."""
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        return False
    owner, _, name = module.rpartition(".")
    return not owner or hasattr(importlib.import_module(owner), name)


def engines(*, durable: bool = False) -> list[Engine]:
    """All that are installed, zarrds first.

    Parameters
    ----------
    durable : bool
        Whether those that wait for the disk are wanted too.
    """
    ours = partial(_zarrds_write, _CODECS)
    crc32c = f"{_USES}, crc32c"
    known = [
        Engine(OURS, _USES, partial(ours, False), _zarrds_read, "zarrds", "ours"),
        Engine(OURS_DURABLE, f"{_USES}, fsync", partial(ours, True), _zarrds_read, "zarrds", "ours", durable=True),
        Engine(OURS_IN_PYTHON, _USES, _python_write, _python_read, "zarrds", "ours"),
        Engine("zarrds+crc32c", crc32c, partial(_zarrds_write, None, False), _zarrds_read, "zarrds", "ours", True),
        *(
            Engine(name, _USES, partial(_zarr_write, pipeline), partial(_zarr_read, pipeline), pipeline or "zarr")
            for name, pipeline in PIPELINES.items()
        ),
        Engine("zarrista", _USES, _zarrista_write, _zarrista_read, "zarrista"),
        Engine(
            "TensorStore", f"{_USES}, no fsync", partial(_tensorstore_write, False), _tensorstore_read, "tensorstore"
        ),
        Engine(
            "TensorStore durable",
            f"{_USES}, fsync",
            partial(_tensorstore_write, True),
            _tensorstore_read,
            "tensorstore",
            durable=True,
        ),
    ]
    return [engine for engine in known if has(engine.needs) and (durable or not engine.durable)]

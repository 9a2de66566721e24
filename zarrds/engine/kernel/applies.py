"""Where the kernel is used: which stores, which codecs, how large chunks. One table, so that nobody else decides."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import prod
from typing import NamedTuple, Protocol, runtime_checkable

from zarrds.codecs.blosc import SHUFFLES, Blosc
from zarrds.codecs.checksum import Crc32c
from zarrds.codecs.compressors import Compressor
from zarrds.codecs.layout import Bytes
from zarrds.codecs.pipeline import Pipeline
from zarrds.codecs.sharding import ChunkCodecs
from zarrds.engine.kernel.library import Library, compressor
from zarrds.storage.local.store import LocalStore
from zarrds.storage.protocol import Values
from zarrds.storage.traits import has_trait

__all__ = [
    "LARGEST_READ",
    "LARGEST_WRITE",
    "SOONER_DECODED",
    "NativeCodecs",
    "NativeStore",
    "native_codecs",
    "native_store",
]

# bytes of chunks that are read or written: of larger ones python-blosc is the faster, which has AVX2
LARGEST_READ = 2**20
LARGEST_WRITE = 2**20
# where it is not Blosc
_LARGEST = 2**28
# bytes of chunks that are decoded sooner than they are found in a cache, some 3 us, by codecs as fast as LZ4
SOONER_DECODED = 2**11
_MAX_NDIM = 32

_NONE, _BLOSC, _ZSTD, _LZ4 = range(4)


@dataclass(frozen=True, slots=True)
class NativeCodecs:
    """The codecs of a chunk, as the kernel knows them.

    Attributes
    ----------
    codec : int
        Of ``enum zk_codec``.
    checksum : bool
    decompress, compress : int
        Addresses of functions, 0 for none.
    blosc : Blosc or None
    level : int or None
        Blosc's, Zstandard's, or LZ4's acceleration; None if it cannot encode with the settings of the array.
    chunk_nbytes : int
        Of a decoded chunk.
    """

    codec: int
    checksum: bool
    decompress: int
    compress: int
    blosc: Blosc | None
    level: int | None
    chunk_nbytes: int

    @property
    def encoded_nbytes(self) -> int:
        """Room for an encoded chunk; those that are larger are left to Python."""
        return self.chunk_nbytes + self.chunk_nbytes // 128 + 4096

    @property
    def can_write(self) -> bool:
        """Whether it can encode with the settings of the array."""
        return self.level is not None and self.chunk_nbytes <= (LARGEST_WRITE if self.codec else _LARGEST)

    @property
    def reads(self) -> bool:
        """Whether it is the faster way to read chunks of that size, or parts of them."""
        return self.codec != _BLOSC or self.chunk_nbytes <= LARGEST_READ

    @property
    def needs_cache(self) -> bool:
        """Whether it takes longer to decode a chunk than to find it in a cache, where no file must be opened for it."""
        is_fast = self.codec in (_NONE, _LZ4) or (self.blosc is not None and self.blosc.cname == "lz4")
        return not is_fast or self.chunk_nbytes > SOONER_DECODED

    def shuffle(self) -> int:
        """Blosc's number of it."""
        return 0 if self.blosc is None else SHUFFLES[self.blosc.shuffle]


def native_codecs(kernel: Library, pipeline: ChunkCodecs) -> NativeCodecs | None:
    """The codecs of a pipeline, None if the kernel does not have them."""
    if not isinstance(pipeline, Pipeline) or pipeline.filters or not isinstance(pipeline.serializer, Bytes):
        return None
    spec = pipeline.spec
    dtype, nbytes = spec.dtype, prod(spec.shape) * spec.dtype.itemsize
    # characters are looked at by the serializer
    if spec.nbytes is None or dtype.hasobject or dtype.kind == "U" or pipeline.serializer.stored_dtype(dtype) != dtype:
        return None
    if not 0 < nbytes <= _LARGEST or len(spec.shape) > _MAX_NDIM:
        return None
    codecs = [codec for codec, _ in pipeline.compressors]
    checksum = bool(codecs) and isinstance(codecs[-1], Crc32c)
    if checksum:
        if not kernel.can_check:
            return None
        codecs.pop()
    if not codecs:
        return NativeCodecs(_NONE, checksum, 0, 0, None, 0, nbytes)
    codec, *others = codecs
    name = "blosc" if isinstance(codec, Blosc) else codec.name if isinstance(codec, Compressor) else ""
    number = {"blosc": _BLOSC, "zstd": _ZSTD, "lz4": _LZ4}.get(name)
    functions = None if number is None or others else compressor(name)
    if functions is None or number is None:
        return None
    blosc = codec if isinstance(codec, Blosc) else None
    return NativeCodecs(number, checksum, functions.decompress, functions.compress, blosc, _level_of(codec), nbytes)


def _level_of(codec: object) -> int | None:
    """The level that the kernel encodes with, None where it does not; what is refused, Python refuses with reasons."""
    if isinstance(codec, Blosc):
        return codec.clevel if codec.refused is None else None
    return codec.level if isinstance(codec, Compressor) and codec.refused is None else None


@runtime_checkable
class Guarded(Protocol):
    """The values of a store that are set only as long as a check passes."""

    @property
    def behind(self) -> Values:
        """The store."""
        ...

    def check(self) -> None:
        """Raise if nothing must be set any more."""
        ...

    def hold(self) -> AbstractContextManager[object]:
        """Around a check and what it is taken for."""
        ...


@runtime_checkable
class InFront(Protocol):
    """The values of a store, with staged changes in front of them."""

    @property
    def in_front(self) -> tuple[Values, str]:
        """What takes the values that are set, and what its keys begin with."""
        ...


class NativeStore(NamedTuple):
    """Where the kernel reads or writes values.

    Attributes
    ----------
    folder : LocalStore
    prefix : str
        What its keys begin with.
    check : callable or None
        Raises if nothing must be written any more.
    hold : callable
        Gives a context, around a check and what it is taken for.
    """

    folder: LocalStore
    prefix: str = ""
    check: Callable[[], object] | None = None
    hold: Callable[[], AbstractContextManager[object]] = nullcontext


def native_store(store: Values, *, writes: bool) -> NativeStore | None:
    """The folder of a store, None if its values are no files or are not read and written as such."""
    check: Callable[[], object] | None = None
    hold: Callable[[], AbstractContextManager[object]] = nullcontext
    prefix = ""
    if has_trait(store, Guarded):
        check, hold, store = store.check, store.hold, store.behind
    if writes and has_trait(store, InFront):
        store, prefix = store.in_front
    return NativeStore(store, prefix, check, hold) if type(store) is LocalStore else None

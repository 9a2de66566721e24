"""The coordinates of a genome's records, read a few chunks at a time: contigs, positions and ends."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.errors import LabelError

__all__ = ["Interval", "RegionColumns", "integers_of"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Interval: TypeAlias = Literal["end", "length"]

_NO_INTEGERS = "positions, ends and codes of contigs are integers"
_MISSING = np.iinfo(np.int64).min
_CACHE_NBYTES = 16 * 2**20  # of each coordinate
_MIN_PAGE = 256  # smaller chunks are read several at a time
_PAGE = 2**14  # where there are no chunks


class RegionColumns:
    """Two or three coordinates along one dimension; any number of threads may read them, and they pickle.

    Parameters
    ----------
    contig, position : Variable
        1-D, of the same size.
    end : Variable, optional
        Where each record ends; without it, where it begins.
    interval : {"end", "length"}
        What `end` holds: the last position of a record, or how many positions it has. A record is never shorter than
        one position, so a missing end (NaN, or VCF's -1) is where the record begins.
    """

    def __init__(self, contig: xr.Variable, position: xr.Variable, end: xr.Variable | None, interval: Interval) -> None:
        self.contig = contig
        self.position = position
        self.end = end
        self.interval = interval
        self.size = int(position.size)
        self._positions = _Pages(position, missing=False)
        self._ends = None if end is None else _Pages(end, missing=True)

    @property
    def page(self) -> int:
        """How many records lie in a chunk of positions, or in a few small ones."""
        return self._positions.length

    def read(self, start: int, stop: int) -> tuple[Array, Array]:
        """The positions and the ends of the records at ``[start, stop)``, as int64; chunks are kept for a while."""
        positions = self._positions.read(start, stop)
        return positions, positions if self._ends is None else self._ends_of(positions, self._ends.read(start, stop))

    def read_once(self, which: slice | Array) -> tuple[Array, Array]:
        """As `read`, for records that will hardly be asked for again."""
        positions = integers_of(self.position[which], missing=False)
        if self.end is None:
            return positions, positions
        return positions, self._ends_of(positions, integers_of(self.end[which], missing=True))

    def _ends_of(self, positions: Array, ends: Array) -> Array:
        if self.interval == "length":
            ends = positions + (np.maximum(ends, 1) - 1)
        return np.maximum(ends, positions)


class _Pages:
    """Integers of one coordinate: whole chunks are read, and the last ones used are kept."""

    def __init__(self, variable: xr.Variable, *, missing: bool) -> None:
        chunk = _chunk_of(variable)
        self.length = chunk * -(-_MIN_PAGE // chunk)
        self._variable = variable
        self._missing = missing
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Array] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_kept")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def read(self, start: int, stop: int) -> Array:
        """The elements at ``[start, stop)``, which are not none."""
        length, first, last = self.length, start // self.length, -(-stop // self.length)
        if (last - first) * length * 8 > _CACHE_NBYTES:
            return integers_of(self._variable[start:stop], missing=self._missing)
        with self._lock:
            pages = [self._kept.get(page) for page in range(first, last)]
        if any(page is None for page in pages):
            # all at once, also those that are there: in threads that costs less than one after the other
            values = integers_of(self._variable[first * length : last * length], missing=self._missing)
            # copies, lest one page that is kept keeps all of them
            pages = [values[at : at + length].copy() for at in range(0, len(values), length)]
        found = [page for page in pages if page is not None]
        self._keep(first, found)
        values = found[0] if len(found) == 1 else np.concatenate(found)
        return values[start - first * length : stop - first * length]

    def _keep(self, first: int, pages: list[Array]) -> None:
        with self._lock:
            for i, page in enumerate(pages, first):
                self._kept[i] = page
                self._kept.move_to_end(i)
            while len(self._kept) * self.length * 8 > _CACHE_NBYTES:
                self._kept.popitem(last=False)


def _chunk_of(variable: xr.Variable) -> int:
    chunks: Any = variable.chunks or variable.encoding.get("chunks")  # of dask, else of the store
    if not isinstance(chunks, tuple) or len(chunks) != 1:
        return _PAGE
    chunk = max(chunks[0], default=0) if isinstance(chunks[0], tuple) else chunks[0]
    return int(chunk) if isinstance(chunk, int | np.integer) and chunk > 0 else _PAGE


def integers_of(variable: xr.Variable, *, missing: bool) -> Array:
    """The elements as int64, also those that xarray took for missing values because they equal the fill value.

    Parameters
    ----------
    variable : Variable
        1-D.
    missing : bool
        Whether some may be missing: they are then smaller than every other.

    Raises
    ------
    LabelError
        If they are no integers.
    """
    values = variable.values
    if values.dtype.kind in "iu":
        return values.astype(np.int64, copy=False)
    if values.dtype.kind not in "fO":
        raise LabelError(_NO_INTEGERS, found=f"dtype {values.dtype}")
    absent = np.asarray(pd.isna(values), bool)
    fill = _whole(variable.encoding.get("_FillValue"))
    if absent.any() and not missing and fill is None:
        which = "NaN" if values.dtype.kind == "f" else values[absent][0]
        raise LabelError(
            "a position or the code of a contig is missing",
            found=f"{which} at element {int(np.argmax(absent))} of those read",
            mend="Drop such records, or open the store with mask_and_scale=False",
        )
    if values.dtype.kind == "O":
        return _integers_of_objects(values, absent, _MISSING if fill is None else fill)
    # beyond these int64 ends; infinities are there too
    fits = absent | ((values >= -(2.0**63)) & (values < 2.0**63))
    integers = np.where(absent | ~fits, 0, values).astype(np.int64)
    odd = np.flatnonzero(~absent & (~fits | (integers != values)))
    if odd.size:
        raise LabelError(_NO_INTEGERS, found=f"{values[odd[0]]}, which is none")
    integers[absent] = _MISSING if fill is None else fill
    return integers


def _integers_of_objects(values: Array, absent: Array, missing: int) -> Array:
    """Nullable integers, and objects that are integers."""
    present = values[~absent]
    if (kind := pd.api.types.infer_dtype(present, skipna=False)) not in ("integer", "empty"):
        raise LabelError(_NO_INTEGERS, found=f"objects: {kind}")
    integers = np.full(values.shape, missing, np.int64)
    try:
        integers[~absent] = present
    except OverflowError as error:
        raise LabelError(_NO_INTEGERS, expected="at most 64 bits", found=f"{max(present, key=abs)}") from error
    return integers


def _whole(fill: object) -> int | None:
    """A fill value as an integer, None for one that is none, such as NaN."""
    if isinstance(fill, float | np.floating) and np.isfinite(fill) and fill == int(fill):
        return int(fill)
    return int(fill) if isinstance(fill, int | np.integer) else None

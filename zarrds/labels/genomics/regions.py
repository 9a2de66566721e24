"""``zarrds.RegionIndex``: selects the records of a genome by contig and position, where they lie."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.compat.xarray_internals import IndexSelResult
from zarrds.errors import LabelError
from zarrds.labels.genomics.blocks import Contigs, blocks_of_records, blocks_of_region_index
from zarrds.labels.genomics.columns import Interval, RegionColumns
from zarrds.labels.genomics.labels import regions_of
from zarrds.labels.genomics.overlaps import RecordBlocks, find_overlapping, indexer_of, merged
from zarrds.labels.genomics.text import FAR, as_text

__all__ = ["RegionIndex"]

Array: TypeAlias = "np.ndarray[Any, Any]"

# xarray gives it no types
_concat: Callable[[Sequence[xr.Variable], Hashable], xr.Variable] = xr.Variable.concat

_MAX_COMPARED = 2**18  # records that are read at once
_MAX_SHOWN = 10


@dataclass(frozen=True, eq=False)
class _Table:
    """All records that an index and those made of it share; never changed, so that copies share it too.

    They are looked through when that is first needed: at once where `set_xindex` made the index, later where it was
    stored. Two threads that come first at once both do it, and find the same.
    """

    columns: RegionColumns
    contig_id: tuple[object, ...] | None
    region_index: object

    def __deepcopy__(self, memo: object) -> _Table:
        return self

    @classmethod
    def of(
        cls,
        variables: Sequence[xr.Variable],
        interval: Interval,
        contig_id: Iterable[object] | None = None,
        region_index: object = None,
    ) -> _Table:
        contig, position, *end = variables
        columns = RegionColumns(contig, position, end[0] if end else None, interval)
        return cls(columns, None if contig_id is None else tuple(contig_id), region_index)

    @cached_property
    def _known(self) -> tuple[Contigs, RecordBlocks]:
        coded = getattr(self.columns.contig.dtype, "kind", "O") in "iuf"
        contigs = Contigs(self.contig_id, coded=coded)
        if self.region_index is None:
            return contigs, blocks_of_records(self.columns, contigs)
        return contigs, blocks_of_region_index(self.region_index, self.columns, contigs)

    def look(self) -> None:
        """Look through the records now. Raises `LabelError` if they are not what they must be."""
        _ = self._known

    @property
    def contigs(self) -> Contigs:
        return self._known[0]

    @property
    def blocks(self) -> RecordBlocks:
        return self._known[1]

    @property
    def kind(self) -> tuple[object, ...]:
        """What tables must have in common to be one."""
        coded = getattr(self.columns.contig.dtype, "kind", "O") in "iuf"
        return coded, self.contig_id, self.columns.end is not None, self.columns.interval

    @property
    def variables(self) -> list[xr.Variable]:
        columns = self.columns
        return [v for v in (columns.contig, columns.position, columns.end) if v is not None]


class RegionIndex(xr.Index):
    """An index of the records of a genome, by contig and position, and by the intervals that they cover.

    It is made of two coordinates along one dimension, a contig and a position, and of a third where records are
    intervals: their ends (``variant_end``), or their lengths (``variant_length`` of VCF Zarr). Contigs are names, or
    codes into `contig_id`. The records must be sorted: each contig's in one stretch (the contigs in any order), and
    there by position. Coordinates may be in memory, dask arrays, or opened lazily: they are read once when the index is
    made, a few chunks at a time, or hardly at all where the store has a `region_index`; a selection then reads the
    chunks that can hold an answer and no others. Any number of threads may use an index, and it pickles.

    ``ds.sel`` then takes

    - a contig: ``variant_contig="chr20"``, its name (or its code, where the coordinate holds codes);
    - with it a position, several in a list, or a slice of them, closed at both ends and open with None:
      ``variant_contig="chr20", variant_position=slice(1_000_000, 2_000_000)``;
    - regions as text, 1-based and closed: ``variant_contig="chr20:1,000,000-2,000,000"``, or a list of such, of
      contigs, and of tuples ``("chr20", 1_000_000, 2_000_000)``. A record that several of them match comes once, in the
      order of the store. Names and texts may be bytes;
    - regions as a table: a data frame of contigs, starts and ends (1-based and closed, unless the columns are named as
      in BED, ``chromStart`` and ``chromEnd``, or as in PyRanges), or a BED file, by its `pathlib.Path`; for one contig
      also ``variant_position=`` a `pandas.IntervalIndex`, or a list of slices.

    There may be any number of regions, in any order: each chunk is read once.

    Without ends, records are selected that begin in the region; with ends, all that overlap it. What is selected keeps
    its dimension, also where it is one record or none.

    Options of ``set_xindex``:

    contig_id : sequence of str or bytes, optional
        The names of all contigs, in the order of their codes. Without it the contigs are those of the records.
    region_index : array_like, shape (blocks, 6), optional
        As VCF Zarr has it. It is compared with the first and the last records, and with all that are read later; but
        whoever changed records without it may miss some, since nothing ties it to them.
    interval : {"end", "length"}, optional
        What the third coordinate holds; unless said, its name tells (if it ends in ``end``, ``stop`` or ``length``).

    Raises
    ------
    LabelNotFoundError
        For a contig that is not there; also a `KeyError`.
    LabelError
        For records that are not sorted, text that is no region, and whatever else cannot be selected.

    Examples
    --------
    >>> coords = {"contig": ["chr1", "chr2", "chr2"], "position": [7, 3, 9], "end": [7, 8, 9]}
    >>> ds = xr.Dataset({"call": ("variants", [0, 1, 2])}, {name: ("variants", c) for name, c in coords.items()})
    >>> ds = ds.set_xindex(["contig", "position", "end"], RegionIndex)
    >>> ds.sel(contig="chr2", position=slice(5, None)).call.values
    array([1, 2])
    >>> ds.sel(contig=["chr1", "chr2:9"]).call.values
    array([0, 2])
    """

    def __init__(self, table: _Table, rows: slice | Array, names: Sequence[Hashable], dim: Hashable) -> None:
        # rows of the table, never falling: so they are sorted as the table is
        self._table = table
        self._rows = rows
        self._names = tuple(names)
        self._dim = dim

    @classmethod
    def from_variables(cls, variables: Mapping[Any, xr.Variable], *, options: Mapping[str, Any]) -> RegionIndex:
        """Called by ``set_xindex``; the order of the coordinates counts: contig, position, and end or length."""
        unknown = set(options) - {"contig_id", "region_index", "interval"}
        if unknown:
            raise LabelError(
                "unknown options of RegionIndex",
                expected="contig_id, region_index, interval",
                found=", ".join(sorted(unknown)),
            )
        names, values = list(variables), list(map(_selectable, variables.values()))
        if len(names) not in (2, 3) or any(v.ndim != 1 or v.dims != values[0].dims for v in values):
            raise LabelError(
                "RegionIndex needs two or three coordinates along one dimension: contig, position, and end or length",
                found={name: variable.dims for name, variable in variables.items()},
            )
        interval = _interval_of(names[2], options.get("interval")) if len(names) == 3 else "end"
        contig_id = options.get("contig_id")
        contig_id = None if contig_id is None else [as_text(name) for name in np.asarray(contig_id).ravel().tolist()]
        table = _Table.of(values, interval, contig_id, options.get("region_index"))
        found = cls(table, slice(0, table.columns.size), names, values[0].dims[0])
        table.look()
        return found

    @classmethod
    def from_stored(
        cls, variables: Mapping[Any, xr.Variable], interval: Interval, contig_id: Iterable[object] | None
    ) -> RegionIndex:
        """As `from_variables`, of coordinates that had this index when they were saved: they are read when it is used.

        Parameters
        ----------
        variables : mapping of name to Variable
            Two or three, 1-D along one dimension.
        interval : {"end", "length"}
        contig_id : iterable of str, optional
        """
        values = list(variables.values())
        table = _Table.of(values, interval, contig_id)
        return cls(table, slice(0, table.columns.size), list(variables), values[0].dims[0])

    @property
    def settings(self) -> dict[str, Any]:
        """What makes the index, beside the data of its coordinates: their names, ``interval`` and ``contig_id``."""
        table = self._table
        contig_id = None if table.contig_id is None else list(table.contig_id)
        return {"coordinates": list(self._names), "interval": table.columns.interval, "contig_id": contig_id}

    @classmethod
    def concat(
        cls, indexes: Sequence[RegionIndex], dim: Hashable, positions: Iterable[Iterable[int]] | None = None
    ) -> RegionIndex:
        """One after the other; read whole unless all are selections of the same records.

        Raises `LabelError` if the records are then not sorted, or if the indexes are not alike.
        """
        head = indexes[0]
        order = None if positions is None else np.argsort(np.concatenate([list(each) for each in positions]))
        if all(index._table is head._table for index in indexes):
            rows = np.concatenate([index._positions() for index in indexes])
            rows = rows if order is None else rows[order]
            if (rows[1:] >= rows[:-1]).all():
                return head._with_rows(_compact(rows))
        kinds = [index._table.kind for index in indexes]
        if any(kind != kinds[0] for kind in kinds):
            raise LabelError(
                "indexes of regions that are not alike cannot be concatenated",
                expected="the same kinds of coordinates, and the same contig_id",
                mend="Drop them with drop_indexes, and set one on the result",
            )
        parts = [list(index.create_variables().values()) for index in indexes]
        variables = [_concat([part[i] for part in parts], head._dim) for i in range(len(head._names))]
        if order is not None:
            variables = [variable[order] for variable in variables]
        table = _Table.of(variables, head._table.columns.interval, head._table.contig_id)
        table.look()
        return cls(table, slice(0, table.columns.size), head._names, head._dim)

    def create_variables(self, variables: Mapping[Any, xr.Variable] | None = None) -> dict[Any, xr.Variable]:
        """The coordinates, as lazy as they were; attributes and encoding are those of `variables`."""
        created = {}
        for name, whole in zip(self._names, self._table.variables, strict=True):
            given = None if variables is None else variables.get(name)
            if given is not None and self._is_whole() and given.shape == whole.shape:
                variable = given  # what has been loaded of it stays so
            else:
                variable = whole[self._rows]
            if variable.dims != (self._dim,):
                variable = variable.copy(deep=False)
                variable.dims = (self._dim,)
            if given is not None and given is not variable:
                variable.attrs, variable.encoding = dict(given.attrs), dict(given.encoding)
            created[name] = variable
        return created

    def isel(self, indexers: Mapping[Any, Any]) -> RegionIndex | None:
        """Kept, without reading anything, where the records stay in order; else there is no index any more."""
        indexer = indexers[self._dim]
        if isinstance(indexer, xr.DataArray | xr.Variable):
            if indexer.dims != (self._dim,):
                return None
            indexer = indexer.values
        if isinstance(indexer, slice):
            chosen = range(len(self))[indexer]
            if chosen.step == 1 and isinstance(self._rows, slice):
                start = self._rows.start + chosen.start
                return self._with_rows(slice(start, start + len(chosen)))
            indexer = np.arange(chosen.start, chosen.stop, chosen.step)
        indexer = np.asarray(indexer)
        if indexer.ndim != 1:
            return None
        if indexer.dtype.kind == "b":
            indexer = np.flatnonzero(indexer)
        indexer = np.where(indexer < 0, indexer + len(self), indexer).astype(np.int64)
        if (indexer[1:] < indexer[:-1]).any():
            return None
        rows = indexer + self._rows.start if isinstance(self._rows, slice) else self._rows[indexer]
        return self._with_rows(_compact(rows))

    def sel(self, labels: dict[Any, Any], method: object = None, tolerance: object = None) -> IndexSelResult:
        """The records of contigs and positions, as the class describes."""
        if method is not None or tolerance is not None:
            raise LabelError(
                "regions are selected exactly", expected="no method or tolerance", mend="Select a slice of positions"
            )
        contigs = self._table.contigs
        regions = regions_of(labels, self._names, contigs.codes, contigs.name_of, self._contigs_here)
        if regions is None:
            return IndexSelResult({self._dim: slice(0, len(self))})
        of_contig: dict[str, list[tuple[int, int]]] = {}
        for region in regions:
            of_contig.setdefault(region.contig, []).append((region.start, region.stop))
        runs = [self._here(self._find(contig, ranges)) for contig, ranges in of_contig.items()]
        return IndexSelResult({self._dim: indexer_of(merged(runs))})

    def equals(self, other: xr.Index, *, exclude: frozenset[Hashable] | None = None) -> bool:
        """Whether contigs' names, positions and ends are the same; nothing is read where both come from one index."""
        if not isinstance(other, RegionIndex) or len(self) != len(other):
            return False
        if (self._table.columns.end is None) != (other._table.columns.end is None):
            return False
        if self._table is other._table and np.array_equal(self._positions(), other._positions()):
            return True
        if list(self._counts().items()) != list(other._counts().items()):
            return False
        for start in range(0, len(self), _MAX_COMPARED):
            window = slice(start, start + _MAX_COMPARED)
            read, wanted = self._read(window), other._read(window)
            if not all(map(np.array_equal, read, wanted)):
                return False
        return True

    def rename(self, name_dict: Mapping[Any, Hashable], dims_dict: Mapping[Any, Hashable]) -> RegionIndex:
        """With other names for coordinates and dimension."""
        names = [name_dict.get(name, name) for name in self._names]
        return RegionIndex(self._table, self._rows, names, dims_dict.get(self._dim, self._dim))

    def to_pandas_index(self) -> pd.MultiIndex:
        """All coordinates, read whole, as the levels of a MultiIndex."""
        variables = self.create_variables()
        return pd.MultiIndex.from_arrays([v.values for v in variables.values()], names=list(variables))

    def __len__(self) -> int:
        return self._rows.stop - self._rows.start if isinstance(self._rows, slice) else len(self._rows)

    def __repr__(self) -> str:
        counts = self._counts()
        lines = [f"RegionIndex({self._summary()})"]
        lines += [f"    {name}: {count:,}" for name, count in list(counts.items())[:_MAX_SHOWN]]
        if len(counts) > _MAX_SHOWN:
            lines.append(f"    ... and {len(counts) - _MAX_SHOWN} more contigs")
        return "\n".join(lines)

    def _repr_inline_(self, max_width: int) -> str:
        full = f"RegionIndex({self._summary()})"
        return full if len(full) <= max_width else type(self).__name__

    def _summary(self) -> str:
        n_contigs = len(self._counts())
        kind = "records" if self._table.columns.end is None else "intervals"
        return f"{len(self):,} {kind} on {n_contigs} contig{'' if n_contigs == 1 else 's'}"

    def _with_rows(self, rows: slice | Array) -> RegionIndex:
        return RegionIndex(self._table, rows, self._names, self._dim)

    def _is_whole(self) -> bool:
        return isinstance(self._rows, slice) and self._rows == slice(0, self._table.columns.size)

    def _positions(self) -> Array:
        return np.arange(self._rows.start, self._rows.stop) if isinstance(self._rows, slice) else self._rows

    def _find(self, contig: str, ranges: list[tuple[int, int]]) -> Array:
        table = self._table
        code = table.contigs.codes[contig]
        if (-FAR, FAR) in ranges:
            return table.blocks.run_of(code)
        return find_overlapping(table.blocks, code, np.array(ranges, np.int64), table.columns.read)

    def _here(self, runs: Array) -> Array:
        """Runs of the table's rows, as runs of this index's."""
        if self._is_whole():
            return runs
        if isinstance(self._rows, slice):
            here: Array = np.clip(runs, self._rows.start, self._rows.stop) - self._rows.start
        else:
            here = np.searchsorted(self._rows, runs)
        return here

    def _counts(self) -> dict[str, int]:
        """How many records each contig has here, in their order; contigs without any are left out."""
        contigs, blocks = self._table.contigs, self._table.blocks
        if not blocks.of_contig:
            return {}
        here = self._here(blocks.bounds[np.array(list(blocks.of_contig.values()))])
        counts = (here[:, 1] - here[:, 0]).tolist()
        return {contigs.name_of_code(code): n for code, n in zip(blocks.of_contig, counts, strict=True) if n > 0}

    def _contigs_here(self) -> list[str]:
        return list(self._counts())

    def _read(self, window: slice) -> tuple[Array, Array]:
        rows = self._rows
        if not isinstance(rows, slice):
            return self._table.columns.read_once(rows[window])
        stop = min(rows.start + window.stop, rows.stop)
        return self._table.columns.read_once(slice(rows.start + window.start, stop))


def _compact(rows: Array) -> slice | Array:
    """Rows that are neighbours as a slice, which takes no memory."""
    if not rows.size:
        return slice(0, 0)
    start, stop = int(rows[0]), int(rows[-1]) + 1
    return slice(start, stop) if stop - start == rows.size and (np.diff(rows) == 1).all() else rows


def _selectable(variable: xr.Variable) -> xr.Variable:
    """The same; text in Arrow's memory as objects, since xarray can select nothing of that."""
    if not isinstance(variable.dtype, pd.StringDtype):
        return variable
    return xr.Variable(variable.dims, np.asarray(variable.values, object), variable.attrs, variable.encoding)


def _interval_of(name: Hashable, interval: object) -> Interval:
    if interval == "end":
        return "end"
    if interval == "length":
        return "length"
    if interval is None:
        text = str(name).lower()
        if text.endswith("length"):
            return "length"
        if text.endswith(("end", "stop")):
            return "end"
    raise LabelError(
        f"cannot tell what coordinate {str(name)!r} says of intervals",
        expected='interval="end" or interval="length"',
        found=interval,
        mend='Say it: ds.set_xindex([contig, position, end], zarrds.RegionIndex, interval="end")',
    )

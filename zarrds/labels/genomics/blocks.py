"""What is known of each block of a genome's records: from one pass over them, or from VCF Zarr's region_index."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.errors import LabelError
from zarrds.labels.genomics.columns import RegionColumns, integers_of
from zarrds.labels.genomics.overlaps import RecordBlocks, not_sorted
from zarrds.labels.genomics.text import as_text, unknown_contig

__all__ = ["Contigs", "blocks_of_records", "blocks_of_region_index"]

Array: TypeAlias = "np.ndarray[Any, Any]"

_MAX_BLOCK = 2**12  # of a large chunk, so that most of it need not be compared
_PASS = 2**18  # records that are read at once


class Contigs:
    """The contigs' names and codes.

    Parameters
    ----------
    names : iterable of str, optional
        All there are, in the order of their codes. Without it, those that are found.
    coded : bool
        Whether the coordinate holds codes.
    """

    def __init__(self, names: Iterable[object] | None, *, coded: bool) -> None:
        self.coded = coded
        self.listed = names is not None
        self.codes: dict[str, int] = {}
        self._names: dict[int, str] = {}
        for code, given in enumerate([] if names is None else names):
            name = as_text(given)
            if not isinstance(name, str) or name in self.codes:
                raise LabelError("contig_id must be different names", found=repr(given))
            self._learn(str(name), code)

    def name_of(self, label: object) -> str:
        """The name of a contig that is named, or given by its code. Raises `LabelNotFoundError` if there is none."""
        label = as_text(label)
        if isinstance(label, str) and label in self.codes:
            return label
        if self.coded and isinstance(label, int | np.integer) and not isinstance(label, bool):
            name = self._names.get(int(label))
            if name is not None:
                return name
        raise unknown_contig(label, self.codes)

    def name_of_code(self, code: int) -> str:
        """The name of a contig that has records."""
        return self._names[code]

    def found(self, values: Iterable[Any]) -> Array:
        """The codes of what the coordinate holds, which are learned where there is no list of them."""
        return np.array([self._found(value) for value in values], np.int64)

    def _learn(self, name: str, code: int) -> int:
        self._names.setdefault(code, name)
        return self.codes.setdefault(name, code)

    def _found(self, given: Any) -> int:
        value = as_text(given)
        name = str(value)
        if self.coded:
            code = int(value)
            if not self.listed and code >= 0:
                return self._learn(name, code)
            if 0 <= code < len(self.codes):
                return code
        elif isinstance(value, str) and name in self.codes:
            return self.codes[name]
        elif isinstance(value, str) and not self.listed:
            return self._learn(name, len(self.codes))
        if pd.isnull(value):
            raise _missing()
        raise LabelError(
            "a record is of an unknown contig",
            expected=f"one of the {len(self.codes)} of contig_id" if self.listed else "a name, or a code from 0 on",
            found=repr(given),
            mend="Pass all contigs of the records as contig_id, in the order of their codes",
        )


def blocks_of_records(columns: RegionColumns, contigs: Contigs) -> RecordBlocks:
    """The blocks of sorted records, read once from begin to end, a few chunks at a time.

    Raises
    ------
    LabelError
        If they are not sorted, or their contigs or positions are not what they must be.
    """
    page = columns.page
    step = page * max(1, _PASS // page)
    block = -(-page // -(-page // _MAX_BLOCK))  # divides each chunk into like parts
    starts_of_parts = range(0, columns.size, step)
    parts = [_part(columns, contigs, start, min(start + step, columns.size), page, block) for start in starts_of_parts]
    if not parts:
        return RecordBlocks(np.zeros(1, np.int64), *(np.empty(0, np.int64) for _ in range(4)))
    starts, codes, first, last, max_end = (np.concatenate(each) for each in zip(*parts, strict=True))
    return RecordBlocks(np.append(starts, columns.size), codes, first, last, max_end)


def _missing() -> LabelError:
    return LabelError("the contig of a record is missing", mend="Drop such records")


def _part(columns: RegionColumns, contigs: Contigs, start: int, stop: int, page: int, block: int) -> tuple[Array, ...]:
    """Blocks of the records at ``[start, stop)``, which begin with a chunk: starts, contigs, positions and ends."""
    labels = contig_labels(columns.contig[start:stop], coded=contigs.coded)
    positions, ends = columns.read_once(slice(start, stop))
    try:
        changes = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    except TypeError:  # pandas' NA is neither equal to another nor not
        raise _missing() from None
    runs = np.concatenate([[0], changes])
    codes = contigs.found(labels[runs].tolist())
    if len(np.unique(codes)) < len(codes):
        raise not_sorted("a contig's records in one stretch", start + int(changes[-1]))
    back = np.flatnonzero(positions[1:] < positions[:-1]) + 1
    back = back[~np.isin(back, changes)]
    if back.size:
        raise not_sorted("positions that do not fall", start + int(back[0]))
    blocks = (np.arange(0, stop - start, page)[:, np.newaxis] + np.arange(0, page, block)).ravel()
    starts = np.union1d(blocks[blocks < stop - start], runs)
    lasts = np.append(starts[1:], stop - start) - 1
    code = codes[np.searchsorted(runs, starts, "right") - 1]
    return starts + start, code, positions[starts], positions[lasts], np.maximum.reduceat(ends, starts)


def contig_labels(variable: xr.Variable, *, coded: bool) -> Array:
    """What a coordinate of contigs holds: codes as int64, or names."""
    if coded:
        return integers_of(variable, missing=False)
    values: Array = np.asarray(variable.values)
    return values if values.dtype.kind in "OT" else values.astype(object)


def blocks_of_region_index(table: Any, columns: RegionColumns, contigs: Contigs) -> RecordBlocks:
    """The blocks of a `region_index` of VCF Zarr, whose first and last are compared with the records.

    Parameters
    ----------
    table : array_like, shape (blocks, 6)
        Of each contig in each chunk: the chunk's number, the contig's code, the first and last position, the largest
        end, and how many records.
    columns : RegionColumns
    contigs : Contigs

    Raises
    ------
    LabelError
        If it is not the index of these records.
    """
    variable = table if isinstance(table, xr.DataArray | xr.Variable) else xr.Variable(("rows", "fields"), table)
    if variable.ndim != 2 or variable.shape[1] != 6:
        raise _misfit("6 columns", f"shape {variable.shape}")
    if isinstance(variable, xr.DataArray):
        variable = variable.variable
    chunk, code, first, last, max_end, count = integers_of(variable, missing=False).T
    if count.sum() != columns.size:
        raise _misfit(f"{columns.size} records", f"{count.sum()}")
    if (count < 1).any() or (np.diff(chunk) < 0).any() or (first > last).any():
        raise _misfit("a row for each contig of each chunk", "rows that are none")
    if not contigs.coded and not contigs.listed:
        raise LabelError("region_index tells contigs by their codes", mend="Pass their names as contig_id")
    if contigs.listed:
        # its codes are those of contig_id, also where the coordinate holds names
        outside = (code < 0) | (code >= len(contigs.codes))
        if outside.any():
            raise _misfit(f"codes of {len(contigs.codes)} contigs", f"{code[outside][0]}")
    else:
        contigs.found(code.tolist())
    bounds = np.concatenate([[0], np.cumsum(count)])
    max_end = np.maximum(max_end, last) if columns.end is not None else last
    if columns.interval == "end" and columns.end is not None:
        max_end = _max_ends(columns, bounds)  # it knows the ends of variant_length only
    try:
        blocks = RecordBlocks(bounds, code, first, last, max_end)
    except LabelError as error:
        raise _misfit(error.expected, error.found) from error
    _compare(blocks, columns, contigs)
    return blocks


def _max_ends(columns: RegionColumns, bounds: Array) -> Array:
    """The largest end of each block, from the records themselves."""
    parts = []
    begin = 0
    while begin < len(bounds) - 1:
        # as many blocks as may be read at once, but one at least
        end = max(begin + 1, int(np.searchsorted(bounds, bounds[begin] + _PASS, "right")) - 1)
        _, ends = columns.read_once(slice(int(bounds[begin]), int(bounds[end])))
        parts.append(np.maximum.reduceat(ends, bounds[begin:end] - bounds[begin]))
        begin = end
    return np.concatenate([np.empty(0, np.int64), *parts])


def _compare(blocks: RecordBlocks, columns: RegionColumns, contigs: Contigs) -> None:
    """A `region_index` of other records must not pass: look at the ends of the first and the last block."""
    for block in {0, len(blocks.first) - 1} if blocks.size else set():
        start, stop = int(blocks.bounds[block]), int(blocks.bounds[block + 1])
        positions, _ = columns.read(start, stop)
        where = np.array([start, stop - 1])
        codes = contigs.found(contig_labels(columns.contig[where], coded=contigs.coded))
        found = positions[0], positions[-1], *codes.tolist()
        expected = blocks.first[block], blocks.last[block], blocks.contig[block], blocks.contig[block]
        if found != expected:
            raise _misfit(
                f"positions {expected[0]} to {expected[1]} of contig {expected[2]} at records {start} to {stop}",
                f"{found[0]} to {found[1]} of contigs {found[2]} and {found[3]}",
            )


def _misfit(expected: object, found: object) -> LabelError:
    return LabelError(
        "region_index is not that of these records",
        key="region_index",
        expected=expected,
        found=found,
        mend="Leave region_index out: the records are then read once to make the index",
    )

"""Regions of a genome from tables: data frames, BED files and intervals."""

from __future__ import annotations

import gzip
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zarrds.errors import LabelError
from zarrds.labels.genomics.text import FAR, Region

__all__ = ["check_ends", "position_of", "range_of_interval", "regions_of_bed", "regions_of_frame"]

# names of columns in lower case: what each holds, and how much has to be added to make it 1-based and closed
_CONTIGS = ("contig", "chrom", "#chrom", "chromosome", "chr", "seqname", "seqid", "variant_contig")
_STARTS = {"start": 0, "begin": 0, "position": 0, "pos": 0, "variant_position": 0, "chromstart": 1}
_ENDS = {"end": 0, "stop": 0, "chromend": 0}


def regions_of_frame(frame: pd.DataFrame, name_of: Callable[[object], str]) -> list[Region]:
    """The regions of a data frame, one a row.

    Parameters
    ----------
    frame : DataFrame
        With a column of contigs and one of starts, and perhaps one of ends (without it, each region is one position).
        ``start`` and ``end`` are 1-based and closed, as everywhere in `RegionIndex`; BED's ``chromStart`` and
        ``chromEnd``, and ``Start`` and ``End`` of PyRanges (beside ``Chromosome``), are 0-based and half-open. A
        missing end is that of the contig.
    name_of : callable
        The name of a contig that is named or given by its code. Raises `LabelNotFoundError`.

    Raises
    ------
    LabelError
        If a column is missing, or its values are no positions.
    """
    columns = {str(column).lower(): column for column in frame.columns}
    contig = next((columns[name] for name in _CONTIGS if name in columns), None)
    start = next((name for name in _STARTS if name in columns), None)
    end = next((name for name in _ENDS if name in columns), None)
    if contig is None or (start is None and end is not None):
        raise LabelError(
            "a table of regions needs a column of contigs, and of starts",
            expected="contig (or chrom), start and end, 1-based; or chrom, chromStart and chromEnd as in BED",
            found=f"columns {list(frame.columns)}",
        )
    names = [name_of(value) for value in frame[contig].tolist()]
    if start is None:
        return [Region(name) for name in names]
    is_pyranges = {"Chromosome", "Start", "End"} <= set(frame.columns)
    shift = 1 if is_pyranges else _STARTS[start]
    if end is not None and (start == "chromstart") != (end == "chromend"):
        raise LabelError(
            "a table of regions mixes the columns of BED, which count from 0, with others",
            found=f"columns {columns[start]!r} and {columns[end]!r}",
        )
    starts = [position_of(value) + shift for value in frame[columns[start]].tolist()]
    if end is None:
        return [Region(name, at, at) for name, at in zip(names, starts, strict=True)]
    stops = [FAR if pd.isna(value) else position_of(value) for value in frame[columns[end]].tolist()]
    regions = [Region(*each) for each in zip(names, starts, stops, strict=True)]
    for row, region in enumerate(regions):
        check_ends(region, f"in row {row} of the table")
    return regions


def regions_of_bed(path: os.PathLike[Any], name_of: Callable[[object], str]) -> list[Region]:
    """The regions of a BED file, perhaps compressed with gzip or bgzip: the first three columns, 0-based, half-open.

    Source: the BED specification, GA4GH, version 1.0.

    Raises
    ------
    LabelError
        If the file cannot be read, or a line is no region.
    """
    regions = []
    for number, line in _lines(Path(os.fspath(path))):
        fields = line.split("\t") if "\t" in line else line.split()
        is_region = len(fields) >= 3 and fields[1].isdecimal() and fields[2].isdecimal() and line.isascii()
        if not is_region or int(fields[1]) > int(fields[2]):
            raise LabelError(
                f"line {number} is no region",
                path=str(path),
                expected="a contig, a start and an end that is not before it, with tabs between them",
                found=f"{line[:80]!r}",
            )
        regions.append(Region(name_of(fields[0]), position_of(int(fields[1])) + 1, position_of(int(fields[2]))))
    return regions


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a BED file that are regions, with their numbers."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError, ValueError) as error:
        raise LabelError(f"regions cannot be read: {error}", path=str(path), expected="a BED file") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith(("#", "track", "browser")):
            yield number, line


def check_ends(region: Region, where: str) -> None:
    """Check that a region does not end before it begins; one position less is a region of none, as BED has it too."""
    if region.start > region.stop + 1:
        raise LabelError("a region ends before it begins", found=f"{region.start} to {region.stop} {where}")


def range_of_interval(interval: Any) -> tuple[int, int]:
    """The first and the last whole position in a `pandas.Interval`."""
    left, right = interval.left, interval.right
    if not all(isinstance(end, int | float | np.number) and not isinstance(end, bool) for end in (left, right)):
        raise LabelError("an interval of positions has numbers as ends", found=repr(interval))
    start = -FAR if left == -math.inf else math.ceil(left)
    stop = FAR if right == math.inf else math.floor(right)
    start += not interval.closed_left and start == left
    stop -= not interval.closed_right and stop == right
    return max(-FAR, min(start, FAR)), max(-FAR, min(stop, FAR))


def position_of(value: Any) -> int:
    """A position as an integer; floats only if they are whole, such as 1e6.

    Raises
    ------
    LabelError
        If it is none.
    """
    is_whole = isinstance(value, float | np.floating) and np.isfinite(value) and value == int(value)
    if isinstance(value, bool | np.bool) or not (is_whole or isinstance(value, int | np.integer)):
        raise LabelError(
            "a position is a whole number",
            expected="an integer, a list of them, a slice or an interval",
            found=f"{value!r} ({type(value).__name__})",
        )
    return max(-FAR, min(int(value), FAR))

"""What ``ds.sel`` is asked for, as regions."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zarrds.errors import LabelError
from zarrds.labels.genomics.tables import check_ends, position_of, range_of_interval, regions_of_bed, regions_of_frame
from zarrds.labels.genomics.text import FAR, Region, as_text, parse_regions

__all__ = ["regions_of"]


def regions_of(
    labels: Mapping[Any, Any],
    names: Sequence[Hashable],
    contigs: Mapping[str, int],
    name_of: Callable[[object], str],
    contigs_here: Callable[[], Collection[str]],
) -> list[Region] | None:
    """The regions that labels of the coordinates mean; None is everything.

    Parameters
    ----------
    labels : mapping
        Coordinate -> label, as given to ``sel``.
    names : sequence of hashable
        The coordinates: contig, position, and perhaps end.
    contigs : mapping
        Name -> code.
    name_of : callable
        The name of a contig that is named or given by its code.
    contigs_here : callable
        Those that have records.

    Raises
    ------
    LabelError
        If they cannot be understood; a `LabelNotFoundError` for a contig that is not there.
    """
    asked = {name: _plain(label) for name, label in labels.items()}
    asked = {name: label for name, label in asked.items() if not _is_everything(label)}
    contig_name, position_name, *_ = names
    for name in asked:
        if name not in (contig_name, position_name):
            raise LabelError(
                "records are selected by contig and position; ends are looked at by themselves",
                expected=f"labels of {contig_name!r} and {position_name!r}",
                found=f"labels of {name!r}",
            )
    if position_name not in asked:
        return _of_contigs(asked[contig_name], contigs, name_of) if asked else None
    contig = asked.get(contig_name)
    if contig is None:
        present = list(contigs_here())
        if len(present) != 1:
            raise LabelError(
                "a position belongs to a contig",
                expected=f"a label of {contig_name!r} too",
                found=f"records of {len(present)} contigs",
                mend="Name the contig: " + f'ds.sel({contig_name}="...", {position_name}=...)',
            )
        contig = present[0]
    if not isinstance(contig, str | int | np.integer):
        raise LabelError(
            "positions are those of one contig",
            expected="the name of a contig",
            found=_shown(contig),
            mend=f"Write regions as text instead: ds.sel({contig_name}=['chr1:5-9', 'chr2:100']), or as a table",
        )
    name = name_of(contig)
    return [Region(name, start, stop) for start, stop in _ranges(asked[position_name])]


def _of_contigs(label: Any, contigs: Mapping[str, int], name_of: Callable[[object], str]) -> list[Region]:
    if isinstance(label, pd.DataFrame):
        return regions_of_frame(label, name_of)
    if isinstance(label, os.PathLike):
        return regions_of_bed(label, name_of)
    if isinstance(label, slice):
        raise LabelError("contigs have no order to slice by", found=_shown(label), mend="Give a list of them")
    every = label if isinstance(label, list) else [label]
    known = contigs.keys()
    return [region for each in every for region in _of_label(each, known, name_of)]


def _of_label(label: Any, known: Collection[str], name_of: Callable[[object], str]) -> list[Region]:
    if isinstance(label, Region):
        return [label._replace(contig=name_of(label.contig))]
    if isinstance(label, tuple) and len(label) == 3:
        region = Region(name_of(as_text(label[0])), position_of(label[1]), position_of(label[2]))
        check_ends(region, f"of {region.contig!r}")
        return [region]
    return parse_regions(label, known) if isinstance(label, str) else [Region(name_of(label))]


def _ranges(label: Any) -> list[tuple[int, int]]:
    every = label if isinstance(label, list) else [label]
    return [_range(each) for each in every]


def _range(label: Any) -> tuple[int, int]:
    if isinstance(label, pd.Interval):
        return range_of_interval(label)
    if isinstance(label, slice):
        if label.step is not None:
            raise LabelError("a slice of positions has no step", found=_shown(label))
        start, stop = _plain(label.start), _plain(label.stop)
        return -FAR if start is None else position_of(start), FAR if stop is None else position_of(stop)
    position = position_of(label)
    return position, position


def _plain(label: Any) -> Any:
    """Arrays of any kind as a scalar or a list, bytes as text."""
    if isinstance(label, bytes):
        return as_text(label)
    if isinstance(label, str | slice | int | float | np.generic | pd.DataFrame | pd.Interval | os.PathLike | Region):
        return label
    if label is None:
        return label
    if isinstance(label, list | tuple):
        return [as_text(each) for each in label]
    values = np.asarray(getattr(label, "values", label))
    if values.ndim > 1:
        raise LabelError("labels of regions have one dimension at most", found=f"shape {values.shape}")
    return [as_text(each) for each in values.tolist()] if values.ndim else as_text(values.item())


def _is_everything(label: Any) -> bool:
    return isinstance(label, slice) and label == slice(None)


def _shown(value: object) -> str:
    return f"{value!r:.80} ({type(value).__name__})"

"""What ``ds.sel`` is asked for, as regions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from zarrds.errors import LabelError
from zarrds.labels.genomics.text import FAR, Region, parse_region

__all__ = ["regions_of"]


def regions_of(
    labels: Mapping[Any, Any],
    names: Sequence[Hashable],
    contigs: Mapping[str, int],
    code_of: Callable[[object], int],
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
    code_of : callable
        The code of a name or a code.
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
        return _of_contigs(asked[contig_name], contigs, code_of) if asked else None
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
            mend=f"Write regions as text instead: ds.sel({contig_name}=['chr1:5-9', 'chr2:100'])",
        )
    name = _name_of(contig, contigs, code_of)
    return [Region(name, start, stop) for start, stop in _ranges(asked[position_name])]


def _of_contigs(label: Any, contigs: Mapping[str, int], code_of: Callable[[object], int]) -> list[Region]:
    if isinstance(label, slice):
        raise LabelError("contigs have no order to slice by", found=_shown(label), mend="Give a list of them")
    every = label if isinstance(label, list) else [label]
    return [
        parse_region(each, contigs.keys()) if isinstance(each, str) else Region(_name_of(each, contigs, code_of))
        for each in every
    ]


def _name_of(label: object, contigs: Mapping[str, int], code_of: Callable[[object], int]) -> str:
    code = code_of(label)
    return label if isinstance(label, str) else next(name for name, each in contigs.items() if each == code)


def _ranges(label: Any) -> list[tuple[int, int]]:
    if isinstance(label, slice):
        if label.step is not None:
            raise LabelError("a slice of positions has no step", found=_shown(label))
        start, stop = _plain(label.start), _plain(label.stop)
        return [(-FAR if start is None else _position(start), FAR if stop is None else _position(stop))]
    every = label if isinstance(label, list) else [label]
    return [(position, position) for position in map(_position, every)]


def _position(value: Any) -> int:
    whole = value
    if isinstance(value, float | np.floating) and np.isfinite(value) and value == int(value):
        whole = int(value)  # such as 1e6
    try:
        if isinstance(value, bool | np.bool):
            raise TypeError
        position = operator.index(whole)
    except TypeError:
        raise LabelError(
            "a position is a whole number", expected="an integer, a list of them or a slice", found=_shown(value)
        ) from None
    return max(-FAR, min(position, FAR))


def _plain(label: Any) -> Any:
    """Arrays of any kind as a scalar or a list."""
    if isinstance(label, str | slice | int | float | np.generic) or label is None:
        return label
    if isinstance(label, list | tuple):
        return list(label)
    values = np.asarray(getattr(label, "values", label))
    if values.ndim > 1:
        raise LabelError("labels of regions have one dimension at most", found=f"shape {values.shape}")
    return values.tolist()


def _is_everything(label: Any) -> bool:
    return isinstance(label, slice) and label == slice(None)


def _shown(value: object) -> str:
    return f"{value!r} ({type(value).__name__})"

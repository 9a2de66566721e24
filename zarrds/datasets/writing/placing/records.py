"""Records of a genome that are appended where a `RegionIndex` is noted: they must go on in its order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from zarrds.arguments import warn
from zarrds.datasets.encoding.dataset import stored_name
from zarrds.datasets.encoding.exact.comparison import label_text
from zarrds.datasets.encoding.meaning import says_where
from zarrds.datasets.writing.changes import OnUnordered, Placement
from zarrds.datasets.writing.stored import StoredGroup
from zarrds.errors import LabelError

__all__ = ["unsorted_indexes", "which_say_the_rest"]

# stored contigs that are looked at together
_BLOCK = 2**20


def unsorted_indexes(
    stored: StoredGroup, dataset: xr.Dataset, dim: str, placement: Placement, on_unordered: OnUnordered
) -> list[str]:
    """The coordinates that have the notes of indexes which cannot be made again once records are appended.

    The records of a contig must be in one stretch, and there by position, with those that are stored.

    Parameters
    ----------
    stored : StoredGroup
    dataset : Dataset
        What is appended: that of it which is written.
    dim : str
        Along which.
    placement : Placement
    on_unordered : {"error", "append"}

    Raises
    ------
    LabelError
        If there are any, unless `on_unordered` is ``"append"``: then there is a warning.
    """
    found = []
    for noted in stored.indexes:
        names = noted.coordinates
        if noted.kind != "regions" or stored.variables[names[0]].dims != (dim,):
            continue
        if not all(name in dataset.variables and dataset.variables[name].size for name in names[:2]):
            continue
        problem = _problem(_Records.of(stored.variables, names, placement.start), _Records.of(dataset.variables, names))
        if problem is None:
            continue
        if on_unordered == "error":
            raise LabelError(
                "records do not go on by contig and position, as those of a RegionIndex must",
                key=names[1],
                expected=problem[0],
                found=problem[1],
                mend="Sort them with what is stored, and save all of it anew; on_unordered='append' appends them as "
                "they are, and drops the index",
            )
        warn(
            f"the RegionIndex of {', '.join(map(repr, names))} is dropped from the store: {problem[1]} does not go on "
            f"as {problem[0]} would",
        )
        found.append(names[0])
    return found


def which_say_the_rest(
    dim: str, dataset: xr.Dataset, stored: StoredGroup
) -> dict[str, tuple[xr.Variable, xr.Variable]]:
    """Stored and new variables along a dimension that say with its labels what one of them stands for."""
    pairs = {stored_name(n): v for n, v in dataset.variables.items() if v.dims == (dim,) and stored_name(n) != dim}
    return {
        name: (stored.variables[name], variable)
        for name, variable in pairs.items()
        if name in stored.variables and stored.variables[name].dims == (dim,) and says_where(name, variable)
    }


@dataclass(frozen=True, slots=True)
class _Records:
    """Contigs and positions, of which so many count."""

    contig: xr.Variable
    position: xr.Variable
    size: int

    @classmethod
    def of(cls, variables: Any, names: tuple[str, ...], size: int | None = None) -> _Records:
        contig, position = (variables[name] for name in names[:2])
        return cls(contig, position, contig.size if size is None else size)

    def blocks(self) -> Iterator[np.ndarray[Any, Any]]:
        """The contigs, some at a time."""
        for start in range(0, self.size, _BLOCK):
            yield np.asarray(self.contig[start : min(start + _BLOCK, self.size)].values)


def _problem(before: _Records, new: _Records) -> tuple[str, str] | None:
    """What was expected of new records that are not in order, and what was found."""
    contigs, positions = np.asarray(new.contig.values), np.asarray(new.position.values)
    last: tuple[Any, Any] | None = None
    if before.size:
        end = slice(before.size - 1, before.size)
        last = np.asarray(before.contig[end].values).item(), np.asarray(before.position[end].values).item()
    changes = np.flatnonzero(contigs[1:] != contigs[:-1]) + 1
    runs = [0, *changes.tolist()]
    names = contigs[runs].tolist()
    same = last is not None and names[0] == last[0]
    first: dict[Any, int] = {}
    for at, name in zip(runs, names, strict=True):
        if name in first:
            return "a contig's records in one stretch", _shown(contigs, positions, at)
        first[name] = at
    others = [name for name in names if not (same and name == names[0])]
    for block in before.blocks() if others else ():
        if again := set(others) & set(block.tolist()):
            at = min(first[name] for name in again)
            return "a contig's records in one stretch", _shown(contigs, positions, at)
    falls = np.flatnonzero(positions[1:] < positions[:-1]) + 1
    falls = falls[~np.isin(falls, changes)]
    if falls.size:
        return f"positions from {positions[falls[0] - 1]} on", _shown(contigs, positions, int(falls[0]))
    if same and last is not None and positions[0] < last[1]:
        return f"positions from {last[1]} on", _shown(contigs, positions, 0)
    return None


def _shown(contigs: np.ndarray[Any, Any], positions: np.ndarray[Any, Any], at: int) -> str:
    return f"{label_text(contigs[at])}, {positions[at]}"

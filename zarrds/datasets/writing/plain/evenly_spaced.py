"""Labels that are evenly spaced in the store, where they have no array: places follow from start and step."""

from __future__ import annotations

from collections.abc import Container, Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from zarrds.compat.xarray_opening import EvenlySpaced
from zarrds.datasets.encoding.exact.comparison import Labels
from zarrds.datasets.reading.roles import RANGE_INDEXES, evenly_spaced
from zarrds.datasets.writing.plain.to_plain import PlainDataset
from zarrds.errors import LabelError
from zarrds.metadata.fields import JSON

__all__ = ["positions_along", "shown", "with_ranges", "with_ranges_of", "written_out"]

# of their step, by which labels may be off: they are sums of floats
_TOLERANCE = 1e-6
# places that are compared one by one; of more, only the first is
_MAX_COMPARED = 2**26
# beyond it floats do not count one by one
_MAX_PLACE = 2.0**53


def _step(labels: EvenlySpaced) -> float:
    """The distance of two labels."""
    if labels.step is not None:
        return labels.step
    return (labels.stop - labels.start) / labels.size if labels.size else 1.0


def _place(label: float, labels: EvenlySpaced) -> float | None:
    """Where among evenly spaced labels one would stand; None if that is no number that counts places."""
    step = _step(labels)
    place = (float(label) - labels.start) / step if step else np.nan
    return place if abs(place) <= _MAX_PLACE else None


def _is_off(distance: Any, tolerance: float) -> bool:
    """Whether labels are not where they should be; NaN and infinity are nowhere."""
    return not bool(np.all(np.abs(distance) <= tolerance))


def _goes_by(labels: EvenlySpaced, step: float) -> bool:
    """Whether labels have a step, so nearly that the last of them is where it should be."""
    return not _is_off(_step(labels) - step, _TOLERANCE * abs(step) / max(labels.size, 1))


def shown(labels: EvenlySpaced) -> str:
    """Labels as a message shows them."""
    return f"{labels.size} labels from {labels.start} in steps of {_step(labels)}"


def with_ranges_of(dataset: xr.Dataset, ranges: Mapping[str, EvenlySpaced]) -> xr.Dataset:
    """A dataset whose labels are evenly spaced ones, where those of the store are, and these are some of them.

    Parameters
    ----------
    dataset : Dataset
    ranges : mapping of str to EvenlySpaced
        Coordinates of the store, as of `zarrds.datasets.reading.roles.Roles`.

    Examples
    --------
    >>> stored = EvenlySpaced("x", start=0.0, stop=1.0, size=10, step=0.1, dtype="float64")
    >>> with_ranges_of(xr.Dataset(coords={"x": [0.3, 0.4]}), {"x": stored}).xindexes["x"].start
    0.30000000000000004
    """
    for name, there in ranges.items():
        variable = dataset.variables.get(name)
        if variable is None or isinstance(dataset.xindexes.get(name), xr.indexes.RangeIndex):
            continue
        if variable.dims != (there.dimension,) or variable.dtype.kind not in "iuf" or not variable.size:
            continue
        labels, step = np.asarray(variable.values, np.float64), _step(there)
        place = _place(labels[0], there)
        if place is None:
            continue
        start = there.start + round(place) * step
        if _is_off(labels - (start + np.arange(labels.size) * step), _TOLERANCE * abs(step)):
            continue
        part = replace(there, start=start, stop=start + labels.size * step, size=labels.size, step=step)
        index = part.index(name)
        dataset = dataset.drop_vars(name).assign_coords(xr.Coordinates.from_xindex(index))
        dataset.variables[name].attrs.update(variable.attrs)
    return dataset


def written_out(
    dataset: xr.Dataset, dims: Container[Hashable], ranges: Container[Hashable], others: Container[Hashable] = ()
) -> xr.Dataset:
    """A dataset with all of its labels that are evenly spaced here and not in the store, where it is a part of that.

    A note that says how they are spaced would be one of all labels, or of none. Where the store has labels of another
    making, they are compared with these.

    Parameters
    ----------
    dataset : Dataset
    dims : container of hashable
        Dimensions of which it has a part.
    ranges : container of hashable
        Coordinates that are evenly spaced in the store.
    others : container of hashable, optional
        Coordinates that are something else in the store.

    Examples
    --------
    >>> index = xr.indexes.RangeIndex.arange(0.0, 1.0, 0.5, dim="x")
    >>> written_out(xr.Dataset(coords=xr.Coordinates.from_xindex(index)), {"x"}, {}).xindexes["x"]
    PandasIndex(Index([0.0, 0.5], dtype='float64', name='x'))
    """
    for name, index in dataset.xindexes.items():
        variable = dataset.variables[name]
        is_met = variable.dims[0] in dims or name in others
        if isinstance(index, xr.indexes.RangeIndex) and name not in ranges and is_met:
            plain = xr.Variable(variable.dims, variable.values, variable.attrs, variable.encoding)
            dataset = dataset.drop_vars(name).assign_coords({name: plain})
    return dataset


def positions_along(
    plain: PlainDataset, ranges: Mapping[str, EvenlySpaced], sizes: Mapping[str, int]
) -> dict[Hashable, tuple[Labels, Labels]]:
    """By dimension, the places of the evenly spaced labels of the store, and those that new ones have among them."""
    found: dict[Hashable, tuple[Labels, Labels]] = {}
    noted = [note for notes in plain.notes.values() if isinstance(note := notes.get(RANGE_INDEXES), dict)]
    for name, there in ranges.items():
        labels = evenly_spaced(next((note[name] for note in noted if name in note), None))
        size = sizes.get(there.dimension, 0)
        if labels is None or max(size, labels.size) > _MAX_COMPARED:
            continue
        first = _place(labels.start, there)
        if first is not None and _goes_by(labels, _step(there)) and abs(first - round(first)) <= _TOLERANCE:
            found[there.dimension] = np.arange(size), np.arange(labels.size) + round(first)
    return found


def with_ranges(before: JSON, new: JSON, dims: Mapping[str, tuple[slice, int]]) -> JSON:
    """The note of evenly spaced labels of an array that is written to.

    Parameters
    ----------
    before, new : JSON
        The notes ``range_indexes`` of the stored array, and of what is written.
    dims : mapping of str to (slice, int)
        Where it is written along each dimension, and the size of the array afterwards.

    Raises
    ------
    LabelError
        If the labels are not those of their place.
    """
    if not isinstance(before, dict):
        return before
    given = new if isinstance(new, dict) else {}
    return {name: _range_after(name, settings, given.get(name), dims) for name, settings in before.items()}


def _range_after(coordinate: str, before: JSON, given: JSON, dims: Mapping[str, tuple[slice, int]]) -> JSON:
    there, labels = evenly_spaced(before), evenly_spaced(given)
    # what is malformed has been left out, and a warning has told of it
    if not isinstance(before, dict) or there is None or there.dimension not in dims:
        return before
    part, size = dims[there.dimension]
    step = _step(there)
    if size == there.size and (labels is None or part.start >= part.stop):  # nothing new
        return before
    # where they end: of labels that are stored already the first may have been left out
    stop = there.start + part.stop * step
    if (
        labels is None
        or not _goes_by(labels, step)
        or _is_off(labels.start + labels.size * step - stop, _TOLERANCE * abs(step))
    ):
        raise LabelError(
            f"the labels {coordinate!r} are evenly spaced in the store, and the new ones do not go on as they do",
            key=coordinate,
            expected=f"a RangeIndex from {there.start + part.start * step} in steps of {step}",
            found="none" if labels is None else f"one from {labels.start} in steps of {_step(labels)}",
            mend="Give the dataset these labels, with xr.indexes.RangeIndex.arange",
        )
    if size == there.size:
        return before
    return {**before, "size": size, "step": step, "stop": there.start + size * step}

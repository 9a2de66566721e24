"""Which part of a store a dataset is written to; only labels are read here, and nothing is written."""

from __future__ import annotations

import operator
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.arguments import nearest
from zarrds.datasets.encoding.exact.comparison import Labels, comparable, label_text, positions_of
from zarrds.datasets.writing.changes import UpdateOptions
from zarrds.datasets.writing.placing.append import check_same_labels, check_sizes, is_labelled
from zarrds.engine.remembered import Remembered
from zarrds.errors import EncodingError, LabelError, LabelNotFoundError

__all__ = ["StoredDimensions", "check_region_labels", "expand_hint", "part_of", "resolve_region"]

_SLICE = "a slice of integers, with step 1 or None, or 'auto'"


@dataclass(frozen=True)
class StoredDimensions:
    """What a store says of the dimensions of a group.

    Attributes
    ----------
    variables : mapping of name to Variable
        Lazy and decoded. The labels of "auto" dimensions are read.
    others : mapping of str to pair
        The stored and the new labels of dimensions that have no array of labels: of a MultiIndex, for example.
    spaced : mapping of str to str
        Dimensions whose labels are evenly spaced in the store and have no array, with these in words.
    """

    variables: Mapping[str, xr.Variable]
    others: Mapping[str, tuple[Labels, Labels]] = field(default_factory=dict)
    spaced: Mapping[str, str] = field(default_factory=dict)

    @Remembered
    def sizes(self) -> dict[Hashable, int]:
        """Elements along each."""
        return {dim: size for variable in self.variables.values() for dim, size in variable.sizes.items()}


def resolve_region(
    how: UpdateOptions, dataset: xr.Dataset, stored: StoredDimensions, labels: Collection[Hashable] | None = None
) -> dict[str, slice]:
    """The part of the store that the region of a save means for `dataset`.

    Parameters
    ----------
    how : UpdateOptions
        Its `region` is that of `Dataset.to_zarr`: ``"auto"`` finds a dimension's labels in the store; a dimension
        without labels must be there as a whole. ``"auto"`` as a whole stands for every dimension of the dataset.
        A dimension that grows has no region, and any size is right.
    dataset : Dataset
        What to write, with its index coordinates.
    stored : StoredDimensions
    labels : collection of hashable, optional
        Names of the variables that are labels of the dataset's indexes; those of its dimensions unless said.

    Returns
    -------
    dict of dimension to slice
        With integer start and stop inside of the store, of the dataset's sizes.

    Raises
    ------
    LabelNotFoundError
        A LabelError and KeyError: labels that the store does not have.
    LabelError
        A ValueError: labels that are not one block of the store in its order, dimensions or sizes that do not fit.
    EncodingError
        A ValueError and TypeError: a region that is none.
    """
    region, append_dim = how.region, how.append_dim
    if isinstance(region, str) and region == "auto":
        region = dict.fromkeys(dataset.dims, "auto")
    if not isinstance(region, Mapping):
        raise EncodingError("region must be a dict, or 'auto'", found=f"{type(region).__name__} {region!r:.80}")
    if how.mode not in ("r+", "a") and any(isinstance(part, str) and part == "auto" for part in region.values()):
        raise EncodingError(
            "mode does not go with region='auto'", expected="mode='r+' or 'a'", found=f"mode={how.mode!r}"
        )
    if append_dim is not None and append_dim in region:
        raise EncodingError(
            f"cannot list the same dimension in both append_dim and region: {append_dim!r}",
            mend="Append new labels, and write stored ones with region=",
        )
    if unknown := [dim for dim in region if dim not in dataset.dims]:
        raise LabelError(
            f"all keys in ``region`` are not in Dataset dimensions: the dataset does not have {unknown!r}",
            found=list(region),
            mend=expand_hint(dataset, unknown) or nearest(unknown[0], dataset.dims),
        )
    resolved = {str(dim): _resolve(dim, part, dataset, stored) for dim, part in region.items()}
    _check_variables(dataset, resolved, stored.variables, append_dim, dataset.xindexes if labels is None else labels)
    _check_dimensions(dataset, resolved, stored.sizes, append_dim)
    return resolved


def check_region_labels(
    dataset: xr.Dataset,
    region: Mapping[Any, slice],
    stored: Mapping[str, xr.Variable],
    append_dim: Hashable | None = None,
    labels: Collection[Hashable] | None = None,
) -> None:
    """Check that the dataset's labels are those of the region; they are not written, so they must be there already.

    Parameters
    ----------
    dataset : Dataset
    region : mapping of dimension to slice
        As `resolve_region` returns it. Dimensions that it does not have are written as a whole.
    stored : mapping of name to Variable
        Lazy and decoded; of index coordinates the part in the region is read.
    append_dim : hashable, optional
        A dimension that grows; its labels are not compared.
    labels : collection of hashable, optional
        Names of the variables that are labels of the dataset's indexes; those of its dimensions unless said.

    Raises
    ------
    LabelError
        Naming the coordinate and the first label that differs.

    Examples
    --------
    >>> import xarray as xr
    >>> stored = {"x": xr.Variable("x", [10, 20, 30])}
    >>> check_region_labels(xr.Dataset(coords={"x": [20]}), {"x": slice(1, 2)}, stored)
    """
    for name in dataset.xindexes if labels is None else labels:
        if name not in dataset.variables:
            continue
        there = stored.get(str(name))
        if there is not None and append_dim not in dataset.variables[name].dims:
            check_same_labels(name, part_of(there, region), dataset.variables[name])


def expand_hint(dataset: xr.Dataset, dims: Iterable[Hashable]) -> str | None:
    """What to do about dimensions of the store that are one step, and no dimension, in a dataset; None if none is."""
    steps = [str(dim) for dim in dims if dim in dataset.variables and not dataset.variables[dim].dims]
    return f"Make the single step a dimension first: dataset.expand_dims({steps!r})" if steps else None


def _is_dimension(name: Hashable, stored: Mapping[str, xr.Variable]) -> bool:
    return any(str(name) in variable.dims for variable in stored.values())


def part_of(variable: xr.Variable, region: Mapping[Any, slice]) -> xr.Variable:
    """The part of a variable that lies in a region; it stays lazy."""
    return variable.isel({dim: region[dim] for dim in variable.dims if dim in region})


def _resolve(dim: Hashable, part: Any, dataset: xr.Dataset, stored: StoredDimensions) -> slice:
    sizes = stored.sizes
    if dim not in sizes:
        raise LabelError(
            f"region names dimension {dim!r}, which the store does not have", found=sorted(map(str, sizes))
        )
    if isinstance(part, str) and part == "auto":
        return _found_by_labels(dim, dataset, stored)
    if not isinstance(part, slice):
        raise EncodingError(
            "all values in ``region`` must be slice objects", key=str(dim), expected=_SLICE, found=f"{part!r:.80}"
        )
    if part.step not in (None, 1):
        raise EncodingError("step on all slices in ``region`` must be 1 or None", key=str(dim), found=f"{part!r:.80}")
    try:
        ends = [None if end is None else operator.index(end) for end in (part.start, part.stop)]
    except TypeError as error:
        raise EncodingError(
            "slices in ``region`` are of positions, not of labels",
            key=str(dim),
            expected=_SLICE,
            found=f"{part!r:.80}",
            mend="Pass 'auto' to find the labels of the dataset in the store",
        ) from error
    start, stop, _ = slice(*ends).indices(sizes[dim])
    return slice(start, max(start, stop))


def _found_by_labels(dim: Hashable, dataset: xr.Dataset, stored: StoredDimensions) -> slice:
    """Where the dataset's labels are in the store; without labels on either side, all of it."""
    variables, size = stored.variables, stored.sizes[dim]
    if str(dim) in stored.others:
        return _find(dim, *stored.others[str(dim)])
    if dim in stored.spaced and (dim in dataset.coords or dataset.sizes[dim] != size):
        raise LabelNotFoundError(
            f"the labels of {dim!r} are evenly spaced in the store, and those of the dataset are none of them",
            key=str(dim),
            expected=f"some of {stored.spaced[str(dim)]}",
            found=label_text(dataset[dim].values[0]) if dim in dataset.coords and dataset.sizes[dim] else "no labels",
            mend=f"Give the region as a slice of positions, region={{{dim!r}: slice(start, stop)}}, or the dataset "
            "labels of the store",
        )
    if is_labelled(dim, dataset.variables):
        return _find(dim, _stored_labels(dim, variables), dataset.variables[dim].values)
    if dataset.sizes[dim] != size:
        there = "the store has" if is_labelled(str(dim), variables) else "nor has the store"
        raise LabelError(
            f"the region of dimension {dim!r} cannot be found: the dataset has no labels, {there}",
            key=str(dim),
            expected=f"labels, or all {size}",
            found=dataset.sizes[dim],
            mend=f"Give the region as a slice of positions, region={{{dim!r}: slice(start, stop)}}"
            + (", or the dataset its labels" if is_labelled(str(dim), variables) else ""),
        )
    return slice(0, dataset.sizes[dim])


def _stored_labels(dim: Hashable, stored: Mapping[str, xr.Variable]) -> Labels:
    if not is_labelled(str(dim), stored):
        raise LabelNotFoundError(
            f"the store has no labels for dimension {dim!r}",
            key=str(dim),
            mend="Give its part as a slice, region={dimension: slice(start, stop)}",
        )
    return np.asarray(stored[str(dim)].values)


def _find(dim: Hashable, there: Labels, labels: Labels) -> slice:
    """Where labels are in the store."""
    wanted = np.asarray(labels)
    try:
        _, old, fresh = comparable(dim, there, wanted)
    except LabelError as error:
        raise LabelNotFoundError(
            error.problem, key=error.key, expected=error.expected, found=error.found, mend=error.mend
        ) from error
    positions = positions_of(dim, old, fresh)
    if np.any(positions < 0):
        raise LabelNotFoundError(
            f"the store does not have all labels of {dim!r}",
            key=str(dim),
            found=f"{label_text(wanted[positions < 0][0])}, the first of {np.count_nonzero(positions < 0)} new ones",
            mend="Write new labels with append_dim=",
        )
    doubled = np.isin(old[positions], old[pd.Index(old).duplicated()])
    if doubled.any():
        raise LabelError(
            f"the region of dimension {dim!r} cannot be found by its labels: some are stored more than once",
            key=str(dim),
            found=label_text(wanted[doubled][0]),
            mend="Give the region as a slice of positions",
        )
    if np.any(np.diff(positions) != 1):
        turn = int(np.argmax(np.diff(positions) != 1))
        raise LabelError(
            f"labels of {dim!r} are not one block of the store in its order",
            key=str(dim),
            found=f"{label_text(wanted[turn])} at {positions[turn]} of the store, then "
            f"{label_text(wanted[turn + 1])} at {positions[turn + 1]}",
            mend="Sort the dataset as the store is, and write each block by itself",
        )
    start = int(positions[0]) if positions.size else 0
    return slice(start, start + positions.size)


def _check_variables(
    dataset: xr.Dataset,
    region: Mapping[Any, slice],
    stored: Mapping[str, xr.Variable],
    append_dim: Hashable | None,
    labels: Collection[Hashable],
) -> None:
    """Check that every variable that will be written lies in the region, and fits it."""
    outside = [
        name
        for name, variable in dataset.variables.items()
        if region and name not in labels and not set(region) & set(variable.dims)
    ]
    if outside:
        steps = [name for name in outside if not dataset.variables[name].dims and _is_dimension(name, stored)]
        raise LabelError(
            "all variables in the dataset to write must have at least one dimension in common with the region's "
            f"dimensions {list(region)}",
            found=f"others: {outside!r}",
            mend=expand_hint(dataset, steps) or f"Leave them out with .drop_vars({outside!r})",
        )
    for name, variable in dataset.variables.items():
        if str(name) in stored:
            check_sizes(name, stored[str(name)], variable, region=region, append_dim=append_dim)


def _check_dimensions(
    dataset: xr.Dataset, region: Mapping[Any, slice], sizes: Mapping[Hashable, int], append_dim: Hashable | None
) -> None:
    """Check the sizes of dimensions, also for variables that the store does not have."""
    for dim, size in dataset.sizes.items():
        if dim in sizes and dim != append_dim:
            part = region.get(dim, slice(0, sizes[dim]))
            if part.stop - part.start != size or part.stop > sizes[dim]:
                raise LabelError(
                    f"dimension {dim!r} has different dimension sizes in the store's region and in the dataset",
                    key=str(dim),
                    expected=f"{part.stop - part.start}, from {part.start} to {part.stop} of {sizes[dim]}",
                    found=size,
                )

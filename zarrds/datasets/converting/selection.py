"""Selections by label or position -> integers along each dimension, for arrays as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from zarrds.arguments import nearest
from zarrds.datasets.description.of_dataset import label_text
from zarrds.display.text import counted, one_line
from zarrds.errors import LabelNotFoundError, SelectionError

__all__ = ["positions_of"]


def positions_of(
    ds: xr.Dataset, sel: Mapping[str, Any] | None, isel: Mapping[str, Any] | None
) -> dict[str, slice | int | np.ndarray[Any, Any]]:
    """The positions that a selection takes along each dimension, which may be left out: then it takes all.

    Parameters
    ----------
    ds : Dataset
    sel : mapping of dimension to label, slice or list of labels, optional
        As of `xarray.Dataset.sel`; of a slice the ends may be given in either order.
    isel : mapping of dimension to integer, slice or list of integers, optional
        As of `xarray.Dataset.isel`. It is applied first.

    Raises
    ------
    SelectionError
        For dimensions that are not there, and positions outside.
    LabelNotFoundError
        For labels that are not there.

    Examples
    --------
    >>> positions_of(xr.Dataset(coords={"lat": [52, 51, 50]}), {"lat": slice(50, 51)}, None)
    {'lat': slice(1, 3, None)}
    """
    sel, isel = dict(sel or {}), dict(isel or {})
    for name in [*sel, *isel]:
        if name not in ds.sizes and name not in ds.xindexes:
            raise SelectionError("no such dimension", key=name, mend=nearest(name, ds.sizes))
        if name in sel and name in isel:
            raise SelectionError(
                "a dimension is selected by label and by position",
                key=name,
                expected="one of both",
                found=f"sel {name}={sel[name]!s}, isel {name}={isel[name]!s}",
            )
    dims = {dim for name in sel for dim in (ds.variables[name].dims if name in ds.variables else (name,))} | set(isel)
    # a variable of positions for each dimension, which goes through the same selection
    marks = {f"positions of {dim}": (dim, np.arange(ds.sizes[dim])) for dim in dims}
    bare = ds.drop_vars([name for name in ds.variables if name not in ds.xindexes]).assign(marks)
    try:
        chosen = bare.isel(isel)
    except (TypeError, ValueError, KeyError) as error:
        raise SelectionError("not a position", expected="integers, or slices of them", found=_text(isel)) from error
    except IndexError as error:
        sizes = {name: ds.sizes[name] for name in isel}
        raise SelectionError(
            "a position is outside of its dimension", expected=f"less than {_text(sizes)}", found=_text(isel)
        ) from error
    for name, label in sel.items():
        if name not in chosen.xindexes:
            raise SelectionError("dimension has no labels", key=name, mend="Select it by position, with isel")
        try:
            chosen = chosen.sel({name: _in_order(chosen, name, label)})
        except KeyError as error:
            raise LabelNotFoundError(
                "no such label", key=name, expected=_there(chosen, name), found=one_line(label)
            ) from error
        except (ValueError, TypeError, pd.errors.InvalidIndexError) as error:
            raise SelectionError(f"the labels do not fit: {error}", key=name, found=str(label)) from error
    found: dict[str, slice | int | np.ndarray[Any, Any]] = {}
    for dim in ds.sizes:
        if dim in dims:
            values = chosen[f"positions of {dim}"].values
            found[str(dim)] = _as_slice(values) if values.ndim else int(values)
    return found


def _there(ds: xr.Dataset, name: str) -> str:
    """What labels there are, of which no more than two are read."""
    labels = ds[name]
    if labels.size == 0:
        return "no label, as there is none"
    first, last = (one_line(label_text(labels[i].values[()])) for i in (0, -1))
    return f"one of {counted(labels.size, 'label')}, the first {first}, the last {last}"


def _text(selection: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in selection.items())


def labels_of(ds: xr.Dataset, name: str) -> pd.Index[Any] | None:
    """The labels of a coordinate that has an index of pandas, or one that can be made such; else None.

    Not by `Dataset.indexes`, which raises where any index of the dataset is of another kind.
    """
    index = ds.xindexes.get(name)
    try:
        return None if index is None else index.to_pandas_index()
    except TypeError:
        return None


def _in_order(ds: xr.Dataset, name: str, label: Any) -> Any:
    """A slice of labels in the order in which they are stored."""
    if not isinstance(label, slice) or label.start is None or label.stop is None or label.step is not None:
        return label
    index = labels_of(ds, name)
    if index is None or index.size < 2 or index.is_monotonic_increasing or not index.is_monotonic_decreasing:
        return label
    try:
        is_increasing = bool(label.start < label.stop)
    except TypeError:
        return label
    return slice(label.stop, label.start) if is_increasing else label


def _as_slice(values: np.ndarray[Any, Any]) -> slice | np.ndarray[Any, Any]:
    if values.size == 0:
        return slice(0, 0)
    start, step = int(values[0]), int(values[1] - values[0]) if values.size > 1 else 1
    if step > 0 and np.array_equal(values, start + step * np.arange(values.size)):
        return slice(start, int(values[-1]) + 1, step if step != 1 else None)
    return values

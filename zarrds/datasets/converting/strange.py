"""Variables of files that no array can hold, or that cannot be decoded: they never keep the others out.

The first are left out, the others are taken as they are stored; either is said with one warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from zarrds.arguments import warn
from zarrds.compat.xarray_messages import is_about
from zarrds.datasets.reading.decoding import decode_all
from zarrds.datasets.reading.strange import path_of, warn_of_undecoded

__all__ = ["decoded_groups", "without_strange"]

_LENGTHS = "it is of lists of any length (vlen), which have no data type"
_OBJECTS = "it is of structures that hold objects"


def without_strange(file: str, groups: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Groups without the variables that no array can hold."""
    problems: dict[str, str] = {}
    found = {}
    for path, ds in groups.items():
        strange = {name: problem for name, v in ds.variables.items() if (problem := _problem(v)) is not None}
        problems |= {path_of(path.strip("/"), name): problem for name, problem in strange.items()}
        found[path] = _like(ds, ds.drop_vars(strange)) if strange else ds
    if problems:
        shown = "; ".join(f"{name!r}: {problem}" for name, problem in problems.items())
        warn(
            f"{len(problems)} variables of {file!r} cannot be stored and are left out: {shown}. "
            "What is to be kept of them must be made into plain arrays first, for example all elements in a row and "
            "an array of their numbers"
        )
    return found


def _problem(variable: xr.Variable) -> str | None:
    if variable.dtype.kind == "V" and variable.dtype.hasobject:
        return _OBJECTS
    # netCDF4 says that lists are of the dtype of their elements
    if variable.dtype.kind not in "iufO" or not variable.size:
        return None
    try:
        first = np.ravel(variable[(slice(0, 1),) * variable.ndim].values)[0]
    except (TypeError, ValueError) as error:  # of decoders that were told of numbers, too
        return f"{_LENGTHS} ({error})" if is_about(error, "lists") else None
    return _LENGTHS if isinstance(first, np.ndarray | list | tuple) else None


def decoded_groups(file: str, groups: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Groups that were opened as they are stored, decoded as far as that can be."""
    problems: dict[str, str] = {}
    found = {}
    for path, ds in groups.items():
        raw = {name: variable.to_base_variable() for name, variable in ds.variables.items()}
        decoded = decode_all(raw, ds.attrs, {}, file, path.strip("/"))
        made = xr.Dataset(decoded.variables, attrs=decoded.attributes)
        found[path] = _like(ds, made.set_coords(made.variables.keys() & {*decoded.names, *ds.coords}))
        problems |= {path_of(path.strip("/"), name): text for name, text in decoded.undecoded.items()}
    if problems:
        warn_of_undecoded(file, problems)
    return found


def _like(opened: xr.Dataset, made: xr.Dataset) -> xr.Dataset:
    """A dataset that is closed, and written, as the one that it was made of."""
    made.encoding = opened.encoding
    close: Any = opened.close
    made.set_close(close)
    return made

"""``zarrds.diff``: where two stores, files or datasets differ."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from zarrds.arguments import check_flags, check_texts
from zarrds.compat.xarray_internals import units_as_written
from zarrds.datasets.comparing.model import Diff, Difference
from zarrds.datasets.comparing.values import Unequal, unequal_values
from zarrds.datasets.converting.sources import Source, is_store, open_groups, source_name
from zarrds.datasets.description.of_dataset import label_text
from zarrds.datasets.description.plain import json_value
from zarrds.display.codecs import encoding_texts
from zarrds.display.text import one_line
from zarrds.engine.executor import Progress
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import EncodingError, locating
from zarrds.metadata.attributes import MARKERS, SCALE

__all__ = ["diff"]

_CF = ("dtype", *SCALE, *MARKERS, "units", "calendar")


def diff(
    a: Source,
    b: Source,
    *,
    group: str | None = None,
    data: bool = True,
    metadata: bool = True,
    progress: ProgressOption = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Diff:
    """Tell where two stores, netCDF files or datasets differ.

    Groups, variables, dimensions and dtypes are always compared. Values are compared after decoding and position by
    position, in bounded memory; missing values are equal to each other. Chunks and codecs are compared of two stores,
    how values are packed of everything.

    Parameters
    ----------
    a, b : str, os.PathLike, Store, Dataset, DataArray or DataTree
        A path or URL of a store, or of a file that xarray opens.
    group : str, optional
        Only this group of both; unless said, all groups.
    data : bool
        Whether to compare values.
    metadata : bool
        Whether to compare attributes and encodings.
    progress : bool, "rich" or callable
        Show a progress bar (needs tqdm, or rich), or call ``progress(done, total)`` with numbers of values.
    storage_options : mapping, optional
        As of `zarrds.save`; for both.

    Returns
    -------
    Diff
        Its `same` is True if there is no difference.

    Raises
    ------
    StoreNotFoundError, UnsupportedError
        If one of them cannot be opened.
    ChunkError
        If a chunk is damaged.

    Examples
    --------
    >>> import xarray as xr, zarrds
    >>> a = xr.Dataset({"t2m": ("time", [280.5, 281.0], {"units": "K"})}, {"time": [7, 8]})
    >>> print(zarrds.diff(a, a.assign(t2m=a.t2m + a.time - 7)))
    /t2m: values differ in 1 of 2, first at time=8: 281.0 / 282.0, largest difference 1
    xarray.Dataset, xarray.Dataset: 1 difference
    """
    check_texts(group=group)
    check_flags(data=data, metadata=metadata)
    both = is_store(a, storage_options) and is_store(b, storage_options)
    with open_groups(a, storage_options) as left, open_groups(b, storage_options) as right:
        if group is not None:
            path = f"/{group.strip('/')}"
            for name, side in ((source_name(a), left), (source_name(b), right)):
                if path not in side:
                    raise EncodingError("no such group", path=name, key=path, found=sorted(side))
            left, right = {path: left[path]}, {path: right[path]}
        total = sum(variable.size for ds in left.values() for variable in ds.variables.values()) if data else 0
        with progress_bar(total, "diff", enabled=progress if data else False, unit="value") as advance:
            found = list(_Comparison(data, metadata, both, advance).of_groups(left, right))
    return Diff(source_name(a), source_name(b), tuple(found))


@dataclass(frozen=True, slots=True)
class _Comparison:
    """What is compared, as `diff` was asked; chunks and codecs are those of two stores."""

    data: bool
    metadata: bool
    has_chunks: bool
    advance: Progress | None

    def of_groups(self, left: Mapping[str, xr.Dataset], right: Mapping[str, xr.Dataset]) -> Iterator[Difference]:
        for path in dict.fromkeys([*left, *right]):
            if path not in left or path not in right:
                yield Difference("group", path, f"is only in the {'first' if path in left else 'second'}")
                continue
            a, b = left[path], right[path]
            if self.metadata:
                yield from _attributes("attribute", path, a.attrs, b.attrs)
            for name in dict.fromkeys([*a.variables, *b.variables]):
                where = f"{path.rstrip('/')}/{name}"
                if name not in a.variables or name not in b.variables:
                    side = "first" if name in a.variables else "second"
                    yield Difference("variable", where, f"is only in the {side}")
                    continue
                with locating(key=where):
                    yield from self.of_variables(where, name, a, b)

    def of_variables(self, where: str, name: Hashable, a: xr.Dataset, b: xr.Dataset) -> Iterator[Difference]:
        left, right = a.variables[name], b.variables[name]
        if (name in a.coords) != (name in b.coords):
            side = "first" if name in a.coords else "second"
            yield Difference("variable", where, f"is a coordinate only in the {side}")
        if self.metadata:
            yield from _attributes("attribute", where, left.attrs, right.attrs)
            sides = (_encoding(v, has_chunks=self.has_chunks) for v in (left, right))
            yield from _attributes("encoding", where, *sides)
        if _kind(left.dtype) != _kind(right.dtype):
            yield Difference("dtype", where, f"{left.dtype} / {right.dtype}")
        if left.dims != right.dims or left.shape != right.shape:
            sides_text = (", ".join(f"{d}: {n}" for d, n in v.sizes.items()) or "none" for v in (left, right))
            yield Difference("dimensions", where, " / ".join(sides_text))
        elif self.data:
            unequal = unequal_values(left, right, self.advance)
            if unequal is not None:
                yield Difference("values", where, _described(unequal, left, a))


def _kind(dtype: Any) -> Any:
    """What of a dtype is stored; how text is held, and in which unit times are decoded, the reader chooses."""
    if dtype.kind in "OTU":
        return "text"
    if dtype.kind in "mM":
        return dtype.kind
    return dtype.newbyteorder("=") if isinstance(dtype, np.dtype) else str(dtype)


def _described(unequal: Unequal, variable: xr.Variable, ds: xr.Dataset) -> str:
    place = ", ".join(_label(ds, dim, i) for dim, i in zip(variable.dims, unequal.first, strict=True))
    at = f", first at {place}" if place else ""
    left, right = (one_line(label_text(side), 40) for side in unequal.sides)
    largest = "" if unequal.largest is None else f", largest difference {unequal.largest:g}"
    return f"differ in {unequal.n} of {variable.size}{at}: {left} / {right}{largest}"


def _label(ds: xr.Dataset, dim: Hashable, i: int) -> str:
    if dim in ds.xindexes and dim in ds.variables:
        return f"{dim}={one_line(label_text(ds.variables[dim][i : i + 1].values[0]), 40)}"
    return f"{dim}[{i}]"


def _attributes(kind: Any, where: str, a: Mapping[Any, Any], b: Mapping[Any, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys([*a, *b]):
        left, right = (_shown(side, name) for side in (a, b))
        if left != right:
            yield Difference(kind, where, f"{name}: {left} / {right}")


def _shown(side: Mapping[Any, Any], name: Any) -> str:
    """One side of a comparison as text: what is the same to JSON is the same."""
    if name not in side:
        return "absent"
    value = json_value(side[name])
    if isinstance(value, list) and len(value) == 1:
        value = value[0]  # netCDF has no lists of one
    return one_line(repr(value), 80)


def _encoding(variable: xr.Variable, *, has_chunks: bool) -> dict[str, Any]:
    """What of an encoding changes what is stored; a missing value that is NaN goes without saying."""
    encoding = variable.encoding
    found = {key: encoding[key] for key in _CF if encoding.get(key) is not None}
    if "dtype" in found:
        found["dtype"] = "string" if variable.dtype.kind in "OTU" else _dtype_text(found["dtype"])
    if isinstance(found.get("units"), str):
        found["units"] = units_as_written(found["units"])
    for key in MARKERS:
        value = found.get(key)
        if isinstance(value, float | np.floating) and np.isnan(value):
            del found[key]
    if has_chunks:
        found |= {key: encoding[key] for key in ("chunks", "shards") if encoding.get(key) is not None}
        found["codecs"] = " ".join(encoding_texts(encoding))
    return found


def _dtype_text(dtype: Any) -> str:
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        return str(dtype)

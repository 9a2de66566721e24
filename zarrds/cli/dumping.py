"""The values of a variable as text, CSV and CDL, block by block."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import zarrds
from zarrds.cli.terminal import print_text
from zarrds.datasets.description.cdl import cdl_name, cdl_value
from zarrds.display.text import one_line, width
from zarrds.engine.blocks import block_shape, blocks

__all__ = ["csv_text", "dump_cdl", "dump_csv", "dump_text", "elements_of", "levels_of", "print_csv_line", "value_text"]

_PER_LINE = 10


def dump_text(array: xr.DataArray) -> None:
    """Print a table of two dimensions for each position along the others; of one dimension a line for each label."""
    if array.ndim == 0:
        print_text(value_text(array.values[()]))
        return
    outer = array.shape[:-2]
    for key in np.ndindex(*outer):
        part = array[key]
        if key:
            places = zip(array.dims, key, strict=False)
            labels = (f"{dim}={value_text(_labels(array, dim, slice(i, i + 1))[0])}" for dim, i in places)
            print_text(f"{', '.join(labels)}:")
        if part.ndim == 1:
            _print_lines(part)
        else:
            _print_table(part)


def _print_lines(array: xr.DataArray) -> None:
    dim = array.dims[0]
    for rows in _rows(array):
        labels, values = _labels(array, dim, rows), elements_of(array[rows])
        for label, value in zip(labels, values, strict=True):
            print_text(f"{value_text(label)}  {value_text(value)}")


def _print_table(array: xr.DataArray) -> None:
    """A block of rows at a time; its columns are as wide as its cells."""
    down, across = array.dims
    header = ["", *map(value_text, _labels(array, across, slice(0, array.shape[1])))]
    for rows in _rows(array):
        labels, values = _labels(array, down, rows), elements_of(array[rows])
        cells = [list(map(value_text, [label, *line])) for label, line in zip(labels, values, strict=True)]
        table = [header, *cells] if rows.start == 0 else cells
        widths = [max(map(width, column)) for column in zip(*table, strict=True)]
        for line in table:
            print_text("  ".join(c + " " * (w - width(c)) for c, w in zip(line, widths, strict=True)).rstrip())


def _rows(array: xr.DataArray) -> Iterator[slice]:
    """Slices along the first dimension that fit into memory."""
    n_rows = block_shape(array.shape, None, array.dtype.itemsize)[0]
    for start in range(0, array.shape[0], n_rows):
        yield slice(start, min(start + n_rows, array.shape[0]))


def dump_csv(array: xr.DataArray, name: str) -> None:
    """Print a line for each value, with the labels of its place before it, or positions; of a MultiIndex its levels."""
    levels = [levels_of(array, dim) for dim in array.dims]
    names = [level for each in levels for level in each]
    axes = [axis for axis, each in enumerate(levels) for _ in each]
    print_csv_line([*map(str, names), name])
    for key in blocks(array.shape, block_shape(array.shape, None, array.dtype.itemsize)):
        labels = [_labels(array, level, key[axis]) for axis, level in zip(axes, names, strict=True)]
        values = elements_of(array[key])
        for place in np.ndindex(*values.shape):
            before = (each[place[axis]] for axis, each in zip(axes, labels, strict=True))
            print_csv_line(map(csv_text, [*before, values[place]]))


def print_csv_line(cells: Iterable[str]) -> None:
    """Print one line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    print_text(line.getvalue(), end="")


def dump_cdl(raw: xr.Dataset, source: str, name: str, positions: Mapping[str, Any]) -> None:
    """Print what ``ncdump -c -v`` does: the header, then values as they are stored, also of coordinates."""
    names = [name, *(dim for dim in raw[name].dims if dim in raw.variables)]
    chosen = raw[names].isel(positions, missing_dims="ignore")
    print_text(zarrds.info(chosen).cdl(source).removesuffix("}") + "data:")
    for variable in dict.fromkeys([*chosen.coords, *chosen.data_vars]):
        if variable not in levels_of(chosen, variable):
            continue  # tuples of the levels, which xarray makes of them; they are not stored
        array = chosen[variable]
        fill_value = array.attrs.get("_FillValue")
        texts = (
            _cdl_element(value, array.dtype, fill_value)
            for key in blocks(array.shape, block_shape(array.shape, None, array.dtype.itemsize))
            for value in array[key].values.ravel()
        )
        print_text(f"\n {cdl_name(str(variable))} = ", end="")
        for i, text in enumerate(texts):
            print_text(("" if i == 0 else ", " if i % _PER_LINE else ",\n    ") + text, end="")
        print_text(" ;")
    print_text("}")


def _cdl_element(value: Any, dtype: np.dtype[Any], fill_value: Any = None) -> str:
    if dtype.names:
        return f"{{{', '.join(_cdl_element(value[name], dtype[name]) for name in dtype.names)}}}"
    if np.isscalar(fill_value) and (value == fill_value or (value != value and fill_value != fill_value)):
        return "_"
    if dtype.kind in "biu":
        return str(int(value))
    if dtype.kind == "f" and not np.isfinite(value):
        return cdl_value(value)
    if dtype.kind in "fc":
        return f"{value:.{7 if dtype.itemsize <= 4 else 15}g}"
    return cdl_value(value) if dtype.kind in "OSTU" else cdl_value(str(value))


def _labels(array: xr.DataArray, name: Any, rows: slice) -> Sequence[Any]:
    """Labels along a dimension, or those of a level of a MultiIndex; positions where there are none."""
    if name in array.coords and array[name].ndim == 1:
        return list(elements_of(array[name][rows]))
    return range(rows.start, rows.stop)


def levels_of(array: xr.DataArray | xr.Dataset, dim: Any) -> list[Any]:
    """What the labels along a dimension are named: the levels of a MultiIndex, else the dimension."""
    index = array.xindexes.get(dim)
    return list(index.index.names) if isinstance(index, xr.indexes.PandasMultiIndex) else [dim]


def elements_of(array: xr.DataArray) -> np.ndarray[Any, Any]:
    """The values, loaded; those of pandas' own dtypes as objects: NumPy would drop zones and round large integers."""
    if isinstance(array.variable.dtype, np.dtype):
        return array.values
    found = np.empty(array.shape, object)
    found[:] = list(array.data)
    return found


def csv_text(value: Any) -> str:
    """One value in a cell of CSV: as it is shown, but text as it is, of any length and number of lines."""
    return str(value) if isinstance(value, str) else value_text(value)


def value_text(value: Any) -> str:
    """One value as it is shown: times as ISO, numbers as NumPy writes them."""
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, np.timedelta64):
        return str(pd.Timedelta(value))
    if isinstance(value, tuple):  # a label of several levels
        return ", ".join(map(value_text, value))
    return one_line(value.item() if isinstance(value, np.generic) and value.dtype.kind not in "fc" else value, 10_000)

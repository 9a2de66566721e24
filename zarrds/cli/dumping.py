"""The values of a variable as text, CSV and CDL, block by block."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import zarrds
from zarrds.cli.terminal import print_text
from zarrds.datasets.description.cdl import cdl_name, cdl_value
from zarrds.display.text import one_line, width
from zarrds.engine.blocks import block_shape, blocks

__all__ = ["dump_cdl", "dump_csv", "dump_text", "print_csv_line", "value_text"]

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
            labels = (f"{dim}={_labels(array, dim, slice(i, i + 1))[0]}" for dim, i in places)
            print_text(f"{', '.join(labels)}:")
        if part.ndim == 1:
            _print_lines(part)
        else:
            _print_table(part)


def _print_lines(array: xr.DataArray) -> None:
    dim = array.dims[0]
    for rows in _rows(array):
        labels, values = _labels(array, dim, rows), array[rows].values
        for label, value in zip(labels, values, strict=True):
            print_text(f"{label}  {value_text(value)}")


def _print_table(array: xr.DataArray) -> None:
    """A block of rows at a time; its columns are as wide as its cells."""
    down, across = array.dims
    header = ["", *_labels(array, across, slice(0, array.shape[1]))]
    for rows in _rows(array):
        labels, values = _labels(array, down, rows), array[rows].values
        cells = [[label, *map(value_text, line)] for label, line in zip(labels, values, strict=True)]
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
    """Print a line for each value, with the labels (or positions) of its place before it."""
    print_csv_line([*map(str, array.dims), name])
    for key in blocks(array.shape, block_shape(array.shape, None, array.dtype.itemsize)):
        labels = [_labels(array, dim, s) for dim, s in zip(array.dims, key, strict=True)]
        values = array[key].values
        for place in np.ndindex(*values.shape):
            print_csv_line([*(each[i] for each, i in zip(labels, place, strict=True)), value_text(values[place])])


def print_csv_line(cells: Iterable[str]) -> None:
    """Print one line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    print_text(line.getvalue(), end="")


def dump_cdl(raw: xr.Dataset, source: str, name: str, positions: Mapping[str, Any]) -> None:
    """Print what ``ncdump -v`` does: the header, then values as they are stored."""
    names = [name, *(dim for dim in raw[name].dims if dim in raw.variables)]
    chosen = raw[names].isel(positions, missing_dims="ignore")
    print_text(zarrds.info(chosen).cdl(source).removesuffix("}") + "data:")
    for variable in dict.fromkeys([*chosen.coords, *chosen.data_vars]):
        array = chosen[variable]
        texts = (
            _cdl_element(value, array.dtype)
            for key in blocks(array.shape, block_shape(array.shape, None, array.dtype.itemsize))
            for value in array[key].values.ravel()
        )
        print_text(f"\n {cdl_name(str(variable))} = ", end="")
        for i, text in enumerate(texts):
            print_text(("" if i == 0 else ", " if i % _PER_LINE else ",\n    ") + text, end="")
        print_text(" ;")
    print_text("}")


def _cdl_element(value: Any, dtype: np.dtype[Any]) -> str:
    if dtype.names:
        return f"{{{', '.join(_cdl_element(value[name], dtype[name]) for name in dtype.names)}}}"
    if dtype.kind in "biu":
        return str(int(value))
    if dtype.kind in "fc":
        return f"{value:.{7 if dtype.itemsize <= 4 else 15}g}"
    return cdl_value(value) if dtype.kind in "OSTU" else cdl_value(str(value))


def _labels(array: xr.DataArray, dim: Any, rows: slice) -> list[str]:
    """Labels along a dimension, or positions where it has none."""
    if dim in array.coords and array[dim].ndim == 1:
        return [value_text(label) for label in array[dim][rows].values]
    return [str(i) for i in range(rows.start, rows.stop)]


def value_text(value: Any) -> str:
    """One value as it is shown: times as ISO, numbers as NumPy writes them."""
    if isinstance(value, np.datetime64):
        return "NaT" if np.isnat(value) else pd.Timestamp(value).isoformat()
    if isinstance(value, np.timedelta64):
        return str(pd.Timedelta(value))
    return one_line(value.item() if isinstance(value, np.generic) and value.dtype.kind not in "fc" else value, 10_000)

"""``find``: where a condition holds."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import xarray as xr

import zarrds
from zarrds.cli.dumping import csv_text, elements_of, levels_of, print_csv_line, value_text
from zarrds.cli.options import Subparsers, add_command, add_selection, add_store, as_labels, opened, selection_of
from zarrds.cli.progress import wants_bar
from zarrds.cli.terminal import message, print_page, print_text
from zarrds.datasets.converting.selection import positions_of
from zarrds.display.page import Page, Table

__all__ = ["add_commands"]

# lines of a table, unless a limit is given
_SHOWN = 50


def add_commands(commands: Subparsers) -> None:
    """Add the commands of this module."""
    about = "elements of which a condition holds; chunks that statistics rule out are not read"
    parser = add_command(commands, "find", find, about)
    add_store(parser)
    parser.add_argument("query", metavar="QUERY", help="for example 't2m > 310 and lat > 50'")
    parser.add_argument("--columns", metavar="VAR", nargs="+", help="what to show; what the query names unless said")
    add_selection(parser)
    parser.add_argument("--limit", metavar="N", type=int, help="the first N")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--count", action="store_true", help="only how many")
    form.add_argument("--csv", action="store_true", help="as CSV, all of them")
    form.add_argument("--explain", action="store_true", help="only how many chunks would be read")


def find(args: argparse.Namespace) -> int:
    """``zarrds find``."""
    store: Any = opened(args)
    sel, isel = selection_of(args)
    with xr.open_dataset(store, engine="zarrds", group=args.group) as ds:
        chosen = ds.isel(positions_of(ds, as_labels(ds, sel), isel)) if sel or isel else ds
        if args.count or args.explain:
            options = {"count": args.count, "explain": args.explain, "limit": args.limit}
            print_text(str(zarrds.find(chosen, args.query, progress=wants_bar(), **options)))
            return 0
        found = zarrds.find(chosen, args.query, args.columns, limit=args.limit, progress=wants_bar())
        names, columns = _columns(found)
        if args.csv:
            _print_csv(names, columns)
        else:
            _print_table(args.query, names, columns)
    return 0


def _columns(found: xr.Dataset) -> tuple[list[str], list[np.ndarray[Any, Any]]]:
    """Labels, or positions where there are no labels, and then the values."""
    dim = found.variables[[*found.data_vars, *found.coords][-1]].dims[0]  # of positions, where there are any
    along = [name for name in found.variables if found.variables[name].dims == (dim,)]
    positions = {name for name in along if str(name).endswith("_index")}
    shown = [name for name in along if not (name in positions and str(name).removesuffix("_index") in along)]
    shown = [name for name in shown if name in levels_of(found, name)]  # not the tuples of levels
    order = [name for name in shown if name in found.coords] + [name for name in shown if name not in found.coords]
    return list(map(str, order)), [elements_of(found[name]) for name in order]


def _print_csv(names: list[str], columns: list[np.ndarray[Any, Any]]) -> None:
    print_csv_line(names)
    for values in zip(*columns, strict=True):
        print_csv_line(map(csv_text, values))


def _print_table(query: str, names: list[str], columns: list[np.ndarray[Any, Any]]) -> None:
    n = columns[0].size
    few = [column[:_SHOWN] for column in columns]
    rows = tuple(tuple(map(value_text, values)) for values in zip(*few, strict=True))
    heading = f"{query}: {n} {'match' if n == 1 else 'matches'}"
    print_page(Page(heading, (), (Table("", tuple(names), rows),)))
    if n > _SHOWN:
        message(f"the first {_SHOWN} of {n} are shown; --csv gives all of them")

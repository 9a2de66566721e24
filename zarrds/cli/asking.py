"""``find`` and ``stats``: where a condition holds, and what is noted of chunks."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from itertools import islice
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

# what `stats` shows of chunks
_FACTS = ("min", "max", "mean", "sum", "count")


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

    parser = add_command(commands, "stats", stats, "smallest and largest values, means and counts, as noted of chunks")
    add_store(parser)
    parser.add_argument(
        "variable", metavar="VAR", nargs="?", help="a line for each chunk of it; all variables unless said"
    )
    parser.set_defaults(rest="variable")
    parser.add_argument("--csv", action="store_true", help="as CSV, all of them")


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


def stats(args: argparse.Namespace) -> int:
    """``zarrds stats``."""
    store = opened(args)
    if args.variable is None:
        found = [node.to_dataset() for node in zarrds.statistics(store, group=args.group).children.values()]
        names, n, what = ["variable", "chunks", "known", *_FACTS], len(found), "variable"
        rows: Iterable[list[Any]] = ([each.attrs["variable"], *_in_all(each)] for each in found)
    else:
        found = [zarrds.statistics(store, args.variable, group=args.group).load()]
        names, n, what = [*_places(found[0]), *_FACTS], found[0]["known"].size, "chunk"
        rows = _by_chunk(found[0])
    if args.csv:
        print_csv_line(names)
        for row in rows:
            print_csv_line("" if value is None else csv_text(value) for value in row)
        return 0
    few = tuple(tuple("" if value is None else value_text(value) for value in row) for row in islice(rows, _SHOWN))
    print_page(Page(f"{args.variable or args.store}: {n} {what}{'s' * (n != 1)}", (), (Table("", tuple(names), few),)))
    if n > _SHOWN:
        message(f"the first {_SHOWN} of {n} are shown; --csv gives all of them")
    if not all(each["known"].values.all() for each in found):
        message("of some chunks nothing is noted, or they were changed since; zarrds index notes it")
    return 0


def _in_all(found: xr.Dataset) -> list[Any]:
    """Of the chunks of a variable: how many there are, of how many something is noted, and what that is together."""
    known, count = found["known"].values, found["count"].values
    low, high = (found[name].values[known & (count != 0)] for name in ("min", "max"))
    ends = [low.min(), high.max()] if low.size else [None, None]
    n = count[known].sum() if known.any() and (count[known] >= 0).all() else None
    total = found["sum"].values[known & (count > 0)].sum() if n and "sum" in found else None
    return [known.size, known.sum(), *ends, None if total is None else total / n, total, n]


def _places(found: xr.Dataset) -> list[str]:
    """What tells chunks from each other: their first and last labels; their numbers where there are none."""
    names: list[str] = []
    for dim in map(str, found["known"].dims):
        ends = [f"{dim.removesuffix('_chunk')}_{end}" for end in ("first", "last")]
        names += ends if ends[0] in found.coords else [dim]
    return names


def _by_chunk(found: xr.Dataset) -> Iterator[list[Any]]:
    """What is noted of each chunk, behind its place."""
    dims = found["known"].dims
    along = [(found[name].values, dims.index(found[name].dims[0])) for name in _places(found)]
    facts = [found[name].values if name in found else None for name in _FACTS]
    for chunk in np.ndindex(found["known"].shape):
        is_known = found["known"].values[chunk]
        noted = [None if values is None or not is_known else values[chunk] for values in facts]
        yield [labels[chunk[axis]] for labels, axis in along] + noted


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

"""``info``, ``tree`` and ``dump``: what a store holds."""

from __future__ import annotations

import argparse
from typing import Any

import xarray as xr

import zarrds
from zarrds.cli.dumping import dump_cdl, dump_csv, dump_text
from zarrds.cli.options import Subparsers, add_command, add_selection, add_store, as_labels, opened, selection_of
from zarrds.cli.terminal import print_json, print_page, print_text
from zarrds.datasets.converting.selection import positions_of
from zarrds.datasets.description.of_store import unknown_variable
from zarrds.errors import SelectionError

__all__ = ["add_commands"]


def add_commands(commands: Subparsers) -> None:
    """Add the commands of this module."""
    parser = add_command(commands, "info", info, "dimensions, coordinates, variables and attributes of a store")
    parser.add_argument("store", metavar="STORE", nargs="?", help="a path or a URL; without it, what is installed")
    parser.add_argument("variables", metavar="VAR", nargs="*", help="only these")
    parser.set_defaults(rest="variables")
    parser.add_argument("--group", metavar="PATH", help="a group below the root")
    parser.add_argument("--stored", action="store_true", help="bytes and chunks that are there (lists the store)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--cdl", action="store_true", help="as ncdump -h")

    parser = add_command(commands, "tree", tree, "groups and arrays of a store, as a tree")
    add_store(parser)

    parser = add_command(commands, "dump", dump, "values of a variable")
    add_store(parser)
    parser.add_argument("variable", metavar="VAR", help="whose values")
    add_selection(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="a line for each value, with its labels")
    form.add_argument("--cdl", action="store_true", help="as ncdump -c -v: values as they are stored")


def info(args: argparse.Namespace) -> int:
    """``zarrds info``."""
    shown: zarrds.Info | zarrds.Versions
    if args.store is None:
        if args.stored or args.cdl or args.group is not None:
            raise SelectionError("--stored, --cdl and --group are of a store", expected="zarrds info STORE")
        shown = zarrds.info()
    else:
        shown = zarrds.info(opened(args), args.variables or None, group=args.group, stored=args.stored)
    if args.json:
        print_json(shown.to_dict())
    elif args.cdl and isinstance(shown, zarrds.Info):
        print_text(shown.cdl())
    else:
        print_page(shown.page())
    return 0


def tree(args: argparse.Namespace) -> int:
    """``zarrds tree``."""
    print_text(zarrds.open_group(opened(args), path=args.group or "").tree())
    return 0


def dump(args: argparse.Namespace) -> int:
    """``zarrds dump``."""
    store: Any = opened(args)
    sel, isel = selection_of(args)
    with xr.open_dataset(store, engine="zarrds", group=args.group) as ds:
        if args.variable not in ds.variables:
            raise unknown_variable(args.variable, [str(name) for name in ds.variables], store.path)
        array = ds[args.variable]
        positions = positions_of(array.to_dataset(name="values of it"), as_labels(ds, sel), isel)
        chosen = array.isel(positions)
        if args.cdl:
            with xr.open_dataset(store, engine="zarrds", group=args.group, decode_cf=False) as raw:
                dump_cdl(raw, store.path.rstrip("/").rpartition("/")[2].partition(".")[0], args.variable, positions)
        elif args.csv:
            dump_csv(chosen, args.variable)
        else:
            dump_text(chosen)
    return 0

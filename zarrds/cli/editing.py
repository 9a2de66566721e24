"""``attrs``, ``rename``, ``drop`` and ``index``: edits in place."""

from __future__ import annotations

import argparse

import zarrds
from zarrds.cli.options import Subparsers, add_command, add_store, opened
from zarrds.cli.progress import wants_bar
from zarrds.cli.terminal import message, print_json, print_text
from zarrds.cli.words import new_names, settings
from zarrds.datasets.description.of_store import unknown_variable
from zarrds.datasets.description.plain import json_value
from zarrds.display.text import one_line
from zarrds.errors import EncodingError

__all__ = ["add_commands"]


def add_commands(commands: Subparsers) -> None:
    """Add the commands of this module."""
    parser = add_command(commands, "attrs", attrs, "attributes of a group or a variable: show, set, delete")
    add_store(parser)
    parser.add_argument("variable", metavar="VAR", nargs="?", help="whose; those of the group without it")
    parser.set_defaults(rest="variable")
    parser.add_argument(
        "--set", action="extend", nargs="+", default=[], metavar="NAME=VALUE", help="a value is JSON, or else text"
    )
    parser.add_argument("--delete", action="extend", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--json", action="store_true", help="as JSON")

    parser = add_command(commands, "rename", rename, "rename variables and dimensions, in one step")
    add_store(parser)
    parser.add_argument("names", metavar="OLD=NEW", nargs="+", help="names of variables or dimensions")

    parser = add_command(commands, "drop", drop, "remove variables and their data, in one step")
    add_store(parser)
    parser.add_argument("names", metavar="VAR", nargs="+", help="which")

    about = "note how labels are sorted and what is in each chunk, to search and query them where they lie"
    parser = add_command(commands, "index", index, about)
    add_store(parser)
    parser.add_argument("names", metavar="VAR", nargs="*", help="all variables unless said")
    parser.set_defaults(rest="names")


def attrs(args: argparse.Namespace) -> int:
    """``zarrds attrs``."""
    store = opened(args)
    is_edit = bool(args.set or args.delete)
    changed = settings(args.set)
    if both := sorted(set(changed) & set(args.delete)):
        raise EncodingError("an attribute cannot be set and deleted at once", found=both)
    if args.variable is not None:
        there = [v.name for v in zarrds.info(store, group=args.group).variables]
        if args.variable not in there:
            raise unknown_variable(args.variable, there, store.path)
    if is_edit:
        zarrds.update_attrs(store, changed, args.variable, delete=args.delete, group=args.group)
    if not is_edit:
        info = zarrds.info(store, args.variable, group=args.group)
        shown = info.attributes if args.variable is None else info.variables[0].attributes
        if args.json:
            print_json(json_value(shown))
        else:
            for name, value in shown.items():
                print_text(f"{one_line(name)} = {one_line(value, 10_000)}")
    return 0


def rename(args: argparse.Namespace) -> int:
    """``zarrds rename``."""
    zarrds.rename(opened(args), new_names(args.names), group=args.group)
    return 0


def drop(args: argparse.Namespace) -> int:
    """``zarrds drop``."""
    zarrds.drop_vars(opened(args), args.names, group=args.group)
    return 0


def index(args: argparse.Namespace) -> int:
    """``zarrds index``."""
    names = list(dict.fromkeys(args.names))
    zarrds.index(opened(args), names or None, group=args.group, progress=wants_bar())
    message(f"indexed {', '.join(names) or 'all variables'}")
    return 0

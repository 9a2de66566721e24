"""Options that several commands have, and what they mean."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import xarray as xr

from zarrds.cli.words import parse_isel, parse_sel, settings
from zarrds.errors import EncodingError
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store

__all__ = [
    "Run",
    "Subparsers",
    "add_command",
    "add_selection",
    "add_store",
    "as_labels",
    "opened",
    "read_encoding",
    "selection_of",
    "storage_options",
]

Run: TypeAlias = Callable[[argparse.Namespace], int]
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(commands: Subparsers, name: str, run: Run, text: str) -> argparse.ArgumentParser:
    """A new command; `run` gets what was parsed and gives the exit status."""
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    parser.set_defaults(run=run)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument(
        "--storage-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for URLs, an option of the file system; may be given again",
    )
    return parser


def add_store(parser: argparse.ArgumentParser, *, group: bool = True) -> None:
    """The store, and a group in it."""
    parser.add_argument("store", metavar="STORE", help="a path or a URL")
    if group:
        parser.add_argument("--group", metavar="PATH", help="a group below the root")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """``--sel`` and ``--isel``."""
    parser.add_argument(
        "--sel",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=LABELS",
        help="by label: time=2019-03..2019-04, lat=51.5, member=1,3",
    )
    parser.add_argument(
        "--isel", action="extend", nargs="+", default=[], metavar="NAME=POSITIONS", help="by position: x=0:10, y=-1"
    )


def selection_of(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``--sel`` and ``--isel`` ask for."""
    return parse_sel(args.sel), parse_isel(args.isel)


def storage_options(args: argparse.Namespace) -> Mapping[str, Any] | None:
    """What ``--storage-option`` asks for, None if it was not given."""
    return settings(args.storage_option) or None


def opened(args: argparse.Namespace) -> Store:
    """The store that was named."""
    return as_store(args.store, storage_options(args))


def read_encoding(path: str | None) -> dict[str, dict[str, Any]] | None:
    """What a file of ``--encoding`` asks for."""
    if path is None:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except OSError as error:
        raise EncodingError(f"the encoding cannot be read: {error.strerror or error}", path=path) from error
    except (ValueError, RecursionError) as error:
        raise EncodingError(f"the encoding cannot be read: not JSON: {error}", path=path) from error
    if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
        raise EncodingError(
            "not an encoding", path=path, expected='{"VARIABLE": {"chunks": [24, 10], …}, …}', found=f"{value!r:.80}"
        )
    return value


def as_labels(ds: xr.Dataset, sel: Mapping[str, Any]) -> dict[str, Any]:
    """Selections whose numbers are text where the labels are times or text: 2019 may be a year."""
    return {name: label if _is_number(ds, name) else _texts(label) for name, label in sel.items()}


def _is_number(ds: xr.Dataset, name: str) -> bool:
    return name not in ds.variables or ds.variables[name].dtype.kind in "iufb"


def _texts(label: Any) -> Any:
    if isinstance(label, slice):
        return slice(_texts(label.start), _texts(label.stop))
    if isinstance(label, list):
        return [_texts(each) for each in label]
    return label if label is None else str(label)

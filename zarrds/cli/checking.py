"""``verify``, ``report`` and ``diff``: exit status 1 where something is not as it should be."""

from __future__ import annotations

import argparse

import zarrds
from zarrds.cli.options import Subparsers, add_command, add_store, opened, storage_options
from zarrds.cli.progress import wants_bar
from zarrds.cli.terminal import message, print_json, print_text

__all__ = ["add_commands"]


def add_commands(commands: Subparsers) -> None:
    """Add the commands of this module."""
    parser = add_command(commands, "verify", verify, "read all of a store and say what is wrong; status 1 if anything")
    add_store(parser, group=False)
    parser.add_argument("--repair", action="store_true", help="mend what can be mended without touching a chunk")
    parser.add_argument("--json", action="store_true", help="as JSON")

    parser = add_command(commands, "report", report, "one HTML page of a store: tables, quicklooks, maps of its chunks")
    add_store(parser)
    parser.add_argument("variables", metavar="VAR", nargs="*", help="only these")
    parser.set_defaults(rest="variables")
    parser.add_argument("-o", "--output", metavar="FILE.html", default="report.html", help="report.html unless said")
    parser.add_argument("--overwrite", action="store_true", help="replace the file")

    parser = add_command(
        commands, "diff", diff, "where two stores, or files that xarray opens, differ; status 1 if they do"
    )
    parser.add_argument("left", metavar="A", help="a store or a file, by path; a store also by URL")
    parser.add_argument("right", metavar="B", help="the same")
    parser.add_argument("--group", metavar="PATH", help="only this group of both")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--data", action="store_true", help="no attributes and encodings")
    part.add_argument("--metadata", action="store_true", help="no values")
    parser.add_argument("--json", action="store_true", help="as JSON")


def report(args: argparse.Namespace) -> int:
    """``zarrds report``."""
    zarrds.report(
        opened(args),
        args.output,
        group=args.group,
        variables=args.variables or None,
        overwrite=args.overwrite,
        progress=wants_bar(),
    )
    message(f"wrote {args.output}")
    return 0


def verify(args: argparse.Namespace) -> int:
    """``zarrds verify``."""
    report = zarrds.verify(opened(args), repair=args.repair, progress=wants_bar())
    if args.json:
        print_json(report.to_dict())
    else:
        print_text(str(report))
    return 0 if all(finding.mended for finding in report.findings) else 1


def diff(args: argparse.Namespace) -> int:
    """``zarrds diff``."""
    found = zarrds.diff(
        args.left,
        args.right,
        group=args.group,
        data=not args.metadata,
        metadata=not args.data,
        progress=wants_bar(),
        storage_options=storage_options(args),
    )
    if args.json:
        print_json(found.to_dict())
    else:
        print_text(str(found))
    return 0 if found.same else 1

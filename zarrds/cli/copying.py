"""``copy`` and ``rechunk``: a store into another, with the same chunks or others."""

from __future__ import annotations

import argparse
from typing import Any

import zarrds
from zarrds.cli.options import Subparsers, add_command, add_store, opened, read_encoding, storage_options
from zarrds.cli.progress import wants_bar
from zarrds.cli.terminal import print_text
from zarrds.cli.words import chunk_sizes
from zarrds.storage.locate import as_store

__all__ = ["add_commands"]


def add_commands(commands: Subparsers) -> None:
    """Add the commands of this module."""
    parser = add_command(commands, "copy", copy, "copy a store, a group or some variables, without decoding")
    _add_places(parser)

    parser = add_command(commands, "rechunk", rechunk, "copy into other chunks, shards or codecs, in bounded memory")
    _add_places(parser)
    for name in ("chunks", "shards"):
        parser.add_argument(f"--{name}", metavar="DIM=SIZE,…", help="elements by dimension, as time=24,lat=-1 (all)")
    parser.add_argument("--encoding", metavar="FILE.json", help="chunks, shards, compressors, … of single variables")
    parser.add_argument("--max-memory", metavar="SIZE", default="1GB", help="as 500MB or 2GiB (default: 1GB)")
    parser.add_argument("--plan", action="store_true", help="show what would be done, and do nothing")


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(goes_on=True)
    add_store(parser)
    parser.add_argument("target", metavar="TARGET", help="a path or a URL, where nothing is yet")
    parser.add_argument(
        "-v", "--variable", action="append", metavar="VAR", dest="variables", help="only this one; may be given again"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is at the target")
    parser.add_argument("--statistics", action="store_true", default=None, help="note what is in each chunk, for find")
    parser.add_argument("--workers", type=int, metavar="N", help="threads; as many as cores unless said")


def copy(args: argparse.Namespace) -> int:
    """``zarrds copy``."""
    zarrds.copy(opened(args), as_store(args.target, storage_options(args)), **_common(args), **_writing(args))
    return 0


def rechunk(args: argparse.Namespace) -> int:
    """``zarrds rechunk``."""
    options: dict[str, Any] = {
        **_common(args),
        "chunks": chunk_sizes(args.chunks) if args.chunks else None,
        "shards": chunk_sizes(args.shards) if args.shards else None,
        "encoding": read_encoding(args.encoding),
        "max_memory": args.max_memory,
    }
    if args.plan:
        print_text(str(zarrds.rechunk_plan(opened(args), **options)))
        return 0
    zarrds.rechunk(opened(args), as_store(args.target, storage_options(args)), **options, **_writing(args))
    return 0


def _common(args: argparse.Namespace) -> dict[str, Any]:
    return {"group": args.group, "variables": args.variables, "workers": args.workers}


def _writing(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "mode": "w" if args.overwrite else "w-",
        "statistics": args.statistics,
        "progress": wants_bar(),
    }

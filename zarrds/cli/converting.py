"""``convert`` and ``export``: files to stores and back."""

from __future__ import annotations

import argparse
from typing import Any

import xarray as xr

import zarrds
from zarrds.cli.options import (
    Subparsers,
    add_command,
    add_selection,
    add_store,
    as_labels,
    opened,
    read_encoding,
    selection_of,
    storage_options,
)
from zarrds.cli.progress import wants_bar
from zarrds.cli.terminal import message
from zarrds.cli.words import chunk_sizes

__all__ = ["add_commands"]


def add_commands(commands: Subparsers) -> None:
    """Add the commands of this module."""
    parser = add_command(commands, "convert", convert, "netCDF, GRIB, VCF or Zarr to a store")
    parser.add_argument("inputs", metavar="IN", nargs="+", help="files, or stores by path or URL")
    parser.add_argument("target", metavar="OUT", help="the store, a path or a URL")
    parser.add_argument("--concat", metavar="DIM", help="join the inputs along a dimension, in the order given")
    parser.add_argument("--group", metavar="PATH", help="only this group")
    parser.add_argument("--chunks", type=chunk_sizes, metavar="DIM=N,…", help="such as time=24,lat=-1; -1 is all")
    parser.add_argument("--encoding", metavar="FILE.json", help="encodings of variables, as of zarrds.save")
    codec = parser.add_mutually_exclusive_group()
    codec.add_argument("--deflate", type=int, choices=range(1, 10), metavar="1-9", help="compress with zlib")
    codec.add_argument("--zstd", type=int, choices=range(1, 10), metavar="1-9", help="compress with Zstandard")
    parser.add_argument("--zarr-format", type=int, choices=(2, 3), help="3 unless said")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--statistics", action="store_true", default=None, help="note what is in each chunk, for find")

    parser = add_command(commands, "export", export, "a store to a netCDF4 file")
    add_store(parser)
    parser.add_argument("path", metavar="OUT.nc", help="the file")
    parser.add_argument("-v", "--variable", action="append", metavar="VAR", help="only this one; may be given again")
    add_selection(parser)
    parser.add_argument("--deflate", type=int, default=1, choices=range(10), metavar="0-9", help="1 unless said")
    parser.add_argument("--overwrite", action="store_true", help="replace the file")


def convert(args: argparse.Namespace) -> int:
    """``zarrds convert``."""
    done = zarrds.convert(
        args.inputs,
        args.target,
        concat_dim=args.concat,
        group=args.group,
        chunks=args.chunks,
        encoding=read_encoding(args.encoding),
        compressors=_compressors(args.deflate, args.zstd, has_checksum=args.zarr_format != 2),
        zarr_format=args.zarr_format,
        overwrite=args.overwrite,
        statistics=args.statistics,
        progress=wants_bar(),
        storage_options=storage_options(args),
    )
    message(str(done))
    return 0


def _compressors(deflate: int | None, zstd: int | None, *, has_checksum: bool) -> list[dict[str, Any]] | None:
    """The codecs of ``encoding["compressors"]``: Blosc shuffles before it compresses, as nccopy -s -d does."""
    level, cname = (deflate, "zlib") if deflate is not None else (zstd, "zstd")
    if level is None:
        return None
    blosc: dict[str, Any] = {"name": "blosc", "configuration": {"cname": cname, "clevel": level, "shuffle": "shuffle"}}
    return [blosc, {"name": "crc32c"}] if has_checksum else [blosc]


def export(args: argparse.Namespace) -> int:
    """``zarrds export``."""
    store: Any = opened(args)
    sel, isel = selection_of(args)
    if sel:
        with xr.open_dataset(store, engine="zarrds", group=args.group) as ds:
            sel = as_labels(ds, sel)
    zarrds.export(
        store,
        args.path,
        group=args.group,
        variables=args.variable,
        sel=sel or None,
        isel=isel or None,
        deflate=args.deflate,
        overwrite=args.overwrite,
        progress=wants_bar(),
    )
    return 0

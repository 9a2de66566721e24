"""``zarrds``: the entry point."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches

import zarrds
from zarrds.cli.terminal import message, print_text, shown_warnings
from zarrds.errors import VariableNotFoundError, ZarrdsError

__all__ = ["main"]

_OVERWRITE = ("mode='w'", "overwrite=True")  # in messages, which speak to who writes Python
_EPILOG = "exit status: 0 done, 1 what was checked is not so (verify, diff), 2 wrong use or an error"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        What follows the name of the program; that of the process unless said.

    Returns
    -------
    int
        The exit status: 0 done, 1 what was checked is not so, 2 wrong use or an error.
    """
    try:
        return _run(_parser().parse_args(argv))
    except ZarrdsError as error:  # an option that cannot be read
        message(f"error: {error}")
        return 2
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else 2
    except BrokenPipeError:
        _close_stdout()
        return 0  # who reads has seen enough
    except KeyboardInterrupt:
        message("interrupted; nothing is left half-written")
        return 2


def _run(args: argparse.Namespace) -> int:
    try:
        with shown_warnings():
            status: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (ZarrdsError, OSError, MemoryError) as error:
        return _failed(error, args)
    except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError, ImportError) as error:
        return _failed(error, args)  # of xarray and the libraries behind it, for bad input
    return status


def _failed(error: BaseException, args: argparse.Namespace) -> int:
    if args.debug:
        traceback.print_exc()
    text = str(error) or type(error).__name__
    for parameter in _OVERWRITE:
        text = text.replace(parameter, "--overwrite")
    if isinstance(error, VariableNotFoundError) and isinstance(error.found, list) and error.mend is None:
        wanted = (error.key or "").rpartition("/")[2]
        near = get_close_matches(wanted, map(str, error.found), n=3, cutoff=0.5)
        text += f". Did you mean {' or '.join(map(repr, near))}?" if near else ""
    message(f"error: {text}")
    try:
        sys.stdout.flush()
    except OSError:  # that was the error
        _close_stdout()
    return 2


def _close_stdout() -> None:
    """Let nothing that is still buffered be written: Python would complain of it at the end."""
    with suppress(OSError, ValueError):  # where it is no stream of the process's own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Version(argparse.Action):
    """Prints the version; argparse's own would print before stdout is ours."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print_text(f"zarrds {zarrds.__version__}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    # here, where an interrupt is no traceback: they import xarray
    from zarrds.cli import asking, checking, converting, copying, editing, looking

    parser = argparse.ArgumentParser(
        prog="zarrds",
        description="Look at, check, convert and edit labelled datasets in Zarr stores.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and stop")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (looking, asking, checking, converting, copying, editing):
        module.add_commands(commands)
    return parser

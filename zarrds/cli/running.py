"""One command: its words read, its errors told in one line."""

from __future__ import annotations

import argparse
import os
import traceback
from collections.abc import Sequence

import zarrds
from zarrds.cli import asking, checking, converting, copying, editing, looking
from zarrds.cli.terminal import close_stdout, flush, message, prepare_stdout, print_text, shown_warnings
from zarrds.errors import StoreNotFoundError, ZarrdsError
from zarrds.storage.local.staging import remove_all

__all__ = ["run"]

_OVERWRITE = ("mode='w'", "overwrite=True")  # in messages, which speak to who writes Python
_GOES_ON = "; the same command goes on from what was done"
_EPILOG = "exit status: 0 done, 1 what was checked is not so (verify, diff), 2 wrong use or an error"


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command, as `zarrds.cli.main.main`, but for interrupts while nothing is done yet."""
    prepare_stdout()
    args: argparse.Namespace | None = None
    try:
        args = _parsed(argv)
        with shown_warnings():
            status: int = args.run(args)
        flush()
    except BrokenPipeError:
        close_stdout()
        return 0  # who reads has seen enough
    except KeyboardInterrupt:
        return _interrupted(args)
    except SystemExit as stop:  # argparse has said why
        return _ended(stop)
    except Exception as error:  # also those of xarray and the libraries behind it, for bad input
        return _interrupted(args) if _is_of_interrupt(error) else _failed(error, args)
    return status


def _is_of_interrupt(error: BaseException | None) -> bool:
    """Whether an interrupt was the cause: Python makes a RuntimeError of one that comes while a class is made.

    Not an error that came while an interrupt was dealt with, which would be hidden.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _interrupted(args: argparse.Namespace | None) -> int:
    remove_all()
    goes_on = args is not None and getattr(args, "goes_on", False)
    message(f"interrupted; nothing is left half-written{_GOES_ON if goes_on else ''}")
    return 2


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """What was typed; names that may be left out may also stand behind options, where argparse does not see them."""
    parser = _parser()
    args, left = parser.parse_known_args(argv)
    rest = getattr(args, "rest", None)
    if left and (rest is None or any(word.startswith("-") for word in left) or not _takes(args, rest, left)):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    return args


def _takes(args: argparse.Namespace, rest: str, left: list[str]) -> bool:
    given = getattr(args, rest)
    if isinstance(given, list):
        given.extend(left)
        return True
    if given is None and len(left) == 1:
        setattr(args, rest, left[0])
        return True
    return False


def _ended(stop: SystemExit) -> int:
    try:
        flush()
    except BrokenPipeError:
        close_stdout()
    except OSError as error:
        return _failed(error, None)
    return stop.code if isinstance(stop.code, int) else 2


def _failed(error: Exception, args: argparse.Namespace | None) -> int:
    if args is not None and args.debug:
        traceback.print_exc()
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and not isinstance(error, ZarrdsError):
        text = f"{error.strerror}: {error.filename!r}" if error.filename else error.strerror or text
    elif not isinstance(error, ZarrdsError | MemoryError):
        text = f"{type(error).__name__}: {text}. --debug shows where it came from"
    for parameter in _OVERWRITE:
        text = text.replace(parameter, "--overwrite")
    if isinstance(error, StoreNotFoundError) and error.path is not None and os.path.isfile(error.path):
        text = f"a file, and no Zarr store (in store {error.path!r}). zarrds convert makes a store of a file"
    message(f"error: {text}")
    try:
        flush()
    except OSError:  # that was the error
        close_stdout()
    return 2


class _Version(argparse.Action):
    """Prints the version; argparse's own would print before stdout is ours."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print_text(f"zarrds {zarrds.__version__}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
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

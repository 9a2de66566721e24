"""A process whose children change a store, and die or fail at the n-th file operation, or at any instant.

Reads one JSON object a line: ``{"root": …, "do": name of an action, "at": n, "how": "die" or an errno's name,
"exchange": …, "durable": …}``; for each, a child does it and a line says how that ended. With ``"for_ever"``, the child
does it again and again, forth and back, until it is killed, and its process id is printed first.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # the package without what else it imports: a small process has children ten times as fast
    package = types.ModuleType("zarrds")
    package.__path__ = [str(Path(__file__).resolve().parents[2] / "zarrds")]
    sys.modules["zarrds"] = package


from zarrds.errors import StoreIOError
from zarrds.storage.commits.committer import DELETED
from zarrds.storage.local import folders, syncing
from zarrds.stores import LocalStore, Overlay

CHANGING = "close link mkdir open rename replace rmdir unlink utime write writev fsync".split()

OLD = {
    "zarr.json": b"old root",
    "a/zarr.json": b"old a",
    "a/c/0": b"old 0",
    "a/c/1": b"old 1" * 1000,
    "g/h/k": b"old k",
    "g/h/gone/k": b"old gone",
    "g/l": b"old l",
}
WHOLE = {"zarr.json": b"new root", "b/c/0": b"new 0"}
CHANGED = {
    "zarr.json": b"new root",
    "a/zarr.json": b"new a",
    "a/c/0": b"new 0",
    "a/c/1": b"old 1" * 1000,
    "a/c/2": b"new 2",
    "g/l": b"new l",
    "n/zarr.json": b"new n",
    "n/c/0/0": b"new n 0",
    "copy/k": b"old k",
}


def kept(*prefixes: str) -> dict[str, bytes]:
    """The old content without what is below the prefixes."""
    return {key: value for key, value in OLD.items() if not key.startswith(tuple(f"{prefix}/" for prefix in prefixes))}


# what the store may hold when an action ended or was broken off, besides the old content
RESULTS: dict[str, list[dict[str, bytes]]] = {
    "publish": [WHOLE],
    "apart": [WHOLE],
    "change": [CHANGED],
    "set": [kept() | {"a/c/0": b"new 0"}, kept() | {"a/c/0": b"new 0", "n/k": b"new k"}],
    "delete": [kept("g")],
}


def publish(store: LocalStore, values: dict[str, bytes] = WHOLE, n_values: int = 0) -> None:
    staged = store.stage()
    try:
        staged.prepare(n_values)
        for key, value in values.items():
            staged.set(key, value[:2], value[2:])
        store.publish(staged)
    except BaseException:
        store.discard(staged)
        raise


def apart(store: LocalStore) -> None:
    publish(store, n_values=10**6)


def change(store: LocalStore) -> None:
    changes = store.stage_changes()
    try:
        overlay = Overlay(store, changes)
        for key in ("a/c/0", "a/c/2", "g/l", "n/c/0/0", "n/zarr.json"):
            overlay.set(key, CHANGED[key])
        store.link("g/h/k", changes, "0/copy/k")
        changes.set("1/zarr.json", CHANGED["zarr.json"])
        changes.set("2/a/zarr.json", CHANGED["a/zarr.json"])
        changes.set(DELETED, b'["g/h", "not/there"]')
        with store.lock():
            store.recover()
            store.apply_changes(changes)
    except BaseException:
        store.discard(changes)
        raise


def set(store: LocalStore) -> None:  # noqa: A001  # as the method
    changes = store.stage_changes()
    try:
        place = store.with_scratch(changes)
        for key, value in (("a/c/0", b"new 0"), ("n/k", b"new k")):
            with store.lock(key):
                place.set(key, value)
    finally:
        store.discard(changes)


def delete(store: LocalStore) -> None:
    store.delete_prefix("g")


ACTIONS: dict[str, Callable[[LocalStore], None]] = {
    each.__name__: each for each in (publish, apart, change, set, delete)
}


def fill(store: LocalStore) -> None:
    """Make the store hold the old content, in one step."""
    publish(store, OLD)


class Countdown:
    """Dies or fails at the n-th call that changes a file or folder."""

    def __init__(self, at: int, how: str) -> None:
        self.left, self.how = at, how

    def watch(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                if self.how == "die":
                    os._exit(9)
                # a file is closed, also if that fails
                if function is _close:
                    function(*args, **options)
                code = getattr(errno, self.how)
                raise OSError(code, os.strerror(code), str(args[:1]))
            return function(*args, **options)

        return watched


_close = os.close


def run(order: dict[str, Any]) -> None:
    store = LocalStore(order["root"]).as_durable(order.get("durable", False))
    if not order.get("exchange", True):
        folders._exchange = lambda one, other: False
    if order.get("for_ever"):
        store.recover()
        while True:
            fill(store)
            ACTIONS[order["do"]](store)
    countdown = Countdown(order["at"], order["how"])
    for name in CHANGING:
        setattr(os, name, countdown.watch(getattr(os, name)))
    for module, name in ((folders, "_exchange"), (syncing, "_sync_file_system")):
        setattr(module, name, countdown.watch(getattr(module, name)))
    try:
        ACTIONS[order["do"]](store)
    except StoreIOError:
        os._exit(2)
    os._exit(0 if countdown.left >= 0 else 1)


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            try:
                run(order)
            finally:  # run never returns: it was an error
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]  # there is one
                os._exit(99)
        if order.get("for_ever"):
            print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()

"""How far the resident memory of this process rises while something runs: the kernel's own marks."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_PROC = Path("/proc/self")


def peak_rise(work: Callable[[], T]) -> tuple[float | None, T]:
    """Do the work, and tell by how many MB memory rose at its highest over what it was before.

    What was freed before is given back first, so that it cannot be used again unseen. None where the kernel does not
    keep such marks (they are Linux's; ``ru_maxrss`` would not do, since it never goes down again).
    """
    begin = begin_marks()
    result = work()
    return (None if begin is None else _status("VmHWM") - begin), result


def begin_marks() -> float | None:
    """Let the mark of the highest memory begin anew; returns the memory of now, in MB."""
    gc.collect()
    if not (_PROC / "clear_refs").exists():
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
    (_PROC / "clear_refs").write_text("5")
    return _status("VmRSS")


def highest() -> float:
    """The highest memory since `begin_marks`, in MB."""
    return _status("VmHWM")


def _status(name: str) -> float:
    """A size that Linux tells of this process, in MB."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", (_PROC / "status").read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"/proc/self/status does not tell {name}")
    return int(found[1]) * 1024 / 1e6

"""What an operation costs, in time and memory, and processes of their own to find out in.

``python -m benchmarks.growth_cost MODULE FUNCTION ARGUMENTS`` calls a function of one of these modules and prints
what it returns; arguments and result are JSON.
"""

from __future__ import annotations

import gc
import importlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

T = TypeVar("T")

# by column; its name tells the unit
Figures = dict[str, float]

# seconds after which an operation is not repeated any more
_PATIENCE = 30.0


@dataclass(frozen=True)
class Cost:
    """Of one operation: the median of its time, and its highest peak of memory over what the process held before."""

    ms: float
    mb: float


def _nothing(_number: int) -> None: ...


def cost(
    call: Callable[[int], T],
    check: Callable[[int, T], bool],
    rounds: int,
    prepare: Callable[[int], object] = _nothing,
) -> Cost:
    """Call once to warm up and `rounds` times that count; fewer where that would take too long, at least once.

    Each function gets the number of the call; neither `prepare` nor `check` is timed.
    """
    measured: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        prepare(number)
        measured.append(once(lambda n=number: call(n), lambda result, n=number: check(n, result)))
        if sum(seconds for seconds, _ in measured) > _PATIENCE:
            break
    return of_calls(measured)


def once(call: Callable[[], T], check: Callable[[T], bool]) -> tuple[float, float]:
    """Seconds, and MB over what was held before, of one call; `AssertionError` if its result is wrong."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    held = memory("VmRSS")
    began = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - began
    mb = memory("VmHWM") - held
    if not check(result):
        raise AssertionError("the result is wrong")
    return seconds, mb


def of_calls(measured: list[tuple[float, float]]) -> Cost:
    """What `once` gave of several calls; the first was to warm up, if it is not the only one."""
    counting = [seconds for seconds, _ in measured[1:] or measured]
    return Cost(1000 * median(counting), max(0.0, *(mb for _, mb in measured), 0.0))


def memory(name: str) -> float:
    """Resident memory of this process in MB: ``VmRSS`` now, ``VmHWM`` at its peak.

    The kernel's own marks: `ru_maxrss` would begin with the parent's.
    """
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"/proc/self/status does not tell {name}")
    return int(found[1]) / 1024


def in_process(module: str, function: str, *arguments: Any) -> Any:
    """What a function of one of these modules returns, called in a process of its own."""
    command = [sys.executable, __file__, module, function, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{function} of {module} failed with {arguments}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])
    print(json.dumps(getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(*json.loads(sys.argv[3]))))

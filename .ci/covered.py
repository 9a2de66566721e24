"""A plugin of pytest that prints how much of zarrds the tests run: in all, and where least.

    PYTHONPATH=.ci python -m pytest -p covered -n auto

It needs slipcover, which changes bytecode, and takes that back where lines were seen: tests take a tenth longer.
Lines are counted that run in the processes of the tests; those that only run in processes that tests start, as of the
command line, count as missing. Tests that step through zarrds' own code are to be left out: it is not that code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from slipcover import Slipcover
from slipcover.importer import SlipcoverLoader

LEAST = 12  # files that are told of, those with the most missing lines
PACKAGE = Path(__file__).parents[1] / "zarrds"
STUBS = r"^\s*\.\.\.$"  # bodies of protocols

Lines = dict[str, tuple[set[int], set[int]]]  # by file: which there are, and which ran


class Measuring(MetaPathFinder):
    """Finds the modules of zarrds, and lets slipcover change them."""

    def __init__(self) -> None:
        self.slipcover = Slipcover(source=[str(PACKAGE)], d_miss_threshold=1000, exclude_also=[STUBS])

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As of every finder."""
        if fullname.partition(".")[0] != PACKAGE.name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = SlipcoverLoader(self.slipcover, spec.loader, spec.loader.path)
        return spec

    def lines(self) -> Lines:
        """What ran so far."""
        files = self.slipcover.get_coverage()["files"]
        runs = {name: (found["executed_lines"], found["missing_lines"]) for name, found in files.items()}
        return {name: ({*ran, *missing}, {*ran}) for name, (ran, missing) in runs.items()}


measuring = Measuring()
sys.meta_path.insert(0, measuring)
total: Lines = {}


def _add(found: Lines) -> None:
    for name, (lines, ran) in found.items():
        known = total.setdefault(name, (set(), set()))
        known[0].update(lines)
        known[1].update(ran)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what ran in this process."""
    output = getattr(session.config, "workeroutput", None)
    if output is None:
        _add(measuring.lines())
    else:  # of pytest-xdist, which takes nothing but lists, texts and numbers
        output["covered"] = [[name, *map(sorted, found)] for name, found in measuring.lines().items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what ran in a worker of pytest-xdist."""
    _add({name: (set(lines), set(ran)) for name, lines, ran in getattr(node, "workeroutput", {}).get("covered", ())})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figure."""
    n_lines, n_ran = (sum(len(found[i]) for found in total.values()) for i in (0, 1))
    terminalreporter.section("coverage")
    most = sorted(total, key=lambda name: len(total[name][1]) - len(total[name][0]))
    for name in most[:LEAST]:
        lines, ran = total[name]
        terminalreporter.line(f"{len(lines - ran):5} lines missing  {name}: {', '.join(_missing(lines, ran))}")
    terminalreporter.line(f"coverage: {100 * n_ran / n_lines:.1f} % of {n_lines} lines in {len(total)} files")


def _missing(lines: set[int], ran: set[int]) -> Iterator[str]:
    """Lines that did not run, those together between which none ran."""
    first = last = 0
    for line in [*sorted(lines), 0]:
        if line and line not in ran:
            first, last = first or line, line
        elif first:
            yield str(first) if first == last else f"{first}–{last}"
            first = 0

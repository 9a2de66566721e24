"""Prints how much of zarrds was run, by a report of slipcover's (JSON): in all, and where least.

    python .ci/covered.py REPORT [all]

Lines are counted that ran in the processes of the tests; those that only run in processes that tests start, as of the
command line, or only while pytest itself starts, count as missing. `all` lists every file that has missing lines.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

LEAST = 12  # files, those with the most missing lines


def main(report: str, listed: str = "") -> None:
    """Read a report, and print it."""
    files = json.loads(Path(report).read_text())["files"]
    counts = {name: (len(found["missing_lines"]), len(found["executed_lines"])) for name, found in files.items()}
    missing, ran = map(sum, zip(*counts.values(), strict=True))
    print(f"coverage: {100 * ran / (ran + missing):.1f} % of {ran + missing} lines in {len(files)} files")
    most = sorted((name for name in counts if counts[name][0]), key=lambda name: -counts[name][0])
    for name in most if listed == "all" else most[:LEAST]:
        print(f"{counts[name][0]:6} missing  {name}: {_ranges(files[name])}")


def _ranges(found: dict[str, list[int]]) -> str:
    """Missing lines, those together between which none ran."""
    parts: list[list[int]] = []
    ran = set(found["executed_lines"])
    for line in found["missing_lines"]:
        if parts and not ran.intersection(range(parts[-1][-1], line)):
            parts[-1][1:] = [line]
        else:
            parts.append([line])
    return ", ".join("–".join(map(str, part)) for part in parts)


if __name__ == "__main__":
    main(*sys.argv[1:])

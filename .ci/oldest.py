"""Prints constraints for pip that pin what zarrds needs, also for its extras, to the oldest releases it allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
EXTRAS = ("dask", "remote", "cli", "report", "all")  # of users; tests may use newer releases of what is theirs alone


def oldest(requirement: str) -> tuple[str, str] | None:
    """The package of a requirement, and the oldest release of it."""
    found = re.match(r"([\w.-]+)(?:\[.*?\])?>=([\w.]+)", requirement)
    return None if found is None else (found[1].lower(), found[2])


def release(version: str) -> tuple[int, ...]:
    """A version as numbers."""
    return tuple(map(int, re.findall(r"\d+", version)))


optional = PROJECT["optional-dependencies"]
needed = dict(filter(None, map(oldest, [*PROJECT["dependencies"], *(r for name in EXTRAS for r in optional[name])])))
for name, version in filter(None, map(oldest, optional["test"])):
    if name in needed and release(version) > release(needed[name]):
        del needed[name]  # cannot be had together with the tests
print(*(f"{name}=={version}" for name, version in sorted(needed.items())), sep="\n")

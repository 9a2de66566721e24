"""docs/architecture.md names every module, and no other; and formats meet where it says."""

from __future__ import annotations

import re
from pathlib import Path

import zarrds

ROOT = Path(__file__).parents[1]


def test_every_module_has_its_place_in_the_tree() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    tree = text.partition("```text")[2].partition("```")[0]
    words = set(re.findall(r"\w+", tree))
    package = Path(zarrds.__file__).parent
    names = {path.stem for path in package.rglob("*.py")} - {"__init__", "__main__"}
    assert sorted(names - words) == []
    # what reads like a module, with a word for its job behind it
    told = set(re.findall(r"(?:(?<= )|(?<=\())([a-z]+_[a-z_]+)(?=   | {2,}[A-Za-z])", tree))
    assert sorted(told - names - {path.name for path in package.rglob("*") if path.is_dir()}) == []


def test_what_depends_on_the_format_is_asked_of_it() -> None:
    package = Path(zarrds.__file__).parent
    above = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] not in ("metadata", "cli")]
    compared = re.compile(r"zarr_format (==|!=) [23]")
    assert [path.name for path in above if compared.search(path.read_text("utf-8"))] == []

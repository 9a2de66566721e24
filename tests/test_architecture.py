"""What docs say of the code: a place for each module and no other, every kind of labels; formats meet where it says."""

from __future__ import annotations

import re
from pathlib import Path

import zarrds
from zarrds.labels.kinds.objects import STRINGS
from zarrds.labels.kinds.table import _KINDS

ROOT = Path(__file__).parents[1]


def parts_of(tree: str) -> dict[Path, str]:
    """What the tree says of each folder of the package, by its path; of the package itself, all that it says."""
    parts = {Path(): tree}
    folders: list[tuple[int, str]] = []
    for line in tree.splitlines():
        if begun := re.match(r"( *)(\w+)/ ", line):
            depth = len(begun[1])
            folders = [folder for folder in folders if folder[0] < depth] + [(depth, begun[2])]
        where = Path(*(name for _, name in folders))
        parts[where] = parts.get(where, "") + line + "\n"
    return parts


def test_every_module_has_its_place_in_the_tree() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    tree = text.partition("```text")[2].partition("```")[0]
    parts = parts_of(tree)
    package = Path(zarrds.__file__).parent
    modules = [path.relative_to(package) for path in package.rglob("*.py") if not path.stem.startswith("__")]
    for module in modules:
        # a small folder is told of in a line of the one above
        folder = module.parent if module.parent in parts else module.parent.parent
        assert re.search(rf"\b{module.stem}\b", parts[folder]), module
    # what reads like a module, with a word for its job behind it
    names = {module.stem for module in modules}
    told = set(re.findall(r"(?:(?<= )|(?<=\())([a-z]+_[a-z_]+)(?=   | {2,}[A-Za-z])", tree))
    assert sorted(told - names - {path.name for path in package.rglob("*") if path.is_dir()}) == []


def test_what_depends_on_the_format_is_asked_of_it() -> None:
    package = Path(zarrds.__file__).parent
    above = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] not in ("metadata", "cli")]
    compared = re.compile(r"zarr_format (==|!=) [23]")
    assert [path.name for path in above if compared.search(path.read_text("utf-8"))] == []


def test_every_kind_of_labels_is_specified() -> None:
    text = (ROOT / "docs" / "spec.md").read_text("utf-8")
    section = text.partition("### `pandas`")[2].partition("###")[0]
    dtypes = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| .*$", section, re.MULTILINE)))
    for kind in _KINDS:
        assert any(map(kind.dtypes.fullmatch, dtypes)), kind.dtypes
    assert any(map(STRINGS.fullmatch, dtypes))

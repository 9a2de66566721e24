"""The tutorials' code does what the tutorials show."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def code_of(text: str) -> str:
    """The text with all but its Python blocks blanked, so that line numbers stay those of the document."""
    blanked, end = "", 0
    for block in _BLOCK.finditer(text):
        blanked += "\n" * text.count("\n", end, block.start(1)) + block[1]
        end = block.end(1)
    return blanked


@pytest.mark.parametrize(
    ("page", "modules"),
    [
        ("tutorial", ["dask", "zarr"]),
        ("labels", ["zarr"]),
        ("regions", ["cyvcf2", "zarr"]),
    ],
)
def test_tutorial(page: str, modules: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in modules:
        pytest.importorskip(module, reason=f"docs/{page}.md uses {module}, which is not installed")
    monkeypatch.chdir(tmp_path)
    path = DOCS / f"{page}.md"
    text = path.read_text(encoding="utf-8")
    examples = doctest.DocTestParser().get_doctest(code_of(text), {}, path.name, str(path), 0)
    assert examples.examples
    assert len(examples.examples) == text.count("\n>>> ")  # none is outside of a block, or lost
    shown: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=shown.append)
    assert result.failed == 0, "".join(shown)
    assert result.attempted == len(examples.examples)

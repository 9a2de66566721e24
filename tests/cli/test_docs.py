"""The examples of docs/cli.md show what the commands print."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
from pathlib import Path

import pytest

from zarrds.cli.main import main

DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def printed(line: str) -> str:
    """What a command prints, in this process."""
    words = shlex.split(line)
    assert words.pop(0) == "zarrds"
    out, err = io.StringIO(), io.StringIO()
    both = words[-1] == "2>&1"
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out if both else err):
        main(words[:-1] if both else words)
    return out.getvalue()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_cli_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("netCDF4", "matplotlib"):
        pytest.importorskip(module, reason=f"docs/cli.md uses {module}, which is not installed")
    monkeypatch.chdir(tmp_path)
    checker = doctest.OutputChecker()
    seen: set[str] = set()
    for kind, text in _BLOCK.findall((DOCS / "cli.md").read_text(encoding="utf-8")):
        if kind == "python":
            test = doctest.DocTestParser().get_doctest(text, {}, "cli.md", None, 0)
            assert doctest.DocTestRunner().run(test).failed == 0
            continue
        for example in re.split(r"^(?=\$ )", text, flags=re.MULTILINE)[1:]:
            command, _, expected = example[2:].partition("\n")
            found = printed(command)
            options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert checker.check_output(expected, found, options), f"$ {command}\n{found}"
            seen.add(shlex.split(command)[1])
    options = {option for command in seen for option in re.findall(r"--[a-z-]+", printed(f"zarrds {command} --help"))}
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert {option for option in options - {"--help"} if option not in text} == set()
    commands = "info tree stats dump verify diff convert copy rechunk export attrs rename drop index report find"
    assert set(commands.split()) <= seen

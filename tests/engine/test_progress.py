from __future__ import annotations

import sys

import pytest

from zarrds.engine.progress import progress_bar
from zarrds.errors import UnsupportedError


def test_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(7, "a long way", enabled=True) as advance:
        assert advance is not None
        advance(3)
        advance(4)
    shown = capsys.readouterr().err
    assert "a long way" in shown
    assert "7/7" in shown
    assert "chunk" in shown


def test_bar_of_rich(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    with progress_bar(7, "a long way", enabled="rich") as advance:
        assert advance is not None
        advance(7)
    shown = capsys.readouterr()
    assert "a long way" in shown.err
    assert "100%" in shown.err
    assert shown.out == ""
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(UnsupportedError, match="pip install rich"), progress_bar(7, "", enabled="rich"):
        pass
    with pytest.raises(UnsupportedError, match="unknown progress="), progress_bar(7, "", enabled="bar"):  # type: ignore[arg-type]  # no such
        pass


def test_nothing_is_shown_unless_asked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)  # as if it were not installed
    with progress_bar(7, "a long way", enabled=False) as advance:
        assert advance is None
    assert capsys.readouterr().err == ""


def test_needs_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(UnsupportedError, match="pip install tqdm"), progress_bar(7, "a long way", enabled=True):
        pass


def test_body_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with progress_bar(7, "a long way", enabled=True) as advance:
            assert advance is not None
            advance(2)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "2/7" in capsys.readouterr().err

"""What users type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrds.cli.words import chunk_sizes, new_names, parse_isel, parse_sel, settings
from zarrds.errors import SelectionError

_NAMES = st.text(st.characters(exclude_characters="=", exclude_categories=["Cs"]), min_size=1)


@given(_NAMES, st.one_of(st.none(), st.integers()), st.one_of(st.none(), st.integers()), st.integers(1, 9))
def test_slices(name: str, start: int | None, stop: int | None, step: int) -> None:
    text = [str(n) if n is not None else "" for n in (start, stop)]
    assert parse_isel([f"{name}={':'.join(text)}"]) == {name: slice(start, stop)}
    assert parse_isel([f"{name}={':'.join(text)}:{step}"]) == {name: slice(start, stop, step)}
    assert parse_sel([f"{name}={'..'.join(text)}"]) == {name: slice(start, stop)}


@given(st.text())
def test_what_is_typed_is_a_selection_or_a_clear_error(text: str) -> None:
    for parse in (parse_sel, parse_isel, settings, chunk_sizes):
        problem = ""
        try:
            parse(text if parse is chunk_sizes else [text])  # type: ignore[arg-type]  # a loop over both kinds
        except SelectionError as error:
            problem = str(error)
        assert problem == "" or "at character" in problem


@pytest.mark.parametrize("text", ["x=1:2:-1", "x=1:2:0", "x=1:2:3:4", "x=", "x=1,", "x=1.5"])
def test_malformed_positions(text: str) -> None:
    with pytest.raises(SelectionError):
        parse_isel([text])


@pytest.mark.parametrize("text", ["x=", "x='a", "x=1..2..3", "x=1...2", "=3"])
def test_malformed_labels(text: str) -> None:
    with pytest.raises(SelectionError):
        parse_sel([text])


def test_chunk_sizes() -> None:
    assert chunk_sizes("time=24,lat=-1") == {"time": 24, "lat": -1}
    for text in ("time", "time=0", "time=-2", "time=a", "time=24,", ""):
        with pytest.raises(SelectionError):
            chunk_sizes(text)


def test_no_name_twice() -> None:
    for parse, words in ((parse_sel, ["x=1", "x=2"]), (parse_isel, ["x=1", "x=2"]), (new_names, ["x=y", "x=z"])):
        with pytest.raises(SelectionError, match="'x' only once"):
            parse(words)  # type: ignore[operator]  # a loop over all kinds
    with pytest.raises(SelectionError, match="at character 5: expected 'x' only once"):
        chunk_sizes("x=1,x=2")

"""Text, HTML and SVG of plain data."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from zarrds.display.chunk_grid import chunk_grid_svg
from zarrds.display.html import document_of, html_of
from zarrds.display.page import Page, Table
from zarrds.display.text import nbytes_text, one_line, text_of, width

_VOID = {"meta", "br", "img"}


class Balanced(HTMLParser):
    """Checks that every element is closed, and collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(html: str) -> Balanced:
    parser = Balanced()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    assert "script" not in parser.tags
    return parser


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4), st.text())
def test_whatever_is_shown_is_escaped(rows: list[tuple[str, str]], heading: str) -> None:
    page = Page(heading, (("fact", heading),), (Table(heading, ("a", "b"), tuple(rows), is_folded=True),))
    found = parsed(html_of(page))
    allowed = {"div", "style", "dl", "dt", "dd", "details", "summary", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(found.tags) <= allowed
    parsed(document_of(heading, html_of(page)))
    assert isinstance(text_of(page), str)


@given(st.text(), st.integers(2, 80))
def test_one_line_is_one_short_line(text: str, length: int) -> None:
    line = one_line(text, length)
    assert len(line) <= length
    assert len(line.splitlines()) <= 1
    assert line.isprintable() or not any(c < " " or c == "\x7f" or c == "\u202e" for c in line)


def test_columns_of_wide_characters_are_aligned() -> None:
    lines = text_of(Page("x", (), (Table("t", ("name", "n"), (("気温", "1"), ("t2m", "2"))),))).splitlines()
    assert len({width(line) for line in lines[-2:]}) == 1


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 10**6)), max_size=5))
def test_chunk_grids_are_small_svg(sizes: list[tuple[int, int]]) -> None:
    svg = chunk_grid_svg([s for s, _ in sizes], [c for _, c in sizes])
    if svg:
        root = ET.fromstring(svg)
        assert float(root.attrib["width"]) <= 140
        assert float(root.attrib["height"]) <= 140
        assert len(list(root)) < 200
    else:
        assert not sizes or 0 in [s for s, _ in sizes[-3:]]


def test_chunk_grid_counts() -> None:
    # two boundaries along each of three dimensions, each drawn on two faces
    assert chunk_grid_svg((30, 30, 30), (10, 10, 10)).count("<line") == 12
    assert chunk_grid_svg((30, 30), (10, 30)).count("<line") == 2


def test_sizes() -> None:
    assert [nbytes_text(n) for n in (0, 999, 1000, 999_949, 999_950, 10**18)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "999.9 kB",
        "1.0 MB",
        "1.0 EB",
    ]

"""`zarrds.report`: one page that needs nothing from outside, and can be read."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.cli.main import main
from zarrds.display.html import STYLE
from zarrds.errors import StoreExistsError, StoreIOError, StoreNotFoundError, VariableNotFoundError
from zarrds.reports.chunk_map import chunk_map_svg
from zarrds.reports.pictures import _tick_texts, looked_at

pytest.importorskip("matplotlib")


class Sources(HTMLParser):
    """Collects what a page would fetch, and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [
            value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "style", "action")
        ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    times = pd.date_range("2019", periods=40)
    rng = np.random.default_rng(0)
    ds = xr.Dataset(
        {
            "t2m": (
                ("time", "lat", "lon"),
                rng.normal(280, 5, (40, 12, 20)),
                {"evil": "<script>alert(1)</script>"},
            ),
            "series": ("time", np.where(np.arange(40) % 7, np.arange(40.0), np.nan)),
            "kind": ("time", ["rain", "snow", "$x", ""] * 10),
            "flag": (("time", "lat"), np.ones((40, 12), bool)),
            "wide_" + "name_" * 30: ("lat", np.arange(12)),
            "complex": ("lat", np.arange(12) * 1j),
            "nothing": ("lat", np.full(12, np.nan)),
            "empty": ("none", np.zeros(0)),
            "scalar": 7,
        },
        {"time": times, "lat": np.linspace(60, 49, 12), "lon": np.arange(20.0)},
        {"title": "a" * 500},
    )
    zarrds.save(ds, tmp_path / "a.zarr", encoding={"t2m": {"chunks": (4, 6, 10)}})
    return tmp_path / "a.zarr"


def some_chunk(path: Path, variable: str) -> Path:
    return min(p for p in (path / variable).rglob("*") if p.is_file() and p.name[-1].isdigit())


def test_page(path: Path, tmp_path: Path) -> None:
    some_chunk(path, "t2m").unlink()
    damaged = some_chunk(path, "series")
    damaged.write_bytes(damaged.read_bytes()[:-3] + b"abc")
    assert main(["report", str(path), "-o", str(tmp_path / "r.html")]) == 0
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    sources = Sources(text)
    assert "script" not in sources.tags
    assert "link" not in sources.tags
    assert all(source.startswith("data:image/png;base64,") for source in sources.found)
    assert "@import" not in text
    assert "url(" not in text
    assert "39 of 40 chunks are stored" in text
    assert text.count('class="m"') == 1
    assert "2019-01-01 00:00:00 to 2019-02-09 00:00:00" in text
    assert "It cannot be read: " in text
    for name in ("t2m", "kind", "flag", "complex"):
        assert f"<h2>{name}</h2>" in text
    assert len([s for s in sources.found if s]) >= 8


def test_no_warnings_of_what_is_drawn(tmp_path: Path) -> None:
    signalling = np.array([0x7F800001, 0x3F800000], "u4").view("f4")  # as VCF Zarr has for what is missing
    ds = xr.Dataset({"text": ("x", ["気温", "b"]), "quality": ("x", signalling)})
    zarrds.save(ds, tmp_path / "a.zarr")
    zarrds.report(tmp_path / "a.zarr", tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text(encoding="utf-8").count("<img ") == 2


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array(["2019-03-01", "2019-03-02"], "M8[ns]"), ["2019-03-01", "2019-03-02"]),
        (np.array(["2019-03-01T06:00", "2019-03-02"], "M8[s]"), ["2019-03-01 06:00", "2019-03-02 00:00"]),
        (np.array([1.5, 2.5]), ["1.5", "2.5"]),
    ],
)
def test_ticks_tell_labels_apart(labels: Any, expected: list[str]) -> None:
    assert _tick_texts(labels) == expected


def test_findings_groups_and_what_is_wrong(path: Path, tmp_path: Path) -> None:
    zarrds.save(xr.Dataset({"a": ("x", [1, 2])}), path, group="g")
    document = path / "g" / "a" / "zarr.json"
    document.write_text(document.read_text(encoding="utf-8").replace("int64", "int63"), encoding="utf-8")
    out = tmp_path / "r.html"
    zarrds.report(path, out, variables=["t2m"])
    text = out.read_text(encoding="utf-8")
    assert "int63" in text
    assert "<h2>series</h2>" not in text
    with pytest.raises(StoreExistsError):
        zarrds.report(path, out)
    zarrds.report(path, out, group="g", overwrite=True)
    assert "<h2>a</h2>" in out.read_text(encoding="utf-8")
    for arguments, options, kind in (
        ((tmp_path / "nowhere", tmp_path / "n.html"), {}, StoreNotFoundError),
        ((path, tmp_path / "n.html"), {"variables": ["t3m"]}, VariableNotFoundError),
        ((path, tmp_path / "no" / "n.html"), {}, StoreIOError),
    ):
        with pytest.raises(kind):
            zarrds.report(*arguments, **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "r.html"]


@pytest.mark.parametrize("shape", [(), (9,), (9, 9), (3, 50, 50), (0, 4), (2, 2, 200, 3)])
def test_few_chunks_are_looked_at(shape: tuple[int, ...]) -> None:
    chunks = tuple(max(1, n // 3) for n in shape)
    key = looked_at(shape, chunks, 8)
    if 0 in shape:
        assert key is None
        return
    assert key is not None
    n_chunks = 1
    for k, c in zip(key, chunks, strict=True):
        n_chunks *= 1 if isinstance(k, int) else -(-k.stop // c)
    assert n_chunks <= 4
    assert looked_at((10**6, 10**6), (10**5, 10**5), 8) is None


def test_chunk_map_of_many_chunks() -> None:
    stored = {(i, j): i + 1 for i in range(1000) for j in range(3) if (i, j) != (500, 1)}
    svg = chunk_map_svg((1000, 3), stored)
    assert svg.count('class="m"') == 1
    assert svg.count('class="c"') == 48 * 3  # 21 rows share a cell
    assert chunk_map_svg((0, 3), {}) == ""
    assert chunk_map_svg((), {(): 5}).count("<rect") == 1
    assert chunk_map_svg((2**40, 2**40, 2**62), {(2**39, 5, 2**61): 5}).count('class="c"') == 1


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_text_has_contrast_in_light_and_dark() -> None:
    """WCAG 2.2 asks for 4.5."""
    themes = re.findall(r"--zs-text:(#\w+);--zs-faint:(#\w+);--zs-line:#\w+;--zs-back:(#\w+)", STYLE)
    assert len(themes) >= 2
    for text, faint, back in themes:
        for colour in (text, faint):
            low, high = sorted((luminance(colour), luminance(back)))
            assert (high + 0.05) / (low + 0.05) >= 4.5


def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no chromium is installed: apt install chromium")


def browse(*words: object, tmp_path: Path) -> bytes:
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    line = [browser(), *options, f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run([*line, *map(str, words)], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_in_a_browser(path: Path, tmp_path: Path) -> None:
    zarrds.report(path, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    # a copy that measures itself
    drawn = "[...document.querySelectorAll('svg')].every(s=>s.clientWidth>=+s.getAttribute('width'))"
    measure = f"document.documentElement.scrollWidth+' '+([...document.images].every(i=>i.naturalWidth)&&{drawn})"
    script = f"<script>document.title={measure}</script>"
    (tmp_path / "measured.html").write_text(text.replace("</body>", f"{script}</body>"), encoding="utf-8")
    dom = browse("--window-size=1280,900", "--dump-dom", (tmp_path / "measured.html").as_uri(), tmp_path=tmp_path)
    title = re.search(r"<title>(\d+) (\w+)</title>", dom.decode())
    assert title is not None
    assert int(title[1]) <= 1280
    assert title[2] == "true"
    image = pytest.importorskip("matplotlib.image")
    brightness: dict[str, Any] = {}
    for scheme, number in (("dark", 0), ("light", 1)):
        picture = tmp_path / f"{scheme}.png"
        options = ["--window-size=1280,400", f"--blink-settings=preferredColorScheme={number}"]
        options.append(f"--screenshot={picture}")
        browse(*options, (tmp_path / "r.html").as_uri(), tmp_path=tmp_path)
        pixels = image.imread(io.BytesIO(picture.read_bytes()))[..., :3]
        brightness[scheme] = np.median(pixels), pixels.min(), pixels.max()
    back, text_colour = brightness["light"][0], brightness["light"][1]
    assert back > 0.95
    assert text_colour < 0.3
    assert brightness["dark"][0] < 0.2
    assert brightness["dark"][2] > 0.8

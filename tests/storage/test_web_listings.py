"""Listings of web servers in the dialects that there are: read alike, or refused; never half of what is there."""

from __future__ import annotations

import html
import io
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.web_server import Handler, web
from zarrds.errors import StoreIOError
from zarrds.stores import as_store

pytest.importorskip("aiohttp", reason="listings are read with it")


def linked(path: Path, link: Callable[[str], str], *, slash: bool = True) -> str:
    """A page of links to what is in a folder."""
    names = [name.name + "/" * (slash and name.is_dir()) for name in sorted(path.iterdir())]
    return "".join(f'<a href="{link(urllib.parse.quote(name))}">{html.escape(name)}</a>\n' for name in names)


def deeper(path: Path) -> str:
    """All that is below a folder, in one page."""
    names = [file.relative_to(path).as_posix() for file in sorted(path.rglob("*")) if file.is_file()]
    return "".join(f'<a href="{urllib.parse.quote(name)}">{html.escape(name)}</a>\n' for name in names)


# from a folder and its URL to its page
ALIKE: dict[str, Callable[[Path, str], str]] = {
    "nginx": lambda path, url: '<a href="../">../</a>' + linked(path, str),
    "apache": lambda path, url: '<a href="?C=N;O=D">Name</a><a href="/">Parent</a>' + linked(path, str),
    "caddy": lambda path, url: '<a href="..">up</a><a href="./?sort=name">Name</a>' + linked(path, "./{}".format),
    "iis": lambda path, url: '<A HREF="/">[To Parent Directory]</A>' + linked(path, f"{url}{{}}".format),
    "deeper": lambda path, url: deeper(path),
}
REFUSED: dict[str, Callable[[Path, str], str]] = {
    "like files": lambda path, url: linked(path, str, slash=False),
    "pages": lambda path, url: linked(path, str).partition("\n")[0] + '<a href="?page=2">next</a>',
    "endless": lambda path, url: linked(path, str) + '<a href="x/">x</a>',
}


class Dialect(Handler):
    """Shows folders as it is told to; what is no folder, and has its name, too."""

    page: Callable[[Path, str], str] | None = None

    def send_head(self):
        path = Path(self.translate_path(self.path))
        is_endless = self.path.rstrip("/").endswith("/x")
        if not is_endless and not (path.is_dir() and self.path.endswith("/")):
            return super().send_head()
        if self.page is None:
            self.send_error(403)
            return None
        body = '<a href="x/">x</a>' if is_endless else self.page(path, self.path)
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        return io.BytesIO(body.encode())


def serving(page: Callable[[Path, str], str] | None) -> type[Handler]:
    return type("_", (Dialect,), {"page": None if page is None else staticmethod(page)})


@pytest.fixture(params=[2, 3])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A group with arrays, one in a group of its own, without consolidated metadata."""
    made = xr.Dataset({"v 1": ("t", np.arange(1.0, 9))}, {"t": np.arange(8)})
    for group in (None, "g"):
        path, options = tmp_path / "a.zarr", {"consolidated": False, "zarr_format": request.param}
        made.to_zarr(path, group=group, encoding={"v 1": {"chunks": (2,)}}, **options)
    return tmp_path


# obstore, and fsspec's client alone
OPTIONS = pytest.mark.parametrize("options", [{}, {"client_kwargs": {"trust_env": False}}], ids=["obstore", "fsspec"])


@OPTIONS
@pytest.mark.parametrize("dialect", ALIKE)
def test_all_is_found(folder: Path, dialect: str, options: dict[str, object]) -> None:
    local = as_store(folder / "a.zarr")
    with web(serving(ALIKE[dialect]), folder) as url:
        store = as_store(f"{url}/a.zarr", options)
        for name in ("", "g", "v 1"):
            assert store.list_children(name) == local.list_children(name)
            assert sorted(store.list_prefix(name)) == sorted(local.list_prefix(name))
        found = xr.open_datatree(store, engine="zarrds")
        xr.testing.assert_identical(found.load(), xr.open_datatree(folder / "a.zarr", engine="zarrds").load())
        assert not zarrds.verify(store).findings


@OPTIONS
@pytest.mark.parametrize("dialect", [*REFUSED, "forbidden"])
def test_half_of_it_is_refused(folder: Path, dialect: str, options: dict[str, object]) -> None:
    """And who lists nothing is no matter of credentials, where all else is shown."""
    with web(serving(REFUSED.get(dialect)), folder) as url:
        store = as_store(f"{url}/a.zarr", options)
        acts: list[Callable[[], object]] = [lambda: zarrds.verify(store)]
        if dialect == "endless":  # other groups and arrays it shows well
            acts += [lambda: list(store.list_prefix("t"))]
        else:
            acts += [lambda: xr.open_datatree(store, engine="zarrds"), lambda: list(store.list_prefix(""))]
            acts += [lambda: store.list_children("")]
        for act in acts:
            with pytest.raises(StoreIOError, match=r"does not show what it has.*\. Consolidate the store's metadata"):
                act()


@OPTIONS
def test_below_a_scalar_no_more_is_asked_for_than_one_document(tmp_path: Path, options: dict[str, object]) -> None:
    """Its chunk looks like a folder whose link is that of a file."""
    asked: list[str] = []

    class Counting(Handler):
        def send_head(self):
            asked.append(self.path)
            return super().send_head()

    xr.Dataset({"a": 1, "b": 2.5}).to_zarr(tmp_path / "s.zarr", consolidated=False, zarr_format=3)
    with web(Counting, tmp_path) as url:
        assert not zarrds.verify(f"{url}/s.zarr", storage_options=options).findings
    assert sorted(path for path in asked if "/c/" in path) == ["/s.zarr/a/c/zarr.json", "/s.zarr/b/c/zarr.json"]

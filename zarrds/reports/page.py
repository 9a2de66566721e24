"""``zarrds.report``: one HTML page of a store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

import xarray as xr

from zarrds.arguments import check_flags, check_texts, names_of, path_of_file
from zarrds.checks.documents import format_of, survey
from zarrds.datasets.description.info import info
from zarrds.datasets.description.model import VariableInfo
from zarrds.datasets.description.stored import stored_positions
from zarrds.display.html import document_of, html_of, table_html
from zarrds.display.page import Table
from zarrds.display.text import nbytes_text, one_line
from zarrds.engine.progress import ProgressOption, progress_bar
from zarrds.errors import ZarrdsError, locating
from zarrds.metadata.nodes.documents import open_nodes
from zarrds.metadata.nodes.lookup import get_array
from zarrds.reports.chunk_map import chunk_map_svg
from zarrds.reports.pictures import picture_of
from zarrds.storage.local.new_file import check_new_file, new_file
from zarrds.storage.locate import as_store
from zarrds.storage.protocol import Store

__all__ = ["report"]

_STYLE = (
    "<style>.zarrds .zarrds{padding:0}main.zarrds{padding:1.5em;max-width:1200px;margin:0 auto}"
    ".zarrds h2{font-size:1.15em;margin:1.6em 0 .3em;"
    "overflow-wrap:anywhere}.zarrds .zs-looks{display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start}"
    ".zarrds figure{margin:.4em 0;max-width:100%}.zarrds figcaption{color:var(--zs-faint);overflow-wrap:anywhere}"
    ".zarrds img{max-width:100%;height:auto;border:1px solid var(--zs-line)}.zarrds figure svg{max-width:100%}"
    ".zarrds svg .c{fill:var(--zs-edge)}.zarrds svg .m{stroke:#c0392b;stroke-width:1.5;fill:none}"
    "@media(prefers-color-scheme:dark){.zarrds svg .m{stroke:#ff8a75}}</style>"
)


def report(
    store: str | os.PathLike[str] | Store,
    path: str | os.PathLike[str],
    *,
    group: str | None = None,
    variables: str | Iterable[str] | None = None,
    overwrite: bool = False,
    progress: ProgressOption = False,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Write one HTML page that shows a group of a store: tables, quicklooks, maps of the chunks, what is wrong.

    The page needs nothing from outside, has no script, and is readable in light and dark. Of each variable at most
    four chunks are read, of the group's arrays the keys are listed, and of the whole store all documents are read and
    compared (chunks are not: `zarrds.verify` does that).

    Parameters
    ----------
    store : str, os.PathLike or Store
    path : str or os.PathLike
        Of the HTML file.
    group : str, optional
        The root unless said.
    variables : str or iterable of str, optional
        Only these.
    overwrite : bool
        Replace the file if it exists; else that is an error.
    progress : bool, "rich" or callable
        Show a progress bar (needs tqdm, or rich), or call ``progress(done, total)`` with numbers of variables.
    storage_options : mapping, optional
        As of `zarrds.save`.

    Raises
    ------
    StoreNotFoundError, NodeNotFoundError, VariableNotFoundError
        If there is no such store, group or variable.
    StoreExistsError
        If the file exists.
    UnsupportedError
        If matplotlib is not installed.
    StoreIOError
        If the file cannot be written.

    Examples
    --------
    >>> import pathlib, xarray as xr, zarrds
    >>> store = zarrds.MemoryStore()
    >>> zarrds.save(xr.Dataset({"t2m": ("time", [280.5, 281.0])}, {"time": [7, 8]}), store)
    >>> zarrds.report(store, "t2m.html")
    >>> "data:image/png" in pathlib.Path("t2m.html").read_text()
    True
    """
    names = names_of(variables=variables)
    check_texts(group=group)
    check_flags(overwrite=overwrite)
    name = path_of_file(path=path)
    check_new_file(name, overwrite=overwrite)
    opened = as_store(store, storage_options)
    shown = info(opened, names, group=group, stored=True)
    parts = [html_of(shown.page()), _STYLE, _findings(opened)]
    anything: Any = opened  # of whose type xarray's annotations know nothing
    with (
        locating(opened.path),
        xr.open_dataset(anything, engine="zarrds", group=group, index="lazy") as ds,
        progress_bar(len(shown.variables), "report", enabled=progress, unit="variable") as advance,
    ):
        for variable in sorted(shown.variables, key=lambda v: v.is_coordinate):
            parts += _looks(opened, shown.group, variable, ds)
            if advance is not None:
                advance(1)
    with new_file(name, overwrite=overwrite) as unfinished, open(unfinished, "w", encoding="utf-8") as file:
        file.write(document_of(shown.source, "".join(parts)))


def _findings(store: Store) -> str:
    findings = survey(store, format_of(store)).findings
    if not findings:
        return "<h2>Documents</h2><p>All documents can be read, and say the same.</p>"
    rows = tuple((f.severity, one_line(f.key, 80), one_line(f.problem, 400)) for f in findings)
    return f"<h2>Documents</h2>{table_html(Table('', ('severity', 'key', 'problem'), rows))}"


def _looks(store: Store, group: str, variable: VariableInfo, ds: xr.Dataset) -> Iterator[str]:
    """The section of one variable."""
    yield f"<h2>{escape(one_line(variable.name, 80))}</h2>"
    if variable.labels is not None:
        first, last = (escape(one_line(label)) for label in variable.labels)
        yield f"<p>{first} to {last}</p>"
    yield '<div class="zs-looks">'
    try:
        drawn = picture_of(ds[variable.name]) if variable.name in ds.variables else None
        if drawn is not None:
            yield _figure(drawn[0], drawn[1])
        yield _map(store, group, variable)
    except (ZarrdsError, ValueError) as error:  # a damaged chunk hides no other variable
        yield f"<p>It cannot be read: {escape(one_line(error, 400))}</p>"
    yield "</div>"


def _map(store: Store, group: str, variable: VariableInfo) -> str:
    path = f"{group.strip('/')}/{variable.name}".strip("/")
    metadata = get_array(store, open_nodes(store), path)
    stored = stored_positions(store, path, metadata)
    n_bytes = sum(stored.values())
    expected = variable.stored.n_expected if variable.stored is not None else len(stored)
    what = "shards" if variable.shards is not None else "chunks"
    caption = f"{len(stored)} of {expected} {what} are stored, {nbytes_text(n_bytes)}"
    if len(stored) > 1:
        caption += f", from {nbytes_text(min(stored.values()))} to {nbytes_text(max(stored.values()))} each"
    if variable.stored is not None and variable.stored.n_damaged:
        caption += f"; in the place of {variable.stored.n_damaged} lies what is no file"
    return _figure(chunk_map_svg(metadata.chunk_grid, stored), caption)


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>" if drawing else ""

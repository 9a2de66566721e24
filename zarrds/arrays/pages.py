"""What notebooks show of arrays and groups: by their documents, without a look at the store."""

from __future__ import annotations

from collections.abc import Collection
from math import prod

from zarrds.display.chunk_grid import MAX_LINES, chunk_grid_svg
from zarrds.display.codecs import codec_texts
from zarrds.display.page import Page, Table
from zarrds.display.text import nbytes_text, one_line
from zarrds.errors import ZarrdsError
from zarrds.metadata.fields import JSONObject
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node
from zarrds.metadata.nodes.documents import Nodes
from zarrds.metadata.rectilinear import drawn
from zarrds.storage.protocol import path_below

__all__ = ["array_page", "group_page"]

_COLUMNS = ("name", "dims", "shape", "dtype", "chunks", "codecs", "in memory")


def array_page(store_path: str, path: str, metadata: ArrayMetadata) -> Page:
    """One array: its row as in a group, and its attributes."""
    row, drawing = _row(path.rpartition("/")[2] or "/", metadata)
    tables = (Table("", _COLUMNS, (row,), (drawing,)), _attributes(metadata.attributes))
    return Page(f"zarrds.Array {path or '/'} of {store_path}", (), tables)


def group_page(heading: str, path: str, nodes: Nodes, names: Collection[str] | None, attributes: JSONObject) -> Page:
    """One group: what stands directly below it, and its attributes.

    Parameters
    ----------
    heading : str
    path : str
    nodes : Nodes
        Consolidated ones, if there are names.
    names : collection of str, optional
        What stands below; None if the store would have to be listed for that.
    attributes : mapping
    """
    rows: list[tuple[str, ...]] = []
    drawings: list[str] = []
    groups: list[str] = []
    for name in names or ():
        node = _node(nodes, path_below(path, name))
        if isinstance(node, GroupMetadata):
            groups.append(one_line(name))
            continue
        row, drawing = _row_or_none(name, node) or ((one_line(name), "cannot be read", *[""] * 5), "")
        rows.append(row)
        drawings.append(drawing)
    facts = (("groups", ", ".join(groups)),) if groups else ()
    return Page(heading, facts, (Table("arrays", _COLUMNS, tuple(rows), tuple(drawings)), _attributes(attributes)))


def _node(nodes: Nodes, path: str) -> Node | None:
    try:
        return nodes.get(path)
    except ZarrdsError:
        return None


def _row_or_none(name: str, metadata: ArrayMetadata | None) -> tuple[tuple[str, ...], str] | None:
    try:
        return None if metadata is None else _row(name, metadata)
    except ZarrdsError:  # of shards that are described wrongly
        return None


def _row(name: str, metadata: ArrayMetadata) -> tuple[tuple[str, ...], str]:
    chunks = metadata.inner().chunks
    up_to = "" if metadata.edges is None else "≤ "
    shards = "" if chunks == metadata.chunks else f" in shards of {up_to}{_sizes(metadata.chunks)}"
    dtype = metadata.data_type
    nbytes = "" if dtype.is_variable_length else nbytes_text(prod(metadata.shape) * dtype.dtype.itemsize)
    dims = ", ".join("–" if dim is None else dim for dim in metadata.dimension_names or ())
    row = (
        one_line(name, 40),
        one_line(dims),
        _sizes(metadata.shape),
        dtype.name,
        f"{'' if shards else up_to}{_sizes(chunks)}{shards}",
        one_line(" ".join(codec_texts(metadata.codecs))),
        nbytes,
    )
    grid = metadata.chunks if metadata.edges is None else drawn(metadata.edges, MAX_LINES)
    return row, chunk_grid_svg(metadata.shape, grid)


def _sizes(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes)) or "scalar"


def _attributes(attributes: JSONObject) -> Table:
    rows = tuple((one_line(name, 40), one_line(value, 200)) for name, value in attributes.items())
    return Table("attributes", ("name", "value"), rows, is_folded=True)

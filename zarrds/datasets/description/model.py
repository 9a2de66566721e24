"""What `zarrds.info` returns: facts, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from zarrds.datasets.description.cdl import cdl_of
from zarrds.datasets.description.plain import json_value
from zarrds.display.chunk_grid import MAX_LINES, chunk_grid_svg
from zarrds.display.html import html_of
from zarrds.display.page import Page, Table
from zarrds.display.text import counted, nbytes_text, one_line, text_of
from zarrds.metadata.rectilinear import Edges, drawn

__all__ = ["Info", "Stored", "VariableInfo"]


@dataclass(frozen=True, slots=True)
class Stored:
    """What one array takes in its store.

    Attributes
    ----------
    n_bytes : int
        Of its chunks and documents.
    n_chunks : int
        Chunks (or shards) that are there.
    n_expected : int
        Chunks that the array has.
    n_damaged : int
        Chunks in whose place lies what is no file: a pipe, a folder, a link that leads to nothing.
    """

    n_bytes: int
    n_chunks: int
    n_expected: int
    n_damaged: int = 0


@dataclass(frozen=True, slots=True)
class VariableInfo:
    """One variable.

    Attributes
    ----------
    name : str
    dims : tuple of str
    shape : tuple of int
    dtype : str
        As it is stored.
    is_coordinate : bool
    chunks, shards : tuple of int or None
        In elements; None where there are none.
    codecs : tuple of str
    attributes : mapping
    encoding : mapping
        CF attributes that xarray keeps apart (``units`` of times, ``scale_factor``, …); empty of a store, whose
        `attributes` hold them.
    nbytes : int or None
        Of all elements in memory; None for strings.
    index : str or None
        The kind of its index.
    labels : (str, str) or None
        The first and the last, of coordinates with one dimension.
    is_complete : bool or None
        Whether every chunk was written; None where that is not noted.
    stored : Stored or None
        Where it was asked for.
    edges : tuple of (int or tuple of (int, int)), or None
        Where chunks (or shards) differ in length: for each dimension the length of all, or runs of (length, how many).
        `chunks` are the longest then.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    is_coordinate: bool = False
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    codecs: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    encoding: Mapping[str, Any] = field(default_factory=dict)
    nbytes: int | None = None
    index: str | None = None
    labels: tuple[str, str] | None = None
    is_complete: bool | None = None
    stored: Stored | None = None
    edges: tuple[Edges, ...] | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Info:
    """What a store or a dataset holds; as text, as HTML in notebooks, as JSON, as CDL.

    Attributes
    ----------
    source : str
        The store, as the user named it, or what kind of object it was.
    group : str
        ``"/"`` is the root.
    zarr_format : int or None
        Of a store.
    dimensions : mapping of str to int
    variables : tuple of VariableInfo
        Coordinates first.
    attributes : mapping
    groups : tuple of str
        The names of the groups directly below.
    problems : tuple of str
        What could not be read.
    unlimited_dims : frozenset of str
        Dimensions that netCDF has as unlimited ones.

    Examples
    --------
    >>> info = Info("t2m.zarr", variables=(VariableInfo("t", ("x",), (3,), "int32", nbytes=12),))
    >>> print(info)
    t2m.zarr: 1 variable, 12 B in memory
    <BLANKLINE>
    variables
      name  dims  shape  dtype
      t     x     3      int32
    """

    source: str
    group: str = "/"
    zarr_format: int | None = None
    dimensions: Mapping[str, int] = field(default_factory=dict)
    variables: tuple[VariableInfo, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    unlimited_dims: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return text_of(self.page())

    def __repr__(self) -> str:
        return f"<zarrds.Info of {self.source!r}: {counted(len(self.variables), 'variable')}>"

    def _repr_html_(self) -> str:
        return html_of(self.page())

    def page(self) -> Page:
        """What text, HTML and the command line draw."""
        known = [v.nbytes for v in self.variables if v.nbytes is not None]
        heading = f"{self.source}: {counted(len(self.variables), 'variable')}, {nbytes_text(sum(known))} in memory"
        stored = [v.stored for v in self.variables if v.stored is not None]
        if stored:
            heading += f", {nbytes_text(sum(s.n_bytes for s in stored))} stored"
        facts = [
            ("format", "" if self.zarr_format is None else f"Zarr v{self.zarr_format}"),
            ("group", "" if self.group == "/" else self.group),
            ("dimensions", ", ".join(f"{one_line(n)}: {size}" for n, size in self.dimensions.items())),
            ("groups", ", ".join(map(one_line, self.groups))),
            *(("problem", one_line(problem, 400)) for problem in self.problems),
        ]
        coordinates = [v for v in self.variables if v.is_coordinate]
        others = [v for v in self.variables if not v.is_coordinate]
        tables = (
            _table("coordinates", coordinates, has_labels=True),
            _table("variables", others, has_labels=False),
            _attributes_table(self),
        )
        return Page(heading, tuple((n, value) for n, value in facts if value), tables)

    def cdl(self, name: str | None = None) -> str:
        """The same as ``ncdump -h`` prints of a netCDF file: dimensions, variables as they are stored, attributes.

        Parameters
        ----------
        name : str, optional
            Of the dataset; by its source unless said.
        """
        name = name or self.source.rstrip("/").rpartition("/")[2].partition(".")[0] or "dataset"
        variables = [(v.name, v.dims, v.dtype, {**v.attributes, **v.encoding}) for v in self.variables]
        return cdl_of(name, self.dimensions, variables, self.attributes, self.unlimited_dims)

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON has it; numbers that JSON does not know are text."""
        return {
            "source": self.source,
            "group": self.group,
            "zarr_format": self.zarr_format,
            "dimensions": dict(self.dimensions),
            "unlimited_dims": sorted(self.unlimited_dims),
            "variables": {v.name: _variable_dict(v) for v in self.variables},
            "attributes": json_value(self.attributes),
            "groups": list(self.groups),
            "problems": list(self.problems),
        }


def _variable_dict(v: VariableInfo) -> dict[str, Any]:
    return {
        "dims": list(v.dims),
        "shape": list(v.shape),
        "dtype": v.dtype,
        "is_coordinate": v.is_coordinate,
        "chunks": None if v.chunks is None else list(v.chunks),
        "shards": None if v.shards is None else list(v.shards),
        **({} if v.edges is None else {"edges": list(v.edges)}),
        "codecs": list(v.codecs),
        "attributes": json_value(v.attributes),
        "encoding": json_value(v.encoding),
        "nbytes": v.nbytes,
        "index": v.index,
        "labels": None if v.labels is None else list(v.labels),
        "is_complete": v.is_complete,
        "stored": None if v.stored is None else asdict(v.stored),
    }


def _sizes(sizes: tuple[int, ...] | None) -> str:
    return "" if sizes is None else "×".join(map(str, sizes)) or "scalar"


def _up_to(v: VariableInfo, sizes: tuple[int, ...] | None) -> str:
    return "≤ " if v.edges is not None and sizes is not None else ""


def _table(title: str, variables: list[VariableInfo], *, has_labels: bool) -> Table:
    columns = ["name", "dims", "shape", "dtype", "chunks", "shards", "codecs", "complete"]
    if has_labels:
        columns += ["index", "first", "last"]
    is_stored = any(v.stored is not None for v in variables)
    if is_stored:
        columns += ["stored", "ratio", "present"]
    rows = tuple(
        (
            one_line(v.name, 40),
            one_line(", ".join(v.dims)),
            _sizes(v.shape),
            one_line(v.dtype),
            _up_to(v, v.chunks if v.shards is None else None) + _sizes(v.chunks),
            _up_to(v, v.shards) + _sizes(v.shards),
            one_line(" ".join(v.codecs), 48),
            "" if v.is_complete is None else "yes" if v.is_complete else "no",
            *(() if not has_labels else (v.index or "", *map(_label, v.labels or ("", "")))),
            *(() if not is_stored else _stored_cells(v)),
        )
        for v in variables
    )
    used = [i for i, name in enumerate(columns) if i == 0 or any(row[i] for row in rows)]
    shown = tuple(tuple(row[i] for i in used) for row in rows)
    drawings = tuple("" if v.chunks is None else chunk_grid_svg(v.shape, _grid(v, v.chunks)) for v in variables)
    return Table(title, tuple(columns[i] for i in used), shown, drawings if any(drawings) else ())


def _grid(v: VariableInfo, chunks: tuple[int, ...]) -> Sequence[int | Sequence[int]]:
    """What an array is cut into, to be drawn."""
    return v.shards or chunks if v.edges is None else drawn(v.edges, MAX_LINES)


def _label(text: str) -> str:
    return one_line(text, 32)


def _stored_cells(v: VariableInfo) -> tuple[str, str, str]:
    if v.stored is None:
        return ("", "", "")
    ratio = f"{v.nbytes / v.stored.n_bytes:.1f}" if v.nbytes and v.stored.n_bytes else ""
    damaged = f", {v.stored.n_damaged} damaged" if v.stored.n_damaged else ""
    n_lost = v.stored.n_expected - v.stored.n_chunks - v.stored.n_damaged
    lost = f", {n_lost} lost" if v.is_complete and n_lost > 0 else ""  # which were there once
    return nbytes_text(v.stored.n_bytes), ratio, f"{v.stored.n_chunks}/{v.stored.n_expected}{damaged}{lost}"


def _attributes_table(info: Info) -> Table:
    rows = [("", one_line(name, 40), one_line(value, 100)) for name, value in info.attributes.items()]
    for v in info.variables:
        rows += [(one_line(v.name, 40), one_line(n, 40), one_line(value, 100)) for n, value in v.attributes.items()]
    return Table("attributes", ("of", "name", "value"), tuple(rows), is_folded=True)

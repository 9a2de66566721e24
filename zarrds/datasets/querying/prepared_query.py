"""A query of one dataset, prepared: its variables, the blocks that it looks at, and what statistics say of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import xarray as xr

from zarrds.codecs.base import AnyArray
from zarrds.datasets.querying import blocks
from zarrds.datasets.querying.expressions.binding import bind
from zarrds.datasets.querying.expressions.evaluate import evaluate
from zarrds.datasets.querying.expressions.language import Expression, names_in, parse
from zarrds.datasets.querying.expressions.pruning import Truth, truth_of
from zarrds.datasets.querying.expressions.ranks import by_rank
from zarrds.datasets.querying.operands import Operand, kind_of, ranks_of
from zarrds.display.text import nbytes_text
from zarrds.errors import QueryError

__all__ = ["ChunkCounts", "Explanation", "PreparedQuery"]

# blocks of one query
_MOST_BLOCKS = 2**21
# elements of a block where there are no chunks to go by, and of any block that is not one chunk
_BLOCK = 2**20
_MOST_ELEMENTS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ChunkCounts:
    """What a query does with the chunks of one variable.

    Attributes
    ----------
    name : str
    total : int
        Chunks that it lies in, as far as the dataset has selected it.
    read : int
        Those that must be read.
    pruned : int
        Those that are not, since their statistics tell enough.
    unknown : int
        Those of which nothing is known, or nothing that is still true.
    chunk_nbytes : int
        Bytes of a whole chunk in memory.
    """

    name: str
    total: int
    read: int
    pruned: int
    unknown: int
    chunk_nbytes: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `zarrds.find` would do, without having done it; as text, a table.

    Attributes
    ----------
    query : str
    sizes : dict of str to int
        The dimensions that the query is about.
    variables : tuple of ChunkCounts
        Those that are read from a store, chunk by chunk; all others are in memory.
    """

    query: str
    sizes: dict[str, int]
    variables: tuple[ChunkCounts, ...]

    @property
    def nbytes_read(self) -> int:
        """Bytes of all chunks that are read, in memory."""
        return sum(each.read * each.chunk_nbytes for each in self.variables)

    def __str__(self) -> str:
        sizes = " × ".join(f"{dim} {size}" for dim, size in self.sizes.items())
        lines = [f"{self.query}", f"  elements: {sizes or 'one'}"]
        for each in self.variables:
            lines.append(
                f"  {each.name}: {each.total} chunks, {each.pruned} pruned, {each.read} read "
                f"({nbytes_text(each.read * each.chunk_nbytes)}), {each.unknown} without statistics"
            )
        return "\n".join(lines)


def _positions(dim: str, size: int) -> xr.Variable:
    try:
        return xr.Variable((dim,), np.arange(size))
    except (MemoryError, ValueError) as error:
        raise QueryError(
            "the positions along a dimension do not fit in memory",
            key=dim,
            found=size,
            mend="Select a part of it first, or leave it out of the query",
        ) from error


class PreparedQuery:
    """A query of one dataset.

    Parameters
    ----------
    dataset : Dataset
    text : str

    Attributes
    ----------
    dims : tuple
        The dimensions of the query, those of its variable with the most dimensions first.
    shape : tuple of int
    expression : Expression
        Bound.
    operands : dict of str to Operand

    Raises
    ------
    QueryError
        If the query is not allowed, or does not fit the dataset.
    """

    def __init__(self, dataset: xr.Dataset, text: str) -> None:
        self.text = text
        expression = parse(text)
        variables = {str(name): variable for name, variable in dataset.variables.items()}
        asked = {name.name for name in names_in(expression)}
        for dim, size in dataset.sizes.items():
            if str(dim) not in variables and str(dim) in asked:  # labels that are not there are 0, 1, 2, …
                variables[str(dim)] = _positions(str(dim), size)
        known = [str(name) for name in (*dataset.data_vars, *dataset.coords)]
        known += [name for name in map(str, dataset.sizes) if name not in known]
        ranked = {name: ranks for name in asked & set(variables) if (ranks := ranks_of(variables[name])) is not None}
        bound, kinds = bind(by_rank(expression, ranked), lambda name: kind_of(variables[name]), known)
        self.expression: Expression = bound
        used = sorted((variables[name] for name in kinds), key=lambda variable: -variable.ndim)
        self.dims: tuple[Hashable, ...] = tuple(dict.fromkeys(dim for variable in used for dim in variable.dims))
        self.shape = tuple(dataset.sizes[dim] for dim in self.dims)
        self.size = prod(self.shape)
        if self.size > _MOST_ELEMENTS:
            raise self._too_many()
        self.operands = {
            name: Operand(name, variables[name], self.dims, self.size, kind) for name, kind in kinds.items()
        }
        try:
            self.edges = blocks.coarser(self._edges(), _MOST_BLOCKS)
        except MemoryError as error:
            raise self._too_many() from error

    def _too_many(self) -> QueryError:
        sizes = dict(zip(self.dims, self.shape, strict=True))
        return QueryError("the query is about too many elements", found=sizes, mend="Select a part of them first")

    def _edges(self) -> list[AnyArray]:
        """Along the chunks of the largest variable that has chunks; other dimensions along those of others."""
        found: dict[int, AnyArray] = {}
        for operand in sorted(self.operands.values(), key=lambda each: -each.variable.size):
            found = {**operand.chunk_edges(), **found}
        return blocks.with_even_edges(found, self.shape, _BLOCK)

    @property
    def grid(self) -> tuple[int, ...]:
        """Blocks along each dimension."""
        return tuple(len(each) - 1 for each in self.edges)

    def elements_of(self, box: Sequence[slice]) -> tuple[slice, ...]:
        """The elements in a box of blocks."""
        return blocks.elements_of(self.edges, box)

    def size_of(self, box: Sequence[slice]) -> float:
        """Elements in a box of blocks."""
        return blocks.size_of(self.edges, box)

    def _truth(self, *, of_stored: bool) -> Truth:
        bounds = {
            name: operand.bounds(self.edges) if of_stored or operand.chunks is None else operand.unknown()
            for name, operand in self.operands.items()
        }
        found = truth_of(self.expression, bounds)
        return Truth(*(np.broadcast_to(each, self.grid) for each in (found.can_hold, found.can_fail)))

    @cached_property
    def truth_in_memory(self) -> Truth:
        """What variables in memory say of each block."""
        return self._truth(of_stored=False)

    def truth(self, *, certain: bool) -> Truth:
        """What is known of each block, after digests of all chunks were compared on which that rests.

        Parameters
        ----------
        certain : bool
            Whether it matters that a condition holds in all of a block, so that it need not be read.
        """
        stored = [operand for operand in self.operands.values() if operand.chunks is not None]
        found = self._truth(of_stored=bool(stored))
        if not stored:
            return found
        sure = self.truth_in_memory
        rests = ~found.can_hold & sure.can_hold
        if certain:
            rests |= ~found.can_fail & sure.can_fail
        changed = [
            operand.chunks.verify(operand.chunks_in(rests, self.edges))
            for operand in stored
            if operand.chunks is not None and rests.any()
        ]
        return self._truth(of_stored=True) if any(changed) else found

    def explain(self, wanted: AnyArray) -> Explanation:
        """What it means for chunks that these blocks are read."""
        counts = []
        for name, operand in self.operands.items():
            if operand.chunks is not None:
                total = prod(operand.chunks.shape)
                read = int(operand.chunks_in(wanted, self.edges).sum())
                unknown = total - int(operand.chunks.known.sum())
                counts.append(ChunkCounts(name, total, read, total - read, unknown, operand.chunk_nbytes()))
        return Explanation(self.text, dict(zip(map(str, self.dims), self.shape, strict=True)), tuple(counts))

    def matches(self, box: Sequence[slice]) -> tuple[AnyArray, dict[str, Any]]:
        """Where the condition holds in a box of elements, and the values that were read for it, which broadcast."""
        values = {name: operand.values(box) for name, operand in self.operands.items()}
        shape = tuple(part.stop - part.start for part in box)
        return np.broadcast_to(np.asarray(evaluate(self.expression, values), bool), shape), values

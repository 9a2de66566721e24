"""Many small things: 500 variables in one dataset, and a tree of 50 groups."""

from __future__ import annotations

from functools import partial

from benchmarks.contenders import Row
from benchmarks.sources import MANY, TREE
from benchmarks.work import load, open_, row, save


def rows() -> list[Row]:
    """The rows of this module."""
    return [
        row("save-500-variables", "Save 500 small variables", partial(save, [MANY])),
        row("open-500-variables", "Open them", partial(open_, MANY)),
        row("load-500-variables", "Load them, opened before", partial(load, [MANY])),
        row("save-tree", "Save a tree of 50 groups with 3 variables each", partial(save, [TREE])),
        row("open-tree", "Open it", partial(open_, TREE)),
    ]

"""Where in a chunk's memory lies what a selection takes of it. Pure."""

from __future__ import annotations

from itertools import accumulate
from operator import mul
from types import EllipsisType

from zarrds.engine.planning.tables import Index

__all__ = ["span_of"]


def span_of(inside: tuple[Index, ...] | EllipsisType, shape: tuple[int, ...], itemsize: int) -> tuple[int, int]:
    """The bytes from the first element that is selected to the last one, of a chunk in C order.

    Parameters
    ----------
    inside : tuple of slice and array
        One a dimension, counted from the front, none of them empty; or all elements.
    shape : tuple of int
        Of the chunk, in elements.
    itemsize : int
        Bytes of an element.

    Returns
    -------
    (int, int)
        Start and stop, in bytes.

    Examples
    --------
    >>> span_of((slice(1, 2), slice(0, 3, 2)), (4, 5), itemsize=2)
    (10, 16)
    """
    strides = list(accumulate(shape[::-1], mul, initial=itemsize))[::-1]
    if isinstance(inside, EllipsisType):
        return 0, strides[0]
    first = last = 0
    for index, stride in zip(inside, strides[1:], strict=True):
        low, high = (index.start, index.stop - 1) if isinstance(index, slice) else (int(index.min()), int(index.max()))
        first += low * stride
        last += high * stride
    return first, last + itemsize

"""A property that is computed once, also by processes that are forked meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["Remembered"]

T = TypeVar("T")


class Remembered(Generic[T]):
    """A property that is computed once.

    As `functools.cached_property`, which in Python 3.11 has one lock for all instances: a process that is forked while
    another thread computes would wait for it forever. Two threads may compute the same here.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        if instance is None:
            raise AttributeError(self._compute.__name__)
        value = self._compute(instance)
        instance.__dict__[self._compute.__name__] = value  # where it is looked for first from now on
        return value

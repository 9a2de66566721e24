"""What the lazy index needs of pandas beyond its public names: all of it is named here, and looked at before use.

An index of pandas holds its labels in ``_data`` and what it found out about them in ``_cache``. `RangeIndex` shows that
``_data`` may as well be a property that makes the labels when they are asked for; the lazy index does the same. Private
names are used for that, and for what strings mean to a `DatetimeIndex`.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import pandas as pd

__all__ = [
    "NAMES",
    "EqualToPlain",
    "FromPlain",
    "date_bounds",
    "is_partial",
    "keeps_resolution",
    "located_times",
    "new_lazy",
    "plain_new",
    "problems",
    "reads_the_rest",
    "resolution",
    "slice_bound",
]

Class = TypeVar("Class", bound=type)

# Every private name of pandas that is read, set, called or overridden, by the class that has it, and what for.
NAMES: dict[type, dict[str, str]] = {
    pd.Index: {
        "_simple_new": "overridden: what pandas makes of labels it has is a plain index; called: to make one",
        "_constructor": "overridden: the class of results is the plain one",
        "_view": "overridden: rename, set_names, copy and view start from it",
        "_engine": "overridden: the hash tables are those of the plain index",
        "_get_engine_target": "pandas finds the labels of another index by it; needs nothing but _data",
        "_values": "the same",
        "_getitem_slice": "overridden: Series.loc and DataFrame.loc cut their index by it",
        "_reset_identity": "called: gives a new index an identity of its own",
        "_references": "overridden: pandas counts by it who shares the memory of the plain index",
        "_formatter_func": "overridden: repr formats by the labels it shows",
        "_memory_usage": "not called: memory_usage is overridden, since it would read all labels",
        "_maybe_cast_slice_bound": "called: what a string means as the end of a slice",
    },
    pd.DatetimeIndex: {
        "_parse_with_reso": "called: a string as a time and its resolution",
        "_parsed_string_to_bounds": "called: the first and last instant that a string means",
        "_resolution_obj": "overridden and set: the resolution of all labels, which says what a string means",
    },
}
# set on instances, so that no class need have them
_SET = ("_name", "_cache", "_id")
_OPERATORS = (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod divmod rdivmod pow rpow "
    "and rand or ror xor rxor eq ne lt le gt ge neg pos abs invert"
)


class EqualToPlain(ABCMeta):
    """Makes a lazy class equal to the plain class that it stands for.

    ``DatetimeIndex.equals`` and ``Index.identical`` compare ``type(self) == type(other)``, where a subclass would do: a
    plain index would never be equal to a lazy one with the same labels. Python asks the metaclass; what is an instance
    of what stays as it is.
    """

    _plain_type: type

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls._plain_type

    def __ne__(cls, other: object) -> bool:
        return not cls == other

    def __hash__(cls) -> int:
        return hash(cls._plain_type)

    def __instancecheck__(cls, instance: object) -> bool:
        return type.__instancecheck__(cls, instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return type.__subclasscheck__(cls, subclass)


class FromPlain:
    """An attribute of a lazy index that is the attribute of the plain index, which is read for it."""

    def __init__(self, plain_type: type, name: str) -> None:
        self._plain_type = plain_type
        self._name = name

    def __get__(self, index: Any, owner: type | None = None) -> Any:
        return getattr(self._plain_type if index is None else index.plain(), self._name)


def reads_the_rest(plain_type: type, keep: Iterable[str]) -> Callable[[Class], Class]:
    """A class decorator: all public names and operators that the class has from pandas are those of the plain index.

    Parameters
    ----------
    plain_type : type
        The class of pandas.
    keep : iterable of str
        Names whose code in pandas asks only what the lazy class answers without reading.
    """
    names = {name for name in dir(plain_type) if not name.startswith("_")}
    operators = {name for name in (f"__{operator}__" for operator in _OPERATORS.split()) if hasattr(plain_type, name)}

    def decorate(cls: Class) -> Class:
        theirs = {id(base) for base in plain_type.__mro__}  # a lazy class equals a plain one: by identity
        own = {name for base in cls.__mro__ if id(base) not in theirs for name in vars(base)}
        for name in names - own - set(keep):
            setattr(cls, name, FromPlain(plain_type, name))
        for name in operators - own:
            setattr(cls, name, _operator(name))
        return cls

    return decorate


def _operator(name: str) -> Callable[..., Any]:
    def operate(index: Any, *others: Any) -> Any:
        # pandas leaves it to the other operand if that is a subclass: both have to be plain
        operands = [other.plain() if isinstance(type(other), EqualToPlain) else other for other in others]
        return getattr(index.plain(), name)(*operands)

    operate.__name__ = name
    return operate


def new_lazy(cls: type, name: Hashable) -> Any:
    """An index of a lazy class that has a name and no labels yet."""
    index: Any = object.__new__(cls)
    index._name = name
    index._cache = {}
    index._reset_identity()
    return index


def plain_new(plain_type: Any, values: Any, name: Hashable, refs: Any) -> pd.Index:
    """The plain index of labels that pandas has already."""
    made: pd.Index = plain_type._simple_new(values, name, refs=refs)
    return made


def date_bounds(index: Any, text: str) -> tuple[Any, tuple[pd.Timestamp, ...]]:
    """What a string means to a `DatetimeIndex`: its resolution, the instant, and the first and last instant.

    Raises ValueError if the string is no time.
    """
    parsed, reso = index._parse_with_reso(text)
    return reso, (parsed, *index._parsed_string_to_bounds(reso, parsed))


def slice_bound(index: Any, label: str, side: str) -> Any:
    """What a string means as an end of a slice of an index; the errors are those of the index."""
    return index._maybe_cast_slice_bound(label, side)


def resolution(index: Any) -> Any:
    """The finest resolution of an index's datetimes; the finer of two is the smaller."""
    return index._resolution_obj


def is_partial(index: Any, reso: Any) -> bool:
    """Whether a string of that resolution is a span of time to an index, and not an instant."""
    return bool(reso > index._resolution_obj)


def keeps_resolution(index: Any, reso: Any) -> None:
    """Lets an index of some labels judge strings as the index of all labels."""
    index._cache["_resolution_obj"] = reso


def located_times(index: Any, text: str) -> int | slice:
    """What ``get_loc`` tells of a string and an index of datetimes, if they increase or decrease.

    Before pandas 3 it tells other things of those that decrease, and no error where there are none.
    """
    if index.is_monotonic_increasing:
        found: int | slice = index.get_loc(text)
        return found
    backwards, n = index[::-1], len(index)
    keeps_resolution(backwards, resolution(index))
    found = backwards.get_loc(text)
    return slice(n - found.stop, n - found.start) if isinstance(found, slice) else n - 1 - found


@lru_cache(maxsize=1)
def problems() -> tuple[str, ...]:
    """What the installed pandas lacks, or does in another way than the lazy index needs; empty if all is well.

    Examples
    --------
    >>> problems()
    ()
    """
    found = [
        f"pandas.{cls.__name__} has no {name}"
        for cls, names in NAMES.items()
        for name in names
        if not hasattr(cls, name)
    ]
    made = pd.Index(np.arange(3), name="x")
    found += [f"an index of pandas has no {name}" for name in (*_SET, "_data") if not hasattr(made, name)]
    return tuple(found) if found else tuple(_misbehaviour())


def _misbehaviour() -> Iterable[str]:
    for labels in (np.arange(3), np.arange(3).view("M8[s]"), np.arange(3).view("m8[s]")):
        plain: Any = pd.Index(labels)
        kind: Any = type(plain)
        lazy = _trial(kind, plain)
        if not (plain.equals(lazy) and lazy.equals(plain)):
            yield f"an index of a subclass of pandas.{kind.__name__} does not equal the plain one"
        if len(plain.union(lazy)) != len(plain) or list(plain.get_indexer(lazy)) != [0, 1, 2]:
            yield f"pandas.{kind.__name__} does not find the labels of a subclass by _data"
    yield from _misread_dates()


def _trial(kind: type, plain: Any) -> Any:
    """An index of another class that has its labels from a plain one."""

    def data(self: Any) -> Any:
        return plain._data

    def length(self: Any) -> int:
        return len(plain)

    members = {"_plain_type": kind, "_data": property(data), "__len__": length, "dtype": plain.dtype}
    return new_lazy(EqualToPlain("Trial", (kind,), members), "x")


def _misread_dates() -> Iterable[str]:
    days: Any = pd.DatetimeIndex(np.arange(2).astype("M8[D]").astype("M8[s]"))
    reso, instants = date_bounds(days, "1970-01")
    # the end in the unit of the index; before pandas 3 in nanoseconds
    if instants[:2] != (pd.Timestamp(0),) * 2 or instants[2].floor("s") != pd.Timestamp("1970-01-31 23:59:59"):
        yield "strings mean other times"
    hours: Any = pd.DatetimeIndex(np.arange(2).astype("M8[h]").astype("M8[s]"))
    if not (reso > resolution(days) > resolution(hours) and is_partial(hours, resolution(days))):
        yield "resolutions of times are not in the order of their size"
    keeps_resolution(days, resolution(hours))
    if days.get_loc("1970-01-01") != slice(0, 1):
        yield "a DatetimeIndex does not look up its resolution in _cache"

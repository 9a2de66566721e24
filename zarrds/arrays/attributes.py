"""The attributes of an array or group, as a dict that is written when it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias

from zarrds.errors import EncodingError
from zarrds.metadata.dtypes import JSON
from zarrds.metadata.fields import dump

__all__ = ["Attributes", "Change", "check_attributes"]

# makes new attributes out of those that there are
Change: TypeAlias = Callable[[Mapping[str, JSON]], dict[str, JSON]]


class Attributes(MutableMapping[str, JSON]):
    """JSON attributes; each change is written to the store at once, all of it or nothing.

    Not for changes from several threads at once.

    Parameters
    ----------
    get : callable
        What the attributes are.
    edit : callable
        Called with a `Change`, which it applies to the attributes as they stand in the store.
    """

    def __init__(self, get: Callable[[], Mapping[str, JSON]], edit: Callable[[Change], None]) -> None:
        self._get = get
        self._edit = edit

    def __getitem__(self, name: str) -> JSON:
        return self._get()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._get())

    def __len__(self) -> int:
        return len(self._get())

    def __setitem__(self, name: str, value: JSON) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._edit(lambda values: {n: v for n, v in values.items() if n != name})

    def clear(self) -> None:
        """As ``dict.clear``, in one write."""
        self._edit(lambda _: {})

    def update(self, *others: Any, **names: JSON) -> None:
        """As ``dict.update``, in one write."""
        added = dict(*others, **names)
        check_attributes(added)
        self._edit(lambda values: {**values, **added})

    def __repr__(self) -> str:
        return f"Attributes({dict(self._get())!r})"


def check_attributes(values: Mapping[str, JSON]) -> None:
    """Raise `EncodingError` if an attribute is not JSON, naming it."""
    for name, value in values.items():
        try:
            if not isinstance(name, str):
                raise TypeError("names of attributes are strings")
            dump(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodingError(
                f"attribute {name!r} cannot be stored: {error}",
                expected="JSON: strings, numbers, booleans, None, lists and dicts",
            ) from error

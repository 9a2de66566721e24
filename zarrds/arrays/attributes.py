"""The attributes of an array or group, as a dict that is written when it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from zarrds.errors import EncodingError
from zarrds.metadata.dtypes import JSON
from zarrds.metadata.fields import dump

__all__ = ["Attributes", "check_attributes"]


class Attributes(MutableMapping[str, JSON]):
    """JSON attributes; each change is written to the store at once, all of it or nothing.

    Not for changes from several threads at once.
    """

    def __init__(self, values: Mapping[str, JSON], put: Callable[[Mapping[str, JSON]], None]) -> None:
        self._values = dict(values)
        self._put = put

    def __getitem__(self, name: str) -> JSON:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __setitem__(self, name: str, value: JSON) -> None:
        self._replace(self._values | {name: value})

    def __delitem__(self, name: str) -> None:
        rest = dict(self._values)
        del rest[name]
        self._replace(rest)

    def update(self, *others: Any, **names: JSON) -> None:
        """As ``dict.update``, in one write."""
        self._replace(self._values | dict(*others, **names))

    def _replace(self, values: dict[str, JSON]) -> None:
        check_attributes(values)
        self._put(values)
        self._values = values

    def __repr__(self) -> str:
        return f"Attributes({self._values!r})"


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

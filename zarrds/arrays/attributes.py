"""The attributes of an array or group, as a dict that is written when it changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias

import numpy as np

from zarrds.errors import EncodingError, MetadataError
from zarrds.metadata.attributes import plain_value
from zarrds.metadata.fields import JSON, JSONObject, Raw

__all__ = ["Attributes", "Change", "plain_attributes"]

# makes new attributes out of those that there are
Change: TypeAlias = Callable[[JSONObject], Raw]


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

    def __init__(self, get: Callable[[], JSONObject], edit: Callable[[Change], None]) -> None:
        self._get = get
        self._edit = edit

    def __getitem__(self, name: str) -> JSON:
        # a copy: what is changed inside of it would not be written
        value = self._get()[name]
        try:
            return copy.deepcopy(value)
        except RecursionError as error:
            raise MetadataError(f"attribute {name!r} is nested too deeply") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._get())

    def __len__(self) -> int:
        return len(self._get())

    def __setitem__(self, name: str, value: object) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._edit(lambda values: {n: v for n, v in values.items() if n != name})

    def clear(self) -> None:
        """As ``dict.clear``, in one write."""
        self._edit(lambda _: {})

    def update(self, *others: Any, **names: object) -> None:
        """As ``dict.update``, in one write."""
        added = dict(*others, **names)
        plain = plain_attributes(added)
        self._edit(lambda values: {**values, **plain})

    def __repr__(self) -> str:
        return f"Attributes({dict(self._get())!r})"


def plain_attributes(values: Mapping[str, object]) -> Raw:
    """A copy of attributes in JSON's own types: NumPy's arrays become lists, its scalars Python's.

    NaN becomes the text "NaN", and an infinity the largest number: documents are strictly valid JSON.

    Raises
    ------
    EncodingError
        If one is no JSON, naming it.
    """
    plain: Raw = {}
    for name, value in values.items():
        try:
            if not isinstance(name, str):
                raise TypeError("names of attributes are strings")
            plain[name] = plain_value(json.loads(json.dumps(value, default=_of_numpy)))
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodingError(
                f"attribute {name!r} cannot be stored: {error}",
                expected="JSON: strings, numbers, booleans, None, lists and dicts",
            ) from error
    return plain


def _of_numpy(value: object) -> Any:
    # of datetimes NumPy would give the bare number, of units that nobody knows
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufUO":
        return value.tolist()
    kind = f"of dtype {value.dtype}" if isinstance(value, np.ndarray | np.generic) else type(value).__name__
    raise TypeError(f"{kind} is not JSON")

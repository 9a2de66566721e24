"""What a change has fetched first is fetched by the next one that is like it at once, and is looked at again.

Nothing is gone by what is remembered of the last change but which keys these are: a change that begins asks for them
beside the root's documents and its marker, before it knows that it needs them, and that no other writer is at it.
Before it puts anything else it makes sure that all of it, as far as it went by it, is still as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from zarrds.errors import StoreIOError
from zarrds.storage.found import Found, version_of
from zarrds.storage.fsspec.commits import is_key
from zarrds.storage.fsspec.objects import identity_of
from zarrds.storage.obstore.changes.commits import conflict
from zarrds.storage.traits import Fetched
from zarrds.threads import MOST

__all__ = ["Prefetch", "fetched_of", "keys_of_last", "note_keys"]

_MOST_NAMES = 64

_keys_by_name: dict[str, tuple[str, ...]] = {}


def fetched_of(found: Found | None) -> Fetched:
    """An object that was found, as a value that was fetched."""
    if found is None:
        return Fetched(None)
    return Fetched(found.data, identity_of(found.info), version=version_of(found.info))


def keys_of_last(name: str) -> tuple[str, ...]:
    """The keys that the last change of that name has fetched first; none where nothing is known of one."""
    return _keys_by_name.get(name, ())


def note_keys(name: str, keys: Collection[str]) -> None:
    """Remember which keys a change has fetched, if they are few."""
    _keys_by_name.pop(name, None)
    if len(keys) < MOST:
        _keys_by_name[name] = tuple(keys)
    for oldest in list(_keys_by_name)[:-_MOST_NAMES]:
        _keys_by_name.pop(oldest, None)


@dataclass(slots=True)
class Prefetch:
    """What one change has fetched before it knew whether it would need it.

    Attributes
    ----------
    name : str
        The name of such changes; empty for those of which nothing is remembered.
    values : dict of str to Fetched
        By key; some of them may not be needed.
    folders : list of str or None
        What lies directly below the root, if that was asked for.
    asked : dict of str to None
        The keys that were needed, whether or not they are among them.
    """

    name: str = ""
    values: dict[str, Fetched] = field(default_factory=dict)
    folders: list[str] | None = None
    asked: dict[str, None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether something of it may be gone by, and is still to be looked at again."""
        return bool(self.values) or self.folders is not None

    @property
    def needed(self) -> list[str]:
        """The keys of all that was needed, and fetched so."""
        return [key for key in self.asked if key in self.values]

    def forget(self) -> None:
        """All was looked at again, or nothing is gone by it any more."""
        self.values, self.folders = {}, None

    def fetching(
        self, fetch: Callable[[Sequence[str]], Mapping[str, Fetched]], list_folders: Callable[[], list[str]]
    ) -> list[Callable[[], None]]:
        """Calls that fetch what the last change had to; who needs what fails asks again."""
        keys = keys_of_last(self.name)

        def get_all() -> None:
            self.values = {key: found for key, found in fetch(keys).items() if found.problem is None}

        def see_folders() -> None:
            with suppress(StoreIOError):
                self.folders = list_folders()

        return [see_folders, get_all] if keys else []

    def checking(
        self, identity: Callable[[str], object], list_folders: Callable[[], list[str]], path: str
    ) -> list[Callable[[], None]]:
        """Calls that raise `ConflictError` if what was needed is not as it was."""

        def check(key: str) -> None:
            if identity(key) != self.values[key].identity:
                raise conflict(path)

        def check_folders() -> None:
            if {*filter(is_key, list_folders())} != {*filter(is_key, self.folders or ())}:
                raise conflict(path)

        calls: list[Callable[[], None]] = [partial(check, key) for key in self.needed]
        return calls if self.folders is None else [check_folders, *calls]

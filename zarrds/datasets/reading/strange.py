"""Arrays that cannot be variables, or not be decoded: one warning names them, and they never hide the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal, TypeAlias, get_args

from zarrds.arguments import check_choice, warn
from zarrds.errors import MetadataError
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node
from zarrds.metadata.nodes.documents import Nodes
from zarrds.storage.protocol import path_below

__all__ = [
    "LeftOut",
    "PhonyDims",
    "check_phony_dims",
    "children_of",
    "groups_below",
    "named",
    "path_of",
    "warn_of_undecoded",
]

PhonyDims: TypeAlias = Literal["sort", "access"] | None
_MAX_SHOWN = 10  # of those that are left out


def check_phony_dims(phony_dims: object) -> None:
    """Raise `EncodingError` for anything but ``"sort"``, ``"access"`` and None."""
    check_choice((*get_args(get_args(PhonyDims)[0]), None), phony_dims=phony_dims)


@dataclass(slots=True)
class LeftOut:
    """What is left out of the groups that are opened together, and why; silently what has a name that is `silenced`.

    And what is given as it is stored, since it cannot be decoded.
    """

    store: str
    silenced: Collection[str] = ()
    problems: dict[str, str] = field(default_factory=dict)
    unnamed: set[str] = field(default_factory=set)
    undecoded: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, error: MetadataError) -> None:
        """Note an array, or a group, that cannot be opened."""
        sides = (("expected", error.expected), ("found", error.found))
        shown = ", ".join(f"{name} {value!s:.80}" for name, value in sides if value is not None)
        self.problems[path] = f"{error.problem} ({shown})" if shown else error.problem

    def add_unnamed(self, path: str) -> None:
        """Note an array whose dimensions have no names."""
        self.problems[path] = "it has no names for its dimensions"
        self.unnamed.add(path)

    def add_of_other_size(self, path: str, dim: Hashable, size: int, known: int) -> None:
        """Note an array in which a dimension has another size than in those before it."""
        self.problems[path] = f"its dimension {dim!r} has the size {size}, and {known} in arrays before it"

    def add_undecoded(self, group: str, name: object, problem: str) -> None:
        """Note a variable that is given as it is stored."""
        self.undecoded[path_of(group, name)] = problem

    def names_in(self, path: str) -> set[str]:
        """The names of those directly below a group."""
        return {name for parent, _, name in (found.rpartition("/") for found in self.problems) if parent == path}

    def warn(self) -> None:
        """Say so, once, if there is anything to say."""
        if self.undecoded:
            warn_of_undecoded(self.store, self.undecoded)
        names = sorted(path for path in self.problems if path.rpartition("/")[2] not in self.silenced)
        if not names:
            return
        shown, more = _shown(self.problems, names)
        phony = "phony_dims='sort' names unnamed dimensions, " if self.unnamed.intersection(names) else ""
        variables = [name.rpartition("/")[2] for name in names]
        warn(
            f"{len(names)} arrays or groups in {self.store!r} cannot be opened and are left out: {shown}{more}. "
            f"{phony}zarrds.open_group opens what can be read of them, drop_variables={variables[:_MAX_SHOWN]!r} "
            "silences this warning"
        )


def path_of(group: str, name: object) -> str:
    """The path of a variable in a group; that of the group for None."""
    return "/".join(part for part in (group, "" if name is None else str(name)) if part)


def warn_of_undecoded(store: str, problems: Mapping[str, str]) -> None:
    """Warn of variables that are given as they are stored, by path, and why."""
    shown, more = _shown(problems, sorted(problems))
    names = {path.rpartition("/")[2]: False for path in sorted(problems)[:_MAX_SHOWN]}
    warn(
        f"{len(problems)} variables in {store!r} cannot be decoded, wholly or in part, and are given as they are "
        f"stored: {shown}{more}. "
        f"decode_times={names!r} silences this warning where it is times, decode_cf=False in any case"
    )


def _shown(problems: Mapping[str, str], names: list[str]) -> tuple[str, str]:
    shown = "; ".join(f"{name!r}: {problems[name]}" for name in names[:_MAX_SHOWN])
    return shown, f"; and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""


def children_of(
    nodes: Nodes, path: str, skip: Collection[str], left_out: LeftOut, *, is_edited: bool = False
) -> dict[str, Node]:
    """The nodes directly below a group, by name, but for those to skip and those that cannot be read.

    Who edits the group (`is_edited`) must know what all of them are: a document that is no JSON is an error then.
    """
    try:
        return nodes.children(path, skip=skip)
    except MetadataError:
        pass  # one of them; which one, and the others, is seen one by one
    found = {}
    for name in nodes.names(path):
        where = path_below(path, name)
        try:
            node = None if name in skip else nodes.get(where)
        except MetadataError as error:
            if error.key != where and (is_edited or not (error.key or "").startswith(f"{where}/")):
                raise
            left_out.add(where, error)
            continue
        if node is not None:
            found[name] = node
    return found


def groups_below(nodes: Nodes, path: str, left_out: LeftOut) -> Iterator[str]:
    """The path of a group and those of the groups below it, parents first."""
    yield path
    for name, node in children_of(nodes, path, (), left_out).items():
        if isinstance(node, GroupMetadata):
            yield from groups_below(nodes, path_below(path, name), left_out)


def named(
    path: str, arrays: Mapping[str, ArrayMetadata], phony_dims: PhonyDims, numbers: count[int], left_out: LeftOut
) -> dict[str, ArrayMetadata]:
    """The arrays of a group with a name for each dimension, but for those that have none and get none.

    Names are made up as h5netcdf does it: dimensions of one size share a name, but never two of one array.

    Parameters
    ----------
    path : str
        Of the group.
    arrays : mapping of str to ArrayMetadata
    phony_dims : {"sort", "access"} or None
        In which order they are numbered: by size, or as the arrays are stored.
    numbers : iterator of int
        Those that no group has yet.
    left_out : LeftOut
    """
    if all(array.dimension_names is not None and None not in array.dimension_names for array in arrays.values()):
        return dict(arrays)
    taken = {name for array in arrays.values() for name in array.dimension_names or ()}
    places = {name: _places(array) for name, array in arrays.items()}
    if phony_dims is None:
        for name in [name for name, needed in places.items() if any(needed)]:
            left_out.add_unnamed(path_below(path, name))
        return {name: array for name, array in arrays.items() if not any(places[name])}
    needed = dict.fromkeys(place for each in places.values() for place in each if place is not None)
    made = {
        place: next(new for n in numbers if (new := f"phony_dim_{n}") not in taken)
        for place in (sorted(needed) if phony_dims == "sort" else needed)
    }
    found = {}
    for name, array in arrays.items():
        names = array.dimension_names or (None,) * len(array.shape)
        full = [made[place] if place else known for known, place in zip(names, places[name], strict=True)]
        found[name] = replace(array, dimension_names=tuple(full))
    return found


def _places(array: ArrayMetadata) -> list[tuple[int, int] | None]:
    """For each dimension without a name its size, and which of this size it is in the array; None for the others."""
    seen: Counter[int] = Counter()
    found: list[tuple[int, int] | None] = []
    for known, size in zip(array.dimension_names or (None,) * len(array.shape), array.shape, strict=True):
        seen[size] += known is None
        found.append((size, seen[size]) if known is None else None)
    return found

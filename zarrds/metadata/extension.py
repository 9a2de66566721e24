"""What zarrds notes of an array or a group: an object that other readers need not know.

``{"must_understand": false, "id": "0f1e2d3c4b5a6978", "complete": [744, 721, 1440]}``. In the model it is one of the
`extensions`; `zarrds.metadata.formats.v3` and `.v2` say where it lies in a store. Another library may keep it when it
makes the array longer, or drop it; what it says is then still right. Only of an array that such a library has cut and
made longer again may it say too much: chunks that are rightly absent then count as lost.

All that is noted goes through `note_of` and `with_note`. A group's notes lie in the consolidated metadata alone:
whoever needs one must do without it where another tool has written that, and where a group below the root is opened as
if it were a store.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Hashable, Iterable, Set
from dataclasses import dataclass, replace
from typing import TypeVar

from zarrds.metadata.equality import is_same
from zarrds.metadata.fields import JSON, JSONObject, Raw
from zarrds.metadata.model import ArrayMetadata, GroupMetadata, Node
from zarrds.metadata.rectilinear import runs_within

__all__ = [
    "ENUMERATION",
    "MEMBER",
    "ORDER",
    "PANDAS",
    "STATISTICS",
    "UNLIMITED",
    "Marks",
    "has_notes",
    "is_another",
    "is_replaced",
    "marks_of",
    "named_dims",
    "new_id",
    "note_of",
    "unlimited_dims",
    "with_marks",
    "with_new_id",
    "with_note",
    "with_shape",
    "without_notes",
]

N = TypeVar("N", ArrayMetadata, GroupMetadata)

MEMBER = "zarrds"
# the note of labels that says how they are sorted
ORDER = "order"
# the note of an array that there are statistics of its chunks, which writers are to keep right
STATISTICS = "statistics"
# the note of integers that are an enumeration in netCDF
ENUMERATION = "enumeration"
# what pandas needs of an array, to make of it what it was
PANDAS = "pandas"
# the note of a group that dimensions were unlimited in the netCDF file that it comes from
UNLIMITED = "unlimited_dims"
_MARKS = frozenset({"must_understand", "id", "complete"})
_ID = re.compile(r"[0-9a-f]{16}\Z")


@dataclass(frozen=True, slots=True)
class Marks:
    """What is noted of one array.

    Attributes
    ----------
    id : str or None
        16 hexadecimal digits, others whenever the array is made anew or overwritten as a whole.
    complete : tuple of int or None
        Sizes in elements, one a dimension: every chunk that begins inside of them, and inside of the shape, was
        written. If one is absent, it was lost. Other chunks may be absent, which means the fill value. Sizes, and not
        a flag: another library may resize the array, and keep the mark.
    """

    id: str | None = None
    complete: tuple[int, ...] | None = None


def new_id() -> str:
    """A `Marks.id` that no other array has."""
    return secrets.token_hex(8)


def marks_of(metadata: ArrayMetadata) -> Marks:
    """What is noted of an array; what is not well-formed counts as absent."""
    member = metadata.extensions.get(MEMBER)
    if not isinstance(member, dict):
        return Marks()
    id_ = member.get("id")
    return Marks(
        id=id_ if isinstance(id_, str) and _ID.match(id_) else None,
        complete=_sizes(member.get("complete"), len(metadata.shape)),
    )


def _sizes(value: JSON, ndim: int) -> tuple[int, ...] | None:
    # True and False are integers to Python, but not to JSON
    if isinstance(value, list) and len(value) == ndim and all(type(n) is int and n >= 0 for n in value):
        return tuple(value)
    return None


def with_marks(metadata: ArrayMetadata, marks: Marks) -> ArrayMetadata:
    """The same array with these marks in place of those that it had.

    Other members of the object, which a newer zarrds may have put there, are kept.

    Examples
    --------
    >>> from zarrds.metadata.dtypes import DataType
    >>> plain = ArrayMetadata((4, 6), DataType.from_v3("int8"), (2, 3), ({"name": "bytes"},), fill_value=0)
    >>> metadata = with_marks(plain, Marks(complete=(4, 6)))
    >>> metadata.extensions
    {'zarrds': {'must_understand': False, 'complete': [4, 6]}}
    >>> marks_of(metadata).complete
    (4, 6)
    """
    before = metadata.extensions.get(MEMBER)
    known = {"must_understand", "id", "complete"}
    member: Raw = {}
    if marks.id is not None:
        member["id"] = marks.id
    if marks.complete is not None:
        member["complete"] = list(marks.complete)
    if isinstance(before, dict):
        member |= {name: value for name, value in before.items() if name not in known}
    return _with_member(metadata, member)


def with_new_id(metadata: ArrayMetadata) -> ArrayMetadata:
    """The same array by another name: who has read, opened or planned by it is told that it is not what it was."""
    return with_marks(metadata, replace(marks_of(metadata), id=new_id()))


def _with_member(node: N, member: JSONObject) -> N:
    extensions = {name: value for name, value in node.extensions.items() if name != MEMBER}
    if member:
        extensions[MEMBER] = {"must_understand": False, **member}
    return replace(node, extensions=extensions)


def without_notes(node: N) -> N:
    """The same node with nothing noted of it."""
    return _with_member(node, {})


def has_notes(node: Node) -> bool:
    """Whether anything but marks is noted of a node, which of most arrays it is not."""
    member = node.extensions.get(MEMBER)
    return isinstance(member, dict) and not _MARKS.issuperset(member)


def note_of(node: Node, name: str) -> JSON:
    """What is noted under `name`, None if nothing is: what labels need, for example."""
    member = node.extensions.get(MEMBER)
    return member.get(name) if isinstance(member, dict) else None


def with_note(node: N, name: str, value: JSON) -> N:
    """The same node with `value` noted under `name` in place of what was; None removes it.

    Examples
    --------
    >>> group = with_note(GroupMetadata(), "title", {"dtype": "str"})
    >>> note_of(group, "title"), with_note(group, "title", None) == GroupMetadata()
    ({'dtype': 'str'}, True)
    """
    before = node.extensions.get(MEMBER)
    if value is None and (before is None or (isinstance(before, dict) and name not in before)):
        return node
    known = {name, "must_understand"}
    member = {k: v for k, v in before.items() if k not in known} if isinstance(before, dict) else {}
    return _with_member(node, member if value is None else {**member, name: value})


def unlimited_dims(group: GroupMetadata, dims: Iterable[Hashable]) -> frozenset[str]:
    """Those of a group's dimensions that a netCDF file has as unlimited ones; in Zarr all can grow."""
    noted = note_of(group, UNLIMITED)
    return frozenset(named_dims(noted if isinstance(noted, list) else (), dims))


def named_dims(given: object, dims: Iterable[Hashable]) -> list[str]:
    """Those of some dimensions that are named by one name or several, as xarray takes them; all else names none.

    Examples
    --------
    >>> named_dims("time", ["time", "x"]), named_dims({"x", 5}, ["time", "x"]), named_dims(None, ["x"])
    (['time'], ['x'], [])
    """
    names = [given] if isinstance(given, str) else given if isinstance(given, list | tuple | Set) else ()
    return [dim for dim in dims if isinstance(dim, str) and dim in names]


def with_shape(metadata: ArrayMetadata, shape: tuple[int, ...], *, is_written: bool = False) -> ArrayMetadata:
    """The same array in another shape, with marks that are still true.

    Parameters
    ----------
    metadata : ArrayMetadata
    shape : tuple of int
        In elements; as many numbers as before.
    is_written : bool
        Whether every element that is new is written by the time that this is put in the store.
    """
    marks = marks_of(metadata)
    # what is known of the order of labels is known of all of them
    changed = with_note(replace(metadata, shape=shape), ORDER, None) if shape != metadata.shape else metadata
    if marks.complete is None:
        return changed
    # what reaches beyond the shape says nothing: another library has cut the array there
    complete = tuple(
        new if is_written and done >= old else min(done, old, new)
        for done, old, new in zip(marks.complete, metadata.shape, shape, strict=True)
    )
    return with_marks(changed, replace(marks, complete=complete))


def is_another(opened: ArrayMetadata, now: ArrayMetadata) -> bool:
    """Whether what stands there now is another array than the one that was opened, of whatever shape that is now."""
    before, after = marks_of(opened).id, marks_of(now).id
    if before is not None and before != after and (after is not None or now.zarr_format == 3):
        return True
    return _is_stored_otherwise(opened, now)


def is_replaced(opened: ArrayMetadata, now: Node | None) -> bool:
    """Whether what stands there now is not the array that was opened, nor one that has grown from it."""
    if not isinstance(now, ArrayMetadata):
        return True
    before, after = marks_of(opened).id, marks_of(now).id
    # zarr-python keeps the marks of arrays of format 3; of format 2 it drops them, also from consolidated copies alone
    if before != after and (now.zarr_format == 3 or None not in (before, after)):
        return True
    return _is_stored_otherwise(opened, now) or any(new < old for old, new in zip(opened.shape, now.shape, strict=True))


def _is_stored_otherwise(opened: ArrayMetadata, now: ArrayMetadata) -> bool:
    """Whether chunks of one are none of the other; how they are made is compared where not both have an id."""
    if len(opened.shape) != len(now.shape):
        return True
    if opened.chunk_key_encoding != now.chunk_key_encoding:  # which no change of an array touches
        return True
    if None not in (marks_of(opened).id, marks_of(now).id):
        return False
    if opened.edges is None and now.edges is None:
        is_same_grid = opened.chunks == now.chunks
    else:  # a grid that has grown has other edges, behind those that there were
        one, other = (runs_within(each.edges or each.chunks, opened.shape) for each in (opened, now))
        is_same_grid = one == other
    return not is_same_grid or not all(is_same(getattr(opened, n), getattr(now, n)) for n in ("data_type", "codecs"))

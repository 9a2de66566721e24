"""The member of array documents that is zarrds' own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrds.metadata.dtypes import DataType
from zarrds.metadata.extension import MEMBER, Marks, marks_of, new_id, with_marks, with_shape
from zarrds.metadata.formats import v2, v3
from zarrds.metadata.model import ArrayMetadata, ChunkKeyEncoding

ID = "0123456789abcdef"


def plain(zarr_format: Any = 3, shape: tuple[int, ...] = (4, 6), chunks: tuple[int, ...] = (2, 3)) -> ArrayMetadata:
    return ArrayMetadata(
        shape=shape,
        data_type=DataType.from_v3("int8"),
        chunks=chunks,
        codecs=({"name": "bytes"},),
        fill_value=0,
        chunk_key_encoding=ChunkKeyEncoding() if zarr_format == 3 else ChunkKeyEncoding("v2", "."),
        zarr_format=zarr_format,
    )


def with_member(member: Any) -> ArrayMetadata:
    metadata = plain()
    return ArrayMetadata(
        metadata.shape, metadata.data_type, metadata.chunks, metadata.codecs, 0, extensions={MEMBER: member}
    )


@pytest.mark.parametrize("marks", [Marks(ID), Marks(None, (4, 6)), Marks(ID, (0, 10)), Marks()])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_marks_survive_in_documents(zarr_format: int, marks: Marks) -> None:
    module = v3 if zarr_format == 3 else v2
    raw = module.to_raw(with_marks(plain(zarr_format), marks))
    node = module.parse(raw)
    assert isinstance(node, ArrayMetadata)
    assert marks_of(node) == marks
    member = (raw if zarr_format == 3 else raw[v2.ARRAY]).get(MEMBER)
    expected: dict[str, Any] = {"must_understand": False}
    if marks.id is not None:
        expected["id"] = marks.id
    if marks.complete is not None:
        expected["complete"] = list(marks.complete)
    assert member == (expected if marks != Marks() else None)


def test_marks_of_no_dimensions() -> None:
    metadata = plain(shape=(), chunks=())
    assert marks_of(metadata).complete is None
    assert marks_of(with_marks(metadata, Marks(complete=()))).complete == ()


@pytest.mark.parametrize(
    "complete",
    [None, True, 5, "ab", [4], [4, 6, 1], [4, -1], [4, 6.0], [4, True], [4, None], {"0": 4, "1": 6}, [[4, 6]]],
)
def test_malformed_sizes_are_absent(complete: Any) -> None:
    member = {"must_understand": False, "id": ID, "complete": complete}
    assert marks_of(with_member(member)) == Marks(ID)


@pytest.mark.parametrize("id_", [None, 5, "", ID[:-1], ID + "0", ID.upper(), ID[:-1] + "g", ID + "\n", [ID]])
def test_malformed_ids_are_absent(id_: Any) -> None:
    assert marks_of(with_member({"id": id_, "complete": [4, 6]})) == Marks(None, (4, 6))


@pytest.mark.parametrize("member", [None, True, 1, "x", [], [ID], {}])
def test_malformed_members_are_absent(member: Any) -> None:
    assert marks_of(with_member(member)) == Marks()
    # and give way to marks
    assert with_marks(with_member(member), Marks(ID)).extensions == {MEMBER: {"must_understand": False, "id": ID}}


def test_what_is_not_known_is_kept() -> None:
    metadata = with_member({"must_understand": False, "id": ID, "digest": [1, 2], "complete": "?"})
    metadata.extensions["other"] = {"must_understand": False}  # type: ignore[index]  # a dict, as it is parsed
    changed = with_marks(metadata, Marks(complete=(1, 2)))
    assert changed.extensions == {
        MEMBER: {"must_understand": False, "complete": [1, 2], "digest": [1, 2]},
        "other": {"must_understand": False},
    }
    assert with_marks(changed, Marks()).extensions[MEMBER] == {"must_understand": False, "digest": [1, 2]}
    # the first is as it was
    assert marks_of(metadata).id == ID


def test_no_marks_no_member() -> None:
    assert with_marks(with_marks(plain(), Marks(ID, (4, 6))), Marks()) == plain()
    assert with_marks(plain(), Marks()) == plain()


def test_ids_are_well_formed_and_differ() -> None:
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert {marks_of(with_marks(plain(), Marks(id_))).id for id_ in ids} == ids


# shapes


@st.composite
def changes(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[str, tuple[int, ...]]]]:
    """The chunks' shape, and how an array is resized: by whom, and to which shape."""
    ndim = draw(st.integers(1, 2))
    sizes = st.tuples(*[st.integers(0, 7)] * ndim)
    kinds = st.sampled_from(["empty", "written", "other library"])
    return draw(st.tuples(*[st.integers(1, 3)] * ndim)), draw(st.lists(st.tuples(kinds, sizes), max_size=6))


@given(changes(), st.booleans())
def test_marks_never_claim_a_chunk_that_was_not_written(
    case: tuple[tuple[int, ...], list[tuple[str, tuple[int, ...]]]], is_complete: bool
) -> None:
    """Against an array that knows, of each element, whether it was written: True, False."""
    chunks, steps = case
    metadata = plain(shape=(5,) * len(chunks), chunks=chunks)
    written = np.full(metadata.shape, is_complete)
    if is_complete:
        metadata = with_marks(metadata, Marks(ID, metadata.shape))
    grown_by_others = False
    for kind, shape in steps:
        grown = np.full(shape, kind == "written")
        kept = tuple(slice(0, min(a, b)) for a, b in zip(shape, metadata.shape, strict=True))
        grown[kept] = written[kept]
        if kind == "other library":  # which knows nothing of marks
            grown_by_others |= any(b > a for a, b in zip(metadata.shape, shape, strict=True))
            metadata = ArrayMetadata(
                shape, metadata.data_type, chunks, metadata.codecs, 0, extensions=metadata.extensions
            )
        else:
            metadata = with_shape(metadata, shape, is_written=kind == "written")
        written = grown
        marks = marks_of(metadata)
        assert (marks.complete is not None, marks.id) == ((True, ID) if is_complete else (False, None))
        if marks.complete is None or grown_by_others:
            continue  # what another library cut off and gave back, it should not have marked as complete
        for position in np.ndindex(metadata.chunk_grid):
            first = tuple(p * c for p, c in zip(position, chunks, strict=True))
            if all(f < size for f, size in zip(first, marks.complete, strict=True)):
                assert written[first]


def test_an_array_that_is_appended_to_stays_complete() -> None:
    metadata = with_marks(plain(shape=(0, 6)), Marks(complete=(0, 6)))
    for size in (1, 3, 3, 8):
        metadata = with_shape(metadata, (size, 6), is_written=True)
        assert marks_of(metadata).complete == (size, 6)
    metadata = with_shape(metadata, (10, 7))  # no longer: what is new is not written
    assert marks_of(metadata).complete == (8, 6)
    assert marks_of(with_shape(metadata, (12, 7), is_written=True)).complete == (8, 6)
    assert marks_of(with_shape(metadata, (5, 9))).complete == (5, 6)


def test_what_another_library_cut_off_is_not_complete_when_it_grows_again() -> None:
    cut = ArrayMetadata(
        (3, 6),
        plain().data_type,
        (2, 3),
        plain().codecs,
        0,
        extensions=with_marks(plain(), Marks(complete=(4, 6))).extensions,
    )
    assert marks_of(with_shape(cut, (4, 6))).complete == (3, 6)
    assert marks_of(with_shape(cut, (4, 6), is_written=True)).complete == (4, 6)

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.engine import selections
from tests.engine.selections import Shape, grids, ids_of
from zarrds import MemoryStore, create_array
from zarrds.arrays.array import Array
from zarrds.engine.planning import plans, tables
from zarrds.engine.planning.plans import PointPlan, ProductPlan
from zarrds.engine.planning.selection import plan_basic, plan_orthogonal, plan_pointwise
from zarrds.errors import SelectionError

Planner = Callable[[Any, Shape, Shape], ProductPlan | PointPlan]
Keys = Callable[[Shape], st.SearchStrategy[Any]]
Select = Callable[[npt.NDArray[Any], Any], Any]

WAYS = {
    "basic": (plan_basic, selections.basic_keys, selections.select_basic),
    "orthogonal": (plan_orthogonal, selections.orthogonal_keys, selections.select_orthogonal),
    "pointwise": (plan_pointwise, selections.pointwise_keys, selections.select_pointwise),
}
# the ways to select are many: more examples than elsewhere
often = settings(max_examples=6 * settings().max_examples)
each_way = pytest.mark.parametrize(("planner", "keys", "select"), WAYS.values(), ids=WAYS)


def chunk_ids(position: tuple[int, ...], shape: Shape, chunks: Shape) -> npt.NDArray[np.int64]:
    """The chunk of `ids_of(shape)`, with -1 for what lies outside of the array."""
    padded = np.full(chunks, -1)
    inside = tuple(slice(n * c, (n + 1) * c) for n, c in zip(position, chunks, strict=True))
    part = ids_of(shape)[inside]
    padded[tuple(slice(0, n) for n in part.shape)] = part
    return padded


@pytest.mark.one_in(30)
@each_way
@often
@given(data=st.data(), grid=grids())
def test_plan(planner: Planner, keys: Keys, select: Select, data: st.DataObject, grid: tuple[Shape, Shape]) -> None:
    shape, chunks = grid
    key = data.draw(keys(shape))
    plan = planner(key, shape, chunks)
    expected = np.asarray(select(ids_of(shape), key))
    assert plan.shape == expected.shape
    assert prod(plan.buffer_shape) == prod(plan.shape)

    out = np.full(plan.buffer_shape, -1)
    times_named = np.zeros(plan.buffer_shape, int)
    seen = set()
    for part in plan:
        assert part.position not in seen
        seen.add(part.position)
        chunk = chunk_ids(part.position, shape, chunks)
        taken = chunk[part.inside]
        assert taken.min() >= 0
        out[part.out] = taken
        np.add.at(times_named, part.out, 1)
        in_array = set(chunk[chunk >= 0].tolist())
        takes_all = set(taken.ravel().tolist()) == in_array
        if planner is plan_basic or (planner is plan_orthogonal and taken.size == len(in_array)):
            assert part.covers == takes_all
        else:  # it may be careful where elements are named twice
            assert takes_all or not part.covers
        if plan.is_basic:
            assert np.shares_memory(out, out[part.out])
    assert len(plan) == len(seen)
    assert (times_named == 1).all()
    np.testing.assert_array_equal(out.reshape(plan.shape), expected)


def stored(shape: Shape, chunks: Shape, values: npt.NDArray[Any]) -> Array:
    array = create_array(MemoryStore(), shape=shape, dtype=values.dtype, chunks=chunks, fill_value=-1)
    array[...] = values
    return array


INDEXERS: dict[Planner, Callable[[Array], Any]] = {
    plan_basic: lambda a: a,
    plan_orthogonal: lambda a: a.oindex,
    plan_pointwise: lambda a: a.vindex,
}


@pytest.mark.one_in(30)
@each_way
@often
@given(data=st.data(), grid=grids())
def test_read_and_write(
    planner: Planner, keys: Keys, select: Select, data: st.DataObject, grid: tuple[Shape, Shape]
) -> None:
    shape, chunks = grid
    key = data.draw(keys(shape))
    ids = ids_of(shape)
    array = stored(shape, chunks, ids)
    expected = select(ids, key)
    got = INDEXERS[planner](array)[key]
    assert type(got) is type(expected) or (isinstance(got, np.int64) and expected.shape == ())
    np.testing.assert_array_equal(got, expected)

    # a value that is broadcast: leading dimensions left out, others of length 1
    cut = data.draw(st.integers(0, np.ndim(expected)))
    sides = tuple(n if data.draw(st.booleans()) else 1 for n in np.shape(expected)[cut:])
    value = -2 - np.arange(prod(sides)).reshape(sides)
    INDEXERS[planner](array)[key] = value
    flat = ids.ravel()
    for i, v in zip(np.ravel(expected), np.broadcast_to(value, np.shape(expected)).ravel(), strict=True):
        flat[i] = v  # the last one wins
    np.testing.assert_array_equal(array[...], flat.reshape(shape))


@pytest.mark.parametrize("way", ["oindex", "vindex"])
def test_last_of_two_values_for_one_element_wins(way: str) -> None:
    array = stored((6,), (2,), ids_of((6,)))
    getattr(array, way)[[5, 0, 5, 0, 5]] = [1, 2, 3, 4, 50]
    assert array[...].tolist() == [4, 1, 2, 3, 4, 50]


@pytest.mark.parametrize("step", [10**30, -(10**30), 2**63, -(2**63)])
def test_steps_larger_than_numpy_can_count(step: int) -> None:
    ids = ids_of((4, 5, 6))
    array = stored((4, 5, 6), (2, 2, 2), ids)
    np.testing.assert_array_equal(array[::step, 1, 3:1:step], ids[::step, 1, 3:1:step])
    key = ([3, 0], [1, 1, 4], slice(4, None, step))
    np.testing.assert_array_equal(array.oindex[key], selections.select_orthogonal(ids, key))
    points = ([3, 0], [1, 4], slice(4, None, step))
    np.testing.assert_array_equal(array.vindex[points], ids[points])


# what does not fit

# (the key, whether NumPy takes it, that is, whether the difference is ours on purpose)
MALFORMED: list[tuple[Any, bool]] = [
    (3, False),
    (-4, False),
    ((0, 4), False),
    ((0, -5), False),
    ((0, 0, 0), False),
    ((..., ...), False),
    ((..., 0, ..., 0), False),
    ((0, 0, ..., 0), False),
    (1.0, False),
    (np.float64(1), False),
    ("a", False),
    (10**30, False),
    ({}, False),
    (np.array(3), False),
    # NumPy adds a dimension
    (None, True),
    (np.newaxis, True),
    (True, True),
    (False, True),
    (np.True_, True),
    (np.array(True), True),
    ((0, True), True),
    # arrays belong in oindex and vindex
    ([0], True),
    (np.array([0]), True),
    (np.array([True, False, True]), True),
]


@pytest.mark.parametrize(("key", "numpy_takes_it"), MALFORMED)
def test_not_basic(key: Any, numpy_takes_it: bool) -> None:
    array = stored((3, 4), (2, 2), ids_of((3, 4)))
    if numpy_takes_it:
        array_of_numpy = ids_of((3, 4))
        array_of_numpy[key]
    else:
        with pytest.raises(IndexError):
            ids_of((3, 4))[key]
    for way in (plan_basic, plan_orthogonal) if not isinstance(key, list | np.ndarray) else (plan_basic,):
        with pytest.raises(SelectionError) as caught:
            INDEXERS[way](array)[key]
        assert caught.value.path == array.store.path
        assert caught.value.key == "/"
        with pytest.raises(SelectionError):
            INDEXERS[way](array)[key] = 7
    np.testing.assert_array_equal(array[...], ids_of((3, 4)))


@pytest.mark.parametrize("key", [slice(None, None, 0), slice(0.5, 2), slice("a"), slice(None, [1])])
def test_not_a_slice(key: slice) -> None:
    with pytest.raises((ValueError, TypeError)):
        ids_of((5,))[key]
    for planner in WAYS.values():
        with pytest.raises(SelectionError, match="not a slice"):
            planner[0](key, (5,), (2,))


@pytest.mark.parametrize(
    "key",
    [
        [[0, 1], [2]],
        [0.0],
        np.array([]),
        np.array([0.5]),
        ["a"],
        [None],
        [0, None],
        [2**70],
        [True, False],
        np.zeros(6, bool),
        np.zeros((2, 5), bool),
        [5],
        [-6],
        [0, 1, 2**40],
        np.array([2**63], np.uint64),
        True,
        np.array(False),
        {1, 2},
    ],
)
def test_not_an_array_of_positions(key: Any) -> None:
    if not isinstance(key, bool) and np.ndim(np.array(key, object)) > 0:
        with pytest.raises((IndexError, ValueError)):
            ids_of((5,))[np.asarray(key)]
    for planner in (plan_orthogonal, plan_pointwise):
        with pytest.raises(SelectionError):
            planner(key, (5,), (2,))


def test_not_orthogonal_or_not_pointwise() -> None:
    with pytest.raises(SelectionError, match="one dimension"):
        plan_orthogonal([[0, 1]], (5,), (2,))
    with pytest.raises(SelectionError, match="do not fit each other"):
        plan_pointwise(([0, 1], [0, 1, 2]), (5, 5), (2, 2))
    with pytest.raises(SelectionError, match="mask does not fit"):
        plan_orthogonal(np.zeros(0, bool), (5,), (2,))  # which NumPy takes for an empty list
    for key in (np.zeros(0, bool), np.True_, np.array(True), True, ([True] * 5, 0)):
        with pytest.raises(SelectionError):
            plan_pointwise(key, (5, 5), (2, 2))
    for key in (np.array(True), True, 0, [0]):
        with pytest.raises(SelectionError):
            plan_pointwise(key, (), ())


@given(st.integers(0, 4), st.lists(st.integers(-9, 9), max_size=4))
@example(0, [0])
@example(0, [])
def test_out_of_bounds_exactly_where_numpy_says_so(size: int, positions: list[int]) -> None:
    for key, planners in (
        *((p, (plan_basic, plan_orthogonal, plan_pointwise)) for p in positions),
        (np.array(positions, int), (plan_orthogonal, plan_pointwise)),
    ):
        try:
            np.arange(size)[key]
        except IndexError:
            for planner in planners:
                with pytest.raises(SelectionError, match="out of bounds"):
                    planner(key, (size,), (3,))
        else:
            for planner in planners:
                planner(key, (size,), (3,))


@given(data=st.data())
def test_value_that_cannot_be_broadcast(data: st.DataObject) -> None:
    shape, value_shape = data.draw(st.tuples(*[hnp.array_shapes(max_dims=3, min_side=0, max_side=3)] * 2))
    array = create_array(MemoryStore(), shape=shape, dtype="i4", chunks=2)
    expected, value = np.zeros(shape, "i4"), np.ones(value_shape, "i4")
    try:
        expected[...] = value
    except ValueError:
        with pytest.raises(SelectionError, match="value does not fit"):
            array[...] = value
    else:
        array[...] = value
    np.testing.assert_array_equal(array[...], expected)


# sizes


def test_of_a_huge_array_only_what_is_selected_costs() -> None:
    shape, chunks = (2**62, 2**61), (1, 3)
    for planner in (plan_basic, plan_orthogonal, plan_pointwise):
        (part,) = planner((-1, 5), shape, chunks)
        assert part.position == (2**62 - 1, 1)
    (part,) = plan_basic((slice(7, None, 2**62), slice(2**60, 2**60 + 1)), shape, chunks)
    assert part.position == (7, 2**60 // 3)
    parts = list(plan_pointwise(([2**62 - 1, 0, 2**62 - 1], [4, 2**61 - 1, 3]), shape, chunks))
    assert {p.position: sorted(p.out.tolist()) for p in parts} == {
        (2**62 - 1, 1): [0, 2],
        (0, (2**61 - 1) // 3): [1],
    }


@pytest.mark.parametrize(
    ("shape", "chunks", "key", "n_chunks"),
    [
        ((2**62,), (2**18,), ..., 2**44),
        ((2**62, 2**62), (1, 1), ..., 2**124),
        ((2**63 - 1,), (1,), slice(None, None, -1), 2**63 - 1),
        ((2**62,), (3,), slice(1, None, 2**40), 2**22),
        ((0, 10**9), (1, 1), ..., 0),
        ((10**9, 0), (1, 1), (slice(5, None), slice(None)), 0),
    ],
)
def test_a_plan_costs_nothing_until_it_is_walked(shape: Shape, chunks: Shape, key: Any, n_chunks: int) -> None:
    plan = plan_basic(key, shape, chunks)
    assert plan.n_chunks == n_chunks
    assert len(list(itertools.islice(plan, 3))) == min(n_chunks, 3)
    if n_chunks:
        (last,) = plan.batch(n_chunks - 1, n_chunks)
        assert last == plan.batch(n_chunks - 2, n_chunks).part(1)
        if key is ...:
            assert last.position == tuple((n - 1) // c for n, c in zip(shape, chunks, strict=True))


@given(data=st.data(), grid=grids())
def test_batches_are_the_plan_in_parts(data: st.DataObject, grid: tuple[Shape, Shape]) -> None:
    shape, chunks = grid
    planner, keys, _ = data.draw(st.sampled_from(list(WAYS.values())))
    plan = planner(data.draw(keys(shape)), shape, chunks)
    parts = list(plan)
    start = data.draw(st.integers(0, len(parts)))
    stop = data.draw(st.integers(start, len(parts)))
    batch = plan.batch(start, stop)
    for expected in (list(batch), [batch.part(i) for i in range(stop - start)]):
        assert repr(expected) == repr(parts[start:stop])
    if not isinstance(plan, ProductPlan) or not plan.is_basic:
        return
    for i, part in enumerate(parts[start:stop]):
        for axis, (number, out, inside, step, signed) in enumerate(batch.rows()[:, :, i].tolist()):
            n, out_step = abs(signed), plan.tables[axis].out_step
            assert number == part.position[axis]
            assert range(inside, inside + n * step, step) == range(*part.inside[axis].indices(chunks[axis]))
            assert (
                list(range(out, out + n * out_step, out_step)) == list(range(plan.buffer_shape[axis]))[part.out[axis]]
            )


@pytest.mark.parametrize("limit", ["_FEW", "_LISTED", "_WIDE"])
@given(data=st.data(), grid=grids(1, 2))
def test_few_and_many_pieces_and_large_numbers_give_the_same(
    limit: str, data: st.DataObject, grid: tuple[Shape, Shape]
) -> None:
    shape, chunks = grid
    key = data.draw(selections.basic_keys(shape))
    expected = plan_basic(key, shape, chunks)
    with pytest.MonkeyPatch.context() as patch:
        for module in (plans, tables):
            if hasattr(module, limit):
                patch.setattr(module, limit, 0)
        plan = plan_basic(key, shape, chunks)
        assert list(plan) == list(expected)
        np.testing.assert_array_equal(plan.batch(0, len(plan)).rows(), expected.batch(0, len(plan)).rows())
        for i in range(len(plan)):
            assert list(plan.batch(i, i + 1)) == list(expected.batch(i, i + 1))


@each_way
@given(data=st.data(), grid=grids())
def test_chunks_of_different_sizes(
    planner: Planner, keys: Keys, select: Select, data: st.DataObject, grid: tuple[Shape, Shape]
) -> None:
    shape, _ = grid
    key = data.draw(keys(shape))
    sizes = st.lists(st.integers(1, 5), max_size=4)
    chunks: list[Any] = [[*data.draw(sizes), max(n, 1)] for n in shape]
    plan = planner(key, shape, chunks)
    expected = np.asarray(select(ids_of(shape), key))
    out = np.full(plan.buffer_shape, -1)
    for part in plan:
        bounds = [np.cumsum([0, *c])[[n, n + 1]] for n, c in zip(part.position, chunks, strict=True)]
        chunk = ids_of(shape)[tuple(slice(a, b) for a, b in bounds)]
        out[part.out] = chunk[part.inside]
        assert not part.covers or set(chunk[part.inside].ravel().tolist()) == set(chunk.ravel().tolist())
    np.testing.assert_array_equal(out.reshape(plan.shape), expected)
    if planner is plan_basic:  # and cut as a regular grid, they are that grid
        regular = [max(n // 2, 1) for n in shape]
        listed = [[c] * -(-n // c) for n, c in zip(shape, regular, strict=True)]
        same = [[(p.position, p.out, p.covers) for p in plan_basic(key, shape, c)] for c in (listed, regular)]
        assert same[0] == same[1]

"""Any query of any data gives what NumPy gives of the loaded data, whatever statistics say, or once said."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import zarrds
from zarrds.datasets.querying.expressions import pruning
from zarrds.errors import EncodingError, QueryError
from zarrds.metadata.hidden import hidden_path

Mask = Callable[[xr.Dataset], xr.DataArray]

NUMBERS = ("a", "b", "c")
DTYPES = "i1 u1 i2 i4 u4 i8 u8 f4 f8".split()
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
    "==": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "//": lambda x, y: x // y,
    "%": lambda x, y: x % y,
    "**": lambda x, y: x**y,
}
TEXTS = ["", "a", "ab", "b" * 31, "b" * 40, "b" * 40 + "c", "é", "zz\0", "\U0010ffff" * 9]
PACKED = {"dtype": "i2", "scale_factor": 0.25, "add_offset": 3.0, "_FillValue": -7}


def elements(dtype: str) -> st.SearchStrategy[Any]:
    """Elements that are equal now and then, and those at the ends."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return st.sampled_from([0.0, -0.0, 1, -1.5, 2, 300.25, np.inf, -np.inf, np.nan, 1e30, -1e30]).map(kind.type)
    info = np.iinfo(kind)
    few = [n for n in (0, 1, 2, 3, 7, 100, -1, -2, -100) if info.min <= n <= info.max]
    return st.sampled_from([*few, info.min, info.max, info.max - 1]).map(kind.type)


@st.composite
def datasets(draw: st.DrawFn) -> tuple[xr.Dataset, dict[str, Any]]:
    nx, ny = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    dims: dict[str, tuple[str, ...]] = {"a": ("x", "y"), "b": ("x",), "c": ("y", "x")}
    sizes = {"x": nx, "y": ny}
    variables: dict[str, Any] = {}
    encoding: dict[str, Any] = {}
    for name, its in dims.items():
        shape = tuple(sizes[dim] for dim in its)
        dtype = draw(st.sampled_from(DTYPES))
        values = draw(npst.arrays(dtype, shape, elements=elements(dtype), fill=st.nothing()))
        encoding[name] = {"chunks": tuple(draw(st.integers(1, n)) for n in shape)}
        if draw(st.integers(0, 4)) == 0:
            values = draw(npst.arrays("i1", shape, elements=st.integers(-9, 9), fill=st.nothing())) * 0.25 + 3
            values[values == 1.25] = np.nan
            encoding[name] |= PACKED
        variables[name] = (its, values)
    times = np.datetime64("2019-03-01", "ns") + np.sort(draw(npst.arrays("i2", nx))).astype("m8[h]")
    times[draw(st.integers(0, nx - 1))] = np.datetime64("NaT", "ns") if draw(st.booleans()) else times[0]
    texts = np.array(draw(st.lists(st.sampled_from(TEXTS), min_size=nx, max_size=nx)), object)
    variables |= {"t": ("x", times), "s": ("x", texts), "f": ("x", draw(npst.arrays(bool, nx)))}
    for name in ("t", "s", "f"):
        encoding[name] = {"chunks": (draw(st.integers(1, nx)),)}
    return xr.Dataset(variables, {"y": np.arange(ny) * 1.5}), encoding


def constants() -> st.SearchStrategy[Any]:
    return st.sampled_from(
        [0, 1, 2, 3, 100, -1, -2, 127, 255, 2**31, 2**63 - 1, 2**63, -(2**63), 0.25, 2.5, 3.75, 1e30, 1e400]
    )


@st.composite
def terms(draw: st.DrawFn, depth: int = 2) -> tuple[str, Callable[[xr.Dataset], Any]]:
    """A number: its text, and what it is of loaded data."""
    if depth == 0 or draw(st.integers(0, 2)):
        name = draw(st.sampled_from((*NUMBERS, "y")))
        return name, lambda ds: ds[name]
    left, of_left = draw(terms(depth - 1))
    op = draw(st.sampled_from(list(ARITHMETIC)))
    if draw(st.booleans()):
        right, of_right = draw(terms(depth - 1))
    else:
        value = draw(constants())
        right, of_right = f"({value!r})".replace("inf", "1e999"), lambda ds: value
    return f"({left} {op} {right})", lambda ds: ARITHMETIC[op](of_left(ds), of_right(ds))


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2) -> tuple[str, Mask]:
    """A condition: its text, and where it holds in loaded data."""
    which = draw(st.integers(0, 9 if depth else 6))
    op = draw(st.sampled_from(list(OPERATORS)))
    compare = OPERATORS[op]
    if which <= 3:
        left, of_left = draw(terms())
        value = draw(constants())
        return f"{left} {op} {value!r}".replace("inf", "1e999"), lambda ds: compare(of_left(ds), value)
    if which == 4:
        (left, of_left), (right, of_right) = draw(terms(1)), draw(terms(1))
        return f"{left} {op} {right}", lambda ds: compare(of_left(ds), of_right(ds))
    if which == 5:
        text = draw(st.sampled_from(TEXTS))
        # of a str NumPy would cut NULs off
        return f"s {op} {text!r}", lambda ds: compare(ds.s, xr.DataArray(np.array(text, object)))
    if which == 6:
        date = draw(st.sampled_from(["2019", "2019-03-01", "2019-03-20T06", "1500", "2018-12-31T23:59:59.5"]))
        if draw(st.booleans()):
            return "not f", lambda ds: ~ds.f
        if date == "1500":  # which nanoseconds do not reach
            return f"t {op} '{date}'", lambda ds: compare(ds.t.astype("M8[s]"), np.datetime64(date, "s"))
        return f"t {op} '{date}'", lambda ds: compare(ds.t, np.datetime64(date, "ns"))
    if which == 7:
        inner, of_inner = draw(conditions(depth - 1))
        return f"not ({inner})", lambda ds: ~of_inner(ds)
    (left, of_one), (right, of_other) = draw(conditions(depth - 1)), draw(conditions(depth - 1))
    if which == 8:
        return f"({left}) and ({right})", lambda ds: of_one(ds) & of_other(ds)
    return f"({left}) or ({right})", lambda ds: of_one(ds) | of_other(ds)


def expected(ds: xr.Dataset, mask: Mask) -> xr.DataArray | None:
    """Where a condition holds, as NumPy has it; None where it cannot compute it."""
    with np.errstate(all="ignore"):
        try:
            return mask(ds)
        except (OverflowError, ValueError):
            return None


def check(store: Any, query: str, mask: Mask) -> None:
    """That a store answers as NumPy does of its loaded data; it notes what came of it for Hypothesis."""
    event(answered(store, query, mask))


def answered(store: Any, query: str, mask: Mask) -> str:
    """Checks a query, and says what came of it."""
    ds = xr.open_dataset(store, engine="zarrds").load()
    right = expected(ds, mask)
    if right is None:
        with contextlib.suppress(QueryError):
            zarrds.find(store, query, count=True)
        return "not computed"
    found = zarrds.find(store, query)
    names = [name for name in found.coords if str(name).endswith("_index")]
    dims = [str(name).removesuffix("_index") for name in names]
    assert set(right.dims) == set(dims)
    positions = np.argwhere(right.transpose(*dims).values)
    np.testing.assert_array_equal(np.stack([found[name].values for name in names], -1), positions)
    assert zarrds.find(store, query, count=True) == len(positions)
    assert zarrds.find(store, query, exists=True) == bool(len(positions))
    explained: Any = zarrds.find(store, query, explain=True)
    return "pruned" if any(each.pruned for each in explained.variables) else "nothing pruned"


QUICK = settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def saved(data: tuple[xr.Dataset, dict[str, Any]]) -> Any:
    ds, encoding = data
    store = zarrds.MemoryStore()
    zarrds.save(ds, store, encoding=encoding)
    zarrds.index(store)
    return store


@QUICK
@given(datasets(), st.lists(conditions(), min_size=1, max_size=3))
def test_as_numpy(data: tuple[xr.Dataset, dict[str, Any]], queries: list[tuple[str, Mask]]) -> None:
    store = saved(data)
    for query, mask in queries:
        check(store, query, mask)


@pytest.mark.slow
@settings(QUICK, max_examples=80)
@given(datasets(), st.lists(conditions(), min_size=1, max_size=3))
def test_as_numpy_many(data: tuple[xr.Dataset, dict[str, Any]], queries: list[tuple[str, Mask]]) -> None:
    store = saved(data)
    for query, mask in queries:
        check(store, query, mask)


@settings(QUICK, max_examples=4)
@given(datasets(), st.data())
def test_after_changes(data: tuple[xr.Dataset, dict[str, Any]], draw: st.DataObject) -> None:
    """Statistics that are stale, of other chunks, damaged: never a wrong answer."""
    store = saved(data)
    ds = data[0]
    for _ in range(draw.draw(st.integers(1, 2))):
        how = draw.draw(st.sampled_from(["append", "region", "elements", "rows", "copy", "doc"]))
        name = draw.draw(st.sampled_from(["a", "b", "c"]))
        array = zarrds.open_array(store, mode="r+", path=name)
        where = hidden_path(name, "statistics")
        keys = [key for key in store.list_prefix(name) if f"{name}/c" in key]
        if how == "append":
            try:
                zarrds.save(ds.drop_vars("y"), store, append_dim="x")
            except (EncodingError, zarrds.errors.LabelError):
                continue
        elif how == "region":
            zarrds.save(
                ds[[name]].drop_vars("y", errors="ignore").isel(x=slice(0, 1)), store, region={"x": slice(0, 1)}
            )
        elif how == "elements":
            array[(slice(0, 1),) * array.ndim] = draw.draw(elements(array.dtype.str[1:]))
        elif how == "rows":
            for key in [key for key in store.list_prefix(where) if "/c" in key]:
                store.set(key, store.get(key)[:-9] + bytes(9))
        elif how == "copy" and len(keys) > 1 and array.metadata.shape[0] % array.metadata.chunks[0] == 0:
            source, target = draw.draw(st.permutations(keys))[:2]
            store.set(target, bytes(store.get(source)))
        elif how == "doc":
            other = draw.draw(st.sampled_from(["a", "b", "c"]))
            for key in list(store.list_prefix(hidden_path(other, "statistics"))):
                store.set(where + key[len(hidden_path(other, "statistics")) :], bytes(store.get(key)))
    query, mask = draw.draw(conditions())
    check(store, query, mask)


@pytest.mark.parametrize("wrong", ["low", "high", "has_missing"])
def test_a_wrong_bound_would_be_seen(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above finds it when what is known of chunks is not true."""
    from zarrds.datasets.querying import operands

    right = operands.Operand._stored_bounds

    def off(self: Any, *args: Any) -> pruning.Bounds:
        found = right(self, *args)
        parts = {"low": found.low + 1, "high": found.high - 1, "has_missing": found.has_missing & False}
        return pruning.Bounds(
            **{
                **{name: getattr(found, name) for name in ("low", "high", "known", "has_missing", "has_values")},
                wrong: parts[wrong],
            }
        )

    values = np.array([[1.0, 2, np.nan], [4, 5, 6]])
    store = saved((xr.Dataset({"a": (("x", "y"), values)}), {"a": {"chunks": (1, 3)}}))
    queries: dict[str, Mask] = {
        "a < 1.5": lambda ds: ds.a < 1.5,
        "a > 5.5": lambda ds: ds.a > 5.5,
        "not a < 100": lambda ds: ~(ds.a < 100),
    }
    for query, mask in queries.items():
        answered(store, query, mask)
    monkeypatch.setattr(operands.Operand, "_stored_bounds", off)
    n_wrong = 0
    for query, mask in queries.items():
        try:
            answered(store, query, mask)
        except AssertionError:
            n_wrong += 1
    assert n_wrong

"""That the installed pandas is as the lazy index needs it; if a release fails here, start in pandas_internals.py."""

import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.labels.sources import CountingSource
from zarrds.compat.pandas_internals import NAMES, EqualToPlain, FromPlain, problems
from zarrds.labels.sorted import lazy_index as lazy_module
from zarrds.labels.sorted import lazy_labels
from zarrds.labels.sorted.lazy_index import LazyDatetimeIndex, LazyIndex, LazyTimedeltaIndex, lazy_index
from zarrds.labels.sorted.lazy_labels import KEPT

LABELS = {
    LazyIndex: np.arange(0, 200, 2),
    LazyDatetimeIndex: np.arange(0, 200, 2).view("M8[s]"),
    LazyTimedeltaIndex: np.arange(0, 200, 2).view("m8[ns]"),
}


@pytest.fixture(params=LABELS, ids=lambda cls: cls.__name__)
def pair(request):
    labels = LABELS[request.param]
    made = lazy_index(CountingSource(labels), "x", at_least=1)
    assert isinstance(made, request.param)
    return made, pd.Index(labels, name="x")


def test_pandas_has_what_is_needed():
    assert problems() == ()


@pytest.mark.parametrize(("cls", "name"), [(cls, name) for cls, names in NAMES.items() for name in names])
def test_each_private_name_is_there(cls, name):
    inspect.getattr_static(cls, name)


def test_no_private_name_of_pandas_is_used_that_is_not_named():
    ours = {
        "_window",
        "_positions",
        "_make",
        "_near",
        "_near_one",
        "_some",
        "_slice",
        "_plain_now",
        "_plain_type",
        "_near_ordered",
        "_data",
        "_name",
        "_cache",
    }
    named = {name for names in NAMES.values() for name in names}
    text = "".join(Path(inspect.getfile(module)).read_text() for module in (lazy_module, lazy_labels))
    used = set(re.findall(r"(?:def |\.)(_[a-z]\w*)", text))
    used = {name for name in used if hasattr(pd.DatetimeIndex([]), name)}
    assert used - named - ours == set()


def test_a_release_that_lacks_a_name_is_found_out(monkeypatch):
    monkeypatch.setitem(NAMES, pd.Index, {"_no_such_name": "looked for"})
    problems.cache_clear()
    try:
        assert problems() == ("pandas.Index has no _no_such_name",)
        with pytest.warns(UserWarning, match=r"all 100 labels of index 'x' are read.*_no_such_name"):
            index = lazy_index(CountingSource(np.arange(100)), "x", at_least=1)
        assert type(index) is pd.Index
        assert index.equals(pd.Index(np.arange(100)))
    finally:
        problems.cache_clear()


def test_a_lazy_class_equals_the_plain_one_both_ways(pair):
    lazy, plain = pair
    assert type(lazy) == type(plain)  # noqa: E721  # what pandas asks
    assert type(plain) == type(lazy)  # noqa: E721
    assert not type(plain) != type(lazy)  # noqa: E721, SIM202
    assert hash(type(lazy)) == hash(type(plain))
    assert type(lazy) != pd.MultiIndex  # noqa: E721
    assert type(lazy) is not type(plain)


def test_a_plain_index_is_no_instance_of_a_lazy_class(pair):
    lazy, plain = pair
    assert isinstance(lazy, LazyIndex)
    assert isinstance(lazy, type(plain))
    assert not isinstance(plain, LazyIndex | type(lazy))
    assert not issubclass(type(plain), type(lazy))
    assert isinstance(type(lazy), EqualToPlain)


def test_plain_indexes_find_lazy_ones_equal(pair):
    lazy, plain = pair
    assert plain.equals(lazy)
    assert plain.identical(lazy)
    assert not plain.equals(lazy[1:])
    pd.testing.assert_index_equal(plain.union(lazy), plain)
    pd.testing.assert_index_equal(plain.append(lazy), plain.append(plain))


def test_every_public_name_is_answered(pair):
    lazy, plain = pair
    for name in dir(type(plain)):
        found = inspect.getattr_static(type(lazy), name)
        if not name.startswith("_"):
            owner = next(base for base in type(lazy).__mro__ if name in vars(base))
            assert isinstance(found, FromPlain) or not owner.__module__.startswith("pandas.") or name in KEPT, name


def test_what_pandas_makes_of_a_lazy_class_is_plain(pair):
    lazy, plain = pair
    assert type(type(lazy)(plain)) is type(plain)
    assert lazy._constructor is type(plain)
    assert type(type(lazy)._simple_new(plain._data, "y")) is type(plain)
    assert type(lazy.repeat(2)) is type(plain)


def test_a_subclass_of_a_plain_class_is_asked_for_its_data(pair):
    lazy, plain = pair
    source = lazy._window.source
    assert len(plain.get_indexer(lazy)) == len(plain)
    assert source.reads == [(0, source.size)]

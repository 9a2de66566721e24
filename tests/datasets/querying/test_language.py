"""The language: what it takes, and how it says what it does not take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.datasets.querying.expressions.language import Comparison, Constant, Logic, Membership, Name, parse
from zarrds.errors import QueryError

DS = xr.Dataset(
    {
        "t2m": (("time", "lat"), np.array([[280, 311, np.nan], [250, 312, 290.5]])),
        "n": ("time", np.array([3, -3], "i2")),
        "flag": ("time", [True, False]),
        "name": ("time", ["PASS", "q10"]),
        "raw": ("time", np.array([b"a", b"bc"])),
        "lead": ("time", np.array([3, 36], "m8[h]").astype("m8[s]")),
        "odd name": ("time", [1, 2]),
        "z": ("time", [1j, 2]),
        "kind": ("time", pd.Categorical(["x", "y"])),
        "few": ("time", pd.array([1, None], "Int64")),
    },
    {"time": np.array(["2019-02-28T18:00", "2019-03-01T06:00:00.5"], "M8[ns]"), "lat": [50, 60, 70]},
)


def found(query: str, ds: xr.Dataset = DS) -> list[Any]:
    answer = zarrds.find(ds, query)
    return np.stack([answer[name].values for name in answer.coords if str(name).endswith("_index")], -1).tolist()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("t2m > 310", [[0, 1], [1, 1]]),
        ("t2m > 310 and lat < 60 or t2m < 260", [[1, 0]]),
        ("300 < t2m <= 311", [[0, 1]]),
        ("not t2m > 260", [[0, 2], [1, 0]]),
        ("t2m != t2m", [[0, 2]]),
        ("(t2m > 310) & (lat == 60)", [[0, 1], [1, 1]]),
        ("~(t2m > 260) | (t2m > 311)", [[0, 2], [1, 0], [1, 1]]),
        ("t2m - 273.15 > 38", [[1, 1]]),
        ("t2m in (280, 290.5) and n in [3]", [[0, 0]]),
        ("lat not in {50, 70} and t2m > 0", [[0, 1], [1, 1]]),
        ("-n > 2", [[1]]),
        ("n ** 2 // 2 % 3 == 1 and +n > 0", [[0]]),
        ("flag", [[0]]),
        ("not flag", [[1]]),
        ("flag == True", [[0]]),
        ("name == 'PASS'", [[0]]),
        ('name > "a"', [[1]]),
        ("name in ('PASS', 'q10')", [[0], [1]]),
        ("raw >= 'b'", [[1]]),
        ("time >= '2019-03'", [[1]]),
        ("time < '2019-03-01T06:00:00.5'", [[0]]),
        ("time == '2019-03-01 06:00:00.5'", [[1]]),
        ("'2019' < time < '2019-03-01T06'", [[0]]),
        ("time > '1066' and time < '2999-12-31'", [[0], [1]]),
        ("time in ['2019-02-28T18']", [[0]]),
        ("lead >= '1 day'", [[1]]),
        ("lead == '3h'", [[0]]),
        ("`odd name` == 2", [[1]]),
        ("kind == 'y'", [[1]]),
        ("few == 1", [[0]]),
        ("few != 1", [[1]]),
        ("  n\n > 0 ", [[0]]),
        ("n > 1e3000", []),
        ("n < 40000", [[0], [1]]),
        ("n > -10 ** 30", [[0], [1]]),
    ],
)
def test_what_it_means(query: str, expected: list[Any]) -> None:
    assert found(query) == expected
    assert zarrds.find(DS, query, count=True) == len(expected)
    assert zarrds.find(DS, query, exists=True) == bool(expected)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "cannot be read"),
        ("t2m >", "cannot be read"),
        ("t2m > 3)", "cannot be read"),
        ("__import__('os').system('x')", "a call of a function.*character 1"),
        ("t2m > (lambda: 1)", "a function"),
        ("t2m.values > 3", "an attribute.*'t2m.values' at character 1"),
        ("t2m[0] > 3", "an index in brackets"),
        ("t2m > f'{n}'", "f-string"),
        ("t2m > 3 if flag else n > 2", "a choice with if"),
        ("(t2m := 3) > 1", "an assignment"),
        ("t2m is 3", "is.*Compare with =="),
        ("t2m > None", "a constant of this kind"),
        ("t2m > 3j", "a constant of this kind"),
        ("t2m in n", "a list of constants"),
        ("t2m in [n]", "constants only"),
        ("1 < t2m in [3]", "in a row"),
        ("t2m > 3 & n < 2", "bind more tightly"),
        ("t2m > 1 / 0", "cannot be computed"),
        ("t2m > 'a' + 'b'", "only numbers"),
        ("t2n > 3", "no such variable: found 't2n' at character 1. Did you mean 't2m'"),
        ("n > 2 and nam == 'x'", "'nam' at character 11. Did you mean 'name'"),
        ("t2m", "no condition"),
        ("t2m and n > 3", "no condition.*character 1"),
        ("t2m + 3", "no condition"),
        ("3 > 2", "names no variable"),
        ("t2m > 'a'", "a number cannot be compared with a text"),
        ("name > 3", "a text cannot be compared with a number"),
        ("name == n", "a text cannot be compared with a number"),
        ("time > 3", "a time cannot be compared with a number"),
        ("time > 'soon'", "no ISO date: found 'soon' at character 8"),
        ("time > '2019-02-30'", "no such date"),
        ("lead > 'a while'", "no span of time"),
        ("name + 1 > 3", "only numbers"),
        ("flag + 1 > 3", "only numbers"),
        ("z > 3", "cannot be compared"),
        ("n + 40000 > 3", "cannot be computed"),
        ("n ** -1 > 3", "cannot be computed"),
        ("not " * 50_000 + "flag", "too long|nested too deeply"),
        ("(" * 5000 + "n" + ")" * 5000 + " > 2", "cannot be read"),
        ("n > \0", "cannot be read"),
        ("name > '\ud800'", "cannot be read"),
        ("`\ud800` > 3", "no such variable"),
        (f"n > 1{'0' * 400}", "too large"),
        (f"n > 0x{'f' * 5000}", "too large"),
        (f"flag == 1{'0' * 4000}", "too large"),
        ("n > 2 ** 64 ** 64", "cannot be computed"),
        ("n > (2 ** 63) ** 64", "too large"),
        (f"n > 1{'0' * 300} ** 2", "cannot be computed|too large"),
        ("time > '20000000000-01-01'", "no ISO date"),
        ("time > '2019' # or so\n and and", "cannot be read"),
    ],
)
def test_what_is_not_allowed(query: str, says: str) -> None:
    with pytest.raises(QueryError, match=f"(?s){says}"):
        zarrds.find(DS, query)


def test_expressions() -> None:
    assert parse("1 < x <= 2") == Logic(
        "and",
        (
            Comparison("<", Constant(1, 0), Name("x", 4), 0),
            Comparison("<=", Name("x", 4), Constant(2, 9), 0),
        ),
        0,
    )
    assert parse("é in (-1, 2**3)") == Membership(Name("é", 0), (Constant(-1, 6), Constant(8, 10)), False, 0)
    assert parse("`a b` > '`c`'") == Comparison(">", Name("a b", 0), Constant("`c`", 8), 0)
    with pytest.raises(QueryError, match="character 7"):
        parse("'é' < f(x)")


def test_lines_and_texts() -> None:
    ds = xr.Dataset({"s": ("x", ["a\tb", "a b", "a\nb", "a\r\nb", "it's"]), "two\nlines": ("x", np.arange(5))})
    for i, text in enumerate(["'a\tb'", "'a b'", "'a\nb'", "'a\r\nb'", '''"""it's"""''']):
        assert found(f"s == {text}", ds) == [[i]]
        assert found(f"s\n\t== {text}\r\n# that's it\n and `two\nlines` >= 0 ", ds) == [[i]]
    assert found("s in ['a\nb', '''it\\'s''']", ds) == [[2], [4]]
    assert found("s == '''a\nb''' or `two\nlines` == 0", ds) == [[0], [2]]
    private = [chr(n) for n in range(0xE000, 0xF900)]
    assert found(f"s == 'a\nb' or s == '{''.join(private)}' or s == '\\ue000'", ds) == [[2]]


def test_names_are_those_that_were_written() -> None:
    ds = xr.Dataset({"\N{MICRO SIGN}": ("x", [1, 2]), "\N{GREEK SMALL LETTER MU}": ("x", [2, 1]), "ﬁ": ("x", [0, 3])})
    assert found("\N{MICRO SIGN} > 1", ds) == [[1]]
    assert found("(\N{GREEK SMALL LETTER MU}) > 1 and `\N{MICRO SIGN}` < 2", ds) == [[0]]
    assert found("ﬁ > 1", ds) == [[1]]


def test_other_arguments() -> None:
    with pytest.raises(QueryError, match="only one of"):
        zarrds.find(DS, "n > 2", count=True, exists=True)
    for limit in (-1, 2.5, True):
        with pytest.raises(QueryError, match="a number of matches"):
            zarrds.find(DS, "n > 2", limit=limit)  # type: ignore[call-overload]  # as a user may
    with pytest.raises(zarrds.errors.VariableNotFoundError, match="Did you mean 't2m'"):
        zarrds.find(DS, "n > 2", "t2n")
    for wrong in (5, b"n", object()):
        with pytest.raises(QueryError, match="names of variables"):
            zarrds.find(DS, "n > 2", wrong)  # type: ignore[call-overload]  # the same
    with pytest.raises(zarrds.errors.VariableNotFoundError):
        zarrds.find(DS, "n > 2", [["n"]])  # type: ignore[list-item]  # the same
    for size in ("a", -1, 0, True, "1 furlong"):
        with pytest.raises(QueryError, match="no size"):
            zarrds.find(DS, "n > 2", max_memory=size)
    assert zarrds.find(DS, "n > -2", max_memory="1kB").sizes == {"time": 1}
    with pytest.raises(QueryError, match="one of its nodes"):
        zarrds.find(xr.DataTree(DS), "n > 2")  # type: ignore[arg-type]  # the same
    with pytest.raises(QueryError, match="a text"):
        zarrds.find(DS, 3)  # type: ignore[call-overload]  # the same


def test_dates_of_other_calendars() -> None:
    pytest.importorskip("cftime")
    times = xr.date_range("2019-02-28", periods=4, calendar="360_day", use_cftime=True)
    ds = xr.Dataset({"v": ("time", np.arange(4))}, {"time": times})
    assert found("time > '2019-02-29'", ds) == [[2], [3]]
    assert found("time == '2019-02-30'", ds) == [[2]]
    with pytest.raises(QueryError, match="no such date in the calendar"):
        found("time > '2019-02-31'", ds)
    assert found("time < '999999999'", ds) == [[0], [1], [2], [3]]


def test_dates_of_other_calendars_are_compared_with_each_other() -> None:
    cftime = pytest.importorskip("cftime")
    first, second = (cftime.DatetimeNoLeap(2019, month, 1) for month in (1, 2))
    a, b = np.array([*[None] * 5, first, second, second], object), np.array([second] * 8, object)
    ds = xr.Dataset({"a": ("x", a), "b": ("x", b), "c": ("x", [cftime.Datetime360Day(2019, 1, 1)] * 8)})
    assert found("a < b", ds) == [[5]]
    assert found("a == b", ds) == [[6], [7]]
    assert found("a != b", ds) == [[i] for i in range(6)]
    assert found("a >= '2019-01-02'", ds) == [[6], [7]]
    with pytest.raises(QueryError, match="cannot be compared"):
        found("a < c", ds)
    store = zarrds.MemoryStore()
    whole = ds[["b"]].assign(a=("x", [first] * 3 + [second] * 5))
    zarrds.save(whole, store, encoding={name: {"chunks": (2,)} for name in "ab"}, statistics=True)
    assert found("a < b", store) == [[0], [1], [2]]  # type: ignore[arg-type]  # of both


def test_many_positions() -> None:
    ds = xr.Dataset({"v": ("q", np.broadcast_to(np.int8(1), 2**62)), "t": 3})
    assert zarrds.find(ds, "t > 1", count=True) == 1
    for query in ("q > 1", "v > 1"):
        with pytest.raises(QueryError, match=r"fit in memory|too many elements"):
            zarrds.find(ds, query, count=True)

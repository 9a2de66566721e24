"""The growth that the benchmark tells is that of the costs it is given."""

from __future__ import annotations

import pytest

from benchmarks import growth_fit

SIZES = [10**3, 10**4, 10**5, 10**6]


@pytest.mark.parametrize(
    ("exponent", "word"),
    [(0.0, "flat"), (0.1, "flat"), (0.5, "less than linear"), (1.0, "linear"), (1.1, "linear"), (1.3, "worse")],
)
def test_a_power_is_found(exponent: float, word: str) -> None:
    found = growth_fit.fit(SIZES, [7.0 * n**exponent for n in SIZES])
    assert found.overall == pytest.approx(exponent)
    assert found.last == pytest.approx(exponent)
    assert found.word == word


def test_the_last_step_counts_where_it_is_steeper() -> None:
    found = growth_fit.fit(SIZES, [1.0, 1.0, 1.0, 100.0])
    assert found.overall == pytest.approx(0.6)
    assert found.last == pytest.approx(2.0)
    assert found.word == "worse"


def test_what_rises_and_is_flat_at_last_is_not_called_flat() -> None:
    found = growth_fit.fit(SIZES, [1.0, 10.0, 30.0, 30.0])
    assert found.last == pytest.approx(0.0)
    assert found.word == "less than linear"


@pytest.mark.parametrize(("sizes", "costs"), [([1000], [3.0]), ([10, 100], [0.0, 3.0])])
def test_one_cost_has_no_growth(sizes: list[int], costs: list[float]) -> None:
    found = growth_fit.fit(sizes, costs)
    assert (found.overall, found.last, found.word) == (None, None, "–")


def test_memory_below_a_megabyte_is_no_growth() -> None:
    results = {n: {"save (MB)": 0.001 * n, "save (ms)": 0.001 * n} for n in (10, 100)}
    found = growth_fit.growth_of(results)
    assert found["save (MB)"].word == "–"
    assert found["save (ms)"].word == "linear"


def test_the_table_ends_with_the_growth() -> None:
    results = {10: {"open (ms)": 2.0, "save (ms)": 15.0}, 100: {"open (ms)": 2.0, "save (ms)": 1500.0}}
    assert growth_fit.growth_table("things", results).splitlines() == [
        "| things | open (ms) | save (ms) |",
        "| ---: | ---: | ---: |",
        "| 10 | 2.00 | 15.0 |",
        "| 100 | 2.00 | 1,500 |",
        "| exponent | 0.00 | 2.00 |",
        "| last step | 0.00 | 2.00 |",
        "| growth | flat | worse |",
    ]


def test_speedup_is_over_the_first() -> None:
    results = {1: {"save (ms)": 90.0, "save (MB)": 2.0}, 2: {"save (ms)": 60.0, "save (MB)": 2.0}}
    assert growth_fit.speedup_table("threads", results).splitlines()[2:] == [
        "| 1 | 90.0 | 2.00 |",
        "| 2 | 60.0 | 2.00 |",
        "| speedup, 2 | 1.50 | – |",
    ]

"""Units that are the same in other words, and those that are not to be told to be."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import load
from zarrds.datasets.encoding.units import are_same_units
from zarrds.errors import LabelError

SAME = [
    ("m s-1", "m/s", "m s**-1", "m s^-1", "m.s-1", "m*s-1", "s-1 m", "meter second-1", "metres/second", "m  s**-1"),
    ("m s-2", "m/s/s", "m/s2", "m s-1 s-1"),
    ("degC", "degrees_Celsius", "celsius", "\N{DEGREE SIGN}C"),
    ("K", "kelvin", "degK"),
    ("W m-2 K-1", "W/m2/K", "watts/meter2/kelvin"),
    ("s-1", "1/s", "sec-1"),
    ("1", ""),
    ("10-6 m", "10^-6 m", "10**-6  m"),
    ("degrees_north", "degree_N"),
    ("kg kg-1", "kg/kg"),
    ("g g-1", "gram/gram"),
    ("mol mol-1",),
    ("m3 m-3",),
    # read in two ways: as text
    ("W/m2 K",),
    ("W m-2 K",),
    ("m s",),
    ("ms",),
    ("km s-1",),
    ("Mm",),
    ("mm",),
    ("m",),
    ("1e-3",),
    ("1e3",),
    ("1.5 m",),
    ("15 m",),
    ("%",),
    ("C",),
    ("S",),
    ("s",),
    ("1/(m s)",),
    ("10^3 m", "10**3 m"),
    ("103 m",),
    ("10 3 m",),
    ("days since 2000-01-01",),
    ("days since 2000-01-02",),
    ("H2O",),
    ("kg/",),
]


def test_the_same_units_and_no_others() -> None:
    spelt = [(group, text) for group, texts in enumerate(SAME) for text in texts]
    for (one, text), (other, other_text) in itertools.product(spelt, repeat=2):
        assert are_same_units(text, other_text) == (one == other), (text, other_text)


WORDS = {"m": 2.0, "s": 3.0, "kg": 5.0, "K": 7.0, "Pa": 11.0}
FACTORS = st.lists(st.tuples(st.sampled_from(sorted(WORDS)), st.integers(-3, 3).filter(bool)), min_size=1, max_size=4)


def value_of(factors: list[tuple[str, int]]) -> float:
    """What the product is, where the words are prime numbers."""
    return math.prod(WORDS[word] ** power for word, power in factors)


@given(FACTORS, FACTORS, st.sampled_from([" ", ".", "*"]), st.sampled_from(["", "^", "**"]), st.booleans())
def test_only_equal_products_are_equal(
    one: list[tuple[str, int]], other: list[tuple[str, int]], product: str, power: str, has_slashes: bool
) -> None:
    def written(factors: list[tuple[str, int]]) -> str:
        if not has_slashes:
            return product.join(f"{word}{power}{n}" for word, n in factors)
        above = product.join(f"{word}{power}{n}" for word, n in factors if n > 0) or "1"
        return above + "".join(f"/{word}{power}{-n}" for word, n in factors if n < 0)

    plain = " ".join(f"{word}{n}" for word, n in reversed(one))
    assert are_same_units(plain, written(one))
    if are_same_units(plain, written(other)):
        assert value_of(one) == pytest.approx(value_of(other))


def test_appends_of_units_in_other_words(path: Path) -> None:
    ds = xr.Dataset({"u": ("t", [1.0], {"units": "m s-1"})}, {"t": [0]})
    zarrds.save(ds, path)
    for step, units in enumerate(("m/s", "m s**-1", "meters second^-1"), 1):
        zarrds.save(ds.assign(u=ds.u.assign_attrs(units=units)).assign_coords(t=[step]), path, append_dim="t")
    assert load(path).u.attrs == {"units": "m s-1"}
    assert load(path).sizes == {"t": 4}
    with pytest.raises(LabelError, match="'units' of 'u' is not that of the store"):
        zarrds.save(ds.assign(u=ds.u.assign_attrs(units="km/s")).assign_coords(t=[4]), path, append_dim="t")

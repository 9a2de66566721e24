"""What is noted of a chunk, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from xarray.conventions import decode_cf_variable

from zarrds.arrays.layout import new_array_metadata
from zarrds.chunk_statistics.facts import TEXT_NBYTES, Facts, rule_of

DTYPES = "b1 i1 u1 i2 u2 i4 u4 i8 u8 f2 f4 f8 M8[ns] m8[s] >i4 >f8".split()


def facts_of(elements: np.ndarray[Any, Any], **attributes: Any) -> Facts:
    dtype: Any = str if elements.dtype == object else elements.dtype
    rule = rule_of(new_array_metadata(shape=elements.shape, dtype=dtype, chunks=4, attributes=attributes))
    assert rule is not None
    found = rule.facts(elements)
    assert found is not None
    return found


@settings(max_examples=40)
@given(st.data(), st.sampled_from(DTYPES))
def test_numbers(data: st.DataObject, name: str) -> None:
    dtype = np.dtype(name)
    elements = data.draw(npst.arrays(dtype, npst.array_shapes(max_dims=2, max_side=6)))
    found = facts_of(elements)
    valid = elements[~np.isnat(elements)] if dtype.kind in "mM" else elements[elements == elements]
    assert found.count == valid.size
    if not valid.size:
        return
    stored = valid.view("i8") if dtype.kind in "mM" else valid
    assert found.min == stored.min()
    assert found.max == stored.max()
    if dtype.kind in "biu" and dtype.itemsize <= 4:
        assert found.sum == sum(int(n) for n in valid.ravel())
    elif dtype.kind == "f" and np.isfinite(valid).all():
        with np.errstate(over="ignore"):  # the largest of floats add up to infinity
            total = float(valid.sum(dtype=float))
        assert found.sum == pytest.approx(total, rel=1e-9, abs=1e-9 * float(abs(valid).max()))


def test_what_is_missing_counts_for_nothing() -> None:
    elements = np.array([3, -99, 7, -99], "i2")
    assert facts_of(elements, _FillValue=-99) == Facts(2, 10, 3, 7)
    assert facts_of(elements, _FillValue=-99, missing_value=3) == Facts(1, 7, 7, 7)
    assert facts_of(np.full(4, np.nan)).count == 0
    assert facts_of(np.full(4, -99, "i2"), _FillValue=-99).count == 0


def test_unsigned_elements_that_are_stored_as_signed_ones() -> None:
    found = facts_of(np.array([-1, 3, 100, -128], "i1"), _Unsigned="true")
    assert (found.min, found.max, found.min.dtype) == (3, -1, np.int8)
    assert found.sum == 255 + 3 + 100 + 128


def test_infinities() -> None:
    found = facts_of(np.array([np.inf, -np.inf, 1, np.nan]))
    assert (found.count, found.min, found.max) == (3, -np.inf, np.inf)
    assert np.isnan(found.sum)


def test_more_than_a_piece() -> None:
    elements = np.arange(300_000, dtype="f4")[::-1]
    assert facts_of(elements) == Facts(300_000, elements.sum(dtype=float), 0, 299_999)
    elements[77] = np.nan
    assert facts_of(elements).count == 299_999


@settings(max_examples=60)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_bounds_of_text(texts: list[str]) -> None:
    elements = np.empty(len(texts), object)
    elements[:] = texts
    rule = rule_of(new_array_metadata(shape=elements.shape, dtype=str, chunks=4))
    assert rule is not None
    found = rule.facts(elements)
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    if found is not None:
        assert len(found.min) <= TEXT_NBYTES >= len(found.max)
        # as NumPy has them, without NULs at the end
        low, high = (np.array([each], f"S{TEXT_NBYTES}")[0] for each in (found.min, found.max))
        assert all(low <= text <= high for text in encoded)
    else:
        assert max(encoded)[:TEXT_NBYTES].strip(b"\xff") == b""


def test_of_some_data_nothing_is_noted() -> None:
    for dtype in ("c8", [("a", "i4"), ("b", "f4")]):
        assert rule_of(new_array_metadata(shape=4, dtype=dtype, chunks=4)) is None


@pytest.mark.filterwarnings("ignore:variable 'x' has multiple fill values")
@pytest.mark.parametrize(
    ("dtype", "marker", "element"),
    [
        ("f8", 2**53 + 1, 2.0**53),
        ("f4", 2**53 + 1, 2.0**53),
        ("f4", 10**20, 1e20),
        ("f4", [0.1, 10**20], 0.1),
        ("f4", 0.1, None),
        ("f4", 2**24 + 1, None),
    ],
)
def test_floats_are_missing_as_decoders_compare_them(dtype: str, marker: Any, element: float | None) -> None:
    elements = np.array([-1, 0.1 if element is None else element, np.finfo(dtype).max], dtype)
    decoded = decode_cf_variable("x", xr.Variable("x", elements, {"missing_value": marker}))
    found = facts_of(elements, missing_value=marker)
    assert found is not None
    assert found.count == int(decoded.notnull().sum()) == (3 if element is None else 2)

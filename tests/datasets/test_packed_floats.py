"""Many floats packed at once, beside xarray's encoders and the close look at each value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import zarrds
from zarrds.datasets.encoding.exact.blocks import Block
from zarrds.datasets.encoding.exact.encoder import Encoder
from zarrds.errors import EncodingError

_FACTORS = st.sampled_from([None, 0.01, 2.5, -0.5, np.float32(0.1), np.float64(1e-3), 1e300, float("inf"), 0.0])
_OFFSETS = st.sampled_from([None, 0.0, 265.0, -1e3, np.float32(7.3), np.float64(1e9)])
_MARKERS = st.sampled_from([None, -32768, 255, 0, 5])
_STEPS = st.integers(-(2**16), 2**16)


def _encoding(factor: Any, offset: Any, marker: int | None) -> dict[str, Any]:
    found = {"scale_factor": factor, "add_offset": offset, "_FillValue": marker}
    return {key: value for key, value in found.items() if value is not None}


def _block(values: Any) -> Block:
    return Block("v", ("x",), values, values.shape, (0,))


@given(st.data(), _FACTORS, _OFFSETS, _MARKERS, st.sampled_from(["i1", "u1", "<i2", ">i2", "u2", "i4", "i8"]))
def test_as_each_value_by_itself(data: st.DataObject, factor: Any, offset: Any, marker: Any, stored: str) -> None:
    """What is packed at once is what xarray packs; what is not plainly right is left to the close look."""
    encoding = _encoding(factor, offset, marker)
    if len(encoding) - ("_FillValue" in encoding) == 0:
        return
    dtype = np.dtype(data.draw(st.sampled_from(["f4", "f8"])))
    some = hnp.from_dtype(dtype, allow_nan=True, allow_infinity=True)
    with np.errstate(all="ignore"):
        whole = _STEPS.map(lambda k: dtype.type(k * (1.0 if factor is None else factor) + (offset or 0.0)))
        values = np.array(data.draw(st.lists(whole | some, min_size=1, max_size=30)), dtype)
        encoder = Encoder("v", ("x",), np.dtype(stored), "floats", encoding)
        scaling = encoder._scaling_of(dtype)
        packed = None if scaling is None else scaling.pack(values)
        try:
            expected = encoder.on_block(_block(values))
        except EncodingError:
            assert packed is None
            return
        except (OverflowError, ValueError):
            return
    if packed is not None:
        np.testing.assert_array_equal(packed, expected)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("stored", ["i2", ">i2", "i4"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_usual_floats_are_packed_at_once(dtype: str, stored: str, missing: bool) -> None:
    values = (265 + np.round(np.random.default_rng(0).normal(size=20_000) * 1000) / 100).astype(dtype)
    if missing:
        values[::7] = np.nan
    encoder = Encoder("v", ("x",), np.dtype(stored), "floats", _encoding(0.01, 265.0, -32768))
    packed = encoder._plainly_packed(values)
    assert packed is not None
    assert packed.dtype == stored
    some = slice(None, None, 10)  # a close look at each takes its time
    expected = [encoder.on_block(_block(value))[0] for value in values[some].reshape(-1, 1)]
    np.testing.assert_array_equal(packed[some], expected)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [(12_345, 1e6, "cannot hold"), (19_999, 265 - 327.68, "_FillValue"), (3, np.inf, "cannot hold")],
)
def test_one_bad_value_among_many_is_named(tmp_path: Path, at: int, value: float, message: str) -> None:
    values = np.full(20_000, 270.0)
    values[at] = value
    ds = xr.Dataset({"t": ("x", values)})
    with pytest.raises(EncodingError, match=message) as error:
        zarrds.save(ds, tmp_path / "a", encoding={"t": {"dtype": "i2", **_encoding(0.01, 265.0, -32768)}})
    assert f"x={at}" in str(error.value)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "markers",
    [
        {"_FillValue": float(2**31 - 1)},  # no float32, as which it is compared
        {"_FillValue": np.nan, "missing_value": 0},
        {"_FillValue": -(2**40), "missing_value": 5},
        {"_FillValue": 2**40},
        {"_FillValue": np.inf},
    ],
)
def test_markers_that_mark_nothing_are_refused_of_many_values_as_of_few(markers: dict[str, Any]) -> None:
    few = np.array([1.0, np.nan, 3.0])
    many = np.resize(few, 30_000)
    encoder = Encoder("v", ("x",), np.dtype("i4"), "floats", {"scale_factor": np.float32(0.5), **markers})
    assert encoder._plainly_packed(many) is None
    found = []
    for values in (few, many):
        with pytest.raises(Exception, match=r".") as error:
            encoder.on_block(_block(values))
        found.append((error.type, str(error.value)))
    assert found[0] == found[1]

"""Objects of several types: of one kind, or refused; nothing is made of another kind in silence."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import objects
from tests.releases import PANDAS
from zarrds.errors import EncodingError, ZarrdsError

REFUSED = {
    "bytes and text": objects(b"a", "a"),
    "text and bytes": objects("a", None, b"a"),
    "text and NaT": objects("a", pd.NaT),
    "bytes and NaT": objects(np.datetime64("NaT", "s"), b"a", None),
    "booleans and NaT": objects(True, np.timedelta64("NaT", "s")),
    "timedeltas and the NaT of dates": objects(np.timedelta64(5, "s"), np.datetime64("NaT", "s")),
    "fractions and None": objects(Fraction(1, 3), None),
    "integers that floats beside them cannot hold": objects(2**53 + 1, 0.5),
    "the same, and None": objects(np.int64(2**53 + 1), None, 0.5),
}
if PANDAS >= (3,):  # before, pandas makes no Series, and so xarray no variable, of these
    REFUSED["integers beyond all floats"] = objects(10**400, 0.5, None)


@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize("values", REFUSED.values(), ids=REFUSED)
@pytest.mark.filterwarnings("ignore:.*what its objects are")
def test_refused(tmp_path: Path, values: Any, is_lazy: bool) -> None:
    dataset = xr.Dataset({"mixed": ("x", values)})
    with pytest.raises(EncodingError, match="'mixed'"):
        zarrds.save(dataset.chunk(x=1) if is_lazy else dataset, tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize(
    "encoding", [{"_FillValue": b"z"}, {"_FillValue": -1}, {"missing_value": "q"}, {"dtype": "S1"}]
)
@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_text_beside_bytes_under_an_encoding(tmp_path: Path, encoding: Any, is_lazy: bool) -> None:
    dataset = xr.Dataset({"mixed": ("x", objects(b"a", "a"))})
    with pytest.raises(EncodingError, match="'mixed'"):
        zarrds.save(dataset.chunk(x=1) if is_lazy else dataset, tmp_path / "s.zarr", encoding={"mixed": encoding})


OF_ONE_KIND = {
    "integers": (objects(np.int8(1), 2, np.uint64(3)), np.array([1, 2, 3])),
    "large integers of Python, small first": (objects(3, 2**64 - 1), np.array([3, 2**64 - 1], np.uint64)),
    "large integers": (objects(np.uint64(2**64 - 1), 0), np.array([2**64 - 1, 0], np.uint64)),
    "booleans": (objects(True, np.False_), np.array([True, False])),
    "integers and floats": (objects(7, 0.5, np.int8(2)), np.array([7, 0.5, 2])),
    "integers, floats and None": (objects(2**53, 0.5, None), np.array([2**53, 0.5, np.nan])),
    "floats": (objects(np.float32(0.5), 1e300, None), np.array([0.5, 1e300, np.nan])),
    "complex numbers": (objects(1j, 2.5 + 0j), np.array([1j, 2.5])),
    "complex numbers and None": (objects(np.complex64(1j), 2 + 2j, None), np.array([1j, 2 + 2j, np.nan])),
    "short complex numbers": (objects(np.complex64(1j), np.nan), np.array([1j, np.nan], "c8")),
    "text": (objects("a", np.str_("b"), None), objects("a", "b", None)),
    "bytes": (objects(b"a", np.bytes_(b"b"), None), objects(b"a", b"b", None)),
    "bytes of which none is missing": (objects(b"a", np.bytes_(b"b")), np.array([b"a", b"b"])),
}


@pytest.mark.parametrize(("values", "expected"), OF_ONE_KIND.values(), ids=OF_ONE_KIND)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_of_one_kind(tmp_path: Path, values: Any, expected: Any, zarr_format: Any) -> None:
    zarrds.save(xr.Dataset({"v": ("x", values)}), tmp_path / "s.zarr", zarr_format=zarr_format)
    zarrds.save(xr.Dataset({"v": ("x", values)}), tmp_path / "s.zarr", append_dim="x")
    got = xr.open_dataset(tmp_path / "s.zarr", engine="zarrds").v.values
    assert got.dtype == expected.dtype
    assert pd.Series(got).equals(pd.Series(np.concatenate([expected, expected])))


ANYTHING = objects(
    "a", "", b"b", None, np.nan, pd.NA, pd.NaT, np.datetime64("NaT", "s"), True, 7, 2**63, 2.5, np.str_("q"),
    np.bytes_(b"q"), np.True_, np.int64(5), np.float32(0.1), (1, 2), Fraction(1, 3), pd.Timedelta("1D"),
    pd.Timestamp(0), 1j,
)  # fmt: skip


def is_same(got: Any, value: Any) -> bool:
    if np.ndim(value) == 0 and pd.isna(value):
        return bool(pd.isna(got))
    kinds = [str, bytes, bool | np.bool_]
    return all(isinstance(got, kind) == isinstance(value, kind) for kind in kinds) and bool(got == value)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("first", ANYTHING, ids=[f"{i} {type(value).__name__}" for i, value in enumerate(ANYTHING)])
def test_any_two(first: Any) -> None:
    """What xarray makes of two objects comes back, with or without something missing, or is refused by its name."""
    for second, between in itertools.product(ANYTHING, [(), (None,)]):
        dataset = xr.Dataset({"mixed": ("x", objects(first, *between, second))})
        try:
            zarrds.save(dataset, "memory://mixtures.zarr", mode="w")
        except ZarrdsError as error:
            names_it = "mixed" in str(error)
            assert names_it, error  # noqa: PT017  # most of them are stored
            continue
        got = xr.open_dataset("memory://mixtures.zarr", engine="zarrds").mixed.values
        assert all(map(is_same, got.astype(object), dataset.mixed.values.astype(object))), (got, dataset.mixed.values)


@pytest.mark.parametrize("encoding", [{"dtype": "bool"}, {"dtype": "i1", "scale_factor": 0.5}, {"dtype": "i1"}])
@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.filterwarnings("ignore:.*what its objects are")
def test_floats_among_objects_are_held_to_an_encoding(tmp_path: Path, is_lazy: bool, encoding: Any) -> None:
    """None of them becomes zero, or True, in silence."""
    for values in (objects(1.5, None), objects(1.5, 2e9)):
        dataset = xr.Dataset({"v": ("x", values)})
        with pytest.raises(EncodingError, match="'v'"):
            zarrds.save(dataset.chunk(x=1) if is_lazy else dataset, tmp_path / "s.zarr", encoding={"v": encoding})


@pytest.mark.parametrize("values", [objects(True, None), objects(None, None)])
@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.filterwarnings("ignore:.*what its objects are")
def test_objects_as_integers_that_are_asked_for(tmp_path: Path, values: Any, is_lazy: bool) -> None:
    dataset = xr.Dataset({"v": ("x", values)})
    encoding = {"v": {"dtype": "i2", "_FillValue": -1}}
    with pytest.raises(EncodingError, match=r"(cannot be stored as the integers|but it holds strings).*'v'.*[Ll]eave"):
        zarrds.save(dataset.chunk(x=1) if is_lazy else dataset, tmp_path / "s.zarr", encoding=encoding)

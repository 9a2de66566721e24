"""Objects of which none was there are stored as text, and become what is added to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import objects
from zarrds.errors import ZarrdsError


def dataset(values: Any, start: int = 0) -> xr.Dataset:
    return xr.Dataset({"v": ("t", values)}, {"t": np.arange(start, start + len(values))})


def in_words(values: Any) -> list[Any]:
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        values = pd.DatetimeIndex(values)  # as objects of NumPy those in nanoseconds are integers
    return [None if pd.isna(value) else value for value in np.asarray(values, object).tolist()]


ADDED = {
    "booleans": objects(True, None, False),
    "integers": objects(2**62, None, -1),
    "integers, all there": objects(1, 2, 3),
    "large": objects(2**64 - 1, None),
    "bytes": objects(b"a", None, b"longer"),
    "bytes that end in zeros": objects(b"a\0", None),
    "floats": objects(1.5, None),
    "plain integers": np.array([1, 2], np.int16),
    "plain booleans": np.array([True, False]),
    "plain floats": np.array([1.5, np.nan], np.float32),
    "fixed bytes": np.array([b"a", b"bc"]),
    "Int64": pd.array([1, None], dtype="Int64"),
    "boolean": pd.array([True, None], dtype="boolean"),
    "Float32": pd.array([1.5, None], dtype="Float32"),
    "text": objects("a", None),
    "times": np.array(["2000-01-01T01", "NaT", "2000-01-02"], "M8[ns]"),
    "times in seconds": np.array(["2000-01-01", "2000-01-02"], "M8[s]"),
    "times as objects": objects(pd.Timestamp("2000-01-01"), None),
    "spans": np.array([90, 1], "m8[s]"),
    "zones": pd.date_range("2000", periods=2, tz="Europe/London").array,
    "periods": pd.period_range("2000", periods=2, freq="M").array,
}


@pytest.mark.parametrize("encoding", [{}, {"chunks": (2,), "shards": (4,)}], ids=["chunks", "shards"])
@pytest.mark.parametrize(
    "first",
    [objects(None, None), objects(np.nan, np.nan), objects(pd.NA, pd.NA), objects()],
    ids=["None", "NaN", "NA", "empty"],
)
@pytest.mark.parametrize("added", ADDED.values(), ids=ADDED)
def test_appended(tmp_path: Path, added: Any, first: Any, encoding: dict[str, Any]) -> None:
    store = tmp_path / "s.zarr"
    zarrds.save(dataset(first), store, encoding={"v": encoding})
    for n in range(2):
        zarrds.save(dataset(added, 2 + n * len(added)), store, append_dim="t")
    got = xr.open_dataset(store, engine="zarrds").v.variable.data
    assert in_words(got) == in_words(first) + in_words(added) * 2
    if first.size and isinstance(added, np.ndarray) and added.dtype == got.dtype == object:
        assert got[0] is first[0] if first[0] is None or first[0] is pd.NA else np.isnan(got[0])
    assert zarrds.verify(store).ok


@pytest.mark.filterwarnings("ignore:variable .* is a dask array with dtype=")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize(
    "added",
    [objects(True, None), objects(5, None), objects(b"x", None), np.array([1.5, np.nan])],
    ids=["bool", "int", "bytes", "floats"],
)
def test_written_otherwise(tmp_path: Path, added: Any, is_lazy: bool, zarr_format: Any) -> None:
    """Into a region, in place of all, and from dask."""
    ways: list[dict[str, Any]] = [{"region": {"t": slice(1, 3)}}, {"mode": "a"}, {"mode": "r+"}, {"append_dim": "t"}]
    for how in ways:
        store = tmp_path / f"{next(iter(how))}{how.get('mode')}.zarr"
        n = 2 if "mode" in how else 4
        zarrds.save(dataset(objects(*[None] * n)).drop_vars("t"), store, zarr_format=zarr_format)
        new = dataset(added).drop_vars("t")
        zarrds.save(new.chunk(t=1) if is_lazy else new, store, **how)
        got = in_words(xr.open_dataset(store, engine="zarrds").v.values)
        rest = in_words(added)
        assert got == ([None, *rest, None] if "region" in how else rest if "mode" in how else [None] * 4 + rest)


def test_of_two_dimensions(tmp_path: Path) -> None:
    first = xr.Dataset({"v": (("t", "y"), np.full((2, 2), None, object))})
    zarrds.save(first, tmp_path / "s.zarr")
    new = xr.Dataset({"v": (("y", "t"), np.array([[True, None, False], [None, False, True]], object))})
    zarrds.save(new, tmp_path / "s.zarr", append_dim="t")
    got = xr.open_dataset(tmp_path / "s.zarr", engine="zarrds").v
    assert got.values[2:].tolist() == new.v.values.T.tolist()
    assert pd.isna(got.values[:2]).all()


def test_text_that_is_there_stays_text(tmp_path: Path) -> None:
    """And with labels, of which none may be missing, nothing is done."""
    zarrds.save(dataset(objects(None, "a")), tmp_path / "s.zarr")
    with pytest.raises(ZarrdsError, match="'v'"):
        zarrds.save(dataset(objects(True, None), 2), tmp_path / "s.zarr", append_dim="t")
    assert in_words(xr.open_dataset(tmp_path / "s.zarr", engine="zarrds").v.values) == [None, "a"]


def test_who_planned_before_is_told(tmp_path: Path) -> None:
    """A region that was planned for text is not written into integers."""
    store = tmp_path / "s.zarr"
    zarrds.save(dataset(objects(None, None)), store)
    texts = dataset(np.array(["a", "b"])).drop_vars("t").chunk(t=1)
    late = zarrds.save(texts, store, region={"t": slice(0, 2)}, compute=False)
    zarrds.save(dataset(objects(5, None), 2), store, append_dim="t")
    with pytest.raises(ZarrdsError):
        late.compute()
    assert in_words(xr.open_dataset(store, engine="zarrds").v.values) == [None, None, 5, None]


@pytest.mark.parametrize(
    "first", [np.array([True, False]), np.array([1, 2]), objects(1, 2)], ids=["bool", "int", "objects"]
)
def test_dask_objects_beside_plain_ones(tmp_path: Path, first: Any) -> None:
    """They are computed, and what is missing among them finds its place as it does in memory."""
    store = tmp_path / "s.zarr"
    zarrds.save(dataset(first), store)
    added = objects(first[0], None)
    with pytest.warns(xr.SerializationWarning, match="what its objects are"):
        zarrds.save(dataset(added, 2).chunk(t=1), store, append_dim="t")
    assert in_words(xr.open_dataset(store, engine="zarrds").v.values) == [*first.tolist(), first[0], None]


def test_no_objects_beside_integers_with_missing_ones(tmp_path: Path) -> None:
    zarrds.save(dataset(objects(1, None)), tmp_path / "s.zarr")
    zarrds.save(dataset(objects(), 2), tmp_path / "s.zarr", append_dim="t")
    assert in_words(xr.open_dataset(tmp_path / "s.zarr", engine="zarrds").v.values) == [1, None]


def test_large_unsigned_integers_beside_none(tmp_path: Path) -> None:
    """Which NumPy would make floats of, together with signed ones."""
    zarrds.save(dataset(objects(None)), tmp_path / "s.zarr")
    zarrds.save(dataset(np.array([2**53 + 1, 2**63 - 1], "u8"), 1), tmp_path / "s.zarr", append_dim="t")
    values = xr.open_dataset(tmp_path / "s.zarr", engine="zarrds").v.values
    assert in_words(values) == [None, 2**53 + 1, 2**63 - 1]

"""Data of another kind than a store has, or than can be stored, is refused by an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from tests.datasets.samples import load
from zarrds.errors import EncodingError, LabelError


def column(values: Any) -> xr.Dataset:
    return xr.Dataset({"a": ("x", values)})


def opened(place: Path) -> xr.Dataset:
    return xr.open_dataset(place, engine="zarrds").load()


DATETIMES = np.array(["2000-01-01"], "M8[ns]")


@pytest.mark.parametrize("new", [np.array([3], "m8[ns]"), np.array([3.0]), np.array([3])], ids=lambda v: str(v.dtype))
def test_other_kinds_are_not_appended_to_times(tmp_path: Path, new: Any) -> None:
    zarrds.save(column(DATETIMES), tmp_path / "a.zarr")
    with pytest.raises(EncodingError, match=r"variable a.*expected datetimes"):
        zarrds.save(column(new), tmp_path / "a.zarr", append_dim="x")
    assert opened(tmp_path / "a.zarr").identical(column(DATETIMES))


def test_times_are_not_appended_to_timedeltas(tmp_path: Path) -> None:
    before = column(np.array([3], "m8[s]"))
    zarrds.save(before, tmp_path / "a.zarr")
    with pytest.raises(EncodingError, match="variable a"):
        zarrds.save(column(DATETIMES), tmp_path / "a.zarr", append_dim="x")
    assert opened(tmp_path / "a.zarr").identical(before)


def test_cftime_that_would_be_read_otherwise_is_refused(tmp_path: Path) -> None:
    dates = [cftime.Datetime360Day(2000, 2, 30, 1, 2, 3, 456789), cftime.Datetime360Day(9999, 2, 30, 1, 2, 3, 1)]
    with pytest.raises(EncodingError, match="'t'"):
        zarrds.save(xr.Dataset({"t": ("x", np.array(dates, object))}), tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()
    near = xr.Dataset({"t": ("x", np.array([dates[0], dates[0].replace(year=2100, microsecond=1)], object))})
    zarrds.save(near, tmp_path / "a.zarr")
    assert opened(tmp_path / "a.zarr").identical(near)


def test_times_from_one_end_of_nanoseconds_to_the_other(tmp_path: Path) -> None:
    ds = column(np.array(["1677-09-22T00:00:00.000000001", "2262-04-11T23:47:16.854775807"], "M8[ns]"))
    zarrds.save(ds, tmp_path / "a.zarr")
    assert opened(tmp_path / "a.zarr").identical(ds)


def arrays() -> Any:
    values = np.empty(2, object)
    values[0], values[1] = np.array([1, 2]), np.array([3])
    return values


@pytest.mark.parametrize(
    ("values", "mend"),
    [
        (np.array([[1, 2], [3]], object), "one flat array"),
        (arrays(), "one flat array"),
        (np.array([cftime.DatetimeNoLeap(2000, 1, 1), cftime.Datetime360Day(2000, 1, 1)], object), "one calendar"),
    ],
    ids=["lists", "arrays", "two calendars"],
)
def test_objects_that_cannot_be_stored(tmp_path: Path, values: Any, mend: str) -> None:
    with pytest.raises(EncodingError, match=mend):
        zarrds.save(column(values), tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.parametrize("encoding", [{"units": "furlongs"}, {"units": "furlongs since 2000"}, {"calendar": "noleap"}])
def test_what_is_asked_for_times_is_in_the_mend(tmp_path: Path, encoding: dict[str, str]) -> None:
    with pytest.raises(EncodingError, match=r"encoding\['(units|calendar)'\]"):
        zarrds.save(column(DATETIMES), tmp_path / "a.zarr", encoding={"a": encoding})


@pytest.mark.parametrize("name", [1, ""])
def test_names_that_are_none(tmp_path: Path, name: Any) -> None:
    with pytest.raises(EncodingError, match=f"{name!r}.*Rename"):
        zarrds.save(xr.Dataset({name: ("x", [1])}), tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


def test_keywords_of_to_zarr_are_taken(tmp_path: Path) -> None:
    zarrds.save(column([1, 2]), tmp_path / "a.zarr", consolidated=True, safe_chunks=True, align_chunks=True)
    assert opened(tmp_path / "a.zarr").identical(column([1, 2]))


FIXED = {"bytes": np.array([b"ab", b"c"]), "text": np.array(["ab", "c"])}
NA_OBJECTS = [np.nan, None, pd.NA, "x"]
OTHER_TEXTS: dict[str, list[Any]] = {
    "bytes": [
        np.array(["longer", "x"]),
        np.array(["x"]),
        np.array(["longer", "x"], object),
        np.array(["longer", pd.NA], object),
        np.array([1, pd.NA], object),
        pd.array(["longer", None, "x"], dtype="string"),
        pd.array(["x"], dtype="string"),
        np.array(["longer", "x"], np.dtypes.StringDType()),
        *(np.array(["longer", na], np.dtypes.StringDType(na_object=na)) for na in NA_OBJECTS),
    ],
    "text": [
        np.array([b"longer", b"x"]),
        np.array([b"x"]),
        np.array([b"longer", b"x"], object),
        np.array([b"longer", pd.NA], object),
        np.array([1, pd.NA], object),
        np.array([1, 2]),
    ],
}


@pytest.mark.filterwarnings("ignore:variable .* is a dask array with dtype=")
@pytest.mark.parametrize("is_dask", [False, True])
@pytest.mark.parametrize("stored", FIXED)
def test_text_and_bytes_are_not_taken_for_each_other(stored: str, is_dask: bool) -> None:
    """However long they are, whatever is missing of them, and whether anybody knows that before they are computed."""
    for new in OTHER_TEXTS[stored]:
        store = zarrds.MemoryStore()
        zarrds.save(column(FIXED[stored]), store)
        before = {key: store.get(key) for key in store.list_prefix()}
        if is_dask and not isinstance(new, np.ndarray):
            continue  # of which dask has no arrays
        with pytest.raises((EncodingError, LabelError)) as caught:
            zarrds.save(column(new).chunk(x=1) if is_dask else column(new), store, append_dim="x")
        assert caught.value.key == "a"
        assert caught.value.mend is not None
        assert {key: store.get(key) for key in store.list_prefix()} == before


@pytest.mark.parametrize("is_dask", [False, True])
@pytest.mark.parametrize("stored", FIXED)
def test_longer_ones_of_the_same_kind_go_on(stored: str, is_dask: bool) -> None:
    store, new = zarrds.MemoryStore(), np.array(["longer", "x"]).astype(FIXED[stored].dtype.kind)
    zarrds.save(column(FIXED[stored]), store)
    zarrds.save(column(new).chunk(x=1) if is_dask else column(new), store, append_dim="x")
    found = load(store).a
    assert found.dtype == new.dtype
    assert found.values.tolist() == [*FIXED[stored].tolist(), *new.tolist()]


@pytest.mark.parametrize("how", [{"append_dim": "x"}, {"mode": "a"}, {"mode": "r+"}], ids=str)
@pytest.mark.parametrize("stored", [pd.array(["a", pd.NA], dtype="string"), np.array([1, None], object)], ids=str)
def test_structures_are_no_values_that_stand_for_missing_ones(stored: Any, how: dict[str, Any]) -> None:
    store = zarrds.MemoryStore()
    zarrds.save(column(stored), store)
    with pytest.raises(EncodingError, match="Mismatched dtypes") as caught:
        zarrds.save(column(np.array([(1, 1.5), (2, 2.5)], [("a", "i4"), ("b", "f8")])), store, **how)
    assert caught.value.key == "a"


WIDER: dict[str, tuple[Any, Any, str]] = {
    "nullable, none missing": (np.array([1, 2], "i1"), pd.array([300], dtype="Int64"), "Int"),
    "nullable, some missing": (np.array([1, 2], "i1"), pd.array([300, None], dtype="Int64"), "Int"),
    "signed, none missing": (np.array([1, 255], "u1"), pd.array([-1], dtype="Int8"), "Int16"),
    "signed, some missing": (np.array([1, 255], "u1"), pd.array([-1, None], dtype="Int8"), "Int16"),
    "fits": (np.array([1, 2], "i1"), pd.array([3], dtype="Int64"), "int8"),
    "booleans, some missing": (np.array([[True, False]]), np.array([[None, True]], object), "object"),
    "booleans, all missing": (np.array([[True, False]]), np.array([[np.nan, np.nan]]), "object"),
    "one boolean": (np.array(True), np.array(np.nan), "object"),
}


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("case", WIDER)
def test_nullable_ones_are_judged_alike(case: str, zarr_format: Any) -> None:
    """Whether something is missing among those that are added or not, and whatever the number of dimensions."""
    stored, new, dtype = WIDER[case]
    store, dims = zarrds.MemoryStore(), ("x", "y")[: np.ndim(stored)]
    zarrds.save(xr.Dataset({"a": (dims, stored)}), store, zarr_format=zarr_format)
    option: dict[str, Any] = {"append_dim": "x"} if dims else {"mode": "r+"}
    zarrds.save(xr.Dataset({"a": (dims, new)}), store, **option)
    found = load(store).a.variable
    assert str(found.dtype).startswith(dtype)
    parts = [np.asarray(stored, object), np.asarray(new, object)] if dims else [np.asarray(new, object)[None]]
    expected = [None if pd.isna(value) else value for value in np.concatenate(parts).ravel()]
    values = np.asarray(found.data.astype(object)).ravel().tolist()
    assert [None if pd.isna(value) else value for value in values] == expected
    assert zarrds.verify(store).ok

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import (
    CHUNKS,
    DAY,
    Counting,
    Format,
    complete,
    days,
    files,
    load,
    open_zarrds,
    times,
    variants,
)
from zarrds.errors import ChunkError, ConflictError, EncodingError, LabelError

KINDS = ["numpy", "dask"]
ENGINES = ["zarrds", "zarr"]


def is_stored(store: Any, expected: xr.Dataset, **options: Any) -> None:
    for engine in ENGINES:
        for consolidated in (True, False):
            xr.testing.assert_identical(load(store, engine, consolidated=consolidated, **options), expected)


# what is appended is there


@pytest.mark.one_in(3)
@pytest.mark.parametrize("group", [None, "a/b"])
@pytest.mark.parametrize("kind", KINDS)
def test_as_concat(path: Path, kind: str, group: str | None, zarr_format: Format) -> None:
    parts = [days(0, 5), days(5, 6), days(6, 13), days(13, 13), days(13, 17)]
    zarrds.save(variants(parts[0])[kind], path, group=group, encoding=CHUNKS, zarr_format=zarr_format)
    for part in parts[1:]:
        zarrds.save(variants(part)[kind] if part.sizes["time"] else part, path, group=group, append_dim="time")
    expected = xr.concat(parts, "time", data_vars="minimal", coords="minimal", compat="override", join="outer")
    xr.testing.assert_identical(expected, days(0, 17))
    is_stored(path, expected, group=group)
    base = f"{group}/" if group else ""
    assert complete(path, f"{base}t2m") == [17, 3]
    assert complete(path, f"{base}season") == [17]


@given(st.lists(st.integers(0, 6), min_size=2, max_size=5), st.integers(1, 7), st.booleans())
def test_any_parts(sizes: list[int], chunk: int, as_dask: bool) -> None:
    store = zarrds.MemoryStore()
    ends = np.cumsum([0, *sizes])
    encoding = {name: {"chunks": (chunk, 2)[: days(0, 1)[name].ndim]} for name in ("t2m", "name", "time", "season")}
    for i, (start, stop) in enumerate(pairwise(ends)):
        part = days(start, stop).chunk(time=2) if as_dask else days(start, stop)
        zarrds.save(part, store, **({"append_dim": "time"} if i else {"encoding": encoding}))
    xr.testing.assert_identical(load(store), days(0, int(ends[-1])))


def test_the_first_of_all_appends_needs_a_store(path: Path) -> None:
    with pytest.raises(LabelError, match="nothing yet"):
        zarrds.save(days(0, 2), path, append_dim="time")
    assert not path.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_along_another_dimension_than_the_first(path: Path, kind: str, zarr_format: Format) -> None:
    ds = xr.Dataset(
        {"a": (("y", "t", "x"), np.arange(80).reshape(2, 10, 4)), "b": (("t", "y"), np.arange(20.0).reshape(10, 2))},
        {"t": np.arange(10), "lat": ("y", [50.0, 60.0])},
    )
    encoding = {"a": {"chunks": (2, 3, 3)}, "b": {"chunks": (4, 1)}}
    zarrds.save(ds.isel(t=slice(2)), path, encoding=encoding, zarr_format=zarr_format)
    zarrds.save(variants(ds.isel(t=slice(2, 8)).transpose("x", "t", "y"))[kind], path, append_dim="t")
    zarrds.save(ds.isel(t=slice(8, None)).drop_vars("lat"), path, append_dim="t")
    is_stored(path, ds)


def test_along_a_dimension_without_labels(path: Path, zarr_format: Format) -> None:
    ds = xr.Dataset({"v": (("t", "x"), np.arange(30).reshape(10, 3)), "w": ("t", np.arange(10))}, {"x": [1, 2, 3]})
    zarrds.save(ds.isel(t=slice(4)), path, zarr_format=zarr_format, encoding={"v": {"chunks": (3, 2)}})
    zarrds.save(ds.isel(t=slice(4, None)), path, append_dim="t")
    is_stored(path, ds)
    with pytest.raises(LabelError, match="does not have"):
        zarrds.save(ds.assign_coords(t=range(10)), path, append_dim="t")
    for on_overlap in ("replace", "skip"):  # nothing tells a re-run
        with pytest.raises(EncodingError, match="needs labels along 't', and the store has none"):
            zarrds.save(ds, path, append_dim="t", on_overlap=on_overlap)
    is_stored(path, ds)


def test_where_another_dimension_is_empty(path: Path, zarr_format: Format) -> None:
    ds = xr.Dataset({"v": (("t", "x"), np.zeros((5, 0)))}, {"t": range(5)})
    zarrds.save(ds.isel(t=slice(2)), path, zarr_format=zarr_format)
    zarrds.save(ds.isel(t=slice(2, None)), path, append_dim="t")
    is_stored(path, ds)


@pytest.mark.parametrize("kind", KINDS)
def test_shards(path: Path, kind: str) -> None:
    encoding = {"t2m": {"chunks": (2, 1), "shards": (6, 2)}}
    zarrds.save(days(0, 4), path, encoding=encoding)
    zarrds.save(variants(days(4, 5))[kind], path, append_dim="time")
    zarrds.save(variants(days(5, 15))[kind], path, append_dim="time")
    is_stored(path, days(0, 15))


OBJECTS = np.array(["a", "bc", "", "def", "ä"], object)
VALUES: dict[str, Any] = {
    "objects": OBJECTS,
    "strings": OBJECTS.astype("U3"),
    "bytes": np.array([b"ab", b"cd", b"ef", b"gh", b"ij"]),
    "booleans": np.array([True, False, True, True, False]),
    "complex": np.arange(5) * 1j,
    "missing": np.array([1.0, np.nan, 2.0, np.nan, 3.0]),
    "timedeltas": np.arange(5) * np.timedelta64(90, "m").astype("m8[ns]"),
    "datetimes": np.array(["2000-01-01", "NaT", "2000-01-01T12", "2000-01-02", "2000-03-01"], "M8[ns]"),
    "big-endian": np.arange(5).astype(">i4"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", VALUES)
def test_kinds_of_values(path: Path, case: str, kind: str, zarr_format: Format) -> None:
    ds = xr.Dataset({"v": ("t", VALUES[case])}, {"t": range(5)})
    if ds.v.dtype.kind == "M":
        ds["v"].encoding = {"units": "hours since 2000-01-01", "dtype": "i8"}
    if case == "objects" and kind == "dask":
        pytest.skip("xarray loads dask arrays of objects, with a warning")
    zarrds.save(ds.isel(t=slice(2)), path, zarr_format=zarr_format, encoding={"t": {"chunks": (4,)}})
    zarrds.save(variants(ds.isel(t=slice(2, None)))[kind], path, append_dim="t")
    for engine in ENGINES:
        xr.testing.assert_equal(load(path, engine), ds)


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_calendars(path: Path, calendar: str, zarr_format: Format) -> None:
    time = xr.date_range("2000-02-26", periods=6, calendar=calendar, use_cftime=calendar != "standard", unit="ns")
    ds = xr.Dataset({"v": ("time", np.arange(6.0))}, {"time": time})
    ds["bnds"] = (("time", "n"), np.stack([time, time], 1))
    ds["time"].attrs["bounds"] = "bnds"
    zarrds.save(ds.isel(time=slice(3)), path, zarr_format=zarr_format)
    zarrds.save(ds.isel(time=slice(3, None)), path, append_dim="time")
    is_stored(path, ds)
    other = xr.date_range("2001-02-26", periods=1, calendar="julian", use_cftime=True)
    bad = ds.isel(time=slice(1)).assign_coords(time=other)
    before = files(path)
    with pytest.raises((LabelError, EncodingError)):
        zarrds.save(bad, path, append_dim="time")
    assert files(path) == before


# times, units and overlaps


def test_a_rerun_is_harmless(path: Path, zarr_format: Format) -> None:
    for kind in KINDS:
        zarrds.save(days(0, 6), path, mode="w", encoding=CHUNKS, zarr_format=zarr_format)
        more = variants(days(4, 11))[kind]
        how: Any
        for how in ("skip", "replace", "skip", "replace"):
            zarrds.save(more, path, append_dim="time", on_overlap=how)
            is_stored(path, days(0, 11))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_replaced_and_what_is_skipped(path: Path, kind: str) -> None:
    new = days(4, 9)
    new = new.assign(t2m=new.t2m + 100)
    how: Any
    for how, first in (("replace", 4), ("skip", 6)):
        zarrds.save(days(0, 6), path, mode="w", encoding=CHUNKS)
        zarrds.save(variants(new)[kind], path, append_dim="time", on_overlap=how)
        expected = days(0, 9)
        expected["t2m"][first:] += 100
        expected["t2m"].attrs = {"units": "K"}
        is_stored(path, expected)


def test_new_times_keep_the_units_of_the_store(path: Path, zarr_format: Format) -> None:
    time = times("2000-01-01", 3)
    zarrds.save(xr.Dataset({"v": ("time", [1, 2, 3])}, {"time": time}), path, zarr_format=zarr_format)
    more = xr.Dataset({"v": ("time", [4, 5])}, {"time": times("2000-02-01", 2)})
    more["time"].encoding = {"units": "hours since 1900-01-01"}
    units = load(path).time.encoding["units"]
    zarrds.save(more, path, append_dim="time")
    assert load(path).time.values.tolist() == [*time.values.tolist(), *times("2000-02-01", 2).values.tolist()]
    assert load(path).time.encoding["units"] == units


# each of the checks: the store stays as it was, byte for byte

Change = Callable[[xr.Dataset], xr.Dataset]
REFUSED: dict[str, tuple[Change, str, str | None]] = {
    "another coordinate": (lambda ds: ds.assign_coords(x=[10, 20, 31]), "1 of 3 differ.*expected 30, found 31", "x"),
    "coordinate without index": (lambda ds: ds.assign_coords(height=3.0), "expected 2.0, found 3.0", "height"),
    "fewer labels": (lambda ds: ds.isel(x=slice(2)), "different dimension sizes", None),
    "fewer without labels": (
        lambda ds: ds.isel(x=slice(2)).drop_vars(["x", "area"]),
        "different dimension sizes",
        "t2m",
    ),
    "more without labels": (
        lambda ds: ds.drop_vars(["x", "area"]).pad(x=(0, 1)),
        "different dimension sizes",
        "t2m",
    ),
    "strings for numbers": (lambda ds: ds.assign(t2m=ds.t2m.astype(str)), "Mismatched dtypes", "t2m"),
    "numbers for strings": (lambda ds: ds.assign(name=ds.season), "Mismatched dtypes", "name"),
    "floats for integers": (lambda ds: ds.assign_coords(season=ds.season + 0.5), "not whole", "season"),
    "fewer dimensions": (lambda ds: ds.assign(t2m=ds.t2m[:, 0].drop_vars("x")), "different dimension names", "t2m"),
    "other dimensions": (lambda ds: ds.assign(t2m=("time", ds.time.dt.day.data)), "different dimension names", "t2m"),
    "labels of two dimensions": (
        lambda ds: ds.drop_vars("time").assign(time=(("time", "m"), np.ones((4, 2)))),
        "different dimension names",
        "time",
    ),
    "missing variable": (lambda ds: ds.drop_vars("name"), "lacks variables.*'name'", None),
    "missing labels": (lambda ds: ds.drop_vars("time"), "lacks variables.*'time'", None),
    "extra variable": (lambda ds: ds.assign(new=ds.t2m), "does not have.*'new'", None),
    "extra, and shorter": (lambda ds: ds.assign(new=("x", [1, 2, 3])).rename(x="y"), "different dimension names", None),
    "times of another kind": (lambda ds: ds.assign_coords(time=np.arange(4)), "another kind", "time"),
    "times that are missing": (lambda ds: ds.assign_coords(time=ds.time.where(ds.season < 5)), "missing", "time"),
    "overlap": (lambda ds: ds.assign_coords(time=ds.time - 2 * DAY), "2 of 4 are stored already", "time"),
    "a gap behind": (lambda ds: ds.assign_coords(time=ds.time - 40 * DAY), "backwards", "time"),
    "backwards in itself": (lambda ds: ds.isel(time=slice(None, None, -1)), "backwards", "time"),
    "twice": (lambda ds: ds.isel(time=[0, 1, 1, 2]), "more than once", "time"),
    "no such dimension": (lambda ds: ds.isel(time=0), "no dimension 'time'", None),
    "too large for its packing": (lambda ds: ds.assign(t2m=ds.t2m + 1e6), "integers cannot hold", "t2m"),
}


@pytest.mark.one_in(8)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit(path: Path, case: str, kind: str) -> None:
    change, words, key = REFUSED[case]
    zarr_format: Format = 2 if ([*REFUSED].index(case) + KINDS.index(kind)) % 2 else 3
    packed = {"dtype": "i2", "scale_factor": 0.25, "add_offset": 280.0, "_FillValue": -999}
    encoding: dict[str, Any] = {**CHUNKS, "t2m": {"chunks": (4, 2), **packed}}
    zarrds.save(days(0, 6), path, encoding=encoding, zarr_format=zarr_format)
    zarrds.save(variants(days(6, 7))[kind], path, append_dim="time")
    before = files(path.parent)
    with pytest.raises((LabelError, EncodingError), match=words) as caught:
        zarrds.save(variants(change(days(7, 11)))[kind], path, append_dim="time")
    assert isinstance(caught.value, ValueError)
    assert caught.value.path == str(path)
    if key is not None:
        assert caught.value.key == key
    assert files(path.parent) == before
    zarrds.save(days(7, 11), path, append_dim="time")
    is_stored(path, days(0, 11))


def test_single_steps_are_made_dimensions_and_none_as_the_errors_say(path: Path) -> None:
    first = xr.Dataset({"v": (("t", "x"), [[1.0, 2.0]])}, {"t": [0], "run": ("t", [7])})
    zarrds.save(first, path)
    then = first.assign_coords(t=[1])
    scalar = then.assign_coords(run=8)  # as of one file of a series
    with pytest.raises(LabelError, match=re.escape("dataset['run'].expand_dims(['t'])")):
        zarrds.save(scalar, path, append_dim="t")
    zarrds.save(scalar.assign(run=scalar["run"].expand_dims(["t"])), path, append_dim="t")
    level = then.assign_coords(t=[2]).expand_dims(level=[850]).drop_vars("run").assign(run=("t", [9]))
    with pytest.raises(LabelError, match=re.escape("dataset.squeeze(['level'])")):
        zarrds.save(level, path, append_dim="t")
    zarrds.save(level.squeeze(["level"]), path, append_dim="t")
    found = load(path)
    assert found.run.values.tolist() == [7, 8, 9]
    assert found.v.values.tolist() == [[1.0, 2.0]] * 3


# what is read for it


def test_only_labels_are_read_and_chunks_at_the_boundary(zarr_format: Format) -> None:
    store = Counting()
    zarrds.save(days(0, 8), store, encoding=CHUNKS, zarr_format=zarr_format)
    store.reads.clear()
    zarrds.save(days(8, 10), store, append_dim="time")
    # t2m ends where a chunk ends; name and season (of 3) do not
    separator = "c." if zarr_format == 3 else ""
    labels = {f"time/{separator}0", f"time/{separator}1", f"x/{separator}0", f"area/{separator}0"}
    labels |= {key for key in store.chunks_read() if key.startswith("height/")}
    assert store.chunks_read() - labels == {f"name/{separator}2", f"season/{separator}2"}
    store.reads.clear()
    zarrds.save(days(10, 11), store, append_dim="time")
    read = {key.replace("c.", "") for key in store.chunks_read() if key.startswith(("t2m/", "name/", "season/"))}
    assert read == {"t2m/2.0", "t2m/2.1", "name/3", "season/3"}


# datasets of this very store


@pytest.mark.parametrize("chunks", [None, {}, {"time": 5}], ids=str)
@pytest.mark.filterwarnings("ignore:The specified chunks separate")
def test_a_lazy_dataset_behind_itself(path: Path, chunks: Any, zarr_format: Format) -> None:
    zarrds.save(days(0, 6), path, encoding=CHUNKS, zarr_format=zarr_format)
    lazy = open_zarrds(path, chunks=chunks).isel(time=slice(1, None))
    lazy = lazy.assign_coords(time=lazy.time + 5 * DAY)
    expected = xr.concat([days(0, 6), lazy.compute()], "time", data_vars="minimal", coords="minimal", compat="override")
    zarrds.save(lazy, path, append_dim="time")
    is_stored(path, expected)


def test_a_reader_from_before(path: Path, zarr_format: Format) -> None:
    zarrds.save(days(0, 6), path, encoding=CHUNKS, zarr_format=zarr_format)
    readers = [open_zarrds(path), open_zarrds(path, chunks={}), open_zarrds(path, consolidated=False)]
    frozen = [pickle.dumps(reader) for reader in readers]
    zarrds.save(days(6, 8), path, append_dim="time")
    zarrds.save(days(8, 15), path, append_dim="time")
    for reader in (*readers, *map(pickle.loads, frozen)):
        xr.testing.assert_identical(reader.compute(), days(0, 6))
    zarrds.save(days(0, 6), path, mode="w")
    for reader in map(pickle.loads, frozen):
        with pytest.raises(ConflictError):
            reader.compute()


def test_a_reader_of_what_another_library_consolidated(path: Path, zarr_format: Format) -> None:
    zarrds.save(days(0, 6), path, encoding=CHUNKS, zarr_format=zarr_format)
    zarr.consolidate_metadata(path, zarr_format=zarr_format)
    reader = open_zarrds(path)
    zarrds.save(days(6, 8), path, append_dim="time")
    days(8, 10).to_zarr(path, append_dim="time")
    xr.testing.assert_identical(reader.load(), days(0, 6))


# stores that others write too


@pytest.mark.parametrize("consolidated", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_stores_of_the_zarr_engine(path: Path, kind: str, consolidated: bool, zarr_format: Format) -> None:
    days(0, 5).to_zarr(path, encoding=CHUNKS, zarr_format=zarr_format, consolidated=consolidated)
    zarrds.save(variants(days(5, 10))[kind], path, append_dim="time")
    is_stored(path, days(0, 10))


def test_turn_and_turn_about(path: Path, zarr_format: Format) -> None:
    zarrds.save(days(0, 3), path, encoding=CHUNKS, zarr_format=zarr_format)
    n = 3
    for consolidated in (True, None, True):
        days(n, n + 2).to_zarr(path, append_dim="time", consolidated=consolidated)
        zarrds.save(days(n + 2, n + 5).chunk(time=2), path, append_dim="time")
        n += 5
        is_stored(path, days(0, n))


def test_after_a_resize_that_was_not_consolidated(path: Path, zarr_format: Format) -> None:
    zarrds.save(days(0, 5), path, encoding=CHUNKS, zarr_format=zarr_format)
    more = days(0, 7)
    for name in ("t2m", "name", "time", "season"):
        array = zarr.open_array(path, path=name, mode="r+", zarr_format=zarr_format)
        array.resize((7, *array.shape[1:]))
        array[5:] = [5, 6] if name == "time" else more[name].values[5:]
    xr.testing.assert_identical(load(path), days(0, 5))  # as consolidated metadata has it
    zarrds.save(days(7, 9), path, append_dim="time")
    is_stored(path, days(0, 9))
    # of the array alone that nobody else resized
    array = zarr.open_array(path, path="season", mode="r+", zarr_format=zarr_format)
    array.resize(11)
    before = files(path)
    with pytest.raises(LabelError, match="disagree about the size of dimension 'time'"):
        zarrds.save(days(9, 10), path, append_dim="time")
    assert files(path) == before


def test_a_chunk_that_is_lost_at_the_boundary(path: Path, zarr_format: Format) -> None:
    zarrds.save(days(0, 5), path, encoding=CHUNKS, zarr_format=zarr_format)
    lost = path / "t2m" / ("c.1.0" if zarr_format == 3 else "1.0")
    lost.unlink()
    before = files(path.parent)
    with pytest.raises(ChunkError, match="missing") as caught:
        zarrds.save(days(5, 6), path, append_dim="time")
    assert caught.value.key == f"t2m/{lost.name}"
    assert files(path.parent) == before


def test_modes_of_appending(path: Path) -> None:
    more = days(4, 6).assign(area=("x", [8.0, 9.0, 10.0]))
    mode: Any
    for mode in ("a", None, "a-"):
        zarrds.save(days(0, 4), path, mode="w")
        if mode == "a-":
            zarrds.save(more, path, mode=mode, append_dim="time")
            is_stored(path, days(0, 6))
            continue
        # xarray's engine replaces it, and with it what all earlier steps are read with
        before = files(path)
        with pytest.raises(LabelError, match=r"values of 'area'.*3 of 3 differ.*expected 5.0, found 8.0.*mode='a'"):
            zarrds.save(more, path, mode=mode, append_dim="time")
        assert files(path) == before
        zarrds.save(more.assign(area=days(0, 1).area.astype("f4")), path, mode=mode, append_dim="time")
        is_stored(path, days(0, 6))


def test_a_region_of_what_is_appended(path: Path) -> None:
    new = xr.Dataset({"v": (("t", "x"), np.arange(12.0).reshape(4, 3))}, {"t": range(4), "x": [1, 2, 3]})
    zarrds.save(new, path, encoding={"v": {"chunks": (3, 2)}})
    more = (new + 100).assign_coords(t=range(4, 8)).isel(x=slice(1, 3))
    zarrds.save(more, path, append_dim="t", region={"x": slice(1, 3)})
    expected = new.reindex(t=range(8))
    expected["v"][4:, 1:] = more.v.values
    is_stored(path, expected)
    assert complete(path, "v") == [4, 3]
    assert complete(path, "t") == [8]

"""Times that turn out finer than the units of the store, and strings that turn out longer, are appended too."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import FORMATS, Format, files, load, open_zarrds, variants
from zarrds.errors import ConflictError, LabelError, ZarrdsError

ENGINES = ["zarrds", "zarr"]


def at(*times: str) -> xr.Dataset:
    return xr.Dataset({"v": ("time", np.arange(len(times)) * 1.0)}, {"time": np.array(times, "M8[ns]")})


STEPS = ["2024-01-01", "2024-01-02T06", "2024-01-02T06:30", "2024-01-02T06:30:15", "2024-01-02T06:30:15.000000001"]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("dtype", ["int64", "int32", "float64"])
def test_units_get_finer_step_by_step(path: Path, dtype: str, zarr_format: Format) -> None:
    encoding = {"time": {"dtype": dtype, "units": "days since 2024-01-01", "chunks": (2,)}}
    zarrds.save(at(STEPS[0]), path, encoding=encoding, zarr_format=zarr_format)
    units = ["days", "hours", "minutes", "seconds", "nanoseconds"]
    for i, step in enumerate(STEPS[1:], 1):
        zarrds.save(at(step), path, append_dim="time")
        for engine in ENGINES:
            found = xr.open_dataset(path, engine=engine, decode_timedelta=False)
            assert found.time.values.astype("M8[ns]").tolist() == np.array(STEPS[: i + 1], "M8[ns]").tolist()
        if dtype != "float64":  # which hold parts of days
            assert found.time.encoding["units"].split()[0] == units[i]
    assert zarrds.open_array(path, path="time").metadata.chunks == (2,)
    assert zarrds.verify(path).ok


@pytest.mark.parametrize("marks", [{"_FillValue": 255}, {"missing_value": 255}, {"_FillValue": 0}], ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32"])
def test_finer_units_of_short_integers_with_a_marker(
    path: Path, dtype: str, marks: dict[str, int], zarr_format: Format
) -> None:
    """As netCDF files have times of which some may be missing."""
    first, new = np.array(["2024-01-02", "NaT"], "M8[ns]"), np.array(["2024-01-05T00:00:01"], "M8[ns]")
    encoding = {"t": {"dtype": dtype, "units": "days since 2024-01-01", **marks}}
    zarrds.save(xr.Dataset({"t": ("x", first)}), path, encoding=encoding, zarr_format=zarr_format)
    zarrds.save(xr.Dataset({"t": ("x", new)}), path, append_dim="x")
    for engine in ENGINES:
        assert np.array_equal(load(path, engine).t.values, np.concatenate([first, new]), equal_nan=True)
    assert zarrds.verify(path).ok


@given(st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=3), min_size=2, max_size=4), st.data())
def test_any_times_go_on(parts: list[list[int]], data: st.DataObject) -> None:
    store = zarrds.MemoryStore()
    unit = [data.draw(st.sampled_from(["D", "h", "m", "s", "ms"])) for _ in parts]
    now = np.datetime64("1999-12-31", "ns")
    whole: list[Any] = []
    for i, steps in enumerate(parts):
        new = []
        for step in steps:
            now = now + (np.timedelta64(step % 1000 + 1, unit[i])).astype("m8[ns]")
            new.append(now)
        whole += new
        zarrds.save(at(*map(str, new)), store, **({"append_dim": "time"} if i else {}))
    assert load(store).time.values.tolist() == np.array(whole).tolist()


def test_bounds_have_the_units_of_their_coordinate(path: Path, zarr_format: Format) -> None:
    def step(start: str, stop: str) -> xr.Dataset:
        ds = at(start).assign(time_bnds=(("time", "n"), np.array([[start, stop]], "M8[ns]")))
        ds["time"].attrs["bounds"] = "time_bnds"
        return ds

    zarrds.save(step("2024-01-01", "2024-01-02"), path, zarr_format=zarr_format)
    # as CF wants it, and netCDF files have it
    array = zarrds.open_array(path, "r+", "time_bnds")
    if "units" in array.attrs:
        raw = array[...]
        del array.attrs["units"], array.attrs["calendar"]
        assert raw.tolist() == [[0, 1]]
    for start, stop in (("2024-01-02", "2024-01-02T12"), ("2024-01-02T12", "2024-01-02T12:30")):
        zarrds.save(step(start, stop), path, append_dim="time")
    for engine in ENGINES:
        found = load(path, engine)
        assert (
            found.time_bnds.values[:, 1].tolist()
            == np.array(["2024-01-02", "2024-01-02T12", "2024-01-02T12:30"], "M8[ns]").tolist()
        )
        assert found.time.values[-1] == np.datetime64("2024-01-02T12")
    assert "units" not in zarrds.open_array(path, path="time_bnds").attrs


@pytest.mark.parametrize("dtype", [None, "int32", "float64"])
def test_bounds_at_parts_of_the_units_of_their_coordinate(path: Path, dtype: str | None, zarr_format: Format) -> None:
    """They have no units of their own, as CF wants it, where floats hold them; what is added to them goes on."""

    def days(*dates: str) -> xr.Dataset:
        ds = at(*dates)
        noons = ds.time.values[:, None] + np.array([[-12, 12]], "m8[h]")
        ds = ds.assign_coords(time_bnds=(("time", "n"), noons))
        ds["time"].attrs["bounds"] = "time_bnds"
        ds["time"].encoding = {"units": "days since 1900-01-01"} | ({} if dtype is None else {"dtype": dtype})
        return ds

    zarrds.save(days("2024-01-01", "2024-01-02"), path, zarr_format=zarr_format)
    for name in ("time", "time_bnds"):
        assert zarrds.open_array(path, path=name).attrs["units"] == "days since 1900-01-01"
    zarrds.save(days("2024-01-03"), path, append_dim="time")
    for engine in ENGINES:
        expected = days("2024-01-01", "2024-01-02", "2024-01-03")
        assert np.array_equal(load(path, engine).time_bnds.values, expected.time_bnds.values)
    assert zarrds.verify(path).ok


@pytest.mark.parametrize("compute", [True, False])
def test_bounds_that_are_read_later_keep_their_units(path: Path, tmp_path: Path, compute: bool) -> None:
    """Days do not hold them, which is only seen when they are computed."""
    ds = at("2024-01-01", "2024-01-02")
    ds = ds.assign_coords(time_bnds=(("time", "n"), ds.time.values[:, None] + np.array([[0, 1]], "m8[h]")))
    ds["time"].attrs["bounds"] = "time_bnds"
    zarrds.save(ds, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        later = zarrds.save(open_zarrds(path, chunks={}), tmp_path / "again.zarr", compute=compute)
        if later is not None:
            later.compute()
    found = open_zarrds(tmp_path / "again.zarr")
    xr.testing.assert_identical(found.load(), ds)
    assert found.time_bnds.encoding["units"].startswith("hours since 2024-01-01")


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_resolutions_that_are_noted(path: Path, unit: Any, zarr_format: Format) -> None:
    def days(*times: str) -> xr.Dataset:
        return xr.Dataset({"v": ("time", np.zeros(len(times)))}, {"time": np.array(times, f"M8[{unit}]")})

    zarrds.save(days("2024-01-01", "2024-01-02"), path, zarr_format=zarr_format)
    zarrds.save(days("2024-01-02T06"), path, append_dim="time")
    assert load(path).time.values[-1] == np.datetime64("2024-01-02T06")
    assert load(path).time.dtype == np.dtype(f"M8[{unit}]")
    # what is noted of an index is its resolution, which stays until there are finer times
    finer = days("2024-01-03").assign_coords(time=np.array(["2024-01-03T07:00:00.000000001"], "M8[ns]"))
    zarrds.save(finer, path, append_dim="time")
    assert load(path).time.values[-1] == np.datetime64("2024-01-03T07:00:00.000000001")
    assert load(path).time.dtype == np.dtype("M8[ns]")


def test_calendars_and_durations(path: Path, zarr_format: Format) -> None:
    time = xr.date_range("2000-02-27", periods=3, calendar="noleap", use_cftime=True, freq="18h")
    ds = xr.Dataset({"lead": ("time", np.array([0, 24, 30], "m8[h]").astype("m8[ns]"))}, {"time": time})
    zarrds.save(ds.isel(time=[0]), path, zarr_format=zarr_format)
    zarrds.save(ds.isel(time=[1]), path, append_dim="time")
    zarrds.save(ds.isel(time=[2]), path, append_dim="time")
    xr.testing.assert_equal(load(path), ds)


def test_a_reader_of_the_old_units_is_told(path: Path) -> None:
    times = np.array(["2024-01-01", "2024-01-02"], "M8[ns]")
    ds = at("2024-01-01", "2024-01-02").assign(valid=("time", times))
    zarrds.save(ds, path)
    opened = open_zarrds(path)
    zarrds.save(
        at("2024-01-03T06").assign(valid=("time", np.array(["2024-01-03T06"], "M8[ns]"))), path, append_dim="time"
    )
    with pytest.raises(ConflictError):
        opened.valid.load()
    xr.testing.assert_identical(opened.v.load(), ds.v)


def test_a_variable_that_the_store_lacks_is_refused_as_before(path: Path) -> None:
    zarrds.save(at("2024-01-01").chunk(), path)
    before = files(path)
    later = at("2024-01-02T06").assign(valid=("time", np.array(["2024-01-01"], "M8[ns]")))
    with pytest.raises(LabelError):
        zarrds.save(later, path, append_dim="time")
    assert before == files(path)


# strings

TEXTS: dict[str, Any] = {"U": np.array, "S": lambda v: np.array([t.encode() for t in v])}


@pytest.mark.parametrize("kind", ["numpy", "dask"])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("shards", [False, True])
def test_strings_get_longer(path: Path, text: str, kind: str, shards: bool, zarr_format: Format) -> None:
    if shards and zarr_format == 2:
        pytest.skip("format 2 has no shards")
    make = TEXTS[text]
    parts = [["abc", "de"], ["f"], ["longer than that", ""], ["ab"], ["the longest of all of them"]]
    ends = np.cumsum([0, *map(len, parts)])
    for i, part in enumerate(parts):
        ds = xr.Dataset({"n": ("t", make(part))}, {"t": np.arange(ends[i], ends[i + 1])})
        encoding: Any = {"n": {"chunks": (2,), **({"shards": (4,)} if shards else {})}}
        zarrds.save(
            variants(ds)[kind],
            path,
            **({"append_dim": "t"} if i else {"encoding": encoding, "zarr_format": zarr_format}),
        )
    expected = make([t for part in parts for t in part])
    for engine in ENGINES:
        found = load(path, engine)
        assert found.n.values.tolist() == expected.tolist()
        assert found.n.dtype == expected.dtype
    assert zarrds.verify(path).ok


def test_labels_and_tables_of_strings_get_longer(path: Path, zarr_format: Format) -> None:
    def part(*names: str) -> xr.Dataset:
        return xr.Dataset({"table": (("station", "part"), [[n, n[:1]] for n in names])}, {"station": list(names)})

    zarrds.save(part("abc", "abd"), path, zarr_format=zarr_format)
    zarrds.save(part("x", "abcdef"), path, append_dim="station")
    xr.testing.assert_equal(load(path), part("abc", "abd", "x", "abcdef"))
    assert load(path).sel(station="abcdef").table.values.tolist() == ["abcdef", "a"]
    # beside what is replaced
    zarrds.save(part("abcdef", "abcdefghi"), path, append_dim="station", on_overlap="replace")
    assert load(path).station.values.tolist() == ["abc", "abd", "x", "abcdef", "abcdefghi"]
    zarrds.save(part("a name that is longer")[["table"]].drop_vars("station"), path, region={"station": slice(0, 1)})
    assert load(path).table.values[:2].tolist() == [["a name that is longer", "a"], ["abd", "a"]]


def test_objects_and_encoded_strings_get_longer(path: Path, zarr_format: Format) -> None:
    def part(*names: str) -> xr.Dataset:
        ds = xr.Dataset({"n": ("t", np.array(names, object))})
        ds["n"].encoding = {"dtype": "S1"}
        return ds

    zarrds.save(part("abc", "de"), path, zarr_format=zarr_format)
    zarrds.save(part("f"), path, append_dim="t")
    zarrds.save(part("Tromsø"), path, append_dim="t")
    for engine in ENGINES:
        assert load(path, engine).n.values.tolist() == ["abc", "de", "f", "Tromsø"]


def test_mode_a_replaces_with_what_needs_more_room(path: Path, zarr_format: Format) -> None:
    ds = at("2024-01-01").assign(n=("time", np.array(["abc"])), valid=("time", np.array(["2024-01-01"], "M8[ns]")))
    zarrds.save(ds, path, zarr_format=zarr_format)
    new = ds.assign(n=("time", np.array(["abcdef"])), valid=("time", np.array(["2024-01-01T06"], "M8[ns]")))
    zarrds.save(new, path, mode="a")
    xr.testing.assert_equal(load(path), new)


def test_a_step_at_a_time_of_everything(path: Path, zarr_format: Format) -> None:
    time = pd.DatetimeIndex(np.array(["2024-01-01", "2024-01-01T06", "2024-01-01T06:15"], "M8[ns]"))
    run = ("time", time.values[::-1])
    whole = xr.Dataset({"name": ("time", np.array(["a", "bcd", "ef"]))}, {"time": time, "run": run})
    for i in range(3):
        one = whole.isel(time=[i])
        one = one.assign(name=("time", np.array([str(one.name.values[0])])))
        zarrds.save(one, path, **({"append_dim": "time"} if i else {"zarr_format": zarr_format}))
    xr.testing.assert_equal(load(path), whole)


@pytest.mark.parametrize(("coarse", "fine"), [("s", "ms"), ("s", "ns"), ("ms", "us"), ("us", "ns")])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_resolution_that_is_noted_gets_finer(coarse: Any, fine: Any, zone: str | None) -> None:
    def step(time: str, unit: Any) -> xr.Dataset:
        return xr.Dataset({"v": ("time", [1.0])}, {"time": pd.DatetimeIndex([time], tz=zone).as_unit(unit)})

    small = {"ms": "001", "us": "000001", "ns": "000000001"}[fine]
    first, second = step("2000-01-01", coarse), step(f"2000-01-01T00:00:00.{small}", fine)
    for zarr_format in (2, 3):
        store = zarrds.MemoryStore()
        zarrds.save(first, store, zarr_format=zarr_format)  # type: ignore[arg-type]  # an int in a loop
        zarrds.save(second, store, append_dim="time")
        back = xr.open_dataset(store, engine="zarrds")
        expected = first.indexes["time"].as_unit(fine).append(second.indexes["time"])  # type: ignore[attr-defined]  # of indexes of times
        pd.testing.assert_index_equal(back.indexes["time"], expected, check_names=False, exact=True)
    zarrds.save(first, other := zarrds.MemoryStore())
    zarrds.save(second, other, mode="r+")
    replaced = xr.open_dataset(other, engine="zarrds").indexes["time"]
    pd.testing.assert_index_equal(replaced, second.indexes["time"], check_names=False, exact=True)


def test_a_resolution_does_not_get_finer_than_what_is_stored_allows() -> None:
    store = zarrds.MemoryStore()
    far, near = np.array(["3000-01-01"], "M8[s]"), np.array(["2000-01-01T00:00:00.000000001"], "M8[ns]")
    zarrds.save(xr.Dataset({"v": ("time", [1.0])}, {"time": far}), store)
    with pytest.raises(ZarrdsError, match="time"):
        zarrds.save(xr.Dataset({"v": ("time", [1.0])}, {"time": near}), store, append_dim="time", on_unordered="append")
    assert xr.open_dataset(store, engine="zarrds").time.values == far


def test_times_with_missing_ones_go_on_from_a_first_of_nanoseconds() -> None:
    store = zarrds.MemoryStore()
    steps = [["2000-01-01T00:00:00.000000001", "2001-01-01"], ["NaT", "2001-01-01"], ["NaT", "NaT"]]
    parts = [xr.Dataset({"v": ("x", np.array(step, "M8[ns]"))}) for step in steps]
    zarrds.save(parts[0], store)
    zarrds.save(parts[1], store, append_dim="x")
    assert xr.open_dataset(store, engine="zarrds").identical(xr.concat(parts[:2], "x"))
    other = zarrds.MemoryStore()
    zarrds.save(parts[2], other)
    zarrds.save(parts[0].chunk(), other, append_dim="x")
    assert xr.open_dataset(other, engine="zarrds").identical(xr.concat([parts[2], parts[0]], "x"))


def test_nullable_numbers_of_which_none_is_missing_are_numbers() -> None:
    store = zarrds.MemoryStore()
    first = xr.Dataset({"v": ("x", [1, 2]), "b": ("x", [True, False])})
    zarrds.save(first, store)
    nullable = xr.Dataset({"v": ("x", pd.array([3, 4], "Int64")), "b": ("x", pd.array([True, True], "boolean"))})
    zarrds.save(nullable, store, append_dim="x")
    back = xr.open_dataset(store, engine="zarrds")
    assert back.v.values.tolist() == [1, 2, 3, 4]
    assert back.b.values.tolist() == [True, False, True, True]


def test_new_variables_have_the_chunks_of_the_store() -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": (("t", "y", "x"), np.zeros((8, 6, 6)))}), store, encoding={"v": {"chunks": (4, 3, 2)}})
    more = xr.Dataset(
        {
            "same": (("t", "y", "x"), np.zeros((8, 6, 6), "f4")),
            "turned": (("x", "t", "y"), np.zeros((6, 8, 6))),
            "mask": (("y", "x"), np.zeros((6, 6))),
            "asked": (("y", "x"), np.zeros((6, 6))),
            "series": ("t", np.zeros(8)),
            "blocks": (("y", "x"), np.zeros((6, 6))),
        }
    ).assign(blocks=lambda ds: ds.blocks.chunk(y=6, x=3))
    zarrds.save(more, store, mode="a", encoding={"asked": {"chunks": (6, 6)}})
    group = zarrds.open_group(store)
    chunks = {name: group[name].chunks for name in more}
    assert chunks == {
        "same": (4, 3, 2),
        "turned": (2, 4, 3),
        "mask": (3, 2),
        "asked": (6, 6),
        "series": (1024,),  # with room for more
        "blocks": (6, 3),
    }


@pytest.mark.parametrize("others", [["NaT"], ["2262-04-11T23:47:16.854775807"], ["1677-09-22", "2000-01-01"], []])
def test_nanoseconds_beside_missing_times(others: list[str]) -> None:
    ds = xr.Dataset({"v": ("x", np.array(["2000-01-01T00:00:00.000000001", *others], "M8[ns]"))})
    zarrds.save(ds, store := zarrds.MemoryStore())
    assert xr.open_dataset(store, engine="zarrds").identical(ds)


@pytest.mark.parametrize("zarr_format", FORMATS)
@pytest.mark.parametrize(
    ("first", "new", "marker"), [(["a", ""], ["longer", "b"], "N/A"), ([b"a", b"b"], [b"longer", b"a"], b"x")]
)
def test_longer_text_of_dask_beside_a_marker(first: Any, new: Any, marker: Any, zarr_format: Any) -> None:
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", first)}), store, zarr_format=zarr_format, encoding={"v": {"_FillValue": marker}})
    zarrds.save(xr.Dataset({"v": ("x", new)}).chunk(x=1), store, append_dim="x")
    assert open_zarrds(store).v.values.tolist() == [*first, *new]


UNITS = st.sampled_from(["s", "ms", "us", "ns"])


@given(st.sampled_from("mM"), UNITS, UNITS, st.booleans())
def test_times_of_any_unit_behind_those_of_another(kind: str, first: str, second: str, is_lazy: bool) -> None:
    """Finer and coarser ones, in memory or not: what is there before and after it is computed is of one dtype."""
    parts = [np.array([1, -7], f"{kind}8[{first}]"), np.array([5], f"{kind}8[{second}]")]
    store = zarrds.MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", parts[0])}), store)
    zarrds.save(xr.Dataset({"v": ("x", parts[1])}), store, append_dim="x")
    opened = xr.open_dataset(store, engine="zarrds", chunks={} if is_lazy else None).v
    assert opened.dtype == opened.values.dtype
    assert np.array_equal(opened.values, np.concatenate(parts))
    zarrds.save(opened.to_dataset(), zarrds.MemoryStore())


@pytest.mark.parametrize("kind", ["U", "S"])
def test_no_text_of_another_length(kind: str) -> None:
    for is_lazy in (False, True):
        store = zarrds.MemoryStore()
        zarrds.save(xr.Dataset({"v": ("x", np.array(["a"], f"{kind}2"))}), store, encoding={"v": {"dtype": f"{kind}2"}})
        none = xr.Dataset({"v": ("x", np.empty(0, f"{kind}3"))})
        zarrds.save(none.chunk() if is_lazy else none, store, append_dim="x")
        assert xr.open_dataset(store, engine="zarrds").v.size == 1


@pytest.mark.parametrize("kind", ["U", "S"])
@pytest.mark.parametrize("how", ["append", "region", "r+"])
def test_short_strings_of_a_longer_dtype_go_into_shorter_ones(kind: str, how: str, path: Path) -> None:
    """As they are when they were selected of longer ones."""
    zarrds.save(xr.Dataset({"n": ("x", np.array(["a", "bc"], f"{kind}2"))}), path)
    short = xr.Dataset({"n": ("x", np.array(["d", "e", "much longer"], f"{kind}11"))}).isel(x=slice(2))
    options: dict[str, Any] = {
        "append": {"append_dim": "x"},
        "region": {"region": {"x": slice(2)}},
        "r+": {"mode": "r+"},
    }
    zarrds.save(short, path, **options[how])
    array = zarrds.open_array(path, path="n")
    assert array.dtype == f"{kind}2"
    expected = ["a", "bc"] * (how == "append") + ["d", "e"]
    assert array[...].astype(str).tolist() == expected


# what is stored, and what it must make room for
NEEDS_ROOM: dict[str, tuple[Any, Any]] = {
    "wider": (np.array([1, 2], "i1"), np.array([300])),
    "nullable": (np.array([1, 2], "i1"), pd.array([300], dtype="Int64")),
    "longer": (np.array(["a", "b"]), np.array(["hello"])),
    "another value for what is missing": (np.array(["a", None], object), np.array(["<NA>"], object)),
    "another byte for what is missing": (np.array([b"a", None], object), np.array([b"<NA>"], object)),
    "finer": (np.array(["2000-01-01", "2000-01-02"], "M8[s]"), np.array(["2000-01-01T06"], "M8[s]")),
    "booleans": (np.array([True, False]), pd.array([None], dtype="boolean")),
    "none there": (np.array([None, None], object), np.array([5])),
}


@pytest.mark.parametrize("case", NEEDS_ROOM)
def test_what_is_left_out_needs_no_room(path: Path, case: str, zarr_format: Format) -> None:
    """The documents told of elements that were not written anew."""
    first, new = NEEDS_ROOM[case]
    zarrds.save(xr.Dataset({"v": ("x", first)}, {"x": [0, 1]}), path, zarr_format=zarr_format)
    before = files(path)
    zarrds.save(xr.Dataset({"v": ("x", new)}, {"x": [1]}), path, append_dim="x", on_overlap="skip")
    assert files(path) == before
    zarrds.save(xr.Dataset({"v": ("x", new)}, {"x": [2]}), path, append_dim="x", on_overlap="skip")
    found = load(path).v.values[2]
    assert pd.isna(found) if pd.isna(new[0]) else found == new[0]
    assert zarrds.verify(path).ok


@pytest.mark.parametrize("case", [name for name, (_, new) in NEEDS_ROOM.items() if isinstance(new, np.ndarray)])
def test_a_region_of_what_is_appended_makes_no_room(path: Path, case: str) -> None:
    """As what lies beside it is not given: stored elements were read with the notes of the new ones."""
    first, new = NEEDS_ROOM[case]
    stored = xr.Dataset({"v": (("x", "y"), np.array([first, first]))}, {"x": [0, 1], "y": [0, 1]})
    zarrds.save(stored, path, encoding={"v": {"chunks": (2, 1)}})
    before = files(path)
    part = xr.Dataset({"v": (("x", "y"), new.reshape(1, 1))}, {"x": [2], "y": [1]})
    with pytest.raises(ZarrdsError, match=r"\bv\b"):
        zarrds.save(part, path, append_dim="x", region={"y": "auto"})
    assert files(path) == before

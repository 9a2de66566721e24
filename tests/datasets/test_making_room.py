"""What is missing where nothing was, and nullable integers that turn out larger: the stored array makes room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.columns import NAN, column, files_of, listed, opened, save
from tests.datasets.samples import Counting, Format, files, load, objects
from zarrds import MemoryStore
from zarrds.errors import ConflictError, EncodingError, ZarrdsError

TEXT = np.dtypes.StringDType
NA_TEXT = TEXT(na_object=np.nan)

STORED_TEXT: dict[str, Any] = {
    "fixed": np.array(["a", "bb"]),
    "objects": np.array(["a", "bb"], object),
    "StringDType": np.array(["a", "bb"], TEXT()),
    "string": pd.array(["a", "bb"], dtype="string"),
    "with missing": np.array(["bb", None], object),
}
MISSING_TEXT: dict[str, tuple[Any, list[Any]]] = {
    "None": (np.array([None, None], object), [None, None]),
    "NaN objects": (np.array([NAN, "<NA>"], object), [None, "<NA>"]),
    "floats": (np.array([NAN, NAN]), [None, None]),
    "StringDType": (np.array([NAN, "longer text"], NA_TEXT), [None, "longer text"]),
    "string": (pd.array([pd.NA, "b"], dtype="string"), [None, "b"]),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("stored", STORED_TEXT)
@pytest.mark.parametrize("new", MISSING_TEXT)
def test_text(stored: str, new: str, zarr_format: Format) -> None:
    store = MemoryStore()
    zarrds.save(column(STORED_TEXT[stored]), store, zarr_format=zarr_format)
    values, expected = MISSING_TEXT[new]
    zarrds.save(column(values, 2), store, append_dim="x")
    found = opened(store).c
    assert listed(found.variable.data) == listed(STORED_TEXT[stored]) + expected
    assert found.dtype.kind == ("T" if stored == "StringDType" else "O")
    assert zarrds.verify(store).ok


NUMBERS: dict[str, tuple[Any, Any, str]] = {
    "integers, NA": (np.array([1, 2], "i4"), pd.array([5, None], dtype="Int64"), "Int32"),
    "all values are taken": (np.array([1, -128], "i1"), pd.array([-127, None], dtype="Int8"), "Int8"),
    "wider with NA": (np.array([1, -128], "i1"), pd.array([500, None], dtype="Int64"), "Int64"),
    "unsigned, signed": (np.array([1, 255], "u1"), pd.array([-1, None], dtype="Int8"), "Int16"),
    "wider": (pd.array([1, None], dtype="Int8"), pd.array([2**62, None], dtype="Int64"), "Int64"),
    "wider, of NumPy": (pd.array([1, None], dtype="Int8"), np.array([300, -5]), "Int64"),
    "fits": (pd.array([1, None], dtype="Int8"), pd.array([100, None], dtype="Int64"), "Int8"),
    "the missing one's": (pd.array([1, None], dtype="Int8"), pd.array([-128, None], dtype="Int8"), "Int8"),
    "objects": (np.array([1, 2]), np.array([7, None], object), "object"),
    "objects, nullable": (pd.array([1, None], dtype="Int64"), np.array([7, None], object), "Int64"),
    "nothing, nullable": (pd.array([1, None], dtype="Int64"), np.array([NAN, NAN]), "Int64"),
    "nullable, objects": (np.array([1, None], object), pd.array([7, None], dtype="Int64"), "object"),
    "integers, floats": (np.array([1.5, 2.0]), pd.array([7, None], dtype="Int64"), "float64"),
    "objects, floats": (np.array([1.5, 2.0], "f4"), np.array([7, None], object), "float32"),
    "Float64, floats": (np.array([1.5, 2.0]), pd.array([7.5, None], dtype="Float64"), "float64"),
    "integers, Float64": (pd.array([1.5, None], dtype="Float64"), np.array([7, 8]), "Float64"),
    "booleans, NA": (np.array([True, False]), pd.array([True, None], dtype="boolean"), "boolean"),
    "booleans, objects": (np.array([True, False]), np.array([None, False], object), "boolean"),
    "bytes, objects": (np.array([b"a", b"bb"]), np.array([None, b"longer"], object), "object"),
    "bytes, nothing": (np.array([b"a", b"<NA>"]), np.array([None, None], object), "object"),
    "bytes of any length": (np.array([b"a", b"b\0"], object), np.array([None, b"c"], object), "object"),
    "booleans, nothing": (np.array([True, False]), np.array([NAN, NAN]), "boolean"),
    "categories, nothing": (pd.Categorical(["a", "b"]), np.array([None, None], object), "category"),
    "periods, nothing": (pd.period_range("2000", periods=2, freq="M").array, np.array([NAN, NAN]), "period[M]"),
    "times, nothing": (np.array(["2000-01-01"] * 2, "M8[ns]"), np.array([NAN, NAN]), "datetime64[ns]"),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("case", NUMBERS)
def test_numbers(case: str, zarr_format: Format) -> None:
    store, (stored, new, dtype) = MemoryStore(), NUMBERS[case]
    zarrds.save(column(stored), store, zarr_format=zarr_format)
    zarrds.save(column(new, 2), store, append_dim="x")
    found = opened(store).c.variable
    assert str(found.dtype) == dtype
    expected = listed(column(stored).c.variable.data) + listed(column(new).c.variable.data)
    assert listed(found.data) == expected
    assert zarrds.verify(store).ok
    again = column(new, 4)
    zarrds.save(again, store, append_dim="x")
    assert len(opened(store).x) == 6


@pytest.mark.one_in(3)
@pytest.mark.parametrize("case", ["wider", "booleans, NA", "integers, NA"])
@pytest.mark.parametrize("option", [{"region": {"x": slice(1, 2)}}, {"region": "auto"}, {"mode": "r+"}, {"mode": "a"}])
def test_other_ways_to_write(path: Path, case: str, option: dict[str, Any], zarr_format: Format) -> None:
    stored, new, dtype = NUMBERS[case]
    zarrds.save(column(stored), path, zarr_format=zarr_format, encoding={"c": {"chunks": (1,)}})
    ds, expected = column(new), listed(new)
    if "region" in option:
        ds = ds.isel(x=[1, 0]).assign_coords(x=[0, 1]).isel(x=[1 if case == "wider" else 0]).assign_coords(x=[1])
        expected = [*listed(column(stored).c.variable.data)[:1], *listed(ds.c.variable.data)]
    zarrds.save(ds, path, **option)
    found = load(path).c.variable
    assert (str(found.dtype), listed(found.data)) == (dtype, expected)
    assert zarrds.verify(path).ok


@pytest.mark.parametrize("new", [[b"B", None], [None, b" "], [b"long", None]])
def test_single_characters_stay_single(path: Path, new: list[Any], zarr_format: Format) -> None:
    zarrds.save(column(np.array([b"A", b"C"])), path, zarr_format=zarr_format)
    zarrds.save(column(np.array(new, object), 2), path, append_dim="x")
    assert listed(load(path).c.values) == [b"A", b"C", *new]
    assert zarrds.open_array(path, path="c").dtype == ("S4" if b"long" in new else "S1")


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4"])
@pytest.mark.parametrize("new", [np.array([True, None], object), np.array([NAN, NAN]), np.array([True, False])])
def test_booleans_that_are_stored_as_integers(path: Path, dtype: str, new: Any, zarr_format: Format) -> None:
    # as xarray did before 2026.9
    raw = xr.Dataset({"c": ("x", np.array([1, 0], dtype), {"dtype": "bool"})})
    raw.to_zarr(path, zarr_format=zarr_format, consolidated=False)
    assert load(path).c.dtype == bool
    zarrds.save(xr.Dataset({"c": ("x", new)}), path, append_dim="x")
    expected = [True, False, *(pd.NA if pd.isna(v) else bool(v) for v in new)]
    assert listed(load(path).c.variable.data) == listed(np.array(expected, object))
    assert zarrds.verify(path).ok
    theirs = load(path, "zarr").c.values.astype(float)
    np.testing.assert_array_equal(theirs, [NAN if v is pd.NA else float(v) for v in expected])


def test_text_in_a_region_and_shards(path: Path) -> None:
    table = xr.Dataset({"t": (("x", "y"), np.array([["a", "b"]] * 4, object))})
    zarrds.save(table, path, encoding={"t": {"chunks": (1, 1), "shards": (2, 2)}})
    new = xr.Dataset({"t": (("x", "y"), np.array([[None, "c"]], object))})
    zarrds.save(new, path, region={"x": slice(2, 3)})
    found = load(path).t
    assert listed(found.values.ravel()) == ["a", "b", "a", "b", None, "c", "a", "b"]
    assert zarrds.verify(path).ok


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        (np.array([1, 2]), pd.array([2**64 - 1, None], dtype="UInt64")),
        (np.array([1, 2]), pd.array([True, None], dtype="boolean")),
        (pd.array([1, None], dtype="Int64"), pd.array([1.5, None], dtype="Float64")),
        (np.array([1.5]), pd.array([2**53 + 1, None], dtype="Int64")),
        (np.array(["a"]), np.array([1.0, NAN])),
        (np.array(["a"]), np.array([1, None], object)),
        (np.array([1, 2]), np.array([1.5, NAN])),
        (np.array([1, 2]), np.array([2**64 - 1], "u8")),
        (np.array([1, 2**53 + 1]), np.array([NAN, NAN])),
        (np.array([True]), np.array([1.0, NAN])),
        (pd.arrays.IntervalArray.from_breaks([0, 1]), np.array([None, None], object)),
    ],
)
def test_what_is_of_another_kind_is_refused(stored: Any, new: Any) -> None:
    store = MemoryStore()
    zarrds.save(column(stored), store)
    before = files_of(store)
    with pytest.raises(ZarrdsError) as caught:
        zarrds.save(column(new, len(stored)), store, append_dim="x")
    assert caught.value.key == "c"
    assert caught.value.mend is not None
    assert files_of(store) == before


def test_tables() -> None:
    for values, new in (
        (np.array([[1, 2]]), [[3, None]]),
        (np.array([[True, False]]), [[None, True]]),
        (np.array([[b"a", b"b"]]), [[None, b"ccc"]]),
        (np.array([["a", "b"]]), [[None, "ccc"]]),
    ):
        store = MemoryStore()
        zarrds.save(xr.Dataset({"v": (("x", "y"), values)}), store)
        zarrds.save(xr.Dataset({"v": (("x", "y"), np.array(new, object))}), store, append_dim="x")
        assert listed(opened(store).v.values.ravel()) == [*values.ravel().tolist(), *new[0]]


def test_chunks_that_were_never_written() -> None:
    store = MemoryStore()
    array = zarrds.create_array(
        store, path="v", shape=4, chunks=2, dtype="i4", dimension_names=["x"], fill_value=7
    )  # as other libraries make them
    array[:2] = [1, 2]
    for dtype, value in (("Int32", 5), ("Int64", 2**40)):
        zarrds.save(xr.Dataset({"v": ("x", pd.array([value, None], dtype=dtype))}), store, append_dim="x")
    assert listed(opened(store).v.variable.data) == [1, 2, 7, 7, 5, None, 2**40, None]


def test_a_large_array_of_integers_gets_a_marker_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarrds.save(column(np.arange(100)), path, encoding={"c": {"chunks": (10,)}})
    chunks = {name: value for name, value in files(path).items() if "/c/" in f"/{name}" and "json" not in name}
    monkeypatch.setattr("zarrds.datasets.writing.room.growing._MAX_REWRITTEN", 10)
    zarrds.save(column(pd.array([1, None], dtype="Int64"), 100), path, append_dim="x")
    assert chunks.items() <= files(path).items()
    assert listed(load(path).c.variable.data)[98:] == [98, 99, 1, None]


MARKED_LATER: dict[str, tuple[Any, Any]] = {
    "objects": (np.array(["a", "b", "c", "<NA>"], object), np.array([None], object)),
    "string": (pd.array(["a", "b", "c", "<NA"], dtype="string"), pd.array([pd.NA], dtype="string")),
    "StringDType": (np.array(["a", "b", "c", "d"], TEXT()), np.array([NAN], NA_TEXT)),
    "fixed": (np.array(["long text", "b", "c", "d"]), np.array([None], object)),
    "bytes": (np.array([b"bytes", b"b", b"c", b"d"]), np.array([None], object)),
    "integers": (np.array([1, 2, 3, 4]), pd.array([None], dtype="Int64")),
}


@pytest.mark.parametrize("case", MARKED_LATER)
def test_who_came_before_what_is_missing_is_told(path: Path, case: str, zarr_format: Format) -> None:
    stored, missing = MARKED_LATER[case]
    zarrds.save(column(stored), path, zarr_format=zarr_format, encoding={"c": {"chunks": (1,)}})
    array = zarrds.open_array(path, path="c", mode="r+")
    reader = xr.open_dataset(path, engine="zarrds", chunks=None)
    zarrds.save(column(missing, 1), path, region="auto")
    with pytest.raises(ConflictError):
        array[0] = stored[0]
    with pytest.raises(ConflictError):
        reader.c.load()
    assert listed(load(path).c.variable.data) == [stored[0], None, *stored[2:]]


@pytest.mark.parametrize("case", ["StringDType", "fixed", "bytes", "integers"])  # objects are not left for later
def test_what_was_planned_before_what_is_missing_is_refused(path: Path, case: str) -> None:
    pytest.importorskip("dask")
    stored, missing = MARKED_LATER[case]
    delayed = zarrds.save(column(stored[:2]).chunk(), path, compute=False)
    zarrds.save(column(missing, 2), path, append_dim="x")
    with pytest.raises(ConflictError):
        delayed.compute()


@pytest.mark.parametrize(
    ("stored", "new", "codecs"),
    [
        (np.array([True, False] * 3), pd.array([True, None], dtype="boolean"), "packbits"),
        (np.arange(6, dtype="i1"), pd.array([300, None], dtype="Int16"), "delta"),
        (np.arange(6, dtype="i1"), pd.array([300, None], dtype="Int16"), "fixedscaleoffset"),
        (pd.array([0, 1, None], dtype="Int8"), pd.array([300, None], dtype="Int16"), "delta"),
        (pd.Categorical(["a", "b"]), pd.Categorical([f"{n}" for n in range(200)]), "delta"),
    ],
)
@pytest.mark.parametrize("shards", [False, True])
def test_filters_of_the_elements_before(
    path: Path, stored: Any, new: Any, codecs: str, shards: bool, zarr_format: Format
) -> None:
    if zarr_format == 2 and shards:
        return  # which has none
    settings: dict[str, Any] = {
        "packbits": {},
        "delta": {"dtype": "|i1"},
        "fixedscaleoffset": {"offset": 0, "scale": 1, "dtype": "|i1", "astype": "|i1"},
    }[codecs]
    named = {"name": f"numcodecs.{codecs}", "configuration": settings}
    filters = [{"id": codecs, **settings}] if zarr_format == 2 else [named]
    encoding: dict[str, Any] = {"chunks": (1,), "filters": filters} | ({"shards": (2,)} if shards else {})
    zarrds.save(column(stored), path, zarr_format=zarr_format, encoding={"c": encoding})
    zarrds.save(column(new, len(stored)), path, append_dim="x")
    found = load(path).c.variable.data
    if isinstance(new, pd.Categorical):
        assert list(found.astype(object)) == [*stored, *new]
    else:
        assert listed(found) == [*listed(column(stored).c.variable.data), *listed(new)]
    assert zarrds.verify(path).ok


def test_what_a_serializer_of_bits_held() -> None:
    store = MemoryStore()
    zarrds.save(column(np.array([True, False])), store, encoding={"c": {"serializer": {"name": "packbits"}}})
    zarrds.save(column(pd.array([None], dtype="boolean"), 2), store, append_dim="x")
    assert listed(opened(store).c.variable.data) == [True, False, None]


def test_integers_are_no_bits(zarr_format: Format) -> None:
    filters = [{"id": "packbits"}] if zarr_format == 2 else [{"name": "numcodecs.packbits"}]
    with pytest.raises(EncodingError, match="would read back as True"):
        zarrds.save(
            column(np.array([0, 3], "i1")), MemoryStore(), zarr_format=zarr_format, encoding={"c": {"filters": filters}}
        )


def test_what_is_written_anew_is_read_once() -> None:
    store = Counting()
    zarrds.save(xr.Dataset({"v": ("x", pd.array([1, None], dtype="Int8"))}), store)
    store.reads.clear()
    zarrds.save(xr.Dataset({"v": ("x", pd.array([300, None], dtype="Int64"))}), store, append_dim="x")
    assert {key: store.reads[key] for key in store.chunks_read()} == {"v/c.0": 1}
    assert load(store).v.dtype == "Int64"


def test_progress_counts_what_is_written_anew(path: Path) -> None:
    zarrds.save(column(np.array(["a", "b", "c"])), path, encoding={"c": {"chunks": (1,)}})
    seen = list[tuple[int, int]]()
    zarrds.save(
        column(np.array(["longer"]), 1), path, region="auto", progress=lambda *pair: seen.append(pair), workers=1
    )
    assert seen[-1] == (3, 3)


@pytest.mark.parametrize("stored", ["objects", "string"])
def test_labels_that_are_missing_find_no_place(stored: str) -> None:
    store = MemoryStore()
    zarrds.save(xr.Dataset({"v": ("x", [1, 2])}, {"x": STORED_TEXT[stored]}), store)
    before = files_of(store)
    for new in (np.array(["c", None], object), pd.array(["c", pd.NA], dtype="string")):
        with pytest.raises(ZarrdsError, match="missing"):
            zarrds.save(xr.Dataset({"v": ("x", [1, 2])}, {"x": new}), store, append_dim="x")
        assert files_of(store) == before
    zarrds.save(xr.Dataset({"v": ("x", [1, 2])}, {"x": pd.array([1, 2], dtype="Int8")}), store, mode="w")
    zarrds.save(xr.Dataset({"v": ("x", [1])}, {"x": pd.array([300], dtype="Int64")}), store, append_dim="x")
    assert opened(store).indexes["x"].tolist() == [1, 2, 300]


def test_what_is_too_large_to_be_written_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarrds.save(column(pd.array([1, None], dtype="Int8")), path)
    monkeypatch.setattr("zarrds.datasets.writing.room.growing._MAX_REWRITTEN", 10)
    before = files(path)
    with pytest.raises(EncodingError, match="too large to be written anew"):
        zarrds.save(column(pd.array([1000, None], dtype="Int64"), 2), path, append_dim="x")
    assert files(path) == before


_TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "<NA>", "<NA 1>", "nan"])), min_size=1, max_size=3)
_INTEGERS = st.lists(st.one_of(st.none(), st.integers(-130, 130), st.integers(-(2**63), 2**63 - 1)), min_size=1)


@given(parts=st.lists(_TEXTS, min_size=1, max_size=4), kind=st.sampled_from(["O", "string"]))
def test_any_text(parts: list[list[str | None]], kind: str) -> None:
    store, expected = MemoryStore(), list[str | None]()
    for part in parts:
        values: Any = np.array(part, object) if kind == "O" else pd.array(part, dtype="string")
        try:
            save(values, store, len(expected))
        except EncodingError as error:
            assert "stands for missing text" in str(error)  # noqa: PT017  # of some parts only
            continue
        expected += part
    assert listed(opened(store).c.variable.data) == expected


@given(parts=st.lists(_INTEGERS, min_size=1, max_size=4))
def test_any_integers(parts: list[list[int | None]]) -> None:
    store = MemoryStore()
    for i, part in enumerate(parts):
        small = all(n is None or -(2**7) <= n < 2**7 for n in part)
        values = pd.array(part, dtype="Int8" if small else "Int64")
        save(values, store, sum(map(len, parts[:i])))
    found = opened(store).c.variable.data
    assert listed(found) == [n for part in parts for n in part]


@pytest.mark.parametrize("subtype", ["float64", "datetime64[s]", "timedelta64[ns]", "datetime64[ns, UTC]"])
@pytest.mark.parametrize("new", [np.array([None, None], object), np.array([NAN, NAN]), np.array([pd.NA, NAN], object)])
def test_intervals_that_are_all_missing(subtype: str, new: Any) -> None:
    breaks = pd.Index([0, 1, 2]).astype(subtype if "UTC" not in subtype else "datetime64[ns]")
    if "UTC" in subtype:
        breaks = pd.DatetimeIndex(breaks).tz_localize("UTC")
    intervals = pd.arrays.IntervalArray.from_breaks(breaks, closed="left")
    store = MemoryStore()
    zarrds.save(column(intervals), store)
    zarrds.save(column(new, 2), store, append_dim="x")
    found = opened(store).c.variable
    assert found.dtype == intervals.dtype
    assert listed(found.data) == [*list(intervals), None, None]


def test_dask_arrays_that_are_looked_at() -> None:
    store = MemoryStore()
    zarrds.save(column(np.array(["a", None], object)), store)
    with pytest.warns(xr.SerializationWarning, match="whether any of it is there"):
        zarrds.save(column(np.array([NAN, NAN]), 2).chunk(x=1), store, append_dim="x")
    with (
        pytest.warns(xr.SerializationWarning, match="whether any of it is there"),
        pytest.raises(EncodingError, match="expected strings"),
    ):
        zarrds.save(column(np.array([NAN, 1.5]), 4).chunk(x=1), store, append_dim="x")
    assert listed(opened(store).c.values) == ["a", None, None, None]
    looked_at: list[int] = []
    blocks = da.arange(4, chunks=1).map_blocks(lambda block: looked_at.append(int(block[0])) or block + 0.5, dtype="f8")
    with pytest.raises(EncodingError, match="expected strings"):  # the first block tells: the others may be large
        zarrds.save(xr.Dataset({"c": ("x", blocks)}, {"x": np.arange(4, 8)}), store, append_dim="x")
    assert set(looked_at) == {0}
    fixed = MemoryStore()
    zarrds.save(xr.Dataset({"c": ("x", np.array(["x", "y"], object), {}, {"dtype": "S1"})}), fixed)
    with pytest.warns(xr.SerializationWarning, match="how long its texts are"):
        zarrds.save(xr.Dataset({"c": ("x", np.array(["ccc", "ä"]))}).chunk(x=1), fixed, append_dim="x")
    assert opened(fixed).c.values.tolist() == ["x", "y", "ccc", "ä"]


def test_floats_of_objects_with_na() -> None:
    with pytest.raises(EncodingError, match=r"missing as pd.NA.*Float64") as caught:
        zarrds.save(column(np.array([1.5, pd.NA], object)), MemoryStore())
    assert caught.value.key == "c"


@pytest.mark.filterwarnings("ignore:.*it is computed")
@pytest.mark.parametrize("way", ["append", "region"])
@pytest.mark.parametrize(
    ("stored", "new"),
    [
        (pd.array([1.5, None], dtype="Float32"), np.array([1, 2**24], "i8")),
        (pd.array([1.5, 2], dtype="Float64"), objects(1, None)),
        (pd.array([1, None], dtype="Int8"), np.array([300, -2], "i4")),
        (np.array([1.5, 2]), objects(2**53, None)),
        (np.array([1.5, 2], "f4"), objects(None, None)),
    ],
    ids=lambda each: str(each.dtype),
)
def test_numbers_of_dask_are_taken_as_those_in_memory(path: Path, stored: Any, new: Any, way: str) -> None:
    batch = xr.Dataset({"v": ("x", new)})
    found = []
    for data in (batch, batch.chunk(x=1)):
        zarrds.save(xr.Dataset({"v": ("x", stored)}), path, mode="w")
        zarrds.save(data, path, **({"append_dim": "x"} if way == "append" else {"region": {"x": slice(0, 2)}}))
        found.append(load(path))
    assert found[1].v.dtype == found[0].v.dtype
    values = found[1].v.values[-2:]
    assert all(a == b or (pd.isna(a) and pd.isna(b)) for a, b in zip(values.tolist(), new.tolist(), strict=True))
    assert found[1].equals(found[0])

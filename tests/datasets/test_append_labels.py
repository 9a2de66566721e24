from __future__ import annotations

from pathlib import Path
from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.datasets.samples import Format, files, load
from zarrds.datasets.writing.changes import Placement
from zarrds.datasets.writing.placing.append import check_same_labels, check_sizes, place_labels
from zarrds.errors import EncodingError, LabelError

DAY = np.timedelta64(1, "D")
START = np.datetime64("2019-03-05", "ns")


def noleap(n: int) -> Any:
    return cftime.num2date(n, "days since 2000-01-01", "noleap")


# whole numbers as labels of each kind, of a dtype for the store and one for what is new
KINDS: dict[str, Any] = {
    "integers": (lambda n: np.array(n, "i4"), lambda n: np.array(n, "i8")),
    "integers as floats": (lambda n: np.array(n, "i8"), lambda n: np.array(n, "f4")),
    "integers as objects": (lambda n: np.array(n, "i8"), lambda n: np.array(n, object)),
    "floats": (lambda n: np.array(n, "f4") / np.float32(10), lambda n: np.array(n, "f8") / 10),
    "unsigned": (lambda n: np.array(n, "i8"), lambda n: np.array(n, "i8").astype("u8")),
    "datetimes": (
        lambda n: START + np.array(n, "i8") * DAY,
        lambda n: (START + np.array(n, "i8") * DAY).astype("M8[s]"),
    ),
    "timedeltas": (
        lambda n: np.array(n, "i8").astype("m8[h]"),
        lambda n: np.array(n, "i8").astype("m8[h]").astype("m8[us]"),
    ),
    "cftime": (lambda n: np.array([noleap(i) for i in n], object),) * 2,
    "strings": (lambda n: np.array([f"s{i}" for i in n], object), lambda n: np.array([f"s{i}" for i in n], "U5")),
    "bytes": (lambda n: np.array([b"s%d" % i for i in n], "S5"), lambda n: np.array([b"s%d" % i for i in n], object)),
    "an index": (
        lambda n: pd.Index([f"s{i}" for i in n], dtype="str"),
        lambda n: pd.Index([f"s{i}" for i in n], dtype="str"),
    ),
}
UNORDERED = {"strings", "bytes", "an index"}


def expected(
    stored: list[int], new: list[int], on_overlap: str, on_unordered: str, *, ordered: bool
) -> tuple[int, list[int], int] | None:
    """What `place_labels` must say, by trying; None for an error."""
    overlap = [label in stored for label in new]
    if on_overlap != "append" and len(set(new)) < len(new):
        return None
    if any(overlap) and on_overlap == "error":
        return None
    kept = [i for i, is_stored in enumerate(overlap) if on_overlap == "append" or not is_stored]
    together = pd.Index(stored + [new[i] for i in kept], dtype="i8")
    goes_on = together.is_monotonic_increasing or together.is_monotonic_decreasing
    if ordered and kept and on_unordered == "error" and not goes_on:
        return None
    if on_overlap != "replace" or not any(overlap):
        return len(stored), kept, len(stored) + len(kept)
    fitting = [
        start
        for start in range(len(stored))
        if all(new[i] == stored[start + i] for i in range(min(len(new), len(stored) - start)))
        and not any(overlap[len(stored) - start :])
    ]
    if len(fitting) != 1 or any(stored.count(label) > 1 for label in new):
        return None
    return fitting[0], list(range(len(new))), max(len(stored), fitting[0] + len(new))


def as_tuple(placement: Placement, n_new: int) -> tuple[int, list[int], int]:
    return placement.start, np.arange(n_new)[placement.keep].tolist(), placement.size


runs = st.builds(
    lambda a, n, step: list(range(a, a + n * step, step)),
    st.integers(0, 6),
    st.integers(0, 6),
    st.sampled_from([1, -1, 2]),
)
labels = runs.filter(lambda run: min(run, default=0) >= 0) | st.lists(st.integers(0, 9), max_size=6)


@given(
    st.sampled_from(sorted(KINDS)),
    labels,
    labels,
    st.sampled_from(["error", "replace", "skip", "append"]),
    st.sampled_from(["error", "append"]),
)
def test_place_labels_is_what_a_slow_search_finds(
    kind: str, stored: list[int], new: list[int], on_overlap: Any, on_unordered: Any
) -> None:
    make_stored, make_new = KINDS[kind]
    right = expected(stored, new, on_overlap, on_unordered, ordered=kind not in UNORDERED)
    if right is None:
        with pytest.raises(LabelError) as caught:
            place_labels("d", make_stored(stored), make_new(new), on_overlap, on_unordered)
        assert "drop_duplicates" not in str(caught.value)
    else:
        placement = place_labels("d", make_stored(stored), make_new(new), on_overlap, on_unordered)
        assert as_tuple(placement, len(new)) == right
        assert isinstance(placement.keep, slice) or np.any(np.diff(placement.keep) != 1)


def days(*numbers: int) -> Any:
    return START + np.array(numbers) * DAY


def test_overlap_is_reported_with_its_first_label_and_what_to_do() -> None:
    with pytest.raises(LabelError) as caught:
        place_labels("time", days(0, 1, 2), days(1, 2, 3))
    assert "2019-03-06 00:00:00 (2 of 3 are stored already)" in str(caught.value)
    assert "on_overlap='replace'" in str(caught.value)
    assert caught.value.key == "time"
    # what cannot be a re-run is not to be written over what is stored
    with pytest.raises(LabelError) as caught:
        place_labels("position", np.array([10, 20, 30]), np.array([5, 20, 25]))
    assert "on_overlap='append'" in str(caught.value)
    assert "replace" not in str(caught.value)


@pytest.mark.parametrize("stored", [[1, 5], [1, 1], [5, 1, 3], [5], []], ids=str)
def test_repeated_labels_are_judged_alike_whatever_is_stored(stored: list[int]) -> None:
    there = np.array(stored, "i8")
    with pytest.raises(LabelError, match=r"more than once.*on_overlap='append'"):
        place_labels("x", there, np.array([9, 9]), on_unordered="append")
    assert place_labels("x", there, np.array([9, 9]), "append", "append").size == len(stored) + 2


def test_what_needs_no_order(path: Path, zarr_format: Format) -> None:
    def stations(*ids: int) -> xr.Dataset:
        return xr.Dataset({"v": ("station", np.array(ids) * 1.0)}, {"station": list(ids)})

    zarrds.save(stations(10384, 10488), path, zarr_format=zarr_format)
    for _ in range(2):  # also where what is stored is in no order
        with pytest.raises(LabelError, match=r"on_unordered='append'") as caught:
            zarrds.save(stations(3772), path, append_dim="station")
        assert caught.value.key == "station"
        zarrds.save(stations(77, 5), path, append_dim="station", on_unordered="append", on_overlap="append")
    assert load(path).v.values.tolist() == [10384, 10488, 77, 5, 77, 5]
    assert load(path).sel(station=77).sizes["station"] == 2
    for option in ("on_overlap", "on_unordered"):
        options: Any = {option: "drop"}
        with pytest.raises(EncodingError, match=f"unknown {option}"):
            zarrds.save(stations(1), path, append_dim="station", **options)


@pytest.mark.parametrize("as_coordinate", [True, False])
def test_the_next_chromosome(path: Path, as_coordinate: bool, zarr_format: Format) -> None:
    def sites(contig: str, *positions: int) -> xr.Dataset:
        n = len(positions)
        data = {"v": ("variants", np.arange(n)), "contig": ("variants", np.array([contig] * n, object))}
        ds = xr.Dataset(data, {"variants": list(positions)})
        return ds.set_coords("contig") if as_coordinate else ds

    zarrds.save(sites("1", 1, 5, 9), path, zarr_format=zarr_format)
    before = files(path)
    on_overlap: Any
    for on_overlap in ("error", "replace", "skip"):
        with pytest.raises(
            LabelError, match=r"stand for something else: 'contig' differs.*found '2'.*='append'"
        ) as caught:
            zarrds.save(sites("2", 1, 5, 9), path, append_dim="variants", on_overlap=on_overlap)
        assert "replace" not in str(caught.value)
    assert files(path) == before
    zarrds.save(sites("1", 9, 10), path, append_dim="variants", on_overlap="replace")
    zarrds.save(sites("2", 1, 1, 5), path, append_dim="variants", on_overlap="append", on_unordered="append")
    found = load(path)
    assert found.variants.values.tolist() == [1, 5, 9, 10, 1, 1, 5]
    assert found.contig.values.tolist() == ["1"] * 4 + ["2"] * 3
    assert zarrds.verify(path).ok


def test_going_backwards_is_reported_with_both_labels() -> None:
    with pytest.raises(LabelError, match=r"backwards.*increasing.*above 2019-03-09.*found 2019-03-08.*on_unordered"):
        place_labels("time", days(0, 1), days(4, 3))
    with pytest.raises(LabelError, match=r"backwards.*decreasing.*below 1.5.*found 2.5"):
        place_labels("x", np.array([3.5, 1.5]), np.array([2.5]))


@pytest.mark.parametrize(
    ("stored", "new", "why"),
    [
        ([1, 2, 3, 4], [2, 3, 5], "goes on behind 3"),
        ([1, 2, 3, 4], [2, 4], "2 and 4 are not neighbours"),
        ([1, 9, 3, 4], [5, 4], "new label 5 stands before"),
        ([4, 4, 3], [3, 4], "3 and 4 are not neighbours"),
        ([4, 3, 4], [4], "more than once"),
    ],
)
def test_why_labels_cannot_be_replaced(stored: list[int], new: list[int], why: str) -> None:
    with pytest.raises(LabelError, match=f"cannot be replaced: .*{why}"):
        place_labels("x", np.array(stored), np.array(new), "replace", "append")


@pytest.mark.parametrize("missing", [np.nan, np.datetime64("NaT", "ns"), None])
def test_missing_labels_are_refused(missing: Any) -> None:
    good: Any = {"float": [1.0], "datetime64": days(0), "NoneType": np.array(["a"], object)}[type(missing).__name__]
    bad = np.concatenate([np.asarray(good), np.array([missing], np.asarray(good).dtype)])
    with pytest.raises(LabelError, match=r"new label is missing.*position 1"):
        place_labels("x", good, bad, "skip")
    with pytest.raises(LabelError, match="store has a missing label"):
        place_labels("x", bad, good)


def test_labels_of_another_kind_are_refused() -> None:
    strings, numbers = np.array(["a"]), np.array([1])
    times, gregorian = np.array([noleap(1)], object), cftime.num2date([2], "days since 2000-01-01", "standard")
    for stored, new in [
        (strings, numbers),
        (numbers, strings),
        (times, days(1)),
        (times, gregorian),
        (numbers, days(1)),
        (numbers, np.array([True])),
        (strings, np.array([b"a"])),
    ]:
        with pytest.raises(LabelError, match="another kind"):
            place_labels("x", stored, new)
    with pytest.raises(LabelError, match="calendar noleap, found times of calendar standard"):
        place_labels("x", times, gregorian)


def test_numbers_that_no_float_holds_are_told_apart() -> None:
    big = 2**53
    assert place_labels("x", np.array([0, big]), np.array([big + 1])).size == 3
    with pytest.raises(LabelError, match="backwards"):
        place_labels("x", np.array([0, big + 1]), np.array([float(big)]))
    assert place_labels("x", np.array([-1, 5]), np.array([2**63], "u8")).size == 3
    assert place_labels("x", np.array([0.0, big]), np.array([big + 1])).size == 3


def test_times_that_no_unit_holds_are_told_apart() -> None:
    far = np.array(["9999-01-01"], "M8[s]")
    assert place_labels("time", days(0, 1), far).start == 2
    with pytest.raises(LabelError, match="backwards"):
        place_labels("time", np.concatenate([days(0).astype("M8[s]"), far]), days(1) + np.timedelta64(1, "ns"))
    with pytest.raises(LabelError, match="overlap"):
        place_labels("time", np.concatenate([far, far - DAY, days(0).astype("M8[s]")]), days(0))


def test_wrong_on_overlap_and_labels_that_cannot_be_compared() -> None:
    ds = xr.Dataset(coords={"x": [1]})
    save: Any = zarrds.save  # the mistakes under test
    with pytest.raises(EncodingError, match="on_overlap"):
        save(ds, zarrds.MemoryStore(), append_dim="x", on_overlap="drop")
    with pytest.raises(EncodingError, match="on_unordered"):
        save(ds, zarrds.MemoryStore(), append_dim="x", on_overlap="skip", on_unordered="sort")
    unhashable = np.empty(2, object)
    unhashable[:] = [[1], {2}]
    with pytest.raises(LabelError, match="cannot be compared"):
        place_labels("x", unhashable, unhashable)


# coordinates that must be the same


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ([1, 2], np.array([1.0, 2.0])),
        (np.float32([0.1, np.nan]), np.array([0.1, np.nan])),
        (days(0, 1), days(0, 1).astype("M8[s]")),
        (np.array(["2000", "NaT"], "M8[ns]"), np.array(["2000", "NaT"], "M8[s]")),
        (np.array([noleap(3), noleap(4)]), np.array([noleap(3), noleap(4)])),
        (np.array(["a", "bc"], object), np.array(["a", "bc"])),
        (np.array([b"a", b"bc"]), np.array([b"a", b"bc"], object)),
        ([True, False], [True, False]),
        (np.empty(0, object), np.empty(0, "U1")),
    ],
)  # fmt: skip
def test_same_labels(stored: Any, new: Any) -> None:
    check_same_labels("x", xr.Variable("x", stored), xr.Variable("x", new))


def test_first_difference_is_reported() -> None:
    stored = xr.Variable(("y", "x"), [[1.0, 2.0, np.nan], [4.0, 5.0, 6.0]])
    new = stored.copy(data=[[1.0, 2.0, np.nan], [4.0, np.nan, 7.5]]).transpose("x", "y")
    with pytest.raises(LabelError) as caught:
        check_same_labels("lat", stored, new)
    assert "labels of 'lat' are not those of the store: 2 of 6 differ, the first at y=1, x=1" in str(caught.value)
    assert "expected 5.0, found nan. Reindex or align" in str(caught.value)
    with pytest.raises(LabelError, match="its only position"):
        check_same_labels("level", xr.Variable((), 1), xr.Variable((), 2))


@pytest.mark.parametrize(
    ("stored", "new", "message"),
    [
        (days(0), days(0) + np.timedelta64(1, "ns"), "1 of 1 differ.*found 2019-03-05 00:00:00.000000001"),
        (np.array([0.1]), np.float32([0.1]), "1 of 1 differ"),
        (["a"], ["b"], "expected 'a', found 'b'"),
        ([1], ["1"], "another kind"),
        ([1, 2], [1], "different dimension sizes"),
    ],
)  # fmt: skip
def test_other_labels(stored: Any, new: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        check_same_labels("x", xr.Variable("x", stored), xr.Variable("x", new))


def test_other_sizes() -> None:
    stored = xr.Variable(("x", "y"), np.zeros((4, 2)))
    check_sizes("v", stored, stored.transpose())
    check_sizes("v", stored, stored[1:3], region={"x": slice(2, 4), "z": slice(0, 1)})
    check_sizes("v", stored, stored[:1], append_dim="x")
    with pytest.raises(LabelError, match="variable 'v' already exists with different dimension names"):
        check_sizes("v", stored, xr.Variable(("x", "z"), np.zeros((4, 2))))
    with pytest.raises(LabelError, match=r"variable 'v' already exists with different dimension sizes.*'x': 3.*'x': 2"):
        check_sizes("v", stored, stored[:2], region={"x": slice(0, 3)})
    for part, mend in ((slice(2, 3), "'x': slice(2, 4)"), (slice(3, 4), "append_dim= to grow")):
        with pytest.raises(LabelError) as caught:
            check_sizes("v", stored, stored[:2], region={"x": part})
        assert mend in str(caught.value.mend)


def test_a_variable_of_two_dimensions_is_no_label_of_one_of_them(path: Path, zarr_format: Format) -> None:
    # as ocean models on unstructured grids have the depths of their levels: xarray makes no index of them
    depths = xr.Coordinates({"siglay": (("siglay", "node"), -np.arange(8.0).reshape(4, 2))}, indexes={})
    ds = xr.Dataset({"u": ("siglay", [1.0, 2.0, 3.0, 4.0])}).assign_coords(depths)
    zarrds.save(ds.isel(siglay=[0, 1]), path, zarr_format=zarr_format)
    zarrds.save(ds.isel(siglay=[2, 3]), path, append_dim="siglay")
    zarrds.save(ds, path, region="auto")
    xr.testing.assert_identical(load(path), ds)
    with pytest.raises(EncodingError, match="needs labels"):
        zarrds.save(ds, path, append_dim="siglay", on_overlap="skip")
    with pytest.raises(LabelError, match="nor has the store"):
        zarrds.save(ds.isel(siglay=[1]), path, region="auto")


@pytest.mark.parametrize("values", [[1, 2], [2**63, 1], [True, False], [1, 2.5], 7], ids=str)
@pytest.mark.parametrize("is_label", [False, True])
def test_objects_that_are_numbers_stay_what_they_are(path: Path, values: Any, is_label: bool) -> None:
    """They are stored as numbers, and objects again in the next batch."""
    objects = np.array(values, object)
    dims = ("x",)[: objects.ndim]
    if is_label and not dims:
        return
    for day in range(2):
        ds = xr.Dataset({"v": ("time", [1.0]), "m": (dims, objects)}, {"time": [START + day * DAY]})
        if is_label:
            ds = ds.assign_coords(x=pd.Index(objects, dtype=object))
        zarrds.save(ds, path, append_dim="time" if day else None)
    back = xr.open_dataset(path, engine="zarrds")
    assert back.sizes["time"] == 2
    assert back.m.values.tolist() == values
    if is_label:
        added = [v if isinstance(v, bool) else v + 3 for v in values]
        more = xr.Dataset({"m": (dims, objects)}, {"x": pd.Index(added, dtype=object)})
        zarrds.save(more, path, append_dim="x", on_unordered="append", on_overlap="append")
        assert xr.open_dataset(path, engine="zarrds").x.values.tolist() == [*values, *added]


def test_other_sizes_beside_what_grows() -> None:
    """As alleles of the next contig: what the error says to do leads there."""

    def contig(start: int, alleles: int) -> xr.Dataset:
        return xr.Dataset({"allele": (("v", "a"), np.full((2, alleles), start, "i1"))}, {"v": [start, start + 1]})

    store = zarrds.MemoryStore()
    zarrds.save(contig(0, 2), store)
    with pytest.raises(LabelError, match=r"longer first, by an append with append_dim='a'"):
        zarrds.save(contig(2, 3), store, append_dim="v")
    zarrds.save(xr.Dataset({"allele": (("v", "a"), np.full((2, 1), -2, "i1"))}, {"v": [0, 1]}), store, append_dim="a")
    zarrds.save(contig(2, 3), store, append_dim="v")
    with pytest.raises(LabelError, match=r"size of the store: .*\.pad\(a=\(0, 2\)\)"):
        zarrds.save(contig(4, 1), store, append_dim="v")
    zarrds.save(contig(4, 1).pad(a=(0, 2), constant_values=-2), store, append_dim="v")
    expected = [[0, 0, -2]] * 2 + [[2, 2, 2]] * 2 + [[4, -2, -2]] * 2
    assert xr.open_dataset(store, engine="zarrds").allele.values.tolist() == expected


@pytest.mark.parametrize("dtypes", [("bool", "i1"), ("u1", "bool"), ("bool", "f4")])
def test_masks_that_another_file_has_as_numbers(dtypes: tuple[str, str]) -> None:
    def day(time: int, mask: list[int], dtype: str) -> xr.Dataset:
        data = {"v": (("time", "x"), np.full((1, 3), time)), "mask": ("x", np.array(mask, dtype))}
        return xr.Dataset(data, {"time": [time]})

    store = zarrds.MemoryStore()
    zarrds.save(day(0, [1, 0, 1], dtypes[0]), store)
    zarrds.save(day(1, [1, 0, 1], dtypes[1]), store, append_dim="time")
    found = xr.open_dataset(store, engine="zarrds").load()
    xr.testing.assert_identical(
        found, xr.concat([day(i, [1, 0, 1], dtypes[0]) for i in (0, 1)], "time", data_vars="minimal")
    )
    assert found.mask.dtype == dtypes[0]
    for wrong in ([1, 1, 1], [2, 0, 1] if "bool" in dtypes[0] else [0, 0, 0]):
        with pytest.raises(LabelError, match="'mask' are not those of the store"):
            zarrds.save(day(2, wrong, dtypes[1]), store, append_dim="time")


def test_masks_that_are_coordinates_are_the_same_too() -> None:
    store = zarrds.MemoryStore()
    ds = xr.Dataset({"v": (("time", "x"), np.zeros((1, 2)))}, {"time": [0], "mask": ("x", [True, False])})
    zarrds.save(ds, store)
    zarrds.save(ds.assign_coords(time=[1], mask=("x", np.array([1, 0], "u1"))), store, append_dim="time")
    found = xr.open_dataset(store, engine="zarrds")
    assert found.mask.values.tolist() == [True, False]
    with pytest.raises(LabelError, match="expected False, found True"):
        zarrds.save(ds.assign_coords(time=[2], mask=("x", [True, True])), store, append_dim="time")

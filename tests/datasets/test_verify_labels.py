"""``zarrds.verify`` holds what is noted of labels against all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import zarrds
from tests.datasets.index_kinds import INDEXES, MULTI_INDEXES, dataset_of
from tests.datasets.samples import Format, change_notes, files
from zarrds.labels.sorted.record import OrderRecord, is_current
from zarrds.metadata.extension import ORDER, note_of

LABELS = np.arange(100) * 10 + np.arange(100) % 7


def change_note(path: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what is noted of an array, beside it and in the consolidated copy."""
    change_notes(path, name, lambda content: change(content["zarrds"]))


def saved(path: Path, zarr_format: Format, labels: Any = LABELS) -> None:
    ds = xr.Dataset({"v": ("x", np.arange(len(labels)))}, {"x": labels})
    zarrds.save(ds, path, zarr_format=zarr_format, encoding={"x": {"chunks": (8,)}})


@pytest.mark.one_in(9)
def test_all_kinds_are_found_well(tmp_path: Path, zarr_format: Format) -> None:
    for kind in [*INDEXES, *MULTI_INDEXES]:
        path = tmp_path / kind
        zarrds.save(dataset_of(kind), path, zarr_format=zarr_format)
        report = zarrds.verify(path)
        assert not report.findings, (kind, report)


@pytest.mark.parametrize("group", [None, "a/b"])
def test_labels_that_were_changed(path: Path, zarr_format: Format, group: str | None) -> None:
    ds = xr.Dataset({"v": ("x", np.arange(100))}, {"x": LABELS})
    zarrds.save(ds, path, group=group, zarr_format=zarr_format, encoding={"x": {"chunks": (8,)}})
    where = f"{group}/x" if group else "x"
    stored = zarr.open_array(path / where, mode="r+")
    stored[50:60] = stored[50:60][::-1]
    report = zarrds.verify(path)
    assert report.ok  # all of it is read as it is stored
    (finding,) = report.findings
    assert finding.key == where
    assert "changed since" in finding.problem
    assert "not increasing" in finding.problem
    assert "repair=True" in finding.problem
    chunks = {name: value for name, value in files(path).items() if name[-1].isdigit()}
    assert chunks
    mended = zarrds.verify(path, repair=True)
    assert mended.ok
    assert [f.mended for f in mended.findings] == [True]
    assert not zarrds.verify(path).findings
    assert files(path).items() >= chunks.items()
    found = xr.open_dataset(path, engine="zarrds", group=group)
    np.testing.assert_array_equal(found.x, stored[...])


@pytest.mark.parametrize("is_opened_before", [False, True])
def test_labels_that_are_written_as_elements(path: Path, zarr_format: Format, is_opened_before: bool) -> None:
    """Of so many chunks readers do not look at each: a note that is not of them would hide labels."""
    labels = np.arange(4800) * 10
    saved(path, zarr_format, labels)
    array = zarrds.open_array(path, "r+", path="x")
    if is_opened_before:
        zarrds.save(
            xr.Dataset({"v": ("x", [0])}, {"x": [48_000]}), path, append_dim="x"
        )  # which notes the order anew, in a document that the array has not seen
    array[2403] = 7
    array[2405] = 8
    assert not zarrds.verify(path).findings
    with pytest.warns(UserWarning, match="nothing is noted of their order"):
        found = xr.open_dataset(path, engine="zarrds", index="lazy")
    assert found.indexes["x"].get_loc(7) == 2403
    zarrds.index(path, "x")
    assert not zarrds.verify(path).findings


@pytest.mark.one_in(4)
@pytest.mark.parametrize(
    ("labels", "change", "problem"),
    [
        (LABELS, lambda order: order.update(order="decreasing"), "order"),
        (LABELS, lambda order: order.update(unique=False), "none occurs twice"),
        (LABELS // 20, lambda order: order.update(unique=True), "some occur twice|order"),
        (np.arange(100) * 2, lambda order: order.update(step=3), "step"),
        (LABELS[::-1], lambda order: order.update(order=None, unique=False), "none occurs twice"),
        (LABELS, lambda order: order["first"].__setitem__(3, order["first"][3] - 1), "first and last"),
        (LABELS, lambda order: order["last"].__setitem__(5, order["last"][5] + 1), "first and last"),
        (LABELS, lambda order: order["crc32c"].__setitem__(11, 0), "chunks were changed"),
        (LABELS, lambda order: order.update(size=99), "size"),
        (LABELS, lambda order: order.update(block=7), "block"),
        (LABELS, lambda order: order.clear(), "size"),
        (np.array([*"badcfe"] * 20, object), lambda order: order.update(order="increasing"), "order"),
    ],
)
def test_records_that_say_what_is_not_so(
    path: Path, zarr_format: Format, labels: Any, change: Callable[[Any], Any], problem: str
) -> None:
    saved(path, zarr_format, labels)
    good = files(path)
    change_note(path, "x", lambda notes: change(notes["order"]))
    assert files(path) != good
    report = zarrds.verify(path)
    assert [finding.key for finding in report.findings] == ["x"], report
    assert any(word in report.findings[0].problem for word in problem.split("|")), report
    assert zarrds.verify(path, repair=True).ok
    assert not zarrds.verify(path).findings
    again = path.with_name("again.zarr")
    saved(again, zarr_format, labels)
    orders: list[Any] = []
    for place in (path, again):
        change_note(place, "x", lambda notes: orders.append(notes["order"]))
    assert orders[0]["first"] == orders[-1]["first"]
    assert orders[0]["order"] == orders[-1]["order"]


@pytest.mark.parametrize("n_chunks", [2, 3, 5])
def test_records_of_larger_blocks(path: Path, zarr_format: Format, n_chunks: int) -> None:
    """Others may take several chunks together, and need not say all that they could."""
    from zarrds.engine.elements import Elements
    from zarrds.labels.sorted.blocks import Blocks

    saved(path, zarr_format)
    array = zarrds.open_array(path, path="x")
    blocks = Blocks(Elements(array.store, array.path, array.metadata), 8 * n_chunks)
    starts = blocks.starts()
    order: dict[str, Any] = {"size": 100, "order": "increasing", "unique": None, "step": None, "block": blocks.block}
    order |= {"first": LABELS[starts].tolist(), "last": LABELS[np.minimum(starts + blocks.block, 100) - 1].tolist()}
    order["crc32c"] = [blocks.digest(i) for i in range(len(blocks))]
    change_note(path, "x", lambda notes: notes.update(order=order))
    assert not zarrds.verify(path).findings
    order["crc32c"][0] ^= 1
    change_note(path, "x", lambda notes: notes.update(order=order))
    assert "chunks were changed" in zarrds.verify(path).findings[0].problem


def test_what_lies_behind_the_end_is_no_fault_but_makes_the_record_stale(path: Path) -> None:
    """A writer that did not come to its end may have changed the last chunk, but no label of the array."""
    saved(path, 3)
    change_note(path, "x", lambda notes: notes["order"]["crc32c"].__setitem__(12, 0))
    assert not zarrds.verify(path).findings
    elements = zarrds.open_array(path, path="x").elements
    record = OrderRecord.from_json(note_of(elements.metadata, ORDER), elements.metadata)
    assert not is_current(record, elements)
    with pytest.warns(UserWarning, match="x"):
        opened = xr.open_dataset(path, engine="zarrds", index="lazy")
    np.testing.assert_array_equal(opened.x.values, LABELS)


def test_an_order_where_none_belongs(path: Path, zarr_format: Format) -> None:
    saved(path, zarr_format)
    change_note(path, "v", lambda notes: notes.update(order={"size": 100}))
    (finding,) = zarrds.verify(path).findings
    assert finding.key == "v"
    assert zarrds.verify(path, repair=True).ok
    assert not zarrds.verify(path).findings
    noted: list[Any] = []
    change_note(path, "v", noted.append)
    assert noted
    assert all("order" not in notes for notes in noted)


def test_constant_labels_are_sorted_both_ways(path: Path) -> None:
    saved(path, 3, np.full(20, 7))
    change_note(path, "x", lambda notes: notes["order"].update(order="decreasing"))
    assert not zarrds.verify(path).findings


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        ("categorical", lambda path: write(path, "x", 2, 77), "codes have no category"),
        ("categorical", lambda path: write(path, "x_categories", 2, "a"), "not unique"),
        ("interval-int", lambda path: write(path, "x_bounds", (3, 0), 90), "not around"),
        ("boolean", lambda path: write(path, "x", 0, 5), "fit"),
        ("range-from-5", lambda path: write(path, "x", 0, 4), "not the range"),
        ("categorical", lambda path: zarrds.open_group(path, "r+")["x_categories"].resize(2), "codes have no category"),
        ("numbers", lambda path: zarrds.drop_vars(path, "nothing", errors="ignore"), ""),
    ],
)
def test_descriptions_that_do_not_fit(
    path: Path, zarr_format: Format, kind: str, change: Callable[[Path], Any], problem: str
) -> None:
    zarrds.save(dataset_of(kind), path, zarr_format=zarr_format)
    change(path)
    report = zarrds.verify(path)
    about_kind = [f for f in report.findings if "does not fit" in f.problem]
    if not problem:
        assert not report.findings
        return
    assert [(f.severity, f.key) for f in about_kind] == [("error", "x")], report
    assert problem in about_kind[0].problem
    before = files(path)
    zarrds.verify(path, repair=True)  # what is noted of kinds is not touched: a part may be brought back
    assert {n: v for n, v in files(path).items() if "bounds" in n} == {n: v for n, v in before.items() if "bounds" in n}


def write(path: Path, name: str, at: Any, value: Any) -> None:
    zarr.open_array(path / name, mode="r+")[at] = value


def test_data_is_looked_at_in_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zarrds.checks.labels._PIECE", 4)
    kinds = pd.Categorical([*"abcabcabca"])
    zoned = pd.date_range("2000", periods=20, tz="UTC").astype(object).to_numpy().reshape(10, 2)
    ranges = pd.RangeIndex(5, 105, 10)
    data = {"kind": ("x", kinds), "when": (("x", "y"), zoned), "part": ("x", pd.interval_range(0, 10).array)}
    zarrds.save(xr.Dataset(data, {"x": ranges}), path)
    assert not zarrds.verify(path).findings
    write(path, "kind", 9, 3)
    write(path, "x", 9, 3)
    write(path, "part_bounds", (9, 1), 3)
    keys = {f.key for f in zarrds.verify(path).findings if "does not fit" in f.problem}
    assert keys == {"kind", "x", "part"}


def test_what_cannot_be_read_is_said_once(path: Path) -> None:
    zarrds.save(dataset_of("categorical"), path)
    chunk = next(file for file in path.glob("x_categories/**/*0"))
    chunk.write_bytes(b"x")
    report = zarrds.verify(path)
    assert [finding.key for finding in report.findings] == [str(chunk.relative_to(path))]
    other = path.with_name("other.zarr")
    saved(other, 3)
    chunk = next(file for file in other.glob("x/**/*3"))
    chunk.unlink()
    report = zarrds.verify(other)
    assert [finding.key for finding in report.findings] == [str(chunk.relative_to(other))]

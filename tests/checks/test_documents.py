"""`verify` against stores whose documents are at odds, and against what killed writers leave."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from tests.checks.test_verify import Format, dataset, keys_of, save, snapshot, zarr
from zarrds import LocalStore, MemoryStore, Report, create_group, verify
from zarrds.testing import run_together

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=[3, 2], ids=["v3", "v2"])
def zarr_format(request: pytest.FixtureRequest) -> Format:
    return 3 if request.param == 3 else 2


@pytest.fixture
def path(tmp_path: Path, zarr_format: Format) -> Path:
    """A saved dataset, which consolidated metadata describes."""
    save(tmp_path / "x.zarr", zarr_format)
    return tmp_path / "x.zarr"


def chunks_in(path: Path) -> dict[str, bytes]:
    return {name: data for name, data in snapshot(path).items() if "z" not in name.rpartition("/")[2]}


def mended(path: Any, *keys: str, n_left: int = 0) -> Report:
    """Repair a store in which these keys are found wrong, once; look at it again."""
    assert set(keys_of(verify(path))) >= set(keys)
    report = verify(path, repair=True)
    assert {f.key for f in report.findings if f.mended} == set(keys)
    again = verify(path)
    assert len(again.findings) == n_left
    assert [f for f in report.findings if not f.mended] == list(again.findings)
    return report


def names_in_consolidated(path: Path) -> set[str]:
    return set(dict(zarr.open_consolidated(path, mode="r").members(max_depth=None)))


# consolidated metadata


def test_array_that_another_library_resized(path: Path) -> None:
    with_zarr = zarr.open_group(path, mode="r+", use_consolidated=False)["v"]
    with_zarr.resize((25, 30))
    with_zarr[20:] = 7
    before = chunks_in(path)
    report = verify(path)
    assert "shape" in next(f.problem for f in report.findings if f.key == "v")
    # the other array along y is as it was: xarray could not open that
    assert keys_of(report) == ["v", "v"]
    report = verify(path, repair=True)
    assert sorted(f.mended for f in report.findings) == [False, True]
    assert len(verify(path).findings) == 1
    assert "'y'" in verify(path).findings[0].problem
    assert zarr.open_consolidated(path, mode="r")["v"].shape == (25, 30)
    assert chunks_in(path) == before


def test_array_that_another_library_made(path: Path) -> None:
    made = zarr.open_group(path, mode="r+", use_consolidated=False).create_array("new", shape=20, dtype="i4")
    made[...] = np.arange(20)
    assert "new" not in xr.open_dataset(path, engine="zarrds")
    report = mended(path, "new")
    assert report.ok
    assert "does not name it" in report.findings[0].problem
    assert names_in_consolidated(path) == {"new", "s", "v", "x"}


def test_attributes_that_another_library_changed(path: Path) -> None:
    zarr.open_group(path, mode="r+", use_consolidated=False)["v"].attrs["units"] = "degC"
    report = mended(path, "v")
    assert "units" in report.findings[0].problem
    assert "degC" in report.findings[0].problem
    assert xr.open_dataset(path, engine="zarrds").v.attrs == {"units": "degC"}
    opened = xr.open_dataset(path, engine="zarr", consolidated=True)
    assert opened.v.attrs == {"units": "degC"}


def test_lost_document(path: Path, zarr_format: Format) -> None:
    file = path / "v" / ("zarr.json" if zarr_format == 3 else ".zarray")
    before = json.loads(file.read_text())
    file.unlink()
    report = mended(path, "v")
    assert "no document of its own" in report.findings[0].problem
    assert json.loads(file.read_text()) == before
    assert zarr.open_group(path, mode="r", use_consolidated=False)["v"].shape == (20, 30)


def test_array_that_was_removed_by_hand(path: Path) -> None:
    for file in sorted((path / "v").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    mended(path, "v")
    assert names_in_consolidated(path) == {"s", "x"}
    assert not any((path / "v").iterdir())


def test_groups(tmp_path: Path, zarr_format: Format) -> None:
    path = tmp_path / "x.zarr"
    zarrds.save(xr.DataTree.from_dict({"/a/b": dataset()}), path, zarr_format=zarr_format)
    name = "zarr.json" if zarr_format == 3 else ".zgroup"
    (path / "a" / name).unlink()
    mended(path, "a")
    assert (path / "a" / name).is_file()
    # what neither has
    (path / "a" / name).unlink()
    root = path / ("zarr.json" if zarr_format == 3 else ".zmetadata")
    document = json.loads(root.read_text())
    named = document["consolidated_metadata"]["metadata"] if zarr_format == 3 else document["metadata"]
    for key in [k for k in named if k in ("a", "a/.zgroup", "a/.zattrs")]:
        del named[key]
    root.write_text(json.dumps(document))
    report = verify(path)
    assert [(f.severity, f.key) for f in report.findings if "no document that makes it a group" in f.problem] == [
        ("warning", "a")
    ]
    assert report.ok


def test_equal_documents_in_other_words(tmp_path: Path) -> None:
    """What one document says and the other leaves to the default is no difference."""
    save(tmp_path)
    document = json.loads((tmp_path / "zarr.json").read_text())
    for raw in document["consolidated_metadata"]["metadata"].values():
        raw["storage_transformers"] = []
        raw["consolidated_metadata"] = None
        raw["codecs"] = [codec["name"] if list(codec) == ["name"] else codec for codec in raw["codecs"]]
        raw["fill_value"] = float("nan") if raw["fill_value"] == "NaN" else raw["fill_value"]
        if not raw["attributes"]:
            del raw["attributes"]
    (tmp_path / "zarr.json").write_text(json.dumps(document, indent=4))
    before = snapshot(tmp_path)
    assert verify(tmp_path, repair=True).findings == ()
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e400"])
def test_numbers_that_json_does_not_have_are_the_text_that_stands_for_them(value: str, path: Path) -> None:
    """Others write them bare; what is written anew of such a document has text for them."""
    zarrds.update_attrs(path, {"a": "here"}, "v")
    document = next(each for each in (path / "v/zarr.json", path / "v/.zattrs") if each.exists())
    document.write_text(document.read_text().replace('"here"', value))
    mended(path, "v")
    assert verify(path).findings == ()


@pytest.mark.parametrize("name", ["v/zarr.json", "v/.zarray", "v/.zattrs", "zarr.json", ".zgroup", ".zmetadata"])
@pytest.mark.parametrize("text", ["{", "\udcff"])
def test_documents_that_cannot_be_read(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    save(path, 3 if name.endswith("zarr.json") else 2)
    (path / name).write_text(text, errors="surrogateescape")
    before = snapshot(path)
    report = verify(path)
    assert not report.ok
    assert keys_of(report) == [name]
    assert report.n_chunks == 22
    report = verify(path, repair=True)
    if name == ".zmetadata":  # all that it said is in the documents
        assert report.ok
        assert verify(path).findings == ()
        assert names_in_consolidated(path) == {"s", "v", "x"}
    else:
        assert keys_of(report) == [name]
        assert snapshot(path) == before


def test_documents_that_are_no_zarr(path: Path, zarr_format: Format) -> None:
    file = path / "v" / ("zarr.json" if zarr_format == 3 else ".zarray")
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "shape"}))
    report = verify(path)
    assert any("lacks the member 'shape'" in f.problem for f in report.findings)
    assert set(keys_of(report)) == {"v"}


def test_consolidated_metadata_of_the_future_is_kept(path: Path, zarr_format: Format) -> None:
    file = path / ("zarr.json" if zarr_format == 3 else ".zmetadata")
    text = file.read_text()
    file.write_text(text.replace('"inline"', '"outline"').replace('format": 1', 'format": 9'))
    before = snapshot(path)
    report = verify(path, repair=True)
    assert keys_of(report) == [file.name]
    assert report.n_chunks == 22
    assert snapshot(path) == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", ["zarr.json", "v/zarr.json", ".zmetadata", ".zattrs", "v/.zarray", "v/.zattrs"])
def test_any_document(name: str) -> None:
    """Whatever a document says: a report, and a repair that leaves no more than it found."""
    whole = MemoryStore()
    save(whole, 3 if name.endswith("zarr.json") else 2)
    text = bytes(whole.get(name) or b"")

    @given(st.data())
    def replaced(data: st.DataObject) -> None:
        store = pickle.loads(pickle.dumps(whole))
        document = place = json.loads(text)
        while True:
            member = data.draw(st.sampled_from(sorted(place)))
            if not (isinstance(place[member], dict) and place[member] and data.draw(st.booleans())):
                break
            place = place[member]
        place[member] = data.draw(JSON)
        store.set(name, json.dumps(document).encode())
        before = verify(store)
        repaired = verify(store, repair=True)
        assert len(repaired.findings) >= len(before.findings)
        assert set(verify(store).findings) == {f for f in repaired.findings if not f.mended}

    replaced()


def test_names_that_leave_the_store(path: Path, zarr_format: Format) -> None:
    file = path / ("zarr.json" if zarr_format == 3 else ".zmetadata")
    document = json.loads(file.read_text())
    named = document["consolidated_metadata"]["metadata"] if zarr_format == 3 else document["metadata"]
    for key in list(named):
        if key.startswith("v"):
            named[f"../{key}"] = named[key]
    file.write_text(json.dumps(document))
    mended(path, "../v")
    assert [p.name for p in path.parent.iterdir()] == ["x.zarr"]


def test_what_others_keep_in_zmetadata_survives(tmp_path: Path) -> None:
    save(tmp_path, 2)
    document = json.loads((tmp_path / ".zmetadata").read_text())
    document["metadata"]["v/.nczarray"] = {"dimrefs": ["/y", "/x"]}
    document["metadata"]["v/.zattrs"]["units"] = "m"
    (tmp_path / ".zmetadata").write_text(json.dumps(document))
    mended(tmp_path, "v")
    metadata = json.loads((tmp_path / ".zmetadata").read_text())["metadata"]
    assert metadata["v/.nczarray"] == {"dimrefs": ["/y", "/x"]}
    assert metadata["v/.zattrs"]["units"] == "K"


def test_sizes_of_dimensions() -> None:
    store = MemoryStore()
    g = create_group(store)
    g.create_array("a", shape=(4, 5), dtype="i4", dimension_names=("y", "x"))
    g.create_array("b", shape=5, dtype="i4", dimension_names=["x"])
    g.create_array("c", shape=9, dtype="i4", dimension_names=[None])
    g.create_array("deeper/a", shape=5, dtype="i4", dimension_names=["x"])
    assert verify(store).findings == ()
    g.create_array("d", shape=(4, 6), dtype="i4", dimension_names=("y", "x"))
    report = verify(store, repair=True)
    assert keys_of(report) == ["d"]
    assert all(word in report.findings[0].problem for word in ("'x'", "6", "5", "'a'"))


# writers that died, and writers that live

KILLED = """
import os, signal, sys
import numpy as np, zarrds
store = zarrds.LocalStore(sys.argv[1])
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "staged":
    changes = store.stage_changes()
    changes.set("0/v/c/0/0", b"new")
    die()
elif sys.argv[2] == "beside":
    store.stage().set("zarr.json", b"{}")
    die()
elif sys.argv[2] == "lock":
    with store.lock("v/c/0/0"):
        die()
elif sys.argv[2] == "commit":
    changes = store.stage_changes()
    changes.set("0/notes", b"new")
    changes.set("1/more", b"new")
    with store.lock():
        os.replace = die
        store.apply_changes(changes)
elif sys.argv[2] == "file":
    from zarrds.engine.kernel import library
    library.library = lambda: None  # the native kernel renames by itself
    array = zarrds.open_group(store, "r+")["v"]
    os.replace = die
    array[:5, :7] = 1
"""


def kill_writer(path: Path, how: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), how], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def all_names(path: Path) -> set[str]:
    return {str(f.relative_to(path.parent)) for f in path.parent.rglob("*")}


@pytest.mark.one_in(3)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("how", ["staged", "beside", "lock"])
def test_what_killed_writers_staged(path: Path, how: str) -> None:
    before = all_names(path)
    kill_writer(path, how)
    left = all_names(path) - before
    assert left
    report = verify(path)
    assert report.ok
    assert {Path(n).name for n in left} >= set(keys_of(report, "warning")) > set()
    report = verify(path, repair=True)
    assert all(f.mended for f in report.findings)
    assert all_names(path) == before
    assert verify(path).findings == ()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_changes_that_a_killed_writer_had_begun_to_put_in_place(path: Path) -> None:
    before = all_names(path)
    kill_writer(path, "commit")
    assert not (path / "more").exists()
    report = verify(path, repair=True)
    assert keys_of(report, "warning") == ["more", "notes"]  # they are in place now, and no business of the group's
    assert all_names(path) == before | {f"{path.name}/more", f"{path.name}/notes"}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_unfinished_files_of_killed_writers(path: Path) -> None:
    before = all_names(path)
    kill_writer(path, "file")
    (left,) = all_names(path) - before
    file = path.parent / left
    for repair in (False, True):  # its writer could live
        report = verify(path, repair=repair)
        assert report.ok
        assert [path.name + "/" + key for key in keys_of(report, "warning")] == [left]
    os.utime(file, (file.stat().st_mtime - 4000,) * 2)
    assert len(keys_of(verify(path), "warning")) == 1
    report = verify(path, repair=True)
    assert [f.mended for f in report.findings] == [True]
    assert all_names(path) == before
    assert verify(path).findings == ()


def test_living_writers_are_left_alone(path: Path) -> None:
    store = LocalStore(path)
    changes, beside = store.stage_changes(), store.stage()
    changes.set("0/v/x", b"new")
    beside.set("zarr.json", b"{}")
    for repair in (False, True):
        assert verify(path, repair=repair).findings == ()
    assert changes.get("0/v/x") == b"new"
    assert beside.get("zarr.json") == b"{}"
    for staged in (changes, beside):
        store.discard(staged)


def test_store_named_by_a_relative_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    store = LocalStore(path.name)
    unfinished = path / ".v.0123456789abcdef0.zarrds-partial"
    unfinished.write_bytes(b"")
    (path / "v/elsewhere").mkdir()
    monkeypatch.chdir(path / "v/elsewhere")
    assert keys_of(verify(store), "warning") == [unfinished.name]


@pytest.mark.parametrize("repair", [False, True])
def test_while_others_write(path: Path, zarr_format: Format, repair: bool) -> None:
    """A writer of chunks, attributes and new arrays at work: nothing is found, and nothing of it is lost."""
    done = threading.Event()

    def write() -> None:
        try:
            group = zarrds.open_group(path, "r+")
            for i in range(12):
                group["v"][...] = i
                group["v"].attrs["step"] = i
                group.create_array(f"new/a{i}", shape=8, chunks=3, dtype="f4")[...] = i
        finally:
            done.set()

    reports: list[Report] = []

    def look() -> None:
        reports.append(verify(path, repair=repair))  # also where the writer is done before this thread begins
        while not done.is_set():
            reports.append(verify(path, repair=repair))

    tasks: list[Callable[[], None]] = [write, look]
    run_together(*tasks)
    assert [f for report in reports for f in report.findings if f.severity == "error"] == []
    assert verify(path).findings == ()
    group = zarrds.open_group(path)
    assert group["v"].attrs["step"] == 11
    assert sorted(group["new"]) == sorted(f"a{i}" for i in range(12))


def test_groups_that_no_tree_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    tree = xr.DataTree.from_dict(
        {"/": xr.Dataset(coords={"x": [1, 2, 3]}), "/a/b": xr.Dataset({"v": ("x", [4.0, 5.0, 6.0])})}
    )
    zarrds.save(tree, path)
    assert not verify(path).findings
    zarrds.open_array(path, "r+", "x").append(np.array([4]))  # which a save refuses
    report = verify(path)
    assert [(f.severity, f.key) for f in report.findings] == [("warning", "a/b")]
    assert "xr.open_datatree cannot open" in report.findings[0].problem
    assert "has the size 3, but 4 in the group '/'" in report.findings[0].problem
    with pytest.raises(ValueError, match="not aligned"):
        xr.open_datatree(path, engine="zarrds")
    assert xr.open_dataset(path, engine="zarrds", group="a/b").v.size == 3

"""`verify` against stores with real damage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import zarrds
from zarrds import (
    Finding,
    LocalStore,
    MemoryStore,
    Report,
    create_array,
    create_group,
    open_array,
    open_group,
    verify,
)
from zarrds.errors import StoreNotFoundError
from zarrds.metadata.extension import Marks, with_marks
from zarrds.metadata.formats import v2, v3

zarr = pytest.importorskip("zarr", reason="zarr-python, whose edits are checked, is not installed")

PROJECT = Path(__file__).resolve().parents[2]
Format = Literal[2, 3]
FORMATS: list[Format] = [3, 2]
VALUES = np.arange(600.0).reshape(20, 30)


def keys_of(report: Report, severity: str = "error") -> list[str]:
    return [f.key for f in report.findings if f.severity == severity and not f.mended]


def dataset() -> xr.Dataset:
    data = {"v": (("y", "x"), VALUES, {"units": "K"}), "s": ("y", [f"n{i}" for i in range(20)])}
    return xr.Dataset(data, {"x": np.arange(30)}, {"title": "made up"})


def save(path: Any, zarr_format: Format = 3) -> None:
    zarrds.save(dataset(), path, zarr_format=zarr_format, encoding={"v": {"chunks": (5, 7)}}, mode="w")


@pytest.fixture(params=FORMATS, ids=["v3", "v2"])
def zarr_format(request: pytest.FixtureRequest) -> Format:
    return 3 if request.param == 3 else 2


@pytest.fixture
def path(tmp_path: Path, zarr_format: Format) -> Path:
    """A saved dataset, which consolidated metadata describes."""
    save(tmp_path / "x.zarr", zarr_format)
    return tmp_path / "x.zarr"


def chunk_of(path: Path, array: str = "v", n: int = 3) -> Path:
    """One of an array's chunks, whatever they are called."""
    named = [f for f in sorted((path / array).rglob("*")) if f.is_file() and "z" not in f.name]
    return named[n]


def snapshot(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def in_documents(path: Path, old: str, new: str) -> None:
    """Put one text in place of another in all documents of a store."""
    for file in path.rglob("*"):
        if file.name in ("zarr.json", ".zarrds.json", ".zarray", ".zmetadata"):
            file.write_text(file.read_text().replace(old, new))


def flip(file: Path, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    file.write_bytes(data)


# sound stores


def test_sound_dataset(path: Path) -> None:
    before = snapshot(path)
    report = verify(path)
    chunks = {name: data for name, data in before.items() if "z" not in name.rpartition("/")[2]}
    assert report == Report(str(path), (), 1, 3, len(chunks), sum(map(len, chunks.values())), 0)
    assert report.ok
    assert verify(path, repair=True) == report
    assert snapshot(path) == before


@pytest.mark.parametrize("kind", ["memory", "local"])
@pytest.mark.parametrize("n_workers", [None, 1, 4])
def test_sound_arrays_of_many_kinds(kind: str, n_workers: int | None, tmp_path: Path, zarr_format: Format) -> None:
    store = MemoryStore() if kind == "memory" else LocalStore(tmp_path / "x")
    g = create_group(store, zarr_format=zarr_format)
    g.create_group("deep/er")
    g.create_array("deep/er/a", shape=(9, 9), chunks=(4, 5), dtype="i2")[...] = 1
    for dtype in ("f8", "S3", "U2", "?", "M8[s]", "string"):
        g.create_array(f"scalar {dtype}", shape=(), dtype=dtype)[...] = 0 if dtype[0] in "f?M" else "a"
    g.create_array("none", shape=(0, 5), dtype="f8")
    g.create_array("text", shape=7, chunks=3, dtype="string")[...] = "some text"
    g.create_array("sparse", shape=(10**9, 10**9, 10**9), chunks=(10, 10, 10), dtype="i8")[5, 10**8, -1] = 1
    if zarr_format == 3:
        g.create_array("shards", shape=(17, 11), shards=(8, 6), chunks=(4, 3), dtype="f4")[:9] = 2.5
    report = verify(store, workers=n_workers)
    assert report.findings == ()
    assert report.n_groups == 3
    is_v3 = zarr_format == 3
    assert report.n_arrays == 10 + is_v3
    assert report.n_chunks == 6 + 6 + 3 + 1 + 4 * is_v3
    assert report.n_absent == 10**24 - 1 + 2 * is_v3


def test_array_at_the_root(tmp_path: Path) -> None:
    create_array(tmp_path, shape=10, chunks=3, dtype="f4", dimension_names=["x"])[...] = 1
    report = verify(tmp_path)
    assert (report.findings, report.n_groups, report.n_arrays, report.n_chunks) == ((), 0, 1, 4)


def test_stores_of_zarr_python(tmp_path: Path, zarr_format: Format) -> None:
    path = tmp_path / "x.zarr"
    tree = xr.DataTree.from_dict({"/": dataset(), "/below/it": dataset().rename(x="longitude")})
    tree.to_zarr(path, zarr_format=zarr_format, consolidated=True)
    report = verify(path)
    assert report.findings == ()
    assert (report.n_groups, report.n_arrays) == (3, 6)
    zarr.open_group(path, mode="r+")["v"].attrs["valid_range"] = [float("-inf"), float("nan")]
    zarr.consolidate_metadata(path)
    assert verify(path).findings == ()


def test_no_store(tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(StoreNotFoundError, match="no Zarr store here") as caught:
            verify(place, repair=True)
        assert caught.value.path == str(place)
    assert list(tmp_path.iterdir()) == []


# chunks


@pytest.mark.parametrize("shards", [None, (8, 6)])
def test_every_flipped_bit_is_found(shards: tuple[int, int] | None) -> None:
    store = MemoryStore()
    array = create_array(
        store, path="t2m", shape=(16, 6), dtype="f4", chunks=(4, 3) if shards else (8, 6), shards=shards
    )
    array[...] = np.random.default_rng(0).integers(0, 9, (16, 6))
    key = "t2m/c/1/0"
    whole = bytes(store.get(key) or b"")

    @given(st.integers(0, len(whole) * 8 - 1))
    def flipped(bit: int) -> None:
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        store.set(key, data)
        report = verify(store)
        assert not report.ok
        assert set(keys_of(report)) == {key}
        assert report.n_chunks == 2

    @given(st.integers(0, len(whole) - 1))
    def truncated(size: int) -> None:
        store.set(key, whole[:size])
        assert set(keys_of(verify(store))) == {key}

    flipped()
    truncated()
    store.set(key, whole)
    assert verify(store).findings == ()


def test_findings_about_chunks_say_what_the_error_says(path: Path) -> None:
    first, second = chunk_of(path), chunk_of(path, "x", 0)
    first.write_bytes(first.read_bytes()[:-3])
    second.write_bytes(b"")
    report = verify(path, workers=4)
    assert keys_of(report) == [str(f.relative_to(path)) for f in (first, second)]
    for name, finding in zip("vx", report.findings, strict=True):
        with pytest.raises(zarrds.errors.ChunkError) as caught:
            open_group(path)[name][...]
        assert finding.problem.startswith(caught.value.problem)
        assert str(path) not in finding.problem
    before = snapshot(path)
    assert verify(path, repair=True) == report  # chunks are nobody's to mend
    assert snapshot(path) == before


def test_damaged_shards(tmp_path: Path) -> None:
    array = create_array(tmp_path, shape=(16, 12), shards=(8, 6), chunks=(4, 3), dtype="f8")
    array[...] = np.random.default_rng(0).random((16, 12))
    flip(tmp_path / "c/0/0", 8 * 100)  # an inner chunk
    flip(tmp_path / "c/0/1", os.path.getsize(tmp_path / "c/0/1") * 8 - 100)  # the index
    (tmp_path / "c/1/0").write_bytes((tmp_path / "c/1/0").read_bytes()[-60:])
    report = verify(tmp_path)
    assert keys_of(report) == ["c/0/0", "c/0/1", "c/1/0"]
    problems = [f.problem for f in report.findings]
    assert problems[0].startswith("inner chunk (0, 0) of the shard: ")
    assert all(p.startswith("index of the shard: ") for p in problems[1:])


def test_missing_chunks(path: Path) -> None:
    gone = [chunk_of(path, "v", n) for n in (2, 9)]
    for file in gone:
        file.unlink()
    report = verify(path)
    assert keys_of(report) == [str(f.relative_to(path)) for f in gone]
    assert "missing" in report.findings[0].problem
    assert (report.n_chunks, report.n_absent) == (20 - 2 + 2, 0)
    assert verify(path, repair=True).findings == report.findings
    # without the mark, absence is the fill value
    in_documents(path, '"complete"', '"incomplete"')
    report = verify(path)
    assert report.findings == ()
    assert report.n_absent == 2


def marked(store: Any, shape: Any, chunks: Any, complete: Any, zarr_format: Format) -> None:
    create_array(store, shape=shape, chunks=chunks, dtype="i4", zarr_format=zarr_format)
    module = v3 if zarr_format == 3 else v2
    metadata = module.parse(module.load_raw(store, "") or {})
    for key, value in module.documents("", module.to_raw(with_marks(metadata, Marks(complete=complete)))).items():
        store.set(key, value)


@given(st.data())
def test_marks_of_any_size(data: st.DataObject) -> None:
    ndim = data.draw(st.integers(0, 3))
    sizes = st.tuples(*[st.integers(0, 7)] * ndim)
    shape, complete = data.draw(sizes), data.draw(sizes)
    chunks = data.draw(st.tuples(*[st.integers(1, 4)] * ndim))
    zarr_format = data.draw(st.sampled_from(FORMATS))
    store = MemoryStore()
    marked(store, shape, chunks, complete, zarr_format)
    array = open_array(store, "r+")
    array[...] = 1
    grid = list(np.ndindex(*[-(-n // c) for n, c in zip(shape, chunks, strict=True)]))
    required = {p for p in grid if all(i * c < n for i, c, n in zip(p, chunks, complete, strict=True))}
    separator, prefix, zero = ("/", "c/", "c") if zarr_format == 3 else (".", "", "0")
    gone = set(data.draw(st.lists(st.sampled_from(grid), unique=True))) if grid else set()
    keys = {p: prefix + separator.join(map(str, p)) if p else zero for p in grid}
    for position in gone:
        store.delete(keys[position])
    report = verify(store)
    assert set(keys_of(report)) == {keys[p] for p in gone & required}
    assert (report.n_chunks, report.n_absent) == (len(grid) - len(gone), len(gone - required))


def test_many_findings_are_counted(tmp_path: Path) -> None:
    marked(LocalStore(tmp_path), (10**6, 10**6), (1, 1), (10**6, 10**6), 3)
    array = open_array(tmp_path, "r+", path="")
    array[0, :5] = 1
    report = verify(tmp_path)
    assert len(report.findings) == 1001
    assert any(f.problem == f"{10**12 - 5 - 1000} more missing chunks" for f in report.findings)
    assert "c/0/5" in keys_of(report)


# keys


def test_stray_keys(path: Path, zarr_format: Format) -> None:
    beyond, odd = ("v/c.9.0", "v/c.00.1") if zarr_format == 3 else ("v/9.0", "v/00.1")
    stray = [beyond, odd, "v/notes.txt", "readme", "folder"]
    for name in (*stray[:-1], "folder/deep/a", "folder/b"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"x")
    report = verify(path)
    assert report.ok
    assert sorted(keys_of(report, "warning")) == sorted(stray)
    problems = {f.key: f.problem for f in report.findings}
    assert "outside" in problems[beyond]
    assert "neither document nor chunk" in problems[odd]
    assert "(2)" in problems["folder"]
    before = snapshot(path)
    assert verify(path, repair=True) == report
    assert snapshot(path) == before


def test_codecs_that_zarrds_does_not_have(path: Path) -> None:
    in_documents(path, '"blosc"', '"of the future"')
    report = verify(path)
    assert keys_of(report) == ["s", "v", "x"]
    assert all("of the future" in f.problem for f in report.findings)
    assert (report.n_arrays, report.n_chunks) == (3, 0)


# sizes that do not fit in memory, and memory


def test_forged_sizes(tmp_path: Path, zarr_format: Format) -> None:
    create_array(tmp_path, shape=(9, 9), chunks=(5, 5), dtype="f8", zarr_format=zarr_format)[...] = 1
    document = tmp_path / ("zarr.json" if zarr_format == 3 else ".zarray")
    forged = document.read_text().replace("[9, 9]", f"[{2**60}, {2**60}]").replace("[5, 5]", f"[{2**59}, {2**59}]")
    document.write_text(forged)
    report = verify(tmp_path)
    assert not report.ok
    assert "memory" in str(report) or "damaged" in str(report)


PEAK = """
import sys
from zarrds import verify
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
verify(sys.argv[1], workers=2)
before = peak()
report = verify(sys.argv[2], workers=2)
assert report.ok, str(report)
print(peak() - before, report.n_bytes, report.n_chunks)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("shards", [None, (2048, 4096)])
def test_peak_of_memory_is_a_few_chunks(shards: tuple[int, int] | None, tmp_path: Path) -> None:
    chunk_nbytes = 1 << 20
    array = create_array(tmp_path / "large", shape=(12800, 4096), dtype="f4", chunks=(256, 1024), shards=shards)
    rows = np.random.default_rng(0).random((256, 4096), "f4")
    for start in range(0, 12800, 2048):
        stop = min(start + 2048, 12800)
        array[start:stop] = np.tile(rows, (8, 1))[: stop - start]
    create_array(tmp_path / "small", shape=8, dtype="f4")[...] = 1
    command = [sys.executable, "-c", PEAK, str(tmp_path / "small"), str(tmp_path / "large")]
    printed = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout
    shutil.rmtree(tmp_path / "large")
    peak, n_bytes, n_chunks = map(int, printed.split())
    assert array.nbytes > 200e6
    assert n_bytes > 100e6
    assert n_chunks == (200 if shards is None else 7)
    # each thread has the bytes of a chunk, the chunk, and what the codec needs; and the interpreter breathes
    assert peak < 2 * 8 * chunk_nbytes


# the report


def test_report_as_text(path: Path) -> None:
    chunk_of(path).unlink()
    (path / "v/a b").write_bytes(b"")
    report = verify(path)
    lines = str(report).splitlines()
    assert len(lines) == 3
    assert lines[:2] == [str(f) for f in report.findings]
    assert any(line.startswith("warning: v/a b: ") for line in lines)
    assert lines[2].startswith(f"{path}: 1 group, 3 arrays, 21 chunks (")
    assert lines[2].endswith("0 absent: 1 error, 1 warning")


def test_ok() -> None:
    def report(*findings: Finding) -> Report:
        return Report("x", findings, 1, 1, 1, 1, 0)

    assert report().ok
    assert report(Finding("warning", "a", "b"), Finding("error", "a", "b", mended=True)).ok
    assert not report(Finding("warning", "a", "b"), Finding("error", "a", "b")).ok
    assert str(report(Finding("error", "a", "b", mended=True))).endswith("1 error, 0 warnings, 1 of them mended")
    assert "[mended]" in str(report(Finding("error", "a", "b", mended=True)))


def test_findings_are_sorted_by_number(tmp_path: Path) -> None:
    array = create_array(tmp_path, shape=120, dtype="f8", chunks=1, workers=1)
    array[...] = 1
    for n in (2, 10, 100, 9):
        (tmp_path / f"c/{n}").write_bytes(b"")
    for n_workers in (1, 4):
        assert keys_of(verify(tmp_path, workers=n_workers)) == ["c/2", "c/9", "c/10", "c/100"]


def test_progress(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify(path, progress=True)
    shown = capsys.readouterr().err
    assert "verify" in shown
    assert "22/22" in shown
    verify(path)
    assert capsys.readouterr().err == ""


def test_leftovers_of_a_store_beside_are_its_own(tmp_path: Path) -> None:
    for name in ("x.zarr", "x.zarr.bak"):
        zarrds.save(xr.Dataset({"v": ("x", [1.0])}), tmp_path / name)
    (tmp_path / ".x.zarr.bak.0123456789abcdef0.lock.zarrds-partial").touch()
    assert zarrds.verify(tmp_path / "x.zarr").findings == ()
    (found,) = zarrds.verify(tmp_path / "x.zarr.bak", repair=True).findings
    assert found.mended
    assert sorted(os.listdir(tmp_path)) == ["x.zarr", "x.zarr.bak"]

"""Statistics of what is copied, rechunked, converted, and computed later; and what ``verify`` says of stale ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds.chunk_statistics.record import read_rows


def dataset() -> xr.Dataset:
    values = np.random.default_rng(0).normal(0, 9, (12, 10))
    values[3, 3] = np.nan
    return xr.Dataset(
        {"v": (("t", "x"), values), "name": ("t", [f"n{i}" for i in range(12)])},
        {"t": np.arange(12), "x": np.arange(10)},
    )


ENCODING: dict[str, Any] = {"v": {"chunks": (3, 10)}, "name": {"chunks": (4,)}}


def rows_of(store: Any, name: str) -> Any:
    array = zarrds.open_array(store, path=name)
    return read_rows(array.store, name, array.metadata)


def check(store: Any, names: tuple[str, ...] = ("v", "name")) -> None:
    """That all chunks have the rows that `zarrds.index` gives them."""
    found = {name: rows_of(store, name) for name in names}
    zarrds.index(store, names)
    for name, rows in found.items():
        assert rows is not None
        again = rows_of(store, name)
        assert rows["known"].all()
        for field in ("crc32c", "count", "min", "max"):
            np.testing.assert_array_equal(rows[field], again[field])
        np.testing.assert_allclose(rows["sum"], again["sum"])


@pytest.fixture(params=[True, None], ids=["with", "without"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    zarrds.save(dataset(), tmp_path / "source.zarr", statistics=request.param, encoding=ENCODING)
    return tmp_path / "source.zarr"


WAYS: dict[str, dict[str, Any]] = {
    "direct": {"chunks": {"t": -1, "x": 2}},
    "pieces": {"chunks": {"t": -1, "x": 2}, "max_memory": 2500},
    "packed": {"encoding": {"v": {"shards": (6, 10)}}},
    "bytes": {},
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("statistics", [None, True, False])
@pytest.mark.parametrize("way", [*WAYS, "copy"])
def test_copies(
    source: Path, tmp_path: Path, way: str, statistics: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zarrds.datasets.rechunking.plan._OVERHEAD", 0)  # for pieces of so little
    had = rows_of(source, "v") is not None
    target = tmp_path / "target.zarr"
    if way == "copy":
        zarrds.copy(source, target, statistics=statistics)
    else:
        zarrds.rechunk(source, target, statistics=statistics, **WAYS[way])
    if statistics or (had and statistics is None):
        check(target)
        # and from then on they are kept right
        zarrds.save(dataset().isel(t=slice(0, 2)).assign_coords(t=[12, 13]), target, append_dim="t")
        assert zarrds.statistics(target, "v").known.all()
    else:
        assert rows_of(target, "v") is None
        assert not zarrds.statistics(target, "v").known.any()
    assert zarrds.verify(target).ok


def test_a_copy_does_not_make_stale_rows_right(tmp_path: Path) -> None:
    zarrds.save(dataset(), tmp_path / "source.zarr", statistics=True, encoding=ENCODING)
    zarr = pytest.importorskip("zarr")
    zarr.open_array(tmp_path / "source.zarr", mode="r+", path="v")[0, 0] = 500
    for statistics, known in ((None, [False, True, True, True]), (True, [True] * 4)):
        target = tmp_path / f"{statistics}.zarr"
        zarrds.copy(tmp_path / "source.zarr", target, statistics=statistics)
        assert zarrds.statistics(target, "v").known.values.ravel().tolist() == known
        assert zarrds.find(target, "v > 400", count=True) == 1


def test_conversions(tmp_path: Path) -> None:
    files = []
    for i, part in enumerate((slice(0, 6), slice(6, 12))):
        files.append(tmp_path / f"{i}.nc")
        dataset().isel(t=part).to_netcdf(files[-1], engine="h5netcdf")
    zarrds.convert(files, tmp_path / "joined.zarr", concat_dim="t", statistics=True, encoding=ENCODING)
    check(tmp_path / "joined.zarr")
    zarrds.convert(files[0], tmp_path / "one.zarr")
    assert rows_of(tmp_path / "one.zarr", "v") is None


def test_conversions_of_vcf(data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("cyvcf2")
    target = tmp_path / "v.zarr"
    zarrds.convert(data_dir / "multi_contig.vcf.gz", target, statistics=True, chunks={"variants": 100})
    check(target, ("variant_position", "variant_quality", "variant_filter", "variant_id"))
    ds = xr.open_dataset(target, engine="zarrds").load()
    found = zarrds.find(target, "variant_quality > 50", count=True)
    assert found == int((ds.variant_quality > 50).sum())


def test_what_is_computed_later(tmp_path: Path) -> None:
    pytest.importorskip("dask")
    ds, target = dataset(), tmp_path / "v.zarr"
    later = zarrds.save(
        ds[["v"]].chunk({"t": 5}), target, statistics=True, compute=False, encoding={"v": {"chunks": (3, 10)}}
    )
    assert rows_of(target, "v") is None
    later.compute()
    check(target, ("v",))
    zarrds.save(ds[["v"]].isel(t=slice(3, 6)).drop_vars("t") * 2, target, region={"t": slice(3, 6), "x": slice(0, 10)})
    check(target, ("v",))


def test_verify_says_which_are_stale(tmp_path: Path) -> None:
    path = tmp_path / "v.zarr"
    zarrds.save(dataset(), path, statistics=True, encoding=ENCODING)
    report = zarrds.verify(path)
    assert (report.notes, report.findings) == ((), ())
    zarr = pytest.importorskip("zarr")
    zarr.open_array(path, mode="r+", path="v")[:6, 0] = 500
    report = zarrds.verify(path)
    assert report.ok
    assert not report.findings
    (note,) = report.notes
    assert note.startswith("v: 2 chunks of 4 changed after their statistics were noted")
    assert f"note: {note}" in str(report)
    assert report.to_dict()["notes"] == [note]
    zarrds.index(path, "v")
    assert zarrds.verify(path).notes == ()

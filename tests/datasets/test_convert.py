"""`zarrds.convert`: files to stores, joined one by one."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.errors import (
    EncodingError,
    LabelError,
    StoreExistsError,
    StoreIOError,
    StoreNotFoundError,
    UnsupportedError,
    VariableNotFoundError,
)


def day(number: int, *, n_x: int = 4) -> xr.Dataset:
    times = pd.date_range("2019-03-01", periods=6, freq="4h") + pd.Timedelta(number, "D")
    values = np.arange(6 * 3 * n_x).reshape(6, 3, n_x) % 9000 / 8 + number
    packed = {"dtype": "i2", "scale_factor": 0.125, "_FillValue": -1}
    t2m = xr.Variable(("time", "y", "x"), values, {"units": "K"}, packed)
    ds = xr.Dataset({"t2m": t2m}, {"time": times, "y": [3.0, 2.0, 1.0], "x": np.arange(n_x)}, {"title": "days"})
    ds.time.encoding = {"units": "hours since 2019-01-01", "dtype": "i4"}
    return ds


@pytest.fixture
def days(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"day{number:02}.nc" for number in range(5)]
    for number, path in enumerate(paths):
        ds = day(number)
        ds.t2m.encoding |= {"chunksizes": (1, 3, 4), "zlib": True}
        ds.to_netcdf(path, engine="netcdf4")
    return paths


def all_days(paths: list[Path]) -> xr.Dataset:
    return xr.concat([xr.load_dataset(path, engine="netcdf4") for path in paths], "time", data_vars="minimal")


def test_one_file(days: list[Path], tmp_path: Path) -> None:
    done = zarrds.convert(days[0], tmp_path / "out.zarr")
    assert done.written == (str(days[0]),)
    assert zarrds.diff(days[0], tmp_path / "out.zarr").same
    with pytest.raises(StoreExistsError):
        zarrds.convert(days[0], tmp_path / "out.zarr")
    zarrds.convert(days[1], tmp_path / "out.zarr", overwrite=True)
    assert zarrds.diff(days[1], tmp_path / "out.zarr").same


def test_days_are_joined_and_a_second_run_does_nothing(days: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    seen: list[tuple[int, int]] = []
    done = zarrds.convert(days[:3], out, concat_dim="time", progress=lambda *now: seen.append(now))
    assert (done.written, done.skipped) == (tuple(map(str, days[:3])), ())
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.rglob("*") if p.is_file()}
    again = zarrds.convert(days[:3], out, concat_dim="time")
    assert (again.written, again.skipped) == ((), tuple(map(str, days[:3])))
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.rglob("*") if p.is_file()} == before
    more = zarrds.convert(days, out, concat_dim="time")
    assert (len(more.written), len(more.skipped)) == (2, 3)
    assert "2 written, 3 skipped" in str(more)
    xr.testing.assert_equal(xr.load_dataset(out, engine="zarrds"), all_days(days))
    assert zarrds.verify(out).ok
    assert zarrds.info(out, "t2m").variables[0].dtype == "int16"


def test_a_file_that_half_overlaps_is_completed(days: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    zarrds.save(xr.load_dataset(days[0], engine="netcdf4").isel(time=slice(0, 2)), out)
    assert len(zarrds.convert(days, out, concat_dim="time").written) == 5
    xr.testing.assert_equal(xr.load_dataset(out, engine="zarrds"), all_days(days))


def test_a_file_that_does_not_fit_is_named(days: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    for change, problem in (
        (lambda ds: ds.assign_coords(x=ds.x + 1), "x"),
        (lambda ds: ds.assign(t2m=ds.t2m.assign_attrs(units="degC")), "units"),
        (lambda ds: ds.rename(t2m="t3m"), "t"),
    ):
        strange = tmp_path / "strange.nc"
        strange.unlink(missing_ok=True)
        change(day(2)).to_netcdf(strange, engine="netcdf4")
        with pytest.raises((LabelError, EncodingError), match=r"(?s)strange\.nc: .*" + problem):
            zarrds.convert([*days[:2], strange, *days[3:]], out, concat_dim="time")
        xr.testing.assert_equal(xr.load_dataset(out, engine="zarrds"), all_days(days[:2]))
    with pytest.raises(LabelError, match=r"day01\.nc: has no dimension 'tim'"):
        zarrds.convert([days[1]], tmp_path / "other.zarr", concat_dim="tim")
    assert not (tmp_path / "other.zarr").exists()


def test_chunks_codecs_and_encoding(days: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.zarr"
    blosc = [{"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle"}}]
    zarrds.convert(days, out, concat_dim="time", chunks={"time": 12, "x": -1}, compressors=blosc)
    (t2m,) = zarrds.info(out, "t2m").variables
    assert (t2m.chunks, t2m.dtype) == ((12, 3, 4), "int16")
    assert t2m.codecs[0].startswith("blosc(zstd 3")
    xr.testing.assert_equal(xr.load_dataset(out, engine="zarrds"), all_days(days))
    asked: dict[str, dict[str, Any]] = {"t2m": {"dtype": "f4", "chunks": (2, 2, 2)}}
    zarrds.convert(days[0], out, encoding=asked, overwrite=True, zarr_format=2)
    info = zarrds.info(out, "t2m")
    assert (info.zarr_format, info.variables[0].dtype, info.variables[0].chunks) == (2, "float32", (2, 2, 2))
    with pytest.raises(VariableNotFoundError, match="Did you mean 't2m'"):
        zarrds.convert(days[0], tmp_path / "b.zarr", encoding={"t2": {}})
    with pytest.raises(EncodingError, match="no such dimension"):
        zarrds.convert(days[0], tmp_path / "b.zarr", chunks={"tim": 1})


@pytest.mark.parametrize("asked", [{"chunks": {"x": 2}}, {"compressors": [{"name": "zstd"}]}], ids=str)
def test_nullable_numbers_in_other_chunks(tmp_path: Path, asked: Any) -> None:
    kinds = {
        "i": pd.array([1, None, 3], "Int32"),
        "f": pd.array([1, None, 3], "Float32"),
        "b": pd.array([True] * 3, "boolean"),
    }
    ds = xr.Dataset({name: ("x", values) for name, values in kinds.items()})
    zarrds.save(ds, tmp_path / "a.zarr")
    zarrds.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", **asked)
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "b.zarr", engine="zarrds").load(), ds)


def test_groups_and_stores(tmp_path: Path) -> None:
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"a": 1}), "/one": day(0), "/two/three": day(1)})
    tree.to_netcdf(tmp_path / "tree.nc", engine="netcdf4")
    zarrds.convert(tmp_path / "tree.nc", tmp_path / "tree.zarr")
    assert zarrds.diff(tmp_path / "tree.nc", tmp_path / "tree.zarr").same
    zarrds.convert(tmp_path / "tree.zarr", tmp_path / "2.zarr", zarr_format=2)
    assert zarrds.diff(tmp_path / "tree.zarr", tmp_path / "2.zarr", metadata=False).same
    zarrds.convert(tmp_path / "tree.nc", tmp_path / "one.zarr", group="two/three")
    assert zarrds.info(tmp_path / "one.zarr", group="two/three").dimensions["time"] == 6


def test_what_cannot_be_converted(days: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.nc").write_text("no netCDF", encoding="utf-8")
    (tmp_path / "some.grib2").write_bytes(b"GRIB")
    out = tmp_path / "out.zarr"
    with pytest.raises(EncodingError, match="concat_dim"):
        zarrds.convert(days, out)
    with pytest.raises(EncodingError, match="nothing to convert"):
        zarrds.convert([], out)
    with pytest.raises(UnsupportedError, match=r"cannot open the file.*text\.nc"):
        zarrds.convert(tmp_path / "text.nc", out)
    with pytest.raises(StoreNotFoundError):
        zarrds.convert(tmp_path / "nothing.nc", out)
    monkeypatch.setattr("zarrds.datasets.converting.sources.find_spec", lambda _: None)
    with pytest.raises(UnsupportedError, match="pip install cfgrib"):
        zarrds.convert(tmp_path / "some.grib2", out)
    assert not out.exists()


def test_a_store_without_labels_is_not_gone_on_with(days: list[Path], tmp_path: Path) -> None:
    bare = [day(number).drop_vars("time") for number in range(2)]
    zarrds.convert(bare, tmp_path / "out.zarr", concat_dim="time")
    assert xr.open_dataset(tmp_path / "out.zarr", engine="zarrds").sizes["time"] == 12
    with pytest.raises(StoreExistsError, match="no labels"):
        zarrds.convert(bare, tmp_path / "out.zarr", concat_dim="time")


def test_large_inputs_are_read_in_blocks(days: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask")
    monkeypatch.setattr("zarrds.datasets.converting.convert._LARGE", 0)
    monkeypatch.setattr("zarrds.engine.blocks.BLOCK_NBYTES", 100)
    zarrds.convert(days, tmp_path / "out.zarr", concat_dim="time", chunks={"time": 4})
    xr.testing.assert_equal(xr.load_dataset(tmp_path / "out.zarr", engine="zarrds"), all_days(days))


def test_real_data(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "era5_t2m_uk_2019-03.nc"
    zarrds.convert(source, tmp_path / "era5.zarr", chunks={"time": 24})
    assert zarrds.diff(source, tmp_path / "era5.zarr").same
    zarrds.export(tmp_path / "era5.zarr", tmp_path / "again.nc")
    assert zarrds.diff(source, tmp_path / "again.nc").same


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_full_disk(days: list[Path], tmp_path: Path) -> None:
    day(0, n_x=20_000).to_netcdf(tmp_path / "large.nc", engine="netcdf4")
    zarrds.save(day(0, n_x=20_000), tmp_path / "large.zarr")
    code = f"""
        import resource, sys
        import zarrds
        from zarrds.cli.main import main
        import netCDF4, xarray
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))
        for words in (["convert", {str(tmp_path / "large.nc")!r}, {str(tmp_path / "out.zarr")!r}, "--zstd", "1"],
                      ["export", {str(tmp_path / "large.zarr")!r}, {str(tmp_path / "out.nc")!r}]):
            assert main(words) == 2, words
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert not [p for p in tmp_path.iterdir() if "out" in p.name]


CONVERT = """
import resource, sys, zarrds
*sources, target = sys.argv[1:]
zarrds.convert(sources, target, concat_dim="time", durable=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_memory_stays_flat_however_many_days_are_joined(tmp_path: Path) -> None:
    """Thirty days take no more than six do, but for less than three of them; a second run finds all there."""
    paths = [tmp_path / f"day{number:02}.nc" for number in range(30)]
    shape, rng = (24, 300, 300), np.random.default_rng(0)
    for number, path in enumerate(paths):
        times = pd.date_range("2019-03-01", periods=24, freq="h") + pd.Timedelta(number, "D")
        t2m = ("time", "y", "x"), rng.normal(280, 5, shape).astype("f4"), {"units": "K"}
        ds = xr.Dataset({"t2m": t2m}, {"time": times, "y": np.arange(300.0), "x": np.arange(300.0)})
        ds.to_netcdf(path, engine="netcdf4", encoding={"time": {"units": "hours since 2019-01-01", "dtype": "i4"}})
    peaks = []
    for n in (6, 30):
        command = [sys.executable, "-c", CONVERT, *map(str, paths[:n]), str(tmp_path / f"{n}.zarr")]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 3 * prod(shape) * 4
    for number in (0, 17, 29):
        with xr.open_dataset(paths[number], engine="netcdf4") as one:
            back = xr.open_dataset(tmp_path / "30.zarr", engine="zarrds").sel(time=one.time)
            np.testing.assert_array_equal(back.t2m.values, one.t2m.values)
    again = zarrds.convert(paths, tmp_path / "30.zarr", concat_dim="time")
    assert (again.written, len(again.skipped)) == ((), 30)


def test_a_variable_that_claims_more_than_can_be_converted(tmp_path: Path) -> None:
    pytest.importorskip("dask")
    zarrds.create_group(tmp_path / "a.zarr")
    names = ["x", "y"]
    zarrds.create_array(
        tmp_path / "a.zarr", path="v", shape=(2**50, 2**10), chunks=(16, 16), dtype="f8", dimension_names=names
    )
    with pytest.raises(EncodingError, match="too large") as caught:
        zarrds.convert(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert caught.value.key == "v"


@pytest.mark.parametrize("concat_dim", [None, "time"])
def test_a_file_whose_data_is_damaged(tmp_path: Path, concat_dim: str | None) -> None:
    noise = np.random.default_rng(0).integers(0, 2**62, (50, 1000))
    encoding = {"v": {"zlib": True, "fletcher32": True, "chunksizes": (10, 1000)}}
    xr.Dataset({"v": (("time", "x"), noise)}).to_netcdf(tmp_path / "a.nc", engine="netcdf4", encoding=encoding)
    raw = bytearray((tmp_path / "a.nc").read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 100] = bytes(100)
    (tmp_path / "a.nc").write_bytes(raw)
    with pytest.raises(StoreIOError, match=r"cannot be read.*a\.nc"):
        zarrds.convert(tmp_path / "a.nc", tmp_path / "b.zarr", concat_dim=concat_dim)
    assert not (tmp_path / "b.zarr").exists()


def test_a_file_that_nobody_may_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day(0).to_netcdf(tmp_path / "a.nc", engine="netcdf4")

    def refused(*_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("zarrds.datasets.converting.sources._is_flat", refused)
    with pytest.raises(StoreIOError, match=r"cannot be read: Permission denied.*a\.nc"):
        zarrds.convert(tmp_path / "a.nc", tmp_path / "b.zarr")

"""The commands, in this process."""

from __future__ import annotations

import csv
import io
import json
import re
import uuid
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.cli.samples import Run, climate


def test_info(run: Run, path: Path) -> None:
    status, out, err = run("info", path)
    assert (status, err) == (0, "")
    assert out == f"{zarrds.info(path)}\n"
    status, out, _ = run("info", path, "t2m", "--json", "--stored")
    assert list(json.loads(out)["variables"]) == ["t2m"]
    assert json.loads(out)["variables"]["t2m"]["stored"]["n_chunks"] == 2
    assert run("info", path, "--cdl")[1].startswith("netcdf t {")
    assert run("info")[1].startswith(f"zarrds {zarrds.__version__}")


def test_tree(run: Run, path: Path) -> None:
    zarrds.save(climate(), path, group="a/b")
    assert run("tree", path)[1].splitlines()[0] == "/"
    assert run("tree", path, "--group", "a")[1].splitlines()[1] == "└── b/"


def test_dump(run: Run, path: Path) -> None:
    assert run("dump", path, "t2m", "--isel", "time=0", "lat=0", "lon=1")[1] == "281.0\n"
    lines = run("dump", path, "t2m", "--sel", "time=2019-03-31..2019-04", "lat=51", "--isel", "lon=0")[1].splitlines()
    assert lines == ["2019-03-31T00:00:00  289.0", "2019-04-01T00:00:00  295.0", "2019-04-02T00:00:00  301.0"]
    table = run("dump", path, "t2m", "--isel", "time=3")[1].splitlines()
    assert [line.split() for line in table] == [
        ["0", "1", "2"],
        ["52.0", "298.0", "299.0", "300.0"],
        ["51.0", "301.0", "302.0", "303.0"],
    ]
    assert "time=2019-04-02T00:00:00:" in run("dump", path, "t2m")[1]
    assert run("dump", path, "lon")[1].split() == ["0", "0", "1", "1", "2", "2"]


def test_dump_csv(run: Run, path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("dump", path, "t2m", "--csv", "--sel", "lat=51..52")[1])))
    assert len(rows) == 24
    found = np.array([float(row["t2m"]) for row in rows]).reshape(4, 2, 3)
    np.testing.assert_array_equal(found, climate().t2m)
    assert rows[5] == {"time": "2019-03-30T00:00:00", "lat": "51.0", "lon": "2", "t2m": "285.0"}


def test_dump_cdl(run: Run, path: Path, tmp_path: Path) -> None:
    out = run("dump", path, "t2m", "--cdl", "--isel", "time=1:3")[1]
    assert " t2m = 286, 287, 288, 289, 290, 291, 292, 293, 294, 295,\n    296, 297 ;" in out
    assert "\ttime = 2 ;" in out
    assert re.search(r"^ time = 1, 2 ;", out, re.MULTILINE)  # as stored: days since the first


def test_verify(run: Run, path: Path) -> None:
    assert run("verify", path)[0] == 0
    chunk = next(p for p in (path / "t2m").rglob("*") if p.is_file() and p.name != "zarr.json" and p.name[0] == "c")
    chunk.unlink()
    status, out, _ = run("verify", path)
    assert status == 1
    assert "missing" in out
    status, out, _ = run("verify", path, "--json")
    assert (status, json.loads(out)["ok"]) == (1, False)


def test_diff(run: Run, path: Path, tmp_path: Path) -> None:
    other = climate()
    other["t2m"] = other.t2m.copy(data=other.t2m.values)
    other.t2m[2, 1, 0] = 300.0
    other.t2m[3] += 0.5
    other.t2m.attrs["units"] = "degC"
    other.to_netcdf(tmp_path / "other.nc", engine="netcdf4")
    climate().to_netcdf(tmp_path / "same.nc", engine="netcdf4")
    assert run("diff", path, tmp_path / "same.nc")[:2] == (0, f"{path}, {tmp_path / 'same.nc'}: no difference\n")
    status, out, _ = run("diff", path, tmp_path / "other.nc")
    assert status == 1
    assert "/t2m: attribute units: 'K' / 'degC'" in out
    assert "values differ in 7 of 24, first at time=2019-04-01 00:00:00, lat=51.0, lon=0" in out
    assert "largest difference 5" in out
    found = json.loads(run("diff", path, tmp_path / "other.nc", "--data", "--json")[1])
    assert [d["kind"] for d in found["differences"]] == ["values"]
    assert "values" not in run("diff", path, tmp_path / "other.nc", "--metadata")[1]


def test_edits(run: Run, path: Path) -> None:
    assert run("attrs", path)[1] == "title = tiny\n"
    assert run("attrs", path, "t2m", "--set", "long_name=two metres", "levels=[1, 2]")[0] == 0
    assert json.loads(run("attrs", path, "t2m", "--json")[1])["levels"] == [1, 2]
    assert run("attrs", path, "t2m", "--delete", "levels")[0] == 0
    status, _, err = run("attrs", path, "time", "--delete", "units")
    assert (status, "how the stored values are decoded" in err) == (2, True)
    assert run("rename", path, "t2m=temperature", "lat=latitude")[0] == 0
    assert run("drop", path, "lon")[0] == 0
    assert run("index", path, "time")[0] == 0
    ds = xr.open_dataset(path, engine="zarrds")
    assert ds.temperature.dims == ("time", "latitude", "lon")
    assert "lon" not in ds.variables
    assert ds.temperature.attrs["long_name"] == "two metres"


def test_convert_and_export(run: Run, tmp_path: Path) -> None:
    parts = [tmp_path / f"{number}.nc" for number in range(2)]
    for number, part in enumerate(parts):
        climate().isel(time=slice(2 * number, 2 * number + 2)).to_netcdf(part, engine="netcdf4")
    out = tmp_path / "out.zarr"
    (tmp_path / "e.json").write_text('{"t2m": {"dtype": "float64"}}', encoding="utf-8")
    status, shown, err = run("convert", *parts, out, "--concat", "time", "--chunks", "time=4,lat=-1", "--deflate", 5)
    assert (status, shown) == (0, "")
    assert "2 written" in err
    assert "0 written, 2 skipped" in run("convert", *parts, out, "--concat", "time")[2]
    (t2m,) = zarrds.info(out, "t2m").variables
    assert (t2m.shape, t2m.chunks, t2m.codecs[0]) == ((4, 2, 3), (4, 2, 3), "blosc(zlib 5 shuffle)")
    assert run("convert", parts[0], out, "--encoding", tmp_path / "e.json")[0] == 2
    assert run("convert", parts[0], out, "--encoding", tmp_path / "e.json", "--overwrite")[0] == 0
    assert zarrds.info(out, "t2m").variables[0].dtype == "float64"
    assert run("export", out, tmp_path / "back.nc", "--sel", "time=2019-03-31", "-v", "t2m")[:2] == (0, "")
    assert xr.load_dataset(tmp_path / "back.nc").t2m.shape == (2, 3)
    assert run("export", out, tmp_path / "back.nc")[0] == 2
    assert run("export", out, tmp_path / "back.nc", "--overwrite")[0] == 0


def test_urls_and_options(run: Run) -> None:
    pytest.importorskip("fsspec")
    url = f"memory://{uuid.uuid4()}/t.zarr"
    zarrds.save(climate(), url)
    assert run("info", url, "--storage-option", "skip_instance_cache=true")[0] == 0
    assert run("dump", url, "lat")[1].split() == ["52.0", "52.0", "51.0", "51.0"]
    assert run("verify", url)[0] == 0


def test_names_may_stand_behind_options(run: Run, path: Path, tmp_path: Path) -> None:
    status, out, _ = run("info", path, "--json", "t2m")
    assert (status, list(json.loads(out)["variables"])) == (0, ["t2m"])
    status, out, _ = run("attrs", path, "--json", "t2m")
    assert (status, json.loads(out)["units"]) == (0, "K")
    assert run("index", path, "--group", "/", "t2m")[0] == 0
    pytest.importorskip("matplotlib")
    assert run("report", path, "-o", tmp_path / "page.html", "t2m")[0] == 0


def test_dump_cdl_of_what_netcdf_has_no_words_for(run: Run, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=2)
    kinds = [("a", "i4"), ("b", "f8"), ("c", "?")]
    group.create_array("s", shape=(2,), dtype=kinds)[...] = np.array([(1, 2.5, True), (3, 4.0, False)], kinds)
    group["s"].attrs["_ARRAY_DIMENSIONS"] = ["x"]
    status, out, _ = run("dump", tmp_path / "s.zarr", "s", "--cdl")
    assert (status, "s = {1, 2.5, 1}, {3, 4, 0} ;" in out) == (0, True)
    zarrds.save(xr.Dataset({"b": ("x", [True, False]), "c": ("x", [1j, 2])}), tmp_path / "b.zarr")
    assert "b = 1, 0 ;" in run("dump", tmp_path / "b.zarr", "b", "--cdl")[1]
    assert "c = 0+1j, 2+0j ;" in run("dump", tmp_path / "b.zarr", "c", "--cdl")[1]


def test_zip_files_are_stores(run: Run, path: Path, tmp_path: Path) -> None:
    zipped = tmp_path / "t.zip"
    zarrds.copy(path, zipped)
    assert run("diff", path, zipped)[0] == 0
    assert run("convert", zipped, tmp_path / "new.zarr", "--chunks", "time=4")[0] == 0
    assert run("diff", zipped, tmp_path / "new.zarr", "--data")[0] == 0
    assert run("convert", zipped, zipped, "--overwrite", "--chunks", "time=1")[0] == 0
    assert run("diff", path, zipped, "--data")[0] == 0
    (tmp_path / "no.zip").write_text("text")
    status, _, err = run("convert", tmp_path / "no.zip", tmp_path / "no.zarr")
    assert (status, "cannot be opened as a ZIP file" in err) == (2, True)


def test_info_tells_nothing_of_an_index_that_nobody_asked_for(run: Run, tmp_path: Path) -> None:
    times = xr.date_range("0001-01-01", periods=2, calendar="noleap", use_cftime=True)
    zarrds.save(xr.Dataset({"v": ("time", [1, 2])}, {"time": times}), tmp_path / "x.zarr")
    status, out, err = run("info", tmp_path / "x.zarr")
    assert (status, err) == (0, "")
    assert "0001-01-01" in out


def test_stats(run: Run, tmp_path: Path) -> None:
    ds = climate().assign(name=("lat", ["a", "b"]), empty=("lat", [np.nan, np.nan]), one=7.0)
    zarrds.save(ds.drop_vars("lon"), tmp_path / "s.zarr", encoding={"t2m": {"chunks": (2, 2, 3)}})
    status, out, err = run("stats", tmp_path / "s.zarr")
    assert status == 0
    assert "zarrds index notes it" in err
    assert [line.split() for line in out.splitlines()[3:]] == [
        [name, *"20"] if name == "t2m" else [name, *"10"] for name in ds
    ]
    zarrds.index(tmp_path / "s.zarr")
    status, out, err = run("stats", tmp_path / "s.zarr", "--csv")
    assert (status, err) == (0, "")
    rows = {row["variable"]: row for row in csv.DictReader(io.StringIO(out))}
    t2m = ds["t2m"].values
    found = [float(rows["t2m"][name]) for name in ("chunks", "known", "min", "max", "mean", "sum", "count")]
    assert found == [2, 2, t2m.min(), t2m.max(), t2m.mean(), t2m.sum(), t2m.size]
    assert [*rows["name"].values()] == ["name", "1", "1", "a", "b", "", "", "2"]
    assert [*rows["empty"].values()] == ["empty", "1", "1", "", "", "", "", "0"]
    status, out, err = run("stats", tmp_path / "s.zarr", "t2m", "--csv")
    chunks = list(csv.DictReader(io.StringIO(out)))
    assert [(row["time_first"], row["lat_last"], row["lon_chunk"]) for row in chunks] == [
        ("2019-03-30T00:00:00", "51.0", "0"),
        ("2019-04-01T00:00:00", "51.0", "0"),
    ]
    assert [float(row["max"]) for row in chunks] == [t2m[:2].max(), t2m[2:].max()]
    assert "t2m: 2 chunks" in run("stats", tmp_path / "s.zarr", "t2m")[1]
    zarrds.open_array(tmp_path / "s.zarr", "r+", path="t2m")[0, 0, 0] = 1
    assert float(run("stats", tmp_path / "s.zarr", "t2m")[1].splitlines()[3].split()[5]) == 1.0


def test_find_among_single_values(run: Run, tmp_path: Path) -> None:
    zarrds.save(xr.Dataset({"n": 5}, {"c": 7}), tmp_path / "n.zarr")
    assert run("find", tmp_path / "n.zarr", "n > 4", "--csv")[:2] == (0, "c,n\n7,5\n")
    assert run("find", tmp_path / "n.zarr", "n > 5", "--csv")[:2] == (0, "c,n\n")
    assert run("find", tmp_path / "n.zarr", "c > 5", "--csv")[:2] == (0, "c\n7\n")


def test_copy_and_rechunk(run: Run, path: Path, tmp_path: Path) -> None:
    assert run("copy", path, tmp_path / "copy.zarr", "-v", "t2m") == (0, "", "")
    xr.testing.assert_identical(xr.open_dataset(tmp_path / "copy.zarr", engine="zarrds").load(), climate())
    words = ["rechunk", path, tmp_path / "b.zarr", "--chunks", "time=-1,lat=1", "--max-memory", "50MB"]
    status, out, _ = run(*words, "--plan")
    assert status == 0
    assert "t2m: (2, 2, 3) -> (4, 1, 3), direct" in out
    assert not (tmp_path / "b.zarr").exists()
    assert run(*words) == (0, "", "")
    assert zarrds.open_array(tmp_path / "b.zarr", path="t2m").chunks == (4, 1, 3)
    status, _, err = run(*words)
    assert status == 2
    assert "exists here already" in err
    encoding = tmp_path / "encoding.json"
    encoding.write_text('{"t2m": {"chunks": [1, 1, 1], "shards": [4, 2, 3]}}')
    assert run("rechunk", path, tmp_path / "b.zarr", "--encoding", encoding, "--overwrite") == (0, "", "")
    assert zarrds.open_array(tmp_path / "b.zarr", path="t2m").shards == (4, 2, 3)

"""What ``dump`` and ``find`` print of values and labels that are more than numbers."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import zarrds
from zarrds.cli.main import main

HOURS = pd.date_range("2019-10-27T00:00", periods=4, freq="h", tz="Europe/London")  # two of them are named 01:00


@pytest.fixture
def path(tmp_path: Path) -> Path:
    index = pd.MultiIndex.from_product([["ä", "b"], pd.to_datetime(["2020-01-01"])], names=["site", "day"])
    ds = xr.Dataset(
        {
            "large": ("hour", pd.array([2**53 + 1, None, 3, 4], dtype="Int64")),
            "text": ("hour", np.array(["two\nlines\tand, more", 'a "b"', "x" * 20_000, "  "], object)),
            "at_site": ("m", [1.5, 2.5]),
        },
        {"hour": HOURS, **xr.Coordinates.from_pandas_multiindex(index, "m")},
    )
    zarrds.save(ds, tmp_path / "t.zarr")
    return tmp_path / "t.zarr"


def rows(capsys: pytest.CaptureFixture[str], *words: object) -> list[list[str]]:
    capsys.readouterr()
    assert main([*map(str, words), "--csv"]) == 0
    return list(csv.reader(io.StringIO(capsys.readouterr().out, newline="")))


@pytest.mark.parametrize("ask", ["dump", "find"])
def test_zones_and_large_integers(path: Path, capsys: pytest.CaptureFixture[str], ask: str) -> None:
    words = (
        ["dump", path, "large"] if ask == "dump" else ["find", path, "large != 0 or text != ''", "--columns", "large"]
    )
    header, *found = rows(capsys, *words)
    assert header == ["hour", "large"]
    assert [row[0] for row in found] == [hour.isoformat() for hour in HOURS]
    assert [row[1] for row in found] == ["9007199254740993", "<NA>", "3", "4"]
    if ask == "dump":
        assert main(["dump", str(path), "large"]) == 0
        assert capsys.readouterr().out.splitlines()[1] == "2019-10-27T01:00:00+01:00  <NA>"


@pytest.mark.parametrize("ask", ["dump", "find"])
def test_text_is_whole_in_csv(path: Path, capsys: pytest.CaptureFixture[str], ask: str) -> None:
    words = ["dump", path, "text"] if ask == "dump" else ["find", path, "text != ''"]
    found = [row[1] for row in rows(capsys, *words)[1:]]
    assert found == xr.open_dataset(path, engine="zarrds").text.values.tolist()


def test_levels_of_a_multi_index(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = [["site", "day", "at_site"], ["ä", "2020-01-01T00:00:00", "1.5"], ["b", "2020-01-01T00:00:00", "2.5"]]
    assert rows(capsys, "dump", path, "at_site") == table
    assert rows(capsys, "find", path, "at_site > 2") == [table[0], table[2]]
    assert main(["dump", str(path), "at_site"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "ä, 2020-01-01T00:00:00  1.5"
    assert main(["dump", str(path), "at_site", "--cdl"]) == 0
    out = capsys.readouterr().out
    assert '\n site = "ä", "b" ;\n' in out
    assert "\n m = " not in out  # xarray's own: it is not stored


def test_cdl_is_what_ncgen_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.array([[1.5, np.nan, np.inf], [-np.inf, 1e30, 1 / 3]])
    ds = xr.Dataset(
        {"f": (("y", "x"), values), "g": ("x", values[0].astype("f4")), "i": ("x", [1, np.nan, 3])}, {"x": [1, 2, 3]}
    )
    encoding = {"f": {"_FillValue": None}, "i": {"dtype": "i2", "_FillValue": 2}}
    zarrds.save(ds, tmp_path / "t.zarr", encoding=encoding)
    expected = {
        "f": " f = 1.5, NaN, Infinity, -Infinity, 1e+30, 0.333333333333333 ;",
        "g": " g = 1.5, _, Infinityf ;",
        "i": " i = 1, _, 3 ;",
    }
    for name, line in expected.items():
        assert main(["dump", str(tmp_path / "t.zarr"), name, "--cdl"]) == 0
        text = capsys.readouterr().out
        assert line in text.splitlines()
        if shutil.which("ncgen"):
            (tmp_path / "t.cdl").write_text(text)
            subprocess.run(["ncgen", "-4", "-o", tmp_path / f"{name}.nc", tmp_path / "t.cdl"], check=True)
            made = xr.load_dataset(tmp_path / f"{name}.nc", engine="netcdf4")[name]
            np.testing.assert_allclose(made.values, ds[name], rtol=1e-6)

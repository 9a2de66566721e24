"""The commands on object storage: an S3 server on loopback, with options, or by the environment alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import S3Server, serving
from zarrds.cli.main import main

pytest.importorskip("obstore")

Run = Callable[..., str]
A, B = "s3://bucket/a.zarr", "s3://bucket/b.zarr"


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with serving() as running:
        yield running


@pytest.fixture(params=["options", "environment"])
def run(
    server: S3Server,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Runs a command, and gives what it prints; all of them succeed."""
    server.state.values.clear()
    given: list[str] = []
    if request.param == "options":
        given = [word for name, value in server.options.items() for word in ("--storage-option", f"{name}={value}")]
    else:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.options["key"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.options["secret"])
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_REGION", "us-east-1")

    def run(*words: object, status: int = 0) -> str:
        capsys.readouterr()
        found = main([*map(str, words), *given])
        shown = capsys.readouterr()
        assert found == status, shown.err
        assert server.options["secret"] not in shown.out + shown.err
        return shown.out

    return run


def days(start: int, stop: int) -> xr.Dataset:
    values = np.arange(start, stop, dtype="f4")[:, None] * [1, 10]
    return xr.Dataset({"t2m": (("time", "x"), values, {"units": "K"})}, {"time": np.arange(start, stop), "x": [5, 6]})


def test_every_command(run: Run, tmp_path: Path) -> None:
    for i, part in enumerate((days(0, 2), days(2, 4))):
        part.to_netcdf(tmp_path / f"{i}.nc", engine="netcdf4")
    run("convert", tmp_path / "0.nc", tmp_path / "1.nc", A, "--concat", "time", "--chunks", "time=2")
    assert "4×2" in run("info", A, "--stored")
    assert run("info", A, "--cdl").startswith("netcdf a {")
    assert "t2m (time: 4, x: 2)" in run("tree", A)
    assert run("dump", A, "t2m", "--sel", "time=2", "x=6").strip() == "20.0"
    assert run("dump", A, "t2m", "--csv").count("\n") == 9
    run("index", A)
    assert run("find", A, "t2m > 19", "--count").strip() == "2"
    assert run("stats", A, "--csv").splitlines()[1].startswith("t2m,2,2,0.0,30.0,")
    run("attrs", A, "t2m", "--set", "long_name=two metres")
    assert json.loads(run("attrs", A, "t2m", "--json"))["long_name"] == "two metres"
    run("rename", A, "t2m=temperature")
    assert json.loads(run("verify", A, "--repair", "--json"))["findings"] == []
    run("copy", A, B, "-v", "temperature")
    assert "no difference" in run("diff", A, B)
    run("rechunk", A, B, "--chunks", "time=-1,x=1", "--overwrite")
    assert "encoding chunks" in run("diff", A, B, status=1)
    run("rechunk", A, tmp_path / "local.zarr", "--chunks", "time=1")
    run("copy", tmp_path / "local.zarr", B, "--overwrite")
    run("export", A, tmp_path / "back.nc")
    run("report", A, "-o", tmp_path / "a.html")
    xr.testing.assert_equal(xr.load_dataset(tmp_path / "back.nc").rename(temperature="t2m"), days(0, 4))
    run("drop", A, "temperature")
    assert list(json.loads(run("info", A, "--json"))["variables"]) == ["time", "x"]
    run("copy", A, B, status=2)  # it exists
    run("info", "s3://bucket/nowhere.zarr", status=2)
    assert zarrds.open_group(tmp_path / "local.zarr")["temperature"].shape == (4, 2)

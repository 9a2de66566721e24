"""The commands in a process of their own: their output, full or closed or a terminal, and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from zarrds.cli.main import main

PROJECT = Path(__file__).resolve().parents[2]


def command(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "zarrds", *map(str, words)]
    return subprocess.run(line, cwd=PROJECT, text=True, stderr=subprocess.PIPE, check=False, **options)


def test_entry_point(path: Path) -> None:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        module, _, name = tomllib.load(file)["project"]["scripts"]["zarrds"].partition(":")
    assert getattr(import_module(module), name) is main
    done = command("info", path, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{zarrds.info(path)}\n", "")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_for_the_output(path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = command("dump", path, "t2m", stdout=full)
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locales")
def test_a_terminal_without_unicode_gets_escapes(tmp_path: Path) -> None:
    zarrds.save(xr.Dataset({"t": ("x", ["気温", "a"])}), tmp_path / "a.zarr")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = command("dump", tmp_path / "a.zarr", "t", stdout=subprocess.PIPE, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0  \\u6c17\\u6e29\n1  a\n", "")


@pytest.mark.one_in(4)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize(("words", "status"), [("info T", 2), ("copy T OUT", 0)])
def test_no_output_and_no_room_for_it(path: Path, tmp_path: Path, words: str, status: int) -> None:
    places = {"T": path, "OUT": tmp_path / "out.zarr"}
    line = [sys.executable, "-m", "zarrds", *(str(places.get(word, word)) for word in words.split())]
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *line], cwd=PROJECT, text=True, stderr=subprocess.PIPE)
    assert closed.returncode == status
    assert closed.stderr.splitlines() == ["zarrds: error: there is no standard output"] * (status // 2)


@pytest.mark.one_in(4)
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, pytest.param(getattr(signal, "SIGHUP", None), marks=pytest.mark.slow)],
)
def test_an_interrupt_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    noise = np.random.default_rng(0).random((60, 300, 300))
    xr.Dataset({"a": (("t", "y", "x"), noise)}).to_netcdf(tmp_path / "a.nc", engine="netcdf4")
    line = [
        sys.executable,
        "-m",
        "zarrds",
        "convert",
        str(tmp_path / "a.nc"),
        str(tmp_path / "out.zarr"),
        "--zstd",
        "9",
    ]
    # what runs the tests may have asked to ignore it, as nohup does, and whoever it starts does so too
    heard = partial(signal.signal, number, signal.SIG_DFL)
    with subprocess.Popen(
        line, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as process:
        while process.poll() is None and not any("partial" in p.name for p in tmp_path.iterdir()):
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert err == "zarrds: interrupted; nothing is left half-written\n"
    assert process.returncode == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_broken_pipe_is_no_traceback(tmp_path: Path) -> None:
    zarrds.save(xr.Dataset({"a": ("x", np.arange(200_000))}), tmp_path / "a.zarr")
    line = [sys.executable, "-m", "zarrds", "dump", str(tmp_path / "a.zarr"), "a"]
    with subprocess.Popen(line, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
@pytest.mark.parametrize("no_colour", [False, True])
def test_colour_only_on_a_terminal_that_wants_it(path: Path, no_colour: bool) -> None:
    import pty

    pytest.importorskip("rich")
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm", "COLUMNS": "200"}
    done = command("info", path, stdout=theirs, env=environment | ({"NO_COLOR": "1"} if no_colour else {}))
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # all is read, and nobody writes any more
        pass
    os.close(ours)
    assert done.returncode == 0
    assert (b"\x1b[" in shown) is not no_colour
    assert b"t2m" in shown

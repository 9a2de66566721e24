"""What the commands say of wrong words, of errors and of interrupts."""

from __future__ import annotations

import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import zarrds
from tests.cli.samples import Run
from zarrds.cli.main import main
from zarrds.errors import ChunkError
from zarrds.stores import LocalStore


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["info", "nowhere.zarr"], "no Zarr store here"),
        (["info", "{path}", "t3m"], "Did you mean 't2m'"),
        (["dump", "{path}", "t3m"], "Did you mean 't2m'"),
        (["drop", "{path}", "t3m"], "Did you mean 't2m'"),
        (["rename", "{path}", "t3m=x"], "Did you mean 't2m'"),
        (["attrs", "{path}", "t3m", "--set", "a=1"], "Did you mean 't2m'"),
        (["dump", "{path}", "t2m", "--isel", "time=0:1a"], "cannot read 'time=0:1a' at character 8"),
        (["dump", "{path}", "t2m", "--sel", "time"], "cannot read 'time' at character 5"),
        (["dump", "{path}", "t2m", "--sel", "lat=51,,52"], "cannot read 'lat=51,,52' at character 8"),
        (["dump", "{path}", "t2m", "--sel", "lat=51.25"], "no such label"),
        (["dump", "{path}", "t2m", "--isel", "lat=7"], "outside"),
        (["dump", "{path}", "t2m", "--isel", "height=7"], "no such dimension"),
        (["tree", "{path}", "--group", "nowhere"], "no such group"),
        (["diff", "{path}", "nowhere.nc"], "no such file, and no Zarr store"),
        (["diff", "{path}", "README.md"], "xarray cannot open the file"),
        (["attrs", "{path}", "t2m", "--delete", "nothing"], "no such attribute"),
        (["convert", "README.md", "{path}x"], "xarray cannot open the file"),
        (["convert", "{path}", "{path}"], "exists"),
        (["convert", "{path}", "{path}x", "--encoding", "README.md"], "not JSON"),
        (["convert", "{path}", "{path}x", "--chunks", "lat=0"], "cannot read 'lat=0' at character 5"),
        (["dump", "{path}", "t2m", "--isel", "lat=0", "--isel", "lat=1"], "expected 'lat' only once"),
        (["rename", "{path}", "lat=a", "lat=b"], "expected 'lat' only once"),
        (["dump", "{path}", "t2m", "--isel", "lat=" + "9" * 5000], "a whole number"),
        (["dump", "{path}", "t2m", "--sel", "lat=" + "9" * 5000], "no such label"),
        (["copy", "{path}", "{path}"], "onto itself"),
        (["copy", "{path}", "{path}/t2m", "--overwrite"], "inside"),
        (["copy", "{path}", "{path}x", "--workers", "0"], "at least 1"),
        (["export", "{path}", "README.md"], "Pass --overwrite to replace it"),
        (["export", "{path}", "{path}.nc", "-v", "t3m"], "Did you mean 't2m'"),
    ],
)
def test_bad_input(run: Run, path: Path, words: list[str], expected: str) -> None:
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    status, out, err = run(*(word.format(path=path) for word in words))
    assert (status, out) == (2, "")
    assert expected in err
    assert len(err.splitlines()) == 1
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["no-such-command"],
        ["info", "--no-such-option"],
        ["dump", "a.zarr"],
        ["tree", "a", "b"],
        ["attrs", "a", "--json", "b", "c"],
    ],
)
def test_wrong_use(run: Run, words: list[str]) -> None:
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert "usage: zarrds" in err


def test_help_and_version(run: Run) -> None:
    assert run("--version")[:2] == (0, f"zarrds {zarrds.__version__}\n")
    status, out, _ = run("--help")
    assert status == 0
    for command in ("info", "tree", "dump", "verify", "diff", "convert", "export", "attrs", "rename", "drop", "index"):
        assert re.search(rf"^    {command} ", out, re.MULTILINE), command


def test_debug_shows_where(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["info", "--debug", str(tmp_path / "nowhere")]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_that_python_makes_another_error_of(run: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupts:
        def __set_name__(self, owner: type, name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(zarrds, "verify", lambda *_, **__: type("Owner", (), {"it": Interrupts()}))
    status, out, err = run("verify", path)
    assert (status, out) == (2, "")
    assert err == "zarrds: interrupted; nothing is left half-written\n"


def test_an_error_after_an_interrupt_is_told(run: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot_clean_up(*_: Any, **__: Any) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise zarrds.errors.StoreIOError("cannot remove what was staged")

    monkeypatch.setattr(zarrds, "verify", cannot_clean_up)
    status, _, err = run("verify", path)
    assert status == 2
    assert err == "zarrds: error: cannot remove what was staged\n"


def test_a_warning_is_told_once(run: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = zarrds.verify(path)

    def warn(*_: Any, **__: Any) -> zarrds.Report:
        warnings.simplefilter("always")
        for number in (1, 1, 2):
            warnings.warn(f"number {number}", stacklevel=1)
        return found

    monkeypatch.setattr(zarrds, "verify", warn)
    assert run("verify", path)[2].splitlines() == ["zarrds: warning: number 1", "zarrds: warning: number 2"]


def test_interrupted(run: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(zarrds, "verify", interrupt)
    status, out, err = run("verify", path)
    assert (status, out) == (2, "")
    assert "interrupted" in err


def test_control_characters_of_a_store_do_not_reach_the_terminal(run: Run, tmp_path: Path) -> None:
    path, name, dim = tmp_path / "e.zarr", "a\x1b[2J\x9b", "x\u202e"
    evil = {"t\x9b": "\x1b]0;evil\x07\x9b\u202e"}
    zarrds.save(xr.Dataset({name: (dim, ["\x1b[2Jevil"], evil)}, attrs=evil), path)
    for words in (
        ["info", path],
        ["info", path, "--json"],
        ["info", path, "--cdl"],
        ["tree", path],
        ["dump", path, name],
        ["dump", path, name, "--csv"],
        ["dump", path, name, "--cdl"],
        ["attrs", path],
        ["attrs", path, "--json"],
        ["dump", path, "a"],
        ["export", path, tmp_path / "e.nc"],
    ):
        shown = "".join(run(*words)[1:])
        assert shown
        assert not set(shown) & set("\x1b\x07\x9b\u202e"), words
    assert json.loads(run("attrs", path, "--json")[1]) == evil


WRONG = [
    ("dump T t2m --sel lat=51 --isel lat=0", "by label and by position"),
    ("dump T t2m --sel lat=51 lat=52", "'lat' only once"),
    ("attrs T t2m --set a=1 a=2", "'a' only once"),
    ("attrs T t2m --set a=1 --delete a", "set and deleted at once"),
    ("info T --storage-option a=1 --storage-option a=2", "'a' only once"),
    ("info --cdl", "zarrds info STORE"),
    ("info FILE", "zarrds convert makes a store of a file"),
    ("rename T t2m=", "a new name"),
    ("rename T t2m=.x.zarrds-partial", "cannot be a name"),
    ("export T nowhere/x.nc", "there is no folder for the file"),
    ("export T FOLDER --overwrite", "a folder stands where the file is to be"),
    ("report T -o nowhere/x.html", "there is no folder for the file"),
    ("report T -o FOLDER --overwrite", "a folder stands where the file is to be"),
    ("convert nowhere.nc OUT", "there is no such file, and no Zarr store"),
    ("diff T nowhere.nc", "there is no such file, and no Zarr store"),
    ("convert T T/t2m --overwrite", "inside of what is copied"),
    ("convert T T/new", "inside of what is copied"),
    ("rechunk T OUT --chunks time=x", "at character 6"),
    ("rechunk T OUT --chunks tim=1", "Did you mean 'time'?"),
    ("copy T OUT -v t2n", "no such variable"),
    ("copy T OUT -v t2n", "Did you mean 't2m'?"),
    ("dump T t2m --isel tim=0", "Did you mean 'time'?"),
    ("dump T t2m --isel time=99", "expected less than time=4"),
    ("info T --json t2n", "Did you mean 't2m'?"),
    ("convert T OUT --encoding FOLDER", "the encoding cannot be read: Is a directory"),
    ("rechunk T OUT --encoding nowhere.json", "the encoding cannot be read: No such file"),
    ("copy T FILE --overwrite", "a file stands where the store is to be"),
    ("rechunk T FILE --chunks lat=1 --overwrite", "a file stands where the store is to be"),
    ("convert T FILE --overwrite", "a file stands where the store is to be"),
    ("index T xyz", "There is: lat, lon, t2m, time"),
    ("index T t2n", "Did you mean 't2m'?"),
    ("rename T t2m=time", "taken already"),
    ("attrs T t2m --delete unit", "Did you mean 'units'?"),
    ("convert T OUT --chunks tim=1", "Did you mean 'time'?"),
    ("convert T OUT --concat tim", "Did you mean 'time'?"),
    ("export T OUT --sel tim=1", "Did you mean 'time'"),
    ("dump T t2m --sel lat=51.3", "expected one of 2 labels, the first 52.0, the last 51.0, found 51.3"),
    ("dump T t2m --sel lat", "found the end"),
    ("find T t2m>", "found the end at character 5. A query is made of"),
    ("find T t2m>>2", "not allowed in a query: this operator"),
]


@pytest.mark.parametrize(("words", "expected"), WRONG, ids=[words for words, _ in WRONG])
def test_more_wrong_words(run: Run, path: Path, tmp_path: Path, words: str, expected: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    zarrds.save(xr.Dataset(), path, group="a")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    names = {"T": path, "FILE": tmp_path / "file", "FOLDER": tmp_path / "folder", "OUT": tmp_path / "out.zarr"}
    given = [str(path / word[2:]) if word.startswith("T/") else str(names.get(word, word)) for word in words.split()]
    status, out, err = run(*given)
    assert (status, out) == (2, "")
    assert expected in err
    assert len(err.splitlines()) == 1
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("words", ["export {} {}", "report {} -o {}"])
def test_only_files_are_replaced(run: Run, path: Path, tmp_path: Path, words: str) -> None:
    pipe, link, other = tmp_path / "pipe", tmp_path / "link", tmp_path / "file"
    other.write_text("old")
    link.symlink_to(other)
    os.mkfifo(pipe)
    status, _, err = run(*words.format(path, pipe).split(), "--overwrite")
    assert (status, "no file" in err, pipe.is_fifo()) == (2, True, True)
    assert run(*words.format(path, link).split(), "--overwrite")[0] == 0
    assert link.is_symlink()
    assert other.stat().st_size > 100
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "pipe", "t.zarr"]


def test_a_damaged_source_is_said_to_be_that(run: Run, path: Path, tmp_path: Path) -> None:
    next((path / "t2m").glob("c.*")).unlink()
    status, _, err = run("convert", path, tmp_path / "new.zarr")
    assert status == 2
    assert "a chunk is missing" in err
    assert "cannot be stored" not in err
    with pytest.raises(ChunkError):
        zarrds.convert(path, tmp_path / "new.zarr")


def test_what_nobody_expected_is_one_line(run: Run, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(zarrds, "verify", fail)
    status, _, err = run("verify", path)
    assert (status, err) == (
        2,
        "zarrds: error: IndexError: list index out of range. --debug shows where it came from\n",
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"t2m": 3}'])
def test_encodings_that_are_none(run: Run, path: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "e.json").write_text(text)
    status, _, err = run("rechunk", path, tmp_path / "b.zarr", "--encoding", tmp_path / "e.json")
    assert status == 2
    assert "e.json" in err


def test_an_interrupt_right_after_a_hidden_folder_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody was told of it yet, who could remove it."""
    place = tmp_path / "a.zarr"
    zarrds.save(xr.Dataset({"a": ("x", [1])}), place)
    stage = LocalStore.stage_changes

    def interrupt(store: LocalStore) -> LocalStore:
        stage(store)
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalStore, "stage_changes", interrupt)
    assert main(["attrs", str(place), "--set", "title=b"]) == 2
    assert sorted(os.listdir(place)) == ["a", "zarr.json"]
    assert os.listdir(tmp_path) == ["a.zarr"]

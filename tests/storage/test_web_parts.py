"""Parts of files on web servers, as fsspec reads them: of archives, of references, behind its caches."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import zarrds
from tests.storage.test_remote_http import RangeHandler
from tests.storage.web_server import Handler, web
from zarrds.errors import StoreIOError, UnsupportedError
from zarrds.storage.fsspec import defaults
from zarrds.stores import as_store

pytest.importorskip("aiohttp", reason="fsspec's client of web servers")

VALUES = np.arange(600, dtype="int32").reshape(20, 30)


MOVED = {"shifted": (-1, -1), "wider": (-8, 0), "shorter": (0, -1)}  # both ends of a part


class Other(RangeHandler):
    """Sends another part than it was asked for, or fails once for each part."""

    way = ""
    asked: ClassVar[set[tuple[str, str, str]]]

    def send_head(self):
        span = self.headers.get("Range")
        request = self.command, self.path, str(span)
        is_first = request not in self.asked
        self.asked.add(request)
        if self.way == "busy" and is_first:
            self.send_error(503)
            return None
        path = Path(self.translate_path(self.path))
        if span is not None and self.way in MOVED and path.is_file():
            first, last = span.removeprefix("bytes=").split("-")
            size = path.stat().st_size
            start, end = (int(first), min(int(last or size), size - 1)) if first else (size - int(last), size - 1)
            start, end = start + MOVED[self.way][0], end + MOVED[self.way][1]
            if 0 <= start <= end:
                self.headers.replace_header("Range", f"bytes={start}-{end}")
        return super().send_head()


def serving(way: str) -> type[Handler]:
    return type("_", (Other,), {"way": way, "asked": set()})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One store with shards of plain chunks, and the same in an archive."""
    options: dict[str, Any] = {"shape": VALUES.shape, "dtype": "int32", "chunks": (5, 6), "codecs": ["bytes"]}
    zarrds.create_array(tmp_path / "a.zarr", **options, shards=(20, 12))[...] = VALUES
    zarrds.create_array(tmp_path / "b.zarr", **options)[...] = VALUES
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in (tmp_path / "a.zarr").rglob("*"):
            archive.write(path, path.relative_to(tmp_path / "a.zarr"))
    return tmp_path


def cached(kind: str, url: str, folder: Path) -> Any:
    return as_store(f"{kind}::{url}", {kind: {"cache_storage": str(folder / kind)}})


@pytest.mark.parametrize("way", ["shifted", "wider", "shorter"])
def test_another_part_is_not_taken_for_the_one_that_was_asked_for(folder: Path, way: str) -> None:
    whole = (folder / "a.zarr" / "c" / "0" / "0").read_bytes()
    with web(serving(way), folder) as url:
        store = as_store(f"{url}/a.zarr", {"client_kwargs": {"trust_env": False}})
        assert store.get_range("c/0/0", 100, 50) == whole[100:150]
        np.testing.assert_array_equal(zarrds.open_array(store)[3:17, 5:25], VALUES[3:17, 5:25])
        one = {".zarray": document(folder)}
        references = {"fo": one | {"0.0": [f"{url}/b.zarr/c/1/1", 0, 120], "0.1": [f"{url}/a.zip", 60, 120]}}
        with pytest.raises(StoreIOError, match="cannot read"):
            zarrds.open_array("reference://", storage_options=references)[...]


def document(folder: Path) -> str:
    options: dict[str, Any] = {"shape": (5, 12), "dtype": "int32", "chunks": (5, 6), "codecs": ["bytes"]}
    zarrds.create_array(folder / "v2.zarr", **options, zarr_format=2)
    return (folder / "v2.zarr" / ".zarray").read_text()


# fsspec's blockcache leaves the files of its cache open
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["a.zarr", "b.zarr"])
@pytest.mark.parametrize("kind", ["simplecache", "filecache", "blockcache"])
def test_what_a_cache_could_not_fetch_is_not_read_as_zeros(folder: Path, name: str, kind: str) -> None:
    handler = serving("busy")
    with web(handler, folder) as url:
        for _ in range(2):
            array = zarrds.open_array(cached(kind, f"{url}/{name}", folder))
            np.testing.assert_array_equal(array[...], VALUES)


def test_an_archive_whose_server_is_busy_is_there(folder: Path) -> None:
    class Busy(RangeHandler):
        left = 2

        def send_head(self):
            if type(self).left:
                type(self).left -= 1
                self.send_error(503)
                return None
            return super().send_head()

    with web(Busy, folder) as url:
        np.testing.assert_array_equal(zarrds.open_array(f"zip://::{url}/a.zip")[...], VALUES)


def test_an_archive_whose_server_knows_no_ranges_is_read_as_the_error_says(folder: Path) -> None:
    with web(Handler, folder) as url:
        with pytest.raises(StoreIOError, match=r"knows no ranges.*zip://t2m\.zarr::simplecache::https://"):
            zarrds.open_array(f"zip://::{url}/a.zip")
        options = {"simplecache": {"cache_storage": str(folder / "cache")}}
        array = zarrds.open_array(f"zip://::simplecache::{url}/a.zip", storage_options=options)
        np.testing.assert_array_equal(array[...], VALUES)


class Halfway(Handler):
    """Sends half of a value, and the rest later."""

    may_go: ClassVar[threading.Event]
    n_asked = 0

    def copyfile(self, source: Any, outputfile: Any) -> None:
        if not self.path.endswith("/large"):
            super().copyfile(source, outputfile)
            return
        type(self).n_asked += 1
        value = source.read()
        outputfile.write(value[: len(value) // 2])
        self.may_go.wait(20)
        outputfile.write(value[len(value) // 2 :])


READ = """
import gzip
import hashlib
import sys
from zarrds.stores import as_store
url, folder = sys.argv[1:]
value = as_store(f"simplecache::{url}", {"simplecache": {"cache_storage": folder}}).get("large")
print(hashlib.sha256(value).hexdigest())
"""


def test_processes_that_share_a_cache_read_nothing_half(folder: Path) -> None:
    handler = type("_", (Halfway,), {"may_go": threading.Event()})
    cache, value = folder / "cache", np.arange(100000).tobytes()
    (folder / "b.zarr" / "large").write_bytes(value)
    with web(handler, folder) as url:
        command = [sys.executable, "-c", READ, f"{url}/b.zarr", str(cache)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
            while first.poll() is None and not any(file.stat().st_size for file in cache.glob("*")):
                time.sleep(0.01)
            asked = handler.n_asked
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as second:
                while second.poll() is None and handler.n_asked == asked:
                    time.sleep(0.01)
                handler.may_go.set()
                values = [each.communicate()[0].strip() for each in (first, second)]
    assert values == [hashlib.sha256(value).hexdigest()] * 2
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("link", ["", "simplecache::"])
def test_references_that_are_to_be_made_need_what_makes_them(
    tmp_path: Path, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kerchunk's ``gen``, which fsspec leaves out where it cannot make them."""
    pytest.importorskip("jinja2", reason="fsspec makes references by it")
    (tmp_path / "data").write_bytes(VALUES[:5, :12].tobytes())
    made = {"key": "0.{{i}}", "url": str(tmp_path / "data"), "offset": "{{ i * 120 }}", "length": "120"}
    references = {
        "version": 1,
        "gen": [made | {"dimensions": {"i": {"stop": 2}}}],
        "refs": {".zarray": document(tmp_path)},
    }
    options: dict[str, Any] = {"fo": references}
    if link:
        options = {"reference": options, "simplecache": {"cache_storage": str(tmp_path / "cache")}}

    def read() -> Any:
        return zarrds.open_array(f"{link}reference://", storage_options=options)[...]

    np.testing.assert_array_equal(read().ravel(), VALUES[:5, :12].reshape(2, 5, 6).transpose(1, 0, 2).ravel())
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UnsupportedError, match="pip install jinja2"):
        read()
    if not link:  # which has kept what it had
        del references["gen"]
        assert not read().any()


RUN = "{{ cycler.__init__.__globals__.os.mkdir(PATH) }}"


@pytest.mark.parametrize("part", ["gen", "templates", "refs", "chained", "compressed", "asked for"])
@pytest.mark.parametrize("release", ["2026.5.9", None])
def test_references_run_no_code(
    tmp_path: Path, part: str, release: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsspec renders what references say; before 2026.6 without a sandbox."""
    pytest.importorskip("jinja2", reason="fsspec renders by it")
    (tmp_path / "data").write_bytes(VALUES[:5, :12].tobytes())
    run, url = RUN.replace("PATH", repr(str(tmp_path / "made"))), str(tmp_path / "data")
    chunk = [f"{{{{u}}}}{run if part == 'refs' else ''}", 0, 120]
    references: dict[str, Any] = {"version": 1, "templates": {"u": url}, "refs": {".zarray": document(tmp_path)}}
    references["refs"] |= {"0.0": chunk, "0.1": chunk}
    if part == "templates":
        references["templates"]["v"] = run
    elif part != "refs":
        references["gen"] = [{"key": "0.{{i}}", "url": f"{url}{run}", "dimensions": {"i": {"stop": 1}}}]
    (tmp_path / "t2m.json").write_text(json.dumps(references))
    chained = f"reference://::file://{tmp_path / 't2m.json'}"

    def read(**options: Any) -> Any:
        return zarrds.open_array(chained if part == "chained" else "reference://", storage_options=options)[...]

    options: dict[str, Any] = {} if part == "chained" else {"fo": references}
    if part == "compressed":
        with gzip.open(tmp_path / "t2m.gz", "wt") as file:
            json.dump(references, file)
        options = {"fo": str(tmp_path / "t2m.gz"), "ref_storage_args": {"compression": "gzip"}}
    elif part == "asked for":
        options["simple_templates"] = True
    if release is not None:
        monkeypatch.setattr(defaults, "version", lambda package: release)
        if part != "refs":
            with pytest.raises(UnsupportedError, match="install --upgrade fsspec"):
                read(**options)
        else:
            with pytest.raises(StoreIOError, match="cannot open"):
                read(**options)
            references["refs"]["0.0"] = references["refs"]["0.1"] = ["{{u}}", 0, 120]  # what most have
            assert read(**options).any()
    elif part == "asked for":
        read(**options)  # what is to be made is left out
    else:
        with pytest.raises(StoreIOError, match=r"cannot open.*unsafe"):
            read(**options)
    assert not (tmp_path / "made").exists()

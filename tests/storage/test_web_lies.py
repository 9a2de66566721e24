"""Web servers that lie about what they send, or send without an end: bounded memory, and errors of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrds
from tests.storage.web_server import Handler, web
from zarrds.errors import ChunkError, MetadataError, StoreIOError
from zarrds.metadata import fields
from zarrds.storage.fsspec import defaults
from zarrds.storage.obstore import objects
from zarrds.storage.obstore.changes import committing
from zarrds.stores import as_store

pytest.importorskip("aiohttp", reason="fsspec's client of web servers")
pytest.importorskip("obstore", reason="the other client")

VALUES = np.arange(600, dtype="int32").reshape(20, 30)
FSSPEC = {"client_kwargs": {"trust_env": False}}  # an option that only its client has
ENOUGH = 64 * 2**20  # bytes; what sockets hold is sent too


class Lying(Handler):
    """Says of what it is told to that it is of another size, or sends it without an end."""

    lying = ""
    said = 0
    n_sent = 0

    def send_head(self):
        if not self.lying or not self.path.endswith(self.lying):
            return super().send_head()
        self.send_response(200)
        if self.said:
            self.send_header("Content-Length", str(self.said))
        self.end_headers()
        path = Path(self.translate_path(self.path))
        block = path.read_bytes() if path.is_file() else bytes(2**16)
        try:
            while self.command == "GET" and self.n_sent < 4 * ENOUGH:
                type(self).n_sent += self.wfile.write(block)
                block = bytes(2**16)
                if self.said >= 10**15:
                    break
        except OSError:
            pass
        self.close_connection = True
        return None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    options: dict[str, Any] = {"shape": VALUES.shape, "dtype": "int32", "chunks": (5, 6), "codecs": ["bytes"]}
    zarrds.create_array(tmp_path / "a.zarr", **options)[...] = VALUES
    return tmp_path


@pytest.mark.parametrize("options", [{}, FSSPEC], ids=["obstore", "fsspec"])
@pytest.mark.parametrize("said", [0, 10**12])
def test_of_a_document_without_an_end_no_more_is_read_than_counts(
    folder: Path, options: dict[str, Any], said: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fields, "MAX_DOCUMENT", 1000)
    monkeypatch.setattr(committing, "MAX_DOCUMENT", 1000)
    monkeypatch.setattr(objects, "_LARGE", 2**16)
    handler = type("_", (Lying,), {"lying": "zarr.json", "said": said})
    with web(handler, folder) as url, pytest.raises(MetadataError, match="too large"):
        zarrds.open_array(f"{url}/a.zarr", storage_options=options)
    assert handler.n_sent < ENOUGH


def test_parts_of_what_is_without_an_end_are_read_where_a_server_knows_no_ranges(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_LARGE", 2**16)
    whole = (folder / "a.zarr" / "c" / "1" / "1").read_bytes()
    for options in ({}, FSSPEC):
        handler = type("_", (Lying,), {"lying": "c/1/1", "said": 10**12})
        with web(handler, folder) as url:
            store = as_store(f"{url}/a.zarr", options)
            assert bytes(store.get_range("c/1/1", 20, 50) or b"") == whole[20:70]
        assert handler.n_sent < ENOUGH


def test_references_to_a_server_that_knows_no_ranges_are_read(folder: Path) -> None:
    document = (folder / "a.zarr" / "zarr.json").read_text()
    (folder / "all").write_bytes(b"".join((folder / f"a.zarr/c/{i}/{j}").read_bytes() for i in (0, 1) for j in (0, 1)))
    with web(Handler, folder) as url:
        keys = [f"c/{i}/{j}" for i in (0, 1) for j in (0, 1)]
        references = {"zarr.json": document} | {key: [f"{url}/all", n * 120, 120] for n, key in enumerate(keys)}
        array = zarrds.open_array("reference://", storage_options={"fo": references})
        np.testing.assert_array_equal(array[:10, :12], VALUES[:10, :12])


READ = """
import sys
import zarrds
try:
    zarrds.open_array(sys.argv[1])[0, 0]
except zarrds.errors.StoreIOError as error:
    print(error.errno)
"""


def test_no_room_is_made_for_what_is_only_said_to_come(folder: Path) -> None:
    """obstore would, and end the process."""
    options: dict[str, Any] = {"shape": (4, 4), "dtype": "int32", "chunks": (2, 2), "shards": (4, 4)}
    zarrds.create_array(folder / "b.zarr", **options, codecs=["bytes"])[...] = VALUES[:4, :4]
    with web(type("_", (Lying,), {"lying": "c/0/0", "said": 10**15}), folder) as url:
        done = subprocess.run([sys.executable, "-c", READ, f"{url}/b.zarr"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 0


@pytest.mark.parametrize("options", [{}, FSSPEC], ids=["obstore", "fsspec"])
def test_a_listing_without_an_end(folder: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "MAX_DOCUMENT", 1000)

    class Endless(Lying):
        lying = "/"

        def end_headers(self) -> None:
            if self.path.endswith("/"):
                self.send_header("Content-Type", "text/html")
            super().end_headers()

    with web(Endless, folder) as url, pytest.raises(StoreIOError, match="page of the web server is too large"):
        as_store(f"{url}/a.zarr", options).list_children()
    assert Endless.n_sent < ENOUGH


@pytest.mark.parametrize("options", [{}, FSSPEC], ids=["obstore", "fsspec"])
@pytest.mark.parametrize("said", [0, 10**12])
def test_a_chunk_without_an_end(folder: Path, options: dict[str, Any], said: int) -> None:
    handler = type("_", (Lying,), {"lying": "c/1/1", "said": said})
    with web(handler, folder) as url:
        array = zarrds.open_array(f"{url}/a.zarr", storage_options=options)
        np.testing.assert_array_equal(array[:5, :6], VALUES[:5, :6])
        with pytest.raises((ChunkError, StoreIOError)):
            array[5, 6]
    assert handler.n_sent < ENOUGH

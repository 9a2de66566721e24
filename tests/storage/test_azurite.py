"""Object storage as Azure has it, by Microsoft's own emulator: ``npm install azurite``."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.storage.other_clouds import append_side_by_side, check_conditions, check_life, kill_at_each
from zarrds.errors import StoreIOError
from zarrds.stores import as_store

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")
emulator = shutil.which("azurite-blob")
pytestmark = pytest.mark.skipif(emulator is None, reason="Azurite is not in the PATH: npm install azurite")

ACCOUNT, KEY = "zarrds", base64.b64encode(b"no secret but that of a test").decode()
URL = "az://bucket/t2m.zarr"


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("azurite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(emulator), "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with (folder / "log").open("wb") as log:
        accounts = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **accounts})
    try:
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        _wait_for(port, process, folder / "log")
        _make_container(endpoint, "bucket")
        named = {"AccountName": ACCOUNT, "AccountKey": KEY, "BlobEndpoint": endpoint}
        yield {"connection_string": ";".join(f"{name}={value}" for name, value in named.items())}
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
    pytest.fail(f"Azurite does not answer: {log.read_text()}")


def _make_container(endpoint: str, name: str) -> None:
    """obstore makes none; signed as "Authorize with Shared Key" of Azure's REST reference says."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    signed = "".join(f"{each}:{value}\n" for each, value in headers.items())
    text = "PUT" + "\n" * 12 + f"{signed}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}", "Content-Length": "0"}
    request = urllib.request.Request(f"{endpoint}/{name}?restype=container", method="PUT", headers=headers)
    urllib.request.urlopen(request).close()


def test_saved_changed_opened(options: dict[str, str]) -> None:
    check_life(URL, options)


def test_conditional_puts_and_odd_keys(options: dict[str, str]) -> None:
    check_conditions("az://bucket/odd", options)
    with pytest.raises(StoreIOError, match="no such bucket"):
        as_store("az://elsewhere/a.zarr", options).get("zarr.json")


@pytest.mark.usefixtures("_as_machines")
def test_no_append_is_lost(options: dict[str, str]) -> None:
    append_side_by_side("az://bucket/appended.zarr", options)


@pytest.mark.slow
@pytest.mark.usefixtures("_impatient")
def test_killed_at_each_request(options: dict[str, str]) -> None:
    kill_at_each("az://bucket/killed", options)

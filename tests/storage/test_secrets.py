"""No secret is shown: not by errors, whatever a server echoes, nor by paths, whatever a URL holds."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zarrds
from tests.storage.s3_server import Fault, S3Server, serving
from zarrds.errors import EncodingError, StoreIOError, UnsupportedError, ZarrdsError
from zarrds.storage.secrets import secrets_of, spellings, without_secrets
from zarrds.stores import as_store

obstore = pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

SECRET = "hush+hush/hush=="
KEY = "AKIAHUSHHUSH"
HUSHED = "hush" * 2  # no text of a file that a traceback shows
HUSH = ("hush+hush", "hush%2Bhush", KEY)


@pytest.fixture
def server(running: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3Server:
    """A server that echoes all that could be secret."""
    body = (
        f"<Error><Code>AccessDenied</Code><Message>{KEY} {SECRET} hush%2Bhush%2Fhush%3D%3D</Message></Error>".encode()
    )
    running.state.fault = lambda method, key: Fault(403, body=body)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return running


def everything_shown(error: BaseException) -> str:
    own = "" if error.__suppress_context__ else repr(error.__context__)
    return "".join(traceback.format_exception(error)) + own + repr(error.__cause__)


def environment(server: S3Server, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return as_store("s3://bucket/a.zarr", {"endpoint_url": server.url})


def token(server: S3Server, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    options = {"key": KEY, "secret": "anothersecret", "token": SECRET, "endpoint_url": server.url}
    return as_store("s3://bucket/a.zarr", options)


def files(server: S3Server, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    (folder / "credentials").write_text(f"[lab]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    return as_store("s3://bucket/a.zarr", {"profile": "lab", "endpoint_url": server.url})


def headers(server: S3Server, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    return as_store(f"{server.url}/bucket/a.zarr", {"headers": {"x-api": SECRET, "x-more": f"Bearer {KEY}"}})


def default_headers(server: S3Server, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    options = {"default_headers": {"x-api": SECRET, "x-more": KEY}, "allow_http": True}
    return as_store(f"{server.url}/bucket/a.zarr", {"client_options": options})


def given(server: S3Server, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    made = obstore.store.S3Store(
        "bucket",
        endpoint=server.url,
        access_key_id=KEY,
        secret_access_key=SECRET,
        client_options={"allow_http": True},
    )
    return as_store(made)


def given_web(server: S3Server, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Any:
    url = f"{server.url.replace('//', f'//{KEY}:hush%2Bhush%2Fhush%3D%3D@')}/bucket/x?sig={SECRET}"
    return as_store(obstore.store.HTTPStore(url, client_options={"allow_http": True}))


@pytest.mark.parametrize("make", [environment, token, files, headers, default_headers, given, given_web])
def test_of_what_a_server_echoes(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: Callable[..., Any]
) -> None:
    store = make(server, monkeypatch, tmp_path)
    shown = [repr(store), store.path, repr(store.__dict__), store.token]
    for act in (
        lambda: store.get("zarr.json"),
        lambda: store.identity("zarr.json"),
        lambda: store.get_range("c/0", 0, 5),
        lambda: store.get_spans("c/0", [(0, 5)]),
        lambda: list(store.list_prefix()),
        lambda: store.list_children(),
        lambda: store.set("c/0", b"x"),
        lambda: store.delete("c/0"),
    ):
        with pytest.raises(ZarrdsError) as caught:
            act()
        shown.append(everything_shown(caught.value))
        assert "obstore" not in type(caught.value.__context__).__module__
    assert not [text for text in shown if any(each in text for each in HUSH)]


@pytest.mark.parametrize("make", [given, given_web])
def test_of_stores_of_zarr_python(
    server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: Callable[..., Any]
) -> None:
    storage = pytest.importorskip("zarr.storage", reason="stores of zarr-python")
    made = make(server, monkeypatch, tmp_path)._own._given
    store = as_store(storage.LoggingStore(storage.ObjectStore(made, read_only=True), log_level="ERROR"))
    shown = [repr(store), store.path]
    for act in (lambda: store.get("zarr.json"), lambda: store.identity("a"), lambda: list(store.list_prefix())):
        with pytest.raises(ZarrdsError) as caught:
            act()
        shown.append(everything_shown(caught.value))
    assert not [text for text in shown if any(each in text for each in HUSH)]


def test_the_endpoint_with_a_password() -> None:
    options = {"endpoint_url": "http://me:hushhush@127.0.0.1:1", "retry_config": {"max_retries": 0}, "anon": True}
    with pytest.raises(StoreIOError) as caught:
        as_store("s3://bucket/a.zarr", options).get("zarr.json")
    assert "hushhush" not in everything_shown(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("az://c/x?sig=hush", "az://c/x"),
        ("s3://key:hush@b/x", "s3://b/x"),
        ("s3://key:hu/hush@b/x", "s3://b/x"),
        ("s3://b/x?X-Amz-Signature=hush", "s3://b/x"),
        ("gs://me@b/x", "gs://b/x"),
        ("abfs://me:hush@c/x", "abfs://c/x"),
        ("http://me:hu/hush@h/x", "http://h/x"),
        ("http://me:hush@h/x?token=hush", "http://h/x"),
    ],
)
def test_urls_that_hold_secrets_are_refused_or_shown_without(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    with pytest.raises(EncodingError) as caught:
        as_store(url, {"account_name": "a"} if url.startswith(("az", "abfs")) else {"anon": True})
    assert "hush" not in everything_shown(caught.value)


def test_names_that_are_no_secrets() -> None:
    for url in (
        "abfs://container@account.dfs.core.windows.net/x",
        "s3://b/what?.zarr",
        "s3://b/a@b.zarr",
        "http://h:80/a@b",
        "memory://a@b?c=d",
        "github://org:repo@main/x",
    ):
        assert without_secrets(url) == url
    assert without_secrets("simplecache::s3://k:hush@b/x?sig=hush") == "simplecache::s3://b/x"
    store = as_store("abfs://c@acc.dfs.core.windows.net/a", {"anon": True})
    assert store.path == "abfs://c@acc.dfs.core.windows.net/a"


def test_short_secrets_guard_nothing() -> None:
    with serving() as server:
        store = as_store("s3://elsewhere/a.zarr", {**server.options, "token": "t"})
        with pytest.raises(StoreIOError, match=r"there is no such bucket.*elsewhere"):
            store.get("zarr.json")
    assert spellings({"t", "secret"}) == ("secret",)


def test_what_is_secret_in_options() -> None:
    options = {
        "token": {"private_key": "-----BEGIN-----\nabcdef", "token_uri": "https://oauth2.example"},
        "sas_token": "?sv=2020&sig=abc%2Fdef",
        "connection_string": "AccountName=lab;AccountKey=keykeykey==",
        "client_kwargs": {"aws_secret_access_key": "verysecret", "region_name": "eu-west-1"},
        "headers": {"Authorization": "Bearer bearer1"},
        "auth": ("me", "password"),
        "credentials_file": "/home/me/key.json",
        "anon": True,
    }
    found = spellings(secrets_of(options))
    for secret in ("abc%2Fdef", "abc/def", "keykeykey==", "verysecret", "bearer1", "password"):
        assert secret in found
    assert json.dumps("-----BEGIN-----\nabcdef")[1:-1] in found
    assert not {"eu-west-1", "/home/me/key.json", "https://oauth2.example"} & {*found}


@pytest.mark.parametrize("start", ["zip://a::http", "simplecache::http", "http"])
def test_of_urls_that_fsspec_opens(start: str) -> None:
    pytest.importorskip("aiohttp", reason="fsspec's client of web servers")
    options = {"client_kwargs": {"trust_env": False}} if start == "http" else {}  # of which obstore has nothing like
    with pytest.raises(ZarrdsError) as caught:
        as_store(f"{start}://me:{HUSHED}@127.0.0.1:1/a.zip", options).get("a")
    assert HUSHED not in everything_shown(caught.value)


def test_of_urls_where_a_file_is_to_be_made() -> None:
    store = zarrds.MemoryStore()
    zarrds.create_group(store)
    url = f"https://me:{HUSHED}@host/a?sig={HUSHED}"
    for make in (zarrds.export, zarrds.report):
        with pytest.raises(UnsupportedError, match="made on this machine alone") as caught:
            make(store, url)
        assert HUSHED not in everything_shown(caught.value)

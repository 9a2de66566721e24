"""What goes wrong with stores by URL, and how it is said."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import Fault, S3Server, serving
from tests.storage.web_server import Handler, Server, web
from zarrds.errors import (
    ConflictError,
    EncodingError,
    ReadOnlyError,
    StoreExistsError,
    StoreIOError,
    UnsupportedError,
    ZarrdsError,
)
from zarrds.storage.obstore.failures import failure
from zarrds.storage.obstore.places import for_fsspec
from zarrds.storage.obstore.store import ObjectStore
from zarrds.stores import as_store

obstore = pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

PROJECT = Path(__file__).resolve().parents[2]
DATA = xr.Dataset({"t2m": ("x", np.arange(4.0))}, {"x": np.arange(4)})


def given(server: S3Server, bucket: str = "bucket", **more: Any) -> Any:
    options = {"client_options": {"allow_http": True}, "access_key_id": "AKIATEST", "secret_access_key": "verysecret"}
    return obstore.store.S3Store(bucket, **{"endpoint": server.url, **options, **more})


# forks


@pytest.mark.skipif(not hasattr(sys.modules["os"], "fork"), reason="there are no forks here")
@pytest.mark.parametrize("kind", ["store object", "memory", "client_options", "region and retries"])
def test_a_forked_process_writes_nowhere_else(server: S3Server, tmp_path: Path, kind: str) -> None:
    """Or to the right place: never to a local folder that is called as the store object is shown."""
    pytest.importorskip("s3fs", reason="what the options are translated for")
    code = f"""
import os, sys, warnings
import obstore.store
from zarrds.errors import UnsupportedError
from zarrds.stores import as_store
kind, options = {kind!r}, {server.options!r}
if kind == "store object":
    store = as_store(obstore.store.S3Store("bucket", endpoint={server.url!r}, access_key_id="AKIATEST",
        secret_access_key="verysecret", client_options={{"allow_http": True}}))
elif kind == "memory":
    store = as_store(obstore.store.MemoryStore())
elif kind == "client_options":
    store = as_store("s3://bucket/a.zarr", options | {{"client_options": {{"proxy_url": "http://127.0.0.1:1"}}}})
else:
    more = {{"region": "eu-west-1", "retry_config": {{"max_retries": 1}}}}
    store = as_store("s3://bucket/a.zarr", options | more)
    store.set("k", b"v")
if not os.fork():
    try:
        store.set("l", b"w")
        assert kind == "region and retries" and bytes(store.get("k")) == b"v"
    except UnsupportedError as error:
        assert kind != "region and retries" and "fork" in str(error), error
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    environment = {**sys.modules["os"].environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.iterdir()) == []


def test_options_of_obstore_in_fsspecs_words() -> None:
    headers = {"client_options": {"default_headers": {"a": "b"}, "timeout": "3s"}, "retry_config": {}}
    assert for_fsspec("https://h/a", headers) == {"headers": {"a": "b"}}
    region = {"region": "eu", "client_kwargs": {"verify": True}}
    assert for_fsspec("s3://b/a", region) == {"client_kwargs": {"region_name": "eu", "verify": True}}
    assert for_fsspec("sftp://h/a", {"region": "eu"}) == {"region": "eu"}
    with pytest.raises(UnsupportedError, match="allow_invalid_certificates"):
        for_fsspec("s3://b/a", {"client_options": {"allow_invalid_certificates": True}})


# store objects


def test_store_objects_are_equal_as_they_are_themselves(server: S3Server) -> None:
    with serving() as elsewhere:
        one, same, other = (as_store(given(each)) for each in (server, server, elsewhere))
        assert (one == same, hash(one) == hash(same), one.token == same.token) == (True,) * 3
        assert (one == other, one.token == other.token) == (False, False)
        zarrds.save(DATA, one)
        zarrds.copy(one, other)
        # locks are those of the name, as of URLs: elsewhere it may be another name of the same server
        with other.lock("a"), one.lock("a"):
            assert one._locks is same._locks is other._locks
        xr.testing.assert_identical(xr.open_dataset(other, engine="zarrds").load(), DATA)
        url = [as_store("s3://bucket", each.options | {"key": "AKIAOTHER"}) for each in (server, elsewhere)]
        zarrds.copy(url[0], url[1], mode="w")
        for inside in (given(server), given(server, prefix="b"), url[0]):
            with pytest.raises(StoreExistsError):
                zarrds.copy(one, inside, mode="w")
    one, other = as_store(obstore.store.MemoryStore()), as_store(obstore.store.MemoryStore())
    assert one != other
    assert one.token != other.token


def test_store_objects_are_compared(server: S3Server) -> None:
    zarrds.save(DATA, given(server))
    assert zarrds.diff(given(server), given(server)).same


def test_memory_cannot_be_pickled() -> None:
    import pickle

    store = obstore.store.MemoryStore()
    zarrds.save(DATA, store)
    with pytest.raises(UnsupportedError, match="cannot be pickled"):
        pickle.dumps(xr.open_dataset(store, engine="zarrds"))


# web servers


class Fallback(Handler):
    """As many servers of pages are: what is absent, or a folder, is answered by a page with links."""

    page = b'<html><a href="home/">home</a> <a href="help.html">help</a></html>'

    def send_head(self) -> Any:
        path = Path(self.translate_path(self.path))
        if path.is_file():
            return super().send_head()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(self.page)
        return None


class WithoutDots(Handler):
    """As nginx and Apache do: names that begin with a dot are not shown."""

    def list_directory(self, path: Any) -> Any:
        names = [name.name + "/" * name.is_dir() for name in sorted(Path(path).iterdir()) if name.name[0] != "."]
        page = "".join(f'<a href="{name}">{name}</a>\n' for name in names).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)
        return None


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_page_of_links_is_no_listing(tmp_path: Path, zarr_format: int) -> None:
    pytest.importorskip("aiohttp", reason="listings are read with it")
    group = zarrds.create_group(tmp_path / "a.zarr", zarr_format=zarr_format)
    group.create_array("t2m", shape=4, dtype="f8", chunks=2)[...] = np.arange(4.0)
    (tmp_path / "a.zarr" / ".zmetadata").unlink(missing_ok=True)
    with web(Fallback, tmp_path) as url:
        for act in (
            lambda: xr.open_dataset(f"{url}/a.zarr", engine="zarrds", consolidated=False),
            lambda: zarrds.verify(f"{url}/a.zarr"),
            lambda: sorted(zarrds.open_group(f"{url}/a.zarr")),
        ):
            with pytest.raises(ZarrdsError):
                act()
        for name in ("", "t2m", "t2m/c"):
            with pytest.raises(StoreIOError, match="does not show what it has"):
                as_store(f"{url}/a.zarr").list_children(name)
            with pytest.raises(StoreIOError, match="does not show what it has"):
                list(as_store(f"{url}/a.zarr").list_prefix(name))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_listings_are_believed(tmp_path: Path, zarr_format: int) -> None:
    pytest.importorskip("aiohttp", reason="listings are read with it")
    zarrds.save(xr.DataTree.from_dict({"/": DATA, "/g": DATA}), tmp_path / "a.zarr", zarr_format=zarr_format)
    local = as_store(str(tmp_path / "a.zarr"))
    with web(Handler, tmp_path) as url:
        store = as_store(f"{url}/a.zarr")
        for name in ("", "g", "g/t2m"):
            assert store.list_children(name) == local.list_children(name)
            assert sorted(store.list_prefix(name)) == sorted(local.list_prefix(name))
    with web(WithoutDots, tmp_path) as url:
        store = as_store(f"{url}/a.zarr")
        assert store.list_children("") == local.list_children("")
        if zarr_format == 2:  # a listing without the documents would make a store without arrays
            with pytest.raises(StoreIOError, match="does not show what it has"):
                list(store.list_prefix(""))


def test_a_new_store_on_a_web_server_is_refused_as_writing_is(tmp_path: Path) -> None:
    zarrds.save(DATA, tmp_path / "a.zarr")
    with web(Handler, tmp_path) as url:
        for act in (
            lambda: zarrds.save(DATA, f"{url}/new.zarr"),
            lambda: zarrds.save(DATA, f"{url}/a.zarr", mode="w"),
            lambda: zarrds.copy(tmp_path / "a.zarr", f"{url}/new.zarr"),
        ):
            with pytest.raises(ReadOnlyError, match="can only be read"):
                act()
    assert os.listdir(tmp_path) == ["a.zarr"]


def test_listings_of_a_web_server_that_was_given_as_an_object(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="listings are read with it")
    zarrds.save(DATA, tmp_path / "a.zarr")
    with web(Handler, tmp_path) as url:
        store = obstore.store.HTTPStore(f"{url}/a.zarr", client_options={"allow_http": True})
        xr.testing.assert_identical(xr.open_dataset(store, engine="zarrds", consolidated=False).load(), DATA)


class WithoutHead(Handler):
    """As some servers are: they do not answer to HEAD."""

    def do_HEAD(self) -> None:  # noqa: N802  # a name of http.server
        self.send_error(501)


def test_a_server_that_knows_no_head_is_read(tmp_path: Path) -> None:
    zarrds.save(DATA, tmp_path / "a.zarr")
    with web(WithoutHead, tmp_path) as url:
        options = {"retry_config": {"max_retries": 0}}
        ds = xr.open_dataset(f"{url}/a.zarr", engine="zarrds", storage_options=options, cache=False)
        xr.testing.assert_identical(ds.load(), DATA)
        ds = xr.open_dataset(f"{url}/a.zarr", engine="zarrds", storage_options=options, cache=False)
        zarrds.save(DATA + 1, tmp_path / "a.zarr", mode="w")
        for file in (tmp_path / "a.zarr").rglob("zarr.json"):  # this server tells seconds
            os.utime(file, (1_795_000_000, 1_795_000_000))
        with pytest.raises(ConflictError):
            ds.load()


# options and URLs


@pytest.mark.parametrize(
    "options",
    [
        {"client_kwargs": "hushhush"},
        {"client_kwargs": ["hushhush"]},
        {"s3_additional_kwargs": "hushhush"},
        {"client_options": "hushhush"},
        {"client_options": {"default_headers": "hushhush"}},
        {"client_options": {"timeout": ["hushhush"]}},
        {"config_kwargs": {"s3": "hushhush"}},
        {"config_kwargs": {"read_timeout": "hushhush"}},
        {"config_kwargs": ["hushhush"]},
        {"retry_config": "hushhush"},
        {"retry_config": {"max_retries": "hushhush"}},
        {"retry_config": {"retries": 3}},
        {"profile": ["hushhush"]},
        {1: "hushhush"},
        "hushhush",
        {"key": ["hushhush"], "secret": 5},
        {"endpoint_url": "hushhush:9000"},
        {"endpoint_url": 9},
    ],
    ids=str,
)
def test_options_of_wrong_types(options: dict[str, Any]) -> None:
    with pytest.raises(EncodingError) as caught:
        xr.open_dataset("s3://bucket/a.zarr", engine="zarrds", storage_options=options)
    assert "hushhush" not in str(caught.value)
    assert caught.value.path in ("s3://bucket/a.zarr", None)


def test_headers_of_wrong_types() -> None:
    for options in (
        {"headers": "hushhush"},
        {"headers": {1: "hushhush"}},
        {"client_kwargs": {"headers": ["hushhush"]}},
    ):
        with pytest.raises(EncodingError) as caught:
            as_store("http://127.0.0.1:1/a.zarr", options)
        assert "hushhush" not in str(caught.value)


@pytest.mark.parametrize("more", [{}, {"retry_config": {"max_retries": 1}}, {"region": "eu-west-1"}])
def test_an_unknown_option_is_named(server: S3Server, more: dict[str, Any]) -> None:
    pytest.importorskip("s3fs", reason="which is asked for options that obstore has nothing like")
    with pytest.raises(EncodingError, match="foo"):
        xr.open_dataset("s3://bucket/a.zarr", engine="zarrds", storage_options=server.options | more | {"foo": 1})


@pytest.mark.parametrize(
    "url",
    [
        "s3://b/a//x.zarr",
        "s3://b//x.zarr",
        "gs://b/p/../q",
        "az://c/./q",
        "http://h/a#b.zarr",
        "s3://a b/x.zarr",
        "s3://b\0/x.zarr",
        "http:///x.zarr",
        "https://",
    ],
)
def test_urls_that_no_store_can_have(url: str) -> None:
    with pytest.raises(EncodingError, match="the URL") as caught:
        as_store(url, {})
    assert "variable" not in str(caught.value)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_that_is_no_url(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, "127.0.0.1:9000")
    with pytest.raises(EncodingError, match=name):
        as_store("s3://bucket/a.zarr", {"anon": True})
    assert "panicked" not in capfd.readouterr().err


def test_addresses_in_brackets_are_no_chains(tmp_path: Path) -> None:
    zarrds.save(DATA, tmp_path / "a.zarr")

    class Server6(Server):
        address_family = socket.AF_INET6

    try:
        server = Server6(("::1", 0), functools.partial(Handler, directory=str(tmp_path)))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://[::1]:{server.server_address[1]}/a.zarr"
        try:
            xr.testing.assert_identical(xr.open_dataset(url, engine="zarrds").load(), DATA)
        finally:
            server.shutdown()
            thread.join()


# what servers say


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (400, "ExpiredToken", "the credentials have expired"),
        (403, "SignatureDoesNotMatch", "SignatureDoesNotMatch"),
        (403, "RequestTimeTooSkewed", "the clock of this machine is wrong"),
        (400, "AuthorizationHeaderMalformed", "AuthorizationHeaderMalformed"),
    ],
)
def test_what_amazon_says_in_its_second_line(server: S3Server, status: int, code: str, said: str) -> None:
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>Look &amp; see</Message></Error>'
    )
    server.state.fault = lambda method, key: Fault(status, body=text.encode())
    store = as_store("s3://bucket/a.zarr", server.options)
    acts = [lambda: store.get("zarr.json"), lambda: store.get_range("c/0", 0, 5)]
    acts.append(lambda: store.identity("zarr.json"))  # by a HEAD, whose answer has no lines at all
    for act in acts:
        with pytest.raises(StoreIOError, match=said) as caught:
            act()
        assert f"{code}: Look & see" in str(caught.value)
        assert "<" not in str(caught.value)


def test_a_missing_bucket_is_told_to_who_saves(server: S3Server) -> None:
    with pytest.raises(StoreIOError, match=r"there is no such bucket.*elsewhere"):
        zarrds.save(DATA, "s3://elsewhere/a.zarr", storage_options=server.options)
    with pytest.raises(StoreIOError, match="there is no such bucket"):
        list(as_store("s3://elsewhere/a.zarr", server.options).list_prefix())


@pytest.mark.usefixtures("_impatient")
def test_conflicts_name_the_store(server: S3Server) -> None:
    zarrds.save(DATA, "s3://bucket/a.zarr", storage_options=server.options)
    marker = b'{"owner": "another", "folder": ".ab.zarrds-partial", "steps": []}'
    put = server.state.values.__setitem__

    def begin(method: str, key: str) -> Fault | None:
        if method == "PUT" and key.endswith(".commit.zarrds-partial") and key not in server.state.values:
            put(key, (marker, '"other"', 0.0))
        return None

    server.state.fault = begin
    with pytest.raises(ConflictError, match=r"in store 's3://bucket/a.zarr'"):
        zarrds.update_attrs("s3://bucket/a.zarr", {"a": 1}, storage_options=server.options)


def test_a_reader_looks_twice(server: S3Server) -> None:
    """As below: a store that is being replaced is there."""
    zarrds.save(DATA, "s3://bucket/a.zarr", storage_options=server.options)
    looks = iter([Fault(404)])
    server.state.fault = lambda method, key: next(looks, None) if key == "a.zarr/zarr.json" else None
    found = xr.open_dataset("s3://bucket/a.zarr", engine="zarrds", storage_options=server.options)
    xr.testing.assert_identical(found.load(), DATA)


@pytest.mark.parametrize("mode", ["w", "w-"])
def test_a_store_that_is_being_replaced_is_not_to_be_emptied(server: S3Server, mode: Any) -> None:
    """The root's document is away for an instant: whoever looks twice then is told to try again, and not to delete."""
    zarrds.save(DATA, "s3://bucket/a.zarr", storage_options=server.options)
    looks = iter([Fault(404)] * 2)

    def away(method: str, key: str) -> Fault | None:
        return next(looks, None) if key == "a.zarr/zarr.json" else None

    server.state.fault = away
    with pytest.raises(ConflictError, match="Try again"):
        zarrds.save(DATA + 1, "s3://bucket/a.zarr", mode=mode, storage_options=server.options)
    zarrds.save(DATA + 1, "s3://bucket/a.zarr", mode="w", storage_options=server.options)


def test_a_machine_without_credentials_is_not_denied() -> None:
    class PermissionDeniedError(Exception):
        """As obstore's."""

    refused = PermissionDeniedError("Error performing PUT http://169.254.169.254/latest/api/token: status code: 403")
    assert "no credentials found" in str(failure(refused, "read", ()))


def test_equality_with_stores_of_other_kinds(server: S3Server) -> None:
    assert as_store(given(server)) != zarrds.MemoryStore()
    assert isinstance(as_store(given(server)), ObjectStore)

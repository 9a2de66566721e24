"""Connections to object storage: which are kept, and which are never mixed up."""

from __future__ import annotations

import os
from collections import UserDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage.s3_server import Fault, S3Server, serving
from tests.storage.s3_writers import URL, options, save
from zarrds.errors import EncodingError, StoreIOError
from zarrds.metadata.nodes.locking import locked
from zarrds.storage.held import HeldChanges
from zarrds.storage.memory import MemoryStore
from zarrds.storage.obstore import connections
from zarrds.storage.traits import is_held
from zarrds.stores import as_store

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

TOLD = {"endpoint_url": "http://127.0.0.1:9", "key": "AKIATEST", "secret": "verysecretvalue"}


@pytest.fixture(autouse=True)
def _none_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_kept", {})


def connection(url: str = "s3://bucket/a.zarr", **more: Any) -> object:
    store: Any = as_store(url, {**TOLD, **more})
    return store._objects._connection


def test_the_like_shares_one() -> None:
    assert connection() is connection()
    assert connection("s3a://bucket/a.zarr/") is connection()


def test_all_stores_of_a_bucket_share_one() -> None:
    assert connection("s3://bucket/b.zarr") is connection()
    assert connection("s3://bucket") is connection("s3://bucket/folder/a b%20é.zarr")


def test_stores_that_share_one_see_nothing_of_each_other(server: S3Server) -> None:
    """Also where the name of one begins with that of the other; the keys are those that they would have alone."""
    told = options(server)
    urls = [f"s3://bucket/{name}" for name in ("a.zarr", "a.zarr2", "folder/a b%20é.zarr")]
    for number, url in enumerate(urls):
        zarrds.save(xr.Dataset({"v": ("x", np.full(3, number))}), url, storage_options=told)
        zarrds.update_attrs(url, {"n": number}, storage_options=told)
    for number, url in enumerate(urls):
        store: Any = as_store(url, told)
        keys = {f"{url.removeprefix('s3://bucket/')}/{key}" for key in store.list_prefix()}
        assert keys == {key for key in server.state.values if key.startswith(url.removeprefix("s3://bucket/") + "/")}
        found = xr.open_dataset(url, engine="zarrds", storage_options=told)
        assert (found.attrs["n"], found.v.values.tolist()) == (number, [number] * 3)


def test_what_was_seen_under_a_lock_is_of_one_server(server: S3Server) -> None:
    """The same URL is another store elsewhere, also where one is read while the other is changed."""
    save(server)
    with serving() as other:
        save(other)
        zarrds.update_attrs(URL, {"n": 7}, storage_options=options(other))
        store = as_store(URL, options(server))
        with locked(store):
            assert xr.open_dataset(URL, engine="zarrds", storage_options=options(server)).attrs == {"n": 1}
            assert xr.open_dataset(URL, engine="zarrds", storage_options=options(other)).attrs == {"n": 7}


def test_all_that_reach_the_same_objects_share_their_locks() -> None:
    """Else what one thread has begun would be taken for what this process has left behind."""
    from obstore.store import S3Store

    told = [{"access_key_id": f"AKIA{n}", "secret_access_key": "verysecretvalue"} for n in range(2)]
    made = [as_store(S3Store("bucket", prefix="a.zarr", **each)) for each in told]  # type: ignore[arg-type]  # its options are typed one by one
    made += [as_store("s3://bucket/a.zarr/", {**TOLD, "key": f"AKIA{n}"}) for n in range(2)]
    other = as_store(S3Store("bucket", prefix="a.zarr2", **told[0]))  # type: ignore[arg-type]  # its options are typed one by one
    with made[0].lock():
        locks = {id(each._locks) for each in made}  # type: ignore[attr-defined]  # of stores with locks
        assert len(locks) == 1
        assert id(other._locks) not in locks  # type: ignore[attr-defined]  # of stores with locks


def test_a_name_that_there_cannot_be_is_told_at_once() -> None:
    with pytest.raises(EncodingError, match="control character"):
        as_store("s3://bucket/a\x01.zarr", TOLD)


class _Leaving(UserDict[str, str]):
    """An environment of which another thread takes a variable away while it is read."""

    def __iter__(self) -> Iterator[str]:
        yield from [*self.data, "AWS_GONE"]


def test_the_environment_changes_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", _Leaving(os.environ))
    assert connection() is connection()


@pytest.mark.parametrize(
    "more",
    [
        {"key": "AKIAOTHER"},
        {"secret": "othersecretvalue"},
        {"token": "sometoken"},
        {"endpoint_url": "http://127.0.0.1:10"},
        {"anon": True},
        {"region": "eu-west-1"},
        {"retry_config": {"max_retries": 1}},
        {"client_options": {"default_headers": {"x": "1"}}},
        {"config_kwargs": {"read_timeout": 1}},
        {"s3_additional_kwargs": {"ServerSideEncryption": "AES256"}},
        {"requester_pays": True},
    ],
    ids=lambda more: next(iter(more)),
)
def test_other_options_have_another(more: dict[str, Any]) -> None:
    assert connection(**more) is not connection()


def test_other_places_have_another() -> None:
    assert connection("s3://other/a.zarr") is not connection()
    assert connection("gs://bucket/a.zarr", endpoint_url=None, key=None, secret=None, anon=True) is not connection()


def test_another_environment_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    first = connection()
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:11")
    assert connection() is not first
    monkeypatch.delenv("HTTPS_PROXY")
    assert connection() is first


def test_files_of_credentials_are_read_each_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    told = {"endpoint_url": TOLD["endpoint_url"], "profile": "me"}
    found = []
    for key in ("AKIAONE", "AKIATWO", "AKIATWO"):
        (tmp_path / "credentials").write_text(f"[me]\naws_access_key_id = {key}\naws_secret_access_key = hush\n")
        store: Any = as_store("s3://bucket/a.zarr", told)
        found.append(store._objects._connection)
    assert found[0] is not found[1]
    assert found[1] is found[2]


def test_not_for_long_and_not_many(monkeypatch: pytest.MonkeyPatch) -> None:
    first = connection()
    for number in range(connections._MOST_KEPT):
        connection(f"s3://bucket{number}/a.zarr")
    assert len(connections._kept) == connections._MOST_KEPT
    assert connection() is not first
    again = connection()
    monkeypatch.setattr(connections, "_KEPT_SECONDS", -1.0)
    assert connection() is not again


def test_secrets_of_one_that_is_shared_are_not_shown(server: S3Server) -> None:
    """Each who takes it adds what must not be shown of its own options."""
    told = options(server)
    save(server)
    xr.open_dataset(URL, engine="zarrds", storage_options=told)
    assert "verysecretvalue" not in repr(list(connections._kept.values()))
    server.state.fault = lambda _method, _key: Fault(
        400, body=b"<Error><Code>X</Code><Message>verysecretvalue</Message></Error>"
    )
    with pytest.raises(StoreIOError) as told_error:
        xr.open_dataset(URL, engine="zarrds", storage_options=told)
    assert "verysecretvalue" not in str(told_error.value)


def test_a_server_that_comes_back(server: S3Server) -> None:
    """Connections that a server has closed meanwhile are made anew, also for puts that are not repeated."""
    save(server)
    for number in range(3):
        server.drop_connections()
        zarrds.update_attrs(URL, {"n": number}, storage_options=options(server))
    assert xr.open_dataset(URL, engine="zarrds", storage_options=options(server)).attrs["n"] == 2


def test_what_is_held_is_not_waited_for() -> None:
    held = HeldChanges(MemoryStore(), 100)
    assert is_held(held, 100)
    assert not is_held(held, 101)
    held.set("a", bytes(60))
    assert not is_held(held, 41)
    held.set("b", bytes(60))
    assert not is_held(held, 1)
    assert not is_held(MemoryStore(), 1)
    np.testing.assert_equal(bytes(held.get("a") or b""), bytes(60))

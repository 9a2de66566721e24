"""Stores in object storage, on a server of the tests' own that counts what it is asked."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import zarrds
from tests.storage import s3_server
from tests.storage.s3_server import Fault, S3Server
from tests.storage.web_server import Handler, web
from zarrds.errors import ReleaseError, StoreIOError, StoreNotFoundError, UnsupportedError, ZarrdsError
from zarrds.storage.obstore import connections
from zarrds.storage.obstore.places import UntranslatableError, place_of
from zarrds.storage.secrets import without_secrets
from zarrds.stores import as_store

pytest.importorskip("obstore", reason="object storage needs the extra 'remote'")

PROJECT = Path(__file__).resolve().parents[2]
SECRET = "verysecretvalue"


def sample() -> xr.Dataset:
    times = np.arange("2019-01-01", "2019-01-21", dtype="datetime64[D]").astype("datetime64[ns]")
    return xr.Dataset(
        {"t2m": (("time", "y"), np.arange(100.0).reshape(20, 5)), "name": ("y", list("abcde"))},
        {"time": times, "y": np.arange(5), "height": ("time", np.arange(20.0))},
        {"title": "remote"},
    )


def upload(server: S3Server, folder: Path, prefix: str) -> None:
    """Put a local store there, without asking the server."""
    for path in folder.rglob("*"):
        if path.is_file():
            server.state.values[f"{prefix}/{path.relative_to(folder).as_posix()}"] = (
                path.read_bytes(),
                f'"{path.stat().st_mtime_ns}"',
                path.stat().st_mtime,
            )


def opened(server: S3Server, name: str = "t2m.zarr", **options: object) -> xr.Dataset:
    server.state.requests.clear()
    return xr.open_dataset(f"s3://bucket/{name}", engine="zarrds", storage_options=server.options, **options)


# what is asked for


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_opening_takes_one_look_at_the_root_and_one_at_the_labels(
    server: S3Server, tmp_path: Path, zarr_format: int
) -> None:
    zarrds.save(sample(), tmp_path / "a", zarr_format=zarr_format, encoding={"t2m": {"chunks": (1, 5)}})
    upload(server, tmp_path / "a", "t2m.zarr")
    ds = opened(server)
    asked = [key.removeprefix("t2m.zarr/") for _, key in server.state.requests]
    roots = ["zarr.json", ".commit.zarrds-partial"]
    roots += [".zmetadata", ".zarray", ".zgroup", ".zattrs"] if zarr_format == 2 else []
    labels = {"time", "y"}
    assert sorted(asked[: len(roots)]) == sorted(roots)
    assert {key.partition("/")[0] for key in asked[len(roots) :]} == labels
    assert len(asked) == len(roots) + len(labels)
    with xr.open_dataset(tmp_path / "a", engine="zarrds") as expected:
        xr.testing.assert_identical(ds.load(), expected.load())
    # all chunks, and one look whether the root's document has changed meanwhile
    assert len(server.state.requests) == len(asked) + 20 + 2 + 1
    assert ds.encoding["source"] == "s3://bucket/t2m.zarr"


def test_a_tree_is_opened_as_quickly(server: S3Server, tmp_path: Path) -> None:
    tree = xr.DataTree.from_dict({f"/g{i}": sample() for i in range(4)})
    zarrds.save(tree, tmp_path / "a")
    upload(server, tmp_path / "a", "tree.zarr")
    server.state.requests.clear()
    found = xr.open_datatree("s3://bucket/tree.zarr", engine="zarrds", storage_options=server.options)
    assert len(server.state.requests) == 2 + 4 * 2
    xr.testing.assert_identical(found.load(), tree)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_unconsolidated_stores_are_listed_once(server: S3Server, tmp_path: Path, zarr_format: int) -> None:
    zarrds.save(sample(), tmp_path / "a", zarr_format=zarr_format)
    upload(server, tmp_path / "a", "t2m.zarr")
    server.state.values.pop("t2m.zarr/.zmetadata", None)
    server.state.most_at_once, server.state.latency = 0, 0.02
    try:
        ds = opened(server, consolidated=False)
    finally:
        server.state.latency = 0.0
    assert server.state.counts()["LIST"] == 1
    assert server.state.counts()["HEAD"] == 0
    assert server.state.most_at_once > 5
    xr.testing.assert_identical(ds.load(), sample())


def test_variables_are_loaded_side_by_side(server: S3Server, tmp_path: Path) -> None:
    many = xr.Dataset({f"v{i}": ("x", np.full(3, i)) for i in range(20)})
    zarrds.save(many, tmp_path / "a")
    upload(server, tmp_path / "a", "many.zarr")
    ds = opened(server, "many.zarr")
    server.state.requests.clear()
    server.state.most_at_once, server.state.latency = 0, 0.1
    try:
        loaded = ds.isel(x=slice(1, None)).load()
    finally:
        server.state.latency = 0.0
    assert server.state.counts() == {"GET": 20, "HEAD": 1}
    assert server.state.most_at_once > 10
    xr.testing.assert_identical(loaded, many.isel(x=slice(1, None)))


def test_shards_take_two_requests_or_one(server: S3Server, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((40, 40))
    zarrds.create_array(tmp_path / "a", shape=(40, 40), dtype="f8", chunks=(5, 5), shards=(20, 20))[...] = values
    upload(server, tmp_path / "a", "a.zarr")
    array = zarrds.open_array("s3://bucket/a.zarr", storage_options=server.options)
    for key, n in (((3,), 4), ((slice(None),), 4), ((slice(0, 20), slice(0, 20)), 1), ((7, 33), 2)):
        server.state.requests.clear()
        assert np.array_equal(array[key], values[key])
        assert server.state.counts() == {"GET": n}
    server.state.requests.clear()
    assert (
        np.array_equal(array.vindex[[3, 30], [3, 30]], values[[3, 30], [3, 30]]) if hasattr(array, "vindex") else True
    )


def test_a_cut_shard_is_a_damaged_one(server: S3Server, tmp_path: Path) -> None:
    zarrds.create_array(tmp_path / "a", shape=(40,), dtype="f8", chunks=(5,), shards=(40,))[...] = np.arange(40.0)
    upload(server, tmp_path / "a", "a.zarr")
    value, etag, when = server.state.values["a.zarr/c/0"]
    server.state.values["a.zarr/c/0"] = value[-100:], etag, when
    array = zarrds.open_array("s3://bucket/a.zarr", storage_options=server.options)
    with pytest.raises(ZarrdsError, match="c/0"):
        array[:3]
    with pytest.raises(ZarrdsError, match="c/0"):
        array[:]


# what goes wrong


def test_a_broken_off_answer_is_asked_for_again(server: S3Server, tmp_path: Path) -> None:
    zarrds.save(sample(), tmp_path / "a")
    upload(server, tmp_path / "a", "t2m.zarr")
    failed: set[str] = set()

    def once(method: str, key: str) -> Fault | None:
        if key in failed or len(failed) > 3:
            return None
        failed.add(key)
        return Fault(503 if len(failed) % 2 else None)

    server.state.fault = once
    xr.testing.assert_identical(opened(server).load(), sample())
    assert len(failed) == 4


def test_what_is_wrong_is_said(server: S3Server) -> None:
    with pytest.raises(StoreNotFoundError, match="no Zarr store here"):
        opened(server)
    with pytest.raises(StoreIOError, match="there is no such bucket"):
        as_store("s3://elsewhere/a.zarr", server.options).get("zarr.json")
    for status, body, said in (
        (403, b"<Error><Code>AccessDenied</Code></Error>", "permission denied"),
        (400, b"<Error><Code>ExpiredToken</Code></Error>", "expired"),
    ):
        fault = Fault(status, body=body)
        server.state.fault = lambda method, key, fault=fault: fault
        with pytest.raises(StoreIOError, match=said) as caught:
            opened(server)
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value.__context__)
        assert "obstore" not in type(caught.value.__context__).__module__


def test_servers_without_conditional_puts_are_told_of(server: S3Server) -> None:
    """Those that refuse them; and nothing is left that would keep the next writer out."""
    told = {**server.options, "retry_config": {"max_retries": 0}}
    zarrds.save(sample(), "s3://bucket/t2m.zarr", storage_options=told)
    there = dict(server.state.values)

    def fault(method: str, key: str) -> Fault | None:
        is_refused = method == "PUT" and (key.endswith("/.commit.zarrds-partial") or key == "t2m.zarr/zarr.json")
        return Fault(501, body=b"<Error><Code>NotImplemented</Code></Error>") if is_refused else None

    server.state.fault = fault
    for how in ({"append_dim": "time", "on_overlap": "append", "on_unordered": "append"}, {"mode": "w"}):
        with pytest.raises(StoreIOError, match=r"puts nothing by conditions.*get_mapper"):
            zarrds.save(sample(), "s3://bucket/t2m.zarr", storage_options=told, **how)
    server.state.fault = None
    assert {key: value for key, (value, *_) in server.state.values.items()} == {k: v for k, (v, *_) in there.items()}


def test_weak_etags_are_told_of(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a proxy makes them that compresses: no condition ever holds of them."""
    send = s3_server._Handler._send

    def weakened(self: Any, *args: Any, **headers: str) -> None:
        send(self, *args, **{k: f"W/{v}" if k == "ETag" else v for k, v in headers.items()})

    monkeypatch.setattr(s3_server._Handler, "_send", weakened)
    for _ in range(2):
        with pytest.raises(StoreIOError, match=r"puts nothing by conditions.*found the ETag W/"):
            zarrds.save(sample(), "s3://bucket/t2m.zarr", storage_options=server.options)
    monkeypatch.undo()
    zarrds.save(sample(), "s3://bucket/t2m.zarr", storage_options=server.options)
    xr.testing.assert_identical(opened(server).load(), sample())


def test_an_obstore_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obstore.__version__", "0.9.5")
    with pytest.raises(ReleaseError, match=r"obstore.*found 0\.9\.5.*obstore>=0\.10"):
        as_store("s3://bucket/odd", {"key": "a", "secret": "b"})


def test_denied_is_absent_for_documents_only(server: S3Server, tmp_path: Path) -> None:
    zarrds.save(sample(), tmp_path / "a", zarr_format=2)
    upload(server, tmp_path / "a", "t2m.zarr")
    there = set(server.state.values)
    server.state.fault = lambda method, key: None if key in there else Fault(403)
    ds = opened(server)
    xr.testing.assert_identical(ds.load(), sample())
    there.discard("t2m.zarr/t2m/0.0")
    with pytest.raises(StoreIOError, match="permission denied"):
        opened(server).t2m.load()


# secrets and places


def test_secrets_are_shown_nowhere(server: S3Server) -> None:
    store = as_store("s3://bucket/a.zarr", server.options)
    shown = [repr(store), str(store.path), repr(store.__dict__), store.token, repr(store.__dask_tokenize__())]
    for bad in ("https://me:hush@127.0.0.1:1/a.zarr", "https://x.blob.core.windows.net/c/a.zarr?sig=hush"):
        other = as_store(bad)
        shown += [repr(other), other.path, other.token, repr(other.__dict__)]
    assert not any(SECRET in text or "hush" in text for text in shown)
    assert as_store("s3://bucket/a.zarr", server.options) == pickle.loads(pickle.dumps(store)) == store
    with pytest.raises(ZarrdsError) as caught:
        as_store("https://me:hush@127.0.0.1:1/a.zarr?token=hush")
    assert "hush" not in str(caught.value)
    assert without_secrets("zip://a::https://u:p@host/b?c=d") == "zip://a::https://host/b"


def test_options_are_those_of_s3fs_gcsfs_and_adlfs(tmp_path: Path) -> None:
    place = place_of(
        "s3://b/a/t2m.zarr/",
        {
            "key": "k",
            "secret": "s",
            "token": "t",
            "client_kwargs": {"endpoint_url": "http://h:9", "region_name": "eu-west-1"},
            "requester_pays": True,
            "config_kwargs": {"s3": {"addressing_style": "virtual"}},
            "default_block_size": 5,
        },
    )
    assert (place.kind, place.root, place.prefix, place.name) == ("S3Store", "b", "a/t2m.zarr", "s3://b/a/t2m.zarr")
    assert (
        place.config.items()
        >= {
            "access_key_id": "k",
            "secret_access_key": "s",
            "session_token": "t",
            "endpoint": "http://h:9",
            "region": "eu-west-1",
            "request_payer": True,
            "virtual_hosted_style_request": True,
        }.items()
    )
    assert place.config["client_options"] == {"allow_http": True}
    assert place_of("s3://b", {"anon": True}).config["skip_signature"]
    assert place_of("s3://b", {"profile": "lab"}).profile == "lab"
    assert place_of("gs://b/a", {"token": "anon", "project": "p"}).config["skip_signature"]
    azure = place_of("abfs://c@acc.dfs.core.windows.net/a", {"sas_token": "sig"})
    assert (azure.root, azure.config["account_name"], azure.config["sas_key"]) == ("c", "acc", "sig")
    text = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=k==;BlobEndpoint=http://h/a"
    assert place_of("az://c/a", {"connection_string": text}).config["account_key"] == "k=="
    for url, options in (
        ("s3://b", {"anon": True, "boto_session": object()}),
        ("gs://b", {"requester_pays": True}),
        ("gs://b", {"token": "cloud"}),
        ("s3://b", {"client_kwargs": {"use_dualstack": True}}),
    ):
        with pytest.raises(UntranslatableError):
            place_of(url, options)


@pytest.mark.parametrize(
    ("url", "name", "argument"),
    [
        *(("s3://b/a", f"AWS_{name}", "endpoint_url") for name in ("ENDPOINT", "ENDPOINT_URL", "ENDPOINT_URL_S3")),
        ("gs://b/a", "GOOGLE_BASE_URL", "endpoint_url"),
        ("az://b/a", "AZURE_STORAGE_ACCOUNT_NAME", "account_name"),
    ],
)
def test_servers_of_the_environment_are_apart(
    monkeypatch: pytest.MonkeyPatch, url: str, name: str, argument: str
) -> None:
    """What is kept of the objects of one server is nothing of another's of the same name."""
    options = {"anon": True} | ({"account_name": "x"} if url.startswith("az") and argument != "account_name" else {})
    found = []
    for server in ("http://one", "http://two"):
        monkeypatch.setenv(name, server)
        found.append(location(url, options))
        assert location(url, {**options, argument: server}) == found[-1]
        monkeypatch.setenv(name, "http://other")
        assert location(url, {**options, argument: server}) == found[-1]
    monkeypatch.delenv(name)
    assert len({*found, location(url, {**options, argument: "http://three"})}) == 3


def location(url: str, options: dict[str, Any]) -> str:
    store: Any = as_store(url, options)
    return str(store.location)


def test_profiles_of_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: S3Server) -> None:
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = AK\naws_secret_access_key = hush\n")
    (tmp_path / "config").write_text(f"[profile lab]\nregion = eu-west-1\nendpoint_url = {server.url}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    store = as_store("s3://bucket/a.zarr", {"profile": "lab"})
    assert location("s3://bucket/a.zarr", {"profile": "lab"}) == location(
        "s3://bucket/a.zarr", {"endpoint_url": server.url, "anon": True}
    )
    store.set("k", b"v")
    assert bytes(store.get("k")) == b"v"
    with pytest.raises(ZarrdsError, match="no such profile"):
        as_store("s3://bucket/a.zarr", {"profile": "none"})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_process_does_without_obstore(server: S3Server) -> None:
    pytest.importorskip("s3fs", reason="the other way needs it")
    code = f"""
import os, sys
from zarrds.stores import as_store
store = as_store("s3://bucket/a.zarr", {server.options!r})
store.set("k", b"v")
new = as_store("s3://bucket/b.zarr", {server.options!r})
staged = new.stage()  # which goes straight to its keys
staged.set("t2m/c/0", b"chunk")
child = os.fork()
if not child:
    is_right = bytes(store.get("k")) == b"v" and store.get_many(["k", "l"])["l"].value is None
    is_right &= store.get_spans("k", [(0, 1)]) == [b"v"] and store.get_tail("k", -1, 1) == (b"v", 1)
    staged.set("zarr.json", b"root")
    new.publish(staged)
    os._exit(0 if is_right else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=PROJECT, check=True, timeout=50)
    found = {key: value for key, (value, *_) in server.state.values.items()}
    assert found == {"a.zarr/k": b"v", "b.zarr/t2m/c/0": b"chunk", "b.zarr/zarr.json": b"root"}


def test_a_forked_process_without_the_other_package_is_told_why(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it makes the store itself: that a package is missing is not the reason."""
    store = as_store("s3://bucket/a.zarr", server.options)

    def missing(*args: object) -> None:
        raise UnsupportedError("the package behind s3:// is not installed")

    monkeypatch.setattr(connections, "_process", 1)  # as of its parent
    monkeypatch.setattr("zarrds.storage.urls.RemoteStore", missing)
    monkeypatch.setattr("zarrds.storage.obstore.objects.Objects", missing)
    for act in (lambda: store.get("k"), lambda: as_store("s3://bucket/a.zarr", server.options)):
        with pytest.raises(UnsupportedError, match=r"forked from one that has used it.*is not installed.*spawn"):
            act()


def test_the_source_that_xarray_notes_has_no_secrets(tmp_path: Path) -> None:
    zarrds.save(sample(), tmp_path / "t2m.zarr")
    with web(Handler, tmp_path) as url:
        host = url.removeprefix("http://")
        ds = xr.open_dataset(f"http://me:hush@{host}/t2m.zarr", engine="zarrds")
        xr.testing.assert_identical(ds.load(), sample())
    assert ds.encoding["source"] == f"http://{host}/t2m.zarr"


class NoListing(Handler):
    """As many servers are: they answer for folders with a page of their own."""

    def list_directory(self, path: object) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"hi")


def test_what_cannot_be_listed_is_not_empty(tmp_path: Path) -> None:
    zarrds.save(sample(), tmp_path / "t2m.zarr")
    with web(NoListing, tmp_path) as url:
        xr.testing.assert_identical(xr.open_dataset(f"{url}/t2m.zarr", engine="zarrds").load(), sample())
        with pytest.raises(StoreIOError, match="does not show what it has"):
            xr.open_dataset(f"{url}/t2m.zarr", engine="zarrds", consolidated=False)


def test_a_listing_that_repeats_its_page_comes_to_an_end(server: S3Server) -> None:
    entry = "<Key>a.zarr/c</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><Size>1</Size>"
    again = "<IsTruncated>true</IsTruncated><NextContinuationToken>c</NextContinuationToken>"
    page = f"<ListBucketResult>{again}<Contents>{entry}</Contents></ListBucketResult>".encode()
    server.state.fault = lambda method, key: Fault(200, body=page) if method == "LIST" else None
    store = as_store("s3://bucket/a.zarr", server.options)
    with pytest.raises(StoreIOError, match="the same page"):
        list(store.list_prefix())
